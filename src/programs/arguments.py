"""The arguments of a program in Hydra's language: flags, and paths as a shell gives them."""

import os
import re
from collections.abc import Mapping, Sequence

from src.overrides import quoted

# Keys of several programs whose values are paths.
PATHS = ("ckpt_path", "run", "data_dir", "data.data_dir", "data.make_dataset.name", "data.recordings", "output_dir")
# Other keys of paths: places of runs and of what belongs to them, where ${…} is useful, as in paths.log_dir.
TEMPLATES = re.compile(r"(.*[._])?(dir|subdir|path|dirpath|filename)")

MULTIRUN = re.compile(r"-[a-z]*m|--mu[a-z]*|hydra\.mode=multirun", re.IGNORECASE)
QUOTES = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""  # text in Hydra's quotes
IN_QUOTES = re.compile(QUOTES, re.DOTALL)
PARTS = re.compile(rf"[ \t]*{QUOTES}[ \t]*(?=,|$)|[^,]+", re.DOTALL)  # of a sweep over several values
SWEEP = re.compile(r"(choice|glob|range|sort|shuffle|tag|interval)\(.*\)", re.DOTALL)


def hydra_arguments(
    arguments: Sequence[str], paths: Sequence[str] = (), flags: Mapping[str, str] | None = None
) -> list[str]:
    """A command line as Hydra takes it: flags become overrides, and paths are quoted.

    Args:
        arguments: The command line, without the program.
        paths: Keys of the program whose values are paths, beside `PATHS`.
        flags: Its flags: each a name with the override that it stands for, or with the key that its value is for.
    """
    is_multirun = any(map(MULTIRUN.fullmatch, arguments))
    found = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        override = (flags or {}).get(name)
        if override is None:
            found.append(with_quoted_path(argument, (*PATHS, *paths), is_multirun))
        elif "=" in override:
            found.append(override)
        else:
            found.append(f"{override}={value if equals else next(rest, '')}")
    return found


def cannot_resolve(arguments: Sequence[str]) -> str | None:
    """The message for `--cfg hydra --resolve`, which Hydra cannot do; None for other command lines."""
    line = " ".join(arguments)
    if "--resolve" not in arguments or not re.search(r"(?:^| )(?:--cfg|-c)[ =]?hydra\b", line):
        return None
    return (
        "--cfg hydra --resolve: the section hydra refers to the others, and Hydra resolves it without them. Leave out "
        "--resolve, or show everything: --cfg all --resolve"
    )


def with_quoted_path(argument: str, paths: Sequence[str], is_multirun: bool) -> str:
    """An argument as Hydra takes it: what it gives to a key that takes a path is quoted.

    Args:
        argument: Of a command line.
        paths: Keys whose values are paths, character for character.
        is_multirun: Whether it belongs to a sweep, in which commas separate values.
    """
    key, equals, value = argument.partition("=")
    is_path = key.lstrip("+") in paths
    is_sweep = is_multirun and SWEEP.fullmatch(value)
    if not equals or is_sweep or not (is_path or TEMPLATES.fullmatch(key.lstrip("+"))):
        return argument
    parts = PARTS.findall(value) if is_multirun and not os.path.lexists(value) else [value]
    parts = [part.strip(" \t") for part in parts] if len(parts) > 1 else parts  # as Hydra does
    return f"{key}={','.join(hydra_path(part, interpolated=not is_path) for part in parts)}"


def hydra_path(path: str, interpolated: bool) -> str:
    """A path as Hydra takes it. One in Hydra's quotes is left to Hydra, unless there is a file of that very name.

    Args:
        path: As the shell gives it; `null` is none.
        interpolated: Whether `${…}` in it is an interpolation.
    """
    if path in ("", "null") or (IN_QUOTES.fullmatch(path) and not os.path.lexists(path)):
        return path
    return quoted("./???" if path == "???" else path, interpolated)  # ??? is OmegaConf's word for a missing value
