"""The shared modules in a real browser: what they compute, and that a server can hand them out as they are."""

import math
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browsing import Page, browse

from src.pages.encoding import Block, as_text, encode_levels, encode_wav
from src.pages.formats import format_hertz, format_number
from src.pages.pages import HERE, SERVED_POLICY, PageSource, joined, modules_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def driver():
    yield from browse()


@pytest.fixture
def call(driver, tmp_path):
    """Calls a function of a module: `call("formats.js", "formatNumber(...arguments[0])", arguments)`."""
    (tmp_path / "empty.html").write_text("<!DOCTYPE html><title>empty</title><p id='block'></p>")
    driver.get((tmp_path / "empty.html").as_uri())

    def run(module, code, *arguments):
        modules = modules_of(HERE / module)
        names = f"module{len(modules) - 1}"
        return driver.execute_script(f"{joined(modules)}\nconst m = {names};\nreturn {code};", *arguments)

    return run


# No exact ties: JavaScript rounds them up, Python to the even digit.
NUMBERS = (0.0, 1234.6, 12.345, -0.01234, 1.234e-5, -9.96e-5, -0.001, -1.0, 99.96, 0.51, 1e-12, 123456.0, math.nan)


@pytest.mark.parametrize("decimals", [None, 0, 1, 3])
def test_numbers_are_the_same_texts_as_in_python(call, decimals):
    told = [number if math.isfinite(number) else None for number in NUMBERS]
    texts = call("formats.js", "arguments[0].map((number) => m.formatNumber(number, arguments[1]))", told, decimals)
    assert texts == [format_number(number, decimals) for number in NUMBERS]


def test_frequencies_are_the_same_texts_as_in_python(call):
    frequencies = [20.0, 440.0, 999.4, 1000.0, 1500.0, 2345.0, 12000.0]
    assert call("formats.js", "arguments[0].map(m.formatHertz)", frequencies) == [*map(format_hertz, frequencies)]


def test_what_is_above_zero_gets_a_sign(call):
    texts = call("formats.js", "[1, -1, 0, 0.001].map((number) => m.formatSigned(number, 1))")
    assert texts == ["+1.0", "−1.0", "0.0", "0.0"]


def test_ticks_are_few_round_and_where_they_say(call):
    rng = np.random.default_rng(0)
    for low, width, most in zip(
        rng.normal(0, 100, 50), 10 ** rng.uniform(-2, 4, 50), rng.integers(2, 13, 50), strict=True
    ):
        ticks = call("formats.js", "m.roundTicks(...arguments)", float(low), float(low + width), int(most))
        assert 1 <= len(ticks) <= most + 1
        for place, text in ticks:
            assert -1e-6 <= place <= 1 + 1e-6
            assert float(text.replace("−", "-")) == pytest.approx(low + place * width, abs=1e-6 * max(width, abs(low)))


@pytest.mark.parametrize("trials", [1, 8, 12, 24])
def test_the_chance_of_guessing_is_the_binomial_one(call, trials):
    told = call("abx.js", "Array.from({ length: arguments[0] + 1 }, (_, k) => m.chanceOf(k, arguments[0]))", trials)
    exact = [sum(math.comb(trials, k) for k in range(right, trials + 1)) / 2**trials for right in range(trials + 1)]
    assert told == pytest.approx(exact, rel=1e-12)


def test_x_is_drawn_evenly_and_anew(call):
    code = """(() => {
      const test = new m.BlindTest(2000);
      const sides = [];
      while (!test.finished) {
        sides.push(test.sideOf("X"));
        test.answer("A");
      }
      return [sides.reduce((a, b) => a + b), sides.filter((side, i) => i && side !== sides[i - 1]).length, test.result];
    })()"""
    n_b, n_changes, result = call("abx.js", code)
    assert abs(n_b - 1000) < 135 and abs(n_changes - 1000) < 135  # six standard deviations
    assert (result["right"], result["trials"]) == (2000 - n_b, 2000)


def test_sounds_and_levels_arrive_as_they_were_sent(call):
    rng = np.random.default_rng(1)
    waveform, levels = rng.uniform(-1, 1, 500), rng.uniform(-90, 10, (7, 9))
    wav, coded = as_text(encode_wav(waveform, 22050)), as_text(encode_levels(levels, -80.0, 0.0))
    sound = call(
        "encoding.js", "(({ samples, rate }) => [[...samples], rate])(m.decodeWav(m.bytesOf(arguments[0])))", wav
    )
    np.testing.assert_allclose(sound[0], waveform, atol=0.5001 / 32767)
    assert sound[1] == 22050
    told = call("encoding.js", "[...m.decodeLevels(m.bytesOf(arguments[0]), -80, 0)]", coded)
    np.testing.assert_allclose(told, levels.ravel().clip(-80, 0), atol=0.5001 * 80 / 65535 + 1e-5)


def test_a_block_holds_sounds_and_levels(driver, call):
    rng = np.random.default_rng(2)
    block, waves, pictures = Block(), rng.uniform(-1, 1, (3, 400)), rng.uniform(-80, 0, (3, 5, 6))
    places = [
        (block.add_sound(wave), block.add_levels(picture, -80, 0))
        for wave, picture in zip(waves, pictures, strict=True)
    ]
    driver.execute_script("document.querySelector('#block').textContent = arguments[0]", block.text())
    code = """m.Block.ofPage().then((block) => arguments[0].map(
      ([sound, levels]) => [[...block.sound(sound)], [...block.levels(levels, -80, 0)]]))"""
    for (wave, levels), expected, picture in zip(call("encoding.js", code, places), waves, pictures, strict=True):
        np.testing.assert_allclose(wave, expected, atol=0.5001 / 32767)
        np.testing.assert_allclose(levels, picture.ravel(), atol=0.5001 * 80 / 65535 + 1e-5)


def test_the_scale_of_a_difference_holds_nearly_all_of_it(call):
    differences = [0.0] * 990 + [3.0] * 7 + [70.0] * 3
    assert call("pictures.js", "m.reachOf(arguments[0])", differences) == 5
    assert call("pictures.js", "m.reachOf([0, 0])") == 0.05
    assert call("pictures.js", "m.reachOf([500])") == 80


class Handler(BaseHTTPRequestHandler):
    """Hands out a page and its files with the policy of served pages."""

    def __init__(self, files, *arguments):
        self.files = files
        super().__init__(*arguments)

    def do_GET(self):
        kinds = {"js": "text/javascript", "css": "text/css"}
        self.send_response(200 if self.path in self.files else 404)
        self.send_header("Content-Type", kinds.get(self.path.rpartition(".")[2], "text/html"))
        self.send_header("Content-Security-Policy", SERVED_POLICY)
        self.end_headers()
        self.wfile.write(self.files.get(self.path, "").encode())

    def log_message(self, *arguments):
        pass


def test_a_server_can_hand_the_modules_out_as_they_are(driver, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    monkeypatch.setattr("src.pages.pages.ROOT", tmp_path)
    (tmp_path / "pages").symlink_to(HERE)
    monkeypatch.setattr("src.pages.pages.address_of", partial(address_below, tmp_path))
    texts = {
        "page.js": 'import { pageData } from "../pages/dom.js";\nimport { Player } from "../pages/player.js";\n'
        'document.querySelector("p").textContent = `${pageData().name} ${new Player().playing}`;\n'
        'document.documentElement.dataset.ready = "";\n',
        "page.css": "p { color: rgb(1, 2, 3); }\n",
        "page.html.j2": '{% extends "base.html.j2" %}{% block title %}served{% endblock %}'
        "{% block body %}<p></p>{% endblock %}",
    }
    for name, text in texts.items():
        (tmp_path / "own" / name).write_text(text)
    source = PageSource(*(tmp_path / "own" / f"page.{end}" for end in ("html.j2", "css", "js")))
    files = source.files | {"/": source.served({"name": "here"})}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = Page(driver, f"http://127.0.0.1:{server.server_port}/")
        assert page.text("p") == "here false"
        assert page.run("return getComputedStyle(document.querySelector('p')).color") == "rgb(1, 2, 3)"
        assert page.complaints() == []
        assert {url.partition("/p")[0] for url in page.requests() if "/pages/" in url} == {page.url.rstrip("/")}
    finally:
        server.shutdown()
        server.server_close()


def address_below(root, path):
    """Where the server of the test has a file: those of the project stand below `pages`."""
    return f"/pages/{path.name}" if path.is_relative_to(HERE) else f"/{path.relative_to(root).as_posix()}"
