"""Parameters back to sounds: the voice of a dataset, and answers that need no network to be measured against."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numba
import numpy as np
import torch

from src.errors import VIMHError
from src.evaluation.audio_metrics import audio_metrics
from src.evaluation.audit import audit
from src.evaluation.refinement import Refinement, observe, refine
from src.listening.report import Axes, Scores
from src.params import FixedParam, ParameterSpace, ParamSpec
from src.spectral.representation import Representation, SpectralRepresentation
from src.synth.base import Synth
from src.synth.voices import MoogVoice, SawVoice
from src.vimh.axes import mel_centres
from src.vimh.info import DatasetInfo

SOUNDS_A_THREAD = 32  # rendered and compared at a time
REFINED_AT_A_TIME = 256
MAX_PIXEL = 255.0
VIEW = (128, 128)  # rows and columns of the spectrograms that show samples
MEDIAN_OF_GAUSSIAN = 0.6745  # median absolute error of a Gaussian, in standard deviations
SETTINGS = ("sample_rate", "duration", "note_duration")  # of a voice, which some datasets list as fixed parameters
KINDS = {"simple": SawVoice, "saw": SawVoice, "moog": MoogVoice}  # by what `synth_type` contains

Instantiate = Callable[..., Any]
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Voice:
    """What renders the sounds of a dataset, and shows them.

    Attributes:
        synth: Renders parameters.
        representation: Turns waveforms into images.
        space: The parameters.
        view: Turns waveforms into spectrograms, which are shown and compared: the representation itself, or for sets of
            samples an STFT.
    """

    synth: Synth
    representation: Representation
    space: ParameterSpace
    view: SpectralRepresentation

    @classmethod
    def of(cls, synth: Synth, representation: Representation, space: ParameterSpace) -> "Voice":
        """A voice with the view that suits its representation."""
        is_spectral = isinstance(representation, SpectralRepresentation)
        return cls(synth, representation, space, representation if is_spectral else _plain_stft(synth, *VIEW))

    def render(self, value: np.ndarray) -> np.ndarray:
        """Waveforms, float32, `(sound, time)`, of values in natural units, `(sound, parameter)`."""
        parameters = {spec.name: value[:, p].astype(np.float64) for p, spec in enumerate(self.space.varying)}
        parameters |= {fixed.name: np.full(len(value), float(fixed.value)) for fixed in self.space.fixed}
        return self.synth.render(parameters)

    def spectrogram_db(self, waveform: np.ndarray) -> np.ndarray:
        """Decibels full scale of waveforms, `(sound, time)`, before they are rounded to pixels: `(sound, freq, time)`.

        Of several channels the first.
        """
        return self.view.spectrogram_db(torch.from_numpy(waveform))[0][:, 0].numpy()

    def refine(self, image: np.ndarray, spec_range: np.ndarray | None, start: np.ndarray, seed: int = 0) -> Refinement:
        """`refine` of images of the representation, in its view; arguments as there."""
        if self.representation is not self.view:  # samples: what they look like
            seen = self.view.to_image(self.representation.to_waveform(torch.from_numpy(np.array(image))))
            image, levels = (tensor.numpy() for tensor in seen)
            spec_range = None if spec_range is None else levels
        return refine(self.spectral, image, spec_range, start, seed=seed)

    @property
    def spectral(self) -> "Voice":
        """The same voice with its view for a representation."""
        return replace(self, representation=self.view)


def voice_of(info: DatasetInfo, instantiate: Instantiate) -> Voice:
    """What renders the sounds of a dataset.

    A dataset of another writer has no entry `generator`. Its voice is found by its `synth_type` and the names of its
    parameters, and it is shown by an STFT of the size of its images, which need not be what made them.

    Args:
        info: What the dataset says of itself.
        instantiate: Makes an object from a section of the generator configuration, which came out of a file.

    Raises:
        VIMHError: If the dataset does not say enough, or no voice knows its parameters.
    """
    if info.generator is None:
        return _voice_by_names(info)
    config = info.generator.get("config")
    sections = [key for key in ("synth", "representation") if not isinstance(config, Mapping) or key not in config]
    if sections:
        raise VIMHError(
            f"{_name(info)}: its description lacks {_listed(f'generator.config.{key}' for key in sections)}, so nobody "
            "knows how its sounds were made. Generate the set anew with generate_vimh.py."
        )
    space = ParameterSpace(info.parameters, info.fixed)
    representation = instantiate(config["representation"], channels=config.get("channels", {}))
    return Voice.of(instantiate(config["synth"]), representation, space)


def _voice_by_names(info: DatasetInfo) -> Voice:
    """The voice of a dataset that does not say how it was made."""
    constant = {name: entry.min for name, entry in info.parameter_mappings.items() if not entry.varies}
    constant |= {fixed.name: fixed.value for fixed in info.fixed}
    said = {"sample_rate": info.sample_rate, "duration": info.duration}
    settings = {key: item for key, item in said.items() if item is not None}
    settings |= {key: constant.pop(key) for key in SETTINGS if key in constant}
    missing = [key for key in said if key not in settings]
    if missing:
        raise VIMHError(f"{_name(info)}: its description lacks {_listed(missing)}, so its sounds cannot be rendered.")
    settings["sample_rate"] = round(settings["sample_rate"])
    kind = _kind_of_voice(info, {*info.parameter_names, *constant})
    if kind is SawVoice:
        settings.pop("note_duration", None)
    synth = kind(**settings)
    fixed = tuple(FixedParam(name, value) for name, value in constant.items())
    return Voice.of(synth, _plain_stft(synth, info.height, info.width), ParameterSpace(info.parameters, fixed))


def _kind_of_voice(info: DatasetInfo, names: set[str]) -> type[SawVoice] | type[MoogVoice]:
    """The voice that a dataset's `synth_type` means, or without one the simplest that knows its parameters."""
    kinds = [kind for part, kind in KINDS.items() if not info.synth_type or part in info.synth_type.lower()]
    if not kinds:
        raise VIMHError(
            f"{_name(info)}: was not made by this generator, and its synth_type is {info.synth_type!r}. Only sounds of "
            f"{_listed(KINDS)} can be rendered without a generator.config."
        )
    for kind in kinds:
        if names <= set(kind.defaults):
            return kind
    unknown = sorted(names - set(kinds[-1].defaults))
    raise VIMHError(
        f"{_name(info)}: was not made by this generator, and {kinds[-1].__name__} does not know its parameter "
        f"{_listed(unknown)}; it knows {_listed(kinds[-1].defaults)}."
    )


def _plain_stft(synth: Synth, height: int, width: int) -> SpectralRepresentation:
    """An STFT of a size, from its first bin to half the sample rate."""
    win_length = min(2 * height, synth.n_samples)
    return SpectralRepresentation(synth.sample_rate, synth.duration, height, width, win_length, 2 * height)


def axes_of(representation: SpectralRepresentation) -> Axes:
    """Where the rows and columns of a spectrogram are: Hz and seconds of their centres."""
    frequency = np.arange(1, representation.height + 1) * representation.sample_rate / representation.n_fft
    mel = representation.describe_mel()
    if mel is not None:
        frequency = mel_centres(*(mel[key] for key in ("n_mels", "f_min", "f_max", "mel_scale")))
    middle = np.arange(representation.width) * representation.hop_length + representation.window.numel() / 2
    return Axes(frequency.tolist(), (middle / representation.sample_rate).tolist())


def within_ranges(value: np.ndarray, parameters: Sequence[ParamSpec]) -> np.ndarray:
    """Values, `(sound, parameter)`, those beyond a range at its end: rounding to float32 may carry them over it."""
    low, high = np.array([(spec.min, spec.max) for spec in parameters]).T
    return np.clip(value.astype(np.float64), low, high)


def after_coding(value: np.ndarray, parameters: Sequence[ParamSpec]) -> np.ndarray:
    """What is left of values, natural units, `(sound, parameter)`, when each was stored in 8 bits."""
    columns = [
        spec.value_from_normalized(
            spec.normalized_from_code(spec.code_from_normalized(spec.normalized_from_value(value[:, p])))
        )
        for p, spec in enumerate(parameters)
    ]
    return np.stack(columns, axis=1)


def mean_parameters(value: np.ndarray, n_sounds: int) -> np.ndarray:
    """The mean of the training set's values, `(sample, parameter)`, for every sound: `(sound, parameter)`."""
    return np.tile(value.mean(axis=0, dtype=np.float64), (n_sounds, 1))


@dataclass(frozen=True)
class Look:
    """What a network sees of sounds: images, and conditioning inputs in standard deviations from their mean.

    Attributes:
        image: uint8, `(sound, channel, freq, time)`.
        aux: `(sound, n_aux)`.
    """

    image: np.ndarray
    aux: np.ndarray

    def features(self) -> np.ndarray:
        """float64, `(sound, feature)`: pixels over their range, and the conditioning inputs."""
        pixels = self.image.reshape(len(self.image), -1) / MAX_PIXEL - 0.5
        return np.concatenate([pixels, self.aux], axis=1, dtype=np.float64)


def nearest_neighbours(look: Look, training: Iterable[Look], advance: Advance = lambda n: None) -> np.ndarray:
    """Numbers of the training samples that look most alike, by Euclidean distance of `Look.features`.

    Args:
        look: The sounds.
        training: The training set in pieces.
        advance: Told the number of training samples compared.

    Returns:
        int64, `(sound,)`; of equal ones the first.
    """
    features = look.features()
    nearest = np.zeros(len(features), dtype=np.int64)
    least = np.full(len(features), np.inf)
    first = 0
    for piece in training:
        others = piece.features()
        distance = (others**2).sum(axis=1) - 2 * features @ others.T  # less a number for each sound
        best = distance.argmin(axis=1)
        found = distance[np.arange(len(best)), best]
        nearest = np.where(found < least, first + best, nearest)
        least = np.minimum(least, found)
        first += len(others)
        advance(len(others))
    return nearest


@dataclass(frozen=True)
class Estimate:
    """What somebody says of all sounds.

    Attributes:
        name: Who.
        value: Natural units, within the ranges, `(sound, parameter)`.
        std: Standard deviation, natural units, `(sound, parameter)`; None where nothing is said of it.
        columns: What else is known of each sound, name to `(sound,)`.
    """

    name: str
    value: np.ndarray
    std: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


def score(claim: Estimate, voice: Voice, true_value: np.ndarray, advance: Advance = lambda n: None) -> Scores:
    """What a claim is worth: audio metrics between the sounds of the true and of the claimed values, and errors.

    Args:
        claim: What is judged.
        voice: Renders both.
        true_value: Natural units, `(sound, parameter)`.
        advance: Told the number of sounds done.
    """
    size = SOUNDS_A_THREAD * numba.get_num_threads()
    parts = []
    for first in range(0, len(true_value), size):
        true, claimed = true_value[first : first + size], claim.value[first : first + size]
        parts.append(audio_metrics(voice.render(true), voice.render(claimed), voice.synth.sample_rate))
        advance(len(true))
    metrics = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Scores(claim.name, metrics, np.abs(claim.value - true_value))


def spread(score: np.ndarray, n_sounds: int) -> list[int]:
    """Numbers of the best and the worst sound by `score`, `(sound,)`, and of others evenly between them in rank."""
    ranks = np.unique(np.linspace(0, len(score) - 1, min(n_sounds, len(score))).round().astype(int))
    return np.argsort(score, kind="stable")[ranks].tolist()


def refine_all(
    voice: Voice,
    image: np.ndarray,
    spec_range: np.ndarray | None,
    start: np.ndarray,
    seed: int,
    advance: Advance = lambda n: None,
) -> Refinement:
    """`Voice.refine` in pieces, so that it can be watched; arguments as there."""
    parts = []
    for first in range(0, len(image), REFINED_AT_A_TIME):
        part = slice(first, first + REFINED_AT_A_TIME)
        ranges = None if spec_range is None else spec_range[part]
        parts.append(voice.refine(image[part], ranges, start[part], seed=seed))
        advance(len(image[part]))
    columns = [[getattr(part, entry.name) for part in parts] for entry in fields(Refinement)]
    shares = [len(part.value) / len(image) for part in parts]
    return Refinement(*(np.concatenate(column) for column in columns[:-1]), float(np.dot(shares, columns[-1])))


def bounds_of_audit(voice: Voice, value: np.ndarray, advance: Advance = lambda n: None) -> np.ndarray:
    """The audit's Cramér-Rao bound at values, natural units, `(sound, parameter)`: JND steps, of the same shape."""
    bounds = []
    for first in range(0, len(value), REFINED_AT_A_TIME):
        piece = value[first : first + REFINED_AT_A_TIME]
        entries = audit(piece, voice.space.varying, partial(observe, voice.spectral))
        bounds.append(np.stack([entry.bounds for entry in entries], axis=1))
        advance(len(piece))
    return np.concatenate(bounds)


def refinement_figures(
    found: Refinement, start: np.ndarray, true_value: np.ndarray, bounds: np.ndarray, parameters: Sequence[ParamSpec]
) -> dict[str, Any]:
    """What refinement did, as plain data: medians over sounds, errors in JND steps.

    Args:
        found: By `refine_all`.
        start: Where it began, natural units, `(sound, parameter)`.
        true_value: Natural units, `(sound, parameter)`.
        bounds: Cramér-Rao bounds of the audit, JND steps, `(sound, parameter)`.
        parameters: In the order of the columns.

    Returns:
        `milliseconds` a sound, `renders`, `residual_before`, `residual`, and `parameters`: name to the median absolute
        `error_before` and `error`, the `bound`, the `reachable` median error (0.67 of the bound, as Gaussian errors at
        the bound have it) and the `ratio` of error and reachable, the last three None where the bound is infinite.
    """
    steps = np.array([spec.step for spec in parameters])
    before, after = (np.median(np.abs(value - true_value) / steps, axis=0) for value in (start, found.value))
    rows = {}
    for p, spec in enumerate(parameters):
        bound = float(np.median(bounds[:, p]))
        known = np.isfinite(bound)
        rows[spec.name] = {
            "error_before": float(before[p]),
            "error": float(after[p]),
            "bound": bound if known else None,
            "reachable": MEDIAN_OF_GAUSSIAN * bound if known else None,
            "ratio": float(after[p]) / (MEDIAN_OF_GAUSSIAN * bound) if known else None,
        }
    return {
        "milliseconds": found.milliseconds,
        "renders": float(np.median(found.n_renders)),
        "residual_before": float(np.median(found.residual_before)),
        "residual": float(np.median(found.residual)),
        "parameters": rows,
    }


def csv_of(
    claims: Sequence[Estimate], answers: Sequence[Scores], true_value: np.ndarray, parameters: Sequence[ParamSpec]
) -> str:
    """A table with a row per sound and answer, in nine digits; a cell is empty where nothing is known.

    Args:
        claims: What is said of the sounds.
        answers: What that is worth, in the same order.
        true_value: Natural units, `(sound, parameter)`.
        parameters: In the order of the columns.
    """
    columns = [_columns(claim, answer, true_value, parameters) for claim, answer in zip(claims, answers, strict=True)]
    header = list(dict.fromkeys(name for known in columns for name in known))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sound", "answer", *header])
    for number in range(len(true_value)):
        for claim, known in zip(claims, columns, strict=True):
            cells = (f"{known[name][number]:.9g}" if name in known else "" for name in header)
            writer.writerow([number, claim.name, *cells])
    return text.getvalue()


def _columns(
    claim: Estimate, answer: Scores, true_value: np.ndarray, parameters: Sequence[ParamSpec]
) -> dict[str, np.ndarray]:
    """All that is known of a claim, name to `(sound,)`."""
    tables = {"true": true_value, "value": claim.value, "error": answer.errors, "std": claim.std}
    of_parameters = {
        f"{spec.name}_{kind}": table[:, p]
        for p, spec in enumerate(parameters)
        for kind, table in tables.items()
        if table is not None
    }
    return {**answer.metrics, **of_parameters, **claim.columns}


def _name(info: DatasetInfo) -> str:
    return info.dataset_name or "The dataset"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
