import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import pytest
from hydra.errors import InstantiationException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from torch._inductor.exc import InductorError, InvalidCxxCompiler

from src.errors import ConfigError, NSMError, VIMHError
from src.hydra_versions import instantiate
from src.programs.explain import explain, find_cause, fits, in_words, invalid_setting


class Unreadable(Protocol):
    """Not `runtime_checkable`: `isinstance` cannot check it."""


class Filter:
    def __init__(self, order: int, cutoffs: Sequence[float], kind: Literal["low", "high"] = "low", gain: float = 1.0):
        self.poles = order + 1
        self.cutoffs = [cutoff * gain for cutoff in cutoffs]


def explained(**settings):
    """The message about a filter with some settings, two sections deep."""
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


def test_an_object_that_could_not_be_made_for_other_reasons_is_named():
    with pytest.raises(InstantiationException) as caught:
        instantiate({"_target_": "builtins.int", "_args_": ["abc"]})
    for message in (explain(caught.value, OmegaConf.create({})), explain(caught.value)):
        assert message.startswith("Error in call to target 'builtins.int'")
        assert "invalid literal" in message
        assert "HYDRA_FULL_ERROR=1" in message


def from_cause(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("no"), "no"),
        (from_cause(InstantiationException("data"), VIMHError("damaged")), "damaged"),
        (from_cause(InstantiationException("data"), from_cause(RuntimeError("worker"), VIMHError("bad"))), "bad"),
        (MisconfigurationException("no such accelerator"), "no such accelerator"),
        (from_cause(InstantiationException("trainer"), MisconfigurationException("no gpu")), "no gpu"),
        (OSError(errno.ENOSPC, "No space left on device", "/full/file"), "/full/file: No space left on device."),
        (PermissionError(errno.EACCES, "Permission denied", "/kept"), "/kept: Permission denied."),
        (ValueError("Record does not exist."), "No trial of this search has succeeded"),
        (ValueError("No trials are completed yet."), "No trial of this search has succeeded"),
        (InductorError(InvalidCxxCompiler(), None), "model.compile=true needs a C++ compiler"),
    ],
    ids=repr,
)
def test_errors_that_a_user_can_correct_are_messages(error, expected):
    assert explain(error).startswith(expected)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("a bug"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/no/such/file"),
        OSError(errno.EIO, "Input/output error", "/bad/file"),
        PermissionError("without a file"),
        ValueError("another one"),
        from_cause(RuntimeError("worker"), VIMHError("damaged")),
        InductorError(RuntimeError("another fault"), None),
    ],
    ids=repr,
)
def test_other_errors_are_bugs(error):
    assert explain(error) is None


def test_the_cause_is_found_at_any_depth():
    innermost = VIMHError("damaged")
    outer = from_cause(InstantiationException("data"), from_cause(RuntimeError("worker"), innermost))
    assert find_cause(outer, NSMError) is find_cause(innermost, NSMError) is find_cause(outer, "VIMHError") is innermost
    assert find_cause(InstantiationException("alone"), NSMError) is None


def filter_section(**settings):
    return OmegaConf.create({"_target_": f"{__name__}.Filter", **settings})


def test_what_fits_is_not_explained():
    section = filter_section(order=2, cutoffs=[1, 2.5], kind="high", gain="???")
    assert invalid_setting(section, "f") is None


def test_what_hydra_makes_objects_of_is_not_looked_at():
    target = {"_target_": "x"}
    assert invalid_setting(filter_section(order=target, cutoffs=[target, {"a": [target]}]), "f") is None
    assert invalid_setting(filter_section(order=1, cutoffs=[{"a": 1}]), "f").startswith("f.cutoffs is ")


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
        ("anything", Callable[[int], int], False),
        (print, Callable[[int], int], True),
        (1, Unreadable, True),
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


class OperationalError(Exception):
    """Called as that of SQLAlchemy."""


def test_a_database_that_refuses_is_named():
    message = explain(OperationalError("(sqlite3.OperationalError) database or disk is full\n[SQL: …]"))
    assert "(sqlite3.OperationalError) database or disk is full. " in message
    assert "hydra.sweeper.storage" in message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG])
def test_a_file_that_was_being_written_to_is_named(tmp_path, number):
    def write(name, mode):
        with open(name, mode) as file:  # by a name of bytes, as TensorBoard does
            file.write("" if mode == "w" else b"")
            raise OSError(number, os.strerror(number))

    for name, mode in ((tmp_path / "text", "w"), (str(tmp_path / "text"), "w"), (os.fsencode(tmp_path / "text"), "wb")):
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            write(name, mode)
        wrapped = ValueError("Unable to configure handler")
        wrapped.__cause__ = caught.value
        for error in (caught.value, wrapped):
            assert explain(error) == f"{tmp_path}/text: {os.strerror(number)}. Name another place, or correct this one."
