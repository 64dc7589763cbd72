"""What a network reads from a recording or a sample, how far to trust it, and what a search for the sound adds."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from src.checkpoints.run import Run
from src.errors import CheckpointError, VIMHError
from src.evaluation.domain import Zone, zone_of
from src.evaluation.estimates import network_answers
from src.evaluation.refinement import decibels_apart, refine
from src.evaluation.ridges import Ridge, find_ridges
from src.readings.network import Heard, NetworkInput, TrainedOn, at_peak, hear, heard_together, judged, places
from src.recipe import Recipe
from src.recordings import (
    MARGIN,
    AudioSource,
    Frames,
    Recording,
    RecordingError,
    cut_into_frames,
    cut_to_sound,
    notes_of,
    resample,
)
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
        probabilities: Name of every category to the probabilities of its classes, `(class,)`.
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
    probabilities: Mapping[str, np.ndarray] = field(default_factory=dict)
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
    """What a network reads from a recording, or from a frame of one.

    Attributes:
        recording: Where it is from.
        waveform: The recording at the gain that the network gets, `(time,)`.
        gain_db: That gain.
        normalized: Whether that gain was chosen, a recording's own being arbitrary.
        by_gain: Grid steps by which a value moves when the level changes by 3 dB, `(parameter,)`; of a category 1 if
            its class changes, else 0.
        frames: What is read from each frame, where a recording is cut into frames. Its own answer is then what they say
            together, its distance the median of theirs, and its image that of the frame that is surest.
    """

    recording: Recording
    waveform: np.ndarray
    gain_db: float
    normalized: bool
    by_gain: np.ndarray
    frames: tuple["RecordingReading", ...] = ()

    @property
    def any_gain(self) -> bool:
        """Whether the level means nothing."""
        return self.normalized

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the recording."""
        return (*self.recording.notes, *([f"gain {self.gain_db:+.1f} dB"] if self.normalized else []))


@dataclass(frozen=True, kw_only=True)
class SampleReading(Reading):
    """What a network reads from a sample of a dataset.

    Attributes:
        true_value: `(parameter,)`.
    """

    true_value: np.ndarray


MOST_SAMPLES = 2**27  # of the frames of a recording: 2 hours at 16 kHz, without overlap
AnyReading = TypeVar("AnyReading", bound=Reading)


def read_audio(
    audio: AudioSource, trained: TrainedOn, normalize: bool = True, peak: float | None = None
) -> RecordingReading:
    """What the network reads from a recording.

    Args:
        audio: A file that is open, or samples in memory.
        trained: What the network was trained on.
        normalize: Whether the recording's gain is arbitrary: its peak becomes `peak`.
        peak: 1 is full scale; None: as the training's sounds have it, the median of their peaks where a synth made
            them, and that of the recording itself where they were recordings.

    Raises:
        RecordingError: If it is damaged, silent, or too short.
    """
    wanted = (peak or trained.peak) if normalize else None
    if trained.framing is not None:
        return read_frames(audio, cut_into_frames(audio, trained.framing), trained, wanted)
    return read_parameters(cut_to_sound(audio, trained.sample_rate, trained.duration, trained.lead), trained, wanted)


def read_parameters(recording: Recording, trained: TrainedOn, peak: float | None) -> RecordingReading:
    """The same of a recording that has been cut.

    Args:
        recording: Of the duration and rate of the dataset.
        trained: What the network was trained on.
        peak: That the recording gets, its gain being arbitrary: what 3 dB either way would change joins the error bars,
            and what acts on level alone is undetermined. None: it stays as it is.
    """
    waveform, gain = at_peak(recording.waveform[None], peak)
    heard = hear_recording(recording, waveform, trained, any_gain=peak is not None)
    return RecordingReading(
        name=name_of(recording.path),
        recording=recording,
        waveform=waveform[0],
        by_gain=heard.by_gain[0],
        **level_of(gain[0], peak),
        **row_of(heard, 0),
    )


def read_frames(audio: AudioSource, frames: Frames, trained: TrainedOn, peak: float | None) -> RecordingReading:
    """What the network reads from the frames of a recording, and from all of them together.

    Args:
        audio: The recording.
        frames: Of it.
        trained: What the network was trained on.
        peak: As for `read_parameters`.

    Raises:
        RecordingError: If they are more than memory is meant to hold.
    """
    if len(frames) * frames.framing.n_samples > MOST_SAMPLES:
        raise RecordingError(
            f"{name_of(audio.path)}: makes {len(frames):,} frames of {frames.framing.duration:g} s, together "
            f"more than the {MOST_SAMPLES:,} samples that are read at once. Raise hop, or divide the recording."
        )
    recording, name = recorded(audio, frames), name_of(audio.path)
    whole, gain = at_peak(recording.waveform[None], peak)
    waveform, level = (gain[0] * np.stack([*frames])).astype(np.float32), level_of(gain[0], peak)
    heard = hear_recording(recording, waveform, trained, any_gain=peak is not None)
    read = [
        RecordingReading(
            name=f"{name}, {start:.2f} s",
            recording=replace(recording, onset=start, duration=trained.duration, notes=()),
            waveform=waveform[n],
            by_gain=heard.by_gain[n],
            **level,
            **row_of(heard, n),
        )
        for n, start in enumerate(frames.start.tolist())
    ]
    one = heard_together(heard, trained.run.info.space)
    about = level | row_of(one, 0) | {"by_gain": one.by_gain[0], "frames": (*read,)}
    return RecordingReading(name=name, recording=recording, waveform=whole[0], **about)


def level_of(gain: float, peak: float | None) -> dict[str, Any]:
    """The gain of a recording, and whether it was chosen, as attributes of `RecordingReading`."""
    return {"gain_db": 20 * math.log10(gain), "normalized": peak is not None}


def recorded(audio: AudioSource, frames: Frames) -> Recording:
    """The recording that frames are from, mono, at their rate, as far as it is read."""
    framing = frames.framing
    most = sys.maxsize if framing.hop else math.ceil((framing.duration + MARGIN) * audio.sample_rate)
    waveform = resample(audio.blocks(0, most), audio.sample_rate, framing.sample_rate).astype(np.float32)
    n_samples = framing.n_samples
    notes = {
        **dict.fromkeys(notes_of(audio, framing.sample_rate), True),
        f"{len(frames):,} frame{'s' * (len(frames) > 1)} of {framing.duration:g} s": framing.hop is not None,
        f"{frames.n_silent:,} silent frame{'s' * (frames.n_silent > 1)} left out": frames.n_silent > 0,
        f"cut after {framing.duration:g} s": framing.hop is None and len(waveform) > n_samples,
        f"{len(waveform) / framing.sample_rate:.3f} s long, the rest is silence": len(waveform) < n_samples,
    }
    if framing.hop is None:
        waveform = np.pad(waveform[:n_samples], (0, max(0, n_samples - len(waveform))))
    duration = len(waveform) / framing.sample_rate
    return Recording(
        audio.path, waveform, float(frames.start[0]), duration, (*(note for note in notes if notes[note]),)
    )


def hear_recording(recording: Recording, waveform: np.ndarray, trained: TrainedOn, any_gain: bool) -> Heard:
    """What the network makes of a recording, or of its frames; distances and error bars are those that hold.

    Args:
        recording: For messages.
        waveform: At the gain that the network gets, float32, `(sound, time)`.
        trained: What the network was trained on.
        any_gain: Whether that gain was chosen.

    Raises:
        RecordingError: If the answers are no numbers.
    """
    heard = hear(waveform, trained, trained.representation, trained.level_only if any_gain else None)
    found = (heard.spec_range, heard.answers.value, heard.answers.std, heard.by_gain)
    if not all(np.isfinite(numbers).all() for numbers in found):
        raise RecordingError(f"{name_of(recording.path)}: the answers of the network are not finite.")
    calibration = trained.calibration_of_any_gain if any_gain else trained.calibration
    distance, std = judged(heard.distance, heard.answers.std, calibration, trained.run.info.space)
    return heard._replace(distance=distance, answers=heard.answers._replace(std=std))


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
    answers = network_answers(network_input.run.module, tensors["image"], tensors["aux"])
    apart, distance = places(batch.image, batch.spec_range, answers.value, network_input, level_counts=True)
    distance, std = judged(distance, answers.std, network_input.calibration, network_input.run.info.space)
    heard = Heard(batch.image, batch.spec_range, answers._replace(std=std), (), np.zeros_like(std), apart, distance)
    return [SampleReading(name=name, true_value=batch.value[n], **row_of(heard, n)) for n, name in enumerate(names)]


def row_of(heard: Heard, number: int) -> dict[str, Any]:
    """What was heard of one of several sounds, as attributes of `Reading`."""
    answers = heard.answers
    return {
        "image": heard.image[number],
        "spec_range": heard.spec_range[number],
        "value": answers.value[number],
        "std": answers.std[number],
        "probabilities": {name: shares[number] for name, shares in answers.probabilities.items()},
        "distance": None if heard.distance is None else float(heard.distance[number]),
        "apart": None if heard.apart is None else float(heard.apart[number]),
    }


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
    scale = joint_scale_of(run)
    if isinstance(reading, RecordingReading):
        frames = tuple(replace(frame, together=scale) for frame in reading.frames)
        return replace(reading, together=scale, frames=frames)
    return replace(reading, together=scale)


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
