"""What `scripts/benchmark_models.py` measures, and its results as JSON, as a page and as the README's table."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from scripts.pages import added, read_json, table, write_between  # noqa: E402

RUNS = ROOT / "docs" / "results" / "runs.json"
PAGE = ROOT / "docs" / "results.md"
README = ROOT / "README.md"
CLASSICAL = ROOT / "docs" / "results" / "references.json"  # of scripts/references.py
MARKS = "<!-- results: made by scripts/benchmark_models.py -->\n", "<!-- end of results -->\n"  # in both
GOAL_SEEDS, GOAL_BUDGET = (42, 43, 44), 180.0  # seconds
EXPERIMENTS = {
    "saw small": "trivial_small",
    "saw large": "trivial_large",
    "basic": "moog_cnn_basic",
    "envelope": "moog_cnn_envelope",
    "resonance": "moog_cnn_resonance",
}
MOOG = ("basic", "envelope", "resonance")
MOOG_SOUNDS = 16_384  # of their sets here, those of the test among them
# Mean accuracy and mean normalized error to reach on the sets basic, envelope, resonance.
GOALS = {
    "cnn_micro": {"basic": (0.85, None)},
    "cnn_tiny": {"basic": (0.92, 0.012), "envelope": (0.66, 0.055), "resonance": (0.75, 0.035)},
    "cnn_64k": {"basic": (0.95, 0.008), "envelope": (0.78, 0.035), "resonance": (0.85, 0.020)},
}
REFERENCES = ("hist_gradient_boosting", "5_nearest_neighbours", "majority_and_mean")
README_MODELS = {
    "cnn_tiny": "`cnn_tiny`",
    "cnn_64k": "`cnn_64k`",
    "hist_gradient_boosting": "gradient boosting",
}
OTHERS = ("mlp_linear", "mlp", "cnn_tiny", "convnext_nano", "vit_micro", "vit_tiny", "vit_400k", "cnn_1m")
MEASURED = "data.aux=[spec_min,spec_max,decay_time,spectral_centroid,level]"

COLUMNS = (
    *("network", "parameters", "million multiply-adds", "images/s", "seconds", "epochs"),
    *("accuracy", "error / range", "error, grid steps", "90 %", "goal"),
)

Runs = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Entry:
    """What one row of the table measures.

    Attributes:
        set: A key of `EXPERIMENTS`.
        model: A configuration of the group `model`, or one of `REFERENCES`.
        variant: What is unusual about it, for people.
        overrides: Hydra overrides that make it so.
        seeds: One run each.
        budget: Seconds from the command to the result, synthesis included; None: those of the command line, for which
            the set is there already.
    """

    set: str
    model: str
    variant: str = ""
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (42,)
    budget: float | None = None

    @property
    def name(self) -> str:
        """Unique among the entries."""
        return " ".join(filter(None, (self.set, self.model, self.variant)))


def entries() -> Iterator[Entry]:
    """Every row, those with goals first."""
    for model, goals in GOALS.items():
        for name in goals:
            yield Entry(name, model, "3 min", seeds=GOAL_SEEDS, budget=GOAL_BUDGET)
    for name in MOOG:
        yield Entry(name, "conv6", "3 min", seeds=GOAL_SEEDS, budget=GOAL_BUDGET)
        yield Entry(name, "cnn_tiny", "fresh sounds, 3 min", ("data.stream=true",), budget=GOAL_BUDGET)
    for name in EXPERIMENTS:
        yield from (Entry(name, model) for model in REFERENCES)
    for name in MOOG:
        yield from (Entry(name, model) for model in OTHERS)
        yield Entry(name, "cnn_tiny", "regression", ("loss=regression",))
        yield Entry(name, "cnn_tiny", "measured features", (MEASURED,))
    yield Entry("envelope", "cnn_64k", "regression", ("loss=regression",))
    for name in ("saw small", "saw large"):
        yield from (Entry(name, model) for model in ("cnn_micro", "cnn_64k", *OTHERS))
        yield Entry(name, "cnn_tiny", "regression", ("loss=regression",))
        yield Entry(name, "vit_micro", "regression", ("loss=regression",))
    yield Entry("saw small", "cnn_micro", "regression", ("loss=regression",))
    for name, model in (("saw large", "cnn_tiny"), ("basic", "cnn_tiny"), ("basic", "vit_tiny")):
        for conditioning in ("none", "concat", "film"):
            yield Entry(name, model, f"conditioning {conditioning}", (f"model.net.conditioning={conditioning}",))
    for loss in ("cross_entropy", "soft_target", "weighted_cross_entropy", "ordinal", "regression", "gaussian"):
        yield Entry("basic", "cnn_tiny", f"loss {loss}", (f"loss={loss}",))


def run_key(entry: Entry, seed: int) -> str:
    """Name of a run of an entry among the runs."""
    return f"{entry.name}, seed {seed}"


def keep(new: Mapping[str, Any]) -> None:
    """Add to the runs, and write them, the page and the README's table, each in one step."""
    with added(new, RUNS) as runs:
        write_between(MARKS, tables(runs), PAGE)
        write_between(MARKS, summary(runs), README)


def spread(figures: Sequence[float], digits: int) -> str:
    """Mean, and with several figures their lowest and highest."""
    mean = f"{statistics.fmean(figures):,.{digits}f}"
    return mean if len(figures) == 1 else f"{mean} ({min(figures):,.{digits}f}–{max(figures):,.{digits}f})"


def spread_of(found: Sequence[Mapping[str, Any]], key: str, digits: int) -> str:
    """Mean and range of what some runs have in common; nothing if they have not."""
    return spread([run[key] for run in found], digits) if key in found[0] else ""


def mean_of(found: Sequence[Mapping[str, Any]], key: str, digits: int, scale: float = 1.0) -> str:
    """Mean of what some runs have in common; nothing if they have not."""
    return f"{scale * statistics.fmean(run[key] for run in found):,.{digits}f}" if key in found[0] else ""


def measured(name: str, runs: Runs, only_main: bool = False) -> Iterator[tuple[Entry, list[dict[str, Any]]]]:
    """The entries of a set that were run, each with its runs.

    Where an entry has a budget of its own, the set's synthesis is in the seconds.

    Args:
        name: Of the set.
        runs: All of them.
        only_main: Whether only the networks that were trained for three minutes and the references are wanted.
    """
    synthesis = runs.get(f"{name}, synthesis", {"seconds": 0.0})["seconds"]
    for entry in entries():
        is_wanted = not only_main or entry.variant == "3 min" or entry.model in REFERENCES
        found = [runs[key] for seed in entry.seeds if (key := run_key(entry, seed)) in runs]
        if entry.budget is not None:
            found = [run | {"seconds": run["seconds"] + synthesis} for run in found]
        if entry.set == name and is_wanted and found:
            yield entry, found


def cells(entry: Entry, found: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A row of the table, `COLUMNS`."""
    return (
        f"{entry.model} {entry.variant}".strip(),
        mean_of(found, "parameters", 0),
        mean_of(found, "multiply_adds", 2, 1e-6),
        mean_of(found, "images_per_second", 0),
        spread_of(found, "seconds", 0),
        mean_of(found, "epochs", 0),
        spread_of(found, "acc", 3),
        spread_of(found, "nmae", 4),
        spread_of(found, "steps", 2),
        mean_of(found, "coverage", 2),
        goal(entry, found),
    )


def goal(entry: Entry, found: Sequence[Mapping[str, Any]]) -> str:
    """What was to be reached, and whether the mean over the seeds did."""
    if entry.variant != "3 min" or entry.set not in GOALS.get(entry.model, {}):
        return ""
    acc, nmae = GOALS[entry.model][entry.set]
    reached = statistics.fmean(run["acc"] for run in found) >= acc
    reached &= nmae is None or statistics.fmean(run["nmae"] for run in found) <= nmae
    in_time = max(run["seconds"] for run in found) <= GOAL_BUDGET
    wanted = f"{acc}" if nmae is None else f"{acc}, {nmae}"
    verdict = "missed" if not reached else "reached" if in_time else "reached late"
    return f"{wanted}: {verdict}, {len(found)} of {len(entry.seeds)} seeds"


def tables(runs: Runs) -> str:
    """The tables of the page, a section for each set, and one for fresh sounds."""
    lines = []
    for name in EXPERIMENTS:
        if rows := [cells(entry, found) for entry, found in measured(name, runs)]:
            lines += ["", f"## {name}", "", *table(COLUMNS, rows), *heads_table(name, runs)]
    return "\n".join([*lines, *stream_table(runs), ""])


def heads_table(name: str, runs: Runs) -> list[str]:
    """Accuracy and error of every head for the networks of a set that have goals, and for the references."""
    shown = {entry.model: [run["heads"] for run in found] for entry, found in measured(name, runs, only_main=True)}
    if not shown:
        return []
    rows = []
    for head in next(iter(shown.values()))[0]:
        per_model = [[heads[head] for heads in found] for found in shown.values()]
        rows.append([head, *(f"{mean_of(found, 'acc', 2)}, {mean_of(found, 'steps', 2)}" for found in per_model)])
    return ["", *table(["head: accuracy, error in grid steps", *shown], rows)]


def stream_table(runs: Runs) -> list[str]:
    """Fresh sounds beside the stored set."""
    rows = []
    for name in EXPERIMENTS:
        for entry, all_found in measured(name, runs):
            found = [run for run in all_found if "training_seconds" in run]
            if entry.model != "cnn_tiny" or not entry.budget or not found:
                continue
            is_fresh = "data.stream=true" in entry.overrides
            passes = [1 if is_fresh else run["epochs"] for run in found]  # the network sees fresh sounds once
            rates = [n * run["training_sounds"] / run["training_seconds"] for n, run in zip(passes, found, strict=True)]
            rows.append(
                (
                    *(name, "fresh" if is_fresh else "stored", mean_of(found, "training_sounds", 0)),
                    *(spread(rates, 0), mean_of(found, "training_seconds", 0)),
                    *(mean_of(found, "acc", 3), mean_of(found, "nmae", 4)),
                )
            )
    if not rows:
        return []
    columns = ("set", "sounds", "different ones", "training sounds/s", "training, s", "accuracy", "error / range")
    return [
        "",
        "## Fresh sounds beside stored ones",
        "",
        "`cnn_tiny` in the same three minutes: stored sounds are synthesized before the training, fresh ones on the "
        "second core while the first one trains.",
        "",
        *table(columns, rows),
    ]


def summary(runs: Runs) -> str:
    """The README's table: what was trained for three minutes on the Moog sets, and the best of the references.

    Of the methods of `scripts/references.py` kernel ridge alone: seconds of processor for tuning and fitting.
    """
    columns = ("set", "method", "weights, or numbers kept", "seconds", "accuracy", "error in grid steps")
    digits = {"seconds": 0, "acc": 3, "steps": 3}
    rows = []
    classical = read_json(CLASSICAL)
    for name in MOOG:
        kernel_ridge = classical.get(f"{name}, kernel ridge, 3 min")
        for entry, found in measured(name, runs, only_main=True):
            is_replaced = kernel_ridge is not None and entry.model in REFERENCES
            if entry.model in README_MODELS and not is_replaced:
                figures = [spread_of(found, key, n) for key, n in digits.items()]
                rows.append((name, README_MODELS[entry.model], mean_of(found, "parameters", 0), *figures))
        if kernel_ridge is not None:
            figures = [f"{kernel_ridge[key]:.{n}f}" for key, n in digits.items()]
            rows.append((name, "kernel ridge", f"{kernel_ridge['kept']:,}", *figures))
    return "\n".join([*table(columns, rows), ""])
