"""`HarmonicCNN`: a network over rows at equal musical intervals, whose weights are shared by all pitches."""

import functools
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import ConfigError, check_number
from src.models.components.conditioning import Film, modulate
from src.models.components.network import MultiHead, NetIO, Network, check_odd


class HarmonicCNN(Network):
    """Spectrogram at equal intervals → convolutions → mean over time → harmonics of each candidate → a logit each.

    A pitch shift moves the picture by rows and leaves the distances of harmonics as they are. So the evidence for a
    candidate pitch is gathered by shifts of the picture, one for each harmonic (harmonic constant-Q transform: Bittner
    et al., "Deep salience representations for f0 estimation in polyphonic music", ISMIR 2017), and the map from it to
    the candidate's logit is the same for all of them (a Toeplitz layer: Riou et al., "PESTO", ISMIR 2023). A pitch that
    was not trained on is read like the others.

    The head of `pitch` has a class for every candidate, in steps of a row, which begin at `first_row`. Other heads read
    by a hidden layer the mean and the greatest of the candidates' features, and the picture's envelopes in time. Where
    no head is the pitch, every row is a candidate.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        bins_per_octave: Of the image's rows.
        first_row: Row of the first candidate's fundamental.
        widths: Channels of each convolution of the picture. Each halves the time.
        width: Channels of a candidate.
        depth: Convolutions over the candidates, each of which adds to what it is given.
        harmonics: Multiples of the candidate's frequency at which the picture is looked at, parts of it as well.
        pitch: Name of the head, if there is one.
        kernel_size: Rows of all convolutions, odd.
        conditioning: How `aux` joins: `none`, `concat` (beside the features of other heads) or `film`.
        dropout: Share of the hidden units that is dropped in training.
        hidden: Units of the layer before the other heads; the pitch needs none.

    Raises:
        ConfigError: If the candidates do not lie in the picture, or a setting makes no sense.
    """

    rows: Tensor

    def __init__(
        self,
        io: NetIO,
        bins_per_octave: int,
        first_row: int,
        widths: Sequence[int],
        width: int,
        depth: int = 1,
        harmonics: Sequence[float] = (0.5, 1, 2, 3, 4, 5, 6, 7, 8),
        pitch: str = "note_number",
        kernel_size: int = 3,
        conditioning: str = "none",
        dropout: float = 0.0,
        hidden: int = 32,
    ) -> None:
        super().__init__(io, conditioning, 0.0)
        n_channels, n_rows, n_frames = io.input_shape
        check_odd("kernel_size", kernel_size)
        n_candidates = io.head_sizes.get(pitch, 0)
        if not 0 <= first_row <= n_rows - n_candidates and n_candidates:
            raise ConfigError(
                f"The head {pitch} has {n_candidates} classes from row {first_row} (net.first_row) on, but the image "
                f"has {n_rows} rows. Its classes must be a row apart; give the row of the first."
            )
        if not n_candidates:
            first_row, n_candidates = 0, n_rows
        self.stages = nn.ModuleList()
        for n_out in widths:
            self.stages.append(TimeHalving(n_channels, n_out, kernel_size))
            n_channels = n_out
        self.film = Film(self.n_film, widths)
        self.register_buffer(
            "rows", harmonic_rows(n_rows, bins_per_octave, first_row, n_candidates, harmonics, kernel_size // 2), False
        )
        self.gather = nn.Conv1d(n_channels * len(harmonics), width, kernel_size, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.candidates = nn.ModuleList(Residual(width, kernel_size) for _ in range(depth))
        self.salience = nn.Conv1d(width, 1, 1) if pitch in io.head_sizes else None
        self.heads = (
            PitchHeads(io.head_sizes, pitch, hidden) if pitch in io.head_sizes else MultiHead(hidden, io.head_sizes)
        )
        has_others = len(io.head_sizes) > (pitch in io.head_sizes)
        n_times = functools.reduce(lambda n, _: -(-n // 2), widths, n_frames)
        n_pooled = 2 * width + n_channels * n_times + self.n_beside
        self.before_others = nn.Linear(n_pooled, hidden) if has_others else None
        self.drop = nn.Dropout(dropout)

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`: the candidates' logits, then the features of other heads."""
        features = standardized(pixels)
        for stage, film in zip(self.stages, films, strict=True):
            features = stage(features, film)  # (batch, width, row, time / 2)
        picture = F.pad(features.mean(dim=-1), (0, 1))  # the row after the last is empty
        stacked = picture[:, :, self.rows].flatten(1, 2)  # (batch, width * harmonic, candidate)
        candidates = F.silu(self.norm(self.gather(stacked)))
        for block in self.candidates:
            candidates = block(candidates)
        logits = [] if self.salience is None else [self.salience(candidates).squeeze(1)]
        if self.before_others is None:
            return logits[0]
        envelopes = features.mean(dim=2).flatten(1)  # (batch, width * time)
        pooled = torch.cat([candidates.mean(dim=-1), candidates.amax(dim=-1), envelopes, beside], dim=1)
        return torch.cat([*logits, self.drop(F.silu(self.before_others(pooled)))], dim=1)


class TimeHalving(nn.Module):
    """Convolution with a stride of 2 in time, batch norm and SiLU.

    Args:
        n_in: Channels that come in.
        n_out: Channels that go out.
        kernel_size: Rows; columns are 3.
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            n_in, n_out, (kernel_size, 3), stride=(1, 2), padding=(kernel_size // 2, 1), bias=False
        )
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, features: Tensor, film: Tensor | None) -> Tensor:
        """`(batch, n_in, row, time)` to `(batch, n_out, row, time / 2)`."""
        return F.silu(modulate(self.norm(self.convolution(features)), film))


class Residual(nn.Module):
    """Convolution over candidates, batch norm and SiLU, added to what it is given.

    Args:
        width: Channels.
        kernel_size: Candidates.
    """

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, width, candidate)` to the same."""
        return features + F.silu(self.norm(self.convolution(features)))


class PitchHeads(nn.Module):
    """Takes the logits of the pitch as they are, and reads the other heads from the features after them.

    Args:
        head_sizes: Name of each head to its number of outputs.
        pitch: The head whose logits come first.
        n_features: Size of the features after them.
    """

    def __init__(self, head_sizes: Mapping[str, int], pitch: str, n_features: int) -> None:
        super().__init__()
        self.names, self.sizes = tuple(head_sizes), tuple(head_sizes.values())
        self.pitch, self.n_logits = pitch, head_sizes[pitch]
        others = {name: size for name, size in head_sizes.items() if name != pitch}
        self.others = MultiHead(n_features, others) if others else None

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Logits of every head, from `(batch, logit and feature)`."""
        logits = {self.pitch: features[:, : self.n_logits]}
        if self.others is not None:
            logits |= self.others(features[:, self.n_logits :])
        return {name: logits[name] for name in self.names}


def standardized(pixels: Tensor) -> Tensor:
    """Images with mean 0 and standard deviation 1, `(batch, channel, row, time)`, whatever their gain and floor."""
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return (pixels - mean) / (pixels - mean).square().mean(dim=(2, 3), keepdim=True).sqrt().clamp(min=1e-3)


def harmonic_rows(
    n_rows: int, bins_per_octave: int, first_row: int, n_candidates: int, harmonics: Sequence[float], margin: int
) -> Tensor:
    """Row of every harmonic of every candidate, and of `margin` more candidates to both sides.

    Args:
        n_rows: Rows of the picture; harmonics outside of it get the row after the last.
        bins_per_octave: Rows to the octave.
        first_row: Row of the first candidate.
        n_candidates: How many there are, a row apart.
        harmonics: Multiples of a frequency, above 0.
        margin: Candidates more at either end.

    Returns:
        int64, `(harmonic, n_candidates + 2 * margin)`.
    """
    for multiple in harmonics:
        check_number("net.harmonics", multiple, above=0)
    shifts = torch.tensor([round(bins_per_octave * math.log2(multiple)) for multiple in harmonics])
    rows = first_row - margin + torch.arange(n_candidates + 2 * margin) + shifts[:, None]
    return torch.where((rows < 0) | (rows >= n_rows), n_rows, rows)
