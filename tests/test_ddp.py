"""Several devices: the same metrics as one, and no sweep."""

import json
import math
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from src.errors import ConfigError
from src.eval import evaluate
from src.train import check_no_sweep, train


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
    assert json.loads((tmp_path / "results.json").read_text())["metrics"]["test/loss"] == metrics["test/loss"]


@pytest.mark.parametrize(("n_devices", "mode"), [(1, RunMode.MULTIRUN), (2, RunMode.RUN), (2, None)])
def test_a_sweep_needs_one_device_and_several_devices_one_job(monkeypatch, n_devices, mode):
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: mode is not None))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: SimpleNamespace(mode=mode)))
    check_no_sweep(SimpleNamespace(num_devices=n_devices, num_nodes=1))


@pytest.mark.parametrize(("num_devices", "num_nodes"), [(2, 1), (1, 2)])
def test_a_sweep_on_several_devices_is_refused(monkeypatch, num_devices, num_nodes):
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: SimpleNamespace(mode=RunMode.MULTIRUN)))
    with pytest.raises(ConfigError, match=r"sweep cannot train on 2 devices.*trainer=default"):
        check_no_sweep(SimpleNamespace(num_devices=num_devices, num_nodes=num_nodes))
