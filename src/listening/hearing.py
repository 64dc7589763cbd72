"""The page of recordings that a network names: one HTML file with what it says of each, frame by frame.

The list of all recordings, the picture of the chosen one with a time line of the frames' answers below it, its
likeliest classes as bars, and the player. Texts and numbers are made here; `hearing.js` draws and plays.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import ConfigError
from src.evaluation.estimates import Answers
from src.listening.sounds import frequency_ticks, place_of, range_of, scale_top, step_decimals, text_of
from src.listening.verdict import about_distance
from src.pages.encoding import Block
from src.pages.formats import format_number
from src.pages.pages import PageSource
from src.params import ParameterSpace, ParamSpec

HERE = Path(__file__).parent
HEARING = PageSource(HERE / "hearing.html.j2", HERE / "hearing.css", HERE / "hearing.js", HERE / "listening.css")
SPAN = 80.0  # dB from the bottom to the top of the colour scale
MOST_CLASSES = 8  # of a category that are shown
MOST_NAMED = 4  # classes in the first sentence
WIDTH = 1.645  # half of a 90 % interval, standard deviations


@dataclass(frozen=True)
class Hearing:
    """A recording with what a network says of it.

    Attributes:
        name: Shown on the page.
        waveform: `(time,)`.
        spectrogram_db: dB full scale, `(freq, column)`.
        ends: Where the first column begins and the last one ends, s.
        notes: Sentences above the picture.
        far: Whether the answers mean little, and are grey.
        distance: From the training's sounds; None: not known.
        answer: Of the whole recording, a row.
        start: Where its frames begin, s, `(frame,)`.
        frames: Their answers.
        frame_distance: Their distances, `(frame,)`; None: not known.
    """

    name: str
    waveform: np.ndarray
    spectrogram_db: np.ndarray
    ends: tuple[float, float]
    notes: Sequence[str]
    far: bool
    distance: float | None
    answer: Answers
    start: np.ndarray
    frames: Answers
    frame_distance: np.ndarray | None


@dataclass(frozen=True)
class HearingReport:
    """The content of the page.

    Attributes:
        title: Heading.
        facts: Checkpoint, dataset and others: name to text.
        parameters: In the order of every `(..., parameter)`.
        sample_rate: Hz.
        duration: Of a frame, s.
        frequency: Hz of each row's centre, low to high.
        hearings: The recordings, one or more.
        notes: Sentences below the heading, of what a reader must know.
    """

    title: str
    facts: Mapping[str, str]
    parameters: Sequence[ParamSpec]
    sample_rate: int
    duration: float
    frequency: Sequence[float]
    hearings: Sequence[Hearing]
    notes: Sequence[str] = ()


def render_hearings(report: HearingReport) -> str:
    """The whole page, HTML.

    Raises:
        ConfigError: If there is no recording.
    """
    if not report.hearings:
        raise ConfigError("A page of recordings needs one or more, but there is none.")
    data, block = page_data(report)
    return HEARING.inline(data, report=report, block=block, verdict=verdict(report), rows=data["sounds"])


def verdict(report: HearingReport) -> str:
    """What the recordings are by the first category, and how many are far from the training, in sentences."""
    n_far, n_heard = sum(hearing.far for hearing in report.hearings), len(report.hearings)
    return f"{_about_classes(report)} {about_distance(n_far, n_heard, 'recordings')}".strip()


def _about_classes(report: HearingReport) -> str:
    p = next((p for p, spec in enumerate(report.parameters) if spec.categorical), None)
    if p is None:
        return ""
    spec = report.parameters[p]
    named = [spec.text(hearing.answer.value[0, p]) for hearing in report.hearings]
    if len(named) == 1:
        return f"{spec.name}: {named[0]}, with a probability of {_share(report.hearings[0].answer, spec):.2f}."
    found = Counter(named).most_common()
    parts = [f"{name} in {count:,}" for name, count in found[:MOST_NAMED]]
    rest = sum(count for _, count in found[MOST_NAMED:])
    parts += [f"others in {rest:,}"] * bool(rest)
    return f"{spec.name}: {', '.join(parts)} of {len(named):,} recordings."


def _share(answer: Answers, spec: ParamSpec) -> float:
    """Probability of the class of a category that a recording is taken for."""
    return float(answer.probabilities[spec.name][0].max())


# ----- the input of the script


def page_data(report: HearingReport) -> tuple[dict[str, Any], str]:
    """What the script draws and plays, and the block of bytes that it refers to, as text."""
    top = scale_top(float(np.max(hearing.spectrogram_db)) for hearing in report.hearings)
    block = Block()
    data = {
        "sides": ["Recording"],
        "rate": report.sample_rate,
        "frame": report.duration,
        "rows": np.asarray(report.frequency).round(3).tolist(),
        "frequencies": frequency_ticks(report.frequency),
        "levels": (top - SPAN, top),
        "judge": "distance",
        "figures": _figures(report),
        "sounds": [_sound(report, hearing, top, block) for hearing in report.hearings],
    }
    return data, block.text()


def _sound(report: HearingReport, hearing: Hearing, top: float, block: Block) -> dict[str, Any]:
    """A recording with its waveform, its picture and its answers."""
    peak = float(np.abs(hearing.waveform).max(initial=0.0))
    heads = [_head(report, hearing, p) for p in range(len(report.parameters))]
    distances = np.full(len(hearing.start), np.nan) if hearing.frame_distance is None else hearing.frame_distance
    return {
        "name": hearing.name,
        "answer": ", ".join(head["answer"] for head in heads),
        "notes": list(hearing.notes),
        "far": hearing.far,
        "wave": block.add_sound(hearing.waveform / max(1.0, peak)),
        "picture": block.add_levels(hearing.spectrogram_db, top - SPAN, top),
        "n_columns": hearing.spectrogram_db.shape[1],
        "ends": hearing.ends,
        "start": hearing.start.round(4).tolist(),
        "distances": [format_number(distance, 2) for distance in distances.tolist()],
        "heads": heads,
    }


def _head(report: HearingReport, hearing: Hearing, p: int) -> dict[str, Any]:
    """What is said of a parameter: of a category its likeliest classes, of a number its values and their intervals."""
    spec = report.parameters[p]
    acts = ParameterSpace(tuple(report.parameters)).active(hearing.answer.value)[0, p]
    of_kind = _classes(spec, hearing) if spec.categorical else _numbers(spec, hearing, p)
    return {"name": spec.name, "acts": bool(acts), **of_kind} | ({} if acts else {"answer": "not active"})


def _classes(spec: ParamSpec, hearing: Hearing) -> dict[str, Any]:
    """The likeliest classes of a category, with their probabilities in the whole recording and in each frame."""
    whole, frames = hearing.answer.probabilities[spec.name][0], hearing.frames.probabilities[spec.name]
    order = np.lexsort((-frames.max(axis=0), -whole))[:MOST_CLASSES]
    found = np.argmax(whole)
    return {
        "kind": "category",
        "answer": f"{spec.names[found]} {whole[found]:.2f}",
        "classes": [spec.names[n] for n in order],
        "whole": whole[order].round(4).tolist(),
        "frames": frames[:, order].round(3).tolist(),
    }


def _numbers(spec: ParamSpec, hearing: Hearing, p: int) -> dict[str, Any]:
    """A number in the whole recording, and in each frame with its place and the ends of its interval, 0 to 1."""

    def told(answers: Answers, n: int) -> tuple[str, list[float]]:
        value, half = float(answers.value[n, p]), WIDTH * float(answers.std[n, p])
        low, high = (float(np.clip(end, spec.low, spec.low + spec.range)) for end in (value - half, value + half))
        texts = [text_of(spec, number, step_decimals(spec)) for number in (value, low, high)]
        places = [place_of(spec, number) for number in (value, low, high)]
        return f"{texts[0]} ({texts[1]} to {texts[2]}) {spec.natural_units}".rstrip(), places

    answer, place = told(hearing.answer, 0)
    frames = [told(hearing.frames, n) for n in range(len(hearing.start))]
    return {
        "kind": "number",
        "answer": answer,
        "ends": range_of(spec)["ends"],
        "place": place,
        "texts": [text for text, _ in frames],
        "frames": [places for _, places in frames],
    }


def _figures(report: HearingReport) -> list[dict[str, Any]]:
    """The columns that the list can be sorted by: distance, and the probability of the answer of each category."""
    distances = [np.nan if hearing.distance is None else hearing.distance for hearing in report.hearings]
    columns = [("distance", "lowest", np.array(distances))]
    for spec in report.parameters:
        if spec.categorical:
            shares = np.array([_share(hearing.answer, spec) for hearing in report.hearings])
            columns.append((f"probability of {spec.name}", "highest", shares))
    figures = []
    for label, best, values in columns:
        known = np.isfinite(values)
        if known.any():
            badness = values if best == "lowest" else -values
            size = np.where(known, values, 0.0)
            figures.append(
                {
                    "label": label,
                    "units": "",
                    "group": "Answers",
                    "best": best,
                    "texts": [format_number(value, 2) for value in values.tolist()],
                    "bars": (size / (size.max() or 1.0)).round(4).tolist(),
                    "badness": [bad if ok else None for bad, ok in zip(badness.tolist(), known, strict=True)],
                }
            )
    return figures
