"""Writes a checkpoint as one ONNX file that needs neither PyTorch nor this project.

python src/export.py [run=NAME|last|best]

Inputs are `image`, uint8 `(batch, channel, freq, time)`, and `aux`, float32 `(batch, n_aux)`; outputs are `value` and
`std`, float32 `(batch, head)` in natural units. What they mean stands in the file's metadata as JSON, under `nsm`.
"""

from importlib.util import find_spec

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.programs.entry import program  # noqa: E402

main = program("export", task="src.tasks.export.export", paths=("output",))

if __name__ == "__main__":
    main()
