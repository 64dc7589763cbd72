"""Progress of something countable: a bar on a terminal, a plain line every few seconds elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.text import Text

SECONDS_BETWEEN_LINES = 3.0


class _RateColumn(TextColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__("")
        self.unit = unit

    def render(self, task: RichTask) -> Text:
        return Text(f"{task.speed or 0:,.0f} {self.unit}/s", style="progress.data.speed")


@contextlib.contextmanager
def progress(total: int, description: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error.

    Args:
        total: Number of units to do.
        description: What is being done.
        unit: Name of the units, plural.

    Yields:
        A function to call with the number of units just done.
    """
    if sys.stderr.isatty():
        with _bar(total, description, unit) as advance:
            yield advance
    else:
        yield _lines(total, description, unit)


@contextlib.contextmanager
def _bar(total: int, description: str, unit: str) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda n: bar.advance(task, n)


def _lines(total: int, description: str, unit: str) -> Callable[[int], None]:
    start = last = time.monotonic()
    done = 0

    def advance(n: int) -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and 0 < done < total:
            last = now
            rate = done / (now - start)
            left = (total - done) / rate
            sys.stderr.write(f"{description}: {done:,} of {total:,} {unit}, {rate:,.0f}/s, {left:.0f} s left\n")

    return advance
