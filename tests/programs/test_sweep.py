import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.programs.sweep import PrepareStudy, check_sweep_devices, configured_devices, is_sweep


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


def test_the_database_of_a_search_is_made_by_one_after_another(tmp_path):
    at_it = []

    def make():
        at_it.append(1)
        time.sleep(0.01)
        assert len(at_it) == 1
        at_it.clear()

    url = f"sqlite:///{tmp_path}/logs/optuna/studies.db"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: PrepareStudy(url, make).on_multirun_start(None), range(16)))
    assert (tmp_path / "logs" / "optuna").is_dir()


def test_a_search_without_a_place_ends_the_program_and_other_databases_are_left_to_optuna(tmp_path, capsys):
    (tmp_path / "logs").touch()
    with pytest.raises(SystemExit) as stop:
        PrepareStudy(f"sqlite:///{tmp_path}/logs/optuna/studies.db", pytest.fail).on_multirun_start(None)
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path}/logs/optuna: Not a directory.")
    for url in (None, "postgresql://host/studies"):
        PrepareStudy(url, pytest.fail).on_multirun_start(None)
