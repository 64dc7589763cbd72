"""Cross-validation: a training for each fold of a dataset, in a process of its own, and what they reach together."""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from src.errors import ConfigError, NSMError
from src.files import claim_directory, write_atomically
from src.hydra_versions import initialize_configs
from src.overrides import quoted
from src.programs.output import PlainTable, console, plain_table
from src.programs.run_dirs import register_resolvers
from src.recipe import ROOT
from src.text import say
from src.vimh.reader import VIMHReader
from src.vimh.tables import in_order

TRAIN = ROOT / "src" / "train.py"
QUIET = ("extras.print_config=false", "callbacks.rich_progress_bar=null")
STAGE = "test/"  # what the names of metrics begin with
COLUMNS = ("mean", "standard\ndeviation", "lowest", "highest")


def kfold(options: argparse.Namespace) -> int:
    """Train every fold that is not finished, and print the table; returns the exit code.

    Args:
        options: With `overrides`, those of `src/train.py`.

    Raises:
        NSMError: If the dataset has no folds, or a training fails. What was finished is kept.
    """
    reader = VIMHReader(data_dir_of(options.overrides))
    folds = folds_of(reader)
    key = hashlib.sha256(json.dumps([reader.digest, *options.overrides]).encode()).hexdigest()[:8]
    directory = ROOT / "logs" / "kfold" / f"{reader.data_dir.resolve().name}-{key}"
    path = directory / "kfold.json"
    finished = read_finished(path)
    for fold in folds:
        if fold in finished:
            say(f"Fold {fold} of {', '.join(folds)}: finished before.")
            continue
        say(f"Fold {fold} of {', '.join(folds)}: training on the others ...")
        finished[fold] = train_fold(directory / f"fold_{fold}", [*options.overrides, f"data.fold={quoted(fold)}"])
        content = {"overrides": options.overrides, "dataset": str(reader.data_dir), "dataset_sha256": reader.digest}
        content |= {"folds": finished, "summary": summary(finished)}
        write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
    console().print(table_of(summary(finished), f"{len(folds)} folds of {reader.data_dir.name}"))
    say(f"Results: {path}")
    return 0


def data_dir_of(overrides: Sequence[str]) -> Path:
    """The dataset that a training would read.

    Raises:
        ConfigError: If an override cannot be, or chooses the fold.
    """
    if fold := [override for override in overrides if override.lstrip("+").startswith("data.fold=")]:
        raise ConfigError(f"{fold[0]}: every fold is trained here. Leave it out, or train one with src/train.py.")
    register_resolvers()
    try:
        with initialize_configs(ROOT / "configs"):
            return Path(compose("train", [*overrides]).data.data_dir)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from error


def folds_of(reader: VIMHReader) -> list[str]:
    """Names of the folds of a dataset, in order.

    Raises:
        ConfigError: If there are fewer than two, or some samples are in none.
    """
    sources = reader.sources
    names = [] if sources is None else [name for part in sources.values() for name in part.fold.tolist()]
    folds = in_order(name for name in names if name)
    if len(folds) < 2 or not all(names):
        there = f"its samples are in the folds {', '.join(folds)}, or in none" if folds else "it has no folds"
        raise ConfigError(f"{reader.data_dir}: {there}. Pack it with --folds K, or from a table with a column fold.")
    return folds


def read_finished(path: Path) -> dict[str, dict[str, Any]]:
    """What the finished folds reached; none if there is no such file.

    Raises:
        NSMError: If it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))["folds"] if path.exists() else {}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NSMError(f"{path}: cannot be read ({error}). Restore it, or delete it to begin again.") from error


def train_fold(directory: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Train and test in a process of its own.

    Args:
        directory: Of the run; of a training that was stopped it is left, and another one is made.
        overrides: Of `src/train.py`.

    Returns:
        The directory of the `run`, and its test `metrics`.

    Raises:
        NSMError: If it fails.
    """
    run_dir = claim_directory(directory)
    command = [sys.executable, str(TRAIN), *QUIET, *overrides, f"hydra.run.dir={quoted(str(run_dir))}"]
    done = subprocess.run(command, cwd=TRAIN.parents[1], stdout=subprocess.DEVNULL, check=False)
    results = run_dir / "results.json"
    if done.returncode or not results.is_file():
        raise NSMError(
            f"The training in {run_dir} ended with exit code {done.returncode}, without results. Correct what it says "
            "above, and run the same command again: finished folds are kept."
        )
    metrics = json.loads(results.read_text(encoding="utf-8"))["metrics"]
    return {
        "run": str(run_dir.relative_to(ROOT)),
        "metrics": {name: figure for name, figure in metrics.items() if name.startswith(STAGE)},
    }


def summary(finished: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation between folds, lowest and highest of every metric that all folds have."""
    runs = [entry["metrics"] for entry in finished.values()]
    found = {}
    for name in runs[0]:
        figures = [run.get(name) for run in runs]
        if all(figure is not None for figure in figures):
            spread = statistics.stdev(figures) if len(figures) > 1 else 0.0
            row = (statistics.fmean(figures), spread, min(figures), max(figures))
            found[name] = dict(zip(("mean", "std", "min", "max"), row, strict=True))
    return found


def table_of(rows: Mapping[str, Mapping[str, float]], title: str) -> PlainTable:
    """A line for each metric, without what its name begins with."""
    table = plain_table(title, ("test metric",), COLUMNS)
    for name, row in rows.items():
        table.add_row(name.removeprefix(STAGE), *(f"{figure:.4g}" for figure in row.values()))
    return table
