"""Prints what every trained network reached as a Markdown table: the newest run of each experiment under logs/train.

python scripts/collect_results.py [LOG_DIR]
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def newest_results(log_dir: Path) -> list[dict[str, Any]]:
    """Content of the newest `results.json` of every experiment, by name."""
    files = sorted(log_dir.glob("*/*/results.json"), key=lambda path: path.stat().st_mtime)
    newest = {path.parent.parent.name: path for path in files}
    return [json.loads(newest[name].read_text(encoding="utf-8")) for name in sorted(newest)]


def markdown(results: list[dict[str, Any]]) -> str:
    """A row per head of every run."""
    lines = [
        "| experiment | parameters | training set | training time | head | accuracy | majority | error in JND steps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in results:
        about = (
            f"| {run['experiment_name']} | {run['parameters']:,} | {run['training_samples']:,} | "
            f"{run['training_seconds']:.0f} s, {run['epochs']} epochs"
        )
        for name, head in run["heads"].items():
            lines.append(f"{about} | {name} | {head['acc']:.3f} | {head['majority']:.3f} | {head['steps']:.3f} |")
            about = "| | | | "
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(newest_results(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "logs" / "train")))
