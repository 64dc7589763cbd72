"""Sounds and pictures as bytes, and bytes as text, for pages; `encoding.js` reads them."""

import base64
import io
import zlib

import numpy as np
import soundfile

MAX_LEVEL = 65535
FULL_SCALE = 32767


def encode_wav(waveform: np.ndarray, sample_rate: int, exact: bool = False) -> bytes:
    """A mono WAV file of 16 bits; samples beyond full scale are clipped.

    Args:
        waveform: `(time,)`.
        sample_rate: Hz.
        exact: Of 32-bit floats instead, which are what they are.
    """
    buffer = io.BytesIO()
    if exact:
        soundfile.write(buffer, waveform, sample_rate, format="WAV", subtype="FLOAT")
        return buffer.getvalue()
    # Rounded here: libsndfile cuts off the digits of floating-point samples.
    samples = np.clip(np.round(np.asarray(waveform, dtype=np.float64) * FULL_SCALE), -32768, FULL_SCALE).astype(
        np.int16
    )
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def encode_levels(levels: np.ndarray, low: float, high: float) -> bytes:
    """Levels rounded to 16 bits (little endian) between two ends; what is beyond an end becomes that end.

    Args:
        levels: Finite, any shape; the last axis runs fastest.
        low: Level of 0.
        high: Level of 65535.
    """
    share = (np.asarray(levels, dtype=np.float64) - low) / (high - low)
    return (share * MAX_LEVEL).round().clip(0, MAX_LEVEL).astype("<u2").tobytes()


def as_text(content: bytes) -> str:
    """Bytes in base 64."""
    return base64.b64encode(content).decode()


class Block:
    """Sounds and pictures as one block of bytes, compressed, which a page holds as text; encoding.js reads it.

    Every entry is numbers of 16 bits as differences from one to the next, all low bytes before all high bytes, which
    zlib makes much smaller than the numbers themselves.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add_sound(self, waveform: np.ndarray) -> tuple[int, int]:
        """Take a waveform, `(time,)`, as samples of 16 bits; returns its first byte and its length in numbers."""
        samples = np.clip(np.round(np.asarray(waveform, dtype=np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE)
        return self._add(samples.astype(np.int64))

    def add_levels(self, levels: np.ndarray, low: float, high: float) -> tuple[int, int]:
        """Take levels as `encode_levels` has them; returns the first byte and the length in numbers."""
        return self._add(np.frombuffer(encode_levels(levels, low, high), "<u2").astype(np.int64))

    def text(self) -> str:
        """All of it, compressed, in base 64."""
        return as_text(zlib.compress(b"".join(self._parts), 9))

    def _add(self, numbers: np.ndarray) -> tuple[int, int]:
        planes = np.diff(numbers, prepend=0).astype("<u2", casting="unsafe").view(np.uint8).reshape(-1, 2)
        self._parts.append(planes.T.tobytes())
        place = (self._size, numbers.size)
        self._size += planes.size
        return place
