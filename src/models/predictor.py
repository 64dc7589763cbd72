"""`Predictor`: the predictions of a trained module as values."""

from collections.abc import Mapping

from torch import Tensor, nn

from src.models.vimh_module import VIMHLitModule
from src.params import ParamSpec


class Predictor(nn.Module):
    """A trained module as a function: from images to values, standard deviations, and probabilities of classes.

    Values of integers and categories are points of their grid. Only categories have probabilities of classes.

    Args:
        module: With its weights.
        natural: In natural units, not logarithms, where the scale is logarithmic.
    """

    def __init__(self, module: VIMHLitModule, natural: bool = False) -> None:
        super().__init__()
        self.module = module
        self.natural = natural
        self.eval()

    @property
    def categories(self) -> tuple[ParamSpec, ...]:
        """The heads that have probabilities of classes, in their order."""
        return tuple(spec for spec in self.module.specs if spec.categorical)

    def forward(self, image: Tensor, aux: Tensor) -> tuple[Tensor, ...]:
        """Values and standard deviations, `(batch, head)` each, and probabilities of each category, `(batch, class)`.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            aux: Conditioning inputs, `(batch, n_aux)`.
        """
        return self.told(self.module(image, aux))

    def told(self, logits: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The same of what the module returns for them."""
        _, normalized, std = self.module.predictions(logits)
        heads = self.module.heads
        value, std = heads.snapped(heads.value_from_normalized(normalized)), std * heads.step
        if self.natural:
            value, std = heads.natural_from_value(value), heads.natural_std(value, std)
        return value, std, *self.module.class_probabilities(logits).values()
