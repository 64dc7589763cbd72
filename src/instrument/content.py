"""What the page is told before it asks for a sound: the knobs, the picture's axes, the networks, the switches."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from src.instrument.instrument import Instrument, PlayedNetwork
from src.pages.pages import PageSource
from src.params import ParamSpec
from src.sheet.content import channel_data
from src.vimh.axes import channels_of

HERE = Path(__file__).parent
SOURCE = PageSource(HERE / "play.html.j2", HERE / "play.css", HERE / "play.js")
FOUND = 3  # the colour of what a search finds
HOW_TO_TRAIN = "No network listens yet. Train one with make ex, and start again."


def page_content(instrument: Instrument, refines: bool = True) -> dict[str, Any]:
    """Variables of the page's template: its title, and the sides of its player with their colours.

    Args:
        instrument: That is played.
        refines: Whether the page can search for a sound's parameters.
    """
    listeners = titles_of(instrument.networks)
    sides, styles = ["Sound", *listeners], [*range(len(listeners) + 1)]
    if refines:
        sides, styles = [*sides, "Refined"], [*styles, FOUND]
    return {"title": instrument.info.title, "sides": sides, "styles": styles}


def titles_of(networks: Sequence[PlayedNetwork]) -> list[str]:
    """What the networks are called, with a number where two have the same name."""
    titles = [network.title for network in networks]
    return titles if len(set(titles)) == len(titles) else [f"{title} {n}" for n, title in enumerate(titles, start=1)]


def page_data(instrument: Instrument, most_bytes: int, local: bool) -> dict[str, Any]:
    """The input of the page's script.

    Args:
        instrument: That is played.
        most_bytes: Of a recording that is sent.
        local: Whether the page is on this machine, where browsers allow microphone and MIDI.
    """
    info = instrument.info
    return {
        "title": info.title,
        "sample_rate": instrument.sample_rate,
        "duration": instrument.duration,
        "parameters": [knob_of(spec) for spec in info.parameters],
        "fixed": [asdict(entry) for entry in info.space.fixed],
        "channels": [{**channel_data(channel), "ends": channel.ends} for channel in channels_of(info, True)],
        "networks": [*map(network_of, instrument.networks, titles_of(instrument.networks))],
        "perturbations": [switch.described() for switch in instrument.switches],
        "n_test": 0 if instrument.samples is None else len(instrument.samples),
        "has_synth": instrument.recipe is not None,
        "local": local,
        "most_bytes": most_bytes,
        "how_to_train": None if instrument.networks else HOW_TO_TRAIN,
    }


def knob_of(spec: ParamSpec) -> dict[str, Any]:
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
        "default": middle_of(spec),
        "active_if": {name: list(classes) for name, classes in spec.active_if.items()},
    }


def middle_of(spec: ParamSpec) -> float:
    """Where a knob stands first: in the middle of its range."""
    return float(spec.value_from_index(np.float64(spec.n_classes // 2)))


def network_of(network: PlayedNetwork, title: str) -> dict[str, Any]:
    """A network as the page introduces it."""
    return {"title": title, "run": network.run, "n_weights": network.n_weights}
