"""Has espeak-ng speak a set of the layout of Speech Commands, trains the networks for words on it, and tabulates.

    python scripts/words.py [--takes 2] [--only REGEX] [--list] [--table]
    python scripts/words.py --speak DIR [--takes 1] [--words yes,no,up]

Without `--speak`, sounds go to data/words and datasets beside it; a training that is in docs/results/words.json is not
repeated: delete its entry to measure it again. `docs/words.md` is written after each. What is there already is kept.
"""

import argparse
import hashlib
import io
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

from scripts import speech_commands  # noqa: E402
from scripts.pages import added, read_json, table, write_between  # noqa: E402
from scripts.setups import QUIET, results_of  # noqa: E402
from scripts.speech_commands import LISTS, NOISE, SAMPLE_RATE, TEN, number_of  # noqa: E402
from src.errors import ConfigError, NSMError, check_number  # noqa: E402
from src.files import write_atomically  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.programs.output import console, progress  # noqa: E402
from src.recordings import resample  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

RESULTS = ROOT / "docs" / "results" / "words.json"
PAGE = ROOT / "docs" / "words.md"
MARKS = "<!-- words: made by scripts/words.py -->\n", "<!-- end of words -->\n"

ESPEAK = "espeak-ng"
PROCESS_TIMEOUT = 60  # s, of one word: a synthesizer that hangs ends
OTHERS = (
    *("backward", "bed", "bird", "cat", "dog", "eight", "five", "follow", "forward", "four", "happy", "house"),
    *("learn", "marvin", "nine", "one", "seven", "sheila", "six", "three", "tree", "two", "visual", "wow", "zero"),
)
WORDS = (*TEN, *OTHERS)  # the 35 words of the second version of Speech Commands
BRITISH = ("en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp")
ACCENTS = (*BRITISH, "en-029", "en-us", "en-us-nyc")
VARIANT = re.compile(r"!v/(.+?)\s*(?:\(.*\))?\s*$")  # in a line of `espeak-ng --voices=variant`
SINGLE = ("f", "m")  # families of one voice each: female1, male1 and so on
ALIKE = {"anikarobot": "anika", "anxiousandy": "andy", "whisperf": "whisper"}  # families made out of others
SHARES = {"val": 10, "test": 30}  # percentages below which a family belongs to a part, the rest trains
SPEED = 130, 220  # words a minute
PITCH = 20, 80  # of espeak-ng's 0 to 99
LEVEL = -20.0, -1.0  # dB full scale, of the peak
FLOOR = -60.0, -25.0  # dB, of pink noise to the peak
COLORS = {"white": 0, "pink": 1, "brown": 2}  # of the noise recordings: power falls with this power of the frequency
NOISE_SECONDS = 60

MODELS = {"bc_resnet_5k": "BC-ResNet-0.625", "bc_resnet_9k": "BC-ResNet-1"}
CLASSES = {"12": 12, "all": len(WORDS)}
SEEDS = 42, 1, 2
# What is changed of the recipe: the set is a fortieth of the corpus, so that steps must be small and many.
SHORT = (
    *("data.batch_size=32", "model.optimizer._target_=torch.optim.AdamW", "~model.optimizer.momentum"),
    *("model.optimizer.lr=0.01", "model.optimizer.weight_decay=0.01", "model.scheduler.warmup=0.1"),
)


# ----- voices


@dataclass(frozen=True)
class Voice:
    """Who speaks: a variant of espeak-ng's voice with one of its English accents.

    Attributes:
        variant: As espeak-ng names it.
        accent: One of `ACCENTS`.
        part: `train`, `val` or `test`, the same for all variants of a family.
    """

    variant: str
    accent: str
    part: str

    @property
    def speaker(self) -> str:
        """Eight digits, as in the corpus."""
        return hashlib.sha256(self.variant.encode()).hexdigest()[:8]

    @classmethod
    def of(cls, variant: str) -> "Voice":
        """A variant with the accent and the part that its name decides."""
        share = number_of(family_of(variant)) % 100
        part = next((part for part, limit in SHARES.items() if share < limit), "train")
        return cls(variant, ACCENTS[number_of(f"accent {variant}") % len(ACCENTS)], part)


def family_of(variant: str) -> str:
    """What variants have in common that one author made out of each other: the name without a number at its end."""
    family = re.sub(r"[\d ]+$", "", variant).lower()
    return variant if family in SINGLE else ALIKE.get(family, family)


def voices() -> list[Voice]:
    """The variants that differ in what they say, in the order of their names.

    Raises:
        NSMError: If espeak-ng is not installed.
    """
    listed = run_espeak("--voices=variant").decode(errors="replace").splitlines()
    variants = sorted({match[1] for line in listed if (match := VARIANT.search(line))})
    with ThreadPoolExecutor() as pool:
        said = pool.map(lambda variant: run_espeak("-v", f"en-us+{variant}", "--stdout", TEN[0]), variants)
        first = {sound: variant for variant, sound in reversed(list(zip(variants, said, strict=True)))}
    return [Voice.of(variant) for variant in sorted(first.values())]


def run_espeak(*options: str) -> bytes:
    """What espeak-ng writes to its standard output.

    Raises:
        NSMError: If it is not installed, or fails.
    """
    if which(ESPEAK) is None:
        raise NSMError(
            f"{ESPEAK} is not installed, which speaks the words. Install its package of this name: apt-get install "
            f"{ESPEAK} (Debian), brew install {ESPEAK} (macOS)."
        )
    done = subprocess.run([ESPEAK, *options], capture_output=True, timeout=PROCESS_TIMEOUT, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise NSMError(f"{ESPEAK} {' '.join(options)} failed with exit code {done.returncode}: {reason}")
    return done.stdout


# ----- sounds


def speak(directory: Path, takes: int, words: Sequence[str] = WORDS) -> None:
    """Speak what is missing of a set, write its lists, and its noise recordings.

    Args:
        directory: Of the set.
        takes: How often each voice says each word.
        words: What is said.
    """
    speakers = voices()
    wanted = [(voice, word, take) for word in words for voice in speakers for take in range(takes)]
    missing = [entry for entry in wanted if not (directory / path_of(*entry)).is_file()]
    for word in words:
        (directory / word).mkdir(parents=True, exist_ok=True)
    with progress(len(missing), "Speaking", "sounds") as advance, ThreadPoolExecutor() as pool:
        for _ in pool.map(partial(say_word, directory), *zip(*missing, strict=True)) if missing else ():
            advance(1)
    (directory / NOISE).mkdir(exist_ok=True)
    for name, exponent in COLORS.items():
        path = directory / NOISE / f"{name}_noise.wav"
        if not path.is_file():
            noise = colored(np.random.default_rng(number_of(name)), NOISE_SECONDS * SAMPLE_RATE, exponent)
            write_atomically(path, as_wav(0.5 * noise / np.abs(noise).max()))
    for part, name in LISTS.items():
        listed = sorted(path_of(*entry) for entry in wanted if entry[0].part == part)
        write_atomically(directory / name, "".join(f"{path}\n" for path in listed).encode())


def path_of(voice: Voice, word: str, take: int) -> str:
    """Name of a sound in its set, as the corpus names them."""
    return f"{word}/{voice.speaker}_nohash_{take}.wav"


def say_word(directory: Path, voice: Voice, word: str, take: int) -> None:
    """Write a sound of a second: the word at a speed, pitch, level and place that the name of its file decides."""
    path = path_of(voice, word, take)
    rng = np.random.default_rng(number_of(path))
    speed, pitch = (round(rng.uniform(*limits)) for limits in (SPEED, PITCH))
    settings = ("-v", f"{voice.accent}+{voice.variant}", "-z", "-s", str(speed), "-p", str(pitch))
    spoken, rate = soundfile.read(io.BytesIO(run_espeak(*settings, "--stdout", word)))
    write_atomically(directory / path, as_wav(placed(resample([spoken], rate, SAMPLE_RATE), rng)))


def placed(spoken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A word somewhere within a second, at some level, over a floor of noise; what is longer is cut, `(time,)`."""
    spoken = spoken[:SAMPLE_RATE]
    start = rng.integers(SAMPLE_RATE - len(spoken) + 1)
    level, floor = (10 ** (rng.uniform(*limits) / 20) for limits in (LEVEL, FLOOR))
    sound = np.pad(spoken, (start, SAMPLE_RATE - len(spoken) - start))
    sound = sound / max(np.abs(sound).max(), 1e-9) + floor * colored(rng, SAMPLE_RATE, 1)
    return sound * level / max(1.0, np.abs(sound).max())


def colored(rng: np.random.Generator, n_samples: int, exponent: float) -> np.ndarray:
    """Noise of power 1, whose power falls with a power of the frequency above 20 Hz, `(time,)`."""
    frequency = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples)) * np.maximum(frequency, 20.0) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, n_samples)
    return noise / noise.std()


def as_wav(sound: np.ndarray) -> bytes:
    """A WAV file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, sound, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


# ----- trainings


@dataclass(frozen=True)
class Cell:
    """A training.

    Attributes:
        classes: A key of `CLASSES`.
        model: A key of `MODELS`.
        seed: Of the training.
        is_renewed: Whether each sound is shifted and noisy in another way in every epoch, as the experiment has it.
    """

    classes: str
    model: str
    seed: int
    is_renewed: bool = False

    @property
    def key(self) -> str:
        """Unique among the cells."""
        return f"{self.classes}, {self.model}, seed {self.seed}" + ", perturbed" * self.is_renewed


def cells() -> Iterator[Cell]:
    """All trainings, in the order in which they are run."""
    for classes in CLASSES:
        for is_renewed in (False, True):
            for seed in SEEDS:
                for model in MODELS:
                    yield Cell(classes, model, seed, is_renewed)


def measure(cell: Cell, sounds: Path, data_root: Path, epochs: int) -> dict[str, Any]:
    """Pack the sounds unless that was done, train, and test on voices that were never trained on."""
    data_dir = data_root / f"{sounds.name}_{cell.classes}"
    packing = [str(sounds), "--classes", cell.classes, "--output", str(data_dir)]
    if not data_dir.exists() and speech_commands.main(packing):
        raise NSMError(f"{sounds} could not be packed.")
    overrides = ["experiment=speech_commands", f"model={cell.model}", f"data.data_dir={quoted(str(data_dir))}"]
    overrides += [f"seed={cell.seed}", f"trainer.max_epochs={epochs}", "threads=1", *SHORT]
    overrides += [] if cell.is_renewed else ["perturb=none", "data.recordings=null"]
    results, spent = results_of(f"words/{cell.key}", "src/train.py", *overrides, *QUIET)
    return {
        "seconds": round(spent.core, 1),
        "epochs": epochs,
        "training_sounds": results["training_samples"],
        "test_sounds": sum(map(sum, results["heads"]["word"]["confusion"])),
        "parameters": results["parameters"],
        "metrics": {name: round(figure, 5) for name, figure in results["metrics"].items()},
    }


# ----- the page


def tables(results: Mapping[str, Any]) -> str:
    """A row for each network, number of classes and kind of training: mean and spread over the seeds."""
    columns = (
        "classes",
        "network",
        "training sounds",
        "weights",
        "accuracy",
        "balanced accuracy",
        "seeds",
        "core minutes a training",
    )
    rows = []
    for classes, n_classes in CLASSES.items():
        for model, name in MODELS.items():
            for is_renewed, sounds in ((False, "as spoken"), (True, "perturbed anew")):
                keys = [Cell(classes, model, seed, is_renewed).key for seed in SEEDS]
                runs = [results[key] for key in keys if key in results]
                rows.append((str(n_classes), f"`{model}` ({name})", sounds, *figures(runs)))
    return "\n".join([*sizes(results), *table(columns, rows), ""])


def figures(runs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Cells of a row."""
    if not runs:
        return ("", "not measured yet", "not measured yet", "0", "")
    return (
        f"{runs[0]['parameters']:,}",
        *(spread([run["metrics"][f"test/{name}"] for run in runs]) for name in ("acc", "balanced_acc")),
        str(len(runs)),
        f"{statistics.fmean(run['seconds'] for run in runs) / 60:.1f}",
    )


def spread(shares: Sequence[float]) -> str:
    """Mean and standard deviation, percent."""
    deviation = f" ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * statistics.fmean(shares):.1f}{deviation}"


def sizes(results: Mapping[str, Any]) -> list[str]:
    """How many sounds there were, a line for each number of classes."""
    lines = []
    for classes, n_classes in CLASSES.items():
        run = next((results[cell.key] for cell in cells() if cell.classes == classes and cell.key in results), None)
        if run is not None:
            lines.append(
                f"{n_classes} classes: {run['training_sounds']:,} training sounds, {run['test_sounds']:,} test sounds, "
                f"{run['epochs']} epochs."
            )
    return [*lines, ""] if lines else []


def write_page(results: Mapping[str, Any], page: Path = PAGE) -> None:
    """Write the tables into the page."""
    write_between(MARKS, tables(results), page)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speak", type=Path, metavar="DIR", help="only speak, into this directory")
    parser.add_argument("--takes", type=int, default=2, help="how often each voice says each word; default 2")
    parser.add_argument("--words", type=lambda text: text.split(","), default=WORDS, metavar="A,B", help="to speak")
    parser.add_argument("--epochs", type=int, default=16, help="of each training; default 16")
    parser.add_argument("--only", default="", metavar="REGEX", help="trainings whose names it matches")
    parser.add_argument("--list", action="store_true", help="list the trainings")
    parser.add_argument("--table", action="store_true", help="only write the page from the results")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    check_number("--takes", options.takes, whole=True, least=1)
    check_number("--epochs", options.epochs, whole=True, least=1)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Speak, pack, train, tabulate; returns the exit code."""
    prepare_streams()
    options = arguments(argv)
    if unknown := [word for word in options.words if word not in WORDS]:
        raise ConfigError(f"--words {','.join(unknown)}: the words of Speech Commands are {', '.join(WORDS)}.")
    if options.speak is not None:
        speak(options.speak, options.takes, options.words)
        say(options.speak)
        return 0
    results = read_json(options.results)
    wanted = [cell for cell in cells() if re.search(options.only, cell.key)]
    if options.list:
        say(*(f"{cell.key}{', measured' * (cell.key in results)}" for cell in wanted))
        return 0
    missing = [] if options.table else [cell for cell in wanted if cell.key not in results]
    sounds = options.data / "words"
    if missing:
        speak(sounds, options.takes)
    for cell in missing:
        console().print(f"{cell.key} …")
        with added({cell.key: measure(cell, sounds, options.data, options.epochs)}, options.results) as results:
            if options.results == RESULTS:
                write_page(results)
    if options.results == RESULTS:
        write_page(results)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
