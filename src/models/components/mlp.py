"""`MLP`: all pixels into dense layers; without a hidden layer it is linear. What a convolution has to beat."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from src.models.components.conditioning import Film, modulate
from src.models.components.heads import MultiHead
from src.models.components.network import Network


class MLP(Network):
    """Image → all pixels, join the conditioning inputs → hidden layers, if any → heads.

    Args:
        input_shape: `(channel, freq, time)` of the image.
        head_sizes: Name of each head to its number of outputs.
        hidden: Size of each hidden layer; none makes a linear network.
        n_aux: Number of conditioning inputs.
        aux_mean: Their means over the training samples.
        aux_std: Their standard deviations.
        conditioning: How they join: `none`, `concat` (beside the pixels) or `film` (the channels of the image, and
            the units of every hidden layer after its norm).
        dropout: Share of the last features that is dropped in training.

    Raises:
        ConfigError: If `conditioning` is unknown.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        head_sizes: Mapping[str, int],
        hidden: Sequence[int] = (),
        n_aux: int = 0,
        aux_mean: list[float] | None = None,
        aux_std: list[float] | None = None,
        conditioning: str = "concat",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(n_aux, aux_mean, aux_std, conditioning, dropout)
        sizes = [prod(input_shape) + self.n_beside, *hidden]
        self.film = Film(self.n_film, [input_shape[0], *hidden])
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in hidden)
        self.activation = nn.GELU()
        self.heads = MultiHead(sizes[-1], head_sizes)

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`."""
        film_of_image, *others = films
        pixels = modulate(pixels, film_of_image).flatten(1)  # (batch, channel * freq * time)
        features = torch.cat([pixels, beside], dim=1)
        for layer, norm, film in zip(self.layers, self.norms, others, strict=True):
            features = self.activation(modulate(norm(layer(features)), film))  # (batch, size of the layer)
        return features
