"""`Stream`: training batches of sounds that are rendered while the network trains."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from src.errors import ConfigError

AHEAD = 64  # batches made in advance: the work of the thread during a validation
SOUNDS_OF_A_SEED = 2**40


class Stream:
    """Batches of sounds that are new in every epoch.

    One thread makes them, some batches ahead of the network. Sound i of epoch e has the number
    `seed * 2^40 + e * n_samples + i`, and nothing but the number decides what it is: a resumed run gets the sounds that
    the uninterrupted one would have got. Devices that train together take an equal part of the epoch's numbers each, in
    one piece.

    Args:
        make: Makes the batch of the sounds `start` to `stop - 1`; runs in the thread. What it raises is raised where
            its batch is fetched.
        n_samples: Sounds an epoch, over all devices.
        batch_size: The most that a device gets at a time; batches are equal to within one sound.
        seed: Seeds have sounds of their own.
        rank: Number of this device.
        world_size: Number of devices.
    """

    def __init__(
        self,
        make: Callable[[int, int], dict[str, Tensor]],
        n_samples: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if n_samples < world_size:
            raise ConfigError(f"data.stream_size is {n_samples}: fewer sounds an epoch than devices ({world_size}).")
        self.make = make
        self.n_samples = n_samples
        self.part = n_samples // world_size
        self.n_batches = -(-self.part // batch_size)
        self.first = seed * SOUNDS_OF_A_SEED + rank * self.part
        self.epoch = 0
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future[dict[str, Tensor]]] = deque()
        self._next = 0  # number of the first pending batch, counted over all epochs

    def set_epoch(self, epoch: int) -> None:
        """Choose the sounds of the next pass; Lightning calls it before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        first = self.epoch * len(self)
        for number in range(first, first + len(self)):
            yield self._take(number)

    def _take(self, number: int) -> dict[str, Tensor]:
        """The batch of a number, counted over all epochs; the thread is restarted if it is not the next one."""
        if self._pool is None or number != self._next:
            self.close()
            # PyTorch's own threads would wait by spinning, and take the cores from the network. `set_num_threads` acts
            # on the new thread alone if the calling thread has read its own number before, hence this call.
            torch.get_num_threads()
            self._pool = ThreadPoolExecutor(1, "fresh-sounds", initializer=torch.set_num_threads, initargs=(1,))
            self._next = number
        while len(self._pending) <= AHEAD:
            start, stop = self._range(self._next + len(self._pending))
            self._pending.append(self._pool.submit(self.make, start, stop))
        self._next += 1
        return self._pending.popleft().result()

    def _range(self, number: int) -> tuple[int, int]:
        """First and one past the last sound of a batch, counted over all epochs."""
        epoch, batch = divmod(number, len(self))
        first = self.first + epoch * self.n_samples
        start, stop = (first - (-self.part * end // len(self)) for end in (batch, batch + 1))  # rounded up
        return start, stop

    def close(self) -> None:
        """Stop the thread, and wait for its end."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._pending.clear()
