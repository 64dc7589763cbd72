"""`LeanLoop`: spares the training loop what does nothing."""

import contextlib
import gc

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

EACH_BATCH = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_batch_start",
    "on_validation_batch_end",
)


class LeanLoop(Callback):
    """Lets a network whose steps take a few milliseconds spend them on training.

    Lightning calls every hook of every callback at every batch, each within a context that names it to the profiler:
    with the callbacks of `default` some 60 calls of empty functions a step. And Python's collector of garbage looks
    through all that was imported, for a third of a second, whenever figures have made enough new objects.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called by Lightning before everything."""
        for callback in trainer.callbacks:
            leave_out_empty_hooks(callback)
        if type(trainer.profiler) is PassThroughProfiler:
            trainer.profiler = NoProfiler()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before the first epoch: what is there by now stays, and need not be looked through."""
        gc.freeze()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        gc.unfreeze()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Called by Lightning when a training was stopped."""
        gc.unfreeze()


def leave_out_empty_hooks(callback: Callback) -> None:
    """Make those hooks of batches that a callback does not fill None: Lightning calls what can be called."""
    for hook in EACH_BATCH:
        if getattr(getattr(callback, hook), "__func__", None) is getattr(Callback, hook):
            setattr(callback, hook, None)


class NoProfiler(PassThroughProfiler):
    """Measures nothing, like its parent, which makes a generator each time to do so."""

    def profile(self, action_name: str) -> contextlib.nullcontext[None]:
        """What is to be measured runs within it."""
        return NOTHING


NOTHING: contextlib.nullcontext[None] = contextlib.nullcontext()
