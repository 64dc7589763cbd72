"""Contact sheets: some samples of a dataset, all their channels and labels, and a histogram per parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from src.params import ParamSpec
from src.pictures.plots import (
    FAINT,
    LEFT,
    LINE,
    STYLE,
    Page,
    draw_color_bar,
    draw_histogram,
    draw_spectrogram,
    fitted,
    shortened,
    simplify,
    text_width,
    value_texts,
)
from src.vimh.axes import ChannelInfo, limits
from src.vimh.reader import Batch

COLUMNS = 4
CELL, PICTURE, STEP = 2.4, 1.3, 1.53  # width of a cell, height of a picture, from one channel to the next; inches
TOP, RIGHT, GAP = 0.65, 0.95, 0.2  # margins and the space between cells, inches
TICKS, HISTOGRAM = 0.42, 1.5  # height of ticks and their label, and of a histogram with both, inches
MOST_LINES = 20  # parameters that a label holds


@dataclass(frozen=True)
class Sheet:
    """The content of a contact sheet.

    Attributes:
        title: Name of the dataset.
        split: Name of the split.
        channels: Those that are shown, in the order of the images'.
        specs: The parameters.
        number: Which samples of the split, `(sample,)`.
        batch: Those samples, with the shown channels only.
        value: Of all samples of the split, natural units, `(all, parameter)`.
        facts: Further facts about the dataset, name to text.
    """

    title: str
    split: str
    channels: Sequence[ChannelInfo]
    specs: Sequence[ParamSpec]
    number: np.ndarray
    batch: Batch
    value: np.ndarray
    facts: Mapping[str, str]

    def levels(self) -> list[np.ndarray]:
        """Of each channel `(sample, freq, time)`."""
        return [
            channel.levels(self.batch.image[:, number], self.batch.spec_range)
            for number, channel in enumerate(self.channels)
        ]


@matplotlib.rc_context(STYLE)
def contact_sheet(sheet: Sheet) -> Figure:
    """Samples with all their channels and labels, and a histogram per parameter."""
    n_samples, n_channels = sheet.batch.image.shape[:2]
    label = LINE * (1 + min(len(sheet.specs), MOST_LINES)) + 0.18
    cell = label + n_channels * STEP + 0.25
    bottom = TOP + -(-n_samples // COLUMNS) * cell + TICKS - 0.25
    n_rows = -(-len(sheet.specs) // COLUMNS)
    page = Page(LEFT + COLUMNS * (CELL + GAP) - GAP + RIGHT, bottom + 0.35 + n_rows * HISTOGRAM)
    page.text(LEFT, 0.12, fitted(sheet.title, 11, 11, True), fontsize=11, weight="bold")
    page.text(LEFT, 0.37, fitted(", ".join(sheet.facts.values()), 11), color=FAINT)
    for number, (channel, levels) in enumerate(zip(sheet.channels, sheet.levels(), strict=True)):
        _draw_channel(page, channel, levels, label + number * STEP, cell, number == n_channels - 1)
    for sample in range(n_samples):
        row, column = divmod(sample, COLUMNS)
        left, top = _left(column), TOP + row * cell
        page.text(left, top, f"{sheet.split} {sheet.number[sample]}", weight="bold")
        texts = value_texts(sheet.specs, sheet.batch.value[sample])
        for number, (name, text) in enumerate(shortened(texts, MOST_LINES), 1):
            text = fitted(text, CELL / 2, 7.5)
            name = fitted(name, CELL - text_width(f" {text}", 7.5), 7.5)
            page.text(left, top + number * LINE, f"{name} {text}", fontsize=7.5)
    page.text(LEFT, bottom, f"{len(sheet.value):,} samples of {sheet.split}, by class", weight="bold")
    for number, spec in enumerate(sheet.specs):
        row, column = divmod(number, COLUMNS)
        axes = page.axes(_left(column), bottom + 0.3 + row * HISTOGRAM, CELL - 0.3, HISTOGRAM - TICKS - 0.1)
        draw_histogram(axes, spec, sheet.value[:, number])
        if column:
            axes.set_ylabel("")
    return page.figure


def _left(column: int) -> float:
    """Where a column of cells begins."""
    return LEFT + column * (CELL + GAP)


def _draw_channel(
    page: Page, channel: ChannelInfo, levels: np.ndarray, below: float, cell: float, is_lowest: bool
) -> None:
    """One channel of all samples in the same colours, with their bar on the right.

    Args:
        page: The page to draw on.
        channel: Its meaning.
        levels: `(sample, freq, time)`.
        below: From the top of a cell to its picture, inches.
        cell: Height of a cell, inches.
        is_lowest: Whether no other channel is below it.
    """
    ends = limits(levels)
    for sample, level in enumerate(levels):
        row, column = divmod(sample, COLUMNS)
        axes = page.axes(_left(column), TOP + row * cell + below, CELL, PICTURE)
        drawn = draw_spectrogram(axes, level, channel, ends)
        simplify(axes, column == 0, is_lowest, sample + COLUMNS >= len(levels))
    bar = page.axes(_left(min(len(levels), COLUMNS)) - 0.08, TOP + below, 0.1, PICTURE)
    draw_color_bar(bar, drawn, channel)
    page.text(_left(0), TOP + below - 0.14, fitted(channel.name, CELL, 7), fontsize=7, color=FAINT)
