"""Messages to a page are what they are made of, and numbers that are none are null."""

import json
import struct

import numpy as np
import pytest
from instruments import unpacked

from src.errors import ConfigError
from src.instrument.messages import packed, plain
from src.instrument.requests import TYPES, FileRequest, SoundRequest, read_request
from src.instrument.switches import SWITCHES, fitting, perturbation_of, perturbed


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 8000])
def test_a_message_is_read_back_and_every_array_begins_at_a_multiple_of_4(n):
    rng = np.random.default_rng(n)
    parts = {
        "pixels": rng.integers(0, 256, (1, n, 3), dtype=np.uint8),
        "levels": rng.integers(0, 65536, n, dtype=np.uint16),
        "sound": rng.standard_normal(n).astype(np.float32),
    }
    message = packed("sound", 7, {"text": "µ … é" + "x" * n}, parts)
    (length,) = struct.unpack_from("<I", message)
    assert length % 4 == 0
    assert len(message) % 4 == 0
    header, found = unpacked(message)
    assert (header["type"], header["id"], header["text"]) == ("sound", 7, "µ … é" + "x" * n)
    for name, array in parts.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_arrays_of_other_byte_orders_and_layouts_are_the_same_message():
    one = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert packed("a", 1, {}, {"x": one}) == packed("a", 1, {}, {"x": one.astype(">f4")})
    assert packed("a", 1, {}, {"x": one.T}) == packed("a", 1, {}, {"x": one.T.copy()})


def test_what_is_no_number_is_null():
    found = plain(
        {"a": np.array([1.0, np.nan, np.inf]), "b": -np.inf, "c": np.float32(0.5), "d": (np.bool_(True), None)}
    )
    assert found == {"a": [1.0, None, None], "b": None, "c": 0.5, "d": [True, None]}
    json.dumps(found, allow_nan=False)


def test_texts_show_what_would_turn_their_direction():
    header, _ = unpacked(packed("error", 1, {"text": "a\u202eb\x1b[31m"}, {}))
    assert "\u202e" not in header["text"]
    assert "\x1b" not in header["text"]


# ----- requests


def test_requests_are_read():
    found = read_request('{"type":"sound","id":3,"value":[1,2.5],"perturb":{"noise":{"ratio":20}}}')
    assert isinstance(found, SoundRequest)
    assert (found.id, found.value, found.perturb) == (3, (1.0, 2.5), {"noise": {"ratio": 20.0}})
    assert read_request('{"type":"file","id":4,"name":"a.wav","size":9}') == FileRequest(
        type="file", id=4, name="a.wav", size=9
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ("null", "object"),
        ("{}", "object"),
        ('{"type":"sing","id":1}', f"one of {', '.join(TYPES)}"),
        ('{"type":"sound","value":[1]}', "id"),
        ('{"type":"sound","id":-1,"value":[1]}', "id"),
        ('{"type":"sound","id":true,"value":[1]}', "id"),
        ('{"type":"sound","id":1,"value":"1"}', "value"),
        ('{"type":"sound","id":1,"value":["1"]}', "value"),
        ('{"type":"sound","id":1,"value":[1],"perturb":[]}', "perturb"),
        ('{"type":"sound","id":1,"value":[1],"perturb":{"noise":{"ratio":"x"}}}', "perturb"),
        ('{"type":"test","id":1,"number":-1}', "number"),
        ('{"type":"test","id":1,"number":1.5}', "number"),
        ('{"type":"file","id":1,"size":-1}', "size"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(text, why):
    with pytest.raises(ConfigError, match=why) as refused:
        read_request(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


# ----- switches


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.name)
@pytest.mark.parametrize("rate", [8000, 48_000])
def test_every_switch_acts_at_both_ends_and_at_its_default(switch, rate):
    (fitted,) = (found for found in fitting(rate, rate // 4) if found.name == switch.name)
    waveform = np.sin(2 * np.pi * 220 * np.arange(rate // 4) / rate).astype(np.float32) / 2
    for end in ("min", "max", "default"):
        settings = {control.name: getattr(control, end) for control in fitted.controls}
        perturbation = perturbation_of({switch.name: settings}, [fitted], rate, len(waveform))
        found = perturbed(waveform, perturbation)
        assert found.shape == waveform.shape
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert not np.array_equal(found, waveform)
    for control in fitted.controls:
        assert control.min <= control.default <= control.max
        assert control.unit != "Hz" or control.max < rate / 2


def test_no_switch_leaves_a_sound_as_it_is():
    waveform = np.ones(8, np.float32)
    assert perturbed(waveform, perturbation_of({}, SWITCHES, 8000, 8)) is waveform


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"nose": {}}, "perturb is 'nose'; choose one of .*noise"),
        ({"noise": {"level": 1.0}}, "perturb.noise is 'level'; choose one of ratio"),
        ({"noise": {"ratio": 1e9}}, "from 0 to 80"),
        ({"noise": {"ratio": float("nan")}}, "from 0 to 80"),
        ({"eq": {"frequency": 5000.0}}, "from 80 to 3500"),
    ],
)
def test_a_switch_that_is_not_there_or_turned_too_far_is_refused(settings, why):
    with pytest.raises(ConfigError, match=why):
        perturbation_of(settings, fitting(8000, 8000), 8000, 8000)
