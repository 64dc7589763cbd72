"""Reads parameters from recordings, resynthesizes them, and says how far to trust it.

python src/predict.py audio=door.wav
python src/predict.py run=best audio='sounds/*.flac' refine=true
python src/predict.py dataset=data/vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p
"""

import json
import math
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
from src.programs.output import WIDEST, PlainTable, RankedLogger, Terminal, cells_of, console, fitted, progress
from src.programs.run_dirs import checkpoint_to_read
from src.readings.network import GAIN, TrainedOn, trained_on
from src.readings.reading import (
    RecordingReading,
    held_together,
    joint_scale_of,
    read_audio,
    refine_reading,
    with_ridges,
)
from src.readings.words import (
    about_domain,
    describe,
    distance_text,
    gain_cell,
    interval,
    refined_line,
    value_cells,
    warnings_of,
)
from src.recordings import AudioFile, find_files
from src.sections import Flag, Modules, Section, Text, WholeNumber, read_section
from src.text import name_of, one_line
from src.vimh.format import SPLITS, Split
from src.vimh.reader import VIMHReader

log = RankedLogger(__name__)

LONGEST_LINE = 400  # characters of a sentence with names out of a file
LONGEST_STEM = 150  # bytes of a name that a file of a sound takes over
SHORTEST_NAME, LONGEST_NAME = 14, 24  # characters that names of files are cut to in a table
HEADING = 12  # characters of a line of a heading
NARROW = 60  # characters of a terminal


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


def predict_recordings(run: Run, ckpt_path: Path, audio: str, settings: PredictSettings, output_dir: Path) -> None:
    """Read every recording, and write what was read, resynthesized sounds and the report.

    Whatever goes wrong with one recording, the others are read.

    Raises:
        NothingReadError: If none could be used.
    """
    files = find_files(audio)
    if settings.joint:
        joint_scale_of(run)  # refuses what no recording could be read with
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
    if settings.joint:
        reading = held_together(reading, trained.run)
    if not settings.refine:
        reading = with_ridges(reading, trained.recipe)
        return reading, resynthesize(reading, trained)
    refined = with_ridges(refine_reading(reading, trained.recipe), trained.recipe)
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
        if answer.distance is not None:
            metrics["distance"] = answer.distance
        db = recipe.spectrogram_db(rendered)[0]
        sides.append(Side(name, rendered[0], db, answer.value, answer.std, metrics))
    notes = (about_domain(reading), *reading.notes, *warnings_of(reading, trained))
    return Sound(name_of(reading.recording.path.name), sides, notes, reading.zone == "far", reading.ridges)


# ----- what is written


def write_readings(
    readings: Sequence[tuple[RecordingReading, Sound]],
    skipped: dict[str, str],
    trained: TrainedOn,
    ckpt_path: Path,
    output_dir: Path,
) -> None:
    """Write JSON, CSV, sounds and report, and print what was read."""
    entries = [describe(reading, trained) for reading, _ in readings]
    plain = {"checkpoint": name_of(ckpt_path), "recordings": entries, "skipped": skipped}
    write_atomically(output_dir / "predictions.json", json.dumps(plain, indent=1).encode())
    write_atomically(output_dir / "predictions.csv", readings_csv(entries).encode())
    for number, (reading, sound) in enumerate(readings, 1):
        path = output_dir / "wav" / f"{number:03d}_{plain_stem(reading.recording.path)}.wav"
        write_atomically(path, encode_wav(sound.sides[1].waveform, trained.recipe.synth.sample_rate))
    report = compose_report([sound for _, sound in readings], trained, ckpt_path)
    write_atomically(output_dir / "index.html", render_report(report).encode())
    print_readings([reading for reading, _ in readings], entries, len(skipped), output_dir)


def readings_csv(entries: Sequence[dict[str, Any]]) -> str:
    """A line for each recording, as `describe` has them: its distance, and value, error bar and edge of everything."""
    names = [f"{name}{end}" for name in entries[0]["parameters"] for end in ("", "_std", "_edge")]
    rows = []
    for entry in entries:
        cells = [entry["file"], csv_cell(entry["distance"], 4), entry["zone"] or "", csv_cell(entry["db_away"], 4)]
        for found in entry["parameters"].values():
            cells += [csv_cell(found["value"], 7), csv_cell(found["std"], 7), found["edge"] or ""]
        rows.append(cells)
    return csv_text(["file", "distance", "zone", "db_away", *names], rows)


def plain_stem(path: Path) -> str:
    """Name of a file without its ending, as one that every file system takes with a number in front."""
    return name_of(path.stem).replace("\\", "_").encode()[:LONGEST_STEM].decode(errors="ignore")


def print_readings(
    readings: Sequence[RecordingReading], entries: Sequence[dict[str, Any]], n_skipped: int, output_dir: Path
) -> None:
    """Print one recording in full, or a line for each of several, where the rest is, and how many were not read."""
    terminal = console()
    if len(readings) == 1:
        terminal.print(reading_table(readings[0], entries[0]["parameters"]))
        for ridge in entries[0]["ridges"]:
            terminal.print(one_line(ridge["words"], LONGEST_LINE), style="italic")
    else:
        print_overview(entries, terminal)
    lines = {
        name: name_of(output_dir / file)
        for name, file in (
            ("Predictions", "predictions.json"),
            ("Table", "predictions.csv"),
            ("Sounds", "wav"),
            ("Report", "index.html"),
        )
    }
    if n_skipped:
        n_files = len(readings) + n_skipped
        lines["Not read"] = f"{n_skipped} of {n_files} recordings; predictions.json says why, under skipped"
    for name, text in lines.items():
        terminal.print(f"{name + ':':<12} {text}", soft_wrap=True)


def print_overview(entries: Sequence[dict[str, Any]], terminal: Terminal) -> None:
    """Print a line for each recording, the nearest to the training first, and what it means.

    Args:
        entries: As `describe` has them.
        terminal: As many parameters are shown as it has room for.
    """
    table, n_left = overview_table(entries, terminal.width)
    terminal.print(table)
    texts = [
        "distance: 95 % of the training's sounds are within 1; far answers mean little",
        "±: half of a 90 % interval; ≤, ≥: at or beyond an end of the range",
    ]
    if n_left:
        texts.append(f"{n_left} more parameter{'s are' if n_left > 1 else ' is'} in the files below")
    for text in texts:
        terminal.print(text)


def overview_table(entries: Sequence[dict[str, Any]], width: int) -> tuple[PlainTable, int]:
    """That table, and the number of parameters that it has no room for; arguments as for `print_overview`."""
    names = short_names([entry["file"] for entry in entries], SHORTEST_NAME if width < NARROW else LONGEST_NAME)
    cells = {name: [short_cell(entry["parameters"][name]) for entry in entries] for name in entries[0]["parameters"]}
    shown = as_fits(cells, width - max(map(cells_of, ["file", *names])) - len("  distance  inside"))
    table = PlainTable(f"{len(entries)} recordings, the nearest to the training first", title_style="")
    table.collapse_padding, table.pad_edge = True, False
    for heading in ("file", "distance", "zone"):
        table.add_column(heading, justify="right" if heading == "distance" else "left", no_wrap=True)
    for name in shown:
        table.add_column("\n".join(heading_lines(name)), justify="right", no_wrap=True)
    known = [np.inf if entry["distance"] is None else entry["distance"] for entry in entries]
    for n in np.argsort(known, kind="stable").tolist():
        distance, zone = entries[n]["distance"], entries[n]["zone"] or ""
        distance_cell = "" if distance is None else distance_text(distance)
        table.add_row(names[n], distance_cell, zone, *(cells[name][n] for name in shown))
        table.rows[-1].style = "dim" if zone == "far" else ""
    return table, len(cells) - len(shown)


def short_names(files: Sequence[str], most: int) -> list[str]:
    """Names of files, without their directory where it is the same for all, of so many characters at most."""
    directories = {os.path.dirname(file) for file in files}
    shown = [os.path.basename(file) for file in files] if len(directories) == 1 else files
    return [fitted(one_line(file), most) for file in shown]


def as_fits(cells: dict[str, list[str]], room: int) -> list[str]:
    """The first names of columns whose headings and cells fit beside each other into a width, `room`."""
    shown = []
    for name, texts in cells.items():
        room -= 2 + max(map(cells_of, [*heading_lines(name), *texts]))
        if room < 0:
            break
        shown.append(name)
    return shown


def heading_lines(name: str) -> list[str]:
    """The name of a parameter in lines of a word or two."""
    lines = [""]
    for word in fitted(name, WIDEST).split("_"):
        if lines[-1] and cells_of(lines[-1]) + cells_of(word) >= HEADING:
            lines.append("")
        lines[-1] += f"{'_' if lines[-1] else ''}{word}"
    return lines


def short_cell(found: dict[str, Any]) -> str:
    """A value with half of its 90 % interval in few characters; `found` as `describe_values` has it."""
    if not found["active"]:
        return "–"
    if found["std"] is None:
        return fitted(found["value"], HEADING)
    half = (found["high"] - found["low"]) / 2
    digits = max(0, -math.floor(math.log10(half))) if half > 0 else 2
    sign = {"low": "≤", "high": "≥", None: ""}[found["edge"]]
    return f"{sign}{found['value']:.{0 if found['kind'] == 'integer' else digits}f} ±{half:.{digits}f}"


def reading_table(reading: RecordingReading, parameters: dict[str, dict[str, Any]]) -> PlainTable:
    """Values of a recording with 90 % intervals, for a terminal; `parameters` as `describe` has them."""
    about = [one_line(about_domain(reading)), *([one_line("; ".join(reading.notes))] if reading.notes else [])]
    table = PlainTable("\n".join([name_of(reading.recording.path), *about]), title_style="", show_edge=True)
    interval = "90 % interval" if reading.together is None else "90 % together"
    for column in ("parameter", "value", interval, "units", f"steps/{GAIN:g} dB"):
        table.add_column(
            column, justify="left" if column in ("parameter", "units") else "right", no_wrap=True, max_width=WIDEST
        )
    for name, found in parameters.items():
        table.add_row(name, *value_cells(found), gain_cell(found))
        table.rows[-1].style = "dim" if reading.zone == "far" else ""
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
