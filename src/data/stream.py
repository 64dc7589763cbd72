"""`Stream`: training batches of sounds that are made while the network trains."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice, pairwise

import torch
from torch import Tensor

from src.errors import ConfigError

AHEAD = 64  # batches that are made before they are wanted: what the thread does during a validation
SOUNDS_OF_A_SEED = 2**40

Batch = dict[str, Tensor]


class Stream:
    """A loader of sounds that nobody heard before, every epoch.

    One thread makes them, a few batches ahead of the network. Sound i of epoch e has the number
    `seed * 2^40 + e * n_samples + i`, and nothing but the number decides what it is: a run that goes on hears what the
    uninterrupted one would have heard. Devices that work together take an equal part of the epoch's numbers each, in
    one piece.

    Args:
        make: Makes the batch of the sounds `start` to `stop - 1`; runs in the thread.
        n_samples: Sounds an epoch, over all devices.
        batch_size: The most that a device gets at a time; batches are equal to within one sound.
        seed: Seeds have sounds of their own.
        rank: Number of this device.
        world_size: Number of devices.
    """

    batch_sampler = None  # Lightning asks for it where there is a `sampler`

    def __init__(
        self,
        make: Callable[[int, int], Batch],
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
        self._maker: _Maker | None = None
        self._ready_for: int | None = None  # the epoch whose first batch the maker gives next

    @property
    def sampler(self) -> "Stream":
        """What Lightning tells the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the sounds of the next pass; Lightning calls it before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch
        if self._maker is None or self._ready_for != epoch:
            self.close()
            self._maker = _Maker(self.make, self.ranges(epoch))
        maker, self._ready_for = self._maker, None
        for _ in range(len(self)):
            yield maker.next()
        self._ready_for = epoch + 1

    def ranges(self, epoch: int) -> Iterator[tuple[int, int]]:
        """First and one past the last number of each batch, from an epoch on, without end."""
        for number in count(epoch):
            first = self.first + number * self.n_samples
            ends = [first - (-self.part * batch // len(self)) for batch in range(len(self) + 1)]  # rounded up
            yield from pairwise(ends)

    def close(self) -> None:
        """Stop the thread, and wait for its end."""
        if self._maker is not None:
            self._maker.close()
        self._maker, self._ready_for = None, None


class _Maker:
    """One thread that makes batches in order; what goes wrong in it is raised where its batch is fetched."""

    def __init__(self, make: Callable[[int, int], Batch], ranges: Iterator[tuple[int, int]]) -> None:
        self._make = make
        self._ranges = ranges
        # PyTorch's own threads would wait by spinning, and take the cores from the network. This sets them for the new
        # thread alone, once the thread of the caller has its number, which asking for it makes sure of.
        torch.get_num_threads()
        self._pool = ThreadPoolExecutor(1, "fresh-sounds", initializer=torch.set_num_threads, initargs=(1,))
        self._pending: deque[Future[Batch]] = deque()
        self._submit(AHEAD)

    def next(self) -> Batch:
        self._submit(1)
        return self._pending.popleft().result()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, n_batches: int) -> None:
        for start, stop in islice(self._ranges, n_batches):
            self._pending.append(self._pool.submit(self._make, start, stop))
