"""The posterior given the picture: what is left open of the parameters of a sound by its pixels and its level.

The prior is the dataset's own, uniform over the ranges. A picture is rounded by one deterministic computation, so the
likelihood is 1 where parameters make the stored pixels, `spec_min` and `spec_max`, and 0 elsewhere: the posterior is
uniform over the cell of the picture (`cells`). It is sampled by hit-and-run (Smith, Operations Research 32, 1984): from
a point along a random direction to a random point of the cell. Where the cell ends on that line is not known, so the
line is cut back to each point that is tried and lies outside (Neal, Slice sampling, Annals of Statistics 31, 2003).

A cell is a thin sheet, of which one parameter is found from the others by `spec_max`. What moves freely within it is
sampled, in directions that follow the covariance of earlier draws. The thickness of the sheet, one over the slope of
`spec_max`, weights the draws.

A sound may have several cells. They are searched from its true values, which are in one of them, from the parameters of
pictures that are alike, and from draws of the prior, by refinement and linear programmes; each is weighted by its
volume. A cell that the search misses makes the true posterior wider than what is found here, in the mean over sounds.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import torch

from src.errors import ConfigError
from src.evaluation.cells import SAME_LEVEL, Cells, Sheets
from src.evaluation.estimates import nearest_neighbours, network_features
from src.evaluation.refinement import refine
from src.params import ParameterSpace
from src.recipe import PERTURB, Recipe
from src.spectral.representation import SpectralRepresentation

N_CHAINS = 8
STEPS = (4, 8, 16, 32, 64, 128)  # of a chain in each round; all but the last round only learn directions
LEAST_ROUNDS = 4
N_LEAPS = 3  # for each line
CONVERGED = 1.05  # split R-hat
LINE = 4.0  # length of a line before it is cut, standard deviations
LEAP = 16  # steps within the linearized cell, before its end is compared with the true one
ROOM = 0.501  # levels to either side of a pixel in it: a cell is as narrow as its nearest pixels leave it
SHORTEST = 1e-6  # length of a line that is cut no more
KEPT = 256  # draws of a cell
RISE = 0.01  # dB by which the level is moved to find its slope
IN_ELLIPSOID = 256  # points by which a volume is found
LIBRARY = 4096  # draws of the prior among whose pictures the nearest are found
SOLVED = 2.0  # residual, standard deviations of rounding, of a refinement that may be in a cell
APART = 1.0  # extents of a cell by which another one lies beyond it
UNTOLD = 0.2  # grid steps, the standard deviation from which on a picture does not tell a parameter
MOST_DB = 120.0  # of the level
AT_ONCE = 64  # sounds


@dataclass(frozen=True)
class Posterior:
    """What pictures leave open, `(sound, parameter)` each; NaN for a parameter that does not act on a sound.

    Attributes:
        mean: Of the posterior, values; of categories meaningless.
        median: The answer with the least expected absolute error, values; of categories the most probable class.
        std: Standard deviation, grid steps; of categories NaN.
        absolute: Expected absolute error of `median`, grid steps; of categories the probability that it is wrong.
        accuracy: Probability of the most probable class.
        low: Lower end of the inner interval, values: the lowest that was found to make the picture.
        high: Upper end.
        linear: Width of the interval that the cell has by linearization, grid steps.
        rank: Share of the draws that are below the true value.
        r_hat: Split R-hat of the draws; 1 where chains agree.
        n_effective: Draws that are worth as much if they were independent.
        n_cells: Cells found, `(sound,)`.
        n_starts: Places that cells were searched from, for each sound.
        n_renders: For each sound, in the mean.
    """

    mean: np.ndarray
    median: np.ndarray
    std: np.ndarray
    absolute: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    linear: np.ndarray
    rank: np.ndarray
    r_hat: np.ndarray
    n_effective: np.ndarray
    n_cells: np.ndarray
    n_starts: int
    n_renders: float

    @property
    def converged(self) -> np.ndarray:
        """Sounds whose chains agree in all parameters, bool, `(sound,)`."""
        return np.nanmax(self.r_hat, axis=1) < CONVERGED


class LeftOpen(NamedTuple):
    """Of a posterior, what methods are compared with; attributes as of `Posterior`."""

    std: np.ndarray
    absolute: np.ndarray
    accuracy: np.ndarray


class CellDraws(NamedTuple):
    """Draws from cells.

    Attributes:
        position: `(cell, draw, parameter)`.
        weight: How thick the sheet is there, `(cell, draw)`.
        low: Lowest positions found within, `(cell, parameter)`.
        high: Highest.
        r_hat: `(cell, parameter)`.
        n_effective: `(cell, parameter)`.
    """

    position: np.ndarray
    weight: np.ndarray
    low: np.ndarray
    high: np.ndarray
    r_hat: np.ndarray
    n_effective: np.ndarray


# ----- posteriors of sounds


def posterior(
    recipe: Recipe,
    value: np.ndarray,
    n_searched: int = 4,
    seed: int = 0,
    steps: Sequence[int] = STEPS,
    advance: Callable[[int], None] = lambda n: None,
) -> Posterior:
    """What the pictures of sounds leave open about their parameters.

    Args:
        recipe: Renders.
        value: Parameters of the sounds, `(sound, parameter)`.
        n_searched: Places, beside the true values, that other cells are searched from; half of them from pictures that
            are alike, half from draws of the prior. 0: the cell of the true values alone.
        seed: Of what is drawn.
        steps: Of the chains, by rounds.
        advance: Called with the number of sounds just done.

    Raises:
        ConfigError: Where `why_no_posterior` has a reason.
    """
    why_not = why_no_posterior(recipe)
    if why_not:
        raise ConfigError(f"There is no posterior given the picture: {why_not}.")
    value = value.astype(np.float64)
    rng = np.random.default_rng(seed)
    library = _library(recipe, rng) if n_searched else None
    parts, n_renders = [], 0
    with ThreadPoolExecutor(numba.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for first in range(0, len(value), AT_ONCE):
            some = value[first : first + AT_ONCE]
            cells = Cells(recipe, pool, *recipe.represent(recipe.render(some)))
            starts = [] if library is None else _places(cells, library, n_searched, rng)
            parts.append(_posteriors(cells, some, starts, rng, steps))
            n_renders += cells.n_renders
            advance(len(some))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Posterior(**columns, n_starts=1 + n_searched, n_renders=n_renders / len(value))


def why_no_posterior(recipe: Recipe) -> str:
    """Why pictures of a recipe have no posterior here, as a sentence without its full stop; empty if they have one."""
    if not isinstance(recipe.representation, SpectralRepresentation):
        return f"{type(recipe.representation).__name__} makes no spectrograms"
    if recipe.config.get("dataset", {}).get("sampling") == "grid":
        return "the values of this set lie on a grid, while here they are continuous"
    if recipe.config.get(PERTURB):
        return "the pictures of this set are of perturbed sounds, which parameters alone do not make"
    return ""


def efficiency(found: Posterior | LeftOpen, error: np.ndarray) -> np.ndarray:
    """Expected absolute error under the posterior over a method's own, means over sounds, `(parameter,)`.

    Args:
        found: Of some sounds.
        error: Absolute errors of the method on these sounds, grid steps (of categories 1 for a wrong class),
            `(sound, parameter)`.
    """
    mean = np.nanmean(np.where(np.isnan(error), np.nan, found.absolute), axis=0)
    own = np.nanmean(np.where(np.isnan(found.absolute), np.nan, error), axis=0)
    return np.divide(mean, own, out=np.full(len(own), np.inf), where=own > 0)


def share_untold(found: Posterior | LeftOpen, error: np.ndarray) -> np.ndarray:
    """Share of a method's absolute error in sounds whose parameter the picture does not tell, `(parameter,)`.

    That is: where the standard deviation of the posterior is above `UNTOLD` grid steps; of categories, where the most
    probable class is less probable than 1 - `UNTOLD`. Arguments as for `efficiency`.
    """
    untold = np.where(np.isnan(found.std), 1 - found.accuracy, found.std) > UNTOLD
    total = np.nansum(error, axis=0)
    return np.divide(np.nansum(error * untold, axis=0), total, out=np.zeros(len(total)), where=total > 0)


def _posteriors(
    cells: Cells, value: np.ndarray, starts: Sequence[np.ndarray], rng: np.random.Generator, steps: Sequence[int]
) -> dict[str, np.ndarray]:
    """What `Posterior` holds of some sounds."""
    n_sounds = len(value)
    sheets = cells.sheets(np.arange(n_sounds), cells.position(value))
    found = [(sheets, draw(cells, sheets, rng, steps))]
    for start in starts:
        sound, position = _beyond(cells, start, found)
        if len(sound):
            more = cells.sheets(sound, position)
            found.append((more, draw(cells, more, rng, steps)))
    owner = np.concatenate([sheets.sound for sheets, _ in found])
    volume = np.concatenate([_volume(cells, *each, rng) for each in found])
    draws = CellDraws(*(np.concatenate(column) for column in zip(*(each for _, each in found), strict=True)))
    rows = []
    for k in range(n_sounds):
        (mine,) = np.nonzero(owner == k)
        weight = draws.weight[mine] / draws.weight[mine].sum(axis=1, keepdims=True)
        share = volume[mine] * draws.weight[mine].mean(axis=1)
        weight = (weight * (share / share.sum())[:, None]).ravel()
        row = summary(cells.recipe.space, draws.position[mine].reshape(len(weight), -1), weight, value[k])
        ends = draws.low[mine].min(axis=0), draws.high[mine].max(axis=0)
        row |= dict(zip(("low", "high"), (cells.value(end) for end in ends), strict=True))
        row["linear"] = np.ptp(np.einsum("pep->pe", sheets.ends[k]), axis=1)
        row |= {"r_hat": draws.r_hat[mine].max(axis=0), "n_effective": draws.n_effective[mine].min(axis=0)}
        idle = ~cells.recipe.space.active(value[k : k + 1])[0]
        rows.append({name: np.where(idle, np.nan, item) for name, item in row.items()} | {"n_cells": len(mine)})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def summary(
    space: ParameterSpace, position: np.ndarray, weight: np.ndarray, true_value: np.ndarray
) -> dict[str, np.ndarray]:
    """Figures of weighted draws from the posterior of a sound, `(parameter,)` each; see `Posterior`.

    Args:
        space: The parameters.
        position: Grid steps from the lowest value, `(draw, parameter)`.
        weight: They sum to 1, `(draw,)`.
        true_value: `(parameter,)`.
    """
    mean = weight @ position
    order = np.argsort(position, axis=0, kind="stable")
    middle = np.argmax(np.cumsum(weight[order], axis=0) >= 0.5, axis=0)
    median = np.take_along_axis(position, np.take_along_axis(order, middle[None], axis=0), axis=0)[0]
    index = space.index_from_code(space.encode(space.clip(space.value_from_index(position)))).astype(int)
    chances = [np.bincount(index[:, p], weight, n) for p, n in enumerate(space.n_classes)]
    accuracy = np.array([chance.max() for chance in chances])
    likely = np.array([chance.argmax() for chance in chances], dtype=np.float64)
    median = np.where(space.categorical, likely, median)
    absolute = np.where(space.categorical, 1 - accuracy, weight @ np.abs(position - median))
    std = np.sqrt(weight @ (position - mean) ** 2)
    true = (true_value - space.low) / space.step
    return {
        "mean": space.value_from_index(mean),
        "median": space.clip(space.value_from_index(median)),
        "std": np.where(space.categorical, np.nan, std),
        "absolute": absolute,
        "accuracy": accuracy,
        "rank": weight @ ((position < true) + 0.5 * (position == true)),
    }


# ----- several cells


class Library(NamedTuple):
    """Draws of the prior, `(draw, parameter)`, and features of their pictures, `(draw, feature)`."""

    value: np.ndarray
    features: np.ndarray


def _library(recipe: Recipe, rng: np.random.Generator) -> Library:
    value = recipe.space.value_from_uniform(rng.random((LIBRARY, len(recipe.space.varying))))
    return Library(value, _features(*recipe.represent(recipe.render(value))))


def _features(image: np.ndarray, spec_range: np.ndarray) -> np.ndarray:
    """What pictures are compared by: pixels, and the level, of which its full range counts like that of a pixel."""
    return network_features(image, spec_range / MOST_DB)


def _places(cells: Cells, library: Library, n_searched: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Where refinements end that begin at pictures that are alike and at draws of the prior, `(sound, parameter)` each.

    NaN where a sound is not explained.
    """
    spec_range = cells.spec_range
    mine = _features(cells.image, spec_range)
    features, value, n_sounds = library.features, library.value, len(mine)
    starts = []
    for _ in range(n_searched - n_searched // 2):
        nearest = nearest_neighbours(mine, [features])
        starts.append(value[nearest])
        left = np.setdiff1d(np.arange(len(value)), nearest)  # each is begun at once
        features, value = features[left], value[left]
    starts += [library.value[rng.integers(len(library.value), size=n_sounds)] for _ in range(n_searched // 2)]
    ends = []
    for start in starts:
        found = refine(cells.recipe, cells.image, spec_range, start, restarts=0)
        ends.append(np.where(found.residual[:, None] < SOLVED, cells.position(found.value), np.nan))
    return ends


def _beyond(
    cells: Cells, start: np.ndarray, found: Sequence[tuple[Sheets, CellDraws]]
) -> tuple[np.ndarray, np.ndarray]:
    """Sounds that have a cell beyond those found, near some positions, and where it is.

    Args:
        cells: The pictures.
        start: `(sound, parameter)`; NaN where nothing is to be searched.
        found: The cells that are known.
    """

    def known(sound: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Whether positions, `(position, parameter)`, are in or near a cell of their sounds that is known."""
        near = np.zeros(len(sound), dtype=bool)
        for sheets, draws in found:
            width = APART * np.maximum(draws.high - draws.low, 1e-9)
            low, high = draws.low - width, draws.high + width
            for row, k in enumerate(sheets.sound):
                mine = sound == k
                near[mine] |= ((position[mine] >= low[row]) & (position[mine] <= high[row])).all(axis=1)
        return near

    (sound,) = np.nonzero(~np.isnan(start).any(axis=1))
    sound = sound[~known(sound, start[sound])]
    position, inside = cells.inside(sound, start[sound])
    sound, position = sound[inside], position[inside]
    new = ~known(sound, position)
    return sound[new], position[new]


def _volume(cells: Cells, sheets: Sheets, draws: CellDraws, rng: np.random.Generator) -> np.ndarray:
    """Volumes of cells across their sheets, as shares of the ranges, `(cell,)`.

    Half of the draws are within an ellipsoid of their covariance. Its volume, the share of its points that are in the
    cell, and that of the draws that are in the ellipsoid give the volume of the cell.
    """
    n_cells, n_draws, n_parameters = draws.position.shape
    mean = draws.position.mean(axis=1)
    centred = draws.position - mean[:, None]
    extent = np.maximum(draws.high - draws.low, 1e-12)
    factor = factor_of(centred.mT @ centred / n_draws, sheets.across, extent)
    both = sheets.across[:, :, None] & sheets.across[:, None, :]
    square = np.where(both, factor / extent[:, :, None], np.eye(n_parameters))
    whitened = np.linalg.solve(square, np.where(sheets.across[:, None], centred / extent[:, None], 0).mT).mT
    distance = np.sqrt((whitened**2).sum(axis=2))
    radius = np.median(distance, axis=1)
    held = (distance <= radius[:, None]).mean(axis=1)
    n_across = sheets.across.sum(axis=1)
    cell = np.repeat(np.arange(n_cells), IN_ELLIPSOID)
    depth = rng.random(len(cell)) ** (1 / np.maximum(n_across[cell], 1)) * radius[cell]
    moved = sheets.along(depth[:, None] * _unit(factor[cell], sheets.across[cell], rng), cell)
    inside = cells.settle(sheets, cell, mean[cell] + moved)[1].reshape(n_cells, -1).mean(axis=1)
    sizes = np.where(sheets.across, extent / cells.end, 1.0)
    logarithm = np.log(sizes).sum(axis=1) + np.linalg.slogdet(square)[1] + n_across * np.log(np.maximum(radius, 1e-300))
    ball = [0.5 * n * math.log(math.pi) - math.lgamma(n / 2 + 1) for n in n_across]
    share = np.maximum(inside, 0.5 / IN_ELLIPSOID) / held  # a cell that the ellipsoid misses is not nothing
    return np.exp(logarithm + np.array(ball)) * np.where(n_across > 0, share, 1.0)


# ----- hit-and-run


def walk(
    cells: Cells,
    sheets: Sheets,
    start: np.ndarray,
    factor: np.ndarray,
    n_steps: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Hit-and-run from places within cells, all chains side by side.

    Args:
        cells: The pictures.
        sheets: The cells.
        start: `(cell, chain, parameter)`.
        factor: Of the covariance of directions, grid steps, `(cell, parameter, parameter)`.
        n_steps: Of each chain.
        rng: Chooses.

    Returns:
        `(cell, chain, step, parameter)`.
    """
    n_cells, n_chains, n_parameters = start.shape
    cell = np.repeat(np.arange(n_cells), n_chains)
    position = start.reshape(-1, n_parameters).copy()
    track = np.empty((len(cell), n_steps, n_parameters))
    taken = np.zeros(len(cell), dtype=int)
    direction, low, high = np.zeros_like(position), np.zeros(len(cell)), np.zeros(len(cell))
    leaps_left = np.full(len(cell), N_LEAPS)
    active = np.arange(len(cell))
    while active.size:
        leap = leaps_left[active] > 0
        direction[active[leap]] = _leap(cells, sheets, cell[active[leap]], position[active[leap]], factor, rng)
        place = np.where(leap, 1.0, low[active] + (high - low)[active] * rng.random(len(active)))
        found, inside = cells.settle(sheets, cell[active], position[active] + place[:, None] * direction[active])
        position[active[inside]] = found[inside]
        low[active] = np.where(place < 0, place, low[active])
        high[active] = np.where(place < 0, high[active], place)
        fresh = active[leap]
        direction[fresh] = sheets.along(_unit(factor[cell[fresh]], sheets.across[cell[fresh]], rng), cell[fresh])
        low[fresh] = -LINE * rng.random(len(fresh))
        high[fresh] = low[fresh] + LINE
        done = active[~leap & (inside | (high - low < SHORTEST)[active])]
        track[done, taken[done]] = position[done]
        taken[done] += 1
        leaps_left[fresh] -= 1
        leaps_left[done] = N_LEAPS
        active = active[taken[active] < n_steps]
    return track.reshape(n_cells, n_chains, n_steps, n_parameters)


def _leap(
    cells: Cells, sheets: Sheets, cell: np.ndarray, position: np.ndarray, factor: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Moves by some steps of hit-and-run within linearized cells, which needs no render, `(chain, parameter)`.

    Such moves leave a uniform distribution over the linearized cell as it is, there and back alike, so that to accept
    those that end in the true cell leaves a uniform distribution over that one as it is.

    Args:
        cells: The pictures.
        sheets: The cells.
        cell: Of each chain, `(chain,)`.
        position: Where it is, `(chain, parameter)`.
        factor: As for `walk`.
        rng: Chooses.
    """
    matrix, across, factor = sheets.matrix[cell], sheets.across[cell], factor[cell]
    at = position.copy()
    offset = (at - sheets.centre[cell]).astype(np.float32)
    seen = sheets.residual[cell] + (matrix @ offset[:, :, None])[:, :, 0]
    within = np.abs(seen).max(axis=1) < ROOM
    for _ in range(LEAP):
        direction = _unit(factor, across, rng)
        rate = (matrix @ direction.astype(np.float32)[:, :, None])[:, :, 0]
        first, second = _entry(seen, rate, -ROOM, ROOM), _entry(at, direction, 0.0, cells.end)
        low, high = np.maximum(first[0], second[0]), np.minimum(first[1], second[1])
        place = (low + (high - low) * rng.random(len(cell)))[:, None]
        at += place * direction
        seen += place.astype(np.float32) * rate
    return sheets.along((at - position) * within[:, None], cell)


def _entry(
    place: np.ndarray, rate: np.ndarray, low: np.ndarray | float, high: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """From where to where along a line all of some numbers are between their ends, `(chain,)` each.

    Args:
        place: The numbers at the beginning of the line, `(chain, number)`.
        rate: How they change along it.
        low: Their lower ends.
        high: Their upper ends.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # what does not move is nowhere in the way
        first, second = (low - place) / rate, (high - place) / rate
    entry = np.fmax.reduce(np.fmin(first, second), axis=1)
    leaving = np.fmin.reduce(np.fmax(first, second), axis=1)
    nowhere = ~(np.isfinite(entry) & np.isfinite(leaving))
    return np.where(nowhere, 0.0, np.minimum(entry, 0)), np.where(nowhere, 0.0, np.maximum(leaving, 0))


def _unit(factor: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random directions of one standard deviation, grid steps, `(chain, parameter)`; arguments by the chain."""
    normal = rng.standard_normal(across.shape) * across
    length = np.sqrt((normal**2).sum(axis=1, keepdims=True))
    return np.einsum("npq,nq->np", factor, normal / np.maximum(length, 1e-300))


def factor_of(covariance: np.ndarray, across: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """A root of covariances of what moves freely, zero for the rest, `(cell, parameter, parameter)`.

    Args:
        covariance: `(cell, parameter, parameter)`.
        across: Bool, `(cell, parameter)`.
        scale: Sizes to which numbers are compared, above 0, `(cell, parameter)`.
    """
    both = across[:, :, None] & across[:, None, :]
    sizes = scale[:, :, None] * scale[:, None, :]
    strength, axes = np.linalg.eigh(np.where(both, covariance / sizes, np.eye(across.shape[1])))
    least = 1e-14 * strength.max(axis=1, keepdims=True)
    root = axes * np.sqrt(np.maximum(strength, least))[:, None, :] @ axes.mT
    return np.where(both, root, 0) * scale[:, :, None]


def draw(cells: Cells, sheets: Sheets, rng: np.random.Generator, steps: Sequence[int] = STEPS) -> CellDraws:
    """Draws from cells, in rounds until the chains agree.

    Chains that begin at the ends and at the centre of a cell are compared. Where they do not agree in the end, those
    from the centre alone are kept: what they have not reached makes their spread too small, and not too large.
    """
    furthest = cells.furthest(sheets)
    widest = np.sort(furthest.reshape(len(furthest), -1, furthest.shape[-1]), axis=1)
    low, high = widest[:, 0], widest[:, -1]
    start, extent = _starts(sheets, furthest), np.maximum(high - low, 1e-12)
    precision = sheets.information + np.eye(len(cells.end)) * 12 / np.maximum(cells.end, 1e-9) ** 2
    factor = factor_of(_within(sheets, precision), sheets.across, extent)
    n_cells, _, n_parameters = start.shape
    kept = np.empty((n_cells, KEPT, n_parameters))
    r_hat, n_effective = np.ones((n_cells, n_parameters)), np.full((n_cells, n_parameters), float(KEPT))
    todo = np.arange(n_cells)
    for n_round, n_steps in enumerate(steps, 1):
        here = sheets.of(todo)
        track = walk(cells, here, start[todo], factor[todo], n_steps, rng)
        start[todo], pooled = track[:, :, -1], track.reshape(len(todo), -1, n_parameters)
        low[todo], high[todo] = np.minimum(low[todo], pooled.min(axis=1)), np.maximum(high[todo], pooled.max(axis=1))
        r_hat[todo], n_effective[todo] = agreement(track)
        agree = np.max(r_hat[todo], axis=1).reshape(-1, 1, 1) < CONVERGED
        kept[todo] = np.where(agree, _thinned(track), _thinned(track[:, N_CHAINS // 2 :]))
        if n_round == len(steps) or (n_round >= LEAST_ROUNDS and (r_hat[todo] < CONVERGED).all()):
            break
        mean = pooled.mean(axis=1)
        covariance = (pooled - mean[:, None]).mT @ (pooled - mean[:, None]) / pooled.shape[1]
        factor[todo] = factor_of(covariance, here.across, extent[todo])
        sheets = sheets.with_some(todo, cells.recentred(here, mean))
        if n_round >= LEAST_ROUNDS:
            todo = todo[r_hat[todo].max(axis=1) >= CONVERGED]
    return CellDraws(kept, _thickness(cells, sheets, kept), low, high, r_hat, n_effective)


def _starts(sheets: Sheets, furthest: np.ndarray) -> np.ndarray:
    """Where chains begin, `(cell, chain, parameter)`.

    The first half at the ends of the parameters that are left open most, the others at the centre of the cell. Where
    that is the true value, it is a draw from the posterior itself, and so is all that follows it.
    """
    width = np.ptp(np.einsum("cpep->cpe", furthest), axis=2)
    n_ends = N_CHAINS // 2
    order = np.argsort(-width, axis=1, kind="stable")[:, : max(1, n_ends // 2)]
    chosen = np.take_along_axis(furthest, order[:, :, None, None], axis=1).reshape(len(order), -1, width.shape[1])
    centre = np.repeat(sheets.centre[:, None], N_CHAINS - n_ends, axis=1)
    return np.concatenate([chosen[:, np.arange(n_ends) % chosen.shape[1]], centre], axis=1)


def _thinned(track: np.ndarray) -> np.ndarray:
    """`KEPT` draws of all chains, `(cell, draw, parameter)`, of a track, `(cell, chain, step, parameter)`."""
    pooled = track.reshape(len(track), -1, track.shape[-1])
    return pooled[:, np.linspace(0, pooled.shape[1] - 1, KEPT).astype(int)]


def _within(sheets: Sheets, precision: np.ndarray) -> np.ndarray:
    """Covariance of what moves freely within sheets, `(cell, parameter, parameter)`, of all parameters' precision."""
    n_parameters = sheets.across.shape[1]
    lift = np.eye(n_parameters) * sheets.across[:, None, :]  # (cell, parameter, parameter that moves freely)
    lift[np.arange(len(lift)), sheets.axis] += sheets.tangent
    inner = lift.mT @ precision @ lift
    idle = ~(sheets.across[:, :, None] & sheets.across[:, None, :])
    return np.linalg.inv(np.where(idle, np.eye(n_parameters), inner))


def _thickness(cells: Cells, sheets: Sheets, position: np.ndarray) -> np.ndarray:
    """How thick sheets are at draws, `(cell, draw)`: one over the slope of the level, ranges per dB."""
    n_cells, n_draws, n_parameters = position.shape
    cell = np.repeat(np.arange(n_cells), n_draws)
    cell = cell[sheets.slope[cell] != 0]
    thickness = np.ones((n_cells, n_draws))
    if not cell.size:
        return thickness
    at = position[sheets.slope != 0].reshape(-1, n_parameters)
    axis, rows = sheets.axis[cell], np.arange(len(cell))
    reach = RISE / np.abs(sheets.slope[cell])
    below, above = at.copy(), at.copy()
    below[rows, axis] = np.maximum(at[rows, axis] - reach, 0)
    above[rows, axis] = np.minimum(at[rows, axis] + reach, cells.end[axis])
    rise = cells.look(sheets.sound[cell], above)[1] - cells.look(sheets.sound[cell], below)[1]
    run = above[rows, axis] - below[rows, axis]
    slope = np.maximum(np.abs(rise), SAME_LEVEL) / run * cells.end[axis]
    thickness[sheets.slope != 0] = (1 / slope).reshape(-1, n_draws)
    return thickness


def agreement(track: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split R-hat, and the number of independent draws that would be worth as much.

    Gelman et al., Bayesian Data Analysis, third edition, 2013, sections 11.4 and 11.5; autocorrelations are summed up
    in pairs while they are positive and fall (Geyer, Statistical Science 7, 1992).

    Args:
        track: `(cell, chain, step, parameter)`.

    Returns:
        `(cell, parameter)` each; 1 and the number of draws for what does not move.
    """
    n_cells, n_chains, n_steps, n_parameters = track.shape
    half = n_steps // 2
    chains = track[:, :, : 2 * half].reshape(n_cells, 2 * n_chains, half, n_parameters)
    centred = chains - chains.mean(axis=2, keepdims=True)
    size = 2 * half
    power = np.abs(np.fft.rfft(centred, size, axis=2)) ** 2
    lagged = np.fft.irfft(power, size, axis=2)[:, :, :half].mean(axis=1) / half  # (cell, lag, parameter)
    within = lagged[:, 0] * half / (half - 1)
    total = within * (half - 1) / half + chains.mean(axis=2).var(axis=1, ddof=1)
    still = total <= 1e-30
    total = np.where(still, 1.0, total)
    correlation = 1 - (within[:, None] - lagged) / total[:, None]
    pairs = correlation[:, : half - half % 2].reshape(n_cells, -1, 2, n_parameters).sum(axis=2)
    pairs = np.minimum.accumulate(np.maximum(pairs, 0), axis=1)  # after the first that is not positive all are 0
    n_draws = n_chains * n_steps
    effective = n_draws / np.maximum(2 * pairs.sum(axis=1) - 1, 1 / math.log10(max(n_draws, 10)))
    r_hat = np.sqrt(total / np.where(within > 0, within, total))
    r_hat = np.where((within <= 0) & ~still, np.inf, r_hat)
    return np.where(still, 1.0, r_hat), np.where(still, n_draws, np.minimum(effective, n_draws))
