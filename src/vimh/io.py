"""Reading and writing VIMH datasets."""

import contextlib
import errno
import fcntl
import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np

from src.errors import VIMHError
from src.vimh import legacy
from src.vimh.format import (
    INFO_NAME,
    METADATA_BYTES,
    METADATA_BYTES_2_0,
    SPLITS,
    Columns,
    check_headers,
    claimed_image_size,
    codes_by_id,
    pack,
    record_dtype,
)
from src.vimh.info import DatasetInfo, FileEntry

REGENERATE = "Restore the file, or regenerate the dataset."
CHUNK = 4096  # records that a pass over a whole file holds at a time
VALUES_DTYPE = "<f4"
MAX_ARRAY_HEADER = 4096  # bytes
UNFINISHED = "unfinished.json"  # description of what a partial directory is to become
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
    """The samples of one split, as a memory map: nothing is read before it is asked for.

    Args:
        records: Structured array, `(sample,)`.
        info: What the dataset says of itself.
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
        spec_range = self._columns.spec_range(rows)
        usual = self._columns.are_usual(rows, spec_range)
        code = self._columns.codes(rows) if usual else self._checked_codes(records, indices)
        value = self._decode(code) if self.exact is None else np.asarray(self.exact[indices])
        return Batch(records["image"], code, spec_range, value)

    def _checked_codes(self, records: np.ndarray, indices: np.ndarray | slice) -> np.ndarray:
        """Codes of records of which some are unusual: ids in another order are read, everything else is refused."""
        numbers = np.arange(len(self))[indices]
        check_headers(records, str(self.path), numbers)
        return codes_by_id(records, str(self.path), numbers)

    def _decode(self, code: np.ndarray) -> np.ndarray:
        """Values that the codes stand for, float32, `(sample, parameter)`."""
        values = [
            spec.value_from_normalized(spec.normalized_from_code(code[:, p]))
            for p, spec in enumerate(self.info.parameters)
        ]
        return np.stack(values, axis=1).astype(np.float32)

    def chunks(self) -> Iterator[slice]:
        """Slices that cover all samples."""
        for first in range(0, len(self), CHUNK):
            yield slice(first, min(first + CHUNK, len(self)))


class VIMHReader:
    """A dataset on disk, opened for reading. Opening checks what is cheap to check; it reads two records a split.

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
                f"{self.data_dir}: the JSON tells of {self.info.n_split(split)} {split} samples, but there is neither "
                f"a file {split} nor {split}_batch. {REGENERATE}"
            )
        if len(records) != self.info.n_split(split):
            raise VIMHError(
                f"{path}: holds {len(records)} records, but the JSON says {self.info.n_split(split)}. {REGENERATE}"
            )
        ends = records[[0, -1]] if len(records) else records
        numbers = np.array([0, len(records) - 1])
        check_headers(ends, str(path), numbers)
        codes_by_id(ends, str(path), numbers)
        return VIMHSplit(records, self.info, path, self._map_values(split))

    def _map_values(self, split: str) -> np.ndarray | None:
        """Exact values of a split, float32, `(sample, parameter)`, memory-mapped, or None where there are none."""
        path = self.data_dir / f"{split}_values.npy"
        if not path.is_file():
            return None
        header = _read_array_header(path)
        expected = (self.info.n_split(split), len(self.info.parameter_names))
        if header.shape != expected or header.descr != VALUES_DTYPE:
            raise VIMHError(
                f"{path}: holds {header.descr} {header.shape}, but {VALUES_DTYPE} {expected} was expected. {REGENERATE}"
            )
        size, expected_size = path.stat().st_size, header.size + math.prod(expected) * np.dtype(VALUES_DTYPE).itemsize
        if size != expected_size:
            raise VIMHError(f"{path}: has {size} bytes, but its header makes it {expected_size}. {REGENERATE}")
        if expected[0] == 0:
            return np.empty(expected, VALUES_DTYPE)
        return np.asarray(np.memmap(path, VALUES_DTYPE, "r", header.size, expected, header.order))

    def validate(self, advance: Callable[[int], None] = lambda n: None) -> None:
        """Full validation: every record's header and ids, values against codes, every file's size and SHA-256.

        Args:
            advance: Told the number of records done, for a progress bar.

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
            _check_file(self.data_dir, name, entry)


class _ArrayHeader(NamedTuple):
    """What stands before the data of an array file: type, order (C or Fortran) and shape of the array, own size."""

    descr: str
    order: str
    shape: tuple[int, int]
    size: int


def _read_array_header(path: Path) -> _ArrayHeader:
    """Header of an array file. `numpy.load` would try to mend a damaged one."""
    with path.open("rb") as file:
        match = _ARRAY_HEADER.match(file.read(MAX_ARRAY_HEADER))
    if match is None or int.from_bytes(match["length"], "little") != len(match["text"]):
        raise VIMHError(f"{path}: is not an array file of two dimensions, as numpy.save writes it. {REGENERATE}")
    order = "F" if match["fortran"] == b"True" else "C"
    shape = int(match["rows"]), int(match["columns"])
    return _ArrayHeader(match["descr"].decode("latin1"), order, shape, match.end())


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
    _check_claim(data_dir.resolve(), info)
    return info


def _check_claim(data_dir: Path, info: DatasetInfo) -> None:
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
                check_headers(records[[0, -1]], str(path))
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
    for p, spec in enumerate(split.info.parameters):
        distance = np.abs(spec.normalized_from_value(batch.value[:, p].astype(np.float64)) * 255 - batch.code[:, p])
        wrong = np.flatnonzero(~(distance <= HALF_A_CODE))
        if wrong.size:
            code = int(batch.code[wrong[0], p])
            raise VIMHError(
                f"{split.path}_values.npy: sample {first + wrong[0]} has {spec.name} {batch.value[wrong[0], p]}, but "
                f"the record's code {code} means {spec.value_from_normalized(spec.normalized_from_code(code)):.6g}. "
                f"{REGENERATE}"
            )


def _check_file(data_dir: Path, name: str, entry: FileEntry) -> None:
    """Refuse a file whose size or checksum is not the one the JSON tells."""
    path = data_dir / name
    if name not in _file_names() or not path.is_file():
        raise VIMHError(f"{path}: the JSON lists this file, but there is none of this name. {REGENERATE}")
    if path.stat().st_size != entry.size:
        raise VIMHError(f"{path}: has {path.stat().st_size} bytes, but the JSON says {entry.size}. {REGENERATE}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != entry.sha256:
        raise VIMHError(f"{path}: its SHA-256 is {found}, but the JSON says {entry.sha256}. {REGENERATE}")


def _file_names() -> set[str]:
    """Every file that a dataset may hold beside its JSON."""
    return {f"{split}{suffix}" for split in SPLITS for suffix in ("", "_values.npy", "_batch")}


class VIMHWriter:
    """Writes a dataset, batch by batch; memory does not grow with it.

    The files are written to `.<name>.partial` beside the target, the JSON last, and the directory is renamed when all
    samples are there. An interrupt keeps the partial directory, which the next writer of the same target replaces or
    continues; an error removes it. Use it as a context manager.

    Args:
        data_dir: The dataset's directory to be.
        info: Its complete description, but for `files`.
        overwrite: Replace a dataset that is there already, once the new one is whole.
        pickle: Write legacy pickle copies as well; this takes memory for a whole split.
        resume: Continue what an interrupted writer of the same description left; `written` says how far it came.

    Raises:
        VIMHError: If the target exists, another process is writing it, or the disk refuses.
    """

    def __init__(
        self, data_dir: Path, info: DatasetInfo, overwrite: bool = False, pickle: bool = False, resume: bool = False
    ) -> None:
        self.data_dir = data_dir
        self.partial = partial_dir(data_dir)
        self.info = info
        self.overwrite = overwrite
        self.pickle = pickle
        self.resume = resume
        self.written = dict.fromkeys(SPLITS, 0)
        self.dtype = record_dtype(info.image_shape, len(info.parameter_names), METADATA_BYTES)

    def __enter__(self) -> "VIMHWriter":
        _check_claim(self.data_dir, self.info)
        check_target(self.data_dir, self.overwrite)
        try:
            self._check_space()
            self._open()
        except OSError as error:
            raise self._disk_error(error) from error
        return self

    def _open(self) -> None:
        """Take over the partial directory, and open the files in it."""
        self.partial.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            self._lock = _lock(self.partial)
            undo.callback(os.close, self._lock)
            undo.callback(_remove_if_empty, self.partial)
            check_target(self.data_dir, self.overwrite)  # again: another writer may have ended meanwhile
            if self.resume and (self.partial / UNFINISHED).is_file():
                self.written = self._find_written()
            else:
                _empty(self.partial)
                undo.callback(shutil.rmtree, self.partial)
                (self.partial / UNFINISHED).write_text(self.info.to_json(), encoding="utf-8")
            self._files = {name: undo.enter_context(_HashedFile(self.partial / name, n)) for name, n in self._sizes()}
            for split in SPLITS:
                if self.written[split] == 0:
                    self._files[f"{split}_values.npy"].write(self._values_header(split))
            undo.pop_all()

    def _sizes(self) -> Iterator[tuple[str, int]]:
        """Name and size of each file, as far as it is written."""
        for split, n in self.written.items():
            yield split, n * self.dtype.itemsize
            yield f"{split}_values.npy", len(self._values_header(split)) + n * self._value_bytes if n else 0

    @property
    def _value_bytes(self) -> int:
        """Size of the exact values of one sample."""
        return 4 * len(self.info.parameter_names)

    def _find_written(self) -> dict[str, int]:
        """Whole samples that an interrupted writer left, per split; those of `test` count when `train` is complete."""
        path = self.partial / UNFINISHED
        if path.read_text(encoding="utf-8") != self.info.to_json():
            raise VIMHError(
                f"{self.partial}: was begun with another configuration. Start anew with resume=false, or use the other "
                "one."
            )
        written = {}
        for split in SPLITS:
            records, values = self.partial / split, self.partial / f"{split}_values.npy"
            n_records = records.stat().st_size // self.dtype.itemsize if records.is_file() else 0
            rest = values.stat().st_size - len(self._values_header(split)) if values.is_file() else 0
            written[split] = max(0, min(n_records, rest // self._value_bytes))
        complete = written["train"] == self.info.train_samples
        return written if complete else {**written, "test": 0}

    def write(self, split: str, image: np.ndarray, code: np.ndarray, spec_range: np.ndarray, value: np.ndarray) -> None:
        """Append samples to a split.

        Args:
            split: `train` or `test`.
            image: uint8, `(sample, channel, height, width)`.
            code: uint8, `(sample, parameter)`.
            spec_range: dB, `(sample, 2)`.
            value: Natural units, `(sample, parameter)`.
        """
        self._files[split].write(pack(self.dtype, image, code, spec_range).tobytes())
        self._files[f"{split}_values.npy"].write(np.ascontiguousarray(value, dtype="<f4").tobytes())
        self.written[split] += len(image)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failure = None
        try:
            if error is None:
                self._finish()
        except (OSError, VIMHError) as raised:
            failure = raised
        finally:
            for file in self._files.values():
                with contextlib.suppress(OSError):  # a full disk refuses the last bytes once more
                    file.close()
            os.close(self._lock)
        error = failure or error
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        shutil.rmtree(self.partial)
        if isinstance(error, OSError):
            raise self._disk_error(error) from error
        if failure is not None:
            raise failure

    def _disk_error(self, error: OSError) -> VIMHError:
        """What to say when the disk refuses."""
        return VIMHError(
            f"{self.data_dir}: could not be written ({os.strerror(error.errno or errno.EIO)}). Nothing was kept; make "
            "room, or choose another place, and run the same command again."
        )

    def _finish(self) -> None:
        """Close the files, write the JSON and put the directory in its place."""
        expected = {split: self.info.n_split(split) for split in SPLITS}
        if self.written != expected:
            raise VIMHError(f"{self.data_dir}: {self.written} samples were written, but {expected} were announced.")
        check_target(self.data_dir, self.overwrite)
        for file in self._files.values():
            file.close()
        entries = {name: FileEntry(size=file.size, sha256=file.hexdigest()) for name, file in self._files.items()}
        if self.pickle:
            entries |= self._write_pickles()
        with _HashedFile(self.partial / INFO_NAME) as file:
            file.write(self.info.model_copy(update={"files": entries}).to_json().encode())
        (self.partial / UNFINISHED).unlink()
        replaced = self.data_dir.with_name(f".{self.data_dir.name}.replaced")
        if self.data_dir.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            self.data_dir.rename(replaced)
        self.partial.rename(self.data_dir)
        shutil.rmtree(replaced, ignore_errors=True)

    def _write_pickles(self) -> dict[str, FileEntry]:
        """Legacy copies of the splits that are written already."""
        entries = {}
        for split in SPLITS:
            path = self.partial / f"{split}_batch"
            records = np.asarray(np.memmap(self.partial / split, dtype=self.dtype, mode="r"))
            with _HashedFile(path) as file:
                file.write(legacy.dumps(records))
            entries[path.name] = FileEntry(size=file.size, sha256=file.hexdigest())
        return entries

    def _check_space(self) -> None:
        """Refuse early when the file system has less room than the records need."""
        parent = next(path for path in self.data_dir.resolve().parents if path.exists())
        needed = (self.info.train_samples + self.info.test_samples) * self.dtype.itemsize
        free = shutil.disk_usage(parent).free
        if free < needed:
            raise VIMHError(
                f"{self.data_dir}: needs {needed / 1e6:.1f} MB, but only {free / 1e6:.1f} MB are free. Nothing was "
                "written."
            )

    def _values_header(self, split: str) -> bytes:
        """Header of the array file for a split's values: version 1.0 of NumPy's format, padded to 64 bytes."""
        shape = (self.info.n_split(split), len(self.info.parameter_names))
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        text += " " * (-(len(text) + 11) % 64) + "\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


class _HashedFile:
    """A file that is written once, start to end, and knows its size and checksum.

    Args:
        path: The file.
        keep: Bytes of what is there already that stay.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self._file: BinaryIO = path.open("r+b" if keep else "w+b")
        self._digest = hashlib.sha256()
        self._file.truncate(keep)
        while keep and (chunk := self._file.read(1 << 20)):
            self._digest.update(chunk)
        self.size = keep

    def __enter__(self) -> "_HashedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()


def partial_dir(data_dir: Path) -> Path:
    """Where a dataset is written before it is whole."""
    return data_dir.with_name(f".{data_dir.name}.partial")


def check_target(data_dir: Path, overwrite: bool) -> None:
    """Refuse to write where something is already, unless it is a dataset and may be overwritten."""
    if not os.path.lexists(data_dir):
        return
    if not (data_dir / INFO_NAME).is_file():
        raise VIMHError(f"{data_dir}: exists and is not a dataset, so it is left alone. Choose another directory.")
    if not overwrite:
        raise VIMHError(f"{data_dir}: exists already. Choose another name, or replace it with overwrite=true.")
    if data_dir.is_symlink():
        raise VIMHError(f"{data_dir}: is a link, so what it points to is left alone. Name that directory, or another.")
    _check_all_known(data_dir)


def _lock(directory: Path) -> int:
    """Lock a directory against other writers until the returned descriptor is closed."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise VIMHError(f"{directory}: another process is writing this dataset. Wait for it, or stop it.") from error
    return descriptor


def _empty(directory: Path) -> None:
    """Remove what an interrupted writer left."""
    _check_all_known(directory)
    for path in directory.iterdir():
        path.unlink()


def _check_all_known(directory: Path) -> None:
    """Refuse to delete a directory that holds anything but the files of a dataset."""
    for path in directory.iterdir():
        if path.name not in {INFO_NAME, UNFINISHED, *_file_names()} or path.is_dir():
            raise VIMHError(f"{path}: is not a file of a dataset, so its directory is left alone. Remove it by hand.")


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
