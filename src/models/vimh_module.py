"""`VIMHLitModule`: trains a network with any number of heads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.models.losses import HeadLoss, Prediction
from src.models.metrics import HeadMetrics
from src.params import ParamSpec

Batch = Mapping[str, Tensor]


class VIMHLitModule(LightningModule):
    """Network, loss and metrics of a dataset's parameters.

    Logs once an epoch, for each of train, val and test: `loss`, `acc`, `steps`, `nmae`, and per head `{name}_acc`,
    `{name}_mae`, `{name}_steps`; `val/acc_best` is the best accuracy so far.

    Args:
        net: Takes an image and conditioning inputs, returns logits per head.
        loss: One for all heads.
        parameters: What the heads predict: the fields of each `ParamSpec`, in the order of the heads.
        input_shape: `(channel, freq, time)`, for the summary's count of operations.
        n_aux: Number of conditioning inputs, for the same.
        optimizer: Makes an optimizer of parameters.
        scheduler: Makes a learning-rate scheduler of an optimizer, or None.
        scheduler_interval: `epoch` or `step`.
        monitor: What a scheduler that reacts to progress looks at.
        compile: Compile the network before it trains.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: HeadLoss,
        parameters: Sequence[Mapping[str, Any]],
        input_shape: Sequence[int],
        n_aux: int,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        scheduler_interval: str = "epoch",
        monitor: str = "val/loss",
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.parameters_ = tuple(ParamSpec(**entry) for entry in parameters)
        self.net = net
        self.loss = loss
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.monitor = monitor
        self.compile_net = compile
        self.metrics = nn.ModuleDict({f"{stage}_metrics": HeadMetrics(self.parameters_) for stage in STAGES})
        self.register_buffer("best_acc", torch.zeros(()))
        self.example_input_array = (torch.zeros(1, *input_shape, dtype=torch.uint8), torch.zeros(1, n_aux))

    def forward(self, image: Tensor, aux: Tensor) -> dict[str, Tensor]:
        """Logits of every head.

        Args:
            image: uint8, `(batch, channel, freq, time)`.
            aux: Conditioning inputs, `(batch, n_aux)`.

        Returns:
            Name to logits, `(batch, outputs of the head)`.
        """
        return self.net(image, aux)

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> dict[str, Prediction]:
        """What every head says of a batch."""
        logits = self(batch["image"], batch["aux"])
        return {spec.name: self.loss.predict(logits[spec.name], spec) for spec in self.parameters_}

    def compute_loss(self, logits: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Mean over the heads, a scalar."""
        losses = [
            self.loss(logits[spec.name], batch["normalized"][:, head], batch["index"][:, head], spec)
            for head, spec in enumerate(self.parameters_)
        ]
        return torch.stack(losses).mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        return self._step("train", batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch."""
        self._step("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch."""
        self._step("test", batch)

    def _step(self, stage: str, batch: Batch) -> Tensor:
        logits = self(batch["image"], batch["aux"])
        loss = self.compute_loss(logits, batch)
        with torch.no_grad():
            predictions = [self.loss.predict(logits[spec.name], spec) for spec in self.parameters_]
            index = torch.stack([prediction.index for prediction in predictions], dim=1)  # (batch, head)
            normalized = torch.stack([prediction.normalized for prediction in predictions], dim=1)  # (batch, head)
            self.metrics[f"{stage}_metrics"].update(loss, index, normalized, batch["index"], batch["normalized"])
        return loss

    def on_train_start(self) -> None:
        """Forget the samples of the sanity check."""
        self.metrics["val_metrics"].reset()

    def on_train_epoch_end(self) -> None:
        """Log the figures of the training samples."""
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the validation samples, and the best accuracy so far."""
        figures = self._log("val")
        if not self.trainer.sanity_checking:
            self.best_acc = torch.maximum(self.best_acc, figures["acc"])
            self.log("val/acc_best", self.best_acc, prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test samples."""
        self._log("test")

    def _log(self, stage: str) -> dict[str, Tensor]:
        """Compute, log and reset the figures of a stage."""
        metrics = self.metrics[f"{stage}_metrics"]
        figures = metrics.compute()
        metrics.reset()
        shown = ("loss", "acc")
        self.log_dict({f"{stage}/{name}": figures[name] for name in shown}, prog_bar=stage != "test")
        self.log_dict({f"{stage}/{name}": figure for name, figure in figures.items() if name not in shown})
        return figures

    def setup(self, stage: str) -> None:
        """Compile the network in place, so that the names in its checkpoint stay the same."""
        if self.compile_net and stage == "fit":
            self.net.compile()

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimizer, and scheduler if there is one."""
        optimizer = self.make_optimizer(params=self.trainer.model.parameters())
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        scheduler = {
            "scheduler": self.make_scheduler(optimizer=optimizer),
            "monitor": self.monitor,
            "interval": self.scheduler_interval,
        }
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


STAGES = ("train", "val", "test")
