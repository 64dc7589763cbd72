"""Decoders. A decoder makes predictions of the outputs of the heads: class, position in the range, standard deviation.

Each is given the outputs of every head, `(batch, head_size)`, and returns one `Prediction` of all heads. Which decoder
belongs to a loss, the loss says (`HeadLoss.decoder`). The operations are those that ONNX has.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.param_tensors import UNIFORM, ParamTensors, in_full

NARROW = 0.3  # grid steps: a Gaussian narrower than that lies in one class, wherever in it the centre is
LIMIT = 8.0  # standard deviations are 0.03 % to 3,000 times that of a uniform distribution
CENTRES = 8  # of tabulated Gaussians in a grid step


class Prediction(NamedTuple):
    """What one head predicts, `(batch,)`, or all heads, `(batch, head)`.

    Attributes:
        index: Class on the grid, int64.
        normalized: Position in the parameter's range.
        std: Standard deviation of that position, grid steps.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    normalized: Tensor
    std: Tensor


class Decoder(nn.Module):
    """What all decoders share.

    Args:
        heads: The parameters.
    """

    def __init__(self, heads: ParamTensors) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, logits: Sequence[Tensor]) -> Prediction:
        """Prediction of all heads from the outputs of each, `(batch, head_size)`."""
        raise NotImplementedError


class ClassDecoder(Decoder):
    """The most likely class, the expected value, and the standard deviation about it.

    The variance of rounding to classes is added to that over the classes: a network that is certain of a class
    has a standard deviation of 0.29 grid steps. Where classes have no order, the value is that of the most likely one.
    """

    def forward(self, logits: Sequence[Tensor]) -> Prediction:
        """Prediction of all heads from the outputs of each, `(batch, head_size)`."""
        return self.decode(self.heads.pad(logits))

    def decode(self, logits: Tensor) -> Prediction:
        """The same from padded logits, `(batch, head, class)`."""
        classes = self.heads.classes
        probability = logits.softmax(dim=-1)
        index = logits.argmax(dim=-1)  # (batch, head)
        centre = (probability * classes).sum(dim=-1)
        if self.heads.any_categorical:
            centre = torch.where(self.heads.categorical, index.to(centre.dtype), centre)
        variance = (probability * (classes - centre.unsqueeze(-1)) ** 2).sum(dim=-1)
        return Prediction(index, (centre / self.heads.n_steps).clamp(0.0, 1.0), (variance + UNIFORM**2).sqrt())


class GaussianDecoder(ClassDecoder):
    """The value whose Gaussian has the same median, its class or the most likely one, and the deviation over classes.

    Args:
        heads: The parameters.
        sigma: Standard deviation of the Gaussians, grid steps.
    """

    centres: Tensor
    medians: Tensor
    last: Tensor

    def __init__(self, heads: ParamTensors, sigma: float) -> None:
        super().__init__(heads)
        self.widest = (1.1 * sigma) ** 2 + UNIFORM**2
        n_points = (CENTRES * heads.n_steps).round().long() + 1  # (head,)
        points = torch.arange(int(n_points.max()), device=n_points.device)
        centres = (points / (n_points - 1).unsqueeze(1)).clamp(max=1.0)  # (head, point): positions in the range
        distance = heads.classes - (centres * heads.n_steps.unsqueeze(1)).unsqueeze(-1)  # (head, point, class)
        gaussians = (heads.mask.unsqueeze(1) - 0.5 * (distance / sigma) ** 2).softmax(dim=-1)
        medians = median(gaussians).masked_fill(points >= n_points.unsqueeze(1), math.inf)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("medians", medians, persistent=False)
        self.register_buffer("last", n_points - 1, persistent=False)

    def decode(self, logits: Tensor) -> Prediction:
        """The same from padded logits, `(batch, head, class)`."""
        plain = super().decode(logits)
        at = median(logits.softmax(dim=-1))
        # In a network of half precision the tables are, too.
        value = interpolate(at, self.medians.to(at.dtype), self.centres.to(at.dtype), self.last)
        index = torch.where(plain.std**2 < self.widest, self.heads.index_from_normalized(value), plain.index)
        if self.heads.any_categorical:
            index = torch.where(self.heads.categorical, plain.index, index)
            value = torch.where(self.heads.categorical, plain.normalized, value)
        return Prediction(index, value, plain.std)


class RegressionDecoder(Decoder):
    """The bounded mean, its class by way of the code, and a standard deviation of one grid step for all."""

    def forward(self, logits: Sequence[Tensor]) -> Prediction:
        """Prediction of all heads from the output of each, `(batch, 1)`."""
        normalized = in_full(torch.cat(list(logits), dim=1)).sigmoid()  # (batch, head)
        return Prediction(self.heads.index_from_normalized(normalized), normalized, torch.ones_like(normalized))


class MeanStdDecoder(Decoder):
    """The bounded mean, its class by way of the code, and the standard deviation."""

    def forward(self, logits: Sequence[Tensor]) -> Prediction:
        """Prediction of all heads from the outputs of each, `(batch, 2)`."""
        normalized, log_std = mean_and_log_std(logits, self.heads)
        return Prediction(self.heads.index_from_normalized(normalized), normalized, torch.exp(log_std))


def mean_and_log_std(logits: Sequence[Tensor], heads: ParamTensors) -> tuple[Tensor, Tensor]:
    """Position in the range, and logarithm of its standard deviation in grid steps, `(batch, head)` each.

    The position is bounded by a sigmoid. The logarithm is bounded by a hyperbolic tangent to `LIMIT` around that of a
    uniform distribution over the range, which is right for a network that has learnt nothing.

    Args:
        logits: Outputs of each head, `(batch, 2)`.
        heads: The parameters.
    """
    mean, log_std = in_full(torch.stack(list(logits), dim=1)).unbind(dim=-1)  # (batch, head) each
    return mean.sigmoid(), LIMIT * torch.tanh(log_std / LIMIT) + heads.log_spread


def median(probability: Tensor) -> Tensor:
    """Median of distributions over classes that are a grid step wide each, grid steps, `(...)`.

    Args:
        probability: Of each class, `(..., class)`.
    """
    total = probability.cumsum(dim=-1)
    middle = (total < 0.5).sum(dim=-1, keepdim=True).clamp(max=probability.shape[-1] - 1)
    share = probability.gather(-1, middle)
    below = total.gather(-1, middle) - share
    return (middle - 0.5 + ((0.5 - below) / share).clamp(0.0, 1.0)).squeeze(-1)


def interpolate(at: Tensor, x: Tensor, y: Tensor, last: Tensor) -> Tensor:
    """Linear interpolation for every head, constant beyond the ends, in operations that every runtime supports.

    Args:
        at: Where, `(batch, head)`.
        x: Rising up to the last point of a head, infinite after it, `(head, point)`.
        y: Its values, `(head, point)`.
        last: Number of the last point, `(head,)`.

    Returns:
        Values, `(batch, head)`.
    """
    right = (at.unsqueeze(-1) > x).sum(dim=-1).clamp(min=1).minimum(last)
    right = right + x.shape[1] * torch.arange(len(x), device=at.device)  # in the tables as one row
    x_right, x_left = x.flatten()[right], x.flatten()[right - 1]
    share = ((at - x_left) / (x_right - x_left).clamp(min=torch.finfo(x.dtype).tiny)).clamp(0.0, 1.0)
    return torch.lerp(y.flatten()[right - 1], y.flatten()[right], share)
