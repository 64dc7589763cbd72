"""What a page asks for: one object of JSON each, with an `id` that grows."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from src.errors import ConfigError
from src.sections import Section, WholeNumber, validation_in_words

Perturb = dict[str, dict[str, float]]


class PageRequest(Section):
    """What all requests have.

    Attributes:
        id: Comes back with every message that answers it.
    """

    id: WholeNumber


class SoundRequest(PageRequest):
    """The sound of values.

    Attributes:
        value: Positions on the lines of the parameters.
        perturb: The switches that are on, with their settings.
    """

    type: Literal["sound"]
    value: tuple[float, ...]
    perturb: Perturb = Field(default_factory=dict)


class SampleRequest(PageRequest):
    """A stored test sound.

    Attributes:
        number: Which.
        perturb: As of `SoundRequest`.
    """

    type: Literal["test"]
    number: WholeNumber
    perturb: Perturb = Field(default_factory=dict)


class FileRequest(PageRequest):
    """A recording, whose bytes are the next message; without a size, the one that was sent last.

    Attributes:
        name: Of the file; its ending may tell what it is.
        size: Bytes that follow.
        perturb: As of `SoundRequest`.
    """

    type: Literal["file"]
    name: str = ""
    size: WholeNumber | None = None
    perturb: Perturb = Field(default_factory=dict)


class RefineRequest(PageRequest):
    """The search for the parameters of the current sound, step by step."""

    type: Literal["refine"]


class StopRequest(PageRequest):
    """The end of what is under way."""

    type: Literal["stop"]


AnyRequest = Annotated[
    SoundRequest | SampleRequest | FileRequest | RefineRequest | StopRequest, Field(discriminator="type")
]
TYPES = ("sound", "test", "file", "refine", "stop")
READER: TypeAdapter[AnyRequest] = TypeAdapter(AnyRequest)


def read_request(text: str) -> AnyRequest:
    """A request out of its text.

    Raises:
        ConfigError: If it is none.
    """
    try:
        return READER.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"] and first["type"] != "json_invalid":
            raise ConfigError(f"A request is an object whose type is one of {', '.join(TYPES)}.") from error
        raise ConfigError(validation_in_words(error, "request")) from error
    except RecursionError as error:
        raise ConfigError("The request is nested too deeply.") from error
