"""A place to work in: a run, its dataset and two recordings, found by relative paths as in the documentation."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from src import api as nsm
from src.checkpoints.run import ENTRY

RUN = "example/2026-01-31_12-00-00"


@pytest.fixture(scope="session")
def place(trained_run, saw_dir, tmp_path_factory) -> Path:
    """`logs`, `data` and `sounds`. All tests share it: change nothing."""
    root = tmp_path_factory.mktemp("place")
    run_dir = root / "logs" / "train" / RUN
    shutil.copytree(trained_run.run_dir, run_dir, ignore=shutil.ignore_patterns("tensorboard", "csv"))
    (run_dir / ".hydra").mkdir(exist_ok=True)
    OmegaConf.save(OmegaConf.merge(trained_run.cfg, {"experiment_name": "example"}), run_dir / ".hydra" / "config.yaml")
    for path in (run_dir / "checkpoints").glob("*.ckpt"):  # as the experiment of the documentation writes it
        checkpoint = torch.load(path, weights_only=True)
        checkpoint[ENTRY]["config"]["experiment_name"] = "example"
        torch.save(checkpoint, path)
    (run_dir / "results.json").touch()  # or the run would seem to be resumed since
    (root / "data").mkdir()
    (root / "data" / saw_dir.name).symlink_to(saw_dir)
    (root / "sounds").mkdir()
    data = nsm.Dataset(saw_dir)
    for name, sample in (("a", data.test[0]), ("b", data.test[1])):
        sound = sample.sound()
        soundfile.write(root / "sounds" / f"{name}.wav", np.pad(sound, (4000, 0)), sound.sample_rate, subtype="FLOAT")
    return root


@pytest.fixture
def here(place) -> Iterator[Path]:
    """The same as the working directory."""
    before = Path.cwd()
    os.chdir(place)
    yield place
    os.chdir(before)


@pytest.fixture(scope="session")
def net(place) -> nsm.TrainedNetwork:
    """The network of the run."""
    return nsm.load("best", place / "logs")


@pytest.fixture(scope="session")
def data(saw_dir) -> nsm.Dataset:
    """The dataset."""
    return nsm.Dataset(saw_dir)
