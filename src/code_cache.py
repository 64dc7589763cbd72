"""numba's cache of compiled functions on the disk: checked before it is used, and done without where there is no place.

numba trusts what it finds there. A file that was cut ends the program in a traceback, and one with a flipped bit may do
so, crash, or compute something else. So the SHA-256 digests of the files are listed beside them, in the format of
`sha256sum`. What is not as it is listed is deleted when the module is imported, before numba reads it, and compiled
again.
"""

import functools
import hashlib
import logging
import re
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from src.files import write_atomically

ROOM = 2 << 20  # bytes that must be free; the code of a module takes about half of that
LINE = re.compile(r"([0-9a-f]{64})  (.+)")

log = logging.getLogger(__name__)


class CodeCache:
    """Decorates the functions of one module by `numba.njit`, and looks after their files.

    Processes may share the directory. At worst one deletes what another has just written, and it is compiled twice.

    Args:
        **options: Of `numba.njit`.

    Attributes:
        note: What was wrong, for people; it is logged as well. Empty if nothing was.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.source = Path()  # the module's file
        self.directory: Path | None = None  # numba's; None: it has none
        self.listed: dict[str, str] = {}  # name of each file that is as it should be to its digest
        self.functions: list[Any] = []  # numba's dispatchers
        self.note = ""
        self._list_path = Path()  # in the directory
        self._lock = threading.Lock()

    def __call__(self, function: Callable[..., Any]) -> Any:
        """The function, which numba compiles at its first call with arguments of some types."""
        if numba.config.DISABLE_JIT:
            return function
        if not self.functions:
            self._open(function)
        compiled = numba.njit(**self.options, cache=self.directory is not None)(function)
        self.functions.append(compiled)
        return compiled

    @property
    def is_empty(self) -> bool:
        """Whether everything is yet to be compiled."""
        return not self.listed and not any(compiled.signatures for compiled in self.functions)

    def keep(self) -> None:
        """List what numba has written for this process; to be called after calls of the functions."""
        names = [compiled.py_func.__qualname__ for compiled in self.functions if compiled.stats.cache_misses]
        directory = self.directory
        if directory is None or not names:
            return
        with self._lock:
            files = [path for name in names for path in directory.glob(f"{self.source.stem}.{name}-*.nb[ic]")]
            if all(path.name in self.listed for path in files):
                return
            try:
                digests = {path.name: _digest(path) for path in files}
                self.listed |= {name: digest for name, digest in digests.items() if digest}
                self._write_list()
            except OSError as error:
                log.debug("%s; what is not listed will be compiled again.", error)

    def _open(self, function: Callable[..., Any]) -> None:
        """Find the directory that numba takes for the functions of a file, and check it."""
        self.source = Path(function.__code__.co_filename)
        try:
            directory = Path(numba.njit(cache=True)(function).stats.cache_path)
            with tempfile.TemporaryFile(dir=directory) as file:
                file.write(bytes(ROOM))
            self.directory, self._list_path = directory, directory / f"{self.source.stem}.sha256"
            self._check(directory)
        except (OSError, RuntimeError) as error:  # RuntimeError: numba has no place
            self.directory, self.listed = None, {}
            reason = str(error) if isinstance(error, OSError) else "numba finds no directory that it can write to"
            self._say(
                f"Compiled code cannot be kept ({reason}), so that every process spends seconds on compiling. The "
                "environment variable NUMBA_CACHE_DIR names another place."
            )

    def _check(self, directory: Path) -> None:
        """Delete what is not as it is listed, and say so if it was listed."""
        listed = self._read_list()
        digests = {path: _digest(path) for path in directory.glob(f"{self.source.stem}.*.nb[ic]")}
        wrong = [path for path, digest in digests.items() if digest != listed.get(path.name, "")]
        for path in wrong:
            path.unlink(missing_ok=True)
        self.listed = {path.name: digest for path, digest in digests.items() if path not in wrong}
        damaged = sorted(path.name for path in wrong if path.name in listed)
        if damaged:
            self._say(
                f"{directory}: compiled code is damaged or half-written ({', '.join(damaged)}). It was deleted, "
                "and will be compiled again."
            )

    def _say(self, note: str) -> None:
        self.note = note
        log_once(note)

    def _read_list(self) -> dict[str, str]:
        """Name of each listed file to its digest; empty without a list, and where the source has changed since."""
        try:
            lines = self._list_path.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        listed = {match[2]: match[1] for match in map(LINE.fullmatch, lines) if match}
        return listed if listed.pop(self.source.name, None) == _digest(self.source) else {}

    def _write_list(self) -> None:
        """List the source and every file, with what other processes have listed meanwhile."""
        entries = {self.source.name: _digest(self.source)} | self._read_list() | self.listed
        text = "".join(f"{digest}  {name}\n" for name, digest in entries.items())
        write_atomically(self._list_path, text.encode())


@functools.cache
def log_once(note: str) -> None:
    """Log a note that holds for several modules alike."""
    log.warning("%s", note)


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if it is gone."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
