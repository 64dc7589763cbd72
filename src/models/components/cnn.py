"""`SpectralCNN`: a strided convolutional network with a head per parameter."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from src.errors import ConfigError
from src.models.components.heads import MultiHead, Standardize


class SpectralCNN(nn.Module):
    """Image → strided convolutions → flatten, join the conditioning inputs → hidden layer → heads.

    Each stage halves frequency and time by a stride of 2: on a CPU that is cheaper than a convolution at full size with
    pooling after it. Flattening, unlike averaging, keeps where in frequency and time a feature was found.

    Args:
        input_shape: `(channel, freq, time)` of the image.
        head_sizes: Name of each head to its number of outputs.
        widths: Channels of each stage.
        hidden: Size of the hidden layer.
        n_aux: Number of conditioning inputs.
        aux_mean: Their means over the training samples.
        aux_std: Their standard deviations.
        kernel_size: Of all convolutions, odd.
        dropout: Share of the hidden units that is dropped in training.

    Raises:
        ConfigError: If the image is too small for the number of stages, or the kernel size is even.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        head_sizes: Mapping[str, int],
        widths: Sequence[int],
        hidden: int,
        n_aux: int = 0,
        aux_mean: list[float] | None = None,
        aux_std: list[float] | None = None,
        kernel_size: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n_channels, n_freq, n_frames = input_shape
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(f"net.kernel_size is {kernel_size}; it must be odd, so that a stage halves the image.")
        if min(n_freq, n_frames) < 2 ** (len(widths) - 1):
            raise ConfigError(
                f"net.widths has {len(widths)} stages, each of which halves the image, but the image has {n_freq} rows "
                f"and {n_frames} columns. Take fewer stages, or a larger image."
            )
        self.stages = nn.Sequential()
        for width in widths:
            self.stages.append(stage(n_channels, width, kernel_size))
            n_channels, n_freq, n_frames = width, -(-n_freq // 2), -(-n_frames // 2)
        self.standardize = Standardize(n_aux, aux_mean, aux_std)
        self.hidden = nn.Linear(n_channels * n_freq * n_frames + n_aux, hidden)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.heads = MultiHead(hidden, head_sizes)

    def forward(self, image: Tensor, aux: Tensor) -> dict[str, Tensor]:
        """Logits of every head.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            aux: Conditioning inputs, `(batch, n_aux)`.

        Returns:
            Name to logits, `(batch, outputs of the head)`.
        """
        pixels = to_signed_unit(image, aux)  # (batch, channel, freq, time)
        features = self.stages(pixels).flatten(1)  # (batch, width * freq / 2^stages * time / 2^stages)
        features = torch.cat([features, self.standardize(aux)], dim=1)
        return self.heads(self.dropout(self.activation(self.hidden(features))))


def stage(n_in: int, n_out: int, kernel_size: int) -> nn.Sequential:
    """Convolution of stride 2, batch normalization, ReLU: `(batch, n_in, f, t)` to `(batch, n_out, f / 2, t / 2)`."""
    convolution = nn.Conv2d(n_in, n_out, kernel_size, stride=2, padding=kernel_size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


def to_signed_unit(image: Tensor, like: Tensor) -> Tensor:
    """Pixels 0 … 255 to -1 … 1, in the floating-point type of `like`, which is that of the network's other input."""
    return image.to(like.dtype) * (2 / 255) - 1
