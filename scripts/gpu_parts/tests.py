"""The tests that need a GPU, run where one is."""

import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path

from scripts.gpu_parts.child import Place, Row
from src.errors import ConfigError

TESTS = Path(__file__).parents[2] / "tests"
MARK = "pytest.mark.gpu"


def measure(place: Place) -> Iterator[Row]:
    """How many passed, and which did not.

    Raises:
        ConfigError: If pytest could not run them.
    """
    report = place.directory / "tests.xml"
    files = [str(path) for path in sorted(TESTS.rglob("test_*.py")) if MARK in path.read_text(encoding="utf-8")]
    # Warnings of the versions that this machine has are no failures.
    options = ["-m", "gpu", "-W", "default", "-p", "no:cacheprovider", f"--junitxml={report}"]
    subprocess.run([sys.executable, "-m", "pytest", *options, *files], check=False)
    if not report.exists():
        raise ConfigError("pytest could not run the tests; gpu.log has what it printed.")
    cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    yield (
        "tests",
        {
            "passed": len(cases) - len(bad) - len(skipped),
            "skipped": len(skipped),
            "failed": [f"{case.get('classname')}.{case.get('name')}" for case in bad],
        },
    )
