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

from src.errors import ConfigError
from src.files import claim_directory, lock_directory
from src.hydra_versions import register_resolver
from src.overrides import quoted
from src.programs.output import RankedLogger, process_rank
from src.runs import LAST, LAST_CKPT, ChosenRun, choose_checkpoint, choose_run
from src.text import complain

log = RankedLogger(__name__)


def register_resolvers() -> None:
    """Register the resolver `run_dir` with OmegaConf, before Hydra reads a configuration."""
    register_resolver("run_dir", run_dir)


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


def checkpoint_to_read(
    run: str | None, ckpt_path: str | None, log_dir: str | Path, experiment_name: str | None = None
) -> Path:
    """The checkpoint of `run_to_read`."""
    return run_to_read(run, ckpt_path, log_dir, experiment_name).ckpt_path


def run_to_read(
    run: str | None, ckpt_path: str | None, log_dir: str | Path, experiment_name: str | None = None
) -> ChosenRun:
    """What a program which does not train is to read; the log says which, and why.

    Args:
        run: As `wanted` of `choose_run`.
        ckpt_path: Instead of it, a path, or `last`: the last epoch of the training that wrote one last.
        log_dir: Where all runs are.
        experiment_name: The experiment that the run is to be of; None: any.

    Raises:
        ConfigError: If there is none, or both are given.
    """
    if run is not None and ckpt_path is not None:
        raise ConfigError(f"run={run} and ckpt_path={ckpt_path}: name the run or its checkpoint, not both.")
    if ckpt_path is None:
        chosen = choose_run(run, log_dir, experiment_name)
    else:
        chosen = choose_checkpoint(ckpt_path, log_dir, experiment_name)
    log.info("%s", chosen.why)
    return chosen


def _age(path: Path) -> tuple[int, str]:
    """Sorts files by their time, the newest last."""
    return path.stat().st_mtime_ns, path.as_posix()
