"""Compares runs on one page: curves, paired differences, errors per head, sounds and cost; and a table of the figures.

python scripts/compare.py RUN RUN [RUN ...]
"""

import hashlib
import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.checkpoints.run import Run, load_run, restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError, NSMError, check_number
from src.evaluation.comparison import (
    MEAN,
    MeanError,
    PairedDifference,
    RunErrors,
    comparable,
    mean_errors,
    paired_differences,
)
from src.evaluation.estimates import network_values
from src.evaluation.scoring import csv_cell, csv_text, parameter_errors, spread
from src.files import claim_directory, write_atomically
from src.listening.comparison import MOST_RUNS, TAGS, ComparedRun, Comparison, RunPair, render_comparison
from src.listening.content import Axes, Report, Side, Sound
from src.models.costs import cpu_threads, median_ms, multiply_adds
from src.models.predictor import Predictor
from src.pages.formats import format_number
from src.programs.output import PlainTable, console, plain_table, progress, say_where
from src.recipe import Recipe
from src.runs import ChosenRun, RunRecord, choose_run
from src.tasks.audio_eval import find_dataset
from src.tasks.curves import read_curves
from src.text import complain, one_line
from src.vimh.info import DatasetInfo

HEADINGS = ("error", "difference", "95 % interval", "nearer on")
PIECE = 2048  # test sounds that are read at a time
REPEATS = 50  # of what is timed
BATCH = 256  # sounds at once, of the second time
LETTERS = "ABCDEF"
MOST_LETTERS = 40  # of a label
# What may tell runs apart, the shortest first.
LABELS: tuple[Callable[[RunRecord], str | None], ...] = (
    lambda record: record.experiment,
    lambda record: record.network,
    lambda record: record.loss,
    lambda record: record.directory.name,
    lambda record: record.name,
)
COLUMNS = ("run", "against", "head", "units", "mean", "low", "high", "nearer", "sounds")


@dataclass(frozen=True)
class LoadedRun:
    """A run with its network, and what it answers to its test sounds.

    Attributes:
        label: Short and its own among those that are compared.
        chosen: Where it is.
        run: From the checkpoint.
        datamodule: A `VIMHDataModule` of its dataset.
        true_value: Of the test sounds, `(sound, parameter)`.
        value: What the network answers.
        tested: Its errors.
    """

    label: str
    chosen: ChosenRun
    run: Run
    datamodule: Any
    true_value: np.ndarray
    value: np.ndarray
    tested: RunErrors

    @cached_property
    def mean_error(self) -> np.ndarray:
        """Mean error of every sound over the heads, `(sound,)`."""
        return self.tested.per_head()[MEAN]


def compare(options: Namespace) -> int:
    """Compare the runs that a command line names; returns the exit code."""
    check_number("--sounds", options.sounds, whole=True, least=1)
    check_number("--seed", options.seed, whole=True, least=0)
    runs = load_runs(choose_runs(options.runs, options.log_dir), options)
    pairs = [RunPair(a, b, differences(runs, a, b, options.seed)) for a, b in comparable_pairs(runs)]
    errors = [mean_errors(run.tested, options.seed) for run in runs]
    notes = about_sounds(runs)
    heard, sounds, sound_errors, reason = heard_sounds(runs, options)
    notes += [f"There are no sounds to hear: {reason}"] if reason else []
    compared = [compared_run(run, own) for run, own in zip(runs, errors, strict=True)]
    comparison = Comparison(compared, pairs, notes, sounds, heard, sound_errors)
    output = options.output or claim_directory(options.log_dir / "compare" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    paths = {"Page": output / "index.html", "Figures": output / "figures.csv"}
    write_atomically(paths["Page"], render_comparison(comparison).encode())
    write_atomically(paths["Figures"], figures_csv(compared, pairs).encode())
    show(comparison, paths)
    return 0


# ----- which runs


def choose_runs(names: Sequence[str], log_dir: Path) -> list[ChosenRun]:
    """The runs of some names, each once.

    Raises:
        ConfigError: If there are too few or too many, there is no such run, or two names mean the same.
    """
    if not 2 <= len(names) <= MOST_RUNS:
        raise ConfigError(
            f"{len(names) or 'No'} run{'s' * (len(names) != 1)} named. Name two to {MOST_RUNS}, as in make compare "
            "RUNS='best last'; make runs lists them."
        )
    chosen = [choose_run(name, log_dir) for name in names]
    places = [run.ckpt_path.resolve() for run in chosen]
    for a, b in combinations(range(len(names)), 2):
        if places[a] == places[b]:
            raise ConfigError(one_line(f"{names[a]} and {names[b]} are the same: {chosen[b].why}. Name another run."))
    return chosen


def labels_of(chosen: Sequence[ChosenRun]) -> list[str]:
    """The shortest names that tell the runs apart: experiments, networks, losses, dates, or else places."""
    records = [run.run for run in chosen]
    for of in LABELS:
        labels = [of(record) or "" for record in records if record]
        if len({*labels}) == len(chosen) and all(labels):
            return [one_line(label, MOST_LETTERS) for label in labels]
    return [f"{letter} {one_line(run.ckpt_path.stem, 30)}" for letter, run in zip(LETTERS, chosen, strict=False)]


def load_runs(chosen: Sequence[ChosenRun], options: Namespace) -> list[LoadedRun]:
    """Every run with its answers to all of its test sounds."""
    labels = labels_of(chosen)
    with progress(len(chosen), "Testing", "runs") as advance:
        found = []
        for label, own in zip(labels, chosen, strict=True):
            found.append(load(label, own, options))
            advance(1)
    return found


def load(label: str, chosen: ChosenRun, options: Namespace) -> LoadedRun:
    """A run with its answers to all of its test sounds; its dataset is made again where it is gone."""
    run = load_run(chosen.ckpt_path, options.trusted_modules)
    instantiate = partial(instantiate_trusted, trusted_modules=options.trusted_modules)
    data_dir = find_dataset(run, None, options.data_dir, instantiate)
    datamodule: Any = restore_datamodule(run, options.trusted_modules, data_dir=str(data_dir))
    test_set = datamodule.test_set
    true_value, value = [], []
    for first in range(0, len(test_set), PIECE):
        samples = test_set[first : first + PIECE]
        true_value.append(samples["value"].numpy().astype(np.float64))
        value.append(network_values(run.module, samples["image"], samples["aux"])[0])
    true, answered = np.concatenate(true_value), run.info.space.clip(np.concatenate(value))
    tested = RunErrors(
        label, run.info.parameters, in_steps(run.info, answered, true), sounds_key(datamodule.info, true)
    )
    return LoadedRun(label, chosen, run, datamodule, true, answered, tested)


def in_steps(info: DatasetInfo, value: np.ndarray, true_value: np.ndarray) -> np.ndarray:
    """Errors as `RunErrors` has them, of values, `(sound, parameter)` each."""
    steps = [1.0 if spec.categorical else spec.step for spec in info.parameters]
    return parameter_errors(info.space, value, true_value) / np.array(steps)


def sounds_key(info: DatasetInfo, true_value: np.ndarray) -> str:
    """What the same test sounds have in common, whatever representation a dataset has of them.

    Sounds follow from values, synth, rate and duration. Of a dataset that does not say how it was made, the bytes of
    the test file count.
    """
    config = (info.generator or {}).get("config")
    parameters = [(spec.name, spec.min, spec.max, spec.step) for spec in info.parameters]
    made: dict[str, Any]
    if config is None:
        made = {name: entry.sha256 for name, entry in info.files.items() if name.startswith("test")}
    else:
        fixed = [(fixed.name, fixed.value) for fixed in info.space.fixed]
        made = {"synth": config.get("synth"), "rate": info.sample_rate, "duration": info.duration, "fixed": fixed}
    about = json.dumps([parameters, made], sort_keys=True, default=str).encode()
    return hashlib.sha256(about + np.ascontiguousarray(true_value).tobytes()).hexdigest()


# ----- figures


def comparable_pairs(runs: Sequence[LoadedRun]) -> list[tuple[int, int]]:
    """Numbers of the runs that answered to the same sounds, two and two; those with the first of a group come first."""
    groups = comparable([run.tested for run in runs])
    return [pair for group in groups for pair in combinations(group, 2)]


def differences(runs: Sequence[LoadedRun], first: int, second: int, seed: int) -> list[PairedDifference]:
    """Of two runs by their numbers."""
    return paired_differences(runs[first].tested, runs[second].tested, seed)


def about_sounds(runs: Sequence[LoadedRun]) -> list[str]:
    """Notes about runs that were tested on different sounds."""
    groups = comparable([run.tested for run in runs])
    if len(groups) == 1:
        return []
    sets = "; ".join(
        f"{', '.join(runs[number].label for number in group)} on {len(runs[group[0]].true_value):,} sounds of "
        f"{runs[group[0]].datamodule.data_dir.name}"
        for group in groups
    )
    return [
        f"These runs were tested on different sounds: {sets}. Differences are paired only between runs with the same "
        "sounds; the errors of the others stand side by side, and a part of their difference may be that of the sounds."
    ]


def compared_run(loaded: LoadedRun, errors: Sequence[MeanError]) -> ComparedRun:
    """What the page shows of a run."""
    record = loaded.chosen.run
    curves = read_curves(record.directory, TAGS) if record else {}
    return ComparedRun(loaded.label, facts_of(loaded), cost_of(loaded), curves, errors)


def facts_of(loaded: LoadedRun) -> dict[str, str]:
    """What a run is, name to text; what is not known is left out."""
    record, config = loaded.chosen.run, loaded.run.config
    network = config["model"]["net"].get("_target_", "").rpartition(".")[2]
    found: dict[str, Any] = {
        "Run": record.name if record else str(loaded.chosen.ckpt_path),
        "State": record and ("best of its dataset" if record.best else record.state),
        "Dataset": loaded.datamodule.data_dir.name,
        "Network": f"{record.network} ({network})" if record and record.network else network,
        "Loss": (record and record.loss) or config["loss"].get("_target_", "").rpartition(".")[2],
        "Seed": record and record.seed,
        "Epochs": record and record.epochs,
        "Training sounds": record and record.train_sounds and f"{record.train_sounds:,}",
        "Test sounds": f"{len(loaded.true_value):,}",
        "Checkpoint": loaded.chosen.ckpt_path.name,
    }
    return {name: one_line(str(item), 200) for name, item in found.items() if item is not None}


def cost_of(loaded: LoadedRun) -> dict[str, str]:
    """What a run costs, name to text."""
    net: Any = loaded.run.module.net
    info = loaded.run.info
    n_aux = len(loaded.run.config["data"]["aux"])
    one = torch.zeros(1, *info.image_shape, dtype=torch.uint8), torch.zeros(1, n_aux)
    many = tuple(part.expand(BATCH, *part.shape[1:]).contiguous() for part in one)
    predictor, record = Predictor(loaded.run.module), loaded.chosen.run
    with cpu_threads(1), torch.inference_mode():
        alone = median_ms(lambda: predictor(*one), REPEATS)
        together = median_ms(lambda: predictor(*many), max(3, REPEATS // 10)) / BATCH
    seconds = record.seconds if record else None
    return {
        "Weights": f"{sum(weight.numel() for weight in net.parameters()):,}",
        "Multiply-adds per sound": f"{multiply_adds(net, one)['']:,}",
        "Training": "–" if seconds is None else f"{seconds:,.1f} s",
        "Inference, one sound alone": f"{format_number(alone)} ms",
        f"Inference, per sound of {BATCH} together": f"{format_number(together)} ms",
    }


# ----- sounds


def heard_sounds(
    runs: Sequence[LoadedRun], options: Namespace
) -> tuple[list[int], Report | None, list[list[float]], str | None]:
    """What can be heard side by side: the largest group of runs with the same test sounds, if those can be rendered.

    Returns:
        Numbers of the runs, their sounds, the errors of each on them; without any, why there are none.
    """
    reasons = []
    for group in comparable([run.tested for run in runs]):
        try:
            return group, *sounds_of([runs[number] for number in group], options), None
        except NSMError as error:
            reasons.append(str(error))
    return [], None, [], reasons[0]


def sounds_of(runs: Sequence[LoadedRun], options: Namespace) -> tuple[Report, list[list[float]]]:
    """Some test sounds with the answers of all runs, first those on which the runs differ most, and their errors.

    Raises:
        NSMError: If the dataset is none of sounds that this project renders.
    """
    first = runs[0]
    instantiate = partial(instantiate_trusted, trusted_modules=options.trusted_modules)
    recipe = Recipe.from_info(first.datamodule.info, instantiate)
    errors = np.stack([run.mean_error for run in runs])  # (run, sound)
    apart = np.nan_to_num(errors.max(axis=0) - errors.min(axis=0))
    numbers = spread(apart, options.sounds)[::-1]
    sounds = [sound_of(number, runs, recipe) for number in numbers]
    report = Report(
        title="",
        facts={},
        parameters=recipe.space.varying,
        sample_rate=recipe.synth.sample_rate,
        axes=Axes.of(recipe.view),
        scores=[],
        true_value=first.true_value,
        value=first.value,
        sounds=sounds,
    )
    return report, errors[:, numbers].tolist()


def sound_of(number: int, runs: Sequence[LoadedRun], recipe: Recipe) -> Sound:
    """A test sound, and what each run makes of it."""
    values = np.stack([runs[0].true_value[number], *(run.value[number] for run in runs)])
    waveforms = recipe.render(values)
    pictures = recipe.spectrogram_db(waveforms)
    names = ("True", *(run.label for run in runs))
    sides = [Side(*side) for side in zip(names, waveforms, pictures, values, strict=True)]
    return Sound(f"test {number}", sides)


# ----- what is written and shown


def figures_csv(runs: Sequence[ComparedRun], pairs: Sequence[RunPair]) -> str:
    """A line for every error of a run, and for every difference `run` less `against`."""
    lines: list[list[Any]] = []
    for run in runs:
        lines += [line_of(run.label, "", error) for error in run.errors]
    for pair in pairs:
        labels = runs[pair.second].label, runs[pair.first].label
        lines += [line_of(*labels, difference, difference.better) for difference in pair.differences]
    return csv_text(COLUMNS, lines)


def line_of(run: str, against: str, error: MeanError, nearer: float | None = None) -> list[Any]:
    """A line of the table of figures."""
    numbers = [csv_cell(number) for number in (error.mean, error.low, error.high, nearer)]
    return [run, against, error.head, error.units, *numbers, error.n_sounds]


def show(comparison: Comparison, paths: Mapping[str, Path]) -> None:
    """Print the mean errors, the differences from the first run, and where everything is."""
    terminal = console()
    for note in comparison.notes:
        complain(note)
    terminal.print(summary_table(comparison))
    if any(pair.first == 0 for pair in comparison.pairs):
        terminal.print(f"Differences are those from {comparison.runs[0].label}, sound by sound on the same sounds.")
    say_where(**paths)


def summary_table(comparison: Comparison) -> PlainTable:
    """A row per run."""
    table = plain_table("Mean error of the heads on test sounds", ("run",), HEADINGS)
    found = {pair.second: pair.differences[0] for pair in comparison.pairs if pair.first == 0}
    for number, run in enumerate(comparison.runs):
        difference = found.get(number)
        cells = ("", "", "")
        if difference is not None and difference.better is not None:
            interval = f"{format_number(difference.low)} to {format_number(difference.high)}"
            cells = (format_number(difference.mean), interval, f"{difference.better:.0%}")
        table.add_row(run.label, f"{format_number(run.errors[0].mean)} {run.errors[0].units}", *cells)
    return table
