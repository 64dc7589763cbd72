from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.neural_network import MLPRegressor

from src.errors import ConfigError
from src.evaluation.cells import SAME_LEVEL, Cells, Programme
from src.evaluation.posterior import agreement, draw, efficiency, posterior, share_untold, summary
from src.evaluation.refinement import refine
from src.params import ParameterSpace, ParamSpec
from src.recipe import Recipe
from src.spectral.representation import SpectralRepresentation
from src.synth.voices import SawVoice

MOOG = "synth/generate_moog_basic"
N_SOUNDS = 1000
SHORT = (4, 8, 16)  # rounds that are enough for means over many sounds


@pytest.fixture(scope="module")
def saw(recipe_of):
    return recipe_of("dataset.size=64")


@pytest.fixture(scope="module")
def value(saw):
    return saw.values(0, 4).astype(np.float64)


@pytest.fixture(scope="module")
def found(saw, value):
    return posterior(saw, value, n_searched=0)


class Fold:
    """A sawtooth whose decay depends on how far `fold` is from 0: two values for every sound."""

    sample_rate, duration, defaults = 8000, 0.25, MappingProxyType({"fold": 0.0, "note_velocity": 100.0})

    def render(self, parameters):
        decay, note = np.abs(parameters["fold"]) - 1.5, np.full(len(parameters["fold"]), 43.35)
        given = {"log10_decay_time": decay, "note_number": note, "note_velocity": parameters["note_velocity"]}
        return SawVoice(self.sample_rate, self.duration).render(given)


@pytest.fixture(scope="module")
def folded():
    representation = SpectralRepresentation(
        sample_rate=8000, duration=0.25, height=32, width=16, win_length=80, window="boxcar"
    )
    specs = ParamSpec("fold", -1.0, 1.0, 0.1), ParamSpec("note_velocity", 64, 127, 7)
    return Recipe({}, Fold(), representation, ParameterSpace(specs))


# ----- against other ways


def test_it_is_what_a_scan_of_the_cell_finds(saw, value, found):
    """The saw has a cell of one dimension: for each decay the velocity follows from the level."""
    for k in range(2):
        image, spec_range = saw.represent(saw.render(value[k : k + 1]))
        width = found.high[k, 1] - found.low[k, 1]
        decay = np.linspace(found.low[k, 1] - width / 2, found.high[k, 1] + width / 2, 400)
        _, levels = saw.represent(saw.render(np.stack([np.full(400, value[k, 0]), decay], axis=1)))
        velocity = value[k, 0] * 10 ** ((spec_range[0, 1] - levels[:, 1].astype(np.float64)) / 20)
        images, _ = saw.represent(saw.render(np.stack([velocity, decay], axis=1)))
        inside = decay[(images == image).all(axis=(1, 2, 3))]
        assert inside.std() / saw.space.step[1] == pytest.approx(found.std[k, 1], rel=0.2)
        assert inside.mean() == pytest.approx(found.mean[k, 1], abs=0.35 * inside.std())
        assert found.low[k, 1] == pytest.approx(inside.min(), abs=0.1 * width)
        assert found.high[k, 1] == pytest.approx(inside.max(), abs=0.1 * width)


def test_every_draw_makes_the_picture(recipe_of):
    recipe = recipe_of("dataset.size=8", config_name=MOOG)
    value = recipe.values(0, 2).astype(np.float64)
    with ThreadPoolExecutor(1) as pool:
        cells = Cells(recipe, pool, *recipe.represent(recipe.render(value)))
        sheets = cells.sheets(np.arange(2), cells.position(value))
        draws = draw(cells, sheets, np.random.default_rng(0), (4, 8))
        for k in range(2):
            same, excess = cells.look(np.full(len(draws.position[k]), k), draws.position[k])
            assert same.all()
            assert np.abs(excess).max() <= SAME_LEVEL
    assert (draws.position.std(axis=1) > 0).all()
    assert ((draws.low[:, None] <= draws.position) & (draws.position <= draws.high[:, None])).all()


def test_the_true_values_are_within_and_chains_agree(value, found):
    assert found.converged.all()
    assert ((found.low <= value) & (value <= found.high)).all()
    assert ((found.rank > 0) & (found.rank < 1)).all()
    assert (found.accuracy[:, 0] > 0.9).all()


def test_separate_solutions_are_found_and_weighted(folded):
    value = np.array([[0.5, 100.0], [-0.7, 90.0]])
    found = posterior(folded, value, n_searched=6, seed=1, steps=SHORT)
    assert (found.n_cells >= 2).all()
    np.testing.assert_allclose(found.std[:, 0], [5.0, 7.0], rtol=0.15)  # half of the distance, in grid steps
    np.testing.assert_allclose(found.accuracy[:, 0], 0.5, atol=0.2)
    assert found.accuracy[:, 1] == pytest.approx([1, 1])
    alone = posterior(folded, value, n_searched=0, steps=SHORT)
    assert (alone.n_cells == 1).all()
    assert (alone.std[:, 0] < 0.1).all()


def test_the_same_seed_draws_the_same(saw, value):
    one, other = (posterior(saw, value[:1], n_searched=0, seed=3, steps=(4, 8)) for _ in range(2))
    np.testing.assert_array_equal(one.std, other.std)


# ----- refusals


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("representation=waveform", "makes no spectrograms"),
        ("dataset.sampling=grid", "lie on a grid"),
        ("perturb=[noise]", "of perturbed sounds"),
    ],
)
def test_where_pictures_are_not_of_parameters_alone_there_is_none(recipe_of, override, reason):
    with pytest.raises(ConfigError, match=rf"There is no posterior given the picture: .*{reason}"):
        posterior(recipe_of("dataset.size=8", override), np.array([[100.0, -1.0]]))


# ----- figures


def test_chains_that_agree_and_that_do_not():
    rng = np.random.default_rng(0)
    track = rng.standard_normal((3, 8, 100, 1))
    track[1] += 3 * np.arange(8)[:, None, None]
    track[2] = 5.0
    r_hat, n_effective = agreement(track)
    assert r_hat[0, 0] == pytest.approx(1, abs=0.02)
    assert n_effective[0, 0] > 500
    assert r_hat[1, 0] > 3
    assert n_effective[1, 0] < 30
    assert (r_hat[2, 0], n_effective[2, 0]) == (1, 800)


def test_effective_draws_of_an_autoregression_have_a_closed_form():
    rng = np.random.default_rng(1)
    noise, track = rng.standard_normal((8, 4000)), np.zeros((8, 4000))
    for t in range(1, 4000):
        track[:, t] = 0.8 * track[:, t - 1] + noise[:, t]
    _, n_effective = agreement(track[None, :, :, None])
    assert n_effective[0, 0] == pytest.approx(32_000 * 0.2 / 1.8, rel=0.15)


SPACE = ParameterSpace((ParamSpec("a", 0.0, 10.0, 1.0), ParamSpec("b", 0, 2, 1, names=("x", "y", "z"))))


def test_figures_of_weighted_draws():
    position = np.array([[1.0, 0.0], [2.0, 2.0], [4.0, 2.0]])
    row = summary(SPACE, position, np.array([0.5, 0.25, 0.25]), np.array([2.0, 2.0]))
    assert (row["mean"][0], row["median"][0]) == (2.0, 1.0)
    assert row["absolute"] == pytest.approx([0.25 + 0.75, 0.5])
    assert row["std"][0] == pytest.approx(np.sqrt(0.5 + 0.25 * 4))
    assert np.isnan(row["std"][1])
    assert row["accuracy"] == pytest.approx([0.5, 0.5])
    assert row["rank"][0] == pytest.approx(0.5 + 0.25 / 2)


def test_efficiency_is_1_for_the_best_answer_and_untold_is_where_the_error_lies(found, saw):
    assert efficiency(found, found.absolute) == pytest.approx([1, 1])
    assert efficiency(found, 4 * found.absolute) == pytest.approx([0.25, 0.25])
    assert (efficiency(found, 0 * found.absolute) == np.inf).all()
    std = np.zeros_like(found.std)
    std[0] = 3.0
    error = np.ones_like(std)
    error[0] = len(std) - 1
    assert share_untold(replace(found, std=std), error) == pytest.approx([0.5, 0.5])


def test_conditions_that_join_one_by_one_are_a_linear_programme():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 500)
    circle = Programme(
        np.stack([np.cos(angle), np.sin(angle)], axis=1), np.ones(500), np.full((2, 2), [-9, 9]), np.zeros(2)
    )
    for direction in (np.array([1.0, 0.0]), np.array([0.6, -0.8])):
        found = circle.least(direction)
        assert direction @ found == pytest.approx(-1, abs=0.01)
    assert len(circle.rows) < 200


# ----- the law


def network_answers(image, spec_range, value, seen):
    """Answers of a small network and of kernel ridge on principal components, trained on `value`, for `seen`."""
    features = [
        np.concatenate([x.reshape(len(x), -1) / 255.0, y / 120], axis=1) for x, y in ((image, spec_range), seen)
    ]
    components = PCA(30, whiten=True, random_state=0).fit(features[0])
    train, test = (np.concatenate([components.transform(x), 5 * x[:, -2:]], axis=1) for x in features)
    middle, size = value.mean(axis=0), value.std(axis=0)
    network = MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=5000, random_state=0, early_stopping=True)
    methods = {"network": network, "kernel ridge": KernelRidge(alpha=1e-3, kernel="rbf", gamma=0.01)}
    return {
        name: method.fit(train, (value - middle) / size).predict(test) * size + middle
        for name, method in methods.items()
    }


def law(recipe, n_sounds, n_train, **settings):
    """Squared errors less the posterior's variance, squared grid steps: of methods, and of the posterior's mean."""
    space = recipe.space
    value = recipe.values(n_train, n_train + n_sounds).astype(np.float64)
    seen, train = recipe.represent(recipe.render(value)), recipe.values(0, n_train).astype(np.float64)
    answers = network_answers(*recipe.represent(recipe.render(train)), train, seen)
    answers |= {f"{name}, refined": refine(recipe, *seen, space.clip(answer)).value for name, answer in answers.items()}
    found = posterior(recipe, value, **settings)
    answers["posterior mean"] = found.mean
    return {name: ((answer - value) / space.step) ** 2 - found.std**2 for name, answer in answers.items()}, found


def check_law(excess, found):
    excess = dict(excess)
    column = excess.pop("posterior mean")[found.converged]  # elsewhere the variance is too small
    mean, error = column.mean(axis=0), column.std(axis=0) / np.sqrt(len(column))
    assert (np.abs(mean) <= 4 * error).all(), mean / error  # the one that has it, from both sides
    for name, column in excess.items():
        mean, error = column.mean(axis=0), column.std(axis=0) / np.sqrt(len(column))
        assert (mean >= -2 * error).all(), (name, mean / error)


def test_no_estimate_from_the_picture_beats_the_posterior(saw):
    excess, found = law(saw, 12, 256, n_searched=0, steps=SHORT)
    check_law(excess, found)
    assert (excess["network"].mean(axis=0) > excess["posterior mean"].mean(axis=0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("config", ["synth/generate_simple_saw", MOOG])
def test_no_estimate_from_1000_pictures_beats_the_posterior(recipe_of, config):
    """The posterior's mean has its variance as mean squared error, others have more."""
    excess, found = law(recipe_of("dataset.size=8", config_name=config), N_SOUNDS, 4096, n_searched=0, steps=SHORT)
    check_law(excess, found)
