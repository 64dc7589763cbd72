import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.errors import ConfigError
from src.spectral.channels import Modulation
from src.spectral.waveform import BitStream, Waveform, Waveform16, from_bits, from_bytes, to_bits, to_bytes, to_pcm8

RATE = 800
BOTH = pytest.mark.parametrize("kind", [Waveform, Waveform16, BitStream])


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 1.9 - 0.95


def test_the_ends_of_8_bit_pcm_and_its_middle():
    assert to_pcm8(torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 64, 128, 192, 255, 255]


def test_bits_are_those_of_twos_complement():
    words = np.array([-32768, -2, -1, 0, 1, 2, 5, 32767], np.int16)
    expected = np.unpackbits(words.view(np.uint8).reshape(-1, 2), axis=1, bitorder="little").T
    assert to_bits(torch.from_numpy(words / 32768.0)).tolist() == expected.tolist()


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=20))
def test_every_16_bit_word_comes_back(words):
    waveform = torch.tensor(words) / 32768
    assert torch.equal(from_bits(to_bits(waveform)), waveform)
    assert torch.equal(from_bytes(to_bytes(waveform)), waveform)


def test_bytes_are_those_of_16_bit_pcm_with_its_middle_at_half():
    words = np.array([-32768, -257, -1, 0, 1, 255, 256, 32767], np.int16)
    expected = (words.astype(np.int32) + 32768).astype(">u2").view(np.uint8).reshape(-1, 2).T
    assert to_bytes(torch.from_numpy(words / 32768.0)).tolist() == expected.tolist()


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_sound_comes_back_to_half_a_level(kind, dtype):
    representation, waveform = kind(RATE, 1.0), noise(3, RATE).to(dtype)
    image, spec_range = representation.to_image(waveform)
    assert image.shape == (3, *representation.image_shape)
    assert image.dtype == torch.uint8
    assert not spec_range.any()
    assert spec_range.shape == (3, 2)
    half_level = {Waveform: 1 / 256, Waveform16: 1 / 65536, BitStream: 1 / 65536}[kind]
    assert (representation.to_waveform(image) - waveform.float()).abs().max() <= half_level


@BOTH
def test_pixels_mean_what_the_ranges_say(kind):
    representation = kind(RATE, 0.5)
    ((low, high, _),) = representation.channel_ranges
    pixels = representation.to_image(noise(RATE // 2))[0]
    level = low + pixels.double() * (high - low) / 255
    if kind is Waveform:
        torch.testing.assert_close(level[0, 0], representation.to_waveform(pixels).double())
    elif kind is Waveform16:
        assert torch.equal(level, pixels.double())
    else:
        assert set(level.flatten().tolist()) == {0.0, 1.0}


@BOTH
def test_silence_is_no_range_and_comes_back(kind):
    representation = kind(RATE, 1.0)
    image, spec_range = representation.to_image(torch.zeros(RATE))
    assert not representation.to_waveform(image).any()
    assert not spec_range.any()
    of_row = {Waveform: [128], Waveform16: [128, 0], BitStream: [0] * 16}[kind]
    assert (image == torch.tensor(of_row)[:, None]).all()


@BOTH
def test_batches_equal_their_items_whatever_their_dimensions(kind):
    representation, waveforms = kind(RATE, 1.0), noise(2, 3, RATE)
    image, spec_range = representation.to_image(waveforms)
    assert spec_range.shape == (2, 3, 2)
    for a in range(2):
        for b in range(3):
            assert torch.equal(representation.to_image(waveforms[a, b])[0], image[a, b])


@BOTH
def test_one_channel_with_a_name_a_range_and_axes(kind):
    representation = kind(RATE, 1.5)
    assert representation.image_shape == (1, {Waveform: 1, Waveform16: 2, BitStream: 16}[kind], 1200)
    assert len(representation.channel_labels) == len(representation.channel_ranges) == 1
    (axes,) = representation.channel_axes
    assert (axes["columns"], axes["column_step"], axes["column_units"]) == ("time", 1 / RATE, "s")
    assert "rows" in axes
    assert representation.describe_mel() is None


@BOTH
@pytest.mark.parametrize("sound", [(0, 1.0), (10**9, 1.0), (RATE, 1e9), (RATE, float("nan")), (RATE, "1"), (None, 1.0)])
def test_sounds_of_no_length_or_of_any_are_refused(kind, sound):
    with pytest.raises(ConfigError, match=r"sample_rate|duration"):
        kind(*sound)


@BOTH
def test_settings_of_spectrograms_do_not_matter_and_unknown_ones_are_refused(kind):
    assert kind(RATE, 1.0, height=32, width=32, win_length=80, window="boxcar").image_shape[-1] == RATE
    with pytest.raises(ConfigError, match="does not know bits, rate"):
        kind(RATE, 1.0, rate=3, bits=8)
    assert kind(RATE, 1.0, channels={}).image_shape[-1] == RATE
    with pytest.raises(ConfigError, match=r"takes samples as they are, and no channels \(modulation\).*=stft or mel"):
        kind(RATE, 1.0, channels={"modulation": Modulation()})
    with pytest.raises(ConfigError, match=r"pre_emphasis is 0.9"):
        kind(RATE, 1.0, pre_emphasis=0.9)
