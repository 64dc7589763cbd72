import torch

from src.callbacks.tensorboard import tag_of
from src.models.decoders import Prediction
from src.models.metrics import HeadMetrics
from src.param_tensors import ParamTensors
from src.params import ParamSpec

SPECS = (ParamSpec("filter_cutoff", 0.0, 2.0, 1.0), ParamSpec("wave", 0.0, 1.0, 1.0, names=("saw", "square")))


def logged():
    """Every name that a training logs."""
    metrics = HeadMetrics(ParamTensors(SPECS), coverage=True)
    index, part = torch.zeros(3, 2, dtype=torch.long), torch.zeros(3, 2)
    metrics.update(torch.tensor(1.0), Prediction(index, part, part + 1), index, part, torch.ones(2))
    of_heads = metrics.compute()
    return [f"{stage}/{name}" for stage in ("train", "val", "test") for name in (*of_heads, "acc_best")]


def test_loss_accuracy_and_errors_of_heads_come_first():
    shown = sorted(map(tag_of, logged()))
    groups = list(dict.fromkeys(tag.partition("/")[0] for tag in shown))
    by_head = ["4 accuracy by head", "5 other means", "6 other figures by head", "test"]
    assert groups == ["1 loss", "2 accuracy", "3 error", *by_head]
    assert [tag for tag in shown if tag.startswith(("1", "2", "3"))] == [
        *("1 loss/train", "1 loss/val", "2 accuracy/train", "2 accuracy/train, best so far"),
        *("2 accuracy/val", "2 accuracy/val, best so far", "3 error/filter_cutoff/train", "3 error/filter_cutoff/val"),
        *("3 error/mean in steps/train", "3 error/mean in steps/val"),
    ]


def test_no_two_names_share_a_tag():
    names = [*logged(), "epoch", "lr-AdamW", "val/mine", "mine/loss"]
    assert len({tag_of(name) for name in names}) == len(names)


def test_names_of_others_and_of_the_test_stay():
    for name in ("test/loss", "test/filter_cutoff_mae", "mine/loss", "a/b/c"):
        assert tag_of(name) == name
    assert tag_of("lr-AdamW") == "7 training/lr-AdamW"


def test_a_figure_of_two_words_is_none_of_a_head_called_by_the_first():
    assert tag_of("val/balanced_acc") == "5 other means/balanced_acc/val"
    assert tag_of("val/wave_balanced_acc") == "6 other figures by head/wave balanced_acc/val"
    assert tag_of("val/wave_acc") == "4 accuracy by head/wave/val"


def test_the_logger_writes_those_tags(trainer, events):
    trainer.loggers[0].log_metrics({"val/loss": 0.5, "epoch": 1}, step=3)
    found = events(trainer)
    assert [(event.step, event.value) for event in found.Scalars("1 loss/val")] == [(3, 0.5)]
    assert found.Tags()["scalars"] == ["1 loss/val", "7 training/epoch"]
