"""What the page of a dataset shows: its description, its columns of numbers, its images.

The page asks for these in portions, from the server (`app`) or from the file that holds it (`saved`):

description
    Plain data, once: texts, axes, colours, how many records there are.
column
    A number of every record of a split, float32, little-endian: a parameter's value, or the level.
images
    Of some records and channels: the levels of the pixels 0 and 255, float32, `(record, channel, 2)`, then the pixels,
    uint8, `(record, channel, freq, time)`.
whence
    Of a record of recordings: the name of its file, and where it begins there, s, in JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from src.pages.formats import format_hertz
from src.pages.pages import PageSource
from src.params import ParamSpec
from src.playback import Playback
from src.text import one_line
from src.vimh.axes import Axis, ChannelInfo, channels_of, limits
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch, VIMHSplit
from src.vimh.sources import Sources

MOST_SAMPLES = 1024  # from which the colours are chosen
MOST_TICKS = 8  # of an axis
MOST_LETTERS = 24  # of the label of an axis
FLOAT = "<f4"
HERE = Path(__file__).parent
SOURCE = PageSource(HERE / "sheet.html.j2", HERE / "sheet.css", HERE / "sheet.js")


class SplitContent:
    """The records of one split.

    Args:
        samples: The records; one or more.
        sources: Which files they come from; None where the dataset does not say.

    Attributes:
        channels: Of the images.
        specs: The parameters.
    """

    def __init__(self, samples: VIMHSplit, sources: Sources | None = None) -> None:
        self.samples = samples
        self.sources = sources
        self.channels = channels_of(samples.info, samples.has_spec_range)
        self.specs = samples.info.parameters
        self._lock = Lock()  # of the table, which several requests ask for at the same time

    @cached_property
    def color_ends(self) -> list[tuple[float, float]]:
        """Levels of the first and the last colour of each channel, the same for all records."""
        batch = self.samples.read(np.arange(0, len(self.samples), -(-len(self.samples) // MOST_SAMPLES)))
        ends = [
            limits(channel.levels(batch.image[:, number], batch.spec_range))
            for number, channel in enumerate(self.channels)
        ]
        return [
            (-max(map(abs, pair)), max(map(abs, pair))) if channel.is_signed else pair
            for channel, pair in zip(self.channels, ends, strict=True)
        ]

    def column(self, number: int) -> np.ndarray:
        """A number of every record, float32, `(record,)`: of a parameter, or after the last of them the level."""
        with self._lock:
            return self._table[number]

    @cached_property
    def _table(self) -> np.ndarray:
        """All columns, `(column, record)`; the values of parameters that do not act on a record are not-a-number."""
        table = np.empty((len(self.specs) + 1, len(self.samples)), FLOAT)
        for chunk in self.samples.chunks():
            table[:, chunk] = self._columns_of(self.samples.read(chunk)).T
        return table

    def _columns_of(self, batch: Batch) -> np.ndarray:
        """The rows of some records, `(record, column)`."""
        active = self.samples.info.space.active(batch.value)
        loudest = batch.image[:, 0].max(axis=(1, 2), keepdims=True)
        level = self.channels[0].levels(loudest, batch.spec_range)[:, 0]
        return np.concatenate([np.where(active, batch.value, np.nan), level], axis=1)

    def row(self, number: int) -> bytes:
        """The entries of all columns of one record, float32."""
        return self._columns_of(self.samples.read(slice(number, number + 1))).astype(FLOAT).tobytes()

    def images(self, numbers: np.ndarray | slice, channels: slice = slice(None)) -> bytes:
        """Levels and pixels of some records and channels, as the page takes them."""
        batch = self.samples.read(numbers)
        ends = np.empty((len(batch.image), len(self.channels), 2), FLOAT)
        for number, channel in enumerate(self.channels):
            ends[:, number] = batch.spec_range if channel.ends is None else channel.ends
        return ends[:, channels].tobytes() + batch.image[:, channels].tobytes()

    def whence(self, number: int) -> tuple[str, float]:
        """The file of a record, in one line, and where the record begins in it, s; an empty name where it has none."""
        if self.sources is None:
            return "", 0.0
        return one_line(str(self.sources.file[number])), float(self.sources.start[number])

    def start(self, n: int) -> "SplitContent":
        """The same of the first `n` records alone."""
        samples = self.samples
        exact = None if samples.exact is None else samples.exact[:n]
        sources = None if self.sources is None else self.sources.take(np.arange(n))
        return SplitContent(VIMHSplit(samples.records[:n], samples.info, samples.path, exact), sources)

    def description(self) -> dict[str, Any]:
        """What the page knows of the split before it asks for a record."""
        return {
            "n": len(self.samples),
            "sources": self.sources is not None,
            "channels": [
                {**channel_data(channel), "ends": ends}
                for channel, ends in zip(self.channels, self.color_ends, strict=True)
            ],
        }


@dataclass(frozen=True)
class SheetContent:
    """What the page of a dataset shows.

    Attributes:
        title: Name of the dataset.
        info: The dataset's description.
        splits: Those that have records.
        playback: What makes them audible.
        facts: Properties of the dataset, a line each.
        first: The split that is shown first.
        channel: The channel that is shown first.
    """

    title: str
    info: DatasetInfo
    splits: Mapping[str, SplitContent]
    playback: Playback
    facts: Mapping[str, str]
    first: str = "train"
    channel: int = 0

    def description(self) -> dict[str, Any]:
        """What the page knows before it asks for a record."""
        info = self.info
        return {
            "title": self.title,
            "facts": list(self.facts.items()),
            "first": self.first,
            "channel": self.channel,
            "height": info.height,
            "width": info.width,
            "columns": [*map(_parameter, info.parameters), self._level],
            "fixed": [(entry.name, f"{entry.value:.4g}") for entry in info.space.fixed],
            "splits": {name: split.description() for name, split in self.splits.items()},
            "sound": {"how": self.playback.how, "possible": not self.playback.silence},
        }

    @property
    def _level(self) -> dict[str, Any]:
        """The last of the columns."""
        channel = next(iter(self.splits.values())).channels[0]
        about = f"The highest {channel.units} of {channel.name}"
        return {
            "key": "~level",  # which no parameter is called
            "name": "highest level",
            "units": channel.units,
            "about": about,
            "grid": None,
            "log": False,
            "whole": False,
            "names": [],
        }


def _parameter(spec: ParamSpec) -> dict[str, Any]:
    """A column as the page needs it to write values down, and to count them by class."""
    return {
        "key": spec.name,
        "name": spec.name,
        "units": spec.natural_units,
        "about": spec.description,
        "grid": {"min": spec.min, "step": spec.step, "n": spec.n_classes},
        "log": bool(spec.log),
        "whole": bool(spec.discrete),
        "names": spec.names,
    }


def channel_data(channel: ChannelInfo) -> dict[str, Any]:
    """A channel as a page draws it: what it shows, in which unit, and its axes."""
    return {
        "name": channel.name,
        "units": channel.units,
        "signed": channel.is_signed,
        "rows": _axis(channel.rows),
        "columns": _axis(channel.columns),
    }


def _axis(axis: Axis) -> dict[str, Any]:
    """Label, units, places and ticks of rows or columns; ticks stand at fractions of the way across."""
    places, texts = axis.ticks(MOST_TICKS)
    label, _, units = axis.label.removesuffix(")").partition(" (")
    if units == "Hz":
        texts = [format_hertz(value) for value in axis.tick_values(MOST_TICKS)]
    return {
        "label": one_line(label, MOST_LETTERS),
        "units": one_line(units, MOST_LETTERS),
        "centres": [float(f"{value:.6g}") for value in axis.centre],
        "ends": axis.edges,
        "ticks": [
            ((place + 0.5) / len(axis.centre), text.replace("-", "−"))
            for place, text in zip(places, texts, strict=True)
        ],
    }


def within_full_scale(waveform: np.ndarray) -> np.ndarray:
    """A sound, `(..., time)`, made softer as far as it would clip."""
    return waveform / np.maximum(1.0, np.abs(waveform).max(axis=-1, keepdims=True))
