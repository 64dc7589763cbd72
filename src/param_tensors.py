"""`ParamTensors`: a dataset's parameters as tensors, for losses, decoders, metrics and batches."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from src.params import MAX_CODE, Condition, Conversions, ParameterSpace, ParamSpec

NO_CLASS = -3e4  # logit of a class that a head does not have: probability 0 in every precision, and 0 times it is 0
UNIFORM = 1 / math.sqrt(12)  # standard deviation of a uniform distribution over 1


class ParamTensors(Conversions[Tensor], nn.Module):
    """A `ParameterSpace` as tensors: as `Conversions` it takes and returns tensors `(batch, head)`.

    All of them are buffers, float32 unless stated otherwise, and none is in the state dict.

    Args:
        parameters: What the heads predict, in their order.

    Attributes:
        names: Of the heads.
        low: Lowest values, `(head,)`.
        range: Distances from the lowest to the highest values, `(head,)`.
        step: Grid steps, `(head,)`.
        n_classes: Numbers of classes, `(head,)`.
        n_steps: Ranges in grid steps, `(head,)`.
        log_spread: Logarithm of the standard deviation of a uniform distribution over the range, grid steps, `(head,)`.
        classes: 0 … the most classes - 1, `(class,)`.
        mask: What is added to logits: 0, and `NO_CLASS` where a head has fewer classes, `(head, class)`.
        categorical: Whether the classes of a head have no order, bool, `(head,)`.
        any_categorical: Whether those of any have none.
        discrete: 1 where only the points of the grid are possible, else 0, `(head,)`.
        log: 1 where values are base-10 logarithms, else 0, `(head,)`.
        pairs: Head that does not always act and head that it depends on, for each of `conditions`.
        allowed: Tables of classes of `conditions`, bool, `(condition, class)`.
    """

    n_steps: Tensor
    log_spread: Tensor
    classes: Tensor
    mask: Tensor
    categorical: Tensor
    allowed: Tensor

    def __init__(self, parameters: Sequence[ParamSpec]) -> None:
        super().__init__()
        space = ParameterSpace(tuple(parameters))
        n_steps = torch.from_numpy(space.range / space.step).float()
        classes = torch.arange(space.n_classes.max(), dtype=torch.float32)
        missing = classes >= torch.from_numpy(space.n_classes)[:, None]
        tensors = {
            "low": torch.from_numpy(space.low).float(),
            "range": torch.from_numpy(space.range).float(),
            "step": torch.from_numpy(space.step).float(),
            "n_classes": torch.from_numpy(space.n_classes).float(),
            "n_steps": n_steps,
            "log_spread": torch.log(n_steps * UNIFORM),
            "classes": classes,
            "mask": torch.where(missing, NO_CLASS, 0.0),
            "categorical": torch.from_numpy(space.categorical),
            "discrete": torch.from_numpy(space.discrete).float(),
            "log": torch.from_numpy(space.log).float(),
            "allowed": torch.zeros(len(space.conditions), len(classes), dtype=torch.bool),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)
        self.names = tuple(spec.name for spec in parameters)
        self.any_categorical = bool(space.categorical.any())
        self.any_discrete, self.any_log = space.any_discrete, space.any_log
        self.pairs = [(parameter, other) for parameter, other, _ in space.conditions]
        for row, (_, _, allowed) in zip(self.allowed, space.conditions, strict=True):
            row[: len(allowed)] = torch.from_numpy(allowed)
        self.n_missing = np.subtract(space.n_classes.max(), space.n_classes).tolist()

    @property
    def conditions(self) -> list[Condition[Tensor]]:
        """On which heads depends whether others are trained: head, the other, and the classes of that."""
        return [(*pair, allowed) for pair, allowed in zip(self.pairs, self.allowed, strict=True)]

    def index_from_code(self, code: Tensor) -> Tensor:
        """Codes to classes, int64: by the number of steps, which stays exact where the buffers are bfloat16."""
        index = (code / MAX_CODE * self.n_steps).round().clamp(min=0)
        return index.minimum(self.n_classes - 1).long()

    def index_from_value(self, value: Tensor) -> Tensor:
        """The nearest point of the grid, `(batch, head)`."""
        return ((value - self.low) / self.step).round().clamp(min=0).minimum(self.n_classes - 1)

    def present(self, index: Tensor) -> Tensor | None:
        """Whether a head's parameter acts on any sample, bool, `(head,)`, by true classes; None where all always do."""
        return self.active_from_index(index).any(dim=0) if self.pairs else None

    def mean_over_active(self, losses: Tensor, index: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean over the samples on which a head's parameter acts, `(head,)`; 0 where there are none.

        Args:
            losses: `(batch, head)`.
            index: True classes, int64, `(batch, head)`.
            weight: Of each sample, 0 or more, `(batch, head)` or `(batch, 1)`; None: all weigh alike.
        """
        if weight is not None:
            weight = weight.expand_as(losses) * self.active_from_index(index)
            weighted = torch.where(weight > 0, weight * losses, 0.0).sum(dim=0)
            return weighted / weight.sum(dim=0).clamp(min=torch.finfo(losses.dtype).tiny)
        if not self.pairs:
            return losses.mean(dim=0)
        active = self.active_from_index(index)
        return torch.where(active, losses, 0.0).sum(dim=0) / active.sum(dim=0).clamp(min=1)

    def pad(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits of all heads with as many classes each, `(batch, head, class)`."""
        batch, parts = len(logits[0]), []
        for head, (of_head, n_missing) in enumerate(zip(logits, self.n_missing, strict=True)):
            parts.append(of_head)
            if n_missing:
                parts.append(self.mask[head, -n_missing:].expand(batch, -1))
        return in_full(torch.cat(parts, dim=1)).view(batch, len(logits), -1)


def in_full(logits: Tensor) -> Tensor:
    """Half precision to float32: a grid of classes needs more than its 8 bits.

    For the same reason expected values are sums of products in losses and decoders: autocast makes half-precision
    numbers of `@`.
    """
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
