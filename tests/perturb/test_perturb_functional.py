"""Laws of what changes sounds: what was asked for is what is measured."""

import math

import numpy as np
import pytest
import scipy
import torch

from src.perturb import functional as F
from src.perturb.draws import Span, keys_of, normal, rows_of, words

RATE, N_SAMPLES = 8000, 8000
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def keys(n_sounds, name="test", seed=1, start=0):
    return keys_of(rows_of(name, seed, start, start + n_sounds, 2))


def column(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None]


def tone(frequency=440.0, rate=RATE, n_samples=N_SAMPLES):
    return torch.sin(2 * math.pi * frequency * torch.arange(n_samples, dtype=torch.float64) / rate).float()


def decibels(ratio):
    return 10 * torch.log10(ratio)


@pytest.fixture
def sounds():
    """Four decaying sounds of different level."""
    time = torch.arange(N_SAMPLES) / RATE
    return torch.stack(
        [level * torch.exp(-time * 3) * tone(f) for level, f in ((1, 99), (0.1, 220), (2, 441), (0.5, 9))]
    )


@pytest.fixture
def bins(sounds):
    return F.Bins.of(sounds, RATE)


def at(response, bins, frequency):
    """A response at the bin nearest to a frequency."""
    return response[:, round(frequency * bins.n_fft / bins.sample_rate)]


# What every sound has in common.

EVERY = {
    "gain": lambda x: F.gain(x, column(6)),
    "offset": lambda x: F.offset(x, column(0.02)),
    "soft_clip": lambda x: F.soft_clip(x, column(-6)),
    "quantize": lambda x: F.quantize(x, column(8), column(3)),
    "dithered": lambda x: F.quantize(x, column(8), column(3), keys(len(x))),
    "white": lambda x: F.add_noise(x, F.white_noise(keys(len(x)), x.shape[1]), column(20)),
    "pink": lambda x: F.add_noise(x, F.pink_noise(keys(len(x)), x.shape[1]), column(20)),
    "hum": lambda x: F.add_noise(x, F.hum(keys(len(x)), x.shape[1], RATE, column(50), 8), column(20)),
    "tilt": lambda x: through(x, lambda bins: F.tilt(bins, column(3), 500.0)),
    "peak": lambda x: through(x, lambda bins: F.peak_filter(bins, column(700), column(6), column(1))),
    "low_pass": lambda x: through(x, lambda bins: F.low_pass(bins, column(1500), 4)),
    "high_pass": lambda x: through(x, lambda bins: F.high_pass(bins, column(40), 2)),
    "resampled": lambda x: through(x, lambda bins: F.resampled(bins, column(5000))),
    "delay": lambda x: through(x, lambda bins: F.delay(bins, column(-31.7))),
    "room": lambda x: through(x, lambda bins: F.response_of(room(len(x), bins, 0.3, 6.0), bins)),
}


def through(waveform, response):
    bins = F.Bins.of(waveform, RATE)
    return F.filtered(waveform, response(bins), bins)


def room(n_sounds, bins, rt60, ratio, pre_delay=0.005):
    return F.impulse_response(keys(n_sounds), bins, column(rt60), column(ratio), column(pre_delay))


@pytest.mark.parametrize("change", EVERY.values(), ids=EVERY)
def test_silence_stays_silent_and_a_gain_before_is_a_gain_after(change, sounds):
    assert torch.equal(change(torch.zeros_like(sounds)), torch.zeros_like(sounds))
    after = change(sounds)
    assert after.dtype == torch.float32 and after.shape == sounds.shape and not torch.equal(after, sounds)
    torch.testing.assert_close(change(sounds * 0.25), after * 0.25, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", EVERY.values(), ids=EVERY)
def test_a_sound_in_a_batch_has_the_bits_that_it_has_alone(change, sounds):
    some = torch.cat([sounds, sounds.flip(0)])[:7]
    whole = change(some)
    torch.testing.assert_close(whole[:1], change(some[:1]), rtol=0, atol=0)
    torch.testing.assert_close(whole[:3], change(some[:3]), rtol=0, atol=0)


# Levels.


def test_a_gain_of_twenty_decibels_is_ten_times(sounds):
    torch.testing.assert_close(F.gain(sounds, column(20, -20, 0, 40)), sounds * column(10, 0.1, 1, 100))


def test_an_offset_moves_the_mean_by_a_share_of_the_peak(sounds):
    moved = F.offset(sounds, column(0.1, -0.1, 0, 1)) - sounds
    wanted = (column(0.1, -0.1, 0, 1) * sounds.abs().amax(1, keepdim=True)).expand_as(sounds)
    torch.testing.assert_close(moved, wanted, rtol=0, atol=1e-6)


def test_a_soft_clip_never_passes_its_limit_and_far_below_it_changes_nothing(sounds):
    limit = F.peak(sounds) * 10 ** (-6 / 20)
    clipped = F.soft_clip(sounds, column(-6))
    assert (clipped.abs() <= limit).all() and (F.peak(clipped) > 0.9 * limit).all()
    assert (clipped.abs() <= sounds.abs() + 1e-7).all() and (clipped * sounds >= 0).all()
    # tanh x = x - x^3 / 3 + ...
    torch.testing.assert_close(F.soft_clip(sounds, column(60)), sounds, rtol=0, atol=2e-6)
    torch.testing.assert_close(F.soft_clip(torch.full((1, 4), 1e6), column(-200))[0], torch.full((4,), 1e-4))


@pytest.mark.parametrize("bits", [1, 8, 12, 16])
def test_rounding_errs_by_half_a_step_at_most_and_dither_by_one_and_a_half(sounds, bits):
    step = F.peak(sounds) * 10 ** (6 / 20) * 2.0 ** (1 - bits)
    rounded = F.quantize(sounds, column(bits), column(6))
    rounding = 2e-7 * F.peak(sounds)  # of float32
    assert ((rounded - sounds).abs() <= step * 0.5 + rounding).all()
    number = rounded / step
    torch.testing.assert_close(number, number.round(), rtol=0, atol=1e-2)
    error = F.quantize(sounds, column(bits), column(6), keys(4)) - sounds
    assert (error.abs() <= step * 1.5 + rounding).all()


def test_dither_makes_the_error_independent_of_the_sound():
    quiet = torch.full((64, N_SAMPLES), 0.3)
    quiet[:, 0] = 1.0  # of which the step is a fraction
    error = (F.quantize(quiet, column(1), column(0), keys(64)) - quiet)[:, 1:]
    assert error.mean().abs() < 5e-3
    assert error.square().mean() == pytest.approx(0.25, rel=0.02)  # a quarter of a squared step, of 1


# Noise.


@pytest.mark.parametrize("ratio", [-10.0, 0.0, 20.0, 60.0])
def test_the_signal_to_noise_ratio_is_what_was_asked_for(sounds, ratio):
    for noise in (
        F.white_noise(keys(4), N_SAMPLES),
        F.pink_noise(keys(4), N_SAMPLES),
        F.hum(keys(4), N_SAMPLES, RATE, column(50, 60, 50, 60), 5),
    ):
        added = F.add_noise(sounds.double(), noise.double(), column(ratio).double()) - sounds.double()
        found = decibels(F.power(sounds.double()) / F.power(added))
        torch.testing.assert_close(found, torch.full_like(found, ratio), rtol=0, atol=1e-3)


def test_normal_numbers_are_normal_and_independent():
    x = normal(keys(256), N_SAMPLES)
    assert x.shape == (256, N_SAMPLES) and torch.isfinite(x).all()
    count = x.numel()
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (6, 15.0)):
        error = math.sqrt({1: 1, 2: 2, 3: 15, 4: 96, 6: 10170}[power] / count)
        assert x.double().pow(power).mean().item() == pytest.approx(moment, abs=5 * error)
    for lag in (1, 2, 7, N_SAMPLES // 2):
        assert (x[:, lag:] * x[:, :-lag]).mean().abs() < 5 / math.sqrt(count / 2)
    between = (x @ x.T / N_SAMPLES).fill_diagonal_(0)
    assert between.abs().max() < 6 / math.sqrt(N_SAMPLES)


def test_words_are_as_even_as_chance_and_change_by_half_their_bits():
    one = words(keys(64), 4096)
    bits = (one[..., None] >> torch.arange(32)) & 1
    assert (bits.double().mean(dim=(0, 1)) - 0.5).abs().max() < 5 * 0.5 / math.sqrt(one.numel())
    for bit in (0, 13, 31):
        key = keys(64)
        key[:, bit % 2] ^= torch.tensor(1 << bit if bit < 31 else -(1 << 31), dtype=torch.int32)
        changed = ((one ^ words(key, 4096))[..., None] >> torch.arange(32)) & 1
        assert (changed.double().mean(dim=(0, 1)) - 0.5).abs().max() < 0.01


def test_words_are_those_of_a_plain_program():
    def mix(word):
        for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
            word = ((word ^ (word >> shift)) * factor) & 0xFFFFFFFF
        return word ^ (word >> 15)

    key = keys(2, seed=5)
    (first, second), *_ = [[item & 0xFFFFFFFF for item in row] for row in key.tolist()]
    wanted = [mix(mix((i + first) & 0xFFFFFFFF) ^ second) for i in range(50)]
    assert [word & 0xFFFFFFFF for word in words(key, 50)[0].tolist()] == wanted


def test_white_noise_is_flat_and_pink_noise_falls_by_ten_decibels_a_decade():
    for noise, slope in ((F.white_noise(keys(64), N_SAMPLES), 0.0), (F.pink_noise(keys(64), N_SAMPLES), -10.0)):
        density = torch.fft.rfft(noise.double()).abs().square().mean(0)[1:-1]
        decade = torch.log10(torch.arange(1, len(density) + 1, dtype=torch.float64))
        bands = [slice(int(2**k), int(2 ** (k + 1))) for k in range(3, 11)]
        level = torch.stack([decibels(density[band].mean()) for band in bands]).numpy()
        middle = torch.stack([decibels((10 ** -decade[band]).mean()) / -10 for band in bands]).numpy()
        assert np.polyfit(middle, level, 1)[0] == pytest.approx(slope, abs=0.3)
    assert F.pink_noise(keys(4), 8001).mean(1).abs().max() < 1e-4


def test_hum_is_at_the_harmonics_of_the_mains_and_nowhere_else():
    spectrum = torch.fft.rfft(F.hum(keys(2), N_SAMPLES, RATE, column(50, 60), 100).double()).abs().square()
    for row, mains in zip(spectrum, (50, 60), strict=True):
        assert row[mains::mains].sum() / row.sum() > 0.999999
        assert row[mains] > 0 and torch.isfinite(row).all()


# Filters.


def test_a_tilt_is_straight_in_decibels_an_octave(bins):
    slope = column(-3, 1.5, 0, 6)
    response = F.tilt(bins, slope, 500.0)
    octaves = torch.log2(bins.frequency[50:] / 500)
    torch.testing.assert_close(20 * response[:, 50:].abs().log10(), slope * octaves, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(at(response, bins, 500).abs(), torch.ones(4), rtol=2e-3, atol=0)
    torch.testing.assert_close(response[2].real, torch.ones(len(bins.frequency)))


def test_a_tilt_is_of_minimum_phase(bins):
    """Its response to an impulse begins at once, and its inverse is as causal as itself."""
    for slope in (3.0, -3.0):
        impulse = torch.fft.irfft(F.tilt(bins, column(slope), 500.0)[0], bins.n_fft)
        assert impulse[bins.n_fft // 2 :].square().sum() < 1e-4 * impulse.square().sum()
        assert impulse.abs().argmax() == 0


@pytest.mark.parametrize("q", [0.5, 1.0, 4.0])
def test_a_bell_has_its_level_at_its_centre_and_nothing_far_away(bins, q):
    level = column(6, -6, 12, 0)
    response = F.peak_filter(bins, column(500), level, column(q))
    decibel = 20 * response.abs().log10()
    torch.testing.assert_close(at(decibel, bins, 500), level[:, 0], rtol=0, atol=5e-3)
    assert decibel[:, 0].abs().max() < 1e-3 and decibel[:, -1].abs().max() < 1e-3
    opposite = F.peak_filter(bins, column(500), -level, column(q))
    torch.testing.assert_close(response * opposite, torch.ones_like(response), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [2, 4, 8])
def test_a_butterworth_filter_is_three_decibels_down_at_its_cutoff(bins, order):
    low, high = (kind(bins, column(1000), order) for kind in (F.low_pass, F.high_pass))
    for response in (low, high):
        assert 20 * at(response, bins, 1000).abs().log10() == pytest.approx(-3.0103, abs=0.02)
    assert low[0, 0] == 1 and high[0, 0] == 0 and low[0, -1].abs() < 1e-6
    assert high[0, -1].abs() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(low.abs().square() + high.abs().square(), torch.ones(1, len(bins.frequency)))
    falls = 20 * (at(low, bins, 2000) / at(low, bins, 1000)).abs().log10()
    warped = math.tan(math.pi / 4) / math.tan(math.pi / 8)  # 2 kHz over 1 kHz, as the bilinear transform has them
    assert falls == pytest.approx(-10 * math.log10((1 + warped ** (2 * order)) / 2), abs=0.05)


def test_a_filter_is_the_one_that_scipy_has(bins):
    b, a = scipy.signal.butter(4, 700, fs=RATE)
    impulse = np.zeros(N_SAMPLES)
    impulse[0] = 1
    found = F.filtered(torch.from_numpy(impulse).float()[None], F.low_pass(bins, column(700), 4), bins)[0]
    np.testing.assert_allclose(found, scipy.signal.lfilter(b, a, impulse), atol=1e-6)


def test_resampling_keeps_a_low_sine_and_loses_a_high_one(bins):
    low, high = tone(300)[None], tone(2600)[None]
    response = F.resampled(bins, column(5000))
    middle = slice(500, -500)  # a sine that is switched on has other frequencies, too
    torch.testing.assert_close(F.filtered(low, response, bins)[:, middle], low[:, middle], rtol=0, atol=1e-3)
    assert F.filtered(high, response, bins)[:, middle].abs().max() < 1e-2
    torch.testing.assert_close(F.resampled(bins, column(10 * RATE)).abs(), torch.ones(1, len(bins.frequency)))


@pytest.mark.parametrize("shift", [0, 1, 80, -1, -80])
def test_a_shift_by_whole_samples_is_exact_and_silence_comes_in(sounds, bins, shift):
    moved = F.filtered(sounds, F.delay(bins, column(shift)), bins)
    wanted = torch.zeros_like(sounds)
    wanted[:, max(0, shift) : N_SAMPLES + min(0, shift)] = sounds[:, max(0, -shift) : N_SAMPLES - max(0, shift)]
    torch.testing.assert_close(moved, wanted, rtol=0, atol=2e-6)


def test_a_shift_by_part_of_a_sample_moves_a_sine(bins):
    n = torch.arange(N_SAMPLES, dtype=torch.float64)
    swell = torch.exp(-(((n - 4000) / 900) ** 2))
    moved = F.filtered((swell * torch.sin(n / 5)).float()[None], F.delay(bins, column(2.3)), bins)[0]
    later = n - 2.3
    wanted = torch.exp(-(((later - 4000) / 900) ** 2)) * torch.sin(later / 5)
    torch.testing.assert_close(moved, wanted.float(), rtol=0, atol=1e-5)


# Rooms.


@pytest.mark.parametrize("rt60", [0.1, 0.3, 0.8])
def test_a_room_decays_by_sixty_decibels_in_its_reverberation_time(bins, rt60):
    """Schroeder's backward integration, from -5 to -35 dB (ISO 3382), of the mean of many rooms."""
    time = torch.arange(N_SAMPLES) / RATE
    tail = room(256, bins, rt60, 0.0)[:, 1:]
    left = decibels(tail.square().mean(0).double().flip(0).cumsum(0).flip(0))
    level = left - left[0]
    span = (level < -5) & (level > -35) & (time[1:] < 0.9)
    slope = np.polyfit(time[1:][span], level[span], 1)[0]
    assert -60 / slope == pytest.approx(rt60, rel=0.03)


def test_a_rooms_direct_sound_is_whole_and_its_reverberation_as_loud_as_asked_for(bins):
    response = F.impulse_response(keys(3), bins, column(0.2, 0.5, 1.0), column(-5, 0, 20), column(0, 0.01, 0.1))
    assert (response[:, 0] == 1).all()
    for row, pre_delay, ratio in zip(response, (0, 0.01, 0.1), (-5, 0, 20), strict=True):
        assert decibels(row[1:].double().square().sum()) == pytest.approx(-ratio, abs=1e-3)
        begins = max(1, round(pre_delay * RATE))
        assert (row[1:begins] == 0).all() and row[begins] != 0


def test_a_room_is_a_linear_convolution(sounds, bins):
    response = room(4, bins, 0.5, 3.0)
    found = F.filtered(sounds, F.response_of(response, bins), bins)
    for row, ir, sound in zip(found, response.double().numpy(), sounds.double().numpy(), strict=True):
        np.testing.assert_allclose(row, np.convolve(sound, ir)[:N_SAMPLES], atol=2e-5)


# Draws.


def test_what_is_drawn_depends_on_the_number_alone():
    whole = rows_of("noise", 42, 0, 100, 5)
    np.testing.assert_array_equal(rows_of("noise", 42, 37, 61, 5), whole[37:61])
    for other in (rows_of("noise", 43, 0, 100, 5), rows_of("room", 42, 0, 100, 5)):
        assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 0.2


def test_ranges_are_filled_as_their_kind_says():
    share = (np.arange(10000) + 0.5) / 10000
    assert Span(-2, 2).values(share).mean() == pytest.approx(0)
    assert np.exp(np.log(Span(1, 100, "log").values(share)).mean()) == pytest.approx(10)
    assert np.bincount(Span(8, 16, "whole").values(share).astype(int))[8:].tolist() == pytest.approx([1111] * 9, abs=1)
    assert np.unique(Span(50, 60, "either").values(share), return_counts=True)[1].tolist() == [5000, 5000]
    assert np.all(Span(3, 3).values(share) == 3)


@pytest.mark.parametrize("device", DEVICES)
def test_noise_is_the_same_on_every_device(device):
    torch.testing.assert_close(normal(keys(4).to(device), 999).cpu(), normal(keys(4), 999), rtol=1e-5, atol=1e-5)
