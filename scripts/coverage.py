"""Measures 90 % intervals of trained networks on fresh sounds: with one scale for all sounds, and fitted to each.

    python scripts/coverage.py CHECKPOINT...             a table in Markdown
    python scripts/coverage.py --page CHECKPOINT...      the same in docs/prediction.md

Each network is calibrated anew, on as many sounds as after a training, and measured on test sounds that are none of
these: 16,000 of the kind of its dataset, numbered beyond those of every training.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from scripts.pages import table, write_between  # noqa: E402
from src.checkpoints.run import load_run, restore_datamodule  # noqa: E402
from src.checkpoints.trusted import instantiate_trusted  # noqa: E402
from src.data.stream import SOUNDS_OF_A_SEED  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.data.vimh_dataset import BatchFormat  # noqa: E402
from src.generation import fresh_sounds  # noqa: E402
from src.models.metrics import HeadMetrics  # noqa: E402
from src.models.spread import LEAST_SOUNDS  # noqa: E402
from src.models.vimh_module import VIMHLitModule  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.tasks.calibration import calibrate_module  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

PAGE = ROOT / "docs" / "prediction.md"
MARKS = "<!-- coverage: made by scripts/coverage.py -->", "<!-- end -->"
FIRST = 3 * SOUNDS_OF_A_SEED // 4  # number of the first test sound; calibration begins at half of that range
PIECE = 500
COLUMNS = ("set", "network", "intervals", "each", "worst head", "worst tenth", "all at once", "joint", "width, steps")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the checkpoints that are named; returns the exit code."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="of train.py")
    parser.add_argument("--sounds", type=int, default=16_000, help="test sounds; default: 16,000")
    parser.add_argument("--page", action="store_true", help="write the table into docs/prediction.md")
    options = parser.parse_args(argv)

    def work() -> int:
        rows = [row for path in options.checkpoints for row in rows_of(path, options.sounds)]
        lines = "\n".join(table(COLUMNS, rows))
        if options.page:
            write_between(MARKS, f"\n\n{lines}\n\n", PAGE)
        else:
            say(lines)
        return 0

    return reporting(work)


def rows_of(path: Path, n_sounds: int) -> list[list[str]]:
    """A row with one scale for all sounds, and one with error bars fitted to each."""
    run = load_run(path)
    datamodule: VIMHDataModule = restore_datamodule(run)
    datamodule.stream_source = partial(fresh_sounds, instantiate=instantiate_trusted)
    names = [datamodule.data_dir.name, type(run.module.net).__name__]
    figures = {}
    for kind, least in (("one scale", sys.maxsize), ("each sound", LEAST_SOUNDS)):
        calibrate_module(run.module, datamodule, least)
        figures[kind] = measure(run.module, test_batches(datamodule, n_sounds))
    before = figures["one scale"]
    return [[*names, kind, *cells(found, run.module.names, before)] for kind, found in figures.items()]


def test_batches(datamodule: VIMHDataModule, n_sounds: int) -> Iterator[dict[str, Tensor]]:
    """Sounds that neither trained nor calibrated a network."""
    assert datamodule.stream_source is not None
    source = datamodule.stream_source(datamodule.info)
    to_tensors = BatchFormat(datamodule.info.parameters, datamodule.aux, datamodule.measure)
    first = datamodule.order_seed * SOUNDS_OF_A_SEED + FIRST
    for start in range(0, n_sounds, PIECE):
        yield to_tensors(source(first + start, first + min(start + PIECE, n_sounds)))


@torch.inference_mode()
def measure(module: VIMHLitModule, batches: Iterator[dict[str, Tensor]]) -> dict[str, float]:
    """The figures of the test, as `HeadMetrics` names them."""
    metrics = HeadMetrics(module.heads, coverage=True, tenths=True)
    ones = torch.ones_like(module.std_scale)
    for batch in batches:
        said = module.read(batch["image"], batch["aux"])
        loss = torch.zeros(())
        metrics.update(loss, said, batch["index"], batch["normalized"], ones, batch["aux"], module.joint_scale)
    return {name: float(figure) for name, figure in metrics.compute().items()}


def cells(found: dict[str, float], names: Sequence[str], before: dict[str, float]) -> list[str]:
    """The figures of a row; the mean change of the heads' widths is that from `before`."""
    ordered = [name for name in names if f"{name}_coverage" in found]
    ratio = sum(found[f"{name}_width"] / before[f"{name}_width"] for name in ordered) / len(ordered)
    change = "" if found is before else f" ({ratio - 1:+.1%})"
    worst = min(found[f"{name}_coverage"] for name in ordered)
    shares = [found["coverage"], worst, *(found[f"coverage_{key}"] for key in ("worst", "together", "joint"))]
    return [*(f"{share:.3f}" for share in shares), f"{found['width']:.3f}{change}"]


if __name__ == "__main__":
    sys.exit(main())
