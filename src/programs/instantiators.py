"""Callbacks and loggers from their configurations."""

import importlib.util

import hydra
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from src.errors import ConfigError

# Class of a logger → what it imports, and what pip calls that.
LOGGER_PACKAGES = {
    "TensorBoardLogger": ("tensorboard", "tensorboard"),
    "WandbLogger": ("wandb", "wandb"),
    "MLFlowLogger": ("mlflow", "mlflow"),
    "CometLogger": ("comet_ml", "comet-ml"),
    "AimLogger": ("aim", "aim"),
}


def instantiate_callbacks(callbacks_cfg: DictConfig | None) -> list[Callback]:
    """Callbacks in the order of the configuration; an entry that is null is left out.

    Args:
        callbacks_cfg: Name to a configuration with `_target_`, or None.
    """
    return [hydra.utils.instantiate(entry) for entry in _entries(callbacks_cfg, "callbacks").values()]


def instantiate_loggers(logger_cfg: DictConfig | None) -> list[Logger]:
    """Loggers in the order of the configuration; an entry that is null is left out.

    Args:
        logger_cfg: Name to a configuration with `_target_`, or None.

    Raises:
        ConfigError: If a logger needs a package that is not installed, or is no longer supported.
    """
    entries = _entries(logger_cfg, "logger")
    for name, entry in entries.items():
        _check_available(name, entry)
    return [hydra.utils.instantiate(entry) for entry in entries.values()]


def _entries(group_cfg: DictConfig | None, group: str) -> dict[str, DictConfig]:
    entries = {str(name): entry for name, entry in (group_cfg or {}).items() if entry is not None}
    for name, entry in entries.items():
        if not isinstance(entry, DictConfig) or "_target_" not in entry:
            raise ConfigError(f"{group}.{name} has no _target_: name its class, or set it to null.")
    return entries


def _check_available(name: str, entry: DictConfig) -> None:
    class_name = entry["_target_"].rpartition(".")[2]
    if class_name == "NeptuneLogger":
        raise ConfigError(f"logger.{name}: Neptune has ended its service. Use another one, such as logger=mlflow.")
    module, package = LOGGER_PACKAGES.get(class_name, (None, None))
    if module and importlib.util.find_spec(module) is None:
        raise ConfigError(f"logger.{name} needs the package {package}, which is not installed: pip install {package}")
