"""`VisionTransformer`: attention between the patches of an image, with a head per parameter."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import ConfigError, check_choice
from src.models.components.conditioning import Film, modulate
from src.models.components.network import NetIO, Network

WAVELENGTHS = 30.0  # ratio of the longest to the shortest of the sinusoids that encode positions


class VisionTransformer(Network):
    """Image → patches → blocks of attention and MLP → mean, join the conditioning inputs → hidden layer → heads.

    An image that patches do not divide is padded with silence (pixel 0) above its highest frequency and after its end.

    Args:
        io: Sizes of image, conditioning inputs and heads.
        patch_size: `[freq, time]` of a patch, pixels.
        dim: Size of a token, a multiple of 4 and of `n_heads`.
        depth: Number of blocks.
        n_heads: Of attention.
        hidden: Size of the hidden layer.
        mlp_ratio: Size of the hidden layer of a block's MLP over that of a token.
        positions: `learned` (they begin as the sinusoids) or `sinusoidal`.
        conditioning: How `aux` joins: `none`, `concat` (before the hidden layer) or `film` (what each MLP sees).
        dropout: Share of the hidden units that is dropped in training.

    Raises:
        ConfigError: If sizes do not go together, or a word is unknown.
    """

    def __init__(
        self,
        io: NetIO,
        patch_size: Sequence[int],
        dim: int,
        depth: int,
        n_heads: int,
        hidden: int,
        mlp_ratio: float = 2.0,
        positions: str = "learned",
        conditioning: str = "concat",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(io, conditioning, dropout)
        check_sizes(patch_size, dim, n_heads, positions)
        n_channels, n_freq, n_frames = io.input_shape
        rows, columns = patch_size
        self.patch_size = (rows, columns)
        self.padding = (0, -n_frames % columns, 0, -n_freq % rows)  # of the last dimension first
        self.embed = nn.Linear(n_channels * rows * columns, dim)
        where = sinusoids(-(-n_freq // rows), -(-n_frames // columns), dim)  # (token, dim)
        if positions == "learned":
            self.positions = nn.Parameter(where)
        else:
            self.register_buffer("positions", where, persistent=False)
        self.film = Film(self.n_film, [dim] * depth)
        self.blocks = nn.ModuleList(TransformerBlock(dim, n_heads, int(dim * mlp_ratio)) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.add_hidden(dim, hidden, nn.GELU(), io.head_sizes)

    def features(self, pixels: Tensor, films: Sequence[Tensor | None], beside: Tensor) -> Tensor:
        """See `Network`."""
        padded = F.pad(pixels, self.padding, value=-1.0)
        tokens = self.embed(to_patches(padded, self.patch_size)) + self.positions  # (batch, token, dim)
        for block, film in zip(self.blocks, films, strict=True):
            tokens = block(tokens, film)
        return self.join(self.norm(tokens.mean(dim=1)), beside)


class TransformerBlock(nn.Module):
    """Attention between tokens, then an MLP within each; both see normalized tokens, and add to them.

    Args:
        dim: Size of a token.
        n_heads: Of attention.
        hidden: Size of the MLP's hidden layer.
    """

    def __init__(self, dim: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)  # a bias of the keys would change nothing
        self.project = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor, film: Tensor | None) -> Tensor:
        """`(batch, token, dim)` to the same; `film` modulates what the MLP sees."""
        tokens = tokens + self.attend(self.attention_norm(tokens))
        return tokens + self.mlp(modulate(self.mlp_norm(tokens), film, dim=-1))

    def attend(self, tokens: Tensor) -> Tensor:
        """`(batch, token, dim)` to the same: the attention of every token to all."""
        qkv = self.qkv(tokens).unflatten(2, (3, self.n_heads, -1))  # (batch, token, 3, n_heads, dim / n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (batch, n_heads, token, dim / n_heads) each
        read = F.scaled_dot_product_attention(query, key, value)  # (batch, n_heads, token, dim / n_heads)
        return self.project(read.transpose(1, 2).flatten(2))


def to_patches(image: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """`(batch, channel, freq, time)` to `(batch, token, channel * pixels)`, the tokens of one frequency in a row."""
    grid = image.unflatten(3, (-1, patch_size[1])).unflatten(2, (-1, patch_size[0]))  # (batch, channel, F, f, T, t)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def sinusoids(n_rows: int, n_columns: int, dim: int) -> Tensor:
    """Positions in two dimensions: sine and cosine of the row, then of the column, `(row * column, dim)`."""
    rate = WAVELENGTHS ** -torch.linspace(0, 1, dim // 4)  # radians per patch
    row = torch.arange(n_rows).unsqueeze(1) * rate  # (row, dim / 4)
    column = torch.arange(n_columns).unsqueeze(1) * rate  # (column, dim / 4)
    row = torch.cat([row.sin(), row.cos()], dim=1).unsqueeze(1).expand(-1, n_columns, -1)
    column = torch.cat([column.sin(), column.cos()], dim=1).expand(n_rows, -1, -1)
    return torch.cat([row, column], dim=2).flatten(0, 1)


def check_sizes(patch_size: Sequence[int], dim: int, n_heads: int, positions: str) -> None:
    """Refuse what no transformer can be made of."""
    if len(patch_size) != 2 or min(patch_size) < 1:
        raise ConfigError(f"net.patch_size is {list(patch_size)}; it must be [freq, time], both 1 or more.")
    if dim < 4 or dim % 4 or n_heads < 1 or dim % n_heads:
        raise ConfigError(f"net.dim is {dim}; it must be a multiple of 4 and of net.n_heads, which is {n_heads}.")
    check_choice("net.positions", positions, ("learned", "sinusoidal"))
