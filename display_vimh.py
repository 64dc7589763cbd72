"""Shows a VIMH dataset: all its records as a page in the browser, to see, sort, filter and hear.

    python display_vimh.py                                  the newest dataset under data/; Ctrl-C ends it
    python display_vimh.py DIR --save page.html             the page as one file, which needs no server
    python display_vimh.py DIR --save sheet.png             a picture of the first samples
    python display_vimh.py DIR --info                       metadata, validation and statistics
    python display_vimh.py DIR --validate                   every record and checksum; exit code 1 at a defect

Without a terminal the page is written to logs/viewer, and its path printed. Keys are listed in the page on "?".
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

from src.programs.command_line import OptionParser, run_with_options  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """Show, print and write what a command line asks for; returns the exit code."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", nargs="?", type=Path, metavar="DIR", help="default: the newest under data/")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the page, .html, or a picture, .png")
    parser.add_argument("--info", action="store_true", help="print metadata, validation and statistics")
    parser.add_argument("--validate", action="store_true", help="check everything; exit code 1 at a defect")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="what is shown; default train")
    parser.add_argument("--samples", type=int, default=12, metavar="N", help="of a picture; default 12")
    parser.add_argument("--channel", metavar="NAME", help="name or number; default: the first one, in a picture all")
    parser.add_argument("--megabytes", type=float, default=64, metavar="N", help="of a page that is saved; default 64")
    parser.add_argument("--live", action="store_true", help="serve the page, also without a terminal")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="of the page; default: one that is free")
    parser.add_argument("--trusted-modules", nargs="+", default=(), metavar="PACKAGE", help="whose classes it may name")
    return run_with_options("src.tasks.display.display", parser, argv)


if __name__ == "__main__":
    sys.exit(main())
