"""Shows a VIMH dataset: as a page in the browser, or as a file (`display_vimh.py`)."""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError, VIMHError, check_number
from src.files import claim_directory, write_atomically
from src.live.server import serve
from src.pictures.contact_sheet import Sheet, contact_sheet
from src.pictures.plots import png
from src.playback import Playback
from src.programs.output import WIDEST, PlainTable, console, plain_table, progress
from src.programs.signals import Terminated, end_now
from src.recipe import ROOT
from src.sheet.app import sheet_app
from src.sheet.content import SheetContent, SplitContent
from src.sheet.saved import saved_page
from src.text import complain, say
from src.vimh.axes import channels_of
from src.vimh.format import INFO_NAME, SPLITS
from src.vimh.info import DatasetInfo, packed_from
from src.vimh.reader import VIMHReader, VIMHSplit

FORMATS = (".png", ".html")
NARROW: dict[str, Any] = {"pad_edge": False, "collapse_padding": True}


def display(options: argparse.Namespace) -> int:
    """Show, print and write as the options of `display_vimh.py` say.

    Returns:
        The exit code: 1 at a defect of the dataset.
    """
    if options.save and options.save.suffix not in FORMATS:
        raise ConfigError(f"--save {options.save}: the name must end with {' or '.join(FORMATS)}.")
    reader = VIMHReader(options.data_dir or newest_dataset(ROOT / "data"))
    say(f"Dataset: {reader.data_dir}")
    channel = None if options.channel is None else find_channel(reader.info, options.channel)
    checked = options.info or options.validate
    is_sound, finding = examine(reader) if checked else (True, "")
    if options.info:
        print_info(reader, finding)
    if not is_sound:
        complain(finding)
    elif options.validate:
        say(f"Validation: {finding}")
    if options.save:
        save(reader, options, channel, options.save)
    elif not checked:
        show(reader, options, channel)
    return 0 if is_sound else 1


def show(reader: VIMHReader, options: argparse.Namespace, channel: int | None) -> None:
    """Serve the page until Ctrl-C, or write it below `logs/viewer` where nobody sits at a terminal."""
    if options.live or sys.stdout.isatty():
        app = sheet_app(content_of(reader, options, channel))
        try:
            serve(app, options.port)
        except Terminated:
            raise
        except KeyboardInterrupt:  # the way in which a page ends
            say("Ended.")
            end_now(0)
        return
    with own_directory(ROOT / "logs" / "viewer" / time.strftime("%Y-%m-%d_%H-%M-%S")) as directory:
        save(reader, options, channel, directory / f"{reader.data_dir.resolve().name}.html")


def save(reader: VIMHReader, options: argparse.Namespace, channel: int | None, path: Path) -> None:
    """Write the page, or a contact sheet, to a file, and print its path.

    Args:
        reader: The dataset.
        options: With `split`, `samples` of a sheet, `megabytes` of a page.
        channel: That is shown, or shown first in a page; None: all, or the first one.
        path: Ends with `.html` or `.png`.

    Raises:
        ConfigError: If the file cannot be written.
    """
    make = page_file if path.suffix == ".html" else sheet_file
    content = make(reader, options, channel)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}). Choose another file.") from error
    say(path)


def page_file(reader: VIMHReader, options: argparse.Namespace, channel: int | None) -> bytes:
    """The page as one file; what it holds is printed."""
    check_number("--megabytes", options.megabytes, above=0)
    content = content_of(reader, options, channel)
    with progress(sum(len(split.samples) for split in content.splits.values()), "Packing", "records") as advance:
        page = saved_page(content, round(options.megabytes * 1e6), advance)
    say(page.holds)
    return page.content


def content_of(reader: VIMHReader, options: argparse.Namespace, channel: int | None) -> SheetContent:
    """What the page of a dataset shows."""
    check_samples(reader.split(options.split))
    samples = {name: reader.split(name) for name in SPLITS}
    sources = reader.sources or {}
    return SheetContent(
        title=reader.data_dir.resolve().name,
        info=reader.info,
        splits={name: SplitContent(split, sources.get(name)) for name, split in samples.items() if len(split)},
        playback=Playback(reader.info, partial(instantiate_trusted, trusted_modules=options.trusted_modules)),
        facts=facts(reader.info),
        first=options.split,
        channel=channel or 0,
    )


@contextmanager
def own_directory(wanted: Path) -> Iterator[Path]:
    """A directory that no other process has, gone again if nothing was written to it."""
    directory = wanted
    with suppress(OSError):  # what is written there meets the error again, and a window may need no file
        directory = claim_directory(wanted)
    try:
        yield directory
    finally:
        with suppress(OSError):
            directory.rmdir()


def newest_dataset(directory: Path) -> Path:
    """The dataset in a directory that was finished last.

    Raises:
        VIMHError: If there is none.
    """
    found = [path for path in directory.glob(f"*/{INFO_NAME}") if not path.parent.name.startswith(".")]
    if not found:
        raise VIMHError(f"{directory}: holds no dataset. Generate one (make sds), or name a directory.")
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.as_posix())).parent


def find_channel(info: DatasetInfo, wanted: str) -> int:
    """Number of a channel from its number or its name.

    Raises:
        ConfigError: If there is no such channel.
    """
    names = list(info.channel_labels)
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < info.channels:
        return int(wanted)
    raise ConfigError(
        f"--channel {wanted}: the dataset has the channels 0 to {info.channels - 1}"
        + (f", called {', '.join(names)}." if names else ".")
    )


def facts(info: DatasetInfo) -> dict[str, str]:
    """Properties of a dataset, a line each."""
    found = {
        "image": f"{info.height}x{info.width}x{info.channels} ({', '.join(info.channel_labels) or 'unnamed'})",
        "samples": f"{info.train_samples:,} train, {info.test_samples:,} test",
        **(origin(info, source) if (source := packed_from(info)) else synthesis(info)),
    }
    fixed = ", ".join(f"{entry.name} {entry.value:g}" for entry in info.space.fixed)
    return found | ({"fixed": fixed} if fixed else {})


def synthesis(info: DatasetInfo) -> dict[str, str]:
    """What made the sounds of a dataset."""
    duration, sample_rate = (f"{number:g}" if number else "?" for number in (info.duration, info.sample_rate))
    return {
        "sound": f"{duration} s at {sample_rate} Hz, synth {info.synth_type or 'unknown'}",
        "sampling": f"{info.sampling or 'unknown'}, seed {'unknown' if info.seed is None else info.seed}",
    }


def origin(info: DatasetInfo, source: Mapping[str, Any]) -> dict[str, str]:
    """What files the samples of a dataset were packed from, and how sounds were cut out of them."""
    found = {"packed from": f"{info.synth_type or 'unknown'} ({source.get('kind', 'unknown')})"}
    if not (info.duration and info.sample_rate):
        return found
    hop = source.get("hop")
    cut = f"a frame every {hop} s" if hop else "the beginning of each file"
    return found | {"sound": f"{info.duration:g} s at {info.sample_rate:g} Hz, {cut}"}


def sheet_file(reader: VIMHReader, options: argparse.Namespace, channel: int | None) -> bytes:
    """A contact sheet of the first samples of a split, as PNG."""
    samples = reader.split(options.split)
    check_number("--samples", options.samples, whole=True, least=1)
    check_samples(samples)
    batch = samples.read(slice(0, options.samples))
    shown = slice(None) if channel is None else slice(channel, channel + 1)
    sheet = Sheet(
        title=reader.data_dir.resolve().name,
        split=options.split,
        channels=channels_of(reader.info, samples.has_spec_range)[shown],
        specs=reader.info.parameters,
        number=np.arange(len(batch.image)),
        batch=batch._replace(image=batch.image[:, shown]),
        value=values_of(samples),
        facts=facts(reader.info),
    )
    return png(contact_sheet(sheet))


def values_of(samples: VIMHSplit) -> np.ndarray:
    """Values of all samples of a split that is not empty, natural units, `(sample, parameter)`."""
    if samples.exact is not None:
        return samples.exact
    return np.concatenate([samples.read(chunk).value for chunk in samples.chunks()])


def check_samples(samples: VIMHSplit) -> None:
    """Refuse to show the samples of an empty split."""
    if not len(samples):
        raise VIMHError(f"{samples.path}: has no samples. Choose the other --split.")


def examine(reader: VIMHReader) -> tuple[bool, str]:
    """Whether a dataset is as it should be, and what reading everything finds, or the first defect."""
    try:
        with progress(len(reader.train) + len(reader.test), "Validating", "samples") as advance:
            return True, reader.validate(advance)
    except VIMHError as error:
        return False, str(error)


def print_info(reader: VIMHReader, finding: str) -> None:
    """Print metadata, validation and statistics."""
    info = reader.info
    terminal = console()
    table = PlainTable(show_header=False, **NARROW)
    size = sum(path.stat().st_size for path in reader.data_dir.iterdir() if path.is_file())
    rows = {
        "format": f"{info.format} {info.version}",
        **facts(info),
        "made by": made_by(info),
        "size": f"{size / 1e6:.1f} MB",
        "validation": finding,
    }
    for row in rows.items():
        table.add_row(*row)
    for part in (table, parameter_table(reader), channel_table(reader)):
        terminal.print(part)
        terminal.print()


def made_by(info: DatasetInfo) -> str:
    """What wrote a dataset."""
    if info.generator:
        return f"version {info.generator.get('version', '?')} of this project"
    return "this project, of files" if packed_from(info) else "another program"


def parameter_table(reader: VIMHReader) -> PlainTable:
    """Range and statistics of every parameter."""
    numbers = ("min", "max", "step", "classes", "mean", "std", "most\nfreq.")
    table = plain_table("Parameters, over both splits", ("name", "units"), numbers)
    value = np.concatenate([values_of(samples) for samples in (reader.train, reader.test) if len(samples)])
    for number, spec in enumerate(reader.info.parameters):
        found = value[:, number].astype(np.float64)
        index = spec.index_from_normalized(spec.normalized_from_value(found)).astype(np.int64)
        table.add_row(
            *(spec.name, spec.units, f"{spec.min:g}", f"{spec.max:g}", f"{spec.step:g}", str(spec.n_classes)),
            *(("", "") if spec.categorical else (f"{found.mean():.3g}", f"{found.std():.3g}")),
            f"{np.bincount(index).max() / len(index):.1%}",
        )
    return table


def channel_table(reader: VIMHReader) -> PlainTable:
    """Levels and extreme pixels of every channel."""
    table = PlainTable("Channels, over the training samples", **NARROW)
    for column in ("name", "lowest", "highest", "mean", "units", "pixels 0", "pixels 255"):
        table.add_column(column, justify="left" if column in ("name", "units") else "right", max_width=WIDEST)
    samples = reader.train
    for number, channel in enumerate(channels_of(reader.info, samples.has_spec_range)):
        low, high = np.inf, -np.inf
        sums = np.zeros(3)  # of levels, of pixels 0, of pixels 255
        for chunk in samples.chunks():
            batch = samples.read(chunk)
            pixel = batch.image[:, number]
            levels = channel.levels(pixel, batch.spec_range)
            low, high = min(low, float(levels.min())), max(high, float(levels.max()))
            sums += levels.sum(dtype=np.float64), (pixel == 0).sum(), (pixel == 255).sum()
        mean, darkest, brightest = sums / (len(samples) * pixel[0].size)
        measured = (f"{low:.1f}", f"{high:.1f}", f"{mean:.1f}", channel.units, f"{darkest:.1%}", f"{brightest:.1%}")
        table.add_row(channel.name, *measured)
    return table
