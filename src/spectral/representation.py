"""Waveform to image and back, with the settings of one dataset.

`Representation` is what generation needs of one; `SpectralRepresentation` has spectrograms and other channels on the
same grid. `src/spectral/waveform.py` has those without a spectrogram.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

import scipy
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.overrides import TorchFunctionMode

from src.errors import ConfigError, NSMWarning
from src.sections import MAX_SAMPLES, PositiveFloat, PositiveInt, SampleRate, Settings, Window
from src.spectral import functional as F
from src.spectral.analysis import Analysis, Grid, Spectra, check_stft_size, spread
from src.spectral.channels import Channel, Ends, View

MAX_VIEWS = 64  # of a sound in an image
MAX_SPAN = 4 * MAX_SAMPLES  # from the first to the last column


class Mel(Settings):
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


class LogFrequency(Settings):
    """Settings of rows that are evenly spaced in the logarithm of frequency; the image's height is their number.

    Attributes:
        f_min: Centre of the first row, Hz.
        bins_per_octave: Rows to the octave.
    """

    f_min: PositiveFloat
    bins_per_octave: PositiveInt = 36


class Spectrogram(Settings):
    """What makes a spectrogram of sounds of one length.

    Attributes:
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
        mel: A mel filterbank; None for none.
        log_frequency: Rows at equal musical intervals; None for none. Without either, rows are STFT bins.
    """

    sample_rate: SampleRate
    duration: PositiveFloat
    height: PositiveInt
    width: PositiveInt
    win_length: PositiveInt
    n_fft: PositiveInt | None = None
    window: Window = "hann"
    hop_length: int | None = None
    hop_multiple: PositiveInt = 1
    top_db: PositiveFloat = 80.0
    pre_emphasis: float = Field(0.0, ge=0, le=1)  # within which it can be undone
    mel: Mel | None = None
    log_frequency: LogFrequency | None = None

    @property
    def n_samples(self) -> int:
        """Length of the sounds, samples."""
        return round(self.sample_rate * self.duration)

    @model_validator(mode="after")
    def _check(self) -> "Spectrogram":
        """Refuse what makes no image of the sound."""
        if self.sample_rate * self.duration > MAX_SAMPLES:
            raise ValueError(
                f"duration {self.duration} s at {self.sample_rate} Hz is more than {MAX_SAMPLES:,} samples; make it "
                "shorter."
            )
        n_samples, win_length, n_fft = self.n_samples, self.win_length, self.n_fft or self.win_length
        check_stft_size(n_fft, max(self.height, self.width))
        if n_fft < win_length:
            raise ValueError(f"n_fft {n_fft} is less than win_length {win_length}; it must be at least as long.")
        if self.mel and self.log_frequency:
            raise ValueError("mel and log_frequency are both given; the rows are of one kind: set one of them to null.")
        if self.hop_length is not None and not 1 <= self.hop_length <= n_samples:
            raise ValueError(
                f"hop_length is {self.hop_length}; it must be within 1 and the sound's {n_samples} samples, or null."
            )
        if win_length > n_samples:
            raise ValueError(f"win_length {win_length} is longer than the sound's {n_samples} samples.")
        if n_fft // 2 < self.height and not self.log_frequency:
            raise ValueError(
                f"n_fft {n_fft} has {n_fft // 2} bins above DC, but the image has {self.height} rows. Raise n_fft or "
                "lower the height."
            )
        hop_length = self.hop_length or F.fit_hop_length(n_samples, win_length, self.width, self.hop_multiple)
        if (self.width - 1) * hop_length > MAX_SPAN:
            raise ValueError(
                f"width {self.width} with hops of {hop_length} samples lies far past the end of the sound."
            )
        return self


class Representation(Protocol):
    """What generation needs of a representation.

    Attributes:
        image_shape: `(channel, freq, time)`.
        channel_labels: Name of each channel.
        channel_ranges: Of each channel what its pixels mean, None: the record's `spec_min` and `spec_max`; None: so for
            all.
        channel_axes: Of each channel what rows and columns are, empty: frequency and time; None: so for all.
        pre_emphasis: Coefficient of a first difference, for the JSON.
    """

    image_shape: tuple[int, int, int]
    channel_labels: list[str]
    channel_ranges: list[Ends | None] | None
    channel_axes: list[dict[str, Any]] | None
    pre_emphasis: float

    def to_image(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Image of a sound, uint8, `(..., channel, freq, time)`; its `spec_min` and `spec_max`, dB, `(..., 2)`."""

    def describe(self) -> dict[str, Any]:
        """The settings as they act, for the dataset's JSON: plain data."""

    def describe_mel(self) -> dict[str, Any] | None:
        """The mel filterbank as it acts, or None."""


@runtime_checkable
class Reversible(Protocol):
    """A representation whose images can be made sounds again without their levels."""

    def to_waveform(self, image: Tensor) -> Tensor:
        """The sound of an image, `(..., time)`."""


class SpectralRepresentation:
    """Log-magnitude STFT, mel or log-frequency spectrogram as an 8-bit image, and other channels on the same grid.

    Row 0 is the lowest frequency: bin 1 of the STFT (there is no DC row), the first mel band, or `f_min` of rows at
    equal musical intervals. Column t is the window that begins at sample t * hop_length. The first channel is the
    spectrogram, and the one that `spec_min` and `spec_max` belong to; further ones have fixed ends.

    Args:
        channels: Name to channel, of what follows the spectrogram, in this order.
        **settings: Those of `Spectrogram`.

    Raises:
        ConfigError: If the settings contradict each other or the sound.
    """

    def __init__(self, channels: Mapping[str, Channel] | None = None, **settings: Any) -> None:
        for name, kind in (("mel", Mel), ("log_frequency", LogFrequency)):
            if settings.get(name) is not None:
                settings[name] = kind(**settings[name])
        known = Spectrogram(**settings)
        self.sample_rate, self.n_samples = known.sample_rate, known.n_samples
        self.height, self.width = height, width = known.height, known.width
        win_length, self.n_fft = known.win_length, known.n_fft or known.win_length
        self.top_db, self.pre_emphasis = known.top_db, known.pre_emphasis
        self.mel, self.log_frequency = known.mel, known.log_frequency
        self.window_name, self.window = known.window, F.analysis_window(known.window, win_length)
        self.hop_length = known.hop_length or F.fit_hop_length(self.n_samples, win_length, width, known.hop_multiple)
        self._warn_of_lost_time()
        of_window: Callable[[Tensor, int], Tensor] | None = None
        if self.mel is not None:
            of_window = partial(self._mel_filters, self.mel)
        elif self.log_frequency is not None:
            of_window = partial(self._log_filters, self.log_frequency)
        self.filters = None if of_window is None else of_window(self.window, self.n_fft)
        grid = Grid(
            *(self.sample_rate, self.n_samples, height, width, win_length, self.n_fft, known.window, self.hop_length),
            filters=of_window,
        )
        self._first = Analysis(grid, win_length, known.window)
        self.views = placed(channels or {}, grid)
        views = self.views.values()
        self.image_shape = 1 + len(views), height, width
        self.channel_labels = [self._label, *self.views]
        self.channel_ranges = [None, *(view.ends for view in views)] if views else None
        self.channel_axes = [{}, *(dict(view.axes) for view in views)] if views else None

    def spectrogram_db(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spectrogram in dB full scale, the first channel, before it is rounded to pixels.

        Args:
            waveform: `(..., time)`.

        Returns:
            Decibels, `(..., 1, freq, time)`; `spec_min` and `spec_max`, dB, `(..., 1)` each.
        """
        return self._first_db(self._spectra(waveform))

    def measure(self, waveform: Tensor) -> Tensor:
        """Every channel in its own units, neither rounded to pixels nor limited to their range.

        Args:
            waveform: `(..., time)`.

        Returns:
            float32, `(..., channel, freq, time)`.
        """
        return self._levels(waveform)[0]

    def to_image(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """8-bit image of a sound.

        Args:
            waveform: `(..., time)`.

        Returns:
            uint8, `(..., channel, freq, time)`; `spec_min` and `spec_max` in dB, `(..., 2)`.
        """
        levels, spec_range = self._levels(waveform)
        return F.quantize_db(levels, *self._ends(spec_range)), spec_range

    def decode(self, image: Tensor, spec_range: Tensor) -> Tensor:
        """Every channel in its own units, to within half a level.

        Args:
            image: uint8, `(..., channel, freq, time)`.
            spec_range: dB, `(..., 2)`.

        Returns:
            float32, `(..., channel, freq, time)`.
        """
        return F.dequantize_db(image, *self._ends(spec_range))

    def to_db(self, image: Tensor, spec_range: Tensor) -> Tensor:
        """Decibels of an image's first channel, to within half a level.

        Args:
            image: uint8, `(..., channel, freq, time)`.
            spec_range: dB, `(..., 2)`.

        Returns:
            dB full scale, `(..., 1, freq, time)`.
        """
        return F.dequantize_db(image[..., :1, :, :], spec_range[..., :1], spec_range[..., 1:])

    def to_waveform(self, image: Tensor, spec_range: Tensor, n_iter: int = 64) -> Tensor:
        """A sound that has this image's first channel, by Griffin-Lim; its phases are not those of the original.

        Columns further apart than a quarter of a window are interpolated in dB first, since Griffin-Lim needs windows
        that overlap. Frequencies that the image does not hold stay silent.

        Args:
            image: uint8, `(..., channel, freq, time)`.
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
        return torch.from_numpy(scipy.signal.lfilter([1.0], [1.0, -self.pre_emphasis], waveform.cpu().numpy())).float()

    def describe(self) -> dict[str, Any]:
        """The settings as they act, for the dataset's JSON: samples, dB and names only."""
        described: dict[str, Any] = {
            "n_fft": self.n_fft,
            "win_length": self.window.numel(),
            "window": self.window_name,
            "hop_length": self.hop_length,
            "top_db": self.top_db,
            "reference": "a sinusoid of amplitude 1 is 0 dB",
            "first_bin": 1,
        }
        if self.log_frequency is not None:
            described["log_frequency"] = vars(self.log_frequency)
        if self.views:
            described["channels"] = {name: dict(view.settings) for name, view in self.views.items()}
        return described

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

    def _spectra(self, waveform: Tensor) -> Spectra:
        return Spectra(F.pre_emphasize(waveform.float(), self.pre_emphasis))

    def _first_db(self, spectra: Spectra) -> tuple[Tensor, Tensor, Tensor]:
        """The first channel and its range in dB, as `spectrogram_db` returns them."""
        return F.power_to_db(spectra.rows(self._first).unsqueeze(-3), self.top_db)

    def _levels(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Every channel in its own units, `(..., channel, freq, time)`; `spec_min` and `spec_max`, dB, `(..., 2)`."""
        spectra = self._spectra(waveform)
        db, spec_min, spec_max = self._first_db(spectra)
        others = [view.measure(spectra).unsqueeze(-3) for view in self.views.values()]
        return torch.cat([db, *others], dim=-3) if others else db, torch.cat([spec_min, spec_max], dim=-1)

    def _ends(self, spec_range: Tensor) -> tuple[Tensor, Tensor]:
        """Levels of the pixels 0 and 255 of every channel, `(..., channel)` each.

        Args:
            spec_range: `spec_min` and `spec_max`, dB, `(..., 2)`.
        """
        if not self.views:
            return spec_range[..., :1], spec_range[..., 1:]
        others = spec_range.new_tensor([view.ends[:2] for view in self.views.values()]).reshape(-1, 2)
        others = others.expand(*spec_range.shape[:-1], -1, -1)
        low, high = torch.cat([spec_range.unsqueeze(-2), others], dim=-2).unbind(dim=-1)
        return low, high

    def _f_max(self, mel: Mel) -> float:
        """Upper edge of the last mel band, Hz."""
        return self.sample_rate / 2 if mel.f_max is None else mel.f_max

    @property
    def _label(self) -> str:
        """Name of the first channel."""
        if self.mel is not None:
            return "log_mel"
        return "log_magnitude" if self.log_frequency is None else "log_frequency"

    def _mel_filters(self, mel: Mel, window: Tensor, n_fft: int) -> Tensor:
        """Filters for a window and an FFT length, under which levels are those of the first channel's.

        Returns:
            `(height, n_fft // 2 + 1)`.
        """
        bands = (n_fft // 2 + 1, self.height, mel.f_min, self._f_max(mel))
        filters = F.mel_filterbank(*bands, self.sample_rate, mel.norm, mel.mel_scale)
        return filters * (spread(self.window, self.n_fft) / spread(window, n_fft))

    def _log_filters(self, log_frequency: LogFrequency, window: Tensor, n_fft: int) -> Tensor:
        """The same of rows at equal intervals."""
        rows = (self.height, log_frequency.f_min, log_frequency.bins_per_octave)
        return F.log_filterbank(window, n_fft, *rows, self.sample_rate)

    def _warn_of_lost_time(self) -> None:
        """Warn when the columns end before the sound, or long after it."""
        win_length = self.window.numel()
        end = (self.width - 1) * self.hop_length + win_length
        if self.n_samples - end >= self.hop_length:
            seconds = (self.n_samples - end) / self.sample_rate
            warnings.warn(
                f"hop_length {self.hop_length}: {self.width} columns end {seconds:.3f} s before"
                " the sound. Take a longer hop, or null for the one that covers it.",
                NSMWarning,
                stacklevel=3,
            )
        elif end - self.n_samples >= self.hop_length + win_length:
            empty = (end - win_length - self.n_samples) // self.hop_length + 1
            warnings.warn(
                f"hop_length {self.hop_length}: the last {empty} of {self.width} columns lie past the end of the sound "
                "and are empty. Take a shorter hop, a smaller hop_multiple, or fewer columns.",
                NSMWarning,
                stacklevel=3,
            )


class _Tally(TorchFunctionMode):
    """Counts the bytes of every tensor that functions of PyTorch return while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.n_bytes += result.nbytes
        return result


def working_memory(compute: Callable[[Tensor], object], waveform: Tensor) -> int:
    """Bytes a sound of everything that is computed of sounds: more than is ever in memory at once.

    Args:
        compute: Is tried.
        waveform: On such sounds, `(sound, time)`.
    """
    with _Tally() as tally:
        compute(waveform)
    return tally.n_bytes // len(waveform)


def placed(channels: Mapping[str, Channel], grid: Grid) -> dict[str, View]:
    """Views of channels on a grid, by their labels."""
    views: dict[str, View] = {}
    for name, channel in channels.items():
        if not isinstance(channel, Channel):
            raise ConfigError(
                f"channels.{name} is {channel!r}; it must have the _target_ of a channel: docs/channels.md."
            )
        found = channel.views(name, grid)
        if twice := found.keys() & views.keys():
            raise ConfigError(f"channels.{name} is called {', '.join(sorted(twice))}, as a channel before it is.")
        views |= found
        if len(views) > MAX_VIEWS:
            raise ConfigError(f"channels make more than {MAX_VIEWS} views of a sound; leave some out.")
    return views
