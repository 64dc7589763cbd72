"""Where the Python interface looks for files."""

from pathlib import Path

from src.recipe import ROOT


def find(path: str | Path) -> Path:
    """A path as it is meant: from the working directory, or else from the project's, if something is there."""
    wanted = Path(path).expanduser()
    in_project = ROOT / wanted
    return in_project if not wanted.exists() and in_project.exists() else wanted
