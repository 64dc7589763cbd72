"""`TrainingBar`: how far a training, a validation or a test is, in one line."""

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from src.programs.output import ProgressLine
from src.programs.sweep import is_sweep

SECONDS_BETWEEN_READINGS = 0.2  # of metrics, which on a GPU have to be waited for


class TrainingBar(ProgressBar):
    """A line for the whole training: epoch, bar, metrics, samples in a second, and the time left.

    It is drawn by the first process alone, and by none of those that run jobs of a sweep side by side.

    Args:
        metrics: Names of the metrics to show, the most important first; those that are not there yet are left out.
            Without validation, those of the training samples take their places.
    """

    def __init__(self, metrics: Sequence[str] = ("val/loss", "val/acc")) -> None:
        super().__init__()
        self.metrics = list(metrics)
        self.is_enabled = True
        self.line: ProgressLine | None = None
        self.n_samples = 0
        self.status = ""
        self.read_at = 0.0

    def disable(self) -> None:
        """Draw nothing; Lightning calls it in all processes but the first."""
        self.is_enabled = False

    def enable(self) -> None:
        """Draw again."""
        self.is_enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before the first epoch, also of a resumed training."""
        self._begin("Training", stays=not is_sweep())
        if self.line is not None:
            self.line.begin_at(progress_of(trainer, 0)[1])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning after a chunk of batches."""
        self._count(trainer, batch)
        self._show(trainer, batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after a validation, within a training or not."""
        if trainer.state.fn == "validate":
            self._end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        if self.line is not None:
            self.status = self._figures(trainer)
            self.line.show(self.line.share, self.status, self.n_samples)
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Called by Lightning when something has ended a training or a test, so that messages stand below the line."""
        self._end()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before a validation, within a training or not."""
        if trainer.state.fn == "validate":
            self._begin("Validating", stays=False)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before a test."""
        self._begin("Testing", stays=False)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning after a chunk of batches of a validation, within a training or not."""
        if trainer.state.fn == "validate":
            self._count_tested(trainer, batch, batch_idx, sum(trainer.num_val_batches))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning after a chunk of batches of a test."""
        self._count_tested(trainer, batch, batch_idx, sum(trainer.num_test_batches))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after a test."""
        self._end()

    def _begin(self, description: str, stays: bool) -> None:
        self.n_samples, self.status, self.read_at = 0, "", 0.0
        is_beside_others = is_sweep() and multiprocessing.current_process().name != "MainProcess"
        if self.is_enabled and not is_beside_others:
            self.line = ProgressLine(description, "samples", stays, final=stays).__enter__()

    def _end(self) -> None:
        if self.line is not None:
            self.line.__exit__()
        self.line = None

    def _count(self, trainer: Trainer, chunk: Sequence[Mapping[str, Any]]) -> None:
        """Count the samples of a chunk, and those that other devices had at the same time."""
        self.n_samples += sum(len(batch["image"]) for batch in chunk) * trainer.world_size

    def _count_tested(self, trainer: Trainer, chunk: Any, batch_idx: int, n_chunks: float) -> None:
        self._count(trainer, chunk)
        if self.line is not None:
            self.line.show((batch_idx + 1) / n_chunks, "", self.n_samples)

    def _show(self, trainer: Trainer, n_chunks: int) -> None:
        """Show how far the training is.

        Args:
            trainer: Of the training.
            n_chunks: How many chunks of the epoch are done.
        """
        if self.line is None:
            return
        if time.monotonic() - self.read_at > SECONDS_BETWEEN_READINGS:
            self.read_at = time.monotonic()
            self.status = self._figures(trainer)
        description, share = progress_of(trainer, n_chunks)
        self.line.show(share, self.status, self.n_samples, description)

    def _figures(self, trainer: Trainer) -> str:
        """Names and values of the metrics."""
        found = trainer.callback_metrics
        names = [name for name in self.metrics if name in found]
        names = names or [f"train/{name.partition('/')[2]}" for name in self.metrics]
        return "  ".join(f"{name} {figure(float(found[name]))}" for name in names if name in found)


def progress_of(trainer: Trainer, n_chunks: int) -> tuple[str, float | None]:
    """Where a training is, in words and as a share of the whole; that is None for one without an end.

    Args:
        trainer: Of the training. It ends after an epoch or after a step, whatever comes first.
        n_chunks: How many chunks of the present epoch are done.
    """
    epoch, most_epochs, most_steps = trainer.current_epoch, trainer.max_epochs or -1, trainer.max_steps
    epochs = (epoch + n_chunks / trainer.num_training_batches) / most_epochs if most_epochs > 0 else None
    steps = trainer.global_step / most_steps if most_steps > 0 else None
    if steps is not None and steps > (epochs or 0.0):
        return f"Step {trainer.global_step:,}/{most_steps:,}", steps
    if epochs is None:
        return f"Epoch {epoch + 1}", steps
    return f"Epoch {epoch + 1:>{len(str(most_epochs))}}/{most_epochs}", epochs


def figure(number: float) -> str:
    """A metric in a few characters, as many most of the time."""
    return f"{number:.3f}" if 0.1 <= abs(number) < 1000 or number == 0 else f"{number:.3g}"
