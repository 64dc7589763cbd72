"""Odd recordings: formats, rates, channels, levels, lengths, damage and names in any combination, from a seed.

    for path, expected in odd_recordings(directory, seed=0, n=200):
        ...

A program that reads recordings reads those marked `read` and names those marked `skipped`; of the others it may do
either. It never ends for any of them.
"""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

Expected = Literal["read", "skipped"] | None

# Format and subtype, ending, and whether a sound survives in it for certain.
FORMATS = (
    *((("WAV", subtype), ".wav", True) for subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *((("WAV", subtype), ".wav", False) for subtype in ("PCM_U8", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
    (("WAVEX", "PCM_24"), ".wave", True),
    (("RF64", "PCM_16"), ".wav", True),
    (("AIFF", "PCM_24"), ".aiff", True),
    (("AIFF", "FLOAT"), ".aif", True),
    (("AU", "PCM_16"), ".au", True),
    (("AU", "DOUBLE"), ".au", True),
    (("CAF", "PCM_32"), ".caf", True),
    (("CAF", "ALAC_24"), ".caf", False),
    (("W64", "DOUBLE"), ".w64", True),
    (("FLAC", "PCM_16"), ".flac", True),
    (("FLAC", "PCM_24"), ".flac", True),
    (("OGG", "VORBIS"), ".ogg", True),
    (("OGG", "OPUS"), ".opus", True),
    (("MP3", "MPEG_LAYER_III"), ".mp3", True),
    *((pair, ".wav", False) for pair in (("VOC", "PCM_16"), ("NIST", "PCM_16"), ("IRCAM", "FLOAT"), ("PAF", "PCM_24"))),
    *((pair, ".wav", False) for pair in (("MAT5", "DOUBLE"), ("SVX", "PCM_16"), ("AVR", "PCM_16"), ("HTK", "PCM_16"))),
)
# Hz; some share no factor with any other, or belong to nothing that was ever built.
RATES = (8000, 11025, 16000, 22050, 22254, 32000, 44100, 44101, 48000, 96001, 192000)
ODD_RATES = (1, 7, 100, 999, 4001, 7919, 655_350, 999_983, 9_999_991, 2_147_483_647)
LOSSY_RATES = (8000, 16000, 24000, 48000)
CHANNELS = (1, 1, 1, 2, 2, 3, 5, 8, 64)
LEVELS = (1e-2, 0.1, 0.5, 1.0, 4.0)
MOST_VALUES = 2_000_000  # of all channels together
TEXTS = (
    *("plain", "a b", "ends with blank ", "-dash", "--peak", "a=b", "a,b;c", "a'b", 'a"b', "{x}", "(1)", "[1]", "[b]"),
    *(
        "[bold red]x",
        "${oc.env:HOME}",
        "$HOME",
        "%s%n",
        "a\\b",
        "C:\\x",
        "#",
        "~",
        "*",
        "?",
        "a\nb",
        "a\tb",
        "\x1b[31m",
    ),
    *("\x7f", "\x85", "<script>alert(1)<br>", "&amp;", "=1+1", "@x", "null", "Grüße", "e\u0301", "日本\u3000語"),
    *("🎹", "👩\u200d🎤", "\u202egnp", "\ufeffbom", "\u2028", "x" * 230, "é" * 100, ".hidden", "...", "a.wav"),
)
BYTES = (b"\xff", b"caf\xe9", b"\xc3(", b"\xed\xa0\x80", b"a\x80\x0ab")  # not UTF-8


def odd_recordings(directory: Path, seed: int, n: int) -> list[tuple[Path, Expected]]:
    """Write odd recordings to a directory.

    Args:
        directory: Made where it is missing.
        seed: The same seed makes the same files.
        n: How many.

    Returns:
        Each with what a program does to it: `read`, `skipped`, or None for either.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        kind = _pick(rng, KINDS)
        content, ending, expected = kind(rng, directory)
        name = os.fsencode(f"{number:04d} ") + _text(rng) + os.fsencode(ending)
        path = Path(os.fsdecode(name))
        (directory / path).write_bytes(content)
        found.append((directory / path, expected))
    return found


def _text(rng: np.random.Generator) -> bytes:
    texts = (*(os.fsencode(text) for text in TEXTS), *BYTES)
    return texts[rng.integers(len(texts))]


def _pick(rng: np.random.Generator, choices):
    return choices[rng.integers(len(choices))]


def _sound(rng: np.random.Generator, rate: int, seconds: float, n_channels: int) -> np.ndarray:
    """Silence, then a decaying sound well below half of 8 kHz, peak 1, `(time, channel)`."""
    n_samples = int(max(16, min(seconds * rate, MOST_VALUES // n_channels)))
    silence = round(n_samples * rng.choice([0.0, 0.0, 0.2]))
    time = np.arange(n_samples - silence) / rate
    f0 = min(rng.uniform(100, 2000), rate / 5)
    tone = np.cos(2 * np.pi * f0 * time) * np.exp(-time / rng.uniform(0.1, 1.0))
    mono = np.concatenate([np.zeros(silence), tone]) / np.abs(tone).max()
    return np.repeat(mono[:, None], n_channels, axis=1)


def _encode(samples: np.ndarray, rate: int, form: tuple[str, str], directory: Path) -> bytes:
    """A sound as the bytes of a file, by way of one: not every format goes into memory."""
    path = directory / ".making"
    try:
        soundfile.write(path, samples, rate, format=form[0], subtype=form[1])
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def _whole(rng: np.random.Generator, directory: Path) -> tuple[bytes, str, Expected]:
    """A sound in a format, at a rate, with a number of channels and at a level."""
    form, ending, is_certain = _pick(rng, FORMATS)
    lossy = form[1] in ("VORBIS", "OPUS", "MPEG_LAYER_III")
    rate = _pick(rng, LOSSY_RATES if lossy else RATES)
    n_channels = _pick(rng, (1, 2) if lossy else CHANNELS)
    samples = _pick(rng, LEVELS) * _sound(rng, rate, rng.uniform(0.3, 3.0), n_channels)
    try:
        return _encode(samples, rate, form, directory), ending, "read" if is_certain else None
    except (soundfile.SoundFileError, ValueError):  # a format that does not take so many channels, or this rate
        return _encode(samples, rate, ("WAV", "FLOAT"), directory), ".wav", "read"


def _odd_rate(rng: np.random.Generator, directory: Path) -> tuple[bytes, str, Expected]:
    """A rate that shares no factor with others, is far off, or is the highest that a header can say."""
    rate = _pick(rng, ODD_RATES)
    samples = _sound(rng, min(rate, 10**7), rng.uniform(0.1, 1.0), _pick(rng, (1, 2)))
    expected = "skipped" if rate > 10**7 else "read" if rate > 999 else None
    return _encode(samples, rate, ("WAV", "PCM_16"), directory), ".wav", expected


def _level(rng: np.random.Generator, directory: Path) -> tuple[bytes, str, Expected]:
    """Levels from silence to what no number of 32 bits can hold."""
    level, expected = _pick(
        rng,
        [(0.0, "skipped"), (1e-8, "skipped"), (1e-310, "skipped"), (1e4, "read"), (2.0**31, "read"), (1e20, "skipped"),
         (1e38, "skipped"), (1e300, "skipped"), (1.7e308, "skipped"), (np.inf, "skipped"), (np.nan, "skipped")],
    )  # fmt: skip
    samples = _sound(rng, 16000, 1.0, _pick(rng, (1, 2, 5)))
    with np.errstate(invalid="ignore"):
        samples = samples * level if np.isfinite(level) else np.where(samples > 0.5, level, samples)
    form = _pick(rng, (("WAV", "DOUBLE"), ("AU", "DOUBLE"), ("W64", "DOUBLE")))
    return _encode(samples, 16000, form, directory), ".wav", expected


def _length(rng: np.random.Generator, directory: Path) -> tuple[bytes, str, Expected]:
    """From no sample to just enough of them."""
    n_samples = int(_pick(rng, (0, 1, 2, 100, 340, 480, 2000)))
    samples = np.cos(2 * np.pi * 440 * np.arange(n_samples) / 8000)
    return _encode(samples, 8000, ("WAV", "PCM_16"), directory), ".wav", "read" if n_samples > 400 else "skipped"


def _nothing_to_hear(rng: np.random.Generator, directory: Path) -> tuple[bytes, str, Expected]:
    """Channels that cancel each other, sounds that the network's rate cannot hold, constants, clicks."""
    time = np.arange(96000) / 96000
    tone = np.cos(2 * np.pi * 440 * time)
    click = np.zeros(96000)
    click[48000] = 1.0
    samples, expected = _pick(
        rng,
        [(np.stack([tone, -tone], axis=1), "skipped"), (np.cos(2 * np.pi * 40000 * time), None),
         (np.full(96000, 0.5), None), (click, None)],
    )  # fmt: skip
    return _encode(samples, 96000, ("WAV", "FLOAT"), directory), ".wav", expected


def _cut(rng: np.random.Generator, directory: Path) -> tuple[bytes, str, Expected]:
    """A file that ends too early."""
    form, ending, _ = _pick(rng, [entry for entry in FORMATS if entry[2]])
    content = _encode(0.5 * _sound(rng, 16000, 2.0, 2), 16000, form, directory)
    return content[: round(rng.uniform(0.0, 0.9) * len(content))], ending, "skipped"


def _damaged(rng: np.random.Generator, directory: Path) -> tuple[bytes, str, Expected]:
    """Bytes that were changed, in the header mostly."""
    form, ending, _ = _pick(rng, FORMATS)
    content = bytearray(_encode(0.5 * _sound(rng, 16000, 1.0, 1), 16000, form, directory))
    reach = _pick(rng, (64, 200, len(content)))
    for place in rng.integers(min(reach, len(content)), size=rng.integers(1, 9)):
        content[place] = rng.integers(256)
    return bytes(content), ending, None


def _foreign(rng: np.random.Generator, directory: Path) -> tuple[bytes, str, Expected]:
    """What is no recording, under the name of one."""
    content = _pick(
        rng,
        [b"", b"\x00" * 5000, b"no sound\n" * 100, rng.bytes(5000), b"RIFF\xff\xff\xff\xffWAVEfmt ", b"OggS" * 300,
         b"\x89PNG\r\n\x1a\n" + rng.bytes(500), b"fLaC" + rng.bytes(300), b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", b"FORM"],
    )  # fmt: skip
    ending = _pick(rng, (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".caf", ".opus"))
    return content, ending, "skipped"


KINDS = (_whole, _odd_rate, _whole, _level, _damaged, _cut, _whole, _foreign, _length, _nothing_to_hear)
