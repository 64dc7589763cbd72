"""`VIMHReader`: a dataset on disk, opened for reading, checked and memory-mapped."""

import contextlib
import hashlib
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.errors import VIMHError
from src.params import MAX_CODE
from src.vimh import legacy
from src.vimh.format import (
    FILE_NAMES,
    INFO_NAME,
    METADATA_BYTES,
    METADATA_BYTES_2_0,
    Columns,
    claimed_image_size,
    codes_by_id,
    record_dtype,
)
from src.vimh.info import DatasetInfo, FileEntry

REGENERATE = "Restore the file, or regenerate the dataset."
CHUNK = 4096  # records that a pass over a whole file holds at a time
VALUES_DTYPE = "<f4"
MAX_ARRAY_HEADER = 4096  # bytes
HALF_A_CODE = 0.5 + 1e-3  # float32 values of 1e-5 relative precision may stand just beyond the half
_ARRAY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"(?P<text>\{'descr': '(?P<descr>[^']*)', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<rows>\d{1,18}), (?P<columns>\d{1,18})\), \} *\n)",
    re.DOTALL,
)


class Batch(NamedTuple):
    """Samples of a dataset.

    Attributes:
        image: uint8, `(sample, channel, height, width)`.
        code: uint8, `(sample, parameter)`, in the order of `parameter_names`.
        spec_range: `spec_min` and `spec_max` in dB, float32, `(sample, 2)`; `(sample, 0)` before version 2.1.
        value: Parameter values in natural units, float32, `(sample, parameter)`: exact where the dataset has them,
            decoded from the codes otherwise.
    """

    image: np.ndarray
    code: np.ndarray
    spec_range: np.ndarray
    value: np.ndarray


class VIMHSplit:
    """The samples of one split, as a memory map: nothing is read before `read` is called.

    Args:
        records: Structured array, `(sample,)`.
        info: The dataset's description.
        path: File of the records, for messages.
        exact: Exact values, float32, `(sample, parameter)`, or None.
    """

    def __init__(self, records: np.ndarray, info: DatasetInfo, path: Path, exact: np.ndarray | None) -> None:
        self.records = records
        self.info = info
        self.path = path
        self.exact = exact
        self._rows = records.view(np.uint8).reshape(len(records), records.dtype.itemsize)
        self._columns = Columns(records.dtype)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def has_spec_range(self) -> bool:
        """Whether records hold `spec_min` and `spec_max`."""
        return "spec_min" in self.records.dtype.names

    def read(self, indices: np.ndarray | slice) -> Batch:
        """Read samples by one indexing operation.

        Args:
            indices: Numbers of the samples, `(sample,)`, or a slice of them.

        Raises:
            VIMHError: If a record contradicts the dataset's description.
        """
        # Bytes are gathered several times faster than structured records.
        rows = self._rows[indices] if isinstance(indices, slice) else self._rows.take(indices, axis=0)
        records = rows.view(self.records.dtype)[:, 0]
        spec_range, code = self._columns.read(rows)
        if code is None:  # ids in another order are read; everything else is refused
            code = codes_by_id(records, str(self.path), np.arange(len(self))[indices])
        if self.exact is not None:
            return Batch(records["image"], code, spec_range, np.asarray(self.exact[indices]))
        value = self.info.space.decode(code).astype(np.float32)
        return Batch(records["image"], code, spec_range, value)

    def chunks(self) -> Iterator[slice]:
        """Slices that cover all samples."""
        for first in range(0, len(self), CHUNK):
            yield slice(first, min(first + CHUNK, len(self)))


class VIMHReader:
    """A dataset on disk, opened for reading. Opening makes the cheap checks and reads two records a split.

    Args:
        data_dir: Directory of the dataset.

    Raises:
        VIMHError: If there is no dataset, or its directory name, JSON and records disagree.
    """

    def __init__(self, data_dir: str | Path) -> None:
        self.data_dir = Path(data_dir)
        self.info = read_info(self.data_dir)
        self.train = self._open("train")
        self.test = self._open("test")

    def split(self, name: str) -> VIMHSplit:
        """The split called `train` or `test`."""
        return {"train": self.train, "test": self.test}[name]

    def _open(self, split: str) -> VIMHSplit:
        path, pickled = self.data_dir / split, self.data_dir / f"{split}_batch"
        if path.is_file():
            records = _map_records(path, self.info)
        elif pickled.is_file():
            path, records = pickled, legacy.read(pickled, self.info)
        elif self.info.n_split(split) == 0:
            records = _no_records(self.info)
        else:
            raise VIMHError(
                f"{self.data_dir}: the JSON announces {self.info.n_split(split)} {split} samples, but there is neither "
                f"a file {split} nor {split}_batch. {REGENERATE}"
            )
        if len(records) != self.info.n_split(split):
            raise VIMHError(
                f"{path}: holds {len(records)} records, but the JSON says {self.info.n_split(split)}. {REGENERATE}"
            )
        if len(records):
            codes_by_id(records[[0, -1]], str(path), np.array([0, len(records) - 1]))  # checks them
        expected = self.info.n_split(split), len(self.info.parameter_names)
        return VIMHSplit(records, self.info, path, _map_values(self.data_dir / f"{split}_values.npy", expected))

    def validate(self, advance: Callable[[int], None] = lambda n: None) -> None:
        """Full validation: every record's header and ids, values against codes, every file's size and SHA-256.

        Args:
            advance: Called with the number of records done, for a progress bar.

        Raises:
            VIMHError: At the first disagreement.
        """
        for split in (self.train, self.test):
            for chunk in split.chunks():
                batch = split.read(chunk)
                if split.exact is not None:
                    _check_values(batch, split, chunk.start)
                advance(len(batch.code))
        for name, entry in self.info.files.items():
            path = self.data_dir / name
            if name not in FILE_NAMES or not path.is_file():
                raise VIMHError(f"{path}: the JSON lists this file, but there is none of this name. {REGENERATE}")
            size = path.stat().st_size
            if size != entry.size:
                raise VIMHError(f"{path}: has {size} bytes, but the JSON says {entry.size}. {REGENERATE}")
            found = file_entry(path).sha256
            if found != entry.sha256:
                raise VIMHError(f"{path}: its SHA-256 is {found}, but the JSON says {entry.sha256}. {REGENERATE}")


def _map_values(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Exact values of a split, float32, `(sample, parameter)`, memory-mapped, or None where there are none.

    The header is parsed here, since `numpy.load` would try to repair a damaged one.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        header = _ARRAY_HEADER.match(file.read(MAX_ARRAY_HEADER))
    if header is None or int.from_bytes(header["length"], "little") != len(header["text"]):
        raise VIMHError(f"{path}: is not an array file of two dimensions, as numpy.save writes it. {REGENERATE}")
    descr, found = header["descr"].decode("latin1"), (int(header["rows"]), int(header["columns"]))
    if (descr, found) != (VALUES_DTYPE, shape):
        raise VIMHError(f"{path}: holds {descr} {found}, but {VALUES_DTYPE} {shape} was expected. {REGENERATE}")
    size, expected = path.stat().st_size, header.end() + math.prod(shape) * np.dtype(VALUES_DTYPE).itemsize
    if size != expected:
        raise VIMHError(f"{path}: has {size} bytes, but its header makes it {expected}. {REGENERATE}")
    if shape[0] == 0:
        return np.empty(shape, VALUES_DTYPE)
    order = "F" if header["fortran"] == b"True" else "C"
    return np.asarray(np.memmap(path, VALUES_DTYPE, "r", header.end(), shape, order))


def file_entry(path: Path) -> FileEntry:
    """Size and checksum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 14):
            digest.update(block)
    return FileEntry(size=path.stat().st_size, sha256=digest.hexdigest())


def read_info(data_dir: Path) -> DatasetInfo:
    """The description of a dataset, checked against the directory's name.

    Raises:
        VIMHError: If there is none, it is damaged, or the directory's name contradicts it.
    """
    path = data_dir / INFO_NAME
    if not path.is_file():
        what = "there is no such directory" if not data_dir.exists() else f"it holds no {INFO_NAME}"
        raise VIMHError(f"{data_dir}: not a dataset, {what}. Generate one (make sds), or name another directory.")
    info = DatasetInfo.from_json(path.read_bytes(), str(path))
    check_directory_name(data_dir.resolve(), info)
    return info


def check_directory_name(data_dir: Path, info: DatasetInfo) -> None:
    """Refuse a directory name that claims other dimensions than the description."""
    claim = claimed_image_size(data_dir.name)
    if claim is not None and claim != (info.height, info.width, info.channels):
        raise VIMHError(
            f"{data_dir}: the directory name claims height x width x channels {'x'.join(map(str, claim))}, but "
            f"{INFO_NAME} says {info.height}x{info.width}x{info.channels}. Choose another name, or restore the JSON."
        )


def _map_records(path: Path, info: DatasetInfo) -> np.ndarray:
    """Memory map of a file of records, `(sample,)`."""
    size = path.stat().st_size
    if size == 0 and not info.n_split(path.name):
        return _no_records(info)
    metadata_bytes = info.label_encoding.metadata_bytes
    if metadata_bytes is None:
        dtype = _infer_dtype(path, size, info)
    else:
        known = METADATA_BYTES if metadata_bytes == METADATA_BYTES else METADATA_BYTES_2_0
        dtype = record_dtype(info.image_shape, len(info.parameter_names), known)
    if size == 0 or size % dtype.itemsize:
        raise VIMHError(
            f"{path}: has {size} bytes, which is {size / dtype.itemsize:.3f} records of {dtype.itemsize} bytes; a "
            f"whole number above 0 was expected. The file is truncated, padded, or of another dataset. {REGENERATE}"
        )
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def _no_records(info: DatasetInfo) -> np.ndarray:
    """Records of an empty split, `(0,)`."""
    return np.empty(0, record_dtype(info.image_shape, len(info.parameter_names), METADATA_BYTES))


def _infer_dtype(path: Path, size: int, info: DatasetInfo) -> np.dtype:
    """The one layout that divides the file and fits its headers, where the JSON does not say which it is."""
    fitting = []
    for metadata_bytes in (METADATA_BYTES, METADATA_BYTES_2_0):
        dtype = record_dtype(info.image_shape, len(info.parameter_names), metadata_bytes)
        if size and size % dtype.itemsize == 0:
            records = np.asarray(np.memmap(path, dtype=dtype, mode="r"))
            with contextlib.suppress(VIMHError):
                codes_by_id(records[[0, -1]], str(path))
                fitting.append(dtype)
    if len(fitting) != 1:
        raise VIMHError(
            f"{path}: the JSON has no label_encoding.metadata_bytes, and {'both' if fitting else 'neither'} of the "
            f"layouts with {METADATA_BYTES} and {METADATA_BYTES_2_0} bytes fit the file. State metadata_bytes in the "
            "JSON."
        )
    return fitting[0]


def _check_values(batch: Batch, split: VIMHSplit, first: int) -> None:
    """Refuse exact values that lie further than half a code from the codes."""
    space = split.info.space
    distance = np.abs(space.normalized_from_value(batch.value.astype(np.float64)) * MAX_CODE - batch.code)
    wrong = np.argwhere(~(distance <= HALF_A_CODE))
    if len(wrong):
        row, p = wrong[0]
        raise VIMHError(
            f"{split.path}_values.npy: sample {first + row} has {space.varying[p].name} {batch.value[row, p]}, but the "
            f"record's code {batch.code[row, p]} means {space.decode(batch.code[row])[p]:.6g}. {REGENERATE}"
        )
