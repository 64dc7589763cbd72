"""Cells of a table: each is measured once, in the order in which they decide, and kept in a file of results."""

import argparse
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from scripts.pages import added, read_json
from src.programs.command_line import OptionParser
from src.programs.output import console


class Cell(Protocol):
    """What is measured at once."""

    @property
    def key(self) -> str:
        """Unique among the cells of a file."""


AnyCell = TypeVar("AnyCell", bound=Cell)


def cell_options(about: str | None, data: Path, results: Path, hours: float) -> OptionParser:
    """The options that all tables of cells have.

    Args:
        about: Shown above them, as it is written.
        data: Where the sets are.
        results: The file of results that a page is made of.
        hours: After which no cell is begun.
    """
    parser = OptionParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression; only cells whose name it matches")
    parser.add_argument("--hours", type=float, default=hours, help="no cell is begun after that")
    parser.add_argument("--data", type=Path, default=data, help="where the sets are")
    parser.add_argument("--results", type=Path, default=results, help="of another file no page is made")
    parser.add_argument("--list", action="store_true", help="list what would be measured")
    parser.add_argument("--table", action="store_true", help="write the page from the cells that are there")
    return parser


def measure_cells(
    cells: Iterable[AnyCell],
    options: argparse.Namespace,
    measure: Callable[[AnyCell], dict[str, Any]],
    page: Path | None,
    write_page: Callable[[Mapping[str, Any], Path], None],
) -> None:
    """Measure what is not there yet, and write the page after each cell.

    Args:
        cells: All of them, in their order.
        options: Of `cell_options`.
        measure: What is kept of a cell.
        page: The page; None for another file of results.
        write_page: Makes it of all results.
    """
    terminal, start = console(), time.monotonic()
    there = read_json(options.results)
    wanted = [cell for cell in cells if re.search(options.only, cell.key) and cell.key not in there]
    for number, cell in enumerate([] if options.table else wanted, 1):
        if time.monotonic() - start > 3600 * options.hours:
            terminal.print(f"{options.hours:g} hours are over; the same command goes on with {cell.key}.")
            break
        terminal.print(f"{number} of {len(wanted)}: {cell.key}")
        if not options.list:
            keep({cell.key: measure(cell)}, options.results, page, write_page)
    if not options.list:
        keep({}, options.results, page, write_page)
        terminal.print(f"Results: {page or options.results}", soft_wrap=True)


def keep(
    entries: Mapping[str, Any], path: Path, page: Path | None, write_page: Callable[[Mapping[str, Any], Path], None]
) -> None:
    """Add cells to those that are there; then write the page."""
    with added(entries, path) as results:
        if page is not None:
            write_page(results, page)
