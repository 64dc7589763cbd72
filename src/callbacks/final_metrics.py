"""`FinalMetrics`: a row in TensorBoard's HParams tab, with what a run reached."""

from lightning.pytorch import Callback, LightningModule, Trainer

from src.callbacks.writers import tensorboard_loggers


class FinalMetrics(Callback):
    """Writes the hyper-parameters of a logger, with the metrics of the test, or else of the last validation.

    Args:
        tested: Whether a test follows the training; the row is written after it, since a run has one row.
    """

    def __init__(self, tested: bool = True) -> None:
        self.tested = tested

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        if not self.tested:
            write_row(trainer, "val/")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the test."""
        write_row(trainer, "test/")


def write_row(trainer: Trainer, prefix: str) -> None:
    """Write hyper-parameters, and those metrics whose names begin with `prefix`."""
    found = trainer.callback_metrics.items()
    metrics = {name: float(value) for name, value in found if name.startswith(prefix)}
    for logger in tensorboard_loggers(trainer):
        logger.log_hyperparams(dict(logger.hparams), metrics, step=trainer.global_step)
