"""Full validation: whatever contradicts itself is found, and what cannot be checked is said."""

import json
import os
import pickle
import re
import shutil

import numpy as np
import pytest

from scripts.faults.mutations import seal
from src.errors import VIMHError
from src.vimh import legacy
from src.vimh.format import INFO_NAME, SPLITS
from src.vimh.info import DatasetInfo
from src.vimh.reader import VIMHReader
from src.vimh.writer import VIMHWriter


@pytest.fixture
def made(saw_dir, tmp_path):
    """A copy of a set of the generator, with pickle copies."""
    data_dir = shutil.copytree(saw_dir, tmp_path / "set")
    reader = VIMHReader(data_dir)
    info = json.loads((data_dir / INFO_NAME).read_text())
    for split in SPLITS:
        (data_dir / f"{split}_batch").write_bytes(legacy.dumps(np.asarray(reader.split(split).records)))
        info["files"][f"{split}_batch"] = {}
    seal(data_dir, info)
    return data_dir


def edited(data_dir, edit, sealed=True):
    """Change the JSON by a function of it; with `sealed` it has the checksum of what it says then."""
    info = json.loads((data_dir / INFO_NAME).read_text())
    edit(info)
    if sealed:
        seal(data_dir, info)
    else:
        (data_dir / INFO_NAME).write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n")
    return VIMHReader(data_dir)


def setting(path, value):
    *parents, last = path.split("/")

    def edit(info):
        node = info
        for key in parents:
            node = node[key]
        node[last] = value

    return edit


# the checksum of the JSON


def test_a_written_json_holds_its_own_checksum(saw_dir):
    reader = VIMHReader(saw_dir)
    content = (saw_dir / INFO_NAME).read_text()
    assert content == reader.info.to_json() == reader.info.sealed().to_json()
    assert re.search(r'"json_sha256": "[0-9a-f]{64}"\n}\n$', content)
    assert reader.validate() == "every record, value and checksum is as it should be"


@pytest.mark.parametrize("old, new", [("Pitch", "pitch"), ('"seed": 42', '"seed":  42'), ("\n}\n", "\n}")])
def test_every_edit_of_the_json_is_found_and_hinders_nobody_to_read(made, old, new):
    text = (made / INFO_NAME).read_text()
    (made / INFO_NAME).write_text(text.replace(old, new, 1))
    reader = VIMHReader(made)
    assert len(reader.train.read(slice(None)).code) == 51
    with pytest.raises(VIMHError, match=rf"set/{INFO_NAME}: was edited: .*remove that key"):
        reader.validate()


def test_an_edit_that_is_meant_is_let_through_and_told(made):
    def edit(info):
        info["fixed_parameters"]["note_number"]["description"] = "the pitch"
        del info["json_sha256"]

    assert edited(made, edit, sealed=False).validate().endswith(f"no checksums here of {INFO_NAME}")


@pytest.mark.parametrize("digest", ["", "0" * 63, "g" * 64, 5, ["0" * 64]])
def test_a_checksum_that_is_none_is_refused_at_the_door(made, digest):
    with pytest.raises(VIMHError, match="json_sha256"):
        edited(made, setting("json_sha256", digest), sealed=False)


def test_a_dataset_without_checksums_says_so(plain, tmp_path):
    dataset = plain()
    dataset.values = {"train": dataset.decoded("train")}
    found = VIMHReader(dataset.write(tmp_path / "set")).validate()
    assert found == (
        f"every record and value is as it should be; no checksums here of test, train, train_values.npy, {INFO_NAME}"
    )


def test_a_new_description_does_not_keep_the_checksum_of_another(made, tmp_path):
    info = VIMHReader(made).info.model_copy(update={"dataset_name": "other", "files": {}})
    with VIMHWriter(tmp_path / "other", info) as writer:
        for split in SPLITS:
            batch = VIMHReader(made).split(split).read(slice(None))
            writer.write(split, batch.image, batch.code, batch.spec_range, batch.value)
    VIMHReader(tmp_path / "other").validate()


# the JSON against the configuration that made the set


CONTRADICTIONS = {
    "sample rate": (setting("sample_rate", 16000), "sample_rate is 16000, but generator.config says 8000"),
    "duration": (setting("duration", 2.0), "duration is 2.0"),
    "seed": (setting("seed", 1), "seed is 1, but generator.config says 42"),
    "sampling": (setting("sampling", "grid"), "sampling is grid"),
    "synth type": (setting("synth_type", "moog"), "synth_type is moog"),
    "size": (setting("generator/config/dataset/size", 65), "size is 64, but generator.config says 65"),
    "fixed value": (
        setting("fixed_parameters/note_number/value", 44.0),
        "fixed_parameters is {'note_number': 44.0}, but generator.config says {'note_number': 43.35}",
    ),
    "fixed name": (setting("fixed_parameters", {}), "fixed_parameters is {}"),
    "another fixed": (setting("fixed_parameters/x", {"value": 1.0}), "'x': 1.0"),
    "units": (setting("parameter_mappings/note_velocity/units", "Hz"), "note_velocity.units is Hz"),
    "step": (
        lambda info: info["parameter_mappings"]["note_velocity"].update(step=9.0, num_classes=8),
        "note_velocity.step is 9.0, but generator.config says 7",
    ),
    "order of names": (
        lambda info: info["parameter_names"].reverse(),
        "parameter_names is ['log10_decay_time', 'note_velocity']",
    ),
    "no parameters": (setting("generator/config/parameters", {"a": 1}), "generator.config cannot be used"),
}


@pytest.mark.parametrize("edit, says", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_what_contradicts_the_generator_is_found(made, edit, says):
    VIMHReader(made).validate()
    for path in made.glob("*_values.npy"):  # exact values would contradict the codes first
        path.unlink()

    def edit_all(info):
        edit(info)
        info["files"] = {}

    reader = edited(made, edit_all)
    with pytest.raises(VIMHError, match=re.escape(says)):
        reader.validate()


@pytest.mark.parametrize("ends", ["min", "max"])
def test_a_range_that_contradicts_the_generator_is_found(made, ends):
    def edit(info):
        entry = info["parameter_mappings"]["note_velocity"]
        entry[ends] += 7.0
        entry["num_classes"] += 1 if ends == "max" else -1

    (made / "train_values.npy").unlink()
    (made / "test_values.npy").unlink()
    with pytest.raises(VIMHError, match=rf"note_velocity.{ends} is "):
        edited(made, lambda info: (edit(info), info.update(files={}))).validate()


@pytest.mark.parametrize("config", [None, 5, [], {}, {"dataset": 5}, {"parameters": None}, {"dataset": {"seed": 42}}])
def test_what_the_generator_leaves_open_contradicts_nothing(made, config):
    edited(made, setting("generator/config", config)).validate()
    edited(made, setting("generator", None)).validate()


def test_a_part_of_a_set_has_fewer_samples_than_its_configuration(made):
    def edit(info):
        info["generator"]["config"]["dataset"]["size"] = 128
        info["shard"] = {"index": 0, "count": 2}

    edited(made, edit).validate()


# keys that stand there twice


@pytest.mark.parametrize("key", ["height", "seed", "parameter_mappings", "description", "dataset", "value"])
@pytest.mark.parametrize("same", [True, False])
def test_a_key_that_stands_twice_is_refused_at_the_door(made, key, same):
    text = (made / INFO_NAME).read_text()
    entry = re.search(rf'"{key}": ', text)
    added = f'"{key}": {json.dumps(json.JSONDecoder().raw_decode(text[entry.end() :])[0]) if same else "null"}, '
    (made / INFO_NAME).write_text(text[: entry.start()] + added + text[entry.start() :])
    with pytest.raises(VIMHError, match=rf"set/{INFO_NAME}: the key '{key}' stands there twice"):
        VIMHReader(made)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"a": ' + "9" * 100_000 + "}"])
def test_what_no_parser_takes_is_refused_at_the_door(text):
    with pytest.raises(VIMHError, match=r"^here\.json: "):
        DatasetInfo.from_json(text, "here.json")


def test_a_json_of_any_size_is_refused_without_being_read(plain, tmp_path, monkeypatch):
    data_dir = plain().write(tmp_path / "set")
    monkeypatch.setattr("src.vimh.reader.MAX_INFO_BYTES", 1000)
    with (data_dir / INFO_NAME).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(VIMHError, match=rf"set/{INFO_NAME}: has more than 1000 bytes"):
        VIMHReader(data_dir)


# values


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("indices", [slice(None), slice(3, 4), np.array([0, 3]), np.array([3])], ids=str)
def test_values_that_are_not_finite_are_not_read(plain, tmp_path, number, indices):
    dataset = plain()
    value = dataset.decoded("train")
    value[3, 1] = number
    dataset.values = {"train": value}
    reader = VIMHReader(dataset.write(tmp_path / "set"))
    assert np.isfinite(reader.train.read(slice(0, 3)).value).all()
    with pytest.raises(VIMHError, match=rf"set/train_values.npy: sample 3 has p1 {number}, but a finite number"):
        reader.train.read(indices)
    with pytest.raises(VIMHError, match="sample 3"):
        reader.validate()


def test_values_beyond_what_is_stored_in_32_bits_are_not_read(plain, tmp_path):
    dataset = plain()
    dataset.info["parameter_mappings"]["p1"] = {"min": 0.0, "max": 1e300, "step": 1e299}
    reader = VIMHReader(dataset.write(tmp_path / "set"))
    with pytest.raises(VIMHError, match=r"set/train: sample \d has p1 inf, but a finite number was expected"):
        reader.train.read(slice(None))


# pickle copies


def of_batch(key, change):
    def edit(path):
        batch = pickle.loads(path.read_bytes())
        batch[key] = change(batch[key])
        path.write_bytes(pickle.dumps(batch))

    return edit


def changed_label(rows):
    return [*rows[:-1], [*rows[-1][:-1], rows[-1][-1] ^ 1]]


COPIES = {
    "pixel": (of_batch("data", lambda data: data ^ np.uint8(1)), "holds another image than .*set/test"),
    "code": (of_batch("vimh_labels", changed_label), "holds another code than"),
    "level": (of_batch("scale_factors", lambda levels: levels - np.float32(1)), "holds another spec_range than"),
    "damaged": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is not a readable pickle"),
    "empty": (lambda path: path.write_bytes(b""), "is not a readable pickle"),
    "directory": (lambda path: (path.unlink(), path.mkdir()), "a directory, a pipe or a device"),
    "far too large": (lambda path: os.truncate(path, 2**40), r"has 1099511627776 bytes, but \d+ are the most"),
}


@pytest.mark.parametrize("edit, says", COPIES.values(), ids=COPIES.keys())
def test_a_copy_that_is_none_is_found(made, edit, says):
    edit(made / "test_batch")
    reader = edited(made, lambda info: info["files"].pop("test_batch"))
    assert len(reader.test.read(slice(None)).code) == 13
    with pytest.raises(VIMHError, match=f"test_batch.* {says}"):
        reader.validate()


def test_a_copy_with_other_samples_is_found(made):
    batch = pickle.loads((made / "test_batch").read_bytes())
    batch |= {key: batch[key][1:] for key in ("data", "vimh_labels", "scale_factors")}
    (made / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(VIMHError, match=r"test_batch: holds 12 samples, but .*set/test 13"):
        edited(made, lambda info: None).validate()


def test_a_copy_whose_ids_stand_in_another_order_is_one(made):
    batch = pickle.loads((made / "test_batch").read_bytes())
    batch["vimh_labels"] = [[n, *row[2:], *row[:2]] for n, *row in batch["vimh_labels"]]
    (made / "test_batch").write_bytes(pickle.dumps(batch))
    edited(made, lambda info: None).validate()
