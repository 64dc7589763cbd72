from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.programs.explain import explain, fits, in_words, invalid_setting


class Filter:
    def __init__(self, order: int, cutoffs: Sequence[float], kind: Literal["low", "high"] = "low", gain: float = 1.0):
        self.poles = order + 1
        self.cutoffs = [cutoff * gain for cutoff in cutoffs]


def explained(**settings):
    """What is said of a filter with some settings, two sections deep."""
    cfg = OmegaConf.create({"synth": {"filter": {"_target_": f"{__name__}.Filter", **settings}}})
    with pytest.raises(InstantiationException) as caught:
        instantiate(cfg.synth.filter)
    return explain(caught.value, cfg)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"order": "abc", "cutoffs": []}, "synth.filter.order is 'abc'; it must be a whole number."),
        ({"order": 1, "cutoffs": None}, "synth.filter.cutoffs is null; it must be a list."),
        ({"order": 1, "cutoffs": [1, None]}, "synth.filter.cutoffs is [1, None]; it must be a list."),
        (
            {"order": 1, "cutoffs": [], "slope": 3},
            "synth.filter.slope: Filter takes no such setting. It takes order, cutoffs, kind, gain.",
        ),
        (
            {"cutoffs": []},
            "synth.filter: Filter needs 'order'. Give a value, as in +synth.filter.NAME=VALUE",
        ),
    ],
    ids=str,
)
def test_the_setting_behind_a_type_error_is_named(settings, expected):
    assert explained(**settings) == expected


def test_errors_of_another_kind_are_not_explained():
    with pytest.raises(InstantiationException) as caught:
        instantiate({"_target_": "builtins.int", "_args_": ["abc"]})
    assert explain(caught.value, OmegaConf.create({})) is None
    assert explain(InstantiationException("alone"), None) is None


def test_what_fits_is_not_explained():
    assert (
        invalid_setting(Filter, {"_target_": "x", "order": 2, "cutoffs": [1, 2.5], "kind": "high", "gain": "???"}, "f")
        is None
    )


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1.5, int, False),
        (1, float, True),
        (None, float | None, True),
        ("1", float | None, False),
        (False, bool, True),
        ([1], Sequence[int], True),
        (["1"], list[int], False),
        ("12", Sequence[str], False),
        ({}, Mapping[str, float], True),
        ([], dict, False),
        ("low", Literal["low", "high"], True),
        ("mid", Literal["low", "high"], False),
        ("here", str | Path, True),
        ("anything", Callable[[int], int], True),
    ],
    ids=str,
)
def test_plain_data_fits_a_kind_or_not(value, kind, expected):
    assert fits(value, kind) is expected


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (list[int], "a list"),
        (dict[str, int], "a mapping"),
        (Literal["a", "b"], "one of a, b"),
    ],
    ids=str,
)
def test_kinds_are_said_in_words(kind, words):
    assert in_words(kind) == words
