import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_runs_table import record

from scripts.compare import main
from src.evaluation.comparison import MEAN
from src.runs import ChosenRun
from src.tasks.compare import labels_of, sounds_key


@pytest.fixture(scope="module")
def compared(trained_run, saw_dir, tmp_path_factory):
    """The two checkpoints of the trained run, beside each other."""
    output = tmp_path_factory.mktemp("compare")
    checkpoints = [str(trained_run.run_dir / "checkpoints" / name) for name in ("epoch_000.ckpt", "last.ckpt")]
    assert main([*checkpoints, "--output", str(output), "--sounds", "3", "--log-dir", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def figures(compared):
    with (compared / "figures.csv").open() as file:
        return {(row["run"], row["against"], row["head"]): row for row in csv.DictReader(file)}


A, B = "A epoch_000", "B last"


def test_errors_are_those_of_the_test(figures, trained_run):
    heads = json.loads((trained_run.run_dir / "results.json").read_text())["heads"]
    for name, row in heads.items():
        assert float(figures[A, "", name]["mean"]) == pytest.approx(row["steps"], rel=1e-3)
    assert {row["sounds"] for row in figures.values()} == {"13"}


def test_differences_are_those_of_the_means_and_within_their_intervals(figures):
    for head in (MEAN, "note_velocity", "log10_decay_time"):
        own = [float(figures[name, "", head]["mean"]) for name in (A, B)]
        row = figures[B, A, head]
        assert float(row["mean"]) == pytest.approx(own[1] - own[0], rel=1e-6, abs=1e-9)
        assert float(row["low"]) <= float(row["mean"]) <= float(row["high"])
        assert 0 <= float(row["nearer"]) <= 1


def test_the_page_has_curves_sounds_and_cost(compared):
    page = (compared / "index.html").read_text()
    assert "Error in grid steps" in page
    assert "Multiply-adds per sound" in page
    assert page.count("<tr data-sound=") == 3
    assert "://" not in page


def test_the_terminal_shows_figures_and_paths_within_80_columns(trained_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    checkpoints = [str(trained_run.run_dir / "checkpoints" / name) for name in ("epoch_000.ckpt", "last.ckpt")]
    assert main([*checkpoints, "--sounds", "1", "--log-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (output,) = (tmp_path / "compare").iterdir()
    assert lines[-2:] == [f"Page:    {output / 'index.html'}", f"Figures: {output / 'figures.csv'}"]
    assert max(map(len, lines[:-2])) <= 80
    assert any(line.startswith(B) and " to " in line for line in lines)


# ----- refusals


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ([], ["No runs named", "make compare RUNS="]),
        (["best"], ["1 run named"]),
        (["x"] * 7, ["7 runs named", "two to 6"]),
        (["best", "last"], ["no run has a checkpoint", "make ex"]),
        (["a", "b", "--sounds", "0"], ["--sounds is 0"]),
        (["a", "b", "--seed", "-1"], ["--seed is -1"]),
        ([__file__, __file__], ["are the same"]),
        ([__file__, str(Path(__file__).with_name("test_curves.py"))], ["is not a checkpoint"]),
    ],
)
def test_what_cannot_be_compared_is_one_clear_message(tmp_path, capsys, arguments, facts):
    assert main([*arguments, "--log-dir", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    for fact in facts:
        assert fact in error
    assert not (tmp_path / "compare").exists()


# ----- names and sounds


def chosen(*records):
    return [ChosenRun(Path(f"/{number}/epoch_{number:03}.ckpt"), "", run) for number, run in enumerate(records)]


def test_labels_are_the_shortest_that_tell_runs_apart():
    a = record(1)
    assert labels_of(chosen(a, replace(a, experiment="vit"))) == ["cnn", "vit"]
    assert labels_of(chosen(a, replace(a, network="vit_tiny"))) == ["cnn_64k", "vit_tiny"]
    assert labels_of(chosen(a, replace(a, loss="gaussian"))) == ["soft_target", "gaussian"]
    assert labels_of(chosen(a, record(2))) == ["2026-01-01_00-00-00", "2026-01-02_00-00-00"]
    assert labels_of(chosen(a, replace(a, name="x/2026-01-01_00-00-00"))) == [a.name, "x/2026-01-01_00-00-00"]
    assert labels_of(chosen(a, a)) == ["A epoch_000", "B epoch_001"]
    assert labels_of(chosen(a, None)) == ["A epoch_000", "B epoch_001"]
    assert labels_of(chosen(a, replace(a, experiment="\x1b[31m")))[1] == r"\x1b[31m"


def test_sounds_are_the_same_whatever_the_representation(recipe_of):
    recipe = recipe_of("dataset.size=8")
    value = recipe.values(0, 8)
    key = sounds_key(recipe.info("a"), value)
    assert sounds_key(recipe_of("dataset.size=8", "representation=mel").info("b"), value) == key
    assert sounds_key(recipe_of("dataset.size=8", "dataset.duration=0.5").info("a"), value) != key
    assert sounds_key(recipe.info("a"), value[::-1]) != key
