"""What a listening report is about: sounds with their sides, scores, and where the axes lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from src.errors import ConfigError
from src.evaluation.audio_metrics import METRICS, Metric
from src.evaluation.ridges import Ridge
from src.evaluation.scoring import Scores
from src.params import ParameterSpace, ParamSpec
from src.spectral.functional import log_centres
from src.spectral.representation import SpectralRepresentation
from src.vimh.axes import mel_centres

DEFINED = {metric.name: metric for metric in METRICS}
MOST_SIDES = 4  # that have a colour
NEAREST = "nearest neighbour"  # name of the reference that a useful network beats


@dataclass(frozen=True)
class Axes:
    """Where the rows and columns of the spectrograms lie.

    Attributes:
        frequency: Hz of each row's centre, low to high.
        time: s of each column's centre.
    """

    frequency: Sequence[float]
    time: Sequence[float]

    @classmethod
    def of(cls, representation: SpectralRepresentation) -> "Axes":
        """Where a representation has them."""
        frequency = np.arange(1, representation.height + 1) * representation.sample_rate / representation.n_fft
        mel = representation.describe_mel()
        if mel is not None:
            frequency = mel_centres(*(mel[key] for key in ("n_mels", "f_min", "f_max", "mel_scale")))
        if representation.log_frequency is not None:
            frequency = log_centres(representation.height, **vars(representation.log_frequency)).numpy()
        middle = np.arange(representation.width) * representation.hop_length + representation.window.numel() / 2
        return cls(frequency.tolist(), (middle / representation.sample_rate).tolist())


@dataclass(frozen=True)
class Side:
    """One of the sounds that are compared: the original, or the resynthesis of an answer.

    Attributes:
        name: Shown on buttons and above pictures: True, Recording, Predicted, Refined, ….
        waveform: `(time,)`.
        spectrogram_db: dB full scale, `(freq, time)`.
        value: Of its parameters, natural units, `(parameter,)`; None where they are not known.
        std: Standard deviation of the value, `(parameter,)`, or None.
        metrics: Name to value, beside the original.
    """

    name: str
    waveform: np.ndarray
    spectrogram_db: np.ndarray
    value: np.ndarray | None
    std: np.ndarray | None = None
    metrics: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Sound:
    """A sound to listen to, beside resyntheses of it.

    Attributes:
        name: Shown on the page.
        sides: The original first, then the answer that the report is about, then others; two to four.
        notes: Sentences above the pictures.
        far: Whether the answers mean little, and are grey.
        ridges: Pairs of parameters that the answer does not tell apart.
    """

    name: str
    sides: Sequence[Side]
    notes: Sequence[str] = ()
    far: bool = False
    ridges: Sequence[Ridge] = ()

    @property
    def true_value(self) -> np.ndarray | None:
        """Of the original, `(parameter,)`, or None."""
        return self.sides[0].value

    def metric(self, name: str, side: int = 1) -> float:
        """A metric of an answer, NaN where it is not known."""
        return (self.sides[side].metrics or {}).get(name, np.nan)


@dataclass(frozen=True)
class Report:
    """The content of the page.

    Attributes:
        title: Heading.
        facts: Checkpoint, dataset, revision: name to text.
        parameters: In the order of every `(parameter,)`.
        sample_rate: Hz.
        axes: Of all spectrograms.
        scores: Of estimates; the first is that of the second sides. May be empty.
        true_value: Of all sounds, natural units, `(sound, parameter)`, or None.
        value: Of the first estimate, natural units, `(sound, parameter)`, or None.
        sounds: Those to listen to, one or more, with the same sides each.
        notes: Sentences below the heading, of what a reader must know.
        remarks: Sentences at the end, of what the words mean.
        seed: Of the bootstrap.
        judged_by: The metric of the verdict; sounds are in its order at first.
        kind: What the sounds are, in the plural.
    """

    title: str
    facts: Mapping[str, str]
    parameters: Sequence[ParamSpec]
    sample_rate: int
    axes: Axes
    scores: Sequence[Scores]
    true_value: np.ndarray | None
    value: np.ndarray | None
    sounds: Sequence[Sound]
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    seed: int = 0
    judged_by: str = "mss"
    kind: str = "test sounds"

    @property
    def side_names(self) -> list[str]:
        """Of every sound."""
        return [side.name for side in self.sounds[0].sides]

    @cached_property
    def space(self) -> ParameterSpace:
        """The parameters."""
        return ParameterSpace(tuple(self.parameters))

    @cached_property
    def metrics(self) -> list[Metric]:
        """All metrics with a value anywhere: those defined in this project in their order, then others."""
        sources: list[Mapping[str, Any]] = [scores.metrics for scores in self.scores]
        sources += [side.metrics or {} for sound in self.sounds for side in sound.sides]
        names = dict.fromkeys(name for source in sources for name in source)
        template = Metric("", "", "low", False, "", 0.0, False, METRICS[0].compute)
        others = [replace(template, name=name) for name in names if name not in DEFINED]
        return [metric for metric in METRICS if metric.name in names] + others

    def check(self) -> None:
        """Refuse a report without sounds, and arrays that contradict each other.

        Raises:
            ConfigError: If there are such.
        """
        if not self.sounds:
            raise ConfigError("A listening report needs one sound or more, but there is none.")
        for sound in self.sounds:
            names = [side.name for side in sound.sides]
            if names != self.side_names or not 2 <= len(names) <= MOST_SIDES:
                raise ConfigError(
                    f"{sound.name}: its sides are {', '.join(names)}; every sound needs the same, two to {MOST_SIDES}, "
                    f"and the first has {', '.join(self.side_names)}."
                )
            for side in sound.sides:
                self._check_side(f"{sound.name}, {side.name}", side)
        if self.true_value is not None:
            _check_shape("report", "value", self.value, np.shape(self.true_value))

    def _check_side(self, owner: str, side: Side) -> None:
        """Refuse a side whose arrays do not fit the report."""
        _check_shape(owner, "spectrogram_db", side.spectrogram_db, (len(self.axes.frequency), len(self.axes.time)))
        if not np.isfinite(side.spectrogram_db).all():
            raise ConfigError(f"{owner}: a level of spectrogram_db is not finite; give a floor to silence.")
        for name, array in (("value", side.value), ("std", side.std)):
            _check_shape(owner, name, array, (len(self.parameters),))
        if np.ndim(side.waveform) != 1 or not np.size(side.waveform) or not np.isfinite(side.waveform).all():
            raise ConfigError(f"{owner}: the waveform must be finite samples, (time,).")


def _check_shape(owner: str, name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape; None is allowed."""
    if array is not None and np.shape(array) != shape:
        raise ConfigError(f"{owner}: {name} has the shape {np.shape(array)}; it must be {shape}.")
