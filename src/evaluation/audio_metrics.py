"""How alike two sounds are: metrics between true and resynthesized waveforms.

x is the true waveform, y the resynthesized one. Everything is computed in float64 for many sounds at once, `(sound,
time)`. Frames are centred on multiples of the hop and the sounds stand between zeros, as librosa has it.

A sound that stays below -120 dB full scale is silent: all its samples count as zero. Of two silent sounds every
distance is 0 and every similarity 1; of one, the distance is that to silence. No metric is ever NaN or infinite: ratios
in dB are capped at 100 dB either way, and spectral convergence, which is such a ratio, at 10^5.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numba
import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor

from src.errors import ConfigError
from src.evaluation.dtw import warped_distance
from src.spectral.functional import mel_filterbank

SILENT = 1e-6  # peak below which a sound is silent, -120 dB full scale
SHORTEST = 0.1  # s
LOWEST_RATE = 1000  # Hz
RANGE = 1e-8  # 80 dB under a maximum
CAP = 100.0  # dB
TINY = 1e-300
BLOCK = 1 << 17  # samples at a time

MSS_SCALES = ((0.010, 0.005, 32), (0.025, 0.010, 64), (0.100, 0.050, 128))  # window and hop in s, bands
MFCC_SCALE = (0.050, 0.010, 128)
N_MFCC = 20
SOT_FRAME = (0.050, 0.020)  # window and hop, s
RMS_FRAME = (0.050, 0.025)
STFT_FRAME = (1024, 256, 44100)  # window and hop in samples, at this rate
MR_RATE = 24000  # Hz
MR_FRAMES = ((1024, 600, 120), (2048, 1200, 240), (512, 240, 50))  # FFT, window and hop in samples at MR_RATE
MR_FLOOR = 1e-8  # of power

Compute = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Metric:
    """A metric between the true sound x and the resynthesized sound y.

    Attributes:
        name: Key in tables and files.
        definition: One line for readers.
        better: `low`, `high`, or `0` where it has a sign and the best is in between.
        symmetric: Whether it stays the same when x and y change places.
        units: Name of the unit, or empty.
        best: Value of identical sounds.
        sees_phase: Compares sample by sample: sounds that differ only in phase may score badly.
        compute: From x and y, `(sound, time)` each, and the sample rate in Hz to values, `(sound,)`.
    """

    name: str
    definition: str
    better: Literal["low", "high", "0"]
    symmetric: bool
    units: str
    best: float
    sees_phase: bool
    compute: Compute


METRICS: list[Metric] = []  # in the order of the functions below


def metric(
    definition: str,
    better: Literal["low", "high", "0"] = "low",
    symmetric: bool = True,
    units: str = "",
    best: float = 0.0,
    sees_phase: bool = False,
) -> Callable[[Compute], Compute]:
    """Makes a function one of `METRICS`, under its own name; arguments as the attributes of `Metric`."""

    def register(compute: Compute) -> Compute:
        METRICS.append(Metric(compute.__name__, definition, better, symmetric, units, best, sees_phase, compute))
        return compute

    return register


def audio_metrics(x: np.ndarray, y: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """All metrics of `METRICS` between pairs of sounds.

    Args:
        x: True waveforms, `(sound, time)`.
        y: Resynthesized ones, of the same shape.
        sample_rate: Hz.

    Returns:
        Name to values, float64, `(sound,)`.

    Raises:
        ConfigError: If shapes differ, samples are not finite, the sounds are shorter than 0.1 s or under 1 kHz.
    """
    _check(x, y, sample_rate)

    def compute(x_block: np.ndarray, y_block: np.ndarray) -> list[Tensor]:
        x_one, y_one = _silenced(x_block), _silenced(y_block)
        return [metric.compute(x_one, y_one, sample_rate) for metric in METRICS]

    n_blocks = -(-x.size // BLOCK)
    with ThreadPoolExecutor(numba.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        # PyTorch's own threads wait by spinning, which on a busy machine costs more than they gain.
        blocks = (np.array_split(waveform, min(n_blocks, len(x))) for waveform in (x, y))
        parts = list(pool.map(compute, *blocks))
    values = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return dict(zip((metric.name for metric in METRICS), values, strict=True))


def bootstrap_interval(values: np.ndarray, seed: int, n_resamples: int = 1000) -> tuple[float, float]:
    """95 % interval of the mean, by the percentiles of resampled means (Efron and Tibshirani 1993).

    Args:
        values: `(sound,)`.
        seed: Not negative.
        n_resamples: How often as many sounds are drawn again, with replacement.

    Returns:
        Lower and upper end.
    """
    if not len(values):
        raise ConfigError("A bootstrap interval needs one value or more, but there is none.")
    rng = np.random.default_rng(seed)
    at_once = max(1, BLOCK // len(values))
    means = [
        values[rng.integers(len(values), size=(min(at_once, n_resamples - first), len(values)))].mean(axis=1)
        for first in range(0, n_resamples, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


@metric(
    "Mean over three log-mel spectrograms (windows of 10, 25, 100 ms; 32, 64, 128 bands) of the mean absolute "
    "difference, each relative to its own maximum, 80 dB deep",
    units="dB",
)
def mss(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Multi-scale spectral distance, `(sound,)`: mean absolute difference of log-mel spectrograms of three scales."""
    distances = []
    for scale in MSS_SCALES:
        x_db, y_db = (_relative_db(mel_power(waveform, sample_rate, *scale)) for waveform in (x, y))
        distances.append((x_db - y_db).abs().mean(dim=(1, 2)))
    return torch.stack(distances).mean(dim=0)


@metric(
    "20 MFCCs (50 ms windows, 10 ms hop, 128 bands, level included), dynamic time warping, mean absolute "
    "difference along the path over the sum of the lengths"
)
def wmfcc(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Distance of MFCCs after dynamic time warping, `(sound,)`."""
    frames = (np.ascontiguousarray(mfcc(waveform, sample_rate).mT.numpy()) for waveform in (x, y))
    return torch.from_numpy(warped_distance(*frames))


@metric(
    "Spectral optimal transport: Wasserstein-1 distance between spectra of sum 1 (50 ms windows, 20 ms hop), "
    "the frequency axis scaled to 0 … 1, mean over frames"
)
def sot(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Spectral optimal transport, `(sound,)`: mean over frames of the Wasserstein-1 distance of the spectra."""
    x_cdf, y_cdf = (_spectral_cdf(waveform, sample_rate) for waveform in (x, y))  # (sound, freq, frame)
    return (x_cdf - y_cdf).abs().sum(dim=1).mean(dim=1) / (x_cdf.shape[1] - 1)


@metric("Cosine of the RMS envelopes (50 ms windows, 25 ms hop)", better="high", best=1.0)
def rms_cosine(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Cosine of the RMS envelopes, `(sound,)`."""
    return cosine(rms_envelope(x, sample_rate), rms_envelope(y, sample_rate))


@metric(
    "Log-spectral distance: root mean square over bins of the difference in dB (23 ms windows, 6 ms hop, 80 dB "
    "deep), mean over frames",
    units="dB",
)
def lsd(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Log-spectral distance, dB, `(sound,)`."""
    x_power, y_power = (_stft(waveform, sample_rate).square() for waveform in (x, y))
    floor = RANGE * torch.maximum(x_power, y_power).amax(dim=(1, 2), keepdim=True).clamp(min=TINY)
    difference = 10 * torch.log10(x_power.maximum(floor) / y_power.maximum(floor))
    return difference.square().mean(dim=1).sqrt().mean(dim=1)


@metric(
    "Multi-resolution STFT: spectral convergence plus mean absolute difference of the log magnitudes, mean over "
    "windows of 10, 25 and 50 ms",
    symmetric=False,
)
def mr_stft(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Multi-resolution STFT loss (Yamamoto et al. 2020, Parallel WaveGAN), `(sound,)`."""
    losses = []
    for n_fft, win_length, hop_length in MR_FRAMES:
        scaled_fft, win, hop = (round(length * sample_rate / MR_RATE) for length in (n_fft, win_length, hop_length))
        frame = next_power_of_two(scaled_fft), win, max(1, hop)
        x_mag, y_mag = (magnitude(w, *frame, "reflect").clamp(min=MR_FLOOR**0.5) for w in (x, y))
        losses.append(_convergence(x_mag, y_mag) + (x_mag.log() - y_mag.log()).abs().mean(dim=(1, 2)))
    return torch.stack(losses).mean(dim=0)


@metric(
    "Norm of the difference of the magnitude spectrograms (23 ms windows) over that of the true one",
    symmetric=False,
)
def spectral_convergence(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Norm of the difference of the magnitude spectrograms over that of x, `(sound,)`."""
    return _convergence(_stft(x, sample_rate), _stft(y, sample_rate))


@metric("Pearson correlation of the magnitude spectrograms (23 ms windows)", better="high", best=1.0)
def stft_pcc(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Pearson correlation of the magnitude spectrograms (Barkan et al. 2019, InverSynth), `(sound,)`."""
    return correlation(_stft(x, sample_rate).flatten(1), _stft(y, sample_rate).flatten(1))


@metric(
    "RMS level less that of the true sound; mss, sot and rms_cosine do not see it",
    better="0",
    symmetric=False,
    units="dB",
)
def level_db(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """RMS level of y minus that of x, dB, `(sound,)`; silence has -120 dB."""
    x_rms, y_rms = (waveform.square().mean(dim=1).sqrt().clamp(min=SILENT) for waveform in (x, y))
    return 20 * torch.log10(y_rms / x_rms)


@metric("Scale-invariant signal-to-distortion ratio", better="high", units="dB", best=CAP, sees_phase=True)
def si_sdr(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019), dB, `(sound,)`; silence holds nothing of x."""
    energy = x.square().sum(dim=1, keepdim=True)
    target = (x * y).sum(dim=1, keepdim=True) / energy.clamp(min=TINY) * x
    ratio = _ratio_db(target.square().sum(dim=1), (y - target).square().sum(dim=1))
    return torch.where((energy[:, 0] > 0) & (y == 0).all(dim=1), -CAP, ratio)


@metric(
    "Signal-to-noise ratio; the noise is the difference",
    better="high",
    symmetric=False,
    units="dB",
    best=CAP,
    sees_phase=True,
)
def snr(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Signal-to-noise ratio, the noise being y - x, dB, `(sound,)`."""
    return _ratio_db(x.square().sum(dim=1), (y - x).square().sum(dim=1))


@metric("Root mean square of the difference of the samples", sees_phase=True)
def rmse(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Root mean square of y - x, `(sound,)`."""
    return (y - x).square().mean(dim=1).sqrt()


@metric("Pearson correlation of the samples", better="high", best=1.0, sees_phase=True)
def pearson(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Pearson correlation of the samples, `(sound,)`."""
    return correlation(x, y)


@metric("Highest cosine of the two sounds at any lag", better="high", best=1.0, sees_phase=True)
def max_xcorr(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Highest cosine of x and y at any lag, `(sound,)`."""
    n_fft = next_power_of_two(2 * x.shape[1])
    products = torch.fft.irfft(torch.fft.rfft(x, n_fft).conj() * torch.fft.rfft(y, n_fft), n_fft)
    return _over_norms(products.amax(dim=1), x, y)


def magnitude(waveform: Tensor, n_fft: int, win_length: int, hop_length: int, pad_mode: str = "constant") -> Tensor:
    """Magnitudes of the STFT with a Hann window, frames centred, `(sound, freq, frame)`."""
    window = torch.hann_window(win_length, dtype=waveform.dtype)
    return torch.stft(
        waveform, n_fft, hop_length, win_length, window, center=True, pad_mode=pad_mode, return_complex=True
    ).abs()


def mel_power(waveform: Tensor, sample_rate: int, window: float, hop: float, n_mels: int) -> Tensor:
    """Mel power spectrogram, Slaney's scale and norm, `(sound, band, frame)`.

    Args:
        waveform: `(sound, time)`.
        sample_rate: Hz.
        window: Length, s.
        hop: s.
        n_mels: Bands.
    """
    win_length = round(window * sample_rate)
    filters = mel_filters(sample_rate, win_length, n_mels)
    n_fft = 2 * (filters.shape[1] - 1)
    return filters @ magnitude(waveform, n_fft, win_length, round(hop * sample_rate)).square()


@lru_cache(maxsize=32)
def mel_filters(sample_rate: int, win_length: int, n_mels: int) -> Tensor:
    """Mel filters for the shortest FFT that leaves none empty: the window, made even, or a doubling of it.

    Returns:
        Weights, float64, `(band, freq)`.
    """
    n_freq = (win_length + 1) // 2 + 1
    while True:
        try:
            return mel_filterbank(n_freq, n_mels, 0.0, sample_rate / 2, sample_rate, "slaney", "slaney").double()
        except ConfigError:  # too coarse
            n_freq = 2 * n_freq - 1


def mfcc(waveform: Tensor, sample_rate: int) -> Tensor:
    """Mel-frequency cepstral coefficients, of power in dB relative to 1, 80 dB deep, `(sound, coefficient, frame)`."""
    db = 10 * torch.log10(mel_power(waveform, sample_rate, *MFCC_SCALE).clamp(min=1e-10))
    db = db.maximum(db.amax(dim=(1, 2), keepdim=True) - 80)
    return torch.from_numpy(dct(db.numpy(), axis=1, norm="ortho")[:, :N_MFCC])


def rms_envelope(waveform: Tensor, sample_rate: int) -> Tensor:
    """RMS of frames of 50 ms each 25 ms, `(sound, frame)`."""
    win_length, hop_length = (round(seconds * sample_rate) for seconds in RMS_FRAME)
    padded = torch.nn.functional.pad(waveform, (win_length // 2, win_length // 2))
    return padded.unfold(1, win_length, hop_length).square().mean(dim=2).sqrt()


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation along the second axis, `(sound,)`."""
    return cosine(a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine along the second axis, `(sound,)`: 1 where both are zero, 0 where one is."""
    return _over_norms((a * b).sum(dim=1), a, b)


def next_power_of_two(number: int) -> int:
    """The smallest power of two that is not less than `number`."""
    return 1 << max(0, number - 1).bit_length()


def _check(x: np.ndarray, y: np.ndarray, sample_rate: int) -> None:
    """Refuse what is no pair of sounds."""
    if x.shape != y.shape or x.ndim != 2 or not len(x):
        raise ConfigError(f"x of shape {x.shape} and y of {y.shape} must have one shape, (sound, time).")
    if sample_rate < LOWEST_RATE:
        raise ConfigError(f"sample_rate is {sample_rate} Hz; metrics need {LOWEST_RATE} Hz or more.")
    if x.shape[1] < SHORTEST * sample_rate:
        raise ConfigError(
            f"Sounds of {x.shape[1]} samples at {sample_rate} Hz are too short to compare; {SHORTEST} s is the least."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ConfigError("x and y must be finite; at least one sample is NaN or infinite.")


def _silenced(waveform: np.ndarray) -> Tensor:
    """The sounds in float64, silent ones made zeros."""
    sounds = torch.from_numpy(waveform.astype(np.float64))
    return torch.where(sounds.abs().amax(dim=1, keepdim=True) < SILENT, 0.0, sounds)


def _stft(waveform: Tensor, sample_rate: int) -> Tensor:
    """Magnitudes for windows of 1024 samples, hop 256, at 44.1 kHz, or as long elsewhere, `(sound, freq, frame)`."""
    win_length, hop_length, rate = STFT_FRAME
    win_length, hop_length = round(win_length * sample_rate / rate), max(1, round(hop_length * sample_rate / rate))
    return magnitude(waveform, next_power_of_two(win_length), win_length, hop_length)


def _relative_db(power: Tensor) -> Tensor:
    """Decibels under the maximum of each sound, down to -80; silence lies there."""
    return 10 * torch.log10((power / power.amax(dim=(1, 2), keepdim=True).clamp(min=TINY)).clamp(min=RANGE))


def _spectral_cdf(waveform: Tensor, sample_rate: int) -> Tensor:
    """Cumulative sums of spectra of sum 1, `(sound, freq, frame)`; a silent frame has all of it at 0 Hz."""
    win_length, hop_length = (round(seconds * sample_rate) for seconds in SOT_FRAME)
    cumulative = magnitude(waveform, win_length, win_length, hop_length).cumsum(dim=1)
    total = cumulative[:, -1:]
    return torch.where(total > 0, cumulative / total.clamp(min=TINY), 1.0)


def _convergence(x_mag: Tensor, y_mag: Tensor) -> Tensor:
    """Norm of the difference over that of the first, `(sound,)`, at most 10^5."""
    difference, norm = ((m.square().sum(dim=(1, 2))).sqrt() for m in (x_mag - y_mag, x_mag))
    return torch.where(difference > 0, difference / norm.clamp(min=TINY), 0.0).clamp(max=10 ** (CAP / 20))


def _ratio_db(signal: Tensor, noise: Tensor) -> Tensor:
    """Ratio of energies in dB, within 100 dB either way; no noise is the best there is."""
    ratio = 10 * (signal.clamp(min=TINY).log10() - noise.clamp(min=TINY).log10())
    return torch.where(noise > 0, ratio, CAP).clamp(-CAP, CAP)


def _over_norms(product: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A product of a and b over their norms: 1 where both are zero, 0 where one is."""
    a_norm, b_norm = (vector.square().sum(dim=1).sqrt() for vector in (a, b))
    similarity = (product / (a_norm * b_norm).clamp(min=TINY)).clamp(-1, 1)
    return torch.where((a_norm == 0) & (b_norm == 0), 1.0, similarity)
