"""The curves of a run, out of the files that its loggers wrote: CSV or TensorBoard."""

import csv
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from src.callbacks.tensorboard import tag_of

Curve = list[tuple[int, float]]  # optimizer steps and what was measured there, in rising order

VERSION = re.compile(r"version_(\d+)")  # directories of the CSV logger: a resumed run begins another one
NOTHING_ELSE = {"images": 1, "audio": 1, "histograms": 1, "compressedHistograms": 1, "tensors": 1, SCALARS: 0}


def read_curves(run_dir: Path, tags: Iterable[str]) -> dict[str, Curve]:
    """What was logged under some tags while a run was trained; a tag that was not logged is left out.

    Args:
        run_dir: Directory of the run.
        tags: Such as `val/loss`.
    """
    found = read_csv(run_dir / "csv", tags)
    return found or read_tensorboard(run_dir / "tensorboard", tags)


def read_csv(directory: Path, tags: Iterable[str]) -> dict[str, Curve]:
    """From `version_N/metrics.csv`; where a run was resumed, the later version counts from its first step on."""
    tables = [path for path in directory.glob("version_*/metrics.csv") if VERSION.fullmatch(path.parent.name)]
    curves: dict[str, dict[int, float]] = {}
    for path in sorted(tables, key=lambda path: int(path.parent.name.rpartition("_")[2])):
        for tag, points in _table(path, tags).items():
            before = {step: value for step, value in curves.get(tag, {}).items() if step < min(points)}
            curves[tag] = before | points
    return _sorted(curves)


def _table(path: Path, tags: Iterable[str]) -> dict[str, dict[int, float]]:
    """Tag to step to value; lines that are damaged are left out."""
    found: dict[str, dict[int, float]] = {}
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                for tag in tags:
                    step, value = _number(row.get("step")), _number(row.get(tag))
                    if step is not None and value is not None:
                        found.setdefault(tag, {})[int(step)] = value
    except (OSError, csv.Error):
        pass
    return found


def read_tensorboard(directory: Path, tags: Iterable[str]) -> dict[str, Curve]:
    """From event files; steps that a resumed run did again are those of the resumed run.

    A tag is sought as `TensorBoardLogger` shows it, then as it is: so other loggers and earlier versions wrote it.
    """
    if not any(directory.glob("events.out.tfevents.*")):
        return {}
    events = EventAccumulator(str(directory), size_guidance=NOTHING_ELSE)
    events.Reload()
    known = set(events.Tags()[SCALARS])
    shown = {tag: next((name for name in (tag_of(tag), tag) if name in known), None) for tag in tags}
    points = {tag: {event.step: event.value for event in events.Scalars(name)} for tag, name in shown.items() if name}
    return _sorted({tag: {k: v for k, v in found.items() if math.isfinite(v)} for tag, found in points.items()})


def _sorted(curves: Mapping[str, Mapping[int, float]]) -> dict[str, Curve]:
    return {tag: sorted(points.items()) for tag, points in curves.items() if points}


def _number(text: object) -> float | None:
    """A finite number out of a cell."""
    try:
        number = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
