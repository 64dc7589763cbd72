"""Reading and writing datasets: nothing is lost, nothing is guessed, and a directory is a whole dataset or none."""

import copy
import gc
import hashlib
import itertools
import json
import os
import re
import shutil
import stat
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import VIMHError
from src.vimh.format import INFO_NAME
from src.vimh.info import DatasetInfo
from src.vimh.reader import VIMHReader, read_info
from src.vimh.writer import VIMHWriter, partial_dir

EVERY_FILE = ("test", "test_values.npy", "train", "train_values.npy", INFO_NAME)


def snapshot(directory):
    """Everything about a directory's files that a reader must leave as it is."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.iterdir()}


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def batches_of(dataset, split):
    """A split as `VIMHWriter.write` takes it: image, code, spec_range, value."""
    records = dataset.records[split]
    size = (len(records), dataset.info["channels"], dataset.info["height"], dataset.info["width"])
    image = np.frombuffer(b"".join(record["image"] for record in records), np.uint8).reshape(size)
    code = np.array([[code for _, code in record["labels"]] for record in records], dtype=np.uint8)
    spec_range = np.array([record["spec"] for record in records], dtype=np.float32)
    return image, code, spec_range, dataset.decoded(split)


def write(dataset, data_dir, splits=("train", "test"), **options):
    with VIMHWriter(data_dir, DatasetInfo.from_dict(dataset.info, "test"), **options) as writer:
        for split in splits:
            writer.write(split, *batches_of(dataset, split))
    return data_dir


def assert_reads(data_dir, dataset):
    """The reader finds exactly the records of a dataset, in the order of their ids."""
    reader = VIMHReader(data_dir)
    for split, records in dataset.records.items():
        batch = reader.split(split).read(slice(None))
        assert [image.tobytes() for image in batch.image] == [record["image"] for record in records]
        assert batch.code.tolist() == [[code for _, code in sorted(record["labels"])] for record in records]
        expected = [list(np.float32(record["spec"] or ())) for record in records]
        assert batch.spec_range.tolist() == expected
        assert batch.spec_range.dtype == batch.value.dtype == np.float32
        np.testing.assert_array_equal(batch.value, dataset.values.get(split, dataset.decoded(split)))
    reader.validate()


# reading


@pytest.mark.parametrize(
    ("metadata_bytes", "stated"), [(14, 14), (14, None), (14, ...), (6, 6), (6, 3), (6, None), (6, ...)]
)
@pytest.mark.parametrize("n_parameters", [1, 3])
def test_every_layout_is_read(plain, tmp_path, metadata_bytes, stated, n_parameters):
    dataset = plain(metadata_bytes=metadata_bytes, n_parameters=n_parameters)
    dataset.info["label_encoding"] = {} if stated is ... else {"metadata_bytes": stated}
    assert_reads(dataset.write(tmp_path / "set"), dataset)


@pytest.mark.parametrize("metadata_bytes", [14, 6])
def test_ids_may_come_in_any_order(plain, tmp_path, metadata_bytes):
    dataset = plain(n_parameters=5, metadata_bytes=metadata_bytes)
    rng = np.random.default_rng(1)
    for records in dataset.records.values():
        for record in records:
            rng.shuffle(record["labels"])
    assert_reads(dataset.write(tmp_path / "set"), dataset)


@pytest.mark.parametrize("n_parameters", [1, 255])
def test_one_to_255_parameters_are_possible(plain, tmp_path, n_parameters):
    dataset = plain(n_parameters=n_parameters)
    assert_reads(dataset.write(tmp_path / "set"), dataset)


@pytest.mark.parametrize("order", ["C", "F"])
def test_exact_values_are_read_where_there_are_any(plain, tmp_path, order):
    dataset = plain()
    dataset.values["train"] = np.asarray(dataset.decoded("train") + np.float32(0.01), order=order)
    assert_reads(dataset.write(tmp_path / "set"), dataset)


def test_samples_are_read_by_number_in_any_order_and_repetition(plain, tmp_path):
    dataset = plain(n_train=9)
    train = VIMHReader(dataset.write(tmp_path / "set")).train
    numbers = np.array([8, 0, 3, 3, 7])
    whole, some = train.read(slice(None)), train.read(numbers)
    for field in whole._fields:
        np.testing.assert_array_equal(getattr(some, field), getattr(whole, field)[numbers])
    assert len(train.read(slice(2, 2)).code) == len(train.read(np.array([], dtype=int)).code) == 0


def test_a_train_split_alone_is_a_dataset(plain, tmp_path):
    dataset = plain(n_test=0)
    assert_reads(dataset.write(tmp_path / "empty_file"), dataset)
    (tmp_path / "empty_file" / "test").unlink()
    assert_reads(tmp_path / "empty_file", dataset)


def test_a_reader_changes_nothing(plain, tmp_path):
    dataset = plain()
    dataset.values = {split: dataset.decoded(split) for split in dataset.records}
    data_dir = dataset.write(tmp_path / "set")
    for path in data_dir.iterdir():
        path.chmod(stat.S_IRUSR)
    before = snapshot(data_dir)
    assert_reads(data_dir, dataset)
    assert snapshot(data_dir) == before


def test_what_is_read_is_mapped_and_cannot_be_written_through(plain, tmp_path):
    train = VIMHReader(plain().write(tmp_path / "set")).train
    assert not train.records.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        train.read(slice(0, 1)).image[:] = 0


def test_a_damaged_record_is_found_when_it_is_read(plain, tmp_path):
    dataset = plain()
    dataset.info["train_samples"] = 9000
    dataset.records["train"] = [copy.deepcopy(dataset.records["train"][0]) for _ in range(9000)]
    dataset.records["train"][8000]["labels"][1] = (7, 0)
    reader = VIMHReader(dataset.write(tmp_path / "set"))
    assert len(reader.train.read(slice(0, 8000)).code) == 8000
    for indices in (slice(7990, 8010), np.array([3, 8000, 5])):
        with pytest.raises(VIMHError, match=r"set/train: record 8000 holds the parameter ids \[0, 7\]"):
            reader.train.read(indices)
    with pytest.raises(VIMHError, match="record 8000"):
        reader.validate()


# what is refused on opening


def spoil_info(key, value):
    def spoil(data_dir):
        info = json.loads((data_dir / INFO_NAME).read_text())
        info[key] = value
        (data_dir / INFO_NAME).write_text(json.dumps(info))

    return spoil


def spoil_bytes(name, edit):
    def spoil(data_dir):
        content = (data_dir / name).read_bytes()
        (data_dir / name).write_bytes(edit(content))

    return spoil


def poke(name, offset, *values):
    return spoil_bytes(name, lambda content: bytes(_poked(bytearray(content), offset, values)))


def _poked(content, offset, values):
    for i, value in enumerate(values):
        content[offset + i] = value
    return content


def remove(name):
    return lambda data_dir: (data_dir / name).unlink()


def save_values(array):
    return lambda data_dir: np.save(data_dir / "train_values.npy", array)


def both(first, second):
    return lambda data_dir: (first(data_dir), second(data_dir))


GOOD_VALUES = save_values(np.zeros((5, 2), "f4"))


RECORD = 14 + 1 + 2 * 2 + 24  # bytes of a record of `plain()`
REFUSED = {
    "truncated": (spoil_bytes("train", lambda b: b[:-1]), ["set/train", f"{5 * RECORD - 1} bytes", f"{RECORD} bytes"]),
    "padded": (spoil_bytes("train", lambda b: b + b"\0"), ["set/train", f"{5 * RECORD + 1} bytes"]),
    "emptied": (spoil_bytes("train", lambda b: b""), ["set/train", "0 bytes"]),
    "a record short": (spoil_bytes("train", lambda b: b[:-RECORD]), ["set/train", "4 records", "JSON says 5"]),
    "a record more": (spoil_bytes("test", lambda b: b + b[:RECORD]), ["set/test", "3 records", "JSON says 2"]),
    "no train": (remove("train"), ["set", "5 train samples", "neither", "train_batch"]),
    "no test": (remove("test"), ["set", "2 test samples", "neither"]),
    "no json": (remove(INFO_NAME), ["set", "not a dataset", INFO_NAME]),
    "json of a directory": (lambda d: ((d / INFO_NAME).unlink(), (d / INFO_NAME).mkdir()), ["not a dataset"]),
    "json cut": (spoil_bytes(INFO_NAME, lambda b: b[: len(b) // 2]), [f"set/{INFO_NAME}", "not JSON"]),
    "json empty": (spoil_bytes(INFO_NAME, lambda b: b""), [f"set/{INFO_NAME}", "not JSON"]),
    "json key of wrong type": (spoil_info("height", "4"), [f"set/{INFO_NAME}", "height", "'4'"]),
    "no samples": (spoil_info("train_samples", 0), [f"set/{INFO_NAME}", "empty"]),
    "height of json": (spoil_info("height", 8), ["set/train"]),
    "transposed in json": (
        both(spoil_info("height", 3), spoil_info("width", 4)),
        ["record 0", "4, 3, 2, 2", "3, 4, 2, 2"],
    ),
    "layout of json": (spoil_info("label_encoding", {"metadata_bytes": 6}), ["set/train", f"{RECORD - 8} bytes"]),
    "huge image": (spoil_info("width", 65535), ["set/train"]),
    "image beyond all": (
        both(spoil_info("width", 65535), spoil_info("height", 65535)),
        [INFO_NAME, "65535x65535x2", "bytes"],
    ),
    "first record's height": (poke("train", 0, 5), ["set/train", "record 0", "5, 3, 2, 2", "4, 3, 2, 2"]),
    "last record's width": (poke("train", 4 * RECORD + 2, 9), ["set/train", "record 4", "4, 9, 2, 2"]),
    "first N": (poke("train", 14, 3), ["set/train", "record 0", "4, 3, 2, 3"]),
    "last N": (poke("test", RECORD + 14, 0), ["set/test", "record 1", "4, 3, 2, 0"]),
    "first ids": (poke("train", 15, 1), ["set/train", "record 0", "[1, 1]", "0 to 1"]),
    "last ids": (poke("train", 4 * RECORD + 17, 2), ["set/train", "record 4", "[0, 2]"]),
    "spec_min not a number": (poke("train", 6, 0, 0, 0xC0, 0x7F), ["set/train", "record 0", "spec_min nan"]),
    "values not an array": (
        lambda d: (d / "train_values.npy").write_bytes(b"hello"),
        ["train_values.npy", "not an array"],
    ),
    "values empty": (lambda d: (d / "train_values.npy").write_bytes(b""), ["train_values.npy", "not an array"]),
    "values cut": (both(GOOD_VALUES, spoil_bytes("train_values.npy", lambda b: b[:-1])), ["train_values.npy", "bytes"]),
    "values padded": (
        both(GOOD_VALUES, spoil_bytes("train_values.npy", lambda b: b + b"\0")),
        ["train_values.npy", "bytes"],
    ),
    "values of another length": (save_values(np.zeros((4, 2), "f4")), ["train_values.npy", "(4, 2)", "(5, 2)"]),
    "values of other columns": (save_values(np.zeros((5, 3), "f4")), ["train_values.npy", "(5, 3)", "(5, 2)"]),
    "values in double": (save_values(np.zeros((5, 2))), ["train_values.npy", "f8", "f4"]),
    "values of objects": (save_values(np.full((5, 2), None)), ["train_values.npy"]),
}


@pytest.mark.parametrize("spoil, says", REFUSED.values(), ids=REFUSED.keys())
def test_a_spoilt_dataset_is_refused_on_opening(plain, tmp_path, spoil, says):
    data_dir = plain().write(tmp_path / "set")
    VIMHReader(data_dir)
    spoil(data_dir)
    before = names_in(data_dir)
    with pytest.raises(VIMHError) as caught:
        VIMHReader(data_dir)
    assert all(text in str(caught.value) for text in says), str(caught.value)
    assert names_in(data_dir) == before


@pytest.mark.parametrize("n_test", [0, 2])
def test_a_split_that_is_there_but_not_announced_is_refused(plain, tmp_path, n_test):
    dataset = plain()
    dataset.info["test_samples"] = n_test + 1
    dataset.records["test"] = dataset.records["test"][:n_test]
    with pytest.raises(VIMHError, match="test"):
        VIMHReader(dataset.write(tmp_path / "set"))


def test_a_missing_directory_is_refused_with_the_command_to_run(tmp_path):
    with pytest.raises(VIMHError, match=r"none: not a dataset, there is no such directory.*make sds"):
        VIMHReader(tmp_path / "none")


@pytest.mark.parametrize("name", ["vimh-4x3x2", "vimh-4x3x2_8000Hz", "anything", "vimh-4x3x2-anything"])
def test_names_that_agree_or_claim_nothing_are_read(plain, tmp_path, name):
    dataset = plain()
    assert_reads(dataset.write(tmp_path / name), dataset)


@pytest.mark.parametrize("name", ["vimh-3x4x2", "vimh-4x3x20", "vimh-4x3x1_8000Hz_1p0s_7dss_simple_2p"])
def test_a_name_that_claims_other_dimensions_is_refused(plain, tmp_path, name, monkeypatch):
    data_dir = plain().write(tmp_path / name)
    claim = re.match(r"vimh-(\w+?)(_|$)", name)[1]
    with pytest.raises(VIMHError, match=f"{name}: the directory name claims .* {claim}, but .* says 4x3x2"):
        VIMHReader(data_dir)
    monkeypatch.chdir(data_dir)
    with pytest.raises(VIMHError, match=claim):
        read_info(data_dir.relative_to(data_dir))


def both_layouts():
    """Bytes that are five records of 1x1x1 with one parameter in version 2.1, and nine of version 2.0."""
    words = [1, 1, 1, 1, 1, 1, 1]  # height, width, channels; spec_min = spec_max = 2^-149 * 65537
    return (np.array(words, "<u2").tobytes() + bytes([1, 0, 200, 77])) * 5


def test_a_file_that_fits_both_layouts_is_refused_unless_the_json_says_which(plain, tmp_path):
    dataset = plain(n_parameters=1, n_test=0)
    dataset.info |= {"height": 1, "width": 1, "channels": 1}
    for metadata_bytes, n_train in ((14, 5), (6, 9)):
        dataset.info["train_samples"] = n_train
        dataset.info["label_encoding"] = {}
        dataset.records = {}
        data_dir = dataset.write(tmp_path / str(metadata_bytes))
        (data_dir / "train").write_bytes(both_layouts())
        with pytest.raises(VIMHError, match=r"no label_encoding\.metadata_bytes, and both of the layouts"):
            VIMHReader(data_dir)
        spoil_info("label_encoding", {"metadata_bytes": metadata_bytes})(data_dir)
        assert len(VIMHReader(data_dir).train) == n_train


def test_a_file_that_fits_no_layout_is_refused(plain, tmp_path):
    dataset = plain()
    dataset.info["label_encoding"] = {}
    data_dir = dataset.write(tmp_path / "set")
    poke("train", 0, 5)(data_dir)
    with pytest.raises(VIMHError, match=r"set/train: .* neither of the layouts"):
        VIMHReader(data_dir)


# full validation


def test_validation_tells_how_far_it_is(plain, tmp_path):
    seen = []
    VIMHReader(plain().write(tmp_path / "set")).validate(seen.append)
    assert seen == [5, 2]


@pytest.mark.parametrize("name", ["train", "test", "train_values.npy", "test_values.npy"])
def test_validation_finds_a_single_changed_bit(plain, tmp_path, name):
    data_dir = write(plain(), tmp_path / "set")
    reader = VIMHReader(data_dir)
    reader.validate()
    del reader
    content = bytearray((data_dir / name).read_bytes())
    content[-9] ^= 1
    (data_dir / name).write_bytes(content)
    with pytest.raises(VIMHError, match=f"set/{name}: (its SHA-256 is|sample)"):
        VIMHReader(data_dir).validate()


def test_validation_compares_sizes_and_names_of_files(plain, tmp_path):
    dataset = plain()
    digest = hashlib.sha256(dataset.file_bytes("train")).hexdigest()
    size = len(dataset.file_bytes("train"))
    for entry, says in (
        ({"train": {"size": size, "sha256": digest}}, None),
        ({"train": {"size": size - 1, "sha256": digest}}, f"set/train: has {size} bytes, but the JSON says {size - 1}"),
        ({"train": {"size": size, "sha256": "0" * 64}}, f"set/train: its SHA-256 is {digest}"),
        ({"train_batch": {"size": 1, "sha256": digest}}, "set/train_batch: the JSON lists this file"),
        ({"../secret": {"size": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}}, "secret: the JSON lists"),
        ({INFO_NAME: {"size": 1, "sha256": digest}}, "the JSON lists this file"),
    ):
        (tmp_path / "secret").write_text("secret")
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        dataset.info["files"] = entry
        reader = VIMHReader(dataset.write(tmp_path / "set"))
        if says is None:
            reader.validate()
        else:
            with pytest.raises(VIMHError, match=says):
                reader.validate()


def test_values_must_agree_with_the_codes_within_half_a_code(plain, tmp_path):
    dataset = plain()
    half = np.float32([10.0, 12.0]) / 255 / 2  # of the ranges 0 … 10, -1 … 11
    for factor, agrees in ((0.99, True), (-0.99, True), (1.01, False), (-1.01, False), (np.nan, False)):
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        value = dataset.decoded("train")
        value[3, 1] += half[1] * factor
        dataset.values = {"train": value}
        reader = VIMHReader(dataset.write(tmp_path / "set"))
        if agrees:
            reader.validate()
        else:
            with pytest.raises(VIMHError, match=r"train_values.npy: sample 3 has p1"):
                reader.validate()


# writing


def test_written_bytes_are_those_of_the_format(plain, tmp_path):
    dataset = plain()
    data_dir = write(dataset, tmp_path / "set")
    assert names_in(tmp_path) == ["set"]
    assert names_in(data_dir) == sorted(EVERY_FILE)
    for split in ("train", "test"):
        assert (data_dir / split).read_bytes() == dataset.file_bytes(split)
        values = np.load(data_dir / f"{split}_values.npy", allow_pickle=False)
        assert values.dtype == np.dtype("<f4")
        np.testing.assert_array_equal(values, dataset.decoded(split))
    dataset.values = {split: dataset.decoded(split) for split in dataset.records}
    assert_reads(data_dir, dataset)


def test_sizes_and_checksums_are_written(plain, tmp_path):
    data_dir = write(plain(), tmp_path / "set", pickle=True)
    entries = json.loads((data_dir / INFO_NAME).read_text())["files"]
    content = {path.name: path.read_bytes() for path in data_dir.iterdir() if path.name != INFO_NAME}
    assert entries == {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in content.items()
    }
    assert {"train_batch", "test_batch"} < entries.keys()


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 12), max_size=4), interleaved=st.booleans())
def test_how_it_is_cut_into_batches_changes_no_byte(plain, tmp_path_factory, cuts, interleaved):
    dataset = plain(n_train=12, n_test=12)
    base = tmp_path_factory.mktemp("cut")
    edges = [0, *sorted(cuts), 12]
    steps = [(split, a, b) for split in ("train", "test") for a, b in itertools.pairwise(edges)]
    if interleaved:
        steps.sort(key=lambda step: step[1:])
    with VIMHWriter(base / "set", DatasetInfo.from_dict(dataset.info, "test")) as writer:
        for split, a, b in steps:
            writer.write(split, *(array[a:b] for array in batches_of(dataset, split)))
    for split in ("train", "test"):
        assert (base / "set" / split).read_bytes() == dataset.file_bytes(split)
    shutil.rmtree(base)


def test_a_test_split_may_be_empty(plain, tmp_path):
    dataset = plain(n_test=0)
    assert_reads(write(dataset, tmp_path / "set", splits=["train"]), dataset)


def test_nothing_is_there_before_the_end(plain, tmp_path):
    dataset, data_dir = plain(), tmp_path / "set"
    with VIMHWriter(data_dir, DatasetInfo.from_dict(dataset.info, "test")) as writer:
        writer.write("train", *batches_of(dataset, "train"))
        writer.write("test", *batches_of(dataset, "test"))
        assert names_in(tmp_path) == [".set.partial"]
        assert INFO_NAME not in names_in(partial_dir(data_dir))
        with pytest.raises(VIMHError, match="not a dataset"):
            VIMHReader(partial_dir(data_dir))
    assert names_in(tmp_path) == ["set"]


def interrupted(dataset, data_dir, error, **options):
    with VIMHWriter(data_dir, DatasetInfo.from_dict(dataset.info, "test"), **options) as writer:
        writer.write("train", *batches_of(dataset, "train"))
        raise error


def test_an_interrupt_keeps_the_partial_and_the_next_writer_replaces_it(plain, tmp_path):
    dataset, data_dir = plain(), tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        interrupted(dataset, data_dir, KeyboardInterrupt())
    assert names_in(tmp_path) == [".set.partial"]
    assert_reads(write(dataset, data_dir), dataset)
    assert names_in(tmp_path) == ["set"]


@pytest.mark.parametrize("error", [ValueError("a bug"), VIMHError("told"), SystemExit(3), MemoryError()])
def test_an_error_leaves_nothing_and_comes_through(plain, tmp_path, error):
    with pytest.raises(type(error)) as caught:
        interrupted(plain(), tmp_path / "set", error)
    assert caught.value is error
    assert names_in(tmp_path) == []


def test_a_disk_error_leaves_nothing_and_says_what_to_do(plain, tmp_path):
    with pytest.raises(VIMHError, match=r"set: could not be written \(No space left on device\).*make room"):
        interrupted(plain(), tmp_path / "set", OSError(28, "No space left on device"))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("splits", [[], ["train"], ["train", "test", "test"]])
def test_fewer_or_more_samples_than_announced_are_refused(plain, tmp_path, splits):
    with pytest.raises(VIMHError, match=r"samples were written, but {'train': 5, 'test': 2} were announced"):
        write(plain(), tmp_path / "set", splits)
    assert names_in(tmp_path) == []


def test_a_failure_keeps_the_dataset_that_was_to_be_replaced(plain, tmp_path):
    old, new = plain(seed=1), plain(seed=2)
    data_dir = write(old, tmp_path / "set")
    for error in (KeyboardInterrupt(), OSError(28, "full"), ValueError("a bug")):
        with pytest.raises((KeyboardInterrupt, VIMHError, ValueError)):
            interrupted(new, data_dir, error, overwrite=True)
        assert (data_dir / "train").read_bytes() == old.file_bytes("train")
    assert write(new, data_dir, overwrite=True) == data_dir
    assert (data_dir / "train").read_bytes() == new.file_bytes("train")
    assert names_in(tmp_path) == ["set"]


def test_an_existing_dataset_is_not_replaced_unasked(plain, tmp_path):
    data_dir = write(plain(seed=1), tmp_path / "set")
    before = snapshot(data_dir)
    with pytest.raises(VIMHError, match=r"set: exists already.*overwrite=true"):
        write(plain(seed=2), data_dir)
    assert snapshot(data_dir) == before
    assert names_in(tmp_path) == ["set"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["directory", "empty directory", "file", "link to nowhere", "link to a directory"])
def test_what_is_no_dataset_is_left_alone(plain, tmp_path, kind, overwrite):
    target, mine = tmp_path / "set", tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    match kind:
        case "directory":
            mine.rename(target)
        case "empty directory":
            target.mkdir()
        case "file":
            target.write_text("mine")
        case "link to nowhere":
            target.symlink_to(tmp_path / "nowhere")
        case "link to a directory":
            target.symlink_to(mine)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with pytest.raises(VIMHError, match="set: exists and is not a dataset, so it is left alone"):
        write(plain(), target, overwrite=overwrite)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_a_link_to_a_dataset_is_not_followed_to_replace_it(plain, tmp_path):
    old = plain(seed=1)
    write(old, tmp_path / "real")
    (tmp_path / "set").symlink_to(tmp_path / "real")
    with pytest.raises(VIMHError, match="set: is a link"):
        write(plain(seed=2), tmp_path / "set", overwrite=True)
    assert names_in(tmp_path) == ["real", "set"]
    assert (tmp_path / "set" / "train").read_bytes() == old.file_bytes("train")


def test_a_dataset_with_foreign_files_is_not_replaced(plain, tmp_path):
    data_dir = write(plain(seed=1), tmp_path / "set")
    (data_dir / "thesis.txt").write_text("years of work")
    before = snapshot(data_dir)
    with pytest.raises(VIMHError, match=r"set/thesis.txt: is not a file of a dataset"):
        write(plain(seed=2), data_dir, overwrite=True)
    assert snapshot(data_dir) == before
    assert names_in(tmp_path) == ["set"]


def test_what_appears_at_the_target_meanwhile_is_left_alone(plain, tmp_path):
    dataset, other, data_dir = plain(seed=1), plain(seed=2), tmp_path / "set"
    with (
        pytest.raises(VIMHError, match="set: exists already"),
        VIMHWriter(data_dir, DatasetInfo.from_dict(dataset.info, "test")) as writer,
    ):
        writer.write("train", *batches_of(dataset, "train"))
        writer.write("test", *batches_of(dataset, "test"))
        other.write(data_dir)
    assert names_in(tmp_path) == ["set"]
    assert (data_dir / "train").read_bytes() == other.file_bytes("train")


def test_a_partial_with_foreign_files_is_left_alone(plain, tmp_path):
    partial = partial_dir(tmp_path / "set")
    partial.mkdir()
    (partial / "notes.txt").write_text("mine")
    (partial / "train").write_text("half")
    with pytest.raises(VIMHError, match=r"notes.txt: is not a file of a dataset.*[Rr]emove it by hand"):
        write(plain(), tmp_path / "set")
    assert names_in(partial) == ["notes.txt", "train"]
    (partial / "notes.txt").unlink()
    (partial / "train").unlink()
    (partial / "train").mkdir()
    with pytest.raises(VIMHError, match="train: is not a file"):
        write(plain(), tmp_path / "set")


def test_a_link_in_place_of_the_partial_is_not_followed(plain, tmp_path):
    mine = write(plain(seed=1), tmp_path / "mine")
    before = snapshot(mine)
    partial_dir(tmp_path / "set").symlink_to(mine)
    with pytest.raises(VIMHError, match="set: could not be written"):
        write(plain(), tmp_path / "set")
    assert snapshot(mine) == before


def test_two_writers_of_one_dataset_do_not_meet(plain, tmp_path):
    dataset, data_dir = plain(), tmp_path / "set"
    with VIMHWriter(data_dir, DatasetInfo.from_dict(dataset.info, "test")) as writer:
        writer.write("train", *batches_of(dataset, "train"))
        with pytest.raises(VIMHError, match=r"\.set\.partial: another process is writing this dataset"):
            write(plain(seed=2), data_dir)
        writer.write("test", *batches_of(dataset, "test"))
    assert_reads(data_dir, dataset)
    assert names_in(tmp_path) == ["set"]


def test_a_writer_that_comes_as_another_ends_replaces_nothing(plain, tmp_path, monkeypatch):
    first, data_dir = plain(seed=1), tmp_path / "set"
    late = VIMHWriter(data_dir, DatasetInfo.from_dict(plain(seed=2).info, "test"))
    # The first one ends between the late one's look at the target and its lock.
    monkeypatch.setattr(late, "_check_space", lambda: write(first, data_dir))
    with pytest.raises(VIMHError, match="set: exists already"):
        late.__enter__()
    assert_reads(data_dir, first)
    assert names_in(tmp_path) == ["set"]


def test_a_name_that_claims_other_dimensions_is_not_written(plain, tmp_path):
    with pytest.raises(VIMHError, match=r"vimh-5x3x2_mine.* claims .*5x3x2.*4x3x2"):
        write(plain(), tmp_path / "vimh-5x3x2_mine")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("place", ["file/set", "file/deeper/set", "x" * 300])
def test_a_place_where_nothing_can_be_written_is_refused(plain, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(VIMHError, match="could not be written"):
        write(plain(), tmp_path / place)
    assert names_in(tmp_path) == ["file"]


def test_a_dataset_larger_than_the_disk_is_refused_before_anything_is_written(plain, tmp_path):
    dataset = plain()
    dataset.info |= {"train_samples": 10**15, "total_samples": 10**15 + 2}
    with pytest.raises(VIMHError, match=r"needs [\d.]+ MB, but only [\d.]+ MB are free"):
        write(dataset, tmp_path / "set")
    assert names_in(tmp_path) == []


def peak_of_writing(dataset, data_dir, n_batches):
    """Bytes allocated at most while the same batch is written again and again."""
    arrays = [np.tile(array, (50,) + (1,) * (array.ndim - 1)) for array in batches_of(dataset, "train")]
    dataset.info["train_samples"] = len(arrays[0]) * n_batches
    tracemalloc.start()
    with VIMHWriter(data_dir, DatasetInfo.from_dict(dataset.info, "test")) as writer:
        tracemalloc.reset_peak()
        for _ in range(n_batches):
            writer.write("train", *arrays)
        writer.write("test", *batches_of(dataset, "test"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_the_writers_memory_does_not_grow_with_the_dataset(plain, tmp_path):
    few, many = (peak_of_writing(plain(), tmp_path / str(n), n) for n in (4, 400))
    assert (tmp_path / "400" / "train").stat().st_size > 50 * many / 2
    assert many < 1.2 * few + 10_000


def test_a_writer_that_fails_gives_its_files_and_its_lock_back(plain, tmp_path):
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for error in (KeyboardInterrupt(), ValueError("a bug"), OSError(28, "full")):
        with pytest.raises((KeyboardInterrupt, ValueError, VIMHError)):
            interrupted(plain(), tmp_path / "set", error)
    partial_dir(tmp_path / "set").mkdir()
    (partial_dir(tmp_path / "set") / "notes.txt").write_text("mine")
    with pytest.raises(VIMHError, match=r"notes\.txt"):
        write(plain(), tmp_path / "set")
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before
