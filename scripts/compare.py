"""Compares runs on one page: curves, paired differences on the same test sounds, errors, sounds, cost.

    python scripts/compare.py best last                         two runs; make runs lists them
    python scripts/compare.py example example/2026-11-27_15-43-33 path/to/epoch_042.ckpt

A run is named as in run=NAME: best, last, an experiment, a date, a directory; or a checkpoint by its path.
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
    """Compare what a command line names; returns the exit code."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="two or more; the others are compared with the first")
    parser.add_argument("--sounds", type=int, default=12, metavar="N", help="to listen to; default 12")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap; default 0")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: logs/compare/DATE_TIME")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "logs", metavar="DIR", help="default: logs")
    parser.add_argument("--data-dir", type=Path, default=ROOT / "data", metavar="DIR", help="default: data")
    parser.add_argument("--trusted-modules", nargs="+", default=(), metavar="PACKAGE", help="whose classes it may name")
    return run_with_options("src.tasks.compare.compare", parser, argv)


if __name__ == "__main__":
    sys.exit(main())
