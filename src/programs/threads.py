"""PyTorch's threads."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Within it, PyTorch computes on so many threads; afterwards on as many as before: the next job may want others."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
