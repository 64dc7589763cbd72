"""`Domain`: mean and covariance of training images, and the distance of another image from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from src.errors import CheckpointError, ConfigError

GRID = 8  # rows and columns that an image is averaged down to, at most
RIDGE = 1e-3  # of the mean variance, added to every direction: finite sets leave some of them empty
N_QUANTILES = 1001
KEYS = ("mean", "whitening", "quantiles")


@dataclass(frozen=True)
class Domain:
    """Mean and covariance of one half of the training images, and the distances of the other half.

    An image is averaged to at most 8 x 8 fields per channel, and its distance is that of Mahalanobis (1936). Half of
    the images give mean and covariance, the other half shows how their distances are distributed.

    Attributes:
        mean: Of the fields, `(field,)`.
        whitening: Turns deviations from the mean into independent ones of variance 1, `(field, field)`.
        quantiles: Of the distances of the second half, from the smallest to the largest, evenly spaced, `(quantile,)`.
    """

    mean: Tensor
    whitening: Tensor
    quantiles: Tensor

    @classmethod
    def fit(cls, image: Tensor) -> "Domain":
        """The domain of training images.

        Args:
            image: uint8, `(sample, channel, freq, time)`, in any order that does not depend on the content.

        Raises:
            ConfigError: If there are fewer than two images.
        """
        if len(image) < 2:
            raise ConfigError(f"The statistics of training images need 2 of them or more; there are {len(image)}.")
        fitted, held_out = fields(image[::2]), fields(image[1::2])
        mean = fitted.mean(dim=0)
        deviation = fitted - mean
        covariance = deviation.T @ deviation / len(deviation)
        covariance.diagonal().add_(RIDGE * covariance.diagonal().mean() + 1e-12)
        whitening = torch.linalg.inv(torch.linalg.cholesky(covariance))
        distance = torch.linalg.vector_norm((held_out - mean) @ whitening.T, dim=1)
        quantiles = torch.quantile(distance, torch.linspace(0, 1, N_QUANTILES, dtype=distance.dtype))
        return cls(mean.float(), whitening.float(), quantiles.float())

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], image_shape: tuple[int, int, int] | None = None) -> "Domain":
        """The domain that `to_dict` made a dict of.

        Args:
            plain: From `to_dict`.
            image_shape: `(channel, freq, time)` of the images that it has to fit; None: any.

        Raises:
            CheckpointError: If it is something else.
        """
        try:
            found = {key: torch.as_tensor(plain[key], dtype=torch.float32) for key in KEYS}
        except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:  # PyTorch raises all of them
            raise CheckpointError(
                f"The statistics of the training images are damaged: {', '.join(KEYS)} are expected, as numbers."
            ) from error
        domain = cls(**found)
        n_fields = domain.mean.numel()
        one_axis = domain.mean.ndim == domain.quantiles.ndim == 1 and domain.quantiles.numel()
        if domain.whitening.shape != (n_fields, n_fields) or not one_axis:
            shapes = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in found.items())
            raise CheckpointError(f"The statistics of the training images do not fit each other: {shapes}.")
        if image_shape is not None and n_fields != fields(torch.zeros(1, *image_shape)).numel():
            raise CheckpointError(f"The statistics of the training images have {n_fields} fields, its images not.")
        return domain

    def to_dict(self) -> dict[str, Tensor]:
        """As a checkpoint keeps it: thousands of numbers one by one would take longer to save than all weights."""
        return {key: getattr(self, key) for key in KEYS}

    def distance(self, image: Tensor) -> Tensor:
        """Mahalanobis distance from the training images, float64, `(sample,)`.

        Args:
            image: uint8, `(sample, channel, freq, time)`, of the shape that it was fitted with.
        """
        return torch.linalg.vector_norm((fields(image) - self.mean) @ self.whitening.T.double(), dim=1)

    def percentile(self, image: Tensor) -> Tensor:
        """Share of the training images that are nearer to the others than an image is, percent, `(sample,)`.

        Images of the training's kind are spread evenly from 0 to 100; 100 is beyond every one of the training.
        """
        nearer = torch.searchsorted(self.quantiles.double(), self.distance(image))
        return 100.0 * nearer / len(self.quantiles)


def fields(image: Tensor) -> Tensor:
    """An image averaged to at most 8 x 8 fields per channel, 0 to 1, float64, `(sample, field)`."""
    size = min(GRID, image.shape[-2]), min(GRID, image.shape[-1])
    return torch.nn.functional.adaptive_avg_pool2d(image.float() / 255, size).flatten(1).double()
