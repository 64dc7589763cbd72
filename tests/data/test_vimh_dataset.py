import json
import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch

from src.data.batches import Batches, BatchOrder, WorkerBatches
from src.data.vimh_dataset import SPEC_RANGE, BatchFormat, MemoryDataset, Samples, VIMHDataset
from src.errors import ConfigError, VIMHError
from src.generation import generate
from src.params import _warn_of_uneven_grid
from src.spectral.features import measure
from src.vimh.format import INFO_NAME
from src.vimh.reader import VIMHReader, VIMHSplit


@pytest.fixture
def split(saw_dir):
    return VIMHReader(saw_dir).train


@pytest.fixture
def dataset(split):
    return VIMHDataset(split, np.arange(len(split)))


def test_a_batch_has_the_documented_keys_types_and_shapes(dataset):
    batch = dataset.__getitems__([4, 2, 30])
    expected = {
        "image": (torch.uint8, (3, 1, 32, 32)),
        "index": (torch.int64, (3, 2)),
        "normalized": (torch.float32, (3, 2)),
        "value": (torch.float32, (3, 2)),
        "aux": (torch.float32, (3, 2)),
    }
    assert {key: (tensor.dtype, tuple(tensor.shape)) for key, tensor in batch.items()} == expected


@pytest.mark.parametrize("items", [[0], [50, 0, 7, 7], list(range(51)), np.arange(5)], ids=repr)
def test_a_whole_batch_equals_its_items(dataset, items):
    batch = dataset.__getitems__(items)
    for number, item in enumerate(items):
        for key, tensor in dataset[int(item)].items():
            assert torch.equal(tensor, batch[key][number]), key


def test_samples_are_those_that_were_chosen_in_that_order(split):
    chosen = np.array([9, 3, 40])
    some, everything = VIMHDataset(split, chosen), VIMHDataset(split, np.arange(len(split)))
    assert len(some) == 3
    for key, tensor in some.__getitems__([0, 1, 2]).items():
        assert torch.equal(tensor, everything.__getitems__(chosen)[key]), key
    with pytest.raises(IndexError):
        some[3]


def test_a_batch_says_what_was_synthesized(dataset, recipe_of):
    recipe = recipe_of("dataset.size=64")
    sounds = recipe.make(0, recipe.n_train)
    batch = dataset.__getitems__(range(recipe.n_train))
    np.testing.assert_array_equal(batch["image"], sounds.image)
    np.testing.assert_array_equal(batch["value"], sounds.value)
    np.testing.assert_array_equal(batch["aux"], sounds.spec_range)
    for p, spec in enumerate(recipe.space.varying):
        normalized = (sounds.value[:, p].astype(np.float64) - spec.min) / (spec.max - spec.min)
        np.testing.assert_allclose(batch["normalized"][:, p], normalized, atol=1e-7)


def test_a_class_is_found_by_way_of_the_code(dataset, split):
    batch = dataset.__getitems__(range(len(split)))
    code = split.records["labels"]["code"].astype(np.float64)
    for p, spec in enumerate(split.info.parameters):
        steps = np.round(code[:, p] / 255 * (spec.max - spec.min) / spec.step)
        np.testing.assert_array_equal(batch["index"][:, p], np.clip(steps, 0, spec.n_classes - 1))
        nearest = np.abs(spec.value_from_index(batch["index"][:, p].numpy()) - batch["value"][:, p].numpy())
        assert (nearest <= spec.step / 2 + spec.range / 255 / 2 + 1e-6).all()


def test_values_are_decoded_from_the_codes_where_there_are_no_exact_ones(split):
    split.exact = None
    batch = VIMHDataset(split, np.arange(len(split))).__getitems__(range(len(split)))
    code = split.records["labels"]["code"]
    for p, spec in enumerate(split.info.parameters):
        decoded = spec.min + code[:, p] / 255 * (spec.max - spec.min)
        np.testing.assert_allclose(batch["value"][:, p], decoded, rtol=1e-6)
        np.testing.assert_allclose(batch["normalized"][:, p], code[:, p] / 255, atol=1e-6)


def test_normalized_stays_within_its_range(split):
    split.exact = np.array([[64 - 1e-4, 0.3 + 1e-6], [127 + 1e-4, -2.0 - 1e-6]], np.float32)
    normalized = VIMHDataset(split, np.arange(2)).__getitems__([0, 1])["normalized"]
    assert normalized.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("aux", [(), ("spec_min",), ("spec_max",), SPEC_RANGE, ("spec_max", "spec_min")])
def test_conditioning_inputs_come_in_the_order_asked_for(split, aux):
    batch = VIMHDataset(split, np.arange(7), aux).__getitems__(range(7))
    expected = np.zeros((7, 0)) if not aux else np.stack([split.records[name][:7] for name in aux], axis=1)
    np.testing.assert_array_equal(batch["aux"], expected)
    assert batch["aux"].dtype == torch.float32


def test_unknown_conditioning_inputs_are_refused_with_the_known_ones(split):
    with pytest.raises(ConfigError, match=r"loudness, pitch, but data.measure is null.*spec_min, spec_max"):
        VIMHDataset(split, np.arange(3), ("spec_min", "loudness", "pitch"))


def test_a_damaged_record_is_refused_when_it_is_read(split):
    records = np.array(split.records)
    records["n_parameters"][20] = 9
    dataset = VIMHDataset(VIMHSplit(records, split.info, split.path, split.exact), np.arange(len(split)))
    assert len(dataset.__getitems__([19, 21])["image"]) == 2
    with pytest.raises(VIMHError, match="record 20 says"):
        dataset.__getitems__([19, 20])


MIXED = ("level", "spec_max", "decay_time")


@pytest.fixture
def in_memory(dataset):
    return MemoryDataset.load(dataset)


@pytest.mark.parametrize("items", [[0], [50, 0, 7, 7], np.arange(5), torch.arange(5), slice(3, 40, 2), slice(None)])
@pytest.mark.parametrize("aux", [SPEC_RANGE, MIXED, ()], ids=str)
def test_memory_gives_the_batches_of_the_file(split, items, aux):
    dataset = VIMHDataset(split, np.arange(len(split)), aux, measure)
    found, expected = MemoryDataset.load(dataset)[items], dataset[items]
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        # Blocks of other sizes are summed in another order, so measured inputs agree to rounding.
        torch.testing.assert_close(
            found[key], tensor, rtol=1e-5 if key == "aux" else 0, atol=1e-5 if key == "aux" else 0
        )


def test_sets_are_loaded_in_parts(dataset, in_memory, monkeypatch):
    monkeypatch.setattr("src.data.vimh_dataset.CHUNK", 7)
    again = MemoryDataset.load(dataset)
    assert len(again) == len(dataset)
    for key, tensor in in_memory.tensors.items():
        assert torch.equal(again.tensors[key], tensor), key
        assert tensor.is_contiguous(), key


def test_memory_is_measured_once(split):
    calls = []

    def counted(image, spec_range, names):
        calls.append(len(image))
        return measure(image, spec_range, names)

    samples = MemoryDataset.load(VIMHDataset(split, np.arange(len(split)), MIXED, counted))
    for _ in range(3):
        assert samples[[1, 2]]["aux"].shape == (2, 3)
    assert calls == [1, len(split)]  # the first is the question whether the names are known


def test_samples_on_their_device_stay_the_same_tensors(in_memory):
    assert in_memory.to(torch.device("cpu")).tensors["image"] is in_memory.tensors["image"]
    there = in_memory.to(torch.device("meta"))
    assert {tensor.device.type for tensor in there[[0, 4]].values()} == {"meta"}
    assert there.n_bytes == in_memory.n_bytes == len(in_memory) * (32 * 32 + 2 * (8 + 4 + 4) + 2 * 4)


def test_measured_inputs_stand_where_they_are_named(split):
    batch = VIMHDataset(split, np.arange(9), MIXED, measure)[:]
    spec_range = torch.from_numpy(split.read(np.arange(9)).spec_range.copy())
    expected = measure(batch["image"], spec_range, ("level", "decay_time"))
    torch.testing.assert_close(batch["aux"], torch.stack([expected[:, 0], spec_range[:, 1], expected[:, 1]], dim=1))


def test_a_single_sample_is_the_one_of_the_batch(dataset, in_memory):
    for samples in (dataset, in_memory):
        for key, tensor in samples[[8, 9]].items():
            assert torch.equal(samples[9][key], tensor[1]), key


def test_names_that_cannot_be_measured_are_refused_before_anything_is_read(split):
    with pytest.raises(ConfigError, match=r"names loudness; known are spec_min, spec_max and.*decay_time"):
        BatchFormat(split.info.parameters, ("spec_min", "loudness"), measure)
    with pytest.raises(ConfigError, match=r"names level, but data.measure is null"):
        BatchFormat(split.info.parameters, ("level",))


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_batch_is_a_copy_that_can_be_written_to(dataset, in_memory):
    dataset = MemoryDataset.load(dataset) if in_memory else dataset
    batch = dataset.__getitems__([0, 1])
    before = {key: tensor.clone() for key, tensor in batch.items()}
    for tensor in batch.values():
        tensor.zero_()
    for key, tensor in dataset.__getitems__([0, 1]).items():
        assert torch.equal(tensor, before[key]), key


# in another process


@pytest.fixture
def copied(saw_dir, tmp_path):
    """A copy of the saw set that may be changed."""
    return shutil.copytree(saw_dir, tmp_path / "set")


@pytest.mark.parametrize(
    "numbers", [np.arange(51), np.arange(7, 9), np.arange(0), np.array([8, 3, 3]), np.array([4]), np.arange(51)[::-1]]
)
def test_what_another_process_is_handed_reads_the_same(split, numbers):
    dataset = VIMHDataset(split, numbers, MIXED, measure)
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again.indices, dataset.indices)
    for key, tensor in dataset[:].items():
        assert torch.equal(again[:][key], tensor), key


def test_it_is_a_few_bytes_whatever_the_number_of_samples(saw_dir, recipe_of, tmp_path):
    generate(recipe_of("dataset.size=320"), tmp_path / "large")
    sizes = []
    for data_dir in (saw_dir, tmp_path / "large"):
        split = VIMHReader(data_dir).train
        whole = VIMHDataset(split, np.arange(len(split)))
        part = VIMHDataset(split, np.arange(len(split))[::2])
        sizes.append(len(pickle.dumps(whole)))
        assert len(pickle.dumps(part)) < sizes[-1] + part.indices.nbytes + 300
    assert abs(sizes[0] - sizes[1]) < 200
    assert max(sizes) < 10_000


def test_another_dataset_is_refused_at_the_first_batch(copied):
    data = pickle.dumps(VIMHDataset(VIMHReader(copied).train, np.arange(51)))
    info = json.loads((copied / INFO_NAME).read_text())
    (copied / INFO_NAME).write_text(json.dumps(info | {"seed": 43}))
    again = pickle.loads(data)
    assert len(again) == 51
    with pytest.raises(VIMHError, match="another dataset has taken the place of the one that was opened"):
        again[[0]]


def test_the_other_process_does_not_repeat_warnings(copied):
    info = json.loads((copied / INFO_NAME).read_text())
    info["parameter_mappings"]["note_velocity"] |= {"step": 6.4, "num_classes": 11}
    (copied / INFO_NAME).write_text(json.dumps(info))
    with pytest.warns(UserWarning, match="note_velocity: the range is"):
        split = VIMHReader(copied).train
    _warn_of_uneven_grid.cache_clear()  # as in a new process
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(pickle.loads(pickle.dumps(split))) == 51


class Failing(Samples):
    """Samples of which one is damaged, or of which reading fails in another way."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 6

    def __getitems__(self, items):
        if 4 in items:
            raise self.error
        return {"image": torch.zeros(len(items))}


@pytest.mark.parametrize("n_workers", [0, 1])
def test_an_error_of_a_worker_is_the_sentence_that_it_is_here(n_workers):
    loader = WorkerBatches(Failing(VIMHError("record 4 is damaged.")), BatchOrder(6, 2), num_workers=n_workers)
    found = iter(loader)
    assert [len(next(found)["image"]) for _ in range(2)] == [2, 2]
    with pytest.raises(VIMHError) as caught:
        next(found)
    assert str(caught.value) == "record 4 is damaged."


def test_an_error_of_another_kind_comes_with_its_traceback():
    with pytest.raises(ZeroDivisionError, match=r"in DataLoader worker process 0[\s\S]*__getitems__"):
        list(WorkerBatches(Failing(ZeroDivisionError("a bug")), BatchOrder(6, 2), num_workers=1))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_give_the_same_batches_however_they_are_started(split, method):
    dataset, order = VIMHDataset(split, np.arange(50)[::-1], MIXED, measure), BatchOrder(50, 7, seed=3)
    loader = WorkerBatches(dataset, order, num_workers=1, multiprocessing_context=method)
    for batch, expected in zip(loader, Batches(dataset, order), strict=True):
        for key, tensor in expected.items():
            assert torch.equal(batch[key], tensor), key


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_refuse_another_dataset_in_a_sentence(copied, method):
    dataset = VIMHDataset(VIMHReader(copied).train, np.arange(51))
    info = json.loads((copied / INFO_NAME).read_text())
    (copied / INFO_NAME).write_text(json.dumps(info | {"seed": 43}))
    loader = WorkerBatches(dataset, BatchOrder(51, 7), num_workers=1, multiprocessing_context=method)
    with pytest.raises(VIMHError) as caught:
        list(loader)
    assert (
        str(caught.value) == f"{copied}: another dataset has taken the place of the one that was opened. Start again."
    )
