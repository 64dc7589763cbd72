"""`check_number`: which numbers are taken, and what is said of the others."""

import math
import warnings

import numpy as np
import pytest

from src.errors import ConfigError, NSMWarning, check_number
from src.params import ParamSpec


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (1, {"least": 1}),
        (1.0, {"least": 1, "most": 1}),
        (np.int64(3), {"whole": True, "above": 2, "below": 4}),
        (np.float32(0.5), {"above": 0, "below": 1}),
        (10**400, {"whole": True, "least": 0}),
        (-2.5, {"most": 0}),
    ],
)
def test_a_number_within_its_bounds_comes_back(value, bounds):
    assert check_number("setting", value, **bounds) is value


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (0, {"whole": True, "least": 1}, "0; it must be a whole number of 1 or more."),
        (1.0, {"whole": True, "least": 1}, "1.0; it must be a whole number of 1 or more."),
        (True, {"whole": True, "least": 1}, "True; it must be a whole number of 1 or more."),
        (True, {"least": 0}, "True; it must be a number of 0 or more."),
        ("1", {"least": 0}, "'1'; it must be a number of 0 or more."),
        (None, {"above": 0}, "None; it must be a number above 0."),
        ([1], {"above": 0}, "[1]; it must be a number above 0."),
        (0, {"above": 0}, "0; it must be a number above 0."),
        ("", {}, "''; it must be a number."),
        (math.nan, {"above": 0}, "nan; it must be a number above 0."),
        (math.inf, {"above": 0}, "inf; it must be a number above 0."),
        (-math.inf, {"most": 0}, "-inf; it must be a number at most 0."),
        (1, {"above": 0, "below": 1}, "1; it must be a number above 0 and below 1."),
        (2, {"above": 0, "most": 1}, "2; it must be a number above 0 and at most 1."),
        (1, {"least": 0, "below": 1}, "1; it must be a number of 0 or more and below 1."),
        (-1, {"whole": True, "least": 0, "most": 9}, "-1; it must be a whole number from 0 to 9."),
        (
            "x",
            {"whole": True, "least": 1, "hint": ", or auto"},
            "'x'; it must be a whole number of 1 or more, or auto.",
        ),
    ],
)
def test_anything_else_is_refused_with_what_it_must_be(value, bounds, words):
    with pytest.raises(ConfigError) as caught:
        check_number("data.setting", value, **bounds)
    assert str(caught.value) == f"data.setting is {words}"


def test_a_warning_of_this_project_is_a_sentence_and_others_are_as_usual():
    with pytest.warns(NSMWarning, match="told_in_words: the range is 5.4000 steps") as caught:
        ParamSpec("told_in_words", 0.0, 2.7, 0.5)
    ours, place = caught[0], ("a_file.py", 3)
    assert warnings.formatwarning(ours.message, ours.category, *place) == f"{ours.message}\n"
    assert "a_file.py:3: UserWarning: of others" in warnings.formatwarning(
        UserWarning("of others"), UserWarning, *place
    )
