"""What was meant by an argument that Hydra refuses: the nearest name that there is, and the others beside it."""

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.programs.command_line import config_names
from src.programs.explain import lacks_primary_config

CHOICE = re.compile(r"\+?([\w/@]+)=(\w*|\[.*\])")  # group=option or key=value, neither a sweep
CONFIG_NAME = re.compile(r"(?:--config-name|-cn)(?:=(.+))?")
NO_KEY = re.compile(r"Could not (?:override|delete from config\.|delete) '([^'=]+)")
NOT_IN_DEFAULTS = "No match in the defaults list"
TWICE = re.compile(r"An item is already at '([^']+)'")


@dataclass(frozen=True)
class Command:
    """A command line and what it may choose from.

    Attributes:
        arguments: Without the program.
        config_dir: Where the configurations are.
        config_name: The primary configuration, unless the arguments name another.
        names: Glob pattern of the configurations that `--config-name` may choose.
    """

    arguments: Sequence[str]
    config_dir: Path
    config_name: str
    names: str

    @property
    def primary(self) -> str:
        """Name of the primary configuration."""
        following = [*self.arguments[1:], ""]
        for argument, value in zip(self.arguments, following, strict=True):
            if match := CONFIG_NAME.fullmatch(argument):
                return match[1] or value
        return self.config_name

    def composed(self, refused: str) -> DictConfig:
        """The configuration as far as it can be read without a key; empty where it cannot.

        Args:
            refused: The key.
        """
        found = [match for match in map(CHOICE.fullmatch, self.arguments) if match and match[1] != refused]
        for overrides in ([match[0] for match in found], []):
            with (
                suppress(HydraException, OmegaConfBaseException, ValueError),
                initialize_config_dir(str(self.config_dir), version_base="1.3"),
            ):
                return compose(self.primary, overrides, return_hydra_config=True)
        return OmegaConf.create({"hydra": {"runtime": {"choices": {}}}})


def suggestion(error: BaseException, command: Command) -> str | None:
    """The message about an argument that Hydra refuses.

    Args:
        error: Hydra's.
        command: The command line.

    Returns:
        What is wrong, the nearest name, and the names that there are; None for other errors.
    """
    if isinstance(error, OverrideParseException):
        return unreadable(error)
    if isinstance(error, MissingConfigException):
        return unknown_primary(error, command) or unknown_option(error, command)
    if isinstance(error, ConfigCompositionException):
        text = str(error)
        if twice := TWICE.search(text):
            return f"+{twice[1]}: {twice[1]} is there already. Leave out the +: {twice[1]}=VALUE"
        if match := NO_KEY.search(text):
            return unknown_key(match[1], command.composed(match[1]), is_group=NOT_IN_DEFAULTS in text)
    return None


def unreadable(error: OverrideParseException) -> str:
    """The message about an argument that is not in Hydra's language."""
    if "=" not in error.override:
        return f"{error.override}: a value is missing, as in {error.override}=VALUE"
    key, _, value = error.override.partition("=")
    return (
        f"{error.override}: Hydra cannot read this value. One with blanks, or other characters that mean something to "
        f"Hydra, goes into quotes of its own: '{key}=\"{value}\"'"
    )


def unknown_primary(error: MissingConfigException, command: Command) -> str | None:
    """The message about `--config-name=NAME`; None for the other configurations."""
    if not str(error).startswith("Cannot find primary config"):
        return None
    message = f"Cannot find primary config '{error.missing_cfg_file}'."
    if not lacks_primary_config(error, command.config_dir):
        return message
    valid = [f"--config-name={name}" for name in config_names(command.config_dir, command.names)]
    guess = nearest(f"--config-name={error.missing_cfg_file}", valid)
    return "\n  ".join([f"{message}{did_you_mean(guess)}\nValid here:", *valid])


def unknown_option(error: MissingConfigException, command: Command) -> str | None:
    """The message about `group=option`, on the command line or in a configuration."""
    if not error.missing_cfg_file:
        return None
    group, _, option = error.missing_cfg_file.rpartition("/")
    options = error.options or config_names(command.config_dir / group, "*")
    place = re.match(r"In '([^']+)': ", str(error))
    where = place[0] if place and place[1] != command.primary else ""
    message = f"{where}Could not find '{error.missing_cfg_file}'."
    guess = nearest(option, options)
    return f"{message}{did_you_mean(guess and f'{group}={guess}')}{listed(f'Options of {group}', options)}"


def unknown_key(key: str, cfg: DictConfig, is_group: bool) -> str:
    """The message about `key=value` of a key that there is not.

    Args:
        key: On the command line.
        cfg: The configuration without it, with the section `hydra`.
        is_group: Whether there are options for it, but the program has no use for them.
    """
    groups = [str(group) for group in cfg.hydra.runtime.choices if not str(group).startswith("hydra/")]
    if is_group:
        guess = nearest(key, groups)
        message = f"Could not override '{key}': this program has no such group."
        return f"{message}{did_you_mean(guess)}{listed('Groups', groups)}"
    message = f"Could not override '{key}': there is no such setting."
    path = key.rpartition(".")[0]
    section = OmegaConf.select(cfg, path) if path else cfg
    if not isinstance(section, DictConfig):
        return f"{message}{did_you_mean(nearest(key, [*settings(cfg), *groups]))}"
    prefix = f"{path}." if path else ""
    taken = [f"+{prefix}{other}" for other in taken_by_class(section)]
    if f"+{key}" in taken:
        return f"Could not override '{key}': it has no value yet. Give it one with a + in front: +{key}=VALUE"
    beside = [str(other) for other in section if not str(other).startswith("_") and other != "hydra"]
    beside += [] if path else [group for group in groups if group not in beside]
    guess = nearest(key, [*(f"{prefix}{other}" for other in beside), *taken])
    guess = guess or nearest(key, settings(cfg))
    return f"{message}{did_you_mean(guess)}{listed(f'Settings of {path}' if path else 'Settings', beside)}"


def settings(cfg: DictConfig, path: str = "") -> Iterator[str]:
    """Dotted names of everything in a configuration but Hydra's own section, sections before what is in them."""
    for name in map(str, cfg):
        if name.startswith("_") or (not path and name == "hydra"):
            continue
        key = f"{path}{name}"
        yield key
        value = None if OmegaConf.is_missing(cfg, name) or OmegaConf.is_interpolation(cfg, name) else cfg[name]
        if isinstance(value, DictConfig):
            yield from settings(value, f"{key}.")


def taken_by_class(section: DictConfig) -> list[str]:
    """What the class or function that a section names takes beside the settings that are there."""
    with suppress(HydraException, ImportError, ValueError, TypeError):
        taken = inspect.signature(get_object(section["_target_"])).parameters.values() if "_target_" in section else ()
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return [parameter.name for parameter in taken if parameter.kind in kinds and parameter.name not in section]
    return []


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: one that ends alike, or that differs in few letters; else None.

    Args:
        name: Possibly dotted.
        known: The first of several that are as near is taken.
    """
    by_ending: dict[str, str] = {}
    for other in known:
        by_ending.setdefault(other, other)
        by_ending.setdefault(other.rpartition(".")[2], other)
    ending = name.rpartition(".")[2]
    close = [*difflib.get_close_matches(name, by_ending, 1, 0.7), *difflib.get_close_matches(ending, by_ending, 1, 0.7)]
    if ending in by_ending:
        return by_ending[ending]
    return by_ending[close[0]] if close else None


def did_you_mean(guess: str | None) -> str:
    """A question, or nothing."""
    return f" Did you mean {guess}?" if guess else ""


def listed(title: str, names: Iterable[str]) -> str:
    """A line with names, or nothing."""
    names = sorted(names)
    return f"\n{title}: {', '.join(names)}" if names else ""
