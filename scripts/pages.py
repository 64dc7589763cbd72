"""Results as JSON, and as Markdown tables in pages of the documentation."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.errors import NSMError  # noqa: E402
from src.files import lock_directory, write_atomically  # noqa: E402
from src.text import one_line  # noqa: E402


def read_json(path: Path) -> dict[str, Any]:
    """Entries by their keys; none if there is no such file.

    Raises:
        NSMError: If it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise NSMError(f"{path}: is no complete JSON ({error}). Restore it, or delete it to begin again.") from error
    if not isinstance(found, dict):
        raise NSMError(f"{path}: is no object of entries. Restore it, or delete it to begin again.")
    return found


def write_json(entries: Mapping[str, Any], path: Path) -> None:
    """The inverse, in one step."""
    write_atomically(path, f"{json.dumps(entries, indent=1)}\n".encode())


@contextlib.contextmanager
def added(new: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """Results with new ones, as they then stand in their file; those of the same keys are replaced.

    Another process that adds to a file of the same directory waits until the block has written what it makes of them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = lock_directory(path.parent, wait=True)
    try:
        results = read_json(path) | new
        if new:
            write_json(results, path)
        yield results
    finally:
        os.close(lock)


def table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a Markdown table; a bar or a line feed within a cell stays in it."""
    lines = [
        f"| {' | '.join(one_line(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in (columns, *rows)
    ]
    return [lines[0], "|---" * len(columns) + "|", *lines[1:]]


def write_between(marks: tuple[str, str], new: str, path: Path) -> None:
    """Replace what stands between two marks of a page, in one step."""
    write_atomically(path, between_marks(path.read_text(encoding="utf-8"), marks, new).encode())


def between_marks(page: str, marks: tuple[str, str], new: str) -> str:
    """A page whose text between two marks is replaced; what was written around them stays."""
    before, _, rest = page.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}{new}{marks[1]}{after}"
