"""What a network reads from a sound, and how far to trust it: from samples of audio to values that people read.

`predict.py` and the Python interface (`src.api`) both read this way.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from src.checkpoints.run import Run
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_dataset import BatchFormat
from src.errors import CheckpointError, NSMError, VIMHError
from src.evaluation.domain import PERCENTILE, Domain, Zone, zone_of
from src.evaluation.estimates import network_values
from src.evaluation.refinement import decibels_apart, refine
from src.evaluation.ridges import Ridge, covariance_of, ridges_of
from src.evaluation.scoring import edges_of, plain_values
from src.evaluation.widening import Widening, deviation_of, perturbed
from src.models.metrics import WIDTH
from src.params import ParameterSpace, ParamSpec
from src.recipe import PERTURB, Recipe
from src.recordings import AudioSource, Recording, RecordingError, cut_to_sound, find_onset
from src.text import name_of
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch

BEYOND = "at or beyond "  # stands before a value at an end of its range
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


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a network reads from the image of a sound.

    Attributes:
        name: Of the sound.
        image: uint8, `(channel, freq, time)`.
        spec_range: dB, `(2,)`; empty where the dataset has none.
        value: `(parameter,)`.
        std: Standard deviations, `(parameter,)`.
        distance: From the training's sounds; 95 % of these are within 1. None: not known.
        apart: Root mean square difference of the spectrograms of sound and resynthesis, dB; None: not known.
        refinement: What refinement did; None: there was none.
        ridges: Pairs of parameters that the sound does not tell apart.
        together: What intervals are wider by, so that those of all parameters hold together; None: each for itself.
    """

    name: str
    image: np.ndarray
    spec_range: np.ndarray
    value: np.ndarray
    std: np.ndarray
    distance: float | None
    apart: float | None
    refinement: dict[str, float] | None = None
    ridges: tuple[Ridge, ...] = ()
    together: float | None = None

    @property
    def reach_std(self) -> np.ndarray:
        """Standard deviations that intervals are made of, `(parameter,)`."""
        return self.std if self.together is None else self.std * self.together

    @property
    def any_gain(self) -> bool:
        """Whether the level means nothing."""
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the sound."""
        return ()

    @property
    def zone(self) -> Zone | None:
        """The distance in a word; None: not known."""
        return None if self.distance is None else zone_of(self.distance)

    @property
    def about_domain(self) -> str:
        """How far the sound is from what the network was trained on, in words."""
        if self.distance is None:
            return "the checkpoint keeps no statistics of its training images, so the distance from them is unknown"
        words = {
            "inside": "inside the training",
            "near": "near the training, error bars are wider",
            "far": "FAR from the training, answers mean little",
        }
        apart = "" if self.apart is None else f"; {self.about_sound}"
        return f"{words[zone_of(self.distance)]}: distance {distance_text(self.distance)}{apart}"

    @property
    def about_sound(self) -> str:
        """How far the resynthesis is, in words."""
        what = "the answer's sound" if self.refinement is None else "the nearest sound this synth can make"
        return f"{what} is {self.apart:.1f} dB away"


@dataclass(frozen=True, kw_only=True)
class RecordingReading(Reading):
    """What a network reads from a recording.

    Attributes:
        recording: Where it is from.
        waveform: The recording at the gain that the network gets, `(time,)`.
        gain_db: That gain.
        normalized: Whether that gain was chosen, a recording's own being arbitrary.
        by_gain: Grid steps by which a value moves when the level changes by 3 dB, `(parameter,)`; of a category 1 if
            its class changes, else 0.
    """

    recording: Recording
    waveform: np.ndarray
    gain_db: float
    normalized: bool
    by_gain: np.ndarray

    @property
    def any_gain(self) -> bool:
        """Whether the level means nothing."""
        return self.normalized

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the recording."""
        return (*self.recording.notes, f"gain {self.gain_db:+.1f} dB")


@dataclass(frozen=True, kw_only=True)
class SampleReading(Reading):
    """What a network reads from a sample of a dataset.

    Attributes:
        true_value: `(parameter,)`.
    """

    true_value: np.ndarray


AnyReading = TypeVar("AnyReading", bound=Reading)


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


# ----- reading


def read_audio(
    audio: AudioSource, trained: TrainedOn, normalize: bool = True, peak: float | None = None
) -> RecordingReading:
    """What the network reads from a recording.

    Args:
        audio: A file that is open, or samples in memory.
        trained: What the network was trained on.
        normalize: Whether the recording's gain is arbitrary: its peak becomes `peak`.
        peak: 1 is full scale; None: the median peak of the training's sounds.

    Raises:
        RecordingError: If it is damaged, silent, or too short.
    """
    synth = trained.recipe.synth
    recording = cut_to_sound(audio, synth.sample_rate, synth.duration, trained.lead)
    return read_parameters(recording, trained, (peak or trained.peak) if normalize else None)


def read_parameters(recording: Recording, trained: TrainedOn, peak: float | None) -> RecordingReading:
    """The same of a recording that has been cut.

    Args:
        recording: Of the duration and rate of the dataset.
        trained: What the network was trained on.
        peak: That the recording gets, its gain being arbitrary: what 3 dB either way would change joins the error bars,
            and what acts on level alone is undetermined. None: it stays as it is.
    """
    heard = hear(recording.waveform[None], trained, trained.recipe, peak, trained.level_only)
    if not all(np.isfinite(found).all() for found in (heard.spec_range, heard.value, heard.std, heard.by_gain)):
        raise RecordingError(f"{name_of(recording.path)}: the answers of the network are not finite.")
    calibration = trained.calibration if peak is None else trained.calibration_of_any_gain
    distance, std = judged(heard.distance, heard.std, calibration, trained.run.info.space)
    return RecordingReading(
        name=name_of(recording.path),
        recording=recording,
        waveform=heard.waveform[0],
        gain_db=20 * float(np.log10(heard.gain[0])),
        normalized=peak is not None,
        image=heard.image[0],
        spec_range=heard.spec_range[0],
        value=heard.value[0],
        std=std[0],
        by_gain=heard.by_gain[0],
        distance=None if distance is None else float(distance[0]),
        apart=None if heard.apart is None else float(heard.apart[0]),
    )


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


def read_samples(batch: Batch, names: Sequence[str], network_input: NetworkInput) -> list[SampleReading]:
    """What the network reads from samples of a dataset.

    Args:
        batch: The samples, of a dataset with the network's parameters and image shape.
        names: Of the samples.
        network_input: How they go into the network.

    Raises:
        VIMHError: If the network takes their levels, and the dataset has none.
    """
    to_tensors = network_input.to_tensors
    if to_tensors.aux and not batch.spec_range.size:
        raise VIMHError(f"{names[0]}: its dataset holds no spec_min and spec_max, which the network takes as input.")
    tensors = to_tensors(batch)
    value, std = network_values(network_input.run.module, tensors["image"], tensors["aux"])
    apart, distance = places(batch.image, batch.spec_range, value, network_input, level_counts=True)
    distance, std = judged(distance, std, network_input.calibration, network_input.run.info.space)
    return [
        SampleReading(
            name=name,
            image=batch.image[n],
            spec_range=batch.spec_range[n],
            value=value[n],
            std=std[n],
            distance=None if distance is None else float(distance[n]),
            apart=None if apart is None else float(apart[n]),
            true_value=batch.value[n],
        )
        for n, name in enumerate(names)
    ]


def refine_reading(reading: AnyReading, recipe: Recipe) -> AnyReading:
    """A reading after analysis by synthesis; what the sound shows too little of keeps the network's error bar.

    Args:
        reading: From the network.
        recipe: Renders the parameters.
    """
    spec_range = None if reading.any_gain or not reading.spec_range.size else reading.spec_range[None]
    found = refine(recipe, reading.image[None], spec_range, reading.value[None])
    # What is not explained is taken for noise, as scipy's curve_fit does without absolute_sigma.
    std = found.std[0] * recipe.space.step * max(1.0, float(found.residual[0]))
    if reading.zone == "far":  # the synth cannot make it, so that no fit tells its parameters
        std = reading.std
    apart = decibels_apart(recipe, reading.image[None], reading.spec_range[None], found.value, spec_range is not None)
    about = {
        "residual_before": float(found.residual_before[0]),
        "residual": float(found.residual[0]),
        "renders": int(found.n_renders[0]),
        "milliseconds": found.milliseconds,
    }
    return replace(
        reading,
        value=found.value[0],
        std=np.minimum(std, reading.std),
        apart=None if apart is None else float(apart[0]),
        refinement=about,
    )


def with_ridges(reading: AnyReading, recipe: Recipe) -> AnyReading:
    """A reading with the pairs of parameters that its sound does not tell apart.

    Args:
        reading: From the network, or refined.
        recipe: Renders the parameters.
    """
    spec_range = None if reading.any_gain or not reading.spec_range.size else reading.spec_range[None]
    covariance = covariance_of(recipe, reading.image[None], spec_range, reading.value[None])
    return (
        reading if covariance is None else replace(reading, ridges=(*ridges_of(recipe, covariance[0], reading.value),))
    )


def held_together(reading: AnyReading, run: Run) -> AnyReading:
    """A reading whose 90 % intervals hold together: those of all parameters, for 90 % of the sounds."""
    return replace(reading, together=joint_scale_of(run))


def joint_scale_of(run: Run) -> float:
    """What 90 % intervals are wider by so that they hold together.

    Raises:
        CheckpointError: If the checkpoint does not say.
    """
    scale = float(run.module.joint_scale)
    if not scale > 0:
        raise CheckpointError(
            "joint=true: the checkpoint does not say how much wider intervals have to be to hold together. An earlier "
            "version wrote it, or it was never validated. Train again, or leave joint=false."
        )
    return scale


# ----- in words and plain data


def reach(space: ParameterSpace, value: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper ends of 90 % intervals within the ranges, `(sound, parameter)` each.

    Args:
        space: The parameters.
        value: `(sound, parameter)`.
        std: Of the values, of the same shape.
    """
    half = (WIDTH * std).astype(np.float64)
    return np.clip(value - half, space.low, space.high), np.clip(value + half, space.low, space.high)


def interval(space: ParameterSpace, value: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The same in natural units, `(sound, parameter, 2)`."""
    return np.stack([space.natural_from_value(end) for end in reach(space, value, std)], axis=-1)


def describe_values(space: ParameterSpace, reading: Reading) -> dict[str, dict[str, Any]]:
    """What was read of each parameter, by name, as plain data; None for what does not act, or has no error bar."""
    value, std = reading.value[None], reading.std[None]
    ends = interval(space, value, reading.reach_std[None])[0]
    plain = plain_values(space.varying, value.astype(np.float64), std)
    edges = edges_of(space, reading.value)
    described = {}
    for spec, found, spread, (low, high) in zip(space.varying, *(column[0] for column in plain), ends, strict=True):
        described[spec.name] = {
            "kind": spec.kind,
            "active": found is not None,
            "value": found,
            "std": spread,
            "low": None if spread is None else float(low),
            "high": None if spread is None else float(high),
            "units": spec.natural_units,
            "edge": edges[spec.name],
        }
    return described


def describe_distance(reading: Reading) -> dict[str, Any]:
    """How far a sound is from the training, and from the answer's sound, as plain data."""
    return {"distance": reading.distance, "zone": reading.zone, "db_away": reading.apart}


def describe_ridges(space: ParameterSpace, reading: Reading) -> list[dict[str, Any]]:
    """Pairs of parameters that a sound does not tell apart, as plain data, and in words; values in natural units."""
    found = []
    for ridge in reading.ridges:
        specs = [space.varying[p] for p in (ridge.first, ridge.second)]
        natural = [[float(of.natural_from_value(x)) for of, x in zip(specs, end, strict=True)] for end in ridge.ends]
        texts = [" and ".join(of.text(x) for of, x in zip(specs, end, strict=True)) for end in ridge.ends]
        names = [spec.name for spec in specs]
        found.append(
            {
                "parameters": names,
                "correlation": ridge.correlation,
                "ends": natural,
                "words": f"{' and '.join(names)} cannot be told apart: "
                f"from {texts[0]} to {texts[1]} the sound is nearly the same",
            }
        )
    return found


def describe(reading: RecordingReading, trained: TrainedOn) -> dict[str, Any]:
    """A reading of a recording as plain data."""
    recording = reading.recording
    parameters = describe_values(trained.run.info.space, reading)
    for spec, level_only, by_gain in zip(trained.parameters, trained.level_only, reading.by_gain, strict=True):
        moves = {"changes_with_3_db": bool(by_gain)} if spec.categorical else {"steps_per_3_db": float(by_gain)}
        parameters[spec.name] |= {"level_only": level_only, **moves}
    return {
        "file": reading.name,
        "duration": recording.duration,
        "onset": recording.onset,
        "gain_db": reading.gain_db,
        "notes": list(recording.notes),
        **describe_distance(reading),
        "parameters": parameters,
        "refinement": reading.refinement,
        "ridges": describe_ridges(trained.run.info.space, reading),
        "together": reading.together,
    }


def value_cells(found: dict[str, Any]) -> tuple[str, str, str]:
    """Value, interval and units of a parameter, as `describe_values` has it, for a table."""
    if not found["active"]:
        return "not active", "", ""
    std = found["std"]
    if std is None:
        return found["value"], "", found["units"]
    digits = max(0, 1 - math.floor(math.log10(std))) if std > 0 else 6  # two digits of the standard deviation
    value = f"{found['value']:.{0 if found['kind'] == 'integer' else digits}f}"
    value = f"{BEYOND if found['edge'] else ''}{value}"
    return value, f"{found['low']:.{digits}f} … {found['high']:.{digits}f}", found["units"]


def gain_cell(found: dict[str, Any]) -> str:
    """How a parameter depends on the level, as `describe` has it, for a table."""
    if not found["active"]:
        return ""
    if found["level_only"]:
        return "level alone"
    if "changes_with_3_db" in found:
        return "another" if found["changes_with_3_db"] else "the same"
    return f"{found['steps_per_3_db']:.1f}"


def distance_text(distance: float) -> str:
    """A distance in three digits at most."""
    return f"{distance:,.0f}" if distance >= 99.5 else f"{distance:.2g}" if distance < 9.95 else f"{distance:.0f}"


def refined_line(refinement: dict[str, float]) -> str:
    """What refinement did, in words."""
    return "Refined: residual {residual_before:.3g} before, {residual:.3g} after".format(**refinement)


def warnings_of(reading: RecordingReading, trained: TrainedOn) -> list[str]:
    """Notes about values that are less certain than they seem."""
    texts = [ridge["words"] for ridge in describe_ridges(trained.recipe.space, reading)]
    active = trained.recipe.space.active(reading.value[None])[0]
    for spec, acts, level_only, by_gain in zip(
        trained.parameters, active, trained.level_only, reading.by_gain, strict=True
    ):
        if not acts:
            continue
        if level_only:
            texts.append(f"{spec.name} acts on level alone, and a recording's gain is arbitrary")
        elif by_gain and spec.categorical:
            texts.append(f"{spec.name} is another one with {GAIN:g} dB of gain")
        elif by_gain >= 1:
            texts.append(f"{spec.name} moves by {by_gain:.1f} steps with {GAIN:g} dB of gain")
    return texts
