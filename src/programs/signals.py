"""SIGINT (Ctrl-C) and SIGTERM (`kill`, `timeout`, a shutdown) end a program alike, but for the exit code.

What a program does decides how:

- It starts: `leave`. An exception would be lost or turned into another one within an import.
- It works: `Interrupt` raises a KeyboardInterrupt, so that what it has made is kept.

On SLURM, SIGTERM is left to Lightning, which may have the job queued again.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

Handler = Callable[[int, FrameType | None], None] | signal.Handlers

PATIENCE = 2.0  # s; within them, a second Ctrl-C is meant as the first


class Terminated(KeyboardInterrupt):
    """SIGTERM: whatever stays after a Ctrl-C stays after it."""


class Interrupt:
    """A handler that raises.

    Python raises an exception wherever the program is at that moment. In a destructor, or where C code calls Python, it
    is at most reported as ignored, and the program continues: `stop` remembers it. Another signal raises again, but not
    at once, when it would only disturb the end that has begun.
    """

    def __init__(self) -> None:
        self.stop: type[KeyboardInterrupt] | None = None
        self.raised_at = -math.inf
        self.pid = os.getpid()

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Called by Python at a signal."""
        if signum == signal.SIGTERM and os.getpid() != self.pid:  # a process that was forked has nothing to keep
            os._exit(128 + signum)
        if time.monotonic() - self.raised_at > PATIENCE:
            self.raised_at = time.monotonic()
            self.stop = self.stop or (Terminated if signum == signal.SIGTERM else KeyboardInterrupt)
            raise self.stop

    def raise_again(self) -> None:
        """Raise what a signal has raised, where that was lost."""
        if self.stop is not None:
            raise self.stop


def leave(signum: int, frame: FrameType | None) -> None:
    """A handler that ends the program on the spot, with the exit code of shells."""
    end_now(128 + signum)


def end_now(code: int) -> NoReturn:
    """End the program on the spot, where it has nothing to keep: to free all that was imported takes up to a second."""
    with suppress(Exception):  # such as that of a buffer that is being written to
        sys.stdout.flush()
    os._exit(code)


def listen(handler: Handler) -> dict[int, Any]:
    """Set the handler of both signals, but where one is ignored, as by nohup.

    Returns:
        The handlers before; none outside of the main thread, where Python knows no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    signals = [signal.SIGINT] if "SLURM_JOB_ID" in os.environ else [signal.SIGINT, signal.SIGTERM]
    return {
        signum: signal.signal(signum, handler) for signum in signals if signal.getsignal(signum) is not signal.SIG_IGN
    }


@contextmanager
def listening(handler: Handler) -> Iterator[None]:
    """Set the handler of both signals until the block ends."""
    before = listen(handler)
    try:
        yield
    finally:
        for signum, previous in before.items():
            signal.signal(signum, previous)


def exit_code(error: BaseException | None, interrupt: Interrupt | None = None) -> int | None:
    """The exit code of shells, 128 + signal, for what ends a task because of a signal; None for another end.

    Args:
        error: What ends it. After a signal that may be anything, such as what a lost worker process causes. Lightning
            turns a KeyboardInterrupt into a SystemExit while it handles it, and raises a SystemExit of its own.
        interrupt: The handler while it ran.
    """
    if type(error).__name__ == "SIGTERMException":
        return 128 + signal.SIGTERM
    cause = error.__context__ if isinstance(error, SystemExit) else error
    stop = interrupt.stop if interrupt is not None and interrupt.stop else type(cause)
    if issubclass(stop, KeyboardInterrupt):
        return 128 + (signal.SIGTERM if issubclass(stop, Terminated) else signal.SIGINT)
    return None
