"""The page without Python in a real browser: it makes the sounds, pictures and answers that Python makes."""

import base64
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from browsing import Page, browse, look

from scripts.time_play_page import OPEN, hosted
from src.generation import generate
from src.instrument.content import titles_of
from src.instrument.instrument import Instrument
from src.instrument.messages import answer_of
from src.instrument.static import folder
from src.instrument.static.runtime import default_cache
from src.tasks.play import InstrumentSettings, checkpoints_of, instrument_of
from src.tasks.train import train

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SETS = {
    "basic": ("synth/generate_moog_basic",),
    "envelope": ("synth/generate_moog_envelope",),
    "resonance": ("synth/generate_moog_resonance",),
    "saw": ("synth/generate_simple_saw",),
}
N_SETTINGS = 50
UNTRAINED = (
    *("model=cnn_micro", "data.make_dataset=null", "data.batch_size=16", "trainer.max_epochs=1"),
    *("trainer.log_every_n_steps=1", "logger=many_loggers"),
)
# Asks an engine of the page's own kind for a sound, and packs what comes.
ASK = """
const [id, value, done] = arguments;
const bytes = (array) => {
  const all = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (const byte of all) text += String.fromCharCode(byte);
  return btoa(text);
};
const found = {};
engine.onmessage = (message) => {
  if (message.type === "error") done({ error: message.text });
  if (message.type === "sound") {
    found.sound = { ...message, arrays: undefined };
    found.waveform = bytes(message.arrays.waveform);
    found.picture = bytes(message.arrays.picture);
  }
  if (message.type === "sensitivity") done({ ...found, sensitivity: message.db_per_step });
};
engine.send({ type: "sound", id, value });
"""


class Hosted(NamedTuple):
    """A page on a host of files, and the instrument that it was made of."""

    instrument: Instrument
    address: str


@pytest.fixture(scope="module")
def driver():
    yield from browse()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A directory, and its address on a server of files."""
    root = tmp_path_factory.mktemp("host")
    with hosted(root) as address:
        yield root, address


@pytest.fixture(scope="module", autouse=True)
def voices() -> Iterator[None]:
    """Compiles the voices once for all pages: they are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "compile_voices", functools.cache(folder.compile_voices))
        yield


def written(instrument: Instrument, host: tuple[Path, str], name: str) -> Hosted:
    """Write the page of an instrument into a folder below the host's root."""
    root, address = host
    folder.write_folder(root / "some" / name, folder.page_files(instrument, default_cache(), lambda n: None))
    return Hosted(instrument, f"{address}/some/{name}/index.html")


def instrument_with(ckpt_path: Path | None, log_dir: Path, compare: Path | None = None) -> Instrument:
    """What `src/play_page.py` would write."""
    settings = InstrumentSettings(
        run=None if ckpt_path else "none",
        ckpt_path=ckpt_path and str(ckpt_path),
        compare=compare and str(compare),
        dataset=None,
        generator="synth/generate_simple_saw",
        trusted_modules=[],
    )
    return instrument_of(settings, checkpoints_of(settings, log_dir))


@pytest.fixture(scope="module", params=SETS)
def page_of_set(request, recipe_of, compose_run, host, tmp_path_factory: pytest.TempPathFactory) -> Hosted:
    """The page of a set, and of a network that was hardly trained on it."""
    config_name, *overrides = SETS[request.param]
    recipe = recipe_of(*overrides, "dataset.size=64", config_name=config_name)
    place = tmp_path_factory.mktemp(request.param)
    data_dir = place / recipe.directory_name()
    generate(recipe, data_dir)
    train(compose_run(place / "run", *UNTRAINED, f"data.data_dir={data_dir}"))
    return written(instrument_with(place / "run" / "checkpoints" / "last.ckpt", place), host, request.param)


def test_it_sounds_looks_and_answers_as_python_does(driver, page_of_set: Hosted):
    instrument = page_of_set.instrument
    space = instrument.space
    Page(driver, page_of_set.address)
    assert driver.execute_async_script(OPEN) == "connected"
    values = space.value_from_uniform(np.random.default_rng(21).random((N_SETTINGS, len(space.varying))))
    for number, value in enumerate(values):
        found = driver.execute_async_script(ASK, number, value.tolist())
        assert "error" not in found, found["error"]
        wanted = instrument.play(value, {})
        waveform = np.frombuffer(base64.b64decode(found["waveform"]), np.float32)
        assert decibels_under(waveform - wanted.waveform, wanted.waveform) <= -80
        picture = np.frombuffer(base64.b64decode(found["picture"]), np.uint8).astype(int)
        assert np.abs(picture - wanted.picture.image.ravel()).max() <= 1
        np.testing.assert_allclose(found["sound"]["ends"][0], wanted.picture.spec_range, atol=1e-3)
        np.testing.assert_allclose(found["sensitivity"], instrument.sensitivity(wanted.value), rtol=0.02, atol=0.02)
        check_answer(found["sound"]["answers"][0], instrument, wanted)


def decibels_under(difference: np.ndarray, sound: np.ndarray) -> float:
    """Power of a difference below that of a sound."""
    power, ours = (np.square(part, dtype=np.float64).mean() for part in (difference, sound))
    return float(10 * np.log10(power / ours))


def check_answer(found, instrument: Instrument, wanted) -> None:
    """An answer is that of Python, within a thousandth of each range; its words are the same."""
    (reading,) = wanted.readings
    answer = json.loads(json.dumps(answer_of(instrument, 0, reading, wanted.value), default=lambda part: part.tolist()))
    assert found.keys() - {"waveform", "picture", "ends"} == answer.keys()
    within = 1e-3 * instrument.space.range
    for key in ("value", "low", "high"):
        assert (np.abs(np.subtract(found[key], answer[key])) <= within).all(), key
    np.testing.assert_allclose(found["error_steps"], answer["error_steps"], atol=1e-3 * 256)
    for name, share in answer["histogram"].items():
        np.testing.assert_allclose(found["histogram"][name], share, atol=1e-3)
    np.testing.assert_allclose(found["distance"], answer["distance"], rtol=1e-2)
    np.testing.assert_allclose(found["apart"], answer["apart"], atol=0.1)
    assert found["zone"] == answer["zone"]
    assert found["trust"].partition(":")[0] == answer["trust"].partition(":")[0]


# ----- the page


@pytest.fixture(scope="module")
def two(trained_run, host, tmp_path_factory: pytest.TempPathFactory) -> Hosted:
    """A page with two networks, the last epoch of a training and its best one."""
    last, first = (trained_run.run_dir / "checkpoints" / name for name in ("last.ckpt", "epoch_000.ckpt"))
    return written(instrument_with(last, tmp_path_factory.mktemp("logs"), first), host, "two")


class StaticPage(Page):
    """The page, opened; it loads a runtime of 11 MB first."""

    def wait(self, condition, seconds=60.0):
        super().wait(condition, seconds)

    def answers(self):
        return self.texts(".knob .answers > .side-1 b")


def test_a_knob_changes_the_sound_and_what_two_networks_read(driver, two: Hosted):
    look(driver, 1280)
    page = StaticPage(driver, two.address)
    page.wait(lambda: len(page.texts("#said article")) == 2)
    before = page.answers()
    assert len(before) == len(two.instrument.space.varying)
    driver.find_elements("css selector", ".dial")[0].send_keys("\ue010")  # End
    page.wait(lambda: page.answers() != before)
    page.wait(lambda: page.spied()["starts"])
    assert page.run("return Math.max(...spied.buffers.at(-1).getChannelData(0).map(Math.abs))") > 0.01
    assert page.texts("#player .sides .play span") == ["Sound", *titles_of(two.instrument.networks)]
    assert page.run("return document.querySelector('#search').hidden && !document.querySelector('.switch')")
    assert page.complaints() == []
    assert {address.partition("/some/")[0] for address in page.requests()} == {two.address.partition("/some/")[0]}


def test_an_instrument_alone_plays(driver, host, tmp_path):
    page = StaticPage(driver, written(instrument_with(None, tmp_path), host, "alone").address)
    page.wait(lambda: "alone" in page.text("#said"))
    assert page.text("#trouble") == ""
    assert page.complaints() == []


def test_a_file_that_is_missing_is_told(driver, two: Hosted, host):
    missing = host[0] / "some" / "two" / "picture.onnx"
    content = missing.read_bytes()
    missing.unlink()
    try:
        page = StaticPage(driver, two.address)
        page.wait(lambda: "picture.onnx: the host answers 404" in page.text("#trouble"))
    finally:
        missing.write_bytes(content)
