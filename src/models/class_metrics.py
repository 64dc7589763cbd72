"""`ClassMetrics`: figures of answers whose classes have no order, from counts of which class was taken for which."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from src.param_tensors import NO_CLASS, ParamTensors

BINS = 15  # of probabilities, equal in width: as many as in Guo et al. 2017


class ClassMetrics(Metric):
    """Figures of categories. Samples on which a category does not act do not count; without any, its figures are NaN.

    balanced_acc
        Mean over the classes that occur of the share of their samples whose class is right.
    f1
        Mean over the classes of 2 * right / (true + predicted), of those that occur (macro F1).
    ece
        Expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 3): samples are put into 15 bins of
        equal width by the probability of the class that is said; in each, the mean probability is compared with the
        share that is right. The mean of these distances, weighted by samples; 0 is right. Only with
        `calibration=True`.
    file_acc
        Share of the files whose class is right: that with the highest mean over a file's samples of the logarithm of
        its probability. A file's true class is that of most of its samples. Only where `update` was given files.

    Args:
        heads: The parameters, one of them or more without an order.
        calibration: Whether to check the probabilities.
    """

    full_state_update = False
    categories: Tensor
    confusion: Tensor
    bins: Tensor
    file_ids: list[Tensor]
    file_votes: list[Tensor]
    file_classes: list[Tensor]

    def __init__(self, heads: ParamTensors, calibration: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.calibration = calibration
        self.register_buffer("categories", heads.categorical.nonzero()[:, 0], persistent=False)
        self.sizes = [int(size) for size in heads.n_classes[self.categories]]
        n_categories, most = len(self.sizes), max(self.sizes)
        counts = torch.zeros(n_categories, most, most, dtype=torch.long)  # (category, true, predicted)
        self.add_state("confusion", counts, dist_reduce_fx="sum")
        if calibration:  # number of samples, sum of their probabilities, number of those that are right
            self.add_state("bins", torch.zeros(n_categories, 3, BINS), dist_reduce_fx="sum")
        for name in ("file_ids", "file_votes", "file_classes"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        predicted: Tensor,
        true: Tensor,
        log_probability: Sequence[Tensor] = (),
        files: Tensor | None = None,
    ) -> None:
        """Count some samples.

        Args:
            predicted: Class of every head, `(batch, head)`.
            true: The same.
            log_probability: Logarithm of the probability of each class, for every category, `(batch, class)`; empty:
                probabilities are not known.
            files: Number of each sample's file, int64, `(batch,)`; None: not known.
        """
        acts = self.heads.active_from_index(true).index_select(1, self.categories)
        predicted, true = (index.index_select(1, self.categories) for index in (predicted, true))  # (batch, category)
        most = self.confusion.shape[-1]
        category = torch.arange(len(self.sizes), device=true.device)
        cell = ((category * most + true) * most + predicted).flatten()
        counts = self.confusion.flatten().index_add(0, cell, acts.long().flatten())
        self.confusion = counts.view_as(self.confusion)
        if self.calibration and log_probability:
            self._count_probabilities(predicted, true, acts, log_probability)
        if files is not None and log_probability:
            votes = [F.pad(of, (0, most - of.shape[1]), value=NO_CLASS) for of in log_probability]
            self.file_ids.append(files)
            self.file_votes.append(torch.stack(votes, dim=1) * acts.unsqueeze(-1))  # (batch, category, class)
            self.file_classes.append(true.masked_fill(~acts, -1))

    def _count_probabilities(
        self, predicted: Tensor, true: Tensor, acts: Tensor, log_probability: Sequence[Tensor]
    ) -> None:
        """Put the probabilities of the classes that are said into bins; classes are `(batch, category)`."""
        said = predicted.unbind(dim=1)
        columns = [of.gather(1, index.unsqueeze(1)) for of, index in zip(log_probability, said, strict=True)]
        probability = torch.cat(columns, dim=1).exp().to(self.bins.dtype)  # (batch, category)
        place = (probability * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        counted = torch.stack([acts, probability * acts, acts & (predicted == true)], dim=1)
        is_in = place.unsqueeze(-1) == torch.arange(BINS, device=place.device)  # (batch, category, bin)
        self.bins = self.bins + torch.einsum("nkc,ncb->ckb", counted.to(self.bins.dtype), is_in.to(self.bins.dtype))

    def compute(self) -> dict[str, Tensor]:
        """The figures of everything counted, of every category, float32, `(category,)`."""
        counts = self.confusion.float()
        right, true, predicted = counts.diagonal(dim1=1, dim2=2), counts.sum(dim=2), counts.sum(dim=1)
        occurs = true + predicted > 0
        recall = torch.where(true > 0, right / true, 0.0).sum(dim=-1) / (true > 0).sum(dim=-1)
        f1 = torch.where(occurs, 2 * right / (true + predicted), 0.0).sum(dim=-1) / occurs.sum(dim=-1)
        figures = {"balanced_acc": recall, "f1": f1}
        if self.calibration:
            n_samples, probability, n_right = self.bins.unbind(dim=1)  # (category, bin)
            figures["ece"] = (probability - n_right).abs().sum(dim=-1) / n_samples.sum(dim=-1)
        if self.file_ids:
            figures["file_acc"] = file_accuracy(
                *(dim_zero_cat(part) for part in (self.file_ids, self.file_votes, self.file_classes))
            )
        return figures

    def confusions(self) -> list[Tensor]:
        """How often each class was taken for which, int64, `(true class, predicted class)` for every category."""
        with self.sync_context():
            return [counts[:size, :size].clone() for counts, size in zip(self.confusion, self.sizes, strict=True)]


def file_accuracy(files: Tensor, votes: Tensor, classes: Tensor) -> Tensor:
    """Share of the files whose class is right, by the votes of their samples, `(category,)`; NaN without any.

    Args:
        files: Number of each sample's file, `(sample,)`.
        votes: Logarithm of the probability of each class, `(sample, category, class)`; 0 where it does not count.
        classes: True class, `(sample, category)`; -1 where it does not count.
    """
    names, of_sample = files.unique(return_inverse=True)
    empty = votes.new_zeros(len(names), *votes.shape[1:])  # (file, category, class)
    said = empty.index_add(0, of_sample, votes).argmax(dim=-1)
    is_true = (classes.unsqueeze(-1) == torch.arange(votes.shape[-1], device=votes.device)).to(votes.dtype)
    n_true = empty.index_add(0, of_sample, is_true)
    counts = n_true.sum(dim=-1) > 0  # (file, category)
    right = (said == n_true.argmax(dim=-1)) & counts
    return right.sum(dim=0) / counts.sum(dim=0)
