"""`VIMHDataModule`: a VIMH dataset as training, validation and test batches."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from src.data.vimh_dataset import SPEC_RANGE, ArrayBatchSampler, VIMHDataset, as_they_are
from src.errors import ConfigError, VIMHError
from src.vimh.info import DatasetInfo
from src.vimh.io import VIMHReader, read_info

MAX_STATISTICS = 65536  # samples that statistics are taken over


class VIMHDataModule(LightningDataModule):
    """Training and validation samples are drawn from the dataset's `train` by seed, test samples are its `test`.

    Args:
        data_dir: Directory of the dataset.
        batch_size: Samples a step, over all devices.
        num_workers: Processes that load. 0 is fastest unless the disk is slow.
        pin_memory: Page-locked batches, for CUDA.
        val_fraction: Share of `train` that validates.
        seed: Chooses which.
        aux: Conditioning inputs: `spec_min`, `spec_max`.
        make_dataset: Called with `data_dir` to make sure that the dataset is there. None: it must be.
    """

    def __init__(
        self,
        data_dir: str | Path,
        batch_size: int = 128,
        num_workers: int = 0,
        pin_memory: bool = False,
        val_fraction: float = 0.1,
        seed: int = 42,
        aux: Sequence[str] = SPEC_RANGE,
        make_dataset: Callable[..., None] | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"data.batch_size is {batch_size}; it must be 1 or more.")
        if not 0 < val_fraction < 1:
            raise ConfigError(f"data.val_fraction is {val_fraction}; it must be above 0 and below 1.")
        self.data_dir = Path(data_dir)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.val_fraction = val_fraction
        self.seed = seed
        self.aux = tuple(aux)
        self.make_dataset = make_dataset

    def prepare_data(self) -> None:
        """Make sure that the dataset is there.

        Raises:
            VIMHError: If it is missing and cannot be made, or another one is in its place.
        """
        if self.make_dataset is not None:
            self.make_dataset(data_dir=self.data_dir)
        elif not self.data_dir.exists():
            raise VIMHError(
                f"{self.data_dir}: no dataset there, and data.make_dataset is null. Make one with `python generate_vimh.py "
                f"output_dir={self.data_dir.parent} dataset.name={self.data_dir.name}` and its --config-name, or name another "
                "data.data_dir."
            )

    @cached_property
    def info(self) -> DatasetInfo:
        """What the dataset says of itself; needs nothing but its JSON."""
        return read_info(self.data_dir)

    @cached_property
    def reader(self) -> VIMHReader:
        """The dataset, opened."""
        return VIMHReader(self.data_dir)

    @cached_property
    def train_set(self) -> VIMHDataset:
        """The training samples."""
        return VIMHDataset(self.reader.train, self._division[1], self.aux)

    @cached_property
    def val_set(self) -> VIMHDataset:
        """The validation samples."""
        return VIMHDataset(self.reader.train, self._division[0], self.aux)

    @cached_property
    def test_set(self) -> VIMHDataset:
        """The test samples."""
        if self.info.test_samples == 0:
            raise VIMHError(f"{self.data_dir}: has no test samples. Train with test=false, or use another dataset.")
        return VIMHDataset(self.reader.test, np.arange(self.info.test_samples), self.aux)

    @cached_property
    def _division(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the validation and of the training samples in `train`, each in rising order."""
        n_val = round(self.info.train_samples * self.val_fraction)
        if not 0 < n_val < self.info.train_samples:
            raise ConfigError(
                f"data.val_fraction {self.val_fraction} of {self.info.train_samples} samples leaves {n_val} to validate. "
                "Choose another fraction, or a larger dataset."
            )
        shuffled = np.random.default_rng(self.seed).permutation(self.info.train_samples)
        return np.sort(shuffled[:n_val]), np.sort(shuffled[n_val:])

    def aux_statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each conditioning input over the training samples (at most 65,536 of them)."""
        aux = self._some_training_samples()["aux"].numpy().astype(np.float64)  # (sample, n_aux)
        return aux.mean(axis=0).tolist(), aux.std(axis=0).clip(min=1e-6).tolist()

    def majority_share(self, stage: str = "test") -> dict[str, float]:
        """Accuracy of always guessing the most frequent class of the training samples, per head.

        Args:
            stage: Whose samples are guessed: `val` or `test`.
        """
        train = self._some_training_samples()["index"]
        samples = self.val_set if stage == "val" else self.test_set
        found = samples.__getitems__(np.arange(len(samples)))["index"]
        return {
            spec.name: (found[:, p] == train[:, p].mode().values).double().mean().item()
            for p, spec in enumerate(self.info.parameters)
        }

    def _some_training_samples(self) -> dict[str, Tensor]:
        """A batch of training samples, evenly spaced where there are too many."""
        stride = -(-len(self.train_set) // MAX_STATISTICS)
        return self.train_set.__getitems__(np.arange(0, len(self.train_set), stride))

    def train_dataloader(self) -> DataLoader:
        """Shuffled training batches."""
        return self._loader(self.train_set, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Validation batches in the order of the file."""
        return self._loader(self.val_set, shuffle=False)

    def test_dataloader(self) -> DataLoader:
        """Test batches in the order of the file."""
        return self._loader(self.test_set, shuffle=False)

    def _loader(self, dataset: VIMHDataset, shuffle: bool) -> DataLoader:
        sampler = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
        return DataLoader(
            dataset,
            batch_sampler=ArrayBatchSampler(sampler, self._device_batch_size, drop_last=False),
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.num_workers > 0,
            collate_fn=as_they_are,
        )

    @property
    def _device_batch_size(self) -> int:
        """Share of the batch that each device gets."""
        n_devices = self.trainer.world_size if self.trainer is not None else 1
        if self.batch_size % n_devices:
            raise ConfigError(f"data.batch_size {self.batch_size} cannot be shared evenly by {n_devices} devices.")
        return self.batch_size // n_devices
