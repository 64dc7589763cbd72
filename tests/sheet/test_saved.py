"""The page of a dataset as one file."""

import base64
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from datasets import HOSTILE, content_of, page_data, with_files, write_foreign

from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError
from src.playback import Playback
from src.sheet.saved import saved_page
from src.vimh.info import DatasetInfo


def blocks_of(page):
    """Name to bytes of the blocks that a page holds."""
    found = re.findall(r'<script type="application/octet-stream" id="([^"]+)">([^<]*)</script>', page)
    return {name: zlib.decompress(base64.b64decode(text)) for name, text in found}


@pytest.fixture(scope="module")
def content(saw_dir):
    return content_of(saw_dir)


@pytest.fixture(scope="module")
def page(content):
    return saved_page(content, 10_000_000).content.decode()


def test_a_file_holds_what_the_server_would_send(content, page):
    blocks, data = blocks_of(page), page_data(page)
    per_block = data["saved"]["perBlock"]
    for name, split in content.splits.items():
        for number in range(3):
            assert blocks[f"{name}-column-{number}"] == split.column(number).tobytes()
        for first in range(0, len(split.samples), per_block):
            end = min(first + per_block, len(split.samples))
            assert blocks[f"{name}-images-{first // per_block}"] == split.images(slice(first, end))
    sound = np.frombuffer(blocks["test-sound-3"], "<i2") / 32767
    rendered = content.playback.sounds(content.splits["test"].samples.read(slice(3, 4)), "test", 3)[0]
    assert sound == pytest.approx(rendered / max(1, np.abs(rendered).max()), abs=1e-4)
    assert data["saved"]["sounds"] == {"train": 51, "test": 13}
    assert data["saved"]["rate"] == 8000


def test_a_file_holds_the_files_of_its_records_and_of_no_others(content, page, monkeypatch):
    monkeypatch.setattr("src.sheet.saved.BLOCK", 8 * 1024)  # of 8 records
    assert not [name for name in blocks_of(page) if "whence" in name]
    found = with_files(content)
    for most_bytes in (10_000_000, 40_000):
        saved = saved_page(found, most_bytes).content.decode()
        blocks, splits = blocks_of(saved), page_data(saved)["splits"]
        for name, about in splits.items():
            whence = [list(found.splits[name].whence(number)) for number in range(about["n"])]
            assert json.loads(blocks[f"{name}-whence"]) == whence
    assert splits["train"]["n"] < len(content.splits["train"].samples)


def test_it_says_what_it_holds(page):
    assert page_data(page)["saved"]["holds"] == (
        "This file holds all 51 train records, all 13 test records, all 51 train sounds, all 13 test sounds."
    )


@pytest.mark.parametrize("most_bytes", [60_000, 150_000, 400_000, 1_000_000])
def test_a_file_is_no_larger_than_it_may_be_and_says_what_is_left_out(content, monkeypatch, most_bytes):
    monkeypatch.setattr("src.sheet.saved.BLOCK", 8 * 1024)  # of 8 records
    page = saved_page(content, most_bytes)
    data = page_data(page.content.decode())
    blocks = re.findall(r'<script type="application/octet-stream" id="[^"]+">([^<]*)</script>', page.content.decode())
    assert sum(map(len, blocks)) < most_bytes + 25_000  # the last block and sound that were begun
    for name, split in data["splits"].items():
        total = len(content.splits[name].samples)
        assert f"{total} {name} records" in page.holds
        assert ("all" if split["n"] == total else f"the first {split['n']} of") in page.holds
        assert 0 < split["n"] <= total
    assert data["saved"]["sounds"]["train"] > 0  # records leave them room


def test_the_split_that_is_shown_first_is_kept_first(content, monkeypatch):
    monkeypatch.setattr("src.sheet.saved.BLOCK", 4 * 1024)
    page = saved_page(replace(content, first="test"), 5_000)
    data = page_data(page.content.decode())
    assert list(data["splits"]) == ["test"]
    assert "no train records" in page.holds


def test_a_record_that_is_larger_than_the_file_may_be_is_there_all_the_same(tmp_path):
    page = saved_page(content_of(write_foreign(tmp_path / "a", (1, 600, 600))), 1000)
    assert "the first 1 of 5 train records, no train sounds" in page.holds


def test_sounds_end_where_a_synth_fails(content, monkeypatch):
    render = type(content.playback).sounds

    def fail_at_3(self, batch, split, first):
        if first == 3:
            raise ConfigError("no sound")
        return render(self, batch, split, first)

    monkeypatch.setattr(type(content.playback), "sounds", fail_at_3)
    assert "the first 3 of 51 train sounds" in saved_page(content, 10_000_000).holds


def test_few_sounds_are_reconstructed(content, monkeypatch):
    monkeypatch.setattr("src.sheet.saved.MOST_ESTIMATED", 2)
    info = DatasetInfo.from_dict(content.info.to_dict() | {"generator": None, "synth_type": "unknown"}, "a test")
    content = replace(content, playback=Playback(info, instantiate_trusted))
    assert "the first 2 of 51 train sounds" in saved_page(content, 10_000_000).holds


def test_a_file_is_closed_to_the_outside_and_to_its_texts(tmp_path):
    data_dir = write_foreign(tmp_path / "a", channel_labels=[HOSTILE, "b"])
    page = saved_page(content_of(data_dir, title=HOSTILE), 1_000_000).content.decode()
    assert "<img" not in page
    assert "http://" not in page.replace("http-equiv", "")
    assert "https://" not in page
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r'(src|href)="(?!data:,)', page)


def test_progress_counts_every_record(content):
    done = []
    saved_page(content, 10_000_000, done.append)
    assert sum(done) == 64
