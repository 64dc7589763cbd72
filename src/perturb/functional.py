"""Pure, batched functions that change sounds as recording them does.

Sounds are float32, `(sound, time)`, and what differs between them is a tensor `(sound, 1)` on their device. A level of
something that is added, and a level at which something is limited, is relative to the sound: each function commutes
with a gain, and leaves silence silent.

What filters is a frequency response, complex64, `(sound, freq)`, on the bins of an FFT that is longer than the sound
and its response together. Responses multiply, so that several filters cost one FFT.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from src.perturb.draws import normal, uniform

MARGIN = 0.04  # s, that a filter's response is longer than a room's, at most
LOWEST = 20.0  # Hz; below it a tilt stays at its level there
HIGHEST_RATIO = 1e4  # of a frequency to that of a filter, beyond which the filter changes no further
PASSED = 0.9  # share of the band below half the lower rate that a resampler lets through unchanged
LEAST = 1e-30  # power that divides
# PyTorch multiplies the last complex numbers of a tensor one by one, and rounds them otherwise than those before. Of
# rows of a multiple of so many bins there are none, and no bit depends on where in a batch a sound is.
LANES = 16


class Bins(NamedTuple):
    """The frequencies at which filters are computed, and some more at the end that mean nothing: see `LANES`.

    Attributes:
        n_samples: Length of the sounds.
        sample_rate: Hz.
        n_fft: FFT length, at least twice `n_samples`.
        frequency: Hz, `(freq,)`, on the device of the sounds.
    """

    n_samples: int
    sample_rate: int
    n_fft: int
    frequency: Tensor

    @classmethod
    def of(cls, waveform: Tensor, sample_rate: int, shift: float = 0.0) -> "Bins":
        """Those of sounds, `(sound, time)`, that are shifted by so many s at most beyond `MARGIN`."""
        n_samples = waveform.shape[1]
        n_fft = fft_length(2 * n_samples + round((MARGIN + shift) * sample_rate))
        number = torch.arange(n_fft // 2 + LANES, device=waveform.device).clamp(max=n_fft // 2)
        return cls(n_samples, sample_rate, n_fft, number * (sample_rate / n_fft))

    def padded(self, spectrum: Tensor) -> Tensor:
        """The bins of an FFT, `(..., n_fft // 2 + 1)`, and zeros for those that mean nothing, `(..., freq)`."""
        return torch.nn.functional.pad(spectrum, (0, LANES - 1))


def gain(waveform: Tensor, level: Tensor) -> Tensor:
    """Sounds, louder by `level` dB, `(sound, 1)`."""
    return waveform * amplitude(level)


def offset(waveform: Tensor, share: Tensor) -> Tensor:
    """Sounds with a direct current of `share` of their peak added, `(sound, 1)`."""
    return waveform + share * peak(waveform)


def soft_clip(waveform: Tensor, headroom: Tensor) -> Tensor:
    """Sounds through a limiter y = c tanh(x / c), which is transparent where they are soft and never reaches c.

    Args:
        waveform: `(sound, time)`.
        headroom: dB of c over the sound's peak, `(sound, 1)`; below 0 it distorts, far above 0 nothing changes.
    """
    limit = peak(waveform) * amplitude(headroom)
    return torch.where(limit > 0, limit * torch.tanh(waveform / limit.clamp(min=LEAST)), waveform)


def quantize(waveform: Tensor, bits: Tensor, headroom: Tensor, dither: Tensor | None = None) -> Tensor:
    """Sounds as whole multiples of a step, 2^(1 - bits) of full scale.

    Args:
        waveform: `(sound, time)`.
        bits: Of a sample, `(sound, 1)`.
        headroom: dB of full scale over the sound's peak, 0 or more, `(sound, 1)`.
        dither: Keys of triangular noise of two steps that is added before, int32, `(sound, 2)`; it makes the error's
            mean and power independent of the sound (Lipshitz, Wannamaker and Vanderkooy, JAES 40, 1992).
    """
    step = peak(waveform) * amplitude(headroom) * torch.exp2(1 - bits)
    number = waveform / step.clamp(min=LEAST)
    if dither is not None:
        n_samples = waveform.shape[1]
        share = uniform(dither, 2 * n_samples)
        number = number + (share[:, :n_samples] - share[:, n_samples:])
    return torch.where(step > 0, number.round() * step, waveform)


def add_noise(waveform: Tensor, noise: Tensor, ratio: Tensor) -> Tensor:
    """Sounds with noise whose power is `ratio` dB below theirs, over their whole length; silence stays silent.

    Args:
        waveform: `(sound, time)`.
        noise: Of any level, `(sound, time)`.
        ratio: Signal-to-noise ratio, dB, `(sound, 1)`.
    """
    scale = (power(waveform) / power(noise).clamp(min=LEAST)).sqrt() * amplitude(-ratio)
    return waveform + scale * noise


def white_noise(key: Tensor, n_samples: int) -> Tensor:
    """Normal noise of a flat spectrum, `(sound, time)`, of keys `(sound, 2)`."""
    return normal(key, n_samples)


def pink_noise(key: Tensor, n_samples: int) -> Tensor:
    """Normal noise whose power density falls as 1/f, 10 dB a decade, without direct current, `(sound, time)`."""
    n_bins = n_samples // 2 + 1
    parts = normal(key, 2 * n_bins)
    fall = torch.arange(n_bins, device=key.device).clamp(min=1).rsqrt()
    fall[0] = 0
    return _irfft(torch.complex(parts[:, :n_bins] * fall, parts[:, n_bins:] * fall), n_samples)


def hum(key: Tensor, n_samples: int, sample_rate: int, frequency: Tensor, n_harmonics: int) -> Tensor:
    """Mains hum: harmonics of random phase, the amplitude of number k random up to 1 / k, `(sound, time)`.

    Args:
        key: int32, `(sound, 2)`.
        n_samples: Length.
        sample_rate: Hz.
        frequency: Of the mains, Hz, `(sound, 1)`.
        n_harmonics: How many; those from half the sample rate on are left out.
    """
    share = uniform(key, 2 * n_harmonics)
    time = torch.arange(n_samples, device=key.device) / sample_rate
    waveform = torch.zeros(len(key), n_samples, device=key.device)
    for k in range(1, n_harmonics + 1):
        amplitude = share[:, k - 1, None] / k * (k * frequency < sample_rate / 2)
        turns = share[:, n_harmonics + k - 1, None] + k * frequency * time
        waveform += amplitude * torch.sin(2 * math.pi * turns)
    return waveform


def filtered(waveform: Tensor, response: Tensor, bins: Bins) -> Tensor:
    """Sounds through filters: a linear convolution, of which what comes after the sounds' end is cut off.

    Args:
        waveform: `(sound, time)`.
        response: complex64, `(sound, freq)`.
        bins: Of the sounds.
    """
    spectrum = bins.padded(_rfft(waveform, bins.n_fft)) * response
    return _irfft(spectrum, bins.n_fft)[:, : bins.n_samples].contiguous()


def fft_length(least: int) -> int:
    """The shortest of 2^k, 3 2^k and 5 2^k, which FFTs are fastest at, that is as long, and a multiple of 32."""
    powers = (2**k for k in range(5, 64))
    return min(length for power in powers for length in (power, 3 * power, 5 * power) if length >= least)


def _rfft(waveform: Tensor, n_fft: int) -> Tensor:
    """The FFT of each row; one alone is transformed twice, since the library has another algorithm for one."""
    return torch.fft.rfft(waveform.expand(max(2, len(waveform)), -1).contiguous(), n_fft)[: len(waveform)]


def _irfft(spectrum: Tensor, n_fft: int) -> Tensor:
    """The inverse, likewise."""
    return torch.fft.irfft(spectrum.expand(max(2, len(spectrum)), -1).contiguous(), n_fft)[: len(spectrum)]


def tilt(bins: Bins, slope: Tensor, pivot: float) -> Tensor:
    """A response that rises by `slope` dB an octave, of minimum phase; 1 at the pivot, flat below 20 Hz.

    The logarithm of a response of minimum phase has its phase as the Hilbert transform of its magnitude, and both are
    proportional to the slope (Oppenheim and Schafer, Discrete-Time Signal Processing, chapter 13).

    Args:
        bins: Of the sounds.
        slope: dB an octave, `(sound, 1)`.
        pivot: Hz.
    """
    level, phase = (
        part.to(bins.frequency.device) for part in _log_of_tilt(bins.n_fft, bins.sample_rate, max(pivot, LOWEST))
    )
    size, angle = torch.exp(slope * level), slope * phase
    return torch.complex(size * angle.cos(), size * angle.sin())


@lru_cache(maxsize=8)
def _log_of_tilt(n_fft: int, sample_rate: int, pivot: float) -> tuple[Tensor, Tensor]:
    """Logarithm of the magnitude, and phase, of a tilt of 1 dB an octave, float32, `(freq,)` each."""
    frequency = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    level = torch.log2(frequency.clamp(min=LOWEST) / pivot) * (math.log(10) / 20)
    cepstrum = torch.fft.irfft(level, n_fft)
    half = n_fft // 2
    folded = torch.cat([cepstrum[:1], 2 * cepstrum[1:half], cepstrum[half : half + 1]])
    pair = level, torch.fft.rfft(folded, n_fft).imag
    level, phase = (torch.cat([part, part[-1:].expand(LANES - 1)]).float() for part in pair)
    return level, phase


def peak_filter(bins: Bins, frequency: Tensor, level: Tensor, q: Tensor) -> Tensor:
    """A bell of a parametric equalizer: `level` dB at its centre, nothing far from it.

    The digital filter of Bristow-Johnson's cookbook, by the bilinear transform with its centre kept.

    Args:
        bins: Of the sounds.
        frequency: Centre, Hz, below half the sample rate, `(sound, 1)`.
        level: dB, `(sound, 1)`.
        q: Centre over the distance of the points at half the level in dB, `(sound, 1)`.
    """
    ratio, boost = _warped(bins, frequency), amplitude(level / 2)
    real, above, below = 1 - ratio.square(), ratio * boost / q, ratio / (boost * q)
    size = real.square() + below.square()
    return torch.complex((real.square() + above * below) / size, real * (above - below) / size)


def low_pass(bins: Bins, cutoff: Tensor, order: int) -> Tensor:
    """A Butterworth filter: -3 dB at the cutoff, 6 dB an octave and order above it, by the bilinear transform.

    Args:
        bins: Of the sounds.
        cutoff: Hz, below half the sample rate, `(sound, 1)`.
        order: An even number.
    """
    return _butterworth(_warped(bins, cutoff), order)


def high_pass(bins: Bins, cutoff: Tensor, order: int) -> Tensor:
    """The same below the cutoff; direct current does not pass.

    Args:
        bins: Of the sounds.
        cutoff: Hz, below half the sample rate, `(sound, 1)`.
        order: An even number.
    """
    ratio = _warped(bins, cutoff)
    response = _butterworth(1 / ratio.clamp(min=1 / HIGHEST_RATIO), order).conj()
    return torch.where(ratio > 0, response, 0)


def _butterworth(ratio: Tensor, order: int) -> Tensor:
    """The analog low-pass of even order at frequencies over its cutoff, complex64."""
    response = torch.ones_like(ratio, dtype=torch.complex64)
    for k in range(order // 2):
        damping = 2 * math.sin((2 * k + 1) * math.pi / (2 * order))
        real, imaginary = 1 - ratio.square(), damping * ratio
        size = real.square() + imaginary.square()
        response = response * torch.complex(real / size, -imaginary / size)
    return response


def _warped(bins: Bins, frequency: Tensor) -> Tensor:
    """Analog frequency over that of `frequency`, as the bilinear transform has them, `(sound, freq)`."""
    turn = math.pi / bins.sample_rate
    return (torch.tan(bins.frequency * turn).abs() / torch.tan(frequency * turn)).clamp(max=HIGHEST_RATIO)


def resampled(bins: Bins, sample_rate: Tensor) -> Tensor:
    """The response of a converter to a lower rate and back, without delay.

    Nothing changes up to 0.9 of half the lower rate, and nothing is left from half of it on; between them it falls
    as the square of a cosine.

    Args:
        bins: Of the sounds.
        sample_rate: The lower rate, Hz, `(sound, 1)`.
    """
    way = ((bins.frequency * 2 / sample_rate - PASSED) / (1 - PASSED)).clamp(0, 1)
    return torch.cos(way * (math.pi / 2)).square().to(torch.complex64)


def delay(bins: Bins, n_samples: Tensor) -> Tensor:
    """A shift to later by a number of samples, whole or not; a negative one is to earlier.

    Silence comes in, and what falls off either end is lost. Parts of a sample are interpolated by a sinc.

    Args:
        bins: Of the sounds.
        n_samples: Whose absolute value is at most `MARGIN`, or what the bins are for, `(sound, 1)`.
    """
    whole = n_samples.floor()
    number = torch.arange(len(bins.frequency), device=n_samples.device)
    turns = (number * whole.long() % bins.n_fft + number * (n_samples - whole)) / bins.n_fft  # whole turns taken out
    angle = turns * (-2 * math.pi)
    return torch.complex(angle.cos(), angle.sin())


def impulse_response(key: Tensor, bins: Bins, rt60: Tensor, direct_ratio: Tensor, pre_delay: Tensor) -> Tensor:
    """A synthetic room: the direct sound, 1 at sample 0, and noise that decays exponentially, `(sound, time)`.

    Statistical room acoustics: past the first reflections, an impulse response is normal noise whose power falls by
    60 dB in the reverberation time (Schroeder 1962; Moorer, "About this reverberation business", CMJ 3, 1979).

    Args:
        key: int32, `(sound, 2)`.
        bins: Of the sounds.
        rt60: Reverberation time, s, > 0, `(sound, 1)`.
        direct_ratio: Energy of the direct sound over that of the rest within the sound's length, dB, `(sound, 1)`.
        pre_delay: When the reverberation begins, s, shorter than the sound, `(sound, 1)`.
    """
    time = torch.arange(bins.n_samples, device=key.device) / bins.sample_rate
    begins = pre_delay.clamp(min=1 / bins.sample_rate)
    decay = torch.exp((time - begins).clamp(min=0) * (-3 * math.log(10) / rt60))
    tail = normal(key, bins.n_samples) * decay * (time >= begins)
    energy = tail.square().sum(dim=1, keepdim=True)
    response = tail * (amplitude(-direct_ratio) / energy.clamp(min=LEAST).sqrt())
    response[:, 0] = 1
    return response


def response_of(impulse_response: Tensor, bins: Bins) -> Tensor:
    """The frequency response of impulse responses, `(sound, time)`, no longer than the sounds."""
    return bins.padded(_rfft(impulse_response, bins.n_fft))


def amplitude(level: Tensor) -> Tensor:
    """What a level in dB multiplies by. An exponential, since a power of a number rounds by its place in a tensor."""
    return torch.exp(level * (math.log(10) / 20))


def peak(waveform: Tensor) -> Tensor:
    """Greatest absolute value of each sound, `(sound, 1)`."""
    return waveform.abs().amax(dim=1, keepdim=True)


def power(waveform: Tensor) -> Tensor:
    """Mean square of each sound, `(sound, 1)`."""
    return waveform.square().mean(dim=1, keepdim=True)
