"""What a person sees at a terminal of 80 columns: programs in a pseudo-terminal, read as a terminal reads them."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COLUMNS, LINES = 80, 40
CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\s\S])")
PATH = re.compile(r"\S*/\S*")
TIMEOUT = 300  # s, against hanging


def typed(command, columns=COLUMNS, interrupt_at=None):
    """What a command writes to a terminal, and its exit code; a Ctrl-C is typed when a text appears."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    env = {key: text for key, text in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    process = subprocess.Popen(
        command, cwd=ROOT, env=env | {"TERM": "xterm-256color"}, start_new_session=True, **streams
    )
    os.close(slave)
    timer = threading.Timer(TIMEOUT, process.kill)
    timer.start()
    written = b""
    try:
        while chunk := read(master):
            written += chunk
            if interrupt_at is not None and interrupt_at.encode() in written:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
    finally:
        timer.cancel()
        os.close(master)
    return written.decode(), process.wait()


def read(master):
    """The next bytes; none when the other end is closed."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


def lines_on(text):
    """The lines that a terminal without an edge shows in the end: what was drawn over is gone."""
    lines, row, column = [""], 0, 0
    for found in CONTROL.finditer(text):
        number, name, char = found.groups()
        if name == "A":
            row = max(0, row - int(number or 1))
        elif name == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
        elif char == "\r":
            column = 0
        elif char == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif char is not None:
            lines[row] = f"{lines[row][:column]:<{column}}{char}{lines[row][column + 1 :]}"
            column += 1
    return [line.rstrip() for line in lines]


def shown(*command, **options):
    """The lines that are left, without the last, empty one; the widest thing ever drawn; the exit code."""
    text, code = typed([sys.executable, *command], **options)
    *lines, last = lines_on(text)
    assert last == ""
    assert "\x1b[?25l" not in text or text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is gone"
    return lines, code


def check_widths(lines, columns=COLUMNS):
    """No line is wider than the screen but for a path in it."""
    assert [
        line for line in lines if len(PATH.sub("", line)) > columns or (len(line) > columns and "/" not in line)
    ] == []


def test_a_terminal_is_read_as_one():
    assert lines_on("ab\r\x1b[2Kc\r\nd\r\n\x1b[1A\x1b[31mx\x1b[0m\r\n") == ["c", "x", ""]
    assert lines_on("abc\rX") == ["Xbc"]


def test_the_short_help_is_a_screen_of_24_lines():
    text, code = typed(["make", "-C", str(ROOT), "-s", "h"])
    lines = lines_on(text)[:-1]
    assert code == 0 and len(lines) <= 24
    check_widths(lines)


@pytest.fixture(scope="module")
def paths(saw_dir, tmp_path_factory):
    log_dir = tmp_path_factory.mktemp("terminal") / "logs"
    return [f"paths.log_dir={log_dir}", f"data.data_dir={saw_dir}", "data.make_dataset=null", "model=cnn_micro"]


TRAIN = ("src/train.py", "experiment=example", "trainer.accelerator=cpu", "logger=none")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 140])
def test_a_training_is_a_line_a_bar_a_table_and_two_paths(paths, columns):
    lines, code = shown(*TRAIN, *paths, "trainer.max_epochs=3", columns=columns)
    assert code == 0
    assert len(lines) <= LINES
    check_widths(lines, columns)
    assert re.fullmatch(r"example: 64 sounds of \S+, cnn_micro \([\d,]+ weights\), cpu, seed 42", lines[0])
    bars = [line for line in lines if line.startswith("Epoch")]
    assert bars == [lines[1]]
    assert re.search(r"^Epoch 3/3 ━+ val/loss \d\S+  val/acc \d\S+ [\d,]+ samples/s in 0:\d\d$", bars[0])
    assert lines[2] == "example, 13 test samples"
    assert [line.partition(":")[0] for line in lines[-2:]] == ["Checkpoint", "Results"]
    assert not any("[INFO]" in line or "0.00it/s" in line for line in lines)


@pytest.mark.slow
def test_a_training_into_a_pipe_is_the_same_without_a_bar(paths):
    command = [sys.executable, *TRAIN, *paths, "trainer.max_epochs=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert re.fullmatch(r"(Epoch \d/2: .*\n)*Epoch 2/2: val/loss .*, in 0:\d\d\n", done.stderr)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("example: 64 sounds of ")
    assert [line.partition(":")[0] for line in lines[-2:]] == ["Checkpoint", "Results"]
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["debug=fdr"],
        ["trainer.max_epochs=2", "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=0"],
        ["trainer.max_epochs=-1", "+trainer.max_steps=9"],
        ["trainer.max_epochs=2", "+trainer.enable_progress_bar=false"],
        ["trainer.max_epochs=2", "callbacks=none"],
        ["trainer.max_epochs=1", "trainer=ddp_sim"],
        ["trainer.max_epochs=2", "test=false"],
    ],
    ids=["fast_dev_run", "limits", "max_steps", "no bar", "no callbacks", "two processes", "no test"],
)
def test_trainings_of_every_kind_keep_within_a_screen(paths, overrides):
    lines, code = shown(*TRAIN, *paths, *overrides)
    assert code == 0, lines
    assert len(lines) <= LINES
    check_widths(lines)
    has_bar = not {"debug=fdr", "+trainer.enable_progress_bar=false", "callbacks=none"} & set(overrides)
    assert sum(line.startswith(("Epoch", "Step")) for line in lines) == has_bar


@pytest.mark.slow
def test_an_error_stands_last_and_alone(paths):
    lines, code = shown(*TRAIN, *paths, "data.train_size=1000000")
    assert code == 1
    assert len(lines) == 1
    assert "data.train_size is 1000000" in lines[0]


@pytest.mark.slow
def test_an_error_within_a_training_stands_below_the_bar(paths):
    lines, code = shown(*TRAIN, *paths, "model.monitor=nothing", "scheduler=plateau")
    assert code == 1
    assert [line for line in lines if "model.monitor" in line] == [lines[-1]]
    assert "Traceback" not in "".join(lines)


@pytest.mark.slow
def test_ctrl_c_is_answered_below_the_bar(paths):
    lines, code = shown(*TRAIN, *paths, "trainer.max_epochs=100000", interrupt_at="val/acc")
    assert code == 130
    assert lines[-1].startswith("Interrupted.")
    assert lines[-2].startswith("Epoch")


@pytest.mark.slow
def test_a_job_of_a_sweep_is_a_line(paths):
    lines, code = shown(TRAIN[0], "-m", *TRAIN[1:], *paths, "trainer.max_epochs=1", "seed=1,2")
    assert code == 0
    assert [line.partition(":")[0] for line in lines] == ["Sweep", "#0 seed=1", "#1 seed=2"]
    assert all("test/loss" in line and "multiruns" in line for line in lines[1:])


@pytest.mark.slow
@pytest.mark.parametrize("split", ["test", "val"])
def test_an_evaluation_sells_nothing(trained_run, tmp_path, split):
    checkpoint = trained_run.run_dir / "checkpoints" / "last.ckpt"
    place = f"paths.log_dir={tmp_path}"
    lines, code = shown("src/eval.py", f"ckpt_path={checkpoint}", f"split={split}", "trainer=cpu", place)
    assert code == 0
    check_widths(lines)
    assert not re.search("Tip|lit|GPU|TPU|INFO", "\n".join(lines))
    assert len(lines) <= 12
    noun = "validation" if split == "val" else "test"
    assert re.search(rf"^\d+ {noun} sounds of \S+, SpectralCNN \([\d,]+ weights\), cpu$", lines[1])


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 140])
def test_the_table_of_an_audit_is_whole(saw_dir, tmp_path, columns):
    lines, code = shown("scripts/audit_dataset.py", str(saw_dir), "--output", str(tmp_path), columns=columns)
    assert code == 0
    check_widths(lines, columns)
    assert "…" not in "".join(lines)
    assert len(lines) <= LINES


@pytest.mark.slow
def test_what_is_heard_fits_a_screen(trained_run, tmp_path):
    checkpoint = trained_run.run_dir / "checkpoints" / "last.ckpt"
    given = [f"ckpt_path={checkpoint}", "num_samples=8", "n_listen=2", "refine=true", f"paths.log_dir={tmp_path}"]
    lines, code = shown("src/audio_eval.py", *given)
    assert code == 0
    check_widths(lines)
    assert len(lines) <= LINES
