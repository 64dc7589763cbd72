"""Samples as batches of tensors: from a file, or from memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.errors import ConfigError
from src.param_tensors import ParamTensors
from src.params import MAX_CODE, ParameterSpace, ParamSpec
from src.vimh.reader import Batch, VIMHSplit

SPEC_RANGE = ("spec_min", "spec_max")
CHUNK = 4096  # samples that loading holds twice

Numbers = Sequence[int] | np.ndarray | Tensor | slice
Measure = Callable[[Tensor, Tensor, Sequence[str]], Tensor]


class BatchFormat:
    """Turns samples into the input and targets of networks.

    It gives a dict of tensors:

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
        parameters: What the heads predict.
        aux: Names of the conditioning inputs: `spec_min`, `spec_max`, and features that `measure` computes.
        measure: Takes images, their spec ranges `(batch, 2)` and names; returns float32, `(batch, name)`.
    """

    def __init__(
        self, parameters: Sequence[ParamSpec], aux: Sequence[str] = SPEC_RANGE, measure: Measure | None = None
    ) -> None:
        self.aux = tuple(aux)
        self.measured = tuple(name for name in self.aux if name not in SPEC_RANGE)
        self.measure = measure if self.measured else None
        if measure is None and self.measured:
            raise ConfigError(
                f"data.aux names {', '.join(self.measured)}, but data.measure is null; without it, only "
                f"{', '.join(SPEC_RANGE)} are known."
            )
        if self.measure is not None:  # refuses unknown names before anything is read: features of a black pixel
            self.measure(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), torch.zeros(1, 2), self.measured)
        found = (*SPEC_RANGE, *self.measured)
        self._columns = [found.index(name) for name in self.aux]
        codes = np.arange(MAX_CODE + 1.0)[:, None]
        class_of_code = ParameterSpace(tuple(parameters)).index_from_code(codes)  # (code, head)
        self._classes = class_of_code.T.astype(np.int64).ravel()
        self._first_class = len(codes) * np.arange(len(parameters))  # where each head begins in that table
        self._heads = ParamTensors(parameters)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The tensors of samples as they are stored."""
        spec_range = torch.from_numpy(batch.spec_range.copy())
        return self.of(torch.from_numpy(batch.image), batch.code, spec_range, batch.value)

    def of(self, image: Tensor, code: np.ndarray, spec_range: Tensor, value: np.ndarray) -> dict[str, Tensor]:
        """The tensors of samples, on the device of their images; the targets are computed on the CPU in any case.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            code: uint8, `(batch, parameter)`.
            spec_range: `spec_min` and `spec_max`, dB, float32, `(batch, 2)`, on the device of the images.
            value: float32, `(batch, parameter)`.
        """
        return self.joined(image, spec_range, self.targets(code, value))

    def targets(self, code: np.ndarray, value: np.ndarray) -> dict[str, Tensor]:
        """What the heads are to say of samples: `index`, `normalized` and `value`, on the CPU."""
        values = torch.from_numpy(value)
        return {
            "index": torch.from_numpy(self._classes.take(code + self._first_class)),
            "normalized": self._heads.normalized_from_value(values).clamp_(0.0, 1.0),
            "value": values,
        }

    def joined(self, image: Tensor, spec_range: Tensor, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Images, their spec ranges and their targets as the tensors of a batch, on the device of the images."""
        there = {name: target.to(image.device) for name, target in targets.items()}
        return {"image": image, **there, "aux": self.aux_of(image, spec_range)}

    def aux_of(self, image: Tensor, spec_range: Tensor) -> Tensor:
        """Conditioning inputs in the order of their names, `(batch, n_aux)`.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            spec_range: `spec_min` and `spec_max`, dB, `(batch, 2)`.
        """
        if self.measure is not None:
            spec_range = torch.cat([spec_range, self.measure(image, spec_range, self.measured)], dim=1)
        return spec_range[:, self._columns]


class Samples(Dataset[dict[str, Tensor]], ABC):
    """Samples by their numbers.

    `samples[3]` is one of them: the tensors of a batch without their first dimension. `samples[numbers]` and
    `samples[:100]` are batches, each by one indexing operation.

    Attributes:
        device: Where batches are, and the numbers that give them best.
    """

    device = torch.device("cpu")

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def __getitems__(self, items: Numbers) -> dict[str, Tensor]:
        """A batch; PyTorch's name for it."""

    def __getitem__(self, item: int | Numbers) -> dict[str, Tensor]:
        """One sample by its number, or a batch by several."""
        if isinstance(item, int):
            return {key: tensor[0] for key, tensor in self.__getitems__([item]).items()}
        return self.__getitems__(item)


class VIMHDataset(Samples):
    """Some samples of a split, read on access.

    Another process is handed how to open the split, and does so at its first batch: that is where errors are reported.

    Args:
        split: Where the samples come from.
        indices: Which samples, `(sample,)`.
        aux: Names of the conditioning inputs: `spec_min`, `spec_max`, and features that `measure` computes.
        measure: As for `BatchFormat`.
        file: Number of the file that each sample comes from, int64, `(sample,)`: batches have it as `file`. None: they
            have not.
    """

    def __init__(
        self,
        split: VIMHSplit,
        indices: np.ndarray,
        aux: Sequence[str] = SPEC_RANGE,
        measure: Measure | None = None,
        file: np.ndarray | None = None,
    ) -> None:
        self.split = split
        self._reopen: Any = split.reopen  # None: the split itself is handed over
        self.indices = indices
        self.file = file
        self.format = BatchFormat(split.info.parameters, aux, measure)
        if aux and not split.has_spec_range:
            raise ConfigError(f"{split.path}: its records hold no spec_min and spec_max; set data.aux=[].")

    @cached_property
    def split(self) -> VIMHSplit:
        """Where the samples come from."""
        return self._reopen()

    def __getstate__(self) -> dict[str, Any]:
        state = {key: item for key, item in vars(self).items() if key != "split" or self._reopen is None}
        if len(self) and np.array_equal(self.indices, np.arange(self.indices[0], self.indices[-1] + 1)):
            state["indices"] = slice(int(self.indices[0]), int(self.indices[-1]) + 1)  # does not grow with the dataset
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        if isinstance(self.indices, slice):
            self.indices = np.arange(self.indices.start, self.indices.stop)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, items: Numbers) -> dict[str, Tensor]:
        """A batch."""
        chosen = items if isinstance(items, slice) else np.asarray(items)
        batch = self.format(self.split.read(self.indices[chosen]))
        return batch if self.file is None else batch | {"file": torch.from_numpy(self.file[chosen])}


class MemoryDataset(Samples):
    """Samples as tensors. A slice gives views of the tensors, not copies.

    Args:
        tensors: Of a batch that holds all samples.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)
        self.device = self.tensors["image"].device

    @classmethod
    def load(cls, dataset: VIMHDataset) -> "MemoryDataset":
        """Read and measure all samples of a dataset, once."""
        first = dataset[: min(CHUNK, len(dataset))]
        tensors = {key: tensor.new_empty(len(dataset), *tensor.shape[1:]) for key, tensor in first.items()}
        for start in range(0, len(dataset), CHUNK):
            chunk = slice(start, start + CHUNK)
            for key, tensor in (dataset[chunk] if start else first).items():
                tensors[key][chunk] = tensor
        return cls(tensors)

    def followed_by(self, other: "MemoryDataset") -> "MemoryDataset":
        """These samples, and others behind them."""
        return MemoryDataset({key: torch.cat([tensor, other.tensors[key]]) for key, tensor in self.tensors.items()})

    def to(self, device: torch.device) -> "MemoryDataset":
        """The same samples on a device; the very same tensors if they are there already."""
        return MemoryDataset({key: tensor.to(device) for key, tensor in self.tensors.items()})

    @property
    def n_bytes(self) -> int:
        """Memory that the samples take."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def __len__(self) -> int:
        return len(self.tensors["image"])

    def __getitems__(self, items: Numbers) -> dict[str, Tensor]:
        """A batch."""
        if isinstance(items, slice):
            return {key: tensor[items] for key, tensor in self.tensors.items()}
        numbers = torch.as_tensor(items, device=self.device)
        return {key: tensor.index_select(0, numbers) for key, tensor in self.tensors.items()}


class JoinedSamples(Samples):
    """The samples of one set, and behind them those of another, each read on access.

    Args:
        first: On the CPU, as the other is.
        second: Its batches have the same tensors.
    """

    def __init__(self, first: Samples, second: Samples) -> None:
        self.first = first
        self.second = second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitems__(self, items: Numbers) -> dict[str, Tensor]:
        """A batch."""
        numbers = np.arange(len(self))[items] if isinstance(items, slice) else np.asarray(items)
        is_first = numbers < len(self.first)
        batches = [
            (mask, samples.__getitems__(numbers[mask] - offset))
            for mask, samples, offset in ((is_first, self.first, 0), (~is_first, self.second, len(self.first)))
            if mask.any()
        ]
        shapes = {key: tensor.new_empty(len(numbers), *tensor.shape[1:]) for key, tensor in batches[0][1].items()}
        for mask, batch in batches:
            for key, tensor in batch.items():
                shapes[key][torch.from_numpy(mask)] = tensor
        return shapes
