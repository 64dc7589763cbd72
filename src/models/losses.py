"""Losses. A loss decides how many outputs a head has, what they mean, and which decoder makes predictions of them.

All are called alike, and compute every head at once by `per_head`: with ten heads that takes a third of the time of one
head after the other.

Distances between classes are counted in grid steps. Where a parameter is categorical (`spec.categorical`), its classes
have no order: losses that use distance treat such a head as plain cross entropy does, those without classes refuse it.

Where a parameter does not act on a sound (`spec.active_if`), its head has no loss: means are over the other samples.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import ConfigError, check_choice, check_number
from src.models.decoders import (
    NARROW,
    ClassDecoder,
    Decoder,
    GaussianDecoder,
    MeanStdDecoder,
    RegressionDecoder,
    mean_and_log_std,
)
from src.param_tensors import ParamTensors, in_full
from src.params import ParamSpec

DISTANCES = ("l1", "l2", "huber")


class HeadLoss(nn.Module):
    """What every loss can do."""

    non_negative = True  # whether the loss has 0 as its floor, so that it can be divided by what remains of it
    class_weights: str | None = None  # how the classes of categories weigh: see `ClassWeights`

    def head_size(self, spec: ParamSpec) -> int:
        """Number of outputs that a head for this parameter needs.

        Raises:
            ConfigError: If the loss makes no sense for it.
        """
        raise NotImplementedError

    def per_head(
        self,
        logits: Sequence[Tensor],
        normalized: Tensor,
        index: Tensor,
        heads: ParamTensors,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Mean loss of a batch for every head, `(head,)`, over the samples on which its parameter acts.

        Args:
            logits: Outputs of each head, `(batch, head_size)`.
            normalized: True positions in the range, `(batch, head)`.
            index: True classes, int64, `(batch, head)`.
            heads: The parameters.
            weight: Of each sample in the mean, `(batch, head)` or `(batch, 1)`; None: all weigh alike.
        """
        return heads.mean_over_active(self.per_sample(logits, normalized, index, heads), index, weight)

    def per_sample(self, logits: Sequence[Tensor], normalized: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """Loss of every sample and head, `(batch, head)`; arguments as for `per_head`."""
        raise NotImplementedError

    def decoder(self, heads: ParamTensors) -> Decoder:
        """What makes a `Prediction` of all heads, `(batch, head)`, of the outputs of each, `(batch, head_size)`.

        Its `std` is not scaled yet.
        """
        raise NotImplementedError


class CrossEntropy(HeadLoss):
    """One class per grid step; the value is the expectation over the classes.

    Args:
        label_smoothing: Share of the target that is spread over all classes.
        class_weights: How the classes of categories weigh: see `ClassWeights`.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: str | None = None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    def head_size(self, spec: ParamSpec) -> int:
        """One output per class."""
        return spec.n_classes

    def per_sample(self, logits: Sequence[Tensor], normalized: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """Negative log likelihood of the true class, `(batch, head)`."""
        likelihood = heads.pad(logits).log_softmax(dim=-1)  # (batch, head, class)
        losses = negative_log_likelihood(likelihood, index)
        if self.label_smoothing:
            everywhere = -(likelihood * (heads.mask == 0)).sum(dim=-1) / heads.n_classes
            losses = torch.lerp(losses, everywhere, self.label_smoothing)
        return losses

    def decoder(self, heads: ParamTensors) -> Decoder:
        """For classes."""
        return ClassDecoder(heads)


class OrderedClasses(CrossEntropy):
    """Base of losses of classes that count distance; categorical heads get plain cross entropy."""

    def per_sample(self, logits: Sequence[Tensor], normalized: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """By distance, or cross entropy, `(batch, head)`."""
        likelihood = heads.pad(logits).log_softmax(dim=-1)  # (batch, head, class)
        losses = self.of_likelihood(likelihood, normalized * heads.n_steps, index, heads)
        if heads.any_categorical:
            losses = torch.where(heads.categorical, negative_log_likelihood(likelihood, index), losses)
        return losses

    def of_likelihood(self, likelihood: Tensor, steps: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """Loss of every sample and head, `(batch, head)`.

        Args:
            likelihood: Logarithm of the probability of each class, `(batch, head, class)`.
            steps: Exact true value, grid steps from the parameter's minimum, `(batch, head)`.
            index: True class, int64, `(batch, head)`.
            heads: The parameters.
        """
        raise NotImplementedError


class SoftTarget(OrderedClasses):
    """Cross entropy against a Gaussian on the grid, centred on the exact value: near misses cost less.

    The predicted distribution is decoded as such a Gaussian: the value is the centre of the one with the same median.
    (At the ends of the grid, where a Gaussian is cut off, the expectation lies inwards by up to 0.8 sigma, and where
    the distribution has two peaks, it lies between them.) The class is that of the value where the distribution is as
    narrow as a Gaussian, and the most likely one elsewhere. Measured on `cnn_tiny` after 4 epochs, expectation and most
    likely class first, then this: saw set, sigma 0.5, error 0.040 and 0.035 steps, accuracy 0.956 and 0.958; sigma 1,
    0.079 and 0.033, 0.954 and 0.964; envelope set, sigma 0.5, 0.392 and 0.380, 0.678 and 0.679; sigma 1, 0.423 and
    0.386, 0.666 and 0.666.

    The Gaussian widens the predicted distribution by its own width; the scale of the module corrects the spread.

    Args:
        sigma: Standard deviation of the Gaussian, grid steps.
        class_weights: How the classes of categories weigh: see `ClassWeights`.

    Raises:
        ConfigError: If `sigma` is not above 0.
    """

    def __init__(self, sigma: float = 0.5, class_weights: str | None = None) -> None:
        super().__init__(class_weights=class_weights)
        self.sigma = check_number("loss.sigma", sigma, above=0)

    def of_likelihood(self, likelihood: Tensor, steps: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """Cross entropy between the Gaussian and the predicted distribution, `(batch, head)`."""
        distance = heads.classes - steps.unsqueeze(-1)  # (batch, head, class)
        target = torch.addcmul(heads.mask, distance, distance, value=-0.5 / self.sigma**2).softmax(dim=-1)
        return -(target * likelihood).sum(dim=-1)

    def decoder(self, heads: ParamTensors) -> Decoder:
        """For Gaussians, or for classes where the Gaussian is so narrow that it lies in one of them."""
        return ClassDecoder(heads) if self.sigma < NARROW else GaussianDecoder(heads, self.sigma)


class WeightedCrossEntropy(OrderedClasses):
    """Cross entropy, and a price for probability on wrong classes that grows with their distance.

    The price is weighted, not the classes: that is `class_weights`, here as in every loss of classes.

    For a true class c and predicted probabilities p_i the loss is

        -log p_c  -  weight * sum over i of |i - c|^alpha * log(1 - p_i)

    The sum is the class distance weighted cross entropy of Polat et al. 2022 (arXiv 2202.05167, equation 4). The first
    term keeps the pull on the true class that the sum alone lacks.

    Args:
        alpha: How the price grows with distance in grid steps: 1 linearly, 2 with its square.
        weight: Of the sum. 0 is plain cross entropy.
        class_weights: How the classes of categories weigh: see `ClassWeights`.

    Raises:
        ConfigError: If `alpha` is not above 0 or `weight` is below 0.
    """

    def __init__(self, alpha: float = 1.0, weight: float = 0.3, class_weights: str | None = None) -> None:
        super().__init__(class_weights=class_weights)
        self.alpha = check_number("loss.alpha", alpha, above=0)
        self.weight = check_number("loss.weight", weight, least=0)

    def of_likelihood(self, likelihood: Tensor, steps: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """Cross entropy and the price of far classes, `(batch, head)`."""
        price = (heads.classes - index.unsqueeze(-1)).abs()  # (batch, head, class)
        if self.alpha != 1.0:
            price = price**self.alpha
        certain = -torch.finfo(likelihood.dtype).eps  # of a class that is certain the logarithm would be infinite
        log_of_others = torch.log(-torch.expm1(likelihood.clamp(max=certain)))
        wrong = (price * log_of_others).sum(dim=-1)
        return negative_log_likelihood(likelihood, index) - self.weight * wrong


class Ordinal(OrderedClasses):
    """Distance between the expected and the exact value in grid steps, and a term that keeps the classes apart.

    With the expectation alone, very different distributions have the same loss and the most likely class means little;
    the cross entropy of the true class makes the distribution narrow.

    Args:
        distance: `l1`, `l2` (half the square) or `huber`.
        delta: Where Huber's loss turns from half the square to linear, grid steps.
        weight: Of the cross entropy.
        class_weights: How the classes of categories weigh: see `ClassWeights`.

    Raises:
        ConfigError: If `distance` is unknown, `delta` is not above 0, or `weight` is below 0.
    """

    def __init__(
        self, distance: str = "huber", delta: float = 1.0, weight: float = 1.0, class_weights: str | None = None
    ) -> None:
        super().__init__(class_weights=class_weights)
        self.distance = check_choice("loss.distance", distance, DISTANCES)
        self.delta = check_number("loss.delta", delta, above=0)
        self.weight = check_number("loss.weight", weight, least=0)

    def of_likelihood(self, likelihood: Tensor, steps: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """Distance of the expected value, and weighted cross entropy, `(batch, head)`."""
        expected = (likelihood.exp() * heads.classes).sum(dim=-1)  # (batch, head)
        return self._price(expected - steps) + self.weight * negative_log_likelihood(likelihood, index)

    def _price(self, error: Tensor) -> Tensor:
        if self.distance == "l1":
            return error.abs()
        if self.distance == "l2":
            return 0.5 * error.square()
        return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=self.delta)


class Regression(HeadLoss):
    """One output per head: the position in the range, bounded by a sigmoid.

    The error is measured in grid steps, so that heads weigh alike whatever the parameter's range and units. The network
    does not predict its own error; the scale of the module, found on the validation samples, stands for it.

    Args:
        delta: Where Huber's loss turns from square to linear, grid steps.

    Raises:
        ConfigError: If `delta` is not above 0.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = check_number("loss.delta", delta, above=0)

    def head_size(self, spec: ParamSpec) -> int:
        """One output."""
        return _size_of_ordered(spec, 1, self)

    def per_sample(self, logits: Sequence[Tensor], normalized: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """Huber loss of the error in grid steps, `(batch, head)`."""
        mean = in_full(torch.cat(list(logits), dim=1)).sigmoid()  # (batch, head)
        return F.huber_loss(mean * heads.n_steps, normalized * heads.n_steps, reduction="none", delta=self.delta)

    def decoder(self, heads: ParamTensors) -> Decoder:
        """For one number per head."""
        return RegressionDecoder(heads)


class Gaussian(HeadLoss):
    """Two outputs per head, mean and standard deviation (`mean_and_log_std`): each prediction has its own error bar.

    In training, each sample's gradient is scaled by its variance to the power `beta` (Seitzer et al. 2022, arXiv
    2203.09168): the plain likelihood neglects samples that are predicted badly, since it explains them by a large
    variance. Validation reports the plain likelihood, which is a proper score.

    Args:
        beta: 0 is the plain likelihood, 1 fits the mean as squared error does.

    Raises:
        ConfigError: If `beta` is not within 0 and 1.
    """

    non_negative = False

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        self.beta = check_number("loss.beta", beta, least=0, most=1)

    def head_size(self, spec: ParamSpec) -> int:
        """Two outputs."""
        return _size_of_ordered(spec, 2, self)

    def per_sample(self, logits: Sequence[Tensor], normalized: Tensor, index: Tensor, heads: ParamTensors) -> Tensor:
        """Negative log likelihood of the error in grid steps, `(batch, head)`."""
        mean, log_std = mean_and_log_std(logits, heads)
        error = (mean - normalized) * heads.n_steps
        losses = 0.5 * (error * torch.exp(-log_std)) ** 2 + log_std + 0.5 * math.log(2 * math.pi)
        if self.training and self.beta:
            losses = losses * torch.exp(2 * self.beta * log_std.detach())
        return losses

    def decoder(self, heads: ParamTensors) -> Decoder:
        """For mean and standard deviation."""
        return MeanStdDecoder(heads)


class ClassWeights(nn.Module):
    """How much a sample weighs in the loss of a category, by its class.

    Args:
        weights: None: all classes alike. `balanced`: in inverse proportion to how often a class occurs in training, so
            that all classes weigh the same together and a sample weighs 1 in the mean; a class that does not occur
            weighs 1. The weights are part of the checkpoint.
        heads: The parameters. What has an order always weighs 1.
        counts: Training samples of every class, `(head, class)`; None where weights are loaded after it.

    Raises:
        ConfigError: If `weights` is unknown, or there is no category.
    """

    weight: Tensor

    def __init__(self, weights: str | None, heads: ParamTensors, counts: Tensor | None = None) -> None:
        super().__init__()
        self.kind = weights
        if weights is None:
            return
        if weights != "balanced":
            raise ConfigError(f"loss.class_weights is {weights!r}; give null or balanced.")
        if not heads.any_categorical:
            raise ConfigError(
                f"loss.class_weights is balanced, but none of the heads {', '.join(heads.names)} is a category, and "
                "numbers are not weighed. Leave it at null."
            )
        weight = torch.ones(len(heads.names), len(heads.classes))
        if counts is not None:
            balanced = counts.sum(dim=1, keepdim=True) / ((counts > 0).sum(dim=1, keepdim=True) * counts)
            weight = torch.where(heads.categorical.unsqueeze(1) & (counts > 0), balanced, weight)
        self.register_buffer("weight", weight)

    def forward(self, index: Tensor) -> Tensor | None:
        """Weights of samples, `(batch, head)`, from their classes, int64, of the same shape; None: all weigh 1."""
        return None if self.kind is None else self.weight.gather(1, index.T).T


class HeadWeights(nn.Module):
    """Makes one loss of those of all heads.

    Args:
        weights: `equal`: their mean. A mapping of heads to weights: their weighted mean, where a head that is not named
            weighs 1. `learnt`: homoscedastic uncertainty (Kendall et al. 2018, arXiv 1705.07115): the mean of
            exp(-s) * loss + s / 2 with a trained s per head, the logarithm of its variance. At the best s of a head,
            log(2 * loss), it weighs 1 / (2 * loss): heads count by how far they are from their own floor.
        names: The heads, in order.
        loss: What is weighted.

    Raises:
        ConfigError: If a head is unknown, no weight is above 0, or the loss can be negative and weights are learnt.
    """

    weight: Tensor

    def __init__(self, weights: str | Mapping[str, float], names: Sequence[str], loss: HeadLoss) -> None:
        super().__init__()
        self.kind = weights if isinstance(weights, str) else "given"
        if isinstance(weights, str) and weights not in ("equal", "learnt"):
            raise ConfigError(f"model.head_weights is {weights!r}; give equal, learnt, or a weight per head.")
        if self.kind == "learnt":
            if not loss.non_negative:
                raise ConfigError(
                    f"model.head_weights is learnt, but {type(loss).__name__} weighs by its own variance and can fall "
                    "below 0, where a learnt weight would grow without end. Take equal, or a weight per head."
                )
            self.log_variance = nn.Parameter(torch.zeros(len(names)))
        elif not isinstance(weights, str):
            self.register_buffer("weight", _shares(weights, names), persistent=False)

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """One loss, a scalar, from that of every head, `(head,)`.

        Args:
            losses: 0 for a head whose parameter acts on no sample of the batch.
            present: Whether it acts on any, bool, `(head,)`; None: all do. The variances of others are not learnt.
        """
        if self.kind == "equal":
            return losses.mean()
        if self.kind == "given":
            return (losses * self.weight).sum()
        terms = torch.exp(-self.log_variance) * losses + 0.5 * self.log_variance
        return (terms if present is None else torch.where(present, terms, 0.0)).mean()


def _shares(weights: Mapping[str, float], names: Sequence[str]) -> Tensor:
    """Weights of all heads, with sum 1, `(head,)`."""
    unknown = [name for name in weights if name not in names]
    if unknown:
        raise ConfigError(f"model.head_weights names {', '.join(unknown)}; the heads are {', '.join(names)}.")
    shares = torch.tensor([float(weights.get(name, 1.0)) for name in names])
    if not (torch.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise ConfigError(
            f"model.head_weights are {shares.tolist()} for {', '.join(names)}; give numbers of 0 or more, not all 0."
        )
    return shares / shares.sum()


def negative_log_likelihood(likelihood: Tensor, index: Tensor) -> Tensor:
    """Of the true class, `(batch, head)`.

    Args:
        likelihood: Logarithm of the probability of each class, `(batch, head, class)`.
        index: True class, int64, `(batch, head)`.
    """
    return -likelihood.gather(-1, index.unsqueeze(-1)).squeeze(-1)


def _size_of_ordered(spec: ParamSpec, size: int, loss: HeadLoss) -> int:
    if spec.categorical:
        raise ConfigError(
            f"{spec.name} is one of {', '.join(spec.names)}, which have no order, but the loss {type(loss).__name__} "
            "predicts a number. Take loss=cross_entropy, or another loss of classes."
        )
    return size
