"""TODO."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.params import ParamSpec

LOW = -3e4  # logit of a class that a head does not have: its probability is 0 in every precision, and 0 times it is 0
UNIFORM = 1 / math.sqrt(12)  # standard deviation of a uniform distribution over 1
NARROW = 0.3  # JND steps: Gaussians below that are one class, wherever within it their centre is
CENTRES = 8  # per JND step, at which a Gaussian is looked for


class Prediction(NamedTuple):
    """What one head says, `(batch,)`, or what all say, `(batch, head)`.

    Attributes:
        index: Class on the JND grid, int64.
        normalized: Position in the parameter's range.
        std: Standard deviation of that position, JND steps.
    """

    index: Tensor
    normalized: Tensor
    std: Tensor


class ParamTensors(nn.Module):
    """What losses need to know of the parameters, as tensors with an entry per head.

    Args:
        parameters: What the heads predict, in their order.
    """

    def __init__(self, parameters: Sequence[ParamSpec]) -> None:
        super().__init__()
        n_classes = [spec.n_classes for spec in parameters]
        self.n_missing = [max(n_classes) - n for n in n_classes]
        self.any_categorical = any(spec.names for spec in parameters)
        classes = torch.arange(max(n_classes), dtype=torch.float32)
        missing = classes >= torch.tensor(n_classes)[:, None]
        steps = torch.tensor([spec.range / spec.step for spec in parameters])
        self.register_buffer("steps", steps, persistent=False)  # (head,): the range in JND steps
        self.register_buffer("log_spread", torch.log(steps * UNIFORM), persistent=False)
        self.register_buffer("n_classes", torch.tensor(n_classes, dtype=torch.float32), persistent=False)
        self.register_buffer("classes", classes, persistent=False)  # (class,)
        self.register_buffer("low", torch.where(missing, LOW, 0.0), persistent=False)  # (head, class)
        categorical = torch.tensor([bool(spec.names) for spec in parameters])
        self.register_buffer("categorical", categorical, persistent=False)

    def pad(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits of all heads with as many classes each, `(batch, head, class)`."""
        batch, parts = len(logits[0]), []
        for head, (of_head, n_missing) in enumerate(zip(logits, self.n_missing, strict=True)):
            parts.append(of_head)
            if n_missing:
                parts.append(self.low[head, -n_missing:].expand(batch, -1))
        return in_full(torch.cat(parts, dim=1)).view(batch, len(logits), -1)

    def class_of(self, normalized: Tensor) -> Tensor:
        """`ParamSpec.index_from_normalized` of every head: positions to classes, int64, `(batch, head)`."""
        code = (normalized * 255).round()
        return (code / 255 * self.steps).round().clamp(min=0).minimum(self.n_classes - 1).long()


class ClassDecoder(nn.Module):
    """Reads the most likely class, the expected value, and the standard deviation about it.

    To the variance over the classes comes that of rounding to classes: a network that is sure of a class knows the
    value to 0.29 steps. Classes without order have no value in between: theirs is that of the most likely one.

    Args:
        heads: The parameters.
    """

    def __init__(self, heads: ParamTensors) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, logits: Sequence[Tensor]) -> Prediction:
        """What all heads say, from the outputs of each."""
        return self.read(self.heads.pad(logits))

    def read(self, logits: Tensor) -> Prediction:
        """The same from padded logits, `(batch, head, class)`."""
        classes = self.heads.classes
        probability = logits.softmax(dim=-1)
        index = logits.argmax(dim=-1)  # (batch, head)
        centre = (probability * classes).sum(dim=-1)
        if self.heads.any_categorical:
            centre = torch.where(self.heads.categorical, index.to(centre.dtype), centre)
        variance = (probability * (classes - centre.unsqueeze(-1)) ** 2).sum(dim=-1)
        return Prediction(index, (centre / self.heads.steps).clamp(0.0, 1.0), (variance + UNIFORM**2).sqrt())


class GaussianDecoder(ClassDecoder):
    """Reads the value whose Gaussian this is, its class or the most likely one, and the deviation over the classes.

    Args:
        heads: The parameters.
        sigma: Standard deviation of the Gaussians, JND steps.
    """

    def __init__(self, heads: ParamTensors, sigma: float) -> None:
        super().__init__(heads)
        self.widest = (1.1 * sigma) ** 2 + UNIFORM**2
        n_points = (CENTRES * heads.steps).round().long() + 1  # (head,)
        points = torch.arange(int(n_points.max()), device=n_points.device)
        centres = (points / (n_points - 1).unsqueeze(1)).clamp(max=1.0)  # (head, point): positions in the range
        distance = heads.classes - (centres * heads.steps.unsqueeze(1)).unsqueeze(-1)  # (head, point, class)
        gaussians = (heads.low.unsqueeze(1) - 0.5 * (distance / sigma) ** 2).softmax(dim=-1)
        medians = median(gaussians).masked_fill(points >= n_points.unsqueeze(1), math.inf)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("medians", medians, persistent=False)
        self.register_buffer("last", n_points - 1, persistent=False)

    def read(self, logits: Tensor) -> Prediction:
        """What all heads say, from padded logits, `(batch, head, class)`."""
        plain = super().read(logits)
        at = median(logits.softmax(dim=-1))
        # In a network of half precision the tables are, too.
        value = interpolate(at, self.medians.to(at.dtype), self.centres.to(at.dtype), self.last)
        index = torch.where(plain.std**2 < self.widest, self.heads.class_of(value), plain.index)
        if not self.heads.any_categorical:
            return Prediction(index, value, plain.std)
        no_order = self.heads.categorical
        return Prediction(
            torch.where(no_order, plain.index, index), torch.where(no_order, plain.normalized, value), plain.std
        )


class RegressionDecoder(nn.Module):
    """Reads the bounded mean, the class that a reader of its code would find, and a spread of one step for all.

    Args:
        heads: The parameters.
    """

    def __init__(self, heads: ParamTensors) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, logits: Sequence[Tensor]) -> Prediction:
        """What all heads say, from the output of each, `(batch, 1)`."""
        normalized = in_full(torch.cat(list(logits), dim=1)).sigmoid()  # (batch, head)
        return Prediction(self.heads.class_of(normalized), normalized, torch.ones_like(normalized))


class MeanStdDecoder(nn.Module):
    """Reads the bounded mean, the class that a reader of its code would find, and the standard deviation.

    Args:
        heads: The parameters.
        bounded: Bounds the logarithm of the standard deviation over that of a uniform distribution.
    """

    def __init__(self, heads: ParamTensors, bounded: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.heads = heads
        self.bounded = bounded

    def forward(self, logits: Sequence[Tensor]) -> Prediction:
        """What all heads say, from the outputs of each, `(batch, 2)`."""
        mean, log_std = in_full(torch.stack(list(logits), dim=1)).unbind(dim=-1)  # (batch, head) each
        normalized = mean.sigmoid()
        std = torch.exp(self.bounded(log_std) + self.heads.log_spread)
        return Prediction(self.heads.class_of(normalized), normalized, std)


def in_full(logits: Tensor) -> Tensor:
    """Half precision to float32: a grid of classes needs more than its 8 bits.

    For the same reason expected values are sums of products here: autocast makes half-precision numbers of `@`.
    """
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def median(probability: Tensor) -> Tensor:
    """Median of distributions over classes that are a step wide each, JND steps, `(...)`.

    Args:
        probability: Of each class, `(..., class)`.
    """
    total = probability.cumsum(dim=-1)
    middle = (total < 0.5).sum(dim=-1, keepdim=True).clamp(max=probability.shape[-1] - 1)
    share = probability.gather(-1, middle)
    below = total.gather(-1, middle) - share
    return (middle - 0.5 + ((0.5 - below) / share).clamp(0.0, 1.0)).squeeze(-1)


def interpolate(at: Tensor, x: Tensor, y: Tensor, last: Tensor) -> Tensor:
    """Linear interpolation for every head, constant beyond the ends, in operations that every runtime knows.

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
