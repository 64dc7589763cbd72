"""A process that is killed, interrupted or refused by the disk at its k-th file operation.

    python scripts/faults/file_operations.py [--kill K | --interrupt K | --refuse K] [--errno NAME] [--count FILE]
        PART PROGRAM ...

runs a Python program and ends it so. Operations on paths that contain PART count: opening to write, writing, flushing
to the disk (fsync), renaming, removing, making and removing directories. `--kill` sends SIGKILL before the operation;
a write has written half of its bytes then. `--interrupt` raises KeyboardInterrupt there. `--refuse` makes this
operation and all later ones that need room fail, as on a full disk (ENOSPC). Without any of them the operations are
counted; FILE gets their number when the program ends.

Within a test: `with operations(part, at(k, kill)) as done: ...`, then `len(done)` operations were begun.
"""

import argparse
import builtins
import errno
import io
import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

Action = Callable[[int, str, str], None]  # gets number, kind and path of an operation

# Events of Python's audit hooks → which of their arguments are paths. Renaming covers os.replace.
EVENTS = {"os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.link": (0, 1)}
NEED_ROOM = ("open", "write", "mkdir", "rename", "link", "fsync")


class Watch:
    """Counts the operations on paths that contain a part, and acts at each."""

    def __init__(self, part: str, action: Action) -> None:
        self.part = part
        self.action = action
        self.done: list[tuple[str, str]] = []

    def see(self, kind: str, *paths: Any) -> None:
        for path in paths:
            name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
            if self.part in name:
                self.done.append((kind, name))
                self.action(len(self.done), kind, name)
                return


watches: list[Watch] = []


def see(kind: str, *paths: Any) -> None:
    for watch in list(watches):
        watch.see(kind, *paths)


def hook(event: str, arguments: tuple) -> None:
    if not watches:
        return
    if event in EVENTS:
        see(event.partition(".")[2], *(arguments[index] for index in EVENTS[event]))
    elif event == "open":
        path, mode, flags = arguments
        writes = set(mode) & set("wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
        if writes:
            see("open", path)


class WatchedFile(io.FileIO):
    """A file whose writes are seen: no audit event tells of them."""

    half: bytes | None = None

    def write(self, data: Any) -> int:
        before = memoryview(data).cast("B")
        WatchedFile.half = bytes(before[: len(before) // 2])
        WatchedFile.current = self
        see("write", self.name)
        return super().write(data)

    def write_half(self) -> None:
        super().write(WatchedFile.half or b"")


def open_watched(original: Callable[..., Any]) -> Callable[..., Any]:
    """The builtin `open`, with watched files where it writes to the paths in question."""

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        name = os.fsdecode(file) if isinstance(file, str | bytes | os.PathLike) else ""
        if not set(mode) & set("wax+") or not any(watch.part in name for watch in watches):
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = WatchedFile(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)
        text.mode = mode
        return text

    return opened


def fsync_watched(original: Callable[[int], None]) -> Callable[[int], None]:
    def fsync(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        link = Path(f"/proc/self/fd/{number}")
        see("fsync", os.readlink(link) if link.is_symlink() else "")
        original(descriptor)

    return fsync


@cache
def install() -> None:
    """Set the audit hook, once: it stays for good."""
    sys.addaudithook(hook)


@contextmanager
def watched_functions() -> Iterator[None]:
    """Watch the functions whose work no audit event tells of, within a block."""
    before = builtins.open, os.fsync
    builtins.open = io.open = open_watched(builtins.open)
    os.fsync = fsync_watched(os.fsync)
    try:
        yield
    finally:
        builtins.open = io.open = before[0]
        os.fsync = before[1]


@contextmanager
def operations(part: str | Path, action: Action = lambda number, kind, path: None) -> Iterator[list[tuple[str, str]]]:
    """Watch the operations on paths that contain a part within a block; gives the list of what was begun."""
    install()
    watch = Watch(str(part), action)
    watches.append(watch)
    try:
        with watched_functions():
            yield watch.done
    finally:
        watches.remove(watch)


def at(k: int, act: Callable[[str], None]) -> Action:
    """An action at the k-th operation alone."""
    return lambda number, kind, path: act(kind) if number == k else None


def kill(kind: str) -> None:
    if kind == "write":
        WatchedFile.current.write_half()
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt(kind: str) -> None:
    raise KeyboardInterrupt


def refuse_from(k: int, number: int = errno.ENOSPC) -> Action:
    """An action like that of a disk that is full from the k-th operation on; only opening names the file."""

    def action(count: int, kind: str, path: str) -> None:
        if count >= k and kind in NEED_ROOM:
            raise OSError(number, os.strerror(number), *([] if kind in ("write", "fsync") else [path]))

    return action


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("kill", "interrupt", "refuse"):
        parser.add_argument(f"--{name}", type=int, default=0, metavar="K")
    parser.add_argument("--errno", default="ENOSPC")
    parser.add_argument("--count", type=Path)
    parser.add_argument("part")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    actions = []
    if options.kill:
        actions.append(at(options.kill, kill))
    if options.interrupt:
        actions.append(at(options.interrupt, interrupt))
    if options.refuse:
        actions.append(refuse_from(options.refuse, getattr(errno, options.errno)))
    sys.argv = [options.program, *options.arguments]
    sys.path[0] = str(Path(options.program).resolve().parent)
    with operations(options.part, lambda *operation: [action(*operation) for action in actions]) as done:
        try:
            runpy.run_path(options.program, run_name="__main__")
        finally:
            if options.count:
                options.count.write_text(str(len(done)))


if __name__ == "__main__":
    main()
