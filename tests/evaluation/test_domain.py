import pytest
import torch

from src.errors import CheckpointError, ConfigError
from src.evaluation.domain import KEYS, Domain, fields


def images(n: int, seed: int) -> torch.Tensor:
    """Ridges of random pitch and decay: a family of few parameters, as a synthesizer's images are."""
    rng = torch.Generator().manual_seed(seed)
    pitch, decay = torch.rand(2, n, 1, 1, generator=rng)
    freq, time = torch.linspace(0, 1, 32)[:, None], torch.linspace(0, 1, 24)
    level = torch.exp(-20 * (freq - pitch) ** 2) * torch.exp(-(1 + 4 * decay) * time)
    return (255 * level).round().to(torch.uint8)[:, None]


DOMAIN = Domain.fit(images(2000, seed=1))


def test_fields_are_means_of_the_image():
    image = torch.randint(0, 256, (2, 3, 32, 16), dtype=torch.uint8)
    found = fields(image).unflatten(1, (3, 8, 8))
    assert torch.allclose(found[1, 2, 3, 4], image[1, 2, 12:16, 8:10].double().mean() / 255, atol=1e-6)


def test_images_of_the_same_kind_are_spread_evenly_over_the_percentiles():
    percentile = DOMAIN.percentile(images(2000, seed=2)).sort().values
    uniform = torch.linspace(0, 100, len(percentile), dtype=torch.float64)
    assert (percentile - uniform).abs().max() < 100 * 1.63 * (1 / 2000 + 1 / 1000) ** 0.5  # Kolmogorov-Smirnov, 1 %


@pytest.mark.parametrize("change", ["upside down", "reversed", "noise", "black"])
def test_other_images_are_outside(change):
    same = images(20, seed=3)
    rng = torch.Generator().manual_seed(4)
    other = {
        "upside down": (255 - same),
        "reversed": same.flip(-1),
        "noise": torch.randint(0, 256, same.shape, generator=rng, dtype=torch.uint8),
        "black": torch.zeros_like(same),
    }[change]
    assert (DOMAIN.percentile(other) > 99).all()


def test_the_distance_grows_with_the_distance_along_a_line():
    image = images(1, seed=5).float()
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(6))
    steps = torch.cat([(image + 10 * size * noise).clamp(0, 255) for size in range(5)]).to(torch.uint8)
    assert (DOMAIN.distance(steps).diff() > 0).all()


def test_a_batch_is_its_items():
    image = images(5, seed=7)
    assert torch.allclose(DOMAIN.distance(image), torch.cat([DOMAIN.distance(one[None]) for one in image]))


def test_what_a_checkpoint_keeps_is_the_same_again():
    image = images(5, seed=8)
    assert torch.equal(Domain.from_dict(DOMAIN.to_dict()).percentile(image), DOMAIN.percentile(image))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "damage", [None, ["a"], [[1.0], [2.0, 3.0]], [[[1.0]]], {}, [10**400], []], ids=lambda d: str(d)[:9]
)
def test_damaged_statistics_are_refused(key, damage):
    with pytest.raises(CheckpointError, match="statistics of the training images"):
        Domain.from_dict(DOMAIN.to_dict() | {key: damage})


@pytest.mark.parametrize("plain", [torch.zeros(3), [], {}, "text", 3], ids=str)
def test_what_is_no_mapping_of_statistics_is_refused(plain):
    with pytest.raises(CheckpointError, match="statistics of the training images"):
        Domain.from_dict(plain)


def test_statistics_are_of_images_of_one_shape():
    shape = images(1, seed=9).shape[1:]
    Domain.from_dict(DOMAIN.to_dict(), tuple(shape))
    with pytest.raises(CheckpointError, match="fields, its images not"):
        Domain.from_dict(DOMAIN.to_dict(), (shape[0] + 1, *shape[1:]))


def test_images_that_never_differ_have_a_domain():
    same = torch.full((10, 1, 8, 8), 7, dtype=torch.uint8)
    domain = Domain.fit(same)
    assert torch.isfinite(domain.distance(same)).all()
    assert (domain.percentile(same + 50) == 100).all()


def test_one_image_has_none():
    with pytest.raises(ConfigError, match="there are 1"):
        Domain.fit(images(1, seed=9))
