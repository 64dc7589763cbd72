"""Trains a network and tests its best checkpoint.

python src/train.py experiment=example
python src/train.py data=vimh_16kdss model=cnn_tiny loss=soft_target trainer.max_epochs=20
"""

from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.programs.entry import program  # noqa: E402

main = program("train", task="src.tasks.train.train")

if __name__ == "__main__":
    main()
