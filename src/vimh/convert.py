"""Other data as VIMH datasets: labels become parameters, samples are divided into training and test, and packed.

Where samples come from is handed in: `pictures.py` knows images, `scripts/to_vimh.py` sounds as well.
"""

import csv
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from src.errors import ConfigError, NSMError, VIMHError
from src.params import MAX_CLASSES, ParameterSpace, ParamSpec
from src.vimh.format import INFO_NAME, METADATA_BYTES, SPLITS, directory_name, record_dtype
from src.vimh.info import DatasetInfo, LabelEncoding, mapping_from_spec
from src.vimh.writer import VIMHWriter, check_target

AT_ONCE = 256  # samples that are written at a time


class DamagedFileError(NSMError):
    """A file that cannot be read as what it should be."""


# ----- labels


@dataclass(frozen=True)
class LabelledFiles:
    """Files and what is said of them, not yet understood.

    Attributes:
        paths: `(file,)`.
        labels: Name of each label to its texts, `(file,)`.
    """

    paths: tuple[Path, ...]
    labels: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class LabelGrid:
    """What is to be known of a label that is a number.

    Attributes:
        step: Just noticeable difference.
        low: Lowest value; None: the lowest multiple of the step that takes in all values.
        high: Highest value; None: likewise.
    """

    step: Decimal
    low: Decimal | None = None
    high: Decimal | None = None

    @classmethod
    def parse(cls, text: str) -> "LabelGrid":
        """From `STEP` or `STEP,MIN,MAX`.

        Raises:
            ConfigError: If it is anything else.
        """
        parts = [_decimal(part) for part in text.split(",")]
        if len(parts) not in (1, 3) or None in parts or parts[0] <= 0:
            raise ConfigError(
                f"{text!r} is no grid: give STEP or STEP,MIN,MAX, with a step above 0, such as 0.5,20,60."
            )
        return cls(*parts)


def files_of_folders(directory: Path, suffixes: frozenset[str], label: str) -> LabelledFiles:
    """Files labelled by the folder that they lie in, in the order of their names; hidden ones are left out.

    Args:
        directory: Holds a folder per class; what is in folders inside of those belongs to the class as well.
        suffixes: Of the files that count, in lower case.
        label: Name of the label.

    Raises:
        ConfigError: If there are no such files, or some lie in no folder.
    """
    check_directory(directory)
    found = sorted(
        path
        for path in directory.rglob("*")
        if path.suffix.lower() in suffixes and path.is_file() and not _is_hidden(path.relative_to(directory))
    )
    if not found:
        raise ConfigError(f"{directory}: holds no file with one of the endings {', '.join(sorted(suffixes))}.")
    folders = tuple(path.relative_to(directory).parts[:-1] for path in found)
    if not all(folders):
        raise ConfigError(
            f"{found[folders.index(())]}: lies in no folder that names its class. Sort the files into a folder per "
            "class, or give their labels with --csv."
        )
    return LabelledFiles(tuple(found), {label: tuple(folder[0] for folder in folders)})


def files_of_table(directory: Path, table: Path, wanted: Sequence[str] = ()) -> LabelledFiles:
    """Files labelled by a CSV: a heading, then a line per file with its name, seen from `directory`, before its labels.

    Args:
        directory: Where the files are.
        table: The CSV, UTF-8, with commas.
        wanted: Names of the columns that are labels; none: all but the first.

    Raises:
        ConfigError: If it is no such table, lacks a label, or names a file twice or outside of the directory.
    """
    check_directory(directory)
    heading, *rows = _read_csv(table)
    names = heading[1:]
    unknown = [name for name in wanted if name not in names]
    if unknown or not names or len(set(names)) < len(names):
        raise ConfigError(
            f"{table}: its columns are {', '.join(heading)}. The first names files, the others labels, each "
            f"once{', but there is no ' + ', '.join(unknown) if unknown else ''}."
        )
    lines: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        _check_row(row, heading, f"{table}, row {number}")
        first = lines.setdefault(os.path.normpath(row[0]), number)
        if first != number:
            raise ConfigError(f"{table}: names {row[0]} twice, in rows {first} and {number}. Leave one of them out.")
    if not rows:
        raise ConfigError(f"{table}: has a heading, but no rows.")
    columns = {name: tuple(row[names.index(name) + 1] for row in rows) for name in wanted or names}
    return LabelledFiles(tuple(directory / name for name in lines), columns)


def parameters_of(
    files: LabelledFiles, grids: Mapping[str, LabelGrid], units: Mapping[str, str]
) -> tuple[tuple[ParamSpec, ...], np.ndarray]:
    """Labels as parameters: those with a grid are numbers, the others categories.

    Args:
        files: What is labelled.
        grids: Of the labels that are numbers.
        units: Of numbers.

    Returns:
        The parameters, and the values of all files, float64, `(file, parameter)`.

    Raises:
        ConfigError: If a label is no number, has only one value, or more than 256 classes.
    """
    unknown = sorted({*grids, *units} - set(files.labels))
    if unknown:
        raise ConfigError(f"There is no label {', '.join(unknown)}; the labels are {', '.join(files.labels)}.")
    found = [
        number(name, texts, grids[name], units.get(name, "")) if name in grids else category(name, texts)
        for name, texts in files.labels.items()
    ]
    specs, values = zip(*found, strict=True)
    ParameterSpace(specs)  # refuses more than there may be
    return specs, np.stack(values, axis=1)


def category(name: str, texts: Sequence[str]) -> tuple[ParamSpec, np.ndarray]:
    """A label that is one of some names: numbers in their order, other names in that of the alphabet.

    Args:
        name: Of the label.
        texts: Of all samples, `(sample,)`.

    Returns:
        The parameter, whose value is the number of the class, and the values, float64, `(sample,)`.
    """
    classes = sorted(set(texts), key=_order)
    _check_differ(name, classes)
    if len(classes) > MAX_CLASSES:
        raise ConfigError(
            f"Label {name} has {len(classes):,} different values, but {MAX_CLASSES} classes are the most. If it is a "
            f"number, give its step: --number {name}=STEP. Otherwise join classes, or leave it out: --labels."
        )
    numbers = {text: index for index, text in enumerate(classes)}
    return categorical(name, classes), np.array([numbers[text] for text in texts], dtype=np.float64)


def categorical(name: str, classes: Sequence[str], description: str = "") -> ParamSpec:
    """The parameter that numbers some classes."""
    return ParamSpec(name, 0.0, len(classes) - 1.0, 1.0, "", description, tuple(classes))


def number(name: str, texts: Sequence[str], grid: LabelGrid, units: str = "") -> tuple[ParamSpec, np.ndarray]:
    """A label that is a number.

    Args:
        name: Of the label.
        texts: Of all samples, `(sample,)`.
        grid: Its step, and its range if that is given.
        units: Its unit.

    Returns:
        The parameter and the values, float64, `(sample,)`.
    """
    values = [_decimal(text) for text in texts]
    if None in values:
        raise ConfigError(f"Label {name} is {texts[values.index(None)]!r} somewhere, which is no number.")
    _check_differ(name, sorted(set(values)))
    low = _multiple(min(values), grid.step, ROUND_FLOOR) if grid.low is None else grid.low
    high = _multiple(max(values), grid.step, ROUND_CEILING) if grid.high is None else grid.high
    if min(values) < low or max(values) > high:
        raise ConfigError(f"Label {name} reaches from {min(values)} to {max(values)}, beyond {low} to {high}.")
    if (high - low) / grid.step > MAX_CLASSES - 1:
        raise ConfigError(
            f"Label {name} from {low} to {high} in steps of {grid.step} makes {int((high - low) / grid.step) + 1:,} "
            f"classes, but {MAX_CLASSES} are the most. Give a step of {_least_step(high - low)} or more: "
            f"--number {name}=STEP"
        )
    spec = ParamSpec(name, float(low), float(high), float(grid.step), units)
    return spec, np.array(values, dtype=np.float64)


def check_directory(directory: Path) -> None:
    """Refuse what is no directory."""
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such directory.")


def _read_csv(table: Path) -> list[list[str]]:
    """Heading and rows, without blanks around their texts; empty lines are left out."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = [[text.strip() for text in row] for row in csv.reader(file, strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{table}: cannot be read as a CSV in UTF-8: {error}") from error
    if not rows:
        raise ConfigError(f"{table}: is empty.")
    return rows


def _check_row(row: Sequence[str], heading: Sequence[str], where: str) -> None:
    """Refuse a row that lacks something, or leads out of the directory."""
    if len(row) != len(heading):
        raise ConfigError(f"{where}: has {len(row)} columns, but the heading has {len(heading)}.")
    empty = [name for name, text in zip(heading, row, strict=True) if not text]
    if empty:
        raise ConfigError(f"{where}: {', '.join(empty)} is empty.")
    path = Path(row[0])
    if path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"{where}: {row[0]} is not seen from the directory that holds the files.")


def _check_differ(name: str, values: Sequence[Any]) -> None:
    """Refuse a label that tells nothing apart."""
    if len(values) < 2:
        raise ConfigError(
            f"Label {name} is {values[0]} everywhere, so there is nothing to learn. Leave it out (--labels names those "
            "that stay), or add samples with another one."
        )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _order(text: str) -> tuple[bool, int, str]:
    """Numbers before other names."""
    is_number = text.isascii() and text.isdecimal()
    return not is_number, int(text) if is_number else 0, text


def _decimal(text: str) -> Decimal | None:
    """The finite number that a text is, exactly; None if it is none."""
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() and math.isfinite(float(found)) else None


def _multiple(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """The next multiple of a step."""
    return (value / step).to_integral_value(rounding) * step


def _least_step(distance: Decimal) -> str:
    """The finest step of two digits, rounded up, that makes no more classes than there may be."""
    least = distance / (MAX_CLASSES - 3)  # with another step either end may move out by one
    return f"{least.quantize(Decimal(10) ** (least.adjusted() - 1), ROUND_CEILING):f}"


# ----- packing


class SampleBatch(NamedTuple):
    """Samples that are read.

    Attributes:
        image: uint8, `(sample, channel, height, width)`; row 0 is the lowest.
        spec_range: `spec_min` and `spec_max`, dB, `(sample, 2)`.
        value: Values of the parameters, natural units, `(sample, parameter)`.
    """

    image: np.ndarray
    spec_range: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Part:
    """What is read at once, and belongs to one split as a whole: a file.

    Attributes:
        name: For messages.
        load: Reads it; raises `DamagedFileError`.
        split: `train` or `test`; None: drawn. A drawn part holds one sample.
    """

    name: str
    load: Callable[[], SampleBatch]
    split: str | None = None


@dataclass(frozen=True)
class About:
    """What a dataset says of itself.

    Attributes:
        name: Short name of the set, part of the directory's.
        parameters: In the order of their ids.
        keys: Takes `(channel, height, width)`; returns the keys of `DatasetInfo` that depend on the kind of data.
        source: What it was made from, for the JSON; no paths.
    """

    name: str
    parameters: tuple[ParamSpec, ...]
    keys: Callable[[tuple[int, int, int]], Mapping[str, Any]]
    source: Mapping[str, Any]


@dataclass(frozen=True)
class Choices:
    """How a dataset is made.

    Attributes:
        output: The dataset's directory to be; None: named after what is in it.
        parent: Where a directory that is named so goes.
        seed: Of the division into training and test.
        test_fraction: Share of the samples that test, where they are divided; 0: none.
        strict: Stop at a damaged file; otherwise it is left out.
    """

    output: Path | None = None
    parent: Path = Path("data")
    seed: int = 42
    test_fraction: float = 0.2
    strict: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.test_fraction < 1:
            raise ConfigError(f"The share of test samples is {self.test_fraction}; it must be 0 or more, and below 1.")
        if self.seed < 0:
            raise ConfigError(f"The seed is {self.seed}; it must be 0 or more.")


class Packed(NamedTuple):
    """What became of a conversion.

    Attributes:
        data_dir: The dataset.
        info: What it says of itself.
        skipped: Number of damaged files that were left out.
    """

    data_dir: Path
    info: DatasetInfo
    skipped: int


def pack(
    parts: Sequence[Part],
    about: About,
    choices: Choices,
    advance: Callable[[int], None] = lambda n: None,
    tell: Callable[[str], None] = lambda message: None,
) -> Packed:
    """Write a dataset. Until it is whole nothing is to be seen of it, and a directory that is there is left alone.

    Args:
        parts: What it is made of, in order.
        about: What it says of itself.
        choices: Where it goes, and how it is divided.
        advance: Told the number of parts just read, for a progress bar.
        tell: Told of every damaged file that is left out.

    Raises:
        DamagedFileError: If a file is damaged and `choices.strict` is set.
        VIMHError: If something is in the dataset's place, no samples are left, or the disk refuses.
        ConfigError: If images differ in shape.
    """
    if choices.output is not None:
        _check_free(choices.output)
    directory = choices.parent if choices.output is None else choices.output.absolute().parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # A file without a name: nothing is left of it, whatever happens.
        with tempfile.TemporaryFile(dir=directory) as spool:
            gathered = _gather(parts, spool, choices, advance, tell)
            return _write(gathered, spool, about, choices)
    except OSError as error:
        raise VIMHError(f"{directory}: cannot be written to ({error.strerror}). Nothing was kept.") from error


@dataclass
class _Gathered:
    """What was read, but for the images, which are in a file.

    Attributes:
        shape: Of every image.
        split: Of each sample, None where it is drawn.
        key: Number that each image and the seed make, `(sample,)`.
        rest: `spec_range` and `value` of all samples, float32, one after another.
        skipped: Number of damaged parts.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    split: list[str | None] = field(default_factory=list)
    key: list[int] = field(default_factory=list)
    rest: bytearray = field(default_factory=bytearray)
    skipped: int = 0

    def add(self, samples: SampleBatch, split: str | None, seed: int) -> None:
        self.split += [split] * len(samples.image)
        self.key += [_key(image.tobytes(), seed) for image in samples.image] if split is None else []
        self.rest += np.concatenate([samples.spec_range, samples.value], axis=1).astype("<f4").tobytes()


def _gather(
    parts: Sequence[Part],
    spool: BinaryIO,
    choices: Choices,
    advance: Callable[[int], None],
    tell: Callable[[str], None],
) -> _Gathered:
    """Read all parts."""
    gathered = _Gathered()
    first = ""
    for part in parts:
        advance(1)
        try:
            samples = part.load()
        except DamagedFileError as error:
            if choices.strict:
                raise
            tell(str(error))
            gathered.skipped += 1
            continue
        shape = samples.image.shape[1:]
        if not first:
            first, gathered.shape = part.name, shape
            record_dtype(shape, samples.value.shape[1], METADATA_BYTES)  # refuses images that no record can hold
        if shape != gathered.shape:
            raise ConfigError(
                f"{first}: is {_size(gathered.shape)}, but {part.name} is {_size(shape)}. All images of a set have one "
                "size and the same channels: --resize HxW and --color grey or rgb make them alike."
            )
        spool.write(samples.image.tobytes())
        gathered.add(samples, part.split, choices.seed)
    if not gathered.split:
        raise VIMHError(f"None of the {len(parts):,} files can be used. Nothing was written.")
    return gathered


def _write(gathered: _Gathered, spool: BinaryIO, about: About, choices: Choices) -> Packed:
    """Write what was read."""
    numbers = _divide(gathered, choices)
    spool.flush()
    n_samples = len(gathered.split)
    images = np.memmap(spool, np.uint8, "r", shape=(n_samples, *gathered.shape))
    rest = np.frombuffer(gathered.rest, "<f4").reshape(n_samples, -1)
    spec_range, value = rest[:, :2], rest[:, 2:]
    code = encode(about.parameters, value)
    output = choices.output or choices.parent / _directory_name(gathered.shape, n_samples, about)
    _check_free(output)
    info = _info(output.name, gathered, {split: len(chosen) for split, chosen in numbers.items()}, about, choices)
    with VIMHWriter(output, info) as writer:
        for split, chosen in numbers.items():
            for start in range(0, len(chosen), AT_ONCE):
                some = chosen[start : start + AT_ONCE]
                writer.write(split, images[some], code[some], spec_range[some], value[some])
    return Packed(output, info, gathered.skipped)


def _check_free(data_dir: Path) -> None:
    """Refuse to write where something is already."""
    if (data_dir / INFO_NAME).is_file():
        raise VIMHError(
            f"{data_dir}: exists already, and a dataset is never replaced here. Delete it first, or name another "
            "directory: --output DIR"
        )
    check_target(data_dir, overwrite=False)


def encode(parameters: Sequence[ParamSpec], value: np.ndarray) -> np.ndarray:
    """Codes of values, uint8, `(sample, parameter)`."""
    codes = [
        spec.code_from_normalized(spec.normalized_from_value(value[:, p].astype(np.float64)))
        for p, spec in enumerate(parameters)
    ]
    return np.stack(codes, axis=1).astype(np.uint8)


def _divide(gathered: _Gathered, choices: Choices) -> dict[str, np.ndarray]:
    """Numbers of the samples of each split, in the order of writing.

    Drawn samples are put in the order of their keys and cut once. What a sample is decides where it goes, not its name
    or its neighbours: equal images are never on both sides, and a set that grows keeps nearly all of its division.
    """
    if gathered.key:
        key = np.array(gathered.key, dtype=np.uint64)
        order = np.argsort(key, kind="stable")
        n_test = min(max(round(len(key) * choices.test_fraction), 1), len(key) - 1) if choices.test_fraction else 0
        n_test = int(np.searchsorted(key[order], key[order[n_test - 1]], side="right")) if n_test else 0
        numbers = {"train": order[n_test:], "test": order[:n_test]}
    else:
        split = np.array(gathered.split)
        numbers = {name: np.flatnonzero(split == name) for name in SPLITS}
    empty = [split for split, chosen in numbers.items() if not len(chosen)]
    if "train" in empty or (empty and not (gathered.key and choices.test_fraction == 0)):
        raise VIMHError(
            f"Of {len(gathered.split):,} samples none are left to {' or '.join(empty)}. Nothing was written."
        )
    return numbers


def _key(image: bytes, seed: int) -> int:
    """A random number for an image, the same for the same one, uint64."""
    return int.from_bytes(hashlib.blake2b(seed.to_bytes(16, "little") + image, digest_size=8).digest(), "little")


def _directory_name(shape: tuple[int, int, int], n_samples: int, about: About) -> str:
    """Name of a dataset's directory: as the format prescribes it, without rate and seconds where there are none."""
    keys = about.keys(shape)
    sound = keys.get("sample_rate"), keys.get("duration")
    if None not in sound:
        return directory_name(shape, *sound, n_samples, about.name, len(about.parameters))
    channels, height, width = shape
    return f"vimh-{height}x{width}x{channels}_{n_samples}dss_{about.name}_{len(about.parameters)}p"


def _info(name: str, gathered: _Gathered, counts: Mapping[str, int], about: About, choices: Choices) -> DatasetInfo:
    """The complete description, but for checksums."""
    channels, height, width = gathered.shape
    keys = {"sample_rate": None, "duration": None, "spectrogram_config": None, "mel_config": None}
    drawn = {"seed": choices.seed, "test_fraction": choices.test_fraction} if gathered.key else {}
    n_samples = sum(counts.values())
    return DatasetInfo(
        format="VIMH",
        version="2.1",
        dataset_name=name,
        output_format="binary",
        height=height,
        width=width,
        channels=channels,
        varying_parameters=len(about.parameters),
        parameter_names=tuple(spec.name for spec in about.parameters),
        train_samples=counts["train"],
        test_samples=counts["test"],
        total_samples=n_samples,
        n_samples=n_samples,
        synth_type=about.name,
        image_size=f"{height}x{width}x{channels}",
        parameter_mappings={spec.name: mapping_from_spec(spec) for spec in about.parameters},
        fixed_parameters={},
        label_encoding=LabelEncoding(metadata_bytes=METADATA_BYTES),
        source={**about.source, **drawn, "skipped_files": gathered.skipped},
        **{**keys, **about.keys(gathered.shape)},
    )


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width} with {channels} channel{'s' * (channels > 1)}"
