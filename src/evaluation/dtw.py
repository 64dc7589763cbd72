"""Dynamic time warping: all numba code of the evaluation, since numba's cache notices changes in its own file only."""

import numpy as np

from src.code_cache import CodeCache

_compiled = CodeCache(nogil=True)


def warped_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cost of the cheapest warping path over the sum of the lengths.

    Steps are (1, 0) and (0, 1) of weight 1 and (1, 1) of weight 2 (the symmetric form of Sakoe and Chiba, Dynamic
    programming algorithm optimization for spoken word recognition, IEEE TASSP 1978); the first cell, to which no step
    leads, counts once. The cost of a cell is the mean absolute difference of its two frames.

    Args:
        a: `(sound, frame, coefficient)`, float64.
        b: The same; its number of frames may differ.

    Returns:
        Distance, `(sound,)`.
    """
    distance = _warped_distance(a, b)
    _compiled.keep()
    return distance


@_compiled
def _warped_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    n_sounds, n_a, n_coefficients = a.shape
    n_b = b.shape[1]
    distance = np.empty(n_sounds)
    row = np.empty(n_b)  # cheapest paths to the cells of one frame of a
    for sound in range(n_sounds):
        for i in range(n_a):
            diagonal = np.inf
            for j in range(n_b):
                cost = 0.0
                for c in range(n_coefficients):
                    cost += abs(a[sound, i, c] - b[sound, j, c])
                cost /= n_coefficients
                before = row[j] if i > 0 else np.inf
                best = min(before + cost, diagonal + 2 * cost)
                if j > 0:
                    best = min(best, row[j - 1] + cost)
                diagonal = before
                row[j] = cost if i == 0 and j == 0 else best
        distance[sound] = row[n_b - 1] / (n_a + n_b)
    return distance
