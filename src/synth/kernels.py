"""The equations of the synths, and all of their numba code for the CPU.

It stays in one file because numba's on-disk cache notices changes in this file only. Scalar functions come first: plain
Python, which numba inlines here into functions that work on blocks of samples, and in `src.synth.cuda` into the threads
of a GPU. The functions of blocks serve functions that render a group of up to `LANES` voices. At the end, Python
functions hand the groups to threads: compiled code releases the GIL, and compared with numba's own parallel loops this
halves the compile time and stays clear of its trouble with forks and concurrent callers.

The ladder works on `LANES` voices side by side: the innermost loops go over lanes, so that the compiler turns them into
vector instructions. What the lanes need lies in flat arrays: quantity q of lane i is at `work[q + i]` and sample n of a
block at `x[n * LANES + i]`. Every q and LANES is a constant, so that the compiler sees that nothing overlaps.
The order in which lanes read quantities decides how the compiler groups sums, and so the last bits of a sound: datasets
that exist were rendered with this one.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads
from numba.extending import register_jitable

from src.code_cache import CodeCache

arrays = np  # the library whose arrays the functions take
BLOCK = 64
LANES = 32
SILENCE = np.float32(1e-18)  # -360 dB; its square is still a normal float32
LOWEST_CUTOFF = np.float32(10.0)  # Hz
HIGHEST_CUTOFF = np.float32(0.49)  # of the sample rate
TANH_LIMIT = np.float32(7.0)
STATE_LIMIT = np.float32(150.0)

# Quantities of the ladder at one sample, where 0 belongs to the input and 1 to 4 to the stages. S: states; X: arguments
# of tanh; T: their tanh; C: their chords tanh(x) / x; B: gain times slope; R: residuals; D4: change of the output by
# the last step; FLOW: current into a stage times gain; SHARE: see `_confine`.
_S1, _S2, _S3, _S4 = (row * LANES for row in range(4))
_T0, _T1, _T2, _T3, _T4 = (row * LANES for row in range(4, 9))
_C0, _C1, _C2, _C3, _C4 = (row * LANES for row in range(9, 14))
_X0, _X1, _X2, _X3, _X4 = (row * LANES for row in range(14, 19))
_B0, _B1, _B2, _B3, _B4 = (row * LANES for row in range(19, 24))
_R1, _R2, _R3, _R4 = (row * LANES for row in range(24, 28))
_D4, _FLOW, _SHARE = (row * LANES for row in range(28, 31))
_WORK_SIZE = 31 * LANES

# Parameters of a Moog voice, the rows of what `render_moog` takes; times in samples, rates per sample.
AMPLITUDE, FEEDBACK, CUTOFF, OCTAVES, ATTACK_RATE, ATTACK_END, DECAY_RATE, SUSTAIN, RELEASE_RATE = range(9)
N_VOICE_PARAMETERS = 9

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_PHASE_TO_SIGNED_UNIT = np.float32(2.0**-31)
_FRACTION_TO_UNIT = np.float32(2.0**-24)
_MOST, _LEAST, _SLOPE = np.float32(1.01), np.float32(0.9), np.float32(0.6)
_FIRMNESS, _FIRM_FROM = np.float32(0.25), np.float32(1.5)
_SIXTEENTH = np.float32(1 / 16)

# Minimax fits of tanh(x) / x in x^2 on [-7, 7], of tan(pi r) (1/4 - r^2) / r in r^2 up to 0.49, and of 2^x within 3/4.
_TANH_P0, _TANH_P1 = np.float32(0.9999989650294189), np.float32(0.12321293825208232)
_TANH_P2, _TANH_P3 = np.float32(0.0022923877064806204), np.float32(3.992441151525041e-06)
_TANH_Q1, _TANH_Q2 = np.float32(0.45653851119234423), np.float32(0.02114840171364053)
_TANH_Q3 = np.float32(0.00014390686239440436)
_TAN0, _TAN1 = np.float32(0.7853981211990817), np.float32(-0.5577317140278527)
_TAN2, _TAN3 = np.float32(-0.1349132007538435), np.float32(-0.051012460399947675)
_TAN4 = np.float32(-0.029745731975809184)
_EXP0, _EXP1, _EXP2 = np.float32(1.0), np.float32(0.6931475244054195), np.float32(0.24022599549502682)
_EXP3, _EXP4 = np.float32(0.055499839475351934), np.float32(0.009620937873406333)
_EXP5, _EXP6 = np.float32(0.0013482764207855523), np.float32(0.0001512315784581188)


class Oscillator(NamedTuple):
    """Sawtooths of one fundamental frequency each.

    Phases are unsigned 64-bit integers, 2^64 to the cycle, so that sample n is n * increment after the first one
    without drift. The arrays are NumPy's, or tensors for the kernels of `src.synth.cuda`.

    Attributes:
        band_limited: Read `tables`, or else compute the naive sawtooth.
        tables: Wavetables, one after the other, float32, `(point,)`.
        start: First point of each voice's table, uint64, `(voice,)`.
        shift: 40 minus the base-2 logarithm of its size, uint64, `(voice,)`.
        increment: Phase step, uint64, `(voice,)`.
        phase: Phase of sample 0, uint64, `(voice,)`.
    """

    band_limited: bool
    tables: Any
    start: Any
    shift: Any
    increment: Any
    phase: Any


# error_model="numpy": a division that may raise would be a branch, and loops with branches are not vectorized.
inlined = register_jitable(fastmath=True, nogil=True, error_model="numpy", forceinline=True)
code_cache = CodeCache(fastmath=True, nogil=True, error_model="numpy")


@inlined
def clip(x, low, high):
    """The number between `low` and `high` that is nearest to x."""
    return min(max(x, low), high)


@inlined
def flush(y):
    """Zero in place of what is too small to matter: denormal numbers slow down whatever comes after."""
    return y if abs(y) > SILENCE else _ZERO


@inlined
def naive_saw(phase):
    """Rising sawtooth 2 * frac(0.5 + phase) - 1: the phase, read as a signed fraction."""
    return np.float32(np.int32(np.uint32(phase >> np.uint64(32)))) * _PHASE_TO_SIGNED_UNIT


@inlined
def read_table(tables, start, shift, phase):
    """Table at `phase`, linearly interpolated.

    The table holds 2^(40 - shift) points and repeats the first one: shifted right, a phase is the index of a point
    followed by a fraction of 24 bits.
    """
    place = phase >> shift
    index = start + (place >> np.uint64(24))
    fraction = np.float32(np.int32(place & np.uint64(0xFFFFFF))) * _FRACTION_TO_UNIT
    return tables[index] + fraction * (tables[index + np.uint64(1)] - tables[index])


@inlined
def tanh_and_chord(x):
    """Rational tanh(x), relative error under 2e-6 for any x, and its chord tanh(x) / x, which needs no x != 0.

    Beyond the limit the tanh stays at its last value, 0.9999995, and the chord at that of the limit.
    """
    x = clip(x, -TANH_LIMIT, TANH_LIMIT)
    z = x * x
    numerator = ((_TANH_P3 * z + _TANH_P2) * z + _TANH_P1) * z + _TANH_P0
    chord = numerator / (((_TANH_Q3 * z + _TANH_Q2) * z + _TANH_Q1) * z + _ONE)
    return x * chord, chord


@inlined
def cutoff_gain(ratio):
    """tan(pi * ratio) for a ratio of cutoff to sample rate from 0 to 0.49, relative error under 5e-6.

    The pole at 1/2 is divided out; what is left is nearly constant.
    """
    z = ratio * ratio
    smooth = (((_TAN4 * z + _TAN3) * z + _TAN2) * z + _TAN1) * z + _TAN0
    return ratio * smooth / ((_HALF - ratio) * (_HALF + ratio))


@inlined
def exp2(octaves):
    """2^octaves within 12 octaves, relative error under 5e-6: a polynomial for the 16th root, squared four times."""
    x = octaves * _SIXTEENTH
    root = (((((_EXP6 * x + _EXP5) * x + _EXP4) * x + _EXP3) * x + _EXP2) * x + _EXP1) * x + _EXP0
    root *= root
    root *= root
    root *= root
    return root * root


@inlined
def adsr(n, attack_rate, attack_end, decay_rate, sustain, release_rate, note_end):
    """Envelope at sample n, 0 to 1: linear attack, linear decay to `sustain`, linear release from the level reached.

    Rates are per sample, `attack_end` and `note_end` in samples. Attack and decay are the lower of two lines, and so
    continuous; after `note_end` their level stands still and is scaled down to 0.
    """
    held = min(n, note_end)
    level = min(held * attack_rate, max(sustain, _ONE - (held - attack_end) * decay_rate))
    return level * clip(_ONE - (n - note_end) * release_rate, _ZERO, _ONE)


@inlined
def _fill_saw(y, oscillator, voice, first):
    """Write the sawtooth of a voice from sample `first` on to `y`, `(time,)`."""
    tables, start, shift = oscillator.tables, oscillator.start[voice], oscillator.shift[voice]
    increment = oscillator.increment[voice]
    phase = oscillator.phase[voice] + np.uint64(first) * increment
    if oscillator.band_limited:
        for n in range(y.size):
            y[n] = read_table(tables, start, shift, phase + np.uint64(n) * increment)
    else:
        for n in range(y.size):
            y[n] = naive_saw(phase + np.uint64(n) * increment)


@inlined
def firm(chord, gain):
    """The chord, or at high gains more and more 1, the chord at rest.

    At high gains the states swing while the stages hardly move, and the last chord says little about the next one.
    """
    return chord + clip(_FIRMNESS * (gain - _FIRM_FROM), _ZERO, _ONE) * (_ONE - chord)


@inlined
def along_chords(x, k, gain, chords, outputs):
    """Slopes and flows of the ladder's equations with the chords of the last sample in place of tanh.

    Args:
        x: Input.
        k: Feedback.
        gain: tan(pi * cutoff / sample_rate).
        chords: tanh(v) / v of the input and of the four stages at the last sample.
        outputs: v of the four stages at the last sample.

    Returns:
        Gain times the derivative of tanh, and gain times tanh, of the input and of the four stages.
    """
    c0, c1, c2, c3, c4 = chords
    v1, v2, v3, v4 = outputs
    b0, b1, b2 = gain * firm(c0, gain), gain * firm(c1, gain), gain * firm(c2, gain)
    b3, b4 = gain * firm(c3, gain), gain * firm(c4, gain)
    return (b0, b1, b2, b3, b4), (b0 * (x - k * v4), b1 * v1, b2 * v2, b3 * v3, b4 * v4)


@inlined
def residuals_of(states, outputs, flows):
    """What is missing in the four equations: state plus what flows in minus what flows out, minus output."""
    s1, s2, s3, s4 = states
    v1, v2, v3, v4 = outputs
    q0, q1, q2, q3, q4 = flows
    return s1 - v1 + (q0 - q1), s2 - v2 + (q1 - q2), s3 - v3 + (q2 - q3), s4 - v4 + (q3 - q4)


@inlined
def along_tangents(gain, states, outputs, tanhs):
    """Slopes and residuals of the ladder's equations at outputs whose tanh, and that of the input, is given."""
    s1, s2, s3, s4 = states
    v1, v2, v3, v4 = outputs
    t0, t1, t2, t3, t4 = tanhs
    b0, b1, b2 = gain * (_ONE - t0 * t0), gain * (_ONE - t1 * t1), gain * (_ONE - t2 * t2)
    b3, b4 = gain * (_ONE - t3 * t3), gain * (_ONE - t4 * t4)
    r1, r2 = s1 - v1 + gain * (t0 - t1), s2 - v2 + gain * (t1 - t2)
    r3, r4 = s3 - v3 + gain * (t2 - t3), s4 - v4 + gain * (t3 - t4)
    return (b0, b1, b2, b3, b4), (r1, r2, r3, r4)


@inlined
def solve_last(slopes, residuals, k):
    """Step of the last stage's output to where all residuals vanish along the slopes.

    Stage i of four: (1 + b_i) d_i = r_i + b_(i-1) d_(i-1), and the first one is fed by d_0 = -k d_4. Only the feedback
    disturbs the two diagonals, so that d_4 has a closed form and the others follow from it.
    """
    b0, b1, b2, b3, b4 = slopes
    r1, r2, r3, r4 = residuals
    e1, e2, e3, e4 = _ONE + b1, _ONE + b2, _ONE + b3, _ONE + b4
    e12 = e1 * e2
    passed = b3 * (r3 * e12 + b2 * (r2 * e1 + b1 * r1))
    loop = e12 * (e3 * e4) + (k * b0 * b1) * (b2 * b3)
    return (r4 * (e12 * e3) + passed) / loop


@inlined
def solve_others(slopes, residuals, k, d4):
    """Steps of the first three stages' outputs that go with the last one's, d4."""
    b0, b1, b2, b3 = slopes
    r1, r2, r3 = residuals
    e1, e2, e3 = _ONE + b1, _ONE + b2, _ONE + b3
    e12 = e1 * e2
    inverse = _ONE / (e12 * e3)
    d1 = (r1 - b0 * k * d4) * (inverse * (e2 * e3))
    d2 = (r2 + b1 * d1) * (inverse * (e1 * e3))
    d3 = (r3 + b2 * d2) * (inverse * e12)
    return d1, d2, d3


@inlined
def confine(v, c, gain, share):
    """Keep v to what holds for the exact solution, wherever Newton went.

    Exactly, v = c - gain * tanh(v). As |tanh(v)| < 1, and as it has the sign of v and at least the size of 0.6 |v| or
    of 0.9, v lies between two curves in c that are straight but for a bend. Where Newton converges this changes
    nothing. Where it does not (noise far above full scale, cutoffs near half the sample rate) every stage still takes
    energy out and saturates.
    """
    most = _MOST * gain
    least = _LEAST * gain
    inner = c - clip(c, -most, most)
    outer = c - clip(c * share, -least, least)
    return clip(v, min(inner, outer), max(inner, outer))


@inlined
def share_of(gain):
    """What `confine` is given with a gain."""
    return _SLOPE * gain / (_ONE + _SLOPE * gain)


@inlined
def inflow(gain, k, t0, b0, d4):
    """Current into the first stage times gain, after the last step."""
    return clip(gain * t0 - b0 * k * d4, -gain, gain)


@inlined
def advance(state, flow, output, gain, share):
    """The new state of a stage, its confined output, and what flows out of it times gain."""
    c = state + flow
    v = confine(output, c, gain, share)
    return v + v - state, v, c - v


@inlined
def settle(state):
    """A state at the end of a block: zero if it is too small to matter, and finite."""
    return clip(flush(state), -STATE_LIMIT, STATE_LIMIT)  # far above what any input reaches


@inlined
def _four(work, i, q1, q2, q3, q4):
    """Four quantities of lane i."""
    return work[q1 + i], work[q2 + i], work[q3 + i], work[q4 + i]


@inlined
def _five(work, i, q0, q1, q2, q3, q4):
    """Five quantities of lane i."""
    return work[q0 + i], work[q1 + i], work[q2 + i], work[q3 + i], work[q4 + i]


@inlined
def _along_chords(work, x, gain, k, first):
    """Slopes and residuals of all lanes, along the chords."""
    for i in range(LANES):
        g = gain[first + i]
        chords = _five(work, i, _C0, _C1, _C2, _C3, _C4)
        outputs = _four(work, i, _X1, _X2, _X3, _X4)
        slopes, flows = along_chords(x[first + i], k[i], g, chords, outputs)
        work[_B0 + i], work[_B1 + i], work[_B2 + i], work[_B3 + i], work[_B4 + i] = slopes
        residuals = residuals_of(_four(work, i, _S1, _S2, _S3, _S4), outputs, flows)
        work[_R1 + i], work[_R2 + i], work[_R3 + i], work[_R4 + i] = residuals


@inlined
def _along_tangents(work, gain, first):
    """Slopes and residuals of all lanes, along the tangents."""
    for i in range(LANES):
        g = gain[first + i]
        tanhs = _five(work, i, _T0, _T1, _T2, _T3, _T4)
        s1, v1, s2, v2 = _four(work, i, _S1, _X1, _S2, _X2)
        s3, v3, s4, v4 = _four(work, i, _S3, _X3, _S4, _X4)
        slopes, residuals = along_tangents(g, (s1, s2, s3, s4), (v1, v2, v3, v4), tanhs)
        work[_B0 + i], work[_B1 + i], work[_B2 + i], work[_B3 + i], work[_B4 + i] = slopes
        work[_R1 + i], work[_R2 + i], work[_R3 + i], work[_R4 + i] = residuals


@inlined
def _solve(work, x, k, first):
    """Step the arguments of tanh to where the residuals vanish along the slopes.

    Two short loops are faster than a long one: the processor overlaps more of their turns.
    """
    for i in range(LANES):
        slopes = _five(work, i, _B0, _B1, _B2, _B3, _B4)
        r3, r2, r1, feedback, r4 = work[_R3 + i], work[_R2 + i], work[_R1 + i], k[i], work[_R4 + i]
        work[_D4 + i] = solve_last(slopes, (r1, r2, r3, r4), feedback)
    for i in range(LANES):
        b1, b2, d4, b3 = _four(work, i, _B1, _B2, _D4, _B3)
        r1, b0, feedback, r2, r3 = work[_R1 + i], work[_B0 + i], k[i], work[_R2 + i], work[_R3 + i]
        d1, d2, d3 = solve_others((b0, b1, b2, b3), (r1, r2, r3), feedback, d4)
        work[_X1 + i] += d1
        work[_X2 + i] += d2
        work[_X3 + i] += d3
        work[_X4 + i] += d4
        work[_X0 + i] = x[first + i] - k[i] * work[_X4 + i]


@inlined
def _saturate(work):
    """The tanh and the chord of all arguments."""
    for i in range(5 * LANES):
        work[_T0 + i], work[_C0 + i] = tanh_and_chord(work[_X0 + i])


@inlined
def _advance(work, y, gain, k, first):
    """Confine the solution stage by stage, write the output and step the states."""
    for i in range(LANES):
        g = gain[first + i]
        work[_SHARE + i] = share_of(g)
        work[_FLOW + i] = inflow(g, k[i], work[_T0 + i], work[_B0 + i], work[_D4 + i])
    for stage in range(0, 4 * LANES, LANES):
        for i in range(LANES):
            state, v, flow = advance(
                work[_S1 + stage + i], work[_FLOW + i], work[_X1 + stage + i], gain[first + i], work[_SHARE + i]
            )
            work[_S1 + stage + i] = state
            work[_X1 + stage + i] = v
            work[_FLOW + i] = flow
    for i in range(LANES):
        y[first + i] = work[_X4 + i]


@code_cache
def ladder_block(work, x, gain, k, size):
    """Moog ladder (four one-pole stages of transistors in a feedback loop) over one block of samples, in place.

    The equations are those of Huovilainen's model (Non-linear digital implementation of the Moog ladder filter, DAFx
    2004) of Moog's circuit (A voltage-controlled low-pass high-pass filter for audio signal processing, AES 1965):
    stage i obeys dv_i/dt = omega (tanh(v_(i-1)) - tanh(v_i)), and tanh(x - k v_4) drives the first. They are made
    discrete by the trapezoidal rule in its topology-preserving form, without a delay in the loop (Zavalishin, The Art
    of VA Filter Design): with t_0 = tanh(x - k v_4) and t_i = tanh(v_i),

        v_i = s_i + gain (t_(i-1) - t_i),    s_i <- 2 v_i - s_i,    gain = tan(pi cutoff / sample_rate), output v_4.

    What a delay in that loop would do to the tuning: Stilson and Smith (Analyzing the Moog VCF with considerations for
    digital implementation, ICMC 1996). D'Angelo and Valimaki (Generalized Moog ladder filter, IEEE/ACM TASLP 2014)
    solve such a loop by one linearization. Here that, with the chords of the last sample, makes the first guess only,
    and two Newton steps follow.

    Args:
        work: Quantities of the lanes, `(_WORK_SIZE,)`; kept from block to block.
        x: Input, replaced by the output, `(BLOCK * LANES,)`.
        gain: tan(pi * cutoff / sample_rate), `(BLOCK * LANES,)`.
        k: Feedback, `(LANES,)`.
        size: Samples in this block.
    """
    for n in range(size):
        first = n * LANES
        _along_chords(work, x, gain, k, first)
        _solve(work, x, k, first)
        _saturate(work)
        _along_tangents(work, gain, first)
        _solve(work, x, k, first)
        _saturate(work)
        _along_tangents(work, gain, first)
        _solve(work, x, k, first)
        _advance(work, x, gain, k, first)
    for i in range(4 * LANES):
        work[i] = settle(work[i])


@inlined
def _workspace():
    """Scratch memory of a group of lanes at rest: parameters, work, block, gain, in_block and at_block, zeros all.

    Compiled loops check where their arrays lie before they take the vector path, and the other path is slow and rounds
    differently. In one piece of memory, in this order and well apart, they always take it, so that a sound always has
    the same bits.
    """
    sizes = (N_VOICE_PARAMETERS * LANES, _WORK_SIZE, BLOCK * LANES, BLOCK * LANES, BLOCK * LANES, LANES)
    apart = 8 * LANES
    memory = np.zeros(sum(sizes) + len(sizes) * apart, np.float32)
    parameters, memory = memory[: sizes[0]], memory[sizes[0] + apart :]
    work, memory = memory[: sizes[1]], memory[sizes[1] + apart :]
    block, memory = memory[: sizes[2]], memory[sizes[2] + apart :]
    gain, memory = memory[: sizes[3]], memory[sizes[3] + apart :]
    in_block, at_block = memory[: sizes[4]], memory[sizes[4] + apart :][: sizes[5]]
    for i in range(5 * LANES):
        work[_C0 + i] = _ONE  # the chord of tanh at 0
    return parameters, work, block, gain, in_block, at_block


@code_cache
def _load(block, rows, first_voice, first, size):
    """Copy a stretch of time of up to LANES rows, `(voice, time)`, into a block."""
    by_lane = block.reshape(BLOCK, LANES)
    for i in range(min(LANES, rows.shape[0] - first_voice)):
        row = rows[first_voice + i, first : first + size]
        for n in range(row.size):
            by_lane[n, i] = row[n]


@code_cache
def _store(rows, block, first_voice, first, size):
    """Copy a block to a stretch of time of up to LANES rows, `(voice, time)`."""
    by_lane = block.reshape(BLOCK, LANES)
    for i in range(min(LANES, rows.shape[0] - first_voice)):
        row = rows[first_voice + i, first : first + size]
        for n in range(row.size):
            row[n] = by_lane[n, i]


@code_cache
def _to_gain(gain, sample_rate):
    """Turn a block of cutoffs in Hz into gains, in place."""
    unit = _ONE / np.float32(sample_rate)
    for j in range(BLOCK * LANES):
        gain[j] = cutoff_gain(clip(gain[j] * unit, LOWEST_CUTOFF * unit, HIGHEST_CUTOFF))


@code_cache
def _ladder_group(y, first_voice, x, cutoff, k, sample_rate):
    """The ladder over all time for up to LANES voices. Unused lanes filter silence."""
    parameters, work, block, gain, _, _ = _workspace()
    feedback = parameters[FEEDBACK * LANES : (FEEDBACK + 1) * LANES]
    for i in range(min(LANES, x.shape[0] - first_voice)):
        feedback[i] = k[first_voice + i]
        gain[i : BLOCK * LANES : LANES] = cutoff[first_voice + i, 0]
    _to_gain(gain, sample_rate)
    for first in range(0, x.shape[1], BLOCK):
        size = min(BLOCK, x.shape[1] - first)
        _load(block, x, first_voice, first, size)
        if cutoff.shape[1] > 1:
            _load(gain, cutoff, first_voice, first, size)
            _to_gain(gain, sample_rate)
        for j in range(BLOCK * LANES):
            block[j] = flush(block[j])
        ladder_block(work, block, gain, feedback, size)
        _store(y, block, first_voice, first, size)


@code_cache
def saw_group(y, first_voice, oscillator, amplitude, decay_rate):
    """Sawtooths with exponential decay, up to LANES voices.

    The envelope exp(-n * decay_rate) is the product of one exponential per block and one per place in the block, both
    in float64: exact to rounding at the cost of two multiplications a sample.
    """
    in_block = np.empty(BLOCK, np.float64)
    for voice in range(first_voice, min(first_voice + LANES, y.shape[0])):
        for n in range(BLOCK):
            in_block[n] = math.exp(-n * decay_rate[voice])
        for first in range(0, y.shape[1], BLOCK):
            at_block = math.exp(-first * decay_rate[voice])
            if at_block < SILENCE:
                y[voice, first:] = _ZERO
                break
            row = y[voice, first : first + BLOCK]
            _fill_saw(row, oscillator, voice, first)
            for n in range(row.size):
                row[n] = flush(row[n] * (amplitude[voice] * np.float32(at_block * in_block[n])))


@code_cache
def _drive(block, oscillator, first_voice, first, size):
    """Fill a block with the sawtooths of up to LANES voices."""
    by_lane = block.reshape(BLOCK, LANES)
    for i in range(min(LANES, oscillator.increment.size - first_voice)):
        _fill_saw(by_lane[:size, i], oscillator, first_voice + i, first)


@code_cache
def _modulate(block, gain, lanes, first, size, note_end, lowest, highest):
    """Scale a block by the amplitudes and fill in the gains that the swept cutoffs make.

    `lanes` has parameter p of lane i at `p * LANES + i`.
    """
    for n in range(size):
        for i in range(LANES):
            level = adsr(
                np.float32(first + n),
                lanes[ATTACK_RATE * LANES + i],
                lanes[ATTACK_END * LANES + i],
                lanes[DECAY_RATE * LANES + i],
                lanes[SUSTAIN * LANES + i],
                lanes[RELEASE_RATE * LANES + i],
                note_end,
            )
            gain[n * LANES + i] = lanes[OCTAVES * LANES + i] * level
            block[n * LANES + i] *= lanes[AMPLITUDE * LANES + i]
    for n in range(size):
        for i in range(LANES):
            ratio = lanes[CUTOFF * LANES + i] * exp2(gain[n * LANES + i])
            gain[n * LANES + i] = clip(ratio, lowest, highest)
    for j in range(size * LANES):
        gain[j] = cutoff_gain(gain[j])


@code_cache
def _decay(block, at_block, in_block, size):
    """Scale a block by the amplitude envelopes, a factor per lane times one per lane and place in the block."""
    for n in range(size):
        for i in range(LANES):
            block[n * LANES + i] = flush(block[n * LANES + i] * (at_block[i] * in_block[n * LANES + i]))


@code_cache
def moog_group(y, first_voice, oscillator, parameters, decay_rate, note_end, lowest, highest, lead):
    """Up to LANES Moog voices over all time, block by block."""
    n_used = min(LANES, y.shape[0] - first_voice)
    lanes, work, block, gain, in_block, at_block = _workspace()
    feedback = lanes[FEEDBACK * LANES : (FEEDBACK + 1) * LANES]
    for i in range(n_used):
        for p in range(N_VOICE_PARAMETERS):
            lanes[p * LANES + i] = parameters[p, first_voice + i]
        for n in range(BLOCK):
            in_block[n * LANES + i] = np.float32(math.exp(-n * decay_rate[first_voice + i]))
    for first in range(0, y.shape[1] - lead, BLOCK):
        size = min(BLOCK, y.shape[1] - lead - first)
        for i in range(n_used):
            at_block[i] = np.float32(math.exp(-first * decay_rate[first_voice + i]))
        _drive(block, oscillator, first_voice, first, size)
        _modulate(block, gain, lanes, first, size, note_end, lowest, highest)
        ladder_block(work, block, gain, feedback, size)
        _decay(block, at_block, in_block, size)
        _store(y, block, first_voice, lead + first, size)


@code_cache
def decimate_group(y, first_voice, x, taps, factor):
    """Filter and thin out up to LANES waveforms."""
    for voice in range(first_voice, min(first_voice + LANES, y.shape[0])):
        for n in range(y.shape[1]):
            segment = x[voice, n * factor : n * factor + taps.size]
            total = _ZERO
            for j in range(segment.size):
                total += taps[j] * segment[j]
            y[voice, n] = flush(total)


def _in_threads(group: Callable[..., None], y: np.ndarray, *arguments: object) -> np.ndarray:
    """Fill y, `(voice, time)`, a group at a time, on as many threads as numba is set to use, and return it."""
    firsts = range(0, len(y), LANES)
    n_threads = min(get_num_threads(), len(firsts))
    if n_threads < 2:
        for first in firsts:
            group(y, first, *arguments)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            for done in [pool.submit(group, y, first, *arguments) for first in firsts]:
                done.result()
    code_cache.keep()
    return y


def place_tables(make: Callable[[int], np.ndarray], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavetables one after the other, and where each voice's lies.

    Args:
        make: Makes the table of a size: a power of two of points, and the first one again.
        sizes: What `make` is given for each voice, `(voice,)`.

    Returns:
        `tables`, `start` and `shift` of an `Oscillator`.
    """
    distinct, which = np.unique(sizes, return_inverse=True)
    tables = [make(size) for size in distinct.tolist()]
    length = np.array([table.size for table in tables], dtype=np.uint64)
    shift = np.array([41 - table.size.bit_length() for table in tables], dtype=np.uint64)
    return np.concatenate([*tables, np.zeros(0, np.float32)]), (np.cumsum(length) - length)[which], shift[which]


def ladder(x: np.ndarray, cutoff: np.ndarray, k: np.ndarray, sample_rate: float) -> np.ndarray:
    """Filter waveforms by the Moog ladder that `ladder_block` describes.

    Args:
        x: Input, nominal [-1, 1], `(voice, time)`.
        cutoff: Hz, kept within 10 Hz and 0.49 of the sample rate, `(voice, time)` or what broadcasts to it; one that
            is the same all the time is faster.
        k: Feedback, 0 to 4.8, `(voice,)`; above 4 the filter oscillates by itself.
        sample_rate: Hz.

    Returns:
        Output of the fourth stage, float32, `(voice, time)`.
    """
    x = np.ascontiguousarray(x, np.float32)
    at_rest = np.shape(cutoff)[-1:] in ((), (1,))
    cutoff = np.ascontiguousarray(np.broadcast_to(cutoff, (len(x), 1) if at_rest else x.shape), np.float32)
    k = np.ascontiguousarray(np.broadcast_to(k, len(x)), np.float32)
    return _in_threads(_ladder_group, np.empty_like(x), x, cutoff, k, float(sample_rate))


def render_saw(oscillator: Oscillator, amplitude: np.ndarray, decay_rate: np.ndarray, n_samples: int) -> np.ndarray:
    """Sawtooth with exponential decay.

    Args:
        oscillator: What each voice plays.
        amplitude: Peak value, float32, `(voice,)`.
        decay_rate: Decay in nepers per sample, float64, `(voice,)`.
        n_samples: Samples to render.

    Returns:
        Waveforms, float32, `(voice, time)`.
    """
    y = np.empty((amplitude.size, n_samples), np.float32)
    return _in_threads(saw_group, y, oscillator, amplitude, decay_rate)


def render_moog(
    oscillator: Oscillator,
    parameters: np.ndarray,
    decay_rate: np.ndarray,
    note_end: float,
    cutoff_limits: tuple[float, float],
    lead: int,
    n_samples: int,
) -> np.ndarray:
    """Sawtooth → ladder whose cutoff an ADSR sweeps → exponential decay.

    Args:
        oscillator: What each voice plays.
        parameters: Rows AMPLITUDE … RELEASE_RATE, the cutoff as a ratio to the sample rate, float32, `(row, voice)`.
        decay_rate: Amplitude decay in nepers per sample, float64, `(voice,)`.
        note_end: Sample at which release begins.
        cutoff_limits: Lowest and highest cutoff as ratios to the sample rate.
        lead: Zeros before the sound.
        n_samples: Samples to return, `lead` included.

    Returns:
        Waveforms, float32, `(voice, time)`.
    """
    y = np.empty((decay_rate.size, n_samples), np.float32)
    y[:, :lead] = _ZERO
    lowest, highest = cutoff_limits
    scalars = np.float32(note_end), np.float32(lowest), np.float32(highest), lead
    return _in_threads(moog_group, y, oscillator, parameters, decay_rate, *scalars)


def decimate(x: np.ndarray, taps: np.ndarray, factor: int, n_samples: int) -> np.ndarray:
    """Every `factor`-th sample of x, filtered: y[n] = sum over j of taps[j] x[n * factor + j].

    Args:
        x: Waveforms with `(taps - 1) / 2` zeros before the sound, float32, `(voice, time)`.
        taps: Symmetric low-pass filter, float32, `(tap,)`.
        factor: Ratio of the sample rates.
        n_samples: Samples to return.

    Returns:
        Waveforms, float32, `(voice, time)`.
    """
    return _in_threads(decimate_group, np.empty((len(x), n_samples), np.float32), x, taps, factor)
