"""Packs other data into a VIMH dataset: pictures, recordings, and what comes in files of its own."""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.errors import ConfigError
from src.packing.corpora import files_of_corpus
from src.packing.settings import PERTURB, ImageChoices, image_config, make_perturbation, make_representation
from src.packing.sounds import SoundLoader, sound_keys
from src.params import ParamSpec
from src.programs.old_names import answer_to_old_name
from src.programs.output import progress
from src.recipe import ROOT
from src.recordings import Framing
from src.text import complain, name_of, say
from src.vimh import pictures
from src.vimh.convert import About, Choices, Packed, pack
from src.vimh.labels import LabelGrid, class_lists, of_classes, parameters_of, read_names
from src.vimh.samples import Part, SampleBatch, absent_classes, check_division, parts_of
from src.vimh.tables import FOLD, SPLIT, LabelledFiles, files_of_folders, files_of_table

SILENCE = 60.0  # dB below the loudest frame of a file; quieter ones are left out, as librosa's `split` does

Converted = tuple[About, list[Part]]


def to_vimh(options: argparse.Namespace) -> int:
    """Convert, and print what was made and what was left out; returns the exit code."""
    choices = Choices(
        output=options.output,
        parent=ROOT / "data",
        seed=options.seed,
        test_fraction=options.test_fraction,
        strict=options.strict,
        folds=getattr(options, "folds", None),
    )
    about, parts = CONVERTERS[options.kind](options, choices)
    with progress(len(parts), "Reading", "files") as advance:
        packed = pack(parts, about, choices, advance, lambda message: complain(f"Skipped: {message}"))
    show(packed)
    return 0


def show(packed: Packed) -> None:
    """Print what was made; the last line is the dataset's directory."""
    info = packed.info
    if packed.kept:
        say("Kept: the same dataset was there already.")
    if packed.skipped:
        say(f"{packed.skipped:,} damaged file{'s' * (packed.skipped > 1)} skipped.")
    if packed.silent:
        say(f"{packed.silent:,} silent frame{'s' * (packed.silent > 1)} left out.")
    classes = ", ".join(f"{spec.name} ({spec.n_classes} classes)" for spec in info.parameters)
    say(f"{info.train_samples:,} training and {info.test_samples:,} test samples of {info.image_size}: {classes}")
    say(name_of(packed.data_dir))


def convert_images(options: argparse.Namespace, choices: Choices) -> Converted:
    """A directory of image files."""
    form = pictures.PictureFormat(options.color, options.resize)
    if options.csv is not None:
        files = files_of_table(options.directory, options.csv, options.labels)
    elif options.labels:
        raise ConfigError("--labels names columns of a CSV: give --csv as well.")
    else:
        files = files_of_folders(options.directory, pictures.SUFFIXES, options.label)

    def load(number: int, path: Path, value: np.ndarray) -> SampleBatch:
        return pictures.load_picture(path, value, form)

    found = labelled(options, files)
    parts = parts_of(found.files, found.values, load)
    return About(set_name(options), found.specs, pictures.picture_keys, {"kind": "images", **grouping(options)}), parts


def convert_idx(options: argparse.Namespace, choices: Choices) -> Converted:
    """MNIST, and what comes in the same files."""
    names = None if options.names is None else read_names(options.names)
    spec, parts = pictures.idx_set(options.directory, options.label, names)
    return About(set_name(options), (spec,), pictures.picture_keys, {"kind": "idx"}), parts


def convert_cifar(options: argparse.Namespace, choices: Choices) -> Converted:
    """CIFAR-10 or CIFAR-100."""
    name, specs, parts = pictures.cifar_set(options.directory)
    return About(set_name(options, name), specs, pictures.picture_keys, {"kind": name}), parts


def convert_audio(options: argparse.Namespace, choices: Choices) -> Converted:
    """A directory of recordings. Classes are spread over all parts."""
    framing, chosen = framing_of(options), image_choices(options)
    if options.csv is not None:
        files = files_of_table(options.directory, options.csv, options.labels)
    else:
        files = files_of_corpus(options.directory, options.label, options.labels)
        say(f"Read as {files.form}.")
    found = labelled(options, files, choices.n_parts)
    config = image_config(chosen, framing, ROOT / "configs")
    representation, perturbation = make_representation(config), make_perturbation(config, framing)
    if perturbation is not None:
        config[PERTURB] = {name: config[PERTURB][name] for name in perturbation.effects}
    load = SoundLoader(representation, framing, perturbation, options.seed)
    parts = parts_of(found.files, found.values, load, found.spread)
    for sentence in absent_classes(found.files, parts):
        complain(sentence)
    keys = sound_keys(representation, framing)
    source = {"kind": "audio", **config, **framing.to_source(), **grouping(options)}
    return About(set_name(options), found.specs, lambda shape: keys, source), parts


def framing_of(options: argparse.Namespace) -> Framing:
    """How recordings are cut."""
    if (options.frame is None) == (options.duration is None):
        raise ConfigError(
            "Give either --duration S, for one sound from the beginning of each file, or --frame S, for as many frames "
            "as a file has."
        )
    if options.frame is None:
        if options.hop is not None or options.silence is not None:
            raise ConfigError("--hop and --silence are about frames: give --frame S in place of --duration S.")
        return Framing(options.sample_rate, options.duration)
    silence = SILENCE if options.silence is None else options.silence
    hop = options.frame if options.hop is None else options.hop
    return Framing(options.sample_rate, options.frame, hop, None if silence == math.inf else silence)


def image_choices(options: argparse.Namespace) -> ImageChoices:
    """How recordings become images."""
    if options.spectral is not None:
        raise ConfigError(answer_to_old_name([f"--spectral {options.spectral}"]))
    channels = [name.strip() for name in options.channels.split(",")] if options.channels else []
    return ImageChoices(options.representation, channels, options.perturb, options.set)


class Labelled(NamedTuple):
    """The chosen files, and what their labels mean.

    Attributes:
        files: Of the classes that are wanted, in their groups.
        specs: The parameters that labels become.
        values: Of the parameters, `(file, parameter)`.
        spread: Labels each of whose classes is to be in every part.
    """

    files: LabelledFiles
    specs: tuple[ParamSpec, ...]
    values: np.ndarray
    spread: list[str]


def labelled(options: argparse.Namespace, files: LabelledFiles, n_parts: int = 1) -> Labelled:
    """Choose among files, and make parameters of their labels.

    Args:
        options: The options of the command line.
        files: What there is.
        n_parts: Parts that each class is to be in; 1: it does not matter.
    """
    grids = {name: LabelGrid.parse(text) for name, text in options.number}
    categories = [name for name in files.labels if name not in grids]
    classes = class_lists(options.classes, categories)
    chosen = of_classes(files if options.group_by is None else files.grouped_by(options.group_by), classes)
    if n_left := len(files.paths) - len(chosen.paths):
        say(f"{n_left:,} file{'s' * (n_left > 1)} of other classes left out.")
    if options.folds and FOLD in files.columns:
        raise ConfigError(f"--folds {options.folds}: {files.form} says already which fold each file belongs to.")
    specs, values = parameters_of(chosen, grids, dict(options.units), classes)
    spread = categories if n_parts > 1 else []
    if n_parts > 1 and (options.folds or not {SPLIT, FOLD} & {*files.columns}):
        check_division(chosen, spread, n_parts)
    return Labelled(chosen, specs, values, spread)


def grouping(options: argparse.Namespace) -> dict[str, str]:
    """What files are grouped by, as a key of `source`."""
    return {} if options.group_by is None else {"group_by": options.group_by}


def set_name(options: argparse.Namespace, default: str | None = None) -> str:
    """Short name of the set, fit for a directory's name."""
    name = options.name or default or options.directory.resolve().name
    return re.sub(r"[^\w.-]+", "-", name)


CONVERTERS: dict[str, Callable[[argparse.Namespace, Choices], Converted]] = {
    "images": convert_images,
    "idx": convert_idx,
    "cifar": convert_cifar,
    "audio": convert_audio,
}
