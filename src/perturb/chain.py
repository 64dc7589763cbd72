"""`Perturbation`: effects in their order, drawn by a sound's number and applied to batches of sounds."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from src.errors import ConfigError
from src.perturb import functional as F
from src.perturb.draws import rows_of
from src.perturb.effects import Drawn, Effect, Filter, VoiceParameter

Draws = Mapping[str, Drawn]


class Perturbation:
    """What happens to the sounds of a dataset between their rendering and their images.

    Sound i is changed in the same way everywhere: what is drawn is a function of the dataset's seed, the number i and
    the name of the effect.

    Args:
        effects: Name to effect, in the order in which they happen.
        sample_rate: Of the sounds, Hz.
        n_samples: Their length.

    Raises:
        ConfigError: If one is no effect, or cannot happen to such sounds.
    """

    def __init__(self, effects: Mapping[str, Effect], sample_rate: int, n_samples: int) -> None:
        self.effects, self.sample_rate = dict(effects), sample_rate
        for name, effect in self.effects.items():
            if not isinstance(effect, Effect):
                raise ConfigError(
                    f"perturb.{name} is {effect!r}; it must have the _target_ of an effect: docs/perturb.md."
                )
            if problem := effect.check(sample_rate, n_samples):
                raise ConfigError(f"perturb.{name}: {problem}.")

    @property
    def on_cpu(self) -> tuple[str, ...]:
        """Names of the effects that no other device has."""
        return tuple(name for name, effect in self.effects.items() if effect.on_cpu)

    def draws(self, start: int, stop: int, seed: int) -> Draws:
        """What is drawn for the sounds `start` to `stop - 1` of a dataset, by the names of the effects, on the CPU."""
        return {
            name: effect.drawn(rows_of(name, seed, start, stop, effect.n_columns))
            for name, effect in self.effects.items()
        }

    @property
    def voice_parameters(self) -> tuple[str, ...]:
        """The parameters of the voice that vary."""
        return tuple(effect.parameter for effect in self.effects.values() if isinstance(effect, VoiceParameter))

    def voice(self, draws: Draws, defaults: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Values of the parameters of the voice that vary, natural units, float64, `(sound,)` each.

        Args:
            draws: For the sounds.
            defaults: Of the voice, for sounds whose parameter stays.
        """
        return {
            effect.parameter: np.where(
                draws[name].is_on.numpy(),
                draws[name].value["value"][:, 0].double().numpy(),
                defaults[effect.parameter],
            )
            for name, effect in self.effects.items()
            if isinstance(effect, VoiceParameter)
        }

    def apply(self, waveform: Tensor, draws: Draws) -> Tensor:
        """Sounds after all effects.

        Args:
            waveform: float32, `(sound, time)`, on any device that all effects have.
            draws: For each of them.

        Returns:
            float32, `(sound, time)`, on the same device.

        Raises:
            ConfigError: If an effect does not have the device.
        """
        if self.on_cpu and waveform.device.type != "cpu":
            raise ConfigError(
                f"perturb.{self.on_cpu[0]} works on the CPU alone, and these sounds are on {waveform.device}. Train on "
                f"stored sounds, data.stream=false, or generate a set without it: '~perturb.{self.on_cpu[0]}'."
            )
        waveform = waveform.clone(memory_format=torch.contiguous_format)
        for names in self._stages:
            is_on = torch.stack([draws[name].is_on for name in names])
            rows = is_on.any(dim=0).nonzero()[:, 0]
            if len(rows):
                drawn = {name: draws[name].rows(rows, waveform.device) for name in names}
                rows = rows.to(waveform.device)
                waveform[rows] = self._changed(waveform[rows], drawn)
        return waveform

    @cached_property
    def _stages(self) -> list[list[str]]:
        """Names of the effects that happen together: filters that follow each other, all others alone."""
        stages: list[list[str]] = []
        filters = False
        for name, effect in self.effects.items():
            if isinstance(effect, VoiceParameter):
                continue
            if filters and isinstance(effect, Filter):
                stages[-1].append(name)
            else:
                stages.append([name])
            filters = isinstance(effect, Filter)
        return stages

    def _changed(self, waveform: Tensor, drawn: Draws) -> Tensor:
        """Sounds after one stage."""
        (first, *_), bins = drawn, F.Bins.of(waveform, self.sample_rate)
        if not isinstance(self.effects[first], Filter):
            return self.effects[first].apply(waveform, drawn[first], self.sample_rate)
        response = torch.ones(len(waveform), len(bins.frequency), dtype=torch.complex64, device=waveform.device)
        for name, values in drawn.items():
            effect = self.effects[name]
            assert isinstance(effect, Filter)
            response = torch.where(values.is_on[:, None], F.multiply(response, effect.response(values, bins)), response)
        return F.filtered(waveform, response, bins)


def part_of(draws: Draws, start: int, stop: int) -> Draws:
    """What was drawn for the sounds `start` to `stop - 1` of a batch."""
    return {name: drawn.part(start, stop) for name, drawn in draws.items()}
