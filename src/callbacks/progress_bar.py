"""`TimedProgressBar`: Lightning's progress bar, for networks whose batches take a few milliseconds."""

from time import monotonic
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar


class TimedProgressBar(RichProgressBar):
    """A bar that goes by the clock alone: it hears of a batch and is drawn a few times a second.

    Lightning's own looks at the metrics after every batch, and is drawn at the beginning of every pass besides, which
    between batches of 10 ms takes as long as half a batch.

    Args:
        refresh_rate: How often it is drawn at most, per second; 0: never.
        **settings: Those of `RichProgressBar`.
    """

    def __init__(self, refresh_rate: int = 2, **settings: Any) -> None:
        super().__init__(refresh_rate=refresh_rate, **settings)
        self.due_at = 0.0  # seconds of the monotonic clock

    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            self.progress.refresh = self.progress.soft_refresh  # leaves the drawing to the thread that has the clock

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning after a step."""
        if self.is_enabled and self._is_due(batch_idx, self.total_train_batches):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning after a batch of validation."""
        if self.is_enabled and self._is_due(batch_idx, self.total_val_batches_current_dataloader):
            super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning after a batch of the test."""
        if self.is_enabled and self._is_due(batch_idx, self.total_test_batches_current_dataloader):
            super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def _is_due(self, batch_idx: int, n_batches: int | float) -> bool:
        """Whether a batch is to be shown."""
        now = monotonic()
        if now < self.due_at and batch_idx + 1 < n_batches:
            return False
        self.due_at = now + 1 / self.refresh_rate
        return True
