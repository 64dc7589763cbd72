"""A comparison to test with: three runs with answers of which everything is known."""

from collections.abc import Sequence

import numpy as np
from reports import HOSTILE, N_HEARD, PARAMETERS, make_report

from src.evaluation.comparison import RunErrors, mean_errors, paired_differences
from src.listening.comparison import TAGS, ComparedRun, Comparison, RunPair
from src.listening.content import Report, Side, Sound

LABELS = ("cnn_64k", "cnn_tiny", HOSTILE)
N = 120


def make_comparison(n_runs: int = 3, sounds: bool = True, labels: Sequence[str] = LABELS) -> Comparison:
    """Runs of which the first is the nearest to the truth; their curves fall."""
    rng = np.random.default_rng(0)
    hard = rng.gamma(2, 0.3, (N, len(PARAMETERS)))
    tested = []
    for number in range(n_runs):
        errors = hard + number * 0.5 + 0.05 * rng.random(hard.shape)
        errors[:, 2] = rng.random(N) < 0.2 * number
        tested.append(RunErrors(labels[number], PARAMETERS, errors, "same"))
    runs = [
        ComparedRun(
            label=run.name,
            facts={"Run": f"{run.name}/2026-01-01_00-00-00", "Seed": "42", "Network": f"network_{number}"},
            cost={"Weights": f"{1000 * (number + 1):,}", "Inference, one sound alone": "0.6 ms"},
            curves={tag: [(step, 3 / (step + 1) + number) for step in range(1, 50)] for tag in TAGS},
            errors=mean_errors(run, seed=0),
        )
        for number, run in enumerate(tested)
    ]
    pairs = [
        RunPair(a, b, paired_differences(tested[a], tested[b], seed=0))
        for a in range(n_runs)
        for b in range(a + 1, n_runs)
    ]
    report = heard(labels[:n_runs]) if sounds else None
    errors = [run.per_head()["mean"][:N_HEARD].tolist() for run in tested]
    return Comparison(runs, pairs, [f"A note about {HOSTILE}"], report, range(n_runs) if sounds else (), errors)


def heard(labels: Sequence[str]) -> Report:
    """The sounds of the test report, with an answer of each run: the original, louder by run."""
    report = make_report()
    sounds = []
    for sound in report.sounds:
        true = sound.sides[0]
        sides = [Side("True", true.waveform, true.spectrogram_db, true.value)]
        for number, label in enumerate(labels):
            wave = true.waveform * (0.5 + 0.1 * number)
            sides.append(Side(label, wave, true.spectrogram_db - number, sound.sides[1].value))
        sounds.append(Sound(sound.name, sides, sound.notes))
    return Report(
        title="",
        facts={},
        parameters=report.parameters,
        sample_rate=report.sample_rate,
        axes=report.axes,
        scores=[],
        true_value=report.true_value,
        value=report.value,
        sounds=sounds,
    )
