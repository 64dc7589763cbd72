"""Distances and error bars of a network that has learnt something: the small one whose checkpoint is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from src.checkpoints.run import load_run
from src.evaluation.domain import FAR, Domain
from src.evaluation.refinement import decibels_apart
from src.models.metrics import WIDTH
from src.perturb import functional as F
from src.perturb.draws import keys_of
from src.readings import network
from src.readings.network import at_peak, hear, judged, trained_on
from src.readings.reading import read_parameters, refine_reading
from src.readings.words import about_domain, describe_values, reach, value_cells
from src.recordings import Recording
from src.vimh.info import DatasetInfo

ROOT = Path(__file__).parents[1]
N = 24
RATIOS = (60, 50, 40, 30, 20, 10, 0)

pytestmark = pytest.mark.usefixtures("calibration_on_80_sounds")


@pytest.fixture(scope="module")
def first_version():
    """The network as its checkpoint of version 2 has it."""
    return trained_on(load_run(ROOT / "tests" / "data" / "compat" / "compat_a.ckpt"))


@pytest.fixture(scope="module")
def trained():
    """The same with statistics of today, of fresh sounds."""
    run = load_run(ROOT / "tests" / "data" / "compat" / "compat_a.ckpt")
    first = trained_on(run)
    value = values_of(first, 512, seed=1)
    image, levels = (torch.from_numpy(item) for item in first.recipe.represent(first.recipe.render(value)))
    return trained_on(replace(run, domain=Domain.fit(image, levels).to_dict()))


def values_of(trained, n, seed):
    space = trained.run.info.space
    return space.value_from_uniform(np.random.default_rng(seed).random((n, len(space.varying)))).astype(np.float32)


def noisy(sounds, ratio):
    """Sounds with white noise, always the same but for its level, dB below them."""
    key = keys_of(np.random.default_rng(3).random((len(sounds), 2)))
    waveform = torch.from_numpy(sounds)
    noise = F.white_noise(key, waveform.shape[1])
    return F.add_noise(waveform, noise, torch.full((len(sounds), 1), float(ratio))).numpy()


def read(sounds, trained, peak=None):
    waveform, _ = at_peak(sounds, peak)
    heard = hear(waveform, trained, trained.representation, None if peak is None else trained.level_only)
    calibration = trained.calibration if peak is None else trained.calibration_of_any_gain
    return heard, *judged(heard.distance, heard.answers.std, calibration, trained.run.info.space)


@pytest.mark.parametrize(("name", "with_gain"), [("trained", True), ("trained", False), ("first_version", False)])
def test_distances_rank_noise_by_its_level(name, with_gain, request):
    trained = request.getfixturevalue(name)
    sounds = trained.recipe.render(values_of(trained, N, seed=2))
    peak = None if with_gain else trained.peak
    distances = [read(sounds, trained, peak)[1], *(read(noisy(sounds, ratio), trained, peak)[1] for ratio in RATIOS)]
    medians = np.median(distances, axis=1)
    assert (np.diff(medians[:-1]) > 0).all()
    assert medians[-1] > medians[-3]  # sounds that drown in noise are alike, and so are the answers
    rank = scipy.stats.spearmanr(np.repeat(RATIOS, N), np.concatenate(distances[1:]))
    assert rank.statistic < -0.8


def test_clean_sounds_are_nearer_than_perturbed_ones_and_these_nearer_than_others(trained):
    sounds = trained.recipe.render(values_of(trained, N, seed=4))
    time = np.arange(sounds.shape[1]) / trained.recipe.synth.sample_rate
    rng = np.random.default_rng(5)
    chirps = np.sin(2 * np.pi * (300 * time + 900 * time**2)) * np.ones((N, 1))
    noise = rng.standard_normal(sounds.shape)
    groups = [sounds, noisy(sounds, 60), noisy(sounds, 30), 0.5 * chirps, 0.2 * noise]
    medians = [np.median(read(group.astype(np.float32), trained, trained.peak)[1]) for group in groups]
    assert medians[0] < medians[1] < medians[2] < min(medians[3:])
    assert medians[0] <= 1 < FAR < max(medians[3:])


def test_of_fresh_sounds_of_the_training_95_percent_are_inside(trained):
    _, distance, _ = read(trained.recipe.render(values_of(trained, 400, seed=6)), trained)
    assert 0.88 < np.mean(distance <= 1) < 0.99


@pytest.mark.parametrize("ratio", [40, 30, 20])
def test_intervals_hold_in_noise_and_did_not_before(trained, ratio):
    value = values_of(trained, 200, seed=7)
    heard, _, std = read(noisy(trained.recipe.render(value), ratio), trained)
    error = np.abs(heard.answers.value - value)
    covered = np.mean(error <= WIDTH * std)
    assert covered > 0.85
    assert covered >= np.mean(error <= WIDTH * heard.answers.std)


def test_no_interval_of_a_far_sound_is_under_a_step(trained):
    space = trained.run.info.space
    noise = np.random.default_rng(8).standard_normal((64, trained.recipe.representation.n_samples)).astype(np.float32)
    heard, distance, std = read(noise, trained, trained.peak)
    low, high = reach(space, heard.answers.value, std)
    assert (distance > FAR).any()
    assert ((high - low)[distance > FAR] >= space.step * (1 - 1e-6)).all()


def test_the_gain_of_a_recording_changes_no_distance(trained):
    sounds = trained.recipe.render(values_of(trained, 6, seed=9))
    loud, soft = (read(np.float32(gain) * sounds, trained, trained.peak)[1] for gain in (1.0, 0.1))
    assert np.allclose(loud, soft, rtol=0.02, atol=0.02)


def test_a_known_level_that_no_training_sound_has_is_outside(trained):
    sounds = trained.recipe.render(values_of(trained, 24, seed=10))
    assert (read(np.float32(0.01) * sounds, trained)[1] > 1).mean() > 0.9


def test_decibels_apart_are_0_of_the_sound_itself_and_the_level_alone_where_that_differs(trained):
    recipe, value = trained.recipe, values_of(trained, 8, seed=11).astype(np.float64)
    sounds = recipe.render(value)
    same, (soft, soft_levels) = recipe.represent(sounds), recipe.represent(np.float32(0.5) * sounds)
    assert np.allclose(decibels_apart(recipe, *same, value, level_counts=True), 0)
    assert np.allclose(decibels_apart(recipe, soft, soft_levels, value, level_counts=True), 20 * np.log10(2), atol=0.1)
    assert np.allclose(decibels_apart(recipe, soft, soft_levels, value, level_counts=False), 0, atol=0.3)
    without = np.zeros((8, 0), dtype=np.float32)
    assert np.allclose(decibels_apart(recipe, soft, without, value, level_counts=True), 0, atol=0.3)


def recording_of(trained, waveform):
    return Recording(Path("sound.wav"), waveform.astype(np.float32), 0.0, trained.recipe.synth.duration, ())


def test_refinement_comes_nearer_and_says_so(trained):
    sound = noisy(trained.recipe.render(values_of(trained, 1, seed=12)), 45)[0]
    reading = read_parameters(recording_of(trained, sound), trained, trained.peak)
    refined = refine_reading(reading, trained.recipe)
    assert refined.apart <= reading.apart + 0.05
    assert f"the answer's sound is {reading.apart:.1f} dB away" in about_domain(reading)
    assert f"the nearest sound this synth can make is {refined.apart:.1f} dB away" in about_domain(refined)
    assert (refined.distance, refined.zone) == (reading.distance, reading.zone)


def test_no_fit_narrows_the_interval_of_a_far_sound(trained):
    noise = np.random.default_rng(13).standard_normal(trained.recipe.representation.n_samples)
    reading = read_parameters(recording_of(trained, noise), trained, trained.peak)
    assert reading.zone == "far"
    assert "FAR from the training" in about_domain(reading)
    assert np.array_equal(refine_reading(reading, trained.recipe).std, reading.std)


def test_distances_of_a_training_on_perturbed_sounds_are_in_units_of_those(trained):
    info = trained.run.info.to_dict()
    noise = {"_target_": "src.perturb.effects.WhiteNoise", "ratio": 20}
    info["generator"] = {"config": info["generator"]["config"] | {"perturb": {"noise": noise}}}
    other = trained_on(replace(trained.run, info=DatasetInfo.from_dict(info, "a test")))
    value = values_of(trained, 200, seed=5)
    sounds = other.recipe.recorded(value, 1000)
    assert not np.array_equal(sounds, other.recipe.render(value))
    distance = hear(sounds, other, other.representation).distance
    assert np.mean(distance / other.calibration.unit <= 1) == pytest.approx(0.95, abs=0.05)
    assert np.mean(distance / trained.calibration.unit <= 1) < 0.1


def test_calibration_is_the_same_every_time(trained, monkeypatch):
    monkeypatch.setattr(network, "N_PERTURBED", 80)
    first, second = (network.calibrate(trained, None) for _ in range(2))
    assert first.unit == second.unit
    assert np.array_equal(first.widening.factor, second.widening.factor)


def test_without_statistics_nothing_is_known_and_nothing_widened(trained):
    blind = trained_on(replace(trained.run, domain=None))
    sound = recording_of(trained, trained.recipe.render(values_of(trained, 1, seed=14))[0])
    reading = read_parameters(sound, blind, None)
    assert (reading.distance, reading.zone, blind.calibration) == (None, None, None)
    assert "unknown" in about_domain(reading)
    known = hear(sound.waveform[None], trained, trained.representation)
    assert np.array_equal(reading.std, known.answers.std[0])


def test_a_value_on_an_edge_is_at_or_beyond_it(trained):
    space = trained.run.info.space
    reading = read_parameters(
        recording_of(trained, trained.recipe.render(values_of(trained, 1, seed=15))[0]), trained, None
    )
    for end, value, sign in (("low", space.low, 0.05), ("high", space.high, -0.05), (None, space.low, 0.5)):
        at = replace(reading, value=value + sign * space.step)
        for found in describe_values(space, at).values():
            assert found["edge"] == end
            assert value_cells(found)[0].startswith("at or beyond ") == (end is not None)
