"""The synths of this project, as patch diagrams."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from src.errors import ConfigError
from src.synth import kernels
from src.synth.base import Limits, complete_parameters, count_samples

COMMON_LIMITS: Mapping[str, Limits] = MappingProxyType(
    {"note_number": (0.0, 127.0), "note_velocity": (0.0, 127.0), "log10_decay_time": (-6.0, 6.0)}
)


class SawVoice:
    """Sawtooth → velocity → exponential decay.

    Parameters of a sound, with their defaults:
        note_number: MIDI note, 0 to 127, may be fractional (69: 440 Hz).
        note_velocity: MIDI velocity, 0 to 127; the amplitude is velocity / 127 (127).
        log10_decay_time: Base-10 logarithm of the time constant in seconds, -6 to 6 (0: 1 s).

    Args:
        sample_rate: Hz.
        duration: Length of every sound, s.
        band_limited: Sum of all harmonics below half the sample rate; or else the naive sawtooth with its aliases.
    """

    defaults: Mapping[str, float] = MappingProxyType(
        {"note_number": 69.0, "note_velocity": 127.0, "log10_decay_time": 0.0}
    )
    limits: Mapping[str, Limits] = COMMON_LIMITS

    def __init__(self, sample_rate: int, duration: float, band_limited: bool = True) -> None:
        self.n_samples = count_samples(sample_rate, duration)
        self.sample_rate = sample_rate
        self.duration = duration
        self.band_limited = band_limited

    def render(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Render one sound per voice.

        Args:
            parameters: Name to values in natural units, `(voice,)` each.

        Returns:
            Waveforms, float32, `(voice, time)`.
        """
        value = complete_parameters(parameters, self.defaults, self.limits)
        f0 = note_to_f0(value["note_number"], self.sample_rate)
        return kernels.render_saw(
            self.band_limited,
            *saw_tables(f0, self.sample_rate),
            phase_increment(f0, self.sample_rate),
            (value["note_velocity"] / 127).astype(np.float32),
            10 ** -value["log10_decay_time"] / self.sample_rate,
            self.n_samples,
        )


def note_to_f0(note_number: np.ndarray, sample_rate: int) -> np.ndarray:
    """Fundamental frequency in Hz of MIDI notes, refused unless below half of `sample_rate`."""
    f0 = 440.0 * 2.0 ** ((note_number - 69.0) / 12.0)
    if np.any(f0 >= sample_rate / 2):
        highest = int(np.argmax(f0))
        raise ConfigError(
            f"note_number {note_number[highest]:g} has f0 {f0[highest]:.1f} Hz, which is not below half the sample "
            f"rate {sample_rate} Hz; take a lower note or a higher sample rate."
        )
    return f0


def phase_increment(f0: np.ndarray, sample_rate: int) -> np.ndarray:
    """Phase step per sample, 2^64 to the cycle, uint64."""
    return (f0 / sample_rate * 2.0**64).astype(np.uint64)


def saw_tables(f0: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavetables for sawtooths of fundamental `f0`, each with all harmonics below half of `sample_rate`.

    Returns:
        The tables one after the other, `(point,)`; start and log2 of the size of each voice's table, `(voice,)` each.
    """
    n_harmonics = np.ceil(0.5 * sample_rate / f0).astype(np.int64) - 1
    distinct, which = np.unique(n_harmonics, return_inverse=True)
    tables = [saw_table(int(n)) for n in distinct]
    size = np.array([table.size for table in tables], dtype=np.int64)
    log2_size = np.array([(table.size - 1).bit_length() - 1 for table in tables], dtype=np.int64)
    return np.concatenate([*tables, np.zeros(0, np.float32)]), (np.cumsum(size) - size)[which], log2_size[which]


@lru_cache(maxsize=256)
def saw_table(n_harmonics: int) -> np.ndarray:
    """One period of a rising sawtooth: sum over k of 2 / (pi k) (-1)^(k + 1) sin(2 pi k phase).

    Linear interpolation scales harmonic k by sinc^2(k / size), which is undone here. Sixteen points to the shortest
    period keep its images more than 80 dB under the fundamental.

    Returns:
        Table, float32, `(size + 1,)`: a power of two, and the first point again.
    """
    size = 1 << max(11, (16 * n_harmonics - 1).bit_length())
    k = np.arange(1, n_harmonics + 1)
    amplitude = 2 / (np.pi * k) * (-1.0) ** (k + 1) / np.sinc(k / size) ** 2
    spectrum = np.zeros(size // 2 + 1, dtype=np.complex128)
    spectrum[1 : n_harmonics + 1] = -0.5j * size * amplitude
    table = np.fft.irfft(spectrum, size)
    table[0] = 0.0
    closed = np.append(table, 0.0).astype(np.float32)
    closed.flags.writeable = False
    return closed
