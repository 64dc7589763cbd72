"""The primary configurations of an entry point: those that `--config-name` may choose."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def config_names(config_dir: Path, pattern: str) -> list[str]:
    """Names of the configurations that a pattern such as `synth/generate_*` matches, sorted.

    Args:
        config_dir: Where the YAML files are.
        pattern: Glob pattern relative to it, without `.yaml`.
    """
    files = config_dir.glob(f"{pattern}.yaml")
    return sorted(path.relative_to(config_dir).with_suffix("").as_posix() for path in files)


def unknown_config_name(arguments: Sequence[str], config_dir: Path) -> str | None:
    """The configuration that a command line asks for and that does not exist; None if there is no such thing.

    Args:
        arguments: The command line, without the program.
        config_dir: Where the YAML files are. A command line that names directories of its own is not judged.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-dir", "-cd")
    known, _ = parser.parse_known_args(arguments)
    if known.config_name is None or known.config_path or known.config_dir:
        return None
    name = known.config_name.removesuffix(".yaml")
    return None if (config_dir / f"{name}.yaml").is_file() else name


def valid_names_message(name: str, names: Sequence[str]) -> str:
    """What to print below Hydra's own message about an unknown name."""
    listing = "\n".join(f"  --config-name={valid}" for valid in names)
    return f"\nThere is no configuration {name!r}. Valid here:\n{listing}\n"
