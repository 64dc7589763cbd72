"""The trackers beside, on tones of known pitch, and the tables of pitch and families."""

import json
import math

import numpy as np
import pytest

from scripts import families
from scripts.families import HELD_OUT, TRIALS, accuracy, confusion_table, trials
from scripts.families import cells as family_cells
from scripts.families import tables as family_tables
from scripts.pages import read_json
from scripts.peers import (
    CONDITIONS,
    FONTS,
    MARKS,
    NETWORKS,
    PAGE,
    RESULTS,
    SEEDS,
    Cell,
    Row,
    bits,
    blocks,
    cells,
    cents,
    figures,
    main,
    overrides_of,
    share_text,
    tables,
    unread,
)
from scripts.trackers import TRACKERS, dip, weighted_median, yin
from src.synth.general_midi import FAMILIES, VARIANTS

RATE = 16_000


def harmonic_tone(f0, n_harmonics=5, duration=0.5):
    time = np.arange(round(duration * RATE)) / RATE
    return sum(np.sin(2 * math.pi * k * f0 * time + k) / k for k in range(1, n_harmonics + 1))


@pytest.mark.parametrize("f0", [65.4, 110.0, 261.6, 440.0, 1000.0])
def test_yin_finds_the_period_of_a_harmonic_tone(f0):
    assert abs(1200 * math.log2(yin(harmonic_tone(f0), RATE) / f0)) < 5  # a parabola is not the dip's form


def test_yin_does_not_answer_to_noise_and_silence():
    assert math.isnan(yin(np.random.default_rng(0).normal(size=RATE // 2), RATE))
    assert math.isnan(yin(np.zeros(RATE // 2), RATE))


def test_a_parabola_finds_the_dip_between_samples():
    lag = np.arange(60)
    assert dip(np.minimum(1.0, 0.004 * (lag - 30.3) ** 2), 10) == pytest.approx(30.3)
    assert dip(np.ones(60), 10) == 0


def test_the_weighted_median_is_that_of_repeated_values():
    rng = np.random.default_rng(0)
    value, weight = rng.uniform(1, 9, 31), rng.integers(1, 6, 31)
    assert (
        weighted_median(value, weight.astype(float))
        in np.sort(np.repeat(value, weight))[[weight.sum() // 2 - 1, -(-weight.sum() // 2) - 1, weight.sum() // 2]]
    )
    assert math.isnan(weighted_median(np.array([np.nan, 3.0]), np.array([1.0, 0.0])))


def test_cents_are_hundredths_of_semitones():
    np.testing.assert_allclose(
        cents(np.array([440.0, 466.1638, 220.0]), np.array([69.0, 70.0, 69.0])), [0, 0, -1200], atol=1e-3
    )


def test_figures_count_what_is_near_octaves_and_silence():
    error = np.array([0.0, -49.9, 51.0, 1190.0, -2410.0, np.nan, 10.0])
    found = figures(error)
    np.testing.assert_array_equal(bits(found), [1, 1, 0, 0, 0, 0, 1])
    assert (found["octave"], found["silent"], found["cents"]) == (round(2 / 7, 4), round(1 / 7, 4), 10.0)
    assert figures(np.full(3, np.nan))["cents"] is None


def test_the_standard_error_is_that_of_a_share():
    half = figures(np.where(np.arange(400) % 2, 0.0, 100.0))
    share, _, error = share_text([half]).partition(" ± ")
    assert float(share) == 0.5 and float(error) == pytest.approx(math.sqrt(0.25 / 400), abs=0.002)


def test_blocks_cover_all_notes():
    assert list(blocks(130)) == [(0, 64), (64, 128), (128, 130)]


def test_every_cell_has_a_key_of_its_own():
    found = list(cells())
    assert len({cell.key for cell in found}) == len(found) == len(SEEDS) * len(NETWORKS) * 2 + len(TRACKERS) * 2
    assert len({cell.key for cell in family_cells()}) == len(SEEDS) * 2


def test_what_is_missing_is_said():
    assert tables({}).count("not measured yet") > len(TRACKERS) * len(FONTS) * len(CONDITIONS)
    assert family_tables({}).count("not measured yet") == 6


def entry(share):
    error = np.where(np.arange(100) < 100 * share, 1.0, 200.0)
    return {name: figures(error) for name in CONDITIONS}


def test_a_network_stands_at_the_font_that_it_was_not_trained_on():
    own, others = ({"conditions": entry(share), "ms": 1.0, "change": 0.5} for share in (1.0, 0.9))
    cell = {"weights": 11_793, "seconds": 190.0, "fonts": {"TimGM6mb": own, "FluidR3Mono": others}}
    page = tables({Cell("harmonic", "TimGM6mb", 1).key: cell})
    (row,) = [line for line in page.splitlines() if "0.900" in line and "other font" in line]
    assert row.startswith("| `harmonic`, trained on the other font | 11,793 | 0.900 ± 0.0")
    assert page.index("Notes of FluidR3Mono") < page.index(row)


def test_the_page_says_how_many_clean_notes_nothing_reads():
    def read(*right):
        return {"conditions": {"clean": figures(np.where(np.isin(np.arange(100), right), 1.0, 200.0))}}

    trackers = [Row(name, "", {"TimGM6mb": [read(number, 50)]}) for number, name in enumerate(TRACKERS)]
    network = Row("harmonic", "", {"TimGM6mb": [read(50), read(60, 61)]})  # two trainings
    (sentence, _) = unread([network, *trackers], "TimGM6mb")
    alone = 1 - (len(TRACKERS) + 1) / 100
    assert sentence == (
        f"No tracker reads {alone:.3f} of the clean notes within 50 cents; no method of the table, {alone - 0.02:.3f}."
    )
    assert not unread([Row("harmonic", "", {"TimGM6mb": []}), *trackers], "TimGM6mb")


def test_trials_of_families_are_judged_by_programs_that_did_not_train():
    keys = [trial.key for trial in trials()]
    assert len(set(keys)) == len(keys) == len(TRIALS) * len(FONTS)
    for kept, held_out in HELD_OUT.values():
        assert sorted([*range(kept[0], kept[1] + 1), *range(held_out[0], held_out[1] + 1)]) == list(range(VARIANTS))


def test_the_page_has_the_trials_that_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(families, "TUNING", tmp_path / "tuning.json")
    tried = {"mixup, TimGM6mb": {"held_out": 0.25, "kept": 0.75, "seconds": 99.6}}
    (tmp_path / "tuning.json").write_text(json.dumps(tried))
    assert "| mixup | 0.250 | not tried | 0.750 | 100 |" in family_tables({})


def test_confusions_are_hundredths_of_rows():
    counts = np.eye(len(FAMILIES), dtype=int) * 3
    counts[0, 1] = 1
    assert accuracy(counts) == pytest.approx(48 / 49)
    lines = confusion_table(counts)
    assert lines[2].startswith("| Piano | **75** | 25 |")


def test_the_page_shows_the_results_that_there_are():
    shown = PAGE.read_text(encoding="utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0]
    assert shown == f"\n{tables(read_json(RESULTS))}"


@pytest.mark.soundfont
def test_a_training_is_named_after_its_font(tmp_path, monkeypatch):
    from tiny_font import tiny_font

    for name in FONTS.values():
        (tmp_path / name).write_bytes(tiny_font())
    monkeypatch.setenv("SOUNDFONT_PATH", str(tmp_path))
    generation, training = overrides_of(Cell("harmonic", "FluidR3Mono", 2), tmp_path)
    assert "synth.font=FluidR3Mono_GM.sf3" in generation and "perturb=noisy" in generation
    assert "seed=2" in training and any("noisy_FluidR3Mono" in override for override in training)


def test_cells_are_listed_without_measuring(tmp_path, monkeypatch, capsys):
    results = tmp_path / "peers.json"
    monkeypatch.setattr("sys.argv", ["peers.py", "--list", "--only", "YIN", "--results", str(results)])
    assert main() == 0
    assert capsys.readouterr().out.count("YIN, ") == 2 and not results.exists()
