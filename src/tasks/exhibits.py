"""What `predict.py` shows of recordings on a page: beside their resyntheses, or with the answers of their frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from src.evaluation.audio_metrics import audio_metrics
from src.evaluation.estimates import Answers
from src.files import write_atomically
from src.listening.hearing import Hearing, HearingReport, render_hearings
from src.listening.report import Axes, Report, Side, Sound, render_report
from src.pages.encoding import encode_wav
from src.readings.network import TrainedOn
from src.readings.reading import RecordingReading, refine_reading, with_ridges
from src.readings.words import about_domain, warnings_of
from src.recipe import Recipe
from src.spectral.overview import overview
from src.text import name_of

LONGEST_STEM = 150  # bytes of a name that a file of a sound takes over
MOST_PLAYED = 2**24  # samples of all recordings of a page: 17 minutes at 16 kHz
MOST_COLUMNS = 800  # of a picture of a recording


class Exhibits(Protocol):
    """What is shown of recordings."""

    def add(self, reading: RecordingReading, name: str) -> RecordingReading:
        """Take what was read from a recording, and what the page calls it; returns what is to be told of it."""

    def write(self, output_dir: Path, facts: Mapping[str, str]) -> dict[str, Path]:
        """Write it; returns where, by what it is called on the screen.

        Args:
            output_dir: Where to.
            facts: What the page says of the network.
        """


class Resyntheses:
    """Recordings beside the sounds of the answers: WAV files, and the listening report.

    Args:
        trained: What the network was trained on.
        recipe: Renders its parameters.
        refine: Whether parameters are searched that come nearer.
    """

    def __init__(self, trained: TrainedOn, recipe: Recipe, refine: bool) -> None:
        self.trained = trained
        self.recipe = recipe
        self.refine = refine
        self.stems: list[str] = []
        self.sounds: list[Sound] = []

    def add(self, reading: RecordingReading, name: str) -> RecordingReading:
        """As `Exhibits` has it."""
        told = with_ridges(refine_reading(reading, self.recipe) if self.refine else reading, self.recipe)
        self.sounds.append(resynthesize(told, name, self.trained, self.recipe, reading if self.refine else None))
        self.stems.append(plain_stem(reading.recording.path))
        return told

    def write(self, output_dir: Path, facts: Mapping[str, str]) -> dict[str, Path]:
        """As `Exhibits` has it."""
        for number, (stem, sound) in enumerate(zip(self.stems, self.sounds, strict=True), 1):
            content = encode_wav(sound.sides[1].waveform, self.trained.sample_rate)
            write_atomically(output_dir / "wav" / f"{number:03d}_{stem}.wav", content)
        report = Report(
            title="Predictions from recordings",
            facts=facts,
            parameters=self.trained.parameters,
            sample_rate=self.trained.sample_rate,
            axes=Axes.of(self.recipe.view),
            scores=[],
            true_value=None,
            value=None,
            sounds=self.sounds,
            kind="recordings",
        )
        write_atomically(output_dir / "index.html", render_report(report).encode())
        return {"Sounds": output_dir / "wav", "Report": output_dir / "index.html"}


def resynthesize(
    reading: RecordingReading, name: str, trained: TrainedOn, recipe: Recipe, before: RecordingReading | None = None
) -> Sound:
    """A recording beside its resyntheses, with all that the report shows of them.

    Args:
        reading: The answer.
        name: Of the recording, on the page.
        trained: What the network was trained on.
        recipe: Renders its parameters.
        before: The same before refinement; None: there was none.
    """
    true = reading.waveform[None]
    answers = {"Predicted": reading} if before is None else {"Refined": reading, "Unrefined": before}
    sides = [Side("Recording", true[0], recipe.spectrogram_db(true)[0], None)]
    for side, answer in answers.items():
        rendered = recipe.render(answer.value[None].astype(np.float64))
        found = audio_metrics(true, rendered, recipe.synth.sample_rate)
        metrics = {metric: float(values[0]) for metric, values in found.items()}
        if answer.distance is not None:
            metrics["distance"] = answer.distance
        db = recipe.spectrogram_db(rendered)[0]
        sides.append(Side(side, rendered[0], db, answer.value, answer.std, metrics))
    notes = (about_domain(reading), *reading.notes, *warnings_of(reading, trained))
    return Sound(name, sides, notes, reading.zone == "far", reading.ridges)


def plain_stem(path: Path) -> str:
    """Name of a file without its ending, as one that every file system takes with a number in front."""
    return name_of(path.stem).replace("\\", "_").encode()[:LONGEST_STEM].decode(errors="ignore")


class Hearings:
    """Recordings with the answers of their frames: a page that plays as many as it has room for.

    Args:
        trained: What the network was trained on, recordings.
    """

    def __init__(self, trained: TrainedOn) -> None:
        self.trained = trained
        self.room = MOST_PLAYED
        self.n_read = 0
        self.hearings: list[Hearing] = []

    def add(self, reading: RecordingReading, name: str) -> RecordingReading:
        """As `Exhibits` has it."""
        self.n_read += 1
        if reading.waveform.size <= self.room or not self.hearings:
            self.hearings.append(hearing_of(reading, name, self.trained))
            self.room -= reading.waveform.size
        return reading

    def write(self, output_dir: Path, facts: Mapping[str, str]) -> dict[str, Path]:
        """As `Exhibits` has it."""
        trained, left = self.trained, self.n_read - len(self.hearings)
        more = f"{left:,} more recordings were read than this page has room for: predictions.csv holds all of them."
        report = HearingReport(
            title="Answers to recordings",
            facts={**facts, "Frames": frames_text(trained)},
            parameters=trained.parameters,
            sample_rate=trained.sample_rate,
            duration=trained.duration,
            frequency=Axes.of(trained.view).frequency,
            hearings=self.hearings,
            notes=[more] if left else [],
        )
        write_atomically(output_dir / "index.html", render_hearings(report).encode())
        return {"Report": output_dir / "index.html"}


def frames_text(trained: TrainedOn) -> str:
    """How recordings are cut, in words."""
    hop = trained.framing.hop if trained.framing else None
    return f"{trained.duration:g} s every {hop:g} s" if hop else f"the first {trained.duration:g} s"


def hearing_of(reading: RecordingReading, name: str, trained: TrainedOn) -> Hearing:
    """A recording with what was read from it, as the page has it, under a name."""
    spectrogram = overview(trained.view, torch.from_numpy(reading.waveform), MOST_COLUMNS)
    distances = [frame.distance for frame in reading.frames]
    return Hearing(
        name=name,
        waveform=reading.waveform,
        spectrogram_db=spectrogram.db.numpy(),
        ends=spectrogram.ends,
        notes=(about_domain(reading), *reading.notes, *warnings_of(reading, trained)),
        far=reading.zone == "far",
        distance=reading.distance,
        answer=answers_of([reading]),
        start=np.array([frame.recording.onset for frame in reading.frames]),
        frames=answers_of(reading.frames),
        frame_distance=None if None in distances else np.array(distances, dtype=np.float64),
    )


def answers_of(readings: Sequence[RecordingReading]) -> Answers:
    """What was read, one reading or more, as arrays of rows; standard deviations are those of the intervals."""
    names = readings[0].probabilities
    return Answers(
        np.stack([reading.value for reading in readings]),
        np.stack([reading.reach_std for reading in readings]),
        {name: np.stack([reading.probabilities[name] for reading in readings]) for name in names},
    )
