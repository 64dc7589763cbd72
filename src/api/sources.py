"""What a network can be given: waveforms, files, and several of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.api.places import find
from src.errors import ConfigError, check_number
from src.recordings import HIGHEST_RATE, AudioArray, AudioFile, AudioSource, find_files

Waveforms = np.ndarray | Tensor
Audible = str | Path | Waveforms | Sequence[str | Path | Waveforms]

HINTS = {  # by the number of axes
    2: " Take the mean over channels.",
    3: " Take the mean over channels.",
    4: " To have images read, give samples of a Dataset: data[:16].",
}
MOST_CHANNELS = 16  # of what is taken for one recording whose axes are the wrong way round
WHAT = "Give a waveform (time,), several (batch, time), a file, or a list of files"


def sources_of(audio: Audible, sample_rate: float | None) -> list[AudioSource]:
    """What is to be read, a source for each sound.

    Args:
        audio: A waveform, `(time,)`, several, `(batch, time)`, of floats (full scale is 1) or integers (full scale is
            that of their type), NumPy's or PyTorch's; a file, a directory or a pattern; a list of these.
        sample_rate: Of the waveforms, Hz; None where all are files, which know theirs.

    Raises:
        ConfigError: If it is something else, or the sample rate is missing, given for a file, or no rate.
        RecordingError: If a file is no audio.
    """
    several = isinstance(audio, Sequence) and not isinstance(audio, str | bytes) and not _is_numbers(audio)
    items: Any = audio if several else [audio]
    found: list[AudioSource] = []
    for item in items:
        if isinstance(item, str | Path):
            found += _files(item, sample_rate)
        else:
            rate = check_sample_rate(sample_rate)
            for samples in _waveforms(item, several):
                found.append(AudioArray(Path(f"sound {len(found)}"), rate, 1, False, samples))
    if not found:
        raise ConfigError(f"audio is empty. {WHAT}.")
    return found


def check_sample_rate(sample_rate: float | None) -> int:
    """A sample rate as a whole number, Hz.

    Raises:
        ConfigError: If it is none.
    """
    if sample_rate is None:
        raise ConfigError("sample_rate is missing: a waveform does not say its own. Give it in Hz: sample_rate=44100.")
    is_whole = isinstance(sample_rate, float) and sample_rate.is_integer()
    rate = int(sample_rate) if is_whole else sample_rate
    return int(check_number("sample_rate", rate, whole=True, least=1, most=HIGHEST_RATE, hint=", in Hz"))


def _is_numbers(audio: Sequence[Any]) -> bool:
    """Whether this is a waveform as a list of numbers."""
    return len(audio) > 0 and all(isinstance(item, int | float | np.number) for item in audio)


def _files(path: str | Path, sample_rate: float | None) -> Iterator[AudioFile]:
    """The files that a path, a directory or a pattern means, open."""
    if sample_rate is not None:
        raise ConfigError("sample_rate is of waveforms; a file knows its own. Leave it out.")
    for file in find_files(str(find(path, "audio"))):
        yield AudioFile.open(file)


def _waveforms(item: Any, is_one: bool) -> np.ndarray:
    """Waveforms as floats, `(sound, time)`.

    Args:
        item: NumPy's, PyTorch's, or what becomes an array.
        is_one: Whether it may be a single sound only.
    """
    samples = as_array(item)
    if samples.ndim not in ((1,) if is_one else (1, 2)):
        wanted = "(time,)" if is_one else "(time,) or (batch, time)"
        hint = HINTS.get(samples.ndim, "")
        raise ConfigError(f"audio has the shape {samples.shape}; it must be {wanted}.{hint}")
    if 0 in samples.shape:
        raise ConfigError(f"audio has the shape {samples.shape}: it holds no samples. {WHAT}.")
    if samples.ndim == 2 and samples.shape[1] < samples.shape[0] and samples.shape[1] <= MOST_CHANNELS:
        raise ConfigError(
            f"audio has the shape {samples.shape}, which is {samples.shape[0]:,} sounds of {samples.shape[1]} samples: "
            "time is the last axis. Transpose it, or take the mean over channels: audio.mean(axis=1)."
        )
    return full_scale(np.atleast_2d(samples))


def as_array(item: Any) -> np.ndarray:
    """Samples as an array; a tensor's, wherever it is.

    Raises:
        ConfigError: If they are no numbers.
    """
    if isinstance(item, Tensor):
        item = item.detach().cpu()
        item = (item.float() if item.dtype == torch.bfloat16 else item).numpy()
    try:
        samples = np.asarray(item)
    except ValueError:  # rows of several lengths
        samples = np.asarray(None)
    if samples.dtype.kind not in "iuf":
        raise ConfigError(f"audio is of the type {type(item).__name__}, which holds no real samples. {WHAT}.")
    return samples


def full_scale(samples: np.ndarray) -> np.ndarray:
    """Samples of which full scale is 1; those of integers are divided by the largest of their type."""
    if samples.dtype.kind == "f":
        return samples
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return (samples - half * (samples.dtype.kind == "u")) / half
