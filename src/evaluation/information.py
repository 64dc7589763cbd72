"""Information under noise: how well parameters could be read from a waveform in white noise of a stated level.

The Fisher information of the parameters, for Gaussian noise, white over the sound, whose power is that of the sound
less so many decibels (Kay 1993, Fundamentals of Statistical Signal Processing: Estimation Theory, chapter 3). The gain
of the sound is unknown, and so is the phase of its oscillator, where the synth has one. The root of the diagonal of the
inverse is the standard deviation of an efficient estimate from the noisy waveform. It is about a recording in noise,
not about pictures, which have no noise; and an estimate that knows the ranges does better where it exceeds them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from src.evaluation.audit import information_std
from src.recipe import Recipe

FIRST_WIDTH, LAST_HALVING = 0.02, 12  # grid steps to either side for a derivative, and how often it is halved
SAME = 0.01  # change, by which a result may differ from that of the step before
SURELY = 0.99  # share of the sounds that must have converged
LEAST = 1e-8  # strength of a direction relative to the strongest: below, float32 does not tell it from nothing
SNR = 60.0  # dB
RANGE_OF_SNR = (20.0, 80.0)  # dB
AT_ONCE = 32  # sounds
PHASE = "phase"


@dataclass(frozen=True)
class Information:
    """Standard deviations of efficient estimates from sounds in noise.

    Attributes:
        std: Grid steps, `(sound, parameter)`; infinite where the waveform does not tell a parameter from the gain, the
            phase or another one, and for integers and categories.
        converged: Whether halving the step of the differences changes it by less than 1 %, bool, `(sound, parameter)`.
        snr: Of the sounds, dB. The standard deviations go with 10 to the power of -snr / 20.
    """

    std: np.ndarray
    converged: np.ndarray
    snr: float

    def figures(self, p: int, acts: np.ndarray) -> tuple[float, float, float] | None:
        """Mean, median and 90th percentile of a parameter over sounds; None: "not converged".

        Args:
            p: Number of the parameter.
            acts: On which sounds it acts, bool, `(sound,)`.
        """
        if not acts.any() or self.converged[acts, p].mean() < SURELY:
            return None
        std = self.std[acts & self.converged[:, p], p]
        high = np.quantile(std, 0.9, method="higher")
        return float(std.mean()), float(np.median(std)), float(high)


def information_under_noise(
    recipe: Recipe, value: np.ndarray, snr: float = SNR, advance: Callable[[int], None] = lambda n: None
) -> Information:
    """The standard deviations of some sounds.

    Derivatives are central differences. Their step is halved until the result of a sound and a parameter stays the
    same; what never does is not converged.

    Args:
        recipe: Renders.
        value: Parameters of the sounds, `(sound, parameter)`.
        snr: dB.
        advance: Called with the number of sounds just done.
    """
    parts = []
    for first in range(0, len(value), AT_ONCE):
        some = value[first : first + AT_ONCE].astype(np.float64)
        parts.append(_halved(recipe, some, snr))
        advance(len(some))
    std, converged = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Information(std, converged, snr)


def _halved(recipe: Recipe, value: np.ndarray, snr: float) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations, and whether they have converged, `(sound, parameter)` each."""
    sound = recipe.render(value).astype(np.float64)
    power = (sound**2).mean(axis=1)
    noise = np.maximum(power, 1e-30) * 10 ** (-snr / 10)  # variance
    std, converged = np.full(value.shape, np.inf), np.zeros(value.shape, dtype=bool)
    before = np.full(value.shape, np.nan)
    todo = np.arange(len(value))
    for halving in range(LAST_HALVING + 1):
        slopes = _slopes(recipe, value[todo], FIRST_WIDTH / 2**halving)
        columns = np.concatenate([slopes, sound[todo][:, :, None]], axis=2)  # the gain is the last nuisance
        size = np.sqrt((columns**2).sum(axis=1))
        columns /= np.maximum(size, 1e-300)[:, None]
        found = information_std(columns.mT @ columns, LEAST)[:, : value.shape[1]]
        found = found * np.sqrt(noise[todo])[:, None] / np.maximum(size[:, : value.shape[1]], 1e-300)
        same = np.isclose(found, before[todo], rtol=SAME, atol=0)  # infinite ones are the same, too
        new = ~converged[todo]
        std[todo] = np.where(new, found, std[todo])
        converged[todo] |= same
        before[todo] = found
        todo = todo[~converged[todo].all(axis=1)]
        if not todo.size:
            break
    return std, converged


def _slopes(recipe: Recipe, value: np.ndarray, width: float) -> np.ndarray:
    """Derivatives of waveforms by parameters, per grid step, and by the phase, per cycle.

    Args:
        recipe: Renders.
        value: `(sound, parameter)`.
        width: To either side, grid steps or cycles.

    Returns:
        `(sound, time, parameter)`, one more if the synth has a phase that does not vary; 0 for integers and categories,
        and for what does not act.
    """
    space = recipe.space
    slopes = []
    for p, spec in enumerate(space.varying):
        below, above = value.copy(), value.copy()
        below[:, p] = np.maximum(value[:, p] - width * spec.step, spec.min)
        above[:, p] = np.minimum(value[:, p] + width * spec.step, spec.max)
        run = (above - below)[:, p] / spec.step
        rise = 0.0 if spec.discrete else recipe.render(above).astype(np.float64) - recipe.render(below)
        slopes.append(rise / run[:, None] * np.ones((len(value), recipe.view.n_samples)))
    if PHASE in recipe.synth.defaults and PHASE not in [spec.name for spec in space.varying]:
        given = recipe.given(value)
        phase = given.get(PHASE, np.full(len(value), recipe.synth.defaults[PHASE]))
        later, earlier = (recipe.synth.render(given | {PHASE: (phase + step) % 1}) for step in (width, -width))
        slopes.append((later.astype(np.float64) - earlier) / (2 * width))
    return np.stack(slopes, axis=2)
