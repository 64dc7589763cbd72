"""The errors of this project. Every message says what was found, where, and what to do."""

from typing import Any


class NSMError(Exception):
    """Anything a user can mend. Entry points print it without a traceback and exit with 1."""


class ConfigError(NSMError, ValueError):
    """A value in a configuration that cannot be used."""


class VIMHError(NSMError):
    """A dataset on disk that is missing, damaged, contradicts itself, or is not the one that was asked for."""


class CheckpointError(NSMError):
    """A file that is no checkpoint of this project, or does not belong to the dataset at hand."""


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuse a setting that is no whole number from `least` to `most`.

    Args:
        name: The setting, as on the command line.
        value: What it is.
        least: The smallest that makes sense.
        most: The largest; None: there is none.

    Raises:
        ConfigError: Naming all of them.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        wanted = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name} is {value!r}; it must be a whole number {wanted}.")
