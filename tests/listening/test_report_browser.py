"""The listening report in a real browser: any Chrome or Chromium that selenium can drive.

Where there is none these tests are skipped and say so; with REQUIRE_BROWSER=1, as in `.ci/run`, they fail.
"""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reports import (
    HOSTILE,
    N_HEARD,
    PARAMETERS,
    SAMPLE_RATE,
    changed,
    make_extreme,
    make_prediction,
    make_refined,
    make_report,
)

from scripts.screenshot import NoBrowser, open_browser
from src.listening.report import render_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Before anything of the page runs: notes when and where sources start, and the gains that they are set to.
SPY = """
window.spied = { starts: [], buffers: [], stops: 0, gains: [] };
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  spied.starts.push({ when, loop: this.loop });
  spied.buffers.push(this.buffer);
  return start.apply(this, when);
};
const stop = AudioBufferSourceNode.prototype.stop;
AudioBufferSourceNode.prototype.stop = function (...when) { spied.stops += 1; return stop.apply(this, when); };
const target = AudioParam.prototype.setTargetAtTime;
AudioParam.prototype.setTargetAtTime = function (value, ...rest) {
  spied.gains.push(value);
  return target.call(this, value, ...rest);
};
"""
# Of every element with text of its own: the ratio of luminances of text and ground (WCAG 2.2).
CONTRASTS = """
const light = ([r, g, b]) => {
  const linear = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const ground = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = parts(getComputedStyle(e).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
};
const shown = (element) => element.checkVisibility() && !element.closest(".unseen, .skip, option, :disabled");
return [...document.body.querySelectorAll("*")]
  .filter((e) => shown(e) && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .map((e) => {
    const style = getComputedStyle(e);
    const [a, b] = [light(parts(e instanceof SVGElement ? style.fill : style.color)), light(ground(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + "." + (e.className.baseVal ?? e.className)];
  });
"""


@pytest.fixture(scope="module")
def driver():
    try:
        opened = open_browser()
    except NoBrowser as error:
        if os.environ.get("REQUIRE_BROWSER"):
            raise
        pytest.skip(str(error))
    opened.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SPY})
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Directory with the pages of all kinds of report."""
    directory = tmp_path_factory.mktemp("report")
    report = make_report()
    reports = {
        "report": report,
        "prediction": make_prediction(),
        "single": replace(make_prediction(), sounds=[changed(make_prediction().sounds[0], 1, metrics={})]),
        "refined": make_refined(),
        "extreme": make_extreme(20),
        "narrow": make_extreme(1),
    }
    for name, content in reports.items():
        (directory / f"{name}.html").write_text(render_report(content), encoding="utf-8")
    return directory


class Page:
    """A page that is open."""

    def __init__(self, driver, path: Path):
        self.driver = driver
        self.url = path.as_uri()
        for kind in ("browser", "performance"):
            driver.get_log(kind)  # what was before
        driver.get(self.url)
        self.wait(lambda: self.run("return 'ready' in document.documentElement.dataset"))

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def text(self, selector):
        return self.texts(selector)[0]

    def click(self, selector):
        element = self.one(selector)
        self.run("arguments[0].scrollIntoView({ block: 'center' })", element)  # not behind the player
        element.click()

    def press(self, key):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def choose(self, selector, text):
        from selenium.webdriver.support.select import Select

        Select(self.one(selector)).select_by_visible_text(text)

    def spied(self):
        return self.run("return { ...spied, buffers: undefined }")

    def position(self):
        return float(self.one("#seek").get_attribute("value"))

    def playing(self):
        """Name of the side that is audible, or None."""
        pressed = self.texts('#player .play[aria-pressed="true"]')
        return pressed[0] if pressed else None

    def wait(self, condition, seconds=5.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]


@pytest.fixture
def page(driver, pages):
    look(driver, width=1280)
    yield (opened := Page(driver, pages / "report.html"))
    assert opened.complaints() == []


def look(driver, width, height=900, **media):
    """Set the size of the window, and what the user prefers."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in media.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.mark.parametrize("name", ["report", "prediction", "single"])
def test_loads_without_a_complaint_or_a_request(driver, pages, name):
    page = Page(driver, pages / f"{name}.html")
    page.click("#player .play.side-1")
    page.wait(lambda: page.position() > 0)
    assert page.complaints() == []
    assert page.requests() == [page.url]
    assert HOSTILE in driver.title
    assert driver.title != "broken"


def test_plays_pauses_and_goes_on_from_there(page):
    page.click("#loop")
    page.click("#player .play.side-0")
    page.wait(lambda: page.position() > 0.05)
    assert page.playing() == "True"
    page.click("#player .play.side-0")
    assert page.playing() is None
    where = page.position()
    page.click("#player .play.side-1")
    assert page.playing() == "Predicted"
    assert page.spied()["starts"][-1]["when"][1] == pytest.approx(where, abs=1e-6)


def test_both_sounds_are_what_was_given_and_start_together(page):
    page.click("#rows tr:nth-child(1) button")
    name = page.text("#sound-name")
    page.click("#player .play.side-0")
    starts = page.spied()["starts"]
    sound = next(sound for sound in make_report().sounds if sound.name == name)
    assert len(starts) == 2
    assert starts[0]["when"] == starts[1]["when"]
    for side, waveform in enumerate(side.waveform for side in sound.sides):
        buffer = "const buffer = spied.buffers[arguments[0]];"
        assert page.run(f"{buffer} return buffer.sampleRate", side) == SAMPLE_RATE
        samples = page.run(f"{buffer} return [...buffer.getChannelData(0)]", side)
        np.testing.assert_allclose(samples, waveform, atol=1e-4)


def test_stops_at_the_end_unless_it_loops(page):
    page.click("#player .play.side-0")
    page.wait(lambda: page.playing() is None)
    assert page.position() == 0
    page.click("#loop")
    page.click("#player .play.side-0")
    time.sleep(0.8)  # the sound has 0.5 s
    assert page.playing() == "True"
    assert all(start["loop"] for start in page.spied()["starts"][-2:])


def test_toggles_in_sync(page):
    page.click("#loop")
    page.press(" ")
    page.wait(lambda: page.position() > 0.1)
    before = page.spied()
    page.press("\ue014")  # right
    after = page.spied()
    assert page.playing() == "Predicted"
    # Neither sound restarts nor stops: only the audible side changes.
    assert (len(after["starts"]), after["stops"]) == (len(before["starts"]), before["stops"])
    assert after["gains"][-2:] == [0, 1]
    page.press("\ue012")  # left
    assert page.playing() == "True"
    assert page.spied()["gains"][-2:] == [1, 0]
    page.click("#toggle")
    assert page.playing() == "Predicted"


def test_equal_level_lowers_the_louder_one(driver, tmp_path):
    report = make_prediction()
    sound = changed(report.sounds[0], 1, waveform=report.sounds[0].sides[0].waveform / 4)
    path = tmp_path / "quiet.html"
    path.write_text(render_report(replace(report, sounds=[sound])), encoding="utf-8")
    page = Page(driver, path)
    page.click("#match")
    page.click("#loop")
    page.click("#player .play.side-1")
    page.click("#toggle")
    assert page.spied()["gains"][-2:] == pytest.approx([0.25, 0], abs=1e-3)


def test_keys_play_toggle_and_change_the_sound(page):
    page.click("#loop")
    names = page.texts("#rows button")
    page.press(" ")
    assert page.playing() == "True"
    page.press("\ue015")  # down
    assert page.text("#sound-name") == names[1]
    assert page.playing() == "True"  # it plays on, with the other sound
    page.press("\ue013")  # up
    assert page.text("#sound-name") == names[0]
    page.press(" ")
    assert page.playing() is None


def test_a_control_that_was_reached_by_keys_gets_the_space(page):
    page.click("#loop")
    page.press("\ue004")  # tab, to the other checkbox
    page.press(" ")
    assert page.one("#match").is_selected()
    assert page.playing() is None


def test_space_plays_the_sound_that_has_the_focus(page):
    page.click("#loop")
    names = page.texts("#rows button")
    page.run("document.querySelectorAll('#rows button')[2].focus()")
    page.press(" ")
    assert page.text("#sound-name") == names[2]
    assert page.playing() == "True"
    page.press(" ")
    assert page.playing() is None
    page.press("\ue015")
    assert page.run("return document.activeElement.textContent") == names[3]


def test_arrows_scroll_the_page_where_nothing_plays(page):
    name = page.text("#sound-name")
    page.press("\ue015")
    assert page.text("#sound-name") == name


def test_sorts_by_every_metric_worst_and_best_first(page):
    sounds = make_report().sounds
    worst = {"mss": lambda s: s.metric("mss"), "stft_pcc": lambda s: -s.metric("stft_pcc")}
    worst["filter_cutoff, steps"] = lambda s: abs(s.sides[1].value[0] - s.true_value[0])
    for label, badness in worst.items():
        page.choose("#sort-by", label)
        for order, reverse in (("Worst first", True), ("Best first", False)):
            page.choose("#order", order)
            expected = [sound.name for sound in sorted(sounds, key=badness, reverse=reverse)]
            assert page.texts("#rows button") == expected
    assert page.run("return document.querySelector('#figure-column').getAttribute('aria-sort')") == "ascending"
    page.choose("#sort-by", "Name")
    assert page.texts("#rows button")[1:] == [f"test {i}" for i in range(N_HEARD - 1)]


def test_begins_with_the_worst(page):
    worst = max(make_report().sounds, key=lambda sound: sound.metric("mss"))
    assert page.text("#sound-name") == worst.name
    assert page.texts("#rows button")[0] == worst.name


def test_shows_the_numbers_of_the_sound(page):
    page.choose("#sort-by", "Name")
    page.click('#rows tr[data-sound="0"] button')
    sound = make_report().sounds[0]
    rows = page.run(
        "return [...document.querySelectorAll('#parameters tbody tr')]"
        ".map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    assert [row[0].split(" ")[0] for row in rows] == [spec.name for spec in PARAMETERS]
    true, predicted, error, steps = rows[0][1:5]
    assert float(true) == pytest.approx(sound.true_value[0], abs=0.51)
    assert [float(part) for part in predicted.split(" ± ")] == pytest.approx([sound.sides[1].value[0], 100], abs=0.51)
    assert float(error.replace("−", "-")) == pytest.approx(sound.sides[1].value[0] - sound.true_value[0], abs=0.51)
    assert float(steps.replace("−", "-")) == pytest.approx(
        (sound.sides[1].value[0] - sound.true_value[0]) / 100, abs=0.051
    )
    assert rows[2][1] == PARAMETERS[2].names[round(sound.true_value[2])]


def test_pictures_have_low_frequencies_at_the_bottom_and_the_beginning_at_the_left(page):
    colours = page.run("""
        return [...document.querySelectorAll("#detail .pictures canvas")].map((canvas) => {
          const { left, right, top, bottom } = canvas.plot;
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          const at = (x, y) => [...copy.getImageData(x, y, 1, 1).data].slice(0, 3);
          return [at(left + 3, bottom - 3), at(left + 3, top + 3), at(right - 3, bottom - 3)];
        });
    """)
    (heard, above, after), (softer, *_), (difference, silent, _) = colours
    assert sum(heard) > 500  # -3 dB of a scale that ends at 0
    assert sum(above) == sum(after) < 10
    assert sum(heard) > sum(softer) > sum(above)
    assert difference[2] > difference[0]  # blue: 20 dB too soft
    assert sum(silent) < 60


def test_a_click_on_a_picture_goes_to_that_time(page):
    page.run("document.querySelector('#detail .wide canvas').scrollIntoView({ block: 'center' })")
    page.click("#detail .wide canvas")  # its middle
    assert page.position() == pytest.approx(0.25, abs=0.02)
    page.click("#player .play.side-0")
    assert page.spied()["starts"][0]["when"][1] == pytest.approx(0.25, abs=0.02)


def test_reads_the_levels_under_the_pointer(page):
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = page.one("#detail .pictures canvas")
    place = page.run("const { left, bottom, height } = arguments[0].plot; return [left, bottom, height]", canvas)
    page.run("arguments[0].scrollIntoView({ block: 'center' })", canvas)
    width = canvas.size["width"]
    ActionChains(page.driver).move_to_element_with_offset(
        canvas, round(place[0] + 4 - width / 2), round(place[1] - 4 - place[2] / 2)
    ).perform()
    words = page.text("#readout").replace("−", "-")
    assert words.startswith("0.021 s, 400 Hz: ")
    told = [float(part.split(" ")[-2]) for part in words.split(": ")[1].split(", ")]
    assert told == pytest.approx([-3, -23, -20], abs=0.4)


@pytest.mark.parametrize("name", ["report", "prediction", "single"])
@pytest.mark.parametrize("width", [320, 390, 700, 1000, 1920])
def test_no_width_scrolls_sideways(driver, pages, name, width):
    look(driver, width)
    page = Page(driver, pages / f"{name}.html")
    assert page.run("return window.innerWidth") == width
    assert page.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(driver, pages, scheme):
    look(driver, 1280, color_scheme=scheme)
    page = Page(driver, pages / "report.html")
    (red,) = page.run("return [Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])]")
    assert (red < 60) == (scheme == "dark")
    contrasts = page.run(CONTRASTS)
    assert len(contrasts) > 100
    assert [entry for entry in contrasts if entry[0] < 4.5] == []


def test_pictures_follow_the_scheme(driver, page):
    ink = "return getComputedStyle(document.documentElement).getPropertyValue('--muted')"
    drawn = "return document.querySelector('#detail .wide canvas').getContext('2d').fillStyle"
    light = page.run(ink)
    assert page.run(drawn) == light.strip()
    look(driver, 1280, color_scheme="dark")
    page.wait(lambda: page.run(drawn) != light.strip())
    assert page.run(drawn) == page.run(ink).strip()


def test_every_control_and_picture_has_a_name(page):
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    of_role = {}
    for node in nodes:
        if not node["ignored"]:
            of_role.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for role in ("button", "combobox", "checkbox", "slider", "image", "table", "region", "columnheader", "rowheader"):
        assert of_role[role], role
        assert all(of_role[role]), role
    assert len(of_role["table"]) == 7  # four of the summary, the list, parameters, metrics
    assert "status" in of_role


def test_what_happens_is_said(page):
    page.click("#toggle")
    assert page.text("#status") == "Predicted"
    page.choose("#order", "Best first")
    assert page.text("#status") == "Sorted by mss, Best first"
    page.click("#previous")  # what was the worst is the last now
    assert page.text("#status").endswith(f"{N_HEARD - 1} of {N_HEARD}")


def test_the_position_moves_in_steps_where_motion_is_not_wanted(driver, pages):
    count = """
        window.moves = 0;
        new MutationObserver(() => moves++).observe(document.querySelector("#time"), { childList: true });
    """
    moves = {}
    for wish in ("no-preference", "reduce"):
        look(driver, 1280, reduced_motion=wish)
        page = Page(driver, pages / "report.html")
        page.click("#loop")
        page.run(count)
        page.click("#player .play.side-0")
        time.sleep(1)
        moves[wish] = page.run("return moves")
    assert moves["reduce"] <= 8 < moves["no-preference"]


def test_without_true_values_what_needs_them_is_hidden(driver, pages):
    look(driver, 1280)
    page = Page(driver, pages / "prediction.html")
    assert page.texts("#player .play") == ["Recording", "Predicted"]
    assert page.texts("#parameters thead th") == ["Parameter", "Predicted", "Range"]
    assert page.texts("#metrics thead th") == ["Metric", "Predicted"]
    assert page.texts(".truth") == []
    single = Page(driver, pages / "single.html")
    assert not single.one("#metrics").is_displayed()
    assert not single.one(".sorting").is_displayed()
