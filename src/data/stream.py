"""`Stream`: training batches of sounds that are rendered while the network trains."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from src.data.vimh_dataset import BatchFormat
from src.errors import ConfigError

AHEAD = 64  # batches made in advance: the work of the thread during a validation
SOUNDS_OF_A_SEED = 2**40
CPU = torch.device("cpu")


class Stream:
    """Batches of sounds that are new in every epoch.

    Sound i of epoch e has the number `seed * 2^40 + e * n_samples + i`, and nothing but the number decides what it is:
    a resumed run gets the sounds that the uninterrupted one would have got. Devices that train together take an equal
    part of the epoch's numbers each, in one piece.

    The sounds are made by blocks of whole batches. Threads begin blocks, some ahead of the network, and the thread that
    trains finishes each when it comes to it. On the CPU a block is a batch, one thread makes it, and nothing is left to
    finish. Blocks begin at the same sounds in every run, wherever it was resumed.

    Args:
        begin: Makes the block of the sounds `start` to `stop - 1`, or a part of it; runs in a thread. What it raises is
            raised where the block is fetched.
        n_samples: Sounds an epoch, over all devices.
        batch_size: The most that a device gets at a time; batches are equal to within one sound.
        seed: Seeds have sounds of their own.
        rank: Number of this device.
        world_size: Number of devices.
        finish: Takes what `begin` returned, and returns the block as a batch.
        block_size: Sounds of a block, if that is more than a batch; the last of an epoch has what is left.
        n_threads: Threads that begin blocks.
        ahead: Blocks begun in advance.
        device: Where blocks are finished.

    Attributes:
        waited: Seconds for which the thread that trains waited for sounds, the work of `finish` included.
        worked: Seconds of processor time that `begin` took for the sounds that were fetched.
    """

    def __init__(
        self,
        begin: Callable[[int, int], Any],
        n_samples: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        finish: Callable[[Any], dict[str, Tensor]] = lambda block: block,
        block_size: int = 1,
        n_threads: int = 1,
        ahead: int = AHEAD,
        device: torch.device = CPU,
    ) -> None:
        if n_samples < world_size:
            raise ConfigError(f"data.stream_size is {n_samples}: fewer sounds an epoch than devices ({world_size}).")
        self.begin, self.finish = begin, finish
        self.n_samples = n_samples
        self.part = n_samples // world_size
        self.n_batches = -(-self.part // batch_size)
        self.batches_of_block = min(max(1, block_size // batch_size), self.n_batches)
        self.n_blocks = -(-self.n_batches // self.batches_of_block)
        self.first = seed * SOUNDS_OF_A_SEED + rank * self.part
        self.n_threads, self.ahead, self.device = n_threads, ahead, device
        self.epoch = 0
        self.waited = self.worked = 0.0
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future[Any]] = deque()
        self._next = 0  # number of the first pending block, counted over all epochs
        self._held: int | None = None  # number of the finished block, likewise
        self._block: dict[str, Tensor] = {}

    def set_epoch(self, epoch: int) -> None:
        """Choose the sounds of the next pass; Lightning calls it before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        first = self.epoch * len(self)
        for number in range(first, first + len(self)):
            yield self._batch(number)

    def _batch(self, number: int) -> dict[str, Tensor]:
        """The batch of a number, counted over all epochs: a view of its block."""
        epoch, batch = divmod(number, len(self))
        block = epoch * self.n_blocks + batch // self.batches_of_block
        if block != self._held:
            self._held, self._block = None, {}  # its memory is free, as far as nobody else has it
            self._held, self._block = block, self._fetch(block)
        start, stop = self._range(number)
        first, _ = self._range_of_block(block)
        return {key: tensor[start - first : stop - first] for key, tensor in self._block.items()}

    def _fetch(self, block: int) -> dict[str, Tensor]:
        """A block, finished; the threads are restarted if it is not the next one."""
        if self._pool is None or block != self._next:
            self.close()
            # PyTorch's own threads would wait by spinning, and take the cores from the network. `set_num_threads` acts
            # on the new thread alone if the calling thread has read its own number before, hence this call.
            torch.get_num_threads()
            self._pool = ThreadPoolExecutor(self.n_threads, "fresh-sounds", torch.set_num_threads, (1,))
            self._next = block
        while len(self._pending) <= self.ahead:
            numbers = self._range_of_block(self._next + len(self._pending))
            self._pending.append(self._pool.submit(_timed, self.begin, *numbers))
        self._next += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the training before it does not count as waiting for this block
        start = time.perf_counter()
        try:
            begun, seconds = self._pending.popleft().result()
            self.worked += seconds
            return self.finish(begun)
        finally:
            self.waited += time.perf_counter() - start

    def _range(self, number: int) -> tuple[int, int]:
        """First and one past the last sound of a batch, counted over all epochs."""
        epoch, batch = divmod(number, len(self))
        first = self.first + epoch * self.n_samples
        start, stop = (first - (-self.part * end // len(self)) for end in (batch, batch + 1))  # rounded up
        return start, stop

    def _range_of_block(self, block: int) -> tuple[int, int]:
        """The same of a block."""
        epoch, place = divmod(block, self.n_blocks)
        first = place * self.batches_of_block
        last = min(first + self.batches_of_block, len(self)) - 1
        return self._range(epoch * len(self) + first)[0], self._range(epoch * len(self) + last)[1]

    def close(self) -> None:
        """Stop the threads, and wait for their end."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._pending.clear()
        self._held, self._block = None, {}


def _timed(begin: Callable[[int, int], Any], start: int, stop: int) -> tuple[Any, float]:
    """What a function returns, and the processor time of this thread that it took, s."""
    before = time.thread_time()
    begun = begin(start, stop)
    return begun, time.thread_time() - before


class BlockMaker(Protocol):
    """Makes blocks of fresh sounds on a device: see `src.generation.FreshBlocks`."""

    def begin(self, start: int, stop: int) -> Any:
        """What the CPU does for the sounds `start` to `stop - 1`, with their `code` and `value`; runs in threads."""

    def finish(self, begun: Any) -> tuple[Tensor, np.ndarray, Tensor, np.ndarray]:
        """The rest, on the device, in the thread that trains: what `BatchFormat.of` takes."""

    def settings(self) -> dict[str, int]:
        """`block_size`, `n_threads` and `ahead` of the stream."""


@runtime_checkable
class DeviceSource(Protocol):
    """A source of fresh sounds whose images a device can make: see `src.generation.FreshSounds`."""

    def on(self, device: torch.device) -> BlockMaker:
        """What makes blocks of them on a device."""


def device_stream(
    source: DeviceSource, to_tensors: BatchFormat, device: torch.device, n_samples: int, **settings: Any
) -> Stream:
    """A stream whose batches are made on the device that trains, and stay there.

    A block is finished in the thread that trains, on the CUDA stream that it trains on: nothing is ever handed from one
    stream to another, and a training step that is captured as a graph meets no other work.

    Args:
        source: Makes the sounds.
        to_tensors: Makes batches of them.
        device: Which one.
        n_samples: Sounds an epoch, over all devices.
        **settings: `batch_size`, `seed`, `rank` and `world_size` of the stream.
    """
    blocks = source.on(device)

    def begin(start: int, stop: int) -> tuple[Any, dict[str, Tensor]]:
        begun = blocks.begin(start, stop)
        return begun, to_tensors.targets(begun.code, begun.value)

    def finish(block: tuple[Any, dict[str, Tensor]]) -> dict[str, Tensor]:
        begun, targets = block
        image, _, spec_range, _ = blocks.finish(begun)
        return to_tensors.joined(image, spec_range, targets)

    return Stream(begin, n_samples, **settings, **blocks.settings(), finish=finish, device=device)
