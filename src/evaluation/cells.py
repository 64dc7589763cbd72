"""Cells: the parameters whose picture rounds to a given one.

A picture is made by one deterministic computation, so what it leaves open of the parameters is a set: all those that
the computation takes to the same pixels and to the same `spec_min` and `spec_max`. Both are float32, and the second is
the first less a constant or constant, so that one equation holds: the cell is a thin sheet, as thin as float32 tells
levels apart, and within it each pixel holds the parameters by half a level to either side.

Positions are in grid steps from the lowest value, as in `refinement`.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import scipy  # loads its parts when they are first used
import torch

from src.evaluation.audit import LEVEL_NOISE
from src.evaluation.refinement import BLOCK, CACHED, RANGE_NOISE, Problem
from src.recipe import Recipe

SAME_LEVEL = 1e-5  # dB, some units in the last place of levels in float32: closer ones are the same
WIDTHS = 1e-6, 1e-3, 0.02  # grid steps to either side for a derivative: the least, the first tried, the most
HALF = 0.5  # levels from a pixel to where it rounds to the next one
CORRECTIONS = 5  # renders to get onto a sheet, at most
VIOLATED = 1e-6  # levels by which a condition of a linear programme may be violated
JOINING = 16  # conditions that join a linear programme together
PROGRAMMES = 5  # of the largest residual, one after the other
MAX_MOVE = 1.0  # grid steps that one of them may move
HALVINGS = 7  # of the way from a point within a cell to where the linearized cell ends
FARTHEST = 3.0  # factor by which a slope may change from one correction to the next


class Sheets(NamedTuple):
    """Cells around some positions, linearized.

    Attributes:
        sound: Numbers of the sounds that they belong to, `(cell,)`.
        centre: Positions within, `(cell, parameter)`.
        axis: The parameter that is moved to hold `spec_max`, `(cell,)`.
        slope: How `spec_max` rises with it, dB per grid step, `(cell,)`; 0 where no parameter changes the level.
        tangent: How far it has to move for a move of another parameter, `(cell, parameter)`; 0 at the axis and for what
            has no slope.
        across: Which parameters move freely within the sheet, bool, `(cell, parameter)`.
        ends: Positions where the linearized cell has the lowest and the highest value of each parameter,
            `(cell, parameter, end, parameter)`; the centre for parameters that have no slope.
        information: Of Gaussian noise of the size of rounding, per grid step, `(cell, parameter, parameter)`.
        matrix: How pixels move within the sheet, levels per grid step, float32, `(cell, pixel, parameter)`.
        residual: Pixels before they are rounded, less the stored ones, levels, float32, `(cell, pixel)`.
    """

    sound: np.ndarray
    centre: np.ndarray
    axis: np.ndarray
    slope: np.ndarray
    tangent: np.ndarray
    across: np.ndarray
    ends: np.ndarray
    information: np.ndarray
    matrix: np.ndarray
    residual: np.ndarray

    def of(self, chosen: np.ndarray) -> "Sheets":
        """Some of the cells, by a mask or by their numbers."""
        return Sheets(*(column[chosen] for column in self))

    def with_some(self, chosen: np.ndarray, others: "Sheets") -> "Sheets":
        """These cells, those numbered `chosen` replaced by others."""
        columns = [column.copy() for column in self]
        for column, other in zip(columns, others, strict=True):
            column[chosen] = other
        return Sheets(*columns)

    def along(self, move: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Moves of what is free within the sheets, completed by that of the axis, `(move, parameter)`.

        Args:
            move: Grid steps, `(move, parameter)`.
            cell: Whose sheet, `(move,)`.
        """
        move = np.where(self.across[cell], move, 0.0)
        move[np.arange(len(cell)), self.axis[cell]] += (self.tangent[cell] * move).sum(axis=1)
        return move


class Cells(Problem):
    """Pictures, and which parameters make them.

    Args:
        recipe: Renders; its representation makes spectrograms.
        pool: Makes spectrograms, on threads that PyTorch does not split further.
        image: uint8, `(sound, channel, freq, time)`.
        spec_range: `spec_min` and `spec_max`, dB, float32, `(sound, 2)`.
    """

    def __init__(self, recipe: Recipe, pool: ThreadPoolExecutor, image: np.ndarray, spec_range: np.ndarray) -> None:
        super().__init__(recipe, pool, image, spec_range)
        self.image, self.spec_range = image, spec_range
        self.spec_max = spec_range[:, 1].astype(np.float64)
        self.n_renders = 0

    def look(self, sound: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which positions make the pixels of their sounds, bool, and how far `spec_max` is above the stored one, dB.

        Args:
            sound: Numbers of the sounds, `(position,)`.
            position: `(position, parameter)`.
        """
        same, excess = np.empty(len(sound), dtype=bool), np.empty(len(sound))
        size = max(1, BLOCK // self.recipe.view.n_samples)
        for first in range(0, len(sound), size):
            block = slice(first, first + size)
            waveform = torch.from_numpy(self.recipe.render(self.value(position[block])))
            made = self.pool.map(self.recipe.representation.to_image, waveform.split(CACHED))
            image, spec_range = (torch.cat(column).numpy() for column in zip(*made, strict=True))
            same[block] = (image == self.image[sound[block]]).all(axis=(1, 2, 3))
            excess[block] = spec_range[:, 1] - self.spec_max[sound[block]]
        self.n_renders += len(sound)
        return same, excess

    def settle(self, sheets: Sheets, cell: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move positions along the axis of their sheet until they are on it.

        Args:
            sheets: The sheets.
            cell: Whose sheet, `(position,)`.
            position: Near it, `(position, parameter)`.

        Returns:
            Positions, `(position, parameter)`, and which of them make the stored picture.
        """
        position, sound, axis = position.copy(), sheets.sound[cell], sheets.axis[cell]
        slope, inside = sheets.slope[cell].copy(), np.zeros(len(cell), dtype=bool)
        before, move = np.zeros(len(cell)), np.zeros(len(cell))
        active = np.arange(len(cell))
        for _ in range(CORRECTIONS):
            possible = ((position[active] >= 0) & (position[active] <= self.end)).all(axis=1)
            active = active[possible]
            same, excess = self.look(sound[active], position[active])
            settled = np.abs(excess) <= SAME_LEVEL
            inside[active] = settled & same
            open_ = ~settled & (slope[active] != 0)
            active, excess = active[open_], excess[open_]
            if not active.size:
                break
            seen = np.divide(excess - before[active], move[active], out=slope[active], where=move[active] != 0)
            ratio = np.clip(seen / slope[active], 1 / FARTHEST, FARTHEST)  # a secant, not misled by rounding
            slope[active] *= ratio
            before[active], move[active] = excess, -excess / slope[active]
            position[active, axis[active]] += move[active]
        return position, inside

    def slopes(self, sound: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, ...]:
        """The first channel near positions: differences so wide that the pixel that moves most moves by half a level.

        Args:
            sound: Numbers of the sounds, `(position,)`.
            position: `(position, parameter)`.

        Returns:
            Unrounded pixels less the stored ones, levels, `(position, pixel)`; slopes of the pixels, levels per grid
            step, `(position, parameter, pixel)`, and of `spec_max`, dB per grid step, `(position, parameter)`.
        """
        least, first, most = WIDTHS
        width = np.full(position.shape, first)
        for _ in range(2):
            width = np.clip(
                HALF / np.abs(self._linear(sound, position, width)[1]).max(axis=2).clip(min=1e-9), least, most
            )
        return self._linear(sound, position, width)

    def _linear(self, sound: np.ndarray, position: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, ...]:
        """See `slopes`; with differences of a width, grid steps, `(position, parameter)`."""
        blocks = self._blocks(len(sound), 1 + 2 * position.shape[1])
        parts = [self.linearize(sound[block], position[block], width[block]) for block in blocks]
        residual, slopes = (np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True))
        self.n_renders += len(sound) * (1 + 2 * position.shape[1])
        return residual[:, :-2] * LEVEL_NOISE, slopes[..., :-2] * LEVEL_NOISE, slopes[..., -1] * RANGE_NOISE

    def sheets(self, sound: np.ndarray, position: np.ndarray) -> Sheets:
        """The cells around positions that make the pictures of the sounds `sound`, linearized."""
        residual, slopes, rise = self.slopes(sound, position)
        free = self.free(position)
        information = slopes @ slopes.mT / LEVEL_NOISE**2
        spread = 1 / np.sqrt(np.einsum("npp->np", information) + 12 / np.maximum(self.end, 1e-9) ** 2)
        axis = np.argmax(np.abs(rise) * spread * free, axis=1)
        rows = np.arange(len(sound))
        slope = np.where(np.abs(rise[rows, axis]) > SAME_LEVEL, rise[rows, axis], 0.0)
        across = free.copy()
        across[rows, axis] &= slope == 0
        tangent = _tangent(rise, slope, across)
        ends = np.stack(
            [
                _linear_ends(
                    residual[k], slopes[k], rise[k] if slope[k] else 0 * rise[k], free[k], position[k], self.end
                )
                for k in rows
            ]
        )
        return Sheets(
            *(sound, position, axis, slope, tangent, across, ends, information),
            matrix=_within(slopes, tangent, axis, across),
            residual=residual.astype(np.float32),
        )

    def recentred(self, sheets: Sheets, centre: np.ndarray) -> Sheets:
        """The same cells, linearized elsewhere.

        Args:
            sheets: The cells.
            centre: Where, `(cell, parameter)`.
        """
        rows = np.arange(len(centre))
        centre, _ = self.settle(sheets, rows, centre)
        centre = np.clip(centre, 0, self.end)
        residual, slopes, rise = self.slopes(sheets.sound, centre)
        slope = rise[rows, sheets.axis]
        slope = np.where((sheets.slope != 0) & (np.abs(slope) > SAME_LEVEL), slope, sheets.slope)
        tangent = _tangent(rise, slope, sheets.across)
        matrix = _within(slopes, tangent, sheets.axis, sheets.across)
        return sheets._replace(
            centre=centre, slope=slope, tangent=tangent, matrix=matrix, residual=residual.astype(np.float32)
        )

    def inside(self, sound: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions that make pictures, searched near others: linear programmes make the largest residual the least.

        Args:
            sound: Numbers of the sounds, `(position,)`.
            position: Near a solution, as refinement leaves them, `(position, parameter)`.

        Returns:
            Positions, and which of them make the pictures, bool, `(position,)`.
        """
        position, done = position.copy(), np.zeros(len(sound), dtype=bool)
        for _ in range(PROGRAMMES):
            (todo,) = np.nonzero(~done)
            if not todo.size:
                break
            at = position[todo]
            same, excess = self.look(sound[todo], at)
            done[todo] = same & (np.abs(excess) <= SAME_LEVEL)
            residual, slopes, rise = self.slopes(sound[todo], at)
            free = self.free(at)
            for row, k in enumerate(todo):
                if not done[k]:
                    position[k] += _to_middle(
                        residual[row], slopes[row], rise[row], excess[row], free[row], at[row], self.end
                    )
            position = np.clip(position, 0, self.end)
        return position, done

    def furthest(self, sheets: Sheets) -> np.ndarray:
        """Positions within the cells, as near to the ends of the linearized ones as halving finds.

        Returns:
            `(cell, parameter, end, parameter)`.
        """
        n_cells, n_parameters = sheets.centre.shape
        cell = np.repeat(np.arange(n_cells), 2 * n_parameters)
        move = sheets.ends.reshape(-1, n_parameters) - sheets.centre[cell]
        best, share, step = sheets.centre[cell], np.zeros(len(cell)), 1.0
        todo = np.abs(move).max(axis=1) > 0
        for _ in range(HALVINGS):
            tried = share + step
            (some,) = np.nonzero(todo & (tried <= 1))
            position = np.clip(sheets.centre[cell[some]] + tried[some, None] * move[some], 0, self.end)
            found, inside = self.settle(sheets, cell[some], position)
            best[some[inside]], share[some[inside]] = found[inside], tried[some[inside]]
            step /= 2
        return best.reshape(sheets.ends.shape)


def _tangent(rise: np.ndarray, slope: np.ndarray, across: np.ndarray) -> np.ndarray:
    """See `Sheets`; from the slopes of `spec_max` by all parameters, and by the one at the axis."""
    return np.divide(-rise, slope[:, None], out=np.zeros_like(rise), where=slope[:, None] != 0) * across


def _within(slopes: np.ndarray, tangent: np.ndarray, axis: np.ndarray, across: np.ndarray) -> np.ndarray:
    """`matrix` of `Sheets`, from the slopes of the pixels, `(cell, parameter, pixel)`, and the sheets' directions."""
    along = slopes + tangent[:, :, None] * slopes[np.arange(len(axis)), axis][:, None]
    return (along * across[:, :, None]).mT.astype(np.float32)


def _linear_ends(
    residual: np.ndarray, slopes: np.ndarray, rise: np.ndarray, free: np.ndarray, position: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """Where a linearized cell is widest: linear programmes, two for each parameter.

    Args:
        residual: Unrounded pixels less the stored ones, levels, `(pixel,)`.
        slopes: Of the pixels, levels per grid step, `(parameter, pixel)`.
        rise: Of `spec_max`, dB per grid step, `(parameter,)`.
        free: Which parameters have a slope, `(parameter,)`.
        position: `(parameter,)`.
        end: Highest positions, `(parameter,)`.

    Returns:
        Positions, `(parameter, end, parameter)`.
    """
    (columns,) = np.nonzero(free)
    scale = np.abs(slopes[columns]).max(axis=1, initial=0) + 1 / end[columns]  # levels per grid step: moves in levels
    moves = slopes[columns] / scale[:, None]
    programme = Programme(
        matrix=np.concatenate([moves, -moves], axis=1).T,
        room=np.concatenate([HALF - residual, HALF + residual]).clip(min=0),
        bounds=np.stack([-position[columns] * scale, (end - position)[columns] * scale], axis=1),
        held=rise[columns] / scale,
    )
    ends = np.tile(position, (len(position), 2, 1))
    for k, p in enumerate(columns):
        for side, sign in enumerate((1.0, -1.0)):
            ends[p, side, columns] += programme.least(np.where(np.arange(len(columns)) == k, sign, 0.0)) / scale
    return ends


def _to_middle(
    residual: np.ndarray,
    slopes: np.ndarray,
    rise: np.ndarray,
    excess: float,
    free: np.ndarray,
    position: np.ndarray,
    end: np.ndarray,
) -> np.ndarray:
    """The move, `(parameter,)`, that makes the largest residual of a linearized picture the least, on its sheet.

    Args:
        residual: As for `_linear_ends`, and so are the others.
        slopes: Of the pixels.
        rise: Of `spec_max`.
        excess: Of `spec_max` over the stored one, dB.
        free: Which parameters have a slope.
        position: Where it is.
        end: Highest positions.
    """
    (columns,) = np.nonzero(free)
    scale = np.abs(slopes[columns]).max(axis=1, initial=0) + 1 / end[columns]
    moves = slopes[columns] / scale[:, None]
    low, high = np.maximum(-position, -MAX_MOVE)[columns], np.minimum(end - position, MAX_MOVE)[columns]
    largest = np.full((2 * len(residual), 1), -1.0)  # the last variable is the largest residual
    programme = Programme(
        matrix=np.concatenate([np.concatenate([moves, -moves], axis=1).T, largest], axis=1),
        room=np.concatenate([-residual, residual]),
        bounds=np.append(np.stack([low, high], axis=1) * scale[:, None], [[0.0, np.inf]], axis=0),
        held=np.append(rise[columns] / scale, 0.0),
        level=-excess,
    )
    move = np.zeros(len(position))
    move[columns] = programme.least(np.append(np.zeros(len(columns)), 1.0))[:-1] / scale
    return move


class Programme:
    """Linear programmes with the same conditions, of which only few matter: the others join where they are violated.

    Args:
        matrix: What is held below `room`, `(condition, variable)`.
        room: `(condition,)`.
        bounds: Lowest and highest value of each variable, `(variable, 2)`.
        held: Of which the sum over the variables is to be `level`, `(variable,)`; zeros for no such condition.
        level: See above.
    """

    def __init__(
        self, matrix: np.ndarray, room: np.ndarray, bounds: np.ndarray, held: np.ndarray, level: float = 0.0
    ) -> None:
        self.matrix, self.room, self.bounds = matrix, room, bounds
        largest = np.abs(held).max(initial=0)
        self.equation = {"A_eq": held[None] / largest, "b_eq": np.array([level / largest])} if largest else {}
        self.rows = np.array([], dtype=int)  # the conditions that have joined

    def least(self, cost: np.ndarray) -> np.ndarray:
        """Variables of the least cost, `(variable,)`; zeros where none fulfil the conditions."""
        while True:
            conditions = {"A_ub": self.matrix[self.rows], "b_ub": self.room[self.rows], "bounds": self.bounds}
            found = scipy.optimize.linprog(cost, **conditions, **self.equation, method="highs")
            if not found.success:
                return np.zeros(len(cost))
            violated = self.matrix @ found.x - self.room
            joined = np.union1d(self.rows, np.argsort(violated)[-JOINING:])
            if violated.max() <= VIOLATED or len(joined) == len(self.rows):
                return np.asarray(found.x)
            self.rows = joined
