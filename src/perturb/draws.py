"""Random numbers that depend on a sound's number alone: the same on every device, in batches of any size.

The few settings of a sound come out of NumPy's Philox on the CPU, its noise out of a hash of the sample's position, on
the device of the sound.
"""

import hashlib
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.params import uniform_rows

N_KEYS = 2  # words that a sound's noise is made from


class Span(NamedTuple):
    """Where a setting of a sound lies.

    Attributes:
        low: Least value.
        high: Greatest value.
        kind: How it is distributed: `uniform`, `log` (uniform in the logarithm), `whole` (whole numbers, both ends
            among them) or `either` (one of the two ends).
    """

    low: float
    high: float
    kind: str = "uniform"

    def values(self, share: np.ndarray) -> np.ndarray:
        """Values of numbers that are uniform in [0, 1), float64."""
        if self.kind == "log":
            return self.low * (self.high / self.low) ** share
        if self.kind == "whole":
            return self.low + np.floor(share * (self.high - self.low + 1))
        if self.kind == "either":
            return np.where(share < 0.5, self.low, self.high)
        return self.low + share * (self.high - self.low)


def rows_of(name: str, seed: int, start: int, stop: int, n_columns: int) -> np.ndarray:
    """Rows `start` to `stop - 1` of the endless table of one part of one dataset, uniform in [0, 1), `(row, column)`.

    Args:
        name: Of the part. Parts of different names are independent, and none changes when another is added.
        seed: Of the dataset.
        start: Number of the first sound.
        stop: One past the last.
        n_columns: Numbers of a sound.
    """
    own_seed = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:16], "little")
    return uniform_rows(start, stop, n_columns, own_seed)


def keys_of(share: np.ndarray) -> Tensor:
    """Uniform numbers in [0, 1) as words that noise is made from, int32, of the same shape."""
    return torch.from_numpy(np.floor(share * 2.0**32).astype(np.uint32).view(np.int32))


def words(key: Tensor, count: int) -> Tensor:
    """Random words, int32, `(sound, count)`: word i of a sound is a hash of its key and i.

    Args:
        key: int32, `(sound, 2)`. One word would give some pairs of sounds parts of the same noise.
        count: Words of a sound.
    """
    position = torch.arange(count, dtype=torch.int32, device=key.device)
    return _mix(_mix(position + key[:, :1]) ^ key[:, 1:])


def uniform(key: Tensor, count: int) -> Tensor:
    """Random numbers in (0, 1), float32, `(sound, count)`."""
    return _share(words(key, count))


def normal(key: Tensor, count: int) -> Tensor:
    """Random numbers of a normal distribution of variance 1, float32, `(sound, count)`.

    Box and Muller, "A note on the generation of random normal deviates", Ann. Math. Statist. 29, 1958.
    """
    half = (count + 1) // 2
    share = _share(words(key, 2 * half))
    radius = share[:, :half].log().mul_(-2).sqrt_()
    angle = share[:, half:] * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def _share(word: Tensor) -> Tensor:
    """The upper 23 bits of words as the middles of as many parts of [0, 1], which float32 holds exactly."""
    return ((word >> 9) & 0x7FFFFF).float().add_(0.5).mul_(2.0**-23)


def _mix(word: Tensor) -> Tensor:
    """A permutation of 32-bit words in which every bit changes every other with a probability near 1/2, in place.

    Two rounds of shift and multiplication, as in MurmurHash3's finalizer (Appleby 2011), with the multipliers
    0x21F0AAAD and 0x735A2D97, among the least biased of the search of Wellons (hash-prospector, 2018 on). Products are
    those of 32-bit words, and shifts fill with zeros.
    """
    word ^= (word >> 16) & 0xFFFF
    word *= 0x21F0AAAD
    word ^= (word >> 15) & 0x1FFFF
    word *= 0x735A2D97
    word ^= (word >> 15) & 0x1FFFF
    return word
