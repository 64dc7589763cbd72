import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "schedule.sh"
LINES = """
# a comment
experiment=example seed=1
  experiment=fails  data.aux=[a,b*]

experiment=cnn
"""


@pytest.fixture
def schedule(tmp_path):
    """Runs the script with a python that says what it was given; returns exit code, lines of stdout, stderr."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\nfor word; do printf "<%s>" "$word"; done\necho\ncat >/dev/null\n'
        'case "$*" in *fails*) exit 3;; *ctrl_c*) exit 130;; esac\n'
    )
    python.chmod(0o755)

    def run(*files, stdin=""):
        done = subprocess.run(
            [str(SCRIPT), *files],
            cwd=tmp_path,
            env=os.environ | {"PYTHON": str(python)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("<")]
        return done.returncode, lines, done.stderr

    return run


ALL_RUNS = [
    "<src/train.py><experiment=example><seed=1>",
    "<src/train.py><experiment=fails><data.aux=[a,b*]>",
    "<src/train.py><experiment=cnn>",
]


def test_every_line_is_a_run_and_a_failed_one_stops_no_other(schedule):
    code, lines, err = schedule(stdin=LINES)
    assert (code, lines) == (1, ALL_RUNS)
    assert err == "Failed: experiment=fails data.aux=[a,b*]\n"


def test_the_lines_may_come_from_files(schedule, tmp_path):
    (tmp_path / "runs.txt").write_text("experiment=example")
    (tmp_path / "more.txt").write_text("\nseed=2\n")
    assert schedule("runs.txt", "more.txt") == (0, ["<src/train.py><experiment=example>", "<src/train.py><seed=2>"], "")


def test_an_interrupt_ends_the_schedule(schedule):
    code, lines, _ = schedule(stdin="experiment=cnn\nexperiment=ctrl_c\nexperiment=cnn\n")
    assert code == 130
    assert lines == ["<src/train.py><experiment=cnn>", "<src/train.py><experiment=ctrl_c>"]


def test_a_missing_file_is_no_schedule(schedule):
    code, lines, err = schedule("nothing.txt")
    assert (code, lines) == (1, [])
    assert "nothing.txt" in err
