"""What `scripts/bench_gpu.py` measures, in which order, and how long each part may take. Needs no packages."""

from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 10.0  # s: a part that would have less is left out
AT_THE_END = 3.0  # s, in which the last results are written


@dataclass(frozen=True)
class Part:
    """A measurement in a process of its own.

    Attributes:
        name: What `--only` calls it.
        what: What it measures, in a few words.
        measure: Dotted name of the function that does, below `scripts.gpu_parts`.
        seconds: The most that it may take, when there is time for all of them.
        beside: It runs at the same time as the others of which this is true: they measure no time.
        fills: It gets what the others leave, up to its seconds.
        needs_gpu: It has no meaning on a CPU.
        simulated: On a CPU, numba's simulator runs its kernels.
    """

    name: str
    what: str
    measure: str
    seconds: float
    beside: bool = False
    fills: bool = False
    needs_gpu: bool = False
    simulated: bool = False


PARTS = (
    Part("parity", "sounds and images beside those of the CPU", "parity.measure", 51, beside=True, simulated=True),
    Part("tests", "the tests that need a GPU", "tests.measure", 51, beside=True, needs_gpu=True),
    Part("data", "sets of 16,384 sounds for the trainings", "data.measure", 51, beside=True),
    Part("generation", "sounds and samples in a second, at several block sizes", "generation.measure", 28),
    Part("steps", "training steps, eager and captured; bare loops", "steps.measure", 30),
    Part("train", "src/train.py with its callbacks: a stored set, streams", "speed.measure", 60),
    Part("envelope", "a training of three minutes: envelope, cnn_64k", "training.envelope", 180),
    Part("basic", "a training of one minute: basic, cnn_tiny", "training.basic", 60),
    Part("resonance", "a training of one minute: resonance, cnn_64k", "training.resonance", 60),
    Part("memory", "memory over five minutes of a stream", "training.memory", 300, fills=True),
)
BY_NAME = {part.name: part for part in PARTS}

Wave = Sequence[Part]


def waves(parts: Sequence[Part]) -> list[Wave]:
    """Parts in order, those together that run side by side."""
    found: list[list[Part]] = []
    for part in parts:
        if part.beside and found and found[-1][-1].beside:
            found[-1].append(part)
        else:
            found.append([part])
    return found


def fills(wave: Wave) -> bool:
    """Whether a wave gets what the others leave."""
    return any(part.fills for part in wave)


def share(wave: Wave) -> float:
    """Seconds that a wave may take, when there is time for all."""
    return max(part.seconds for part in wave)


def limit(wave: Wave, chosen: Sequence[Part], seconds: float, left: float, stretched: bool = False) -> float:
    """Seconds that a wave gets; 0: there is no time for it.

    Args:
        wave: Of the chosen parts.
        chosen: All parts that are to run.
        seconds: For all of them. Where they are too few for the shares, each share is cut alike.
        left: How many of these are left.
        stretched: Whether shares also grow with the seconds.
    """
    left -= AT_THE_END
    shares = [share(other) for other in waves(chosen) if not fills(other)]
    scale = (seconds - AT_THE_END) / max(1.0, sum(shares))
    wanted = share(wave) * (1.0 if fills(wave) else scale if stretched else min(1.0, scale))
    return min(wanted, left) if min(wanted, left) >= LEAST else 0.0
