"""The face of the project for Python: read parameters from sounds, look at datasets, compare runs.

    from src import api as nsm

    net = nsm.load("best")
    answer = net.predict("door.wav")
    print(answer.table())

`docs/python.md` shows all of it. Everything prints readably, and shows itself in a notebook. Objects do not change:
what is made of one is a new one. What goes wrong is an `NSMError` with one sentence.
"""

from src import __version__
from src.api.answers import Answer
from src.api.datasets import Dataset
from src.api.networks import TrainedNetwork, load
from src.api.shown import Audio, TextTable
from src.api.trainings import Runs, runs
from src.errors import NSMError
from src.recipe import ROOT

__all__ = [
    "ROOT",
    "Answer",
    "Audio",
    "Dataset",
    "NSMError",
    "Runs",
    "TextTable",
    "TrainedNetwork",
    "__version__",
    "load",
    "runs",
]
