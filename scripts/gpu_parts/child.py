"""The process of a part, as bench_gpu.py starts it: `python -m scripts.gpu_parts.child parity.measure ...`."""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import NSMError
from src.text import complain, prepare_streams

Row = tuple[str, Mapping[str, Any]]  # the name of a finding, and its figures


@dataclass(frozen=True)
class Place:
    """Where a part runs, and for how long.

    Attributes:
        device: `cuda` or `cpu`.
        small: Whether it is only a rehearsal.
        directory: For datasets, runs and whatever a part makes; shared by all parts.
        seconds: That the part has.
        start: When it began, on the clock `time.monotonic`.
    """

    device: str
    small: bool
    directory: Path
    seconds: float
    start: float

    @property
    def left(self) -> float:
        """Seconds until its end."""
        return self.start + self.seconds - time.monotonic()


Measure = Callable[[Place], Iterator[Row]]


def main() -> int:
    """Measure, and write a line for each finding as it is made."""
    start = time.monotonic()
    prepare_streams()
    parser = argparse.ArgumentParser()
    parser.add_argument("measure")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    module, _, name = given.measure.rpartition(".")
    try:
        measure: Measure = getattr(importlib.import_module(f"scripts.gpu_parts.{module}"), name)
        place = Place(given.device, given.small, given.directory, given.seconds, start)
        with given.rows.open("a", encoding="utf-8") as file:
            for row, figures in measure(place):
                file.write(json.dumps({"name": row, "figures": figures}) + "\n")
                file.flush()
    except NSMError as error:
        complain(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
