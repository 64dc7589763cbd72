"""Listens to a checkpoint: renders true and predicted parameters of test sounds, and compares the two.

python src/audio_eval.py [run=NAME|last|best] [num_samples=256] [refine=true]

Writes a report to listen to, WAV files, a row per sound and estimate, and a summary.
"""

from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.programs.entry import program  # noqa: E402

main = program("audio_eval", task="src.tasks.audio_eval.audio_eval")

if __name__ == "__main__":
    main()
