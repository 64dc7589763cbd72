"""The live page: an instrument whose sounds a network reads (`src/play.py`)."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src.checkpoints.run import check_same_heads, load_run
from src.checkpoints.trusted import instantiate_own, instantiate_trusted
from src.errors import ConfigError, NSMError
from src.generation import generator_config, set_name
from src.instrument.app import MOST_BYTES, play_app
from src.instrument.content import HOW_TO_TRAIN
from src.instrument.instrument import Instrument, PlayedNetwork
from src.live.guard import LOOPBACK, kept_secret
from src.live.server import serve
from src.overrides import quoted
from src.playback import Playback
from src.programs.output import RankedLogger, progress
from src.programs.run_dirs import run_to_read
from src.programs.signals import Terminated, end_now
from src.readings.network import trained_on
from src.recipe import ROOT, Recipe
from src.runs import ChosenRun, find_runs
from src.sections import Flag, Modules, Section, Text, WholeNumber, read_section
from src.text import name_of, say
from src.vimh.reader import VIMHReader, VIMHSplit

log = RankedLogger(__name__)
NONE = "none"  # of runs: nothing listens


class InstrumentSettings(Section):
    """What is played, and who listens."""

    run: Text | None
    ckpt_path: Text | None
    compare: Text | None
    dataset: Text | None
    generator: Text
    trusted_modules: Modules


class PlaySettings(InstrumentSettings):
    """Settings of the program; `configs/play.yaml` explains each."""

    train_example: Flag
    host: Text
    port: WholeNumber
    browser: Flag


def play(cfg: DictConfig) -> None:
    """Serve the page as configured, until Ctrl-C."""
    settings, log_dir = read_section(PlaySettings, cfg), Path(cfg.paths.log_dir)
    if find_spec("websockets") is None:
        raise ConfigError("The package websockets is missing. Install it: sh setup.sh, or pip install -e '.[play]'")
    if settings.train_example and settings.run is None and settings.ckpt_path is None and not has_runs(log_dir):
        train_example(log_dir)
    chosen = checkpoints_of(settings, log_dir)
    with progress(1 + 3 * len(chosen), "Preparing", "steps") as advance:
        instrument = instrument_of(settings, chosen, advance)
        for _ in instrument.warm_up():
            advance(1)
    if not chosen:
        say(f"{instrument.info.title}, an instrument alone. {HOW_TO_TRAIN}")
    try:
        serve(
            play_app(instrument, local=settings.host in LOOPBACK),
            settings.port,
            message_bytes=MOST_BYTES,
            host=settings.host,
            secret=kept_secret(log_dir / "play" / "secret"),
            browser=settings.browser,
            option="port=",
        )
    except Terminated:
        raise
    except KeyboardInterrupt:  # the way in which a page ends
        say("Ended.")
        end_now(0)


def instrument_of(
    settings: InstrumentSettings, chosen: Sequence[ChosenRun], advance: Callable[[int], None] = lambda n: None
) -> Instrument:
    """The instrument, with the networks that listen to it.

    Args:
        settings: Of the program.
        chosen: The checkpoints of the networks.
        advance: Called with the number of networks just loaded.

    Raises:
        NSMError: If one cannot be read, or they do not go together.
    """
    if not chosen:
        return instrument_alone(settings)
    networks = []
    for checkpoint in chosen:
        networks.append(network_of(checkpoint, settings.trusted_modules))
        advance(1)
    first = networks[0].trained.run
    for network in networks[1:]:
        check_same_heads(first.info, network.trained.run.info, network.run)
    samples = stored_samples(settings.dataset or first.config["data"].get("data_dir"), networks[0])
    make = partial(instantiate_trusted, trusted_modules=settings.trusted_modules)
    playback = None if samples is None else Playback(samples.info, make)
    return Instrument(first.info, networks[0].trained.recipe, networks, samples, playback)


def checkpoints_of(settings: InstrumentSettings, log_dir: Path) -> list[ChosenRun]:
    """The checkpoints of the networks that listen, none, one or two.

    Raises:
        ConfigError: If one that is named is not there.
    """
    alone = settings.run == NONE or (settings.run is None and settings.ckpt_path is None and not has_runs(log_dir))
    if alone and settings.compare is not None:
        raise ConfigError(
            f"compare={settings.compare}: nothing else listens. Name the first network as well: run=NAME."
        )
    if alone:
        return []
    chosen = [run_to_read(settings.run, settings.ckpt_path, log_dir)]
    if settings.compare is not None:
        chosen.append(run_to_read(settings.compare, None, log_dir))
    return chosen


def train_example(log_dir: Path) -> None:
    """Train the example, in a process of its own, with its bar; it makes its dataset.

    Raises:
        ConfigError: If that fails.
    """
    say("No run has a checkpoint yet: the example is trained first.")
    sys.stdout.flush()
    command = [sys.executable, str(ROOT / "src" / "train.py"), "experiment=example"]
    command += [f"paths.log_dir={quoted(str(log_dir))}", "extras.print_config=false"]
    if subprocess.run(command, check=False).returncode:
        raise ConfigError("The example could not be trained; the message above says why.")


def has_runs(log_dir: Path) -> bool:
    """Whether any run has a checkpoint."""
    return any(record.checkpoint for record in find_runs(log_dir))


def network_of(chosen: ChosenRun, trusted_modules: Sequence[str]) -> PlayedNetwork:
    """A network that listens."""
    run = load_run(chosen.ckpt_path, trusted_modules)
    run.module.requires_grad_(False)
    known = chosen.run
    title = (known.network if known else None) or type(run.module.net).__name__
    return PlayedNetwork(title, known.name if known else name_of(chosen.ckpt_path), trained_on(run, 0, trusted_modules))


def stored_samples(data_dir: Any, network: PlayedNetwork) -> VIMHSplit | None:
    """The test sounds of a dataset, if it is there and the network's."""
    try:
        reader = VIMHReader(data_dir)
        check_same_heads(network.trained.run.info, reader.info, str(data_dir))
    except NSMError as error:
        log.warning("No test sounds can be called up: %s", error)
        return None
    return reader.test


def instrument_alone(settings: InstrumentSettings) -> Instrument:
    """The instrument without a network: of a dataset, or of a generator configuration."""
    make = partial(instantiate_trusted, trusted_modules=settings.trusted_modules)
    if settings.dataset is not None:
        reader = VIMHReader(settings.dataset)
        recipe = Recipe.from_info(reader.info, make)
        return Instrument(reader.info, recipe, (), reader.test, Playback(reader.info, make))
    if not (ROOT / "configs" / f"{settings.generator}.yaml").is_file():
        known = ", ".join(sorted(f"synth/{path.stem}" for path in (ROOT / "configs" / "synth").glob("*.yaml")))
        raise ConfigError(f"generator={settings.generator}: there is no such configuration. Choose one of {known}.")
    cfg = generator_config(settings.generator)
    recipe = Recipe.from_config(cfg, instantiate_own)
    return Instrument(recipe.info(set_name(cfg, recipe, cfg.hydra.runtime.choices)), recipe)
