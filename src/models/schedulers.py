"""Learning rates over a training."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from src.errors import ConfigError


class WarmupCosine(LambdaLR):
    """From almost nothing up to the optimizer's learning rate in a straight line, then down to nothing along a cosine.

    The rate is a function of the share of all steps that are done (Loshchilov and Hutter 2017, without restarts). The
    number of steps is not kept in checkpoints: a run that is resumed with more epochs follows the longer curve.

    Args:
        optimizer: Whose learning rate is scaled.
        total_steps: Steps of the whole training.
        warmup: Share of them in which the rate rises.

    Raises:
        ConfigError: If the training has no end.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> None:
        if not math.isfinite(total_steps):
            raise ConfigError(
                "scheduler=cosine needs to know the end: give trainer.max_epochs or trainer.max_steps, or take "
                "scheduler=none."
            )
        rising = max(1.0, warmup * total_steps)

        def scale(step: int) -> float:
            if step < rising:
                return (step + 1) / (rising + 1)
            done = min(1.0, (step - rising) / max(1.0, total_steps - rising))
            return 0.5 * (1 + math.cos(math.pi * done))

        super().__init__(optimizer, scale)
