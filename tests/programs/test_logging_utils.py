from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from src.programs.logging_utils import hyperparameters, log_hyperparameters, parameter_counts


@pytest.fixture
def model():
    """3 · 2 + 2 = 8 trained parameters, 2 · 1 + 1 = 3 frozen ones."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    net[1].requires_grad_(False)
    return net


CFG = OmegaConf.create(
    {"seed": 1, "model": {"lr": "${base}"}, "base": 0.5, "paths": {"output_dir": "/somewhere"}, "callbacks": None}
)


def test_parameters_are_counted(model):
    assert parameter_counts(model) == {
        "model/params/total": 11,
        "model/params/trainable": 8,
        "model/params/non_trainable": 3,
    }


def test_hyperparameters_are_plain_resolved_and_without_paths(model):
    logged = hyperparameters(CFG, model)
    assert logged == {"seed": 1, "model": {"lr": 0.5}, "callbacks": None} | parameter_counts(model)
    assert type(logged["model"]) is dict


def test_every_logger_is_told(model):
    heard = []
    loggers = [SimpleNamespace(log_hyperparams=heard.append) for _ in range(2)]
    log_hyperparameters(CFG, model, SimpleNamespace(loggers=loggers))
    assert heard == [hyperparameters(CFG, model)] * 2
