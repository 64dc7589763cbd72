"""Files and directories that exist whole or not at all."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from src.files import atomic_file, claim_directory, exchange, write_atomically


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
