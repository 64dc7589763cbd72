"""Heads: one answer per parameter."""

from collections.abc import Mapping

from torch import Tensor, nn


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
