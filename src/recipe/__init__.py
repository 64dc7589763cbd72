"""The recipe of a dataset: parameter values become waveforms, and waveforms images."""

from src.recipe.device import DeviceMaker
from src.recipe.images import BLOCK, VIEW_SIZE, images_of, view_of
from src.recipe.recipe import LOUDEST, WHOLE, Recipe
from src.recipe.recorded import Recorded, recorded_as, source_of
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
    "Recorded",
    "differences",
    "images_of",
    "recipe_config",
    "recorded_as",
    "source_of",
    "view_of",
]
