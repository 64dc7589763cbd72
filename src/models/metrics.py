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
    `VIMHLitModule` collects batches and counts many at once. A head counts the samples on which its parameter acts;
    without any, its figures are NaN, and means leave it out. `compute` returns `loss`, the means over the heads that
    have a figure, and per head `{name}_{figure}`:

    acc
        Share of the samples whose class is right.
    f1
        Mean over the classes of 2 * right / (true + predicted), of those that occur (macro F1). Only of categories, and
        the next ones only of what has an order.
    acc1
        Share of those whose class is right or next to it.
    mae
        Mean absolute error in the units of the value (per head only).
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
    category_heads: Tensor
    n_samples: Tensor
    n_active: Tensor
    loss: Tensor
    correct: Tensor
    close: Tensor
    error: Tensor
    covered: Tensor
    deviations: list[Tensor]
    occurrences: Tensor

    def __init__(self, heads: ParamTensors, coverage: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.coverage = coverage
        n_heads = len(heads.names)
        self.register_buffer("category_heads", heads.categorical.nonzero()[:, 0], persistent=False)
        self.categories = self.category_heads.tolist()
        self.ordered = (~heads.categorical).nonzero()[:, 0].tolist()
        self.add_state("n_samples", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("n_active", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("close", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("error", torch.zeros(n_heads), dist_reduce_fx="sum")
        self.add_state("covered", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("deviations", [], dist_reduce_fx="cat")
        if self.categories:  # how often each class was right, true, predicted
            shape = 3, len(self.categories), len(heads.classes)
            self.add_state("occurrences", torch.zeros(shape, dtype=torch.long), dist_reduce_fx="sum")

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
        if self.categories:
            self._count_classes(prediction.index, index)
        if self.heads.pairs:
            active = self.heads.active_from_index(index)
            miss, error = miss.masked_fill(~active, len(self.heads.classes)), error.masked_fill(~active, 0.0)
            self.n_active += active.sum(dim=0)
        else:
            self.n_active += len(index)
        self.correct += (miss == 0).sum(dim=0)
        self.close += (miss <= 1).sum(dim=0)
        self.error += error.sum(dim=0)
        if self.coverage:
            deviation = error * (self.heads.range / self.heads.step) / prediction.std
            if self.heads.pairs:
                deviation = deviation.masked_fill(~active, math.nan)
            self.covered += (deviation <= WIDTH * std_scale).sum(dim=0)
            self.deviations.append(deviation)

    def _count_classes(self, predicted: Tensor, true: Tensor) -> None:
        """Count the classes of categories, `(batch, head)` each, where they act."""
        is_true, is_predicted = (
            index.index_select(1, self.category_heads).unsqueeze(-1) == self.heads.classes
            for index in (true, predicted)
        )
        if self.heads.pairs:
            active = self.heads.active_from_index(true).index_select(1, self.category_heads).unsqueeze(-1)
            is_true, is_predicted = is_true & active, is_predicted & active
        self.occurrences += torch.stack([is_true & is_predicted, is_true, is_predicted]).sum(dim=1)

    def compute(self) -> dict[str, Tensor]:
        """The figures of everything counted, float32 scalars."""
        error = self.error / self.n_active
        figures = {
            "acc": self.correct / self.n_active,
            "acc1": self.close / self.n_active,
            "mae": error * self.heads.range,
            "steps": error * self.heads.range / self.heads.step,
            "nmae": error,
        }
        if self.coverage:
            figures["coverage"] = self.covered / self.n_active
        if self.categories:
            figures["f1"] = self._f1()
        of = {"acc": list(range(len(error))), "f1": self.categories}
        rows = {figure: (per_head, of.get(figure, self.ordered)) for figure, per_head in figures.items()}
        means = {
            figure: self._mean(per_head, heads)
            for figure, (per_head, heads) in rows.items()
            if heads and figure != "mae"
        }
        heads = {
            f"{self.heads.names[head]}_{figure}": per_head[head]
            for figure, (per_head, heads) in rows.items()
            for head in heads
        }
        return {"loss": self.loss / self.n_samples, **means, **heads}

    def _f1(self) -> Tensor:
        """Macro F1 of categories, NaN elsewhere, `(head,)`."""
        right, true, predicted = self.occurrences.float()  # (category, class)
        occurs = true + predicted > 0
        f1 = torch.where(occurs, 2 * right / (true + predicted), 0.0).sum(dim=-1) / occurs.sum(dim=-1)
        return torch.full_like(self.error, math.nan).index_copy(0, self.category_heads, f1)

    def _mean(self, per_head: Tensor, heads: list[int]) -> Tensor:
        """Mean over some heads, of those that acted on any sample."""
        figures = per_head[heads]
        if self.heads.pairs:
            seen = self.n_active[heads] > 0
            return torch.where(seen, figures, 0.0).sum() / seen.sum()
        return figures.mean()

    def conformal_scale(self) -> Tensor:
        """What to multiply standard deviations with so that the interval holds 90 % of all that was counted, `(head,)`.

        This is split conformal prediction with the normalized residual as score (Lei et al. 2018, Distribution-free
        predictive inference for regression, section 5.2): new samples of the same kind lie within the interval with at
        least that probability, whatever the distribution, in the mean over sets of samples like these. NaN for
        categories, and for heads that acted on no sample.
        """
        with self.sync_context():
            deviation = dim_zero_cat(self.deviations)  # (sample, head)
        if self.heads.pairs:
            columns = (column[~column.isnan()].unsqueeze(-1) for column in deviation.unbind(dim=1))
            found = torch.cat([conformal_quantile(column) for column in columns])
        else:
            found = conformal_quantile(deviation)
        return (found * (WIDER / WIDTH)).masked_fill(self.heads.categorical, math.nan)


def conformal_quantile(deviation: Tensor) -> Tensor:
    """What 90 % of the samples stay below, `(head,)`, from those of all, `(sample, head)`; NaN without samples."""
    if not len(deviation):
        return deviation.new_full(deviation.shape[1:], math.nan)
    rank = min(math.ceil(INTERVAL * (len(deviation) + 1)), len(deviation))
    return deviation.kthvalue(rank, dim=0).values
