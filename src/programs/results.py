"""What every head learnt: the table at the end of a training."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

RESULTS = "results.json"
AUDIT = Path("audit") / "{name}" / "audit.json"  # below the directory of logs; scripts/audit_dataset.py writes it
VISIBLE_SHARE = 0.9  # of the sounds in which one step must show, or the head is marked
COLUMNS = ("accu-\nracy", "within\n1 step", "most\nfreq.", "mean\nabs. error", "JND\nsteps", "mean\nvalue", "in\n90 %")
FIGURES = ("acc", "acc1", "mae", "steps", "nmae", "coverage")


def head_results(
    metrics: Mapping[str, float],
    heads: Sequence[Mapping[str, Any]],
    majority: Mapping[str, float],
    mean_error: Mapping[str, float],
    visible: Mapping[str, float],
    stage: str = "test",
) -> dict[str, dict[str, Any]]:
    """The figures of every head, and what answers without a network would reach.

    Args:
        metrics: Name to value, such as `test/note_velocity_acc`.
        heads: `name`, `units` and `step` of each, in order.
        majority: Accuracy of always guessing the most frequent class, per head.
        mean_error: Mean absolute error of always answering the mean value, natural units, per head.
        visible: Share of the sounds in which one step shows in the image, for heads of which it is known.
        stage: Whose figures.

    Returns:
        Head to `acc`, `acc1`, `mae`, `steps`, `nmae`, `coverage` (see `HeadMetrics`), `majority`, `mean_mae`,
        `mean_steps`, `units`, and `visible`, which may be None.
    """
    return {
        head["name"]: {
            **{figure: float(metrics[f"{stage}/{head['name']}_{figure}"]) for figure in FIGURES},
            "majority": majority[head["name"]],
            "mean_mae": mean_error[head["name"]],
            "mean_steps": mean_error[head["name"]] / head["step"],
            "units": head["units"],
            "visible": visible.get(head["name"]),
        }
        for head in heads
    }


def read_visible(log_dir: Path, dataset: str) -> dict[str, float]:
    """Share of the sounds in which a step of each parameter shows, where an audit of the dataset lies with the logs.

    Args:
        log_dir: The directory of logs.
        dataset: Name of the dataset's directory.

    Returns:
        Parameter to share; empty without an audit, and where it cannot be read: it is no more than a remark.
    """
    try:
        entries = json.loads((log_dir / str(AUDIT).format(name=dataset)).read_text(encoding="utf-8"))
        return {entry["name"]: 1.0 - float(entry["invisible"]) for entry in entries}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def results_table(results: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """A row per head: accuracies, errors and honesty, beside the most frequent class and the mean value as answers."""
    marked = [name for name, row in results.items() if row["visible"] is not None and row["visible"] < VISIBLE_SHARE]
    table = Table(
        title=title,
        title_justify="left",
        caption=f"* one step shows in less than {VISIBLE_SHARE:.0%} of the sounds (audit)" if marked else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("head", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in results.items():
        table.add_row(
            f"{name} *" if name in marked else name,
            f"{row['acc']:.3f}",
            f"{row['acc1']:.3f}",
            f"{row['majority']:.3f}",
            f"{row['mae']:.4g} {row['units']}".strip(),
            f"{row['steps']:.3f}",
            f"{row['mean_steps']:.2f}",
            f"{row['coverage']:.0%}",
        )
    if len(results) > 1:
        table.add_row(*mean_row(f"mean of {len(results)}", list(results.values())))
    shown = [row for name, row in results.items() if name not in marked]
    if marked and shown:
        table.add_row(*mean_row(f"mean of {len(shown)} without *", shown))
    return table


def mean_row(label: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Cells of the means over heads; the absolute error has none, as every head has units of its own."""
    acc, acc1, majority, steps, mean_steps, coverage = (
        sum(row[figure] for row in rows) / len(rows)
        for figure in ("acc", "acc1", "majority", "steps", "mean_steps", "coverage")
    )
    return (
        label,
        f"{acc:.3f}",
        f"{acc1:.3f}",
        f"{majority:.3f}",
        "",
        f"{steps:.3f}",
        f"{mean_steps:.2f}",
        f"{coverage:.0%}",
    )


def write_results(results: Mapping[str, Any], output_dir: Path) -> Path:
    """Write figures as JSON to `results.json`, those that are no finite numbers as null; returns its path."""
    path = output_dir / RESULTS
    path.write_text(json.dumps(finite(results), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def finite(node: Any) -> Any:
    """Nested plain data with None for NaN and infinity, which JSON does not know."""
    if isinstance(node, Mapping):
        return {key: finite(item) for key, item in node.items()}
    if isinstance(node, list | tuple):
        return [finite(item) for item in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node
