"""The door of a configuration: a pydantic model says what a section may hold, and errors name what is refused."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from src.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

# What a sound may be at most, and what its STFT: settings beyond are slips or hostile, and take gigabytes.
MAX_SAMPLE_RATE = 1_000_000  # Hz
MAX_SAMPLES = 2**22  # 87 s at 48 kHz
MAX_WINDOW = 2**20  # samples of a window or an FFT
MAX_CELLS = 2**23  # FFT length times columns or rows
MAX_LOBES = 100

# What pydantic calls in programmers' words.
WORDS = {
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a section",
    "model_type": "a section",
}
ABOUT_KEYS = {
    "missing": "is missing",
    "extra_forbidden": "does not belong here",
    "unexpected_keyword_argument": "does not belong here",
}


def as_tuple(value: Any) -> Any:
    """Any list as a tuple; a configuration's own lists are no lists of Python's."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _few_lobes(window: Any) -> Any:
    """Refuse a Taylor window of so many lobes that it takes minutes."""
    is_taylor = isinstance(window, tuple) and len(window) > 1 and window[0] == "taylor"
    if is_taylor and not (isinstance(window[1], int) and window[1] <= MAX_LOBES):
        raise ValueError(f"window is taylor, whose number of lobes must be a whole number of {MAX_LOBES} at most")
    return window


# `description` is the second half of the message: "seed is -1; it must be …".
PositiveInt = Annotated[int, Field(ge=1, description="it must be a whole number of 1 or more")]
WholeNumber = Annotated[int, Field(ge=0, description="it must be a whole number of 0 or more")]
PositiveFloat = Annotated[float, Field(gt=0, description="it must be a number above 0")]
Flag = Annotated[bool, Field(description="it must be true or false")]
Modules = Annotated[
    tuple[str, ...], BeforeValidator(as_tuple), Field(description="it must be a list of dotted module names")
]
SampleRate = Annotated[
    int, Field(ge=1, le=MAX_SAMPLE_RATE, description=f"it must be a whole number of 1 to {MAX_SAMPLE_RATE:,} Hz")
]
Window = Annotated[  # any of `scipy.signal.get_window`
    str | float | tuple[Any, ...], BeforeValidator(as_tuple), AfterValidator(_few_lobes)
]
Ratios = Annotated[tuple[PositiveFloat, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=16)]
Text = Annotated[str, BeforeValidator(lambda item: str(item) if isinstance(item, int | float) else item)]
"""Text that Hydra may have read as a number: a directory can be called 2024."""


class Section(BaseModel):
    """Settings as they are, nothing coerced; keys that are not listed are left to others."""

    model_config = ConfigDict(strict=True, frozen=True)


class Settings(Section):
    """Settings by name that check themselves; no other names, and nothing coerced but whole numbers to others.

    Raises:
        ConfigError: If one is missing, unknown, of another type, out of its range, or contradicts another.
    """

    model_config = ConfigDict(extra="forbid")

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            hint = f"The settings are {', '.join(type(self).model_fields)}."
            raise ConfigError(f"{type(self).__name__}: {validation_in_words(error, '', type(self), hint)}") from error


def read_section(model: type[Model], section: Mapping[str, Any], name: str = "") -> Model:
    """Read what a section of a configuration says.

    Args:
        model: What it may hold; the `description` of a field tells users what it must be.
        section: Plain or OmegaConf's; only the keys that the model lists are looked at.
        name: Of the section, for messages; empty for the whole configuration.

    Raises:
        ConfigError: Naming every key that is missing or cannot be used.
    """
    try:
        return model.model_validate({key: section[key] for key in model.model_fields if key in section})
    except ValidationError as error:
        hint = f"{name or 'The configuration'} has the keys {', '.join(section)}."
        raise ConfigError(validation_in_words(error, name, model, hint)) from error


def validation_in_words(
    error: ValidationError, name: str = "", model: type[BaseModel] | None = None, hint: str = ""
) -> str:
    """All that pydantic found wrong with plain data, a sentence each, in one line.

    Args:
        error: From pydantic.
        name: Of the section that holds the data, as `parameters.filter_cutoff`; empty for a file of its own.
        model: The descriptions of its fields say what they must be; without one, pydantic says it.
        hint: A sentence about the keys that there are, added if the error is about keys.
    """
    fields = {} if model is None else model.model_fields
    entries = error.errors(include_url=False)
    sentences = []
    for entry in entries:
        key = ".".join(str(part) for part in (name, *entry["loc"]) if part != "")
        found = repr(entry["input"])
        found = found if len(found) <= 60 else f"{found[:57]}..."
        wanted = f"it must be {WORDS.get(entry['type']) or entry['msg'].removeprefix('Input should be ')}"
        if len(entry["loc"]) == 1 and entry["loc"][0] in fields:
            wanted = fields[entry["loc"][0]].description or wanted
        cause = entry.get("ctx", {}).get("error")
        if entry["type"] in ABOUT_KEYS:
            sentence = f"the key {key} {ABOUT_KEYS[entry['type']]}"
        elif entry["type"] == "json_invalid":
            sentence = f"it is not JSON ({cause})"
        else:
            sentence = str(cause) if cause else f"{key} is {found}; {wanted}"
        sentences.append(f"{sentence.removesuffix('.')}.")
    if hint and any(entry["type"] in ABOUT_KEYS for entry in entries):
        sentences.append(hint)
    return " ".join(sentences)
