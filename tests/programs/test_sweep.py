import warnings
from types import SimpleNamespace

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.programs.sweep import check_sweep_devices, configured_devices, is_sweep


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        (None, 1),
        ({}, 1),
        ({"devices": 2}, 2),
        ({"devices": [0, 3]}, 2),
        ({"devices": "auto"}, 1),
        ({"devices": -1}, 1),
        ({"num_nodes": 2}, 2),
        ({"devices": 2, "num_nodes": 3}, 6),
    ],
    ids=str,
)
def test_devices_are_counted_as_they_are_configured(trainer, expected):
    assert configured_devices(None if trainer is None else OmegaConf.create(trainer)) == expected


@pytest.mark.parametrize(("mode", "expected"), [(RunMode.MULTIRUN, True), (RunMode.RUN, False), (None, False)])
def test_a_sweep_is_what_hydra_calls_one(monkeypatch, mode, expected):
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: mode is not None))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: SimpleNamespace(mode=mode)))
    assert is_sweep() is expected


def test_a_sweep_on_several_devices_is_refused():
    check_sweep_devices(1)
    with pytest.raises(ConfigError, match=r"sweep cannot use 2 devices.*trainer=default"):
        check_sweep_devices(2)


def notified(trainer):
    """Begins a sweep as far as Hydra's callbacks are concerned."""
    target = {"_target_": "src.programs.sweep.CheckSweep"}
    cfg = OmegaConf.create({"hydra": {"callbacks": {"check_sweep": target}}, **trainer})
    Callbacks(cfg).on_multirun_start(config=cfg, config_name="train")


def test_hydra_lets_the_refusal_end_the_program(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SystemExit) as stop:
            notified({"trainer": {"devices": 2}})
        notified({"trainer": {"devices": 1}})
        notified({})
    assert stop.value.code == 1
    assert capsys.readouterr().err.count("sweep cannot use 2 devices") == 1
