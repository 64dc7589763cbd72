"""`HeadMetrics`: accuracy, error and coverage of every head, accumulated as a few tensors."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from src.models.decoders import Prediction
from src.param_tensors import ParamTensors

INTERVAL = 0.9  # share of the true values that should lie within the interval
WIDTH = 1.645  # standard deviations to either side: as wide as the interval of a normal distribution
WIDER = 1 + 1e-5  # so that the sample that decides the scale lies within, however its error is rounded


class HeadMetrics(Metric):
    """Mean loss, and for every head accuracies, errors and coverage.

    An update is a handful of operations on `(batch, head)` tensors, however many heads and however large the batch;
    `VIMHLitModule` collects batches and counts many at once. `compute` returns `loss`, the means over the heads, and
    per head `{name}_{figure}`:

    acc
        Share of the samples whose class is right.
    acc1
        Share of those whose class is right or next to it.
    mae
        Mean absolute error in natural units (per head only).
    steps
        The same in grid steps.
    nmae
        The same over the range.
    coverage
        Share of the exact values within 1.645 standard deviations of the prediction, with the scale of the standard
        deviations that was given to `update`; 0.9 is right. Only with `coverage=True`.

    Args:
        heads: The parameters.
        coverage: Whether to check the standard deviations of predictions.
    """

    full_state_update = False

    def __init__(self, heads: ParamTensors, coverage: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.coverage = coverage
        n_heads = len(heads.names)
        self.add_state("n_samples", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("close", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("error", torch.zeros(n_heads), dist_reduce_fx="sum")
        self.add_state("covered", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("deviations", [], dist_reduce_fx="cat")

    def update(
        self, loss: Tensor, prediction: Prediction, index: Tensor, normalized: Tensor, std_scale: Tensor
    ) -> None:
        """Count some samples.

        Args:
            loss: Sum of their losses, scalar.
            prediction: Of all heads, `(batch, head)` each, with standard deviations that are not scaled.
            index: True class, `(batch, head)`.
            normalized: True position in the range, `(batch, head)`.
            std_scale: What standard deviations are multiplied with, `(head,)`.
        """
        miss = (prediction.index - index).abs()
        error = (prediction.normalized - normalized).abs()
        self.n_samples += len(index)
        self.loss += loss.detach()
        self.correct += (miss == 0).sum(dim=0)
        self.close += (miss <= 1).sum(dim=0)
        self.error += error.sum(dim=0)
        if self.coverage:
            deviation = error * (self.heads.range / self.heads.step) / prediction.std
            self.covered += (deviation <= WIDTH * std_scale).sum(dim=0)
            self.deviations.append(deviation)

    def compute(self) -> dict[str, Tensor]:
        """The figures of everything counted, float32 scalars."""
        error = self.error / self.n_samples
        figures = {
            "acc": self.correct / self.n_samples,
            "acc1": self.close / self.n_samples,
            "mae": error * self.heads.range,
            "steps": error * self.heads.range / self.heads.step,
            "nmae": error,
        }
        if self.coverage:
            figures["coverage"] = self.covered / self.n_samples
        means = {figure: per_head.mean() for figure, per_head in figures.items() if figure != "mae"}
        heads = {
            f"{name}_{figure}": of_head
            for figure, per_head in figures.items()
            for name, of_head in zip(self.heads.names, per_head.unbind(), strict=True)
        }
        return {"loss": self.loss / self.n_samples, **means, **heads}

    def conformal_scale(self) -> Tensor:
        """What to multiply standard deviations with so that the interval holds 90 % of all that was counted, `(head,)`.

        This is split conformal prediction with the normalized residual as score (Lei et al. 2018, Distribution-free
        predictive inference for regression, section 5.2): new samples of the same kind lie within the interval with at
        least that probability, whatever the distribution, in the mean over sets of samples like these.
        """
        with self.sync_context():
            deviation = dim_zero_cat(self.deviations)  # (sample, head)
        rank = min(math.ceil(INTERVAL * (len(deviation) + 1)), len(deviation))
        return deviation.kthvalue(rank, dim=0).values * (WIDER / WIDTH)
