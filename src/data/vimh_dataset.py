"""`VIMHDataset`: samples of a split as batches of tensors."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset

from src.errors import ConfigError
from src.vimh.io import VIMHSplit

SPEC_RANGE = ("spec_min", "spec_max")


class VIMHDataset(Dataset):
    """Some samples of a split. A batch is a dict of tensors:

    image
        uint8, `(batch, channel, freq, time)`.
    index
        Class of every head, int64, `(batch, head)`.
    normalized
        Position in the range of every head, exact where the dataset has exact values, float32, `(batch, head)`.
    value
        The same in natural units, float32, `(batch, head)`.
    aux
        Conditioning inputs, float32, `(batch, n_aux)`.

    Args:
        split: Where the samples come from.
        indices: Which samples, `(sample,)`.
        aux: Names of the conditioning inputs: `spec_min`, `spec_max`.
    """

    def __init__(self, split: VIMHSplit, indices: np.ndarray, aux: Sequence[str] = SPEC_RANGE) -> None:
        self.split = split
        self.indices = indices
        self.aux_columns = self._find_columns(aux)
        parameters = split.info.parameters
        self._classes = np.concatenate([spec.index_from_code(np.arange(256.0)) for spec in parameters]).astype(np.int64)
        self._first_class = 256 * np.arange(len(parameters))  # where each head begins in that table
        self._low = torch.tensor([spec.min for spec in parameters])
        self._range = torch.tensor([spec.range for spec in parameters])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """One sample: the entries of a batch without their first dimension."""
        return {key: tensor[0] for key, tensor in self.__getitems__([item]).items()}

    def __getitems__(self, items: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
        """A whole batch by one indexing operation."""
        batch = self.split.read(self.indices[np.asarray(items)])
        value = torch.from_numpy(batch.value)
        return {
            "image": torch.from_numpy(batch.image),
            "index": torch.from_numpy(self._classes.take(batch.code + self._first_class)),
            "normalized": ((value - self._low) / self._range).clamp_(0.0, 1.0),
            "value": value,
            "aux": torch.from_numpy(batch.spec_range[:, self.aux_columns]),
        }

    def _find_columns(self, aux: Sequence[str]) -> list[int]:
        """Where the conditioning inputs stand in the records' range."""
        unknown = [name for name in aux if name not in SPEC_RANGE]
        if unknown:
            raise ConfigError(f"data.aux names {', '.join(unknown)}; known are {', '.join(SPEC_RANGE)}.")
        if aux and not self.split.has_spec_range:
            raise ConfigError(f"{self.split.path}: its records hold no spec_min and spec_max; set data.aux=[].")
        return [SPEC_RANGE.index(name) for name in aux]


class ArrayBatchSampler(BatchSampler):
    """Batches of a sampler's numbers as arrays: lists of Python numbers take longer to make than a batch takes to read."""

    def __iter__(self) -> Iterator[np.ndarray]:
        order = np.fromiter(self.sampler, np.int64, len(self.sampler))
        end = len(order) - len(order) % self.batch_size if self.drop_last else len(order)
        for first in range(0, end, self.batch_size):
            yield order[first : min(first + self.batch_size, end)]


def as_they_are(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The collate function of batches that are whole already."""
    return batch
