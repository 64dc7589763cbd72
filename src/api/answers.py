"""`Answer`: what a network reads from one sound or many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np

from src.api.shown import Audio, TextTable, dataframe, image, paragraphs, side_by_side
from src.errors import ConfigError, NSMError
from src.evaluation.scoring import plain_values
from src.params import ParameterSpace, ParamSpec
from src.pictures.figures import ReadSound, read_figure
from src.pictures.plots import Picture, value_texts
from src.readings.network import GAIN, TrainedOn
from src.readings.reading import Reading, RecordingReading, SampleReading, refine_reading
from src.readings.words import (
    about_domain,
    describe,
    describe_distance,
    describe_values,
    gain_cell,
    interval,
    reach,
    refined_line,
    spread_heading,
    value_cells,
    warnings_of,
)
from src.recipe import Recipe
from src.vimh.axes import channels_of
from src.vimh.info import DatasetInfo
from src.vimh.reader import number_of, numbers_of

MOST_DRAWN = 8  # sounds of a picture
MOST_SHOWN = 3  # sounds that a notebook shows unasked


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """What a network reads from one sound or many.

    It has a length, its sounds are `answer[0]`, `answer[:3]`, `answer[[0, 2]]`, each of them an `Answer` again, and
    `for one in answer` goes through them. `answer["filter_cutoff"]` is the column of a parameter: its values, or the
    names of a category's classes.

    Attributes:
        info: The dataset that the network was trained on.
        readings: What was read, one for each sound.
        recipe: Renders the parameters; None where it is not known how.
        trained: What the network was trained on; None for samples of a dataset.
    """

    info: DatasetInfo
    readings: tuple[Reading, ...]
    recipe: Recipe | None
    trained: TrainedOn | None

    # ----- numbers

    @property
    def parameters(self) -> tuple[ParamSpec, ...]:
        """The parameters, in the order of every `(..., parameter)`."""
        return self.info.parameters

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sounds: files, `sound 0`, or `test 0` of a dataset."""
        return tuple(reading.name for reading in self.readings)

    @property
    def units(self) -> tuple[str, ...]:
        """Units of the values, one for each parameter."""
        return tuple(spec.natural_units for spec in self.parameters)

    @property
    def values(self) -> np.ndarray:
        """Values in natural units, float64, `(sound, parameter)`; of a category the number of its class.

        NaN where a parameter does not act on the sound.
        """
        return _natural(self._space, self._value)

    @property
    def std(self) -> np.ndarray:
        """Standard deviations in natural units, float64, `(sound, parameter)`; NaN for categories."""
        std = self._space.natural_std(self._value, self._std)
        return np.where(self._space.categorical | np.isnan(self.values), np.nan, std)

    @property
    def interval(self) -> np.ndarray:
        """Ends of the 90 % intervals in natural units, float64, `(sound, parameter, 2)`; NaN for categories.

        With `predict(…, joint=True)` those of all parameters of a sound hold together.
        """
        ends = interval(self._space, self._value, self._rows_of([reading.reach_std for reading in self.readings]))
        return np.where(np.isnan(self.std)[..., None], np.nan, ends)

    @property
    def probabilities(self) -> dict[str, np.ndarray]:
        """Name of every category to the probabilities of its classes, in the order of `names`, `(sound, class)`."""
        return {
            spec.name: np.array([reading.probabilities[spec.name] for reading in self.readings])
            for spec in self.parameters
            if spec.categorical and all(spec.name in reading.probabilities for reading in self.readings)
        }

    @property
    def true_values(self) -> np.ndarray | None:
        """The true values as `values` has them, of samples of a dataset; None of recordings."""
        known = [reading.true_value for reading in self.readings if isinstance(reading, SampleReading)]
        return _natural(self._space, np.stack(known).astype(np.float64)) if known else None

    @property
    def distance(self) -> np.ndarray:
        """How far sounds are from the training's, of which 95 % are within 1, float64, `(sound,)`; NaN: not known."""
        return np.array([np.nan if r.distance is None else r.distance for r in self.readings])

    @property
    def zone(self) -> tuple[str, ...]:
        """The same in a word each: `inside`, `near`, `far`; empty: not known."""
        return tuple(reading.zone or "" for reading in self.readings)

    @property
    def outside(self) -> np.ndarray:
        """Whether a sound is unlike nearly all that the network was trained on, near or far, bool, `(sound,)`."""
        return self.distance > 1

    @property
    def db_away(self) -> np.ndarray:
        """How far the sounds of the answers are, dB, float64, `(sound,)`; NaN: not known."""
        return np.array([np.nan if r.apart is None else r.apart for r in self.readings])

    @property
    def notes(self) -> tuple[tuple[str, ...], ...]:
        """What was done to each sound: channels joined, resampled, cut, gain."""
        return tuple(reading.notes for reading in self.readings)

    @property
    def warnings(self) -> tuple[tuple[str, ...], ...]:
        """What to doubt about each sound: that it is not inside of the training, and what depends on its level."""
        return tuple(tuple(self._warnings(reading)) for reading in self.readings)

    # ----- what is made of them

    def refine(self) -> "Answer":
        """The answer after analysis by synthesis: from these values to those whose sound is nearest.

        The level of recordings counts only where `predict` was told that their gain is known (`normalize=False`).

        Raises:
            NSMError: If it is not known how to render the parameters.
        """
        recipe = self._renderer()
        return replace(self, readings=tuple(refine_reading(reading, recipe) for reading in self.readings))

    def frames(self, number: int = 0) -> "Answer":
        """What was read from each frame of a recording, where it was cut into frames; without sounds where it was not.

        Args:
            number: Which.
        """
        reading = self._reading(number)
        return replace(self, readings=reading.frames if isinstance(reading, RecordingReading) else ())

    def sound(self, number: int = 0) -> Audio:
        """A sound, rendered from the values that were read.

        Args:
            number: Which.

        Raises:
            NSMError: If it is not known how to render the parameters.
        """
        reading = self._reading(number)
        return self._rendered(reading.value, f"{reading.name}, resynthesis")

    def original(self, number: int = 0) -> Audio:
        """A sound as the network got it: cut, resampled, at the gain that was chosen; that of a sample is rendered.

        Args:
            number: Which.

        Raises:
            NSMError: If it is not known how to render the parameters.
        """
        reading = self._reading(number)
        if isinstance(reading, RecordingReading):
            return Audio(reading.waveform, self._sample_rate, reading.name)
        if isinstance(reading, SampleReading):
            return self._rendered(reading.true_value, reading.name)
        raise ConfigError(f"{reading.name}: its sound is not known.")

    def table(self) -> TextTable:
        """Values with 90 % intervals, a row for each sound and parameter; the true values where they are known."""
        one = len(self) == 1
        rows = [row if one else (name, *row) for r, name in enumerate(self.names) for row in self._rows(r)]
        is_heard = any(isinstance(reading, RecordingReading) for reading in self.readings)
        last = f"steps/{GAIN:g} dB" if is_heard else "true"
        spread = spread_heading([str(spec.kind) for spec in self.parameters])
        header = (*(() if one else ("sound",)), "parameter", "value", spread, "units", last)
        about = (self._title(), self._refined()) if one else ("", "")
        return TextTable(header, tuple(rows), ("sound", "parameter", "units"), *about)

    def plot(self) -> Picture:
        """What the network sees, the resynthesis, and every value in its range with its interval; the first 8 sounds.

        A true value is a red mark.

        Raises:
            NSMError: If there is no sound.
        """
        number_of(0, len(self), "sound")  # refuses to draw nothing
        shown = self.readings[:MOST_DRAWN]
        channel = channels_of(self.info, all(reading.spec_range.size for reading in shown))[0]
        note = f"the first {len(shown)} of {len(self):,} sounds" if len(self) > len(shown) else ""
        return read_figure(channel, [self._drawn(reading) for reading in shown], note)

    def to_dataframe(self) -> Any:
        """A DataFrame of pandas, a row for each sound.

        The columns of a parameter are `NAME` in natural units or the name of a class, `NAME_std`, `NAME_low` and
        `NAME_high` (of a category `NAME_probability`), and `NAME_true` of samples of a dataset.

        Raises:
            ConfigError: If pandas is not installed.
        """
        columns: dict[str, Any] = {"sound": list(self.names), "distance": self.distance, "zone": list(self.zone)}
        for p, spec in enumerate(self.parameters):
            columns[spec.name] = self[spec.name]
            if not spec.categorical:
                columns[f"{spec.name}_std"] = self.std[:, p]
                columns[f"{spec.name}_low"], columns[f"{spec.name}_high"] = self.interval[:, p].T
            elif spec.name in self.probabilities:
                columns[f"{spec.name}_probability"] = self.probabilities[spec.name].max(axis=1)
            if (true := self._true()) is not None:
                columns[f"{spec.name}_true"] = true[:, p]
        return dataframe(columns)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Everything as plain data, one for each sound: what `predict.py` writes to `predictions.json`."""
        return [self._described(reading) for reading in self.readings]

    # ----- as a sequence

    def __len__(self) -> int:
        return len(self.readings)

    def __iter__(self) -> Iterator["Answer"]:
        return (replace(self, readings=(reading,)) for reading in self.readings)

    @overload
    def __getitem__(self, item: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, item: "int | slice | Sequence[int] | np.ndarray") -> "Answer": ...

    def __getitem__(self, item: "str | int | slice | Sequence[int] | np.ndarray") -> "np.ndarray | Answer":
        if isinstance(item, str):
            return column_of(self.parameters, self._value, item)
        readings = tuple(self.readings[number] for number in numbers_of(item, len(self), "sound"))
        return replace(self, readings=readings)

    def __repr__(self) -> str:
        if not self.readings:
            return "An answer without sounds"
        shown = [repr(one.table()) for one in self[:MOST_SHOWN]]
        return "\n\n".join([*shown, *([self._more()] if self._more() else [])])

    def _repr_html_(self) -> str:
        parts = []
        for one in self[:MOST_SHOWN]:
            parts += [one.table()._repr_html_(), image(one.plot(), f"What is read from {one.names[0]}"), one._players()]
        return "".join(parts) + paragraphs(self._more())

    def _players(self) -> str:
        """The sound and its resynthesis as HTML, as far as they can be rendered."""
        try:
            return side_by_side(audio._repr_html_() for audio in (self.original(), self.sound()))
        except NSMError:
            return ""

    # ----- parts of the above

    @property
    def _space(self) -> ParameterSpace:
        return self.info.space

    @property
    def _value(self) -> np.ndarray:
        """`(sound, parameter)`, as `ParameterSpace` has them."""
        return self._rows_of([reading.value for reading in self.readings])

    @property
    def _std(self) -> np.ndarray:
        """Their standard deviations, `(sound, parameter)`."""
        return self._rows_of([reading.std for reading in self.readings])

    def _rows_of(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Rows, `(parameter,)` each, as one array, float64; there may be none."""
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.parameters))

    def _true(self) -> np.ndarray | None:
        """True values as people read them, `(sound, parameter)`, if they are known."""
        known = [reading.true_value for reading in self.readings if isinstance(reading, SampleReading)]
        return plain_values(self.parameters, np.stack(known).astype(np.float64))[0] if known else None

    def _more(self) -> str:
        left = len(self) - MOST_SHOWN
        return f"… and {left:,} more sounds: answer[{MOST_SHOWN}], or answer.table() for all" if left > 0 else ""

    def _title(self) -> str:
        """Name of the only sound, what was done to it, and its domain."""
        (reading,) = self.readings
        return f"{reading.name}\n{'; '.join([about_domain(reading), *reading.notes])}"

    def _refined(self) -> str:
        (reading,) = self.readings
        return refined_line(reading.refinement) if reading.refinement else ""

    def _reading(self, number: int) -> Reading:
        return self.readings[number_of(number, len(self), "sound")]

    def _warnings(self, reading: Reading) -> list[str]:
        outside = [about_domain(reading)] if reading.zone in ("near", "far") else []
        if self.trained is not None and isinstance(reading, RecordingReading):
            return outside + warnings_of(reading, self.trained)
        return outside

    def _described(self, reading: Reading) -> dict[str, Any]:
        """A reading as plain data."""
        if self.trained is not None and isinstance(reading, RecordingReading):
            return describe(reading, self.trained)
        return {
            "sample": reading.name,
            **describe_distance(reading),
            "parameters": describe_values(self._space, reading),
            "refinement": reading.refinement,
        }

    def _rows(self, number: int) -> Iterator[tuple[str, ...]]:
        """The cells of every parameter of a sound."""
        reading = self.readings[number]
        parameters = self._described(reading)["parameters"]
        true = dict(value_texts(self.parameters, reading.true_value)) if isinstance(reading, SampleReading) else {}
        for spec in self.parameters:
            found = parameters[spec.name]
            last = _without(true[spec.name], spec.natural_units) if true else gain_cell(found)
            yield spec.name, *value_cells(found), last

    def _renderer(self) -> Recipe:
        if self.recipe is None:
            raise ConfigError(f"{self.info.title} does not say how its sounds are rendered.")
        return self.recipe

    @property
    def _sample_rate(self) -> int:
        return self._renderer().synth.sample_rate if self.trained is None else self.trained.sample_rate

    def _rendered(self, value: np.ndarray, name: str) -> Audio:
        recipe = self._renderer()
        return Audio(recipe.render(value[None].astype(np.float64))[0], recipe.synth.sample_rate, name)

    def _drawn(self, reading: Reading) -> ReadSound:
        """What a picture shows of a reading."""
        channel = channels_of(self.info, bool(reading.spec_range.size))[0]
        level = channel.levels(reading.image[None, 0], reading.spec_range[None])[0]
        rendered = None
        if self.recipe is not None and self.info.generator is not None:
            waveform = self.recipe.render(reading.value[None].astype(np.float64))
            images, ranges = self.recipe.represent(waveform)
            rendered = channel.levels(images[:, 0], ranges)[0]
        space, value = self._space, reading.value.astype(np.float64)
        active = space.active(value[None])[0]
        ends = np.stack([space.normalized_from_value(end) for end in reach(space, value, reading.reach_std)], axis=-1)
        true = reading.true_value if isinstance(reading, SampleReading) else np.full(len(value), np.nan)
        return ReadSound(
            f"{reading.name}: {reading.zone} from the training" if reading.zone == "far" else reading.name,
            level,
            rendered,
            value_texts(self.parameters, value),
            np.where(active, space.normalized_from_value(value), np.nan),
            np.where((active & ~space.categorical)[:, None], ends, np.nan),
            space.normalized_from_value(true),
        )


def column_of(parameters: Sequence[ParamSpec], value: np.ndarray, name: str) -> np.ndarray:
    """The column of a parameter: natural units, float64; of a category names of classes. `(sound,)`.

    What does not act is NaN, of a category None.

    Args:
        parameters: In the order of the columns.
        value: `(sound, parameter)`.
        name: Of the parameter.

    Raises:
        ConfigError: If there is no such parameter.
    """
    names = [spec.name for spec in parameters]
    if name not in names:
        raise ConfigError(f"{name}: there is no such parameter, only {', '.join(names)}.")
    p = names.index(name)
    if parameters[p].categorical:
        return plain_values(parameters, value)[0][:, p]
    return _natural(ParameterSpace(tuple(parameters)), value)[:, p]


def _natural(space: ParameterSpace, value: np.ndarray) -> np.ndarray:
    """Values in natural units, NaN where a parameter does not act, `(sound, parameter)`."""
    return np.where(space.active(value), space.natural_from_value(value), np.nan)


def _without(text: str, units: str) -> str:
    return text.removesuffix(units).rstrip() if units else text
