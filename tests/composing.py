"""Configurations for tests, composed once each."""

import copy
import functools
from pathlib import Path

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from src.hydra_versions import initialize_configs

CONFIGS = Path(__file__).parents[1] / "configs"


@functools.lru_cache(maxsize=256)
def compose_by_hydra(name: str, *overrides: str, return_hydra_config: bool = False) -> DictConfig:
    """A configuration as Hydra composes it, which takes a quarter of a second; it belongs to all: copy it."""
    with initialize_configs(CONFIGS):
        return compose(name, list(overrides), return_hydra_config)


def set_values(cfg: DictConfig, values: list[Override]) -> bool:
    """Does what Hydra does with overrides of values; False if it is a case for Hydra itself."""
    for override in values:
        key, value = override.key_or_group, override.value()
        known = OmegaConf.select(cfg, key, throw_on_resolution_failure=False) is not None
        if override.is_delete() or (known if override.is_add() else not (known or override.is_force_add())):
            return False
        OmegaConf.update(cfg, key, value, merge=True, force_add=override.is_add() or override.is_force_add())
    return True


@functools.lru_cache(maxsize=256)
def compose_once(name: str, *overrides: str) -> DictConfig:
    """The same in less time: values are set in what the choices of groups compose to, which is composed once."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    is_choice = [(CONFIGS / override.key_or_group).is_dir() for override in parsed]
    choices = [text for text, choice in zip(overrides, is_choice, strict=True) if choice]
    cfg = copy.deepcopy(compose_by_hydra(name, *choices))
    if set_values(cfg, [override for override, choice in zip(parsed, is_choice, strict=True) if not choice]):
        return cfg
    return compose_by_hydra(name, *overrides)
