"""Effects: what a perturbation is made of, one class each, with the ranges that its settings are drawn from.

An effect holds ranges. For a batch it is given the values that were drawn for each sound, and calls a function of
`functional.py`. A filter gives a response instead, so that filters which follow each other cost one FFT.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property, reduce
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from torch import Tensor

from src.perturb import functional as F
from src.perturb.codecs import MP3_BITRATES, through_codec
from src.perturb.draws import N_KEYS, Span, keys_of
from src.perturb.rooms import read_rooms
from src.sections import Flag, Settings, as_tuple

KINDS = ("uniform", "log", "whole", "either")


class Drawn(NamedTuple):
    """What was drawn of one effect for some sounds.

    Attributes:
        is_on: Whether the effect acts, `(sound,)`.
        value: Name of a setting to its values, float32, `(sound, copy)`; there is one copy of most.
        key: What noise is made from, int32, `(sound, 2)`.
    """

    is_on: Tensor
    value: Mapping[str, Tensor]
    key: Tensor

    def part(self, start: int, stop: int) -> "Drawn":
        """Those of the sounds `start` to `stop - 1`."""
        value = {name: item[start:stop] for name, item in self.value.items()}
        return Drawn(self.is_on[start:stop], value, self.key[start:stop])

    def rows(self, number: Tensor) -> "Drawn":
        """Those of some of the sounds."""
        value = {name: item[number] for name, item in self.value.items()}
        return Drawn(self.is_on[number], value, self.key[number])

    def to(self, device: torch.device) -> "Drawn":
        """The same on a device."""
        value = {name: item.to(device) for name, item in self.value.items()}
        return Drawn(self.is_on.to(device), value, self.key.to(device))


def _as_span(given: Any, info: ValidationInfo) -> Any:
    """A range as it stands in a configuration: a number, `[low, high]`, or `[low, high, KIND]`."""
    found = as_tuple(given)
    parts = found if isinstance(found, tuple) else (given, given)
    *ends, kind = parts if len(parts) == 3 else [*parts, "uniform"]
    is_number = len(ends) == 2 and all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if not is_number or not all(abs(end) < float("inf") for end in ends) or kind not in KINDS:
        raise ValueError(
            f"{info.field_name} is {given}; it must be a number, [low, high], or [low, high, KIND] with one of "
            f"{', '.join(KINDS)}"
        )
    low, high = map(float, ends)
    if low > high:
        raise ValueError(f"{info.field_name} is {given}; its first end must not be above its second")
    if kind == "log" and low <= 0:
        raise ValueError(f"{info.field_name} is {given}; a logarithm needs ends above 0")
    if kind == "whole" and not (low.is_integer() and high.is_integer()):
        raise ValueError(f"{info.field_name} is {given}; its ends must be whole numbers")
    return Span(low, high, kind)


def _within(least: float, most: float, units: str = "") -> AfterValidator:
    """A check that both ends of a range lie within bounds."""

    def check(span: Span, info: ValidationInfo) -> Span:
        if not least <= span.low <= span.high <= most:
            raise ValueError(
                f"{info.field_name} is {span.low:g} to {span.high:g}; it must be within {least:g} and {most:g}{units}"
            )
        return span

    return AfterValidator(check)


AnySpan = Annotated[Span, BeforeValidator(_as_span)]
Level = Annotated[AnySpan, _within(-120, 120, " dB")]
Ratio = Annotated[AnySpan, _within(-40, 140, " dB")]
Headroom = Annotated[AnySpan, _within(-40, 60, " dB")]
Frequency = Annotated[AnySpan, _within(1, 500_000, " Hz")]
Order = Annotated[int, Field(ge=2, le=8, multiple_of=2, description="it must be 2, 4, 6 or 8")]


class Effect(Settings, ABC):
    """Settings of one thing that happens to a sound, drawn for each sound by its number.

    Attributes:
        probability: Share of the sounds that it happens to.
    """

    probability: float = Field(1.0, ge=0, le=1, description="it must be within 0 and 1")
    on_cpu: ClassVar[bool] = False  # whether it has no other device

    @cached_property
    def spans(self) -> dict[str, Span]:
        """Name of each setting that is drawn to its range."""
        settings = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: item for name, item in settings.items() if isinstance(item, Span)}

    @property
    def copies(self) -> int:
        """How often each setting is drawn for a sound."""
        return 1

    @property
    def n_columns(self) -> int:
        """Random numbers that a sound needs."""
        return 1 + N_KEYS + self.copies * len(self.spans)

    def drawn(self, share: np.ndarray) -> Drawn:
        """What random numbers mean.

        Args:
            share: Uniform in [0, 1), `(sound, column)`.
        """
        first, value = 1 + N_KEYS, {}
        for number, (name, span) in enumerate(self.spans.items()):
            columns = share[:, first + number * self.copies : first + (number + 1) * self.copies]
            value[name] = torch.from_numpy(span.values(columns)).float()
        return Drawn(torch.from_numpy(share[:, 0] < self.probability), value, keys_of(share[:, 1:first]))

    def check(self, sample_rate: int, n_samples: int) -> str:
        """Why sounds of a kind cannot be changed so; empty if they can.

        Args:
            sample_rate: Hz.
            n_samples: Their length.
        """
        return ""

    @abstractmethod
    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """Changes sounds.

        Args:
            waveform: float32, `(sound, time)`.
            drawn: For each of them, on their device.
            sample_rate: Hz.

        Returns:
            float32, `(sound, time)`.
        """


class Filter(Effect):
    """An effect that is a linear filter."""

    @property
    def farthest(self) -> float:
        """By how much it shifts sounds, s, where that is more than `functional.MARGIN`; 0 where not."""
        return 0.0

    @abstractmethod
    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """Its frequency response, complex64, `(sound, freq)`."""

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """Sounds through the filter alone."""
        bins = F.Bins.of(waveform, sample_rate, self.farthest)
        return F.filtered(waveform, self.response(drawn, bins), bins)


class VoiceParameter(Effect):
    """A parameter of the voice that varies although no network reads it, such as the phase at which it begins.

    It is given to the synth with the others; there is nothing left to do to the sound.

    Attributes:
        parameter: Its name.
        value: Natural units.
    """

    parameter: str = Field(description="it must be the name of a parameter of the synth")
    value: Annotated[AnySpan, _within(-1e9, 1e9)]

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """The sounds as they are."""
        return waveform


class Gain(Effect):
    """Louder or softer.

    Attributes:
        level: dB.
    """

    level: Level = Span(-12, 12)

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`functional.gain`."""
        return F.gain(waveform, drawn.value["level"])


class Offset(Effect):
    """Direct current.

    Attributes:
        share: Of the sound's peak.
    """

    share: Annotated[AnySpan, _within(-1, 1)] = Span(-0.02, 0.02)

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`functional.offset`."""
        return F.offset(waveform, drawn.value["share"])


class WhiteNoise(Effect):
    """White noise.

    Attributes:
        ratio: Signal-to-noise ratio, dB, of the sound's mean power over its whole length.
    """

    ratio: Ratio = Span(20, 80)

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`functional.add_noise`."""
        return F.add_noise(waveform, F.white_noise(drawn.key, waveform.shape[1]), drawn.value["ratio"])


class PinkNoise(WhiteNoise):
    """Noise that falls by 10 dB a decade."""

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`functional.add_noise`."""
        return F.add_noise(waveform, F.pink_noise(drawn.key, waveform.shape[1]), drawn.value["ratio"])


class Hum(Effect):
    """Hum of the mains.

    Attributes:
        ratio: Sound over hum, dB, of the mean power.
        frequency: Of the mains, Hz.
        n_harmonics: The first of them is the mains' own frequency.
    """

    ratio: Ratio = Span(30, 80)
    frequency: Frequency = Span(50, 60, "either")
    n_harmonics: Annotated[int, Field(ge=1, le=100, description="it must be a whole number of 1 to 100")] = 8

    def check(self, sample_rate: int, n_samples: int) -> str:
        """The mains' frequency must be there."""
        return _too_high("frequency", self.frequency, sample_rate)

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`functional.add_noise` of `functional.hum`."""
        hum = F.hum(drawn.key, waveform.shape[1], sample_rate, drawn.value["frequency"], self.n_harmonics)
        return F.add_noise(waveform, hum, drawn.value["ratio"])


class Tilt(Filter):
    """A slope over the whole spectrum.

    Attributes:
        slope: dB an octave.
        pivot: Frequency whose level stays, Hz.
    """

    slope: Annotated[AnySpan, _within(-12, 12, " dB an octave")] = Span(-2, 2)
    pivot: Annotated[float, Field(ge=20, description="it must be 20 Hz or more")] = 500.0

    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """`functional.tilt`."""
        return F.tilt(bins, drawn.value["slope"], self.pivot)


class Equalizer(Filter):
    """Bells of a parametric equalizer.

    Attributes:
        n_bands: How many for each sound.
        frequency: Centre of each, Hz.
        level: dB at the centre.
        q: Centre over bandwidth.
    """

    n_bands: Annotated[int, Field(ge=1, le=16, description="it must be a whole number of 1 to 16")] = 3
    frequency: Frequency = Span(80, 3500, "log")
    level: Annotated[AnySpan, _within(-40, 40, " dB")] = Span(-6, 6)
    q: Annotated[AnySpan, _within(0.1, 10)] = Span(0.5, 2, "log")

    @property
    def copies(self) -> int:
        """One for each band."""
        return self.n_bands

    def check(self, sample_rate: int, n_samples: int) -> str:
        """Centres must be there."""
        return _too_high("frequency", self.frequency, sample_rate)

    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """The product of `functional.peak_filter` of each band."""
        settings = [drawn.value[name].unbind(dim=1) for name in ("frequency", "level", "q")]
        bands = (F.peak_filter(bins, *(item[:, None] for item in band)) for band in zip(*settings, strict=True))
        return reduce(torch.mul, bands)


class LowPass(Filter):
    """A Butterworth low-pass.

    Attributes:
        cutoff: Hz.
        order: Even.
    """

    cutoff: Frequency = Span(1500, 3900, "log")
    order: Order = 4

    def check(self, sample_rate: int, n_samples: int) -> str:
        """The cutoff must be there."""
        return _too_high("cutoff", self.cutoff, sample_rate)

    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """`functional.low_pass`."""
        return F.low_pass(bins, drawn.value["cutoff"], self.order)


class HighPass(LowPass):
    """A Butterworth high-pass, as every input that is coupled by a capacitor has one."""

    cutoff: Frequency = Span(10, 60, "log")
    order: Order = 2

    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """`functional.high_pass`."""
        return F.high_pass(bins, drawn.value["cutoff"], self.order)


class Resample(Filter):
    """To a lower sample rate and back.

    Attributes:
        sample_rate: The lower rate, Hz; one above the sounds' own changes nothing.
    """

    sample_rate: Frequency = Span(5500, 8000, "log")

    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """`functional.resampled`."""
        return F.resampled(bins, drawn.value["sample_rate"])


class Onset(Filter):
    """A sound that begins earlier or later than its recording.

    Attributes:
        shift: s; above 0 silence comes in at the beginning and the end falls off, below 0 the beginning falls off.
    """

    shift: Annotated[AnySpan, _within(-10, 10, " s")] = Span(-0.01, 0.01)

    @property
    def farthest(self) -> float:
        """The larger end, where filters have to be computed for it."""
        most = max(map(abs, (self.shift.low, self.shift.high)))
        return most if most > F.MARGIN else 0.0

    def check(self, sample_rate: int, n_samples: int) -> str:
        """Something of the sound must be left."""
        duration = n_samples / sample_rate
        if max(map(abs, (self.shift.low, self.shift.high))) < duration:
            return ""
        return f"shift is {self.shift.low:g} to {self.shift.high:g} s, but the sounds last {duration:g} s"

    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """`functional.delay`."""
        return F.delay(bins, drawn.value["shift"] * bins.sample_rate)


class Room(Filter):
    """A synthetic room.

    Attributes:
        rt60: Reverberation time, s.
        direct_ratio: Direct sound over reverberation, dB.
        pre_delay: When the reverberation begins, s.
    """

    rt60: Annotated[AnySpan, _within(0.01, 20, " s")] = Span(0.1, 1.0, "log")
    direct_ratio: Ratio = Span(0, 20)
    pre_delay: Annotated[AnySpan, _within(0, 10, " s")] = Span(0.001, 0.02)

    def check(self, sample_rate: int, n_samples: int) -> str:
        """The reverberation must begin within the sound."""
        if self.pre_delay.high < n_samples / sample_rate:
            return ""
        return f"pre_delay is up to {self.pre_delay.high:g} s, but the sounds last {n_samples / sample_rate:g} s"

    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """That of `functional.impulse_response`."""
        settings = (drawn.value[name] for name in ("rt60", "direct_ratio", "pre_delay"))
        return F.response_of(F.impulse_response(drawn.key, bins, *settings), bins)


class MeasuredRoom(Filter):
    """Rooms that were measured: audio files of impulse responses, each sound through one of them.

    Attributes:
        directory: Where they are.
    """

    directory: str = Field(min_length=1, description="it must be a directory of audio files: directory=PATH")

    def check(self, sample_rate: int, n_samples: int) -> str:
        """There must be files that can be read."""
        read_rooms(self.directory, sample_rate, n_samples)
        return ""

    def response(self, drawn: Drawn, bins: F.Bins) -> Tensor:
        """That of the impulse response which a sound's key chooses."""
        rooms = read_rooms(self.directory, bins.sample_rate, bins.n_samples).to(drawn.key.device)
        chosen = (drawn.key[:, 0].long() & 0xFFFFFFFF) * len(rooms) >> 32
        return F.response_of(rooms[chosen], bins)


class SoftClip(Effect):
    """A limiter, or an overdriven input.

    Attributes:
        headroom: dB of the limit over the sound's peak.
    """

    headroom: Headroom = Span(-6, 12)

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`functional.soft_clip`."""
        return F.soft_clip(waveform, drawn.value["headroom"])


class Quantize(Effect):
    """A converter of few bits.

    Attributes:
        bits: Of a sample.
        headroom: dB of full scale over the sound's peak.
        dither: Whether triangular noise is added before rounding.
    """

    bits: Annotated[AnySpan, _within(1, 24)] = Span(8, 16, "whole")
    headroom: Annotated[AnySpan, _within(0, 60, " dB")] = Span(0, 12)
    dither: Flag = False

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`functional.quantize`."""
        dither = drawn.key if self.dither else None
        return F.quantize(waveform, drawn.value["bits"], drawn.value["headroom"], dither)


class MP3(Effect):
    """To MP3 of a constant bit rate and back, by libsndfile, on the CPU.

    Attributes:
        bitrate: kbit/s.
    """

    bitrate: Annotated[AnySpan, _within(8, 320, " kbit/s")] = Span(32, 64)
    on_cpu: ClassVar[bool] = True

    def check(self, sample_rate: int, n_samples: int) -> str:
        """MP3 knows some sample rates, and at each of them some bit rates."""
        if sample_rate not in MP3_BITRATES:
            return f"MP3 has sample rates of {', '.join(map(str, MP3_BITRATES))} Hz, the sounds {sample_rate}"
        least, most = MP3_BITRATES[sample_rate]
        if least <= self.bitrate.low and self.bitrate.high <= most:
            return ""
        found = f"{self.bitrate.low:g} to {self.bitrate.high:g}"
        return f"bitrate is {found}; at {sample_rate} Hz MP3 has {least} to {most} kbit/s"

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`codecs.through_codec`."""
        least, most = MP3_BITRATES[sample_rate]
        return through_codec(waveform, sample_rate, "MP3", (most - drawn.value["bitrate"]) / (most - least))


class Ogg(Effect):
    """To Ogg Vorbis and back, by libsndfile, on the CPU.

    Attributes:
        compression: From 0, the best quality, to 1.
    """

    compression: Annotated[AnySpan, _within(0, 1)] = Span(0.2, 1)
    on_cpu: ClassVar[bool] = True

    def apply(self, waveform: Tensor, drawn: Drawn, sample_rate: int) -> Tensor:
        """`codecs.through_codec`."""
        return through_codec(waveform, sample_rate, "OGG", drawn.value["compression"])


def _too_high(name: str, frequency: Span, sample_rate: int) -> str:
    """Why a range of frequencies does not fit into sounds of a rate; empty if it does."""
    if frequency.high < sample_rate / 2:
        return ""
    return (
        f"{name} is up to {frequency.high:g} Hz, but sounds of {sample_rate} Hz hold less than {sample_rate / 2:g} Hz"
    )
