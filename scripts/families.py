"""Tells the family of real instruments, on the font that a network was trained on and on another: `make families`.

python scripts/families.py [--only REGEX] [--hours 2] [--data DIR] [--list] [--table] [--tune]

A cell is a training on the notes of one font, and what its network answers to new notes of both: accuracy and the
matrix of confusions. Cells of docs/results/families.json are not repeated: delete an entry to measure it again. The
tables of docs/real_sounds.md are written after every cell. --tune runs the trials by which settings were chosen, on
programs of the font that trains, into docs/results/families_tuning.json.

It needs SOUNDFONT=1 sh setup.sh, and two fonts: apt-get install timgm6mb-soundfont fluidr3mono-gm-soundfont.
"""

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from scripts.pages import read_json, table, write_between  # noqa: E402
from scripts.peers import FONTS, PAGE, SEEDS, TEST_SEED, Cell, blocks, on_a_font, other, trained  # noqa: E402
from scripts.setups import recipe_of  # noqa: E402
from src.checkpoints.run import Run  # noqa: E402
from src.evaluation.estimates import network_values  # noqa: E402
from src.models.costs import cpu_threads  # noqa: E402
from src.programs.command_line import reporting  # noqa: E402
from src.readings.network import input_of  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.synth.general_midi import FAMILIES  # noqa: E402
from src.text import prepare_streams  # noqa: E402

RESULTS = ROOT / "docs" / "results" / "families.json"
TUNING = ROOT / "docs" / "results" / "families_tuning.json"
MARKS = "<!-- families: made by scripts/families.py -->\n", "<!-- end of families -->\n"
GENERATOR = "synth/generate_family"
NETWORK = "cnn_pooled"
TEST_NOTES = 2000


TRAINED_ON = ("perturb=[disguise,key_shift]",)
# For trials: the variants of each family that train, and those that judge, first and last.
HELD_OUT = {"TimGM6mb": ((0, 5), (6, 7)), "FluidR3Mono": ((2, 7), (0, 1))}
# Name of a trial to what is changed of the generator and of the training.
TRIALS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "disguise": (("perturb=disguise",), ()),
    "disguise and key_shift": (TRAINED_ON, ()),
    "key_shift alone": (("perturb=key_shift",), ()),
    "key_shift to two octaves": ((*TRAINED_ON, "perturb.key_shift.value=[-24,24,whole]"), ()),
    "four times as many notes, a third of the epochs": ((*TRAINED_ON, "dataset.size=49152"), ("trainer.max_epochs=8",)),
    "mixup": (TRAINED_ON, ("augment=both",)),
    "masks of up to 35 %": (TRAINED_ON, ("augment.freq_width=0.35", "augment.time_width=0.35")),
    "half the weights": (TRAINED_ON, ("model.net.widths=[8,16,32,48]", "model.net.dropout=0.5")),
    "rows at musical intervals": (
        (
            *(*TRAINED_ON, "representation.mel=null", "representation.height=84", "representation.n_fft=4096"),
            "+representation.log_frequency={f_min:55,bins_per_octave:12}",
        ),
        (),
    ),
}


@dataclass(frozen=True)
class Trial:
    """Settings that are judged by programs of the font that trains, held out from the training.

    Attributes:
        name: A key of `TRIALS`.
        font: That is trained on.
    """

    name: str
    font: str

    @property
    def key(self) -> str:
        """Unique among trials."""
        return f"{self.name}, {self.font}"


def cells() -> Iterator[Cell]:
    """All cells, in the order of their seeds."""
    return (Cell(NETWORK, font, seed) for seed in SEEDS for font in FONTS)


def trials() -> Iterator[Trial]:
    """All trials."""
    return (Trial(name, font) for name in TRIALS for font in FONTS)


def measure(cell: Cell, n_notes: int, data_root: Path) -> dict[str, Any]:
    """Train on the notes of a font, and ask for new notes of both."""
    generation, training = on_a_font(cell.font, cell.seed, GENERATOR, TRAINED_ON, "disguise_key_shift", data_root)
    run, kept = trained(f"families/{cell.key}", generation, ("experiment=family", *training))
    with cpu_threads(1):
        return kept | {"confusion": {font: confused(run, test_recipe(font), n_notes).tolist() for font in FONTS}}


def try_out(trial: Trial, n_notes: int, data_root: Path) -> dict[str, Any]:
    """Train on most programs of a font, and ask for new notes of the others and of its own."""
    kept, held_out = HELD_OUT[trial.font]
    of_set, of_training = TRIALS[trial.name]
    changes, suffix = (*of_set, variants(kept)), f"trial{list(TRIALS).index(trial.name)}"
    generation, training = on_a_font(trial.font, SEEDS[0], GENERATOR, changes, suffix, data_root)
    run, spent = trained(f"families/{trial.key}", generation, ("experiment=family", *training, *of_training))
    picture = [change for change in of_set if "representation" in change]
    with cpu_threads(1):
        found = {
            what: accuracy(confused(run, test_recipe(trial.font, variants(some), *picture), n_notes))
            for what, some in (("held_out", held_out), ("kept", kept))
        }
    return {name: spent[name] for name in ("weights", "seconds", "generation_seconds")} | found


def variants(ends: tuple[int, int]) -> str:
    """The override that leaves some programs of each family."""
    return f"perturb.variant.value=[{ends[0]},{ends[1]},whole]"


def test_recipe(font: str, *changes: str) -> Recipe:
    """What makes test notes of a font: nothing happens to them."""
    return recipe_of(GENERATOR, f"synth.font={FONTS[font]}", f"dataset.seed={TEST_SEED}", "perturb=none", *changes)


def confused(run: Run, recipe: Recipe, n_notes: int) -> np.ndarray:
    """How many notes of each family were taken for each, `(true, answered)`."""
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
    return "\n".join([*lines, "", *trial_table(), ""])


def trial_table() -> list[str]:
    """What was tried, by programs of the font that trains which were held out."""
    tried = read_json(TUNING)
    columns = "settings", *(f"held out of {font}" for font in FONTS), "new notes of the other programs, both fonts", "s"
    rows = []
    for name in TRIALS:
        found = [tried.get(Trial(name, font).key) for font in FONTS]
        there = [one for one in found if one is not None]
        shares = (f"{one['held_out']:.3f}" if one else "not tried" for one in found)
        own, seconds = (
            ", ".join(f"{one[key]:.{digits}f}" for one in there) for key, digits in (("kept", 3), ("seconds", 0))
        )
        rows.append([name, *shares, own, seconds])
    return [
        "Settings, and accuracy on new notes of programs that were held out of the training:",
        "",
        *table(columns, rows),
    ]


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


def write_trials(tried: Mapping[str, Any], page: Path) -> None:
    """The same, for new trials."""
    write_page(read_json(RESULTS), page)


def main() -> int:
    """Measure what is not there yet."""
    prepare_streams()
    parser = cell_options(__doc__, ROOT / "data", RESULTS, hours=2.0)
    parser.add_argument("--notes", type=int, default=TEST_NOTES, help="test notes of a font")
    parser.add_argument("--tune", action="store_true", help="run the trials of settings instead of the cells")
    options = parser.parse_args()
    page = PAGE if options.results == RESULTS else None
    if options.tune:
        options.results = TUNING if page else options.results
        measure_cells(trials(), options, lambda trial: try_out(trial, options.notes, options.data), page, write_trials)
    else:
        measure_cells(cells(), options, lambda cell: measure(cell, options.notes, options.data), page, write_page)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
