"""Sweeps: what they cannot do, found before they begin, and the metric that a search optimizes.

Hydra calls `CheckSweep`, named in `configs/hydra/default.yaml`, and `PrepareStudy`, in `configs/hparams_search`.
"""

import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, SupportsFloat

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import ConfigError
from src.files import lock_directory
from src.programs.signals import Interrupt, listen
from src.text import complain, say

SQLITE = "sqlite:///"  # begins the URL of a database that is a file
OVERRIDES = "NSM_SWEEP"  # variable of the environment: overrides of the sweep, for its jobs in other processes


class CheckSweep(Callback):
    """Ends a program before a sweep that cannot work has made anything: no directory, no trial of a study.

    Attributes:
        begun: The configuration of the sweep that this process has begun last.
    """

    begun: DictConfig | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before a sweep. It would only warn of an error, so that this one ends the program here."""
        listen(Interrupt())  # what starts the jobs has to end them
        try:
            check_sweep_devices(configured_devices(config.get("trainer")))
        except ConfigError as error:
            complain(error)
            sys.exit(1)
        CheckSweep.begun = config
        overrides = list(OmegaConf.select(config, "hydra.overrides.task", default=[]))
        os.environ[OVERRIDES] = json.dumps(overrides)
        say(f"Sweep: {' '.join(overrides)}")


def discard_sweep_dir() -> None:
    """Delete the directory of a sweep whose jobs were refused: Hydra makes it before it reads their configurations."""
    if CheckSweep.begun is None:
        return
    with suppress(OSError, OmegaConfBaseException):
        sweep_dir = Path(CheckSweep.begun.hydra.sweep.dir)
        if [path.name for path in sweep_dir.iterdir()] == ["multirun.yaml"]:
            shutil.rmtree(sweep_dir)


class PrepareStudy(Callback):
    """Makes the database of a search, one process after another: two that begin at once would both make its tables.

    Args:
        url: Of the database, as Optuna takes it; None, or another one than a file, is left to Optuna.
        make: Makes its tables unless they are there: Optuna's storage, without arguments.
    """

    def __init__(self, url: str | None, make: Callable[[], Any]) -> None:
        self.url = url
        self.make = make

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before a sweep. It would only warn of an error, so that this one ends the program here."""
        logging.getLogger("optuna").setLevel(logging.WARNING)  # the sweeper says the same
        if not self.url or not self.url.startswith(SQLITE):
            return
        directory = Path(self.url.removeprefix(SQLITE)).parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = lock_directory(directory, wait=True)
        except OSError as error:
            complain(f"{error.filename}: {error.strerror}. Name another place: paths.log_dir=PATH")
            sys.exit(1)
        try:
            self.make()
        finally:
            os.close(lock)


def is_sweep() -> bool:
    """Whether this is a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def job_title() -> str:
    """Number of this job of a sweep, and the overrides that are its own, such as `#3 seed=2`."""
    job = HydraConfig.get()
    common = json.loads(os.environ.get(OVERRIDES, "[]"))
    own = [rounded(override) for override in job.overrides.task if override not in common]
    return " ".join([f"#{job.job.num}", *own])


def rounded(override: str) -> str:
    """An override as it is shown: numbers that a search has drawn have 17 digits."""
    key, _, value = override.partition("=")
    try:
        return f"{key}={float(value):.4g}" if "." in value else override
    except ValueError:
        return override


def configured_devices(trainer: DictConfig | None) -> int:
    """Number of devices that the section `trainer` asks for.

    Returns:
        1 where it leaves that to the machine (`auto`, -1), which Lightning resolves later; also without the section.
    """
    if trainer is None:
        return 1
    devices = trainer.get("devices", 1)
    if isinstance(devices, ListConfig):
        n_devices = len(devices)
    else:
        n_devices = devices if isinstance(devices, int) and devices > 0 else 1
    return n_devices * (trainer.get("num_nodes") or 1)


def check_sweep_devices(n_devices: int) -> None:
    """Refuse a sweep on several devices."""
    if n_devices > 1:
        raise ConfigError(
            f"A sweep cannot use {n_devices} devices: every process that they need would run this command line, "
            "and with it the sweep, again. Sweep on one device (trainer=default), or start the jobs one by one."
        )


def get_metric_value(metrics: Mapping[str, SupportsFloat], name: str | None, required: bool = True) -> float | None:
    """The metric that a hyper-parameter search optimizes; None when no name is given.

    Args:
        metrics: Name to value, as in `trainer.callback_metrics`.
        name: `cfg.optimized_metric`.
        required: Whether a search needs it. If not, a run without it, such as one that only tests, returns None.

    Raises:
        ConfigError: If no metric has that name, or it is no finite number: a search counts such a trial as failed.
    """
    if not name or not (required or name in metrics):
        return None
    if name not in metrics:
        known = ", ".join(sorted(metrics)) or "none"
        raise ConfigError(f"optimized_metric={name}: no such metric. This run has: {known}.")
    value = float(metrics[name])
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {value}: the training diverged. Lower model.optimizer.lr.")
    return value
