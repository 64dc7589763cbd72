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

AT_ONCE = 2**24  # samples of the sounds that are changed together: filters need about 50 times as many bytes


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

    @cached_property
    def voice_parameters(self) -> dict[str, str]:
        """Names of effects to the parameters of the voice that they vary."""
        return {name: effect.parameter for name, effect in self.effects.items() if isinstance(effect, VoiceParameter)}

    def voice(self, draws: Draws, defaults: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Values of the parameters of the voice that vary, natural units, float64, `(sound,)` each.

        Args:
            draws: For the sounds.
            defaults: Of the voice, for sounds whose parameter stays.
        """
        values = {}
        for name, parameter in self.voice_parameters.items():
            drawn = draws[name].value["value"][:, 0].double().numpy()
            values[parameter] = np.where(draws[name].is_on.numpy(), drawn, defaults[parameter])
        return values

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
        size = max(1, AT_ONCE // waveform.shape[1])
        if len(waveform) > size:
            parts = ((start, min(start + size, len(waveform))) for start in range(0, len(waveform), size))
            return torch.cat([self.apply(waveform[a:b], part_of(draws, a, b)) for a, b in parts])
        waveform = waveform.clone(memory_format=torch.contiguous_format)
        for names in self._stages:
            rows = torch.stack([draws[name].is_on for name in names]).any(dim=0).nonzero()[:, 0]
            if len(rows):
                drawn = {name: draws[name].rows(rows) for name in names}
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
        """Sounds after one stage, each of which some effect of the stage happens to."""
        filters = {name: effect for name in drawn if isinstance(effect := self.effects[name], Filter)}
        if filters:
            bins = F.Bins.of(waveform, self.sample_rate, sum(effect.farthest for effect in filters.values()))
            return F.filtered(waveform, self._response(filters, drawn, bins), bins)
        ((name, own),) = drawn.items()
        return self.effects[name].apply(waveform, own.to(waveform.device), self.sample_rate)

    @staticmethod
    def _response(filters: Mapping[str, Filter], drawn: Draws, bins: F.Bins) -> Tensor:
        """The product of the responses of filters, each for the sounds that it happens to, `(sound, freq)`."""
        n_sounds, device = len(next(iter(drawn.values())).is_on), bins.frequency.device
        response = torch.ones(n_sounds, len(bins.frequency), dtype=torch.complex64, device=device)
        for name, effect in filters.items():
            rows = drawn[name].is_on.nonzero()[:, 0]
            if len(rows):
                own = effect.response(drawn[name].rows(rows).to(device), bins)
                rows = rows.to(device)
                response[rows] = response[rows] * own
        return response


def part_of(draws: Draws, start: int, stop: int) -> Draws:
    """What was drawn for the sounds `start` to `stop - 1` of a batch."""
    return {name: drawn.part(start, stop) for name, drawn in draws.items()}
