"""`Spread`: how large the error of each answer is to be expected, from what the network says of the sound.

A loss gives each answer a standard deviation, which hardly varies from sound to sound where the target has a width of
its own (`soft_target`) or where there is none (`regression`). Errors do vary: a velocity cannot be heard behind a low
cutoff. A small network, fitted to sounds that the large one was not trained on, predicts by what factor the error of
each answer differs from that standard deviation.

It reads the outputs of all heads. On three sets that was as good as reading the features before them, and better than
reading the answers alone: with 4,000 sounds the worst tenth of a head held 0.85 (basic), 0.79 (envelope) and 0.82
(resonance), where one factor for all sounds held 0.64, 0.52 and 0.62. Intervals were 3 % wider, 2 % narrower and 4 %
wider. Fitted to 437 sounds, they became wider by a fifth and more; to 1,000, by 3 to 10 %.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from src.param_tensors import in_full

LEAST_SOUNDS = 1000  # with which a head's spread is fitted; with fewer it keeps one factor for all sounds
HIDDEN = 16
LOWEST = -30.0  # of the logits that are read: beyond, a class is impossible
STEPS = 300
RATE, DECAY = 0.01, 0.1
SMALLEST = 1e-3  # factor of a network without any error


class Spread(nn.Module):
    """Outputs of all heads → tanh → the factor of each head's standard deviation.

    All numbers are buffers: a checkpoint carries them, and no optimizer of the training changes them. Before anything
    is fitted, every factor is exactly 1.

    Args:
        n_inputs: Outputs of all heads together.
        n_heads: Number of heads.
    """

    mean: Tensor
    std: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, n_inputs: int, n_heads: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("std", torch.ones(n_inputs))
        self.register_buffer("hidden_weight", torch.zeros(n_inputs, HIDDEN))
        self.register_buffer("hidden_bias", torch.zeros(HIDDEN))
        self.register_buffer("weight", torch.zeros(HIDDEN, n_heads))
        self.register_buffer("bias", torch.zeros(n_heads))

    def forward(self, logits: Sequence[Tensor]) -> Tensor:
        """Factors of all heads, `(batch, head)`, from the outputs of each, `(batch, head_size)`."""
        return self.of(joined(logits))

    def of(self, outputs: Tensor) -> Tensor:
        """The same from the outputs of all heads, `(batch, n_inputs)`."""
        numbers = (buffer.to(outputs.dtype) for buffer in self.buffers())  # a network of half precision has them so
        return torch.exp(log_factor(outputs, *numbers))

    def reset(self) -> None:
        """Make every factor 1 again."""
        for buffer in self.buffers():
            buffer.zero_()
        self.std.fill_(1.0)

    def rescale(self, factor: Tensor) -> None:
        """Multiply all factors of a head by a number, `(head,)`; what is not finite changes nothing."""
        self.bias += torch.where(factor.isfinite(), factor.clamp(min=SMALLEST), 1.0).log()

    @torch.inference_mode(False)
    @torch.enable_grad()
    def fit(self, outputs: Tensor, deviation: Tensor, seed: int = 0, least: int = LEAST_SOUNDS) -> Tensor:
        """Fit the factors to sounds that were not trained on, by the likelihood of a Gaussian.

        Args:
            outputs: Of all heads (`joined`), `(sound, n_inputs)`.
            deviation: Absolute error over its standard deviation, `(sound, head)`; NaN where a head does not count.
            seed: Of the first weights.
            least: Sounds that a head needs.

        Returns:
            Which heads were fitted, bool, `(head,)`: those with `least` sounds or more. The others keep the factor 1.
        """
        self.reset()
        outputs, deviation = outputs.to(self.mean.device), deviation.to(self.mean.device)
        counts = ~deviation.isnan()
        fitted = counts.sum(dim=0) >= least
        if not fitted.any():
            return fitted
        counts = counts & fitted
        square = torch.where(counts, deviation, 0.0).square()
        n_sounds = counts.sum(dim=0).clamp(min=1)
        spread = (square.sum(dim=0) / n_sounds).sqrt().clamp(min=SMALLEST)
        random = torch.randn(self.hidden_weight.shape, generator=torch.Generator().manual_seed(seed))
        mean, std = outputs.mean(dim=0), outputs.std(dim=0).clamp(min=1e-6)
        hidden_weight = random.to(mean) / len(mean) ** 0.5
        hidden_bias, weight = mean.new_zeros(HIDDEN), mean.new_zeros(self.weight.shape)
        learnt = [hidden_weight, hidden_bias, weight, torch.where(fitted, spread.log(), 0.0)]
        minimize(lambda: loss_of(log_factor(outputs, mean, std, *learnt), square, counts), learnt)
        for buffer, tensor in zip(self.buffers(), (mean, std, *learnt), strict=True):
            buffer.copy_(tensor.detach())
        return fitted


def log_factor(
    outputs: Tensor,
    mean: Tensor,
    std: Tensor,
    hidden_weight: Tensor,
    hidden_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> Tensor:
    """Logarithms of the factors, `(sound, head)`, from the outputs of all heads, `(sound, n_inputs)`."""
    hidden = torch.tanh((outputs - mean) / std @ hidden_weight + hidden_bias)
    return hidden @ weight + bias


def loss_of(log_factor: Tensor, square: Tensor, counts: Tensor) -> Tensor:
    """Mean over sounds and heads of the negative log likelihood of errors, less a constant, a scalar.

    Args:
        log_factor: Logarithm of the standard deviation, `(sound, head)`.
        square: Of the errors, `(sound, head)`.
        counts: Which count, bool, `(sound, head)`.
    """
    losses = log_factor + 0.5 * square * torch.exp(-2 * log_factor)
    return (torch.where(counts, losses, 0.0).sum(dim=0) / counts.sum(dim=0).clamp(min=1)).mean()


def minimize(loss: Callable[[], Tensor], tensors: Sequence[Tensor]) -> None:
    """Change tensors in place until a loss of them is small, matrices with weight decay."""
    groups = [
        {"params": [tensor.requires_grad_() for tensor in tensors if tensor.ndim == n_dims], "weight_decay": decay}
        for n_dims, decay in ((1, 0.0), (2, DECAY))
    ]
    optimizer = torch.optim.AdamW(groups, RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        scheduler.step()


def joined(logits: Sequence[Tensor]) -> Tensor:
    """What `Spread` reads: the outputs of all heads, `(batch, n_inputs)`, of those of each, `(batch, head_size)`."""
    return in_full(torch.cat(list(logits), dim=1)).clamp(min=LOWEST)
