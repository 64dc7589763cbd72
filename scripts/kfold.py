"""Trains on all folds of a dataset but one, and tests on that one, for each: mean and spread of every test metric.

    python scripts/kfold.py data.data_dir=data/NAME model=cnn_tiny trainer.max_epochs=30

Takes what src/train.py takes. Each fold is a run of its own in logs/kfold. Folds that are finished are not repeated:
after a Ctrl-C the same command goes on.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.programs.command_line import OptionParser, run_with_options  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and print the table; returns the exit code."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as src/train.py takes them")
    return run_with_options("src.tasks.kfold.kfold", parser, argv)


if __name__ == "__main__":
    sys.exit(main())
