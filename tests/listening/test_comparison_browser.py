"""The comparison of runs in a real browser; as for the listening report, without one it is skipped or fails."""

import os

import pytest
from comparisons import LABELS, make_comparison

from scripts.screenshot import NoBrowser, open_browser
from src.listening.comparison import render_comparison

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS = (390, 768, 1280, 1920)
# Texts and pictures that lie on one another, or beyond the page; the player lies above the page by intention.
CLASHES = """
const seen = (e) => e.checkVisibility() && !e.closest(".unseen, .skip, #player, dialog, svg, noscript, option");
const hidden = (e) => e.closest("thead") && getComputedStyle(e.closest("thead")).clipPath !== "none";
const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
const boxes = [...document.querySelectorAll("body *")]
  .filter((e) => seen(e) && !hidden(e) && (own(e) || e.tagName === "CANVAS"))
  .flatMap((e) => {
    const range = document.createRange();
    range.selectNodeContents(e);
    const whole = e.tagName === "CANVAS" ? e.getBoundingClientRect() : range.getBoundingClientRect();
    const list = e.closest(".scroll")?.getBoundingClientRect() ?? { right: Infinity, bottom: Infinity };
    const [right, bottom] = [Math.min(whole.right, list.right), Math.min(whole.bottom, list.bottom)];
    const [width, height] = [Math.max(0, right - whole.left), Math.max(0, bottom - whole.top)];
    const box = new DOMRect(whole.left, whole.top, width, height);
    return box.width && box.height ? [[e, box]] : [];
  });
const found = [];
boxes.forEach(([a, p], i) => {
  if (p.right > innerWidth + 0.5 && !a.closest(".scroll")) found.push(["beyond", a.textContent.slice(0, 40)]);
  for (const [b, q] of boxes.slice(i + 1)) {
    if (a.contains(b) || b.contains(a) || (a.closest(".scroll") && b.closest(".scroll"))) continue;
    const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (across > 1.5 && down > 3) found.push([a.textContent.slice(0, 40), b.textContent.slice(0, 40)]);
  }
});
if (document.documentElement.scrollWidth > innerWidth) found.push(["wide", document.documentElement.scrollWidth]);
return found;
"""
# Controls of the player that lie on one another or beyond it, and those that are too narrow to use.
PLAYER = """
const parts = [...document.querySelectorAll("#player button, #player label, #player input[type=range], #time, #now")]
  .map((e) => [e, e.getBoundingClientRect()]);
const found = parts.filter(([, { left, right }]) => left < 0 || right > innerWidth).map(([e]) => ["beyond", e.id]);
parts.forEach(([a, p], i) => {
  for (const [b, q] of parts.slice(i + 1)) {
    const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    if (across > 1 && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 1) found.push([a.id, b.id]);
  }
});
const [now, seek] = ["now", "seek"].map((id) => document.getElementById(id));
if (now.scrollWidth > now.clientWidth) found.push(["cut", now.textContent]);
if (seek.clientWidth < 100) found.push(["short", seek.clientWidth]);
return found;
"""


@pytest.fixture(scope="module")
def driver():
    try:
        opened = open_browser()
    except NoBrowser as error:
        if os.environ.get("REQUIRE_BROWSER"):
            raise
        pytest.skip(str(error))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("comparison") / "index.html"
    found.write_text(render_comparison(make_comparison()), encoding="utf-8")
    return found


@pytest.fixture
def page(driver, path):
    driver.get_log("browser")
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    driver.get(path.as_uri())
    wait_until(driver, "document.documentElement.dataset.ready !== undefined")
    return driver


def wait_until(driver, condition):
    script = "const done = arguments[0]; const check = () => (CONDITION ? done(true) : setTimeout(check, 20)); check();"
    driver.set_script_timeout(20)
    assert driver.execute_async_script(script.replace("CONDITION", condition))


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_and_nothing_is_cut(page, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_script("for (const each of document.querySelectorAll('details')) each.open = true;")
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert page.execute_script(CLASHES) == []
    assert page.execute_script(PLAYER) == []


def test_the_page_loads_nothing_and_complains_of_nothing(page, path):
    names = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in names if not name.startswith("data:")] == []
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert page.title.startswith("Comparison of cnn_64k, vit_tiny")


def test_every_side_plays_and_pauses(page):
    buttons = page.find_elements("css selector", "#player .play")
    assert [button.text for button in buttons][:3] == ["True", *LABELS[:2]]
    page.find_element("css selector", "#loop").click()  # the sounds are short
    buttons[1].click()
    wait_until(page, "Number(document.querySelector('#seek').value) > 0.05")
    buttons[2].click()
    wait_until(page, "Number(document.querySelector('#seek').value) > 0.05")
    assert [button.get_attribute("aria-pressed") for button in buttons] == ["false", "false", "true", "false"]
    buttons[2].click()
    assert [button.get_attribute("aria-pressed") for button in buttons] == ["false"] * 4


def test_another_sound_shows_its_own_parameters_and_errors(page):
    rows = page.find_elements("css selector", "#rows tr")
    shown = "return document.querySelector('#parameters tbody').textContent"
    before = page.execute_script(shown)
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", rows[1])
    rows[1].click()
    names = ("return document.querySelector('#sound-name').textContent", "return arguments[0].cells[0].textContent")
    assert page.execute_script(names[0]) == page.execute_script(names[1], rows[1])
    assert page.execute_script(shown) != before
    heads = "return [...document.querySelectorAll('#parameters thead .run')].map((e) => e.textContent)"
    assert page.execute_script(heads) == ["True", *LABELS]


def test_pictures_are_drawn_for_every_side(page):
    drawn = """return [...document.querySelectorAll("#detail .picture canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(data).size > 8;
    })"""
    assert page.execute_script(drawn) == [True] * 4


def test_keys_switch_sides_and_are_listed(page):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).send_keys("3").perform()
    audible = "return document.querySelector('#player .play.audible').dataset.side"
    assert page.execute_script(audible) == "2"
    ActionChains(page).send_keys("?").perform()
    assert page.execute_script("return document.querySelector('#keys').open")
    assert page.execute_script("return document.querySelectorAll('#keys dt').length") > 8
