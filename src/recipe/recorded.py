"""How recordings became the samples of a dataset, as its JSON has it under `source`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from src.errors import VIMHError
from src.recordings import Framing
from src.spectral.representation import Representation
from src.vimh.info import DatasetInfo, packed_from

RECORDINGS = "audio"  # the kind of `source` of a dataset of recordings


class Recorded(NamedTuple):
    """How recordings became samples.

    Attributes:
        representation: Makes their images.
        framing: How they are cut.
    """

    representation: Representation
    framing: Framing


def source_of(info: DatasetInfo) -> Mapping[str, Any] | None:
    """How the recordings of a dataset became its samples, as its JSON has it; None where they are no recordings."""
    source = packed_from(info)
    return source if source.get("kind") == RECORDINGS else None


def recorded_as(info: DatasetInfo, source: Mapping[str, Any], instantiate: Callable[..., Any]) -> Recorded:
    """The same as objects.

    Args:
        info: Of the dataset.
        source: From `source_of`.
        instantiate: Makes an object from a section with a `_target_`, for a `slot`; it came out of a file.

    Raises:
        VIMHError: If the dataset does not say enough.
    """
    stated, channels = source.get("representation"), source.get("channels")
    sound: dict[str, Any] = {"sample_rate": info.sample_rate, "duration": info.duration}
    agrees = isinstance(stated, Mapping) and all(item and stated.get(key) == item for key, item in sound.items())
    if not (isinstance(stated, Mapping) and agrees and isinstance(channels, Mapping)):
        raise VIMHError(
            f"{info.title}: its description does not say how recordings became its images: source.representation, "
            "source.channels, sample_rate and duration are needed, and have to agree. Pack the set again with "
            "scripts/to_vimh.py."
        )
    representation = instantiate(stated, slot="representation", channels=channels)
    if tuple(representation.image_shape) != info.image_shape:
        raise VIMHError(
            f"{info.title}: source.representation makes images of {representation.image_shape}, and its images are "
            f"{info.image_shape}. Pack the set again with scripts/to_vimh.py."
        )
    return Recorded(representation, Framing.of_source(source, **sound))
