import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from src.models.losses import CrossEntropy, Regression, SoftTarget
from src.params import ParamSpec

VELOCITY = ParamSpec("note_velocity", 64, 127, 7)  # 10 classes
DECAY = ParamSpec("log10_decay_time", -2.0, 0.3, 0.1)  # 24 classes
SPECS = [VELOCITY, DECAY]
CLASSIFYING = [CrossEntropy(), CrossEntropy(0.1), SoftTarget(), SoftTarget(1.5)]
LOSSES = [*CLASSIFYING, Regression(), Regression(0.3)]

of_all = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
of_classifying = pytest.mark.parametrize("loss", CLASSIFYING, ids=lambda loss: type(loss).__name__)
for_each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def truths(spec, n=40, seed=0):
    """Positions in the range, and their classes."""
    normalized = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalized, spec.index_from_normalized(normalized).long()


def random_logits(loss, spec, n=40):
    generator = torch.Generator().manual_seed(3)
    return 2 * torch.randn(n, loss.head_size(spec), generator=generator, dtype=torch.float64)


@for_each_spec
def test_head_sizes(spec):
    assert CrossEntropy().head_size(spec) == SoftTarget().head_size(spec) == spec.n_classes
    assert Regression().head_size(spec) == 1


@for_each_spec
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_by_its_formula(spec, smoothing):
    loss, (normalized, index) = CrossEntropy(smoothing), truths(spec)
    logits = random_logits(loss, spec)
    target = (1 - smoothing) * np.eye(spec.n_classes)[index] + smoothing / spec.n_classes
    expected = -(target * log_softmax(logits.numpy(), axis=1)).sum(axis=1).mean()
    assert loss(logits, normalized, index, spec).item() == pytest.approx(expected)


@for_each_spec
@pytest.mark.parametrize("sigma", [0.2, 0.5, 2.0])
def test_soft_targets_by_their_formula(spec, sigma):
    loss, (normalized, index) = SoftTarget(sigma), truths(spec)
    logits = random_logits(loss, spec)
    centre = normalized.numpy() * (spec.max - spec.min) / spec.step
    target = np.exp(-((np.arange(spec.n_classes) - centre[:, None]) ** 2) / (2 * sigma**2))
    target /= target.sum(axis=1, keepdims=True)
    expected = -(target * log_softmax(logits.numpy(), axis=1)).sum(axis=1).mean()
    assert loss(logits, normalized, index, spec).item() == pytest.approx(expected)


@for_each_spec
def test_a_narrow_soft_target_is_cross_entropy(spec):
    index = torch.arange(spec.n_classes)
    normalized = spec.normalized_from_index(index.double())
    logits = random_logits(CrossEntropy(), spec, spec.n_classes)
    sharp = SoftTarget(0.05)(logits, normalized, index, spec)
    torch.testing.assert_close(sharp, CrossEntropy()(logits, normalized, index, spec))


@for_each_spec
@pytest.mark.parametrize("delta", [0.3, 1.0, 5.0])
def test_regression_is_hubers_loss_of_the_error_in_steps(spec, delta):
    loss, (normalized, index) = Regression(delta), truths(spec)
    logits = random_logits(loss, spec)
    position = 1 / (1 + np.exp(-logits[:, 0].numpy()))
    error = np.abs(position - normalized.numpy()) * (spec.max - spec.min) / spec.step
    expected = np.where(error < delta, error**2 / 2, delta * (error - delta / 2)).mean()
    assert loss(logits, normalized, index, spec).item() == pytest.approx(expected)


def test_regression_measures_every_parameter_in_its_own_steps():
    loss = Regression(100.0)
    for spec in SPECS:  # a step and a half beside the middle of the range
        logits = torch.logit(torch.full((4, 1), 0.5 + 1.5 * spec.step / spec.range, dtype=torch.float64))
        middle = torch.full((4,), 0.5, dtype=torch.float64)
        assert loss(logits, middle, torch.zeros(4).long(), spec).item() == pytest.approx(1.5**2 / 2)


def best_logits(loss, spec, normalized, index):
    """Where the gradient must vanish, by hand."""
    if isinstance(loss, Regression):
        return torch.logit(normalized)[:, None]
    grid = torch.arange(spec.n_classes)
    if isinstance(loss, SoftTarget):
        return -0.5 * ((grid - normalized[:, None] * spec.range / spec.step) / loss.sigma) ** 2
    smoothing = loss.label_smoothing or 1e-12
    return torch.log((1 - smoothing) * (grid == index[:, None]).double() + smoothing / spec.n_classes)


@of_all
@for_each_spec
def test_the_truth_is_the_minimum(loss, spec):
    normalized, index = truths(spec)
    logits = best_logits(loss, spec, normalized, index).requires_grad_()
    least = loss(logits, normalized, index, spec)
    least.backward()
    assert logits.grad.abs().max() < 1e-9
    for seed in range(20):
        noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert loss(logits + 0.3 * noise, normalized, index, spec) > least - 1e-10  # that of hard labels is at infinity


@of_all
@for_each_spec
def test_a_step_down_the_gradient_lowers_the_loss(loss, spec):
    normalized, index = truths(spec)
    logits = random_logits(loss, spec).requires_grad_()
    before = loss(logits, normalized, index, spec)
    before.backward()
    assert loss(logits - 1e-3 * logits.grad, normalized, index, spec) < before


@of_classifying
def test_the_gradient_pulls_up_the_true_class_alone(loss):
    logits = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    normalized = VELOCITY.normalized_from_index(torch.tensor([4.0], dtype=torch.float64))
    loss(logits, normalized, torch.tensor([4]), VELOCITY).backward()
    assert logits.grad.argmin() == 4
    assert logits.grad[0, 4] < 0
    assert logits.grad.sum().item() == pytest.approx(0.0, abs=1e-12)
    assert (logits.grad[0, [0, 9]] > 0).all()


@pytest.mark.parametrize(("truth", "sign"), [(0.9, -1), (0.1, 1)])
def test_the_gradient_of_regression_points_away_from_the_truth(truth, sign):
    logits = torch.zeros(1, 1, requires_grad=True)
    Regression()(logits, torch.tensor([truth]), torch.tensor([0]), DECAY).backward()
    assert torch.sign(logits.grad).item() == sign


def test_near_misses_cost_soft_targets_less_and_cross_entropy_the_same():
    normalized, index = torch.tensor([4 / 9]), torch.tensor([4])

    def cost(loss, guess):
        return loss(5.0 * torch.eye(10)[[guess]], normalized, index, VELOCITY).item()

    costs = [cost(SoftTarget(), guess) for guess in (4, 5, 6)]
    assert costs[0] < costs[1] < costs[2]
    assert cost(CrossEntropy(), 5) == cost(CrossEntropy(), 9) > cost(CrossEntropy(), 4)


@of_classifying
@for_each_spec
def test_classes_are_read_back(loss, spec):
    index = torch.arange(spec.n_classes)
    prediction = loss.predict(40.0 * torch.eye(spec.n_classes), spec)
    assert prediction.index.dtype == torch.int64
    assert torch.equal(prediction.index, index)
    grid = spec.normalized_from_index(index.double()).clamp(0, 1).float()
    torch.testing.assert_close(prediction.normalized, grid, atol=1e-6, rtol=1e-5)


@of_classifying
def test_the_value_of_a_distribution_is_its_expectation(loss):
    odds = torch.zeros(1, 10)
    odds[0, 3], odds[0, 4] = 0.25, 0.75
    normalized = loss.predict(odds.log(), VELOCITY).normalized
    assert normalized.item() == pytest.approx(3.75 / 9)


def test_soft_targets_give_values_between_the_classes():
    normalized, _ = truths(DECAY)
    inner = (normalized * 0.8 + 0.1).float()  # near the ends of the grid the Gaussian is cut off
    logits = best_logits(SoftTarget(), DECAY, inner, None)
    found = SoftTarget().predict(logits, DECAY).normalized
    assert (found - inner).abs().max() * DECAY.range / DECAY.step < 0.03


@for_each_spec
def test_positions_are_read_back_with_the_class_of_their_code(spec):
    normalized, index = truths(spec, 1000)
    prediction = Regression().predict(torch.logit(normalized)[:, None], spec)
    torch.testing.assert_close(prediction.normalized, normalized)
    assert prediction.index.dtype == torch.int64
    assert torch.equal(prediction.index, index)


@of_all
@for_each_spec
def test_predictions_stay_within_the_range_whatever_the_outputs(loss, spec):
    size = loss.head_size(spec)
    logits = torch.cat([s * torch.ones(1, size) for s in (-1e4, -50.0, 0.0, 50.0, 1e4)] + [1e4 * torch.eye(size)])
    index, normalized = loss.predict(logits, spec)
    assert ((normalized >= 0) & (normalized <= 1)).all()
    assert ((index >= 0) & (index < spec.n_classes)).all()
    truth, true_index = torch.zeros(len(logits)), torch.zeros(len(logits)).long()
    assert torch.isfinite(loss(logits, truth, true_index, spec))


@of_all
def test_a_grid_beyond_the_range_is_kept_within(loss):
    with pytest.warns(UserWarning, match="not a whole number"):
        spec = ParamSpec(f"uneven_{id(loss)}", 0.0, 1.0, 0.3)
    assert spec.n_classes == 4
    logits = torch.full((1, 1), math.inf) if isinstance(loss, Regression) else 40.0 * torch.eye(4)[[3]]
    assert loss.predict(logits, spec).normalized.item() <= 1.0


@of_all
@for_each_spec
def test_the_loss_of_a_batch_is_the_mean_of_its_items(loss, spec):
    normalized, index = truths(spec)
    logits = random_logits(loss, spec)
    alone = [loss(logits[i : i + 1], normalized[i : i + 1], index[i : i + 1], spec) for i in range(40)]
    torch.testing.assert_close(torch.stack(alone).mean(), loss(logits, normalized, index, spec))


@of_all
def test_half_precision_reads_the_same_classes(loss):
    logits = random_logits(loss, VELOCITY).bfloat16()
    assert torch.equal(loss.predict(logits, VELOCITY).index, loss.predict(logits.float(), VELOCITY).index)
