import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import soundfile
from matplotlib.backend_bases import KeyEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError
from src.pictures import viewer
from src.pictures.plots import SIZE
from src.pictures.viewer import Place, Player, Viewer, after_key, can_show, griffin_lim, play, representation_of
from src.vimh.info import DatasetInfo
from src.vimh.reader import VIMHReader

SIZES = {"train": 100, "test": 20}


@pytest.fixture(scope="module")
def reader(saw_dir):
    return VIMHReader(saw_dir)


@pytest.fixture
def played():
    return []


@pytest.fixture
def window(reader, played):
    """A viewer without a screen; it notes what is played."""

    def listen(batch, name):
        played.append((batch.value[0].tolist(), name))
        return "played"

    figure = Figure(figsize=SIZE)
    FigureCanvasAgg(figure)
    return Viewer(figure, reader, listen, Place())


def press(window, *keys):
    canvas = window.figure.canvas
    for key in keys:
        canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def changed(info, **changes):
    return DatasetInfo.from_dict(info.to_dict() | changes, "a test")


@pytest.mark.parametrize(
    ("keys", "number"),
    [
        (["right"], 51),
        (["left"], 49),
        (["pagedown"], 60),
        (["pageup", "pageup"], 30),
        (["home"], 0),
        (["home", "left"], 0),
        (["end"], 99),
        (["end", "right"], 99),
        (["1", "7", "enter"], 17),
        (["1", "7", "backspace", "enter"], 1),
        (["9", "9", "9", "9", "enter"], 99),
        (["enter"], 50),
        (["7", "right", "enter"], 51),
        (["x", "shift"], 50),
    ],
)
def test_keys_lead_to_samples(keys, number):
    place = Place(number=50)
    for key in keys:
        place = after_key(place, key, SIZES, 3)
    assert place == Place(number=number)


def test_keys_change_channel_view_and_split():
    place = Place(number=50)
    assert [(place := after_key(place, "c", SIZES, 3)).channel for _ in range(3)] == [1, 2, 0]
    assert [(place := after_key(place, "w", SIZES, 3)).waterfall for _ in range(2)] == [True, False]
    assert after_key(place, "t", SIZES, 3) == Place("test", 0)
    assert after_key(Place("test", 3), "t", SIZES, 3) == Place("train", 0)
    assert after_key(place, "t", {"train": 100, "test": 0}, 3) == place


def test_the_window_shows_the_sample_that_the_keys_lead_to(window, reader):
    press(window, "1", "2", "enter")
    batch = reader.train.read(slice(12, 13))
    low, high = batch.spec_range[0]
    shown = np.asarray(window.figure.axes[0].images[0].get_array())
    assert shown == pytest.approx(low + batch.image[0, 0] * ((high - low) / 255), abs=1e-3)
    texts = [text.get_text() for text in window.figure.texts]
    assert "train 12, of 51 samples: log_magnitude" in texts
    assert [f"{batch.value[0, 0]:.4g} MIDI", f"{batch.value[0, 1]:.4g} log10 s"] == [
        texts[texts.index(name) + 1] for name in reader.info.parameter_names
    ]


def test_digits_are_shown_before_they_lead_anywhere(window):
    press(window, "4", "2")
    assert "Enter: jump to 42" in [text.get_text() for text in window.figure.texts]
    assert window.place.number == 0


def test_the_waterfall_comes_and_goes(window):
    names = []
    for _ in range(2):
        press(window, "w")
        names.append(window.figure.axes[0].name)
    assert names == ["3d", "rectilinear"]


def test_colours_stay_the_same_from_sample_to_sample(window):
    first = window.figure.axes[0].images[0].get_clim()
    press(window, "end")
    assert window.figure.axes[0].images[0].get_clim() == first


def test_the_space_bar_plays_the_sample_that_is_shown(window, reader, played):
    press(window, "t", "right", " ")
    assert played == [(reader.test.read(slice(1, 2)).value[0].tolist(), "test_1")]
    assert "played" in [text.get_text() for text in window.figure.texts]


def test_a_key_that_matplotlib_does_not_know_does_nothing(window):
    press(window, None)
    assert window.place == Place()


def test_a_sound_is_rendered_from_its_values(reader, recipe_of, tmp_path):
    batch = reader.test.read(slice(2, 3))
    waveform, sample_rate, how = Player(reader.info, instantiate_trusted, tmp_path).sound(batch)
    assert np.array_equal(waveform, recipe_of("dataset.size=64").render(batch.value)[0])
    assert (sample_rate, how) == (8000, "Rendered from its values")


def test_a_sound_of_an_unknown_synth_comes_from_its_image(reader, tmp_path):
    config = reader.info.generator["config"]
    unknown = {"generator": {"config": config | {"synth": {"_target_": "somewhere.else.Synth"}}}}
    batch = reader.test.read(slice(2, 3))
    waveform, sample_rate, how = Player(changed(reader.info, **unknown), instantiate_trusted, tmp_path).sound(batch)
    assert (waveform.shape, sample_rate, how) == ((8000,), 8000, "Griffin-Lim")
    representation = representation_of(reader.info)
    made = representation.to_image(viewer.torch.from_numpy(waveform))[0].numpy()
    heard = batch.image[0] > 100
    assert np.corrcoef(made[heard], batch.image[0][heard])[0, 1] > 0.7


def test_a_message_says_that_a_sample_cannot_be_played(reader, tmp_path):
    info = changed(reader.info, generator=None, synth_type="unknown", spectrogram_config=None)
    said = Player(info, instantiate_trusted, tmp_path)(reader.test.read(slice(0, 1)), "test_0")
    assert said.startswith("No sound: ")
    assert "spectrogram_config" in said
    assert list(tmp_path.iterdir()) == []


def test_the_representation_out_of_the_json_makes_the_same_images(recipe_of):
    for name in ("simple_saw", "moog_envelope"):
        recipe = recipe_of("dataset.size=8", config_name=f"synth/generate_{name}")
        waveform = viewer.torch.from_numpy(recipe.render(recipe.values(0, 2)))
        image, spec_range = representation_of(recipe.info(name)).to_image(waveform)
        expected = recipe.represent(waveform.numpy())
        assert np.array_equal(image, expected[0])
        assert np.array_equal(spec_range, expected[1])


@pytest.mark.parametrize(
    "changes", [{"spectrogram_config": None}, {"sample_rate": None}, {"spectrogram_config": {"win_length": 80}}]
)
def test_a_json_that_says_too_little_is_refused(reader, changes):
    with pytest.raises(ConfigError, match="does not say how the images were made"):
        representation_of(changed(reader.info, **changes))


def test_an_image_without_a_range_sounds_too(reader):
    batch = reader.test.read(slice(0, 1))._replace(spec_range=np.empty((1, 0), np.float32))
    assert np.abs(griffin_lim(representation_of(reader.info), batch)).max() > 0


def test_without_sounddevice_there_is_a_file(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    waveform = np.sin(np.arange(800) / 10) * 2
    path = tmp_path / "logs" / "a.wav"
    assert str(path) in play(waveform, 8000, path)
    stored, sample_rate = soundfile.read(path)
    assert sample_rate == 8000
    assert stored == pytest.approx(waveform / np.abs(waveform).max(), abs=1e-4)


def test_with_sounddevice_it_is_played(monkeypatch, tmp_path):
    played = []
    device = SimpleNamespace(play=lambda *arguments: played.append(arguments), PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    waveform = np.array([0.5, -0.25])
    assert play(waveform, 8000, tmp_path / "a.wav") == "playing"
    assert played[0][0].tolist() == [0.5, -0.25]
    assert played[0][1] == 8000
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_refuses_is_quoted(monkeypatch, tmp_path):
    def refuse(*_):
        raise RuntimeError("no such device")

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(play=refuse, PortAudioError=RuntimeError))
    assert "no such device" in play(np.zeros(4), 8000, tmp_path / "a.wav")


def test_silence_can_be_played(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    play(np.zeros(8), 8000, tmp_path / "a.wav")
    assert soundfile.read(tmp_path / "a.wav")[0].tolist() == [0.0] * 8


@pytest.mark.skipif(sys.platform != "linux", reason="DISPLAY is a matter of Linux")
def test_without_a_display_nothing_can_be_shown(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not can_show()


@pytest.mark.parametrize("backend", ["agg", "svg"])
def test_a_backend_without_windows_cannot_show(monkeypatch, backend):
    monkeypatch.setenv("DISPLAY", ":0")
    with matplotlib.rc_context({"backend": backend}):
        assert not can_show()
