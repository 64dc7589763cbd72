"""`Network`: what all networks have in common, from the dataset's sizes to the heads."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from src.errors import ConfigError
from src.models.components.conditioning import Film, Standardize, places


@dataclass(frozen=True)
class NetIO:
    """What goes into a network and comes out of it, as the dataset and the loss have it.

    Attributes:
        input_shape: `(channel, freq, time)` of the image.
        head_sizes: Name of each head to its number of outputs.
        n_aux: Number of conditioning inputs.
        aux_mean: Their means over the training samples, `(n_aux,)`; None: zeros, or weights are loaded afterwards.
        aux_std: Their standard deviations, likewise; None: ones.
    """

    input_shape: tuple[int, int, int]
    head_sizes: Mapping[str, int]
    n_aux: int = 0
    aux_mean: Sequence[float] | None = None
    aux_std: Sequence[float] | None = None


def check_stages(**settings: Sequence[Any]) -> None:
    """Refuse settings of stages, name to an entry per stage, of which some have more entries than others."""
    if len({len(entries) for entries in settings.values()}) > 1:
        lengths = ", ".join(f"net.{name} {len(entries)}" for name, entries in settings.items())
        raise ConfigError(f"Each stage takes an entry of every list, but their lengths differ: {lengths}.")


def check_odd(name: str, setting: int | Sequence[int]) -> None:
    """Refuse the size of a kernel, or several, that has no pixel in the middle."""
    if any(size < 1 or size % 2 == 0 for size in np.atleast_1d(setting)):
        raise ConfigError(f"net.{name} is {setting}; it must be odd, so that a kernel is centred on its pixel.")


class Network(nn.Module, ABC):
    """Image and conditioning inputs → features → heads.

    A network makes its layers, among them `film` (a `Film` of `n_film` inputs) and `heads` (a `MultiHead`), and
    computes `features` of an image. One with a hidden layer before its heads, where the conditioning inputs join, calls
    `add_hidden` instead of making `heads`, and `join`.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        conditioning: How `aux` joins: `none`, `concat` or `film`.
        dropout: Share of the last features that is dropped in training.

    Attributes:
        n_beside: How many conditioning inputs go beside the features.
        n_film: How many modulate channels.

    Raises:
        ConfigError: If `conditioning` is unknown.
    """

    film: Film
    heads: nn.Module

    def __init__(self, io: NetIO, conditioning: str, dropout: float) -> None:
        super().__init__()
        self.n_beside, self.n_film = places(conditioning, io.n_aux)
        self.standardize = Standardize(io.n_aux, io.aux_mean, io.aux_std)
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: Tensor, aux: Tensor) -> dict[str, Tensor]:
        """Logits of every head.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            aux: Conditioning inputs, `(batch, n_aux)`.

        Returns:
            Name to logits, `(batch, outputs of the head)`.
        """
        aux = self.standardize(aux)
        pixels = to_signed_unit(self.arrange(image), aux)
        features = self.features(pixels, self.film(aux), aux[:, : self.n_beside])
        return self.heads(self.dropout(features))

    def arrange(self, image: Tensor) -> Tensor:
        """The pixels in the order that `features` expects: bytes are moved faster than floats."""
        return image

    @abstractmethod
    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """Features for the heads, `(batch, n_features)`.

        Args:
            pixels: -1 … 1, `(batch, channel, freq, time)`, or as `arrange` left them.
            films: What `modulate` takes, one per stage.
            beside: Standardized conditioning inputs that go beside the features, `(batch, n_beside)`.
        """

    def add_hidden(self, n_features: int, hidden: int, activation: nn.Module, head_sizes: Mapping[str, int]) -> None:
        """Make the layers after the features: a hidden layer that the conditioning inputs join, and the heads."""
        self.hidden = nn.Linear(n_features + self.n_beside, hidden)
        self.activation = activation
        self.heads = MultiHead(hidden, head_sizes)

    def join(self, features: Tensor, beside: Tensor) -> Tensor:
        """The hidden layer over features, `(batch, n_features)`, and the conditioning inputs beside them."""
        return self.activation(self.hidden(torch.cat([features, beside], dim=1)))


class MultiHead(nn.Module):
    """One linear layer per parameter, computed as a single matrix product: ten heads cost hardly more than one.

    Args:
        n_features: Size of the features.
        head_sizes: Name of each head to its number of outputs.
    """

    def __init__(self, n_features: int, head_sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.names = tuple(head_sizes)
        self.sizes = tuple(head_sizes.values())
        self.linear = nn.Linear(n_features, sum(self.sizes))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Logits of every head.

        Args:
            features: `(batch, n_features)`.

        Returns:
            Name to logits, `(batch, outputs of the head)`.
        """
        logits = self.linear(features).split(self.sizes, dim=-1)
        return dict(zip(self.names, logits, strict=True))


def set_memory_format(module: nn.Module, memory_format: torch.memory_format) -> None:
    """Change the order in which the weights of a module lie in memory."""
    module.to(memory_format=memory_format)  # type: ignore[call-overload]  # documented, and missing in PyTorch's types


def to_signed_unit(image: Tensor, like: Tensor) -> Tensor:
    """Pixels 0 … 255 to -1 … 1, in the floating-point type of `like`, which is that of the network's other input."""
    # In place: above 32 MB, a new tensor costs more in page faults than its arithmetic.
    return image.to(like.dtype, copy=True).mul_(2 / 255).sub_(1)
