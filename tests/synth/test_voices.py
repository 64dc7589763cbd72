"""Laws that hold for every voice."""

from functools import partial

import numba
import numpy as np
import pytest
from reference import SILENCE, random_parameters

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
    parameters = random_parameters(type(voice), 256)
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
