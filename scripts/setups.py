"""What several scripts measure or draw: generators, networks with their data, and the time that calls of them take."""

import statistics
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
from hydra import compose  # noqa: E402
from lightning.pytorch import LightningModule  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

from src.checkpoints.run import build_model  # noqa: E402
from src.checkpoints.trusted import instantiate_own  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.hydra_versions import initialize_configs, instantiate  # noqa: E402
from src.programs.run_dirs import register_resolvers  # noqa: E402
from src.recipe import Recipe  # noqa: E402

CONFIGS = ROOT / "configs"


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


def seconds_of(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of a call."""
    start = clock()
    call()
    return clock() - start


def median_seconds(call: Callable[[], Any], repeats: int = 7, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of a call, after one that does not count."""
    call()
    return statistics.median(seconds_of(call, clock) for _ in range(repeats))


def core_seconds(call: Callable[[], Any], repeats: int = 25) -> float:
    """Median time that a call keeps one core busy; what else the machine does stays out of it, but for its memory."""
    return median_seconds(call, repeats, time.thread_time)
