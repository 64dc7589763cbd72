import json
import subprocess
import sys

import numpy as np
import pytest

from scripts.pages import read_json
from scripts.robustness import (
    CHAIN,
    COLUMNS,
    KINDS,
    MARKS,
    MODELS,
    PAGE,
    RESULTS,
    ROOT,
    cell_text,
    cells,
    figures,
    goals,
    overrides_of,
    perturbation_of,
    perturbed_images,
    tables,
    write_page,
)
from src.params import ParamSpec

GENERATOR = "synth/generate_moog_basic"


@pytest.fixture(scope="module")
def clean(recipe_of):
    return recipe_of("dataset.size=40", "dataset.duration=0.5", config_name=GENERATOR)


def measured(steps=0.1, coverage=0.9):
    entry = {"steps": steps, "coverage": coverage, "edge": 0.02, "heads": {"note_velocity": 1.0, "cutoff": 2 * steps}}
    return {"columns": {column: dict(entry) for column in (*COLUMNS, CHAIN)}}


def test_every_set_is_trained_in_every_way_and_basic_three_times():
    found = list(cells())
    assert len({cell.key for cell in found}) == len(found)
    for name in MODELS:
        for kind in KINDS:
            assert sum((cell.set, cell.kind) == (name, kind) for cell in found) == (3 if name == "basic" else 1)
    assert [cell.key for cell in found[:2]] == ["basic, recording, seed 42", "basic, clean, seed 42"]


def test_a_cell_trains_on_a_set_of_its_own_kind(tmp_path):
    recording, clean, *_ = (overrides_of(cell, 512, tmp_path) for cell in cells())
    assert any("perturb=recording" in text for text in recording) and not any("perturb" in text for text in clean)
    places = [next(text for text in found if text.startswith("data.data_dir")) for found in (recording, clean)]
    assert "_recording" in places[0] and "_recording" not in places[1]


@pytest.mark.parametrize("column", [*COLUMNS, CHAIN])
def test_every_column_changes_the_same_sounds_and_one_of_them_nothing(clean, column):
    image, spec_range = perturbed_images(clean, column, 32, 36)
    own = clean.make(32, 36)
    assert image.shape == own.image.shape and np.isfinite(spec_range).all()
    np.testing.assert_array_equal(perturbed_images(clean, column, 33, 35)[0], image[1:3])
    is_same = (image == own.image).all() and (spec_range == own.spec_range).all()
    assert is_same == (column == "none")


def test_a_column_is_what_its_name_says(clean):
    noise = perturbation_of(clean, {COLUMNS["SNR 20 dB"][0]: COLUMNS["SNR 20 dB"][1]})
    assert (noise.draws(0, 9, 1)["noise"].value["ratio"] == 20).all()
    room = perturbation_of(clean, {"room": COLUMNS["room 0.2 s"][1]}).draws(0, 9, 1)["room"].value
    assert (room["rt60"] == np.float32(0.2)).all() and room["direct_ratio"].min() >= 3


def test_figures_count_steps_coverage_and_edges():
    specs = [ParamSpec("a", 0.0, 10.0, 1.0), ParamSpec("b", 0.0, 1.0, 0.1)]
    true = np.array([[5.0, 0.5], [9.0, 0.5]])
    found = np.array([[6.0, 0.5], [10.0, 0.5]])
    result = figures(found, np.full((2, 2), 0.5), true, specs, np.ones((2, 2), dtype=bool))
    assert result["heads"] == {"a": 1.0, "b": 0.0}
    assert result["steps"] == 0.5 and result["coverage"] == 0.5 and result["edge"] == 0.25
    half = figures(found, np.full((2, 2), 0.5), true, specs, np.array([[True, True], [False, True]]))
    assert half["edge"] == 0


def test_the_page_says_what_is_not_measured():
    assert goals({}) == ["The goals are not measured yet."]
    assert tables({}).count("not measured yet") == len(MODELS) * len(KINDS) * (len(COLUMNS) + 1)
    assert cell_text([measured(0.1), measured(0.3)], "none") == "0.200 ± 0.141 (0.400), 90%, 2.0%"


def test_goals_are_held_to_the_clean_error():
    results = {"basic, clean, seed 42": measured(0.1), "basic, recording, seed 42": measured(0.115)}
    results["basic, recording, seed 42"]["columns"]["room 1 s"]["coverage"] = 0.8
    *_, row = goals(results)
    assert row == "| basic | 1.15 (1.15) | 1.15 (1.15) | 1.15 (1.15) | room 1 s 0.80 |"
    results["basic, recording, seed 42"]["columns"]["room 1 s"]["coverage"] = 0.9
    assert goals(results)[-1].endswith("| nowhere |")


def test_the_page_is_what_the_results_say(tmp_path):
    page = tmp_path / PAGE.name
    page.write_bytes(PAGE.read_bytes())
    write_page(read_json(RESULTS), page)
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    assert all(page.read_text(encoding="utf-8").count(mark) == 1 for mark in MARKS)


@pytest.mark.slow
def test_a_cell_is_measured_once(tmp_path):
    results = tmp_path / "robustness.json"
    command = [sys.executable, "scripts/robustness.py", "--budget", "1", "--size", "64", "--sounds", "8"]
    command += ["--only", "basic, recording, seed 42", "--data", str(tmp_path), "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    first = results.read_text()
    (cell,) = json.loads(first).values()
    assert set(cell["columns"]) == {*COLUMNS, CHAIN} and cell["test_sounds"] == 8
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert "of 1" not in again.stdout and results.read_text() == first
