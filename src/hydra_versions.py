"""Hydra 1.3 and 1.4, told in one place what they want to be told differently. All that uses this does the same in both.

Hydra 1.4 takes no `version_base`, wants a list of what a configuration may name, and lets errors of what it calls pass
as they are, with a note that says where. What it makes of `_partial_` cannot be pickled, so that no process could be
started with it. OmegaConf 2.4, which comes with it, has another name for new resolvers.
"""

import copyreg
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

IS_1_3 = hydra.__version__.startswith("1.3.")
KEY_NOTE = "full_key: "  # begins Hydra's note, or the last line of its message, on where in a configuration an error is

# A user's own configuration is code and may name anything. What comes out of a file names what SLOTS lists.
ANYTHING = None if IS_1_3 else getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS")  # noqa: B009 (1.3 lacks it)
_VERSION_BASE = {"version_base": "1.3"} if IS_1_3 else {}


def hydra_main(config_dir: Path, config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """`hydra.main` for a directory of configurations."""
    options = _VERSION_BASE if IS_1_3 else {"execution_whitelist": ANYTHING}
    return hydra.main(config_path=str(config_dir), config_name=config_name, **options)


def initialize_configs(config_dir: Path) -> AbstractContextManager[Any]:
    """Let `hydra.compose` find the configurations of a directory, an absolute path, while the context lasts."""
    return hydra.initialize_config_dir(str(config_dir), **_VERSION_BASE)


def register_resolver(name: str, resolver: Callable[..., Any]) -> None:
    """Let `${name:…}` in configurations call a function; one of that name is replaced."""
    register: Any = OmegaConf.register_new_resolver if IS_1_3 else OmegaConf.register_resolver
    register(name, resolver, replace=True)


def instantiate(section: Mapping[str, Any], *args: Any, may_name: Sequence[str] | None = None, **kwargs: Any) -> Any:
    """`hydra.utils.instantiate`.

    Args:
        section: With a `_target_`, or nested sections of such.
        *args: Arguments beside those of the section.
        may_name: All that the section may name as a `_target_`; None: anything. Hydra 1.3 does not look at it.
        **kwargs: Arguments that join or replace those of the section.

    Raises:
        InstantiationException: If something that the section names cannot be made, from the error that says why.
    """
    if IS_1_3:
        return hydra.utils.instantiate(section, *args, **kwargs)
    allowed = ANYTHING if may_name is None else list(may_name)
    try:
        return hydra.utils.instantiate(section, *args, _execution_whitelist_=allowed, **kwargs)
    except (InstantiationException, OmegaConfBaseException):
        raise
    except Exception as error:  # of anything that a configuration names
        raise InstantiationException(_failed_call(error, section)) from error


def _reduced(made: functools.partial[Any]) -> tuple[Any, ...]:
    """For pickle: another process gets a `functools.partial` of what is made in part."""
    return functools.partial, (made.func,), (made.func, made.args, made.keywords, None)


if not IS_1_3:
    _made = hydra.utils.instantiate({"_target_": "builtins.dict", "_partial_": True}, _execution_whitelist_=ANYTHING)
    copyreg.pickle(type(_made), _reduced)


def _failed_call(error: Exception, section: Mapping[str, Any]) -> str:
    """The message of Hydra 1.3 about what could not be made."""
    notes = getattr(error, "__notes__", [])
    full_key = next((note.removeprefix(KEY_NOTE) for note in notes if note.startswith(KEY_NOTE)), "")
    target = _target_at(full_key, section)
    made = get_object(target) if target else None
    call = f"call to target '{made.__module__}.{made.__qualname__}'" if made else "a call"
    return f"Error in {call}:\n{error!r}" + (f"\n{KEY_NOTE}{full_key}" if full_key else "")


def _target_at(full_key: str, section: Mapping[str, Any]) -> str | None:
    """The `_target_` at a key of a whole configuration, of which a section is a part somewhere on the way there."""
    config: Any = section if OmegaConf.is_config(section) else OmegaConf.create(dict(section))
    bracketed = re.sub(r"(?<=\D)(\d+)$", r"[\1]", full_key)  # Hydra leaves the last brackets out
    for key in (full_key, bracketed):
        steps = key.split(".")
        for start in range(len(steps)):
            node = OmegaConf.select(config, ".".join(steps[start:]))
            if OmegaConf.is_dict(node) and "_target_" in node:
                return node["_target_"]
    return config.get("_target_") if OmegaConf.is_dict(config) else None
