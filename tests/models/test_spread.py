import math

import pytest
import torch

from src.models.decoders import Prediction
from src.models.metrics import WIDTH, HeadMetrics, conformal_quantile, worst_tenth
from src.models.spread import LEAST_SOUNDS, Spread, joined
from src.param_tensors import ParamTensors
from src.params import ParamSpec

SPECS = [ParamSpec("a", 0, 1, 0.1), ParamSpec("b", -2.0, 3.0, 0.5)]
N = 4000


def sounds(n, seed=0, units=1.0):
    """Outputs of two heads, errors in standard deviations of the loss, and the true factors, `(sound, head)`."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, 5, generator=generator)
    true = torch.exp(torch.stack([0.8 * torch.tanh(outputs[:, 0]), -0.5 + 0.6 * outputs[:, 1].sin()], dim=1))
    error = true * torch.randn(n, 2, generator=generator)
    return units * outputs, error.abs(), true


@pytest.fixture(scope="module")
def fitted():
    spread = Spread(5, 2)
    outputs, deviation, _ = sounds(N)
    assert spread.fit(outputs, deviation).tolist() == [True, True]
    return spread


def test_nothing_is_changed_before_anything_is_fitted():
    assert torch.equal(Spread(5, 2)([torch.randn(7, 2), 100 * torch.randn(7, 3)]), torch.ones(7, 2))


def test_known_standard_deviations_are_recovered(fitted):
    outputs, _, true = sounds(2000, seed=1)
    ratio = (fitted.of(outputs) / true).log()
    assert ratio.mean(dim=0).abs().max() < 0.05
    assert ratio.std(dim=0).max() < 0.12
    assert true.log().std(dim=0).min() > 0.35  # which one factor for all would leave


def test_intervals_hold_as_often_as_promised_overall_and_in_every_tenth(fitted):
    held, deviation, _ = sounds(2000, seed=2)
    new, error, true = sounds(20000, seed=3)
    scale = conformal_quantile(deviation / fitted.of(held)) / WIDTH
    ratio = error / (fitted.of(new) * scale)
    shares = (ratio <= WIDTH).float().mean(dim=0)
    spread = 4 * math.sqrt(0.9 * 0.1 * (1 / 2000 + 1 / 20000))  # of the sounds that scale, and of those that are new
    assert (shares - 0.9).abs().max() < spread
    assert worst_tenth(ratio, true).min() > 0.85
    one = error * WIDTH / conformal_quantile(deviation)
    assert worst_tenth(one, true).max() < 0.8


def test_units_of_the_outputs_and_of_the_errors_do_not_matter(fitted):
    outputs, deviation, _ = sounds(N)
    other = Spread(5, 2)
    other.fit(20 * outputs + 3, 7 * deviation)
    new, _, _ = sounds(100, seed=4)
    torch.testing.assert_close(other.of(20 * new + 3), 7 * fitted.of(new), rtol=2e-2, atol=0)


def test_the_same_sounds_give_the_same_factors(fitted):
    again = Spread(5, 2)
    outputs, deviation, _ = sounds(N)
    torch.manual_seed(99)
    again.fit(outputs, deviation)
    for name, tensor in fitted.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_head_with_too_few_sounds_keeps_one_factor_and_does_not_disturb_the_others():
    outputs, deviation, _ = sounds(N)
    deviation[LEAST_SOUNDS - 1 :, 1] = math.nan
    spread = Spread(5, 2)
    assert spread.fit(outputs, deviation).tolist() == [True, False]
    factor = spread.of(outputs)
    assert torch.equal(factor[:, 1], torch.ones(N))
    assert factor[:, 0].log().std() > 0.4
    assert not spread.fit(outputs[:50], deviation[:50]).any()
    assert torch.equal(spread.of(outputs), torch.ones(N, 2))


def test_all_that_is_fitted_is_in_the_state_and_nothing_learns(fitted):
    assert not list(fitted.parameters())
    copy = Spread(5, 2)
    copy.load_state_dict(fitted.state_dict())
    outputs, _, _ = sounds(10, seed=5)
    assert torch.equal(copy.of(outputs), fitted.of(outputs))
    assert not fitted.of(outputs).requires_grad
    copy.reset()
    assert torch.equal(copy.of(outputs), torch.ones(10, 2))


def test_the_outputs_of_all_heads_are_read_without_limits_below():
    found = joined([torch.tensor([[1.0, -3e4]]), torch.tensor([[-math.inf]])])
    assert found.tolist() == [[1.0, -30.0, -30.0]]


# ----- figures of intervals


def test_the_worst_tenth_is_found_by_whatever_orders_the_sounds():
    n = 1000
    place = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    deviation = torch.ones(n, 2)
    last = place[:, 2].argsort()[-100:]
    deviation[last[:30], 0] = 2.0
    assert worst_tenth(deviation, place).tolist() == [pytest.approx(0.7), 1.0]
    deviation[:, 1] = math.nan
    assert worst_tenth(deviation, place)[1].isnan()


def test_all_heads_hold_together_as_often_as_asked_when_scaled_for_it():
    metrics = HeadMetrics(ParamTensors(SPECS), coverage=True, tenths=True)
    _, fit, _ = sounds(3000, seed=6)
    _, test, _ = sounds(20000, seed=7)
    scale = metrics.scale_of(fit)
    joint = metrics.joint_of(fit / scale)
    together = [(test <= WIDTH * scale * factor).all(dim=1).float().mean().item() for factor in (1, joint)]
    assert together[0] == pytest.approx(0.81, abs=0.02)  # of two independent ones
    assert together[1] == pytest.approx(0.9, abs=0.02)
    assert joint > 1


def test_widths_are_those_within_the_range():
    heads = ParamTensors(SPECS)
    metrics = HeadMetrics(heads, coverage=True, tenths=True)
    normalized = torch.tensor([[0.5, 0.0], [0.5, 1.0]])
    said = Prediction(torch.zeros(2, 2).long(), normalized, torch.tensor([[1.0, 2.0], [100.0, 2.0]]))
    metrics.update(torch.zeros(()), said, torch.zeros(2, 2).long(), normalized, torch.ones(2))
    figures = metrics.compute()
    assert figures["a_width"] == pytest.approx((2 * WIDTH + 10) / 2)
    assert figures["b_width"] == pytest.approx(2 * WIDTH)
    assert figures["coverage_together"] == 1
    assert "coverage_joint" not in figures
