"""`Predictor`: what a trained module says, in natural units."""

import torch
from torch import Tensor, nn


class Predictor(nn.Module):
    """A trained module as a function: from images to values and standard deviations in natural units.

    Args:
        module: A `VIMHLitModule` with its weights.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        specs = module.specs
        self.register_buffer("lowest", torch.tensor([spec.min for spec in specs]))
        self.register_buffer("range", torch.tensor([spec.range for spec in specs]))
        self.register_buffer("step", torch.tensor([spec.step for spec in specs]))
        self.eval()

    def forward(self, image: Tensor, aux: Tensor) -> tuple[Tensor, Tensor]:
        """Values and standard deviations, `(batch, head)` each.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            aux: Conditioning inputs, `(batch, n_aux)`.
        """
        _, normalized, std = self.module.read(image, aux)
        return self.lowest + normalized * self.range, std * self.step
