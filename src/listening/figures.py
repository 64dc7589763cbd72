"""The summary of a listening report: tables of all answers, and the error of every parameter over its true value."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from src.evaluation.audio_metrics import CAP
from src.evaluation.scoring import Row, summarize
from src.listening.content import NEAREST, Report
from src.pages.formats import decimals_of, format_number
from src.params import ParamSpec
from src.vimh.axes import round_numbers

HINTS = {"low": "lower is better", "high": "higher is better", "0": "0 is best"}
WIDTH, HEIGHT, TOP, BOTTOM = 320, 210, 8, 170  # of a scatter, and where its frame lies, in its own units
# Name of an estimate to that of the side which plays it, where there is one.
SIDES = {"network": ("Predicted", "Unrefined"), "refined": ("Refined",), NEAREST: ("Neighbour",)}
MOST_CLASSES = 64  # of a category whose confusion is a table
LETTER = 6.3  # width of a digit of 11 units, at most


def tables(report: Report) -> list[dict[str, Any]]:
    """Parameter errors, accuracies, metrics of spectra, metrics sample by sample; no empty table."""
    found = {(row.estimate, row.metric): row for row in summarize(report.scores, report.seed, report.parameters)}

    def line(name: str, units: str, hint: str, best: float | None) -> dict[str, Any]:
        rows = [found.get((scores.name, name)) for scores in report.scores]
        return {"name": name, "units": units, "hint": hint, "cells": _cells(rows, best)}

    numbers = [spec for spec in report.parameters if not spec.categorical]
    errors = [line(spec.name, spec.units, f"step {spec.step:.4g}", 0.0) for spec in numbers]
    classes = [
        line(f"{spec.name}_{key}", "", hint, 1.0)
        for spec in report.parameters
        if spec.categorical
        for key, hint in (("acc", f"accuracy of {spec.n_classes} classes"), ("f1", "macro F1"))
    ]
    by_phase: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for metric in report.metrics:
        best = None if metric.best == CAP else metric.best
        by_phase[metric.sees_phase].append(line(metric.name, metric.units, HINTS[metric.better], best))
    styles = [_style(scores.name, report.side_names) for scores in report.scores]
    phase = "Sensitive to phase: sounds that differ only in phase may score badly here."
    written = (
        {"caption": caption, "note": note, "lines": [line for line in lines if any(line["cells"])], "styles": styles}
        for caption, note, lines in (
            ("Absolute error of the parameters", "Below each name stands the grid step.", errors),
            ("Categories", "Share of the right classes, and the mean of 2 right / (true + predicted).", classes),
            ("Spectra and envelopes", "", by_phase[False]),
            ("Sample by sample", phase, by_phase[True]),
        )
    )
    return [table for table in written if table["lines"]]


def _cells(rows: Sequence[Row | None], best: float | None) -> list[dict[str, Any] | None]:
    """A cell for each: texts, with two digits of the interval's width, and places (mean, low, high) of 0 to 100.

    The places are on one scale, from the lowest to the highest interval, the best value included where there is one.
    """
    known = [_interval(row) for row in rows if row and row.mean is not None and np.isfinite(row.mean)]
    ends = [end for interval in known for end in interval] + ([] if best is None else [best]) or [0.0]
    start, width = min(ends), (max(ends) - min(ends)) or 1.0
    cells: list[dict[str, Any] | None] = []
    for row in rows:
        if row is None or row.mean is None or not np.isfinite(row.mean):
            cells.append(None)
            continue
        decimals, (lower, upper) = None, _interval(row)
        if upper > lower and row.mean:
            decimals = min(decimals_of(upper - lower), max(4, decimals_of(abs(row.mean))))
        mean, median, low, high = (format_number(n, decimals) for n in (row.mean, row.median, row.low, row.high))
        places = [round(100 * (number - start) / width, 2) for number in (row.mean, lower, upper)]
        interval = "" if row.low is None else f"{low} to {high}"
        cells.append(
            {"mean": mean, "median": "" if row.median is None else median, "interval": interval, "places": places}
        )
    return cells


def _style(estimate: str, sides: Sequence[str]) -> str:
    """The colour of an estimate: that of the side which plays it, or none."""
    played = next((side for side in SIDES.get(estimate, ()) if side in sides), None)
    return "" if played is None else f"side-{sides.index(played)}"


def _interval(row: Row) -> tuple[float, float]:
    """Ends of the interval, both at the mean where there is none."""
    if row.low is None or row.high is None:
        return (row.mean or 0.0,) * 2
    return row.low, row.high


# ----- error over true value


def scatters(report: Report) -> list[dict[str, Any]]:
    """Error over true value of each parameter; none where the true values are not known.

    Categories have no such error, and sounds on which a parameter does not act have none.
    """
    if report.true_value is None or report.value is None:
        return []
    active = report.space.active(report.true_value)
    errors = report.value - report.true_value
    return [
        _scatter(spec, report.true_value[acts, p], errors[acts, p])
        for p, (spec, acts) in enumerate(zip(report.parameters, active.T, strict=True))
        if not spec.categorical and acts.any()
    ]


def confusions(report: Report) -> list[dict[str, Any]]:
    """How often the first answer took each class of a category for which; none where true values are not known."""
    if report.true_value is None or report.value is None:
        return []
    active, found = report.space.active(report.true_value), []
    for p, (spec, acts) in enumerate(zip(report.parameters, active.T, strict=True)):
        if spec.categorical and spec.n_classes <= MOST_CLASSES and acts.any():
            true, said = (spec.index_from_value(of[acts, p]).astype(int) for of in (report.true_value, report.value))
            counts = np.zeros((spec.n_classes, spec.n_classes), dtype=int)
            np.add.at(counts, (true, said), 1)
            found.append({"name": spec.name, "rows": [*zip(spec.names, counts.tolist(), strict=True)]})
    return found


def _scatter(spec: ParamSpec, true: np.ndarray, error: np.ndarray) -> dict[str, Any]:
    """Place the dots, `(sound,)` each, and the axes."""
    absolute = np.abs(error)
    limit = max(1.05 * float(absolute.max()), spec.step / 100)
    x_ticks, y_ticks = ticks(spec.min, spec.max), ticks(-limit, limit)
    left = 22 + LETTER * max(len(text) for _, text in y_ticks)
    right = WIDTH - 4 - LETTER / 2 * len(x_ticks[-1][1])

    def x(value: float) -> float:
        return round(left + (right - left) * float(spec.normalized_from_value(value)), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value + limit) / (2 * limit), 1)

    median, worst, bias = (format_number(n) for n in (np.median(absolute), absolute.max(), error.mean()))
    within = format_number(100 * float((absolute <= spec.step).mean()), 0)
    band = min(spec.step, limit)
    return {
        "spec": spec,
        "words": f"median |error| {median}, largest {worst}, bias {bias}; {within} % within one step",
        "frame": {"width": WIDTH, "height": HEIGHT, "left": round(left, 1), "right": round(right, 1)}
        | {"top": TOP, "bottom": BOTTOM},
        "dots": "".join(f"M{x(a):g} {y(b):g}h0" for a, b in zip(true.tolist(), error.tolist(), strict=True)),
        "band": (y(band), round(y(-band) - y(band), 1)),  # top and height: errors within one step
        "zero": y(0),
        "x_ticks": [(x(number), text) for number, text in x_ticks],
        "y_ticks": [(y(number), text) for number, text in y_ticks],
    }


def ticks(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    """Round numbers from `low` to `high`, at most `most` steps of them, with their texts."""
    numbers = round_numbers(low, high, most)
    exact = (n for n in range(16) if np.allclose(numbers, numbers.round(n), rtol=0, atol=1e-6 * (high - low)))
    decimals = next(exact, 16)
    return [(number, format_number(number, decimals)) for number in numbers.tolist()]
