"""Files and directories that exist whole or not at all, whatever stops the program that makes them.

The standard way (POSIX rename, fsync(2)): write beside the target, flush to the disk, give it its name, and flush the
directory, since a name is an entry of its directory.
"""

import ctypes
import errno
import fcntl
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

AT_FDCWD = -100  # fcntl.h of Linux: paths count from the current directory
RENAME_EXCHANGE = 2  # renameat2(2) of Linux
RENAME_SWAP = 2  # renamex_np(2) of macOS
PARTIAL = re.compile(r"\.(\d+)-[0-9a-f]{8}\.partial")  # process, and what it writes; short, whatever the target's name
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # by this kernel, or this file system


def write_atomically(path: Path, content: bytes | memoryview, private: bool = False) -> None:
    """Write a file so that it exists whole or not at all, and make its directory.

    Args:
        path: Its name.
        content: Its bytes.
        private: Whether nobody else on the machine may read it.

    Raises:
        OSError: If the disk refuses; its `filename` is the target. What was there before is left.
    """
    with atomic_file(path, private) as file:
        file.write(content)


@contextmanager
def atomic_file(path: Path, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write to that gets its name when the block ends, and is gone if the block is left by an exception.

    Args:
        path: Its name to be; its directory is made.
        private: Whether nobody else on the machine may read it.

    Raises:
        OSError: If the disk refuses; its `filename` is the target. What was there before is left.
    """
    partial = path.with_name(f".{os.getpid()}-{zlib.crc32(os.fsencode(path.name)):08x}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb", opener=_open_private if private else None) as file:
            yield file
            flush_to_disk(file)
        partial.replace(path)
        flush_directory(path.parent)
    except OSError as error:
        if error.filename in (None, str(partial)) and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        with suppress(OSError):
            partial.unlink()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def remove_stale(directory: Path) -> None:
    """Remove what processes that were killed left of files that they had begun to write to a directory."""
    for path in directory.iterdir():
        found = PARTIAL.fullmatch(path.name)
        if found and not _is_running(int(found[1])):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def flush_to_disk(file: BinaryIO) -> None:
    """Have the bytes of a file on the disk before its name says that they are."""
    file.flush()
    os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Have the names in a directory on the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def claim_directory(wanted: Path) -> Path:
    """Make a directory that no other process has: the wanted one, or the first free of NAME_2, NAME_3 and so on.

    Args:
        wanted: Its path; the directories above it are made. From a name that ends with `_7`, `_8` follows.

    Returns:
        The directory that was made by this call and by no other.
    """
    wanted.parent.mkdir(parents=True, exist_ok=True)
    name, _, number = wanted.name.rpartition("_")
    name, count = (name, int(number)) if name and number.isdecimal() else (wanted.name, 1)
    candidate = wanted
    while True:
        try:
            candidate.mkdir()
        except FileExistsError:
            count += 1
            candidate = wanted.with_name(f"{name}_{count}")
        else:
            return candidate


def lock_directory(path: Path, wait: bool = False) -> int:
    """Lock a directory against other processes, until the returned descriptor is closed or this process ends.

    The lock belongs to the directory and not to its name. Where another directory has got the name meanwhile, that one
    is locked instead.

    Args:
        path: The directory; not a link to one.
        wait: Wait for a process that has the lock.

    Raises:
        BlockingIOError: If another process has the lock, unless `wait`.
        OSError: If there is no such directory.
    """
    while True:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two directories or files in one step, so that both names exist at every moment.

    Returns:
        False where the system or the file system cannot; nothing was changed then.

    Raises:
        OSError: If it could but for another reason, such as a missing file.
    """
    swap = _exchange_call()
    if swap is None:
        return False
    if swap(os.fsencode(first), os.fsencode(second)) == 0:
        return True
    number = ctypes.get_errno()
    if number in UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


def _exchange_call() -> Callable[[bytes, bytes], int] | None:
    """The system call that exchanges two names; None where there is none."""
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return lambda first, second: library.renamex_np(first, second, RENAME_SWAP)
    if hasattr(library, "renameat2"):  # glibc 2.28, musl 1.2.5
        return lambda first, second: library.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE)
    return None
