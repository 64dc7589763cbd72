"""`ModelCheckpoint`: Lightning's, for modules that make their own optimizer steps."""

from types import SimpleNamespace
from typing import Any

from lightning.pytorch import LightningModule, Trainer, callbacks


class ModelCheckpoint(callbacks.ModelCheckpoint):
    """Saves by steps and by the clock as it does for other modules.

    With manual optimization, Lightning's own ignores `train_time_interval` and warns that a checkpoint of
    `every_n_train_steps` holds the weights after the step, which is what is wanted.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning after a batch; all that the original asks of a module is who makes its steps."""
        super().on_train_batch_end(trainer, SimpleNamespace(automatic_optimization=True), outputs, batch, batch_idx)
