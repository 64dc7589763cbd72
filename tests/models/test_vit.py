import pytest
import torch
import torch.nn.functional as F
from networks import inputs, network
from torch import nn

from src.errors import ConfigError
from src.models.components.vit import TransformerBlock, sinusoids, to_patches


def test_patches_are_rectangles_in_the_order_of_frequency_then_time():
    image = torch.arange(2 * 3 * 8 * 12).reshape(2, 3, 8, 12)
    patches = to_patches(image, (4, 6))
    assert patches.shape == (2, 4, 3 * 4 * 6)
    assert torch.equal(patches[1, 0], image[1, :, :4, :6].flatten())
    assert torch.equal(patches[1, 1], image[1, :, :4, 6:].flatten())
    assert torch.equal(patches[1, 2], image[1, :, 4:, :6].flatten())


@pytest.mark.parametrize("patch_size", [[8, 8], [4, 16], [32, 2]])
def test_an_image_that_patches_do_not_divide_is_padded_with_silence(patch_size):
    image, aux = inputs((1, 27, 41))
    whole = F.pad(image, (0, -41 % patch_size[1], 0, -27 % patch_size[0]))
    small = network("vit", (1, 27, 41), patch_size=patch_size)
    large = network("vit", tuple(whole.shape[1:]), patch_size=patch_size)
    for head, expected in zip(small(image, aux).values(), large(whole, aux).values(), strict=True):
        assert torch.equal(head, expected)


def test_attention_is_that_of_pytorch():
    torch.manual_seed(0)
    block, reference = TransformerBlock(12, 3, 24), nn.MultiheadAttention(12, 3, batch_first=True)
    weights = {
        "in_proj_weight": block.qkv.weight,
        "in_proj_bias": torch.zeros(36),
        "out_proj.weight": block.project.weight,
        "out_proj.bias": block.project.bias,
    }
    reference.load_state_dict(weights)
    tokens = torch.randn(4, 7, 12)
    expected, _ = reference(tokens, tokens, tokens)
    torch.testing.assert_close(block.attend(tokens), expected, atol=1e-6, rtol=1e-5)


def test_positions_differ_and_neighbours_are_alike():
    where = F.normalize(sinusoids(6, 5, 16), dim=1)
    assert where.shape == (30, 16)
    likeness = (where @ where.T).reshape(30, 6, 5)
    assert ((likeness > 1 - 1e-5).flatten(1).sum(dim=1) == 1).all()
    corner = likeness[0]
    assert corner[0, 1] == pytest.approx(corner[1, 0].item(), abs=1e-5)
    assert corner[0, 0] > corner[0, 1] > corner[0, 2] > corner[2, 2]


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_a_network_knows_where_a_patch_is(positions):
    net, (image, aux) = network("vit", positions=positions).eval(), inputs()
    moved = image.roll(8, dims=2)
    assert not torch.allclose(net(image, aux)["decay"], net(moved, aux)["decay"], atol=1e-4)


def test_fixed_positions_are_no_part_of_a_checkpoint():
    assert "positions" in dict(network("vit").named_parameters())
    assert "positions" not in network("vit", positions="sinusoidal").state_dict()


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"dim": 10}, r"net.dim is 10.*multiple of 4 and of net.n_heads, which is 3"),
        ({"dim": 16}, r"net.dim is 16.*n_heads, which is 3"),
        ({"dim": 0}, r"net.dim is 0"),
        ({"n_heads": 0}, r"n_heads, which is 0"),
        ({"patch_size": [8]}, r"patch_size is \[8\].*\[freq, time\]"),
        ({"patch_size": [8, 0]}, r"patch_size is \[8, 0\].*1 or more"),
        ({"positions": "rotary"}, r"positions is 'rotary'; choose one of learned, sinusoidal"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(changes, facts):
    with pytest.raises(ConfigError, match=facts):
        network("vit", **changes)
