"""What every head learnt: the table at the end of a training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

RESULTS = "results.json"


def head_results(
    metrics: Mapping[str, float], majority: Mapping[str, float], heads: Sequence[Mapping[str, Any]], stage: str = "test"
) -> dict[str, dict[str, Any]]:
    """The figures of every head.

    Args:
        metrics: Name to value, such as `test/note_velocity_acc`.
        majority: Accuracy of guessing the most frequent class, per head.
        heads: `name` and `units` of each, in order.
        stage: Whose figures.

    Returns:
        Head to `acc`, `majority`, `mae`, `units`, `steps`.
    """
    return {
        head["name"]: {
            "acc": float(metrics[f"{stage}/{head['name']}_acc"]),
            "majority": majority[head["name"]],
            "mae": float(metrics[f"{stage}/{head['name']}_mae"]),
            "units": head["units"],
            "steps": float(metrics[f"{stage}/{head['name']}_steps"]),
        }
        for head in heads
    }


def results_table(results: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """A row per head: accuracy, majority-class share, error in natural units and in JND steps."""
    table = Table(title=title, title_justify="left")
    table.add_column("head", no_wrap=True)
    for column in ("accuracy", "majority class", "mean abs. error", "in JND steps"):
        table.add_column(column, justify="right")
    for name, row in results.items():
        error = f"{row['mae']:.4g} {row['units']}".strip()
        table.add_row(name, f"{row['acc']:.3f}", f"{row['majority']:.3f}", error, f"{row['steps']:.3f}")
    return table


def write_results(results: Mapping[str, Any], output_dir: Path) -> Path:
    """Write figures as JSON to `results.json`; returns its path."""
    path = output_dir / RESULTS
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return path
