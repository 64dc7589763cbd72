"""Results of every head: the table at the end of a training or an evaluation, and `results.json`."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from omegaconf import DictConfig

from src.data.vimh_datamodule import VIMHDataModule
from src.files import write_atomically
from src.models.vimh_module import CONFUSION
from src.params import ParamSpec
from src.pictures.confusion import confusion_figure
from src.pictures.plots import png
from src.programs.output import PlainTable, console, plain_table, say_where, shown_path
from src.programs.sweep import is_sweep, job_title
from src.text import one_line

AUDIT = Path("audit") / "{name}" / "audit.json"  # below the directory of logs; scripts/audit_dataset.py writes it
WORST = "most often taken for another:"
WIDEST_LINE = 78  # characters below a table
VISIBLE_SHARE = 0.9  # of the sounds in which one grid step must be visible, or the head is marked
FIGURES = ("acc", "acc1", "mae", "steps", "nmae", "coverage")
CATEGORY_FIGURES = ("acc", "balanced_acc", "f1", "ece")  # of a head whose classes have no order
FILE_FIGURE = "file_acc"  # where files have several samples
AVERAGED = ("acc", "acc1", "balanced_acc", "f1", "file_acc", "ece", "majority", "steps", "mean_steps", "coverage")
# Heading, figure, and how it is written.
COLUMNS = (
    ("accu-\nracy", "acc", ".3f"),
    ("within\n1 step", "acc1", ".3f"),
    ("most\nfreq.", "majority", ".3f"),
    ("mean\nabs. error", "mae", ".4g"),
    ("grid\nsteps", "steps", ".3f"),
    ("mean\nvalue", "mean_steps", ".2f"),
    ("in\n90 %", "coverage", ".0%"),
)
CATEGORY_COLUMNS = (
    ("accu-\nracy", "acc", ".3f"),
    ("balan-\nced", "balanced_acc", ".3f"),
    ("macro\nF1", "f1", ".3f"),
    ("of\nfiles", "file_acc", ".3f"),
    ("calib.\nerror", "ece", ".3f"),
    ("most\nfreq.", "majority", ".3f"),
)
Confusions = Mapping[str, Sequence[Sequence[int]]]


def metrics_of(trainer: Trainer) -> dict[str, float]:
    """Every figure that was logged last, by name."""
    return {name: float(figure) for name, figure in trainer.callback_metrics.items() if figure.ndim == 0}


def confusions_of(trainer: Trainer, stage: str) -> dict[str, list[list[int]]]:
    """How often each class was taken for which, rows of true and columns of predicted classes, by name of the head."""
    first, found = f"{stage}/", trainer.callback_metrics.items()
    return {name.removeprefix(first).removesuffix(CONFUSION): counts.tolist() for name, counts in found if counts.ndim}


def report_results(
    title: str,
    metrics: Mapping[str, float],
    specs: Sequence[ParamSpec],
    datamodule: VIMHDataModule,
    about: Mapping[str, Any],
    paths: DictConfig,
    split: str = "test",
    confusions: Confusions | None = None,
) -> None:
    """Print the tables of all heads, of a job of a sweep a line, and write `results.json`.

    Of every category a picture is written beside it: which class was taken for which.

    Args:
        title: Of the table.
        metrics: Name to value, such as `test/note_velocity_acc`.
        specs: Parameters of the heads, in order.
        datamodule: Of the dataset that the metrics are of.
        about: What else the file holds; its `checkpoint` is printed.
        paths: The section `paths` of the configuration.
        split: What the metrics are of, `train`, `val` or `test`.
        confusions: From `confusions_of`.
    """
    visible = read_visible(Path(paths.log_dir), datamodule.data_dir.name)
    results = head_results(
        metrics, specs, datamodule.majority_share(split), datamodule.mean_error(split), visible, split, confusions or {}
    )
    path = write_results({**about, "heads": results, "metrics": metrics}, Path(paths.output_dir))
    terminal = console()
    if is_sweep():
        terminal.print(results_line(metrics, path.parent, split), soft_wrap=True)
        return
    for table in results_tables(results, title):
        terminal.print(table)
    pictures = write_confusions(specs, confusions or {}, path.parent)
    where = pictures if len(pictures) < 2 else [path.with_name("confusion_*.png")]
    say_where(Checkpoint=about["checkpoint"], Results=path, **dict(zip(["Confusions"], where, strict=False)))


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
    confusions: Confusions | None = None,
) -> dict[str, dict[str, Any]]:
    """The figures of every head, and those of constant predictions.

    Args:
        metrics: Name to value, such as `test/note_velocity_acc`.
        specs: Parameters of the heads, in order.
        majority: Accuracy of always predicting the most frequent class, per head.
        mean_error: Mean absolute error of always predicting the mean value, natural units, per head.
        visible: Share of the sounds in which one grid step is visible in the image, for audited heads.
        stage: Prefix of the metrics' names.
        confusions: From `confusions_of`.

    Returns:
        Head to `acc`, `acc1`, `mae`, `steps`, `nmae`, `coverage` (see `HeadMetrics`), `majority`, `mean_mae`,
        `mean_steps`, `units`, and `visible`, which may be None. A category has `acc`, `balanced_acc`, `f1`, `ece`,
        `file_acc` where files have several samples, `majority`, its class `names`, `confusion`, how often each class
        was taken for which, `(true, predicted)`, and `visible`.
    """
    results = {}
    for spec in specs:
        figures = CATEGORY_FIGURES if spec.categorical else FIGURES
        row: dict[str, Any] = {figure: float(metrics[f"{stage}/{spec.name}_{figure}"]) for figure in figures}
        row["majority"] = majority[spec.name]
        if spec.categorical:
            if (of_files := f"{stage}/{spec.name}_{FILE_FIGURE}") in metrics:
                row[FILE_FIGURE] = float(metrics[of_files])
            row |= {"names": list(spec.names), "confusion": (confusions or {}).get(spec.name)}
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


def results_tables(results: Mapping[str, Mapping[str, Any]], title: str) -> list[PlainTable]:
    """A table of the heads that have an order, and one of the categories; of either, where there are any.

    Args:
        results: From `head_results`.
        title: Stands above the first table.
    """
    kinds = [{name: row for name, row in results.items() if ("names" in row) == named} for named in (False, True)]
    made = (results_table, category_table)
    tables = [make(rows, title) for make, rows in zip(made, kinds, strict=True) if rows]
    if len(tables) == 2:
        tables[1].title = "categories"
    return tables


def results_table(results: Mapping[str, Mapping[str, Any]], title: str) -> PlainTable:
    """A row per head: accuracies, errors and coverage, beside what constant predictions reach.

    Args:
        results: From `head_results`, of heads that have an order.
        title: Stands above the table.
    """
    return _table(results, title, COLUMNS)


def category_table(results: Mapping[str, Mapping[str, Any]], title: str) -> PlainTable:
    """A row per category: shares of right classes, beside what a constant class reaches, and the worst confusion.

    Args:
        results: From `head_results`, of categories.
        title: Stands above the table.
    """
    has_files = any(FILE_FIGURE in row for row in results.values())
    table = _table(results, title, [column for column in CATEGORY_COLUMNS if has_files or column[1] != FILE_FIGURE])
    worst = [(name, worst_confusion(row["names"], row["confusion"])) for name, row in results.items()]
    lines = [one_line(f"{name}: {words}", WIDEST_LINE) for name, words in worst if words]
    if lines:
        table.add_below(WORST, *lines)
    return table


def _table(results: Mapping[str, Mapping[str, Any]], title: str, columns: Sequence[tuple[str, str, str]]) -> PlainTable:
    """A row per head, and means."""
    marked = {name for name, row in results.items() if row["visible"] is not None and row["visible"] < VISIBLE_SHARE}
    table = plain_table(title, ("head",), [heading for heading, _, _ in columns])
    if marked:
        table.add_below(f"* one step is visible in less than {VISIBLE_SHARE:.0%} of the sounds (audit)")
    for name, row in results.items():
        table.add_row(*_cells(f"{name} *" if name in marked else name, row, columns))
    if len(results) > 1:
        table.add_row(*_cells(f"mean of {len(results)}", _mean(list(results.values())), columns))
    unmarked = [row for name, row in results.items() if name not in marked]
    if marked and unmarked:
        table.add_row(*_cells(f"mean of {len(unmarked)} without *", _mean(unmarked), columns))
    return table


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the heads that have a figure; the absolute error has none, since every head has units of its own."""
    found = {figure: [row[figure] for row in rows if math.isfinite(row.get(figure, math.nan))] for figure in AVERAGED}
    return {figure: sum(numbers) / len(numbers) for figure, numbers in found.items() if numbers}


def _cells(label: str, row: Mapping[str, Any], columns: Sequence[tuple[str, str, str]]) -> list[str]:
    """A line of the table; what a head does not have stays empty."""
    units = {"mae": row.get("units", "")}
    return [
        label,
        *(
            f"{row[figure]:{form}} {units.get(figure, '')}".rstrip() if figure in row else ""
            for _, figure, form in columns
        ),
    ]


def worst_confusion(names: Sequence[str], confusion: Sequence[Sequence[int]] | None) -> str:
    """The class that is taken for another one most often, in words; empty where none is."""
    wrong = [
        (count, true, predicted)
        for true, row in enumerate(confusion or ())
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    if not wrong or confusion is None:
        return ""
    count, true, predicted = max(wrong, key=lambda pair: pair[0])
    return f"{names[true]} for {names[predicted]}, {count:,} of {sum(confusion[true]):,}"


def write_confusions(specs: Sequence[ParamSpec], confusions: Confusions, output_dir: Path) -> list[Path]:
    """Write the picture of every category; returns their paths."""
    paths = []
    for spec in specs:
        if spec.name in confusions:
            paths.append(output_dir / f"confusion_{spec.name}.png")
            write_atomically(paths[-1], png(confusion_figure(spec, np.asarray(confusions[spec.name]))))
    return paths


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
