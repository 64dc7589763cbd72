"""Files and their labels: from the folders that they lie in, or from a CSV."""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from src.errors import ConfigError
from src.text import name_of

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}  # of tables, what is preferred first
# Columns that are no labels unless they are asked for: how the files are divided.
SPLIT, GROUP, FOLD = DIVIDING = ("split", "group", "fold")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


class Table(NamedTuple):
    """A CSV, without blanks around its texts and without empty lines.

    Attributes:
        heading: Names of the columns.
        rows: Each with the number of its line.
        between: What separates columns, in words.
    """

    heading: list[str]
    rows: list[tuple[int, list[str]]]
    between: str

    @property
    def is_even(self) -> bool:
        """Whether every row has as many columns as the heading, two or more."""
        return len(self.heading) > 1 and all(len(row) == len(self.heading) for _, row in self.rows)


@dataclass(frozen=True)
class LabelledFiles:
    """Files, the texts of their labels, and what else is known of them.

    Attributes:
        directory: That their names are seen from.
        paths: `(file,)`.
        labels: Name of each label to its texts, `(file,)`.
        columns: Name of everything known to its texts, `(file,)`: what is called `split` (`train`, `val` or `test`),
            `group` and `fold` says how the files are divided.
        form: What says all this, in words.
    """

    directory: Path
    paths: tuple[Path, ...]
    labels: dict[str, tuple[str, ...]]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    form: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files as seen from the directory, fit to be shown, `(file,)`."""
        return tuple(name_of(path.relative_to(self.directory).as_posix()) for path in self.paths)

    @property
    def groups(self) -> tuple[str, ...]:
        """What each file is divided with: its group, or itself, `(file,)`."""
        return self.columns.get(GROUP, self.names)

    def take(self, mask: Sequence[bool]) -> "LabelledFiles":
        """Those of the files that are marked."""
        labels, columns = (
            {name: tuple(compress(texts, mask)) for name, texts in found.items()}
            for found in (self.labels, self.columns)
        )
        return replace(self, paths=tuple(compress(self.paths, mask)), labels=labels, columns=columns)

    def grouped_by(self, key: str) -> "LabelledFiles":
        """The same files, grouped by a column, or by what a regular expression finds in their names.

        Args:
            key: Name of a column, or the expression; if it has groups, the first one counts, else all that it matches.

        Raises:
            ConfigError: If it is neither, or not found in a name.
        """
        if key in self.columns:
            return replace(self, columns={**self.columns, GROUP: self.columns[key]})
        try:
            found = [re.search(key, name) for name in self.names]
        except re.error as error:
            raise ConfigError(f"{key!r} is no column and no regular expression ({error}).") from error
        texts = [match[min(1, len(match.groups()))] if match else None for match in found]
        if not all(texts):
            missing = [name for name, text in zip(self.names, texts, strict=True) if not text]
            raise ConfigError(
                f"{key!r} is not found in the names of {len(missing):,} of {len(texts):,} files, such as {missing[0]}. "
                f"Give an expression that finds the group in each{_or_columns(self.columns)}."
            )
        return replace(self, columns={**self.columns, GROUP: tuple(map(str, texts))})


def _or_columns(columns: Mapping[str, object]) -> str:
    return f", or one of the columns {', '.join(columns)}" if columns else ""


def files_of_folders(directory: Path, suffixes: frozenset[str], label: str) -> LabelledFiles:
    """Files labelled by the folder that they lie in, in the order of their names; hidden ones are left out.

    Args:
        directory: Holds a folder per class; what is in folders inside of those belongs to the class as well. Where all
            folders have names of splits, such as `train` and `test`, those hold the folders of the classes.
        suffixes: Of the files that count, in lower case.
        label: Name of the label.

    Raises:
        ConfigError: If there are no such files, or some lie in no folder.
    """
    check_directory(directory)
    found = sorted(
        path
        for path in directory.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    )
    if not found:
        raise ConfigError(f"{directory}: holds no file with one of the endings {', '.join(sorted(suffixes))}.")
    folders = [path.relative_to(directory).parts[:-1] for path in found]
    columns, form = {}, "a folder per class"
    if all(folders) and splits_in(parts[0] for parts in folders):
        columns = {SPLIT: tuple(SPLIT_NAMES[parts[0].lower()] for parts in folders)}
        folders, form = [parts[1:] for parts in folders], "a folder per class within each split"
    if not all(folders):
        raise ConfigError(
            f"{found[folders.index(())]}: lies in no folder that names its class. Sort the files into a folder per "
            "class, or give their labels with --csv."
        )
    return LabelledFiles(
        directory, tuple(found), {label: tuple(name_of(folder[0]) for folder in folders)}, columns, form
    )


def splits_in(names: Iterable[str]) -> bool:
    """Whether all names are those of splits, `test` among them and another one."""
    found = {SPLIT_NAMES.get(name.lower()) for name in names}
    return None not in found and "test" in found and len(found) > 1


def files_of_table(directory: Path, path: Path, wanted: Sequence[str] = ()) -> LabelledFiles:
    """Files labelled by a CSV: a heading, then a line per file with its name, seen from `directory`, before its labels.

    Args:
        directory: Where the files are.
        path: The CSV, UTF-8, with commas, semicolons or tabs.
        wanted: Names of the columns that are labels; none: all but the first and those that say how files are divided.

    Raises:
        ConfigError: If it is no such table, lacks a label, or names a file that is not there, twice, or outside of the
            directory.
    """
    check_directory(directory)
    table = read_table(path)
    return labelled_by(table, path, directory, table.heading[0], wanted)


def labelled_by(
    table: Table, path: Path, directory: Path, file_column: str, wanted: Sequence[str], below: str = ""
) -> LabelledFiles:
    """Files labelled by a table that was read.

    Args:
        table: Its content.
        path: The table, for messages.
        directory: Where the files are.
        file_column: Column of their names.
        wanted: As for `files_of_table`.
        below: Folder of the directory that their names are seen from.
    """
    names = [name for name in table.heading if name != file_column]
    labels = list(wanted) or [name for name in names if name not in DIVIDING]
    unknown = [name for name in labels if name not in names]
    if unknown or not labels or len(set(table.heading)) < len(table.heading):
        raise ConfigError(
            f"{path}: its columns are {', '.join(table.heading)}, with {table.between} between them. "
            f"{'The first names' if file_column == table.heading[0] else f'{file_column} names'} files, the others "
            f"labels, each once{', but there is no ' + ', '.join(unknown) if unknown else ''}."
        )
    columns = {name: table.heading.index(name) for name in table.heading}
    needed = [file_column, *labels, *(name for name in DIVIDING if name in columns)]
    lines: dict[str, int] = {}
    for number, row in table.rows:
        where = f"{path}, row {number}"
        if len(row) != len(table.heading):
            raise ConfigError(
                f"{where}: has {len(row)} columns, but the heading has {len(table.heading)}, with {table.between} "
                "between them."
            )
        if empty := [name for name in needed if not row[columns[name]]]:
            raise ConfigError(f"{where}: {empty[0]} is empty.")
        name = row[columns[file_column]]
        first = lines.setdefault(os.path.normpath(file_below(directory / below, name, where)), number)
        if first != number:
            raise ConfigError(f"{path}: names {name} twice, in rows {first} and {number}. Leave one of them out.")
    if not lines:
        raise ConfigError(f"{path}: has a heading, but no rows.")
    texts = {name: tuple(row[columns[name]] for _, row in table.rows) for name in names}
    known = {name: found for name, found in texts.items() if name not in DIVIDING or name not in labels}
    if SPLIT in known:
        known[SPLIT] = split_names(known[SPLIT], str(path))
    paths = tuple(directory / below / name for name in lines)
    return LabelledFiles(directory, paths, {name: texts[name] for name in labels}, known, path.name)


def split_names(texts: Sequence[str], where: str) -> tuple[str, ...]:
    """Names of splits as `train`, `val` and `test`.

    Raises:
        ConfigError: If one is no such name.
    """
    if unknown := [text for text in texts if text.lower() not in SPLIT_NAMES]:
        raise ConfigError(f"{where}: its column split says {unknown[0]!r}; train, val and test are known.")
    return tuple(SPLIT_NAMES[text.lower()] for text in texts)


def check_directory(directory: Path) -> None:
    """Refuse a path that is not a directory."""
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such directory.")


def file_below(directory: Path, name: str, where: str) -> str:
    r"""The name of a file as this system has it: a table that was made on Windows separates folders by `\`.

    Args:
        directory: That the name is seen from.
        name: In the table.
        where: In which row, for the message.

    Raises:
        ConfigError: If the file is not there, or outside of the directory.
    """
    windows = PureWindowsPath(name)
    is_there = _is_file(directory / name)
    if Path(name).is_absolute() or ".." in windows.parts or (windows.anchor and not is_there):
        raise ConfigError(
            f"{where}: {name} is not below the directory that holds the files. Write names as seen from {directory}."
        )
    if is_there:
        return name
    if _is_file(directory / windows.as_posix()):
        return windows.as_posix()
    raise ConfigError(f"{where}: {name} is not there, or no file. Files are looked for in {directory}.")


def _is_file(path: Path) -> bool:
    """Whether there is a file of this name; a name that is too long has none."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_table(path: Path) -> Table:
    """A CSV, read with the separator that gives all lines the same number of columns, or else the most to the heading.

    Raises:
        ConfigError: If it is empty or no CSV in UTF-8.
    """
    tables, failure = [], None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a CSV in UTF-8: {error}") from error
    for separator, between in SEPARATORS.items():
        lines = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        try:
            found = [(lines.line_num, [cell.strip() for cell in row]) for row in lines if row]
        except csv.Error as error:
            failure = failure or error
        else:
            tables.append(Table(found[0][1] if found else [], found[1:], between))
    best = next(
        (table for table in tables if table.is_even), max(tables, key=lambda table: len(table[0]), default=None)
    )
    if best is None or (failure is not None and len(best.heading) < 2):
        raise ConfigError(f"{path}: cannot be read as a CSV in UTF-8: {failure}") from failure
    if not best.heading:
        raise ConfigError(f"{path}: is empty.")
    return best


def in_order(texts: Iterable[str]) -> list[str]:
    """All different texts: numbers by their size, then others as in the alphabet."""
    found = {*texts}
    numbers = sorted(
        (text for text in found if text.isascii() and text.isdecimal()), key=lambda text: (int(text), text)
    )
    return [*numbers, *sorted(found.difference(numbers))]
