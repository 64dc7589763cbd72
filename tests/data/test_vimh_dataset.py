import numpy as np
import pytest
import torch

from src.data.vimh_dataset import SPEC_RANGE, VIMHDataset, as_they_are
from src.errors import ConfigError, VIMHError
from src.vimh.io import VIMHReader, VIMHSplit


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
    with pytest.raises(ConfigError, match=r"loudness, pitch; known are spec_min, spec_max"):
        VIMHDataset(split, np.arange(3), ("spec_min", "loudness", "pitch"))


def test_a_damaged_record_is_refused_when_it_is_read(split):
    records = np.array(split.records)
    records["n_parameters"][20] = 9
    dataset = VIMHDataset(VIMHSplit(records, split.info, split.path, split.exact), np.arange(len(split)))
    assert len(dataset.__getitems__([19, 21])["image"]) == 2
    with pytest.raises(VIMHError, match="record 20 says"):
        dataset.__getitems__([19, 20])


def test_batches_are_handed_on_as_they_are(dataset):
    batch = dataset.__getitems__([1, 2])
    assert as_they_are(batch) is batch


def test_a_batch_is_a_copy_that_can_be_written_to(dataset):
    batch = dataset.__getitems__([0, 1])
    before = {key: tensor.clone() for key, tensor in batch.items()}
    for tensor in batch.values():
        tensor.zero_()
    for key, tensor in dataset.__getitems__([0, 1]).items():
        assert torch.equal(tensor, before[key]), key
