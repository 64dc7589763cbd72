"""Trains every network on every set within a budget of wall time, and references beside them: `make bm`.

python scripts/benchmark_models.py [--budget 60] [--only REGEX] [--list] [--table]

A run that is in docs/results/runs.json already is not repeated, so that the table can be made in parts; delete its
entry to measure it again. `docs/results.md` is written after every run. Two of these programs can run side by side,
each with its own `--only`: most networks take one core.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from src.hydra_versions import instantiate  # noqa: E402
from lightning.pytorch import LightningModule  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: E402
from sklearn.neighbors import KNeighborsRegressor  # noqa: E402

from scripts.pages import read_json  # noqa: E402
from scripts.results_page import (  # noqa: E402
    EXPERIMENTS,
    MOOG,
    MOOG_SOUNDS,
    PAGE,
    REFERENCES,
    RUNS,
    Entry,
    entries,
    keep,
    run_key,
)
from scripts.setups import QUIET, compose_config, moog_set, results_of, run_program, seconds_of, set_up, sound_seconds  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.models.costs import multiply_adds, useful_threads  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.params import ParamSpec  # noqa: E402
from src.programs.output import console  # noqa: E402
from src.text import prepare_streams  # noqa: E402
from src.models.costs import cpu_threads  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402

SHARE_TO_TRAIN = 0.75  # of what a budget leaves after starting and testing: the machine is not always equally fast
START_UP = 12.0  # seconds of imports, dataset, first step and test, on two cores


def overrides_of(entry: Entry) -> tuple[str, ...]:
    """Overrides of `train.py` that an entry means: Moog sets are those of 16,384 sounds, without measured features."""
    stored = (*moog_set(entry.set, MOOG_SOUNDS), "data.aux=[spec_min,spec_max]") if entry.set in MOOG else ()
    return (f"experiment={EXPERIMENTS[entry.set]}", f"model={entry.model}", *stored, *entry.overrides)


def config_of(entry: Entry) -> DictConfig:
    """Configuration of the training that an entry means."""
    return compose_config("train", *overrides_of(entry), f"paths.output_dir={quoted(str(ROOT))}")


def samples(dataset: Any, numbers: np.ndarray) -> dict[str, torch.Tensor]:
    """Some samples of a part of a dataset; it starts again after its last one."""
    return dataset.__getitems__(numbers % len(dataset))


def seconds_per_epoch(
    module: LightningModule, datamodule: VIMHDataModule, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Estimated from some steps of training, with validation at the pace of the forward pass.

    Where sounds are streamed, the second core makes them, and trains in the rest of the time.
    """
    step, make = sound_seconds(module, datamodule, clock)
    return len(datamodule.train_set) * (step + make / 2) + len(datamodule.val_set) * step / 3


def train(entry: Entry, seed: int, budget: float) -> dict[str, Any]:
    """Train and test by `src/train.py` in a process of its own, for as many epochs as the budget lasts.

    Returns:
        What is kept of the run.
    """
    cfg = config_of(entry)
    module, datamodule = set_up(cfg)
    image, aux = torch.zeros(1, *datamodule.info.image_shape, dtype=torch.uint8), torch.zeros(1, len(cfg.data.aux))
    n_threads = useful_threads(module.net, (image, aux), cfg.data.batch_size, torch.get_num_threads())  # as train.py
    with cpu_threads(n_threads):
        epoch = seconds_per_epoch(module, datamodule)
    if entry.budget is not None:
        budget -= synthesis(entry.set)
    epochs = max(1, int(SHARE_TO_TRAIN * (budget - START_UP) / epoch))
    results, seconds = run_training(entry, seed, epochs)
    while seconds > budget and epochs > 1:  # whatever it reached: the machine was slower than it had been before
        epochs = max(1, int(0.9 * epochs * budget / seconds))
        results, seconds = run_training(entry, seed, epochs)
    return {
        "seconds": round(seconds, 1),
        "training_seconds": results["training_seconds"],
        "threads": n_threads,
        "epochs": results["epochs"],
        "training_sounds": results["training_samples"],
        "parameters": results["parameters"],
        **costs(module, datamodule),
        **{key: results["metrics"][f"test/{key}"] for key in ("acc", "nmae", "steps", "coverage")},
        "heads": {name: {key: head[key] for key in ("acc", "steps")} for name, head in results["heads"].items()},
    }


def run_training(entry: Entry, seed: int, epochs: int) -> tuple[dict[str, Any], float]:
    """Train and test for some epochs.

    Returns:
        The run's `results.json`, and the seconds from the command to the result.
    """
    length = f"seed={seed}", f"trainer.max_epochs={epochs}"
    name = f"benchmark_models/{entry.name}_{seed}"
    results, spent = results_of(name, "src/train.py", *overrides_of(entry), *QUIET, *length)
    return results, spent.wall


def synthesis(name: str) -> float:
    """Seconds that making a set takes, from the command on; measured once, and kept among the runs."""
    key = f"{name}, synthesis"
    if key not in read_json(RUNS):
        section = config_of(Entry(name, "cnn_tiny")).data.make_dataset
        with tempfile.TemporaryDirectory() as directory:
            overrides = *section.overrides, f"output_dir={directory}"
            spent = run_program("generate_vimh.py", f"--config-name={section.config_name}", *overrides)
        keep({key: {"seconds": round(spent.wall, 1)}})
    return read_json(RUNS)[key]["seconds"]


def costs(module: LightningModule, datamodule: VIMHDataModule) -> dict[str, float]:
    """Multiply-adds of one image, and images per second of one core in batches of 256."""
    net = module.net.eval()
    batch = samples(datamodule.test_set, np.arange(256))
    count = multiply_adds(net, (batch["image"][:1], batch["aux"][:1]))[""]
    times: list[float] = []
    with cpu_threads(1), torch.inference_mode():
        while len(times) < 5 or (sum(times) < 0.5 and len(times) < 50):
            # Processor time of this process: other processes do not count.
            times.append(seconds_of(lambda: net(batch["image"], batch["aux"]), time.thread_time))
    return {"multiply_adds": count, "images_per_second": round(256 / statistics.median(times[1:]))}


def fit_reference(entry: Entry, seed: int, budget: float) -> dict[str, Any]:
    """A method of scikit-learn on the same pixels and conditioning inputs, as a regression per head.

    Or what needs no pixels: the most frequent class for the accuracies, the mean parameter for the errors.
    """
    datamodule = instantiate(config_of(Entry(entry.set, "cnn_tiny")).data)
    datamodule.prepare_data()
    if entry.model == "majority_and_mean":
        return guess(datamodule)
    train_set, test_set = (
        {key: tensor.numpy() for key, tensor in samples(part, np.arange(len(part))).items()}
        for part in (datamodule.train_set, datamodule.test_set)
    )
    mean, std = train_set["aux"].mean(axis=0), train_set["aux"].std(axis=0)
    features = [
        np.hstack([part["image"].reshape(len(part["image"]), -1) / np.float32(255), (part["aux"] - mean) / std])
        for part in (train_set, test_set)
    ]
    predict = {"hist_gradient_boosting": _boost, "5_nearest_neighbours": _neighbours}[entry.model]
    start = time.process_time()
    normalized = predict(features[0], train_set["normalized"], features[1], seed).clip(0, 1)
    return {
        "seconds": round(time.process_time() - start, 1),
        "training_sounds": len(train_set["image"]),
        **errors(normalized, test_set, datamodule.info.parameters),
    }


def guess(datamodule: VIMHDataModule) -> dict[str, Any]:
    """What the most frequent class and the mean parameter of the training sounds reach on the test sounds."""
    share, error = datamodule.majority_share(), datamodule.mean_error()
    specs = datamodule.info.parameters
    heads = {spec.name: {"acc": share[spec.name], "steps": error[spec.name] / spec.step} for spec in specs}
    nmae = statistics.fmean(error[spec.name] / spec.range for spec in specs)
    return {"training_sounds": len(datamodule.train_set), **means(heads, nmae)}


def means(heads: Mapping[str, Mapping[str, float]], nmae: float) -> dict[str, Any]:
    """Accuracy and errors of a method: means over the heads, and every head."""
    acc, steps = (statistics.fmean(head[key] for head in heads.values()) for key in ("acc", "steps"))
    return {"acc": acc, "nmae": nmae, "steps": steps, "heads": heads}


def _boost(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, seed: int) -> np.ndarray:
    """Histogram gradient boosting, 200 iterations, a regressor per head, `(sample, head)`."""
    model = HistGradientBoostingRegressor(max_iter=200, early_stopping=False, random_state=seed)
    return np.stack([model.fit(x, target).predict(x_test) for target in y.T], axis=1)


def _neighbours(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, seed: int) -> np.ndarray:
    """Mean of the five nearest neighbours, `(sample, head)`."""
    return KNeighborsRegressor(n_neighbors=5, algorithm="brute").fit(x, y).predict(x_test)


def errors(normalized: np.ndarray, test_set: Mapping[str, np.ndarray], parameters: Sequence[ParamSpec]) -> dict:
    """Accuracy and errors of predicted positions in the range, `(sample, head)`, as `HeadMetrics` has them."""
    error = np.abs(normalized - test_set["normalized"]).mean(axis=0)
    heads = {}
    for head, spec in enumerate(parameters):
        hit = spec.index_from_normalized(normalized[:, head]) == test_set["index"][:, head]
        heads[spec.name] = {"acc": float(hit.mean()), "steps": float(error[head] * spec.range / spec.step)}
    return means(heads, float(error.mean()))


def main() -> int:
    """Run what is not there yet."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a run, for rows without a goal")
    parser.add_argument("--only", default="", help="regular expression; only rows whose name it matches")
    parser.add_argument("--list", action="store_true", help="list what would run")
    parser.add_argument("--table", action="store_true", help="write the page from the runs that are there")
    arguments = parser.parse_args()
    terminal, runs = console(), read_json(RUNS)
    wanted = [
        (entry, seed)
        for entry in entries()
        for seed in entry.seeds
        if re.search(arguments.only, entry.name) and run_key(entry, seed) not in runs and not arguments.table
    ]
    for number, (entry, seed) in enumerate(wanted, 1):
        key, budget = run_key(entry, seed), entry.budget or arguments.budget
        terminal.print(f"{number} of {len(wanted)}: {key}, {budget:.0f} s")
        if not arguments.list:
            measure = fit_reference if entry.model in REFERENCES else train
            run = measure(entry, seed, budget)
            keep({key: run})
            terminal.print(f"    accuracy {run['acc']:.3f}, error {run['nmae']:.4f} of the range")
    if not arguments.list:
        keep({})
        terminal.print(f"Results: {PAGE}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
