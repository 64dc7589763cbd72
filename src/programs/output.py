"""What programs print and write: messages and progress of the first process, the configuration, tables."""

import contextlib
import io
import logging
import os
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from omegaconf import DictConfig, OmegaConf
from rich.box import Box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.prompt import Prompt
from rich.segment import ControlType, Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from src.files import write_atomically
from src.text import IN_ASCII, complain, name_of, one_line, printable, say

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
# Messages of Lightning and PyTorch that are wrong or of no use here.
IGNORED_WARNINGS = (
    ".*does not have many workers.*",  # datasets in memory load fastest without workers
    ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run writes to its own directory
    ".*is smaller than the logging interval.*",  # figures are logged once an epoch, whatever the interval
    r".*isinstance\(treespec, LeafSpec\).* is deprecated",  # Lightning 2.6 calls PyTorch 2.13 in this way
)

SECTIONS = ("data", "model", "loss", "augment", "callbacks", "logger", "trainer", "paths", "extras")
CONFIG_TREE = "config_tree.log"
DEFAULT_TAGS = ("dev",)
SECONDS_BETWEEN_LINES = 3.0
DRAWN_PER_SECOND = 5
WIDEST = 32  # characters of a cell: a name or a unit may be of any length
SHORTEST_BAR = 8  # characters; where there is no room for it, what matters less is left out
SHORTEST_NAME = 12  # characters that a name is cut to, at least


def process_rank() -> int:
    """Number of this process among those that train together; 0 when it is alone.

    It is read from what launchers put into the environment, since importing Lightning takes seconds.
    """
    return next((int(os.environ[name]) for name in RANK_VARIABLES if name in os.environ), 0)


class RankedLogger(logging.LoggerAdapter[logging.Logger]):
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


class Screen(logging.Handler):
    """What a program shows of its log: messages without time and place, those of other packages only if they warn.

    The file of a run holds everything. Where a user asks for more, by `hydra.verbose` or the level of the root logger,
    everything is shown.

    Args:
        packages: Whose messages of level INFO are shown.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        super().__init__()
        self.packages = [f"{package}." for package in packages]

    def filter(self, record: logging.LogRecord) -> Any:  # a record, too, from Python 3.12 on
        """Whether a message is shown; called by `logging`."""
        is_own = any(f"{record.name}.".startswith(package) for package in self.packages)
        wanted = record.levelno >= (logging.INFO if is_own else logging.WARNING)
        return (wanted or logging.root.level < logging.INFO) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message: warnings and errors to standard error. Called by `logging`."""
        try:
            text = self.format(record).strip()
            if record.levelno >= logging.WARNING:
                complain(text)
            else:
                say(on_screen(text))
        except Exception:
            self.handleError(record)


def on_screen(text: str) -> str:
    """A text broken between words where a terminal would break it within them; elsewhere as it is."""
    terminal = console()
    if not terminal.is_terminal:
        return text
    settings: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return "\n".join(textwrap.fill(line, terminal.width, **settings) for line in text.splitlines())


def ignore_warnings() -> None:
    """Have Python ignore `IGNORED_WARNINGS`."""
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def warn_only() -> None:
    """Have a process that a program has started for its own work show warnings alone, and none of `IGNORED_WARNINGS`.

    It has no log of its own, and Lightning writes every message to standard error as soon as it is imported.
    """
    logging.disable(logging.INFO)
    ignore_warnings()


log = RankedLogger(__name__)


def announce(before: str, name: str, after: str) -> None:
    """Print what runs, in one line; the log of the run has it in full.

    Args:
        before: Text before a name.
        name: Of any length; only its end is shown where the line would be longer than the screen.
        after: Text after it.
    """
    before, after = one_line(before), one_line(after)
    log.debug("%s%s%s", before, name, after)
    if process_rank() == 0:
        terminal = console()
        shown = end_of(name, terminal.width - len(before) - len(after))
        terminal.print(f"{before}{shown}{after}", soft_wrap=True)


def end_of(name: str, most: int) -> str:
    """A name in one line, of a longer one the last so many characters, though never fewer than `SHORTEST_NAME`."""
    name, most = one_line(name), max(most, SHORTEST_NAME)
    return name if len(name) <= most else f"…{name[len(name) - most + 1 :]}"


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path as short as it can be given to a command: from the current directory on, if it is below that."""
    absolute = Path(path).absolute()
    return name_of(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path)


def say_where(**places: str | Path | None) -> None:
    """Print where files are: label to path, None for what was not written. Paths are never broken into lines."""
    width = max(map(len, places)) + 1
    for label, path in places.items():
        shown = "none saved" if path is None else shown_path(path)
        console().print(f"{f'{label}:':<{width}} {shown}", soft_wrap=True)


def print_config_tree(cfg: DictConfig, sections: Sequence[str] = SECTIONS) -> None:
    """Print a configuration with a branch per section, in the first process only.

    Args:
        cfg: A whole configuration, printed with its interpolations resolved.
        sections: What comes first, as far as the configuration has it; everything else follows.
    """
    if process_rank() == 0:
        console().print(config_tree(cfg, sections))


def write_config_tree(cfg: DictConfig, output_dir: Path, sections: Sequence[str] = SECTIONS) -> None:
    """Write the same to `config_tree.log` in a directory."""
    if process_rank() == 0:
        file = io.StringIO()
        console(file=file, width=120).print(config_tree(cfg, sections))
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
    """Show progress on standard error until the block ends: a bar on a terminal, elsewhere a line every few seconds.

    Args:
        total: Number of units to do.
        description: What is being done.
        unit: Name of the units, plural.

    Yields:
        A function to call with the number of units just done.
    """
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        line.show(done / max(total, 1), f"{done:,} of {total:,} {unit}", done)

    with ProgressLine(description, stays=False) as line:
        yield advance


class ProgressLine:
    """How far something is, in one line on standard error.

    On a terminal it has a bar and is drawn anew several times a second. Elsewhere a plain line is written every few
    seconds, if there is something to say.

    Args:
        description: What is being done.
        unit: Name of the units whose rate is shown, plural; it may be left out where the status has it.
        stays: Whether the line is left on a terminal at the end.
        final: Whether a plain line is written at the end as well.
    """

    def __init__(self, description: str, unit: str = "", stays: bool = True, final: bool = False) -> None:
        self.description = description
        self.unit = f" {unit}" if unit else ""
        self.final = final
        self.status = ""
        self.share: float | None = 0.0
        self.n_done = 0
        self.first_share = 0.0
        self.ended = False
        self.start = self.last_line = time.monotonic()
        self.live: Live | None = None
        self.live = self._live(stays)  # which draws at once

    def _live(self, stays: bool) -> Live | None:
        """What draws on a terminal; None elsewhere."""
        shown_on = console(stderr=True)
        if not sys.stderr.isatty() or shown_on.is_dumb_terminal:
            return None
        return Live(
            get_renderable=self._drawn,
            console=shown_on,
            refresh_per_second=DRAWN_PER_SECOND,
            transient=not stays,
            redirect_stdout=sys.stdout.isatty(),  # what goes into a file or a pipe still goes there
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Draw for the last time."""
        self.ended = True
        if self.live is not None:
            self.live.stop()
        elif self.final:
            complain(self.text())

    def begin_at(self, share: float | None) -> None:
        """Say how much was done before."""
        self.share = share
        self.first_share = share or 0.0

    def show(self, share: float | None, status: str, n_done: int, description: str | None = None) -> None:
        """Say how far it is.

        Args:
            share: Of the whole that is done, 0 to 1; None where there is no end.
            status: What there is to say of it.
            n_done: Units that have been done since the beginning, for the rate.
            description: What is being done now; None: as before.
        """
        self.share, self.status, self.n_done = share, status, n_done
        self.description = description or self.description
        if self.live is None and share != 1.0 and time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            complain(self.text())

    def text(self) -> str:
        """The line without a bar."""
        parts = (self.status, self.rate(), self.time())
        return f"{self.description}: {', '.join(part for part in parts if part)}"

    def rate(self) -> str:
        """Units in a second."""
        seconds = time.monotonic() - self.start
        return f"{self.n_done / seconds:,.0f}{self.unit}/s" if self.n_done and seconds > 0 else ""

    def time(self) -> str:
        """The time left; at the end, that which it took."""
        seconds, done = time.monotonic() - self.start, (self.share or 0.0) - self.first_share
        if self.ended:
            return f"in {clock(seconds)}"
        return f"{clock(seconds * (1.0 - (self.share or 0.0)) / done)} left" if done > 0 else clock(seconds)

    def _drawn(self) -> Table:
        """The line with a bar, as long as the screen is wide; a narrow one lacks the rate, and then the bar."""
        width = self.live.console.width if self.live is not None else 0
        texts = [self.status, self.rate(), self.time()]
        if self._length(texts) + SHORTEST_BAR + 1 > width:
            del texts[1]
        line = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [self.description, *texts]
        if self._length(texts) + SHORTEST_BAR + 1 <= width:
            cells.insert(1, ProgressBar(1.0, self.share or 0.0, pulse=self.share is None))
        for cell in cells:
            line.add_column(no_wrap=isinstance(cell, str))
        line.add_row(*cells)
        return line

    def _length(self, texts: Sequence[str]) -> int:
        """How long the line is without a bar."""
        return len(" ".join([self.description, *texts]))


@contextlib.contextmanager
def sign_of_life(text: str) -> Iterator[None]:
    """Show a text on a terminal until the block ends, for what takes seconds and cannot say how far it is."""
    terminal = console(stderr=True)
    shown = process_rank() == 0 and sys.stderr.isatty() and not terminal.is_dumb_terminal
    if shown:
        terminal.print(text, end="")
    try:
        yield
    finally:
        if shown:
            terminal.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))


def clock(seconds: float) -> str:
    """A time as minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
    return Terminal(
        stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False, force_jupyter=False
    )


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

    def add_below(self, *lines: str) -> None:
        """Add lines below it, whatever their texts are."""
        self.caption = Text("\n".join([*([str(self.caption)] if self.caption else []), *lines]))


def plain_table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> PlainTable:
    """An empty table as narrow as can be, with columns of texts and, to their right, of numbers; given are headings."""
    table = PlainTable(title, collapse_padding=True, pad_edge=False)
    for heading in texts:
        table.add_column(heading, no_wrap=True, max_width=WIDEST)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True, max_width=WIDEST)
    return table


def cells_of(text: str) -> int:
    """Cells that a text takes on a terminal; some letters take two, some none."""
    return cell_len(text)


def fitted(text: str, width: int) -> str:
    """Text that takes so many cells at most: its beginning and its end, since names often begin alike."""
    if cell_len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{set_cell_size(text, width - 1 - end)}…{set_cell_size(text[::-1], end)[::-1]}"
