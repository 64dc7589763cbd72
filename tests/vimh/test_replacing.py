"""A dataset that is replaced: at every moment the old one or the new one is whole, whatever stops the program."""

import itertools
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from scripts.faults.file_operations import at, interrupt, kill, operations, refuse_from
from src.errors import VIMHError
from src.files import lock_directory
from src.vimh import writer
from src.vimh.format import INFO_NAME
from src.vimh.info import DatasetInfo
from src.vimh.reader import VIMHReader
from src.vimh.writer import UNFINISHED, BusyError, VIMHWriter, delete_dataset, partial_dir, settle, wait_for_writer

OLD, NEW = 1, 2
N_LAST = 15  # file operations of a replacement, from before its JSON is written to its end


@pytest.fixture
def write(plain):
    """Writes the dataset of a seed."""

    def write_seed(data_dir, seed, **options):
        dataset = plain(seed=seed)
        with VIMHWriter(data_dir, info_of(plain, seed), **options) as opened:
            for split, records in dataset.records.items():
                image = np.array([list(record["image"]) for record in records], np.uint8).reshape(-1, 2, 4, 3)
                code = np.array([[code for _, code in record["labels"]] for record in records], np.uint8)
                spec_range = np.array([record["spec"] for record in records], np.float32)
                rest = slice(opened.written[split], None)
                opened.write(split, image[rest], code[rest], spec_range[rest], dataset.decoded(split)[rest])

    return write_seed


def info_of(plain, seed):
    return DatasetInfo.from_dict(plain(seed=seed).info | {"seed": seed}, "test")


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def system(request, monkeypatch):
    """One that exchanges names in one step, and one that cannot."""
    if not request.param:
        monkeypatch.setattr(writer, "exchange", lambda first, second: False)
    return request.param


def whole(data_dir):
    """Seed of the dataset that is there and whole."""
    reader = VIMHReader(data_dir)
    reader.validate()
    return reader.info.seed


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def check_both_ways_on(write, data_dir):
    """After a stop: a dataset is there, nothing unfinished is taken for finished, and the same command ends it."""
    settle(data_dir)
    seed = whole(data_dir)
    left = set(names_in(data_dir.parent)) - {data_dir.name}
    assert left <= {partial_dir(data_dir).name}
    assert not left or (partial_dir(data_dir) / UNFINISHED).is_file()
    write(data_dir, NEW, overwrite=True, resume=True)
    assert whole(data_dir) == NEW
    assert names_in(data_dir.parent) == [data_dir.name]
    return seed


@pytest.mark.parametrize("act", [interrupt, None], ids=["interrupt", "full disk"])
def test_a_stop_at_any_file_operation_leaves_the_old_or_the_new(write, tmp_path, system, act):
    """At those of its end, as before that the old one is not touched; the next test has all."""
    write(tmp_path / "0" / "set", OLD)
    with operations(tmp_path / "0") as done:
        write(tmp_path / "0" / "set", NEW, overwrite=True)
    seeds = []
    for k in itertools.count(len(done) - N_LAST):
        data_dir = tmp_path / str(k) / "set"
        write(data_dir, OLD)
        with operations(data_dir.parent, at(k, act) if act else refuse_from(k)) as done:
            try:
                write(data_dir, NEW, overwrite=True)
            except (KeyboardInterrupt, VIMHError):
                assert len(done) >= k
        seeds.append(check_both_ways_on(write, data_dir))
        if len(done) < k:
            break
    assert seeds == sorted(seeds)  # once it is the new one, it stays
    assert set(seeds) == {OLD, NEW}


@pytest.mark.slow
def test_a_kill_at_any_file_operation_leaves_the_old_or_the_new(write, tmp_path, system):
    seeds = []
    for k in itertools.count(1):
        data_dir = tmp_path / str(k) / "set"
        write(data_dir, OLD)
        child = os.fork()
        if not child:
            with operations(data_dir.parent, at(k, kill)):
                write(data_dir, NEW, overwrite=True)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if system:
            assert whole(data_dir) in (OLD, NEW)  # without any help
        seeds.append(check_both_ways_on(write, data_dir))
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert k > 20
    assert seeds == sorted(seeds)
    assert set(seeds) == {OLD, NEW}


def test_what_was_exchanged_is_not_gone_on_with(write, tmp_path, monkeypatch):
    """A process that is killed right after the exchange leaves the old dataset where unfinished ones are."""
    data_dir = tmp_path / "set"
    write(data_dir, OLD)
    monkeypatch.setattr(writer, "delete_dataset", lambda directory: None)
    write(data_dir, NEW, overwrite=True)
    monkeypatch.undo()
    assert whole(data_dir) == NEW
    assert (partial_dir(data_dir) / INFO_NAME).is_file()
    settle(data_dir)
    assert names_in(tmp_path) == ["set"]


def test_what_a_living_process_is_writing_is_left_alone(plain, write, tmp_path):
    data_dir = tmp_path / "set"
    write(data_dir, OLD)
    partial_dir(data_dir).mkdir()
    lock = lock_directory(partial_dir(data_dir))
    data_dir.rename(tmp_path / ".set.replaced")
    settle(data_dir)
    assert names_in(tmp_path) == [".set.partial", ".set.replaced"]
    os.close(lock)
    settle(data_dir)
    assert names_in(tmp_path) == ["set"]
    assert whole(data_dir) == OLD


def test_foreign_files_in_a_leftover_stay(write, tmp_path):
    data_dir = tmp_path / "set"
    write(data_dir, OLD)
    for left in (".set.partial", ".set.replaced"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "thesis.txt").write_text("years of work")
        settle(data_dir)
        assert names_in(tmp_path / left) == ["thesis.txt"]
        with pytest.raises(VIMHError, match=r"thesis\.txt: is not a file of a dataset"):
            delete_dataset(tmp_path / left)
        (tmp_path / left / "thesis.txt").unlink()
        settle(data_dir)
        assert names_in(tmp_path) == ["set"]


def test_a_half_written_description_is_begun_anew(plain, write, tmp_path):
    data_dir, text = tmp_path / "set", info_of(plain, NEW).to_json()
    for half in ("", text[:100]):
        partial_dir(data_dir).mkdir()
        (partial_dir(data_dir) / UNFINISHED).write_text(half)
        write(data_dir, NEW, resume=True)
        assert whole(data_dir) == NEW
        delete_dataset(data_dir)
    assert names_in(tmp_path) == []


def test_whoever_would_write_the_same_waits_and_whoever_would_not_is_refused(plain, write, tmp_path):
    data_dir = tmp_path / "set"
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt), VIMHWriter(data_dir, info_of(plain, NEW)):
        with pytest.raises(BusyError, match="another process is writing this dataset"):
            write(data_dir, NEW)
        with pytest.raises(VIMHError, match="another process is writing this dataset") as caught:
            write(data_dir, OLD)
        assert not isinstance(caught.value, BusyError)
        waiting = pool.submit(wait_for_writer, data_dir)
        assert not waiting.done()
        raise KeyboardInterrupt
    waiting.result(timeout=60)
    wait_for_writer(tmp_path / "nothing")
    write(data_dir, OLD)
    assert whole(data_dir) == OLD


def test_one_of_many_writers_at_once_makes_the_dataset(write, tmp_path):
    def make(_):
        while True:
            try:
                return write(tmp_path / "set", NEW)
            except BusyError:
                wait_for_writer(tmp_path / "set")
            except VIMHError as error:
                return str(error)

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(make, range(24)))
    assert said.count(None) == 1
    assert all("exists already" in text for text in said if text)
    assert whole(tmp_path / "set") == NEW
    assert names_in(tmp_path) == ["set"]


@pytest.mark.parametrize(
    ("spec_range", "value"),
    [
        ((-80, np.inf), 0),
        ((-np.inf, 0), 0),
        ((np.nan, 0), 0),
        ((-80, np.nan), 0),
        ((-80, 41), 0),
        ((0, -1), 0),
        ((-80, 0), np.nan),
        ((-80, 0), np.inf),
    ],
)
def test_what_no_reader_would_take_is_not_written(plain, tmp_path, spec_range, value):
    levels, values = np.tile(np.float32([-80, 40]), (3, 1)), np.zeros((3, 2), np.float32)
    levels[1], values[1, 1] = spec_range, value
    pixels, codes = np.zeros((3, 2, 4, 3), np.uint8), np.zeros((3, 2), np.uint8)
    said = rf"set: train sample 3 \(p0 0, p1 {value:g}\) has levels from {spec_range[0]:g} to {spec_range[1]:g} dB"
    with pytest.raises(VIMHError, match=said), VIMHWriter(tmp_path / "set", info_of(plain, NEW)) as opened:
        opened.write("train", pixels[:2], codes[:2], levels[::2], values[::2])
        opened.write("train", pixels, codes, levels, values)
    assert names_in(tmp_path) == []
