"""Time of work on a device."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

LEAST_CALLS = 5


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of_call(call: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Median time of a call, after one that does not count; it is repeated for some seconds, and a few times at least.

    Args:
        call: Gives a device work.
        device: Which one; each call is waited for.
        seconds: To spend.
    """
    call()
    synchronize(device)
    times: list[float] = []
    while len(times) < LEAST_CALLS or sum(times) < seconds:
        start = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
