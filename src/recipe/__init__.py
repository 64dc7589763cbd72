"""The recipe of a dataset: parameter values become waveforms, and waveforms images."""

from src.recipe.device import DeviceMaker
from src.recipe.recipe import BLOCK, LOUDEST, VIEW_SIZE, WHOLE, Recipe
from src.recipe.settings import PERTURB, ROOT, differences, recipe_config

__all__ = [
    "BLOCK",
    "LOUDEST",
    "PERTURB",
    "ROOT",
    "VIEW_SIZE",
    "WHOLE",
    "DeviceMaker",
    "Recipe",
    "differences",
    "recipe_config",
]
