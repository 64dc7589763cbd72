"""Losses. A loss decides how many outputs a head has, what they mean, and how they are read.

All are called alike: `loss(logits, normalized, index, spec)` for one head.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.params import ParamSpec


class Prediction(NamedTuple):
    """What a head says.

    Attributes:
        index: Class on the JND grid, int64, `(batch,)`.
        normalized: Position in the parameter's range, `(batch,)`.
    """

    index: Tensor
    normalized: Tensor


class HeadLoss(nn.Module):
    """What every loss can do."""

    def head_size(self, spec: ParamSpec) -> int:
        """Number of outputs that a head for this parameter needs."""
        raise NotImplementedError

    def forward(self, logits: Tensor, normalized: Tensor, index: Tensor, spec: ParamSpec) -> Tensor:
        """Mean loss of a batch, a scalar.

        Args:
            logits: Output of the head, `(batch, head_size)`.
            normalized: True position in the range, `(batch,)`.
            index: True class, int64, `(batch,)`.
            spec: The parameter.
        """
        raise NotImplementedError

    def predict(self, logits: Tensor, spec: ParamSpec) -> Prediction:
        """Read the outputs of a head, `(batch, head_size)`."""
        raise NotImplementedError


class CrossEntropy(HeadLoss):
    """One class per JND step; the value is the expectation over the classes.

    Args:
        label_smoothing: Share of the target that is spread over all classes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def head_size(self, spec: ParamSpec) -> int:
        """One output per class."""
        return spec.n_classes

    def forward(self, logits: Tensor, normalized: Tensor, index: Tensor, spec: ParamSpec) -> Tensor:
        """Negative log likelihood of the true class."""
        return F.cross_entropy(logits, index, label_smoothing=self.label_smoothing)

    def predict(self, logits: Tensor, spec: ParamSpec) -> Prediction:
        """The most likely class, and the expected value."""
        grid = spec.normalized_from_index(torch.arange(spec.n_classes, device=logits.device, dtype=logits.dtype))
        expected = logits.softmax(dim=-1) @ grid
        return Prediction(logits.argmax(dim=-1), expected.clamp(0.0, 1.0))


class SoftTarget(CrossEntropy):
    """Cross entropy against a Gaussian on the JND grid, centred on the exact value: near misses cost less.

    Args:
        sigma: Standard deviation of the Gaussian, JND steps.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, logits: Tensor, normalized: Tensor, index: Tensor, spec: ParamSpec) -> Tensor:
        """Cross entropy between the Gaussian and the predicted distribution."""
        grid = torch.arange(spec.n_classes, device=logits.device, dtype=logits.dtype)
        steps = normalized.unsqueeze(-1) * (spec.range / spec.step)  # (batch, 1)
        target = (-0.5 * ((grid - steps) / self.sigma) ** 2).softmax(dim=-1)  # (batch, class)
        return F.cross_entropy(logits, target)


class Regression(HeadLoss):
    """One output per head: the position in the range, bounded by a sigmoid.

    The error is measured in JND steps: what cannot be heard weighs little, whatever the parameter's range and units.

    Args:
        delta: Where Huber's loss turns from square to linear, JND steps.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def head_size(self, spec: ParamSpec) -> int:
        """One output."""
        return 1

    def forward(self, logits: Tensor, normalized: Tensor, index: Tensor, spec: ParamSpec) -> Tensor:
        """Huber loss of the error in JND steps."""
        steps = spec.range / spec.step
        return F.huber_loss(logits.squeeze(-1).sigmoid() * steps, normalized * steps, delta=self.delta)

    def predict(self, logits: Tensor, spec: ParamSpec) -> Prediction:
        """The bounded mean, and the class that a reader of its code would find."""
        normalized = logits.squeeze(-1).sigmoid()
        return Prediction(spec.index_from_normalized(normalized).long(), normalized)
