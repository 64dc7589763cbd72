"""Scores of estimates: audio metrics and parameter errors of every sound, and their summary."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from src.evaluation.audio_metrics import audio_metrics, bootstrap_interval
from src.evaluation.estimates import Estimate
from src.params import ParamSpec
from src.recipe import Recipe
from src.text import printable

SOUNDS_A_THREAD = 32  # rendered and compared at a time


@dataclass(frozen=True)
class Scores:
    """Scores of one estimate, sound by sound.

    Attributes:
        name: Of the estimate.
        metrics: Name to values, `(sound,)`.
        errors: Absolute errors, natural units, `(sound, parameter)`; None where the true values are not known.
    """

    name: str
    metrics: Mapping[str, np.ndarray]
    errors: np.ndarray | None


@dataclass(frozen=True)
class Row:
    """One figure of one estimate over all sounds.

    Attributes:
        estimate: Name of the estimate.
        metric: Name of the metric, or of the parameter whose absolute error it is.
        mean: Over sounds.
        median: Over sounds.
        low: Lower end of the 95 % bootstrap interval of the mean.
        high: Upper end.
    """

    estimate: str
    metric: str
    mean: float
    median: float
    low: float
    high: float


def score(
    estimate: Estimate, recipe: Recipe, true_value: np.ndarray, advance: Callable[[int], None] = lambda n: None
) -> Scores:
    """Audio metrics between the sounds of the true and of the estimated values, and the errors of the values.

    Args:
        estimate: Of all sounds.
        recipe: Renders both.
        true_value: Natural units, `(sound, parameter)`.
        advance: Called with the number of sounds just done.
    """
    size = SOUNDS_A_THREAD * numba.get_num_threads()
    parts = []
    for first in range(0, len(true_value), size):
        true, estimated = (recipe.render(value[first : first + size]) for value in (true_value, estimate.value))
        parts.append(audio_metrics(true, estimated, recipe.synth.sample_rate))
        advance(len(true))
    metrics = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Scores(estimate.name, metrics, np.abs(estimate.value - true_value))


def summarize(scores: Sequence[Scores], seed: int, parameters: Sequence[ParamSpec] = ()) -> list[Row]:
    """Mean, median and interval of every metric, and of the absolute error of every parameter, for every estimate.

    Args:
        scores: Of any number of estimates.
        seed: Of the bootstrap; the same sounds are drawn for every estimate and metric.
        parameters: Those of `Scores.errors`; without them, metrics only.

    Returns:
        Rows in the order of the estimates; of one estimate, metrics first.
    """
    rows = []
    for own in scores:
        columns = dict(own.metrics)
        if own.errors is not None:
            columns |= {spec.name: own.errors[:, p] for p, spec in enumerate(parameters)}
        for name, values in columns.items():
            low, high = bootstrap_interval(np.asarray(values), seed)
            rows.append(Row(own.name, name, float(np.mean(values)), float(np.median(values)), low, high))
    return rows


def spread(metric: np.ndarray, n_sounds: int) -> list[int]:
    """Numbers of the best and the worst sound by `metric`, `(sound,)`, and of others evenly between them in rank."""
    ranks = np.unique(np.linspace(0, len(metric) - 1, min(n_sounds, len(metric))).round().astype(int))
    return np.argsort(metric, kind="stable")[ranks].tolist()


def scores_csv(
    estimates: Sequence[Estimate], scores: Sequence[Scores], true_value: np.ndarray, parameters: Sequence[ParamSpec]
) -> str:
    """A table with a row per sound and estimate, in nine digits; a cell without a value is empty.

    Args:
        estimates: Of all sounds.
        scores: Of the same estimates, in the same order.
        true_value: Natural units, `(sound, parameter)`.
        parameters: In the order of the columns.
    """
    tables = []
    for estimate, own in zip(estimates, scores, strict=True):
        sources = {"true": true_value, "value": estimate.value, "error": own.errors, "std": estimate.std}
        columns = dict(own.metrics)
        for p, spec in enumerate(parameters):
            columns |= {f"{spec.name}_{key}": table[:, p] for key, table in sources.items() if table is not None}
        tables.append(columns | dict(estimate.columns))
    header = list(dict.fromkeys(name for columns in tables for name in columns))
    rows = [
        [number, estimate.name, *(f"{columns[name][number]:.9g}" if name in columns else "" for name in header)]
        for number in range(len(true_value))
        for estimate, columns in zip(estimates, tables, strict=True)
    ]
    return csv_text(["sound", "answer", *header], rows)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as text; what a terminal would obey, and bytes of file names that are no text, are escapes."""
    text = io.StringIO()
    lines = ([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in (header, *rows))
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
