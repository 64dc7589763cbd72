"""The pace of trainings with all that `src/train.py` does, on a stored set and on streams, one after the other.

They are called in this process, so that the time goes into training and not into imports.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from scripts.gpu_parts.child import Place, Row
from scripts.gpu_parts.training import (
    BASIC,
    CASES,
    Case,
    Ran,
    keep_pace,
    overrides_of,
    run_dir_of,
    short_stream,
    steps_per_second,
)
from scripts.setups import compose_config
from src.errors import ConfigError
from src.overrides import quoted
from src.tasks.train import train

STORED_BATCH = 128
PLACES = ("root_dir", "output_dir", "work_dir")


def measure(place: Place) -> Iterator[Row]:
    """The pace of each; each is tried whatever becomes of the others.

    Raises:
        ConfigError: If one failed.
    """
    start_up = time.monotonic() - place.start
    cases = CASES[:1] if place.small else CASES
    failed = []
    for measured in (stored, *(partial(streamed, case=case, start_up=start_up) for case in cases)):
        try:
            yield measured(place)
        except Exception as error:  # of CUDA too; the paces that are missing are measured where they are needed
            failed.append(f"{type(error).__name__}: {error}")
    if failed:
        raise ConfigError(" ".join(failed))


def stored(place: Place) -> Row:
    """The pace on the stored set of 16,384 sounds."""
    epochs = 3 if place.small else 30
    overrides = [f"data.batch_size={STORED_BATCH}", "data.stream=false", f"trainer.max_epochs={epochs}"]
    ran = train_here(place, f"stored {BASIC.title}", BASIC, *overrides)
    figures = {"ms_per_step": 1e3 / steps_per_second(ran.notes), "batch": STORED_BATCH, "seconds": ran.seconds}
    return f"stored {BASIC.title}", figures


def streamed(place: Place, case: Case, start_up: float) -> Row:
    """The pace on a stream."""
    ran = train_here(place, f"speed {case.title}", case, *short_stream(place, case))
    return f"stream {case.title}", asdict(keep_pace(place, case, ran, start_up))


def train_here(place: Place, title: str, case: Case, *overrides: str) -> Ran:
    """Train and test as `src/train.py` does; arguments as for `scripts.gpu_parts.training.train`."""
    run_dir = run_dir_of(place, title)
    run_dir.mkdir(parents=True)
    places = [f"paths.{name}={quoted(str(run_dir))}" for name in PLACES]
    cfg = compose_config("train", *overrides_of(place, title, case), *places, *overrides)
    start = time.monotonic()
    train(cfg)
    return Ran.read(run_dir, time.monotonic() - start)
