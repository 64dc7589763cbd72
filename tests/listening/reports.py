"""A report to test with: decaying sines, of which everything is known."""

from dataclasses import replace

import numpy as np

from src.evaluation.scoring import Scores, category_f1, parameter_errors
from src.listening.report import Axes, Report, Side, Sound
from src.params import ParameterSpace, ParamSpec

SAMPLE_RATE = 8000
N_SAMPLES = 4000
N_ALL = 40  # sounds that are summarized
N_HEARD = 5
FREQUENCY = np.arange(1, 9) * 400.0
TIME = (np.arange(12) + 0.5) * 0.5 / 12
PARAMETERS = (
    ParamSpec("filter_cutoff", 200, 2000, 100, "Hz"),
    ParamSpec("log10_decay_time", -1.0, 0.0, 0.1, "log10 s"),
    ParamSpec("wave", 0, 2, 1, names=("saw", "square", "sine")),
)
HOSTILE = '</script><script>document.title = "broken"</script> & "door" <b>.wav'


def make_report() -> Report:
    """Forty sounds by two estimates, five of them to listen to; of the last, the name is hostile."""
    rng = np.random.default_rng(0)
    low, high, step = (np.array([getattr(spec, name) for spec in PARAMETERS]) for name in ("min", "max", "step"))
    true_value = rng.uniform(low, high, (N_ALL, len(PARAMETERS)))
    value = np.clip(true_value + step * rng.standard_normal(true_value.shape), low, high)
    middle = np.tile((low + high) / 2, (N_ALL, 1))
    space = ParameterSpace(PARAMETERS)
    network = {"mss": rng.gamma(2, 1, N_ALL), "stft_pcc": 1 - rng.gamma(1, 0.1, N_ALL), "snr": rng.normal(10, 3, N_ALL)}
    mean = {name: values * 0.5 for name, values in network.items()}
    sounds = [_sound(i, true_value[i], value[i], {k: float(v[i]) for k, v in network.items()}) for i in range(N_HEARD)]
    sounds[-1] = changed(replace(sounds[-1], name=HOSTILE, notes=(HOSTILE,)), 1, std=None)
    return Report(
        title=f"Report of {HOSTILE}",
        facts={"Dataset": HOSTILE, "Sample rate": f"{SAMPLE_RATE} Hz"},
        parameters=PARAMETERS,
        sample_rate=SAMPLE_RATE,
        axes=Axes(FREQUENCY, TIME),
        scores=[
            Scores(name, metrics, parameter_errors(space, said, true_value), category_f1(space, said, true_value))
            for name, metrics, said in (("Network", network, value), ("Mean parameters <b>", mean, middle))
        ],
        true_value=true_value,
        value=value,
        sounds=sounds,
    )


def make_prediction() -> Report:
    """Recordings: their parameters are unknown, and no estimate is summarized."""
    report = make_report()
    sounds = [changed(sound, 0, name="Recording", value=None) for sound in report.sounds]
    return replace(report, scores=(), true_value=None, value=None, sounds=sounds, kind="recordings")


def make_refined() -> Report:
    """The same sounds beside three answers."""
    report = make_report()
    sounds = []
    for sound in report.sounds:
        true, answer = sound.sides
        refined = replace(true, name="Refined", std=answer.std, metrics={"mss": 0.001}, value=true.value + 0.001)
        before, neighbour = replace(answer, name="Unrefined"), replace(answer, name="Neighbour", std=None)
        sounds.append(replace(sound, sides=[true, refined, before, neighbour]))
    scores = [replace(scores, name=name) for scores, name in zip(report.scores, ("refined", "network"), strict=True)]
    return replace(report, sounds=sounds, scores=scores)


def make_extreme(n_parameters: int) -> Report:
    """Names that are long, foreign or without a place to break, metrics that are no numbers, and many parameters."""
    report = make_report()
    rng = np.random.default_rng(1)
    names = [f"filter_envelope_amount_of_the_{'second_' * 4}oscillator_{p}" for p in range(n_parameters)]
    parameters = tuple(ParamSpec(name, -123456.0, 123456.0, 1234.56, "log10 kHz per octave") for name in names)
    value, other = rng.uniform(-123456, 123456, (2, N_ALL, n_parameters))
    texts = ["录音_" * 30, "تسجيل صوتي " * 12, "x" * 240 + ".wav", "a b " * 40, "é.wav"]
    sounds = []
    for number, (sound, text) in enumerate(zip(report.sounds, texts, strict=True)):
        true, answer = sound.sides
        metrics = {"mss": float("nan") if number == 2 else 12345.678 * (number + 1), "stft_pcc": float("nan")}
        true = replace(true, value=value[number])
        answers = [
            replace(answer, name=name, value=other[number], std=np.full(n_parameters, 0.5), metrics=metrics)
            for name in ("Refined", "Unrefined", "Neighbour")
        ]
        sounds.append(replace(sound, name=text, sides=[true, *answers], notes=(text, text)))
    names = "refined", "network", "nearest neighbour", "mean parameters", "8-bit coding"
    metrics = {"mss": np.full(N_ALL, 12345.678), "stft_pcc": np.full(N_ALL, np.nan)}
    return replace(
        report,
        title=texts[0],
        facts={"Checkpoint": texts[2], "Dataset": texts[1], "Sounds": "40 of 40"},
        parameters=parameters,
        scores=[Scores(name, metrics, np.abs(value - other)) for name in names],
        true_value=value,
        value=other,
        sounds=sounds,
        notes=(texts[2], texts[0]),
        remarks=(texts[1],),
    )


def changed(sound: Sound, number: int, **changes: object) -> Sound:
    """A sound with one of its sides changed."""
    sides = list(sound.sides)
    sides[number] = replace(sides[number], **changes)
    return replace(sound, sides=sides)


def _sound(number: int, true_value: np.ndarray, value: np.ndarray, metrics: dict[str, float]) -> Sound:
    time = np.arange(N_SAMPLES) / SAMPLE_RATE
    true, predicted = (
        (0.5 * np.sin(2 * np.pi * pitch * time) * np.exp(-4 * time)).astype(np.float32)
        for pitch in (220 * (number + 1), 221 * (number + 1))
    )
    true_db = np.full((len(FREQUENCY), len(TIME)), -90.0)
    true_db[0, 0] = -3.0  # the lowest row at the beginning is the one that sounds
    std = np.array([spec.step for spec in PARAMETERS])
    sides = Side("True", true, true_db, true_value), Side("Predicted", predicted, true_db - 20.0, value, std, metrics)
    return Sound(f"test {number}", sides)
