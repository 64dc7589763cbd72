"""A search with Optuna: some of its trials fail, some diverge, and a second call continues the study."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
LR, VAL_FRACTION = "model.optimizer.lr", "data.val_fraction"
# Choices are stored by their numbers. The second of each is a bad one.
CHOICES = {LR: "choice(0.005,1e30)", VAL_FRACTION: "choice(0.2,2)"}

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}

pytestmark = pytest.mark.slow


@pytest.fixture
def search(saw_dir, tmp_path):
    """Calls the program for some trials of a tiny search; returns its output and the study's trials."""

    def run(n_trials, sampler_seed, *more, expected_code=0):
        overrides = [
            "hparams_search=optuna",
            "experiment=example",
            "model=cnn_micro",
            f"hydra.sweeper.n_trials={n_trials}",
            f"hydra.sweeper.sampler.seed={sampler_seed}",
            *(f"{name}={choices}" for name, choices in CHOICES.items()),
            f"data.data_dir={saw_dir}",
            "data.make_dataset=null",
            "trainer.max_epochs=1",
            "trainer.accelerator=cpu",
            "callbacks=none",
            "logger=none",
            "extras.print_config=false",
            f"paths.log_dir={tmp_path / 'logs'}",
            *more,
        ]
        done = subprocess.run(
            [sys.executable, str(ROOT / "src" / "train.py"), "-m", *overrides],
            cwd=tmp_path,
            env={**ENVIRONMENT, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == expected_code, done.stdout + done.stderr
        return done.stdout + done.stderr, trials_of(tmp_path / "logs" / "optuna" / "studies.db")

    return run


def trials_of(database):
    """State, value and parameters of every trial; none without a database."""
    if not database.is_file():
        return []
    with sqlite3.connect(database) as connection:
        states = connection.execute("select trial_id, state from trials order by number").fetchall()
        values = dict(connection.execute("select trial_id, value from trial_values"))
        rows = connection.execute("select trial_id, param_name, param_value from trial_params").fetchall()
    params = {trial: {name: value for found, name, value in rows if found == trial} for trial, _ in states}
    return [(state, values.get(trial), params[trial]) for trial, state in states]


def test_a_search_survives_its_trials_and_goes_on(search, tmp_path):
    out, trials = search(n_trials=4, sampler_seed=16)
    kinds = [(params[LR], params[VAL_FRACTION]) for _, _, params in trials]
    assert {(0, 0), (1, 0)} <= set(kinds), kinds
    assert {val_fraction for _, val_fraction in kinds} == {0, 1}
    assert [state for state, _, _ in trials] == ["FAIL" if any(kind) else "COMPLETE" for kind in kinds]
    assert "val/steps is nan: the training diverged" in out
    assert "data.val_fraction is 2" in out
    assert "Traceback" not in out
    (found,) = tmp_path.glob("logs/train/multiruns/example/*/optimization_results.yaml")
    assert OmegaConf.load(found).best_value == min(value for _, value, _ in trials if value is not None)

    _, more = search(n_trials=1, sampler_seed=5)
    assert len(more) == 5
    assert more[:4] == trials


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([f"{VAL_FRACTION}=choice(2,3)"], "data.val_fraction is"),
        (
            [f"{VAL_FRACTION}=0.2", "optimized_metric=val/los"],
            "optimized_metric=val/los: no such metric. This run has: ",
        ),
    ],
    ids=["setting", "metric"],
)
def test_a_search_without_any_success_is_one_message(search, bad, reason):
    out, trials = search(2, 1, *bad, f"{LR}=choice(0.005,0.01)", expected_code=1)
    assert [state for state, _, _ in trials] == ["FAIL", "FAIL"]
    assert "Traceback" not in out
    assert reason in out
    assert out.count("No trial of this search has succeeded") == 1


def test_a_search_that_has_no_place_is_one_message(search, tmp_path):
    (tmp_path / "logs").touch()
    out, trials = search(1, 1, expected_code=1)
    assert trials == []
    assert "Traceback" not in out
    assert out.count("Not a directory") == 1
