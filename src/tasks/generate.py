"""Synthesizes a VIMH dataset.

    python generate_vimh.py --config-name=synth/generate_simple_saw dataset.size=16384

`--help` shows every key of the configuration; any of them can be overridden.
"""

import time
from pathlib import Path

import numba
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.checkpoints.trusted import instantiate_own
from src.errors import check_number
from src.generation import generate, is_made, set_name
from src.programs.output import progress
from src.recipe import Recipe
from src.sections import read_section
from src.synth import kernels
from src.text import complain, say
from src.vimh.info import Shard
from src.vimh.reader import VIMHReader
from src.vimh.writer import BusyError, ExistsError, partial_dir, wait_for_writer


def generate_dataset(cfg: DictConfig) -> None:
    """Make the dataset of a configuration, or find it made already."""
    recipe = Recipe.from_config(cfg, instantiate_own)
    shard = read_section(Shard, cfg.shard, "shard")
    n_samples = sum(end - first for first, end in recipe.ranges(shard).values())
    name = set_name(cfg, recipe, HydraConfig.get().runtime.choices)
    data_dir = Path(cfg.output_dir) / (name if shard.count == 1 else f"{name}_part{shard.index}of{shard.count}")
    while cfg.overwrite or not is_made(data_dir, recipe.config, shard):
        try:
            return make(cfg, recipe, data_dir, shard, n_samples)
        except BusyError:  # should that process end without the dataset, this one makes it
            complain(f"Another process is making {data_dir}. Waiting for it ...")
            wait_for_writer(data_dir)
        except ExistsError:  # another process has just made it
            continue
    say(f"Kept: {data_dir} was made from this configuration already.")


def make(cfg: DictConfig, recipe: Recipe, data_dir: Path, shard: Shard, n_samples: int) -> None:
    """Write the dataset, and say how long it took."""
    announce_compiling()
    if cfg.num_threads is not None:
        check_number("num_threads", cfg.num_threads, whole=True, least=1)
        numba.set_num_threads(min(cfg.num_threads, numba.config.NUMBA_NUM_THREADS))
    start = time.monotonic()
    try:
        with progress(n_samples, "Generating", "samples") as advance:
            made = generate(recipe, data_dir, cfg.batch_size, cfg.overwrite, cfg.pickle, shard, cfg.resume, advance)
    except KeyboardInterrupt:
        complain(
            f"Interrupted. The unfinished dataset is left in {partial_dir(data_dir)}; the same command replaces "
            "it, and with resume=true continues it."
        )
        raise
    seconds = time.monotonic() - start
    size = sum(path.stat().st_size for path in data_dir.iterdir())
    rate = f"{made:,} made in {seconds:.1f} s, {made / seconds:,.0f} samples/s"
    say(f"{n_samples:,} samples, {size / 1e6:.1f} MB ({rate}):", data_dir)
    n_silent = drawn_again(recipe, VIMHReader(data_dir), shard)
    if n_silent:
        say(f"{n_silent:,} of the samples drawn first have no sound, and were drawn again.")


def drawn_again(recipe: Recipe, reader: VIMHReader, shard: Shard) -> int:
    """How many samples of a dataset have other values than were drawn first: those had no sound."""
    ranges = recipe.ranges(shard)
    others = [reader.split(split).exact != recipe.first_values(*ranges[split]) for split in ranges]
    return sum(int(np.any(differs, axis=1).sum()) for differs in others)


def announce_compiling() -> None:
    """Print a line if the kernels are not compiled yet, since compiling takes seconds without any other output.

    What is wrong with those that were is printed too: the generator has no log.
    """
    if kernels.code_cache.note:
        complain(kernels.code_cache.note)
    if kernels.code_cache.is_empty:
        complain("Compiling the synthesizers, once ...")
