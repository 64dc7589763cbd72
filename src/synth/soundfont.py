"""Voices of sampled instruments: the notes of a SoundFont, rendered by TinySoundFont.

The engine is the package tinysoundfont, which `SOUNDFONT=1 sh setup.sh` installs. It interpolates samples linearly, and
has the filters, envelopes and low-frequency oscillators of the format (E-mu Systems, SoundFont Technical Specification
2.04, 2006), without reverberation and chorus.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import soxr

from src.errors import ConfigError, InstallationError
from src.synth.base import Limits, complete_parameters, count_samples
from src.synth.general_midi import FAMILIES, PROGRAMS, VARIANTS
from src.synth.soundfont_file import BrokenFontError, check_font

ENGINE_RATE = (
    48_000  # Hz: the engine takes samples at any speed without a filter, so that a high rate has fewer aliases
)
N_KEYS = 128
MAX_VOICES = 64  # samples that sound together in a note
MAX_FONT_BYTES = 2**31
SILENCE = 1e-4  # of full scale: a note that stays below it has no sound
HELD = 1e6  # s: later than any sound ends
DIRECTORIES = tuple(Path("/usr/share", name) for name in ("sounds/sf2", "sounds/sf3", "soundfonts"))
MORE_DIRECTORIES = "SOUNDFONT_PATH"  # variable of the environment: directories that are searched first
DEBIAN = {"TimGM6mb.sf2": "timgm6mb-soundfont", "FluidR3Mono_GM.sf3": "fluidr3mono-gm-soundfont"}
DEFAULTS: Mapping[str, float] = MappingProxyType(
    {
        "program": 0.0,
        "family": 0.0,
        "variant": 0.0,
        "note_number": 69.0,
        "note_velocity": 100.0,
        "tuning": 0.0,
        "key_shift": 0.0,
        "release": HELD,
    }
)
WHOLE = ("program", "family", "variant", "key_shift")  # parameters that are counted


class SoundFontVoice:
    """Note of a SoundFont's program → mono → resampled.

    A note begins with the sound, and every sound has an engine's state of its own, so that none depends on others. The
    engine keeps the interpreter's lock: threads may share a voice, but their notes are rendered one after the other.

    Parameters of a sound, with their defaults:
        program: Which of `programs`, 0 for the first (0).
        family: Of General MIDI, 0 to 15 (0): 8 times this number is added to that of the program.
        variant: Of a family, 0 to 7 (0): added to the number of the program, which so is 8 family + variant.
        note_number: MIDI note, 0 to 127, may be fractional (69: 440 Hz). The nearest key is tuned.
        note_velocity: MIDI velocity, 1 to 127 (100).
        tuning: Cents, -1200 to 1200, added to the note (0).
        key_shift: Keys, -24 to 24, by which another key is pressed (0). It is tuned to the note, which so has the pitch
            that it had, and the timbre of the samples of another key.
        release: When the key is let go, s (not within the sound).

    Args:
        sample_rate: Hz.
        duration: Length of every sound, s.
        font: Name of a file such as `TimGM6mb.sf2`, in one of `DIRECTORIES` or of those that the variable of the
            environment `SOUNDFONT_PATH` names.
        programs: Names or numbers of General MIDI programs that `program` counts; None: all 128.

    Raises:
        ConfigError: If the font is missing or broken, or a program is unknown.
    """

    threads = True
    defaults = DEFAULTS

    def __init__(
        self, sample_rate: int, duration: float, font: str, programs: Sequence[str | int] | None = None
    ) -> None:
        self.n_samples = count_samples(sample_rate, duration)
        self.sample_rate = sample_rate
        self.duration = duration
        self.numbers = np.arange(len(PROGRAMS)) if programs is None else np.array([_number(item) for item in programs])
        if not self.numbers.size:
            raise ConfigError("programs is empty; name one or more programs of General MIDI, or null for all.")
        self.limits: Mapping[str, Limits] = {
            "program": (0, self.numbers.size - 1),
            "family": (0, len(FAMILIES) - 1),
            "variant": (0, VARIANTS - 1),
            "note_number": (0, 127),
            "note_velocity": (1, 127),
            "tuning": (-1200, 1200),
            "key_shift": (-24, 24),
            "release": (0, HELD),
        }
        self._font = load_font(self._find(font))

    def render(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Render one sound per voice; a note that the program does not have is silent.

        Args:
            parameters: Name to values in natural units, `(voice,)` each.

        Returns:
            Waveforms, float32, `(voice, time)`.
        """
        value = self._complete(parameters)
        waveform = np.zeros((len(value["program"]), self.n_samples), dtype=np.float32)
        for row, note in enumerate(self._notes(value)):
            sound = note if self.sample_rate == ENGINE_RATE else soxr.resample(note, ENGINE_RATE, self.sample_rate)
            waveform[row, : sound.size] = sound[: self.n_samples]
        return waveform

    def has_sound(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Whether the font has a note, and it is heard: its peak is not below `SILENCE`.

        Args:
            parameters: Name to values in natural units, `(voice,)` each.

        Returns:
            bool, `(voice,)`.
        """
        return np.array([np.abs(note).max() >= SILENCE for note in self._notes(self._complete(parameters))], dtype=bool)

    def _find(self, font: str) -> Path:
        """Path of a font's file."""
        return find_font(font)

    def _complete(self, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every parameter, float64, `(voice,)` each, checked; `program` is that of General MIDI."""
        value = complete_parameters(parameters, self.defaults, self.limits)
        for name in WHOLE:
            fractional = value[name] != np.round(value[name])
            if fractional.any():
                raise ConfigError(f"{name} is {value[name][fractional][0]:g}; it must be a whole number.")
        number = self.numbers[value["program"].astype(int)] + VARIANTS * value["family"] + value["variant"]
        if (number >= len(PROGRAMS)).any():
            raise ConfigError(
                f"program, family and variant together name program {number.max():g}; the last one is "
                f"{len(PROGRAMS) - 1}. Give a program, or family and variant."
            )
        return value | {"program": number}

    def _notes(self, value: Mapping[str, np.ndarray]) -> Iterator[np.ndarray]:
        """Every note at the engine's rate, float32, `(time,)` each."""
        n_samples = -(-self.n_samples * ENGINE_RATE // self.sample_rate)
        for row in range(len(value["program"])):
            yield self._note({name: float(item[row]) for name, item in value.items()}, n_samples)

    def _note(self, value: Mapping[str, float], n_samples: int) -> np.ndarray:
        """A note at the engine's rate, float32, `(time,)`."""
        key = min(max(round(value["note_number"] + value["key_shift"]), 0), N_KEYS - 1)
        stereo = np.zeros((n_samples, 2), dtype=np.float32)
        engine = type(self._font)(self._font)  # shares the samples
        engine.set_max_voices(MAX_VOICES)
        engine.channel_set_bank(0, 0)
        try:
            engine.channel_set_preset_number(0, int(value["program"]), False)
        except RuntimeError:  # the font has no such program
            return stereo[:, 0]
        engine.channel_set_tuning(0, value["note_number"] - key + value["tuning"] / 100)
        engine.channel_note_on(0, key, value["note_velocity"] / 127)
        held = min(n_samples, round(value["release"] * ENGINE_RATE))
        if held:
            engine.render(stereo[:held], False)
        if held < n_samples:
            engine.channel_note_off(0, key)
            engine.render(stereo[held:], False)
        return stereo.mean(axis=1)


class SoundFontFileVoice(SoundFontVoice):
    """The same of a file at any path. A configuration out of a file may name it only if you trust that file.

    Args:
        sample_rate: Hz.
        duration: Length of every sound, s.
        font: Path of an .sf2 or .sf3 file.
        programs: As of `SoundFontVoice`.
    """

    def _find(self, font: str) -> Path:
        """The path as it is."""
        return Path(font)


def find_font(name: str) -> Path:
    """The file of a font in the directories that are searched.

    Raises:
        ConfigError: If the name is a path, or nothing has it.
    """
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise ConfigError(
            f"font is {name!r}; it must be the name of a file. For one at any path, set "
            "synth._target_=src.synth.soundfont.SoundFontFileVoice."
        )
    more = os.environ.get(MORE_DIRECTORIES, "")
    directories = [*map(Path, filter(None, more.split(os.pathsep))), *DIRECTORIES]
    for directory in directories:
        if (directory / name).is_file():
            return directory / name
    package = f"apt-get install {DEBIAN[name]}, or name" if name in DEBIAN else "Name"
    raise ConfigError(
        f"There is no SoundFont {name} in {', '.join(map(str, directories))}. {package} its directory by "
        f"{MORE_DIRECTORIES}=DIRECTORY."
    )


def load_font(path: Path) -> Any:
    """A font in the engine, as it is while its file does not change.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        stat = path.stat()
        return _load(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ConfigError(f"{path}: the SoundFont cannot be read ({error.strerror}).") from error


@lru_cache(maxsize=4)
def _load(path: Path, changed: int, n_bytes: int) -> Any:
    """See `load_font`; the arguments beside the path tell a file from what it was before."""
    if n_bytes > MAX_FONT_BYTES:
        raise ConfigError(f"{path}: has {n_bytes:,} bytes; SoundFonts of up to {MAX_FONT_BYTES:,} are read.")
    content = path.read_bytes()
    try:
        check_font(content)
    except BrokenFontError as error:
        raise ConfigError(f"{path}: is no whole SoundFont: {error}. Copy or install the file again.") from error
    synth = _engine().Synth(samplerate=ENGINE_RATE)
    try:
        number = synth.sfload(content)
    except RuntimeError as error:
        raise ConfigError(f"{path}: is a SoundFont that tinysoundfont cannot read.") from error
    return synth.soundfonts[number]


def _engine() -> Any:
    """The package tinysoundfont."""
    try:
        import tinysoundfont  # noqa: PLC0415  # an optional package
    except ImportError as error:
        raise InstallationError(
            f"A SoundFont needs the package tinysoundfont, which cannot be imported ({error}). SOUNDFONT=1 sh setup.sh "
            "installs it."
        ) from error
    return tinysoundfont


def _number(program: str | int) -> int:
    """Number of a program that is named or numbered."""
    if program in PROGRAMS:
        return PROGRAMS.index(str(program))
    if isinstance(program, int) and not isinstance(program, bool) and 0 <= program < len(PROGRAMS):
        return program
    raise ConfigError(
        f"programs names {program!r}; a program is a number of 0 to {len(PROGRAMS) - 1}, or a name of General MIDI "
        f"such as {PROGRAMS[0]}."
    )
