"""Listens to a checkpoint: renders true and predicted parameters of test sounds, and compares what is heard.

python src/audio_eval.py [ckpt_path=logs/train/example/.../checkpoints/epoch_042.ckpt] [num_samples=256] [refine=true]

Writes a report to listen to, WAV files, a row per sound and answer, and a summary.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from lightning.pytorch import LightningDataModule
from matplotlib import pyplot
from matplotlib.backend_bases import Event
from matplotlib.figure import Figure
from matplotlib.widgets import Button, Slider
from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from src import __version__
from src.checkpoints.run import Run, check_same_heads, load_run, restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_dataset import Samples
from src.errors import ConfigError, VIMHError, check_number
from src.evaluation.audio_metrics import METRICS
from src.evaluation.resynthesis import (
    Estimate,
    Look,
    Voice,
    axes_of,
    bounds_of_audit,
    csv_of,
    mean_parameters,
    nearest_neighbours,
    refine_all,
    refinement_figures,
    score,
    spread,
    voice_of,
)
from src.generation import generate
from src.listening.report import Axes, Report, Row, Scores, Sound, format_number, render_report, summarize
from src.models.predictor import Predictor
from src.pictures.plots import draw_color_bar, draw_spectrogram, value_text
from src.pictures.viewer import can_show, play
from src.programs.output import RankedLogger, progress, write_atomically
from src.programs.run_dirs import trained_checkpoint
from src.recipe import Recipe
from src.vimh.axes import Axis, ChannelInfo, limits
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch

ROOT = Path(__file__).resolve().parents[2]

log = RankedLogger(__name__)

BATCH = 256  # sounds that the network predicts at a time
PIECE = 1024  # training sounds that are looked through at a time
CHOSEN_BY = "mss"  # the sounds of the report
ARROWS = {"low": "↓", "high": "↑", "0": "→ 0"}  # what is better


@dataclass(frozen=True)
class Evaluation:
    """Test sounds, and what the network and others say of them.

    Attributes:
        voice: Renders them.
        batch: As the dataset has them.
        claims: The first is heard.
        answers: What each claim is worth, in the same order.
        refinement: What it did, plain data; None without it.
    """

    voice: Voice
    batch: Batch
    claims: "Sequence[Estimate]"
    answers: "Sequence[Scores]"
    refinement: dict[str, Any] | None

    def sound(self, number: int) -> Sound:
        """One of the sounds, to listen to."""
        true_value, claim, one = self.batch.value[number], self.claims[0], slice(number, number + 1)
        true, predicted = (self.voice.render(value[one]) for value in (self.batch.value, claim.value))
        return Sound(
            name=f"test {number}",
            true=true[0],
            predicted=predicted[0],
            true_db=self.voice.spectrogram_db(true)[0],
            predicted_db=self.voice.spectrogram_db(predicted)[0],
            true_value=true_value,
            value=claim.value[number],
            std=None if claim.std is None else claim.std[number],
            metrics={name: float(values[number]) for name, values in self.answers[0].metrics.items()},
        )


def audio_eval(cfg: DictConfig) -> dict[str, float]:
    """Evaluate as configured.

    Returns:
        Mean of every metric and of every parameter's absolute error: `network/mss`, `nearest neighbour/mss`, …
    """
    check_settings(cfg)
    ckpt_path = trained_checkpoint(cfg.ckpt_path, cfg.paths.log_dir)
    log.info("Checkpoint: %s", ckpt_path)
    run = load_run(ckpt_path, cfg.trusted_modules)
    datamodule, notes = ensure_dataset(run, cfg)
    log.info("Dataset: %s", datamodule.data_dir)
    trial = make_trial(run, datamodule, cfg)
    log.info("Summarizing, and writing the report.")
    about = describe(ckpt_path, run, datamodule, trial, [*notes, *notes_on(datamodule)])
    report = compose_report(trial, about, cfg)
    rows = summarize(trial.answers, cfg.seed, report.parameters)
    output_dir = Path(cfg.paths.output_dir)
    paths = write_all(output_dir, trial, report, rows, about)
    show(rows, trial, paths)
    if cfg.interactive:
        open_window(trial, report.axes, paths["Sounds"])
    return {f"{row.answer}/{row.metric}": row.mean for row in rows}


def check_settings(cfg: DictConfig) -> None:
    """Refuse what is no number of sounds, or no seed, before anything is read."""
    check_number("n_listen", cfg.n_listen, whole=True, least=1)
    if cfg.num_samples is not None:
        check_number("num_samples", cfg.num_samples, whole=True, least=1)
    check_number("seed", cfg.seed, whole=True, least=0)


# ----- the dataset


def ensure_dataset(run: Run, cfg: DictConfig) -> tuple[LightningDataModule, list[str]]:
    """The dataset of a checkpoint, made again where it is gone, and what a reader should know of it."""
    data_dir = Path(cfg.data_dir) if cfg.data_dir else place_of(run, Path(cfg.paths.data_dir))
    if not cfg.data_dir and not data_dir.exists():
        make_again(run.info, data_dir, cfg.trusted_modules)
    datamodule = restore_datamodule(run, cfg.trusted_modules, data_dir=str(data_dir))
    datamodule.prepare_data()
    check_same_heads(run.info, datamodule.info, str(data_dir))
    differing = differing_files(run.info, datamodule.info)
    if not differing:
        return datamodule, []
    note = (
        f"The dataset is not the very one of the training: other checksums of {', '.join(differing)}. It is another "
        "set, or another version of this program or type of machine made it."
    )
    log.warning("%s: %s", data_dir, note)
    return datamodule, [note]


def place_of(run: Run, here: Path) -> Path:
    """Where the dataset of a checkpoint is, or is to be made again: as in the training, or among this machine's."""
    then = Path(run.config["data"]["data_dir"])
    if then.exists() or (then.parent.is_dir() and not (here / then.name).exists()):
        return then
    return here / then.name


def make_again(info: DatasetInfo, data_dir: Path, trusted_modules: Sequence[str]) -> None:
    """Make the dataset that a checkpoint was trained on, from the description in the checkpoint.

    Raises:
        VIMHError: If the description does not say how.
        CheckpointError: If it describes another dataset than the one of the training, or names what is not trusted.
    """
    config = (info.generator or {}).get("config")
    if config is None:
        raise VIMHError(
            f"{data_dir}: the dataset of the checkpoint is gone, and cannot be made again: its description in the "
            "checkpoint has no generator.config, so another program made it. Restore the directory, or say where the "
            "dataset is: data_dir=PATH"
        )
    recipe = Recipe.from_config(config, partial(instantiate_trusted, trusted_modules=trusted_modules))
    shard = {} if info.shard is None else {"shard": info.shard}
    check_same_heads(info, recipe.info(data_dir.name, **shard), "generator.config in the checkpoint")
    log.info("%s is gone; it is made again from the description in the checkpoint.", data_dir)
    with progress(info.train_samples + info.test_samples, "Making the dataset again", "samples") as advance:
        generate(recipe, data_dir, pickle="train_batch" in info.files, advance=advance, **shard)


def differing_files(stored: DatasetInfo, found: DatasetInfo) -> list[str]:
    """Names of the files whose checksum a checkpoint knows, and the dataset has another."""
    return [
        name
        for name, entry in stored.files.items()
        if name not in found.files or found.files[name].sha256 != entry.sha256
    ]


def notes_on(datamodule: LightningDataModule) -> list[str]:
    """What a reader should know of a dataset."""
    notes = []
    if datamodule.info.generator is None:
        notes.append(
            "The dataset does not say how its sounds were made. They are rendered by the voice of this project that "
            "knows its parameters, which may sound otherwise than what the network saw."
        )
    if datamodule.reader.test.exact is None:
        notes.append("The dataset has no exact values: the truth is what its 8-bit labels say.")
    return notes


# ----- what the network and others say


def make_trial(run: Run, datamodule: LightningDataModule, cfg: DictConfig) -> Evaluation:
    """Predict, refine if asked, look up the references, and judge all of them."""
    voice = voice_of(datamodule.info, partial(instantiate_trusted, trusted_modules=cfg.trusted_modules))
    check_refinable(datamodule.info, cfg.refine)
    samples = datamodule.test_set[: cfg.num_samples]
    batch = datamodule.reader.test.read(slice(0, cfg.num_samples))
    network = predict(run, samples)
    claims, figures = refined(voice, batch, network, cfg.seed) if cfg.refine else ([network], None)
    claims += references(datamodule, samples)
    with progress(len(claims) * len(batch.value), "Rendering and comparing", "sounds") as advance:
        answers = [score(claim, voice, batch.value, advance) for claim in claims]
    return Evaluation(voice, batch, claims, answers, figures)


def check_refinable(info: DatasetInfo, refine: bool) -> None:
    """Refuse to explain images by another representation than the one that made them."""
    if refine and info.generator is None:
        raise ConfigError(
            f"refine=true: {info.dataset_name or 'the dataset'} does not say how its images were made (no "
            "generator.config), so nothing can be searched that explains them. Leave refine=false."
        )


def predict(run: Run, samples: dict[str, Tensor]) -> "Estimate":
    """What the network says of samples, a batch of tensors."""
    predictor = Predictor(run.module)
    with torch.inference_mode():
        pairs = zip(samples["image"].split(BATCH), samples["aux"].split(BATCH), strict=True)
        value, std = (torch.cat(parts).numpy() for parts in zip(*(predictor(*pair) for pair in pairs), strict=True))
    # Rounding to float32 may carry a value over the end of its range.
    return Estimate("network", run.info.space.clip(value.astype(np.float64)), std)


def refined(voice: Voice, batch: Batch, network: "Estimate", seed: int) -> "tuple[list[Estimate], dict[str, Any]]":
    """Claims after and before analysis by synthesis, and what it did."""
    spec_range = batch.spec_range if batch.spec_range.size else None
    with progress(len(batch.value), "Refining", "sounds") as advance:
        found = refine_all(voice, batch.image, spec_range, network.value, seed, advance)
    parameters = voice.space.varying
    std = found.bound * voice.space.step
    after = Estimate("refined", found.value, std, {"residual": found.residual, "n_renders": found.n_renders})
    before = replace(network, columns={"residual": found.residual_before})
    with progress(len(batch.value), "Finding the bound", "sounds") as advance:
        bounds = bounds_of_audit(voice, batch.value, advance)
    return [after, before], refinement_figures(found, network.value, batch.value, bounds, parameters)


def references(datamodule: LightningDataModule, samples: dict[str, Tensor]) -> "list[Estimate]":
    """Answers that need no network, to know what its figures are worth."""
    true_value, train_set, space = samples["value"].numpy(), datamodule.train_set, datamodule.info.space
    statistics = datamodule.aux_statistics()
    with progress(len(train_set), "Looking for the nearest neighbours", "training sounds") as advance:
        training = (look_of(piece, statistics) for piece in pieces(train_set))
        nearest = nearest_neighbours(look_of(samples, statistics), training, advance)
    train_value = np.concatenate([piece["value"].numpy() for piece in pieces(train_set)])
    return [
        Estimate("nearest neighbour", train_value[nearest].astype(np.float64)),
        Estimate("mean parameters", mean_parameters(train_value, len(true_value))),
        Estimate("8-bit coding", space.decode(space.encode(true_value))),
    ]


def pieces(samples: Samples) -> Iterator[dict[str, Tensor]]:
    """All samples, some at a time."""
    return (samples[first : first + PIECE] for first in range(0, len(samples), PIECE))


def look_of(samples: dict[str, Tensor], statistics: tuple[list[float], list[float]]) -> Look:
    """What the network sees of samples; `statistics` are mean and standard deviation of the conditioning inputs."""
    mean, std = np.array(statistics)
    return Look(samples["image"].numpy(), (samples["aux"].numpy() - mean) / std)


# ----- what is written and shown


def describe(
    ckpt_path: Path, run: Run, datamodule: LightningDataModule, trial: Evaluation, notes: Sequence[str]
) -> dict[str, Any]:
    """Where the figures come from, plain data."""
    info = datamodule.info
    with ckpt_path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "version": __version__,
        "git": git_state(),
        "checkpoint": str(ckpt_path),
        "checkpoint_sha256": digest,
        "experiment_name": run.config["experiment_name"],
        "dataset": info.dataset_name or datamodule.data_dir.name,
        "dataset_dir": str(datamodule.data_dir),
        "dataset_files": {name: entry.sha256 for name, entry in info.files.items()},
        "sample_rate": trial.voice.synth.sample_rate,
        "duration": trial.voice.synth.duration,
        "n_sounds": len(trial.batch.value),
        "n_test_sounds": info.test_samples,
        "notes": list(notes),
    }


def git_state() -> dict[str, Any] | None:
    """Revision of this project, and whether files differ from it; None where it is not kept in git."""
    commands = (["rev-parse", "--show-toplevel", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    try:
        found, changes = (
            subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True).stdout
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    top, revision = found.splitlines()
    return {"revision": revision, "modified": bool(changes)} if Path(top) == ROOT.resolve() else None


def compose_report(trial: Evaluation, about: dict[str, Any], cfg: DictConfig) -> Report:
    """The listening report."""
    chosen = spread(trial.answers[0].metrics[CHOSEN_BY], cfg.n_listen)
    git = about["git"]
    return Report(
        title=f"Audio evaluation of {about['experiment_name']}",
        facts={
            "Checkpoint": f"{Path(about['checkpoint']).name}, SHA-256 {about['checkpoint_sha256'][:12]}…",
            "Dataset": about["dataset"],
            "Sounds": f"{about['n_sounds']:,} of {about['n_test_sounds']:,} test sounds; {len(chosen)} to listen to",
            "Sample rate": f"{about['sample_rate']:,} Hz",
            "Duration": f"{about['duration']:g} s",
            "Revision": f"{git['revision'][:12]}{', with changes' * git['modified']}" if git else "not in git",
        },
        parameters=trial.voice.space.varying,
        sample_rate=about["sample_rate"],
        axes=axes_of(trial.voice.view),
        answers=trial.answers,
        true_value=trial.batch.value,
        value=trial.claims[0].value,
        sounds=[trial.sound(number) for number in chosen],
        notes=[*about["notes"], *remarks(trial)],
        seed=cfg.seed,
    )


def remarks(trial: Evaluation) -> list[str]:
    """What the answers are."""
    texts = [
        "Nearest neighbour: the training sound whose image and conditioning inputs are nearest. Mean parameters: the "
        "mean of the training set for every sound. 8-bit coding: the true values as the labels store them."
    ]
    if trial.refinement is not None:
        texts.append(
            "Refined: searched from the network's prediction on, by rendering, for what explains the image best. Its "
            f"error bars are the Cramér-Rao bound. It took {trial.refinement['milliseconds']:.1f} ms a sound."
        )
    return texts


def write_all(
    output_dir: Path, trial: Evaluation, report: Report, rows: Sequence[Row], about: dict[str, Any]
) -> dict[str, Path]:
    """Write everything; returns what to where."""
    paths = {
        "Report": output_dir / "index.html",
        "Sounds": output_dir / "wav",
        "Every sound": output_dir / "metrics.csv",
        "Summary": output_dir / "summary.json",
    }
    table = csv_of(trial.claims, trial.answers, trial.batch.value, trial.voice.space.varying)
    write_atomically(paths["Report"], render_report(report).encode())
    write_atomically(paths["Every sound"], table.encode())
    write_atomically(paths["Summary"], summary_of(trial, rows, about | {"seed": report.seed}).encode())
    paths["Sounds"].mkdir(exist_ok=True)
    for sound in report.sounds:
        for kind, waveform in (("true", sound.true), ("predicted", sound.predicted)):
            soundfile.write(wav_path(paths["Sounds"], sound, kind), waveform, report.sample_rate, subtype="FLOAT")
    return paths


def wav_path(wav_dir: Path, sound: Sound, kind: str) -> Path:
    """Where a sound is written; `kind` is `true` or `predicted`."""
    return wav_dir / f"{sound.name.replace(' ', '_')}_{kind}.wav"


def summary_of(trial: Evaluation, rows: Sequence[Row], about: dict[str, Any]) -> str:
    """JSON: where the figures come from, and all of them."""
    answers: dict[str, dict[str, Any]] = {claim.name: {} for claim in trial.claims}
    for row in rows:
        answers[row.answer][row.metric] = {key: getattr(row, key) for key in ("mean", "median", "low", "high")}
    return json.dumps(about | {"answers": answers, "refinement": trial.refinement}, indent=2, allow_nan=False) + "\n"


def show(rows: Sequence[Row], trial: Evaluation, paths: dict[str, Path]) -> None:
    """Print the figures, and where everything is."""
    console = Console()
    tables = summary_tables(rows, trial)
    if trial.refinement is not None:
        tables.append(refinement_table(trial.refinement))
    for table in tables:
        console.print(table, "")
    for name, path in paths.items():
        console.print(f"{name}: {path}", soft_wrap=True, highlight=False)


def summary_tables(rows: Sequence[Row], trial: Evaluation) -> list[Table]:
    """The figures of the answer that is heard, and the means of all side by side; a row per metric and parameter."""
    names = [claim.name for claim in trial.claims]
    title = f"{names[0]}, {len(trial.batch.value):,} test sounds"
    heard = plain_table(title[0].upper() + title[1:], ("mean", "median", "95 % interval\nof the mean"))
    beside = plain_table("Means beside other answers", [name.replace(" ", "\n") for name in names])
    found = {(row.answer, row.metric): row for row in rows}
    labels = {metric.name: f"{metric.name} {metric.units} {ARROWS[metric.better]}" for metric in METRICS}
    labels |= {spec.name: f"{spec.name} {spec.units} {ARROWS['low']}" for spec in trial.voice.space.varying}
    for metric, label in labels.items():
        name, row = " ".join(label.split()), found[names[0], metric]
        interval = f"{format_number(row.low)} … {format_number(row.high)}"
        heard.add_row(name, format_number(row.mean), format_number(row.median), interval)
        beside.add_row(name, *(format_number(found[answer, metric].mean) for answer in names))
    return [heard, beside]


def refinement_table(figures: dict[str, Any]) -> Table:
    """A row per parameter: errors before and after, beside the bound."""
    table = plain_table(
        "Refinement: {milliseconds:.1f} ms and {renders:g} renders a sound\n"
        "Residual {residual_before:.3g} before, {residual:.3g} after (rounding: 1)".format(**figures),
        ("error\nbefore", "error\nafter", "reach-\nable", "ratio"),
    )
    table.caption = "Medians; errors in JND steps. Reachable: 0.67 of the Cramér-Rao bound."
    for name, row in figures["parameters"].items():
        cells = (row[key] for key in ("error_before", "error", "reachable", "ratio"))
        table.add_row(name, *("–" if cell is None else format_number(cell) for cell in cells))
    return table


def plain_table(title: str, columns: Sequence[str]) -> Table:
    """An empty table with a column of names and columns of numbers, as narrow as can be."""
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


# ----- the window


class Window:
    """Shows a sound and what was said of it, chosen by a slider, and plays both.

    Args:
        figure: Empty.
        trial: What is shown.
        axes: Of the spectrograms.
        wav_dir: Where a sound is written that cannot be played.
    """

    def __init__(self, figure: Figure, trial: Evaluation, axes: Axes, wav_dir: Path) -> None:

        self.figure, self.trial, self.wav_dir = figure, trial, wav_dir
        rows, columns = Axis("frequency (Hz)", np.array(axes.frequency)), Axis("time (s)", np.array(axes.time))
        self.channel = ChannelInfo("", rows, columns, "dB", None)
        *self.pictures, self.color_bar = figure.subplots(1, 3, width_ratios=(1, 1, 0.05))
        figure.subplots_adjust(left=0.09, right=0.92, bottom=0.45, top=0.93, wspace=0.3)
        self.text = figure.text(0.09, 0.36, "", va="top", family="monospace", fontsize=8, parse_math=False)
        last = len(trial.batch.value) - 1
        self.slider = Slider(figure.add_axes((0.16, 0.03, 0.36, 0.04)), "sound", 0, last, valinit=0, valstep=1)
        self.slider.on_changed(lambda number: self.draw())
        self.buttons = {
            kind: Button(figure.add_axes((left, 0.02, 0.16, 0.06)), f"play {kind}")
            for kind, left in (("true", 0.6), ("predicted", 0.78))
        }
        for kind, button in self.buttons.items():
            button.on_clicked(partial(self.play, kind))
        self.draw()

    def draw(self, message: str = "") -> None:
        """Draw the sound that is chosen, with a message below."""
        sound = self.trial.sound(int(self.slider.val))
        pair = {f"{sound.name}, true": sound.true_db, f"predicted ({self.trial.claims[0].name})": sound.predicted_db}
        ends = limits(np.stack(list(pair.values())))
        for axes, (title, level) in zip(self.pictures, pair.items(), strict=True):
            axes.clear()
            drawn = draw_spectrogram(axes, level, self.channel, ends)
            axes.set_title(title)
        self.pictures[1].set_ylabel("")
        self.color_bar.clear()
        draw_color_bar(self.color_bar, drawn, self.channel)
        self.text.set_text("\n".join([*self.lines(sound), "", message]))
        self.figure.canvas.draw_idle()

    def lines(self, sound: Sound) -> list[str]:
        """The parameters of a sound as a table of text."""
        specs = self.trial.voice.space.varying
        rows = [("", "true", "predicted")] + [
            (spec.name, value_text(spec, sound.true_value[p]), value_text(spec, sound.value[p]))
            for p, spec in enumerate(specs)
        ]
        return [f"{name:24.24}{true:>18}{predicted:>18}" for name, true, predicted in rows]

    def play(self, kind: str, event: Event | None = None) -> None:
        """Play the sound that is shown, `true` or `predicted`, and say what came of it."""
        sound = self.trial.sound(int(self.slider.val))
        waveform = {"true": sound.true, "predicted": sound.predicted}[kind]
        self.draw(play(waveform, self.trial.voice.synth.sample_rate, wav_path(self.wav_dir, sound, kind)))


def open_window(trial: Evaluation, axes: Axes, wav_dir: Path) -> None:
    """Open the window and wait until it is closed, or say that there is no display."""
    if not can_show():
        log.warning("interactive=true: there is no display here, so no window is opened. Listen to index.html instead.")
        return

    figure = pyplot.figure("Audio evaluation", figsize=(10.0, 6.5))
    figure.window = Window(figure, trial, axes, wav_dir)  # callbacks hold it by a weak reference
    pyplot.show()
