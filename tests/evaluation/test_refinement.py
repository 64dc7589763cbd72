from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares, lsq_linear

from src.errors import ConfigError
from src.evaluation import refinement
from src.evaluation.audit import information_std
from src.evaluation.refinement import (
    MAX_RENDERS,
    OUTLIER,
    WIDTHS,
    Problem,
    Refinement,
    box_step,
    refine,
    refinement_figures,
    refinement_steps,
)
from src.generation import generate
from src.params import ParameterSpace, ParamSpec
from src.vimh.reader import VIMHReader

MOOG = "synth/generate_moog_basic"


@pytest.fixture(scope="module")
def recipe(recipe_of):
    return recipe_of("dataset.size=64", config_name=MOOG)


@pytest.fixture(scope="module")
def sounds(recipe, tmp_path_factory):
    """A basic set of 64 sounds as it lies on the disk, true values from `train_values.npy`."""
    data_dir = tmp_path_factory.mktemp("refine") / recipe.directory_name()
    generate(recipe, data_dir)
    return VIMHReader(data_dir).train.read(slice(0, 51))


@pytest.fixture(scope="module")
def steps(recipe):
    return steps_of(recipe)


@pytest.fixture(scope="module")
def start(sounds, steps):
    """The true values, moved by about a grid step in all: half a step in each of four parameters."""
    return sounds.value + np.random.default_rng(0).normal(0, 0.5, sounds.value.shape) * steps


@pytest.fixture(scope="module")
def refined(recipe, sounds, start):
    return refine(recipe, sounds.image, sounds.spec_range, start)


def steps_of(recipe):
    return np.array([spec.step for spec in recipe.space.varying])


def inside(recipe, value):
    low, high = np.array([(spec.min, spec.max) for spec in recipe.space.varying]).T
    return ((value >= low) & (value <= high)).all()


def rounding_std_of(recipe, value):
    """Of Gaussian noise of the size of rounding, at the true values, grid steps, `(sound, parameter)`."""
    sounds = np.arange(len(value))
    with ThreadPoolExecutor(1) as pool:
        problem = Problem(recipe, pool, *recipe.represent(recipe.render(value)))
        point = problem.approximate(
            sounds, problem.position(value.astype(np.float64)), np.full(len(value), WIDTHS[0] / 2)
        )
    return information_std(point.curvature)


def test_errors_are_those_under_rounding_noise(recipe, sounds, steps, refined):
    error = np.median(np.abs(refined.value - sounds.value) / steps, axis=0)
    reachable = 0.67 * np.median(rounding_std_of(recipe, sounds.value), axis=0)
    assert (error <= 2 * reachable).all(), error / reachable


def test_tells_the_std_under_rounding_noise_itself(recipe, sounds, refined):
    ratio = refined.std / rounding_std_of(recipe, sounds.value)
    assert np.median(ratio, axis=0) == pytest.approx(1, abs=0.15)


def test_what_is_left_is_rounding(refined):
    assert np.median(refined.residual_before) > 5
    assert (refined.residual < 1.3).mean() > 0.9
    assert (refined.residual <= refined.residual_before).all()


def test_few_renders_serve_all_sounds(refined):
    assert np.median(refined.n_renders) <= 12
    assert refined.n_renders.max() <= 3 * MAX_RENDERS + 1
    assert refined.milliseconds > 0


def test_is_deterministic(recipe, sounds, start, refined):
    again = refine(recipe, sounds.image, sounds.spec_range, start)
    np.testing.assert_array_equal(again.value, refined.value)
    np.testing.assert_array_equal(again.n_renders, refined.n_renders)


def test_batch_is_items(recipe, sounds, start, refined):
    for i in (0, 7, 20):
        single = refine(recipe, sounds.image[i : i + 1], sounds.spec_range[i : i + 1], start[i : i + 1], restarts=0)
        assert single.residual[0] == pytest.approx(refined.residual[i], rel=0.02)


def by_scipy(recipe, image, spec_range, start):
    """Values and residuals by scipy's bounded trust region, sound after sound, stage by stage."""
    values, residuals = [], []
    with ThreadPoolExecutor(1) as pool:
        problem = Problem(recipe, pool, image, spec_range)
        for number, position in enumerate(problem.position(start)):
            for width in WIDTHS:

                def linear(at, number=number, width=width):
                    return problem.linearize(np.array([number]), at[None], np.array([width]))

                position = least_squares(
                    lambda at, linear=linear: linear(at)[0][0].astype(np.float64),
                    np.clip(position, 1e-9, problem.end - 1e-9),
                    jac=lambda at, linear=linear: linear(at)[1][0].T.astype(np.float64),
                    bounds=(0, problem.end),
                    loss="huber",
                    f_scale=OUTLIER,
                    ftol=1e-4,
                    xtol=1e-6,
                    gtol=None,
                    max_nfev=15,
                ).x
            values.append(problem.value(position))
            residuals.append(np.sqrt(np.mean(linear(position)[0] ** 2)))
    return np.array(values), np.array(residuals)


def test_parity_with_scipy(recipe, sounds, steps, start):
    some = slice(0, 8)
    arguments = sounds.image[some], sounds.spec_range[some], start[some]
    ours, (value, residual) = refine(recipe, *arguments), by_scipy(recipe, *arguments)
    assert (residual < 1.3).all()
    np.testing.assert_allclose(ours.residual, residual, rtol=0.01)
    apart = np.abs(ours.value - value) / steps / ours.std
    assert np.median(apart) < 0.5
    assert apart.max() < 5


def test_pieces_change_nothing(recipe, sounds, start, monkeypatch):
    arguments = sounds.image[:5], sounds.spec_range[:5], start[:5]
    whole, done = refine(recipe, *arguments, restarts=0), []
    monkeypatch.setattr(refinement, "AT_ONCE", 2)
    pieces = refine(recipe, *arguments, restarts=0, advance=done.append)
    assert done == [2, 2, 1]
    np.testing.assert_allclose(pieces.residual, whole.residual, rtol=1e-9)
    np.testing.assert_allclose(pieces.value / steps_of(recipe), whole.value / steps_of(recipe), atol=1e-9)
    assert pieces.milliseconds > 0


def test_true_values_stay_where_they_are(recipe, sounds, steps):
    refined = refine(recipe, sounds.image, sounds.spec_range, sounds.value)
    assert (refined.residual <= refined.residual_before).all()
    assert (np.abs(refined.value - sounds.value) / steps / refined.std < 6).all()
    assert np.median(refined.n_renders) <= 6


def test_never_leaves_the_ranges(recipe, steps):
    ends = np.array([[spec.min for spec in recipe.space.varying], [spec.max for spec in recipe.space.varying]])
    target = recipe.samples(ends)
    outside = ends + np.array([[-3], [3]]) * steps
    inwards = ends + np.array([[0.5], [-0.5]]) * steps
    image, spec_range = np.concatenate([target.image] * 2), np.concatenate([target.spec_range] * 2)
    refined = refine(recipe, image, spec_range, np.concatenate([outside, inwards]))
    assert inside(recipe, refined.value)
    np.testing.assert_allclose(refined.value / steps, np.concatenate([ends] * 2) / steps, atol=0.1)


def test_renders_nothing_outside_the_ranges(recipe, sounds, start):
    seen = []

    class Watched:
        space, representation, view = recipe.space, recipe.representation, recipe.view

        def render(self, value):
            seen.append(inside(recipe, value))
            return recipe.render(value)

    refine(Watched(), sounds.image[:8], sounds.spec_range[:8], start[:8])
    assert len(seen) > 3
    assert all(seen)


def test_does_without_the_level(recipe, sounds, steps, start):
    refined = refine(recipe, sounds.image[:16], None, start[:16])
    error = np.median(np.abs(refined.value - sounds.value[:16]) / steps, axis=0)
    assert (error < 0.05).all()


def test_of_what_does_not_show_nothing_is_known(recipe_of):
    recipe = recipe_of("dataset.size=8", "+parameters.filter_env_attack={min: 0, max: 1, step: 0.1}", config_name=MOOG)
    sounds = recipe.make(0, 2)  # the envelope's amount is 0
    refined = refine(recipe, sounds.image, sounds.spec_range, sounds.value)
    names = [spec.name for spec in recipe.space.varying]
    assert np.isinf(refined.std[:, names.index("filter_env_attack")]).all()
    assert np.isfinite(refined.std[:, names.index("filter_cutoff")]).all()
    assert np.isfinite(refined.value).all()


def test_refines_the_saw(recipe_of):
    recipe = recipe_of("dataset.size=16")
    sounds = recipe.make(0, 16)
    steps = np.array([spec.step for spec in recipe.space.varying])
    start = sounds.value + np.random.default_rng(1).uniform(-1, 1, sounds.value.shape) * steps
    refined = refine(recipe, sounds.image, sounds.spec_range, start)
    assert (np.abs(refined.value - sounds.value) / steps / refined.std < 6).all()


def test_refuses_what_does_not_fit(recipe, sounds, start):
    image, spec_range = sounds.image, sounds.spec_range
    for arguments, message in (
        ((image[..., :-1], spec_range, start), "image"),
        ((image[:0], spec_range[:0], start[:0]), "image"),
        ((image, spec_range, start[:, :-1]), "start"),
        ((image, spec_range, np.full_like(start, np.nan)), "start"),
        ((image, spec_range[:, :1], start), "spec_range"),
    ):
        with pytest.raises(ConfigError, match=message):
            refine(recipe, *arguments)


def test_integers_stay_on_their_grid_and_their_neighbours_are_tried(recipe, sounds, start):
    """The velocity of the basic set as a whole number: where it is one step off, its neighbour explains the sound."""
    whole = [replace(spec, kind="integer") if spec.name == "note_velocity" else spec for spec in recipe.space.varying]
    integers = replace(recipe, space=ParameterSpace(tuple(whole)))
    (p,) = np.nonzero(integers.space.discrete)[0]
    value = integers.space.snapped(sounds.value[:4].astype(np.float64))
    image, spec_range = integers.represent(integers.render(value))
    moved = value.copy()
    moved[:, p] += np.where(value[:, p] < integers.space.high[p], 1, -1)
    found = refine(integers, image, spec_range, moved, restarts=0)
    np.testing.assert_array_equal(found.value[:, p], value[:, p])
    assert (found.residual < 1.3).all()
    assert np.isinf(found.std[:, p]).all()


def quadratics(n=50, p=4):
    rng = np.random.default_rng(2)
    root = rng.normal(size=(n, p, p))
    curvature = root @ root.mT + 0.1 * np.eye(p)
    return curvature, rng.normal(size=(n, p)), -rng.uniform(0, 1, (n, p)), rng.uniform(0, 1, (n, p))


def test_a_step_inside_the_box_is_newtons():
    curvature, gradient, low, high = quadratics()
    step = box_step(curvature, gradient, low * 1e6, high * 1e6)
    np.testing.assert_allclose((curvature @ step[..., None])[..., 0], -gradient, atol=1e-8)


def test_a_step_stays_in_its_box_and_is_near_the_best():
    curvature, gradient, low, high = quadratics()
    step = box_step(curvature, gradient, low, high)
    assert ((step >= low) & (step <= high)).all()
    gains = []
    for a, g, lo, hi, d in zip(curvature, gradient, low, high, step, strict=True):
        root = np.linalg.cholesky(a).T
        best = lsq_linear(root, np.linalg.solve(root.T, -g), (lo, hi)).x
        gains.append((g @ d + d @ a @ d / 2) / (g @ best + best @ a @ best / 2))
    assert np.median(gains) > 0.999
    assert np.min(gains) > 0.8


def test_at_a_border_the_others_move_on():
    curvature, gradient = np.eye(2)[None], np.array([[1.0, -1.0]])
    step = box_step(curvature, gradient, np.array([[0.0, -1.0]]), np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(step, [[0.0, 1.0]])


SPECS = (ParamSpec("a", -2.0, 0.3, 0.1), ParamSpec("b", 64, 127, 7))


def test_figures_are_medians_in_grid_steps_with_others_beside_them():
    true = np.array([[-1.0, 90.0]] * 3)
    start = true + np.array([[0.1, 7.0], [0.2, -14.0], [-0.3, 21.0]])
    after = true + np.array([[0.01, 0.7], [0.01, 0.7], [0.01, 7.0]])
    found = Refinement(after, np.full(3, 4.0), np.full(3, 1.0), np.full((3, 2), 0.01), np.arange(3), 3.0)
    figures = refinement_figures(found, start, true, SPECS, {"efficiency": np.array([0.5, np.inf])})
    assert (figures["milliseconds"], figures["renders"], figures["residual_before"]) == (3.0, 1.0, 4.0)
    a, b = figures["parameters"]["a"], figures["parameters"]["b"]
    assert (a["error_before"], a["error"], a["efficiency"]) == pytest.approx((2.0, 0.1, 0.5))
    assert (b["error_before"], b["error"]) == pytest.approx((2.0, 0.1))
    assert b["efficiency"] is None


def test_refinement_of_the_saw_reaches_what_rounding_noise_leaves(recipe_of):
    recipe = recipe_of("dataset.size=32")
    sounds = recipe.make(0, 12)
    true = sounds.value.astype(np.float64)
    low, high = np.array([(spec.min, spec.max) for spec in recipe.space.varying]).T
    start = np.clip(true + np.random.default_rng(0).normal(0, 0.3, true.shape) * steps_of(recipe), low, high)
    found = refine(recipe, sounds.image, sounds.spec_range, start)
    std = rounding_std_of(recipe, true)
    assert std.shape == true.shape
    error = np.median(np.abs(found.value - true) / steps_of(recipe), axis=0)
    assert (error < 2 * 0.6745 * np.median(std, axis=0)).all(), error


# ----- step by step


@pytest.mark.parametrize("level", [True, False])
def test_the_steps_of_a_search_end_where_refine_ends_and_come_nearer_all_the_time(recipe_of, level):
    recipe = recipe_of()
    value = recipe.space.value_from_uniform(np.random.default_rng(5).random((3, 2)))
    image, spec_range = recipe.represent(recipe.render(value))
    start = recipe.space.clip(value + recipe.space.step * np.array([[0.7, -0.6]]))
    found = refine(recipe, image[:1], spec_range[:1] if level else None, start[:1])
    steps = list(refinement_steps(recipe, image[0], spec_range[0] if level else None, start[0]))
    assert steps[0].residual == found.residual_before[0]
    np.testing.assert_allclose(steps[0].value, start[0])
    np.testing.assert_array_equal(steps[-1].value, found.value[0])
    assert (steps[-1].residual, steps[-1].n_renders) == (found.residual[0], found.n_renders[0])
    assert [step.n_renders for step in steps] == sorted(step.n_renders for step in steps)
    assert steps[-1].residual < steps[0].residual


def test_a_search_can_be_left_at_any_step(recipe_of):
    recipe = recipe_of()
    value = (recipe.space.low + recipe.space.high) / 2
    image, spec_range = recipe.represent(recipe.render(value[None]))
    for n in range(3):
        steps = refinement_steps(recipe, image[0], spec_range[0], value + recipe.space.step / 2)
        for _ in range(n):
            next(steps)
        steps.close()
