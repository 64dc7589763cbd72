"""Spectrograms of sounds of any length, for pictures of whole recordings."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from src.spectral import functional as F
from src.spectral.representation import SpectralRepresentation

AT_ONCE = 4096  # windows that are transformed together


class LongSpectrogram(NamedTuple):
    """A spectrogram of a whole recording.

    Attributes:
        db: dB full scale, `(freq, column)`.
        ends: Where the first column begins and the last one ends, s.
    """

    db: Tensor
    ends: tuple[float, float]


def overview(representation: SpectralRepresentation, waveform: Tensor, most_columns: int) -> LongSpectrogram:
    """A spectrogram with the windows and the rows of a representation, as fine as a number of columns shows.

    Windows overlap by half. Where there are more of them than columns, a column is the mean power of several.

    Args:
        representation: Whose rows it has, for sounds of one length.
        waveform: Of any length, `(time,)`.
        most_columns: At most so many.
    """
    window, n_fft = representation.window, representation.n_fft
    hop_length = max(1, window.numel() // 2)
    n_windows = max(1, math.ceil((waveform.numel() - window.numel()) / hop_length) + 1)
    per_column = math.ceil(n_windows / most_columns)
    n_columns = math.ceil(n_windows / per_column)
    sound, weights = F.pre_emphasize(waveform.float(), representation.pre_emphasis), F.full_scale(window, window)
    columns = []
    for first in range(0, n_columns, step := max(1, AT_ONCE // per_column)):
        n_frames = min(step, n_columns - first) * per_column
        begin = first * per_column * hop_length
        part = sound[begin : begin + (n_frames - 1) * hop_length + n_fft]
        power = F.power_of(F.stft(part, weights, n_fft, hop_length, n_frames))  # (bin, window)
        rows = (
            power[1 : representation.height + 1] if representation.filters is None else representation.filters @ power
        )
        columns.append(rows.unflatten(1, (-1, per_column)).mean(dim=2))
    db, _, _ = F.power_to_db(torch.cat(columns, dim=1), representation.top_db)
    middle = (window.numel() + (per_column - 1) * hop_length) / 2  # of the first column
    width = per_column * hop_length
    ends = (middle - width / 2, middle - width / 2 + n_columns * width)
    return LongSpectrogram(db, (ends[0] / representation.sample_rate, ends[1] / representation.sample_rate))
