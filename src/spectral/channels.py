"""Channels of an image beside the first: other views of the same sound on the same rows and columns.

Pure, batched functions first, then what holds their settings. Everything runs on the device of its input and is
differentiable; only the STFT is complex. Column t of every channel looks at the same time, the centre of window t of
the first channel; row r at the same frequency.

X_h is the STFT with the window h, X_dh that with the window's derivative, X_th that with the window times its time from
the common centre. Where rows hold several bins (mel bands, or windows longer than the grid's FFT), what is said of a
row is the mean over its bins, weighted by power.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.errors import ConfigError, check_number
from src.spectral import functional as F
from src.spectral.analysis import Analysis, Grid, Spectra
from src.spectral.views import (
    LEAST,
    Window,
    decibels,
    delay_moment,
    frequency_moment,
    mean_deviation,
    modulation_depth,
    normalized_level,
    spectral_envelope,
    temporal_envelope,
    window_derivative,
)

ZERO_PIXEL = 128  # of no deviation, where there is one to both sides


class View(NamedTuple):
    """A channel on a grid.

    Attributes:
        measure: Levels before they are rounded and limited, `(..., height, width)`.
        ends: Levels of the pixels 0 and 255, and their units.
        axes: What rows and columns are, as in the JSON; empty for frequency and time.
        settings: As they act, for the JSON.
    """

    measure: Callable[[Spectra], Tensor]
    ends: tuple[float, float, str]
    axes: Mapping[str, Any]
    settings: Mapping[str, Any]


class Channel(ABC):
    """Settings of a channel that can stand on any grid."""

    @abstractmethod
    def on(self, grid: Grid) -> View:
        """This channel on a grid.

        Raises:
            ConfigError: If it cannot be.
        """


class LogPower(Channel):
    """Level in dB full scale with a window of its own: another resolution in time and frequency.

    10 log10 |X_h|^2. No window resolves both better (Gabor, "Theory of communication", J. IEE 93, 1946): several show
    what each hides.

    Args:
        win_ratio: Length of the window over that of the first channel.
        win_length: Samples, instead of `win_ratio`.
        window: Any window of `scipy.signal.get_window`.
        min_db: Level of pixel 0.
        max_db: Level of pixel 255.
    """

    def __init__(
        self,
        win_ratio: float = 1.0,
        win_length: int | None = None,
        window: Window = "hann",
        min_db: float = -100.0,
        max_db: float = 0.0,
    ) -> None:
        self.win_ratio, self.win_length, self.window = win_ratio, win_length, window
        self.ends = _rising_ends(min_db, max_db)

    def on(self, grid: Grid) -> View:
        """Levels of the rows."""
        analysis = Analysis(grid, self.win_length or round(self.win_ratio * grid.win_length), self.window)
        return View(partial(self._measure, analysis), self.ends, {}, _settings(analysis, self.window))

    def _measure(self, analysis: Analysis, spectra: Spectra) -> Tensor:
        return decibels(spectra.rows(analysis))


class InstantaneousFrequency(Channel):
    """Deviation of the instantaneous frequency from the row's centre, in rows: bins, or mel bands.

    Args:
        limit: Deviation of pixel 0, below the centre, in rows; pixel 128 is the centre.
        win_ratio: Length of the window over that of the first channel.
        win_length: Samples, instead of `win_ratio`.
        window: One that falls to 0 at its ends.
        floor_db: Pixels this far under the loudest one of the image are masked.
    """

    def __init__(
        self,
        limit: float = 2.0,
        win_ratio: float = 1.0,
        win_length: int | None = None,
        window: Window = "hann",
        floor_db: float = 60.0,
    ) -> None:
        self.limit = float(check_number("limit of a channel", limit, above=0))
        self.floor_db = float(check_number("floor_db of a channel", floor_db, above=0))
        self.win_ratio, self.win_length, self.window = win_ratio, win_length, window

    def on(self, grid: Grid) -> View:
        """Deviations in rows."""
        analysis = Analysis(grid, self.win_length or round(self.win_ratio * grid.win_length), self.window)
        bins = window_derivative(analysis.window) * (analysis.n_fft / (2 * math.pi))
        ends = _symmetric_ends(self.limit, "bins" if grid.mel_filters is None else "bands")
        settings = {**_settings(analysis, self.window), "floor_db": self.floor_db}
        return View(partial(self._measure, analysis, bins), ends, {}, settings)

    def _measure(self, analysis: Analysis, derivative: Tensor, spectra: Spectra) -> Tensor:
        of_derivative = analysis.spectrum(spectra.waveform, derivative)
        moment = frequency_moment(spectra.spectrum(analysis), of_derivative)
        deviation = analysis.row_deviation(moment, spectra.power(analysis))
        return mean_deviation(deviation, spectra.rows(analysis), self.floor_db)


class GroupDelay(Channel):
    """Deviation of the group delay from the frame's centre, in hops.

    Args:
        limit: Deviation of pixel 0, before the centre, in hops; pixel 128 is the centre. None: half a window.
        win_ratio: Length of the window over that of the first channel.
        win_length: Samples, instead of `win_ratio`.
        window: Any window of `scipy.signal.get_window`.
        floor_db: Pixels this far under the loudest one of the image are masked.
    """

    def __init__(
        self,
        limit: float | None = None,
        win_ratio: float = 1.0,
        win_length: int | None = None,
        window: Window = "hann",
        floor_db: float = 60.0,
    ) -> None:
        self.limit = None if limit is None else float(check_number("limit of a channel", limit, above=0))
        self.win_ratio, self.win_length, self.window = win_ratio, win_length, window
        self.floor_db = float(check_number("floor_db of a channel", floor_db, above=0))

    def on(self, grid: Grid) -> View:
        """Deviations in hops."""
        analysis = Analysis(grid, self.win_length or round(self.win_ratio * grid.win_length), self.window)
        ramp = analysis.window * analysis.position / grid.hop_length
        ends = _symmetric_ends(self.limit or analysis.window.numel() / 2 / grid.hop_length, "hops")
        settings = {**_settings(analysis, self.window), "floor_db": self.floor_db}
        return View(partial(self._measure, analysis, ramp), ends, {}, settings)

    def _measure(self, analysis: Analysis, ramp: Tensor, spectra: Spectra) -> Tensor:
        moment = delay_moment(spectra.spectrum(analysis), analysis.spectrum(spectra.waveform, ramp))
        return mean_deviation(analysis.rows(moment), spectra.rows(analysis), self.floor_db)


class Modulation(Channel):
    """Modulation spectrum: columns are modulation frequencies from `max_frequency / width` to `max_frequency`.

    A column hears what lies less than one column away, and half as much power halfway. The window is one period of
    `max_frequency` long and the hop a quarter of it. A Hann window of that length lets through half of a modulation at
    `max_frequency`, and nine tenths of one at 0.4 of it.

    Args:
        max_frequency: Of the last column, Hz.
        min_db: Depth of pixel 0; 0 dB is a modulation to silence and back.
        max_db: Depth of pixel 255.
        window: Any window of `scipy.signal.get_window`.
        floor_db: Rows whose mean is this far under the loudest one's count as not modulated.
    """

    def __init__(
        self,
        max_frequency: float = 50.0,
        min_db: float = -60.0,
        max_db: float = 0.0,
        window: Window = "hann",
        floor_db: float = 60.0,
    ) -> None:
        self.max_frequency = float(check_number("max_frequency of a channel", max_frequency, above=0))
        self.floor_db = float(check_number("floor_db of a channel", floor_db, above=0))
        self.ends, self.window = _rising_ends(min_db, max_db), window

    def on(self, grid: Grid) -> View:
        """Depths in dB."""
        win_length = round(grid.sample_rate / self.max_frequency)
        analysis = Analysis(grid, win_length, self.window, max(1, win_length // 4))
        step = self.max_frequency / grid.width
        frequency = torch.arange(1, grid.width + 1) * step
        axes = {
            "columns": "modulation frequency",
            "column_first": step,
            "column_step": step,
            "column_units": "Hz",
        }
        settings = {**_settings(analysis, self.window), "hop_length": analysis.hop_length, "floor_db": self.floor_db}
        frame_rate = grid.sample_rate / analysis.hop_length
        depth = partial(
            modulation_depth, frame_rate=frame_rate, frequency=frequency, bandwidth=step, floor_db=self.floor_db
        )
        return View(partial(self._measure, analysis, depth), self.ends, axes, settings)

    def _measure(self, analysis: Analysis, depth: Callable[[Tensor], Tensor], spectra: Spectra) -> Tensor:
        return depth(spectra.rows(analysis).clamp(min=LEAST).sqrt())  # not of 0, which has no derivative


class _OfFirst(Channel):
    """A channel that is made from the power of the first."""

    def _view(self, grid: Grid, measure: Callable[[Tensor], Tensor], ends: tuple[float, float, str]) -> View:
        analysis = Analysis(grid, grid.win_length, grid.window)
        return View(partial(_of_rows, analysis, measure), ends, {}, _settings(analysis, grid.window))


def _of_rows(analysis: Analysis, measure: Callable[[Tensor], Tensor], spectra: Spectra) -> Tensor:
    return measure(spectra.rows(analysis))


class _Envelope(_OfFirst):
    """Levels of whole columns or rows, dB full scale.

    Args:
        min_db: Level of pixel 0.
        max_db: Level of pixel 255.
    """

    level: Callable[[Tensor], Tensor]

    def __init__(self, min_db: float = -100.0, max_db: float = 0.0) -> None:
        self.ends = _rising_ends(min_db, max_db)

    def on(self, grid: Grid) -> View:
        """Levels, the same in all rows or in all columns."""
        return self._view(grid, type(self).level, self.ends)


class TemporalEnvelope(_Envelope):
    """Level of each column as a whole, the same in all rows; arguments as in `_Envelope`."""

    level = staticmethod(temporal_envelope)


class SpectralEnvelope(_Envelope):
    """Level of each row as a whole, the same in all columns; arguments as in `_Envelope`."""

    level = staticmethod(spectral_envelope)


class Normalized(_OfFirst):
    """The spectrogram over its temporal and its spectral envelope, dB.

    Args:
        limit: Level of pixel 0 is minus this, dB; pixel 128 is 0 dB.
        floor_db: Pixels this far under the loudest one of the image are masked.
    """

    def __init__(self, limit: float = 40.0, floor_db: float = 60.0) -> None:
        self.limit = float(check_number("limit of a channel", limit, above=0))
        self.floor_db = float(check_number("floor_db of a channel", floor_db, above=0))

    def on(self, grid: Grid) -> View:
        """Ratios in dB."""
        measure = partial(normalized_level, floor_db=self.floor_db)
        view = self._view(grid, measure, _symmetric_ends(self.limit, "dB"))
        return view._replace(settings={**view.settings, "floor_db": self.floor_db})


def _settings(analysis: Analysis, window: Window) -> dict[str, Any]:
    """What an STFT was made with."""
    return {"win_length": analysis.window.numel(), "n_fft": analysis.n_fft, "window": window}


def _symmetric_ends(limit: float, units: str) -> tuple[float, float, str]:
    """Ends between which no deviation is a pixel exactly."""
    return -limit, limit * (F.MAX_PIXEL - ZERO_PIXEL) / ZERO_PIXEL, units


def _rising_ends(low: float, high: float) -> tuple[float, float, str]:
    if not low < high:
        raise ConfigError(f"min_db {low} and max_db {high} of a channel: the first must be below the second.")
    return float(low), float(high), "dB"
