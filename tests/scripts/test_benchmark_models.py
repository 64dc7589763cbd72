import numpy as np
import pytest

from scripts.benchmark_models import (
    GOALS,
    Entry,
    config_of,
    entries,
    errors,
    fit_reference,
    goal,
    page,
    spread,
    with_summary,
)
from src.params import ParamSpec

RUN = {"seconds": 61.0, "training_sounds": 100, "acc": 0.9, "nmae": 0.01, "steps": 0.1}
HEADS = {"a": {"acc": 0.9, "steps": 0.1}}


def test_every_entry_is_a_row_of_its_own():
    found = list(entries())
    assert len({entry.name for entry in found}) == len(found)


@pytest.mark.slow
def test_every_entry_composes():
    found = list(entries())
    networks = {(entry.set, entry.model, entry.overrides) for entry in found if "neighbours" not in entry.model}
    for name, model, overrides in networks:
        if model != "hist_gradient_boosting":
            assert config_of(Entry(name, model, overrides=overrides)).model.net


def test_every_goal_is_measured_with_three_seeds():
    measured = {(entry.model, entry.set) for entry in entries() if len(entry.seeds) == 3}
    assert measured >= {(model, name) for model, goals in GOALS.items() for name in goals}


@pytest.mark.parametrize(
    ("acc", "nmae", "word"), [(0.93, 0.011, "reached"), (0.93, 0.02, "missed"), (0.9, 0.01, "missed")]
)
def test_a_goal_is_reached_by_accuracy_and_error_together(acc, nmae, word):
    entry = next(entry for entry in entries() if entry.name == "basic cnn_tiny 3 min")
    assert goal(entry, [RUN | {"acc": acc, "nmae": nmae}]) == f"0.92, 0.012: {word}, 1 of 3 seeds"


def test_errors_are_those_of_the_metrics():
    parameters = [ParamSpec("a", 0.0, 10.0, 1.0), ParamSpec("b", -1.0, 1.0, 0.5)]
    normalized = np.array([[0.0, 0.5], [0.52, 1.0]])
    truth = {"normalized": np.array([[0.1, 0.5], [0.5, 0.5]]), "index": np.array([[1, 2], [5, 2]])}
    found = errors(normalized, truth, parameters)
    assert found["heads"]["a"] == {"acc": 0.5, "steps": pytest.approx(0.6)}
    assert found["heads"]["b"] == {"acc": 0.5, "steps": pytest.approx(1.0)}
    assert found["acc"] == 0.5
    assert found["nmae"] == pytest.approx((0.06 + 0.25) / 2)
    assert found["steps"] == pytest.approx(0.8)


def test_the_page_shows_the_mean_and_the_range_over_seeds():
    runs = {
        f"basic cnn_tiny 3 min, seed {seed}": RUN | {"acc": acc, "heads": HEADS}
        for seed, acc in ((42, 0.90), (43, 0.94))
    }
    text = page(runs)
    assert "0.920 (0.900–0.940)" in text
    assert "| a | 0.90, 0.10 |" in text
    assert "## envelope" not in text
    assert spread([0.5], 2) == "0.50"


def test_a_reference_learns_from_the_training_samples_of_the_networks(monkeypatch):
    monkeypatch.setattr(
        "scripts.benchmark_models._neighbours", lambda x, y, x_test, seed: np.tile(y.mean(0), (len(x_test), 1))
    )
    run = fit_reference(Entry("saw small", "5_nearest_neighbours"), 42, 0.0)
    assert run["training_sounds"] == 185
    assert 0.2 < run["nmae"] < 0.3  # the mean of a uniform distribution misses by a quarter of the range


def test_the_table_of_the_readme_is_replaced_and_nothing_else():
    runs = {"basic cnn_tiny 3 min, seed 42": RUN | {"parameters": 8942, "heads": HEADS}}
    readme = "before\n<!-- results: made by scripts/benchmark_models.py -->\nold\n<!-- end of results -->\nafter\n"
    new = with_summary(readme, runs)
    assert new.startswith("before\n")
    assert new.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in new
    assert "| basic | cnn_tiny | 8,942 | 61 | 0.900 | 0.0100 | 0.100 | 1 |" in new
    assert with_summary(new, runs) == new
