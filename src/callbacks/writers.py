"""Where callbacks write: TensorBoard's own writers."""

from collections.abc import Mapping

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter


def tensorboard_loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    """The TensorBoard loggers of a trainer; none in any process but the first."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def tensorboard_writers(trainer: Trainer) -> list[SummaryWriter]:
    """The writers of the TensorBoard loggers of a trainer; none in any process but the first."""
    return [logger.experiment for logger in tensorboard_loggers(trainer)]


def add_scalars(writer: SummaryWriter, scalars: Mapping[str, float], step: int) -> None:
    """Write numbers of one step, by tag, as one event: each of its own takes `add_scalar` as long."""
    values = [Summary.Value(tag=tag, simple_value=number) for tag, number in scalars.items()]
    writer.file_writer.add_summary(Summary(value=values), step)
