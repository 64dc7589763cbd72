"""Corpora are read as they come: each on a tiny copy of its layout."""

import csv
import json

import pytest

from src.errors import ConfigError
from src.packing.corpora import files_of_corpus


def put(directory, *names):
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")


def write_csv(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def rows_of(files, *columns):
    """Name of each file to its texts in some columns."""
    return dict(zip(files.names, zip(*(files.columns[name] for name in columns), strict=True), strict=True))


def test_speech_commands_with_its_lists_and_speakers(tmp_path):
    words = [
        f"{word}/{speaker}_nohash_{n}.wav" for word in ("yes", "no") for speaker in ("0a1b", "77ff") for n in (0, 1)
    ]
    put(tmp_path, *words, "_background_noise_/running_tap.wav", "LICENSE", "README.md")
    (tmp_path / "validation_list.txt").write_text("yes/77ff_nohash_0.wav\nyes/77ff_nohash_1.wav\nbed/of_others.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/77ff_nohash_0.wav\nno/77ff_nohash_1.wav\n")
    files = files_of_corpus(tmp_path, "word")
    assert "Speech Commands" in files.form
    assert sorted(files.names) == sorted(words)
    assert dict(zip(files.names, files.labels["word"], strict=True)) == {name: name.split("/")[0] for name in words}
    found = rows_of(files, "split", "group")
    assert found["yes/77ff_nohash_1.wav"] == ("val", "77ff")
    assert found["no/77ff_nohash_0.wav"] == ("test", "77ff")
    assert found["no/0a1b_nohash_0.wav"] == ("train", "0a1b")


def test_esc_50_with_its_folds_and_sources(tmp_path):
    names = [f"{fold}-{source}-A-{target}.wav" for fold in (1, 2) for source in (100, 101) for target in (0, 36)]
    put(tmp_path, *(f"audio/{name}" for name in names))
    rows = [
        [name, name[0], name.split("-")[3][:-4], "dog" if "-0." in name else "vacuum_cleaner", "True", name[2:5], "A"]
        for name in names
    ]
    heading = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    write_csv(tmp_path / "meta" / "esc50.csv", heading, *rows)
    files = files_of_corpus(tmp_path, "label")
    assert "ESC-50" in files.form
    assert files.names == tuple(f"audio/{name}" for name in names)
    assert [*files.labels] == ["category"]
    assert rows_of(files, "fold", "group")["audio/2-101-A-36.wav"] == ("2", "101")
    assert "split" not in files.columns
    assert [*files_of_corpus(tmp_path, "label", ["category", "esc10"]).labels] == ["category", "esc10"]
    write_csv(tmp_path / "meta" / "esc50.csv", heading[:1] + heading[3:], *(row[:1] + row[3:] for row in rows))
    with pytest.raises(ConfigError, match="has no column fold"):
        files_of_corpus(tmp_path, "label")


def note(instrument, family, pitch):
    return {
        "instrument_str": instrument,
        "instrument_family_str": family,
        "pitch": pitch,
        "velocity": 100,
        "sample_rate": 16000,
        "qualities": [0, 1],
        "qualities_str": [],
    }


def nsynth(directory, *notes):
    entries = {}
    for instrument, family, pitch in notes:
        name = f"{instrument}-{pitch:03d}-100"
        entries[name] = note(instrument, family, pitch)
        put(directory, f"audio/{name}.wav")
    (directory / "examples.json").write_text(json.dumps(entries))


def test_nsynth_with_its_splits_and_instruments(tmp_path):
    nsynth(tmp_path / "nsynth-train", ("bass_synthetic_033", "bass", 22), ("flute_acoustic_002", "flute", 60))
    nsynth(tmp_path / "nsynth-valid", ("bass_electronic_018", "bass", 22))
    nsynth(tmp_path / "nsynth-test", ("flute_synthetic_000", "flute", 70))
    files = files_of_corpus(tmp_path, "label")
    assert "NSynth" in files.form
    assert files.labels == {"instrument_family_str": ("flute", "bass", "flute", "bass")}
    found = rows_of(files, "split", "group")
    assert found["nsynth-valid/audio/bass_electronic_018-022-100.wav"] == ("val", "bass_electronic_018")
    assert found["nsynth-train/audio/flute_acoustic_002-060-100.wav"] == ("train", "flute_acoustic_002")
    pitches = files_of_corpus(tmp_path, "label", ["pitch", "velocity"])
    assert pitches.labels["pitch"] == ("70", "22", "60", "22")
    one = files_of_corpus(tmp_path / "nsynth-train", "label")
    assert "split" not in one.columns
    assert one.groups == ("bass_synthetic_033", "flute_acoustic_002")
    for text in ("[1]", "{", '{"a": 1}', "{}"):
        (tmp_path / "nsynth-train" / "examples.json").write_text(text)
        with pytest.raises(ConfigError, match=r"examples.json: "):
            files_of_corpus(tmp_path, "label")


def test_an_audio_folder_with_one_table_or_one_for_each_split(tmp_path):
    put(tmp_path, *(f"{split}/{n}.wav" for split in ("train", "test", "validation") for n in range(2)))
    rows = [[f"{n}.wav", "dog" if n else "cat", "", "3"] for n in range(2)]
    for split in ("train", "test", "validation"):
        write_csv(tmp_path / split / "metadata.csv", ["file_name", "animal", "note", "age"], *rows)
    files = files_of_corpus(tmp_path, "label", ["animal", "age"])
    assert "Hugging Face" in files.form
    assert files.names[:2] == ("test/0.wav", "test/1.wav")
    assert files.labels["animal"] == ("cat", "dog") * 3
    assert files.columns["split"] == ("test", "test", "train", "train", "val", "val")
    for split in ("train", "test", "validation"):
        (tmp_path / split / "metadata.csv").unlink()
    whole = [[f"{split}/{n}.wav", "dog" if n else "cat"] for split in ("train", "test") for n in range(2)]
    write_csv(tmp_path / "metadata.csv", ["file_name", "animal"], *whole)
    files = files_of_corpus(tmp_path, "label")
    assert (files.labels["animal"], files.columns["split"]) == (("cat", "dog") * 2, ("train", "train", "test", "test"))
    write_csv(tmp_path / "metadata.csv", ["animal", "file_name"], ["cat", "train/7.wav"])
    with pytest.raises(ConfigError, match=r"metadata.csv, row 2: train/7.wav is not there"):
        files_of_corpus(tmp_path, "label")


def test_folders_of_splits_and_folders_of_classes(tmp_path):
    put(tmp_path / "a", *(f"{split}/{word}/1.wav" for split in ("train", "dev", "test") for word in ("x", "y")))
    files = files_of_corpus(tmp_path / "a", "label")
    assert (files.labels["label"], files.columns["split"]) == (
        ("x", "y") * 3,
        ("val", "val", "test", "test", "train", "train"),
    )
    put(tmp_path / "b", "train/1.wav", "bus/2.wav")
    files = files_of_corpus(tmp_path / "b", "vehicle")
    assert (files.labels["vehicle"], files.columns, files.form) == (("bus", "train"), {}, "a folder per class")
    with pytest.raises(ConfigError, match="--csv"):
        files_of_corpus(tmp_path / "b", "label", ["x"])


def test_files_are_grouped_by_their_names_or_a_column(tmp_path):
    put(tmp_path, "x/ann_1.wav", "x/ann_2.wav", "y/bob_1.wav")
    files = files_of_corpus(tmp_path, "label")
    assert files.groups == files.names
    assert files.grouped_by(r"/(\w+)_").groups == ("ann", "ann", "bob")
    assert files.grouped_by(r"^.").groups == ("x", "x", "y")
    with pytest.raises(ConfigError, match=r"'ann' is not found in the names of 1 of 3 files, such as y/bob_1.wav"):
        files.grouped_by("ann")
    with pytest.raises(ConfigError, match="no column and no regular expression"):
        files.grouped_by("(")
