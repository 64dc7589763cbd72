"""Listens to a checkpoint: renders true and predicted parameters of test sounds, and compares the two.

python src/audio_eval.py [run=NAME|last|best] [num_samples=256] [refine=true]

Writes a report to listen to, WAV files, a row per sound and estimate, and a summary.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from pydantic import Field

from src import __version__
from src.checkpoints.run import Run, check_same_heads, load_run, restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import CheckpointError, ConfigError, VIMHError
from src.evaluation.audio_metrics import METRICS
from src.evaluation.estimates import Estimate, network_values, reference_estimates
from src.evaluation.posterior import efficiency, posterior, share_untold, why_no_posterior
from src.evaluation.refinement import refine, refinement_figures
from src.evaluation.ridges import Ridge, find_ridges
from src.evaluation.scoring import Row, Scores, parameter_errors, score, scores_csv, spread, summarize
from src.files import write_atomically
from src.generation import generate
from src.listening.report import Axes, Report, Side, Sound, render_report
from src.pages.encoding import encode_wav
from src.pages.formats import format_number
from src.plain import shown
from src.programs.output import (
    PlainTable,
    RankedLogger,
    announce,
    console,
    plain_table,
    progress,
    say_where,
    shown_path,
    sign_of_life,
)
from src.programs.run_dirs import checkpoint_to_read
from src.programs.sweep import is_sweep, job_title
from src.recipe import ROOT, WHOLE, Recipe, source_of
from src.sections import Flag, Modules, PositiveInt, Section, Text, WholeNumber, read_section
from src.tasks.what_runs import network_of
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch

log = RankedLogger(__name__)

PIECE = 1024  # training sounds that are compared at a time
CHOSEN_BY = "mss"  # the sounds of the report
WIDE = 110  # columns that leave room for medians and intervals
MOST_TWICE = 5  # parameters that a screen has room for in both tables
ARROWS = {"low": "↓", "high": "↑", "0": "→ 0"}  # what is better
HEARD = {"refined": "Refined", "network": "Predicted", "nearest neighbour": "Neighbour"}  # as buttons of the report
REFERENCES = (
    "Nearest neighbour: the training sound whose image and conditioning inputs are nearest. Mean parameters: the mean "
    "of the training set for every sound. 8-bit coding: the true values as the labels store them. The sounds called "
    "Neighbour are those of the nearest neighbour."
)


class AudioEvalSettings(Section):
    """Settings of the program; `configs/audio_eval.yaml` explains each."""

    run: Text | None
    ckpt_path: Text | None
    num_samples: int | None = Field(ge=1, description="it must be a whole number of 1 or more, or null for all")
    n_listen: PositiveInt
    refine: Flag
    n_posterior: WholeNumber
    seed: WholeNumber
    data_dir: Text | None
    trusted_modules: Modules


@dataclass(frozen=True)
class Evaluation:
    """Test sounds, and what the network and others estimate of them.

    Attributes:
        recipe: Renders them.
        batch: As the dataset has them.
        estimates: The first is the one to listen to in the report.
        scores: Of each estimate, in the same order.
        refinement: Summary of the refinement, plain data; None without it.
        own_images: Whether the recipe makes images as the dataset has them, so that ridges can be found.
    """

    recipe: Recipe
    batch: Batch
    estimates: Sequence[Estimate]
    scores: Sequence[Scores]
    refinement: dict[str, Any] | None
    own_images: bool = False

    def sound(self, number: int) -> Sound:
        """One of the sounds, to listen to beside what was estimated of it."""
        names = HEARD if self.refinement is None else HEARD | {"network": "Unrefined"}
        answers = {names[own.name]: (own, scores) for own, scores in self.answers if own.name in names}
        true_value = self.batch.value[number]
        values = np.stack([true_value, *(own.value[number] for own, _ in answers.values())])
        waveforms = self.recipe.render(values)
        spectrograms = self.recipe.spectrogram_db(waveforms)
        sides = [Side("True", waveforms[0], spectrograms[0], true_value)]
        for (name, (own, scores)), waveform, db in zip(answers.items(), waveforms[1:], spectrograms[1:], strict=True):
            std = None if own.std is None else own.std[number]
            metrics = {metric: float(values[number]) for metric, values in scores.metrics.items()}
            sides.append(Side(name, waveform, db, own.value[number], std, metrics))
        return Sound(f"test {number}", sides, ridges=self._ridges(number))

    def _ridges(self, number: int) -> list[Ridge]:
        """Pairs of parameters that a sound does not tell apart, at the first answer."""
        if not self.own_images:
            return []
        image, spec_range = self.batch.image[number], self.batch.spec_range[number]
        value = self.estimates[0].value[number]
        return find_ridges(self.recipe, image, spec_range if spec_range.size else None, value)

    @property
    def answers(self) -> list[tuple[Estimate, Scores]]:
        """Every estimate with its scores."""
        return list(zip(self.estimates, self.scores, strict=True))


def audio_eval(cfg: DictConfig) -> dict[str, float]:
    """Evaluate as configured.

    Returns:
        Mean of every metric and of every parameter's absolute error: `network/mss`, `nearest neighbour/mss`, …; of a
        category, `{name}_acc` and `{name}_f1`.
    """
    settings = read_section(AudioEvalSettings, cfg)
    ckpt_path = checkpoint_to_read(settings.run, settings.ckpt_path, cfg.paths.log_dir)
    run = load_run(ckpt_path, settings.trusted_modules)
    if source_of(run.info) is not None:
        raise ConfigError(
            f"{run.info.title} of this checkpoint is a set of recordings, and no synth renders its labels, so there is "
            "nothing to listen to beside them. src/eval.py tests this network, src/predict.py answers to recordings."
        )
    instantiate = partial(instantiate_trusted, trusted_modules=settings.trusted_modules)
    data_dir = find_dataset(run, settings.data_dir, Path(cfg.paths.data_dir), instantiate)
    log.debug("Dataset: %s", data_dir)
    datamodule: VIMHDataModule = restore_datamodule(run, settings.trusted_modules, data_dir=str(data_dir))
    notes = check_dataset(run.info, datamodule)
    recipe = Recipe.from_info(datamodule.info, instantiate)
    n_sounds = min(settings.num_samples or datamodule.info.test_samples, datamodule.info.test_samples)
    announce(f"{n_sounds:,} test sounds of ", data_dir.name, f", {network_of(run.module)}")
    evaluation = evaluate(run, datamodule, recipe, settings)
    with sign_of_life("Summarizing, and writing the report ..."):
        rows = summarize(evaluation.scores, settings.seed, recipe.space.varying)
        about = describe(ckpt_path, run, datamodule, evaluation, notes)
        report = compose_report(evaluation, about, settings)
        paths = write_all(Path(cfg.paths.output_dir), evaluation, report, rows, about)
    show(rows, evaluation, paths)
    return {f"{row.estimate}/{row.metric}": row.mean for row in rows if row.mean is not None}


# ----- the dataset


def find_dataset(run: Run, wanted: str | None, here: Path, instantiate: Callable[..., Any]) -> Path:
    """Directory of the dataset of a checkpoint; what is gone is made again, where this machine has its datasets.

    Args:
        run: From the checkpoint.
        wanted: Another directory of the same dataset; it must be there.
        here: Where this machine has its datasets.
        instantiate: Makes an object from a section that came out of the checkpoint.
    """
    if wanted:
        return Path(wanted)
    then = Path(run.config["data"].get("data_dir", ""))
    if os.path.exists(then):
        return then
    if then.name in ("", ".."):
        raise CheckpointError(
            f"The checkpoint calls its dataset {shown(str(then))}, which is no name. Say where it is: data_dir=PATH"
        )
    data_dir = here / then.name  # a checkpoint says how a dataset is called, and never where one is made
    if not os.path.exists(data_dir):
        make_again(run.info, data_dir, instantiate)
    return data_dir


def make_again(info: DatasetInfo, data_dir: Path, instantiate: Callable[..., Any]) -> None:
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
    recipe, shard = Recipe.from_config(config, instantiate), info.shard or WHOLE
    check_same_heads(info, recipe.info(data_dir.name, shard), "generator.config in the checkpoint")
    log.info("%s is gone; it is made again from the description in the checkpoint.", data_dir)
    with progress(info.train_samples + info.test_samples, "Making the dataset again", "samples") as advance:
        generate(recipe, data_dir, pickle="train_batch" in info.files, shard=shard, advance=advance)


def check_dataset(stored: DatasetInfo, datamodule: VIMHDataModule) -> list[str]:
    """Notes for the report about a dataset beside that of the checkpoint."""
    found, notes = datamodule.info, []
    differing = [
        name
        for name, entry in stored.files.items()
        if name not in found.files or found.files[name].sha256 != entry.sha256
    ]
    if differing:
        notes.append(
            f"The dataset is not the very one of the training: other checksums of {', '.join(differing)}. It is "
            "another set, or another version of this program or type of machine made it."
        )
        log.warning("%s: %s", datamodule.data_dir, notes[0])
    if found.generator is None:
        notes.append(
            "The dataset does not say how its sounds were made. They are rendered by the synth of this project that "
            "has its parameters, which may sound different from what the network was trained on."
        )
    if datamodule.reader.test.exact is None:
        notes.append("The dataset has no exact values: the true values are those of its 8-bit labels.")
    return notes


# ----- estimates and scores


def evaluate(run: Run, datamodule: VIMHDataModule, recipe: Recipe, settings: AudioEvalSettings) -> Evaluation:
    """Estimate the parameters of test sounds by the network, with `refine` by refinement, and by references; score all.

    Raises:
        ConfigError: If `refine` is set, and the dataset does not say how its images were made.
    """
    info = datamodule.info
    if settings.refine and info.generator is None:
        raise ConfigError(
            f"refine=true: {info.title} does not say how its images were made (no "
            "generator.config), so nothing can be searched that explains them. Leave refine=false."
        )
    some = slice(settings.num_samples)
    samples, batch = datamodule.test_set[some], datamodule.reader.test.read(some)
    value, std = network_values(run.module, samples["image"], samples["aux"])
    estimates, figures = [Estimate("network", recipe.space.clip(value), std)], None
    if settings.refine:
        estimates, figures = refine_estimate(estimates[0], recipe, batch, settings)

    train_set, statistics = datamodule.train_set, datamodule.aux_statistics()
    with progress(len(train_set), "Nearest neighbours", "training sounds") as advance:
        training = (train_set[first : first + PIECE] for first in range(0, len(train_set), PIECE))
        estimates += reference_estimates(samples, training, statistics, recipe.space, advance)
    with progress(len(estimates) * len(batch.value), "Rendering and comparing", "sounds") as advance:
        scores = [score(estimate, recipe, batch.value, advance) for estimate in estimates]
    return Evaluation(recipe, batch, estimates, scores, figures, own_images=info.generator is not None)


def refine_estimate(
    network: Estimate, recipe: Recipe, batch: Batch, settings: AudioEvalSettings
) -> tuple[list[Estimate], dict[str, Any]]:
    """Estimates after and before analysis by synthesis, and what it did."""
    spec_range = batch.spec_range if batch.spec_range.size else None
    with progress(len(batch.value), "Refining", "sounds") as advance:
        found = refine(recipe, batch.image, spec_range, network.value, seed=settings.seed, advance=advance)
    beside = beside_posterior(found.value, recipe, batch, settings)
    known = np.where(recipe.space.discrete > 0, np.nan, found.std * recipe.space.step)  # integers and classes: tried
    after = Estimate(
        "refined",
        found.value,
        known,
        {"residual": found.residual, "n_renders": found.n_renders},
    )
    before = replace(network, columns={"residual": found.residual_before})
    return [after, before], refinement_figures(found, network.value, batch.value, recipe.space.varying, beside)


def beside_posterior(
    value: np.ndarray, recipe: Recipe, batch: Batch, settings: AudioEvalSettings
) -> dict[str, np.ndarray]:
    """Efficiency, and share of the error that the pictures do not tell, of estimates, `(parameter,)` each.

    Of the first sounds, as many as the settings say; empty where there is no posterior.
    """
    n_sounds = min(settings.n_posterior, len(value))
    if not n_sounds or why_no_posterior(recipe):
        return {}
    true_value, space = batch.value[:n_sounds].astype(np.float64), recipe.space
    with progress(n_sounds, "Finding what the pictures leave open", "sounds") as advance:
        found = posterior(recipe, true_value, seed=settings.seed, advance=advance)
    error = parameter_errors(space, value[:n_sounds], true_value) / np.where(space.categorical, 1.0, space.step)
    return {"efficiency": efficiency(found, error), "untold": share_untold(found, error)}


# ----- what is written and shown


def describe(
    ckpt_path: Path, run: Run, datamodule: VIMHDataModule, evaluation: Evaluation, notes: list[str]
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
        "sample_rate": evaluation.recipe.synth.sample_rate,
        "duration": evaluation.recipe.synth.duration,
        "n_sounds": len(evaluation.batch.value),
        "n_test_sounds": info.test_samples,
        "notes": notes,
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


def compose_report(evaluation: Evaluation, about: dict[str, Any], settings: AudioEvalSettings) -> Report:
    """The listening report."""
    chosen = spread(evaluation.scores[0].metrics[CHOSEN_BY], settings.n_listen)
    git = about["git"]
    remarks = [REFERENCES]
    if evaluation.refinement is not None:
        remarks.append(
            "Refined: searched from the network's prediction on, by rendering, for what explains the image best. Its "
            "error bars are what Gaussian noise of the size of rounding would leave. It took "
            f"{evaluation.refinement['milliseconds']:.1f} ms a sound."
        )
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
        parameters=evaluation.recipe.space.varying,
        sample_rate=about["sample_rate"],
        axes=Axes.of(evaluation.recipe.view),
        scores=evaluation.scores,
        true_value=evaluation.batch.value,
        value=evaluation.estimates[0].value,
        sounds=[evaluation.sound(number) for number in chosen],
        notes=about["notes"],
        remarks=remarks,
        seed=settings.seed,
        judged_by=CHOSEN_BY,
    )


def write_all(
    output_dir: Path, evaluation: Evaluation, report: Report, rows: Sequence[Row], about: dict[str, Any]
) -> dict[str, Path]:
    """Write everything; returns what to where."""
    paths = {
        "Report": output_dir / "index.html",
        "Sounds": output_dir / "wav",
        "Every sound": output_dir / "metrics.csv",
        "Summary": output_dir / "summary.json",
    }
    answers: dict[str, dict[str, Any]] = {estimate.name: {} for estimate in evaluation.estimates}
    for row in rows:
        answers[row.estimate][row.metric] = {key: getattr(row, key) for key in ("mean", "median", "low", "high")}
    summary = about | {"seed": report.seed, "answers": answers, "refinement": evaluation.refinement}
    table = scores_csv(evaluation.estimates, evaluation.scores, evaluation.batch.value, report.parameters)
    write_atomically(paths["Report"], render_report(report).encode())
    write_atomically(paths["Every sound"], table.encode())
    write_atomically(paths["Summary"], (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
    for sound in report.sounds:
        for kind, side in zip(("true", "predicted"), sound.sides, strict=False):  # the first answer only
            path = paths["Sounds"] / f"{sound.name.replace(' ', '_')}_{kind}.wav"
            write_atomically(path, encode_wav(side.waveform, report.sample_rate, exact=True))
    return paths


def show(rows: Sequence[Row], evaluation: Evaluation, paths: dict[str, Path]) -> None:
    """Print the means of all estimates side by side, and where everything is; of a job of a sweep a line."""
    found = {(row.estimate, row.metric): row for row in rows}
    terminal = console()
    if is_sweep():
        mean = format_number(found[evaluation.estimates[0].name, CHOSEN_BY].mean)
        terminal.print(f"{job_title()}: {CHOSEN_BY} {mean} dB, {shown_path(paths['Report'])}", soft_wrap=True)
        return
    terminal.print(means_table(found, evaluation, terminal.width >= WIDE))
    if evaluation.refinement is not None:
        terminal.print(refinement_table(evaluation.refinement))
    say_where(**paths)


def means_table(found: Mapping[tuple[str, str], Row], evaluation: Evaluation, wide: bool) -> PlainTable:
    """A row per metric and parameter with the mean of every estimate.

    Args:
        found: Row by names of estimate and metric.
        evaluation: Gives order and units. Many parameters are left out where a refinement has a table of them.
        wide: Show median and interval of the first estimate as well.
    """
    names = [estimate.name for estimate in evaluation.estimates]
    spread_headings = (f"{names[0]}\nmedian", "95 % interval\nof its mean") if wide else ()
    headings = (*(name.replace(" ", "\n") for name in names), *spread_headings)
    table = plain_table(f"Means over {len(evaluation.batch.value):,} test sounds", ("",), headings)
    labels = {metric.name: f"{metric.name} {metric.units} {ARROWS[metric.better]}" for metric in METRICS}
    parameters = evaluation.recipe.space.varying
    for spec in parameters if evaluation.refinement is None or len(parameters) <= MOST_TWICE else ():
        if spec.categorical:
            labels |= {f"{spec.name}_acc": f"{spec.name} accuracy ↑", f"{spec.name}_f1": f"{spec.name} macro F1 ↑"}
        else:
            labels[spec.name] = f"{spec.name} {spec.units} {ARROWS['low']}"
    for metric, label in labels.items():
        row = found[names[0], metric]
        interval = f"{format_number(row.low)} … {format_number(row.high)}"
        means = (format_number(found[name, metric].mean) for name in names)
        table.add_row(" ".join(label.split()), *means, *((format_number(row.median), interval) if wide else ()))
    return table


def refinement_table(figures: dict[str, Any]) -> PlainTable:
    """A row per parameter: errors before and after, and how near those after are to what the pictures leave open."""
    table = plain_table(
        "Refinement: {milliseconds:.1f} ms and {renders:g} renders a sound\n"
        "Residual {residual_before:.3g} before, {residual:.3g} after (rounding: 1)".format(**figures),
        ("",),
        ("error\nbefore", "error\nafter", "effi-\nciency", "untold"),
    )
    table.caption = (
        "Medians of errors in grid steps. Efficiency: expected error under the posterior\n"
        "over that after, means over sounds. Untold: share of the error in sounds whose\n"
        "pictures do not tell the parameter"
    )
    for name, row in figures["parameters"].items():
        if "wrong" in row:
            errors = [f"{row[key]:.0%} wrong" for key in ("wrong_before", "wrong")]
        else:
            errors = [format_number(row[key]) for key in ("error_before", "error")]
        cells = (row.get(key) for key in ("efficiency", "untold"))
        table.add_row(name, *errors, *("–" if cell is None else f"{cell:.2f}" for cell in cells))
    return table
