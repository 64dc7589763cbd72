"""Results of scripts/study.py as JSON, CSV, figures and the tables of a page."""

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t as student

from src.programs.files import write_atomically

RUNS = "runs.json"
MARKS = "<!-- tables: made by scripts/study.py -->\n", "<!-- end of tables -->\n"
FIGURES = {"error_over_sounds.svg": "Error over training sounds", "error_over_multiply_adds.svg": "Error over cost"}
COLUMNS = (
    *("set", "representation", "model", "sounds", "seed", "budget", "seconds", "steps", "epochs"),
    *("parameters", "picture_multiply_adds", "multiply_adds", "error_jnd", "acc", "nmae"),
)
CONFIDENCE = 0.95
LEAST_SEEDS = 3  # two say next to nothing of a spread: their interval is 9 times as wide as the distance between them
APART = 1.035  # from arm to arm in the figures, so that one interval does not hide another
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "study",  # the same figures are the same bytes
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# Color-blind safe (Okabe and Ito); samples are dashed.
LOOKS = {
    "log-magnitude": ("#000000", "o"),
    "log-mel": ("#0072b2", "s"),
    "multi-resolution": ("#009e73", "^"),
    "+ instantaneous frequency": ("#d55e00", "v"),
    "+ group delay": ("#cc79a7", "D"),
    "+ modulation": ("#e69f00", "P"),
    "waveform": ("#56b4e9", "X"),
    "bit stream": ("#7f7f7f", "*"),
}
LARGE = "wave_cnn_64k"
BASE = "log-mel"  # what the others are compared with

Runs = Mapping[str, Mapping[str, Any]]
Arm = tuple[str, str]  # representation and model


def read_json(path: Path) -> dict[str, dict[str, Any]]:
    """Entries by their keys; none if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_json(entries: Mapping[str, Any], path: Path) -> None:
    """The inverse."""
    write_atomically(path, (json.dumps(entries, indent=1) + "\n").encode())


def keep(runs: Runs, output_dir: Path) -> None:
    """Write the runs, the table for other programs, the figures, and the tables of the page; the rest of it stays."""
    write_json(runs, output_dir / RUNS)
    write_atomically(output_dir / "runs.csv", as_csv(runs).encode())
    for name, draw in zip(FIGURES, (draw_over_sounds, draw_over_cost), strict=True):
        write_atomically(output_dir / name, draw(runs))
    page = output_dir / "index.md"
    before = page.read_text(encoding="utf-8") if page.exists() else f"# What the priors buy\n\n{''.join(MARKS)}"
    write_atomically(page, with_tables(before, runs).encode())


def as_csv(runs: Runs) -> str:
    """A line for each run."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(runs.values())
    return text.getvalue()


def interval(figures: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds, and half the width of its 95 % confidence interval (Student's t); nan with less than 3 seeds."""
    mean = statistics.fmean(figures)
    if len(figures) < LEAST_SEEDS:
        return mean, math.nan
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, len(figures) - 1))
    return mean, quantile * statistics.stdev(figures) / math.sqrt(len(figures))


def arms(runs: Runs) -> list[Arm]:
    """Representations and networks, in the order of the study."""
    found = {(run["representation"], run["model"]) for run in runs.values()}
    order = list(LOOKS)
    return sorted(found, key=lambda arm: (order.index(arm[0]), arm[1]))


def runs_of(runs: Runs, set_name: str, arm: Arm, size: int) -> list[Mapping[str, Any]]:
    """Runs of an arm on a set, with so many sounds."""
    keys = ("set", "representation", "model", "sounds")
    return [run for run in runs.values() if tuple(run[key] for key in keys) == (set_name, *arm, size)]


def values(runs: Runs, key: str) -> list[Any]:
    """Every value of an entry, in rising order."""
    return sorted({run[key] for run in runs.values()})


def label(arm: Arm) -> str:
    """An arm in words."""
    representation, model = arm
    return f"{representation}, 64k" if model == LARGE else representation


def with_tables(page: str, runs: Runs) -> str:
    """A page whose tables and figures are those of the runs."""
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    parts = [f"![{title}]({name})" for name, title in FIGURES.items()]
    for set_name in values(runs, "set"):
        parts += [f"### {set_name}: error in grid steps", error_table(runs, set_name)]
        parts += [f"### {set_name}: error less that of {BASE}", difference_table(runs, set_name)]
        parts += [f"### {set_name}: what it costs", cost_table(runs, set_name)]
    return f"{before}{MARKS[0]}\n" + "\n\n".join(parts) + f"\n\n{MARKS[1]}{after}"


def error_table(runs: Runs, set_name: str) -> str:
    """Test error of every arm for every number of sounds."""

    def cell(arm: Arm, size: int) -> str:
        errors = errors_of(runs, set_name, arm, size)
        return shown(interval(list(errors.values()))) if errors else ""

    return table_over_sounds(runs, set_name, arms(runs), cell)


def difference_table(runs: Runs, set_name: str) -> str:
    """The same less that of log-mel with the same seed, which is the same sounds in the same order."""

    def cell(arm: Arm, size: int) -> str:
        errors, base = (errors_of(runs, set_name, each, size) for each in (arm, (BASE, "cnn_tiny")))
        pairs = [errors[seed] - base[seed] for seed in errors.keys() & base.keys()]
        return shown(interval(pairs), "+") if pairs else ""

    return table_over_sounds(runs, set_name, [arm for arm in arms(runs) if arm[0] != BASE], cell)


def errors_of(runs: Runs, set_name: str, arm: Arm, size: int) -> dict[int, float]:
    """Test errors of an arm by their seeds."""
    return {run["seed"]: run["error_jnd"] for run in runs_of(runs, set_name, arm, size)}


def table_over_sounds(runs: Runs, set_name: str, rows: Sequence[Arm], cell: Callable[[Arm, int], str]) -> str:
    """A table with a row for every arm and a column for every number of sounds."""
    sizes = values(runs, "sounds")
    lines = [
        f"| representation, network | {' | '.join(f'{size:,} sounds' for size in sizes)} |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    lines += [f"| {', '.join(arm)} | {' | '.join(cell(arm, size) for size in sizes)} |" for arm in rows]
    return "\n".join(lines)


def shown(mean_and_half: tuple[float, float], sign: str = "") -> str:
    """Mean, with a sign where one is wanted, and interval in three digits."""
    mean, half = mean_and_half
    return f"{mean:{sign}.3f}" if math.isnan(half) else f"{mean:{sign}.3f} ± {half:.3f}"


def cost_table(runs: Runs, set_name: str) -> str:
    """Size, operations and time of every arm with the most sounds, and what it reached."""
    size = max(values(runs, "sounds"))
    lines = [
        f"| representation, network, {size:,} sounds | parameters | million multiply-adds: picture | network "
        "| training, s | epochs | accuracy | error / range |",
        "|---" * 8 + "|",
    ]
    for arm in arms(runs):
        found = runs_of(runs, set_name, arm, size)
        if found:
            first = found[0]
            mean = {key: statistics.fmean(run[key] for run in found) for key in ("seconds", "epochs", "acc", "nmae")}
            cells = (
                ", ".join(arm),
                f"{first['parameters']:,}",
                *(f"{first[key] / 1e6:.2f}" for key in ("picture_multiply_adds", "multiply_adds")),
                *(f"{mean['seconds']:.0f}", f"{mean['epochs']:.1f}", f"{mean['acc']:.3f}", f"{mean['nmae']:.4f}"),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@matplotlib.rc_context(STYLE)
def draw_over_sounds(runs: Runs) -> bytes:
    """Error over training sounds, a curve for each arm with intervals, a panel for each set; SVG."""
    sizes = values(runs, "sounds")
    figure, panels = figure_of(runs)
    for panel, set_name in panels:
        for number, arm in enumerate(arms(runs)):
            found = [runs_of(runs, set_name, arm, size) for size in sizes]
            points = [
                (size * APART ** (number - 4.5), *interval([run["error_jnd"] for run in group]))
                for size, group in zip(sizes, found, strict=True)
                if group
            ]
            if points:
                style = {"fmt": "--" if arm[1] == LARGE else "-", "markersize": 5, "lw": 1.3, "elinewidth": 0.8}
                draw_points(panel, arm, points, capsize=2, **style)
        decorate(panel, set_name, "training sounds")
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.minorticks_off()
    return svg(figure)


@matplotlib.rc_context(STYLE)
def draw_over_cost(runs: Runs) -> bytes:
    """Error with the most training sounds over multiply-adds, a point for each arm, a panel for each set; SVG."""
    size = max(values(runs, "sounds"), default=0)
    figure, panels = figure_of(runs)
    for panel, set_name in panels:
        for arm in arms(runs):
            found = runs_of(runs, set_name, arm, size)
            if found:
                cost = (found[0]["picture_multiply_adds"] + found[0]["multiply_adds"]) / 1e6
                points = [(cost, *interval([run["error_jnd"] for run in found]))]
                draw_points(panel, arm, points, linestyle="none", markersize=9 if arm[1] == LARGE else 6, capsize=3)
        decorate(panel, f"{set_name}, {size:,} training sounds", "million multiply-adds a sound, picture and network")
    return svg(figure)


def figure_of(runs: Runs) -> tuple[Figure, list[tuple[Axes, str]]]:
    """A figure with a panel for each set."""
    sets = values(runs, "set")
    figure = Figure(figsize=(5.0 * len(sets) + 2.4, 5.6), layout="constrained")
    return figure, list(zip(figure.subplots(1, len(sets), squeeze=False, sharey=True)[0], sets, strict=True))


def draw_points(panel: Axes, arm: Arm, points: Sequence[tuple[float, float, float]], **style: Any) -> None:
    """Means of an arm with their intervals, which end above 0 on the logarithmic axis.

    Args:
        panel: Where to draw.
        arm: Representation and model.
        points: Position, mean, and half the width of its interval.
        **style: More for `Axes.errorbar`.
    """
    at, means, halves = zip(*points, strict=True)
    below = [min(half, 0.9 * mean) for mean, half in zip(means, halves, strict=True)]
    color, marker = LOOKS[arm[0]]
    fill = "white" if arm[1] == LARGE else color
    looks = {"color": color, "marker": marker, "markerfacecolor": fill, "label": label(arm)}
    panel.errorbar(at, means, [below, halves], **looks, **style)


def decorate(panel: Axes, title: str, x_label: str) -> None:
    """What both figures have: logarithmic axes with plain numbers, names, and a faint grid."""
    panel.set(xscale="log", yscale="log", title=title, xlabel=x_label, ylabel="mean absolute error, grid steps")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    panel.grid(alpha=0.25, lw=0.6)


def svg(figure: Figure) -> bytes:
    """A figure with its legend as SVG, without the time at which it was drawn."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
