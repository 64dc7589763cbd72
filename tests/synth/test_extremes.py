"""What docs/synths.md says of the ladder at its extremes, measured against float64."""

import numpy as np
import pytest
from reference import decibels, fit_harmonics, ladder, rms
from scipy.integrate import solve_ivp

from src.synth import MoogVoice, kernels


def ladder_in_time(_, v, k):
    """The ladder without input in continuous time, in units of the cutoff."""
    tanh = np.tanh([-k * v[3], *v])
    return tanh[:-1] - tanh[1:]


def cycles(y, rate):
    """Frequency by the first and the last upward crossing of 0, interpolated."""
    (up,) = np.nonzero((y[:-1] < 0) & (y[1:] >= 0))
    crossing = up - y[up] / (y[up + 1] - y[up])
    return (len(up) - 1) / (crossing[-1] - crossing[0]) * rate


def cents(ratio):
    return 1200 * np.log2(ratio)


@pytest.mark.parametrize(("k", "flat"), [(4.2, 20), (4.8, 61)])
def test_oscillating_by_itself_it_is_flat_as_the_equations_are(k, flat):
    at = np.arange(500, 700, 0.05)
    exact = solve_ivp(ladder_in_time, (0, 700), [0.5, 0.1, 0, 0], "DOP853", at, args=(k,), rtol=1e-8, atol=1e-9).y[3]
    expected = cents(2 * np.pi * cycles(exact, 20))
    assert expected == pytest.approx(-flat, abs=0.5)
    for sample_rate, tolerance in ((8000, 2.0), (48000, 0.2)):
        x = np.zeros((1, sample_rate))
        x[0, 0] = 1.0
        y = kernels.ladder(x, np.array([[500.0]]), np.array([k]), sample_rate)[0, sample_rate // 2 :]
        assert cents(cycles(y.astype(np.float64), sample_rate) / 500) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("sample_rate", [8000, 48000])
def test_noise_at_full_scale_near_half_the_rate_is_solved_to_28_db(sample_rate):
    x = np.random.default_rng(0).uniform(-1, 1, (8, 1000)).astype(np.float32)
    k = np.linspace(0, 4.8, 8)
    exact = ladder(x, 0.49 * sample_rate, k, sample_rate)
    y = kernels.ladder(x, np.full((8, 1), 0.49 * sample_rate), k, sample_rate)
    assert decibels(rms(y - exact) / rms(exact)).max() < -28


@pytest.mark.parametrize(("f0", "levels"), [(437.0, (-33, -40, -46)), (970.0, (-24, -32, -43))])
def test_aliases_of_the_saturated_ladder_are_as_documented(f0, levels):
    """A periodic input into a filter at rest leaves nothing between its harmonics but aliases."""
    note = 69 + 12 * np.log2(f0 / 440)
    given = {"note_number": note, "note_velocity": 127, "log10_decay_time": 6, "filter_cutoff": 1000}
    for oversample, level in zip((1, 2, 4), levels, strict=True):
        voice = MoogVoice(8000, 2.0, oversample=oversample)
        y = voice.render({name: np.array([item]) for name, item in (given | {"filter_resonance": 0.9}).items()})[0]
        y = y[8000:].astype(np.float64)
        _, rest = fit_harmonics(y - y.mean(), f0, 8000)
        assert decibels(rms(rest) / rms(y - y.mean())) == pytest.approx(level, abs=1.0)
