"""`WaveCNN`: a strided convolutional network over time alone, for sounds that come as samples or as bits."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from src.errors import ConfigError, check_number
from src.models.components.conditioning import Film, modulate
from src.models.components.network import NetIO, Network, check_odd, check_stages, set_memory_format

NOTHING = 128  # the pixel of no sound, and of neither bit


class WaveCNN(Network):
    """Samples → strided convolutions over time → flatten, join the conditioning inputs → hidden layer → heads.

    End to end: the first stage is a filterbank that is learnt, with a hop as a spectrogram has (Dieleman and Schrauwen
    2014, "End-to-end learning for music audio"), and the others are those of `SpectralCNN` in one dimension. Rows and
    channels of an image are inputs alike: a waveform has one, a stream of 16 bits has sixteen, and how much a bit
    counts is learnt. Rows that are the bytes of samples are read as the samples (`sample_bytes`). A spectrogram will
    do as well: its rows are then inputs without an order.

    The hop is cut before anything is computed: `patch` samples that follow each other become that many inputs. A filter
    of `patch * kernel_sizes[0]` samples is then a matrix product, two to three times as fast on a CPU as a convolution
    with a stride of `patch`.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        widths: Channels of each stage.
        hidden: Size of the hidden layer.
        kernel_sizes: Of each stage's convolution, odd; that of the first in patches.
        strides: Of each stage, likewise.
        patch: Samples in a patch.
        sample_bytes: Rows that make one sample, the most significant byte first: 2 for the representation `waveform16`.
        conditioning: How `aux` joins: `none`, `concat` (before the hidden layer) or `film` (after each stage's norm).
        dropout: Share of the hidden units that is dropped in training.

    Raises:
        ConfigError: If the numbers of widths, kernel sizes and strides differ, a kernel size is even, a stride or the
            patch is not 1 or more, the rows are no whole samples, or `conditioning` is unknown.
    """

    def __init__(
        self,
        io: NetIO,
        widths: Sequence[int],
        hidden: int,
        kernel_sizes: Sequence[int],
        strides: Sequence[int],
        patch: int = 1,
        sample_bytes: int = 1,
        conditioning: str = "concat",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(io, conditioning, dropout)
        check_stages(widths=widths, kernel_sizes=kernel_sizes, strides=strides)
        check_odd("kernel_sizes", kernel_sizes)
        for stride in strides:
            check_number("net.strides", stride, whole=True, least=1)
        self.patch = check_number("net.patch", patch, whole=True, least=1, hint=" (samples)")
        self.sample_bytes = check_number("net.sample_bytes", sample_bytes, whole=True, least=1)
        n_channels, n_rows, n_times = io.input_shape
        if n_rows % sample_bytes:
            raise ConfigError(f"net.sample_bytes is {sample_bytes}, but {n_rows} rows are no whole number of samples.")
        n_in, n_times = n_channels * n_rows // sample_bytes * patch, -(-n_times // patch)
        self.stages = nn.ModuleList()
        for width, size, stride in zip(widths, kernel_sizes, strides, strict=True):
            # Two-dimensional with one row: PyTorch has no channels-last layout for one dimension.
            convolution = nn.Conv2d(n_in, width, (1, size), (1, stride), padding=(0, size // 2), bias=False)
            self.stages.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.SiLU()))
            n_in, n_times = width, -(-n_times // stride)
        self.film = Film(self.n_film, widths)
        self.add_hidden(n_in * n_times, hidden, nn.SiLU(), io.head_sizes)
        set_memory_format(self, torch.channels_last)

    def arrange(self, image: Tensor) -> Tensor:
        """Patches: `(batch, channel, row, time)` to `(batch, channel * row * patch, 1, time / patch)`."""
        rows = image.flatten(1, 2)
        rows = pad(rows, (0, -rows.shape[2] % self.patch), value=NOTHING)
        patches = rows.unflatten(2, (-1, self.patch)).permute(0, 2, 1, 3).flatten(2)  # (batch, time, input)
        return patches.transpose(1, 2).unsqueeze(2)  # channels last, as it lies in memory

    def samples(self, pixels: Tensor) -> Tensor:
        """Samples of bytes, where the rows are bytes; all from -1 to 1."""
        if self.sample_bytes == 1:
            return pixels
        weight = 256.0 ** torch.arange(self.sample_bytes - 1, -1, -1, device=pixels.device)
        rows = pixels.unflatten(1, (-1, self.sample_bytes, self.patch))
        return torch.einsum("nsbpht,b->nspht", rows, (weight / weight.sum()).to(pixels.dtype)).flatten(1, 2)

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`."""
        features = self.samples(pixels)
        for stage, film in zip(self.stages, films, strict=True):
            convolution, norm, activation = stage.children()
            features = activation(modulate(norm(convolution(features)), film))  # (batch, width, 1, time / stride)
        return self.join(features.flatten(1), beside)
