"""`DeviceMaker`: the samples of a recipe, made on the device that trains, thousands at a time."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from src.errors import ConfigError, NSMError
from src.perturb.chain import Draws
from src.recipe.images import BLOCK
from src.recipe.recipe import LOUDEST, Recipe
from src.spectral.representation import working_memory
from src.synth.base import why_no_cuda_voice

CPU = torch.device("cpu")
# The more voices at once, the better a device is used, as far as its memory goes. Shares of the whole memory, and not
# of what is free, so that every run on such a device works in the same groups.
SHARE_OF_MEMORY = 1 / 16  # for waveforms, for what representing them needs, and for a block of samples, each
MEMORY = 2**33  # bytes, of a device that does not say
MOST_TOGETHER = 65536  # sounds that are rendered together
MOST_REPRESENTED = 8192  # sounds that are represented together
SOUND_BYTES = 2**26  # of waveforms that travel to a device together
BYTES_OF_A_PARAMETER = 16  # of a sample: class, normalized, value


class Begun(NamedTuple):
    """Samples of which everything is done that the CPU does.

    Attributes:
        first: Number of the first.
        value: Parameter values as stored, float32, `(sample, parameter)`.
        code: uint8, `(sample, parameter)`.
        sound: Their waveforms, float32, `(sample, time)`; or, where the device is to render them, what the synth is
            given there, natural units, float64, `(parameter, sample)`.
        given: Names of what the synth is given there, in order; None if the sounds are rendered.
        draws: What is drawn for their perturbation.
    """

    first: int
    value: np.ndarray
    code: np.ndarray
    sound: Tensor
    given: tuple[str, ...] | None
    draws: Draws


class Made(NamedTuple):
    """Samples whose images are on a device; in the order of the attributes of `vimh.reader.Batch`.

    Attributes:
        image: uint8, `(sample, channel, height, width)`.
        code: uint8, `(sample, parameter)`.
        spec_range: `spec_min` and `spec_max` in dB, float32, `(sample, 2)`, on the device.
        value: Parameter values as stored, float32, `(sample, parameter)`.
    """

    image: Tensor
    code: np.ndarray
    spec_range: Tensor
    value: np.ndarray


@dataclass(frozen=True)
class DeviceMaker:
    """Makes samples in two parts: any thread of the CPU begins them, and the device finishes them.

    They are those that the recipe makes. Their values are the same exactly; what another device rounds otherwise moves
    a pixel by one level now and then.

    Attributes:
        recipe: What makes them.
        device: Where their images come to lie.
    """

    recipe: Recipe
    device: torch.device

    @cached_property
    def why_not_rendered(self) -> str:
        """Why the synth does not render on the device, as a sentence without its full stop; empty if it does.

        Otherwise it renders on the CPU, and its sounds travel.
        """
        kind = "cpu" if numba.config.ENABLE_CUDASIM else "cuda"  # the simulator of CUDA has the CPU as its device
        if self.device.type != kind:
            return f"synths have no voice for {self.device.type}"
        return why_no_cuda_voice(self.recipe.synth)

    @cached_property
    def block_size(self) -> int:
        """Samples to make together: `MOST_TOGETHER`, or as many as the memory takes.

        Of sounds that the CPU renders, `SOUND_BYTES`.
        """
        if self.why_not_rendered:
            return max(1, SOUND_BYTES // (4 * self.recipe.n_samples))
        n_parameters = len(self.recipe.space.varying)
        n_bytes = math.prod(self.recipe.representation.image_shape) + BYTES_OF_A_PARAMETER * n_parameters
        return self._fitting(n_bytes, MOST_TOGETHER)

    @cached_property
    def n_rendered(self) -> int:
        """Sounds that are rendered together."""
        return self._fitting(4 * self.recipe.n_samples, MOST_TOGETHER)

    @cached_property
    def n_represented(self) -> int:
        """Sounds that are perturbed and represented together."""
        if self.device == CPU:
            return BLOCK

        def see(waveform: Tensor) -> None:
            for perturbed in self.recipe.perturbed([waveform], self.recipe.draws(0, BLOCK)):
                self.recipe.representation.to_image(perturbed)

        n_bytes = working_memory(see, torch.zeros(BLOCK, self.recipe.n_samples))
        return self._fitting(n_bytes, MOST_REPRESENTED)

    def _fitting(self, n_bytes: int, most: int) -> int:
        """How many of so many bytes each fit into a share of the device's memory."""
        is_cuda = self.device.type == "cuda"
        total = torch.cuda.get_device_properties(self.device).total_memory if is_cuda else MEMORY
        return min(most, max(1, round(SHARE_OF_MEMORY * total) // n_bytes))

    def make(self, start: int, stop: int) -> Made:
        """The samples `start` to `stop - 1` of the dataset."""
        return self.finish(self.begin(self.recipe.values(start, stop), start))

    def begin_fresh(self, start: int, stop: int) -> Begun:
        """Begin the fresh sounds `start` to `stop - 1`: see `Recipe.make_fresh`."""
        return self.begin(self.recipe.fresh_values(start, stop), self.recipe.size + start)

    def begin(self, value: np.ndarray, first: int = 0) -> Begun:
        """The part of samples that is the CPU's; any thread may do it.

        Args:
            value: Natural units, float32, `(sample, parameter)`.
            first: Number of the first sample.

        Raises:
            ConfigError: As `Recipe.sounds` does, unless the device renders them.
        """
        recipe = self.recipe
        code, draws = recipe.space.encode(value), recipe.draws(first, len(value))
        if self.why_not_rendered:
            return Begun(first, value, code, torch.from_numpy(recipe.sounds(value, first, draws)), None, draws)
        given = recipe.given(value, draws)
        return Begun(first, value, code, torch.from_numpy(np.stack([*given.values()])), tuple(given), draws)

    def finish(self, begun: Begun) -> Made:
        """The rest, on the device, a group of sounds at a time.

        Raises:
            ConfigError: As `Recipe.sounds` does.
        """
        images, spec_ranges = [], []
        for waveform in self.recipe.perturbed(self._waveforms(begun), begun.draws):
            image, spec_range = self.recipe.representation.to_image(waveform)
            images.append(image)
            spec_ranges.append(spec_range)
        return Made(torch.cat(images), begun.code, torch.cat(spec_ranges), begun.value)

    def _waveforms(self, begun: Begun) -> Iterator[Tensor]:
        """Sounds on the device, in their order, by groups whose images are made together, `(sample, time)` each."""
        if begun.given is None:
            yield from (group.to(self.device) for group in begun.sound.split(self.n_represented))
            return
        peaks = []
        for given in begun.sound.to(self.device).split(self.n_rendered, dim=1):
            for group in self._rendered(begun, dict(zip(begun.given, given, strict=True))).split(self.n_represented):
                waveform = group.contiguous()  # a synth may have written all voices of an instant side by side
                low, high = waveform.aminmax(dim=1)
                peaks.append(torch.maximum(-low, high))
                yield waveform
        peak = torch.cat(peaks)
        if not bool((peak <= LOUDEST).all()):  # the one place that waits for the device
            self.recipe.refuse_louder(peak.cpu().numpy(), begun.value, begun.first)

    def _rendered(self, begun: Begun, given: Mapping[str, Tensor]) -> Tensor:
        """Waveforms of what the synth is given on the device, `(sample,)` each."""
        try:
            voice: Any = self.recipe.synth  # has the method, as `why_not_rendered` has found
            waveform: Tensor = voice.render_cuda(given)
        except NSMError as error:  # whatever else fails there is no sound's fault, and would fail thousands one by one
            row, reason = self.recipe.first_failure(dict(zip(given, begun.sound.numpy(), strict=True)), error)
            raise ConfigError(self.recipe.failed(begun.first + row, begun.value[row], reason)) from error
        return waveform
