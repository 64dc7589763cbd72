import numpy as np
import pytest
import scipy.stats
import torch

from src.errors import CheckpointError, ConfigError
from src.evaluation.domain import FAR, FIRST_GRID, KEYS, Domain, picture, zone_of


def images(n: int, seed: int) -> torch.Tensor:
    """Ridges of random pitch and decay: a family of few parameters, as a synthesizer's images are."""
    rng = torch.Generator().manual_seed(seed)
    pitch, decay = torch.rand(2, n, 1, 1, generator=rng)
    freq, time = torch.linspace(0, 1, 32)[:, None], torch.linspace(0, 1, 24)
    level = torch.exp(-20 * (freq - pitch) ** 2) * torch.exp(-(1 + 4 * decay) * time)
    return (255 * level).round().to(torch.uint8)[:, None]


def levels(n: int, seed: int) -> torch.Tensor:
    """Levels of such images, dB."""
    loudest = torch.randn(n, generator=torch.Generator().manual_seed(seed)) * 2 - 20
    return torch.stack([loudest - 80, loudest], dim=1)


DOMAIN = Domain.fit(images(2000, seed=1), levels(2000, seed=1))


def first_version(image: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Statistics as checkpoints of version 2 hold them, and the Mahalanobis distances of images by their formula."""
    known = picture(image, FIRST_GRID)
    mean, deviation = known.mean(dim=0), known - known.mean(dim=0)
    covariance = deviation.T @ deviation / len(known)
    covariance.diagonal().add_(1e-3 * covariance.diagonal().mean())
    whitening = torch.linalg.inv(torch.linalg.cholesky(covariance))
    distance = torch.linalg.vector_norm(deviation @ whitening.T, dim=1)
    quantiles = torch.quantile(distance, torch.linspace(0, 1, 1001, dtype=distance.dtype))
    plain = {"mean": mean, "whitening": whitening, "quantiles": quantiles}
    return {key: item.float() for key, item in plain.items()}, distance / torch.quantile(distance, 0.95)


def test_a_picture_is_the_means_of_an_image():
    image = torch.randint(0, 256, (2, 3, 32, 16), dtype=torch.uint8)
    found = picture(image, 8).unflatten(1, (3, 8, 8))
    assert torch.allclose(found[1, 2, 3, 4], image[1, 2, 12:16, 8:10].double().mean() / 255, atol=1e-6)


def test_of_images_of_the_same_kind_95_percent_are_within_1():
    distance = DOMAIN.distance(images(2000, seed=2), levels(2000, seed=2))
    assert abs(np.mean(distance <= 1) - 0.95) < 4 * (0.95 * 0.05 * (1 / 2000 + 1 / 1000)) ** 0.5


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
    assert (DOMAIN.distance(other) > FAR).all()


def test_the_distance_grows_along_a_line_and_has_no_end():
    image = images(1, seed=5).float()
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(6))
    steps = torch.cat([(image + 10 * size * noise).clamp(0, 255) for size in range(5)]).to(torch.uint8)
    assert (np.diff(DOMAIN.distance(steps)) > 0).all()
    loud = torch.tensor([[-80.0, 0.0]]) + torch.tensor([10.0**n for n in range(3, 9)])[:, None]
    far = DOMAIN.distance(image.to(torch.uint8).expand(6, -1, -1, -1), loud)
    assert np.allclose(far[1:] / far[:-1], 10, rtol=0.1)


def test_noise_is_ranked_by_its_level():
    image, rng = images(40, seed=10).float(), torch.Generator().manual_seed(11)
    sizes = [0, 2, 5, 10, 20, 40, 80]
    noisy = [(image + size * torch.randn(image.shape, generator=rng)).clamp(0, 255).to(torch.uint8) for size in sizes]
    found = scipy.stats.spearmanr(np.repeat(sizes, 40), DOMAIN.distance(torch.cat(noisy)))
    assert found.statistic > 0.95


def test_levels_count_where_they_mean_something():
    image = images(50, seed=12)
    usual, loud = levels(50, seed=12), levels(50, seed=12) + 40
    assert (DOMAIN.distance(image, loud) > np.maximum(DOMAIN.distance(image, usual), 2)).all()
    assert (DOMAIN.distance(image) <= DOMAIN.distance(image, usual)).all()


def test_a_domain_without_levels_ignores_them():
    domain, image = Domain.fit(images(200, seed=1)), images(5, seed=13)
    assert np.array_equal(domain.distance(image, levels(5, seed=13)), domain.distance(image))
    assert np.array_equal(Domain.fit(images(200, seed=1), torch.zeros(200, 0)).distance(image), domain.distance(image))


def test_a_batch_is_its_items():
    image, level = images(5, seed=7), levels(5, seed=7)
    alone = np.concatenate([DOMAIN.distance(image[n : n + 1], level[n : n + 1]) for n in range(5)])
    assert np.allclose(DOMAIN.distance(image, level), alone)


def test_what_a_checkpoint_keeps_is_the_same_again_and_small():
    image = images(5, seed=8)
    plain = DOMAIN.to_dict()
    assert np.array_equal(Domain.from_dict(plain).distance(image), DOMAIN.distance(image))
    assert sum(item.numel() for item in plain.values()) < 20_000


def test_statistics_of_the_first_version_give_their_own_distances():
    image = images(400, seed=9)
    plain, distance = first_version(image)
    domain = Domain.from_dict(plain, (1, 32, 24))
    assert np.allclose(domain.distance(image), distance, rtol=1e-3)
    assert np.array_equal(Domain.from_dict(domain.to_dict()).distance(image), domain.distance(image))


FIRST = first_version(images(100, seed=1))[0]


@pytest.mark.parametrize(("version", "key"), [*(("today", key) for key in KEYS), *(("first", key) for key in FIRST)])
@pytest.mark.parametrize(
    "damage", [None, ["a"], [[1.0], [2.0, 3.0]], [[[1.0]]], {}, [10**400], [], [float("nan")]], ids=lambda d: str(d)[:9]
)
def test_damaged_statistics_are_refused(version, key, damage):
    plain = FIRST if version == "first" else DOMAIN.to_dict()
    with pytest.raises(CheckpointError, match="statistics of the training images"):
        Domain.from_dict(plain | {key: damage})


@pytest.mark.parametrize("key", ["variance", "rest", "unit"])
def test_what_divides_is_positive(key):
    plain = DOMAIN.to_dict()
    with pytest.raises(CheckpointError, match="numbers that none can have"):
        Domain.from_dict(plain | {key: torch.zeros_like(plain[key])})


@pytest.mark.parametrize("plain", [torch.zeros(3), [], {}, "text", 3], ids=str)
def test_what_is_no_mapping_of_statistics_is_refused(plain):
    with pytest.raises(CheckpointError, match="statistics of the training images"):
        Domain.from_dict(plain)


def test_statistics_are_of_images_of_one_shape():
    shape = images(1, seed=9).shape[1:]
    Domain.from_dict(DOMAIN.to_dict(), tuple(shape))
    with pytest.raises(CheckpointError, match="fields, its images not"):
        Domain.from_dict(DOMAIN.to_dict(), (shape[0] + 1, *shape[1:]))


@pytest.mark.parametrize("size", [1, 2, 8])
def test_images_that_never_differ_have_a_domain(size):
    same = torch.full((10, 1, size, size), 7, dtype=torch.uint8)
    domain = Domain.fit(same)
    assert (domain.distance(same) <= 1).all()
    assert (domain.distance(same + 50) > FAR).all()
    assert np.isfinite(domain.distance(same + 50)).all()


def test_one_image_has_none():
    with pytest.raises(ConfigError, match="there are 1"):
        Domain.fit(images(1, seed=9))


ZONES = [(0, "inside"), (1, "inside"), (1.01, "near"), (FAR, "near"), (1e9, "far")]


@pytest.mark.parametrize(("distance", "zone"), ZONES)
def test_a_zone_is_a_distance_in_a_word(distance, zone):
    assert zone_of(distance) == zone
