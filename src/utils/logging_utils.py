"""What a run was made with, for its loggers."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

LOGGED_SECTIONS = (
    "task_name",
    "experiment_name",
    "tags",
    "seed",
    "ckpt_path",
    "data",
    "model",
    "loss",
    "trainer",
    "callbacks",
    "extras",
)


def parameter_counts(model: "LightningModule") -> dict[str, int]:
    """Number of parameters: all, those that are trained, those that are not."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {
        "model/params/total": total,
        "model/params/trainable": trainable,
        "model/params/non_trainable": total - trainable,
    }


def hyperparameters(cfg: DictConfig, model: "LightningModule") -> dict[str, Any]:
    """The main sections of a configuration as plain data, and the parameter counts of its model."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    return {name: plain[name] for name in LOGGED_SECTIONS if name in plain} | parameter_counts(model)


def log_hyperparameters(cfg: DictConfig, model: "LightningModule", trainer: "Trainer") -> None:
    """Hands the hyper-parameters to every logger of the trainer.

    Args:
        cfg: The whole configuration of the run.
        model: What is trained.
        trainer: Its loggers receive `hyperparameters(cfg, model)`.
    """
    for logger in trainer.loggers:
        logger.log_hyperparams(hyperparameters(cfg, model))
