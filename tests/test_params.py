"""Laws of the four representations of a parameter, and of the ways to draw them."""

import itertools
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from src.errors import ConfigError
from src.params import MAX_PARAMETERS, SAMPLINGS, FixedParam, ParameterSpace, ParamSpec, permute

CODES = np.arange(256, dtype=np.uint8)
SPECS = [
    ParamSpec("note_velocity", 64, 127, 7),
    ParamSpec("log10_decay_time", -2.0, 0.3, 0.1),
    ParamSpec("cutoff", 20.0, 10220.0, 40.0),
    ParamSpec("binary", 0, 1, 1),
    ParamSpec("tiny", -1e-9, 2e-9, 1e-9),
]


@st.composite
def even_specs(draw):
    """Specs whose range is a whole number of steps, and that number."""
    n_steps = draw(st.integers(1, 255))
    step = draw(st.integers(1, 10_000)) / draw(st.sampled_from([1, 10, 100, 1000]))
    low = draw(st.integers(-50, 50)) * step
    return ParamSpec("x", low, low + n_steps * step, step), n_steps


def space_of(n_varying):
    return ParameterSpace(tuple(ParamSpec(f"p{i}", i, i + 2.0, 0.1 + 0.1 * (i % 2)) for i in range(n_varying)))


# conversions


@given(even_specs())
def test_the_class_of_a_code_is_its_nearest_grid_point(case):
    spec, n_steps = case
    exact = [round(Fraction(int(code), 255) * n_steps) for code in CODES]
    assert spec.n_classes == n_steps + 1
    assert spec.index_from_code(CODES).tolist() == exact


@pytest.mark.parametrize("n_classes", range(2, 257))
def test_every_class_comes_back_from_its_code(n_classes):
    spec = ParamSpec("x", -2.0, -2.0 + 0.1 * (n_classes - 1), 0.1)
    index = np.arange(n_classes)
    code = spec.code_from_normalized(spec.normalized_from_index(index))
    assert np.array_equal(spec.index_from_code(code.astype(np.uint8)), index)
    assert np.array_equal(spec.index_from_normalized(spec.normalized_from_index(index)), index)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_code_comes_back_from_its_value(spec):
    value = spec.value_from_normalized(spec.normalized_from_code(CODES))
    assert np.array_equal(spec.code_from_normalized(spec.normalized_from_value(value)), CODES)


@given(even_specs(), st.floats(0, 1))
def test_a_code_is_within_half_a_code_of_its_value(case, normalized):
    spec, _ = case
    value = spec.value_from_normalized(np.array([normalized]))
    code = spec.code_from_normalized(spec.normalized_from_value(value)).astype(np.uint8)
    decoded = spec.value_from_normalized(spec.normalized_from_code(code))
    assert abs(decoded - value) <= spec.range * (0.5 / 255 + 1e-12)


def test_codes_are_rounded_half_to_even():
    spec = ParamSpec("x", 0, 1, 0.5)
    halves = np.array([0.5, 42.5, 76.5, 127.5, 178.5]) / 255
    assert (halves * 255).tolist() == [0.5, 42.5, 76.5, 127.5, 178.5]
    assert spec.code_from_normalized(halves).tolist() == [0, 42, 76, 128, 178]


def test_codes_and_classes_stay_in_range_where_a_grid_overshoots():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = ParamSpec("overshooting", 0, 10, 4)  # grid points 0, 4, 8; 2.5 steps round to 2
    assert spec.n_classes == 3
    assert spec.index_from_code(CODES).max() == 2
    assert spec.code_from_normalized(np.array([-0.1, 1.2])).tolist() == [0, 255]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_grid_points_run_from_min_to_max_in_steps(spec):
    grid = spec.value_from_index(np.arange(spec.n_classes))
    np.testing.assert_allclose(np.diff(grid), spec.step, rtol=1e-9)
    np.testing.assert_allclose(grid[[0, -1]], [spec.min, spec.max], rtol=1e-12, atol=1e-12 * spec.range)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_numpy_and_torch_agree(spec):
    normalized = np.linspace(0, 1, 1001)
    value, index = spec.value_from_normalized(normalized), np.arange(spec.n_classes)
    for name, argument in {
        "normalized_from_value": value,
        "value_from_normalized": normalized,
        "code_from_normalized": normalized,
        "index_from_normalized": normalized,
        "normalized_from_index": index.astype(np.float64),
        "value_from_index": index.astype(np.float64),
    }.items():
        ours, theirs = getattr(spec, name)(argument), getattr(spec, name)(torch.from_numpy(argument))
        assert isinstance(theirs, torch.Tensor)
        assert np.array_equal(ours, theirs.numpy()), name
    # Codes are whole numbers: PyTorch divides them in float32, and no class may depend on that.
    assert np.array_equal(spec.index_from_code(CODES), spec.index_from_code(torch.from_numpy(CODES)).numpy())


# refusals


@pytest.mark.parametrize(
    ("min_", "max_", "step", "message"),
    [
        (2.0, 1.0, 0.1, "min 2.0 is not below max 1.0"),
        (1.0, 1.0, 0.1, "min 1.0 is not below max 1.0"),
        (0.0, 1.0, 0.0, "step 0.0 is not above 0"),
        (0.0, 1.0, -0.1, "step -0.1 is not above 0"),
        (0.0, 1.0, 2.5, "1 classes"),
        (0.0, 256.0, 1.0, "257 classes"),
        (float("nan"), 1.0, 0.1, "finite"),
        (0.0, float("inf"), 0.1, "finite"),
        (0.0, 1.0, float("nan"), "finite"),
        (-1e308, 1e308, 1.0, "classes"),
        (0.0, 1.0, 5e-324, "classes"),
    ],
)
def test_a_range_that_makes_no_grid_is_refused(min_, max_, step, message):
    with pytest.raises(ConfigError, match=message) as caught:
        ParamSpec("cutoff", min_, max_, step)
    assert "cutoff" in str(caught.value)


def test_names_must_be_as_many_as_classes():
    assert ParamSpec("wave", 0, 2, 1, names=("sine", "saw", "square")).n_classes == 3
    with pytest.raises(ConfigError, match="2 class names for 3 classes"):
        ParamSpec("wave", 0, 2, 1, names=("sine", "saw"))


def test_an_uneven_grid_is_reported_once():
    with pytest.warns(UserWarning, match=r"reported_once: the range is 10.5000 steps"):
        ParamSpec("reported_once", 0, 63, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ParamSpec("reported_once", 0, 63, 6)


def test_a_grid_that_is_even_but_for_rounding_is_not_reported():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ParamSpec("silent", 0.0, 0.3, 0.1).n_classes == 4
        assert ParamSpec("silent", 0.0, 3.0009, 1.0).n_classes == 4


@pytest.mark.parametrize("n_varying", [0, MAX_PARAMETERS + 1])
def test_the_number_of_varying_parameters_is_limited(n_varying):
    with pytest.raises(ConfigError, match=f"{n_varying} parameters vary; a dataset holds 1 to 255"):
        space_of(n_varying)
    assert len(space_of(MAX_PARAMETERS).varying) == MAX_PARAMETERS


# configuration


def test_a_section_makes_varying_and_fixed_parameters_in_its_order():
    space = ParameterSpace.from_config(
        {
            "b": {"min": 0, "max": 2, "step": 1, "units": "Hz", "description": "second", "names": ["x", "y", "z"]},
            "pitch": {"value": 43.35, "description": "Pitch"},
            "a": {"min": -1.0, "max": 1.0, "step": 0.5},
            "constant": {"min": 3.0, "max": 3.0, "step": 0, "description": "min is max"},
        }
    )
    assert space.varying == (ParamSpec("b", 0, 2, 1, "Hz", "second", ("x", "y", "z")), ParamSpec("a", -1.0, 1.0, 0.5))
    assert space.fixed == (FixedParam("pitch", 43.35, "Pitch"), FixedParam("constant", 3.0, "min is max"))
    assert space.n_grid_points == 15


@pytest.mark.parametrize(
    ("entry", "messages"),
    [
        ({"min": 0, "max": 1}, ["parameters.p.step is missing", "`min`, `max`", "`step`"]),
        ({"min": 0, "max": 1, "step": 0.1, "maximum": 2}, ["parameters.p.maximum does not belong here"]),
        ({"value": 1, "min": 0}, ["parameters.p.min does not belong here", "`value`"]),
        ({}, ["`value`"]),
        ({"name": "q", "value": 1}, ["parameters.p.name does not belong here"]),
        ({"min": 0, "max": 1, "step": 0.1, "name": "q"}, ["parameters.p.name does not belong here"]),
        ({"value": "loud"}, ["parameters.p.value", "'loud'", "number"]),
        ({"value": None}, ["parameters.p.value", "None", "number"]),
        ({"value": True}, ["parameters.p.value", "True", "number"]),
        ({"value": [1]}, ["parameters.p.value", "number"]),
        ({"value": float("nan")}, ["p", "nan", "finite"]),
        ({"value": float("inf")}, ["p", "inf", "finite"]),
        ({"min": "0", "max": 1, "step": 0.1}, ["parameters.p.min", "'0'", "number"]),
        ({"min": "0", "max": "0"}, ["parameters.p", "'0'", "number"]),
        ({"min": 0, "max": None, "step": 0.1}, ["parameters.p.max", "None", "number"]),
        ({"min": 0, "max": [1], "step": 0.1}, ["parameters.p.max", "number"]),
        ({"min": 0, "max": 1, "step": 0.1, "description": None}, ["parameters.p.description", "None", "text"]),
        ({"min": 0, "max": 1, "step": 0.1, "units": 5}, ["parameters.p.units", "5", "text"]),
        ({"min": 0, "max": 1, "step": 1, "names": 5}, ["parameters.p.names", "5"]),
        ({"min": 0, "max": 1, "step": 1, "names": "ab"}, ["parameters.p.names", "ab"]),
        (5, ["parameters.p", "5"]),
        (None, ["parameters.p", "None"]),
    ],
)
def test_a_section_that_describes_no_parameter_is_refused(entry, messages):
    good = {"min": 0, "max": 1, "step": 0.1}
    with pytest.raises(ConfigError) as caught:
        ParameterSpace.from_config({"good": good, "p": entry})
    for message in messages:
        assert message in str(caught.value)


def test_a_section_of_an_impossible_parameter_is_refused_in_the_words_of_the_parameter():
    with pytest.raises(
        ConfigError, match=r"^p: range 0.0 to 1.0 in steps of 2.5 makes 1 classes.*Choose another step\.$"
    ):
        ParameterSpace.from_config({"p": {"min": 0, "max": 1, "step": 2.5}})


# all parameters at once

SPACE = ParameterSpace((ParamSpec("a", -2.0, 0.3, 0.1), ParamSpec("b", 64, 127, 7)))


@given(st.lists(even_specs(), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_columns_of_arrays_are_converted_as_their_parameters_are(cases, seed):
    space = ParameterSpace(tuple(spec for spec, _ in cases))
    rng = np.random.default_rng(seed)
    shape = (20, len(cases))
    code, index = rng.integers(0, 256, shape).astype(np.uint8), rng.integers(0, space.n_classes, shape)
    normalized = rng.random(shape)
    for name, argument in {
        "normalized_from_value": space.value_from_normalized(normalized),
        "value_from_normalized": normalized,
        "value_from_index": index,
        "normalized_from_index": index,
        "code_from_normalized": normalized,
        "normalized_from_code": code,
        "index_from_code": code,
        "index_from_normalized": normalized,
    }.items():
        expected = [getattr(spec, name)(argument[:, p]) for p, spec in enumerate(space.varying)]
        assert np.array_equal(getattr(space, name)(argument), np.stack(expected, axis=1)), name


def test_a_space_has_its_parameters_as_arrays():
    space = ParameterSpace((ParamSpec("wave", 0, 2, 1, names=("sine", "saw", "square")), *SPACE.varying))
    for name, attribute in {"low": "min", "high": "max", "range": "range", "step": "step"}.items():
        array = getattr(space, name)
        assert array.dtype == np.float64
        assert array.tolist() == [getattr(spec, attribute) for spec in space.varying]
    assert space.n_classes.tolist() == [3, 24, 10]
    assert space.categorical.tolist() == [True, False, False]


def test_coding_is_off_by_half_a_code_at_most():
    value = np.random.default_rng(0).uniform(SPACE.low, SPACE.high, (500, 2))
    half = SPACE.range / 255 / 2
    coded = SPACE.decode(SPACE.encode(value))
    error = np.abs(coded - value)
    assert SPACE.encode(value).dtype == np.uint8
    assert (error <= half * (1 + 1e-9)).all()
    assert (error.max(axis=0) > 0.95 * half).all()
    np.testing.assert_allclose(SPACE.decode(SPACE.encode(coded)), coded, rtol=1e-12)
    ends = np.stack([SPACE.low, SPACE.high])
    np.testing.assert_allclose(SPACE.decode(SPACE.encode(ends)), ends)


def test_what_is_over_a_range_by_rounding_is_put_at_its_end():
    value = np.float32([[0.3, 127.00001], [-2.0, 63.99999]]).astype(np.float64)
    assert SPACE.clip(value).tolist() == [[0.3, 127.0], [-2.0, 64.0]]


# sampling


@given(
    n_varying=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    sampling=st.sampled_from(SAMPLINGS),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
@example(n_varying=4, seed=0, sampling="sobol", cuts=[1, 2])
@example(n_varying=5, seed=0, sampling="uniform", cuts=[0, 1, 1])
def test_a_sample_depends_on_its_number_and_the_seed_alone(n_varying, seed, sampling, cuts):
    space = space_of(n_varying)
    n_samples = min(60, space.n_grid_points)
    edges = [0, *sorted(min(cut, n_samples) for cut in cuts), n_samples]
    whole = space.sample(0, n_samples, seed, sampling)
    parts = [space.sample(a, b, seed, sampling) for a, b in itertools.pairwise(edges) if a < b]
    assert whole.shape == (n_samples, n_varying)
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_other_seeds_give_other_samples(sampling):
    space = space_of(3)
    draws = [space.sample(0, 32, seed, sampling) for seed in range(6)]
    assert all(not np.array_equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_samples_lie_in_their_ranges(sampling):
    space = space_of(5)
    value = space.sample(0, 4096, 1, sampling)
    assert np.all(value >= [spec.min for spec in space.varying])
    assert np.all(value <= [spec.max for spec in space.varying])


def test_uniform_samples_are_uniform_and_independent():
    value = space_of(6).sample(0, 20_000, 7, "uniform")
    normalized = (value - value.min(axis=0).round()) / 2
    for column in normalized.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    correlation = np.corrcoef(np.concatenate([normalized[1:], normalized[:-1]], axis=1).T) - np.eye(12)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_sobol_samples_fill_every_bin_of_every_axis_once():
    value = space_of(6).sample(0, 256, 3, "sobol")
    bins = np.floor((value - np.arange(6)) / 2 * 256).astype(int)
    assert np.array_equal(np.sort(bins, axis=0), np.tile(np.arange(256)[:, None], 6))


def test_a_grid_gives_every_point_once_in_a_random_order():
    space = ParameterSpace((ParamSpec("a", 0, 2, 1), ParamSpec("b", -0.3, 0.3, 0.1), ParamSpec("c", 5, 9, 2)))
    points = space.sample(0, 63, 0, "grid")
    index = np.stack([(points[:, p] - spec.min) / spec.step for p, spec in enumerate(space.varying)], axis=1)
    np.testing.assert_allclose(index, index.round(), atol=1e-9)
    flat = np.ravel_multi_index(index.round().astype(int).T, (3, 7, 3))
    assert np.array_equal(np.sort(flat), np.arange(63))
    assert (np.abs(np.diff(flat)) == 1).mean() < 0.25


def test_a_grid_is_exhausted_after_its_last_point():
    space = ParameterSpace((ParamSpec("a", 0, 2, 1), ParamSpec("b", 0, 6, 1)))
    assert len(space.sample(20, 21, 0, "grid")) == 1
    with pytest.raises(ConfigError, match="3 x 7 = 21 distinct points, but 22 samples"):
        space.sample(21, 22, 0, "grid")


def test_a_grid_of_many_points_needs_no_table():
    space = space_of(12)  # 11 or 21 points each: about 4e14
    points = space.sample(10**14, 10**14 + 1000, 0, "grid")
    assert len(np.unique(points, axis=0)) == 1000


@given(st.integers(1, 3000), st.integers(0, 2**32))
@example(1, 0)
@example(2, 0)
@example(256, 0)
@example(257, 0)
def test_permute_is_a_bijection(size, seed):
    assert np.array_equal(np.sort(permute(np.arange(size), size, seed)), np.arange(size))


def test_unknown_samplings_and_negative_seeds_are_refused():
    with pytest.raises(ConfigError, match="sampling is 'latin'; choose one of uniform, sobol, grid"):
        space_of(1).sample(0, 1, 0, "latin")
    with pytest.raises(ConfigError, match="seed is -1"):
        space_of(1).sample(0, 1, -1, "uniform")
