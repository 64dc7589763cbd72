import pytest
import torch
from networks import inputs
from torch import nn

from src.models.components.conv6 import Conv6
from src.models.components.network import NetIO


def test_six_convolutions_of_stride_2_and_a_dense_layer():
    net = Conv6(NetIO((1, 32, 64), {"decay": 24}))
    assert [layer.stride for layer in net.convolutions] == [(2, 2)] * 6
    assert all(a.out_channels < b.out_channels for a, b in zip(net.convolutions, net.convolutions[1:], strict=False))
    assert not [part for part in net.modules() if isinstance(part, nn.BatchNorm2d | nn.LayerNorm)]
    assert (net.hidden.in_features, net.hidden.out_features) == (256, 512)


def test_without_norms_the_scale_of_the_features_survives_all_layers():
    torch.manual_seed(0)
    net, (image, aux) = Conv6(NetIO((1, 64, 64), {"decay": 24}, n_aux=2)), inputs((1, 64, 64), n=16)
    sizes = []
    net.activation.register_forward_hook(lambda module, given, found: sizes.append(found.std().item()))
    net(image, aux)
    assert len(sizes) == 7
    assert max(sizes) / min(sizes) == pytest.approx(1, abs=5)
    assert min(sizes) > 0.1


def test_with_batch_norm_each_convolution_gives_features_of_one_size():
    torch.manual_seed(0)
    net, (image, aux) = Conv6(NetIO((1, 64, 64), {"decay": 24}, n_aux=2), batch_norm=True), inputs((1, 64, 64), n=16)
    found = []
    for norm in net.norms:
        norm.register_forward_hook(lambda module, given, features: found.append(features.detach()))
    net(image, aux)
    assert len(found) == 6
    for features in found:
        torch.testing.assert_close(features.mean(dim=(0, 2, 3)), torch.zeros(features.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(
            features.std(dim=(0, 2, 3), correction=0), torch.ones(features.shape[1]), atol=0.05, rtol=0
        )
