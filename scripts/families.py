"""Tells the family of real instruments, on the font that a network was trained on and on another: `make families`.

python scripts/families.py [--only REGEX] [--hours 2] [--data DIR] [--list] [--table]

A cell is a training on the notes of one font, and what its network answers to new notes of both: accuracy and the
matrix of confusions. Cells of docs/results/families.json are not repeated: delete an entry to measure it again. The
tables of docs/real_sounds.md are written after every cell.

It needs SOUNDFONT=1 sh setup.sh, and two fonts: apt-get install timgm6mb-soundfont fluidr3mono-gm-soundfont.
"""

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
import numpy as np  # noqa: E402

from scripts.cells import cell_options, measure_cells  # noqa: E402
from scripts.pages import table, write_between  # noqa: E402
from scripts.peers import FONTS, PAGE, SEEDS, TEST_SEED, Cell, blocks, on_a_font, other, trained  # noqa: E402
from scripts.setups import recipe_of  # noqa: E402
from src.checkpoints.run import Run  # noqa: E402
from src.evaluation.estimates import network_values  # noqa: E402
from src.models.costs import cpu_threads  # noqa: E402
from src.programs.command_line import reporting  # noqa: E402
from src.readings.network import input_of  # noqa: E402
from src.synth.general_midi import FAMILIES  # noqa: E402
from src.text import prepare_streams  # noqa: E402

RESULTS = ROOT / "docs" / "results" / "families.json"
MARKS = "<!-- families: made by scripts/families.py -->\n", "<!-- end of families -->\n"
GENERATOR = "synth/generate_family"
NETWORK = "cnn_pooled"
TEST_NOTES = 2000


def cells() -> Iterator[Cell]:
    """All cells, in the order of their seeds."""
    return (Cell(NETWORK, font, seed) for seed in SEEDS for font in FONTS)


def measure(cell: Cell, n_notes: int, data_root: Path) -> dict[str, Any]:
    """Train on the notes of a font, and ask for new notes of both."""
    generation, training = on_a_font(cell, GENERATOR, "disguise", data_root)
    run, kept = trained(f"families/{cell.key}", generation, ("experiment=family", *training))
    with cpu_threads(1):
        return kept | {"confusion": {font: confused(run, font, n_notes).tolist() for font in FONTS}}


def confused(run: Run, font: str, n_notes: int) -> np.ndarray:
    """How many clean notes of each family were taken for each, `(true, answered)`."""
    recipe = recipe_of(GENERATOR, f"synth.font={FONTS[font]}", f"dataset.seed={TEST_SEED}", "perturb=none")
    to_tensors, counts = input_of(run).to_tensors, np.zeros((len(FAMILIES), len(FAMILIES)), int)
    for start, stop in blocks(n_notes):
        batch = recipe.make(start, stop)
        tensors = to_tensors(batch)
        found, _ = network_values(run.module, tensors["image"], tensors["aux"])
        np.add.at(counts, (batch.value[:, 0].round().astype(int), found[:, 0].round().astype(int)), 1)
    return counts


# ----- the page


def accuracy(counts: np.ndarray) -> float:
    """Share of the right answers."""
    return float(np.trace(counts) / counts.sum())


def tables(results: Mapping[str, Any]) -> str:
    """Accuracy on both fonts, and the confusions on the other."""
    measured = [cell for cell in cells() if cell.key in results]
    found = {font: [results[cell.key] for cell in measured if cell.font == font] for font in FONTS}
    columns = "trained on", "seeds", "weights", "new notes of its own font", "notes of the other font", "gap", "s"
    lines = table(columns, (accuracy_row(font, runs) for font, runs in found.items()))
    for font, runs in found.items():
        if runs:
            total = sum(np.array(one["confusion"][other(font)]) for one in runs)
            lines += ["", f"Trained on {font}, notes of {other(font)}: of 100 notes of a family (row), as which they "
                      "were answered (column, by the first letters; nothing for less than 1).", ""]  # fmt: skip
            lines += confusion_table(total)
    return "\n".join([*lines, "", ""])


def accuracy_row(font: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line of the first table."""
    if not runs:
        return [font, "0", "", *["not measured yet"] * 3, ""]
    own, others = ([accuracy(np.array(one["confusion"][place])) for one in runs] for place in (font, other(font)))
    gap = statistics.fmean(own) - statistics.fmean(others)
    seconds = statistics.fmean(one["seconds"] for one in runs)
    weights = f"{runs[0]['weights']:,}"
    return [font, str(len(runs)), weights, mean_text(own), mean_text(others), f"{gap:.3f}", f"{seconds:.0f}"]


def mean_text(numbers: Sequence[float]) -> str:
    """Mean, with the spread over the seeds where there are several."""
    spread = f" ± {statistics.stdev(numbers):.3f}" if len(numbers) > 1 else ""
    return f"{statistics.fmean(numbers):.3f}{spread}"


def confusion_table(counts: np.ndarray) -> list[str]:
    """Rows in hundredths of their sums."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = (
        [name, *(f"**{share:.0f}**" if row == column else f"{share:.0f}" if share >= 1 else "" for column, share in
                 enumerate(shares[row]))]
        for row, name in enumerate(FAMILIES)
    )  # fmt: skip
    return table(("", *map(short, FAMILIES)), rows)


def short(name: str) -> str:
    """Name of a family for a narrow column."""
    words = name.split()
    return words[0][:4] if len(words) == 1 else f"{words[0][0]}.{words[1][:3]}"


def write_page(results: Mapping[str, Any], page: Path) -> None:
    """Replace the tables of the page."""
    write_between(MARKS, f"\n{tables(results)}", page)


def main() -> int:
    """Measure what is not there yet."""
    prepare_streams()
    parser = cell_options(__doc__, ROOT / "data", RESULTS, hours=2.0)
    parser.add_argument("--notes", type=int, default=TEST_NOTES, help="test notes of a font")
    options = parser.parse_args()
    page = PAGE if options.results == RESULTS else None
    measure_cells(cells(), options, lambda cell: measure(cell, options.notes, options.data), page, write_page)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
