"""The comparison of runs in a real browser."""

import pytest
from browsing import CONTRASTS, FAULTS, WIDTHS, Page, browse, look
from comparisons import LABELS, make_comparison

from src.listening.comparison import MOST_RUNS, render_comparison

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DOWN, RIGHT = "\ue015", "\ue014"
OPEN_ALL = "for (const fold of document.querySelectorAll('details')) fold.open = true;"


@pytest.fixture(scope="module")
def driver():
    yield from browse()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Directory with a page of three runs, and one of six with long names."""
    directory = tmp_path_factory.mktemp("comparison")
    crowd = [f"{'a_long_name_of_a_run_' * 3}{number}" for number in range(MOST_RUNS)]
    made = {"usual": make_comparison(), "crowd": make_comparison(MOST_RUNS, labels=crowd)}
    for name, comparison in made.items():
        (directory / f"{name}.html").write_text(render_comparison(comparison), encoding="utf-8")
    return directory


@pytest.fixture
def page(driver, pages):
    look(driver, width=1280)
    yield (opened := Page(driver, (pages / "usual.html").as_uri()))
    assert opened.complaints() == []


@pytest.mark.parametrize("name", ["usual", "crowd"])
def test_nothing_overlaps_and_nothing_is_cut(driver, pages, name):
    page = Page(driver, (pages / f"{name}.html").as_uri())
    page.run(OPEN_ALL)
    for width in WIDTHS:
        look(driver, width, color_scheme="dark" if width in (768, 1440) else "light")
        page.settle()
        assert page.run(FAULTS) == [], width
        assert page.run("return document.querySelector('#seek').clientWidth") > 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(driver, pages, scheme):
    look(driver, 1280, color_scheme=scheme)
    page = Page(driver, (pages / "crowd.html").as_uri())
    page.run(OPEN_ALL)
    page.settle()
    assert [entry for entry in page.run(CONTRASTS) if entry[0] < 4.5] == []


def test_the_page_loads_nothing(page, driver):
    assert page.requests() == [page.url]
    assert driver.title.startswith("Comparison of cnn_64k, cnn_tiny")


def test_every_side_plays_and_pauses(page):
    assert page.texts("#player .play")[:3] == ["True", *LABELS[:2]]
    page.click("#loop")  # the sounds are short
    assert page.text("#status") == "Loop on"
    for side in (1, 2):
        page.click(f'#player .play[data-side="{side}"]')
        assert page.playing() == LABELS[side - 1]
        assert page.text(".picture.audible figcaption") == LABELS[side - 1]
    page.wait(lambda: page.position() > 0.05)
    page.wait(lambda: page.run("return document.querySelector('#detail .playhead').checkVisibility()"))
    page.click('#player .play[data-side="2"]')
    assert page.playing() is None


def test_another_sound_shows_its_own_parameters_and_errors(page):
    before = page.text("#parameters tbody")
    page.click("#rows tr:nth-child(2) button")
    assert page.text("#sound-name") == page.texts("#rows button")[1]
    assert page.text("#parameters tbody") != before
    assert page.texts("#parameters thead .run") == ["True", *LABELS]
    page.press(DOWN)
    assert page.text("#sound-name") == page.texts("#rows button")[2]
    assert page.run("return document.activeElement.textContent") == page.texts("#rows button")[2]


def test_pictures_are_drawn_for_every_side(page):
    drawn = """return [...document.querySelectorAll("#detail .picture canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(data).size > 8;
    })"""
    assert page.run(drawn) == [True] * 4


def test_keys_switch_sides_and_are_listed(page):
    page.press("3")
    assert page.run("return document.querySelector('#player .play.audible').dataset.side") == "2"
    page.press(RIGHT)
    assert page.run("return document.querySelector('#player .play.audible').dataset.side") == "3"
    page.press("?")
    assert page.run("return document.querySelector('#keys').open")
    assert page.run("return document.querySelectorAll('#keys dt').length") > 8
