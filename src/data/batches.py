"""Which samples make up each batch of an epoch, and the loaders that hand batches over in chunks."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from src.data.vimh_dataset import Numbers, Samples
from src.errors import ConfigError, NSMError

CHUNK_SAMPLES = 4096
CHUNK_BYTES = 64_000_000  # of images, where samples are large
BATCHES_ON_GPU = 16  # at least, however large: a GPU is done with two before the next chunk is there
CPU = torch.device("cpu")


class BatchOrder(Sampler[Tensor]):
    """Numbers of the samples of every batch of an epoch.

    A shuffled order is a function of seed and epoch alone, so that a resumed run sees the order that the uninterrupted
    one would have seen. The batches of an epoch are equal in size to within one sample. Devices that train together
    take every `world_size`-th sample each, and all have the same number of batches, because they wait for each other at
    every one; no sample is seen twice.

    Balanced, an epoch has as many samples as ever, but equally many of every class, to within one. Of a class with
    fewer samples than that each is seen equally often, to within one; of a class with more, others in every epoch.

    Args:
        n_samples: Number of samples.
        batch_size: The most that a device gets at a time.
        seed: Chooses the orders. None: that of the file, always.
        rank: Number of this device.
        world_size: Number of devices.
        equal: Leave out the last samples of an epoch's order, fewer than `world_size`, so that all devices have equally
            many: gradients are averaged over devices. Without it no sample is left out: metrics are summed.
        classes: Of every sample, whole numbers, `(sample,)`: shuffled orders are balanced. None: they are not.

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
        classes: np.ndarray | None = None,
    ) -> None:
        self.n_samples = n_samples
        self.used = n_samples - n_samples % world_size if equal else n_samples
        self.n_batches = -(-self.used // (batch_size * world_size))
        self.seed = seed
        self.members = [] if classes is None else [np.flatnonzero(classes == c) for c in np.unique(classes)]
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
        return self.on(CPU)

    def on(self, device: torch.device) -> Iterator[Tensor]:
        """The same numbers on a device: a copy for each batch would wait for the step before it, one does not."""
        # A generator, so that an iterator that was made before `set_epoch` still gives the right epoch.
        order = torch.from_numpy(self.of_epoch(self.epoch))[: self.used][self.rank :: self.world_size]
        if device.type == "cuda":
            order = order.contiguous().pin_memory().to(device, non_blocking=True)
        yield from order.tensor_split(len(self))

    def of_epoch(self, epoch: int) -> np.ndarray:
        """Numbers of the samples of an epoch, of all devices."""
        if self.seed is None:
            return np.arange(self.n_samples)
        return self._shuffled(np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch,))))

    def _shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """Numbers of the samples of an epoch."""
        if not self.members:
            return rng.permutation(self.n_samples)
        n_each, n_more = divmod(self.n_samples, len(self.members))
        quotas = n_each + (rng.permutation(len(self.members)) < n_more)
        drawn = []
        for members, quota in zip(self.members, quotas.tolist(), strict=True):
            n_times, n_rest = divmod(quota, len(members))
            drawn += [*[members] * n_times, rng.choice(members, n_rest, replace=False)]
        return rng.permutation(np.concatenate(drawn))


class Batches:
    """The batches of a dataset in an order, read by the process that trains.

    It spends half the time of PyTorch's `DataLoader`, and gives the same.

    Args:
        samples: Gives a batch for an array of numbers.
        order: Numbers of the samples of every batch.
        pin: Make the batches page-locked.
    """

    def __init__(self, samples: Samples, order: BatchOrder, pin: bool = False) -> None:
        self.samples = samples
        self.order = order
        self.pin = pin

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for numbers in self.order.on(self.samples.device):
            batch = self.samples[numbers]
            yield page_locked(batch) if self.pin else batch


class Reporting(Samples):
    """Samples that are read in another process: what is wrong with them is handed over in place of a batch.

    PyTorch would hand over its traceback, as text, in an error of the same class.

    Args:
        samples: What is read.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, items: Numbers) -> dict[str, Tensor] | NSMError:  # type: ignore[override]  # its point
        """A batch, or an error."""
        try:
            return self.samples[items]
        except NSMError as error:
            return error


class WorkerBatches:
    """The batches of a dataset in an order, read by other processes, which stay from epoch to epoch.

    Args:
        samples: Gives a batch for an array of numbers.
        order: Numbers of the samples of every batch.
        **settings: Of PyTorch's `DataLoader`.

    Raises:
        NSMError: While iterating, if one of the processes is refused.
    """

    def __init__(self, samples: Samples, order: BatchOrder, **settings: Any) -> None:
        self.order = order
        self._make = partial(DataLoader, Reporting(samples), sampler=order, batch_size=None, **settings)
        self._loader: DataLoader[Any] | None = None

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        self._loader = self._loader or self._make()
        for batch in self._loader:
            if isinstance(batch, NSMError):
                raise batch
            yield batch

    def close(self) -> None:
        """End the processes. Left to the garbage collector, PyTorch waits five seconds for each of them."""
        self._loader = None


class Chunks:
    """A loader that hands over several batches at a time, as a list.

    Lightning takes about a millisecond for each thing that a loader gives, which is a good part of the training step of
    a small network. `VIMHLitModule` makes an optimizer step for each batch of a chunk.

    Within an epoch, a checkpoint keeps how many batches were handed over; a resumed training begins with the next, by
    the rest of the chunk that it is in.

    Args:
        batches: The batches of an epoch.
        sampler: Has the method `set_epoch`; Lightning finds it by this name.
        size: Batches of a chunk; the last chunk of an epoch has what is left.

    Attributes:
        lengths: Batches of every chunk of an epoch.
    """

    batch_sampler = None  # Lightning asks for it where there is a `sampler`

    def __init__(self, batches: Collection[dict[str, Tensor]], sampler: object, size: int) -> None:
        self.batches = batches
        self.sampler = sampler
        self.lengths = [min(size, len(batches) - first) for first in range(0, len(batches), size)]
        self._n_given = 0  # batches
        self._n_skipped = 0  # batches at the beginning of the next pass

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[list[dict[str, Tensor]]]:
        # A generator: Lightning calls `set_epoch` after it has made the iterator.
        first, self._n_skipped = self._n_skipped, 0
        batches = itertools.islice(self.batches, first, None)
        for end in itertools.accumulate(self.lengths):
            if end > first:
                self._n_given = end
                yield list(itertools.islice(batches, end - first))
                first = end

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch were handed over; none after the last."""
        return {"n_batches": self._n_given % len(self.batches)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Begin the next pass where another one ended."""
        self._n_skipped = state["n_batches"]


def batches_per_chunk(trainer: Trainer | None, stage: str, batch_size: int, n_bytes: int) -> int:
    """Batches that are handed over together: about 4,096 samples, or a single batch where Lightning counts batches.

    On a GPU there are at least 16 of them, if their images fit.

    Args:
        trainer: Its settings decide whether it counts batches.
        stage: `train`, `val` or `test`.
        batch_size: Of this device.
        n_bytes: Size of an image.
    """
    if trainer is not None and counts_batches(trainer, stage):
        return 1
    on_gpu = trainer is not None and trainer.strategy.root_device.type == "cuda"
    n_batches = max(CHUNK_SAMPLES // batch_size, BATCHES_ON_GPU if on_gpu else 1)
    return max(1, min(n_batches, CHUNK_BYTES // n_bytes // batch_size))


def counts_batches(trainer: Trainer, stage: str) -> bool:
    """Whether something depends on how many batches of a stage Lightning has counted.

    That is: a limit of batches (`fast_dev_run` and `overfit_batches` are such), a limit of steps, a validation within
    an epoch, and a callback that is called at every training batch. The progress bar and a checkpoint of whole epochs
    are called, too, but count nothing that matters.
    """
    if not _is_everything(getattr(trainer, f"limit_{stage}_batches")):
        return True
    return stage == "train" and (
        trainer.max_steps != -1
        or trainer.min_steps is not None
        or not _is_everything(trainer.val_check_interval)
        or any(map(_counts, trainer.callbacks))  # type: ignore[attr-defined]  # Lightning sets it from outside
    )


def _is_everything(limit: object) -> bool:
    """Whether a limit is the share 1.0; the whole number 1 means a single batch."""
    return isinstance(limit, float) and limit == 1.0


def _counts(callback: Callback) -> bool:
    """Whether a callback depends on being called at every training batch."""
    if isinstance(callback, ModelCheckpoint):
        return not callback.every_n_epochs  # then it saves by steps or by time
    hooks = ("on_train_batch_start", "on_train_batch_end")
    return not isinstance(callback, ProgressBar) and any(is_overridden(hook, callback) for hook in hooks)


def page_locked(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch in page-locked memory, from which copies to a GPU are asynchronous."""
    return {key: tensor.pin_memory() for key, tensor in batch.items()}
