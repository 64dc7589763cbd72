"""Which samples make up each batch of an epoch, and the thinnest loader there is."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from src.data.vimh_dataset import Samples
from src.errors import ConfigError


class BatchOrder(Sampler[Tensor]):
    """Numbers of the samples of every batch of an epoch.

    A shuffled order is a function of seed and epoch alone, so that a run that goes on sees the order that the
    uninterrupted one would have seen. The batches of an epoch are equal in size to within one sample. Devices that work
    together take every `world_size`-th sample each, and all have the same number of batches, because they wait for each
    other at every one; no sample is seen twice.

    Args:
        n_samples: Number of samples.
        batch_size: The most that a device gets at a time.
        seed: Chooses the orders. None: that of the file, always.
        rank: Number of this device.
        world_size: Number of devices.
        equal: Leave out the last samples of an epoch's order, fewer than `world_size`, so that all devices have equally
            many: gradients are averaged over devices. Without it no sample is left out: metrics are summed.

    Raises:
        ConfigError: If a device would be left without samples for a batch.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        equal: bool = False,
    ) -> None:
        self.n_samples = n_samples
        self.used = n_samples - n_samples % world_size if equal else n_samples
        self.n_batches = -(-self.used // (batch_size * world_size))
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        if n_samples // world_size < max(1, self.n_batches):
            raise ConfigError(
                f"{n_samples} samples in batches of {batch_size} leave one of {world_size} devices with nothing to do. "
                "Take fewer devices, a larger data.batch_size, or a larger dataset."
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; Lightning calls it before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Tensor]:
        # A generator, so that an iterator that was made before `set_epoch` still gives the right epoch.
        part = self.order()[: self.used][self.rank :: self.world_size]
        yield from part.tensor_split(len(self))

    def order(self) -> Tensor:
        """Numbers of all samples in the order of the epoch, int64, `(sample,)`."""
        if self.seed is None:
            return torch.arange(self.n_samples)
        source = np.random.SeedSequence(self.seed, spawn_key=(self.epoch,))
        return torch.from_numpy(np.random.default_rng(source).permutation(self.n_samples))


class Batches:
    """A loader without processes: a dataset's batches in an order.

    It spends half the time of PyTorch's `DataLoader`, and gives the same.

    Args:
        samples: Gives a batch for an array of numbers.
        order: Lightning finds it by the name `sampler`, and tells it the epoch.
        pin: Make the batches page-locked.
    """

    batch_sampler = None  # as a `DataLoader` has it whose sampler gives the numbers of whole batches

    def __init__(self, samples: Samples, order: BatchOrder, pin: bool = False) -> None:
        self.samples = samples
        self.sampler = order
        self.pin = pin

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for numbers in self.sampler:
            batch = self.samples[numbers]
            yield page_locked(batch) if self.pin else batch


def page_locked(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch in memory from which a GPU fetches by itself, while the program goes on."""
    return {key: tensor.pin_memory() for key, tensor in batch.items()}
