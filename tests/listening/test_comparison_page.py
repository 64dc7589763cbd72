import html
import math
import re
from dataclasses import replace

import pytest
from comparisons import LABELS, make_comparison
from reports import HOSTILE

from src.evaluation.comparison import MEAN, PairedDifference
from src.listening.comparison import (
    MOST_POINTS,
    chart,
    charts,
    error_table,
    log_ticks,
    pair_sentence,
    render_comparison,
    thinned,
    verdict,
)


@pytest.fixture(scope="module")
def comparison():
    return make_comparison()


def difference(mean, low, high, better=0.5, n_sounds=100):
    return PairedDifference(MEAN, "steps", mean, low, high, n_sounds, better)


def test_the_page_is_one_file_that_loads_nothing_and_escapes_what_it_is_given(comparison):
    page = render_comparison(comparison)
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert HOSTILE not in page
    assert "://" not in page


def test_the_page_is_the_same_every_time(comparison):
    assert render_comparison(comparison) == render_comparison(comparison)


def test_the_verdict_names_the_nearest_and_its_rival(comparison):
    said = verdict(comparison)
    assert said.startswith(f"{LABELS[0]} is nearest to the truth: ")
    assert f"less than {LABELS[1]} on the same 120 sounds (95 %: " in said


def test_the_verdict_does_not_decide_what_the_interval_does_not(comparison):
    pairs = [replace(pair, differences=[difference(0.1, -0.1, 0.3)]) for pair in comparison.pairs]
    said = verdict(replace(comparison, pairs=pairs))
    assert "cannot be told apart: their difference is within −0.100 to 0.300 (95 %)" in said


def test_different_sounds_are_not_judged(comparison):
    assert "cannot be compared sound by sound" in verdict(replace(comparison, pairs=[]))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (difference(-0.2, -0.3, -0.1, 0.9), "b less a: −0.200 steps (95 %: −0.300 to −0.100); b is nearer. b is the"),
        (difference(0.2, 0.1, 0.3, 0.2), "a is nearer. b is the nearer one on 20 % of 100 sounds."),
        (difference(0.0, -0.1, 0.1), "this does not tell which is nearer"),
        (difference(None, None, None, None, 0), "a and b have no sound in common on which a parameter acts."),
    ],
)
def test_a_difference_in_words(found, words):
    assert words in pair_sentence(found, "a", "b")


def test_the_smallest_error_of_a_row_is_marked(comparison):
    for row in error_table(comparison.runs):
        assert [cell["least"] for cell in row["cells"]] == [True, False, False]
        for cell in row["cells"]:
            mean, low, high = cell["places"]
            assert 0 <= low <= mean <= high <= 100


def test_a_head_that_only_one_run_has_stands_alone(comparison):
    first = replace(comparison.runs[0], errors=[replace(e, head="own") for e in comparison.runs[0].errors[1:2]])
    rows = error_table([first, comparison.runs[1]])
    assert [row["head"] for row in rows] == ["own", "mean of the heads", "filter_cutoff", "log10_decay_time", "wave"]
    assert rows[0]["cells"][1] is None


# ----- curves


def points_of(path):
    return [tuple(map(float, point.split())) for point in path.removeprefix("M").split("L")]


def test_lines_lie_within_their_frame_and_fall_as_the_figures_do(comparison):
    drawn = charts(comparison.runs)
    assert [one["figure"] for one in drawn] == ["loss", "steps", "acc"]
    for one in drawn:
        assert len(one["lines"]) == 6
        frame = one["frame"]
        for line in one["lines"]:
            points = points_of(line["path"])
            assert all(frame["left"] <= x <= frame["right"] and frame["top"] <= y <= frame["bottom"] for x, y in points)
            assert [y for _, y in points] == sorted(y for _, y in points)  # y grows downwards


def test_a_logarithmic_chart_draws_ratios_as_distances(comparison):
    curves = {"val/steps": [(0, 1.0), (1, 0.1), (2, 0.01), (3, 0.0), (4, -1.0)]}
    run = replace(comparison.runs[0], curves=curves)
    (line,) = chart([run], "steps", "Error", True)["lines"]
    (_, a), (_, b), (_, c) = points_of(line["path"])
    assert b - a == pytest.approx(c - b, abs=0.11)


def test_a_single_point_is_a_dot_and_no_curve_no_chart(comparison):
    run = replace(comparison.runs[0], curves={"val/loss": [(6, 2.5)]})
    (only,) = charts([run])
    assert only["lines"][0]["path"].endswith("h0")
    assert charts([replace(run, curves={})]) == []


def test_long_lines_are_thinned_and_keep_their_ends():
    points = [(step, float(step)) for step in range(100_001)]
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS + 1
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert thinned(points[:3]) == points[:3]


@pytest.mark.parametrize(("low", "high"), [(-2, 1), (-1.5, 0.3), (0.1, 0.2), (-6, 6)])
def test_logarithmic_ticks_are_where_their_texts_say(low, high):
    found = log_ticks(low, high)
    assert found
    for place, text in found:
        assert low <= place <= high
        assert math.log10(float(text)) == pytest.approx(place, abs=0.01)


def test_without_sounds_there_is_no_player():
    page = render_comparison(make_comparison(2, sounds=False))
    assert 'id="player"' not in page
    assert "There is nothing to hear" in page
