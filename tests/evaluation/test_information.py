import numpy as np
import pytest

from src.evaluation.information import information_under_noise

MOOG = "synth/generate_moog_basic"


@pytest.fixture(scope="module")
def saw(recipe_of):
    return recipe_of("dataset.size=16")


def test_of_a_decaying_sawtooth_it_has_a_closed_form(recipe_of):
    """With A exp(-t/T) s(t), gain and phase unknown, what is left of the derivative is that of the decay alone."""
    recipe = recipe_of("dataset.size=16", "dataset.duration=1.0")
    value = recipe.values(0, 8).astype(np.float64)
    value[:, 1] = np.clip(value[:, 1], -1.5, 0.0)
    found = information_under_noise(recipe, value, snr=40.0)
    assert found.converged.all()
    sound = recipe.render(value).astype(np.float64)
    time = np.arange(sound.shape[1]) / recipe.synth.sample_rate
    slope = sound * time / 10 ** value[:, 1:] * np.log(10) * recipe.space.step[1]
    shared = (slope * sound).sum(axis=1, keepdims=True) / (sound**2).sum(axis=1, keepdims=True)
    noise = np.sqrt((sound**2).mean(axis=1) / 1e4)
    expected = noise / np.sqrt(((slope - shared * sound) ** 2).sum(axis=1))
    # The phase's derivative is all but orthogonal to both: it is odd about where the sawtooth is even.
    np.testing.assert_allclose(found.std[:, 1], expected, rtol=0.02)


def test_an_unknown_gain_leaves_nothing_of_a_velocity_that_is_one(saw):
    found = information_under_noise(saw, saw.values(0, 4))
    assert np.isinf(found.std[:, 0]).all()
    assert np.isfinite(found.std[:, 1]).all()


def test_a_velocity_that_colours_the_sound_is_told_from_the_gain(recipe_of):
    recipe = recipe_of("dataset.size=16", config_name=MOOG)
    found = information_under_noise(recipe, recipe.values(0, 4))
    assert found.converged.all()
    assert np.isfinite(found.std).all()


def test_standard_deviations_go_with_the_noise(saw):
    quiet, loud = (information_under_noise(saw, saw.values(0, 4), snr) for snr in (80.0, 20.0))
    np.testing.assert_allclose(loud.std[:, 1], 1000 * quiet.std[:, 1], rtol=1e-6)


def test_what_has_not_converged_has_no_figures(saw):
    found = information_under_noise(saw, saw.values(0, 4))
    mean, median, high = found.figures(1, np.ones(4, dtype=bool))
    assert min(mean, median) > 0
    assert high >= median
    found.converged[0, 1] = False
    assert found.figures(1, np.ones(4, dtype=bool)) is None
    assert found.figures(1, np.zeros(4, dtype=bool)) is None


def test_sounds_beside_each_other_change_nothing(saw):
    value = saw.values(0, 40)
    together, alone = information_under_noise(saw, value), information_under_noise(saw, value[35:])
    np.testing.assert_allclose(together.std[35:], alone.std, rtol=1e-6)
