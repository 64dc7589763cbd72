"""`Predictor`: the predictions of a trained module in natural units."""

from torch import Tensor, nn


class Predictor(nn.Module):
    """A trained module as a function: from images to values and standard deviations in natural units.

    Args:
        module: A `VIMHLitModule` with its weights.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.eval()

    def forward(self, image: Tensor, aux: Tensor) -> tuple[Tensor, Tensor]:
        """Values and standard deviations, `(batch, head)` each.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            aux: Conditioning inputs, `(batch, n_aux)`.
        """
        _, normalized, std = self.module.read(image, aux)
        heads = self.module.heads
        return heads.value_from_normalized(normalized), std * heads.step
