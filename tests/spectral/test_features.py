import math

import pytest
import torch

from src.errors import ConfigError
from src.spectral import functional as F
from src.spectral.features import DECAY_RANGE, FEATURES, measure

TOP_DB = 80.0


def image_of(power):
    """8-bit image of a power spectrogram `(batch, freq, time)`, and its spec range."""
    db, spec_min, spec_max = F.power_to_db(power, TOP_DB)
    return F.quantize_db(db, spec_min, spec_max)[:, None], torch.stack([spec_min, spec_max], dim=1)


def feature(name, power):
    return measure(*image_of(power), (name,))[:, 0]


def decay(tau, height=16, width=32, row=5):
    """An amplitude of 0.1 in one row that falls to 1/e every `tau` frames."""
    power = torch.zeros(1, height, width)
    power[0, row] = (0.1 * torch.exp(-torch.arange(width) / tau)).square()
    return power


@pytest.mark.parametrize("tau", [0.7, 1.5, 4.0, 10.0, 30.0, 80.0])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_the_time_constant_of_an_exponential(tau, width):
    found = 10 ** feature("decay_time", decay(tau, width=width)) * width
    assert found.item() == pytest.approx(tau, rel=0.03)  # a level is 0.3 dB


def test_the_time_constant_does_not_depend_on_level_row_and_number_of_partials():
    one, other = decay(6.0), 1e-4 * (decay(6.0, row=1) + 0.3 * decay(6.0, row=9))
    found = feature("decay_time", torch.cat([one, other]))
    assert found[1].item() == pytest.approx(found[0].item(), abs=0.01)


@pytest.mark.parametrize("tau", [1e6, -5.0], ids=["constant", "rising"])
def test_a_sound_that_does_not_decay_has_the_longest_time(tau):
    assert feature("decay_time", decay(tau)).item() == DECAY_RANGE[1]


def test_a_sound_of_one_frame_has_the_shortest_time():
    click = torch.zeros(1, 16, 32)
    click[0, :, 3] = 0.1
    assert feature("decay_time", click).item() == DECAY_RANGE[0]


@pytest.mark.parametrize("height", [8, 32])
@pytest.mark.parametrize("row", [0, 3, 7])
def test_the_centroid_of_one_row_is_that_row(row, height):
    assert feature("spectral_centroid", decay(9.0, height=height, row=row)).item() == pytest.approx(row / height)


def test_the_centroid_is_weighted_by_power():
    power = decay(9.0, row=2) + 3 * decay(9.0, row=10)
    assert feature("spectral_centroid", power).item() == pytest.approx((2 + 3 * 10) / 4 / 16, rel=0.02)


@pytest.mark.parametrize("gain_db", [0.0, -13.0, -40.0])
def test_the_level_is_that_of_the_total_power(gain_db):
    power = 10 ** (gain_db / 10) * (decay(9.0, row=2) + decay(20.0, row=10))
    assert feature("level", power).item() == pytest.approx(10 * math.log10(power.sum().item()), abs=0.1)


def test_the_level_tells_apart_what_the_image_does_not():
    loud, quiet = image_of(decay(9.0)), image_of(decay(9.0) / 100)
    assert torch.equal(loud[0], quiet[0])
    level = measure(torch.cat([loud[0], quiet[0]]), torch.cat([loud[1], quiet[1]]), ("level",))[:, 0]
    assert (level[0] - level[1]).item() == pytest.approx(20.0, abs=1e-3)


@pytest.mark.parametrize("spec_range", [(-120.0, -120.0), (-80.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("pixel", [0, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (4, 4)])
def test_everything_is_finite_even_for_silence(spec_range, pixel, shape):
    image = torch.full((3, 1, *shape), pixel, dtype=torch.uint8)
    found = measure(image, torch.tensor([spec_range] * 3), tuple(FEATURES))
    assert found.shape == (3, len(FEATURES))
    assert found.dtype == torch.float32
    assert found.isfinite().all()


def test_silence_has_the_lowest_values():
    silence = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    found = measure(silence, torch.full((1, 2), F.DB_FLOOR), ("decay_time", "spectral_centroid", "level"))
    assert found.tolist() == [[DECAY_RANGE[0], 0.0, F.DB_FLOOR]]


def test_a_batch_is_its_items_in_the_order_of_the_names():
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (9, 1, 16, 24), dtype=torch.uint8, generator=generator)
    spec_range = torch.stack([torch.linspace(-100, -60, 9), torch.linspace(-20, 0, 9)], dim=1)
    names = ("level", "decay_time", "spectral_centroid")
    whole = measure(image, spec_range, names)
    for item in range(9):
        torch.testing.assert_close(measure(image[[item]], spec_range[[item]], names)[0], whole[item])
    for column, name in enumerate(names):
        torch.testing.assert_close(measure(image, spec_range, (name,))[:, 0], whole[:, column])
    assert measure(image, spec_range, ()).shape == (9, 0)


def test_only_the_first_channel_is_measured():
    image, spec_range = image_of(decay(5.0))
    noise = torch.randint(0, 256, image.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    both = torch.cat([image, noise], dim=1)
    assert torch.equal(measure(both, spec_range, tuple(FEATURES)), measure(image, spec_range, tuple(FEATURES)))


def test_an_unknown_feature_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"names pitch; known are spec_min.*decay_time, spectral_centroid, level"):
        measure(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, 2), ("level", "pitch"))
