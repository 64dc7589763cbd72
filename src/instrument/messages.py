"""Messages to a page: a header of plain data, and arrays behind it, in one piece of bytes.

    uint32, little-endian    length of the header in bytes, a multiple of 4
    header                   JSON in UTF-8, padded by spaces: `type`, `id`, …, `parts`
    parts                    arrays one after the other, little-endian, each padded by zeros to a multiple of 4 bytes

`parts` lists `name`, `dtype` (`float32`, `uint16`, `uint8`) and `shape` of each. Numbers that are not finite are null.
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from src.evaluation.refinement import RefinementStep
from src.evaluation.scoring import parameter_errors
from src.instrument.instrument import Instrument, PlayedSound, SoundPicture
from src.readings.reading import Reading
from src.readings.words import about_domain, reach, ridge_data
from src.text import all_printable
from src.vimh.axes import channels_of

MOST_BINS = 64  # of a histogram
ALIGNED = 4  # bytes, so that a page can look at an array where it is
DTYPES = {"float32": "<f4", "uint16": "<u2", "uint8": "|u1"}


def packed(kind: str, number: int, header: Mapping[str, Any], parts: Mapping[str, np.ndarray]) -> bytes:
    """A message.

    Args:
        kind: Its `type`.
        number: The `id` of the request that it answers.
        header: What else it says, plain data and arrays of numbers.
        parts: Name to array, of one of the `DTYPES`.
    """
    listed = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in parts.items()]
    head = {"type": kind, "id": number, **header, "parts": listed}
    text = json.dumps(plain(all_printable(head)), allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    return b"".join([struct.pack("<I", len(text)), text, *map(_aligned, parts.values())])


def _aligned(array: np.ndarray) -> bytes:
    content = np.ascontiguousarray(array, DTYPES[array.dtype.name]).tobytes()
    return content + bytes(-len(content) % ALIGNED)


def plain(found: Any) -> Any:
    """Mappings, sequences, arrays and numbers as JSON has them; numbers that are not finite become None."""
    if isinstance(found, Mapping):
        return {str(key): plain(entry) for key, entry in found.items()}
    if isinstance(found, np.ndarray | np.generic):
        return plain(found.tolist())
    if isinstance(found, list | tuple):
        return [plain(entry) for entry in found]
    if isinstance(found, float) and not math.isfinite(found):
        return None
    return found


# ----- what a sound is told by


def sound_message(number: int, instrument: Instrument, sound: PlayedSound) -> bytes:
    """A sound with its picture and the answers of all networks, each with its resynthesis."""
    header: dict[str, Any] = {"source": sound.source, "name": sound.name, "notes": sound.notes, "value": sound.value}
    header |= picture_header(instrument, sound.picture)
    parts = {"waveform": sound.waveform, "picture": sound.picture.image}
    answers = []
    for n, reading in enumerate(sound.readings):
        answer = answer_of(instrument, n, reading, sound.value)
        made = instrument.resynthesized(reading.value)
        if made is not None:
            waveform, picture = made
            parts |= {f"waveform{n}": waveform, f"picture{n}": picture.image}
            answer |= {"waveform": f"waveform{n}", "picture": f"picture{n}", **picture_header(instrument, picture)}
        answers.append(answer)
    return packed("sound", number, header | {"answers": answers}, parts)


def picture_header(instrument: Instrument, picture: SoundPicture) -> dict[str, Any]:
    """Levels of the pixels 0 and 255 in each channel."""
    channels = channels_of(instrument.info, True)
    quiet = np.array([-instrument.top_db, 0.0])  # where levels are not kept
    spec_range = picture.spec_range if picture.spec_range.size else quiet
    return {"ends": [spec_range if channel.ends is None else channel.ends for channel in channels]}


def answer_of(instrument: Instrument, number: int, reading: Reading, value: np.ndarray | None) -> dict[str, Any]:
    """What a network says of a sound, and where it is wrong."""
    space = instrument.space
    low, high = (ends[0] for ends in reach(space, reading.value[None], reading.reach_std[None]))
    active = space.active(reading.value[None])[0]
    numeric = active & ~space.categorical
    answer: dict[str, Any] = {
        "value": np.where(active, reading.value.astype(np.float64), np.nan),
        "low": np.where(numeric, low, np.nan),
        "high": np.where(numeric, high, np.nan),
        "probabilities": reading.probabilities,
        "histogram": {name: in_bins(share) for name, share in instrument.histogram(number, reading).items()},
        "distance": reading.distance,
        "zone": reading.zone,
        "trust": about_domain(reading),
        "apart": reading.apart,
        "inside": None,
        "error_steps": None,
    }
    if value is not None:
        said, true = (one.astype(np.float64) for one in (reading.value, value))
        error = parameter_errors(space, said[None], true[None])[0]  # absolute; NaN for what does not act
        inside = np.where(space.categorical, error == 0, (low <= value) & (value <= high)).tolist()
        steps = np.where(space.categorical, error, np.copysign(error, said - true) / space.step)
        answer["error_steps"] = np.where(active, steps, np.nan)
        answer["inside"] = [None if math.isnan(one) else found for found, one in zip(inside, error, strict=True)]
    return answer


def in_bins(share: np.ndarray) -> np.ndarray:
    """A distribution over classes, neighbours joined until there are no more than 64."""
    joined = math.ceil(len(share) / MOST_BINS)
    padded = np.pad(share.astype(np.float64), (0, -len(share) % joined))
    return padded.reshape(-1, joined).sum(axis=1).round(5)


def limits_message(number: int, instrument: Instrument, value: np.ndarray) -> bytes:
    """How well the picture of a sound tells its parameters."""
    found = instrument.limits(value)
    if found is None:
        return packed("limits", number, {"std_steps": None, "texts": []}, {})
    texts = [ridge["words"] for ridge in ridge_data(instrument.space, found.ridges)]
    return packed("limits", number, {"std_steps": found.std, "texts": texts}, {})


def step_message(
    kind: str, number: int, instrument: Instrument, step: RefinementStep, about: Mapping[str, Any]
) -> bytes:
    """Where a search is, with the sound and the picture there."""
    parts, header = {}, {**about, "value": step.value, "residual": step.residual}
    made = instrument.resynthesized(step.value)
    if made is not None:
        parts = {"waveform": made[0], "picture": made[1].image}
        header |= picture_header(instrument, made[1])
    return packed(kind, number, header, parts)
