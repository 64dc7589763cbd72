"""Tells the family of real instruments, on the font that a network was trained on and on another: `make families`.

python scripts/families.py [--only REGEX] [--data DIR] [--list] [--table]

A cell is a training on the notes of one font, and what its network answers to new notes of both: accuracy and the
matrix of confusions. Cells of docs/results/families.json are not repeated: delete an entry to measure it again. The
tables of docs/real_sounds.md are written after every cell.

It needs SOUNDFONT=1 sh setup.sh, and two fonts: apt-get install timgm6mb-soundfont fluidr3mono-gm-soundfont.
"""

import argparse
import re
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

from scripts.pages import added, read_json, table, write_between  # noqa: E402
from scripts.peers import FONTS, PAGE, SEEDS, TEST_SEED, Cell, blocks, other  # noqa: E402
from scripts.setups import QUIET, recipe_of, results_of, run_program  # noqa: E402
from src.checkpoints.run import Run, load_run  # noqa: E402
from src.evaluation.estimates import network_values  # noqa: E402
from src.models.costs import cpu_threads  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.programs.output import console  # noqa: E402
from src.readings.network import input_of  # noqa: E402
from src.synth.general_midi import FAMILIES  # noqa: E402
from src.text import prepare_streams  # noqa: E402
from src.vimh.reader import Batch  # noqa: E402

RESULTS = ROOT / "docs" / "results" / "families.json"
MARKS = "<!-- families: made by scripts/families.py -->\n", "<!-- end of families -->\n"
GENERATOR = "synth/generate_family"
NETWORK = "cnn_pooled"
TEST_NOTES = 2000


def cells() -> Iterator[Cell]:
    """All cells, in the order of their seeds."""
    return (Cell(NETWORK, font, seed) for seed in SEEDS for font in FONTS)


def overrides_of(cell: Cell, data_root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Overrides of `generate_vimh.py` for the set of a training, and of `train.py`."""
    suffix = f"disguise_{cell.font}"
    changes = "perturb=disguise", f"synth.font={FONTS[cell.font]}"
    name = recipe_of(GENERATOR, *changes).directory_name(suffix)
    training = (
        "experiment=family",
        f"data.data_dir={quoted(str(data_root / name))}",
        f"data.make_dataset.overrides=[{','.join(map(quoted, changes))}]",
        f"seed={cell.seed}",
        "threads=1",
    )
    generation = f"--config-name={GENERATOR}", *changes, f"dataset.suffix={suffix}", f"output_dir={data_root}"
    return generation, training


def measure(cell: Cell, n_notes: int, data_root: Path) -> dict[str, Any]:
    """Train on the notes of a font, and ask for new notes of both."""
    generation, training = overrides_of(cell, data_root)
    made = run_program("generate_vimh.py", *generation)
    results, spent = results_of(f"families/{cell.key}", "src/train.py", *training, *QUIET)
    run = load_run(results["checkpoint"])
    with cpu_threads(1):
        confusion = {font: confused(run, font, n_notes).tolist() for font in FONTS}
    return {
        "weights": sum(parameter.numel() for parameter in run.module.net.parameters()),
        "seconds": round(spent.core, 1),
        "generation_seconds": round(made.core, 1),
        "epochs": results["epochs"],
        "training_notes": results["training_samples"],
        "config": {name: run.config[name] for name in ("model", "loss")},
        "validation": {name: round(value, 4) for name, value in results["validation"].items()},
        "confusion": confusion,
    }


def confused(run: Run, font: str, n_notes: int) -> np.ndarray:
    """How many clean notes of each family were taken for each, `(true, answered)`."""
    recipe = recipe_of(GENERATOR, f"synth.font={FONTS[font]}", f"dataset.seed={TEST_SEED}", "perturb=none")
    to_tensors, counts = input_of(run).to_tensors, np.zeros((len(FAMILIES), len(FAMILIES)), int)
    for start, stop in blocks(n_notes):
        batch = recipe.make(start, stop)
        tensors = to_tensors(Batch(batch.image, batch.code, batch.spec_range, batch.value))
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


def keep(entries: Mapping[str, Any], path: Path, page: Path | None) -> None:
    """Add cells to those that are there; then write the page."""
    with added(entries, path) as results:
        if page is not None:
            write_between(MARKS, f"\n{tables(results)}", page)


def main() -> int:
    """Measure what is not there yet."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression; only cells whose name it matches")
    parser.add_argument("--notes", type=int, default=TEST_NOTES, help="test notes of a font")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="where the sets are")
    parser.add_argument("--results", type=Path, default=RESULTS, help="of another file no page is made")
    parser.add_argument("--list", action="store_true", help="list what would be measured")
    parser.add_argument("--table", action="store_true", help="write the page from the cells that are there")
    arguments = parser.parse_args()
    terminal, page = console(), PAGE if arguments.results == RESULTS else None
    measured = read_json(arguments.results)
    wanted = [cell for cell in cells() if re.search(arguments.only, cell.key) and cell.key not in measured]
    for number, cell in enumerate([] if arguments.table else wanted, 1):
        terminal.print(f"{number} of {len(wanted)}: {cell.key}")
        if not arguments.list:
            keep({cell.key: measure(cell, arguments.notes, arguments.data)}, arguments.results, page)
    if not arguments.list:
        keep({}, arguments.results, page)
        terminal.print(f"Results: {page or arguments.results}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
