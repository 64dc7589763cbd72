"""A trained network and what it was trained on: how sounds go into it, and what its distances and error bars mean."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from src.checkpoints.run import Run
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_dataset import BatchFormat
from src.errors import NSMError, VIMHError
from src.evaluation.domain import PERCENTILE, Domain
from src.evaluation.estimates import network_values
from src.evaluation.refinement import decibels_apart
from src.evaluation.widening import Widening, deviation_of, perturbed
from src.params import ParameterSpace, ParamSpec
from src.recipe import PERTURB, Recipe
from src.recordings import find_onset
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
            where it is not known how.
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
        recipe: Renders its parameters, and makes the images that it reads.
        peak: Median of the peaks of its sounds.
        lead: Where its sounds begin to be audible, median, s.
        level_only: Whether a parameter acts on level alone, one each.
    """

    recipe: Recipe
    peak: float
    lead: float
    level_only: tuple[bool, ...]

    @cached_property
    def calibration_of_any_gain(self) -> Calibration | None:
        """Of sounds whose peak is made that of the training's, their own level being unknown."""
        return calibrate(self, self.peak, self.level_only)

    @property
    def parameters(self) -> tuple[ParamSpec, ...]:
        """What the network reads."""
        return self.recipe.space.varying


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
        VIMHError: If its dataset does not say how its images were made.
    """
    if run.info.generator is None:
        raise VIMHError(
            f"{run.info.title} of this checkpoint does not say how its images were made (it "
            "has no entry generator), so a recording cannot be made an image of that kind. Its own images can be "
            "predicted: dataset=DIR, in Python net.predict(Dataset(DIR))."
        )
    network_input = input_of(run, trusted_modules)
    recipe = network_input.recipe
    assert recipe is not None  # of a dataset with a generator
    space = run.info.space
    n_parameters = len(space.varying)
    probes = space.value_from_uniform(np.random.default_rng(seed).random((N_PROBES, n_parameters)))
    sounds, sample_rate = recipe.render(probes), recipe.synth.sample_rate
    return TrainedOn(
        run,
        network_input.to_tensors,
        network_input.domain,
        recipe,
        peak=float(np.median(np.abs(sounds).max(axis=1))),
        lead=float(np.median([find_onset(sound, sample_rate) for sound in sounds])) / sample_rate,
        level_only=tuple(acts_on_level_alone(recipe, probes, p) for p in range(n_parameters)),
    )


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
        waveform: At the gain that the network gets, float32, `(sound, time)`.
        gain: That gain, `(sound,)`.
        image: uint8, `(sound, channel, freq, time)`.
        spec_range: dB, `(sound, 2)`.
        value: `(sound, parameter)`.
        std: Of sounds of the training's kind, with what an unknown gain adds, `(sound, parameter)`.
        by_gain: As `RecordingReading` has it, `(sound, parameter)`.
        apart: As `Reading` has it, `(sound,)`, or None.
        distance: In units of no meaning, `(sound,)`, or None.
    """

    waveform: np.ndarray
    gain: np.ndarray
    image: np.ndarray
    spec_range: np.ndarray
    value: np.ndarray
    std: np.ndarray
    by_gain: np.ndarray
    apart: np.ndarray | None
    distance: np.ndarray | None


def hear(
    sounds: np.ndarray, network_input: NetworkInput, recipe: Recipe, peak: float | None, level_only: Sequence[bool]
) -> Heard:
    """What the network makes of sounds.

    Args:
        sounds: float32, `(sound, time)`.
        network_input: The network.
        recipe: Makes the images that it reads.
        peak: As for `read_parameters`.
        level_only: As `TrainedOn` has it.
    """
    gain = np.ones(len(sounds)) if peak is None else peak / np.abs(sounds).max(axis=1).clip(min=TINY).astype(np.float64)
    waveform = (gain[:, None] * sounds).astype(np.float32)
    levels = [waveform * np.float32(10 ** (db / 20)) for db in (0, GAIN, -GAIN)]
    images, ranges = recipe.represent(np.concatenate(levels))
    aux = network_input.to_tensors.aux_of(torch.from_numpy(images), torch.from_numpy(ranges))
    values, stds = network_values(network_input.run.module, torch.from_numpy(images), aux)
    (value, louder, softer), std = np.split(values, 3), stds[: len(sounds)]
    space = network_input.run.info.space
    by_gain = np.maximum(np.abs(louder - value), np.abs(softer - value)) / space.step
    by_gain = np.where(space.categorical, by_gain > 0, by_gain)
    if peak is not None:
        uniform_std = space.range / math.sqrt(12)  # where anything is possible
        std = np.hypot(std, np.where(level_only, uniform_std, by_gain * space.step))
    seen = images[: len(sounds)], ranges[: len(sounds)], value
    apart, distance = places(*seen, network_input, level_counts=peak is None)
    return Heard(waveform, gain, *seen, std, by_gain, apart, distance)


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
    heard = hear(sounds, network_input, recipe, peak, level_only)
    assert heard.distance is not None  # there is a domain
    unit = max(float(np.quantile(heard.distance[:n_clean], PERCENTILE)), TINY)
    deviation = deviation_of(heard.value, heard.std, value, space)
    return Calibration(unit, Widening.fit(heard.distance[n_clean:] / unit, deviation[n_clean:]))
