"""Synthesizes a VIMH dataset.

    python generate_vimh.py --config-name=synth/generate_simple_saw dataset.size=16384

`--help` shows every key of the configuration; any of them can be overridden.
"""

from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.programs.entry import program  # noqa: E402

main = program(
    "synth/generate_simple_saw",
    task="src.tasks.generate.generate_dataset",
    names="synth/generate_*",
    paths=("dataset.name", "dataset.suffix"),
)

if __name__ == "__main__":
    main()
