"""The campaign counts what held and what fell, and can repeat a try."""

import pytest

from scripts.campaign import Result, choose_rows, jobs_of, make_try, page_with
from scripts.faults.rows import ROWS, Row, expect
from src.errors import ConfigError


def row(attempt, **settings):
    return Row("a row", "a law", 100, 1.0, attempt, **settings)


def fall(case):
    (case.place / "left").touch()
    expect(False, f"drew {case.rng.integers(10**9)}")


def test_what_holds_leaves_nothing(tmp_path):
    assert make_try(row(lambda case: expect(case.place.is_dir(), "no place")), 3, None, 1, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_falls_is_kept_and_the_same_every_time(tmp_path):
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        found.append(make_try(row(fall), 3, None, 1, tmp_path / name).splitlines()[-1])
        assert (tmp_path / name / "a_row_3" / "left").exists()
    assert found[0] == found[1]
    (tmp_path / "third").mkdir()
    assert make_try(row(fall), 4, None, 1, tmp_path / "third").splitlines()[-1] != found[0]


@pytest.mark.parametrize(("scale", "grows", "n_tries"), [(0.1, True, 10), (1e-9, True, 2), (0.1, False, 100)])
def test_rows_grow_with_the_scale_unless_they_are_whole(scale, grows, n_tries):
    numbers = [number for _, number in jobs_of([row(fall, grows=grows)], scale, {})]
    assert numbers == list(range(n_tries))


def test_one_try_can_be_repeated():
    rows, numbers = choose_rows("kills of a training:17")
    assert [(found.name, number) for found, number in jobs_of(rows, 1.0, numbers)] == [("kills of a training", 17)]
    with pytest.raises(ConfigError, match="'nonsense': is no row; there are: damaged datasets"):
        choose_rows("nonsense")


def test_the_page_says_what_fell():
    page = page_with(
        {ROWS[0].name: Result(10_000, 1)}, "Seed 1.", "<!-- campaign: made by scripts/campaign.py -->\n<!-- end -->"
    )
    assert f"| {ROWS[0].name} | {ROWS[0].law} | 10,000 | 9,999 | 1 |" in page
