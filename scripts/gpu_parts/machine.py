"""What the machine is: its GPU, its processors, its packages."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

import src
from scripts.gpu_parts.child import Place, Row
from src.errors import ConfigError

PACKAGES = ("numba", "numba-cuda", "lightning", "numpy")


def measure(place: Place) -> Iterator[Row]:
    """One finding: the machine.

    Raises:
        ConfigError: If there is no GPU where one is to be measured.
    """
    gpu = {}
    if place.device == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(
                f"torch {torch.__version__} finds no NVIDIA GPU here. Run this where one is, or rehearse it: "
                "--device cpu --small"
            )
        properties = torch.cuda.get_device_properties(0)
        gpu = {
            "gpu": properties.name,
            "gpu_gib": round(properties.total_memory / 2**30, 1),
            "multiprocessors": properties.multi_processor_count,
        }
    yield (
        "machine",
        {
            **gpu,
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name.replace("-", "_"): version_of(name) for name in PACKAGES},
            "code": src.__version__,
        },
    )


def version_of(name: str) -> str:
    """Of a package; empty if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
