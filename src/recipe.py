"""`Recipe`: values to waveforms to images, for a generator configuration or for a dataset of another writer."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from omegaconf import OmegaConf
from pydantic import Field, FiniteFloat
from torch import Tensor

from src import __version__
from src.errors import ConfigError, NSMError, VIMHError
from src.migration import CONFIG_VERSION
from src.params import SAMPLINGS, FixedParam, ParameterSpace, Sampling
from src.perturb.chain import Draws, Perturbation, part_of
from src.sections import Section, WholeNumber, read_section
from src.spectral.representation import Representation, SpectralRepresentation, working_memory
from src.synth.base import Synth, count_samples, why_no_cuda_voice
from src.synth.voices import MoogVoice, SawVoice
from src.vimh.format import METADATA_BYTES, SPLITS, directory_name, record_dtype
from src.vimh.info import DatasetInfo, Shard, new_info
from src.vimh.reader import Batch

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("dataset", "synth", "parameters", "representation", "channels")
ORDERED = ("channels", "perturb")  # sections whose entries mean something by their order
PERTURB = "perturb"  # a section that is there if it holds something
NOT_IN_FILES = ("name", "suffix")  # of the section `dataset`: they change where a set lies, not what is in it

MOST_DRAWS = 1000  # of a sample, until the synth has a sound for its values
NEXT_DRAW = 2**32  # added to the seed for each
LOUDEST = 100.0  # +40 dB full scale; beyond it there is no sound, but a synth that went wrong
BLOCK = 32  # sounds that are represented at a time: what they need then stays in the cache
CPU = torch.device("cpu")
# On a device: the more voices at once, the better it is used, as far as its memory goes. Shares of the whole memory,
# and not of what is free, so that every run on such a device works in the same groups.
SHARE_OF_MEMORY = 1 / 16  # for waveforms, for what representing them needs, and for a block of samples, each
MEMORY = 2**33  # bytes, of a device that does not say
MOST_TOGETHER = 65536  # sounds that are rendered together
MOST_REPRESENTED = 8192  # sounds that are represented together
SOUND_BYTES = 2**26  # of waveforms that travel to a device together
BYTES_OF_A_PARAMETER = 16  # of a sample: class, normalized, value
WHOLE = Shard(index=0, count=1)
NOTHING = dict.fromkeys(SPLITS, 0)
VIEW_SIZE = (128, 128)  # rows and columns of the spectrograms that show sets of samples
# By what `synth_type` contains.
SYNTHS: dict[str, type[SawVoice | MoogVoice]] = {"simple": SawVoice, "saw": SawVoice, "moog": MoogVoice}
SYNTH_SETTINGS = ("sample_rate", "duration", "note_duration")  # some datasets list these as fixed parameters


class DatasetSection(Section):
    """The section `dataset` of a generator configuration.

    Attributes:
        size: Number of samples, train and test together.
        train_fraction: Share of the samples that train.
        seed: Of the parameter values.
        sampling: How the values are drawn: see `ParameterSpace.sample`.
        sample_rate: Hz.
        duration: s.
        synth_type: Short name of the synth, part of the directory's name.
    """

    size: int = Field(ge=2, description="it must be a whole number of 2 or more: one to train, one to test")
    train_fraction: float = Field(gt=0, lt=1, description="it must be above 0 and below 1")
    seed: WholeNumber
    sampling: Sampling = Field(description=f"choose one of {', '.join(SAMPLINGS)}")
    sample_rate: int | FiniteFloat = Field(gt=0, description="it must be a number above 0")
    duration: FiniteFloat = Field(gt=0, description="it must be a number above 0")
    synth_type: str = Field(pattern="^[^/]*$", description="it must be a short name, without a slash")


class Begun(NamedTuple):
    """Samples of which everything is done that the CPU does.

    Attributes:
        first: Number of the first.
        value: Parameter values as stored, float32, `(sample, parameter)`.
        code: uint8, `(sample, parameter)`.
        sound: Their waveforms, float32, `(sample, time)`; or, where a device is to render them, what the synth is given
            there, natural units, float64, `(parameter, sample)`.
        given: Names of what the synth is given there, in order; None if the sounds are rendered.
        draws: What is drawn for their perturbation.
    """

    first: int
    value: np.ndarray
    code: np.ndarray
    sound: Tensor
    given: tuple[str, ...] | None
    draws: Draws


class Made(NamedTuple):
    """Samples whose images are on a device; in the order of the attributes of `vimh.reader.Batch`.

    Attributes:
        image: uint8, `(sample, channel, height, width)`.
        code: uint8, `(sample, parameter)`.
        spec_range: `spec_min` and `spec_max` in dB, float32, `(sample, 2)`, on the device.
        value: Parameter values as stored, float32, `(sample, parameter)`.
    """

    image: Tensor
    code: np.ndarray
    spec_range: Tensor
    value: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """What makes the sounds and the images of a dataset: values are rendered, waveforms perturbed and represented.

    Samples are perturbed, by their numbers: `samples`, `make`, `make_on`, `make_fresh` and `recorded`. All that begins
    with values is clean: `render`, `sounds` and `represent`, which others compare with.

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
            _perturbation(plain, synth, instantiate),
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
            synth, space = _synth_by_names(info)
            return cls({}, synth, _plain_stft(synth, info.height, info.width), space)
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
        if isinstance(self.representation, SpectralRepresentation):
            return self.representation
        return _plain_stft(self.synth, *VIEW_SIZE)

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
                raise ConfigError(self._failed(first + left[0], value[left[0]], reason))
            again = self.space.sample(first, first + len(value), seed + number * NEXT_DRAW, "uniform")
            value[left] = again[left].astype(np.float32)
        reason = f"it is silent, and so were {MOST_DRAWS - 1} others that were drawn in its place"
        raise ConfigError(self._failed(first + left[0], value[left[0]], reason))

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
        blocks = [self.representation.to_image(block) for block in torch.from_numpy(waveform).split(BLOCK)]
        images, spec_ranges = zip(*blocks, strict=True)
        return torch.cat(images).numpy(), torch.cat(spec_ranges).numpy()

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
        groups = self._perturbed(waveform.split(BLOCK), draws)
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
            row, reason = self._first_failure(given, error)
            raise ConfigError(self._failed(first + row, value[row], reason)) from error
        if waveform.size and not (waveform.min() >= -LOUDEST and waveform.max() <= LOUDEST):
            self._refuse_louder(np.abs(waveform).max(axis=1), value, first)
        return waveform

    def _refuse_louder(self, peak: np.ndarray, value: np.ndarray, first: int) -> None:
        """Refuse the first sound whose peak, `(sample,)`, is beyond `LOUDEST` or no number; as for `sounds`."""
        row = int(np.argmin(peak <= LOUDEST))
        if not peak[row] <= LOUDEST:
            raise ConfigError(self._failed(first + row, value[row], f"its peak is {peak[row]:g} of full scale"))

    def _first_failure(self, given: Mapping[str, np.ndarray], error: Exception) -> tuple[int, str]:
        """Row of the first sound that fails alone too, and why; the whole batch's error where none does."""
        n_sounds = len(next(iter(given.values())))
        for row in range(n_sounds):
            try:
                self.synth.render({name: item[row : row + 1] for name, item in given.items()})
            except Exception as alone:
                return row, _reason(alone)
        return 0, f"it cannot be rendered with the {n_sounds - 1} after it, {_reason(error)}"

    def _failed(self, number: int, value: np.ndarray, reason: str) -> str:
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
        made = self.finish(self.begin(value, first))
        return Batch(made.image.numpy(), made.code, made.spec_range.numpy(), made.value)

    def begin(self, value: np.ndarray, first: int = 0, there: bool = False) -> Begun:
        """The part of samples that is the CPU's; any thread may do it.

        Args:
            value: Natural units, float32, `(sample, parameter)`.
            first: Number of the first sample.
            there: Whether the device that finishes them renders them: see `renders_on`.

        Raises:
            ConfigError: As `sounds` does, unless they are rendered there.
        """
        code, draws = self.space.encode(value), self.draws(first, len(value))
        if there:
            given = self.given(value, draws)
            return Begun(first, value, code, torch.from_numpy(np.stack([*given.values()])), tuple(given), draws)
        return Begun(first, value, code, torch.from_numpy(self.sounds(value, first, draws)), None, draws)

    def finish(self, begun: Begun, device: torch.device = CPU) -> Made:
        """The rest, on a device: the only place where the sounds of samples become images.

        A dataset, a stream on the CPU and a block on a GPU alike are made here, a group of sounds at a time.

        Raises:
            ConfigError: As `sounds` does.
        """
        images, spec_ranges = [], []
        for waveform in self._perturbed(self._waveforms(begun, device), begun.draws):
            image, spec_range = self.representation.to_image(waveform)
            images.append(image)
            spec_ranges.append(spec_range)
        return Made(torch.cat(images), begun.code, torch.cat(spec_ranges), begun.value)

    def _perturbed(self, groups: Iterable[Tensor], draws: Draws) -> Iterator[Tensor]:
        """Groups of sounds, `(sample, time)` each, after the perturbation."""
        start = 0
        for group in groups:
            stop = start + len(group)
            yield group if self.perturbation is None else self.perturbation.apply(group, part_of(draws, start, stop))
            start = stop

    def _waveforms(self, begun: Begun, device: torch.device) -> Iterator[Tensor]:
        """Sounds on a device, in their order, by groups whose images are made together, `(sample, time)` each."""
        size = BLOCK if device == CPU else self._n_represented(device)
        if begun.given is None:
            yield from (group.to(device) for group in begun.sound.split(size))
            return
        peaks = []
        for given in begun.sound.to(device).split(self._n_rendered(device), dim=1):
            for group in self._render_there(begun, dict(zip(begun.given, given, strict=True))).split(size):
                waveform = group.contiguous()  # a synth may have written all voices of an instant side by side
                low, high = waveform.aminmax(dim=1)
                peaks.append(torch.maximum(-low, high))
                yield waveform
        peak = torch.cat(peaks)
        if not bool((peak <= LOUDEST).all()):  # the one place that waits for the device
            self._refuse_louder(peak.cpu().numpy(), begun.value, begun.first)

    def _render_there(self, begun: Begun, given: Mapping[str, Tensor]) -> Tensor:
        """Waveforms of what the synth is given on a device, `(sample,)` each."""
        try:
            voice: Any = self.synth  # has the method, as `renders_on` has found
            waveform: Tensor = voice.render_cuda(given)
        except NSMError as error:  # whatever else fails there is no sound's fault, and would fail thousands one by one
            row, reason = self._first_failure(dict(zip(given, begun.sound.numpy(), strict=True)), error)
            raise ConfigError(self._failed(begun.first + row, begun.value[row], reason)) from error
        return waveform

    def renders_on(self, device: torch.device) -> bool:
        """Whether the synth renders on a device; otherwise it renders on the CPU, and its sounds travel there."""
        return not self.why_not_on(device)

    def why_not_on(self, device: torch.device) -> str:
        """Why the synth does not render on a device, as a sentence without its full stop; empty if it does."""
        kind = "cpu" if numba.config.ENABLE_CUDASIM else "cuda"  # the simulator of CUDA has the CPU as its device
        return why_no_cuda_voice(self.synth) if device.type == kind else f"synths have no voice for {device.type}"

    def block_size(self, device: torch.device) -> int:
        """Samples to make together on a device: `MOST_TOGETHER`, or as many as its memory takes.

        Of sounds that the CPU renders, `SOUND_BYTES`.
        """
        if not self.renders_on(device):
            return max(1, SOUND_BYTES // (4 * self.n_samples))
        n_bytes = math.prod(self.representation.image_shape) + BYTES_OF_A_PARAMETER * len(self.space.varying)
        return min(MOST_TOGETHER, max(1, share_of_memory(device) // n_bytes))

    def _n_rendered(self, device: torch.device) -> int:
        """Sounds that are rendered together on a device."""
        return min(MOST_TOGETHER, max(1, share_of_memory(device) // (4 * self.n_samples)))

    def _n_represented(self, device: torch.device) -> int:
        """Sounds that are represented together on a device."""
        return min(MOST_REPRESENTED, max(1, share_of_memory(device) // self._working_memory))

    @cached_property
    def _working_memory(self) -> int:
        """Bytes that perturbing and representing a sound needs at the most."""

        def see(waveform: Tensor) -> None:
            for perturbed in self._perturbed([waveform], self.draws(0, BLOCK)):
                self.representation.to_image(perturbed)

        return working_memory(see, torch.zeros(BLOCK, self.n_samples))

    @property
    def n_samples(self) -> int:
        """Length of a sound, samples."""
        return count_samples(self.synth.sample_rate, self.synth.duration)

    def make(self, start: int, stop: int) -> Batch:
        """The samples `start` to `stop - 1`, from nothing but their numbers."""
        return self.samples(self.values(start, stop), start)

    def make_on(self, start: int, stop: int, device: torch.device) -> Made:
        """The samples `start` to `stop - 1`, the same as `make` gives but for rounding, on a device.

        Their values are the same exactly. What another device rounds otherwise moves a pixel by one level now and then.
        """
        return self.finish(self.begin(self.values(start, stop), start, self.renders_on(device)), device)

    def make_fresh(self, start: int, stop: int) -> Batch:
        """Sounds `start` to `stop - 1` of an endless list of sounds of the dataset's kind, none of which is in it.

        They are drawn as the dataset's own are, from where its last one ends: the dataset has the numbers below `size`
        of one table of random numbers, the list those above. With `sobol` its own are points of that sequence instead,
        and the list is drawn uniformly. With `grid` the list goes through the points that the dataset left, over and
        over.
        """
        return self.samples(self._fresh_values(start, stop), self.size + start)

    def begin_fresh(self, start: int, stop: int, there: bool = False) -> Begun:
        """What `make_fresh` does first, as `begin`; `finish` does the rest."""
        return self.begin(self._fresh_values(start, stop), self.size + start, there)

    def _fresh_values(self, start: int, stop: int) -> np.ndarray:
        """Parameter values of fresh sounds, as stored: float32, `(sample, parameter)`."""
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


def share_of_memory(device: torch.device) -> int:
    """Bytes that one of the three things that need them takes of a device's memory: see `SHARE_OF_MEMORY`."""
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else MEMORY
    return round(SHARE_OF_MEMORY * total)


def recipe_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration decides the bytes of a dataset, plain and resolved: no paths, threads or batch sizes."""
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"The generator's configuration is {config!r}; it must have the sections {', '.join(SECTIONS)}."
        )
    sections: Any = {key: config.get(key) for key in SECTIONS}
    if config.get(PERTURB):  # without effects it is not there, as in datasets that were made before there was one
        sections[PERTURB] = config.get(PERTURB)
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
        if key in ORDERED and stored.keys() == wanted.keys() and list(stored) != list(wanted):
            return [f"{key}: in the order {', '.join(stored)} there, {', '.join(wanted)} asked for"]
        keys = [*stored, *(name for name in wanted if name not in stored)]
        missing = "(absent)"
        return [
            line
            for name in keys
            for line in differences(stored.get(name, missing), wanted.get(name, missing), f"{key}.{name}".lstrip("."))
        ]
    return [] if stored == wanted else [f"{key}: {stored} there, {wanted} asked for"]


def _perturbation(config: Mapping[str, Any], synth: Synth, instantiate: Callable[..., Any]) -> Perturbation | None:
    """What the section `perturb` of a plain configuration means for sounds of a synth; None if it is not there."""
    sections = config.get(PERTURB)
    if not sections:
        return None
    effects = {
        name: instantiate(section, slot="effect") if isinstance(section, Mapping) and "_target_" in section else section
        for name, section in sections.items()
    }
    perturbation = Perturbation(effects, synth.sample_rate, count_samples(synth.sample_rate, synth.duration))
    for name, parameter in perturbation.voice_parameters.items():
        if parameter not in synth.defaults:
            raise ConfigError(
                f"perturb.{name} varies {parameter}, which {type(synth).__name__} does not know; it knows "
                f"{', '.join(synth.defaults)}. Leave it out: '~perturb.{name}'."
            )
        if parameter in config["parameters"]:
            raise ConfigError(
                f"perturb.{name} varies {parameter}, which stands in parameters as well; leave one of them out."
            )
    return perturbation


def _reason(error: Exception) -> str:
    """An error as part of a sentence: ours as it is, a foreign one with its class."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if isinstance(error, NSMError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _synth_by_names(info: DatasetInfo) -> tuple[Synth, ParameterSpace]:
    """Synth and parameters of a dataset that does not say how it was made.

    Its `synth_type` decides, or without one the simplest synth that knows its parameters is taken.
    """
    constant = {name: entry.min for name, entry in info.parameter_mappings.items() if not entry.varies}
    constant |= {fixed.name: fixed.value for fixed in info.space.fixed}
    settings: dict[str, Any] = {"sample_rate": info.sample_rate, "duration": info.duration}
    settings |= {key: constant.pop(key) for key in SYNTH_SETTINGS if key in constant}
    missing = [key for key, item in settings.items() if item is None]
    if missing:
        raise VIMHError(f"{info.title}: its description lacks {', '.join(missing)}, so its sounds cannot be rendered.")
    kinds = [kind for part, kind in SYNTHS.items() if not info.synth_type or part in info.synth_type.lower()]
    if not kinds:
        raise VIMHError(
            f"{info.title}: was not made by this generator, and its synth_type is {info.synth_type!r}. Only sounds of "
            f"{', '.join(SYNTHS)} can be rendered without a generator.config."
        )
    names = {*info.parameter_names, *constant}
    kind = next((kind for kind in kinds if names <= set(kind.defaults)), None)
    if kind is None:
        known = kinds[-1].defaults
        raise VIMHError(
            f"{info.title}: was not made by this generator, and {kinds[-1].__name__} does not know its parameter "
            f"{', '.join(sorted(names - set(known)))}; it knows {', '.join(known)}."
        )
    if kind is SawVoice:
        settings.pop("note_duration", None)
    synth = kind(**settings | {"sample_rate": round(settings["sample_rate"])})
    return synth, ParameterSpace(info.parameters, tuple(FixedParam(*item) for item in constant.items()))


def _plain_stft(synth: Synth, height: int, width: int) -> SpectralRepresentation:
    """An STFT of a size, from its first bin to half the sample rate."""
    return SpectralRepresentation(
        sample_rate=synth.sample_rate,
        duration=synth.duration,
        height=height,
        width=width,
        win_length=min(2 * height, count_samples(synth.sample_rate, synth.duration)),
        n_fft=2 * height,
    )
