"""`Network`: what all networks have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.models.components.conditioning import Standardize, places
from src.models.components.inputs import to_signed_unit


class Network(nn.Module, ABC):
    """Image and conditioning inputs → features → heads.

    A network makes its layers, among them `film` (a `Film` of `n_film` inputs) and `heads` (a `MultiHead`), and says in
    `features` what it makes of an image. One that joins the inputs before a hidden layer also makes `hidden` (of
    `n_beside` inputs more than it has features) and `activation`, and calls `join`.

    Args:
        n_aux: Number of conditioning inputs.
        aux_mean: Their means over the training samples.
        aux_std: Their standard deviations.
        conditioning: How they join: `none`, `concat` or `film`.
        dropout: Share of the last features that is dropped in training.

    Attributes:
        n_beside: How many conditioning inputs go beside the features.
        n_film: How many modulate channels.

    Raises:
        ConfigError: If `conditioning` is unknown.
    """

    def __init__(
        self,
        n_aux: int,
        aux_mean: list[float] | None,
        aux_std: list[float] | None,
        conditioning: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.n_beside, self.n_film = places(conditioning, n_aux)
        self.standardize = Standardize(n_aux, aux_mean, aux_std)
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
        """The pixels in the order in which `features` wants them: bytes are moved faster than floats."""
        return image

    @abstractmethod
    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """What the heads are given, `(batch, n_features)`.

        Args:
            pixels: -1 … 1, `(batch, channel, freq, time)`, or as `arrange` left them.
            films: What `modulate` takes, one per stage.
            beside: Standardized conditioning inputs that go beside the features, `(batch, n_beside)`.
        """

    def join(self, features: Tensor, beside: Tensor) -> Tensor:
        """The hidden layer over features, `(batch, n_features)`, and the conditioning inputs beside them."""
        return self.activation(self.hidden(torch.cat([features, beside], dim=1)))
