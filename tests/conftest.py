"""What tests of several modules share: recipes by Hydra overrides, and one small dataset per session."""

import copy
import gc
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import NamedTuple

import hypothesis
import pytest
import torch
from composing import compose_by_hydra, compose_once
from omegaconf import DictConfig

from src.checkpoints.trusted import instantiate_own
from src.generation import generate
from src.programs.run_dirs import register_resolvers
from src.readings import network
from src.recipe import Recipe
from src.tasks.train import train

# The same examples every time, and no verdict by the clock. Others, and many: pytest --hypothesis-profile=thorough
hypothesis.settings.register_profile("project", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("project")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # pytest was started in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are marked by what is not here: a CUDA device, a package, a program."""
    there = {
        "gpu": torch.cuda.is_available(),
        "soundfont": find_spec("tinysoundfont") is not None,
        "espeak": which("espeak-ng") is not None,
    }
    left_out = [item for item in items if any(item.get_closest_marker(name) and not there[name] for name in there)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what stays until the end: thousands of tests, and the libraries."""
    gc.freeze()


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """A program within a test may listen until its process ends, as a sweep does, or ignore signals from then on, as
    Lightning does: the next test has what was before.

    A handler that stayed, and remembered a signal of a later test, would end every training of the process.
    """
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(autouse=True)
def enabled_loggers() -> Iterator[None]:
    """A program within a test may have Hydra disable loggers, or set their level: the next has them as before."""
    level = logging.root.level
    yield
    logging.root.setLevel(level)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


def compose_recipe(*overrides: str, config_name: str = "synth/generate_simple_saw") -> Recipe:
    """The recipe that `generate_vimh.py --config-name=… overrides` would follow."""
    return Recipe.from_config(copy.deepcopy(compose_once(config_name, *overrides)), instantiate_own)


@pytest.fixture(scope="session")
def recipe_of() -> Callable[..., Recipe]:
    """Makes a recipe from Hydra overrides: `recipe_of("dataset.size=8")`."""
    return compose_recipe


@pytest.fixture(scope="session")
def saw_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saw dataset of 64 samples: 51 train, 13 test. It belongs to all tests: copy it to change it."""
    recipe = compose_recipe("dataset.size=64")
    data_dir = tmp_path_factory.mktemp("data") / recipe.directory_name()
    generate(recipe, data_dir)
    return data_dir


@pytest.fixture(scope="session")
def composed_copy() -> Callable[..., DictConfig]:
    """Makes a configuration with Hydra's own section, to change."""
    return lambda *given: copy.deepcopy(compose_by_hydra(*given, return_hydra_config=True))


@contextmanager
def calibrated_on(n_sounds: int) -> Iterator[None]:
    """Distances and error bars are calibrated on so many sounds, and on three times as many perturbed ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "N_CLEAN", n_sounds)
        patch.setattr(network, "N_PERTURBED", 3 * n_sounds)
        yield


@pytest.fixture(scope="session", autouse=True)
def brief_calibration() -> Iterator[None]:
    """Few sounds, to save time."""
    with calibrated_on(24):
        yield


@pytest.fixture(scope="module")
def calibration_on_80_sounds() -> Iterator[None]:
    """More of them, where figures count."""
    with calibrated_on(80):
        yield


# One CPU, and nothing on the screen.
QUIET = (
    "trainer.accelerator=cpu",
    "+trainer.enable_progress_bar=false",
    "+trainer.enable_model_summary=false",
    "extras.print_config=false",
)


SHORT_RUN = (
    "model=cnn_micro",
    "data.make_dataset.overrides=['dataset.size=64']",
    "data.batch_size=16",
    "trainer.max_epochs=2",
    "callbacks.model_checkpoint.monitor=epoch",  # the first is the best, so that it is not the last
    "trainer.log_every_n_steps=1",
    "logger=many_loggers",
)


class TrainedRun(NamedTuple):
    """Run directory, configuration and returned metrics of a training."""

    run_dir: Path
    cfg: DictConfig
    metrics: dict[str, float]


@pytest.fixture(scope="session")
def compose_run() -> Callable[..., DictConfig]:
    """Makes the configuration of `python src/{name}.py overrides`, with a run directory of the test."""

    def compose_quietly(output_dir: Path, *overrides: str, name: str = "train") -> DictConfig:
        register_resolvers()
        callbacks = ["callbacks.rich_progress_bar=null"] if name == "train" else []
        cfg = copy.deepcopy(compose_once(name, *QUIET, *callbacks, *overrides))
        for place in ("root_dir", "log_dir", "output_dir", "work_dir"):
            if not any(override.startswith(f"paths.{place}=") for override in overrides):
                cfg.paths[place] = str(output_dir)
        return cfg

    return compose_quietly


@pytest.fixture(scope="session")
def trained_run(
    compose_run: Callable[..., DictConfig], saw_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainedRun:
    """What `python src/train.py` leaves after two epochs on the saw dataset. All tests share it: change nothing."""
    run_dir = tmp_path_factory.mktemp("run")
    cfg = compose_run(run_dir, *SHORT_RUN, f"data.data_dir={saw_dir}")
    return TrainedRun(run_dir, cfg, train(cfg))
