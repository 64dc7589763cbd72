"""The page of recordings that a network names: what is in it, without a browser."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hearings import CLASSES, make_hearing, make_hearings
from reports import HOSTILE

from src.errors import ConfigError
from src.listening.hearing import MOST_CLASSES, page_data, render_hearings, verdict


def test_every_recording_has_its_answers_and_those_of_its_frames():
    report = make_hearings()
    data, _ = page_data(report)
    for sound, hearing in zip(data["sounds"], report.hearings, strict=True):
        kind, angle = sound["heads"]
        shares = hearing.answer.probabilities["kind"][0]
        assert kind["classes"][0] == CLASSES[shares.argmax()]
        assert len(kind["classes"]) == len(kind["whole"]) == MOST_CLASSES
        assert kind["whole"] == sorted(kind["whole"], reverse=True)
        assert np.shape(kind["frames"]) == (len(hearing.start), MOST_CLASSES)
        assert np.shape(angle["frames"]) == (len(hearing.start), 3)
        assert all(low <= value <= high for value, low, high in [angle["place"], *angle["frames"]])
        assert "degrees" in angle["answer"]
        assert len(sound["start"]) == len(sound["distances"]) == len(hearing.start)


def test_what_does_not_act_says_so():
    report = make_hearings(1)
    kind, angle = report.parameters
    parameters = (kind, replace(angle, active_if={"kind": CLASSES[0]}))
    (hearing,) = report.hearings
    value = hearing.answer.value.copy()
    value[0, 0] = 1
    silent = replace(hearing, answer=hearing.answer._replace(value=value))
    data, _ = page_data(replace(report, parameters=parameters, hearings=[silent]))
    assert [head["acts"] for head in data["sounds"][0]["heads"]] == [True, False]
    assert data["sounds"][0]["heads"][1]["answer"] == "not active"


def test_texts_out_of_files_are_escaped_and_the_page_loads_nothing():
    page = render_hearings(make_hearings())
    assert HOSTILE not in page
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)[1]
    assert len(json.loads(block)["sounds"]) == 4


def test_the_verdict_counts_classes_and_far_recordings():
    report = make_hearings()
    assert verdict(report).endswith("1 of 4 recordings is far from the training's sounds: its answers mean little.")
    assert verdict(report).count(" in ") == len({h.answer.value[0, 0] for h in report.hearings})
    one = replace(report, hearings=report.hearings[:1])
    share = report.hearings[0].answer.probabilities["kind"].max()
    assert verdict(one).endswith(f"with a probability of {share:.2f}.")
    numbers = replace(report, parameters=report.parameters[1:], hearings=[])
    with pytest.raises(ConfigError, match="needs one or more"):
        render_hearings(numbers)


def test_distances_that_are_not_known_are_no_column_to_sort_by():
    blind = replace(make_hearing("a.wav", 2), distance=None, frame_distance=None)
    data, _ = page_data(replace(make_hearings(1), hearings=[blind]))
    assert [figure["label"] for figure in data["figures"]] == ["probability of kind"]
    assert set(data["sounds"][0]["distances"]) == {"–"}
