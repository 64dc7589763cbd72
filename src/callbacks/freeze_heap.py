"""`FreezeHeap`: excludes imported modules from garbage collection during a training."""

import gc

from lightning.pytorch import Callback, LightningModule, Trainer


class FreezeHeap(Callback):
    """Excludes all objects that exist before the first epoch from garbage collection (`gc.freeze`).

    Otherwise Python's garbage collector scans all imported modules, for a third of a second, whenever figures have
    made enough new objects.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before the first epoch."""
        gc.freeze()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        gc.unfreeze()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Called by Lightning when a training was stopped."""
        gc.unfreeze()
