"""The errors of this project, and the checks that raise them. Every message says what was found, where, what to do."""

import math
import numbers
import operator
import warnings
from collections.abc import Collection
from typing import Any

from src.text import printable

BOUNDS = {
    "least": (operator.ge, "of {} or more"),
    "above": (operator.gt, "above {}"),
    "most": (operator.le, "at most {}"),
    "below": (operator.lt, "below {}"),
}


class NSMError(Exception):
    """What the user can put right. Entry points print it without a traceback and exit with `exit_code`."""

    exit_code = 1


class ConfigError(NSMError, ValueError):
    """A value in a configuration that cannot be used."""


class VIMHError(NSMError):
    """A dataset on disk that is missing, damaged, contradicts itself, or is not the one that was asked for."""


class IndexingError(NSMError, IndexError):
    """A number or an index that nothing has."""


class CheckpointError(NSMError):
    """A file that is no checkpoint of this project, or does not belong to the dataset at hand."""


class InstallationError(SystemExit, NSMError):
    """A package that cannot be used. It is raised while modules are imported: a script ends with its message then."""


class NSMWarning(UserWarning):
    """What the user should know, though all goes on."""


_usual_format = warnings.formatwarning


def _format_warning(message: Warning | str, category: type[Warning], *place: Any, **line: Any) -> str:
    """A warning of this project as a sentence: the line of code that gives it is of no use to those who read it."""
    is_ours = issubclass(category, NSMWarning)
    return printable(f"{message}\n" if is_ours else _usual_format(message, category, *place, **line))


warnings.formatwarning = _format_warning  # here, so that it holds in every process that can give one


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


def check_choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """Refuse a setting that is none of those that there are.

    Args:
        name: The setting, as on the command line.
        value: What it is.
        choices: What it may be.

    Returns:
        The value.

    Raises:
        ConfigError: Naming all of them.
    """
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(map(str, choices))}.")
    return value
