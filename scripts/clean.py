"""Cleans up what this project made.

python scripts/clean.py {data,logs,caches} ... [--yes]

data    datasets under data/, at any depth, that a command makes again from its configuration alone (those that this
        project synthesized: their JSON has a `generator` entry), and what is left of unfinished ones. So are those of
        scikit-learn's digits. Sets that were converted from other data stay, unless --converted-too: that data may be
        gone
logs    runs under logs/, but for the best one on each dataset (`make runs` marks it), unless --best-too
caches  __pycache__ (with numba's), .pytest_cache, .ruff_cache, .mypy_cache, .hypothesis

A table comes first, then a question; without a terminal --yes answers it. Datasets and runs are moved to data/.trash
and logs/.trash, from where --undo restores them until the next clean of the same kind, which frees that trash. Caches
are deleted at once. No link is followed. Files of any other origin stay, and so does what is being written.
"""

import argparse
import json
import os
import re
import shutil
import stat
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # without packages of others

from src.files import lock_directory
from src.programs.command_line import OptionParser
from src.text import complain, name_of, one_line, prepare_streams, say

try:
    from src.runs import find_runs
except ImportError:  # of PyYAML: cleaning works without the environment
    find_runs = None

ROOT = Path(__file__).resolve().parents[1]

# The JSON goes last and comes back first: a directory with it is a dataset.
INFO_FILE = "vimh_dataset_info.json"
DATASET_FILES = (
    *("train", "test", "train_batch", "test_batch", "train_values.npy", "test_values.npy", "unfinished.json"),
    INFO_FILE,
)
LARGEST_INFO = 2**26  # bytes
PARTIAL = re.compile(r"\..+\.partial")
RUN_NAME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?")
CACHES = ("__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")
CODE = ("src", "tests", "scripts")

# In data/ and logs/ themselves, so that moving is a renaming, also where these are file systems of their own. A clean
# moves to the second; when it has moved everything, the first becomes the third, which is deleted, and the second the
# first. So a clean that is stopped loses neither what it has moved nor what the one before has.
TRASH, FILLING, FREED = ".trash", ".trash.filling", ".trash.freed"

MOST_ROWS = 24
WIDTH = 79


class CleanError(Exception):
    """What keeps this program from its work, as a sentence."""


@dataclass(frozen=True)
class Item:
    """A dataset or a run that goes to the trash as one.

    Attributes:
        group: What it is listed as.
        paths: Directories and files, in the order in which they are moved.
        name: The directory that a user knows it as.
    """

    group: str
    paths: tuple[Path, ...]
    name: Path


@dataclass
class Plan:
    """What will go.

    Attributes:
        items: What is moved to the trash of each of data/ and logs/.
        caches: Directories that are deleted at once.
        emptied: Directories that hold nothing by then, inner ones first.
        kept: What stays, and why.
    """

    items: dict[Path, list[Item]] = field(default_factory=dict)
    caches: list[Path] = field(default_factory=list)
    emptied: list[Path] = field(default_factory=list)
    kept: list[tuple[Path, str]] = field(default_factory=list)


FOREIGN = "not made by this project"
OF_NO_RUN = "that belong to no run"
LINK = "links"
BUSY = "being written"
CONVERTED = "made from other data (--converted-too)"
BEST = "best on its dataset (--best-too)"
UNREAD = "with trainings: which are best is known in the environment (sh setup.sh); or --best-too"


# ----- what there is


def is_directory(path: Path) -> bool:
    """Whether a path is a directory itself, not a link to one."""
    return not path.is_symlink() and path.is_dir()


def entries(directory: Path) -> list[Path]:
    """What is in a directory, sorted; nothing if it is a link or not there."""
    return sorted(directory.iterdir()) if is_directory(directory) else []


def entries_of(place: Path, plan: Plan) -> list[Path]:
    """What is in data/ or logs/, without git's placeholder and trash. A link instead of the directory is kept."""
    if place.is_symlink():
        plan.kept.append((place, LINK))
    return [path for path in entries(place) if path.name not in (".gitkeep", TRASH, FILLING, FREED)]


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a directory; links count as nothing."""
    found = path.rglob("*") if is_directory(path) else [path]
    return sum(status.st_size for status in (entry.lstat() for entry in found) if stat.S_ISREG(status.st_mode))


@contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Keep other processes from writing a dataset or a run within a block; gives False where one is at it."""
    try:
        descriptor = lock_directory(directory)
    except BlockingIOError:
        yield False
        return
    except OSError:  # on a file system without locks
        yield True
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def is_busy(directory: Path) -> bool:
    """Whether a process is writing this dataset or this run, or a run in this sweep."""
    runs = (path.parent for path in directory.rglob(".hydra") if is_directory(path))
    for path in (directory, *runs):
        with locked(path) as is_free:
            if not is_free:
                return True
    return False


# ----- datasets


def origin_of(dataset: Path) -> str:
    """How a dataset was made, as the group that it is listed in or the reason for which it stays; "" for none."""
    info_file = dataset / INFO_FILE
    if info_file.is_symlink() or not info_file.is_file() or info_file.stat().st_size > LARGEST_INFO:
        return ""
    try:
        info = json.loads(info_file.read_bytes())
        if isinstance(info.get("generator"), dict):
            return "synthesized sets"
        kind = info["source"]["kind"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return FOREIGN
    if not isinstance(kind, str):
        return FOREIGN
    if kind == "digits":
        return "handwritten digits"
    return CONVERTED


def plan_data(root: Path, plan: Plan, options: argparse.Namespace) -> None:
    """Adds the datasets under `root`/data."""
    for path in entries_of(root / "data", plan):
        plan_datasets(path, root, plan, options)


def plan_datasets(path: Path, root: Path, plan: Plan, options: argparse.Namespace) -> bool:
    """Adds a dataset, or those in a directory of several.

    Returns:
        Whether nothing will be left of `path`.
    """
    origin = origin_of(path) if is_directory(path) else FOREIGN
    if PARTIAL.fullmatch(path.name) and is_directory(path):
        origin = "unfinished sets"
    if origin:
        return plan_dataset(path, origin, root, plan, options)
    n_before, n_kept = len(plan.items[root / "data"]), len(plan.kept)
    empties = [plan_datasets(entry, root, plan, options) for entry in entries(path)]
    if len(plan.items[root / "data"]) == n_before and all(reason == FOREIGN for _, reason in plan.kept[n_kept:]):
        plan.kept[n_kept:] = [(path, FOREIGN)]  # a directory of somebody else, which is one thing
        return False
    if all(empties):
        plan.emptied.append(path)
    return all(empties)


def plan_dataset(path: Path, origin: str, root: Path, plan: Plan, options: argparse.Namespace) -> bool:
    """Adds a dataset if it is one of those that go; as a whole, or file by file if there is something else in it."""
    stays = origin == FOREIGN or (origin == CONVERTED and not options.converted_too)
    reason = origin if stays else BUSY if is_busy(path) else ""
    if reason:
        plan.kept.append((path, LINK if path.is_symlink() else reason))
        return False
    found = (path / name for name in DATASET_FILES)
    files = [file for file in found if file.is_file() and not file.is_symlink()]
    foreign = [entry for entry in entries(path) if entry not in files]
    plan.kept += [(entry, FOREIGN) for entry in foreign]
    if files or not foreign:
        group = f"{path.parent.relative_to(root)}: {origin.partition(' (')[0]}"
        plan.items[root / "data"].append(Item(group, tuple(files) if foreign else (path,), path))
    return not foreign


# ----- runs


def plan_logs(root: Path, plan: Plan, options: argparse.Namespace) -> None:
    """Adds the runs under `root`/logs, and the directories around them that hold nothing else."""
    known = options.best_too or find_runs is not None
    best = set() if options.best_too or not known else {run.directory for run in find_runs(root / "logs") if run.best}
    for path in entries_of(root / "logs", plan):
        if known or path.name != "train":
            plan_log(path, root, plan, best)
        else:
            plan.kept.append((path, UNREAD))


def plan_log(path: Path, root: Path, plan: Plan, best: set[Path]) -> bool:
    """Adds what was made for a run, at any depth: Hydra wrote its configuration there, or date and time are its name.

    Returns:
        Whether nothing will be left of `path`.
    """
    if not is_directory(path):
        plan.kept.append((path, LINK if path.is_symlink() else OF_NO_RUN))
        return False
    if path in best:
        plan.kept.append((path, BEST))
        return False
    is_run = is_directory(path / ".hydra") or (path / "multirun.yaml").is_file() or RUN_NAME.fullmatch(path.name)
    if is_run and not any(path in run.parents for run in best):
        if is_busy(path):
            plan.kept.append((path, BUSY))
            return False
        group = Path(*path.parent.relative_to(root).parts[:3])
        plan.items[root / "logs"].append(Item(f"{group}: runs", (path,), path))
        return True
    empties = [plan_log(entry, root, plan, best) for entry in entries(path)]
    if all(empties):
        plan.emptied.append(path)
    return all(empties)


# ----- caches


def plan_caches(root: Path, plan: Plan, options: argparse.Namespace) -> None:
    """Adds the caches of the project itself and of its code; another environment beside it keeps its own."""
    plan.caches += [path for path in entries(root) if path.name in CACHES and is_directory(path)]
    for name in CODE:
        plan_code_caches(root / name, plan)


def plan_code_caches(directory: Path, plan: Plan) -> None:
    """Adds the caches at any depth below a directory."""
    for path in entries(directory):
        if path.name in CACHES and is_directory(path):
            plan.caches.append(path)
        else:
            plan_code_caches(path, plan)


# ----- the table


@dataclass(frozen=True)
class Row:
    """A row of the table; `count` is 0 where there is nothing to count."""

    text: str
    count: int
    size: int


def rows_of(plan: Plan, root: Path) -> list[Row]:
    """What goes, by groups, the largest first."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for items in plan.items.values():
        for item in items:
            counts[item.group] += 1
            sizes[item.group] += sum(map(size_of, item.paths))
    rows = [Row(group, counts[group], sizes[group]) for group, _ in sizes.most_common()]
    if len(rows) > MOST_ROWS:
        rest = rows[MOST_ROWS - 1 :]
        text = f"{len(rest)} smaller groups (--verbose lists them)"
        rows = [*rows[: MOST_ROWS - 1], Row(text, sum(row.count for row in rest), sum(row.size for row in rest))]
    if plan.caches:
        rows.append(Row("caches, deleted at once", len(plan.caches), sum(map(size_of, plan.caches))))
    return rows + [row for place in plan.items for row in trash_rows(place, root)]


def trash_rows(place: Path, root: Path) -> list[Row]:
    """What lies in the trash of data/ or logs/ already."""
    name, rows = place.relative_to(root), []
    if is_directory(place / FILLING):
        moved = entries(place / FILLING)
        rows.append(Row(f"{name}: moved by a clean that was stopped", len(moved), sum(map(size_of, moved))))
    if is_directory(place / TRASH) or is_directory(place / FREED):
        n_items = len(entries(place / TRASH))
        rows.append(Row(f"{name}: trash of the clean before, freed for good", n_items, freed_size(place)))
    return rows


def freed_size(place: Path) -> int:
    """Bytes that a clean of data/ or logs/ frees for good."""
    return sum(size_of(place / name) for name in (TRASH, FREED) if is_directory(place / name))


def size_text(n_bytes: int) -> str:
    """A size for people, with three digits."""
    size, units = float(n_bytes), ["kB", "MB", "GB", "TB"]
    if size < 1000:
        return f"{n_bytes} B"
    while size >= 999.5 and units:
        size, unit = size / 1000, units.pop(0)
    return f"{size:.3g} {unit}"


def show(rows: Sequence[Row]) -> None:
    """Print a table."""
    say(f"{'What':<{WIDTH - 20}}{'number':>8}{'size':>12}")
    for row in rows:
        text = one_line(row.text, WIDTH - 21)
        say(f"{text:<{WIDTH - 20}}{f'{row.count:,}' if row.count else '':>8}{size_text(row.size):>12}")


def show_plan(plan: Plan, rows: Sequence[Row], root: Path, verbose: bool) -> None:
    """Print what will go and what will stay."""
    if rows:
        show([*rows, Row("together", 0, sum(row.size for row in rows))])
    else:
        say("Nothing to delete.")
    reasons = Counter(reason for _, reason in plan.kept)
    if reasons and not verbose:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        say_wrapped(f"Kept: {counts}; --verbose lists {'it' if len(plan.kept) == 1 else 'them'}.")
    if verbose:
        for item in (item for items in plan.items.values() for item in items):
            say(f"{size_text(sum(map(size_of, item.paths))):>12}  {name_of(item.name.relative_to(root))}/")
        for path in plan.caches:
            say(f"{size_text(size_of(path)):>12}  {name_of(path.relative_to(root))}/")
        for path, reason in plan.kept:
            say(f"{'kept':>12}  {name_of(path.relative_to(root))}: {reason}")


def say_wrapped(text: str) -> None:
    """Print a sentence in lines that fit."""
    say(*textwrap.wrap(text, WIDTH, break_on_hyphens=False))


# ----- the trash


def check_trash(place: Path) -> None:
    """Refuse to work with a trash that is a link or a file."""
    for path in (place / name for name in (TRASH, FILLING, FREED)):
        if os.path.lexists(path) and not is_directory(path):
            raise CleanError(f"{name_of(path)}: is no directory, so it is no trash of this program. Move it away.")


def fill(place: Path, items: Sequence[Item]) -> int:
    """Move datasets or runs to the trash, each to a directory of its own in which its path is the one that it had.

    Returns:
        How many were moved: what another process began to write meanwhile stays.
    """
    n_moved = 0
    first = 1 + max((int(unit.name) for unit in entries(place / FILLING) if unit.name.isdecimal()), default=0)
    for number, item in enumerate(items, first):
        with locked(item.name) as is_free:
            if is_free:
                n_moved += 1
                for path in item.paths:
                    target = place / FILLING / str(number) / path.relative_to(place)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.rename(target)
    return n_moved


def free(place: Path) -> None:
    """Delete the trash of the clean before; what this one moved takes its place."""
    trash, filling, freed = (place / name for name in (TRASH, FILLING, FREED))
    if is_directory(freed):
        shutil.rmtree(freed)
    if is_directory(trash):
        trash.rename(freed)
    if is_directory(filling):
        filling.rename(trash)
    if is_directory(freed):
        shutil.rmtree(freed)


def clean(plan: Plan) -> None:
    """Do what was planned, and say what was done."""
    n_moved, n_freed = 0, sum(size_of(path) for path in plan.caches)
    for place, items in plan.items.items():
        n_moved += fill(place, items)
        n_freed += freed_size(place)
        free(place)
    for path in plan.caches:
        shutil.rmtree(path)
    for path in plan.emptied:
        with suppress(OSError):  # something has come
            path.rmdir()
    if n_moved:
        say_wrapped(f"Moved {n_moved:,} to the trash: make undo-clean restores them until the next clean.")
    if n_freed:
        say(f"Freed {n_freed:,} bytes.")


# ----- back from the trash


def restore_all(places: Sequence[Path], root: Path, options: argparse.Namespace) -> int:
    """Move back what the newest clean moved, unless something has come in its place; returns the exit code."""
    found = [(place, unit) for place in places for unit in entries(newest_trash(place))]
    in_the_way = {unit: obstacles(unit, place) for place, unit in found}
    back = [(place, unit) for place, unit in found if not in_the_way[unit]]
    if not found:
        say("Nothing to restore: the trash is empty.")
    rows = []
    for place in dict.fromkeys(place for place, _ in back):
        sizes = [size_of(unit) for in_place, unit in back if in_place == place]
        rows.append(Row(f"{place.relative_to(root)}: restored", len(sizes), sum(sizes)))
    if rows:
        show(rows)
    if options.dry_run:
        return 0
    for place, unit in back:
        restore(unit, place)
    for trash in (place / name for place in places for name in (TRASH, FILLING)):
        with suppress(OSError):  # something stays in it, or there is none
            trash.rmdir()
    stay = [path for unit in in_the_way for path in in_the_way[unit][:1]]
    if stay:
        named = ", ".join(name_of(path.relative_to(root)) for path in stay[:3]) + ", …" * (len(stay) > 3)
        raise CleanError(
            f"{len(stay)} of {len(found)} stay in the trash, since something has come in their place: {named}. Move "
            "that away, and run make undo-clean again."
        )
    return 0


def newest_trash(place: Path) -> Path:
    """Where the newest clean has moved things; where it was stopped, that is not its last place."""
    return place / (FILLING if entries(place / FILLING) else TRASH)


def obstacles(source: Path, target: Path) -> list[Path]:
    """What stands where something from the trash would go; an empty directory is in nobody's way."""
    if not os.path.lexists(target):
        return []
    inside = entries(source)
    if not (is_directory(source) and is_directory(target)):
        return [target]
    return [path for entry in inside for path in obstacles(entry, target / entry.name)]


def restore(source: Path, target: Path) -> None:
    """Move the content of a directory into another one, also that of directories which are in both; then remove it."""
    for entry in sorted(entries(source), key=lambda path: path.name != INFO_FILE):
        if is_directory(entry) and is_directory(target / entry.name):
            restore(entry, target / entry.name)
        else:
            entry.rename(target / entry.name)
    source.rmdir()


# ----- the program

KINDS: dict[str, Callable[[Path, Plan, argparse.Namespace], None]] = {
    "data": plan_data,
    "logs": plan_logs,
    "caches": plan_caches,
}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = OptionParser(description="Clean up what this project made.")
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="only list")
    parser.add_argument("--verbose", action="store_true", help="list every directory")
    parser.add_argument("--best-too", action="store_true", help="runs that are marked best as well")
    parser.add_argument("--converted-too", action="store_true", help="datasets made from other data as well")
    parser.add_argument("--undo", action="store_true", help="restore what the last clean moved to the trash")
    return parser.parse_args(argv)


def is_agreed(options: argparse.Namespace) -> bool:
    """Whether the user wants it.

    Raises:
        CleanError: If there is nobody to ask.
    """
    if options.yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise CleanError("Nothing was deleted: no terminal to ask at. Add --yes (make: ARGS=--yes).")
    sys.stdout.flush()
    try:
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        say("")
        return False


def clean_up(places: Sequence[Path], root: Path, options: argparse.Namespace) -> int:
    """List, ask, delete; returns the exit code."""
    plan = Plan({place: [] for place in places})
    for kind in dict.fromkeys(options.kinds):
        KINDS[kind](root, plan, options)
    rows = rows_of(plan, root)
    show_plan(plan, rows, root, options.verbose)
    if options.dry_run or not rows:
        return 0
    if is_agreed(options):
        clean(plan)
    else:
        say("Nothing was deleted.")
    return 0


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Clean up, or take it back; returns the exit code."""
    prepare_streams()
    options = arguments(argv)
    places = [root / kind for kind in ("data", "logs") if kind in options.kinds and is_directory(root / kind)]
    try:
        with ExitStack() as stack:
            for place in places:
                check_trash(place)
                if not stack.enter_context(locked(place)):
                    raise CleanError(f"{name_of(place)}: another process is cleaning up. Wait for its end.")
            return restore_all(places, root, options) if options.undo else clean_up(places, root, options)
    except CleanError as error:
        complain(error)
    except OSError as error:
        complain(
            f"{name_of(error.filename or root)}: {error.strerror}. What was moved is in the trash: make undo-clean."
        )
    except KeyboardInterrupt:
        complain("Stopped. What was moved is in the trash: make undo-clean restores it, another clean goes on.")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
