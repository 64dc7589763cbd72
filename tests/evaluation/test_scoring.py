import csv
import io

import numpy as np
import pytest

from src.evaluation import scoring
from src.evaluation.audio_metrics import METRICS
from src.evaluation.estimates import Estimate
from src.evaluation.scoring import Scores, score, scores_csv, spread
from src.params import ParamSpec

SPECS = (ParamSpec("a", -2.0, 0.3, 0.1), ParamSpec("b", 64, 127, 7))


@pytest.fixture(scope="module")
def recipe(recipe_of):
    return recipe_of("dataset.size=32")


def test_identical_parameters_are_the_best_of_everything(recipe):
    value = recipe.values(0, 4)
    scores = score(Estimate("truth", value.astype(np.float64)), recipe, value)
    for metric in METRICS:
        np.testing.assert_allclose(scores.metrics[metric.name], metric.best, atol=1e-9, err_msg=metric.name)
    assert (scores.errors == 0).all()


def test_errors_are_absolute_and_blocks_change_nothing(recipe, monkeypatch):
    value = recipe.values(0, 5)
    estimate = Estimate("other", np.roll(value, 1, axis=0).astype(np.float64))
    done = []
    whole = score(estimate, recipe, value)
    monkeypatch.setattr(scoring, "SOUNDS_A_THREAD", 2)
    monkeypatch.setattr(scoring.numba, "get_num_threads", lambda: 1)
    pieces = score(estimate, recipe, value, done.append)
    assert done == [2, 2, 1]
    np.testing.assert_array_equal(pieces.errors, np.abs(estimate.value - value))
    for name, values in whole.metrics.items():
        np.testing.assert_allclose(pieces.metrics[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("n_sounds", "wanted"), [(5, 3), (100, 24), (3, 24), (1, 1), (24, 24), (7, 2)])
def test_the_best_the_worst_and_others_between_are_listened_to(n_sounds, wanted):
    metric = np.random.default_rng(0).normal(size=n_sounds)
    chosen = spread(metric, wanted)
    assert len(set(chosen)) == len(chosen) == min(wanted, n_sounds)
    assert chosen[0] == metric.argmin()
    assert chosen[-1] == metric.argmax() or wanted == 1
    assert (np.diff(metric[chosen]) >= 0).all()
    assert min(wanted, n_sounds) < 3 or np.sort(metric)[(n_sounds - 1) // 2] in metric[chosen]  # the median


def test_the_table_has_a_row_per_sound_and_estimate():
    true = np.array([[-1.0, 90.0], [-0.5, 100.0]])
    estimates = [
        Estimate("refined", true + 0.1, np.full(true.shape, 0.01), {"residual": np.array([1.0, 2.0])}),
        Estimate("mean", true + 0.2),
    ]
    scores = [
        Scores(estimate.name, {"mss": np.array([0.25, 1 / 3])}, np.abs(estimate.value - true)) for estimate in estimates
    ]
    rows = list(csv.DictReader(io.StringIO(scores_csv(estimates, scores, true, SPECS))))
    assert [(row["sound"], row["answer"]) for row in rows] == [
        (number, name) for number in ("0", "1") for name in ("refined", "mean")
    ]
    assert float(rows[2]["mss"]) == pytest.approx(1 / 3)
    assert [float(rows[3][f"b_{kind}"]) for kind in ("true", "value", "error")] == pytest.approx([100.0, 100.2, 0.2])
    assert [row["a_std"] for row in rows] == ["0.01", "", "0.01", ""]
    assert [row["residual"] for row in rows] == ["1", "", "2", ""]
