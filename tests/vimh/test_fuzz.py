"""Damaged datasets: whatever happens to their bytes, they are refused, or read as exactly what the bytes say.

The law, the parser that it is held to, and damages by seed are in `scripts/faults/mutations.py`.
"""

import contextlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.faults.mutations import KINDS, assert_refused_or_read_truly, mutate, parse_records, places, same
from src.errors import VIMHError
from src.vimh.format import INFO_NAME
from src.vimh.reader import VIMHReader

# A damaged JSON may hold an uneven grid, and a damaged pickle an odd type: reported, and no error.
pytestmark = pytest.mark.filterwarnings("ignore")


# damages


def damages():
    """What to do to some bytes, and where, and with what."""
    kinds = st.sampled_from(["flip", "cut", "insert"])
    step = st.tuples(kinds, st.integers(0, 2**16), st.binary(min_size=1, max_size=6))
    return st.lists(step, min_size=1, max_size=3)


def damage(content: bytes, steps) -> bytes:
    for kind, position, data in steps:
        at = position % (len(content) + 1)
        head, tail = content[:at], content[at:]
        if kind == "flip":
            tail = bytes(b ^ x for b, x in zip(tail, data, strict=False)) + tail[len(data) :]
        elif kind == "cut":
            tail = tail[data[0] :]
        else:
            head += data
        content = head + tail
    return content


class Patient:
    """A dataset directory that is damaged and healed again and again."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.healthy = {path.name: path.read_bytes() for path in data_dir.iterdir()}

    @contextlib.contextmanager
    def with_file(self, name: str, content: bytes):
        self._put(name, content)
        yield self.data_dir
        self._put(name, self.healthy[name])

    def _put(self, name: str, content: bytes) -> None:
        # A new file: one that is cut while it is still mapped would end the process.
        new = self.data_dir.parent / "new"
        new.write_bytes(content)
        os.replace(new, self.data_dir / name)


@pytest.fixture(scope="module", params=["bare", "complete"])
def patient(request, plain, tmp_path_factory):
    """A small dataset of the required keys alone, in version 2.0, and one with all there is."""
    dataset = plain(n_train=4, metadata_bytes=6 if request.param == "bare" else 14)
    if request.param == "bare":
        del dataset.info["label_encoding"]
    else:
        dataset.values = {split: dataset.decoded(split) for split in dataset.records}
        dataset.info |= {
            "total_samples": 6,
            "image_size": "4x3x2",
            "channel_labels": ["a", "b"],
            "sample_rate": 8000,
            "duration": 1.0,
            "fixed_parameters": {"note_number": {"value": 43.35, "description": "Pitch"}},
            "generator": {"version": "0", "config": {"dataset": {"size": 6, "name": None}}},
            "files": {"train": {"size": 172, "sha256": "0" * 64}},
        }
    return Patient(dataset.write(tmp_path_factory.mktemp("fuzz") / "set"))


def test_a_healthy_dataset_is_read(patient):
    assert assert_refused_or_read_truly(patient.data_dir)


@given(data=st.data(), steps=damages())
def test_damaged_bytes(patient, data, steps):
    name = data.draw(st.sampled_from(sorted(patient.healthy)))
    with patient.with_file(name, damage(patient.healthy[name], steps)) as data_dir:
        assert_refused_or_read_truly(data_dir)


@given(split=st.sampled_from(["train", "test"]), offset=st.integers(0, 2**16), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_where_it_contradicts_and_nowhere_else(patient, split, offset, value):
    """The converse: what is in order is read."""
    content = bytearray(patient.healthy[split])
    content[offset % len(content)] = value
    info = json.loads(patient.healthy[INFO_NAME])
    layout = info.get("label_encoding", {}).get("metadata_bytes", 6)
    records = parse_records(bytes(content), info, layout)
    with patient.with_file(split, bytes(content)) as data_dir:
        opened = assert_refused_or_read_truly(data_dir)
    assert opened == (records[0] is not None and records[-1] is not None)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([0, 1, 2, 14, "2.1"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
def test_other_values_in_the_json(patient, data):
    info = json.loads(patient.healthy[INFO_NAME])
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, last = data.draw(st.sampled_from(sorted(places(info), key=str)))
        node = info
        for key in parents:
            node = node[key]
        if data.draw(st.booleans(), "keep"):
            node[last] = data.draw(json_values)
        else:
            del node[last]
    with patient.with_file(INFO_NAME, json.dumps(info).encode()) as data_dir:
        assert_refused_or_read_truly(data_dir)


def pickled_content(dataset, split):
    """The dict of a split as the format's text describes it."""
    records = dataset.records[split]
    return {
        "data": np.frombuffer(b"".join(record["image"] for record in records), np.uint8).reshape(len(records), -1),
        "vimh_labels": [[2, *(n for label in record["labels"] for n in label)] for record in records],
        "height": 4,
        "width": 3,
        "channels": 2,
        "scale_factors": np.array([record["spec"] for record in records], dtype=np.float32),
        "image_size": "4x3x2",
    }


@pytest.fixture(scope="module", params=[0, 2, 4, 5], ids="protocol {}".format)
def pickled(request, plain, tmp_path_factory):
    """A small dataset whose splits are legacy pickles alone."""
    dataset = plain(n_train=4)
    data_dir = dataset.write(tmp_path_factory.mktemp("fuzz") / "set")
    for split in dataset.records:
        (data_dir / split).unlink()
        (data_dir / f"{split}_batch").write_bytes(pickle.dumps(pickled_content(dataset, split), request.param))
    return Patient(data_dir)


def assert_pickle_refused_or_read_truly(data_dir: Path) -> None:
    try:
        batch = VIMHReader(data_dir).train.read(slice(None))
    except VIMHError:
        return
    # It was found harmless; the unpickler in C would take gigabytes for some that are.
    content = pickle._loads((data_dir / "train_batch").read_bytes())
    assert batch.image.tobytes() == content["data"].tobytes()
    rows = np.array(content["vimh_labels"]).reshape(4, 5).tolist()
    codes = [dict(zip(row[1::2], row[2::2], strict=True)) for row in rows]
    assert batch.code.tolist() == [[code[0], code[1]] for code in codes]
    assert all(same(ours, theirs) for ours, theirs in zip(batch.spec_range, content["scale_factors"], strict=True))


def test_a_healthy_pickle_is_read(pickled):
    assert len(VIMHReader(pickled.data_dir).train) == 4
    assert_pickle_refused_or_read_truly(pickled.data_dir)


@given(steps=damages())
def test_damaged_pickles(pickled, steps):
    with pickled.with_file("train_batch", damage(pickled.healthy["train_batch"], steps)) as data_dir:
        assert_pickle_refused_or_read_truly(data_dir)


# damages by seed, as the campaign makes them


@pytest.fixture(scope="module")
def originals(plain, saw_dir, tmp_path_factory):
    """Datasets with little, with much, and from the generator, whose JSON is sealed."""
    base = tmp_path_factory.mktemp("originals")
    bare, full = plain(n_train=4, metadata_bytes=6), plain(n_train=4)
    full.values = {split: full.decoded(split) for split in full.records}
    return bare.write(base / "bare"), full.write(base / "full"), saw_dir


@pytest.mark.parametrize("seed", range(6))
def test_damages_by_seed(originals, tmp_path, seed):
    for number in range(25):
        rng = np.random.default_rng([seed, number])
        data_dir = tmp_path / str(number) / "aset"
        shutil.copytree(originals[number % len(originals)], data_dir)
        kind = mutate(data_dir, rng)
        try:
            assert_refused_or_read_truly(data_dir)
        except AssertionError as error:
            raise AssertionError(f"seed [{seed}, {number}], {kind}: {error}") from error


def test_a_damage_is_decided_by_its_seed(originals, tmp_path):
    kinds, contents = [], []
    for name in ("first", "again"):
        shutil.copytree(originals[1], tmp_path / name / "aset")
        kinds.append([kind(tmp_path / name / "aset", np.random.default_rng(3)) for kind in KINDS[3:5]])
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name / "aset").iterdir()})
    assert kinds[0] == kinds[1]
    assert contents[0] == contents[1] != {path.name: path.read_bytes() for path in originals[1].iterdir()}


def test_healthy_datasets_of_every_kind_are_read_and_valid(originals):
    for data_dir in originals:
        assert assert_refused_or_read_truly(data_dir)
        VIMHReader(data_dir).validate()
