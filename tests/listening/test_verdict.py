from dataclasses import replace

import numpy as np
import pytest
from reports import PARAMETERS, changed, make_prediction, make_report

from src.evaluation.scoring import Scores
from src.listening.report import Report
from src.listening.verdict import verdict, worst_median_best

N = 101


def report_of(medians: dict[str, float], errors: np.ndarray | None = None) -> Report:
    """A report of 101 sounds whose distances have these medians, from half of it to one and a half."""
    report = make_report()
    shape = np.linspace(0.5, 1.5, N)
    scores = [Scores(name, {"mss": median * shape}, errors) for name, median in medians.items()]
    heard = [(0, 0.5), (N // 2, 1.0), (N - 1, 1.5)]
    own = next(iter(medians.values()))
    sounds = [
        replace(changed(sound, 1, metrics={"mss": own * share}), name=f"test {number}")
        for sound, (number, share) in zip(report.sounds, heard, strict=False)
    ]
    return replace(report, scores=scores, sounds=sounds)


@pytest.mark.parametrize(
    ("medians", "sentence"),
    [
        (
            {"network": 0.09, "nearest neighbour": 0.324, "mean parameters": 5.0},
            "Half of the 101 test sounds are within 0.090 dB of the truth, 3.6 times nearer than the nearest training "
            "sound; worst: test 100, 0.14 dB.",
        ),
        (
            {"network": 4.0, "nearest neighbour": 4.1, "mean parameters": 8.0},
            "Half of the 101 test sounds are within 4.0 dB of the truth, no nearer than the nearest training sound; "
            "worst: test 100, 6.0 dB.",
        ),
        (
            {"network": 8.0, "nearest neighbour": 4.0, "mean parameters": 2.0},
            "Half of the 101 test sounds are within 8.0 dB of the truth, 2.0 times further than the nearest training "
            "sound and 4.0 times further than the mean of the training set; worst: test 100, 12 dB.",
        ),
        (
            {"refined": 0.001, "network": 0.1, "nearest neighbour": 1.4},
            "After refinement, half of the 101 test sounds are within 0.0010 dB of the truth, 100 times nearer than "
            "the network alone and 1,400 times nearer than the nearest training sound; worst: test 100, 0.0015 dB.",
        ),
        (
            {"refined": 0.001, "network": 5.998},
            "After refinement, half of the 101 test sounds are within 0.0010 dB of the truth, 6,000 times nearer than "
            "the network alone; worst: test 100, 0.0015 dB.",
        ),
        (
            {"network": 0.0, "nearest neighbour": 1.0},
            "Half of the 101 test sounds are within 0 dB of the truth, nearer than the nearest training sound; "
            "worst: test 100, 0 dB.",
        ),
        ({"network": 1.0}, "Half of the 101 test sounds are within 1.0 dB of the truth; worst: test 100, 1.5 dB."),
    ],
)
def test_the_sentence_follows_the_numbers(medians, sentence):
    assert verdict(report_of(medians)).sentence == sentence


def test_recordings_have_no_truth_and_no_reference():
    report = make_prediction()
    sounds = [changed(sound, 1, metrics={"mss": float(i + 1)}) for i, sound in enumerate(report.sounds)]
    assert verdict(replace(report, sounds=sounds)).sentence == (
        f"Resynthesis comes within 3.0 dB of half of the 5 recordings; worst: {sounds[-1].name}, 5.0 dB."
    )
    assert (
        verdict(replace(report, sounds=sounds[:2])).sentence
        == "Resynthesis comes within 1.0 to 2.0 dB of the 2 recordings."
    )
    assert verdict(replace(report, sounds=sounds[:1])).sentence == "Resynthesis comes within 1.0 dB of the recording."
    assert verdict(report).details == []


def test_that_sounds_are_far_comes_first():
    report = make_prediction()
    far = [replace(changed(sound, 1, metrics=None), far=i < 3) for i, sound in enumerate(report.sounds)]
    few = [
        "3 of 5 recordings are far from the training's sounds: their answers mean little.",
        "1 of 3 recordings is far from the training's sounds: its answers mean little.",
    ]
    found = [verdict(replace(report, sounds=sounds)).sentence for sounds in (far, far[2:])]
    assert found == few
    assert verdict(replace(report, sounds=far[:1])).sentence.startswith("The recording is far from the training's")
    heard = [replace(sound, far=i < 3) for i, sound in enumerate(report.sounds)]
    assert verdict(replace(report, sounds=heard)).sentence == f"{few[0]} {verdict(report).sentence}"
    assert verdict(replace(report, sounds=far[3:])).sentence == ""


def test_without_metrics_nothing_is_claimed():
    report = make_prediction()
    nothing = replace(report, sounds=[changed(sound, 1, metrics=None) for sound in report.sounds])
    assert verdict(nothing).sentence == ""
    assert worst_median_best(nothing) == []
    unknown = replace(report, sounds=[changed(sound, 1, metrics={"mss": np.nan}) for sound in report.sounds])
    assert verdict(unknown).sentence == "None of the recordings could be compared by mss."
    assert worst_median_best(unknown) == []


def test_a_metric_that_is_no_distance_is_only_told():
    report = replace(report_of({"network": 1.0}), judged_by="stft_pcc")
    scores = [Scores("network", {"stft_pcc": np.linspace(0, 1, N)}, None)]
    assert (
        verdict(replace(report, scores=scores)).sentence
        == "Half of the 101 test sounds have a stft_pcc of 0.50 or more."
    )


def test_parameters_are_told_from_the_best_to_the_worst():
    steps = np.array([spec.step for spec in PARAMETERS])
    errors = np.zeros((N, 3))
    errors[:41, 0], errors[:11, 1], errors[:20, 2] = 2 * steps[0], 2 * steps[1], 1.0
    details = verdict(report_of({"network": 1.0}, errors)).details
    assert details == [
        "Within one grid step: log10_decay_time on 89 % of them, the best of 2 parameters; filter_cutoff on 59 %, the "
        "worst.",
        "Right class: wave on 80 %.",
    ]
    errors[:, 2] = np.nan  # it acts on none of the sounds
    assert len(verdict(report_of({"network": 1.0}, errors)).details) == 1
    errors[:41, 1] = 2 * steps[1]
    assert verdict(report_of({"network": 1.0}, errors)).details == [
        "Both parameters are within one grid step on 59 % of them."
    ]


def test_the_metric_is_explained_and_shares_of_few_sounds_are_not_told():
    report = report_of({"network": 1.0}, np.zeros((N, 3)))
    assert verdict(report).measure.startswith("Judged by mss: mean over three log-mel spectrograms")
    few = replace(report, scores=[Scores("network", {"mss": np.ones(2)}, np.zeros((2, 3)))])
    assert verdict(few).details == []


@pytest.mark.parametrize(("values", "expected"), [([3, 1, 2, 9, 4], [3, 0, 1]), ([2, 1], [0, 1]), ([1], []), ([], [])])
def test_three_sounds_are_chosen_by_rank(values, expected):
    report = make_prediction()
    sounds = [changed(sound, 1, metrics={"mss": value}) for sound, value in zip(report.sounds, values, strict=False)]
    others = [changed(report.sounds[0], 1, metrics={"mss": np.nan})]
    assert worst_median_best(replace(report, sounds=sounds + others)) == expected


def test_the_best_of_a_similarity_is_the_highest():
    report = replace(make_prediction(), judged_by="stft_pcc")
    sounds = [changed(s, 1, metrics={"stft_pcc": v}) for s, v in zip(report.sounds, [0.1, 0.9, 0.5], strict=False)]
    assert worst_median_best(replace(report, sounds=sounds)) == [0, 2, 1]
