"""The listening report in a real browser."""

import time
from dataclasses import replace

import numpy as np
import pytest
from browsing import CONTRASTS, FAULTS, WIDTHS, Page, browse, look
from reports import (
    HOSTILE,
    N_HEARD,
    N_SAMPLES,
    PARAMETERS,
    SAMPLE_RATE,
    changed,
    make_extreme,
    make_prediction,
    make_refined,
    make_report,
)

from src.listening.report import render_report
from src.listening.verdict import verdict, worst_median_best

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def driver():
    yield from browse()


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


@pytest.fixture
def page(driver, pages):
    look(driver, width=1280)
    yield (opened := Page(driver, (pages / "report.html").as_uri()))
    assert opened.complaints() == []


@pytest.mark.parametrize("name", ["report", "refined", "prediction", "single", "extreme", "narrow"])
def test_loads_without_a_complaint_or_a_request(driver, pages, name):
    page = Page(driver, (pages / f"{name}.html").as_uri())
    page.click("#loop")  # the sound is short
    page.click("#player .play.side-1")
    page.wait(lambda: page.position() > 0)
    assert page.complaints() == []
    assert page.requests() == [page.url]
    assert HOSTILE in driver.title or name in ("extreme", "narrow")
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


@pytest.mark.parametrize("rate", [2000, 192000])
def test_rates_that_no_output_has_are_played_in_their_own_time(driver, tmp_path, rate):
    path = tmp_path / "rate.html"
    path.write_text(render_report(replace(make_report(), sample_rate=rate)), encoding="utf-8")
    page = Page(driver, path.as_uri())
    assert page.text("#time").endswith(f"/ {N_SAMPLES / rate:.2f} s")
    page.run("document.querySelector('#seek').value = 0.01")
    page.run("document.querySelector('#seek').dispatchEvent(new Event('input'))")
    page.press(" ")
    speed = rate / page.run("return spied.buffers[0].sampleRate")
    assert page.spied()["starts"][0]["when"][1] == pytest.approx(0.01 * speed)
    assert page.run("return spied.speeds") == pytest.approx([speed] * 2)
    page.wait(lambda: page.playing() is None)
    assert page.complaints() == []


def test_the_output_rests_when_nothing_plays(page):
    page.press("l")
    page.press(" ")
    state = "return spied.contexts.map((context) => context.state)"
    page.wait(lambda: page.run(state) == ["running"])
    page.press(" ")
    page.wait(lambda: page.run(state) == ["suspended"])
    page.press(" ")
    page.wait(lambda: page.run(state) == ["running"])
    page.wait(lambda: page.position() > 0.05)


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
    page = Page(driver, path.as_uri())
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
    page = Page(driver, (pages / f"{name}.html").as_uri())
    assert page.run("return window.innerWidth") == width
    assert page.run("return document.documentElement.scrollWidth") <= width


OPEN_ALL = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })"


@pytest.mark.parametrize("name", ["report", "refined", "prediction", "single", "extreme", "narrow"])
def test_nothing_overlaps_and_nothing_is_cut(driver, pages, name):
    page = Page(driver, (pages / f"{name}.html").as_uri())
    for width in WIDTHS:
        look(driver, width, color_scheme="dark" if width in (768, 1440) else "light")
        for script in ("", OPEN_ALL, "[...document.querySelectorAll('#player .play')].at(-1).click()"):
            page.run(script)
            page.settle()
            assert page.run(FAULTS) == [], (width, script)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_dialog_overlaps_or_is_cut(driver, pages, width):
    look(driver, width)
    page = Page(driver, (pages / "refined.html").as_uri())
    for opening in ("document.querySelector('[data-keys]').click()", "document.querySelector('#blind').click()"):
        page.run(opening)
        assert page.run(FAULTS) == []
        page.run("document.querySelector('dialog[open]').close()")
    page.run("document.querySelector('#blind').click(); document.querySelector('#abx-begin').click()")
    assert page.run(FAULTS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(driver, pages, scheme):
    look(driver, 1280, color_scheme=scheme)
    page = Page(driver, (pages / "refined.html").as_uri())
    page.run(OPEN_ALL)
    (red,) = page.run("return [Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])]")
    assert (red < 60) == (scheme == "dark")
    for script in ("", "document.querySelector('#player .side-2').click()", "document.querySelector('#blind').click()"):
        page.run(script)
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
    page.run(OPEN_ALL)
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    of_role = {}
    for node in nodes:
        if not node["ignored"]:
            of_role.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for role in ("button", "combobox", "checkbox", "slider", "image", "table", "region", "columnheader", "rowheader"):
        assert of_role[role], role
        assert all(of_role[role]), role
    assert len(of_role["table"]) == 8  # four of the summary, the list, parameters, metrics, confusion of a category
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
        page = Page(driver, (pages / "report.html").as_uri())
        page.click("#loop")
        page.run(count)
        page.click("#player .play.side-0")
        time.sleep(1)
        moves[wish] = page.run("return moves")
    assert moves["reduce"] <= 8 < moves["no-preference"]


def test_without_true_values_what_needs_them_is_hidden(driver, pages):
    look(driver, 1280)
    page = Page(driver, (pages / "prediction.html").as_uri())
    assert page.texts("#player .play") == ["Recording", "Predicted"]
    assert page.texts("#parameters thead th") == ["Parameter", "Predicted", "Range"]
    assert page.texts("#metrics thead th") == ["Metric", "Predicted"]
    assert page.texts(".truth") == []
    single = Page(driver, (pages / "single.html").as_uri())
    assert not single.one("#metrics").is_displayed()
    assert not single.one(".sorting").is_displayed()


def test_the_first_screen_has_the_verdict_and_three_sounds_to_hear(page):
    report = make_report()
    told = verdict(report)
    assert page.text(".verdict").replace("\N{NO-BREAK SPACE}", " ") == told.sentence
    cards = [report.sounds[number].name for number in worst_median_best(report)]
    assert page.texts(".card .name") == cards
    assert page.texts(".card .label") == ["Worst", "Median", "Best"]
    assert page.run("return document.querySelector('.card .play').getBoundingClientRect().bottom") < 800
    page.press("l")
    page.click(".card:nth-child(3) .play.side-1")
    assert page.playing() == "Predicted"
    assert page.text("#sound-name") == cards[2]
    assert page.one(".card:nth-child(3) .play.side-1").get_attribute("aria-pressed") == "true"
    page.click(".card:nth-child(3) .play.side-1")
    assert page.playing() is None
    page.click(".card:nth-child(2) .name")
    assert page.text("#sound-name") == cards[1]


@pytest.fixture
def refined(driver, pages):
    look(driver, width=1280)
    yield (opened := Page(driver, (pages / "refined.html").as_uri()))
    assert opened.complaints() == []


def test_pictures_and_numbers_are_those_of_the_answer_that_is_heard(refined):
    assert refined.texts("#player .play") == ["True", "Refined", "Unrefined", "Neighbour"]
    said = {}
    for side, name in ((1, "Refined"), (2, "Unrefined"), (3, "Neighbour")):
        refined.press(str(side + 1))
        assert refined.texts("#parameters thead th")[2] == name
        assert refined.text("#detail .compared figcaption") == name
        said[name] = refined.texts("#parameters tbody tr:first-child td")[1:3]
        assert refined.text("#status") == name
    refined.press("1")
    assert refined.text("#detail .compared figcaption") == "Neighbour"  # the original is beside it anyway
    assert said["Unrefined"][1] == said["Neighbour"][1]
    assert said["Refined"][1] != said["Unrefined"][1]
    assert (" ± " in said["Refined"][0], " ± " in said["Neighbour"][0]) == (True, False)
    assert refined.texts("#metrics thead th") == ["Metric", "Refined", "Unrefined", "Neighbour", "Mean of all, refined"]


def test_the_scale_of_differences_follows_them(refined):
    captions = []
    for key in ("2", "3"):  # the refined picture is the true one here, the other 20 dB softer
        refined.press(key)
        captions.append(refined.texts("#detail .scale figcaption")[1])
    assert captions == ["Refined less true, within ± 0.05 dB", "Unrefined less true, within ± 20 dB"]


def test_arrows_go_through_all_sides(refined):
    refined.press("l")
    refined.press(" ")
    heard = [refined.playing()]
    for key in ("\ue014", "\ue014", "\ue014", "\ue014", "\ue012"):  # right, four times; left
        refined.press(key)
        heard.append(refined.playing())
    assert heard == ["True", "Refined", "Unrefined", "Neighbour", "True", "Neighbour"]
    assert len(refined.spied()["starts"]) == 4  # all of them together, once


def test_keys_loop_match_and_choose_the_three_sounds(page):
    names = [make_report().sounds[number].name for number in worst_median_best(make_report())]
    page.press("l")
    page.press("e")
    assert page.one("#loop").is_selected()
    assert page.one("#match").is_selected()
    for key, name in zip("wmb", names, strict=True):
        page.press(key)
        assert page.text("#sound-name") == name
        assert page.playing() == "True"
    page.press("l")
    page.wait(lambda: page.playing() is None)  # the round that plays is the last one
    assert page.position() == 0


def test_all_keys_are_listed(page):
    page.press("?")
    assert page.one("#keys").is_displayed()
    listed = page.texts("#keys kbd")
    assert {"Space", "←", "→", "↑", "↓", "1", "2", "L", "E", "0", "X", "W", "M", "B", "Enter", "?"} == set(listed)
    page.press("l")
    assert not page.one("#loop").is_selected()  # nothing happens behind it
    page.press("\ue00c")  # escape
    assert not page.one("#keys").is_displayed()


def test_the_crosshair_goes_by_keys(page):
    page.run("document.querySelector('#detail .pictures').focus()")
    side = page.playing(), page.text("#sound-name")
    for key in ("\ue013", "\ue014"):  # up and right, from the middle
        page.press(key)
    assert page.text("#readout").startswith("0.313 s, 2400 Hz: true −80.0 dB, predicted −80.0 dB, difference 0")
    page.press("\ue007")  # enter
    assert page.position() == pytest.approx(0.3125, abs=0.001)
    assert (page.playing(), page.text("#sound-name")) == side


# ----- the blind test

DRAWS = "let draws = arguments[0]; crypto.getRandomValues = (bytes) => { bytes[0] = draws.shift(); return bytes; }"


def begin_blind_test(page, drawn):
    """Begin a test in which X is A where 0 is drawn, B where 255."""
    page.run(DRAWS, drawn)
    page.press("x")
    page.choose("#abx-trials", "8")
    page.click("#abx-begin")


def test_a_blind_test_counts_and_tells_the_chance_at_the_end(page):
    drawn = [0, 255, 0, 0, 255, 255, 0, 255, 0]
    begin_blind_test(page, drawn)
    for number, draw in enumerate(drawn[:8]):
        assert page.text("#abx-trial") == f"Trial {number + 1} of 8"
        assert not page.one("#abx .result").is_displayed()
        right = "1" if draw < 128 else "2"
        page.press(right if number else "2")  # the first one wrong
    assert page.text("#abx-score") == "7 of 8 right, p = 0.035"
    assert page.text("#abx-words").startswith("You tell them apart.")
    page.press("\ue00c")
    page.run(DRAWS, [0] * 9)
    page.press("x")
    assert page.one("#abx .setup").is_displayed()  # nothing is left of the one before
    assert not page.one("#abx .result").is_displayed()


def test_a_blind_test_that_is_ended_counts_what_was_answered(page):
    begin_blind_test(page, [0] * 9)
    page.click("[data-answer=A]")
    page.click("[data-answer=B]")
    page.click("#abx-stop")
    assert page.text("#abx-score") == "1 of 2 right, p = 0.750"
    assert page.text("#abx-words").startswith("This does not show")
    page.click("#abx-again")
    page.click("#abx-begin")
    page.click("#abx-stop")  # without an answer there is no result
    assert page.one("#abx .setup").is_displayed()


def test_in_a_blind_test_x_is_one_of_both_sounds_at_the_same_position(page):
    begin_blind_test(page, [255] + [0] * 8)
    page.press("a")
    page.wait(lambda: page.spied()["starts"])
    starts = page.spied()["starts"]
    assert [start["loop"] for start in starts] == [True, True]
    page.press("x")
    assert page.spied()["gains"][-2:] == [0, 1]  # B: this is what was drawn
    assert page.texts(".abx[aria-pressed=true]") == ["X"]
    assert page.playing() is None  # what the page shows behind the dialog says nothing
    page.press("x")
    assert page.texts(".abx[aria-pressed=true]") == []
    page.press("\ue00c")
    page.press(" ")
    assert page.playing() == "True"


def test_answers_about_far_sounds_are_grey_and_say_so(driver, tmp_path):
    first, second, *_ = make_prediction().sounds
    sounds = [replace(first, name="near"), replace(second, name="far", far=True, notes=("FAR from the training",))]
    (tmp_path / "far.html").write_text(render_report(replace(make_prediction(), sounds=sounds)), encoding="utf-8")
    page = Page(driver, (tmp_path / "far.html").as_uri())
    colours = {}
    for number, name in enumerate(("near", "far")):
        driver.execute_script(f"document.querySelector('#rows tr[data-sound=\"{number}\"]').click()")
        assert driver.find_element("id", "sound-name").text == name
        cell = driver.find_element("css selector", "#parameters tbody td")
        colours[name] = cell.value_of_css_property("color")
        grey = "grayscale" in driver.find_element("css selector", ".range-cell").value_of_css_property("filter")
        assert grey == (name == "far")
    assert "FAR from the training" in driver.find_element("id", "sound-notes").text
    assert colours["near"] != colours["far"]
    assert page.complaints() == []
