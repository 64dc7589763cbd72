"""The live page as a folder of static files, which needs no Python (`src/play_page.py`)."""

from pathlib import Path

from omegaconf import DictConfig

from src.instrument.static.folder import RUNTIME, STEPS, check_place, page_files, write_folder
from src.instrument.static.runtime import default_cache
from src.models.onnx_export import check_packages
from src.programs.output import PlainTable, console, plain_table, progress, say_where
from src.runs import ChosenRun
from src.sections import Text, read_section
from src.tasks.play import InstrumentSettings, checkpoints_of, instrument_of

BINARY = (".wasm", ".onnx")


class PlayPageSettings(InstrumentSettings):
    """Settings of the program; `configs/play_page.yaml` explains each."""

    output: Text | None
    cache: Text | None


def play_page(cfg: DictConfig) -> None:
    """Write the page as configured."""
    check_packages()
    settings, log_dir = read_section(PlayPageSettings, cfg), Path(cfg.paths.log_dir)
    chosen = checkpoints_of(settings, log_dir)
    output = Path(settings.output) if settings.output else default_output(chosen, log_dir)
    check_place(output)
    with progress(STEPS + 2 * len(chosen), "Writing the page", "steps") as advance:
        instrument = instrument_of(settings, chosen, advance)
        files = page_files(instrument, Path(settings.cache) if settings.cache else default_cache(), advance)
        write_folder(output, files)
        advance(1)
    console().print(size_table(files))
    say_where(Page=output / "index.html")


def default_output(chosen: list[ChosenRun], log_dir: Path) -> Path:
    """In the directory of the first network's run; below `logs` where nothing listens."""
    if not chosen:
        return log_dir / "play_page"
    directory = chosen[0].ckpt_path.parent
    return (directory.parent if directory.name == "checkpoints" else directory) / "play_page"


def size_table(files: dict[str, bytes]) -> PlainTable:
    """What the folder holds, by kind."""
    table = plain_table("Sizes", ("file",), ("KB",))
    sizes: dict[str, int] = {}
    for name, content in files.items():
        kind = (
            "onnxruntime-web"
            if name.startswith(f"{RUNTIME}/")
            else name
            if name.endswith(BINARY)
            else "the page itself"
        )
        sizes[kind] = sizes.get(kind, 0) + len(content)
    for kind, size in (sizes | {"all": sum(sizes.values())}).items():
        table.add_row(kind, f"{size / 1000:,.0f}")
    return table
