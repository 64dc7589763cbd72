"""`Periodic`: base class of callbacks that write every few epochs, and after the last one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class Periodic(Callback, ABC):
    """Writes every few epochs, and after the last one unless that one is written already.

    The samples are the first ones that validate, as the first process sees them.

    Args:
        every_n_epochs: Epochs between two writes; 0: only after the last epoch.
        n_samples: How many samples are shown, at most.
    """

    def __init__(self, every_n_epochs: int, n_samples: int) -> None:
        self.every_n_epochs = every_n_epochs
        self.n_samples = n_samples
        self.batches: list[Mapping[str, Tensor]] = []  # together n_samples or more, if so many validate
        self.written_at: int | None = None  # optimizer steps

    @abstractmethod
    def write(self, trainer: Trainer, pl_module: Any) -> bool:
        """Write, if there is anything to write; returns whether there was. The module is a `VIMHLitModule`."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before validation."""
        self.batches = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sequence[Mapping[str, Tensor]],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning after a chunk of validation batches.

        They are kept as far as they are shown: reading them again would use random numbers.
        """
        for each in batch:
            if sum(len(kept["image"]) for kept in self.batches) < self.n_samples:
                self.batches.append(each)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after validation."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due and not trainer.sanity_checking:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        if self.written_at != trainer.global_step:
            self._write(trainer, pl_module)
        self.batches = []

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.write(trainer, pl_module):
            self.written_at = trainer.global_step


def predict_batches(
    trainer: Trainer, pl_module: LightningModule, batches: Sequence[Mapping[str, Tensor]]
) -> list[Mapping[str, Any]]:
    """Predictions for batches, each as `predict_step` returns it; the module's training mode is restored."""
    was_training = pl_module.training
    pl_module.eval()
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        predictions = [pl_module.predict_step(batch) for batch in batches]
    pl_module.train(was_training)
    return predictions
