"""`VIMHDataModule`: a VIMH dataset as training, validation and test batches."""

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from src.data.batches import Batches, BatchOrder, Chunks, WorkerBatches, batches_per_chunk, page_locked
from src.data.division import Division
from src.data.stream import CPU, SOUNDS_OF_A_SEED, DeviceSource, Stream, device_stream
from src.data.vimh_dataset import SPEC_RANGE, BatchFormat, JoinedSamples, Measure, MemoryDataset, Samples, VIMHDataset
from src.errors import ConfigError, VIMHError, check_number
from src.text import name_of
from src.vimh.folder import is_there
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch, VIMHReader, read_description
from src.vimh.sources import Sources

MAX_STATISTICS = 65536  # samples that statistics are taken over
AT_ONCE = 4096  # samples whose images are read along with their labels
MOST_BYTES = 256_000_000  # of images that are read at once for either
MOST_MEMORY = 2_000_000_000  # bytes of a computer's own memory that `in_memory: auto` takes
SHARE_OF_MEMORY = 0.25  # of a computer's memory, or of what is free on a GPU, likewise
CALIBRATION_PIECE = 500  # sounds that are made at a time

STAGES = ("train", "val", "test")
Renewed = Callable[[np.ndarray, int], tuple[Tensor, Tensor]]


class VIMHDataModule(LightningDataModule):
    """Training and validation samples are drawn from the dataset's `train` by seed, test samples are its `test`.

    Where the dataset says which file each sample comes from, groups stay together: all frames of a file, or all files
    of a speaker, train or validate, and what the corpus itself has to validate does.

    Devices that train together share every batch: see `BatchOrder`.

    Args:
        data_dir: Directory of the dataset.
        batch_size: Samples a step, over all devices.
        num_workers: Processes that load. 0 is fastest unless the disk is slow; above 0 samples stay in their file.
        pin_memory: Page-locked batches where samples in the computer's memory are trained on with CUDA.
        val_fraction: Share of `train` that validates.
        train_size: Use so many samples of `train`, drawn by seed, for training and validation together; those of a
            smaller number are among those of a larger one. None: all.
        seed: Chooses which, and the order of every epoch. None: another order in every run, and the division of 0.
        aux: Conditioning inputs: `spec_min`, `spec_max`, and features that `measure` computes.
        measure: Takes images uint8 `(batch, channel, freq, time)`, spec ranges `(batch, 2)` and names; returns float32
            `(batch, name)`.
        in_memory: Whether the samples live as tensors on the device that trains. `auto`: if all samples take at most
            2 GB and a quarter of the computer's memory; they move to a GPU if they take at most a quarter of what is
            free there. True: always. False: never, every batch is read from its file.
        stream: Train on fresh sounds in every epoch; validation and test samples stay those of the dataset.
        stream_size: Fresh sounds an epoch. None: as many as the dataset has to train on.
        stream_source: Takes the dataset's description, and returns what makes the sounds `start` to `stop - 1` of an
            endless list of sounds of its kind that are not in it, with the attributes of `vimh.reader.Batch`. If it is
            a `DeviceSource`, a GPU that trains makes them.
        fold: Name of a fold of the dataset: its samples test, and those of the other folds train and validate, whether
            they stand in `train` or in `test`. None: the dataset's own division.
        calibration_size: Most sounds that calibrate the error bars after a training, two thirds to fit them to each
            sound and one third to scale them; as many as an epoch has where that is fewer. 0: none.
        balanced: Name of a head whose classes an epoch of training draws equally often, see `BatchOrder`; samples on
            which it does not act are a class of their own. None: every sample once.
        recordings: Directory of the files that the dataset was packed from: its training sounds are read again, and
            something else happens to each in every epoch. None: the stored images are trained on.
        recordings_source: Reads them, and returns what makes images and levels of some of the training samples in an
            epoch, by their places: see `src.packing.again.sounds_again`.
        test_on: What is tested: `test`, or `train`, to see how well a network knows what it was trained on.
        make_dataset: Called with `data_dir` to make sure that the dataset is there. None: it must be.

    Attributes:
        waited: Seconds for which the trainings so far have waited for fresh sounds.
        worked: Seconds of processor time that these sounds have taken.
    """

    def __init__(
        self,
        data_dir: str | Path,
        batch_size: int = 128,
        num_workers: int = 0,
        pin_memory: bool = True,
        val_fraction: float = 0.1,
        train_size: int | None = None,
        seed: int | None = 42,
        aux: Sequence[str] = SPEC_RANGE,
        measure: Measure | None = None,
        in_memory: bool | str = "auto",
        stream: bool = False,
        stream_size: int | None = None,
        stream_source: Callable[..., Callable[[int, int], Batch]] | None = None,
        make_dataset: Callable[..., None] | None = None,
        calibration_size: int = 6000,
        fold: int | str | None = None,
        balanced: str | None = None,
        recordings: str | Path | None = None,
        recordings_source: Callable[..., Renewed] | None = None,
        test_on: str = "test",
    ) -> None:
        super().__init__()
        check_number("data.batch_size", batch_size, whole=True, least=1)
        check_number("data.num_workers", num_workers, whole=True, least=0)
        if seed is not None:
            check_number("data.seed", seed, whole=True, least=0)
        if stream_size is not None:
            check_number("data.stream_size", stream_size, whole=True, least=1)
        check_number("data.calibration_size", calibration_size, whole=True, least=0)
        check_number("data.val_fraction", val_fraction, above=0, below=1)
        if in_memory not in ("auto", True, False):
            raise ConfigError(f"data.in_memory is {in_memory!r}; choose one of auto, true, false.")
        if in_memory is True and num_workers:
            raise ConfigError(
                f"data.in_memory is true and data.num_workers {num_workers}: processes can only load what is in a "
                "file. Leave one of them at its default."
            )
        if stream and fold is not None:
            raise ConfigError("data.stream is true, but data.fold is set: there are no fresh sounds of some folds.")
        if stream and stream_source is None:
            raise ConfigError("data.stream is true, but data.stream_source is null: nothing makes sounds.")
        if recordings is not None and (stream or recordings_source is None):
            raise ConfigError(
                f"data.recordings is {name_of(recordings)}, but "
                + ("data.stream makes new sounds" if stream else "data.recordings_source is null: nothing reads them")
                + ". Leave one of them out."
            )
        if stream and balanced is not None:
            raise ConfigError(
                f"data.balanced is {balanced!r}, but data.stream makes new sounds, whose classes are equally frequent. "
                "Leave one of them out."
            )
        self.data_dir = Path(data_dir)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.val_fraction = val_fraction
        self.train_size = train_size
        self.seed = seed
        self.order_seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.aux = tuple(aux)
        self.measure = measure
        self.in_memory = in_memory
        self.stream = stream
        self.stream_size = stream_size
        self.stream_source = stream_source
        self.make_dataset = make_dataset
        self.waited = self.worked = 0.0
        self.calibration_size = calibration_size
        self.fold = fold
        self.balanced = balanced
        self.recordings = None if recordings is None else Path(recordings)
        self.recordings_source = recordings_source
        self.test_on = test_on
        self._stream: Stream | None = None
        self._workers: list[WorkerBatches] = []
        self._digest: str | None = None  # of the dataset's JSON, from its first opening on

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; it opens the files itself, and no other dataset's."""
        opened = [name for name, item in vars(VIMHDataModule).items() if isinstance(item, cached_property)]
        return {key: item for key, item in vars(self).items() if key not in opened} | {"_stream": None}

    def prepare_data(self) -> None:
        """Make sure that the dataset is there.

        Raises:
            VIMHError: If it is missing and cannot be made, cannot be read, or another one is in its place.
        """
        found = is_there(self.data_dir)
        if self.make_dataset is not None:
            self.make_dataset(data_dir=self.data_dir)
        elif not found:
            raise VIMHError(
                f"{self.data_dir}: no dataset there, and data.make_dataset is null. Make one with `python "
                f"generate_vimh.py output_dir={self.data_dir.parent} dataset.name={self.data_dir.name}` and its "
                "--config-name, pack other data with scripts/to_vimh.py, or name another data.data_dir."
            )

    def check_devices(self, n_devices: int) -> None:
        """Refuse a number of devices that cannot share a batch evenly; before they start, as their errors are long."""
        if self.batch_size % n_devices:
            raise ConfigError(
                f"data.batch_size {self.batch_size} cannot be shared evenly by {n_devices} devices. Choose a multiple "
                f"of {n_devices}."
            )

    @property
    def makes_sounds(self) -> bool:
        """Whether sounds are made while a network trains."""
        return self.stream or self.recordings is not None

    @cached_property
    def info(self) -> DatasetInfo:
        """The description of the dataset, from its JSON alone."""
        info, self._digest, _ = read_description(self.data_dir, self._digest)
        return info

    @cached_property
    def reader(self) -> VIMHReader:
        """The dataset that `info` describes, opened."""
        reader = VIMHReader(self.data_dir, self._digest)
        self._digest = reader.digest
        return reader

    @cached_property
    def division(self) -> Division:
        """Who trains, validates and tests."""
        return Division(self.reader, self.val_fraction, self.train_size, self.seed, self.fold)

    @property
    def _division(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the validation and of the training samples."""
        return self.division.parts

    def sources_of(self, stage: str) -> Sources | None:
        """Where the samples of a stage come from, in their order; None where the dataset does not say.

        Args:
            stage: One of `STAGES`.
        """
        return None if (sources := self.division.sources) is None else sources.take(self._numbers_of(stage))

    def _numbers_of(self, stage: str) -> np.ndarray:
        """Numbers of the samples of a stage."""
        if stage == "test":
            return self.division.test
        return self._validation_parts[0] if stage == "val" else self._division[1]

    @cached_property
    def train_set(self) -> Samples:
        """The training samples of the dataset."""
        return self._samples(self._division[1])

    @cached_property
    def val_set(self) -> Samples:
        """The validation samples, by which a checkpoint is chosen."""
        return self._samples(self._numbers_of("val"))

    @cached_property
    def test_set(self) -> Samples:
        """The samples that are tested."""
        numbers = self._numbers_of(self.test_on)
        if not len(numbers):
            raise VIMHError(
                f"{self.data_dir}: has no test samples. Train with test=false, use another dataset, or read its "
                f"training samples with src/predict.py dataset={self.data_dir} split=train."
            )
        return self._samples(numbers, self._test_files())

    def _test_files(self) -> np.ndarray | None:
        """Number of the file of each tested sample, `(sample,)`; None where there is no file of several."""
        sources = self.sources_of(self.test_on)
        names, numbers = np.unique([] if sources is None else sources.file, return_inverse=True)
        return numbers if len(names) < len(numbers) else None

    def _samples(self, numbers: np.ndarray, file: np.ndarray | None = None) -> Samples:
        """Some samples, in memory if they are to be there.

        Args:
            numbers: Rising; those of `test` follow those of `train`.
            file: As for `VIMHDataset`.
        """
        found = self._in_splits(numbers, self.aux, file)
        if self._is_in_memory:
            return functools.reduce(MemoryDataset.followed_by, map(MemoryDataset.load, found))
        return found[0] if len(found) == 1 else JoinedSamples(*found)

    def _in_splits(self, numbers: np.ndarray, aux: Sequence[str], file: np.ndarray | None = None) -> list[VIMHDataset]:
        """The same in their files, a set for each split."""
        n_train = self.info.train_samples
        is_train = numbers < n_train
        return [
            VIMHDataset(split, numbers[some] - first, aux, self.measure, None if file is None else file[some])
            for split, some, first in ((self.reader.train, is_train, 0), (self.reader.test, ~is_train, n_train))
            if some.any()
        ]

    @cached_property
    def _is_in_memory(self) -> bool:
        """Whether the samples are held in memory, each split from its first use on."""
        if self.in_memory != "auto":
            return bool(self.in_memory)
        n_samples = sum(map(len, self._division)) + len(self.division.test)
        sample = MemoryDataset.load(VIMHDataset(self.reader.train, np.arange(1), self.aux, self.measure))
        return not self.num_workers and n_samples * sample.n_bytes <= memory_budget(CPU)

    @property
    def _validation_parts(self) -> list[np.ndarray]:
        """Numbers of the validation samples that choose a checkpoint, and of those that fit and that scale error bars.

        Where more sounds can be made, or there are too few samples for three parts, all of them choose.
        """
        return [self._division[0]] if self.info.generator is not None else self.division.validation_parts

    def calibration_sets(self) -> tuple[Iterator[dict[str, Tensor]], Iterator[dict[str, Tensor]]] | None:
        """Batches of the sounds that fit error bars, and of those that scale them; None where there are none.

        No sound of either is in the other, was trained on, validates, or is tested. Where the dataset says how its
        sounds are made, they are fresh ones, whose numbers no training stream reaches.

        Raises:
            NSMError: If fresh sounds cannot be made; also while iterating.
        """
        if len(self._validation_parts) == 3:
            _, fit, scale = (self._in_pieces(numbers) for numbers in self._validation_parts)
            return fit, scale
        n_sounds = min(self.calibration_size, (self.stream_size if self.stream else None) or len(self._division[1]))
        if self.stream_source is None or self.info.generator is None or n_sounds < 3:
            return None
        source, to_tensors = self.stream_source(self.info), BatchFormat(self.info.parameters, self.aux, self.measure)
        first = self.order_seed * SOUNDS_OF_A_SEED + SOUNDS_OF_A_SEED // 2
        ends = first + 2 * n_sounds // 3, first + n_sounds

        def fresh(start: int, stop: int) -> Iterator[dict[str, Tensor]]:
            for begin in range(start, stop, CALIBRATION_PIECE):
                yield to_tensors(source(begin, min(begin + CALIBRATION_PIECE, stop)))

        return fresh(first, ends[0]), fresh(*ends)

    def _in_pieces(self, numbers: np.ndarray) -> Iterator[dict[str, Tensor]]:
        """Some samples of the file, a piece at a time."""
        samples = self._samples(numbers)
        for first in range(0, len(samples), CALIBRATION_PIECE):
            yield samples[first : first + CALIBRATION_PIECE]

    def aux_statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each conditioning input over training samples (at most 65,536, and 256 MB)."""
        aux = self.spaced_training_samples(MAX_STATISTICS)["aux"].numpy().astype(np.float64)  # (sample, n_aux)
        std = aux.std(axis=0)
        return aux.mean(axis=0).tolist(), np.where(std > 1e-6, std, 1.0).tolist()  # what is constant stays near 0

    def some_training_images(self) -> tuple[Tensor, Tensor]:
        """Images of training samples, at most 4,096 and 256 MB of them, and their levels.

        Returns:
            uint8, `(sample, channel, freq, time)`; `spec_min` and `spec_max`, dB, `(sample, 2)`, or `(sample, 0)` where
            they are not among the conditioning inputs.
        """
        samples = self.spaced_training_samples(AT_ONCE)
        columns = [self.aux.index(name) for name in SPEC_RANGE] if {*SPEC_RANGE} <= {*self.aux} else []
        return samples["image"], samples["aux"][:, columns]

    def class_counts(self) -> Tensor:
        """Training samples of every class, int64, `(head, class)`: only those on which a parameter acts count."""
        index = self._training_classes
        n_classes = max(spec.n_classes for spec in self.info.parameters)
        counts = [column[column >= 0].bincount(minlength=n_classes) for column in index.unbind(dim=1)]
        return torch.stack(counts)

    @cached_property
    def _training_classes(self) -> Tensor:
        """Class of every training sample, int64, `(sample, head)`; -1 where a parameter does not act."""
        index = self._of_all(self.train_set, "index")
        active = self._active(index)
        return index if active is None else index.masked_fill(~active, -1)

    def _balanced_classes(self) -> np.ndarray | None:
        """Class of every training sample by which an epoch is balanced, `(sample,)`; None where it is not."""
        if self.balanced is None:
            return None
        names = self.info.parameter_names
        if self.balanced not in names:
            raise ConfigError(
                f"data.balanced is {self.balanced!r}, which is no head; choose one of {', '.join(names)}."
            )
        return self._training_classes[:, list(names).index(self.balanced)].numpy()

    def majority_share(self, stage: str = "test") -> dict[str, float]:
        """Accuracy of always predicting the most frequent class of the training samples, per head.

        Only samples on which a parameter acts count; without any, the figure is NaN.

        Args:
            stage: What is predicted, one of `STAGES`.
        """
        trained, index = self.spaced_training_samples(MAX_STATISTICS)["index"], self._labels(stage, "index")
        guess = _mean_of_active(trained, self._active(trained), mode=True)
        share = _mean_of_active((index == guess).double(), self._active(index))
        return dict(zip(self.info.parameter_names, share.tolist(), strict=True))

    def mean_error(self, stage: str = "test") -> dict[str, float]:
        """Mean absolute error of always predicting the mean of the training samples, in the units of values, per head.

        Only samples on which a parameter acts count; without any, the figure is NaN.

        Args:
            stage: What is predicted, one of `STAGES`.
        """
        trained = self.spaced_training_samples(MAX_STATISTICS)
        mean = _mean_of_active(trained["value"].double(), self._active(trained["index"]))
        error = (self._labels(stage, "value") - mean).abs()
        active = self._active(self._labels(stage, "index")) if self.info.space.conditions else None
        found = _mean_of_active(error, active)
        return dict(zip(self.info.parameter_names, found.tolist(), strict=True))

    def _active(self, index: Tensor) -> Tensor | None:
        """Which parameters act on samples of these classes, bool, `(sample, head)`; None where all always do."""
        space = self.info.space
        return torch.from_numpy(space.active_from_index(index.numpy())) if space.conditions else None

    def _labels(self, stage: str, name: str) -> Tensor:
        """`index` or `value` of all samples of a stage, `(sample, head)`. Only some images at a time are in memory."""
        return self._of_all(getattr(self, f"{stage}_set"), name)

    def _of_all(self, samples: Samples, name: str) -> Tensor:
        """The same of some samples."""
        if isinstance(samples, MemoryDataset):
            return samples.tensors[name].cpu()
        step = self._affordable(AT_ONCE)
        return torch.cat([samples[first : first + step][name] for first in range(0, len(samples), step)])

    def spaced_training_samples(self, most: int) -> dict[str, Tensor]:
        """A batch of at most so many training samples and 256 MB of images, evenly spaced where there are more."""
        return self.train_set[:: -(-len(self.train_set) // self._affordable(most))]

    def _affordable(self, n_samples: int) -> int:
        """So many samples, or fewer whose images take no more than `MOST_BYTES`."""
        return max(1, min(n_samples, MOST_BYTES // math.prod(self.info.image_shape)))

    def train_dataloader(self) -> Chunks:
        """Shuffled training batches, of stored samples or of their recordings perturbed anew, or fresh sounds."""
        self._close_stream()  # of an earlier training
        if self.recordings is not None:
            self._stream = self._renewed_stream()
        elif self.stream and self.stream_source is not None:
            n_samples = self.stream_size or len(self._division[1])
            self._stream = self._stream_of(self.stream_source(self.info), n_samples)
        else:
            return self._loader(self.train_set, "train")
        return self._in_chunks(self._stream, self._stream, "train")

    @cached_property
    def _renewed(self) -> Renewed:
        """Makes the images of training samples in an epoch."""
        assert self.recordings_source is not None  # refused at the door
        numbers = self._division[1]
        found = self._in_splits(numbers, SPEC_RANGE)
        files = found[0] if len(found) == 1 else JoinedSamples(*found)

        def read(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            batch = files[places]
            return batch["image"].numpy(), batch["aux"].numpy()

        sources = self.sources_of("train")
        return self.recordings_source(self.info, self.recordings, numbers, sources, read, self.order_seed)

    def _renewed_stream(self) -> Stream:
        """Training batches whose sounds are perturbed anew, made by a thread of the CPU."""
        samples, renewed, pins = self.train_set, self._renewed, self._pins
        order = BatchOrder(len(samples), self.batch_size, self._shuffles("train"), classes=self._balanced_classes())
        of_epoch = functools.lru_cache(maxsize=2)(order.of_epoch)
        to_tensors = BatchFormat(self.info.parameters, self.aux, self.measure)

        def make(start: int, stop: int) -> dict[str, Tensor]:
            epoch, first = divmod(start, len(samples))
            chosen = of_epoch(epoch)[first : first + stop - start]
            image, spec_range = renewed(chosen, 0 if order.seed is None else epoch)
            made = {"image": image, "aux": to_tensors.aux_of(image, spec_range)}
            return page_locked(samples[chosen] | made) if pins else samples[chosen] | made

        return Stream(make, len(samples), **self._share)

    def _stream_of(self, source: Callable[[int, int], Batch], n_samples: int) -> Stream:
        """Batches of fresh sounds, made on a GPU that trains if the source can, or else by a thread of the CPU."""
        to_tensors = BatchFormat(self.info.parameters, self.aux, self.measure)
        if self._device.type == "cuda" and isinstance(source, DeviceSource):
            return device_stream(source, to_tensors, self._device, n_samples, seed=self.order_seed, **self._share)
        pins = self._pins

        def make(start: int, stop: int) -> dict[str, Tensor]:
            batch = to_tensors(source(start, stop))
            return page_locked(batch) if pins else batch

        return Stream(make, n_samples, seed=self.order_seed, **self._share)

    def val_dataloader(self) -> Chunks:
        """Validation batches in the order of the file."""
        return self._loader(self.val_set, "val")

    def test_dataloader(self) -> Chunks:
        """Batches of what is tested, in the order of the file."""
        return self._loader(self.test_set, "test")

    def _loader(self, samples: Samples, stage: str) -> Chunks:
        """The batches of a stage, from wherever its samples are."""
        seed = self._shuffles(stage)
        classes = self._balanced_classes() if stage == "train" else None
        order = BatchOrder(len(samples), seed=seed, equal=stage == "train", classes=classes, **self._share)
        if self.num_workers:
            settings = {"num_workers": self.num_workers, "pin_memory": self._pins, "persistent_workers": True}
            self._workers.append(WorkerBatches(samples, order, **settings))
            return self._in_chunks(self._workers[-1], order, stage)
        device, pins = self._device, self._pins
        if (
            isinstance(samples, MemoryDataset)
            and device != CPU
            and (self.in_memory is True or samples.n_bytes <= memory_budget(device))
        ):
            samples, pins = samples.to(device), False
        return self._in_chunks(Batches(samples, order, pins), order, stage)

    def _shuffles(self, stage: str) -> int | None:
        """The seed of another order in every epoch; None where every epoch is the same."""
        trainer: Any = self.trainer
        overfits = trainer is not None and trainer.overfit_batches > 0
        return self.order_seed if stage == "train" and not overfits else None

    def _in_chunks(self, batches: Any, sampler: Any, stage: str) -> Chunks:
        n_bytes = math.prod(self.info.image_shape)
        size = batches_per_chunk(self.trainer, stage, self._share["batch_size"], n_bytes)
        return Chunks(batches, sampler, size)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """A chunk is a list of flat dicts: Lightning's search for tensors in it takes longer than moving them."""
        if not isinstance(batch, list):  # the example of a model summary
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        on_gpu = device.type == "cuda"
        return [{key: tensor.to(device, non_blocking=on_gpu) for key, tensor in each.items()} for each in batch]

    def teardown(self, stage: str) -> None:
        """Called by Lightning when a training or a test is over."""
        self._close_stream()
        self._close_workers()

    def on_exception(self, exception: BaseException) -> None:
        """Called by Lightning when it was stopped."""
        self._close_stream()
        self._close_workers()

    def _close_workers(self) -> None:
        while self._workers:
            self._workers.pop().close()

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self.waited += self._stream.waited
            self.worked += self._stream.worked
            self._stream = None

    @property
    def _device(self) -> torch.device:
        """Where the network is."""
        return self.trainer.strategy.root_device if self.trainer is not None else CPU

    @property
    def _pins(self) -> bool:
        """Whether batches in the computer's memory are to be page-locked."""
        return self.pin_memory and self._device.type == "cuda"

    @property
    def _share(self) -> dict[str, Any]:
        """What this device gets: its part of a batch, its number, and how many devices there are."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
        self.check_devices(world_size)
        return {"batch_size": self.batch_size // world_size, "rank": rank, "world_size": world_size}


def _mean_of_active(figures: Tensor, active: Tensor | None, mode: bool = False) -> Tensor:
    """Mean over samples, `(head,)`, or the most frequent figure; NaN (or 0) where a head acts on none of them.

    Args:
        figures: `(sample, head)`.
        active: Which count, `(sample, head)`; None: all.
        mode: The most frequent one in place of the mean.
    """
    if active is None:
        return figures.mode(dim=0).values if mode else figures.mean(dim=0)
    columns = [column[acts] for column, acts in zip(figures.unbind(dim=1), active.unbind(dim=1), strict=True)]
    if mode:
        return torch.stack([column.mode().values if len(column) else column.new_zeros(()) for column in columns])
    return torch.stack([column.mean() for column in columns])


def memory_budget(device: torch.device) -> int:
    """Bytes that samples may take on a device with `in_memory: auto`."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return round(SHARE_OF_MEMORY * free)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(MOST_MEMORY, round(SHARE_OF_MEMORY * memory))
