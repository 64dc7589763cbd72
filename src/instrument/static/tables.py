"""What a page without Python is told beside what every page is: the synth's settings, and how answers are judged."""

from collections.abc import Sequence
from typing import Any

from src.errors import ConfigError
from src.evaluation.domain import FAR
from src.instrument.instrument import Instrument, PlayedNetwork, is_alike
from src.instrument.messages import MOST_BINS
from src.models.metrics import WIDER, WIDTH
from src.readings.words import UNKNOWN_DOMAIN, ZONE_WORDS
from src.recipe import Recipe
from src.spectral.representation import SpectralRepresentation
from src.synth import kernels
from src.synth.base import Synth
from src.synth.voices import MAX_VELOCITY, MoogVoice, SawVoice, decimation_filter
from src.synth.wasm import LANES

ROWS = (
    *("AMPLITUDE", "FEEDBACK", "CUTOFF", "OCTAVES", "ATTACK_RATE", "ATTACK_END", "DECAY_RATE", "SUSTAIN"),
    "RELEASE_RATE",
)


def tables(instrument: Instrument, files: Sequence[str]) -> dict[str, Any]:
    """All of it, plain data.

    Args:
        instrument: That is played.
        files: Of the networks, one each.

    Raises:
        ConfigError: If a page cannot do without Python for it.
    """
    recipe = rendered_by(instrument)
    check_representations(instrument)
    return {
        "voice": voice_table(recipe.synth),
        "networks": [network_table(*pair) for pair in zip(instrument.networks, files, strict=True)],
        "words": {**ZONE_WORDS, "unknown": UNKNOWN_DOMAIN},
        "far": FAR,
        "width": WIDTH,
        "wider": WIDER,
        "most_bins": MOST_BINS,
    }


def rendered_by(instrument: Instrument) -> Recipe:
    """What renders the sounds of an instrument.

    Raises:
        ConfigError: If that is no voice whose kernels WebAssembly has.
    """
    recipe = instrument.recipe
    if recipe is None:
        raise ConfigError(f"No synth made the sounds of {instrument.info.title}: a page without Python needs one.")
    if type(recipe.synth) not in (SawVoice, MoogVoice):
        raise ConfigError(
            f"{type(recipe.synth).__name__} renders in Python alone; pages without it have the voices SawVoice and "
            "MoogVoice. make play serves any."
        )
    return recipe


def check_representations(instrument: Instrument) -> None:
    """Refuse pictures that are no spectrograms, and networks that see different ones."""
    first = instrument.representation
    if not isinstance(first, SpectralRepresentation):
        raise ConfigError(
            f"{type(first).__name__} shows no spectrogram; pages without Python have spectrograms alone. make play "
            "serves any picture."
        )
    for network in instrument.networks[1:]:
        if not is_alike(first, network.trained.representation):
            raise ConfigError(
                f"{network.run} sees another picture than {instrument.networks[0].run}; a page without Python has one. "
                "make play shows both."
            )


def voice_table(synth: Synth) -> dict[str, Any]:
    """Settings of a voice as `voices.js` takes them."""
    assert isinstance(synth, SawVoice | MoogVoice)
    common = {
        "lanes": LANES,
        "n_samples": synth.n_samples,
        "sample_rate": synth.sample_rate,
        "band_limited": synth.band_limited,
        "defaults": dict(synth.defaults),
        "most_velocity": MAX_VELOCITY,
    }
    if isinstance(synth, SawVoice):
        return {"kind": "saw", "oversample": 1, **common}
    return {
        "kind": "moog",
        **common,
        "oversample": synth.oversample,
        "taps": [] if synth.oversample == 1 else decimation_filter(synth.oversample).tolist(),
        "note_duration": synth.note_duration,
        "cutoff_limits": list(synth.limits["filter_cutoff"]),
        "rows": sorted(ROWS, key=lambda name: getattr(kernels, name)),
    }


def network_table(network: PlayedNetwork, file: str) -> dict[str, Any]:
    """How the answers of a network are judged: its distances and its error bars; null where they are not known."""
    calibration = network.trained.calibration
    return {
        "file": file,
        "unit": None if calibration is None else calibration.unit,
        "knots": None if calibration is None else calibration.widening.distance.tolist(),
        "factors": None if calibration is None else calibration.widening.factor.tolist(),
    }
