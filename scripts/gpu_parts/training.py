"""`src/train.py` with its callbacks: what it reaches within a time, and the memory that it takes."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from scripts.gpu_parts import data
from scripts.gpu_parts.child import Place, Row
from scripts.pages import read_json, write_json
from src.errors import ConfigError
from src.overrides import quoted

SHARE_TO_TRAIN = 0.9  # of what a budget leaves after starting and testing: the pace is not always the same
TO_TEST = 8.0  # s before the end of a part in which a training must stop, however far it is
NOTES = "clock.jsonl"
MIB = 2**20
SETTLED = 0.2  # share of the samples of a training's memory that are taken before it has settled


@dataclass(frozen=True)
class Case:
    """A network on streamed sounds of a set.

    Attributes:
        name: Of the set.
        model: A configuration of the group `model`.
        tried: Epochs from which the pace is read.
    """

    name: str
    model: str
    tried: int

    @property
    def title(self) -> str:
        """What its findings are called."""
        return f"{self.name} {self.model}"


BASIC = Case("basic", "cnn_tiny", 6)
ENVELOPE = Case("envelope", "cnn_64k", 4)
RESONANCE = Case("resonance", "cnn_64k", 4)
CASES = (BASIC, ENVELOPE, RESONANCE)


@dataclass(frozen=True)
class Sizes:
    """How much is trained on.

    Attributes:
        batch: Sounds of a step.
        epoch: Sounds of an epoch: so many that a validation and a checkpoint hardly count.
        short: The same where only the pace is wanted.
    """

    batch: int
    epoch: int
    short: int


FULL, SMALL = Sizes(2048, 2**21, 2**20), Sizes(32, 128, 128)


def sizes(place: Place) -> Sizes:
    """Those of a part."""
    return SMALL if place.small else FULL


@dataclass(frozen=True)
class Pace:
    """How fast a training is.

    Attributes:
        sounds_per_second: From its second epoch on, validations, checkpoints and all callbacks included.
        overhead: Seconds of the rest: the program's start, what the first epoch prepares, the test.
    """

    sounds_per_second: float
    overhead: float

    def epochs(self, seconds: float, n_sounds: int) -> int:
        """Epochs of so many sounds that fit into a time, from the command to the result."""
        return max(1, int(SHARE_TO_TRAIN * (seconds - self.overhead) * self.sounds_per_second / n_sounds))


class Ran(NamedTuple):
    """A training that is over.

    Attributes:
        seconds: From the command to the result.
        notes: What `Clock` wrote.
        results: Its `results.json`; empty if it was not tested.
    """

    seconds: float
    notes: list[dict[str, Any]]
    results: dict[str, Any]

    @classmethod
    def read(cls, run_dir: Path, seconds: float) -> "Ran":
        """What a run has left in its directory."""
        notes = (run_dir / NOTES).read_text(encoding="utf-8").splitlines()
        return cls(seconds, list(map(json.loads, notes)), read_json(run_dir / "results.json"))


def train(place: Place, title: str, case: Case, *overrides: str) -> Ran:
    """Run `src/train.py` on a set of this bench.

    Args:
        place: Where.
        title: Name of the run.
        case: Set and network.
        *overrides: Further ones.

    Raises:
        ConfigError: If it fails.
    """
    run_dir = run_dir_of(place, title)
    command = [sys.executable, "src/train.py", f"hydra.run.dir={quoted(str(run_dir))}"]
    start = time.monotonic()
    code = subprocess.run([*command, *overrides_of(place, title, case), *overrides], check=False).returncode
    seconds = time.monotonic() - start
    if code:
        raise ConfigError(f"The training {title} ended with {code}; gpu.log has what it printed.")
    return Ran.read(run_dir, seconds)


def run_dir_of(place: Place, title: str) -> Path:
    """Where a run is written."""
    return place.directory / "runs" / title.replace(" ", "_")


def overrides_of(place: Place, title: str, case: Case) -> list[str]:
    """What all trainings of this bench have in common: the set and the network, the device, and a clock."""
    return [
        *(f"experiment=moog_cnn_{case.name}", f"model={case.model}"),
        "trainer=gpu" if place.device == "cuda" else "trainer=cpu",
        f"paths.log_dir={quoted(str(place.directory / 'logs'))}",
        f"data.data_dir={quoted(str(place.directory / 'data' / case.name))}",
        f"data.make_dataset.overrides=['dataset.size={data.size(place)}']",
        f"data.make_dataset.name={case.name}",
        "+callbacks.clock._target_=scripts.gpu_parts.clock.Clock",
        f"+callbacks.clock.path={quoted(str(run_dir_of(place, title) / NOTES))}",
        f"+callbacks.clock.end={place.start + place.seconds - TO_TEST}",
    ]


def stream(place: Place, epochs: int, epoch: int) -> list[str]:
    """Overrides that train on fresh sounds, for some epochs of so many sounds."""
    size = [f"data.batch_size={sizes(place).batch}", f"data.stream_size={epoch}"]
    return ["data.stream=true", *size, f"trainer.max_epochs={epochs}"]


def steps_per_second(notes: Sequence[dict[str, Any]]) -> float:
    """Of a training, from its second epoch on, up to the beginning of the last."""
    first, last = notes[1], notes[-2]
    return (last["steps"] - first["steps"]) / (last["time"] - first["time"])


def measured_pace(place: Place, case: Case) -> Pace:
    """The pace of a training on a stream, as it was kept, or from a short one."""
    path = pace_path(place, case)
    if not path.exists():
        keep_pace(place, case, train(place, f"pace {case.title}", case, *short_stream(place, case)))
    return Pace(**read_json(path))


def short_stream(place: Place, case: Case) -> list[str]:
    """Overrides of a training from which the pace is read."""
    return stream(place, tried(place, case), sizes(place).short)


def tried(place: Place, case: Case) -> int:
    """Its epochs."""
    return 3 if place.small else case.tried


def keep_pace(place: Place, case: Case, ran: Ran, start_up: float = 0.0) -> Pace:
    """The pace of such a training, kept for the other parts.

    Args:
        place: Where.
        case: What was trained.
        ran: The training.
        start_up: Seconds that the program took before.
    """
    rate = steps_per_second(ran.notes) * sizes(place).batch
    n_sounds = tried(place, case) * sizes(place).short
    pace = Pace(rate, start_up + max(0.0, ran.seconds - n_sounds / rate))
    write_json(asdict(pace), pace_path(place, case))
    return pace


def pace_path(place: Place, case: Case) -> Path:
    """Where the pace is kept."""
    return place.directory / f"{case.name}.pace"


def train_within(place: Place, case: Case, title: str, *overrides: str) -> tuple[Ran, int]:
    """A training on a stream that takes as long as its part may, and the epochs that were meant to fit."""
    epoch = sizes(place).epoch
    epochs = 4 if place.small else measured_pace(place, case).epochs(place.left, epoch)
    return train(place, f"{title} {case.title}", case, *stream(place, epochs, epoch), *overrides), epochs


def reached(place: Place, case: Case) -> Iterator[Row]:
    """What a training reaches within the time of its part, from the command to the result."""
    ran, epochs = train_within(place, case, "training")
    metrics = ran.results["metrics"]
    yield (
        f"training {case.title}",
        {
            "seconds": ran.seconds,
            "sounds": ran.results["training_samples"],
            "sounds_per_second": steps_per_second(ran.notes) * sizes(place).batch,
            "ended_early": ran.results["epochs"] < epochs,
            **{key: ran.results[key] for key in ("epochs", "parameters")},
            **{key: metrics[f"test/{key}"] for key in ("acc", "nmae", "steps")},
        },
    )
    yield f"memory {case.title}", growth(ran.notes)


def envelope(place: Place) -> Iterator[Row]:
    """The goal of three minutes."""
    yield from reached(place, ENVELOPE)


def basic(place: Place) -> Iterator[Row]:
    """A goal of one minute."""
    yield from reached(place, BASIC)


def resonance(place: Place) -> Iterator[Row]:
    """The other goal of one minute."""
    yield from reached(place, RESONANCE)


def memory(place: Place) -> Iterator[Row]:
    """Memory of a stream as long as there is time."""
    ran, _ = train_within(place, ENVELOPE, "memory", "test=false")
    yield f"memory {ENVELOPE.title}", growth(ran.notes)


def growth(notes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Memory at the end of a training, and by how much it grew: the slope of a straight line through the samples."""
    settled = notes[min(int(SETTLED * len(notes)), len(notes) - 2) :]
    minutes = [(note["time"] - settled[0]["time"]) / 60 for note in settled]
    found: dict[str, Any] = {"samples": len(settled), "seconds": 60 * minutes[-1]}
    for where in ("host", "device"):
        mib = [note[where] / MIB for note in settled]
        found |= {f"{where}_mib": mib[-1], f"{where}_mib_per_minute": statistics.linear_regression(minutes, mib).slope}
    return found
