"""What the synths are measured against, in plain float64."""

import numpy as np

STEP_TOLERANCE = 1e-13
MAX_STEPS = 100
SILENCE = 1e-18  # below it a voice is silent


def ladder(x, cutoff, k, sample_rate):
    """Trapezoidal Moog ladder without a delay in its loop, solved to convergence at every sample.

    Args:
        x: Input, `(voice, time)`.
        cutoff: Hz, of a shape that broadcasts to that of x.
        k: Feedback, `(voice,)`.
        sample_rate: Hz.

    Returns:
        Output, float64, `(voice, time)`.
    """
    gain = np.tan(np.pi * np.broadcast_to(np.asarray(cutoff, np.float64), x.shape) / sample_rate)
    state = np.zeros((4, x.shape[0]))
    v = np.zeros_like(state)
    y = np.empty(x.shape)
    for n in range(x.shape[1]):
        v = solve(v, state, x[:, n].astype(np.float64), gain[:, n], k)
        state = 2 * v - state
        y[:, n] = v[3]
    return y


def solve(v, state, x, gain, k):
    """Stage outputs that obey v_i = s_i + gain (t_(i-1) - t_i), `(4, voice)`, by damped Newton steps from v."""
    error, tanh = residual(v, state, x, gain, k)
    for _ in range(MAX_STEPS):
        step = newton_step(error, tanh, gain, k)
        scale = np.ones_like(x)
        while True:
            trial = v + scale * step
            trial_error, trial_tanh = residual(trial, state, x, gain, k)
            worse = norm(trial_error) > norm(error) + STEP_TOLERANCE
            if not worse.any():
                break
            scale = np.where(worse, scale / 2, scale)
        v, error, tanh = trial, trial_error, trial_tanh
        if np.abs(step).max() < STEP_TOLERANCE * (1 + np.abs(v).max()):
            return v
    raise ArithmeticError(f"No convergence within {MAX_STEPS} Newton steps; the residual is {norm(error).max():.1e}.")


def norm(error):
    return np.abs(error).sum(axis=0)


def residual(v, state, x, gain, k):
    """State plus inflow minus v, `(4, voice)`, and tanh of the input and of the four stages, `(5, voice)`."""
    tanh = np.tanh(np.concatenate([(x - k * v[3])[None], v]))
    return state + gain * (tanh[:4] - tanh[1:]) - v, tanh


def newton_step(error, tanh, gain, k):
    """Solve the linearized equations: four one-pole stages in a row, the last one fed back to the first."""
    b = gain * (1 - tanh**2)
    open_loop, loop_gain = np.zeros_like(gain), -k * b[0]
    for i in range(4):
        open_loop = (error[i] + open_loop * (b[i] if i else 1)) / (1 + b[i + 1])
        loop_gain = loop_gain * (b[i] if i else 1) / (1 + b[i + 1])
    step = np.empty_like(error)
    last = open_loop / (1 - loop_gain)
    inflow = -k * b[0] * last
    for i in range(4):
        step[i] = (error[i] + inflow) / (1 + b[i + 1])
        inflow = b[i + 1] * step[i]
    return step


def linear_response(frequency, cutoff, k, sample_rate):
    """Bilinear transform of 1 / ((1 + s)^4 + k), s in units of the cutoff, complex."""
    s = 1j * np.tan(np.pi * frequency / sample_rate) / np.tan(np.pi * cutoff / sample_rate)
    return 1 / ((1 + s) ** 4 + k)


def fit_harmonics(x, f0, sample_rate):
    """Complex amplitudes of exp(2 pi i k f0 t) for all k f0 below half the sample rate, and what is left of x."""
    k = np.arange(1, np.ceil(0.5 * sample_rate / f0 - 1e-9))
    angle = 2 * np.pi * f0 / sample_rate * np.outer(np.arange(x.size), k)
    basis = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    weights = np.linalg.solve(basis.T @ basis, basis.T @ x)
    cosine, sine = np.split(weights, 2)
    return cosine - 1j * sine, x - basis @ weights


def decibels(ratio):
    return 20 * np.log10(np.abs(ratio))


def rms(x):
    return np.sqrt(np.mean(np.square(x), axis=-1))


LIMITS = {
    "note_number": (20, 84),
    "note_velocity": (1, 127),
    "log10_decay_time": (-2, 0.5),
    "filter_cutoff": (80, 1500),
    "filter_resonance": (0, 1),
    "filter_env_attack": (0, 0.05),
    "filter_env_decay": (0, 0.1),
    "filter_env_sustain": (0, 1),
    "filter_env_release": (0, 0.1),
    "filter_env_amount": (-2, 4),
}


def random_parameters(kind, n_voices, seed=0):
    """Parameters of a kind of voice, far apart."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(*limits, n_voices) for name, limits in LIMITS.items() if name in kind.defaults}
