"""Command lines, before Hydra or a task sees them."""

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.errors import NSMError
from src.programs.signals import Interrupt, exit_code, leave, listening
from src.text import complain, prepare_streams

FULL_ERROR = "HYDRA_FULL_ERROR"  # environment variable; at 1, every error shows its traceback


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
    try:
        with listening(leave):
            function = load_task(task)
        with listening(Interrupt()):
            return function(options)
    except KeyboardInterrupt as stop:
        complain("Interrupted. Run the same command again.")
        return exit_code(stop) or 1
    except NSMError as error:
        if os.environ.get(FULL_ERROR) == "1":
            raise
        complain(error)
        return 1


def load_task(task: str) -> Any:
    """Import a module of `src.tasks` and return one of its functions, by dotted name."""
    module, _, name = task.rpartition(".")
    return getattr(importlib.import_module(module), name)
