"""Which setting is behind the TypeError of an object that could not be made, in words."""

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import OmegaConf

WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    types.NoneType: "null",
    Sequence: "a list",
    Mapping: "a mapping",
}
LISTS, MAPPINGS = (Sequence, list, tuple), (Mapping, dict)
MISSING = "???"


def explain(error: InstantiationException, cfg: Any) -> str | None:
    """What is wrong with the settings of a section.

    Args:
        error: What Hydra raised when it made an object of the section.
        cfg: The configuration that the section is in.

    Returns:
        One sentence; None if no TypeError is behind it, or no setting stands out.
    """
    key = re.search(r"^full_key: (.+)$", str(error), flags=re.MULTILINE)
    if not isinstance(error.__cause__, TypeError) or key is None:
        return None
    section = OmegaConf.select(cfg, key[1])
    if section is None or "_target_" not in section:
        return None
    plain = OmegaConf.to_container(section, resolve=True)
    return invalid_setting(get_object(plain["_target_"]), plain, key[1]) or lacking(error.__cause__, key[1])


def invalid_setting(made: Callable[..., Any], settings: Mapping[str, Any], key: str) -> str | None:
    """The first of some settings that a class or a function does not take, or whose kind is another than it says.

    Args:
        made: The class or function.
        settings: Name to value, plain; what has a name with an underscore in front is for Hydra.
        key: Where they are in the configuration, for the message.
    """
    taken = inspect.signature(made).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    kinds = type_hints(made)
    for name, value in settings.items():
        if name.startswith("_") or value == MISSING or is_object(value):
            continue
        if name not in taken and not open_ended:
            return f"{key}.{name}: {made.__name__} takes no such setting. It takes {', '.join(taken)}."
        if name in kinds and not fits(value, kinds[name]):
            return f"{key}.{name} is {'null' if value is None else repr(value)}; it must be {in_words(kinds[name])}."
    return None


def lacking(error: TypeError, key: str) -> str | None:
    """The settings that a call missed."""
    found = re.search(r"(\w+)\.__init__\(\) missing \d+ required .*arguments?: (.*)", str(error))
    return f"{key}: {found[1]} needs {found[2]}. Give a value, as in +{key}.NAME=VALUE" if found else None


def type_hints(made: Callable[..., Any]) -> dict[str, Any]:
    """The kinds that a class or a function says it takes; none where it names some that only a type checker sees."""
    try:
        return get_type_hints(made.__init__ if isinstance(made, type) else made)
    except NameError:
        return {}


def is_object(value: Any) -> bool:
    """Whether Hydra makes an object of a value."""
    return isinstance(value, Mapping) and "_target_" in value


def fits(value: Any, kind: Any) -> bool:
    """Whether plain data is of a kind; what cannot be told fits."""
    origin = get_origin(kind) or kind
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if origin in LISTS:
        return isinstance(value, list) and all(fits(item, part) for part in get_args(kind)[:1] for item in value)
    if origin in MAPPINGS:
        return isinstance(value, dict)
    if origin in (int, float):
        return isinstance(value, int | origin) and not isinstance(value, bool)
    return not isinstance(origin, type) or origin is Callable or isinstance(value, origin)


def in_words(kind: Any) -> str:
    """A kind as a user calls it."""
    origin = get_origin(kind) or kind
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(part) for part in get_args(kind))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    general = Sequence if origin in LISTS else Mapping if origin in MAPPINGS else origin
    return WORDS.get(general, getattr(origin, "__name__", str(origin)))
