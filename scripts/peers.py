"""Reads the pitch of single notes of real instruments beside trackers that others use: `make peers`.

python scripts/peers.py [--only REGEX] [--hours 2] [--data DIR] [--list] [--table]

A cell is a tracker on the test notes of a font, or the training of a network on the notes of one font and what it reads
from the test notes of both. All read the same sounds, clean and in white noise. Cells of docs/results/peers.json are
not repeated: delete an entry to measure it again. The tables of docs/real_sounds.md are written after every cell.

It needs SOUNDFONT=1 PEERS=1 sh setup.sh, and two fonts: apt-get install timgm6mb-soundfont fluidr3mono-gm-soundfont.
"""

import statistics
import sys
import time
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
import torch  # noqa: E402

from scripts.cells import cell_options, measure_cells  # noqa: E402
from scripts.pages import table, write_between  # noqa: E402
from scripts.setups import QUIET, recipe_of, results_of, run_program  # noqa: E402
from scripts.trackers import TRACKERS, WEIGHTS  # noqa: E402
from src.checkpoints.run import Run, load_run  # noqa: E402
from src.errors import NSMError  # noqa: E402
from src.evaluation.estimates import network_values  # noqa: E402
from src.models.costs import cpu_threads  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.programs.command_line import reporting  # noqa: E402
from src.readings.network import input_of  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.text import prepare_streams  # noqa: E402
from src.vimh.reader import Batch  # noqa: E402

RESULTS = ROOT / "docs" / "results" / "peers.json"
PAGE = ROOT / "docs" / "real_sounds.md"
MARKS = "<!-- peers: made by scripts/peers.py -->\n", "<!-- end of peers -->\n"
GENERATOR = "synth/generate_pitch"
FONTS = {"TimGM6mb": "TimGM6mb.sf2", "FluidR3Mono": "FluidR3Mono_GM.sf3"}
NETWORKS = ("harmonic", "harmonic_micro")  # options of configs/model
CONDITIONS = {
    "clean": ("perturb=none",),
    "10 dB": ("perturb=noise", "perturb.noise.ratio=10"),
    "0 dB": ("perturb=noise", "perturb.noise.ratio=0"),
}
SEEDS = (1, 2, 3)
TEST_SEED = 7  # of the test notes; the sets that train have another
TEST_NOTES = 1000
NEAR = 50.0  # cents: an answer within them is right
N_RESAMPLED = 2000  # bootstraps over the notes
BLOCK = 64  # notes at a time


@dataclass(frozen=True)
class Cell:
    """What is measured at once.

    Attributes:
        name: A tracker, or a network.
        font: That it reads, or that it was trained on.
        seed: Of the training; 0 for a tracker.
    """

    name: str
    font: str
    seed: int = 0

    @property
    def key(self) -> str:
        """Unique among the cells."""
        return f"{self.name}, trained on {self.font}, seed {self.seed}" if self.seed else f"{self.name}, {self.font}"


def cells() -> Iterator[Cell]:
    """All cells: the networks first, in the order of their seeds."""
    for seed in SEEDS:
        yield from (Cell(name, font, seed) for name in NETWORKS for font in FONTS)
    yield from (Cell(name, font) for name in TRACKERS for font in FONTS)


# ----- notes


def test_recipe(font: str, condition: str) -> Recipe:
    """What makes the test notes of a font in a condition: the same notes in each."""
    changes = f"synth.font={FONTS[font]}", f"dataset.seed={TEST_SEED}"
    return recipe_of(GENERATOR, *changes, *CONDITIONS[condition])


def blocks(n_notes: int) -> Iterator[tuple[int, int]]:
    """First and one past the last number of notes that are made together."""
    return ((start, min(start + BLOCK, n_notes)) for start in range(0, n_notes, BLOCK))


def cents(hertz: np.ndarray, note: np.ndarray) -> np.ndarray:
    """How far frequencies are above notes."""
    return 1200 * np.log2(hertz / 440) - 100 * (note - 69)


def figures(error: np.ndarray) -> dict[str, Any]:
    """What is kept of errors in cents, `(note,)`; no number where there was no answer.

    Returns:
        Which notes were read right, as bits in hexadecimal digits; the median error of those; the shares that were
        octaves beside the note, and without an answer.
    """
    known = np.isfinite(error)
    right = known & (np.abs(error) <= NEAR)
    octaves = np.round(error[known] / 1200)
    octave = (octaves != 0) & (np.abs(error[known] - 1200 * octaves) <= NEAR)
    return {
        "notes": len(error),
        "right": np.packbits(right).tobytes().hex(),
        "cents": round(float(np.median(np.abs(error[right]))), 3) if right.any() else None,
        "octave": round(float(octave.sum() / len(error)), 4),
        "silent": round(float((~known).mean()), 4),
    }


# ----- trackers


def measure_tracker(cell: Cell, n_notes: int) -> dict[str, Any]:
    """What a tracker reads from the notes of a font, and its processor time."""
    found, seconds = {}, 0.0
    for condition in CONDITIONS:
        recipe, errors = test_recipe(cell.font, condition), []
        for start, stop in blocks(n_notes):
            value = recipe.values(start, stop)
            waveforms = recipe.recorded(value, start)
            begun = time.process_time()
            hertz = np.array([TRACKERS[cell.name](waveform, recipe.synth.sample_rate) for waveform in waveforms])
            seconds += time.process_time() - begun
            errors.append(cents(hertz, value[:, 0]))
        found[condition] = figures(np.concatenate(errors))
    return {"conditions": found, "ms": round(1000 * seconds / (len(CONDITIONS) * n_notes), 2)}


# ----- networks


def overrides_of(cell: Cell, data_root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Overrides of `generate_vimh.py` for the set of a training, and of `train.py`."""
    generation, training = on_a_font(cell.font, cell.seed, GENERATOR, ("perturb=noisy",), "noisy", data_root)
    return generation, ("experiment=pitch", f"model={cell.name}", *training)


def on_a_font(
    font: str, seed: int, generator: str, changes: Sequence[str], suffix: str, data_root: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same of any training on a font, without the experiment.

    Args:
        font: A key of `FONTS`.
        seed: Of the training.
        generator: Its configuration.
        changes: Overrides of it.
        suffix: Of the set's name, for these changes.
        data_root: Where the sets are.
    """
    suffix = f"{suffix}_{font}"
    changes = *changes, f"synth.font={FONTS[font]}", f"dataset.suffix={suffix}"
    name = recipe_of(generator, *changes).directory_name(suffix)
    training = (
        f"data.data_dir={quoted(str(data_root / name))}",
        f"data.make_dataset.overrides=[{','.join(map(quoted, changes))}]",
        f"seed={seed}",
        "threads=1",
    )
    generation = f"--config-name={generator}", *changes, f"output_dir={data_root}"
    return generation, training


def measure_network(cell: Cell, n_notes: int, data_root: Path) -> dict[str, Any]:
    """Train on the notes of a font, and read the test notes of both."""
    run, kept = trained(f"peers/{cell.key}", *overrides_of(cell, data_root))
    with cpu_threads(1):
        return kept | {"fonts": {font: read_font(run, font, n_notes) for font in FONTS}}


def trained(name: str, generation: Sequence[str], training: Sequence[str]) -> tuple[Run, dict[str, Any]]:
    """Generate a set and train on it; the network, and what is kept of the training."""
    made = run_program("generate_vimh.py", *generation)
    results, spent = results_of(name, "src/train.py", *training, *QUIET)
    run = load_run(results["checkpoint"])
    return run, {
        "weights": sum(parameter.numel() for parameter in run.module.net.parameters()),
        "seconds": round(spent.core, 1),
        "generation_seconds": round(made.core, 1),
        "epochs": results["epochs"],
        "training_notes": results["training_samples"],
        "config": {name: run.config[name] for name in ("model", "loss")},
        "validation": {name: round(value, 4) for name, value in results["validation"].items()},
    }


def read_font(run: Run, font: str, n_notes: int) -> dict[str, Any]:
    """What a network reads from the notes of a font, its processor time, and how exactly it reads a change of pitch."""
    found, seconds = {}, 0.0
    reads: dict[str, np.ndarray] = {}
    for condition in CONDITIONS:
        recipe = test_recipe(font, condition)
        notes, taken = read_notes(run, recipe, n_notes)
        seconds += taken
        reads[condition] = notes
        found[condition] = figures(100 * (notes - recipe.values(0, n_notes)[:, 0]))
    recipe = test_recipe(font, "clean")
    shift = 100 * (np.random.default_rng(TEST_SEED).uniform(size=n_notes) - 0.5)  # cents
    again, _ = read_notes(run, recipe, n_notes, shift)
    error = 100 * (again - reads["clean"]) - shift
    return {
        "conditions": found,
        "ms": round(1000 * seconds / (len(CONDITIONS) * n_notes), 2),
        "change": figures(error)["cents"],
    }


def read_notes(run: Run, recipe: Recipe, n_notes: int, shift: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """Note numbers that a network reads, `(note,)`, and the seconds of processor that pictures and network took.

    Args:
        run: The network.
        recipe: Of the notes.
        n_notes: How many.
        shift: Cents by which they are tuned beside their own tuning, `(note,)`.
    """
    to_tensors, notes, seconds = input_of(run).to_tensors, [], 0.0
    for start, stop in blocks(n_notes):
        value = recipe.values(start, stop)
        waveform = recipe.recorded(value, start) if shift is None else tuned(recipe, value, start, shift[start:stop])
        begun = time.process_time()
        image, spec_range = recipe.represent(waveform)
        tensors = to_tensors(Batch(image, recipe.space.encode(value), spec_range, value))
        found, _ = network_values(run.module, tensors["image"], tensors["aux"])
        seconds += time.process_time() - begun
        notes.append(found[:, 0])
    return np.concatenate(notes), seconds


def tuned(recipe: Recipe, value: np.ndarray, first: int, shift: np.ndarray) -> np.ndarray:
    """The same keys of the same programs, tuned by some cents more, `(note, time)`."""
    given = recipe.given(value, recipe.draws(first, len(value)))
    return recipe.synth.render(given | {"tuning": shift})


def measure(cell: Cell, n_notes: int, data_root: Path) -> dict[str, Any]:
    """What is kept of a cell.

    Raises:
        NSMError: If a tracker is not installed.
    """
    if cell.seed:
        return measure_network(cell, n_notes, data_root)
    try:
        return measure_tracker(cell, n_notes)
    except ImportError as error:
        raise NSMError(f"{cell.name} cannot be imported ({error}). Run PEERS=1 sh setup.sh.") from error


# ----- the page


def bits(entry: Mapping[str, Any]) -> np.ndarray:
    """Which notes were read right, float64, `(note,)`."""
    packed = np.frombuffer(bytes.fromhex(entry["right"]), np.uint8)
    return np.unpackbits(packed)[: entry["notes"]].astype(np.float64)


def share_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """Share of the notes read right, a mean over trainings, with its standard error by bootstrap over the notes."""
    if not entries:
        return "not measured yet"
    right = np.mean([bits(entry) for entry in entries], axis=0)
    drawn = np.random.default_rng(0).integers(0, right.size, (N_RESAMPLED, right.size))
    return f"{right.mean():.3f} ± {right[drawn].mean(axis=1).std():.3f}"


def other(font: str) -> str:
    """The font that a network was not trained on."""
    (name,) = [name for name in FONTS if name != font]
    return name


@dataclass(frozen=True)
class Row:
    """What a line of the tables is about.

    Attributes:
        name: Of the tracker or network.
        weights: In words.
        read: Of a font that is read, what was read: `conditions` and `ms`, an entry per training.
    """

    name: str
    weights: str
    read: Mapping[str, Sequence[Mapping[str, Any]]]


def rows_of(results: Mapping[str, Any]) -> list[Row]:
    """Networks on the font that they were not trained on, and trackers."""
    rows = []
    for name in NETWORKS:
        by_font = {font: trainings_of(results, name, other(font)) for font in FONTS}
        weights = next((f"{one['weights']:,}" for found in by_font.values() for one in found), "")
        read = {font: [one["fonts"][font] for one in found] for font, found in by_font.items()}
        rows.append(Row(f"`{name}`, trained on the other font", weights, read))
    for name in TRACKERS:
        keys = {font: Cell(name, font).key for font in FONTS}
        read = {font: [results[key]] if key in results else [] for font, key in keys.items()}
        rows.append(Row(name, WEIGHTS[name], read))
    return rows


def trainings_of(results: Mapping[str, Any], name: str, font: str) -> list[Mapping[str, Any]]:
    """The trainings of a network on a font that are measured."""
    keys = [Cell(name, font, seed).key for seed in SEEDS]
    return [results[key] for key in keys if key in results]


def tables(results: Mapping[str, Any]) -> str:
    """Shares, cents, and what the networks reach on their own font."""
    rows, lines = rows_of(results), []
    for font in FONTS:
        lines += [f"Notes of {font}, share within {NEAR:.0f} cents:", ""]
        columns = "", "weights", *CONDITIONS, "ms of processor a second"
        lines += [*table(columns, (share_row(row, font) for row in rows)), "", *unread(rows, font)]
    lines += ["Median error in cents of the notes that were read right, clean / 10 dB / 0 dB:", ""]
    lines += [*table(("", *FONTS), ([row.name, *(cents_text(row.read[font]) for font in FONTS)] for row in rows)), ""]
    lines += ["The networks, by the font that they were trained on, means over their seeds:", ""]
    columns = "", "trained on", "seeds", "own font, clean", "other font, clean", "change of pitch, own", "other", "s"
    own = ([name, font, *gap_row(trainings_of(results, name, font), font)] for name in NETWORKS for font in FONTS)
    return "\n".join([*lines, *table(columns, own), "", ""])


def unread(rows: Sequence[Row], font: str) -> list[str]:
    """A sentence on the clean notes of a font that no tracker reads right, and no method at all, once all are there."""
    trackers = [row.read[font] for row in rows if row.name in TRACKERS]
    if not all(row.read[font] for row in rows):
        return []
    alone, all_of_them = (nobody(found) for found in (trackers, [row.read[font] for row in rows]))
    return [f"No tracker reads {alone:.3f} of the clean notes within {NEAR:.0f} cents; no method of the table, "
            f"{all_of_them:.3f}.", ""]  # fmt: skip


def nobody(found: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """Share of the clean notes that none of some methods reads right, in any training."""
    return 1 - float(np.any([bits(one["conditions"]["clean"]) for read in found for one in read], axis=0).mean())


def share_row(row: Row, font: str) -> list[str]:
    """A line of the table of a font."""
    read = row.read[font]
    shares = [share_text([one["conditions"][condition] for one in read]) for condition in CONDITIONS]
    return [row.name, row.weights, *shares, f"{statistics.fmean(one['ms'] for one in read):.1f}" if read else ""]


def cents_text(read: Sequence[Mapping[str, Any]]) -> str:
    """Median errors in every condition, means over the trainings."""
    if not read:
        return "not measured yet"
    return " / ".join(mean_text([one["conditions"][condition]["cents"] for one in read]) for condition in CONDITIONS)


def mean_text(numbers: Sequence[float | None]) -> str:
    """Mean of the numbers that there are."""
    known = [number for number in numbers if number is not None]
    return f"{statistics.fmean(known):.2f}" if known else "–"


def gap_row(found: Sequence[Mapping[str, Any]], font: str) -> list[str]:
    """What the trainings on a font reach on it and on the other, and what they took."""
    if not found:
        return ["0", *["not measured yet"] * 5]
    places = font, other(font)
    shares = [share_text([one["fonts"][place]["conditions"]["clean"] for one in found]) for place in places]
    changes = [mean_text([one["fonts"][place]["change"] for one in found]) for place in places]
    return [str(len(found)), *shares, *changes, f"{statistics.fmean(one['seconds'] for one in found):.0f}"]


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
    torch.set_num_threads(1)
    measure_cells(cells(), options, lambda cell: measure(cell, options.notes, options.data), page, write_page)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
