"""`StopOnInterrupt`: no Ctrl-C is lost while a network trains."""

import signal
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer


class StopOnInterrupt(Callback):
    """Stops a training at its next batch where the KeyboardInterrupt of a Ctrl-C was lost.

    Python raises it wherever the program is at that moment. In a destructor, or where C code calls Python, it is at
    most reported as ignored, and the training would continue.
    """

    def __init__(self) -> None:
        self.noticed = False
        self.before: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before a training; Python delivers signals to the main thread only."""
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self.notice)

    def notice(self, signum: int, frame: FrameType | None) -> None:
        """Called at a Ctrl-C."""
        self.noticed = True
        signal.default_int_handler(signum, frame)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Called by Lightning before every step."""
        if self.noticed:
            raise KeyboardInterrupt

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after a training."""
        self._restore_handler()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Called by Lightning when a training was stopped."""
        self._restore_handler()

    def _restore_handler(self) -> None:
        """Restore the previous handler, unless another one has been installed meanwhile."""
        if signal.getsignal(signal.SIGINT) == self.notice:
            signal.signal(signal.SIGINT, self.before)
