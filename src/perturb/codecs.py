"""Lossy codecs, through libsndfile: a sound is encoded in memory and decoded again."""

import io
from types import MappingProxyType

import numpy as np
import soundfile
import torch
from torch import Tensor

from src.errors import ConfigError

# Sample rate to the least and the greatest bit rate of an MP3, kbit/s, between which libsndfile's compression level,
# 1 to 0, chooses: MPEG 2.5 (with the ends that libsndfile takes), MPEG 2, MPEG 1.
MP3_BITRATES = MappingProxyType(
    dict.fromkeys((8000, 11025, 12000), (8, 64))
    | dict.fromkeys((16000, 22050, 24000), (8, 160))
    | dict.fromkeys((32000, 44100, 48000), (32, 320))
)
MOST_COMPRESSED = 0.99  # libsndfile refuses 1 for MP3


def through_codec(waveform: Tensor, sample_rate: int, container: str, level: Tensor) -> Tensor:
    """Sounds, encoded and decoded. They keep their length, and their beginning where the codec's delay is known.

    A sound is scaled to a peak of 1/2 before and back after: codecs clip, and this one's level is not drawn. Silence
    stays silent. The result is the same wherever the same version of libsndfile runs.

    Args:
        waveform: float32, on the CPU, `(sound, time)`.
        sample_rate: Hz.
        container: `MP3`, at a constant bit rate, or `OGG`, Vorbis.
        level: libsndfile's compression level, `(sound, 1)`.

    Raises:
        ConfigError: If the codec refuses.
    """
    decoded = np.zeros(waveform.shape, np.float32)
    for row, (sound, compression) in enumerate(zip(waveform.numpy(), level[:, 0].tolist(), strict=True)):
        peak = float(np.abs(sound).max(initial=0.0))
        if peak > 0:
            found = _there_and_back(sound * (0.5 / peak), sample_rate, container, compression) * (2 * peak)
            decoded[row, : len(found)] = found[: len(sound)]
    return torch.from_numpy(decoded)


def _there_and_back(sound: np.ndarray, sample_rate: int, container: str, compression: float) -> np.ndarray:
    """One sound, encoded and decoded."""
    stream, mode = io.BytesIO(), {"bitrate_mode": "CONSTANT"} if container == "MP3" else {}
    level = min(compression, MOST_COMPRESSED)
    try:
        soundfile.write(stream, sound, sample_rate, format=container, compression_level=level, **mode)
        stream.seek(0)
        return soundfile.read(stream, dtype="float32")[0]
    except soundfile.SoundFileError as error:
        raise ConfigError(f"{container} of {sample_rate} Hz cannot be written here: {error}") from error
