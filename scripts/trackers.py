"""Pitch trackers of others, each with the settings that its authors give: a waveform to one pitch for a whole note.

PEERS=1 sh setup.sh installs swift-f0, basic-pitch (whose network is run by onnxruntime; TensorFlow is not needed) and
praat-parselmouth, which is GPL-3. They are measured beside this project, and never imported by src.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402

from src.recordings import resample  # noqa: E402

LOWEST, HIGHEST = 55.0, 1200.0  # Hz: all trackers are told to look there
NOTHING = float("nan")  # no answer

Tracker = Callable[[np.ndarray, int], float]


# ----- YIN


YIN_WINDOW, YIN_HOP = 0.04, 0.01  # s; more than two periods of the lowest pitch
YIN_THRESHOLD = 0.15


def yin(waveform: np.ndarray, sample_rate: int) -> float:
    """YIN, of de Cheveigné and Kawahara, J. Acoust. Soc. Am. 111, 2002.

    Steps 2 to 5: difference function, cumulative mean, the first dip under a threshold, and a parabola through it. A
    frame without such a dip has no pitch; the note has the median of the others.

    Args:
        waveform: `(time,)`.
        sample_rate: Hz.
    """
    window, hop = round(YIN_WINDOW * sample_rate), round(YIN_HOP * sample_rate)
    longest, shortest = round(sample_rate / LOWEST), int(sample_rate / HIGHEST)
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), window + longest)[::hop]
    normalized = cumulative_mean_normalized(frames, window, longest)
    periods = [dip(row, shortest) for row in normalized]
    found = [sample_rate / period for period in periods if period]
    return float(np.median(found)) if found else NOTHING


def cumulative_mean_normalized(frames: np.ndarray, window: int, longest: int) -> np.ndarray:
    """Equations 6 to 8 of YIN: d'(lag) for the lags 0 to `longest`, `(frame, longest + 1)`."""
    n_fft = 2 ** int(np.ceil(np.log2(2 * frames.shape[1])))
    head = np.fft.rfft(frames[:, :window], n_fft)
    product = np.fft.irfft(np.conj(head) * np.fft.rfft(frames, n_fft), n_fft)[:, : longest + 1]
    energy = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    powers = energy[:, window:] - energy[:, :-window]  # of the window at each lag
    difference = np.maximum(powers[:, :1] + powers[:, : longest + 1] - 2 * product, 0)
    difference[:, 0] = 0
    total = np.cumsum(difference, axis=1)
    lags = np.arange(longest + 1)
    return np.where(total > 0, difference * lags / np.maximum(total, 1e-12), 1.0)


def dip(normalized: np.ndarray, shortest: int) -> float:
    """Lag of the first dip under the threshold, to parts of samples; 0 if there is none."""
    below = np.flatnonzero(normalized[shortest:-1] < YIN_THRESHOLD)
    if not below.size:
        return 0.0
    lag = shortest + int(below[0])
    while lag + 1 < len(normalized) - 1 and normalized[lag + 1] < normalized[lag]:
        lag += 1
    before, at, after = normalized[lag - 1 : lag + 2]
    curvature = before - 2 * at + after
    return lag + (0.5 * (before - after) / curvature if curvature > 0 else 0.0)


# ----- others'


def praat(waveform: np.ndarray, sample_rate: int) -> float:
    """Boersma 1993, Praat's autocorrelation method with its usual settings: the median of the voiced frames."""
    import parselmouth  # noqa: PLC0415  # an optional package

    sound = parselmouth.Sound(waveform.astype(np.float64), sample_rate)
    pitch = sound.to_pitch_ac(pitch_floor=LOWEST, pitch_ceiling=HIGHEST)
    frequency = pitch.selected_array["frequency"]
    voiced = frequency[frequency > 0]
    return float(np.median(voiced)) if voiced.size else NOTHING


def swift_f0(waveform: np.ndarray, sample_rate: int) -> float:
    """swift-f0 0.3.0: the median of the frames, weighted by their confidence."""
    result = _swift_f0().detect(waveform, sample_rate, LOWEST, HIGHEST)
    return weighted_median(np.asarray(result.pitch_hz), np.asarray(result.confidence))


@lru_cache(maxsize=1)
def _swift_f0() -> Any:
    import swift_f0 as package  # noqa: PLC0415  # an optional package

    return package.SwiftF0(threads=1, spin=False)


BASIC_PITCH_RATE, BASIC_PITCH_LENGTH = 22_050, 43_844  # Hz, samples
BASIC_PITCH_LEAD = 3840  # zeros before the sound, as in its own code
BINS_PER_SEMITONE, BASE = 3, 27.5  # of its contours; Hz of the bin in the middle of the first semitone


def basic_pitch(waveform: np.ndarray, sample_rate: int) -> float:
    """basic-pitch 0.4.0 (Bittner et al., ICASSP 2022): the strongest bin of the contours' mean over the frames.

    Its constants place the first bin at 27.5 Hz. By their comment that is the second one, the middle of a semitone of
    three bins, and answers agree with the comment.
    """
    sound = resample([waveform.astype(np.float64)], sample_rate, BASIC_PITCH_RATE)
    padded = np.zeros(BASIC_PITCH_LENGTH, np.float32)
    padded[BASIC_PITCH_LEAD : BASIC_PITCH_LEAD + sound.size] = sound
    session = _basic_pitch()
    (contour,) = session.run([CONTOUR], {session.get_inputs()[0].name: padded[None, :, None]})
    salience = contour[0].mean(axis=0)
    frequency = BASE * 2 ** ((np.arange(salience.size) - 1) / (12 * BINS_PER_SEMITONE))
    salience = np.where((frequency >= LOWEST) & (frequency <= HIGHEST), salience, 0)
    peak = int(salience.argmax())
    around = slice(max(0, peak - 1), peak + 2)
    semitones = np.average(np.log2(frequency[around]), weights=np.maximum(salience[around], 1e-12))
    return float(2**semitones)


CONTOUR = "StatefulPartitionedCall:0"


@lru_cache(maxsize=1)
def _basic_pitch() -> Any:
    import onnxruntime  # noqa: PLC0415  # beside the other trackers

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    package = find_spec("basic_pitch")
    if package is None or package.origin is None:
        raise ImportError("basic_pitch")
    path = Path(package.origin).parent / "saved_models" / "icassp_2022" / "nmp.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def weighted_median(value: np.ndarray, weight: np.ndarray) -> float:
    """Median of values, `(value,)`, each of which counts as its weight says; no number if all weigh nothing."""
    known = np.isfinite(value) & (value > 0) & (weight > 0)
    if not known.any():
        return NOTHING
    order = np.argsort(value[known])
    total = np.cumsum(weight[known][order])
    return float(value[known][order][np.searchsorted(total, total[-1] / 2)])


TRACKERS: Mapping[str, Tracker] = {"basic-pitch": basic_pitch, "swift-f0": swift_f0, "Praat": praat, "YIN": yin}
WEIGHTS = {"basic-pitch": "17k, and a CQT", "swift-f0": "18.6k", "Praat": "0", "YIN": "0"}
