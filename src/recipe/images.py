"""Waveforms to images of any representation, and to the spectrograms that are shown of them."""

import numpy as np
import torch

from src.spectral.representation import Representation, SpectralRepresentation
from src.synth.base import count_samples

BLOCK = 32  # sounds that are represented at a time: what they need then stays in the cache
VIEW_SIZE = (128, 128)  # rows and columns of the spectrograms that show sets of samples


def images_of(representation: Representation, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8, `(sound, channel, freq, time)`, and their `spec_min`, `spec_max`, `(sound, 2)`.

    Args:
        representation: Makes them.
        waveform: float32, `(sound, time)`.
    """
    blocks = [representation.to_image(block) for block in torch.from_numpy(waveform).split(BLOCK)]
    images, spec_ranges = zip(*blocks, strict=True)
    return torch.cat(images).numpy(), torch.cat(spec_ranges).numpy()


def view_of(representation: Representation, sample_rate: int, duration: float) -> SpectralRepresentation:
    """What turns waveforms into spectrograms to look at: the representation itself, or an STFT where it makes none.

    Args:
        representation: What a dataset's images are made by.
        sample_rate: Hz.
        duration: s.
    """
    if isinstance(representation, SpectralRepresentation):
        return representation
    return plain_stft(sample_rate, duration, *VIEW_SIZE)


def plain_stft(sample_rate: int, duration: float, height: int, width: int) -> SpectralRepresentation:
    """An STFT of a size, from its first bin to half the sample rate."""
    return SpectralRepresentation(
        sample_rate=sample_rate,
        duration=duration,
        height=height,
        width=width,
        win_length=min(2 * height, count_samples(sample_rate, duration)),
        n_fft=2 * height,
    )
