"""What `scripts/budgets.py` measures, and its results as JSON, tables in docs/results.md and pictures."""

import io
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import matplotlib  # noqa: E402
import matplotlib.ticker  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from scripts.pages import added, read_json, table, write_between  # noqa: E402
from scripts.results_page import spread  # noqa: E402
from scripts.study_page import STYLE  # noqa: E402
from src.errors import NSMError  # noqa: E402
from src.files import write_atomically  # noqa: E402

RUNS = ROOT / "docs" / "results" / "budgets.json"
TUNING = ROOT / "docs" / "results" / "tuning.json"
PAGE = ROOT / "docs" / "results.md"
MARKS = "<!-- budgets: made by scripts/budgets.py -->\n", "<!-- end of budgets -->\n"
BUDGETS = (3, 15)  # minutes
SIZES = {"16k": 16_384, "131k": 131_072, "524k": 524_288}  # sounds of stored sets, those of the test among them
STREAM = "stream"
BEST, OTHERS = "131k", (STREAM, "524k", "16k")
NETWORKS = {"basic": "cnn_tiny", "envelope": "cnn_64k"}
# The reference network, as it was published and with normalization: the overrides that make it so.
CONV6 = {"conv6": ("model=conv6",), "conv6 with batch norm": ("model=conv6", "model.net.batch_norm=true")}
CONV6_RATES = (0.0003, 0.001, 0.003, 0.01)
SEEDS = (42, 43, 44)  # of the cells with goals
TEST_SEED, OTHER_SEED, TUNING_SEED = 42, 43, 7  # of datasets: no sound of one is in another
COMMON = SIZES["16k"], TEST_SEED  # size and seed of the set on whose test sounds all cells are compared
TRAIN_SHARE, VAL_SHARE = 0.8, 0.1  # of a set to train and validate with, and of those to validate with
GOALS = {
    ("basic", 3): (0.962, 0.0055),
    ("envelope", 3): (0.85, 0.025),
    ("basic", 15): (0.978, 0.0034),
    ("envelope", 15): (0.895, 0.017),
}
RATES = "rates"
TABLE = (
    *("minutes", "sounds", "different ones", "trained on", "core seconds: synthesis", "training, test"),
    *("accuracy", "error / range", "goal"),
)
NAMES = {"16k": "16,384 stored", "131k": "131,072 stored", "524k": "524,288 stored", STREAM: "fresh, each once"}
# Color-blind safe (Okabe and Ito).
COLORS = {"16k": "#7f7f7f", "131k": "#0072b2", "524k": "#009e73", STREAM: "#d55e00"}

Runs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """A training within a budget.

    Attributes:
        set: `basic`, `envelope` or `resonance`.
        model: A configuration of the group `model`.
        data: A key of `SIZES`, or `STREAM`.
        minutes: Of one core, from the command to the result.
        seed: Of weights and order.
        changes: Overrides of `train.py` beside these.
    """

    set: str
    model: str
    data: str
    minutes: int
    seed: int = SEEDS[0]
    changes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name among the results."""
        return f"{self.set} {self.model} {self.data} {self.minutes} min, seed {self.seed}"

    @property
    def dataset(self) -> tuple[int, int]:
        """Sounds and seed of its set. A stream begins after the sounds of the smallest."""
        return (SIZES[self.data], OTHER_SEED) if self.data in ("131k", "524k") else COMMON

    @property
    def tests_itself(self) -> bool:
        """Whether the test sounds of its set are those that all cells are compared on."""
        return self.dataset == COMMON

    @property
    def n_train_and_val(self) -> int:
        """Sounds of its set that are not for the test."""
        return round(TRAIN_SHARE * self.dataset[0])

    @property
    def n_train(self) -> int:
        """Sounds of its set to train on."""
        return self.n_train_and_val - round(VAL_SHARE * self.n_train_and_val)


def cells() -> Iterator[Cell]:
    """Every cell, in the order in which they decide: goals, other data, more seeds, the third set."""
    for minutes in BUDGETS:
        yield from (Cell(name, model, BEST, minutes) for name, model in NETWORKS.items())
    for minutes in BUDGETS:
        for data in OTHERS:
            yield from (Cell(name, model, data, minutes) for name, model in NETWORKS.items())
    yield from (Cell("resonance", "cnn_64k", BEST, minutes) for minutes in BUDGETS)
    for minutes in BUDGETS:
        for seed in SEEDS[1:]:
            yield from (Cell(name, model, BEST, minutes, seed) for name, model in NETWORKS.items())


def synthesis_key(cell: Cell) -> str:
    """Name of the synthesis of a cell's set among the results."""
    return f"{cell.set} {cell.dataset[0]}, synthesis"


@dataclass(frozen=True)
class Trial:
    """Settings that are tried on sounds and with weights of another seed, and judged by validation sounds.

    Attributes:
        set: `basic` or `envelope`.
        epochs: Over 95 % of the sounds of a set that are not for its test; the others validate.
        measured: Whether the features measured from the image are conditioning inputs as well.
        batch_size: Sounds a step.
        lr: The highest learning rate.
        sigma: Of the label, grid steps.
        decay: Of a moving average of the weights, of which the validation is made; 0: no average.
        data: A key of `SIZES`.
        reference: Another network than that of the cells, a key of `CONV6`; empty: that.
    """

    set: str
    epochs: int
    measured: bool = True
    batch_size: int = 128
    lr: float = 0.01
    sigma: float = 0.5
    decay: float = 0.0
    data: str = BEST
    reference: str = ""

    @property
    def network(self) -> str:
        """What is trained, in words."""
        return self.reference or NETWORKS[self.set]

    @property
    def key(self) -> str:
        """Name among the results."""
        features = "measured" if self.measured else "range"
        average = f", average {self.decay:g}" if self.decay else ""
        sounds = f", {self.data}" if self.data != BEST else ""
        return (
            f"{self.set} {self.network}{sounds} {features}, batch {self.batch_size}, rate {self.lr:g}, "
            f"sigma {self.sigma:g}{average}, {self.epochs} epochs"
        )

    def overrides(self, make_set: Callable[[str, int, int], tuple[str, ...]]) -> tuple[str, ...]:
        """Those of `train.py`; `make_set` names the set of a size and seed."""
        aux = ("spec_min", "spec_max", *(("decay_time", "spectral_centroid", "level") if self.measured else ()))
        ema = "lightning.pytorch.callbacks.EMAWeightAveraging"
        average = (f"+callbacks.average._target_={ema}", f"+callbacks.average.decay={self.decay}") if self.decay else ()
        network = CONV6[self.reference] if self.reference else (f"model={NETWORKS[self.set]}",)
        return (
            *(f"experiment=moog_cnn_{self.set}", *network, f"seed={TUNING_SEED}"),
            *make_set(self.set, SIZES[self.data], TUNING_SEED),
            *(f"data.aux=[{','.join(aux)}]", f"data.batch_size={self.batch_size}", "data.val_fraction=0.05"),
            *(f"model.optimizer.lr={self.lr}", f"loss.sigma={self.sigma}", *average),
        )


def trials() -> Iterator[Trial]:
    """Every trial: what was before, then one setting after the other; then the rates of the references."""
    yield Trial("basic", 13, measured=False, lr=0.02)
    yield Trial("basic", 13, lr=0.02)
    yield Trial("basic", 13, lr=0.02, batch_size=256)
    yield Trial("basic", 13, lr=0.02, sigma=0.35)
    yield Trial("basic", 13, lr=0.02, sigma=0.75)
    yield Trial("basic", 13, lr=0.02, decay=0.999)
    yield Trial("envelope", 4)
    yield Trial("envelope", 4, lr=0.02)
    yield Trial("envelope", 4, batch_size=64)
    yield Trial("envelope", 4, sigma=0.75)
    for name, epochs in (("basic", 20), ("envelope", 12)):  # about 3 minutes of one core
        for reference in CONV6:
            yield from (Trial(name, epochs, lr=lr, data="16k", reference=reference) for lr in CONV6_RATES)


def best_rate(name: str, reference: str, tuning: Runs) -> float:
    """The learning rate with which a reference read the validation sounds of a set best.

    Raises:
        NSMError: If a rate was not tried yet.
    """
    tried = [trial for trial in trials() if (trial.set, trial.reference) == (name, reference)]
    missing = [trial.key for trial in tried if trial.key not in tuning]
    if missing:
        raise NSMError(f"{missing[0]} was not tried yet. Run python scripts/budgets.py --tune --only {reference!r}.")
    return min(tried, key=lambda trial: tuning[trial.key]["nmae"]).lr


def keep(new: Mapping[str, Any]) -> None:
    """Add to the results, and write them, the tables and the pictures, each in one step."""
    with added(new, RUNS) as runs:
        write_page(runs, read_json(TUNING))


def keep_trial(new: Mapping[str, Any]) -> None:
    """The same for trials."""
    with added(new, TUNING) as tuning:
        write_page(read_json(RUNS), tuning)


def write_page(runs: Runs, tuning: Runs) -> None:
    """Write the tables between the marks of the page, and the pictures of what is there."""
    write_between(MARKS, tables(runs, tuning), PAGE)
    if any("nmae" in run for run in runs.values()):
        write_atomically(RUNS.with_name("budgets_error.svg"), draw_errors(runs))
    if RATES in runs:
        write_atomically(RUNS.with_name("budgets_time.svg"), draw_times(runs[RATES]))


def tables(runs: Runs, tuning: Runs) -> str:
    """A table for each set, and that of the trials."""
    lines = []
    for name, model in {**NETWORKS, "resonance": "cnn_64k"}.items():
        of_set = {cell: None for cell in cells() if cell.set == name}
        groups = {(cell.minutes, cell.data): [] for cell in of_set}
        for cell in of_set:
            groups[cell.minutes, cell.data].append(cell)
        order = sorted(groups, key=lambda group: (group[0], list(NAMES).index(group[1])))
        rows = [row(groups[group], runs) for group in order]
        lines += ["", f"### {name}, `{model}`", "", *table(TABLE, rows)]
    return "\n".join([*lines, *trial_table(tuning), ""])


def row(alike: Sequence[Cell], runs: Runs) -> tuple[str, ...]:
    """A row of the table: cells that differ in their seed."""
    first = alike[0]
    about = runs.get(synthesis_key(first), {})
    found = [runs[cell.key] for cell in alike if cell.key in runs]
    synthesis = f"{about['core_seconds']:.0f}" if about else ""
    start = str(first.minutes), NAMES[first.data]
    if not found:
        return (*start, "", "", synthesis, "", "not measured yet", "", "")
    if "acc" not in found[0]:
        return (*start, "", "", synthesis, "no time left", "", "", "")
    seconds = spread([run["run_seconds"] for run in found], 0)
    counts = (f"{statistics.fmean(run[key] for run in found):,.0f}" for key in ("different_sounds", "seen_sounds"))
    scores = (spread([run[key] for run in found], digits) for key, digits in (("acc", 3), ("nmae", 4)))
    return (*start, *counts, synthesis, seconds, *scores, verdict(first, found))


def verdict(cell: Cell, found: Sequence[Mapping[str, Any]]) -> str:
    """What was to be reached on the set, and whether the mean over the seeds did; the time where it was exceeded."""
    goal = GOALS.get((cell.set, cell.minutes))
    if goal is None:
        return ""
    acc, nmae = (statistics.fmean(run[key] for run in found) for key in ("acc", "nmae"))
    reached = "reached" if acc >= goal[0] and nmae <= goal[1] else "missed"
    seconds = max(run["synthesis_seconds"] + run["run_seconds"] for run in found)
    late = f" in {seconds:.0f} s" if seconds > 60 * cell.minutes else ""
    return f"{goal[0]}, {goal[1]}: {reached}{late}, {len(found)} seed{'s' * (len(found) > 1)}"


def quoted_name(trial: Trial) -> str:
    """What a trial trains, for the table."""
    network, space, rest = trial.network.partition(" ")
    return f"`{network}`{space}{rest}" + (f", {SIZES[trial.data]:,} sounds" if trial.data != BEST else "")


def trial_table(tuning: Runs) -> list[str]:
    """What was tried, and how well the validation sounds were read."""
    rows = []
    for trial in trials():
        if found := tuning.get(trial.key):
            settings = ("measured" if trial.measured else "range", trial.batch_size, trial.lr, trial.sigma)
            average = f"{trial.decay:g}" if trial.decay else "none"
            scores = f"{found['run_seconds']:.0f}", f"{found['acc']:.4f}", f"{found['nmae']:.4f}"
            rows.append(
                (f"{trial.set}, {quoted_name(trial)}", *map(str, settings), average, str(trial.epochs), *scores)
            )
    columns = (
        *("set, network", "inputs", "batch", "rate", "sigma", "average", "epochs", "core seconds"),
        *("accuracy", "error / range"),
    )
    return ["", "### What was tried", "", *table(columns, rows)] if rows else []


@matplotlib.rc_context(STYLE)
def draw_errors(runs: Runs) -> bytes:
    """Error over the budget, a curve for each source of sounds, a panel for each set; SVG."""
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    panels = figure.subplots(1, len(NETWORKS), squeeze=False)[0]
    for panel, (name, model) in zip(panels, NETWORKS.items(), strict=True):
        for data, color in COLORS.items():
            points = list(errors_of(name, data, runs))
            if points:
                panel.plot(*zip(*points, strict=True), "o-", color=color, lw=1.3, label=NAMES[data])
        for (goal_set, minutes), (_, nmae) in GOALS.items():
            if goal_set == name:
                panel.plot(minutes, nmae, "k_", markersize=14, label="goal" if minutes == BUDGETS[0] else None)
        panel.set(xscale="log", yscale="log", title=f"{name}, {model}", xlabel="minutes of one core")
        panel.set(ylabel="error / range")
        panel.margins(0.12, 0.15)
        plain_ticks(panel)
        panel.set_xticks(BUDGETS, [str(minutes) for minutes in BUDGETS])
        panel.grid(alpha=0.25, lw=0.6)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return as_svg(figure)


def plain_ticks(panel: Axes) -> None:
    """Numbers as 0.02 rather than powers, at 1, 2, 3 and 5."""
    panel.minorticks_off()
    panel.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    panel.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))


def errors_of(name: str, data: str, runs: Runs) -> Iterator[tuple[int, float]]:
    """Budget, and mean error over the seeds, of a set and a source of sounds."""
    for minutes in BUDGETS:
        keys = [cell.key for cell in cells() if (cell.set, cell.data, cell.minutes) == (name, data, minutes)]
        found = [runs[key]["nmae"] for key in keys if "nmae" in runs.get(key, {})]
        if found:
            yield minutes, statistics.fmean(found)


@matplotlib.rc_context(STYLE)
def draw_times(rates: Runs) -> bytes:
    """Time to train on a sound beside the time to make it, a bar each, for every set and network; SVG."""
    figure = Figure(figsize=(9.0, 0.9 + 0.34 * len(rates)), layout="constrained")
    panel = figure.subplots()
    rows = range(len(rates))
    make, step = ([rate[key] for rate in rates.values()] for key in ("make_us", "step_us"))
    panel.barh([n - 0.19 for n in rows], make, 0.36, color=COLORS[STREAM], label="to make a sound")
    panel.barh([n + 0.19 for n in rows], step, 0.36, color=COLORS["131k"], label="to train on it once")
    panel.set_yticks(list(rows), [key.replace(" ", ", ") for key in rates])
    panel.invert_yaxis()
    panel.set(xlabel="microseconds of one core")
    panel.grid(axis="x", alpha=0.25, lw=0.6)
    figure.legend(loc="outside right center", frameon=False)
    return as_svg(figure)


def as_svg(figure: Figure) -> bytes:
    """The picture as a file, the same bytes for the same numbers."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})  # without the time at which it was drawn
    return file.getvalue()
