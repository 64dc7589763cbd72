"""Callbacks, loggers and trainer from their configurations, and the hyper-parameters that loggers get."""

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer, loggers
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch.utils.tensorboard import SummaryWriter

from src.errors import ConfigError
from src.hydra_versions import instantiate
from src.text import all_printable

# Class of a logger → what it imports, and what pip calls that.
LOGGER_PACKAGES = {
    "TensorBoardLogger": ("tensorboard", "tensorboard"),
    "WandbLogger": ("wandb", "wandb"),
    "MLFlowLogger": ("mlflow", "mlflow"),
    "CometLogger": ("comet_ml", "comet-ml"),
    "AimLogger": ("aim", "aim"),
}

LOGGED_SECTIONS = (
    *("task_name", "experiment_name", "tags", "seed", "ckpt_path"),
    *("data", "model", "loss", "augment", "trainer", "callbacks", "extras"),
)


def instantiate_callbacks(callbacks_cfg: DictConfig | None) -> list[Callback]:
    """Callbacks in the order of the configuration; an entry that is null is left out.

    Args:
        callbacks_cfg: Name to a configuration with `_target_`, or None.
    """
    return [instantiate(entry) for entry in _entries(callbacks_cfg, "callbacks").values()]


def instantiate_loggers(logger_cfg: DictConfig | None) -> list[Logger]:
    """Loggers in the order of the configuration; an entry that is null is left out.

    Args:
        logger_cfg: Name to a configuration with `_target_`, or None.

    Raises:
        ConfigError: If a logger needs a package that is not installed.
    """
    entries = _entries(logger_cfg, "logger")
    for name, entry in entries.items():
        module, package = LOGGER_PACKAGES.get(entry["_target_"].rpartition(".")[2], (None, None))
        if module and importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"logger.{name} needs the package {package}, which is not installed: pip install {package}"
            )
    return [instantiate(entry) for entry in entries.values()]


def instantiate_trainer(
    trainer_cfg: DictConfig, callbacks: Sequence[Callback], logger_cfg: DictConfig | None, **settings: Any
) -> Trainer:
    """The trainer of a configuration, which shows nothing of its own accord: a bar is a callback.

    Args:
        trainer_cfg: With `_target_`; `enable_progress_bar: false` leaves out a bar that is among the callbacks, and
            `enable_model_summary: true` has Lightning print its table of the layers.
        callbacks: All of them.
        logger_cfg: As for `instantiate_loggers`.
        **settings: Further arguments of the trainer.
    """
    shows_bar = trainer_cfg.get("enable_progress_bar", True)
    callbacks = [callback for callback in callbacks if shows_bar or not isinstance(callback, ProgressBar)]
    shown = {
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "enable_model_summary": trainer_cfg.get("enable_model_summary", False),
    }
    logger = instantiate_loggers(logger_cfg) or False
    return instantiate(trainer_cfg, callbacks=callbacks, logger=logger, **shown, **settings)


def _entries(group_cfg: DictConfig | None, group: str) -> dict[str, DictConfig]:
    """The entries of a group that are not null; each must name a class."""
    entries = {str(name): entry for name, entry in (group_cfg or {}).items() if entry is not None}
    for name, entry in entries.items():
        if not isinstance(entry, DictConfig) or "_target_" not in entry:
            raise ConfigError(f"{group}.{name} has no _target_: name its class, or set it to null.")
    return entries


class CSVLogger(loggers.CSVLogger):
    """Lightning's table of metrics, which may be continued by another process of the same run.

    `trainer=ddp_sim` trains and tests in processes of their own. Each holds only the columns that it has written
    itself, and Lightning's logger fails when it finds others in the file.
    """

    @rank_zero_only
    def save(self) -> None:
        """Write what was logged, under the columns of the file and new ones."""
        writer = self.experiment
        path = Path(writer.metrics_file_path)
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                writer.metrics_keys = sorted({*writer.metrics_keys, *next(csv.reader(file), [])})
        super().save()


def hyperparameters(cfg: DictConfig, model: LightningModule) -> dict[str, Any]:
    """The main sections of a configuration as plain data, and the parameter counts of its model."""
    plain = all_printable(OmegaConf.to_container(cfg, resolve=True))  # loggers fail at bytes of names that are no text
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {name: plain[name] for name in LOGGED_SECTIONS if name in plain} | {
        "model/params/total": total,
        "model/params/trainable": trainable,
        "model/params/non_trainable": total - trainable,
    }


def log_hyperparameters(cfg: DictConfig, model: LightningModule, trainer: Trainer) -> None:
    """Give `hyperparameters(cfg, model)` to every logger of a trainer."""
    for logger in trainer.loggers:
        logger.log_hyperparams(hyperparameters(cfg, model))


def hide_lost_steps(trainer: Trainer, steps: int) -> None:
    """Make TensorBoard hide what a run logged after the checkpoint that it resumes from; it will log that again.

    The mark is a file of its own. A writer with `purge_step` would mark again in every process, and with
    `trainer=ddp_sim` the one of the test would hide the training.

    Args:
        trainer: Its TensorBoard loggers have not written yet.
        steps: Optimizer steps of the checkpoint. What was logged at just this step, such as its validation, stays.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            SummaryWriter(logger.log_dir, purge_step=steps + 1).close()
