"""What a stored configuration may cost: a network is built only as large as the weights beside it are.

A line such as `depth: 1000000` or `hidden: 30000` would take minutes or gigabytes before the weights turn out not to
fit. So the network is first made without memory (PyTorch's meta device), watched while it grows, and compared with the
weights by name and shape.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from src.errors import CheckpointError
from src.plain import parts, shown

SPARE_PARTS = 10_000  # modules and tensors beside those of the weights: metrics, and buffers that are not stored
SPARE_BYTES = 2**28
TIMES = 4  # a layer may be made and replaced
PARTS_PER_WEIGHT = 20  # modules without weights, such as activations
ALWAYS_POSSIBLE = 65_536  # whole numbers up to here are no sign of a hostile file: strides, seeds, sizes of images
MAX_PIXELS = 2**27  # of an image
NO_FIT = "its weights do not fit its configuration"


def check_numbers(section: Any, weights: Mapping[str, Tensor]) -> None:
    """Refuse whole numbers in the description of a network that its weights do not justify.

    Args:
        section: Plain data.
        weights: By name.

    Raises:
        CheckpointError: Naming one that is larger than the number of all weights.
    """
    most = max(ALWAYS_POSSIBLE, sum(weight.numel() for weight in weights.values()))
    for part in parts(section):
        if isinstance(part, int) and abs(part) > most:
            raise CheckpointError(f"{NO_FIT}: it says {shown(part)}, and there are {most:,} weights at most.")


@contextmanager
def no_larger_than(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this, modules that are made may together have a little more than there are weights, and are stopped then.

    Args:
        weights: By name.

    Raises:
        CheckpointError: Out of what makes the modules.
    """
    n_left = TIMES * PARTS_PER_WEIGHT * len(weights) + SPARE_PARTS
    n_bytes_left = TIMES * sum(weight.nbytes for weight in weights.values()) + SPARE_BYTES

    def count(module: nn.Module, name: str, part: Tensor | nn.Module | None) -> None:
        nonlocal n_left, n_bytes_left
        n_left -= 1
        n_bytes_left -= part.nbytes if isinstance(part, Tensor) else 0
        if n_left < 0 or n_bytes_left < 0:
            raise CheckpointError(f"{NO_FIT}: it describes more than {len(weights)} weights of these sizes.")

    hooks = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
        register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def check_network(make: Callable[[], nn.Module], weights: Mapping[str, Tensor], prefix: str = "net.") -> None:
    """Refuse to build a network that is not the one of the weights. It is made without memory for this.

    Args:
        make: Makes the network.
        weights: By name.
        prefix: Of the names of the network's weights.

    Raises:
        CheckpointError: Naming weights that differ.
    """
    with torch.device("meta"):
        net = make()
    expected = {f"{prefix}{name}": tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in weights.items() if name.startswith(prefix)}
    if found != expected:
        raise CheckpointError(f"{NO_FIT}: {differing(found, expected)} differ.")


def differing(found: Mapping[str, Any], expected: Mapping[str, Any], most: int = 5) -> str:
    """Names of what differs between two mappings, for a message."""
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return ", ".join(shown(name, 80).strip("'\"") for name in names[:most]) + " …" * (len(names) > most)
