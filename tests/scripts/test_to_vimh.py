import csv
import functools
import gzip
import json
import math
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image, ImageDraw

from scripts.to_vimh import main
from src.errors import ConfigError, NSMError, VIMHError
from src.recordings import AudioFile, Framing, cut_into_frames, resample
from src.spectral.representation import SpectralRepresentation
from src.tasks.train import train
from src.vimh.convert import Choices, pack
from src.vimh.labels import LabelGrid, category, number
from src.vimh.pictures import PictureFormat, load_picture, make_digits
from src.vimh.reader import VIMHReader
from src.vimh.samples import DamagedFileError
from src.vimh.tables import files_of_table

ROOT = Path(__file__).parents[2]
REPRESENTATIONS = ", ".join(sorted(path.stem for path in (ROOT / "configs" / "representation").glob("*.yaml")))
RNG_SHAPE = (6, 5)  # rows and columns of the pictures here


def run(*arguments, code=0):
    assert main([str(argument) for argument in arguments]) == code


def read_sound(path, sample_rate, n_samples):
    """The one sound of a file that is packed as a whole."""
    (sound,) = cut_into_frames(AudioFile.open(path), Framing(sample_rate, n_samples / sample_rate))
    return sound


def opened(path):
    """A dataset, fully checked."""
    reader = VIMHReader(path)
    reader.validate()
    return reader


def everything(reader):
    """Images and values of both splits together, in the order of the values and the images' bytes."""
    batches = [split.read(slice(None)) for split in (reader.train, reader.test)]
    image, value = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("image", "value"))
    order = sorted(range(len(image)), key=lambda n: (value[n].tolist(), image[n].tobytes()))
    return image[order], value[order]


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def entries(directory):
    return sorted(path.name for path in directory.iterdir())


def write_csv(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def pixels():
    """Eight grey pictures, `(picture, row, column)`, top row first."""
    return np.random.default_rng(0).integers(0, 256, (8, *RNG_SHAPE), dtype=np.uint8)


@pytest.fixture
def album(tmp_path, pixels):
    """A directory of PNGs, a table of their labels, and one file that the table does not name."""
    directory = tmp_path / "album"
    (directory / "deep").mkdir(parents=True)
    names = [f"{'deep/' * (n % 2)}{n}.png" for n in range(8)]
    for name, picture in zip(names, pixels, strict=True):
        Image.fromarray(picture).save(directory / name)
    Image.fromarray(pixels[0]).save(directory / "unnamed.png")
    rows = [[name, "cat" if n < 3 else "dog", f"{20 + n * 0.5}", n] for n, name in enumerate(names)]
    write_csv(tmp_path / "labels.csv", ["file", "animal", "angle", "serial"], *rows)
    return directory


def album_set(album, *more, output="set", code=0):
    run(
        *("images", album, "--csv", album.parent / "labels.csv", "--output", album.parent / output),
        *("--labels", "animal,angle", "--number", "angle=0.5", "--units", "angle=degrees", *more),
        code=code,
    )
    return album.parent / output


# ----- image files


def test_pictures_and_labels_of_a_table_are_those_of_the_set(album, pixels):
    reader = opened(album_set(album))
    image, value = everything(reader)
    expected = [[float(n >= 3), 20 + n * 0.5] for n in range(8)]
    assert value.tolist() == expected
    assert np.array_equal(image[:, 0, ::-1], pixels)  # row 0 of a set is at the bottom
    info = reader.info
    animal, angle = info.parameters
    assert animal.names == ("cat", "dog")
    assert info.parameter_mappings["animal"].categorical
    assert json.loads((reader.data_dir / "vimh_dataset_info.json").read_text())["parameter_mappings"]["animal"]["names"]
    assert (angle.min, angle.max, angle.step, angle.n_classes, angle.units) == (20.0, 23.5, 0.5, 8, "degrees")
    assert info.channel_labels == ("grey",)
    assert info.channel_ranges == ((0.0, 255.0, "level"),)
    assert "from the bottom" in info.channel_axes[0]["rows"]
    assert not reader.train.read(slice(None)).spec_range.any()
    assert info.generator is None
    assert (info.train_samples, info.test_samples) == (6, 2)


def test_folders_are_classes(tmp_path, pixels):
    directory = tmp_path / "pictures"
    for n, picture in enumerate(pixels):
        folder = directory / ["two", "10", "9"][n % 3] / "sub"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([picture, 255 - picture, picture // 2], axis=-1)).save(folder / f"{n}.bmp")
    (directory / "two" / "notes.txt").write_text("no picture")
    (directory / "two" / ".hidden.png").write_text("no picture")
    run("images", directory, "--label", "what", "--output", tmp_path / "set", "--name", "my pictures")
    reader = opened(tmp_path / "set")
    assert reader.info.parameters[0].names == ("9", "10", "two")  # numbers first, by size
    assert reader.info.channel_labels == ("red", "green", "blue")
    image, value = everything(reader)
    assert sorted(value[:, 0]) == sorted([2.0, 1.0, 0.0, 2.0, 1.0, 0.0, 2.0, 1.0])
    found = {entry[0, ::-1].tobytes(): label for entry, (label,) in zip(image, value, strict=True)}
    assert found == {picture.tobytes(): [2.0, 1.0, 0.0][n % 3] for n, picture in enumerate(pixels)}
    assert np.array_equal(image[:, 1], 255 - image[:, 0])
    assert np.array_equal(image[:, 2], image[:, 0] // 2)


def test_blanks_around_what_a_table_says_mean_nothing(album, tmp_path):
    (tmp_path / "labels.csv").write_text(" file , animal\n 0.png , cat\n\tdeep/1.png, dog \n2.png,cat\n")
    run("images", album, "--csv", tmp_path / "labels.csv", "--output", tmp_path / "set", "--strict")
    reader = opened(tmp_path / "set")
    assert reader.info.parameters[0].names == ("cat", "dog")
    assert reader.info.total_samples == 3


@pytest.mark.parametrize("separator", [",", ";", "\t", " ; "])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("folder", ["deep/", "deep\\", ".\\deep\\"])
def test_a_table_is_read_as_any_program_writes_it(album, tmp_path, separator, line_end, mark, folder):
    rows = [
        ["file", "angle", "note"],
        ["0.png", "1.5", "x,y" if separator != "," else '"x,y"'],
        [f"{folder}1.png", "2", "z"],
    ]
    text = mark + line_end.join(separator.join(row) for row in rows) + line_end
    (tmp_path / "labels.csv").write_bytes(text.encode())
    files = files_of_table(album, tmp_path / "labels.csv")
    assert files.paths == (album / "0.png", album / "deep" / "1.png")
    assert files.labels == {"angle": ("1.5", "2"), "note": ("x,y", "z")}


def test_a_backslash_in_a_name_is_one_where_such_a_file_is(album, tmp_path):
    shutil.copy(album / "0.png", album / "deep\\1.png")
    shutil.copy(album / "0.png", album / "C:0.png")
    write_csv(tmp_path / "labels.csv", ["file", "a"], ["deep\\1.png", "x"], ["C:0.png", "y"])
    files = files_of_table(album, tmp_path / "labels.csv")
    assert files.paths == (album / "deep\\1.png", album / "C:0.png")


def test_folders_with_names_that_are_not_utf_8_are_classes(tmp_path):
    for name in (b"caf\xe9", b"b\nc"):
        directory = os.fsencode(tmp_path / "pictures") + b"/" + name
        os.makedirs(directory)
        Image.new("L", (3, 3), len(name)).save(os.fsdecode(directory + b"/a\xff.png"))
    output = tmp_path / os.fsdecode(b"set\xff")
    run("images", tmp_path / "pictures", "--output", output)
    assert opened(output).info.parameters[0].names == (r"b\nc", r"caf\xe9")


def test_a_set_is_named_after_what_is_in_it(album, monkeypatch, capsys):
    monkeypatch.setattr("src.tasks.to_vimh.ROOT", album.parent)
    run("images", album, "--csv", album.parent / "labels.csv", "--labels", "animal", "--name", "my/cats & dogs")
    assert entries(album.parent / "data") == ["vimh-6x5x1_8dss_my-cats-dogs_1p"]
    album.joinpath("0.png").unlink()
    album.joinpath("2.png").rename(album / "0.png")
    shutil.copy(album / "0.png", album / "2.png")
    run("images", album, "--csv", album.parent / "labels.csv", "--labels", "animal", "--name", "my/cats & dogs", code=1)
    assert "_my-cats-dogs_1p: exists already, and a dataset is never replaced here" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["png", "jpg", "gif", "tif", "webp", "ppm"])
def test_formats_are_read(tmp_path, form):
    picture = Image.new("RGB", (40, 30), "white")
    ImageDraw.Draw(picture).rectangle((0, 0, 19, 14), fill=(200, 40, 0))  # the upper left quarter
    picture.save(tmp_path / f"picture.{form}")
    (image,) = load_picture(tmp_path / f"picture.{form}", np.zeros(1), PictureFormat("rgb")).image
    assert image.shape == (3, 30, 40)
    assert abs(image[:, 25, 5].astype(int) - [200, 40, 0]).max() < 6
    assert image[:, 5, 5].min() > 249


AS_IT_IS = PictureFormat()


def grey(picture, tmp_path, look=AS_IT_IS):
    """Pixels of a picture after saving it, top row first."""
    picture.save(tmp_path / "picture.png")
    return load_picture(tmp_path / "picture.png", np.zeros(1), look).image[0, :, ::-1]


def test_deep_transparent_and_turned_pictures(tmp_path):
    deep = Image.fromarray(np.array([[0, 128, 129, 65535, 257 * 7]], dtype=np.uint16))
    assert grey(deep, tmp_path).tolist() == [[[0, 0, 1, 255, 7]]]
    transparent = Image.fromarray(np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]], dtype=np.uint8))
    assert grey(transparent, tmp_path, PictureFormat("grey")).tolist() == [[[9, 255]]]  # on white
    palette = Image.fromarray(np.array([[[250, 0, 0], [0, 250, 0]]], dtype=np.uint8)).quantize(2)
    assert grey(palette, tmp_path).tolist() == [[[250, 0]], [[0, 250]], [[0, 0]]]
    assert grey(Image.fromarray(np.array([[True, False]])), tmp_path).tolist() == [[[255, 0]]]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.array([[1, 2, 3]], dtype=np.uint8)).save(tmp_path / "picture.png", exif=exif)
    turned = load_picture(tmp_path / "picture.png", np.zeros(1), PictureFormat()).image[0, 0, ::-1]
    assert turned.tolist() == [[1], [2], [3]]


def test_one_size_and_the_same_channels_or_a_remedy(album, tmp_path, capsys):
    Image.new("RGB", (9, 7), "white").save(album / "0.png")
    album_set(album, code=1)
    error = capsys.readouterr().err
    assert "7x9 with 3 channels" in error
    assert "6x5 with 1 channel." in error
    assert "--resize" in error
    assert entries(tmp_path) == ["album", "labels.csv"]
    reader = opened(album_set(album, "--resize", "4x3", "--color", "grey"))
    assert reader.info.image_shape == (1, 4, 3)
    assert (everything(reader)[0][0] == 255).all()


# ----- damaged files


def damage(path):
    path.write_bytes(path.read_bytes()[:-30])


def test_a_damaged_file_is_named_and_left_out_and_counted(album, capsys):
    damage(album / "2.png")
    (album / "deep" / "5.png").write_bytes(b"")
    reader = opened(album_set(album))
    said = capsys.readouterr()
    assert f"Skipped: {album}/2.png: cannot be read" in said.err
    assert f"Skipped: {album}/deep/5.png" in said.err
    assert "2 damaged files skipped" in said.out
    assert everything(reader)[1][:, 1].tolist() == [20.0, 20.5, 21.5, 22.0, 23.0, 23.5]
    assert reader.info.model_extra["source"]["skipped_files"] == 2
    assert reader.info.parameters[1].n_classes == 8


def test_strict_stops_at_a_damaged_file_and_leaves_nothing(album, tmp_path, capsys):
    damage(album / "2.png")
    album_set(album, "--strict", code=1)
    assert str(album / "2.png") in capsys.readouterr().err
    assert entries(tmp_path) == ["album", "labels.csv"]


def test_nothing_is_left_where_no_file_can_be_used(album, tmp_path, capsys):
    for path in album.rglob("*.png"):
        path.write_bytes(b"")
    album_set(album, code=1)
    assert "None of the 8 files" in capsys.readouterr().err
    assert entries(tmp_path) == ["album", "labels.csv"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_of_an_interrupted_conversion(album, tmp_path, monkeypatch, stop):
    def interrupt(*_):
        raise stop

    monkeypatch.setattr("src.vimh.convert._divide", interrupt)
    if stop is KeyboardInterrupt:
        album_set(album, code=130)
    else:
        with pytest.raises(stop):
            album_set(album)
    assert entries(tmp_path) == ["album", "labels.csv"]


@pytest.mark.parametrize("form", ["png", "jpg", "gif", "tif", "webp", "ppm", "bmp"])
def test_whatever_is_in_an_image_file_is_read_or_called_damaged(tmp_path, pixels, form):
    path = tmp_path / f"picture.{form}"
    Image.fromarray(pixels[0]).save(path)
    good = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(1)
    for _ in range(100):
        bad = good[: rng.integers(0, len(good) + 1)].copy()
        at = rng.integers(0, max(1, len(bad)), 3)
        if len(bad):
            bad[at] = rng.integers(0, 256, 3)
        path.write_bytes(bad.tobytes())
        try:
            assert load_picture(path, np.zeros(1), PictureFormat("grey", (2, 2))).image.shape == (1, 1, 2, 2)
        except DamagedFileError as error:
            assert str(path) in str(error)


def test_only_formats_that_hold_nothing_but_pixels_are_read(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\nshowpage\n")
    with pytest.raises(DamagedFileError):
        load_picture(path, np.zeros(1), PictureFormat())


# ----- labels


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "is empty"),
        ("file,a\n", "no rows"),
        ("file\n0.png\n", "its columns are file"),
        ("file,a,a\n0.png,1,2\n", "its columns are"),
        ("file,a\n0.png\n", "row 2: has 1 columns"),
        ("file,a\n0.png,\n", "a is empty"),
        ("file,a\n0.png,1\n./0.png,2\n", "names ./0.png twice, in rows 2 and 3"),
        ("file,a\n0.png,1\n 0.png ,2\n", "names 0.png twice, in rows 2 and 3"),
        ("file,a\n /etc/passwd,1\n", "not below the directory"),
        ("file,a\n../0.png,1\n", "not below the directory"),
        ("file,a\n/etc/passwd,1\n", "not below the directory"),
        ("file,a\n0.png,x\n2.png,x\n", "Label a is x everywhere"),
        ('file,a\n"0.png,1\n', "cannot be read as a CSV"),
        ("file,_a\n0.png,1\n2.png,2\n", "no name of a parameter"),
        ("file,\xe9\n".encode("latin1"), "cannot be read as a CSV"),
        ("file,a\n0.png,1\n1.png,2\n", "labels.csv, row 3: 1.png is not there"),
        ("file,a\n0.png,1\n\ndeep,2\n", "labels.csv, row 4: deep is not there, or no file"),
        ("file,a\n0.png,1\n" + "x" * 5000 + ",2\n", "is not there"),
        ("file,a\n0.png,1\nx\0.png,2\n", "is not there"),
        ("file;a\n0.png;1\ndeep\\3.png;2\ngone\\4.png;3\n", "row 4: gone\\4.png is not there"),
        ("file,a\nC:\\album\\0.png,1\n", "row 2: C:\\album\\0.png is not below the directory"),
        ("file,a\n\\\\server\\0.png,1\n", "not below the directory"),
        ("file,a\n..\\0.png,1\n", "not below the directory"),
        ("file;a\n0.png;1;2\n", "row 2: has 3 columns, but the heading has 2, with semicolons between them"),
        ("file\ta\n0.png\n", "has 1 columns, but the heading has 2, with tabs between them"),
        ("file|a\n0.png|1\n", "its columns are file|a, with commas between them"),
    ],
)
def test_tables_that_say_nothing_clear_are_refused(album, tmp_path, capsys, table, message):
    content = table if isinstance(table, bytes) else table.encode()
    (tmp_path / "labels.csv").write_bytes(content)
    run("images", album, "--csv", tmp_path / "labels.csv", "--output", tmp_path / "set", code=1)
    assert message in capsys.readouterr().err
    assert entries(tmp_path) == ["album", "labels.csv"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--labels", "mood"], "no mood"),
        (["--number", "mood=1"], "no label mood"),
        (["--number", "animal=1"], "'cat' somewhere, which is no number"),
        (["--number", "angle=0.001"], "Give a step of 0.014 or more"),
        (["--number", "angle=0.5,21,30"], "beyond 21 to 30"),
        (["--number", "angle=0"], "no grid"),
        (["--number", "angle=1,2"], "no grid"),
        (["--number", "angle=inf"], "no grid"),
        (["--test-fraction", "1"], "below 1"),
        (["--seed", "-1"], "seed"),
        (["--csv", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_labels_that_are_not_there_or_do_not_fit_are_refused(album, tmp_path, capsys, more, message):
    album_set(album, *more, code=1)
    assert message in capsys.readouterr().err
    assert entries(tmp_path) == ["album", "labels.csv"]


def test_more_than_256_classes_are_refused_with_the_remedy():
    texts = [str(n) for n in range(257)]
    with pytest.raises(ConfigError, match=r"257 different values.*--number key=STEP"):
        category("key", texts)
    spec, value = category("key", texts[:256])
    assert spec.names == tuple(texts[:256])
    assert np.array_equal(spec.index_from_normalized(spec.normalized_from_value(value)), np.arange(256))
    with pytest.raises(ConfigError, match=r"257 classes.*Give a step of 1\.1 or more"):
        number("key", texts, LabelGrid.parse("1"))
    assert number("key", texts, LabelGrid.parse("1.1"))[0].n_classes <= 256


@pytest.mark.parametrize("distance", ["1", "7.3", "0.0123", "123456", "254.9", "1e-7"])
def test_the_step_that_a_refusal_names_is_wide_enough(distance):
    low = "0.0371"
    texts = [low, str(float(low) + float(distance))]
    with pytest.raises(ConfigError, match="Give a step") as refusal:
        number("x", texts, LabelGrid.parse(f"{float(distance) / 1000:.12f}"))
    step = str(refusal.value).split("step of ")[1].split(" or")[0]
    assert number("x", texts, LabelGrid.parse(step))[0].n_classes <= 256


def test_more_labels_or_larger_images_than_a_record_holds_are_refused(album, tmp_path, capsys):
    names = [f"label{n}" for n in range(256)]
    write_csv(tmp_path / "labels.csv", ["file", *names], ["0.png", *names], ["2.png", *names[::-1]])
    run("images", album, "--csv", tmp_path / "labels.csv", "--output", tmp_path / "set", code=1)
    assert "256 parameters vary; a dataset holds 1 to 255" in capsys.readouterr().err
    Image.new("L", (70000, 1)).save(album / "0.png")
    write_csv(tmp_path / "labels.csv", ["file", "a"], ["0.png", 1], ["2.png", 2])
    run("images", album, "--csv", tmp_path / "labels.csv", "--output", tmp_path / "set", code=1)
    assert "65535 is the most" in capsys.readouterr().err
    assert entries(tmp_path) == ["album", "labels.csv"]


def test_a_range_is_a_whole_number_of_exact_steps():
    spec, value = number("x", ["0.3", "0.7", "1.14"], LabelGrid.parse("0.1"))  # an uneven grid would warn
    assert (spec.min, spec.max, spec.n_classes) == (0.3, 1.2, 10)
    assert value.tolist() == [0.3, 0.7, 1.14]
    assert number("x", ["-0.3", "0"], LabelGrid.parse("0.2,-1,1"))[0].n_classes == 11


def test_exact_values_between_the_steps_are_kept(tmp_path, album):
    write_csv(tmp_path / "labels.csv", ["file", "x"], ["0.png", "0.1"], ["2.png", " 0.777 "], ["4.png", "0.95"])
    run("images", album, "--csv", tmp_path / "labels.csv", "--number", "x=0.1", "--output", tmp_path / "set")
    assert np.allclose(everything(opened(tmp_path / "set"))[1][:, 0], [0.1, 0.777, 0.95], atol=1e-7)


def test_a_file_in_no_folder_needs_a_table(album, tmp_path, capsys):
    run("images", album, "--output", tmp_path / "set", code=1)
    assert "--csv" in capsys.readouterr().err
    run("images", album, "--labels", "animal", "--output", tmp_path / "set", code=1)
    assert "--csv" in capsys.readouterr().err
    run("images", tmp_path / "nowhere", "--output", tmp_path / "set", code=1)
    assert "no such directory" in capsys.readouterr().err


# ----- division, and what is there already


def test_the_division_depends_on_pictures_and_seed_alone(album, tmp_path):
    first = contents(album_set(album, output="first"))
    again = contents(album_set(album, output="again"))
    first.pop("vimh_dataset_info.json")
    again.pop("vimh_dataset_info.json")
    assert first == again
    first.pop("sources.csv")  # which names the files
    moved = tmp_path / "other" / "album"
    shutil.copytree(album, moved)
    rows = list(csv.reader((tmp_path / "labels.csv").read_text().splitlines()))
    for n, row in enumerate(rows[1:]):
        (moved / row[0]).rename(moved / f"z{9 - n}.png")
        row[0] = f"z{9 - n}.png"
    write_csv(tmp_path / "other" / "labels.csv", rows[0], *reversed(rows[1:]))
    renamed = contents(album_set(moved))
    renamed.pop("vimh_dataset_info.json")
    renamed.pop("sources.csv")
    assert renamed == first
    other = contents(album_set(album, "--seed", "3", output="seeded"))
    assert other["test"] != first["test"]


def test_the_same_picture_is_never_on_both_sides(tmp_path):
    directory = tmp_path / "pictures"
    for n in range(60):
        folder = directory / "ab"[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), n // 3).save(folder / f"{n}.png")  # each thrice
    for seed in range(5):
        run("images", directory, "--output", tmp_path / f"set{seed}", "--seed", seed, "--test-fraction", 0.3)
        reader = opened(tmp_path / f"set{seed}")
        train, test = (
            {image.tobytes() for image in split.read(slice(None)).image} for split in (reader.train, reader.test)
        )
        assert not train & test
        assert 18 <= reader.info.test_samples <= 20


def test_no_test_samples_are_an_option(album):
    reader = opened(album_set(album, "--test-fraction", "0"))
    assert (len(reader.train), len(reader.test)) == (8, 0)


def test_what_is_there_is_left_alone(album, tmp_path, capsys):
    before = contents(album_set(album))
    album_set(album)  # as after a command that was stopped at its very end
    assert "Kept: the same dataset" in capsys.readouterr().out
    assert contents(tmp_path / "set") == before
    album_set(album, "--seed", "7", code=1)
    error = capsys.readouterr().err
    assert "exists already" in error
    assert "--output" in error
    assert "overwrite=" not in error  # which this program does not have
    assert contents(tmp_path / "set") == before
    (tmp_path / "mine").mkdir()
    album_set(album, output="mine", code=1)
    assert "is not a dataset" in capsys.readouterr().err
    assert entries(tmp_path) == ["album", "labels.csv", "mine", "set"]


def test_a_name_that_claims_another_size_is_refused(album, tmp_path, capsys):
    album_set(album, output="vimh-8x8x1_mine", code=1)
    assert "claims" in capsys.readouterr().err
    assert entries(tmp_path) == ["album", "labels.csv"]


# ----- MNIST


def write_idx(path, array):
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_mnist(directory, pixels, labels, ending="", splits=(("train", 0, 5), ("t10k", 5, 8))):
    directory.mkdir(exist_ok=True)
    for name, start, stop in splits:
        write_idx(directory / f"{name}-images-idx3-ubyte{ending}", pixels[start:stop])
        write_idx(directory / f"{name}-labels-idx1-ubyte{ending}", labels[start:stop])
    return directory


LABELS = np.array([5, 0, 4, 1, 9, 2, 1, 0], dtype=np.uint8)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist_keeps_its_order_and_its_own_test_samples(tmp_path, pixels, ending):
    run(
        "idx", write_mnist(tmp_path / "mnist", pixels, LABELS, ending), "--output", tmp_path / "set", "--label", "digit"
    )
    reader = opened(tmp_path / "set")
    assert reader.info.parameters[0].names == ("0", "1", "2", "4", "5", "9")
    for split, expected, labels in ((reader.train, pixels[:5], LABELS[:5]), (reader.test, pixels[5:], LABELS[5:])):
        batch = split.read(slice(None))
        assert np.array_equal(batch.image[:, 0, ::-1], expected)
        assert [reader.info.parameters[0].names[int(value)] for (value,) in batch.value] == [str(n) for n in labels]


def test_idx_labels_take_names_and_divide_without_test_files(tmp_path, pixels, capsys):
    directory = write_mnist(tmp_path / "mnist", pixels, LABELS, splits=[("train", 0, 8)])
    (tmp_path / "names.txt").write_text("".join(f"kind {n}\n" for n in range(10)))
    run("idx", directory, "--output", tmp_path / "set", "--names", tmp_path / "names.txt", "--test-fraction", "0.25")
    reader = opened(tmp_path / "set")
    assert reader.info.parameters[0].names == tuple(f"kind {n}" for n in range(10))
    assert (len(reader.train), len(reader.test)) == (6, 2)
    assert everything(reader)[1][:, 0].tolist() == sorted(LABELS)
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    run("idx", directory, "--output", tmp_path / "new", "--names", tmp_path / "names.txt", code=1)
    assert "labels up to 9, but there are 2 names" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_idx_files_that_are_not_whole_are_refused(tmp_path, pixels, name, ending, capsys):
    directory = write_mnist(tmp_path / "mnist", pixels, LABELS, ending)
    path = directory / f"{name}{ending}"
    good = path.read_bytes()
    for bad in (good[:-1], good[:3], b"", good[:2] + b"\x0d" + good[3:], b"\x80" + good[1:]):
        path.write_bytes(bad)
        run("idx", directory, "--output", tmp_path / "set", code=1)
        assert path.name in capsys.readouterr().err
        assert entries(tmp_path) == ["mnist"]


def test_idx_files_that_do_not_belong_together_are_refused(tmp_path, pixels, capsys):
    directory = write_mnist(tmp_path / "mnist", pixels, LABELS)
    write_idx(directory / "train-labels-idx1-ubyte", LABELS[:4])
    run("idx", directory, "--output", tmp_path / "set", code=1)
    assert "a label each" in capsys.readouterr().err
    (directory / "train-labels-idx1-ubyte").unlink()
    run("idx", directory, "--output", tmp_path / "set", code=1)
    assert "not both" in capsys.readouterr().err
    write_mnist(tmp_path / "mnist", pixels, LABELS)
    write_idx(directory / "train-labels-idx1-ubyte.gz", LABELS[:5])
    run("idx", directory, "--output", tmp_path / "set", code=1)
    assert "Leave one of them" in capsys.readouterr().err
    run("idx", tmp_path, "--output", tmp_path / "set", code=1)
    assert "train-images-idx3-ubyte" in capsys.readouterr().err


# ----- CIFAR


@pytest.fixture
def cifar10(tmp_path):
    """Five files to train and one to test of three records each, and all pictures, `(file, record, ...)`."""
    directory = tmp_path / "cifar"
    directory.mkdir()
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 256, (6, 3, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, (6, 3), dtype=np.uint8)
    for n, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        records = np.concatenate([labels[n][:, None], pictures[n].reshape(3, -1)], axis=1)
        (directory / name).write_bytes(records.tobytes())
    (directory / "batches.meta.txt").write_text("\n".join(f"thing {n}" for n in range(10)) + "\n\n")
    return directory, pictures, labels


def test_cifar10_is_read_file_by_file(cifar10, tmp_path):
    directory, pictures, labels = cifar10
    run("cifar", directory, "--output", tmp_path / "set")
    reader = opened(tmp_path / "set")
    assert reader.info.synth_type == "cifar10"
    assert reader.info.parameters[0].names == tuple(f"thing {n}" for n in range(10))
    train, test = reader.train.read(slice(None)), reader.test.read(slice(None))
    assert np.array_equal(train.image[:, :, ::-1], pictures[:5].reshape(-1, 3, 32, 32))
    assert np.array_equal(test.image[:, :, ::-1], pictures[5])
    assert train.value[:, 0].tolist() == labels[:5].ravel().tolist()
    assert test.value[:, 0].tolist() == labels[5].tolist()


def test_a_damaged_file_of_cifar_is_left_out(cifar10, tmp_path, capsys):
    directory, pictures, _ = cifar10
    (directory / "data_batch_2.bin").unlink()
    damage(directory / "data_batch_3.bin")
    wrong = bytearray((directory / "data_batch_5.bin").read_bytes())
    wrong[3073] = 10
    (directory / "data_batch_5.bin").write_bytes(wrong)
    run("cifar", directory, "--output", tmp_path / "strict", "--strict", code=1)
    assert "data_batch_2.bin" in capsys.readouterr().err
    run("cifar", directory, "--output", tmp_path / "set")
    said = capsys.readouterr()
    assert "3 damaged files skipped" in said.out
    assert "record 1 has label 10" in said.err
    reader = opened(tmp_path / "set")
    assert np.array_equal(reader.train.read(slice(None)).image[:, :, ::-1], np.concatenate(pictures[[0, 3]]))
    damage(directory / "test_batch.bin")
    run("cifar", directory, "--output", tmp_path / "new", code=1)
    assert "none are left to test" in capsys.readouterr().err


def test_cifar100_has_two_labels(tmp_path):
    directory = tmp_path / "cifar"
    directory.mkdir()
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
    labels = np.array([[0, 99], [19, 0], [7, 50], [3, 12]], dtype=np.uint8)
    for name in ("train.bin", "test.bin"):
        (directory / name).write_bytes(np.concatenate([labels, pictures], axis=1).tobytes())
    (directory / "fine_label_names.txt").write_text("\n".join(f"fine {n}" for n in range(100)))
    run("cifar", directory, "--output", tmp_path / "set", "--name", "small")
    reader = opened(tmp_path / "set")
    assert reader.info.parameter_names == ("coarse_label", "fine_label")
    assert [spec.n_classes for spec in reader.info.parameters] == [20, 100]
    assert reader.info.parameters[0].names[19] == "19"
    assert reader.info.parameters[1].names[99] == "fine 99"
    batch = reader.train.read(slice(None))
    assert batch.value.tolist() == labels.tolist()
    for p, spec in enumerate(reader.info.parameters):
        assert spec.index_from_code(batch.code[:, p].astype(float)).tolist() == labels[:, p].tolist()


def test_pickles_are_not_read(tmp_path, capsys):
    (tmp_path / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    run("cifar", tmp_path, "--output", tmp_path / "set", code=1)
    assert "binary version" in capsys.readouterr().err
    (tmp_path / "data_batch_1").unlink()
    run("cifar", tmp_path, "--output", tmp_path / "set", code=1)
    assert "binary version" not in capsys.readouterr().err


# ----- audio

RATE, SECONDS = 8000, 0.5
SPECTRAL = ("--set", "height=48", "--set", "width=8", "--set", "win_length=128")


def tone(f0, rate=RATE, seconds=SECONDS):
    return 0.5 * np.sin(2 * np.pi * f0 * np.arange(round(seconds * rate)) / rate)


def representation():
    return SpectralRepresentation(sample_rate=RATE, duration=SECONDS, height=48, width=8, win_length=128)


@pytest.fixture
def sounds(tmp_path):
    """Tones of several rates, lengths and channels, each in its own format, and a table of their frequencies."""
    directory = tmp_path / "sounds"
    for folder in ("low", "high"):
        (directory / folder).mkdir(parents=True)
    files = {
        "low/a.wav": (tone(500), RATE),
        "low/b.flac": (tone(750, 16000), 16000),
        "low/c.ogg": (np.stack([tone(1000, 22050), tone(1000, 22050)], axis=1), 22050),
        "high/d.mp3": (tone(2000, 32000, 1.0), 32000),
        "high/e.wav": (tone(2500, RATE, 0.25), RATE),
    }
    for name, (waveform, rate) in files.items():
        soundfile.write(directory / name, waveform, rate, **({"subtype": "FLOAT"} if name.endswith("wav") else {}))
    rows = zip(files, [500, 750, 1000, 2000, 2500], strict=True)
    write_csv(tmp_path / "labels.csv", ["file", "f0"], *rows)
    return directory


def convert_sounds(sounds, *more, code=0):
    output = sounds.parent / "set"
    run("audio", sounds, *SPECTRAL, "--sample-rate", RATE, "--duration", SECONDS, "--output", output, *more, code=code)
    return output


def test_sounds_of_all_formats_with_labels_of_a_table(sounds):
    reader = opened(
        convert_sounds(sounds, "--csv", sounds.parent / "labels.csv", "--number", "f0=50", "--units", "f0=Hz")
    )
    info = reader.info
    assert (info.sample_rate, info.duration, info.image_shape) == (RATE, SECONDS, (1, 48, 8))
    assert (info.parameters[0].min, info.parameters[0].max, info.parameters[0].units) == (500.0, 2500.0, "Hz")
    assert info.spectrogram_config == representation().describe()
    assert info.channel_labels == ("log_magnitude",)
    assert info.generator is None
    image, value = everything(reader)
    assert value[:, 0].tolist() == [500, 750, 1000, 2000, 2500]
    bin_hz = RATE / 128
    peak = image[:, 0, :, 2].argmax(axis=1) + 1  # row 0 is bin 1
    assert np.abs(peak * bin_hz - value[:, 0]).max() <= bin_hz / 2 + 1e-9
    expected, _ = representation().to_image(torch.from_numpy(tone(500).astype(np.float32)))
    assert np.array_equal(image[0], expected.numpy())
    assert not image[4, 0, :, -1].any()  # padded with silence


def test_sounds_with_labels_of_their_folders(sounds, tmp_path):
    reader = opened(convert_sounds(sounds, "--representation", "mel", "--label", "pitch"))
    assert reader.info.parameters[0].names == ("high", "low")
    assert reader.info.mel_config["n_mels"] == 48
    assert everything(reader)[1][:, 0].tolist() == [0, 0, 1, 1, 1]
    named = {path.name for path in tmp_path.iterdir()}
    assert named == {"sounds", "labels.csv", "set"}


def test_sounds_take_several_channels_or_none(sounds, tmp_path, capsys):
    settings = ("--set", "channels.group_delay.limit=2", "--set", "channels.windows.ratios=[2]")
    info = opened(convert_sounds(sounds, "--channels", "group_delay,windows", *settings)).info
    assert info.channel_labels == ("log_magnitude", "group_delay", "window_2")
    assert info.channel_ranges[0] is None
    assert info.channel_ranges[1][::2] == (-2.0, "hops")
    source = info.model_extra["source"]
    assert (source["representation"]["height"], list(source["channels"])) == (48, ["group_delay", "windows"])
    shutil.rmtree(tmp_path / "set")
    common = ("--sample-rate", RATE, "--duration", SECONDS, "--output", tmp_path / "set")
    run("audio", sounds, *common, "--representation", "waveform")
    reader = opened(tmp_path / "set")
    assert reader.info.image_shape == (1, 1, 4000)
    assert not reader.train.read(slice(None)).spec_range.any()
    run("audio", sounds, *common, "--representation", "waveform", "--channels", "group_delay", code=1)
    assert "Waveform takes samples as they are, and no channels (group_delay)" in capsys.readouterr().err


def test_a_set_of_sounds_is_named_as_the_format_prescribes(sounds, tmp_path, monkeypatch):
    configs = ROOT / "configs"
    monkeypatch.setattr("src.tasks.to_vimh.ROOT", tmp_path)
    (tmp_path / "configs").symlink_to(configs)
    run("audio", sounds, *SPECTRAL, "--sample-rate", RATE, "--duration", SECONDS)
    assert entries(tmp_path / "data") == ["vimh-48x8x1_8000Hz_0p5s_5dss_sounds_1p"]


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_sounds_are_cut_padded_and_resampled(tmp_path, rate):
    for seconds in (0.3, 0.5, 0.9):
        soundfile.write(tmp_path / "a.wav", tone(440, rate, seconds), rate, subtype="FLOAT")
        found = read_sound(tmp_path / "a.wav", RATE, 4000)
        expected = tone(440, RATE, min(seconds, 0.5))
        assert (found.shape, found.dtype) == ((4000,), np.float32)
        inner = slice(80, len(expected) - 80)  # a filter rings where a sound begins and ends
        assert np.abs(found[inner] - expected[inner]).max() < 1e-3
        assert not found[len(expected) + 80 :].any()


def test_sounds_are_resampled_as_predictions_are(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(440, 44100, 0.9), 44100, subtype="FLOAT")
    found = read_sound(tmp_path / "a.wav", RATE, 4000)
    assert np.abs(found - resample([tone(440, 44100, 0.9)], 44100, RATE)[:4000]).max() < 1e-6


def test_damaged_sounds_are_left_out(sounds, capsys):
    (sounds / "low" / "b.flac").write_bytes((sounds / "low" / "b.flac").read_bytes()[:20])
    (sounds / "high" / "d.mp3").write_text("no sound")
    soundfile.write(sounds / "low" / "empty.wav", np.zeros(0), RATE)
    soundfile.write(sounds / "low" / "nan.wav", np.full(99, np.nan), RATE, subtype="FLOAT")
    convert_sounds(sounds, "--strict", code=1)
    assert "d.mp3" in capsys.readouterr().err
    soundfile.write(sounds / "high" / "silent.wav", np.zeros(99), RATE)
    reader = opened(convert_sounds(sounds, "--test-fraction", 0))
    said = capsys.readouterr()
    assert all(name in said.err for name in ("b.flac", "d.mp3", "empty.wav", "nan.wav", "silent.wav: is silent"))
    assert "5 damaged files skipped" in said.out
    assert reader.info.train_samples == 3


def test_a_sound_that_is_cut_off_is_named_and_left_out_and_counted(sounds, tmp_path, capsys):
    for path in (sounds / "high" / "e.wav", sounds / "low" / "c.ogg"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    convert_sounds(sounds, "--strict", code=1)
    assert "e.wav: is cut off" in capsys.readouterr().err
    assert entries(tmp_path) == ["labels.csv", "sounds"]
    info = opened(convert_sounds(sounds, "--test-fraction", 0)).info
    said = capsys.readouterr()
    assert f"Skipped: {sounds}/high/e.wav: is cut off" in said.err
    assert f"Skipped: {sounds}/low/c.ogg: " in said.err
    assert "2 damaged files skipped" in said.out
    assert (info.total_samples, info.model_extra["source"]["skipped_files"]) == (3, 2)


def test_whatever_goes_wrong_with_one_sound_the_others_are_packed(sounds, capsys, monkeypatch):
    soundfile.write(sounds / "low" / "loud.wav", 1e300 * tone(500), RATE, subtype="DOUBLE")
    soundfile.write(sounds / "low" / "fast.wav", tone(500), 2**31 - 1)
    soundfile.write(sounds / "low" / "unscaled.wav", 2**15 * tone(500), RATE, subtype="FLOAT")
    (sounds / "high" / "text.wav").write_text("no sound")
    right = SpectralRepresentation.to_image

    def wrong_for_one(self, waveform):
        if not waveform[0, -RATE // 10 :].any():
            raise MemoryError
        return right(self, waveform)

    monkeypatch.setattr(SpectralRepresentation, "to_image", wrong_for_one)
    reader = opened(convert_sounds(sounds, "--test-fraction", 0))
    said = capsys.readouterr()
    assert all(f"{name}.wav: " in said.err for name in ("loud", "fast", "text", "e", "unscaled"))
    assert "unscaled.wav: reaches 84.3 dB full scale" in said.err
    assert "e.wav: cannot be used: MemoryError" in said.err
    assert "5 damaged files skipped" in said.out
    assert reader.info.total_samples == 4


def test_sounds_of_any_rate_are_packed(sounds):
    for rate in (44101, 22254, 96001, 7919, 999_983):
        soundfile.write(sounds / "low" / f"{rate}.wav", tone(500, rate), rate, subtype="FLOAT")
        found = read_sound(sounds / "low" / f"{rate}.wav", RATE, 4000)
        assert np.abs(found - tone(500))[100:-100].max() < 1e-4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--representation", "cepstrum"],
            f"--representation 'cepstrum': 'cepstrum' is none of {REPRESENTATIONS}.",
        ),
        (["--representation", ""], f"--representation '': '' is none of {REPRESENTATIONS}."),
        (["--channels", "modulation,stft"], "--channels 'modulation,stft': 'stft' is none of group_delay,"),
        (["--channels", "modulation,"], "--channels 'modulation,': '' is none of"),
        (["--channels", "modulation,normalized,modulation"], "names modulation twice"),
        (["--channels", "a b["], "'a b[' is none of"),
        (["--spectral", "stft,modulation"], "--spectral stft,modulation: the options are now --representation NAME"),
        (["--set", "channels.modulation.limit=3"], "--set channels.modulation.limit=3: Could not override"),
        (["--set", "rows=3"], "--set rows: --representation stft has no such setting; it has height, width,"),
        (["--set", "sample_rate=3"], "no such setting"),
        (["--set", "mel.rows=3"], "--set mel.rows=3: Could not override"),
        (["--set", "height=1,2"], "height=1,2"),
        (["--set", "height=${rows}"], "'rows' not found"),
        (["--set", "height=???"], "Missing mandatory value"),
        (
            ["--duration", "1e9"],
            "Sounds of 1e+09 s at 8,000 Hz make 8e+12 samples, but 67,108,864 are the most",
        ),
        (["--set", "height=0"], "height is 0"),
        (["--set", "height=much"], "cannot be made"),
        (["--set", "window=[="], "window"),
        (["--duration", "0"], "above 0"),
        (["--sample-rate", "0"], "above 0"),
        (["--duration", "0.001"], "longer than the sound"),
    ],
)
def test_representations_that_cannot_be_are_refused(sounds, tmp_path, capsys, more, message):
    convert_sounds(sounds, *more, code=1)
    error = capsys.readouterr().err
    assert message in error
    assert "+representation" not in error
    assert len(error.splitlines()) == 1
    assert entries(tmp_path) == ["labels.csv", "sounds"]


# ----- end to end


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("digits") / "set"
    make_digits(data_dir, name=data_dir.name)
    return data_dir


@pytest.mark.slow
def test_the_digits_are_those_of_scikit_learn(digits):
    from sklearn.datasets import load_digits

    reader = opened(digits)
    image, value = everything(reader)
    expected = load_digits()
    found = sorted(np.round(entry[0, ::-1] * (16 / 255)).astype(int).tolist() for entry in image)
    assert found == sorted(expected.images.astype(int).tolist())
    assert value[:, 0].tolist() == sorted(expected.target.tolist())
    assert (len(reader.train), len(reader.test)) == (1438, 359)


@pytest.mark.slow
def test_digits_that_are_there_are_left_alone_and_others_refused(digits, saw_dir):
    before = contents(digits)
    make_digits(digits)
    assert contents(digits) == before
    with pytest.raises(VIMHError, match="another dataset"):
        make_digits(digits, seed=1)
    with pytest.raises(VIMHError, match="another dataset"):
        make_digits(saw_dir)
    with pytest.raises(VIMHError, match=r"is called vimh-8x8x1_1797dss_digits_1p\. Correct data.data_dir"):
        make_digits(digits.with_name("typo"))
    assert [path.name for path in digits.parent.iterdir()] == [digits.name]


@pytest.mark.slow
def test_the_digits_are_learnt(compose_run, tmp_path):
    cfg = compose_run(tmp_path, "experiment=digits", "logger=csv", f"paths.data_dir={tmp_path}")
    assert train(cfg)["test/acc"] > 0.97


@pytest.mark.slow
def test_a_network_trains_on_sounds_with_numbers_and_names(compose_run, tmp_path):
    directory = tmp_path / "sounds"
    directory.mkdir()
    rng = np.random.default_rng(4)
    rows = []
    for n, f0 in enumerate(np.linspace(200, 3800, 240).tolist()):
        kind = ["decay", "steady"][n % 2]
        seconds = np.arange(round(SECONDS * RATE)) / RATE
        envelope = np.exp(-seconds / 0.08) if kind == "decay" else np.ones_like(seconds)
        soundfile.write(directory / f"{n}.wav", tone(f0) * envelope * rng.uniform(0.5, 1), RATE)
        rows.append([f"{n}.wav", f"{f0:.3f}", kind])
    write_csv(tmp_path / "labels.csv", ["file", "f0", "kind"], *rows)
    output = tmp_path / "set"
    run(
        *("audio", directory, "--csv", tmp_path / "labels.csv", "--number", "f0=100,200,3800", "--output", output),
        *("--sample-rate", RATE, "--duration", SECONDS, "--set", "height=64", "--set", "win_length=128"),
    )
    cfg = compose_run(
        *(tmp_path / "run", "model=cnn_tiny", "loss=cross_entropy", f"data.data_dir={output}"),
        *("data.make_dataset=null", "data.batch_size=24", "trainer.max_epochs=30", "logger=csv"),
        *("callbacks.early_stopping=null",),
    )
    metrics = train(cfg)
    assert metrics["test/kind_acc"] > 0.9
    assert metrics["test/f0_mae"] < 200


@pytest.mark.slow
def test_the_program_says_what_it_does_and_what_is_wrong(album, tmp_path):
    command = [sys.executable, "scripts/to_vimh.py"]
    run_program = functools.partial(subprocess.run, cwd=ROOT, capture_output=True, text=True)
    assert "audio" in run_program([*command, "--help"], check=True).stdout
    made = run_program(
        [*command, "images", album, "--csv", tmp_path / "labels.csv", "--output", tmp_path / "set"], check=True
    )
    assert made.stdout.splitlines()[-1] == str(tmp_path / "set")
    failed = run_program([*command, "cifar", tmp_path], check=False)
    assert (failed.returncode, "Traceback" in failed.stderr) == (1, False)
    assert opened(tmp_path / "set").info.parameter_names == ("animal", "angle", "serial")


def test_a_full_disk_is_said_and_leaves_nothing(album, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("src.vimh.convert.tempfile.TemporaryFile", full)
    album_set(album, code=1)
    assert "No space left" in capsys.readouterr().err
    assert entries(tmp_path) == ["album", "labels.csv"]


def test_nothing_to_pack_is_refused(tmp_path):
    with pytest.raises(NSMError):
        pack([], None, Choices(tmp_path / "set"))
    assert entries(tmp_path) == []
    assert math.isclose(Choices().test_fraction, 0.2)


# ----- frames, groups, folds and classes of recordings


@pytest.fixture
def voices(tmp_path):
    """Recordings of three classes by four speakers, two each, with a silent second in the middle."""
    directory = tmp_path / "voices"
    rng = np.random.default_rng(0)
    for n, kind in enumerate(("cat", "dog", "emu")):
        (directory / kind).mkdir(parents=True)
        for speaker in "abcd":
            for take in range(2):
                sound = np.concatenate([tone(400 * (1 + n), seconds=0.5), np.zeros(RATE), tone(300, seconds=0.5)])
                sound = sound + 1e-6 * rng.normal(size=len(sound))
                soundfile.write(directory / kind / f"{speaker}{take}.wav", sound, RATE, subtype="FLOAT")
    return directory


def pack_voices(voices, *more, output="set", code=0):
    settings = ("--sample-rate", RATE, "--set", "height=16", "--set", "width=8", "--set", "win_length=128")
    run("audio", voices, *settings, "--output", voices.parent / output, *more, code=code)
    return voices.parent / output


def lines_of(data_dir):
    """Lines of sources.csv, as dictionaries."""
    return [*csv.DictReader((data_dir / "sources.csv").read_text().splitlines())]


FRAMES = ("--frame", 0.5, "--hop", 0.25)


def test_frames_of_a_file_stay_together_and_silent_ones_are_left_out(voices, capsys):
    reader = opened(pack_voices(voices, *FRAMES, "--silence", 40))
    lines = lines_of(reader.data_dir)
    assert [line["start"] for line in lines if line["file"] == "cat/a0.wav"] == ["0.0", "0.25", "1.25", "1.5"]
    assert reader.info.total_samples == len(lines) == 24 * 4
    source = reader.info.model_extra["source"]
    assert {key: source[key] for key in ("sample_rate", "duration", "hop", "silence", "silent_frames")} == {
        **{"sample_rate": RATE, "duration": 0.5, "hop": 0.25, "silence": 40.0, "silent_frames": 24 * 3}
    }
    assert Framing.of_source(source, RATE, 0.5) == Framing(RATE, 0.5, 0.25, 40.0)
    assert "72 silent frames left out." in capsys.readouterr().out
    of = {part: {line["file"] for line in lines if line["part"] == part} for part in ("train", "test")}
    assert not of["train"] & of["test"]
    assert sorted(name[:3] for name in of["test"]) == ["cat", "cat", "dog", "dog", "emu", "emu"]
    image, _ = representation_of_frames(voices / "cat" / "a0.wav")
    row = next(n for n, line in enumerate(lines) if line["file"] == "cat/a0.wav")
    split = reader.split(lines[row]["part"])
    assert np.array_equal(split[int(lines[row]["number"]) + np.arange(4)].image, image)


def representation_of_frames(path):
    """Images of the frames of a file that are not silent."""
    frames = cut_into_frames(AudioFile.open(path), Framing(RATE, 0.5, 0.25, 40.0))
    settings = {"sample_rate": RATE, "duration": 0.5, "height": 16, "width": 8, "win_length": 128}
    image, spec_range = SpectralRepresentation(**settings).to_image(torch.from_numpy(np.stack(list(frames))))
    return image.numpy(), spec_range.numpy()


def test_groups_and_folds_of_speakers(voices):
    reader = opened(pack_voices(voices, "--duration", 0.5, "--group-by", r"/(\w)\d", "--folds", 4))
    lines = lines_of(reader.data_dir)
    folds = {line["group"]: line["fold"] for line in lines}
    assert sorted(folds) == [*"abcd"]
    assert sorted(folds.values()) == [*"1234"]
    assert {line["part"] for line in lines if line["fold"] == "4"} == {"test"}
    assert reader.info.test_samples == 6
    assert all(line["group"] == line["file"][4] and line["fold"] == folds[line["group"]] for line in lines)
    source = reader.info.model_extra["source"]
    assert (source["folds"], source["group_by"]) == (4, r"/(\w)\d")


@pytest.mark.slow
def test_the_division_is_that_of_the_files_whatever_their_pictures(voices):
    first, other, noisy = (
        {line["file"]: line["part"] for line in lines_of(pack_voices(voices, "--duration", 0.5, *more, output=name))}
        for name, more in (("first", ()), ("other", ("--set", "n_fft=512")), ("noisy", ("--perturb", "noise")))
    )
    assert first == other == noisy


@pytest.mark.slow
def test_sounds_are_perturbed_by_their_numbers_and_voices_left_alone(voices):
    clean, noisy, again = (
        opened(pack_voices(voices, *FRAMES, *more, output=name))
        for name, more in (("clean", ()), ("noisy", ("--perturb", "mild")), ("again", ("--perturb", "mild")))
    )
    assert contents(noisy.data_dir)["train"] == contents(again.data_dir)["train"] != contents(clean.data_dir)["train"]
    perturb = noisy.info.model_extra["source"]["perturb"]
    assert [*perturb] == ["tilt", "onset", "noise", "gain"]  # without the phase of an oscillator
    assert "perturb" not in clean.info.model_extra["source"]


def test_class_lists_are_those_of_another_set_in_their_order(voices, tmp_path, capsys):
    (tmp_path / "classes.txt").write_text("emu\ncat\n")
    subset = opened(pack_voices(voices, "--duration", 0.5, "--classes", tmp_path / "classes.txt", output="subset"))
    assert subset.info.parameters[0].names == ("emu", "cat")
    assert "8 files of other classes left out." in capsys.readouterr().out
    value = {
        line["file"][:3]: subset.split(line["part"])[int(line["number"])].value.tolist()
        for line in lines_of(subset.data_dir)
    }
    assert value == {"emu": [0.0], "cat": [1.0]}
    superset = pack_voices(voices, "--duration", 0.5, "--classes", "label=dog,cat,gnu,emu", output="superset")
    assert opened(superset).info.parameters[0].names == ("dog", "cat", "gnu", "emu")
    like = pack_voices(voices, "--duration", 0.5, "--classes", superset, output="like")
    assert opened(like).info.parameters == opened(superset).info.parameters


def test_a_table_says_who_trains_validates_and_tests(voices, tmp_path):
    rows = [
        [
            f"{kind}/{speaker}{take}.wav",
            kind,
            3 + ord(speaker) - ord("a"),
            {"a": "valid", "b": "test"}.get(speaker, "train"),
            speaker,
        ]
        for kind in ("cat", "dog", "emu")
        for speaker in "abcd"
        for take in range(2)
    ]
    write_csv(tmp_path / "labels.csv", ["file", "kind", "size", "split", "group"], *rows)
    reader = opened(pack_voices(voices, *FRAMES, "--csv", tmp_path / "labels.csv", "--number", "size=1"))
    assert reader.info.parameter_names == ("kind", "size")
    for line in lines_of(reader.data_dir):
        assert line["group"] == line["file"][4]
        assert (line["part"] == "test") == (line["group"] == "b")
        assert (line["val"] == "1") == (line["group"] == "a")


def test_of_a_table_with_folds_alone_the_last_one_tests(voices, tmp_path):
    names = [f"{kind}/{speaker}0.wav" for kind in ("cat", "dog") for speaker in "abc"]
    write_csv(
        tmp_path / "labels.csv", ["file", "kind", "fold"], *([n, n[:3], {"a": 2, "b": 10, "c": 9}[n[4]]] for n in names)
    )
    lines = lines_of(pack_voices(voices, "--duration", 0.5, "--csv", tmp_path / "labels.csv"))
    assert {line["file"][4] for line in lines if line["part"] == "test"} == {"b"}
    assert {(line["file"][4], line["fold"]) for line in lines} == {("a", "2"), ("b", "10"), ("c", "9")}


@pytest.mark.parametrize(
    ("prepare", "more", "message"),
    [
        (None, [], "Give either --duration S, for one sound"),
        (None, ["--duration", 1, "--frame", 1], "Give either --duration S, for one sound"),
        (None, ["--duration", 1, "--hop", 1], "--hop and --silence are about frames"),
        (None, ["--frame", 1, "--hop", 0], "The hop of frames is 0"),
        (None, ["--frame", 1, "--silence", -3], "must be a number above 0 dB"),
        (None, ["--frame", 1, "--folds", 1], "The number of folds is 1"),
        (None, ["--frame", 1, "--folds", 9], "needs 9 files at least, one for each part, but cat (label) has 8,"),
        (None, ["--frame", 1, "--group-by", "^cat|^dog|^emu"], "needs 2 groups at least, one for each part, but cat"),
        (None, ["--frame", 1, "--group-by", "("], "no column and no regular expression"),
        (None, ["--frame", 1, "--classes", "cat"], "needs two classes or more"),
        (None, ["--frame", 1, "--classes", "no/where"], "there is no such file or dataset"),
        (None, ["--frame", 1, "--classes", "gnu,yak"], "none of the 24 files is of these classes"),
        (None, ["--frame", 1, "--perturb", "howl"], "--perturb 'howl': 'howl' is none of clip,"),
        (None, ["--frame", 1, "--perturb", "phase"], "phase varies a voice alone"),
        ("spelling", ["--frame", 1], "Label label: 'Dog ' and 'dog' are two spellings of one class"),
        ("one file", ["--frame", 1], "needs 2 files at least, one for each part, but gnu (label) has 1"),
        ("text", ["--frame", 1, "--strict"], "text.wav: cannot be read as audio"),
        ("empty", ["--frame", 1, "--strict"], "empty.wav: "),
        ("silent", ["--frame", 1, "--strict"], "silent.wav: is silent, below -100 dB full scale"),
        ("all silent", ["--frame", 1], "None of the 24 files can be used. Nothing was written."),
        ("half silent", ["--frame", 1], "needs 2 files at least, one for each part, but cat (label) has 1"),
    ],
)
def test_what_cannot_be_packed_is_one_sentence_and_leaves_nothing(voices, tmp_path, capsys, prepare, more, message):
    silence = np.zeros(RATE)
    if prepare == "spelling":
        shutil.copytree(voices / "dog", voices / "Dog ")
    elif prepare == "one file":
        (voices / "gnu").mkdir()
        shutil.copy(voices / "dog" / "a0.wav", voices / "gnu")
    elif prepare in ("text", "empty", "silent"):
        path = voices / "cat" / f"{prepare}.wav"
        path.write_text("no sound" if prepare == "text" else "")
        if prepare == "silent":
            soundfile.write(path, silence, RATE)
    elif prepare is not None:
        for path in voices.rglob("*.wav") if prepare == "all silent" else sorted((voices / "cat").iterdir())[1:]:
            soundfile.write(path, silence, RATE)
    pack_voices(voices, *more, code=1)
    errors = capsys.readouterr().err.splitlines()
    assert message in errors[-1]
    assert all(line.startswith("Skipped: ") for line in errors[:-1])
    assert entries(tmp_path) == ["voices"]


def test_classes_that_a_given_division_leaves_out_are_named(voices, tmp_path, capsys):
    rows = [[f"{kind}/a{take}.wav", kind, "train" if take else "test"] for kind in ("cat", "dog") for take in range(2)]
    write_csv(tmp_path / "labels.csv", ["file", "kind", "split"], *rows, ["emu/a0.wav", "emu", "train"])
    opened(pack_voices(voices, "--duration", 0.5, "--csv", tmp_path / "labels.csv"))
    assert "No file tests of label kind: emu." in capsys.readouterr().err
    write_csv(tmp_path / "labels.csv", ["file", "kind", "split"], *([*row[:2], "train"] for row in rows))
    pack_voices(voices, "--duration", 0.5, "--csv", tmp_path / "labels.csv", output="other", code=1)
    assert "its splits are train, without test" in capsys.readouterr().err
    write_csv(tmp_path / "labels.csv", ["file", "kind", "split"], *([*row[:2], "some"] for row in rows))
    pack_voices(voices, "--duration", 0.5, "--csv", tmp_path / "labels.csv", output="other", code=1)
    assert "its column split says 'some'; train, val and test are known" in capsys.readouterr().err


def test_a_corpus_is_recognized_and_named(voices, tmp_path, capsys):
    (voices / "_background_noise_").mkdir()
    (voices / "cat" / "a0.wav").rename(voices / "_background_noise_" / "a.wav")
    (voices / "validation_list.txt").write_text("cat/a1.wav\n")
    (voices / "testing_list.txt").write_text("\n".join(f"{kind}/b0.wav" for kind in ("cat", "dog", "emu")))
    reader = opened(pack_voices(voices, "--duration", 0.5))
    assert (
        "Read as Speech Commands (validation_list.txt and testing_list.txt; _background_noise_"
        in capsys.readouterr().out
    )
    lines = lines_of(reader.data_dir)
    assert [line["file"] for line in lines if line["val"] == "1"] == ["cat/a1.wav"]
    assert [line["file"] for line in lines if line["part"] == "test"] == ["cat/b0.wav", "dog/b0.wav", "emu/b0.wav"]
    assert reader.info.parameters[0].names == ("cat", "dog", "emu")
