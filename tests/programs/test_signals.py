"""What SIGINT and SIGTERM do to a program, from its first line to its last."""

import argparse
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.programs import command_line
from src.programs.command_line import run_with_options
from src.programs.program import end_children, perform
from src.programs.signals import Interrupt, Terminated, exit_code, leave, listen, listening

ROOT = Path(__file__).parents[2]
SIGNALS = [signal.SIGINT, signal.SIGTERM]
PROGRAMS = ["generate_vimh.py", *(f"src/{name}.py" for name in ("train", "eval", "predict", "audio_eval", "export"))]


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    """The handlers of the test process, without SLURM."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return {signum: signal.getsignal(signum) for signum in SIGNALS}


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_is_an_interrupt_with_the_exit_code_of_shells(signum):
    with pytest.raises(KeyboardInterrupt) as caught, listening(Interrupt()):
        signal.raise_signal(signum)
    assert exit_code(caught.value) == 128 + signum
    assert issubclass(Terminated, KeyboardInterrupt)  # what keeps its work after a Ctrl-C keeps it after SIGTERM


def test_the_handlers_before_come_back(handlers):
    with listening(leave), listening(Interrupt()):
        pass
    assert {signum: signal.getsignal(signum) for signum in SIGNALS} == handlers


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does
    assert set(listen(Interrupt())) == {signal.SIGTERM}
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_slurm_keeps_its_signal(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert set(listen(Interrupt())) == {signal.SIGINT}


def test_a_second_signal_does_not_disturb_the_end_that_the_first_began(monkeypatch):
    interrupt, now = Interrupt(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with pytest.raises(Terminated):
        interrupt(signal.SIGTERM, None)
    interrupt(signal.SIGINT, None)
    now[0] += 10  # but where the first was lost, or the end takes long, it counts
    with pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGINT, None)


@pytest.mark.parametrize("signum", SIGNALS)
def test_an_exception_that_was_lost_is_raised_again(signum):
    interrupt = Interrupt()
    interrupt.raise_again()
    with listening(interrupt), contextlib.suppress(KeyboardInterrupt):  # as in a destructor
        signal.raise_signal(signum)
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupt.raise_again()
    assert exit_code(caught.value) == 128 + signum


class SIGTERMException(SystemExit):
    """Called as Lightning's, which takes long to import."""


def test_exit_codes_are_those_of_the_signal_whatever_ends_a_task():
    interrupt = Interrupt()
    for other in (SystemExit(3), ValueError("a bug"), None):
        assert exit_code(other, interrupt) is None
    assert exit_code(SIGTERMException()) == 143
    for stop, code in ((KeyboardInterrupt, 130), (Terminated, 143)):
        exit_of_lightning = SystemExit(1)
        exit_of_lightning.__context__ = stop()
        assert exit_code(exit_of_lightning) == code
        interrupt.stop = stop
        assert exit_code(RuntimeError("a worker process was lost"), interrupt) == code


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_task_that_a_signal_ends_says_how_to_go_on(signum, caplog, tmp_path):
    cfg = OmegaConf.create({"task_name": "eval", "paths": {"output_dir": str(tmp_path)}})
    with pytest.raises(SystemExit) as caught, caplog.at_level("WARNING"):
        perform(lambda cfg: signal.raise_signal(signum), cfg)
    assert caught.value.code == 128 + signum
    assert "Run the same command again" in caplog.text


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_program_with_options_ends_so_too(signum, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "load_task", lambda task: lambda options: signal.raise_signal(signum))
    assert run_with_options("task", argparse.ArgumentParser(), []) == 128 + signum
    assert "Run the same command again" in capsys.readouterr().err


def test_processes_that_would_be_waited_for_are_ended():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    end_children()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


def test_a_forked_process_dies_of_sigterm_as_processes_do():
    reading, writing = os.pipe()
    with listening(Interrupt()):
        child = os.fork()
        if not child:
            os.write(writing, b".")  # Python forgets what comes before a forked process runs
            time.sleep(60)
            os._exit(0)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
    os.close(reading)
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143


AT_ONCE = """
import signal, sys
from src.programs.signals import leave, listening
print("before", end="")
with listening(leave):
    signal.raise_signal(int(sys.argv[1]))
print("after", end="")
"""


@pytest.mark.slow
@pytest.mark.parametrize("signum", SIGNALS)
def test_what_has_only_begun_leaves_at_once_with_what_it_has_printed(signum):
    command = [sys.executable, "-c", AT_ONCE, str(int(signum))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signum, "before", "")


# Sends a signal at the n-th import of a program, wherever that is, and once more when the interpreter ends.
AT_IMPORT = """
import atexit, os, signal, sys
signum, left, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
atexit.register(os.kill, os.getpid(), signum)

def hook(event, arguments):
    global left
    if event == "import" and "src.programs.program" in sys.modules:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signum)

sys.addaudithook(hook)
sys.argv = [program, *sys.argv[4:]]
sys.path[0] = os.path.dirname(os.path.abspath(program))
import runpy
runpy.run_path(program, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_signal_during_start_up_ends_a_program_without_a_traceback(program, signum, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    places = [f"output_dir={tmp_path}" if program == "generate_vimh.py" else f"paths.log_dir={tmp_path}"]
    for n in (20, 200, 1000):
        command = [sys.executable, "-c", AT_IMPORT, str(int(signum)), str(n), program, *places]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 128 + signum, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
