"""Trains networks on clean and on perturbed sounds, and reads perturbed sounds with each: `make robustness`.

python scripts/robustness.py [--budget 300] [--hours 3] [--only REGEX] [--list] [--table]

A cell is one training, and what its network reads from test sounds perturbed in every way of the table. Cells are
trained in the order in which they decide; those in docs/results/robustness.json are not repeated, so that the table
can be made in parts: delete an entry to measure it again. `docs/robustness.md` is written after every cell.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
import numpy as np  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

from scripts.benchmark_models import SHARE_TO_TRAIN, START_UP, seconds_per_epoch  # noqa: E402
from scripts.cells import cell_options, measure_cells  # noqa: E402
from scripts.pages import table, write_between  # noqa: E402
from scripts.setups import QUIET, compose_config, recipe_of, results_of, set_up  # noqa: E402
from src.checkpoints.run import Run, load_run  # noqa: E402
from src.checkpoints.trusted import instantiate_own  # noqa: E402
from src.evaluation.estimates import network_values  # noqa: E402
from src.models.costs import cpu_threads  # noqa: E402
from src.models.metrics import WIDTH  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.params import ParamSpec  # noqa: E402
from src.perturb.chain import Perturbation  # noqa: E402
from src.programs.command_line import reporting  # noqa: E402
from src.programs.output import console  # noqa: E402
from src.readings.network import input_of  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.recordings import resample  # noqa: E402
from src.text import prepare_streams  # noqa: E402
from src.vimh.reader import Batch  # noqa: E402

RESULTS = ROOT / "docs" / "results" / "robustness.json"
PAGE = ROOT / "docs" / "robustness.md"
MARKS = "<!-- robustness: made by scripts/robustness.py -->\n", "<!-- end of robustness -->\n"
KINDS = ("clean", "mild", "recording")  # what networks are trained on; options of configs/perturb, but for the first
MODELS = {"basic": "cnn_tiny", "envelope": "cnn_64k", "resonance": "cnn_64k"}
TRAINING_SOUNDS = 131_072
TEST_SOUNDS = 2048
SEED = 42  # of the trainings' first, and of the sets
NOISE = {f"SNR {ratio} dB": ("noise", {"ratio": ratio}) for ratio in (60, 40, 20)}
ROOMS = {f"room {rt60:g} s": ("room", {"rt60": rt60, "direct_ratio": [3, 15]}) for rt60 in (0.2, 0.5, 1.0)}
# Column to the option of configs/perturb that makes it, and what is changed of its settings.
COLUMNS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    **NOISE,
    **ROOMS,
    "EQ ± 6 dB": ("eq", {"level": [-6, 6]}),
    "MP3 64 kbit/s": ("mp3", {"bitrate": 64}),
    "gain ± 12 dB": ("gain", {"level": [-12, 12]}),
    "onset ± 10 ms": ("onset", {"shift": [-0.01, 0.01]}),
    "random phase": ("phase", {}),
}
CHAIN = "16 kHz, all"  # rendered at twice the rate, through everything, then MP3, and resampled as a recording is
FIGURES = ("steps", "coverage", "edge")
GOALS = {"none, goal 1.2": "none", "SNR 40 dB, goal 1.5": "SNR 40 dB", "room 0.2 s, goal 1.5": "room 0.2 s"}
GOAL_KINDS = ("clean", "recording")
BY_LEVEL = ("note_velocity",)  # heads that are read from the level, which an unknown gain takes away


@dataclass(frozen=True)
class Cell:
    """A training, and what is read with it.

    Attributes:
        set: A key of `MODELS`.
        kind: One of `KINDS`.
        seed: Of the training.
    """

    set: str
    kind: str
    seed: int

    @property
    def key(self) -> str:
        """Unique among the cells."""
        return f"{self.set}, {self.kind}, seed {self.seed}"


def cells() -> Iterator[Cell]:
    """All cells, those first that decide most: the goals are about `recording` beside `clean`, on basic."""
    for kind in ("recording", "clean", "mild"):
        yield Cell("basic", kind, SEED)
    for name in ("envelope", "resonance"):
        for kind in ("recording", "clean", "mild"):
            yield Cell(name, kind, SEED)
    for seed in (SEED + 1, SEED + 2):
        for kind in ("recording", "clean", "mild"):
            yield Cell("basic", kind, seed)


# ----- training


def overrides_of(cell: Cell, size: int, data_root: Path) -> tuple[str, ...]:
    """Overrides of `train.py` that a cell means; its set is generated where it is missing."""
    generator = f"synth/generate_moog_{cell.set}"
    changes = [f"dataset.size={size}", *([f"perturb={cell.kind}"] if cell.kind != "clean" else [])]
    name = recipe_of(generator, *changes).directory_name(None if cell.kind == "clean" else cell.kind)
    return (
        f"experiment=moog_cnn_{cell.set}",
        f"model={MODELS[cell.set]}",
        f"data.data_dir={quoted(str(data_root / name))}",
        f"data.make_dataset.config_name={generator}",
        f"data.make_dataset.overrides=[{','.join(map(quoted, changes))}]",
        f"seed={cell.seed}",
    )


def train(cell: Cell, budget: float, size: int, data_root: Path) -> tuple[dict[str, Any], Path]:
    """Train and test on one thread, for as many epochs as the budget lasts; the set is there before it counts.

    Returns:
        What is kept of the training, and the checkpoint.
    """
    overrides = overrides_of(cell, size, data_root)
    cfg = compose_config("train", *overrides, f"paths.output_dir={quoted(str(ROOT))}")
    module, datamodule = set_up(cfg)
    with cpu_threads(1):
        epoch = seconds_per_epoch(module, datamodule, time.thread_time)  # others may use the cores
    epochs = max(1, int(SHARE_TO_TRAIN * (budget - START_UP) / epoch))
    length = "threads=1", f"trainer.max_epochs={epochs}"
    results, spent = results_of(f"robustness/{cell.key}", "src/train.py", *overrides, *QUIET, *length)
    kept = {"seconds": round(spent.core, 1), "epochs": epochs, "training_sounds": results["training_samples"]}
    return kept, Path(results["checkpoint"])


# ----- reading


def perturbed_images(clean: Recipe, column: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and spec ranges of test sounds, perturbed as a column says, by their numbers.

    Args:
        clean: The recipe of the set without perturbation.
        column: A key of `COLUMNS`, or `CHAIN`.
        start: Number of the first sound.
        stop: One past the last.
    """
    value = clean.values(start, stop)
    if column == CHAIN:
        return clean.represent(chain_sounds(clean, value, start))
    option, settings = COLUMNS[column]
    perturbed = replace(clean, perturbation=perturbation_of(clean, {option: settings}))
    return perturbed.represent(perturbed.recorded(value, start))


def chain_sounds(clean: Recipe, value: np.ndarray, start: int) -> np.ndarray:
    """The same sounds rendered at twice the rate, through everything and MP3, and resampled as a recording is."""
    rate = clean.synth.sample_rate
    fine = twice_the_rate(clean)
    names = {"recording": {}, "mp3": {"bitrate": 64}}
    sounds = replace(fine, perturbation=perturbation_of(fine, names)).recorded(value, start)
    resampled = [resample([sound.astype(np.float64)], 2 * rate, rate) for sound in sounds]
    return np.stack([np.pad(sound, (0, clean.n_samples))[: clean.n_samples] for sound in resampled]).astype(np.float32)


def twice_the_rate(clean: Recipe) -> Recipe:
    """The recipe whose synth renders at twice the rate."""
    section = {**clean.config["synth"], "sample_rate": 2 * clean.synth.sample_rate}
    return replace(clean, synth=instantiate_own(section, slot="synth"))


def perturbation_of(recipe: Recipe, options: Mapping[str, Mapping[str, Any]]) -> Perturbation:
    """Options of configs/perturb, one after the other, with changed settings, for the sounds of a recipe."""
    effects = {}
    for option, settings in options.items():
        section = compose_config("synth/generate_moog_basic", f"perturb={option}").perturb
        for name, entry in (OmegaConf.to_container(section, resolve=True) or {}).items():
            effects[name] = instantiate_own({**entry, **settings}, slot="effect")
    return Perturbation(effects, recipe.synth.sample_rate, recipe.n_samples)


def read(run: Run, clean: Recipe, column: str, n_sounds: int) -> dict[str, Any]:
    """What a network reads from perturbed test sounds: figures over all heads, and the error of each in steps."""
    start, stop = clean.n_train, clean.n_train + n_sounds
    value = clean.values(start, stop)
    image, spec_range = perturbed_images(clean, column, start, stop)
    tensors = input_of(run).to_tensors(Batch(image, clean.space.encode(value), spec_range, value))
    found, std = network_values(run.module, tensors["image"], tensors["aux"])
    return figures(found, std, value.astype(np.float64), run.info.parameters, clean.space.active(value))


def figures(
    found: np.ndarray, std: np.ndarray, true: np.ndarray, specs: Sequence[ParamSpec], active: np.ndarray
) -> dict[str, Any]:
    """Error in steps, coverage of the 90 % intervals, and the share of answers on an edge: means over the heads.

    Args:
        found: What was read, `(sound, head)`.
        std: Its standard deviations.
        true: What was rendered.
        specs: The parameters.
        active: Whether each acts on the sound.
    """
    heads = {}
    for head, spec in enumerate(specs):
        acts = active[:, head]
        error = np.abs(found[acts, head] - true[acts, head])
        from_edge = np.minimum(np.abs(found[acts, head] - spec.min), np.abs(found[acts, head] - spec.max))
        heads[spec.name] = {
            "steps": float(error.mean() / spec.step),
            "coverage": float((error <= WIDTH * std[acts, head]).mean()),
            "edge": float((from_edge <= 1e-3 * spec.step).mean()),
        }
    means = {name: statistics.fmean(head[name] for head in heads.values()) for name in FIGURES}
    return means | {"heads": {name: round(head["steps"], 5) for name, head in heads.items()}}


def measure(cell: Cell, budget: float, size: int, n_sounds: int, data_root: Path) -> dict[str, Any]:
    """Train a cell, and read every column with it."""
    kept, ckpt_path = train(cell, budget, size, data_root)
    run = load_run(ckpt_path)
    clean = recipe_of(f"synth/generate_moog_{cell.set}", f"dataset.size={size}")
    n_sounds = min(n_sounds, clean.size - clean.n_train)
    columns = {column: read(run, clean, column, n_sounds) for column in (*COLUMNS, CHAIN)}
    return kept | {"test_sounds": n_sounds, "columns": columns}


# ----- the page


def tables(results: Mapping[str, Any]) -> str:
    """A table for each set: a row for each column of `COLUMNS`, what was trained side by side."""
    lines: list[str] = []
    for name, model in MODELS.items():
        runs = runs_of(results, name)
        seeds = ", ".join(f"{kind} {len(found)}" for kind, found in runs.items())
        lines += [f"### {name}, `{model}`", "", f"Trainings measured: {seeds}.", ""]
        rows = ([column, *(cell_text(found, column) for found in runs.values())] for column in (*COLUMNS, CHAIN))
        lines += [*table(("test sounds", *(f"trained {kind}" for kind in KINDS)), rows), ""]
    return "\n".join([*lines, ""])


def runs_of(results: Mapping[str, Any], name: str) -> dict[str, list[Mapping[str, Any]]]:
    """The cells of a set that are measured, by what they were trained on."""
    own = [cell for cell in cells() if cell.set == name and cell.key in results]
    return {kind: [results[cell.key] for cell in own if cell.kind == kind] for kind in KINDS}


def cell_text(runs: Sequence[Mapping[str, Any]], column: str) -> str:
    """Means over the seeds of one entry: error in steps with its spread, coverage and share on an edge."""
    found = [run["columns"][column] for run in runs if column in run["columns"]]
    if not found:
        return "not measured yet"
    steps, coverage, edge = ([entry[name] for entry in found] for name in FIGURES)
    spread = f" ± {statistics.stdev(steps):.3f}" if len(steps) > 1 else ""
    others = statistics.fmean(map(steps_of_others, found))
    shares = f"{statistics.fmean(coverage):.0%}, {statistics.fmean(edge):.1%}"
    return f"{statistics.fmean(steps):.3f}{spread} ({others:.3f}), {shares}"


def steps_of_others(entry: Mapping[str, Any]) -> float:
    """Error in steps over the heads that are not read from the level."""
    return statistics.fmean(steps for name, steps in entry["heads"].items() if name not in BY_LEVEL)


def goals(results: Mapping[str, Any]) -> list[str]:
    """What the goals say of `recording` on each set, once it and `clean` are measured."""
    found = {name: runs_of(results, name) for name in MODELS}
    rows = [goals_of(name, runs) for name, runs in found.items() if all(map(runs.get, GOAL_KINDS))]
    if not rows:
        return ["The goals are not measured yet."]
    return [*table(("set, trained with `recording`", *GOALS, "coverage beyond 0.85 to 0.95"), rows)]


def goals_of(name: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """A row of the table of goals: errors as multiples of the clean network's on clean sounds; coverage."""

    def mean(kind: str, column: str, of: Callable[[Mapping[str, Any]], float]) -> float:
        return statistics.fmean(of(run["columns"][column]) for run in runs[kind])

    def times_clean(column: str) -> str:
        every, others = (
            mean("recording", column, of) / mean("clean", "none", of) for of in (itemgetter("steps"), steps_of_others)
        )
        return f"{every:.2f} ({others:.2f})"

    coverage = {column: mean("recording", column, itemgetter("coverage")) for column in (*COLUMNS, CHAIN)}
    outside = [f"{column} {share:.2f}" for column, share in coverage.items() if not 0.85 <= share <= 0.95]
    return [name, *map(times_clean, GOALS.values()), ", ".join(outside) or "nowhere"]


def write_page(results: Mapping[str, Any], page: Path) -> None:
    """Replace the tables of the page."""
    write_between(MARKS, "\n".join(["", *goals(results), "", tables(results)]), page)


def main() -> int:
    """Measure what is not there yet."""
    prepare_streams()
    parser = cell_options(__doc__, ROOT / "data", RESULTS, hours=3.0)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of a training, its set not counted")
    parser.add_argument("--size", type=int, default=TRAINING_SOUNDS, help="sounds of a set")
    parser.add_argument("--sounds", type=int, default=TEST_SOUNDS, help="test sounds that are read")
    options = parser.parse_args()
    page = PAGE if options.results == RESULTS else None

    def measured(cell: Cell) -> dict[str, Any]:
        found = measure(cell, options.budget, options.size, options.sounds, options.data)
        clean, chain = (found["columns"][column]["steps"] for column in ("none", CHAIN))
        console().print(f"    error {clean:.3f} steps, through everything {chain:.3f}")
        return found

    measure_cells(cells(), options, measured, page, write_page)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
