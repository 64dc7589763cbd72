"""The 12 classes of Speech Commands, chosen from a set of its layout."""

import csv
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile
from speech_corpus import OTHERS, make_corpus

from scripts import speech_commands
from scripts.speech_commands import (
    LISTS,
    NOISE,
    SAMPLE_RATE,
    SILENCE,
    STRETCHES,
    TABLE,
    TEN,
    UNKNOWN,
    choose,
    read_corpus,
    silence,
    twelve,
)
from src.errors import ConfigError
from src.vimh.reader import VIMHReader

PER_WORD = {"train": 7, "val": 1, "test": 2}


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "words")


@pytest.fixture
def own(corpus_dir, tmp_path):
    """A corpus to damage."""
    return shutil.copytree(corpus_dir, tmp_path / "own")


def rows_of(directory):
    with (directory / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_class_has_as_many_files_in_each_part_as_a_word(corpus_dir, tmp_path):
    choose(corpus_dir, tmp_path / "files", "12", None, 42)
    rows = rows_of(tmp_path / "files")
    counts = Counter((row["word"], row["split"]) for row in rows)
    assert counts == {(word, part): n for word in (*TEN, UNKNOWN, SILENCE) for part, n in PER_WORD.items()}
    assert all((tmp_path / "files" / row["file"]).is_file() for row in rows)
    assert {path.name for path in tmp_path.iterdir()} == {"files"}


def test_the_lists_decide_and_no_speaker_is_in_two_parts(corpus_dir, tmp_path):
    choose(corpus_dir, tmp_path / "files", "12", None, 42)
    listed = {part: (corpus_dir / name).read_text().split() for part, name in LISTS.items()}
    parts: dict[str, set[str]] = {}
    for row in rows_of(tmp_path / "files"):
        parts.setdefault(row["speaker"], set()).add(row["split"])
        if row["word"] in TEN:
            expected = next((part for part, names in listed.items() if row["file"] in names), "train")
            assert row["split"] == expected
    assert all(len(found) == 1 for found in parts.values())


def test_unknown_is_of_the_other_words_and_keeps_them_in_its_names(corpus_dir):
    unknown = [spoken for spoken in twelve(read_corpus(corpus_dir), 42) if spoken.word == UNKNOWN]
    assert {spoken.source.parent.name for spoken in unknown} == {*OTHERS}
    for spoken in unknown:
        assert spoken.name == f"{UNKNOWN}/{spoken.source.parent.name}_{spoken.source.name}"


def test_what_is_unknown_depends_on_the_seed_and_on_nothing_else(corpus_dir):
    def unknown(corpus, seed=42):
        return {spoken.source for spoken in twelve(corpus, seed) if spoken.word == UNKNOWN}

    corpus = read_corpus(corpus_dir)
    first = unknown(corpus)
    assert unknown(corpus[::-1]) == first
    assert unknown(corpus, seed=1) != first
    others = [spoken for spoken in corpus if spoken.source not in first and spoken.word in OTHERS]
    assert unknown([spoken for spoken in corpus if spoken != others[0]]) == first


def test_all_words_are_classes_and_noise_is_none(corpus_dir, tmp_path):
    choose(corpus_dir, tmp_path / "files", "all", None, 42)
    counts = Counter(row["word"] for row in rows_of(tmp_path / "files"))
    assert counts == dict.fromkeys((*TEN, *OTHERS), 10)


def test_no_second_of_noise_is_in_two_parts(own):
    ramp = np.linspace(0, 0.9, 12 * SAMPLE_RATE)  # a sample says where it is, and a slope how much it was lowered
    soundfile.write(own / NOISE / "white_noise.wav", ramp, SAMPLE_RATE, subtype="FLOAT")
    for part, (first, last) in STRETCHES.items():
        for _, piece in silence(own, part, 20, 42):
            slope = (piece[-1] - piece[0]) / (SAMPLE_RATE - 1)
            start = piece[0] / slope / len(ramp)
            assert first / 100 - 1e-3 < start < last / 100 - 1 / 12 + 1e-3
            assert 10 ** (-30 / 20) - 1e-3 < slope / (ramp[1] - ramp[0]) < 1 + 1e-3


def test_silence_is_the_same_every_time_and_differs_between_pieces(corpus_dir):
    first, again = (dict(silence(corpus_dir, "train", 5, 42)) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert len({piece.tobytes() for piece in first.values()}) == 5


def test_the_official_test_set_takes_the_place_of_the_list(corpus_dir, tmp_path):
    for word in (*TEN, "_unknown_", "_silence_"):
        (tmp_path / "official" / word).mkdir(parents=True)
        shutil.copy(corpus_dir / "bed" / "00000008_nohash_0.wav", tmp_path / "official" / word)
    choose(corpus_dir, tmp_path / "files", "12", tmp_path / "official", 42)
    counts = Counter((row["word"], row["split"]) for row in rows_of(tmp_path / "files"))
    assert counts == {
        (word, part): {"train": 7, "val": 1, "test": 1}[part] for word in (*TEN, UNKNOWN, SILENCE) for part in PER_WORD
    }


def without(*names):
    def change(directory):
        for name in names:
            path = directory / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def with_short_noise(directory):
    soundfile.write(directory / NOISE / "white_noise.wav", np.full(9 * SAMPLE_RATE, 0.1), SAMPLE_RATE)


def without_a_file_of_the_list(directory):
    (directory / "yes" / "00000008_nohash_0.wav").unlink()


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (without("testing_list.txt"), r"has no testing_list\.txt; Speech Commands has both"),
        (without_a_file_of_the_list, r"lists name 1 files that are not there, such as yes/00000008_nohash_0\.wav"),
        (
            without("stop", "testing_list.txt", "validation_list.txt"),
            r"has no validation_list\.txt and no testing_list",
        ),
        (without(NOISE), r"_background_noise_: holds no recordings, which silence is made of"),
        (with_short_noise, r"white_noise\.wav: lasts 9\.0 s; a recording for silence must last 10 s"),
    ],
)
def test_another_layout_is_refused_in_a_sentence_and_leaves_nothing(own, tmp_path, change, facts):
    change(own)
    with pytest.raises(ConfigError, match=facts):
        choose(own, tmp_path / "files", "12", None, 42)
    assert {path.name for path in tmp_path.iterdir()} == {"own"}


@pytest.mark.parametrize(
    ("words", "facts"),
    [(TEN, r"no words but the ten"), (TEN[1:], r"no folder yes"), (OTHERS, r"no folder yes, no, up")],
)
def test_words_that_make_no_12_classes_are_refused(corpus_dir, words, facts):
    with pytest.raises(ConfigError, match=facts):
        twelve([spoken for spoken in read_corpus(corpus_dir) if spoken.word in words], 42)


def test_another_test_set_is_refused(corpus_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"14 classes; the test set of 12 classes has ten words"):
        choose(corpus_dir, tmp_path / "files", "12", corpus_dir, 42)


def test_one_command_packs_the_field_s_picture(corpus_dir, tmp_path, capsys):
    command = [str(corpus_dir), "--output", str(tmp_path / "set")]
    assert speech_commands.main(command) == 0
    reader = VIMHReader(tmp_path / "set")
    (word,) = reader.info.parameters
    assert {*word.names} == {*TEN, UNKNOWN, SILENCE}
    assert reader.info.image_shape == (1, 40, 100)
    assert (reader.info.train_samples, reader.info.test_samples) == (12 * 8, 12 * 2)
    capsys.readouterr()
    assert speech_commands.main(command) == 0
    assert "chosen files are in" in capsys.readouterr().out
