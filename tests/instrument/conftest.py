"""A network that has learnt something, calibrated on few sounds to save time, and the instrument that it hears."""

from functools import partial

import pytest
from instruments import instrument_of, trained_network

from src.checkpoints.trusted import instantiate_trusted
from src.playback import Playback
from src.readings import network
from src.vimh.reader import VIMHReader


@pytest.fixture(scope="module", autouse=True)
def brief_calibration():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "N_CLEAN", 32)
        patch.setattr(network, "N_PERTURBED", 64)
        yield


@pytest.fixture(scope="module")
def cnn(brief_calibration):
    return trained_network()


@pytest.fixture(scope="module")
def reader(saw_dir):
    return VIMHReader(saw_dir)


@pytest.fixture(scope="module")
def instrument(cnn, reader):
    playback = Playback(reader.info, partial(instantiate_trusted, trusted_modules=()))
    return instrument_of(cnn, samples=reader.test, playback=playback)


@pytest.fixture
def middle(instrument):
    """Values in the middle of their ranges."""
    return (instrument.space.low + instrument.space.high) / 2
