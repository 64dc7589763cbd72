"""What several scripts measure or draw: generators, networks with their data, and the time that calls of them take."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
import numpy as np  # noqa: E402
from hydra import compose  # noqa: E402
from lightning.pytorch import LightningModule  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

from scripts.pages import read_json  # noqa: E402
from src.checkpoints.run import build_model  # noqa: E402
from src.checkpoints.trusted import instantiate_own  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.errors import NSMError  # noqa: E402
from src.files import claim_directory  # noqa: E402
from src.hydra_versions import initialize_configs, instantiate  # noqa: E402
from src.models.costs import cpu_threads  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.programs.run_dirs import register_resolvers  # noqa: E402
from src.recipe import Recipe  # noqa: E402

CONFIGS = ROOT / "configs"
# Overrides of train.py for a run of which results.json is all that is read.
QUIET = (
    *("trainer=cpu", "callbacks.rich_progress_bar=null", "callbacks.head_figures=null"),
    *("++callbacks.audio_examples=null", "extras.print_config=false"),
    *("+trainer.enable_progress_bar=false", "+trainer.enable_model_summary=false"),
)


def compose_config(name: str, *overrides: str) -> DictConfig:
    """A configuration below `configs`, as a program would read it."""
    register_resolvers()
    with initialize_configs(CONFIGS):
        return compose(name, list(overrides))


def recipe_of(config_name: str, *overrides: str) -> Recipe:
    """The recipe that `generate_vimh.py --config-name=CONFIG_NAME overrides` follows."""
    return Recipe.from_config(compose_config(config_name, *overrides), instantiate_own)


def set_up(cfg: DictConfig) -> tuple[LightningModule, VIMHDataModule]:
    """Network and data of a configuration of `train.py`; a missing dataset is synthesized."""
    datamodule = instantiate(cfg.data)
    datamodule.prepare_data()
    return build_model(cfg, datamodule.info, datamodule.aux_statistics()), datamodule


def optimizer_step(module: LightningModule, optimizer: Optimizer, batch: Mapping[str, Tensor]) -> None:
    """A step of training without Lightning, metrics and logging."""
    optimizer.zero_grad()
    module.compute_loss(module(batch["image"], batch["aux"]), batch).backward()
    optimizer.step()


class Spent(NamedTuple):
    """Seconds that a program took: of all cores together, with the processes that it started, and of the clock."""

    core: float
    wall: float


def run_program(*command: str, **environment: str) -> Spent:
    """Run a program of this project in a process of its own.

    Args:
        *command: File and arguments.
        **environment: Variables on top of those of this process.

    Raises:
        NSMError: If it fails.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL
    )
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise NSMError(f"{command[0]} failed with exit code {process.returncode}: {' '.join(command[1:])}")
    return Spent(used.ru_utime + used.ru_stime, time.monotonic() - start)


def results_of(name: str, *command: str, **environment: str) -> tuple[dict[str, Any], Spent]:
    """Run a program that writes `results.json`, in a process and in a directory below `logs` of its own.

    Args:
        name: Of the directory, as PLACE/WHAT; the time is added to it.
        *command: File and arguments.
        **environment: Variables on top of those of this process.

    Returns:
        What it wrote, and what it took.
    """
    place, _, what = name.partition("/")
    run_dir = claim_directory(ROOT / "logs" / place / re.sub(r"\W+", "_", f"{what}_{time.time():.0f}"))
    spent = run_program(*command, f"hydra.run.dir={quoted(str(run_dir))}", **environment)
    return read_json(run_dir / "results.json"), spent


def moog_set(name: str, size: int, seed: int = 42) -> tuple[str, ...]:
    """Overrides of `train.py` that name a Moog set of any size and seed, and make it where it is missing.

    Args:
        name: `basic`, `envelope` or `resonance`.
        size: Sounds, those of the test among them.
        seed: Of the dataset; sets of different seeds have no sound in common.
    """
    data_dir = re.sub(r"\d+dss", f"{size}dss", compose_config("train", f"data=moog_{name}").data.data_dir)
    settings = [f"dataset.size={size}", f"dataset.seed={seed}"]
    if seed != 42:
        data_dir += f"_seed{seed}"
        settings.append(f"dataset.suffix=seed{seed}")
    return f"data.data_dir={quoted(data_dir)}", f"data.make_dataset.overrides=[{','.join(map(quoted, settings))}]"


def sound_seconds(
    module: LightningModule, datamodule: VIMHDataModule, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Seconds that a training sound takes: in a step of training, and to be made where sounds are streamed, else 0."""
    optimizer = module.make_optimizer(params=module.parameters())
    batch_size, n_samples = datamodule.batch_size, len(datamodule.train_set)
    times = []
    for first in range(0, 12 * batch_size, batch_size):
        batch = datamodule.train_set[np.arange(first, first + batch_size) % n_samples]
        times.append(seconds_of(lambda batch=batch: optimizer_step(module, optimizer, batch), clock))
    step = statistics.median(times[2:]) / batch_size
    if not datamodule.stream:
        return step, 0.0
    make = datamodule.stream_source(datamodule.info)
    with cpu_threads(1):
        make(0, 64)
        return step, seconds_of(lambda: make(64, 576), clock) / 512


def seconds_of(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of a call."""
    start = clock()
    call()
    return clock() - start


def median_seconds(call: Callable[[], Any], repeats: int = 7, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of a call, after one that does not count."""
    call()
    return statistics.median(seconds_of(call, clock) for _ in range(repeats))


def core_seconds(call: Callable[[], Any]) -> float:
    """Median time that a call keeps one core busy; what else the machine does stays out of it, but for its memory."""
    return median_seconds(call, 25, time.thread_time)
