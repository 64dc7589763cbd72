"""Results of every head: the table at the end of a training or an evaluation, and `results.json`."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src.data.vimh_datamodule import VIMHDataModule
from src.files import write_atomically
from src.params import ParamSpec
from src.programs.output import PlainTable, console, plain_table, say_where, shown_path
from src.programs.sweep import is_sweep, job_title

AUDIT = Path("audit") / "{name}" / "audit.json"  # below the directory of logs; scripts/audit_dataset.py writes it
VISIBLE_SHARE = 0.9  # of the sounds in which one grid step must be visible, or the head is marked
F1_COLUMN = "macro\nF1"  # after the first of these, where there are categories
COLUMNS = ("accu-\nracy", "within\n1 step", "most\nfreq.", "mean\nabs. error", "grid\nsteps", "mean\nvalue", "in\n90 %")
FIGURES = ("acc", "acc1", "mae", "steps", "nmae", "coverage")
CATEGORY_FIGURES = ("acc", "f1")  # of a head whose classes have no order
AVERAGED = ("acc", "f1", "acc1", "majority", "steps", "mean_steps", "coverage")


def report_results(
    title: str,
    metrics: Mapping[str, float],
    specs: Sequence[ParamSpec],
    datamodule: VIMHDataModule,
    about: Mapping[str, Any],
    paths: DictConfig,
    split: str = "test",
) -> None:
    """Print the table of all heads, of a job of a sweep a line, and write `results.json`.

    Args:
        title: Of the table.
        metrics: Name to value, such as `test/note_velocity_acc`.
        specs: Parameters of the heads, in order.
        datamodule: Of the dataset that the metrics are of.
        about: What else the file holds; its `checkpoint` is printed.
        paths: The section `paths` of the configuration.
        split: What the metrics are of, `val` or `test`.
    """
    visible = read_visible(Path(paths.log_dir), datamodule.data_dir.name)
    results = head_results(
        metrics, specs, datamodule.majority_share(split), datamodule.mean_error(split), visible, split
    )
    path = write_results({**about, "heads": results, "metrics": metrics}, Path(paths.output_dir))
    terminal = console()
    if is_sweep():
        terminal.print(results_line(metrics, path.parent, split), soft_wrap=True)
        return
    terminal.print(results_table(results, title))
    say_where(Checkpoint=about["checkpoint"], Results=path)


def results_line(metrics: Mapping[str, float], output_dir: Path, split: str = "test") -> str:
    """What a job of a sweep has reached: loss, accuracy where there is one, and the directory of its run."""
    shown = [f"{name} {metrics[name]:.4g}" for name in (f"{split}/loss", f"{split}/acc") if name in metrics]
    return f"{job_title()}: {', '.join([*shown, shown_path(output_dir)])}"


def head_results(
    metrics: Mapping[str, float],
    specs: Sequence[ParamSpec],
    majority: Mapping[str, float],
    mean_error: Mapping[str, float],
    visible: Mapping[str, float],
    stage: str = "test",
) -> dict[str, dict[str, Any]]:
    """The figures of every head, and those of constant predictions.

    Args:
        metrics: Name to value, such as `test/note_velocity_acc`.
        specs: Parameters of the heads, in order.
        majority: Accuracy of always predicting the most frequent class, per head.
        mean_error: Mean absolute error of always predicting the mean value, natural units, per head.
        visible: Share of the sounds in which one grid step is visible in the image, for audited heads.
        stage: Prefix of the metrics' names.

    Returns:
        Head to `acc`, `acc1`, `mae`, `steps`, `nmae`, `coverage` (see `HeadMetrics`), `majority`, `mean_mae`,
        `mean_steps`, `units`, and `visible`, which may be None. A category has `acc`, `f1`, `majority`, its class
        `names` and `visible`.
    """
    results = {}
    for spec in specs:
        figures = CATEGORY_FIGURES if spec.categorical else FIGURES
        row: dict[str, Any] = {figure: float(metrics[f"{stage}/{spec.name}_{figure}"]) for figure in figures}
        row["majority"] = majority[spec.name]
        if spec.categorical:
            row["names"] = list(spec.names)
        else:
            error = mean_error[spec.name]
            row |= {"mean_mae": error, "mean_steps": error / spec.step, "units": spec.units}
        results[spec.name] = row | {"visible": visible.get(spec.name)}
    return results


def read_visible(log_dir: Path, dataset: str) -> dict[str, float]:
    """Share of the sounds in which a grid step of each parameter is visible, where the dataset has been audited.

    Args:
        log_dir: The directory of logs.
        dataset: Name of the dataset's directory.

    Returns:
        Parameter to share; empty without an audit, and where it cannot be read, since the table can do without.
    """
    try:
        entries = json.loads((log_dir / str(AUDIT).format(name=dataset)).read_text(encoding="utf-8"))
        return {entry["name"]: 1.0 - float(entry["invisible"]) for entry in entries}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def results_table(results: Mapping[str, Mapping[str, Any]], title: str) -> PlainTable:
    """A row per head: accuracies, errors and coverage, beside what constant predictions reach.

    Args:
        results: From `head_results`.
        title: Stands above the table.
    """
    marked = {name for name, row in results.items() if row["visible"] is not None and row["visible"] < VISIBLE_SHARE}
    has_f1 = any("f1" in row for row in results.values())
    table = plain_table(title, ("head",), (COLUMNS[0], F1_COLUMN, *COLUMNS[1:]) if has_f1 else COLUMNS)
    if marked:
        table.caption = f"* one step is visible in less than {VISIBLE_SHARE:.0%} of the sounds (audit)"
    for name, row in results.items():
        table.add_row(*_cells(f"{name} *" if name in marked else name, row, has_f1))
    if len(results) > 1:
        table.add_row(*_cells(f"mean of {len(results)}", _mean(list(results.values())), has_f1))
    unmarked = [row for name, row in results.items() if name not in marked]
    if marked and unmarked:
        table.add_row(*_cells(f"mean of {len(unmarked)} without *", _mean(unmarked), has_f1))
    return table


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the heads that have a figure; the absolute error has none, since every head has units of its own."""
    found = {figure: [row[figure] for row in rows if math.isfinite(row.get(figure, math.nan))] for figure in AVERAGED}
    return {figure: sum(numbers) / len(numbers) for figure, numbers in found.items() if numbers}


def _cells(label: str, row: Mapping[str, Any], has_f1: bool) -> tuple[str, ...]:
    """A line of the table; what a head does not have stays empty."""

    def cell(figure: str, form: str) -> str:
        return f"{row[figure]:{form}}" if figure in row else ""

    return (
        label,
        cell("acc", ".3f"),
        *([cell("f1", ".3f")] if has_f1 else []),
        cell("acc1", ".3f"),
        cell("majority", ".3f"),
        f"{row['mae']:.4g} {row['units']}".strip() if "mae" in row else "",
        cell("steps", ".3f"),
        cell("mean_steps", ".2f"),
        cell("coverage", ".0%"),
    )


def write_results(results: Mapping[str, Any], output_dir: Path) -> Path:
    """Write figures to `results.json`, those that are not finite as null; returns its path."""
    path = output_dir / "results.json"
    write_atomically(path, (json.dumps(_finite(results), indent=2, allow_nan=False) + "\n").encode())
    return path


def _finite(node: Any) -> Any:
    """Nested plain data with None for NaN and infinity, which JSON does not have."""
    if isinstance(node, Mapping):
        return {key: _finite(item) for key, item in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(item) for item in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node
