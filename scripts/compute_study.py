"""Error over computation: what a network reads from pictures, samples or bits after how much training.

python scripts/compute_study.py [--only REGEX] [--hours 3] [--list] [--table]

A cell is an arm (what a network is given, and the network) with a number of sounds, or with fresh ones, and a seed of
the sounds and one of the training. It is trained once, with a constant learning rate. At 30, 75, 190, 480 and 1,200 s
of one core a copy of it has been trained for the last fifth with the rate falling to nothing, and is tested: each point
is a whole training of its length (Hägele et al. 2024, arXiv 2405.18392), and all five cost an eighth more than the
last. A cell ends before that where its error on validation sounds stands still. Sounds are made by their numbers and
held in memory; all arms see the same ones. The learning rate of an arm is the best of three, tried in the same way on
sounds and with weights of other seeds; every trial stands in the results.

Cells run in the order in which they decide, for three hours at most; the same command goes on. Results are
docs/study/compute.json, written after every cell with the tables and figures of docs/study/compute.md.
"""

import copy
import itertools
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
import lightning  # noqa: E402
import numba  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

from scripts.cells import cell_options, measure_cells  # noqa: E402
from scripts.compute_page import FRESH, PAGE, POINTS, RESULTS, write_page  # noqa: E402
from scripts.pages import read_json  # noqa: E402
from scripts.setups import compose_config, optimizer_step, recipe_of  # noqa: E402
from scripts.study import REPRESENTATIONS, Representation, picture_multiply_adds  # noqa: E402
from src.checkpoints.run import build_model  # noqa: E402
from src.data.vimh_dataset import BatchFormat  # noqa: E402
from src.errors import NSMError  # noqa: E402
from src.models.costs import keep_freed_memory, multiply_adds  # noqa: E402
from src.models.vimh_module import VIMHLitModule  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.programs.command_line import reporting  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.text import prepare_streams  # noqa: E402

SIZES = (16_384, FRESH, 131_072, 1_024)  # sounds to train with, in the order in which they decide
MOST_SOUNDS = 131_072  # not of bit streams, which would take 17 GB of memory
SEEDS = ((6, 42), (8, 43), (6, 43), (8, 42))  # of the sounds, of the training
TUNING_SEEDS = 7, 1  # of the trials
TUNING_SIZE = 16_384
RATES = (0.01, 0.02, 0.005)  # of the trials
COOLING = 0.2  # of a training
WARMING = 50  # steps
STANDS_STILL = 0.02  # a point that gains less over the one before it is the last
BATCH_SIZE = 128
N_TEST, N_VAL = 4_096, 1_024  # sounds; the training's have the numbers after theirs
BLOCK = 1_024  # fresh sounds made at a time
AT_ONCE = 256  # sounds read at a time
CLAIM = ("log-mel", "16-bit waveform")  # pictures or samples
OTHERS = ("log-magnitude", "waveform", "+ instantaneous frequency", "bit stream")
OF_PICTURES, OF_SAMPLES = ("cnn_tiny", "cnn_64k"), ("wave_cnn", "wave_cnn_64k")
SAMPLES_16 = Representation("16-bit waveform", "waveform16", {})


@dataclass(frozen=True)
class Arm:
    """What a network is given, and the network.

    Attributes:
        set: `basic` or `envelope`.
        representation: What it is given.
        model: A configuration of the group `model`.
    """

    set: str
    representation: Representation
    model: str

    @property
    def key(self) -> str:
        """Name among the results."""
        return f"{self.set}, {self.representation.name}, {self.model}"

    def recipe(self, seed: int) -> Recipe:
        """What makes its sounds: those that follow a dataset of two."""
        settings = ("dataset.size=2", f"dataset.seed={seed}", *self.representation.overrides(self.set))
        return recipe_of(f"synth/generate_moog_{self.set}", *settings)

    def config(self) -> Any:
        """The configuration of its training."""
        return compose_config(
            "train",
            *(f"experiment=moog_cnn_{self.set}", f"model={self.model}", "extras.print_config=false"),
            f"data.aux=[{'' if self.representation.is_samples else 'spec_min,spec_max'}]",
            f"paths.output_dir={quoted(str(ROOT))}",
            *(("model.net.sample_bytes=2",) if self.representation == SAMPLES_16 else ()),
        )


@dataclass(frozen=True)
class Cell:
    """A training.

    Attributes:
        arm: What is trained on what.
        size: Sounds; None: fresh ones.
        seeds: Of the sounds, and of weights and order.
        rate: Tried; None: the best of the trials.
    """

    arm: Arm
    size: int | None
    seeds: tuple[int, int]
    rate: float | None = None

    @property
    def key(self) -> str:
        """Name among the results."""
        if self.rate is not None:
            return f"trial: {self.arm.key}, rate {self.rate:g}"
        sounds = "fresh" if self.size is FRESH else f"{self.size} sounds"
        return f"{self.arm.key}, {sounds}, seeds {self.seeds[0]} and {self.seeds[1]}"


def arms(name: str, chosen: Sequence[str]) -> list[Arm]:
    """What a set is given as, each with a small network and a larger one."""
    found = {each.name: each for each in (*REPRESENTATIONS, SAMPLES_16)}
    return [Arm(name, found[each], model) for each in chosen for model in networks_of(found[each])]


def networks_of(representation: Representation) -> tuple[str, str]:
    """A small and a larger network."""
    return OF_SAMPLES if representation.is_samples else OF_PICTURES


def cells() -> Iterator[Cell]:
    """All cells in the order in which they decide, the trials of an arm before its first.

    First what the claim is about, on both sets and with more seeds; then the other arms of basic.
    """
    begun: set[str] = set()
    for sets, chosen, seeds in (
        (("basic",), CLAIM, SEEDS[:1]),
        (("envelope",), CLAIM, SEEDS[:1]),
        (("basic", "envelope"), CLAIM, SEEDS[1:]),
        (("basic",), OTHERS, SEEDS),
    ):
        for pair, name, size in itertools.product(seeds, sets, SIZES):
            for arm in arms(name, chosen):
                if arm.representation.name == "bit stream" and size == MOST_SOUNDS:
                    continue
                if arm.key not in begun:
                    begun.add(arm.key)
                    yield from (Cell(arm, TUNING_SIZE, TUNING_SEEDS, rate) for rate in RATES)
                yield Cell(arm, size, pair)


# ----- sounds


class Sounds:
    """The sounds of a cell, by their numbers; the seconds that making those for the training took are counted."""

    def __init__(self, cell: Cell) -> None:
        self.recipe = cell.arm.recipe(cell.seeds[0])
        self.info = self.recipe.info("")
        self.to_tensors = BatchFormat(self.info.parameters, cell.arm.config().data.aux)
        self.test, self.val = self._made(0, N_TEST), self._made(N_TEST, N_TEST + N_VAL)
        self.size, self.seed = cell.size, cell.seeds[1]
        self.seconds, self.n_made = 0.0, 0
        self._made(0, 64)
        self.first = self.fresh(self.size or BLOCK)

    def _made(self, start: int, stop: int) -> dict[str, Tensor]:
        parts = [
            self.to_tensors(self.recipe.make_fresh(first, min(first + BLOCK, stop)))
            for first in range(start, stop, BLOCK)
        ]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def fresh(self, n: int) -> dict[str, Tensor]:
        """The next sounds for the training."""
        begun, start = time.process_time(), N_TEST + N_VAL + self.n_made
        made = self._made(start, start + n)
        self.seconds += time.process_time() - begun
        self.n_made += n
        return made

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """Batches without an end: stored sounds over and over in another order, or fresh ones."""
        order, sounds = np.random.default_rng(self.seed), self.first
        while True:
            numbers = order.permutation(len(sounds["image"])) if self.size else np.arange(BLOCK)
            for first in range(0, len(numbers) - BATCH_SIZE + 1, BATCH_SIZE):
                chosen = torch.from_numpy(numbers[first : first + BATCH_SIZE])
                yield {key: column[chosen] for key, column in sounds.items()}
            if self.size is FRESH:
                sounds = self.fresh(BLOCK)

    def aux_statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each conditioning input."""
        aux = self.first["aux"].double().numpy()
        return aux.mean(axis=0).tolist(), np.maximum(aux.std(axis=0), 1e-6).tolist()


# ----- training


class Learner(NamedTuple):
    """A network with its optimizer, whose copy trains on as it would have."""

    module: VIMHLitModule
    optimizer: Optimizer


def advance(learner: Learner, batches: Iterator[dict[str, Tensor]], rates: Iterator[float]) -> float:
    """A step for each learning rate; returns the processor seconds that they took."""
    spent = 0.0
    learner.module.train()
    for rate in rates:
        batch = next(batches)
        for group in learner.optimizer.param_groups:
            group["lr"] = rate
        begun = time.process_time()
        optimizer_step(learner.module, learner.optimizer, batch)
        spent += time.process_time() - begun
    return spent


def constant(rate: float, start: int, stop: int) -> Iterator[float]:
    """Rates of the steps `start` to `stop - 1`, the first of all rising."""
    return (rate * min(1.0, (step + 1) / WARMING) for step in range(start, stop))


def falling(rate: float, n_steps: int) -> Iterator[float]:
    """Rates that fall to nothing as one less the root of the share that is done (Hägele et al. 2024, section 3.2)."""
    return (rate * (1 - math.sqrt(step / n_steps)) for step in range(1, n_steps + 1))


@torch.no_grad()
def errors_of(module: VIMHLitModule, sounds: dict[str, Tensor]) -> dict[str, float]:
    """Mean absolute error in grid steps, the same as a share of the range, and accuracy, means over the heads."""
    module.eval()
    parts = [
        module.read(sounds["image"][first : first + AT_ONCE], sounds["aux"][first : first + AT_ONCE])
        for first in range(0, len(sounds["image"]), AT_ONCE)
    ]
    normalized, index = torch.cat([part.normalized for part in parts]), torch.cat([part.index for part in parts])
    apart = (normalized - sounds["normalized"]).abs().double().mean(dim=0)
    steps = torch.tensor([spec.range / spec.step for spec in module.specs], dtype=torch.float64)
    accuracy = (index == sounds["index"]).double().mean()
    return {"error": (apart * steps).mean().item(), "nmae": apart.mean().item(), "acc": accuracy.item()}


def measure(cell: Cell, results: dict[str, Any]) -> dict[str, Any]:
    """Train a cell, with a test at each of the points that it comes to."""
    lightning.seed_everything(cell.seeds[1], verbose=False)
    sounds = Sounds(cell)
    module = build_model(cell.arm.config(), sounds.info, sounds.aux_statistics())
    trunk = Learner(module, module.make_optimizer(params=module.parameters()))
    batches = sounds.batches()
    if cell.rate is None:
        rate, step = chosen(cell.arm, results)
    else:
        rate, step = cell.rate, seconds_of_a_step(trunk, sounds)
    points: list[dict[str, Any]] = []
    done, trunk_seconds = 0, 0.0
    for target in POINTS[:1] if cell.rate else POINTS:
        n_steps = round(target / step)
        to_cool = max(1, round(COOLING * n_steps))
        trunk_seconds += advance(trunk, batches, constant(rate, done, n_steps - to_cool))
        done = max(done, n_steps - to_cool)
        branch = Learner(*copy.deepcopy(tuple(trunk)))
        seconds = advance(branch, batches, falling(rate, to_cool))
        used = n_steps * BATCH_SIZE if cell.size is FRESH else cell.size
        points.append(
            {
                "steps": n_steps,
                "seconds": round(trunk_seconds + seconds, 1),
                "making": round(sounds.seconds / sounds.n_made * used, 2),
                "sounds": used,
                "seen": n_steps * BATCH_SIZE,
                "validation": errors_of(branch.module, sounds.val)["error"],
                **errors_of(branch.module, sounds.test),
            }
        )
        if len(points) > 1 and points[-1]["validation"] > (1 - STANDS_STILL) * points[-2]["validation"]:
            break
    example = module.example_input_array
    return {
        "set": cell.arm.set,
        "representation": cell.arm.representation.name,
        "model": cell.arm.model,
        "sounds": cell.size,
        "seeds": cell.seeds,
        "rate": rate,
        "step_us": round(1e6 * step / BATCH_SIZE, 1),
        "parameters": sum(weight.numel() for weight in module.net.parameters()),
        "multiply_adds": multiply_adds(module.net.eval(), example)[""],
        "picture_multiply_adds": picture_multiply_adds(sounds.info),
        "points": points,
    }


def seconds_of_a_step(learner: Learner, sounds: Sounds) -> float:
    """Processor seconds that a step of training takes, of a copy that is then forgotten."""
    tried = Learner(*copy.deepcopy(tuple(learner)))
    batch = {key: column[:BATCH_SIZE] for key, column in sounds.val.items()}
    times = [advance(tried, iter([batch]), iter([1e-3])) for _ in range(24)]
    return float(np.median(times[4:]))


def chosen(arm: Arm, results: dict[str, Any]) -> tuple[float, float]:
    """What the trials of an arm have found.

    Returns:
        The learning rate with the least error on their validation sounds, and the least seconds of a step: how many
        steps a point has is then the same for all cells, whatever else the machine does.

    Raises:
        NSMError: If a trial is missing.
    """
    keys = {rate: Cell(arm, TUNING_SIZE, TUNING_SEEDS, rate).key for rate in RATES}
    if missing := [key for key in keys.values() if key not in results]:
        raise NSMError(f"The rate of {arm.key} is not known before {', '.join(missing)}: leave it in --only.")
    found = {rate: results[key] for rate, key in keys.items()}
    rate = min(found, key=lambda rate: found[rate]["points"][0]["validation"])
    return rate, 1e-6 * BATCH_SIZE * min(trial["step_us"] for trial in found.values())


def main() -> int:
    """Measure what is not there yet."""
    prepare_streams()
    parser = cell_options(__doc__, ROOT / "data", RESULTS, 3.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    keep_freed_memory()
    page = PAGE if options.results == RESULTS else None
    measure_cells(cells(), options, lambda cell: measure(cell, read_json(options.results)), page, write_page)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
