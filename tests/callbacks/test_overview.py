import re
from types import SimpleNamespace

import pytest
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from src.callbacks.overview import RESULTS, SETTINGS, Overview, settings
from src.callbacks.tensorboard import tag_of
from src.params import ParamSpec

SPECS = (
    ParamSpec("cutoff", 100.0, 500.0, 100.0, "Hz"),
    ParamSpec("a .b-c", 0.0, 1.0, 0.5),
    ParamSpec("wave", 0.0, 1.0, 1.0, names=("saw", "square")),
)
HPARAMS = {
    "experiment_name": "cnn",
    "seed": 7,
    "data": {"data_dir": "data/saw", "batch_size": 64, "train_size": None},
    "model": {"net": {"_target_": "src.models.components.cnn.CNN"}, "optimizer": {"lr": 0.5}},
    "model/params/total": 2000,
    "callbacks": {"overview": {}},
}
MODULE = SimpleNamespace(specs=SPECS)


def row(found):
    """Columns of settings and results, and the run's settings."""
    read = {
        tag: HParamsPluginData.FromString(found.summary_metadata[tag].plugin_data.content)
        for tag in found.PluginTagToContent("hparams")
    }
    experiment = read["_hparams_/experiment"].experiment
    start = read["_hparams_/session_start_info"].session_start_info
    values = {name: value.number_value or value.string_value for name, value in start.hparams.items()}
    metrics = [info.name.tag for info in experiment.metric_infos]
    return start.group_name, values, [info.name for info in experiment.hparam_infos], metrics


def charts(found):
    """Category to chart to tags."""
    (event,) = found.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    return {
        category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart}
        for category in layout.category
    }


def test_a_run_has_its_row_from_the_beginning(trainer, events):
    trainer.loggers[0].log_hyperparams(HPARAMS)
    Overview().on_fit_start(trainer, MODULE)
    name, values, columns, metrics = row(events(trainer))
    assert name == "cnn/now"
    assert values == {
        **{"experiment": "cnn", "dataset": "saw", "network": "CNN", "weights": 2000},
        **{"learning rate": 0.5, "batch size": 64, "seed": 7},
    }
    assert columns == list(SETTINGS)
    assert metrics[: len(RESULTS)] == ["test/acc", "test/steps", "test/loss"]
    assert metrics[len(RESULTS) :] == [tag_of(f"val/{figure}") for figure in RESULTS]


def test_it_is_written_once_also_when_a_test_follows_or_comes_alone(trainer, events):
    both, alone = Overview(), Overview()
    both.on_fit_start(trainer, MODULE)
    both.on_test_start(trainer, MODULE)
    assert len(events(trainer).Tensors("custom_scalars__config__")) == 1
    alone.on_test_start(trainer, MODULE)
    assert len(events(trainer).Tensors("custom_scalars__config__")) == 2


def test_each_chart_has_both_curves_and_no_other(trainer, events):
    Overview().on_fit_start(trainer, MODULE)
    shown = charts(events(trainer))
    assert list(shown) == ["Means over the heads", "Error by head", "Accuracy by head"]
    assert list(shown["Means over the heads"]) == ["loss", "accuracy", "error in grid steps"]
    assert list(shown["Error by head"]) == ["cutoff, Hz", "a .b-c"]
    assert list(shown["Accuracy by head"]) == ["cutoff", "a .b-c", "wave"]
    names = ["loss", "acc", "acc_best", "steps", *(f"{spec.name}_{of}" for spec in SPECS for of in ("mae", "acc"))]
    tags = [tag_of(f"{stage}/{name}") for stage in ("train", "val") for name in names]
    for patterns in (patterns for of_category in shown.values() for patterns in of_category.values()):
        matched = [[tag for tag in tags if re.match(pattern, tag)] for pattern in patterns]
        assert [len(found) for found in matched] == [1, 1]
        assert matched[0][0].replace("/train", "/val") == matched[1][0]


def test_another_rank_writes_nothing(trainer, tmp_path):
    trainer.is_global_zero = False
    Overview().on_fit_start(trainer, MODULE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hparams", [{}, {"data": None, "model": 3}, {"data": {"data_dir": ""}, "seed": [1]}])
def test_settings_that_are_not_there_are_left_out(hparams):
    assert settings(hparams) == {}
