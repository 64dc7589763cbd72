"""Lists every run below logs/train: what it was, what it reached, whether it is complete, and which is the best.

    python scripts/runs.py                                      the newest first
    python scripts/runs.py data=vimh_16kdss sort=error          those on some data, the smallest error first
    python scripts/runs.py network=cnn_tiny best=true            the best of a network on each dataset
    python scripts/runs.py --csv --output runs.csv              everything that is known, for a spreadsheet

Words of the form column=text keep the runs in whose column the text occurs; commas separate several texts. sort=column
sorts, sort=-column backwards; limit=20 shows the first 20. The columns are those of --csv.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.programs.command_line import OptionParser, run_with_options  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """Print or write what a command line asks for; returns the exit code."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="COLUMN=TEXT", help="which runs, and in which order")
    formats = parser.add_mutually_exclusive_group()
    for name, what in (("csv", "a table of CSV"), ("json", "JSON"), ("latex", "a table for LaTeX with booktabs")):
        formats.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"as {what}")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file; default: standard output")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "logs", metavar="DIR", help="default: logs")
    return run_with_options("src.tasks.runs.show_runs", parser, argv)


if __name__ == "__main__":
    sys.exit(main())
