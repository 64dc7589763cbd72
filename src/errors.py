"""The errors of this project, and the checks that raise them. Every message says what was found, where, what to do."""

import math
import numbers
import operator
from typing import Any

from pydantic import ValidationError

# What pydantic's kinds of error mean to somebody who writes a configuration, where its own words are for programmers.
WORDS = {
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a section",
    "model_type": "a section",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
}


class NSMError(Exception):
    """What the user can put right. Entry points print it without a traceback and exit with 1."""


class ConfigError(NSMError, ValueError):
    """A value in a configuration that cannot be used."""


class VIMHError(NSMError):
    """A dataset on disk that is missing, damaged, contradicts itself, or is not the one that was asked for."""


class CheckpointError(NSMError):
    """A file that is no checkpoint of this project, or does not belong to the dataset at hand."""


def check_number(
    name: str,
    value: Any,
    *,
    whole: bool = False,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    hint: str = "",
) -> Any:
    """Refuse a setting that is no finite number, or out of its bounds.

    Args:
        name: The setting, as on the command line.
        value: What it is.
        whole: Whether only whole numbers make sense.
        least: Lowest that makes sense.
        above: What it must be above.
        most: Highest that makes sense.
        below: What it must be below.
        hint: Ends the message: the unit, or what else the setting may be, as in ", or auto".

    Returns:
        The value.

    Raises:
        ConfigError: Naming all of them.
    """
    bounds = [
        (f"of {least} or more", operator.ge, least),
        (f"above {above}", operator.gt, above),
        (f"at most {most}", operator.le, most),
        (f"below {below}", operator.lt, below),
    ]
    given = [(words, compare, bound) for words, compare, bound in bounds if bound is not None]
    is_number = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
    if is_number and abs(value) < math.inf and all(compare(value, bound) for _, compare, bound in given):
        return value
    words = [f"from {least} to {most}"] if None not in (least, most) else [words for words, _, _ in given]
    kind = "whole number" if whole else "number"
    raise ConfigError(f"{name} is {value!r}; it must be a {kind} {' and '.join(words)}{hint}.")


def validation_in_words(error: ValidationError, section: str = "") -> str:
    """All that pydantic found wrong with plain data, in one line without a full stop.

    Args:
        error: From pydantic.
        section: Where the data are in a configuration, as `parameters.filter_cutoff`; empty for a file of its own.
    """
    parts = []
    for entry in error.errors(include_url=False):
        key = ".".join(str(part) for part in (section, *entry["loc"]) if part != "")
        if entry["type"] == "missing":
            parts.append(f"the key {key} is missing")
        elif entry["type"] == "extra_forbidden":
            parts.append(f"the key {key} does not belong here")
        elif entry["type"] == "value_error":
            parts.append(str(entry["ctx"]["error"]).removesuffix("."))
        elif entry["type"] == "json_invalid":
            parts.append(f"it is not JSON ({entry['ctx']['error']})")
        else:
            wanted = WORDS.get(entry["type"]) or entry["msg"].removeprefix("Input should be ")
            parts.append(f"{key} is {_abbreviated(entry['input'])}; it must be {wanted}")
    return "; ".join(parts)


def _abbreviated(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
