"""Classical methods: what they must do by their equations, and what is kept of them."""

import json

import numpy as np
import pytest
import torch

from scripts import budgets, references
from scripts.budgets_page import COMMON, trials
from scripts.references import (
    METHODS,
    Features,
    Problem,
    Sounds,
    cells,
    error_on,
    interpolated,
    kernel,
    solve_ridge,
    tables,
)
from src.checkpoints.run import load_run
from src.data.vimh_dataset import SPEC_RANGE
from src.errors import NSMError
from src.evaluation.posterior import posterior
from src.hydra_versions import instantiate


@pytest.fixture(scope="module")
def problem(recipe_of):
    """400 sounds of the saw set to fit to, and 100 to choose by."""
    recipe = recipe_of("dataset.size=8")
    space = recipe.space
    value = space.value_from_uniform(np.random.default_rng(0).random((500, len(space.varying))))
    image, spec_range = recipe.represent(recipe.render(value))
    normalized = space.normalized_from_value(value)
    index = np.stack([spec.index_from_normalized(normalized[:, p]) for p, spec in enumerate(space.varying)], axis=1)
    both = Sounds(image, spec_range, normalized, index)
    train, val = (Sounds(*(column[part] for column in both)) for part in (slice(400), slice(400, None)))
    return Problem(train, val, recipe, seconds=2.0)


def test_a_kernel_is_one_at_no_distance_and_gaussian_elsewhere():
    x = np.random.default_rng(1).normal(size=(5, 3))
    found = kernel(x, x, 2.0)
    squares = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(found, np.exp(-squares / 8), atol=1e-12)


def test_ridge_without_penalty_goes_through_what_it_was_fitted_to():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    weights = solve_ridge(x, y, 0.5, 1e-10)
    np.testing.assert_allclose(kernel(x, x, 0.5) @ weights, y, atol=1e-6)


def test_interpolation_between_neighbours_is_exact_for_what_is_linear():
    rng = np.random.default_rng(3)
    x, seen, slope = rng.normal(size=(300, 4)), rng.normal(size=(70, 4)) / 2, rng.normal(size=(4, 3))
    found = interpolated(x, x @ slope + 1, seen, 60)
    np.testing.assert_allclose(found, seen @ slope + 1, atol=1e-4)


def test_all_components_keep_all_differences_between_pictures(problem):
    few = Sounds(*(column[:200] for column in problem.train))
    features = Features(few, weight=0.0)
    found, pixels = features.of(few) * features.scale, few.pixels.astype(np.float64)
    apart = np.linalg.norm(pixels[:50, None] - pixels[None, 50:100], axis=2)
    np.testing.assert_allclose(np.linalg.norm(found[:50, None] - found[None, 50:100], axis=2), apart, rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_reads_sounds_far_better_than_their_mean_does(problem, name):
    fitted = METHODS[name](problem)
    guess = np.broadcast_to(problem.train.normalized.mean(axis=0), problem.val.normalized.shape)
    assert error_on(fitted.predict(problem.val), problem.val) < 0.5 * error_on(guess, problem.val)
    assert fitted.kept > 0
    assert fitted.multiply_adds > 0


def test_a_network_answers_as_it_does_in_its_own_test(monkeypatch, trained_run):
    checkpoint = trained_run.run_dir / "checkpoints" / "last.ckpt"
    training = budgets.Training({}, {"checkpoint": str(checkpoint)}, budgets.Spent(1.0, 1.0))
    monkeypatch.setattr(budgets, "train_within", lambda cell: training)
    fitted = references.network(references.Cell("basic", references.NETWORK, 3))
    datamodule = instantiate(trained_run.cfg.data)
    datamodule.setup("test")
    batch = datamodule.test_set[:]
    module = load_run(checkpoint).module
    with torch.no_grad():
        expected = module.read(batch["image"], batch["aux"]).normalized
    assert tuple(trained_run.cfg.data.aux[:2]) == SPEC_RANGE
    sounds = Sounds(batch["image"].numpy(), batch["aux"][:, :2].numpy(), expected.numpy(), batch["index"].numpy())
    np.testing.assert_allclose(fitted.predict(sounds), expected, atol=1e-6)
    assert fitted.kept >= sum(weight.numel() for weight in module.parameters())


def test_cells_are_named_once_and_those_with_refinement_have_a_method():
    keys = [cell.key for cell in cells()]
    assert len(keys) == len(set(keys))
    methods = {cell.method.removesuffix(references.LATER) for cell in cells()}
    assert methods == {*METHODS, *references.TRAINED, references.POSTERIOR}


def test_a_reference_is_trained_with_the_rate_that_was_best_on_other_sounds(monkeypatch):
    tried = {trial.key: {"nmae": abs(trial.lr - 0.003)} for trial in trials() if trial.reference}
    monkeypatch.setattr(references, "read_json", lambda path: tried)
    training = references.training_of(references.Cell("envelope", "conv6 with batch norm", 15))
    assert training.changes == ("model=conv6", "model.net.batch_norm=true", "model.optimizer.lr=0.003")
    assert (training.set, training.data, training.minutes, training.dataset) == ("envelope", "16k", 15, COMMON)
    tried.pop(next(key for key in tried if key.startswith("envelope conv6,")))
    references.training_of(references.Cell("envelope", "conv6 with batch norm", 15))
    with pytest.raises(NSMError, match=r"envelope conv6, 16k measured, .* was not tried yet. Run python .* --tune"):
        references.training_of(references.Cell("envelope", "conv6", 15))


def test_a_table_names_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(references, "NETWORKS", tmp_path / "none.json")
    one = {"kept": 7, "multiply_adds": 2_000_000, "seconds": 3.2, "ms": 0.5, "acc": 0.9, "nmae": 0.01, "steps": 0.2,
           "median_steps": 0.1}  # fmt: skip
    found = tables({"basic, kernel ridge, 3 min": json.loads(json.dumps(one))})
    assert "| kernel ridge | 3 | 7 | 2.00 | 3 | 0.50 | 0.900 | 0.0100 | 0.200, 0.100 |" in found
    n_methods = len(list(references.methods("basic")))
    assert f"{n_methods - 1} cells are not measured yet." in found


def test_efficiency_is_of_the_sounds_whose_posterior_is_known(monkeypatch, tmp_path):
    monkeypatch.setattr(references, "NETWORKS", tmp_path / "none.json")
    one = {"kept": 7, "multiply_adds": 2_000_000, "seconds": 3.2, "ms": 0.5, "acc": 0.9, "nmae": 0.01, "steps": 0.2,
           "median_steps": 0.1, "first_steps": [[0.02] * 4, [0.06] * 4]}  # fmt: skip
    left = {"absolute": [[0.01] * 4, [0.03] * 4], "std": [[0.02] * 4, [0.5] * 4], "accuracy": [[1.0] * 4] * 2}
    results = {"basic, kernel ridge, 3 min": one, "basic, posterior": {"converged": 0.5, "seconds": 1.0, **left}}
    found = tables(json.loads(json.dumps(results)))
    assert "| kernel ridge | 3 | 0.50, 0.75 | 0.50, 0.75 | 0.50, 0.75 | 0.50, 0.75 |" in found
    assert "agreed in 50.0%" in found
    assert "fficiency" not in tables({"basic, kernel ridge, 3 min": one})


def test_posteriors_are_of_the_first_test_sounds(problem, monkeypatch):
    monkeypatch.setattr(references, "N_POSTERIORS", 2)
    found = references.posteriors(problem.recipe, 7)
    expected = posterior(problem.recipe, problem.recipe.values(7, 9))
    np.testing.assert_allclose(found["absolute"], expected.absolute, atol=1e-6)
    assert np.shape(found["std"]) == (2, len(problem.recipe.space.varying))
