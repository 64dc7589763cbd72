"""`HeadMetrics`: accuracy, error and coverage of every head, accumulated as a few tensors."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from src.models.class_metrics import ClassMetrics
from src.models.decoders import Prediction
from src.param_tensors import ParamTensors

INTERVAL = 0.9  # share of the true values that should lie within the interval
WIDTH = 1.645  # standard deviations to either side: as wide as the interval of a normal distribution
TENTHS = 10
WIDER = 1 + 1e-5  # so that the sample that decides the scale lies within, however its error is rounded


class HeadMetrics(Metric):
    """Mean loss, and for every head accuracies, errors and coverage.

    An update is a handful of operations on `(batch, head)` tensors, however many heads and however large the batch;
    `VIMHLitModule` collects batches and counts many at once. A head counts the samples on which its parameter acts;
    without any, its figures are NaN, and means leave it out. `compute` returns `loss`, the means over the heads that
    have a figure, and per head `{name}_{figure}`:

    acc
        Share of the samples whose class is right.
    balanced_acc, f1, ece, file_acc
        Only of categories: see `ClassMetrics`. The next ones are only of what has an order.
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
    coverage_worst
        The same in the worst tenth of the samples, by the true value of any parameter and by any conditioning input,
        which the levels of the sound are: the lowest of all these tenths. Without a head, the lowest of all heads.
        This and the next ones only with `tenths=True`.
    width
        Mean width of the intervals within the range, grid steps.

    and, of all heads together, `coverage_together`, the share of the samples of which every head holds, and, where
    `update` was given a joint scale, `coverage_joint`, the same when intervals are wider by it; 0.9 is right.

    Args:
        heads: The parameters.
        coverage: Whether to check the standard deviations of predictions, and the probabilities of classes.
        tenths: Whether to check them by tenths of the samples, and together.
    """

    full_state_update = False
    n_samples: Tensor
    n_active: Tensor
    loss: Tensor
    correct: Tensor
    close: Tensor
    error: Tensor
    covered: Tensor
    deviations: list[Tensor]
    widths: Tensor
    joint: Tensor
    deviations_scaled: list[Tensor]
    places: list[Tensor]

    def __init__(self, heads: ParamTensors, coverage: bool = False, tenths: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.coverage = coverage
        self.tenths = tenths
        n_heads = len(heads.names)
        self.categories = heads.categorical.nonzero()[:, 0].tolist()
        self.classes = ClassMetrics(heads, calibration=coverage) if self.categories else None
        self.ordered = (~heads.categorical).nonzero()[:, 0].tolist()
        self.add_state("n_samples", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("n_active", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("close", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("error", torch.zeros(n_heads), dist_reduce_fx="sum")
        self.add_state("covered", torch.zeros(n_heads, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("deviations", [], dist_reduce_fx="cat")
        if tenths:
            self.add_state("widths", torch.zeros(n_heads), dist_reduce_fx="sum")
            self.add_state("joint", torch.zeros(()), dist_reduce_fx="max")
            self.add_state("deviations_scaled", [], dist_reduce_fx="cat")
            self.add_state("places", [], dist_reduce_fx="cat")

    def update(
        self,
        loss: Tensor,
        prediction: Prediction,
        index: Tensor,
        normalized: Tensor,
        std_scale: Tensor,
        aux: Tensor | None = None,
        joint_scale: Tensor | None = None,
        log_probability: Sequence[Tensor] = (),
        files: Tensor | None = None,
    ) -> None:
        """Count some samples.

        Args:
            loss: Sum of their losses, scalar.
            prediction: Of all heads, `(batch, head)` each, with standard deviations that are not scaled.
            index: True class, `(batch, head)`.
            normalized: True position in the range, `(batch, head)`.
            std_scale: What standard deviations are multiplied with, `(head,)`.
            aux: Conditioning inputs, `(batch, n_aux)`; for tenths of the samples. None: there are none.
            joint_scale: What they are multiplied with so that all heads hold together, scalar; None or 0: not known.
            log_probability: Of the classes of every category, as `ClassMetrics` takes it.
            files: Number of each sample's file, likewise.
        """
        miss = (prediction.index - index).abs()
        error = (prediction.normalized - normalized).abs()
        self.n_samples += len(index)
        self.loss += loss.detach()
        if self.classes is not None:
            self.classes.update(prediction.index, index, log_probability, files)
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
            if self.tenths:
                self._count_tenths(prediction, deviation / std_scale, normalized, std_scale, aux)
                self.joint = self.joint if joint_scale is None else torch.maximum(self.joint, joint_scale)

    def _count_tenths(
        self,
        prediction: Prediction,
        deviation: Tensor,
        normalized: Tensor,
        std_scale: Tensor,
        aux: Tensor | None,
    ) -> None:
        """Keep what figures of tenths need; `deviation` is scaled, and NaN where a head does not act."""
        half = WIDTH * prediction.std * std_scale / (self.heads.range / self.heads.step)
        ends = (prediction.normalized + half).clamp(max=1.0) - (prediction.normalized - half).clamp(min=0.0)
        self.widths += ends.masked_fill(deviation.isnan(), 0.0).sum(dim=0) * (self.heads.range / self.heads.step)
        self.deviations_scaled.append(deviation)
        self.places.append(normalized if aux is None else torch.cat([normalized, aux.to(normalized.dtype)], dim=1))

    def reset(self) -> None:
        """Forget everything counted."""
        super().reset()
        if self.classes is not None:
            self.classes.reset()

    def merge_state(self, incoming_state: Any) -> None:
        """Add what another one of the same heads has counted."""
        super().merge_state(incoming_state)
        if self.classes is not None:
            self.classes.merge_state(incoming_state.classes)

    def confusions(self) -> dict[str, Tensor]:
        """How often each class was taken for which, int64, `(true class, predicted class)`, by name of the category."""
        if self.classes is None:
            return {}
        names = [self.heads.names[head] for head in self.categories]
        return dict(zip(names, self.classes.confusions(), strict=True))

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
        together: dict[str, Tensor] = {}
        if self.tenths:
            deviation, place = dim_zero_cat(self.deviations_scaled), dim_zero_cat(self.places)
            figures["coverage_worst"] = worst_tenth(deviation, place)
            figures["width"] = self.widths / self.n_active
            if self.ordered:
                together = self._together(deviation, figures["coverage_worst"])
        of = {"acc": list(range(len(error)))}
        if self.classes is not None:
            for figure, of_categories in self.classes.compute().items():
                figures[figure] = torch.full_like(error, math.nan)
                figures[figure][self.categories] = of_categories
                of[figure] = self.categories
        rows = {figure: (per_head, of.get(figure, self.ordered)) for figure, per_head in figures.items()}
        means = {
            figure: self._mean(per_head, heads)
            for figure, (per_head, heads) in rows.items()
            if heads and figure not in ("mae", "coverage_worst")
        }
        alone = {
            f"{self.heads.names[head]}_{figure}": per_head[head]
            for figure, (per_head, heads) in rows.items()
            for head in heads
        }
        return {"loss": self.loss / self.n_samples, **means, **together, **alone}

    def _together(self, deviation: Tensor, worst: Tensor) -> dict[str, Tensor]:
        """Figures of all heads together; arguments as in `compute`, `(sample, head)` and `(head,)`."""
        largest = deviation[:, self.ordered].nan_to_num(0.0).amax(dim=1)
        figures = {
            "coverage_worst": worst[self.ordered].nan_to_num(1.0).amin(),
            "coverage_together": (largest <= WIDTH).float().mean(),
        }
        if self.joint > 0:
            figures["coverage_joint"] = (largest <= WIDTH * self.joint).float().mean()
        return figures

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
            return self.scale_of(dim_zero_cat(self.deviations))

    def scale_of(self, deviation: Tensor) -> Tensor:
        """The same of errors over standard deviations, `(sample, head)`, NaN where a head does not act."""
        if self.heads.pairs:
            columns = (column[~column.isnan()].unsqueeze(-1) for column in deviation.unbind(dim=1))
            found = torch.cat([conformal_quantile(column) for column in columns])
        else:
            found = conformal_quantile(deviation)
        return (found * (WIDER / WIDTH)).masked_fill(self.heads.categorical, math.nan)

    def joint_scale(self, std_scale: Tensor) -> Tensor:
        """What to multiply intervals with so that those of all heads hold together for 90 %, scalar.

        The score is the largest of a sample's normalized residuals, so that the promise is that of `conformal_scale`.
        0 where no head has an order, or nothing was counted.

        Args:
            std_scale: What standard deviations are multiplied with already, `(head,)`.
        """
        with self.sync_context():
            return self.joint_of(dim_zero_cat(self.deviations) / std_scale)

    def joint_of(self, deviation: Tensor) -> Tensor:
        """The same of errors over scaled standard deviations, `(sample, head)`, NaN where a head does not act."""
        if not self.ordered:
            return deviation.new_zeros(())
        largest = deviation[:, self.ordered].nan_to_num(0.0).amax(dim=1, keepdim=True)
        return (conformal_quantile(largest)[0] * (WIDER / WIDTH)).nan_to_num(0.0)


def conformal_quantile(deviation: Tensor) -> Tensor:
    """What 90 % of the samples stay below, `(head,)`, from those of all, `(sample, head)`; NaN without samples."""
    if not len(deviation):
        return deviation.new_full(deviation.shape[1:], math.nan)
    rank = min(math.ceil(INTERVAL * (len(deviation) + 1)), len(deviation))
    return deviation.kthvalue(rank, dim=0).values


def worst_tenth(deviation: Tensor, place: Tensor) -> Tensor:
    """Coverage of each head in the tenth of the samples where it is lowest, `(head,)`; NaN where it never acts.

    Args:
        deviation: Errors in scaled standard deviations, `(sample, head)`, NaN where a head does not act.
        place: What the samples are ordered by before they are cut into tenths, in turn, `(sample, key)`.
    """
    covered, counts = deviation <= WIDTH, ~deviation.isnan()
    shares = []
    for order in place.argsort(dim=0, stable=True).unbind(dim=1):
        for tenth in order.tensor_split(TENTHS):
            n_samples = counts[tenth].sum(dim=0)
            shares.append(torch.where(n_samples > 0, covered[tenth].sum(dim=0) / n_samples, 1.0))
    return torch.stack(shares).amin(dim=0).masked_fill(~counts.any(dim=0), math.nan)
