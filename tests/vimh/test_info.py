"""`DatasetInfo`: what the JSON may say, what it may not, and that nothing of it is lost."""

import copy
import json
import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from src.errors import VIMHError
from src.params import FixedParam, ParamSpec
from src.vimh.format import INFO_NAME
from src.vimh.info import DatasetInfo, Shard, mapping_from_spec, shared_numbers

REQUIRED = {
    "format": "VIMH",
    "version": "2.1",
    "height": 4,
    "width": 3,
    "channels": 2,
    "parameter_names": ["note_velocity", "log10_decay_time"],
    "train_samples": 5,
    "test_samples": 2,
    "parameter_mappings": {
        "note_velocity": {"min": 64, "max": 127, "step": 7},
        "log10_decay_time": {"min": -2.0, "max": 0.3, "step": 0.1},
    },
}
# The keys of the format's text, with the type of each in a set that this project writes.
WRITTEN = {
    "format": str,
    "version": str,
    "dataset_name": str,
    "output_format": str,
    "height": int,
    "width": int,
    "channels": int,
    "channel_labels": list,
    "varying_parameters": int,
    "parameter_names": list,
    "train_samples": int,
    "test_samples": int,
    "total_samples": int,
    "n_samples": int,
    "sample_rate": int,
    "duration": float,
    "synth_type": str,
    "image_size": str,
    "parameter_mappings": dict,
    "fixed_parameters": dict,
    "pre_emphasis_coefficient": float,
    "spectrogram_config": dict,
    "label_encoding": dict,
    "seed": int,
    "sampling": str,
    "generator": dict,
    "files": dict,
}


def parse(data):
    return DatasetInfo.from_json(json.dumps(data), "here.json")


def changed(path, value):
    """The required keys, with one of them, however deep, replaced or, by `...`, removed."""
    data = copy.deepcopy(REQUIRED)
    *parents, last = path.split(".")
    entry = data
    for key in parents:
        entry = entry.setdefault(key, {})
    if value is ...:
        del entry[last]
    else:
        entry[last] = value
    return data


def test_the_required_keys_are_enough():
    info = parse(REQUIRED)
    assert info.image_shape == (2, 4, 3)
    assert (info.n_split("train"), info.n_split("test")) == (5, 2)
    assert info.parameters == (ParamSpec("note_velocity", 64, 127, 7), ParamSpec("log10_decay_time", -2.0, 0.3, 0.1))
    assert info.space.fixed == ()
    assert info.to_dict() == REQUIRED


def test_a_written_set_has_the_keys_of_the_format(saw_dir):
    data = json.loads((saw_dir / INFO_NAME).read_bytes())
    assert {key: type(data[key]) for key in WRITTEN} == WRITTEN
    assert data["mel_config"] is None
    assert (data["format"], data["version"], data["output_format"]) == ("VIMH", "2.1", "binary")
    assert data["image_size"] == "32x32x1"
    assert data["dataset_name"] == saw_dir.name
    assert data["label_encoding"]["metadata_bytes"] == 14
    assert data["fixed_parameters"]["note_number"] == {"value": 43.35, "description": "Pitch"}
    decay = data["parameter_mappings"]["log10_decay_time"]
    assert (decay["min"], decay["max"], decay["step"], decay["num_classes"]) == (-2.0, 0.3, 0.1, 24)
    assert {"description", "units"} <= decay.keys()


def test_nothing_of_a_written_set_is_lost(saw_dir):
    text = (saw_dir / INFO_NAME).read_text()
    info = DatasetInfo.from_json(text, "here")
    assert info.to_json() == text
    assert DatasetInfo.from_dict(info.to_dict(), "there") == info
    assert json.loads(json.dumps(info.to_dict())) == info.to_dict()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(min_size=1).map("x_{}".format), json_values, max_size=4))
def test_unknown_keys_are_kept(extra):
    data = changed("parameter_mappings.note_velocity.x_colour", "red") | extra
    again = parse(data).to_dict()
    assert {key: again[key] for key in extra} == extra
    assert again["parameter_mappings"]["note_velocity"]["x_colour"] == "red"


def test_a_changed_copy_has_the_parameters_of_its_own():
    info = parse(REQUIRED)
    assert info.space is info.space
    assert info.space.varying == info.parameters
    copied = info.model_copy(update={"parameter_names": info.parameter_names[::-1]})
    assert copied.parameters == info.parameters[::-1]
    assert (info.parameters[0].name, info.to_dict()) == ("note_velocity", REQUIRED)


def test_it_is_frozen():
    info = parse(REQUIRED)
    with pytest.raises(ValidationError, match="frozen"):
        info.height = 5
    with pytest.raises(ValidationError, match="frozen"):
        info.parameter_mappings["note_velocity"].min = 0.0


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_missing_key_is_named(key):
    with pytest.raises(VIMHError, match=f"^here.json: the key {key} is missing.*[Rr]estore"):
        parse(changed(key, ...))


@pytest.mark.parametrize("key", ["min", "max", "step"])
def test_a_missing_key_of_a_parameter_is_named(key):
    with pytest.raises(VIMHError, match=f"the key parameter_mappings.note_velocity.{key} is missing"):
        parse(changed(f"parameter_mappings.note_velocity.{key}", ...))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "CIFAR"),
        ("version", 2.1),
        ("height", "4"),
        ("height", 4.5),
        ("height", True),
        ("height", None),
        ("height", 0),
        ("width", -1),
        ("width", 65536),
        ("channels", [2]),
        ("train_samples", "5"),
        ("train_samples", -5),
        ("test_samples", 2.5),
        ("parameter_names", "note_velocity"),
        ("parameter_names", [1, 2]),
        ("parameter_names", []),
        ("parameter_mappings", []),
        ("parameter_mappings.note_velocity", None),
        ("parameter_mappings.note_velocity.min", "64"),
        ("parameter_mappings.note_velocity.min", True),
        ("parameter_mappings.note_velocity.num_classes", "10"),
        ("label_encoding.metadata_bytes", 15),
        ("label_encoding.metadata_bytes", "14"),
        ("fixed_parameters", {"x": 3}),
        ("sample_rate", "8000"),
        ("duration", [1.0]),
        ("files", {"train": {"size": -1, "sha256": ""}}),
        ("files", ["train"]),
        ("seed", "42"),
        ("generator", "me"),
        ("channel_ranges", [[0, 1]]),
    ],
)
def test_a_wrong_type_is_named_with_what_was_found(path, value):
    with pytest.raises(VIMHError) as caught:
        parse(changed(path, value))
    message = str(caught.value)
    assert message.startswith("here.json: ")
    assert path.split(".")[-1] in message
    assert type(value) in (list, dict) or repr(value) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("image_size", "3x4x2", "image_size is 3x4x2, but the other keys make it 4x3x2"),
        ("varying_parameters", 3, "varying_parameters is 3, but the other keys make it 2"),
        ("total_samples", 8, "total_samples is 8, but the other keys make it 7"),
        ("n_samples", 5, "n_samples is 5, but the other keys make it 7"),
        ("channel_labels", ["one"], "number of channel_labels is 1, but the other keys make it 2"),
        ("train_samples", 0, "train_samples is 0: the dataset is empty"),
        ("parameter_names", ["note_velocity"] * 2, "holds a name twice"),
        ("parameter_names", ["note_velocity", "cutoff"], "parameter_mappings lacks cutoff"),
        ("parameter_names", ["note_velocity"], "the varying parameter log10_decay_time, which parameter_names lacks"),
        ("parameter_mappings.note_velocity.num_classes", 11, "num_classes is 11, but the other keys make it 10"),
        ("parameter_mappings.note_velocity.max", 64, "note_velocity: min 64.0 is not below max 64.0"),
        ("parameter_mappings.note_velocity.step", 0, "note_velocity: step 0.0 is not above 0"),
        ("parameter_mappings.note_velocity.step", 1e-300, "note_velocity: .* classes"),
        ("parameter_mappings.note_velocity.step", 5e-324, "note_velocity: .* classes"),
    ],
)
def test_a_contradiction_is_named_with_both_sides(path, value, says):
    with pytest.raises(VIMHError, match=says):
        parse(changed(path, value))


def test_all_that_is_wrong_is_named_at_once():
    data = changed("height", "4") | {"width": 0}
    del data["test_samples"]
    with pytest.raises(VIMHError) as caught:
        parse(data)
    assert all(key in str(caught.value) for key in ("height", "width", "test_samples"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "nonsense", '{"format": "VIMH",}', "\x00", '"VIMH"', "[" * 5000, b"\xff\xfe{}"]
)
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(VIMHError, match=r"^here\.json: "):
        DatasetInfo.from_json(text, "here.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(number):
    text = json.dumps(REQUIRED).replace("0.3", number)
    with pytest.raises(VIMHError):
        DatasetInfo.from_json(text, "here.json")


@pytest.mark.parametrize("data", [{"height": {1, 2}}, {"height": object()}, {}, {"height": float("nan")}])
def test_a_dict_that_is_no_plain_data_is_refused(data):
    with pytest.raises(VIMHError, match=r"^model\.ckpt: "):
        DatasetInfo.from_dict(data, "model.ckpt")


@pytest.mark.parametrize("num_classes", [{}, {"num_classes": None}])
def test_fixed_parameters_of_other_writers_are_accepted_among_the_mappings(num_classes):
    data = changed("parameter_mappings.filter_enabled", {"min": 1.0, "max": 1.0, "step": 0} | num_classes)
    assert [spec.name for spec in parse(data).parameters] == REQUIRED["parameter_names"]


def test_categories_keep_their_names():
    data = changed("parameter_mappings.note_velocity", {"min": 0, "max": 2, "step": 1, "names": ["a", "b", "c"]})
    assert parse(data).parameters[0].names == ("a", "b", "c")
    with pytest.raises(VIMHError, match="2 class names for 3 classes"):
        parse(changed("parameter_mappings.note_velocity", {"min": 0, "max": 2, "step": 1, "names": ["a", "b"]}))


@pytest.mark.parametrize(
    "spec",
    [
        ParamSpec("note_velocity", 64, 127, 7, "MIDI", "Key velocity"),
        ParamSpec("wave", 0, 1, 1, names=("saw", "square")),
    ],
)
def test_a_spec_comes_back_from_its_mapping(spec):
    mapping = mapping_from_spec(spec)
    assert mapping.num_classes == spec.n_classes
    assert mapping.categorical == bool(spec.names)
    data = changed("parameter_names", [spec.name]) | {
        "parameter_mappings": {spec.name: mapping.model_dump(mode="json")},
    }
    assert parse(data).parameters == (spec,)


def test_fixed_parameters_come_as_a_type():
    data = changed("fixed_parameters", {"note_number": {"value": 43.35, "description": "Pitch"}})
    assert parse(data).space.fixed == (FixedParam("note_number", 43.35, "Pitch"),)


def test_an_uneven_grid_of_a_stored_set_is_read_and_reported():
    data = changed("parameter_mappings.note_velocity.step", 6.5)
    with pytest.warns(UserWarning, match="note_velocity: the range is 9.6923 steps"):
        info = parse(data)
    assert info.parameters[0].n_classes == 11
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.all(parse(data).parameters[0].index_from_code(np.arange(256)) <= 10)


def test_the_message_abbreviates_what_is_long():
    with pytest.raises(VIMHError) as caught:
        parse(changed("height", "x" * 10_000))
    assert len(str(caught.value)) < 300
    assert re.search("x{20}", str(caught.value))


@pytest.mark.parametrize("sampling", ["uniform", "sobol", "grid"])
def test_shared_numbers_are_the_test_sounds_that_another_set_trains_on(recipe_of, sampling):
    sizes = [16, 24, 40, 64]
    recipes = [recipe_of(f"dataset.size={size}", f"dataset.sampling={sampling}") for size in sizes]
    for trained in recipes:
        kept = {tuple(row) for row in trained.values(0, trained.n_train)}
        for tested in recipes:
            shared = shared_numbers(trained.info("a"), tested.info("b"))
            numbers = range(tested.n_train, tested.size)
            assert list(shared) == [n for n in numbers if tuple(tested.values(n, n + 1)[0]) in kept]
        assert not shared_numbers(trained.info("a"), trained.info("a"))


def test_sets_of_other_seeds_or_parameters_and_shards_share_no_numbers(recipe_of):
    small, large = recipe_of("dataset.size=16"), recipe_of("dataset.size=64")
    assert len(shared_numbers(large.info("a"), small.info("b"))) == 3
    for override in ("dataset.seed=43", "parameters.note_velocity.max=120"):
        assert not shared_numbers(large.info("a"), recipe_of("dataset.size=16", override).info("b"))
    assert not shared_numbers(large.info("a", Shard(index=0, count=2)), small.info("b"))
