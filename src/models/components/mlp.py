"""`MLP`: all pixels into dense layers; without a hidden layer it is linear. A baseline for convolutional networks."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from src.models.components.conditioning import Film, modulate
from src.models.components.network import MultiHead, NetIO, Network


class MLP(Network):
    """Image → all pixels, join the conditioning inputs → hidden layers, if any → heads.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        hidden: Size of each hidden layer; none makes a linear network.
        conditioning: How `aux` joins: `none`, `concat` (beside the pixels) or `film` (the channels of the image, and
            the units of every hidden layer after its norm).
        dropout: Share of the last features that is dropped in training.

    Raises:
        ConfigError: If `conditioning` is unknown.
    """

    def __init__(
        self,
        io: NetIO,
        hidden: Sequence[int] = (),
        conditioning: str = "concat",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(io, conditioning, dropout)
        sizes = [prod(io.input_shape) + self.n_beside, *hidden]
        self.film = Film(self.n_film, [io.input_shape[0], *hidden])
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in hidden)
        self.activation = nn.GELU()
        self.heads = MultiHead(sizes[-1], io.head_sizes)

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`."""
        film_of_image, *others = films
        pixels = modulate(pixels, film_of_image).flatten(1)  # (batch, channel * freq * time)
        features = torch.cat([pixels, beside], dim=1)
        for layer, norm, film in zip(self.layers, self.norms, others, strict=True):
            features = self.activation(modulate(norm(layer(features)), film))  # (batch, size of the layer)
        return features
