"""A training step as CUDA graphs: recorded once, then replayed for every batch, without the work of launching kernels.

A step is two graphs. The first reads a batch from fixed memory and makes its gradients: forward, loss, backward. The
second clips them and makes the step of the optimizer. Between the two, callbacks see the gradients as they always do.
Learning rates are read from memory as well, so that schedulers change numbers, and no graph.

The first batches of a shape are trained on step by step, and warm up what a recording must find ready. Recording
computes nothing. So there is nothing to put back, and every batch counts once.

Sources: the section CUDA Graphs of PyTorch's notes on CUDA semantics (whole-network capture), and `torch.cuda.graphs`.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from src.errors import ConfigError

log = logging.getLogger(__name__)

# What a step reads of a batch, as far as it is there.
INPUTS = ("image", "aux", "normalized", "index", "share", "other_normalized", "other_index")
WARM_UP = 3  # batches of a shape before it is recorded: as many as PyTorch warms up with
MOST_SHAPES = 2  # that are recorded: the batches of an epoch are equal to within one sample
WITHIN_BACKWARD = ("on_before_backward", "on_after_backward")  # hooks that a replay does not call
WAITS = "called a synchronizing CUDA operation"  # how PyTorch reports one

Outcome = tuple[Tensor, Sequence[Tensor]]  # of a batch: its mean loss, and the logits of each head, without gradients
Results = Sequence[Any]  # tensors, and None for weights without a gradient


@dataclass(frozen=True)
class TrainingSetup:
    """What decides whether the steps of a training can be replayed.

    Attributes:
        device: Its type.
        graphs_on: The type of device that can replay.
        strategy: Lightning's strategy where it does more than to use one device, else None.
        optimizer: Its class.
        keeps_state_on_device: Whether the optimizer makes its steps without the CPU (`capturable`, `fused`).
        accumulates: Batches of a step.
        scales: Whether gradients are scaled for half precision.
        compiles: Whether the network is compiled.
        detects_anomalies: Whether every operation of a backward pass is checked.
        within_backward: Who is called within a backward pass.
        rank: Number of this process; the first one speaks.
    """

    device: str
    graphs_on: str = "cuda"
    strategy: str | None = None
    optimizer: str = "AdamW"
    keeps_state_on_device: bool = True
    accumulates: int = 1
    scales: bool = False
    compiles: bool = False
    detects_anomalies: bool = False
    within_backward: tuple[str, ...] = ()
    rank: int = 0

    @classmethod
    def of(cls, module: LightningModule, **settings: Any) -> "TrainingSetup":
        """That of a module whose training is about to start; `settings` are those that the module alone knows."""
        trainer = module.trainer
        (optimizer,) = trainer.optimizers
        strategy = trainer.strategy
        observers = [*trainer.callbacks, module]  # type: ignore[attr-defined]  # Lightning sets it from outside
        return cls(
            device=strategy.root_device.type,
            strategy=None if isinstance(strategy, SingleDeviceStrategy) else type(strategy).__name__,
            optimizer=type(optimizer).__name__,
            keeps_state_on_device=type(optimizer) in (Adam, AdamW) and not optimizer.defaults["differentiable"],
            scales=getattr(trainer.precision_plugin, "scaler", None) is not None,
            detects_anomalies=torch.is_anomaly_enabled(),
            within_backward=tuple(
                type(observer).__name__
                for observer in observers
                if any(is_overridden(hook, observer) for hook in WITHIN_BACKWARD)
            ),
            rank=trainer.global_rank,
            **settings,
        )


def obstacle(setup: TrainingSetup) -> str | None:
    """Why the steps of a training cannot be replayed, in words; None if they can."""
    reasons = {
        f"the device is {setup.device}, and graphs are of CUDA": setup.device != setup.graphs_on,
        f"{setup.strategy} exchanges gradients between processes": setup.strategy is not None,
        f"{setup.optimizer} is not Adam or AdamW, whose steps need no CPU": not setup.keeps_state_on_device,
        f"{setup.accumulates} batches make a step (trainer.accumulate_grad_batches)": setup.accumulates > 1,
        "gradients are scaled for half precision, which needs the CPU; bf16-mixed does not": setup.scales,
        "the network is compiled (model.compile)": setup.compiles,
        "every operation is checked (trainer.detect_anomaly)": setup.detects_anomalies,
        f"{', '.join(setup.within_backward)} must be called within every backward pass": bool(setup.within_backward),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def is_replayed(setting: bool | str, setup: TrainingSetup) -> bool:
    """Whether the steps of a training are to be replayed; says so in the log, and why not.

    Args:
        setting: `model.graph`: `auto`, true or false.
        setup: Of the training.

    Raises:
        ConfigError: If it is true, and they cannot be.
    """
    reason = "model.graph is false" if setting is False else obstacle(setup)
    if reason is None:
        log.info("Training steps are recorded as CUDA graphs and replayed (model.graph=%s).", str(setting).lower())
        return True
    if setting is True:
        raise ConfigError(f"model.graph is true, but {reason}. Take model.graph=auto, or change that.")
    level = logging.INFO if setup.device == setup.graphs_on and setup.rank == 0 else logging.DEBUG
    log.log(level, "Training steps are not replayed as CUDA graphs: %s.", reason)
    return False


class Replayable(Protocol):
    """A function that was recorded."""

    def replay(self) -> Results:
        """Compute again what the function computed, and return it: the same tensors every time, with new numbers."""


class GraphMaker(Protocol):
    """Records functions of tensors that stay where they are."""

    device_type: ClassVar[str]

    def warm_up(self, function: Callable[[], Outcome]) -> tuple[Outcome, list[str]]:
        """Call a function in the way in which it will be recorded.

        Returns:
            What it returns, and where it waits for the device, which cannot be recorded.
        """

    def capture(self, function: Callable[[], Results]) -> Replayable:
        """Record a function without computing anything."""


class CudaGraph:
    """A function as a CUDA graph. Random numbers go on from replay to replay: PyTorch registers its generator.

    Args:
        function: Reads and writes tensors that stay where they are.
        stream: Where it is recorded, one that is not the default.
    """

    def __init__(self, function: Callable[[], Results], stream: torch.cuda.Stream) -> None:
        self.graph = torch.cuda.CUDAGraph()
        # The outer context restores the stream if the recording fails. Other threads may use the device meanwhile.
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"),
        ):
            self.results = function()

    def replay(self) -> Results:
        """Launch it on the current stream."""
        self.graph.replay()
        return self.results


class CudaGraphs:
    """Makes CUDA graphs on a stream of its own, where functions are warmed up as well, as PyTorch wants it."""

    device_type: ClassVar[str] = "cuda"

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()

    def warm_up(self, function: Callable[[], Outcome]) -> tuple[Outcome, list[str]]:
        """See `GraphMaker`."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with waits_for_device() as waits, torch.cuda.stream(self.stream):
            outcome = function()
        current.wait_stream(self.stream)
        return outcome, waits

    def capture(self, function: Callable[[], Results]) -> CudaGraph:
        """See `GraphMaker`."""
        return CudaGraph(function, self.stream)


@contextmanager
def waits_for_device() -> Iterator[list[str]]:
    """Collects the places where the CPU waits for the GPU: the list is filled when the context ends."""
    found: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)
    for warning in caught:
        if WAITS in str(warning.message):
            found.append(f"{warning.filename}:{warning.lineno}")
        elif "Synchronization debug mode" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


class CapturedStep:
    """The step of all batches of one shape, recorded.

    A step is `learn` with a batch and then `update`. In between, the weights have their gradients; after it they have
    none, so that the optimizer, which Lightning calls for its step, finds nothing left to do.

    Args:
        batch: One of them; gives shapes alone.
        learn: Makes the gradients of a batch, from none, and returns its outcome.
        clip: Clips the gradients.
        optimizer: Has made steps already; its state is on the device (`keep_on_device`).
        graphs: Records.
    """

    def __init__(
        self,
        batch: Mapping[str, Tensor],
        learn: Callable[[Mapping[str, Tensor]], Outcome],
        clip: Callable[[], None],
        optimizer: Optimizer,
        graphs: GraphMaker,
    ) -> None:
        self.batch = {key: batch[key].clone() for key in INPUTS if key in batch}
        self.optimizer = optimizer
        self.groups = optimizer.param_groups
        self.weights = [weight for group in self.groups for weight in group["params"]]
        self.settings = settings_of(optimizer)
        self.rates = [self.weights[0].new_full((), group["lr"], dtype=torch.float32) for group in self.groups]
        self.rates_set = [group["lr"] for group in self.groups]
        self._function, self._clip = learn, clip
        self.gradients = graphs.capture(self._make_gradients)
        self.step = graphs.capture(self._make_step)

    def _make_gradients(self) -> Results:
        loss, logits = self._function(self.batch)
        self.head_sizes = [of_head.shape[1] for of_head in logits]
        return [loss, torch.cat(list(logits), dim=1), *(weight.grad for weight in self.weights)]

    def _make_step(self) -> Results:
        self._clip()
        with on_device(self.groups, self.rates):
            self.optimizer.step()
        return []

    def learn(self, batch: Mapping[str, Tensor]) -> Outcome:
        """Make the gradients of a batch; returns its outcome."""
        for key, tensor in self.batch.items():
            tensor.copy_(batch[key])
        loss, logits, *gradients = self.gradients.replay()
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        return loss.clone(), logits.clone().split(self.head_sizes, dim=1)

    def update(self) -> None:
        """Make the step of the optimizer with these gradients, at the learning rates of now."""
        rates = [group["lr"] for group in self.groups]
        if rates != self.rates_set:
            for rate, tensor in zip(rates, self.rates, strict=True):
                tensor.fill_(rate)
            self.rates_set = rates
        self.step.replay()
        for weight in self.weights:
            weight.grad = None


class StepGraphs:
    """Steps of a training: replayed where the shape of a batch was recorded, made one by one elsewhere.

    Args:
        learn: Makes the gradients of a batch, from none, and returns its outcome.
        clip: Clips the gradients.
        optimizer: With the state of its checkpoint, if there was one.
        graphs: Records.
        required: Refuse what cannot be recorded, where otherwise steps are made one by one.
    """

    def __init__(
        self,
        learn: Callable[[Mapping[str, Tensor]], Outcome],
        clip: Callable[[], None],
        optimizer: Optimizer,
        graphs: GraphMaker,
        required: bool = False,
    ) -> None:
        keep_on_device(optimizer)
        self.optimizer = optimizer
        self.required = required
        self.n_seen: Counter[Any] = Counter()
        self.captured: dict[Any, CapturedStep] = {}
        self.can_capture = True
        self._learn, self._clip, self._graphs = learn, clip, graphs
        self._current: CapturedStep | None = None

    def learn(self, batch: Mapping[str, Tensor]) -> Outcome:
        """Make the gradients of a batch; returns its outcome.

        Raises:
            ConfigError: If the step was to be recorded, and cannot be.
        """
        self._current = self._find(batch)
        if self._current is not None:
            return self._current.learn(batch)
        if not self.can_capture:
            return self._learn(batch)
        outcome, waits = self._graphs.warm_up(partial(self._learn, batch))
        if waits:
            self._refuse(f"the CPU waits for the GPU at {waits[0]}")
        return outcome

    def update(self) -> None:
        """Make the step of these gradients if it was recorded, or clip them for the optimizer, which will make it."""
        if self._current is None:
            self._clip()
        else:
            self._current.update()

    def _find(self, batch: Mapping[str, Tensor]) -> CapturedStep | None:
        """The step for a batch, recorded now if its shape has come often enough; None: make it one by one."""
        shape = tuple((batch[key].shape, batch[key].dtype) for key in INPUTS if key in batch)
        captured = self.captured.get(shape)
        if captured is None:
            self.n_seen[shape] += 1
            if not self.can_capture or self.n_seen[shape] <= WARM_UP or len(self.captured) == MOST_SHAPES:
                return None
            captured = self.captured[shape] = self._capture(batch)
        # Something other than the learning rate may have changed: OneCycleLR moves the momentum, too.
        return captured if captured.settings == settings_of(self.optimizer) else None

    def _capture(self, batch: Mapping[str, Tensor]) -> CapturedStep:
        try:
            return CapturedStep(batch, self._learn, self._clip, self.optimizer, self._graphs)
        except RuntimeError as error:  # CUDA's state may be lost with it: no going on
            reason = str(error.__context__ or error).partition("\n")[0]  # the first failure makes the recording fail
            raise ConfigError(
                f"The training step cannot be recorded as a CUDA graph: {reason}. Train with model.graph=false."
            ) from error

    def _refuse(self, reason: str) -> None:
        if self.required:
            raise ConfigError(
                f"model.graph is true, but {reason}, which cannot be recorded. Take model.graph=auto, or change that."
            )
        self.can_capture = False
        log.info("Training steps are not replayed as CUDA graphs after all: %s.", reason)


def settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What a recorded step of an optimizer has fixed: all settings but the learning rate, and how many weights."""
    return [
        {key: setting for key, setting in group.items() if key not in ("params", "lr")} | {"n": len(group["params"])}
        for group in optimizer.param_groups
    ]


def keep_on_device(optimizer: Optimizer) -> None:
    """Have Adam or AdamW count its steps where the weights are, and compute them by one kernel.

    Its state dicts remain those of an optimizer that does not, so that any device can go on with its checkpoints.
    """
    fused = optimizer.defaults["fused"]
    for group in optimizer.param_groups:
        group["fused"] = True
        for weight in group["params"]:
            if state := optimizer.state.get(weight):
                state["step"] = state["step"].to(weight.device, torch.float32)

    def as_configured(_: Optimizer, found: dict[str, Any]) -> dict[str, Any]:
        groups = [group | {"fused": fused} for group in found["param_groups"]]
        state = {key: of_weight | {"step": of_weight["step"].cpu()} for key, of_weight in found["state"].items()}
        return found | {"param_groups": groups, "state": state}

    optimizer.register_state_dict_post_hook(as_configured)


@contextmanager
def on_device(groups: Sequence[dict[str, Any]], rates: Sequence[Tensor]) -> Iterator[None]:
    """Have an optimizer read its learning rates from tensors, which is what can be recorded."""
    before = [(group["lr"], group["capturable"]) for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group.update(lr=rate, capturable=True)
    try:
        yield
    finally:
        for group, (rate, capturable) in zip(groups, before, strict=True):
            group.update(lr=rate, capturable=capturable)
