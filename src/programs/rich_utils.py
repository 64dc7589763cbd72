"""The configuration as a tree on the terminal and in a file, and a question about tags."""

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.prompt import Prompt
from rich.syntax import Syntax
from rich.tree import Tree

from src.programs.pylogger import RankedLogger, process_rank

SECTIONS = ("data", "model", "loss", "callbacks", "logger", "trainer", "paths", "extras")
CONFIG_TREE = "config_tree.log"
DEFAULT_TAGS = ("dev",)

log = RankedLogger(__name__)


def print_config_tree(cfg: DictConfig, output_dir: Path | None = None, sections: Sequence[str] = SECTIONS) -> None:
    """Prints a configuration with a branch per section, once for all ranks.

    Args:
        cfg: A whole configuration, printed with its interpolations resolved.
        output_dir: Where `config_tree.log` is written; None writes no file.
        sections: What comes first, as far as the configuration has it; everything else follows.
    """
    if process_rank() != 0:
        return
    tree = config_tree(cfg, sections)
    Console().print(tree)
    if output_dir is not None:
        with (output_dir / CONFIG_TREE).open("w", encoding="utf-8") as file:
            Console(file=file, width=120).print(tree)


def config_tree(cfg: DictConfig, sections: Sequence[str] = SECTIONS) -> Tree:
    """The tree itself, a branch of YAML per section, then one for each other key."""
    tree = Tree("config", guide_style="dim")
    names = [name for name in sections if name in cfg]
    for name in [*names, *(str(key) for key in cfg if key not in names)]:
        branch = tree.add(name)
        value = OmegaConf.select(cfg, name)
        text = OmegaConf.to_yaml(value, resolve=True) if OmegaConf.is_config(value) else str(value)
        branch.add(Syntax(text.rstrip(), "yaml", background_color="default", word_wrap=True))
    return tree


def enforce_tags(tags: Sequence[str] | None) -> list[str]:
    """Tags for a run: those that are there, else those that the user types, else `dev` where nobody can be asked."""
    if tags:
        return list(tags)
    if process_rank() == 0 and sys.stdin is not None and sys.stdin.isatty():
        typed = Prompt.ask("No tags given. Tags of this run, with commas between them", default=",".join(DEFAULT_TAGS))
        return [tag.strip() for tag in typed.split(",") if tag.strip()]
    log.warning("No tags given (tags=[...]): using %s.", list(DEFAULT_TAGS))
    return list(DEFAULT_TAGS)
