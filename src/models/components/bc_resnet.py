"""`BCResNet`: broadcasted residual learning (Kim et al. 2021), the field's small network for spoken words."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import check_number
from src.models.components.conditioning import Film, modulate
from src.models.components.network import MultiHead, NetIO, Network, check_stages, set_memory_format


class BCResNet(Network):
    """Image → convolution → stages of broadcast blocks → a convolution over all rows → mean over time → heads.

    After "Broadcasted Residual Learning for Efficient Keyword Spotting" (arXiv 2106.04140): most of the work is done on
    the mean over frequency, in one dimension, and what it finds is added to every row. Time keeps its resolution up to
    the last mean, so that a word may begin anywhere; each stage looks twice as far around in time as the one before it.
    With the widths of `bc_resnet_9k`, 40 bands and 12 classes it has the 9,232 weights of the paper's BC-ResNet-1.

    Two things allow any image: a norm has as many bands as divide its rows, and the last depthwise convolution covers
    the rows that are left, five of the paper's 40. Conditioning inputs are not in the paper.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        widths: Channels of each stage.
        depths: Number of blocks of each stage.
        strides: How many times fewer rows each stage has than the one before it.
        stem: Channels of the first convolution, which halves the rows.
        hidden: Channels of the last convolution.
        bands: Most bands of a sub-spectral norm.
        conditioning: How `aux` joins: `none`, `concat` (before the last convolution) or `film` (after each block's
            sub-spectral norm).
        block_dropout: Share of the channels of what a block adds over time that is dropped in training.
        dropout: Share of the last features that is dropped in training.

    Raises:
        ConfigError: If the numbers of `widths`, `depths` and `strides` differ, a stride or `bands` is below 1, or
            `conditioning` is unknown.
    """

    def __init__(
        self,
        io: NetIO,
        widths: Sequence[int],
        depths: Sequence[int],
        strides: Sequence[int],
        stem: int,
        hidden: int,
        bands: int = 5,
        conditioning: str = "concat",
        block_dropout: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(io, conditioning, dropout)
        check_stages(widths=widths, depths=depths, strides=strides)
        check_number("net.bands", bands, whole=True, least=1)
        n_channels, n_rows, _ = io.input_shape
        self.stem = nn.Conv2d(n_channels, stem, 5, (2, 1), padding=2, bias=False)
        self.stem_norm, self.stem_activation = nn.BatchNorm2d(stem), nn.ReLU()
        self.blocks = nn.ModuleList()
        n_in, n_rows = stem, -(-n_rows // 2)
        for number, (width, depth, stride) in enumerate(zip(widths, depths, strides, strict=True)):
            n_rows = -(-n_rows // check_number("net.strides", stride, whole=True, least=1))
            for step in [stride, *[1] * (depth - 1)]:
                sizes = n_in, width, step, 2**number, bands_of(n_rows, bands)
                self.blocks.append(BroadcastBlock(*sizes, block_dropout))
                n_in = width
        width_of_block = [width for width, depth in zip(widths, depths, strict=True) for _ in range(depth)]
        self.film = Film(self.n_film, width_of_block)
        self.gather = nn.Conv2d(n_in, n_in, (n_rows, 5), padding=(0, 2), groups=n_in, bias=False)
        self.last = nn.Conv2d(n_in + self.n_beside, hidden, 1, bias=False)
        self.last_norm, self.last_activation = nn.BatchNorm2d(hidden), nn.ReLU()
        self.heads = MultiHead(hidden, io.head_sizes)
        set_memory_format(self, torch.channels_last)  # trains a fifth faster on a CPU

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`."""
        features = self.stem_activation(self.stem_norm(self.stem(pixels)))  # (batch, stem, freq / 2, time)
        for block, film in zip(self.blocks, films, strict=True):
            features = block(features, film)  # (batch, width, freq / stride, time)
        features = self.gather(features)  # (batch, width, 1, time)
        everywhere = beside[:, :, None, None].expand(-1, -1, 1, features.shape[3])
        features = self.last(torch.cat([features, everywhere], dim=1))  # (batch, hidden, 1, time)
        return self.last_activation(self.last_norm(features)).mean(dim=(2, 3))


class BroadcastBlock(nn.Module):
    """A convolution over frequency, and one over time of its mean over frequency, which is added to every row.

    Where neither channels nor rows change, the input is added as well; elsewhere a pointwise convolution comes first.

    Args:
        n_in: Channels that come in.
        n_out: Channels that go out.
        stride: How many times fewer rows go out.
        dilation: Frames between the taps of the convolution over time.
        n_bands: Of the sub-spectral norm.
        dropout: Share of the channels of what is added that is dropped in training.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, dilation: int, n_bands: int, dropout: float) -> None:
        super().__init__()
        self.is_residual = n_in == n_out and stride == 1
        self.change = nn.Sequential()
        if not self.is_residual:
            self.change.extend([nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()])
        self.over_freq = nn.Conv2d(n_out, n_out, (3, 1), (stride, 1), padding=(1, 0), groups=n_out, bias=False)
        self.norm = SubSpectralNorm(n_out, n_bands)
        self.over_time = nn.Conv2d(
            n_out, n_out, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=n_out, bias=False
        )
        self.time_norm, self.activation = nn.BatchNorm2d(n_out), nn.SiLU()
        self.mix = nn.Conv2d(n_out, n_out, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor, film: Tensor | None) -> Tensor:
        """`(batch, n_in, freq, time)` to `(batch, n_out, freq / stride, time)`; `film` modulates what a norm found."""
        found = modulate(self.norm(self.over_freq(self.change(features))), film)  # (batch, n_out, freq / s, time)
        mean = found.mean(dim=2, keepdim=True)  # (batch, n_out, 1, time)
        found = found + self.dropout(self.mix(self.activation(self.time_norm(self.over_time(mean)))))
        return F.relu(found + features if self.is_residual else found)


class SubSpectralNorm(nn.BatchNorm2d):
    """Batch norm of every band of rows for itself (Chang et al. 2021, "SubSpectral Normalization").

    Args:
        n_channels: Of what comes in.
        n_bands: Number of bands, of as many rows each.
    """

    def __init__(self, n_channels: int, n_bands: int) -> None:
        super().__init__(n_channels * n_bands)
        self.n_bands = n_bands

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, channel, freq, time)` to the same."""
        bands = features.unflatten(2, (self.n_bands, -1)).flatten(1, 2)  # (batch, channel * band, freq / band, time)
        normal = super().forward(bands).unflatten(1, (-1, self.n_bands)).flatten(2, 3)
        return normal.contiguous(memory_format=torch.channels_last)


def bands_of(n_rows: int, most: int) -> int:
    """The largest number of bands up to `most` that divides the rows."""
    return max(number for number in range(1, most + 1) if n_rows % number == 0)
