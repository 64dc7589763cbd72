"""Runs beside each other: errors per head, and paired differences on the same sounds with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.evaluation.audio_metrics import bootstrap_interval
from src.params import ParamSpec

MEAN = "mean"  # of the heads, in place of the name of one


@dataclass(frozen=True)
class RunErrors:
    """How far the answers of a run to its test sounds are from the truth.

    Attributes:
        name: Of the run.
        parameters: Of the heads, in order.
        errors: Absolute errors in grid steps, `(sound, parameter)`; of a category 1 where the class is wrong, else 0;
            NaN where a parameter does not act.
        sounds: The same text for the same sounds in the same order.
    """

    name: str
    parameters: Sequence[ParamSpec]
    errors: np.ndarray
    sounds: str

    @property
    def units(self) -> dict[str, str]:
        """Head to the unit of its errors, that of the mean as well."""
        found = {spec.name: "wrong" if spec.categorical else "steps" for spec in self.parameters}
        return found | {MEAN: "steps" if "steps" in found.values() else "wrong"}

    def per_head(self) -> dict[str, np.ndarray]:
        """Errors of every head, `(sound,)`, and their mean over the heads in grid steps; of categories only, over all.

        The mean of a sound is over the parameters that act on it; NaN where none does.
        """
        columns = dict(zip((spec.name for spec in self.parameters), self.errors.T, strict=True))
        unit = self.units[MEAN]
        of_mean = np.stack([columns[name] for name in columns if self.units[name] == unit])
        n_active = np.isfinite(of_mean).sum(axis=0)
        mean = np.nansum(of_mean, axis=0) / np.where(n_active, n_active, np.nan)
        return columns | {MEAN: mean}


@dataclass(frozen=True)
class MeanError:
    """A mean over sounds, with its 95 % bootstrap interval.

    Attributes:
        head: Name, or `mean`.
        units: `steps`, or `wrong`: the share of wrong classes.
        mean: Over the sounds on which the head acts; None without any.
        low: Lower end of the interval.
        high: Upper end.
        n_sounds: How many there are.
    """

    head: str
    units: str
    mean: float | None
    low: float | None
    high: float | None
    n_sounds: int


@dataclass(frozen=True)
class PairedDifference(MeanError):
    """A mean difference of two runs on the same sounds: below zero, the second one is nearer to the truth.

    Attributes:
        better: Share of the sounds on which the second is nearer; equal errors count half. None without sounds.
    """

    better: float | None

    @property
    def sign(self) -> int:
        """-1 where the second run is nearer, 1 where the first is, 0 where the interval does not tell."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def mean_errors(run: RunErrors, seed: int) -> list[MeanError]:
    """The error of every head, the mean first.

    Args:
        run: Any.
        seed: Of the bootstrap; heads that act on the same sounds draw the same ones.
    """
    return [MeanError(head, run.units[head], *_summary(errors, seed)) for head, errors in _mean_first(run.per_head())]


def paired_differences(first: RunErrors, second: RunErrors, seed: int) -> list[PairedDifference]:
    """Error of the second run less that of the first, sound by sound, for every head, the mean first.

    Sounds are resampled, and with each both of its errors, so that what makes a sound hard for both runs does not blur
    the difference.

    Args:
        first: Tested on the same sounds as `second`.
        second: The other one.
        seed: Of the bootstrap.
    """
    assert first.sounds == second.sounds
    others = second.per_head()
    found = []
    for head, errors in _mean_first(first.per_head()):
        difference = others[head] - errors
        known = difference[np.isfinite(difference)]
        better = float((known < 0).mean() + 0.5 * (known == 0).mean()) if known.size else None
        found.append(PairedDifference(head, first.units[head], *_summary(difference, seed), better))
    return found


def comparable(runs: Sequence[RunErrors]) -> list[list[int]]:
    """Numbers of the runs that were tested on the same sounds, in groups, each in order, the largest first."""
    groups: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        groups.setdefault(run.sounds, []).append(number)
    return sorted(groups.values(), key=len, reverse=True)


def _mean_first(columns: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Heads with their errors, after the mean over all of them."""
    heads = [(head, errors) for head, errors in columns.items() if head != MEAN]
    return [(MEAN, columns[MEAN]), *heads]


def _summary(values: np.ndarray, seed: int) -> tuple[float | None, float | None, float | None, int]:
    """Mean, interval and number of the values that are known, `(sound,)`."""
    known = values[np.isfinite(values)]
    if not known.size:
        return None, None, None, 0
    return float(known.mean()), *bootstrap_interval(known, seed), known.size
