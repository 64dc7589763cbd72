import math

import pytest
import torch
from torchmetrics import MeanAbsoluteError
from torchmetrics.classification import MulticlassAccuracy

from src.models.decoders import Prediction
from src.models.metrics import WIDTH, HeadMetrics
from src.param_tensors import ParamTensors
from src.params import ParamSpec

SPECS = [
    ParamSpec("note_velocity", 64, 127, 7),
    ParamSpec("log10_decay_time", -2.0, 0.3, 0.1),
    ParamSpec("note_number", 40, 47, 1),
]
STEPS = torch.tensor([spec.range / spec.step for spec in SPECS])
HEAD_KEYS = ("acc", "acc1", "mae", "steps", "nmae", "coverage")
ONES = torch.ones(3)


def batch(n, specs=SPECS, seed=0):
    """Possible predictions and true values, some of them equal."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.stack([torch.randint(spec.n_classes, (n,), generator=generator) for spec in specs], dim=1)
    hit = torch.rand(n, len(specs), generator=generator) < 0.6
    predicted, normalized, std = torch.rand(3, n, len(specs), generator=generator)
    loss = n * torch.rand((), generator=generator)
    return loss, Prediction(torch.where(hit, index, 0), predicted, 0.1 + 5 * std), index, normalized


def updated(*batches, specs=SPECS, scale=ONES):
    metrics = HeadMetrics(ParamTensors(specs), coverage=True)
    for one in batches:
        metrics.update(*one, scale[: len(specs)])
    return metrics


def figures_of(*batches, **settings):
    return updated(*batches, **settings).compute()


@pytest.mark.parametrize("specs", [SPECS[:1], SPECS[:2], SPECS], ids=lambda specs: f"{len(specs)} heads")
@pytest.mark.parametrize("coverage", [True, False])
def test_the_keys_are_the_same_with_one_head_or_many(specs, coverage):
    metrics = HeadMetrics(ParamTensors(specs), coverage)
    metrics.update(*batch(4, specs), torch.ones(len(specs)))
    figures, keys = metrics.compute(), set(HEAD_KEYS) - (set() if coverage else {"coverage"})
    assert set(figures) == {"loss"} | (keys - {"mae"}) | {f"{spec.name}_{key}" for spec in specs for key in keys}
    assert all(figure.shape == () for figure in figures.values())


def test_figures_are_those_of_torchmetrics():
    batches = [batch(n, seed=n) for n in (32, 32, 7)]
    figures = figures_of(*batches)
    accuracies = []
    for head, spec in enumerate(SPECS):
        accuracy = MulticlassAccuracy(spec.n_classes, average="micro")
        error = MeanAbsoluteError()
        for _, said, index, normalized in batches:
            accuracy.update(said.index[:, head], index[:, head])
            error.update(
                spec.value_from_normalized(said.normalized[:, head]), spec.value_from_normalized(normalized[:, head])
            )
        torch.testing.assert_close(figures[f"{spec.name}_acc"], accuracy.compute())
        torch.testing.assert_close(figures[f"{spec.name}_mae"], error.compute())
        torch.testing.assert_close(figures[f"{spec.name}_steps"], error.compute() / spec.step)
        torch.testing.assert_close(figures[f"{spec.name}_nmae"], error.compute() / spec.range)
        accuracies.append(accuracy.compute())
    torch.testing.assert_close(figures["acc"], torch.stack(accuracies).mean())
    for key in ("acc1", "steps", "nmae", "coverage"):
        torch.testing.assert_close(figures[key], torch.stack([figures[f"{s.name}_{key}"] for s in SPECS]).mean())
    nmae = torch.cat([(said.normalized - normalized).abs() for _, said, _, normalized in batches]).mean()
    torch.testing.assert_close(figures["nmae"], nmae)


@pytest.mark.parametrize("sizes", [[64], [1] * 64, [40, 24], [30, 30, 4]], ids=str)
def test_counting_batches_equals_counting_at_once(sizes):
    loss, said, index, normalized = batch(64)
    expected = figures_of((loss, said, index, normalized))
    parts = zip(*(tensor.split(sizes) for tensor in (*said, index, normalized)), strict=True)
    split = [(loss * len(part[3]) / 64, Prediction(*part[:3]), *part[3:]) for part in parts]
    for name, figure in figures_of(*split).items():
        torch.testing.assert_close(figure, expected[name], msg=name)
    torch.testing.assert_close(
        updated(*split).conformal_scale(), updated((loss, said, index, normalized)).conformal_scale()
    )


def test_the_loss_is_that_of_a_sample():
    _, *large = batch(30)
    _, *small = batch(10)
    assert figures_of((torch.tensor(30.0), *large), (torch.tensor(50.0), *small))["loss"] == 2.0


def test_a_perfect_network_and_a_hopeless_one():
    loss, _, index, normalized = batch(20)
    some = torch.full((20, 3), 0.1)
    perfect = figures_of((loss, Prediction(index, normalized, some), index, normalized))
    hopeless = figures_of((loss, Prediction(index + 2, 1 - torch.zeros(20, 3), some), index, torch.zeros(20, 3)))
    for spec in SPECS:
        assert [perfect[f"{spec.name}_{key}"] for key in HEAD_KEYS] == [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        found = [hopeless[f"{spec.name}_{key}"].item() for key in HEAD_KEYS]
        assert found == pytest.approx([0.0, 0.0, spec.range, spec.range / spec.step, 1.0, 0.0])


def test_neighbours_count_as_close():
    loss, _, index, normalized = batch(4)
    miss = torch.tensor([[0], [-1], [1], [2]])
    figures = figures_of((loss, Prediction(index + miss, normalized, normalized + 1), index, normalized))
    assert (figures["acc"], figures["acc1"]) == (0.25, 0.75)


def honest(n, scale, seed=0):
    """A network with normally distributed errors, whose standard deviations are too small by a factor per head."""
    generator = torch.Generator().manual_seed(seed)
    std = 0.2 + torch.rand(n, 3, generator=generator)  # grid steps
    error = std * torch.randn(n, 3, generator=generator)
    normalized = torch.rand(n, 3, generator=generator)
    zeros = torch.zeros(n, 3, dtype=torch.long)
    return torch.zeros(()), Prediction(zeros, normalized + error / STEPS, std / scale), zeros, normalized


def test_normal_errors_are_covered_as_their_distribution_says():
    figures = figures_of(honest(20000, ONES))
    assert figures["coverage"].item() == pytest.approx(0.9, abs=0.005)
    narrow = figures_of(honest(20000, ONES), scale=0.5 * ONES)
    assert narrow["coverage"].item() == pytest.approx(math.erf(WIDTH / 2 / math.sqrt(2)), abs=0.005)


@pytest.mark.parametrize("factor", [[1.0, 1.0, 1.0], [3.0, 0.1, 20.0]], ids=str)
def test_the_scale_makes_standard_deviations_honest_on_new_samples(factor):
    factor = torch.tensor(factor)
    scale = updated(honest(5000, factor)).conformal_scale()
    torch.testing.assert_close(scale, factor, atol=0, rtol=0.05)
    assert figures_of(honest(20000, factor, seed=1), scale=scale)["coverage"].item() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("n", [1, 5, 9, 13, 100])
def test_the_scale_covers_nine_tenths_of_what_it_was_found_on(n):
    samples = honest(n, ONES)
    scale = updated(samples).conformal_scale()
    covered = figures_of(samples, scale=scale * (1 + 1e-6))["note_velocity_coverage"].item()
    assert 0.9 <= covered <= 0.9 + 2 / n


def test_errors_in_all_sizes_stay_honest():
    """Whatever the distribution: here a Cauchy's, with no variance."""
    generator = torch.Generator().manual_seed(0)
    error = torch.distributions.Cauchy(0.0, 1.0).icdf(torch.rand(20000, 3, generator=generator).clamp(1e-4, 1 - 1e-4))
    zeros, ones = torch.zeros(20000, 3), torch.ones(20000, 3)
    samples = (torch.zeros(()), Prediction(zeros.long(), error / STEPS, ones), zeros.long(), zeros)
    first = (samples[0], Prediction(*(part[:9000] for part in samples[1])), *(part[:9000] for part in samples[2:]))
    scale = updated(first).conformal_scale()
    assert figures_of(samples, scale=scale)["coverage"].item() == pytest.approx(0.9, abs=0.01)


def test_reset_forgets():
    metrics = updated(batch(9, seed=1))
    metrics.reset()
    metrics.update(*batch(5, seed=2), ONES)
    assert metrics.compute() == figures_of(batch(5, seed=2))


def test_counting_keeps_no_graph():
    loss, *rest = batch(5)
    metrics = updated((loss.requires_grad_() * 2, *rest))
    assert not any(figure.requires_grad for figure in metrics.compute().values())


def test_metrics_are_no_part_of_a_checkpoint():
    assert updated(batch(9)).state_dict() == {}


def test_what_two_processes_counted_adds_up():
    first, second = updated(batch(9, seed=1)), updated(batch(30, seed=2))
    both = updated(batch(9, seed=1), batch(30, seed=2))
    first.merge_state(second)
    for name, figure in both.compute().items():
        torch.testing.assert_close(first.compute()[name], figure, msg=name)
    torch.testing.assert_close(first.conformal_scale(), both.conformal_scale())
