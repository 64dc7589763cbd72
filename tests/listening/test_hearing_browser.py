"""The page of recordings that a network names in a real browser."""

from dataclasses import replace

import pytest
from browsing import CONTRASTS, FAULTS, WIDTHS, Page, browse, look
from hearings import FRAME, make_hearings

from src.listening.hearing import render_hearings

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def driver():
    yield from browse()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hearing")
    several = make_hearings()
    for name, report in {"several": several, "single": replace(several, hearings=several.hearings[1:2])}.items():
        (directory / f"{name}.html").write_text(render_hearings(report), encoding="utf-8")
    return directory


@pytest.fixture
def page(driver, pages):
    look(driver, width=1280)
    yield (opened := Page(driver, (pages / "several.html").as_uri()))
    assert opened.complaints() == []
    assert opened.requests() == [opened.url]


def test_the_farthest_is_shown_first_and_the_list_goes_through_all(page):
    assert page.text("#sound-name").endswith(" 2.wav")
    assert page.run("return document.querySelector('#detail').classList.contains('far')")
    page.choose("#sort-by", "As given")
    names = page.texts("#rows th span")
    for number, name in enumerate(names, 1):
        page.click(f"#rows tr:nth-child({number}) button")
        assert page.text("#sound-name") == name
        assert len(page.texts("#heads .head")) == 2


def test_the_bars_and_the_readout_are_those_of_the_frame_under_the_playhead(page):
    page.choose("#sort-by", "As given")
    page.click("#rows tr:nth-child(4) button")
    sound = page.run("return JSON.parse(document.querySelector('#data').textContent).sounds[3]")
    for frame in (0, 3, 9):
        page.run("document.querySelector('#seek').value = arguments[0]", (frame + 0.5) * FRAME)
        page.run("document.querySelector('#seek').dispatchEvent(new Event('input'))")
        assert page.text("#readout").startswith(f"Frame {frame + 1} of 10, {frame * FRAME:.2f} to")
        shown = page.texts("#heads .head:first-child tbody td:nth-of-type(2) > span:first-child")
        shares = sound["heads"][0]["frames"][frame]
        assert [float(text) for text in shown] == pytest.approx(shares, abs=0.0051)
        assert sound["heads"][1]["texts"][frame] in page.text("#heads .head:last-child tbody tr:last-child")


def test_a_click_on_the_time_line_goes_there_and_the_sound_plays(page):
    page.choose("#sort-by", "As given")
    page.click("#rows tr:nth-child(4) button")
    canvas = page.one("#heads .head canvas")
    page.run("arguments[0].scrollIntoView({ block: 'center' })", canvas)
    canvas.click()  # in the middle
    assert page.position() == pytest.approx(5 * FRAME, abs=0.1)
    page.click("#player .play.side-0")
    page.wait(lambda: page.position() > 5.2 * FRAME)
    assert page.playing() == "Recording"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["several", "single"])
def test_nothing_overlaps_or_is_cut(driver, pages, width, name):
    look(driver, width)
    page = Page(driver, (pages / f"{name}.html").as_uri())
    page.settle()
    assert page.run(FAULTS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(driver, pages, scheme):
    look(driver, 1280, color_scheme=scheme)
    page = Page(driver, (pages / "several.html").as_uri())
    assert [entry for entry in page.run(CONTRASTS) if entry[0] < 4.5] == []
