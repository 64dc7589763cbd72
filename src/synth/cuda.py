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

import threading
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
from src.synth.kernels import (
    AMPLITUDE,
    ATTACK_END,
    ATTACK_RATE,
    BLOCK,
    CUTOFF,
    DECAY_RATE,
    FEEDBACK,
    OCTAVES,
    RELEASE_RATE,
    SUSTAIN,
    Oscillator,
    adsr,
    advance,
    along_chords,
    along_tangents,
    clip,
    cutoff_gain,
    exp2,
    flush,
    inflow,
    inlined,
    naive_saw,
    read_table,
    residuals_of,
    settle,
    share_of,
    solve_last,
    solve_others,
    tanh_and_chord,
)

if not hasattr(np, "row_stack"):  # numba-cuda 0.30 compiles nothing without this old name, which NumPy 2.5 dropped
    vars(np)["row_stack"] = np.vstack

arrays = torch  # the library whose arrays the functions take
THREADS = 64  # of a block of threads
TILE = 8  # samples that a thread of the decimation makes
SIMULATED = bool(numba.config.ENABLE_CUDASIM)
numba.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # few voices may be rendered as well

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


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
    if reason := why_unusable():
        raise ConfigError(f"No sound can be rendered on CUDA: {reason}.")
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
        self.points = torch.zeros(0)
        self._lock = threading.Lock()

    def add(self, make: Callable[[int], np.ndarray], sizes: list[int], device: torch.device) -> Tensor:
        """All tables, `(point,)`, those of some sizes among them."""
        with self._lock:
            first, pieces = self.points.numel(), [self.points.to(device)]
            for size in sizes:
                if size not in self.start:
                    table = make(size)
                    self.start[size], self.shift[size] = first, 41 - table.size.bit_length()
                    first += table.size
                    pieces.append(torch.tensor(table, device=device))
            if len(pieces) > 1:
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


def _launch(kernel: Any, y: Tensor, *arguments: Any, n_tiles: int = 1) -> Tensor:
    """Run a kernel that fills y, `(time, voice)`, on PyTorch's current stream: for each tile, a thread per voice.

    It gets y as a flat array, `(time * voice,)`, whose places are counted in unsigned integers, and the length of the
    sounds: a signed place may be one from the end, which costs a test, and two indices cost a product per sample.

    Returns:
        y as `(voice, time)`.
    """
    n_samples, n_voices = y.shape
    if not y.numel():
        return y.T
    grid = (n_tiles, -(-n_voices // THREADS))
    if SIMULATED:
        plain = [item.numpy() if isinstance(item, Tensor) else item for item in (y.view(-1), n_samples, *arguments)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)  # phases are to wrap around
            kernel[grid, THREADS](*plain)
    else:
        # As arrays: numba-cuda takes tensors by DLPack, and may call the default stream what PyTorch refuses there.
        with torch.cuda.device(y.device):
            flat, *there = (cuda.as_cuda_array(i) if isinstance(i, Tensor) else i for i in (y.view(-1), *arguments))
            stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
            kernel[grid, THREADS, stream](flat, n_samples, *there)
    return y.T


def _envelope(decay_rate: Tensor, n_samples: int) -> tuple[Tensor, Tensor]:
    """Exponential decay as a product: of each block, `(block, voice)`, and of each place in it, `(place * voice,)`."""
    n = torch.arange(max(n_samples, BLOCK), dtype=torch.float64, device=decay_rate.device)
    at_block = torch.exp(-n[:n_samples:BLOCK, None] * decay_rate)
    return at_block.float(), torch.exp(-n[:BLOCK, None] * decay_rate).float().view(-1)


@cuda.jit(fastmath=True)
def _saw_kernel(y, n_samples, band_limited, tables, start, shift, increment, phase, amplitude, at_block, in_block):
    voice = cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if voice >= increment.size:
        return
    first_point, table_shift, step, at = start[voice], shift[voice], increment[voice], phase[voice]
    place, row = np.uint64(voice), np.uint64(increment.size)
    for block in range(at_block.shape[0]):
        level = amplitude[voice] * at_block[block, voice]
        near = np.uint64(voice)
        for _ in range(min(BLOCK, n_samples - block * BLOCK)):
            saw = read_table(tables, first_point, table_shift, at) if band_limited else naive_saw(at)
            y[place] = flush(saw * (level * in_block[near]))
            at += step
            place += row
            near += row


@inlined
def _saturate(drive, outputs):
    """The tanh and the chord of the input and of the four outputs."""
    v1, v2, v3, v4 = outputs
    t0, c0 = tanh_and_chord(drive)
    t1, c1 = tanh_and_chord(v1)
    t2, c2 = tanh_and_chord(v2)
    t3, c3 = tanh_and_chord(v3)
    t4, c4 = tanh_and_chord(v4)
    return (t0, t1, t2, t3, t4), (c0, c1, c2, c3, c4)


@inlined
def _step(x, k, outputs, slopes, residuals):
    """The outputs where the residuals vanish along the slopes, what drives the first stage there, and the last step."""
    v1, v2, v3, v4 = outputs
    b0, b1, b2, b3, _ = slopes
    r1, r2, r3, _ = residuals
    d4 = solve_last(slopes, residuals, k)
    d1, d2, d3 = solve_others((b0, b1, b2, b3), (r1, r2, r3), k, d4)
    v4 = v4 + d4
    return (v1 + d1, v2 + d2, v3 + d3, v4), x - k * v4, d4


@inlined
def _solve(x, k, gain, states, outputs, chords):
    """The outputs of one sample, as `kernels.ladder_block` finds them: a step along the chords, two of Newton's.

    Returns:
        Outputs, the chords at the last but one step, and the current into the first stage times gain.
    """
    slopes, flows = along_chords(x, k, gain, chords, outputs)
    outputs, drive, last = _step(x, k, outputs, slopes, residuals_of(states, outputs, flows))
    tanhs, chords = _saturate(drive, outputs)
    slopes, residuals = along_tangents(gain, states, outputs, tanhs)
    outputs, drive, last = _step(x, k, outputs, slopes, residuals)
    tanhs, chords = _saturate(drive, outputs)
    slopes, residuals = along_tangents(gain, states, outputs, tanhs)
    outputs, drive, last = _step(x, k, outputs, slopes, residuals)
    return outputs, chords, inflow(gain, k, tanhs[0], slopes[0], last)


@inlined
def _ladder(x, k, gain, states, outputs, chords):
    """One sample of the ladder: new states, outputs of the four stages, and chords."""
    (v1, v2, v3, v4), chords, flow = _solve(x, k, gain, states, outputs, chords)
    s1, s2, s3, s4 = states
    share = share_of(gain)
    s1, v1, flow = advance(s1, flow, v1, gain, share)
    s2, v2, flow = advance(s2, flow, v2, gain, share)
    s3, v3, flow = advance(s3, flow, v3, gain, share)
    s4, v4, flow = advance(s4, flow, v4, gain, share)
    return (s1, s2, s3, s4), (v1, v2, v3, v4), chords


@cuda.jit(fastmath=True)
def _moog_kernel(
    y,
    n_samples,
    band_limited,
    tables,
    start,
    shift,
    increment,
    phase,
    parameters,
    at_block,
    in_block,
    note_end,
    lowest,
    highest,
    lead,
):
    voice = cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if voice >= increment.size:
        return
    first_point, table_shift, step, at = start[voice], shift[voice], increment[voice], phase[voice]
    amplitude, k, cutoff = parameters[AMPLITUDE, voice], parameters[FEEDBACK, voice], parameters[CUTOFF, voice]
    octaves, attack_rate = parameters[OCTAVES, voice], parameters[ATTACK_RATE, voice]
    attack_end, decay_rate = parameters[ATTACK_END, voice], parameters[DECAY_RATE, voice]
    sustain, release_rate = parameters[SUSTAIN, voice], parameters[RELEASE_RATE, voice]
    states = outputs = (_ZERO, _ZERO, _ZERO, _ZERO)
    chords = (_ONE, _ONE, _ONE, _ONE, _ONE)
    place, row = np.uint64(voice), np.uint64(increment.size)
    for _ in range(lead):
        y[place] = _ZERO
        place += row
    for block in range(at_block.shape[0]):
        decay = at_block[block, voice]
        first = block * BLOCK
        near = np.uint64(voice)
        for n in range(min(BLOCK, n_samples - lead - first)):
            saw = read_table(tables, first_point, table_shift, at) if band_limited else naive_saw(at)
            time = np.float32(np.uint32(first + n))
            level = adsr(time, attack_rate, attack_end, decay_rate, sustain, release_rate, note_end)
            gain = cutoff_gain(clip(cutoff * exp2(octaves * level), lowest, highest))
            states, outputs, chords = _ladder(saw * amplitude, k, gain, states, outputs, chords)
            y[place] = flush(outputs[3] * (decay * in_block[near]))
            at += step
            place += row
            near += row
        s1, s2, s3, s4 = states
        states = (settle(s1), settle(s2), settle(s3), settle(s4))


@cuda.jit(fastmath=True)
def _decimate_kernel(y, n_samples, x, n_voices, weights, factor):
    voice, tile = cuda.blockIdx.y * THREADS + cuda.threadIdx.x, cuda.blockIdx.x
    if voice >= n_voices:
        return
    total = cuda.local.array(TILE, np.float32)
    for i in range(TILE):
        total[i] = _ZERO
    row, weight = np.uint64(n_voices), np.uint64(0)
    place = np.uint64(tile * TILE * factor * n_voices + voice)
    for _ in range(weights.size // TILE):
        value = x[place] if place < np.uint64(x.size) else _ZERO  # beyond the end in the last tile
        for i in range(TILE):
            total[i] += weights[weight + np.uint64(i)] * value
        place += row
        weight += np.uint64(TILE)
    for i in range(TILE):
        if tile * TILE + i < n_samples:
            y[np.uint64((tile * TILE + i) * n_voices + voice)] = flush(total[i])


def render_saw(oscillator: Oscillator, amplitude: Tensor, decay_rate: Tensor, n_samples: int) -> Tensor:
    """Sawtooth with exponential decay.

    Arguments and result are those of `kernels.render_saw`, as tensors on one device.
    """
    y = torch.empty(n_samples, len(amplitude), device=amplitude.device)
    return _launch(_saw_kernel, y, *oscillator, amplitude, *_envelope(decay_rate, n_samples))


def render_moog(
    oscillator: Oscillator,
    parameters: Tensor,
    decay_rate: Tensor,
    note_end: float,
    cutoff_limits: tuple[float, float],
    lead: int,
    n_samples: int,
) -> Tensor:
    """Sawtooth → ladder whose cutoff an ADSR sweeps → exponential decay.

    Arguments and result are those of `kernels.render_moog`, as tensors on one device.
    """
    y = torch.empty(n_samples, len(decay_rate), device=decay_rate.device)
    scalars = (np.float32(scalar) for scalar in (note_end, *cutoff_limits))
    envelope = _envelope(decay_rate, n_samples - lead)
    return _launch(_moog_kernel, y, *oscillator, parameters, *envelope, *scalars, lead)


def decimate(x: Tensor, taps: np.ndarray, factor: int, n_samples: int) -> Tensor:
    """Every `factor`-th sample of x, filtered: y[n] = sum over j of taps[j] x[n * factor + j].

    A kernel of its own, as PyTorch's convolutions may compute in TF32, and round by the size of the block.

    Args:
        x: Waveforms with `(taps - 1) / 2` zeros before the sound, float32, `(voice, time)`, a view as of `render_moog`.
        taps: Symmetric low-pass filter, float32, `(tap,)`.
        factor: Ratio of the sample rates.
        n_samples: Samples to return.

    Returns:
        Waveforms, float32, `(voice, time)`.
    """
    # Each sample of x goes into all samples of a tile, times the tap that it meets there, or zero.
    margin = (TILE - 1) * factor
    padded = torch.nn.functional.pad(torch.tensor(taps), (margin, margin))
    meets = [padded[margin - i * factor : len(padded) - i * factor] for i in range(TILE)]
    weights = torch.stack(meets, dim=1).view(-1).to(x.device)
    y = torch.empty(n_samples, len(x), device=x.device)
    return _launch(_decimate_kernel, y, x.T.reshape(-1), len(x), weights, factor, n_tiles=-(-n_samples // TILE))
