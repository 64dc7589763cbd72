"""`Domain`: what training images are like, and how far another image is from them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from src.errors import CheckpointError, ConfigError

Zone = Literal["inside", "near", "far"]

GRID = 16  # rows and columns that an image is averaged down to, at most
FIRST_GRID = 8  # the same in the checkpoints of version 2 and before
MOST_COMPONENTS = 64
IMAGES_PER_COMPONENT = 4  # at least, of those that show the directions of a set
RIDGE = 1e-3  # of the mean variance, added to every direction: finite sets leave some of them empty
ROUNDING = 1 / 255**2 / 12  # variance of pixels that are rounded to 8 bits
PERCENTILE = 0.95  # of the training's own images, which is the unit of distances
FAR = 5.0  # distance from which on a sound is called far
FIRST_KEYS = ("mean", "whitening", "quantiles")  # of the checkpoints of version 2 and before


@dataclass(frozen=True)
class Domain:
    """Means, principal components and variances of training images, and how far these are from each other.

    An image is averaged to at most 16 x 16 fields per channel. Its deviation from the mean is measured in standard
    deviations, along the principal components that the training images have, and across all other directions, in which
    they hardly vary (Moghaddam and Pentland, Probabilistic visual learning for object detection, 1995). Its levels,
    `spec_min` and `spec_max`, are compared in the same way, and the greater of the two deviations counts. Half of the
    images give means and components, the other half the unit: the distance that 95 % of them keep within is 1.

    Attributes:
        grid: Rows and columns that an image is averaged down to, at most, `()`.
        mean: Of the fields, `(field,)`.
        components: Orthonormal, `(component, field)`.
        variance: Along each, `(component,)`.
        rest: Variance along every other direction, `()`.
        level_mean: Of the levels, `(2,)`, or `(0,)` where there are none.
        level_whitening: Makes deviations of levels as large as those of pictures, `(2, 2)` or `(0, 0)`.
        unit: Deviation that 95 % of the training images keep within, `()`.
    """

    grid: Tensor
    mean: Tensor
    components: Tensor
    variance: Tensor
    rest: Tensor
    level_mean: Tensor
    level_whitening: Tensor
    unit: Tensor

    @classmethod
    def fit(cls, image: Tensor, spec_range: Tensor | None = None) -> "Domain":
        """The domain of training images.

        Args:
            image: uint8, `(sample, channel, freq, time)`, in any order that does not depend on the content.
            spec_range: `spec_min` and `spec_max`, dB, `(sample, 2)`; None, or of no columns, where there are none.

        Raises:
            ConfigError: If there are fewer than two images.
        """
        if len(image) < 2:
            raise ConfigError(f"The statistics of training images need 2 of them or more; there are {len(image)}.")
        known = picture(image, GRID)
        mean, components, variance, rest = principal_components(known[::2])
        apart = _deviation(known[1::2] - mean, components, variance, rest)
        level_mean, level_whitening = torch.zeros(0), torch.zeros(0, 0)
        if spec_range is not None and spec_range.shape[1]:
            levels = spec_range.double()
            level_mean, whitening = whitening_of(levels[::2])
            off = torch.linalg.vector_norm((levels[1::2] - level_mean) @ whitening.T, dim=1)
            level_whitening = whitening * (_reach(apart) / _reach(off))
            apart = torch.maximum(
                apart, torch.linalg.vector_norm((levels[1::2] - level_mean) @ level_whitening.T, dim=1)
            )
        parts = (mean, components, variance, rest, level_mean, level_whitening, _reach(apart))
        return cls(torch.tensor(float(GRID)), *(part.float() for part in parts))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], image_shape: tuple[int, int, int] | None = None) -> "Domain":
        """The domain that `to_dict` made a dict of, of this version or an earlier one.

        Args:
            plain: From `to_dict`.
            image_shape: `(channel, freq, time)` of the images that it has to fit; None: any.

        Raises:
            CheckpointError: If it is something else.
        """
        is_first = isinstance(plain, Mapping) and "whitening" in plain
        names = FIRST_KEYS if is_first else KEYS
        try:
            found = {key: torch.as_tensor(plain[key], dtype=torch.float32) for key in names}
        except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:  # PyTorch raises all of them
            raise CheckpointError(
                f"The statistics of the training images are damaged: {', '.join(names)} are expected, as numbers."
            ) from error
        (_check_first if is_first else _check)(found)
        domain = cls(**_from_first(found) if is_first else found)
        if image_shape is not None and len(domain.mean) != domain._picture(torch.zeros(1, *image_shape)).numel():
            raise CheckpointError(
                f"The statistics of the training images have {len(domain.mean)} fields, its images not."
            )
        return domain

    def to_dict(self) -> dict[str, Tensor]:
        """As a checkpoint keeps it: thousands of numbers one by one would take longer to save than all weights."""
        return {key: getattr(self, key) for key in KEYS}

    def distance(self, image: Tensor, spec_range: Tensor | None = None) -> np.ndarray:
        """Distances from the training images: 1 is the one that 95 % of them keep within, float64, `(sample,)`.

        Args:
            image: uint8, `(sample, channel, freq, time)`, of the shape that it was fitted with.
            spec_range: Levels, dB, `(sample, 2)`; None where they mean nothing, as with a recording's unknown gain.
        """
        return self.apart(image, spec_range).numpy()

    def apart(self, image: Tensor, spec_range: Tensor | None = None) -> Tensor:
        """The same as a tensor."""
        apart = _deviation(self._picture(image) - self.mean, self.components, self.variance, self.rest)
        if len(self.level_mean) and spec_range is not None and spec_range.numel():
            off = (spec_range.double() - self.level_mean) @ self.level_whitening.T.double()
            apart = torch.maximum(apart, torch.linalg.vector_norm(off, dim=1))
        return apart / self.unit

    def _picture(self, image: Tensor) -> Tensor:
        return picture(image, int(self.grid))


KEYS = tuple(field.name for field in fields(Domain))


def zone_of(distance: float) -> Zone:
    """A distance in a word: most training sounds are inside, and far is what perturbed ones hardly reach."""
    return "inside" if distance <= 1 else "near" if distance <= FAR else "far"


def picture(image: Tensor, grid: int) -> Tensor:
    """An image averaged to at most `grid` x `grid` fields per channel, 0 to 1, float64, `(sample, field)`."""
    size = min(grid, image.shape[-2]), min(grid, image.shape[-1])
    return torch.nn.functional.adaptive_avg_pool2d(image.float() / 255, size).flatten(1).double()


def principal_components(known: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, components, variances along them, and the mean variance along all other directions, as `Domain` has them.

    Args:
        known: Fields of images, float64, `(sample, field)`.
    """
    n_samples, n_fields = known.shape
    mean = known.mean(dim=0)
    deviation = known - mean
    variance, directions = torch.linalg.eigh(deviation.T @ deviation / n_samples)  # rising
    n = max(1, min(MOST_COMPONENTS, n_fields - 1, n_samples // IMAGES_PER_COMPONENT))
    floor = RIDGE * variance.mean().clamp(min=0) + ROUNDING
    others = variance[:-n] if n < n_fields else variance[:0]
    rest = (others.clamp(min=0).mean() if len(others) else torch.zeros_like(floor)) + ROUNDING
    return mean, directions[:, -n:].T, variance[-n:].clamp(min=0) + floor, rest


def whitening_of(known: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of samples, `(sample, column)`, and what makes their deviations independent ones of variance 1."""
    mean = known.mean(dim=0)
    deviation = known - mean
    covariance = deviation.T @ deviation / len(known)
    covariance.diagonal().add_(RIDGE * covariance.diagonal().mean() + 1e-6)
    return mean, torch.linalg.inv(torch.linalg.cholesky(covariance))


def _deviation(deviation: Tensor, components: Tensor, variance: Tensor, rest: Tensor) -> Tensor:
    """Deviations, `(sample, field)`, in standard deviations along and across the components, float64, `(sample,)`."""
    along = deviation @ components.T.double()  # (sample, component)
    across = (deviation.square().sum(dim=1) - along.square().sum(dim=1)).clamp(min=0)
    return ((along.square() / variance).sum(dim=1) + across / rest).sqrt()


def _reach(apart: Tensor) -> Tensor:
    """What 95 % of deviations keep within; 1, a standard deviation, where all images are the same."""
    return torch.quantile(apart, PERCENTILE).clamp(min=1.0)


def _check(found: Mapping[str, Tensor]) -> None:
    """Refuse statistics that do not fit each other, or divide by nothing."""
    n_fields, n_levels = found["mean"].numel(), found["level_mean"].numel()
    n = found["variance"].numel()
    shapes = {"mean": (n_fields,), "components": (n, n_fields), "variance": (n,), "level_mean": (n_levels,)}
    shapes |= {"level_whitening": (n_levels, n_levels), **dict.fromkeys(("grid", "rest", "unit"), ())}
    if n_levels not in (0, 2) or any(found[key].shape != shape for key, shape in shapes.items()):
        _refuse_shapes(found)
    positive = all((found[key] > 0).all() for key in ("variance", "rest", "unit"))
    if not positive or not 1 <= found["grid"] <= 2 * GRID or not all(item.isfinite().all() for item in found.values()):
        raise CheckpointError("The statistics of the training images hold numbers that none can have.")


def _check_first(found: Mapping[str, Tensor]) -> None:
    """The same of an earlier version."""
    n_fields = found["mean"].numel()
    if (
        found["mean"].ndim != 1
        or found["whitening"].shape != (n_fields, n_fields)
        or not (found["quantiles"].ndim == 1 and found["quantiles"].numel())
    ):
        _refuse_shapes(found)


def _refuse_shapes(found: Mapping[str, Tensor]) -> None:
    shapes = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in found.items())
    raise CheckpointError(f"The statistics of the training images do not fit each other: {shapes}.")


def _from_first(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Statistics of an earlier version, which measured Mahalanobis distances of 8 x 8 fields, in today's terms.

    What whitens, W, has the precision W'W, whose eigenvectors are the components.
    """
    whitening = found["whitening"].double()
    if not all(item.isfinite().all() for item in found.values()):
        raise CheckpointError("The statistics of the training images hold numbers that none can have.")
    precision, directions = torch.linalg.eigh(whitening.T @ whitening)
    variance = (1 / precision.clamp(min=1e-12)).float()
    return {
        "grid": torch.tensor(float(FIRST_GRID)),
        "mean": found["mean"],
        "components": directions.T.float(),
        "variance": variance,
        "rest": variance.min(),  # there is no other direction
        "level_mean": torch.zeros(0),
        "level_whitening": torch.zeros(0, 0),
        "unit": torch.quantile(found["quantiles"], PERCENTILE).clamp(min=1e-6),
    }
