"""Figures for a notebook: what a network reads from sounds, and samples of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np

from src.pictures.plots import (
    FAINT,
    LEFT,
    LINE,
    STYLE,
    Page,
    Picture,
    draw_color_bar,
    draw_spectrogram,
    fitted,
    shortened,
    simplify,
    text_width,
)
from src.vimh.axes import ChannelInfo, limits

COLOR = "#3b6ea5"
TRUE_COLOR = "#c04a2b"
ROW = 0.2  # height of a parameter, inches
MOST_ROWS = 24  # parameters that are shown
PICTURE, HEIGHT = 2.5, 1.6  # width and height of a picture, inches
NAMES, TRACK, TEXTS = 6.7, 8.4, 9.95  # where the columns of parameters begin, inches
WIDTH = 11.6  # of a figure, inches
COLUMNS, CELL, GAP = 4, 2.4, 0.2  # samples beside each other, the width of one, and the space between; inches


@dataclass(frozen=True, eq=False)
class ReadSound:
    """What is drawn of a sound and of what was read from it.

    Attributes:
        title: Its name.
        level: What the network sees, `(freq, time)`.
        rendered: The same of the resynthesis; None where it cannot be rendered.
        texts: Name and value of each parameter.
        position: Of the values in their ranges, 0 to 1, `(parameter,)`; NaN for what does not act.
        reach: The ends of the intervals, likewise, `(parameter, 2)`; NaN where there is none.
        true: The true values, likewise, `(parameter,)`; NaN where they are not known.
    """

    title: str
    level: np.ndarray
    rendered: np.ndarray | None
    texts: Sequence[tuple[str, str]]
    position: np.ndarray
    reach: np.ndarray
    true: np.ndarray


@matplotlib.rc_context(STYLE)
def read_figure(channel: ChannelInfo, sounds: Sequence[ReadSound], note: str = "") -> Picture:
    """Sounds below each other: what the network sees, the resynthesis, and the values with their intervals.

    Args:
        channel: What the pictures show.
        sounds: One or more.
        note: A line below them.
    """
    n_rows = min(len(sounds[0].texts), MOST_ROWS)
    band = max(HEIGHT + 0.75, 0.65 + ROW * n_rows)
    height = 0.1 + band * len(sounds) + (0.25 if note else 0)
    page = Page(WIDTH, height)
    for number, sound in enumerate(sounds):
        _draw_read_sound(page, 0.1 + number * band, channel, sound)
    page.text(LEFT, height - 0.25, note, color=FAINT)
    return page.figure


def _draw_read_sound(page: Page, top: float, channel: ChannelInfo, sound: ReadSound) -> None:
    """One sound, from `top` inches on."""
    page.text(LEFT, top, fitted(sound.title, 5.6, bold=True), weight="bold")
    pictures = {"input": sound.level} | ({} if sound.rendered is None else {"resynthesis": sound.rendered})
    ends = limits(np.stack(list(pictures.values())))
    for number, (title, level) in enumerate(pictures.items()):
        axes = page.axes(LEFT + number * (PICTURE + 0.15), top + 0.35, PICTURE, HEIGHT)
        drawn = draw_spectrogram(axes, level, channel, ends)
        simplify(axes, number == 0, True, True)
        axes.set_title(title, loc="left", pad=2)
    draw_color_bar(page.axes(LEFT + len(pictures) * (PICTURE + 0.15) - 0.05, top + 0.35, 0.1, HEIGHT), drawn, channel)
    for number, (name, text) in enumerate(shortened(sound.texts, MOST_ROWS)):
        page.text(NAMES, top + 0.35 + number * ROW, fitted(name, TRACK - NAMES - 0.1))
        page.text(TEXTS, top + 0.35 + number * ROW, fitted(text, WIDTH - TEXTS - 0.1))
    _draw_tracks(page, top + 0.3, sound)


def _draw_tracks(page: Page, top: float, sound: ReadSound) -> None:
    """Values in their ranges, with their intervals."""
    n_rows = min(len(sound.texts), MOST_ROWS)
    axes = page.axes(TRACK, top, TEXTS - TRACK - 0.15, n_rows * ROW)
    axes.set(xlim=(-0.03, 1.03), ylim=(n_rows - 0.5, -0.5))
    axes.set_axis_off()
    rows = np.arange(n_rows)
    axes.hlines(rows, 0, 1, color="0.85", linewidth=1)
    axes.hlines(rows, *sound.reach[:n_rows].T, color=COLOR, linewidth=4, alpha=0.4)
    axes.plot(sound.position[:n_rows], rows, "o", color=COLOR, markersize=4)
    axes.plot(sound.true[:n_rows], rows, "|", color=TRUE_COLOR, markersize=11, markeredgewidth=1.5)


@dataclass(frozen=True, eq=False)
class ShownSample:
    """What is drawn of a sample.

    Attributes:
        title: Its name.
        level: `(freq, time)`.
        texts: Name and value of each parameter.
    """

    title: str
    level: np.ndarray
    texts: Sequence[tuple[str, str]]


@matplotlib.rc_context(STYLE)
def samples_figure(channel: ChannelInfo, samples: Sequence[ShownSample], note: str = "") -> Picture:
    """Samples beside and below each other in the same colours, each with its values.

    Args:
        channel: What the pictures show.
        samples: One or more.
        note: A line below them.
    """
    n_columns = min(COLUMNS, len(samples))
    most = min(len(samples[0].texts), MOST_ROWS)
    cell = 0.25 + HEIGHT + 0.45 + most * LINE + 0.15
    width = LEFT + n_columns * (CELL + GAP) + 0.75
    height = 0.1 + -(-len(samples) // COLUMNS) * cell + (0.25 if note else 0)
    page = Page(width, height)
    ends = limits(np.stack([sample.level for sample in samples]))
    for number, sample in enumerate(samples):
        row, column = divmod(number, COLUMNS)
        left, top = LEFT + column * (CELL + GAP), 0.1 + row * cell
        page.text(left, top, fitted(sample.title, CELL, bold=True), weight="bold")
        axes = page.axes(left, top + 0.2, CELL, HEIGHT)
        drawn = draw_spectrogram(axes, sample.level, channel, ends)
        simplify(axes, column == 0, True, True)
        _write_values(page, left, top + HEIGHT + 0.62, sample.texts)
    draw_color_bar(page.axes(LEFT + n_columns * (CELL + GAP) - 0.1, 0.3, 0.1, HEIGHT), drawn, channel)
    page.text(LEFT, height - 0.22, note, color=FAINT)
    return page.figure


def _write_values(page: Page, left: float, top: float, texts: Sequence[tuple[str, str]]) -> None:
    """Names and values of a sample below each other."""
    for number, (name, text) in enumerate(shortened(texts, MOST_ROWS)):
        text = fitted(text, CELL / 2, 7.5)
        name = fitted(name, CELL - text_width(f" {text}", 7.5), 7.5)
        page.text(left, top + number * LINE, f"{name} {text}", fontsize=7.5)
