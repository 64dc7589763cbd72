"""`VIMHLitModule`: trains a network with any number of heads."""

import bisect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerConfig, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from src.errors import ConfigError, check_choice, check_number
from src.models.augment import Augment, TensorBatch
from src.models.components.network import set_memory_format
from src.models.decoders import Prediction
from src.models.graph import CudaGraphs, GraphMaker, Outcome, StepGraphs, TrainingSetup, is_replayed
from src.models.losses import ClassWeights, HeadLoss, HeadWeights
from src.models.metrics import HeadMetrics
from src.models.spread import Spread
from src.param_tensors import ParamTensors, in_full
from src.params import ParamSpec

EPOCHS = "epochs"  # metric: how many were trained
STAGES = ("train", "val", "test")
SHOWN = ("loss", "acc", "acc_best")  # in the progress bar
CONFUSION = "_confusion"  # ends the name of what is no figure, but a matrix of counts
SMALLEST_SCALE = 1e-3  # of a network without any error
FLAT_OPTIMIZERS = (torch.optim.LBFGS,)  # they view gradients as flat vectors, which channels-last ones are not
FOUND = ("std_scale", "joint_scale", "best_acc")  # results of the validation of the weights


class VIMHLitModule(LightningModule):
    """Network, loss and metrics of a dataset's parameters.

    Lightning hands over chunks of batches, lists of dicts (see `src.data.batches.Chunks`), and this module makes an
    optimizer step for each batch by itself. Whatever counts steps (schedulers, `trainer.global_step`, the axis of
    loggers) counts optimizer steps.

    Logs once an epoch, for each of train, val and test, the figures of `HeadMetrics`: `loss`, `acc`, `acc1`, `steps`,
    `nmae`, and per head `{name}_acc`, `{name}_acc1`, `{name}_mae`, `{name}_steps`, `{name}_nmae`; for val and test also
    `coverage` and `{name}_coverage`, and for test the other figures of intervals; of categories `{name}_acc` and the
    figures of `ClassMetrics` alone. `val/acc_best` is the best accuracy so far. Loggers also get the learning rate at
    the beginning of each epoch, as `lr-{optimizer}`.

    Standard deviations of predictions are those of the loss times `std_scale`, a factor per head, times `spread`, a
    factor per head and sound. A checkpoint carries both. After every validation of a training, `std_scale` is set such
    that 90 % of the validation samples lie within 1.645 standard deviations. `val/coverage` is computed before that,
    with the scale of the validation before it (ones in the first), so that it is measured on new predictions. The
    factors of `spread` are 1 while a network trains; `src.tasks.calibration` finds them for its weights afterwards.
    `joint_scale` is what intervals are multiplied with so that those of all heads hold together; 0: not known.
    `temperature` is what the logits of each category are divided by so that probabilities of classes hold; it is found
    along with `spread`, and is 1 before.

    Args:
        net: Takes an image and conditioning inputs, returns logits per head.
        loss: One for all heads.
        parameters: What the heads predict: the fields of each `ParamSpec`, in the order of the heads.
        input_shape: `(channel, freq, time)`, for the summary's count of operations.
        n_aux: Number of conditioning inputs, for the same.
        optimizer: Makes an optimizer of parameters.
        scheduler: Makes a learning-rate scheduler of an optimizer, or None; one that goes by steps is also given the
            `total_steps` of the training.
        scheduler_interval: `epoch` or `step`. A `ReduceLROnPlateau` always goes by epochs.
        monitor: The metric that a `ReduceLROnPlateau` follows.
        compile: Compile the network before it trains.
        head_weights: `equal`, `learnt`, or a weight per head; see `HeadWeights`.
        gradient_clip_val: Largest norm of all gradients together, or largest gradient, as the trainer's
            `gradient_clip_algorithm` says. None or 0: no clipping.
        accumulate_grad_batches: Batches whose gradients are averaged for a step; the last batch of an epoch makes a
            step with what there is.
        graph: Whether training steps are replayed as CUDA graphs (`src.models.graph`). `auto`: where they can be.
        augment: Changes training batches; None: nothing does.
        class_counts: Training samples of every class, `(head, class)`, for a loss that weighs classes by them; None:
            the weights are those of a checkpoint that is loaded.

    Raises:
        ConfigError: If a setting is invalid.
    """

    best_acc: Tensor
    std_scale: Tensor
    graph_maker: type[GraphMaker] = CudaGraphs
    joint_scale: Tensor
    temperature: Tensor

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
        gradient_clip_val: float | None = None,
        accumulate_grad_batches: int = 1,
        graph: bool | str = "auto",
        augment: Augment | None = None,
        class_counts: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_number("trainer.accumulate_grad_batches", accumulate_grad_batches, whole=True, least=1)
        if graph not in ("auto", True, False):
            raise ConfigError(f"model.graph is {graph!r}; choose one of auto, true, false.")
        check_choice("model.scheduler_interval", scheduler_interval, ("epoch", "step"))
        self.automatic_optimization = False
        self.specs = tuple(ParamSpec(**entry) for entry in parameters)
        self.names = tuple(spec.name for spec in self.specs)
        self.net = net
        self.loss = loss
        self.heads = ParamTensors(self.specs)
        self.decoder = loss.decoder(self.heads)
        self.class_weights = ClassWeights(loss.class_weights, self.heads, class_counts)
        self.head_weights = HeadWeights(head_weights, self.names, loss)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.monitor = monitor
        self.compile_net = compile
        self.gradient_clip_val = gradient_clip_val
        self.accumulate_grad_batches = accumulate_grad_batches
        self.graph = graph
        self.augment = augment if augment is not None and augment.acts else None
        self.step_graphs: StepGraphs | None = None  # of a training whose steps are replayed
        self.n_accumulated = 0  # batches since the last step
        self.n_resumed = 0  # batches of the epoch that a resumed checkpoint was trained on
        self.counts = {
            stage: HeadMetrics(self.heads, coverage=stage != "train", tenths=stage == "test") for stage in STAGES
        }
        self.metrics = nn.ModuleDict({f"{stage}_metrics": counts for stage, counts in self.counts.items()})
        self.register_buffer("best_acc", torch.zeros(()))
        self.register_buffer("std_scale", torch.ones(len(self.specs)))
        self.register_buffer("joint_scale", torch.zeros(()))
        self.register_buffer("temperature", torch.ones(len(self.specs)))
        self.spread = Spread(sum(loss.head_size(spec) for spec in self.specs), len(self.specs))
        self.register_load_state_dict_pre_hook(add_unfitted)
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

    def predict_step(self, batch: TensorBatch, batch_idx: int = 0) -> dict[str, Prediction]:
        """Predictions of every head for a batch, with standard deviations that hold for new samples."""
        per_head = zip(*(tensor.unbind(dim=1) for tensor in self.read(batch["image"], batch["aux"])), strict=True)
        return {name: Prediction(*columns) for name, columns in zip(self.names, per_head, strict=True)}

    def read(self, image: Tensor, aux: Tensor) -> Prediction:
        """The same as tensors over all heads, `(batch, head)`; arguments as for `forward`."""
        return self.predictions(self(image, aux))

    def predictions(self, logits: Mapping[str, Tensor]) -> Prediction:
        """The same of what `forward` returns."""
        outputs = [logits[name] for name in self.names]
        prediction = self.decoder(outputs)
        return prediction._replace(std=prediction.std * (self.std_scale * self.spread(outputs)))

    def class_probabilities(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities of the classes of every category, which hold for new samples.

        Args:
            outputs: What `forward` returns.

        Returns:
            Name of each head whose classes have no order to `(batch, class)`, float32.
        """
        return {name: likelihood.exp() for name, likelihood in self.log_probabilities(outputs).items()}

    def log_probabilities(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logarithms of the same."""
        return {
            spec.name: (in_full(outputs[spec.name]) / temperature).log_softmax(dim=-1)
            for spec, temperature in zip(self.specs, self.temperature, strict=True)
            if spec.categorical
        }

    def compute_loss(self, logits: Mapping[str, Tensor], batch: TensorBatch) -> Tensor:
        """Weighted mean over the heads, a scalar. A batch of mixtures has two targets a sample, by their shares."""
        outputs, normalized, index = [logits[name] for name in self.names], batch["normalized"], batch["index"]
        if mixed := "share" in batch:
            outputs = [torch.cat([of_head, of_head]) for of_head in outputs]
            normalized = torch.cat([normalized, batch["other_normalized"]])
            index = torch.cat([index, batch["other_index"]])
        weight = self.class_weights(index)
        if mixed:
            shares = torch.cat([batch["share"], 1 - batch["share"]]).unsqueeze(1)
            weight = shares if weight is None else shares * weight
        losses = self.loss.per_head(outputs, normalized, index, self.heads, weight)
        return self.head_weights(losses, self.heads.present(index))

    def training_step(self, chunk: Sequence[TensorBatch], batch_idx: int) -> None:
        """Make an optimizer step for each batch of a chunk, or for each `accumulate_grad_batches`."""
        trainer, scheduler = self.trainer, self.lr_schedulers()
        if self.augment is not None:
            first = sum(self._train_loader.lengths[: batch_idx + 1]) - len(chunk)  # a resumed epoch begins within one
            chunk = self.augment(chunk, self.current_epoch, first, self.global_rank)
        outcomes: list[Outcome] = []
        for number, batch in enumerate(chunk, start=1):
            ends_epoch = trainer.is_last_batch and number == len(chunk)
            steps = ends_epoch or self.n_accumulated + 1 == self.accumulate_grad_batches
            outcomes.append(self._train_on(batch, steps))
            self.n_accumulated = 0 if steps else self.n_accumulated + 1
            is_due = steps if self.scheduler_interval == "step" else ends_epoch
            if is_due and isinstance(scheduler, LRScheduler) and not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
        self._count("train", chunk, outcomes)

    def _train_on(self, batch: TensorBatch, steps: bool) -> Outcome:
        """Add the gradients of a batch, and make a step of the optimizer if it is time for one."""
        learn = self._learn if self.step_graphs is None else self.step_graphs.learn
        outcome: Outcome

        def closure() -> Tensor:  # some optimizers compute the gradients several times
            nonlocal outcome
            outcome = learn(batch)
            return outcome[0]

        if steps:
            self._optimizer.step(closure)
        else:
            closure()
        return outcome

    def _learn(self, batch: TensorBatch) -> Outcome:
        """Add the gradients of a batch to those that wait for a step."""
        logits = self(batch["image"], batch["aux"])
        loss = self.compute_loss(logits, batch)
        if self.n_accumulated == 0:
            self._optimizer.zero_grad()
        share = self.accumulate_grad_batches
        self.manual_backward(loss / share if share > 1 else loss)
        return loss.detach(), [logits[name].detach() for name in self.names]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients, after callbacks have seen them; where steps are replayed, make the whole step."""
        if self.step_graphs is None:
            self._clip()
        else:
            self.step_graphs.update()

    def _clip(self) -> None:
        if self.gradient_clip_val:
            (optimizer,) = self.trainer.optimizers
            self.clip_gradients(optimizer, self.gradient_clip_val)

    def on_validation_model_zero_grad(self) -> None:
        """Called by Lightning before a validation; gradients that wait for their step are kept."""
        if self.n_accumulated == 0:
            super().on_validation_model_zero_grad()

    def validation_step(self, chunk: Sequence[TensorBatch], batch_idx: int) -> None:
        """Count a chunk; in the sanity check, only as many batches as the trainer is set to check."""
        if self.trainer.sanity_checking:
            loader: Any = self.trainer.val_dataloaders
            n_left = self.trainer.num_sanity_val_steps - sum(loader.lengths[:batch_idx])
            chunk = chunk[: max(0, min(n_left, len(chunk)))]
        self._evaluate("val", chunk)

    def test_step(self, chunk: Sequence[TensorBatch], batch_idx: int) -> None:
        """Count a chunk."""
        self._evaluate("test", chunk)

    def _evaluate(self, stage: str, chunk: Sequence[TensorBatch]) -> None:
        outcomes = []
        for batch in chunk:
            logits = self(batch["image"], batch["aux"])
            outcomes.append((self.compute_loss(logits, batch), [logits[name] for name in self.names]))
        self._count(stage, chunk, outcomes)

    @torch.no_grad()
    def _count(self, stage: str, chunk: Sequence[TensorBatch], outcomes: Sequence[Outcome]) -> None:
        """Count the first batches of a chunk, as many as have an outcome, all at once."""
        if not outcomes:
            return
        losses, logits = zip(*outcomes, strict=True)
        index, normalized = ([batch[key] for batch in chunk[: len(outcomes)]] for key in ("index", "normalized"))
        sizes = torch.tensor([len(of_batch) for of_batch in index]).to(self.device, non_blocking=True)
        outputs = [torch.cat(of_head) for of_head in zip(*logits, strict=True)]
        prediction = self.decoder(outputs)
        likelihood: Sequence[Tensor] = ()
        if stage != "train":
            prediction = prediction._replace(std=prediction.std * self.spread(outputs))
            likelihood = [*self.log_probabilities(dict(zip(self.names, outputs, strict=True))).values()]
        self.counts[stage].update(
            (torch.stack(losses) * sizes).sum(),
            prediction,
            torch.cat(index),
            torch.cat(normalized),
            self.std_scale,
            torch.cat([batch["aux"] for batch in chunk[: len(outcomes)]]),
            self.joint_scale,
            likelihood,
            torch.cat([batch["file"] for batch in chunk]) if "file" in chunk[0] else None,
        )

    def on_train_start(self) -> None:
        """Choose how steps are made. Discard counts of an interrupted epoch, and continue after its last batch."""
        self.step_graphs = self._step_graphs()
        self.n_accumulated = 0
        self.spread.reset()  # of a checkpoint that is trained on: it would be that of other weights
        self.temperature.fill_(1.0)
        for stage in ("train", "val"):
            self.counts[stage].reset()
        if self.n_resumed:  # Lightning drops it where the length of the training was read before
            self._train_loader.load_state_dict({"n_batches": self.n_resumed})
        self.n_resumed = 0

    def _step_graphs(self) -> StepGraphs | None:
        """What replays the steps of this training; the optimizer has the state of its checkpoint by now."""
        accumulates, compiles, maker = self.accumulate_grad_batches, self.compile_net, self.graph_maker
        setup = TrainingSetup.of(self, graphs_on=maker.device_type, accumulates=accumulates, compiles=compiles)
        if not is_replayed(self.graph, setup):
            return None
        (optimizer,) = self.trainer.optimizers
        return StepGraphs(self._learn, self._clip, optimizer, maker(), required=self.graph is True)

    def on_train_end(self) -> None:
        """Free the memory of the graphs: Lightning moves the network off the device after a training."""
        self.step_graphs = None

    def on_train_epoch_start(self) -> None:
        """Log the learning rate that the epoch begins with, for loggers alone."""
        (optimizer,) = self.trainer.optimizers
        rate = {f"lr-{type(optimizer).__name__}": optimizer.param_groups[0]["lr"]}
        for logger in self.trainer.loggers:
            logger.log_metrics(rate, step=self.trainer.global_step)

    def on_train_epoch_end(self) -> None:
        """Log the figures of the training samples, and let a plateau change the learning rate.

        Lightning calls this after the validation and before callbacks save checkpoints.
        """
        figures = self._figures("train")
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            found = self.trainer.callback_metrics | figures
            if self.monitor not in found:
                raise ConfigError(
                    f"model.monitor={self.monitor}: no such metric. There are {', '.join(sorted(found))}."
                )
            scheduler.step(found[self.monitor])
        self._log(figures)
        self.counts["train"].reset()
        # Metrics are all that a process which trained hands over to the one that asked for it.
        self.trainer.callback_metrics[EPOCHS] = torch.tensor(float(self.current_epoch + 1))

    def on_validation_start(self) -> None:
        """Give every device the running statistics of the first, which are those of the checkpoint."""
        if self.trainer.world_size > 1:
            for buffer in self.net.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the validation samples; in a training, keep the best accuracy and the scale of errors."""
        figures = self._figures("val")
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.best_acc.copy_(torch.maximum(self.best_acc, figures["val/acc"]))
            figures["val/acc_best"] = self.best_acc.clone()
            scale = self.counts["val"].conformal_scale().clamp(min=SMALLEST_SCALE)
            self.std_scale.copy_(torch.where(scale.isfinite(), scale, self.std_scale))
            self.joint_scale.copy_(self.counts["val"].joint_scale(self.std_scale))
        self._log(figures)
        if self.trainer.state.fn == "validate":
            self._hand_over_confusions("val")
        self.counts["val"].reset()

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test samples."""
        self._log(self._figures("test"))
        self._hand_over_confusions("test")
        self.counts["test"].reset()

    def _hand_over_confusions(self, stage: str) -> None:
        """Put the counts of `HeadMetrics.confusions` beside the metrics: `test/{name}_confusion`."""
        found = {f"{stage}/{name}{CONFUSION}": counts for name, counts in self.counts[stage].confusions().items()}
        self.trainer.callback_metrics.update(found)

    def _figures(self, stage: str) -> dict[str, Tensor]:
        return {f"{stage}/{name}": figure for name, figure in self.counts[stage].compute().items()}

    def _log(self, figures: Mapping[str, Tensor]) -> None:
        """Log figures of an epoch, all in one go.

        `self.log` makes a metric of its own for each name and moves it every time, which with ten heads takes as long
        as ten training steps; these figures are reduced already.
        """
        trainer = self.trainer
        trainer.callback_metrics.update(figures)
        trainer.logged_metrics.update(figures)
        # One copy from the device: each waits for it.
        numbers = dict(zip(figures, torch.stack(list(figures.values())).tolist(), strict=True))
        shown = {name: number for name, number in numbers.items() if name.rpartition("/")[2] in SHOWN}
        trainer.progress_bar_metrics.update(shown)
        if trainer.loggers and not trainer.sanity_checking:
            for logger in trainer.loggers:
                logger.log_metrics({**numbers, "epoch": self.current_epoch}, step=trainer.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the results of validation, also where a callback has put averaged weights into the checkpoint."""
        checkpoint["state_dict"] |= {name: getattr(self, name) for name in FOUND}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read the number of steps, and the position within an epoch."""
        if "loops" in checkpoint and self.trainer.state.fn == "fit":
            fit_loop, steps = checkpoint["loops"]["fit_loop"], checkpoint["global_step"]
            # Checkpoints of automatic optimization have the number of steps elsewhere.
            fit_loop["epoch_loop.manual_optimization.optim_step_progress"]["total"] = {
                "ready": steps,
                "completed": steps,
            }
            self._resume_within_epoch(fit_loop)

    def _resume_within_epoch(self, fit_loop: dict[str, Any]) -> None:
        """Count the chunks of an epoch that a checkpoint was trained on: they may have had another size."""
        counts = fit_loop["epoch_loop.batch_progress"]["current"]
        states = fit_loop["state_dict"].get("combined_loader")
        n_batches = states[0]["n_batches"] if states else counts["ready"]  # older checkpoints count batches
        self.trainer.fit_loop.setup_data()
        ends = list(itertools.accumulate(self._train_loader.lengths))
        if 0 < n_batches < ends[-1]:
            self.n_resumed = n_batches
            shift = bisect.bisect_right(ends, n_batches) - counts["ready"]
            counts |= {key: count + shift for key, count in counts.items()}

    def on_fit_start(self) -> None:
        """Compile the network in place, so that the names in its checkpoint stay the same.

        Not before: the summary runs the network in a mode that cannot be compiled, and PyTorch would never try again.
        """
        if self.compile_net:
            self.net.compile()

    def configure_optimizers(self) -> OptimizerConfig | OptimizerLRSchedulerConfig:
        """Optimizer, and scheduler if there is one."""
        model = self.trainer.model or self  # as a strategy has wrapped it
        optimizer = self.make_optimizer(params=model.parameters())
        if isinstance(optimizer, FLAT_OPTIMIZERS):
            set_memory_format(self.net, torch.contiguous_format)
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        length = {"total_steps": self._total_steps()} if self.scheduler_interval == "step" else {}
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer=optimizer, **length)}

    @property
    def _optimizer(self) -> LightningOptimizer:
        """The optimizer as Lightning wraps it; there is one."""
        return cast(LightningOptimizer, self.optimizers())

    @property
    def _train_loader(self) -> Any:
        """The trainer's loader of training samples, a `Chunks`."""
        return self.trainer.train_dataloader

    def _total_steps(self) -> float:
        """Optimizer steps of the whole training; infinite without an end."""
        trainer = self.trainer
        n_chunks = trainer.estimated_stepping_batches  # of the whole training; this makes the loader as well
        if trainer.max_epochs == -1:
            return n_chunks  # which is the largest number of steps here
        n_batches = sum(self._train_loader.lengths[: trainer.num_training_batches])
        n_steps = math.ceil(n_batches / self.accumulate_grad_batches) * max(trainer.max_epochs or 0, 1)
        return n_steps if trainer.max_steps == -1 else min(n_steps, trainer.max_steps)


def add_unfitted(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Called before weights are loaded: an older checkpoint has one scale for all sounds, and the temperature 1."""
    for name, tensor in unfitted(module).items():
        state_dict.setdefault(prefix + name, tensor)


def unfitted(module: nn.Module) -> dict[str, Tensor]:
    """What an older checkpoint lacks, by name, as it is before anything is fitted: factors of 1."""
    heads = cast(VIMHLitModule, module)
    neutral = Spread(len(heads.spread.mean), len(heads.spread.bias))
    return {
        "joint_scale": torch.zeros(()),
        "temperature": torch.ones(len(heads.specs)),
        **{f"spread.{name}": tensor for name, tensor in neutral.state_dict().items()},
    }
