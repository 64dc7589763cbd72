"""`VIMHWriter`: writes a dataset batch by batch; the dataset appears complete or not at all."""

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.errors import VIMHError
from src.vimh import legacy
from src.vimh.format import FILE_NAMES, INFO_NAME, METADATA_BYTES, SPLITS, pack, record_dtype
from src.vimh.info import DatasetInfo
from src.vimh.reader import check_directory_name, file_entry

UNFINISHED = "unfinished.json"  # description of the dataset in a partial directory


class VIMHWriter:
    """Writes a dataset, batch by batch; memory does not grow with it.

    The files are written to `.<name>.partial` beside the target, the JSON last, and the directory is renamed when all
    samples are there. An interrupt keeps the partial directory, which the next writer of the same target replaces or
    continues; an error removes it. Use it as a context manager.

    Args:
        data_dir: The dataset's future directory.
        info: Its complete description, but for `files`.
        overwrite: Replace a dataset that is there already, once the new one is whole.
        pickle: Write legacy pickle copies as well; this takes memory for a whole split.
        resume: Continue what an interrupted writer of the same description left; `written` counts its samples.

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
        check_directory_name(self.data_dir, self.info)
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
            undo.callback(self._remove_if_empty)
            check_target(self.data_dir, self.overwrite)  # again: another writer may have ended meanwhile
            if self.resume and (self.partial / UNFINISHED).is_file():
                self.written = self._find_written()
            else:
                _check_all_known(self.partial)
                for path in self.partial.iterdir():
                    path.unlink()
                undo.callback(shutil.rmtree, self.partial)
                (self.partial / UNFINISHED).write_text(self.info.to_json(), encoding="utf-8")
            self._files: dict[str, BinaryIO] = {}
            for split, n_written in self.written.items():
                header = self._values_header(split)
                values_size = len(header) + n_written * self._value_bytes if n_written else 0
                for name, size in ((split, n_written * self.dtype.itemsize), (f"{split}_values.npy", values_size)):
                    self._files[name] = undo.enter_context((self.partial / name).open("ab"))
                    self._files[name].truncate(size)
                if not n_written:
                    self._files[f"{split}_values.npy"].write(header)
            undo.pop_all()

    def _remove_if_empty(self) -> None:
        with contextlib.suppress(OSError):
            self.partial.rmdir()

    @property
    def _value_bytes(self) -> int:
        """Size of the exact values of one sample."""
        return 4 * len(self.info.parameter_names)

    def _find_written(self) -> dict[str, int]:
        """Whole samples that an interrupted writer left, per split; those of `test` count when `train` is complete."""
        path = self.partial / UNFINISHED
        if path.read_text(encoding="utf-8") != self.info.to_json():
            raise VIMHError(
                f"{self.partial}: has another configuration. Start again with resume=false, or use the other one."
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

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        failure = None
        try:
            if error is None:
                self._finish()
        except (OSError, VIMHError) as raised:
            failure = raised
        finally:
            for file in self._files.values():
                with contextlib.suppress(OSError):  # a full disk refuses the last bytes once more
                    _close(file)
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
        """The error of a disk that cannot be written to."""
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
            _close(file)
        names = list(self._files)
        if self.pickle:
            for split in SPLITS:
                records = np.asarray(np.memmap(self.partial / split, dtype=self.dtype, mode="r"))
                _write(self.partial / f"{split}_batch", legacy.dumps(records))
                names.append(f"{split}_batch")
        files = {name: file_entry(self.partial / name) for name in names}
        _write(self.partial / INFO_NAME, self.info.model_copy(update={"files": files}).sealed().to_json().encode())
        (self.partial / UNFINISHED).unlink()
        replaced = self.data_dir.with_name(f".{self.data_dir.name}.replaced")
        if self.data_dir.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            self.data_dir.rename(replaced)
        self.partial.rename(self.data_dir)
        shutil.rmtree(replaced, ignore_errors=True)

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


def _write(path: Path, data: bytes) -> None:
    """Write a whole file."""
    with path.open("wb") as file:
        file.write(data)
        _close(file)


def _close(file: BinaryIO) -> None:
    """Close a file whose bytes are to be on the disk before the dataset gets its name."""
    if not file.closed:
        try:
            file.flush()
            os.fsync(file.fileno())
        finally:
            file.close()


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


def _check_all_known(directory: Path) -> None:
    """Refuse to delete a directory that holds anything but the files of a dataset."""
    for path in directory.iterdir():
        if path.name not in {INFO_NAME, UNFINISHED, *FILE_NAMES} or path.is_dir():
            raise VIMHError(f"{path}: is not a file of a dataset, so its directory is left alone. Remove it by hand.")
