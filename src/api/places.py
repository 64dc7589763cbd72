"""Where the Python interface looks for files."""

import os
from pathlib import Path
from typing import Any

from src.errors import ConfigError
from src.plain import shown
from src.recipe import ROOT


def find(path: str | Path, what: str) -> Path:
    """A path as it is meant: from the working directory, or else from the project's, if something is there.

    Args:
        path: What the user gave.
        what: Its name, for messages.

    Raises:
        ConfigError: If it is no path.
    """
    wanted = as_path(path, what)
    in_project = ROOT / wanted
    return in_project if not wanted.exists() and in_project.exists() else wanted


def as_path(path: Any, what: str) -> Path:
    """What the user gave as a path.

    Raises:
        ConfigError: If it is none.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"{what} is {shown(path)}; it must be a path.")
    return Path(path).expanduser()
