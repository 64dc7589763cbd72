"""What a network does with its image before anything is learnt."""

import torch
from torch import Tensor, nn


def to_signed_unit(image: Tensor, like: Tensor) -> Tensor:
    """Pixels 0 … 255 to -1 … 1, in the floating-point type of `like`, which is that of the network's other input."""
    # In place: above 32 MB, a new tensor costs more in page faults than its arithmetic.
    return image.to(like.dtype, copy=True).mul_(2 / 255).sub_(1)


class Coordinates(nn.Module):
    """Two more channels (CoordConv, Liu et al. 2018): where a pixel is, -1 … 1 over frequency and over time.

    Args:
        n_freq: Rows of the image.
        n_frames: Columns of the image.
    """

    def __init__(self, n_freq: int, n_frames: int) -> None:
        super().__init__()
        axes = torch.linspace(-1, 1, n_freq), torch.linspace(-1, 1, n_frames)
        self.register_buffer("grid", torch.stack(torch.meshgrid(*axes, indexing="ij")), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """`(batch, channel, freq, time)` to `(batch, channel + 2, freq, time)`."""
        return torch.cat([pixels, self.grid.expand(len(pixels), -1, -1, -1)], dim=1)
