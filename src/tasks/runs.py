"""The table of all runs: on a terminal, or as CSV, JSON or LaTeX.

python scripts/runs.py [column=text] [sort=column] [--csv | --json | --latex] [--output FILE]
"""

import csv
import io
import json
import re
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import ConfigError
from src.files import write_atomically
from src.programs.output import PlainTable, cells_of, clock, console, fitted, progress
from src.programs.suggestions import did_you_mean, listed, nearest
from src.runs import COMPLETE, MULTIRUNS, RunRecord, find_runs, run_directories
from src.text import one_line, say

MANY = 100  # runs, whose reading shows progress
YEAR = re.compile(r"^\d{4}-(?=\d\d-\d\d_)")  # of the name of a run's directory, which goes by its end alone too
GAP = 1  # blanks between columns
WORDS = ("sort", "limit")  # beside the columns
LATEX = {
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}
NOTE = "error: grid steps on test sounds; best: on validation sounds, of each dataset"


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        key: Its name, of a field of `RunRecord` unless `of` is given.
        heading: On a terminal and in LaTeX; None: only in CSV and JSON.
        shown: A value that is not None as text for people.
        number: Whether it stands to the right.
        narrowest: Characters of a text that remain where there is little room.
        of: The value of a run as plain data.
    """

    key: str
    heading: str | None = None
    shown: Callable[[Any], str] = str
    number: bool = False
    narrowest: int = 0
    of: Callable[[RunRecord], Any] | None = None

    def value(self, run: RunRecord) -> Any:
        """Of a run, plain data or None."""
        return self.of(run) if self.of else getattr(run, self.key)

    def text(self, run: RunRecord) -> str:
        """Of a run, for people; empty where nothing is known."""
        value = self.value(run)
        return "" if value is None else one_line(self.shown(value))


def short(count: int) -> str:
    """A number in three digits: 65.8k, 1.2M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)


def state_of(run: RunRecord) -> str:
    """`best`, `complete`, or what is missing."""
    return "best" if run.best else run.state


def shortest_name(run: RunRecord) -> str:
    """What `run=` takes for it: the name of its directory; of a job of a sweep, that of the sweep before its number."""
    parts = run.name.split("/")
    return "/".join(parts[-2:]) if parts[0] == MULTIRUNS else run.directory.name


COLUMNS = (
    Column("experiment", "experiment", narrowest=8),
    Column("run", "run", narrowest=22, of=shortest_name),
    Column("data", "data", narrowest=6),
    Column("dataset"),
    Column("network", "network", narrowest=7),
    Column("loss", "loss"),
    Column("weights", "weights", short, True),
    Column("seed", "seed", number=True),
    Column("epochs", "epochs", number=True),
    Column("train_sounds", "sounds", lambda count: f"{count:,}", True),
    Column("val_error", "valid.", lambda error: f"{error:.3f}", True),
    Column("error", "error", lambda error: f"{error:.3f}", True),
    Column("val_accuracy"),
    Column("accuracy", "acc.", lambda share: f"{share:.3f}", True),
    Column("seconds", "time", clock, True),
    Column("date", "written", lambda text: text[:16].replace("T", " "), of=lambda run: run.date.isoformat()),
    Column("state", "", lambda word: "" if word == COMPLETE else word, narrowest=9, of=state_of),
    Column("complete"),
    Column("best"),
    Column("name"),
    Column("checkpoint", of=lambda run: str(run.checkpoint) if run.checkpoint else None),
)
WITHOUT_YEAR = Column("run", "run", narrowest=17, of=lambda run: YEAR.sub("", shortest_name(run)))
BY_KEY = {column.key: column for column in COLUMNS}
SETTINGS = ("data", "network", "loss", "weights", "seed", "epochs", "train_sounds")  # said once if all have the same
LEFT_OUT = ("date", "train_sounds", "val_error", "loss", "seed")  # first to last, where there is little room
AT_LAST = ("seconds", "weights", "epochs", "data", "network")  # and where shortened texts do not make enough of it


def show_runs(options: Namespace) -> int:
    """Print or write the runs that a command line asks for; returns the exit code."""
    runs = wanted_runs(read_runs(options.log_dir), options.words)
    if options.format is None and options.output is None:
        print_table(runs, options.log_dir)
        return 0
    text = FORMATS[options.format or format_of(options.output)](runs)
    if options.output is None:
        say(text.rstrip("\n"))
    else:
        write_atomically(options.output, text.encode())
        say(f"Runs: {options.output} ({len(runs)})")
    return 0


def format_of(output: Path) -> str:
    """The format that the ending of a file asks for."""
    ending = {"tex": "latex"}.get(output.suffix.lstrip("."), output.suffix.lstrip("."))
    if ending not in FORMATS:
        raise ConfigError(f"--output {output}: name a format, --csv, --json or --latex, or a file that ends with it.")
    return ending


def read_runs(log_dir: Path) -> list[RunRecord]:
    """Every run, the newest first, with progress where there are many."""
    total = len(run_directories(log_dir))
    if total < MANY:
        return find_runs(log_dir)
    with progress(total, "Reading runs", "runs") as advance:
        return find_runs(log_dir, advance)


# ----- which, and in which order


def wanted_runs(runs: Sequence[RunRecord], words: Sequence[str]) -> list[RunRecord]:
    """The runs that `column=text`, `sort=column` and `limit=N` ask for.

    Raises:
        ConfigError: If a word is none of these; it says what may have been meant.
    """
    wanted, order, limit = list(runs), None, None
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in (*BY_KEY, *WORDS):
            raise ConfigError(f"{word}: give COLUMN=TEXT, sort=COLUMN or limit=N.{among_columns(key)}")
        if key == "sort":
            order = text
        elif key == "limit":
            limit = whole(text)
        else:
            wanted = [run for run in wanted if matches(BY_KEY[key], run, text)]
    return (in_order(wanted, order) if order else wanted)[:limit]


def among_columns(key: str) -> str:
    """What may have been meant by an unknown word, and which there are."""
    return f"{did_you_mean(nearest(key, (*WORDS, *BY_KEY)))}{listed('Columns', BY_KEY)}"


def whole(text: str) -> int:
    """The number of `limit=N`."""
    if not text.isdecimal() or len(text) > 9:
        raise ConfigError(f"limit={text}: it must be a whole number of 0 or more.")
    return int(text)


def matches(column: Column, run: RunRecord, text: str) -> bool:
    """Whether one of several texts, with commas between them, occurs in a column; a number or a truth is all of it."""
    value = column.value(run)
    found = json.dumps(value) if isinstance(value, bool | int | float) else str(value or "").casefold()
    if column.key == "data":
        found += f" {run.dataset or ''}".casefold()
    texts = [part.strip().casefold() for part in text.split(",")]
    return found in texts if isinstance(value, bool | int | float) else any(part in found for part in texts)


def in_order(runs: Sequence[RunRecord], order: str) -> list[RunRecord]:
    """Runs sorted by a column, backwards with a minus in front; those without a value stand last."""
    key = order.removeprefix("-")
    if key not in BY_KEY:
        raise ConfigError(f"sort={order}: there is no such column.{among_columns(key)}")
    column = BY_KEY[key]
    known = [run for run in runs if column.value(run) is not None]
    known.sort(key=column.value, reverse=order.startswith("-"))
    return [*known, *(run for run in runs if column.value(run) is None)]


# ----- for people


def print_table(runs: Sequence[RunRecord], log_dir: Path) -> None:
    """Print the table as wide as the terminal is, and in one line what is the same in all runs."""
    if not runs:
        found = len(run_directories(log_dir))
        why = f"none of the {found} runs is like that" if found else "no runs yet; make ex trains one"
        say(f"{log_dir / 'train'}: {why}.")
        return
    terminal = console()
    shown, same = columns_for(runs, terminal.width)
    terminal.print(table_of(runs, shown))
    if same:
        terminal.print(f"all: {', '.join(f'{column.heading} {column.text(runs[0])}' for column in same)}")
    n_incomplete = sum(not run.complete for run in runs)
    incomplete = f", {n_incomplete} incomplete" if n_incomplete else ""
    example = BY_KEY["run"].text(runs[0])
    terminal.print(
        NOTE, f"{len(runs)} run{'s' * (len(runs) > 1)}{incomplete}; make ae RUN={example} listens to one", sep="\n"
    )


def columns_for(runs: Sequence[RunRecord], width: int) -> tuple[dict[Column, int], list[Column]]:
    """The columns that a terminal has room for, each with its width, and those that say the same of all runs."""
    columns = [column for column in COLUMNS if column.heading is not None]
    columns = [column for column in columns if any(column.text(run) for run in runs)]
    same = [column for column in columns if column.key in SETTINGS and len({column.text(run) for run in runs}) == 1]
    same = same if len(runs) > 1 else []
    columns = [column for column in columns if column not in same]
    widths = {column: natural_width(column, runs) for column in columns}
    for key in LEFT_OUT:
        if needed(widths) > width:
            widths.pop(BY_KEY[key], None)
    if needed(widths) > width:
        widths = {WITHOUT_YEAR if column == BY_KEY["run"] else column: cells for column, cells in widths.items()}
        widths[WITHOUT_YEAR] = natural_width(WITHOUT_YEAR, runs)
    for key in AT_LAST:
        if needed(shortened(widths, width)) > width:
            widths.pop(BY_KEY[key], None)
    return shortened(widths, width), same


def natural_width(column: Column, runs: Sequence[RunRecord]) -> int:
    """Cells that a column takes."""
    return max(cells_of(text) for text in (column.heading or "", *(column.text(run) for run in runs)))


def needed(widths: Mapping[Column, int]) -> int:
    """Cells that a table takes."""
    return sum(widths.values()) + GAP * (len(widths) - 1)


def shortened(widths: Mapping[Column, int], width: int) -> dict[Column, int]:
    """Widths with which a table fits: the widest text gives first."""
    found = dict(widths)
    while needed(found) > width:
        spare = {column: found[column] for column in found if not column.number and found[column] > column.narrowest}
        if not spare:
            break
        found[max(spare, key=lambda column: spare[column])] -= 1
    return found


def table_of(runs: Sequence[RunRecord], widths: Mapping[Column, int]) -> PlainTable:
    """A row per run."""
    table = PlainTable(padding=0)  # its line of headings parts the columns by a blank
    for column, width in widths.items():
        table.add_column(
            column.heading or "", justify="right" if column.number else "left", no_wrap=True, max_width=width
        )
    for run in runs:
        table.add_row(*(fitted(column.text(run), width) for column, width in widths.items()))
    return table


# ----- for programs


def as_csv(runs: Sequence[RunRecord]) -> str:
    """A line per run under the names of all columns; what is not known is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(BY_KEY)
    writer.writerows([column.value(run) for column in COLUMNS] for run in runs)
    return file.getvalue()


def as_json(runs: Sequence[RunRecord]) -> str:
    """A list with a mapping per run; what is not known is null."""
    entries = [{column.key: column.value(run) for column in COLUMNS} for run in runs]
    return json.dumps(entries, indent=1, allow_nan=False) + "\n"


def as_latex(runs: Sequence[RunRecord]) -> str:
    """A `tabular` with the rules of booktabs, of the columns that say something."""
    columns = [column for column in COLUMNS if column.heading is not None and column.key != "date"]
    columns = [column for column in columns if any(column.text(run) for run in runs)]
    rows = [[column.text(run) for column in columns] for run in runs]
    lines = [" & ".join(map(in_latex, row)) + r" \\" for row in ([column.heading or "" for column in columns], *rows)]
    layout = "".join("r" if column.number else "l" for column in columns)
    head, *body = lines
    return "\n".join(
        [rf"\begin{{tabular}}{{{layout}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""]
    )


def in_latex(text: str) -> str:
    """Text as LaTeX prints it."""
    return re.sub(r"[&%$#_{}\\~^]", lambda match: LATEX[match[0]], text)


FORMATS: dict[str, Callable[[Sequence[RunRecord]], str]] = {"csv": as_csv, "json": as_json, "latex": as_latex}
