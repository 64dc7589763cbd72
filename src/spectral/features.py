"""Features measured from 8-bit images, as conditioning inputs of a network.

An image holds a sound's level relative to its own range only; with `spec_min` and `spec_max` it holds absolute levels.
Pixels of value 0 are at the floor or below it and count as silence. Channel 0 is the one that is measured: it holds the
level of the spectrogram.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from src.errors import ConfigError
from src.spectral import functional as F

DB_PER_NEPER = 20 / math.log(10)
SILENCE = 10 ** (F.DB_FLOOR / 10)  # power
DECAY_RANGE = (-2.0, 1.0)  # log10 of shares of the width: shorter is within a frame, longer is nearly constant


def decay_time(power: Tensor) -> Tensor:
    """Base-10 logarithm of the time constant of a sound's decay, which is a share of the image's width.

    The level of a frame is L(t) = 10 log10 of the sum over freq of power(freq, t). An amplitude exp(-t / tau) falls by
    20 / ln(10) = 8.686 dB every tau frames, so tau = -8.686 / slope, where slope is that of the least-squares line
    through L(t) over the frames that are not silent: Schroeder's fit of a decay curve (J. Acoust. Soc. Am. 37, 1965),
    without his integration, which would need the sound's end. The result is log10(tau / width), kept within
    `DECAY_RANGE`; where the level does not fall it is the upper end, and where there are not two frames the lower.

    Args:
        power: `(batch, freq, time)`.

    Returns:
        log10 of shares of the width, `(batch,)`.
    """
    width = power.shape[-1]
    frame_power = power.sum(dim=-2)  # (batch, time)
    level = 10 * torch.log10(frame_power.clamp(min=SILENCE))
    audible = (frame_power > 0).to(level.dtype)
    n_audible = audible.sum(dim=-1, keepdim=True)
    time = torch.arange(width, device=power.device, dtype=level.dtype)
    from_mean = audible * (time - (audible * time).sum(dim=-1, keepdim=True) / n_audible.clamp(min=1))
    slope = (from_mean * level).sum(dim=-1) / from_mean.square().sum(dim=-1).clamp(min=0.5)  # dB a frame
    low, high = DECAY_RANGE
    share = DB_PER_NEPER / width / (-slope).clamp(min=DB_PER_NEPER / width / 10**high)
    return torch.where(n_audible[:, 0] > 1, torch.log10(share).clamp(min=low), low)


def spectral_centroid(power: Tensor) -> Tensor:
    """Mean row weighted by power, as a share of the height: sum of row * power / sum of power / height.

    The spectral centroid of Grey and Gordon (J. Acoust. Soc. Am. 63, 1978) over all frames, in rows rather than Hz: a
    row is a bin or a mel band. Silence has 0.

    Args:
        power: `(batch, freq, time)`.

    Returns:
        Shares of the height, at least 0 and below 1, `(batch,)`.
    """
    row_power = power.sum(dim=-1)  # (batch, freq)
    row = torch.arange(power.shape[-2], device=power.device, dtype=power.dtype)
    return row_power @ row / row_power.sum(dim=-1).clamp(min=SILENCE) / power.shape[-2]


def level(power: Tensor) -> Tensor:
    """Level of the whole image: 10 log10 of the sum of power over freq and time, dB full scale, -120 for silence.

    Args:
        power: `(batch, freq, time)`.

    Returns:
        dB, `(batch,)`.
    """
    return 10 * torch.log10(power.sum(dim=(-2, -1)).clamp(min=SILENCE))


FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "decay_time": decay_time,
    "spectral_centroid": spectral_centroid,
    "level": level,
}


def measure(image: Tensor, spec_range: Tensor, names: Sequence[str]) -> Tensor:
    """Features of images. Everything runs on the device of the images.

    Args:
        image: uint8, `(batch, channel, freq, time)`.
        spec_range: `spec_min` and `spec_max`, dB, `(batch, 2)`.
        names: Keys of `FEATURES`.

    Returns:
        float32, `(batch, len(names))`.

    Raises:
        ConfigError: If there is no such feature.
    """
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise ConfigError(
            f"data.aux names {', '.join(unknown)}; known are spec_min, spec_max and, measured from the image, "
            f"{', '.join(FEATURES)}."
        )
    power = _power(image[:, 0], spec_range)
    return torch.stack([FEATURES[name](power) for name in names], dim=1) if names else power.new_empty(len(image), 0)


def _power(pixel: Tensor, spec_range: Tensor) -> Tensor:
    """Power of every pixel, 0 for those at the floor, float32, `(batch, freq, time)`."""
    db = F.dequantize_db(pixel, spec_range[:, 0], spec_range[:, 1])
    return torch.exp(db * (math.log(10) / 10)) * (pixel > 0)
