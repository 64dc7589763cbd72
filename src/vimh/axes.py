"""What the rows, the columns and the channels of a dataset's images are: numbers, units and labels.

All of it comes from the dataset's JSON. Colours and drawing are in `src.pictures.plots`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.errors import VIMHError
from src.params import MAX_CODE
from src.vimh.info import DatasetInfo

MOST = 1e12  # in any unit; what is beyond it is no place of a row or a column
MOST_OCTAVES = 40.0  # above the first row
ROUND = (1, 2, 2.5, 5, 10)  # steps from tick to tick, times a power of ten


def round_numbers(low: float, high: float, most: int) -> np.ndarray:
    """The multiples of a round step that lie within two ends; the step is the finest of which `most` reach across."""
    finest = (high - low) / most
    power = 10.0 ** math.floor(math.log10(finest))
    step = next(factor * power for factor in ROUND if factor * power >= finest * (1 - 1e-9))
    return step * np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


@dataclass(frozen=True)
class Axis:
    """The rows, or the columns, of an image.

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

    def tick_values(self, most: int) -> np.ndarray:
        """Round values, at most `most` steps of them: evenly spaced where the rows are, else 1, 2, 5 of each decade."""
        first, last = self.edges
        if np.allclose(self.centre, np.linspace(self.centre[0], self.centre[-1], len(self.centre))):
            return round_numbers(first, last, most)
        decades = 10.0 ** np.arange(math.floor(math.log10(last)) + 1)
        values = np.outer(decades, [1, 2, 5]).ravel()
        values = values[(values >= first) & (values <= last)]
        gap = len(self.centre) / (most + 1)  # rows that lie between two ticks at least
        kept = list(values[-1:])
        for value in values[-2::-1]:
            if self.position(kept[0]) - self.position(value) >= gap:
                kept.insert(0, value)
        return np.array(kept)

    def ticks(self, most: int) -> tuple[list[float], list[str]]:
        """Rows of round values, and their texts."""
        values = self.tick_values(most)
        return self.position(values).tolist(), [f"{value:g}" for value in values]


@dataclass(frozen=True)
class ChannelInfo:
    """The meaning of a channel of a dataset's images.

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
        return self.ends is not None and self.ends[0] < 0 and abs(sum(self.ends)) < -2 * self.ends[0] / MAX_CODE

    def levels(self, image: np.ndarray, spec_range: np.ndarray) -> np.ndarray:
        """Levels in `units`, float32, `(sample, freq, time)`.

        Args:
            image: This channel's pixels, uint8, `(sample, freq, time)`.
            spec_range: dB of the pixels 0 and 255, `(sample, 2)`; unused where `ends` is given.
        """
        ends = spec_range if self.ends is None else np.tile(self.ends, (len(image), 1))
        low, high = np.asarray(ends, np.float32).T[..., None, None]
        return low + image * ((high - low) / MAX_CODE)


def channels_of(info: DatasetInfo, has_spec_range: bool) -> tuple[ChannelInfo, ...]:
    """The channels of a dataset's images.

    Args:
        info: The dataset's description.
        has_spec_range: Whether its records hold the range in dB.

    Raises:
        VIMHError: If it describes another number of channels than there are.
    """
    for key in ("channel_ranges", "channel_axes"):
        entries = getattr(info, key)
        if entries is not None and len(entries) != info.channels:
            raise VIMHError(
                f"{key} has {len(entries)} entries for {info.channels} channels. Correct the dataset's JSON."
            )
    names = info.channel_labels or tuple(f"channel {number}" for number in range(info.channels))
    ranges = info.channel_ranges or (None,) * info.channels
    all_axes = info.channel_axes or ({},) * info.channels
    usual = None if has_spec_range else (0.0, float(MAX_CODE), "level")
    channels = []
    for name, own, axes in zip(names, ranges, all_axes, strict=True):
        rows = _axis(axes, "row", info.height) if "rows" in axes else _frequencies(info)
        columns = _axis(axes, "column", info.width) if "columns" in axes else _times(info)
        found = own or usual
        channels.append(
            ChannelInfo(name, rows, columns, found[2], found[:2])
            if found
            else ChannelInfo(name, rows, columns, "dB", None)
        )
    return tuple(channels)


def _axis(axes: Mapping[str, Any], what: str, n: int) -> Axis:
    """Rows or columns at the places that a dataset gives, or numbered if it gives only their label."""
    label, units = str(axes[f"{what}s"]), axes.get(f"{what}_units")
    first, step = f"{what}_first", f"{what}_step"
    if not _are_numbers(axes, first, step):
        return Axis(label, np.arange(n))
    return _placed(f"{label} ({units})" if units else label, axes[first] + axes[step] * np.arange(n), label)


def _frequencies(info: DatasetInfo) -> Axis:
    """Frequencies of the rows, or their numbers where the dataset does not give them."""
    mel, stft = info.mel_config or {}, info.spectrogram_config or {}
    if not _are_numbers({"": info.sample_rate}, ""):
        return Axis("row", np.arange(info.height))
    if _are_numbers(mel, "f_min", "f_max") and mel.get("mel_scale") in ("htk", "slaney"):
        centre = mel_centres(info.height, mel["f_min"], mel["f_max"], mel["mel_scale"])
        return _placed("frequency (Hz)", centre, "row")
    log = stft.get("log_frequency")
    if isinstance(log, Mapping) and _are_numbers(log, "f_min", "bins_per_octave") and log["bins_per_octave"]:
        octaves = np.arange(info.height) / log["bins_per_octave"]
        return _placed("frequency (Hz)", log["f_min"] * 2.0 ** np.minimum(octaves, MOST_OCTAVES), "row")
    if not mel and _are_numbers(stft, "n_fft") and stft["n_fft"]:
        first = stft["first_bin"] if _are_numbers(stft, "first_bin") else 1
        return _placed("frequency (Hz)", (np.arange(info.height) + first) * (info.sample_rate / stft["n_fft"]), "row")
    return Axis("row", np.arange(info.height))


def _times(info: DatasetInfo) -> Axis:
    """Times of the columns' centres, or their numbers where the dataset does not give them."""
    stft, number = info.spectrogram_config or {}, np.arange(info.width)
    frames = stft | {"sample_rate": info.sample_rate}
    if info.sample_rate and _are_numbers(frames, "sample_rate", "win_length", "hop_length") and stft["hop_length"]:
        centre = (number * stft["hop_length"] + stft["win_length"] / 2) / info.sample_rate
        return _placed("time (s)", centre, "column")
    if info.duration:
        return _placed("time (s)", (number + 0.5) * (info.duration / info.width), "column")
    return Axis("column", number)


def _placed(label: str, centre: np.ndarray, unplaced: str) -> Axis:
    """Rows at their places, or numbered if these do not rise: nothing else has checked what the JSON says of them."""
    rises = centre[0] >= 0 and centre[-1] < MOST and (np.diff(centre) > 1e-9 * max(1.0, centre[-1])).all()
    return Axis(label, centre) if rises else Axis(unplaced, np.arange(len(centre)))


def _are_numbers(section: Mapping[str, object], *keys: str) -> bool:
    """Whether a section of the JSON holds numbers of 0 or more under all of some keys; nothing else has checked it."""
    found = [section.get(key) for key in keys]
    return all(isinstance(entry, int | float) and not isinstance(entry, bool) and 0 <= entry < MOST for entry in found)


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
