"""The kernels of the synths for CUDA: the equations of `kernels`, a thread per voice.

Every function here has its namesake in `kernels`, which takes NumPy's arrays where this one takes tensors. The threads
of a warp render neighbouring voices and write the same sample at the same time: waveforms are time-major,
`(time, voice)`, so that these writes lie side by side, and are handed out as transposed views.

The kernels hold float32 and integers alone, since a GPU computes float64 at a fraction of its speed. What needs
float64, the envelope's exponentials, PyTorch computes beforehand for every place in a block and every block.

numba compiles the kernels when they are first called in a process, which takes a second or two; nothing is kept on the
disk, where numba's cache would not notice that an equation in `kernels` has changed. With `NUMBA_ENABLE_CUDASIM=1` in
the environment numba's simulator runs them in Python, on tensors of the CPU.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numba
import numpy as np
import torch
from numba import cuda
from torch import Tensor

from src.errors import ConfigError
from src.synth.base import Limits, check_names, count_voices
from src.synth.kernels import BLOCK, Oscillator, flush, naive_saw, read_table

arrays = torch  # the library whose arrays the functions take
THREADS = 64  # of a block of threads
SIMULATED = bool(numba.config.ENABLE_CUDASIM)


def why_unusable() -> str:
    """Why no voice can be rendered on CUDA here, as a sentence without its full stop; empty if it can be."""
    if SIMULATED:
        return ""
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    if find_spec("numba_cuda") is None:
        return "the package numba-cuda is missing (pip install '.[cuda]')"
    if not cuda.is_available():
        return f"numba-cuda cannot use the device ({' '.join(str(cuda.cuda_error()).split())})"
    return ""


def complete_parameters(
    parameters: Mapping[str, Tensor],
    defaults: Mapping[str, float],
    limits: Mapping[str, Limits],
    refuse: Callable[[Mapping[str, np.ndarray]], object],
) -> dict[str, Tensor]:
    """Check parameters and fill in the defaults of those that are not named.

    One reduction says whether all values are within their limits. Only if not, they are copied to the CPU, whose checks
    say what is wrong.

    Args:
        parameters: Name to values in natural units, `(voice,)` each, all of one length and on one device.
        defaults: The known names and their values.
        limits: Values of each known name that are surely right, lowest and highest.
        refuse: Raises an error about values that are not right.

    Returns:
        Every known name to float64 values, `(voice,)`; one voice if `parameters` is empty.
    """
    check_names(parameters, defaults)
    n_voices, device = count_voices(parameters), _device(parameters)
    values = {name: value.to(torch.float64) for name, value in parameters.items()}
    if values and not _within(values, limits):
        refuse({name: value.cpu().numpy() for name, value in values.items()})
    return {
        name: values[name] if name in values else torch.full((n_voices,), default, dtype=torch.float64, device=device)
        for name, default in defaults.items()
    }


def _device(parameters: Mapping[str, Tensor]) -> torch.device:
    """The device that all parameters are on, CUDA's or that of the simulator."""
    kind = "cpu" if SIMULATED else "cuda"
    devices = {value.device for value in parameters.values()} or {torch.empty(0, device=kind).device}
    if len(devices) > 1 or {device.type for device in devices} != {kind}:
        raise ConfigError(
            f"Synth parameters are on {', '.join(sorted(map(str, devices)))}; rendering on CUDA takes all of them on "
            "one CUDA device. Move them there, or render on the CPU."
        )
    return devices.pop()


def _within(values: Mapping[str, Tensor], limits: Mapping[str, Limits]) -> bool:
    """Whether all values are within their limits. This waits for the device."""
    stacked = torch.stack(list(values.values()))  # (parameter, voice)
    low, high = stacked.new_tensor([limits[name] for name in values]).T[:, :, None]
    return bool(((stacked >= low) & (stacked <= high)).all())


class _Tables:
    """Wavetables on a device. Each is computed when it is first asked for, and stays."""

    def __init__(self) -> None:
        self.start: dict[int, int] = {}  # size, as `place_tables` takes it, to the table's first point
        self.shift: dict[int, int] = {}
        self.points: Tensor | None = None

    def add(self, make: Callable[[int], np.ndarray], sizes: list[int], device: torch.device) -> Tensor:
        """All tables, `(point,)`, those of some sizes among them."""
        known = torch.zeros(0, device=device) if self.points is None else self.points
        first, pieces = known.numel(), [known]
        for size in sizes:
            if size not in self.start:
                table = make(size)
                self.start[size], self.shift[size] = first, 41 - table.size.bit_length()
                first += table.size
                pieces.append(torch.tensor(table, device=device))
        if len(pieces) > 1 or self.points is None:
            self.points = torch.cat(pieces)
        return self.points


@lru_cache(maxsize=8)
def _tables(place: Any) -> _Tables:
    """The tables of a stream of a device. Streams share none, so that no stream waits for another."""
    return _Tables()


def place_tables(make: Callable[[int], np.ndarray], sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Wavetables one after the other, and where each voice's lies. This waits for the device.

    Args:
        make: Makes the table of a size: a power of two of points, and the first one again.
        sizes: What `make` is given for each voice, `(voice,)`.

    Returns:
        `tables`, `start` and `shift` of an `Oscillator`.
    """
    device = sizes.device
    kept = _tables(torch.cuda.current_stream(device) if device.type == "cuda" else device)
    distinct, which = sizes.unique(return_inverse=True)
    listed = distinct.tolist()
    points = kept.add(make, listed, device)
    places = [[kept.start[size] for size in listed], [kept.shift[size] for size in listed]]
    start, shift = torch.tensor(places, dtype=torch.int64, device=device)[:, which].view(torch.uint64)
    return points, start, shift


def _launch(kernel: Any, grid: int | tuple[int, int], y: Tensor, *arguments: Any) -> None:
    """Run a kernel that fills y, on the device of y and on PyTorch's current stream there."""
    if SIMULATED:
        plain = [item.numpy() if isinstance(item, Tensor) else item for item in (y, *arguments)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)  # phases are to wrap around
            kernel[grid, THREADS](*plain)
    else:
        with torch.cuda.device(y.device):
            stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
            kernel[grid, THREADS, stream](y, *arguments)


def _envelope(decay_rate: Tensor, n_samples: int) -> tuple[Tensor, Tensor]:
    """Exponential decay as a product: of each block, `(block, voice)`, and of each place in it, `(place, voice)`."""
    n = torch.arange(max(n_samples, BLOCK), dtype=torch.float64, device=decay_rate.device)
    at_block = torch.exp(-n[:n_samples:BLOCK, None] * decay_rate)
    return at_block.float(), torch.exp(-n[:BLOCK, None] * decay_rate).float()


@cuda.jit(fastmath=True)
def _saw_kernel(y, band_limited, tables, start, shift, increment, phase, amplitude, at_block, in_block):
    voice = cuda.grid(1)
    if voice >= y.shape[1]:
        return
    first_point, table_shift, step, at = start[voice], shift[voice], increment[voice], phase[voice]
    for block in range(at_block.shape[0]):
        level = amplitude[voice] * at_block[block, voice]
        first = block * BLOCK
        for n in range(min(BLOCK, y.shape[0] - first)):
            saw = read_table(tables, first_point, table_shift, at) if band_limited else naive_saw(at)
            y[first + n, voice] = flush(saw * (level * in_block[n, voice]))
            at += step


def render_saw(oscillator: Oscillator, amplitude: Tensor, decay_rate: Tensor, n_samples: int) -> Tensor:
    """Sawtooth with exponential decay.

    Args:
        oscillator: What each voice plays.
        amplitude: Peak value, float32, `(voice,)`.
        decay_rate: Decay in nepers per sample, float64, `(voice,)`.
        n_samples: Samples to render.

    Returns:
        Waveforms, float32, `(voice, time)`.
    """
    y = torch.empty(n_samples, len(amplitude), device=amplitude.device)
    if y.numel():
        n_blocks = -(-len(amplitude) // THREADS)
        _launch(_saw_kernel, n_blocks, y, *oscillator, amplitude, *_envelope(decay_rate, n_samples))
    return y.T
