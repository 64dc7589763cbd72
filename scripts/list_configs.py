"""Lists the options of every configuration group, and how large each model is."""

import itertools
import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from omegaconf import DictConfig, OmegaConf  # noqa: E402

from scripts.setups import CONFIGS, compose_config  # noqa: E402
from src.hydra_versions import instantiate  # noqa: E402
from src.models.components.network import NetIO  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

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


def main() -> int:
    """Prints a line per option; returns the exit code."""
    prepare_streams()
    for group, options in groups().items():
        say(f"\n{group}")
        for option in options:
            parts = (f"  {option:<22}", size(group, option), description(CONFIGS / group / f"{option}.yaml"))
            say("  ".join(part for part in parts if part).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
