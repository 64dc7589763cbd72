"""Voices with every option, rendered on a CUDA device or in numba's simulator of one, beside those of the CPU.

As a program, in a process whose environment has NUMBA_ENABLE_CUDASIM=1, it writes what `test_cuda` asserts about:

    python tests/synth/cuda_cases.py SOUNDS.npz
"""

import sys
from functools import partial

import numpy as np
import torch
from reference import random_parameters

from src.errors import ConfigError
from src.synth import MoogVoice, SawVoice

RATE = 8000


def moog(sample_rate, duration, **options):
    """A Moog voice whose note ends before its sound does."""
    return MoogVoice(sample_rate, duration, note_duration=0.6 * duration, **options)


VOICES = {
    "saw": SawVoice,
    "saw with aliases": partial(SawVoice, band_limited=False),
    "moog": moog,
    "moog with aliases": partial(moog, band_limited=False),
    "moog oversampled 2 times": partial(moog, oversample=2),
    "moog oversampled 4 times": partial(moog, oversample=4),
}
REFUSED = {
    "outside its limits": {"note_number": [60.0, 200.0]},
    "not a number": {"note_number": [60.0, 61.0], "log10_decay_time": [0.5, float("nan")]},
    "half the rate": {"note_number": [60.0, 108.0]},
    "a phase": {"phase": [1.5]},
    "unknown": {"detune": [0.0]},
    "of two lengths": {"note_number": [60.0, 61.0], "phase": [0.5]},
    "of two axes": {"note_number": [[60.0]]},
}


def make_voice(name, n_samples):
    """One of the voices."""
    return VOICES[name](RATE, n_samples / RATE)


def make_parameters(voice, n_voices, seed=0):
    """Random ones, with resonances up to 0.9, and the phases 0, 1/2 and 1 among them."""
    parameters = random_parameters(type(voice), n_voices, seed)
    parameters["phase"] = np.random.default_rng(seed).uniform(0, 1, n_voices)
    parameters["phase"][:3] = 0, 0.5, 1
    if "filter_resonance" in parameters:
        parameters["filter_resonance"] *= 0.9
    return parameters


def render_cuda(voice, parameters, device):
    """Waveforms as NumPy's array, by `render_cuda`."""
    there = {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in parameters.items()}
    waveform = voice.render_cuda(there)
    assert waveform.dtype == torch.float32
    assert waveform.device == torch.device(device)
    assert waveform.T.is_contiguous()
    return waveform.cpu().numpy()


def message(render, parameters):
    """What a voice says about parameters that it refuses."""
    try:
        render({name: np.array(value) for name, value in parameters.items()})
    except ConfigError as error:
        return str(error)
    raise AssertionError(f"{parameters} was not refused")


def simulate(n_voices=4, n_samples=70):
    """Sounds and messages by what they are of."""
    for name in VOICES:
        voice = make_voice(name, n_samples)
        parameters = make_parameters(voice, n_voices)
        there = render_cuda(voice, parameters, "cpu")
        yield f"{name}/cpu", voice.render(parameters)
        yield f"{name}/cuda", there
    saw = make_voice("saw", 10)
    for name, parameters in REFUSED.items():
        yield f"{name}/message", message(saw.render, parameters)
        yield f"{name}/message on cuda", message(partial(render_cuda, saw, device="cpu"), parameters)
    yield "defaults/cpu", saw.render({})
    yield "defaults/cuda", saw.render_cuda({}).numpy()
    yield "no voices", saw.render_cuda({"phase": torch.zeros(0, dtype=torch.float64)}).numpy()


if __name__ == "__main__":
    np.savez(sys.argv[1], **dict(simulate()))
