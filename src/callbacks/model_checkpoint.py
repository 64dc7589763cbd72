"""`ModelCheckpoint`: Lightning's callback, for modules with manual optimization as well."""

from types import SimpleNamespace
from typing import Any

from lightning.pytorch import LightningModule, Trainer, callbacks


class ModelCheckpoint(callbacks.ModelCheckpoint):
    """Saves by steps and by time with manual optimization as with automatic optimization.

    Lightning's own then ignores `train_time_interval`, and warns that a checkpoint of `every_n_train_steps` holds the
    weights after the step, which is intended here.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning after a batch; the original reads only `automatic_optimization` of the module."""
        module: Any = SimpleNamespace(automatic_optimization=True)
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)
