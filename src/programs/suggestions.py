"""What was meant by an argument that Hydra refuses: the nearest name that there is, and the others beside it."""

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.hydra_versions import initialize_configs
from src.programs.command_line import config_names
from src.programs.explain import NO_OPTION, lacks_primary_config

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
                initialize_configs(self.config_dir),
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
            answer = unknown_group if NOT_IN_DEFAULTS in text else unknown_key
            return answer(match[1], command.composed(match[1]))
    if str(error).startswith(NO_OPTION):
        return option_without_name(error, command)
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


def unknown_group(group: str, cfg: DictConfig) -> str:
    """The message about `group=option` of a group that the program has no use for."""
    groups = groups_of(cfg)
    message = f"Could not override '{group}': this program has no such group."
    return f"{message}{did_you_mean(nearest(group, groups))}{listed('Groups', groups)}"


def option_without_name(error: BaseException, command: Command) -> str:
    """The message about `group=3`, of which Hydra does not say which group it is."""
    groups = groups_of(command.composed(""))
    for argument in command.arguments:
        group, _, option = argument.lstrip("+").partition("=")
        options = config_names(command.config_dir / group, "*") if group in groups else []
        if options and option not in options and "[" not in option:
            return f"{argument}: {error}{listed(f'Options of {group}', options)}"
    return str(error)


def unknown_key(key: str, cfg: DictConfig) -> str:
    """The message about `key=value` of a key that there is not.

    Args:
        key: On the command line.
        cfg: The configuration without it, with the section `hydra`.
    """
    path, _, name = key.rpartition(".")
    section, prefix = section_of(cfg, path), f"{path}." if path else ""
    addable = taken_by_class(section)
    if name in addable:
        return f"Could not override '{key}': it has no value yet. Give it one with a + in front: +{key}=VALUE"
    names = {str(other) for other in section if not str(other).startswith("_")} - {"hydra"}
    names |= set() if path else {*groups_of(cfg)}
    beside = {other: f"{prefix}{other}" for other in sorted(names)} | {other: f"+{prefix}{other}" for other in addable}
    known = names_of_settings(cfg)
    guess = (
        known.get(name)
        or beside.get(nearest(name, beside) or "")
        or known.get(nearest(name, known) or nearest(key, known) or "")
    )
    message = f"Could not override '{key}': there is no such setting."
    return f"{message}{did_you_mean(guess)}{listed(f'Settings of {path}' if path else 'Settings', names)}"


def groups_of(cfg: DictConfig) -> list[str]:
    """The groups of which a configuration has options, but for Hydra's own."""
    return [str(group) for group in cfg.hydra.runtime.choices if not str(group).startswith("hydra/")]


def section_of(cfg: DictConfig, path: str) -> DictConfig:
    """A section by its dotted name, the whole configuration without one; empty where there is no such section."""
    with suppress(OmegaConfBaseException):
        found = OmegaConf.select(cfg, path) if path else cfg
        return found if isinstance(found, DictConfig) else OmegaConf.create()
    return OmegaConf.create()


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


def names_of_settings(cfg: DictConfig) -> dict[str, str]:
    """Every setting by its dotted name, and by the last part of it; of several, the first."""
    found: dict[str, str] = {}
    for key in settings(cfg):
        found.setdefault(key, key)
        found.setdefault(key.rpartition(".")[2], key)
    return found


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that differs least from one, if it does not differ much."""
    return next(iter(difflib.get_close_matches(name, known, 1, cutoff=0.65)), None)


def did_you_mean(guess: str | None) -> str:
    """A question, or nothing."""
    return f" Did you mean {guess}?" if guess else ""


def listed(title: str, names: Iterable[str]) -> str:
    """A line with names, or nothing."""
    names = sorted(names)
    return f"\n{title}: {', '.join(names)}" if names else ""
