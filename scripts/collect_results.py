"""Prints what every trained network reached as a Markdown table: the newest run of each experiment under logs/train.

python scripts/collect_results.py [LOG_DIR]
"""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from scripts.pages import read_json, table  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

COLUMNS = (
    *("experiment", "parameters", "training set", "training time"),
    *("head", "accuracy", "majority", "error in grid steps"),
)


def markdown(log_dir: Path) -> str:
    """A row per head of the newest run of every experiment, in the order of their names."""
    files = sorted(log_dir.glob("*/*/results.json"), key=lambda path: path.stat().st_mtime)
    newest = {path.parent.parent.name: path for path in files}
    rows = []
    for name in sorted(newest):
        run = read_json(newest[name])
        time = f"{run['training_seconds']:.0f} s, {run['epochs']} epochs"
        about = (run["experiment_name"], f"{run['parameters']:,}", f"{run['training_samples']:,}", time)
        for head, figures in run["heads"].items():
            rows.append((*about, head, *(f"{figures[key]:.3f}" for key in ("acc", "majority", "steps"))))
            about = ("",) * len(about)
    return "\n".join(table(COLUMNS, rows))


if __name__ == "__main__":
    prepare_streams()
    say(markdown(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "logs" / "train"))
