import numpy as np
import pytest

from src.evaluation.audit import LEVEL_NOISE, audit, information_std
from src.params import ParamSpec

SPECS = (ParamSpec("a", 0.0, 10.0, 1.0), ParamSpec("b", -1.0, 1.0, 0.5), ParamSpec("c", 0.0, 1.0, 0.25))
SLOPES = np.array(
    [[3.0, 1.0, 0.0], [0.5, -2.0, 0.0], [1.0, 4.0, 0.0], [0.0, 2.0, 0.0]]
)  # levels per step, (pixel, parameter)
STEPS = np.array([spec.step for spec in SPECS])


def linear(value, range_slope=0.0):
    """An image that is linear in the parameters: every figure has a closed form."""
    steps = value / STEPS
    db = np.stack([0 * steps[:, 2], range_slope * steps[:, 2]], axis=1)
    return steps @ SLOPES.T, db


def values(n=20):
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(spec.min, spec.max, n) for spec in SPECS], axis=1)


def test_the_change_by_one_step_is_the_slope():
    a, b, c = audit(values(), SPECS, linear)
    assert a.level_max == pytest.approx(3.0)
    assert a.level_rms == pytest.approx(np.sqrt(np.mean(SLOPES[:, 0] ** 2)))
    assert b.level_max == pytest.approx(4.0)
    assert (a.invisible, b.invisible, c.invisible) == (0.0, 0.0, 1.0)


def test_a_parameter_shows_in_the_range_alone():
    *_, c = audit(values(), SPECS, lambda value: linear(value, range_slope=0.1))
    assert c.spec_max_db == pytest.approx(0.1)
    assert c.spec_min_db == 0
    assert c.invisible == 0.0


def test_the_std_of_a_linear_image_is_that_of_least_squares():
    expected = np.sqrt(np.diag(np.linalg.inv(SLOPES[:, :2].T @ SLOPES[:, :2]))) * LEVEL_NOISE
    (std,) = information_std((SLOPES.T @ SLOPES / LEVEL_NOISE**2)[None])
    np.testing.assert_allclose(std[:2], expected, rtol=1e-6)
    assert std[2] == np.inf


def test_least_squares_reaches_it():
    rng = np.random.default_rng(1)
    seen = SLOPES[:, :2]
    truth = np.array([2.0, 1.0])
    noisy = seen @ truth + rng.normal(0, LEVEL_NOISE, (20_000, 4))
    estimates = noisy @ np.linalg.pinv(seen).T
    (std,) = information_std((seen.T @ seen / LEVEL_NOISE**2)[None])
    np.testing.assert_allclose(estimates.std(axis=0), std, rtol=0.02)


def test_two_parameters_that_act_alike_cannot_be_told_apart():
    same = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    (std,) = information_std((same.T @ same)[None])
    assert std[0] == std[1] == np.inf
    assert std[2] == pytest.approx(1.0)


def test_no_information_is_no_limit():
    assert np.isinf(information_std(np.zeros((2, 3, 3)))).all()
