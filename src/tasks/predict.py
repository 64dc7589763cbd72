"""Reads parameters from recordings, resynthesizes them, and says how far to trust it; or names what is heard.

python src/predict.py audio=door.wav
python src/predict.py run=best audio='sounds/*.flac' refine=true
python src/predict.py dataset=data/vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig
from pydantic import Field

from src.checkpoints.run import Run, load_run, restore_datamodule
from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import BatchFormat
from src.errors import ConfigError, NSMError
from src.evaluation.estimates import AT_ONCE, network_values
from src.evaluation.scoring import csv_cell, csv_text, plain_values
from src.files import write_atomically
from src.programs.command_line import FULL_ERROR
from src.programs.output import RankedLogger, console, progress
from src.programs.run_dirs import checkpoint_to_read
from src.readings.network import TrainedOn, trained_on, with_hop
from src.readings.reading import held_together, joint_scale_of, read_audio
from src.readings.words import describe, interval, title_of
from src.recipe import ROOT
from src.recordings import AudioFile, find_files
from src.sections import Flag, Modules, Section, Text, WholeNumber, read_section
from src.tasks.answer_tables import frames_csv, print_overview, print_reading, readings_csv
from src.tasks.exhibits import Exhibits, Hearings, Resyntheses
from src.text import name_of, names_below
from src.vimh.format import SPLITS, Split
from src.vimh.reader import VIMHReader

log = RankedLogger(__name__)


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
    hop: float | None = Field(gt=0, description="it must be a number of seconds above 0")
    refine: Flag
    joint: Flag
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


class Told(NamedTuple):
    """What is told of a recording.

    Attributes:
        title: Its name, how far it is and what was done to it, in lines.
        entry: The answer as plain data.
    """

    title: str
    entry: dict[str, Any]


def predict_recordings(run: Run, ckpt_path: Path, audio: str, settings: PredictSettings, output_dir: Path) -> None:
    """Read every recording, and write what was read, and a page to look at and to listen to.

    Whatever goes wrong with one recording, the others are read.

    Raises:
        ConfigError: If the network has no use for a setting.
        NothingReadError: If none could be used.
    """
    files = find_files(audio)
    if settings.joint:
        joint_scale_of(run)  # refuses what no recording could be read with
    trained = trained_on(run, settings.seed, settings.trusted_modules)
    if settings.hop is not None:
        trained = with_hop(trained, settings.hop)
    exhibits = exhibits_for(trained, settings.refine)
    told, skipped = [], {}
    with progress(len(files), "Predicting", "recordings") as advance:
        for path, name in zip(files, names_below(map(str, files)), strict=True):
            try:
                told.append(read_file(path, name_of(name), trained, settings, exhibits))
            except Exception as error:  # of whatever kind: a damaged file, too little memory, what an analysis refuses
                skipped[name_of(path)] = reason = reason_for(path, error)
                log.error("Skipped %s", reason, exc_info=os.environ.get(FULL_ERROR) == "1")
            advance(1)
    if not told:
        lines = "\n  ".join(skipped.values())
        raise NothingReadError(f"{len(skipped)} of {len(files)} recordings were skipped:\n  {lines}")
    places = write_answers([entry for _, entry in told], skipped, trained, ckpt_path, output_dir)
    print_answers(told, len(skipped), places | exhibits.write(output_dir, facts_of(trained, ckpt_path)))


def exhibits_for(trained: TrainedOn, refine: bool) -> Exhibits:
    """What is shown of recordings: beside their resyntheses where a synth renders them, or by themselves.

    Raises:
        ConfigError: If there is no synth to refine with.
    """
    if trained.recipe is not None:
        return Resyntheses(trained, trained.recipe, refine)
    if refine:
        raise ConfigError(
            f"refine=true: {trained.run.info.title} is a set of recordings, and no synth renders sounds to search "
            "among. Leave refine=false."
        )
    return Hearings(trained)


def read_file(path: Path, name: str, trained: TrainedOn, settings: PredictSettings, exhibits: Exhibits) -> Told:
    """What the network reads from a file, whose reading joins what is shown under a name."""
    reading = read_audio(AudioFile.open(path), trained, settings.normalize, settings.peak)
    reading = exhibits.add(held_together(reading, trained.run) if settings.joint else reading, name)
    return Told(title_of(reading), describe(reading, trained))


def reason_for(path: Path, error: Exception) -> str:
    """Why a file could not be used, beginning with its name."""
    if isinstance(error, NSMError) and str(error).startswith(name_of(path)):
        return str(error)
    kind = "" if isinstance(error, NSMError) else f"{type(error).__name__}: "
    return f"{name_of(path)}: cannot be used: {kind}{error}"


def facts_of(trained: TrainedOn, ckpt_path: Path) -> dict[str, str]:
    """What the page says of the network."""
    return {
        "Checkpoint": in_project(ckpt_path),
        "Dataset": trained.run.info.dataset_name or "not named",
        "Sample rate": f"{trained.sample_rate:,} Hz",
    }


def in_project(path: Path) -> str:
    """A path as seen from the project's directory, if it is in it."""
    absolute = path.absolute()
    return name_of(absolute.relative_to(ROOT) if absolute.is_relative_to(ROOT) else path)


def write_answers(
    entries: Sequence[dict[str, Any]],
    skipped: dict[str, str],
    trained: TrainedOn,
    ckpt_path: Path,
    output_dir: Path,
) -> dict[str, Path]:
    """Write JSON and CSV; returns where, by what they are called on the screen."""
    plain = {"checkpoint": name_of(ckpt_path), "recordings": entries, "skipped": skipped}
    files = {"Predictions": ("predictions.json", json.dumps(plain, indent=1))}
    files["Table"] = ("predictions.csv", readings_csv(entries, trained.parameters))
    if trained.framing is not None:
        files["Frames"] = ("frames.csv", frames_csv(entries, trained.parameters))
    for name, text in files.values():
        write_atomically(output_dir / name, text.encode())
    return {label: output_dir / name for label, (name, _) in files.items()}


def print_answers(told: Sequence[Told], n_skipped: int, places: dict[str, Path]) -> None:
    """Print one recording in full, or a line for each of several, where the rest is, and how many were not read."""
    terminal = console()
    if len(told) == 1:
        print_reading(*told[0], terminal)
    else:
        print_overview([entry for _, entry in told], terminal)
    lines = {label: name_of(path) for label, path in places.items()}
    if n_skipped:
        n_files = len(told) + n_skipped
        lines["Not read"] = f"{n_skipped} of {n_files} recordings; predictions.json says why, under skipped"
    for name, text in lines.items():
        terminal.print(f"{name + ':':<12} {text}", soft_wrap=True)


# ----- a dataset


def predict_dataset(run: Run, data_dir: str, settings: PredictSettings, output_dir: Path) -> None:
    """Write the predictions for a split of a VIMH set as CSV, beside the true values."""
    reader = VIMHReader(data_dir)
    datamodule: VIMHDataModule = restore_datamodule(run, settings.trusted_modules, data_dir=data_dir)
    samples = reader.split(settings.split)
    if not len(samples):
        raise ConfigError(f"{data_dir}: its split {settings.split} is empty. Choose another: split=train")
    to_tensors = BatchFormat(run.info.parameters, datamodule.aux, datamodule.measure)
    scale = joint_scale_of(run) if settings.joint else 1.0
    rows = []
    with progress(len(samples), "Predicting", "samples") as advance:
        for first in range(0, len(samples), AT_ONCE):
            batch = to_tensors(samples.read(np.arange(first, min(first + AT_ONCE, len(samples)))))
            value, std = network_values(run.module, batch["image"], batch["aux"])
            (true, _), said = (
                plain_values(run.info.parameters, *pair) for pair in ((batch["value"].numpy(),), (value, std))
            )
            ends = interval(run.info.space, value, scale * std) if settings.joint else np.empty((*value.shape, 0))
            ends = ends.astype(object)
            ends[[[cell is None for cell in row] for row in said[1]]] = None
            cells = np.concatenate([np.stack([*said, true], axis=2), ends], axis=2).reshape(len(value), -1)
            rows += [[n, *(csv_cell(cell, 7) for cell in row)] for n, row in enumerate(cells, first)]
            advance(len(value))
    columns = ("", "_std", "_true", *(("_low", "_high") if settings.joint else ()))
    names = [f"{spec.name}{end}" for spec in run.info.parameters for end in columns]
    path = output_dir / "predictions.csv"
    write_atomically(path, csv_text(["sample", *names], rows).encode())
    console().print(f"Predictions: {name_of(path)}", soft_wrap=True)
