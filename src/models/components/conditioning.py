"""How conditioning inputs join a network: beside its features, by modulating its channels, or not at all.

A network gets from `places` how many inputs go either way, standardizes them, and makes a `Film` for the channels that
are modulated. With nothing to modulate by, `Film` has no parameters and `modulate` does nothing, so that the code of a
network is the same for every choice.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.errors import check_choice


def places(conditioning: str, n_aux: int) -> tuple[int, int]:
    """How many conditioning inputs go beside the features, and how many modulate channels.

    Args:
        conditioning: `none`: neither. `concat`: beside the features. `film`: they modulate.
        n_aux: Number of conditioning inputs.

    Raises:
        ConfigError: If `conditioning` is none of these words.
    """
    known = {"none": (0, 0), "concat": (n_aux, 0), "film": (0, n_aux)}
    return known[check_choice("net.conditioning", conditioning, known)]


class Standardize(nn.Module):
    """Conditioning inputs to mean 0 and standard deviation 1, by statistics of the training samples.

    They are buffers, so that a checkpoint carries them.

    Args:
        n_aux: Number of inputs.
        mean: Means, `(n_aux,)`; zeros if None.
        std: Standard deviations, `(n_aux,)`; ones if None.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_aux: int, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", Tensor([0.0] * n_aux if mean is None else list(mean)))
        self.register_buffer("std", Tensor([1.0] * n_aux if std is None else list(std)))

    def forward(self, aux: Tensor) -> Tensor:
        """Standardized inputs, `(batch, n_aux)`."""
        return (aux - self.mean) / self.std


class Film(nn.Module):
    """Feature-wise linear modulation (Perez et al. 2018): a scale and a shift per channel, linear in the inputs.

    Scales and shifts of all stages are one matrix product. They begin as 1 and 0, and have no bias: the norms that they
    follow have one.

    Args:
        n_aux: Number of inputs that modulate; with 0 there are no parameters.
        widths: Number of channels of each stage.
    """

    def __init__(self, n_aux: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.sizes = [2 * width for width in widths]
        self.linear = nn.Linear(n_aux, sum(self.sizes), bias=False) if n_aux else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)

    def forward(self, aux: Tensor) -> Sequence[Tensor | None]:
        """What `modulate` takes, one per stage.

        Args:
            aux: Standardized inputs, `(batch, n_aux)`.

        Returns:
            Scale - 1 and shift of each stage, `(batch, 2 * width)`; None where nothing modulates.
        """
        if self.linear is None:
            return [None] * len(self.sizes)
        return self.linear(aux).split(self.sizes, dim=1)


def modulate(features: Tensor, film: Tensor | None, dim: int = 1) -> Tensor:
    """Scale and shift every channel.

    Args:
        features: Channels in dimension `dim`, `(batch, ..., channel, ...)`.
        film: Scale - 1 and shift, `(batch, 2 * channel)`, or None: the features stay.
        dim: Where the channels are.
    """
    if film is None:
        return features
    shape = [1] * features.dim()
    shape[0], shape[dim] = len(film), features.shape[dim]
    scale, shift = film.chunk(2, dim=1)
    return torch.addcmul(shift.reshape(shape), features, 1 + scale.reshape(shape))
