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


class Standardize(nn.Module):
    """Conditioning inputs to mean 0 and standard deviation 1, by statistics of the training samples.

    They are buffers, so that a checkpoint carries them.

    Args:
        n_aux: Number of inputs.
        mean: Means, `(n_aux,)`; zeros if None.
        std: Standard deviations, `(n_aux,)`; ones if None.
    """

    def __init__(self, n_aux: int, mean: list[float] | None = None, std: list[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", Tensor([0.0] * n_aux if mean is None else list(mean)))
        self.register_buffer("std", Tensor([1.0] * n_aux if std is None else list(std)))

    def forward(self, aux: Tensor) -> Tensor:
        """Standardized inputs, `(batch, n_aux)`."""
        return (aux - self.mean) / self.std
