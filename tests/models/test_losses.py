import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from src.errors import ConfigError
from src.models.decoders import Prediction, interpolate, median
from src.models.losses import CrossEntropy, Gaussian, HeadWeights, Ordinal, Regression, SoftTarget, WeightedCrossEntropy
from src.param_tensors import ParamTensors
from src.params import ParamSpec

VELOCITY = ParamSpec("note_velocity", 64, 127, 7)  # 10 classes
DECAY = ParamSpec("log10_decay_time", -2.0, 0.3, 0.1)  # 24 classes
WAVEFORM = ParamSpec("waveform", 0, 2, 1, names=("saw", "square", "triangle"))
SPECS = [VELOCITY, DECAY]
CLASSIFYING = [
    CrossEntropy(),
    CrossEntropy(0.1),
    SoftTarget(1.0),
    SoftTarget(1.5),
    WeightedCrossEntropy(),
    WeightedCrossEntropy(2.0, 1.0),
    Ordinal(),
    Ordinal("l1", weight=0.5),
    Ordinal("l2"),
]
NUMBERS = [Regression(), Regression(0.3), Gaussian(), Gaussian(0.0)]
LOSSES = [*CLASSIFYING, *NUMBERS]

of_all = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
of_classifying = pytest.mark.parametrize("loss", CLASSIFYING, ids=lambda loss: type(loss).__name__)
of_numbers = pytest.mark.parametrize("loss", NUMBERS, ids=lambda loss: type(loss).__name__)
for_each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


@pytest.fixture(autouse=True)
def in_eval_mode():
    """The likelihood of `Gaussian` is itself in eval mode alone."""
    for loss in LOSSES:
        loss.eval()


def loss_of(loss, logits, normalized, index, spec):
    """Mean loss of one head."""
    heads = ParamTensors([spec]).to(logits.device)
    return loss.per_head([logits], normalized.unsqueeze(1), index.unsqueeze(1), heads)[0]


def predict(loss, logits, spec):
    """Prediction of one head."""
    prediction = loss.decoder(ParamTensors([spec]).to(logits.device))([logits])
    return Prediction(*(tensor[:, 0] for tensor in prediction))


def truths(spec, n=40, seed=0):
    """Positions in the range, and their classes."""
    normalized = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalized, spec.index_from_normalized(normalized).long()


def grid_truths(spec, n=40):
    """The same on points of the grid."""
    index = torch.arange(n) % spec.n_classes
    return spec.normalized_from_index(index.double()), index


def random_logits(loss, spec, n=40):
    generator = torch.Generator().manual_seed(3)
    return 2 * torch.randn(n, loss.head_size(spec), generator=generator, dtype=torch.float64)


def n_steps(spec):
    return (spec.max - spec.min) / spec.step


@for_each_spec
def test_head_sizes(spec):
    assert {loss.head_size(spec) for loss in CLASSIFYING} == {spec.n_classes}
    assert Regression().head_size(spec) == 1
    assert Gaussian().head_size(spec) == 2


@for_each_spec
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_by_its_formula(spec, smoothing):
    loss, (normalized, index) = CrossEntropy(smoothing), truths(spec)
    logits = random_logits(loss, spec)
    target = (1 - smoothing) * np.eye(spec.n_classes)[index] + smoothing / spec.n_classes
    expected = -(target * log_softmax(logits.numpy(), axis=1)).sum(axis=1).mean()
    assert loss_of(loss, logits, normalized, index, spec).item() == pytest.approx(expected)


@for_each_spec
@pytest.mark.parametrize("sigma", [0.2, 0.5, 2.0])
def test_soft_targets_by_their_formula(spec, sigma):
    loss, (normalized, index) = SoftTarget(sigma), truths(spec)
    logits = random_logits(loss, spec)
    centre = normalized.numpy() * n_steps(spec)
    target = np.exp(-((np.arange(spec.n_classes) - centre[:, None]) ** 2) / (2 * sigma**2))
    target /= target.sum(axis=1, keepdims=True)
    expected = -(target * log_softmax(logits.numpy(), axis=1)).sum(axis=1).mean()
    assert loss_of(loss, logits, normalized, index, spec).item() == pytest.approx(expected)


@for_each_spec
def test_a_narrow_soft_target_is_cross_entropy(spec):
    normalized, index = grid_truths(spec)
    logits = random_logits(CrossEntropy(), spec)
    sharp = loss_of(SoftTarget(0.05), logits, normalized, index, spec)
    torch.testing.assert_close(sharp, loss_of(CrossEntropy(), logits, normalized, index, spec))


@for_each_spec
@pytest.mark.parametrize(("alpha", "weight"), [(1.0, 0.3), (2.0, 1.0), (0.5, 2.0)])
def test_weighted_cross_entropy_by_its_formula(spec, alpha, weight):
    loss, (normalized, index) = WeightedCrossEntropy(alpha, weight), truths(spec)
    logits = random_logits(loss, spec)
    probability = np.exp(log_softmax(logits.numpy(), axis=1))
    distance = np.abs(np.arange(spec.n_classes) - index.numpy()[:, None])
    wrong = (distance**alpha * np.log(1 - probability)).sum(axis=1)
    expected = (-np.log(probability[np.arange(40), index]) - weight * wrong).mean()
    assert loss_of(loss, logits, normalized, index, spec).item() == pytest.approx(expected)


@for_each_spec
@pytest.mark.parametrize("loss", [WeightedCrossEntropy(weight=0.0)], ids=str)
def test_without_its_price_weighted_cross_entropy_is_cross_entropy(spec, loss):
    normalized, index = truths(spec)
    logits = random_logits(loss, spec)
    plain = loss_of(CrossEntropy(), logits, normalized, index, spec)
    torch.testing.assert_close(loss_of(loss, logits, normalized, index, spec), plain)


@for_each_spec
@pytest.mark.parametrize("distance", ["l1", "l2", "huber"])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_ordinal_by_its_formula(spec, distance, weight):
    loss, (normalized, index) = Ordinal(distance, delta=0.6, weight=weight), truths(spec)
    logits = random_logits(loss, spec)
    likelihood = log_softmax(logits.numpy(), axis=1)
    error = np.abs(np.exp(likelihood) @ np.arange(spec.n_classes) - normalized.numpy() * n_steps(spec))
    price = {
        "l1": error,
        "l2": error**2 / 2,
        "huber": np.where(error < 0.6, error**2 / 2, 0.6 * (error - 0.3)),
    }[distance]
    expected = (price - weight * likelihood[np.arange(40), index]).mean()
    assert loss_of(loss, logits, normalized, index, spec).item() == pytest.approx(expected)


@for_each_spec
@pytest.mark.parametrize("delta", [0.3, 1.0, 5.0])
def test_regression_is_hubers_loss_of_the_error_in_steps(spec, delta):
    loss, (normalized, index) = Regression(delta), truths(spec)
    logits = random_logits(loss, spec)
    position = 1 / (1 + np.exp(-logits[:, 0].numpy()))
    error = np.abs(position - normalized.numpy()) * n_steps(spec)
    expected = np.where(error < delta, error**2 / 2, delta * (error - delta / 2)).mean()
    assert loss_of(loss, logits, normalized, index, spec).item() == pytest.approx(expected)


@for_each_spec
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_gaussian_is_the_likelihood_of_torchs_normal_distribution(spec, beta):
    loss, (normalized, index) = Gaussian(beta).eval(), truths(spec)
    logits = random_logits(loss, spec)
    prediction = predict(loss, logits, spec)
    error = (prediction.normalized - normalized) * n_steps(spec)
    likelihood = torch.distributions.Normal(0.0, prediction.std).log_prob(error)
    assert loss_of(loss, logits, normalized, index, spec).item() == pytest.approx(-likelihood.mean().item())
    weighted = (-likelihood * prediction.std ** (2 * beta)).mean()
    assert loss_of(loss.train(), logits, normalized, index, spec).item() == pytest.approx(weighted.item())


@for_each_spec
def test_with_beta_1_the_mean_is_fitted_as_squared_error_does(spec):
    normalized, index = truths(spec)
    logits = random_logits(Gaussian(), spec).requires_grad_()
    loss_of(Gaussian(1.0).train(), logits, normalized, index, spec).backward()
    mean = logits.detach()[:, :1].clone().requires_grad_()
    loss_of(Regression(1e6), mean, normalized, index, spec).backward()  # never linear
    torch.testing.assert_close(logits.grad[:, :1], mean.grad)


@for_each_spec
def test_a_gaussian_that_knows_nothing_is_as_wide_as_a_uniform_distribution(spec):
    prediction = predict(Gaussian(), torch.zeros(1, 2), spec)
    assert prediction.normalized.item() == 0.5
    assert prediction.std.item() == pytest.approx(n_steps(spec) / math.sqrt(12))


def test_losses_of_numbers_measure_every_parameter_in_its_own_steps():
    for spec in SPECS:  # a step and a half beside the middle of the range
        logits = torch.logit(torch.full((4, 1), 0.5 + 1.5 * spec.step / spec.range, dtype=torch.float64))
        middle = torch.full((4,), 0.5, dtype=torch.float64)
        assert loss_of(Regression(100.0), logits, middle, torch.zeros(4).long(), spec).item() == pytest.approx(
            1.5**2 / 2
        )


def best_logits(loss, spec, normalized, index):
    """Where the gradient must vanish, by hand."""
    if isinstance(loss, Regression):
        return torch.logit(normalized)[:, None]
    grid = torch.arange(spec.n_classes)
    if isinstance(loss, SoftTarget):
        return -0.5 * ((grid - normalized[:, None] * spec.range / spec.step) / loss.sigma) ** 2
    smoothing = getattr(loss, "label_smoothing", 0.0) or 1e-12
    return torch.log((1 - smoothing) * (grid == index[:, None]).double() + smoothing / spec.n_classes)


@pytest.mark.parametrize("loss", [*CLASSIFYING, *NUMBERS[:2]], ids=lambda loss: type(loss).__name__)
@for_each_spec
def test_the_true_value_is_the_minimum(loss, spec):
    normalized, index = grid_truths(spec)
    normalized = normalized.clamp(1e-12, 1 - 1e-12) if isinstance(loss, Regression) else normalized
    logits = best_logits(loss, spec, normalized, index).requires_grad_()
    least = loss_of(loss, logits, normalized, index, spec)
    least.backward()
    assert logits.grad.abs().max() < 1e-9
    for seed in range(20):
        noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        worse = loss_of(loss, logits + 0.3 * noise, normalized, index, spec)
        assert worse > least - 1e-9  # that of hard labels is at infinity


@for_each_spec
def test_the_best_gaussian_is_as_wide_as_the_errors_are(spec):
    error = torch.tensor([-0.4, 0.1, 0.7, -1.1], dtype=torch.float64)
    normalized, index = 0.5 + error / n_steps(spec), torch.zeros(4).long()
    found = {}
    for log_std in np.linspace(-4, 0, 201):
        logits = torch.tensor([[0.0, log_std]], dtype=torch.float64).expand(4, 2)
        std = predict(Gaussian(), logits, spec).std[0].item()
        found[std] = loss_of(Gaussian().eval(), logits, normalized, index, spec).item()
    assert min(found, key=found.get) == pytest.approx(error.square().mean().sqrt().item(), rel=0.01)


@of_all
@for_each_spec
def test_a_step_down_the_gradient_lowers_the_loss(loss, spec):
    normalized, index = truths(spec)
    logits = random_logits(loss, spec).requires_grad_()
    before = loss_of(loss, logits, normalized, index, spec)
    before.backward()
    assert logits.grad.abs().max() > 0
    assert loss_of(loss, logits - 1e-3 * logits.grad, normalized, index, spec) < before


@of_all
@for_each_spec
def test_gradients_are_those_of_finite_differences(loss, spec):
    normalized, index = truths(spec, 3)
    logits = random_logits(loss, spec, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda of_head: loss_of(loss, of_head, normalized, index, spec), logits)


@of_classifying
def test_the_gradient_pulls_up_the_true_class_alone(loss):
    logits = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    normalized = VELOCITY.normalized_from_index(torch.tensor([4.0], dtype=torch.float64))
    loss_of(loss, logits, normalized, torch.tensor([4]), VELOCITY).backward()
    assert logits.grad.argmin() == 4
    assert logits.grad[0, 4] < 0
    assert logits.grad.sum().item() == pytest.approx(0.0, abs=1e-12)
    assert logits.grad[0, 9] > 0


@of_numbers
@pytest.mark.parametrize(("truth", "sign"), [(0.9, -1), (0.1, 1)])
def test_the_gradient_of_a_mean_points_away_from_the_true_value(loss, truth, sign):
    logits = torch.zeros(1, loss.head_size(DECAY), requires_grad=True)
    loss_of(loss, logits, torch.tensor([truth]), torch.tensor([0]), DECAY).backward()
    assert torch.sign(logits.grad[0, 0]).item() == sign


def certain(index, n_classes=10):
    """Logits of a network that is almost sure of a class."""
    return 5.0 * torch.eye(n_classes)[[index]]


@pytest.mark.parametrize("loss", CLASSIFYING[2:], ids=lambda loss: type(loss).__name__)
def test_the_farther_the_miss_the_higher_the_price(loss):
    normalized, index = torch.tensor([2 / 9]), torch.tensor([2])
    costs = [loss_of(loss, certain(guess), normalized, index, VELOCITY).item() for guess in range(2, 10)]
    assert (np.diff(costs[: 5 if isinstance(loss, SoftTarget) else None]) > 0).all()  # a Gaussian ends after 4 sigma


def test_cross_entropy_prices_all_misses_alike():
    normalized, index = torch.tensor([4 / 9]), torch.tensor([4])
    costs = [loss_of(CrossEntropy(), certain(guess), normalized, index, VELOCITY).item() for guess in (5, 9, 4)]
    assert costs[0] == costs[1] > costs[2]


@pytest.mark.parametrize(
    "loss", [loss for loss in CLASSIFYING if not isinstance(loss, SoftTarget)], ids=lambda loss: type(loss).__name__
)
@for_each_spec
def test_classes_are_read_back(loss, spec):
    index = torch.arange(spec.n_classes)
    prediction = predict(loss, 40.0 * torch.eye(spec.n_classes), spec)
    assert prediction.index.dtype == torch.int64
    assert torch.equal(prediction.index, index)
    grid = spec.normalized_from_index(index.double()).clamp(0, 1).float()
    torch.testing.assert_close(prediction.normalized, grid, atol=1e-6, rtol=1e-5)
    rounding = torch.full_like(prediction.std, 1 / math.sqrt(12))
    torch.testing.assert_close(prediction.std, rounding, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("loss", [*CLASSIFYING, SoftTarget(0.2)], ids=lambda loss: type(loss).__name__)
def test_the_value_of_a_distribution_is_its_expectation_and_its_spread_that_of_the_grid(loss):
    odds = torch.zeros(1, 10)
    odds[0, 3], odds[0, 4] = 0.25, 0.75
    prediction = predict(loss, odds.log(), VELOCITY)
    if not (isinstance(loss, SoftTarget) and loss.sigma > 0.3):
        assert prediction.normalized.item() == pytest.approx(3.75 / 9)
    assert prediction.std.item() == pytest.approx(math.sqrt(0.25 * 0.75 + 1 / 12))


@for_each_spec
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 4.0])
def test_soft_targets_are_read_back_exactly_up_to_the_ends_of_the_grid(spec, sigma):
    normalized = torch.linspace(0, 1, 1001)
    loss = SoftTarget(sigma)
    prediction = predict(loss, best_logits(loss, spec, normalized, None), spec)
    assert (prediction.normalized - normalized).abs().max() * n_steps(spec) < 0.02
    at = normalized * n_steps(spec)
    between = ((at - at.round()).abs() - 0.5).abs() < 0.1  # the border of two classes
    assert torch.equal(prediction.index[~between], spec.index_from_normalized(normalized).long()[~between])


def test_the_spread_of_soft_targets_is_their_width():
    normalized = torch.linspace(0.3, 0.7, 11)
    std = predict(SoftTarget(1.0), best_logits(SoftTarget(1.0), DECAY, normalized, None), DECAY).std
    torch.testing.assert_close(std, torch.full_like(std, math.sqrt(1 + 1 / 12)), atol=1e-3, rtol=0)


def test_soft_targets_in_doubt_take_the_most_likely_class_and_stay_out_of_the_middle():
    odds = torch.tensor([[0.3, 0.05, 0.0, 0.0, 0.0, 0.0, 0.05, 0.2, 0.2, 0.2]])
    index, normalized, std = predict(SoftTarget(1.0), odds.clamp(min=1e-9).log(), VELOCITY)
    assert index.item() == 0
    assert 6 < normalized.item() * 9 < 8  # the expectation is 5.2
    assert std.item() > 3


def test_the_median_of_classes_is_that_of_the_histogram():
    probability = torch.rand(50, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probability /= probability.sum(dim=1, keepdim=True)
    found = median(probability)
    for of_row, expected in zip(probability.numpy(), found.tolist(), strict=True):
        below = np.concatenate([[0.0], of_row.cumsum()])
        assert expected == pytest.approx(np.interp(0.5, below, np.arange(11) - 0.5))


def test_interpolation_is_numpys_for_tables_of_any_length():
    rng = np.random.default_rng(0)
    at = np.linspace(-1, 6, 300)
    x, y = np.full((2, 20), np.inf), rng.uniform(size=(2, 20))
    x[0], x[1, :7] = np.sort(rng.uniform(0, 5, 20)), np.sort(rng.uniform(0, 5, 7))
    tables = (torch.from_numpy(array) for array in (np.stack([at, at], axis=1), x, y))
    found = interpolate(*tables, torch.tensor([19, 6])).numpy()
    np.testing.assert_allclose(found[:, 0], np.interp(at, x[0], y[0]), atol=1e-12)
    np.testing.assert_allclose(found[:, 1], np.interp(at, x[1, :7], y[1, :7]), atol=1e-12)


@of_numbers
@for_each_spec
def test_positions_are_read_back_with_the_class_of_their_code(loss, spec):
    normalized, index = truths(spec, 1000)
    logits = torch.zeros(1000, loss.head_size(spec), dtype=torch.float64)
    logits[:, 0] = torch.logit(normalized)
    prediction = predict(loss, logits, spec)
    torch.testing.assert_close(prediction.normalized, normalized)
    assert prediction.index.dtype == torch.int64
    assert torch.equal(prediction.index, index)


def test_regression_has_the_same_spread_for_all():
    assert torch.equal(predict(Regression(), torch.randn(5, 1), DECAY).std, torch.ones(5))


@of_all
@for_each_spec
def test_predictions_stay_within_the_range_whatever_the_outputs(loss, spec):
    size = loss.head_size(spec)
    logits = torch.cat([s * torch.ones(1, size) for s in (-1e4, -50.0, 0.0, 50.0, 1e4)] + [1e4 * torch.eye(size)])
    index, normalized, std = predict(loss, logits, spec)
    assert ((normalized >= 0) & (normalized <= 1)).all()
    assert ((index >= 0) & (index < spec.n_classes)).all()
    assert (torch.isfinite(std) & (std > 0)).all()
    logits.requires_grad_()
    truth, true_index = torch.zeros(len(logits)), torch.zeros(len(logits)).long()
    found = loss_of(loss.train(), logits, truth, true_index, spec)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(logits.grad).all()


@of_all
def test_a_grid_beyond_the_range_is_kept_within(loss):
    with pytest.warns(UserWarning, match="not a whole number"):
        spec = ParamSpec(f"uneven_{id(loss)}", 0.0, 1.0, 0.3)
    assert spec.n_classes == 4
    size = loss.head_size(spec)
    logits = torch.full((1, size), 100.0) if size < 4 else 40.0 * torch.eye(4)[[3]]
    assert predict(loss, logits, spec).normalized.item() <= 1.0


@of_all
@for_each_spec
def test_the_loss_of_a_batch_is_the_mean_of_its_items(loss, spec):
    normalized, index = truths(spec)
    logits = random_logits(loss, spec)
    alone = [loss_of(loss, logits[i : i + 1], normalized[i : i + 1], index[i : i + 1], spec) for i in range(40)]
    torch.testing.assert_close(torch.stack(alone).mean(), loss_of(loss, logits, normalized, index, spec))


@of_all
def test_half_precision_reads_the_same_classes(loss):
    logits = random_logits(loss, VELOCITY).bfloat16()
    assert torch.equal(predict(loss, logits, VELOCITY).index, predict(loss, logits.float(), VELOCITY).index)


def all_heads(loss, specs):
    logits = [random_logits(loss, spec).requires_grad_() for spec in specs]
    normalized, index = (torch.stack(per_head, dim=1) for per_head in zip(*map(truths, specs), strict=True))
    return logits, normalized, index


@of_all
@pytest.mark.parametrize("training", [True, False])
def test_all_heads_at_once_are_each_head_alone(loss, training):
    specs = [VELOCITY, DECAY, ParamSpec("note_number", 40, 47, 1), DECAY]
    if loss in CLASSIFYING:
        specs.append(WAVEFORM)
    loss.train(training)
    logits, normalized, index = all_heads(loss, specs)
    together = loss.per_head(logits, normalized, index, ParamTensors(specs))
    together.sum().backward()
    for head, spec in enumerate(specs):
        alone = logits[head].detach().clone().requires_grad_()
        of_head = loss_of(loss, alone, normalized[:, head], index[:, head], spec)
        of_head.backward()
        torch.testing.assert_close(together[head], of_head)
        torch.testing.assert_close(logits[head].grad, alone.grad)


@pytest.mark.parametrize("loss", CLASSIFYING[2:], ids=lambda loss: type(loss).__name__)
def test_categories_have_no_neighbours(loss):
    normalized, index = torch.tensor([0.1, 0.6, 0.9]), torch.tensor([0, 1, 2])
    logits = random_logits(loss, WAVEFORM, 3).float()
    plain = loss_of(CrossEntropy(), logits, normalized, index, WAVEFORM)
    torch.testing.assert_close(loss_of(loss, logits, normalized, index, WAVEFORM), plain)
    costs = [loss_of(loss, certain(guess, 3), normalized[:1], index[:1], WAVEFORM) for guess in (1, 2)]
    assert costs[0] == costs[1]


@of_classifying
def test_the_value_of_categories_is_that_of_the_most_likely(loss):
    prediction = predict(loss, torch.tensor([[2.0, 0.0, 1.9], [0.0, 0.1, 0.0]]), WAVEFORM)
    assert prediction.index.tolist() == [0, 1]
    assert prediction.normalized.tolist() == [0.0, 0.5]


@of_numbers
def test_numbers_are_refused_for_categories(loss):
    with pytest.raises(
        ConfigError, match=rf"(?s)waveform.*saw, square, triangle.*{type(loss).__name__}.*cross_entropy"
    ):
        loss.head_size(WAVEFORM)


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda: SoftTarget(0.0), "loss.sigma is 0.0"),
        (lambda: SoftTarget(math.nan), "loss.sigma is nan"),
        (lambda: WeightedCrossEntropy(alpha=-1.0), "loss.alpha is -1.0"),
        (lambda: WeightedCrossEntropy(weight=-0.1), "loss.weight is -0.1"),
        (lambda: Ordinal("l3"), "loss.distance is 'l3'; choose one of l1, l2, huber"),
        (lambda: Ordinal(delta=0.0), "loss.delta is 0.0"),
        (lambda: Ordinal(weight=-1.0), "loss.weight is -1.0"),
        (lambda: Regression(-1.0), "loss.delta is -1.0"),
        (lambda: Gaussian(1.5), "loss.beta is 1.5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_senseless_settings_are_refused_by_name(make, facts):
    with pytest.raises(ConfigError, match=facts):
        make()


NAMES = ("a", "b", "c")
COSTS = torch.tensor([0.2, 1.0, 3.0])


def test_equal_weights_are_the_mean():
    assert HeadWeights("equal", NAMES, CrossEntropy())(COSTS).item() == pytest.approx(1.4)
    ones = HeadWeights(dict.fromkeys(NAMES, 7.0), NAMES, CrossEntropy())
    assert ones(COSTS).item() == pytest.approx(1.4)


def test_given_weights_are_shares_and_the_others_weigh_1():
    weights = HeadWeights({"c": 2.0, "a": 0.0}, NAMES, CrossEntropy())
    assert weights(COSTS).item() == pytest.approx((1.0 + 2 * 3.0) / 3)
    assert weights.state_dict() == {}


def test_learnt_weights_move_to_the_optimum_in_closed_form():
    weights = HeadWeights("learnt", NAMES, CrossEntropy())
    optimizer = torch.optim.Adam(weights.parameters(), lr=0.05)
    weights(COSTS).backward()
    torch.testing.assert_close(weights.log_variance.grad, (0.5 - COSTS) / 3)
    for _ in range(300):
        optimizer.zero_grad()
        weights(COSTS).backward()
        optimizer.step()
    torch.testing.assert_close(weights.log_variance.detach(), torch.log(2 * COSTS), atol=1e-3, rtol=0)
    costs = COSTS.clone().requires_grad_()
    weights(costs).backward()
    torch.testing.assert_close(costs.grad, 1 / (2 * COSTS) / 3, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("weights", "facts"),
    [
        ("fair", "head_weights is 'fair'; give equal, learnt"),
        ({"d": 1.0}, "names d; the heads are a, b, c"),
        ({"a": -1.0}, r"are \[-1.0, 1.0, 1.0\]"),
        ({"a": math.inf}, r"are \[inf, 1.0, 1.0\]"),
        (dict.fromkeys(NAMES, 0.0), "not all 0"),
    ],
    ids=str,
)
def test_senseless_weights_are_refused(weights, facts):
    with pytest.raises(ConfigError, match=facts):
        HeadWeights(weights, NAMES, CrossEntropy())


def test_weights_are_not_learnt_of_a_loss_without_floor():
    with pytest.raises(ConfigError, match=r"learnt, but Gaussian"):
        HeadWeights("learnt", NAMES, Gaussian())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_all_heads_are_read_as_each_is(loss):
    specs = [VELOCITY, DECAY, ParamSpec("filter_cutoff", 200.0, 2000.0, 100.0)]
    torch.manual_seed(0)
    logits = [3 * torch.randn(64, loss.head_size(spec)) for spec in specs]
    said = loss.decoder(ParamTensors(specs))(logits)
    for head, (of_head, spec) in enumerate(zip(logits, specs, strict=True)):
        alone = predict(loss, of_head, spec)
        assert torch.equal(said.index[:, head], alone.index)
        torch.testing.assert_close(said.normalized[:, head], alone.normalized)
        torch.testing.assert_close(said.std[:, head], alone.std)


@pytest.mark.parametrize("steps", [1, 5, 9, 10, 25, 63, 100, 255])
def test_classes_are_those_of_the_codes(steps):
    spec = ParamSpec("any", -0.7, -0.7 + 0.3 * steps, 0.3)
    normalized = torch.linspace(0, 1, 5001)
    found = ParamTensors([VELOCITY, spec]).index_from_normalized(torch.stack([normalized, normalized], dim=1))
    assert torch.equal(found[:, 1], spec.index_from_normalized(normalized).long())
    assert torch.equal(found[:, 0], VELOCITY.index_from_normalized(normalized).long())
