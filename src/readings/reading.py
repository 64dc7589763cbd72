"""What a network reads from a recording or a sample, how far to trust it, and what a search for the sound adds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from src.checkpoints.run import Run
from src.errors import CheckpointError, VIMHError
from src.evaluation.domain import Zone, zone_of
from src.evaluation.estimates import network_values
from src.evaluation.refinement import decibels_apart, refine
from src.evaluation.ridges import Ridge, find_ridges
from src.readings.network import NetworkInput, TrainedOn, hear, judged, places
from src.recipe import Recipe
from src.recordings import AudioSource, Recording, RecordingError, cut_to_sound
from src.text import name_of
from src.vimh.reader import Batch


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
    def known_range(self) -> np.ndarray | None:
        """Its `spec_range`, `(2,)`; None where the level means nothing, or is not there."""
        return None if self.any_gain or not self.spec_range.size else self.spec_range

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the sound."""
        return ()

    @property
    def zone(self) -> Zone | None:
        """The distance in a word; None: not known."""
        return None if self.distance is None else zone_of(self.distance)


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
    known_range = None if reading.known_range is None else reading.known_range[None]
    found = refine(recipe, reading.image[None], known_range, reading.value[None])
    # What is not explained is taken for noise, as scipy's curve_fit does without absolute_sigma.
    std = found.std[0] * recipe.space.step * max(1.0, float(found.residual[0]))
    if reading.zone == "far":  # the synth cannot make it, so that no fit tells its parameters
        std = reading.std
    apart = decibels_apart(
        recipe, reading.image[None], reading.spec_range[None], found.value, level_counts=known_range is not None
    )
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
    return replace(reading, ridges=(*find_ridges(recipe, reading.image, reading.known_range, reading.value),))


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
