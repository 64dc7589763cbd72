"""`LeanLoop`: training steps of a few milliseconds, without a tenth of each for what surrounds them."""

import gc
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden

CALLED = (  # what `LeanEpochLoop` calls of callbacks, in this order at every batch
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
PASSED_OVER = (  # what it does not call of a module
    *CALLED,
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "on_after_batch_transfer",
    "on_before_batch_transfer",
    "optimizer_step",
    "optimizer_zero_grad",
)


class LeanLoop(Callback):
    """Lets a network whose steps take a few milliseconds spend them on training.

    Lightning's loop is made for steps that take long: each goes through some 400 calls of Python's, most of which only
    lead to a strategy, a precision, a profiler or a hook that has nothing to do. `LeanEpochLoop` takes its place where
    that is so. And Python's collector of garbage looks through all that was imported, for a third of a second, whenever
    figures have made enough new objects: what was there before the first epoch is set aside.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before the first epoch."""
        if is_simple(trainer, pl_module):
            trainer.fit_loop.epoch_loop = LeanEpochLoop.in_place_of(trainer.fit_loop.epoch_loop)
        gc.freeze()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        gc.unfreeze()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Called by Lightning when a training was stopped."""
        gc.unfreeze()


def is_simple(trainer: Trainer, module: LightningModule) -> bool:
    """Whether a training asks for nothing that `LeanEpochLoop` leaves out.

    That is: one device, full precision, no clipping, no profiler, and a module that does not change how a step goes.
    """
    data = trainer.datamodule
    return (
        type(trainer.fit_loop.epoch_loop) in (_TrainingEpochLoop, LeanEpochLoop)
        and type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) is Precision
        and type(trainer.profiler) is PassThroughProfiler
        and not trainer.gradient_clip_val
        and module.automatic_optimization
        and list(inspect.signature(module.training_step).parameters) == ["batch", "batch_idx"]
        and not any(is_overridden(hook, module) for hook in PASSED_OVER)
        and not any(hasattr(data, hook) and is_overridden(hook, data) for hook in PASSED_OVER)
    )


class LeanEpochLoop(_TrainingEpochLoop):
    """Takes every batch the straight way.

    Counts, the order of the hooks of callbacks and all results are those of `_TrainingEpochLoop.advance` and
    `_AutomaticOptimization.run` of Lightning 2.6, where `is_simple` holds.
    """

    module: LightningModule
    to_device: Callable[..., Any]
    hooks: dict[str, list[Callable[..., Any]]]

    @classmethod
    def in_place_of(cls, loop: _TrainingEpochLoop) -> Self:
        """The same loop, at the same place of the training, with the hooks that callbacks have by now."""
        lean = cls.__new__(cls)
        vars(lean).update(vars(loop))
        lean.module = lean.trainer.lightning_module
        lean.to_device = batch_mover(lean.trainer)
        lean.hooks = {
            name: [
                partial(getattr(callback, name), lean.trainer, lean.module)
                for callback in lean.trainer.callbacks
                if has_hook(callback, name)
            ]
            for name in CALLED
        }
        return lean

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Train on the next batch.

        Raises:
            StopIteration: If there is none.
        """
        trainer = self.trainer
        if self.restarting or trainer.accumulate_grad_batches > 1:  # a callback may change the latter any time
            super().advance(data_fetcher)
            return
        progress = self.batch_progress
        batch_idx = progress.current.ready
        batch, _, _ = next(data_fetcher)
        progress.is_last_batch = data_fetcher.done
        batch = self.to_device(batch, dataloader_idx=0)

        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        self._call("on_train_batch_start", batch, batch_idx)
        progress.increment_started()
        outputs = self._optimize(batch, batch_idx)
        progress.increment_processed()

        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self._call("on_train_batch_end", outputs, batch, batch_idx)
        trainer._logger_connector.on_batch_end()
        progress.increment_completed()
        trainer._logger_connector.update_train_step_metrics()

    def _optimize(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Make a step of the optimizer; returns what the module's step did."""
        optimizer = self.trainer.optimizers[0]
        progress = self.automatic_optimization.optim_progress.optimizer
        result = ClosureResult(None)

        def closure() -> Any:
            nonlocal result
            result = self._gradients(batch, batch_idx)
            self._call("on_before_optimizer_step", optimizer)
            return result.loss

        progress.step.increment_ready()
        optimizer.step(closure)  # some optimizers want the gradients several times
        progress.step.increment_completed()
        return {} if result.loss is None else result.asdict()

    def _gradients(self, batch: Any, batch_idx: int) -> ClosureResult:
        """Compute the gradients of a batch's loss; returns what the module's step did."""
        optimizer = self.trainer.optimizers[0]
        progress = self.automatic_optimization.optim_progress.optimizer.zero_grad
        self.module._current_fx_name = "training_step"
        result = ClosureResult.from_training_step_output(self.module.training_step(batch, batch_idx))
        progress.increment_ready()
        self._call("on_before_zero_grad", optimizer)
        progress.increment_started()
        optimizer.zero_grad()
        progress.increment_completed()
        if result.closure_loss is not None:
            self._call("on_before_backward", result.closure_loss)
            result.closure_loss.backward()
            self._call("on_after_backward")
        return result

    def _call(self, hook: str, *args: Any) -> None:
        """Call those callbacks that have a hook; the module notes which, to know what may be logged there."""
        self.module._current_fx_name = hook
        for function in self.hooks[hook]:
            function(*args)
        self.module._current_fx_name = None


def batch_mover(trainer: Trainer) -> Callable[..., Any]:
    """What moves a batch to the device of a training: the datamodule, if it has a way of its own."""
    data = trainer.datamodule
    if data is not None and is_overridden("transfer_batch_to_device", data):
        return partial(data.transfer_batch_to_device, device=trainer.strategy.root_device)
    return trainer.strategy.batch_to_device


def has_hook(callback: Callback, name: str) -> bool:
    """Whether a callback fills a hook, by its class or by itself."""
    return getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name)
