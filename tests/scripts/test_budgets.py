import re
from dataclasses import replace

import numpy as np
import pytest

from scripts import budgets, budgets_page
from scripts.budgets import SHARE_TO_TRAIN, finish, overrides_of, planned
from scripts.budgets_page import (
    BUDGETS,
    COMMON,
    GOALS,
    MARKS,
    OTHER_SEED,
    PAGE,
    SIZES,
    STREAM,
    TEST_SEED,
    TUNING_SEED,
    Cell,
    cells,
    draw_errors,
    draw_times,
    row,
    synthesis_key,
    tables,
    trials,
    verdict,
)
from scripts.pages import between_marks, read_json
from scripts.setups import Spent, compose_config, moog_set
from src.errors import NSMError
from src.params import ParameterSpace, ParamSpec

RUN = {
    **{
        "synthesis_seconds": 21.4,
        "run_seconds": 120.0,
        "wall_seconds": 150.0,
        "epochs": 12,
        "different_sounds": 94_372,
        "seen_sounds": 1_132_464,
    },
    **{"acc": 0.97, "nmae": 0.005, "steps": 0.04},
}
HEADLINE = Cell("basic", "cnn_tiny", "131k", 3)


def test_cells_with_goals_come_first_and_no_cell_twice():
    found = list(cells())
    assert len({cell.key for cell in found}) == len(found)
    assert {(cell.set, cell.minutes) for cell in found[: len(GOALS)]} == set(GOALS)


def test_every_budget_is_measured_with_every_source_of_sounds():
    found = {(cell.set, cell.minutes, cell.data) for cell in cells()}
    sources = (*SIZES, STREAM)
    assert found >= {(name, minutes, data) for name in ("basic", "envelope") for minutes in BUDGETS for data in sources}


def test_a_plan_fills_the_time_that_is_left_and_no_more():
    rng = np.random.default_rng(0)
    for left, epoch in rng.uniform((1, 0.5), (900, 200), (200, 2)):
        epochs, share = planned(left, epoch)
        assert 0 < share <= 1
        assert epochs * share * epoch == pytest.approx(SHARE_TO_TRAIN * left)
        assert (epochs - 1) * epoch < left
    assert planned(-1.0, 10.0)[0] == planned(0.0, 10.0)[0] == 0


def test_a_run_that_took_too_long_is_repeated_with_less(monkeypatch):
    lengths = []

    def train(name, overrides):
        (size,) = (int(text.partition("=")[2]) for text in overrides if text.startswith("data.train_size="))
        (epochs,) = (int(text.partition("=")[2]) for text in overrides if text.startswith("trainer.max_epochs="))
        lengths.append(epochs * size)
        return RUN, Spent(20 + 1.3e-4 * epochs * size, 0.0)

    monkeypatch.setattr(budgets, "synthesis_of", lambda cell: 20.0)
    monkeypatch.setattr(budgets, "speed_of", lambda overrides: (1e-4, 0.0))
    monkeypatch.setattr(budgets, "train", train)
    monkeypatch.setattr(budgets, "figures", lambda cell, results, spent: {"run_seconds": spent.core})
    found = budgets.measure(HEADLINE)
    assert len(lengths) == 2
    assert lengths[1] < lengths[0]
    assert 0.9 * 160 < found["run_seconds"] <= 160
    monkeypatch.setattr(budgets, "synthesis_of", lambda cell: 200.0)
    assert "run_seconds" not in budgets.measure(HEADLINE)


def test_no_cell_is_trained_on_a_sound_that_it_is_tested_on():
    for cell in cells():
        assert cell.tests_itself or cell.dataset[1] != COMMON[1]
    assert len({TEST_SEED, OTHER_SEED, TUNING_SEED}) == 3


def test_sets_of_different_seeds_have_no_sound_in_common():
    space = ParameterSpace((ParamSpec("a", 0.0, 1.0, 0.1),))
    one, other = (space.sample(0, 20_000, seed, "uniform") for seed in (TEST_SEED, OTHER_SEED))
    assert not np.isin(one, other).any()


def test_a_cell_names_its_set():
    stored, stream = (
        compose_config("train", *overrides_of(cell), "paths.output_dir=.")
        for cell in (HEADLINE, replace(HEADLINE, data=STREAM))
    )
    assert "_131072dss_" in stored.data.data_dir
    own = [f"dataset.seed={OTHER_SEED}", f"dataset.suffix=seed{OTHER_SEED}"]
    assert list(stored.data.make_dataset.overrides) == ["dataset.size=131072", *own]
    assert stored.data.data_dir.endswith(f"_seed{OTHER_SEED}")
    assert "_16384dss_" in stream.data.data_dir
    assert (stored.data.stream, stream.data.stream) == (False, True)


def test_no_two_trials_are_the_same():
    found = {trial.key: trial.overrides(lambda *which: tuple(map(str, which))) for trial in trials()}
    assert len(set(found.values())) == len(found) == len(list(trials()))
    assert all(f"seed={TUNING_SEED}" in overrides for overrides in found.values())


@pytest.mark.slow
def test_every_cell_and_trial_composes():
    for overrides in [*map(overrides_of, cells()), *(trial.overrides(moog_set) for trial in trials())]:
        assert compose_config("train", *overrides, "paths.output_dir=.").model.net


def test_what_is_done_is_kept_at_once_and_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(budgets_page, "RUNS", tmp_path / "budgets.json")
    monkeypatch.setattr(budgets, "RUNS", tmp_path / "budgets.json")
    monkeypatch.setattr(budgets_page, "TUNING", tmp_path / "tuning.json")
    monkeypatch.setattr(budgets_page, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text("before\n" + "".join(MARKS) + "after\n", encoding="utf-8")
    measured = []

    def measure(cell):
        if len(measured) == 2:
            raise NSMError("stopped")
        measured.append(cell.key)
        return RUN

    first = list(cells())[:3]
    with pytest.raises(NSMError, match="stopped"):
        finish(first, measure, budgets_page.keep, 1)
    assert list(read_json(tmp_path / "budgets.json")) == measured == [cell.key for cell in first[:2]]
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "0.970" in page

    measured.clear()
    monkeypatch.setattr(budgets, "measure", lambda cell: measured.append(cell.key) or RUN)
    monkeypatch.setattr("sys.argv", ["budgets.py", "--only", "|".join(re.escape(cell.key) for cell in first)])
    assert budgets.main() == 0
    assert measured == [first[2].key]


@pytest.mark.parametrize("text", ['{"a": {"acc": 0.9', "[1]"])
def test_a_damaged_file_of_results_is_refused_and_left(tmp_path, monkeypatch, capsys, text):
    path = tmp_path / "budgets.json"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(budgets, "RUNS", path)
    monkeypatch.setattr("sys.argv", ["budgets.py"])
    assert budgets.main() == 1
    message = capsys.readouterr().err
    assert str(path) in message.replace("\n", "")
    assert path.read_text(encoding="utf-8") == text


def test_a_row_says_what_was_reached_missed_not_measured_or_impossible():
    alike = [HEADLINE, replace(HEADLINE, seed=43)]
    runs = {synthesis_key(HEADLINE): {"core_seconds": 21.4}, HEADLINE.key: RUN}
    assert "0.962, 0.0055: reached, 1 seed" in row(alike, runs)
    worse = {**runs, alike[1].key: RUN | {"nmae": 0.0070}}
    assert "0.962, 0.0055: missed, 2 seeds" in row(alike, worse)
    assert verdict(replace(HEADLINE, set="resonance"), [RUN]) == ""
    assert verdict(HEADLINE, [RUN | {"run_seconds": 170.0}]) == "0.962, 0.0055: reached in 191 s, 1 seed"
    assert "not measured yet" in row(alike, {})
    assert "no time left" in row(alike, {**runs, HEADLINE.key: {"synthesis_seconds": 200.0}})


def test_pictures_are_the_same_for_the_same_numbers():
    runs = {HEADLINE.key: RUN, replace(HEADLINE, minutes=15).key: RUN | {"nmae": 0.003}}
    rates = {"basic cnn_tiny": {"step_us": 80.0, "make_us": 150.0}}
    assert draw_errors(runs) == draw_errors(runs)
    assert draw_times(rates) == draw_times(rates)
    assert b"131,072 stored" in draw_errors(runs)
    assert b"basic, cnn_tiny" in draw_times(rates)


def test_the_page_is_what_the_results_say():
    page = PAGE.read_text(encoding="utf-8")
    assert between_marks(page, MARKS, tables(read_json(budgets.RUNS), read_json(budgets.TUNING))) == page
    assert page.count(MARKS[0]) == page.count(MARKS[1]) == 1
