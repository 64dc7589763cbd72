"""Sounds and pictures as bytes, and bytes as text, for pages; `encoding.js` reads them."""

import base64
import io

import numpy as np
import soundfile

MAX_LEVEL = 65535


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
    samples = np.clip(np.round(np.asarray(waveform, dtype=np.float64) * 32767), -32768, 32767).astype(np.int16)
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
