import pytest
import torch
from torchmetrics import MeanAbsoluteError
from torchmetrics.classification import MulticlassAccuracy

from src.models.metrics import HeadMetrics
from src.params import ParamSpec

SPECS = [
    ParamSpec("note_velocity", 64, 127, 7),
    ParamSpec("log10_decay_time", -2.0, 0.3, 0.1),
    ParamSpec("note_number", 40, 47, 1),
]
HEAD_KEYS = ("acc", "mae", "steps")


def batch(n, specs=SPECS, seed=0):
    """What a network might say, and the truth, with some hits among it."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.stack([torch.randint(spec.n_classes, (n,), generator=generator) for spec in specs], dim=1)
    hit = torch.rand(n, len(specs), generator=generator) < 0.6
    predicted, normalized = torch.rand(2, n, len(specs), generator=generator)
    return torch.rand((), generator=generator), torch.where(hit, index, 0), predicted, index, normalized


def updated(*batches, specs=SPECS):
    metrics = HeadMetrics(specs)
    for one in batches:
        metrics.update(*one)
    return metrics.compute()


@pytest.mark.parametrize("specs", [SPECS[:1], SPECS[:2], SPECS], ids=lambda specs: f"{len(specs)} heads")
def test_the_keys_are_the_same_with_one_head_or_many(specs):
    figures = updated(batch(4, specs), specs=specs)
    assert set(figures) == {"loss", "acc", "steps", "nmae"} | {f"{s.name}_{key}" for s in specs for key in HEAD_KEYS}
    assert all(figure.shape == () for figure in figures.values())


def test_figures_are_those_of_torchmetrics():
    batches = [batch(n, seed=n) for n in (32, 32, 7)]
    figures = updated(*batches)
    accuracies = []
    for head, spec in enumerate(SPECS):
        accuracy = MulticlassAccuracy(spec.n_classes, average="micro")
        error = MeanAbsoluteError()
        for _, predicted_index, predicted, index, normalized in batches:
            accuracy.update(predicted_index[:, head], index[:, head])
            error.update(
                spec.value_from_normalized(predicted[:, head]), spec.value_from_normalized(normalized[:, head])
            )
        torch.testing.assert_close(figures[f"{spec.name}_acc"], accuracy.compute())
        torch.testing.assert_close(figures[f"{spec.name}_mae"], error.compute())
        torch.testing.assert_close(figures[f"{spec.name}_steps"], error.compute() / spec.step)
        accuracies.append(accuracy.compute())
    torch.testing.assert_close(figures["acc"], torch.stack(accuracies).mean())
    torch.testing.assert_close(figures["steps"], torch.stack([figures[f"{s.name}_steps"] for s in SPECS]).mean())
    nmae = torch.cat([(one[2] - one[4]).abs() for one in batches]).mean()
    torch.testing.assert_close(figures["nmae"], nmae)


@pytest.mark.parametrize("sizes", [[64], [1] * 64, [40, 24], [30, 30, 4]], ids=str)
def test_counting_batches_equals_counting_at_once(sizes):
    loss, *tensors = batch(64)
    expected = updated((loss, *tensors))
    parts = zip(*(tensor.split(sizes) for tensor in tensors), strict=True)
    for name, figure in updated(*((loss, *part) for part in parts)).items():
        torch.testing.assert_close(figure, expected[name], msg=name)


def test_the_loss_of_a_small_batch_weighs_little():
    _, *large = batch(30)
    _, *small = batch(10)
    assert updated((torch.tensor(1.0), *large), (torch.tensor(5.0), *small))["loss"] == 2.0


def test_a_perfect_network_and_a_hopeless_one():
    loss, _, _, index, normalized = batch(20)
    perfect = updated((loss, index, normalized, index, normalized))
    hopeless = updated((loss, index + 1, 1 - torch.zeros(20, 3), index, torch.zeros(20, 3)))
    for spec in SPECS:
        assert [perfect[f"{spec.name}_{key}"] for key in HEAD_KEYS] == [1.0, 0.0, 0.0]
        found = [hopeless[f"{spec.name}_{key}"].item() for key in HEAD_KEYS]
        assert found == pytest.approx([0.0, spec.range, spec.range / spec.step])


def test_reset_forgets():
    metrics = HeadMetrics(SPECS)
    metrics.update(*batch(9, seed=1))
    metrics.reset()
    metrics.update(*batch(5, seed=2))
    assert metrics.compute() == updated(batch(5, seed=2))


def test_counting_keeps_no_graph():
    loss, predicted_index, predicted, index, normalized = batch(5)
    metrics = HeadMetrics(SPECS)
    metrics.update(loss.requires_grad_() * 2, predicted_index, predicted, index, normalized)
    assert not any(figure.requires_grad for figure in metrics.compute().values())


def test_metrics_are_no_part_of_a_checkpoint():
    metrics = HeadMetrics(SPECS)
    metrics.update(*batch(9))
    assert metrics.state_dict() == {}


def test_what_two_processes_counted_adds_up():
    first, second = HeadMetrics(SPECS), HeadMetrics(SPECS)
    first.update(*batch(9, seed=1))
    second.update(*batch(30, seed=2))
    first.merge_state(second)
    for name, figure in updated(batch(9, seed=1), batch(30, seed=2)).items():
        torch.testing.assert_close(first.compute()[name], figure, msg=name)
