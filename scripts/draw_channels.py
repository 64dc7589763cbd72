"""Draws every channel of one Moog sound for docs/channels.md, and says what each costs.

python scripts/draw_channels.py [--sample 3] [--output docs/channels.png] [--cost]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from scripts.pages import table  # noqa: E402
from scripts.setups import recipe_of, seconds_of  # noqa: E402
from src.files import atomic_file  # noqa: E402
from src.pictures.plots import STYLE, draw_spectrogram  # noqa: E402
from src.recipe import BLOCK, Recipe  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402
from src.vimh.axes import ChannelInfo, channels_of  # noqa: E402

CHANNELS = (
    *("windows", "instantaneous_frequency", "group_delay", "modulation"),
    *("temporal_envelope", "spectral_envelope", "normalized"),
)
RATIOS = (0.25, 1, 4)  # of the windows
SIZE = ("representation.height=127", "representation.width=64", "representation.win_length=256")  # up to 4 kHz


def draw(sample: int, output: Path) -> None:
    """Draw one sound of the envelope set."""
    channels = (f"channels=[{','.join(CHANNELS)}]", f"channels.windows.ratios=[{','.join(map(str, RATIOS))}]")
    recipe = recipe_of("synth/generate_moog_envelope", "representation=stft", *channels, *SIZE)
    sounds, info = recipe.make(sample, sample + 1), recipe.info("channels")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 12), layout="constrained")
        plots = figure.subplots(4, 3).ravel()
        for plot, channel, image in zip(plots, channels_of(info, True), sounds.image[0], strict=False):
            level = channel.levels(image[None], sounds.spec_range)[0]
            drawn = draw_spectrogram(plot, level, channel, ends_of(channel, sounds.spec_range))
            plot.set_title(channel.name)
            figure.colorbar(drawn, ax=plot, label=channel.units)
        draw_samples(figure, plots[10:], recipe, sample)
        with atomic_file(output) as file:
            figure.savefig(file, dpi=90)


def ends_of(channel: ChannelInfo, spec_range: np.ndarray) -> tuple[float, float]:
    """Levels of the first and the last colour."""
    return tuple(spec_range[0].tolist()) if channel.ends is None else channel.ends


def draw_samples(figure: Figure, plots: np.ndarray, recipe: Recipe, sample: int) -> None:
    """The first 20 ms of the same sound as samples and as bits."""
    waveform = torch.from_numpy(recipe.render(recipe.values(sample, sample + 1)))
    rate = recipe.synth.sample_rate
    for plot, name in zip(plots, ("waveform", "bits"), strict=True):
        representation = recipe_of("synth/generate_moog_envelope", f"representation={name}").representation
        pixels = representation.to_image(waveform)[0][0, 0, :, : rate // 50].numpy()
        low, high, units = representation.channel_ranges[0]
        level = low + pixels * (high - low) / 255
        if name == "waveform":
            plot.step(np.arange(level.shape[1]) / rate * 1000, level[0], where="mid", color="#2a5d84")
            plot.set_ylabel(units)
        else:
            extent = (0, 20, -0.5, len(level) - 0.5)
            plot.imshow(level, origin="lower", aspect="auto", interpolation="nearest", cmap="gray", extent=extent)
            plot.set_ylabel("bit")
        plot.set(title=f"{name}, the first 20 ms", xlabel="time (ms)")


def print_costs() -> None:
    """Microseconds of one core per sound, of the first channel alone and of one more at a time."""
    sets = {
        "basic": ("synth/generate_moog_basic", "stft"),
        "envelope": ("synth/generate_moog_envelope", "mel"),
        "127 x 64": ("synth/generate_moog_envelope", "stft"),
    }
    apart = {f"window_{ratio:g}": ("channels=[windows]", f"channels.windows.ratios=[{ratio}]") for ratio in RATIOS}
    apart |= {channel: (f"channels=[{channel}]",) for channel in CHANNELS[1:]}
    rows: dict[str, list[str]] = {}
    for label, (name, first) in sets.items():
        overrides = SIZE if label == "127 x 64" else ()
        alone = recipe_of(name, f"representation={first}", *overrides)
        waveform = torch.from_numpy(alone.render(alone.values(0, BLOCK)))
        others = [recipe_of(name, f"representation={first}", *one, *overrides) for one in apart.values()]
        samples = [recipe_of(name, f"representation={what}", *overrides) for what in ("waveform", "bits")]
        calls = [partial_image(recipe.representation, waveform) for recipe in (alone, *others, *samples)]
        seconds = medians(calls)
        base = seconds[0]
        more = [base, *(time_ - base for time_ in seconds[1 : 1 + len(apart)]), *seconds[1 + len(apart) :]]
        for what, second in zip(("first channel", *apart, "waveform", "bits"), more, strict=True):
            rows.setdefault(what, []).append(f"{1e6 * second / BLOCK:.0f} ({second / base:.2f})")
    say(*table(("channel", *sets), ((what, *cells) for what, cells in rows.items())))


def partial_image(representation: Any, waveform: torch.Tensor) -> Callable[[], object]:
    return lambda: representation.to_image(waveform)


def medians(calls: list[Callable[[], object]], rounds: int = 7, repeats: int = 7) -> list[float]:
    """Seconds of one core per call, in bursts as a generator calls them, since memory is at hand from the second on."""
    torch.set_num_threads(1)
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            call()
            for _ in range(repeats):
                taken.append(seconds_of(call, time.thread_time))
    return [statistics.median(taken) for taken in times]


def main() -> None:
    """Parse the arguments, and draw or measure."""
    prepare_streams()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "channels.png")
    parser.add_argument("--cost", action="store_true", help="measure instead of drawing")
    arguments = parser.parse_args()
    if arguments.cost:
        print_costs()
    else:
        draw(arguments.sample, arguments.output)
        say(arguments.output)


if __name__ == "__main__":
    main()
