import importlib.util

import pytest
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.programs.instantiators import LOGGER_PACKAGES, instantiate_callbacks, instantiate_loggers

CALLBACKS = OmegaConf.create(
    {
        "stop": {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/loss"},
        "off": None,
        "timer": {"_target_": "lightning.pytorch.callbacks.Timer"},
    }
)


def test_callbacks_come_in_order_without_those_that_are_null():
    stop, timer = instantiate_callbacks(CALLBACKS)
    assert (type(stop), type(timer)) == (EarlyStopping, Timer)
    assert stop.monitor == "val/loss"


def test_loggers_come_in_order(tmp_path):
    cfg = OmegaConf.create(
        {"csv": {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path)}, "off": None}
    )
    (logger,) = instantiate_loggers(cfg)
    assert type(logger) is CSVLogger


@pytest.mark.parametrize("instantiate", [instantiate_callbacks, instantiate_loggers])
def test_nothing_makes_nothing(instantiate):
    assert instantiate(None) == []
    assert instantiate(OmegaConf.create({})) == []


@pytest.mark.parametrize(
    ("instantiate", "group"), [(instantiate_callbacks, "callbacks"), (instantiate_loggers, "logger")]
)
@pytest.mark.parametrize("entry", [{"monitor": "val/loss"}, "EarlyStopping", 3])
def test_an_entry_without_a_class_is_refused(instantiate, group, entry):
    with pytest.raises(ConfigError, match=rf"{group}\.stop has no _target_"):
        instantiate(OmegaConf.create({"stop": entry}))


@pytest.mark.parametrize(("class_name", "package"), [(name, pip) for name, (_, pip) in LOGGER_PACKAGES.items()])
def test_a_logger_without_its_package_says_what_to_install(class_name, package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    cfg = OmegaConf.create({"mine": {"_target_": f"somewhere.{class_name}"}})
    with pytest.raises(ConfigError, match=rf"logger\.mine.*pip install {package}$"):
        instantiate_loggers(cfg)


def test_a_logger_that_exists_no_longer_says_so():
    cfg = OmegaConf.create({"neptune": {"_target_": "lightning.pytorch.loggers.NeptuneLogger"}})
    with pytest.raises(ConfigError, match="Neptune has ended"):
        instantiate_loggers(cfg)


def test_wrong_arguments_are_an_error():
    cfg = OmegaConf.merge(CALLBACKS, {"stop": {"no_such": 1}})
    with pytest.raises(InstantiationException, match="no_such"):
        instantiate_callbacks(cfg)
