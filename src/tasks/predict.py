"""Reads parameters from recordings, resynthesizes them, and says how far to trust it.

python src/predict.py audio=door.wav
python src/predict.py run=best audio='sounds/*.flac' refine=true
python src/predict.py dataset=data/vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from pydantic import Field

from src.checkpoints.run import Run, load_run, restore_datamodule
from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import BatchFormat
from src.errors import ConfigError, NSMError
from src.evaluation.audio_metrics import audio_metrics
from src.evaluation.estimates import AT_ONCE, network_values
from src.evaluation.scoring import csv_cell, csv_text, plain_values
from src.files import write_atomically
from src.listening.report import Axes, Report, Side, Sound, render_report
from src.pages.encoding import encode_wav
from src.programs.command_line import FULL_ERROR
from src.programs.output import WIDEST, PlainTable, RankedLogger, console, progress
from src.programs.run_dirs import checkpoint_to_read
from src.readings import (
    GAIN,
    RecordingReading,
    TrainedOn,
    describe,
    gain_cell,
    read_audio,
    refine_reading,
    refined_line,
    trained_on,
    value_cells,
    warnings_of,
)
from src.recordings import AudioFile, find_files
from src.sections import Flag, Modules, Section, Text, WholeNumber, read_section
from src.text import name_of, one_line
from src.vimh.format import SPLITS, Split
from src.vimh.reader import VIMHReader

log = RankedLogger(__name__)

LONGEST_STEM = 150  # bytes of a name that a file of a sound takes over


class NothingReadError(ConfigError):
    """None of the recordings could be used."""

    exit_code = 2


class PredictSettings(Section):
    """Settings of the program; `configs/predict.yaml` explains each."""

    run: Text | None
    ckpt_path: Text | None
    audio: Text | None
    dataset: Text | None
    split: Split = Field(description=f"choose one of {', '.join(SPLITS)}")
    normalize: Flag
    peak: float | None = Field(gt=0, le=1, description="it must be above 0 and at most 1, which is full scale")
    refine: Flag
    seed: WholeNumber
    trusted_modules: Modules


def predict(cfg: DictConfig) -> None:
    """Predict as configured.

    Raises:
        ConfigError: If neither or both of `audio` and `dataset` are named.
        NothingReadError: If no recording could be used.
    """
    settings = read_section(PredictSettings, cfg)
    if bool(settings.audio) == bool(settings.dataset):
        raise ConfigError("Name either recordings, audio=FILE|DIR|GLOB (make pr AUDIO=…), or a VIMH set, dataset=DIR.")
    ckpt_path = checkpoint_to_read(settings.run, settings.ckpt_path, cfg.paths.log_dir)
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
    trained = trained_on(run, settings.seed, settings.trusted_modules)
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


def read_file(path: Path, trained: TrainedOn, settings: PredictSettings) -> tuple[RecordingReading, Sound]:
    """What the network reads from a file, and the sound to listen to beside its resynthesis."""
    reading = read_audio(AudioFile.open(path), trained, settings.normalize, settings.peak)
    if not settings.refine:
        return reading, resynthesize(reading, trained)
    refined = refine_reading(reading, trained.recipe)
    return refined, resynthesize(refined, trained, reading)


def reason_for(path: Path, error: Exception) -> str:
    """Why a file could not be used, beginning with its name."""
    if isinstance(error, NSMError) and str(error).startswith(name_of(path)):
        return str(error)
    kind = "" if isinstance(error, NSMError) else f"{type(error).__name__}: "
    return f"{name_of(path)}: cannot be used: {kind}{error}"


def resynthesize(reading: RecordingReading, trained: TrainedOn, before: RecordingReading | None = None) -> Sound:
    """A recording beside its resyntheses, with all that the report shows of them.

    Args:
        reading: The answer.
        trained: What the network was trained on.
        before: The same before refinement; None: there was none.
    """
    recipe, true = trained.recipe, reading.waveform[None]
    answers = {"Predicted": reading} if before is None else {"Refined": reading, "Unrefined": before}
    sides = [Side("Recording", true[0], recipe.spectrogram_db(true)[0], None)]
    for name, answer in answers.items():
        rendered = recipe.render(answer.value[None].astype(np.float64))
        found = audio_metrics(true, rendered, recipe.synth.sample_rate)
        metrics = {metric: float(values[0]) for metric, values in found.items()}
        db = recipe.spectrogram_db(rendered)[0]
        sides.append(Side(name, rendered[0], db, answer.value, answer.std, metrics))
    notes = (reading.about_domain, *reading.notes, *warnings_of(reading, trained))
    return Sound(name_of(reading.recording.path.name), sides, notes)


# ----- what is written


def write_readings(
    readings: Sequence[tuple[RecordingReading, Sound]],
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
        write_atomically(path, encode_wav(sound.sides[1].waveform, trained.recipe.synth.sample_rate))
    report = compose_report([sound for _, sound in readings], trained, ckpt_path)
    write_atomically(output_dir / "index.html", render_report(report).encode())
    print_readings([reading for reading, _ in readings], entries, len(skipped), output_dir)


def plain_stem(path: Path) -> str:
    """Name of a file without its ending, as one that every file system takes with a number in front."""
    return name_of(path.stem).replace("\\", "_").encode()[:LONGEST_STEM].decode(errors="ignore")


def print_readings(
    readings: Sequence[RecordingReading], entries: Sequence[dict[str, Any]], n_skipped: int, output_dir: Path
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


def reading_table(reading: RecordingReading, parameters: dict[str, dict[str, Any]]) -> PlainTable:
    """Values of a recording with 90 % intervals, for a terminal; `parameters` as `describe` has them."""
    about = one_line("; ".join([*reading.notes, reading.about_domain]))
    table = PlainTable(f"{name_of(reading.recording.path)}\n{about}", title_style="", show_edge=True)
    for column in ("parameter", "value", "90 % interval", "units", f"steps/{GAIN:g} dB"):
        table.add_column(
            column, justify="left" if column in ("parameter", "units") else "right", no_wrap=True, max_width=WIDEST
        )
    for name, found in parameters.items():
        table.add_row(name, *value_cells(found), gain_cell(found))
    if reading.refinement is not None:
        table.caption = refined_line(reading.refinement)
    return table


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
        kind="recordings",
    )


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
