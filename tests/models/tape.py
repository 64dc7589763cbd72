"""CUDA graphs without CUDA: the operators of a function are noted, and replayed into the same memory, without Python.

So a tape shows what a graph would show: whatever a step decides in Python, or copies from memory that moves, is frozen
in it. And it refuses the operators that a graph refuses.
"""

from typing import ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def tensors_in(*items):
    return [leaf for leaf in tree_leaves(items) if isinstance(leaf, torch.Tensor)]


def refusal(operator, args, kwargs, results, device_type):
    """Why a CUDA graph cannot hold an operator, or None: the CPU would wait for a number, or for a copy."""
    name = operator.name()
    if torch.Tag.data_dependent_output in operator.tags:
        return "the CPU needs a number"
    if name.startswith(("aten::index", "aten::_index_put")):  # by numbers they have a fixed shape
        if any(index.dtype in (torch.bool, torch.uint8) for index in tensors_in(args[1])):
            return "the CPU needs a shape"
    elif torch.Tag.dynamic_output_shape in operator.tags:
        return "the CPU needs a shape"
    if name == "aten::lift_fresh":
        return "numbers are copied from Python"
    places = {tensor.device.type for tensor in tensors_in(args, kwargs, results)}
    return None if places <= {device_type} else f"tensors are on {', '.join(sorted(places))}"


class OnlyCapturable(TorchDispatchMode):
    """Refuses every operator that cannot be captured, forwards and backwards.

    Args:
        device_type: Where all tensors must be.
    """

    def __init__(self, device_type):
        super().__init__()
        self.device_type = device_type
        self.seen = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        results = operator(*args, **kwargs)
        self.seen.add(operator.name())
        if reason := refusal(operator, args, kwargs, results, self.device_type):
            raise RuntimeError(f"{operator.name()} cannot be captured: {reason}")
        return results


class Tape(TorchDispatchMode):
    """The operators of a function. Recording leaves every tensor, and the state of random numbers, as it was."""

    def __init__(self, function):
        super().__init__()
        self.operators = []
        self._made, self._before = set(), []
        random_state = torch.get_rng_state()
        with self:
            self.results = function()
        torch.set_rng_state(random_state)
        with torch.no_grad():
            for tensor, before in self._before:
                tensor.copy_(before)
        self.n_replays = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for tensor in tensors_in(args, kwargs):
            if tensor.untyped_storage().data_ptr() not in self._made:
                self._note(tensor)
                self._before.append((tensor.detach(), tensor.detach().clone()))
        results = operator(*args, **kwargs)
        for tensor in tensors_in(results):
            self._note(tensor)
        if reason := refusal(operator, args, kwargs, results, "cpu"):
            raise RuntimeError(f"{operator.name()} cannot be captured: {reason}")
        self.operators.append((operator, args, kwargs, tensors_in(results)))
        return results

    def _note(self, tensor):
        """A tensor that is made within the function, or whose state before it is kept; its memory stays."""
        self._made.add(tensor.untyped_storage().data_ptr())

    @torch.no_grad()
    def replay(self):
        self.n_replays += 1
        for operator, args, kwargs, results in self.operators:
            if operator.is_view:
                continue
            for kept, new in zip(results, tensors_in(operator(*args, **kwargs)), strict=True):
                if kept is not new and kept.data_ptr() != new.data_ptr():
                    kept.copy_(new)
        return self.results


class Tapes:
    """Makes tapes, as `CudaGraphs` makes graphs; `made` has those of all trainings, in order."""

    device_type = "cpu"
    made: ClassVar[list[Tape]] = []

    def __init__(self):
        Tapes.made.clear()

    def warm_up(self, function):
        return function(), []

    def capture(self, function):
        Tapes.made.append(Tape(function))
        return Tapes.made[-1]
