"""Compiled and bf16 training on a CPU."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.checkpoints.run import load_run
from src.programs.explain import NO_COMPILER
from src.tasks.train import train

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

OVERRIDES = (
    "model=cnn_micro",
    "model.net.widths=[4]",  # compiling takes longer than training
    "data.make_dataset.overrides=['dataset.size=64']",
    "data.batch_size=23",  # 46 samples train: both batches are alike, so that nothing is compiled twice
    "trainer.max_epochs=1",
    "logger=none",
)


def test_bf16_trains(compose_run, saw_dir, tmp_path):
    cfg = compose_run(tmp_path, *OVERRIDES, f"data.data_dir={saw_dir}", "+trainer.precision=bf16-mixed")
    metrics = train(cfg)
    assert all(math.isfinite(value) for value in metrics.values())
    run = load_run(tmp_path / "checkpoints" / "last.ckpt")
    assert {weight.dtype for weight in run.module.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")  # the compiler's own
def test_a_compiled_network_trains_and_its_checkpoint_is_an_ordinary_one(compose_run, saw_dir, tmp_path):
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    # With the summary, which counts operations by a forward pass in a mode that cannot be compiled.
    summary = "+callbacks.model_summary._target_=lightning.pytorch.callbacks.ModelSummary"
    cfg = compose_run(tmp_path, *OVERRIDES, f"data.data_dir={saw_dir}", "model.compile=true", summary)
    metrics = train(cfg)
    assert counters["stats"]["unique_graphs"] >= 1
    assert all(math.isfinite(value) for value in metrics.values())
    names = dict(load_run(tmp_path / "checkpoints" / "last.ckpt").module.named_parameters())
    assert not [name for name in names if "_orig_mod" in name]


def test_a_missing_compiler_is_one_clear_message(saw_dir, tmp_path):
    places = (f"data.data_dir={saw_dir}", f"paths.log_dir={tmp_path}/logs", "trainer.accelerator=cpu")
    environment = os.environ | {
        "CXX": "/no/such/compiler",
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    environment.pop("HYDRA_FULL_ERROR", None)
    done = subprocess.run(
        [sys.executable, str(ROOT / "src" / "train.py"), *OVERRIDES, *places, "model.compile=true"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert NO_COMPILER in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
