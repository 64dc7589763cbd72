"""Writes the live page as a folder of files that any host of static files can have."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from src.errors import ConfigError
from src.files import claim_directory, exchange, write_atomically
from src.instrument.content import HERE as PAGE
from src.instrument.content import page_content, page_data
from src.instrument.instrument import Instrument
from src.instrument.static.graphs import hearing_onnx, picture_onnx
from src.instrument.static.runtime import runtime_files
from src.instrument.static.tables import tables
from src.pages.pages import PageSource, address_of
from src.spectral.representation import SpectralRepresentation
from src.synth.wasm import compile_voices

HERE = Path(__file__).parent
SOURCE = PageSource(PAGE / "play.html.j2", PAGE / "play.css", HERE / "static.js")
INDEX, VOICES, PICTURE, RUNTIME = "index.html", "voices.wasm", "picture.onnx", "ort"
OURS = (INDEX, VOICES, PICTURE)  # files by which a folder is known to be such a page
STEPS = 4  # and one a network
ALONE = "No network listens: an instrument alone."


def page_files(instrument: Instrument, cache: Path, advance: Callable[[int], None]) -> dict[str, bytes]:
    """Address, relative to the page's, to content of every file.

    Args:
        instrument: That is played.
        cache: Directory for what is fetched.
        advance: Called with the number of steps just taken.

    Raises:
        ConfigError: If a page cannot do without Python for it, or something that is needed to make it is missing.
    """
    names = [f"network{n}.onnx" for n, _ in enumerate(instrument.networks, start=1)]
    known = tables(instrument, names)
    files = {f"{RUNTIME}/{name}": content for name, content in runtime_files(cache).items()}
    advance(1)
    files[VOICES] = compile_voices()
    advance(1)
    representation = instrument.representation
    assert isinstance(representation, SpectralRepresentation)  # `tables` refuses others
    files[PICTURE] = picture_onnx(representation)
    advance(1)
    for name, network in zip(names, instrument.networks, strict=True):
        files[name] = hearing_onnx(network.trained)
        advance(1)
    return files | dict(text_files(static_data(instrument, known), page_content(instrument, refines=False)))


def static_data(instrument: Instrument, known: dict[str, Any]) -> dict[str, Any]:
    """The input of the page's script: what any page has, without what only Python can do."""
    data = page_data(instrument, most_bytes=0, local=True)
    alone = None if instrument.networks else ALONE
    return {**data, "n_test": 0, "perturbations": [], "how_to_train": alone, "static": known}


def text_files(data: dict[str, Any], content: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Address and content of the page itself, its styles, its modules, and those of its worker."""
    yield INDEX, SOURCE.hosted(data, **content).encode()
    for address, text in SOURCE.files.items():
        yield address.removeprefix("/"), text.encode()
    for path in sorted(HERE.glob("*.js")):
        yield address_of(path).removeprefix("/"), path.read_bytes()


def check_place(output: Path) -> None:
    """Refuse to replace what is no such page.

    Raises:
        ConfigError: If there is something else.
    """
    if output.exists() and not (output.is_dir() and all((output / name).is_file() for name in OURS)):
        raise ConfigError(f"output={output} is there, and no page of this program. Name another folder, or remove it.")


def write_folder(output: Path, files: dict[str, bytes]) -> None:
    """Write a folder so that it is there whole or not at all; an earlier page in its place is replaced in one step.

    Args:
        output: The folder.
        files: Address to content.
    """
    check_place(output)
    made = claim_directory(output.with_name(f".{output.name}.part"))
    try:
        for address, content in files.items():
            write_atomically(made / address, content)
        if output.exists() and exchange(made, output):
            return
        if output.exists():
            shutil.rmtree(output)
        made.rename(output)
    finally:
        shutil.rmtree(made, ignore_errors=True)  # what was there before, or what was not finished
