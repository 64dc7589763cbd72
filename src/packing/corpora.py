"""Corpora of recordings as they come, recognized by the files that lie in them.

Warden, "Speech Commands", arXiv:1804.03209 (2018); Piczak, "ESC: Dataset for Environmental Sound Classification", ACM
Multimedia (2015); Engel et al., "Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders", ICML (2017);
Hugging Face Datasets, "Create an audio dataset".
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from src.errors import ConfigError
from src.recordings import SUFFIXES
from src.vimh.tables import (
    GROUP,
    SPLIT,
    SPLIT_NAMES,
    LabelledFiles,
    Table,
    check_directory,
    files_of_folders,
    labelled_by,
    read_table,
    splits_in,
)

SPEECH_LISTS = {"validation_list.txt": "val", "testing_list.txt": "test"}
BACKGROUND = "_background_noise_"  # a folder of long noises, which are no class
SPEAKER = re.compile(r"([^/]+)_nohash_\d+\.[^./]+$")  # names of Speech Commands begin with a hash of the speaker
ESC50_TABLE = "meta/esc50.csv"
NSYNTH_TABLE = "examples.json"
METADATA, FILE_NAME = "metadata.csv", "file_name"  # of Hugging Face's audio folders


def files_of_corpus(directory: Path, label: str, wanted: Sequence[str] = ()) -> LabelledFiles:
    """The files of a directory with all that its layout says of them.

    Args:
        directory: Speech Commands, ESC-50, NSynth, an audio folder of Hugging Face with its table, or a folder per
            class.
        label: Name of the label where folders are the classes.
        wanted: Names of the columns that are labels; none: the corpus' usual one.

    Raises:
        ConfigError: If the layout is none of these, or contradicts itself.
    """
    check_directory(directory)
    if all((directory / name).is_file() for name in SPEECH_LISTS):
        return speech_commands(directory, label)
    if (directory / ESC50_TABLE).is_file():
        return esc50(directory, wanted)
    if tables := _tables(directory, NSYNTH_TABLE):
        return nsynth(directory, tables, wanted)
    metadata = {path: read_table(path) for path in _tables(directory, METADATA)}
    if metadata and all(FILE_NAME in table.heading for table in metadata.values()):
        return audio_folder(directory, metadata, wanted)
    if wanted:
        raise ConfigError("--labels names columns of a CSV: give --csv as well.")
    return files_of_folders(directory, SUFFIXES, label)


def speech_commands(directory: Path, label: str) -> LabelledFiles:
    """Speech Commands: a folder per word, and lists of the files that validate and test; speakers are the groups."""
    files = files_of_folders(directory, SUFFIXES, label)
    files = files.take([text != BACKGROUND for text in files.labels[label]])
    listed = {
        line.strip(): split
        for name, split in SPEECH_LISTS.items()
        for line in _text_of(directory / name).splitlines()
        if line.strip()
    }
    found = [SPEAKER.search(name) for name in files.names]
    columns = {
        SPLIT: tuple(listed.get(name, "train") for name in files.names),
        GROUP: tuple(match[1] if match else name for match, name in zip(found, files.names, strict=True)),
    }
    form = f"Speech Commands ({' and '.join(SPEECH_LISTS)}; {BACKGROUND} is left out)"
    return replace(files, columns=columns, form=form)


def esc50(directory: Path, wanted: Sequence[str]) -> LabelledFiles:
    """ESC-50: a table of clips with their folds; clips of one source are a group, and share a fold."""
    path = directory / ESC50_TABLE
    files = labelled_by(read_table(path), path, directory, "filename", wanted or ["category"], below="audio")
    _check_columns(files, path, ("fold", "src_file"))
    columns = {**files.columns, GROUP: files.columns["src_file"]}
    return replace(files, columns=columns, form=f"ESC-50 ({ESC50_TABLE} with folds)")


def nsynth(directory: Path, tables: Sequence[Path], wanted: Sequence[str]) -> LabelledFiles:
    """NSynth: a table of notes for each split; the notes of an instrument are a group."""
    found = []
    for path in tables:
        entries = _json_of(path)
        heading = sorted({name for entry in entries.values() for name in entry if isinstance(entry[name], str | int)})
        rows = [
            (number, [f"{note}.wav", *(str(entry.get(name, "")) for name in heading)])
            for number, (note, entry) in enumerate(entries.items(), start=1)
        ]
        table = Table(["note_file", *heading], rows, "commas")
        below = (path.parent / "audio").relative_to(directory).as_posix()
        labels = wanted or ["instrument_family_str"]
        files = labelled_by(table, path, directory, "note_file", labels, below=below)
        _check_columns(files, path, ("instrument_str",))
        found.append(replace(files, columns={**files.columns, GROUP: files.columns["instrument_str"]}))
    return replace(_joined(found, tables), form=f"NSynth ({NSYNTH_TABLE})")


def audio_folder(directory: Path, tables: Mapping[Path, Table], wanted: Sequence[str]) -> LabelledFiles:
    """An audio folder of Hugging Face: a table of files, or one for each split; a row names its file in `file_name`."""
    found = [
        labelled_by(table, path, directory, FILE_NAME, wanted, below=path.parent.relative_to(directory).as_posix())
        for path, table in tables.items()
    ]
    files = _joined(found, [*tables])
    tops = [path.relative_to(directory).parts[0].lower() for path in files.paths]
    if SPLIT not in files.columns and splits_in(tops):
        files = replace(files, columns={**files.columns, SPLIT: tuple(SPLIT_NAMES[top] for top in tops)})
    return replace(files, form=f"an audio folder of Hugging Face ({METADATA})")


def _tables(directory: Path, name: str) -> list[Path]:
    """The tables of a directory: one in it, or one in each of its folders for a split."""
    if (directory / name).is_file():
        return [directory / name]
    return [path for path in sorted(directory.glob(f"*/{name}")) if _split_of(path) is not None]


def _split_of(path: Path) -> str | None:
    """The split that a table's folder is named after, such as `nsynth-valid`."""
    return SPLIT_NAMES.get(re.split("[-_]", path.parent.name.lower())[-1])


def _joined(files: Sequence[LabelledFiles], tables: Sequence[Path]) -> LabelledFiles:
    """The files of several tables; with more than one, each is for the split that its folder is named after."""
    if len(files) == 1:
        return files[0]
    splits = chain.from_iterable([_split_of(path)] * len(each.paths) for path, each in zip(tables, files, strict=True))
    shared = set.intersection(*({*each.columns} for each in files))
    if missing := sorted({name for each in files for name in each.labels if name not in shared}):
        raise ConfigError(f"{tables[0]}: {', '.join(missing)} is not a column of every table; name others by --labels.")
    columns = {name: _chained(each.columns[name] for each in files) for name in shared}
    return replace(
        files[0],
        paths=_chained(each.paths for each in files),
        labels={name: columns[name] for name in files[0].labels},
        columns={**columns, SPLIT: tuple(str(split) for split in splits)},
    )


def _chained(parts: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(parts))


def _check_columns(files: LabelledFiles, path: Path, names: Sequence[str]) -> None:
    """Refuse a table that lacks what its layout has."""
    if missing := [name for name in names if name not in files.columns]:
        raise ConfigError(f"{path}: has no column {', '.join(missing)}, which the table of this corpus has.")


def _json_of(path: Path) -> dict[str, dict[str, Any]]:
    """Notes and what is known of each."""
    try:
        entries = json.loads(_text_of(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()) or not entries:
        raise ConfigError(f"{path}: is no table of notes: an object of a note's name to what is known of it.")
    return entries


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text in UTF-8 ({error}).") from error
