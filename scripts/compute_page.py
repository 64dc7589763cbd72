"""Results of scripts/compute_study.py as tables of docs/study/compute.md, and figures."""

import io
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import matplotlib  # noqa: E402
import matplotlib.ticker  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from scripts.pages import table, write_between  # noqa: E402
from scripts.study_page import STYLE  # noqa: E402
from src.files import write_atomically  # noqa: E402

RESULTS = ROOT / "docs" / "study" / "compute.json"
PAGE = ROOT / "docs" / "study" / "compute.md"
MARKS = "<!-- tables: made by scripts/compute_study.py -->\n", "<!-- end of tables -->\n"
FIGURES = {
    "compute_seconds.svg": "Error over seconds of one core",
    "compute_multiply_adds.svg": "Error over billions of multiply-adds",
}
FRESH = None  # sounds of a cell that sees each once
POINTS = (30.0, 75.0, 190.0, 480.0, 1200.0)  # seconds of training
PICTURE, SAMPLES = "log-mel", ("16-bit waveform", "waveform", "bit stream")
BACKWARD = 2  # passes that a backward pass costs
# Color-blind safe (Okabe and Ito); samples are dashed, larger networks have open markers.
STYLES = {
    "log-mel": ("#0072b2", "s"),
    "log-magnitude": ("#000000", "o"),
    "+ instantaneous frequency": ("#009e73", "v"),
    "16-bit waveform": ("#d55e00", "X"),
    "waveform": ("#e69f00", "P"),
    "bit stream": ("#7f7f7f", "*"),
}
LARGER = ("cnn_64k", "wave_cnn_64k")

Run = Mapping[str, Any]
Curve = list[tuple[float, float]]


def runs_of(results: Mapping[str, Any]) -> list[Run]:
    """The cells that are no trials."""
    return [run for key, run in results.items() if not key.startswith("trial: ")]


def seconds(run: Run, point: Run) -> float:
    """Of training, and of making the sounds."""
    return float(point["seconds"] + point["making"])


def operations(run: Run, point: Run) -> float:
    """Billions of multiply-adds of the steps, a backward pass being two forward ones, and of the pictures."""
    seen = point["seen"]
    return (seen * (1 + BACKWARD) * run["multiply_adds"] + point["sounds"] * run["picture_multiply_adds"]) / 1e9


def curve(run: Run, cost: Callable[[Run, Run], float]) -> Curve:
    """Cost of every point, and the test error of the best one up to there, which validation sounds choose."""
    found = []
    best = run["points"][0]
    for point in run["points"]:
        best = min(best, point, key=lambda one: one["validation"])
        found.append((cost(run, point), best["error"]))
    return found


def cost_of(error: float, points: Curve) -> float:
    """What an error costs: on straight lines between the points, in logarithms. Infinite where it is not reached.

    An error that the first point is below already costs at most what that does, which is returned.
    """
    if error >= points[0][1]:
        return points[0][0]
    for (cheaper, above), (dearer, below) in itertools.pairwise(points):
        if below <= error < above:
            share = math.log(above / error) / math.log(above / below)
            return cheaper * (dearer / cheaper) ** share
    return math.inf


class Factor(NamedTuple):
    """How many times the seconds of log-mel samples need.

    Attributes:
        value: At the least error that both reach.
        bound: "at least" where the first point of log-mel is below that error already, "at most" where that of the
            samples is, else nothing.
    """

    value: float
    bound: str


def factors(results: Mapping[str, Any], name: str, sounds: int | None, samples: str) -> list[Factor]:
    """The factor of each pair of seeds, with the best network of each side."""
    found = []
    for seeds in sorted({tuple(run["seeds"]) for run in runs_of(results)}):
        of_seeds = [
            run
            for run in runs_of(results)
            if run["set"] == name and run["sounds"] == sounds and tuple(run["seeds"]) == seeds
        ]
        ours = [curve(run, seconds) for run in of_seeds if run["representation"] == PICTURE]
        theirs = [curve(run, seconds) for run in of_seeds if run["representation"] == samples]
        if ours and theirs:
            error = max(min(points[-1][1] for points in side) for side in (ours, theirs))
            cost, other = (min(cost_of(error, points) for points in side) for side in (ours, theirs))
            early = [any(error >= points[0][1] for points in side) for side in (ours, theirs)]
            found.append(Factor(other / cost, "at least" if early[0] else "at most" if early[1] else ""))
    return found


def over_seeds(figures: Sequence[float], digits: str = ".3f") -> str:
    """Mean, with the lowest and the highest in brackets where there are several."""
    mean = f"{statistics.fmean(figures):{digits}}"
    return mean if len(figures) == 1 else f"{mean} ({min(figures):{digits}} to {max(figures):{digits}})"


def sounds_in_words(sounds: int | None) -> str:
    """A number of sounds."""
    return "fresh sounds" if sounds is FRESH else f"{sounds:,} sounds"


def sizes_of(runs: Iterable[Run]) -> list[int | None]:
    """Numbers of sounds in rising order, fresh ones last."""
    return sorted({run["sounds"] for run in runs}, key=lambda size: math.inf if size is FRESH else size)


def arms_of(runs: Iterable[Run]) -> list[tuple[str, str]]:
    """Representations and networks, in the order of the study."""
    found = {(run["representation"], run["model"]) for run in runs}
    return sorted(found, key=lambda arm: (list(STYLES).index(arm[0]), arm[1]))


def error_table(results: Mapping[str, Any], name: str) -> list[str]:
    """The error of every arm at its last point, and the seconds that it took."""
    runs = [run for run in runs_of(results) if run["set"] == name]
    sizes = sizes_of(runs)
    rows = []
    for representation, model in arms_of(runs):
        cells = [f"{representation}, `{model}`"]
        for size in sizes:
            last = [
                (run, run["points"][-1])
                for run in runs
                if (run["representation"], run["model"], run["sounds"]) == (representation, model, size)
            ]
            errors = [point["error"] for _, point in last]
            spent = [seconds(run, point) for run, point in last]
            cells.append(f"{over_seeds(errors)} in {statistics.fmean(spent):,.0f} s" if last else "")
        rows.append(cells)
    return table(["arm", *map(sounds_in_words, sizes)], rows)


def factor_table(results: Mapping[str, Any]) -> list[str]:
    """Times the seconds of log-mel that samples need; nothing where no cell has another to compare with."""
    rows = []
    runs = runs_of(results)
    for name in sorted({run["set"] for run in runs}):
        for samples in SAMPLES:
            for size in sizes_of(run for run in runs if run["set"] == name):
                found = factors(results, name, size, samples)
                if found:
                    bounds = " ".join(sorted({factor.bound for factor in found} - {""}))
                    ratio = f"{bounds} {over_seeds([factor.value for factor in found], '.1f')}".strip()
                    rows.append([name, samples, sounds_in_words(size), ratio, str(len(found))])
    columns = ["set", "samples", "trained on", "seconds over those of log-mel", "pairs of seeds"]
    return table(columns, rows) if rows else []


def trial_table(results: Mapping[str, Any]) -> list[str]:
    """The trials: validation errors of the rates, and the one that was chosen."""
    trials: dict[str, dict[float, float]] = {}
    for key, run in results.items():
        if key.startswith("trial: "):
            arm = f"{run['set']}, {run['representation']}, `{run['model']}`"
            trials.setdefault(arm, {})[run["rate"]] = run["points"][0]["validation"]
    rates = sorted({rate for tried in trials.values() for rate in tried})
    rows = []
    for arm, tried in trials.items():
        errors = [f"{tried[rate]:.3f}" if rate in tried else "" for rate in rates]
        rows.append([arm, *errors, f"{min(tried, key=tried.__getitem__):g}"])
    return table(["arm", *(f"rate {rate:g}" for rate in rates), "chosen"], rows)


def write_page(results: Mapping[str, Any], page: Path) -> None:
    """Put tables and figures into their page."""
    runs = runs_of(results)
    names = sorted({run["set"] for run in runs})
    for file, cost in zip(FIGURES, (seconds, operations), strict=True):
        if runs:
            write_atomically(page.parent / file, draw(runs, cost, FIGURES[file]))
    lines = ["", *(f"![{title}]({file})\n" for file, title in FIGURES.items())] if runs else [""]
    longer = factor_table(results)
    lines += ["### How many times as long", "", *(longer or ["Not measured yet: no cells of both sides."]), ""]
    for name in names:
        lines += [f"### {name}: error in grid steps", "", *error_table(results, name), ""]
    lines += ["### Trials", "", *trial_table(results), ""]
    write_between(MARKS, "\n".join(lines), page)


@matplotlib.rc_context(STYLE | {"svg.hashsalt": "compute"})
def draw(runs: Sequence[Run], cost: Callable[[Run, Run], float], title: str) -> bytes:
    """Error over cost, a panel for each set and number of sounds, a curve for each arm and pair of seeds; SVG."""
    names = sorted({run["set"] for run in runs})
    sizes = sizes_of(runs)
    figure = Figure(figsize=(3.4 * len(sizes) + 2.6, 3.4 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(sizes), squeeze=False, sharex=True, sharey="row")
    handles = {}
    for row, name in zip(panels, names, strict=True):
        for panel, size in zip(row, sizes, strict=True):
            for run in runs:
                if (run["set"], run["sounds"]) == (name, size):
                    color, marker = STYLES[run["representation"]]
                    larger = run["model"] in LARGER
                    (line,) = panel.plot(
                        *zip(*curve(run, cost), strict=True),
                        linestyle="--" if run["representation"] in SAMPLES else "-",
                        color=color,
                        marker=marker,
                        markersize=5,
                        markerfacecolor="white" if larger else color,
                        lw=1.2,
                    )
                    handles[f"{run['representation']}, {run['model']}"] = line
            panel.set(xscale="log", yscale="log", title=f"{name}, {sounds_in_words(size)}")
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
                axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
            panel.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            panel.grid(alpha=0.25, lw=0.6)
        row[0].set_ylabel("mean absolute error, grid steps")
    figure.supxlabel(title.partition(" over ")[2])
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})  # without the time at which it was drawn
    return file.getvalue()
