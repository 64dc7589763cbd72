"""`FreezeHeap`: spares a training the search for garbage in what was imported."""

import gc

from lightning.pytorch import Callback, LightningModule, Trainer


class FreezeHeap(Callback):
    """Sets aside what was in memory before the first epoch.

    Python's garbage collector looks through everything that was imported, for a third of a second, whenever figures
    have made enough new objects.
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
