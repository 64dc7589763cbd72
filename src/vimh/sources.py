"""`Sources`: which file each sample of a dataset comes from, kept beside the records as `sources.csv`.

A dataset of recordings has it: frames of one file, or files of one speaker, are a group, which no division separates.
"""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.errors import VIMHError
from src.text import name_of
from src.vimh.folder import Folder
from src.vimh.format import SOURCES_NAME, SPLITS
from src.vimh.info import DatasetInfo
from src.vimh.maps import REGENERATE

HEADING = ("part", "number", "file", "start", "group", "fold", "val")
MAX_LINE_BYTES = 20_000  # of a sample at the most: a path and a group of 4,096 letters each take less
YES_NO = ("0", "1")


@dataclass(frozen=True, eq=False)
class Sources:
    """Where the samples of a part come from, in the order of their numbers.

    Attributes:
        file: Name of the file as seen from the directory that was packed, `/` between folders, str, `(sample,)`.
        start: Where the sample begins in it, s, float64, `(sample,)`.
        group: What is never divided, the file's name by default, str, `(sample,)`.
        fold: Of a cross-validation; empty where there is none, str, `(sample,)`.
        val: Whether it is to validate by the corpus' own division, bool, `(sample,)`.
    """

    file: np.ndarray
    start: np.ndarray
    group: np.ndarray
    fold: np.ndarray
    val: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[str]]) -> "Sources":
        """From rows of `file`, `start`, `group`, `fold` and `val` as texts; see `HEADING`."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * 5
        file, start, group, fold, val = columns
        texts = (np.array(column, dtype=np.str_) for column in (file, group, fold))
        names, groups, folds = texts
        return cls(names, np.array(start, dtype=np.float64), groups, folds, np.array(val, dtype=np.str_) == "1")

    def __len__(self) -> int:
        return len(self.file)

    def take(self, numbers: np.ndarray) -> "Sources":
        """Those of some samples, by their numbers or a mask."""
        return Sources(*(getattr(self, name)[numbers] for name in HEADING[2:]))

    def followed_by(self, other: "Sources") -> "Sources":
        """These, and others behind them."""
        return Sources(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in HEADING[2:]))

    def rows(self, part: str) -> list[tuple[str, ...]]:
        """Lines of `sources.csv`."""
        columns = (self.file, map(repr, self.start.tolist()), self.group, self.fold, map(str, self.val.astype(int)))
        return [(part, str(number), *row) for number, row in enumerate(zip(*columns, strict=True))]


def to_csv(parts: Mapping[str, Sources]) -> bytes:
    """The content of `sources.csv`: a heading, and a line a sample.

    Args:
        parts: `train` and `test`.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(HEADING)
    for part in SPLITS:
        lines.writerows(parts[part].rows(part))
    return text.getvalue().encode("utf-8", "backslashreplace")


def sources_in(folder: Folder, info: DatasetInfo) -> dict[str, Sources] | None:
    """Where the samples of a dataset come from, by part; None where it does not say.

    Args:
        folder: Its directory.
        info: Its description.

    Raises:
        VIMHError: If the file is damaged or contradicts the description.
    """
    path = folder.path / SOURCES_NAME
    if not (file := folder.open(SOURCES_NAME)):
        return None
    with file:
        size, most = os.fstat(file.fileno()).st_size, MAX_LINE_BYTES * (1 + info.train_samples + info.test_samples)
        if size > most:
            raise VIMHError(f"{path}: has {size} bytes, but {most} are the most for its samples. {REGENERATE}")
        return _parsed(file.read(), path, info)


def _parsed(content: bytes, path: Path, info: DatasetInfo) -> dict[str, Sources]:
    """The content of `sources.csv`, checked."""
    try:
        heading, *rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise VIMHError(f"{path}: cannot be read as a CSV in UTF-8 ({error}). {REGENERATE}") from error
    expected = [(part, str(number)) for part in SPLITS for number in range(info.n_split(part))]
    if tuple(heading) != HEADING or len(rows) != len(expected):
        raise VIMHError(
            f"{path}: has the columns {name_of(', '.join(heading))[:200]} and {len(rows)} lines; "
            f"{', '.join(HEADING)} and {len(expected)} were expected from the JSON. {REGENERATE}"
        )
    for row, (part, number) in zip(rows, expected, strict=True):
        if not _is_line(row, part, number):
            line = name_of(",".join(row))[:200]
            raise VIMHError(f"{path}: the line of {part} sample {number} is {line!r}, which is none. {REGENERATE}")
    ends = np.cumsum([0, *map(info.n_split, SPLITS)])
    texts = [row[2:] for row in rows]
    return {part: Sources.of(texts[ends[i] : ends[i + 1]]) for i, part in enumerate(SPLITS)}


def _is_line(row: Sequence[str], part: str, number: str) -> bool:
    """Whether a line says where this sample comes from."""
    if len(row) != len(HEADING) or (row[0], row[1]) != (part, number) or row[6] not in YES_NO:
        return False
    try:
        return bool(row[2]) and bool(row[4]) and 0 <= float(row[3]) < math.inf
    except ValueError:
        return False
