"""Reads parameters from recordings, resynthesizes them, and says how far to trust it.

python src/predict.py audio=door.wav
python src/predict.py run=best audio='sounds/*.flac' refine=true
python src/predict.py dataset=data/vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p
"""

from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.programs.entry import program  # noqa: E402

FLAGS = {"--peak": "peak", "--no-normalize": "normalize=false"}

main = program("predict", task="src.tasks.predict.predict", paths=("audio", "dataset"), flags=FLAGS)

if __name__ == "__main__":
    main()
