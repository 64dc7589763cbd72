"""Estimates of the parameters of sounds: by the network, by refinement, and by references that need no network."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.models.decoders import ClassDecoder
from src.models.predictor import Predictor
from src.models.vimh_module import VIMHLitModule
from src.params import ParameterSpace

MAX_PIXEL = 255.0
AT_ONCE = 4096  # samples that a network predicts at a time
TINY = 1e-30  # probabilities and deviations are at least that


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


class Answers(NamedTuple):
    """What a network says of sounds.

    Attributes:
        value: Values, those of integers and categories points of their grid, `(sound, parameter)`.
        std: Their standard deviations, `(sound, parameter)`.
        probabilities: Name of every category to the probabilities of its classes, `(sound, class)`.
    """

    value: np.ndarray
    std: np.ndarray
    probabilities: Mapping[str, np.ndarray]


def network_answers(module: VIMHLitModule, image: Tensor, aux: Tensor) -> Answers:
    """What a trained network says of images.

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
    value, std, *classes = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
    names = [spec.name for spec in predictor.categories]
    return Answers(value, std, dict(zip(names, classes, strict=True)))


def network_values(module: VIMHLitModule, image: Tensor, aux: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The values and standard deviations of these answers, `(sound, parameter)` each."""
    answers = network_answers(module, image, aux)
    return answers.value, answers.std


def class_shares(module: VIMHLitModule, image: Tensor, aux: Tensor) -> dict[str, np.ndarray]:
    """Probabilities that a network gives to the grid points of each parameter, by name, `(sound, class)`.

    There are none of a network whose heads give a value and its standard deviation.

    Args:
        module: From `load_run`, on any device.
        image: uint8, `(sound, channel, freq, time)`.
        aux: Conditioning inputs, `(sound, n_aux)`.
    """
    if not isinstance(module.decoder, ClassDecoder):
        return {}
    device = next(module.parameters()).device
    with torch.inference_mode():
        shares = shares_of(module, module(image.to(device), aux.to(device)))
    return {name: share.cpu().numpy() for name, share in shares.items()}


def shares_of(module: VIMHLitModule, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same of what the module returns for images."""
    if not isinstance(module.decoder, ClassDecoder):
        return {}
    shares = {spec.name: outputs[spec.name].float().softmax(dim=-1) for spec in module.specs}
    return shares | module.class_probabilities(outputs)


def voted(answers: Answers, space: ParameterSpace) -> Answers:
    """What frames of a recording say together, a row of each.

    Distributions are averaged by the logarithm of their probabilities: of classes those that the network gives, of
    numbers normal ones. So the mean weighs a frame the more, the surer it is, and its standard deviation is that of a
    frame: frames of a recording err together.

    Args:
        answers: Of the frames.
        space: The parameters.
    """
    weight = 1 / np.maximum(answers.std.astype(np.float64), TINY) ** 2
    value = np.average(answers.value, axis=0, weights=weight)
    std = np.sqrt(1 / weight.mean(axis=0))
    probabilities = {name: voted_classes(frames) for name, frames in answers.probabilities.items()}
    for p, spec in enumerate(space.varying):
        if spec.categorical:
            value[p] = spec.value_from_index(probabilities[spec.name].argmax())
    rows = (space.clip(value).astype(answers.value.dtype), std.astype(answers.std.dtype))
    return Answers(rows[0][None], rows[1][None], {name: row[None] for name, row in probabilities.items()})


def surest(answers: Answers) -> int:
    """Number of the frame that is surest of what all say together.

    Args:
        answers: Of the frames of a recording.
    """
    shares = [frames[:, voted_classes(frames).argmax()] for frames in answers.probabilities.values()]
    if shares:
        return int(np.sum(np.log(np.maximum(shares, TINY)), axis=0).argmax())
    return int(np.log(np.maximum(answers.std, TINY)).sum(axis=1).argmin())


def voted_classes(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities of classes by the mean logarithm of those of frames, `(frame, class)` to `(class,)`."""
    likelihood = np.log(np.maximum(probabilities.astype(np.float64), TINY)).mean(axis=0)
    share = np.exp(likelihood - likelihood.max())
    return share / share.sum()


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
