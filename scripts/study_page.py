"""Results of scripts/study.py as JSON, CSV, figures and the tables of a page."""

import csv
import io
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

from scripts.pages import between_marks, table, write_json
from src.files import write_atomically

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
STYLES = {
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


def keep(runs: Runs, output_dir: Path) -> None:
    """Write the runs, the table for other programs, the figures, and the tables of the page; the rest of it stays."""
    write_json(runs, output_dir / RUNS)
    write_atomically(output_dir / "runs.csv", as_csv(runs).encode())
    for name, draw in zip(FIGURES, (draw_over_sounds, draw_over_cost), strict=True):
        write_atomically(output_dir / name, draw(runs))
    page = output_dir / "index.md"
    before = page.read_text(encoding="utf-8") if page.exists() else f"# Representations compared\n\n{''.join(MARKS)}"
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
    order = list(STYLES)
    return sorted(found, key=lambda arm: (order.index(arm[0]), arm[1]))


def select(runs: Runs, **wanted: Any) -> list[Mapping[str, Any]]:
    """Runs whose entries are as wanted."""
    return [run for run in runs.values() if all(run[key] == value for key, value in wanted.items())]


def values(runs: Runs, key: str) -> list[Any]:
    """Every value of an entry, in rising order."""
    return sorted({run[key] for run in runs.values()})


def label(arm: Arm) -> str:
    """An arm in words."""
    representation, model = arm
    return f"{representation}, 64k" if model == LARGE else representation


def with_tables(page: str, runs: Runs) -> str:
    """A page whose tables and figures are those of the runs."""
    parts = [f"![{title}]({name})" for name, title in FIGURES.items()]
    for set_name in values(runs, "set"):
        parts += [f"### {set_name}: error in grid steps", error_table(runs, set_name)]
        parts += [f"### {set_name}: error less that of {BASE}", difference_table(runs, set_name)]
        parts += [f"### {set_name}: what it costs", cost_table(runs, set_name)]
    return between_marks(page, MARKS, "\n" + "\n\n".join(parts) + "\n\n")


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
    found = select(runs, set=set_name, representation=arm[0], model=arm[1], sounds=size)
    return {run["seed"]: run["error_jnd"] for run in found}


def table_over_sounds(runs: Runs, set_name: str, rows: Sequence[Arm], cell: Callable[[Arm, int], str]) -> str:
    """A table with a row for every arm and a column for every number of sounds."""
    sizes = values(runs, "sounds")
    columns = ("representation, network", *(f"{size:,} sounds" for size in sizes))
    return "\n".join(table(columns, ((", ".join(arm), *(cell(arm, size) for size in sizes)) for arm in rows)))


def shown(mean_and_half: tuple[float, float], sign: str = "") -> str:
    """Mean, with a sign where one is wanted, and interval in three digits."""
    mean, half = mean_and_half
    return f"{mean:{sign}.3f}" if math.isnan(half) else f"{mean:{sign}.3f} ± {half:.3f}"


def cost_table(runs: Runs, set_name: str) -> str:
    """Size, operations and time of every arm with the most sounds, and what it reached."""
    size = max(values(runs, "sounds"))
    columns = (
        *(f"representation, network, {size:,} sounds", "parameters", "million multiply-adds: picture", "network"),
        *("training, s", "epochs", "accuracy", "error / range"),
    )
    rows = []
    for arm in arms(runs):
        found = select(runs, set=set_name, representation=arm[0], model=arm[1], sounds=size)
        if found:
            first = found[0]
            mean = {key: statistics.fmean(run[key] for run in found) for key in ("seconds", "epochs", "acc", "nmae")}
            rows.append(
                (
                    *(", ".join(arm), f"{first['parameters']:,}"),
                    *(f"{first[key] / 1e6:.2f}" for key in ("picture_multiply_adds", "multiply_adds")),
                    *(f"{mean['seconds']:.0f}", f"{mean['epochs']:.1f}", f"{mean['acc']:.3f}", f"{mean['nmae']:.4f}"),
                )
            )
    return "\n".join(table(columns, rows))


@matplotlib.rc_context(STYLE)
def draw_panels(runs: Runs, draw_arm: Callable[[Axes, str, int, Arm], None], title: str, x_label: str) -> bytes:
    """A panel for each set with logarithmic axes, plain numbers and a faint grid, and one legend of the arms; SVG.

    Args:
        runs: What is drawn.
        draw_arm: Draws into a panel the runs of a set by an arm, of which it is given the number as well.
        title: Of a panel, with the set for `{}`.
        x_label: Of the abscissa.
    """
    sets = values(runs, "set")
    figure = Figure(figsize=(5.0 * len(sets) + 2.4, 5.6), layout="constrained")
    panels = figure.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for panel, set_name in zip(panels, sets, strict=True):
        for number, arm in enumerate(arms(runs)):
            draw_arm(panel, set_name, number, arm)
        y_label = "mean absolute error, grid steps"
        panel.set(xscale="log", yscale="log", title=title.format(set_name), xlabel=x_label, ylabel=y_label)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
            axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        panel.grid(alpha=0.25, lw=0.6)
        if x_label == "training sounds":
            panel.set_xticks(values(runs, "sounds"), [f"{size:,}" for size in values(runs, "sounds")])
            panel.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})  # without the time at which it was drawn
    return file.getvalue()


def draw_over_sounds(runs: Runs) -> bytes:
    """Error over training sounds, a curve for each arm with intervals, a panel for each set; SVG."""

    def draw_arm(panel: Axes, set_name: str, number: int, arm: Arm) -> None:
        errors = {size: errors_of(runs, set_name, arm, size) for size in values(runs, "sounds")}
        points = [(size, *interval(list(found.values()))) for size, found in errors.items() if found]
        if points:
            sizes, means, halves = zip(*points, strict=True)
            color, marker = STYLES[arm[0]]
            panel.errorbar(
                [size * APART ** (number - 4.5) for size in sizes],
                means,
                [[min(half, 0.9 * mean) for mean, half in zip(means, halves, strict=True)], halves],
                fmt="--" if arm[1] == LARGE else "-",
                color=color,
                marker=marker,
                markersize=5,
                markerfacecolor="white" if arm[1] == LARGE else color,
                lw=1.3,
                elinewidth=0.8,
                capsize=2,
                label=label(arm),
            )

    return draw_panels(runs, draw_arm, "{}", "training sounds")


def draw_over_cost(runs: Runs) -> bytes:
    """Error with the most training sounds over multiply-adds, a point for each arm, a panel for each set; SVG."""
    size = max(values(runs, "sounds"), default=0)

    def draw_arm(panel: Axes, set_name: str, number: int, arm: Arm) -> None:
        found = select(runs, set=set_name, representation=arm[0], model=arm[1], sounds=size)
        if found:
            color, marker = STYLES[arm[0]]
            mean, half = interval([run["error_jnd"] for run in found])
            panel.errorbar(
                (found[0]["picture_multiply_adds"] + found[0]["multiply_adds"]) / 1e6,
                mean,
                None if math.isnan(half) else [[min(half, 0.9 * mean)], [half]],
                color=color,
                marker=marker,
                markersize=9 if arm[1] == LARGE else 6,
                markerfacecolor="white" if arm[1] == LARGE else color,
                linestyle="none",
                capsize=3,
                label=label(arm),
            )

    title, x_label = f"{{}}, {size:,} training sounds", "million multiply-adds a sound, picture and network"
    return draw_panels(runs, draw_arm, title, x_label)
