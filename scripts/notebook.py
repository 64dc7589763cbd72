"""Runs the notebook of the documentation from top to bottom, and keeps what it shows.

    python scripts/notebook.py           runs it, and writes it with its outputs
    python scripts/notebook.py --check   runs it only

It runs in a copy of the project, so that neither datasets nor runs are left behind. An error in a cell ends it with
exit code 1, and nothing is written.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError  # noqa: E402
from nbformat import NotebookNode  # noqa: E402

from src.files import write_atomically  # noqa: E402
from src.programs.command_line import OptionParser  # noqa: E402
from src.text import complain, prepare_streams, say  # noqa: E402

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
NEEDED = ("src", "configs", "docs/notebook.ipynb", "generate_vimh.py", ".project-root")
MOST_BYTES = 400_000  # of the notebook with its outputs
TIMEOUT = 600  # s, of a cell
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours and movements of the cursor
TEXTS = ("text/plain", "text/html")  # of what a cell shows
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def copy_project(place: Path) -> None:
    """Copy what the notebook needs; compiled kernels as well, which saves seconds."""
    for name in NEEDED:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, place / name)


def run(notebook: NotebookNode, place: Path) -> None:
    """Run all cells in a copy of the project.

    Raises:
        CellExecutionError: If one of them fails.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("PROJECT_ROOT", "MPLBACKEND")}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        resources={"metadata": {"path": str(place / "docs")}},
        coalesce_streams=True,
        extra_arguments=["--Application.log_level=ERROR"],
    )
    client.execute(env=environment | {"PYTHONPATH": str(place), "COLUMNS": "80", "TERM": "dumb"})


def tidy(notebook: NotebookNode, place: Path) -> None:
    """Take out of the outputs what differs from run to run: times, colours, and where the copy was."""
    notebook.metadata = NotebookNode(METADATA)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", ()):
            for holder, key in [(output, "text"), *((output.get("data", {}), kind) for kind in TEXTS)]:
                if key in holder:
                    holder[key] = ESCAPES.sub("", holder[key]).replace(f"{place}/", "").replace(str(place), ".")


def main() -> None:
    """Run the notebook, and write it unless it is only checked."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory).resolve() / "project"
        copy_project(place)
        try:
            run(notebook, place)
        except CellExecutionError as error:
            complain(f"{NOTEBOOK}: a cell fails.\n{ESCAPES.sub('', str(error))}")
            sys.exit(1)
        tidy(notebook, place)
    content = nbformat.writes(notebook).encode() + b"\n"
    if len(content) > MOST_BYTES:
        complain(f"{NOTEBOOK}: would have {len(content):,} bytes; {MOST_BYTES:,} is the most. Show less in its cells.")
        sys.exit(1)
    if not options.check:
        write_atomically(NOTEBOOK, content)
    say(f"{NOTEBOOK}: {'runs' if options.check else 'written'}, {len(content):,} bytes")


if __name__ == "__main__":
    main()
