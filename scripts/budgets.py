"""What a network reaches with 3 and 15 minutes of one core, by where its training sounds come from: `make budgets`.

python scripts/budgets.py [--only REGEX] [--workers 1] [--tune] [--rates] [--list] [--page]

A budget is processor seconds from the command to the result: synthesis of the set, start, training, test. Every program
has one thread, so that these are seconds of the clock on a core of its own, and other programs beside it do not count
but for the memory that they use. How many epochs a budget lasts is planned from the measured time of a step, so that
the learning rate has come down when it ends; a run that took longer is repeated with fewer.

Cells run in the order in which they decide. One that is in docs/results/budgets.json already is not repeated; every
finished one is written at once, with the tables of docs/results.md and the pictures. --tune runs the trials by which
settings were chosen, on sounds and with weights of another seed, into docs/results/tuning.json.
"""

import argparse
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any, NamedTuple

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
import torch  # noqa: E402

from scripts.budgets_page import (  # noqa: E402
    BUDGETS,
    COMMON,
    RATES,
    RUNS,
    STREAM,
    TUNING,
    Cell,
    Trial,
    cells,
    keep,
    keep_trial,
    synthesis_key,
    trials,
)
from scripts.pages import read_json  # noqa: E402
from scripts.setups import (  # noqa: E402
    QUIET,
    Spent,
    compose_config,
    moog_set,
    results_of,
    run_program,
    set_up,
    sound_seconds,
)
from src.hydra_versions import instantiate  # noqa: E402
from src.models.costs import keep_freed_memory  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.programs.output import console  # noqa: E402
from src.text import prepare_streams  # noqa: E402

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
START_UP = 14.0  # core seconds of imports, the network's and the trainer's beginning, and the test
PER_SOUND = 25e-6  # core seconds to read and measure a stored sound
SHARE_TO_TRAIN = 0.94  # of what a budget leaves: a step takes longer where other programs use the same memory
STREAMED = 65_536  # sounds that a stream calls an epoch
MEASURED_ON = 8_192  # sounds that the speed is measured with
PREPARING = threading.Lock()  # Hydra composes one configuration at a time
NETWORKS_TIMED = ("cnn_micro", "cnn_tiny", "cnn_64k")


def overrides_of(cell: Cell) -> tuple[str, ...]:
    """Overrides of `train.py` that a cell means, but for the length of the training."""
    where = *moog_set(cell.set, *cell.dataset), f"data.stream={str(cell.data == STREAM).lower()}"
    return f"experiment=moog_cnn_{cell.set}", f"model={cell.model}", *where, *cell.changes


def speed_of(overrides: Iterable[str]) -> tuple[float, float]:
    """Core seconds that a sound takes in a step of training, and to be made where it is streamed."""
    settings = f"paths.output_dir={quoted(str(ROOT))}", f"data.train_size={MEASURED_ON}"
    keep_freed_memory()
    torch.set_num_threads(1)
    return sound_seconds(*set_up(compose_config("train", *overrides, *settings)), time.thread_time)


def planned(left: float, seconds_per_epoch: float) -> tuple[int, float]:
    """Epochs that use up the seconds that are left for training, and the share of its sounds that each has.

    Whole epochs would leave up to one of them unused; with a few sounds less, one more fits.

    Args:
        left: Core seconds.
        seconds_per_epoch: With all sounds.

    Returns:
        No epochs where nothing is left.
    """
    fitting = max(0.0, SHARE_TO_TRAIN * left / seconds_per_epoch)
    epochs = math.ceil(fitting)
    return epochs, fitting / max(1, epochs)


def synthesis_of(cell: Cell) -> float:
    """Core seconds that making the set of a cell takes, from the command on; measured where it is missing, and kept."""
    key = synthesis_key(cell)
    if key not in read_json(RUNS):
        size, _ = cell.dataset
        cfg = compose_config("train", *overrides_of(cell), f"paths.output_dir={quoted(str(ROOT))}")
        section = cfg.data.make_dataset
        spent = run_program(
            *("generate_vimh.py", f"--config-name={section.config_name}", *section.overrides),
            *("overwrite=true", f"output_dir={quoted(str(ROOT / 'data'))}", "num_threads=1"),
            f"dataset.name={quoted(cfg.data.data_dir.rpartition('/')[2])}",
            **ONE_THREAD,
        )
        keep({key: {"core_seconds": round(spent.core, 1), "wall_seconds": round(spent.wall, 1), "sounds": size}})
    return float(read_json(RUNS)[key]["core_seconds"])


class Training(NamedTuple):
    """A training within a budget.

    Attributes:
        about: Core seconds that its set took, and microseconds that a sound takes.
        results: Its `results.json`; None where synthesis and test alone take longer than the budget.
        spent: What it took.
    """

    about: dict[str, float]
    results: dict[str, Any] | None
    spent: Spent


def train_within(cell: Cell) -> Training:
    """Train and test within the budget, repeated with less where it is exceeded."""
    with PREPARING:
        synthesis, overrides = synthesis_of(cell), overrides_of(cell)
        step, make = speed_of(overrides)
    about = {"synthesis_seconds": synthesis, "step_us": round(1e6 * step, 1), "make_us": round(1e6 * make, 1)}
    budget = 60 * cell.minutes - synthesis
    left = budget - START_UP - PER_SOUND * cell.dataset[0]
    n_epoch = STREAMED if cell.data == STREAM else cell.n_train
    epoch = n_epoch * (step + make) + (cell.n_train_and_val - cell.n_train) * step / 3
    epochs, share = planned(left, epoch)
    while epochs > 0:
        results, spent = train(cell.key, (*overrides, *length_of(cell, epochs, share), f"seed={cell.seed}"))
        if spent.core <= budget:
            return Training(about, results, spent)
        share *= SHARE_TO_TRAIN * left / (spent.core - (budget - left))
    return Training(about, None, Spent(0.0, 0.0))


def measure(cell: Cell) -> dict[str, Any]:
    """What is kept of a training within its budget; without figures where there was no time for one."""
    about, results, spent = train_within(cell)
    return about if results is None else about | figures(cell, results, spent)


def length_of(cell: Cell, epochs: int, share: float) -> tuple[str, str]:
    """Overrides of so many epochs with a share of a cell's sounds."""
    if cell.data == STREAM:
        return f"trainer.max_epochs={epochs}", f"data.stream_size={round(share * STREAMED)}"
    return f"trainer.max_epochs={epochs}", f"data.train_size={math.floor(share * cell.n_train_and_val)}"


def train(name: str, overrides: Iterable[str]) -> tuple[dict[str, Any], Spent]:
    """Train and test on one thread, in a process of its own.

    Returns:
        The run's `results.json`, and the seconds it took.
    """
    return results_of(f"budgets/{name}", "src/train.py", *overrides, *QUIET, "threads=1", **ONE_THREAD)


def figures(cell: Cell, results: Mapping[str, Any], spent: Spent) -> dict[str, Any]:
    """What is kept of a run that was within its budget, with the figures of the common test sounds."""
    tested = results["metrics"] if cell.tests_itself else test(cell, results["checkpoint"])
    seen = results["training_samples"] * (1 if cell.data == STREAM else results["epochs"])
    return {
        "run_seconds": round(spent.core, 1),
        "wall_seconds": round(spent.wall, 1),
        "epochs": results["epochs"],
        "different_sounds": results["training_samples"],
        "seen_sounds": seen,
        "parameters": results["parameters"],
        **{key: tested[f"test/{key}"] for key in ("acc", "nmae", "steps", "coverage")},
        "validation": {key: results["validation"][key] for key in ("acc", "nmae")},
    }


def test(cell: Cell, checkpoint: str) -> dict[str, float]:
    """Metrics of a checkpoint on the test sounds of the set of 16,384, none of which it was trained on."""
    with PREPARING:
        data = compose_config("train", f"data=moog_{cell.set}", *moog_set(cell.set, *COMMON)).data
        instantiate(data).prepare_data()
    results, _ = results_of(
        *(f"budgets/test {cell.key}", "src/eval.py", f"ckpt_path={quoted(checkpoint)}"),
        *(f"data_dir={quoted(data.data_dir)}", "trainer=cpu", "callbacks=none", "extras.print_config=false"),
        **ONE_THREAD,
    )
    return dict(results["metrics"])


def try_out(trial: Trial) -> dict[str, Any]:
    """Train with settings that are tried, and keep how well the validation sounds are read."""
    results, spent = train(f"tuning {trial.key}", (*trial.overrides(moog_set), f"trainer.max_epochs={trial.epochs}"))
    found = {key: results["validation"][key] for key in ("acc", "nmae", "loss")}
    return {"run_seconds": round(spent.core, 1), "wall_seconds": round(spent.wall, 1), **found}


def time_sounds() -> None:
    """Core seconds to make a sound and to train on it, for every Moog set and some networks."""
    for name in ("basic", "envelope", "resonance"):
        for model in NETWORKS_TIMED:
            cell = Cell(name, model, STREAM, BUDGETS[0])
            step, make = speed_of(overrides_of(cell))
            key = f"{name} {model}"
            keep({RATES: read_json(RUNS).get(RATES, {}) | {key: {"step_us": 1e6 * step, "make_us": 1e6 * make}}})


def finish(wanted: list[Any], work: Callable[[Any], dict[str, Any]], store: Callable[..., None], workers: int) -> None:
    """Do what is wanted, some at once, and store each result as soon as it is there."""
    terminal = console()

    def one(item: Any) -> None:
        terminal.print(f"{item.key} …")
        found = work(item)
        store({item.key: found})
        reached = f"accuracy {found['acc']:.3f}, error {found['nmae']:.4f} of the range" if "acc" in found else "no run"
        terminal.print(f"{item.key}: {reached}")

    with ThreadPoolExecutor(workers) as pool:
        for outcome in [pool.submit(one, item) for item in wanted]:
            outcome.result()


def main() -> int:
    """Run what is not there yet."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression; only cells or trials whose name it matches")
    parser.add_argument("--workers", type=int, default=1, help="how many at once, one thread each")
    parser.add_argument("--tune", action="store_true", help="run the trials of settings instead of the cells")
    parser.add_argument("--rates", action="store_true", help="measure how long sounds take to make and to train on")
    parser.add_argument("--list", action="store_true", help="list what would run")
    parser.add_argument("--page", action="store_true", help="write the tables and pictures from what is there")
    arguments = parser.parse_args()

    def work() -> int:
        everything: list[Any] = [*(trials() if arguments.tune else cells())]
        done = read_json(TUNING if arguments.tune else RUNS)
        wanted = [item for item in everything if item.key not in done and re.search(arguments.only, item.key)]
        if arguments.list:
            console().print("\n".join(item.key for item in wanted), soft_wrap=True)
        elif arguments.page:
            keep({})
        elif arguments.rates:
            time_sounds()
        elif arguments.tune:
            finish(wanted, try_out, keep_trial, arguments.workers)
        else:
            finish(wanted, measure, keep, arguments.workers)
        return 0

    return reporting(work)


if __name__ == "__main__":
    raise SystemExit(main())
