"""What a run was made with, for its loggers."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch.utils.tensorboard import SummaryWriter

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


def parameter_counts(model: LightningModule) -> dict[str, int]:
    """Number of parameters: all, those that are trained, those that are not."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {
        "model/params/total": total,
        "model/params/trainable": trainable,
        "model/params/non_trainable": total - trainable,
    }


def hyperparameters(cfg: DictConfig, model: LightningModule) -> dict[str, Any]:
    """The main sections of a configuration as plain data, and the parameter counts of its model."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    return {name: plain[name] for name in LOGGED_SECTIONS if name in plain} | parameter_counts(model)


def hide_lost_steps(trainer: Trainer, steps: int) -> None:
    """Lets TensorBoard forget what a run showed after the checkpoint that it goes on from: it will show that again.

    The mark is a file of its own. A writer that is told of it marks anew in every process, and with `trainer=ddp_sim`
    the one of the test would hide the training.

    Args:
        trainer: Its TensorBoard loggers have not written yet.
        steps: Optimizer steps of the checkpoint. What was logged at just this step, such as its validation, stays.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            SummaryWriter(logger.log_dir, purge_step=steps + 1).close()


def log_hyperparameters(cfg: DictConfig, model: LightningModule, trainer: Trainer) -> None:
    """Hands the hyper-parameters to every logger of the trainer.

    Args:
        cfg: The whole configuration of the run.
        model: What is trained.
        trainer: Its loggers receive `hyperparameters(cfg, model)`.
    """
    for logger in trainer.loggers:
        logger.log_hyperparams(hyperparameters(cfg, model))
