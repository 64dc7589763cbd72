"""Sample → render → represent → write: how a configuration becomes a dataset."""

import json
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numba
import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from src.errors import ConfigError, VIMHError, check_number
from src.hydra_versions import initialize_configs, instantiate
from src.overrides import quoted
from src.recipe import PERTURB, ROOT, WHOLE, DeviceMaker, Recipe, differences, recipe_config
from src.recipe.device import Begun, Made
from src.vimh.format import INFO_NAME
from src.vimh.info import DatasetInfo, Shard
from src.vimh.reader import Batch, VIMHReader, read_info
from src.vimh.writer import VIMHWriter, check_name, settle

log = logging.getLogger(__name__)

PATIENCE = 60.0  # s until a batch that is waited for is named, and from then on between such messages


def generate(
    recipe: Recipe,
    data_dir: Path,
    batch_size: int = 256,
    overwrite: bool = False,
    pickle: bool = False,
    shard: Shard = WHOLE,
    resume: bool = False,
    advance: Callable[[int], None] = lambda n: None,
) -> int:
    """Write the dataset of a recipe, or a shard of it.

    Args:
        recipe: What to make.
        data_dir: The dataset's directory to be.
        batch_size: Sounds at a time; it changes no byte of the result.
        overwrite: Replace a dataset that is there.
        pickle: Write legacy pickle copies as well.
        shard: Which part of the dataset.
        resume: Continue what an interrupted call with the same arguments left.
        advance: Called with the number of samples just done, for a progress bar.

    Returns:
        Number of samples made: all, unless an interrupted call left some.

    Raises:
        BusyError: If another process is making the same dataset.
        ExistsError: If a dataset is there already.
        VIMHError: If something else is, or the disk refuses.
    """
    check_number("batch_size", batch_size, whole=True, least=1)
    recipe.check()
    with VIMHWriter(data_dir, recipe.info(data_dir.name, shard), overwrite, pickle, resume) as writer:
        n_left = sum(writer.written.values())
        if n_left:
            advance(n_left)
        for split, sounds in _pipeline(recipe, recipe.batches(batch_size, shard, dict(writer.written))):
            writer.write(split, *sounds)
            advance(len(sounds.value))
    return sum(writer.written.values()) - n_left


def _pipeline(recipe: Recipe, batches: Iterator[tuple[str, int, int]]) -> Iterator[tuple[str, Batch]]:
    """Batches in order, each made from its numbers by one thread: only the thread that writes waits for others.

    A synth that must stay on its thread renders on this one.
    """
    if not recipe.threads:
        for split, start, stop in batches:
            with _named_if_slow(split, start, stop), _one_core():
                batch = recipe.make(start, stop)
            yield split, batch
        return
    n_workers = numba.get_num_threads()
    pool = ThreadPoolExecutor(n_workers, initializer=_use_one_core)
    pending: deque[tuple[str, int, int, Future[Batch]]] = deque()
    try:
        for split, start, stop in batches:
            pending.append((split, start, stop, pool.submit(recipe.make, start, stop)))
            if len(pending) > 2 * n_workers:
                yield _result(*pending.popleft())
        while pending:
            yield _result(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt, only the batches that have begun are waited for


def _result(split: str, start: int, stop: int, future: Future[Batch]) -> tuple[str, Batch]:
    """Split and batch, when it is made."""
    with _named_if_slow(split, start, stop):
        return split, future.result()


@contextmanager
def _named_if_slow(split: str, start: int, stop: int) -> Iterator[None]:
    """Log which samples are waited for, as often as `PATIENCE` passes, while the body runs."""
    done = Event()

    def watch() -> None:
        minutes = 0
        while not done.wait(PATIENCE):
            minutes += 1
            log.warning(
                "Still waiting for samples %d to %d (%s) of the synth, for %.0f s now.",
                *(start, stop - 1, split, minutes * PATIENCE),
            )

    Thread(target=watch, name="patience", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _use_one_core() -> None:
    """Keep the libraries from starting threads of their own in this one."""
    numba.set_num_threads(1)
    torch.set_num_threads(1)


@contextmanager
def _one_core() -> Iterator[None]:
    """The same in the thread of the caller, while the body runs: no byte may depend on the number of cores."""
    n_threads = numba.get_num_threads(), torch.get_num_threads()
    _use_one_core()
    try:
        yield
    finally:
        numba.set_num_threads(n_threads[0])
        torch.set_num_threads(n_threads[1])


def is_made(data_dir: Path, config: Mapping[str, Any], shard: Shard = WHOLE) -> bool:
    """Whether the dataset of this configuration is there already.

    Args:
        data_dir: Where it would be.
        config: From `recipe_config`.
        shard: Which part of it.

    Returns:
        True if it is there, False if nothing is.

    Raises:
        VIMHError: If another dataset, a damaged one, or something else, is in its place.
    """
    settle(data_dir)
    if not os.path.exists(data_dir):
        return False
    info = VIMHReader(data_dir).info
    if info.generator is None:
        raise VIMHError(
            f"{data_dir}: was not made by this generator, its {INFO_NAME} has no entry `generator`. Choose another "
            "dataset.name."
        )
    stored = info.generator.get("config")
    lines = differences(stored if isinstance(stored, Mapping) else {}, json.loads(json.dumps(config)))
    lines += differences(dict(info.shard or WHOLE), dict(shard), "shard")
    if lines:
        raise VIMHError(
            f"{data_dir}: was made from another configuration than the one asked for:\n  " + "\n  ".join(lines) + "\n"
            "Choose another name (dataset.suffix=…), or replace it with overwrite=true of generate_vimh.py. To train "
            "on it as it is: data.make_dataset=null."
        )
    return True


def set_name(cfg: DictConfig, recipe: Recipe, choices: Mapping[str, Any]) -> str:
    """What the directory of a dataset is called: as the user says, or as the format prescribes.

    The prescribed name ends with the suffix that the user says, or else with how the sounds are perturbed.

    Args:
        cfg: The generator configuration.
        recipe: Made of it.
        choices: Group of configurations to the option that was chosen, as Hydra has them.
    """
    suffix = cfg.dataset.suffix
    if suffix is None and cfg.get(PERTURB):
        chosen = choices.get(PERTURB)
        suffix = chosen if chosen not in (None, "none") else "_".join(cfg[PERTURB])
    return str(cfg.dataset.name or recipe.directory_name(suffix))


def generator_config(config_name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """A generator configuration, with Hydra's own section.

    Args:
        config_name: Primary configuration of `generate_vimh.py`, such as `synth/generate_simple_saw`.
        overrides: Hydra overrides, such as `dataset.size=256`.
    """
    inside_hydra = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside_hydra else initialize_configs(ROOT / "configs"):
        return compose(config_name, list(overrides), return_hydra_config=True)


def make_dataset(
    data_dir: str | Path, config_name: str, overrides: Sequence[str] = (), name: str | None = None
) -> None:
    """Make sure that the dataset of a generator configuration is there; synthesize it if it is not.

    A dataset of another program that is there is left as it is: whoever names its directory wants it.
    A missing one is made under the name that its configuration prescribes, so that no mistyped name is trained on.

    It is made in a process of its own: threads that render would not survive the forks of data loading. Of several
    programs that miss the same dataset one makes it, and the others wait.

    Args:
        data_dir: Where it is or will be.
        config_name: Primary configuration of `generate_vimh.py`, such as `synth/generate_simple_saw`.
        overrides: Hydra overrides, such as `dataset.size=256`.
        name: Of the directory, if it is to be another one than `set_name`.

    Raises:
        VIMHError: If another dataset is in its place, a missing one has another name, or the generator failed.
    """
    data_dir = Path(data_dir).absolute()
    if os.path.exists(data_dir) and read_info(data_dir).generator is None:
        return
    cfg = generator_config(config_name, overrides)
    if is_made(data_dir, recipe_config(cfg)):
        return
    recipe = Recipe.from_config(cfg, lambda section, slot, **arguments: instantiate(section, **arguments))
    check_name(data_dir, set_name(cfg, recipe, cfg.hydra.runtime.choices), name)
    command = [sys.executable, str(ROOT / "generate_vimh.py"), f"--config-name={config_name}", *overrides]
    command += [f"output_dir={quoted(str(data_dir.parent))}", f"dataset.name={quoted(data_dir.name)}"]
    if subprocess.run(command, check=False).returncode:
        raise VIMHError(f"{data_dir}: the dataset is missing, and could not be made. The message above says why.")


@dataclass(frozen=True)
class FreshSounds:
    """Makes the sounds of an endless list, of the kind of a dataset and none of them in it: see `Recipe.make_fresh`.

    Each of its threads computes on one core: the others are left to the training.

    Args:
        recipe: Of the dataset.
    """

    recipe: Recipe

    def __call__(self, start: int, stop: int) -> Batch:
        """Sounds `start` to `stop - 1`, made on the CPU."""
        with _one_voice_thread():
            return self.recipe.make_fresh(start, stop)

    def on(self, device: torch.device) -> "FreshBlocks":
        """What makes blocks of them on a device."""
        return FreshBlocks(DeviceMaker(self.recipe, device))


@dataclass(frozen=True)
class FreshBlocks:
    """Makes blocks of fresh sounds on a device; as `FreshSounds`, each thread on one core.

    Args:
        maker: Of the dataset's recipe, for the device.
    """

    maker: DeviceMaker

    def begin(self, start: int, stop: int) -> Begun:
        """The part of the sounds `start` to `stop - 1` that is the CPU's."""
        with _one_voice_thread():
            return self.maker.begin_fresh(start, stop)

    def finish(self, begun: Begun) -> Made:
        """The part of the device."""
        return self.maker.finish(begun)

    def settings(self) -> dict[str, int]:
        """What a `Stream` of them is told: see there. Logs that the sounds will travel, and why."""
        if reason := self.maker.why_not_rendered:
            log.info("Sounds are rendered on the CPU: %s.", reason)
        n_threads = max(1, numba.get_num_threads() - 1) if reason else 1  # one core is left to the training
        return {"block_size": self.maker.block_size, "n_threads": n_threads, "ahead": n_threads}


@contextmanager
def _one_voice_thread() -> Iterator[None]:
    """Let synths render on the thread of the caller alone, while the body runs."""
    n_threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(n_threads)


def fresh_sounds(info: DatasetInfo, instantiate: Callable[..., Any]) -> FreshSounds:
    """What makes sounds of the kind of a dataset which are not in it.

    Args:
        info: The dataset's JSON.
        instantiate: Makes an object from a section of the generator configuration, which came out of a file.

    Raises:
        VIMHError: If the dataset does not say how it was made.
        ConfigError: If it cannot be made that way, or the synth stays on one thread.
    """
    config = (info.generator or {}).get("config")
    if not isinstance(config, Mapping):
        raise VIMHError(
            f"{info.title}: its {INFO_NAME} has no generator.config, so it is unknown how to "
            "make more sounds of its kind. Set data.stream=false, or generate the set with generate_vimh.py."
        )
    recipe = Recipe.from_config(config, instantiate)
    if (recipe.space.varying, recipe.representation.image_shape) != (info.parameters, info.image_shape):
        raise VIMHError(
            f"{info.title}: generator.config in its {INFO_NAME} describes other parameters or "
            "images than the dataset has. Set data.stream=false, or generate the set again."
        )

    if not recipe.threads:
        raise ConfigError(
            f"{type(recipe.synth).__name__} renders on one thread alone (its `threads` is false), and fresh sounds are "
            "rendered on another than the training. Set data.stream=false."
        )
    return FreshSounds(recipe)
