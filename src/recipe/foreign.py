"""The synth and the picture of a dataset that does not say how it was made."""

from typing import Any

from src.errors import VIMHError
from src.params import FixedParam, ParameterSpace
from src.synth.base import Synth
from src.synth.voices import MoogVoice, SawVoice
from src.vimh.info import DatasetInfo

# By what `synth_type` contains.
SYNTHS: dict[str, type[SawVoice | MoogVoice]] = {"simple": SawVoice, "saw": SawVoice, "moog": MoogVoice}
SYNTH_SETTINGS = ("sample_rate", "duration", "note_duration")  # some datasets list these as fixed parameters


def synth_by_names(info: DatasetInfo) -> tuple[Synth, ParameterSpace]:
    """Synth and parameters of a dataset that does not say how it was made.

    Its `synth_type` decides, or without one the simplest synth that knows its parameters is taken.
    """
    constant = {name: entry.min for name, entry in info.parameter_mappings.items() if not entry.varies}
    constant |= {fixed.name: fixed.value for fixed in info.space.fixed}
    settings: dict[str, Any] = {"sample_rate": info.sample_rate, "duration": info.duration}
    settings |= {key: constant.pop(key) for key in SYNTH_SETTINGS if key in constant}
    missing = [key for key, item in settings.items() if item is None]
    if missing:
        raise VIMHError(f"{info.title}: its description lacks {', '.join(missing)}, so its sounds cannot be rendered.")
    kinds = [kind for part, kind in SYNTHS.items() if not info.synth_type or part in info.synth_type.lower()]
    if not kinds:
        raise VIMHError(
            f"{info.title}: was not made by this generator, and its synth_type is {info.synth_type!r}. Only sounds of "
            f"{', '.join(SYNTHS)} can be rendered without a generator.config."
        )
    names = {*info.parameter_names, *constant}
    kind = next((kind for kind in kinds if names <= set(kind.defaults)), None)
    if kind is None:
        known = kinds[-1].defaults
        raise VIMHError(
            f"{info.title}: was not made by this generator, and {kinds[-1].__name__} does not know its parameter "
            f"{', '.join(sorted(names - set(known)))}; it knows {', '.join(known)}."
        )
    if kind is SawVoice:
        settings.pop("note_duration", None)
    synth = kind(**settings | {"sample_rate": round(settings["sample_rate"])})
    return synth, ParameterSpace(info.parameters, tuple(FixedParam(*item) for item in constant.items()))
