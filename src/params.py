"""Synthesis parameters: what they are, how they are written down, and how they are drawn.

A parameter has four representations, always called by these words:

value
    Natural units (Hz, MIDI, seconds, log10 seconds).
normalized
    [0, 1] over the parameter's range.
index
    Class: number of a point on the parameter's grid, 0 … n_classes - 1. Its points are one *grid step* apart.
code
    uint8 on disk.

`Conversions` owns every conversion between them. `ParamSpec` is one parameter, `ParameterSpace` all of a dataset in
columns of NumPy arrays, and `src.param_tensors.ParamTensors` the same as PyTorch tensors.
"""

import functools
import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import scipy  # loads its parts when they are first used
from pydantic import ConfigDict, TypeAdapter, ValidationError

from src.errors import ConfigError, NSMWarning, check_choice, check_number
from src.sections import validation_in_words

Array = TypeVar("Array")  # numpy.ndarray or torch.Tensor

MAX_CODE = 255
MAX_CLASSES = 256
MAX_PARAMETERS = 255
_NAME = re.compile(r"[^\W_][\w .-]*")
SAMPLINGS = ("uniform", "sobol", "grid")
STRICT = ConfigDict(strict=True, extra="forbid")  # where pydantic validates: types as they are, no other keys
HOW = (
    "Give `value` for a fixed parameter, or `min`, `max` and `step` for a varying one, with `units` and `names` if you "
    "like; `description` goes with both."
)


class Conversions:
    """Conversions between the representations of one parameter, or of several in the columns of an array.

    Each works alike on NumPy arrays and on PyTorch tensors.

    Attributes:
        low: Lowest value, natural units: a number, or an array with an entry per column. The others alike.
        range: Distance from the lowest to the highest value, natural units.
        step: Grid step, natural units.
        n_classes: Number of points on the grid.
    """

    def normalized_from_value(self, value: Array) -> Array:
        """Natural units to [0, 1]."""
        return (value - self.low) / self.range

    def value_from_normalized(self, normalized: Array) -> Array:
        """[0, 1] to natural units."""
        return self.low + normalized * self.range

    def value_from_index(self, index: Array) -> Array:
        """Grid point of a class, in natural units."""
        return self.low + index * self.step

    def code_from_normalized(self, normalized: Array) -> Array:
        """[0, 1] to the number 0 … 255 that is stored, rounded half to even; clipped, since a grid may overshoot."""
        return (normalized * MAX_CODE).round().clip(0, MAX_CODE)

    def normalized_from_code(self, code: Array) -> Array:
        """The number 0 … 255 that is stored to [0, 1]."""
        return code / MAX_CODE

    def index_from_code(self, code: Array) -> Array:
        """The number 0 … 255 that is stored to its class, by which every reader agrees."""
        return (code / MAX_CODE * self.range / self.step).round().clip(0, self.n_classes - 1)

    def index_from_normalized(self, normalized: Array) -> Array:
        """[0, 1] to the class that a reader would find, that is, by way of the code."""
        return self.index_from_code(self.code_from_normalized(normalized))

    def normalized_from_index(self, index: Array) -> Array:
        """Grid point of a class, as a position in the range."""
        return self.normalized_from_value(self.value_from_index(index))


@dataclass(frozen=True)
class ParamSpec(Conversions):
    """A varying parameter: its range, its grid step and all its conversions.

    Attributes:
        name: Name on disk and in metrics.
        min: Lowest value, natural units.
        max: Highest value, natural units.
        step: Grid step, natural units.
        units: Name of the physical unit.
        description: One sentence for people.
        names: Names of the classes of a categorical parameter, in order of their index; empty otherwise.

    Raises:
        ConfigError: If the range is empty, the step is not positive, or there are not 2 to 256 classes.
    """

    __pydantic_config__ = STRICT
    name: str
    min: float
    max: float
    step: float
    units: str = ""
    description: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} is no name of a parameter: it must begin with a letter or digit and hold only letters, "
                "digits, spaces, '_', '-' and '.'."
            )
        if not all(math.isfinite(number) for number in (self.min, self.max, self.step)):
            raise ConfigError(
                f"{self.name}: min {self.min}, max {self.max} and step {self.step} must be finite numbers."
            )
        if self.min >= self.max:
            raise ConfigError(
                f"{self.name}: min {self.min} is not below max {self.max}. Give a range, or a fixed `value`."
            )
        if self.step <= 0:
            raise ConfigError(f"{self.name}: step {self.step} is not above 0. Give the grid step.")
        steps = self.range / self.step
        n_classes = self.n_classes if math.isfinite(steps) else steps
        if not 2 <= n_classes <= MAX_CLASSES:
            raise ConfigError(
                f"{self.name}: range {self.min} to {self.max} in steps of {self.step} makes {n_classes:.6g} classes, "
                f"but 2 to {MAX_CLASSES} are possible. Choose another step."
            )
        if self.names and len(self.names) != self.n_classes:
            raise ConfigError(f"{self.name}: {len(self.names)} class names for {self.n_classes} classes.")
        if abs(steps - round(steps)) > 1e-3:
            _warn_of_uneven_grid(self.name, steps)

    @property
    def low(self) -> float:
        """Lowest value, under its name in `Conversions`."""
        return self.min

    @property
    def range(self) -> float:
        """Distance from the lowest to the highest value, natural units."""
        return self.max - self.min

    @property
    def n_classes(self) -> int:
        """Number of points on the grid."""
        return round(self.range / self.step) + 1

    @property
    def categorical(self) -> bool:
        """Whether the classes have names and no order."""
        return bool(self.names)


@functools.cache
def _warn_of_uneven_grid(name: str, steps: float) -> None:
    """Warn once that the range is no whole number of steps."""
    warnings.warn(
        f"{name}: the range is {steps:.4f} steps, not a whole number; classes are rounded to the nearest step.",
        NSMWarning,
        stacklevel=4,
    )


@dataclass(frozen=True)
class FixedParam:
    """A parameter that is the same in every sound of a dataset."""

    __pydantic_config__ = STRICT
    name: str
    value: float
    description: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ConfigError(f"{self.name}: value {self.value} must be a finite number.")


def _column(name: str, dtype: type) -> functools.cached_property:
    """An attribute of all varying parameters as an array."""

    def values(space: "ParameterSpace") -> np.ndarray:
        return np.array([getattr(spec, name) for spec in space.varying], dtype)

    return functools.cached_property(values)


@dataclass(frozen=True)
class ParameterSpace(Conversions):
    """The varying and the fixed parameters of a dataset.

    As `Conversions` it takes and returns arrays `(sample, parameter)` of all varying parameters.

    Attributes:
        varying: In the order of their ids on disk.
        fixed: Those that every sound shares.
        low: Lowest values, natural units, float64, `(parameter,)`.
        high: Highest values, likewise.
        range: Distances from the lowest to the highest values, likewise.
        step: Grid steps, likewise.
        n_classes: Numbers of points on the grids, int64, `(parameter,)`.
        categorical: Whether the classes have names and no order, bool, `(parameter,)`.
    """

    varying: tuple[ParamSpec, ...]
    fixed: tuple[FixedParam, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.varying) <= MAX_PARAMETERS:
            raise ConfigError(f"{len(self.varying)} parameters vary; a dataset holds 1 to {MAX_PARAMETERS}.")

    @classmethod
    def from_config(cls, parameters: Mapping[str, Mapping[str, Any]]) -> "ParameterSpace":
        """Read the `parameters` section of a generator configuration.

        Args:
            parameters: Name to either `value` (fixed) or `min`, `max`, `step`, `units`, `names` (varying); both with
                `description`. Where `min` is `max`, the parameter is fixed.

        Raises:
            ConfigError: If a section has other keys or types, or describes no possible parameter.
        """
        varying, fixed = [], []
        for name, entry in parameters.items():
            if not isinstance(entry, Mapping):
                raise ConfigError(f"parameters.{name} is {entry!r}; it must be a section. {HOW}")
            if "name" in entry:
                raise ConfigError(f"the key parameters.{name}.name does not belong here. {HOW}")
            if "min" in entry and entry["min"] == entry.get("max"):
                entry = {"value": entry["min"], "description": entry.get("description", "")}
            kind, found = (FixedParam, fixed) if "value" in entry else (ParamSpec, varying)
            try:  # by way of JSON, whose lists are tuples where one is wanted
                found.append(TypeAdapter(kind).validate_json(json.dumps({"name": name, **entry})))
            except ValidationError as error:
                raise ConfigError(validation_in_words(error, f"parameters.{name}", hint=HOW)) from error
        return cls(tuple(varying), tuple(fixed))

    low = _column("min", np.float64)
    high = _column("max", np.float64)
    range = _column("range", np.float64)
    step = _column("step", np.float64)
    n_classes = _column("n_classes", np.int64)
    categorical = _column("categorical", np.bool)

    @property
    def n_grid_points(self) -> int:
        """Number of distinct points of the grid, all varying parameters together."""
        return math.prod(spec.n_classes for spec in self.varying)

    def encode(self, value: np.ndarray) -> np.ndarray:
        """Codes of values, uint8, `(sample, parameter)`."""
        return self.code_from_normalized(self.normalized_from_value(value.astype(np.float64))).astype(np.uint8)

    def decode(self, code: np.ndarray) -> np.ndarray:
        """Values that codes stand for, float64, `(sample, parameter)`."""
        return self.value_from_normalized(self.normalized_from_code(code))

    def clip(self, value: np.ndarray) -> np.ndarray:
        """Values, those beyond a range at its end, float64, `(sample, parameter)`."""
        return np.clip(value, self.low, self.high)

    def sample(self, start: int, stop: int, seed: int, sampling: str) -> np.ndarray:
        """Draw the samples numbered `start` to `stop - 1`; a sample depends on its number and the seed alone.

        Args:
            start: Number of the first sample.
            stop: One more than the number of the last.
            seed: Not negative.
            sampling: `uniform`: independent and uniform over the ranges. `sobol`: a scrambled Sobol sequence.
                `grid`: the distinct points of the grid in a seeded random order.

        Returns:
            Values in natural units, float64, `(sample, parameter)`.

        Raises:
            ConfigError: If `sampling` is unknown, or `grid` has fewer points than are requested.
        """
        check_number("seed", seed, whole=True, least=0)
        check_choice("sampling", sampling, SAMPLINGS)
        if sampling == "uniform":
            return self.value_from_normalized(_uniform(start, stop, len(self.varying), seed))
        if sampling == "sobol":
            return self.value_from_normalized(_sobol(start, stop, len(self.varying), seed))
        return self._grid(start, stop, seed)

    def _grid(self, start: int, stop: int, seed: int) -> np.ndarray:
        """Points of the grid, float64, `(sample, parameter)`."""
        if stop > self.n_grid_points:
            sizes = " x ".join(str(n) for n in self.n_classes)
            raise ConfigError(
                f"sampling grid has {sizes} = {self.n_grid_points} distinct points, but {stop} samples are asked for. "
                "Ask for fewer, or take uniform or sobol."
            )
        number = permute(np.arange(start, stop), self.n_grid_points, seed)
        index = np.empty((stop - start, len(self.varying)))
        for p, n_classes in enumerate(self.n_classes):
            number, index[:, p] = np.divmod(number, n_classes)
        return np.minimum(self.value_from_index(index), self.high)


def _uniform(start: int, stop: int, n_columns: int, seed: int) -> np.ndarray:
    """Rows `start` to `stop - 1` of one endless uniform table, float64 in [0, 1), `(row, column)`.

    Philox is a counter-based generator (Salmon et al. 2011): row i begins at a counter of its own, four words to a
    count.
    """
    counts = -(-n_columns // 4)
    philox = np.random.Philox(seed)
    philox.advance(start * counts)
    words = philox.random_raw((stop - start) * counts * 4).reshape(stop - start, counts * 4)
    return (words[:, :n_columns] >> np.uint64(11)) * 2.0**-53


def _sobol(start: int, stop: int, n_columns: int, seed: int) -> np.ndarray:
    """Points `start` to `stop - 1` of a scrambled Sobol sequence, float64 in [0, 1), `(point, column)`."""
    sequence = scipy.stats.qmc.Sobol(n_columns, scramble=True, rng=np.random.default_rng(seed))
    if start:
        sequence.fast_forward(start)
    with warnings.catch_warnings():
        # The balance of powers of two is not lost but postponed: the points are drawn in several parts.
        warnings.filterwarnings("ignore", message="The balance properties of Sobol", category=UserWarning)
        return sequence.random(stop - start)


def permute(number: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Where a seeded random permutation of 0 … size - 1 sends `number`, without a table of it.

    A balanced Feistel network over the next even number of bits, walked until the result is within range (Black and
    Rogaway 2002). Memory is that of `number`, whatever `size`.

    Args:
        number: Whole numbers in [0, size), int64.
        size: Length of the permutation, at most 2^62.
        seed: Chooses the permutation.

    Returns:
        Whole numbers in [0, size), int64, distinct for distinct `number`.
    """
    half_bits = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half_bits)) - 1)
    keys = np.random.Philox(seed).random_raw(8)
    result = number.astype(np.uint64)
    walking = np.ones(number.shape, dtype=bool)
    while walking.any():
        left, right = result[walking] >> half_bits, result[walking] & mask
        for key in keys:
            left, right = right, left ^ (_mix(right + key) & mask)
        result[walking] = (left << half_bits) | right
        walking = result >= size
    return result.astype(np.int64)


def _mix(word: np.ndarray) -> np.ndarray:
    """Finalizer of SplitMix64 (Steele, Lea and Flood 2014): every input bit reaches every output bit, uint64."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
