import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from src.callbacks.gradient_stats import GradientStats, gradient_norms, layer_gradients
from src.errors import ConfigError


@pytest.fixture
def net():
    """Two layers, of which the second is frozen; all gradients of the first are 2."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    net[2].requires_grad_(False)
    for weight in net[0].parameters():
        weight.grad = torch.full_like(weight, 2.0)
    return net


def test_norms_are_those_of_the_definition(net):
    norms = gradient_norms(dict(layer_gradients(net)))
    assert norms == {"0": pytest.approx((16 * 4) ** 0.5), "total": pytest.approx((16 * 4) ** 0.5)}


def test_the_total_is_the_norm_of_all_weights():
    gradients = {"a": [torch.tensor([3.0, 0.0])], "b": [torch.tensor([4.0])]}
    assert gradient_norms(gradients) == {"a": 3.0, "b": 4.0, "total": 5.0}


def test_norms_taken_at_once_are_those_taken_one_by_one():
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv": [(8, 3, 3, 3), (8,)], "norm": [(8,)], "head": [(5, 8), (5,), ()]}
    for dtype in (torch.float32, torch.bfloat16):
        gradients = {
            layer: [torch.randn(shape, generator=generator).to(dtype) for shape in of_layer]
            for layer, of_layer in shapes.items()
        }
        rows = {layer: torch.cat([own.flatten() for own in of_layer]).double() for layer, of_layer in gradients.items()}
        expected = {layer: row.norm().item() for layer, row in rows.items()}
        expected["total"] = torch.cat(list(rows.values())).norm().item()
        assert gradient_norms(gradients) == pytest.approx(expected, rel=1e-6)


def test_a_network_without_gradients_has_no_norms():
    assert gradient_norms(dict(layer_gradients(torch.nn.Linear(2, 2)))) == {}


def test_norms_are_written_each_n_steps(net, trainer, events):
    callback = GradientStats(every_n_steps=3)
    for step in range(7):
        trainer.global_step = step
        callback.on_before_optimizer_step(trainer, net, None)
    found = events(trainer)
    assert [event.step for event in found.Scalars("8 gradients/total")] == [0, 3, 6]
    assert found.Scalars("8 gradients/0")[0].value == pytest.approx(8.0)
    assert found.Tags()["histograms"] == []


def test_histograms_come_on_request(net, trainer, events):
    GradientStats(histograms=True).on_before_optimizer_step(trainer, net, None)
    (histogram,) = events(trainer).Histograms("grad/0")
    assert histogram.histogram_value.num == 16
    assert histogram.histogram_value.sum == 32.0


@pytest.mark.parametrize("changed", [{"is_global_zero": False}, {"loggers": []}], ids=["another rank", "no logger"])
def test_nothing_is_written_elsewhere(net, trainer, tmp_path, changed):
    vars(trainer).update(changed)
    GradientStats().on_before_optimizer_step(trainer, net, None)
    assert list(tmp_path.iterdir()) == []


def test_other_loggers_hear_nothing(net, trainer, tmp_path):
    trainer.loggers = [CSVLogger(tmp_path / "csv")]
    GradientStats().on_before_optimizer_step(trainer, net, None)
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_interval_is_refused():
    with pytest.raises(ConfigError, match="every_n_steps is 0"):
        GradientStats(every_n_steps=0)
