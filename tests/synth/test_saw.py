"""Laws of the saw voice."""

import subprocess
import sys

import numpy as np
import pytest
from reference import SILENCE, decibels, fit_harmonics, random_parameters, rms

from src.errors import ConfigError
from src.synth import SawVoice

FOREVER = 6.0
FUNDAMENTALS = [20.0, 20.7, 27.5, 33.333, 41.2, 55.0, 79.99, 100.0, 110.3, 123.456, 160.0, 220.0, 261.63]
FUNDAMENTALS += [333.33, 399.9, 400.0, 441.0, 500.0, 571.5, 640.1, 777.7, 800.0, 888.9, 999.0, 1000.0]


def note_of(f0):
    return 69 + 12 * np.log2(np.atleast_1d(f0) / 440)


def render_steady(f0, sample_rate=8000, duration=0.5, band_limited=True):
    """Full-scale sawtooths without decay, float64, (voice, time)."""
    voice = SawVoice(sample_rate, duration, band_limited)
    note = note_of(f0)
    return voice.render({"note_number": note, "log10_decay_time": np.full(note.size, FOREVER)}).astype(np.float64)


@pytest.mark.parametrize("f0", FUNDAMENTALS)
def test_harmonics_have_their_amplitude_and_nothing_else_is_there(f0):
    amplitude, residual = fit_harmonics(render_steady(f0)[0], f0, 8000)
    k = np.arange(1, int(0.4 * 8000 / f0 + 1e-9) + 1)
    assert np.abs(decibels(amplitude[: k.size] * np.pi * k / 2)).max() < 0.1
    assert decibels(rms(residual) / np.abs(amplitude[0] / np.sqrt(2))) < -60


def test_the_naive_sawtooth_would_not_pass():
    amplitude, residual = fit_harmonics(render_steady(777.7, band_limited=False)[0], 777.7, 8000)
    assert decibels(rms(residual) / np.abs(amplitude[0] / np.sqrt(2))) > -30


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 48000])
def test_equals_the_sum_of_its_harmonics(sample_rate):
    f0 = 261.63
    x = render_steady(f0, sample_rate, 0.05)[0]
    phase = f0 / sample_rate * np.arange(x.size)
    k = np.arange(1, int(np.ceil(0.5 * sample_rate / f0)))[:, None]
    expected = np.sum(2 / (np.pi * k) * (-1.0) ** (k + 1) * np.sin(2 * np.pi * k * phase), axis=0)
    assert decibels(rms(x - expected) / rms(expected)) < -70


@pytest.mark.parametrize("band_limited", [True, False])
def test_starts_at_zero_and_rises(band_limited):
    x = render_steady(FUNDAMENTALS, band_limited=band_limited)
    assert np.all(x[:, 0] == 0)
    assert np.all(x[:, 1] > 0)


def test_the_naive_sawtooth_is_its_closed_form():
    f0 = np.array([20.1, 43.7, 123.4, 432.1, 998.7])
    cycles = f0[:, None] / 8000 * np.arange(4000)
    assert np.abs((cycles - 0.5) - np.round(cycles - 0.5)).min() > 1e-9  # no sample falls on the jump
    expected = (2 * ((0.5 + cycles) % 1) - 1) * np.exp(-np.arange(4000) / 8000 / 10**FOREVER)
    np.testing.assert_allclose(render_steady(f0, band_limited=False), expected, atol=2e-7)


def test_velocity_scales_linearly():
    voice = SawVoice(8000, 0.2)
    velocity = np.array([127.0, 63.5, 31.75, 100.0, 0.0])
    x = voice.render({"note_velocity": velocity, "note_number": np.full(5, 50.3)})
    np.testing.assert_array_equal(x[1], x[0] / 2)
    np.testing.assert_array_equal(x[2], x[0] / 4)
    np.testing.assert_allclose(x[3], x[0] * (100 / 127), rtol=3e-7)
    assert not x[4].any()


@pytest.mark.parametrize("band_limited", [True, False])
@pytest.mark.parametrize("log10_decay_time", [-3.0, -2.0, -1.37, 0.0, 0.3])
def test_decay_is_the_closed_form(log10_decay_time, band_limited):
    voice = SawVoice(8000, 1.0, band_limited)
    decaying = voice.render({"note_number": np.array([43.35]), "log10_decay_time": np.array([log10_decay_time])})[0]
    steady = voice.render({"note_number": np.array([43.35]), "log10_decay_time": np.array([FOREVER])})[0]
    time = np.arange(8000) / 8000
    envelope = np.exp(-time * 10**-log10_decay_time) / np.exp(-time * 10**-FOREVER)
    np.testing.assert_allclose(decaying, steady * envelope, rtol=4e-7, atol=SILENCE)


def test_defaults_are_what_an_unnamed_parameter_takes():
    voice = SawVoice(8000, 0.1)
    named = voice.render({name: np.array([value]) for name, value in voice.defaults.items()})
    np.testing.assert_array_equal(voice.render({}), named)
    np.testing.assert_array_equal(voice.render({"note_velocity": np.array([127.0])}), named)


def test_output_is_float32_of_voice_and_time():
    voice = SawVoice(11025, 0.3)
    x = voice.render(random_parameters(SawVoice, 3))
    assert x.dtype == np.float32
    assert x.shape == (3, 3308)
    assert voice.render(random_parameters(SawVoice, 0)).shape == (0, 3308)


@pytest.mark.parametrize("sample_rate", [0, -8000, 8000.5, float("nan"), "8000", True, 10**9, 10**400])
def test_refuses_a_sample_rate(sample_rate):
    with pytest.raises(ConfigError, match="sample_rate"):
        SawVoice(sample_rate, 1.0)


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf"), 1e-5, "1", 1e9, 10**400])
def test_refuses_a_duration(duration):
    with pytest.raises(ConfigError, match="duration"):
        SawVoice(8000, duration)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"filter_cutoff": [100.0]}, "filter_cutoff.*note_number"),
        ({"note_number": [108.0]}, "note_number 108.*half"),
        ({"note_number": [60.0, float("nan")]}, "note_number.*voice 1"),
        ({"note_velocity": [float("inf")]}, "note_velocity"),
        ({"note_velocity": [-1.0]}, "note_velocity"),
        ({"log10_decay_time": [400.0]}, "log10_decay_time"),
        ({"note_number": [60.0, 61.0], "note_velocity": [100.0]}, "one length"),
        ({"note_number": 60.0}, "one length"),
        ({"note_number": [[60.0]]}, "one length"),
    ],
)
def test_refuses_parameters(parameters, message):
    with pytest.raises(ConfigError, match=message):
        SawVoice(8000, 0.1).render({name: np.array(value) for name, value in parameters.items()})


def test_importing_the_synths_does_not_import_torch():
    subprocess.run([sys.executable, "-c", "import src.synth, sys; assert 'torch' not in sys.modules"], check=True)
