"""The tests that need a GPU, run where one is."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.gpu_parts.child import Place, Row
from src.errors import ConfigError

TESTS = Path(__file__).parents[2] / "tests"
MARK = "pytest.mark.gpu"
OUTCOME = re.compile(r"(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)(?: \(.*)?(?: +\[ *\d+%\])?")
COULD_RUN = (0, 1)  # exit codes: all passed, some did not


def measure(place: Place) -> Iterator[Row]:
    """How many passed, and which did not; anew after each, since one of them may not end.

    Raises:
        ConfigError: If pytest could not run them.
    """
    files = [str(path) for path in sorted(TESTS.rglob("test_*.py")) if MARK in path.read_text(encoding="utf-8")]
    # Warnings of the versions that this machine has are no failures.
    options = ["-v", "--color=no", "-m", "gpu", "-W", "default", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    outcomes: dict[str, str] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as pytest:
        assert pytest.stdout is not None  # as it is a pipe
        for line in pytest.stdout:
            print(line, end="")
            if found := OUTCOME.fullmatch(line.rstrip()):
                outcomes[found[1]] = found[2]
                yield "tests", counted(outcomes)
    if pytest.returncode not in COULD_RUN:
        raise ConfigError(f"pytest ended with {pytest.returncode}; gpu.log has what it printed.")


def counted(outcomes: dict[str, str]) -> dict[str, int | list[str]]:
    """How many tests passed and were skipped, and the names of those that failed, from the outcome of each."""
    kinds = list(outcomes.values())
    failed = [name for name, kind in outcomes.items() if kind in ("FAILED", "ERROR")]
    return {"passed": kinds.count("PASSED"), "skipped": kinds.count("SKIPPED"), "failed": failed}
