"""The talk with one page: its requests become messages, one after the other, each as soon as it is worked out."""

from collections.abc import Generator
from pathlib import Path

import numpy as np

from src.errors import ConfigError
from src.instrument.instrument import Instrument, PlayedSound
from src.instrument.messages import limits_message, packed, sound_message, step_message
from src.instrument.requests import AnyRequest, FileRequest, RefineRequest, SampleRequest, SoundRequest, StopRequest
from src.recordings import AudioFile, RecordingError
from src.text import name_of

MOST_SECONDS = 60  # of a recording
MOST_CHANNELS = 32
EXPLAINED = 2.0  # residual that rounding explains


class Talk:
    """What one page has asked for so far.

    Args:
        instrument: That is played.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.sound: PlayedSound | None = None  # that was asked for last
        self.audio: AudioFile | None = None  # that was sent last

    def answer(self, request: AnyRequest, content: bytes | None = None) -> Generator[bytes, None, None]:
        """The messages that answer a request, each worked out when it is asked for.

        Args:
            request: From the page.
            content: The bytes that came with it.

        Raises:
            NSMError: If there is no answer.
        """
        if isinstance(request, StopRequest):
            return
        if isinstance(request, RefineRequest):
            yield from self._refinement(request.id)
            return
        self.sound = sound = self._sound(request, content)
        yield sound_message(request.id, self.instrument, sound)
        if sound.value is not None and self.instrument.recipe is not None:
            sensitivity = self.instrument.sensitivity(sound.value)
            yield packed("sensitivity", request.id, {"db_per_step": sensitivity}, {})
            yield limits_message(request.id, self.instrument, sound.value)

    def _sound(self, request: SoundRequest | SampleRequest | FileRequest, content: bytes | None) -> PlayedSound:
        """The sound that a request means."""
        if isinstance(request, SoundRequest):
            return self.instrument.play(np.array(request.value), request.perturb)
        if isinstance(request, SampleRequest):
            return self.instrument.recall(request.number, request.perturb)
        audio, self.audio = self.audio, None  # one that is refused leaves none
        if content is not None:
            audio = opened(request.name, content)
        if audio is None:
            raise ConfigError("No recording was sent yet.")
        sound = self.instrument.listen(audio, request.perturb)
        self.audio = audio
        return sound

    def _refinement(self, number: int) -> Generator[bytes, None, None]:
        """The steps of the search for the current sound, and its end."""
        if self.sound is None:
            raise ConfigError("There is no sound yet whose parameters could be searched for.")
        steps = self.instrument.refinement(self.sound)
        step = next(steps)
        for count, following in enumerate(steps):
            yield step_message("refine", number, self.instrument, step, {"step": count})
            step = following
        why = "explained but for rounding" if step.residual <= EXPLAINED else "no sound of this synth was found nearer"
        yield step_message("refined", number, self.instrument, step, {"n_renders": step.n_renders, "why": why})


def opened(name: str, content: bytes) -> AudioFile:
    """A recording that a page has sent.

    Raises:
        RecordingError: If it is no audio, damaged, or more than is taken.
    """
    audio = AudioFile.open(Path(Path(name).name or "recording"), content)
    if audio.n_channels > MOST_CHANNELS:
        raise RecordingError(f"{name_of(audio.path)}: has {audio.n_channels} channels; {MOST_CHANNELS} are the most.")
    if audio.seconds > MOST_SECONDS:
        raise RecordingError(
            f"{name_of(audio.path)}: lasts {audio.seconds:,.0f} s; {MOST_SECONDS} s are the most here. Cut it, or read "
            "it with make pr."
        )
    return audio
