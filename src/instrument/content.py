"""What the page is told before it asks for a sound: the knobs, the picture's axes, the networks, the switches."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from src.instrument.instrument import Instrument, PlayedNetwork
from src.pages.pages import PageSource
from src.params import ParamSpec
from src.sheet.content import channel_data
from src.synth.base import Synth
from src.vimh.axes import channels_of

HERE = Path(__file__).parent
SOURCE = PageSource(HERE / "play.html.j2", HERE / "play.css", HERE / "play.js")
NOTE = "note_number"
HOW_TO_TRAIN = "No network listens yet. Train one with make ex, and start again."


def page_data(instrument: Instrument, most_bytes: int, local: bool) -> dict[str, Any]:
    """The input of the page's script.

    Args:
        instrument: That is played.
        most_bytes: Of a recording that is sent.
        local: Whether the page is on this machine, where browsers allow microphone and MIDI.
    """
    info = instrument.info
    synth = None if instrument.recipe is None else instrument.recipe.synth
    names = [spec.name for spec in info.parameters]
    return {
        "title": info.title,
        "sample_rate": instrument.sample_rate,
        "duration": instrument.duration,
        "parameters": [knob_of(spec, synth) for spec in info.parameters],
        "fixed": [asdict(entry) for entry in info.space.fixed],
        "channels": [{**channel_data(channel), "ends": channel.ends} for channel in channels_of(info, True)],
        "networks": [network_of(network) for network in instrument.networks],
        "perturbations": [switch.described() for switch in instrument.switches],
        "n_test": 0 if instrument.samples is None else len(instrument.samples),
        "has_synth": instrument.recipe is not None,
        "has_note": NOTE in names,
        "local": local,
        "most_bytes": most_bytes,
        "how_to_train": None if instrument.networks else HOW_TO_TRAIN,
    }


def knob_of(spec: ParamSpec, synth: Synth | None) -> dict[str, Any]:
    """A parameter as a knob; what of it is a number on its line is a value."""
    return {
        "name": spec.name,
        "label": spec.name.replace("_", " "),
        "description": spec.description,
        "units": spec.natural_units,
        "kind": spec.kind,
        "scale": spec.scale,
        "min": spec.min,
        "max": spec.max,
        "step": spec.step,
        "n_classes": spec.n_classes,
        "class_names": list(spec.names),
        "default": default_of(spec, synth),
        "active_if": {name: list(classes) for name, classes in spec.active_if.items()},
    }


def default_of(spec: ParamSpec, synth: Synth | None) -> float:
    """Where a knob stands first: at the synth's own default, or in the middle where that is out of the range."""
    middle = float(spec.value_from_index(np.float64(spec.n_classes // 2)))
    natural = None if synth is None else synth.defaults.get(spec.name)
    if natural is None or (spec.log and natural <= 0):
        return middle
    own = float(np.log10(natural)) if spec.log else float(natural)
    return float(spec.snapped(np.float64(own))) if spec.min <= own <= spec.max else middle


def network_of(network: PlayedNetwork) -> dict[str, Any]:
    """A network as the page introduces it."""
    return {"title": network.title, "run": network.run, "n_weights": network.n_weights}
