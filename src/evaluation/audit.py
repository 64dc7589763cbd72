"""How far an image moves when a parameter moves, and how well parameters can be read from it under rounding noise."""

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
RANGE_NOISE = 0.01  # dB, on spec_min and spec_max
VISIBLE_LEVEL = 1.0  # a step shows if any pixel moves by this,
VISIBLE_DB = 0.05  # or spec_min or spec_max by this
AT_ONCE = 256  # sounds
DIFFERENCE = 0.05  # grid steps to either side for a derivative


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
        std: Median standard deviation under rounding noise, grid steps, from the image with `spec_min` and `spec_max`.
        std_image: The same from the image alone; infinite where the image does not determine the parameter, and for
            categories.
        stds: The first of each sound, `(sound,)`.

    Only sounds on which the parameter acts count; without any, nothing shows.
    """

    name: str
    n_classes: int
    level_rms: float
    level_max: float
    spec_min_db: float
    spec_max_db: float
    invisible: float
    std: float
    std_image: float
    stds: np.ndarray


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
    std, std_image = rounding_std(value, parameters, observe)
    levels_before, db_before = observe(value)
    entries = []
    for p, spec in enumerate(parameters):
        acts = active[:, p]
        if not acts.any():
            nothing = dict.fromkeys(("level_rms", "level_max", "spec_min_db", "spec_max_db"), 0.0)
            spread = dict.fromkeys(("std", "std_image"), np.inf)
            entries.append(
                ParameterAudit(spec.name, spec.n_classes, **nothing, invisible=1.0, **spread, stds=std[:, p])
            )
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
                std=float(np.median(std[acts, p])),
                std_image=float(np.median(std_image[acts, p])),
                stds=std[acts, p],
            )
        )
    return entries


def _one_step_on(spec: ParamSpec, value: np.ndarray) -> np.ndarray:
    """Values of a parameter, `(sound,)`, moved by one grid step, within its range; of a category the next class."""
    if spec.categorical:
        return spec.value_from_index((spec.index_from_value(value) + 1) % spec.n_classes)
    return value + np.where(value + spec.step <= spec.max, spec.step, -spec.step)


def observe(recipe: Recipe, value: np.ndarray) -> Observation:
    """The observation that values make, `(sound, parameter)`, in the recipe's view."""
    return observe_waveform(recipe.view, torch.from_numpy(recipe.render(value)))


def observe_waveform(view: SpectralRepresentation, waveform: torch.Tensor) -> Observation:
    """The same of waveforms, `(sound, time)`."""
    db, spec_min, spec_max = view.spectrogram_db(waveform)
    span = (spec_max - spec_min).clamp(min=1e-6)[..., None, None]
    levels = (db - spec_min[..., None, None]) * (255 / span)
    return levels.flatten(1).numpy(), torch.cat([spec_min, spec_max], dim=-1).numpy()


def rounding_std(
    value: np.ndarray,
    parameters: Sequence[ParamSpec],
    observe: Observe,
    advance: Callable[[int], None] = lambda n: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations under rounding noise, with `spec_min` and `spec_max` and without.

    Args:
        value: `(sound, parameter)`.
        parameters: In the order of the columns.
        observe: Renders values to images that are not rounded.
        advance: Called with the number of sounds just done.

    Returns:
        Grid steps, `(sound, parameter)` each; infinite without a slope: of categories, and of what does not act.
    """
    parts = []
    for first in range(0, len(value), AT_ONCE):
        some = value[first : first + AT_ONCE].astype(np.float64)
        image_slopes, range_slopes = _slopes(some, parameters, observe)
        from_image = _information(image_slopes, LEVEL_NOISE)
        from_both = from_image + _information(range_slopes, RANGE_NOISE)
        parts.append((information_std(from_both), information_std(from_image)))
        advance(len(some))
    std, std_image = (np.concatenate(column) for column in zip(*parts, strict=True))
    return std, std_image


def information_std(information: np.ndarray) -> np.ndarray:
    """Standard deviations of the parameters, all estimated jointly: root of the diagonal of the inverse information.

    It is what an efficient estimator would reach (Kay 1993, Fundamentals of Statistical Signal
    Processing: Estimation Theory, chapter 3) if rounding were Gaussian noise of that standard deviation, independent
    from pixel to pixel. Rounding is not, so this is no limit of what can be read from rounded images.

    Args:
        information: Fisher information, `(sound, parameter, parameter)`.

    Returns:
        In the units of the parameters, `(sound, parameter)`; infinite for a parameter with a share in a direction that
        leaves no trace.
    """
    strength, direction = np.linalg.eigh(information)  # (sound, k), (sound, parameter, k)
    seen = strength > 1e-12 * strength.max(axis=1, keepdims=True).clip(min=1e-300)
    variance = (direction**2 * np.where(seen, 1 / np.where(seen, strength, 1), 0)[:, None, :]).sum(axis=2)
    lost = (direction**2 * ~seen[:, None, :]).sum(axis=2) > 1e-6
    return np.where(lost, np.inf, np.sqrt(variance))


def _slopes(value: np.ndarray, parameters: Sequence[ParamSpec], observe: Observe) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives by grid steps, by central differences: `(sound, pixel, parameter)` and `(sound, 2, parameter)`."""
    images, ranges = [], []
    for p, spec in enumerate(parameters):
        low, high = value.copy(), value.copy()
        if spec.categorical:
            slopes = [np.zeros_like(part) for part in observe(value)]
            images.append(slopes[0])
            ranges.append(slopes[1])
            continue
        reach = 1.0 if spec.discrete else DIFFERENCE  # integers have nothing between them
        low[:, p] = np.maximum(value[:, p] - reach * spec.step, spec.min)
        high[:, p] = np.minimum(value[:, p] + reach * spec.step, spec.max)
        width = (high[:, p] - low[:, p])[:, None] / spec.step
        (low_levels, low_db), (high_levels, high_db) = observe(low), observe(high)
        images.append((high_levels - low_levels) / width)
        ranges.append((high_db - low_db) / width)
    return np.stack(images, axis=2), np.stack(ranges, axis=2)


def _information(slopes: np.ndarray, noise: float) -> np.ndarray:
    """Fisher information of independent Gaussian noise, `(sound, parameter, parameter)`."""
    slopes = slopes.astype(np.float64)
    return slopes.transpose(0, 2, 1) @ slopes / noise**2
