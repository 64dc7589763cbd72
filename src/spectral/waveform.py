"""The sound itself as an image, for networks that get no spectrogram: samples, their bytes, or their bits."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from src.errors import ConfigError, check_number
from src.sections import MAX_SAMPLE_RATE, MAX_SAMPLES
from src.spectral.representation import Spectrogram

N_BITS = 16


def to_pcm8(waveform: Tensor) -> Tensor:
    """8-bit PCM as in WAV files: 128 + 128 x, rounded half to even; what is beyond the ends is clipped.

    Source: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, 1991 (8 bits are unsigned).

    Args:
        waveform: `(..., time)`, nominal [-1, 1].

    Returns:
        uint8, `(..., time)`; silence is 128.
    """
    return (waveform.float() * 128 + 128).round().clamp(0, 255).to(torch.uint8)


def to_pcm16(waveform: Tensor) -> Tensor:
    """16-bit PCM as in WAV files, two's complement: round(32768 x), half to even, clipped at the ends.

    Source: as of `to_pcm8` (16 bits are signed).

    Args:
        waveform: `(..., time)`, nominal [-1, 1].

    Returns:
        int16, `(..., time)`.
    """
    full = 2 ** (N_BITS - 1)
    return (waveform.float() * full).round().clamp(-full, full - 1).to(torch.int16)


def to_bytes(waveform: Tensor) -> Tensor:
    """16-bit PCM as two bytes, with 32768 added, so that the more significant one is near 8-bit PCM.

    Args:
        waveform: `(..., time)`, nominal [-1, 1].

    Returns:
        uint8, `(..., byte, time)`, the more significant byte first; silence is 128, 0.
    """
    word = to_pcm16(waveform).int() + 2 ** (N_BITS - 1)
    return torch.stack([word >> 8, word & 255], dim=-2).to(torch.uint8)


def from_bytes(pair: Tensor) -> Tensor:
    """The inverse of `to_bytes`.

    Args:
        pair: uint8, `(..., byte, time)`.

    Returns:
        Waveform, float32, `(..., time)`.
    """
    high, low = pair.float().unbind(dim=-2)
    return (256 * high + low) / 2 ** (N_BITS - 1) - 1


def to_bits(waveform: Tensor) -> Tensor:
    """The bit planes of `to_pcm16`.

    Args:
        waveform: `(..., time)`, nominal [-1, 1].

    Returns:
        uint8 0 or 1, `(..., bit, time)`; row 0 is the least significant bit, row 15 the sign.
    """
    plane = (2 ** torch.arange(N_BITS, device=waveform.device)).to(torch.int16)[:, None]  # the last one is the sign
    return ((to_pcm16(waveform).unsqueeze(-2) & plane) != 0).to(torch.uint8)


def from_bits(bits: Tensor) -> Tensor:
    """The inverse of `to_bits`.

    Args:
        bits: uint8 0 or 1, `(..., bit, time)`.

    Returns:
        Waveform, float32, `(..., time)`.
    """
    weight = 2.0 ** torch.arange(N_BITS, device=bits.device)
    weight[-1] = -weight[-1]
    return (bits.float() * weight[:, None]).sum(dim=-2) / 2 ** (N_BITS - 1)


class _Samples:
    """What images of samples have in common: one channel, a column per sample.

    Args:
        sample_rate: Hz.
        duration: Length of the sounds, s.
        pre_emphasis: 0: samples are stored as they are.
        channels: None: further channels need a spectrogram.
        **of_spectrograms: Those of `Spectrogram` that a generator configuration sets for its spectrograms; not used.

    Raises:
        ConfigError: If a setting is not known.
    """

    label: str
    height: int
    ends: tuple[float, float, str]
    rows: ClassVar[dict[str, Any]]

    def __init__(
        self,
        sample_rate: int,
        duration: float,
        pre_emphasis: float = 0.0,
        channels: Mapping[str, Any] | None = None,
        **of_spectrograms: Any,
    ) -> None:
        name = type(self).__name__
        if channels:
            raise ConfigError(
                f"{name} takes samples as they are, and no channels ({', '.join(channels)}): those need a spectrogram, "
                "representation=stft or mel."
            )
        unknown = sorted(of_spectrograms.keys() - Spectrogram.model_fields.keys())
        if unknown:
            raise ConfigError(f"{name} does not know {', '.join(unknown)}; it takes sample_rate and duration.")
        if pre_emphasis:
            raise ConfigError(f"pre_emphasis is {pre_emphasis}, but {name} takes samples as they are: 0.")
        check_number("sample_rate", sample_rate, above=0, most=MAX_SAMPLE_RATE, hint=" Hz")
        check_number("duration", duration, above=0, most=MAX_SAMPLES / sample_rate, hint=" seconds")
        self.sample_rate = sample_rate
        self.n_samples = round(sample_rate * duration)
        self.pre_emphasis = 0.0
        self.image_shape = 1, self.height, self.n_samples
        self.channel_labels, self.channel_ranges = [self.label], [self.ends]
        columns = {"columns": "time", "column_first": 0.0, "column_step": 1 / sample_rate, "column_units": "s"}
        self.channel_axes = [self.rows | columns]

    def describe(self) -> dict[str, Any]:
        """The settings as they act, for the dataset's JSON."""
        return {"representation": self.label}

    def describe_mel(self) -> None:
        """There is no filterbank."""

    def _no_range(self, waveform: Tensor) -> Tensor:
        """Zeros where images of spectrograms have `spec_min` and `spec_max`, `(..., 2)`."""
        return torch.zeros(*waveform.shape[:-1], 2, device=waveform.device)


class Waveform(_Samples):
    """8-bit PCM, an image of one row."""

    label = "waveform"
    height = 1
    ends = (-1.0, 127 / 128, "amplitude")
    rows: ClassVar = {"rows": "waveform"}

    def to_image(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """8-bit image of a sound, uint8, `(..., 1, 1, time)`, and zeros, `(..., 2)`."""
        return to_pcm8(waveform)[..., None, None, :], self._no_range(waveform)

    def to_waveform(self, image: Tensor) -> Tensor:
        """The sound, `(..., time)`, to within half a level."""
        return (image[..., 0, 0, :].float() - 128) / 128


class Waveform16(_Samples):
    """16-bit PCM, an image of two rows: the more significant bytes, and the less significant ones."""

    label = "waveform16"
    height = 2
    ends = (0.0, 255.0, "byte")
    rows: ClassVar = {"rows": "byte, 0 is the more significant", "row_first": 0, "row_step": 1}

    def to_image(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """8-bit image of a sound, uint8, `(..., 1, 2, time)`, and zeros, `(..., 2)`."""
        return to_bytes(waveform).unsqueeze(-3), self._no_range(waveform)

    def to_waveform(self, image: Tensor) -> Tensor:
        """The sound, `(..., time)`, to within half of 1 / 32768."""
        return from_bytes(image[..., 0, :, :])


class BitStream(_Samples):
    """16-bit PCM, an image of a row per bit, the least significant first; pixels are 0 or 255."""

    label = "bits"
    height = N_BITS
    ends = (0.0, 1.0, "bit")
    rows: ClassVar = {"rows": "bit, 0 is the least significant", "row_first": 0, "row_step": 1}

    def to_image(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """8-bit image of a sound, uint8, `(..., 1, 16, time)`, and zeros, `(..., 2)`."""
        return (to_bits(waveform) * 255).unsqueeze(-3), self._no_range(waveform)

    def to_waveform(self, image: Tensor) -> Tensor:
        """The sound, `(..., time)`, to within half of 1 / 32768."""
        return from_bits(image[..., 0, :, :] >> 7)
