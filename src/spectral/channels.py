"""Channels of an image beside the spectrogram: other views of the same sound on the same rows and columns.

A channel holds settings; placed on a grid it gives one view or several, each a function of the STFTs that all channels
share. The mathematics is in `views.py`. Column t of every view is at the same time, the centre of window t of the
spectrogram; row r at the same frequency.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from pydantic import model_validator
from torch import Tensor

from src.sections import PositiveFloat, PositiveInt, Ratios, Settings, Window
from src.spectral import functional as F
from src.spectral.analysis import Analysis, Grid, Spectra
from src.spectral.views import (
    LEAST,
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

Ends = tuple[float, float, str]  # levels of the pixels 0 and 255, and their units


class View(NamedTuple):
    """One more channel of an image.

    Attributes:
        measure: Levels before they are rounded and limited, `(..., height, width)`.
        ends: Levels of the pixels 0 and 255, and their units.
        axes: What rows and columns are, as in the JSON; empty for frequency and time.
        settings: As they act, for the JSON.
    """

    measure: Callable[[Spectra], Tensor]
    ends: Ends
    axes: Mapping[str, Any]
    settings: Mapping[str, Any]


class Channel(Settings, ABC):
    """Settings of a channel that can be placed on any grid."""

    @abstractmethod
    def views(self, name: str, grid: Grid) -> dict[str, View]:
        """What this channel adds to an image.

        Args:
            name: Of the channel, which a single view is called by.
            grid: Rows and columns.

        Returns:
            Label to view, in their order in the image.

        Raises:
            ConfigError: If the channel does not suit the grid.
        """


class _Levels(Channel):
    """A channel that holds levels in dB.

    Attributes:
        min_db: Level of pixel 0.
        max_db: Level of pixel 255.
    """

    min_db: float = -100.0
    max_db: float = 0.0

    @model_validator(mode="after")
    def _check_ends(self) -> "_Levels":
        if not self.min_db < self.max_db:
            raise ValueError(f"min_db is {self.min_db} and max_db {self.max_db}; the first must be below the second.")
        return self

    @property
    def ends(self) -> Ends:
        """Levels of the pixels 0 and 255, and their units."""
        return self.min_db, self.max_db, "dB"


class LogPower(_Levels):
    """Level in dB full scale with windows of other lengths: other resolutions in time and frequency.

    10 log10 |X_h|^2. No window resolves both better (Gabor, "Theory of communication", J. IEE 93, 1946): several show
    what each hides. Ratio 4 gives the view `window_4`, and so on.

    Attributes:
        ratios: Lengths of the windows over that of the spectrogram.
        window: Any window of `scipy.signal.get_window`.
    """

    ratios: Ratios = (0.25, 4.0)
    window: Window = "hann"

    @model_validator(mode="after")
    def _check_ratios(self) -> "LogPower":
        if len({self._label(ratio) for ratio in self.ratios}) < len(self.ratios):
            raise ValueError(f"ratios are {', '.join(map(str, self.ratios))}; name each once.")
        return self

    def views(self, name: str, grid: Grid) -> dict[str, View]:
        """Levels of the rows, a view for each ratio."""
        return {self._label(ratio): self._view(grid, round(ratio * grid.win_length)) for ratio in self.ratios}

    def _view(self, grid: Grid, win_length: int) -> View:
        analysis = Analysis(grid, win_length, self.window)
        return View(lambda spectra: decibels(spectra.rows(analysis)), self.ends, {}, analysis.settings)

    @staticmethod
    def _label(ratio: float) -> str:
        return f"window_{ratio:g}"


class _Phase(Channel):
    """A channel that holds deviations of phase's derivatives to both sides of pixel 128.

    Attributes:
        win_ratio: Length of the window over that of the spectrogram.
        win_length: Samples, instead of `win_ratio`.
        window: Any window of `scipy.signal.get_window`.
        floor_db: Pixels this far under the loudest one of the image are masked.
    """

    win_ratio: PositiveFloat = 1.0
    win_length: PositiveInt | None = None
    window: Window = "hann"
    floor_db: PositiveFloat = 60.0

    def analysis(self, grid: Grid) -> Analysis:
        """The STFT with this channel's window."""
        return Analysis(grid, self.win_length or round(self.win_ratio * grid.win_length), self.window)


class InstantaneousFrequency(_Phase):
    """Deviation of the instantaneous frequency from the row's centre, in rows: bins, or mel bands.

    The window must fall to 0 at its ends.

    Attributes:
        limit: Deviation of pixel 0, below the centre, in rows; pixel 128 is the centre.
    """

    limit: PositiveFloat = 2.0

    def views(self, name: str, grid: Grid) -> dict[str, View]:
        """Deviations in rows."""
        analysis = self.analysis(grid)
        in_bins = analysis.n_fft / (2 * math.pi)
        derivative = analysis.scaled(window_derivative(analysis.window) * in_bins)

        def measure(spectra: Spectra) -> Tensor:
            of_derivative = analysis.spectrum(spectra.waveform, derivative)
            moment = frequency_moment(spectra.spectrum(analysis), of_derivative)
            deviation = analysis.row_deviation(moment, spectra.power(analysis))
            return mean_deviation(deviation, spectra.rows(analysis), self.floor_db)

        ends = _symmetric_ends(self.limit, "bins" if grid.filters is None else "bands")
        return {name: View(measure, ends, {}, analysis.settings | {"floor_db": self.floor_db})}


class GroupDelay(_Phase):
    """Deviation of the group delay from the frame's centre, in hops.

    Attributes:
        limit: Deviation of pixel 0, before the centre, in hops; pixel 128 is the centre. None: half a window.
    """

    limit: PositiveFloat | None = None

    def views(self, name: str, grid: Grid) -> dict[str, View]:
        """Deviations in hops."""
        analysis = self.analysis(grid)
        ramp = analysis.scaled(analysis.window * analysis.position / grid.hop_length)

        def measure(spectra: Spectra) -> Tensor:
            moment = delay_moment(spectra.spectrum(analysis), analysis.spectrum(spectra.waveform, ramp))
            return mean_deviation(analysis.rows(moment), spectra.rows(analysis), self.floor_db)

        ends = _symmetric_ends(self.limit or analysis.window.numel() / 2 / grid.hop_length, "hops")
        return {name: View(measure, ends, {}, analysis.settings | {"floor_db": self.floor_db})}


class Modulation(_Levels):
    """Modulation spectrum: columns are modulation frequencies from `max_frequency / width` to `max_frequency`.

    A column holds what lies less than one column away, with half the power halfway. The window is one period of
    `max_frequency` long and the hop a quarter of it. A Hann window of that length lets through half of a modulation at
    `max_frequency`, and nine tenths of one at 0.4 of it. A depth of 0 dB is a modulation to silence and back.

    Attributes:
        max_frequency: Of the last column, Hz.
        window: Any window of `scipy.signal.get_window`.
        floor_db: Rows whose mean is this far under the loudest one's count as not modulated.
    """

    max_frequency: PositiveFloat = 50.0
    min_db: float = -60.0
    window: Window = "hann"
    floor_db: PositiveFloat = 60.0

    def views(self, name: str, grid: Grid) -> dict[str, View]:
        """Depths in dB."""
        win_length = round(grid.sample_rate / self.max_frequency)
        analysis = Analysis(grid, win_length, self.window, max(1, win_length // 4))
        step = self.max_frequency / grid.width
        frequency = torch.arange(1, grid.width + 1) * step
        frame_rate = grid.sample_rate / analysis.hop_length

        def measure(spectra: Spectra) -> Tensor:
            envelope = spectra.rows(analysis).clamp(min=LEAST).sqrt()  # not of 0, which has no derivative
            return modulation_depth(envelope, frame_rate, frequency, step, self.floor_db)

        axes = {
            "columns": "modulation frequency",
            "column_first": step,
            "column_step": step,
            "column_units": "Hz",
        }
        settings = analysis.settings | {"hop_length": analysis.hop_length, "floor_db": self.floor_db}
        return {name: View(measure, self.ends, axes, settings)}


class TemporalEnvelope(_Levels):
    """Level of each column as a whole, dB full scale, the same in all rows."""

    def views(self, name: str, grid: Grid) -> dict[str, View]:
        """Levels of the columns."""
        return {name: _of_spectrogram(grid, temporal_envelope, self.ends)}


class SpectralEnvelope(_Levels):
    """Level of each row as a whole, dB full scale, the same in all columns."""

    def views(self, name: str, grid: Grid) -> dict[str, View]:
        """Levels of the rows."""
        return {name: _of_spectrogram(grid, spectral_envelope, self.ends)}


class Normalized(Channel):
    """The spectrogram over its temporal and its spectral envelope, dB.

    Attributes:
        limit: Level of pixel 0 is minus this, dB; pixel 128 is 0 dB.
        floor_db: Pixels this far under the loudest one of the image are masked.
    """

    limit: PositiveFloat = 40.0
    floor_db: PositiveFloat = 60.0

    def views(self, name: str, grid: Grid) -> dict[str, View]:
        """Ratios in dB."""

        def measure(power: Tensor) -> Tensor:
            return normalized_level(power, self.floor_db)

        view = _of_spectrogram(grid, measure, _symmetric_ends(self.limit, "dB"))
        return {name: view._replace(settings={**view.settings, "floor_db": self.floor_db})}


def _of_spectrogram(grid: Grid, measure: Callable[[Tensor], Tensor], ends: Ends) -> View:
    """A view that is made from the power of the spectrogram itself, `(..., height, width)`."""
    analysis = Analysis(grid, grid.win_length, grid.window)
    return View(lambda spectra: measure(spectra.rows(analysis)), ends, {}, analysis.settings)


def _symmetric_ends(limit: float, units: str) -> Ends:
    """Ends between which no deviation is a pixel exactly."""
    return -limit, limit * (F.MAX_PIXEL - ZERO_PIXEL) / ZERO_PIXEL, units
