"""Damaged datasets: whatever happens to their bytes, they are refused, or read as exactly what the bytes say.

What the bytes say is found by a parser of its own, of struct and json, record by record.
"""

import contextlib
import json
import math
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import VIMHError
from src.vimh.format import INFO_NAME
from src.vimh.reader import VIMHReader

# A damaged JSON may hold an uneven grid, and a damaged pickle an odd type: reported, and no error.
pytestmark = pytest.mark.filterwarnings("ignore")


# what the bytes say


def parse_records(content: bytes, info: dict, metadata_bytes: int) -> list[dict | None] | None:
    """Records of a file, None for one that contradicts the JSON; None if they do not fill the file."""
    n_parameters = len(info["parameter_names"])
    n_pixels = info["height"] * info["width"] * info["channels"]
    size = metadata_bytes + 1 + 2 * n_parameters + n_pixels
    if len(content) % size:
        return None
    return [
        parse_record(content[i : i + size], info, metadata_bytes, n_parameters) for i in range(0, len(content), size)
    ]


def parse_record(record: bytes, info: dict, metadata_bytes: int, n_parameters: int) -> dict | None:
    spec = struct.unpack_from("<ff", record, 6) if metadata_bytes == 14 else ()
    labels = record[metadata_bytes + 1 : metadata_bytes + 1 + 2 * n_parameters]
    codes = dict(zip(labels[::2], labels[1::2], strict=True))
    if (
        struct.unpack_from("<HHH", record) != (info["height"], info["width"], info["channels"])
        or record[metadata_bytes] != n_parameters
        or codes.keys() != set(range(n_parameters))
        or not all(math.isfinite(level) for level in spec)
        or (spec and spec[0] > spec[1])
    ):
        return None
    image = record[metadata_bytes + 1 + 2 * n_parameters :]
    return {"spec": list(spec), "code": [codes[i] for i in range(n_parameters)], "image": image}


def parse_values(content: bytes, n_samples: int, n_parameters: int) -> list[list[float]]:
    """Rows of an array file of float32 in C order."""
    (length,) = struct.unpack_from("<H", content, 8)
    assert content[:8] == b"\x93NUMPY\x01\x00"
    assert f"'shape': ({n_samples}, {n_parameters})".encode() in content[10 : 10 + length]
    numbers = struct.unpack(f"<{n_samples * n_parameters}f", content[10 + length :])
    return [list(numbers[i * n_parameters :][:n_parameters]) for i in range(n_samples)]


def decode(code: list[int], info: dict) -> list[float]:
    """Values that codes stand for."""
    ranges = [info["parameter_mappings"][name] for name in info["parameter_names"]]
    return [entry["min"] + n / 255 * (entry["max"] - entry["min"]) for n, entry in zip(code, ranges, strict=True)]


def same(ours: list[float], theirs: list[float]) -> bool:
    """Whether two rows of float32 are equal bit by bit, NaN included."""
    return np.array_equal(np.float32(ours).view(np.uint32), np.float32(theirs).view(np.uint32))


# the law


def assert_refused_or_read_truly(data_dir: Path) -> bool:
    """Whether the dataset could be opened; if so, every record was refused or read truly."""
    try:
        reader = VIMHReader(data_dir)
    except VIMHError:
        return False
    info = json.loads((data_dir / INFO_NAME).read_bytes())
    assert_describes_truly(reader, info)
    for split in ("train", "test"):
        assert_split_reads_truly(reader, split, info, data_dir)
    with contextlib.suppress(VIMHError):
        reader.validate()
    return True


def assert_describes_truly(reader: VIMHReader, info: dict) -> None:
    assert json.loads(reader.info.to_json(), parse_constant=str) == json.loads(json.dumps(info), parse_constant=str)
    for spec, name in zip(reader.info.parameters, info["parameter_names"], strict=True):
        entry = info["parameter_mappings"][name]
        assert (spec.name, spec.min, spec.max, spec.step) == (name, entry["min"], entry["max"], entry["step"])
    assert reader.info.image_shape == (info["channels"], info["height"], info["width"])


def assert_split_reads_truly(reader: VIMHReader, split: str, info: dict, data_dir: Path) -> None:
    ours = reader.split(split)
    content = (data_dir / split).read_bytes()
    layouts = {14: [14], 6: [6], 3: [6], None: [14, 6]}[info.get("label_encoding", {}).get("metadata_bytes")]
    readings = [parse_records(content, info, layout) for layout in layouts]
    (records,) = [reading for reading in readings if reading and reading[0] and reading[-1]] or [[]]
    assert len(ours) == len(records) == info[f"{split}_samples"]
    values_file = data_dir / f"{split}_values.npy"
    exact = (
        parse_values(values_file.read_bytes(), len(records), len(info["parameter_names"]))
        if values_file.exists()
        else None
    )
    for i, record in enumerate(records):
        if record is None:
            with pytest.raises(VIMHError, match=f"record {i} "):
                ours.read(np.array([i]))
            continue
        batch = ours.read(np.array([i]))
        assert batch.code.tolist() == [record["code"]]
        assert batch.image.tobytes() == record["image"]
        assert same(batch.spec_range[0], record["spec"])
        assert same(batch.value[0], decode(record["code"], info) if exact is None else exact[i])


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


def places(node, path=()):
    """Every key and index in nested data."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


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
