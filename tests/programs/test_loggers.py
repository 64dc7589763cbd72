import csv
import importlib.util
import pickle
from types import SimpleNamespace

import pytest
import torch
from hydra.errors import InstantiationException
from lightning.pytorch import loggers
from lightning.pytorch.callbacks import EarlyStopping, Timer
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.programs.loggers import (
    LOGGER_PACKAGES,
    CSVLogger,
    hyperparameters,
    instantiate_callbacks,
    instantiate_loggers,
    log_hyperparameters,
)

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
    assert type(logger) is loggers.CSVLogger


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


def test_wrong_arguments_are_an_error():
    cfg = OmegaConf.merge(CALLBACKS, {"stop": {"no_such": 1}})
    with pytest.raises(InstantiationException, match="no_such"):
        instantiate_callbacks(cfg)


def table(logger):
    with open(logger.experiment.metrics_file_path, newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def test_another_process_goes_on_with_the_table(tmp_path):
    first = CSVLogger(tmp_path, name="csv")
    first.log_hyperparams({"seed": 1})
    training, test = (pickle.loads(pickle.dumps(first)) for _ in range(2))
    training.log_metrics({"val/loss": 0.5}, step=1)
    training.save()
    training.log_metrics({"val/loss": 0.25, "val/acc": 1.0}, step=2)
    training.save()
    test.log_metrics({"test/loss": 0.75}, step=2)
    test.save()
    test.log_metrics({"val/loss": 0.125}, step=3)
    test.save()
    assert table(test) == [
        {"step": "1", "val/loss": "0.5"},
        {"step": "2", "val/loss": "0.25", "val/acc": "1.0"},
        {"step": "2", "test/loss": "0.75"},
        {"step": "3", "val/loss": "0.125"},
    ]


def test_one_process_writes_as_before(tmp_path):
    logger = CSVLogger(tmp_path, name="csv")
    logger.finalize("success")
    logger.log_metrics({"val/loss": 0.5}, step=1)
    logger.finalize("success")
    assert table(logger) == [{"step": "1", "val/loss": "0.5"}]


@pytest.fixture
def model():
    """3 · 2 + 2 = 8 trained parameters, 2 · 1 + 1 = 3 frozen ones."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    net[1].requires_grad_(False)
    return net


CFG = OmegaConf.create(
    {"seed": 1, "model": {"lr": "${base}"}, "base": 0.5, "paths": {"output_dir": "/somewhere"}, "callbacks": None}
)


COUNTS = {"model/params/total": 11, "model/params/trainable": 8, "model/params/non_trainable": 3}


def test_hyperparameters_are_plain_resolved_and_without_paths(model):
    logged = hyperparameters(CFG, model)
    assert logged == {"seed": 1, "model": {"lr": 0.5}, "callbacks": None} | COUNTS
    assert type(logged["model"]) is dict


def test_every_logger_gets_the_hyperparameters(model):
    heard = []
    loggers = [SimpleNamespace(log_hyperparams=heard.append) for _ in range(2)]
    log_hyperparameters(CFG, model, SimpleNamespace(loggers=loggers))
    assert heard == [hyperparameters(CFG, model)] * 2
