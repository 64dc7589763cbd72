"""TODO."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import OmegaConf
from pydantic import ValidationError

from src import __version__
from src.errors import ConfigError
from src.migration import CONFIG_VERSION
from src.params import SAMPLINGS, ParameterSpace
from src.spectral.representation import Representation
from src.synth.base import Synth
from src.vimh.format import METADATA_BYTES, SPLITS, directory_name, record_dtype
from src.vimh.info import DatasetInfo, FixedValue, LabelEncoding, Shard, mapping_from_spec

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("dataset", "synth", "parameters", "representation", "channels")
DATASET_KEYS = ("size", "train_fraction", "seed", "sampling", "sample_rate", "duration", "synth_type")
NOT_IN_FILES = ("name", "suffix")  # of the section `dataset`: they change where a set lies, not what is in it


BLOCK = 32  # sounds that are represented at a time: what they need then stays in the cache
WHOLE = Shard(index=0, count=1)
NOTHING = dict.fromkeys(SPLITS, 0)


class Sounds(NamedTuple):
    """A batch on its way to the disk.

    Attributes:
        image: uint8, `(sample, channel, freq, time)`.
        code: uint8, `(sample, parameter)`.
        spec_range: `spec_min`, `spec_max`, dB, float32, `(sample, 2)`.
        value: Natural units, float32, `(sample, parameter)`.
    """

    image: np.ndarray
    code: np.ndarray
    spec_range: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """A generator configuration and the objects it names: all that it takes to make any sample of a dataset.

    Attributes:
        config: Plain and resolved; the same as in the dataset's JSON.
        synth: Renders parameters.
        representation: Turns waveforms into images.
        space: The parameters.
    """

    config: dict[str, Any]
    synth: Synth
    representation: Representation
    space: ParameterSpace

    @classmethod
    def from_config(cls, config: Mapping[str, Any], instantiate: Callable[..., Any]) -> "Recipe":
        """Build the objects that a generator configuration names.

        Args:
            config: With the sections `dataset`, `synth`, `parameters`, `representation` and `channels`.
            instantiate: Makes an object from a section with a `_target_`. Hydra's for a configuration of the user's,
                the trusted one for a configuration out of a file.

        Raises:
            ConfigError: If the configuration cannot be used.
        """
        plain = recipe_config(config)
        _check_dataset_section(plain["dataset"])
        recipe = cls(
            plain,
            instantiate(plain["synth"]),
            instantiate(plain["representation"], channels=plain["channels"]),
            ParameterSpace.from_config(plain["parameters"]),
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
        dataset = self.config["dataset"]
        return directory_name(
            self.representation.image_shape,
            dataset["sample_rate"],
            dataset["duration"],
            self.size,
            dataset["synth_type"],
            len(self.space.varying),
            suffix,
        )

    def values(self, start: int, stop: int) -> np.ndarray:
        """Parameter values of the samples `start` to `stop - 1`, as stored: float32, `(sample, parameter)`."""
        dataset = self.config["dataset"]
        return self.space.sample(start, stop, dataset["seed"], dataset["sampling"]).astype(np.float32)

    def render(self, value: np.ndarray) -> np.ndarray:
        """Waveforms of stored values, float32, `(sample, time)`.

        Args:
            value: Natural units, `(sample, parameter)`.
        """
        parameters = {spec.name: value[:, p].astype(np.float64) for p, spec in enumerate(self.space.varying)}
        parameters |= {fixed.name: np.full(len(value), float(fixed.value)) for fixed in self.space.fixed}
        return self.synth.render(parameters)

    def represent(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images, uint8, `(sample, channel, freq, time)`, and their `spec_min`, `spec_max`, `(sample, 2)`."""
        blocks = [self.representation.to_image(block) for block in torch.from_numpy(waveform).split(BLOCK)]
        images, spec_ranges = zip(*blocks, strict=True)
        return torch.cat(images).numpy(), torch.cat(spec_ranges).numpy()

    def encode(self, value: np.ndarray) -> np.ndarray:
        """Codes of stored values, uint8, `(sample, parameter)`."""
        codes = [
            spec.code_from_normalized(spec.normalized_from_value(value[:, p].astype(np.float64)))
            for p, spec in enumerate(self.space.varying)
        ]
        return np.stack(codes, axis=1).astype(np.uint8)

    def finish(self, value: np.ndarray, waveform: np.ndarray) -> Sounds:
        """What is stored of sounds that are rendered already.

        Args:
            value: Natural units, `(sample, parameter)`.
            waveform: `(sample, time)`.
        """
        image, spec_range = self.represent(waveform)
        return Sounds(image, self.encode(value), spec_range, value)

    def make(self, start: int, stop: int) -> Sounds:
        """The samples `start` to `stop - 1`, from nothing but their numbers."""
        value = self.values(start, stop)
        return self.finish(value, self.render(value))

    def make_fresh(self, start: int, stop: int) -> Sounds:
        """Sounds `start` to `stop - 1` of an endless list of sounds of the dataset's kind, none of which is in it.

        They are drawn as the dataset's own are, from where its last one ends: the dataset has the numbers below `size`
        of one table of random numbers, the list those above. With `sobol` its own are points of that sequence instead,
        and the list is drawn uniformly. With `grid` the list goes through the points that the dataset left, over and
        over.
        """
        value = self._fresh_values(start, stop).astype(np.float32)
        return self.finish(value, self.render(value))

    def _fresh_values(self, start: int, stop: int) -> np.ndarray:
        """Parameter values of fresh sounds, float64, `(sample, parameter)`."""
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
        """Refuse what cannot be made before anything is written: the last sample, and the ends of every range.

        Raises:
            ConfigError: From the sampling or the synth.
        """
        self.values(self.size - 1, self.size)
        self.render(np.array([[spec.min for spec in self.space.varying], [spec.max for spec in self.space.varying]]))

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
        dataset = self.config["dataset"]
        n_train, n_test = (end - first for first, end in self.ranges(shard).values())
        channels, height, width = self.representation.image_shape
        return DatasetInfo(
            format="VIMH",
            version="2.1",
            dataset_name=dataset_name,
            output_format="binary",
            height=height,
            width=width,
            channels=channels,
            channel_labels=tuple(self.representation.channel_labels),
            **self._channel_keys(),
            varying_parameters=len(self.space.varying),
            parameter_names=tuple(spec.name for spec in self.space.varying),
            train_samples=n_train,
            test_samples=n_test,
            total_samples=n_train + n_test,
            n_samples=n_train + n_test,
            sample_rate=dataset["sample_rate"],
            duration=dataset["duration"],
            synth_type=dataset["synth_type"],
            image_size=f"{height}x{width}x{channels}",
            parameter_mappings={spec.name: mapping_from_spec(spec) for spec in self.space.varying},
            fixed_parameters={
                fixed.name: FixedValue(value=fixed.value, description=fixed.description) for fixed in self.space.fixed
            },
            pre_emphasis_coefficient=self.representation.pre_emphasis,
            spectrogram_config=self.representation.describe(),
            mel_config=self.representation.describe_mel(),
            label_encoding=LabelEncoding(metadata_bytes=METADATA_BYTES),
            seed=dataset["seed"],
            sampling=dataset["sampling"],
            generator={"version": __version__, "config_version": CONFIG_VERSION, "config": self.config},
            shard=None if shard == WHOLE else shard,
        )

    def _channel_keys(self) -> dict[str, tuple]:
        """What the JSON says of channels that are not the usual ones; nothing if there are none."""
        representation = self.representation
        keys = {"channel_ranges": representation.channel_ranges, "channel_axes": representation.channel_axes}
        return {key: tuple(entries) for key, entries in keys.items() if entries is not None}


def check_count(name: str, number: Any) -> None:
    """Refuse what is no whole number of 1 or more."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigError(f"{name} is {number!r}; it must be a whole number of 1 or more.")


def shard_from_config(section: Mapping[str, Any]) -> Shard:
    """The shard that a configuration asks for, with `index` and `count`."""
    try:
        return Shard(**section)
    except (ValidationError, TypeError) as error:
        raise ConfigError(
            f"shard is {dict(section)}; shard.index must be a whole number of 0 or more, shard.count one of 1 or more."
        ) from error


def recipe_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration decides the bytes of a dataset, plain and resolved: no paths, threads or batch sizes."""
    sections = {key: config.get(key) for key in SECTIONS}
    if OmegaConf.is_config(config):  # one out of a file is plain, and nothing in it is resolved
        sections = OmegaConf.to_container(OmegaConf.create(sections), resolve=True, throw_on_missing=True)
    for key, section in sections.items():
        if not isinstance(section, Mapping):
            raise ConfigError(f"{key} is {section!r}; it must be a section, as {', '.join(SECTIONS)} are.")
    dataset = {key: item for key, item in sections["dataset"].items() if key not in NOT_IN_FILES}
    return sections | {"dataset": dataset}


def differences(stored: Any, wanted: Any, key: str = "") -> list[str]:
    """Where two plain configurations differ, a line a key."""
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        keys = [*stored, *(name for name in wanted if name not in stored)]
        missing = "(absent)"
        return [
            line
            for name in keys
            for line in differences(stored.get(name, missing), wanted.get(name, missing), f"{key}.{name}".lstrip("."))
        ]
    return [] if stored == wanted else [f"{key}: {stored} there, {wanted} asked for"]


def _check_dataset_section(dataset: Mapping[str, Any]) -> None:
    """Refuse sizes, rates and names that make no dataset."""
    missing = [key for key in DATASET_KEYS if key not in dataset]
    if missing:
        raise ConfigError(f"dataset lacks {', '.join(missing)}; it has the keys {', '.join(dataset)}.")
    size, fraction = dataset["size"], dataset["train_fraction"]
    if not isinstance(size, int) or size < len(SPLITS):
        raise ConfigError(f"dataset.size is {size}; it must be a whole number of 2 or more: one to train, one to test.")
    if not isinstance(fraction, float) or not 0 < fraction < 1:
        raise ConfigError(f"dataset.train_fraction is {fraction!r}; it must be above 0 and below 1.")
    if not isinstance(dataset["synth_type"], str) or "/" in dataset["synth_type"]:
        raise ConfigError(f"dataset.synth_type is {dataset['synth_type']!r}; it must be a short name, without a slash.")
    if not isinstance(dataset["seed"], int) or dataset["seed"] < 0:
        raise ConfigError(f"dataset.seed is {dataset['seed']}; it must be a whole number of 0 or more.")
    if dataset["sampling"] not in SAMPLINGS:
        raise ConfigError(f"dataset.sampling is {dataset['sampling']!r}; choose one of {', '.join(SAMPLINGS)}.")
    for key in ("sample_rate", "duration"):
        if isinstance(dataset[key], bool) or not isinstance(dataset[key], int | float) or not dataset[key] > 0:
            raise ConfigError(f"dataset.{key} is {dataset[key]!r}; it must be above 0.")
