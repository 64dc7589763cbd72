"""`GradientStats`: how large the gradients of each layer are while a network trains."""

from collections.abc import Iterator

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from src.callbacks.writers import tensorboard_writers
from src.errors import ConfigError


class GradientStats(Callback):
    """Writes the L2 norm of each layer's gradient to TensorBoard, and of all of them together.

    A layer is a module with parameters of its own. The tags are `grad_norm/{layer}` and `grad_norm/total`; the norms
    are those before clipping. Without a TensorBoard logger nothing is computed.

    Args:
        every_n_steps: Optimizer steps from one measurement to the next.
        histograms: Write the distribution of each layer's gradient as well, as `grad/{layer}`.
    """

    def __init__(self, every_n_steps: int = 50, histograms: bool = False) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"callbacks.gradient_stats.every_n_steps is {every_n_steps}; it must be 1 or more.")
        self.every_n_steps = every_n_steps
        self.histograms = histograms

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Called by Lightning when the gradients are complete."""
        if trainer.global_step % self.every_n_steps:
            return
        writers = tensorboard_writers(trainer)
        if not writers:
            return
        gradients = dict(layer_gradients(pl_module))
        norms = gradient_norms(gradients)
        for writer in writers:
            for layer, norm in norms.items():
                writer.add_scalar(f"grad_norm/{layer}", norm, trainer.global_step)
            if self.histograms:
                for layer, gradient in gradients.items():
                    writer.add_histogram(f"grad/{layer}", gradient.float().cpu(), trainer.global_step)


def layer_gradients(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name of each layer that has a gradient, and that of all its parameters in one row, `(weight,)`."""
    for name, layer in module.named_modules():
        own = [weight.grad.flatten() for weight in layer.parameters(recurse=False) if weight.grad is not None]
        if own:
            yield name or type(layer).__name__, torch.cat(own)


def gradient_norms(gradients: dict[str, Tensor]) -> dict[str, float]:
    """L2 norm of each gradient, and of all together as `total`."""
    if not gradients:
        return {}
    norms = torch.stack([gradient.float().norm() for gradient in gradients.values()])  # (layer,)
    return dict(zip([*gradients, "total"], [*norms.tolist(), norms.norm().item()], strict=True))
