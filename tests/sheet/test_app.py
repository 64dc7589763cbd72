"""What the server answers to the page of a dataset."""

import asyncio
import io
import json
import threading

import numpy as np
import pytest
import soundfile
from asking import ask
from datasets import HOSTILE, content_of, page_data, with_files, write_foreign

from src.errors import ConfigError
from src.sheet.app import sheet_app
from src.text import one_line, printable


@pytest.fixture(scope="module")
def content(saw_dir):
    return content_of(saw_dir)


@pytest.fixture(scope="module")
def app(content):
    return sheet_app(content)


def test_the_page_brings_its_policy_and_its_files(app, content):
    page = ask(app)
    assert page.status == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    text = page.body.decode()
    for address in ("/pages/page.css", "/sheet/sheet.css", "/sheet/sheet.js"):
        assert f'"{address}"' in text
        assert ask(app, address).status == 200
    assert ask(app, "/sheet/grid.js").headers["content-type"].startswith("text/javascript")
    assert page_data(text)["request"] == 1024
    assert "http://" not in text.replace("http-equiv", "")


def test_numbers_images_and_records_are_those_of_the_content(app, content):
    split = content.splits["test"]
    assert ask(app, "/data/test/column/1").body == split.column(1).tobytes()
    assert ask(app, "/data/test/images/0/3,0,12").body == split.images(np.array([3, 0, 12]))
    assert ask(app, "/data/test/record/5").body == split.row(5) + split.images(slice(5, 6))


def test_a_record_of_a_file_says_which_and_where_in_it(content):
    app = sheet_app(with_files(content, HOSTILE))
    assert json.loads(ask(app, "/data/test/whence/6").body) == [f"6/{one_line(HOSTILE)}", 1.5]
    assert "\u202e" not in ask(app, "/data/test/whence/6").body.decode()
    assert ask(app, "/data/test/whence/13").status == 404
    assert page_data(ask(app).body.decode())["splits"]["test"]["sources"] is True


def test_a_sound_is_what_the_values_make(app, content):
    waveform, rate = soundfile.read(io.BytesIO(ask(app, "/data/train/sound/7").body))
    expected = content.playback.sounds(content.splits["train"].samples.read(slice(7, 8)), "train", 7)[0]
    assert rate == 8000
    assert waveform == pytest.approx(expected / max(1, np.abs(expected).max()), abs=1e-4)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/data/train/column/3", 404),
        ("/data/train/column/-1", 404),
        ("/data/train/record/51", 404),
        ("/data/train/record/99999999999999999999", 404),
        ("/data/train/sound/51", 404),
        ("/data/other/record/0", 404),
        ("/data/train/images/1/0", 404),
        ("/data/train/images/0/51", 404),
        ("/data/train/images/0/0,", 400),
        ("/data/train/images/0/-1", 400),
        ("/data/train/images/0/1;2", 400),
        ("/data/train/images/0/" + "9" * 5000, 400),
        ("/data/train/images/0/" + ",".join("0" * 1025), 400),
        ("/data/train/images/0/²", 400),
        ("/data/../../../etc/passwd/column/0", 404),
        ("/sheet/../errors.py", 404),
        ("/pages/../../pyproject.toml", 404),
        ("/sheet/app.py", 404),
        ("/sheet/%2e%2e/errors.py", 404),
        ("//etc/passwd", 404),
    ],
)
def test_what_is_not_there_is_refused(app, path, status):
    answer = ask(app, path)
    assert answer.status == status
    assert b"Traceback" not in answer.body
    assert b"import" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(app, method):
    assert ask(app, "/data/train/record/0", method=method).status == 405


def test_a_damaged_record_is_a_sentence_and_the_others_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("src.sheet.content.MOST_SAMPLES", 2)  # 0 and 3: their colours are those of all
    data_dir = write_foreign(tmp_path / "a")
    records = np.fromfile(data_dir / "train", np.uint8).reshape(5, -1)
    records[2, 0] = 99  # its height
    records.tofile(data_dir / "train")
    app = sheet_app(content_of(data_dir))
    assert ask(app, "/data/train/record/1").status == 200
    for path in ("record/2", "images/0/1,2", "column/0"):
        answer = ask(app, f"/data/train/{path}")
        assert answer.status == 422
        assert f"{data_dir / 'train'}: " in answer.body.decode()


def test_a_synth_that_fails_is_a_sentence(content, monkeypatch):
    def fail(batch, first=0):
        raise ConfigError(f"Sample {first} is no sound.")

    monkeypatch.setattr(type(content.playback), "sounds", lambda self, batch, split, first: fail(batch, first))
    answer = ask(sheet_app(content), "/data/train/sound/4")
    assert (answer.status, answer.body) == (422, b"Sample 4 is no sound.")


def test_large_images_are_asked_for_one_by_one(tmp_path):
    data_dir = write_foreign(tmp_path / "a", (1, 4096, 4097), n_train=1, image=0)
    assert page_data(ask(sheet_app(content_of(data_dir))).body.decode())["request"] == 1


def test_a_synth_renders_one_sound_at_a_time(content, monkeypatch):
    running, most, lock = [0], [0], threading.Lock()
    render = type(content.playback).sounds

    def count(self, batch, split, first):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        made = render(self, batch, split, first)
        with lock:
            running[0] -= 1
        return made

    monkeypatch.setattr(type(content.playback), "sounds", count)
    app = sheet_app(content)

    async def ask_for(number):
        scope = {"type": "http", "method": "GET", "path": f"/data/train/sound/{number}", "root_path": ""}
        scope |= {"query_string": b"", "headers": []}

        async def send(message):
            pass

        waits = asyncio.Event()

        async def receive():
            await waits.wait()

        await app(scope, receive, send)

    async def all_at_once():
        await asyncio.gather(*map(ask_for, range(8)))

    asyncio.run(all_at_once())
    assert most == [1]


def test_texts_of_the_dataset_are_texts(tmp_path):
    data_dir = write_foreign(tmp_path / "a", channel_labels=[HOSTILE, "b"])
    page = ask(sheet_app(content_of(data_dir, title=HOSTILE))).body.decode()
    assert "<img" not in page
    assert page_data(page)["splits"]["train"]["channels"][0]["name"] == printable(HOSTILE)
