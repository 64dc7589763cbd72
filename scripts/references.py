"""Reads parameters by classical methods beside the networks, tuned as hard: `make references`.

python scripts/references.py [--only REGEX] [--hours 3] [--list] [--table]

A cell is a method on a Moog set within 3 or 15 minutes of processor time on one thread, its tuning counted, synthesis
not. All train and choose on the sounds that `make budgets` has, 16,384 with those of the test among them, and answer
for the same 3,277 test sounds, which no choice sees; refinement on the envelope set, which takes half a second a sound,
for the first 512 of them. Every trial stands in the results, with its error on the validation sounds. A network is
trained as by `make budgets`, its settings having been chosen on other sounds. Cells of docs/results/references.json are
not repeated: delete an entry to measure it again. The tables of docs/results.md are written after every cell.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import src  # noqa: E402, F401, I001  (it sets how threads wait, as in the trainings, before PyTorch is imported)
import numba  # noqa: E402
import numpy as np  # noqa: E402
import scipy  # noqa: E402
import torch  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: E402

from scripts import budgets  # noqa: E402
from scripts.benchmark_models import errors, samples  # noqa: E402
from scripts.budgets_page import CONV6, TUNING, best_rate  # noqa: E402
from scripts.budgets_page import NETWORKS as BUDGET_NETWORKS  # noqa: E402
from scripts.budgets_page import Cell as BudgetCell  # noqa: E402
from scripts.cells import cell_options, measure_cells  # noqa: E402
from scripts.pages import read_json, table, write_between  # noqa: E402
from scripts.setups import compose_config, moog_set, recipe_of  # noqa: E402
from src.checkpoints.run import load_run  # noqa: E402
from src.errors import NSMError  # noqa: E402
from src.evaluation.posterior import LeftOpen, efficiency, posterior, share_untold  # noqa: E402
from src.evaluation.refinement import refine  # noqa: E402
from src.hydra_versions import instantiate  # noqa: E402
from src.models.costs import multiply_adds  # noqa: E402
from src.overrides import quoted  # noqa: E402
from src.params import ParameterSpace, ParamSpec  # noqa: E402
from src.programs.command_line import reporting  # noqa: E402
from src.readings.network import input_of  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.text import prepare_streams  # noqa: E402

RESULTS = ROOT / "docs" / "results" / "references.json"
NETWORKS = ROOT / "docs" / "results" / "budgets.json"
PAGE = ROOT / "docs" / "results.md"
MARKS = "<!-- references: made by scripts/references.py -->\n", "<!-- end of references -->\n"
SETS = ("basic", "envelope")
BUDGETS = (3, 15)  # minutes
SIZE = 16_384
LATER = " + refinement"
NETWORK = "network"
TRAINED = (NETWORK, *CONV6)
POSTERIOR = "posterior"
N_POSTERIORS = 256  # test sounds, the first ones, whose posterior given the picture is sampled
SETS_OPEN = ("basic",)  # those with posteriors: the chains of ten parameters do not converge
N_REFINED = {"envelope": 512}  # test sounds that refinement answers for, where it is not all of them
TO_TRY = 0.6  # of a budget, after which no trial is begun
SMALLER = 4_000  # sounds that the width of a kernel is chosen with
N_RENDERS = 1_000
BLOCK = 1_024  # sounds answered at a time
MOST_COMPONENTS = 200


@dataclass(frozen=True)
class Cell:
    """A method on a set within a budget.

    Attributes:
        set: `basic` or `envelope`.
        method: A key of `METHODS` or one of `TRAINED`, alone or with refinement after it; or `POSTERIOR`.
        minutes: Of one core; 0: without a budget.
    """

    set: str
    method: str
    minutes: int

    @property
    def key(self) -> str:
        """Unique among the results."""
        return f"{self.set}, {self.method}" + (f", {self.minutes} min" if self.minutes else "")


class Sounds(NamedTuple):
    """Some sounds of a set.

    Attributes:
        image: uint8, `(sound, channel, freq, time)`.
        spec_range: dB, `(sound, 2)`.
        normalized: Places in the ranges, `(sound, head)`.
        index: Classes, `(sound, head)`.
    """

    image: np.ndarray
    spec_range: np.ndarray
    normalized: np.ndarray
    index: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        """Float64, 0 to 1, `(sound, pixel)`."""
        return self.image.reshape(len(self.image), -1) / 255


class Problem(NamedTuple):
    """What a method is given.

    Attributes:
        train: Sounds to fit to.
        val: Sounds to choose by.
        recipe: Renders others.
        seconds: Processor time for all of it.
    """

    train: Sounds
    val: Sounds
    recipe: Recipe
    seconds: float


class Answering(NamedTuple):
    """A method that was fitted.

    Attributes:
        predict: Sounds to places in the ranges, `(sound, head)`.
        kept: Numbers that it keeps.
        multiply_adds: Of one answer.
        trials: What was tried: settings to the error on the validation sounds.
        seconds: That fitting took in other processes; None: in this one.
    """

    predict: Callable[[Sounds], np.ndarray]
    kept: int
    multiply_adds: int
    trials: dict[str, float]
    seconds: float | None = None


def error_on(found: np.ndarray, sounds: Sounds) -> float:
    """Mean error of answers as a share of the ranges."""
    return round(float(np.abs(found.clip(0, 1) - sounds.normalized).mean()), 6)


def best_of(trials: Mapping[str, float]) -> str:
    """The settings with the least error."""
    return min(trials, key=trials.__getitem__)


class Features:
    """Principal components of the pixels, and the range, as `(sound, feature)` of about unit length.

    Args:
        sounds: That the components are found on.
        weight: Of the range beside the components.
    """

    def __init__(self, sounds: Sounds, weight: float = 0.3) -> None:
        self.components = PCA(MOST_COMPONENTS, svd_solver="covariance_eigh").fit(sounds.pixels)
        self.scale = float(np.sqrt(self.components.explained_variance_.sum()))
        self.mean, self.std = sounds.spec_range.mean(axis=0), sounds.spec_range.std(axis=0)
        self.weight = weight

    def of(self, sounds: Sounds, n: int = MOST_COMPONENTS) -> np.ndarray:
        """Features with the first `n` components, float64, `(sound, n + 2)`."""
        found = self.components.transform(sounds.pixels)[:, :n] / self.scale
        return np.hstack([found, self.weight * (sounds.spec_range - self.mean) / self.std])

    def n_numbers(self, n: int) -> int:
        """What the features keep: components, the mean picture, and four of the range."""
        return (n + 1) * self.components.mean_.size + 5


# ----- methods


def kernel(one: np.ndarray, other: np.ndarray, width: float) -> np.ndarray:
    """Gaussian kernel between features, `(one, other)`."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    np.maximum(squares, 0, out=squares)
    squares *= -0.5 / width**2
    return np.exp(squares, out=squares)


def solve_ridge(x: np.ndarray, y: np.ndarray, width: float, penalty: float) -> np.ndarray:
    """Weights of kernel ridge regression, `(sound, head)`."""
    matrix = kernel(x, x, width)
    matrix[np.diag_indices_from(matrix)] += penalty
    return scipy.linalg.cho_solve(scipy.linalg.cho_factor(matrix, lower=True, overwrite_a=True), y)


def kernel_ridge(problem: Problem) -> Answering:
    """Kernel ridge regression; width, penalty and number of components by validation with fewer sounds."""
    train, val, features = problem.train, problem.val, Features(problem.train)
    middle = train.normalized.mean(axis=0)
    y, begun, trials = train.normalized - middle, time.process_time(), {}
    settings = {}
    for n, width, penalty in itertools.product((100, 200, 50), (1.0, 2.0, 4.0, 0.5), (1e-6, 1e-5, 1e-4, 1e-7)):
        if time.process_time() - begun > TO_TRY * problem.seconds:
            break
        x, seen = features.of(train, n)[:SMALLER], features.of(val, n)
        weights = solve_ridge(x, y[:SMALLER], width, penalty)
        name = f"{n} components, width {width:g}, penalty {penalty:g}"
        trials[name] = error_on(kernel(seen, x, width) @ weights + middle, val)
        settings[name] = n, width, penalty
    n, width, penalty = settings[best_of(trials)]
    x = features.of(train, n)
    weights = solve_ridge(x, y, width, penalty)

    def predict(sounds: Sounds) -> np.ndarray:
        return kernel(features.of(sounds, n), x, width) @ weights + middle

    n_pixels = features.components.mean_.size
    cost = n * n_pixels + len(x) * (n + 2 + weights.shape[1])
    return Answering(predict, features.n_numbers(n) + x.size + weights.size + middle.size, cost, trials)


def boosting(problem: Problem) -> Answering:
    """Histogram gradient boosting, a regressor of each head; its shape and length by validation on the first head."""
    train, val, features = problem.train, problem.val, Features(problem.train)
    begun, trials, settings = time.process_time(), {}, {}
    n_heads = train.normalized.shape[1]
    for n, rate, leaves in itertools.product((100, 40), (0.1, 0.05), (31, 15, 63)):
        if time.process_time() - begun > TO_TRY * problem.seconds / n_heads:
            break
        x, seen = features.of(train, n), features.of(val, n)
        model = booster(rate, leaves, 600).fit(x, train.normalized[:, 0])
        staged = [np.abs(found - val.normalized[:, 0]).mean() for found in model.staged_predict(seen)]
        length = int(np.argmin(staged)) + 1
        name = f"{n} components, rate {rate:g}, {leaves} leaves, {length} trees"
        trials[name], settings[name] = round(float(min(staged)), 6), (n, rate, leaves, length)
    n, rate, leaves, length = settings[best_of(trials)]
    x = features.of(train, n)
    models = [booster(rate, leaves, length).fit(x, target) for target in train.normalized.T]

    def predict(sounds: Sounds) -> np.ndarray:
        seen = features.of(sounds, n)
        return np.stack([model.predict(seen) for model in models], axis=1)

    numbers = features.n_numbers(n) + n_heads * length * 3 * (2 * leaves - 1)  # feature, threshold or value, child
    return Answering(predict, numbers, n * features.components.mean_.size + n_heads * length, trials)


def booster(rate: float, leaves: int, length: int) -> HistGradientBoostingRegressor:
    """A model of scikit-learn with these settings."""
    return HistGradientBoostingRegressor(
        learning_rate=rate, max_leaf_nodes=leaves, max_iter=length, early_stopping=False, random_state=0
    )


def local_linear(problem: Problem) -> Answering:
    """Nearest neighbours, interpolated by a weighted linear regression around each sound."""
    train, val, features = problem.train, problem.val, Features(problem.train)
    begun, trials, settings = time.process_time(), {}, {}
    for n, near in itertools.product((30, 15, 60), (100, 50, 200, 400)):
        if time.process_time() - begun > TO_TRY * problem.seconds:
            break
        name = f"{n} components, {near} neighbours"
        found = interpolated(features.of(train, n), train.normalized, features.of(val, n), near)
        trials[name], settings[name] = error_on(found, val), (n, near)
    n, near = settings[best_of(trials)]
    x = features.of(train, n)
    cost = n * features.components.mean_.size + x.size + near * (n + 3) ** 2
    return Answering(
        lambda sounds: interpolated(x, train.normalized, features.of(sounds, n), near),
        features.n_numbers(n) + x.size + train.normalized.size,
        cost,
        trials,
    )


def interpolated(x: np.ndarray, y: np.ndarray, seen: np.ndarray, near: int) -> np.ndarray:
    """What the linear regression of the nearest sounds says, those that are nearer weighing more, `(sound, head)`."""
    found = np.empty((len(seen), y.shape[1]))
    for first in range(0, len(seen), 64):
        part = seen[first : first + 64]
        squares = (part**2).sum(axis=1)[:, None] + (x**2).sum(axis=1) - 2 * part @ x.T
        nearest = np.argpartition(squares, min(near, len(x) - 1), axis=1)[:, :near]
        distance = np.sqrt(np.maximum(np.take_along_axis(squares, nearest, axis=1), 0))
        weight = (1 - (distance / (distance.max(axis=1, keepdims=True) + 1e-12)) ** 3) ** 3  # tricube, Cleveland 1979
        design = np.concatenate([np.ones((*nearest.shape, 1)), x[nearest] - part[:, None]], axis=2)
        weighted = design * weight[..., None]
        left = weighted.transpose(0, 2, 1) @ design + 1e-6 * np.eye(design.shape[2])
        found[first : first + 64] = np.linalg.solve(left, weighted.transpose(0, 2, 1) @ y[nearest])[:, 0]
    return found


def random_renders(problem: Problem) -> Answering:
    """The one of 1,000 random sounds whose picture is nearest; nothing is fitted or chosen."""
    space = problem.recipe.space
    value = space.value_from_uniform(np.random.default_rng(0).random((N_RENDERS, len(space.varying))))
    image, spec_range = problem.recipe.represent(problem.recipe.render(value))
    levels, normalized = in_decibels(image, spec_range), space.normalized_from_value(value)

    def predict(sounds: Sounds) -> np.ndarray:
        seen = in_decibels(sounds.image, sounds.spec_range)
        squares = (seen**2).sum(axis=1)[:, None] + (levels**2).sum(axis=1) - 2 * seen @ levels.T
        return normalized[squares.argmin(axis=1)]

    return Answering(predict, levels.size + normalized.size, levels.size, {})


def in_decibels(image: np.ndarray, spec_range: np.ndarray) -> np.ndarray:
    """Levels of pictures, `(sound, pixel)`."""
    low, high = spec_range[:, :1], spec_range[:, 1:]
    return low + image.reshape(len(image), -1) / np.float32(255) * (high - low)


METHODS: dict[str, Callable[[Problem], Answering]] = {
    "kernel ridge": kernel_ridge,
    "gradient boosting": boosting,
    "nearest neighbours, interpolated": local_linear,
    f"best of {N_RENDERS:,} renders": random_renders,
}


def cells() -> Iterator[Cell]:
    """All cells, in the order in which they decide."""
    yield from (Cell(name, POSTERIOR, 0) for name in SETS_OPEN)
    for minutes in BUDGETS:
        for name in SETS:
            for method in (*METHODS, *TRAINED):
                if minutes == BUDGETS[0] or method != f"best of {N_RENDERS:,} renders":
                    yield Cell(name, method, minutes)
                if method == NETWORK or (minutes == BUDGETS[0] and method not in CONV6):
                    yield Cell(name, method + LATER, minutes)


def network(cell: Cell) -> Answering:
    """The network of a set or a reference, trained on the same sounds as `make budgets` does it."""
    training = budgets.train_within(training_of(cell))
    if training.results is None:
        raise NSMError(f"{cell.key}: the budget is too short for a training.")
    trained = input_of(load_run(training.results["checkpoint"]))
    module = trained.run.module

    @torch.no_grad()
    def predict(sounds: Sounds) -> np.ndarray:
        image, spec_range = torch.from_numpy(sounds.image), torch.from_numpy(sounds.spec_range)
        return module.read(image, trained.to_tensors.aux_of(image, spec_range))[1].double().numpy()

    kept = sum(tensor.numel() for tensor in module.net.state_dict().values())
    return Answering(predict, kept, multiply_adds(module.net, module.example_input_array)[""], {}, training.spent.core)


def training_of(cell: Cell) -> BudgetCell:
    """The training of a cell that needs one; rates of references were chosen on other sounds, as our settings were."""
    name = cell.method.removesuffix(LATER)
    if name == NETWORK:
        return BudgetCell(cell.set, BUDGET_NETWORKS[cell.set], "16k", cell.minutes)
    rate = best_rate(cell.set, name, read_json(TUNING))
    return BudgetCell(cell.set, "conv6", "16k", cell.minutes, changes=(*CONV6[name], f"model.optimizer.lr={rate}"))


# ----- measuring


def measure(cell: Cell, data_root: Path) -> dict[str, Any]:
    """What is kept of a cell."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    parts, parameters, recipe = sounds_of(cell.set, data_root)
    if cell.method == POSTERIOR:
        return posteriors(recipe, SIZE - len(parts["test"].image))
    return measure_method(cell, parts, parameters, recipe)


def posteriors(recipe: Recipe, first: int) -> dict[str, Any]:
    """What the pictures of the first test sounds leave open; the number of the first one is `first`."""
    begun = time.process_time()
    found = posterior(recipe, recipe.values(first, first + N_POSTERIORS))
    return {
        "seconds": round(time.process_time() - begun, 1),
        "converged": round(float(found.converged.mean()), 4),
        **{name: np.round(getattr(found, name), 6).tolist() for name in LeftOpen._fields},
    }


def measure_method(
    cell: Cell, parts: Mapping[str, Sounds], parameters: Sequence[ParamSpec], recipe: Recipe
) -> dict[str, Any]:
    """Fit, choose and answer."""
    begun = time.process_time()
    name, refining = cell.method.removesuffix(LATER), cell.method.endswith(LATER)
    if name in TRAINED:
        fitted = network(cell)
    else:
        fitted = METHODS[name](Problem(parts["train"], parts["val"], recipe, 60.0 * cell.minutes))
    seconds = time.process_time() - begun if fitted.seconds is None else fitted.seconds
    n_test = N_REFINED.get(cell.set) if refining else None
    test = Sounds(*(column[:n_test] for column in parts["test"]))
    begun = time.process_time()
    blocks = (Sounds(*(column[first : first + BLOCK] for column in test)) for first in range(0, len(test.image), BLOCK))
    found = np.concatenate([fitted.predict(block) for block in blocks]).clip(0, 1)
    if refining:
        found = refined(recipe, test, found)
    answering = time.process_time() - begun
    return {
        "sounds": len(found),
        "seconds": round(seconds, 1),
        "ms": round(1000 * answering / len(found), 3),
        "kept": fitted.kept,
        "multiply_adds": fitted.multiply_adds,
        "trials": fitted.trials,
        **errors(found, {"normalized": test.normalized, "index": test.index}, parameters),
        "median_steps": median_steps(found, test, parameters),
        "first_steps": np.round(steps_of(found, test, parameters)[:N_POSTERIORS], 6).tolist(),
    }


def sounds_of(name: str, data_root: Path) -> tuple[dict[str, Sounds], Sequence[ParamSpec], Recipe]:
    """The sounds of a set by their part, its parameters, and what renders it."""
    section, *others = moog_set(name, SIZE)
    place = data_root / Path(section.partition("=")[2].strip("'\"")).name
    cfg = compose_config(
        "train",
        f"data=moog_{name}",
        f"data.data_dir={quoted(str(place))}",
        *others,
        "data.aux=[spec_min,spec_max]",
        f"paths.output_dir={quoted(str(ROOT))}",
    )
    datamodule = instantiate(cfg.data)
    datamodule.prepare_data()
    parts = {"train": datamodule.train_set, "val": datamodule.val_set, "test": datamodule.test_set}
    found = {}
    for part, dataset in parts.items():
        batch = {key: tensor.numpy() for key, tensor in samples(dataset, np.arange(len(dataset))).items()}
        found[part] = Sounds(*(batch[key] for key in ("image", "aux", "normalized", "index")))
    return found, datamodule.info.parameters, recipe_of(cfg.data.make_dataset.config_name)


def refined(recipe: Recipe, sounds: Sounds, start: np.ndarray) -> np.ndarray:
    """Places after refinement from some on."""
    space = ParameterSpace(recipe.space.varying)
    found = refine(recipe, sounds.image, sounds.spec_range.astype(np.float32), space.value_from_normalized(start))
    return space.normalized_from_value(found.value)


def median_steps(found: np.ndarray, sounds: Sounds, parameters: Sequence[ParamSpec]) -> float:
    """Median error of each head in grid steps, the mean over the heads."""
    return float(np.median(steps_of(found, sounds, parameters), axis=0).mean())


def steps_of(found: np.ndarray, sounds: Sounds, parameters: Sequence[ParamSpec]) -> np.ndarray:
    """Absolute errors in grid steps, `(sound, head)`."""
    return np.abs(found - sounds.normalized) * np.array([spec.range / spec.step for spec in parameters])


# ----- the page


def tables(results: Mapping[str, Any]) -> str:
    """A table of each set, the networks of the same minutes among its rows."""
    networks = read_json(NETWORKS)
    columns = (
        *("method", "minutes", "numbers kept", "million multiply-adds", "fitting, s", "ms a sound"),
        *("accuracy", "error / range", "mean, median error in grid steps"),
    )
    lines: list[str] = []
    for name in SETS:
        found = [(cell, results[cell.key]) for cell in methods(name) if cell.key in results]
        rows = [row(cell, one) for cell, one in found]
        rows += [*network_rows(name, networks)]
        rows.sort(key=lambda cells: float(cells[-2]))
        missing = len(list(methods(name))) - len(found)
        note = f" {missing} cells are not measured yet." if missing else ""
        lines += ["", f"### {name}, references and networks", "", f"The least error first.{note}", ""]
        lines += [*table(columns, rows), *open_lines(name, results)]
    return "\n".join([*lines, "", ""])


def methods(name: str) -> Iterator[Cell]:
    """The cells of a set that are methods."""
    return (cell for cell in cells() if cell.set == name and cell.method != POSTERIOR)


def open_lines(name: str, results: Mapping[str, Any]) -> list[str]:
    """How much of what the pictures of a set tell the methods of its table read, parameter by parameter."""
    found = results.get(Cell(name, POSTERIOR, 0).key)
    asked = [cell for cell in methods(name) if "first_steps" in results.get(cell.key, {})]
    if found is None or not asked:
        return []
    heads = [spec.name for spec in varying_of(name)]
    columns = "method", "minutes", *(f"{head}: efficiency, untold" for head in heads)
    rows = [[method_text(cell), str(cell.minutes), *open_texts(found, results[cell.key])] for cell in asked]
    return [
        "",
        f"Efficiency on the first {N_POSTERIORS} test sounds: the expected absolute error under the posterior given "
        "the picture over the method's own; and the share of its error in sounds whose parameter the picture does not "
        f"tell. The chains agreed in {found['converged']:.1%} of the sounds.",
        "",
        *table(columns, rows),
    ]


def varying_of(name: str) -> Sequence[ParamSpec]:
    """The parameters of a set."""
    cfg = compose_config("train", f"data=moog_{name}")
    return recipe_of(cfg.data.make_dataset.config_name).space.varying


def open_texts(found: Mapping[str, Any], one: Mapping[str, Any]) -> list[str]:
    """Efficiency and untold share of a method, for each parameter."""
    some = LeftOpen(*(np.array(found[name], float) for name in LeftOpen._fields))
    error = np.array(one["first_steps"], float)
    return [
        f"{share:.2f}, {untold:.2f}"
        for share, untold in zip(efficiency(some, error), share_untold(some, error), strict=True)
    ]


def method_text(cell: Cell) -> str:
    """Name of a method in a table."""
    return cell.method.replace(NETWORK, f"`{BUDGET_NETWORKS[cell.set]}`").replace("conv6", "`conv6`")


def row(cell: Cell, one: Mapping[str, Any]) -> list[str]:
    """A line of a table."""
    part = f" ({one['sounds']} sounds)" if cell.method.endswith(LATER) and cell.set in N_REFINED else ""
    steps = f"{one['steps']:.3f}, {one['median_steps']:.3f}"
    return [
        *(
            method_text(cell) + part,
            str(cell.minutes),
            f"{one['kept']:,}",
            f"{one['multiply_adds'] / 1e6:.2f}",
            f"{one['seconds']:.0f}",
        ),
        *(f"{one['ms']:.2f}", f"{one['acc']:.3f}", f"{one['nmae']:.4f}", steps),
    ]


def network_rows(name: str, networks: Mapping[str, Any]) -> Iterable[list[str]]:
    """The best network of each budget, by its error on validation sounds, from the stored set of 131,072 sounds."""
    for minutes in BUDGETS:
        model = BUDGET_NETWORKS[name]
        one = networks.get(f"{name} {model} 131k {minutes} min, seed 42")
        if one is not None and "acc" in one:
            yield [
                *(
                    f"`{model}`, 131,072 sounds",
                    str(minutes),
                    f"{one['parameters']:,}",
                    "",
                    f"{one['run_seconds']:.0f}",
                    "",
                ),
                *(f"{one['acc']:.3f}", f"{one['nmae']:.4f}", f"{one['steps']:.3f}"),
            ]


def write_page(results: Mapping[str, Any], page: Path) -> None:
    """Put the tables into their page."""
    write_between(MARKS, tables(results), page)


def main() -> int:
    """Measure what is not there yet."""
    prepare_streams()
    parser = cell_options(__doc__, ROOT / "data", RESULTS, 3.0)
    options = parser.parse_args()
    page = PAGE if options.results == RESULTS else None
    measure_cells(cells(), options, lambda cell: measure(cell, options.data), page, write_page)
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
