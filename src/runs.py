"""The trained runs: what each was, what it reached, whether it came to its end, and which of them a program reads.

A run is a directory below `log_dir/train` that a training wrote, a job of a sweep as well. It is read from its files of
text alone, `.hydra/config.yaml`, `.hydra/hydra.yaml` and `results.json`; none of them has to be there, or to be right.
"""

import difflib
import json
import math
import os
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from src.errors import ConfigError
from src.text import name_of, one_line

TRAIN = "train"  # of log_dir: where trainings are
MULTIRUNS = "multiruns"  # of that: where sweeps are
HYDRA_CONFIG = Path(".hydra") / "config.yaml"  # of a run, as Hydra writes it
HYDRA_CHOICES = Path(".hydra") / "hydra.yaml"
RESULTS = "results.json"
CHECKPOINTS = "checkpoints"
LAST_CKPT = Path(CHECKPOINTS) / "last.ckpt"

LAST, BEST = "last", "best"  # what may be wanted beside a run's name
COMPLETE = "complete"
MOST_BYTES = 4_000_000  # of a file that is read: a hundred times a usual one
CHOICE = re.compile(r"\$\{hydra:runtime\.choices\.(\w+)\}")  # the option of a group, in a configuration
TIME = re.compile(r"(\d\d-\d\d_)?\d\d-\d\d-\d\d(_\d+)?(/\d+)?")  # the end of a run's usual name, or of a job's
CLOSE = 2.0  # s: a copy that does not keep the files' times writes them in any order
MOST_LISTED = 8  # names in a message


@dataclass(frozen=True)
class RunRecord:
    """A run, as its directory says. What is not known is None.

    Attributes:
        directory: Of the run.
        name: Its directory below `log_dir/train`, such as `example/2026-11-27_15-43-33`.
        experiment: Name of the experiment.
        dataset: Name of the dataset's directory.
        data: The option of the group `data`, such as `vimh`.
        network: The option of the group `model`, such as `cnn_64k`, or the class of the network.
        loss: The option of the group `loss`.
        weights: Number of weights.
        seed: Of everything random.
        epochs: That were trained.
        train_sounds: That it was trained on.
        seconds: That the training took.
        error: Mean absolute error on the test sounds in grid steps, mean over the heads whose values have an order.
        accuracy: Share of right classes on the test sounds, mean over the heads.
        val_error: The same error on the validation sounds, which choices are made by.
        val_accuracy: The same accuracy on them.
        date: When its newest checkpoint was written; without any, when the run began.
        checkpoint: Its best epoch, or else its last.
        last: Its last epoch.
        state: `complete`, or what is missing.
        best: Whether it is the best of the complete runs on its dataset; see `best_of`.
    """

    directory: Path
    name: str
    experiment: str
    dataset: str | None
    data: str | None
    network: str | None
    loss: str | None
    weights: int | None
    seed: int | None
    epochs: int | None
    train_sounds: int | None
    seconds: float | None
    error: float | None
    accuracy: float | None
    val_error: float | None
    val_accuracy: float | None
    date: datetime
    checkpoint: Path | None
    last: Path | None
    state: str
    best: bool = False

    @property
    def complete(self) -> bool:
        """Whether the training came to its own end and was tested, and its checkpoint is there."""
        return self.state == COMPLETE

    @property
    def was_validated(self) -> bool:
        """Whether it can be chosen by validation sounds; runs of earlier versions have figures of test sounds alone."""
        return self.val_error is not None or self.val_accuracy is not None

    @property
    def rank(self) -> tuple[float, float]:
        """Sorts runs, the best first: by error, then by accuracy; of categories only, there is no error."""
        own = (self.val_error, self.val_accuracy) if self.was_validated else (self.error, self.accuracy)
        error, accuracy = own
        return math.inf if error is None else error, -accuracy if accuracy is not None else math.inf


@dataclass(frozen=True)
class ChosenRun:
    """What a program is to read.

    Attributes:
        ckpt_path: The checkpoint.
        why: Which it is and why, one sentence without a full stop.
        run: The run that it is of; None for a checkpoint elsewhere.
    """

    ckpt_path: Path
    why: str
    run: RunRecord | None = None


# ----- reading


def find_runs(log_dir: str | Path, progress: Callable[[int], None] | None = None) -> list[RunRecord]:
    """Every run below `log_dir/train`, the newest first.

    Args:
        log_dir: Where all runs are.
        progress: Called with 1 for every run that was read.
    """
    train_dir = Path(log_dir, TRAIN)
    records = []
    for directory in run_directories(log_dir):
        records.append(read_run(directory, train_dir))
        if progress:
            progress(1)
    best = {record.directory for record in best_of(records)}
    records = [replace(record, best=record.directory in best) for record in records]
    return sorted(records, key=lambda record: (record.date, record.name), reverse=True)


def run_directories(log_dir: str | Path) -> list[Path]:
    """The directories of all runs, sorted: those with what Hydra writes, with results, or with checkpoints."""
    found = []
    for parent, directories, files in os.walk(Path(log_dir, TRAIN)):
        if RESULTS in files or HYDRA_CONFIG.parent.name in directories or CHECKPOINTS in directories:
            found.append(Path(parent))
            directories.clear()  # runs are not in one another
    return sorted(found)


def read_run(directory: Path, train_dir: Path) -> RunRecord:
    """A run by its directory, whatever is in there.

    Args:
        directory: Of the run.
        train_dir: Where runs are; the name of one elsewhere is its whole path.
    """
    config = _read(directory / HYDRA_CONFIG, _parse_yaml)
    choices = _at(_read(directory / HYDRA_CHOICES, _parse_yaml), "hydra", "runtime", "choices")
    results = _read(directory / RESULTS, json.loads)
    name = directory.relative_to(train_dir) if directory.is_relative_to(train_dir) else directory
    checkpoints = _checkpoints(directory)
    tested = _tested_checkpoint(directory, results)
    return RunRecord(
        directory=directory,
        name=name.as_posix(),
        experiment=_experiment_name(config, choices) or _experiment_of(name),
        dataset=_text(_at(results, "dataset")) or _last_part(_at(config, "data", "data_dir"), "/"),
        data=_text(_at(choices, "data")),
        network=_text(_at(choices, "model"))
        or _text(_at(results, "model"))
        or _last_part(_at(config, "model", "net", "_target_"), "."),
        loss=_text(_at(choices, "loss")) or _last_part(_at(config, "loss", "_target_"), "."),
        weights=_whole(_at(results, "parameters")),
        seed=_whole(_at(config, "seed")),
        epochs=_whole(_at(results, "epochs")),
        train_sounds=_whole(_at(results, "training_samples")),
        seconds=_number(_at(results, "training_seconds")),
        error=_mean_of_heads(results, "steps"),
        accuracy=_mean_of_heads(results, "acc"),
        val_error=_number(_at(results, "validation", "steps")),
        val_accuracy=_number(_at(results, "validation", "acc")),
        date=datetime.fromtimestamp(max(map(_age, checkpoints), default=_age(directory / HYDRA_CONFIG))),
        checkpoint=tested or (checkpoints[0] if checkpoints else None),
        last=directory / LAST_CKPT if (directory / LAST_CKPT).is_file() else None,
        state=_state(directory, config, results, tested),
    )


def best_of(records: Iterable[RunRecord]) -> list[RunRecord]:
    """The best run on each dataset: the complete one with the smallest error on validation sounds.

    Runs of earlier versions have no such figure; their error on the test sounds stands for it. Of equals, the newest is
    the best.
    """
    best: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda record: (record.date, record.name), reverse=True):
        if not record.complete or record.dataset is None or record.rank == (math.inf, math.inf):
            continue
        if record.dataset not in best or record.rank < best[record.dataset].rank:
            best[record.dataset] = record
    return list(best.values())


class _PlainLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's plain types, without merged mappings: a few lines of those can stand for any number of entries."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called for every mapping, to put merged ones into it."""


def _parse_yaml(content: bytes) -> Any:
    return yaml.load(content, Loader=_PlainLoader)


def _read(path: Path, parse: Callable[[bytes], Any]) -> Any:
    """The content of a file; None where there is none, or it cannot be read."""
    try:
        if not path.is_file():  # a pipe would never end
            return None
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        return None if len(content) > MOST_BYTES else parse(content)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _state(directory: Path, config: Any, results: Any, tested: Path | None) -> str:
    """`complete`, or what is missing."""
    path = directory / RESULTS
    if _at(config, "train") is False:
        return "not a training"
    if not path.is_file():
        return "not tested" if _at(config, "test") is False else "not ended"
    if not isinstance(_at(results, "heads"), dict):
        return "damaged"
    if tested is None:
        return "no checkpoint"
    resumed = _age(directory / LAST_CKPT) > _age(path) + CLOSE
    return "resumed" if resumed else COMPLETE


def _checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of a run, the best epoch first: of several the one that was written last."""
    found = [path for path in (directory / CHECKPOINTS).glob("*.ckpt") if path.is_file()]
    return sorted(found, key=lambda path: (not path.name.startswith("last"), _age(path), path.name), reverse=True)


def _tested_checkpoint(directory: Path, results: Any) -> Path | None:
    """The checkpoint that the results are of, also where the run was moved or copied; None without it."""
    named = _text(_at(results, "checkpoint"))
    places = [directory / CHECKPOINTS / Path(named).name, Path(named)] if named else []
    return next((path for path in places if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that cannot be one is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _age(path: Path) -> float:
    """When a file was written, in seconds; 0 without it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _experiment_name(config: Any, choices: Any) -> str | None:
    """The experiment by its configuration, in which the options of groups may be named: `${…choices.model}_small`."""
    name = CHOICE.sub(
        lambda found: _text(_at(choices, found[1])) or found[0], _text(_at(config, "experiment_name")) or ""
    )
    return None if "${" in name else name or None


def _experiment_of(name: Path) -> str:
    """The experiment by a run's place: `example/DATE`, or `multiruns/example/DATE/JOB`."""
    parts = name.parts
    place = parts[-3] if len(parts) >= 4 and parts[-4] == MULTIRUNS else parts[-2] if len(parts) > 1 else parts[-1]
    return place


def _at(node: Any, *keys: str) -> Any:
    """What nested mappings hold under some keys; None where they do not."""
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _text(item: Any) -> str | None:
    return item if isinstance(item, str) and item else None


def _last_part(item: Any, separator: str) -> str | None:
    """What stands behind the last separator of a text, such as the name of a directory."""
    return _text(item.rstrip(separator).rpartition(separator)[2]) if isinstance(item, str) else None


def _whole(item: Any) -> int | None:
    return item if isinstance(item, int) and not isinstance(item, bool) and abs(item) < 2**63 else None


def _number(item: Any) -> float | None:
    is_number = isinstance(item, float) or _whole(item) is not None
    return float(item) if is_number and math.isfinite(item) else None


def _mean_of_heads(results: Any, figure: str) -> float | None:
    """Mean of a figure over the heads that have it."""
    heads = _at(results, "heads")
    rows = heads.values() if isinstance(heads, dict) else ()
    found = [number for number in (_number(_at(row, figure)) for row in rows) if number is not None]
    return statistics.fmean(found) if found else None


# ----- choosing


def choose_run(wanted: str | None, log_dir: str | Path, experiment_name: str | None = None) -> ChosenRun:
    """The checkpoint that a program which does not train is to read, and why.

    Args:
        wanted: None: the newest complete run; without one, the newest. `last`: the newest, complete or not. `best`: the
            best run on the dataset of the newest complete run. A run's directory, or the end of its path below
            `log_dir/train` (`DATE`, `EXPERIMENT/DATE`). The name of an experiment, or of another directory with runs:
            its newest complete run; `EXPERIMENT/last` and `EXPERIMENT/best` as well. A checkpoint.
        log_dir: Where all runs are.
        experiment_name: The experiment that the run is to be of; None: any.

    Raises:
        ConfigError: If there is none, or several have that name; it says what may have been meant.
    """
    if wanted not in (None, LAST, BEST):
        path = Path(wanted)
        if _is_file(path):
            return _checkpoint(path, log_dir)
        if _is_run(path):
            return _chosen(read_run(path.absolute(), Path(log_dir, TRAIN).absolute()), "as asked for")
    records = [record for record in find_runs(log_dir) if record.checkpoint]
    if experiment_name:
        records = [record for record in records if record.experiment == experiment_name]
    if not records:
        runs = f"run of {experiment_name}" if experiment_name else "run"
        raise ConfigError(
            f"{Path(log_dir, TRAIN)}: no {runs} has a checkpoint. Train first (make ex), or name the file: "
            "ckpt_path=PATH."
        )
    return _among(wanted, records)


def choose_checkpoint(ckpt_path: str, log_dir: str | Path, experiment_name: str | None = None) -> ChosenRun:
    """A checkpoint by its path, or the last epoch of the training that wrote one last.

    Args:
        ckpt_path: The path, or `last`.
        log_dir: Where all runs are.
        experiment_name: The experiment that `last` is to be of; None: any.

    Raises:
        ConfigError: If there is none; it says what may have been meant.
    """
    if ckpt_path != LAST and _is_file(Path(ckpt_path)):
        return _checkpoint(Path(ckpt_path), log_dir)
    records = find_runs(log_dir)
    if ckpt_path != LAST:
        raise ConfigError(f"ckpt_path={one_line(ckpt_path)}: there is no such file. {_meant(ckpt_path, records)}")
    if experiment_name:
        records = [record for record in records if record.experiment == experiment_name]
    found = [(record.last, record) for record in records if record.last]
    if not found:
        runs = f"run of {experiment_name}" if experiment_name else "run"
        raise ConfigError(
            f"ckpt_path=last: no {runs} in {Path(log_dir, TRAIN)} has {LAST_CKPT}. Train first (make ex), or name the "
            "file: ckpt_path=PATH."
        )
    last, run = max(found, key=lambda pair: (_age(pair[0]), pair[1].name))
    return ChosenRun(last, one_line(f"run {run.name}: last epoch of the newest training"), run)


def _among(wanted: str | None, records: Sequence[RunRecord]) -> ChosenRun:
    """The run that is wanted, of those that have a checkpoint, the newest first."""
    if wanted is None:
        return _newest_complete(records)
    if wanted == LAST:
        return _chosen(records[0], "the newest one")
    if wanted == BEST:
        return _best(records)
    named = [record for record in records if _ends_with(record.name, wanted)]
    if len(named) == 1:
        return _chosen(named[0], "as asked for")
    if named:
        raise ConfigError(one_line(f"{wanted}: {len(named)} runs have that name: {_listed(named)}. Name one of them."))
    group, _, which = wanted.rstrip("/").rpartition("/")
    is_group = which not in (LAST, BEST)
    if members := [record for record in records if _is_of(record, wanted.rstrip("/") if is_group else group)]:
        return _among(None if is_group else which, members)
    raise ConfigError(one_line(f"{wanted}: there is no such run, and no such file. {_nearest(wanted, records)}"))


def _newest_complete(records: Sequence[RunRecord]) -> ChosenRun:
    """The newest complete run, or the newest if none is complete."""
    run = next((record for record in records if record.complete), None)
    if run is None:
        return _chosen(records[0], "the newest one, as none is complete")
    passed = records.index(run)
    why = "the newest complete one"
    if passed:
        why += f"; {'an' if passed == 1 else passed} incomplete newer {'one was' if passed == 1 else 'ones were'}"
        why += f" passed over ({records[0].name}: {records[0].state})" if passed == 1 else " passed over"
    return _chosen(run, why + better(run, records))


def _best(records: Sequence[RunRecord]) -> ChosenRun:
    """The best run on the dataset of the newest complete run."""
    newest = next((record for record in records if record.complete), None)
    best = {record.dataset: record for record in best_of(records)}.get(newest.dataset if newest else None)
    if best is None:
        raise ConfigError(
            "run=best: no run is complete, so none is the best. Train to the end (make ex), or take the newest: "
            "run=last"
        )
    n_complete = sum(record.complete and record.dataset == best.dataset for record in records)
    kind = "validation" if best.was_validated else "test"
    return _chosen(best, f"the best of {n_complete} on {best.dataset}: {figure_of(best)} on {kind} sounds")


def better(run: RunRecord, records: Sequence[RunRecord]) -> str:
    """The end of a sentence about a run: that another one on the same dataset is the better choice, or nothing."""
    best = {record.dataset: record for record in best_of(records)}.get(run.dataset)
    if best is None or best.rank >= run.rank or figure_of(best) == figure_of(run):
        return ""
    numbers = f"{figure_of(best).removesuffix(' steps')} against {figure_of(run)}"
    return f"; run=best would be better here: {numbers} on the same dataset"


def figure_of(run: RunRecord) -> str:
    """What a run is chosen by, in words."""
    error, accuracy = run.rank
    return f"{error:.2g} steps" if math.isfinite(error) else f"{-accuracy:.1%} right"


def _chosen(run: RunRecord, why: str) -> ChosenRun:
    """The best checkpoint of a run, with the sentence about it.

    Raises:
        ConfigError: If it has none.
    """
    if run.checkpoint is None:
        raise ConfigError(f"{run.directory}: this run has no checkpoint. Choose another one: make runs lists them.")
    state = "" if run.complete else f" ({run.state})"
    return ChosenRun(run.checkpoint, one_line(f"run {run.name}{state}: {why}"), run)


def _checkpoint(path: Path, log_dir: str | Path) -> ChosenRun:
    """A checkpoint that was named by its path, with the run in whose directory it is."""
    directory = path.absolute().parents[1]
    is_of_run = path.absolute().parent.name == CHECKPOINTS and _is_run(directory)
    run = read_run(directory, Path(log_dir, TRAIN).absolute()) if is_of_run else None
    return ChosenRun(path, f"checkpoint {name_of(path)}", run)


def _is_run(path: Path) -> bool:
    return (path / CHECKPOINTS).is_dir() or (path / HYDRA_CONFIG).is_file()


def _ends_with(name: str, wanted: str) -> bool:
    """Whether a path ends with the parts of another, or with a time such as `11-27_15-43-33` or `15-43-33`."""
    parts = Path(wanted).parts
    ends = bool(parts) and Path(name).parts[-len(parts) :] == parts
    return ends or (bool(TIME.fullmatch(wanted)) and name.endswith(wanted))


def _is_of(record: RunRecord, group: str) -> bool:
    """Whether a run is of an experiment, or in a directory below `log_dir/train`."""
    return record.experiment == group or (bool(group) and Path(record.name).is_relative_to(group))


def _nearest(wanted: str, records: Sequence[RunRecord]) -> str:
    """What may have been meant: the names that differ least, or else the newest runs."""
    guesses = difflib.get_close_matches(wanted, list(_names(records)), n=3, cutoff=0.6)
    if guesses:
        return f"Did you mean {' or '.join(guesses)}?"
    return f"There are {_listed(records)}."


def _names(records: Sequence[RunRecord]) -> Iterator[str]:
    """Everything that may be wanted, each once."""
    yield from (LAST, BEST)
    yield from dict.fromkeys(record.experiment for record in records)
    for record in records:
        yield from (record.name, record.directory.name)


def _meant(ckpt_path: str, records: Sequence[RunRecord]) -> str:
    """What may have been meant by a path that is none."""
    known = {LAST: f"ckpt_path={LAST}"} | {name: f"run={name}" for name in _names(records) if name != LAST}
    for record in records:
        files = [os.path.relpath(path) for path in (record.checkpoint, record.last) if path]
        known |= {name_of(file): f"ckpt_path={name_of(file)}" for file in files}
        known[os.path.relpath(record.directory)] = f"run={record.name}"
    wanted = os.path.relpath(ckpt_path) if os.sep in ckpt_path else ckpt_path
    guess = difflib.get_close_matches(wanted, known, n=1)
    if guess:
        return one_line(f"Did you mean {known[guess[0]]}?")
    return "Train first (make ex), or name another file; run=NAME takes the name of a run, and make runs lists them."


def _listed(records: Sequence[RunRecord]) -> str:
    names = [record.name for record in records[:MOST_LISTED]]
    more = len(records) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
