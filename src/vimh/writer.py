"""`VIMHWriter`: writes a dataset batch by batch; the dataset appears complete or not at all."""

import contextlib
import difflib
import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.errors import VIMHError
from src.files import exchange, flush_directory, lock_directory
from src.text import name_of
from src.vimh import legacy
from src.vimh.format import FILE_NAMES, INFO_NAME, METADATA_BYTES, SOURCES_NAME, SPLITS, pack, record_dtype
from src.vimh.info import DatasetInfo
from src.vimh.reader import check_directory_name, file_entry
from src.vimh.sources import Sources, to_csv

UNFINISHED = "unfinished.json"  # description of the dataset in a partial directory
MAX_LEVEL = 40.0  # dB full scale; beyond it a level is no sound's, but what went wrong in making it


class BusyError(VIMHError):
    """Another process is writing the same dataset."""


class ExistsError(VIMHError):
    """A dataset is there already, and is not to be replaced."""


class VIMHWriter:
    """Writes a dataset, batch by batch; memory does not grow with it.

    The files are written to `.<name>.partial` beside the target, the JSON last, and the directory gets its name when
    all samples are there; a dataset that it replaces has the name until that moment. An interrupt keeps the partial
    directory, which the next writer of the same target replaces or continues; an error removes it. Use it as a context
    manager.

    Args:
        data_dir: The dataset's future directory.
        info: Its complete description, but for `files`.
        overwrite: Replace a dataset that is there already, once the new one is whole.
        pickle: Write legacy pickle copies as well; this takes memory for a whole split.
        resume: Continue what an interrupted writer of the same description left; `written` counts its samples.
        sources: Where the samples come from, by part.

    Raises:
        BusyError: If another process is writing the same dataset.
        ExistsError: If a dataset is there already.
        VIMHError: If something else is, another process is writing another dataset there, or the disk refuses.
    """

    def __init__(
        self,
        data_dir: Path,
        info: DatasetInfo,
        overwrite: bool = False,
        pickle: bool = False,
        resume: bool = False,
        sources: Mapping[str, Sources] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.partial = partial_dir(data_dir)
        self.info = info
        self.overwrite = overwrite
        self.pickle = pickle
        self.resume = resume
        self.sources = sources
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
        with contextlib.ExitStack() as undo:
            self._lock = _lock_partial(self.data_dir, self.info)
            undo.callback(os.close, self._lock)
            undo.callback(_remove_if_empty, self.partial)
            _settle_replaced(self.data_dir)
            check_target(self.data_dir, self.overwrite)  # again: another writer may have ended meanwhile
            if self.resume and self._can_resume():
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

    @property
    def _value_bytes(self) -> int:
        """Size of the exact values of one sample."""
        return 4 * len(self.info.parameter_names)

    def _can_resume(self) -> bool:
        """Whether an interrupted writer left something, and had its description written as a whole.

        Raises:
            VIMHError: If it was of another description.
        """
        begun = _begun(self.partial, self.info)
        if begun is False:
            raise VIMHError(
                f"{self.partial}: has another configuration. Start again with resume=false, or use the other one."
            )
        return begun is True

    def _find_written(self) -> dict[str, int]:
        """Whole samples that an interrupted writer left, per split; those of `test` count when `train` is complete."""
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

        Raises:
            VIMHError: If a value or a level is no finite number, or a level is above `MAX_LEVEL`.
        """
        self._check_levels(split, spec_range, value)
        self._files[split].write(pack(self.dtype, image, code, spec_range).tobytes())
        self._files[f"{split}_values.npy"].write(np.ascontiguousarray(value, dtype="<f4").tobytes())
        self.written[split] += len(image)

    def _check_levels(self, split: str, spec_range: np.ndarray, value: np.ndarray) -> None:
        """Refuse what no reader would take."""
        fine = np.isfinite(value).all(axis=1)
        fine &= (spec_range[:, 0] > -np.inf) & (spec_range[:, 0] <= spec_range[:, 1]) & (spec_range[:, 1] <= MAX_LEVEL)
        if fine.all():
            return
        row, names = int(np.argmin(fine)), self.info.parameter_names
        values = ", ".join(f"{name} {number:g}" for name, number in zip(names, value[row], strict=True))
        raise VIMHError(
            f"{self.data_dir}: {split} sample {self.written[split] + row} ({values}) has levels from "
            f"{spec_range[row, 0]:g} to {spec_range[row, 1]:g} dB. Values must be finite, and levels finite, rising "
            f"and at most {MAX_LEVEL:g} dB full scale. Nothing was kept; correct what makes that sample."
        )

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        failure = None
        try:
            if error is None:
                self._finish()
        except (OSError, VIMHError) as raised:
            failure = error = raised
        finally:
            self._release(remove=error is not None and not isinstance(error, KeyboardInterrupt))
        if isinstance(error, OSError):
            raise self._disk_error(error) from error
        if failure is not None:
            raise failure

    def _release(self, remove: bool) -> None:
        """Close the files, and give the partial directory to other writers, or remove it before."""
        try:
            for file in self._files.values():
                with contextlib.suppress(OSError):  # a full disk refuses the last bytes once more
                    _close(file)
            if remove:
                shutil.rmtree(self.partial)
        finally:
            os.close(self._lock)

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
        if self.sources is not None:
            _write(self.partial / SOURCES_NAME, to_csv(self.sources))
            names.append(SOURCES_NAME)
        files = {name: file_entry(self.partial / name) for name in names}
        _write(self.partial / INFO_NAME, self.info.model_copy(update={"files": files}).sealed().to_json().encode())
        flush_directory(self.partial)
        (self.partial / UNFINISHED).unlink()
        if self.data_dir.exists():
            _replace(self.data_dir)
        else:
            self.partial.rename(self.data_dir)
            flush_directory(self.data_dir)
            flush_directory(self.data_dir.parent)

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


def replaced_dir(data_dir: Path) -> Path:
    """Where a dataset is while another gets its name, on systems that cannot exchange names."""
    return data_dir.with_name(f".{data_dir.name}.replaced")


def check_target(data_dir: Path, overwrite: bool) -> None:
    """Refuse to write where something is already, unless it is a dataset and may be overwritten."""
    if not os.path.lexists(data_dir):
        return
    if not (data_dir / INFO_NAME).is_file():
        raise VIMHError(f"{data_dir}: exists and is not a dataset, so it is left alone. Choose another directory.")
    if not overwrite:
        raise ExistsError(f"{data_dir}: exists already. Choose another name, or replace it with overwrite=true.")
    if data_dir.is_symlink():
        raise VIMHError(f"{data_dir}: is a link, so what it points to is left alone. Name that directory, or another.")
    _check_all_known(data_dir)


def check_name(data_dir: Path, prescribed: str, name: str | None) -> None:
    """Refuse to make a dataset for a training in a directory that has another name: it may be mistyped.

    Args:
        data_dir: The directory that the training names, where nothing is.
        prescribed: Name of the dataset that would be made.
        name: What it is to be called in place of that; None: so.
    """
    if data_dir.name == (name or prescribed):
        return
    there: list[str] = []
    with contextlib.suppress(OSError):
        there = sorted(entry.name for entry in data_dir.parent.iterdir() if (entry / INFO_NAME).is_file())
    near = difflib.get_close_matches(data_dir.name, there, n=3, cutoff=0.5)
    own = name_of(data_dir.name)
    raise VIMHError(
        f"{name_of(data_dir)}: no dataset is there, and the one that would be made is called {name or prescribed}. "
        f"Correct data.data_dir, or have it made under that name with data.make_dataset.name={own}."
        + (f" Nearest there: {', '.join(map(name_of, near))}." if near else "")
    )


def settle(data_dir: Path) -> None:
    """Bring to an end what a killed writer left of replacing a dataset; a living writer is left alone.

    At every moment of a replacement the old dataset or the new one is whole, under its own name or another: here it
    gets its own, and what is left of the other is deleted.
    """
    partial = partial_dir(data_dir)
    is_leftover = os.path.lexists(partial) and not (partial / UNFINISHED).is_file()
    if not is_leftover and not os.path.lexists(replaced_dir(data_dir)):
        return
    with contextlib.suppress(OSError, VIMHError):  # one who may not write can still read
        lock = _lock_partial(data_dir)
        try:
            _settle_replaced(data_dir)
            if not (partial / UNFINISHED).is_file():
                delete_dataset(partial)
        finally:
            _remove_if_empty(partial)
            os.close(lock)


def delete_dataset(directory: Path) -> None:
    """Delete a dataset, finished or not; the JSON last, so that it is known for one until it is gone.

    Raises:
        VIMHError: If anything else is in its directory.
    """
    _check_all_known(directory)
    for name in (*sorted(FILE_NAMES), UNFINISHED, INFO_NAME):
        (directory / name).unlink(missing_ok=True)
    directory.rmdir()


def wait_for_writer(data_dir: Path) -> None:
    """Wait until no other process writes a dataset any more."""
    with contextlib.suppress(FileNotFoundError):
        os.close(lock_directory(partial_dir(data_dir), wait=True))


def _lock_partial(data_dir: Path, info: DatasetInfo | None = None) -> int:
    """Make the partial directory of a dataset, and lock it against other writers.

    Args:
        data_dir: The dataset.
        info: What is to be written there.

    Raises:
        BusyError: If another process is writing the same there.
        VIMHError: If it is writing something else.
    """
    partial = partial_dir(data_dir)
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        try:
            return lock_directory(partial)
        except FileNotFoundError:
            continue  # its writer has just ended
        except BlockingIOError as error:
            kind = VIMHError if info is not None and _begun(partial, info) is False else BusyError
            raise kind(f"{partial}: another process is writing this dataset. Wait for it, or stop it.") from error


def _begun(partial: Path, info: DatasetInfo) -> bool | None:
    """Whether it is this dataset that was begun in a partial directory; None if it does not say, or only half."""
    try:
        found = (partial / UNFINISHED).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    wanted = info.to_json()
    return True if found == wanted else None if wanted.startswith(found) else False


def _replace(data_dir: Path) -> None:
    """Exchange a dataset for the one that is whole in its partial directory, which is locked.

    Where the system cannot exchange names in one step, there is a moment when neither has its name; see `settle`.
    """
    partial, replaced = partial_dir(data_dir), replaced_dir(data_dir)
    old_lock = lock_directory(data_dir, wait=True)  # so that no other writer begins in it when it is the partial
    try:
        if exchange(partial, data_dir):
            left = partial
        else:
            left = replaced
            data_dir.rename(replaced)
            try:
                partial.rename(data_dir)
            except BaseException:
                replaced.rename(data_dir)
                raise
        flush_directory(data_dir)
        flush_directory(data_dir.parent)
        with contextlib.suppress(OSError, VIMHError):  # the next writer deletes what is left
            delete_dataset(left)
    finally:
        os.close(old_lock)


def _settle_replaced(data_dir: Path) -> None:
    """Put a dataset that was being replaced back where no other is, or delete it; its partial directory is locked."""
    replaced = replaced_dir(data_dir)
    if (replaced / INFO_NAME).is_file() and not os.path.lexists(data_dir):
        replaced.rename(data_dir)
        flush_directory(data_dir.parent)
    elif replaced.is_dir() and not replaced.is_symlink():
        delete_dataset(replaced)


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _check_all_known(directory: Path) -> None:
    """Refuse to delete a directory that holds anything but the files of a dataset."""
    for path in directory.iterdir():
        if path.name not in {INFO_NAME, UNFINISHED, *FILE_NAMES} or path.is_dir():
            raise VIMHError(f"{path}: is not a file of a dataset, so its directory is left alone. Remove it by hand.")
