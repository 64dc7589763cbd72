"""`StopOnInterrupt`: no Ctrl-C and no SIGTERM is lost while Lightning works."""

import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from src.programs.signals import Interrupt, listen


class StopOnInterrupt(Callback):
    """Ends a training at its next batch where the exception of a signal was lost.

    Lightning's own handler of SIGTERM, set before these hooks, waits for the end of a chunk of batches, and for all
    processes of a training to get the signal. Lightning restores the handlers afterwards.
    """

    def __init__(self) -> None:
        self.interrupt = Interrupt()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before the first epoch."""
        self._listen()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before every validation."""
        self._listen()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before a test."""
        self._listen()

    def _listen(self) -> None:
        """Listen with the handler of the program, in a process that has one."""
        current: Any = signal.getsignal(signal.SIGINT)
        if isinstance(current, Interrupt):
            self.interrupt = current
        listen(self.interrupt)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Called by Lightning before every step."""
        self.interrupt.raise_again()
