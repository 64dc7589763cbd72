"""The comparison of runs: one HTML file with curves, errors, paired differences, cost, and the same sounds to hear.

Texts, figures and drawings are made here; the pictures and the player of the chosen sound are those of the listening
report, and `comparison.js` serves them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.evaluation.comparison import MEAN, MeanError, PairedDifference
from src.listening.content import Report
from src.listening.figures import ticks
from src.listening.sounds import page_data
from src.pages.formats import decimals_of, format_number
from src.pages.pages import PageSource

HERE = Path(__file__).parent
COMPARISON = PageSource(
    HERE / "comparison.html.j2", HERE / "comparison.css", HERE / "comparison.js", HERE / "listening.css"
)
MOST_RUNS = 6  # that have a colour

WIDTH, HEIGHT, TOP, BOTTOM = 400, 230, 10, 186  # of a chart, and where its frame lies, in its own units
LETTER = 6.3  # width of a digit of 11 units, at most
MOST_POINTS = 400  # of a line
# Figure of the loggers, heading, and whether it is drawn by its logarithm.
CHARTS = (("loss", "Loss", False), ("steps", "Error in grid steps", True), ("acc", "Accuracy", False))
STAGES = ("train", "val")
TAGS = tuple(f"{stage}/{figure}" for figure, _, _ in CHARTS for stage in STAGES)
UNITS = {"steps": "steps", "wrong": "of the classes wrong"}


@dataclass(frozen=True)
class ComparedRun:
    """A run on the page.

    Attributes:
        label: Short and its own, for buttons and columns.
        facts: What it is, name to text.
        cost: What it costs, name to text.
        curves: Tag to steps and values, of `TAGS`.
        errors: Of its heads, the mean first.
    """

    label: str
    facts: Mapping[str, str]
    cost: Mapping[str, str]
    curves: Mapping[str, Sequence[tuple[int, float]]]
    errors: Sequence[MeanError]


@dataclass(frozen=True)
class RunPair:
    """Two runs that answered to the same sounds.

    Attributes:
        first: Number of the run that the other one is compared with.
        second: Number of the other one.
        differences: Of the heads, the mean first.
    """

    first: int
    second: int
    differences: Sequence[PairedDifference]


@dataclass(frozen=True)
class Comparison:
    """The content of the page.

    Attributes:
        runs: Two to `MOST_RUNS`.
        pairs: Of all that were tested on the same sounds.
        notes: What a reader must know, sentences.
        sounds: To hear: the original and the answers of `heard`; None where there is nothing to hear.
        heard: Numbers of the runs whose answers can be heard.
        sound_errors: Mean error of each of those, on each of the sounds, in the units of the mean.
    """

    runs: Sequence[ComparedRun]
    pairs: Sequence[RunPair]
    notes: Sequence[str] = ()
    sounds: Report | None = None
    heard: Sequence[int] = ()
    sound_errors: Sequence[Sequence[float]] = ()


def render_comparison(comparison: Comparison) -> str:
    """The whole page, HTML."""
    data, block = page_data(comparison.sounds) if comparison.sounds else ({"sounds": []}, "")
    facts = table_of([run.facts for run in comparison.runs])
    data["styles"] = [0, *(run + 1 for run in comparison.heard)]  # sides have the colours of their runs
    return COMPARISON.inline(
        data,
        comparison=comparison,
        block=block,
        verdict=verdict(comparison),
        charts=charts(comparison.runs),
        facts=[row for row in facts if len({*row[1]}) > 1],
        shared=[(name, cells[0]) for name, cells in facts if len({*cells}) == 1],
        cost=table_of([run.cost for run in comparison.runs]),
        errors=error_table(comparison.runs),
        pairs=[pair_table(comparison, pair) for pair in comparison.pairs],
        sides=data.get("sides", []),
        styles=data["styles"],
        sound_rows=sound_rows(comparison),
    )


def verdict(comparison: Comparison) -> str:
    """Which run is nearest to the truth and whether that is certain, in a sentence."""
    means = [run.errors[0] for run in comparison.runs]
    if not comparison.pairs:
        return "These runs were tested on different sounds, so that their errors cannot be compared sound by sound."
    paired = sorted({number for pair in comparison.pairs for number in (pair.first, pair.second)})
    known = [number for number in paired if means[number].mean is not None]
    if len(known) < 2:
        return "There is nothing to compare: no parameter acts on the test sounds of both runs."
    best = min(known, key=lambda number: means[number].mean or 0.0)
    rivals = [pair for pair in comparison.pairs if best in (pair.first, pair.second)]
    others = [pair.second if pair.first == best else pair.first for pair in rivals]
    other, pair = min(zip(others, rivals, strict=True), key=lambda rival: means[rival[0]].mean or math.inf)
    found, (label, second) = pair.differences[0], (comparison.runs[number].label for number in (best, other))
    amount = f"{format_number(means[best].mean)} {UNITS[means[best].units]}"
    if found.sign == 0 or found.low is None or found.high is None:
        interval = f"{format_number(found.low)} to {format_number(found.high)}"
        return f"{label} ({amount}) and {second} cannot be told apart: their difference is within {interval} (95 %)."
    low, high = sorted(map(abs, (found.low, found.high)))
    return (
        f"{label} is nearest to the truth: a mean error of {amount}, {format_number(abs(found.mean or 0.0))} less than "
        f"{second} on the same {found.n_sounds:,} sounds (95 %: {format_number(low)} to {format_number(high)})."
    )


# ----- tables


def table_of(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Rows of texts, a name and a cell for each run."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, "–") for column in columns]) for name in names]


def error_table(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """A row per head that any run has: means and intervals, the smallest mean marked."""
    heads = dict.fromkeys(error.head for run in runs for error in run.errors)
    rows = []
    for head in heads:
        found = [next((error for error in run.errors if error.head == head), None) for run in runs]
        known = [error for error in found if error is not None and error.mean is not None]
        if known:
            ends = [end for error in known for end in (error.low or 0.0, error.high or 0.0)]
            least = min(error.mean for error in known if error.mean is not None)
            rows.append(
                {
                    "head": "mean of the heads" if head == MEAN else head,
                    "units": UNITS[known[0].units],
                    "cells": [_cell(error, 0.0, max(ends), least) for error in found],
                }
            )
    return rows


def pair_table(comparison: Comparison, pair: RunPair) -> dict[str, Any]:
    """The differences of two runs: a sentence, and a row per head on one scale around 0."""
    first, second = (comparison.runs[number].label for number in (pair.first, pair.second))
    reach = max((abs(end) for row in pair.differences for end in (row.low or 0.0, row.high or 0.0)), default=0.0)
    rows = []
    for row in pair.differences:
        rows.append(
            {
                "head": "mean of the heads" if row.head == MEAN else row.head,
                "units": UNITS[row.units],
                "sign": row.sign,
                "cell": _cell(row, -reach, reach),
                "better": "–" if row.better is None else percent(row.better),
                "n_sounds": f"{row.n_sounds:,}",
            }
        )
    return {
        "first": first,
        "second": second,
        "style": pair.second + 1,
        "other_style": pair.first + 1,
        "sentence": pair_sentence(pair.differences[0], first, second),
        "rows": rows,
    }


def pair_sentence(mean: PairedDifference, first: str, second: str) -> str:
    """What a difference says."""
    if mean.mean is None or mean.low is None or mean.high is None:
        return f"{first} and {second} have no sound in common on which a parameter acts."
    interval = f"95 %: {format_number(mean.low)} to {format_number(mean.high)}"
    difference = f"{second} less {first}: {format_number(mean.mean)} {UNITS[mean.units]} ({interval})"
    nearer = {-1: f"{second} is nearer", 1: f"{first} is nearer", 0: "this does not tell which is nearer"}[mean.sign]
    share = f"{second} is the nearer one on {percent(mean.better or 0.0)} of {mean.n_sounds:,} sounds"
    return f"{difference}; {nearer}. {share}."


def percent(share: float) -> str:
    """A share in whole percents."""
    return f"{100 * share:.0f} %"


def _cell(error: MeanError | None, start: float, end: float, least: float | None = None) -> dict[str, Any] | None:
    """Texts of a mean and its interval, and their places from 0 to 100 between two ends."""
    if error is None or error.mean is None or error.low is None or error.high is None:
        return None
    width = (end - start) or 1.0
    decimals = min(decimals_of(error.high - error.low), 4) if error.high > error.low else None
    mean, low, high = (format_number(number, decimals) for number in (error.mean, error.low, error.high))
    places = [round(100 * (number - start) / width, 2) for number in (error.mean, error.low, error.high)]
    return {"mean": mean, "interval": f"{low} to {high}", "places": places, "least": error.mean == least}


def sound_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row per sound to hear: its name, and the mean error of each run."""
    if comparison.sounds is None:
        return []
    columns = zip(*comparison.sound_errors, strict=True)
    names = (sound.name for sound in comparison.sounds.sounds)
    return [
        {"name": name, "errors": [format_number(error) for error in errors]}
        for name, errors in zip(names, columns, strict=True)
    ]


# ----- curves


def charts(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """A chart per figure that any run has logged."""
    found = (chart(runs, figure, heading, is_log) for figure, heading, is_log in CHARTS)
    return [drawn for drawn in found if drawn["lines"]]


def chart(runs: Sequence[ComparedRun], figure: str, heading: str, is_log: bool) -> dict[str, Any]:
    """The lines of all runs, training and validation, and the axes.

    Args:
        runs: Their colours follow from their order.
        figure: As the loggers name it.
        heading: Of the chart.
        is_log: Whether the logarithm of the figure is drawn; what is not above 0 is left out.
    """
    lines = []
    for number, run in enumerate(runs, start=1):
        for stage in STAGES:
            points = [
                (step, value) for step, value in run.curves.get(f"{stage}/{figure}", ()) if value > 0 or not is_log
            ]
            if points:
                scaled = [(step, math.log10(value) if is_log else value) for step, value in points]
                lines.append((number, stage, thinned(scaled)))
    if not lines:
        return {"lines": []}
    steps, values = zip(*(point for _, _, points in lines for point in points), strict=True)
    (low, high), last = _spread(min(values), max(values)), max(steps) or 1
    y_ticks = log_ticks(low, high) if is_log else ticks(low, high)
    x_ticks = [(number, _short(number)) for number, _ in ticks(0, last, 4)]
    left = 10 + LETTER * max(len(text) for _, text in y_ticks)
    right = WIDTH - 6 - LETTER / 2 * len(x_ticks[-1][1])

    def x(step: float) -> float:
        return round(left + (right - left) * step / last, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    return {
        "heading": heading,
        "figure": figure,
        "words": f"{heading} over optimizer steps, 0 to {last:,}" + (", logarithmic" if is_log else ""),
        "frame": {"width": WIDTH, "height": HEIGHT, "left": round(left, 1), "right": round(right, 1)}
        | {"top": TOP, "bottom": BOTTOM},
        "lines": [
            {"style": number, "stage": stage, "path": _path([(x(step), y(value)) for step, value in points])}
            for number, stage, points in lines
        ],
        "x_ticks": [(x(number), text) for number, text in x_ticks],
        "y_ticks": [(y(number), text) for number, text in y_ticks],
    }


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MOST_POINTS` of the points of a line, the last one among them."""
    every = -(-len(points) // MOST_POINTS)
    return [*points[:-1:every], points[-1]]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers between two powers of 10, of which the exponents are given, and their texts."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1,) if high - low > 2.5 else (1, 2, 5)
    found = [(power + math.log10(factor), factor * 10.0**power) for power in powers for factor in factors]
    shown = [(place, f"{number:g}") for place, number in found if low <= place <= high]
    return shown or [((low + high) / 2, f"{10 ** ((low + high) / 2):.3g}")]


def _spread(low: float, high: float) -> tuple[float, float]:
    """Ends with a little room; of a single value, around it."""
    margin = 0.04 * (high - low) or abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def _short(number: float) -> str:
    """A number of steps: 600, 15k."""
    return f"{number / 1000:g}k" if number >= 10_000 else f"{number:g}"


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A line as the `d` of a path; a point alone is a dot."""
    if len(points) == 1:
        return f"M{points[0][0]:g} {points[0][1]:g}h0"
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
