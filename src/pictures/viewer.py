"""The viewer: a window that shows the samples of a dataset one after another, and plays them."""

import io
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import soundfile
import torch
from matplotlib import pyplot
from matplotlib.backend_bases import KeyEvent
from matplotlib.backends.registry import BackendFilter, backend_registry
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from src.errors import ConfigError, NSMError
from src.files import write_atomically
from src.pictures.plots import SIZE, fitted, sample_figure, value_texts
from src.recipe import Recipe
from src.spectral.representation import Mel, SpectralRepresentation
from src.text import one_line
from src.vimh.axes import ChannelInfo, channels_of, limits
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch, VIMHReader

HELP = (
    "←  → sample     Page Up/Down by 10     Home, End     digits and Enter: jump     t: train/test\n"
    "c: channel     w: waterfall     space: play     s: save the picture     q: quit"
)
PAGE = 10  # samples
MOST_SAMPLES = 1024  # from which the colours are chosen
USUAL_KEYS = ("keymap.save", "keymap.quit", "keymap.fullscreen")  # of matplotlib's own

Listen = Callable[[Batch, str], str]


@dataclass(frozen=True)
class Place:
    """The state of the window.

    Attributes:
        split: `train` or `test`.
        number: Of the sample.
        channel: Number of the channel.
        waterfall: Whether in three dimensions.
        typed: Digits of the number to jump to.
    """

    split: str = "train"
    number: int = 0
    channel: int = 0
    waterfall: bool = False
    typed: str = ""


def after_key(place: Place, key: str, n_samples: Mapping[str, int], n_channels: int) -> Place:
    """The place after a key; a key without a meaning changes nothing.

    Args:
        place: The place before it.
        key: As matplotlib calls it.
        n_samples: Of each split.
        n_channels: Of an image.
    """
    if key.isdecimal():
        return replace(place, typed=place.typed + key)
    if key == "backspace":
        return replace(place, typed=place.typed[:-1])
    last = n_samples[place.split] - 1
    moves = {"right": 1, "left": -1, "pagedown": PAGE, "pageup": -PAGE, "home": -last, "end": last}
    number = int(place.typed) if key == "enter" and place.typed else place.number + moves.get(key, 0)
    moved = replace(place, number=min(max(number, 0), last), typed="")
    if key == "c":
        return replace(moved, channel=(place.channel + 1) % n_channels)
    if key == "w":
        return replace(moved, waterfall=not place.waterfall)
    if key == "t":
        other = "test" if place.split == "train" else "train"
        return replace(moved, split=other, number=0) if n_samples[other] else moved
    return moved


class Viewer:
    """Draws the samples of a dataset on a figure, and responds to keys.

    Args:
        figure: Empty, of `plots.SIZE`, on a canvas.
        reader: The dataset.
        listen: Plays the one sample of a batch under a name; returns a message.
        place: Where to begin.
    """

    def __init__(self, figure: Figure, reader: VIMHReader, listen: Listen, place: Place) -> None:
        self.figure = figure
        self.reader = reader
        self.listen = listen
        self.place = place
        self.n_samples = {split: len(reader.split(split)) for split in ("train", "test")}
        self.channels = {
            split: channels_of(reader.info, reader.split(split).has_spec_range) for split in self.n_samples
        }
        self.ends = {split: _ends(reader, split, channels) for split, channels in self.channels.items()}
        figure.canvas.mpl_connect("key_press_event", self.on_key)
        self.draw()

    @property
    def batch(self) -> Batch:
        """The sample that is shown."""
        return self.reader.split(self.place.split).read(slice(self.place.number, self.place.number + 1))

    def on_key(self, event: KeyEvent) -> None:
        """Respond to a key; the space bar plays."""
        if event.key == " ":
            self.draw(self.listen(self.batch, f"{self.place.split}_{self.place.number}"))
        elif event.key is not None:
            place = after_key(self.place, event.key, self.n_samples, len(self.channels[self.place.split]))
            if place != self.place:
                self.place = place
                self.draw()

    def draw(self, message: str = "") -> None:
        """Draw the sample, with a message below it."""
        place, batch = self.place, self.batch
        channel = self.channels[place.split][place.channel]
        self.figure.clear()
        sample_figure(
            self.figure,
            channel,
            channel.levels(batch.image[:, place.channel], batch.spec_range)[0],
            self.ends[place.split][place.channel],
            f"{place.split} {place.number}, of {self.n_samples[place.split]:,} samples: {channel.name}",
            _texts(self.reader.info, batch),
            [fitted(message or (place.typed and f"Enter: jump to {place.typed}"), 9.2), *HELP.splitlines()],
            place.waterfall,
        )
        self.figure.canvas.draw_idle()


def _ends(reader: VIMHReader, split: str, channels: tuple[ChannelInfo, ...]) -> list[tuple[float, float]]:
    """Levels of the first and the last colour of each channel, the same for all samples of a split."""
    samples = reader.split(split)
    if not len(samples):
        return [(0.0, 1.0)] * len(channels)
    batch = samples.read(np.arange(0, len(samples), -(-len(samples) // MOST_SAMPLES)))
    return [limits(channel.levels(batch.image[:, c], batch.spec_range)) for c, channel in enumerate(channels)]


def _texts(info: DatasetInfo, batch: Batch) -> list[tuple[str, str]]:
    """Names and values of a sample: its parameters, its range, and the parameters that all sounds share."""
    texts = [("parameters", ""), *value_texts(info.parameters, batch.value[0])]
    if batch.spec_range.size:
        low, high = batch.spec_range[0]
        texts += [("range", ""), ("spec_min", f"{low:.2f} dB"), ("spec_max", f"{high:.2f} dB")]
    if info.space.fixed:
        texts += [("the same in every sound", ""), *((entry.name, f"{entry.value:.4g}") for entry in info.space.fixed)]
    return texts


def can_show() -> bool:
    """Whether matplotlib can open a window here."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        pyplot.switch_backend(matplotlib.get_backend())
    except ImportError:  # the requested backend is not installed, or finds no display
        return False
    return matplotlib.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE)


def show(reader: VIMHReader, listen: Listen, place: Place) -> None:
    """Open the window, and wait until it is closed."""
    own: dict[RcKeyType, Any] = {
        key: [] for key in matplotlib.rcParams if key.startswith("keymap.") and key not in USUAL_KEYS
    }
    with matplotlib.rc_context(own):
        figure = pyplot.figure(one_line(reader.data_dir.resolve().name), figsize=SIZE)
        _viewer = Viewer(figure, reader, listen, place)  # kept here: the canvas refers to it weakly
        pyplot.show()


@dataclass(frozen=True)
class Player:
    """Plays samples of a dataset: rendered from their values where its synth is known, by Griffin-Lim otherwise.

    Attributes:
        info: The dataset's JSON.
        instantiate: Makes an object from a section of its generator configuration, which came out of a file.
        directory: Where WAV files go where nothing can be played.
    """

    info: DatasetInfo
    instantiate: Callable[..., Any]
    directory: Path

    def __call__(self, batch: Batch, name: str) -> str:
        """Play the one sample of a batch; returns what came of it."""
        try:
            waveform, sample_rate, how = self.sound(batch)
        except NSMError as error:
            return f"No sound: {error}"
        return f"{how}: {play(waveform, sample_rate, self.directory / f'{name}.wav')}"

    def sound(self, batch: Batch) -> tuple[np.ndarray, int, str]:
        """Waveform of the one sample of a batch, `(time,)`, its sample rate in Hz, and where it comes from.

        Raises:
            NSMError: If the dataset does not say how its samples sound.
        """
        try:
            recipe = self._recipe
        except NSMError:
            representation = representation_of(self.info)
            return griffin_lim(representation, batch), representation.sample_rate, "Griffin-Lim"
        return recipe.render(batch.value)[0], recipe.synth.sample_rate, "Rendered from its values"

    @cached_property
    def _recipe(self) -> Recipe:
        return Recipe.from_info(self.info, self.instantiate)


def representation_of(info: DatasetInfo) -> SpectralRepresentation:
    """The representation that made the images of a dataset, from its JSON alone.

    Raises:
        ConfigError: If the JSON does not say enough, or nothing that this project can compute.
    """
    stft, mel = info.spectrogram_config or {}, info.mel_config
    missing = [key for key in ("win_length", "hop_length") if key not in stft]
    if missing or not info.sample_rate or not info.duration:
        raise ConfigError(
            "Its JSON does not say how the images were made: spectrogram_config with win_length and hop_length, "
            "sample_rate and duration are needed."
        )
    known = ("win_length", "n_fft", "window", "hop_length", "top_db")
    return SpectralRepresentation(
        sample_rate=int(info.sample_rate),
        duration=info.duration,
        height=info.height,
        width=info.width,
        **{key: stft[key] for key in known if key in stft},
        pre_emphasis=info.pre_emphasis_coefficient,
        mel=None if mel is None else {key: mel[key] for key in Mel.model_fields if key in mel},
    )


def griffin_lim(representation: SpectralRepresentation, batch: Batch) -> np.ndarray:
    """A sound that has the image of the first channel of a sample, `(time,)`."""
    spec_range = batch.spec_range if batch.spec_range.size else np.array([[-representation.top_db, 0.0]], np.float32)
    # Copies: the arrays of a batch may be unaligned and read-only, as its memory map is.
    image, ends = torch.from_numpy(np.array(batch.image[:, :1])), torch.from_numpy(np.array(spec_range))
    return representation.to_waveform(image, ends)[0].numpy()


def play(waveform: np.ndarray, sample_rate: int, path: Path) -> str:
    """Play a sound, or write it to a file where that is not possible; returns a message about it.

    Args:
        waveform: `(time,)`.
        sample_rate: Hz.
        path: WAV file.
    """
    scaled = waveform / max(1.0, float(np.abs(waveform).max()))
    try:
        import sounddevice  # noqa: PLC0415  # an optional package; OSError: its library PortAudio is missing
    except (ImportError, OSError):
        content = io.BytesIO()
        soundfile.write(content, scaled, sample_rate, format="WAV")
        write_atomically(path, content.getvalue())
        return f"written to {path}, since sounddevice is not installed"
    try:
        sounddevice.play(scaled, sample_rate)
    except sounddevice.PortAudioError as error:
        return f"it cannot be played ({error})"
    return "playing"
