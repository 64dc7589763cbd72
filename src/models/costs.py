"""What a network costs: operations, time, and the number of threads that pays for them."""

import contextlib
import ctypes
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt (3)
KEPT = 2**30  # bytes
WORTH_A_THREAD = 250e6  # multiply-adds of a batch; with less, two threads wait for each other longer than they compute


def multiply_adds(net: nn.Module, example: tuple[Tensor, ...]) -> dict[str, int]:
    """Multiply-adds of the convolutions and matrix products of every module by its name; of all by "".

    torchinfo counts a linear layer once an image, however many tokens go through it, and does not see attention.

    Args:
        net: In eval mode.
        example: A batch of its inputs.
    """
    # Attention is counted as the matrix products that it is made of.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(*example)
    counts = {name.partition(".")[2]: sum(flops.values()) // 2 for name, flops in counter.get_flop_counts().items()}
    return counts | {"": counter.get_total_flops() // 2}


def useful_threads(net: nn.Module, example: tuple[Tensor, ...], batch_size: int, available: int) -> int:
    """Number of CPU threads that train a network fastest: one for each 250 million multiply-adds of a batch.

    The rule depends on the network alone, so that the same configuration always adds in the same order. On the two
    cores it was measured on, networks of a few thousand parameters train 1.2 to 2.1 times as fast on one thread as on
    two, and those of a million parameters 1.0 to 1.4 times as fast on two.

    Args:
        net: The network.
        example: A batch of its inputs.
        batch_size: Images in a batch of the training.
        available: How many there are.
    """
    was_training = net.training
    per_image = multiply_adds(net.eval(), example)[""] / len(example[0])
    net.train(was_training)
    return min(available, max(1, math.ceil(per_image * batch_size / WORTH_A_THREAD)))


@contextlib.contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Make PyTorch compute on so many threads, and on as many as before afterwards: the next job may need others."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Keep up to 1 GB that tensors have left for those to come, in place of handing it back to the system each time.

    A training step makes and frees tensors of megabytes by the dozen, and every page of memory that is new to the
    process costs a fault. `cnn_64k` on 32x64 images, a core of its own, ms a step with faults and without: 30.7 and
    28.8 in batches of 128, 84 and 53 of 256, 128 and 104 of 512; more where other programs take pages as well.

    It acts on glibc's allocator, for the whole process; others are left as they are.
    """
    with contextlib.suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT)


def median_ms(function: Callable[[], Any], repeats: int) -> float:
    """Median time of a call in milliseconds, after some to warm up."""
    seconds = []
    for _ in range(repeats + repeats // 10 + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[-repeats:]) * 1e3)
