"""The page of a dataset in a real browser, from a server and from a file."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from browsing import CONTRASTS, FAULTS, WIDTHS, Page, Served, browse, look
from datasets import HOSTILE, KINDS, content_of, with_files, write_foreign

from src.sheet.saved import saved_page
from src.text import printable
from src.vimh.info import new_info
from src.vimh.reader import VIMHReader
from src.vimh.writer import VIMHWriter

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
# Keys by their codes in WebDriver.
LEFT, UP, RIGHT, DOWN = "\ue012", "\ue013", "\ue014", "\ue015"
PAGE_DOWN, END, HOME, ENTER, ESCAPE = "\ue00f", "\ue010", "\ue011", "\ue007", "\ue00c"


@pytest.fixture(scope="module")
def driver():
    yield from browse()


@pytest.fixture(scope="module")
def many_dir(tmp_path_factory, recipe_of):
    """100,000 training records with values of their own and a few images."""
    recipe = recipe_of("dataset.size=64", config_name="synth/generate_moog_basic")
    few = recipe.make(0, 64)
    n = {"train": 100_000, "test": 500}
    source = recipe.info("few")
    info = new_info(
        "many",
        source.image_shape,
        recipe.space,
        n,
        sample_rate=source.sample_rate,
        duration=source.duration,
        synth_type=source.synth_type,
        spectrogram_config=source.spectrogram_config,
    )
    data_dir = tmp_path_factory.mktemp("many") / "many"
    rng = np.random.default_rng(0)
    with VIMHWriter(data_dir, info) as writer:
        for split, count in n.items():
            for first in range(0, count, 10_000):
                size = min(10_000, count - first)
                value = recipe.space.value_from_uniform(rng.random((size, 4))).astype(np.float32)
                chosen = rng.integers(0, 64, size)
                writer.write(split, few.image[chosen], recipe.space.encode(value), few.spec_range[chosen], value)
    return data_dir


@pytest.fixture(scope="module")
def many(many_dir):
    served = Served("display_vimh.py", many_dir, "--live")
    yield served
    served.process.kill()
    served.process.communicate()


class SheetPage(Page):
    """A page that is open.

    Args:
        driver: Of the browser.
        address: Without what the page keeps in it.
        fragment: What the page keeps in it.
        entry: Address with the secret, which is opened first.
    """

    def __init__(self, driver, address, fragment="", entry=None):
        if entry:
            driver.get(entry)
        driver.get("about:blank")  # or else another fragment is no other page
        super().__init__(driver, address + fragment)

    def shown(self, selector):
        return self.run("return document.querySelector(arguments[0]).checkVisibility()", selector)

    def press(self, *keys):
        for key in keys:
            super().press(key)

    def choose(self, selector, text):
        super().choose(selector, text)
        self.run("document.activeElement.blur()")  # or else it gets the keys

    def set(self, selector, value):
        """Move a slider, as a hand does."""
        self.run("arguments[0].value = arguments[1]", self.one(selector), value)
        self.run("arguments[0].dispatchEvent(new Event('input', { bubbles: true }))", self.one(selector))

    def wait(self, condition, seconds=30.0):
        super().wait(condition, seconds)

    def n_colours(self):
        """Number of different colours of what is in sight of the grid: of pictures that are drawn there are many."""
        return self.run("""
            const { width, height } = document.querySelector("#spacer canvas");
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(document.querySelector("#spacer canvas"), 0, 0);
            const { data } = copy.getImageData(0, 0, width, height);
            const colours = new Set();
            for (let i = 0; i < data.length; i += 4) colours.add(data[i] * 65536 + data[i + 1] * 256 + data[i + 2]);
            return colours.size;
        """)

    def fragment(self):
        return self.driver.current_url.partition("#")[2]


@pytest.fixture
def page(driver, many):
    look(driver, 1280)
    yield (opened := SheetPage(driver, many.address, entry=many.entry))
    assert opened.complaints() == []


@pytest.fixture(scope="module")
def values(many_dir):
    return np.load(many_dir / "train_values.npy")


def column_of(many_dir, name):
    return VIMHReader(many_dir).info.parameter_names.index(name)


# ----- 100,000 records


def test_the_printed_address_leads_to_the_page_and_leaves_the_address(driver, many):
    driver.delete_all_cookies()
    driver.get(many.address)
    assert "token is missing" in driver.page_source
    driver.get(many.entry)
    assert "token" not in driver.current_url
    assert driver.get_cookies()[0]["httpOnly"]
    assert driver.get_cookies()[0]["sameSite"] == "Strict"


def test_it_opens_100_000_records_and_scrolls_to_the_end(page):
    assert page.text("#count") == "100,000 train records"
    page.wait(lambda: page.n_colours() > 50)
    requests = page.run("return performance.getEntriesByType('resource').map(({ name }) => name)")
    assert sum("/images/" in name for name in requests) <= 5  # of what is in sight, and of the screens around it
    page.run("const view = document.querySelector('#view'); view.scrollTop = view.scrollHeight")
    page.wait(lambda: page.n_colours() > 50)
    page.press(END)
    page.wait(lambda: "record=99999" in page.fragment())
    assert page.text("#option") == "train 99999"


def test_a_grid_that_is_too_high_for_a_browser_reaches_its_end_too(driver, page, many):
    look(driver, 390, 844)
    page = SheetPage(driver, many.address, "#size=320")  # 100,000 rows
    assert page.run("return document.querySelector('#spacer').offsetHeight") < 10_000_000
    page.run("const view = document.querySelector('#view'); view.scrollTop = view.scrollHeight")
    page.wait(lambda: page.n_colours() > 50)
    page.run("""
        const view = document.querySelector("#view");
        const { left, bottom } = view.getBoundingClientRect();
        view.dispatchEvent(new MouseEvent("click", { clientX: left + 60, clientY: bottom - 40, bubbles: true }));
    """)
    page.wait(lambda: page.text("#record-title") == "train 99999")
    page.press(ESCAPE, UP)
    assert page.text("#option") == "train 99998"
    page.press(HOME)
    assert page.text("#option") == "train 0"
    page.wait(lambda: page.run("return document.querySelector('#view').scrollTop") == 0)


def test_it_draws_only_what_is_seen(page):
    page.run("""
        window.drawn = 0;
        const draw = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (...a) { drawn += 1; return draw.apply(this, a); };
        document.querySelector("#view").scrollTop = 100000;
    """)
    page.wait(lambda: page.run("return drawn") > 0)
    time.sleep(0.5)
    assert page.run("return drawn") < 2000
    assert page.run("return document.querySelectorAll('*').length") < 1000


def test_it_sorts_by_a_parameter_by_level_and_by_number(page, values, many_dir):
    cutoff = values[:, column_of(many_dir, "filter_cutoff")]
    page.choose("#sort", "filter_cutoff")
    page.wait(lambda: "Sorted by filter_cutoff" in page.text("#status"))
    page.press(HOME)
    assert page.text("#option") == f"train {np.argmin(cutoff)}"
    page.press("r")
    page.wait(lambda: "falling" in page.text("#status"))
    page.press(HOME)
    assert page.text("#option") == f"train {np.argmax(cutoff)}"
    page.choose("#sort", "highest level")
    page.wait(lambda: "highest level" in page.text("#status"))
    page.press(HOME)
    levels = VIMHReader(many_dir).train.read(slice(None)).spec_range[:, 1]
    assert levels[int(page.text("#option").split()[1])] == pytest.approx(levels.max(), abs=1e-3)
    page.choose("#sort", "number")
    page.wait(lambda: "by number" in page.text("#status"))
    page.press(HOME)
    assert page.text("#option") == "train 99999"


def test_it_filters_by_ranges_and_shows_what_is_left_of_the_others(page, values, many_dir):
    info = VIMHReader(many_dir).info
    spec, cutoff = (found[column_of(many_dir, "filter_cutoff")] for found in (info.parameters, values.T))
    index = spec.index_from_value(cutoff.astype(np.float64))
    selector = '[aria-label="{} filter_cutoff"]'
    page.wait(lambda: page.run("return document.querySelectorAll('.slider').length") >= 4)
    page.set(selector.format("Lowest"), 3)
    page.wait(lambda: "of 100,000" in page.text("#count"))
    page.set(selector.format("Highest"), 5)
    expected = int(((index >= 3) & (index <= 5)).sum())
    page.wait(lambda: page.text("#count") == f"{expected:,} of 100,000 train records")
    page.wait(lambda: "only.filter_cutoff=3-5" in page.fragment())
    page.press(HOME)
    assert page.text("#option") == f"train {np.flatnonzero((index >= 3) & (index <= 5))[0]}"
    page.press("a")
    page.wait(lambda: page.text("#count") == "100,000 train records" and "only" not in page.fragment())


def test_the_sliders_do_not_pass_each_other(page):
    page.wait(lambda: page.run("return document.querySelectorAll('.slider').length") >= 4)
    page.set('[aria-label="Highest filter_cutoff"]', 4)
    page.set('[aria-label="Lowest filter_cutoff"]', 9)
    page.wait(lambda: "only.filter_cutoff=4" in page.fragment())
    assert page.run("return document.querySelector('[aria-label=\"Lowest filter_cutoff\"]').value") == "4"


# ----- one record


def test_a_click_opens_a_record_with_its_values(page, values, many_dir):
    page.wait(lambda: page.n_colours() > 50)
    page.run("""
        const view = document.querySelector("#view").getBoundingClientRect();
        const place = { clientX: view.left + 40, clientY: view.top + 40, bubbles: true };
        document.querySelector("#view").dispatchEvent(new MouseEvent("click", place));
    """)
    page.wait(lambda: page.text("#record-title") == "train 0")
    page.wait(lambda: page.text("#values tbody"))
    rows = page.run(
        "return [...document.querySelectorAll('#values tbody tr')]"
        ".map((row) => [...row.children].slice(0, 2).map((cell) => cell.textContent))"
    )
    info = VIMHReader(many_dir).info
    assert [name.split()[0] for name, _ in rows] == [*info.parameter_names, "highest"]
    shown = [float(text.replace("−", "-")) for _, text in rows[:-1]]
    assert shown == pytest.approx(values[0].tolist(), rel=1e-3)
    page.press(ESCAPE)
    assert not page.shown("#record")


def test_the_pointer_reads_time_frequency_and_level(page, many_dir):
    from selenium.webdriver.common.action_chains import ActionChains

    page.press(HOME, ENTER)
    canvas = page.one("#spectrogram canvas")
    page.wait(lambda: page.run("return Boolean(arguments[0].plot)", canvas))
    plot = page.run("return arguments[0].plot", canvas)
    left, bottom, height = (plot[name] for name in ("left", "bottom", "height"))
    ActionChains(page.driver).move_to_element_with_offset(
        canvas, round(left + 4 - canvas.size["width"] / 2), round(bottom - 4 - height / 2)
    ).perform()
    batch = VIMHReader(many_dir).train.read(slice(0, 1))
    low, high = batch.spec_range[0]
    told = page.text(".readout").replace("−", "-")
    seconds, hertz, level = re.fullmatch(r"(\S+) s, (\S+) Hz: (\S+) dB", told).groups()
    assert float(level) == pytest.approx(low + batch.image[0, 0, 0, 0] * (high - low) / 255, abs=0.06)
    assert float(seconds) < 0.1
    assert float(hertz) < 200


def test_space_plays_what_the_values_make_and_arrows_play_on(page, many_dir, recipe_of):
    recipe = recipe_of("dataset.size=64", config_name="synth/generate_moog_basic")
    page.press(HOME, "l", " ")
    page.wait(lambda: page.run("return spied.buffers.length") == 1)
    assert page.run("return spied.contexts[0].state") == "running"
    samples = np.array(page.run("return [...spied.buffers[0].getChannelData(0)]"))
    expected = recipe.render(VIMHReader(many_dir).train.read(slice(0, 1)).value)[0]
    assert np.abs(samples).max() > 0.01
    assert samples == pytest.approx(expected / max(1, np.abs(expected).max()), abs=1e-4)
    page.press(RIGHT)
    page.wait(lambda: page.run("return spied.buffers.length") == 2)
    assert page.text("#option") == "train 1"
    page.press(" ")
    page.wait(lambda: page.run("return document.querySelector('#play').getAttribute('aria-pressed')") == "false")
    page.press(ENTER)
    page.wait(lambda: page.text("#time").endswith(" s"))
    assert page.run("return document.querySelector('#loop').checked")
    page.click("#play")
    page.wait(lambda: page.run("return spied.buffers.length") == 3)


def test_keys_lead_everywhere(page):
    n_columns = page.run("return Math.floor((document.querySelector('#view').clientWidth - 8) / 96)")
    page.press(HOME, DOWN)
    assert page.text("#option") == f"train {n_columns}"
    page.press(RIGHT, UP)
    assert page.text("#option") == "train 1"
    page.press(PAGE_DOWN)
    number = int(page.text("#option").split()[1])
    assert number > n_columns
    assert number % n_columns == 1
    page.press("g", "4", "2", ENTER)
    page.wait(lambda: page.text("#record-title") == "train 42")
    page.press("f")
    assert not page.shown("#filters")
    page.press("f")
    assert page.shown("#filters")
    page.press(ESCAPE, "t")
    page.wait(lambda: page.text("#count") == "500 test records")
    page.press("t")
    page.wait(lambda: page.text("#count") == "100,000 train records")
    page.press("?")
    assert page.shown("#keys")
    listed = page.run("return [...document.querySelectorAll('#keys kbd')].map((e) => e.textContent)")
    assert {"Space", "Enter", "Esc", "?"} <= set(listed)
    page.press(ESCAPE)
    assert not page.shown("#keys")


def test_signs_that_need_shift_and_letters_of_either_case_are_keys(page):
    pressed = """
        const event = new KeyboardEvent("keydown", { ...arguments[0], bubbles: true, cancelable: true });
        return !document.body.dispatchEvent(event);
    """
    size = "return Number(document.querySelector('#size').value)"
    before = page.run(size)
    assert page.run(pressed, {"key": "+", "shiftKey": True})
    assert page.run(size) == before + 16
    assert page.run(pressed, {"key": "-", "shiftKey": False})
    assert page.run(size) == before
    for key in ("L", "l"):
        assert page.run(pressed, {"key": key, "shiftKey": key == "L"})
        assert page.run("return document.querySelector('#loop').checked") == (key == "L")
    for key in (" ", "ArrowRight"):  # they scroll and select
        assert not page.run(pressed, {"key": key, "shiftKey": True})


def test_a_filter_goes_along_to_the_other_split(page):
    page.wait(lambda: page.run("return document.querySelectorAll('.slider').length") >= 4)
    page.set('[aria-label="Lowest filter_cutoff"]', 9)
    page.wait(lambda: "of 100,000" in page.text("#count"))
    page.press("t")
    page.wait(lambda: "of 500 test records" in page.text("#count"))
    page.wait(lambda: "split=test&only.filter_cutoff=9-" in page.fragment())


# ----- the address


def test_the_address_keeps_the_state(driver, page, many):
    page.wait(lambda: page.run("return document.querySelectorAll('.slider').length") >= 4)
    page.choose("#sort", "filter_resonance")
    page.set('[aria-label="Lowest filter_cutoff"]', 4)
    page.wait(lambda: "only.filter_cutoff" in page.fragment() and "sort" in page.fragment())
    page.run("document.activeElement.blur()")
    page.press("r", HOME, RIGHT, ENTER)
    page.wait(lambda: page.text("#record-title").startswith("train ") and "open=1" in page.fragment())
    seen = [page.text(selector) for selector in ("#count", "#record-title", "#option")]
    other = SheetPage(driver, many.address, f"#{page.fragment()}")
    other.wait(lambda: other.text("#count") == seen[0] and other.text("#record-title") == seen[1])
    assert other.text("#option") == seen[2]
    assert other.one("#sort").get_attribute("value") == "filter_resonance"
    assert other.one("#falling").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize(
    "fragment",
    [
        "#split=other&record=1e9&sort=nothing&size=-5&channel=7",
        "#only.filter_cutoff=x-y,,9-1&record=-1",
        "#%ff%00=&=",
        "#a",
    ],
)
def test_an_address_without_sense_is_as_none(driver, many, page, fragment):
    other = SheetPage(driver, many.address, fragment)
    assert "train records" in other.text("#count")
    assert not other.shown("#trouble")


# ----- looks


OFTEN = {f"parameter number {p}": {"min": 0.0, "max": 1.0, "step": 0.01, "units": HOSTILE} for p in range(200)}
ODD = {
    "kinds": {"shape": (1, 16, 16), "parameters": KINDS, "n_train": 400, "n_test": 20, "channel_labels": [HOSTILE]},
    "one": {"shape": (1, 1, 1), "n_train": 3},
    "many parameters": {
        "shape": (2, 8, 200),
        "parameters": OFTEN,
        "n_train": 60,
    },
}


@pytest.fixture(scope="module")
def files(tmp_path_factory, saw_dir):
    """Pages that open from disk, by name."""
    directory = tmp_path_factory.mktemp("files")
    found = {"saw": content_of(saw_dir)}
    for name, keys in ODD.items():
        found[name] = content_of(write_foreign(directory / name / "set", **keys), title=HOSTILE)
    found["files"] = with_files(found["saw"], f"{'a_long/' * 6}{'name' * 60}{HOSTILE}.wav")
    for name, content in found.items():
        (directory / f"{name}.html").write_bytes(saved_page(content, 20_000_000).content)
    return {name: (directory / f"{name}.html").as_uri() for name in found}


@pytest.mark.parametrize("name", ["saw", "files", *ODD])
@pytest.mark.parametrize("width", [320, *WIDTHS])
def test_nothing_overlaps_and_nothing_is_cut(driver, files, name, width):
    look(driver, width)
    page = SheetPage(driver, files[name])
    assert page.run(FAULTS) == []
    page.press(HOME, ENTER)
    page.wait(lambda: page.shown("#record") and page.text("#values tbody"))
    assert page.run(FAULTS) == []
    if width < 900:
        page.press(ESCAPE, "f")
        page.wait(lambda: page.run("return Boolean(document.querySelector('.filter .body > *'))"))
        assert page.run(FAULTS) == []
    assert page.complaints() == []
    assert driver.title != "broken"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_scheme(driver, files, scheme):
    look(driver, 1280, color_scheme=scheme)
    page = SheetPage(driver, files["saw"])
    (red,) = page.run("return [Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])]")
    assert (red < 60) == (scheme == "dark")
    page.press(HOME, ENTER)
    page.wait(lambda: page.text("#values tbody"))
    contrasts = page.run(CONTRASTS)
    assert len(contrasts) > 30
    assert [entry for entry in contrasts if entry[0] < 4.5] == []


def test_every_control_and_picture_has_a_name(driver, files):
    look(driver, 1280)
    page = SheetPage(driver, files["kinds"])
    page.press(HOME, ENTER)
    page.wait(lambda: page.text("#values tbody"))
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = ("button", "combobox", "checkbox", "slider", "spinbutton", "image", "table", "listbox", "option")
    for node in nodes:
        if not node["ignored"] and node["role"]["value"] in roles:
            assert node.get("name", {}).get("value"), node


def test_one_damaged_record_hides_no_other(driver, tmp_path):
    look(driver, 1280)
    data_dir = write_foreign(tmp_path / "damaged", (1, 4, 4), n_train=3000, image=0)  # all black
    records = np.fromfile(data_dir / "train", np.uint8).reshape(3000, -1)
    records[7, 0] = 99  # its height; it is not among those that the colours are chosen from
    records.tofile(data_dir / "train")
    served = Served("display_vimh.py", data_dir, "--live")
    try:
        page = SheetPage(driver, served.address, entry=served.entry)
        black = """
            const { width, height } = document.querySelector("#spacer canvas");
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(document.querySelector("#spacer canvas"), 0, 0);
            return [0, 1, 2, 3, 4, 5, 6, 7, 8].map((i) => copy.getImageData(30 + 98 * i, 40, 1, 1).data[0] === 0);
        """
        page.wait(lambda: page.run(black) == [True] * 7 + [False, True])
        page.wait(lambda: "99" in page.text("#trouble"))
    finally:
        served.process.kill()
        served.process.communicate()


# ----- files


def test_a_file_shows_sorts_filters_and_plays_without_a_server(driver, files, saw_dir):
    look(driver, 1280)
    page = SheetPage(driver, files["saw"])
    page.wait(lambda: page.n_colours() > 50)
    value = np.load(saw_dir / "test_values.npy")
    page.press("t")
    page.wait(lambda: page.text("#count") == "13 test records")
    page.choose("#sort", "log10_decay_time")
    page.wait(lambda: "Sorted" in page.text("#status"))
    page.press(HOME, " ")
    assert page.text("#option") == f"test {np.argmin(value[:, 1])}"
    page.wait(lambda: page.run("return spied.buffers.length") == 1)
    samples = np.array(page.run("return [...spied.buffers[0].getChannelData(0)]"))
    assert (len(samples), np.abs(samples).max() > 0.01) == (8000, True)
    assert page.complaints() == []


def test_classes_have_boxes_with_their_names(driver, files, tmp_path_factory):
    look(driver, 1280)
    page = SheetPage(driver, files["kinds"])
    page.wait(lambda: page.run("return document.querySelectorAll('.class').length") >= 6)
    names = page.run("return [...document.querySelectorAll('.class .name')].map((e) => e.textContent)")
    assert names == ["sine", printable(HOSTILE), "x" * 300, "off", "on", "where it does not act"]
    count = int(page.run("return document.querySelectorAll('.class .count')[3].textContent"))
    page.run("document.querySelectorAll('.class input')[3].click()")  # off
    page.wait(lambda: page.text("#count") == f"{count} of 400 train records")
    page.press(HOME, ENTER)
    page.wait(lambda: page.text("#values tbody"))
    shown = page.run("return [...document.querySelectorAll('#values td.figure')].map((e) => e.textContent)")
    assert (shown[1], shown[2]) == ("off", "–")
    inactive = page.run("return document.querySelectorAll('.class .count')[5].textContent")
    assert inactive == f"{count}"


def test_a_record_says_which_file_it_is_from_and_where_it_begins(driver, files):
    page = SheetPage(driver, files["files"])
    page.press(HOME, RIGHT, RIGHT, ENTER)
    page.wait(lambda: page.shown("#whence"))
    text = page.text("#whence")
    assert text.startswith("From 2/a_long/a_long/") and text.endswith(".wav at 0.500 s")
    assert driver.title != "broken" and page.complaints() == []
    page = SheetPage(driver, files["saw"])
    page.press(HOME, ENTER)
    page.wait(lambda: page.shown("#record") and page.text("#values tbody"))
    assert not page.shown("#whence")


def test_a_set_without_sounds_says_why(driver, files):
    page = SheetPage(driver, files["one"])
    page.press(HOME, ENTER)
    page.wait(lambda: "spectrogram_config" in page.text("#about-sound"))
    assert not page.one("#play").is_enabled()
    page.press(" ")
    assert page.run("return spied.buffers.length") == 0


# ----- the program


def test_a_page_whose_server_has_ended_says_so(driver, saw_dir):
    look(driver, 1280)
    served = Served("display_vimh.py", saw_dir, "--live")
    page = SheetPage(driver, served.address, entry=served.entry)
    page.press(HOME)
    code, rest = served.end()
    assert (code, rest.splitlines()[-1]) == (0, "Ended.")
    page.press(ENTER)
    page.wait(lambda: page.shown("#trouble"))
    assert "has ended" in page.text("#trouble")


def test_a_page_that_the_browser_opens_elsewhere_cannot_read_it(driver, many, tmp_path):
    driver.get(many.entry)  # the browser has the cookie
    (tmp_path / "other.html").write_text("<!DOCTYPE html><title>other</title>")
    driver.get((tmp_path / "other.html").as_uri())
    read = """
        const [address, mode, done] = arguments;
        fetch(address, { credentials: "include", mode })
          .then((answer) => answer.text()).then(done, () => done("refused"));
    """
    for mode in ("cors", "no-cors"):
        assert driver.execute_async_script(read, f"{many.address}data/train/record/0", mode) == "refused"
