"""The line to a page: the newest request counts, what is refused is refused in words, pages do not disturb others."""

import asyncio
import json
import re
import threading
from html import unescape

import numpy as np
import pytest
from asking import ask
from instruments import visiting, wav_of

from src.instrument import app as app_module
from src.instrument.app import MOST_BYTES, MOST_TEXT, play_app
from src.instrument.instrument import Instrument


@pytest.fixture(scope="module")
def app(instrument):
    return play_app(instrument)


def sound(number, value=(100.0, 0.0), **more):
    return {"type": "sound", "id": number, "value": list(value), **more}


def talked(app, talk):
    """What a talk with a page returns."""

    async def run():
        async with visiting(app) as visitor:
            return await talk(visitor)

    return asyncio.run(run())


def page_data(app):
    page = ask(app).body.decode()
    return json.loads(unescape(page.partition('id="data">')[2].partition("</script>")[0]))


def test_a_sound_is_told_first_and_then_what_takes_longer(app, instrument):
    async def talk(visitor):
        visitor.send(sound(5))
        return [await visitor.next() for _ in range(3)]

    (header, parts), sensitivity, limits = talked(app, talk)
    played = instrument.play(np.array([100.0, 0.0]), {})
    assert [header["type"], sensitivity[0]["type"], limits[0]["type"]] == ["sound", "sensitivity", "limits"]
    assert {item[0]["id"] for item in ((header, parts), sensitivity, limits)} == {5}
    np.testing.assert_array_equal(parts["waveform"], played.waveform)
    np.testing.assert_array_equal(parts["picture"], played.picture.image)
    assert header["ends"] == [pytest.approx(played.picture.spec_range.tolist())]
    (answer,) = header["answers"]
    assert answer["value"] == pytest.approx(played.readings[0].value.tolist())
    made, picture = instrument.resynthesized(played.readings[0].value)
    np.testing.assert_array_equal(parts[answer["waveform"]], made)
    np.testing.assert_array_equal(parts[answer["picture"]], picture.image)
    assert sensitivity[0]["db_per_step"] == pytest.approx(instrument.sensitivity(played.value).tolist())
    assert len(limits[0]["std_steps"]) == 2


@pytest.fixture
def held(monkeypatch):
    """Sounds that are worked out one by one: how many have begun, and what lets them go on."""
    began, go_on = threading.Semaphore(0), threading.Semaphore(0)
    play = Instrument.play

    def slow(self, value, settings):
        began.release()
        assert go_on.acquire(timeout=60)
        return play(self, value, settings)

    monkeypatch.setattr(Instrument, "play", slow)
    return began, go_on


async def has_begun(began):
    assert await asyncio.to_thread(began.acquire, timeout=60)


def test_of_requests_that_wait_the_newest_is_answered(app, held):
    began, go_on = held

    async def talk(visitor):
        visitor.send(sound(1))
        await has_begun(began)
        for number in range(2, 50):
            visitor.send(sound(number))
        await asyncio.sleep(0.05)  # they have come in
        go_on.release()
        go_on.release()
        return await visitor.until("limits")

    found = talked(app, talk)
    assert [(header["type"], header["id"]) for header in found] == [
        ("sound", 1),  # that was under way
        ("sound", 49),
        ("sensitivity", 49),
        ("limits", 49),
    ]


def test_newer_input_ends_what_takes_longer(app, monkeypatch):
    monkeypatch.setattr(app_module, "REST", 60.0)  # nothing takes longer than the page waits

    async def talk(visitor):
        for number in range(1, 5):
            visitor.send(sound(number))
            header, _ = await visitor.next()
            assert (header["type"], header["id"]) == ("sound", number)

    talked(app, talk)


def test_a_search_is_told_step_by_step_and_ends_where_a_knob_is_turned(app, instrument, monkeypatch):
    refinement = Instrument.refinement

    def endless(self, played):
        while True:
            yield next(iter(refinement(self, played)))

    async def whole(visitor):
        visitor.send({"type": "test", "id": 1, "number": 3})
        visitor.send({"type": "refine", "id": 2})
        return await visitor.until("refined")

    steps = talked(app, whole)
    assert steps[0]["type"] == "sound"  # a search does not drop the sound that it is of
    assert [step["step"] for step in steps if step["type"] == "refine"] == list(range(len(steps) - 2))
    expected = [*instrument.refinement(instrument.recall(3, {}))][-1]
    assert steps[-1]["value"] == expected.value.tolist()
    assert steps[-1]["n_renders"] == expected.n_renders
    assert "explained" in steps[-1]["why"]

    async def cut(visitor, request):
        visitor.send({"type": "test", "id": 1, "number": 3})
        await visitor.until("sound")
        visitor.send({"type": "refine", "id": 2})
        await visitor.until("refine")
        visitor.send(request)
        if request["type"] == "stop":
            visitor.send(sound(4))
        return await visitor.until("limits")

    monkeypatch.setattr(Instrument, "refinement", endless)
    for request in (sound(3), {"type": "stop", "id": 3}):
        found = talked(app, lambda visitor, request=request: cut(visitor, request))
        assert {header["type"] for header in found[:-3]} <= {"refine"}
        assert found[-3]["type"] == "sound"


def test_a_recording_is_sent_heard_and_heard_again_with_a_switch(app, instrument):
    content = wav_of(instrument.play(np.array([100.0, 0.0]), {}).waveform, 8000)

    async def talk(visitor):
        visitor.send({"type": "file", "id": 1, "name": "../../b.wav", "size": len(content)}, content)
        clean = await visitor.next()
        visitor.send({"type": "file", "id": 2, "perturb": {"noise": {"ratio": 10}}})
        noisy = await visitor.next()
        visitor.send({"type": "refine", "id": 3})
        return clean, noisy, await visitor.until("refined")

    (clean, parts), (noisy, noisy_parts), steps = talked(app, talk)
    assert (clean["source"], clean["name"], clean["value"]) == ("file", "b.wav", None)
    assert clean["answers"][0]["inside"] is None
    assert noisy["answers"][0]["distance"] > clean["answers"][0]["distance"]
    assert not np.array_equal(parts["picture"], noisy_parts["picture"])
    assert steps[0]["type"] == "refine"


RATE = 8000
TONE = np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE).astype(np.float32) / 2
CUT = wav_of(TONE, RATE)[:1000]
CLAIMS = CUT[:4] + (10**9).to_bytes(4, "little") + CUT[8:]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"text", "t.wav: cannot be read as audio"),
        (b"", "t.wav: cannot be read as audio"),
        (b"RIFF" + bytes(100), "t.wav: cannot be read as audio"),
        (CUT, "t.wav: is cut off"),
        (CLAIMS, "t.wav: is cut off"),
        (wav_of(np.where(np.arange(RATE) == 9, np.nan, TONE), RATE), "t.wav: holds samples that are not finite"),
        (wav_of(np.full(RATE, 1e30), RATE), "t.wav: holds samples of up to 1e+30"),
        (wav_of(np.tile(TONE[:900, None], 96), RATE), "t.wav: has 96 channels; 32 are the most"),
        (wav_of(np.tile(TONE, 61), RATE, "PCM_16"), "t.wav: lasts 61 s; 60 s are the most"),
        (wav_of(0 * TONE, RATE), "t.wav: is silent"),
        (wav_of(TONE[:40], RATE), "t.wav: is too short"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence_and_the_page_goes_on(app, content, why):
    async def talk(visitor):
        visitor.send({"type": "file", "id": 1, "name": "t.wav", "size": len(content)}, content)
        (error,) = await visitor.until("error")
        visitor.send({"type": "file", "id": 2})
        (again,) = await visitor.until("error")
        visitor.send(sound(3))
        return error, again, await visitor.until("sound")

    error, again, _ = talked(app, talk)
    assert error["id"] == 1
    assert error["text"].startswith(why)
    assert "\n" not in error["text"]
    assert again["text"] == "No recording was sent yet."


@pytest.mark.parametrize(
    ("request_", "content", "why"),
    [
        ({"type": "file", "id": 1, "name": "t.wav", "size": 10**9}, None, "32 MB at most; this one has 954"),
        ({"type": "file", "id": 1, "name": "t.wav", "size": MOST_BYTES + 1}, None, "32 MB at most"),
        ({"type": "file", "id": 1, "name": "t.wav", "size": 9}, b"text", "something else came"),
        ({"type": "refine", "id": 1}, None, "no sound yet"),
        ({"type": "test", "id": 1, "number": 13}, None, "there are 13"),
        ({"type": "sound", "id": 1, "value": [1]}, None, "2 finite numbers"),
        ({"type": "sound", "id": 1, "value": [1, 1], "perturb": {"nose": {}}}, None, "choose one of"),
        ({"type": "sing", "id": 1}, None, "one of sound, test"),
        ("x" * (MOST_TEXT + 1), None, "65,536 characters"),
        ("{", None, "JSON"),
        ({"type": "file", "id": 1}, b"text", "No recording was sent yet|no request had announced"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence_and_the_page_goes_on(app, request_, content, why):
    async def talk(visitor):
        visitor.send(request_, content)
        (error,) = await visitor.until("error")
        visitor.send(sound(3))
        return error, await visitor.until("sound")

    error, _ = talked(app, talk)
    assert re.search(why, error["text"])


def test_a_synth_that_fails_is_a_sentence(app, monkeypatch):
    def fail(self, value, settings):
        raise RuntimeError("broken")

    async def talk(visitor):
        with monkeypatch.context() as patch:
            patch.setattr(Instrument, "play", fail)
            visitor.send(sound(1))
            (error,) = await visitor.until("error")
        visitor.send(sound(2))
        return error, await visitor.until("sound")

    error, _ = talked(app, talk)
    assert (error["id"], error["text"]) == (1, "RuntimeError: broken")


def test_four_pages_play_at_once_and_each_hears_its_own(app, instrument):
    values = [(100.0, -1.5 + 0.5 * number) for number in range(4)]

    async def page(value):
        async with visiting(app) as visitor:
            found = []
            for number in range(1, 6):
                visitor.send(sound(number, value))
                found.append((await visitor.next())[1]["waveform"])
                await visitor.until("limits")
            return found

    async def all_pages():
        return await asyncio.gather(*map(page, values))

    for value, found in zip(values, asyncio.run(all_pages()), strict=True):
        expected = instrument.play(np.array(value), {}).waveform
        assert all(np.array_equal(waveform, expected) for waveform in found)


def test_the_page_is_told_all_that_it_needs(app, instrument):
    data = page_data(app)
    names = [knob["name"] for knob in data["parameters"]]
    assert names == [spec.name for spec in instrument.space.varying]
    for knob, spec in zip(data["parameters"], instrument.space.varying, strict=True):
        assert spec.min <= knob["default"] <= spec.max
        assert (knob["n_classes"], knob["kind"]) == (spec.n_classes, spec.kind)
    assert {switch["name"] for switch in data["perturbations"]} >= {"noise", "room", "eq", "gain"}
    assert data["networks"] == [{"title": "cnn", "run": "compat/a", "n_weights": instrument.networks[0].n_weights}]
    assert (data["n_test"], data["has_synth"], data["local"]) == (13, True, True)
    assert data["how_to_train"] is None
    assert data["channels"][0]["rows"]["units"] == "Hz"


def test_a_page_of_an_instrument_alone_says_how_to_train(instrument):
    app = play_app(Instrument(instrument.info, instrument.recipe), local=False)
    data = page_data(app)
    assert (data["networks"], data["n_test"], data["local"]) == ([], 0, False)
    assert "make ex" in data["how_to_train"]

    async def talk(visitor):
        visitor.send(sound(1))
        return await visitor.until("limits")

    assert talked(app, talk)[0]["answers"] == []


@pytest.mark.parametrize(
    "path", ["/instrument/app.py", "/instrument/../errors.py", "/../pyproject.toml", "//etc/passwd"]
)
def test_what_is_not_of_the_page_is_not_there(app, path):
    answer = ask(app, path)
    assert answer.status == 404
    assert b"import" not in answer.body


def test_the_page_brings_its_policy(app):
    policy = ask(app).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
