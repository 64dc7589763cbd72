"""Times the live page in a browser: from a key on a knob to the frame in which sound, picture and answer are there.

python scripts/time_play.py run=NAME [--changes 200]

What is no option goes to `src/play.py`. `make bench ARGS="--only play"` times the same without a browser.
"""

import argparse
import sys
from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402

from scripts.draw_play import playing  # noqa: E402
from scripts.screenshot import open_browser  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

# Turns a knob up and down by keys, each time after the frame that shows the answer to the key before.
CHANGES = """
const [n, done] = arguments;
const [dial, answers] = [document.querySelectorAll(".dial")[1], document.querySelector(".knob .answers")];
const times = [];
let begun = 0;
const turn = () => setTimeout(() => {
  begun = performance.now();
  const key = times.length % 2 ? "ArrowUp" : "ArrowDown";
  dial.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
}, 20);
new MutationObserver(() => {
  if (!begun) return;
  const from = begun;
  begun = 0;
  requestAnimationFrame(() => setTimeout(() => {
    times.push(performance.now() - from);
    if (times.length < n) turn();
    else done(times);
  }));
}).observe(answers, { childList: true });
document.querySelector("#auto").checked = false;
turn();
"""


def main() -> int:
    """Time what the command line asks for."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of src/play.py: run=NAME")
    parser.add_argument("--changes", type=int, default=200, metavar="N", help="of the knob; default 200")
    options = parser.parse_args()
    with playing(options.overrides) as address, open_browser() as browser:
        browser.set_script_timeout(600)
        browser.get(address)
        times = browser.execute_async_script(CHANGES, options.changes)
    median, late = np.percentile(times, [50, 95])
    say(f"{options.changes} changes: {median:.1f} ms in the median, {late:.1f} ms at the 95th percentile")
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
