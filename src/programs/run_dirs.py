"""Run directories: where a run is written, and which checkpoint it resumes from or reads.

`configs/hydra/default.yaml` calls the resolver `run_dir` for the directory of a run, so that `ckpt_path=last` resumes
in the directory of the run that it means. All other places follow from that directory. The resolver only names it, as
Hydra asks for it when a configuration is printed too: `ClaimDirectory` makes it, when a run begins.
"""

import functools
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.errors import ConfigError
from src.files import claim_directory, lock_directory
from src.overrides import quoted
from src.programs.output import process_rank
from src.text import complain

LAST = "last"
LAST_CKPT = Path("checkpoints") / "last.ckpt"
HYDRA_CONFIG = Path(".hydra") / "config.yaml"  # of a run, as Hydra writes it


def register_resolvers() -> None:
    """Register the resolver `run_dir` with OmegaConf, before Hydra reads a configuration."""
    OmegaConf.register_new_resolver("run_dir", run_dir, replace=True)


class ClaimDirectory(Callback):
    """Gives every run and every sweep a directory that no other has, when it begins.

    A directory that is written out, as in `hydra.run.dir=PATH`, is taken as it is; one that a configuration puts
    together is made by this process, or another one is, with a number behind its name. A training keeps others out of
    its directory until it ends, so that no two resume the same run at once.
    """

    def __init__(self) -> None:
        self._unlock = lambda: None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before it makes the directory of a run."""
        if process_rank() > 0:
            return  # the first of several processes that train together has it
        with _as_in_a_run(config):
            run_dir = Path(config.hydra.run.dir)
            resumes = config.get("ckpt_path") == LAST and (run_dir / LAST_CKPT).is_file()
            if OmegaConf.is_interpolation(config.hydra.run, "dir"):
                _set_dir(config.hydra.run, run_dir if resumes else _claimed(run_dir))
            if config.get("train"):
                self._lock(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before a sweep. Its jobs compose their configurations anew, from Hydra's overrides."""
        with _as_in_a_run(config):
            sweep = config.hydra.sweep
            if OmegaConf.is_interpolation(sweep, "dir"):
                _set_dir(sweep, _claimed(Path(sweep.dir)))
                with read_write(config.hydra.overrides):
                    config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(sweep.dir))}")

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after a run."""
        self._unlock()

    def _lock(self, directory: Path) -> None:
        """Keep other processes out of a directory, or end this one where another keeps it out."""
        try:
            descriptor = lock_directory(directory)
        except BlockingIOError:
            complain(
                f"{directory}: another process is training in this directory. Wait for its end, or stop it; then run "
                "the same command again."
            )
            sys.exit(1)
        except OSError:  # not there yet, or on a file system without locks
            return
        self._unlock = weakref.finalize(self, os.close, descriptor)


@contextmanager
def _as_in_a_run(config: DictConfig) -> Iterator[None]:
    """Resolve `${hydra:…}` as Hydra will; what cannot be resolved it meets again, and reports it as its own errors."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    except OmegaConfBaseException:
        return
    finally:
        HydraConfig.instance().cfg = before


def _claimed(wanted: Path) -> Path:
    """A directory that this process has made; where it could not, the one that Hydra will fail to make as well."""
    try:
        return claim_directory(wanted)
    except OSError as error:
        return Path(error.filename or wanted)


def _set_dir(section: DictConfig, directory: Path) -> None:
    """Write out the directory of a run or a sweep."""
    with read_write(section):
        section.dir = str(directory)


def newest_run(log_dir: str | Path, task_name: str, experiment_name: str) -> Path | None:
    """The run whose `last.ckpt` was written last, or None if the experiment has no checkpoint.

    The age of the checkpoint counts, not the date in the directory's name, so that a run which was resumed and
    interrupted again is the newest.
    """
    checkpoints = Path(log_dir, task_name, experiment_name).glob(f"*/{LAST_CKPT.as_posix()}")
    newest = max(checkpoints, key=_age, default=None)
    return newest.parent.parent if newest else None


@functools.cache
def run_dir(log_dir: str, task_name: str, experiment_name: str, ckpt_path: str | None, stamp: str) -> str:
    """Directory of a run: `log_dir/task_name/experiment_name/second`, or that of the run which `ckpt_path=last` means.

    It names the first that is free, and makes nothing: see `ClaimDirectory`. The result for a stamp is kept, since a
    configuration may resolve it more than once and the directory exists the second time.

    Args:
        log_dir: Where all runs are.
        task_name: `train`, `eval`, …
        experiment_name: Name of the experiment.
        ckpt_path: As in the configuration.
        stamp: Date and time of the start as `second.microsecond`, so that no two runs have the same.
    """
    found = newest_run(log_dir, task_name, experiment_name) if ckpt_path == LAST else None
    if found:
        return str(found)
    first = Path(log_dir, task_name, experiment_name, stamp.partition(".")[0])
    candidate, count = first, 1
    while candidate.exists():
        count += 1
        candidate = first.with_name(f"{first.name}_{count}")
    return str(candidate)


def resolve_ckpt_path(cfg: DictConfig) -> str | None:
    """The checkpoint to resume from as a path, or None for a new run.

    Args:
        cfg: With `ckpt_path`, `task_name`, `experiment_name` and `paths`.

    Raises:
        ConfigError: If `ckpt_path` is `last` and the experiment has no checkpoint, or if there is no such file.
    """
    if cfg.ckpt_path is None:
        return None
    path = Path(cfg.paths.output_dir) / LAST_CKPT if cfg.ckpt_path == LAST else Path(cfg.ckpt_path)
    if path.is_file():
        return str(path)
    if cfg.ckpt_path != LAST:
        raise ConfigError(f"ckpt_path={cfg.ckpt_path}: there is no such file (looked from {Path.cwd()}).")
    experiment = Path(cfg.paths.log_dir, cfg.task_name, cfg.experiment_name)
    raise ConfigError(
        f"ckpt_path=last: no run in {experiment} has {LAST_CKPT}. Train first, choose the experiment that was"
        " trained (experiment=... or experiment_name=...), or name the file: ckpt_path=PATH."
        " In a multirun (-m) only a path will do."
    )


def trained_checkpoint(ckpt_path: str | None, log_dir: str | Path, experiment_name: str | None = None) -> Path:
    """The checkpoint that a program which does not train is to read.

    Args:
        ckpt_path: A path, or `last`: the last epoch of the training that wrote a checkpoint last. None: the best epoch
            that was written last, of any training.
        log_dir: Where all runs are.
        experiment_name: The experiment whose runs and jobs of sweeps `last` is looked for in; None: all.

    Raises:
        ConfigError: If there is none.
    """
    if ckpt_path and ckpt_path != LAST:
        return Path(ckpt_path)
    train_dir = Path(log_dir, "train")
    if ckpt_path == LAST:
        found = (path for part in ("*", "multiruns/*/*") for path in train_dir.glob(f"{part}/*/{LAST_CKPT.as_posix()}"))
        runs = f"run of {experiment_name}" if experiment_name else "run"
        missing = f"ckpt_path=last: no {runs} in {train_dir} has {LAST_CKPT}"
    else:
        found = (path for path in train_dir.rglob("checkpoints/*.ckpt") if not path.name.startswith("last"))
        experiment_name, missing = None, f"{train_dir}: no run has a checkpoint"
    for path in sorted(found, key=_age, reverse=True):
        if not experiment_name or _experiment_of(path.parents[1]) == experiment_name:
            return path
    raise ConfigError(f"{missing}. Train first (make ex), or name the file: ckpt_path=PATH.")


def _experiment_of(run: Path) -> str:
    """The experiment of a run: the name of its directory, but for a job of a sweep, which may be over experiments."""
    if run.parents[2].name != "multiruns":
        return run.parent.name
    try:
        config: Any = OmegaConf.load(run / HYDRA_CONFIG)
        return str(config["experiment_name"])
    except (OSError, YAMLError, OmegaConfBaseException, LookupError, TypeError):
        return run.parents[1].name


def _age(path: Path) -> tuple[int, str]:
    """Sorts files by their time, the newest last."""
    return path.stat().st_mtime_ns, path.as_posix()
