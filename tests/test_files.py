"""Files and directories that exist whole or not at all."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from src.files import atomic_file, claim_directory, exchange, lock_directory, write_atomically


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_written_and_its_directory_made(tmp_path):
    write_atomically(tmp_path / "a" / "b", b"content")
    assert (tmp_path / "a" / "b").read_bytes() == b"content"
    assert names(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(error), atomic_file(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["file"]


def test_an_error_names_the_target(tmp_path):
    (tmp_path / "target").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_atomically(tmp_path / "target", b"content")
    assert str(tmp_path / "target") in (caught.value.filename, caught.value.filename2)
    assert names(tmp_path) == ["target"]


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    calls = []
    fsync = os.fsync

    def record(descriptor):
        calls.append(names(tmp_path))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", record)
    write_atomically(tmp_path / "file", b"content")
    (before, after) = calls
    assert "file" not in before
    assert after == ["file"]


def test_every_claim_is_another_directory(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim_directory, [tmp_path / "runs" / "now"] * 40))
    assert sorted(path.name for path in claimed) == sorted(["now", *(f"now_{n}" for n in range(2, 41))])


def test_numbers_go_on_from_the_one_that_is_wanted(tmp_path):
    claimed = [claim_directory(tmp_path / name).name for name in ("now_3", "now_3", "00-00-00", "00-00-00", "_7", "_7")]
    assert claimed == ["now_3", "now_4", "00-00-00", "00-00-00_2", "_7", "_7_2"]


def test_a_lock_is_for_one_and_stays_with_its_directory(tmp_path):
    (tmp_path / "first").mkdir()
    lock = lock_directory(tmp_path / "first")
    with pytest.raises(BlockingIOError):
        lock_directory(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "renamed")
    with pytest.raises(FileNotFoundError):
        lock_directory(tmp_path / "first")
    with pytest.raises(BlockingIOError):
        lock_directory(tmp_path / "renamed")
    os.close(lock)
    os.close(lock_directory(tmp_path / "renamed", wait=True))


def test_who_waits_for_a_lock_gets_that_of_the_name(tmp_path):
    """The directory that was locked is another by then, as when a dataset that was finished got its name."""
    (tmp_path / "name").mkdir()
    lock = lock_directory(tmp_path / "name")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock_directory, tmp_path / "name", wait=True)
        (tmp_path / "name").rename(tmp_path / "finished")
        (tmp_path / "name").mkdir()
        os.close(lock)
        got = waiting.result(timeout=60)
    with pytest.raises(BlockingIOError):
        lock_directory(tmp_path / "name")
    os.close(lock_directory(tmp_path / "finished"))
    os.close(got)


def test_exchanged_names_mean_the_other_content(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    assert exchange(tmp_path / "first", tmp_path / "second")
    assert (tmp_path / "first" / "content").read_text() == "second"
    assert (tmp_path / "second" / "content").read_text() == "first"


def test_what_is_missing_cannot_be_exchanged(tmp_path):
    (tmp_path / "first").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "first", tmp_path / "second")
    assert names(tmp_path) == ["first"]
