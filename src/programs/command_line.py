"""Command lines, before Hydra or a task sees them."""

import argparse
import difflib
import importlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from src.errors import NSMError
from src.programs.places import unusable_place
from src.programs.signals import Interrupt, exit_code, leave, listening
from src.text import complain, prepare_streams

FULL_ERROR = "HYDRA_FULL_ERROR"  # environment variable; at 1, every error shows its traceback


class OptionParser(argparse.ArgumentParser):
    """A parser whose errors are those of every program: one sentence, and exit code 1."""

    def error(self, message: str) -> NoReturn:
        """End the program with a sentence that says what was found, and what there is.

        Args:
            message: What argparse found.
        """
        there_are = re.findall(r"--[a-z][a-z-]*", self.format_help())
        unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        near = difflib.get_close_matches(unknown[1], there_are, n=1, cutoff=0.75) if unknown else []
        meant = f" Did you mean {near[0]}?" if near else ""
        complain(f"{message[:1].upper()}{message[1:]}.{meant} {self.prog} --help lists what there is.")
        self.exit(1)


def config_names(config_dir: Path, pattern: str) -> list[str]:
    """Names of the configurations that a pattern such as `synth/generate_*` matches, sorted.

    Args:
        config_dir: Where the YAML files are.
        pattern: Glob pattern relative to it, without `.yaml`.
    """
    files = config_dir.glob(f"{pattern}.yaml")
    return sorted(path.relative_to(config_dir).with_suffix("").as_posix() for path in files)


def run_with_options(task: str, parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Run a task that takes parsed options instead of a configuration, and report its errors in one line.

    Args:
        task: Dotted name of a function that takes the options and returns an exit code. Its module is imported only
            now, so that `--help` loads nothing heavy.
        parser: Reads the options.
        argv: The command line without the program; None: that of this process.

    Returns:
        The exit code.
    """
    prepare_streams()
    options = parser.parse_args(argv)

    def work() -> int:
        with listening(leave):
            function = load_task(task)
        with listening(Interrupt()):
            return function(options)

    return reporting(work)


def reporting(work: Callable[[], int]) -> int:
    """Do the work of a script, and report what a user can put right in one line.

    Args:
        work: Returns an exit code.

    Returns:
        The exit code.
    """
    try:
        return work()
    except KeyboardInterrupt as stop:
        complain("Interrupted. Run the same command again.")
        return exit_code(stop) or 1
    except (NSMError, OSError) as error:
        message = str(error) if isinstance(error, NSMError) else unusable_place(error)
        if message is None or os.environ.get(FULL_ERROR) == "1":
            raise
        complain(message)
        return 1


def load_task(task: str) -> Any:
    """Import a module of `src.tasks` and return one of its functions, by dotted name."""
    module, _, name = task.rpartition(".")
    return getattr(importlib.import_module(module), name)
