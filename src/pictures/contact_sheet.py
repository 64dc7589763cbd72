"""Contact sheets: some samples of a dataset, all their channels and labels, and a histogram per parameter."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

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
    png,
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
    """What a contact sheet shows.

    Attributes:
        title: Name of the dataset.
        split: Name of the split.
        channels: Those that are shown, in the order of the images'.
        specs: The parameters.
        number: Which samples of the split, `(sample,)`.
        batch: Those samples, with the shown channels only.
        value: Of all samples of the split, natural units, `(all, parameter)`.
        facts: What else there is to say about the dataset.
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
        _draw_label(page, sheet, sample, cell)
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
        page: Where to.
        channel: How it reads.
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


def _draw_label(page: Page, sheet: Sheet, sample: int, cell: float) -> None:
    """Number and values of a sample, above its pictures."""
    row, column = divmod(sample, COLUMNS)
    left, top = _left(column), TOP + row * cell
    page.text(left, top, f"{sheet.split} {sheet.number[sample]}", weight="bold")
    texts = value_texts(sheet.specs, sheet.batch.value[sample])
    shown = texts if len(texts) <= MOST_LINES else [*texts[: MOST_LINES - 1], ("…", "")]
    for number, (name, text) in enumerate(shown, 1):
        name = fitted(name, CELL - text_width(f" {text}", 7.5), 7.5)
        page.text(left, top + number * LINE, f"{name} {text}", fontsize=7.5)


PAGE_STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
body { max-width: 75rem; margin: 1rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.4rem }
ul { list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)) }
li { border: 1px solid #8886; border-radius: 6px; padding: .6rem; overflow: hidden }
h3 { margin: 0 0 .3rem; font-size: 1rem }
img { display: block; width: 100%; border-radius: 4px }
th { text-align: left; font-weight: normal; padding-right: 1rem; opacity: .75 }
th, td { vertical-align: top; font-size: .87rem }
"""


@matplotlib.rc_context(STYLE)
def contact_page(sheet: Sheet) -> str:
    """A contact sheet as one HTML file that needs no other."""
    ends = [limits(levels) for levels in sheet.levels()]
    samples = "".join(
        f"<li><h3>{escape(sheet.split)} {number}</h3>{_pictures(sheet, sample, ends)}"
        f"{_table(value_texts(sheet.specs, sheet.batch.value[sample]))}</li>"
        for sample, number in enumerate(sheet.number)
    )
    histograms = "".join(
        f"<li>{_image(_histogram(spec, sheet.value[:, number]), f'Histogram of {spec.name}')}</li>"
        for number, spec in enumerate(sheet.specs)
    )
    title = escape(sheet.title)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'unsafe-inline'\"><title>{title}</title><style>{PAGE_STYLE}</style></head>\n"
        f"<body><h1>{title}</h1>{_table(list(sheet.facts.items()))}<h2>Samples</h2><ul>{samples}</ul>"
        f"<h2>{len(sheet.value):,} samples of {escape(sheet.split)}, by class</h2><ul>{histograms}</ul></body></html>\n"
    )


def _pictures(sheet: Sheet, sample: int, ends: Sequence[tuple[float, float]]) -> str:
    """A picture of every channel of a sample."""
    texts = []
    for channel, levels, of_channel in zip(sheet.channels, sheet.levels(), ends, strict=True):
        page = Page(3.6, 2.4)
        drawn = draw_spectrogram(page.axes(0.6, 0.25, 2.2, 1.7), levels[sample], channel, of_channel)
        drawn.axes.set_title(fitted(channel.name, 2.2), loc="left")
        draw_color_bar(page.axes(2.88, 0.25, 0.1, 1.7), drawn, channel)
        texts.append(_image(page.figure, f"{channel.name} of {sheet.split} {sheet.number[sample]}"))
    return "".join(texts)


def _histogram(spec: ParamSpec, value: np.ndarray) -> Figure:
    page = Page(3.2, 1.9)
    draw_histogram(page.axes(0.6, 0.15, 2.4, 1.3), spec, value)
    return page.figure


def _image(figure: Figure, description: str) -> str:
    """A figure inside of a page."""
    data = base64.b64encode(png(figure)).decode()
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in rows)
    return f"<table>{cells}</table>"
