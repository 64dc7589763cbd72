import numpy as np
import pytest

from src.evaluation.comparison import MEAN, RunErrors, comparable, mean_errors, paired_differences
from src.params import ParamSpec

CUTOFF, DECAY = ParamSpec("cutoff", 200, 2000, 100, "Hz"), ParamSpec("decay", -1.0, 0.0, 0.1, "log10 s")
WAVE = ParamSpec("wave", 0, 2, 1, names=("saw", "square", "sine"))
N = 200


def run_of(errors, parameters=(CUTOFF, DECAY), name="a", sounds="same"):
    return RunErrors(name, parameters, np.asarray(errors, dtype=float), sounds)


@pytest.fixture
def errors():
    return np.random.default_rng(0).gamma(2, 1, (N, 2))


def test_a_run_does_not_differ_from_itself(errors):
    for found in paired_differences(run_of(errors), run_of(errors), seed=0):
        assert (found.mean, found.low, found.high, found.better, found.sign) == (0, 0, 0, 0.5, 0)


def test_a_known_shift_is_found_exactly_and_without_spread(errors):
    found = paired_differences(run_of(errors), run_of(errors + np.array([0.25, 0.75])), seed=0)
    assert [row.head for row in found] == [MEAN, "cutoff", "decay"]
    for row, shift in zip(found, (0.5, 0.25, 0.75), strict=True):
        assert (row.mean, row.low, row.high) == pytest.approx((shift, shift, shift))
        assert (row.better, row.sign, row.n_sounds) == (0.0, 1, N)


def test_exchanged_runs_have_the_opposite_difference(errors):
    other = np.random.default_rng(1).gamma(2, 0.8, (N, 2))
    there, back = (
        paired_differences(*pair, seed=3) for pair in ((run_of(errors), run_of(other)), (run_of(other), run_of(errors)))
    )
    for a, b in zip(there, back, strict=True):
        assert a.mean == pytest.approx(-b.mean)
        assert (a.low, a.high) == pytest.approx((-b.high, -b.low))
        assert a.sign == -b.sign
        assert a.better == pytest.approx(1 - b.better)


def test_intervals_are_those_of_the_standard_error(errors):
    other = np.random.default_rng(1).gamma(2, 1, (N, 2))
    found = paired_differences(run_of(errors), run_of(other), seed=0)[1]
    difference = (other - errors)[:, 0]
    half = 1.96 * difference.std() / np.sqrt(N)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_pairs_see_what_separate_intervals_do_not():
    hard = np.random.default_rng(0).gamma(1, 5, N)  # some sounds are hard for both
    noise = np.random.default_rng(1).normal(0.2, 0.3, N)
    first, second = (run_of(column[:, None], (CUTOFF,)) for column in (hard, hard + noise))
    own = [mean_errors(run, seed=0)[0] for run in (first, second)]
    assert own[0].high > own[1].low
    assert paired_differences(first, second, seed=0)[0].sign == 1


def test_the_seed_alone_decides(errors):
    a, b = run_of(errors), run_of(errors[::-1])
    assert paired_differences(a, b, seed=1) == paired_differences(a, b, seed=1)
    assert paired_differences(a, b, seed=1) != paired_differences(a, b, seed=2)


def test_the_mean_is_over_the_heads_with_an_order(errors):
    with_wave = np.column_stack([errors, np.ones(N)])
    found = mean_errors(run_of(with_wave, (CUTOFF, DECAY, WAVE)), seed=0)
    assert [(row.head, row.units) for row in found] == [
        (MEAN, "steps"),
        ("cutoff", "steps"),
        ("decay", "steps"),
        ("wave", "wrong"),
    ]
    assert found[0].mean == pytest.approx(errors.mean())
    assert found[3].mean == 1.0


def test_categories_alone_have_a_mean_of_their_own():
    found = mean_errors(run_of(np.tile([1.0, 0.0], (N // 2, 1)).reshape(N, 1), (WAVE,)), seed=0)
    assert [(row.head, row.units, row.mean) for row in found] == [(MEAN, "wrong", 0.5), ("wave", "wrong", 0.5)]


def test_what_does_not_act_does_not_count(errors):
    some = errors.copy()
    some[: N // 2, 1] = np.nan
    found = mean_errors(run_of(some), seed=0)
    assert [row.n_sounds for row in found] == [N, N, N // 2]
    assert found[2].mean == pytest.approx(some[N // 2 :, 1].mean())
    rows = np.where(np.isnan(some[:, 1]), some[:, 0], some.mean(axis=1))
    assert found[0].mean == pytest.approx(rows.mean())
    none = np.full((N, 2), np.nan)
    for row in paired_differences(run_of(none), run_of(none), seed=0):
        assert (row.mean, row.low, row.high, row.better, row.n_sounds, row.sign) == (None, None, None, None, 0, 0)


def test_runs_are_comparable_on_the_same_sounds(errors):
    runs = [run_of(errors, sounds=sounds) for sounds in "ababb"]
    assert comparable(runs) == [[1, 3, 4], [0, 2]]
