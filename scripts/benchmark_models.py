"""Trains every network on every set within a budget of wall time, and references beside them: `make bm`.

python scripts/benchmark_models.py [--budget 60] [--only REGEX] [--list] [--table] [--speed]

A run that is in docs/results/runs.json already is not repeated, so that the table can be made in parts; delete its
entry to measure it again. `docs/results.md` is written after every run. Two of these programs can run side by side,
each with its own `--only`: most networks take one core.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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

from scripts.results_page import EXPERIMENTS, PAGE, REFERENCES, Entry, entries, keep, read_runs  # noqa: E402
from src.models.costs import multiply_adds, useful_threads  # noqa: E402
from src.params import ParamSpec  # noqa: E402
from src.programs.run_dirs import register_resolvers  # noqa: E402
from src.checkpoints.run import build_model  # noqa: E402

SHARE_TO_TRAIN = 0.75  # of what a budget leaves after starting and testing: the machine is not always equally fast
TORCH_THREADS = torch.get_num_threads()


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
    if entry.budget is not None:
        budget -= synthesis(entry.set)
    start_up = 12.0  # imports, dataset, first step, test: measured on two cores
    epochs = max(1, int(SHARE_TO_TRAIN * (budget - start_up) / epoch))
    run_dir, seconds = run_training(entry, seed, epochs)
    while seconds > budget and epochs > 1:  # whatever it reached: the machine was slower than it had been before
        epochs = max(1, int(0.9 * epochs * budget / seconds))
        run_dir, seconds = run_training(entry, seed, epochs)
    results = json.loads((run_dir / "results.json").read_text(encoding="utf-8"))
    return {
        "seconds": round(seconds, 1),
        "training_seconds": results["training_seconds"],
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


def synthesis(name: str) -> float:
    """Seconds that making a set takes, from the command on; measured once, and kept among the runs."""
    key = f"{name}, synthesis"
    if key not in read_runs():
        section = config_of(Entry(name, "cnn_tiny")).data.make_dataset
        with tempfile.TemporaryDirectory() as directory:
            command = [sys.executable, str(ROOT / "generate_vimh.py"), f"--config-name={section.config_name}"]
            start = time.monotonic()
            subprocess.run(
                [*command, *section.overrides, f"output_dir='{directory}'"], check=True, stdout=subprocess.DEVNULL
            )
            keep({key: {"seconds": round(time.monotonic() - start, 1)}})
    return read_runs()[key]["seconds"]


def costs(module: Any, datamodule: Any) -> dict[str, float]:
    """Multiply-adds of one image, and images per second of one core in batches of 256."""
    torch.set_num_threads(1)
    net = module.net.eval()
    batch = datamodule.test_set.__getitems__(np.arange(256) % len(datamodule.test_set))
    count = multiply_adds(net, (batch["image"][:1], batch["aux"][:1]))[""]
    times = []
    with torch.inference_mode():
        while len(times) < 5 or (sum(times) < 0.5 and len(times) < 50):
            start = time.thread_time()  # not what others do on the core
            net(batch["image"], batch["aux"])
            times.append(time.thread_time() - start)
    torch.set_num_threads(TORCH_THREADS)
    return {"multiply_adds": count, "images_per_second": round(256 / statistics.median(times[1:]))}


def measure_speed() -> None:
    """Measure `costs` of every network that was trained once more, one after the other, in one go."""
    for entry in entries():
        keys = [key for seed in entry.seeds if (key := f"{entry.name}, seed {seed}") in read_runs()]
        if keys and entry.model not in REFERENCES:
            cfg = config_of(entry)
            datamodule = datamodule_of(cfg)
            found = costs(build_model(cfg, datamodule.info, datamodule.aux_statistics()), datamodule)
            keep({key: read_runs()[key] | found for key in keys})


def fit_reference(entry: Entry, seed: int, budget: float) -> dict[str, Any]:
    """A method of scikit-learn on the same pixels and conditioning inputs, as a regression per head.

    Or what needs no pixels: the most frequent class for the accuracies, the mean parameter for the errors.
    """
    datamodule = datamodule_of(config_of(Entry(entry.set, "cnn_tiny")))
    if entry.model == "majority_and_mean":
        return guess(datamodule)
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


def guess(datamodule: Any) -> dict[str, Any]:
    """What the most frequent class and the mean parameter of the training sounds reach on the test sounds."""
    share, error = datamodule.majority_share(), datamodule.mean_error()
    specs = datamodule.info.parameters
    heads = {spec.name: {"acc": share[spec.name], "steps": error[spec.name] / spec.step} for spec in specs}
    return {
        "training_sounds": len(datamodule.train_set),
        "acc": statistics.fmean(share.values()),
        "nmae": statistics.fmean(error[spec.name] / spec.range for spec in specs),
        "steps": statistics.fmean(head["steps"] for head in heads.values()),
        "heads": heads,
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


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a run, for rows without a goal")
    parser.add_argument("--only", default="", help="regular expression; only rows whose name it matches")
    parser.add_argument("--seeds", type=int, default=None, help="at most so many seeds a row")
    parser.add_argument("--list", action="store_true", help="list what would run")
    parser.add_argument("--table", action="store_true", help="write the page from the runs that are there")
    parser.add_argument("--speed", action="store_true", help="measure images/s of all rows that are there once more")
    arguments = parser.parse_args()
    console = Console()
    if arguments.speed:
        measure_speed()
    runs = read_runs()
    wanted = [
        (entry, seed, f"{entry.name}, seed {seed}")
        for entry in entries()
        if re.search(arguments.only, entry.name)
        for seed in entry.seeds[: arguments.seeds]
    ]
    left = [] if arguments.table or arguments.speed else [job for job in wanted if job[2] not in runs]
    for number, (entry, seed, key) in enumerate(left, 1):
        budget = entry.budget or arguments.budget
        console.print(f"{number} of {len(left)}: {key}, {budget:.0f} s")
        if not arguments.list:
            measure: Callable[..., dict[str, Any]] = fit_reference if entry.model in REFERENCES else train
            torch.set_num_threads(TORCH_THREADS)
            run = measure(entry, seed, budget)
            keep({key: run})
            console.print(f"    accuracy {run['acc']:.3f}, error {run['nmae']:.4f} of the range")
    if not arguments.list:
        keep({})
        console.print(f"Results: {PAGE}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
