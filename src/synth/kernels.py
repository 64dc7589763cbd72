"""All numba code of the synths.

It stays in one file because numba's on-disk cache notices changes in this file only. Scalar functions come first; LLVM
inlines them into the few kernels at the end. Kernels run voices in parallel and release the GIL. Phases are unsigned
64-bit integers, 2^64 to the cycle, so that sample n has the phase n * increment without any drift.
"""

import math

import numpy as np
from numba import njit, prange

BLOCK = 64
SILENCE = np.float32(1e-30)

_PHASE_TO_SIGNED_UNIT = np.float32(2.0**-31)
_FRACTION_TO_UNIT = np.float32(2.0**-24)

_inlined = njit(fastmath=True, nogil=True, inline="never")
_kernel = njit(parallel=True, cache=True, nogil=True, fastmath=True)


@_inlined
def _naive_saw(phase):
    """Rising sawtooth 2 * frac(0.5 + phase) - 1: the phase, read as a signed fraction."""
    return np.float32(np.int32(np.uint32(phase >> np.uint64(32)))) * _PHASE_TO_SIGNED_UNIT


@_inlined
def _read_table(tables, start, log2_size, phase):
    """Table at `phase`, linearly interpolated; the table holds 2^log2_size points and repeats the first one."""
    high = np.uint32(phase >> np.uint64(32))
    index = start + np.int64(high >> np.uint32(32 - log2_size))
    fraction = np.float32(np.int32(np.uint32(high << np.uint32(log2_size)) >> np.uint32(8))) * _FRACTION_TO_UNIT
    return tables[index] + fraction * (tables[index + 1] - tables[index])


@_inlined
def _flush(y):
    """Zero in place of what is too small to matter: denormal numbers would slow down every FFT after this."""
    return y if abs(y) > SILENCE else np.float32(0.0)


@_inlined
def _fill_saw(y, band_limited, tables, start, log2_size, phase, increment):
    """Write a sawtooth that begins at `phase` to `y`, `(time,)`."""
    if band_limited:
        for n in range(y.size):
            y[n] = _read_table(tables, start, log2_size, phase + np.uint64(n) * increment)
    else:
        for n in range(y.size):
            y[n] = _naive_saw(phase + np.uint64(n) * increment)


@_kernel
def render_saw(band_limited, tables, start, log2_size, increment, amplitude, decay_rate, n_samples):
    """Sawtooth with exponential decay.

    The envelope exp(-n * decay_rate) is the product of one exponential per block and one per place in the block, both
    in float64: exact to rounding at the cost of two multiplications a sample.

    Args:
        band_limited: Read `tables`, or else compute the naive sawtooth.
        tables: Wavetables, one after the other, float32, `(point,)`.
        start: First point of each voice's table, int64, `(voice,)`.
        log2_size: Base-2 logarithm of its size, int64, `(voice,)`.
        increment: Phase step, 2^64 to the cycle, uint64, `(voice,)`.
        amplitude: Peak value, float32, `(voice,)`.
        decay_rate: Decay in nepers per sample, float64, `(voice,)`.
        n_samples: Samples to render.

    Returns:
        Waveforms, float32, `(voice, time)`.
    """
    out = np.empty((increment.size, n_samples), np.float32)
    for voice in prange(increment.size):
        in_block = np.empty(BLOCK, np.float64)
        for n in range(BLOCK):
            in_block[n] = math.exp(-n * decay_rate[voice])
        for first in range(0, n_samples, BLOCK):
            y = out[voice, first : first + BLOCK]
            at_block = math.exp(-first * decay_rate[voice])
            if at_block < SILENCE:
                out[voice, first:] = np.float32(0.0)
                break
            phase = np.uint64(first) * increment[voice]
            _fill_saw(y, band_limited, tables, start[voice], log2_size[voice], phase, increment[voice])
            for n in range(y.size):
                y[n] = _flush(y[n] * (amplitude[voice] * np.float32(at_block * in_block[n])))
    return out
