"""Plays an instrument whose sounds a network reads: a live page in the browser.

python src/play.py [run=NAME|last|best] [compare=NAME] [port=8765]

The address of the page is printed; Ctrl-C ends it. Without any trained network it is an instrument alone.
"""

from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.programs.entry import program  # noqa: E402

main = program("play", task="src.tasks.play.play", paths=("compare", "dataset"))

if __name__ == "__main__":
    main()
