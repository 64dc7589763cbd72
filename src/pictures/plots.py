"""Pictures of datasets: spectrograms and histograms.

Everything is drawn on figures that pyplot does not manage. Row 0 of an image is the lowest frequency, at the bottom.
"""

import functools
import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import RcKeyType

from src.params import INACTIVE, ParameterSpace, ParamSpec
from src.text import one_line, printable
from src.vimh.axes import ROUND, ChannelInfo, channels_of, limits
from src.vimh.info import DatasetInfo

DPI = 100
FONT = "DejaVu Sans"  # comes with matplotlib
# A dataset may hold any text: none of it is parsed as a formula.
STYLE: dict[RcKeyType, Any] = {
    "text.parse_math": False,
    "font.family": FONT,
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
}
FAINT = "0.4"
COLORS = "magma"
SIGNED_COLORS = "RdBu_r"  # of levels that deviate to both sides: white in the middle
LABEL = 2.4  # the longest of an axis, inches
MOST_CHARACTERS = 1000  # of a line: more would fit into none
LEFT, LINE = 0.7, 0.13  # left margin, and height of a line of small text, inches


def draw_spectrogram(
    axes: Axes, level: np.ndarray, channel: ChannelInfo, ends: tuple[float, float], ticks: tuple[int, int] = (5, 5)
) -> AxesImage:
    """An image with its axes; row 0 is at the bottom.

    Args:
        axes: The axes to draw on.
        level: `(freq, time)`.
        channel: Its meaning.
        ends: Levels of the first and the last colour.
        ticks: The most of them, on the axes of time and frequency.
    """
    drawn = axes.imshow(level, origin="lower", aspect="auto", interpolation="nearest", **colors_between(channel, ends))
    axes.set_xticks(*channel.columns.ticks(ticks[0]))
    axes.set_yticks(*channel.rows.ticks(ticks[1]))
    across, upwards = (fitted(axis.label, LABEL) for axis in (channel.columns, channel.rows))
    axes.set_xlabel(across)
    axes.set_ylabel(upwards)

    def pointed_at(x: float, y: float) -> str:  # matplotlib adds the level
        return f"{across} {channel.columns.value(x):.3g}, {upwards} {channel.rows.value(y):.4g}"

    axes.format_coord = pointed_at  # type: ignore[method-assign]  # as matplotlib's documentation has it
    return drawn


def colors_between(channel: ChannelInfo, ends: tuple[float, float]) -> dict[str, Any]:
    """Matplotlib's keywords for the colours between two levels; those of a signed channel have 0 in their middle."""
    most = max(map(abs, ends))
    low, high, name = (-most, most, SIGNED_COLORS) if channel.is_signed else (*ends, COLORS)
    return {"cmap": name, "vmin": low, "vmax": high}


def draw_color_bar(axes: Axes, drawn: AxesImage, channel: ChannelInfo) -> None:
    """The colours of the levels."""
    axes.figure.colorbar(drawn, cax=axes, label=fitted(channel.units, LABEL))


def draw_histogram(axes: Axes, spec: ParamSpec, value: np.ndarray) -> None:
    """How often each class of a parameter occurs.

    Args:
        axes: The axes to draw on.
        spec: The parameter.
        value: Natural units, `(sample,)`.
    """
    edges = spec.value_from_index(np.arange(spec.n_classes + 1) - 0.5)
    counts, _ = np.histogram(np.clip(value, edges[0], edges[-1]), edges)
    axes.stairs(counts, edges, fill=True, color="#3b6ea5")
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, max(1.05 * counts.max(), 1)), ylabel="samples")
    axes.set_xlabel(fitted(f"{spec.name} ({spec.units})" if spec.units else spec.name, 2.4))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND, integer=True))
    axes.spines[["top", "right"]].set_visible(False)


def value_texts(specs: Sequence[ParamSpec], value: np.ndarray) -> list[tuple[str, str]]:
    """Name and value in natural units of each parameter of a sample, `(parameter,)`; – for one that does not act."""
    (active,) = ParameterSpace(tuple(specs)).active(value[None])
    return [
        (spec.name, value_text(spec, float(entry)) if acts else INACTIVE)
        for spec, entry, acts in zip(specs, value, active, strict=True)
    ]


def value_text(spec: ParamSpec, value: float) -> str:
    """A value in natural units: `812.4 Hz`; of a category its name."""
    return spec.text(value) if spec.categorical else f"{spec.text(value)} {spec.natural_units}".rstrip()


def fitted(line: str, width: float, size: float = 8.0, bold: bool = False) -> str:
    """A text as one line of what can be drawn, cut to a width in inches where it is longer; `size` in points."""
    line = one_line(line, MOST_CHARACTERS)
    length = bisect_right(range(1, len(line) + 1), width, key=lambda n: text_width(line[:n], size, bold))
    return line if length == len(line) else f"{line[: max(length - 2, 0)]}…"


def text_width(line: str, size: float = 8.0, bold: bool = False) -> float:
    """Width of a line of text, inches."""
    face = _font(bold)
    face.set_size(size, 72)
    face.set_text(line)
    return face.get_width_height()[0] / 64 / 72


@functools.cache
def _font(bold: bool) -> FT2Font:
    return FT2Font(findfont(FontProperties(family=FONT, weight="bold" if bold else "normal")))


class Picture(Figure):
    """A figure that pyplot does not manage, and that shows itself in a notebook."""

    def _repr_png_(self) -> bytes:
        return png(self)


class Page:
    """A figure that is laid out in inches, from its upper left corner.

    Args:
        width: Inches.
        height: Inches.
    """

    def __init__(self, width: float, height: float) -> None:
        self.figure = Picture(figsize=(width, height), dpi=DPI)
        self.width, self.height = width, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """New axes."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, text: str, **kwargs: Any) -> Text:
        """A text below and right of a point."""
        shown = printable(text).replace("\t", " ")
        return self.figure.text(left / self.width, 1 - top / self.height, shown, va="top", **kwargs)


def simplify(axes: Axes, is_left: bool, is_lowest: bool, is_last: bool) -> None:
    """Leave out labels that the pictures on the left and below show as well."""
    if not is_left:
        axes.set_ylabel("")
        axes.tick_params(labelleft=False)
    if not is_lowest:
        axes.tick_params(labelbottom=False)
    if not (is_lowest and is_last):
        axes.set_xlabel("")


def shortened(texts: Sequence[tuple[str, str]], most: int) -> Sequence[tuple[str, str]]:
    """The first of some names and values, with `…` for those beyond `most`."""
    return texts if len(texts) <= most else [*texts[: most - 1], ("…", "")]


@matplotlib.rc_context(STYLE)
def pair_figure(
    info: DatasetInfo, true: np.ndarray, predicted: np.ndarray, texts: Sequence[tuple[str, str, str]]
) -> Figure:
    """The spectrograms of a sound and of its resynthesis from the predicted parameters, in the same colours.

    Args:
        info: The dataset that they are like.
        true: dB, `(freq, time)`.
        predicted: dB, `(freq, time)`.
        texts: Name, true and predicted value of each parameter.
    """
    channel = channels_of(info, has_spec_range=True)[0]
    ends = limits(np.stack([true, predicted]))
    page = Page(10.5, max(2.6, 0.75 + LINE * 1.2 * len(texts)))
    for title, level, left in (("true", true, LEFT), ("predicted", predicted, LEFT + 2.65)):
        axes = page.axes(left, 0.3, 2.5, 1.8)
        drawn = draw_spectrogram(axes, level, channel, ends)
        simplify(axes, title == "true", True, True)
        axes.set_title(title, loc="left")
    draw_color_bar(page.axes(LEFT + 5.25, 0.3, 0.1, 1.8), drawn, channel)
    # One text for each column: many small ones take longer to draw.
    for entries, left in zip(zip(("", "true", "predicted"), *texts, strict=True), (6.75, 8.45, 9.4), strict=True):
        column = "\n".join(fitted(entry, 1.6 if left == 6.75 else 0.9, 7.5) for entry in entries)
        page.text(left, 0.15, column, fontsize=7.5, linespacing=1.4)
    return page.figure


def png(figure: Figure) -> bytes:
    """A figure as a file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()
