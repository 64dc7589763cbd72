"""How many sounds, samples and images are made in a second, beside what the device could do at the most."""

from collections.abc import Iterator

import torch
from torch import Tensor

from scripts.gpu_parts.child import Place, Row
from scripts.gpu_parts.timing import seconds_of_call
from scripts.setups import recipe_of
from src.recipe import DeviceMaker, Recipe

SETS = {"ladder": "moog_basic", "saw": "simple_saw", "swept ladder": "moog_envelope"}
WITH_IMAGE = ("basic", "envelope", "resonance")
BLOCKS = (4_096, 16_384, 65_536)  # voices


def measure(place: Place) -> Iterator[Row]:
    """Bare limits, then voices and images at several block sizes."""
    device = torch.device(place.device)
    seconds = 0.02 if place.small else 0.25
    yield "copy", copy(device, 2**20 if place.small else 2**28, seconds)
    yield "product", product(device, 256 if place.small else 8192, seconds)
    for name, config in SETS.items():
        recipe = recipe_of(f"synth/generate_{config}")
        for n in blocks(place):
            yield f"voice {name}, {n:,}", voices(recipe, n, device, seconds)
    for name in WITH_IMAGE:
        recipe = recipe_of(f"synth/generate_moog_{name}")
        for n in blocks(place):
            yield f"image {name}, {n:,}", images(recipe, n, device, seconds)


def blocks(place: Place) -> tuple[int, ...]:
    """Sizes of the blocks."""
    return (16, 64) if place.small else BLOCKS


def copy(device: torch.device, n: int, seconds: float) -> dict[str, float]:
    """Speed at which a device reads and writes its memory: the least that a waveform takes is 4 bytes, written once."""
    source, target = torch.rand(n, device=device), torch.empty(n, device=device)
    took = seconds_of_call(lambda: target.copy_(source), device, seconds)
    return {"bytes_per_second": 8 * n / took}


def product(device: torch.device, n: int, seconds: float) -> dict[str, float]:
    """Speed at which it computes, as far as a product of float32 matrices shows it, without TF32."""
    a, b = torch.rand(2, n, n, device=device)
    took = seconds_of_call(lambda: a @ b, device, seconds)
    return {"operations_per_second": 2 * n**3 / took}


def voices(recipe: Recipe, n: int, device: torch.device, seconds: float) -> dict[str, float]:
    """Speed of the synth alone, its parameters being where it renders."""
    given = recipe.given(recipe.values(0, n))
    if device.type == "cuda":
        there: dict[str, Tensor] = {name: torch.tensor(value, device=device) for name, value in given.items()}
        took = seconds_of_call(lambda: recipe.synth.render_cuda(there), device, seconds)
    else:
        took = seconds_of_call(lambda: recipe.synth.render(given), device, seconds)
    return {"sounds_per_second": n / took, "samples_per_second": n * recipe.n_samples / took}


def images(recipe: Recipe, n: int, device: torch.device, seconds: float) -> dict[str, float]:
    """Speed of synth and representation together, and of drawing the values, which the CPU does meanwhile."""
    maker = DeviceMaker(recipe, device)
    drawn = seconds_of_call(lambda: maker.begin(recipe.values(0, n)), torch.device("cpu"), seconds / 4)
    begun = maker.begin(recipe.values(0, n))
    took = seconds_of_call(lambda: maker.finish(begun), device, seconds)
    if maker.why_not_rendered:  # the sounds are rendered where they begin
        took += drawn
    return {"sounds_per_second": n / took, "begun_per_second": n / drawn}
