"""The page of a dataset as one file that opens from disk: its records and their sounds in compressed blocks.

A block is bytes as the server would send them, compressed by zlib and written in base 64 into a script element of a
type that is none. Its `id` says what it holds, such as `train-images-0`. The page unpacks a block when it needs it.
"""

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from markupsafe import Markup

from src.errors import NSMError
from src.playback import Playback
from src.sheet.content import SOURCE, SheetContent, SplitContent, within_full_scale

BLOCK = 1 << 18  # bytes of a block before it is compressed; a record that has more is a block
SOUND_SHARE = 0.25  # of the file's bytes, left for sounds by the records
MOST_ESTIMATED = 256  # sounds that Griffin-Lim reconstructs for a file; one takes a tenth of a second
COMPRESSION = 6
OF_A_NAME = 16  # bytes of a record, about, that the name of its file takes: names are much alike


class SavedPage(NamedTuple):
    """A page that needs no server.

    Attributes:
        content: The file.
        holds: A sentence on what is in it and what was left out.
    """

    content: bytes
    holds: str


class Blocks:
    """The blocks of a file.

    Args:
        most_bytes: That all of them may take.

    Attributes:
        texts: Name to text.
        left: Bytes that may still be added.
    """

    def __init__(self, most_bytes: int) -> None:
        self.texts: dict[str, Markup] = {}
        self.left = most_bytes

    def add(self, name: str, content: bytes) -> None:
        """Add a block."""
        self.texts[name] = Markup(base64.b64encode(zlib.compress(content, COMPRESSION)).decode())
        self.left -= len(self.texts[name])


def saved_page(content: SheetContent, most_bytes: int, advance: Callable[[int], None] = lambda n: None) -> SavedPage:
    """The page with as many records and sounds as a number of bytes holds: the first ones, those of one block at least.

    Args:
        content: What the page shows.
        most_bytes: The size that the blocks may have.
        advance: Called with the number of records that are done, for a progress bar.
    """
    blocks, kept, n_sounds = Blocks(most_bytes), {}, {}
    playback, spared = content.playback, round(SOUND_SHARE * most_bytes)
    for name, split in sorted(content.splits.items(), key=lambda item: item[0] != content.first):
        n_kept = add_records(blocks, name, split, spared, advance)
        if n_kept:
            kept[name] = split.start(n_kept)
        if n_kept < len(split.samples):
            break
    for name, split in kept.items():
        n_sounds[name] = add_sounds(blocks, name, split, playback)
        if n_sounds[name] < len(split.samples):
            break
    data = replace(content, splits={name: kept[name] for name in content.splits if name in kept}).description()
    data["saved"] = {
        "holds": _holds(content, kept, n_sounds),
        "perBlock": records_per_block(kept[content.first]),
        "sounds": n_sounds,
        "rate": 0 if playback.silence else playback.sample_rate,
    }
    page = SOURCE.inline(data, title=content.title, blocks=blocks.texts)
    return SavedPage(page.encode(), data["saved"]["holds"])


def records_per_block(split: SplitContent) -> int:
    """Records whose images share a block."""
    return max(1, BLOCK // split.samples.records.dtype["image"].itemsize)


def add_records(blocks: Blocks, name: str, split: SplitContent, spared: int, advance: Callable[[int], None]) -> int:
    """Add images and columns of the first records of a split, as far as there is room.

    Args:
        blocks: Where to.
        name: Of the split.
        split: Its records.
        spared: Bytes that are left free. In a file that has no other records, those of one block are taken in any case.
        advance: Called with the number of records that are done.

    Returns:
        Number of the records.
    """
    of_columns = 4 / 3 * 4 * (len(split.specs) + 1)  # bytes of a record: numbers at random are hardly compressed
    of_columns += 0 if split.sources is None else OF_A_NAME
    per_block, n_kept = records_per_block(split), 0
    while n_kept < len(split.samples) and (not blocks.texts or blocks.left > spared + n_kept * of_columns):
        end = min(n_kept + per_block, len(split.samples))
        blocks.add(f"{name}-images-{n_kept // per_block}", split.images(slice(n_kept, end)))
        advance(end - n_kept)
        n_kept = end
    kept = split.start(n_kept)
    for number in range(len(split.specs) + 1 if n_kept else 0):
        blocks.add(f"{name}-column-{number}", kept.column(number).tobytes())
    if n_kept and split.sources is not None:
        blocks.add(f"{name}-whence", json.dumps([kept.whence(number) for number in range(n_kept)]).encode())
    return n_kept


def add_sounds(blocks: Blocks, name: str, split: SplitContent, playback: Playback) -> int:
    """Add the sounds of the first records of a split, each a block of 16-bit samples, as far as there is room.

    Returns:
        Number of the sounds; there is none from the first one on at which a synth fails.
    """
    most = len(split.samples) if playback.recipe else min(len(split.samples), MOST_ESTIMATED)
    size = 0
    for number in range(most):
        if blocks.left < size:
            return number
        try:
            (waveform,) = playback.sounds(split.samples.read(slice(number, number + 1)), name, number)
        except NSMError:
            return number
        size = blocks.left
        blocks.add(f"{name}-sound-{number}", (within_full_scale(waveform) * 32767).round().astype("<i2").tobytes())
        size -= blocks.left
    return most


def _holds(content: SheetContent, kept: Mapping[str, SplitContent], n_sounds: Mapping[str, int]) -> str:
    """A sentence on what a file holds, and what it leaves out."""
    parts = [
        _share(len(kept[name].samples) if name in kept else 0, len(split.samples), f"{name} records")
        for name, split in content.splits.items()
    ]
    parts += [_share(n, len(content.splits[name].samples), f"{name} sounds") for name, n in n_sounds.items()]
    return f"This file holds {', '.join(parts)}."


def _share(n: int, total: int, what: str) -> str:
    """Some of a number of things, in words."""
    return f"all {total:,} {what}" if n == total else f"the first {n:,} of {total:,} {what}" if n else f"no {what}"
