"""The instrument: what a sound is, its picture, what networks read from it, and where a parameter cannot be heard.

Numbers only. A sound comes from values (the knobs), from a stored sample, or from a recording. Its picture is the one
that a network is given; its answers are those of `predict`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from src.errors import ConfigError
from src.evaluation.audit import decibels_a_step
from src.evaluation.estimates import class_shares
from src.evaluation.refinement import RefinementStep, refinement_steps
from src.evaluation.ridges import Ridge, covariance_of, ridges_of
from src.instrument.switches import Switch, fitting, perturbation_of, perturbed
from src.params import ParameterSpace
from src.playback import Playback
from src.readings.network import TrainedOn
from src.readings.reading import Reading, read_audio, read_samples
from src.recipe import Recipe, images_of
from src.recordings import MAX_SECONDS, AudioArray, AudioSource, resample
from src.spectral.representation import Representation
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch, VIMHSplit

MOST_KEPT = 4  # sounds
SoundSource = Literal["synth", "test", "file"]
Switched = Mapping[str, Mapping[str, float]]  # name of each switch that is on to its settings


@dataclass(frozen=True)
class PlayedNetwork:
    """A network that listens.

    Attributes:
        title: What it is called, such as `cnn_64k, example`.
        run: Name of its run.
        trained: The network, and what it was trained on.
    """

    title: str
    run: str
    trained: TrainedOn

    @property
    def n_weights(self) -> int:
        """Number of its weights."""
        named = self.trained.run.module.named_parameters()
        return sum(weight.numel() for name, weight in named if name.startswith("net."))


@dataclass(frozen=True)
class SoundPicture:
    """What a representation makes of a sound.

    Attributes:
        image: uint8, `(channel, freq, time)`.
        spec_range: dB of the pixels 0 and 255, float32, `(2,)`; `(0,)` where there are none.
    """

    image: np.ndarray
    spec_range: np.ndarray


@dataclass(frozen=True)
class PlayedSound:
    """A sound, its picture, and what every network reads from it.

    Attributes:
        source: Where it is from.
        name: For people.
        waveform: float32, `(time,)`.
        picture: As the first network is given it.
        value: The values that made it, `(parameter,)`; None where they are not known.
        readings: Of the networks, in their order.
        notes: What was done to it.
    """

    source: SoundSource
    name: str
    waveform: np.ndarray
    picture: SoundPicture
    value: np.ndarray | None
    readings: tuple[Reading, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HearingLimits:
    """How well a sound's picture tells its parameters.

    Attributes:
        std: Grid steps that the rounding of the picture leaves open, `(parameter,)`; NaN where a parameter does not act
            or has no slope.
        ridges: Pairs of parameters that it does not tell apart.
    """

    std: np.ndarray
    ridges: Sequence[Ridge]


@dataclass(frozen=True)
class KeepingRecipe(Recipe):
    """A recipe that keeps the single sounds that it rendered last: that of an answer is asked for twice.

    Attributes:
        kept: Bytes of values to their sound.
    """

    kept: dict[bytes, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, recipe: Recipe, other: "KeepingRecipe | None" = None) -> "KeepingRecipe":
        """The same recipe, keeping; together with another one that makes the same sounds."""
        keeping = cls(recipe.config, recipe.synth, recipe.representation, recipe.space, recipe.perturbation)
        if other is None or (recipe.config.get("synth"), recipe.space) != (other.config.get("synth"), other.space):
            return keeping
        return replace(keeping, kept=other.kept)

    def render(self, value: np.ndarray) -> np.ndarray:
        """As `Recipe` has it."""
        if len(value) > 1:
            return super().render(value)
        key = value.astype(np.float64).tobytes()
        if key not in self.kept:
            while len(self.kept) >= MOST_KEPT:
                del self.kept[next(iter(self.kept))]
            self.kept[key] = super().render(value)
        return self.kept[key]


class Instrument:
    """Sounds on request.

    Args:
        info: Of the dataset whose sounds are played.
        recipe: Renders them; None where no synth made them.
        networks: That listen; they read the same parameters from sounds of the same rate and duration.
        samples: Stored sounds that can be called up; None: there are none.
        playback: Makes them audible.

    Raises:
        ConfigError: If the networks do not go together, or there is neither a synth nor a network.
    """

    def __init__(
        self,
        info: DatasetInfo,
        recipe: Recipe | None,
        networks: Sequence[PlayedNetwork] = (),
        samples: VIMHSplit | None = None,
        playback: Playback | None = None,
    ) -> None:
        if recipe is None and not networks:
            raise ConfigError(f"{info.title}: no synth made its sounds, so that without a network nothing is played.")
        self.info = info
        self.recipe = None if recipe is None else KeepingRecipe.of(recipe)
        self.networks = tuple(_keeping(network, self.recipe) for network in networks)
        self.samples = samples if playback is not None and not playback.silence else None
        self.playback = playback
        self.sample_rate, self.duration = self._sound_of(self.networks)

    def _sound_of(self, networks: Sequence[PlayedNetwork]) -> tuple[int, float]:
        """Sample rate, Hz, and duration, s, that all agree on."""
        found = [] if self.recipe is None else [(self.recipe.synth.sample_rate, self.recipe.synth.duration)]
        found += [(network.trained.sample_rate, network.trained.duration) for network in networks]
        if len(set(found)) > 1:
            kinds = ", ".join(f"{duration:g} s at {rate:,} Hz" for rate, duration in found)
            raise ConfigError(f"The networks hear sounds of different kinds ({kinds}), and cannot hear the same one.")
        return found[0]

    @property
    def space(self) -> ParameterSpace:
        """The parameters."""
        return self.info.space

    @property
    def n_samples(self) -> int:
        """Length of a sound."""
        return round(self.sample_rate * self.duration)

    @property
    def representation(self) -> Representation:
        """Makes the picture."""
        return self.networks[0].trained.representation if self.networks else self._own_recipe.representation

    @property
    def top_db(self) -> float:
        """Dynamic range of a picture, dB."""
        return float(getattr(self.representation, "top_db", 80.0))

    @property
    def _own_recipe(self) -> Recipe:
        if self.recipe is None:
            raise ConfigError(f"No synth renders {self.info.title}: it is a set of recordings.")
        return self.recipe

    @cached_property
    def switches(self) -> tuple[Switch, ...]:
        """The perturbations that can be switched on."""
        return fitting(self.sample_rate, self.n_samples)

    # ----- sounds

    def play(self, value: np.ndarray, settings: Switched) -> PlayedSound:
        """The sound of values.

        Args:
            value: `(parameter,)`; made possible ones.
            settings: The switches that are on.

        Raises:
            ConfigError: If the values are no numbers, or the synth fails at them.
        """
        known = self.known(value)
        (waveform,) = self._own_recipe.sounds(known[None])
        return self._heard("synth", "", self._through(waveform, settings), known)

    def known(self, value: np.ndarray) -> np.ndarray:
        """Values as a dataset stores them: possible ones, float32, `(parameter,)`."""
        if value.shape != (len(self.space.varying),) or not np.isfinite(value).all():
            raise ConfigError(f"value must hold {len(self.space.varying)} finite numbers, one of each parameter.")
        return self.space.clip(value[None])[0].astype(np.float32)

    def recall(self, number: int, settings: Switched) -> PlayedSound:
        """A stored sample: its sound, its values, and its own picture unless a switch is on.

        Args:
            number: Of the sample in its split.
            settings: The switches that are on.

        Raises:
            ConfigError: If there is none of that number.
        """
        n_stored = 0 if self.samples is None else len(self.samples)
        if self.samples is None or self.playback is None or not 0 <= number < n_stored:
            raise ConfigError(f"There is no test sound {number}: there are {n_stored}, and they begin with 0.")
        batch = self.samples.read(np.arange(number, number + 1))
        (waveform,) = self.playback.sounds(batch, "test", number)
        stored = None if settings else SoundPicture(batch.image[0], batch.spec_range[0])
        changed = self._through(waveform, settings)
        return self._heard("test", f"test sound {number}", changed, batch.value[0], stored)

    def listen(self, audio: AudioSource, settings: Switched) -> PlayedSound:
        """A recording, as `predict` reads it.

        Args:
            audio: A file that is open, or samples in memory.
            settings: The switches that are on: they act on the recording.

        Raises:
            ConfigError: If there is no network that could listen.
            RecordingError: If it is damaged, silent, or too short.
        """
        if not self.networks:
            raise ConfigError("No network listens: a recording has nothing to be read by. Train one (make ex).")
        source = self._put_through(audio, settings) if settings else audio
        readings = tuple(read_audio(source, network.trained) for network in self.networks)
        first = readings[0]
        picture = SoundPicture(first.image, first.spec_range)
        return PlayedSound("file", first.name, first.waveform, picture, None, readings, first.notes)

    def _put_through(self, audio: AudioSource, settings: Switched) -> AudioSource:
        """A recording after the switches, at the rate of the networks."""
        waveform = resample(
            audio.blocks(0, round(MAX_SECONDS * audio.sample_rate)), audio.sample_rate, self.sample_rate
        )
        changed = self._through(waveform.astype(np.float32), settings)
        return AudioArray(audio.path, self.sample_rate, 1, audio.lossy, changed)

    def _through(self, waveform: np.ndarray, settings: Switched) -> np.ndarray:
        """A sound, `(time,)`, after the switches that are on."""
        return perturbed(waveform, perturbation_of(settings, self.switches, self.sample_rate, len(waveform)))

    def _heard(
        self,
        source: SoundSource,
        name: str,
        waveform: np.ndarray,
        value: np.ndarray,
        stored: SoundPicture | None = None,
    ) -> PlayedSound:
        """A sound of known values with its picture and the answers of all networks.

        Args:
            source: Where it is from.
            name: For people.
            waveform: `(time,)`.
            value: `(parameter,)`.
            stored: Its picture, where it is stored.
        """
        picture = stored or self.pictured(waveform, self.representation)
        readings = []
        for network in self.networks:
            own = network.trained.representation
            seen = picture if is_alike(own, self.representation) else self.pictured(waveform, own)
            batch = Batch(seen.image[None], self.space.encode(value[None]), seen.spec_range[None], value[None])
            readings += read_samples(batch, [name], network.trained)
        return PlayedSound(source, name, waveform, picture, value, tuple(readings))

    @staticmethod
    def pictured(waveform: np.ndarray, representation: Representation) -> SoundPicture:
        """The picture of a sound, `(time,)`."""
        image, spec_range = images_of(representation, waveform[None])
        return SoundPicture(image[0], spec_range[0])

    # ----- answers

    def resynthesized(self, value: np.ndarray) -> tuple[np.ndarray, SoundPicture] | None:
        """The sound of an answer, `(parameter,)`, and its picture; None where no synth renders it."""
        if self.recipe is None:
            return None
        (waveform,) = self.recipe.render(np.nan_to_num(value[None].astype(np.float64)))
        return waveform, self.pictured(waveform, self.representation)

    def histogram(self, number: int, reading: Reading) -> dict[str, np.ndarray]:
        """The distribution over the grid that a network gives to each parameter, by name, `(class,)`.

        Of a network whose heads give a value and its standard deviation, that is a normal distribution.

        Args:
            number: Of the network.
            reading: Its answer.
        """
        trained = self.networks[number].trained
        image = torch.from_numpy(reading.image[None])
        aux = trained.to_tensors.aux_of(image, torch.from_numpy(reading.spec_range[None]))
        shares = {name: rows[0] for name, rows in class_shares(trained.run.module, image, aux).items()}
        found = {}
        for spec, value, std in zip(self.space.varying, reading.value, reading.std, strict=True):
            index = (float(value) - spec.min) / spec.step
            normal = np.exp(-0.5 * ((np.arange(spec.n_classes) - index) / max(float(std) / spec.step, 0.05)) ** 2)
            own = reading.probabilities.get(spec.name, shares.get(spec.name))
            found[spec.name] = normal / max(normal.sum(), 1e-12) if own is None else own
        return found

    # ----- what a sound tells

    def sensitivity(self, value: np.ndarray) -> np.ndarray:
        """How far the picture of the clean sound moves with a grid step of each parameter, dB, `(parameter,)`."""
        return decibels_a_step(self._own_recipe, value)

    def limits(self, value: np.ndarray) -> HearingLimits | None:
        """How well the picture of the clean sound tells its parameters; None where it shows no spectrogram."""
        recipe = self._own_recipe
        (waveform,) = recipe.render(value[None])
        picture = self.pictured(waveform, recipe.representation)
        found = covariance_of(recipe, picture.image[None], picture.spec_range[None], value[None])
        if found is None:
            return None
        std = np.sqrt(np.diag(found[0]))
        return HearingLimits(np.where(std > 0, std, np.nan), ridges_of(recipe, found[0], value))

    def refinement(self, sound: PlayedSound) -> Iterator[RefinementStep]:
        """The search for the parameters of a sound, from the first network's answer on, or from the middle of all.

        Raises:
            ConfigError: If no synth renders sounds to search among.
        """
        recipe = self._own_recipe
        if sound.readings:
            reading = sound.readings[0]
            return refinement_steps(recipe, reading.image, reading.known_range, np.nan_to_num(reading.value))
        middle = self.space.clip((self.space.low + self.space.high)[None] / 2)[0]
        return refinement_steps(recipe, sound.picture.image, sound.picture.spec_range, middle)

    # ----- before the page opens

    def warm_up(self) -> Iterator[None]:
        """Do everything once, so that the first request is as quick as the others: two steps a network, and one."""
        for network in self.networks:
            _ = network.trained.calibration
            yield
            _ = network.trained.calibration_of_any_gain
            yield
        if self.recipe is not None:
            middle = (self.space.low + self.space.high) / 2
            sound = self.play(middle, {})
            for n, reading in enumerate(sound.readings):
                self.resynthesized(reading.value)
                self.histogram(n, reading)
            self.sensitivity(self.known(middle))
            self.limits(self.known(middle))
        yield


def _keeping(network: PlayedNetwork, recipe: KeepingRecipe | None) -> PlayedNetwork:
    """A network whose answers are rendered once, by the instrument's recipe if it makes the same sounds."""
    own = network.trained.recipe
    if own is None:
        return network
    return replace(network, trained=replace(network.trained, recipe=KeepingRecipe.of(own, recipe)))


def is_alike(one: Representation, other: Representation) -> bool:
    """Whether two representations make the same picture of a sound."""
    return one is other or _described(one) == _described(other)


def _described(representation: Representation) -> tuple[object, ...]:
    """All that decides what a representation makes of a sound."""
    known = representation
    return (known.image_shape, known.channel_labels, known.pre_emphasis, known.describe(), known.describe_mel())
