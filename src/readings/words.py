"""What a network read, in words, in cells of tables and as plain data."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from src.evaluation.domain import zone_of
from src.evaluation.ridges import Ridge
from src.evaluation.scoring import edges_of, plain_values
from src.models.metrics import WIDTH
from src.params import ParameterSpace, ParamSpec
from src.readings.network import GAIN, TrainedOn
from src.readings.reading import Reading, RecordingReading
from src.text import one_line

WIDER_BARS = ", error bars are wider"  # what is said where they can be
ZONE_WORDS = {
    "inside": "inside the training",
    "near": f"near the training{WIDER_BARS}",
    "far": "FAR from the training, answers mean little",
}
UNKNOWN_DOMAIN = "the checkpoint keeps no statistics of its training images, so the distance from them is unknown"
BEYOND = "at or beyond "  # stands before a value at an end of its range


def reach(space: ParameterSpace, value: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper ends of 90 % intervals within the ranges, `(sound, parameter)` each.

    Args:
        space: The parameters.
        value: `(sound, parameter)`.
        std: Of the values, of the same shape.
    """
    half = (WIDTH * std).astype(np.float64)
    return np.clip(value - half, space.low, space.high), np.clip(value + half, space.low, space.high)


def interval(space: ParameterSpace, value: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The same in natural units, `(sound, parameter, 2)`."""
    return np.stack([space.natural_from_value(end) for end in reach(space, value, std)], axis=-1)


def describe_values(space: ParameterSpace, reading: Reading) -> dict[str, dict[str, Any]]:
    """What was read of each parameter, by name, as plain data; None for what does not act, or has no error bar.

    A category has the probability of the class that was read, and those of all, `probabilities`, the likeliest first.
    """
    value, std = reading.value[None], reading.std[None]
    ends = interval(space, value, reading.reach_std[None])[0]
    plain = plain_values(space.varying, value.astype(np.float64), std)
    edges = edges_of(space, reading.value)
    described = {}
    for spec, found, spread, (low, high) in zip(space.varying, *(column[0] for column in plain), ends, strict=True):
        described[spec.name] = {
            "kind": spec.kind,
            "active": found is not None,
            "value": found,
            "std": spread,
            "low": None if spread is None else float(low),
            "high": None if spread is None else float(high),
            "units": spec.natural_units,
            "edge": edges[spec.name],
        }
        if spec.categorical:
            shares = reading.probabilities.get(spec.name)
            described[spec.name] |= describe_classes(spec, found, shares)
    return described


def describe_classes(spec: ParamSpec, found: str | None, shares: np.ndarray | None) -> dict[str, Any]:
    """The probabilities of the classes of a category as plain data; None where they are not known, or it does not act.

    Args:
        spec: The category.
        found: The class that was read.
        shares: Probability of each class, `(class,)`.
    """
    if found is None or shares is None:
        return {"probability": None, "probabilities": None}
    order = np.argsort(-shares, kind="stable").tolist()
    by_name = {spec.text(spec.value_from_index(n)): float(shares[n]) for n in order}
    return {"probability": by_name[found], "probabilities": by_name}


def describe_distance(reading: Reading) -> dict[str, Any]:
    """How far a sound is from the training, and from the answer's sound, as plain data."""
    return {"distance": reading.distance, "zone": reading.zone, "db_away": reading.apart}


def describe_ridges(space: ParameterSpace, reading: Reading) -> list[dict[str, Any]]:
    """Pairs of parameters that a sound does not tell apart, as plain data, and in words; values in natural units."""
    return ridge_data(space, reading.ridges)


def ridge_data(space: ParameterSpace, ridges: Sequence[Ridge]) -> list[dict[str, Any]]:
    """The same of the pairs alone."""
    found = []
    for ridge in ridges:
        specs = [space.varying[p] for p in (ridge.first, ridge.second)]
        natural = [[float(of.natural_from_value(x)) for of, x in zip(specs, end, strict=True)] for end in ridge.ends]
        texts = [" and ".join(of.text(x) for of, x in zip(specs, end, strict=True)) for end in ridge.ends]
        names = [spec.name for spec in specs]
        found.append(
            {
                "parameters": names,
                "correlation": ridge.correlation,
                "ends": natural,
                "words": f"{' and '.join(names)} cannot be told apart: "
                f"from {texts[0]} to {texts[1]} the sound is nearly the same",
            }
        )
    return found


def describe(reading: RecordingReading, trained: TrainedOn) -> dict[str, Any]:
    """A reading of a recording as plain data."""
    recording = reading.recording
    space = trained.run.info.space
    parameters = describe_values(space, reading)
    for spec, level_only, by_gain in zip(trained.parameters, trained.level_only, reading.by_gain, strict=True):
        moves = {"changes_with_3_db": bool(by_gain)} if spec.categorical else {"steps_per_3_db": float(by_gain)}
        parameters[spec.name] |= {"level_only": level_only, **moves}
    return {
        "file": reading.name,
        "duration": recording.duration,
        "onset": recording.onset,
        "gain_db": reading.gain_db,
        "notes": list(recording.notes),
        **describe_distance(reading),
        "parameters": parameters,
        "refinement": reading.refinement,
        "ridges": describe_ridges(space, reading),
        "together": reading.together,
    } | ({} if trained.framing is None else {"frames": [describe_frame(space, frame) for frame in reading.frames]})


def describe_frame(space: ParameterSpace, frame: RecordingReading) -> dict[str, Any]:
    """What was read from a frame of a recording as plain data."""
    about = {"distance": frame.distance, "zone": frame.zone}
    return {"start": frame.recording.onset, **about, "parameters": describe_values(space, frame)}


def value_cells(found: dict[str, Any]) -> tuple[str, str, str]:
    """Value, interval or probability, and units of a parameter, as `describe_values` has it, for a table."""
    if not found["active"]:
        return "not active", "", ""
    std = found["std"]
    if std is None:
        return found["value"], probability_text(found["probability"]), found["units"]
    digits = max(0, 1 - math.floor(math.log10(std))) if std > 0 else 6  # two digits of the standard deviation
    value = f"{found['value']:.{0 if found['kind'] == 'integer' else digits}f}"
    value = f"{BEYOND if found['edge'] else ''}{value}"
    return value, f"{found['low']:.{digits}f} … {found['high']:.{digits}f}", found["units"]


def spread_heading(kinds: Sequence[str], joint: bool = False) -> str:
    """What stands above intervals and probabilities, for parameters of these kinds."""
    if all(kind == "categorical" for kind in kinds):
        return "probability"
    interval = "90 % together" if joint else "90 % interval"
    return f"{interval}, prob." if "categorical" in kinds else interval


def probability_text(probability: float | None) -> str:
    """A probability in two digits; empty where it is not known."""
    return "" if probability is None else f"{probability:.2f}"


def gain_cell(found: dict[str, Any]) -> str:
    """How a parameter depends on the level, as `describe` has it, for a table."""
    if not found["active"]:
        return ""
    if found["level_only"]:
        return "level alone"
    if "changes_with_3_db" in found:
        return "another" if found["changes_with_3_db"] else "the same"
    return f"{found['steps_per_3_db']:.1f}"


def distance_text(distance: float) -> str:
    """A distance in three digits at most."""
    return f"{distance:,.0f}" if distance >= 99.5 else f"{distance:.2g}" if distance < 9.95 else f"{distance:.0f}"


def refined_line(refinement: dict[str, float]) -> str:
    """What refinement did, in words."""
    return "Refined: residual {residual_before:.3g} before, {residual:.3g} after".format(**refinement)


def warnings_of(reading: RecordingReading, trained: TrainedOn) -> list[str]:
    """Notes about values that are less certain than they seem."""
    space = trained.run.info.space
    texts = [ridge["words"] for ridge in describe_ridges(space, reading)]
    active = space.active(reading.value[None])[0]
    for spec, acts, level_only, by_gain in zip(
        trained.parameters, active, trained.level_only, reading.by_gain, strict=True
    ):
        if not acts:
            continue
        if level_only:
            texts.append(f"{spec.name} acts on level alone, and a recording's gain is arbitrary")
        elif by_gain and spec.categorical:
            texts.append(f"{spec.name} is another one with {GAIN:g} dB of gain")
        elif by_gain >= 1:
            texts.append(f"{spec.name} moves by {by_gain:.1f} steps with {GAIN:g} dB of gain")
    return texts


def title_of(reading: Reading) -> str:
    """Name of a sound, how far it is, and what was done to it, in lines."""
    about = [one_line(about_domain(reading)), *([one_line("; ".join(reading.notes))] if reading.notes else [])]
    return "\n".join([reading.name, *about])


def about_domain(reading: Reading) -> str:
    """How far a sound is from what the network was trained on."""
    if reading.distance is None:
        return UNKNOWN_DOMAIN
    words, apart = ZONE_WORDS[zone_of(reading.distance)], "" if reading.apart is None else f"; {about_sound(reading)}"
    if reading.apart is None:
        words = words.removesuffix(WIDER_BARS)
    return f"{words}: distance {distance_text(reading.distance)}{apart}"


def about_sound(reading: Reading) -> str:
    """How far the resynthesis is."""
    what = "the answer's sound" if reading.refinement is None else "the nearest sound this synth can make"
    return f"{what} is {reading.apart:.1f} dB away"
