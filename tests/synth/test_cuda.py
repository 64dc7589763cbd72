"""Laws of the voices on CUDA: in numba's simulator, and of what is prepared for the kernels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_cases import REFUSED, VOICES, make_parameters, make_voice

from src.errors import ConfigError
from src.synth import MoogVoice, SawVoice, cuda, kernels
from src.synth.base import has_cuda_voice, why_no_cuda_voice
from src.synth.voices import decay_rate, moog_parameters, saw_oscillator, saw_table

ROOT = Path(__file__).parents[2]
# The same equations in float32 with sums in another order: a saw is a product of three factors, each within a unit in
# the last place. The feedback of the ladder returns such differences to its input, up to 0.9 of the way to where they
# would stay for ever.
ROUNDING = {"saw": 4 * 2.0**-24, "moog": 64 * 2.0**-24}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """What numba's simulator of CUDA renders, in a process of its own."""
    path = tmp_path_factory.mktemp("cuda") / "sounds.npz"
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, Path(__file__).with_name("cuda_cases.py"), path]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    with np.load(path) as sounds:
        return dict(sounds)


@pytest.mark.parametrize("name", VOICES)
def test_the_simulator_renders_the_sounds_of_the_cpu(simulated, name):
    here, there = simulated[f"{name}/cpu"], simulated[f"{name}/cuda"]
    assert np.abs(here).max() > 0.1
    np.testing.assert_allclose(there, here, rtol=0, atol=ROUNDING[name.split()[0]])


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_the_same_sentence_on_cuda(simulated, name):
    assert str(simulated[f"{name}/message on cuda"]) == str(simulated[f"{name}/message"])


def test_defaults_and_no_voices_at_all(simulated):
    np.testing.assert_allclose(simulated["defaults/cuda"], simulated["defaults/cpu"], rtol=0, atol=ROUNDING["saw"])
    assert simulated["no voices"].shape == (0, 10)


def prepared(voice, n_voices=200):
    """Parameters of voices for NumPy and for PyTorch."""
    parameters = make_parameters(voice, n_voices)
    return {**parameters}, {name: torch.tensor(value) for name, value in parameters.items()}


@pytest.mark.parametrize("band_limited", [True, False])
def test_both_libraries_prepare_the_same_sawtooths(band_limited):
    here, there = prepared(make_voice("saw", 10))
    ours = saw_oscillator(kernels, here, 8000, band_limited)
    theirs = saw_oscillator(cuda, there, 8000, band_limited)
    np.testing.assert_array_equal(theirs.phase.numpy(), ours.phase)
    np.testing.assert_array_equal(theirs.shift.numpy(), ours.shift)
    difference = theirs.increment.numpy().astype(np.int64) - ours.increment.astype(np.int64)
    assert np.abs(difference).max() <= 2.0**-51 * ours.increment.max()  # powers are rounded differently
    for voice, shift in enumerate(ours.shift):
        first, size = (np.array([o.start[voice] for o in (ours, theirs)], np.int64), (1 << (40 - int(shift))) + 1)
        np.testing.assert_array_equal(
            theirs.tables.numpy()[first[1] : first[1] + size], ours.tables[first[0] : first[0] + size]
        )


def test_both_libraries_prepare_the_same_filters():
    here, there = prepared(make_voice("moog", 10))
    rows, theirs = moog_parameters(kernels, here, 8000), moog_parameters(cuda, there, 8000)
    assert theirs.dtype == torch.float32
    np.testing.assert_array_equal(theirs.numpy(), rows)
    rates = decay_rate(here["log10_decay_time"], 8000), decay_rate(there["log10_decay_time"], 8000)
    np.testing.assert_allclose(rates[1].numpy(), rates[0], rtol=1e-15)


def test_tables_stay_where_they_are_while_others_join_them():
    kept = cuda._Tables()
    kept.add(saw_table, [3, 5], torch.device("cpu"))
    places = dict(kept.start)
    points = kept.add(saw_table, [5, 4, 300], torch.device("cpu"))
    assert places.items() <= kept.start.items()
    for size, first in kept.start.items():
        table = saw_table(size)
        np.testing.assert_array_equal(points[first : first + table.size], table)
        assert table.size == (1 << (40 - kept.shift[size])) + 1


@pytest.mark.parametrize("log10_decay_time", [-6.0, -2.0, 0.0, 6.0])
def test_the_envelope_is_the_exponential_at_the_end_of_the_longest_sounds_too(log10_decay_time):
    n_samples = 3_000_000
    rate = decay_rate(torch.tensor([log10_decay_time], dtype=torch.float64), 48000)
    at_block, in_block = cuda._envelope(rate, n_samples)
    envelope = (at_block * in_block).flatten()[:n_samples].double().numpy()
    exact = np.exp(-np.arange(n_samples) * float(rate))
    heard = exact > kernels.SILENCE
    np.testing.assert_allclose(envelope[heard], exact[heard], rtol=3 * 2.0**-24)
    assert np.all(envelope[~heard] <= kernels.SILENCE)


def test_who_has_a_voice_on_cuda_and_why_not():
    class OwnSynth:
        sample_rate, duration, defaults = 8000, 1.0, {}

    assert why_no_cuda_voice(OwnSynth()) == "OwnSynth has no method render_cuda"
    assert not has_cuda_voice(OwnSynth())
    for voice in (SawVoice(8000, 0.1), MoogVoice(8000, 0.1)):
        assert has_cuda_voice(voice) == (cuda.why_unusable() == "")


def test_without_a_package_or_a_device_it_says_which(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert why_no_cuda_voice(SawVoice(8000, 0.1)) == "PyTorch finds no CUDA device"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    assert "numba-cuda is missing (pip install '.[cuda]')" in why_no_cuda_voice(SawVoice(8000, 0.1))


def test_parameters_on_the_cpu_are_refused_outside_the_simulator():
    with pytest.raises(ConfigError, match="are on cpu"):
        SawVoice(8000, 0.1).render_cuda({"phase": torch.zeros(2, dtype=torch.float64)})
