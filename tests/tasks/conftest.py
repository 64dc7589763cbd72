"""What tests of several programs share: a short training, and running a program as the command line does."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.checkpoints.run import load_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def arguments(saw_dir, tmp_path):
    """Command line of a short training of the small set that keeps everything below the test's directory."""
    return [
        "model=cnn_micro",
        f"data.data_dir={saw_dir}",
        "data.make_dataset.overrides=['dataset.size=64']",
        "data.batch_size=16",
        "trainer.max_epochs=2",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
        f"paths.log_dir={tmp_path}/logs",
        "callbacks.rich_progress_bar=null",
        "+trainer.enable_progress_bar=false",
        "+trainer.enable_model_summary=false",
        "logger=csv",
        "extras.print_config=false",
    ]


@pytest.fixture(scope="session")
def ckpt_path(trained_run):
    return trained_run.run_dir / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="session")
def run(ckpt_path):
    return load_run(ckpt_path)


@pytest.fixture
def interrupted(tmp_path):
    """Sends a signal to an endless training when its first epoch is over, and holds how it ends."""

    def interrupt(command, signum):
        environment = {name: text for name, text in os.environ.items() if name != "HYDRA_FULL_ERROR"}
        training = subprocess.Popen(
            [*command, "trainer.max_epochs=100000", "callbacks.early_stopping=null"],
            cwd=tmp_path,
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(1800):
            if list(tmp_path.glob("logs/train/default/*/checkpoints/last.ckpt")) or training.poll() is not None:
                break
            time.sleep(0.1)
        training.send_signal(signum)  # to the first process alone
        out, _ = training.communicate(timeout=120)  # all of them have closed their output
        assert training.returncode == 128 + signum, out
        assert "ckpt_path=last" in out
        assert "Traceback" not in out

    return interrupt


@pytest.fixture
def program(monkeypatch, capfd):
    """Runs an entry point as the command line does, in this process; returns exit code, stdout and stderr."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setenv("PROJECT_ROOT", str(ROOT))
    monkeypatch.setenv("HYDRA_MAIN_MODULE", "__main__")  # or else Hydra looks for a package of configurations
    before = logging.root.handlers[:], logging.root.level

    def run(entry_point, *arguments):
        monkeypatch.setattr(sys, "argv", [entry_point.__file__, *arguments])
        code = 0
        try:
            entry_point.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capfd.readouterr()

    yield run
    for handler in set(logging.root.handlers) - set(before[0]):
        handler.close()
    logging.root.handlers[:], logging.root.level = before
