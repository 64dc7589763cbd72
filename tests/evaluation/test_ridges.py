import numpy as np
import pytest

from src.evaluation.ridges import LEAST_STD, TO_EDGE, covariance_of, ridges_of
from src.recipe import Recipe

NAMES = ("filter_env_attack", "filter_env_decay", "filter_env_sustain")


@pytest.fixture(scope="module")
def recipe(recipe_of) -> Recipe:
    return recipe_of("dataset.size=64", config_name="synth/generate_moog_envelope")


@pytest.fixture(scope="module")
def places(recipe):
    names = [spec.name for spec in recipe.space.varying]
    return [names.index(name) for name in NAMES]


def sounds_of(recipe, places, *envelopes):
    """Values in the middle of the ranges but for attack, decay (s) and sustain, `(sound, parameter)`."""
    space = recipe.space
    value = np.tile((space.low + space.range / 2).astype(np.float64), (len(envelopes), 1))
    for row, envelope in zip(value, envelopes, strict=True):
        for place, natural in zip(places, envelope, strict=True):
            row[place] = natural
    return value


def seen(recipe, value):
    return recipe.represent(recipe.render(value))


def test_a_decay_that_the_note_cuts_off_and_its_sustain_are_a_ridge_and_a_short_one_is_not(recipe, places):
    value = sounds_of(recipe, places, (0.2, 1.3, 0.3), (0.05, 0.2, 0.3))
    answer = value + 0.3 * recipe.space.step * (-1.0) ** np.arange(value.shape[1])  # off as a network is
    covariance = covariance_of(recipe, *seen(recipe, value), answer)
    _, decay, sustain = places
    cut, short = (ridges_of(recipe, one, at) for one, at in zip(covariance, answer, strict=True))
    assert [(ridge.first, ridge.second) for ridge in cut] == [(decay, sustain)]
    assert cut[0].correlation < -0.95
    assert short == []
    # Along the line the sound changes less than across it.
    (ridge,) = cut
    moved = np.tile(value[0], (3, 1))
    along = ridge.ends[1] - ridge.ends[0]
    moved[1, [decay, sustain]] += 0.2 * along
    moved[2, [decay, sustain]] += 0.2 * along * (1, -1)
    at, there, across = recipe.spectrogram_db(recipe.render(recipe.space.clip(moved)))
    assert np.square(there - at).mean() < 0.1 * np.square(across - at).mean()


def test_a_line_ends_within_the_ranges_and_lies_on_the_long_axis(recipe, places):
    _, p, q = places
    space, n = recipe.space, len(recipe.space.varying)
    centre = space.low + space.range / 2
    covariance = np.zeros((n, n))
    covariance[np.ix_([p, q], [p, q])] = [[1.0, -0.99], [-0.99, 1.0]]
    (ridge,) = ridges_of(recipe, covariance, centre)
    assert (ridge.first, ridge.second) == tuple(sorted((p, q)))
    steps = (ridge.ends - centre[[ridge.first, ridge.second]]) / space.step[[ridge.first, ridge.second]]
    half = TO_EDGE * np.sqrt(1.99 / 2)
    assert np.abs(steps) == pytest.approx(np.full((2, 2), half))
    assert np.sign(steps[0]) == pytest.approx(-np.sign(steps[1]))
    wide = ridges_of(recipe, 1e4 * covariance, centre)[0].ends
    low, high = (end[[ridge.first, ridge.second]] for end in (space.low, space.high))
    assert ((wide >= low - 1e-9) & (wide <= high + 1e-9)).all()


def test_what_is_known_well_or_depends_little_is_no_ridge(recipe, places):
    _, p, q = places
    n = len(recipe.space.varying)
    centre = recipe.space.low + recipe.space.range / 2
    for scale, r in ((0.9 * LEAST_STD, -0.99), (1.0, -0.8)):
        covariance = np.zeros((n, n))
        covariance[np.ix_([p, q], [p, q])] = scale**2 * np.array([[1.0, r], [r, 1.0]])
        assert ridges_of(recipe, covariance, centre) == []


def test_covariances_are_symmetric_positive_and_no_wider_than_the_ranges(recipe, places):
    value = sounds_of(recipe, places, (0.2, 1.3, 0.3), (0.05, 0.2, 0.3))
    for covariance in covariance_of(recipe, *seen(recipe, value), value):
        np.testing.assert_allclose(covariance, covariance.T, rtol=1e-6, atol=1e-12)
        assert (np.linalg.eigvalsh(covariance) > 0).all()
        uniform = recipe.space.range / recipe.space.step / np.sqrt(12)
        assert (np.sqrt(np.diag(covariance)) <= uniform * (1 + 1e-6)).all()
