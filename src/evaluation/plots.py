"""Pictures of datasets: spectrograms, waterfalls and histograms.

Everything is drawn on matplotlib's own figures, past pyplot. Row 0 of an image is the lowest frequency, and at the
bottom.
"""

import functools
import io
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from src.errors import VIMHError
from src.params import ParamSpec
from src.vimh.info import DatasetInfo

DPI = 100
COLORS = "magma"
SIGNED_COLORS = "RdBu_r"  # of what deviates to both sides: white in the middle
FONT = "DejaVu Sans"  # comes with matplotlib
# What people wrote into a dataset is no formula, whatever it holds.
STYLE = {
    "text.parse_math": False,
    "font.family": FONT,
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
}
MAX_PIXEL = 255
FAINT = "0.4"
ROUND = (1, 2, 2.5, 5, 10)  # steps from tick to tick
SIZE = (10.0, 5.5)  # of a figure for one sample, inches
LEFT, LINE = 0.7, 0.13  # left margin, and height of a line of small text, inches


@dataclass(frozen=True)
class Axis:
    """What the rows, or the columns, of an image are.

    Attributes:
        label: With the unit.
        centre: Middle of each row or column in that unit, rising, `(row,)`.
    """

    label: str
    centre: np.ndarray

    @property
    def edges(self) -> tuple[float, float]:
        """Where the first row begins and the last one ends."""
        before, after = (np.diff(self.centre)[[0, -1]] / 2) if len(self.centre) > 1 else (0.5, 0.5)
        return float(self.centre[0] - before), float(self.centre[-1] + after)

    def position(self, value: np.ndarray) -> np.ndarray:
        """Rows at which values lie; row i reaches from i - 0.5 to i + 0.5."""
        first, last = self.edges
        n = len(self.centre)
        return np.interp(value, [first, *self.centre, last], [-0.5, *range(n), n - 0.5])

    def value(self, position: float) -> float:
        """The inverse of `position`."""
        first, last = self.edges
        n = len(self.centre)
        return float(np.interp(position, [-0.5, *range(n), n - 0.5], [first, *self.centre, last]))

    def ticks(self, most: int) -> tuple[list[float], list[str]]:
        """Rows of round values, and how those are written."""
        first, last = self.edges
        if np.allclose(self.centre, np.linspace(self.centre[0], self.centre[-1], len(self.centre))):
            values = MaxNLocator(most, steps=ROUND).tick_values(first, last)
        else:
            values = _spread(_round_values(last), self, len(self.centre) / (most + 1))
        values = values[(values >= first) & (values <= last)]
        return self.position(values).tolist(), [f"{value:g}" for value in values]


def _round_values(highest: float) -> np.ndarray:
    """1, 2, 5, 10, … up to `highest`."""
    decades = 10.0 ** np.arange(math.floor(math.log10(highest)) + 1)
    return np.outer(decades, [1, 2, 5]).ravel()


def _spread(values: np.ndarray, axis: Axis, gap: float) -> np.ndarray:
    """Of rising values, from the highest down, those at least `gap` rows apart."""
    kept: list[float] = []
    for value in values[(values >= axis.edges[0]) & (values <= axis.edges[1])][::-1]:
        if not kept or axis.position(kept[-1]) - axis.position(value) >= gap:
            kept.append(value)
    return np.array(kept[::-1])


@dataclass(frozen=True)
class Channel:
    """How a channel of a dataset's images reads.

    Attributes:
        name: What it shows.
        rows: From the bottom up.
        columns: From left to right.
        units: Of its levels.
        ends: Levels of the pixels 0 and 255 in every image; None: those of the record.
    """

    name: str
    rows: Axis
    columns: Axis
    units: str
    ends: tuple[float, float] | None

    @property
    def is_signed(self) -> bool:
        """Whether it deviates to both sides of 0, as far to one as to the other but for a pixel."""
        return self.ends is not None and self.ends[0] < 0 and abs(sum(self.ends)) < -2 * self.ends[0] / MAX_PIXEL

    def colors(self, ends: tuple[float, float]) -> dict[str, object]:
        """What matplotlib is told of the colours between two levels: 0 is in the middle of a signed channel's."""
        most = max(map(abs, ends))
        low, high, name = (-most, most, SIGNED_COLORS) if self.is_signed else (*ends, COLORS)
        return {"cmap": name, "vmin": low, "vmax": high}

    def levels(self, image: np.ndarray, spec_range: np.ndarray) -> np.ndarray:
        """Levels in `units`, float32, `(sample, freq, time)`.

        Args:
            image: This channel's pixels, uint8, `(sample, freq, time)`.
            spec_range: dB of the pixels 0 and 255, `(sample, 2)`; not looked at if `ends` says it.
        """
        ends = spec_range if self.ends is None else np.tile(self.ends, (len(image), 1))
        low, high = np.float32(ends).T[..., None, None]
        return low + image * ((high - low) / MAX_PIXEL)


def channels_of(info: DatasetInfo, has_spec_range: bool) -> tuple[Channel, ...]:
    """The channels of a dataset's images.

    Args:
        info: What the dataset says of itself.
        has_spec_range: Whether its records hold the range in dB.

    Raises:
        VIMHError: If it does not speak of as many channels as there are.
    """
    for key in ("channel_ranges", "channel_axes"):
        entries = getattr(info, key)
        if entries is not None and len(entries) != info.channels:
            raise VIMHError(f"{key} has {len(entries)} entries for {info.channels} channels. Mend the dataset's JSON.")
    usual = None if has_spec_range else (0.0, float(MAX_PIXEL), "level")
    ranges = info.channel_ranges or (None,) * info.channels
    names = info.channel_labels or tuple(f"channel {number}" for number in range(info.channels))
    axes = info.channel_axes or ({},) * info.channels
    return tuple(
        _channel(info, *entries) for entries in zip(names, axes, (own or usual for own in ranges), strict=True)
    )


def _channel(
    info: DatasetInfo, name: str, axes: Mapping[str, object], ends: tuple[float, float, str] | None
) -> Channel:
    rows, columns = _frequencies(info), _times(info)
    if "rows" in axes:
        rows = _axis(axes, "row", info.height)
    if "columns" in axes:
        columns = _axis(axes, "column", info.width)
    return Channel(name, rows, columns, "dB" if ends is None else ends[2], None if ends is None else ends[:2])


def _axis(axes: Mapping[str, object], what: str, n: int) -> Axis:
    """Rows or columns where a dataset places them, or their numbers if it only says what they are."""
    label, units = str(axes[f"{what}s"]), axes.get(f"{what}_units")
    first, step = f"{what}_first", f"{what}_step"
    if not _are_numbers(axes, first, step) or not axes[step]:
        return Axis(label, np.arange(n))
    return Axis(f"{label} ({units})" if units else label, axes[first] + axes[step] * np.arange(n))


def _frequencies(info: DatasetInfo) -> Axis:
    """Frequencies of the rows, or their numbers where the dataset does not tell."""
    mel, stft = info.mel_config or {}, info.spectrogram_config or {}
    if info.sample_rate and _are_numbers(mel, "f_min", "f_max") and mel.get("mel_scale") in ("htk", "slaney"):
        return Axis("frequency (Hz)", mel_centres(info.height, mel["f_min"], mel["f_max"], mel["mel_scale"]))
    if info.sample_rate and not mel and _are_numbers(stft, "n_fft") and stft["n_fft"]:
        first = stft["first_bin"] if _are_numbers(stft, "first_bin") else 1
        return Axis("frequency (Hz)", (np.arange(info.height) + first) * (info.sample_rate / stft["n_fft"]))
    return Axis("row", np.arange(info.height))


def _times(info: DatasetInfo) -> Axis:
    """Times of the columns' centres, or their numbers where the dataset does not tell."""
    stft = info.spectrogram_config or {}
    number = np.arange(info.width)
    if info.sample_rate and _are_numbers(stft, "win_length", "hop_length") and stft["hop_length"]:
        return Axis("time (s)", (number * stft["hop_length"] + stft["win_length"] / 2) / info.sample_rate)
    if info.duration:
        return Axis("time (s)", (number + 0.5) * (info.duration / info.width))
    return Axis("column", number)


def _are_numbers(section: Mapping[str, object], *keys: str) -> bool:
    """Whether a section of a JSON that anybody may have written holds numbers above or at 0 under some keys."""
    found = [section.get(key) for key in keys]
    return all(isinstance(entry, int | float) and not isinstance(entry, bool) and entry >= 0 for entry in found)


def mel_centres(n_mels: int, f_min: float, f_max: float, mel_scale: str) -> np.ndarray:
    """Frequency at which each mel filter has its peak, Hz, `(n_mels,)`.

    Args:
        n_mels: Bands.
        f_min: Lower edge of the first, Hz.
        f_max: Upper edge of the last, Hz.
        mel_scale: `htk` (O'Shaughnessy 1987) or `slaney` (linear up to 1 kHz, Auditory Toolbox 1998).
    """
    if mel_scale == "htk":
        low, high = (2595 * math.log10(1 + f / 700) for f in (f_min, f_max))
        return 700 * (10 ** (np.linspace(low, high, n_mels + 2)[1:-1] / 2595) - 1)
    octaves = math.log(6.4) / 27  # nepers a mel above 1 kHz, which is mel 15
    low, high = (f * 0.015 if f < 1000 else 15 + math.log(f / 1000) / octaves for f in (f_min, f_max))
    mel = np.linspace(low, high, n_mels + 2)[1:-1]
    return np.where(mel < 15, mel / 0.015, 1000 * np.exp((mel - 15) * octaves))


def limits(levels: np.ndarray) -> tuple[float, float]:
    """Lowest and highest of some levels, never the same."""
    low, high = float(levels.min()), float(levels.max())
    return low, max(high, low + 1)


def draw_spectrogram(
    axes: Axes, level: np.ndarray, channel: Channel, ends: tuple[float, float], ticks: tuple[int, int] = (5, 5)
) -> AxesImage:
    """An image with its axes; row 0 is at the bottom.

    Args:
        axes: Where to.
        level: `(freq, time)`.
        channel: How it reads.
        ends: Levels of the first and the last colour.
        ticks: The most of them, on the axes of time and frequency.
    """
    drawn = axes.imshow(level, origin="lower", aspect="auto", interpolation="nearest", **channel.colors(ends))
    axes.set_xticks(*channel.columns.ticks(ticks[0]))
    axes.set_yticks(*channel.rows.ticks(ticks[1]))
    axes.set_xlabel(channel.columns.label)
    axes.set_ylabel(channel.rows.label)
    # Where the pointer is; matplotlib adds the level.
    axes.format_coord = lambda x, y: (
        f"{channel.columns.label} {channel.columns.value(x):.3g}, {channel.rows.label} {channel.rows.value(y):.4g}"
    )
    return drawn


def draw_color_bar(axes: Axes, drawn: AxesImage, channel: Channel) -> None:
    """What level has which colour."""
    axes.figure.colorbar(drawn, cax=axes, label=channel.units)


def draw_waterfall(axes: Axes3D, level: np.ndarray, channel: Channel, ends: tuple[float, float]) -> None:
    """The same in three dimensions: time goes from the front to the back, frequency to the right, level up.

    Args:
        axes: Where to.
        level: `(freq, time)`.
        channel: How it reads.
        ends: Levels of the first and the last colour, and of the floor and the ceiling.
    """
    n_freq, n_frames = level.shape
    freq, time = np.meshgrid(np.arange(n_freq), np.arange(n_frames))
    axes.plot_surface(
        *(freq, time, level.T),
        **channel.colors(ends),
        rcount=n_frames,
        ccount=n_freq,
        linewidth=0.1,
        edgecolor="0.5",
    )
    axes.set_zlim(*ends)
    axes.set_xticks(*channel.rows.ticks(5))
    axes.set_yticks(*channel.columns.ticks(5))
    axes.set_xlabel(channel.rows.label, labelpad=8)
    axes.set_ylabel(channel.columns.label, labelpad=8)
    axes.set_zlabel(channel.units, labelpad=6)
    axes.view_init(elev=38, azim=-62)


def draw_histogram(axes: Axes, spec: ParamSpec, value: np.ndarray) -> None:
    """How often each class of a parameter is there.

    Args:
        axes: Where to.
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
    """Name and value in natural units of each parameter of a sample, `(parameter,)`."""
    return [(spec.name, value_text(spec, float(entry))) for spec, entry in zip(specs, value, strict=True)]


def value_text(spec: ParamSpec, value: float) -> str:
    """A value in natural units: `812.4 Hz`; of a category its name."""
    if spec.names:
        index = spec.index_from_normalized(np.array(spec.normalized_from_value(value)))
        return spec.names[int(index)]
    return f"{value:.4g} {spec.units}".rstrip()


def fitted(line: str, width: float, size: float = 8.0, bold: bool = False) -> str:
    """A line of text, cut to a width in inches where it is longer; `size` in points."""
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


class Page:
    """A figure that is laid out in inches, from its upper left corner.

    Args:
        width: Inches.
        height: Inches.
        figure: What to draw on, stretched to its size. None: a new one.
    """

    def __init__(self, width: float, height: float, figure: Figure | None = None) -> None:
        self.figure = figure or Figure(figsize=(width, height), dpi=DPI)
        self.width, self.height = width, height

    def axes(self, left: float, top: float, width: float, height: float, **kwargs: str) -> Axes:
        """New axes."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, **kwargs)

    def text(self, left: float, top: float, text: str, **kwargs: object) -> Text:
        """A text below and right of a point."""
        return self.figure.text(left / self.width, 1 - top / self.height, text, va="top", **kwargs)


def simplify(axes: Axes, is_left: bool, is_lowest: bool, is_last: bool) -> None:
    """Leave out what the pictures on the left and below say as well."""
    if not is_left:
        axes.set_ylabel("")
        axes.tick_params(labelleft=False)
    if not is_lowest:
        axes.tick_params(labelbottom=False)
    if not (is_lowest and is_last):
        axes.set_xlabel("")


@matplotlib.rc_context(STYLE)
def sample_figure(
    figure: Figure,
    channel: Channel,
    level: np.ndarray,
    ends: tuple[float, float],
    title: str,
    texts: Sequence[tuple[str, str]],
    footer: Sequence[str] = (),
    waterfall: bool = False,
) -> Figure:
    """One sample with its values, on a figure that is empty.

    Args:
        figure: Of `SIZE`, or larger.
        channel: What of it is shown.
        level: `(freq, time)`.
        ends: Levels of the first and the last colour.
        title: Which sample.
        texts: Names and values, with names alone for headings.
        footer: Lines below.
        waterfall: Whether it is shown in three dimensions.
    """
    page = Page(*SIZE, figure)
    page.text(LEFT, 0.15, fitted(title, 9, 11, True), fontsize=11, weight="bold")
    if waterfall:
        draw_waterfall(page.axes(0.1, 0.35, 6.4, 4.1, projection="3d"), level, channel, ends)
    else:
        drawn = draw_spectrogram(page.axes(LEFT, 0.5, 5.0, 3.8), level, channel, ends, (8, 10))
        draw_color_bar(page.axes(LEFT + 5.12, 0.5, 0.14, 3.8), drawn, channel)
    _draw_texts(page, texts)
    for number, line in enumerate(footer):
        page.text(LEFT, page.height - 0.2 * (len(footer) - number) - 0.08, line, color=FAINT)
    return figure


def _draw_texts(page: Page, texts: Sequence[tuple[str, str]]) -> None:
    """Names and values below each other, on the right; a value that its name would run into gives way."""
    most = int((page.height - 1.0) / 0.17)
    shown = texts if len(texts) <= most else [*texts[: most - 1], ("…", "")]
    for number, (name, text) in enumerate(shown):
        top = 0.5 + number * 0.17
        page.text(6.75, top, fitted(name, 1.7 if text else 3.1, bold=not text), weight="normal" if text else "bold")
        page.text(8.5, top, fitted(text, 1.45))


@matplotlib.rc_context(STYLE)
def pair_figure(
    info: DatasetInfo, true: np.ndarray, predicted: np.ndarray, texts: Sequence[tuple[str, str, str]]
) -> Figure:
    """The spectrograms of a sound and of what a network took it for, in the same colours.

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
