"""A training that SIGTERM ends is one that Ctrl-C ends, but for the exit code; on SLURM, Lightning has its way."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

import src.eval
import src.train
from src.models.vimh_module import VIMHLitModule

ROOT = Path(__file__).parents[2]
N_BATCHES = 3  # of an epoch: 46 training samples, 16 to the batch


@pytest.fixture
def arguments(arguments):
    """Command line of a training of three epochs."""
    return [*arguments, "trainer.max_epochs=3"]


@pytest.fixture
def at_step(monkeypatch):
    """Calls a function before optimizer steps, with the number of steps done; `steps` are those that were begun."""
    steps = []

    def install(act):
        def before_step(module, optimizer):
            steps.append(module.global_step)
            act(module.global_step)

        monkeypatch.setattr(VIMHLitModule, "on_before_optimizer_step", before_step)
        return steps

    return install


def test_sigterm_keeps_the_last_whole_epoch_and_says_how_to_go_on(program, arguments, at_step, tmp_path):
    steps = at_step(lambda step: signal.raise_signal(signal.SIGTERM) if step == N_BATCHES + 1 else None)
    code, out, err = program(src.train, *arguments)
    assert code == 143
    assert steps[-1] == N_BATCHES + 1
    assert "ckpt_path=last" in out + err
    assert "Traceback" not in out + err
    (last,) = tmp_path.glob("logs/train/default/*/checkpoints/last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == N_BATCHES


def test_sigterm_that_python_forgets_ends_the_training_all_the_same(program, arguments, at_step):
    def forgetful(step):
        if step == 1:
            with contextlib.suppress(KeyboardInterrupt):  # as in a destructor
                signal.raise_signal(signal.SIGTERM)

    steps = at_step(forgetful)
    assert program(src.train, *arguments)[0] == 143
    assert steps == [0, 1]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_evaluation_ends_so_too(program, trained_run, tmp_path, monkeypatch, signum, code):
    monkeypatch.setattr(VIMHLitModule, "test_step", lambda *arguments: signal.raise_signal(signum))
    ckpt_path = trained_run.run_dir / "checkpoints" / "last.ckpt"
    places = [f"ckpt_path={ckpt_path}", f"paths.log_dir={tmp_path}/logs", "trainer.accelerator=cpu"]
    found, out, err = program(src.eval, *places, "+trainer.enable_progress_bar=false")
    assert found == code
    assert "Run the same command again" in out + err
    assert "Traceback" not in out + err


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "localhost",
}


def test_on_slurm_a_training_is_queued_again_and_ends_when_it_is_told_to(
    program, arguments, at_step, tmp_path, monkeypatch
):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/queued\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}")

    def end_of_time(step):
        if step == N_BATCHES:
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGTERM)

    steps = at_step(end_of_time)
    code, out, err = program(src.train, *arguments)
    assert (tmp_path / "queued").read_text() == "requeue 7\n"
    assert list(tmp_path.glob("logs/train/default/*/hpc_ckpt_1.ckpt"))
    assert code == 143
    assert len(steps) <= 2 * N_BATCHES
    assert "Traceback" not in out + err


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_processes_that_train_together_end_together(arguments, interrupted, signum):
    interrupted([sys.executable, str(ROOT / "src" / "train.py"), *arguments, "trainer=ddp_sim"], signum)
