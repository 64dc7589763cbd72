"""Pages in a real browser: any Chrome or Chromium that selenium can drive.

Where there is none these tests are skipped and say so; with REQUIRE_BROWSER=1, as in `.ci/run`, they fail.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.screenshot import NoBrowser, open_browser

ROOT = Path(__file__).parents[1]
WIDTHS = (390, 768, 1024, 1280, 1440, 1920)

# Before anything of the page runs: notes when and where sources start, the gains that they are set to, and texts that
# do not fit their canvas.
SPY = """
window.spied = { starts: [], buffers: [], stops: 0, gains: [], speeds: [], contexts: [], cut: [] };
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  spied.starts.push({ when, loop: this.loop });
  spied.buffers.push(this.buffer);
  spied.speeds.push(this.playbackRate.value);
  return start.apply(this, when);
};
const stop = AudioBufferSourceNode.prototype.stop;
AudioBufferSourceNode.prototype.stop = function (...when) { spied.stops += 1; return stop.apply(this, when); };
window.AudioContext = class extends AudioContext {
  constructor(...options) {
    super(...options);
    spied.contexts.push(this);
  }
};
const target = AudioParam.prototype.setTargetAtTime;
AudioParam.prototype.setTargetAtTime = function (value, ...rest) {
  spied.gains.push(value);
  return target.call(this, value, ...rest);
};
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const { width, actualBoundingBoxAscent: above, actualBoundingBoxDescent: below } = this.measureText(text);
  const left = x - { left: 0, start: 0, center: width / 2, right: width, end: width }[this.textAlign];
  const [right, top, bottom] = [left + width, y - above, y + below];
  const { clientWidth, clientHeight } = this.canvas;
  if (left < -0.5 || right > clientWidth + 0.5 || top < -0.5 || bottom > clientHeight + 0.5) {
    spied.cut.push([text, left, right, top, bottom, clientWidth, clientHeight]);
  }
  return write.call(this, text, x, y);
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


# What lies on its sibling, is wider than its place, or is cut without its whole text as title or label.
FAULTS = """
const faults = [];
const told = (e) => `${e.tagName}.${e.getAttribute("class") ?? ""}#${e.id} ${e.textContent.trim().slice(0, 30)}`;
const style = (e) => getComputedStyle(e);
const flows = (e) => e.checkVisibility() && ["static", "relative"].includes(style(e).position)
  && !["WBR", "BR", "OPTION", "OPTGROUP", "SCRIPT", "STYLE"].includes(e.tagName);
const isClipped = (e) => e !== null && (style(e).clipPath === "inset(50%)" || isClipped(e.parentElement));
const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
for (const e of document.body.querySelectorAll("*")) {
  if (!e.checkVisibility() || e.closest("svg, .skip, option, select") || isClipped(e)) continue;
  const children = [...e.children].filter(flows);
  children.forEach((child, i) => {
    const boxes = [...child.getClientRects()];
    for (const other of children.slice(i + 1)) {
      for (const box of other.getClientRects()) {
        if (boxes.some((own) => overlap(own, box))) faults.push(`${told(child)} lies on ${told(other)}`);
      }
    }
  });
  const { overflowX, display, textOverflow } = style(e);
  if (display === "inline" || e.scrollWidth <= e.clientWidth + 1) continue;
  if (overflowX === "visible") faults.push(`${told(e)} is ${e.scrollWidth} wide in ${e.clientWidth}`);
  const whole = (e.closest("[title]")?.title ?? "") + (e.closest("[aria-label]")?.ariaLabel ?? "");
  const text = e.textContent.trim().toLowerCase();
  if (textOverflow === "ellipsis" && !whole.toLowerCase().includes(text)) faults.push(`${told(e)} is cut`);
}
for (const text of document.querySelectorAll("svg text")) {
  const [own, outer] = [text.getBoundingClientRect(), text.closest("svg").getBoundingClientRect()];
  if (own.left < outer.left - 1 || own.right > outer.right + 1) faults.push(`${text.textContent} leaves its picture`);
}
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) faults.push(`the page is ${root.scrollWidth} wide in ${root.clientWidth}`);
return [...faults, ...spied.cut.map((cut) => `${cut} leaves its canvas`)];
"""


def browse() -> Iterator:
    """Open a browser that notes what pages do, for a fixture."""
    try:
        opened = open_browser()
    except NoBrowser as error:
        if os.environ.get("REQUIRE_BROWSER"):
            raise
        pytest.skip(str(error))
    opened.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SPY})
    yield opened
    opened.quit()


class Served:
    """A program that serves a page, in a process.

    Args:
        program: Its file, below the project's root.
        *options: Of its command line.
    """

    def __init__(self, program: str, *options: object):
        hidden = ("DISPLAY", "WAYLAND_DISPLAY")  # no other browser opens
        environment = {name: text for name, text in os.environ.items() if name not in hidden}
        self.process = subprocess.Popen(
            [sys.executable, program, *map(str, options)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if found := re.search(r"Page: (http\S+)", line):
                self.entry = found[1]
                self.address = self.entry.partition("?")[0]
                return
        raise AssertionError("".join(lines))

    def end(self, ending=signal.SIGINT):
        """Exit code and last lines after a signal."""
        self.process.send_signal(ending)
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, rest


class Page:
    """A page that is open."""

    def __init__(self, driver, url):
        self.driver = driver
        self.url = url
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
        return self.run("return { ...spied, buffers: undefined, contexts: undefined }")

    def position(self):
        return float(self.one("#seek").get_attribute("value"))

    def playing(self):
        """Name of the side that is audible, or None."""
        pressed = self.texts('#player .play[aria-pressed="true"]')
        return pressed[0] if pressed else None

    def settle(self):
        """Wait until the page is laid out and drawn again."""
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

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


def look(driver, width, height=900, **media):
    """Set the size of the window, and what the user prefers."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in media.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
