"""Legacy pickles: they are read as plain data, and nothing that is in them is ever run."""

import functools
import io
import os
import pickle
import sys
import warnings

import numpy as np
import pytest

from src.errors import VIMHError
from src.vimh import legacy
from src.vimh.info import DatasetInfo
from src.vimh.reader import VIMHReader
from src.vimh.writer import VIMHWriter


def content_of(dataset, split, metadata_bytes=14):
    """The dict of a split as the format's text describes it."""
    info, records = dataset.info, dataset.records[split]
    content = {
        "data": np.frombuffer(b"".join(record["image"] for record in records), np.uint8).reshape(len(records), -1),
        "vimh_labels": [[len(r["labels"])] + [n for label in r["labels"] for n in label] for r in records],
        "height": info["height"],
        "width": info["width"],
        "channels": info["channels"],
    }
    if metadata_bytes == 14:
        content["scale_factors"] = np.array([record["spec"] for record in records], dtype=np.float32)
        content["image_size"] = f"{info['height']}x{info['width']}x{info['channels']}"
    return content


def only_pickles(dataset, data_dir, dumps):
    """A dataset whose splits are pickles alone."""
    dataset.write(data_dir)
    for split in dataset.records:
        (data_dir / split).unlink()
        (data_dir / f"{split}_batch").write_bytes(dumps(split))
    return data_dir


def spoilt(plain, tmp_path, stream):
    """A dataset whose train split is the given stream."""
    dataset = plain()
    data_dir = only_pickles(dataset, tmp_path / "set", lambda split: pickle.dumps(content_of(dataset, split)))
    (data_dir / "train_batch").write_bytes(stream)
    return data_dir


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("metadata_bytes", [14, 6])
def test_every_protocol_is_read(plain, tmp_path, protocol, metadata_bytes):
    dataset = plain(metadata_bytes=metadata_bytes, n_parameters=3)
    np.random.default_rng(0).shuffle(dataset.records["train"][2]["labels"])
    binary = VIMHReader(dataset.write(tmp_path / "binary"))
    pickled = VIMHReader(
        only_pickles(
            dataset,
            tmp_path / "pickled",
            lambda split: pickle.dumps(content_of(dataset, split, metadata_bytes), protocol=protocol),
        )
    )
    pickled.validate()
    for split in ("train", "test"):
        ours, theirs = binary.split(split).read(slice(None)), pickled.split(split).read(slice(None))
        assert pickled.split(split).path.name == f"{split}_batch"
        for field in ours._fields:
            np.testing.assert_array_equal(getattr(theirs, field), getattr(ours, field))


def test_the_module_names_of_numpy_1_are_read(plain, tmp_path):
    dataset = plain()
    data_dir = only_pickles(
        dataset,
        tmp_path / "set",
        lambda split: pickle.dumps(content_of(dataset, split), protocol=2).replace(b"numpy._core", b"numpy.core"),
    )
    assert b"numpy.core" in (data_dir / "train_batch").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(VIMHReader(data_dir).train.read(slice(None)).code) == 5


def test_numpy_scalars_are_plain_data(plain, tmp_path):
    dataset = plain()

    def dumps(split):
        content = content_of(dataset, split)
        content["height"] = np.int64(content["height"])
        content["vimh_labels"] = [[np.uint8(n) for n in row] for row in content["vimh_labels"]]
        return pickle.dumps(content)

    VIMHReader(only_pickles(dataset, tmp_path / "set", dumps)).validate()


def test_a_pickle_that_is_written_holds_the_records_and_the_keys_of_the_format(plain, tmp_path):
    dataset = plain()
    info = DatasetInfo.from_dict(dataset.info, "test")
    binary = VIMHReader(dataset.write(tmp_path / "plain"))
    with VIMHWriter(tmp_path / "set", info, pickle=True) as writer:
        for split in ("train", "test"):
            batch = binary.split(split).read(slice(None))
            writer.write(split, batch.image, batch.code, batch.spec_range, batch.value)
    for split in ("train", "test"):
        content = pickle.loads((tmp_path / "set" / f"{split}_batch").read_bytes())
        expected = content_of(dataset, split)
        assert content.keys() == expected.keys()
        for key in ("data", "scale_factors"):
            assert content[key].dtype == expected[key].dtype
            np.testing.assert_array_equal(content[key], expected[key])
        assert all(content[key] == expected[key] for key in expected.keys() - {"data", "scale_factors"})
        assert {type(n) for row in content["vimh_labels"] for n in row} == {int}
        (tmp_path / "set" / split).unlink()
    assert (
        VIMHReader(tmp_path / "set").train.read(slice(None)).image.tobytes() == binary.train.records["image"].tobytes()
    )


def test_the_binary_is_preferred(plain, tmp_path):
    dataset = plain()
    data_dir = dataset.write(tmp_path / "set")
    (data_dir / "train_batch").write_bytes(b"not even a pickle")
    reader = VIMHReader(data_dir)
    assert reader.train.path.name == "train"
    assert len(reader.train.read(slice(None)).code) == 5
    with pytest.raises(VIMHError, match="set/train_batch: is not a readable pickle"):  # a copy is to be the same
        reader.validate()


# hostile streams


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile_streams(mark):
    """Name to a stream that would create the file `mark`, or do worse, if any of it were run."""
    command = f"touch {mark}"
    array = pickle.dumps(np.zeros(3, np.uint8), protocol=2)
    return {
        "os.system": pickle.dumps(Call(os.system, command)),
        "protocol 0": pickle.dumps(Call(os.system, command), protocol=0),
        "in the labels": pickle.dumps({"data": np.zeros(3, np.uint8), "vimh_labels": [Call(os.system, command)]}),
        "as a key": pickle.dumps({Call(os.system, command): 1}),
        "eval": pickle.dumps(Call(eval, f"open({str(mark)!r}, 'w')")),
        "exec": pickle.dumps(Call(exec, f"open({str(mark)!r}, 'w')")),
        "open": pickle.dumps(Call(open, str(mark), "w")),
        "partial": pickle.dumps(functools.partial(os.system, command)),
        "getattr": b"\x80\x04cbuiltins\ngetattr\n.",
        "numpy load": b"cnumpy\nload\n(S'x'\ntR.",
        "numpy.f2py": b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
        "dotted module": b"\x80\x04\x8c\x05numpy\x8c\x0bdtype.mro.x\x93.",
        "INST": f"(S'{command}'\nios\nsystem\n.".encode(),
        "OBJ": f"(cos\nsystem\nS'{command}'\no.".encode(),
        "STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + pickle.dumps(command, 0)[:-1] + b"\x85R.",
        "EXT": b"\x80\x02\x82\x01.",
        "persistent id": b"Pos.system\n.",
        "before its end": f"cos\nsystem\n(S'{command}'\ntR0".encode(),
        "memo of 34 GB": b"\x80\x04]r\xff\xff\xff\x7f.",
        "bytes of 8 EB": b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        "byte array of 550 GB": b"\x80\x05\x96\x00\x00\x00\x00\x80\x00\x00\x00abc.",
        "array of 8 EB": array.replace(b"K\x03\x85", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
        "deep": b"(" * 100_000 + b".",
        "deeper": b"]" * 50_000 + b"a" * 49_999 + b".",
    }


@pytest.mark.parametrize("name", hostile_streams("x").keys())
def test_nothing_of_a_hostile_pickle_runs(plain, tmp_path, name, monkeypatch):
    mark = tmp_path / "was_here"
    stream = hostile_streams(mark)[name]
    data_dir = spoilt(plain, tmp_path, stream)
    calls = []
    monkeypatch.setattr(os, "system", calls.append)
    modules = set(sys.modules)
    with pytest.raises(VIMHError, match="set/train_batch: "):
        VIMHReader(data_dir)
    assert not mark.exists()
    assert calls == []
    assert not {name.partition(".")[0] for name in set(sys.modules) - modules} - {"numpy", "encodings"}


def test_the_hostile_streams_would_run_if_they_were_let(tmp_path):
    """Else the test above would prove nothing."""
    streams = hostile_streams(tmp_path / "was_here")
    for name in ("os.system", "protocol 0", "in the labels", "eval", "open", "INST", "OBJ", "STACK_GLOBAL"):
        (tmp_path / "was_here").unlink(missing_ok=True)
        result = pickle.Unpickler(io.BytesIO(streams[name])).load()
        getattr(result, "close", bool)()
        assert (tmp_path / "was_here").exists(), name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("os.system", "posix.system"),
        ("eval", "builtins.eval"),
        ("partial", "functools.partial"),
        ("numpy load", "numpy.load"),
        ("dotted name", "numpy.ndarray.__class__"),
        ("INST", "os.system"),
    ],
)
def test_the_global_that_was_refused_is_named(plain, tmp_path, name, expected):
    data_dir = spoilt(plain, tmp_path, hostile_streams(tmp_path / "mark")[name])
    with pytest.raises(VIMHError, match=f"train_batch: the pickle names {expected}, which is not plain data. Nothing"):
        VIMHReader(data_dir)


# damaged and contradictory streams


@pytest.mark.parametrize(
    "stream", [b"", b"\x80", b"\x80\x04", b"hello", b"\x80\x09K\x01.", b"N.", b"K\x01.", b"].", b"\x8c\x01a."]
)
def test_what_is_no_pickle_of_a_batch_is_refused(plain, tmp_path, stream):
    with pytest.raises(VIMHError, match=r"set/train_batch: (is not a readable pickle|does not hold a VIMH batch)"):
        VIMHReader(spoilt(plain, tmp_path, stream))


def replaced(content, key, value):
    content = dict(content)
    if value is ...:
        del content[key]
    else:
        content[key] = value
    return content


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", ...),
        ("data", [1, 2, 3]),
        ("data", None),
        ("data", np.zeros((5, 24), np.int16)),
        ("data", np.zeros((5, 24), np.float32)),
        ("data", np.zeros((5, 25), np.uint8)),
        ("data", np.zeros((4, 24), np.uint8)),
        ("data", np.uint8(3)),
        ("data", np.array(3, np.uint8)),
        ("vimh_labels", ...),
        ("vimh_labels", "abc"),
        ("vimh_labels", [[2, 0, 1, 1]] * 5),
        ("vimh_labels", [[2, 0, 1, 1, 1]] * 4),
        ("vimh_labels", [[2, 0, 1, 1, 1]] * 4 + [[2, 0, 1]]),
        ("vimh_labels", [[2, 0, 256, 1, 1]] * 5),
        ("vimh_labels", [[2, 0, -1, 1, 1]] * 5),
        ("vimh_labels", [[2, 0, 1.5, 1, 1]] * 5),
        ("vimh_labels", [[2, 0, "7", 1, 1]] * 5),
        ("vimh_labels", [[2, 0, None, 1, 1]] * 5),
        ("vimh_labels", [[2, 0, 10**30, 1, 1]] * 5),
        ("vimh_labels", [[1, 0, 1, 1, 1]] * 5),
        ("vimh_labels", [[2, 0, 1, 0, 1]] * 5),
        ("vimh_labels", [[2, 0, 1, 2, 1]] * 5),
        ("height", ...),
        ("height", 3),
        ("height", "4"),
        ("height", np.arange(3)),
        ("width", None),
        ("channels", ...),
        ("channels", 1),
        ("scale_factors", ...),
        ("scale_factors", np.zeros((4, 2), np.float32)),
        ("scale_factors", np.zeros((5, 2), np.float64)),
        ("scale_factors", np.zeros(10, np.float32)),
        ("scale_factors", np.full((5, 2), np.nan, np.float32)),
        ("scale_factors", np.tile(np.float32([1, 0]), (5, 1))),
        ("scale_factors", None),
    ],
)
def test_a_pickle_that_contradicts_the_json_or_itself_is_refused(plain, tmp_path, key, value):
    content = replaced(content_of(plain(), "train"), key, value)
    with pytest.raises(VIMHError, match="set/train_batch: "):
        VIMHReader(spoilt(plain, tmp_path, pickle.dumps(content)))


def test_reading_does_not_change_the_records(plain, tmp_path):
    dataset = plain()
    data_dir = only_pickles(dataset, tmp_path / "set", lambda split: pickle.dumps(content_of(dataset, split)))
    before = (data_dir / "train_batch").read_bytes()
    records = legacy.read(data_dir / "train_batch", DatasetInfo.from_dict(dataset.info, "test"))
    assert records.tobytes() == dataset.file_bytes("train")
    assert (data_dir / "train_batch").read_bytes() == before
