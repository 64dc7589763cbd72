"""`Dataset`: the samples of a dataset, to look at, to listen to, and to hand to a network."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, overload

import numpy as np

from src.api.answers import column_of
from src.api.places import find
from src.api.shown import Audio, dataframe, facts, facts_html, image, side_by_side
from src.checkpoints.trusted import instantiate_trusted
from src.errors import NSMError
from src.params import ParamSpec
from src.pictures.figures import ShownSample, samples_figure
from src.pictures.plots import Picture, value_texts
from src.playback import Playback
from src.text import name_of
from src.vimh.axes import channels_of
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch, VIMHReader, number_of, numbers_of

AT_ONCE = 4096  # samples that are read together
MOST_DRAWN = 32  # samples of a picture
MOST_SHOWN = 8  # samples that a notebook shows unasked
MOST_HEARD = 4  # samples that a notebook plays unasked


class Dataset:
    """The samples of a VIMH dataset, those to train first, then those to test.

    `data[0]`, `data[-1]`, `data[:16]`, `data[[3, 5]]` and `data[data["note_velocity"] > 90]` are those samples, a
    `Dataset` again; `data["note_velocity"]` is the column of a parameter. Nothing is read before it is asked for.

    Args:
        data_dir: Directory of the dataset. A relative path is looked for from the working directory, and then from the
            project's.
        trusted_modules: Packages whose classes the dataset may name for rendering its sounds, beside those that are
            always allowed.
        numbers: Which samples, `(sample,)`. None: all.

    Raises:
        VIMHError: If there is no dataset, or it contradicts itself.

    Examples:
        >>> data = Dataset("data/vimh-32x32x1_8000Hz_1p0s_64dss_simple_2p")
        >>> len(data), len(data.train), len(data[:16])
        (64, 51, 16)
        >>> data[[3, 5]].names
        ('train 3', 'train 5')
        >>> data[0].images.shape
        (1, 1, 32, 32)
    """

    def __init__(
        self,
        data_dir: str | Path | VIMHReader,
        trusted_modules: Sequence[str] = (),
        numbers: np.ndarray | None = None,
    ) -> None:
        self._reader = data_dir if isinstance(data_dir, VIMHReader) else VIMHReader(find(data_dir, "data_dir"))
        self._trusted = tuple(trusted_modules)
        self._n_train = len(self._reader.train)
        n_samples = self._n_train + len(self._reader.test)
        self._numbers = np.arange(n_samples) if numbers is None else numbers

    # ----- what it holds

    @property
    def path(self) -> Path:
        """Its directory."""
        return self._reader.data_dir

    @property
    def info(self) -> DatasetInfo:
        """Its description: everything in its JSON."""
        return self._reader.info

    @property
    def parameters(self) -> tuple[ParamSpec, ...]:
        """The parameters that vary: name, kind, range, grid step and units of each."""
        return self.info.parameters

    @property
    def train(self) -> "Dataset":
        """Those of these samples that are to train."""
        return self._of(self._numbers[self._numbers < self._n_train])

    @property
    def test(self) -> "Dataset":
        """Those of these samples that are to test."""
        return self._of(self._numbers[self._numbers >= self._n_train])

    @property
    def names(self) -> tuple[str, ...]:
        """`train 0` or `test 0` for each sample: its split, and its number there."""
        return tuple(map(self._name, self._numbers.tolist()))

    @property
    def images(self) -> np.ndarray:
        """What a network sees, uint8, `(sample, channel, freq, time)`."""
        return np.concatenate([self._nothing.image, *(batch.image for batch, _ in self.batches())])

    @property
    def spec_range(self) -> np.ndarray:
        """Levels of the pixels 0 and 255, dB, float32, `(sample, 2)`; `(sample, 0)` where there are none."""
        return np.concatenate([self._nothing.spec_range, *(batch.spec_range for batch, _ in self.batches())])

    @property
    def values(self) -> np.ndarray:
        """Values in natural units, float64, `(sample, parameter)`; of a category the number of its class.

        NaN where a parameter does not act on the sound.
        """
        space, value = self.info.space, self._value
        return np.where(space.active(value), space.natural_from_value(value), np.nan)

    def batches(self) -> Iterator[tuple[Batch, tuple[str, ...]]]:
        """The samples as they are stored, at most 4,096 at a time, with their names."""
        for first in range(0, len(self), AT_ONCE):
            numbers = self._numbers[first : first + AT_ONCE]
            yield self._read(numbers), tuple(map(self._name, numbers.tolist()))

    # ----- what is made of it

    def sound(self, number: int = 0) -> Audio:
        """A sound: rendered from its values where the synth is known, otherwise made from its image (Griffin-Lim).

        In a perturbed dataset it is perturbed as its image is.

        Args:
            number: Which of these samples.

        Raises:
            NSMError: If the dataset does not say how its samples sound.
        """
        one = self._of(self._numbers[[number_of(number, len(self))]])
        ((batch, (name,)),) = one.batches()
        playback, (split, index) = self._playback, name.split()
        name = name if playback.recipe else f"{name}, by Griffin-Lim"
        return Audio(playback.sounds(batch, split, int(index))[0], playback.sample_rate, name)

    def plot(self, channel: int | str = 0) -> Picture:
        """The images with their values; the first 32.

        Args:
            channel: Which of the image, by its number or its name.

        Raises:
            NSMError: If there is no such channel, or no sample.
        """
        labels = self.info.channel_labels
        number = number_of(labels.index(channel) if channel in labels else channel, self.info.channels, "channel")
        shown = self[:MOST_DRAWN]
        number_of(0, len(self))  # refuses to draw nothing
        ((batch, names),) = shown.batches()
        meaning = channels_of(self.info, batch.spec_range.size > 0)[number]
        levels = meaning.levels(batch.image[:, number], batch.spec_range)
        drawn = [
            ShownSample(name, level, value_texts(self.parameters, value))
            for name, level, value in zip(names, levels, batch.value, strict=True)
        ]
        note = f"the first {len(shown)} of {len(self):,} samples" if len(self) > len(shown) else ""
        return samples_figure(meaning, drawn, note)

    def to_dataframe(self) -> Any:
        """A DataFrame of pandas, a row for each sample: its name, and its values in natural units, or names of classes.

        Raises:
            ConfigError: If pandas is not installed.
        """
        value = self._value
        return dataframe(
            {"sample": list(self.names)}
            | {spec.name: column_of(self.parameters, value, spec.name) for spec in self.parameters}
        )

    # ----- as a sequence

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator["Dataset"]:
        return (self._of(self._numbers[[row]]) for row in range(len(self)))

    @overload
    def __getitem__(self, item: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, item: "int | slice | Sequence[int] | np.ndarray") -> "Dataset": ...

    def __getitem__(self, item: "str | int | slice | Sequence[int] | np.ndarray") -> "np.ndarray | Dataset":
        if isinstance(item, str):
            return column_of(self.parameters, self._value, item)
        return self._of(self._numbers[numbers_of(item, len(self))])

    def __repr__(self) -> str:
        return facts(self._title, self._facts())

    def _repr_html_(self) -> str:
        if not len(self):
            return facts_html(self._title, self._facts())
        picture = image(self[:MOST_SHOWN].plot(), f"The first samples of {self._title}")
        return facts_html(self._title, self._facts()) + picture + self._players()

    def _players(self) -> str:
        """Some of the samples to listen to, as HTML, if they can be heard."""
        try:
            return side_by_side(self.sound(number)._repr_html_() for number in range(min(MOST_HEARD, len(self))))
        except NSMError:
            return ""

    # ----- parts of the above

    def _of(self, numbers: np.ndarray) -> "Dataset":
        """The same dataset with other samples."""
        return Dataset(self._reader, self._trusted, numbers)

    def _name(self, number: int) -> str:
        return f"train {number}" if number < self._n_train else f"test {number - self._n_train}"

    def _read(self, numbers: np.ndarray) -> Batch:
        """Samples as they are stored, in this order."""
        is_train = numbers < self._n_train
        if is_train.all():
            return self._reader.train.read(numbers)
        if not is_train.any():
            return self._reader.test.read(numbers - self._n_train)
        order = np.argsort(np.argsort(~is_train, kind="stable"), kind="stable")  # of those to train, then the others
        parts = self._reader.train.read(numbers[is_train]), self._reader.test.read(numbers[~is_train] - self._n_train)
        return Batch(*(np.concatenate(pair)[order] for pair in zip(*parts, strict=True)))

    @property
    def _value(self) -> np.ndarray:
        """Values as `ParameterSpace` has them, float64, `(sample, parameter)`."""
        return np.concatenate([self._nothing.value, *(batch.value for batch, _ in self.batches())]).astype(np.float64)

    @property
    def _nothing(self) -> Batch:
        """A batch of no samples."""
        return self._reader.train.read(np.zeros(0, dtype=np.int64))

    @cached_property
    def _playback(self) -> Playback:
        return Playback(self.info, partial(instantiate_trusted, trusted_modules=self._trusted))

    @property
    def _title(self) -> str:
        return f"Dataset {name_of(self.path.name)}"

    def _facts(self) -> dict[str, str]:
        """What is shown of it."""
        info, n_train = self.info, len(self.train)
        duration, sample_rate = info.duration, info.sample_rate
        labels = f" ({', '.join(info.channel_labels)})" if info.channel_labels else ""
        found = {
            "samples": f"{len(self):,}: {n_train:,} to train, {len(self) - n_train:,} to test",
            "images": f"(channel, freq, time) {' x '.join(map(str, info.image_shape))}{labels}",
        }
        if duration and sample_rate:
            found["sounds"] = f"{duration:g} s at {sample_rate:,} Hz, synth {info.synth_type or 'unknown'}"
        for spec in info.parameters:
            ends = f"{spec.text(spec.min)} … {spec.text(spec.max)} {spec.natural_units}".rstrip()
            found[spec.name] = ", ".join(spec.names) if spec.categorical else f"{ends}, {spec.n_classes} classes"
        return found
