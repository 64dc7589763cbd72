"""The structure of a SoundFont file, checked before an engine that trusts it reads it.

E-mu Systems, SoundFont Technical Specification 2.04, 2006, section 7: presets and instruments name ranges of zones,
zones name ranges of generators, and the last generator of a zone names an instrument or a sample. Files of version 3
(MuseScore) have the same structure, and compressed samples.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

# Generators, by number, that name an instrument or a sample.
INSTRUMENT, SAMPLE = 41, 53
ENDS = 2  # a list has an entry, and one that ends it
COMPRESSED = 0x10  # flag of a sample's type, of version 3: its bounds are bytes

# Fields of the records of each chunk, as they lie in the file; those that are not looked at are bytes.
RECORDS: Mapping[str, np.dtype] = {
    "phdr": np.dtype([("name", "V20"), ("preset", "<u2"), ("bank", "<u2"), ("zone", "<u2"), ("rest", "V12")]),
    "pbag": np.dtype([("generator", "<u2"), ("modulator", "<u2")]),
    "pmod": np.dtype([("rest", "V10")]),
    "pgen": np.dtype([("operator", "<u2"), ("amount", "<u2")]),
    "inst": np.dtype([("name", "V20"), ("zone", "<u2")]),
    "ibag": np.dtype([("generator", "<u2"), ("modulator", "<u2")]),
    "imod": np.dtype([("rest", "V10")]),
    "igen": np.dtype([("operator", "<u2"), ("amount", "<u2")]),
    "shdr": np.dtype(
        [
            *(("name", "V20"), ("start", "<u4"), ("end", "<u4"), ("loop_start", "<u4"), ("loop_end", "<u4")),
            *(("rate", "<u4"), ("rest", "V2"), ("link", "<u2"), ("type", "<u2")),
        ]
    ),
}


class BrokenFontError(ValueError):
    """Bytes that are no SoundFont, with what is wrong of them as the message."""


class Chunk(NamedTuple):
    """A chunk of a RIFF file.

    Attributes:
        name: Four letters.
        content: Its bytes.
    """

    name: str
    content: memoryview


def check_font(content: bytes) -> None:
    """Refuse bytes that are no whole SoundFont.

    Args:
        content: Of a file.

    Raises:
        BrokenFontError: If a list names entries that are not there, or a sample lies outside of the samples.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"sfbk":
        raise BrokenFontError("it does not begin with RIFF and sfbk, as .sf2 and .sf3 files do")
    (riff,) = chunks_of(memoryview(content)[: 8 + int.from_bytes(content[4:8], "little")], len(content))
    found: dict[str, memoryview] = {}
    for part in chunks_of(riff.content[4:]):
        if part.name == "LIST":
            found |= {inner.name: inner.content for inner in chunks_of(part.content[4:])}
    records = {name: _records(found, name) for name in RECORDS}
    for headers, zones, generators in (("phdr", "pbag", "pgen"), ("inst", "ibag", "igen")):
        _check_ranges(records, headers, "zone", zones)
        _check_ranges(records, zones, "generator", generators)
        _check_ranges(records, zones, "modulator", generators.replace("gen", "mod"))
    _check_names(records["pgen"], INSTRUMENT, len(records["inst"]) - 1, "instrument")
    _check_names(records["igen"], SAMPLE, len(records["shdr"]) - 1, "sample")
    _check_samples(records["shdr"], len(found.get("smpl", b"")))


def chunks_of(content: memoryview, n_bytes: int | None = None) -> list[Chunk]:
    """Chunks one after the other, without padding, as the engine takes them: those of whole records are even.

    Args:
        content: Their bytes.
        n_bytes: Of the whole file, for one that is cut off; None: `content` is all.
    """
    chunks, start = [], 0
    while start + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, start)
        if start + 8 + size > (len(content) if n_bytes is None else n_bytes):
            raise BrokenFontError("it ends before its last chunk does")
        chunks.append(Chunk(name.decode("latin-1"), content[start + 8 : start + 8 + size]))
        start += 8 + size
    return chunks


def _records(found: Mapping[str, memoryview], name: str) -> np.ndarray:
    """Records of a chunk, of which the last ends the list."""
    dtype, content = RECORDS[name], found.get(name)
    least = ENDS if name in ("phdr", "pbag", "pgen", "inst", "ibag", "igen", "shdr") else 1
    if content is None or len(content) % dtype.itemsize or len(content) < least * dtype.itemsize:
        raise BrokenFontError(f"its list {name} is missing or has another length than a whole number of entries")
    return np.frombuffer(content, dtype)


def _check_ranges(records: Mapping[str, np.ndarray], owner: str, field: str, owned: str) -> None:
    """Refuse entries whose first one of another list is not there, or before that of the entry before."""
    first = records[owner][field].astype(np.int64)
    if (np.diff(first) < 0).any() or first[-1] >= len(records[owned]):
        raise BrokenFontError(f"its list {owner} names entries of {owned} that are not there")


def _check_names(generators: np.ndarray, operator: int, count: int, what: str) -> None:
    """Refuse generators that name what is not there."""
    named = generators["amount"][:-1][generators["operator"][:-1] == operator]
    if (named >= count).any():
        raise BrokenFontError(f"it names {what} {named.max()} of {count}")


def _check_samples(headers: np.ndarray, n_bytes: int) -> None:
    """Refuse samples that do not lie in order within the bytes of all samples."""
    headers = headers[:-1]
    compressed = (headers["type"] & COMPRESSED) != 0
    most = np.where(compressed, n_bytes, n_bytes // 2)
    loops = headers["loop_start"] <= headers["loop_end"]
    inside = compressed | (headers["loop_end"] <= most)
    if not ((headers["start"] <= headers["end"]) & (headers["end"] <= most) & loops & inside).all():
        raise BrokenFontError("a sample lies outside of its samples")
