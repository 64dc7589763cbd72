"""`GradientStats`: how large the gradients of each layer are while a network trains."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from src.callbacks.tensorboard import GRADIENTS, tensorboard_writers
from src.errors import check_number


class GradientStats(Callback):
    """Writes the L2 norm of each layer's gradient to TensorBoard, and of all of them together.

    A layer is a module with parameters of its own. The tags are `8 gradients/{layer}` and `8 gradients/total`; the
    norms are those before clipping. Without a TensorBoard logger nothing is computed.

    Args:
        every_n_steps: Optimizer steps from one measurement to the next.
        histograms: Write the distribution of each layer's gradient as well, as `grad/{layer}`.
    """

    def __init__(self, every_n_steps: int = 50, histograms: bool = False) -> None:
        check_number("callbacks.gradient_stats.every_n_steps", every_n_steps, whole=True, least=1)
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
        found = gradient_norms(gradients).items()
        norms = [Summary.Value(tag=f"{GRADIENTS}/{layer}", simple_value=norm) for layer, norm in found]
        for writer in writers:
            # One event for all numbers: each of its own takes `add_scalar` as long.
            file_writer: Any = writer.file_writer
            file_writer.add_summary(Summary(value=norms), trainer.global_step)
            if self.histograms:
                for layer, of_layer in gradients.items():
                    gradient = torch.cat([of_weight.flatten() for of_weight in of_layer])  # (weight,)
                    writer.add_histogram(f"grad/{layer}", gradient.float().cpu(), trainer.global_step)


def layer_gradients(module: nn.Module) -> Iterator[tuple[str, list[Tensor]]]:
    """Name of each layer that has a gradient, and those of its own parameters."""
    for name, layer in module.named_modules():
        own = [weight.grad for weight in layer.parameters(recurse=False) if weight.grad is not None]
        if own:
            yield name or type(layer).__name__, own


def gradient_norms(gradients: Mapping[str, Sequence[Tensor]]) -> dict[str, float]:
    """L2 norm of all gradients of each layer, and of all layers together as `total`."""
    if not gradients:
        return {}
    norms = [get_total_norm([gradient.float() for gradient in of_layer]) for of_layer in gradients.values()]
    of_layers = dict(zip(gradients, torch.stack(norms).tolist(), strict=True))
    return of_layers | {"total": math.hypot(*of_layers.values())}
