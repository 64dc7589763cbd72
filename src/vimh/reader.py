"""`VIMHReader`: a dataset on disk, opened for reading, checked and memory-mapped."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from src.errors import IndexingError, VIMHError
from src.params import MAX_CODE
from src.plain import shown
from src.vimh import legacy
from src.vimh.folder import Folder, settled
from src.vimh.format import FILE_NAMES, INFO_NAME, SPLITS, Columns, claimed_image_size, codes_by_id, offsets
from src.vimh.info import DatasetInfo, FileEntry, json_checksum
from src.vimh.maps import REGENERATE, map_records, map_values, no_records
from src.vimh.sources import Sources, sources_in

CHUNK = 4096  # records that a pass over a whole file holds at a time
MAX_INFO_BYTES = 64_000_000  # of the JSON
PICKLE_OVERHEAD = 32  # bytes that a pickle takes for a byte of a record at the most: whole numbers as text, with a mark
PICKLE_FRAME = 1_000_000  # bytes beside the samples
HALF_A_CODE = 0.5 + 1e-3  # float32 values of 1e-5 relative precision may stand just beyond the half


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

    `split[3]` is one sample, a `Batch` without the first dimension; `split[:16]` and `split[[3, 5]]` are batches.

    Args:
        records: Structured array, `(sample,)`.
        info: The dataset's description.
        path: File of the records, for messages.
        exact: Exact values, float32, `(sample, parameter)`, or None.
        reopen: How another process gets at them. None: the samples themselves are handed to it.
    """

    def __init__(
        self,
        records: np.ndarray,
        info: DatasetInfo,
        path: Path,
        exact: np.ndarray | None,
        reopen: "partial[VIMHSplit] | None" = None,
    ) -> None:
        self.records = records
        self.info = info
        self.path = path
        self.exact = exact
        self.reopen = reopen
        self._rows = records.view(np.uint8).reshape(len(records), records.dtype.itemsize)
        self._columns = Columns(records.dtype)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, item: "int | slice | Sequence[int] | np.ndarray") -> Batch:
        batch = self.read(numbers_of(item, len(self)))
        return Batch(*(column[0] for column in batch)) if is_number(item) else batch

    def __reduce__(self) -> tuple[Callable[..., "VIMHSplit"], tuple[Any, ...]]:
        if self.reopen is None:
            return VIMHSplit, (self.records, self.info, self.path, self.exact)
        return self.reopen.func, self.reopen.args

    @property
    def has_spec_range(self) -> bool:
        """Whether records hold `spec_min` and `spec_max`."""
        return "spec_min" in offsets(self.records.dtype)

    def read(self, indices: np.ndarray | slice) -> Batch:
        """Read samples by one indexing operation.

        Args:
            indices: Numbers of the samples, `(sample,)`, or a slice of them.

        Raises:
            VIMHError: If a record contradicts the dataset's description, or a value is not finite.
        """
        # Bytes are gathered several times faster than structured records.
        rows = self._rows[indices] if isinstance(indices, slice) else self._rows.take(indices, axis=0)
        records = rows.view(self.records.dtype)[:, 0]
        spec_range, code = self._columns.read(rows)
        if code is None:  # ids in another order are read; everything else is refused
            code = codes_by_id(records, str(self.path), np.arange(len(self))[indices])
        if self.exact is not None:
            value = np.asarray(self.exact[indices])
        else:
            with np.errstate(over="ignore"):  # of a range beyond float32: refused below
                value = self.info.space.decode(code).astype(np.float32)
        if not np.isfinite(value).all():
            self._refuse(~np.isfinite(value), value, np.arange(len(self))[indices], "a finite number was expected")
        return Batch(records["image"], code, spec_range, value)

    def codes(self) -> np.ndarray:
        """The codes of all samples, uint8, `(sample, parameter)`, without their images.

        Raises:
            VIMHError: If a record contradicts the dataset's description.
        """
        return codes_by_id(self.records, str(self.path))

    def check_values(self, batch: Batch, first: int) -> None:
        """Refuse exact values that lie further than half a code from the codes.

        Args:
            batch: Samples of this split.
            first: Number of the first.
        """
        space = self.info.space
        distance = np.abs(space.normalized_from_value(batch.value.astype(np.float64)) * MAX_CODE - batch.code)
        wrong = ~(distance <= HALF_A_CODE)
        if wrong.any():
            row, p = np.argwhere(wrong)[0]
            means = f"the record's code {batch.code[row, p]} means {space.decode(batch.code[row])[p]:.6g}"
            self._refuse(wrong, batch.value, first + np.arange(len(wrong)), means)

    def _refuse(self, wrong: np.ndarray, value: np.ndarray, number: np.ndarray, but: str) -> None:
        """Raise the error of the first wrong value, `(sample, parameter)`, of samples of these numbers."""
        row, p = np.argwhere(wrong)[0]
        name = self.info.parameter_names[p]
        where = self.path if self.exact is None else _values_path(self.path)
        raise VIMHError(f"{where}: sample {number[row]} has {name} {value[row, p]}, but {but}. {REGENERATE}")

    def chunks(self) -> Iterator[slice]:
        """Slices that cover all samples."""
        for first in range(0, len(self), CHUNK):
            yield slice(first, min(first + CHUNK, len(self)))


class VIMHReader:
    """A dataset on disk, opened for reading. Opening makes the cheap checks and reads two records a split.

    All its files are those of one dataset, even if another one takes its place meanwhile. What another process is
    handed are the directory and the digest, by which it opens the same dataset or is refused.

    Args:
        data_dir: Directory of the dataset.
        digest: SHA-256 of the JSON of the dataset that is wanted. None: any.

    Attributes:
        digest: SHA-256 of the JSON.

    Raises:
        VIMHError: If there is no dataset, its directory name, JSON and records disagree, or it is another one.
    """

    def __init__(self, data_dir: str | Path, digest: str | None = None) -> None:
        self.data_dir = Path(data_dir)
        settled(self.data_dir, partial(self._open, digest))

    def __reduce__(self) -> tuple[type["VIMHReader"], tuple[Path, str]]:
        return VIMHReader, (self.data_dir.absolute(), self.digest)

    def split(self, name: str) -> VIMHSplit:
        """The split called `train` or `test`."""
        return {"train": self.train, "test": self.test}[name]

    @cached_property
    def sources(self) -> dict[str, Sources] | None:
        """Where the samples of `train` and `test` come from; None where the dataset does not say.

        Raises:
            VIMHError: If the file that says it is damaged.
        """
        return read_sources(self.data_dir, self.digest)

    def _open(self, digest: str | None, folder: Folder) -> None:
        """Open all there is."""
        self.info, self.digest, _ = _describe(folder, digest)
        self.train, self.test = (self._open_split(folder, split) for split in SPLITS)

    def _open_split(self, folder: Folder, split: str) -> VIMHSplit:
        path, pickled = self.data_dir / split, self.data_dir / f"{split}_batch"
        n_samples = self.info.n_split(split)
        if file := folder.open(path.name):
            with file:
                records = map_records(file, path, self.info)
        elif file := folder.open(pickled.name):
            with file:
                path, records = pickled, self._read_pickle(file, pickled)
        elif n_samples == 0:
            records = no_records(self.info)
        else:
            raise VIMHError(
                f"{self.data_dir}: the JSON announces {n_samples} {split} samples, but there is neither "
                f"a file {split} nor {split}_batch. {REGENERATE}"
            )
        if len(records) != n_samples:
            raise VIMHError(f"{path}: holds {len(records)} records, but the JSON says {n_samples}. {REGENERATE}")
        if len(records):
            codes_by_id(records[[0, -1]], str(path), np.array([0, len(records) - 1]))  # checks them
        exact = self._open_values(folder, split)
        return VIMHSplit(
            records, self.info, path, exact, partial(open_split, self.data_dir.absolute(), self.digest, split)
        )

    def _read_pickle(self, file: BinaryIO, path: Path) -> np.ndarray:
        """Records of a legacy pickle, `(sample,)`; one that is far too large for them is not even read."""
        size = os.fstat(file.fileno()).st_size
        records = no_records(self.info)
        most = PICKLE_OVERHEAD * records.itemsize * (self.info.train_samples + self.info.test_samples) + PICKLE_FRAME
        if size > most:
            raise VIMHError(
                f"{path}: has {size} bytes, but {most} are the most that its samples can take. {REGENERATE}"
            )
        return legacy.read(path, self.info)

    def _open_values(self, folder: Folder, split: str) -> np.ndarray | None:
        """The exact values of a split, if there are any."""
        path = _values_path(self.data_dir / split)
        if not (file := folder.open(path.name)):
            return None
        with file:
            return map_values(file, path, (self.info.n_split(split), len(self.info.parameter_names)))

    def validate(self, advance: Callable[[int], None] = lambda n: None) -> str:
        """Full validation: records, values, checksums, pickle copies, sources, and the generator's configuration.

        Args:
            advance: Called with the number of records done, for a progress bar.

        Returns:
            What is as it should be, and which files the JSON has no checksum of.

        Raises:
            VIMHError: At the first disagreement.
        """
        for split in (self.train, self.test):
            for chunk in split.chunks():
                batch = split.read(chunk)
                if split.exact is not None:
                    split.check_values(batch, chunk.start)
                advance(len(batch.code))
        if wrong := self.info.contradictions():
            raise VIMHError(f"{self.data_dir / INFO_NAME}: {'; '.join(wrong)}. {REGENERATE}")
        unlisted = settled(self.data_dir, self._check_files)
        if unlisted:
            return f"every record and value is as it should be; no checksums here of {', '.join(unlisted)}"
        return "every record, value and checksum is as it should be"

    def _check_files(self, folder: Folder) -> list[str]:
        """Refuse files that contradict their checksums or each other; the names of those without a checksum."""
        _, _, content = _describe(folder, self.digest)
        stated = self.info.json_sha256
        if stated is not None and (found := json_checksum(content, stated)) != stated:
            raise VIMHError(
                f"{self.data_dir / INFO_NAME}: was edited: its SHA-256 is {found}, but its key json_sha256 says "
                f"{stated}. Restore the file; if the change is meant, remove that key."
            )
        for name, entry in self.info.files.items():
            self._check_file(folder, name, entry)
        sources_in(folder, self.info)
        for split in (self.train, self.test):
            self._check_pickle(folder, split)
        unlisted = [name for name in sorted(FILE_NAMES - self.info.files.keys()) if _is_in(folder, name)]
        return unlisted + ([INFO_NAME] if stated is None else [])

    def _check_file(self, folder: Folder, name: str, entry: FileEntry) -> None:
        """Refuse a file of another size or checksum than the JSON says."""
        path = self.data_dir / name
        file = folder.open(name) if name in FILE_NAMES else None
        if file is None:
            raise VIMHError(f"{path}: the JSON lists this file, but there is none of this name. {REGENERATE}")
        with file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.size:
                raise VIMHError(f"{path}: has {size} bytes, but the JSON says {entry.size}. {REGENERATE}")
            found = _sha256(file)
        if found != entry.sha256:
            raise VIMHError(f"{path}: its SHA-256 is {found}, but the JSON says {entry.sha256}. {REGENERATE}")

    def _check_pickle(self, folder: Folder, split: VIMHSplit) -> None:
        """Refuse a pickle copy, where there is one, that holds something else than the records."""
        path = split.path.with_name(f"{split.path.name}_batch")
        if not (file := folder.open(path.name)):
            return
        with file:
            copy = VIMHSplit(self._read_pickle(file, path), self.info, path, None)
        if len(copy) != len(split):
            raise VIMHError(f"{path}: holds {len(copy)} samples, but {split.path} {len(split)}. {REGENERATE}")
        for chunk in split.chunks():
            for key, theirs, ours in zip(Batch._fields[:-1], copy.read(chunk), split.read(chunk), strict=False):
                if not np.array_equal(theirs, ours):
                    raise VIMHError(f"{path}: holds another {key} than {split.path}. {REGENERATE}")


def numbers_of(item: int | slice | Sequence[int] | np.ndarray, n: int, what: str = "sample") -> np.ndarray:
    """The numbers that an index means, int64, `(number,)`.

    Args:
        item: A number, of which negative ones count from the end, several, a slice, or a mask, `(n,)`.
        n: How many there are.
        what: What is counted, for messages.

    Raises:
        IndexingError: If one is not there, or it is no index.
    """
    if isinstance(item, slice):
        return np.arange(n)[item]
    try:
        found = np.asarray(item)
    except ValueError:  # rows of several lengths
        found = np.asarray(None)
    if found.dtype == bool and found.shape == (n,):
        return np.flatnonzero(found)
    if found.ndim > 1 or (found.size and found.dtype.kind not in "iu"):
        raise IndexingError(f"{shown(item)} is no index. Give a number, a slice, several numbers, or a mask of {n:,}.")
    found = found.astype(np.int64).reshape(-1)
    missing = found[(found < -n) | (found >= n)]
    if missing.size:
        there = f"there is 1 {what}, number 0" if n == 1 else f"there are {n:,}, numbers 0 to {n - 1:,}"
        raise IndexingError(f"{what} {missing[0]} does not exist: {there if n else 'there are none'}.")
    return np.where(found < 0, found + n, found)


def number_of(item: Any, n: int, what: str = "sample") -> int:
    """The same of an index that means one.

    Raises:
        IndexingError: If it is not there, or it is no number.
    """
    if not is_number(item):
        raise IndexingError(f"{shown(item)} is no number of a {what}. Give a whole number below {n:,}.")
    return int(numbers_of(item, n, what)[0])


def is_number(item: Any) -> bool:
    """Whether an index means one sample, and not several."""
    return isinstance(item, int | np.integer) or (isinstance(item, np.ndarray) and item.ndim == 0)


def open_split(data_dir: Path, digest: str, name: str) -> VIMHSplit:
    """The split that another process had open.

    Args:
        data_dir: Directory of the dataset.
        digest: SHA-256 of its JSON.
        name: `train` or `test`.

    Raises:
        VIMHError: If another dataset is there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other process told
        return VIMHReader(data_dir, digest).split(name)


def file_entry(path: Path) -> FileEntry:
    """Size and checksum of a file."""
    with path.open("rb") as file:
        return FileEntry(size=os.fstat(file.fileno()).st_size, sha256=_sha256(file))


def _sha256(file: BinaryIO) -> str:
    """Checksum of a file, open at its beginning."""
    digest = hashlib.sha256()
    while block := file.read(1 << 14):
        digest.update(block)
    return digest.hexdigest()


def _values_path(path: Path) -> Path:
    """File of the exact values beside a file of records."""
    return path.with_name(f"{path.name.removesuffix('_batch')}_values.npy")


def _is_in(folder: Folder, name: str) -> bool:
    """Whether a directory holds a file of this name."""
    if file := folder.open(name):
        file.close()
    return file is not None


class Description(NamedTuple):
    """What a dataset's JSON says, and which one it is.

    Attributes:
        info: The description.
        digest: SHA-256 of the file.
        content: The file.
    """

    info: DatasetInfo
    digest: str
    content: bytes


def read_info(data_dir: Path) -> DatasetInfo:
    """The description of a dataset, checked against the directory's name.

    Raises:
        VIMHError: If there is none, it is damaged, or the directory's name contradicts it.
    """
    return read_description(data_dir).info


def read_description(data_dir: Path, digest: str | None = None) -> Description:
    """The same, with what tells it from others.

    Args:
        data_dir: Directory of the dataset.
        digest: As for `VIMHReader`.
    """
    return settled(data_dir, partial(_describe, digest=digest))


def read_sources(data_dir: str | Path, digest: str | None = None) -> dict[str, Sources] | None:
    """Where the samples of a dataset's `train` and `test` come from; None where it does not say.

    Args:
        data_dir: Directory of the dataset.
        digest: As for `VIMHReader`.

    Raises:
        VIMHError: If there is no such dataset, or the file that says it is damaged or contradicts the description.
    """
    return settled(Path(data_dir), partial(_sources, digest=digest))


def _sources(folder: Folder, digest: str | None) -> dict[str, Sources] | None:
    """The same of the dataset in an open directory."""
    return sources_in(folder, _describe(folder, digest).info)


def _describe(folder: Folder, digest: str | None) -> Description:
    """The description of the dataset in an open directory."""
    path = folder.path / INFO_NAME
    if not (file := folder.open(INFO_NAME)):
        raise VIMHError(
            f"{folder.path}: not a dataset, it holds no {INFO_NAME}. Generate one (make sds), or name another "
            "directory."
        )
    with file:
        content = file.read(MAX_INFO_BYTES + 1)
    found = hashlib.sha256(content).hexdigest()
    if digest not in (None, found):
        raise VIMHError(f"{folder.path}: another dataset has taken the place of the one that was opened. Start again.")
    if len(content) > MAX_INFO_BYTES:
        raise VIMHError(f"{path}: has more than {MAX_INFO_BYTES} bytes, which is no description. {REGENERATE}")
    info = DatasetInfo.from_json(content, str(path))
    check_directory_name(folder.path.resolve(), info)
    return Description(info, found, content)


def check_directory_name(data_dir: Path, info: DatasetInfo) -> None:
    """Refuse a directory name that claims other dimensions than the description."""
    claim = claimed_image_size(data_dir.name)
    if claim is not None and claim != (info.height, info.width, info.channels):
        raise VIMHError(
            f"{data_dir}: the directory name claims height x width x channels {'x'.join(map(str, claim))}, but "
            f"{INFO_NAME} says {info.height}x{info.width}x{info.channels}. Choose another name, or restore the JSON."
        )
