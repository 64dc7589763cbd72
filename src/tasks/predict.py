"""Reads parameters from recordings, resynthesizes them, and says how far to trust it.

python src/predict.py audio=door.wav
python src/predict.py ckpt_path=logs/train/.../epoch_042.ckpt audio='sounds/*.flac' refine=true
python src/predict.py dataset=data/vimh-32x32x1_8000Hz_1p0s_16384dss_moog_4p
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from pydantic import Field

from src.checkpoints.run import Run, load_run, restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import BatchFormat
from src.errors import ConfigError, NSMError, VIMHError
from src.evaluation.audio_metrics import audio_metrics
from src.evaluation.domain import Domain
from src.evaluation.estimates import AT_ONCE, network_values
from src.evaluation.refinement import refine
from src.evaluation.scoring import csv_cell, csv_text, plain_values
from src.files import write_atomically
from src.listening.report import Axes, Report, Sound, encode_wav, render_report
from src.params import ParamSpec
from src.programs.command_line import FULL_ERROR
from src.programs.output import WIDEST, PlainTable, RankedLogger, console, progress
from src.programs.run_dirs import trained_checkpoint
from src.recipe import Recipe
from src.recordings import Recording, RecordingError, find_files, find_onset, read_recording
from src.sections import Flag, Modules, Section, Text, WholeNumber, read_section
from src.text import name_of, one_line
from src.vimh.format import SPLITS, Split
from src.vimh.reader import VIMHReader

log = RankedLogger(__name__)

OUTSIDE = 99.0  # percentile from which on a recording is called outside of the training domain
N_PROBES = 64  # random sounds that show the training's peak, and which parameters act on level alone
ALIKE = 1e-3  # relative difference of two waveforms up to which they are the same but for their level
GAIN = 3.0  # dB either way, to see what depends on the level
LONGEST_STEM = 150  # bytes of a name that a file of a sound takes over
INTERVAL = 1.645  # standard deviations to either side of 90 %


class NothingReadError(ConfigError):
    """None of the recordings could be used."""

    exit_code = 2


class PredictSettings(Section):
    """Settings of the program; `configs/predict.yaml` explains each."""

    ckpt_path: Text | None
    audio: Text | None
    dataset: Text | None
    split: Split = Field(description=f"choose one of {', '.join(SPLITS)}")
    normalize: Flag
    peak: float | None = Field(gt=0, le=1, description="it must be above 0 and at most 1, which is full scale")
    refine: Flag
    seed: WholeNumber
    trusted_modules: Modules


@dataclass(frozen=True)
class TrainedOn:
    """What a network was trained on, as far as recordings are concerned.

    Attributes:
        run: The trained network.
        recipe: Renders its parameters, and makes the images that it reads.
        to_tensors: Makes batches of images.
        domain: Statistics of its training images; None where the checkpoint has none.
        peak: Median of the peaks of its sounds.
        lead: Where its sounds begin to be audible, median, s.
        level_only: Whether a parameter acts on level alone, one each.
    """

    run: Run
    recipe: Recipe
    to_tensors: BatchFormat
    domain: Domain | None
    peak: float
    lead: float
    level_only: tuple[bool, ...]

    @property
    def parameters(self) -> tuple[ParamSpec, ...]:
        """What the network reads."""
        return self.recipe.space.varying


@dataclass(frozen=True)
class Reading:
    """What a network reads from a recording.

    Attributes:
        recording: Where it is from.
        waveform: The recording at the gain that the network gets, `(time,)`.
        gain_db: That gain.
        image: uint8, `(channel, freq, time)`.
        spec_range: dB, `(2,)`.
        value: `(parameter,)`.
        std: Standard deviations, `(parameter,)`.
        by_gain: Grid steps by which a value moves when the level changes by 3 dB, `(parameter,)`; of a category 1 if
            its class changes, else 0.
        percentile: Of the training images, how many percent are nearer to the others than this one; None: not known.
        refinement: What refinement did; None: there was none.
    """

    recording: Recording
    waveform: np.ndarray
    gain_db: float
    image: np.ndarray
    spec_range: np.ndarray
    value: np.ndarray
    std: np.ndarray
    by_gain: np.ndarray
    percentile: float | None
    refinement: dict[str, float] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about the recording."""
        return (*self.recording.notes, f"gain {self.gain_db:+.1f} dB")

    @property
    def about_domain(self) -> str:
        """Whether the recording is like what the network was trained on, in words."""
        if self.percentile is None:
            return "the checkpoint keeps no statistics of its training images, so its domain is unknown"
        nearer = f"{self.percentile:.1f} % of the training sounds are nearer to the others than it"
        return f"OUTSIDE the training domain: {nearer}" if self.percentile >= OUTSIDE else f"in the domain: {nearer}"


def predict(cfg: DictConfig) -> None:
    """Predict as configured.

    Raises:
        ConfigError: If neither or both of `audio` and `dataset` are named.
        NothingReadError: If no recording could be used.
    """
    settings = read_section(PredictSettings, cfg)
    if bool(settings.audio) == bool(settings.dataset):
        raise ConfigError("Name either what to listen to, audio=FILE|DIR|GLOB, or a VIMH set, dataset=DIR.")
    ckpt_path = trained_checkpoint(settings.ckpt_path, cfg.paths.log_dir)
    log.info("Checkpoint: %s", ckpt_path)
    run = load_run(ckpt_path, settings.trusted_modules)
    if settings.audio:
        predict_recordings(run, ckpt_path, settings.audio, settings, Path(cfg.paths.output_dir))
    elif settings.dataset:
        predict_dataset(run, settings.dataset, settings, Path(cfg.paths.output_dir))


# ----- recordings


def predict_recordings(run: Run, ckpt_path: Path, audio: str, settings: PredictSettings, output_dir: Path) -> None:
    """Read every recording, and write what was read, resynthesized sounds and the report.

    Whatever goes wrong with one recording, the others are read.

    Raises:
        NothingReadError: If none could be used.
    """
    files = find_files(audio)
    trained = trained_on(run, settings)
    readings, skipped = [], {}
    with progress(len(files), "Predicting", "recordings") as advance:
        for path in files:
            try:
                readings.append(read_file(path, trained, settings))
            except Exception as error:  # of whatever kind: a damaged file, too little memory, what an analysis refuses
                skipped[name_of(path)] = reason = reason_for(path, error)
                log.error("Skipped %s", reason, exc_info=os.environ.get(FULL_ERROR) == "1")
            advance(1)
    if not readings:
        lines = "\n  ".join(skipped.values())
        raise NothingReadError(f"{len(skipped)} of {len(files)} recordings were skipped:\n  {lines}")
    write_readings(readings, skipped, trained, ckpt_path, output_dir)


def read_file(path: Path, trained: TrainedOn, settings: PredictSettings) -> tuple[Reading, Sound]:
    """What the network reads from a file, and the sound to listen to beside its resynthesis."""
    synth = trained.recipe.synth
    recording = read_recording(path, synth.sample_rate, synth.duration, trained.lead)
    peak = (settings.peak or trained.peak) if settings.normalize else None
    reading = read_parameters(recording, trained, peak)
    if settings.refine:
        reading = refine_reading(reading, trained, settings.normalize)
    return reading, resynthesize(reading, trained)


def reason_for(path: Path, error: Exception) -> str:
    """Why a file could not be used, beginning with its name."""
    if isinstance(error, NSMError) and str(error).startswith(name_of(path)):
        return str(error)
    kind = "" if isinstance(error, NSMError) else f"{type(error).__name__}: "
    return f"{name_of(path)}: cannot be used: {kind}{error}"


def trained_on(run: Run, settings: PredictSettings) -> TrainedOn:
    """What a network was trained on.

    Raises:
        VIMHError: If its dataset does not say how its images were made.
    """
    if run.info.generator is None:
        raise VIMHError(
            f"{run.info.title} of this checkpoint does not say how its images were made (it "
            "has no entry generator), so a recording cannot be made an image of that kind. Its own images can be "
            "predicted: dataset=DIR."
        )
    instantiate = partial(instantiate_trusted, trusted_modules=settings.trusted_modules)
    recipe, data = Recipe.from_info(run.info, instantiate), run.config["data"]
    space = run.info.space
    measure = instantiate(data["measure"], slot="measure") if data.get("measure") else None
    n_parameters = len(space.varying)
    probes = space.value_from_uniform(np.random.default_rng(settings.seed).random((N_PROBES, n_parameters)))
    sounds, sample_rate = recipe.render(probes), recipe.synth.sample_rate
    return TrainedOn(
        run,
        recipe,
        BatchFormat(run.info.parameters, data["aux"], measure),
        None if run.domain is None else Domain.from_dict(run.domain, run.info.image_shape),
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


def read_parameters(recording: Recording, trained: TrainedOn, peak: float | None) -> Reading:
    """What the network reads from a recording.

    Args:
        recording: Of the duration and rate of the dataset.
        trained: What the network was trained on.
        peak: That the recording gets, its gain being arbitrary: what 3 dB either way would change joins the error bars,
            and what acts on level alone is undetermined. None: it stays as it is.
    """
    gain = 1.0 if peak is None else peak / float(np.abs(recording.waveform).max())
    waveform = (gain * recording.waveform).astype(np.float32)
    levels = [waveform * np.float32(10 ** (db / 20)) for db in (0, GAIN, -GAIN)]
    image, spec_range = trained.recipe.representation.to_image(torch.from_numpy(np.stack(levels)))
    aux = trained.to_tensors.aux_of(image, spec_range)
    (value, louder, softer), (std, *_) = network_values(trained.run.module, image, aux)
    if not all(np.isfinite(found).all() for found in (spec_range.numpy(), value, louder, softer, std)):
        raise RecordingError(f"{name_of(recording.path)}: the answers of the network are not finite.")
    space = trained.run.info.space
    by_gain = np.maximum(np.abs(louder - value), np.abs(softer - value)) / space.step
    by_gain = np.where(space.categorical, by_gain > 0, by_gain)
    uniform_std = space.range / math.sqrt(12)  # where anything is possible
    gain_std = np.where(trained.level_only, uniform_std, by_gain * space.step) if peak is not None else 0.0
    return Reading(
        recording,
        waveform,
        20 * float(np.log10(gain)),
        image[0].numpy(),
        spec_range[0].numpy(),
        value,
        np.hypot(std, gain_std),
        by_gain,
        None if trained.domain is None else float(trained.domain.percentile(image[:1])),
    )


def refine_reading(reading: Reading, trained: TrainedOn, any_gain: bool) -> Reading:
    """A reading after analysis by synthesis; what the sound shows too little of keeps the network's error bar.

    Args:
        reading: From the network.
        trained: What it was trained on.
        any_gain: The level means nothing.
    """
    spec_range = None if any_gain else reading.spec_range[None]
    found = refine(trained.recipe, reading.image[None], spec_range, reading.value[None])
    # What is not explained is taken for noise, as scipy's curve_fit does without absolute_sigma.
    std = found.std[0] * trained.run.info.space.step * max(1.0, float(found.residual[0]))
    about = {
        "residual_before": float(found.residual_before[0]),
        "residual": float(found.residual[0]),
        "renders": int(found.n_renders[0]),
        "milliseconds": found.milliseconds,
    }
    return replace(reading, value=found.value[0], std=np.minimum(std, reading.std), refinement=about)


def resynthesize(reading: Reading, trained: TrainedOn) -> Sound:
    """A recording beside its resynthesis, with all that the report shows of them."""
    recipe = trained.recipe
    true, predicted = reading.waveform[None], recipe.render(reading.value[None].astype(np.float64))
    metrics = audio_metrics(true, predicted, recipe.synth.sample_rate)
    return Sound(
        name=name_of(reading.recording.path.name),
        true=true[0],
        predicted=predicted[0],
        true_db=recipe.spectrogram_db(true)[0],
        predicted_db=recipe.spectrogram_db(predicted)[0],
        true_value=None,
        value=reading.value,
        std=reading.std,
        metrics={name: float(values[0]) for name, values in metrics.items()},
        notes=(reading.about_domain, *reading.notes, *warnings_of(reading, trained)),
    )


# ----- what is written


def write_readings(
    readings: Sequence[tuple[Reading, Sound]],
    skipped: dict[str, str],
    trained: TrainedOn,
    ckpt_path: Path,
    output_dir: Path,
) -> None:
    """Write JSON, CSV, sounds and report, and print the table."""
    entries = [describe(reading, trained) for reading, _ in readings]
    plain = {"checkpoint": name_of(ckpt_path), "recordings": entries, "skipped": skipped}
    header = [
        "file",
        "percentile",
        *(f"{spec.name}{end}" for spec in trained.parameters for end in ("", "_std")),
    ]
    rows = []
    for entry in entries:
        numbers = (found[key] for found in entry["parameters"].values() for key in ("value", "std"))
        rows.append([entry["file"], entry["percentile"], *(csv_cell(number, 7) for number in numbers)])
    write_atomically(output_dir / "predictions.json", json.dumps(plain, indent=1).encode())
    write_atomically(output_dir / "predictions.csv", csv_text(header, rows).encode())
    for number, (reading, sound) in enumerate(readings, 1):
        path = output_dir / "wav" / f"{number:03d}_{plain_stem(reading.recording.path)}.wav"
        write_atomically(path, encode_wav(sound.predicted, trained.recipe.synth.sample_rate))
    report = compose_report([sound for _, sound in readings], trained, ckpt_path)
    write_atomically(output_dir / "index.html", render_report(report).encode())
    print_readings([reading for reading, _ in readings], entries, len(skipped), output_dir)


def plain_stem(path: Path) -> str:
    """Name of a file without its ending, as one that every file system takes with a number in front."""
    return name_of(path.stem).replace("\\", "_").encode()[:LONGEST_STEM].decode(errors="ignore")


def print_readings(
    readings: Sequence[Reading], entries: Sequence[dict[str, Any]], n_skipped: int, output_dir: Path
) -> None:
    """Print the tables, where everything was written, and how many recordings were not read."""
    terminal = console()
    for reading, entry in zip(readings, entries, strict=True):
        terminal.print(reading_table(reading, entry["parameters"]))
    lines = {
        name: name_of(output_dir / file)
        for name, file in (("Predictions", "predictions.json"), ("Sounds", "wav"), ("Report", "index.html"))
    }
    if n_skipped:
        n_files = len(readings) + n_skipped
        lines["Not read"] = f"{n_skipped} of {n_files} recordings; predictions.json says why, under skipped"
    for name, text in lines.items():
        terminal.print(f"{name + ':':<12} {text}", soft_wrap=True)


def describe(reading: Reading, trained: TrainedOn) -> dict[str, Any]:
    """A reading as plain data."""
    recording = reading.recording
    parameters = {}
    plain = plain_values(trained.parameters, reading.value[None].astype(np.float64), reading.std[None])
    for p, (spec, value, std) in enumerate(zip(trained.parameters, *(column[0] for column in plain), strict=True)):
        reach = reading.value[p] + INTERVAL * reading.std[p] * np.array([-1.0, 1.0])
        low, high = spec.natural_from_value(np.clip(reach, spec.min, spec.max)).tolist()
        moves: dict[str, bool | float] = {"changes_with_3_db": bool(reading.by_gain[p])}
        if not spec.categorical:
            moves = {"steps_per_3_db": float(reading.by_gain[p])}
        parameters[spec.name] = {
            "kind": spec.kind,
            "active": value is not None,
            "value": value,
            "std": std,
            "low": None if std is None else low,
            "high": None if std is None else high,
            "units": spec.natural_units,
            "level_only": trained.level_only[p],
            **moves,
        }
    return {
        "file": name_of(recording.path),
        "duration": recording.duration,
        "onset": recording.onset,
        "gain_db": reading.gain_db,
        "notes": list(recording.notes),
        "percentile": reading.percentile,
        "in_domain": None if reading.percentile is None else reading.percentile < OUTSIDE,
        "parameters": parameters,
        "refinement": reading.refinement,
    }


def reading_table(reading: Reading, parameters: dict[str, dict[str, Any]]) -> PlainTable:
    """Values of a recording with 90 % intervals, for a terminal; `parameters` as `describe` has them."""
    about = one_line("; ".join([*reading.notes, reading.about_domain]))
    table = PlainTable(f"{name_of(reading.recording.path)}\n{about}", title_style="", show_edge=True)
    for column in ("parameter", "value", "90 % interval", "units", f"steps/{GAIN:g} dB"):
        table.add_column(
            column, justify="left" if column in ("parameter", "units") else "right", no_wrap=True, max_width=WIDEST
        )
    for name, found in parameters.items():
        table.add_row(name, *reading_cells(found))
    if reading.refinement is not None:
        residuals = "Refined: residual {residual_before:.3g} before, {residual:.3g} after"
        table.caption = residuals.format(**reading.refinement)
    return table


def reading_cells(found: dict[str, Any]) -> tuple[str, str, str, str]:
    """Value, interval, units and dependence on the level of a parameter, as `describe` has it."""
    if not found["active"]:
        return "not active", "", "", ""
    if found["level_only"]:
        by_gain = "level alone"
    elif "changes_with_3_db" in found:
        by_gain = "another" if found["changes_with_3_db"] else "the same"
    else:
        by_gain = f"{found['steps_per_3_db']:.1f}"
    std = found["std"]
    if std is None:
        return found["value"], "", found["units"], by_gain
    digits = max(0, 1 - math.floor(math.log10(std))) if std > 0 else 6  # two digits of the standard deviation
    interval = f"{found['low']:.{digits}f} … {found['high']:.{digits}f}"
    value = f"{found['value']:.{0 if found['kind'] == 'integer' else digits}f}"
    return value, interval, found["units"], by_gain


def compose_report(sounds: Sequence[Sound], trained: TrainedOn, ckpt_path: Path) -> Report:
    """The page to listen to recordings beside their resynthesis."""
    sample_rate = trained.recipe.synth.sample_rate
    return Report(
        title="Predictions from recordings",
        facts={
            "Checkpoint": name_of(ckpt_path),
            "Dataset": trained.run.info.dataset_name or "not named",
            "Sample rate": f"{sample_rate:,} Hz",
        },
        parameters=trained.parameters,
        sample_rate=sample_rate,
        axes=Axes.of(trained.recipe.view),
        scores=[],
        true_value=None,
        value=None,
        sounds=sounds,
    )


def warnings_of(reading: Reading, trained: TrainedOn) -> list[str]:
    """Notes about values that are less certain than they seem."""
    texts = []
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


# ----- a dataset


def predict_dataset(run: Run, data_dir: str, settings: PredictSettings, output_dir: Path) -> None:
    """Write the predictions for a split of a VIMH set as CSV, beside the true values."""
    reader = VIMHReader(data_dir)
    datamodule: VIMHDataModule = restore_datamodule(run, settings.trusted_modules, data_dir=data_dir)
    samples = reader.split(settings.split)
    if not len(samples):
        raise ConfigError(f"{data_dir}: its split {settings.split} is empty. Choose another: split=train")
    to_tensors = BatchFormat(run.info.parameters, datamodule.aux, datamodule.measure)
    rows = []
    with progress(len(samples), "Predicting", "samples") as advance:
        for first in range(0, len(samples), AT_ONCE):
            batch = to_tensors(samples.read(np.arange(first, min(first + AT_ONCE, len(samples)))))
            value, std = network_values(run.module, batch["image"], batch["aux"])
            (true, _), said = (
                plain_values(run.info.parameters, *columns) for columns in ((batch["value"].numpy(),), (value, std))
            )
            cells = np.stack([*said, true], axis=2).reshape(len(value), -1)
            rows += [[n, *(csv_cell(cell, 7) for cell in row)] for n, row in enumerate(cells, first)]
            advance(len(value))
    names = [f"{spec.name}{end}" for spec in run.info.parameters for end in ("", "_std", "_true")]
    path = output_dir / "predictions.csv"
    write_atomically(path, csv_text(["sample", *names], rows).encode())
    console().print(f"Predictions: {name_of(path)}", soft_wrap=True)
