"""The synths of this project, as patch diagrams."""

import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from src.errors import ConfigError, check_choice
from src.synth import kernels
from src.synth.base import Limits, complete_parameters, count_samples

SAW_DEFAULTS: Mapping[str, float] = MappingProxyType(
    {"note_number": 69.0, "note_velocity": 127.0, "log10_decay_time": 0.0}
)
SAW_LIMITS: Mapping[str, Limits] = MappingProxyType(
    {"note_number": (0.0, 127.0), "note_velocity": (0.0, 127.0), "log10_decay_time": (-6.0, 6.0)}
)
MOOG_DEFAULTS: Mapping[str, float] = MappingProxyType(
    {
        **SAW_DEFAULTS,
        "filter_cutoff": 1000.0,
        "filter_resonance": 0.0,
        "filter_env_attack": 0.0,
        "filter_env_decay": 0.0,
        "filter_env_sustain": 1.0,
        "filter_env_release": 0.0,
        "filter_env_amount": 0.0,
        "filter_enabled": 1.0,
    }
)
MOOG_LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        **SAW_LIMITS,
        "filter_resonance": (0.0, 1.0),
        "filter_env_attack": (0.0, 1000.0),
        "filter_env_decay": (0.0, 1000.0),
        "filter_env_sustain": (0.0, 1.0),
        "filter_env_release": (0.0, 1000.0),
        "filter_env_amount": (-12.0, 12.0),
        "filter_enabled": (1.0, 1.0),
    }
)
OVERSAMPLING = (1, 2, 4)
MAX_VELOCITY = 127.0


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

    threads = True
    defaults: Mapping[str, float] = SAW_DEFAULTS
    limits: Mapping[str, Limits] = SAW_LIMITS

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
            saw_oscillator(f0, self.sample_rate, self.band_limited),
            (value["note_velocity"] / MAX_VELOCITY).astype(np.float32),
            decay_rate(value["log10_decay_time"], self.sample_rate),
            self.n_samples,
        )


class MoogVoice:
    """Sawtooth → velocity → Moog ladder, its cutoff swept by an ADSR → exponential decay.

    The velocity scales what goes into the ladder, so that it drives the filter and colours the sound. The ADSR is
    linear in octaves: cutoff * 2^(amount * level), kept within 10 Hz and 0.49 of the sample rate. A time of 0 lasts one
    sample.

    Parameters of a sound, with their defaults:
        note_number: MIDI note, 0 to 127, may be fractional (69: 440 Hz).
        note_velocity: MIDI velocity, 0 to 127; the amplitude before the filter is velocity / 127 (127).
        log10_decay_time: Base-10 logarithm of the amplitude's time constant in seconds, -6 to 6 (0: 1 s).
        filter_cutoff: Hz, 10 to 0.49 of the sample rate (1000).
        filter_resonance: 0 to 1, where self-oscillation would begin; the feedback is 4 * resonance (0).
        filter_env_attack: Time from level 0 to 1 in s, 0 to 1000 (0).
        filter_env_decay: Time from level 1 to the sustain level in s, 0 to 1000 (0).
        filter_env_sustain: Level, 0 to 1 (1).
        filter_env_release: Time from the level at the note's end to 0 in s, 0 to 1000 (0).
        filter_env_amount: Octaves at level 1, -12 to 12 (0).
        filter_enabled: 1, as older datasets have it; nothing else is accepted (1).

    Args:
        sample_rate: Hz.
        duration: Length of every sound, s.
        note_duration: Where release begins, s; never, if None.
        oversample: Render at 1, 2 or 4 times the sample rate and decimate. The filter between passes up to 0.4 of the
            sample rate and stops from 0.5 on; its delay is made up for.
        band_limited: Sum of all harmonics below half the rendering rate; or else the naive sawtooth with its aliases.
    """

    threads = True
    defaults: Mapping[str, float] = MOOG_DEFAULTS

    def __init__(
        self,
        sample_rate: int,
        duration: float,
        note_duration: float | None = None,
        oversample: int = 1,
        band_limited: bool = True,
    ) -> None:
        self.n_samples = count_samples(sample_rate, duration)
        if note_duration is not None:
            count_samples(sample_rate, note_duration, "note_duration", most=math.inf)
        self.sample_rate = sample_rate
        self.duration = duration
        self.note_duration = note_duration
        self.oversample = check_choice("oversample", oversample, OVERSAMPLING)
        self.band_limited = band_limited
        highest = float(kernels.HIGHEST_CUTOFF) * sample_rate
        self.limits: Mapping[str, Limits] = {**MOOG_LIMITS, "filter_cutoff": (float(kernels.LOWEST_CUTOFF), highest)}

    def render(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Render one sound per voice.

        Args:
            parameters: Name to values in natural units, `(voice,)` each.

        Returns:
            Waveforms, float32, `(voice, time)`.
        """
        value = complete_parameters(parameters, self.defaults, self.limits)
        if self.oversample == 1:
            return self._render_at(self.sample_rate, value, 0, self.n_samples)
        taps = decimation_filter(self.oversample)
        delay = taps.size // 2
        n_samples = delay + (self.n_samples - 1) * self.oversample + delay + 1
        fine = self._render_at(self.sample_rate * self.oversample, value, delay, n_samples)
        return kernels.decimate(fine, taps, self.oversample, self.n_samples)

    def _render_at(self, rate: int, value: Mapping[str, np.ndarray], lead: int, n_samples: int) -> np.ndarray:
        """Render at a rate in Hz, with `lead` zeros before the sound."""
        f0 = note_to_f0(value["note_number"], self.sample_rate)
        lowest, highest = self.limits["filter_cutoff"]
        return kernels.render_moog(
            saw_oscillator(f0, rate, self.band_limited),
            moog_parameters(value, rate),
            decay_rate(value["log10_decay_time"], rate),
            n_samples if self.note_duration is None else self.note_duration * rate,
            (lowest / rate, highest / rate),
            lead,
            n_samples,
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


def decay_rate(log10_decay_time: np.ndarray, sample_rate: int) -> np.ndarray:
    """Nepers per sample of a decay whose time constant is 10^log10_decay_time seconds."""
    return 10**-log10_decay_time / sample_rate


def moog_parameters(value: Mapping[str, np.ndarray], sample_rate: int) -> np.ndarray:
    """Input of the kernel for each voice, float32, `(row, voice)`.

    Args:
        value: Every parameter of `MoogVoice` in natural units, `(voice,)` each.
        sample_rate: At which it renders, Hz.
    """
    attack, decay, release = (
        np.maximum(value[f"filter_env_{stage}"] * sample_rate, 1) for stage in ("attack", "decay", "release")
    )
    rows = {
        kernels.AMPLITUDE: value["note_velocity"] / MAX_VELOCITY,
        kernels.FEEDBACK: 4 * value["filter_resonance"],
        kernels.CUTOFF: value["filter_cutoff"] / sample_rate,
        kernels.OCTAVES: value["filter_env_amount"],
        kernels.ATTACK_RATE: 1 / attack,
        kernels.ATTACK_END: attack,
        kernels.DECAY_RATE: (1 - value["filter_env_sustain"]) / decay,
        kernels.SUSTAIN: value["filter_env_sustain"],
        kernels.RELEASE_RATE: 1 / release,
    }
    return np.stack([rows[row] for row in range(kernels.N_VOICE_PARAMETERS)]).astype(np.float32)


def saw_oscillator(f0: np.ndarray, sample_rate: int, band_limited: bool) -> kernels.Oscillator:
    """Sawtooths of fundamental `f0` in Hz, `(voice,)`, each with all harmonics below half of `sample_rate`."""
    n_harmonics = np.ceil(0.5 * sample_rate / f0).astype(np.int64) - 1
    distinct, which = np.unique(n_harmonics, return_inverse=True)
    tables = [saw_table(int(n)) for n in distinct]
    size = np.array([table.size for table in tables], dtype=np.uint64)
    return kernels.Oscillator(
        band_limited=bool(band_limited),
        tables=np.concatenate([*tables, np.zeros(0, np.float32)]),
        start=(np.cumsum(size) - size)[which],
        shift=np.array([41 - table.size.bit_length() for table in tables], dtype=np.uint64)[which],
        increment=(f0 / sample_rate * 2.0**64).astype(np.uint64),
    )


@lru_cache(maxsize=256)
def saw_table(n_harmonics: int) -> np.ndarray:
    """One period of a rising sawtooth: sum over k of 2 / (pi k) (-1)^(k + 1) sin(2 pi k phase).

    Linear interpolation scales harmonic k by sinc^2(k / size), which is undone here. Its images together stay more than
    70 dB under the fundamental with 32 points to the shortest period; larger tables would miss the processor's cache.

    Returns:
        Table, float32, `(size + 1,)`: a power of two, and the first point again.
    """
    size = 1 << max(9, (32 * n_harmonics - 1).bit_length())
    k = np.arange(1, n_harmonics + 1)
    amplitude = 2 / (np.pi * k) * (-1.0) ** (k + 1) / np.sinc(k / size) ** 2
    spectrum = np.zeros(size // 2 + 1, dtype=np.complex128)
    spectrum[1 : n_harmonics + 1] = -0.5j * size * amplitude
    table = np.fft.irfft(spectrum, size)
    table[0] = 0.0
    closed = np.append(table, 0.0).astype(np.float32)
    closed.flags.writeable = False
    return closed


@lru_cache(maxsize=len(OVERSAMPLING))
def decimation_filter(factor: int) -> np.ndarray:
    """Linear-phase low-pass filter before taking every `factor`-th sample.

    A sinc under a Kaiser window (Kaiser, Nonrecursive digital filter design using the I0-sinh window function, ISCAS
    1974): flat within 0.001 dB up to 0.4 of the lower sample rate, at least 88 dB down from 0.5 of it on.

    Returns:
        Taps, float32, of odd number, `(tap,)`.
    """
    attenuation, transition = 90.0, 0.1 / factor  # dB; share of the higher sample rate
    half = int(np.ceil((attenuation - 7.95) / (2.285 * 2 * np.pi * transition) / 2))
    n = np.arange(-half, half + 1)
    taps = np.sinc(2 * 0.45 / factor * n) * np.kaiser(n.size, 0.1102 * (attenuation - 8.7))
    return (taps / taps.sum()).astype(np.float32)
