"""`Recipe`: values to waveforms to images, for a generator configuration or for a dataset of another writer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src import __version__
from src.errors import ConfigError, NSMError, VIMHError
from src.migration import CONFIG_VERSION
from src.params import ParameterSpace
from src.perturb.chain import Draws, Perturbation, part_of
from src.recipe.foreign import synth_by_names
from src.recipe.images import BLOCK, images_of, plain_stft, view_of
from src.recipe.settings import DatasetSection, perturbation_of, recipe_config
from src.sections import read_section
from src.spectral.representation import Representation, SpectralRepresentation
from src.synth.base import Synth, count_samples
from src.vimh.format import METADATA_BYTES, SPLITS, directory_name, record_dtype
from src.vimh.info import DatasetInfo, Shard, new_info
from src.vimh.reader import Batch

MOST_DRAWS = 1000  # of a sample, until the synth has a sound for its values
NEXT_DRAW = 2**32  # added to the seed for each
LOUDEST = 100.0  # +40 dB full scale; beyond it there is no sound, but a synth that went wrong
WHOLE = Shard(index=0, count=1)
NOTHING = dict.fromkeys(SPLITS, 0)


@dataclass(frozen=True)
class Recipe:
    """What makes the sounds and the images of a dataset: values are rendered, waveforms perturbed and represented.

    Samples are perturbed, by their numbers: `samples`, `make`, `make_fresh` and `recorded`. All that begins with values
    is clean: `render`, `sounds` and `represent`, which others compare with.

    Attributes:
        config: The generator configuration, plain and resolved, as in the dataset's JSON; empty for a dataset of
            another writer, whose sounds can be rendered again, while no new ones can be drawn.
        synth: Renders parameters.
        representation: Turns waveforms into images.
        space: The parameters.
        perturbation: What happens to sounds before their images are made; None: nothing.
    """

    config: Mapping[str, Any]
    synth: Synth
    representation: Representation
    space: ParameterSpace
    perturbation: Perturbation | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], instantiate: Callable[..., Any]) -> "Recipe":
        """Build the objects that a generator configuration names.

        Args:
            config: With the sections `dataset`, `synth`, `parameters`, `representation` and `channels`, and with
                `perturb` if the samples are perturbed.
            instantiate: Makes an object from a section with a `_target_`, for a `slot`: `instantiate_own` of
                `checkpoints` for a configuration of the user's, `instantiate_trusted` for one out of a file.

        Raises:
            ConfigError: If the configuration cannot be used.
        """
        plain = recipe_config(config)
        read_section(DatasetSection, plain["dataset"], "dataset")
        synth = instantiate(plain["synth"], slot="synth")
        recipe = cls(
            plain,
            synth,
            instantiate(plain["representation"], slot="representation", channels=plain["channels"]),
            ParameterSpace.from_config(plain["parameters"]),
            perturbation_of(plain, synth, instantiate),
        )
        # Refuses images that no record can hold.
        record_dtype(recipe.representation.image_shape, len(recipe.space.varying), METADATA_BYTES)
        unknown = sorted(set(plain["parameters"]) - set(recipe.synth.defaults))
        if unknown:
            raise ConfigError(
                f"parameters holds {', '.join(unknown)}, which {type(recipe.synth).__name__} does not know; it knows "
                f"{', '.join(recipe.synth.defaults)}."
            )
        return recipe

    @classmethod
    def from_info(cls, info: DatasetInfo, instantiate: Callable[..., Any]) -> "Recipe":
        """What made the sounds of a dataset, without what perturbed them: `from_config` is the recipe of its samples.

        A dataset of another writer has no entry `generator`. Its synth is found by its `synth_type` and the names of
        its parameters, and its representation is an STFT of the size of its images, which need not be what made them.

        Args:
            info: The dataset's JSON.
            instantiate: As for `from_config`; what a dataset says came out of a file.

        Raises:
            VIMHError: If the JSON does not say enough, or no synth knows its parameters.
        """
        if info.generator is None:
            synth, space = synth_by_names(info)
            view = plain_stft(synth.sample_rate, synth.duration, info.height, info.width)
            return cls({}, synth, view, space)
        stored = info.generator.get("config")
        config: Mapping[str, Any] = stored if isinstance(stored, Mapping) else {}
        missing = [key for key in ("synth", "representation") if key not in config]
        if missing:
            raise VIMHError(
                f"{info.title}: its description lacks {', '.join(f'generator.config.{key}' for key in missing)}, so "
                "it is unknown how its sounds were made. Generate the set again with generate_vimh.py."
            )
        channels = config.get("channels", {})
        representation = instantiate(config["representation"], slot="representation", channels=channels)
        return cls(config, instantiate(config["synth"], slot="synth"), representation, info.space)

    @cached_property
    def view(self) -> SpectralRepresentation:
        """Turns waveforms into the spectrograms that are shown and compared.

        That is the representation itself, or an STFT where it has no spectrogram.
        """
        return view_of(self.representation, self.synth.sample_rate, self.synth.duration)

    def spectrogram_db(self, waveform: np.ndarray) -> np.ndarray:
        """The view of waveforms, `(sound, time)`, before it is rounded to pixels: dB full scale, `(sound, freq, time)`.

        Of several channels the first.
        """
        return self.view.spectrogram_db(torch.from_numpy(waveform))[0][:, 0].numpy()

    @property
    def threads(self) -> bool:
        """Whether sounds may be rendered on several threads."""
        return getattr(self.synth, "threads", True)

    @property
    def size(self) -> int:
        """Number of samples, train and test together."""
        return self.config["dataset"]["size"]

    @property
    def n_train(self) -> int:
        """Number of training samples: they come first."""
        return min(max(round(self.size * self.config["dataset"]["train_fraction"]), 1), self.size - 1)

    def directory_name(self, suffix: str | None = None) -> str:
        """Name that the format prescribes for the dataset's directory."""
        dataset, shape, n_parameters = self.config["dataset"], self.representation.image_shape, len(self.space.varying)
        sample_rate, duration, synth_type = (dataset[key] for key in ("sample_rate", "duration", "synth_type"))
        return directory_name(shape, sample_rate, duration, self.size, synth_type, n_parameters, suffix)

    def values(self, start: int, stop: int) -> np.ndarray:
        """Parameter values of the samples `start` to `stop - 1`, as stored: float32, `(sample, parameter)`."""
        return self._sounding(self.first_values(start, stop), start)

    def first_values(self, start: int, stop: int) -> np.ndarray:
        """The same as they are drawn first, whether the synth has such sounds or not."""
        dataset = self.config["dataset"]
        return self.space.sample(start, stop, dataset["seed"], dataset["sampling"]).astype(np.float32)

    def _sounding(self, value: np.ndarray, first: int) -> np.ndarray:
        """Values of which those that the synth has no sound for are drawn again, uniformly, until it has one.

        What is drawn depends on the sample's number and on how often it was drawn, and on nothing else.

        Args:
            value: float32, `(sample, parameter)`.
            first: Number of the first sample.

        Raises:
            ConfigError: If there is still none after `MOST_DRAWS`, or the sampling allows no other values.
        """
        has_sound = getattr(self.synth, "has_sound", None)
        if has_sound is None:
            return value
        value, left = value.copy(), np.arange(len(value))
        seed, sampling = (self.config["dataset"][key] for key in ("seed", "sampling"))
        draws = self.draws(first, len(value))
        for number in range(1, MOST_DRAWS + 1):
            drawn = {name: of_effect.rows(torch.from_numpy(left)) for name, of_effect in draws.items()}
            left = left[~has_sound(self.given(value[left], drawn))]
            if not left.size:
                return value
            if sampling == "grid":
                reason = "it is silent, and sampling=grid takes every point of the grid once"
                raise ConfigError(self.failed(first + left[0], value[left[0]], reason))
            again = self.space.sample(first, first + len(value), seed + number * NEXT_DRAW, "uniform")
            value[left] = again[left].astype(np.float32)
        reason = f"it is silent, and so were {MOST_DRAWS - 1} others that were drawn in its place"
        raise ConfigError(self.failed(first + left[0], value[left[0]], reason))

    def render(self, value: np.ndarray) -> np.ndarray:
        """Waveforms of stored values, float32, `(sample, time)`.

        Args:
            value: `(sample, parameter)`. Those of parameters that do not act on a sound are ignored.
        """
        return self.synth.render(self.given(value))

    def given(self, value: np.ndarray, draws: Draws | None = None) -> dict[str, np.ndarray]:
        """What the synth is given for stored values, natural units, float64, `(sample,)` each; as for `render`.

        Args:
            value: `(sample, parameter)`.
            draws: Of the perturbation, which may hold parameters of the voice; None for clean sounds.
        """
        natural = self.space.natural_from_value(self.space.canonical(value.astype(np.float64)))
        parameters = {spec.name: natural[:, p] for p, spec in enumerate(self.space.varying)}
        parameters |= {fixed.name: np.full(len(value), float(fixed.value)) for fixed in self.space.fixed}
        if self.perturbation is None or draws is None:
            return parameters
        return parameters | self.perturbation.voice(draws, self.synth.defaults)

    def draws(self, first: int, n_sounds: int) -> Draws:
        """What is drawn for the perturbation of the sounds from number `first` on; empty if there is none."""
        if self.perturbation is None:
            return {}
        return self.perturbation.draws(first, first + n_sounds, self.config["dataset"]["seed"])

    def represent(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images, uint8, `(sample, channel, freq, time)`, and their `spec_min`, `spec_max`, `(sample, 2)`."""
        return images_of(self.representation, waveform)

    def recorded(self, value: np.ndarray, first: int) -> np.ndarray:
        """The sounds that the images of samples are made of: those of `sounds`, perturbed by their numbers.

        Args:
            value: Natural units, `(sample, parameter)`.
            first: Number of the first sample.

        Raises:
            ConfigError: As `sounds` does.
        """
        draws = self.draws(first, len(value))
        waveform = torch.from_numpy(self.sounds(value, first, draws))
        groups = self.perturbed(waveform.split(BLOCK), draws)
        return np.concatenate([group.numpy() for group in groups])

    def sounds(self, value: np.ndarray, first: int = 0, draws: Draws | None = None) -> np.ndarray:
        """Waveforms of stored values as `render` makes them, each of them finite and at most `LOUDEST`.

        Args:
            value: Natural units, `(sample, parameter)`.
            first: Number of the first sample, for messages.
            draws: Whose parameters of the voice are taken; None for clean sounds.

        Raises:
            ConfigError: If the synth fails at a sound; with the sample's number and its values.
        """
        given = self.given(value, draws)
        try:
            waveform = self.synth.render(given)
        except Exception as error:
            row, reason = self.first_failure(given, error)
            raise ConfigError(self.failed(first + row, value[row], reason)) from error
        if waveform.size and not (waveform.min() >= -LOUDEST and waveform.max() <= LOUDEST):
            self.refuse_louder(np.abs(waveform).max(axis=1), value, first)
        return waveform

    def refuse_louder(self, peak: np.ndarray, value: np.ndarray, first: int) -> None:
        """Refuse the first sound whose peak, `(sample,)`, is beyond `LOUDEST` or no number; as for `sounds`."""
        row = int(np.argmin(peak <= LOUDEST))
        if not peak[row] <= LOUDEST:
            raise ConfigError(self.failed(first + row, value[row], f"its peak is {peak[row]:g} of full scale"))

    def first_failure(self, given: Mapping[str, np.ndarray], error: Exception) -> tuple[int, str]:
        """Row of the first sound that fails alone too, and why; the whole batch's error where none does."""
        n_sounds = len(next(iter(given.values())))
        for row in range(n_sounds):
            try:
                self.synth.render({name: item[row : row + 1] for name, item in given.items()})
            except Exception as alone:
                return row, _reason(alone)
        return 0, f"it cannot be rendered with the {n_sounds - 1} after it, {_reason(error)}"

    def failed(self, number: int, value: np.ndarray, reason: str) -> str:
        """The message about a sample whose sound cannot be."""
        values = ", ".join(f"{spec.name} {item:g}" for spec, item in zip(self.space.varying, value, strict=True))
        return (
            f"Sample {number} ({values}) is no sound of {type(self.synth).__name__}: {reason}. Correct the synth, or "
            "leave such values out of the parameters' ranges."
        )

    def samples(self, value: np.ndarray, first: int = 0) -> Batch:
        """What is stored of values, `(sample, parameter)`: everything but the values is made of them.

        Args:
            value: Natural units, `(sample, parameter)`.
            first: Number of the first sample.
        """
        image, spec_range = self.represent(self.recorded(value, first))
        return Batch(image, self.space.encode(value), spec_range, value)

    def perturbed(self, groups: Iterable[Tensor], draws: Draws) -> Iterator[Tensor]:
        """Groups of sounds, `(sample, time)` each, after the perturbation."""
        start = 0
        for group in groups:
            stop = start + len(group)
            yield group if self.perturbation is None else self.perturbation.apply(group, part_of(draws, start, stop))
            start = stop

    @property
    def n_samples(self) -> int:
        """Length of a sound, samples."""
        return count_samples(self.synth.sample_rate, self.synth.duration)

    def make(self, start: int, stop: int) -> Batch:
        """The samples `start` to `stop - 1`, from nothing but their numbers."""
        return self.samples(self.values(start, stop), start)

    def make_fresh(self, start: int, stop: int) -> Batch:
        """Sounds `start` to `stop - 1` of an endless list of sounds of the dataset's kind, none of which is in it.

        They are drawn as the dataset's own are, from where its last one ends: the dataset has the numbers below `size`
        of one table of random numbers, the list those above. With `sobol` its own are points of that sequence instead,
        and the list is drawn uniformly. With `grid` the list goes through the points that the dataset left, over and
        over.
        """
        return self.samples(self.fresh_values(start, stop), self.size + start)

    def fresh_values(self, start: int, stop: int) -> np.ndarray:
        """Parameter values of fresh sounds as they would be stored, float32, `(sample, parameter)`."""
        return self._sounding(self._fresh_draws(start, stop).astype(np.float32), self.size + start)

    def _fresh_draws(self, start: int, stop: int) -> np.ndarray:
        """The same as they are drawn first, float64."""
        seed = self.config["dataset"]["seed"]
        if self.config["dataset"]["sampling"] != "grid":
            return self.space.sample(self.size + start, self.size + stop, seed, "uniform")
        n_left = self.space.n_grid_points - self.size
        if n_left < 1:
            raise ConfigError(
                f"sampling grid has {self.space.n_grid_points} distinct points, and all of them are in the dataset: "
                "there are no fresh ones. Set data.stream=false, or take a set that is sampled uniformly."
            )
        pieces = []
        while start < stop:
            first = start % n_left
            end = min(first + stop - start, n_left)
            pieces.append(self.space.sample(self.size + first, self.size + end, seed, "grid"))
            start += end - first
        return np.concatenate(pieces)

    def check(self) -> None:
        """Refuse what cannot be made before anything is written: the last sample, the ends of ranges, every category.

        Raises:
            ConfigError: From the sampling or the synth.
        """
        self.values(self.size - 1, self.size)
        try:
            self.render(self.space.ends())
        except NSMError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{type(self.synth).__name__} fails at the ends of the parameters' ranges: {_reason(error)}. Correct "
                "the synth, or the ranges."
            ) from error

    def ranges(self, shard: Shard = WHOLE) -> dict[str, tuple[int, int]]:
        """First and one past the last number of the samples of each split that belong to a shard.

        Raises:
            ConfigError: If there is no such shard, or one would be left without training or test samples.
        """
        index, count = shard.index, shard.count
        most = min(self.n_train, self.size - self.n_train)
        if not 0 <= index < count <= most:
            raise ConfigError(
                f"shard.index {index} of shard.count {count}: the index runs from 0 to one less than the count, and "
                f"the count may be {most} at most, so that each shard has samples to train and to test."
            )
        splits = {"train": (0, self.n_train), "test": (self.n_train, self.size)}
        return {
            split: (first + (end - first) * index // count, first + (end - first) * (index + 1) // count)
            for split, (first, end) in splits.items()
        }

    def first_number(self, split: str, shard: Shard | None = None) -> int:
        """Number of the first sample of a split, of a dataset or of a shard of it."""
        return self.ranges(shard or WHOLE)[split][0]

    def batches(
        self, batch_size: int, shard: Shard = WHOLE, done: Mapping[str, int] = NOTHING
    ) -> Iterator[tuple[str, int, int]]:
        """Split, first and one past the last number of every batch, in the order of writing.

        Args:
            batch_size: Samples in each but the last of a split.
            shard: Which part of the dataset.
            done: Samples of each split that are there already.
        """
        for split, (first, end) in self.ranges(shard).items():
            for start in range(first + done[split], end, batch_size):
                yield split, start, min(start + batch_size, end)

    def info(self, dataset_name: str, shard: Shard = WHOLE) -> DatasetInfo:
        """The complete description of a dataset, or of a shard of it, but for the checksums of its files."""
        dataset, representation = self.config["dataset"], self.representation
        own = {"channel_ranges": representation.channel_ranges, "channel_axes": representation.channel_axes}
        return new_info(
            dataset_name,
            representation.image_shape,
            self.space,
            {split: end - first for split, (first, end) in self.ranges(shard).items()},
            synth_type=dataset["synth_type"],
            channel_labels=tuple(representation.channel_labels),
            **{key: tuple(entries) for key, entries in own.items() if entries is not None},
            sample_rate=dataset["sample_rate"],
            duration=dataset["duration"],
            pre_emphasis_coefficient=representation.pre_emphasis,
            spectrogram_config=representation.describe(),
            mel_config=representation.describe_mel(),
            seed=dataset["seed"],
            sampling=dataset["sampling"],
            generator={"version": __version__, "config_version": CONFIG_VERSION, "config": self.config},
            shard=None if shard == WHOLE else shard,
        )


def _reason(error: Exception) -> str:
    """An error as part of a sentence: ours as it is, a foreign one with its class."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if isinstance(error, NSMError) else f"{type(error).__name__}: {text}".rstrip(": ")
