"""Other data as VIMH datasets: labels become parameters, samples are divided into training and test, and packed.

The functions that load samples are passed in: `pictures.py` has those for images, `scripts/to_vimh.py` for sounds.
"""

import csv
import hashlib
import io
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from src.errors import ConfigError, NSMError, VIMHError, check_number
from src.params import MAX_CLASSES, ParameterSpace, ParamSpec
from src.text import name_of
from src.vimh.format import INFO_NAME, METADATA_BYTES, SPLITS, directory_name, record_dtype
from src.vimh.format import pack as pack_records
from src.vimh.info import DatasetInfo, new_info
from src.vimh.reader import VIMHReader, read_info
from src.vimh.writer import VIMHWriter, check_target

AT_ONCE = 256  # samples that are written at a time
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}  # of tables, what is preferred first


class DamagedFileError(NSMError):
    """A file that is damaged, or of another type than expected."""


# ----- labels


@dataclass(frozen=True)
class LabelledFiles:
    """Files and the texts of their labels.

    Attributes:
        paths: `(file,)`.
        labels: Name of each label to its texts, `(file,)`.
    """

    paths: tuple[Path, ...]
    labels: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class LabelGrid:
    """The grid of a label that is a number.

    Attributes:
        step: Grid step.
        low: Lowest value; None: the highest multiple of the step that no value is below.
        high: Highest value; None: the lowest multiple that no value is above.
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
        texts = text.split(",")
        parts = [number for number in map(_decimal, texts) if number is not None]
        if len(texts) not in (1, 3) or len(parts) < len(texts) or parts[0] <= 0:
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
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    )
    if not found:
        raise ConfigError(f"{directory}: holds no file with one of the endings {', '.join(sorted(suffixes))}.")
    folders = tuple(path.relative_to(directory).parts[:-1] for path in found)
    if not all(folders):
        raise ConfigError(
            f"{found[folders.index(())]}: lies in no folder that names its class. Sort the files into a folder per "
            "class, or give their labels with --csv."
        )
    return LabelledFiles(tuple(found), {label: tuple(name_of(folder[0]) for folder in folders)})


def files_of_table(directory: Path, path: Path, wanted: Sequence[str] = ()) -> LabelledFiles:
    """Files labelled by a CSV: a heading, then a line per file with its name, seen from `directory`, before its labels.

    Args:
        directory: Where the files are.
        path: The CSV, UTF-8, with commas, semicolons or tabs.
        wanted: Names of the columns that are labels; none: all but the first.

    Raises:
        ConfigError: If it is no such table, lacks a label, or names a file that is not there, twice, or outside of the
            directory.
    """
    check_directory(directory)
    table = read_table(path)
    names = table.heading[1:]
    unknown = [name for name in wanted if name not in names]
    if unknown or not names or len(set(names)) < len(names):
        raise ConfigError(
            f"{path}: its columns are {', '.join(table.heading)}, with {table.between} between them. The first names "
            f"files, the others labels, each once{', but there is no ' + ', '.join(unknown) if unknown else ''}."
        )
    lines: dict[str, int] = {}
    for number, row in table.rows:
        where = f"{path}, row {number}"
        if len(row) != len(table.heading):
            raise ConfigError(
                f"{where}: has {len(row)} columns, but the heading has {len(table.heading)}, with {table.between} "
                "between them."
            )
        if "" in row:
            raise ConfigError(f"{where}: {table.heading[row.index('')]} is empty.")
        first = lines.setdefault(os.path.normpath(file_below(directory, row[0], where)), number)
        if first != number:
            raise ConfigError(f"{path}: names {row[0]} twice, in rows {first} and {number}. Leave one of them out.")
    if not lines:
        raise ConfigError(f"{path}: has a heading, but no rows.")
    columns = {name: tuple(row[names.index(name) + 1] for _, row in table.rows) for name in wanted or names}
    return LabelledFiles(tuple(directory / name for name in lines), columns)


def file_below(directory: Path, name: str, where: str) -> str:
    r"""The name of a file as this system has it: a table that was made on Windows separates folders by `\`.

    Args:
        directory: That the name is seen from.
        name: In the table.
        where: In which row, for the message.

    Raises:
        ConfigError: If the file is not there, or outside of the directory.
    """
    windows = PureWindowsPath(name)
    is_there = _is_file(directory / name)
    if Path(name).is_absolute() or ".." in windows.parts or (windows.anchor and not is_there):
        raise ConfigError(
            f"{where}: {name} is not below the directory that holds the files. Write names as seen from {directory}."
        )
    if is_there:
        return name
    if _is_file(directory / windows.as_posix()):
        return windows.as_posix()
    raise ConfigError(f"{where}: {name} is not there, or no file. Files are looked for in {directory}.")


def _is_file(path: Path) -> bool:
    """Whether there is a file of this name; a name that is too long has none."""
    try:
        return path.is_file()
    except OSError:
        return False


def parameters_of(
    files: LabelledFiles, grids: Mapping[str, LabelGrid], units: Mapping[str, str]
) -> tuple[tuple[ParamSpec, ...], np.ndarray]:
    """Labels as parameters: those with a grid are numbers, the others categories.

    Args:
        files: The labelled files.
        grids: Grids of the labels that are numbers.
        units: Units of the labels that are numbers.

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
    numbers = sorted(
        {text for text in texts if text.isascii() and text.isdecimal()}, key=lambda text: (int(text), text)
    )
    classes = [*numbers, *sorted(set(texts).difference(numbers))]
    _check_differ(name, classes)
    if len(classes) > MAX_CLASSES:
        raise ConfigError(
            f"Label {name} has {len(classes):,} different values, but {MAX_CLASSES} classes are the most. If it is a "
            f"number, give its step: --number {name}=STEP. Otherwise join classes, or leave it out: --labels."
        )
    index = {text: number for number, text in enumerate(classes)}
    return categorical(name, classes), np.array([index[text] for text in texts], dtype=np.float64)


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
    values = [value for value in map(_decimal, texts) if value is not None]
    if len(values) < len(texts):
        wrong = next(text for text in texts if _decimal(text) is None)
        hint = " Write decimals with a point." if _decimal(wrong.replace(",", ".")) is not None else ""
        raise ConfigError(f"Label {name} is {wrong!r} somewhere, which is no number.{hint}")
    _check_differ(name, sorted(set(values)))
    step, low, high = grid.step, grid.low, grid.high
    if low is None:
        low = (min(values) / step).to_integral_value(ROUND_FLOOR) * step
    if high is None:
        high = (max(values) / step).to_integral_value(ROUND_CEILING) * step
    if min(values) < low or max(values) > high:
        raise ConfigError(f"Label {name} reaches from {min(values)} to {max(values)}, beyond {low} to {high}.")
    if (high - low) / step > MAX_CLASSES - 1:
        finest = (high - low) / (MAX_CLASSES - 3)  # with another step either end may move out by one
        finest = finest.quantize(Decimal(10) ** (finest.adjusted() - 1), ROUND_CEILING)  # two digits
        raise ConfigError(
            f"Label {name} from {low} to {high} in steps of {step} makes {int((high - low) / step) + 1:,} classes, "
            f"but {MAX_CLASSES} are the most. Give a step of {finest:f} or more: --number {name}=STEP"
        )
    return ParamSpec(name, float(low), float(high), float(step), units), np.array(values, dtype=np.float64)


def check_directory(directory: Path) -> None:
    """Refuse a path that is not a directory."""
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such directory.")


class Table(NamedTuple):
    """A CSV, without blanks around its texts and without empty lines.

    Attributes:
        heading: Names of the columns.
        rows: Each with the number of its line.
        between: What separates columns, in words.
    """

    heading: list[str]
    rows: list[tuple[int, list[str]]]
    between: str

    @property
    def is_even(self) -> bool:
        """Whether every row has as many columns as the heading, two or more."""
        return len(self.heading) > 1 and all(len(row) == len(self.heading) for _, row in self.rows)


def read_table(path: Path) -> Table:
    """A CSV, read with the separator that gives all lines the same number of columns, or else the most to the heading.

    Raises:
        ConfigError: If it is empty or no CSV in UTF-8.
    """
    tables, failure = [], None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a CSV in UTF-8: {error}") from error
    for separator, between in SEPARATORS.items():
        lines = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        try:
            found = [(lines.line_num, [cell.strip() for cell in row]) for row in lines if row]
        except csv.Error as error:
            failure = failure or error
        else:
            tables.append(Table(found[0][1] if found else [], found[1:], between))
    best = next(
        (table for table in tables if table.is_even), max(tables, key=lambda table: len(table[0]), default=None)
    )
    if best is None or (failure is not None and len(best.heading) < 2):
        raise ConfigError(f"{path}: cannot be read as a CSV in UTF-8: {failure}") from failure
    if not best.heading:
        raise ConfigError(f"{path}: is empty.")
    return best


def _check_differ(name: str, values: Sequence[Any]) -> None:
    """Refuse a label with a single value."""
    if len(values) < 2:
        raise ConfigError(
            f"Label {name} is {values[0]} everywhere, so there is nothing to learn. Leave it out (--labels names those "
            "that stay), or add samples with another one."
        )


def _decimal(text: str) -> Decimal | None:
    """The finite number that a text is, exactly; None if it is none."""
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() and math.isfinite(float(found)) else None


# ----- packing


class SampleBatch(NamedTuple):
    """Some samples.

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
    """A unit that is loaded at once and belongs to one split as a whole, usually a file.

    Attributes:
        name: For messages.
        load: Loads it; raises `DamagedFileError`.
        split: `train` or `test`; None: drawn at random. Such a part holds one sample.
    """

    name: str
    load: Callable[[], SampleBatch]
    split: str | None = None


@dataclass(frozen=True)
class About:
    """The content of a dataset's JSON that depends on its source.

    Attributes:
        name: Short name of the set, part of the directory's.
        parameters: In the order of their ids.
        keys: Takes `(channel, height, width)`; returns the keys of `DatasetInfo` that depend on the kind of data.
        source: Where the samples come from, without paths.
    """

    name: str
    parameters: tuple[ParamSpec, ...]
    keys: Callable[[tuple[int, int, int]], Mapping[str, Any]]
    source: Mapping[str, Any]


@dataclass(frozen=True)
class Choices:
    """How a dataset is made.

    Attributes:
        output: The dataset's future directory; None: a name made from its content, below `parent`.
        parent: Directory of datasets.
        seed: Seed of the division into training and test.
        test_fraction: Share of the test samples, where the samples are divided; 0: none.
        strict: Stop at a damaged file; otherwise it is left out.
    """

    output: Path | None = None
    parent: Path = Path("data")
    seed: int = 42
    test_fraction: float = 0.2
    strict: bool = False

    def __post_init__(self) -> None:
        check_number("The share of test samples", self.test_fraction, least=0, below=1)
        check_number("The seed", self.seed, whole=True, least=0)


class Packed(NamedTuple):
    """The result of a conversion.

    Attributes:
        data_dir: The dataset.
        info: Its description.
        skipped: Number of damaged files that were left out.
        kept: Whether the same dataset was there already, as after a command that was stopped at its end.
    """

    data_dir: Path
    info: DatasetInfo
    skipped: int
    kept: bool = False


def pack(
    parts: Sequence[Part],
    about: About,
    choices: Choices,
    advance: Callable[[int], None] = lambda n: None,
    warn: Callable[[str], None] = lambda message: None,
) -> Packed:
    """Write a dataset. It appears when it is whole; a directory that exists is left alone, and kept if it is the same.

    Args:
        parts: The samples, in order.
        about: What its JSON states.
        choices: Where it goes, and how it is divided.
        advance: Called with the number of parts just read, for a progress bar.
        warn: Called with a message for every damaged file that is left out.

    Raises:
        DamagedFileError: If a file is damaged and `choices.strict` is set.
        VIMHError: If something else is at the dataset's path, no samples are left, or the disk refuses.
        ConfigError: If images differ in shape.
    """
    if choices.output is not None:
        _check_free(choices.output, about)
    directory = choices.parent if choices.output is None else choices.output.absolute().parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # A file without a name: the operating system removes it, whatever happens.
        with tempfile.TemporaryFile(dir=directory) as spool:
            gathered = _gather(parts, spool, choices, advance, warn)
            return _write(gathered, spool, about, choices)
    except OSError as error:
        raise VIMHError(f"{directory}: cannot be written to ({error.strerror}). Nothing was kept.") from error


@dataclass
class _Gathered:
    """The samples that were read, except for the images, which are in a temporary file.

    Attributes:
        shape: Of every image.
        split: Split of each sample, None where it is drawn.
        key: Hash of each image and the seed, `(sample,)`.
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
        if split is None:
            salt = seed.to_bytes(16, "little")
            digests = (hashlib.blake2b(salt + image.tobytes(), digest_size=8).digest() for image in samples.image)
            self.key += [int.from_bytes(digest, "little") for digest in digests]
        self.rest += np.concatenate([samples.spec_range, samples.value], axis=1).astype("<f4").tobytes()


def _gather(
    parts: Sequence[Part],
    spool: BinaryIO,
    choices: Choices,
    advance: Callable[[int], None],
    warn: Callable[[str], None],
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
            warn(str(error))
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
    """Write the samples that were read."""
    numbers = _divide(gathered, choices)
    spool.flush()
    n_samples = len(gathered.split)
    images = np.memmap(spool, np.uint8, "r", shape=(n_samples, *gathered.shape))
    rest = np.frombuffer(gathered.rest, "<f4").reshape(n_samples, -1)
    spec_range, value = rest[:, :2], rest[:, 2:]
    space = ParameterSpace(tuple(about.parameters))
    code = space.encode(value)
    keys = {"sample_rate": None, "duration": None, "spectrogram_config": None, "mel_config": None}
    keys |= about.keys(gathered.shape)
    name = directory_name(
        gathered.shape, keys["sample_rate"], keys["duration"], n_samples, about.name, len(about.parameters)
    )
    output = choices.output or choices.parent / name
    _check_free(output, about)
    drawn = {"seed": choices.seed, "test_fraction": choices.test_fraction} if gathered.key else {}
    info = new_info(
        name_of(output.name),
        gathered.shape,
        space,
        {split: len(chosen) for split, chosen in numbers.items()},
        synth_type=about.name,
        source={**about.source, **drawn, "skipped_files": gathered.skipped},
        **keys,
    )
    batches = [
        (split, chosen[start : start + AT_ONCE])
        for split, chosen in numbers.items()
        for start in range(0, len(chosen), AT_ONCE)
    ]
    if (output / INFO_NAME).is_file():
        dtype = record_dtype(gathered.shape, len(about.parameters), METADATA_BYTES)
        digest = {split: hashlib.sha256() for split in SPLITS}
        for split, some in batches:
            digest[split].update(pack_records(dtype, images[some], code[some], spec_range[some]).tobytes())
        _check_same(output, info, {split: found.hexdigest() for split, found in digest.items()})
        return Packed(output, info, gathered.skipped, kept=True)
    with VIMHWriter(output, info) as writer:
        for split, some in batches:
            writer.write(split, images[some], code[some], spec_range[some], value[some])
    return Packed(output, info, gathered.skipped)


def _check_free(data_dir: Path, about: About) -> None:
    """Refuse to write where something is already, unless it may be what this source makes."""
    if not (data_dir / INFO_NAME).is_file():
        check_target(data_dir, overwrite=False)
        return
    found = read_info(data_dir)
    if found.synth_type != about.name or not about.source.items() <= _source(found).items():
        raise _exists(data_dir)


def _check_same(data_dir: Path, info: DatasetInfo, digests: Mapping[str, str]) -> None:
    """Refuse a dataset that is another one than was to be written, by its description and the digests of its splits."""
    reader = VIMHReader(data_dir)
    reader.validate()
    found = reader.info
    same = (_source(found), found.parameters, found.image_shape) == (_source(info), info.parameters, info.image_shape)
    if not same or any(split not in found.files or found.files[split].sha256 != digests[split] for split in SPLITS):
        raise _exists(data_dir)


def _source(info: DatasetInfo) -> dict[str, Any]:
    """Where the samples of a dataset come from, as `About.source` has it; empty where its JSON does not say."""
    source = (info.model_extra or {}).get("source")
    return source if isinstance(source, dict) else {}


def _exists(data_dir: Path) -> VIMHError:
    return VIMHError(
        f"{data_dir}: exists already, and a dataset is never replaced here. Delete it first, or name another "
        "directory: --output DIR"
    )


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


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width} with {channels} channel{'s' * (channels > 1)}"
