from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from src.callbacks.final_metrics import FinalMetrics

METRICS = {name: torch.tensor(value) for name, value in (("val/acc", 0.5), ("train/loss", 1.0), ("test/acc", 0.25))}


@pytest.fixture
def trainer(tmp_path):
    """As much of a trainer as the callback uses, whose logger holds one hyper-parameter."""
    logger = TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False)
    logger.log_hyperparams({"model": {"lr": 0.5}})
    return SimpleNamespace(global_step=7, is_global_zero=True, loggers=[logger], callback_metrics=METRICS)


def row(trainer):
    """Hyper-parameters, names of metrics, and metrics of the HParams tab."""
    (logger,) = trainer.loggers
    logger.save()
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    contents = events.summary_metadata
    read = {
        tag: HParamsPluginData.FromString(contents[tag].plugin_data.content)
        for tag in events.PluginTagToContent("hparams")
    }
    start = read["_hparams_/session_start_info"].session_start_info
    metrics = [info.name.tag for info in read["_hparams_/experiment"].experiment.metric_infos]
    values = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return {name: value.number_value for name, value in start.hparams.items()}, metrics, values


@pytest.mark.parametrize(("tested", "name"), [(True, "test/acc"), (False, "val/acc")])
def test_a_run_has_one_row_with_the_metrics_of_its_end(trainer, tested, name):
    callback = FinalMetrics(tested)
    callback.on_fit_end(trainer, None)
    if tested:
        callback.on_test_end(trainer, None)
    value = METRICS[name].item()
    assert row(trainer) == ({"model/lr": 0.5}, [name], {name: [(7, value)]})


def test_another_rank_writes_nothing(trainer, tmp_path):
    trainer.is_global_zero = False
    FinalMetrics().on_test_end(trainer, None)
    assert list(tmp_path.iterdir()) == []
