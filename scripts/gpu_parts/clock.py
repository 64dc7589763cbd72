"""`Clock`: the time and the memory of a training at each of its epochs."""

import json
import math
import os
import resource
import sys
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of ru_maxrss


class Clock(Callback):
    """Writes a line of JSON at the beginning of each epoch, and at the end of the last: time, steps, bytes in use.

    It sees no batches, so that these are handed over as they would be without it.

    Args:
        path: Of the file.
        end: When to stop the training if it is not over, on the clock `time.monotonic`.
    """

    def __init__(self, path: str, end: float = math.inf) -> None:
        self.path = Path(path)
        self.end = end

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before every epoch."""
        self.note(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after every epoch."""
        trainer.should_stop |= time.monotonic() > self.end

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        self.note(trainer)

    def note(self, trainer: Trainer) -> None:
        """Write a line, when the device has done what it was told."""
        device = 0
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
            free, total = torch.cuda.mem_get_info()
            device = total - free
        line = {"time": time.monotonic(), "steps": trainer.global_step, "host": host_bytes(), "device": device}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def host_bytes() -> int:
    """Memory of this process; where the system does not say it, the most that it has been."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RUSAGE_UNIT
