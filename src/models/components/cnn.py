"""`SpectralCNN`: a strided convolutional network with a head per parameter."""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import ConfigError, check_number
from src.models.components.conditioning import Film, modulate
from src.models.components.network import NetIO, Network, check_odd, set_memory_format


class SpectralCNN(Network):
    """Image → strided convolutions → flatten, join the conditioning inputs → hidden layer → heads.

    Each stage halves frequency and time by a stride of 2: on a CPU that is cheaper than a convolution at full size with
    pooling after it. Flattening, unlike averaging, keeps where in frequency and time a feature was found.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        widths: Channels of each stage.
        hidden: Size of the hidden layer.
        conditioning: How `aux` joins: `none`, `concat` (before the hidden layer) or `film` (after each stage's norm).
        kernel_size: Of all convolutions, odd.
        strides: Of each stage, a number or `[freq, time]`; all 2 if None.
        depth: Convolutions of each stage. The first strides; each of the others adds to what it is given.
        coordinates: Give the first stage the position of each pixel in frequency and time.
        dropout: Share of the hidden units that is dropped in training.

    Raises:
        ConfigError: If the image is too small for the strides, their number is not that of the stages, the kernel size
            is even, or `conditioning` is unknown.
    """

    def __init__(
        self,
        io: NetIO,
        widths: Sequence[int],
        hidden: int,
        conditioning: str = "concat",
        kernel_size: int = 3,
        strides: Sequence[int | Sequence[int]] | None = None,
        depth: int = 1,
        coordinates: bool = False,
        dropout: float = 0.0,
        pooling: Sequence[int] | None = None,
    ) -> None:
        super().__init__(io, conditioning, dropout)
        n_channels, n_freq, n_frames = io.input_shape
        check_odd("kernel_size", kernel_size)
        check_number("net.depth", depth, whole=True, least=1, hint=" (convolutions of a stage)")
        given = [2] * len(widths) if strides is None else strides
        pairs = [(stride, stride) if isinstance(stride, int) else tuple(stride) for stride in given]
        check_strides(pairs, len(widths), n_freq, n_frames)
        steps = [(down, along) for down, along in pairs]  # (freq, time)
        self.coordinates = Coordinates(n_freq, n_frames) if coordinates else nn.Identity()
        self.stages = nn.Sequential()
        n_in = n_channels + 2 * coordinates
        for width, step in zip(widths, steps, strict=True):
            self.stages.append(Stage(n_in, width, kernel_size, step, depth))
            n_in, n_freq, n_frames = width, -(-n_freq // step[0]), -(-n_frames // step[1])
        self.film = Film(self.n_film, widths)
        self.pool = nn.Identity() if pooling is None else PartPooling(pooling, n_freq, n_frames)
        n_features = n_in * n_freq * n_frames if pooling is None else 2 * n_in * prod(pooling)
        self.add_hidden(n_features, hidden, nn.SiLU(), io.head_sizes)
        set_memory_format(self, torch.channels_last)  # trains a third faster on a CPU, and no slower elsewhere

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`."""
        features = self.coordinates(pixels).contiguous(memory_format=torch.channels_last)
        for stage, film in zip(self.stages, films, strict=True):
            features = stage(features, film)  # (batch, width, freq / stride, time / stride)
        return self.join(self.pool(features).flatten(1), beside)


class PartPooling(nn.Module):
    """Mean and greatest of each of some parts of equal size of a picture.

    Args:
        pooling: How many parts there are, `[freq, time]`.
        n_freq: Rows.
        n_frames: Columns.

    Raises:
        ConfigError: If rows or columns cannot be divided so.
    """

    def __init__(self, pooling: Sequence[int], n_freq: int, n_frames: int) -> None:
        super().__init__()
        if len(pooling) != 2 or min(pooling) < 1 or n_freq % pooling[0] or n_frames % pooling[1]:
            raise ConfigError(
                f"net.pooling is {list(pooling)}, but after the last stage there are {n_freq} rows and {n_frames} "
                "columns. Give [freq, time], divisors of these."
            )
        self.size = n_freq // pooling[0], n_frames // pooling[1]

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, width, freq, time)` to `(batch, 2 * width, parts in freq, parts in time)`."""
        return torch.cat([F.avg_pool2d(features, self.size), F.max_pool2d(features, self.size)], dim=1)


class Stage(nn.ModuleList):
    """`depth` convolutions with batch norm and SiLU: `(batch, n_in, f, t)` to `(batch, n_out, f / s, t / s)`.

    Args:
        n_in: Channels that come in.
        n_out: Channels that go out.
        kernel_size: Of all convolutions, odd.
        stride: Of the first, `(freq, time)`.
        depth: Number of convolutions.
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int, stride: tuple[int, int], depth: int) -> None:
        super().__init__()
        for n, step in [(n_in, stride), *[(n_out, (1, 1))] * (depth - 1)]:
            self.append(nn.Conv2d(n, n_out, kernel_size, step, padding=kernel_size // 2, bias=False))
            self.append(nn.BatchNorm2d(n_out))
            self.append(nn.SiLU())

    def forward(self, features: Tensor, film: Tensor | None) -> Tensor:
        """Features of the stage; `film` modulates what the first convolution found."""
        convolution, norm, activation, *others = self
        features = activation(modulate(norm(convolution(features)), film))
        for first in range(0, len(others), 3):
            convolution, norm, activation = others[first : first + 3]
            features = features + activation(norm(convolution(features)))
        return features


class Coordinates(nn.Module):
    """Two more channels (CoordConv, Liu et al. 2018): where a pixel is, -1 … 1 over frequency and over time.

    Args:
        n_freq: Rows of the image.
        n_frames: Columns of the image.
    """

    grid: Tensor

    def __init__(self, n_freq: int, n_frames: int) -> None:
        super().__init__()
        axes = torch.linspace(-1, 1, n_freq), torch.linspace(-1, 1, n_frames)
        self.register_buffer("grid", torch.stack(torch.meshgrid(*axes, indexing="ij")), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """`(batch, channel, freq, time)` to `(batch, channel + 2, freq, time)`."""
        return torch.cat([pixels, self.grid.expand(len(pixels), -1, -1, -1)], dim=1)


def check_strides(strides: Sequence[tuple[int, ...]], n_stages: int, n_freq: int, n_frames: int) -> None:
    """Refuse strides that do not fit the stages, or the image."""
    if len(strides) != n_stages or any(len(pair) != 2 or min(pair) < 1 for pair in strides):
        raise ConfigError(
            f"net.strides is {list(strides)}; there are {n_stages} stages (net.widths), each of which takes a number "
            "or [freq, time], 1 or more."
        )
    down_freq, down_time = (prod(pair[axis] for pair in strides[:-1]) for axis in (0, 1))
    if n_freq < down_freq or n_frames < down_time:
        raise ConfigError(
            f"net.widths has {n_stages} stages, whose strides are {list(strides)}, but the image has {n_freq} rows and "
            f"{n_frames} columns. Take fewer stages, smaller net.strides, or a larger image."
        )
