"""Training steps without Lightning: eager, captured as a CUDA graph, and with the sounds that they are fed."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import AdamW

from scripts.gpu_parts.child import Place, Row
from scripts.gpu_parts.timing import seconds_of_call, synchronize
from scripts.setups import compose_config, recipe_of
from src.checkpoints.run import build_model
from src.data.vimh_dataset import BatchFormat
from src.generation import FreshBlocks
from src.hydra_versions import instantiate
from src.recipe import DeviceMaker, Recipe

Batch = Mapping[str, Tensor]
Step = Callable[[Batch], Any]

CASES = {"basic": "cnn_tiny", "envelope": "cnn_64k"}
WARM_UP = 11  # steps before a recording, so that cuDNN has chosen its algorithms
INPUTS = ("image", "aux", "normalized", "index")


def measure(place: Place) -> Iterator[Row]:
    """Steps of two networks with small and large batches, and a bare loop that makes its own sounds."""
    for name, model in CASES.items():
        case = Case(name, model, torch.device(place.device))
        seconds = 0.1 if place.small else 0.4
        sizes = (16, 32) if place.small else (128, 2048)
        for size in sizes:
            yield f"step {name} {model}, {size:,}", case.steps(size, seconds)
        yield f"loop {name} {model}, {sizes[-1]:,}", case.loop(sizes[-1], 128 if place.small else None, 6 * seconds)


class Case:
    """A network and the sounds that it learns from, on a device.

    Args:
        name: Of the set.
        model: A configuration of the group `model`.
        device: Where both are.
    """

    def __init__(self, name: str, model: str, device: torch.device) -> None:
        self.device = device
        self.recipe: Recipe = recipe_of(f"synth/generate_moog_{name}")
        self.maker = DeviceMaker(self.recipe, device)
        self.cfg = compose_config("train", f"experiment=moog_cnn_{name}", f"model={model}", "hydra.output_subdir=null")
        aux = tuple(self.cfg.data.aux)
        self.to_tensors = BatchFormat(self.recipe.space.varying, aux, instantiate(self.cfg.data.measure))

    def trainable(self) -> tuple[LightningModule, AdamW]:
        """The network as it begins, and an optimizer that can be recorded."""
        torch.manual_seed(0)
        module = build_model(self.cfg, self.recipe.info("bench")).to(self.device).train()
        on_gpu = self.device.type == "cuda"
        settings = {key: value for key, value in self.cfg.model.optimizer.items() if not key.startswith("_")}
        return module, AdamW(module.parameters(), **settings, fused=on_gpu, capturable=on_gpu)

    def sounds(self, start: int, stop: int) -> dict[str, Tensor]:
        """Sounds of the set as a batch."""
        return self.to_tensors.of(*self.maker.make(start, stop))

    def steps(self, size: int, seconds: float) -> dict[str, float]:
        """Milliseconds of a step, eager and recorded."""
        batch = self.sounds(0, size)
        found = {}
        for kind, step in (("eager", eager_step), ("graph", recorded_step)):
            if kind == "graph" and self.device.type != "cuda":
                continue
            call = step(*self.trainable(), batch)
            took = seconds_of_call(lambda call=call: call(batch), self.device, seconds)
            found |= {f"{kind}_ms": 1e3 * took, f"{kind}_sounds_per_second": size / took}
        return found

    def loop(self, size: int, block: int | None, seconds: float) -> dict[str, float]:
        """Sounds per second of a loop that makes a block of sounds and trains on it, batch by batch.

        A thread draws the values of the next block meanwhile.
        """
        source = FreshBlocks(self.maker)
        n = block or self.maker.block_size
        n -= n % size
        step_of = recorded_step if self.device.type == "cuda" else eager_step
        step = step_of(*self.trainable(), self.sounds(0, size))
        with ThreadPoolExecutor(1) as pool:
            start, pending = n, pool.submit(source.begin, 0, n)

            def train_on_block() -> None:
                nonlocal start, pending
                begun = pending.result()
                start, pending = start + n, pool.submit(source.begin, start, start + n)
                sounds = self.to_tensors.of(*source.finish(begun))
                for first in range(0, n, size):
                    step({key: tensor[first : first + size] for key, tensor in sounds.items()})

            took = seconds_of_call(train_on_block, self.device, seconds)
        return {"sounds_per_second": n / took, "block": n}


def eager_step(module: LightningModule, optimizer: AdamW, example: Batch) -> Step:
    """A step, operation by operation."""

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        module.compute_loss(module(batch["image"], batch["aux"]), batch).backward()
        optimizer.step()

    return step


def recorded_step(module: LightningModule, optimizer: AdamW, example: Batch) -> Step:
    """A step as one CUDA graph: whole-network capture, as in PyTorch's notes on CUDA semantics.

    Args:
        module: Is changed by the warm-up.
        optimizer: Capturable.
        example: A batch of the size of all that follow.
    """
    fixed = {key: example[key].clone() for key in INPUTS}
    step = eager_step(module, optimizer, fixed)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            step(fixed)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        step(fixed)
    synchronize(torch.device("cuda"))

    def replay(batch: Batch) -> None:
        for key, tensor in fixed.items():
            tensor.copy_(batch[key])
        graph.replay()

    return replay
