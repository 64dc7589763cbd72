"""What programs print and write: log messages of the first process, progress, the configuration, whole files."""

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from omegaconf import DictConfig, OmegaConf
from rich.box import Box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.prompt import Prompt
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from src.files import write_atomically
from src.text import IN_ASCII, complain, one_line, printable

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
SECTIONS = ("data", "model", "loss", "callbacks", "logger", "trainer", "paths", "extras")
CONFIG_TREE = "config_tree.log"
DEFAULT_TAGS = ("dev",)
SECONDS_BETWEEN_LINES = 3.0
WIDEST = 32  # characters of a cell: a name or a unit may be of any length


def process_rank() -> int:
    """Number of this process among those that train together; 0 when it is alone.

    It is read from what launchers put into the environment, since importing Lightning takes seconds.
    """
    return next((int(os.environ[name]) for name in RANK_VARIABLES if name in os.environ), 0)


class RankedLogger(logging.LoggerAdapter):
    """A logger that only the first of several processes writes to.

    Args:
        name: Name of the logger, usually `__name__`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), {})

    def isEnabledFor(self, level: int) -> bool:
        """Whether this process would write a message of this level."""
        return process_rank() == 0 and super().isEnabledFor(level)


class LogFile(logging.FileHandler):
    """The log of a run. A disk that refuses it ends the program: `logging` would print a traceback at every line."""

    def flush(self) -> None:
        """Write what is waiting.

        Raises:
            OSError: If the disk refuses; its `filename` is the log.
        """
        try:
            super().flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.baseFilename) from error

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by `logging` while it handles an error."""
        error = sys.exception()
        if isinstance(error, OSError):
            raise error
        super().handleError(record)


log = RankedLogger(__name__)


def print_config_tree(cfg: DictConfig, output_dir: Path | None = None, sections: Sequence[str] = SECTIONS) -> None:
    """Prints a configuration with a branch per section, in the first process only.

    Args:
        cfg: A whole configuration, printed with its interpolations resolved.
        output_dir: Where `config_tree.log` is written; None writes no file.
        sections: What comes first, as far as the configuration has it; everything else follows.
    """
    if process_rank() != 0:
        return
    tree = config_tree(cfg, sections)
    console().print(tree)
    if output_dir is not None:
        file = io.StringIO()
        console(file=file, width=120).print(tree)
        write_atomically(output_dir / CONFIG_TREE, file.getvalue().encode())


def config_tree(cfg: DictConfig, sections: Sequence[str] = SECTIONS) -> Tree:
    """The tree itself, a branch of YAML per section, then one for each other key."""
    tree = Tree("config", guide_style="dim")
    names = [name for name in sections if name in cfg]
    for name in [*names, *(str(key) for key in cfg if key not in names)]:
        value = OmegaConf.select(cfg, name)
        text = OmegaConf.to_yaml(value, resolve=True) if OmegaConf.is_config(value) else str(value)
        tree.add(name).add(Syntax(text.rstrip(), "yaml", background_color="default", word_wrap=True))
    return tree


def enforce_tags(tags: Sequence[str] | None) -> list[str]:
    """The tags of a run; where it has none, those that the user types, or `dev` without a terminal to ask at."""
    if tags:
        return list(tags)
    if process_rank() == 0 and sys.stdin is not None and sys.stdin.isatty():
        question = "No tags given. Tags of this run, with commas between them"
        typed = Prompt.ask(question, default=",".join(DEFAULT_TAGS), console=console())
        return [tag.strip() for tag in typed.split(",") if tag.strip()]
    log.warning("No tags given (tags=[...]): using %s.", list(DEFAULT_TAGS))
    return list(DEFAULT_TAGS)


@contextlib.contextmanager
def progress(total: int, description: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error: a bar on a terminal, a plain line every few seconds elsewhere.

    Args:
        total: Number of units to do.
        description: What is being done.
        unit: Name of the units, plural.

    Yields:
        A function to call with the number of units just done.
    """
    shown_on = console(stderr=True)
    if not sys.stderr.isatty() or shown_on.is_dumb_terminal:
        yield _lines(total, description, unit)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=shown_on) as bar:
        task = bar.add_task(description, total=total)
        yield lambda n: bar.advance(task, n)


class _RateColumn(TextColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__("")
        self.unit = unit

    def render(self, task: RichTask) -> Text:
        return Text(f"{task.speed or 0:,.0f} {self.unit}/s", style="progress.data.speed")


def _lines(total: int, description: str, unit: str) -> Callable[[int], None]:
    """A function that counts units, and writes a line when some seconds have passed since the last one."""
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
            complain(f"{description}: {done:,} of {total:,} {unit}, {rate:,.0f}/s, {left:.0f} s left")

    return advance


class Terminal(Console):
    """A console that obeys nothing in what is printed on it: no markup, no names of emoji, no control characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as rich measures and prints it: with escapes, and within the encoding."""
        text = printable(text)
        if not self.encoding.startswith("utf"):
            text = text.encode(self.encoding, IN_ASCII).decode(self.encoding)
        return super().render_str(text, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is printed of an object, which need not be a string."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console(stderr: bool = False, file: TextIO | None = None, width: int | None = None) -> Terminal:
    """The console of every program, on standard output if nothing else is said."""
    return Terminal(stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False)


class HeadLine(Box):
    """A line below the headings and nothing else, in ASCII where the console has no other."""

    def __init__(self, line: str, ascii_only: bool) -> None:
        super().__init__("\n".join(["    "] * 2 + [f" {line}{line} "] + ["    "] * 5), ascii=ascii_only)

    def substitute(self, options: ConsoleOptions, safe: bool = True) -> Box:
        """Called by rich for a box that suits a console."""
        return HeadLine("-", ascii_only=True) if options.ascii_only else self


class PlainTable(Table):
    """A table without a frame; a row is a line, whatever its texts are.

    Args:
        title: Above it.
        **options: Of rich's table.
    """

    def __init__(self, title: str = "", **options: Any) -> None:
        plain: dict[str, Any] = {
            "title_justify": "left",
            "caption_justify": "left",
            "box": HeadLine("─", ascii_only=False),
            "show_edge": False,
        }
        super().__init__(title=title or None, **plain | options)

    def add_row(self, *cells: str) -> None:  # type: ignore[override]  # texts, and nothing else
        """Add a line."""
        super().add_row(*map(one_line, cells))


def plain_table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> PlainTable:
    """An empty table as narrow as can be, with columns of texts and, to their right, of numbers; given are headings."""
    table = PlainTable(title, collapse_padding=True, pad_edge=False)
    for heading in texts:
        table.add_column(heading, no_wrap=True, max_width=WIDEST)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True, max_width=WIDEST)
    return table
