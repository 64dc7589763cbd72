"""What the page of a dataset shows."""

import numpy as np
import pytest
from datasets import KINDS, content_of, write_foreign

from src.sheet.content import SplitContent, within_full_scale
from src.vimh.reader import VIMHReader


@pytest.fixture(scope="module")
def saw(saw_dir):
    return content_of(saw_dir)


def unpacked(content, n, shape):
    """Levels of the pixels 0 and 255, and pixels, as the page takes them out of bytes."""
    channels, height, width = shape
    ends = np.frombuffer(content[: n * channels * 8], "<f4").reshape(n, channels, 2)
    return ends, np.frombuffer(content[n * channels * 8 :], np.uint8).reshape(n, channels, height, width)


def test_columns_are_the_stored_values_and_the_highest_levels(saw, saw_dir):
    split, stored = saw.splits["train"], np.load(saw_dir / "train_values.npy")
    for number in range(2):
        assert np.array_equal(split.column(number), stored[:, number])
    spec_range = VIMHReader(saw_dir).train.read(slice(None)).spec_range
    assert split.column(2) == pytest.approx(spec_range[:, 1], abs=1e-4)


def test_a_row_is_what_the_columns_have_of_a_record(saw):
    split = saw.splits["test"]
    row = np.frombuffer(split.row(3), "<f4")
    assert np.array_equal(row, [split.column(number)[3] for number in range(3)])


def test_what_does_not_act_has_no_value(tmp_path):
    split = content_of(write_foreign(tmp_path / "a", parameters=KINDS, n_train=50)).splits["train"]
    lfo, rate, octave = (split.column(number) for number in (1, 2, 3))
    assert np.array_equal(np.isnan(rate), lfo == 0)
    assert 0 < np.isnan(rate).sum() < 50
    assert not np.isnan(octave).any()


def test_images_are_those_of_the_records(tmp_path):
    data_dir = write_foreign(tmp_path / "a", channel_ranges=[None, (-1.0, 1.0, "s")])
    split, stored = content_of(data_dir).splits["train"], VIMHReader(data_dir).train.read(slice(None))
    ends, pixels = unpacked(split.images(np.array([4, 0, 4])), 3, (2, 4, 6))
    assert np.array_equal(pixels, stored.image[[4, 0, 4]])
    assert ends.tolist() == [[[0, 255], [-1, 1]]] * 3
    ends, pixels = unpacked(split.images(slice(1, 3), slice(1, 2)), 2, (1, 4, 6))
    assert np.array_equal(pixels, stored.image[1:3, 1:])
    assert ends.tolist() == [[[-1, 1]]] * 2


def test_levels_of_a_range_in_the_record_are_sent_with_it(saw, saw_dir):
    batch = VIMHReader(saw_dir).train.read(slice(2, 4))
    ends, pixels = unpacked(saw.splits["train"].images(slice(2, 4)), 2, (1, 32, 32))
    assert np.array_equal(ends[:, 0], batch.spec_range)
    assert np.array_equal(pixels, batch.image)


def test_the_first_records_are_those_of_the_whole(saw):
    split = saw.splits["train"]
    start = split.start(7)
    assert len(start.samples) == 7
    assert np.array_equal(start.column(1), split.column(1)[:7])
    assert start.images(slice(0, 7)) == split.images(slice(0, 7))


def test_a_description_says_what_the_page_needs(saw):
    data = saw.description()
    assert [column["key"] for column in data["columns"]] == [*saw.info.parameter_names, "~level"]
    assert {name: split["n"] for name, split in data["splits"].items()} == {"train": 51, "test": 13}
    (channel,) = data["splits"]["train"]["channels"]
    assert (channel["rows"]["units"], channel["columns"]["units"], channel["units"]) == ("Hz", "s", "dB")
    assert len(channel["rows"]["centres"]) == 32
    low, high = channel["ends"]
    levels = saw.splits["train"].column(2)
    assert low < high
    assert high == pytest.approx(levels.max(), abs=1e-3)
    assert data["sound"] == {"how": saw.playback.how, "possible": True}


def test_a_signed_channel_has_its_zero_in_the_middle_of_the_colours(tmp_path):
    data_dir = write_foreign(tmp_path / "a", (1, 2, 3), image=200, channel_ranges=[(-1.0, 1.0, "s")])
    (channel,) = content_of(data_dir).description()["splits"]["train"]["channels"]
    assert channel["signed"]
    assert channel["ends"][0] == -channel["ends"][1]


def test_a_set_without_test_samples_has_one_split(tmp_path):
    data = content_of(write_foreign(tmp_path / "a", (1, 1, 1))).description()
    assert list(data["splits"]) == ["train"]
    assert data["sound"]["possible"] is False
    assert data["sound"]["how"].startswith("No sounds: ")


def test_columns_are_made_once(saw_dir, monkeypatch):
    split = content_of(saw_dir).splits["train"]
    made = []
    of_batch = SplitContent._columns_of
    monkeypatch.setattr(SplitContent, "_columns_of", lambda self, batch: made.append(1) or of_batch(self, batch))
    for number in range(3):
        split.column(number)
    assert len(made) == 1


def test_what_would_clip_is_made_softer_and_nothing_else():
    assert within_full_scale(np.array([0.5, -2.0])).tolist() == [0.25, -1.0]
    assert within_full_scale(np.array([0.5, -0.25])).tolist() == [0.5, -0.25]
    assert within_full_scale(np.zeros(3)).tolist() == [0, 0, 0]
