"""Without the environment, every file that can be started says how to get it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for path in [*ROOT.glob("*.py"), *(ROOT / "src").glob("*.py"), *(ROOT / "scripts").glob("*.py")]
    if "rootutils" in path.read_text(encoding="utf-8")
]


def test_all_programs_are_tried():
    assert {"train.py", "generate_vimh.py", "display_vimh.py", "to_vimh.py"} <= {path.name for path in FILES}
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_without_the_packages_a_program_says_how_to_get_them(path):
    command = [sys.executable, "-S", "-E", path.name, "--help"]  # -S: without site-packages
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "run sh setup.sh, then . .venv/bin/activate" in line
