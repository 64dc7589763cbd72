"""A page of recordings for tests: two kinds of parameters, hostile names, one recording far from the training."""

import numpy as np
from reports import HOSTILE

from src.evaluation.estimates import Answers, voted
from src.listening.hearing import Hearing, HearingReport
from src.params import ParameterSpace, ParamSpec

CLASSES = tuple(sorted([HOSTILE, "bell", "reed", *(f"a rather long name of a class {number}" for number in range(9))]))
PARAMETERS = (
    ParamSpec("kind", 0, len(CLASSES) - 1, 1, names=CLASSES),
    ParamSpec("angle", 0.0, 355.0, 5.0, "degrees"),
)
RATE, FRAME = 8000, 0.25


def make_hearing(name, n_frames, far=False, seed=0):
    """A recording whose frames say this and that."""
    rng = np.random.default_rng(seed)
    space = ParameterSpace(PARAMETERS)
    shares = rng.dirichlet(np.full(len(CLASSES), 0.2), n_frames)
    value = np.stack([shares.argmax(axis=1), rng.uniform(0, 355, n_frames)], axis=1)
    frames = Answers(value, np.full((n_frames, 2), 8.0), {"kind": shares})
    duration = n_frames * FRAME
    waveform = (0.3 * np.sin(2 * np.pi * 300 * np.arange(round(RATE * duration)) / RATE)).astype(np.float32)
    return Hearing(
        name=name,
        waveform=waveform,
        spectrogram_db=rng.uniform(-80, -10, (24, 10 * n_frames)),
        ends=(0.0, duration),
        notes=(f"a note on {name}",),
        far=far,
        distance=7.5 if far else 0.4,
        answer=voted(frames, space),
        start=np.arange(n_frames) * FRAME,
        frames=frames,
        frame_distance=rng.uniform(0, 2, n_frames),
    )


def make_hearings(n=4):
    """The page."""
    hearings = [
        make_hearing(f"{HOSTILE} {number}.wav", 1 + 3 * number, far=number == 2, seed=number) for number in range(n)
    ]
    return HearingReport(
        title=f"Answers {HOSTILE}",
        facts={"Checkpoint": HOSTILE, "Frames": "0.25 s every 0.25 s"},
        parameters=PARAMETERS,
        sample_rate=RATE,
        duration=FRAME,
        frequency=np.linspace(100, 3900, 24).tolist(),
        hearings=hearings,
        notes=(HOSTILE,),
    )
