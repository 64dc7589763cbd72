"""Audio files as samples: cut, perturbed, and made into images."""

import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.errors import NSMError
from src.perturb.chain import Perturbation
from src.recordings import AudioFile, Framing, cut_into_frames
from src.spectral.representation import Representation
from src.text import name_of
from src.vimh.samples import DamagedFileError, SampleBatch

HIGHEST_LEVEL = 40.0  # dB full scale; what is louder was never scaled
FRAMES_OF_A_FILE = 2**24  # numbers that the frames of a file have for themselves: 194 days of a second each
AT_ONCE = 64  # frames that are made into images at a time


def sound_keys(representation: Representation, framing: Framing) -> dict[str, Any]:
    """Keys of `DatasetInfo` for sounds."""
    channels = {"channel_ranges": representation.channel_ranges, "channel_axes": representation.channel_axes}
    return {
        **{key: tuple(entries) for key, entries in channels.items() if entries is not None},
        "sample_rate": framing.sample_rate,
        "duration": framing.duration,
        "channel_labels": tuple(representation.channel_labels),
        "pre_emphasis_coefficient": representation.pre_emphasis,
        "spectrogram_config": representation.describe(),
        "mel_config": representation.describe_mel(),
    }


@dataclass(frozen=True)
class SoundLoader:
    """Reads audio files as samples.

    Attributes:
        representation: Makes their images.
        framing: How they are cut.
        perturbation: What happens to each sound; None: nothing.
        seed: Of the perturbation.
    """

    representation: Representation
    framing: Framing
    perturbation: Perturbation | None = None
    seed: int = 0

    def __call__(self, number: int, path: Path, value: np.ndarray) -> SampleBatch:
        """Read an audio file.

        Args:
            number: Of the file. What happens to its frame k, silent ones not counted, is what is drawn for the sound
                of the number `number` times `FRAMES_OF_A_FILE` plus k.
            path: The file.
            value: Its labels, `(parameter,)`.

        Raises:
            DamagedFileError: If it is no audio, damaged, empty, or silent.
        """
        try:
            return self._read(number, path, value)
        except Exception as error:  # memory, or what an analysis cannot do with this sound: the others are read
            reason = str(error) if isinstance(error, NSMError) else f"{name_of(path)}: cannot be used: {error!r}"
            raise DamagedFileError(reason) from error

    def _read(self, number: int, path: Path, value: np.ndarray) -> SampleBatch:
        frames = cut_into_frames(AudioFile.open(path), self.framing)
        images, ranges, digests = [], [], []
        each = iter(frames)
        while some := [*islice(each, AT_ONCE)]:
            sounds = np.stack(some)
            digests += [hashlib.blake2b(sound.tobytes(), digest_size=16).digest() for sound in sounds]
            first = number * FRAMES_OF_A_FILE + len(digests) - len(sounds)
            image, spec_range = self.representation.to_image(self._perturbed(torch.from_numpy(sounds), first))
            images.append(image.numpy())
            ranges.append(spec_range.numpy())
        levels = np.concatenate(ranges)
        if not levels.max() <= HIGHEST_LEVEL:
            level = f"{float(levels.max()):.1f} dB full scale; a dataset takes {HIGHEST_LEVEL:g} dB at most"
            raise DamagedFileError(f"{name_of(path)}: reaches {level}.")
        return SampleBatch(
            np.concatenate(images),
            levels,
            np.repeat(value[None], len(frames), axis=0),
            frames.start,
            np.array(digests),
            frames.n_silent,
        )

    def _perturbed(self, waveform: Tensor, first: int) -> Tensor:
        """Sounds, `(sound, time)`, after what happens to those from a number on."""
        if self.perturbation is None:
            return waveform
        return self.perturbation.apply(waveform, self.perturbation.draws(first, first + len(waveform), self.seed))
