"""`Widening`: by how much error bars grow with the distance from the training, calibrated on perturbed sounds."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from src.evaluation.domain import FAR
from src.models.metrics import WIDER, WIDTH, conformal_quantile
from src.params import ParameterSpace
from src.perturb.chain import Perturbation
from src.perturb.draws import Span
from src.perturb.effects import Effect, Equalizer, LowPass, Onset, PinkNoise, Room, SoftClip, Tilt, WhiteNoise

SEED = 20_130_401  # of what is done to sounds
GROUPS = 10  # of sounds of about the same distance, at most
GROUP = 30  # sounds of a group, at least
BLOCK = 2**21  # samples that are perturbed at a time


@dataclass(frozen=True)
class Widening:
    """Factors on standard deviations, which rise with the distance from the training images.

    Up to distance 1 a factor is 1. From there on it is interpolated in the logarithms of both. Behind the last knot,
    which no sound of the calibration reached, any value is as likely as any other, and the intervals of a sound that is
    far away go a grid step either way at least.

    Attributes:
        distance: As `Domain` has it, rising from 1, `(knot,)`.
        factor: Rising from 1, `(knot, parameter)`.
    """

    distance: np.ndarray
    factor: np.ndarray

    @classmethod
    def fit(cls, distance: np.ndarray, deviation: np.ndarray) -> "Widening":
        """The factors with which intervals hold 90 % of the true values at every distance.

        Sounds of about the same distance share a factor, the conformal quantile of their deviations, and a factor is
        never smaller than one nearer to the training.

        Args:
            distance: Of sounds, `(sound,)`.
            deviation: Absolute errors over 1.645 standard deviations, `(sound, parameter)`; NaN: does not count.
        """
        order = np.argsort(distance, kind="stable")
        beyond = order[distance[order] > 1]
        one = np.ones((1, deviation.shape[1]))
        if len(beyond) < GROUP:
            return cls(np.ones(1), one)
        groups = np.array_split(beyond, min(GROUPS, len(beyond) // GROUP))
        knots = [1.0, *(float(np.median(distance[group])) for group in groups), float(distance[beyond].max())]
        factors = np.stack([_quantile(deviation[group]) for group in groups])
        return cls(np.array(knots), np.maximum.accumulate(np.concatenate([one, factors, factors[-1:]])))

    def widened(self, std: np.ndarray, distance: np.ndarray, space: ParameterSpace) -> np.ndarray:
        """Standard deviations of values at distances from the training, of the same shape.

        Args:
            std: As they are for sounds of the training's kind, `(sound, parameter)`.
            distance: `(sound,)`.
            space: The parameters.
        """
        at, knots = np.log(np.maximum(distance, 1.0)), np.log(self.distance)
        factor = np.exp(np.stack([np.interp(at, knots, column) for column in np.log(self.factor).T], axis=1))
        least = np.where(distance > FAR, 1.0, 0.0)[:, None] * (space.step * WIDER / WIDTH)
        is_unknown = (distance > max(float(self.distance[-1]), 1.0)) & (len(self.distance) > 1)
        uniform = is_unknown[:, None] * space.range / math.sqrt(12)
        return np.maximum(np.minimum(std * factor, space.range), np.maximum(least, uniform))


def _quantile(deviation: np.ndarray) -> np.ndarray:
    """What 90 % of new deviations stay below, at least 1, `(parameter,)`, from those of some, `(sound, parameter)`."""
    known = (torch.from_numpy(column[np.isfinite(column)])[:, None] for column in deviation.T)
    found = torch.cat([conformal_quantile(column) for column in known]).numpy()
    return np.nan_to_num(found, nan=1.0).clip(min=1.0)


def deviation_of(value: np.ndarray, std: np.ndarray, true_value: np.ndarray, space: ParameterSpace) -> np.ndarray:
    """Absolute errors over half the width of 90 % intervals; NaN of categories, and of what does not act.

    Args:
        value: As read, `(sound, parameter)`.
        std: Of it, of the same shape.
        true_value: Of the same shape.
        space: The parameters.
    """
    counts = space.active(true_value) & ~space.categorical
    return np.where(counts, np.abs(value - true_value) / (WIDTH * np.maximum(std, 1e-12)), np.nan)


def perturbed(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Sounds, from hardly changed to hardly recognizable, float32, `(sound, time)`; the same in every call.

    Args:
        waveform: `(sound, time)`.
        sample_rate: Hz.
    """
    n_sounds, n_samples = waveform.shape
    perturbation = perturbation_of(sample_rate, n_samples)
    size, parts = max(1, BLOCK // n_samples), []
    for first in range(0, n_sounds, size):
        part = torch.from_numpy(waveform[first : first + size])
        parts.append(perturbation.apply(part, perturbation.draws(first, first + len(part), SEED)).numpy())
    return np.concatenate(parts)


def perturbation_of(sample_rate: int, n_samples: int) -> Perturbation:
    """What is done to the sounds of the calibration: one or two things to most of them, of any strength.

    Args:
        sample_rate: Hz.
        n_samples: Length of the sounds.
    """
    highest = 0.45 * sample_rate
    effects: dict[str, Effect] = {
        "clip": SoftClip(probability=0.2, headroom=Span(-6, 24)),
        "room": Room(probability=0.4, rt60=Span(0.1, 1.5, "log"), direct_ratio=Span(-5, 30)),
        "tilt": Tilt(probability=0.2, slope=Span(-3, 3)),
        "eq": Equalizer(probability=0.3, frequency=Span(highest / 50, highest, "log"), level=Span(-9, 9)),
        "low_pass": LowPass(probability=0.15, cutoff=Span(highest / 5, highest, "log")),
        "onset": Onset(probability=0.3, shift=Span(-0.01, 0.01)),
        "noise": WhiteNoise(probability=0.4, ratio=Span(0, 80)),
        "pink_noise": PinkNoise(probability=0.2, ratio=Span(0, 80)),
    }
    fitting = {name: effect for name, effect in effects.items() if not effect.check(sample_rate, n_samples)}
    return Perturbation(fitting, sample_rate, n_samples)
