"""Shows a VIMH dataset: in a window where there is a display, as a contact sheet elsewhere.

    python display_vimh.py                                  the newest dataset under data/
    python display_vimh.py DIR --save sheet.png             a contact sheet, or .html
    python display_vimh.py DIR --info                       metadata, validation and statistics
    python display_vimh.py DIR --validate                   every record and checksum; exit code 1 at a defect

Keys of the window are shown in it.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.programs.command_line import run_with_options  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """Show, print and write what a command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", nargs="?", type=Path, metavar="DIR", help="default: the newest under data/")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write a contact sheet, .png or .html")
    parser.add_argument("--info", action="store_true", help="print metadata, validation and statistics")
    parser.add_argument("--validate", action="store_true", help="check everything; exit code 1 at a defect")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="what is shown; default train")
    parser.add_argument("--samples", type=int, default=12, metavar="N", help="of a contact sheet; default 12")
    parser.add_argument("--channel", metavar="NAME", help="name or number; default: the first one, in a sheet all")
    parser.add_argument("--trusted-modules", nargs="+", default=(), metavar="PACKAGE", help="whose classes it may name")
    return run_with_options("src.tasks.display.display", parser, argv)


if __name__ == "__main__":
    sys.exit(main())
