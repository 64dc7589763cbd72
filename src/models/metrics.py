"""`HeadMetrics`: accuracy and error of every head, accumulated as a few tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from src.params import ParamSpec


class HeadMetrics(Metric):
    """Mean loss, and for every head accuracy, mean absolute error in natural units and in JND steps.

    One update is a handful of operations on `(batch, head)` tensors, however many heads there are. `compute` returns
    `loss`; the means over heads `acc`, `steps` and `nmae` (mean absolute error over range); and per head `{name}_acc`,
    `{name}_mae`, `{name}_steps`.

    Args:
        parameters: What the heads predict, in their order.
    """

    full_state_update = False

    def __init__(self, parameters: Sequence[ParamSpec]) -> None:
        super().__init__()
        self.names = tuple(spec.name for spec in parameters)
        self.register_buffer("range", torch.tensor([spec.range for spec in parameters]), persistent=False)
        self.register_buffer("step", torch.tensor([spec.step for spec in parameters]), persistent=False)
        self.add_state("n_samples", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros(len(parameters), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("error", torch.zeros(len(parameters)), dist_reduce_fx="sum")

    def update(
        self, loss: Tensor, predicted_index: Tensor, predicted: Tensor, index: Tensor, normalized: Tensor
    ) -> None:
        """Count a batch.

        Args:
            loss: Its mean loss, scalar.
            predicted_index: `(batch, head)`.
            predicted: Predicted position in the range, `(batch, head)`.
            index: True class, `(batch, head)`.
            normalized: True position in the range, `(batch, head)`.
        """
        self.n_samples += len(index)
        self.loss += loss.detach() * len(index)
        self.correct += (predicted_index == index).sum(dim=0)
        self.error += (predicted - normalized).abs().sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        """The figures of everything counted, float32 scalars."""
        accuracy = self.correct / self.n_samples
        error = self.error / self.n_samples
        mae, steps = error * self.range, error * self.range / self.step
        figures = {
            "loss": self.loss / self.n_samples,
            "acc": accuracy.mean(),
            "steps": steps.mean(),
            "nmae": error.mean(),
        }
        for head, name in enumerate(self.names):
            figures |= {f"{name}_acc": accuracy[head], f"{name}_mae": mae[head], f"{name}_steps": steps[head]}
        return figures
