"""Lists the options of every configuration group, and how large each model is; of one group, with what each means.

python scripts/list_configs.py [GROUP]
"""

import argparse
import functools
import itertools
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from omegaconf import DictConfig, OmegaConf  # noqa: E402

from scripts.setups import CONFIGS, compose_config  # noqa: E402
from src.errors import ConfigError, check_choice  # noqa: E402
from src.hydra_versions import instantiate  # noqa: E402
from src.models.components.network import NetIO  # noqa: E402
from src.programs.command_line import OptionParser  # noqa: E402
from src.programs.output import console, plain_table  # noqa: E402
from src.text import complain, prepare_streams, say  # noqa: E402

# What the sizes are measured with: the saw sets, 32x32x1 with two parameters and two conditioning inputs.
HEAD_SIZES = {"note_velocity": 10, "log10_decay_time": 24}


def groups() -> dict[str, list[str]]:
    """Group to its options, both sorted."""
    found: dict[str, list[str]] = {}
    for file in sorted(CONFIGS.glob("*/*.yaml")):
        found.setdefault(file.parent.name, []).append(file.stem)
    return found


def description(file: Path) -> str:
    """The first sentence of the comment that begins a configuration; empty if there is none."""
    lines = file.read_text(encoding="utf-8").splitlines()
    leading = itertools.takewhile(lambda line: line.startswith("#") or not line.strip(), lines)
    comments = [line.lstrip("# ") for line in leading if line.strip() and "@package" not in line]
    return " ".join(comments).partition(". ")[0].rstrip(".")


@functools.cache
def model_config(model: str) -> DictConfig:
    """Configuration of a model alone."""
    return compose_config(f"model/{model}").model


def is_complete(model: str) -> bool:
    """Whether a model can be trained; others are what several models share."""
    cfg = model_config(model)
    return "net" in cfg and not OmegaConf.missing_keys(cfg)


def takes_samples(model: str) -> bool:
    """Whether a model is meant for sets of samples, and not for spectrograms."""
    return model_config(model).net._target_.endswith(".WaveCNN")


@functools.cache
def parameter_count(model: str) -> int:
    """Number of parameters of a model's network on the saw sets."""
    # Networks for samples see the same sounds without a spectrogram.
    io = NetIO((1, 1, 8000), HEAD_SIZES) if takes_samples(model) else NetIO((1, 32, 32), HEAD_SIZES, n_aux=2)
    net = instantiate(model_config(model).net, io, _convert_="all")
    return sum(parameter.numel() for parameter in net.parameters())


def size(group: str, option: str) -> str:
    """The size of a model as a listing shows it; empty for all other options."""
    if group != "model":
        return ""
    return f"{parameter_count(option):>9,} parameters" if is_complete(option) else f"{'':>20}"


def overview(group: str, options: list[str]) -> str:
    """A group with the names of its options, the sizes of models beside them, as wide as the screen."""
    sizes = {name: f" ({parameter_count(name):,})" for name in options if group == "model" and is_complete(name)}
    names = ", ".join(f"{name}{sizes.get(name, '')}".replace(" ", "\0") for name in options)
    lines = textwrap.wrap(names, console().width, initial_indent=f"{group:<15} ", subsequent_indent=" " * 16)
    return "\n".join(lines).replace("\0", " ")


def details(group: str, options: list[str]) -> None:
    """Print what each option of a group means, and how large a model is."""
    sized = group == "model"
    table = plain_table("", ("option",), ("parameters",) if sized else ())
    table.add_column("what it is", overflow="fold")
    for option in options:
        sizes = [f"{parameter_count(option):,}" if is_complete(option) else ""] if sized else []
        table.add_row(option, *sizes, description(CONFIGS / group / f"{option}.yaml"))
    console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Prints a paragraph per group, or a line per option of one; returns the exit code."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", nargs="?", help="whose options are explained")
    wanted, found = parser.parse_args(arguments).group, groups()
    if wanted is None:
        say(*(overview(group, options) for group, options in found.items()))
        say("What the options of a group mean: make lc ARGS=GROUP, as in make lc ARGS=model")
        return 0
    try:
        check_choice("group", wanted, found)
    except ConfigError as error:
        complain(error)
        return 1
    details(wanted, found[wanted])
    return 0


if __name__ == "__main__":
    sys.exit(main())
