"""Draws docs/play.png: starts the live page, opens it at a sound, and takes a picture of it.

python scripts/draw_play.py run=NAME [dataset=DIR] [--sound FRAGMENT] [--size 1280x1210] [--output FILE]

What is no option goes to `src/play.py`. A fragment is what stands behind # in the page's address.
"""

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from scripts.screenshot import open_browser  # noqa: E402
from src.files import write_atomically  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

SOUND = (
    "note_number=54.8&note_velocity=106.4&log10_decay_time=0.25&filter_cutoff=198&filter_resonance=0.46"
    "&filter_env_attack=0.202&filter_env_decay=0.3&filter_env_sustain=0.49&filter_env_release=0.55"
    "&filter_env_amount=2.33"
)
SETTLED = 3.0  # s until sensitivity and limits are there


def main() -> int:
    """Draw what the command line asks for."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of src/play.py: run=NAME, dataset=DIR")
    parser.add_argument("--sound", default=SOUND, metavar="FRAGMENT", help="what the knobs are turned to")
    parser.add_argument("--size", default="1280x1210", metavar="WxH", help="of the picture")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "play.png", metavar="FILE")
    options = parser.parse_args()
    with playing(options.overrides) as address:
        write_atomically(options.output, picture(address, options.sound, options.size))
    say(f"Picture: {options.output}")
    return 0


@contextmanager
def playing(overrides: Sequence[str]) -> Iterator[str]:
    """The address that `src/play.py` prints, while it runs; ends the program where it prints none."""
    command = [sys.executable, "src/play.py", "browser=false", *overrides]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None  # a pipe
    try:
        addresses = (re.search(r"Page: (http\S+)", line) for line in server.stdout)
        found = next(filter(None, addresses), None)
        if found is None:
            raise SystemExit("src/play.py ended before it had a page; see above.")
        yield found[1]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def picture(address: str, sound: str, size: str) -> bytes:
    """The page as a PNG file."""
    width, height = map(int, size.split("x"))
    with open_browser() as browser:
        browser.get(address)
        browser.get("about:blank")
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get(f"{address.partition('?')[0]}#{sound}")
        time.sleep(SETTLED)
        return browser.get_screenshot_as_png()


if __name__ == "__main__":
    sys.exit(reporting(main))
