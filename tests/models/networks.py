"""Every network in a small size, for tests of what all of them have in common."""

import torch

from src.models.components.bc_resnet import BCResNet
from src.models.components.cnn import SpectralCNN
from src.models.components.conv6 import Conv6
from src.models.components.convnext import ConvNeXt
from src.models.components.harmonic import HarmonicCNN
from src.models.components.mlp import MLP
from src.models.components.network import NetIO
from src.models.components.vit import VisionTransformer
from src.models.components.wave_cnn import WaveCNN

HEADS = {"velocity": 10, "decay": 24, "pitch": 1}
IO = ("head_sizes", "n_aux", "aux_mean", "aux_std")
CONDITIONING = ["none", "concat", "film"]

# Class and arguments of each family, and of what within a family takes another path.
NETWORKS = {
    "cnn": (SpectralCNN, {"widths": [4, 8, 8], "hidden": 12}),
    "cnn_deep": (
        SpectralCNN,
        {"widths": [4, 8], "hidden": 12, "strides": [2, [1, 2]], "depth": 3, "coordinates": True},
    ),
    "vit": (VisionTransformer, {"patch_size": [8, 4], "dim": 12, "depth": 2, "n_heads": 3, "hidden": 12}),
    "vit_sinusoidal": (
        VisionTransformer,
        {"patch_size": [4, 4], "dim": 8, "depth": 1, "n_heads": 1, "hidden": 12, "positions": "sinusoidal"},
    ),
    "mlp": (MLP, {"hidden": [12, 10]}),
    "mlp_linear": (MLP, {}),
    "convnext": (ConvNeXt, {"widths": [4, 8], "depths": [1, 2], "hidden": 12, "strides": [4, 2], "kernel_size": 5}),
    "conv6": (Conv6, {"widths": [4, 6, 8, 8, 10, 10], "hidden": 12}),
    "cnn_pooled": (SpectralCNN, {"widths": [4, 8], "hidden": 12, "pooling": [1, 1], "kernel_size": 5}),
    "harmonic": (
        HarmonicCNN,
        {"bins_per_octave": 12, "first_row": 2, "widths": [4, 6], "width": 8, "harmonics": [0.5, 1, 2, 3]},
    ),
    "bc_resnet": (
        BCResNet,
        {"widths": [4, 6], "depths": [1, 2], "strides": [1, 2], "stem": 6, "hidden": 12, "block_dropout": 0.0},
    ),
    "wave_cnn": (WaveCNN, {"widths": [6, 8], "kernel_sizes": [9, 5], "strides": [4, 2], "hidden": 12}),
    "wave_cnn_patches": (
        WaveCNN,
        {"widths": [6, 8], "kernel_sizes": [3, 5], "strides": [1, 2], "patch": 4, "hidden": 12},
    ),
}


def network(name, shape=(1, 32, 32), seed=0, **changes):
    """A network of `NETWORKS` with two conditioning inputs; `changes` replace its arguments, and those of `NetIO`."""
    torch.manual_seed(seed)
    make, settings = NETWORKS[name]
    fields = {"head_sizes": HEADS, "n_aux": 2} | changes
    io = NetIO(shape, **{key: fields.pop(key) for key in IO if key in fields})
    return make(io, **settings | fields)


def inputs(shape=(1, 32, 32), n=5, n_aux=2):
    """Images and conditioning inputs, the same every time."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (n, *shape), generator=generator).to(torch.uint8)
    return image, torch.randn(n, n_aux, generator=generator)
