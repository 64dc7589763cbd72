"""Scores of estimates: audio metrics and parameter errors of every sound, and their summary."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numba
import numpy as np

from src.evaluation.audio_metrics import audio_metrics, bootstrap_interval
from src.evaluation.estimates import Estimate
from src.params import ParameterSpace, ParamSpec
from src.recipe import Recipe
from src.text import printable

SOUNDS_A_THREAD = 32  # rendered and compared at a time
EDGE = 0.1  # grid steps from an end of its range within which a value is on the edge


@dataclass(frozen=True)
class Scores:
    """Scores of one estimate, sound by sound.

    Attributes:
        name: Of the estimate.
        metrics: Name to values, `(sound,)`.
        errors: Absolute errors in the units of values, `(sound, parameter)`; of a category 1 where the class is wrong,
            else 0; NaN where a parameter does not act. None where the true values are not known.
        f1: Macro F1 of every category that acts, by name.
    """

    name: str
    metrics: Mapping[str, np.ndarray]
    errors: np.ndarray | None
    f1: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One figure of one estimate over all sounds.

    Attributes:
        estimate: Name of the estimate.
        metric: Name of the metric, or of the parameter whose absolute error it is. A category has `{name}_acc` and
            `{name}_f1`.
        mean: Over sounds on which the parameter acts; None without any.
        median: Over the same; None of accuracies and F1.
        low: Lower end of the 95 % bootstrap interval of the mean; None of F1.
        high: Upper end.
    """

    estimate: str
    metric: str
    mean: float | None
    median: float | None = None
    low: float | None = None
    high: float | None = None


def score(
    estimate: Estimate, recipe: Recipe, true_value: np.ndarray, advance: Callable[[int], None] = lambda n: None
) -> Scores:
    """Audio metrics between the sounds of the true and of the estimated values, and the errors of the values.

    Args:
        estimate: Of all sounds.
        recipe: Renders both.
        true_value: `(sound, parameter)`.
        advance: Called with the number of sounds just done.
    """
    size = SOUNDS_A_THREAD * numba.get_num_threads()
    parts = []
    for first in range(0, len(true_value), size):
        true, estimated = (recipe.render(value[first : first + size]) for value in (true_value, estimate.value))
        parts.append(audio_metrics(true, estimated, recipe.synth.sample_rate))
        advance(len(true))
    metrics = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    errors = parameter_errors(recipe.space, estimate.value, true_value)
    return Scores(estimate.name, metrics, errors, category_f1(recipe.space, estimate.value, true_value))


def parameter_errors(space: ParameterSpace, value: np.ndarray, true_value: np.ndarray) -> np.ndarray:
    """Absolute errors as `Scores` has them, of values, `(sound, parameter)` each."""
    errors = np.abs(value - true_value)
    if space.categorical.any():
        wrong = space.index_from_value(value) != space.index_from_value(true_value)
        errors = np.where(space.categorical, wrong, errors)
    return np.where(space.active(true_value), errors, np.nan) if space.conditions else errors


def category_f1(space: ParameterSpace, value: np.ndarray, true_value: np.ndarray) -> dict[str, float]:
    """Macro F1 of every category that acts on any of the sounds, of values, `(sound, parameter)` each."""
    if not space.categorical.any():
        return {}
    active = space.active(true_value)
    found = {}
    for p, spec in enumerate(space.varying):
        if spec.categorical and active[:, p].any():
            said, true = (spec.index_from_value(v[active[:, p], p]).astype(np.int64) for v in (value, true_value))
            found[spec.name] = macro_f1(said, true)
    return found


def macro_f1(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean over the classes that occur of 2 * right / (true + predicted); classes are int64, `(sound,)` each."""
    size = int(max(predicted.max(), true.max())) + 1
    right = np.bincount(true[predicted == true], minlength=size)
    both = np.bincount(true, minlength=size) + np.bincount(predicted, minlength=size)
    return float((2 * right[both > 0] / both[both > 0]).mean())


def summarize(scores: Sequence[Scores], seed: int, parameters: Sequence[ParamSpec] = ()) -> list[Row]:
    """Mean, median and interval of every metric, and of the error of every parameter, for every estimate.

    Of a category, that is the accuracy, and F1.

    Args:
        scores: Of any number of estimates.
        seed: Of the bootstrap; the same sounds are drawn for every estimate and metric.
        parameters: Those of `Scores.errors`; without them, metrics only.

    Returns:
        Rows in the order of the estimates; of one estimate, metrics first.
    """
    rows = []
    for own in scores:
        rows += [_row(own.name, name, np.asarray(values), seed) for name, values in own.metrics.items()]
        for spec, column in zip(parameters, () if own.errors is None else own.errors.T, strict=False):
            errors = column[~np.isnan(column)]
            if spec.categorical:
                accuracy = _row(own.name, f"{spec.name}_acc", (errors == 0).astype(float), seed)
                rows += [replace(accuracy, median=None), Row(own.name, f"{spec.name}_f1", own.f1.get(spec.name))]
            else:
                rows.append(_row(own.name, spec.name, errors, seed))
    return rows


def _row(estimate: str, name: str, values: np.ndarray, seed: int) -> Row:
    """One figure over sounds, `(sound,)`."""
    if not len(values):
        return Row(estimate, name, None)
    return Row(estimate, name, float(np.mean(values)), float(np.median(values)), *bootstrap_interval(values, seed))


def spread(metric: np.ndarray, n_sounds: int) -> list[int]:
    """Numbers of the best and the worst sound by `metric`, `(sound,)`, and of others evenly between them in rank.

    Of three or more, one is the median (of an even number of sounds the better of both in the middle).
    """
    ranks = np.unique(np.linspace(0, len(metric) - 1, min(n_sounds, len(metric))).round().astype(int))
    if len(ranks) > 2:
        middle = (len(metric) - 1) // 2
        ranks[1 + np.abs(ranks[1:-1] - middle).argmin()] = middle
    return np.argsort(metric, kind="stable")[ranks].tolist()


def scores_csv(
    estimates: Sequence[Estimate], scores: Sequence[Scores], true_value: np.ndarray, parameters: Sequence[ParamSpec]
) -> str:
    """A table with a row per sound and estimate, in nine digits; a cell without a value is empty.

    True and estimated values are in natural units, with standard deviations; those of categories are names, and what
    does not act is empty. Errors are as in `Scores`.

    Args:
        estimates: Of all sounds.
        scores: Of the same estimates, in the same order.
        true_value: `(sound, parameter)`.
        parameters: In the order of the columns.
    """
    tables = []
    for estimate, own in zip(estimates, scores, strict=True):
        sources = {"true": (true_value, None), "value": (estimate.value, estimate.std)}
        values = {key: plain_values(parameters, *source) for key, source in sources.items()}
        columns = dict(own.metrics)
        for p, spec in enumerate(parameters):
            columns |= {f"{spec.name}_{key}": table[:, p] for key, (table, _) in values.items()}
            if own.errors is not None:
                columns[f"{spec.name}_error"] = own.errors[:, p]
            if estimate.std is not None and not spec.categorical:
                columns[f"{spec.name}_std"] = values["value"][1][:, p]
        tables.append(columns | dict(estimate.columns))
    header = list(dict.fromkeys(name for columns in tables for name in columns))
    rows = [
        [number, estimate.name, *(csv_cell(columns[name][number]) if name in columns else "" for name in header)]
        for number in range(len(true_value))
        for estimate, columns in zip(estimates, tables, strict=True)
    ]
    return csv_text(["sound", "answer", *header], rows)


def plain_values(
    parameters: Sequence[ParamSpec], value: np.ndarray, std: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard deviations as people read them: in natural units, None where a parameter does not act.

    The values of categories are their names; they have no standard deviation.

    Args:
        parameters: In the order of the columns.
        value: `(sound, parameter)`.
        std: Of the values, of the same shape.

    Returns:
        Objects, `(sound, parameter)` each.
    """
    space = ParameterSpace(tuple(parameters))
    active = space.active(value) if space.conditions else np.ones(value.shape, dtype=bool)
    spread = np.full(value.shape, np.nan) if std is None else space.natural_std(value, std)
    plain, spread = space.natural_from_value(value).astype(object), spread.astype(object)
    for p, spec in enumerate(space.varying):
        if spec.categorical:
            plain[:, p] = [spec.text(number) for number in value[:, p]]
            spread[:, p] = None
    plain[~active] = spread[~active] = None
    return plain, spread


def edges_of(space: ParameterSpace, value: np.ndarray) -> dict[str, str | None]:
    """Name to the end of its range that a value lies on, `low` or `high`, or None; categories have no ends.

    Args:
        space: The parameters.
        value: `(parameter,)`.
    """
    near = EDGE * space.step
    low, high = value <= space.low + near, value >= space.high - near
    counts = np.isfinite(value) & ~space.categorical
    names = (spec.name for spec in space.varying)
    return {
        name: None if not counted else "low" if is_low else "high" if is_high else None
        for name, counted, is_low, is_high in zip(names, counts, low, high, strict=True)
    }


def csv_cell(item: Any, digits: int = 9) -> str:
    """A number, a name, or nothing as a cell of a table."""
    if item is None or isinstance(item, str):
        return item or ""
    return "" if np.isnan(item) else f"{item:.{digits}g}"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as text; what a terminal would obey, and bytes of file names that are no text, are escapes."""
    text = io.StringIO()
    lines = ([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in (header, *rows))
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
