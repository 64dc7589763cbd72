"""Recordings as sounds like those of a dataset: mono, at its rate, from their onset on, of its duration.

What was done to a recording (channels joined, resampled, cut) is kept beside it as notes.
"""

import math
import re
import sys
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import numpy as np
import soundfile
import torch
from soundfile import SoundFile
from torchaudio.functional import resample as torchaudio_resample

from src.errors import ConfigError, NSMError

SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"}
)
SILENT = 1e-5  # peak below which a recording counts as silent, -100 dB full scale
ONSET = 0.01  # of the peak, -40 dB: a sound has begun before it reaches this level
QUIET = 1e-4  # of the peak, -80 dB: a sound has not begun before it reaches this level
RISE = 0.005  # s, that a sound may take from there to -40 dB
SHORTEST = 0.05  # s
MAX_SECONDS = 600.0  # read of a file
# torchaudio's settings for its best quality, after resampy's kaiser_best.
RESAMPLING = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}
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
    """A file that is no recording, or none that can be used."""


@dataclass(frozen=True)
class Recording:
    """A recording, ready for a network.

    Attributes:
        path: Its file.
        waveform: Mono, at the rate of the dataset, from the onset on, of the dataset's duration, float32, `(time,)`.
        onset: Where it begins in the file, s.
        duration: Length of the file, s.
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
    path = Path(audio).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.is_file() and entry.suffix.lower() in SUFFIXES)
        if not found:
            raise ConfigError(f"{path}: no audio file is in this directory ({', '.join(sorted(SUFFIXES))}).")
        return found
    matches = sorted(Path(name) for name in glob(str(path), recursive=True)) if has_magic(audio) else []
    found = [match for match in matches if match.is_file()]
    if not found:
        raise ConfigError(f"audio={audio}: there is no such file or directory (looked from {Path.cwd()}).")
    return found


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
    samples, rate = read_samples(path, MAX_SECONDS)
    mono = samples.mean(axis=1)
    peak = float(np.abs(mono).max(initial=0.0))
    if peak < SILENT:
        level = f"{20 * math.log10(peak):.0f} dB" if peak > 0 else "0, or -infinite dB,"
        raise RecordingError(f"{path}: is silent, its peak is {level} full scale.")
    onset = find_onset(mono, rate) - round(lead * rate)
    mono = np.pad(mono, (max(0, -onset), 0))
    onset = max(0, onset)
    if (len(mono) - onset) / rate < SHORTEST:
        raise RecordingError(
            f"{path}: is too short: {len(mono) / rate:.3f} s, of which {(len(mono) - onset) / rate:.3f} s sound; "
            f"{SHORTEST:g} s are needed."
        )
    n_samples = round(sample_rate * duration)
    sound = resample(mono[onset : onset + math.ceil((duration + SHORTEST) * rate)], rate, sample_rate)[:n_samples]
    left = (len(samples) - onset) / rate
    notes = {
        f"mean of {samples.shape[1]} channels": samples.shape[1] > 1,
        f"resampled from {rate:,} to {sample_rate:,} Hz": rate != sample_rate,
        f"holds nothing above {rate / 2:,.0f} Hz": rate < sample_rate,
        f"begins at {onset / rate:.3f} s": onset > RISE * rate,
        f"cut after {duration:g} s": left > duration * 1.001,
        f"{left:.3f} s long, the rest is silence": left < duration * 0.999,
    }
    waveform = np.pad(sound, (0, n_samples - len(sound))).astype(np.float32)
    valid = tuple(note for note, holds in notes.items() if holds)
    return Recording(path, waveform, onset / rate, len(samples) / rate, valid)


def find_onset(waveform: np.ndarray, sample_rate: int) -> int:
    """Sample at which a sound begins: where it rises above its beginning on the way to -40 dB of its peak.

    Samples more than 5 ms before that count as noise up to twice their root mean square, and samples below -80 dB of
    the peak as silence.

    Args:
        waveform: Not silent, `(time,)`.
        sample_rate: Hz.
    """
    size = np.abs(waveform)
    loud = int(np.argmax(size > ONSET * size.max()))
    before = size[: max(0, loud - round(RISE * sample_rate))]
    noise = 2 * np.sqrt(np.mean(np.square(before))) if len(before) else 0.0
    quiet = np.flatnonzero(size[:loud] <= max(noise, QUIET * size.max()))
    return int(quiet[-1]) + 1 if len(quiet) else 0


def resample(waveform: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """A waveform at another rate, by a windowed sinc (Smith, Digital Audio Resampling), float64, `(time,)`.

    Args:
        waveform: `(time,)`.
        rate: Its rate, Hz.
        sample_rate: The rate wanted, Hz.
    """
    if rate == sample_rate:
        return waveform
    return torchaudio_resample(torch.from_numpy(waveform), rate, sample_rate, **RESAMPLING).numpy()


def read_samples(path: Path, seconds: float) -> tuple[np.ndarray, int]:
    """The beginning of an audio file.

    Args:
        path: Anything that libsndfile reads.
        seconds: Length that is read at most, s.

    Returns:
        Samples, float64, `(time, channel)`, and their rate, Hz.

    Raises:
        RecordingError: If it is no audio, cut off anywhere, empty, or not finite.
    """
    try:
        if path.suffix.lower() == ".mp3" and _is_cut_mp3(path):  # before libmpg123 warns of it on standard error
            raise RecordingError(f"{path}: {CUT_OFF}")
        with soundfile.SoundFile(path) as file:
            samples = file.read(math.ceil(seconds * file.samplerate), dtype="float64", always_2d=True)
            rate = file.samplerate
            if _is_cut(file, path):
                raise RecordingError(f"{path}: {CUT_OFF}")
    except (soundfile.SoundFileError, OSError) as error:
        raise RecordingError(f"{path}: cannot be read as audio: {error}") from error
    if not len(samples):
        raise RecordingError(f"{path}: holds no samples, or its header says so.")
    if not np.isfinite(samples).all():
        raise RecordingError(f"{path}: holds samples that are not finite.")
    return samples, rate


def _is_cut(file: SoundFile, path: Path) -> bool:
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
        return _is_cut_mp3(path)
    if file.format == "OGG":  # it ends within a page; some writers do not mark the last page, but all complete it
        with path.open("rb") as opened:
            opened.seek(max(0, path.stat().st_size - OGG_PAGE))
            _, found, page = opened.read().rpartition(b"OggS")
        n_segments = page[22] if len(page) > 22 else 0
        return bool(found) and len(page) < 23 + n_segments + sum(page[23 : 23 + n_segments])
    return any(int(found) < int(announced) < UNKNOWN_SIZE for announced, found in SHORTER.findall(file.extra_info))


def _is_cut_mp3(path: Path) -> bool:
    """Whether an MP3 is shorter than its first frame says."""
    with path.open("rb") as file:
        header = MP3_SIZE.search(file.read(MP3_HEAD))
    return header is not None and path.stat().st_size - header.start() < MP3_WHOLE * int.from_bytes(header[1])
