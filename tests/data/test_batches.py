from functools import partial
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from src.data.batches import CHUNK_BYTES, Batches, BatchOrder, Chunks, batches_per_chunk
from src.data.vimh_dataset import MemoryDataset
from src.errors import ConfigError


def everything(order):
    return torch.cat(list(order)).tolist()


def at(epoch, *args, **kwargs):
    order = BatchOrder(*args, **kwargs)
    order.set_epoch(epoch)
    return order


@pytest.mark.parametrize("seed", [0, 1, 42, 2**40])
@pytest.mark.parametrize("n_samples", [1, 2, 7, 64, 1000])
def test_an_epoch_is_a_permutation_that_seed_and_epoch_decide(n_samples, seed):
    first, again = at(3, n_samples, 16, seed), at(3, n_samples, 16, seed)
    assert sorted(everything(first)) == list(range(n_samples))
    assert everything(first) == everything(again) == everything(first)
    if n_samples > 7:
        assert everything(first) != everything(at(4, n_samples, 16, seed))
        assert everything(first) != everything(at(3, n_samples, 16, seed + 1))


def test_without_a_seed_the_order_is_that_of_the_file():
    assert everything(at(5, 20, 8)) == list(range(20))


def test_an_iterator_follows_an_epoch_that_is_set_after_it_was_made():
    order = BatchOrder(50, 8, seed=1)
    early = iter(order)
    order.set_epoch(7)
    assert torch.cat(list(early)).tolist() == everything(at(7, 50, 8, 1))


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [2, 5, 16])
@pytest.mark.parametrize("n_samples", [33, 64, 65, 101])
def test_batches_are_as_many_on_every_device_and_equal_to_within_one(n_samples, batch_size, world_size):
    orders = [BatchOrder(n_samples, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    n_batches = -(-n_samples // (batch_size * world_size))
    for order in orders:
        sizes = [len(batch) for batch in order]
        assert len(sizes) == len(order) == n_batches
        assert max(sizes) <= batch_size
        assert min(sizes) >= max(1, max(sizes) - 1)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_metrics_see_every_sample_once(world_size):
    parts = [everything(BatchOrder(101, 16, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert sorted(chain(*parts)) == list(range(101))


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_gradients_see_equally_many_samples_of_every_device(world_size):
    seen = []
    for epoch in range(20):
        parts = [everything(at(epoch, 101, 16, 7, rank, world_size, equal=True)) for rank in range(world_size)]
        assert {len(part) for part in parts} == {101 // world_size}
        epoch_samples = list(chain(*parts))
        assert len(set(epoch_samples)) == len(epoch_samples) == 101 - 101 % world_size
        seen.append(set(range(101)) - set(epoch_samples))
    if 101 % world_size:
        assert len(set.union(*seen)) > max(map(len, seen))  # others are left out in other epochs


@pytest.mark.parametrize("seed", [None, 3])
def test_devices_share_the_batches_of_one(seed):
    alone = [set(batch.tolist()) for batch in BatchOrder(96, 16, seed)]
    parts = [list(BatchOrder(96, 8, seed, rank, 2)) for rank in range(2)]
    assert [{*a.tolist(), *b.tolist()} for a, b in zip(*parts, strict=True)] == alone


@pytest.mark.parametrize(("n_samples", "batch_size", "world_size"), [(1, 8, 2), (3, 1, 2), (7, 16, 8)])
def test_devices_with_nothing_to_do_are_refused(n_samples, batch_size, world_size):
    with pytest.raises(ConfigError, match=f"{n_samples} samples in batches of {batch_size} leave one of {world_size}"):
        BatchOrder(n_samples, batch_size, world_size=world_size)


def test_a_loader_gives_the_batches_of_its_order():
    samples = MemoryDataset({"image": torch.arange(50, dtype=torch.uint8), "value": torch.arange(50.0)})
    loader = Batches(samples, BatchOrder(50, 8, seed=1))
    loader.order.set_epoch(2)
    batches = list(loader)
    assert len(batches) == len(loader) == 7
    for batch, numbers in zip(batches, at(2, 50, 8, 1), strict=True):
        np.testing.assert_array_equal(batch["image"], numbers)
        np.testing.assert_array_equal(batch["value"], numbers)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_chunks_hold_all_batches_in_order(size):
    order = BatchOrder(50, 8, seed=1)
    loader = Chunks(order, order, size)
    chunks = list(loader)
    assert [len(chunk) for chunk in chunks] == loader.lengths
    assert max(loader.lengths) <= size
    assert len(chunks) == len(loader) == -(-7 // size)
    assert torch.cat(list(chain(*chunks))).tolist() == everything(order)


@pytest.mark.parametrize("n_given", [0, 1, 2, 3, 4])
def test_a_loader_goes_on_where_another_one_ended(n_given):
    orders = [BatchOrder(50, 8, seed=1) for _ in range(2)]
    first, second = (Chunks(order, order, 2) for order in orders)
    expected = [torch.cat(chunk).tolist() for chunk in first]
    early = iter(first)
    for _ in range(n_given):
        next(early)
    second.load_state_dict(first.state_dict() if n_given else {"n_batches": 0})
    assert [torch.cat(chunk).tolist() for chunk in second] == expected[n_given % 4 :]
    assert [torch.cat(chunk).tolist() for chunk in second] == expected


@pytest.mark.parametrize(
    ("batch_size", "n_bytes", "expected"),
    [(128, 1024, 32), (32, 1024, 128), (5000, 1024, 1), (128, CHUNK_BYTES // 256, 2), (128, 2 * CHUNK_BYTES, 1)],
)
def test_a_chunk_is_about_so_many_samples_and_no_more_than_fits(batch_size, n_bytes, expected):
    assert batches_per_chunk(None, "train", batch_size, n_bytes) == expected


@pytest.mark.parametrize(("batch_size", "n_bytes", "expected"), [(128, 1024, 32), (2048, 1024, 16), (4096, 8192, 1)])
def test_on_a_gpu_a_chunk_has_several_batches_whatever_their_size(batch_size, n_bytes, expected):
    everything = {"limit_train_batches": 1.0, "val_check_interval": 1.0, "max_steps": -1, "min_steps": None}
    of_gpu = SimpleNamespace(root_device=torch.device("cuda"))
    trainer = SimpleNamespace(**everything, callbacks=[], strategy=of_gpu)
    assert batches_per_chunk(trainer, "train", batch_size, n_bytes) == expected


def test_the_order_on_a_device_is_the_same():
    order = at(3, 50, 8, seed=1)
    for numbers, same in zip(order, order.on(torch.device("cpu")), strict=True):
        assert torch.equal(numbers, same)


# ----- balanced


CLASSES = np.repeat([0, 1, 2, -1], [70, 20, 7, 4])


@pytest.mark.parametrize("epoch", [0, 5])
def test_a_balanced_epoch_has_equally_many_of_every_class(epoch):
    drawn = everything(at(epoch, 101, 16, seed=1, classes=CLASSES))
    assert len(drawn) == 101
    counts = {c: int((CLASSES[drawn] == c).sum()) for c in (0, 1, 2, -1)}
    assert sorted(counts.values()) == [25, 25, 25, 26]
    times = np.bincount(drawn, minlength=101)
    for c in counts:
        assert np.ptp(times[c == CLASSES]) <= 1  # nobody is preferred within a class
    first = CLASSES[drawn[:50]]
    assert len(set(first.tolist())) == 4  # the classes are shuffled


def test_a_balanced_order_is_decided_by_seed_and_epoch_and_uses_all_samples_in_time():
    order = partial(at, n_samples=101, batch_size=16, classes=CLASSES)
    assert everything(order(3, seed=1)) == everything(order(3, seed=1))
    assert everything(order(3, seed=1)) != everything(order(4, seed=1)) != everything(order(4, seed=2))
    assert {number for epoch in range(30) for number in everything(order(epoch, seed=1))} == set(range(101))


def test_devices_share_a_balanced_order():
    parts = [everything(at(2, 100, 10, 1, rank, 2, equal=True, classes=CLASSES[:100])) for rank in range(2)]
    assert sorted(chain(*parts)) == sorted(everything(at(2, 100, 20, 1, classes=CLASSES[:100])))


def test_classes_that_are_as_frequent_as_each_other_are_drawn_once_each():
    order = at(0, 90, 16, seed=1, classes=np.arange(90) % 3)
    assert sorted(everything(order)) == list(range(90))
