"""Writes a sound before and after every perturbation of configs/perturb: WAV files, and a page to look and listen.

python scripts/perturb.py [AUDIO] [--output DIR] [--rooms DIR] [--number 0] [--config-name synth/generate_simple_saw]

AUDIO is an audio file; without one, a sound of a generator's configuration is taken, whose own phase can vary as well.
"""

import argparse
import html
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.image import AxesImage  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

from scripts.list_configs import groups  # noqa: E402
from scripts.setups import compose_config, recipe_of  # noqa: E402
from src.checkpoints.trusted import instantiate_own  # noqa: E402
from src.errors import NSMError, check_number  # noqa: E402
from src.files import write_atomically  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.pages.encoding import as_text, encode_wav  # noqa: E402
from src.perturb.chain import Perturbation  # noqa: E402
from src.pictures.plots import STYLE, png  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.recipe.settings import check_voice  # noqa: E402
from src.recordings import AudioFile, find_files  # noqa: E402
from src.spectral.representation import SpectralRepresentation  # noqa: E402
from src.text import all_printable, prepare_streams, say  # noqa: E402

GENERATOR = "synth/generate_simple_saw"
SEED = 42
LONGEST = 4.0  # s that are read of a file
DEPTH = 90.0  # dB of a spectrogram
CHANGE = 20.0  # dB of a change, either way
PAGE_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; }
h2 { margin: 2rem 0 0.25rem; font-size: 1.1rem; }
p { margin: 0.25rem 0; color: GrayText; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; }
img, audio { width: 100%; display: block; }
"""


@dataclass(frozen=True)
class Changed:
    """A sound after a perturbation.

    Attributes:
        name: Of the option in configs/perturb.
        waveform: `(time,)`; None where it cannot be.
        about: What was drawn, or why it cannot be.
    """

    name: str
    waveform: np.ndarray | None
    about: str


@dataclass(frozen=True)
class Given:
    """A sound before the perturbations.

    Attributes:
        name: What it is.
        waveform: `(time,)`.
        sample_rate: Hz.
        after: The sound after a perturbation, `(time,)`.
    """

    name: str
    waveform: np.ndarray
    sample_rate: int
    after: Callable[[Perturbation], np.ndarray]


def from_file(path: Path, number: int) -> Given:
    """A recording; the parameters of the voice that made it stay as they are."""
    audio = AudioFile.open(path)
    blocks = audio.blocks(0, round(LONGEST * audio.sample_rate))
    waveform = np.concatenate(list(blocks)).astype(np.float32)

    def after(perturbation: Perturbation) -> np.ndarray:
        draws = perturbation.draws(number, number + 1, SEED)
        return perturbation.apply(torch.from_numpy(waveform)[None], draws)[0].numpy()

    return Given(path.name, waveform, audio.sample_rate, after)


def from_voice(config_name: str, number: int) -> Given:
    """A sound of a generator, whose voice begins at another phase where a perturbation says so."""
    recipe = recipe_of(config_name, f"dataset.seed={SEED}")
    value = recipe.values(number, number + 1)

    def after(perturbation: Perturbation) -> np.ndarray:
        check_voice(perturbation, recipe.synth)
        return replace(recipe, perturbation=perturbation).recorded(value, number)[0]

    return Given(f"Sound {number} of {config_name}", recipe.render(value)[0], recipe.synth.sample_rate, after)


def changed_by(option: str, given: Given, rooms: str | None, number: int) -> Changed:
    """What an option of configs/perturb makes of a sound."""
    overrides = [f"perturb={option}"]
    if option == "measured_room":
        if rooms is None:
            return Changed(option, None, "It needs a directory of impulse responses: --rooms DIR.")
        overrides.append(f"perturb.measured_room.directory={quoted(rooms)}")
    sections = OmegaConf.to_container(compose_config(GENERATOR, *overrides).perturb, resolve=True)
    try:
        effects = {str(name): instantiate_own(section, slot="effect") for name, section in dict(sections).items()}
        perturbation = Perturbation(effects, given.sample_rate, len(given.waveform))
        return Changed(option, given.after(perturbation), described(perturbation, number))
    except NSMError as error:
        return Changed(option, None, str(error))


def described(perturbation: Perturbation, number: int) -> str:
    """What is drawn for a sound, in words."""
    parts = []
    for name, drawn in perturbation.draws(number, number + 1, SEED).items():
        settings = (f"{key} {', '.join(f'{n:.4g}' for n in item[0].tolist())}" for key, item in drawn.value.items())
        if drawn.is_on[0]:
            parts.append(f"{name} ({', '.join(settings)})")
    return ", ".join(parts) or "nothing was drawn for this sound"


# ----- what is written


def level_of(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """A spectrogram, 0 to 90 dB under full scale, `(freq, time)`."""
    representation = SpectralRepresentation(
        sample_rate=sample_rate,
        duration=len(waveform) / sample_rate,
        height=512,
        width=256,
        win_length=min(512, len(waveform)),
        n_fft=1024,
        top_db=DEPTH,
    )
    return np.maximum(representation.spectrogram_db(torch.from_numpy(waveform))[0][0].numpy(), -DEPTH)


def draw(axes: Axes, decibels: np.ndarray, given: Given, colours: str, low: float, high: float) -> AxesImage:
    """A picture with the axes of a sound, decibels from `low` to `high`."""
    extent = (0, len(given.waveform) / given.sample_rate, 0, given.sample_rate / 2000)
    return axes.imshow(decibels, colours, aspect="auto", origin="lower", extent=extent, vmin=low, vmax=high)


def picture_of(waveform: np.ndarray, given: Given) -> bytes:
    """A spectrogram as PNG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.5, 2.2), layout="constrained")
        axes = figure.subplots()
        draw(axes, level_of(waveform, given.sample_rate), given, "magma", -DEPTH, 0)
        axes.set(xlabel="time (s)", ylabel="frequency (kHz)")
        return png(figure)


def sheet_of(given: Given, changed: Sequence[Changed]) -> bytes:
    """The sound, and by how many decibels each perturbation changes its spectrogram, on one picture, as PNG."""
    before, after = level_of(given.waveform, given.sample_rate), [one for one in changed if one.waveform is not None]
    n_rows = -(-(1 + len(after)) // 4)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.7 * n_rows), layout="constrained")
        first, *plots = figure.subplots(n_rows, 4, sharex=True, sharey=True).ravel()
        first.set_title("the sound")
        level = draw(first, before, given, "magma", -DEPTH, 0)
        for axes, one in zip(plots, after, strict=False):
            axes.set_title(one.name)
            change = draw(axes, level_of(one.waveform, given.sample_rate) - before, given, "RdBu_r", -CHANGE, CHANGE)
        for axes in plots[len(after) :]:
            axes.set_visible(False)
        for image, label in ((level, "level (dB full scale)"), (change, "change (dB)")):
            figure.colorbar(image, ax=[first, *plots], label=label, shrink=0.3, pad=0.01)
        figure.supxlabel("time (s)", fontsize=8)
        figure.supylabel("frequency (kHz)", fontsize=8)
        return png(figure)


def page_of(given: Given, changed: Sequence[Changed]) -> str:
    """A page that holds all sounds and pictures, and may load none."""
    before = figure_of("before", given.waveform, given)
    sections = [f"<h1>{shown(given.name)}</h1>"]
    for one in changed:
        after = "" if one.waveform is None else figure_of("after", one.waveform, given)
        pair = f'<div class="pair">{before}{after}</div>' if after else ""
        sections.append(f"<h2>{shown(one.name)}</h2><p>{shown(one.about)}</p>{pair}")
    style_hash = as_text(sha256(PAGE_STYLE.encode()).digest())
    policy = (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; img-src data:; media-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Perturbations of {shown(given.name)}</title><style>{PAGE_STYLE}</style></head>"
        f"<body>{''.join(sections)}</body></html>\n"
    )


def figure_of(label: str, waveform: np.ndarray, given: Given) -> str:
    """A sound to look at and to listen to, as HTML."""
    picture = as_text(picture_of(waveform, given))
    sound = as_text(encode_wav(audible(waveform), given.sample_rate))
    return (
        f'<figure><figcaption>{label}</figcaption><img alt="Spectrogram" src="data:image/png;base64,{picture}">'
        f'<audio controls preload="none" src="data:audio/wav;base64,{sound}"></audio></figure>'
    )


def audible(waveform: np.ndarray) -> np.ndarray:
    """The sound, lowered to full scale if it goes beyond."""
    return waveform / max(1.0, float(np.abs(waveform).max(initial=0.0)))


def shown(text: str) -> str:
    """A text as HTML."""
    return html.escape(all_printable(text))


def write(given: Given, changed: Sequence[Changed], output: Path) -> None:
    """All files of a sound."""
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / "before.wav", encode_wav(audible(given.waveform), given.sample_rate))
    for one in changed:
        if one.waveform is not None:
            write_atomically(output / f"{one.name}.wav", encode_wav(audible(one.waveform), given.sample_rate))
    write_atomically(output / "perturb.html", page_of(given, changed).encode())
    write_atomically(output / "perturb.png", sheet_of(given, changed))


def main() -> int:
    """Parse the arguments, and write."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", nargs="?", default="", help="an audio file; of a directory or a pattern the first")
    parser.add_argument("--output", type=Path, default=ROOT / "logs" / "perturb")
    parser.add_argument("--rooms", help="directory of measured impulse responses")
    parser.add_argument("--number", type=int, default=0, help="which draw, and without AUDIO which sound")
    parser.add_argument("--config-name", default=GENERATOR, help="of the generator, without AUDIO")
    arguments = parser.parse_args()
    check_number("--number", arguments.number, whole=True, least=0)
    given = (
        from_file(find_files(arguments.audio)[0], arguments.number)
        if arguments.audio
        else from_voice(arguments.config_name, arguments.number)
    )
    options = [option for option in groups()["perturb"] if option != "none"]
    changed = [changed_by(option, given, arguments.rooms, arguments.number) for option in options]
    write(given, changed, arguments.output)
    for one in changed:
        say(f"{one.name}: {one.about}")
    n_written = sum(one.waveform is not None for one in changed)
    say(f"Before and after of {n_written} perturbations, WAV files: {arguments.output}")
    say(f"A page to look at and to listen to: {arguments.output / 'perturb.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
