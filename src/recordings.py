"""Recordings as sounds like those of a dataset: mono, at its rate, of its duration.

Either one sound from the onset on, as a synth makes them: what was done to it (channels joined, resampled, cut) is kept
beside it as notes. Or frames, which begin where the file begins: datasets of recordings are cut so.
"""

import io
import math
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from glob import glob, has_magic
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy
import soundfile
import soxr
from soundfile import SoundFile

from src.errors import ConfigError, NSMError, check_number
from src.text import name_of

SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"}
)
SILENT = 1e-5  # peak below which a recording counts as silent, -100 dB full scale
LOUDEST = 2.0**32  # peak beyond which samples are damaged: 32-bit integers that were never scaled are below
HIGHEST_RATE = 10_000_000  # Hz
ONSET = 0.01  # of the peak, -40 dB: a sound has begun before it reaches this level
QUIET = 1e-4  # of the peak, -80 dB: a sound has not begun before it reaches this level
RISE = 0.005  # s, that a sound may take from there to -40 dB
LOOK_BACK = 0.5  # s before -40 dB, that are searched for the onset
SHORTEST = 0.05  # s
MAX_SECONDS = 600.0  # read of a file
MARGIN = 0.05  # s, that resampling is given beyond the end of a frame
LONGEST_FRAME = 2**26  # samples: 20 minutes at 55 kHz
BLOCK = 2**18  # samples of all channels together that are read at once
# Codecs that transform blocks. Before a sound that begins within a block they leave noise up to -20 dB of its peak, the
# pre-echo (Painter and Spanias, Perceptual Coding of Digital Audio, Proc. IEEE 88, 2000).
LOSSY = frozenset({"VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"})
PRE_ECHO = 0.05  # s, that it lasts at most
JUMP = 5.0  # 14 dB: by as much a sound rises above its pre-echo
JUMP_TIME = 0.005  # s, within which it does
JUMP_RISE = 0.002  # s, from its onset until it is as loud as the pre-echo; 0.8 to 4 for the synths of this project
# libsndfile's notes on files that are shorter than their headers say: bytes announced, bytes there.
SHORTER = re.compile(r"^ *(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)$", re.MULTILINE)
UNKNOWN_SIZE = 0x7FFF0000  # from here on, bytes announced by who writes to a pipe: sox 0x7FFFF000, ffmpeg 0xFFFFFFFF
# The first frame of most MP3s, behind a tag that may hold a picture: flags, the number of frames, that of bytes.
MP3_SIZE = re.compile(rb"\xff[\xe2-\xff].{11,36}(?:Xing|Info)\0\0\0[\x03\x07\x0b\x0f].{4}(.{4})", re.DOTALL)
MP3_HEAD = 2**20  # bytes that are searched for it
MP3_WHOLE = 0.99  # encoders do not agree on what counts; libmpg123 takes as much for right
OGG_PAGE = 65307  # bytes of a page at most; its head are "OggS" and 23 more, the last of them the number of segments
CUT_OFF = "is cut off: it ends before its samples do."


class RecordingError(NSMError):
    """A file, or samples in memory, that are no recording, or none that can be used."""


@dataclass(frozen=True)
class Recording:
    """A recording, ready for a network.

    Attributes:
        path: Its file, or the name of what was in memory.
        waveform: Mono, at the rate of the dataset, from the onset on, of the dataset's duration, float32, `(time,)`.
        onset: Where it begins in the file, s.
        duration: Length of the file or of the samples, s.
        notes: What was done to it.
    """

    path: Path
    waveform: np.ndarray
    onset: float
    duration: float
    notes: tuple[str, ...]


def find_files(audio: str) -> list[Path]:
    """The files that a path, a directory or a glob pattern means, in the order of their names.

    A file that exists is taken by its name, whatever characters are in it. Of a directory, those files count whose
    suffix is one of audio; `**` in a pattern goes through subdirectories.

    Raises:
        ConfigError: If there are none.
    """
    try:
        path = Path(audio).expanduser()
        if path.is_file():
            return [path]
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.is_file() and entry.suffix.lower() in SUFFIXES)
            if not found:
                endings = ", ".join(sorted(SUFFIXES))
                below = f"those in directories below it are named by a pattern, as '{name_of(path / '**' / '*.wav')}'"
                raise ConfigError(f"{name_of(path)}: no audio file is in this directory ({endings}); {below}.")
            return found
        matches = sorted(Path(name) for name in glob(str(path), recursive=True)) if has_magic(audio) else []
        found = [match for match in matches if match.is_file()]
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, an unknown user's home, a NUL
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"audio={name_of(audio)}: cannot be looked for: {reason}.") from error
    if not found:
        where = name_of(Path.cwd())
        raise ConfigError(f"audio={name_of(audio)}: there is no such file or directory (looked from {where}).")
    return found


@dataclass(frozen=True)
class AudioSource(ABC):
    """Audio that comes in blocks.

    Attributes:
        path: Its file, or the name of what is in memory.
        sample_rate: Hz.
        n_channels: How many there are.
        lossy: Whether its codec leaves noise before a sound.
    """

    path: Path
    sample_rate: int
    n_channels: int
    lossy: bool

    @abstractmethod
    def blocks(self, first: int, n_samples: int) -> Iterator[np.ndarray]:
        """The mean of all channels, block by block, as far as it goes.

        Args:
            first: The first sample.
            n_samples: How many, at most.

        Yields:
            float64, `(time,)`, not empty.

        Raises:
            RecordingError: If samples are damaged, not finite or far beyond full scale, or none are there at all.
        """

    def _mono(self, samples: np.ndarray) -> np.ndarray:
        """The mean of channels, `(time, channel)`, checked."""
        with np.errstate(over="ignore", invalid="ignore"):
            mono = samples.mean(axis=1)
        peak = np.abs(mono).max()
        if not np.isfinite(peak):
            raise RecordingError(f"{name_of(self.path)}: holds samples that are not finite.")
        if peak > LOUDEST:
            levels = f"up to {peak:.2g}, where 1 is full scale; {LOUDEST:.2g} is the most"
            raise RecordingError(f"{name_of(self.path)}: holds samples of {levels} that is read.")
        return mono


@dataclass(frozen=True)
class AudioFile(AudioSource):
    """An audio file that is whole. No rate, length or number of channels fills memory.

    Attributes:
        seconds: Its length, as it says itself.
        content: Its bytes, where it lies in memory and its path is but a name; None: they are at its path.
    """

    seconds: float
    content: bytes | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: Path, content: bytes | None = None) -> "AudioFile":
        """Look at a file.

        Args:
            path: Anything that libsndfile reads.
            content: Its bytes, if it is no file but in memory under that name.

        Raises:
            RecordingError: If it is no audio, cut off anywhere, or of a rate that no recording has.
        """
        with _refusing(path):
            if path.suffix.lower() == ".mp3" and _is_cut_mp3(
                path, content
            ):  # before libmpg123 warns of it on standard error
                raise RecordingError(f"{name_of(path)}: {CUT_OFF}")
            with _opened(path, content) as file:
                seconds = file.frames / file.samplerate
                audio = cls(path, file.samplerate, file.channels, file.subtype in LOSSY, seconds, content)
                is_cut = _is_cut(file, path, content)
        if is_cut:
            raise RecordingError(f"{name_of(path)}: {CUT_OFF}")
        if audio.sample_rate > HIGHEST_RATE:
            rates = f"{audio.sample_rate:,} Hz; {HIGHEST_RATE:,} Hz is the highest"
            raise RecordingError(f"{name_of(path)}: has a sample rate of {rates} that is read.")
        return audio

    def blocks(self, first: int, n_samples: int) -> Iterator[np.ndarray]:
        """As `AudioSource` has it; samples before the first are read as well, since lossy codecs need them."""
        at, end = 0, first + n_samples
        with _refusing(self.path), _opened(self.path, self.content) as file:
            while at < end:
                samples = file.read(min(max(1, BLOCK // self.n_channels), end - at), dtype="float64", always_2d=True)
                if not len(samples):
                    break
                at += len(samples)
                wanted = samples[max(0, len(samples) - (at - first)) :] if at > first else samples[:0]
                if len(wanted):
                    yield self._mono(wanted)
            if at == 0:
                raise RecordingError(f"{name_of(self.path)}: holds no samples, or its header says so.")


@dataclass(frozen=True, eq=False)
class AudioArray(AudioSource):
    """Audio in memory, of one channel.

    Attributes:
        samples: Floats, full scale is 1, `(time,)`.
    """

    samples: np.ndarray

    def blocks(self, first: int, n_samples: int) -> Iterator[np.ndarray]:
        """As `AudioSource` has it."""
        if not len(self.samples):
            raise RecordingError(f"{name_of(self.path)}: holds no samples.")
        for start in range(first, min(first + n_samples, len(self.samples)), BLOCK):
            yield self._mono(self.samples[start : min(start + BLOCK, first + n_samples), None].astype(np.float64))


def read_recording(path: Path, sample_rate: int, duration: float, lead: float = 0.0) -> Recording:
    """Read a recording as a sound of a dataset's kind.

    Args:
        path: Anything that libsndfile reads, at any rate, with any number of channels.
        sample_rate: Hz, of the dataset.
        duration: s, of the dataset.
        lead: s, where `find_onset` finds the onset of the dataset's own sounds; as much is kept before it here.

    Raises:
        RecordingError: If it is no audio, damaged, silent, or too short.
    """
    return cut_to_sound(AudioFile.open(path), sample_rate, duration, lead)


def cut_to_sound(audio: AudioSource, sample_rate: int, duration: float, lead: float = 0.0) -> Recording:
    """The same of audio that is open, or in memory."""
    path, rate = audio.path, audio.sample_rate
    length, onset = find_sound(audio)
    begin = onset - round(lead * rate)
    padding, begin = max(0, -begin), max(0, begin)
    if (length + padding - begin) / rate < SHORTEST:
        raise RecordingError(
            f"{name_of(path)}: is too short: {(length + padding) / rate:.3f} s, of which "
            f"{(length + padding - begin) / rate:.3f} s sound; {SHORTEST:g} s are needed."
        )
    wanted = math.ceil((duration + SHORTEST) * rate) - padding
    n_samples = round(sample_rate * duration)
    sound = resample(chain([np.zeros(padding)], audio.blocks(begin, wanted)), rate, sample_rate)[:n_samples]
    if np.abs(sound).max(initial=0.0) < SILENT:
        raise RecordingError(f"{name_of(path)}: is silent below {min(rate, sample_rate) / 2:,.0f} Hz.")
    left = (length - begin) / rate
    notes = {
        f"begins at {begin / rate:.3f} s": begin > RISE * rate,
        f"cut after {duration:g} s": left > duration * 1.001,
        f"{left:.3f} s long, the rest is silence": left < duration * 0.999,
    }
    waveform = np.pad(sound, (0, n_samples - len(sound))).astype(np.float32)
    valid = (note for note, holds in notes.items() if holds)
    return Recording(path, waveform, begin / rate, length / rate, (*notes_of(audio, sample_rate), *valid))


def notes_of(audio: AudioSource, sample_rate: int) -> list[str]:
    """What is done to every sample of a recording that becomes mono, at another rate, Hz."""
    rate = audio.sample_rate
    notes = {
        f"mean of {audio.n_channels} channels": audio.n_channels > 1,
        f"resampled from {rate:,} to {sample_rate:,} Hz": rate != sample_rate,
        f"holds nothing above {rate / 2:,.0f} Hz": rate < sample_rate,
    }
    return [note for note, holds in notes.items() if holds]


@dataclass(frozen=True)
class Framing:
    """How the sounds of a dataset are cut out of recordings; its JSON keeps this under `source` if files are not whole.

    Attributes:
        sample_rate: Hz, of the frames.
        duration: s, of a frame.
        hop: s from the beginning of a frame to that of the next; None: one frame, at the beginning of the recording.
        silence: dB; frames whose root mean square is more than so far below that of the loudest frame of the same
            recording are left out. None: only those that are silent, below -100 dB full scale, as all of these are.

    Raises:
        ConfigError: If there are no such frames.
    """

    sample_rate: int
    duration: float
    hop: float | None = None
    silence: float | None = None

    def __post_init__(self) -> None:
        check_number("The sample rate of a sound", self.sample_rate, whole=True, above=0, hint=" Hz")
        check_number("The duration of a sound", self.duration, above=0, hint=" s")
        if self.sample_rate * self.duration > LONGEST_FRAME:
            raise ConfigError(
                f"Sounds of {self.duration:g} s at {self.sample_rate:,} Hz make {self.sample_rate * self.duration:.4g} "
                f"samples, but {LONGEST_FRAME:,} are the most. Lower one of them."
            )
        if self.hop is not None:
            check_number("The hop of frames", self.hop, least=1 / self.sample_rate, hint=" s")
        if self.silence is not None:
            check_number("The level of silence below the loudest frame", self.silence, above=0, hint=" dB")

    @classmethod
    def of_source(cls, source: Mapping[str, Any], sample_rate: int, duration: float) -> "Framing":
        """How the sounds of a dataset were cut.

        Args:
            source: What its JSON has under this key.
            sample_rate: Hz, of the dataset.
            duration: s, of the dataset.
        """
        return cls(sample_rate, duration, source.get("hop"), source.get("silence"))

    def to_source(self) -> dict[str, Any]:
        """The same as keys of `source`; none for whole files."""
        return {} if self.hop is None else asdict(self)

    @property
    def n_samples(self) -> int:
        """Length of a frame."""
        return round(self.sample_rate * self.duration)

    @property
    def step(self) -> int:
        """The hop in samples."""
        return self.n_samples if self.hop is None else round(self.sample_rate * self.hop)


@dataclass(frozen=True)
class Frames:
    """The frames of a recording that are not silent. They are read by iterating: float32, `(time,)` each.

    Attributes:
        audio: The recording.
        framing: How it is cut.
        sounds: Which of all frames they are, bool, `(frame of the recording,)`.
    """

    audio: AudioSource
    framing: Framing
    sounds: np.ndarray

    @property
    def start(self) -> np.ndarray:
        """Where each begins in the recording, s, float64, `(frame,)`."""
        return np.flatnonzero(self.sounds) * (self.framing.step / self.framing.sample_rate)

    @property
    def n_silent(self) -> int:
        """How many frames were left out."""
        return int(np.count_nonzero(~self.sounds))

    def __len__(self) -> int:
        return int(np.count_nonzero(self.sounds))

    def __iter__(self) -> Iterator[np.ndarray]:
        return compress(_all_frames(self.audio, self.framing), self.sounds)


def cut_into_frames(audio: AudioSource, framing: Framing) -> Frames:
    """Cut a recording into frames, however long it is.

    They begin at 0, one hop, two hops and so on. What is left behind the last whole frame makes another, padded with
    silence, if it is at least half a hop, or half a frame where frames are shorter; a recording shorter than a frame
    makes one. The recording is read twice for them, since its loudest frame may be the last.

    Raises:
        RecordingError: If it is silent, or damaged.
    """
    if framing.hop is None:  # a single one, which stays in memory
        frame = next(_all_frames(audio, framing))
        audio = AudioArray(audio.path, framing.sample_rate, 1, audio.lossy, frame)
    levels = [(np.abs(frame).max(), np.sqrt(np.mean(np.square(frame)))) for frame in _all_frames(audio, framing)]
    peak, power = np.array(levels).T
    if peak.max() < SILENT:
        where = "" if framing.hop is not None else f" in its first {framing.duration:g} s"
        raise RecordingError(f"{name_of(audio.path)}: is silent{where}, below -100 dB full scale.")
    faintest = 0.0 if framing.silence is None else power.max() * 10 ** (-framing.silence / 20)
    return Frames(audio, framing, (peak >= SILENT) & (power >= faintest))


def _all_frames(audio: AudioSource, framing: Framing) -> Iterator[np.ndarray]:
    """All frames of a recording, silent ones as well, float32, `(time,)`."""
    if framing.hop is None:
        length = math.ceil((framing.n_samples / framing.sample_rate + MARGIN) * audio.sample_rate)
        yield from islice(_frames_of(audio.blocks(0, length), audio.sample_rate, framing), 1)
    else:
        yield from _frames_of(audio.blocks(0, sys.maxsize), audio.sample_rate, framing)


def _frames_of(blocks: Iterable[np.ndarray], rate: int, framing: Framing) -> Iterator[np.ndarray]:
    """Frames of a waveform that comes in blocks at another rate, float64, `(time,)` each."""
    n_samples, step = framing.n_samples, framing.step
    rest, least = np.zeros(0), 0.0  # samples that make another frame: the first needs none
    for block in resampled(blocks, rate, framing.sample_rate):
        rest = np.concatenate([rest, block])
        while len(rest) >= max(n_samples, step):
            yield rest[:n_samples].astype(np.float32)
            rest, least = rest[step:], max(0, n_samples - step) + min(step, n_samples) / 2
    if len(rest) >= least:
        yield np.pad(rest[:n_samples], (0, max(0, n_samples - len(rest)))).astype(np.float32)


def find_sound(audio: AudioSource) -> tuple[int, int]:
    """Where the sound of a recording begins.

    Returns:
        Its length, 600 s at most, and the onset, in samples.

    Raises:
        RecordingError: If it is silent, or damaged.
    """
    rate = audio.sample_rate
    found = [(len(block), float(np.abs(block).max())) for block in audio.blocks(0, math.ceil(MAX_SECONDS * rate))]
    ends = np.cumsum([length for length, _ in found]).tolist()
    peak = max(level for _, level in found)
    if peak < SILENT:
        level = f"{20 * math.log10(peak):.0f} dB" if peak > 0 else "0, or -infinite dB,"
        raise RecordingError(f"{name_of(audio.path)}: is silent, its peak is {level} full scale.")
    number = next(number for number, (_, level) in enumerate(found) if level > ONSET * peak)
    first = max(0, ends[number] - found[number][0] - math.ceil(LOOK_BACK * rate))
    last = ends[number] + math.ceil((PRE_ECHO + JUMP_TIME) * rate)
    around = np.concatenate(list(audio.blocks(first, last - first)))
    return ends[-1], first + find_onset(around, rate, peak, audio.lossy)


def find_onset(waveform: np.ndarray, sample_rate: int, peak: float | None = None, lossy: bool = False) -> int:
    """Sample at which a sound begins: where it rises above its beginning on the way to -40 dB of its peak.

    Samples more than 5 ms before that count as noise up to twice their root mean square, and samples below -80 dB of
    the peak as silence. After a lossy codec the noise may be louder than -40 dB. There, the way is that to the last
    jump by 14 dB within the next 50 ms, what precedes it by 2 ms and more is noise, and a sound that rises slowly began
    up to 2 ms before it.

    Args:
        waveform: Not silent, `(time,)`.
        sample_rate: Hz.
        peak: Of the sound, if it is a part of a longer one.
        lossy: Whether it comes out of a lossy codec.
    """
    size = np.abs(waveform)
    peak = float(size.max()) if peak is None else peak
    loud = int(np.argmax(size > ONSET * peak))
    if not lossy:
        before = size[max(0, loud - round(LOOK_BACK * sample_rate)) : max(0, loud - round(RISE * sample_rate))]
        noise = 2 * math.sqrt(np.mean(np.square(before))) if len(before) else 0.0
        return _after_quiet(size, loud, max(noise, QUIET * peak), sample_rate)
    jump = _last_jump(size, loud, QUIET * peak, sample_rate)
    before = size[max(0, jump - round(PRE_ECHO * sample_rate)) : max(0, jump - round(JUMP_RISE * sample_rate))]
    quiet = max(QUIET * peak, before.max(initial=0.0))
    reached = size[jump : jump + round(JUMP_TIME * sample_rate) + 1]
    rise = 2 * int(np.argmax(reached >= reached.max() / 2))  # about as long as it took to come as far as the noise
    latest = max(0, jump - min(rise, round(JUMP_RISE * sample_rate)))
    return min(latest, _after_quiet(size, jump, quiet, sample_rate))


def _after_quiet(size: np.ndarray, end: int, level: float, sample_rate: int) -> int:
    """The sample behind the last one before `end` that is no larger than `level`, at most `LOOK_BACK` before it."""
    first = max(0, end - round(LOOK_BACK * sample_rate))
    quiet = np.flatnonzero(size[first:end] <= level)
    return first + int(quiet[-1]) + 1 if len(quiet) else first


def _last_jump(size: np.ndarray, loud: int, floor: float, sample_rate: int) -> int:
    """The last sample before which all are `JUMP` times smaller than one that follows soon; `loud` if there is none.

    Args:
        size: Absolute values, `(time,)`.
        loud: Where to begin; a jump is at most `PRE_ECHO` later.
        floor: Smaller values count as large as this.
        sample_rate: Hz.
    """
    n_echo, n_soon = round(PRE_ECHO * sample_rate), round(JUMP_TIME * sample_rate) + 1
    first = max(0, loud - n_echo)
    part = size[first : loud + n_echo + n_soon]
    before = np.maximum.accumulate(np.append(floor, part))[:-1]
    soon = scipy.ndimage.maximum_filter1d(part, n_soon, origin=-(n_soon // 2), mode="constant")
    jumps = np.flatnonzero((soon >= JUMP * before)[: loud - first + n_echo + 1])
    return max(loud, first + int(jumps[-1])) if len(jumps) else loud


def resample(blocks: Iterable[np.ndarray], rate: int, sample_rate: int) -> np.ndarray:
    """A waveform at another rate, by the SoX resampler at its best quality, which bounds its work at any two rates.

    Up to 0.91 of half the lower rate nothing changes by more than 0.01 dB, nor is it delayed. From half the lower rate
    on everything is lowered by 140 dB and more.

    Args:
        blocks: The waveform, float64, `(time,)` each.
        rate: Its rate, Hz.
        sample_rate: The rate wanted, Hz.

    Returns:
        float64, `(time,)`.
    """
    return np.concatenate(list(resampled(blocks, rate, sample_rate)))


def resampled(blocks: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """The same block by block: blocks that together are the waveform at the other rate; some may be empty."""
    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float64", quality="VHQ")
    yield from map(stream.resample_chunk, blocks)
    yield stream.resample_chunk(np.zeros(0), last=True)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Refuse a file in words, whatever libsndfile, its codecs and its wrapper raise: nearly anything."""
    try:
        yield
    except RecordingError:
        raise
    except Exception as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"{name_of(path)}: cannot be read as audio: {reason or type(error).__name__}") from error


def _opened(path: Path, content: bytes | None) -> SoundFile:
    """A file, opened. soundfile encodes texts itself, and refuses names that are not UTF-8."""
    if content is not None:
        return SoundFile(io.BytesIO(content))
    return SoundFile(os.fsencode(path) if os.name == "posix" else path)


def _raw(path: Path, content: bytes | None) -> BinaryIO:
    """The bytes of a file, opened."""
    return path.open("rb") if content is None else io.BytesIO(content)


def _is_cut(file: SoundFile, path: Path, content: bytes | None) -> bool:
    """Whether an audio file ends before its samples do. Files that announce no length, such as streams, count as whole.

    libsndfile reads the samples that exist, and for most formats logs how many are missing.
    """
    if file.format == "FLAC" and file.frames < sys.maxsize:
        try:
            file.seek(file.frames - 1)
            return not len(file.read(1))
        except soundfile.SoundFileError:
            return True
    if file.format == "MP3":
        return _is_cut_mp3(path, content)
    if file.format == "OGG":  # it ends within a page; some writers do not mark the last page, but all complete it
        with _raw(path, content) as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - OGG_PAGE))
            _, found, page = opened.read().rpartition(b"OggS")
        n_segments = page[22] if len(page) > 22 else 0
        return bool(found) and len(page) < 23 + n_segments + sum(page[23 : 23 + n_segments])
    return any(int(found) < int(announced) < UNKNOWN_SIZE for announced, found in SHORTER.findall(file.extra_info))


def _is_cut_mp3(path: Path, content: bytes | None) -> bool:
    """Whether an MP3 is shorter than its first frame says."""
    with _raw(path, content) as file:
        header = MP3_SIZE.search(file.read(MP3_HEAD))
        size = file.seek(0, os.SEEK_END)
    return header is not None and size - header.start() < MP3_WHOLE * int.from_bytes(header[1])
