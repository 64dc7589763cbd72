"""Representations compared: one set of sounds as pictures or samples, and how well small networks read them.

python scripts/study.py [--budget 30] [--only REGEX] [--quick] [--list] [--page]

Trains a network on every representation, with 256 to 65,536 sounds and three seeds, as many at once as there are cores.
For how many steps the budget lasts is measured first, for every network and representation: however many sounds,
and whatever else the machine does later, they are trained alike. A run that is in the results already is not repeated,
so that the study can be made in parts. Results are docs/study/steps.json and runs.json, written after every run, and at
the end runs.csv, the figures, and the tables of docs/study/index.md.
"""

import argparse
import logging
import math
import multiprocessing
import os
import re
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
import lightning  # noqa: E402
import torch  # noqa: E402
from src.hydra_versions import instantiate  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from scripts.pages import read_json, write_json  # noqa: E402
from scripts.setups import compose_config, optimizer_step, recipe_of, seconds_of, set_up  # noqa: E402
from scripts.study_page import RUNS, keep  # noqa: E402
from src.checkpoints.trusted import instantiate_trusted  # noqa: E402
from src.errors import ConfigError, NSMError  # noqa: E402
from src.files import lock_directory  # noqa: E402
from src.generation import make_dataset  # noqa: E402
from src.models.costs import multiply_adds  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.programs.command_line import OptionParser  # noqa: E402
from src.programs.loggers import instantiate_callbacks  # noqa: E402
from src.programs.program import extras  # noqa: E402
from src.programs.output import console, progress  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.text import prepare_streams  # noqa: E402
from src.vimh.format import METADATA_BYTES, record_dtype  # noqa: E402
from src.vimh.info import DatasetInfo  # noqa: E402

N_TRAIN, N_TEST = 65_536, 4_096
SIZES = (256, 1_024, 4_096, 16_384, 65_536)  # sounds to train and validate with
SEEDS = (42, 43, 44)
DATASET_SEED = 6  # of none of the other sets: nothing was ever tuned on these sounds
BUDGET = 30.0  # seconds of training
VALIDATIONS = 10  # in a run; the best of them is tested
BATCH_SIZE, VAL_FRACTION = 128, 0.1
VAL_BATCHES = 8  # of a validation, at most
TRAINER_SHARE = 0.9  # of the speed of a bare loop that `Trainer.fit` keeps
CALIBRATION = 40, 4.0  # steps and seconds, of which the first to be over ends the measurement of a step
ROUNDS = 4  # of measurements; the fastest counts, since what disturbs a machine only makes it slower
FIGURES = {"error_jnd": "steps", "acc": "acc", "nmae": "nmae"}  # what is kept, and what the metrics call it
COSTS = "steps.json"  # of every network and representation, by budget
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, eq=False)  # each is itself alone
class Representation:
    """A representation of sounds as input of networks.

    Attributes:
        name: For people.
        option: Of the group `representation`.
        settings: Further overrides, by set; those of "" hold for all.
    """

    name: str
    option: str
    settings: Mapping[str, tuple[str, ...]]

    @property
    def is_samples(self) -> bool:
        """Whether it is the sound itself, and no spectrogram."""
        return self.option in ("waveform", "waveform16", "bits")

    def overrides(self, set_name: str) -> tuple[str, ...]:
        """Those of `generate_vimh.py` that make it."""
        return (f"representation={self.option}", *self.settings.get("", ()), *self.settings.get(set_name, ()))


def on_mel(name: str, *channels: str) -> Representation:
    """The log-mel spectrogram of the envelope set, 32 bands with a window of 64 ms, and channels on top of it."""
    window = ("representation.win_length=512", "representation.window=hann")
    return Representation(name, "mel", {"": (f"channels=[{','.join(channels)}]", *window)})


REPRESENTATIONS = (
    # The window is one period of the basic set's pitch, as in that set.
    Representation(
        "log-magnitude",
        "stft",
        {
            "basic": ("representation.win_length=80", "representation.window=boxcar"),
            "envelope": ("representation.win_length=80", "representation.window=hann"),
        },
    ),
    on_mel("log-mel"),
    on_mel("multi-resolution", "windows"),
    on_mel("+ instantaneous frequency", "instantaneous_frequency"),
    on_mel("+ group delay", "group_delay"),
    on_mel("+ modulation", "modulation"),
    Representation("waveform", "waveform", {}),
    Representation("bit stream", "bits", {}),
)
SETS = ("basic", "envelope")
OF_SPECTROGRAMS, OF_SAMPLES = ("cnn_tiny",), ("wave_cnn", "wave_cnn_64k")


@dataclass(frozen=True)
class RunGrid:
    """Which runs there are.

    Attributes:
        representations: What is compared.
        sizes: Numbers of sounds to train and validate with.
        seeds: One run each.
        n_train: Sounds to draw them from.
        n_test: Sounds that are tested.
        sets_dir: Where the datasets lie.
    """

    representations: tuple[Representation, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    n_train: int
    n_test: int
    sets_dir: Path

    def cells(self) -> Iterator["Cell"]:
        """Every run, one seed after the other, so that an unfinished study has all runs of its first seeds.

        Further seeds of bit streams, and of the small network for samples, come last.
        """
        cells = [
            Cell(set_name, representation, model, size, seed)
            for seed in self.seeds
            for representation in self.representations
            for model in (OF_SAMPLES if representation.is_samples else OF_SPECTROGRAMS)
            for set_name in SETS
            for size in self.sizes
        ]
        yield from sorted(cells, key=lambda cell: cell.seed != self.seeds[0] and cell.is_of_last)

    def data_dir(self, set_name: str, representation: Representation) -> Path:
        """Where the sounds of a set lie in a representation."""
        return self.sets_dir / f"{set_name}-{re.sub(r'[^a-z]+', '-', representation.name.lower()).strip('-')}"

    def recipe(self, set_name: str, representation: Representation) -> tuple[str, list[str]]:
        """Primary configuration and overrides with which `generate_vimh.py` makes a set: all hold the same sounds."""
        size = self.n_train + self.n_test
        dataset = [f"size={size}", f"train_fraction={self.n_train / size!r}", f"seed={DATASET_SEED}"]
        overrides = [*(f"dataset.{setting}" for setting in dataset), *representation.overrides(set_name)]
        return f"synth/generate_moog_{set_name}", overrides


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        set: `basic` or `envelope`.
        representation: What the network is given.
        model: A configuration of the group `model`.
        size: Sounds to train and validate with.
        seed: Chooses them, their order and the first weights.
    """

    set: str
    representation: Representation
    model: str
    size: int
    seed: int

    @property
    def is_of_last(self) -> bool:
        """Whether it is done when everything else is."""
        return self.model == OF_SAMPLES[0] or self.representation.option == "bits"

    @property
    def arm(self) -> str:
        """What takes the same time, however many sounds there are."""
        return f"{self.set}, {self.representation.name}, {self.model}"

    @property
    def key(self) -> str:
        """Unique among the runs."""
        return f"{self.arm}, {self.size} sounds, seed {self.seed}"


FULL = RunGrid(REPRESENTATIONS, SIZES, SEEDS, N_TRAIN, N_TEST, ROOT / "data" / "study")
QUICK_BUDGET = 3.0
QUICK = RunGrid(
    tuple(r for r in REPRESENTATIONS if r.name in ("log-mel", "+ instantaneous frequency", "waveform", "bit stream")),
    (256, 1_024),
    (42,),
    1_024,
    512,
    ROOT / "data" / "study-quick",
)


@dataclass(frozen=True)
class Job:
    """A run with its dataset, its directory and its budget.

    Attributes:
        cell: The run.
        data_dir: Its dataset.
        output_dir: Where its checkpoints go.
        budget: Seconds of training.
        cost: What `calibrate` found; None before that.
    """

    cell: Cell
    data_dir: Path
    output_dir: Path
    budget: float
    cost: Mapping[str, int] | None = None


def config_of(job: Job, *overrides: str) -> DictConfig:
    """Configuration of the training that a job means."""
    cell = job.cell
    choice = [
        *(f"experiment=moog_cnn_{cell.set}", f"model={cell.model}", f"seed={cell.seed}", "trainer=cpu", "threads=1"),
        *("callbacks=model_checkpoint", "++callbacks.audio_examples=null", "logger=none", "extras.print_config=false"),
        *("+trainer.enable_progress_bar=false", "+trainer.enable_model_summary=false"),
        *("+trainer.num_sanity_val_steps=0", f"+trainer.limit_val_batches={VAL_BATCHES}"),
        *(f"data.data_dir={quoted(str(job.data_dir))}", "data.make_dataset=null", f"data.train_size={cell.size}"),
        *(f"data.batch_size={BATCH_SIZE}", f"data.val_fraction={VAL_FRACTION}"),
        # Samples have no range of their own.
        f"data.aux=[{'' if cell.representation.is_samples else 'spec_min,spec_max'}]",
        f"paths.output_dir={quoted(str(job.output_dir))}",
        f"paths.work_dir={quoted(str(ROOT))}",
    ]
    return compose_config("train", *choice, *overrides)


def schedule(n_steps: int) -> list[str]:
    """Overrides of the trainer for so many steps, in however many epochs, with validations evenly among them.

    The last validation is at the end; the steps are rounded to a multiple of theirs.
    """
    between = max(1, round(n_steps / VALIDATIONS))
    return [
        f"+trainer.max_steps={between * min(VALIDATIONS, n_steps)}",
        "trainer.max_epochs=-1",
        "trainer.min_epochs=null",
        "trainer.check_val_every_n_epoch=null",
        f"+trainer.val_check_interval={between}",
    ]


def calibrate(job: Job) -> tuple[str, dict[str, int]]:
    """For how many steps a budget lasts, and what a network costs.

    Returns:
        Key of the arm; `steps`, `parameters`, and of one sound `multiply_adds` of the network and
        `picture_multiply_adds` of its image.
    """
    cfg = config_of(job)
    module, datamodule = set_up(cfg)
    optimizer = module.make_optimizer(params=module.parameters())
    n_steps, seconds = CALIBRATION
    times: list[float] = []
    for batch in _endless(datamodule.train_dataloader().batches):
        times.append(seconds_of(lambda batch=batch: optimizer_step(module, optimizer, batch)))
        if len(times) >= n_steps or (sum(times) > seconds and len(times) > 10):
            break
    step = statistics.quantiles(times[2:], n=4)[0]  # of a machine that does nothing else
    n_val = min(VAL_BATCHES, -(-len(datamodule.val_set) // cfg.data.batch_size))
    validations = VALIDATIONS * n_val * step / 3  # a forward pass is a third of a step
    example = torch.zeros(1, *datamodule.info.image_shape, dtype=torch.uint8), torch.zeros(1, len(cfg.data.aux))
    return job.cell.arm, {
        "steps": max(1, round(TRAINER_SHARE * (job.budget - validations) / step)),
        "parameters": sum(parameter.numel() for parameter in module.net.parameters()),
        "multiply_adds": multiply_adds(module.net.eval(), example)[""],
        "picture_multiply_adds": picture_multiply_adds(datamodule.info),
    }


def picture_multiply_adds(info: DatasetInfo) -> int:
    """Multiply-adds of the FFTs and matrix products that turn one sound of a dataset into its image.

    A real FFT of n points counts as 1.25 n log2 n (FFTW's convention of 2.5 n log2 n operations), and filterbanks as
    the dense products that they are computed by. Samples cost nothing.
    """

    def forward(shape: Sequence[int], dim: Sequence[int], *_: Any, out_shape: Sequence[int]) -> int:
        return round(2.5 * math.prod(shape) * math.log2(shape[dim[-1]]))

    def inverse(shape: Sequence[int], dim: Sequence[int], norm: int, n: int, out_shape: Sequence[int]) -> int:
        return round(2.5 * math.prod(out_shape) * math.log2(n))

    recipe = Recipe.from_config(info.generator["config"], instantiate_trusted)
    waveform = torch.from_numpy(recipe.render(recipe.values(0, 1)))
    ffts = {torch.ops.aten._fft_r2c: forward, torch.ops.aten._fft_c2r: inverse}
    with FlopCounterMode(display=False, custom_mapping=ffts) as counter:
        recipe.representation.to_image(waveform)
    return counter.get_total_flops() // 2


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def measure(job: Job) -> tuple[str, dict[str, Any]]:
    """Train and test, as `src/train.py` does.

    Returns:
        Key of the run, and what is kept of it.
    """
    cell, n_steps = job.cell, job.cost["steps"]
    cfg = config_of(job, *schedule(n_steps))
    extras(cfg)
    lightning.seed_everything(cell.seed, workers=True, verbose=False)
    module, datamodule = set_up(cfg)
    trainer = instantiate(cfg.trainer, callbacks=instantiate_callbacks(cfg.callbacks), logger=False)
    start = time.monotonic()
    trainer.fit(module, datamodule=datamodule)
    seconds = time.monotonic() - start
    trainer.test(module, datamodule=datamodule, ckpt_path="best", verbose=False, weights_only=True)
    if trainer.global_step < n_steps - VALIDATIONS:
        raise RuntimeError(f"{cell.key}: {trainer.global_step} steps of training instead of {n_steps}.")
    metrics = {name: float(figure) for name, figure in trainer.callback_metrics.items()}
    run = {
        "set": cell.set,
        "representation": cell.representation.name,
        "model": cell.model,
        "sounds": cell.size,
        "seed": cell.seed,
        "budget": job.budget,
        "seconds": round(seconds, 1),
        "epochs": round(n_steps / trainer.num_training_batches, 2),
        **job.cost,
        **{name: metrics[f"test/{of}"] for name, of in FIGURES.items()},
        "heads": {head: {name: metrics[f"test/{head}_{of}"] for name, of in FIGURES.items()} for head in module.names},
    }
    return cell.key, run


def start_worker() -> None:
    """Prepare a process of the pool: it uses one core, and leaves Ctrl-C to the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its lines would tear the progress bar


def make_sets(grid: RunGrid, wanted: Sequence[Cell]) -> None:
    """Synthesize the datasets of some runs that are not there yet.

    Raises:
        ConfigError: If the disk does not hold them.
    """
    pairs = dict.fromkeys((cell.set, cell.representation) for cell in wanted)
    missing = [pair for pair in pairs if not grid.data_dir(*pair).exists()]
    grid.sets_dir.mkdir(parents=True, exist_ok=True)
    needed = sum(set_bytes(grid, *pair) for pair in missing)
    free = shutil.disk_usage(grid.sets_dir).free
    if needed > free:
        raise ConfigError(
            f"{grid.sets_dir}: the datasets of the study take another {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB "
            "are free. Make room, link that directory to another disk, or leave the bit streams out with "
            "--only 'log|multi|\\+|waveform'."
        )
    for pair in pairs:
        data_dir = grid.data_dir(*pair)
        make_dataset(data_dir, *grid.recipe(*pair), name=data_dir.name)


def set_bytes(grid: RunGrid, set_name: str, representation: Representation) -> int:
    """Bytes of a dataset's records."""
    config_name, overrides = grid.recipe(set_name, representation)
    recipe = recipe_of(config_name, *overrides)
    record = record_dtype(recipe.representation.image_shape, len(recipe.space.varying), METADATA_BYTES)
    return recipe.size * record.itemsize


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other processes from writing to a directory.

    Raises:
        ConfigError: If another one does.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_directory(directory)
    except BlockingIOError as error:
        raise ConfigError(
            f"{directory}: another process is at this study. Wait for it, or give this one an --output of another name."
        ) from error
    try:
        yield
    finally:
        os.close(lock)


def run_all(grid: RunGrid, cells: Sequence[Cell], budget: float, jobs: int, output_dir: Path) -> None:
    """Measure some runs, a process on each core, and keep every result when it is there."""
    runs_dir = ROOT / "logs" / output_dir.name

    def job_of(cell: Cell) -> Job:
        directory = runs_dir / re.sub(r"\W+", "-", cell.key)
        cost = costs.get(cell.arm, {}).get(f"{budget:g}")
        return Job(cell, grid.data_dir(cell.set, cell.representation), directory, budget, cost)

    with alone(runs_dir), multiprocessing.get_context("spawn").Pool(jobs, start_worker) as pool:
        costs = read_json(output_dir / COSTS)
        runs = read_json(output_dir / RUNS)
        largest = {cell.arm: replace(cell, size=max(grid.sizes)) for cell in cells}
        unknown = [job for job in map(job_of, largest.values()) if job.cost is None]
        found: dict[str, dict[str, int]] = {}
        with progress(len(unknown) * ROUNDS, "measuring steps", "networks") as advance:
            for arm, cost in pool.imap_unordered(calibrate, unknown * ROUNDS):
                found[arm] = max(found.get(arm, cost), cost, key=lambda entry: entry["steps"])
                advance(1)
        for arm, cost in found.items():
            costs.setdefault(arm, {})[f"{budget:g}"] = cost
        write_json(costs, output_dir / COSTS)
        with progress(len(cells), "training", "runs") as advance:
            for key, run in pool.imap_unordered(measure, map(job_of, cells)):
                runs[key] = run
                write_json(runs, output_dir / RUNS)
                advance(1)


def positive(text: str) -> float:
    """A number above 0, of the command line."""
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def count(text: str) -> int:
    """A whole number above 0, of the command line."""
    return int(positive(str(int(text))))


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression, of the command line."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=positive, help=f"seconds of a training ({BUDGET:g}, quick: {QUICK_BUDGET:g})")
    parser.add_argument("--only", type=pattern, default="", help="regular expression; only runs whose name it matches")
    parser.add_argument("--jobs", type=count, default=os.cpu_count(), help="runs at a time, a core each")
    parser.add_argument("--quick", action="store_true", help="a corner of it, into logs/study-quick")
    parser.add_argument("--output", type=Path, help="directory of the results (docs/study)")
    parser.add_argument("--list", action="store_true", help="list what would run")
    parser.add_argument("--page", action="store_true", help="write tables and figures from the runs that are there")
    options = parser.parse_args(arguments)
    options.budget = options.budget or (QUICK_BUDGET if options.quick else BUDGET)
    options.output = options.output or (ROOT / "logs" / "study-quick" if options.quick else ROOT / "docs" / "study")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not there yet; returns the exit code."""
    prepare_streams()
    options, terminal, code = parse(arguments), console(), 0
    grid = QUICK if options.quick else FULL
    runs = read_json(options.output / RUNS)
    left = [cell for cell in grid.cells() if cell.key not in runs and re.search(options.only, cell.key)]
    if options.list:
        for cell in left:
            terminal.print(cell.key)
        return 0
    if left and not options.page:
        terminal.print(f"{len(left)} runs of {options.budget:g} s, {options.jobs} at a time")
        try:
            make_sets(grid, left)
            run_all(grid, left, options.budget, options.jobs, options.output)
        except NSMError as error:
            terminal.print(str(error), style="red", soft_wrap=True)
            return 1
        except KeyboardInterrupt:
            terminal.print("Interrupted. The same command continues with the runs that are left.")
            code = EXIT_INTERRUPTED
    if runs := read_json(options.output / RUNS):
        keep(runs, options.output)
        terminal.print(f"Results: {options.output / 'index.md'}", soft_wrap=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
