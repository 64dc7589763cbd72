"""STFTs for the channels of an image: one per window, all on the rows and columns of the same grid.

`Grid` says what rows and columns are, `Analysis` is an STFT with one window on it, and `Spectra` computes each STFT of
a batch once, whichever channels need it. Where a row holds several bins (a mel band, or a window longer than the grid's
FFT), its value is the mean over these bins weighted by power.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from src.errors import ConfigError
from src.sections import MAX_CELLS, MAX_WINDOW, Window
from src.spectral import functional as F


@dataclass(frozen=True)
class Grid:
    """Rows and columns that all channels of an image share, as the first channel has them.

    Attributes:
        sample_rate: Hz.
        n_samples: Length of the sounds, samples.
        height: Rows.
        width: Columns.
        win_length: Window of the first channel, samples.
        n_fft: FFT length of the first channel, samples.
        window: Name of that window.
        hop_length: Samples from column to column.
        filters: Weights of bins for a window and an FFT length, `(height, n_fft // 2 + 1)`; None: row r is bin r + 1 of
            `n_fft`.
    """

    sample_rate: int
    n_samples: int
    height: int
    width: int
    win_length: int
    n_fft: int
    window: Window
    hop_length: int
    filters: Callable[[Tensor, int], Tensor] | None


class Analysis:
    """An STFT with one window, on the rows and columns of a grid, or with columns of its own.

    A sinusoid in the middle of a row has the same level whatever the window. Where the FFT is longer than the grid's, a
    row is the power of all bins within half a row to both sides.

    Args:
        grid: Rows and columns.
        win_length: Samples.
        window: Any window of `scipy.signal.get_window`.
        hop_length: Samples; None: the grid's, with windows centred where the grid's are.
    """

    def __init__(self, grid: Grid, win_length: int, window: Window, hop_length: int | None = None) -> None:
        if not 1 <= win_length <= grid.n_samples:
            raise ConfigError(
                f"win_length {win_length} of a channel: 1 to the sound's {grid.n_samples} samples are possible."
            )
        self.n_fft = math.ceil(win_length / grid.n_fft) * grid.n_fft
        self.hop_length = hop_length or grid.hop_length
        self.first = 0 if hop_length else (grid.win_length - win_length) // 2
        self.n_frames = (grid.n_samples - win_length) // hop_length + 1 if hop_length else grid.width
        check_stft_size(self.n_fft, max(grid.height, self.n_frames))
        self.window = F.analysis_window(window, win_length)
        self.settings: dict[str, Any] = {"win_length": win_length, "n_fft": self.n_fft, "window": window}
        self.key = (win_length, str(window), hop_length)
        self.height = grid.height
        self.taps = self.scaled(self.window)
        weights = self._weights(grid)
        self.weights = None if weights is None else F.Constants(weights)
        # Position of each sample of the window from the centre of the grid's windows.
        self.position = torch.arange(win_length) + (self.first - grid.win_length / 2)

    def scaled(self, window: Tensor) -> F.Constants:
        """What a frame is multiplied with for a window that is made from this one, scaled as this one."""
        return F.Constants(F.full_scale(window, self.window))

    def spectrum(self, waveform: Tensor, taps: F.Constants) -> Tensor:
        """STFT with a window as `scaled` returns it, `(..., n_fft // 2 + 1, n_frames)`."""
        return F.stft(waveform, taps.on(waveform.device), self.n_fft, self.hop_length, self.n_frames, self.first)

    def rows(self, power: Tensor) -> Tensor:
        """Power of bins, `(..., n_fft // 2 + 1, n_frames)`, to that of rows, `(..., height, n_frames)`."""
        if self.weights is None:
            return power[..., 1 : self.height + 1, :]
        return self.weights.on(power.device) @ power

    def row_deviation(self, moment: Tensor, power: Tensor) -> Tensor:
        """Power times deviation from the bins' centres, in bins, to that from the rows' centres, in rows.

        Args:
            moment: `(..., n_fft // 2 + 1, n_frames)`.
            power: `(..., n_fft // 2 + 1, n_frames)`.

        Returns:
            `(..., height, n_frames)`.
        """
        if self._deviation is None:
            return self.rows(moment)
        per_row, offset = self._deviation
        return per_row.on(power.device) @ moment + offset.on(power.device) @ power

    @cached_property
    def _deviation(self) -> tuple[F.Constants, F.Constants] | None:
        """Weights of moment and of power for `row_deviation`; None where a row is a bin."""
        if self.weights is None:
            return None
        weights = self.weights.on(torch.device("cpu"))
        bins = torch.arange(weights.shape[1], dtype=weights.dtype)
        centre = (weights @ bins) / weights.sum(dim=1)
        spacing = torch.gradient(centre)[0] if self.height > 1 else torch.ones(1)
        per_row = weights / spacing[:, None]
        return F.Constants(per_row), F.Constants(per_row * (bins - centre[:, None]))

    def _weights(self, grid: Grid) -> Tensor | None:
        """Bins to rows, `(height, n_fft // 2 + 1)`; None where a row is a bin."""
        if grid.filters is not None:
            return grid.filters(self.window, self.n_fft)
        n_bins = self.n_fft // grid.n_fft
        if n_bins == 1:
            return None
        row = torch.arange(1, grid.height + 1)[:, None] * n_bins
        distance = (torch.arange(self.n_fft // 2 + 1) - row).abs()
        weights = ((n_bins + 1) / 2 - distance).clamp(0, 1)  # how much of a bin lies within half a row
        return weights / (weights[0] @ self._lobe(n_bins))

    def _lobe(self, centre: int) -> Tensor:
        """Power of a sinusoid of amplitude 1 and of the frequency of a bin, over all bins."""
        lobe = torch.fft.rfft(self.window.double(), self.n_fft).abs().square() / self.window.double().sum().square()
        return lobe[(torch.arange(self.n_fft // 2 + 1) - centre).abs()].float()


def check_stft_size(n_fft: int, longest: int) -> None:
    """Refuse an STFT that takes gigabytes.

    Args:
        n_fft: FFT length, samples.
        longest: Columns or rows, whichever are more.

    Raises:
        ConfigError: If it is too large.
    """
    if n_fft > MAX_WINDOW:
        raise ConfigError(f"n_fft {n_fft} is more than {MAX_WINDOW:,} samples; take a shorter one.")
    if n_fft * longest > MAX_CELLS:
        raise ConfigError(
            f"n_fft {n_fft} for {longest} columns or rows takes gigabytes; their product may be {MAX_CELLS:,} at most."
        )


def spread(window: Tensor, n_fft: int) -> float:
    """Power of a sinusoid of amplitude 1, summed over all bins."""
    return (n_fft * window.double().square().sum() / window.double().sum().square()).item()


class Spectra:
    """STFTs of one batch, each computed once, whichever channels need it.

    Args:
        waveform: `(..., time)`.
    """

    def __init__(self, waveform: Tensor) -> None:
        self.waveform = waveform
        self._known: dict[tuple[Any, ...], Tensor] = {}

    def spectrum(self, analysis: Analysis) -> Tensor:
        """STFT, `(..., n_fft // 2 + 1, n_frames)`."""
        return self._once("spectrum", analysis, lambda: analysis.spectrum(self.waveform, analysis.taps))

    def power(self, analysis: Analysis) -> Tensor:
        """Power of the bins, `(..., n_fft // 2 + 1, n_frames)`."""
        return self._once("power", analysis, lambda: F.power_of(self.spectrum(analysis)))

    def rows(self, analysis: Analysis) -> Tensor:
        """Power of the rows, `(..., height, n_frames)`."""
        return self._once("rows", analysis, lambda: analysis.rows(self.power(analysis)))

    def _once(self, what: str, analysis: Analysis, compute: Callable[[], Tensor]) -> Tensor:
        key = (what, *analysis.key)
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]
