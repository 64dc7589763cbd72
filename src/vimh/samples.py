"""Samples before they are packed: where each comes from, how it is read, and where it belongs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.errors import ConfigError, NSMError
from src.text import name_of
from src.vimh.division import Class, check_enough
from src.vimh.tables import FOLD, GROUP, SPLIT, LabelledFiles, in_order


class DamagedFileError(NSMError):
    """A file that is damaged, or of another type than expected."""


class SampleBatch(NamedTuple):
    """Some samples.

    Attributes:
        image: uint8, `(sample, channel, height, width)`; row 0 is the lowest.
        spec_range: `spec_min` and `spec_max`, dB, `(sample, 2)`.
        value: Values of the parameters, natural units, `(sample, parameter)`.
        start: Where each begins in its file, s, `(sample,)`; None: where the file does.
        content: What is the same for the same sample, whatever image was made of it; its bytes decide where a sample
            goes, `(sample, …)`. None: the image.
        n_silent: How many others of the same file were left out since they are silent.
    """

    image: np.ndarray
    spec_range: np.ndarray
    value: np.ndarray
    start: np.ndarray | None = None
    content: np.ndarray | None = None
    n_silent: int = 0


@dataclass(frozen=True)
class Origin:
    """The file that samples come from.

    Attributes:
        file: Its name as seen from the directory that is packed.
        group: What is divided as a whole; None: this file.
        fold: Of a cross-validation that the corpus prescribes; empty: none.
        is_val: Whether the corpus has it to validate.
        classes: Of the file, each of which is to be in every part; none where that does not matter.
    """

    file: str
    group: str | None = None
    fold: str = ""
    is_val: bool = False
    classes: frozenset[Class] = frozenset()

    @property
    def divided_with(self) -> str:
        """Name of the group, or of the file."""
        return self.file if self.group is None else self.group


@dataclass(frozen=True)
class Part:
    """A unit that is loaded at once and belongs to one split as a whole, usually a file.

    Attributes:
        name: For messages.
        load: Loads it; raises `DamagedFileError`.
        split: `train` or `test`; None: drawn. Without an origin such a part holds one sample.
        origin: Its file; None: there is none of its own.
    """

    name: str
    load: Callable[[], SampleBatch]
    split: str | None = None
    origin: Origin | None = None


def parts_of(
    files: LabelledFiles,
    values: np.ndarray,
    load: Callable[[int, Path, np.ndarray], SampleBatch],
    spread: Sequence[str] = (),
) -> list[Part]:
    """Files as what is to be packed.

    Where they say which fold they belong to, but not which are to test, the last fold tests.

    Args:
        files: With their labels, and what says how they are divided.
        values: Of their parameters, `(file, parameter)`.
        load: Takes the number of a file, its path and its values.
        spread: Names of the labels each of whose classes is to be in every part.
    """
    group, fold = (files.columns.get(name) for name in (GROUP, FOLD))
    splits = _given_splits(files)
    parts = []
    for number, (path, name) in enumerate(zip(files.paths, files.names, strict=True)):
        origin = Origin(
            name,
            None if group is None else name_of(group[number]),
            "" if fold is None else name_of(fold[number]),
            splits is not None and splits[number] == "val",
            frozenset((label, files.labels[label][number]) for label in spread),
        )
        split = None if splits is None else "test" if splits[number] == "test" else "train"
        parts.append(Part(str(path), partial(load, number, path, values[number]), split, origin))
    return parts


def _given_splits(files: LabelledFiles) -> Sequence[str] | None:
    """Which files train, validate and test, where something says it."""
    if splits := files.columns.get(SPLIT):
        if missing := {"train", "test"} - {*splits}:
            raise ConfigError(
                f"{files.form}: its splits are {' and '.join(sorted({*splits}))}, without "
                f"{' and '.join(sorted(missing))}. Add what is missing, or leave the splits out: the files are divided "
                "then."
            )
        return splits
    if folds := files.columns.get(FOLD):
        if len({*folds}) < 2:
            raise ConfigError(f"{files.form}: names the fold {folds[0]} alone; two or more are needed.")
        last = in_order(folds)[-1]
        return ["test" if fold == last else "train" for fold in folds]
    return None


def check_division(files: LabelledFiles, spread: Sequence[str], n_parts: int) -> None:
    """Refuse files that cannot be divided, before any is read.

    Args:
        files: With their labels, and what says how they are divided.
        spread: As for `parts_of`.
        n_parts: How many parts there are to be.

    Raises:
        ConfigError: If a class is in fewer files or groups than there are parts.
    """
    found: dict[str, set[Class]] = {group: set() for group in files.groups}
    for label in spread:
        for group, text in zip(files.groups, files.labels[label], strict=True):
            found[group].add((label, text))
    check_enough(
        [frozenset(classes) for classes in found.values()], n_parts, "group" if GROUP in files.columns else "file"
    )


def absent_classes(files: LabelledFiles, parts: Sequence[Part]) -> list[str]:
    """Sentences about classes that a division which was given leaves out of training or test; none where it is drawn.

    Args:
        files: With their labels.
        parts: The same files, and where they belong.
    """
    found = []
    for split, doing in (("train", "trains"), ("test", "tests")):
        mask = [part.split == split for part in parts]
        for label, texts in files.labels.items() if any(mask) else ():
            if absent := sorted({*texts} - {*compress(texts, mask)}):
                found.append(f"No file {doing} of label {label}: {', '.join(absent[:20])}{' …' * (len(absent) > 20)}.")
    return found
