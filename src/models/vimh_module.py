"""`VIMHLitModule`: trains a network with any number of heads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.models.decoders import Prediction
from src.models.losses import HeadLoss, HeadWeights
from src.models.metrics import HeadMetrics
from src.param_tensors import ParamTensors
from src.params import ParamSpec

Batch = Mapping[str, Tensor]

EPOCHS = "epochs"  # metric: how many were trained
STAGES = ("train", "val", "test")
SHOWN = ("loss", "acc", "acc_best")  # in the progress bar
SMALLEST_SCALE = 1e-3  # of a network without any error
FOUND = ("std_scale", "best_acc")  # what validation found about the weights
COUNT_AT = 4096  # samples that are read and counted together: a batch at a time, that takes as long as a training step


class Seen(NamedTuple):
    """A batch that waits to be counted: its mean loss, the logits of each head, and the truth, `(batch, head)`."""

    loss: Tensor
    logits: list[Tensor]
    index: Tensor
    normalized: Tensor


class VIMHLitModule(LightningModule):
    """Network, loss and metrics of a dataset's parameters.

    Logs once an epoch, for each of train, val and test, the figures of `HeadMetrics`: `loss`, `acc`, `acc1`, `steps`,
    `nmae`, and per head `{name}_acc`, `{name}_acc1`, `{name}_mae`, `{name}_steps`, `{name}_nmae`; for val and test also
    `coverage` and `{name}_coverage`; `val/acc_best` is the best accuracy so far.

    Standard deviations of predictions are those of the loss times `std_scale`, a factor per head that the checkpoint
    carries. After every validation of a training it is set such that 90 % of the validation samples lie within 1.645
    standard deviations. `val/coverage` is computed before that, with the scale of the validation before it (ones in the
    first), so that it tells something.

    Args:
        net: Takes an image and conditioning inputs, returns logits per head.
        loss: One for all heads.
        parameters: What the heads predict: the fields of each `ParamSpec`, in the order of the heads.
        input_shape: `(channel, freq, time)`, for the summary's count of operations.
        n_aux: Number of conditioning inputs, for the same.
        optimizer: Makes an optimizer of parameters.
        scheduler: Makes a learning-rate scheduler of an optimizer, or None; one that goes by steps is also given the
            `total_steps` of the training.
        scheduler_interval: `epoch` or `step`.
        monitor: What a scheduler that reacts to progress looks at.
        compile: Compile the network before it trains.
        head_weights: `equal`, `learnt`, or a weight per head; see `HeadWeights`.
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
        head_weights: str | Mapping[str, float] = "equal",
    ) -> None:
        super().__init__()
        self.specs = tuple(ParamSpec(**entry) for entry in parameters)
        self.names = tuple(spec.name for spec in self.specs)
        self.net = net
        self.loss = loss
        self.heads = ParamTensors(self.specs)
        self.decoder = loss.decoder(self.heads)
        self.head_weights = HeadWeights(head_weights, self.names, loss)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.monitor = monitor
        self.compile_net = compile
        self.metrics = nn.ModuleDict(
            {f"{stage}_metrics": HeadMetrics(self.heads, coverage=stage != "train") for stage in STAGES}
        )
        self.waiting: dict[str, list[Seen]] = {stage: [] for stage in STAGES}
        self.register_buffer("best_acc", torch.zeros(()))
        self.register_buffer("std_scale", torch.ones(len(self.specs)))
        self.example_input_array = (torch.zeros(1, *input_shape, dtype=torch.uint8), torch.zeros(1, n_aux))

    def __setattr__(self, name: str, value: Any) -> None:
        """Lightning notes the running hook 50 times a step: past PyTorch's look for weights that costs nothing."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

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
        """What every head says of a batch, with standard deviations that hold for new samples."""
        per_head = zip(*(tensor.unbind(dim=1) for tensor in self.read(batch["image"], batch["aux"])), strict=True)
        return {name: Prediction(*said) for name, said in zip(self.names, per_head, strict=True)}

    def read(self, image: Tensor, aux: Tensor) -> Prediction:
        """The same as tensors over all heads, `(batch, head)`; arguments as for `forward`."""
        logits = self(image, aux)
        prediction = self.decoder([logits[name] for name in self.names])
        return prediction._replace(std=prediction.std * self.std_scale)

    def compute_loss(self, logits: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Weighted mean over the heads, a scalar."""
        per_head = [logits[name] for name in self.names]
        return self.head_weights(self.loss.per_head(per_head, batch["normalized"], batch["index"], self.heads))

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
        waiting = self.waiting[stage]
        per_head = [logits[name].detach() for name in self.names]
        waiting.append(Seen(loss.detach(), per_head, batch["index"], batch["normalized"]))
        if len(waiting) * len(batch["index"]) >= COUNT_AT:
            self._count(stage)
        return loss

    @torch.no_grad()
    def _count(self, stage: str) -> None:
        """Read and count the batches that wait."""
        losses, logits, index, normalized = zip(*self.waiting[stage], strict=True)
        sizes = torch.tensor([len(of_batch) for of_batch in index], device=self.device)
        prediction = self.decoder([torch.cat(of_head) for of_head in zip(*logits, strict=True)])
        self.metrics[f"{stage}_metrics"].update(
            (torch.stack(losses) * sizes).sum(), prediction, torch.cat(index), torch.cat(normalized), self.std_scale
        )
        self.waiting[stage].clear()

    def on_train_start(self) -> None:
        """Forget the samples of the sanity check, and of an epoch that was interrupted."""
        for stage in ("train", "val"):
            self._forget(stage)

    def on_train_epoch_end(self) -> None:
        """Log the figures of the training samples."""
        self._note(self._figures("train"))
        self._forget("train")
        # Metrics are all that a process which trained hands over to the one that asked for it.
        self.trainer.callback_metrics[EPOCHS] = torch.tensor(float(self.current_epoch + 1))

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the validation samples; in a training, keep the best accuracy and what errors are like."""
        figures = self._figures("val")
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.best_acc.copy_(torch.maximum(self.best_acc, figures["val/acc"]))
            figures["val/acc_best"] = self.best_acc.clone()
            scale = self.metrics["val_metrics"].conformal_scale().clamp(min=SMALLEST_SCALE)
            self.std_scale.copy_(torch.where(scale.isfinite(), scale, self.std_scale))
        self._note(figures)
        self._forget("val")

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test samples."""
        self._note(self._figures("test"))
        self._forget("test")

    def _figures(self, stage: str) -> dict[str, Tensor]:
        """Count what waits, and compute the figures of a stage."""
        if self.waiting[stage]:
            self._count(stage)
        return {f"{stage}/{name}": figure for name, figure in self.metrics[f"{stage}_metrics"].compute().items()}

    def _note(self, figures: Mapping[str, Tensor]) -> None:
        """Log figures of an epoch, all in one go.

        `self.log` makes a metric of its own for each name and moves it every time, which with ten heads takes as long
        as ten training steps; these figures are reduced already.
        """
        trainer = self.trainer
        trainer.callback_metrics.update(figures)
        trainer.logged_metrics.update(figures)
        shown = {name: figure for name, figure in figures.items() if name.rpartition("/")[2] in SHOWN}
        trainer.progress_bar_metrics.update(shown)
        if trainer.loggers and not trainer.sanity_checking:
            numbers = {name: figure.item() for name, figure in figures.items()}
            for logger in trainer.loggers:
                logger.log_metrics({**numbers, "epoch": self.current_epoch}, step=trainer.global_step)

    def _forget(self, stage: str) -> None:
        """Begin to count anew."""
        self.waiting[stage].clear()
        self.metrics[f"{stage}_metrics"].reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what validation found as it is, also where a callback has put averaged weights into the checkpoint."""
        checkpoint["state_dict"] |= {name: getattr(self, name) for name in FOUND}

    def on_fit_start(self) -> None:
        """Compile the network in place, so that the names in its checkpoint stay the same.

        Not before: the summary runs the network in a mode that cannot be compiled, and PyTorch would never try again.
        """
        if self.compile_net:
            self.net.compile()

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimizer, and scheduler if there is one."""
        optimizer = self.make_optimizer(params=self.trainer.model.parameters())
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        by_steps = self.scheduler_interval == "step"
        length = {"total_steps": self.trainer.estimated_stepping_batches} if by_steps else {}
        scheduler = {
            "scheduler": self.make_scheduler(optimizer=optimizer, **length),
            "monitor": self.monitor,
            "interval": self.scheduler_interval,
        }
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
