"""Which class was taken for which: a picture of counts with the names of the classes."""

import matplotlib
import numpy as np

from src.params import ParamSpec
from src.pictures.plots import FAINT, STYLE, Page, Picture
from src.text import one_line

CELL, SMALL_CELL, TINY_CELL = 0.34, 0.15, 0.05  # width of a class, inches
MOST_COUNTS, MOST_NAMES = 16, 64  # classes with numbers in the cells, and with names beside them
LONGEST_NAME = 16  # characters
LETTER = 0.075  # width of one, inches
TOP, MARGIN, GAP = 0.55, 0.15, 0.28  # inches


@matplotlib.rc_context(STYLE)
def confusion_figure(spec: ParamSpec, counts: np.ndarray, samples: str = "samples") -> Picture:
    """Share of every true class that was taken for each class: a row for each true class, dark where many are.

    Args:
        spec: Its names are those of the classes.
        counts: `(true class, predicted class)`.
        samples: What was counted, in the plural.
    """
    n = len(counts)
    names = [one_line(name, LONGEST_NAME) for name in spec.names] if n <= MOST_NAMES else []
    cell = CELL if n <= MOST_COUNTS else SMALL_CELL if names else TINY_CELL
    beside = GAP + LETTER * max(map(len, names), default=0)
    side = n * cell
    page = Page(max(beside + side + MARGIN, 4.2), TOP + side + beside)
    axes = page.axes(beside, TOP, side, side)
    of_true = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, of_true, out=np.zeros(counts.shape), where=of_true > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    if n <= MOST_COUNTS:
        for true, predicted in zip(*np.nonzero(counts), strict=True):
            ink = "white" if share[true, predicted] > 0.6 else "black"
            text = f"{counts[true, predicted]:,}" if counts[true, predicted] < 10_000 else "…"
            axes.text(predicted, true, text, ha="center", va="center", fontsize=6, color=ink)
    total = int(counts.sum())
    page.text(MARGIN, 0.1, one_line(spec.name, 30))
    right = f"{np.trace(counts) / total:.3f} of {total:,} {samples} right" if total else f"no {samples}"
    page.text(MARGIN, 0.28, f"{right}; down: true, across: predicted", fontsize=7, color=FAINT)
    return page.figure
