"""Everything is computed on the device of the sounds, tried on the device `meta`, which has shapes and no numbers."""

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from src.spectral.channels import (
    GroupDelay,
    InstantaneousFrequency,
    LogPower,
    Modulation,
    Normalized,
    SpectralEnvelope,
    TemporalEnvelope,
)
from src.spectral.features import FEATURES, measure
from src.spectral.functional import Constants
from src.spectral.representation import SpectralRepresentation, working_memory
from src.spectral.waveform import BitStream, Waveform

META = torch.device("meta")
SOUND = {"sample_rate": 8000, "duration": 0.5}
STFT = SOUND | {"height": 32, "width": 16, "win_length": 128}
CHANNELS = {
    "windows": LogPower(ratios=[0.5, 4.0]),
    "frequency": InstantaneousFrequency(),
    "long_frequency": InstantaneousFrequency(win_ratio=2.0),
    "delay": GroupDelay(),
    "modulation": Modulation(),
    "temporal": TemporalEnvelope(),
    "spectral": SpectralEnvelope(),
    "normalized": Normalized(),
}
MEL = STFT | {"n_fft": 512, "mel": {"f_min": 50.0}}
REPRESENTATIONS = {
    "stft": SpectralRepresentation(**STFT),
    "pre-emphasis": SpectralRepresentation(**STFT, pre_emphasis=0.9),
    "mel": SpectralRepresentation(**MEL),
    "channels": SpectralRepresentation(**STFT, channels=CHANNELS),
    "channels of mel": SpectralRepresentation(**MEL, channels=CHANNELS),
    "waveform": Waveform(**SOUND),
    "bits": BitStream(**SOUND),
}
EACH = pytest.mark.parametrize("name", REPRESENTATIONS)


class OnOneDevice(TorchFunctionMode):
    """Refuses functions of PyTorch that get numbers of another device beside those of `meta`."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        flat = [entry for item in args for entry in (item if isinstance(item, list | tuple) else [item])]
        devices = {item.device.type for item in flat if isinstance(item, Tensor) and item.ndim}
        assert "meta" not in devices or devices == {"meta"}, func
        return func(*args, **(kwargs or {}))


@EACH
def test_an_image_is_made_on_the_device_of_its_sound(name):
    representation = REPRESENTATIONS[name]
    with OnOneDevice():
        image, spec_range = representation.to_image(torch.zeros(5, 4000, device=META))
        features = measure(image, spec_range, list(FEATURES))
    assert (image.device, spec_range.device, features.device) == (META, META, META)
    assert image.shape == (5, *representation.image_shape)
    assert (spec_range.shape, features.shape) == ((5, 2), (5, len(FEATURES)))


@EACH
def test_sounds_side_by_side_in_time_have_the_same_images(name):
    """As a GPU writes them: `(time, sound)`, transposed."""
    waveform = torch.rand(6, 4000, generator=torch.Generator().manual_seed(1)) - 0.5
    expected = REPRESENTATIONS[name].to_image(waveform)
    found = REPRESENTATIONS[name].to_image(waveform.T.contiguous().T)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=0, atol=1)


@EACH
def test_working_memory_is_more_than_the_image_and_less_than_a_thousand_sounds(name):
    representation = REPRESENTATIONS[name]
    sounds = torch.zeros(4, 4000)
    image, spec_range = representation.to_image(sounds)
    assert image.nbytes + spec_range.nbytes < 4 * needed(representation, sounds) < 1000 * sounds.nbytes


def test_more_channels_need_more_memory():
    plain, more = (needed(REPRESENTATIONS[name], torch.zeros(4, 4000)) for name in ("stft", "channels"))
    assert more > 3 * plain


def needed(representation, waveform):
    return working_memory(representation.to_image, waveform)


def test_constants_are_moved_once():
    constants = Constants(torch.arange(3.0))
    assert constants.on(torch.device("cpu")) is constants.on(torch.device("cpu"))
    assert constants.on(META) is constants.on(META)
    assert constants.on(META).device == META
