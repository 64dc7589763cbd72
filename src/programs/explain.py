"""Error messages instead of tracebacks, and the setting that caused a TypeError."""

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.errors import CompactHydraException, InstantiationException, MissingConfigException
from hydra.utils import get_object
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationResolutionError, OmegaConfBaseException
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from src.errors import NSMError
from src.programs.places import unusable_place

NO_COMPILER = (
    "model.compile=true needs a C++ compiler, and PyTorch found none that works. Install g++ or clang++, name it in "
    "the environment variable CXX, or train without: model.compile=false"
)

# Optuna's ValueErrors when it searches the best of trials that all failed: in a database, in memory.
NO_TRIAL = ("Record does not exist.", "No trials are completed yet.")
ALL_FAILED = (
    "No trial of this search has succeeded, so that there is no best one. Why each of them failed stands above and in "
    "the log of its directory. Correct that, or the space that is searched, and run the same command again."
)

# SQLite does not say which file it is about.
NO_DATABASE = (
    "The database of this search cannot be used: {reason}. It is optuna/studies.db below paths.log_dir, unless "
    "hydra.sweeper.storage names another place. Name another one, or correct this one."
)

NO_OPTION = "Config group override must be"  # Hydra's ValueError where an option is a number, as in model=3

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    types.NoneType: "null",
    Callable: "a class or function (_target_: …)",
    **dict.fromkeys((Sequence, list, tuple), "a list"),
    **dict.fromkeys((Mapping, dict), "a mapping"),
}
MISSING = "???"


def explain(error: BaseException, cfg: Any = None) -> str | None:
    """The message for the user about an error.

    Args:
        error: What a task or Hydra raised.
        cfg: The configuration of the task; None where there was none yet.

    Returns:
        The message; None for an error that is a bug as far as we know, of which the traceback is wanted.
    """
    if isinstance(error, NSMError):
        return str(error)
    if isinstance(error, InstantiationException):
        cause = find_cause(error, NSMError) or find_cause(error, "MisconfigurationException")
        told = cause or unusable_place(find_cause(error, OSError))
        return str(told) if told else wrong_section(error, cfg) or f"{error}\nHYDRA_FULL_ERROR=1 shows the traceback."
    if isinstance(error, CompactHydraException):
        cause = error.__cause__
        return f"{error}: {first_line(cause)}" if isinstance(cause, OmegaConfBaseException) else str(error).strip()
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value: give one on the command line, as in {error.full_key}=VALUE"
    hides = error if isinstance(error, InterpolationResolutionError) else find_cause(error, OSError)
    if hides is not None:
        place = unusable_place(hides)
        if place or isinstance(error, OSError):
            return place
    if refused := find_cause(error, "OperationalError"):
        return NO_DATABASE.format(reason=str(refused).partition("\n")[0])
    if isinstance(error, ValueError) and str(error) in NO_TRIAL:
        return ALL_FAILED
    if isinstance(error, InterpolationResolutionError) and error.full_key:
        return f"{error.full_key}: {first_line(error)}"
    is_clear = isinstance(error, InterpolationResolutionError | GrammarParseError)
    # Lightning and PyTorch take seconds to import, so their exceptions are recognized by name.
    if is_clear or str(error).startswith(NO_OPTION) or type(error).__name__ == "MisconfigurationException":
        return str(error)
    if type(getattr(error, "inner_exception", None)).__name__ == "InvalidCxxCompiler":
        return NO_COMPILER
    return None


def first_line(error: BaseException) -> str:
    """What OmegaConf says, without the lines about its own types."""
    return str(error).partition("\n")[0]


def find_cause(error: BaseException | None, kind: type[BaseException] | str) -> BaseException | None:
    """The first exception of a class in the chain error, cause, cause of the cause …; None if there is none.

    Args:
        error: Where the chain begins.
        kind: The class, or its name where importing it would take long.
    """
    while error is not None:
        if type(error).__name__ == kind if isinstance(kind, str) else isinstance(error, kind):
            return error
        error = error.__cause__
    return None


def lacks_primary_config(error: BaseException, config_dir: Path) -> bool:
    """Whether Hydra looked for the configuration of `--config-name` in a directory, and found none of that name."""
    text = str(error)
    is_primary = isinstance(error, MissingConfigException) and text.startswith("Cannot find primary config")
    return is_primary and f"path=file://{config_dir}" in text


def wrong_section(error: InstantiationException, cfg: Any) -> str | None:
    """What is wrong with the settings of which Hydra could not make an object.

    Returns:
        One sentence; None if no TypeError is behind it, or no setting stands out.
    """
    found = re.search(r"^full_key: (.+)$", str(error), flags=re.MULTILINE)
    if cfg is None or found is None or not isinstance(error.__cause__, TypeError):
        return None
    key = found[1]
    section = OmegaConf.select(cfg, key)
    if section is None or "_target_" not in section:
        return None
    wrong = invalid_setting(section, key)
    lacking = re.search(r"(\w+)\.__init__\(\) missing \d+ required .*arguments?: (.*)", str(error.__cause__))
    if wrong or not lacking:
        return wrong
    return f"{key}: {lacking[1]} needs {lacking[2]}. Give a value, as in +{key}.NAME=VALUE"


def invalid_setting(section: DictConfig, key: str) -> str | None:
    """The first setting that a class or a function does not take, or that is of another type than its annotation.

    Args:
        section: Names the class or function as `_target_`, beside its settings; other names with an underscore in front
            are for Hydra.
        key: Where it is in the configuration, for the message.
    """
    made = get_object(section["_target_"])
    taken = inspect.signature(made).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    try:
        hints = get_type_hints(made.__init__ if inspect.isclass(made) else made)
    except NameError:  # another package's annotation of what it imports for type checkers only
        hints = {}
    settings: Any = OmegaConf.to_container(section, resolve=True)
    for name, value in settings.items():
        if name.startswith("_") or value == MISSING or holds_object(value):
            continue
        if name not in taken and not open_ended:
            return f"{key}.{name}: {made.__name__} takes no such setting. It takes {', '.join(taken)}."
        if name in hints and not fits(value, hints[name]):
            return f"{key}.{name} is {'null' if value is None else repr(value)}; it must be {in_words(hints[name])}."
    return None


def holds_object(value: Any) -> bool:
    """Whether Hydra makes an object of a value, or of something in a list."""
    if isinstance(value, list):
        return any(map(holds_object, value))
    return isinstance(value, Mapping) and "_target_" in value


def fits(value: Any, annotation: Any) -> bool:
    """Whether plain data is of an annotated type, without conversion; an annotation that pydantic cannot read fits."""
    try:
        TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value, strict=True)
    except ValidationError:
        return False
    except (PydanticUserError, SchemaError):
        return True
    return True


def in_words(annotation: Any) -> str:
    """A type as a user calls it."""
    origin = get_origin(annotation) or annotation
    if origin in (Union, types.UnionType):
        return " or ".join(map(in_words, get_args(annotation)))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    return WORDS.get(origin, getattr(origin, "__name__", str(origin)))
