"""Objects from a configuration that came out of a file.

A checkpoint or a dataset may come from a stranger, and `hydra.utils.instantiate` calls whatever `_target_` names. Here
a target is a class of an allowed package, or one of few harmless functions, or it is refused before anything of it is
imported.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import CheckpointError, ConfigError
from src.migration import MAX_DEPTH

ALLOWED = ("src", "torch.nn", "torch.optim", "lightning", "torchmetrics")
# These turn strings into any object whatever, which is what this module exists to prevent.
FORBIDDEN = ("lightning.pytorch.cli", "lightning.fabric.cli")
# Functions without effects. Any other might have some; classes of these packages only build themselves.
FUNCTIONS = ("src.spectral.features.measure",)


def instantiate_trusted(
    config: Mapping[str, Any], *args: Any, trusted_modules: Sequence[str] = (), **kwargs: Any
) -> Any:
    """Instantiates a stored configuration as Hydra does, after every `_target_` in it was found harmless.

    Args:
        config: Plain data with `_target_`, nested as you like. `_args_`, `_partial_`, `_recursive_` and `_convert_`
            mean what they mean to Hydra.
        *args: Arguments that are handed on as they are, unchecked.
        trusted_modules: Packages that are allowed beside those of `ALLOWED`.
        **kwargs: Arguments that join or replace those of the configuration. What they hold is checked alike.

    Returns:
        The object that the outermost `_target_` names.

    Raises:
        CheckpointError: If a target is not a class of an allowed package, if a string holds an interpolation, or if the
            object cannot be made from the configuration.
        ConfigError: If `trusted_modules` is not a list of dotted names.
    """
    if isinstance(trusted_modules, str) or not all(map(_is_dotted, trusted_modules)):
        raise ConfigError(f"trusted_modules must be a list of dotted module names, not {trusted_modules!r}.")
    allowed = (*ALLOWED, *trusted_modules)
    plain = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
    if not isinstance(plain, Mapping) or "_target_" not in plain:
        raise CheckpointError("A stored configuration has no _target_: the file is damaged or not of this project.")
    targets = [*_targets(plain), *_targets(kwargs)]
    for target in targets:  # all of them before anything is imported
        if not _is_dotted(target):
            raise _refusal(target, "is not the dotted name of a class")
        if not _is_allowed(target, allowed):
            raise _refusal(target, f"is in none of the packages {', '.join(allowed)}")
    for target in targets:
        _check_class(target, allowed)
    try:
        return hydra.utils.instantiate(dict(plain), *args, **kwargs)
    except (InstantiationException, OmegaConfBaseException, TypeError, RecursionError) as error:
        raise CheckpointError(f"The stored configuration of {plain['_target_']} does not fit: {error}") from error


def _targets(node: Any, depth: int = 0) -> Iterator[str]:
    """Every `_target_` in nested plain data, which is checked for interpolations on the way."""
    if depth > MAX_DEPTH:
        raise CheckpointError(f"A stored configuration is nested more than {MAX_DEPTH} deep: not one of this project.")
    if isinstance(node, str) and "${" in node:
        raise CheckpointError(f"A stored configuration is plain data, but this one holds {node!r}: refused.")
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        for key, value in node.items():
            yield from _targets(key, depth + 1)
            yield from _targets(value, depth + 1)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _targets(value, depth + 1)


def _refusal(target: Any, reason: str) -> CheckpointError:
    return CheckpointError(
        f"The file names _target_: {target!r}, which {reason}. Nothing of it was run."
        " If you trust the file and that package, set trusted_modules=[PACKAGE]"
    )


def _is_dotted(name: Any) -> bool:
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def _is_inside(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _is_allowed(name: str, allowed: Sequence[str]) -> bool:
    return _is_inside(name, allowed) and not _is_inside(name, FORBIDDEN)


def _check_class(target: str, allowed: Sequence[str]) -> None:
    """Follow a dotted name as Hydra would, and refuse the first part that leads out of the allowed packages."""
    if target in FUNCTIONS:
        return

    def may_pass(module: str) -> bool:  # an allowed one, or the parent of one that is named, such as torch of torch.nn
        return _is_allowed(module, allowed) or target.startswith(f"{module}.")

    first, *rest = target.split(".")
    found: Any = importlib.import_module(first)
    for part in rest:
        outside = _refusal(target, f"leaves the packages {', '.join(allowed)} at {part!r}")
        owner, found = found, getattr(found, part, None)
        if found is None and isinstance(owner, ModuleType):
            if not may_pass(f"{owner.__name__}.{part}"):
                raise outside
            try:
                found = importlib.import_module(f"{owner.__name__}.{part}")
            except ImportError as error:
                raise _refusal(target, f"cannot be imported ({error})") from error
        if isinstance(found, ModuleType):
            passes = may_pass(found.__name__)
        else:
            passes = isinstance(found, type) and _is_allowed(found.__module__, allowed)
        if not passes:
            raise outside
    if not isinstance(found, type):
        raise _refusal(target, "is not a class")
