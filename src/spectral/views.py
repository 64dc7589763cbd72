"""The mathematics of channels: pure functions from spectra to levels, deviations and depths.

Everything is batched, differentiable and runs on the device of its input; only the STFT is complex. X_h is the STFT
with the window h, X_dh that with the window's derivative, X_th that with the window times its time from the frame's
centre.
"""

import math

import torch
from torch import Tensor

from src.errors import ConfigError
from src.spectral import functional as F

SILENCE = 10 ** (F.DB_FLOOR / 10)  # power
LEAST = 1e-20  # power whose square root is still different from 0
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
