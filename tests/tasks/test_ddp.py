"""Several devices: the same metrics as one, and no sweep."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.checkpoints.reading import read_checkpoint
from src.checkpoints.run import build_model
from src.hydra_versions import instantiate
from src.tasks.calibration import calibrate_module, is_found
from src.tasks.evaluate import evaluate
from src.tasks.train import train

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["test", "val"])
def test_two_processes_measure_what_one_does(trained_run, compose_run, tmp_path, split):
    ckpt_path = trained_run.run_dir / "checkpoints" / "last.ckpt"
    overrides = [f"ckpt_path={ckpt_path}", f"split={split}", "batch_size=4"]
    places = {name: tmp_path / name for name in ("default", "ddp_sim")}
    for place in places.values():
        place.mkdir()
    one, two = (evaluate(compose_run(at, *overrides, f"trainer={name}", name="eval")) for name, at in places.items())
    assert two.keys() == one.keys()
    for name, figure in one.items():
        assert two[name] == pytest.approx(figure, abs=1e-6, rel=1e-6), name
    written = [json.loads((at / "results.json").read_text())["heads"] for at in places.values()]
    assert written[0].keys() == written[1].keys()


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True], ids=["stored", "stream"])
def test_two_processes_train(compose_run, saw_dir, tmp_path, stream):
    data = [f"data.data_dir={saw_dir}", "data.make_dataset=null", "data.batch_size=16", f"data.stream={stream}"]
    metrics = train(compose_run(tmp_path, "model=cnn_micro", "trainer=ddp_sim", "trainer.max_epochs=1", *data))
    assert all(math.isfinite(metrics[f"{stage}/loss"]) for stage in ("train", "val", "test"))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["metrics"]["test/loss"] == metrics["test/loss"]
    assert (results.keys() >= {"sound_seconds", "waited_seconds"}) is stream


@pytest.mark.slow
def test_what_two_processes_calibrate_is_what_one_does(compose_run, saw_dir, tmp_path):
    data = [f"data.data_dir={saw_dir}", "data.make_dataset=null", "data.stream=true", "data.stream_size=1800"]
    cfg = compose_run(tmp_path, "model=cnn_micro", "trainer=ddp_sim", "trainer.max_epochs=1", *data)
    train(cfg)
    written = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]
    datamodule = instantiate(cfg.data, data_dir=saw_dir)
    module = build_model(cfg, datamodule.info, datamodule.aux_statistics())
    module.load_state_dict(written)
    assert "fitted to each sound on 1,200" in calibrate_module(module, datamodule)
    found = [name for name in written if is_found(name)]
    assert written["spread.weight"].abs().max() > 0
    for name in found:
        torch.testing.assert_close(module.state_dict()[name], written[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_two_processes_write_one_table(compose_run, saw_dir, tmp_path):
    data = [f"data.data_dir={saw_dir}", "data.make_dataset=null", "data.batch_size=16"]
    metrics = train(
        compose_run(tmp_path, "model=cnn_micro", "trainer=ddp_sim", "trainer.max_epochs=2", "logger=csv", *data)
    )
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for stage, n_rows in (("train", 2), ("val", 2), ("test", 1)):
        losses = [float(row[f"{stage}/loss"]) for row in rows if row[f"{stage}/loss"]]
        assert len(losses) == n_rows
        assert losses[-1] == pytest.approx(metrics[f"{stage}/loss"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides", [["hparams_search=optuna"], ["seed=1,2"], ["+trainer.num_nodes=2,3"]], ids=["search", "seeds", "swept"]
)
def test_a_sweep_on_several_devices_is_one_message_and_leaves_nothing(saw_dir, tmp_path, overrides):
    devices = [] if "num_nodes" in overrides[0] else ["trainer=ddp_sim"]
    places = [f"paths.log_dir={tmp_path / 'logs'}", f"data.data_dir={saw_dir}", "data.make_dataset=null"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "src" / "train.py"), "-m", *overrides, *devices, *places],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.count("sweep cannot use 2 devices") == 1
    if devices:
        assert list(tmp_path.iterdir()) == []
