"""Writes the live page as a folder of static files, which needs no Python: voices and networks work in the browser.

python src/play_page.py [run=NAME|last|best] [compare=NAME] [output=DIR]

Any host of static files can have the folder, under any path. Without any trained network it is an instrument alone.
"""

from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.programs.entry import program  # noqa: E402

main = program("play_page", task="src.tasks.play_page.play_page", paths=("compare", "dataset", "output", "cache"))

if __name__ == "__main__":
    main()
