"""Measures a page that make play-page wrote, in headless Chrome or Chromium: time of a change, and size of the folder.

python scripts/time_play_page.py FOLDER [--changes 200]

A change is a random setting of all knobs. Its time is from the request to the message with sound, picture, answers and
resyntheses; what the browser needs to draw them comes on top, as on the page that a server feeds.
"""

import argparse
import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402

from scripts.screenshot import NoBrowser, open_browser  # noqa: E402
from src.programs.command_line import OptionParser  # noqa: E402
from src.text import complain, prepare_streams, say  # noqa: E402

# Opens an engine of the page's own kind; ends with "connected", or what went wrong.
OPEN = """
const done = arguments[0];
import(new URL("instrument/static/static_engine.js", document.baseURI)).then(({ StaticEngine }) => {
  const data = JSON.parse(document.querySelector("#data").textContent);
  window.engine = new StaticEngine(data);
  window.knobs = data.parameters;
  engine.onstate = done;
  engine.onmessage = ({ text }) => done(text);
  engine.open();
});
"""
CHANGE = """
const [id, shares, done] = arguments;
const value = knobs.map(({ min, max }, p) => min + shares[p] * (max - min));
const begun = performance.now();
engine.onmessage = ({ type, text }) => {
  if (type === "error") done(text);
  if (type === "sound") done(performance.now() - begun);
};
engine.send({ type: "sound", id, value });
"""


@contextmanager
def hosted(directory: Path) -> Iterator[str]:
    """The address of a server of the files in a directory, until the block ends."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing about requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def milliseconds(address: str, n_changes: int) -> list[float]:
    """Time of each change on a page."""
    driver = open_browser()
    driver.set_script_timeout(60)
    try:
        driver.get(address)
        state = driver.execute_async_script(OPEN)
        if state != "connected":
            raise RuntimeError(f"{address}: {state}")
        n_knobs = driver.execute_script("return knobs.length")
        shares = np.random.default_rng(0).random((n_changes, n_knobs))
        return [float(driver.execute_async_script(CHANGE, n, row.tolist())) for n, row in enumerate(shares)]
    finally:
        driver.quit()


def main() -> None:
    """Measure one folder."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--changes", type=int, default=200)
    arguments = parser.parse_args()
    if not (arguments.folder / "index.html").is_file():
        parser.error(f"{arguments.folder}: there is no page; write one with make play-page")
    sizes = [path.stat().st_size for path in arguments.folder.rglob("*") if path.is_file()]
    try:
        with hosted(arguments.folder) as address:
            found = milliseconds(f"{address}/index.html", arguments.changes)
    except (NoBrowser, RuntimeError) as error:
        complain(error)
        sys.exit(1)
    median, most = np.quantile(found, (0.5, 0.95))
    say(f"{len(found)} changes: {median:.1f} ms median, {most:.1f} ms at the 95th percentile")
    say(f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
