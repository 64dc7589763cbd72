import json
from pathlib import Path

import numpy as np
import pytest

from scripts.benchmark_models import config_of, errors, fit_reference
from scripts.pages import between_marks, read_json
from scripts.results_page import (
    EXPERIMENTS,
    GOALS,
    MARKS,
    MOOG,
    OTHERS,
    PAGE,
    README,
    REFERENCES,
    RUNS,
    Entry,
    entries,
    goal,
    spread,
    summary,
    tables,
)
from src.params import ParamSpec
from src.vimh.reader import read_info

RUN = {"seconds": 61.0, "training_sounds": 100, "acc": 0.9, "nmae": 0.01, "steps": 0.1}
HEADS = {"a": {"acc": 0.9, "steps": 0.1}}


def test_every_entry_is_a_row_of_its_own():
    found = list(entries())
    assert len({entry.name for entry in found}) == len(found)


@pytest.mark.slow
def test_every_entry_composes():
    found = list(entries())
    networks = {(entry.set, entry.model, entry.overrides) for entry in found if entry.model not in REFERENCES}
    for name, model, overrides in networks:
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
        f"basic cnn_tiny 3 min, seed {seed}": RUN | {"acc": acc, "heads": {"a": {"acc": acc, "steps": 0.1}}}
        for seed, acc in ((42, 0.90), (43, 0.94))
    }
    text = tables(runs)
    assert "0.920 (0.900–0.940)" in text
    assert "| a | 0.92, 0.10 |" in text
    assert "## envelope" not in text
    assert spread([0.5], 2) == "0.50"


def test_the_synthesis_of_the_set_counts():
    run = RUN | {"acc": 0.95, "seconds": 175.0, "heads": HEADS}
    runs = {"basic cnn_tiny 3 min, seed 42": run, "basic, synthesis": {"seconds": 6.0}}
    assert "| 181 |" in tables(runs)
    assert "reached late" in tables(runs)
    assert "reached late" not in tables(runs | {"basic, synthesis": {"seconds": 4.0}})


def test_sounds_are_counted_as_often_as_the_network_saw_them():
    """Stored ones once an epoch, fresh ones once: of those, the run says how many there were in all."""
    run = RUN | {"epochs": 50, "training_seconds": 100.0, "heads": HEADS}
    runs = {
        "basic cnn_tiny 3 min, seed 42": run | {"training_sounds": 2_000},
        "basic cnn_tiny fresh sounds, 3 min, seed 42": run | {"training_sounds": 60_000},
    }
    text = tables(runs)
    assert "| basic | stored | 2,000 | 1,000 | 100 | 0.900 | 0.0100 |" in text
    assert "| basic | fresh | 60,000 | 600 | 100 | 0.900 | 0.0100 |" in text


def test_every_network_is_on_every_set_beside_every_reference():
    there = {(entry.set, entry.model) for entry in entries()}
    assert there >= {(name, model) for name in EXPERIMENTS for model in (*OTHERS, *REFERENCES)}
    assert there >= {(name, model) for name in MOOG for model in ("conv6", "cnn_64k")}


def test_the_documentation_shows_the_runs_that_are_there():
    runs = read_json(RUNS)
    for path, text in ((PAGE, tables(runs)), (README, summary(runs))):
        page = path.read_text()
        assert between_marks(page, MARKS, text) == page


def test_a_reference_learns_from_the_training_samples_of_the_networks(monkeypatch):
    monkeypatch.setattr(
        "scripts.benchmark_models._neighbours", lambda x, y, x_test, seed: np.tile(y.mean(0), (len(x_test), 1))
    )
    run = fit_reference(Entry("saw small", "5_nearest_neighbours"), 42, 0.0)
    assert run["training_sounds"] == 185
    assert 0.2 < run["nmae"] < 0.3  # the mean of a uniform distribution misses by a quarter of the range


def test_what_needs_no_picture_is_what_training_says_of_it(trained_run, monkeypatch):
    """The most frequent class and the mean, as the table at the end of a training has them."""
    monkeypatch.setattr("scripts.benchmark_models.config_of", lambda entry: trained_run.cfg)
    run = fit_reference(Entry("saw small", "majority_and_mean"), 42, 0.0)
    heads = json.loads((trained_run.run_dir / "results.json").read_text())["heads"]
    for name, head in heads.items():
        assert run["heads"][name] == {
            "acc": pytest.approx(head["majority"]),
            "steps": pytest.approx(head["mean_steps"]),
        }
    for key, of_head in (("acc", "majority"), ("steps", "mean_steps")):
        assert run[key] == pytest.approx(np.mean([head[of_head] for head in heads.values()]))
    specs = read_info(Path(trained_run.cfg.data.data_dir)).parameters
    shares = [heads[spec.name]["mean_steps"] * spec.step / spec.range for spec in specs]
    assert run["nmae"] == pytest.approx(np.mean(shares))


def test_the_table_of_the_readme_is_replaced_and_nothing_else():
    runs = {"basic cnn_tiny 3 min, seed 42": RUN | {"parameters": 8942, "heads": HEADS}}
    readme = f"before\n{MARKS[0]}old\n{MARKS[1]}after\n"
    new = between_marks(readme, MARKS, summary(runs))
    assert new.startswith("before\n")
    assert new.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in new
    assert "| basic | `cnn_tiny` | 8,942 | 61 | 0.900 | 0.100 |" in new
    assert between_marks(new, MARKS, summary(runs)) == new
