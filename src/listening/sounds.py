"""The block of data of the listening report: what the script draws and plays of every sound."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from src.evaluation.ridges import Ridge
from src.evaluation.scoring import edges_of, parameter_errors
from src.listening.content import Report, Side, Sound
from src.listening.verdict import worst_median_best
from src.pages.encoding import Block
from src.pages.formats import decimals_of, format_hertz, format_number
from src.params import INACTIVE, ParamSpec
from src.vimh.axes import Axis

SPAN = 80.0  # dB from the bottom to the top of the colour scale
MOST_FREQUENCIES = 8  # steps from tick to tick of a spectrogram, whose height is fixed
CARDS = {3: ("Worst", "Median", "Best"), 2: ("Worst", "Best"), 0: ()}


def page_data(report: Report) -> tuple[dict[str, Any], str]:
    """The input of the script, and the block of bytes that it refers to, as text."""
    top = scale_top(float(np.max(side.spectrogram_db)) for sound in report.sounds for side in sound.sides)
    block = Block()
    cards = worst_median_best(report)
    decimals = [_decimals(report, p) for p in range(len(report.parameters))]
    data = {
        "sides": report.side_names,
        "rate": report.sample_rate,
        "axes": _axes(report),
        "levels": (top - SPAN, top),
        "judge": report.judged_by,
        "cards": list(zip(CARDS[len(cards)], cards, strict=True)),
        "figures": _figures(report),
        "parameters": [range_of(spec) for spec in report.parameters],
        "metrics": [{"name": metric.name, "units": metric.units} for metric in report.metrics],
        "means": _means(report),
        "sounds": [_sound(report, sound, top, block, decimals) for sound in report.sounds],
    }
    return data, block.text()


def _axes(report: Report) -> dict[str, Any]:
    """Centres of rows and columns, ends in s, and ticks of the frequencies as fractions of the height."""
    rows, columns = (np.asarray(report.axes.frequency), Axis("s", np.asarray(report.axes.time)))
    first, last = columns.edges
    if len(columns.centre) == 1:
        duration = report.sounds[0].sides[0].waveform.size / report.sample_rate
        first, last = columns.centre[0] - duration / 2, columns.centre[0] + duration / 2
    return {
        "rows": rows.round(3).tolist(),
        "columns": columns.centre.round(6).tolist(),
        "ends": (float(first), float(last)),
        "frequencies": frequency_ticks(report.axes.frequency),
    }


def frequency_ticks(frequency: Sequence[float]) -> list[tuple[float, str]]:
    """Ticks of rows as fractions of the height, with their texts; the centres of the rows are in Hz, low to high."""
    rows = Axis("Hz", np.asarray(frequency))
    values = rows.tick_values(MOST_FREQUENCIES)
    return [
        (round((place + 0.5) / len(rows.centre), 5), format_hertz(value))
        for place, value in zip(rows.position(values).tolist(), values.tolist(), strict=True)
    ]


def scale_top(loudest: Iterable[float]) -> float:
    """Level of the last colour for pictures whose loudest points are these, dB: the next multiple of 10."""
    return 10.0 * math.ceil(round(max(loudest), 6) / 10)


def _figures(report: Report) -> list[dict[str, Any]]:
    """The columns that the list can be sorted by: metrics, and errors of the parameters in grid steps, or classes."""
    columns = [
        (metric.name, metric.units, "Metrics", metric.better, [sound.metric(metric.name) for sound in report.sounds])
        for metric in report.metrics
    ]
    errors = np.full((len(report.sounds), len(report.parameters)), np.nan)
    for number, sound in enumerate(report.sounds):
        true, value = sound.true_value, sound.sides[1].value
        if true is not None and value is not None:
            (errors[number],) = parameter_errors(report.space, value[None], true[None])
    for p, spec in enumerate(report.parameters):
        kind, step = ("wrong class", 1.0) if spec.categorical else ("steps", spec.step)
        columns.append((f"{spec.name}, {kind}", "", "Errors of parameters", "low", list(errors[:, p] / step)))
    figures = []
    for label, units, group, better, found in columns:
        values = np.array(found, dtype=float)
        known = np.isfinite(values)
        if known.any():
            size = np.where(known, np.abs(values), 0.0)
            badness = {"low": values, "high": -values, "0": size}[better]
            figures.append(
                {
                    "label": label,
                    "units": units,
                    "group": group,
                    "best": "highest" if better == "high" else "lowest",
                    "texts": [format_number(value) for value in values],
                    "bars": (size / (size.max() or 1.0)).round(4).tolist(),
                    "badness": [bad if ok else None for bad, ok in zip(badness.tolist(), known, strict=True)],
                }
            )
    return figures


def _means(report: Report) -> list[str] | None:
    """Means of the metrics over all sounds for the first estimate, as texts; None where there are none."""
    if not report.scores:
        return None
    found = report.scores[0].metrics
    return [format_number(np.mean(found[m.name])) if m.name in found else "–" for m in report.metrics]


def _sound(report: Report, sound: Sound, top: float, block: Block, decimals: Sequence[int]) -> dict[str, Any]:
    """A sound with its waveforms, its pictures and its numbers.

    Args:
        report: The page.
        sound: Which one.
        top: Level of the last colour, dB.
        block: Gets the bytes.
        decimals: Digits after the point of each parameter.
    """
    length = max(side.waveform.size for side in sound.sides)
    peak = max(float(np.abs(side.waveform).max()) for side in sound.sides)
    gain = 1 / max(1.0, peak)
    notes = list(sound.notes)
    if peak > 1:
        notes.append(f"Played {format_number(20 * math.log10(peak), 1)} dB softer, so that nothing clips.")
    padded = (np.pad(side.waveform, (0, length - side.waveform.size)) for side in sound.sides)
    return {
        "name": sound.name,
        "notes": notes,
        "far": sound.far,
        "peak": round(peak, 6),
        "waves": [block.add_sound(waveform * gain) for waveform in padded],
        "pictures": [block.add_levels(side.spectrogram_db, top - SPAN, top) for side in sound.sides],
        "true": None if sound.true_value is None else _true(report, sound.true_value, decimals),
        "answers": [_answer(report, sound, side, decimals) for side in sound.sides[1:]],
        "metrics": _metrics(report, sound),
        "ridges": [_ridge(report, sound, ridge) for ridge in sound.ridges],
    }


def _ridge(report: Report, sound: Sound, ridge: Ridge) -> dict[str, Any]:
    """Names, ends of the ranges, and places in them, 0 to 1, of a pair that the answer does not tell apart."""
    pair = (ridge.first, ridge.second)
    specs, value = [report.parameters[p] for p in pair], sound.sides[1].value
    assert value is not None  # an answer has values
    return {
        "names": [spec.name for spec in specs],
        "ranges": [[text_of(spec, end, step_decimals(spec)) for end in (spec.min, spec.max)] for spec in specs],
        "ends": [[place_of(spec, number) for spec, number in zip(specs, end, strict=True)] for end in ridge.ends],
        "at": [place_of(spec, float(value[p])) for spec, p in zip(specs, pair, strict=True)],
    }


def _metrics(report: Report, sound: Sound) -> list[list[str]]:
    """Texts of all metrics of each answer; none where no answer has any."""
    if not any(side.metrics for side in sound.sides):
        return []
    return [
        [format_number(sound.metric(metric.name, side)) for metric in report.metrics]
        for side in range(1, len(sound.sides))
    ]


# ----- parameters


def range_of(spec: ParamSpec) -> dict[str, Any]:
    """Name, units and ends of a parameter."""
    ends = [text_of(spec, end, step_decimals(spec)) for end in (spec.min, spec.max)]
    return {"name": spec.name, "units": spec.natural_units, "ends": ends}


def step_decimals(spec: ParamSpec) -> int:
    """Digits after the point that show a tenth of a step."""
    return max(0, math.ceil(1 - math.log10(spec.step) - 1e-9))


def _decimals(report: Report, p: int) -> int:
    """Digits after the point of a parameter: those that the step and the usual standard deviation of it need."""
    stds = [side.std[p] for sound in report.sounds for side in sound.sides if side.std is not None]
    known = [float(std) for std in stds if np.isfinite(std)]
    return max(step_decimals(report.parameters[p]), decimals_of(float(np.median(known))) if known else 0)


def text_of(spec: ParamSpec, number: float, decimals: int) -> str:
    """A value in natural units with so many digits, or the name of a class; `–` for what is no number."""
    if not math.isfinite(number):
        return INACTIVE
    is_plain = spec.kind == "continuous" and spec.scale == "linear"
    return format_number(number, decimals) if is_plain else spec.text(number).replace("-", "−")


def place_of(spec: ParamSpec, number: float) -> float:
    """Where a value lies in its range, 0 to 1."""
    return round(float(np.nan_to_num(np.clip(spec.normalized_from_value(number), 0, 1))), 4)


def _active(report: Report, value: np.ndarray | None) -> Sequence[float]:
    """Values of a sound, NaN where a parameter does not act."""
    if value is None:
        return [math.nan] * len(report.parameters)
    return np.where(report.space.active(value[None])[0], value, np.nan).tolist()


def _true(report: Report, value: np.ndarray, decimals: Sequence[int]) -> list[dict[str, Any]]:
    """Text and place of every true value."""
    told = []
    for spec, number, digits in zip(report.parameters, _active(report, value), decimals, strict=True):
        marks = [["truth", place_of(spec, number), 0]] if math.isfinite(number) else []
        told.append({"text": text_of(spec, number, digits), "marks": marks})
    return told


def _answer(report: Report, sound: Sound, side: Side, decimals: Sequence[int]) -> list[dict[str, Any]]:
    """Text, spread, error and marks of every value of an answer."""
    values, true = _active(report, side.value), _active(report, sound.true_value)
    edges = edges_of(report.space, np.array(values)) if sound.true_value is None else {}
    told = []
    for p, spec in enumerate(report.parameters):
        digits, value = decimals[p], values[p]
        text = text_of(spec, value, digits)
        entry: dict[str, Any] = {"text": f"at or beyond {text}" if edges.get(spec.name) else text, "marks": []}
        if math.isfinite(value):
            entry["marks"].append(["guess", place_of(spec, value), 0])
        if sound.true_value is not None:
            entry["error"], entry["steps"] = _error_texts(spec, value, true[p], digits)
        std = math.nan if side.std is None else float(side.std[p])
        if math.isfinite(std) and math.isfinite(value) and not spec.categorical:
            natural = format_number(std, digits) if spec.scale == "linear" else f"{spec.natural_std(value, std):.2g}"
            low, high = place_of(spec, value - std), place_of(spec, value + std)
            entry["spread"] = f" ± {natural}"
            entry["marks"].insert(0, ["spread", low, round(high - low, 4)])
        told.append(entry)
    return told


def _error_texts(spec: ParamSpec, value: float, true: float, decimals: int) -> tuple[str, str]:
    """The error of a value, NaN where it does not act, and the same in grid steps: of a category whether it is wrong.

    On a log scale the error is a factor.
    """
    if spec.categorical:
        verdict = "right class" if spec.text(value) == spec.text(true) else "wrong class"
        return (verdict if math.isfinite(true) else INACTIVE), "–"
    error = value - true
    text = f"× {10**error:.3g}" if spec.scale == "log" and math.isfinite(error) else format_number(error, decimals)
    return text, format_number(error / spec.step)
