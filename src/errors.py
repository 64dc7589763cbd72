"""The errors of this project, and the checks that raise them. Every message says what was found, where, what to do."""

import math
import numbers
import operator
from typing import Any

from pydantic import ValidationError

BOUNDS = {
    "least": (operator.ge, "of {} or more"),
    "above": (operator.gt, "above {}"),
    "most": (operator.le, "at most {}"),
    "below": (operator.lt, "below {}"),
}
# What pydantic calls in programmers' words.
WORDS = {
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a section",
    "model_type": "a section",
}


class NSMError(Exception):
    """What the user can put right. Entry points print it without a traceback and exit with 1."""


class ConfigError(NSMError, ValueError):
    """A value in a configuration that cannot be used."""


class VIMHError(NSMError):
    """A dataset on disk that is missing, damaged, contradicts itself, or is not the one that was asked for."""


class CheckpointError(NSMError):
    """A file that is no checkpoint of this project, or does not belong to the dataset at hand."""


def check_number(name: str, value: Any, *, whole: bool = False, hint: str = "", **bounds: float) -> Any:
    """Refuse a setting that is no finite number, or out of its bounds.

    Args:
        name: The setting, as on the command line.
        value: What it is.
        whole: Whether only whole numbers make sense.
        hint: Ends the message: the unit, or what else the setting may be, as in ", or auto".
        **bounds: `least` or `above`, and `most` or `below`, in this order.

    Returns:
        The value.

    Raises:
        ConfigError: Naming all of them.
    """
    is_number = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
    if is_number and abs(value) < math.inf and all(BOUNDS[key][0](value, bound) for key, bound in bounds.items()):
        return value
    words = " and ".join(BOUNDS[key][1].format(bound) for key, bound in bounds.items())
    if {"least", "most"} <= bounds.keys():
        words = f"from {bounds['least']} to {bounds['most']}"
    wanted = f"{'whole number' if whole else 'number'} {words}".rstrip()
    raise ConfigError(f"{name} is {value!r}; it must be a {wanted}{hint}.")


def validation_in_words(error: ValidationError, section: str = "") -> str:
    """All that pydantic found wrong with plain data, in one line without a full stop.

    Args:
        error: From pydantic.
        section: Where the data are in a configuration, as `parameters.filter_cutoff`; empty for a file of its own.
    """
    parts = []
    for entry in error.errors(include_url=False):
        key = ".".join(str(part) for part in (section, *entry["loc"]) if part != "")
        found = repr(entry["input"])
        found = found if len(found) <= 60 else f"{found[:57]}..."
        wanted = WORDS.get(entry["type"]) or entry["msg"].removeprefix("Input should be ")
        cause = entry.get("ctx", {}).get("error")
        words = {
            "missing": f"the key {key} is missing",
            "extra_forbidden": f"the key {key} does not belong here",
            "unexpected_keyword_argument": f"the key {key} does not belong here",
            "value_error": str(cause).removesuffix("."),
            "json_invalid": f"it is not JSON ({cause})",
        }
        parts.append(words.get(entry["type"]) or f"{key} is {found}; it must be {wanted}")
    return "; ".join(parts)
