import numpy as np
import pytest
import torch

from src.evaluation.domain import FAR
from src.evaluation.widening import Widening, deviation_of, perturbation_of, perturbed
from src.models.metrics import WIDTH
from src.params import ParameterSpace, ParamSpec

SPACE = ParameterSpace((ParamSpec("a", 0.0, 10.0, 1.0), ParamSpec("b", 0.0, 1.0, 0.01)))


def outside(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances up to 30, and deviations that grow with them, of the first parameter as their square."""
    rng = np.random.default_rng(seed)
    distance = np.exp(rng.uniform(-1, np.log(30), n))
    size = np.maximum(distance, 1)[:, None] ** [2, 0.5]
    return distance, size * np.abs(rng.standard_normal((n, 2))) / WIDTH


WIDENING = Widening.fit(*outside(4000, seed=1))


def factors(distance, widening=WIDENING):
    std = np.full((len(distance), 2), 1e-4)
    return widening.widened(std, np.asarray(distance, dtype=float), SPACE) / std


def test_coverage_is_90_percent_at_every_distance():
    distance, deviation = outside(20_000, seed=2)
    for low, high in ((0, 1), (1, 2), (2, 3), (3, FAR)):
        band = (distance > low) & (distance <= high)
        covered = np.mean(deviation[band] <= factors(distance[band]), axis=0)
        assert (covered > 0.87).all(), (low, high, covered)
        assert (covered < 0.95).all(), (low, high, covered)


def test_factors_are_1_inside_and_never_fall():
    distance = np.linspace(0, 60, 500)
    found = factors(distance)
    assert np.allclose(found[distance <= 1], 1)
    assert (np.diff(found, axis=0) >= -1e-9).all()
    assert np.array_equal(found, factors(distance[::-1])[::-1])


def test_intervals_of_far_sounds_have_a_step_at_least_even_at_an_edge():
    flat = Widening.fit(np.linspace(1, 100, 1000), np.zeros((1000, 2)))
    std = flat.widened(np.full((3, 2), 1e-9), np.array([1, FAR, FAR + 0.01]), SPACE)
    assert (std[:2] == 1e-9).all()
    assert (WIDTH * std[2] >= SPACE.step).all()


def test_behind_what_was_calibrated_anything_is_possible():
    std = WIDENING.widened(np.full((1, 2), 1e-9), np.array([1e6]), SPACE)
    assert np.allclose(std, SPACE.range / np.sqrt(12))


def test_no_error_bar_is_wider_than_the_range():
    huge = Widening(np.array([1.0, 2.0]), np.array([[1.0, 1.0], [1e9, 1e9]]))
    assert (huge.widened(np.ones((1, 2)), np.array([2.0]), SPACE) == SPACE.range).all()


def test_too_few_sounds_widen_nothing():
    few = Widening.fit(np.linspace(2, 3, 5), np.full((5, 2), 100.0))
    assert (factors([0.5, 2.5, FAR], few) == 1).all()


def test_what_does_not_count_is_left_out():
    distance, deviation = outside(4000, seed=1)
    deviation[:, 1] = np.nan
    found = Widening.fit(distance, deviation)
    assert np.array_equal(found.factor[:, 0], WIDENING.factor[:, 0])
    assert (found.factor[:, 1] == 1).all()


def test_deviations_are_of_what_acts_and_has_an_order():
    space = ParameterSpace(
        (ParamSpec("wave", 0, 1, 1, names=("a", "b")), ParamSpec("width", 0.0, 1.0, 0.1, active_if={"wave": "b"}))
    )
    true, value = np.array([[0, 0.5], [1, 0.5]]), np.array([[1, 0.1], [1, 0.1]])
    found = deviation_of(value, np.full((2, 2), 0.1), true, space)
    assert np.isnan(found).tolist() == [[True, True], [True, False]]
    assert found[1, 1] == pytest.approx(4 / WIDTH)


def test_sounds_are_perturbed_the_same_way_in_every_call_and_by_any_strength():
    sounds = np.sin(np.arange(400) / 3, dtype=np.float32) * np.ones((60, 1), dtype=np.float32)
    first, second = perturbed(sounds, 8000), perturbed(sounds, 8000)
    assert np.array_equal(first, second)
    changed = np.sqrt(np.mean((first - sounds) ** 2, axis=1))
    assert changed.min() < 0.02
    assert changed.max() > 0.5


@pytest.mark.parametrize(("sample_rate", "n_samples"), [(8000, 40), (44100, 1000), (200, 200)])
def test_any_sound_can_be_perturbed(sample_rate, n_samples):
    waveform = torch.zeros(2, n_samples)
    perturbation = perturbation_of(sample_rate, n_samples)
    assert torch.isfinite(perturbation.apply(waveform, perturbation.draws(0, 2, 0))).all()
