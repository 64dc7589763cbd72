"""`Predictor`: the predictions of a trained module as values."""

from torch import Tensor, nn

from src.models.vimh_module import VIMHLitModule


class Predictor(nn.Module):
    """A trained module as a function: from images to values and standard deviations.

    Values of integers and categories are points of their grid.

    Args:
        module: With its weights.
        natural: In natural units, not logarithms, where the scale is logarithmic.
    """

    def __init__(self, module: VIMHLitModule, natural: bool = False) -> None:
        super().__init__()
        self.module = module
        self.natural = natural
        self.eval()

    def forward(self, image: Tensor, aux: Tensor) -> tuple[Tensor, Tensor]:
        """Values and standard deviations, `(batch, head)` each.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            aux: Conditioning inputs, `(batch, n_aux)`.
        """
        _, normalized, std = self.module.read(image, aux)
        heads = self.module.heads
        value, std = heads.snapped(heads.value_from_normalized(normalized)), std * heads.step
        return (heads.natural_from_value(value), heads.natural_std(value, std)) if self.natural else (value, std)
