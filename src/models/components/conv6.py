"""`Conv6`: the reference that small networks are measured against, six strided convolutions and a dense layer."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from src.models.components.conditioning import Film, modulate
from src.models.components.network import NetIO, Network


class Conv6(Network):
    """Image → convolutions of stride 2 with growing channels, each with ReLU → dense layer with ReLU → heads.

    After the network Conv6 of InverSynth (Barkan et al. 2019, arXiv 1812.06349): six strided 3x3 convolutions without
    normalization and a dense layer of 512, 1.2 million parameters. Its images are larger than those here, so that its
    dense layer holds what the later, wider convolutions hold here. It has no conditioning inputs; they are added here.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        widths: Channels of each convolution.
        hidden: Size of the dense layer.
        conditioning: How `aux` joins: `none`, `concat` (before the dense layer) or `film` (after each convolution).
        batch_norm: Normalize what each convolution gives, which the original does not.
        dropout: Share of the dense layer's units that is dropped in training.

    Raises:
        ConfigError: If `conditioning` is unknown.
    """

    def __init__(
        self,
        io: NetIO,
        widths: Sequence[int] = (32, 64, 128, 160, 192, 256),
        hidden: int = 512,
        conditioning: str = "concat",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(io, conditioning, dropout)
        n_channels, n_freq, n_frames = io.input_shape
        channels = [n_channels, *widths]
        self.convolutions = nn.ModuleList(nn.Conv2d(n, m, 3, stride=2, padding=1) for n, m in pairwise(channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) if batch_norm else nn.Identity() for width in widths)
        self.film = Film(self.n_film, widths)
        n_positions = -(-n_freq // 2 ** len(widths)) * -(-n_frames // 2 ** len(widths))
        self.add_hidden(widths[-1] * n_positions, hidden, nn.ReLU(), io.head_sizes)
        for layer in [*self.convolutions, self.hidden]:  # without normalization, the scale must survive seven layers
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`."""
        features = pixels
        for convolution, norm, film in zip(self.convolutions, self.norms, films, strict=True):
            features = norm(convolution(features))  # (batch, width, freq / 2, time / 2)
            features = self.activation(modulate(features, film))
        return self.join(features.flatten(1), beside)
