"""The sets of the trainings, made on the CPU."""

import subprocess
import sys
import time
from collections.abc import Iterator

from scripts.gpu_parts.child import Place, Row
from src.errors import ConfigError
from src.overrides import quoted

SETS = ("basic", "envelope", "resonance")


def size(place: Place) -> int:
    """Sounds of a set."""
    return 256 if place.small else 16_384


def measure(place: Place) -> Iterator[Row]:
    """Make every set; a finding for each.

    Raises:
        ConfigError: If one could not be made; its training tries it again.
    """
    for name in SETS:
        start = time.monotonic()
        code = subprocess.run(command(name, place), check=False).returncode
        if code:
            raise ConfigError(f"The set {name} could not be made: generate_vimh.py ended with {code}.")
        yield name, {"sounds": size(place), "seconds": round(time.monotonic() - start, 1)}


def command(name: str, place: Place) -> list[str]:
    """That which makes a set."""
    return [
        *(sys.executable, "generate_vimh.py", f"--config-name=synth/generate_moog_{name}"),
        *(f"dataset.size={size(place)}", f"output_dir={quoted(str(place.directory / 'data'))}", f"dataset.name={name}"),
    ]
