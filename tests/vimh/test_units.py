"""Groups are never divided, every class is in every part, and a set that grows keeps its division."""

import numpy as np
import pytest

from src.errors import ConfigError
from src.vimh.division import Unit, check_enough, check_spread, deal_folds, draw_test, spread_groups, units_of


def units(sizes, classes, seed=0):
    """Units of these sizes and classes, in the order of random keys."""
    keys = sorted(np.random.default_rng(seed).integers(0, 2**63, len(sizes)).tolist())
    first = np.cumsum([0, *sizes])
    return [
        Unit(key, [*range(first[i], first[i + 1])], frozenset(("kind", name) for name in names))
        for i, (key, names) in enumerate(zip(keys, classes, strict=True))
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_of_every_class_its_share_tests_and_some_are_left(seed, share):
    rng = np.random.default_rng(seed)
    classes = [[name] for name in "aabbbcccccccccc"] + [["d"]] * 85
    found = units([1] * 100, [classes[i] for i in rng.permutation(100)], seed)
    tests = draw_test(found, share)
    for name, count in (("a", 2), ("b", 3), ("c", 10), ("d", 85)):
        own = [bool(test) for unit, test in zip(found, tests, strict=True) if ("kind", name) in unit.classes]
        assert sum(own) == max(1, round(share * count))
    check_spread(found, tests, 2)


def test_groups_of_several_classes_go_as_a_whole():
    speakers = units([30] * 20, [["yes", "no", "up"]] * 20)
    tests = draw_test(speakers, 0.2)
    assert tests.tolist() == [True] * 4 + [False] * 16  # those of the smallest keys
    mixed = units([5] * 6, [["a", "b"], ["a"], ["b"], ["a", "c"], ["c"], ["b", "c"]])
    check_spread(mixed, draw_test(mixed, 0.2), 2)


def test_samples_count_and_not_groups():
    found = units([10, 1, 1, 1, 7, 30], [["a"]] * 6)
    assert draw_test(found, 0.2).tolist() == [True, False, False, False, False, False]
    assert draw_test(found, 0.24).tolist() == [True, True, True, False, False, False]


def test_a_set_that_grows_keeps_its_division():
    few = units([1] * 200, [["ab"[i % 2]] for i in range(200)])
    many = sorted([*few, *units([1] * 20, [["a"]] * 20, seed=9)])
    before = dict(zip((unit.key for unit in few), draw_test(few, 0.2), strict=True))
    after = dict(zip((unit.key for unit in many), draw_test(many, 0.2), strict=True))
    assert sum(before[key] != after[key] for key in before) <= 5
    assert (
        draw_test(few, 0.2).tolist() == draw_test(units([1] * 200, [["ab"[i % 2]] for i in range(200)]), 0.2).tolist()
    )


@pytest.mark.parametrize("n_folds", [2, 5])
def test_folds_are_of_one_size_and_have_every_class(n_folds):
    rng = np.random.default_rng(3)
    found = units(rng.integers(1, 5, 60).tolist(), [["abc"[i % 3]] for i in rng.permutation(60)])
    fold = deal_folds(found, n_folds)
    check_spread(found, fold, n_folds)
    sizes = [sum(len(unit.samples) for unit, k in zip(found, fold, strict=True) if k == n) for n in range(n_folds)]
    assert max(sizes) - min(sizes) <= 12  # a large unit of each class
    few = units([9, 1, 1, 1, 1], [["a"]] * 5)
    assert sorted(deal_folds(few, 5).tolist()) == [0, 1, 2, 3, 4]


def test_units_are_groups_and_what_holds_the_same():
    groups, keys = ["x", "y", "x", "z", "w"], [5, 7, 6, 7, 1]
    found = units_of(groups, keys, [frozenset({("k", group)}) for group in groups])
    assert [unit.samples for unit in found if len(unit.samples) == 1] == [[4]]
    assert sorted(unit.samples for unit in found) == [[0, 2], [1, 3], [4]]
    assert next(unit for unit in found if unit.samples == [1, 3]) == Unit(7, [1, 3], {("k", "y"), ("k", "z")})
    swapped = units_of(["x", "x"], [6, 5], [frozenset()] * 2)
    assert swapped[0].key == next(unit.key for unit in found if unit.samples == [0, 2])


def test_what_cannot_be_divided_is_refused_with_the_least_number():
    kinds = [frozenset({("kind", name)}) for name in "aaab"]
    with pytest.raises(ConfigError, match=r"needs 2 files at least, one for each part, but b \(kind\) has 1\. Add"):
        check_enough(kinds, 2, "file")
    with pytest.raises(ConfigError, match=r"needs 4 groups .* a \(kind\) has 3, b \(kind\) has 1\. .*fewer --folds"):
        check_enough(kinds, 4, "group")
    with pytest.raises(ConfigError, match="1 group cannot be divided into 2 parts: one would be empty"):
        check_enough(kinds[:1], 2, "group")
    check_enough(kinds[:3], 3, "file")
    triangle = units([1, 1, 1], [["a", "c"], ["a", "b"], ["b", "c"]])
    with pytest.raises(ConfigError, match=r"No division was found in which every part has .*--group-by"):
        check_spread(triangle, draw_test(triangle, 0.3), 2)


def test_any_beginning_of_spread_groups_has_its_share_of_each_class():
    rng = np.random.default_rng(1)
    classes = np.repeat([0, 1, 2], [300, 90, 30])
    groups = np.array([f"{c}-{i // 3}" for i, c in enumerate(classes)])
    found = spread_groups(groups, classes, rng)
    assert sorted(np.concatenate(found).tolist()) == [*range(420)]
    assert all(len({*groups[samples]}) == 1 and len(samples) == 3 for samples in found)
    for share in (0.1, 0.3, 0.7):
        first = classes[np.concatenate(found[: round(share * len(found))])]
        counts = np.bincount(first, minlength=3)
        assert np.abs(counts - share * np.array([300, 90, 30])).max() <= 6
    again = spread_groups(groups, classes, np.random.default_rng(1))
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
