"""Reads parameters from recordings, resynthesizes them, and says how far to trust it.

python src/predict.py audio=door.wav
python src/predict.py ckpt_path=logs/train/.../epoch_042.ckpt audio='sounds/*.flac' refine=true
python src/predict.py dataset=data/vimh-32x32x1_8000Hz_1p0s_16384dss_moog_4p
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from src.checkpoints.run import Run, check_same_heads, load_run, restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_dataset import BatchFormat
from src.errors import ConfigError, VIMHError, check_number
from src.evaluation.audio_metrics import audio_metrics
from src.evaluation.domain import Domain
from src.evaluation.resynthesis import Voice, axes_of, voice_of
from src.listening.report import Report, Sound, encode_wav, render_report
from src.models.predictor import Predictor
from src.programs.output import RankedLogger, progress, write_atomically
from src.programs.run_dirs import trained_checkpoint
from src.recordings import Recording, RecordingError, find_files, find_onset, read_recording
from src.vimh.format import SPLITS
from src.vimh.reader import VIMHReader

log = RankedLogger(__name__)

OUTSIDE = 99.0  # percentile from which on a recording is called outside of the training domain
N_KNOWN = 64  # sounds of the training's kind that tell its peak, and which parameters act on level alone
ALIKE = 1e-3  # relative difference of two waveforms up to which they are the same but for their level
GAIN = 3.0  # dB either way, to see what hangs on the level
INTERVAL = 1.645  # standard deviations to either side of 90 %
AT_ONCE = 4096  # samples of a dataset


@dataclass(frozen=True)
class TrainedOn:
    """What a network was trained on, as far as recordings are concerned.

    Attributes:
        run: The trained network.
        voice: Renders its parameters, and makes the images that it reads.
        to_tensors: Makes batches of images.
        peak: Median of the peaks of its sounds.
        lead: Where its sounds begin to be heard, median, s.
        level_only: Whether a parameter acts on level alone, one each.
    """

    run: Run
    voice: Voice
    to_tensors: BatchFormat
    peak: float
    lead: float
    level_only: tuple[bool, ...]


@dataclass(frozen=True)
class Reading:
    """What a network reads from a recording.

    Attributes:
        recording: Where it is from.
        heard: Its waveform at the gain that it is looked at with, `(time,)`.
        gain_db: That gain.
        image: uint8, `(channel, freq, time)`.
        spec_range: dB, `(2,)`.
        value: Natural units, `(parameter,)`.
        std: Standard deviations, natural units, `(parameter,)`.
        by_gain: JND steps by which a value moves when the level changes by 3 dB, `(parameter,)`.
        percentile: Of the training images, how many percent are nearer to the others than this one; None: not known.
        refined: What refinement says of itself; None: there was none.
    """

    recording: Recording
    heard: np.ndarray
    gain_db: float
    image: np.ndarray
    spec_range: np.ndarray
    value: np.ndarray
    std: np.ndarray
    by_gain: np.ndarray
    percentile: float | None
    refined: dict[str, float] | None = None


def predict(cfg: DictConfig) -> None:
    """Predict as configured.

    Raises:
        ConfigError: If neither or both of `audio` and `dataset` are named, or some recordings could not be used.
    """
    if bool(cfg.audio) == bool(cfg.dataset):
        raise ConfigError("Name either what to listen to, audio=FILE|DIR|GLOB, or a VIMH set, dataset=DIR.")
    ckpt_path = trained_checkpoint(cfg.ckpt_path, cfg.paths.log_dir)
    log.info("Checkpoint: %s", ckpt_path)
    run = load_run(ckpt_path, cfg.trusted_modules)
    if cfg.audio:
        predict_recordings(cfg, run, ckpt_path)
    else:
        predict_dataset(cfg, run)


# ----- recordings


def predict_recordings(cfg: DictConfig, run: Run, ckpt_path: Path) -> None:
    """Read every recording, and write what was read, resynthesized sounds and the report.

    Raises:
        ConfigError: After all that, if some recordings could not be used.
    """
    files = find_files(str(cfg.audio))
    kind = kind_of(run, cfg)
    readings, skipped = [], {}
    with progress(len(files), "Predicting", "recordings") as advance:
        for path in files:
            try:
                synth = kind.voice.synth
                recording = read_recording(path, synth.sample_rate, synth.duration, kind.lead)
                reading = read_parameters(recording, kind, wanted_peak(cfg, kind))
                readings.append(refined(reading, kind, bool(cfg.normalize)) if cfg.refine else reading)
            except RecordingError as error:
                log.error("Skipped %s", error)
                skipped[str(path)] = str(error)
            advance(1)
    if readings:
        write_readings(readings, skipped, kind, ckpt_path, Path(cfg.paths.output_dir))
    if skipped:
        lines = "\n  ".join(skipped.values())
        raise ConfigError(f"{len(skipped)} of {len(files)} recordings were skipped:\n  {lines}")


def kind_of(run: Run, cfg: DictConfig) -> TrainedOn:
    """What a network was trained on.

    Raises:
        VIMHError: If its dataset does not say how its images were made.
    """

    def instantiate(section: Any, **kwargs: Any) -> Any:
        return instantiate_trusted(section, cfg.trusted_modules, **kwargs)

    if run.info.generator is None:
        raise VIMHError(
            f"{run.info.dataset_name or 'The dataset'} of this checkpoint does not say how its images were made (it "
            "has no entry generator), so a recording cannot be made an image of that kind. Its own images can be "
            "predicted: dataset=DIR."
        )
    voice = voice_of(run.info, instantiate)
    data = run.config["data"]
    measure = instantiate(data["measure"]) if data.get("measure") else None
    n_parameters = len(run.info.parameters)
    known = run.info.space.value_from_normalized(np.random.default_rng(cfg.seed).random((N_KNOWN, n_parameters)))
    sounds = voice.render(known)
    sample_rate = voice.synth.sample_rate
    return TrainedOn(
        run,
        voice,
        BatchFormat(run.info.parameters, data["aux"], measure),
        float(np.median(np.abs(sounds).max(axis=1))),
        float(np.median([find_onset(sound, sample_rate) for sound in sounds])) / sample_rate,
        tuple(acts_on_level_alone(voice, known, p) for p in range(n_parameters)),
    )


def acts_on_level_alone(voice: Voice, known: np.ndarray, p: int) -> bool:
    """Whether sounds stay the same but for their level while a parameter goes from its lowest to its highest value.

    Args:
        voice: Renders.
        known: Values to see it at, natural units, `(sound, parameter)`.
        p: Number of the parameter.
    """
    spec = voice.space.varying[p]
    sounds = []
    for value in (spec.min, spec.max):
        at = known.copy()
        at[:, p] = value
        waveform = voice.render(at).astype(np.float64)
        norm = np.linalg.norm(waveform, axis=1, keepdims=True)
        sounds.append(waveform / np.maximum(norm, 1e-12))
    return bool((np.linalg.norm(sounds[0] - sounds[1], axis=1) < ALIKE).all())


def wanted_peak(cfg: DictConfig, kind: TrainedOn) -> float | None:
    """The peak that recordings get, 1 being full scale; None: they stay as they are."""
    if not cfg.normalize:
        return None
    if cfg.peak is None:
        return kind.peak
    return float(check_number("peak", cfg.peak, above=0, most=1, hint=", which is full scale"))


def read_parameters(recording: Recording, kind: TrainedOn, peak: float | None) -> Reading:
    """What the network reads from a recording.

    Args:
        recording: Of the duration and rate of the dataset.
        kind: What the network was trained on.
        peak: That the recording gets, its gain being arbitrary: what 3 dB either way would change joins the error bars,
            and of what acts on level alone nothing is known. None: it stays as it is.
    """
    gain = 1.0 if peak is None else peak / float(np.abs(recording.waveform).max())
    heard = (gain * recording.waveform).astype(np.float32)
    levels = [heard * np.float32(10 ** (db / 20)) for db in (0, GAIN, -GAIN)]
    image, spec_range = kind.voice.representation.to_image(torch.from_numpy(np.stack(levels)))
    values, stds = predict_images(kind.run, kind.to_tensors, image, spec_range)
    (value, louder, softer), std = values[:, None], stds[:1]
    space = kind.run.info.space
    by_gain = np.maximum(np.abs(louder - value), np.abs(softer - value))[0] / space.step
    anything = space.range / math.sqrt(12)  # of a uniform distribution
    unknown_gain = np.where(kind.level_only, anything, by_gain * space.step) if peak is not None else 0.0
    domain = kind.run.domain
    return Reading(
        recording,
        heard,
        20 * float(np.log10(gain)),
        image[0].numpy(),
        spec_range[0].numpy(),
        value[0],
        np.hypot(std[0], unknown_gain),
        by_gain,
        None if domain is None else float(Domain.from_dict(domain).percentile(image[:1])),
    )


def predict_images(
    run: Run, to_tensors: BatchFormat, image: Tensor, spec_range: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard deviations in natural units, `(sample, parameter)` each.

    Args:
        run: The trained network.
        to_tensors: Knows the conditioning inputs.
        image: uint8, `(sample, channel, freq, time)`.
        spec_range: dB, `(sample, 2)`.
    """
    return predict_batch(run, image, to_tensors.aux_of(image, spec_range))


def predict_batch(run: Run, image: Tensor, aux: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The same with conditioning inputs that are there already, `(sample, n_aux)`."""
    with torch.inference_mode():
        value, std = Predictor(run.module)(image, aux)
    return value.numpy(), std.numpy()


def refined(reading: Reading, kind: TrainedOn, any_gain: bool) -> Reading:
    """A reading after analysis by synthesis; what the sound shows too little of keeps the network's error bar.

    Args:
        reading: From the network.
        kind: What it was trained on.
        any_gain: The level means nothing.
    """
    spec_range = None if any_gain else reading.spec_range[None]
    found = kind.voice.refine(reading.image[None], spec_range, reading.value[None])
    # What is not explained is taken for noise, as scipy's curve_fit does without absolute_sigma.
    std = found.bound[0] * kind.run.info.space.step * max(1.0, float(found.residual[0]))
    about = {
        "residual_before": float(found.residual_before[0]),
        "residual": float(found.residual[0]),
        "renders": int(found.n_renders[0]),
        "milliseconds": found.milliseconds,
    }
    return replace(reading, value=found.value[0], std=np.where(std < reading.std, std, reading.std), refined=about)


def remarks(reading: Reading, p: int, kind: TrainedOn) -> str:
    """What to know about a value before it is believed."""
    if kind.level_only[p]:
        return "acts on level alone, and a recording's gain is arbitrary"
    if reading.by_gain[p] >= 1:
        return f"moves by {reading.by_gain[p]:.1f} steps with {GAIN:g} dB of gain"
    return ""


def about_domain(reading: Reading) -> str:
    """Whether a recording is like what the network was trained on, in words."""
    if reading.percentile is None:
        return "the checkpoint keeps no statistics of its training images, so its domain is not known"
    nearer = f"{reading.percentile:.1f} % of the training sounds are nearer to the others than it"
    return f"OUTSIDE the training domain: {nearer}" if reading.percentile >= OUTSIDE else f"in the domain: {nearer}"


def write_readings(
    readings: Sequence[Reading], skipped: dict[str, str], kind: TrainedOn, ckpt_path: Path, output_dir: Path
) -> None:
    """Write JSON, CSV, sounds and report, and print the table."""
    sounds = kind.voice.render(np.stack([reading.value for reading in readings]).astype(np.float64))
    plain = {
        "checkpoint": str(ckpt_path),
        "recordings": [describe(reading, kind) for reading in readings],
        "skipped": skipped,
    }
    report = make_report(readings, sounds, kind, ckpt_path)
    outputs = {
        "predictions.json": json.dumps(plain, indent=1).encode(),
        "predictions.csv": table_of_values(readings, kind).encode(),
        "index.html": render_report(report).encode(),
    }
    for number, (reading, sound) in enumerate(zip(readings, sounds, strict=True), 1):
        outputs[f"wav/{number:03d}_{reading.recording.path.stem}.wav"] = encode_wav(sound, kind.voice.synth.sample_rate)
    for name, content in outputs.items():
        write_atomically(output_dir / name, content)
    console = Console()
    for reading in readings:
        console.print(reading_table(reading, kind))
    console.print(f"Predictions: {output_dir / 'predictions.json'}", soft_wrap=True, highlight=False)
    console.print(f"Sounds:      {output_dir / 'wav'}", soft_wrap=True, highlight=False)
    console.print(f"Report:      {output_dir / 'index.html'}", soft_wrap=True, highlight=False)


def describe(reading: Reading, kind: TrainedOn) -> dict[str, Any]:
    """A reading as plain data."""
    recording = reading.recording
    parameters = {}
    for p, spec in enumerate(kind.run.info.parameters):
        value, std = float(reading.value[p]), float(reading.std[p])
        parameters[spec.name] = {
            "value": value,
            "std": std,
            "low": max(spec.min, value - INTERVAL * std),
            "high": min(spec.max, value + INTERVAL * std),
            "units": spec.units,
            "level_only": kind.level_only[p],
            "steps_per_3_db": float(reading.by_gain[p]),
        }
    return {
        "file": str(recording.path),
        "duration": recording.duration,
        "onset": recording.onset,
        "gain_db": reading.gain_db,
        "notes": list(recording.notes),
        "percentile": reading.percentile,
        "in_domain": None if reading.percentile is None else reading.percentile < OUTSIDE,
        "parameters": parameters,
        "refinement": reading.refined,
    }


def table_of_values(readings: Sequence[Reading], kind: TrainedOn) -> str:
    """A line per recording: its file, percentile, then value and standard deviation of every parameter, as CSV."""
    names = [spec.name for spec in kind.run.info.parameters]
    rows = [
        [reading.recording.path, reading.percentile, *interleaved(reading.value, reading.std)] for reading in readings
    ]
    return to_csv(["file", "percentile", *(f"{name}{end}" for name in names for end in ("", "_std"))], rows)


def interleaved(value: Sequence[float], std: Sequence[float]) -> Iterator[str]:
    """Value and standard deviation of one parameter after the other, with the digits that float32 has."""
    for pair in zip(value, std, strict=True):
        yield from (f"{number:.7g}" for number in pair)


def to_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def reading_table(reading: Reading, kind: TrainedOn) -> Table:
    """Values of a recording with 90 % intervals, for a terminal."""
    notes = "; ".join([*reading.recording.notes, f"gain {reading.gain_db:+.1f} dB", about_domain(reading)])
    title = f"{reading.recording.path}\n{notes}"
    table = Table(title=title, title_justify="left", title_style="", caption_justify="left", box=box.SIMPLE_HEAD)
    for column in ("parameter", "value", "90 % interval", "units", f"steps/{GAIN:g} dB"):
        table.add_column(column, justify="left" if column in ("parameter", "units") else "right", no_wrap=True)
    for name, found in describe(reading, kind)["parameters"].items():
        digits = decimals(found["std"])
        interval = f"{found['low']:.{digits}f} … {found['high']:.{digits}f}"
        by_gain = "level alone" if found["level_only"] else f"{found['steps_per_3_db']:.1f}"
        table.add_row(name, f"{found['value']:.{digits}f}", interval, found["units"], by_gain)
    if reading.refined is not None:
        table.caption = "Refined: residual {residual_before:.3g} before, {residual:.3g} after".format(**reading.refined)
    return table


def decimals(std: float) -> int:
    """Decimals that show two digits of a standard deviation."""
    return max(0, 1 - math.floor(math.log10(std))) if std > 0 else 6


def make_report(readings: Sequence[Reading], sounds: np.ndarray, kind: TrainedOn, ckpt_path: Path) -> Report:
    """The page to listen to recordings beside what was made of them.

    Args:
        readings: What was read.
        sounds: Resynthesized, `(reading, time)`.
        kind: What the network was trained on.
        ckpt_path: Its checkpoint.
    """
    voice = kind.voice
    heard = np.stack([reading.heard for reading in readings])
    metrics = audio_metrics(heard, sounds, voice.synth.sample_rate)
    heard_db, sounds_db = voice.spectrogram_db(heard), voice.spectrogram_db(sounds)
    entries = []
    for number, reading in enumerate(readings):
        notes = (about_domain(reading), *reading.recording.notes, f"gain {reading.gain_db:+.1f} dB")
        found = [(spec.name, remarks(reading, p, kind)) for p, spec in enumerate(kind.run.info.parameters)]
        entries.append(
            Sound(
                reading.recording.path.name,
                heard[number],
                sounds[number],
                heard_db[number],
                sounds_db[number],
                None,
                reading.value,
                reading.std,
                {name: float(values[number]) for name, values in metrics.items()},
                (*notes, *(f"{name} {remark}" for name, remark in found if remark)),
            )
        )
    return Report(
        title="Predictions from recordings",
        facts={
            "Checkpoint": str(ckpt_path),
            "Dataset": kind.run.info.dataset_name or "not named",
            "Sample rate": f"{voice.synth.sample_rate:,} Hz",
        },
        parameters=kind.run.info.parameters,
        sample_rate=voice.synth.sample_rate,
        axes=axes_of(voice.view),
        answers=[],
        true_value=None,
        value=None,
        sounds=entries,
    )


# ----- a dataset


def predict_dataset(cfg: DictConfig, run: Run) -> None:
    """Write the predictions for a split of a VIMH set as CSV, beside the true values."""
    if cfg.split not in SPLITS:
        raise ConfigError(f"split is {cfg.split!r}; choose one of {', '.join(SPLITS)}.")
    reader = VIMHReader(cfg.dataset)
    check_same_heads(run.info, reader.info, str(cfg.dataset))
    samples = reader.split(cfg.split)
    if not len(samples):
        raise ConfigError(f"{cfg.dataset}: its split {cfg.split} is empty. Choose another: split=train")
    datamodule = restore_datamodule(run, cfg.trusted_modules, data_dir=str(cfg.dataset))
    to_tensors = BatchFormat(run.info.parameters, datamodule.aux, datamodule.measure)
    rows = []
    with progress(len(samples), "Predicting", "samples") as advance:
        for first in range(0, len(samples), AT_ONCE):
            batch = to_tensors(samples.read(np.arange(first, min(first + AT_ONCE, len(samples)))))
            value, std = predict_batch(run, batch["image"], batch["aux"])
            true = batch["value"].numpy()
            rows += [
                [first + n, *(f"{number:.7g}" for trio in zip(*found, strict=True) for number in trio)]
                for n, found in enumerate(zip(value, std, true, strict=True))
            ]
            advance(len(value))
    names = [spec.name for spec in run.info.parameters]
    header = ["sample", *(f"{name}{end}" for name in names for end in ("", "_std", "_true"))]
    path = Path(cfg.paths.output_dir) / "predictions.csv"
    write_atomically(path, to_csv(header, rows).encode())
    Console().print(f"Predictions: {path}", soft_wrap=True, highlight=False)
