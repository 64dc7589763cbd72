"""A trained network and what it was trained on: how sounds go into it, and what its distances and error bars mean."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from src.checkpoints.run import Run
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_dataset import BatchFormat
from src.errors import ConfigError, NSMError, VIMHError
from src.evaluation.domain import PERCENTILE, Domain
from src.evaluation.estimates import Answers, network_answers, surest, voted
from src.evaluation.refinement import decibels_apart
from src.evaluation.widening import Widening, deviation_of, perturbed
from src.params import ParameterSpace, ParamSpec
from src.recipe import PERTURB, Recipe, images_of, recorded_as, source_of, view_of
from src.recordings import Framing, find_onset
from src.spectral.representation import Representation, SpectralRepresentation
from src.vimh.info import DatasetInfo

N_PROBES = 64  # random sounds that show the training's peak, and which parameters act on level alone
ALIKE = 1e-3  # relative difference of two waveforms up to which they are the same but for their level
GAIN = 3.0  # dB either way, to see what depends on the level
N_CLEAN, N_PERTURBED = 128, 384  # sounds that distances and error bars are calibrated on
SEED = 20_130_402  # of these
TINY = 1e-9  # what divides at least
MOST_SAMPLES = 2**24  # of all of them together, where that leaves an eighth of them


class Calibration(NamedTuple):
    """What distances mean to a network, and to its error bars.

    Attributes:
        unit: Of distances: what 95 % of sounds of the training's kind keep within.
        widening: Of the error bars.
    """

    unit: float
    widening: Widening


@dataclass(frozen=True)
class NetworkInput:
    """How images go into a network.

    Attributes:
        run: The trained network.
        to_tensors: Makes batches of images.
        domain: Statistics of its training images; None where the checkpoint has none.
        recipe: Renders its parameters, makes the images that it reads, and perturbs as its training's sounds were; None
            where its training's sounds came from no synth, or it is not known how.
    """

    run: Run
    to_tensors: BatchFormat
    domain: Domain | None
    recipe: Recipe | None

    @cached_property
    def calibration(self) -> Calibration | None:
        """Of sounds whose level is known, as samples of a dataset are."""
        return calibrate(self, None)


@dataclass(frozen=True)
class TrainedOn(NetworkInput):
    """What a network was trained on, as far as recordings are concerned.

    Attributes:
        representation: Makes the images that it reads.
        sample_rate: Of its sounds, Hz.
        duration: Of its sounds, s.
        framing: How its sounds were cut out of recordings; None where a synth made them.
        peak: Median of the peaks of its sounds; None where they were recordings, whose levels stayed as they were.
        lead: Where its sounds begin to be audible, median, s.
        level_only: Whether a parameter acts on level alone, one each.
    """

    representation: Representation
    sample_rate: int
    duration: float
    framing: Framing | None
    peak: float | None
    lead: float
    level_only: tuple[bool, ...]

    @cached_property
    def calibration_of_any_gain(self) -> Calibration | None:
        """Of sounds whose peak is made that of the training's, their own level being unknown."""
        return calibrate(self, self.peak, self.level_only)

    @property
    def parameters(self) -> tuple[ParamSpec, ...]:
        """What the network reads."""
        return self.run.info.parameters

    @cached_property
    def view(self) -> SpectralRepresentation:
        """Turns sounds of its duration into the spectrograms that are shown of them."""
        return view_of(self.representation, self.sample_rate, self.duration)


def input_of(run: Run, trusted_modules: Sequence[str] = ()) -> NetworkInput:
    """How images go into a network.

    Args:
        run: From `load_run`.
        trusted_modules: Packages whose classes its configuration may name, beside those that are always allowed.
    """
    data = run.config["data"]
    make = partial(instantiate_trusted, trusted_modules=trusted_modules)
    measure = make(data["measure"], slot="measure") if data.get("measure") else None
    domain = None if run.domain is None else Domain.from_dict(run.domain, run.info.image_shape)
    recipe = None if run.info.generator is None else recipe_of(run.info, make)
    return NetworkInput(run, BatchFormat(run.info.parameters, data["aux"], measure), domain, recipe)


def recipe_of(info: DatasetInfo, instantiate: Callable[..., Any]) -> Recipe:
    """What made the sounds of a training, perturbed as they were; clean where what perturbed them cannot be made.

    Args:
        info: The dataset's JSON.
        instantiate: Makes an object from a section of the generator configuration, which came out of a file.

    Raises:
        VIMHError: If the JSON does not say enough.
    """
    clean = Recipe.from_info(info, instantiate)
    if not clean.config.get(PERTURB):
        return clean
    try:
        return Recipe.from_config(clean.config, instantiate)
    except NSMError:
        return clean


def trained_on(run: Run, seed: int = 0, trusted_modules: Sequence[str] = ()) -> TrainedOn:
    """What a network was trained on.

    Args:
        run: From `load_run`.
        seed: Of the sounds that the median peak is taken of.
        trusted_modules: Packages whose classes its configuration may name, beside those that are always allowed.

    Raises:
        VIMHError: If its dataset says neither how its images were rendered nor how recordings became them.
    """
    network_input = input_of(run, trusted_modules)
    if network_input.recipe is not None:
        return trained_on_synth(network_input, network_input.recipe, seed)
    source = source_of(run.info)
    if source is not None:
        return trained_on_recordings(network_input, source, trusted_modules)
    raise VIMHError(
        f"{run.info.title} of this checkpoint does not say how its images were made (it "
        "has no entry generator, and no recordings as its source), so a recording cannot be made an image of that "
        "kind. Its own images can be predicted: dataset=DIR, in Python net.predict(Dataset(DIR))."
    )


def trained_on_synth(network_input: NetworkInput, recipe: Recipe, seed: int) -> TrainedOn:
    """The same of sounds of a synth; their peaks, onsets, and what their levels tell are found by rendering."""
    space, synth = recipe.space, recipe.synth
    probes = space.value_from_uniform(np.random.default_rng(seed).random((N_PROBES, len(space.varying))))
    sounds = recipe.render(probes)
    return TrainedOn(
        **vars(network_input),
        representation=recipe.representation,
        sample_rate=synth.sample_rate,
        duration=synth.duration,
        framing=None,
        peak=float(np.median(np.abs(sounds).max(axis=1))),
        lead=float(np.median([find_onset(sound, synth.sample_rate) for sound in sounds])) / synth.sample_rate,
        level_only=tuple(acts_on_level_alone(recipe, probes, p) for p in range(len(space.varying))),
    )


def trained_on_recordings(
    network_input: NetworkInput, source: Mapping[str, Any], trusted_modules: Sequence[str]
) -> TrainedOn:
    """The same of recordings, as `source` of the dataset's JSON says; a `_target_` there is one of the allowed ones.

    Raises:
        VIMHError: If it does not say enough.
    """
    info = network_input.run.info
    make = partial(instantiate_trusted, trusted_modules=trusted_modules)
    representation, framing = recorded_as(info, source, make)
    return TrainedOn(
        **vars(network_input),
        representation=representation,
        sample_rate=framing.sample_rate,
        duration=framing.duration,
        framing=framing,
        peak=None,
        lead=0.0,
        level_only=(False,) * len(info.parameters),
    )


def with_hop(trained: TrainedOn, hop: float) -> TrainedOn:
    """The same network, for which recordings are cut into frames every so many seconds.

    Raises:
        ConfigError: If it reads no frames of recordings, or there are no such frames.
    """
    if trained.framing is None:
        raise ConfigError(
            f"hop={hop:g} is of networks that were trained on recordings; this one reads one sound of "
            f"{trained.duration:g} s, from its onset on. Leave it out."
        )
    return replace(trained, framing=replace(trained.framing, hop=hop))


def acts_on_level_alone(recipe: Recipe, probes: np.ndarray, p: int) -> bool:
    """Whether sounds stay the same but for their level while a parameter goes from its lowest to its highest value.

    A category goes through all of its classes. Sounds on which the parameter does not act do not count.

    Args:
        recipe: Renders.
        probes: Values of the sounds, `(sound, parameter)`.
        p: Number of the parameter.
    """
    spec = recipe.space.varying[p]
    probes = probes[recipe.space.active(probes)[:, p]]
    if not len(probes):
        return False
    sounds = []
    for value in spec.value_from_index(np.arange(spec.n_classes)) if spec.categorical else (spec.min, spec.max):
        at = probes.copy()
        at[:, p] = value
        waveform = recipe.render(at).astype(np.float64)
        norm = np.linalg.norm(waveform, axis=1, keepdims=True)
        sounds.append(waveform / np.maximum(norm, 1e-12))
    return all((np.linalg.norm(sounds[0] - sound, axis=1) < ALIKE).all() for sound in sounds[1:])


# ----- hearing


class Heard(NamedTuple):
    """What a network makes of sounds, before it is judged.

    Attributes:
        image: uint8, `(sound, channel, freq, time)`.
        spec_range: dB, `(sound, 2)`.
        answers: Of the sounds. Standard deviations are those of sounds of the training's kind, with what an unknown
            gain adds.
        others: Of the same sounds 3 dB louder and softer; none where the level was not changed.
        by_gain: As `RecordingReading` has it, `(sound, parameter)`.
        apart: As `Reading` has it, `(sound,)`, or None.
        distance: In units of no meaning, `(sound,)`, or None.
    """

    image: np.ndarray
    spec_range: np.ndarray
    answers: Answers
    others: tuple[Answers, ...]
    by_gain: np.ndarray
    apart: np.ndarray | None
    distance: np.ndarray | None


def at_peak(sounds: np.ndarray, peak: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Sounds, float32, `(sound, time)`, with a peak, and the gains that they got, `(sound,)`; None: as they are."""
    gain = np.ones(len(sounds)) if peak is None else peak / np.abs(sounds).max(axis=1).clip(min=TINY).astype(np.float64)
    return (gain[:, None] * sounds).astype(np.float32), gain


def hear(
    waveform: np.ndarray,
    network_input: NetworkInput,
    representation: Representation,
    level_only: Sequence[bool] | None = None,
) -> Heard:
    """What the network makes of sounds.

    Args:
        waveform: At the gain that the network gets, float32, `(sound, time)`.
        network_input: The network.
        representation: Makes the images that it reads.
        level_only: As `TrainedOn` has it, of sounds whose gain is unknown; None: it is known.
    """
    space = network_input.run.info.space
    image, spec_range, answers = look(waveform, network_input, representation)
    others = (
        *(look(waveform * np.float32(10 ** (db / 20)), network_input, representation)[2] for db in (GAIN, -GAIN)),
    )
    by_gain = moved_by(answers, others, space)
    if level_only is not None:
        uniform_std = space.range / math.sqrt(12)  # where anything is possible
        answers = answers._replace(std=np.hypot(answers.std, np.where(level_only, uniform_std, by_gain * space.step)))
    apart, distance = places(image, spec_range, answers.value, network_input, level_counts=level_only is None)
    return Heard(image, spec_range, answers, others, by_gain, apart, distance)


def heard_together(heard: Heard, space: ParameterSpace) -> Heard:
    """What the frames of a recording say together, as one sound: see `RecordingReading.frames`."""
    answers, *others = (voted(found, space) for found in (heard.answers, *heard.others))
    seen = [surest(heard.answers)]
    apart, distance = (
        None if found is None else np.median(found, keepdims=True) for found in (heard.apart, heard.distance)
    )
    by_gain = moved_by(answers, others, space)
    return Heard(heard.image[seen], heard.spec_range[seen], answers, (*others,), by_gain, apart, distance)


def look(
    waveform: np.ndarray, network_input: NetworkInput, representation: Representation
) -> tuple[np.ndarray, np.ndarray, Answers]:
    """The images of sounds, their `spec_range`, and what the network says of them."""
    image, spec_range = images_of(representation, waveform)
    seen = torch.from_numpy(image)
    aux = network_input.to_tensors.aux_of(seen, torch.from_numpy(spec_range))
    return image, spec_range, network_answers(network_input.run.module, seen, aux)


def moved_by(answers: Answers, others: Sequence[Answers], space: ParameterSpace) -> np.ndarray:
    """By how many grid steps values move at most, of a category 1 if its class changes, `(sound, parameter)`."""
    moved = np.max([np.abs(other.value - answers.value) for other in others], axis=0) / space.step
    return np.where(space.categorical, moved > 0, moved)


def places(
    image: np.ndarray, spec_range: np.ndarray, value: np.ndarray, network_input: NetworkInput, level_counts: bool
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """How far the resyntheses of sounds are from them, dB, and how far they are from the training, `(sound,)` each.

    The distance is the geometric mean of two: that of the picture from the training's pictures, which needs no answer,
    and that of the answer's picture from it, which grows with all that the synth cannot make. Without a recipe it is
    the first alone.

    Args:
        image: uint8, `(sound, channel, freq, time)`.
        spec_range: dB, `(sound, 2)`.
        value: What was read, `(sound, parameter)`.
        network_input: The network.
        level_counts: Whether the level means something.
    """
    recipe, domain = network_input.recipe, network_input.domain
    known = np.nan_to_num(value.astype(np.float64))
    apart = None if recipe is None else decibels_apart(recipe, image, spec_range, known, level_counts)
    if domain is None:
        return apart, None
    levels = torch.from_numpy(spec_range.copy()) if level_counts else None
    distance = domain.distance(torch.from_numpy(image), levels)
    return apart, distance if apart is None else np.sqrt(distance * apart)


def judged(
    distance: np.ndarray | None, std: np.ndarray, calibration: Calibration | None, space: ParameterSpace
) -> tuple[np.ndarray | None, np.ndarray]:
    """Distances in their unit, `(sound,)`, and standard deviations that hold at them, `(sound, parameter)`."""
    if calibration is None or distance is None:
        return distance, std
    distance = distance / calibration.unit
    return distance, calibration.widening.widened(std, distance, space)


def calibrate(network_input: NetworkInput, peak: float | None, level_only: Sequence[bool] = ()) -> Calibration | None:
    """Measure a network's distances on fresh sounds of the training's kind, and its errors on others, perturbed (more).

    Args:
        network_input: The network.
        peak: As for `read_parameters`.
        level_only: As `TrainedOn` has it; needed with a peak.

    Returns:
        None where it is not known how to render sounds, or what the training was like.
    """
    recipe, space = network_input.recipe, network_input.run.info.space
    if recipe is None or network_input.domain is None:
        return None
    sample_rate = recipe.synth.sample_rate
    share = min(1.0, max(1 / 8, MOST_SAMPLES / (sample_rate * recipe.synth.duration) / (N_CLEAN + N_PERTURBED)))
    n_clean, n_sounds = round(share * N_CLEAN), round(share * (N_CLEAN + N_PERTURBED))
    value = space.value_from_uniform(np.random.default_rng(SEED).random((n_sounds, len(space.varying))))
    sounds = recipe.recorded(value.astype(np.float32), 0)
    sounds[n_clean:] = perturbed(sounds[n_clean:], sample_rate)
    waveform, _ = at_peak(sounds, peak)
    heard = hear(waveform, network_input, recipe.representation, None if peak is None else level_only)
    assert heard.distance is not None  # there is a domain
    unit = max(float(np.quantile(heard.distance[:n_clean], PERCENTILE)), TINY)
    deviation = deviation_of(heard.answers.value, heard.answers.std, value, space)
    return Calibration(unit, Widening.fit(heard.distance[n_clean:] / unit, deviation[n_clean:]))
