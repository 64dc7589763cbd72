import functools
import hashlib
import itertools
import json
import multiprocessing
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.lib import recfunctions

import src.generation
from src.data import vimh_datamodule
from src.data.batches import Batches, WorkerBatches
from src.data.vimh_datamodule import CPU, VIMHDataModule, memory_budget
from src.data.vimh_dataset import MemoryDataset, VIMHDataset
from src.errors import ConfigError, VIMHError
from src.generation import make_dataset
from src.spectral.features import measure
from src.vimh.format import INFO_NAME
from src.vimh.reader import VIMHReader, VIMHSplit
from src.vimh.sources import Sources

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


@pytest.fixture
def fake_trainer():
    """What the datamodule uses of a trainer."""

    def make(device="cpu", **settings):
        usual = {"world_size": 1, "global_rank": 0, "overfit_batches": 0, "current_epoch": 0, "callbacks": []}
        usual |= dict.fromkeys(("limit_train_batches", "limit_val_batches", "limit_test_batches"), 1.0)
        usual |= {"val_check_interval": 1.0, "max_steps": -1, "min_steps": None}
        return SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)), **usual | settings)

    return make


def content(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


def batches_of(chunks):
    return list(itertools.chain.from_iterable(chunks))


def sample_keys(chunks):
    """What identifies a sample: its exact values."""
    return [tuple(value) for batch in batches_of(chunks) for value in batch["value"].tolist()]


@pytest.mark.parametrize("seed", [0, 1, 42])
@pytest.mark.parametrize("val_fraction", [0.1, 0.25, 0.5])
def test_every_sample_is_in_one_set_alone(saw_dir, seed, val_fraction):
    datamodule = VIMHDataModule(saw_dir, val_fraction=val_fraction, seed=seed, in_memory=False)
    train, val, test = datamodule.train_set, datamodule.val_set, datamodule.test_set
    assert len(val) == round(51 * val_fraction)
    np.testing.assert_array_equal(np.sort(np.concatenate([train.indices, val.indices])), np.arange(51))
    np.testing.assert_array_equal(test.indices, np.arange(13))
    assert train.split is val.split is not test.split
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    seen = [sample_keys(loader) for loader in loaders]
    assert len(set().union(*seen)) == sum(map(len, seen)) == 64


def test_the_seed_decides_who_validates(saw_dir):
    first, again, other = (VIMHDataModule(saw_dir, val_fraction=0.3, seed=seed)._division[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_part_of_the_training_samples_is_drawn_by_seed_and_grows(saw_dir):
    def used(**settings):
        datamodule = VIMHDataModule(saw_dir, val_fraction=0.25, in_memory=False, **settings)
        return *datamodule._division, set(np.concatenate(datamodule._division).tolist())

    val, train, few = used(train_size=20)
    assert (len(val), len(train), len(few)) == (5, 15, 20)
    assert few < used(train_size=40)[2] < used(train_size=51)[2]
    assert few != used(train_size=20, seed=7)[2]
    for found, whole in zip(used(train_size=51)[:2], used()[:2], strict=True):
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("train_size", [0, -1, 52])
def test_more_training_samples_than_there_are_are_refused(saw_dir, train_size):
    with pytest.raises(ConfigError, match=f"train_size is {train_size}, but .* has 51 samples to train on"):
        _ = VIMHDataModule(saw_dir, train_size=train_size).train_set


def test_statistics_of_large_images_read_no_more_than_fits(datamodule, monkeypatch):
    read = []
    whole = VIMHDataset.__getitems__
    monkeypatch.setattr(VIMHDataset, "__getitems__", lambda self, items: read.append(whole(self, items)) or read[-1])
    monkeypatch.setattr(vimh_datamodule, "MOST_BYTES", 5 * 1024)
    datamodule.in_memory = False
    datamodule.aux_statistics()
    datamodule.some_training_images()
    assert datamodule.majority_share().keys() == datamodule.mean_error().keys()
    assert max(len(batch["image"]) for batch in read) == 5


def test_without_a_seed_runs_differ_in_order_but_not_in_division(saw_dir):
    first, other = (VIMHDataModule(saw_dir, seed=None) for _ in range(2))
    assert sample_keys(first.val_dataloader()) == sample_keys(other.val_dataloader())
    assert sample_keys(first.train_dataloader()) != sample_keys(other.train_dataloader())
    assert sample_keys(first.train_dataloader()) == sample_keys(first.train_dataloader())


def test_the_division_does_not_depend_on_the_global_seed_or_the_batch_size(saw_dir):
    torch.manual_seed(0)
    first = VIMHDataModule(saw_dir, batch_size=7)._division
    torch.manual_seed(1)
    for found, expected in zip(VIMHDataModule(saw_dir, batch_size=32)._division, first, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("in_memory", [False, True])
def test_loaders_give_whole_batches_of_the_set(saw_dir, in_memory):
    datamodule = VIMHDataModule(saw_dir, batch_size=4, in_memory=in_memory)
    for loader, dataset in (
        (datamodule.val_dataloader(), datamodule.val_set),
        (datamodule.test_dataloader(), datamodule.test_set),
    ):
        batches = batches_of(loader)
        sizes = [len(batch["image"]) for batch in batches]
        assert len(sizes) == sum(loader.lengths) == -(-len(dataset) // 4)
        assert max(sizes) - min(sizes) <= 1
        for key, tensor in dataset[:].items():
            assert torch.equal(torch.cat([batch[key] for batch in batches]), tensor), key


def test_training_samples_alone_are_shuffled(datamodule):
    loader = datamodule.train_dataloader()
    epochs = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        epochs.append(sample_keys(loader))
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert len(set(map(tuple, epochs))) == 3
    datamodule.test_dataloader().sampler.set_epoch(5)
    assert sample_keys(datamodule.test_dataloader()) == sample_keys([[datamodule.test_set[:]]])


@pytest.mark.parametrize("settings", [{"in_memory": True}, {"in_memory": False}, {"num_workers": 1}], ids=str)
def test_an_epoch_is_the_same_wherever_the_samples_are(saw_dir, settings):
    """A function of seed and epoch, so a resumed run sees what the uninterrupted one would have seen."""
    expected = VIMHDataModule(saw_dir, batch_size=16).train_dataloader()
    loader = VIMHDataModule(saw_dir, batch_size=16, **settings).train_dataloader()
    assert isinstance(loader.batches, WorkerBatches if "num_workers" in settings else Batches)
    for epoch in (3, 0):
        for each in (loader, expected):
            each.sampler.set_epoch(epoch)
        for batch, wanted in zip(batches_of(loader), batches_of(expected), strict=True):
            for key, tensor in wanted.items():
                assert torch.equal(batch[key], tensor), key


def test_no_process_is_left_when_a_training_is_over(saw_dir):
    datamodule = VIMHDataModule(saw_dir, batch_size=16, num_workers=2)
    loaders = datamodule.train_dataloader(), datamodule.val_dataloader()
    before = {child.pid for child in multiprocessing.active_children()}
    batches = [list(loader) for loader in loaders]
    processes = [child for child in multiprocessing.active_children() if child.pid not in before]
    assert len(processes) == 4
    datamodule.teardown("fit")
    assert not any(process.is_alive() for process in processes)
    assert [len(list(loader)) for loader in loaders] == [len(each) for each in batches]  # they begin anew


def test_a_run_that_goes_on_begins_with_its_own_epoch(datamodule, fake_trainer):
    """Lightning makes an iterator first, and sets the epoch before the first batch is fetched."""
    datamodule.num_workers = 1
    datamodule.trainer = fake_trainer(current_epoch=0)
    resumed = datamodule.train_dataloader()
    early = iter(resumed)
    resumed.sampler.set_epoch(4)
    loader = VIMHDataModule(datamodule.data_dir, batch_size=16).train_dataloader()
    loader.sampler.set_epoch(4)
    assert sample_keys(early) == sample_keys(loader)


def test_overfitting_sees_the_same_batches_in_every_epoch(datamodule, fake_trainer):
    datamodule.trainer = fake_trainer(overfit_batches=1)
    loader = datamodule.train_dataloader()
    first = sample_keys(loader)
    loader.sampler.set_epoch(1)
    assert sample_keys(loader) == first


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, MemoryDataset),
        ({"in_memory": True}, MemoryDataset),
        ({"in_memory": False}, VIMHDataset),
        ({"num_workers": 2}, VIMHDataset),
    ],
    ids=str,
)
def test_samples_live_where_they_are_to(saw_dir, settings, kind):
    datamodule = VIMHDataModule(saw_dir, **settings)
    assert {type(datamodule.train_set), type(datamodule.val_set), type(datamodule.test_set)} == {kind}


def test_large_sets_stay_in_their_file(saw_dir, monkeypatch):
    n_bytes = 64 * (32 * 32 + 2 * (8 + 4 + 4) + 2 * 4)
    for most, kind in ((n_bytes, MemoryDataset), (n_bytes - 1, VIMHDataset)):
        monkeypatch.setattr("src.data.vimh_datamodule.MOST_MEMORY", most)
        assert memory_budget(CPU) == most
        assert isinstance(VIMHDataModule(saw_dir).train_set, kind)
    assert isinstance(VIMHDataModule(saw_dir, in_memory=True).train_set, MemoryDataset)


@pytest.mark.parametrize(("free", "there"), [(4 * 13 * 1064, True), (4 * 13 * 1064 - 8, False)])
def test_samples_move_to_a_gpu_that_has_room(saw_dir, fake_trainer, monkeypatch, free, there):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    monkeypatch.setattr(MemoryDataset, "to", lambda samples, device: MemoryDataset(samples.tensors | {"at": device}))
    datamodule = VIMHDataModule(saw_dir)
    datamodule.trainer = fake_trainer(device="cuda:1")
    loader = datamodule.test_dataloader()
    assert loader.batches.samples.tensors.get("at") == (torch.device("cuda:1") if there else None)
    assert loader.batches.pin is not there  # what stays behind is fetched from page-locked memory


def test_another_process_opens_the_files_itself(datamodule):
    expected = sample_keys(datamodule.train_dataloader())
    assert len(datamodule.test_set) == 13
    data = pickle.dumps(datamodule)
    assert len(data) < 2000
    assert sample_keys(pickle.loads(data).train_dataloader()) == expected


@pytest.mark.parametrize("opened", ["info", "reader"])
@pytest.mark.parametrize("in_another_process", [False, True])
def test_all_is_of_the_dataset_that_was_opened_first(saw_dir, tmp_path, opened, in_another_process):
    data_dir = shutil.copytree(saw_dir, tmp_path / "set")
    datamodule = VIMHDataModule(data_dir)
    getattr(datamodule, opened)
    info = json.loads((data_dir / INFO_NAME).read_text())
    (data_dir / INFO_NAME).write_text(json.dumps(info | {"seed": 43}))
    if in_another_process:
        datamodule = pickle.loads(pickle.dumps(datamodule))
    for name in {"info", "reader"} - (set() if in_another_process else {opened}):
        with pytest.raises(VIMHError, match="another dataset has taken the place of the one that was opened"):
            getattr(datamodule, name)


def test_measured_conditioning_inputs_are_described_like_the_others(saw_dir):
    datamodule = VIMHDataModule(saw_dir, aux=("spec_max", "decay_time", "level"), measure=measure)
    aux = datamodule.train_set[:]["aux"].numpy().astype(np.float64)
    assert aux.shape == (46, 3)
    mean, std = datamodule.aux_statistics()
    np.testing.assert_allclose(mean, aux.mean(axis=0))
    np.testing.assert_allclose(std, aux.std(axis=0))
    decay_time = datamodule.info.parameter_names.index("log10_decay_time")
    short = datamodule.train_set[:]["normalized"][:, decay_time].numpy() < 0.5  # where the image shows the decay
    assert np.corrcoef(aux[short, 1], datamodule.train_set[:]["value"].numpy()[short, decay_time])[0, 1] > 0.9


def test_the_description_needs_nothing_but_the_json(saw_dir, tmp_path):
    shutil.copy(saw_dir / INFO_NAME, tmp_path)
    assert VIMHDataModule(tmp_path).info == VIMHReader(saw_dir).info


def test_statistics_of_the_conditioning_inputs_are_those_of_the_training_samples(datamodule):
    aux = datamodule.train_set[:]["aux"].numpy().astype(np.float64)
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
    train = datamodule.train_set[:]["index"].numpy()
    found = sets[stage][:]["index"].numpy()
    share = datamodule.majority_share(stage)
    assert list(share) == ["note_velocity", "log10_decay_time"]
    for p, name in enumerate(share):
        counts = np.bincount(train[:, p])
        commonest = np.flatnonzero(counts == counts.max())
        assert share[name] in [(found[:, p] == guess).mean() for guess in commonest]


def test_large_sets_are_described_by_evenly_spaced_samples(datamodule):
    values = datamodule.spaced_training_samples(10)["value"]
    assert torch.equal(values, datamodule.train_set[range(0, len(datamodule.train_set), 5)]["value"])


@pytest.mark.parametrize(("devices", "expected"), [(1, 16), (2, 8), (4, 4)])
def test_devices_share_a_batch(datamodule, fake_trainer, devices, expected):
    seen = []
    for rank in range(devices):
        datamodule.trainer = fake_trainer(world_size=devices, global_rank=rank)
        batches = batches_of(datamodule.train_dataloader())
        assert max(len(batch["image"]) for batch in batches) <= expected
        assert len(batches) == 3
        seen += sample_keys([batches])
    assert len(set(seen)) == len(seen) == 46 - 46 % devices


def test_a_batch_that_devices_cannot_share_is_refused(datamodule, fake_trainer):
    datamodule.trainer = fake_trainer(world_size=3)
    with pytest.raises(ConfigError, match=r"batch_size 16 cannot be shared evenly by 3"):
        datamodule.train_dataloader()


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": "abc"}, "batch_size is 'abc'; it must be a whole number of 1 or more"),
        ({"num_workers": -1}, r"num_workers is -1; it must be a whole number of 0 or more"),
        ({"seed": -1}, "seed is -1"),
        ({"val_fraction": 0.0}, r"val_fraction is 0\.0"),
        ({"val_fraction": 1.0}, r"val_fraction is 1\.0"),
        ({"val_fraction": -0.1}, r"val_fraction is -0\.1"),
        ({"in_memory": "always"}, r"in_memory is 'always'; choose one of auto, true, false"),
        ({"in_memory": True, "num_workers": 2}, r"in_memory is true and data\.num_workers 2"),
        ({"stream_size": 0}, r"stream_size is 0"),
        ({"stream": True}, r"stream_source is null"),
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
        "data.make_dataset=null",
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


def test_a_dataset_of_another_program_is_trained_on_as_it_is(legacy_dir, monkeypatch):
    monkeypatch.setattr(src.generation.subprocess, "run", None)
    info = json.loads((legacy_dir / INFO_NAME).read_text())
    del info["generator"]
    (legacy_dir / INFO_NAME).write_text(json.dumps(info))
    before = content(legacy_dir)
    datamodule = VIMHDataModule(legacy_dir, aux=[], make_dataset=functools.partial(make_dataset, **SAW))
    datamodule.prepare_data()
    assert len(datamodule.train_set) == 46
    assert content(legacy_dir) == before


@pytest.mark.parametrize("make", [None, functools.partial(make_dataset, **SAW)], ids=["by hand", "made"])
@pytest.mark.parametrize("name", ["no\0thing", "x" * 300, "loop", "file", "file/deeper"])
def test_a_place_that_can_hold_no_dataset_is_refused_at_once(tmp_path, monkeypatch, make, name):
    monkeypatch.setattr(src.generation.subprocess, "run", None)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(VIMHError, match=r"cannot be read|no file can have this name"):
        VIMHDataModule(tmp_path / name, make_dataset=make).prepare_data()


def test_a_generator_that_fails_is_an_error_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(src.generation.subprocess, "run", lambda *args, **kwargs: SimpleNamespace(returncode=1))
    with pytest.raises(VIMHError, match=r"missing.*could not be made"):
        VIMHDataModule(tmp_path / "new", make_dataset=functools.partial(make_dataset, **SAW, name="new")).prepare_data()
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
    found = plain.test_set[:]
    assert found["aux"].shape == (13, 0)
    for key in ("image", "index"):
        assert torch.equal(found[key], expected.test_set[:][key])
    assert torch.equal(plain.val_set[:]["image"], expected.val_set[:]["image"])


def test_what_is_no_batch_is_moved_as_well(datamodule):
    """The model summary runs the network on an example, which is a tuple."""
    example = torch.zeros(1, 2), torch.ones(3)
    moved = datamodule.transfer_batch_to_device(example, torch.device("meta"), 0)
    assert [tensor.device.type for tensor in moved] == ["meta", "meta"]
    chunk = datamodule.transfer_batch_to_device(2 * [{"aux": torch.zeros(2)}], torch.device("meta"), 0)
    assert [batch["aux"].device.type for batch in chunk] == ["meta", "meta"]


def test_devices_that_cannot_share_a_batch_are_refused_before_they_start(saw_dir):
    datamodule = VIMHDataModule(saw_dir, batch_size=33)
    datamodule.check_devices(1)
    datamodule.check_devices(3)
    with pytest.raises(ConfigError, match=r"batch_size 33 cannot be shared evenly by 2 devices.*multiple of 2"):
        datamodule.check_devices(2)


# ----- sounds that calibrate error bars


def source_of_numbers(asked):
    """A source of fresh sounds that notes which ones it was asked for; they are samples of the set."""

    def source(info, reader=None):
        def make(start, stop):
            asked.append((start, stop))
            return reader.train.read(np.arange(stop - start) % len(reader.train))

        return make

    return source


@pytest.mark.parametrize(
    ("settings", "n_sounds"), [({}, 46), ({"calibration_size": 30}, 30), ({"stream": True, "stream_size": 1500}, 1500)]
)
def test_fresh_sounds_calibrate_and_no_stream_reaches_them(saw_dir, settings, n_sounds):
    asked = []
    source = functools.partial(source_of_numbers(asked), reader=VIMHReader(saw_dir))
    datamodule = VIMHDataModule(saw_dir, val_fraction=0.1, seed=3, stream_source=source, **settings)
    assert len(datamodule.train_set) == 46
    fit, scale = (list(batches) for batches in datamodule.calibration_sets())
    assert sum(len(batch["index"]) for batch in fit) == 2 * n_sounds // 3
    assert sum(len(batch["index"]) for batch in scale) == n_sounds - 2 * n_sounds // 3
    numbers = np.concatenate([np.arange(*span) for span in asked])
    assert len(np.unique(numbers)) == n_sounds
    assert numbers.min() == 3 * 2**40 + 2**39  # far beyond every epoch, within the sounds of the seed
    assert all(stop - start <= 500 for start, stop in asked)


def test_without_a_source_or_when_told_so_nothing_calibrates(saw_dir):
    assert VIMHDataModule(saw_dir).calibration_sets() is None
    source = functools.partial(source_of_numbers([]), reader=None)
    assert VIMHDataModule(saw_dir, stream_source=source, calibration_size=0).calibration_sets() is None


def test_a_set_of_another_program_is_calibrated_on_validation_samples_if_there_are_enough(saw_dir, monkeypatch):
    whole = VIMHDataModule(saw_dir, val_fraction=0.5)
    everything = whole.val_set[:]["value"].sort(dim=0).values
    datamodule = VIMHDataModule(saw_dir, val_fraction=0.5)
    foreign = datamodule.info.model_copy(update={"generator": None})
    monkeypatch.setattr(VIMHDataModule, "info", foreign)
    assert datamodule.calibration_sets() is None  # 26 are too few: all of them validate
    assert len(datamodule.val_set) == len(whole.val_set)
    monkeypatch.setattr("src.data.division.LEAST_PART", 8)
    divided = VIMHDataModule(saw_dir, val_fraction=0.5)
    fit, scale = (torch.cat([batch["value"] for batch in part]) for part in divided.calibration_sets())
    chosen = divided.val_set[:]["value"]
    found = torch.cat([chosen, fit, scale])
    assert torch.equal(found.sort(dim=0).values, everything)


# ----- classes


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_classes_of_training_samples_are_counted(saw_dir, in_memory):
    datamodule = VIMHDataModule(saw_dir, in_memory=in_memory)
    index = datamodule.train_set[:]["index"]
    counts = datamodule.class_counts()
    assert counts.sum(dim=1).tolist() == [len(index)] * 2
    for head in range(2):
        assert counts[head].tolist() == torch.bincount(index[:, head], minlength=counts.shape[1]).tolist()


def test_an_epoch_of_training_is_balanced_by_a_head_and_no_other_is(saw_dir):
    datamodule = VIMHDataModule(saw_dir, batch_size=16, balanced="note_velocity")
    loader = datamodule.train_dataloader()
    drawn = torch.cat([batch["index"][:, 0] for chunk in loader for batch in chunk])
    counts = drawn.bincount()
    counts = counts[counts > 0]
    assert len(drawn) == len(datamodule.train_set)
    assert len(counts) == len(datamodule.train_set[:]["index"][:, 0].unique())
    assert counts.max() - counts.min() <= 1
    tested = torch.cat([batch["index"] for chunk in datamodule.val_dataloader() for batch in chunk])
    assert torch.equal(tested, datamodule.val_set[:]["index"])


def test_what_cannot_be_balanced_is_refused(saw_dir):
    with pytest.raises(ConfigError, match=r"data\.balanced is 'pitch', which is no head; choose one of note_velocity"):
        VIMHDataModule(saw_dir, balanced="pitch").train_dataloader()
    with pytest.raises(ConfigError, match=r"data\.balanced is 'pitch', but data\.stream makes new sounds"):
        VIMHDataModule(saw_dir, balanced="pitch", stream=True, stream_source=lambda info: None)


@pytest.mark.parametrize("in_memory", [True, False])
def test_samples_of_a_test_know_their_files_where_files_have_several(saw_dir, in_memory, monkeypatch):
    def of(names):
        return Sources.of([(f"{name}.wav", "0.0", f"{name}.wav", "", "0") for name in names])

    sources = {"train": of(range(20, 71)), "test": of(number % 5 for number in range(13))}
    monkeypatch.setattr(VIMHReader, "sources", sources)
    datamodule = VIMHDataModule(saw_dir, batch_size=4, in_memory=in_memory)
    batches = [batch for chunk in datamodule.test_dataloader() for batch in chunk]
    assert torch.cat([batch["file"] for batch in batches]).tolist() == [number % 5 for number in range(13)]
    assert "file" not in next(iter(datamodule.val_dataloader()))[0]
    sources["test"] = of(range(13))  # a file each: nobody to vote with
    assert "file" not in VIMHDataModule(saw_dir).test_set[0]
