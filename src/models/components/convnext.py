"""`ConvNeXt`: depthwise convolutions and pointwise MLPs (Liu et al. 2022), with a head per parameter."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.models.components.conditioning import Film, modulate
from src.models.components.network import NetIO, Network, check_odd, check_stages


class ConvNeXt(Network):
    """Image → stages of blocks, each on a coarser grid → flatten, join the conditioning inputs → hidden layer → heads.

    Three things differ from the paper, for images as small as these. The convolutions that lead to a coarser grid
    overlap, so that any size will do. The last stage is flattened, not averaged, to keep where a feature was found. A
    hidden layer lets the conditioning inputs meet the features.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        widths: Channels of each stage.
        depths: Number of blocks of each stage.
        hidden: Size of the hidden layer.
        strides: How much coarser each stage's grid is than the one before it.
        kernel_size: Of the depthwise convolutions, odd.
        expansion: Size of an MLP's hidden layer over that of its input.
        layer_scale: What the factors of the residual branches begin as.
        conditioning: How `aux` joins: `none`, `concat` (before the hidden layer) or `film` (after each block's norm).
        dropout: Share of the hidden units that is dropped in training.

    Raises:
        ConfigError: If the numbers of `widths`, `depths` and `strides` differ, the kernel size is even, or
            `conditioning` is unknown.
    """

    def __init__(
        self,
        io: NetIO,
        widths: Sequence[int],
        depths: Sequence[int],
        hidden: int,
        strides: Sequence[int],
        kernel_size: int = 7,
        expansion: int = 4,
        layer_scale: float = 1.0,
        conditioning: str = "concat",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(io, conditioning, dropout)
        check_stages(widths=widths, depths=depths, strides=strides)
        check_odd("kernel_size", kernel_size)
        n_in, n_freq, n_frames = io.input_shape
        self.reductions, self.stages = nn.ModuleList(), nn.ModuleList()
        for width, depth, stride in zip(widths, depths, strides, strict=True):
            self.reductions.append(nn.Conv2d(n_in, width, 2 * stride - 1, stride, padding=stride - 1, bias=False))
            self.stages.append(
                nn.ModuleList(ConvNeXtBlock(width, kernel_size, expansion, layer_scale) for _ in range(depth))
            )
            n_in, n_freq, n_frames = width, -(-n_freq // stride), -(-n_frames // stride)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.last_norm = nn.LayerNorm(n_in)
        width_of_block = [width for width, depth in zip(widths, depths, strict=True) for _ in range(depth)]
        self.film = Film(self.n_film, width_of_block)
        self.add_hidden(n_in * n_freq * n_frames, hidden, nn.GELU(), io.head_sizes)

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`."""
        features, film = pixels, iter(films)
        for reduce, norm, blocks in zip(self.reductions, self.norms, self.stages, strict=True):
            features = channels_first(norm(channels_last(reduce(features))))  # (batch, width, freq / s, time / s)
            for block in blocks.children():
                features = block(features, next(film))
        features = self.last_norm(channels_last(features)).flatten(1)  # (batch, freq * time * width)
        return self.join(features, beside)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, norm over the channels, MLP at every position; what it finds is scaled and added.

    Args:
        width: Number of channels.
        kernel_size: Of the convolution, odd.
        expansion: Size of the MLP's hidden layer over `width`.
        layer_scale: What the factor of every channel begins as.
    """

    def __init__(self, width: int, kernel_size: int, expansion: int, layer_scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel_size, padding=kernel_size // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))
        self.scale = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, features: Tensor, film: Tensor | None) -> Tensor:
        """`(batch, width, freq, time)` to the same; `film` modulates what the MLP sees."""
        found = self.norm(channels_last(self.depthwise(features)))  # (batch, freq, time, width)
        found = self.mlp(modulate(found, film, dim=-1)) * self.scale
        return features + channels_first(found)


def channels_last(features: Tensor) -> Tensor:
    """`(batch, width, freq, time)` to `(batch, freq, time, width)`."""
    return features.permute(0, 2, 3, 1)


def channels_first(features: Tensor) -> Tensor:
    """`(batch, freq, time, width)` to `(batch, width, freq, time)`."""
    return features.permute(0, 3, 1, 2)
