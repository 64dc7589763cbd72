import pytest
import torch
from networks import inputs, network

from scripts.list_configs import model_config
from src.errors import ConfigError
from src.hydra_versions import instantiate
from src.models.components.bc_resnet import BroadcastBlock, SubSpectralNorm, bands_of
from src.models.components.network import NetIO

# Weights of BC-ResNet-1 and BC-ResNet-0.625, as Kim et al. 2021 and Svirsky et al. 2024 print them.
PUBLISHED = {"bc_resnet_9k": 9_232, "bc_resnet_5k": 4_585}


def block(n_in=4, n_out=4, stride=1, dilation=2, n_bands=2):
    torch.manual_seed(0)
    made = BroadcastBlock(n_in, n_out, stride, dilation, n_bands, dropout=0.0)
    return made.eval()


@pytest.mark.parametrize(("model", "count"), PUBLISHED.items())
def test_the_networks_have_the_weights_of_the_published_ones(model, count):
    net = instantiate(model_config(model).net, NetIO((1, 40, 100), {"word": 12}), _convert_="all")
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_a_norm_treats_every_band_as_batch_norm_would_treat_it_alone():
    torch.manual_seed(0)
    norm, features = SubSpectralNorm(3, 2), torch.randn(5, 3, 8, 7) * torch.arange(1, 9)[:, None]
    found = norm(features)
    for number, rows in enumerate(features.split(4, dim=2)):
        alone = torch.nn.BatchNorm2d(3)(rows)
        torch.testing.assert_close(found[:, :, 4 * number : 4 * number + 4], alone)
    norm.eval()
    torch.testing.assert_close(norm.running_mean.reshape(3, 2)[:, 1], 0.1 * features[:, :, 4:].mean(dim=(0, 2, 3)))


@pytest.mark.parametrize(("n_rows", "n_bands"), [(20, 5), (16, 4), (6, 3), (7, 1), (1, 1), (25, 5)])
def test_bands_are_as_many_as_divide_the_rows(n_rows, n_bands):
    assert bands_of(n_rows, 5) == n_bands


def test_what_is_found_over_time_is_added_to_every_row_alike():
    made, features = block(), 50 + torch.randn(2, 4, 6, 9)
    with torch.no_grad():
        made.over_freq.weight.mul_(0.1)  # so that everything stays above the rectifier's corner
    added = made(features, None) - made.norm(made.over_freq(features)) - features
    torch.testing.assert_close(added, added[:, :, :1].expand_as(added), atol=1e-4, rtol=1e-3)
    assert added.abs().max() > 0.1
    with torch.no_grad():
        made.mix.weight.zero_()
    torch.testing.assert_close(made(features, None), made.norm(made.over_freq(features)) + features)


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_a_block_looks_as_far_in_time_as_its_dilation(dilation):
    made, features = block(dilation=dilation), torch.zeros(1, 4, 6, 21)
    changed = features.clone()
    changed[..., 10] = 5.0
    difference = (made(changed, None) - made(features, None)).abs().amax(dim=(0, 1, 2))
    assert difference.nonzero().flatten().tolist() == [10 - dilation, 10, 10 + dilation]


@pytest.mark.parametrize(("n_in", "n_out", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2), (4, 6, 2)])
def test_only_a_block_that_changes_neither_channels_nor_rows_adds_its_input(n_in, n_out, stride):
    made = block(n_in, n_out, stride, n_bands=1)
    assert made(torch.randn(2, n_in, 6, 9), None).shape == (2, n_out, 6 // stride, 9)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    features = torch.rand(2, n_in, 6, 9)
    expected = features if (n_in, stride) == (n_out, 1) else torch.zeros(2, n_out, 6 // stride, 9)
    assert torch.equal(made(features, None), expected)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"depths": [1, 1, 1]}, r"net.widths 2, net.depths 3, net.strides 2"),
        ({"strides": [1, 0]}, r"net.strides is 0"),
        ({"bands": 0}, r"net.bands is 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, facts):
    with pytest.raises(ConfigError, match=facts):
        network("bc_resnet", **changes)


def test_a_word_may_begin_anywhere():
    net = network("bc_resnet", (1, 40, 60), conditioning="none").eval()
    image, aux = inputs((1, 40, 60))
    quiet = torch.zeros_like(image)
    quiet[..., 20:30] = image[..., 20:30]
    for name, head in net(quiet, aux).items():
        torch.testing.assert_close(net(quiet.roll(6, dims=3), aux)[name], head, atol=1e-4, rtol=1e-4)
