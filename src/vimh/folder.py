"""`Folder`: the directory of a dataset, held open, so that all that is read in it belongs to one dataset."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from src.errors import VIMHError

DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)  # O_PATH asks for no right to list it
FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe that nobody writes to would be waited for
TRIES = 50
PAUSE = 0.02  # s

Found = TypeVar("Found")


class MissingError(VIMHError):
    """There is no such file or directory."""


class Folder:
    """A directory that is held open: whatever takes its place, what is opened in it belongs together.

    Use it as a context manager.

    Args:
        path: The directory.

    Raises:
        MissingError: If there is none.
        VIMHError: If it cannot be opened for another reason.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with refusals_in_words(path):
                self._descriptor = os.open(path, DIRECTORY)
        except ValueError as error:  # NUL, or letters that the file system has no bytes for
            raise VIMHError(f"{str(path)!r}: no file can have this name ({error}). Name another one.") from error

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)

    def open(self, name: str) -> BinaryIO | None:
        """A file of this directory, to read; None where there is none.

        Raises:
            VIMHError: If it cannot be read, or is a directory, a pipe or a device.
        """
        path = self.path / name
        with suppress(MissingError), refusals_in_words(path):
            if not stat.S_ISREG(os.stat(name, dir_fd=self._descriptor).st_mode):
                raise VIMHError(
                    f"{self.path}: not a dataset, its {name} is a directory, a pipe or a device. Put the file "
                    "there, or name another directory."
                )
            return open(name, "rb", opener=self._opener)
        return None

    def _opener(self, name: str, flags: int) -> int:
        """A descriptor of a file in this directory, for `open`."""
        return os.open(name, FILE, dir_fd=self._descriptor)

    def is_replaced(self) -> bool:
        """Whether another directory, or none, has the name of this one by now."""
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return True


def is_there(path: Path) -> bool:
    """Whether there is such a directory.

    Raises:
        VIMHError: If the system refuses to say, or there is something else.
    """
    with suppress(MissingError), Folder(path):
        return True
    return False


def settled(path: Path, act: Callable[[Folder], Found]) -> Found:
    """What an act finds in a directory; from the start again if another one took its place meanwhile.

    Args:
        path: The directory.
        act: Reads in it.

    Raises:
        VIMHError: If there is no directory, it cannot be read, or is replaced every time.
    """
    for _ in range(TRIES):
        with _folder(path) as folder:
            try:
                with refusals_in_words(path):
                    found = act(folder)
            except VIMHError:
                if not folder.is_replaced():
                    raise
            else:
                if not folder.is_replaced():
                    return found
    raise VIMHError(
        f"{path}: is replaced by another dataset whenever it is read. Wait for the program that writes there, or "
        "stop it."
    )


def _folder(path: Path) -> Folder:
    """The directory, open; where a writer is about to replace it in two steps, there may be none for a moment."""
    for _ in range(TRIES):
        try:
            return Folder(path)
        except MissingError:
            if not _is_being_replaced(path):
                break
        time.sleep(PAUSE)
    raise MissingError(
        f"{path}: not a dataset, there is no such directory. Generate one (make sds), or name another directory."
    )


def _is_being_replaced(path: Path) -> bool:
    """Whether a directory that was missing is there by now, or something of its writer lies beside it."""
    with suppress(OSError):
        if any(name.startswith(f".{path.name}.") for name in os.listdir(path.parent)):
            return True
    return os.path.exists(path)


@contextmanager
def refusals_in_words(path: Path) -> Iterator[None]:
    """Say in words why the system refuses to read.

    Args:
        path: What is read.

    Raises:
        MissingError: If there is nothing.
        VIMHError: For every other refusal.
    """
    try:
        yield
    except OSError as error:
        kind = MissingError if isinstance(error, FileNotFoundError) else VIMHError
        raise kind(
            f"{path}: cannot be read ({os.strerror(error.errno or 0)}). Correct the path or its permissions, or name "
            "another one."
        ) from error
