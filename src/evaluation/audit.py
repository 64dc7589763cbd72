"""How far an image moves when a parameter moves by a grid step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from src.params import ParameterSpace, ParamSpec
from src.recipe import Recipe
from src.spectral.representation import SpectralRepresentation

# An image before it is rounded: levels 0 … 255, (sound, pixel), and spec_min, spec_max in dB, (sound, 2).
Observation = tuple[np.ndarray, np.ndarray]
Observe = Callable[[np.ndarray], Observation]

LEVEL_NOISE = 1 / np.sqrt(12)  # standard deviation of rounding to whole levels
VISIBLE_LEVEL = 1.0  # a step shows if any pixel moves by this,
VISIBLE_DB = 0.05  # or spec_min or spec_max by this
LEAST = 1e-12  # strength of a direction, relative to the strongest, below which it leaves no trace


@dataclass(frozen=True)
class ParameterAudit:
    """What the audit found of one parameter. Means and medians are over sounds.

    Attributes:
        name: The parameter.
        n_classes: Points on its grid.
        level_rms: Change of the image by one grid step, root mean square over pixels and sounds, levels.
        level_max: The same, mean over sounds of the largest change of a pixel.
        spec_min_db: Mean absolute change of `spec_min` by one step, dB.
        spec_max_db: Mean absolute change of `spec_max` by one step, dB.
        invisible: Share of the sounds in which one step changes less than a level in every pixel and less than 0.05 dB.
            A step of a category leads to its next class.

    Only sounds on which the parameter acts count; without any, nothing shows.
    """

    name: str
    n_classes: int
    level_rms: float
    level_max: float
    spec_min_db: float
    spec_max_db: float
    invisible: float


def audit(value: np.ndarray, parameters: Sequence[ParamSpec], observe: Observe) -> list[ParameterAudit]:
    """Audit every parameter over some sounds.

    Args:
        value: Parameter values of the sounds, `(sound, parameter)`.
        parameters: Their specifications, in the order of the columns.
        observe: Renders values to images that are not rounded.

    Returns:
        One entry per parameter.
    """
    value = value.astype(np.float64)
    active = ParameterSpace(tuple(parameters)).active(value)
    levels_before, db_before = observe(value)
    entries = []
    for p, spec in enumerate(parameters):
        acts = active[:, p]
        if not acts.any():
            nothing = dict.fromkeys(("level_rms", "level_max", "spec_min_db", "spec_max_db"), 0.0)
            entries.append(ParameterAudit(spec.name, spec.n_classes, **nothing, invisible=1.0))
            continue
        moved = value.copy()  # by one grid step up, or down where up would leave the range
        moved[:, p] = _one_step_on(spec, value[:, p])
        levels_after, db_after = observe(moved)
        levels, db = levels_after[acts] - levels_before[acts], db_after[acts] - db_before[acts]
        is_invisible = (np.abs(levels).max(axis=1) < VISIBLE_LEVEL) & (np.abs(db).max(axis=1) < VISIBLE_DB)
        entries.append(
            ParameterAudit(
                name=spec.name,
                n_classes=spec.n_classes,
                level_rms=float(np.sqrt(np.mean(levels**2))),
                level_max=float(np.abs(levels).max(axis=1).mean()),
                spec_min_db=float(np.abs(db[:, 0]).mean()),
                spec_max_db=float(np.abs(db[:, 1]).mean()),
                invisible=float(is_invisible.mean()),
            )
        )
    return entries


def _one_step_on(spec: ParamSpec, value: np.ndarray) -> np.ndarray:
    """Values of a parameter, `(sound,)`, moved by one grid step, within its range; of a category the next class."""
    if spec.categorical:
        return spec.value_from_index((spec.index_from_value(value) + 1) % spec.n_classes)
    return value + np.where(value + spec.step <= spec.max, spec.step, -spec.step)


def decibels_a_step(recipe: Recipe, value: np.ndarray) -> np.ndarray:
    """How far the spectrogram of one sound moves with one grid step of each parameter, dB, float64, `(parameter,)`.

    That is the root mean square over its points; 0 for a parameter that does not act.

    Args:
        recipe: Renders; its view shows the spectrograms.
        value: Of the sound, `(parameter,)`.
    """
    space = recipe.space
    moved = np.tile(value.astype(np.float64), (1 + len(space.varying), 1))
    for p, spec in enumerate(space.varying):
        moved[1 + p, p] = _one_step_on(spec, moved[1 + p, p])
    db = recipe.spectrogram_db(recipe.render(moved)).astype(np.float64)
    return np.where(space.active(value[None])[0], np.sqrt(np.square(db[1:] - db[0]).mean(axis=(1, 2))), 0.0)


def observe(recipe: Recipe, value: np.ndarray) -> Observation:
    """The observation that values make, `(sound, parameter)`, in the recipe's view."""
    return observe_waveform(recipe.view, torch.from_numpy(recipe.render(value)))


def observe_waveform(view: SpectralRepresentation, waveform: torch.Tensor) -> Observation:
    """The same of waveforms, `(sound, time)`."""
    db, spec_min, spec_max = view.spectrogram_db(waveform)
    span = (spec_max - spec_min).clamp(min=1e-6)[..., None, None]
    levels = (db - spec_min[..., None, None]) * (255 / span)
    return levels.flatten(1).numpy(), torch.cat([spec_min, spec_max], dim=-1).numpy()


def information_std(information: np.ndarray, least: float = LEAST) -> np.ndarray:
    """Standard deviations of the parameters, all estimated jointly: root of the diagonal of the inverse information.

    It is what an efficient estimator reaches under Gaussian noise of the information's size (Kay 1993, Fundamentals of
    Statistical Signal Processing: Estimation Theory, chapter 3). Rounding is no such noise: from rounded images
    parameters can be read better than with the standard deviation that noise of the size of rounding leaves.

    Args:
        information: Fisher information, `(sound, parameter, parameter)`.
        least: Strength of a direction, relative to the strongest, below which it leaves no trace.

    Returns:
        In the units of the parameters, `(sound, parameter)`; infinite for a parameter with a share in a direction that
        leaves no trace.
    """
    strength, direction = np.linalg.eigh(information)  # (sound, k), (sound, parameter, k)
    seen = strength > least * strength.max(axis=1, keepdims=True).clip(min=1e-300)
    variance = (direction**2 * np.where(seen, 1 / np.where(seen, strength, 1), 0)[:, None, :]).sum(axis=2)
    lost = (direction**2 * ~seen[:, None, :]).sum(axis=2) > 1e-6
    return np.where(lost, np.inf, np.sqrt(variance))
