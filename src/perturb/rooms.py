"""Measured rooms: a directory of impulse responses, read once."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.errors import ConfigError
from src.recordings import AudioFile, RecordingError, find_files, resample
from src.text import name_of

MAX_ROOMS = 2000
MAX_SECONDS = 30.0  # that are searched for the direct sound


@lru_cache(maxsize=4)
def read_rooms(directory: str, sample_rate: int, n_samples: int) -> Tensor:
    """Impulse responses of all audio files of a directory, in the order of their names, float32, `(room, time)`.

    Each begins with its greatest sample, the direct sound, which is scaled to 1, so that neither delay nor level
    comes with the room; it is as long as the sounds, cut or filled with silence.

    Args:
        directory: Its path.
        sample_rate: Hz, of the sounds.
        n_samples: Their length.

    Raises:
        ConfigError: If there is no such directory, no audio file in it, or one that is no impulse response.
    """
    path = Path(directory).expanduser()
    if not path.is_dir():
        raise ConfigError(f"directory={name_of(directory)}: there is no such directory of impulse responses.")
    paths = find_files(str(path))
    if len(paths) > MAX_ROOMS:
        raise ConfigError(f"{name_of(directory)}: holds {len(paths):,} audio files; {MAX_ROOMS:,} are the most.")
    rooms = np.zeros((len(paths), n_samples), np.float32)
    for row, file in enumerate(paths):
        try:
            audio = AudioFile.open(file)
            blocks = list(audio.blocks(0, round(MAX_SECONDS * audio.sample_rate)))
        except RecordingError as error:
            raise ConfigError(f"An impulse response cannot be used: {error}") from error
        response = resample(blocks, audio.sample_rate, sample_rate)
        direct = int(np.argmax(np.abs(response)))
        if response[direct] == 0:
            raise ConfigError(f"{name_of(file)}: is silent, so it is no impulse response.")
        found = response[direct : direct + n_samples] / response[direct]
        rooms[row, : len(found)] = found
    return torch.from_numpy(rooms)
