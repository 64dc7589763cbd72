"""The generator: a configuration is a dataset, to the byte, and nothing else is ever written."""

import dataclasses
import json
import os
import re
import resource
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from hydra import compose
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from src.checkpoints.trusted import instantiate_own, instantiate_trusted
from src.errors import CheckpointError, ConfigError, NSMError, VIMHError
from src.generation import fresh_sounds, generate, is_made, make_dataset
from src.hydra_versions import initialize_configs, register_resolver
from src.programs.explain import find_cause
from src.recipe import Recipe, differences, recipe_config
from src.vimh.format import INFO_NAME, METADATA_BYTES, pack, record_dtype
from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[1]
PROGRAM = str(ROOT / "generate_vimh.py")
SMALL = ("dataset.size=24", "representation.height=8", "representation.width=8", "dataset.duration=0.1")
MEL = ("representation=mel", "representation.n_fft=512", *SMALL[1:])


def content(data_dir):
    return {path.name: path.read_bytes() for path in data_dir.iterdir()}


def names_in(directory):
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def made(recipe, data_dir, **options):
    generate(recipe, data_dir, **options)
    return data_dir


# a configuration is a dataset, to the byte


@pytest.mark.parametrize("overrides", [("dataset.size=64",), ("dataset.size=64", *MEL)], ids=["stft", "mel"])
def test_batch_size_and_threads_change_no_byte(recipe_of, tmp_path, overrides):
    recipe = recipe_of(*overrides)
    sets = [content(made(recipe, tmp_path / str(n) / "set", batch_size=n)) for n in (1, 7, 256)]
    numba.set_num_threads(1)
    try:
        sets.append(content(made(recipe, tmp_path / "one_thread" / "set")))
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert all(one == sets[0] for one in sets[1:])
    assert sets[0].keys() == {"train", "test", "train_values.npy", "test_values.npy", INFO_NAME}


@pytest.mark.parametrize("sampling", ["uniform", "sobol", "grid"])
def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(recipe_of, tmp_path, sampling):
    first, again, other = (
        content(
            made(recipe_of(*SMALL, f"dataset.sampling={sampling}", f"dataset.seed={seed}"), tmp_path / place / "set")
        )
        for seed, place in ((1, "first"), (1, "again"), (2, "other"))
    )
    assert first == again
    for name in ("train", "test", "train_values.npy", "test_values.npy"):
        assert first[name] != other[name]


@pytest.mark.parametrize("sampling", ["uniform", "sobol"])
def test_a_sample_does_not_depend_on_the_size_of_the_set(recipe_of, sampling):
    small, large = (recipe_of(*SMALL, f"dataset.sampling={sampling}", f"dataset.size={n}") for n in (4, 400))
    for ours, theirs in zip(small.make(1, 4), large.make(0, 9), strict=True):
        np.testing.assert_array_equal(ours, theirs[1:4])


@pytest.mark.parametrize("sampling", ["uniform", "sobol", "grid"])
def test_fresh_sounds_are_not_in_the_set_and_depend_on_their_numbers_alone(recipe_of, sampling):
    recipe = recipe_of(*SMALL, f"dataset.sampling={sampling}")
    n_fresh = recipe.space.n_grid_points - recipe.size if sampling == "grid" else 300
    fresh = recipe.make_fresh(0, n_fresh)
    rows = {tuple(value) for value in fresh.value}
    assert len(rows) == n_fresh
    assert not rows & {tuple(value) for value in recipe.values(0, recipe.size)}
    for found, expected in zip(recipe.make_fresh(5, 9), fresh, strict=True):
        np.testing.assert_array_equal(found, expected[5:9])
    for found, expected in zip(recipe.samples(fresh.value), fresh, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_grid_is_gone_through_over_and_over_but_for_the_stored_points(recipe_of):
    recipe = recipe_of(*SMALL, "dataset.sampling=grid")
    n_left = recipe.space.n_grid_points - recipe.size
    once = recipe.make_fresh(0, n_left).value
    far = 42 * 2**40  # where the sounds of a seed begin
    shift = far % n_left
    np.testing.assert_array_equal(
        recipe.make_fresh(far, far + 2 * n_left).value, np.roll(np.tile(once, (2, 1)), -shift, 0)
    )
    full = recipe_of(*SMALL, "dataset.sampling=grid", f"dataset.size={recipe.space.n_grid_points}")
    with pytest.raises(ConfigError, match=r"all of them are in the dataset.*stream=false"):
        full.make_fresh(0, 1)


def test_what_makes_fresh_sounds_comes_from_the_json_of_a_set(recipe_of, saw_dir):
    make = fresh_sounds(VIMHReader(saw_dir).info, instantiate_trusted)
    expected = recipe_of("dataset.size=64").make_fresh(42 * 2**40 + 7, 42 * 2**40 + 11)
    for found, wanted in zip(make(42 * 2**40 + 7, 42 * 2**40 + 11), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("generator", [None, {}, {"config": None}, {"config": 3}, {"version": "1"}], ids=str)
def test_a_set_that_does_not_say_how_it_was_made_has_no_fresh_sounds(saw_dir, generator):
    info = VIMHReader(saw_dir).info.model_copy(update={"generator": generator})
    with pytest.raises(VIMHError, match=r"vimh-32x32x1.*no generator\.config.*stream=false"):
        fresh_sounds(info, instantiate_trusted)


def test_a_recipe_of_another_set_makes_no_fresh_sounds(saw_dir, recipe_of):
    config = recipe_of("dataset.size=64", "parameters.note_velocity.step=9").config
    info = VIMHReader(saw_dir).info.model_copy(update={"generator": {"config": config}})
    with pytest.raises(VIMHError, match="describes other parameters"):
        fresh_sounds(info, instantiate_trusted)
    hostile = json.loads(json.dumps(info.generator["config"]))
    hostile["synth"]["_target_"] = "os.system"
    with pytest.raises(CheckpointError, match=r"os\.system"):
        fresh_sounds(info.model_copy(update={"generator": {"config": hostile}}), instantiate_trusted)


def test_stored_values_render_to_the_stored_bytes(recipe_of, saw_dir):
    recipe = recipe_of("dataset.size=64")
    for split in ("train", "test"):
        value = np.load(saw_dir / f"{split}_values.npy")
        sounds = recipe.samples(value)
        dtype = record_dtype(recipe.representation.image_shape, 2, METADATA_BYTES)
        assert pack(dtype, sounds.image, sounds.code, sounds.spec_range).tobytes() == (saw_dir / split).read_bytes()


def test_a_generated_set_is_valid_and_as_described(recipe_of, saw_dir):
    reader = VIMHReader(saw_dir)
    reader.validate()
    assert saw_dir.name == "vimh-32x32x1_8000Hz_1p0s_64dss_simple_2p"
    assert (len(reader.train), len(reader.test)) == (51, 13)
    assert [(spec.name, spec.n_classes) for spec in reader.info.parameters] == [
        ("note_velocity", 10),
        ("log10_decay_time", 24),
    ]
    value = np.concatenate([reader.split(split).read(slice(None)).value for split in ("train", "test")])
    assert np.array_equal(value, recipe_of("dataset.size=64").values(0, 64))


def test_the_json_holds_all_it_takes_to_make_the_set_again(saw_dir, tmp_path):
    stored = json.loads((saw_dir / INFO_NAME).read_text())["generator"]["config"]
    again = made(Recipe.from_config(stored, instantiate_trusted), tmp_path / saw_dir.name, batch_size=5)
    assert content(again) == content(saw_dir)


def test_the_json_names_no_place_and_no_machine(saw_dir):
    generator = json.loads((saw_dir / INFO_NAME).read_text())["generator"]
    assert generator["config"].keys() == {"dataset", "synth", "parameters", "representation", "channels"}
    words = ("output_dir", "batch_size", "num_threads", "overwrite", "pickle", "suffix", str(ROOT), str(saw_dir.parent))
    assert not [word for word in words if word in json.dumps(generator)]


def test_mel_settings_are_described(recipe_of, tmp_path):
    info = VIMHReader(made(recipe_of("dataset.size=4", *MEL), tmp_path / "set")).info
    assert info.mel_config["n_mels"] == 8
    assert info.mel_config["f_max"] == 4000
    assert info.channel_labels == ("log_mel",)


def test_pickle_copies_hold_the_same_records(recipe_of, tmp_path):
    data_dir = made(recipe_of(*SMALL), tmp_path / "set", pickle=True)
    binary = {split: VIMHReader(data_dir).split(split).read(slice(None)) for split in ("train", "test")}
    for split in ("train", "test"):
        (data_dir / split).rename(tmp_path / split)
    pickled = VIMHReader(data_dir)
    for split, batch in binary.items():
        assert pickled.split(split).path.name == f"{split}_batch"
        for ours, theirs in zip(batch, pickled.split(split).read(slice(None)), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("size", "fraction", "n_train"), [(2, 0.8, 1), (2, 0.01, 1), (3, 0.99, 2), (256, 0.8, 205), (10, 0.5, 5)]
)
def test_both_splits_have_samples(recipe_of, size, fraction, n_train):
    recipe = recipe_of(*SMALL, f"dataset.size={size}", f"dataset.train_fraction={fraction}")
    assert recipe.n_train == n_train
    numbers = {"train": [], "test": []}
    for split, start_, stop in recipe.batches(3):
        assert 1 <= stop - start_ <= 3
        numbers[split] += range(start_, stop)
    assert numbers == {"train": [*range(n_train)], "test": [*range(n_train, size)]}


class CountingSynth:
    """A synth that counts the sounds it has rendered."""

    def __init__(self, synth):
        self.synth = synth
        self.defaults = synth.defaults
        self.rendered = 0

    def render(self, parameters):
        waveform = self.synth.render(parameters)
        self.rendered += len(waveform)
        return waveform


def test_rendering_never_runs_far_ahead_of_writing(recipe_of, tmp_path):
    recipe = recipe_of(*SMALL, "dataset.size=2000")
    synth = CountingSynth(recipe.synth)
    ahead, total = [], 0

    def advance(n):
        nonlocal total
        total += n
        ahead.append(synth.rendered - total)

    generate(dataclasses.replace(recipe, synth=synth), tmp_path / "set", batch_size=8, advance=advance)
    assert total == 2000
    assert max(ahead) <= 8 * (2 * numba.get_num_threads() + 2)


# what is there already


def test_differences_are_listed_key_by_key():
    stored = {"dataset": {"size": 4, "seed": 1}, "representation": {"hop": None}, "gone": 1}
    wanted = {"dataset": {"size": 8, "seed": 1}, "representation": {"hop": 256}, "new": {"a": 1}}
    assert differences(stored, wanted) == [
        "dataset.size: 4 there, 8 asked for",
        "representation.hop: None there, 256 asked for",
        "gone: 1 there, (absent) asked for",
        "new: (absent) there, {'a': 1} asked for",
    ]
    assert differences(stored, stored) == []


def test_a_set_is_found_made_where_it_is_and_as_it_is(recipe_of, saw_dir, tmp_path):
    config = recipe_of("dataset.size=64").config
    assert is_made(saw_dir, config)
    assert not is_made(tmp_path / "nothing", config)
    with pytest.raises(VIMHError, match=r"dataset\.seed: 42 there, 43 asked for"):
        is_made(saw_dir, recipe_of("dataset.size=64", "dataset.seed=43").config)


def test_a_set_without_its_recipe_is_not_taken_for_ours(recipe_of, theirs):
    with pytest.raises(VIMHError, match="was not made by this generator"):
        is_made(theirs, recipe_of(*SMALL).config)


@pytest.fixture
def theirs(saw_dir, tmp_path):
    """A dataset of another program: the JSON has no generator."""
    data_dir = tmp_path / "theirs"
    data_dir.mkdir()
    for name, data in content(saw_dir).items():
        (data_dir / name).write_bytes(data)
    info = json.loads((data_dir / INFO_NAME).read_text())
    del info["generator"], info["files"]
    (data_dir / INFO_NAME).write_text(json.dumps(info))
    return data_dir


def test_a_damaged_set_is_not_taken_for_made(recipe_of, tmp_path):
    recipe = recipe_of(*SMALL)
    data_dir = made(recipe, tmp_path / "set")
    (data_dir / "train").write_bytes((data_dir / "train").read_bytes()[:-1])
    with pytest.raises(VIMHError, match=r"set/train: has .* bytes"):
        is_made(data_dir, recipe.config)


def test_a_missing_set_is_made_wherever_it_is_wanted(tmp_path, capfd):
    data_dir = tmp_path / "it's here, a=b" / "mine"
    make_dataset(data_dir, "synth/generate_simple_saw", SMALL, name="mine")
    reader = VIMHReader(data_dir)
    reader.validate()
    assert reader.info.generator["config"]["dataset"]["size"] == 24
    before = {path.name: path.stat().st_mtime_ns for path in data_dir.iterdir()}
    make_dataset(data_dir, "synth/generate_simple_saw", SMALL)
    assert {path.name: path.stat().st_mtime_ns for path in data_dir.iterdir()} == before
    with pytest.raises(VIMHError, match=r"dataset\.size: 24 there, 32 asked for"):
        make_dataset(data_dir, "synth/generate_simple_saw", [*SMALL, "dataset.size=32"])


def called(data_dir, *overrides, name=None):
    """The name that a missing set would have to have, out of the message about another one; None without a message."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 0))
        try:
            make_dataset(data_dir, "synth/generate_simple_saw", [*SMALL, *overrides], name)
        except VIMHError as error:
            return re.search(r"would be made is called (\S+)\. Correct data.data_dir", str(error))[1]
    return None


PRESCRIBED = "vimh-8x8x1_8000Hz_0p1s_24dss_simple_2p"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], PRESCRIBED),
        (["dataset.suffix=mine"], f"{PRESCRIBED}_mine"),
        (["dataset.name=mine"], "mine"),
        (["perturb=mild"], f"{PRESCRIBED}_mild"),
        (["perturb=[hum,noise]"], f"{PRESCRIBED}_hum_noise"),
    ],
    ids=str,
)
def test_a_missing_set_is_made_under_the_name_of_its_configuration_or_as_asked_for(tmp_path, overrides, name):
    assert called(tmp_path / "typo", *overrides) == name
    assert called(tmp_path / name, *overrides) is None
    assert called(tmp_path / "typo", *overrides, name="typo") is None
    assert called(tmp_path / name, *overrides, name="typo") == "typo"  # what is asked for is another one
    assert not [*tmp_path.iterdir()]


def test_a_mistyped_directory_is_told_what_is_there_by_nearest_name(saw_dir):
    typo = saw_dir.with_name(saw_dir.name.replace("64dss", "46dss"))
    with pytest.raises(VIMHError) as refused:
        make_dataset(typo, "synth/generate_simple_saw", ["dataset.size=64"])
    assert str(refused.value) == (
        f"{typo}: no dataset is there, and the one that would be made is called {saw_dir.name}. Correct data.data_dir, "
        f"or have it made under that name with data.make_dataset.name={typo.name}. Nearest there: {saw_dir.name}."
    )
    assert not typo.exists()


# the program


@pytest.fixture(scope="module")
def saw_config():
    """The configuration of the saw set, as Hydra composes it."""
    with initialize_configs(ROOT / "configs"):
        return compose("synth/generate_simple_saw")


@pytest.fixture
def program(monkeypatch, capsys, tmp_path):
    """Runs generate_vimh.py in this process; gives its exit code, output and error output."""

    def run(*arguments, output_dir=tmp_path / "out"):
        monkeypatch.setattr(sys, "argv", [PROGRAM, f"output_dir={output_dir}", *arguments])
        code = 0
        try:
            runpy.run_path(PROGRAM, run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)
    return run


def test_the_program_says_where_the_set_is_and_keeps_it(program, tmp_path):
    code, out, _ = program(*SMALL)
    data_dir = tmp_path / "out" / "vimh-8x8x1_8000Hz_0p1s_24dss_simple_2p"
    assert (code, names_in(tmp_path / "out")) == (0, [data_dir.name])
    assert out.splitlines()[-1] == str(data_dir)
    assert "24 samples" in out
    assert "samples/s" in out
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in data_dir.iterdir()}
    code, out, _ = program(*SMALL, "batch_size=5", "num_threads=1", "pickle=true")
    assert code == 0
    assert str(data_dir) in out
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in data_dir.iterdir()} == before
    assert names_in(tmp_path) == ["out"]


def test_a_set_that_another_process_has_just_made_is_kept(program, monkeypatch):
    """It was missing when this one looked, and there when it began to write."""
    assert program(*SMALL)[0] == 0
    looks = iter([lambda *_: False, is_made])
    monkeypatch.setattr("src.tasks.generate.is_made", lambda *arguments: next(looks)(*arguments))
    code, out, _ = program(*SMALL)
    assert code == 0
    assert out.startswith("Kept: ")


def test_another_set_under_the_same_name_is_refused_unless_overwritten(program, tmp_path):
    data_dir = tmp_path / "out" / "mine"
    assert program(*SMALL, "dataset.name=mine")[0] == 0
    before = content(data_dir)
    code, _, err = program(*SMALL, "dataset.name=mine", "dataset.seed=7", "parameters.note_velocity.max=120")
    assert code == 1
    assert "dataset.seed: 42 there, 7 asked for" in err
    assert "parameters.note_velocity.max: 127 there, 120 asked for" in err
    assert "overwrite=true" in err
    assert content(data_dir) == before
    assert program(*SMALL, "dataset.name=mine", "dataset.seed=7", "overwrite=true")[0] == 0
    assert VIMHReader(data_dir).info.seed == 7
    assert names_in(tmp_path / "out") == ["mine"]


@pytest.mark.parametrize("overwrite", ["true", "false"])
def test_a_foreign_directory_is_never_touched(program, tmp_path, overwrite):
    mine = tmp_path / "out" / "mine"
    mine.mkdir(parents=True)
    (mine / "train").write_text("years of work")
    code, _, err = program(*SMALL, "dataset.name=mine", f"overwrite={overwrite}")
    assert code == 1
    assert "not a dataset" in err
    assert content(mine) == {"train": b"years of work"}
    assert names_in(tmp_path / "out") == ["mine"]


def test_names_and_suffixes_may_be_numbers(program, tmp_path):
    assert program(*SMALL, "dataset.name=2024")[0] == 0
    assert program(*SMALL, "dataset.suffix=7")[0] == 0
    assert names_in(tmp_path / "out") == ["2024", "vimh-8x8x1_8000Hz_0p1s_24dss_simple_2p_7"]


# What the program says, in full.
BAD_COMMANDS = {
    "dataset.size=0": ["dataset.size is 0"],
    "dataset.duration=-1": ["dataset.duration is -1", "above 0"],
    "+parameters.cutoff.value=3": ["cutoff", "SawVoice does not know", "note_number, note_velocity, log10_decay_time"],
    "parameters.note_velocity.min=200": ["note_velocity: min 200.0 is not below max 127.0"],
    "parameters.note_velocity.step=-7": ["note_velocity: step -7.0 is not above 0"],
    "parameters.note_velocity=100": ["parameters.note_velocity is 100"],
    "representation.hop_length=9000": ["hop_length is 9000", "8000"],
    "dataset.synth_type=???": ["dataset.synth_type has no value"],
    "dataset.name=vimh-64x64x1_mine": ["vimh-64x64x1_mine", "claims", "64x64x1", "32x32x1"],
    f"dataset.name={'x' * 300}": ["xxx", "could not be written"],
    "batch_size=0": ["batch_size is 0"],
    "num_threads=0": ["num_threads is 0"],
    "shard.count=0": ["shard", "count", "0"],
    "shard.index=one": ["shard", "index", "one"],
    "shard.index=5": ["shard.index 5 of shard.count 1"],
    "dataset.sice=5": ["dataset.sice"],
    "representation=cqt": ["representation/cqt", "mel", "stft"],
    "synth._target_=src.synth.voices.NoVoice": ["src.synth.voices.NoVoice"],
    "--config-name=synth/generate_nothing": ["synth/generate_nothing", "--config-name=synth/generate_simple_saw"],
}


@pytest.mark.parametrize("argument", BAD_COMMANDS)
def test_a_bad_command_is_one_clear_message_and_nothing_is_written(program, tmp_path, argument):
    code, out, err = program(argument)
    assert code == 1
    for text in BAD_COMMANDS[argument]:
        assert text in err
    assert "Traceback" not in err
    assert "samples/s" not in out
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


BAD_VALUES = [
    ({"dataset.size": 1}, "dataset.size is 1"),
    ({"dataset.size": -5}, "dataset.size is -5"),
    ({"dataset.size": 2.5}, "dataset.size is 2.5"),
    ({"dataset.size": "many"}, "dataset.size is 'many'"),
    ({"dataset.size": None}, "dataset.size is None"),
    ({"dataset.size": True}, "dataset.size is True"),
    ({"dataset.duration": 0}, "dataset.duration is 0"),
    ({"dataset.duration": float("nan")}, "dataset.duration is nan"),
    ({"dataset.duration": float("inf")}, "duration is inf"),
    ({"dataset.duration": "long"}, "dataset.duration is 'long'"),
    ({"dataset.duration": 1e-9}, "half a sample"),
    ({"dataset.sample_rate": 0}, "dataset.sample_rate is 0"),
    ({"dataset.sample_rate": 8000.5}, "sample_rate is 8000.5"),
    ({"dataset.seed": -1}, "dataset.seed is -1"),
    ({"dataset.seed": 1.5}, "dataset.seed is 1.5"),
    ({"dataset.train_fraction": 1.5}, "dataset.train_fraction is 1.5"),
    ({"dataset.train_fraction": 0.0}, "dataset.train_fraction is 0.0"),
    ({"dataset.train_fraction": "half"}, "dataset.train_fraction is 'half'"),
    ({"dataset.sampling": "latin"}, "dataset.sampling is 'latin'; choose one of uniform, sobol, grid"),
    ({"dataset.sampling": "grid", "dataset.size": 241}, "10 x 24 = 240 distinct points, but 241 samples"),
    ({"dataset.synth_type": "a/b"}, "dataset.synth_type is 'a/b'"),
    ({"dataset.synth_type": 5}, "dataset.synth_type is 5"),
    ({"parameters": None}, "parameters is None"),
    ({"synth": "saw"}, "synth is 'saw'"),
    ({"parameters.note_velocity.step": 0}, "note_velocity: step 0.0 is not above 0"),
    ({"parameters.note_velocity.step": 0.01}, "6301 classes"),
    ({"parameters.note_velocity.max": "loud"}, "parameters.note_velocity.max is 'loud'"),
    ({"parameters.note_velocity.max": 134}, "note_velocity is 134 in voice 1; it must be within 0 to 127"),
    ({"parameters.note_number.value": 200}, "note_number is 200"),
    ({"parameters.note_number.value": float("nan")}, "note_number: value nan must be a finite number"),
    ({"parameters.note_number.description": 5}, "parameters.note_number.description is 5"),
    ({"representation.hop_length": 0}, "hop_length is 0"),
    ({"representation.win_length": 8001}, "win_length 8001 is longer than the sound's 8000 samples"),
    ({"representation.height": 41}, "n_fft 80 has 40 bins above DC, but the image has 41 rows"),
    ({"representation.height": 70000, "representation.n_fft": 140000}, "n_fft 140000 for 70000 columns or rows takes"),
    ({"representation.width": 70000, "dataset.duration": 8.75}, "32x70000x1"),
    ({"representation.n_fft": 10**9}, "n_fft 1000000000 is more than"),
    ({"dataset.duration": 1e9}, "duration 1000000000.0 s at 8000 Hz is more than"),
    ({"dataset.sample_rate": 10**9}, "sample_rate is 1000000000"),
    ({"representation.window": "nonsense"}, "nonsense"),
]


@pytest.mark.parametrize(("changes", "says"), BAD_VALUES, ids=[",".join(changes) for changes, _ in BAD_VALUES])
def test_a_bad_value_is_refused_before_anything_is_written(saw_config, tmp_path, changes, says):
    config = saw_config.copy()
    for key, value in changes.items():
        OmegaConf.update(config, key, value)
    with pytest.raises((ConfigError, VIMHError, InstantiationException)) as caught:
        generate(Recipe.from_config(config, instantiate_own), tmp_path / "deep" / "set")
    assert says in str(find_cause(caught.value, NSMError))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "all", None, True])
def test_a_bad_batch_size_is_refused(recipe_of, tmp_path, batch_size):
    with pytest.raises(ConfigError, match=r"batch_size is .*; it must be a whole number of 1 or more"):
        generate(recipe_of(*SMALL), tmp_path / "set", batch_size=batch_size)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("output_dir", ["file", "file/deeper"])
def test_an_output_directory_that_cannot_be_is_refused(program, tmp_path, output_dir):
    (tmp_path / "file").write_text("mine")
    code, _, err = program(*SMALL, output_dir=tmp_path / output_dir)
    assert code == 1
    assert "could not be written" in err
    assert "Traceback" not in err
    assert content(tmp_path) == {"file": b"mine"}


# hostile datasets


@pytest.mark.parametrize(
    "synth",
    [
        {"_target_": "os.system", "command": "touch MARK"},
        {"_target_": "subprocess.run", "_args_": [["touch", "MARK"]]},
        {"_target_": "src.synth.voices.SawVoice", "sample_rate": {"_target_": "os.system", "command": "touch MARK"}},
        {"_target_": "src.synth.voices.SawVoice", "sample_rate": "${oc.env:HOME}", "duration": 1.0},
        {"_target_": "src.synth.voices.SawVoice", "sample_rate": "${spy:}", "duration": 1.0},
        {"_target_": "src.programs.program.sys.modules", "command": "x"},
        {"_target_": "${spy:}"},
    ],
)
def test_nothing_of_a_hostile_json_runs(saw_dir, recipe_of, tmp_path, synth):
    spied = []
    register_resolver("spy", lambda: spied.append(1) or "os.system")
    mark = tmp_path / "was_here"
    data_dir = tmp_path / "set"
    data_dir.mkdir()
    for name, data in content(saw_dir).items():
        (data_dir / name).write_bytes(data)
    info = json.loads((data_dir / INFO_NAME).read_text())
    info["generator"]["config"]["synth"] = json.loads(json.dumps(synth).replace("MARK", str(mark)))
    del info["json_sha256"]
    (data_dir / INFO_NAME).write_text(json.dumps(info))
    reader = VIMHReader(data_dir)
    reader.validate()
    with pytest.raises(VIMHError, match=r"synth"):
        is_made(data_dir, recipe_of("dataset.size=64").config)
    with pytest.raises(CheckpointError):
        Recipe.from_config(reader.info.generator["config"], instantiate_trusted)
    OmegaConf.clear_resolver("spy")
    assert not mark.exists()
    assert spied == []


@pytest.mark.parametrize("generator", [{}, {"config": None}, {"config": 5}, {"config": []}, {"config": {"dataset": 1}}])
def test_a_set_with_another_kind_of_recipe_is_not_taken_for_ours(recipe_of, theirs, generator):
    info = json.loads((theirs / INFO_NAME).read_text()) | {"generator": generator}
    (theirs / INFO_NAME).write_text(json.dumps(info))
    with pytest.raises(VIMHError, match="was made from another configuration"):
        is_made(theirs, recipe_of(*SMALL).config)


@pytest.mark.parametrize(
    "key", ["dataset", "synth", "parameters", "representation", "channels", "dataset.size", "dataset.duration"]
)
def test_a_stored_configuration_that_lacks_something_is_refused(saw_dir, key):
    config = json.loads((saw_dir / INFO_NAME).read_text())["generator"]["config"]
    section, _, name = key.partition(".")
    del (config[section] if name else config)[name or section]
    with pytest.raises(NSMError, match=name or section):
        Recipe.from_config(config, instantiate_trusted)


def test_a_configuration_is_resolved_when_it_is_the_users_own():
    config = OmegaConf.create(
        {
            "dataset": {"rate": 8, "name": "x", "suffix": "y"},
            "synth": {"rate": "${dataset.rate}"},
            "parameters": {},
            "representation": {},
            "channels": {},
        }
    )
    others = {"parameters": {}, "representation": {}, "channels": {}}
    assert recipe_config(config) == {"dataset": {"rate": 8}, "synth": {"rate": 8}, **others}
    with pytest.raises(ConfigError, match="representation is None"):
        recipe_config({"dataset": {}, "synth": {}, "parameters": {}})


# processes


def start(code, *arguments, **options):
    """A Python process that can be interrupted, whatever this one's parent thinks of it."""
    prelude = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", prelude + textwrap.dedent(code), *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *options.pop("path", [])])
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


RUN = f"sys.argv[0] = {PROGRAM!r}; runpy.run_path(sys.argv[0], run_name='__main__')"

HELD_SAW = """
    import pathlib, time
    from src.synth import SawVoice

    class HeldSaw(SawVoice):
        '''A sawtooth that stops after some batches, and waits as long as there is a file `hold`.'''

        def __init__(self, hold, **arguments):
            super().__init__(**arguments)
            self.hold, self.rendered = pathlib.Path(hold), 0

        def render(self, parameters):
            self.rendered += 1
            if self.rendered == 6 and self.hold.exists():
                self.hold.with_suffix(".reached").touch()
                while self.hold.exists():
                    time.sleep(0.01)
            return super().render(parameters)
"""


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_an_interrupt_leaves_the_partial_alone_and_the_same_command_replaces_it(
    program, recipe_of, tmp_path, monkeypatch
):
    """While it runs, no other process writes the same set. The synth is one of the user's own, named in the command."""
    (tmp_path / "held.py").write_text(textwrap.dedent(HELD_SAW))
    hold, out = tmp_path / "hold", tmp_path / "out"
    hold.touch()
    arguments = ["dataset.size=4000", "dataset.name=set", "dataset.duration=0.1", "batch_size=64"]
    own = ["synth._target_=held.HeldSaw", f"+synth.hold={hold}"]
    process = start(RUN, f"output_dir={out}", *arguments, *own, cwd=tmp_path, path=[str(tmp_path)])
    wait_until(hold.with_suffix(".reached").exists, process)
    assert names_in(out) == [".set.partial"]
    # The batches before the one that is held are on their way.
    wait_until(lambda: (out / ".set.partial" / "train").stat().st_size > 0, process)

    code, _, err = program(*arguments)
    assert code == 1
    assert f"{out / '.set.partial'}: another process is writing this dataset" in err

    process.send_signal(signal.SIGINT)
    time.sleep(0.5)  # the program waits for the batch that a thread is at; what follows in the queue is dropped
    hold.unlink()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert str(out / ".set.partial") in err
    assert "Traceback" not in err
    assert names_in(out) == [".set.partial"]

    monkeypatch.syspath_prepend(tmp_path)
    code, stdout, err = program(*arguments, *own)
    monkeypatch.delitem(sys.modules, "held")
    assert code == 0, err
    assert stdout.splitlines()[-1] == str(out / "set")
    assert names_in(out) == ["set"]
    VIMHReader(out / "set").validate()
    plain = made(recipe_of(*arguments[:3]), tmp_path / "plain" / "set")
    assert (out / "set" / "train").read_bytes() == (plain / "train").read_bytes()


def test_a_full_disk_leaves_nothing_and_says_so(program, tmp_path):
    """A limit on the size of files stands for the end of the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code, _, err = program("dataset.size=4096", "dataset.name=set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    assert f"{tmp_path / 'out' / 'set'}: could not be written (File too large). Nothing was kept; make room" in err
    assert "Traceback" not in err
    assert names_in(tmp_path / "out") == []


def test_help_shows_the_configuration_and_imports_nothing_heavy(tmp_path):
    tell = "import atexit; atexit.register(lambda: print('modules:', *{n.partition('.')[0] for n in sys.modules}))\n"
    process = start(tell + RUN, "--help", cwd=tmp_path)
    stdout, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert all(
        text in stdout for text in ("log10_decay_time", "train_fraction", "output_dir", "overwrite", "win_length")
    )
    modules = set(stdout.rpartition("modules: ")[2].split())
    assert "hydra" in modules
    assert not modules & {"torch", "torchaudio", "lightning", "numba", "scipy", "pandas", "matplotlib"}
    assert names_in(tmp_path) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_set(tmp_path):
    """Resident memory of whole processes, one with eight times the samples of the other."""
    tell = """
        import atexit, resource
        atexit.register(lambda: print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    """
    peaks = []
    for size in (8192, 65536):
        arguments = (f"dataset.size={size}", "dataset.duration=0.25", f"output_dir={tmp_path}")
        process = start(textwrap.dedent(tell) + RUN, *arguments)
        stdout, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        peaks.append(int(stdout.split()[-1]))
    growth = (peaks[1] - peaks[0]) * (1 if sys.platform == "darwin" else 1024)
    assert growth < (65536 - 8192) * 1043 / 3
