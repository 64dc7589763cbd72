"""Packs Speech Commands, or sounds of its layout, as the field does: ten words, unknown and silence, or all words.

    python scripts/speech_commands.py speech_commands_v0.02
    python scripts/speech_commands.py speech_commands_v0.02 --test-set speech_commands_test_set_v0.02
    python scripts/speech_commands.py speech_commands_v0.02 --classes all

The files are chosen into a directory of links and a table, and scripts/to_vimh.py packs that. docs/words.md says how
unknown and silence are made.
"""

import argparse
import csv
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

from scripts import to_vimh  # noqa: E402
from src.errors import ConfigError  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.recordings import AudioFile, resample  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

TEN = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")  # the keywords of the 12 classes
UNKNOWN, SILENCE = "unknown", "silence"
NOISE = "_background_noise_"  # the corpus's folder of long recordings without words
LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}
OF_TEST_SET = {"_unknown_": UNKNOWN, "_silence_": SILENCE}  # its folders, where they have other names
TABLE = "files.csv"
SAMPLE_RATE = 16_000  # Hz
STRETCHES = {"train": (0, 80), "val": (80, 90), "test": (90, 100)}  # of each noise recording, percent
QUIETEST = -30.0  # dB: what a piece of silence is lowered by at the most
# 40 bands of windows of 30 ms, 10 ms apart, over a second.
PICTURE = (
    *("--sample-rate", str(SAMPLE_RATE), "--duration", "1", "--representation", "mel"),
    *("--set", "height=40", "--set", "width=100", "--set", "win_length=480", "--set", "n_fft=512"),
    *("--set", "hop_length=160", "--set", "mel.f_min=20"),
)


@dataclass(frozen=True)
class Spoken:
    """A file of the corpus, and what becomes of it.

    Attributes:
        source: The file.
        word: Its class.
        part: `train`, `val` or `test`.
        speaker: Who speaks.
    """

    source: Path
    word: str
    part: str
    speaker: str

    @property
    def name(self) -> str:
        """Of the link to it: what is unknown keeps its word in the name."""
        own = self.source.parent.name
        return f"{self.word}/{'' if self.word == own else f'{own}_'}{self.source.name}"


# ----- choosing


def read_corpus(directory: Path) -> list[Spoken]:
    """Every spoken file of the layout: a folder per word, `SPEAKER_nohash_N.wav`, and lists of validation and test.

    Raises:
        ConfigError: If the directory has another layout.
    """
    if missing := [name for name in LISTS.values() if not (directory / name).is_file()]:
        raise ConfigError(f"{directory}: has no {' and no '.join(missing)}; Speech Commands has both.")
    parts = {
        name: part
        for part, listed in LISTS.items()
        for name in (directory / listed).read_text(encoding="utf-8").split()
    }
    found = [
        Spoken(path, path.parent.name, parts.pop(f"{path.parent.name}/{path.name}", "train"), speaker_of(path))
        for path in sorted(directory.glob("[!_.]*/*.wav"))
    ]
    if parts:
        raise ConfigError(f"{directory}: its lists name {len(parts):,} files that are not there, such as {min(parts)}.")
    if not found:
        raise ConfigError(f"{directory}: holds no folders of words with .wav files.")
    return found


def speaker_of(path: Path) -> str:
    """Who speaks in a file, by its name."""
    return path.stem.partition("_nohash_")[0]


def read_test_set(directory: Path) -> list[Spoken]:
    """The official test set of the 12 classes: a folder per class.

    Raises:
        ConfigError: If it has other classes.
    """
    found = [
        Spoken(path, OF_TEST_SET.get(path.parent.name, path.parent.name), "test", speaker_of(path))
        for path in sorted(directory.glob("*/*.wav"))
    ]
    if (words := {spoken.word for spoken in found}) != {*TEN, UNKNOWN, SILENCE}:
        raise ConfigError(
            f"{directory}: has folders of {len(words)} classes; the test set of 12 classes has ten words, _unknown_ "
            "and _silence_."
        )
    return found


def twelve(corpus: Sequence[Spoken], seed: int) -> list[Spoken]:
    """The ten words, and of the others as many in each part as a word has there on average, as unknown.

    Which of them is decided by a number that name and seed make, so that it does not depend on the other files.

    Raises:
        ConfigError: If one of the ten is not there, or nothing else.
    """
    words = {spoken.word for spoken in corpus}
    if missing := [word for word in TEN if word not in words]:
        raise ConfigError(
            f"The corpus has no folder {', '.join(missing)}; 12 classes need the ten words {', '.join(TEN)}."
        )
    if words == {*TEN}:
        raise ConfigError("The corpus has no words but the ten; unknown is made of others.")
    chosen = [spoken for spoken in corpus if spoken.word in TEN]
    for part in STRETCHES:
        others = [spoken for spoken in corpus if spoken.part == part and spoken.word not in TEN]
        others.sort(key=lambda spoken: number_of(f"{seed} {spoken.word}/{spoken.source.name}"))
        taken = others[: per_word(chosen, part)]
        chosen += [Spoken(spoken.source, UNKNOWN, part, spoken.speaker) for spoken in taken]
    return chosen


def per_word(chosen: Sequence[Spoken], part: str) -> int:
    """How many files of a part each of the ten words has on average."""
    return round(sum(spoken.part == part and spoken.word in TEN for spoken in chosen) / len(TEN))


def number_of(text: str) -> int:
    """A number that a text makes, the same everywhere."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:8])


# ----- silence


def silence(directory: Path, part: str, n_pieces: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Pieces of a second out of the noise recordings, each of them lowered by a random number of decibels.

    Each part has a stretch of every recording for itself.

    Yields:
        Name, which begins with that of the recording and the part, and samples, `(time,)`.

    Raises:
        ConfigError: If there are no recordings, or they are too short.
    """
    paths = sorted((directory / NOISE).glob("*.wav"))
    if not paths:
        raise ConfigError(f"{directory / NOISE}: holds no recordings, which silence is made of.")
    stretches = [stretch_of(path, part) for path in paths]
    for number in range(n_pieces):
        rng = np.random.default_rng([seed, number_of(part), number])
        which = rng.integers(len(paths))
        noise, level = stretches[which], rng.uniform(QUIETEST, 0.0)
        start = rng.integers(len(noise) - SAMPLE_RATE + 1)
        piece = noise[start : start + SAMPLE_RATE] * 10 ** (level / 20)
        yield f"{SILENCE}/{paths[which].stem}-{part}_nohash_{number}.wav", piece


def stretch_of(path: Path, part: str) -> np.ndarray:
    """What belongs to a part of a noise recording, `(time,)`."""
    audio = AudioFile.open(path)
    noise = resample(audio.blocks(0, sys.maxsize), audio.sample_rate, SAMPLE_RATE)
    first, last = (percent * len(noise) // 100 for percent in STRETCHES[part])
    if last - first < SAMPLE_RATE:
        least = 100 // min(end - start for start, end in STRETCHES.values())
        raise ConfigError(
            f"{path}: lasts {len(noise) / SAMPLE_RATE:.1f} s; a recording for silence must last {least} s, so that "
            "each part has a second of its own."
        )
    return noise[first:last]


# ----- the directory


def choose(directory: Path, output: Path, classes: str, test_set: Path | None, seed: int) -> None:
    """Make the directory that is packed: links to the chosen files, pieces of silence, and the table of all.

    Args:
        directory: The corpus.
        output: The directory to make; it appears when it is complete.
        classes: `12` or `all`.
        test_set: The official test set of the 12 classes, which then replaces what the corpus's list has.
        seed: Chooses what is unknown, and cuts silence.

    Raises:
        ConfigError: If the corpus is not what it must be.
    """
    corpus = read_corpus(directory)
    chosen = corpus if classes == "all" else twelve(corpus, seed)
    counts = {} if classes == "all" else {part: per_word(chosen, part) for part in STRETCHES}
    if test_set is not None:
        chosen = [spoken for spoken in chosen if spoken.part != "test"] + read_test_set(test_set)
        counts.pop("test")
    output.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        rows = [(spoken.name, spoken.word, spoken.part, spoken.speaker) for spoken in chosen]
        for spoken in chosen:
            link(spoken.source, new / spoken.name)
        for part, n_pieces in counts.items():
            for name, piece in silence(directory, part, n_pieces, seed):
                (new / name).parent.mkdir(exist_ok=True)
                soundfile.write(new / name, piece, SAMPLE_RATE, subtype="PCM_16")
                rows.append((name, SILENCE, part, speaker_of(Path(name))))
        with (new / TABLE).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("file", "word", "split", "speaker"), *rows])
        new.rename(output)
    except BaseException:
        shutil.rmtree(new)
        raise


def link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file systems differ."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="CORPUS")
    parser.add_argument("--classes", choices=("12", "all"), default="12", help="default: 12")
    parser.add_argument("--test-set", type=Path, metavar="DIR", help="the official test set of the 12 classes")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the dataset; default: data/speech_commands_CLASSES")
    parser.add_argument("--files", type=Path, metavar="DIR", help="the chosen files; default: beside the dataset")
    parser.add_argument("--seed", type=int, default=42, help="of what is chosen as unknown and silence; default 42")
    options = parser.parse_args(argv)
    options.output = options.output or ROOT / "data" / f"speech_commands_{options.classes}"
    options.files = options.files or options.output.with_name(f"{options.output.name}_files")
    if options.test_set is not None and options.classes != "12":
        parser.error("--test-set is for 12 classes.")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Choose files unless that was done, and pack them; returns the exit code."""
    prepare_streams()
    options = arguments(argv)
    if options.files.exists():
        say(f"The chosen files are in {options.files} already; delete it to choose again.")
    else:
        choose(options.directory, options.files, options.classes, options.test_set, options.seed)
    packing = ["audio", str(options.files), "--csv", str(options.files / TABLE), "--labels", "word"]
    packing += ["--group-by", "speaker", *PICTURE, "--name", "speech_commands", "--output", str(options.output)]
    return to_vimh.main(packing)


if __name__ == "__main__":
    sys.exit(reporting(main))
