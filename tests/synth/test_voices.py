"""Laws that hold for every voice."""

from functools import partial

import numba
import numpy as np
import pytest
from reference import SILENCE, random_parameters

from src.errors import ConfigError
from src.synth import SawVoice
from src.synth.voices import MoogVoice

BATCHED = {
    "saw": partial(SawVoice, 8000, 0.1013),
    "saw with aliases": partial(SawVoice, 8000, 0.1013, False),
    "moog": partial(MoogVoice, 8000, 0.0213, note_duration=0.015),
    "moog oversampled": partial(MoogVoice, 8000, 0.0213, note_duration=0.015, oversample=2),
    "moog with aliases": partial(MoogVoice, 8000, 0.0213, note_duration=0.015, band_limited=False),
}


@pytest.mark.parametrize("n_batch", [1, 7, 256])
@pytest.mark.parametrize("name", BATCHED)
def test_a_sound_does_not_depend_on_its_batch(name, n_batch):
    voice = BATCHED[name]()
    parameters = random_parameters(type(voice), 256) | {"phase": np.random.default_rng(1).uniform(0, 1, 256)}
    whole = voice.render(parameters)
    parts = [
        voice.render({name: value[first : first + n_batch] for name, value in parameters.items()})
        for first in range(0, 256, n_batch)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("kind", [SawVoice, MoogVoice])
def test_a_sound_does_not_depend_on_the_number_of_threads(kind):
    n_threads = numba.get_num_threads()
    voice, parameters = kind(8000, 0.05), random_parameters(kind, 100)
    many = voice.render(parameters)
    numba.set_num_threads(1)
    try:
        single = voice.render(parameters)
    finally:
        numba.set_num_threads(n_threads)
    np.testing.assert_array_equal(single, many)


@pytest.mark.parametrize("kind", [SawVoice, MoogVoice])
def test_no_denormals(kind):
    x = np.abs(kind(8000, 1.0).render({"log10_decay_time": np.linspace(-4, -1, 50)}))
    assert np.all((x == 0) | (x >= SILENCE))
    assert np.any((x > 0) & (x < 1e3 * SILENCE))


STEADY = {"log10_decay_time": 6.0, "note_number": 69 + 12 * np.log2(8000 / 81 / 440)}  # 81 samples to the cycle
FILTERED = {"filter_cutoff": 900.0, "filter_resonance": 0.4}
PHASED = {
    **BATCHED,
    "saw steady": partial(SawVoice, 8000, 0.2),
    "saw steady with aliases": partial(SawVoice, 8000, 0.2, False),
    "moog steady": partial(MoogVoice, 8000, 0.5),
    "moog steady oversampled 2 times": partial(MoogVoice, 8000, 0.5, oversample=2),
    "moog steady oversampled 4 times": partial(MoogVoice, 8000, 0.5, oversample=4),
}


def steady(voice, phase):
    """Sounds that begin at some phases and stay as they are."""
    fixed = STEADY | (FILTERED if isinstance(voice, MoogVoice) else {})
    phase = np.atleast_1d(np.asarray(phase, np.float64))
    return voice.render({"phase": phase, **{name: np.full(phase.size, value) for name, value in fixed.items()}})


@pytest.mark.parametrize("name", [name for name in PHASED if "steady" in name])
def test_a_start_phase_is_a_shift_in_time(name):
    voice = PHASED[name]()
    shifts = np.array([7, 20, 40, 61, 80])  # samples
    whole, *begun = steady(voice, [0, *(shifts / 81)]).astype(np.float64)
    settled = 2000 if "moog" in name else 0  # the filter starts from rest, whatever the phase
    for shift, sound in zip(shifts, begun, strict=True):
        np.testing.assert_allclose(sound[settled:-shift], whole[settled + shift :], atol=2e-6)
        assert abs(sound[0]) > 0.01 or "saw" not in name


@pytest.mark.parametrize("phase", [0.1, 0.25, 0.5, 0.73, 0.9999])
def test_the_naive_sawtooth_of_a_phase_is_its_closed_form(phase):
    voice = SawVoice(8000, 0.5, band_limited=False)
    f0 = np.array([20.1, 43.7, 123.4, 432.1, 998.7])
    note = 69 + 12 * np.log2(f0 / 440)
    x = voice.render({"note_number": note, "phase": np.full(5, phase), "log10_decay_time": np.full(5, 6.0)})
    cycles = phase + f0[:, None] / 8000 * np.arange(4000)
    jumps = np.abs((cycles - 0.5) - np.round(cycles - 0.5)) < 1e-9  # there either end of the jump is right
    error = x - (2 * ((0.5 + cycles) % 1) - 1) * np.exp(-np.arange(4000) / 8e9)
    assert np.abs(error[~jumps]).max() < 2e-7
    np.testing.assert_array_equal(np.abs(np.round(error[jumps])) % 2, 0)


def test_a_phase_is_where_the_sum_of_the_harmonics_begins():
    phase = np.linspace(0, 1, 41)
    k = np.arange(1, 40)[:, None]
    expected = np.sum(2 / (np.pi * k) * (-1.0) ** (k + 1) * np.sin(2 * np.pi * k * phase), axis=0)
    np.testing.assert_allclose(steady(SawVoice(8000, 0.1), phase)[:, 0], expected, atol=2e-3)


@pytest.mark.parametrize("name", PHASED)
def test_a_whole_cycle_is_no_phase_and_no_phase_is_the_default(name):
    voice = PHASED[name]()
    parameters = random_parameters(type(voice), 20)
    default = voice.render(parameters)
    for phase in (0.0, 1.0):
        np.testing.assert_array_equal(voice.render({**parameters, "phase": np.full(20, phase)}), default)


@pytest.mark.parametrize("kind", [SawVoice, MoogVoice])
@pytest.mark.parametrize("phase", [-0.01, 1.01, float("nan")])
def test_refuses_a_phase(kind, phase):
    with pytest.raises(ConfigError, match=r"phase is .* in voice 1; it must be within 0 to 1"):
        kind(8000, 0.1).render({"phase": np.array([0.5, phase])})
