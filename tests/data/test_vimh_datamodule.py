import functools
import hashlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.lib import recfunctions
from torch.utils.data import RandomSampler, SequentialSampler

import src.generation
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import ConfigError, VIMHError
from src.generation import make_dataset
from src.vimh.format import INFO_NAME
from src.vimh.io import VIMHReader, VIMHSplit

SAW = {"config_name": "synth/generate_simple_saw", "overrides": ["dataset.size=64"]}


@pytest.fixture
def datamodule(saw_dir):
    return VIMHDataModule(saw_dir, batch_size=16)


@pytest.fixture
def legacy_dir(saw_dir, tmp_path):
    """The saw set as format version 2.0 has it: without spec_min, spec_max and exact values."""
    reader = VIMHReader(saw_dir)
    info = json.loads((saw_dir / INFO_NAME).read_text())
    info |= {"version": "2.0", "label_encoding": {"metadata_bytes": 6}, "files": {}}
    (tmp_path / INFO_NAME).write_text(json.dumps(info))
    for name in ("train", "test"):
        records = recfunctions.drop_fields(reader.split(name).records, ["spec_min", "spec_max"])
        (tmp_path / name).write_bytes(records.tobytes())
    return tmp_path


def content(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


def sample_keys(batches):
    """What tells one sample from another: its exact values."""
    return [tuple(value) for batch in batches for value in batch["value"].tolist()]


@pytest.mark.parametrize("seed", [0, 1, 42])
@pytest.mark.parametrize("val_fraction", [0.1, 0.25, 0.5])
def test_every_sample_is_in_one_set_alone(saw_dir, seed, val_fraction):
    datamodule = VIMHDataModule(saw_dir, val_fraction=val_fraction, seed=seed)
    train, val, test = datamodule.train_set, datamodule.val_set, datamodule.test_set
    assert len(val) == round(51 * val_fraction)
    np.testing.assert_array_equal(np.sort(np.concatenate([train.indices, val.indices])), np.arange(51))
    np.testing.assert_array_equal(test.indices, np.arange(13))
    assert train.split is val.split is not test.split
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    seen = [sample_keys(loader) for loader in loaders]
    assert len(set().union(*seen)) == sum(map(len, seen)) == 64


def test_the_seed_decides_who_validates(saw_dir):
    first, again, other = (VIMHDataModule(saw_dir, val_fraction=0.3, seed=seed).val_set for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.indices, again.indices)
    assert not np.array_equal(first.indices, other.indices)


def test_the_division_does_not_depend_on_the_global_seed_or_the_batch_size(saw_dir):
    torch.manual_seed(0)
    first = VIMHDataModule(saw_dir, batch_size=7).val_set.indices
    torch.manual_seed(1)
    np.testing.assert_array_equal(VIMHDataModule(saw_dir, batch_size=32).val_set.indices, first)


def test_loaders_give_whole_batches_of_the_set(datamodule):
    for loader, dataset in (
        (datamodule.val_dataloader(), datamodule.val_set),
        (datamodule.test_dataloader(), datamodule.test_set),
    ):
        batches = list(loader)
        assert [len(batch["image"]) for batch in batches] == [
            min(16, len(dataset) - at) for at in range(0, len(dataset), 16)
        ]
        expected = dataset.__getitems__(range(len(dataset)))
        for key, tensor in expected.items():
            assert torch.equal(torch.cat([batch[key] for batch in batches]), tensor), key


def test_training_samples_alone_are_shuffled(datamodule):
    assert isinstance(datamodule.train_dataloader().batch_sampler.sampler, RandomSampler)
    assert isinstance(datamodule.val_dataloader().batch_sampler.sampler, SequentialSampler)
    assert isinstance(datamodule.test_dataloader().batch_sampler.sampler, SequentialSampler)
    epochs = [sample_keys(datamodule.train_dataloader()) for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]


def test_workers_load_the_same(saw_dir):
    alone = VIMHDataModule(saw_dir, batch_size=8).test_dataloader()
    loader = VIMHDataModule(saw_dir, batch_size=8, num_workers=1).test_dataloader()
    assert loader.num_workers == 1
    for found, expected in zip(loader, alone, strict=True):
        for key, tensor in expected.items():
            assert torch.equal(found[key], tensor), key


def test_the_description_needs_nothing_but_the_json(saw_dir, tmp_path):
    shutil.copy(saw_dir / INFO_NAME, tmp_path)
    assert VIMHDataModule(tmp_path).info == VIMHReader(saw_dir).info


def test_statistics_of_the_conditioning_inputs_are_those_of_the_training_samples(datamodule):
    aux = datamodule.train_set.__getitems__(range(len(datamodule.train_set)))["aux"].numpy().astype(np.float64)
    mean, std = datamodule.aux_statistics()
    np.testing.assert_allclose(mean, aux.mean(axis=0))
    np.testing.assert_allclose(std, aux.std(axis=0))


def test_a_constant_conditioning_input_can_be_standardized(datamodule):
    records = np.array(datamodule.reader.train.records)
    records["spec_min"] = -60.0
    train = datamodule.reader.train
    datamodule.reader.train = VIMHSplit(records, train.info, train.path, train.exact)
    mean, std = datamodule.aux_statistics()
    assert mean[0] == -60.0
    assert std[0] > 0


def test_statistics_without_conditioning_inputs_are_empty(saw_dir):
    assert VIMHDataModule(saw_dir, aux=()).aux_statistics() == ([], [])


@pytest.mark.parametrize("stage", ["val", "test"])
def test_the_majority_share_is_what_the_commonest_training_class_scores(datamodule, stage):
    sets = {"val": datamodule.val_set, "test": datamodule.test_set}
    train = datamodule.train_set.__getitems__(range(len(datamodule.train_set)))["index"].numpy()
    found = sets[stage].__getitems__(range(len(sets[stage])))["index"].numpy()
    share = datamodule.majority_share(stage)
    assert list(share) == ["note_velocity", "log10_decay_time"]
    for p, name in enumerate(share):
        counts = np.bincount(train[:, p])
        commonest = np.flatnonzero(counts == counts.max())
        assert share[name] in [(found[:, p] == guess).mean() for guess in commonest]


def test_large_sets_are_described_by_evenly_spaced_samples(datamodule, monkeypatch):
    monkeypatch.setattr("src.data.vimh_datamodule.MAX_STATISTICS", 10)
    values = datamodule._some_training_samples()["value"]
    assert torch.equal(values, datamodule.train_set.__getitems__(range(0, len(datamodule.train_set), 5))["value"])


@pytest.mark.parametrize(("devices", "expected"), [(1, 16), (2, 8), (4, 4)])
def test_devices_share_a_batch(datamodule, devices, expected):
    datamodule.trainer = SimpleNamespace(world_size=devices)
    assert datamodule.train_dataloader().batch_sampler.batch_size == expected


def test_a_batch_that_devices_cannot_share_is_refused(datamodule):
    datamodule.trainer = SimpleNamespace(world_size=3)
    with pytest.raises(ConfigError, match=r"batch_size 16 cannot be shared evenly by 3"):
        datamodule.train_dataloader()


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"val_fraction": 0.0}, r"val_fraction is 0\.0"),
        ({"val_fraction": 1.0}, r"val_fraction is 1\.0"),
        ({"val_fraction": -0.1}, r"val_fraction is -0\.1"),
    ],
)
def test_settings_that_leave_nothing_are_refused(saw_dir, settings, facts):
    with pytest.raises(ConfigError, match=facts):
        VIMHDataModule(saw_dir, **settings)


@pytest.mark.parametrize(("val_fraction", "left"), [(0.001, 0), (0.999, 51)])
def test_a_fraction_that_empties_a_set_is_refused(saw_dir, val_fraction, left):
    with pytest.raises(ConfigError, match=f"of 51 samples leaves {left} to validate"):
        _ = VIMHDataModule(saw_dir, val_fraction=val_fraction).train_set


def test_a_dataset_without_test_samples_says_so(saw_dir, tmp_path):
    info = json.loads((saw_dir / INFO_NAME).read_text())
    info |= {"test_samples": 0, "total_samples": 51, "n_samples": 51, "files": {}}
    (tmp_path / INFO_NAME).write_text(json.dumps(info))
    shutil.copy(saw_dir / "train", tmp_path)
    datamodule = VIMHDataModule(tmp_path)
    assert len(datamodule.train_set) + len(datamodule.val_set) == 51
    with pytest.raises(VIMHError, match=r"no test samples.*test=false"):
        datamodule.test_dataloader()


def test_a_missing_dataset_is_answered_with_the_command_that_makes_one(tmp_path):
    data_dir = tmp_path / "vimh-32x32x1_missing"
    with pytest.raises(VIMHError) as refusal:
        VIMHDataModule(data_dir).prepare_data()
    for fact in (str(data_dir), "python generate_vimh.py", f"output_dir={tmp_path}", f"dataset.name={data_dir.name}"):
        assert fact in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_the_same_dataset_is_kept_as_it_is(saw_dir, monkeypatch):
    monkeypatch.setattr(src.generation.subprocess, "run", None)  # nothing may be generated
    before = content(saw_dir)
    VIMHDataModule(saw_dir, make_dataset=functools.partial(make_dataset, **SAW)).prepare_data()
    assert content(saw_dir) == before


def test_a_dataset_of_another_configuration_is_refused_with_the_difference(saw_dir, monkeypatch):
    monkeypatch.setattr(src.generation.subprocess, "run", None)
    before = content(saw_dir)
    another = SAW | {"overrides": ["dataset.size=256", "parameters.note_velocity.step=9"]}
    with pytest.raises(VIMHError) as refusal:
        VIMHDataModule(saw_dir, make_dataset=functools.partial(make_dataset, **another)).prepare_data()
    for fact in (
        str(saw_dir),
        "dataset.size: 64 there, 256 asked for",
        "parameters.note_velocity.step: 7 there, 9 asked for",
        "overwrite=true",
    ):
        assert fact in str(refusal.value)
    assert content(saw_dir) == before


@pytest.mark.parametrize("names", [[], ["notes.txt"]], ids=["empty", "other files"])
def test_nothing_is_written_into_an_existing_directory(tmp_path, monkeypatch, names):
    monkeypatch.setattr(src.generation.subprocess, "run", None)
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(VIMHError, match="not a dataset"):
        VIMHDataModule(tmp_path, make_dataset=functools.partial(make_dataset, **SAW)).prepare_data()
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_dataset_of_another_program_is_not_taken_for_ours(legacy_dir, monkeypatch):
    monkeypatch.setattr(src.generation.subprocess, "run", None)
    info = json.loads((legacy_dir / INFO_NAME).read_text())
    del info["generator"]
    (legacy_dir / INFO_NAME).write_text(json.dumps(info))
    with pytest.raises(VIMHError, match=r"no entry `generator`.*make_dataset=null"):
        VIMHDataModule(legacy_dir, make_dataset=functools.partial(make_dataset, **SAW)).prepare_data()


def test_a_generator_that_fails_is_an_error_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(src.generation.subprocess, "run", lambda *args, **kwargs: SimpleNamespace(returncode=1))
    with pytest.raises(VIMHError, match=r"missing.*could not be made"):
        VIMHDataModule(tmp_path / "new", make_dataset=functools.partial(make_dataset, **SAW)).prepare_data()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_missing_dataset_is_made(saw_dir, tmp_path):
    data_dir = tmp_path / "it's a [new] place" / saw_dir.name
    VIMHDataModule(data_dir, make_dataset=functools.partial(make_dataset, **SAW)).prepare_data()
    assert content(data_dir) == content(saw_dir)


def test_sets_of_version_2_0_have_no_conditioning_inputs(legacy_dir, saw_dir):
    with pytest.raises(ConfigError, match=r"hold no spec_min and spec_max; set data.aux=\[\]"):
        VIMHDataModule(legacy_dir).train_dataloader()
    plain, expected = VIMHDataModule(legacy_dir, aux=[]), VIMHDataModule(saw_dir, aux=[])
    found = plain.test_set.__getitems__(range(13))
    assert found["aux"].shape == (13, 0)
    for key in ("image", "index"):
        assert torch.equal(found[key], expected.test_set.__getitems__(range(13))[key])
    assert torch.equal(next(iter(plain.val_dataloader()))["image"], next(iter(expected.val_dataloader()))["image"])
