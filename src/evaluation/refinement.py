"""Analysis by synthesis: from a prediction to the parameters whose spectrogram is nearest to the one observed.

The residuals are those of the audit: levels of the image before it is rounded, and `spec_min` and `spec_max`. Pixels
are over the standard deviation of rounding, so that a residual of 1 is what rounding alone leaves; the ends of the
range, which are exact, weigh so much that they hold the level, and so little that the search does not stop at them.

Spectrograms in decibels have deep notches where harmonics meet within a band, and a derivative at a point says little
about the next notch. Derivatives are therefore central differences, wide at first and narrower once nothing is gained.

Integers and categories have no slope. Every class of a category, and an integer's neighbours, are combined; the few
combinations that sound most alike at the start are held one after the other while the rest is searched for, until a
sound is explained, and the best result counts. What does not act on a sound stays where it was.
"""

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
import torch

from src.errors import ConfigError
from src.evaluation.audit import LEVEL_NOISE, information_std, observe_waveform
from src.evaluation.scoring import parameter_errors
from src.params import ParameterSpace, ParamSpec
from src.recipe import Recipe
from src.spectral.representation import Reversible

RANGE_NOISE = 0.01  # dB of `spec_min` and `spec_max` that weigh as much as LEVEL_NOISE of a pixel
WIDTHS = (0.1, 0.02, 0.004, 0.001)  # grid steps to either side for a derivative, one stage after the other
OUTLIER = 10.0  # standard deviations from which on a residual counts linearly (Huber 1964)
TOLERANCE = 0.1  # of the cost, half a sum of squares; 0.5 is one standard deviation of one parameter
MAX_STEP = 2.0  # grid steps at a time
MAX_RENDERS = 60
SWEEPS = 5
FAR = 2.0  # a residual that rounding does not explain
SCATTER = 0.5  # grid steps, standard deviation of the new starts
MOST_COMBINATIONS = 256  # of classes, of which the sounds at the start are compared
TRIED = 8  # combinations of classes that are searched from, for each sound
PLACES = (1 / 6, 1 / 2, 5 / 6)  # of its range, where a parameter begins as well that does not always act
AT_ONCE = 256  # sounds that are searched side by side
BLOCK = 1 << 22  # samples rendered at a time
CACHED = 32  # sounds represented at a time: what they need then stays in the cache
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-8, 1e6
NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Refinement:
    """Parameters after analysis by synthesis, and what it took.

    Attributes:
        value: Possible values, float64, `(sound, parameter)`.
        residual_before: Root mean square of the residuals at the start, standard deviations of the noise, `(sound,)`.
        residual: The same at `value`; about 1 where nothing but rounding is left.
        std: Standard deviation that Gaussian noise of the size of rounding would leave at `value`, grid steps,
            `(sound, parameter)`; infinite for what does not show, and for integers and categories. Where the residual
            is 1, errors are below it, since rounding is no such noise; where it is far above 1, they are far above.
        n_renders: Renders of the sound, `(sound,)`, each of the sound itself and two more per parameter.
        milliseconds: Wall time per sound.
    """

    value: np.ndarray
    residual_before: np.ndarray
    residual: np.ndarray
    std: np.ndarray
    n_renders: np.ndarray
    milliseconds: float


def refine(
    recipe: Recipe,
    image: np.ndarray,
    spec_range: np.ndarray | None,
    start: np.ndarray,
    restarts: int = 2,
    seed: int = 0,
    advance: Callable[[int], None] = lambda n: None,
) -> Refinement:
    """Search from `start` for the parameters that explain observed images best.

    This is Levenberg-Marquardt within the ranges on many sounds side by side, so that one render serves many. From a
    quarter of a grid step away in every parameter of the basic set it took 10 ms of one processor a sound.

    Args:
        recipe: Renders; a recording is made an image by its `represent`.
        image: Observed, uint8, `(sound, channel, freq, time)`; the first channel counts. Images without a spectrogram
            are looked at in the recipe's view.
        spec_range: `spec_min` and `spec_max`, dB, `(sound, 2)`; None where the level means nothing.
        start: Where to begin, `(sound, parameter)`; made possible values.
        restarts: Further starts near the first one, for sounds that are not explained; the best result counts.
        seed: Of the further starts.
        advance: Called with the number of sounds just done.

    Raises:
        ConfigError: If shapes do not fit the recipe.
    """
    _check(recipe, image, spec_range, start)
    image, spec_range = in_view(recipe, image, spec_range)
    began = time.perf_counter()
    parts = []
    with _spectrogram_pool() as pool:
        for first in range(0, len(image), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            problem = Problem(recipe, pool, image[part], None if spec_range is None else spec_range[part])
            position = problem.position(start[part].astype(np.float64))
            before = problem.unexplained(position)
            best, n_renders = _returned(_search_classes(problem, position, restarts, np.random.default_rng(seed)))
            std = information_std(best.curvature)
            parts.append((problem.value(best.position), before, best.residual, std, n_renders + 1))
            advance(len(before))
    milliseconds = (time.perf_counter() - began) * 1e3 / len(image)
    value, residual_before, residual, std, n_renders = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Refinement(value, residual_before, residual, std, n_renders, milliseconds)


class RefinementStep(NamedTuple):
    """How far a search for the parameters of one sound has come.

    Attributes:
        value: The best so far, possible values, float64, `(parameter,)`.
        residual: As `Refinement` has it.
        n_renders: So far, as `Refinement` has it.
    """

    value: np.ndarray
    residual: float
    n_renders: int


def refinement_steps(
    recipe: Recipe,
    image: np.ndarray,
    spec_range: np.ndarray | None,
    start: np.ndarray,
    restarts: int = 2,
    seed: int = 0,
) -> Iterator[RefinementStep]:
    """The search of `refine` for one sound, step by step: where it begins, all that is nearer, and its result.

    Arguments and errors are those of `refine`, of one sound without the first dimension.
    """
    ranges = None if spec_range is None else spec_range[None]
    _check(recipe, image[None], ranges, start[None])
    with _spectrogram_pool() as pool:
        problem = Problem(recipe, pool, *in_view(recipe, image[None], ranges))
        position = problem.position(start[None].astype(np.float64))
        least, n_renders = math.inf, 1  # of the cost, as `refine` has it
        yield RefinementStep(problem.value(position)[0], float(problem.unexplained(position)[0]), n_renders)
        search = _search_classes(problem, position, restarts, np.random.default_rng(seed))
        while True:
            try:
                found, n_more = next(search)
            except StopIteration as end:
                best, n_of_search = end.value
                yield RefinementStep(problem.value(best.position)[0], float(best.residual[0]), int(n_of_search[0]) + 1)
                return
            n_renders += n_more
            nearest = int(found.cost.argmin())
            is_start = math.isinf(least)  # which a search renders first
            if found.cost[nearest] < least:
                least = float(found.cost[nearest])
                if not is_start:
                    value = problem.value(found.position)[nearest]
                    yield RefinementStep(value, float(found.residual[nearest]), n_renders)


def _spectrogram_pool() -> ThreadPoolExecutor:
    """Threads that make spectrograms. PyTorch's own wait by spinning, which costs more than spectrograms do."""
    return ThreadPoolExecutor(numba.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,))


def _returned(search: Generator[Any, None, Returned]) -> Returned:
    """What a search returns in the end."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            return end.value


def in_view(recipe: Recipe, image: np.ndarray, spec_range: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as those of the recipe's view, which shows spectrograms; arguments and errors as for `refine`."""
    if recipe.representation is recipe.view:
        return image, spec_range
    if not isinstance(recipe.representation, Reversible):
        raise ConfigError(
            f"{type(recipe.representation).__name__} has neither a spectrogram nor to_waveform, so its images "
            "cannot be compared with those of other sounds. Leave refinement out."
        )
    waveform = recipe.representation.to_waveform(torch.from_numpy(np.array(image)))
    seen, levels = (tensor.numpy() for tensor in recipe.view.to_image(waveform))
    return seen, None if spec_range is None else levels


def decibels_apart(
    recipe: Recipe, image: np.ndarray, spec_range: np.ndarray, value: np.ndarray, level_counts: bool
) -> np.ndarray | None:
    """How far the sounds of values are from sounds that are given by their images, float64, `(sound,)`.

    That is the root mean square of the difference of their spectrograms, dB.

    Args:
        recipe: Renders; its view shows the spectrograms.
        image: uint8, `(sound, channel, freq, time)`; the first channel counts.
        spec_range: `spec_min` and `spec_max`, dB, `(sound, 2)`, or `(sound, 0)` where there are none.
        value: `(sound, parameter)`.
        level_counts: Whether the level means something; else both are compared below their loudest points.

    Returns:
        None where images of this kind show no spectrogram.
    """
    if recipe.representation is not recipe.view and not isinstance(recipe.representation, Reversible):
        return None
    level_counts = level_counts and spec_range.shape[1] > 0
    image, levels = in_view(recipe, image, spec_range)
    if levels is None or not levels.shape[1]:
        levels = np.tile([-recipe.view.top_db, 0.0], (len(image), 1))
    parts = []
    for first in range(0, len(image), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        made, made_levels = recipe.view.to_image(torch.from_numpy(recipe.render(value[part])))
        one, other = (
            _decibels(*picture, level_counts)
            for picture in ((image[part], levels[part]), (made.numpy(), made_levels.numpy()))
        )
        parts.append(np.sqrt(np.square(one - other).mean(axis=(1, 2))))
    return np.concatenate(parts)


def _decibels(image: np.ndarray, spec_range: np.ndarray, level_counts: bool) -> np.ndarray:
    """Spectrograms, dB, full scale or below their loudest points, float64, `(sound, freq, time)`."""
    low, high = spec_range.astype(np.float64).T[:, :, None, None]
    return (low if level_counts else low - high) + image[:, 0] / 255 * (high - low)


def refinement_figures(
    found: Refinement,
    start: np.ndarray,
    true_value: np.ndarray,
    parameters: Sequence[ParamSpec],
    beside: Mapping[str, np.ndarray] = NOTHING,
) -> dict[str, Any]:
    """What refinement did, as plain data: medians over sounds, errors in grid steps.

    Args:
        found: By `refine`.
        start: Where it began, `(sound, parameter)`.
        true_value: `(sound, parameter)`.
        parameters: In the order of the columns.
        beside: Further figures of each parameter, `(parameter,)`.

    Returns:
        `milliseconds` a sound, `renders`, `residual_before`, `residual`, and `parameters`: name to the median absolute
        `error_before` and `error`, or of a category `wrong_before` and `wrong`, shares of wrong classes; and to what is
        beside, None where that is no finite number. Only sounds on which a parameter acts count; without any, it is
        left out.
    """
    rows: dict[str, dict[str, float | None]] = {}
    space = ParameterSpace(tuple(parameters))
    errors = [parameter_errors(space, value, true_value) for value in (start, found.value)]
    for p, spec in enumerate(parameters):
        acts = ~np.isnan(errors[0][:, p])
        if not acts.any():
            continue
        if spec.categorical:
            before, after = (float(error[acts, p].mean()) for error in errors)
            rows[spec.name] = {"wrong_before": before, "wrong": after}
        else:
            before, after = (float(np.median(error[acts, p])) / spec.step for error in errors)
            rows[spec.name] = {"error_before": before, "error": after}
        figures = {name: float(column[p]) for name, column in beside.items()}
        rows[spec.name] |= {name: figure if np.isfinite(figure) else None for name, figure in figures.items()}
    return {
        "milliseconds": found.milliseconds,
        "renders": float(np.median(found.n_renders)),
        "residual_before": float(np.median(found.residual_before)),
        "residual": float(np.median(found.residual)),
        "parameters": rows,
    }


class Point(NamedTuple):
    """Position of every sound, and its cost at a distance d: cost + gradient d + d curvature d / 2.

    Attributes:
        position: Grid steps from the lowest value, `(sound, parameter)`.
        cost: Half the sum of squared residuals, outliers linear, `(sound,)`.
        residual: Root mean square of the residuals, `(sound,)`.
        gradient: `(sound, parameter)`.
        curvature: By Gauss and Newton, `(sound, parameter, parameter)`.
    """

    position: np.ndarray
    cost: np.ndarray
    residual: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray

    def replace(self, sound: np.ndarray, other: "Point", chosen: np.ndarray) -> None:
        """Replace the sounds numbered `sound` by those of another point, where `chosen`, `(sound,)`, is True."""
        for mine, theirs in zip(self, other, strict=True):
            mine[sound[chosen]] = theirs[chosen]


# Where a search is after each render, and how many renders that was; in the end, its best, and renders of each sound.
SearchSteps = Generator[tuple[Point, int], None, tuple[Point, np.ndarray]]


class Problem:
    """Observed sounds, and how well parameters explain them. Positions are in grid steps from the lowest value.

    Args:
        recipe: Renders.
        pool: Makes spectrograms, on threads that PyTorch does not split further.
        image: Observed, uint8, `(sound, channel, freq, time)`.
        spec_range: `spec_min` and `spec_max`, dB, `(sound, 2)`; None where they do not count.
    """

    def __init__(
        self, recipe: Recipe, pool: ThreadPoolExecutor, image: np.ndarray, spec_range: np.ndarray | None
    ) -> None:
        self.recipe, self.pool = recipe, pool
        self.end = recipe.space.range / recipe.space.step  # highest position, (parameter,); the lowest is 0
        self.with_range = spec_range is not None
        self.observed = _over_noise(image[:, 0].reshape(len(image), -1), spec_range)  # (sound, residual)

    def value(self, position: np.ndarray) -> np.ndarray:
        """Values of positions, never out of range."""
        return self.recipe.space.clip(self.recipe.space.value_from_index(position))

    def position(self, value: np.ndarray) -> np.ndarray:
        """Positions of values, those out of range at its nearer end."""
        space = self.recipe.space
        return np.clip((space.snapped(value) - space.low) / space.step, 0, self.end)

    def acts(self, position: np.ndarray) -> np.ndarray:
        """Which parameters act, bool, `(sound, parameter)`, as `position`."""
        return self.recipe.space.active_from_index(position.round().astype(np.int64))

    def free(self, position: np.ndarray) -> np.ndarray:
        """Which parameters have a slope: continuous ones that act, bool, `(sound, parameter)`, as `position`."""
        return self.acts(position) & (self.recipe.space.discrete == 0)

    def observe(self, position: np.ndarray) -> np.ndarray:
        """Unrounded images of positions, `(sound, parameter)`, over their noise, float32, `(sound, residual)`."""
        waveform = torch.from_numpy(self.recipe.render(self.value(position)))
        observations = self.pool.map(partial(observe_waveform, self.recipe.view), waveform.split(CACHED))
        return np.concatenate([_over_noise(levels, ends if self.with_range else None) for levels, ends in observations])

    def unexplained(self, position: np.ndarray) -> np.ndarray:
        """Root mean square of the residuals of every sound, `(sound,)`, at `position`, `(sound, parameter)`."""
        blocks = self._blocks(len(position), 1)
        return np.concatenate([_rms(self.observe(position[block]) - self.observed[block]) for block in blocks])

    def linearize(self, sound: np.ndarray, position: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals and their derivatives, in one render.

        Args:
            sound: Numbers of the sounds, `(sound,)`.
            position: `(sound, parameter)`.
            width: Of the central differences, grid steps to either side, `(sound,)` or `(sound, parameter)`.

        Returns:
            Residuals, `(sound, residual)`, and slopes per grid step, `(sound, parameter, residual)`, both float32.
        """
        n_sounds, n_parameters = position.shape
        free = self.free(position)
        (columns,) = np.nonzero(free.any(axis=0))
        width = width.reshape(n_sounds, -1)
        below = np.maximum(position - width * free, 0)
        above = np.minimum(position + width * free, self.end)
        moved = np.stack([below, above], axis=1)[..., None, :]  # (sound, side, 1, parameter)
        moved = np.where(np.eye(n_parameters, dtype=bool)[columns], moved, position[:, None, None])
        positions = np.concatenate([position[:, None], moved.reshape(n_sounds, -1, n_parameters)], axis=1)
        seen = self.observe(positions.reshape(-1, n_parameters)).reshape(n_sounds, 1 + 2 * len(columns), -1)
        rise = seen[:, 1 + len(columns) :] - seen[:, 1 : 1 + len(columns)]
        run = np.where(free, above - below, 1.0)[:, columns, None]  # what has no slope did not move
        slopes = np.zeros((n_sounds, n_parameters, seen.shape[2]), dtype=np.float32)
        slopes[:, columns] = rise / run.astype(np.float32)
        return seen[:, 0] - self.observed[sound], slopes

    def approximate(self, sound: np.ndarray, position: np.ndarray, width: np.ndarray) -> Point:
        """The cost near `position`; arguments as for `linearize`, in blocks that fit in memory."""
        blocks = self._blocks(len(sound), 1 + 2 * position.shape[1])
        parts = [_quadratic(*self.linearize(sound[block], position[block], width[block])) for block in blocks]
        return Point(position, *(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _blocks(self, n_sounds: int, n_each: int) -> list[slice]:
        """Sounds that are rendered at `n_each` positions each, as many at a time as fit in memory."""
        size = max(1, BLOCK // (self.recipe.view.n_samples * n_each))
        return [slice(first, first + size) for first in range(0, n_sounds, size)]


def _check(recipe: Recipe, image: np.ndarray, spec_range: np.ndarray | None, start: np.ndarray) -> None:
    """Refuse what does not belong together."""
    n_sounds, n_parameters = len(image), len(recipe.space.varying)
    if n_sounds == 0 or image.shape[1:] != recipe.representation.image_shape:
        raise ConfigError(
            f"image has the shape {image.shape}; it must hold one image or more of the recipe's shape "
            f"{recipe.representation.image_shape}."
        )
    if start.shape != (n_sounds, n_parameters) or not np.isfinite(start).all():
        raise ConfigError(f"start, of shape {start.shape}, must hold {n_sounds} x {n_parameters} finite numbers.")
    if spec_range is not None and spec_range.shape != (n_sounds, 2):
        raise ConfigError(f"spec_range has the shape {spec_range.shape}; it must be ({n_sounds}, 2), or None.")


def _search_classes(problem: Problem, position: np.ndarray, restarts: int, rng: np.random.Generator) -> SearchSteps:
    """Search from `position`, `(sound, parameter)`; what is not explained, from where other classes sound most alike.

    Returns:
        The best that was found, and the number of renders, `(sound,)`.
    """
    best, n_renders = yield from _search_repeatedly(problem, position, restarts, rng)
    others = _other_classes(problem, position)
    if not len(others):
        return best, n_renders
    residual = np.stack([problem.unexplained(np.where(np.isnan(other), position, other)) for other in others])
    residual[np.isnan(others).any(axis=2)] = np.inf
    n_renders += len(others)
    sounds = np.arange(len(position))
    for choice in np.argsort(residual, axis=0, kind="stable")[: TRIED - 1]:
        (some,) = np.nonzero(np.isfinite(residual[choice, sounds]) & (best.residual > FAR))
        if some.size:
            start = others[choice[some], some]
            end, more_renders = yield from _search_repeatedly(problem, start, restarts, rng, some)
            n_renders[some] += more_renders
            best.replace(some, end, end.cost < best.cost[some])
    return best, n_renders


def _other_classes(problem: Problem, position: np.ndarray) -> np.ndarray:
    """Positions with other classes, and integers one up or down, `(combination, sound, parameter)`.

    What acts with some classes only begins at several places, since it may not have acted at the start. NaN where there
    is no such integer, or something would be moved that does not act. Beyond so many combinations, the parameters with
    the most classes are held.

    Args:
        problem: Knows the parameters.
        position: `(sound, parameter)`.
    """
    space = problem.recipe.space
    moves = {p: found for p, spec in enumerate(space.varying) if len(found := _moves(spec)) > 1}
    while math.prod(map(len, moves.values())) > MOST_COMBINATIONS:
        del moves[max(moves, key=lambda p: len(moves[p]))]
    others = []
    for combination in itertools.islice(itertools.product(*moves.values()), 1, None):  # the first moves nothing
        other = position.copy()
        for p, move in zip(moves, combination, strict=True):
            if space.categorical[p]:
                other[:, p] = (position[:, p] + move) % space.n_classes[p]
            elif space.discrete[p]:
                inside = (position[:, p] + move >= 0) & (position[:, p] + move < space.n_classes[p])
                other[:, p] = np.where(inside, position[:, p] + move, np.nan)
            elif move:
                other[:, p] = move * problem.end[p]
        idle = ~problem.acts(np.nan_to_num(other))
        others.append(np.where(idle & (other != position), np.nan, other))
    return np.stack(others) if others else np.empty((0, *position.shape))


def _moves(spec: ParamSpec) -> Sequence[float]:
    """What is tried of a parameter, nothing first: classes onward, steps of an integer, places in a range."""
    if spec.categorical:
        return range(spec.n_classes)
    if spec.discrete:
        return (0, 1, -1)
    return (0, *PLACES) if spec.active_if else (0,)


def _search_repeatedly(
    problem: Problem,
    position: np.ndarray,
    restarts: int,
    rng: np.random.Generator,
    sound: np.ndarray | None = None,
) -> SearchSteps:
    """Search from `position`, `(sound, parameter)`; what is not explained, from several places near it again.

    Args:
        problem: What is to be explained.
        position: Where to begin.
        restarts: How many other places.
        rng: Chooses them.
        sound: Numbers of the sounds, `(sound,)`; None: all.

    Returns:
        The best that was found, and the number of renders, `(sound,)`.
    """
    sound = np.arange(len(position)) if sound is None else sound
    best, n_renders = yield from _Search(problem, sound, position).run()
    scattered = position + SCATTER * rng.standard_normal((restarts, *position.shape)) * problem.free(position)
    (far,) = np.nonzero(best.residual > FAR)
    if far.size and restarts:
        starts = np.clip(scattered[:, far], 0, problem.end).reshape(-1, position.shape[1])
        ends, more_renders = yield from _Search(problem, np.tile(sound[far], restarts), starts).run()
        n_renders[far] += more_renders.reshape(restarts, -1).sum(axis=0)
        for first in range(0, len(starts), far.size):
            end = Point(*(column[first : first + far.size] for column in ends))
            best.replace(far, end, end.cost < best.cost[far])
    return best, n_renders


class _Search:
    """The method of Levenberg (1944) and Marquardt (1963) within bounds, every sound at its own pace.

    A stage is over when nothing is to be gained; a sound is done when the narrower derivatives of the next stage say so
    as well.

    Args:
        problem: What is to be explained.
        sound: Numbers of the sounds, `(sound,)`.
        position: Where to begin, `(sound, parameter)`.
    """

    def __init__(self, problem: Problem, sound: np.ndarray, position: np.ndarray) -> None:
        n, p = position.shape
        self.problem, self.sound, self.free = problem, sound, problem.free(position)
        self.at = Point(position.copy(), np.full(n, np.inf), np.full(n, np.inf), np.zeros((n, p)), np.zeros((n, p, p)))
        self.candidate = position.copy()
        self.expected = np.full(n, np.inf)  # gain of the candidate by the quadratic
        self.damping = np.full(n, FIRST_DAMPING)
        self.stage, self.n_in_stage, self.n_renders = np.zeros((3, n), dtype=int)

    def run(self) -> SearchSteps:
        """Search until every sound is done; returns where that is, and the number of renders, `(sound,)`."""
        active = np.arange(len(self.sound))
        while active.size:
            settled = self._evaluate(active)
            yield self.at, len(active)
            settled |= self._propose(active)
            active = active[~self._next_stage(active, settled)]
        return self.at, self.n_renders

    def _evaluate(self, k: np.ndarray) -> np.ndarray:
        """Render the candidates of the sounds `k`, keep those that are better; whether the gain was small."""
        found = self.problem.approximate(self.sound[k], self.candidate[k], np.array(WIDTHS)[self.stage[k]])
        gain = self.at.cost[k] - found.cost  # infinite at the first render of a stage
        better = gain > 0
        ratio = np.where(np.isinf(gain), 0.5, gain) / np.where(np.isinf(gain), 1.0, self.expected[k].clip(min=1e-12))
        factor = np.where(better, np.where(ratio > 0.75, 0.1, np.where(ratio < 0.25, 3.0, 0.5)), 8.0)
        self.damping[k] = (self.damping[k] * factor).clip(min=LEAST_DAMPING)
        self.at.replace(k, found, better)
        self.n_renders[k] += 1
        self.n_in_stage[k] += 1
        return better & (gain < TOLERANCE)

    def _propose(self, k: np.ndarray) -> np.ndarray:
        """Choose the next candidates of the sounds `k`; whether the expected gain is too small to try them."""
        at = self.at.position[k]
        curvature, gradient = self.at.curvature[k], self.at.gradient[k]
        strength = np.einsum("npp->np", curvature)
        strength = np.maximum(strength, 1e-6 * strength.max(axis=1, keepdims=True)) + 1e-12
        damped = curvature + np.eye(at.shape[1]) * (self.damping[k, None] * strength)[:, None]
        low, high = np.maximum(-at, -MAX_STEP), np.minimum(self.problem.end - at, MAX_STEP)
        low, high = low * self.free[k], high * self.free[k]
        step = box_step(damped, gradient, low, high)
        self.candidate[k] = np.clip(at + step, 0, self.problem.end)
        self.expected[k] = -(gradient * step).sum(axis=1) - 0.5 * np.einsum("np,npq,nq->n", step, curvature, step)
        return (self.expected[k] < TOLERANCE) | (self.damping[k] > MOST_DAMPING)

    def _next_stage(self, k: np.ndarray, settled: np.ndarray) -> np.ndarray:
        """Send settled sounds to their next stage; whether a sound is done."""
        agreed = settled & (self.stage[k] > 0) & (self.n_in_stage[k] == 1) & (self.expected[k] < TOLERANCE)
        last = settled & (self.stage[k] == len(WIDTHS) - 1)
        done = agreed | last | (self.n_renders[k] >= MAX_RENDERS)
        onward = k[settled & ~done]
        self.stage[onward] += 1
        self.n_in_stage[onward] = 0
        self.candidate[onward] = self.at.position[onward]
        self.at.cost[onward] = np.inf
        self.damping[onward] = 0.1 * FIRST_DAMPING
        return done


def box_step(curvature: np.ndarray, gradient: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Minimize gradient d + d curvature d / 2 within low <= d <= high.

    Where Newton's step lies within, it is the solution. Else what leaves the box is put on its border and held there
    while the others are solved for again, and sweeps that minimize by one parameter at a time, which only go downhill,
    release what should not have been held.

    Args:
        curvature: Positive definite, `(sound, parameter, parameter)`.
        gradient: `(sound, parameter)`.
        low: 0 or less, `(sound, parameter)`.
        high: 0 or more, `(sound, parameter)`.

    Returns:
        d, `(sound, parameter)`.
    """
    diagonal = np.eye(gradient.shape[1], dtype=bool)
    held = np.zeros(gradient.shape, dtype=bool)
    step = np.zeros_like(gradient)
    for _ in range(gradient.shape[1] + 1):
        right = -gradient - np.einsum("npq,nq->np", curvature, np.where(held, step, 0))
        free = ~(held[:, :, None] | held[:, None, :])
        system = np.where(free, curvature, diagonal & held[:, :, None])
        solved = np.linalg.solve(system, np.where(held, step, right)[..., None])[..., 0]
        outside = ~held & ((solved < low) | (solved > high))
        step = np.clip(solved, low, high)
        held |= outside
        if not outside.any():
            break
    if held.any():
        for _ in range(SWEEPS):
            for p in range(step.shape[1]):
                slope = gradient[:, p] + (curvature[:, p] * step).sum(axis=1)
                step[:, p] = np.clip(step[:, p] - slope / curvature[:, p, p], low[:, p], high[:, p])
    return step


def _quadratic(residual: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, ...]:
    """The cost and its derivatives: what a `Point` holds beside the position.

    Args:
        residual: `(sound, residual)`.
        slopes: `(sound, parameter, residual)`.
    """
    size = np.abs(residual)
    weight = OUTLIER / np.maximum(size, OUTLIER)
    cost = np.where(size > OUTLIER, OUTLIER * (size - OUTLIER / 2), size**2 / 2).sum(axis=1, dtype=np.float64)
    weighted = slopes * weight[:, None]
    gradient, curvature = (weighted @ residual[..., None])[..., 0], weighted @ slopes.mT
    return cost, _rms(residual), gradient.astype(np.float64), curvature.astype(np.float64)


def _over_noise(levels: np.ndarray, ranges: np.ndarray | None) -> np.ndarray:
    """Levels, `(sound, pixel)`, and if they count `spec_min` and `spec_max`, over their noise, float32."""
    columns = [levels / LEVEL_NOISE] + ([] if ranges is None else [ranges / RANGE_NOISE])
    return np.concatenate(columns, axis=1, dtype=np.float32)


def _rms(residual: np.ndarray) -> np.ndarray:
    """Root mean square, float64, `(sound,)`."""
    return np.sqrt((residual.astype(np.float64) ** 2).mean(axis=1))
