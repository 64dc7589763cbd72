"""Other data as VIMH datasets: samples are read, divided into training and test, and packed.

The functions that load samples are passed in: `pictures.py` has those for images, `src/packing/sounds.py` for sounds.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from src.errors import ConfigError, VIMHError, check_number
from src.params import ParameterSpace, ParamSpec
from src.text import name_of
from src.vimh.division import Unit, check_enough, check_spread, deal_folds, draw_test, units_of
from src.vimh.format import INFO_NAME, METADATA_BYTES, SOURCES_NAME, SPLITS, directory_name, record_dtype
from src.vimh.format import pack as pack_records
from src.vimh.info import DatasetInfo, new_info, packed_from
from src.vimh.reader import VIMHReader, read_info
from src.vimh.samples import DamagedFileError, Part, SampleBatch
from src.vimh.sources import Sources, to_csv
from src.vimh.writer import VIMHWriter, check_target

AT_ONCE = 256  # samples that are written at a time


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
        folds: Number of folds that the groups are dealt to; the last one tests, unless the data have test samples of
            their own. None: none.
    """

    output: Path | None = None
    parent: Path = Path("data")
    seed: int = 42
    test_fraction: float = 0.2
    strict: bool = False
    folds: int | None = None

    def __post_init__(self) -> None:
        check_number("The share of test samples", self.test_fraction, least=0, below=1)
        check_number("The seed", self.seed, whole=True, least=0)
        if self.folds is not None:
            check_number("The number of folds", self.folds, whole=True, least=2)

    @property
    def n_parts(self) -> int:
        """How many parts samples are divided into that do not say themselves where they belong."""
        return self.folds or (2 if self.test_fraction else 1)


class Packed(NamedTuple):
    """The result of a conversion.

    Attributes:
        data_dir: The dataset.
        info: Its description.
        skipped: Number of damaged files that were left out.
        silent: Number of silent frames that were left out.
        kept: Whether the same dataset was there already, as after a command that was stopped at its end.
    """

    data_dir: Path
    info: DatasetInfo
    skipped: int
    silent: int = 0
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
        part: The part of each sample, `(sample,)`.
        key: Hash of each sample and the seed, `(sample,)`.
        start: Where each begins in its file, s, `(sample,)`.
        rest: `spec_range` and `value` of all samples, float32, one after another.
        skipped: Number of damaged parts.
        silent: Number of silent frames that were left out.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    part: list[Part] = field(default_factory=list)
    key: list[int] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    rest: bytearray = field(default_factory=bytearray)
    skipped: int = 0
    silent: int = 0

    def add(self, samples: SampleBatch, part: Part, seed: int) -> None:
        n_samples = len(samples.image)
        self.part += [part] * n_samples
        salt, content = seed.to_bytes(16, "little"), samples.image if samples.content is None else samples.content
        digests = (hashlib.blake2b(salt + sample.tobytes(), digest_size=8).digest() for sample in content)
        self.key += [int.from_bytes(digest, "little") for digest in digests]
        self.start += [0.0] * n_samples if samples.start is None else samples.start.tolist()
        self.rest += np.concatenate([samples.spec_range, samples.value], axis=1).astype("<f4").tobytes()
        self.silent += samples.n_silent


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
        gathered.add(samples, part, choices.seed)
    if not gathered.part:
        raise VIMHError(f"None of the {len(parts):,} files can be used. Nothing was written.")
    return gathered


def _write(gathered: _Gathered, spool: BinaryIO, about: About, choices: Choices) -> Packed:
    """Write the samples that were read."""
    numbers, fold = _divide(gathered, choices)
    sources = _sources(gathered, numbers, fold)
    spool.flush()
    n_samples = len(gathered.part)
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
    counts = {"skipped_files": gathered.skipped} | ({"silent_frames": gathered.silent} if gathered.silent else {})
    info = new_info(
        name_of(output.name),
        gathered.shape,
        space,
        {split: len(chosen) for split, chosen in numbers.items()},
        synth_type=about.name,
        source={**about.source, **_drawn_by(gathered, choices), **counts},
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
        _check_same(output, info, {split: found.hexdigest() for split, found in digest.items()}, sources)
        return Packed(output, info, gathered.skipped, gathered.silent, kept=True)
    with VIMHWriter(output, info, sources=sources) as writer:
        for split, some in batches:
            writer.write(split, images[some], code[some], spec_range[some], value[some])
    return Packed(output, info, gathered.skipped, gathered.silent)


def _check_free(data_dir: Path, about: About) -> None:
    """Refuse to write where something is already, unless it may be what this source makes."""
    if not (data_dir / INFO_NAME).is_file():
        check_target(data_dir, overwrite=False)
        return
    found = read_info(data_dir)
    if found.synth_type != about.name or not about.source.items() <= packed_from(found).items():
        raise _exists(data_dir)


def _check_same(
    data_dir: Path, info: DatasetInfo, digests: Mapping[str, str], sources: Mapping[str, Sources] | None
) -> None:
    """Refuse a dataset that is another one than was to be written, by its description and the digests of its files."""
    if sources is not None:
        digests = {**digests, SOURCES_NAME: hashlib.sha256(to_csv(sources)).hexdigest()}
    reader = VIMHReader(data_dir)
    reader.validate()
    found = reader.info
    kept, wanted = ((packed_from(about), about.parameters, about.image_shape) for about in (found, info))
    if kept != wanted or any(name not in found.files or found.files[name].sha256 != digests[name] for name in digests):
        raise _exists(data_dir)


def _exists(data_dir: Path) -> VIMHError:
    return VIMHError(
        f"{data_dir}: exists already, and a dataset is never replaced here. Delete it first, or name another "
        "directory: --output DIR"
    )


def _divide(gathered: _Gathered, choices: Choices) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Numbers of the samples of each split in the order of writing, and the fold of each sample.

    Drawn samples are written in the order of their units' keys, which mixes the classes.
    """
    split = np.array([part.split or "" for part in gathered.part], dtype="<U5")
    fold = np.array([part.origin.fold if part.origin else "" for part in gathered.part], dtype=object)
    order, is_given = np.arange(len(split)), bool(split.all())
    if choices.folds or not is_given:
        units, dealt = _dealt(gathered, choices)
        if choices.folds:
            for unit, number in zip(units, dealt, strict=True):
                fold[unit.samples] = str(number + 1)
        if not is_given:
            order = np.array([number for unit in units for number in unit.samples])
            for unit, number in zip(units, dealt, strict=True):
                split[unit.samples] = "test" if number == choices.n_parts - 1 > 0 else "train"
    numbers = {name: order[split[order] == name] for name in SPLITS}
    empty = [name for name, chosen in numbers.items() if not len(chosen)]
    if "train" in empty or (empty and (is_given or choices.n_parts > 1)):
        raise VIMHError(f"Of {len(split):,} samples none are left to {' or '.join(empty)}. Nothing was written.")
    return numbers, fold


def _dealt(gathered: _Gathered, choices: Choices) -> tuple[list[Unit], list[int]]:
    """What is divided as a whole, and the number of the part that each goes to, of which the last one tests."""
    origins = [part.origin for part in gathered.part]
    groups = [f"{number}" if origin is None else origin.divided_with for number, origin in enumerate(origins)]
    classes = [frozenset() if origin is None else origin.classes for origin in origins]
    units = units_of(groups, gathered.key, classes)
    if choices.n_parts == 1:
        return units, [0] * len(units)
    if None not in origins:
        is_grouped = any(origin is not None and origin.group is not None for origin in origins)
        check_enough([unit.classes for unit in units], choices.n_parts, "group" if is_grouped else "file")
    dealt = deal_folds(units, choices.folds) if choices.folds else draw_test(units, choices.test_fraction).astype(int)
    check_spread(units, dealt, choices.n_parts)
    return units, dealt.tolist()


def _drawn_by(gathered: _Gathered, choices: Choices) -> dict[str, Any]:
    """What decided the division, as keys of `source`."""
    if choices.folds:
        return {"seed": choices.seed, "folds": choices.folds}
    drawn = any(part.split is None for part in gathered.part)
    return {"seed": choices.seed, "test_fraction": choices.test_fraction} if drawn else {}


def _sources(gathered: _Gathered, numbers: Mapping[str, np.ndarray], fold: np.ndarray) -> dict[str, Sources] | None:
    """Where the samples of each split come from; None where they have no files."""
    rows = [
        (origin.file, repr(start), origin.divided_with, of_fold, str(int(origin.is_val)))
        for part, start, of_fold in zip(gathered.part, gathered.start, fold.tolist(), strict=True)
        if (origin := part.origin) is not None
    ]
    if len(rows) < len(gathered.part):
        return None
    return {split: Sources.of([rows[number] for number in chosen.tolist()]) for split, chosen in numbers.items()}


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width} with {channels} channel{'s' * (channels > 1)}"
