"""`SpectralRepresentation`: waveform to image and back, with the settings of one dataset."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from src.errors import ConfigError
from src.spectral import functional as F


@dataclass(frozen=True)
class Mel:
    """Settings of a mel filterbank; the image's height is the number of bands.

    Attributes:
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; half the sample rate if None.
        norm: `slaney` or None.
        mel_scale: `htk` or `slaney`.
    """

    f_min: float = 0.0
    f_max: float | None = None
    norm: str | None = "slaney"
    mel_scale: str = "slaney"


class SpectralRepresentation:
    """Log-magnitude STFT or mel spectrogram as an 8-bit image.

    Row 0 is the lowest frequency: bin 1 of the STFT (there is no DC row), or the first mel band. Column t is the window
    that begins at sample t * hop_length.

    Args:
        sample_rate: Hz.
        duration: Length of the sounds, s.
        height: Rows.
        width: Columns.
        win_length: Window, samples.
        n_fft: FFT length, samples; `win_length` if None.
        window: Any window of `scipy.signal.get_window`.
        hop_length: Samples from column to column. None: as short as covers the whole sound.
        hop_multiple: The hop that is found is a multiple of this; one period of the sound keeps it pitch-synchronous.
        top_db: Dynamic range of an image, dB.
        pre_emphasis: Coefficient of a first difference before the STFT; 0 for none.
        mel: Settings of a mel filterbank, or None for STFT bins.

    Raises:
        ConfigError: If the settings contradict each other or the sound.
    """

    def __init__(
        self,
        sample_rate: int,
        duration: float,
        height: int,
        width: int,
        win_length: int,
        n_fft: int | None = None,
        window: str | float | list | tuple = "hann",
        hop_length: int | None = None,
        hop_multiple: int = 1,
        top_db: float = 80.0,
        pre_emphasis: float = 0.0,
        mel: Mapping[str, Any] | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.n_samples = round(sample_rate * duration)
        self.height, self.width = height, width
        self.n_fft = win_length if n_fft is None else n_fft
        self.top_db = top_db
        self.pre_emphasis = pre_emphasis
        self._check(win_length, hop_length, hop_multiple)
        self.window_name = window
        self.window = F.analysis_window(window, win_length)
        self.hop_length = hop_length or F.fit_hop_length(self.n_samples, win_length, width, hop_multiple)
        self._warn_of_lost_time(win_length)
        self.mel = None if mel is None else _mel(mel)
        self.filters = None if self.mel is None else self._filters(self.mel)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(channel, freq, time)`."""
        return 1, self.height, self.width

    @property
    def channel_labels(self) -> list[str]:
        """Name of each channel."""
        return ["log_magnitude" if self.mel is None else "log_mel"]

    def spectrogram_db(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spectrogram in dB full scale, before it is rounded to pixels.

        Args:
            waveform: `(..., time)`.

        Returns:
            Decibels, `(..., 1, freq, time)`; `spec_min` and `spec_max`, dB, `(..., 1)` each.
        """
        emphasized = F.pre_emphasize(waveform.float(), self.pre_emphasis)
        power = F.power_spectrogram(emphasized, self.window, self.n_fft, self.hop_length, self.width)
        rows = power[..., 1 : self.height + 1, :] if self.filters is None else self.filters.to(power.device) @ power
        return F.power_to_db(rows.unsqueeze(-3), self.top_db)

    def to_image(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """8-bit image of a sound.

        Args:
            waveform: `(..., time)`.

        Returns:
            uint8, `(..., 1, freq, time)`; `spec_min` and `spec_max` in dB, `(..., 2)`.
        """
        db, spec_min, spec_max = self.spectrogram_db(waveform)
        return F.quantize_db(db, spec_min, spec_max), torch.cat([spec_min, spec_max], dim=-1)

    def to_db(self, image: Tensor, spec_range: Tensor) -> Tensor:
        """Decibels of an image, to within half a level.

        Args:
            image: uint8, `(..., 1, freq, time)`.
            spec_range: dB, `(..., 2)`.

        Returns:
            dB full scale, `(..., 1, freq, time)`.
        """
        return F.dequantize_db(image, spec_range[..., :1], spec_range[..., 1:])

    def to_waveform(self, image: Tensor, spec_range: Tensor, n_iter: int = 64) -> Tensor:
        """A sound that has this image, by Griffin-Lim; its phases are not those of the original.

        Columns further apart than a quarter of a window are interpolated in dB first, since Griffin-Lim needs windows
        that overlap. Frequencies that the image does not hold stay silent.

        Args:
            image: uint8, `(..., 1, freq, time)`.
            spec_range: dB, `(..., 2)`.
            n_iter: Iterations.

        Returns:
            Waveform, `(..., time)`.
        """
        db = self.to_db(image, spec_range).squeeze(-3)
        hop_length = min(self.hop_length, max(1, self.window.numel() // 4))
        db = self._at_centres(db, hop_length)
        floor = spec_range[..., :1, None]  # what was cut off at the floor is silence, not a noise of -80 dB
        power = torch.where(db > floor, 10 ** (db / 10), 0.0)
        waveform = F.griffin_lim(
            self._to_bins(power).sqrt(), self.window.to(db.device), self.n_fft, hop_length, n_iter, self.n_samples
        )
        if not self.pre_emphasis:
            return waveform
        from scipy.signal import lfilter

        return torch.from_numpy(lfilter([1.0], [1.0, -self.pre_emphasis], waveform.cpu().numpy())).float()

    def describe(self) -> dict[str, Any]:
        """The settings as they act, for the dataset's JSON: samples, dB and names only."""
        return {
            "n_fft": self.n_fft,
            "win_length": self.window.numel(),
            "window": self.window_name,
            "hop_length": self.hop_length,
            "top_db": self.top_db,
            "reference": "a sinusoid of amplitude 1 is 0 dB",
            "first_bin": 1,
        }

    def describe_mel(self) -> dict[str, Any] | None:
        """The mel filterbank as it acts, or None."""
        return None if self.mel is None else {"n_mels": self.height, **vars(self.mel), "f_max": self._f_max(self.mel)}

    def _at_centres(self, db: Tensor, hop_length: int) -> Tensor:
        """Columns interpolated to frames centred on the multiples of `hop_length`, `(..., freq, frame)`."""
        centre = torch.arange(0, self.n_samples + 1, hop_length, device=db.device)
        column = ((centre - self.window.numel() / 2) / self.hop_length).clamp(0, self.width - 1)
        left = column.floor().long().clamp(max=max(0, self.width - 2))
        right = (left + 1).clamp(max=self.width - 1)
        return torch.lerp(db[..., left], db[..., right], column - left)

    def _to_bins(self, power: Tensor) -> Tensor:
        """Power of the image's rows to power of all STFT bins, `(..., n_fft // 2 + 1, frame)`."""
        if self.filters is not None:
            return (torch.linalg.pinv(self.filters.to(power.device)) @ power).clamp(min=0)
        return torch.nn.functional.pad(power, (0, 0, 1, self.n_fft // 2 - self.height))

    def _filters(self, mel: Mel) -> Tensor:
        return F.mel_filterbank(
            self.n_fft // 2 + 1, self.height, mel.f_min, self._f_max(mel), self.sample_rate, mel.norm, mel.mel_scale
        )

    def _f_max(self, mel: Mel) -> float:
        return self.sample_rate / 2 if mel.f_max is None else mel.f_max

    def _check(self, win_length: int, hop_length: int | None, hop_multiple: int) -> None:
        """Refuse settings that make no image of the sound."""
        counts = {"height": self.height, "width": self.width, "win_length": win_length, "n_fft": self.n_fft}
        counts |= {"hop_multiple": hop_multiple}
        for name, number in counts.items():
            if number < 1:
                raise ConfigError(f"{name} is {number}; it must be 1 or more.")
        if self.n_fft < win_length:
            raise ConfigError(f"n_fft {self.n_fft} is less than win_length {win_length}; it must be at least as long.")
        if hop_length is not None and not 1 <= hop_length <= self.n_samples:
            raise ConfigError(
                f"hop_length is {hop_length}; it must be within 1 and the sound's {self.n_samples} samples, or null."
            )
        if win_length > self.n_samples:
            raise ConfigError(f"win_length {win_length} is longer than the sound's {self.n_samples} samples.")
        if self.n_fft // 2 < self.height:
            raise ConfigError(
                f"n_fft {self.n_fft} has {self.n_fft // 2} bins above DC, but the image has {self.height} rows. Raise "
                "n_fft or lower the height."
            )
        if not self.top_db > 0:
            raise ConfigError(f"top_db is {self.top_db}; it must be above 0 dB.")
        if not 0 <= self.pre_emphasis <= 1:
            raise ConfigError(f"pre_emphasis is {self.pre_emphasis}; it must be within 0 and 1 to be undone.")

    def _warn_of_lost_time(self, win_length: int) -> None:
        """Say when the columns end before the sound, or go on for long after it."""
        end = (self.width - 1) * self.hop_length + win_length
        if self.n_samples - end >= self.hop_length:
            seconds = (self.n_samples - end) / self.sample_rate
            warnings.warn(
                f"hop_length {self.hop_length}: {self.width} columns end {seconds:.3f} s before"
                " the sound. Take a longer hop, or null for the one that covers it.",
                stacklevel=3,
            )
        elif end - self.n_samples >= self.hop_length + win_length:
            empty = (end - win_length - self.n_samples) // self.hop_length + 1
            warnings.warn(
                f"hop_length {self.hop_length}: the last {empty} of {self.width} columns lie past the end of the sound "
                "and are empty. Take a shorter hop, a smaller hop_multiple, or fewer columns.",
                stacklevel=3,
            )


def _mel(settings: Mapping[str, Any]) -> Mel:
    """The section `mel`, with unknown keys refused by name."""
    known = [field.name for field in fields(Mel)]
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ConfigError(f"mel has the keys {', '.join(unknown)}, which are not known; it takes {', '.join(known)}.")
    return Mel(**settings)
