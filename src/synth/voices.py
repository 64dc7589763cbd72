"""The synths of this project, as patch diagrams."""

import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from src.errors import ConfigError, check_choice
from src.synth import kernels
from src.synth.base import Limits, complete_parameters, count_samples, cuda_voices

SAW_DEFAULTS: Mapping[str, float] = MappingProxyType(
    {"note_number": 69.0, "note_velocity": 127.0, "log10_decay_time": 0.0, "phase": 0.0}
)
SAW_LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        "note_number": (0.0, 127.0),
        "note_velocity": (0.0, 127.0),
        "log10_decay_time": (-6.0, 6.0),
        "phase": (0.0, 1.0),
    }
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


class Voice:
    """What the voices share: how their parameters are checked, and that one patch serves the CPU and CUDA.

    A patch is written once, for modules of kernels with the same functions: `kernels` for NumPy's arrays, `cuda` for
    PyTorch's tensors. The arithmetic on parameters is that which both libraries have in common.
    """

    threads = True
    defaults: Mapping[str, float]
    limits: Mapping[str, Limits]
    sample_rate: int

    def render(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Render one sound per voice.

        Args:
            parameters: Name to values in natural units, `(voice,)` each.

        Returns:
            Waveforms, float32, `(voice, time)`.
        """
        waveform: np.ndarray = self._patch(kernels, self._complete(parameters))
        return waveform

    def render_cuda(self, parameters: Mapping[str, Any]) -> Any:
        """Render one sound per voice on a CUDA device, to within float32 rounding the sounds of `render`.

        Args:
            parameters: Name to values in natural units, float64 tensors, `(voice,)` each, on one CUDA device; in
                numba's CUDA simulator on the CPU.

        Returns:
            Waveforms on that device, a float32 tensor, `(voice, time)`: the transposed view of a time-major one.
        """
        cuda = cuda_voices()
        highest = 69 + 12 * math.log2(self.sample_rate / 2 / 440)
        surely = {**self.limits, "note_number": (0.0, min(highest - 1e-9, self.limits["note_number"][1]))}
        return self._patch(cuda, cuda.complete_parameters(parameters, self.defaults, surely, self._complete))

    def _complete(self, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every parameter, float64, `(voice,)` each, checked."""
        value = complete_parameters(parameters, self.defaults, self.limits)
        f0 = note_to_f0(value["note_number"])
        if np.any(f0 >= self.sample_rate / 2):
            highest = int(np.argmax(f0))
            raise ConfigError(
                f"note_number {value['note_number'][highest]:g} has f0 {f0[highest]:.1f} Hz, which is not below half "
                f"the sample rate {self.sample_rate} Hz; take a lower note or a higher sample rate."
            )
        return value

    def _patch(self, on: ModuleType, value: Mapping[str, Any]) -> Any:
        """The sounds of checked parameters, `(voice, time)`, by the kernels of a module."""
        raise NotImplementedError


class SawVoice(Voice):
    """Sawtooth → velocity → exponential decay.

    Parameters of a sound, with their defaults:
        note_number: MIDI note, 0 to 127, may be fractional (69: 440 Hz).
        note_velocity: MIDI velocity, 0 to 127; the amplitude is velocity / 127 (127).
        log10_decay_time: Base-10 logarithm of the time constant in seconds, -6 to 6 (0: 1 s).
        phase: Where in its cycle the sawtooth begins, 0 to 1, which is 0 again (0: at 0, rising).

    Args:
        sample_rate: Hz.
        duration: Length of every sound, s.
        band_limited: Sum of all harmonics below half the sample rate; or else the naive sawtooth with its aliases.
    """

    defaults = SAW_DEFAULTS
    limits = SAW_LIMITS

    def __init__(self, sample_rate: int, duration: float, band_limited: bool = True) -> None:
        self.n_samples = count_samples(sample_rate, duration)
        self.sample_rate = sample_rate
        self.duration = duration
        self.band_limited = band_limited

    def _patch(self, on: ModuleType, value: Mapping[str, Any]) -> Any:
        return on.render_saw(
            saw_oscillator(on, value, self.sample_rate, self.band_limited),
            on.arrays.asarray(value["note_velocity"] / MAX_VELOCITY, dtype=on.arrays.float32),
            decay_rate(value["log10_decay_time"], self.sample_rate),
            self.n_samples,
        )


class MoogVoice(Voice):
    """Sawtooth → velocity → Moog ladder, its cutoff swept by an ADSR → exponential decay.

    The velocity scales what goes into the ladder, so that it drives the filter and colours the sound. The ADSR is
    linear in octaves: cutoff * 2^(amount * level), kept within 10 Hz and 0.49 of the sample rate. A time of 0 lasts one
    sample.

    Parameters of a sound, with their defaults:
        note_number: MIDI note, 0 to 127, may be fractional (69: 440 Hz).
        note_velocity: MIDI velocity, 0 to 127; the amplitude before the filter is velocity / 127 (127).
        log10_decay_time: Base-10 logarithm of the amplitude's time constant in seconds, -6 to 6 (0: 1 s).
        phase: Where in its cycle the sawtooth begins, 0 to 1, which is 0 again (0: at 0, rising).
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

    defaults = MOOG_DEFAULTS

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

    def _patch(self, on: ModuleType, value: Mapping[str, Any]) -> Any:
        if self.oversample == 1:
            return self._render_at(on, self.sample_rate, value, 0, self.n_samples)
        taps = decimation_filter(self.oversample)
        delay = taps.size // 2
        n_samples = delay + (self.n_samples - 1) * self.oversample + delay + 1
        fine = self._render_at(on, self.sample_rate * self.oversample, value, delay, n_samples)
        return on.decimate(fine, taps, self.oversample, self.n_samples)

    def _render_at(self, on: ModuleType, rate: int, value: Mapping[str, Any], lead: int, n_samples: int) -> Any:
        """Render at a rate in Hz, with `lead` zeros before the sound."""
        lowest, highest = self.limits["filter_cutoff"]
        return on.render_moog(
            saw_oscillator(on, value, rate, self.band_limited),
            moog_parameters(on, value, rate),
            decay_rate(value["log10_decay_time"], rate),
            n_samples if self.note_duration is None else self.note_duration * rate,
            (lowest / rate, highest / rate),
            lead,
            n_samples,
        )


def note_to_f0(note_number: Any) -> Any:
    """Fundamental frequency in Hz of MIDI notes."""
    return 440.0 * 2.0 ** ((note_number - 69.0) / 12.0)


def decay_rate(log10_decay_time: Any, sample_rate: int) -> Any:
    """Nepers per sample of a decay whose time constant is 10^log10_decay_time seconds."""
    return 10**-log10_decay_time / sample_rate


def moog_parameters(on: ModuleType, value: Mapping[str, Any], sample_rate: int) -> Any:
    """Input of the kernel for each voice, float32, `(row, voice)`.

    Args:
        on: Module of the kernels.
        value: Every parameter of `MoogVoice` in natural units, `(voice,)` each.
        sample_rate: At which it renders, Hz.
    """
    attack, decay, release = (
        (value[f"filter_env_{stage}"] * sample_rate).clip(min=1) for stage in ("attack", "decay", "release")
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
    stacked = on.arrays.stack([rows[row] for row in range(kernels.N_VOICE_PARAMETERS)])
    return on.arrays.asarray(stacked, dtype=on.arrays.float32)


def saw_oscillator(
    on: ModuleType, value: Mapping[str, Any], sample_rate: int, band_limited: bool
) -> kernels.Oscillator:
    """Sawtooths of the notes and phases of `value`, with all harmonics below half of `sample_rate`, or naive ones."""
    arrays, phase = on.arrays, value["phase"]
    f0 = note_to_f0(value["note_number"])
    n_harmonics = arrays.asarray(arrays.ceil(0.5 * sample_rate / f0), dtype=arrays.int64) - 1
    tables, start, shift = on.place_tables(saw_table, n_harmonics if band_limited else 0 * n_harmonics + 1)
    turns = phase - arrays.floor(phase + 0.5)  # within half a cycle, so that it is a signed fraction of one
    return kernels.Oscillator(
        bool(band_limited),
        tables,
        start,
        shift,
        increment=_to_integer(arrays, f0 / sample_rate),
        phase=_to_integer(arrays, turns),
    )


def _to_integer(arrays: ModuleType, cycles: Any) -> Any:
    """A fraction of a cycle, -1/2 to below 1/2, as an unsigned integer, 2^64 to the cycle."""
    return arrays.asarray(cycles * 2.0**64, dtype=arrays.int64).view(arrays.uint64)


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
