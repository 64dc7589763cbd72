"""Where a dataset lies: what the system refuses is said in words, and no two datasets are joined to one."""

import errno
import gc
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from src.errors import VIMHError
from src.files import exchange
from src.vimh import folder as folder_module
from src.vimh import reader as reader_module
from src.vimh.format import INFO_NAME, SPLITS
from src.vimh.reader import VIMHReader, read_description, read_info

ROOT = Path(__file__).parents[2]
ANY_NAME = (INFO_NAME, *SPLITS, "train_values.npy", "test_batch")


@pytest.fixture
def data_dir(plain, tmp_path):
    """A dataset with every kind of file, but for those of a pickle: these are read where there are no others."""
    return with_values(plain()).write(tmp_path / "set")


def with_values(dataset):
    dataset.values = {split: dataset.decoded(split) for split in dataset.records}
    return dataset


def refusal(path):
    """The one message of all ways to open a dataset."""
    messages = set()
    for read in (VIMHReader, read_info, read_description):
        with pytest.raises(VIMHError) as caught:
            read(path)
        messages.add(str(caught.value))
    (message,) = messages
    assert "\n" not in message
    return message


# paths that cannot be read


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no\0thing", "embedded null"),
        ("\ud800", "surrogates not allowed"),
        ("x" * 300, "File name too long"),
        ("x/" * 3000, "File name too long"),
        ("loop", "symbolic links"),
        ("loop/deeper", "symbolic links"),
        ("pipe", "Not a directory"),
        ("file", "Not a directory"),
        ("file/deeper", "Not a directory"),
        ("nothing", "not a dataset, there is no such directory"),
        ("to_nowhere", "not a dataset, there is no such directory"),
        ("empty", f"not a dataset, it holds no {INFO_NAME}"),
    ],
)
def test_a_path_that_is_no_directory_of_a_dataset_is_named(tmp_path, name, says):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to_nowhere").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    message = refusal(tmp_path / name)
    assert says in message
    assert name.strip("/") in message or repr(name)[1:-1] in message


@pytest.mark.parametrize("name", ANY_NAME)
@pytest.mark.parametrize("kind", ["directory", "pipe", "device", "loop", "long name"])
def test_a_file_of_a_dataset_that_is_none_is_named(data_dir, name, kind):
    path = data_dir / name
    path.unlink(missing_ok=True)
    if name.endswith("_batch"):
        (data_dir / name.removesuffix("_batch")).unlink()
    makers = {
        "directory": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "loop": lambda: path.symlink_to(name),
        "long name": lambda: path.symlink_to("x" * 300),
    }
    makers[kind]()
    with pytest.raises(VIMHError, match=rf"{name}( is a directory, a pipe or a device|: cannot be read)"):
        VIMHReader(data_dir)


@pytest.mark.parametrize("name", ANY_NAME)
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE])
def test_what_the_system_refuses_to_open_is_named(data_dir, name, number, monkeypatch):
    if name.endswith("_batch"):
        (data_dir / name.removesuffix("_batch")).rename(data_dir / name)
    usual = os.open

    def refuse(path, *args, **kwargs):
        if os.fspath(path) == name:
            raise OSError(number, os.strerror(number), path)
        return usual(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VIMHError, match=rf"set/{name}: cannot be read \({os.strerror(number)}\)"):
        VIMHReader(data_dir)


def test_a_directory_that_may_not_be_listed_can_be_read(data_dir):
    data_dir.chmod(0o111)
    try:
        assert len(VIMHReader(data_dir).train) == 5
    finally:
        data_dir.chmod(0o755)


def test_nothing_but_the_maps_stays_open(data_dir):
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    reader = VIMHReader(data_dir)
    reader.validate()
    shutil.rmtree(data_dir)
    assert len(reader.train.read(slice(None)).code) == 5
    del reader
    for _ in range(3):
        with pytest.raises(VIMHError):
            VIMHReader(data_dir)
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before


# one dataset in the place of another


def pair(plain, base):
    """Two datasets of the same form and other content, one to be put in the place of the other."""
    with_values(plain(seed=1)).write(base / "set")
    other = with_values(plain(seed=2))
    other.info["seed"] = 2
    other.write(base / ".set.partial")
    return base / "set", base / ".set.partial"


def exchanged(first, second):
    assert exchange(first, second)


def renamed(first, second):
    """As where the system cannot exchange two names; the old one is removed at once."""
    kept = first.with_name(f".{first.name}.replaced")
    first.rename(kept)
    second.rename(first)
    shutil.rmtree(kept)


def assert_one_of(reader, *datasets):
    """All that a reader found is of one of some datasets."""
    found = [reader.info.seed, *(reader.split(split).read(slice(None)) for split in SPLITS)]
    (whole,) = [expected for expected in datasets if expected.info.get("seed") == reader.info.seed]
    for split, batch in zip(SPLITS, found[1:], strict=True):
        assert [image.tobytes() for image in batch.image] == [record["image"] for record in whole.records[split]]
        np.testing.assert_array_equal(batch.value, whole.decoded(split))


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("replace", [exchanged, renamed])
def test_a_dataset_that_is_replaced_while_it_is_opened_is_one_or_the_other(plain, tmp_path, monkeypatch, replace, step):
    """The exchange comes between any two files that are opened: JSON, records and values of each split."""
    target, new = pair(plain, tmp_path)
    opened = []  # names of files
    usual = folder_module.Folder.open

    def open_and_exchange(self, name):
        opened.append(name)
        if len(opened) == step + 1:
            replace(target, new)
        return usual(self, name)

    monkeypatch.setattr(folder_module.Folder, "open", open_and_exchange)
    assert_one_of(VIMHReader(target), plain(seed=1), with_seed(plain))
    assert len(opened) >= 5


def with_seed(plain):
    other = plain(seed=2)
    other.info["seed"] = 2
    return other


@pytest.mark.parametrize("stays", [0.1, None])
def test_a_dataset_that_is_away_for_a_moment_is_waited_for(plain, tmp_path, monkeypatch, stays):
    target, new = pair(plain, tmp_path)
    shutil.rmtree(target)
    monkeypatch.setattr(folder_module, "TRIES", 50 if stays else 3)
    timer = threading.Timer(stays or 0, new.rename, [target])
    if stays:
        timer.start()
        assert VIMHReader(target).info.seed == 2
        timer.join()
    else:  # and not for ever
        with pytest.raises(VIMHError, match="set: not a dataset, there is no such directory"):
            VIMHReader(target)


def test_a_dataset_that_is_replaced_without_end_is_refused(plain, tmp_path, monkeypatch):
    target, new = pair(plain, tmp_path)
    monkeypatch.setattr(folder_module, "TRIES", 3)
    usual = reader_module.map_records
    monkeypatch.setattr(reader_module, "map_records", lambda *args: exchange(target, new) and usual(*args))
    monkeypatch.setattr(folder_module.Folder, "is_replaced", lambda self: True)
    with pytest.raises(VIMHError, match="set: is replaced by another dataset whenever it is read"):
        VIMHReader(target)


def test_a_reader_validates_what_it_has_opened_and_nothing_else(plain, tmp_path):
    target, new = pair(plain, tmp_path)
    reader = VIMHReader(target)
    exchange(target, new)
    with pytest.raises(VIMHError, match="set: another dataset has taken the place of the one that was opened"):
        reader.validate()
    exchange(target, new)
    reader.validate()


OVERWRITE = """
import sys, shutil, time
from pathlib import Path
from src.files import exchange
target, ways, end = Path(sys.argv[1]), sys.argv[2], time.monotonic() + 60
new, kept = target.with_name(".set.partial"), target.with_name(".set.replaced")
while time.monotonic() < end and not target.with_name("stop").exists():
    if ways == "exchanged":
        exchange(target, new)
    else:
        target.rename(kept)
        new.rename(target)
        kept.rename(new)
    time.sleep(0.0005)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["exchanged", "renamed"])
def test_no_opening_joins_two_datasets(plain, tmp_path, way):
    target, _ = pair(plain, tmp_path)
    writer = subprocess.Popen([sys.executable, "-c", OVERWRITE, str(target), way], cwd=ROOT)
    first, second, seen = plain(seed=1), with_seed(plain), set()
    try:
        for _ in range(1500):
            reader = VIMHReader(target)
            assert_one_of(reader, first, second)
            seen.add(reader.info.seed)
    finally:
        (tmp_path / "stop").touch()
        assert writer.wait(timeout=60) == 0
    assert seen == {None, 2}


# other processes


def test_another_process_is_handed_the_place_and_the_digest_alone(plain, tmp_path):
    sizes = []
    for n_train in (5, 5000):
        dataset = plain(n_train=5)
        dataset.records["train"] *= n_train // 5
        dataset.info["train_samples"] = n_train
        reader = VIMHReader(with_values(dataset).write(tmp_path / str(n_train)))
        sizes.append([len(pickle.dumps(item)) for item in (reader, reader.train, reader.test)])
    assert max(map(max, sizes)) < 1000
    assert max(abs(first - second) for first, second in zip(*sizes, strict=True)) < 10


@pytest.mark.parametrize("name", SPLITS)
def test_it_reads_the_same_from_wherever_it_is(data_dir, name, monkeypatch):
    monkeypatch.chdir(data_dir.parent)
    split = VIMHReader("set").split(name)
    data = pickle.dumps(split)
    monkeypatch.chdir("/")
    again = pickle.loads(data)
    assert again.info == split.info
    for ours, theirs in zip(again.read(slice(None)), split.read(slice(None)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert pickle.dumps(again) == data


@pytest.mark.parametrize("change", ["description", "gone", "replaced"])
def test_another_dataset_is_refused_to_it(plain, tmp_path, change):
    target, new = pair(plain, tmp_path)
    data = pickle.dumps(VIMHReader(target).train)
    if change == "description":
        info = json.loads((target / INFO_NAME).read_text())
        (target / INFO_NAME).write_text(json.dumps(info, indent=1))
    elif change == "gone":
        shutil.rmtree(new)
        shutil.rmtree(target)
    else:
        renamed(target, new)
    says = "there is no such directory" if change == "gone" else "another dataset has taken the place"
    with pytest.raises(VIMHError, match=f"set: .*{says}"):
        pickle.loads(data)


def test_the_same_dataset_made_again_is_taken(plain, tmp_path):
    target = with_values(plain(seed=1)).write(tmp_path / "set")
    data = pickle.dumps(VIMHReader(target).train)
    renamed(target, with_values(plain(seed=1)).write(tmp_path / "again"))
    assert len(pickle.loads(data)) == 5


def test_samples_that_lie_in_no_file_are_handed_over_themselves(data_dir):
    split = VIMHReader(data_dir).train
    records = np.array(split.records)
    records["image"][:] = 7
    again = pickle.loads(pickle.dumps(reader_module.VIMHSplit(records, split.info, split.path, split.exact)))
    assert (again.read(slice(None)).image == 7).all()
