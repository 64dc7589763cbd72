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
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.errors import ConfigError
from src.spectral import functional as F

Window = str | float | list | tuple
SILENCE = 10 ** (F.DB_FLOOR / 10)  # power
LEAST = 1e-20  # power whose square root can still be told from 0
ZERO_PIXEL = 128  # of no deviation, where there is one to both sides
MAX_END = 1e-3  # of its maximum; a window that ends higher has a jump or a corner there, and no smooth derivative


def decibels(power: Tensor) -> Tensor:
    """10 log10 of power, not below the floor of -120 dB."""
    return 10 * torch.log10(power.clamp(min=SILENCE))


def frequency_moment(spectrum: Tensor, of_derivative: Tensor) -> Tensor:
    """Power times deviation of the instantaneous frequency from the bin's centre.

    The time derivative of the STFT's phase is omega - Im(X_dh / X_h): Auger and Flandrin, "Improving the readability of
    time-frequency and time-scale representations by the reassignment method", IEEE Trans. Signal Processing 43, 1995,
    after Kodera, Gendrin and de Villedary 1978. Times |X_h|^2 it needs no division: -Im(X_dh conj X_h).

    Args:
        spectrum: X_h, `(..., freq, time)`.
        of_derivative: X_dh, where dh is the derivative of h by samples, `(..., freq, time)`.

    Returns:
        |X_h|^2 times radians per sample, `(..., freq, time)`.
    """
    return spectrum.imag * of_derivative.real - spectrum.real * of_derivative.imag


def delay_moment(spectrum: Tensor, of_ramp: Tensor) -> Tensor:
    """Power times deviation of the group delay from the frame's centre.

    Minus the frequency derivative of the STFT's phase is t + Re(X_th / X_h) (Auger and Flandrin 1995, as above); times
    |X_h|^2: Re(X_th conj X_h).

    Args:
        spectrum: X_h, `(..., freq, time)`.
        of_ramp: X_th, where th is h times samples from the centre, `(..., freq, time)`.

    Returns:
        |X_h|^2 times samples, `(..., freq, time)`.
    """
    return torch.addcmul(spectrum.real * of_ramp.real, spectrum.imag, of_ramp.imag)


def mean_deviation(moment: Tensor, power: Tensor, floor_db: float) -> Tensor:
    """Deviation of each pixel, sum of power times deviation over sum of power; 0 where there is next to nothing.

    Args:
        moment: Power times deviation, `(..., freq, time)`.
        power: `(..., freq, time)`.
        floor_db: Pixels this far under the loudest one of the image are masked.

    Returns:
        Deviation, 0 where masked, `(..., freq, time)`.
    """
    floor = _floor(power, floor_db)
    return torch.where(power >= floor, moment / power.maximum(floor), 0.0)


def modulation_depth(
    envelope: Tensor, frame_rate: float, frequency: Tensor, bandwidth: float, floor_db: float
) -> Tensor:
    """Modulation spectrum: how deep each band's envelope is modulated around each frequency, in dB.

    The spectrum of a spectrogram's magnitudes over time (Houtgast and Steeneken 1973; as a picture of acoustic over
    modulation frequency: Atlas and Shamma, "Joint acoustic and modulation frequency", EURASIP J. Applied Signal
    Processing 2003). With m = sum of w(t) e(t) and X(f) = sum of w(t) (e(t) - m) exp(-2 pi i f t), the squared depth is
    4 |X|^2 / m^2, averaged with a triangle that falls to 0 at `bandwidth` to both sides: frequencies that lie a
    bandwidth apart then miss nothing between them, however long the sound is. The average is taken as a product in the
    lags of the autocorrelation (Blackman and Tukey 1958; the triangle's transform is sinc squared), and divided by that
    of |W|^2, so that the envelope 1 + d cos(2 pi f t) has the depth d at f, whatever its gain.

    The weights w are the falling half of a Hann window, of sum 1: a note begins with its onset, and is often cut before
    its end.

    Args:
        envelope: Magnitudes of the bands, `(..., freq, frame)`.
        frame_rate: Hz.
        frequency: Modulation frequencies, Hz, `(modulation,)`.
        bandwidth: Hz from the middle of the triangle to its ends.
        floor_db: Bands whose mean is this far under the loudest one's count as not modulated.

    Returns:
        20 log10 of the depth, at least -120, `(..., freq, modulation)`.
    """
    n_frames = envelope.shape[-1]
    weights = F.analysis_window("hann", 2 * n_frames)[n_frames:].double()
    weights = weights / weights.sum()
    lag = torch.arange(n_frames).double() / frame_rate  # s
    lag_window = torch.sinc(bandwidth * lag).square() * torch.where(lag > 0, 2.0, 1.0)  # of both signs
    scale = 4 / (_autocorrelation(weights) @ lag_window)
    waves = torch.cos(2 * math.pi * torch.outer(lag, frequency.double())) * (scale * lag_window)[:, None]
    weights, waves = (table.float().to(envelope.device) for table in (weights, waves))
    mean = (envelope * weights).sum(dim=-1, keepdim=True)
    power = _each(_autocorrelation((envelope - mean) * weights), waves)  # (..., freq, modulation)
    floor = _floor(mean.square(), floor_db)
    return decibels(torch.where(mean.square() >= floor, power / mean.square().maximum(floor), 0.0))


def temporal_envelope(power: Tensor) -> Tensor:
    """Mean power of each column over its rows, in dB: how the sound as a whole rises and falls.

    10 log10 of the sum of P(f, t) over f, by the number of rows: the RMS envelope of the frames.

    Args:
        power: `(..., freq, time)`.

    Returns:
        dB, the same in all rows, `(..., freq, time)`.
    """
    return decibels(power.mean(dim=-2, keepdim=True)).expand_as(power)


def spectral_envelope(power: Tensor) -> Tensor:
    """Mean power of each row over its columns, in dB: the long-term average spectrum.

    10 log10 of the sum of P(f, t) over t, by the number of columns: Welch's estimate (IEEE Trans. Audio and
    Electroacoustics 15, 1967) on the rows of the grid.

    Args:
        power: `(..., freq, time)`.

    Returns:
        dB, the same in all columns, `(..., freq, time)`.
    """
    return decibels(power.mean(dim=-1, keepdim=True)).expand_as(power)


def normalized_level(power: Tensor, floor_db: float) -> Tensor:
    """The spectrogram over the product of its two envelopes, in dB: 0 everywhere if all rows decay alike.

    10 log10 of P(f, t) M / (S(f) T(t)), with S the mean over time, T that over frequency, M that over both: the
    pointwise ratio of a table to the product of its margins (Benzécri's correspondence analysis 1973 takes the same).

    Args:
        power: `(..., freq, time)`.
        floor_db: Pixels this far under the loudest one are masked.

    Returns:
        dB, 0 where masked, `(..., freq, time)`.
    """
    column, row, whole = (power.mean(dim=dims, keepdim=True) for dims in ((-2,), (-1,), (-2, -1)))
    ratio = decibels(power) - decibels(column) - decibels(row) + decibels(whole)
    return torch.where(power >= _floor(power, floor_db), ratio, 0.0)


def window_derivative(window: Tensor) -> Tensor:
    """Derivative of a periodic window by samples, from its Fourier series: exact for sums of cosines such as Hann's.

    Args:
        window: `(win_length,)`.

    Returns:
        Per sample, float32, `(win_length,)`.

    Raises:
        ConfigError: If the window does not fall to about 0 at its ends, so that it jumps there.
    """
    n = window.numel()
    if window[0] > MAX_END * window.max():
        raise ConfigError(
            f"The instantaneous frequency needs a window that falls to 0 at its ends, but this one begins at "
            f"{window[0] / window.max():.2g} of its maximum. Take window=hann or blackmanharris."
        )
    series = torch.fft.rfft(window.double())
    series[-1] *= n % 2  # the highest of an even number of samples has no sine
    return torch.fft.irfft(series * (2j * math.pi / n * torch.arange(series.numel())), n).float()


def _floor(power: Tensor, floor_db: float) -> Tensor:
    """Power under which a pixel is masked, `(..., 1, 1)`."""
    return (power.amax(dim=(-2, -1), keepdim=True) * 10 ** (-floor_db / 10)).clamp(min=SILENCE)


def _autocorrelation(signal: Tensor) -> Tensor:
    """Sum over t of x(t) x(t + lag), for the lags 0 to the length less 1, `(..., lag)`."""
    n = signal.shape[-1]
    n_fft = 2 ** math.ceil(math.log2(2 * n))  # long enough that nothing wraps around
    return torch.fft.irfft(F.power_of(torch.fft.rfft(signal, n_fft)), n_fft)[..., :n]


def _each(matrices: Tensor, weights: Tensor) -> Tensor:
    """Product of every matrix with the same weights, one by one, so that none depends on how many there are."""
    flat = matrices.reshape(-1, *matrices.shape[-2:])
    return torch.bmm(flat, weights.expand(len(flat), -1, -1)).reshape(*matrices.shape[:-1], -1)


@dataclass(frozen=True)
class Grid:
    """Rows and columns that all channels of an image share, as the first channel has them.

    Attributes:
        sample_rate: Hz.
        n_samples: Length of the sounds, samples.
        height: Rows.
        width: Columns.
        win_length: Window of the first channel, samples.
        n_fft: FFT length of the first channel, samples.
        window: Name of that window.
        hop_length: Samples from column to column.
        mel_filters: Filters for an FFT length, `(height, n_fft // 2 + 1)`; None: row r is bin r + 1 of `n_fft`.
    """

    sample_rate: int
    n_samples: int
    height: int
    width: int
    win_length: int
    n_fft: int
    window: Window
    hop_length: int
    mel_filters: Callable[[int], Tensor] | None


class Analysis:
    """An STFT with one window, on the rows and columns of a grid, or with columns of its own.

    A sinusoid in the middle of a row has the same level whatever the window. Where the FFT is longer than the grid's, a
    row is the power of all bins within half a row to both sides.

    Args:
        grid: Rows and columns.
        win_length: Samples.
        window: Any window of `scipy.signal.get_window`.
        hop_length: Samples; None: the grid's, with windows centred where the grid's are.
    """

    def __init__(self, grid: Grid, win_length: int, window: Window, hop_length: int | None = None) -> None:
        if not 1 <= win_length <= grid.n_samples:
            raise ConfigError(
                f"win_length {win_length} of a channel: 1 to the sound's {grid.n_samples} samples are possible."
            )
        self.window = F.analysis_window(window, win_length)
        self.n_fft = math.ceil(win_length / grid.n_fft) * grid.n_fft
        self.hop_length = hop_length or grid.hop_length
        self.first = 0 if hop_length else (grid.win_length - win_length) // 2
        self.n_frames = (grid.n_samples - win_length) // hop_length + 1 if hop_length else grid.width
        self.key = (win_length, str(window), hop_length)
        self.height = grid.height
        self.weights = self._weights(grid)
        # Position of each sample of the window from the centre of the grid's windows.
        self.position = torch.arange(win_length) + (self.first - grid.win_length / 2)

    def spectrum(self, waveform: Tensor, window: Tensor) -> Tensor:
        """STFT with a window made from this one, scaled as this one, `(..., n_fft // 2 + 1, n_frames)`."""
        weights = window * (2 / self.window.sum().item())
        return F.stft(waveform, weights, self.n_fft, self.hop_length, self.n_frames, self.first)

    def rows(self, power: Tensor) -> Tensor:
        """Power of bins, `(..., n_fft // 2 + 1, n_frames)`, to that of rows, `(..., height, n_frames)`."""
        if self.weights is None:
            return power[..., 1 : self.height + 1, :]
        return self.weights.to(power.device) @ power

    def row_deviation(self, moment: Tensor, power: Tensor) -> Tensor:
        """Power times deviation from the bins' centres, in bins, to that from the rows' centres, in rows.

        Args:
            moment: `(..., n_fft // 2 + 1, n_frames)`.
            power: `(..., n_fft // 2 + 1, n_frames)`.

        Returns:
            `(..., height, n_frames)`.
        """
        if self.weights is None:
            return self.rows(moment)
        bins = torch.arange(self.weights.shape[1], dtype=self.weights.dtype)
        centre = (self.weights @ bins) / self.weights.sum(dim=1)
        spacing = torch.gradient(centre)[0] if self.height > 1 else torch.ones(1)
        per_row = self.weights / spacing[:, None]
        offset = per_row * (bins - centre[:, None])
        return per_row.to(power.device) @ moment + offset.to(power.device) @ power

    def _weights(self, grid: Grid) -> Tensor | None:
        """Bins to rows, `(height, n_fft // 2 + 1)`; None where a row is a bin."""
        if grid.mel_filters is not None:
            base = F.analysis_window(grid.window, grid.win_length)
            return grid.mel_filters(self.n_fft) * (_spread(base, grid.n_fft) / _spread(self.window, self.n_fft))
        n_bins = self.n_fft // grid.n_fft
        if n_bins == 1:
            return None
        row = torch.arange(1, grid.height + 1)[:, None] * n_bins
        distance = (torch.arange(self.n_fft // 2 + 1) - row).abs()
        weights = ((n_bins + 1) / 2 - distance).clamp(0, 1)  # how much of a bin lies within half a row
        return weights / (weights[0] @ self._lobe(n_bins))

    def _lobe(self, centre: int) -> Tensor:
        """Power of a sinusoid of amplitude 1 and of the frequency of a bin, over all bins."""
        lobe = torch.fft.rfft(self.window.double(), self.n_fft).abs().square() / self.window.double().sum().square()
        return lobe[(torch.arange(self.n_fft // 2 + 1) - centre).abs()].float()


def _spread(window: Tensor, n_fft: int) -> float:
    """Power of a sinusoid of amplitude 1, summed over all bins."""
    return (n_fft * window.double().square().sum() / window.double().sum().square()).item()


class Spectra:
    """STFTs of one batch, each computed once, whichever channels want it.

    Args:
        waveform: `(..., time)`.
    """

    def __init__(self, waveform: Tensor) -> None:
        self.waveform = waveform
        self._known: dict[tuple, Tensor] = {}

    def spectrum(self, analysis: Analysis) -> Tensor:
        """STFT, `(..., n_fft // 2 + 1, n_frames)`."""
        return self._once("spectrum", analysis, lambda: analysis.spectrum(self.waveform, analysis.window))

    def power(self, analysis: Analysis) -> Tensor:
        """Power of the bins, `(..., n_fft // 2 + 1, n_frames)`."""
        return self._once("power", analysis, lambda: F.power_of(self.spectrum(analysis)))

    def rows(self, analysis: Analysis) -> Tensor:
        """Power of the rows, `(..., height, n_frames)`."""
        return self._once("rows", analysis, lambda: analysis.rows(self.power(analysis)))

    def _once(self, what: str, analysis: Analysis, compute: Callable[[], Tensor]) -> Tensor:
        key = (what, *analysis.key)
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


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
        self.limit, self.floor_db = _positive("limit", limit), _positive("floor_db", floor_db)
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
        self.limit = None if limit is None else _positive("limit", limit)
        self.win_ratio, self.win_length, self.window = win_ratio, win_length, window
        self.floor_db = _positive("floor_db", floor_db)

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
        self.max_frequency, self.floor_db = _positive("max_frequency", max_frequency), _positive("floor_db", floor_db)
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
        self.limit, self.floor_db = _positive("limit", limit), _positive("floor_db", floor_db)

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


def _positive(name: str, number: float) -> float:
    if not number > 0:
        raise ConfigError(f"{name} of a channel is {number}; it must be above 0.")
    return float(number)
