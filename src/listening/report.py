"""The listening report: one HTML file with its sounds and pictures inside, which opens from disk and loads nothing.

The page is `report.html.j2` with `report.css` and `report.js` in it. Numbers, texts and ticks are computed here. What
depends on the chosen sound is handed to the script as one block of JSON, which the script only draws.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from src.errors import ConfigError
from src.evaluation.audio_metrics import CAP, METRICS, Metric
from src.evaluation.scoring import Row, Scores, parameter_errors, summarize
from src.params import INACTIVE, ParameterSpace, ParamSpec
from src.spectral.representation import SpectralRepresentation
from src.text import all_printable
from src.vimh.axes import Axis, mel_centres, round_numbers

HERE = Path(__file__).parent
MAX_LEVEL = 255
SPAN = 80.0  # dB from the bottom to the top of the colour scale
DEFINED = {metric.name: metric for metric in METRICS}
HINTS = {"low": "lower is better", "high": "higher is better", "0": "0 is best"}
FRAME = {"width": 320, "height": 210, "left": 52, "right": 304, "top": 8, "bottom": 170}  # of a scatter, its own units
MOST_FREQUENCIES = 8  # steps from tick to tick of a spectrogram, whose height is fixed
MOST_TIMES = (24, 16, 12, 10, 8, 6, 5, 4, 3)  # the same of a time axis; the script takes the first that its width holds


@dataclass(frozen=True)
class Axes:
    """Where the rows and columns of the spectrograms lie.

    Attributes:
        frequency: Hz of each row's centre, low to high.
        time: s of each column's centre.
    """

    frequency: Sequence[float]
    time: Sequence[float]

    @classmethod
    def of(cls, representation: SpectralRepresentation) -> "Axes":
        """Where a representation has them."""
        frequency = np.arange(1, representation.height + 1) * representation.sample_rate / representation.n_fft
        mel = representation.describe_mel()
        if mel is not None:
            frequency = mel_centres(*(mel[key] for key in ("n_mels", "f_min", "f_max", "mel_scale")))
        middle = np.arange(representation.width) * representation.hop_length + representation.window.numel() / 2
        return cls(frequency.tolist(), (middle / representation.sample_rate).tolist())


@dataclass(frozen=True)
class Sound:
    """A sound to listen to, beside its resynthesis from the predicted parameters.

    Attributes:
        name: Shown on the page.
        true: The original or the recording, `(time,)`.
        predicted: Rendered from the parameters in `value`, `(time,)`.
        true_db: dB full scale, `(freq, time)`.
        predicted_db: dB full scale, `(freq, time)`.
        true_value: Natural units, `(parameter,)`; None where it is not known.
        value: Natural units, `(parameter,)`.
        std: Standard deviation, natural units, `(parameter,)`, or None.
        metrics: Name to value.
        notes: Sentences above the pictures.
    """

    name: str
    true: np.ndarray
    predicted: np.ndarray
    true_db: np.ndarray
    predicted_db: np.ndarray
    true_value: np.ndarray | None
    value: np.ndarray
    std: np.ndarray | None
    metrics: Mapping[str, float]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """The content of the page.

    Attributes:
        title: Heading.
        facts: Checkpoint, dataset, revision: name to text.
        parameters: In the order of every `(parameter,)`.
        sample_rate: Hz.
        axes: Of all spectrograms.
        scores: Of estimates; the first is that of the rendered sounds. May be empty.
        true_value: Of all sounds, natural units, `(sound, parameter)`, or None.
        value: Of the first estimate, natural units, `(sound, parameter)`, or None.
        sounds: Those to listen to, one or more.
        notes: Sentences below the heading.
        seed: Of the bootstrap.
    """

    title: str
    facts: Mapping[str, str]
    parameters: Sequence[ParamSpec]
    sample_rate: int
    axes: Axes
    scores: Sequence[Scores]
    true_value: np.ndarray | None
    value: np.ndarray | None
    sounds: Sequence[Sound]
    notes: Sequence[str] = ()
    seed: int = 0


def render_report(report: Report) -> str:
    """The whole page, HTML.

    Raises:
        ConfigError: If there is no sound, or shapes contradict each other.
    """
    _check(report)
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=all_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    known = any(sound.true_value is not None for sound in report.sounds)
    sides = ("True" if known else "Recording", "Predicted")
    return environment.get_template("report.html.j2").render(
        report=report,
        tables=_tables(report),
        scatters=_scatters(report),
        frame=FRAME,
        metrics=_metrics_of(report),
        data=all_printable(_page_data(report, sides)),
        sides=sides,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )


def encode_wav(waveform: np.ndarray, sample_rate: int, exact: bool = False) -> bytes:
    """A mono WAV file of 16 bits; samples beyond full scale are clipped.

    Args:
        waveform: `(time,)`.
        sample_rate: Hz.
        exact: Of 32-bit floats instead, which are what they are.
    """
    if exact:
        buffer = io.BytesIO()
        soundfile.write(buffer, waveform, sample_rate, format="WAV", subtype="FLOAT")
        return buffer.getvalue()
    # Rounded here: libsndfile cuts off the digits of floating-point samples.
    samples = np.clip(np.round(np.asarray(waveform, dtype=np.float64) * 32767), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def format_number(number: float | None, decimals: int | None = None) -> str:
    """A number as text, with a true minus sign.

    Args:
        number: Any; `–` stands for None and for what is not finite.
        decimals: Digits after the point; as many as make three digits if None.
    """
    if number is None or not math.isfinite(number):
        return "–"
    if number and abs(number) < 1e-4 and decimals is None:
        return f"{number:.1e}".replace("-", "−")
    if decimals is None:
        decimals = _decimals(abs(number) / 10)
    text = f"{number:.{decimals}f}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "−")


def _decimals(width: float) -> int:
    """Digits after the point that show two digits of `width`, 0 to 6."""
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 0


def _check(report: Report) -> None:
    """Refuse a report without sounds, and arrays that contradict each other."""
    if not report.sounds:
        raise ConfigError("A listening report needs one sound or more, but there is none.")
    image_shape = len(report.axes.frequency), len(report.axes.time)
    for sound in report.sounds:
        for name in ("true_db", "predicted_db"):
            _check_shape(sound.name, name, getattr(sound, name), image_shape)
            if not np.isfinite(getattr(sound, name)).all():
                raise ConfigError(f"{sound.name}: {name} holds a level that is not finite; give a floor to silence.")
        for name in ("true_value", "value", "std"):
            _check_shape(sound.name, name, getattr(sound, name), (len(report.parameters),))
        for name, waveform in (("true", sound.true), ("predicted", sound.predicted)):
            if np.ndim(waveform) != 1 or not np.size(waveform) or not np.isfinite(waveform).all():
                raise ConfigError(f"{sound.name}: the {name} waveform must be finite samples, (time,).")
    if report.true_value is not None:
        _check_shape("report", "value", report.value, np.shape(report.true_value))


def _check_shape(owner: str, name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape; None is allowed."""
    if array is not None and np.shape(array) != shape:
        raise ConfigError(f"{owner}: {name} has the shape {np.shape(array)}; it must be {shape}.")


def _policy(style: str, script: str) -> str:
    """Content security policy: this script, this style, pictures and icons in the page, and nothing else."""
    style_hash, script_hash = (f"'sha256-{_base64(sha256(text.encode()).digest())}'" for text in (style, script))
    return (
        f"default-src 'none'; style-src {style_hash}; script-src {script_hash}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _ticks(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    """Round numbers from `low` to `high`, at most `most` steps of them, with their texts."""
    numbers = round_numbers(low, high, most)
    exact = (n for n in range(16) if np.allclose(numbers, numbers.round(n), rtol=0, atol=1e-6 * (high - low)))
    decimals = next(exact, 16)
    return [(number, format_number(number, decimals)) for number in numbers.tolist()]


# ----- the block of data; places are fractions of an axis


def _page_data(report: Report, sides: tuple[str, str]) -> dict[str, Any]:
    """The input of the script: texts, places, bytes in base 64."""
    loudest = max(float(np.max(db)) for sound in report.sounds for db in (sound.true_db, sound.predicted_db))
    top = 10.0 * math.ceil(round(loudest, 6) / 10)
    rows, columns = Axis("Hz", np.asarray(report.axes.frequency)), Axis("s", np.asarray(report.axes.time))
    first, last = columns.edges
    if len(columns.centre) == 1:
        duration = report.sounds[0].true.size / report.sample_rate
        first, last = columns.centre[0] - duration / 2, columns.centre[0] + duration / 2
    frequencies = rows.tick_values(MOST_FREQUENCIES)
    levels = np.arange(-MAX_LEVEL, MAX_LEVEL + 1) * SPAN / MAX_LEVEL
    band = f"{_hertz(rows.centre[0])} to {_hertz(rows.centre[-1])} Hz"
    return {
        "sides": sides,
        "rows": [f"{frequency:.0f} Hz" for frequency in rows.centre],
        "columns": [f"{time:.3f} s" for time in columns.centre],
        "ends": (float(first), float(last)),
        "frequencies": [
            ((place + 0.5) / len(rows.centre), _hertz(frequency))
            for place, frequency in zip(rows.position(frequencies).tolist(), frequencies, strict=True)
        ],
        "times": _time_ticks(first, last),
        "levels": [format_number(top - SPAN + level, 1) for level in levels[MAX_LEVEL:]],
        "differences": [format_number(level, 1) for level in levels],
        "scales": [_scale(top - SPAN, top, False), _scale(-SPAN / 2, SPAN / 2, True)],
        "figures": _figures(report),
        "sounds": [_sound_data(report, sound, (*sides, "Difference"), top, band) for sound in report.sounds],
    }


def _hertz(frequency: float) -> str:
    return f"{round(frequency / 1000, 2):g}k" if frequency >= 1000 else f"{frequency:.0f}"


def _time_ticks(first: float, last: float) -> list[list[tuple[float, str]]]:
    """Ticks of a time axis, from many to few."""
    return [
        [(round((number - first) / (last - first), 5), text) for number, text in _ticks(first, last, most)]
        for most in MOST_TIMES
    ]


def _scale(low: float, high: float, signed: bool) -> dict[str, Any]:
    """Ticks and name of a colour scale from `low` to `high` dB; levels beyond an end have the colour of that end."""
    ticks = []
    for number, text in _ticks(low, high, 4):
        sign = "+" if signed and number > 0 else ""
        beyond = "≤" if number == low else "≥" if signed and number == high else ""
        ticks.append(((number - low) / (high - low), beyond + sign + text))
    return {"ticks": ticks, "label": f"Colours from {low:g} to {high:g} dB"}


def _figures(report: Report) -> list[dict[str, Any]]:
    """The columns that the list can be sorted by: metrics, and errors of the parameters in grid steps, or classes."""
    columns = [
        (metric.name, "Metrics", metric.better, [sound.metrics.get(metric.name, np.nan) for sound in report.sounds])
        for metric in _metrics_of(report)
    ]
    space = ParameterSpace(tuple(report.parameters))
    errors = np.full((len(report.sounds), len(report.parameters)), np.nan)
    for number, sound in enumerate(report.sounds):
        if sound.true_value is not None:
            (errors[number],) = parameter_errors(space, sound.value[None], sound.true_value[None])
    for p, spec in enumerate(report.parameters):
        if spec.categorical:
            columns.append((f"{spec.name}, wrong class", "Errors of parameters", "low", errors[:, p].tolist()))
        else:
            columns.append((f"{spec.name}, steps", "Errors of parameters", "low", (errors[:, p] / spec.step).tolist()))
    figures = []
    for label, group, better, found in columns:
        values = np.array(found, dtype=float)
        known = np.isfinite(values)
        if known.any():
            size = np.where(known, np.abs(values), 0.0)
            badness = {"low": values, "high": -values, "0": size}[better]
            figures.append(
                {
                    "label": label,
                    "group": group,
                    "best": "highest" if better == "high" else "lowest",
                    "texts": [format_number(value) for value in values],
                    "bars": (size / (size.max() or 1.0)).round(4).tolist(),
                    "badness": [bad if ok else None for bad, ok in zip(badness.tolist(), known, strict=True)],
                }
            )
    return figures


def _sound_data(report: Report, sound: Sound, names: Sequence[str], top: float, band: str) -> dict[str, Any]:
    """A sound with its waveforms and pictures.

    Args:
        report: The page.
        sound: Which one.
        names: Of the pictures: of both sides and their difference.
        top: Level of the last colour, dB.
        band: First and last frequency, as text.
    """
    length = max(sound.true.size, sound.predicted.size)
    pair = [np.pad(waveform, (0, length - waveform.size)) for waveform in (sound.true, sound.predicted)]
    peak = max(float(np.abs(waveform).max()) for waveform in pair)
    gain = 1 / max(1.0, peak)
    notes = list(sound.notes)
    if peak > 1:
        notes.append(f"Played {format_number(20 * math.log10(peak), 1)} dB softer, so that nothing clips.")
    dbs = np.stack([sound.true_db, sound.predicted_db])
    levels = ((dbs - (top - SPAN)) * (MAX_LEVEL / SPAN)).round().clip(0, MAX_LEVEL).astype(np.uint8)
    average = np.abs(np.diff(levels.astype(float), axis=0)).mean() * SPAN / MAX_LEVEL
    words = [
        *(f"loudest point {format_number(top - SPAN + s.max() * SPAN / MAX_LEVEL, 1)} dB full scale" for s in levels),
        f"on average {format_number(average, 1)} dB either way",
    ]
    reach = format_number(peak, 3 if peak < 0.1 else 2)
    return {
        "name": sound.name,
        "notes": notes,
        "wav": [_base64(encode_wav(waveform * gain, report.sample_rate)) for waveform in pair],
        "image": [_base64(image.tobytes()) for image in levels],
        "labels": [f"Spectrogram, {name}, {band}: {text}" for name, text in zip(names, words, strict=True)],
        "times": _time_ticks(0.0, length / report.sample_rate),
        "amplitudes": [(0, f"−{reach}" if peak else "0"), (0.5, "0"), (1, reach)],
        "parameters": [_parameter_data(report, sound, p) for p in range(len(report.parameters))],
        "metrics": _metric_data(report, sound),
    }


def _parameter_data(report: Report, sound: Sound, p: int) -> dict[str, Any]:
    """A parameter of a sound: texts of its cells with their headings, and marks on the line of its range."""
    spec = report.parameters[p]
    space = ParameterSpace(tuple(report.parameters))
    stds = [float(other.std[p]) for other in report.sounds if other.std is not None and np.isfinite(other.std[p])]
    of_step = max(0, math.ceil(1 - math.log10(spec.step) - 1e-9))  # digits that show a tenth of a step
    decimals = max(of_step, _decimals(float(np.median(stds)) if stds else 0.0))

    def number_where_active(values: np.ndarray | None) -> float:
        return math.nan if values is None or not space.active(values[None])[0, p] else float(values[p])

    def text(number: float, digits: int = decimals) -> str:
        if not math.isfinite(number):
            return INACTIVE
        is_plain = spec.kind == "continuous" and spec.scale == "linear"
        return format_number(number, digits) if is_plain else spec.text(number).replace("-", "−")

    def place(number: float) -> float:
        return float(np.nan_to_num(np.clip(spec.normalized_from_value(number), 0, 1)))

    value, true = number_where_active(sound.value), number_where_active(sound.true_value)
    cells, marks = [["Predicted", text(value)]], []
    if math.isfinite(value):
        marks.append(["guess", place(value), 0])
    if sound.true_value is not None:
        cells.insert(0, ["True", text(true)])
        cells += _error_cells(spec, value, true, decimals)
        if math.isfinite(true):
            marks.insert(0, ["truth", place(true), 0])
    std = math.nan if sound.std is None else float(sound.std[p])
    if math.isfinite(std) and math.isfinite(value) and not spec.categorical:
        natural = format_number(std, decimals) if spec.scale == "linear" else f"{spec.natural_std(value, std):.2g}"
        cells[sound.true_value is not None].append(f" ± {natural}")
        marks.insert(0, ["spread", place(value - std), place(value + std) - place(value - std)])
    ends = [text(end, of_step) for end in (spec.min, spec.max)]
    return {"name": spec.name, "units": spec.natural_units, "cells": cells, "marks": marks, "ends": ends}


def _error_cells(spec: ParamSpec, value: float, true: float, decimals: int) -> list[list[str]]:
    """The error of a value, NaN where it does not act, and the same in grid steps: of a category whether it is wrong.

    On a log scale the error is a factor.
    """
    if spec.categorical:
        verdict = "right class" if spec.text(value) == spec.text(true) else "wrong class"
        return [["Error", verdict if math.isfinite(true) else INACTIVE], ["In steps", "–"]]
    error = value - true
    text = f"× {10**error:.3g}" if spec.scale == "log" and math.isfinite(error) else format_number(error, decimals)
    return [["Error", text], ["In steps", format_number(error / spec.step)]]


def _metric_data(report: Report, sound: Sound) -> list[dict[str, Any]]:
    """The metrics of a sound beside their means over all sounds for the first estimate, where there are such."""
    means = report.scores[0].metrics if report.scores else {}
    lines = []
    for metric in _metrics_of(report):
        if metric.name in sound.metrics:
            cells = [["Value", format_number(sound.metrics[metric.name])]]
            if means.keys() & sound.metrics.keys():
                mean = np.mean(means[metric.name]) if metric.name in means else None
                cells.append(["Mean of all", format_number(mean)])
            lines.append({"name": metric.name, "units": metric.units, "cells": cells})
    return lines


# ----- the summary


def _metrics_of(report: Report) -> list[Metric]:
    """All metrics with a value anywhere in the report: those defined in this project in their order, then others."""
    sources = [*(scores.metrics for scores in report.scores), *(sound.metrics for sound in report.sounds)]
    names = dict.fromkeys(name for metrics in sources for name in metrics)
    template = Metric("", "", "low", False, "", 0.0, False, METRICS[0].compute)
    others = [replace(template, name=name) for name in names if name not in DEFINED]
    return [metric for metric in METRICS if metric.name in names] + others


def _tables(report: Report) -> list[dict[str, Any]]:
    """Parameter errors, accuracies, metrics of spectra, metrics sample by sample; no empty table."""
    found = {(row.estimate, row.metric): row for row in summarize(report.scores, report.seed, report.parameters)}

    def line(name: str, units: str, hint: str, best: float | None) -> dict[str, Any]:
        rows = [found.get((scores.name, name)) for scores in report.scores]
        return {"name": name, "units": units, "hint": hint, "cells": _cells(rows, best)}

    numbers = [spec for spec in report.parameters if not spec.categorical]
    errors = [line(spec.name, spec.units, f"step {spec.step:g}", 0.0) for spec in numbers]
    classes = [
        line(f"{spec.name}_{key}", "", hint, 1.0)
        for spec in report.parameters
        if spec.categorical
        for key, hint in (("acc", f"accuracy of {spec.n_classes} classes"), ("f1", "macro F1"))
    ]
    by_phase: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for metric in _metrics_of(report):
        best = None if metric.best == CAP else metric.best
        by_phase[metric.sees_phase].append(line(metric.name, metric.units, HINTS[metric.better], best))
    phase = "Sensitive to phase: sounds that differ only in phase may score badly here."
    tables = (
        ("Absolute error of the parameters", "Below each name stands the grid step.", errors),
        ("Categories", "Share of the right classes, and the mean of 2 right / (true + predicted) over them.", classes),
        ("Spectra and envelopes", "", by_phase[False]),
        ("Sample by sample", phase, by_phase[True]),
    )
    written = (
        {"caption": caption, "note": note, "lines": [line for line in lines if any(line["cells"])]}
        for caption, note, lines in tables
    )
    return [table for table in written if table["lines"]]


def _cells(rows: Sequence[Row | None], best: float | None) -> list[dict[str, Any] | None]:
    """A cell for each: texts, with two digits of the interval's width, and places (mean, low, high) of 0 to 100.

    The places are on one scale, from the lowest to the highest interval, the best value included where there is one.
    """
    known = [(row, row.mean) for row in rows if row and row.mean is not None]
    ends = [end for row, mean in known for end in _interval(row, mean)] + ([] if best is None else [best]) or [0.0]
    start, width = min(ends), (max(ends) - min(ends)) or 1.0
    cells: list[dict[str, Any] | None] = []
    for row in rows:
        if row is None or row.mean is None:
            cells.append(None)
            continue
        decimals, (lower, upper) = None, _interval(row, row.mean)
        if upper > lower and row.mean:
            decimals = min(_decimals(upper - lower), max(4, _decimals(abs(row.mean))))
        mean, median, low, high = (format_number(n, decimals) for n in (row.mean, row.median, row.low, row.high))
        places = [round(100 * (number - start) / width, 2) for number in (row.mean, lower, upper)]
        interval = "–" if row.low is None else f"{low} to {high}"
        cells.append({"mean": mean, "median": median, "interval": interval, "places": places})
    return cells


def _interval(row: Row, mean: float) -> tuple[float, float]:
    """Ends of the interval, both at the mean where there is none."""
    return (mean, mean) if row.low is None or row.high is None else (row.low, row.high)


def _scatters(report: Report) -> list[dict[str, Any]]:
    """Error over true value of each parameter, in the units of `FRAME`; none where the true values are not known.

    Categories have no such error, and sounds on which a parameter does not act have none.
    """
    if report.true_value is None or report.value is None:
        return []
    active = ParameterSpace(tuple(report.parameters)).active(report.true_value)
    errors = report.value - report.true_value
    return [
        _scatter(spec, report.true_value[acts, p], errors[acts, p])
        for p, (spec, acts) in enumerate(zip(report.parameters, active.T, strict=True))
        if not spec.categorical and acts.any()
    ]


def _scatter(spec: ParamSpec, true: np.ndarray, error: np.ndarray) -> dict[str, Any]:
    """Place the dots, `(sound,)` each, and the axes."""
    absolute = np.abs(error)
    limit = max(1.05 * float(absolute.max()), spec.step / 100)
    left, right, top, bottom = (FRAME[side] for side in ("left", "right", "top", "bottom"))

    def x(value: float) -> float:
        return round(left + (right - left) * spec.normalized_from_value(value), 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - top) * (value + limit) / (2 * limit), 1)

    median, worst, bias = (format_number(n) for n in (np.median(absolute), absolute.max(), error.mean()))
    within = format_number(100 * float((absolute <= spec.step).mean()), 0)
    band = min(spec.step, limit)
    return {
        "spec": spec,
        "words": f"median |error| {median}, largest {worst}, bias {bias}; {within} % within one step",
        "dots": "".join(f"M{x(a):g} {y(b):g}h0" for a, b in zip(true.tolist(), error.tolist(), strict=True)),
        "band": (y(band), round(y(-band) - y(band), 1)),  # top and height: errors within one step
        "zero": y(0),
        "x_ticks": [(x(number), text) for number, text in _ticks(spec.min, spec.max)],
        "y_ticks": [(y(number), text) for number, text in _ticks(-limit, limit)],
    }
