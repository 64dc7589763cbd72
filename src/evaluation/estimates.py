"""Estimates of the parameters of sounds: by the network, by refinement, and by references that need no network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from src.models.predictor import Predictor
from src.params import ParamSpec

MAX_PIXEL = 255.0
AT_ONCE = 4096  # samples that a network predicts at a time


@dataclass(frozen=True)
class Estimate:
    """Estimated parameters of all sounds.

    Attributes:
        name: Of what estimated them.
        value: Natural units, within the ranges, `(sound, parameter)`.
        std: Standard deviation, natural units, `(sound, parameter)`; None where it is not known.
        columns: What else is known of each sound, name to `(sound,)`.
    """

    name: str
    value: np.ndarray
    std: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkInput:
    """What a network gets of sounds: images, and conditioning inputs in standard deviations from their mean.

    Attributes:
        image: uint8, `(sound, channel, freq, time)`.
        aux: `(sound, n_aux)`.
    """

    image: np.ndarray
    aux: np.ndarray

    @classmethod
    def of(cls, samples: Mapping[str, Tensor], statistics: tuple[Sequence[float], Sequence[float]]) -> "NetworkInput":
        """Of samples; `statistics` are mean and standard deviation of each conditioning input."""
        mean, std = np.array(statistics)
        return cls(samples["image"].numpy(), (samples["aux"].numpy() - mean) / std)

    def features(self) -> np.ndarray:
        """float64, `(sound, feature)`: pixels over their range, and the conditioning inputs."""
        pixels = self.image.reshape(len(self.image), -1) / MAX_PIXEL - 0.5
        return np.concatenate([pixels, self.aux], axis=1, dtype=np.float64)


def network_values(module: nn.Module, image: Tensor, aux: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard deviations that a trained network estimates, natural units, `(sound, parameter)` each.

    Args:
        module: From `load_run`.
        image: uint8, `(sound, channel, freq, time)`.
        aux: Conditioning inputs, `(sound, n_aux)`.
    """
    predictor = Predictor(module)
    with torch.inference_mode():
        parts = [predictor(*pair) for pair in zip(image.split(AT_ONCE), aux.split(AT_ONCE), strict=True)]
    value, std = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return value, std


def within_ranges(value: np.ndarray, parameters: Sequence[ParamSpec]) -> np.ndarray:
    """Values, `(sound, parameter)`, those beyond a range at its end: rounding to float32 may carry them over it."""
    low, high = np.array([(spec.min, spec.max) for spec in parameters]).T
    return np.clip(value.astype(np.float64), low, high)


def nearest_neighbours(
    sounds: NetworkInput, training: Iterable[NetworkInput], advance: Callable[[int], None] = lambda n: None
) -> np.ndarray:
    """Numbers of the training samples that look most alike, by Euclidean distance of `NetworkInput.features`.

    Args:
        sounds: Whose neighbours are looked for.
        training: The training set in pieces.
        advance: Called with the number of training samples just compared.

    Returns:
        int64, `(sound,)`; of equal ones the first.
    """
    features = sounds.features()
    nearest = np.zeros(len(features), dtype=np.int64)
    least = np.full(len(features), np.inf)
    first = 0
    for piece in training:
        others = piece.features()
        distance = (others**2).sum(axis=1) - 2 * features @ others.T  # less a number for each sound
        best = distance.argmin(axis=1)
        found = distance[np.arange(len(best)), best]
        nearest = np.where(found < least, first + best, nearest)
        least = np.minimum(least, found)
        first += len(others)
        advance(len(others))
    return nearest


def mean_parameters(value: np.ndarray, n_sounds: int) -> np.ndarray:
    """The mean of the training set's values, `(sample, parameter)`, for every sound: `(sound, parameter)`."""
    return np.tile(value.mean(axis=0, dtype=np.float64), (n_sounds, 1))


def after_coding(value: np.ndarray, parameters: Sequence[ParamSpec]) -> np.ndarray:
    """What is left of values, natural units, `(sound, parameter)`, when each was stored in 8 bits."""
    columns = [
        spec.value_from_normalized(
            spec.normalized_from_code(spec.code_from_normalized(spec.normalized_from_value(value[:, p])))
        )
        for p, spec in enumerate(parameters)
    ]
    return np.stack(columns, axis=1)
