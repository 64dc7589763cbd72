"""Packs other data into a VIMH dataset.

    python scripts/to_vimh.py images PICTURES                      a folder per class
    python scripts/to_vimh.py images PICTURES --csv labels.csv --number angle=5,0,355 --units angle=degrees
    python scripts/to_vimh.py idx MNIST --label digit
    python scripts/to_vimh.py cifar cifar-10-batches-bin
    python scripts/to_vimh.py audio SOUNDS --sample-rate 16000 --duration 1 --representation mel --set height=64

docs/to_vimh.md explains everything.
"""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from hydra import compose  # noqa: E402
from hydra.errors import HydraException, InstantiationException  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from omegaconf.errors import OmegaConfBaseException  # noqa: E402

from src import recordings  # noqa: E402
from src.errors import ConfigError, NSMError, check_number  # noqa: E402
from src.hydra_versions import initialize_configs, instantiate  # noqa: E402
from src.params import ParamSpec  # noqa: E402
from src.programs.command_line import OptionParser, config_names  # noqa: E402
from src.programs.explain import find_cause  # noqa: E402
from src.programs.old_names import answer_to_old_name  # noqa: E402
from src.programs.output import progress  # noqa: E402
from src.spectral.representation import Representation  # noqa: E402
from src.text import complain, name_of, prepare_streams, say  # noqa: E402
from src.vimh import convert, pictures  # noqa: E402
from src.vimh.convert import About, Choices, DamagedFileError, LabelGrid, Part, SampleBatch  # noqa: E402

MARGIN = 0.05  # s, that resampling is given beyond the end
HIGHEST_LEVEL = 40.0  # dB full scale; what is louder was never scaled
LONGEST = 2**26  # samples of a sound: 20 minutes at 55 kHz
SECTIONS = ("representation", "channels")  # of a configuration: what makes images of sounds
NO_SETTINGS = ("_target_", "sample_rate", "duration")  # of a representation: options of their own say these

Converted = tuple[About, list[Part]]


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    common = OptionParser(add_help=False)
    common.add_argument("directory", type=Path, metavar="DIR")
    common.add_argument("--output", type=Path, metavar="DIR", help="the dataset's directory; default: named in data/")
    common.add_argument("--name", help="short name of the set, part of the directory's; default: that of DIR")
    common.add_argument("--seed", type=int, default=42, help="of the division into training and test; default 42")
    common.add_argument("--test-fraction", type=float, default=0.2, metavar="SHARE", help="default 0.2")
    common.add_argument("--strict", action="store_true", help="stop at a damaged file, rather than leave it out")

    pairs = {"type": pair, "action": "append", "default": []}
    labels = OptionParser(add_help=False)
    labels.add_argument("--csv", type=Path, metavar="FILE", help="file names and labels; default: folders are classes")
    labels.add_argument("--labels", type=lambda text: text.split(","), default=[], metavar="A,B", help="columns to use")
    a_number = "a label that is a number; the others are categories"
    labels.add_argument("--number", **pairs, metavar="NAME=STEP[,MIN,MAX]", help=a_number)
    labels.add_argument("--units", **pairs, metavar="NAME=UNITS", help="of a number")

    label = OptionParser(add_help=False)
    label.add_argument("--label", default="label", help="name of the label where nothing else names it")

    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    parents = [common, labels, label]
    images = kinds.add_parser("images", parents=parents, help="image files, labelled by folders or a CSV")
    idx = kinds.add_parser("idx", parents=[common, label], help="MNIST's IDX files, plain or .gz")
    kinds.add_parser("cifar", parents=[common], help="the binary files of CIFAR-10 or CIFAR-100")
    audio = kinds.add_parser("audio", parents=parents, help="audio files, labelled by folders or a CSV")
    idx.add_argument("--names", type=Path, metavar="FILE", help="names of the labels 0, 1, …, a line each")
    images.add_argument("--resize", type=size, metavar="HxW", help="make all of this many rows and columns")
    images.add_argument("--color", choices=("auto", "grey", "rgb"), default="auto", help="default: as they are")
    audio.add_argument("--sample-rate", type=int, required=True, metavar="HZ")
    audio.add_argument("--duration", type=float, required=True, metavar="S", help="longer ones are cut, others padded")
    audio.add_argument("--representation", default="stft", metavar="NAME", help="of configs/representation")
    audio.add_argument("--channels", default="", metavar="A,B", help="beside the spectrogram, of configs/channels")
    audio.add_argument("--spectral", help=argparse.SUPPRESS)  # the old name of both
    a_setting = "a setting, such as height=64 or channels.windows.max_db=-20"
    audio.add_argument("--set", **pairs, metavar="NAME=VALUE", help=a_setting)
    return parser.parse_args(argv)


def pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE`, taken apart."""
    name, equals, value = name_of(text).partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def size(text: str) -> tuple[int, int]:
    """`HxW` as height and width."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 32x32")
    return int(match[1]), int(match[2])


def labelled(
    options: argparse.Namespace, suffixes: frozenset[str], load: Callable[[Path, np.ndarray], SampleBatch]
) -> tuple[tuple[ParamSpec, ...], list[Part]]:
    """The chosen files: the parameters that their labels become, and how each is read with its values."""
    if options.csv is not None:
        files = convert.files_of_table(options.directory, options.csv, options.labels)
    elif options.labels:
        raise ConfigError("--labels names columns of a CSV: give --csv as well.")
    else:
        files = convert.files_of_folders(options.directory, suffixes, options.label)
    grids = {name: LabelGrid.parse(text) for name, text in options.number}
    specs, values = convert.parameters_of(files, grids, dict(options.units))
    parts = [Part(str(path), partial(load, path, value)) for path, value in zip(files.paths, values, strict=True)]
    return specs, parts


def convert_images(options: argparse.Namespace) -> Converted:
    """A directory of image files."""
    form = pictures.PictureFormat(options.color, options.resize)
    specs, parts = labelled(options, pictures.SUFFIXES, lambda *file: pictures.load_picture(*file, form))
    return About(set_name(options), specs, pictures.picture_keys, {"kind": "images"}), parts


def convert_idx(options: argparse.Namespace) -> Converted:
    """MNIST, and what comes in the same files."""
    names = None if options.names is None else pictures.read_names(options.names)
    spec, parts = pictures.idx_set(options.directory, options.label, names)
    return About(set_name(options), (spec,), pictures.picture_keys, {"kind": "idx"}), parts


def convert_cifar(options: argparse.Namespace) -> Converted:
    """CIFAR-10 or CIFAR-100."""
    name, specs, parts = pictures.cifar_set(options.directory)
    return About(set_name(options, name), specs, pictures.picture_keys, {"kind": name}), parts


def convert_audio(options: argparse.Namespace) -> Converted:
    """A directory of audio files."""
    config = image_config(options)
    representation = make_representation(config)
    n_samples = round(options.sample_rate * options.duration)
    load = partial(load_sound, representation=representation, sample_rate=options.sample_rate, n_samples=n_samples)
    specs, parts = labelled(options, recordings.SUFFIXES, load)
    keys = sound_keys(representation, options.sample_rate, options.duration)
    return About(set_name(options), specs, lambda shape: keys, {"kind": "audio", **config}), parts


def old_options(options: argparse.Namespace) -> list[str]:
    """Options that have another name today."""
    return [] if options.spectral is None else [f"--spectral {options.spectral}"]


def image_config(options: argparse.Namespace) -> dict[str, Any]:
    """The sections `representation` and `channels`, plain and resolved."""
    check_sound(options.sample_rate, options.duration)
    channels = [name.strip() for name in options.channels.split(",")] if options.channels else []
    chosen = [f"+representation={options.representation}"]
    chosen += [f"channels=[{','.join(channels)}]"] if channels else []
    if answer := answer_to_old_name([*old_options(options), *chosen]):
        raise ConfigError(answer)
    check_option("representation", [options.representation])
    check_option("channels", channels)
    chosen += [f"dataset.sample_rate={options.sample_rate}", f"dataset.duration={options.duration}"]
    places = [name if name.startswith("channels.") else f"representation.{name}" for name, _ in options.set]
    settings = [f"{place}={value}" for place, (_, value) in zip(places, options.set, strict=True)]
    with initialize_configs(ROOT / "configs"):
        check_settings(options, compose("generate", chosen)["representation"])
        try:
            cfg = compose("generate", [*chosen, *settings])
            sections = {key: OmegaConf.to_container(cfg[key], resolve=True, throw_on_missing=True) for key in SECTIONS}
        except (HydraException, OmegaConfBaseException) as error:
            given = " ".join(f"--set {name}={value}" for name, value in options.set)
            reason = str(error).splitlines()[0].rstrip(".")
            raise ConfigError(
                f"{given}: {reason}. configs/representation and configs/channels show what can be set."
            ) from error
    return sections


def check_sound(sample_rate: int, duration: float) -> None:
    """Refuse sounds that cannot be."""
    check_number("--sample-rate", sample_rate, whole=True, above=0)
    check_number("--duration", duration, above=0)
    if sample_rate * duration > LONGEST:
        raise ConfigError(
            f"--sample-rate {sample_rate} and --duration {duration} make {sample_rate * duration:.4g} samples, but "
            f"{LONGEST:,} are the most. Lower one of them; the duration is in seconds."
        )


def check_option(group: str, names: Sequence[str]) -> None:
    """Refuse what is no option of a group of configurations."""
    known = config_names(ROOT / "configs" / group, "*")
    for name in names:
        if name not in known:
            raise ConfigError(f"--{group} {','.join(names)!r}: {name!r} is none of {', '.join(known)}.")


def check_settings(options: argparse.Namespace, representation: Mapping[str, Any]) -> None:
    """Refuse settings that a representation does not have."""
    known = [name for name in representation if name not in NO_SETTINGS]
    unknown = [name for name, _ in options.set if name.split(".")[0] not in (*known, "channels")]
    if unknown:
        raise ConfigError(
            f"--set {', '.join(unknown)}: --representation {options.representation} has no such setting; it has "
            f"{', '.join(known) or 'none'}."
        )


def make_representation(config: Mapping[str, Any]) -> Representation:
    """What makes images of sounds, from the sections `representation` and `channels`."""
    try:
        return instantiate(config["representation"], channels=config["channels"])
    except InstantiationException as error:
        reason = " ".join(str(find_cause(error, NSMError) or error).split())
        raise ConfigError(f"The representation cannot be made: {reason}") from error


def sound_keys(representation: Representation, sample_rate: int, duration: float) -> dict[str, Any]:
    """Keys of `DatasetInfo` for sounds."""
    channels = {"channel_ranges": representation.channel_ranges, "channel_axes": representation.channel_axes}
    return {
        **{key: tuple(entries) for key, entries in channels.items() if entries is not None},
        "sample_rate": sample_rate,
        "duration": duration,
        "channel_labels": tuple(representation.channel_labels),
        "pre_emphasis_coefficient": representation.pre_emphasis,
        "spectrogram_config": representation.describe(),
        "mel_config": representation.describe_mel(),
    }


def load_sound(
    path: Path, value: np.ndarray, representation: Representation, sample_rate: int, n_samples: int
) -> SampleBatch:
    """Read an audio file.

    Args:
        path: The file.
        value: Its labels, `(parameter,)`.
        representation: Makes its image.
        sample_rate: Hz.
        n_samples: Length that it is brought to.

    Raises:
        DamagedFileError: If it is no audio, damaged, or empty.
    """
    try:
        waveform = torch.from_numpy(read_sound(path, sample_rate, n_samples))
        image, spec_range = representation.to_image(waveform[None])
        if not spec_range.max() <= HIGHEST_LEVEL:
            level = f"{float(spec_range.max()):.1f} dB full scale; a dataset takes {HIGHEST_LEVEL:g} dB at most"
            raise DamagedFileError(f"{name_of(path)}: reaches {level}.")
    except Exception as error:  # memory, or what an analysis cannot do with this sound: the others are read
        reason = str(error) if isinstance(error, NSMError) else f"{name_of(path)}: cannot be used: {error!r}"
        raise DamagedFileError(reason) from error
    return SampleBatch(image.numpy(), spec_range.numpy(), value[None])


def read_sound(path: Path, sample_rate: int, n_samples: int) -> np.ndarray:
    """The beginning of an audio file, mono, at another rate, padded with silence, float32, `(time,)`."""
    audio = recordings.AudioFile.open(path)
    blocks = audio.blocks(0, math.ceil((n_samples / sample_rate + MARGIN) * audio.sample_rate))
    sound = recordings.resample(blocks, audio.sample_rate, sample_rate)[:n_samples]
    return np.pad(sound, (0, n_samples - len(sound))).astype(np.float32)


def set_name(options: argparse.Namespace, default: str | None = None) -> str:
    """Short name of the set, fit for a directory's name."""
    name = options.name or default or options.directory.resolve().name
    return re.sub(r"[^\w.-]+", "-", name)


CONVERTERS = {"images": convert_images, "idx": convert_idx, "cifar": convert_cifar, "audio": convert_audio}


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, and print what was made and what was left out."""
    prepare_streams()
    options = arguments(argv)
    try:
        choices = Choices(options.output, ROOT / "data", options.seed, options.test_fraction, options.strict)
        about, parts = CONVERTERS[options.kind](options)
        with progress(len(parts), "Reading", "files") as advance:
            packed = convert.pack(parts, about, choices, advance, lambda message: complain(f"Skipped: {message}"))
    except NSMError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        complain(error)
        return 1
    info = packed.info
    if packed.kept:
        say("Kept: the same dataset was there already.")
    if packed.skipped:
        say(f"{packed.skipped:,} damaged file{'s' * (packed.skipped > 1)} skipped.")
    classes = ", ".join(f"{spec.name} ({spec.n_classes} classes)" for spec in info.parameters)
    say(f"{info.train_samples:,} training and {info.test_samples:,} test samples of {info.image_size}: {classes}")
    say(name_of(packed.data_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main())
