"""The protocol of synths, and the checks of their arguments."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from src.errors import ConfigError, check_number
from src.sections import MAX_SAMPLE_RATE, MAX_SAMPLES

Limits = tuple[float, float]


class Synth(Protocol):
    """Anything that turns parameters into sounds.

    A configuration names the class by `_target_`; there is nothing to register and nothing to inherit from.

    `render` is called from several threads at once, on one object, unless `threads` is false: it must not keep anything
    of a sound in the object. It runs fast there if it releases the interpreter's lock, as NumPy and numba do.

    A synth may have a second method, `render_cuda`, which renders the same sounds on the device that trains:

        def render_cuda(self, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor

    It takes float64 tensors, `(voice,)` each, on one CUDA device and returns waveforms on that device, float32,
    `(voice, time)`, which may be the transposed view of a time-major tensor. Its work goes to PyTorch's current stream.
    A synth without it is rendered on the CPU, and its sounds travel. `why_no_cuda_voice` says which way it is.

    A synth that is silent for some values of its parameters, as instruments are outside of their compass, may have

        def has_sound(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray

    which says for every voice whether it sounds, `(voice,)`. Samples of a dataset that do not are drawn again.

    Attributes:
        sample_rate: Samples per second, Hz.
        duration: Length of every sound, s.
        defaults: Every parameter of the synth, with its value where none is given.
        threads: Whether `render` may be called from any thread, and from several at once. With false, for an engine
            that must stay on the thread that made it, a dataset is rendered on that thread, one batch after the other,
            and no fresh sounds are rendered beside a training. A synth that does not say is taken for one that may.
    """

    sample_rate: int
    duration: float
    defaults: Mapping[str, float]
    threads: bool = True

    def render(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Render one sound per voice. The bits of a sound never depend on the sounds around it.

        Args:
            parameters: Name to values in natural units, `(voice,)` each.

        Returns:
            Waveforms, float32, `(voice, time)`.
        """
        ...


def cuda_voices() -> ModuleType:
    """`src.synth.cuda`, imported where it is used: it needs PyTorch, and numba-cuda or numba's simulator."""
    return importlib.import_module("src.synth.cuda")


def why_no_cuda_voice(synth: Synth) -> str:
    """Why `synth.render_cuda` cannot be called here, as a sentence without its full stop; empty if it can be."""
    if not callable(getattr(synth, "render_cuda", None)):
        return f"{type(synth).__name__} has no method render_cuda"
    reason: str = cuda_voices().why_unusable()
    return reason


def has_cuda_voice(synth: Synth) -> bool:
    """Whether `synth.render_cuda` can be called here: the synth has it, and the device and the package are there."""
    return not why_no_cuda_voice(synth)


def count_samples(sample_rate: int, duration: float, name: str = "duration", most: float = MAX_SAMPLES) -> int:
    """Length of a sound in samples: `duration` times `sample_rate`, rounded.

    Args:
        sample_rate: Hz, a whole number > 0.
        duration: s, > 0.
        name: What an error message calls the duration.
        most: Samples that it may have.
    """
    check_number("sample_rate", sample_rate, whole=True, above=0, hint=" Hz")
    check_number("sample_rate", sample_rate, most=MAX_SAMPLE_RATE, hint=" Hz")
    check_number(name, duration, above=0, hint=" seconds")
    if duration * sample_rate > most:
        raise ConfigError(f"{name} {duration} s at {sample_rate} Hz is more than {most:,} samples; make it shorter.")
    n_samples = round(duration * sample_rate)
    if n_samples == 0:
        raise ConfigError(f"{name} {duration} s is less than half a sample at {sample_rate} Hz; make it longer.")
    return n_samples


def complete_parameters(
    parameters: Mapping[str, np.ndarray], defaults: Mapping[str, float], limits: Mapping[str, Limits]
) -> dict[str, np.ndarray]:
    """Check parameters and fill in the defaults of those that are not named.

    Args:
        parameters: Name to values in natural units, `(voice,)` each, all of one length.
        defaults: The known names and their values.
        limits: Lowest and highest value of each known name.

    Returns:
        Every known name to float64 values, `(voice,)`; one voice if `parameters` is empty.
    """
    check_names(parameters, defaults)
    values = {name: np.asarray(parameters[name], dtype=np.float64) for name in parameters}
    n_voices = count_voices(values)
    for name, value in values.items():
        _check_limits(name, value, *limits[name])
    return {name: values.get(name, np.full(n_voices, default)) for name, default in defaults.items()}


def check_names(parameters: Mapping[str, Any], defaults: Mapping[str, float]) -> None:
    """Refuse names that `defaults` does not have."""
    unknown = sorted(set(parameters) - set(defaults))
    if unknown:
        raise ConfigError(f"Unknown synth parameter {', '.join(unknown)}; this synth knows {', '.join(defaults)}.")


def count_voices(values: Mapping[str, Any]) -> int:
    """The length that all arrays or tensors share; 1 if there are none."""
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        raise ConfigError(
            f"Synth parameters must be arrays of one length, (voice,) each, but their shapes are {shapes}."
        )
    return next((shape[0] for shape in shapes.values()), 1)


def _check_limits(name: str, value: np.ndarray, low: float, high: float) -> None:
    """Refuse a value that is outside its limits or not a number."""
    outside = np.flatnonzero(~((value >= low) & (value <= high)))
    if outside.size:
        voice = outside[0]
        raise ConfigError(f"{name} is {value[voice]:g} in voice {voice}; it must be within {low:g} to {high:g}.")
