"""The listening report: one page that holds its sounds and pictures, opens from disk and asks for nothing outside.

The page is `report.html.j2` with `report.css` and `report.js` in it. What depends on the sound that is chosen is drawn
by the script from one block of JSON; all else is written here.
"""

import base64
import io
import math
import wave
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from src.errors import ConfigError
from src.evaluation.audio_metrics import CAP, METRICS, Metric
from src.evaluation.scoring import Row, Scores, summarize
from src.params import ParamSpec
from src.spectral.representation import SpectralRepresentation
from src.vimh.axes import mel_centres

HERE = Path(__file__).parent
MAX_LEVEL = 255
SPAN = 80.0  # dB from the bottom to the top of the colour scale
DEFINED = {metric.name: metric for metric in METRICS}


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
    """One to listen to.

    Attributes:
        name: For people.
        true: The truth or the recording, `(time,)`.
        predicted: What the first answer sounds like, `(time,)`.
        true_db: dB full scale, `(freq, time)`.
        predicted_db: dB full scale, `(freq, time)`.
        true_value: Natural units, `(parameter,)`; None where it is not known.
        value: Natural units, `(parameter,)`.
        std: Standard deviation, natural units, `(parameter,)`, or None.
        metrics: Name to value.
        notes: Sentences that a listener should know.
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
    """All that the page says.

    Attributes:
        title: Heading.
        facts: Checkpoint, dataset, revision: name to text.
        parameters: In the order of every `(parameter,)`.
        sample_rate: Hz.
        axes: Of all spectrograms.
        answers: The first is the one that is heard; may be empty.
        true_value: Of all sounds, natural units, `(sound, parameter)`, or None.
        value: Of the first answer, natural units, `(sound, parameter)`, or None.
        sounds: Those to listen to, one or more.
        notes: Sentences that a reader should know.
        seed: Of the bootstrap.
    """

    title: str
    facts: Mapping[str, str]
    parameters: Sequence[ParamSpec]
    sample_rate: int
    axes: Axes
    answers: Sequence[Scores]
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
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = format_number
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return environment.get_template("report.html.j2").render(
        report=report,
        tables=_tables(report),
        scatters=_scatters(report),
        frame=FRAME,
        metrics=_metrics_of(report),
        data=_page_data(report),
        sides=_sides(report),
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )


def encode_wav(waveform: np.ndarray, sample_rate: int) -> bytes:
    """A mono WAV file of 16 bits; what is beyond full scale is clipped.

    Args:
        waveform: `(time,)`.
        sample_rate: Hz.
    """
    samples = np.clip(np.round(np.asarray(waveform, dtype=np.float64) * 32767), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def format_number(number: float, decimals: int | None = None) -> str:
    """A number for people, with a true minus sign.

    Args:
        number: Any; `–` stands for what is not finite.
        decimals: Digits after the point; as many as make three digits if None.
    """
    if not math.isfinite(number):
        return "–"
    if number and abs(number) < 1e-4 and decimals is None:
        return f"{number:.1e}".replace("-", "−")
    if decimals is None:
        decimals = _decimals(abs(number) / 10) if number else 0
    text = f"{number:.{decimals}f}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "−")


def _decimals(width: float) -> int:
    """Digits after the point that show two digits of `width`, 0 to 6."""
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 0


def _check(report: Report) -> None:
    """Refuse what makes no page."""
    if not report.sounds:
        raise ConfigError("A listening report needs one sound or more, but there is none.")
    shape = len(report.axes.frequency), len(report.axes.time)
    for sound in report.sounds:
        for name, picture in (("true_db", sound.true_db), ("predicted_db", sound.predicted_db)):
            _check_shape(sound.name, name, picture, shape)
            if not np.isfinite(picture).all():
                raise ConfigError(f"{sound.name}: {name} holds a level that is not finite; give a floor to silence.")
        for name, value in (("true_value", sound.true_value), ("value", sound.value), ("std", sound.std)):
            _check_shape(sound.name, name, value, (len(report.parameters),))
        for name, waveform in (("true", sound.true), ("predicted", sound.predicted)):
            if np.ndim(waveform) != 1 or not np.size(waveform) or not np.isfinite(waveform).all():
                raise ConfigError(f"{sound.name}: the {name} waveform must be finite samples, (time,).")
    if report.true_value is not None:
        _check_shape("report", "value", report.value, np.shape(report.true_value))


def _check_shape(owner: str, name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape; None is missing and no matter."""
    if array is not None and np.shape(array) != shape:
        raise ConfigError(f"{owner}: {name} has the shape {np.shape(array)}; it must be {shape}.")


def _policy(style: str, script: str) -> str:
    """Content security policy: this script, this style, pictures and icons in the page, and nothing else."""
    hashes = (base64.b64encode(sha256(text.encode()).digest()).decode() for text in (style, script))
    style_hash, script_hash = (f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; style-src {style_hash}; script-src {script_hash}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _sides(report: Report) -> tuple[str, str]:
    """What the two sounds of a pair are called."""
    known = any(sound.true_value is not None for sound in report.sounds)
    return ("True", "Predicted") if known else ("Recording", "Predicted")


# ----- the block of data


def _page_data(report: Report) -> dict[str, Any]:
    """What the script draws from; only finite numbers, texts, lists and None."""
    top, bottom = _scale(report.sounds)
    data = {
        "sides": _sides(report),
        "frequency": report.axes.frequency,
        "time": report.axes.time,
        "scale": {"top": top, "bottom": bottom},
        "parameters": [
            {
                "name": spec.name,
                "units": spec.units,
                "description": spec.description,
                "min": spec.min,
                "max": spec.max,
                "step": spec.step,
                "names": spec.names,
                "decimals": {"value": _shown_decimals(spec, stds), "range": _value_decimals(spec)},
            }
            for spec, stds in zip(report.parameters, _stds(report), strict=True)
        ],
        "metrics": [_metric_data(metric, report.answers) for metric in _metrics_of(report)],
        "sounds": [_sound_data(sound, report.sample_rate, top, bottom) for sound in report.sounds],
    }
    return _plain(data)


def _metric_data(metric: Metric, answers: Sequence[Scores]) -> dict[str, Any]:
    """A metric and its mean over all sounds for the answer that is heard."""
    values = answers[0].metrics.get(metric.name) if answers else None
    mean = None if values is None else float(np.mean(values))
    return {"name": metric.name, "units": metric.units, "better": metric.better, "mean": mean}


def _sound_data(sound: Sound, sample_rate: int, top: float, bottom: float) -> dict[str, Any]:
    """One sound with its waveforms and pictures in base 64."""
    length = max(sound.true.size, sound.predicted.size)
    pair = [np.pad(waveform, (0, length - waveform.size)) for waveform in (sound.true, sound.predicted)]
    peak = max(1.0, *(float(np.abs(waveform).max()) for waveform in pair))
    notes = list(sound.notes)
    if peak > 1:
        notes.append(f"Played {format_number(20 * math.log10(peak), 1)} dB softer, so that nothing clips.")
    return {
        "name": sound.name,
        "notes": notes,
        "gain": 1 / peak,
        "wav": [_base64(encode_wav(waveform / peak, sample_rate)) for waveform in pair],
        "image": [_base64(_levels(db, top, bottom).tobytes()) for db in (sound.true_db, sound.predicted_db)],
        "true": sound.true_value,
        "value": sound.value,
        "std": sound.std,
        "metrics": sound.metrics,
    }


def _scale(sounds: Iterable[Sound]) -> tuple[float, float]:
    """Top and bottom of the one colour scale of all spectrograms, dB: the loudest point, rounded up to 10 dB."""
    loudest = max(float(np.max(db)) for sound in sounds for db in (sound.true_db, sound.predicted_db))
    top = 10.0 * math.ceil(round(loudest, 6) / 10)
    return top, top - SPAN


def _levels(db: np.ndarray, top: float, bottom: float) -> np.ndarray:
    """Decibels as uint8, `(freq, time)`: 0 at the bottom of the scale and below, 255 at the top."""
    return np.round((np.asarray(db) - bottom) / (top - bottom) * MAX_LEVEL).clip(0, MAX_LEVEL).astype(np.uint8)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _plain(item: Any) -> Any:
    """Arrays and mappings as JSON has them, numbers with six digits, None for what is not finite."""
    if isinstance(item, Mapping):
        return {key: _plain(entry) for key, entry in item.items()}
    if isinstance(item, np.ndarray | list | tuple):
        return [_plain(entry) for entry in item]
    if isinstance(item, np.integer):
        return int(item)
    if isinstance(item, float | np.floating):
        return float(f"{item:.6g}") if math.isfinite(item) else None
    return item


def _stds(report: Report) -> list[list[float]]:
    """Standard deviations of each parameter, of those sounds that have finite ones."""
    known = [sound.std for sound in report.sounds if sound.std is not None]
    return [[float(std[p]) for std in known if np.isfinite(std[p])] for p in range(len(report.parameters))]


def _shown_decimals(spec: ParamSpec, stds: Sequence[float]) -> int:
    """Digits after the point that show a tenth of a step, and two digits of a usual standard deviation."""
    usual = float(np.median(stds)) if stds else 0.0
    return max(_value_decimals(spec), min(6, _decimals(usual)) if usual > 0 else 0)


def _value_decimals(spec: ParamSpec) -> int:
    """Digits after the point that show a tenth of a step."""
    return max(0, math.ceil(1 - math.log10(spec.step) - 1e-9))


# ----- the summary


@dataclass(frozen=True)
class Cell:
    """One answer in one line of a table; numbers as text, places along the line's scale from 0 to 100."""

    mean: str
    interval: str
    median: str
    places: tuple[float, float, float]  # mean, low, high


@dataclass(frozen=True)
class Line:
    """One metric or parameter: what it is, and a cell for each answer, None where it says nothing."""

    name: str
    units: str
    hint: str
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class Table:
    """Answers side by side."""

    caption: str
    note: str
    lines: Sequence[Line]


HINTS = {"low": "lower is better", "high": "higher is better", "0": "0 is best"}


def _metrics_of(report: Report) -> list[Metric]:
    """All metrics that somebody has a value of: those defined here in their order, then others."""
    names = dict.fromkeys(name for source in (*report.answers, *report.sounds) for name in source.metrics)
    template = Metric("", "", "low", False, "", 0.0, False, METRICS[0].compute)
    others = [replace(template, name=name) for name in names if name not in DEFINED]
    return [metric for metric in METRICS if metric.name in names] + others


def _tables(report: Report) -> list[Table]:
    """Metrics by ear, metrics sample by sample, parameter errors; those without lines are left out."""
    found = {(row.answer, row.metric): row for row in summarize(report.answers, report.seed, report.parameters)}

    def line(name: str, units: str, hint: str, best: float | None) -> Line:
        rows = [found.get((answer.name, name)) for answer in report.answers]
        return Line(name, units, hint, _cells(rows, best))

    errors = [line(spec.name, spec.units, f"step {spec.step:g}", 0.0) for spec in report.parameters]
    by_phase: dict[bool, list[Line]] = {False: [], True: []}
    for metric in _metrics_of(report):
        best = None if metric.best == CAP else metric.best
        by_phase[metric.sees_phase].append(line(metric.name, metric.units, HINTS[metric.better], best))
    phase = "Sensitive to phase: two sounds that nobody can tell apart may score badly here."
    tables = (
        Table("Absolute error of the parameters", "The step is the just noticeable difference.", errors),
        Table("Spectra and envelopes", "", by_phase[False]),
        Table("Sample by sample", phase, by_phase[True]),
    )
    written = (replace(table, lines=[line for line in table.lines if any(line.cells)]) for table in tables)
    return [table for table in written if table.lines]


def _cells(rows: Sequence[Row | None], best: float | None) -> list[Cell | None]:
    """Cells on one scale, from the lowest to the highest interval, the best value included where it has one."""
    ends = [end for row in rows if row for end in (row.low, row.high)] + ([] if best is None else [best]) or [0.0]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0
    return [row and _cell(row, lambda number: round(100 * (number - low) / width, 2)) for row in rows]


def _cell(row: Row, place: Callable[[float], float]) -> Cell:
    """A row in words, with two digits of its interval's width."""
    decimals = None
    if row.high > row.low and row.mean:
        decimals = min(_decimals(row.high - row.low), max(4, _decimals(abs(row.mean))))
    mean, median, low, high = (format_number(n, decimals) for n in (row.mean, row.median, row.low, row.high))
    return Cell(mean, f"{low} to {high}", median, (place(row.mean), place(row.low), place(row.high)))


# ----- error over true value


FRAME = {"width": 320, "height": 210, "left": 52, "right": 304, "top": 8, "bottom": 170}  # of a picture, its own units


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    place: float
    text: str


@dataclass(frozen=True)
class Scatter:
    """Error over true value of one parameter, in the units of its picture."""

    spec: ParamSpec
    figures: str
    dots: str
    band: tuple[float, float]  # top and height: errors within one step
    zero: float
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def _scatters(report: Report) -> list[Scatter]:
    """One picture a parameter, none where the truth is not known."""
    if report.true_value is None or report.value is None:
        return []
    return [
        _scatter(spec, report.true_value[:, p], report.value[:, p] - report.true_value[:, p])
        for p, spec in enumerate(report.parameters)
    ]


def _scatter(spec: ParamSpec, true: np.ndarray, error: np.ndarray) -> Scatter:
    """Place the dots, `(sound,)` each, and the axes."""
    limit = max(1.05 * float(np.abs(error).max()), spec.step / 100)
    left, right, top, bottom = (FRAME[side] for side in ("left", "right", "top", "bottom"))

    def x(value: float) -> float:
        return round(left + (right - left) * spec.normalized_from_value(value), 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - top) * (value + limit) / (2 * limit), 1)

    band = min(spec.step, limit)
    return Scatter(
        spec,
        _figures(spec, error),
        "".join(f"M{x(a):g} {y(b):g}h0" for a, b in zip(true.tolist(), error.tolist(), strict=True)),
        (y(band), round(y(-band) - y(band), 1)),
        y(0),
        [Tick(x(number), text) for number, text in _ticks(spec.min, spec.max)],
        [Tick(y(number), text) for number, text in _ticks(-limit, limit)],
    )


def _figures(spec: ParamSpec, error: np.ndarray) -> str:
    """The picture in words."""
    absolute = np.abs(error)
    median, worst, bias = (format_number(n) for n in (np.median(absolute), absolute.max(), error.mean()))
    within = format_number(100 * float((absolute <= spec.step).mean()), 0)
    return f"median |error| {median}, largest {worst}, bias {bias}; {within} % within one step"


def _ticks(low: float, high: float, count: int = 5) -> list[tuple[float, str]]:
    """Round numbers from `low` to `high`, about `count` of them, with their texts."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    decimals += not math.isclose(step * 10**decimals, round(step * 10**decimals))  # steps of 2.5
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(k * step, format_number(k * step, decimals)) for k in range(first, last + 1)]
