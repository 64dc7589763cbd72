"""Where samples come from: `sources.csv` is written, read and checked with the rest of a dataset."""

import json
import shutil

import numpy as np
import pytest

from scripts.faults.mutations import seal
from src.errors import VIMHError
from src.vimh.format import INFO_NAME, SOURCES_NAME, SPLITS
from src.vimh.reader import VIMHReader, read_sources
from src.vimh.sources import HEADING, Sources
from src.vimh.writer import VIMHWriter, delete_dataset

ODD = ['a, "b"', "two\nlines", "ünï", "=1+1", " x ", "\\xff"]


def rows(n, first=0):
    """Lines of some samples, without part and number: four of each file, in ten folds."""
    return [
        (f"{ODD[i % len(ODD)]}/{i // 4}.wav", repr(0.25 * (i % 4)), f"group {i // 8}", str(i % 10), str(i % 2))
        for i in range(first, first + n)
    ]


@pytest.fixture
def made(saw_dir, tmp_path):
    """The saw set, as if it came from files."""
    reader = VIMHReader(saw_dir)
    info = reader.info.model_copy(update={"files": {}, "json_sha256": None, "dataset_name": "set"})
    sources = {"train": Sources.of(rows(51)), "test": Sources.of(rows(13, 51))}
    with VIMHWriter(tmp_path / "set", info, sources=sources) as writer:
        for split in SPLITS:
            batch = reader.split(split)[:]
            writer.write(split, batch.image, batch.code, batch.spec_range, batch.value)
    return tmp_path / "set"


def test_what_was_written_is_read_again(made):
    reader = VIMHReader(made)
    assert reader.validate() == "every record, value and checksum is as it should be"
    assert SOURCES_NAME in reader.info.files
    for found in (read_sources(made), reader.sources):
        for part, first, count in (("train", 0, 51), ("test", 51, 13)):
            file, start, group, fold, val = zip(*rows(count, first), strict=True)
            assert (found[part].file.tolist(), found[part].group.tolist()) == ([*file], [*group])
            assert found[part].start.tolist() == [float(text) for text in start]
            assert (found[part].fold.tolist(), found[part].val.tolist()) == ([*fold], [text == "1" for text in val])
    text = (made / SOURCES_NAME).read_bytes().decode()
    assert text.startswith('part,number,file,start,group,fold,val\ntrain,0,"a, ""b""/0.wav",0.0,group 0,0,0\n')


def test_some_of_them_are_taken_and_joined():
    sources = Sources.of(rows(9))
    joined = sources.take(np.arange(4)).followed_by(sources.take(np.arange(9) >= 4))
    for name in HEADING[2:]:
        assert np.array_equal(getattr(joined, name), getattr(sources, name))
    assert len(sources.take(np.array([], dtype=int))) == len(Sources.of([])) == 0


def test_a_set_without_them_has_none(saw_dir):
    assert read_sources(saw_dir) is None
    assert VIMHReader(saw_dir).sources is None


def test_a_set_with_them_is_replaced_and_deleted_as_any_other(made, saw_dir):
    reader = VIMHReader(saw_dir)
    info = reader.info.model_copy(update={"files": {}, "json_sha256": None})
    with VIMHWriter(made, info, overwrite=True) as writer:
        for split in SPLITS:
            batch = reader.split(split)[:]
            writer.write(split, batch.image, batch.code, batch.spec_range, batch.value)
    assert read_sources(made) is None
    assert not [path.name for path in made.parent.iterdir() if path.name != "set"]
    shutil.copy(made / INFO_NAME, made / SOURCES_NAME)
    delete_dataset(made)
    assert not made.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("part,number", "part,nr", r"has the columns part,? ?nr, file.* and 64 lines; part, number"),
        ("train,0,", "train,1,", "the line of train sample 0 is 'train,1,"),
        ("train,0,", "test,0,", "the line of train sample 0"),
        (",0.25,", ",nan,", "the line of train sample 1"),
        (",0.25,", ",-1,", "the line of train sample 1"),
        (",0.25,", ",x,", "the line of train sample 1"),
        ("group 0,1,1\n", "group 0,1,2\n", "the line of train sample 1"),
        ("group 0,1,1\n", "group 0,1\n", "the line of train sample 1"),
        ("group 0,1,1\n", ",1,1\n", "the line of train sample 1"),
        ("group 0,1,1\n", "group 0,1,1\ntrain,2,a,0,b,,0\n", "and 65 lines"),
        ('"a, ""b""', '"a, "b"', "cannot be read as a CSV in UTF-8"),
        ("ünï", "\udcff", "cannot be read as a CSV in UTF-8"),
    ],
)
def test_whatever_contradicts_the_set_is_refused(made, old, new, message):
    content = (made / SOURCES_NAME).read_bytes()
    changed = content.replace(old.encode(), new.encode("utf-8", "surrogateescape"), 1)
    assert changed != content
    (made / SOURCES_NAME).write_bytes(changed)
    with pytest.raises(VIMHError, match=f"set/{SOURCES_NAME}: "):
        VIMHReader(made).validate()
    info = json.loads((made / INFO_NAME).read_text())
    seal(made, info)
    for refuse in (lambda: read_sources(made), lambda: VIMHReader(made).validate(), lambda: VIMHReader(made).sources):
        with pytest.raises(VIMHError, match=f"set/{SOURCES_NAME}: .*{message}"):
            refuse()


def test_a_file_that_is_far_too_large_is_not_read(made):
    with (made / SOURCES_NAME).open("ab") as file:
        file.truncate(2_000_000)
    with pytest.raises(VIMHError, match="has 2000000 bytes, but 1300000 are the most"):
        read_sources(made)
