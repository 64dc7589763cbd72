import pytest
import torch
from networks import inputs, network

from src.errors import ConfigError
from src.models.components.convnext import ConvNeXtBlock


def test_a_block_begins_near_identity_and_scales_what_it_adds():
    torch.manual_seed(0)
    block, features = ConvNeXtBlock(6, 5, 4, layer_scale=0.1), torch.randn(2, 6, 7, 9)
    added = block(features, None) - features
    with torch.no_grad():
        block.scale.mul_(2)
    torch.testing.assert_close(block(features, None) - features, 2 * added, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        block.scale.zero_()
    assert torch.equal(block(features, None), features)


@pytest.mark.parametrize("strides", [[1, 1], [2, 3], [4, 2], [5, 4]])
def test_strides_make_the_grid_coarser_whatever_the_size(strides):
    for side in (4, 7, 32, 33):
        assert network("convnext", (1, side, side), strides=strides)(*inputs((1, side, side)))["decay"].shape == (5, 24)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"depths": [1, 1, 1]}, r"net.widths 2, net.depths 3, net.strides 2"),
        ({"strides": [4]}, r"net.widths 2, net.depths 2, net.strides 1"),
        ({"kernel_size": 6}, r"kernel_size is 6.*odd"),
        ({"kernel_size": -1}, r"kernel_size is -1.*odd"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, facts):
    with pytest.raises(ConfigError, match=facts):
        network("convnext", **changes)
