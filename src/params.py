"""Synthesis parameters: what they are, how they are written down, and how they are drawn.

A parameter has four representations, always called by these words:

value
    Natural units (Hz, MIDI, seconds), or their base-10 logarithm (log10 seconds): always so where the scale is `log`.
normalized
    [0, 1] over the parameter's range.
index
    Class: number of a point on the parameter's grid, 0 … n_classes - 1. Its points are one *grid step* apart.
code
    uint8 on disk.

What the synth is given, and people read, is in *natural* units: the value, or 10 to its power where the scale is `log`.

`Conversions` owns every conversion between them. `ParamSpec` is one parameter, `ParameterSpace` all of a dataset in
columns of NumPy arrays, and `src.param_tensors.ParamTensors` the same as PyTorch tensors.
"""

import functools
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from numbers import Real
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args

import numpy as np
import scipy  # loads its parts when they are first used
from pydantic import ConfigDict, TypeAdapter, ValidationError

from src.errors import ConfigError, NSMWarning, check_choice, check_number
from src.sections import validation_in_words

MAX_CODE = 255
MAX_CLASSES = 256
MAX_PARAMETERS = 255
_NAME = re.compile(r"[^\W_][\w .-]*")
Sampling = Literal["uniform", "sobol", "grid"]
SAMPLINGS = get_args(Sampling)
STRICT = ConfigDict(strict=True, extra="forbid")  # where pydantic validates: types as they are, no other keys
Kind = Literal["continuous", "integer", "categorical"]
Scale = Literal["linear", "log"]
KINDS = get_args(Kind)
SCALES = get_args(Scale)
INACTIVE = "–"  # in the place of a value that does not act, or is no number
LOG_UNITS = "log10"  # before the natural units, in the units of a value on a log scale
HOW = (
    "Give `value` for a fixed parameter, or `min`, `max` and `step` for a varying one, with `units`, `names`, `kind`, "
    "`scale` and `active_if` if you like; `description` goes with both."
)


class Computable(Protocol):
    """What numpy.ndarray and torch.Tensor have in common, as far as conversions need it."""

    def __sub__(self, other: Any, /) -> Any: ...

    def __mul__(self, other: Any, /) -> Any: ...

    def __truediv__(self, other: Any, /) -> Any: ...

    def __ge__(self, other: Any, /) -> Any: ...

    def __getitem__(self, index: Any, /) -> Any: ...


Array = TypeVar("Array", bound=Computable)  # numpy.ndarray or torch.Tensor

Condition = tuple[int, int, Array]  # a parameter, the one it depends on, and with which classes of that it is active


class Conversions(Generic[Array]):
    """Conversions between the representations of one parameter, or of several in the columns of an array.

    Each works alike on NumPy arrays and on PyTorch tensors.

    Attributes:
        low: Lowest value: a number, or an array with an entry per column. The others alike.
        range: Distance from the lowest to the highest value.
        step: Grid step.
        n_classes: Number of points on the grid.
        discrete: 1.0 where only the points of the grid are possible (integers and categories), else 0.0.
        log: 1.0 where the value is the base-10 logarithm of what the synth is given, else 0.0.
        any_discrete: Whether `discrete` is 1 anywhere.
        any_log: Whether `log` is 1 anywhere.
        conditions: On which parameters depends whether others act, those first that others build on.
    """

    low: Array
    range: Array
    step: Array
    n_classes: Array
    discrete: Array
    log: Array
    any_discrete: bool
    any_log: bool
    conditions: Sequence[Condition[Array]]

    def natural_from_value(self, value: Array) -> Array:
        """What the synth is given, and people read."""
        return _chosen(self.log, 10.0 ** (value * self.log), value) if self.any_log else value

    def natural_std(self, value: Array, std: Array) -> Array:
        """Standard deviation in natural units, of a value with the standard deviation `std`: to the first order."""
        if not self.any_log:
            return std
        return std * _chosen(self.log, math.log(10) * 10.0 ** (value * self.log), 1.0)

    def snapped(self, value: Array) -> Array:
        """Values, those of integers and categories on their nearest grid point."""
        if not self.any_discrete:
            return value
        return _chosen(self.discrete, self.value_from_index(self.index_from_value(value)), value)

    def index_from_value(self, value: Array) -> Array:
        """The nearest point of the grid. The class of a sample comes from its code, and differs at most by rounding."""
        return ((value - self.low) / self.step).round().clip(0, self.n_classes - 1)

    def active_from_index(self, index: Array) -> Array:
        """Which parameters act on a sound, bool, `(sample, parameter)`, from the classes of all, of the same shape."""
        active = index >= 0
        for parameter, other, allowed in self.conditions:
            active[:, parameter] &= active[:, other] & allowed[index[:, other]]
        return active

    def normalized_from_value(self, value: Array) -> Array:
        """Value to [0, 1]."""
        return (value - self.low) / self.range

    def value_from_normalized(self, normalized: Array) -> Array:
        """[0, 1] to value."""
        return self.low + normalized * self.range

    def value_from_index(self, index: Array) -> Array:
        """Grid point of a class."""
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


def _chosen(flag: Any, chosen: Any, other: Any) -> Any:
    """`chosen` where `flag` is 1, `other` where it is 0, exactly; the same for numbers, NumPy and PyTorch."""
    return flag * chosen + (1 - flag) * other


@dataclass(frozen=True)
class ParamSpec(Conversions[Any]):
    """A varying parameter: its range, its grid step and all its conversions.

    Attributes:
        name: Name on disk and in metrics.
        min: Lowest value. Where `scale` is `log`, this and the next two are base-10 logarithms.
        max: Highest value.
        step: Grid step.
        units: Name of the value's unit: `log10 Hz` where `scale` is `log`.
        description: One sentence for people.
        names: Names of the classes of a categorical parameter, in order of their index; empty otherwise.
        kind: `continuous`, `integer` (only the points of the grid, in their order) or `categorical` (only the points of
            the grid, which have names and no order). None: as `names` have it.
        scale: `linear` or `log`.
        active_if: The parameters that decide whether this one acts on a sound: name of an integer or categorical one to
            the classes, names or numbers, with which it does. Empty: it always does.

    Raises:
        ConfigError: If the range is empty, the step is not positive, there are not 2 to 256 classes, or kind, scale
            and names contradict each other.
    """

    __pydantic_config__ = STRICT
    name: str
    min: float
    max: float
    step: float
    units: str = ""
    description: str = ""
    names: tuple[str, ...] = ()
    kind: Kind | None = None
    scale: Scale = "linear"
    active_if: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self.kind or ("categorical" if self.names else "continuous"))
        object.__setattr__(self, "active_if", {name: _listed(item) for name, item in self.active_if.items()})
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
        self._check_kind()
        if abs(steps - round(steps)) > 1e-3:
            _warn_of_uneven_grid(self.name, steps)

    def _check_kind(self) -> None:
        """Refuse a kind, a scale and names that do not go together."""
        check_choice(f"{self.name}: kind", self.kind, KINDS)
        check_choice(f"{self.name}: scale", self.scale, SCALES)
        if (self.kind == "categorical") != bool(self.names):
            raise ConfigError(
                f"{self.name}: kind is {self.kind}, but names are {', '.join(self.names) or 'missing'}. Categorical "
                "parameters have names, one for each class, and no others have."
            )
        if self.scale == "log" and self.discrete:
            raise ConfigError(
                f"{self.name}: scale is log, which goes with continuous parameters, not with {self.kind}."
            )
        whole = all(float(number).is_integer() for number in (self.min, self.max, self.step))
        if self.kind == "integer" and not (whole and (self.range / self.step).is_integer()):
            raise ConfigError(
                f"{self.name}: min {self.min:g}, max {self.max:g} and step {self.step:g} of an integer must be whole "
                "numbers, and the range a whole number of steps."
            )

    @property
    def low(self) -> float:
        """Lowest value, under its name in `Conversions`."""
        return self.min

    @property
    def range(self) -> float:
        """Distance from the lowest to the highest value."""
        return self.max - self.min

    @property
    def n_classes(self) -> int:
        """Number of points on the grid."""
        return round(self.range / self.step) + 1

    @property
    def categorical(self) -> bool:
        """Whether the classes have names and no order."""
        return self.kind == "categorical"

    @property
    def discrete(self) -> float:
        """Whether only the points of the grid are possible, 1.0 or 0.0."""
        return float(self.kind != "continuous")

    @property
    def log(self) -> float:
        """Whether the value is the base-10 logarithm of what the synth is given, 1.0 or 0.0."""
        return float(self.scale == "log")

    @property
    def any_discrete(self) -> bool:
        """The same, under its name in `Conversions`."""
        return bool(self.discrete)

    @property
    def any_log(self) -> bool:
        """The same, under its name in `Conversions`."""
        return bool(self.log)

    @property
    def natural_units(self) -> str:
        """Name of the unit of what the synth is given."""
        return self.units.removeprefix(LOG_UNITS).strip() if self.log else self.units

    def text(self, value: float, decimals: int | None = None) -> str:
        """A value for people, without its unit: natural units, the name of a class, a whole number.

        Args:
            value: The value.
            decimals: Digits after the point; None: four digits in all.
        """
        if not math.isfinite(value):
            return INACTIVE
        if self.categorical:
            return self.names[int(self.index_from_value(np.float64(value)))]
        natural = float(self.natural_from_value(self.snapped(np.float64(value))))
        if self.discrete:
            return f"{natural:.0f}"
        return f"{natural:.4g}" if decimals is None else f"{natural:.{decimals}f}"


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


def _listed(item: Any) -> tuple[Any, ...]:
    """One class or several as a tuple."""
    return tuple(item) if isinstance(item, Sequence) and not isinstance(item, str) else (item,)


def _column(name: str, dtype: type) -> functools.cached_property[np.ndarray]:
    """An attribute of all varying parameters as an array."""

    def values(space: "ParameterSpace") -> np.ndarray:
        return np.array([getattr(spec, name) for spec in space.varying], dtype)

    return functools.cached_property(values)


@dataclass(frozen=True)
class ParameterSpace(Conversions[np.ndarray]):
    """The varying and the fixed parameters of a dataset.

    As `Conversions` it takes and returns arrays `(sample, parameter)` of all varying parameters.

    Attributes:
        varying: In the order of their ids on disk.
        fixed: Those that every sound shares.
        low: Lowest values, float64, `(parameter,)`.
        high: Highest values, likewise.
        range: Distances from the lowest to the highest values, likewise.
        step: Grid steps, likewise.
        n_classes: Numbers of points on the grids, int64, `(parameter,)`.
        discrete: 1.0 where only the points of the grid are possible, else 0.0, float64, `(parameter,)`.
        log: 1.0 where values are base-10 logarithms, else 0.0, likewise.
        categorical: Whether the classes have names and no order, bool, `(parameter,)`.
        conditions: Of the parameters that do not always act, with tables of classes, bool, `(class,)`.

    A condition on a fixed parameter is dropped where it holds.

    Raises:
        ConfigError: If there are too many parameters or none, or a condition of one cannot be met.
    """

    varying: tuple[ParamSpec, ...]
    fixed: tuple[FixedParam, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.varying) <= MAX_PARAMETERS:
            raise ConfigError(f"{len(self.varying)} parameters vary; a dataset holds 1 to {MAX_PARAMETERS}.")
        fixed = {entry.name: entry.value for entry in self.fixed}
        object.__setattr__(self, "varying", tuple(_without_fixed(spec, fixed) for spec in self.varying))
        _ = self.conditions  # refuses those that make no sense

    @classmethod
    def from_config(cls, parameters: Mapping[str, Mapping[str, Any]]) -> "ParameterSpace":
        """Read the `parameters` section of a generator configuration.

        Args:
            parameters: Name to either `value` (fixed) or `min`, `max`, `step`, `units`, `names`, `kind`, `scale`,
                `active_if` (varying); both with `description`. Where `min` is `max`, the parameter is fixed. With
                `names` alone, the classes are 0, 1, 2, … With `scale: log`, `min` and `max` are in natural units,
                and `step` is the factor from one grid point to the next.

        Raises:
            ConfigError: If a section has other keys or types, or describes no possible parameter.
        """
        specs: list[ParamSpec | FixedParam] = []
        for name, entry in parameters.items():
            if not isinstance(entry, Mapping):
                raise ConfigError(f"parameters.{name} is {entry!r}; it must be a section. {HOW}")
            if "name" in entry:
                raise ConfigError(f"the key parameters.{name}.name does not belong here. {HOW}")
            if "min" in entry and entry["min"] == entry.get("max"):
                entry = {"value": entry["min"], "description": entry.get("description", "")}
            kind = FixedParam if "value" in entry else ParamSpec
            entry = _numbered(_in_logarithms(name, entry))
            try:  # by way of JSON, whose lists are tuples where one is wanted
                specs.append(
                    TypeAdapter[ParamSpec | FixedParam](kind).validate_json(json.dumps({"name": name, **entry}))
                )
            except ValidationError as error:
                raise ConfigError(validation_in_words(error, f"parameters.{name}", hint=HOW)) from error
        varying = tuple(spec for spec in specs if isinstance(spec, ParamSpec))
        return cls(varying, tuple(spec for spec in specs if isinstance(spec, FixedParam)))

    low = _column("min", np.float64)
    high = _column("max", np.float64)
    range = _column("range", np.float64)
    step = _column("step", np.float64)
    n_classes = _column("n_classes", np.int64)
    discrete = _column("discrete", np.float64)
    log = _column("log", np.float64)
    categorical = _column("categorical", np.bool)

    @functools.cached_property
    def any_discrete(self) -> bool:
        """Whether any parameter is an integer or a category."""
        return bool(self.discrete.any())

    @functools.cached_property
    def any_log(self) -> bool:
        """Whether any parameter has a log scale."""
        return bool(self.log.any())

    @functools.cached_property
    def conditions(self) -> tuple[Condition[np.ndarray], ...]:
        """Parameter, the one that it depends on, and with which classes of that it is active; those in order."""
        number = {spec.name: p for p, spec in enumerate(self.varying)}
        graph = {spec.name: list(spec.active_if) for spec in self.varying if spec.active_if}
        try:
            order = list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            circle = ", ".join(dict.fromkeys(error.args[1]))
            raise ConfigError(f"active_if of {circle} goes in a circle. Let one of them act always.") from error
        return tuple(
            (number[name], number.get(other, -1), _allowed(name, other, wanted, self.varying))
            for name in order
            if name in number
            for other, wanted in self.varying[number[name]].active_if.items()
        )

    def active(self, value: np.ndarray) -> np.ndarray:
        """Which parameters act on sounds of these values, bool, `(sample, parameter)`."""
        if not self.conditions:
            return np.ones(value.shape, dtype=bool)
        return self.active_from_index(np.nan_to_num(self.index_from_value(value)).astype(np.int64))

    def canonical(self, value: np.ndarray) -> np.ndarray:
        """Values, those of parameters that do not act at the lowest end of their range, `(sample, parameter)`."""
        return np.where(self.active(value), value, self.low) if self.conditions else value

    def ends(self) -> np.ndarray:
        """Values at the ends of every range, and every class of categories, `(sample, parameter)`, for a trial.

        A parameter that does not always act is tried at both ends where it does.
        """
        rows = [self.low, self.high]
        for p, spec in enumerate(self.varying):
            if spec.categorical or spec.active_if:
                trials = range(spec.n_classes) if spec.categorical else (0, spec.n_classes - 1)
                for index in trials:
                    row = self._activated(self.low.copy(), p)
                    row[p] = min(spec.value_from_index(index), spec.max)
                    rows.append(row)
        return np.stack(rows)

    def _activated(self, row: np.ndarray, p: int) -> np.ndarray:
        """Values with which a parameter acts, made of those of a sample, `(parameter,)`."""
        for parameter, other, allowed in self.conditions:
            if parameter == p:
                row = self._activated(row, other)
                row[other] = self.varying[other].value_from_index(int(np.argmax(allowed)))
        return row

    @property
    def n_grid_points(self) -> int:
        """Number of distinct points of the grid, all varying parameters together."""
        return math.prod(spec.n_classes for spec in self.varying)

    def encode(self, value: np.ndarray) -> np.ndarray:
        """Codes of values, uint8, `(sample, parameter)`."""
        return self.code_from_normalized(self.normalized_from_value(value.astype(np.float64))).astype(np.uint8)

    def decode(self, code: np.ndarray) -> np.ndarray:
        """Values that codes stand for, float64, `(sample, parameter)`."""
        return self.snapped(self.value_from_normalized(self.normalized_from_code(code)))

    def clip(self, value: np.ndarray) -> np.ndarray:
        """Possible values: those beyond a range at its end, integers and categories on their grid, float64."""
        return np.clip(self.snapped(value), self.low, self.high)

    def value_from_uniform(self, share: np.ndarray) -> np.ndarray:
        """Values drawn by numbers that are uniform over [0, 1), `(sample, parameter)`.

        Each class of an integer or a category gets the same share of [0, 1); other values are spread evenly over their
        range, on a log scale their logarithms.
        """
        value = self.value_from_normalized(share)
        if not self.any_discrete:
            return value
        point = np.minimum(self.value_from_index(np.floor(share * self.n_classes)), self.high)
        return np.where(self.discrete > 0, point, value)

    def sample(self, start: int, stop: int, seed: int, sampling: str) -> np.ndarray:
        """Draw the samples numbered `start` to `stop - 1`; a sample depends on its number and the seed alone.

        Args:
            start: Number of the first sample.
            stop: One more than the number of the last.
            seed: Not negative.
            sampling: `uniform`: independent and uniform over the ranges. `sobol`: a scrambled Sobol sequence.
                `grid`: the distinct points of the grid in a seeded random order. Integers and categories are uniform
                over their points with all of them.

        Returns:
            Values, float64, `(sample, parameter)`.

        Raises:
            ConfigError: If `sampling` is unknown, or `grid` has fewer points than are requested.
        """
        check_number("seed", seed, whole=True, least=0)
        check_choice("sampling", sampling, SAMPLINGS)
        if sampling == "uniform":
            return self.value_from_uniform(uniform_rows(start, stop, len(self.varying), seed))
        if sampling == "sobol":
            return self.value_from_uniform(_sobol(start, stop, len(self.varying), seed))
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


def _numbered(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A section of a parameter with `names` alone, with the classes 0, 1, 2 and so on."""
    names = entry.get("names")
    if not isinstance(names, Sequence) or len(names) < 2 or entry.keys() & {"value", "min", "max", "step"}:
        return entry
    return {**entry, "min": 0, "max": len(names) - 1, "step": 1}


def _in_logarithms(name: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A section of a parameter on a log scale with the logarithms that its values are."""
    grid: list[Any] = [entry.get(key) for key in ("min", "max", "step")]
    if entry.get("scale") != "log" or not all(isinstance(n, Real) and not isinstance(n, bool) for n in grid):
        return entry
    low, high, factor = map(float, grid)
    if not (0 < low < high < math.inf and 1 < factor < math.inf):
        raise ConfigError(
            f"{name}: min {low:g}, max {high:g} and step {factor:g} make no log scale: it begins above 0, rises, and "
            "its step is the factor from one grid point to the next, above 1."
        )
    start, stop, step = math.log10(low), math.log10(high), math.log10(factor)
    n_steps = (stop - start) / step
    if n_steps > 0.5 and abs(n_steps - round(n_steps)) <= 1e-3:  # factors are written in few digits
        step = (stop - start) / round(n_steps)
    units = f"{LOG_UNITS} {entry['units']}" if isinstance(entry.get("units"), str) else entry.get("units", LOG_UNITS)
    return {**entry, "min": start, "max": stop, "step": step, "units": units}


def _without_fixed(spec: ParamSpec, fixed: Mapping[str, float]) -> ParamSpec:
    """A parameter without its conditions on fixed ones, which hold for every sound or for none."""
    own = {name: wanted for name, wanted in spec.active_if.items() if name in fixed}
    for name, wanted in own.items():
        if any(isinstance(item, str) for item in wanted):
            raise ConfigError(
                f"{spec.name}: active_if names the class {', '.join(map(str, wanted))} of {name}, which is fixed at "
                f"{fixed[name]:g}, and has no names then. Give the number, or leave the condition out."
            )
        if fixed[name] not in wanted:
            raise ConfigError(
                f"{spec.name}: is never active, because {name} is fixed at {fixed[name]:g}, not at "
                f"{' or '.join(map(str, wanted))}. Fix it as well, or leave the condition out."
            )
    varying = {name: wanted for name, wanted in spec.active_if.items() if name not in own}
    return replace(spec, active_if=varying) if own else spec


def _allowed(name: str, other: str, wanted: Sequence[Any], varying: Sequence[ParamSpec]) -> np.ndarray:
    """Whether a parameter is active, for each class of the one that it depends on, bool, `(class,)`."""
    found = {spec.name: spec for spec in varying}.get(other)
    if found is None or not found.discrete:
        able = ", ".join(spec.name for spec in varying if spec.discrete and spec.name != name) or "none here"
        what = "is no parameter here" if found is None else f"is {found.kind}"
        raise ConfigError(
            f"{name}: active_if names {other}, which {what}. It can depend on integers and categories: {able}."
        )
    points = {n: index for index, n in enumerate(found.value_from_index(np.arange(found.n_classes)).tolist())}
    points |= {text: index for index, text in enumerate(found.names)}
    allowed = np.zeros(found.n_classes, dtype=bool)
    for item in wanted:
        if isinstance(item, bool) or not isinstance(item, str | Real) or item not in points:
            known = ", ".join(found.names) or f"{found.min:g} to {found.max:g} in steps of {found.step:g}"
            raise ConfigError(
                f"{name}: active_if says {other}: {item}, but the classes of {other} are {known}. YAML reads on, off, "
                "yes and no as true and false: put such names in quotes."
            )
        allowed[points[item]] = True
    if not wanted:
        raise ConfigError(f"{name}: active_if names no class of {other}, so it would never be active.")
    return allowed


def uniform_rows(start: int, stop: int, n_columns: int, seed: int) -> np.ndarray:
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
