"""The door of a configuration: a pydantic model says what a section may hold, and errors name what is refused."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from omegaconf import OmegaConf
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from src.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

# `description` is the second half of the message: "seed is -1; it must be …".
Count = Annotated[int, Field(ge=1, description="it must be a whole number of 1 or more")]
Seed = Annotated[int, Field(ge=0, description="it must be a whole number of 0 or more")]
Flag = Annotated[bool, Field(description="it must be true or false")]
Modules = Annotated[list[str], Field(description="it must be a list of dotted module names")]
Text = Annotated[str, BeforeValidator(lambda item: str(item) if isinstance(item, int | float) else item)]
"""Text that Hydra may have read as a number: a directory can be called 2024."""


class Section(BaseModel):
    """Settings as they are, nothing coerced; keys that are not listed are left to others."""

    model_config = ConfigDict(frozen=True, strict=True)


def read_section(model: type[Model], section: Mapping[str, Any], name: str = "") -> Model:
    """Read what a section of a configuration says.

    Args:
        model: What it may hold; the `description` of a field tells users what it must be.
        section: Plain or OmegaConf's; only the keys that the model lists are looked at.
        name: Of the section, for messages; empty for the whole configuration.

    Raises:
        ConfigError: Naming every key that is missing or cannot be used.
    """
    found = {key: section[key] for key in model.model_fields if key in section}
    plain = {key: OmegaConf.to_object(item) if OmegaConf.is_config(item) else item for key, item in found.items()}
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        refused = {str(entry["loc"][0]): entry["type"] for entry in error.errors(include_url=False)}
    prefix = f"{name}." if name else ""
    lines = [
        f"{prefix}{key} is {plain[key]!r}; {model.model_fields[key].description}."
        for key, reason in refused.items()
        if reason != "missing"
    ]
    missing = [key for key, reason in refused.items() if reason == "missing"]
    if missing:
        lines.append(f"{name or 'The configuration'} lacks {', '.join(missing)}; it has the keys {', '.join(section)}.")
    raise ConfigError("\n".join(lines))
