"""Sounds and images of a device beside those of the CPU, and what its kernels compute with."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from scripts.gpu_parts.child import Place, Row
from scripts.setups import recipe_of
from src.recipe import DeviceMaker, Recipe
from src.synth import cuda
from src.synth.voices import MoogVoice, SawVoice

FLOAT64 = re.compile(r"\.f64\b")  # in PTX; registers have no dot


class Voices(NamedTuple):
    """Voices of one kind, with the parameters of a set and phases of their own.

    Attributes:
        set: A configuration `synth/generate_SET`.
        kind: The synth.
        options: Of the synth, beside sample rate and duration.
    """

    set: str
    kind: type[SawVoice | MoogVoice]
    options: Mapping[str, Any] = MappingProxyType({})


VOICES = {
    "saw": Voices("simple_saw", SawVoice),
    "saw, naive": Voices("simple_saw", SawVoice, {"band_limited": False}),
    "basic": Voices("moog_basic", MoogVoice),
    "envelope": Voices("moog_envelope", MoogVoice),
    "resonance": Voices("moog_resonance", MoogVoice),
    "resonance, oversampled 2 times": Voices("moog_resonance", MoogVoice, {"oversample": 2}),
    "resonance, oversampled 4 times": Voices("moog_resonance", MoogVoice, {"oversample": 4}),
}
IMAGES = ("basic", "envelope", "resonance")


def measure(place: Place) -> Iterator[Row]:
    """The largest difference of each kind of voice and of each set's images; float64 instructions of the kernels.

    In the rehearsal numba's simulator renders: a few samples, and no images.
    """
    n_voices = 4 if place.small else 4096
    device = torch.device(place.device)
    for name, voices in VOICES.items():
        recipe = recipe_of(f"synth/generate_{voices.set}")
        yield f"voice {name}", difference(voices, recipe, n_voices, device, place.small)
    if device.type != "cuda":
        return
    for name in IMAGES:
        yield f"image {name}", image_difference(recipe_of(f"synth/generate_moog_{name}"), n_voices, device)
    yield "float64", float64_instructions()


def difference(voices: Voices, recipe: Recipe, n: int, device: torch.device, short: bool) -> dict[str, Any]:
    """How far the sounds of a device are from those of the CPU.

    Args:
        voices: Which.
        recipe: Draws their parameters.
        n: How many.
        device: That renders them.
        short: Whether they last only some samples.
    """
    sample_rate = recipe.synth.sample_rate
    duration = 60 / sample_rate if short else recipe.synth.duration
    options = dict(voices.options)
    if voices.kind is MoogVoice:
        options["note_duration"] = 0.75 * duration
    synth = voices.kind(sample_rate, duration, **options)
    given = recipe.given(recipe.values(0, n)) | {"phase": np.random.default_rng(0).uniform(size=n)}
    here = synth.render(given)
    there = synth.render_cuda({name: torch.tensor(value, device=device) for name, value in given.items()})
    error = there.cpu().numpy().astype(np.float64) - here
    rms = np.sqrt((here.astype(np.float64) ** 2).mean())
    return {
        "voices": n,
        "samples": synth.n_samples,
        "largest": float(np.abs(error).max()),
        "rms_relative": float(np.sqrt((error**2).mean()) / rms),
    }


def image_difference(recipe: Recipe, n: int, device: torch.device) -> dict[str, Any]:
    """How far the images of a device are from those of the CPU: pixels that differ, and by how many levels."""
    here, there = recipe.make(0, n), DeviceMaker(recipe, device).make(0, n)
    levels = np.abs(there.image.cpu().numpy().astype(int) - here.image)
    return {
        "images": n,
        "same_values": bool(np.array_equal(there.value, here.value) and np.array_equal(there.code, here.code)),
        "share_of_pixels": float((levels > 0).mean()),
        "levels": int(levels.max()),
    }


def float64_instructions() -> dict[str, Any]:
    """Instructions on float64 in the kernels that were compiled in this process, and how many kernels there are."""
    kernels = [kernel for name, kernel in vars(cuda).items() if name.endswith("_kernel")]
    code = [ptx for kernel in kernels for ptx in kernel.inspect_asm().values()]
    return {"kernels": len(code), "instructions": sum(len(FLOAT64.findall(ptx)) for ptx in code)}
