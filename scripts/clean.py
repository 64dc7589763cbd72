"""Deletes what this project generates: python scripts/clean.py [--dry-run] {data,logs,caches} ...

data    datasets under data/ that this project synthesized (their JSON has a `generator` entry), finished or not
logs    runs under logs/
caches  __pycache__ (with numba's), .pytest_cache, .ruff_cache, .hypothesis

Everything is listed before the first file goes. No link is followed. Files of any other origin stay, with a note,
and so does a dataset that is being written.
"""

import argparse
import json
import os
import re
import shutil
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # without packages of others

from src.files import lock_directory
from src.text import prepare_streams, say

ROOT = Path(__file__).resolve().parents[1]

# The JSON goes last: a directory with it is a dataset, so that an interrupted deletion can be repeated.
INFO_FILE = "vimh_dataset_info.json"
DATASET_FILES = (
    *("train", "test", "train_batch", "test_batch", "train_values.npy", "test_values.npy", "unfinished.json"),
    INFO_FILE,
)
PARTIAL = re.compile(r"\..+\.partial")
RUN_NAME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?")
CACHES = ("__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis")
CODE = ("src", "tests", "scripts")


@dataclass
class Plan:
    """What will be deleted, in order: files, whole trees, then directories that are empty by then."""

    files: list[Path] = field(default_factory=list)
    trees: list[Path] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def is_directory(path: Path) -> bool:
    """Whether a path is a directory itself, not a link to one."""
    return not path.is_symlink() and path.is_dir()


def entries(directory: Path) -> list[Path]:
    """What is in a directory, sorted; nothing if it is a link or not there."""
    return sorted(directory.iterdir()) if is_directory(directory) else []


def is_abandoned(path: Path) -> bool:
    """Whether a directory is an unfinished dataset that no process is writing: a writer holds a lock on it."""
    if not PARTIAL.fullmatch(path.name):
        return False
    try:
        os.close(lock_directory(path))
    except BlockingIOError:
        return False
    return True


def is_generated(dataset: Path) -> bool:
    """Whether a directory holds a dataset that this project synthesized."""
    info_file = dataset / INFO_FILE
    if info_file.is_symlink() or not info_file.is_file():
        return False
    try:
        return isinstance(json.loads(info_file.read_bytes())["generator"], dict)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def entries_of(directory: Path, plan: Plan) -> list[Path]:
    """What is in data/ or logs/, without git's placeholder. A link instead of the directory is kept as it is."""
    if directory.is_symlink():
        plan.kept.append(directory)
    return [path for path in entries(directory) if path.name != ".gitkeep"]


def plan_data(root: Path, plan: Plan) -> None:
    """Adds the datasets under `root`/data, finished and partial ones; a directory only if nothing else is in it."""
    for path in entries_of(root / "data", plan):
        if not is_directory(path) or not (is_abandoned(path) or is_generated(path)):
            plan.kept.append(path)
            continue
        found = (path / name for name in DATASET_FILES)
        files = [file for file in found if file.is_file() and not file.is_symlink()]
        foreign = [entry for entry in entries(path) if entry not in files]
        plan.files += files
        plan.kept += foreign
        if not foreign:
            plan.directories.append(path)


def plan_logs(root: Path, plan: Plan) -> None:
    """Adds the runs under `root`/logs, and the directories around them that hold nothing else."""
    for path in entries_of(root / "logs", plan):
        plan_log(path, plan)


def plan_log(path: Path, plan: Plan) -> bool:
    """Adds what was made for a run, at any depth: Hydra wrote its configuration there, or date and time are its name.

    Returns:
        Whether nothing will be left of `path`.
    """
    if not is_directory(path):
        plan.kept.append(path)
        return False
    if is_directory(path / ".hydra") or (path / "multirun.yaml").is_file() or RUN_NAME.fullmatch(path.name):
        plan.trees.append(path)
        return True
    empties = [plan_log(entry, plan) for entry in entries(path)]
    if all(empties):
        plan.directories.append(path)
    return all(empties)


def plan_caches(root: Path, plan: Plan) -> None:
    """Adds the caches of the project itself and of its code; another environment beside it keeps its own."""
    plan.trees += [path for path in entries(root) if path.name in CACHES and is_directory(path)]
    for name in CODE:
        plan_code_caches(root / name, plan)


def plan_code_caches(directory: Path, plan: Plan) -> None:
    """Adds the caches at any depth below a directory."""
    for path in entries(directory):
        if path.name in CACHES and is_directory(path):
            plan.trees.append(path)
        else:
            plan_code_caches(path, plan)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a directory; links count as nothing."""
    found = path.rglob("*") if is_directory(path) else [path]
    return sum(status.st_size for status in (entry.lstat() for entry in found) if stat.S_ISREG(status.st_mode))


def show(plan: Plan, root: Path) -> None:
    """Prints what will go and what will stay."""
    for path in (*plan.files, *plan.trees):
        say(f"{size_of(path):>15,} bytes  {path.relative_to(root)}{'/' * is_directory(path)}")
    for path in plan.directories:
        say(f"{'directory':>21}  {path.relative_to(root)}/")
    for path in plan.kept:
        say(f"{'kept':>21}  {path.relative_to(root)}")
    if not (plan.files or plan.trees or plan.directories):
        say("Nothing to delete.")


KINDS = {"data": plan_data, "logs": plan_logs, "caches": plan_caches}


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Lists, then deletes; returns the exit code."""
    prepare_streams()
    parser = argparse.ArgumentParser(description="Delete what this project generates.")
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--dry-run", action="store_true", help="only list")
    options = parser.parse_args(arguments)
    plan = Plan()
    for kind in dict.fromkeys(options.kinds):
        KINDS[kind](root, plan)
    show(plan, root)
    if not options.dry_run:
        sys.stdout.flush()
        for path in plan.files:
            path.unlink()
        for path in plan.trees:
            shutil.rmtree(path)
        for path in plan.directories:
            path.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
