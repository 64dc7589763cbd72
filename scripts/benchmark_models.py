"""Trains every network on every set within a budget of wall time, and references beside them: `make bm`.

python scripts/benchmark_models.py [--budget 60] [--only REGEX] [--list] [--table]

A run that is in docs/results/runs.json already is not repeated, so that the table can be made in parts; delete its
entry to measure it again. `docs/results.md` is written after every run.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it says how threads wait, as in the trainings, before PyTorch is there)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from rich.console import Console  # noqa: E402

from src.models.costs import multiply_adds, useful_threads  # noqa: E402
from src.params import ParamSpec  # noqa: E402
from src.utils.resolvers import register_resolvers  # noqa: E402
from src.utils.run import build_model  # noqa: E402

RUNS = ROOT / "docs" / "results" / "runs.json"
PAGE = ROOT / "docs" / "results.md"
README = ROOT / "README.md"
MARKS = "<!-- results: made by scripts/benchmark_models.py -->\n", "<!-- end of results -->\n"
GOAL_SEEDS, GOAL_BUDGET = (42, 43, 44), 180.0  # seconds
SHARE_TO_TRAIN = 0.75  # of what a budget leaves after starting and testing: the machine is not always equally fast
EXPERIMENTS = {
    "saw small": "trivial_small",
    "saw large": "trivial_large",
    "basic": "moog_cnn_basic",
    "envelope": "moog_cnn_envelope",
    "resonance": "moog_cnn_resonance",
}
MOOG = ("basic", "envelope", "resonance")
# Mean accuracy and mean normalized error to reach on the sets basic, envelope, resonance.
GOALS = {
    "cnn_micro": {"basic": (0.85, None)},
    "cnn_tiny": {"basic": (0.92, 0.012), "envelope": (0.66, 0.055), "resonance": (0.75, 0.035)},
    "cnn_64k": {"basic": (0.95, 0.008), "envelope": (0.78, 0.035), "resonance": (0.85, 0.020)},
}
REFERENCES = ("hist_gradient_boosting", "5_nearest_neighbours")
TORCH_THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class Entry:
    """What one row of the table measures.

    Attributes:
        set: A key of `EXPERIMENTS`.
        model: A configuration of the group `model`, or one of `REFERENCES`.
        variant: What is unusual about it, for people.
        overrides: Hydra overrides that make it so.
        seeds: One run each.
        budget: Seconds from the command to the result; None: that of the command line.
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
        yield from (Entry(name, model) for model in REFERENCES)
        yield Entry(name, "cnn_tiny", "fresh sounds, 3 min", ("data.stream=true",), budget=GOAL_BUDGET)
    others = ("mlp_linear", "mlp", "cnn_tiny", "convnext_nano", "vit_micro", "vit_tiny", "vit_400k", "cnn_1m")
    for name in MOOG:
        yield from (Entry(name, model) for model in others)
        yield Entry(name, "cnn_tiny", "regression", ("loss=regression",))
    for name in ("saw small", "saw large"):
        for model in ("cnn_micro", "cnn_tiny", "vit_micro", "vit_tiny"):
            yield Entry(name, model)
        yield Entry(name, "cnn_tiny", "regression", ("loss=regression",))
        yield Entry(name, "vit_micro", "regression", ("loss=regression",))
    yield Entry("saw small", "cnn_64k")
    for name, model in (("saw large", "cnn_tiny"), ("basic", "cnn_tiny"), ("basic", "vit_tiny")):
        for conditioning in ("none", "concat", "film"):
            yield Entry(name, model, f"conditioning {conditioning}", (f"model.net.conditioning={conditioning}",))
    measured = "data.aux=[spec_min,spec_max,decay_time,spectral_centroid,level]"
    yield Entry("basic", "cnn_tiny", "measured features", (measured,))
    for loss in ("cross_entropy", "soft_target", "weighted_cross_entropy", "ordinal", "regression", "gaussian"):
        yield Entry("basic", "cnn_tiny", f"loss {loss}", (f"loss={loss}",))


def config_of(entry: Entry, *overrides: str) -> Any:
    """Configuration of the training that an entry means."""
    register_resolvers()
    choice = [f"experiment={EXPERIMENTS[entry.set]}", f"model={entry.model}", *entry.overrides, *overrides]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose("train", [*choice, f"paths.output_dir={ROOT}"])


def datamodule_of(cfg: Any) -> Any:
    """The datamodule, its dataset made if it was missing."""
    datamodule = instantiate(cfg.data)
    datamodule.prepare_data()
    return datamodule


def whole(dataset: Any) -> dict[str, np.ndarray]:
    """Every sample of a part of a dataset."""
    return {key: tensor.numpy() for key, tensor in dataset.__getitems__(np.arange(len(dataset))).items()}


def seconds_per_epoch(module: Any, datamodule: Any) -> float:
    """Estimated from some steps of training, with validation at the pace of the forward pass."""
    optimizer = module.make_optimizer(params=module.parameters())
    batch_size = datamodule.batch_size
    n_samples = len(datamodule.train_set)
    batches = [
        datamodule.train_set.__getitems__(np.arange(first, first + batch_size) % n_samples)
        for first in range(0, 12 * batch_size, batch_size)
    ]
    times = []
    for batch in batches:
        start = time.perf_counter()
        optimizer.zero_grad()
        module.compute_loss(module(batch["image"], batch["aux"]), batch).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    n_val = len(datamodule.val_set)
    training = statistics.median(times[2:]) * (n_samples + n_val / 3) / batch_size
    return training + seconds_to_render(datamodule, n_samples) / 2 if datamodule.stream else training  # of two cores


def seconds_to_render(datamodule: Any, n_samples: int) -> float:
    """Time in which one core makes that many fresh sounds."""
    make = datamodule.stream_source(datamodule.info)
    torch.set_num_threads(1)
    make(0, 64)
    start = time.perf_counter()
    make(64, 576)
    seconds = time.perf_counter() - start
    torch.set_num_threads(TORCH_THREADS)
    return seconds / 512 * n_samples


def train(entry: Entry, seed: int, budget: float) -> dict[str, Any]:
    """Train and test by `src/train.py` in a process of its own, for as many epochs as the budget lasts.

    Returns:
        What is kept of the run.
    """
    cfg = config_of(entry)
    datamodule = datamodule_of(cfg)
    module = build_model(cfg, datamodule.info, datamodule.aux_statistics())
    image, aux = torch.zeros(1, *datamodule.info.image_shape, dtype=torch.uint8), torch.zeros(1, len(cfg.data.aux))
    n_threads = useful_threads(module.net, (image, aux), cfg.data.batch_size, TORCH_THREADS)  # as train.py does
    torch.set_num_threads(n_threads)
    epoch = seconds_per_epoch(module, datamodule)
    torch.set_num_threads(TORCH_THREADS)
    start_up = 12.0  # imports, dataset, first step, test: measured on two cores
    epochs = max(1, int(SHARE_TO_TRAIN * (budget - start_up) / epoch))
    run_dir, seconds = run_training(entry, seed, epochs)
    while seconds > budget and epochs > 1:  # whatever it reached: the machine was slower than it had been before
        epochs = max(1, int(0.9 * epochs * budget / seconds))
        run_dir, seconds = run_training(entry, seed, epochs)
    results = json.loads((run_dir / "results.json").read_text(encoding="utf-8"))
    return {
        "seconds": round(seconds, 1),
        "threads": n_threads,
        "epochs": results["epochs"],
        "training_sounds": results["training_samples"],
        "parameters": results["parameters"],
        **costs(module, datamodule),
        "acc": results["metrics"]["test/acc"],
        "nmae": results["metrics"]["test/nmae"],
        "steps": results["metrics"]["test/steps"],
        "coverage": results["metrics"]["test/coverage"],
        "heads": {name: {key: head[key] for key in ("acc", "steps")} for name, head in results["heads"].items()},
    }


def run_training(entry: Entry, seed: int, epochs: int) -> tuple[Path, float]:
    """Train and test for some epochs; returns the run's directory, and the seconds from the command to the result."""
    run_dir = ROOT / "logs" / "benchmark_models" / re.sub(r"[^\w]+", "_", f"{entry.name}_{seed}_{time.time():.0f}")
    command = [
        *(sys.executable, str(ROOT / "src" / "train.py")),
        *(f"experiment={EXPERIMENTS[entry.set]}", f"model={entry.model}", *entry.overrides),
        *("trainer=cpu", f"seed={seed}", f"trainer.max_epochs={epochs}", f"hydra.run.dir={run_dir}"),
        *("callbacks.rich_progress_bar=null", "callbacks.model_summary=null", "callbacks.head_figures=null"),
        "++callbacks.audio_examples=null",
        *("extras.print_config=false", "+trainer.enable_progress_bar=false", "+trainer.enable_model_summary=false"),
    ]
    start = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return run_dir, time.monotonic() - start


def costs(module: Any, datamodule: Any) -> dict[str, float]:
    """Multiply-adds of one image, and images per second on one core in batches of 256."""
    torch.set_num_threads(1)
    net = module.net.eval()
    batch = datamodule.test_set.__getitems__(np.arange(256) % len(datamodule.test_set))
    count = multiply_adds(net, (batch["image"][:1], batch["aux"][:1]))[""]
    times = []
    with torch.inference_mode():
        for _ in range(12):
            start = time.perf_counter()
            net(batch["image"], batch["aux"])
            times.append(time.perf_counter() - start)
    torch.set_num_threads(TORCH_THREADS)
    return {"multiply_adds": count, "images_per_second": round(256 / statistics.median(times[2:]))}


def fit_reference(entry: Entry, seed: int, budget: float) -> dict[str, Any]:
    """A method of scikit-learn on the same pixels and conditioning inputs, as a regression per head."""
    datamodule = datamodule_of(config_of(Entry(entry.set, "cnn_tiny")))
    train_set, test_set = whole(datamodule.train_set), whole(datamodule.test_set)
    mean, std = train_set["aux"].mean(axis=0), train_set["aux"].std(axis=0)
    features = [
        np.hstack([part["image"].reshape(len(part["image"]), -1) / np.float32(255), (part["aux"] - mean) / std])
        for part in (train_set, test_set)
    ]
    start = time.process_time()
    predict = {"hist_gradient_boosting": _boost, "5_nearest_neighbours": _neighbours}[entry.model]
    normalized = predict(features[0], train_set["normalized"], features[1], seed).clip(0, 1)
    seconds = time.process_time() - start
    return {
        "seconds": round(seconds, 1),
        "training_sounds": len(train_set["image"]),
        **errors(normalized, test_set, datamodule.info.parameters),
    }


def _boost(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, seed: int) -> np.ndarray:
    """Histogram gradient boosting, 200 iterations, a regressor per head, `(sample, head)`."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    fits = [
        HistGradientBoostingRegressor(max_iter=200, early_stopping=False, random_state=seed).fit(x, target)
        for target in y.T
    ]
    return np.stack([fit.predict(x_test) for fit in fits], axis=1)


def _neighbours(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, seed: int) -> np.ndarray:
    """Mean of the five nearest neighbours, `(sample, head)`."""
    from sklearn.neighbors import KNeighborsRegressor

    return KNeighborsRegressor(n_neighbors=5, algorithm="brute").fit(x, y).predict(x_test)


def errors(normalized: np.ndarray, test_set: Mapping[str, np.ndarray], parameters: Sequence[ParamSpec]) -> dict:
    """Accuracy and errors of predicted positions in the range, `(sample, head)`, as `HeadMetrics` has them."""
    error = np.abs(normalized - test_set["normalized"]).mean(axis=0)
    heads = {}
    for head, spec in enumerate(parameters):
        hit = spec.index_from_normalized(normalized[:, head]) == test_set["index"][:, head]
        heads[spec.name] = {"acc": float(hit.mean()), "steps": float(error[head] * spec.range / spec.step)}
    return {
        "acc": statistics.fmean(head["acc"] for head in heads.values()),
        "nmae": float(error.mean()),
        "steps": statistics.fmean(head["steps"] for head in heads.values()),
        "heads": heads,
    }


def read_runs() -> dict[str, dict[str, Any]]:
    """Every run so far, by the name of its entry and its seed."""
    return json.loads(RUNS.read_text(encoding="utf-8")) if RUNS.exists() else {}


def keep(runs: Mapping[str, Any]) -> None:
    """Write the runs, the page and the README's table, each in one step."""
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    readme = with_summary(README.read_text(encoding="utf-8"), runs)
    for path, text in ((RUNS, json.dumps(runs, indent=1) + "\n"), (PAGE, page(runs)), (README, readme)):
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def spread(figures: Sequence[float], digits: int) -> str:
    """Mean, and with several figures their lowest and highest."""
    mean = f"{statistics.fmean(figures):.{digits}f}"
    return mean if len(figures) == 1 else f"{mean} ({min(figures):.{digits}f}–{max(figures):.{digits}f})"


def runs_of(entry: Entry, runs: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of an entry that are there."""
    return [runs[key] for seed in entry.seeds if (key := f"{entry.name}, seed {seed}") in runs]


def row(entry: Entry, found: Sequence[Mapping[str, Any]]) -> str:
    """A line of the table."""
    first = found[0]
    cells = [
        f"{entry.model} {entry.variant}".strip(),
        f"{first['parameters']:,}" if "parameters" in first else "",
        f"{first['multiply_adds'] / 1e6:.2f}" if "multiply_adds" in first else "",
        f"{first['images_per_second']:,}" if "images_per_second" in first else "",
        spread([run["seconds"] for run in found], 0),
        f"{first['epochs']}" if "epochs" in first else "",
        spread([run["acc"] for run in found], 3),
        spread([run["nmae"] for run in found], 4),
        spread([run["steps"] for run in found], 2),
        f"{first['coverage']:.2f}" if "coverage" in first else "",
        goal(entry, found),
    ]
    return "| " + " | ".join(cells) + " |"


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


def page(runs: Mapping[str, dict[str, Any]]) -> str:
    """The documentation's page of results."""
    lines = [
        "# Results",
        "",
        "Made by `make bm` (`scripts/benchmark_models.py`) on 2 cores, a row per network and set. `make bm` goes on "
        "where the table ends. All but the largest networks take one of the cores (`threads` in the configuration), "
        "and images/s are of one core.",
        "",
        "- Seconds run from the command to the result: imports, training, test. The dataset is there already. Those "
        "of scikit-learn's methods are processor seconds, of fitting and predicting alone.",
        "- Accuracy is the share of test sounds whose class on the JND grid was found; error is the mean absolute "
        "error as a share of the range, and in JND steps; all are means over the heads. Several seeds: mean "
        "(lowest–highest).",
        "- 90 % is the share of test sounds whose exact value lies within the interval that the network gives.",
        "- Test sounds took part in no choice. Settings were chosen on other sounds, made with another seed.",
        "",
    ]
    for name in EXPERIMENTS:
        rows = [row(entry, found) for entry in entries() if entry.set == name and (found := runs_of(entry, runs))]
        if rows:
            lines += [f"## {name}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *rows, ""]
            lines += [*heads_table(name, runs), ""]
    return "\n".join(lines).rstrip() + "\n"


def with_summary(readme: str, runs: Mapping[str, dict[str, Any]]) -> str:
    """The README with the table of what was trained for three minutes on the Moog sets, and of the references."""
    before, _, rest = readme.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    lines = [
        "| set | network | parameters | seconds | accuracy | error / range | error, JND steps | runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries():
        if (entry.variant == "3 min" or entry.model in REFERENCES) and (found := runs_of(entry, runs)):
            parameters = f"{found[0]['parameters']:,}" if "parameters" in found[0] else ""
            digits = {"seconds": 0, "acc": 3, "nmae": 4, "steps": 3}
            figures = [spread([run[key] for run in found], n) for key, n in digits.items()]
            lines.append(f"| {entry.set} | {entry.model} | {parameters} | {' | '.join(figures)} | {len(found)} |")
    order = [*EXPERIMENTS]
    body = sorted(lines[2:], key=lambda line: order.index(line.split("|")[1].strip()))
    return f"{before}{MARKS[0]}" + "\n".join([*lines[:2], *body]) + f"\n{MARKS[1]}{after}"


COLUMNS = (
    "network",
    "parameters",
    "million multiply-adds",
    "images/s",
    "seconds",
    "epochs",
    "accuracy",
    "error / range",
    "error, JND steps",
    "90 %",
    "goal",
)


def heads_table(name: str, runs: Mapping[str, dict[str, Any]]) -> list[str]:
    """Accuracy and error of every head for the networks of a set that have goals, and for the references."""
    shown = [
        (entry, found[0])
        for entry in entries()
        if entry.set == name
        and (entry.variant == "3 min" or entry.model in REFERENCES)
        and (found := runs_of(entry, runs))
    ]
    if not shown:
        return []
    lines = [
        f"| head: accuracy, error in JND steps | {' | '.join(entry.model for entry, _ in shown)} |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for head in shown[0][1]["heads"]:
        cells = [f"{run['heads'][head]['acc']:.2f}, {run['heads'][head]['steps']:.2f}" for _, run in shown]
        lines.append(f"| {head} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a run, for rows without a goal")
    parser.add_argument("--only", default="", help="regular expression; only rows whose name it matches")
    parser.add_argument("--seeds", type=int, default=None, help="at most so many seeds a row")
    parser.add_argument("--list", action="store_true", help="list what would run")
    parser.add_argument("--table", action="store_true", help="write the page from the runs that are there")
    arguments = parser.parse_args()
    console = Console()
    runs = read_runs()
    wanted = [
        (entry, seed, f"{entry.name}, seed {seed}")
        for entry in entries()
        if re.search(arguments.only, entry.name)
        for seed in entry.seeds[: arguments.seeds]
    ]
    left = [] if arguments.table else [job for job in wanted if job[2] not in runs]
    for number, (entry, seed, key) in enumerate(left, 1):
        budget = entry.budget or arguments.budget
        console.print(f"{number} of {len(left)}: {key}, {budget:.0f} s")
        if not arguments.list:
            measure: Callable[..., dict[str, Any]] = fit_reference if entry.model in REFERENCES else train
            torch.set_num_threads(TORCH_THREADS)
            run = measure(entry, seed, budget)
            runs = read_runs() | {key: run}
            keep(runs)
            console.print(f"    accuracy {runs[key]['acc']:.3f}, error {runs[key]['nmae']:.4f} of the range")
    if not arguments.list:
        keep(runs)
        console.print(f"Results: {PAGE}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
