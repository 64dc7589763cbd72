"""Estimates of the parameters of sounds: by the network, by refinement, and by references that need no network."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from src.models.predictor import Predictor
from src.models.vimh_module import VIMHLitModule
from src.params import ParameterSpace

MAX_PIXEL = 255.0
AT_ONCE = 4096  # samples that a network predicts at a time


@dataclass(frozen=True)
class Estimate:
    """Estimated parameters of all sounds.

    Attributes:
        name: Of what estimated them.
        value: Possible values (`ParameterSpace.clip`), `(sound, parameter)`.
        std: Standard deviation of the value, `(sound, parameter)`; None where it is not known.
        columns: Further columns of the table, name to `(sound,)`.
    """

    name: str
    value: np.ndarray
    std: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


def network_values(module: VIMHLitModule, image: Tensor, aux: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard deviations that a trained network estimates, `(sound, parameter)` each.

    Args:
        module: From `load_run`, on any device.
        image: uint8, `(sound, channel, freq, time)`.
        aux: Conditioning inputs, `(sound, n_aux)`.
    """
    predictor = Predictor(module)
    device = next(module.parameters()).device
    with torch.inference_mode():
        batches = zip(image.split(AT_ONCE), aux.split(AT_ONCE), strict=True)
        parts = [predictor(*(part.to(device) for part in pair)) for pair in batches]
    value, std = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
    return value, std


def reference_estimates(
    samples: Mapping[str, Tensor],
    training: Iterable[Mapping[str, Tensor]],
    aux_statistics: tuple[Sequence[float], Sequence[float]],
    space: ParameterSpace,
    advance: Callable[[int], None] = lambda n: None,
) -> list[Estimate]:
    """Estimates without a network: by the nearest training sample, by the mean of them, and by the 8-bit labels.

    Args:
        samples: The sounds, a batch.
        training: The training samples, in batches.
        aux_statistics: Mean and standard deviation of each conditioning input.
        space: The parameters.
        advance: Called with the number of training samples just compared.
    """

    def features_of(batch: Mapping[str, Tensor]) -> np.ndarray:
        mean, std = np.array(aux_statistics)
        return network_features(batch["image"].numpy(), (batch["aux"].numpy() - mean) / std)

    def features_of_training() -> Iterator[np.ndarray]:
        for batch in training:
            values.append(batch["value"].numpy())
            yield features_of(batch)

    values: list[np.ndarray] = []
    nearest = nearest_neighbours(features_of(samples), features_of_training(), advance)
    train_value = np.concatenate(values)
    return [
        Estimate("nearest neighbour", train_value[nearest].astype(np.float64)),
        Estimate("mean parameters", np.tile(typical_value(space, train_value), (len(nearest), 1))),
        Estimate("8-bit coding", space.decode(space.encode(samples["value"].numpy()))),
    ]


def typical_value(space: ParameterSpace, value: np.ndarray) -> np.ndarray:
    """Mean of samples, of integers the nearest one, of categories the most frequent, float64, `(parameter,)`.

    A parameter that does not always act is averaged over the samples on which it does, if there are any.

    Args:
        space: The parameters.
        value: Of the samples, `(sample, parameter)`.
    """
    mean = value.mean(axis=0, dtype=np.float64)
    if not (space.any_discrete or space.conditions):
        return mean
    active, index = space.active(value), space.index_from_value(value).astype(np.int64)
    for p, spec in enumerate(space.varying):
        acts = active[:, p] if active[:, p].any() else ~active[:, p]
        if spec.categorical:
            mean[p] = spec.value_from_index(np.bincount(index[acts, p]).argmax())
        else:
            mean[p] = value[acts, p].mean(dtype=np.float64)
    return space.clip(mean)


def network_features(image: np.ndarray, aux: np.ndarray) -> np.ndarray:
    """Features of sounds, float64, `(sound, feature)`: pixels over their range, and conditioning inputs.

    Args:
        image: uint8, `(sound, channel, freq, time)`.
        aux: Conditioning inputs in standard deviations from their mean, `(sound, n_aux)`.
    """
    pixels = image.reshape(len(image), -1) / MAX_PIXEL - 0.5
    return np.concatenate([pixels, aux], axis=1, dtype=np.float64)


def nearest_neighbours(
    features: np.ndarray, training: Iterable[np.ndarray], advance: Callable[[int], None] = lambda n: None
) -> np.ndarray:
    """Numbers of the nearest training samples, by Euclidean distance of features.

    Args:
        features: Of the sounds whose neighbours are searched, `(sound, feature)`.
        training: Features of the training set, in pieces.
        advance: Called with the number of training samples just compared.

    Returns:
        int64, `(sound,)`; of equal ones the first.
    """
    nearest = np.zeros(len(features), dtype=np.int64)
    least = np.full(len(features), np.inf)
    first = 0
    for others in training:
        distance = (others**2).sum(axis=1) - 2 * features @ others.T  # less a number for each sound
        best = distance.argmin(axis=1)
        found = distance[np.arange(len(best)), best]
        nearest = np.where(found < least, first + best, nearest)
        least = np.minimum(least, found)
        first += len(others)
        advance(len(others))
    return nearest
