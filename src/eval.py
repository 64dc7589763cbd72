"""Tests a checkpoint: network, loss and dataset are those it was trained with.

python src/eval.py [run=NAME|last|best]
"""

from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.programs.entry import program  # noqa: E402

main = program("eval", task="src.tasks.evaluate.evaluate")

if __name__ == "__main__":
    main()
