"""Packs other data into a VIMH dataset.

    python scripts/to_vimh.py audio SOUNDS --sample-rate 16000 --duration 1 --representation mel --set height=64
    python scripts/to_vimh.py audio SOUNDS --sample-rate 16000 --frame 1 --hop 0.5 --group-by "^(.*?)_"
    python scripts/to_vimh.py images PICTURES                      a folder per class
    python scripts/to_vimh.py images PICTURES --csv labels.csv --number angle=5,0,355 --units angle=degrees
    python scripts/to_vimh.py idx MNIST --label digit
    python scripts/to_vimh.py cifar cifar-10-batches-bin

docs/to_vimh.md explains everything.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.programs.command_line import OptionParser, run_with_options  # noqa: E402
from src.text import name_of  # noqa: E402


def parser() -> OptionParser:
    """Reads the command line."""
    common = OptionParser(add_help=False)
    common.add_argument("directory", type=Path, metavar="DIR")
    common.add_argument("--output", type=Path, metavar="DIR", help="the dataset's directory; default: named in data/")
    common.add_argument("--name", help="short name of the set, part of the directory's; default: that of DIR")
    common.add_argument("--seed", type=int, default=42, help="of the division into training and test; default 42")
    common.add_argument("--test-fraction", type=float, default=0.2, metavar="SHARE", help="default 0.2")
    common.add_argument("--strict", action="store_true", help="stop at a damaged file, rather than leave it out")

    pairs = {"type": pair, "action": "append", "default": []}
    labels = OptionParser(add_help=False)
    labels.add_argument("--csv", type=Path, metavar="FILE", help="file names and labels; default: folders are classes")
    labels.add_argument("--labels", type=lambda text: text.split(","), default=[], metavar="A,B", help="columns to use")
    a_list = "classes in their order, A,B, a file with a line each, or a dataset; others are left out"
    labels.add_argument("--classes", action="append", default=[], metavar="[LABEL=]LIST", help=a_list)
    a_group = "a column, or an expression that finds in file names what is divided as a whole"
    labels.add_argument("--group-by", metavar="REGEX", help=a_group)
    labels.add_argument("--folds", type=int, metavar="K", help="deal groups to K folds, of which the last one tests")
    a_number = "a label that is a number; the others are categories"
    labels.add_argument("--number", **pairs, metavar="NAME=STEP[,MIN,MAX]", help=a_number)
    labels.add_argument("--units", **pairs, metavar="NAME=UNITS", help="of a number")

    label = OptionParser(add_help=False)
    label.add_argument("--label", default="label", help="name of the label where nothing else names it")

    found = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = found.add_subparsers(dest="kind", required=True)
    parents = [common, labels, label]
    images = kinds.add_parser("images", parents=parents, help="image files, labelled by folders or a CSV")
    idx = kinds.add_parser("idx", parents=[common, label], help="MNIST's IDX files, plain or .gz")
    kinds.add_parser("cifar", parents=[common], help="the binary files of CIFAR-10 or CIFAR-100")
    audio = kinds.add_parser("audio", parents=parents, help="audio files, labelled by folders, a CSV, or a corpus")
    idx.add_argument("--names", type=Path, metavar="FILE", help="names of the labels 0, 1, …, a line each")
    images.add_argument("--resize", type=size, metavar="HxW", help="make all of this many rows and columns")
    images.add_argument("--color", choices=("auto", "grey", "rgb"), default="auto", help="default: as they are")
    audio.add_argument("--sample-rate", type=int, required=True, metavar="HZ")
    audio.add_argument("--duration", type=float, metavar="S", help="one sound of each file, cut or padded")
    audio.add_argument("--frame", type=float, metavar="S", help="frames of each file in place of one sound")
    audio.add_argument("--hop", type=float, metavar="S", help="from frame to frame; default: no overlap")
    a_level = "leave out frames so far below the loudest of their file; default 60, inf: none that sound"
    audio.add_argument("--silence", type=float, metavar="DB", help=a_level)
    audio.add_argument("--perturb", metavar="NAME", help="what happens to sounds before their images: configs/perturb")
    audio.add_argument("--representation", default="stft", metavar="NAME", help="of configs/representation")
    audio.add_argument("--channels", default="", metavar="A,B", help="beside the spectrogram, of configs/channels")
    audio.add_argument("--spectral", help=argparse.SUPPRESS)  # the old name of both
    a_setting = "a setting, such as height=64 or channels.windows.max_db=-20"
    audio.add_argument("--set", **pairs, metavar="NAME=VALUE", help=a_setting)
    return found


def pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE`, taken apart."""
    name, equals, value = name_of(text).partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def size(text: str) -> tuple[int, int]:
    """`HxW` as height and width."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 32x32")
    return int(match[1]), int(match[2])


def main(argv: Sequence[str] | None = None) -> int:
    """Convert what a command line asks for; returns the exit code."""
    return run_with_options("src.tasks.to_vimh.to_vimh", parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
