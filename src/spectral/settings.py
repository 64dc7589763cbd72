"""Settings that are checked where they are given: the base of channels and of representations of sounds."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from src.errors import ConfigError


def _as_tuple(value: Any) -> Any:
    """Any list as a tuple; a configuration's own lists are no lists of Python's."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Window = Annotated[str | float | tuple, BeforeValidator(_as_tuple)]  # any of `scipy.signal.get_window`
Ratios = Annotated[tuple[PositiveFloat, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Settings(BaseModel):
    """Settings by name; types are as they are declared, and nothing is converted but whole numbers to others.

    Raises:
        ConfigError: If one is missing, unknown, of another type, out of its range, or contradicts another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            found = " ".join(self._sentence(entry) for entry in error.errors())
            raise ConfigError(f"{type(self).__name__}: {found}") from error

    @classmethod
    def _sentence(cls, entry: Any) -> str:
        """One of pydantic's findings in words."""
        key = ".".join(map(str, entry["loc"]))
        if entry["type"] == "value_error":
            return str(entry["ctx"]["error"])
        if entry["type"] == "missing":
            return f"{key} is missing."
        if entry["type"] == "extra_forbidden":
            return f"{key} is not known; the settings are {', '.join(cls.model_fields)}."
        return f"{key} is {entry['input']!r}; {entry['msg'].replace('Input should', 'it must')}."
