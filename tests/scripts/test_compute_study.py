"""Error over computation: what a point of a curve is, how factors follow from curves, and that a cell runs."""

import itertools
import math

import numpy as np
import pytest
import torch

from scripts import compute_page, compute_study
from scripts.compute_page import cost_of, curve, factors, operations, seconds, write_page
from scripts.compute_study import (
    BATCH_SIZE,
    CLAIM,
    OTHERS,
    RATES,
    SEEDS,
    TUNING_SEEDS,
    TUNING_SIZE,
    Arm,
    Cell,
    Learner,
    Sounds,
    advance,
    arms,
    cells,
    constant,
    falling,
    measure,
)
from src.errors import NSMError


@pytest.fixture
def brief(monkeypatch):
    """Points of some steps, and few sounds."""
    monkeypatch.setattr(compute_study, "N_TEST", 32)
    monkeypatch.setattr(compute_study, "N_VAL", 16)
    monkeypatch.setattr(compute_study, "BLOCK", BATCH_SIZE)
    monkeypatch.setattr(compute_study, "POINTS", (0.02, 0.05, 0.06))


def results_of(*runs):
    """Cells with curves of (seconds, error), by arbitrary keys."""
    return {
        str(number): {
            "set": "basic",
            "representation": representation,
            "model": "cnn_tiny",
            "sounds": sounds,
            "seeds": list(seeds),
            "multiply_adds": 7,
            "picture_multiply_adds": 3,
            "rate": 0.01,
            "points": [
                {"seconds": spent - 1, "making": 1.0, "error": error, "seen": 1280, "sounds": 10, "validation": error}
                for spent, error in points
            ],
        }
        for number, (representation, sounds, seeds, points) in enumerate(runs)
    }


def test_every_cell_has_a_name_of_its_own_and_comes_after_the_trials_of_its_arm():
    keys = [cell.key for cell in cells()]
    assert len(keys) == len(set(keys))
    tried = set()
    for cell in cells():
        if cell.rate is None:
            assert {(cell.arm.key, rate) for rate in RATES} <= tried
        else:
            assert (cell.size, cell.seeds) == (TUNING_SIZE, TUNING_SEEDS)
            tried.add((cell.arm.key, cell.rate))


def test_what_the_issue_names_is_there_with_two_seeds_each_of_sounds_and_training():
    trained = {(cell.arm.set, cell.arm.representation.name, cell.size, cell.seeds) for cell in cells() if not cell.rate}
    for size, seeds in itertools.product((1_024, 16_384, 131_072, None), SEEDS):
        assert {("envelope", name, size, seeds) for name in CLAIM} <= trained
        others = [name for name in OTHERS if (name, size) != ("bit stream", 131_072)]
        assert {("basic", name, size, seeds) for name in (*CLAIM, *others)} <= trained
    assert [len({seeds[which] for seeds in SEEDS}) for which in (0, 1)] == [2, 2]
    assert not {seeds[0] for seeds in SEEDS} & {TUNING_SEEDS[0]}


def test_the_rate_rises_stays_and_falls_to_nothing():
    assert list(constant(0.1, 0, 60))[:2] == pytest.approx([0.002, 0.004])
    assert set(constant(0.1, 50, 60)) == {0.1}
    rates = list(falling(0.1, 16))
    assert rates == pytest.approx([0.1 * (1 - math.sqrt(step / 16)) for step in range(1, 17)])
    assert rates[-1] == 0


def test_stored_and_fresh_sounds_are_the_same_ones_and_all_arms_have_the_same(brief):
    arm, other = Arm("basic", *first_of(0)), Arm("basic", *first_of(2))
    stored, fresh, samples = (
        Sounds(Cell(each, size, SEEDS[0]))
        for each, size in ((arm, 2 * BATCH_SIZE), (arm, None), (other, 2 * BATCH_SIZE))
    )
    again = fresh.batches()
    first, second = next(again), next(again)
    assert torch.equal(torch.cat([first["image"], second["image"]]), stored.first["image"])
    assert torch.equal(samples.first["value"], stored.first["value"])
    assert torch.equal(samples.test["value"], stored.test["value"])
    every = [stored.test["value"], stored.val["value"], stored.first["value"]]
    assert len(torch.cat(every).unique(dim=0)) == sum(map(len, every))


def first_of(number):
    """Representation and network of an arm of the claim."""
    arm = arms("basic", CLAIM)[number]
    return arm.representation, arm.model


def test_an_epoch_of_stored_sounds_shows_each_of_them_once(brief):
    sounds = Sounds(Cell(Arm("basic", *first_of(0)), 3 * BATCH_SIZE, SEEDS[0]))
    batches = sounds.batches()
    epochs = [torch.cat([next(batches)["value"] for _ in range(3)]) for _ in range(2)]
    for epoch in epochs:
        assert len(epoch.unique(dim=0)) == 3 * BATCH_SIZE
    assert not torch.equal(*epochs)


def test_a_copy_trains_on_as_what_it_was_copied_from(brief):
    torch.manual_seed(0)
    cell = Cell(Arm("basic", *first_of(0)), BATCH_SIZE, SEEDS[0])
    sounds = Sounds(cell)
    module = compute_study.build_model(cell.arm.config(), sounds.info, sounds.aux_statistics())
    one = Learner(module, module.make_optimizer(params=module.parameters()))
    batch = sounds.first
    advance(one, iter([batch] * 3), iter([0.01] * 3))
    other = Learner(*compute_study.copy.deepcopy(tuple(one)))
    before = [weight.clone() for weight in one.module.parameters()]
    advance(other, iter([batch] * 2), iter([0.01, 0.005]))
    assert all(map(torch.equal, before, one.module.parameters()))
    advance(one, iter([batch] * 2), iter([0.01, 0.005]))
    assert all(map(torch.equal, other.module.parameters(), one.module.parameters()))


def test_a_cell_runs_with_the_rate_of_its_trials(brief, monkeypatch):
    arm = Arm("basic", *first_of(0))
    cell = Cell(arm, None, SEEDS[0])
    with pytest.raises(NSMError, match=r"is not known before trial: basic, log-mel, cnn_tiny, rate 0\.01"):
        measure(cell, {})
    results = {
        Cell(arm, TUNING_SIZE, TUNING_SEEDS, rate).key: {"points": [{"validation": abs(rate - 0.02)}], "step_us": 40.0}
        for rate in RATES
    }
    monkeypatch.setattr(compute_study, "STANDS_STILL", -math.inf)
    found = measure(cell, results)
    assert found["rate"] == 0.02
    assert [point["steps"] for point in found["points"]] == [4, 10, 12]
    assert [point["seen"] for point in found["points"]] == [4 * BATCH_SIZE, 10 * BATCH_SIZE, 12 * BATCH_SIZE]
    assert [point["sounds"] for point in found["points"]] == [point["seen"] for point in found["points"]]
    assert all(0 <= point["acc"] <= 1 and point["error"] > 0 for point in found["points"])
    monkeypatch.setattr(compute_study, "STANDS_STILL", math.inf)
    assert len(measure(cell, results)["points"]) == 2  # the second point gained too little over the first


def test_cost_between_points_is_straight_in_logarithms():
    points = [(10.0, 1.0), (1000.0, 0.01)]
    assert cost_of(0.1, points) == pytest.approx(100.0)
    assert cost_of(2.0, points) == 10.0
    assert cost_of(0.01, points) == pytest.approx(1000.0)
    assert cost_of(0.009, points) == math.inf


@pytest.mark.parametrize("slower", [1.0, 3.0, 20.0])
def test_what_is_so_many_times_slower_has_that_factor(slower):
    law = [(t, 1 / np.sqrt(t)) for t in (30.0, 100.0, 1000.0)]
    both = results_of(
        ("log-mel", None, (6, 42), law), ("waveform", None, (6, 42), [(slower * t, error) for t, error in law])
    )
    ((value, bound),) = factors(both, "basic", None, "waveform")
    assert (value, bound) == (pytest.approx(slower), "")


def test_a_factor_beyond_the_first_point_is_a_bound():
    ahead, behind = [(30.0, 0.1), (100.0, 0.05)], [(30.0, 0.9), (300.0, 0.2)]
    assert factors(
        results_of(("log-mel", 16, (6, 42), ahead), ("waveform", 16, (6, 42), behind)), "basic", 16, "waveform"
    ) == [(10.0, "at least")]
    assert factors(
        results_of(("log-mel", 16, (6, 42), behind), ("waveform", 16, (6, 42), ahead)), "basic", 16, "waveform"
    ) == [(pytest.approx(0.1), "at most")]


def test_validation_sounds_choose_the_points_of_a_curve_and_its_costs_are_those_of_steps_and_sounds():
    (run,) = results_of(("log-mel", 16, (6, 42), [(30.0, 0.2), (75.0, 0.3), (190.0, 0.1)])).values()
    run["points"][2]["validation"] = 0.4
    assert curve(run, seconds) == [(30.0, 0.2), (75.0, 0.2), (190.0, 0.2)]
    assert operations(run, run["points"][0]) == (1280 * 3 * 7 + 10 * 3) / 1e9


def test_the_page_has_every_table_and_what_was_written_around_them_stays(tmp_path):
    page = tmp_path / "compute.md"
    page.write_text("before\n" + "".join(compute_page.MARKS) + "after\n")
    runs = results_of(
        *(("log-mel", size, (6, 42), [(30.0, 0.2), (75.0, 0.1)]) for size in (1_024, None)),
        ("waveform", None, (6, 42), [(30.0, 0.5), (75.0, 0.2)]),
    )
    trial = {"trial: a": results_of(("log-mel", 16, (7, 1), [(30.0, 0.25)]))["0"]}
    write_page(runs | trial, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| log-mel, `cnn_tiny` | 0.100 in 75 s | 0.100 in 75 s |" in text
    assert "| basic | waveform | fresh sounds | at least 2.5 | 1 |" in text
    assert "| basic, log-mel, `cnn_tiny` | 0.250 | 0.01 |" in text
    assert (page.parent / "compute_seconds.svg").read_text().count("<svg") == 1
    write_page({}, page)


def test_the_page_shows_the_cells_that_are_there(tmp_path):
    copy = tmp_path / compute_page.PAGE.name
    copy.write_text(compute_page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    write_page(compute_study.read_json(compute_page.RESULTS), copy)
    assert copy.read_text(encoding="utf-8") == compute_page.PAGE.read_text(encoding="utf-8")
