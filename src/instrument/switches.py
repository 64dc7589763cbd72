"""Perturbations as switches: effects of `src.perturb`, each with the settings that a page can turn.

What a switch does is the effect of a perturbed dataset, with settings that are chosen instead of drawn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from src.errors import check_choice, check_number
from src.perturb import effects
from src.perturb.chain import Perturbation
from src.perturb.effects import Effect

SEED = 0  # of noise and rooms: the same settings are the same sound


@dataclass(frozen=True)
class Control:
    """A setting of an effect.

    Attributes:
        name: Of the setting.
        label: For people.
        unit: Of its value; empty for none.
        min: Lowest value.
        max: Highest value.
        default: Where it is when the switch is first turned.
        scale: `linear` or `log`: how values are spread along the control.
    """

    name: str
    label: str
    unit: str
    min: float
    max: float
    default: float
    scale: str = "linear"


@dataclass(frozen=True)
class Switch:
    """An effect that a page turns on and off.

    Attributes:
        name: Key of requests.
        label: For people.
        description: One sentence.
        effect: Its class.
        controls: Settings that are turned.
        fixed: Settings that are not.
    """

    name: str
    label: str
    description: str
    effect: type[Effect]
    controls: tuple[Control, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def made(self, settings: Mapping[str, float]) -> Effect:
        """The effect with these settings, the others at their defaults."""
        chosen = {control.name: settings.get(control.name, control.default) for control in self.controls}
        return self.effect(**self.fixed, **chosen)

    def described(self) -> dict[str, Any]:
        """What the page knows of it."""
        about = {"name": self.name, "label": self.label, "description": self.description}
        return about | {"controls": [asdict(control) for control in self.controls]}


# In the order in which they happen to a sound: the voice's amplifier, the room, the microphone, the converter.
SWITCHES = (
    Switch(
        "clip",
        "Clipping",
        "A limiter, or an input that is overdriven.",
        effects.SoftClip,
        (Control("headroom", "Headroom", "dB", -12, 24, 0),),
    ),
    Switch(
        "room",
        "Room",
        "The reverberation of a synthetic room.",
        effects.Room,
        (
            Control("rt60", "Reverberation time", "s", 0.05, 3, 0.5, "log"),
            Control("direct_ratio", "Direct over reverberant sound", "dB", -10, 40, 6),
        ),
        {"pre_delay": 0.005},
    ),
    Switch(
        "eq",
        "Equalizer",
        "A bell of a parametric equalizer.",
        effects.Equalizer,
        (
            Control("frequency", "Frequency", "Hz", 80, 3500, 800, "log"),
            Control("level", "Level", "dB", -24, 24, 9),
            Control("q", "Centre over bandwidth", "", 0.3, 6, 1, "log"),
        ),
        {"n_bands": 1},
    ),
    Switch(
        "tilt",
        "Tilt",
        "A slope over the whole spectrum, as of another microphone.",
        effects.Tilt,
        (Control("slope", "Slope", "dB an octave", -6, 6, -2),),
    ),
    Switch(
        "low_pass",
        "Low-pass",
        "A Butterworth low-pass of fourth order.",
        effects.LowPass,
        (Control("cutoff", "Cutoff", "Hz", 300, 3900, 2000, "log"),),
    ),
    Switch(
        "high_pass",
        "High-pass",
        "A Butterworth high-pass of second order.",
        effects.HighPass,
        (Control("cutoff", "Cutoff", "Hz", 10, 1000, 100, "log"),),
    ),
    Switch(
        "hum",
        "Hum",
        "Hum of the mains with its harmonics.",
        effects.Hum,
        (
            Control("ratio", "Sound over hum", "dB", 0, 80, 30),
            Control("frequency", "Frequency of the mains", "Hz", 50, 60, 50),
        ),
    ),
    Switch(
        "noise",
        "White noise",
        "White noise beside the sound.",
        effects.WhiteNoise,
        (Control("ratio", "Sound over noise", "dB", 0, 80, 30),),
    ),
    Switch(
        "pink_noise",
        "Pink noise",
        "Noise that falls by 10 dB a decade.",
        effects.PinkNoise,
        (Control("ratio", "Sound over noise", "dB", 0, 80, 30),),
    ),
    Switch("gain", "Gain", "Louder or softer.", effects.Gain, (Control("level", "Level", "dB", -24, 24, -6),)),
)


def fitting(sample_rate: int, n_samples: int) -> tuple[Switch, ...]:
    """The switches that sounds of a rate, Hz, and a length can be put through; frequencies end below half the rate."""
    fitted = [
        replace(switch, controls=tuple(_below(control, sample_rate / 2) for control in switch.controls))
        for switch in SWITCHES
    ]
    return tuple(
        switch
        for switch in fitted
        if all(control.min < control.max for control in switch.controls)
        and not switch.made({control.name: control.max for control in switch.controls}).check(sample_rate, n_samples)
    )


def _below(control: Control, limit: float) -> Control:
    """A control that ends below a limit, Hz, if it is one of a frequency."""
    if control.unit != "Hz":
        return control
    highest = min(control.max, math.floor(0.975 * limit))
    return replace(control, max=highest, default=min(control.default, highest))


def perturbation_of(
    settings: Mapping[str, Mapping[str, float]], switches: Sequence[Switch], sample_rate: int, n_samples: int
) -> Perturbation:
    """The effects that are on.

    Args:
        settings: Name of each switch that is on to its settings.
        switches: Those that there are.
        sample_rate: Of the sounds, Hz.
        n_samples: Their length.

    Raises:
        ConfigError: If there is no such switch or setting, or a setting is beyond its ends.
    """
    known = {switch.name: switch for switch in switches}
    for name, values in settings.items():
        check_choice("perturb", name, tuple(known))
        _check_settings(known[name], values)
    on = {switch.name: switch.made(settings[switch.name]) for switch in switches if switch.name in settings}
    return Perturbation(on, sample_rate, n_samples)


def _check_settings(switch: Switch, values: Mapping[str, float]) -> None:
    """Refuse settings that there are not, or that are beyond the ends of their controls."""
    controls = {control.name: control for control in switch.controls}
    for name, number in values.items():
        check_choice(f"perturb.{switch.name}", name, tuple(controls))
        check_number(f"perturb.{switch.name}.{name}", number, least=controls[name].min, most=controls[name].max)


def perturbed(waveform: np.ndarray, perturbation: Perturbation) -> np.ndarray:
    """A sound, float32, `(time,)`, through the effects; itself where none is on."""
    if not perturbation.effects:
        return waveform
    sounds = torch.from_numpy(waveform[None])
    return perturbation.apply(sounds, perturbation.draws(0, 1, SEED))[0].numpy()
