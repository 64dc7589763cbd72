"""Ridges: pairs of parameters that a sound does not tell apart, such as a decay that the note cuts off and its sustain.

Near an answer the picture of a sound is linear in the parameters. What changes it little is a direction in which the
answer may be wrong: the covariance of the answer is the inverse of the Gauss-Newton curvature over the variance of what
the answer's picture leaves unexplained, together with a prior, the variance of a uniform distribution over each range.
(Laplace's approximation; MacKay 2003, Information Theory, Inference, and Learning Algorithms, chapter 27.)
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from src.evaluation.refinement import WIDTHS, Problem, in_view
from src.recipe import Recipe
from src.spectral.representation import Reversible

LEAST_CORRELATION = 0.9  # from which on a pair is called a ridge
LEAST_STD = 0.2  # grid steps that both must be uncertain by: what is known well enough needs no telling apart
TO_EDGE = 2.146  # standard deviations along the long axis of an ellipse that holds 90 % of a Gaussian of two dimensions


class Ridge(NamedTuple):
    """Two parameters of a sound that are known together better than each.

    Attributes:
        first: Number of a parameter.
        second: Number of the other.
        correlation: Of their errors.
        ends: Values at the ends of the long axis of the ellipse that holds 90 %, within the ranges, `(end, parameter)`.
    """

    first: int
    second: int
    correlation: float
    ends: np.ndarray


def covariance_of(
    recipe: Recipe, image: np.ndarray, spec_range: np.ndarray | None, value: np.ndarray
) -> np.ndarray | None:
    """Covariances of answers, squared grid steps, `(sound, parameter, parameter)`.

    What does not act, and what has no slope (integers, categories), is uncorrelated, with a variance of 0.
    None where images of this kind show no spectrogram.

    Args:
        recipe: Renders.
        image: Observed, uint8, `(sound, channel, freq, time)`.
        spec_range: dB, `(sound, 2)`; None where the level means nothing.
        value: The answers, `(sound, parameter)`.
    """
    if recipe.representation is not recipe.view and not isinstance(recipe.representation, Reversible):
        return None
    image, spec_range = in_view(recipe, image, spec_range)
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        problem = Problem(recipe, pool, image, spec_range)
        position = problem.position(value.astype(np.float64))
        point = problem.approximate(np.arange(len(value)), position, np.full(len(value), WIDTHS[0]))
    precision = point.curvature / np.maximum(1.0, point.residual)[:, None, None] ** 2
    precision += np.diag(12 / np.maximum(problem.end, 1e-9) ** 2)  # of a uniform distribution over the range
    free = problem.free(position)
    both = free[:, :, None] & free[:, None, :]
    alone = np.where(both, precision, np.eye(precision.shape[1]))
    return np.where(both, np.linalg.inv(alone), 0.0)


def find_ridges(recipe: Recipe, image: np.ndarray, spec_range: np.ndarray | None, value: np.ndarray) -> list[Ridge]:
    """The ridges at the answer to one sound; none where images of this kind show no spectrogram.

    Args:
        recipe: Renders.
        image: Observed, uint8, `(channel, freq, time)`.
        spec_range: dB, `(2,)`; None where the level means nothing.
        value: The answer, `(parameter,)`.
    """
    covariance = covariance_of(recipe, image[None], None if spec_range is None else spec_range[None], value[None])
    return [] if covariance is None else ridges_of(recipe, covariance[0], value)


def ridges_of(recipe: Recipe, covariance: np.ndarray, value: np.ndarray) -> list[Ridge]:
    """The ridges of an answer, the strongest first.

    Args:
        recipe: Knows the parameters.
        covariance: Of the answer, squared grid steps, `(parameter, parameter)`.
        value: The answer, `(parameter,)`.
    """
    std = np.sqrt(np.diag(covariance))
    correlation = covariance / np.maximum(np.outer(std, std), 1e-12)
    pairs = [
        (p, q)
        for p, q in itertools.combinations(range(len(std)), 2)
        if abs(correlation[p, q]) >= LEAST_CORRELATION and min(std[p], std[q]) >= LEAST_STD
    ]
    pairs.sort(key=lambda pair: -abs(correlation[pair]))
    return [Ridge(p, q, float(correlation[p, q]), _ends(recipe, covariance, value, [p, q])) for p, q in pairs]


def _ends(recipe: Recipe, covariance: np.ndarray, value: np.ndarray, pair: list[int]) -> np.ndarray:
    """See `Ridge`: the long axis is cut where one of the parameters reaches an end of its range."""
    space = recipe.space
    variances, axes = np.linalg.eigh(covariance[np.ix_(pair, pair)])
    along = TO_EDGE * np.sqrt(variances[-1]) * axes[:, -1] * space.step[pair]
    centre, low, high = value[pair].astype(np.float64), space.low[pair], space.high[pair]
    ends = []
    for direction in (-along, along):
        room = np.where(direction > 0, high - centre, low - centre)
        share = np.divide(room, direction, out=np.ones(2), where=direction != 0)
        ends.append(centre + direction * np.clip(share.min(), 0.0, 1.0))
    return np.stack(ends)
