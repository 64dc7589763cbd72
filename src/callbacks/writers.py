"""Where callbacks write: TensorBoard's own writers."""

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter


def tensorboard_loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    """The TensorBoard loggers of a trainer; none in any process but the first."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def tensorboard_writers(trainer: Trainer) -> list[SummaryWriter]:
    """The writers of the TensorBoard loggers of a trainer; none in any process but the first."""
    return [logger.experiment for logger in tensorboard_loggers(trainer)]
