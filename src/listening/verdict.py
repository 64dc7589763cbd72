"""What the numbers of a report say, in words that depend on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.evaluation.audio_metrics import Metric
from src.evaluation.scoring import Scores
from src.listening.content import NEAREST, Report
from src.pages.formats import decimals_of, format_number

MEAN = "mean parameters"
NETWORK = "network"
ALIKE = 1.05  # a ratio nearer to 1 than this is no difference
FEW = 4  # sounds below which a median says less than all of them
REFERENCES = {
    NETWORK: "the network alone",
    NEAREST: "the nearest training sound",
    MEAN: "the mean of the training set",
}


@dataclass(frozen=True)
class Verdict:
    """The first words of a report.

    Attributes:
        sentence: How far sounds are from the training's, and how near resynthesis comes; empty where neither is known.
        details: Sentences about the parameters.
        measure: What the distances are, a sentence; empty where none are known.
    """

    sentence: str
    details: Sequence[str]
    measure: str = ""


def verdict(report: Report) -> Verdict:
    """What a report says, in a sentence about the sounds and others about the parameters."""
    metric = next((metric for metric in report.metrics if metric.name == report.judged_by), None)
    distance = about_distance(sum(sound.far for sound in report.sounds), len(report.sounds), report.kind)
    if metric is None:
        return Verdict(distance, _about_parameters(report))
    definition = metric.definition[:1].lower() + metric.definition[1:]
    measure = f"Judged by {metric.name}: {definition}." if definition else ""
    return Verdict(f"{distance} {_about_sounds(report, metric)}".strip(), _about_parameters(report), measure)


def worst_median_best(report: Report) -> list[int]:
    """Numbers of three of the sounds to listen to, by the metric of the verdict; fewer where there are fewer."""
    values = np.array([sound.metric(report.judged_by) for sound in report.sounds])
    order = [i for i in np.argsort(_badness(report, values), kind="stable").tolist() if np.isfinite(values[i])]
    if len(order) < 2:
        return []
    if len(order) == 2:
        return order[::-1]
    middle = _middle(_of_all(report), values[order])
    return [order[-1], order[np.clip(middle, 1, len(order) - 2)], order[0]]


def _badness(report: Report, values: np.ndarray) -> np.ndarray:
    """The larger, the worse."""
    better = next((metric.better for metric in report.metrics if metric.name == report.judged_by), "low")
    return {"low": values, "high": -values, "0": np.abs(values)}[better]


def _of_all(report: Report) -> np.ndarray:
    """The metric of the verdict of every sound that was evaluated, finite ones, `(sound,)`."""
    heard = [sound.metric(report.judged_by) for sound in report.sounds]
    values = np.asarray(report.scores[0].metrics[report.judged_by] if report.scores else heard, dtype=float)
    return values[np.isfinite(values)]


def _middle(values: np.ndarray, heard: np.ndarray) -> int:
    """Which of the sounds to listen to, `(sound,)`, is nearest to the median of all."""
    return int(np.abs(heard - np.median(values)).argmin())


# ----- sounds


def about_distance(n_far: int, n_sounds: int, kind: str) -> str:
    """How many sounds are far from those of the training; empty where none is.

    Args:
        n_far: So many.
        n_sounds: Of so many.
        kind: What they are, in the plural.
    """
    if not n_far:
        return ""
    one = "is far from the training's sounds: its answers mean little."
    if n_sounds == 1:
        return f"The {kind[:-1]} {one}"
    many = "are far from the training's sounds: their answers mean little."
    return f"{n_far:,} of {n_sounds:,} {kind} {one if n_far == 1 else many}"


def _about_sounds(report: Report, metric: Metric) -> str:
    """How near they come to the originals, beside references, and which is the worst."""
    values, has_truth = _of_all(report), report.sounds[0].true_value is not None
    if not len(values):
        return f"None of the {report.kind} could be compared by {metric.name}."
    if metric.better != "low" or metric.best != 0:
        median = f"{_text(np.median(values), metric)} or {'less' if metric.better == 'low' else 'more'}"
        return f"Half of the {len(values):,} {report.kind} have a {metric.name} of {median}."
    if len(values) < FEW:
        low, high = (_text(end, metric) for end in (values.min(), values.max()))
        reach = high if len(values) == 1 or low == high else f"{_two_digits(values.min())} to {high}"
        subject = report.kind[:-1] if len(values) == 1 else f"{len(values)} {report.kind}"
        if not has_truth:
            return f"Resynthesis comes within {reach} of the {subject}."
        return f"The {subject} {'is' if len(values) == 1 else 'are'} within {reach} of the truth."
    median = _text(np.median(values), metric)
    half = f"alf of the {len(values):,} {report.kind} are within {median} of the truth"
    comparisons = _comparisons(report.scores, metric.name)
    worst = worst_median_best(report)[:1]
    end = f"; worst: {report.sounds[worst[0]].name}, {_text(report.sounds[worst[0]].metric(metric.name), metric)}"
    refined = bool(report.scores) and report.scores[0].name == "refined"
    begin = f"{'After refinement, h' if refined else 'H'}{half}"
    if not has_truth:
        begin = f"Resynthesis comes within {median} of half of the {len(values):,} {report.kind}"
    return f"{begin}{comparisons}{end if worst else ''}."


def _text(value: float, metric: Metric) -> str:
    """A distance in two digits, with its unit."""
    return f"{_two_digits(value)} {metric.units}".strip()


def _two_digits(value: float) -> str:
    return format_number(float(value), decimals_of(abs(value)) if abs(value) >= 1e-4 else None)


def _comparisons(scores: Sequence[Scores], metric: str) -> str:
    """How many times nearer than references the first estimate is, by medians; empty without references."""
    medians = {own.name: float(np.nanmedian(own.metrics[metric])) for own in scores if metric in own.metrics}
    own = medians.get(scores[0].name) if scores else None
    parts = []
    for name in (NETWORK, NEAREST, MEAN):
        # The mean of the training set is worth a word only to a network that has not got beyond it.
        if own is None or name not in medians or name == scores[0].name or (name == MEAN and own < medians[MEAN]):
            continue
        parts.append(_beside(own, medians[name], REFERENCES[name]))
    if not parts:
        return ""
    return ", " + (parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}")


def _beside(own: float, other: float, name: str) -> str:
    """A distance beside that of a reference."""
    if min(own, other) <= 0:
        return f"as near as {name}" if own == other else f"{'nearer' if own < other else 'further'} than {name}"
    ratio = other / own
    if 1 / ALIKE < ratio < ALIKE:
        return f"no nearer than {name}"
    return f"{_times(max(ratio, 1 / ratio))} times {'nearer' if ratio > 1 else 'further'} than {name}"


def _times(ratio: float) -> str:
    """A ratio above 1 in two digits."""
    return f"{ratio:.1f}" if ratio < 9.95 else f"{float(f'{ratio:.1e}'):,.0f}"


# ----- parameters


def _about_parameters(report: Report) -> list[str]:
    """The parameters that are read best and worst, and how many of the categories are right."""
    if not report.scores or report.scores[0].errors is None:
        return []
    errors = report.scores[0].errors
    if len(errors) < FEW:
        return []  # a share of them says less than their tables
    shares: dict[bool, list[tuple[float, str]]] = {False: [], True: []}
    for p, spec in enumerate(report.parameters):
        known = errors[np.isfinite(errors[:, p]), p]
        if len(known):
            right = known == 0 if spec.categorical else known <= spec.step * (1 + 1e-9)
            shares[spec.categorical].append((100 * float(right.mean()), spec.name))
    return [*_about_numbers(sorted(shares[False])), *_about_classes(sorted(shares[True]))]


def _about_numbers(shares: Sequence[tuple[float, str]]) -> list[str]:
    """Shares of sounds, in percent, on which a parameter is within one step, the lowest first."""
    if not shares:
        return []
    (low, hardest), (high, easiest) = shares[0], shares[-1]
    if len(shares) == 1:
        return [f"{hardest} is within one grid step on {low:.0f} % of them."]
    if round(low) == round(high):
        which = "Both" if len(shares) == 2 else f"All {len(shares)}"
        return [f"{which} parameters are within one grid step on {low:.0f} % of them."]
    return [
        f"Within one grid step: {easiest} on {high:.0f} % of them, the best of {len(shares)} parameters; {hardest} on "
        f"{low:.0f} %, the worst."
    ]


def _about_classes(shares: Sequence[tuple[float, str]]) -> list[str]:
    """Shares of sounds, in percent, whose class is right, the lowest first."""
    parts = [f"{name} on {share:.0f} %" for share, name in shares]
    return [f"Right class: {', '.join(parts)}."] if parts else []
