"""Takes a picture of a page, or of what is below a place in it, in a headless Chrome or Chromium.

python scripts/screenshot.py logs/audio_eval/DATE_TIME/index.html#sounds docs/tutorial/report.png --size 1200x1000
python scripts/screenshot.py "logs/viewer/DATE_TIME/NAME.html#record=7&open=1" docs/viewer_page.png --wait 2
"""

import argparse
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402

from src.files import write_atomically  # noqa: E402
from src.programs.command_line import OptionParser  # noqa: E402
from src.text import complain, prepare_streams, say  # noqa: E402

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking")


class NoBrowser(Exception):
    """No browser starts; the message says which were tried, and what to install."""


def open_browser() -> webdriver.Chrome:
    """A driver of the first browser that starts.

    Raises:
        NoBrowser: If none does.
    """
    os.environ.setdefault("SE_AVOID_STATS", "true")
    reasons = []
    for binary in filter(None, map(shutil.which, BROWSERS)):
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        for argument in ARGUMENTS:
            options.add_argument(argument)
        try:
            return webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        except WebDriverException as error:
            reasons.append(f"{binary}: {str(error.msg).splitlines()[0]}")
    raise NoBrowser(
        f"No browser starts ({'; '.join(reasons) or 'no Chrome or Chromium is here'}). On Debian: apt-get install "
        "chromium chromium-driver"
    )


def take(page: Path, place: str, output: Path, width: int, height: int, wait: float = 0.0) -> None:
    """Write a picture of a page as PNG.

    Args:
        page: HTML file.
        place: Fragment of its address: `id` of the element that is to stand at the top, or what the page makes of it;
            empty for the top of the page.
        output: Where to.
        width: Pixels.
        height: Pixels.
        wait: Seconds until what the page draws by and by is there.
    """
    driver = open_browser()
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(f"{page.resolve().as_uri()}#{place}")
        driver.execute_script("document.getElementById(arguments[0])?.scrollIntoView({behavior: 'instant'})", place)
        driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")  # drawn
        driver.execute_async_script("setTimeout(arguments[1], 1000 * arguments[0])", wait)
        write_atomically(output, driver.get_screenshot_as_png())
    finally:
        driver.quit()


def main() -> None:
    """Take one picture."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", help="HTML file, with #id for a place in it")
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", default="1200x1000", help="width x height, pixels")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds until everything is drawn; default 0")
    arguments = parser.parse_args()
    name, _, place = arguments.page.partition("#")
    width, _, height = arguments.size.partition("x")
    if not Path(name).is_file() or not (width.isdigit() and height.isdigit()):
        parser.error(f"{name} must be a file, and --size WIDTHxHEIGHT; it is {arguments.size}")
    try:
        take(Path(name), place, arguments.output, int(width), int(height), arguments.wait)
    except NoBrowser as error:
        complain(error)
        sys.exit(1)
    say(arguments.output)


if __name__ == "__main__":
    main()
