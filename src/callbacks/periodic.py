"""`Periodic`: base class of callbacks that write every few epochs, and after the last one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class Periodic(Callback, ABC):
    """Writes every few epochs, and after the last one unless that one is written already.

    Args:
        every_n_epochs: Epochs between two writes; 0: only after the last epoch.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs
        self.written_at: int | None = None  # optimizer steps

    @abstractmethod
    def write(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        """Write, if there is anything to write; returns whether there was."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after validation."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due and not trainer.sanity_checking:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        if self.written_at != trainer.global_step:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.write(trainer, pl_module):
            self.written_at = trainer.global_step


def predict_batches(
    trainer: Trainer, pl_module: LightningModule, batches: Sequence[Mapping[str, Tensor]]
) -> list[Mapping]:
    """Predictions for batches, each as `predict_step` returns it; the module's training mode is restored."""
    was_training = pl_module.training
    pl_module.eval()
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        predictions = [pl_module.predict_step(batch) for batch in batches]
    pl_module.train(was_training)
    return predictions
