"""Audits a dataset: does every parameter show in the image, and how well can it be read under rounding noise?

python scripts/audit_dataset.py DIR [--samples 256] [--seed 0] [--output DIR] [--trusted-modules PACKAGE]

Renders all sounds of the set again, compares them with the stored bytes, and moves every parameter of some by one step.
Prints a table, and writes audit.json and audit.png.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import matplotlib  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from scripts.pages import table as markdown_table  # noqa: E402
from src.checkpoints.trusted import instantiate_trusted  # noqa: E402
from src.errors import VIMHError  # noqa: E402
from src.evaluation.audit import ParameterAudit, audit, observe  # noqa: E402
from src.files import atomic_file, write_atomically  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.programs.output import PlainTable, console, progress, say_where  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.spectral.representation import SpectralRepresentation  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402
from src.vimh.reader import VIMHReader  # noqa: E402

CHUNK = 256
COLUMNS = {
    "parameter": "{0.name}",
    "classes": "{0.n_classes}",
    "levels RMS": "{0.level_rms:.2f}",
    "levels max": "{0.level_max:.1f}",
    "spec_min dB": "{0.spec_min_db:.3f}",
    "spec_max dB": "{0.spec_max_db:.3f}",
    "invisible": "{0.invisible:.1%}",
    "std": "{0.std:.4f}",
    "std image": "{0.std_image:.4f}",
}
HYPHENATED = {"classes": "clas-\nses", "invisible": "invis-\nible"}  # so that all columns fit 80 characters


def compare_stored_bytes(reader: VIMHReader, recipe: Recipe) -> int:
    """Render every sound again from its stored values, and compare records.

    Returns:
        Number of sounds compared.

    Raises:
        VIMHError: If the set has no exact values, or a byte differs.
    """
    with progress(recipe.size, "Rendering again", "samples") as advance:
        for name, split in (("train", reader.train), ("test", reader.test)):
            start = recipe.first_number(name, reader.info.shard)
            if split.exact is None:
                raise VIMHError(
                    f"{split.path}_values.npy: is missing; without exact values the set cannot be made again."
                )
            for first in range(0, len(split), CHUNK):
                stored = split.read(slice(first, first + CHUNK))
                made = recipe.samples(stored.value, start + first)
                same = (
                    (made.image == stored.image).all(axis=(1, 2, 3))
                    & (made.code == stored.code).all(axis=1)
                    & (made.spec_range == stored.spec_range).all(axis=1)
                )
                if not same.all():
                    number = first + int(np.flatnonzero(~same)[0])
                    raise VIMHError(
                        f"{split.path}: record {number} is not what its values render to. The set was made by another "
                        "version or on another type of machine, or labels and images do not belong together."
                    )
                advance(len(stored.value))
    return recipe.size


def audit_dataset(
    data_dir: Path, n_samples: int, seed: int, trusted_modules: Sequence[str] = ()
) -> tuple[list[ParameterAudit], int]:
    """The audit of some sounds of a set, and the number of sounds whose bytes were made again."""
    reader = VIMHReader(data_dir)
    with progress(len(reader.train) + len(reader.test), "Validating", "samples") as advance:
        finding = reader.validate(advance)
    say(f"Validation: {finding}")
    if "config" not in (reader.info.generator or {}):
        raise VIMHError(f"{data_dir}: was not made by this generator, so that its sounds cannot be rendered again.")
    instantiate = partial(instantiate_trusted, trusted_modules=trusted_modules)
    recipe = Recipe.from_config(reader.info.generator["config"], instantiate)
    if not isinstance(recipe.representation, SpectralRepresentation):
        raise VIMHError(
            f"{data_dir}: holds samples, and the audit is for spectrograms: audit a set of the "
            "same configuration with representation=stft or representation=mel."
        )
    n_same = compare_stored_bytes(reader, recipe)
    numbers = np.random.default_rng(seed).permutation(len(reader.train))[:n_samples]
    value = reader.train.read(np.sort(numbers)).value
    return audit(value, reader.info.parameters, partial(observe, recipe)), n_same


def table(audits: list[ParameterAudit], title: str) -> PlainTable:
    """A row per parameter."""
    result = PlainTable(title, padding=0)
    result.caption = "std: under rounding noise, in grid steps"
    for heading in COLUMNS:
        shown = HYPHENATED.get(heading, heading.replace(" ", "\n"))
        result.add_column(shown, justify="left" if heading == "parameter" else "right", no_wrap=True)
    for entry in audits:
        result.add_row(*(text.format(entry) for text in COLUMNS.values()))
    return result


def markdown(audits: list[ParameterAudit]) -> str:
    """The same for a page of the documentation."""
    columns = {heading: text for heading, text in COLUMNS.items() if heading != "spec_min dB"}
    return "\n".join(markdown_table(columns, ([text.format(a) for text in columns.values()] for a in audits)))


def draw(audits: list[ParameterAudit], path: Path) -> None:
    """Standard deviations of all sounds, a box per parameter, with half a step as the line that a class needs."""
    matplotlib.use("Agg")
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.45 * len(audits)), layout="constrained")
    finite = [np.clip(entry.stds, 1e-4, 1e2) for entry in audits]
    axis.boxplot(finite, orientation="horizontal", tick_labels=[entry.name for entry in audits], whis=(5, 95), sym="")
    axis.axvline(0.5, color="#c44e2b", linewidth=1)
    axis.text(0.5, 1.01, "half a step", color="#c44e2b", ha="center", va="bottom", transform=axis.get_xaxis_transform())
    axis.set(
        xscale="log", xlabel="standard deviation under rounding noise (grid steps): 5, 25, 50, 75, 95 % of the sounds"
    )
    axis.invert_yaxis()
    with atomic_file(path) as file:
        figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> int:
    """Audit, print, write."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, metavar="DIR")
    parser.add_argument("--samples", type=int, default=256, help="sounds that parameters are moved in")
    parser.add_argument("--seed", type=int, default=0, help="chooses them")
    parser.add_argument("--output", type=Path, help="where audit.json and audit.png go; default logs/audit/NAME")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page of the documentation")
    parser.add_argument("--trusted-modules", nargs="+", default=(), metavar="PACKAGE", help="whose classes it may name")
    arguments = parser.parse_args()
    audits, n_same = audit_dataset(arguments.data_dir, arguments.samples, arguments.seed, arguments.trusted_modules)
    output = arguments.output or ROOT / "logs" / "audit" / arguments.data_dir.resolve().name
    entries = [{key: item for key, item in asdict(entry).items() if key != "stds"} for entry in audits]
    write_atomically(output / "audit.json", (json.dumps(entries, indent=2) + "\n").encode())
    draw(audits, output / "audit.png")
    if arguments.markdown:
        say(markdown(audits))
    else:
        console().print(table(audits, arguments.data_dir.resolve().name))
    say(f"{n_same:,} sounds were rendered again from their values: every byte is as stored.")
    say_where(Figures=output / "audit.json", Picture=output / "audit.png")
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
