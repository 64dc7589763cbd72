"""Fresh sounds: what they are, when they are made, and that the thread that makes them ends."""

import functools
import threading
import time

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from src.checkpoints.trusted import instantiate_trusted
from src.data.stream import AHEAD, SOUNDS_OF_A_SEED, Stream
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import ConfigError
from src.generation import fresh_sounds
from src.recipe import Recipe
from src.spectral.features import measure
from src.vimh.reader import read_info

SOURCE = functools.partial(fresh_sounds, instantiate=instantiate_trusted)


@pytest.fixture
def stream_of():
    """Makes streams whose batches are the numbers of their sounds, and ends them."""
    streams = []

    def make_stream(*args, make=lambda start, stop: {"number": torch.arange(start, stop)}, **kwargs):
        streams.append(Stream(make, *args, **kwargs))
        return streams[-1]

    yield make_stream
    for stream in streams:
        stream.close()
    assert makers() == []


@pytest.fixture
def datamodule_of(saw_dir):
    """Makes datamodules that stream, and ends their streams."""
    datamodules = []

    def make(**settings):
        datamodules.append(VIMHDataModule(saw_dir, stream=True, stream_source=SOURCE, batch_size=16, **settings))
        return datamodules[-1]

    yield make
    for datamodule in datamodules:
        datamodule.teardown("fit")
    assert makers() == []


def makers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fresh-sounds")]


def numbers(stream, epoch):
    stream.set_epoch(epoch)
    return torch.cat([batch["number"] for batch in stream]).tolist()


def whole(loader, epoch=0):
    loader.sampler.set_epoch(epoch)
    batches = [batch for chunk in loader for batch in chunk]
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}


@pytest.mark.parametrize("seed", [0, 42])
@pytest.mark.parametrize(("n_samples", "batch_size"), [(1, 8), (50, 8), (64, 16), (65, 16)])
def test_the_number_of_a_sound_follows_from_seed_epoch_and_place(stream_of, n_samples, batch_size, seed):
    stream = stream_of(n_samples, batch_size, seed)
    for epoch in (0, 1, 2, 7, 3):
        first = seed * SOUNDS_OF_A_SEED + epoch * n_samples
        assert numbers(stream, epoch) == list(range(first, first + n_samples))
    sizes = [len(batch["number"]) for batch in stream]
    assert len(sizes) == len(stream) == -(-n_samples // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_hear_different_sounds_and_equally_many(stream_of, world_size):
    streams = [stream_of(50, 8, 1, rank, world_size) for rank in range(world_size)]
    parts = [[numbers(stream, epoch) for stream in streams] for epoch in range(3)]
    heard = [number for epoch in parts for part in epoch for number in part]
    assert len(set(heard)) == len(heard) == 3 * (50 - 50 % world_size)
    assert {len(part) for epoch in parts for part in epoch} == {50 // world_size}
    assert set(parts[1][0]) <= set(range(SOUNDS_OF_A_SEED + 50, SOUNDS_OF_A_SEED + 100))


def test_an_epoch_that_is_broken_off_spoils_none(stream_of):
    stream = stream_of(50, 8)
    early = iter(stream)
    stream.set_epoch(2)
    assert next(early)["number"][0] == 100
    assert numbers(stream, 3) == list(range(150, 200))
    assert numbers(stream, 3) == list(range(150, 200))
    assert len(makers()) == 1


def test_the_thread_makes_the_next_batches_in_advance_and_no_more(stream_of):
    made = []
    stream = stream_of(3 * AHEAD, 1, make=lambda start, stop: made.append(start) or {})
    next(iter(stream))
    for _ in range(200):
        if len(made) > AHEAD:
            break
        time.sleep(0.01)
    assert made == list(range(AHEAD + 1))
    assert len(makers()) == 1


def test_an_error_reaches_who_wants_the_batch(stream_of):
    def fail(start, stop):
        if start >= 16:
            raise ConfigError("no such note")
        return {"number": torch.arange(start, stop)}

    batches = iter(stream_of(64, 8, make=fail))
    assert [next(batches)["number"][0].item() for _ in range(2)] == [0, 8]
    with pytest.raises(ConfigError, match="no such note"):
        next(batches)


def test_the_network_keeps_its_threads(stream_of):
    n_threads = torch.get_num_threads()
    seen = []
    list(stream_of(8, 8, make=lambda start, stop: seen.append(torch.get_num_threads()) or {}))
    assert set(seen) == {1}
    assert torch.get_num_threads() == n_threads


def test_fewer_sounds_than_devices_are_refused(stream_of):
    with pytest.raises(ConfigError, match=r"stream_size is 1"):
        stream_of(1, 8, world_size=2)


def test_a_batch_has_the_form_of_a_stored_one(datamodule_of, saw_dir):
    aux = ("spec_max", "decay_time")
    fresh = next(iter(datamodule_of(aux=aux, measure=measure).train_dataloader().batches))
    stored = next(iter(VIMHDataModule(saw_dir, batch_size=16, aux=aux, measure=measure).train_dataloader().batches))
    assert fresh.keys() == stored.keys()
    for key, tensor in stored.items():
        assert (fresh[key].dtype, fresh[key].shape) == (tensor.dtype, tensor.shape), key


def test_labels_and_images_are_of_the_same_sounds(datamodule_of, recipe_of):
    batch = whole(datamodule_of().train_dataloader(), epoch=2)
    recipe = recipe_of("dataset.size=64")
    image, spec_range = recipe.represent(recipe.render(batch["value"].numpy()))
    np.testing.assert_array_equal(batch["image"], image)
    np.testing.assert_array_equal(batch["aux"], spec_range)
    for p, spec in enumerate(recipe.space.varying):
        code = recipe.space.encode(batch["value"].numpy())[:, p].astype(np.float64)
        np.testing.assert_array_equal(batch["index"][:, p], spec.index_from_code(code))


@pytest.mark.parametrize(("settings", "expected"), [({}, 46), ({"stream_size": 100}, 100)], ids=str)
def test_an_epoch_has_as_many_sounds_as_the_stored_set_or_as_asked_for(datamodule_of, settings, expected):
    datamodule = datamodule_of(**settings)
    loader = datamodule.train_dataloader()
    assert len(whole(loader)["value"]) == expected
    assert sum(loader.lengths) == -(-expected // 16)


def test_a_stream_is_reproducible_and_goes_on(datamodule_of):
    uninterrupted = datamodule_of().train_dataloader()
    epochs = [whole(uninterrupted, epoch) for epoch in range(4)]
    resumed = whole(datamodule_of().train_dataloader(), 3)
    other = whole(datamodule_of(seed=1).train_dataloader(), 3)
    for key, tensor in epochs[3].items():
        assert torch.equal(resumed[key], tensor), key
    values = [tuple(value) for epoch in [*epochs, other] for value in epoch["value"].tolist()]
    assert len(set(values)) == len(values) == 5 * 46


def test_validation_and_test_samples_stay_those_of_the_dataset(datamodule_of, saw_dir):
    datamodule, stored = datamodule_of(), VIMHDataModule(saw_dir, batch_size=16)
    fresh = {
        tuple(value) for epoch in range(3) for value in whole(datamodule.train_dataloader(), epoch)["value"].tolist()
    }
    for name in ("val_dataloader", "test_dataloader"):
        found, expected = (whole(getattr(each, name)()) for each in (datamodule, stored))
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
        assert not fresh & {tuple(value) for value in expected["value"].tolist()}


def test_a_new_loader_ends_the_thread_of_the_last(datamodule_of):
    datamodule = datamodule_of()
    for _ in range(3):
        next(iter(datamodule.train_dataloader()))
        assert len(makers()) == 1
    datamodule.on_exception(KeyboardInterrupt())
    assert makers() == []


class Listener(LightningModule):
    """Trains nothing; keeps the training samples of every epoch, and may stop the trainer."""

    def __init__(self, stop_at=None, error=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.heard = {}
        self.stop_at, self.error = stop_at, error

    def training_step(self, chunk, batch_idx):
        if (self.current_epoch, batch_idx) == self.stop_at:
            raise self.error
        for batch in chunk:
            self.heard.setdefault(self.current_epoch, []).extend(map(tuple, batch["value"].tolist()))
        return self.layer(torch.ones(1)).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(tmp_path, max_epochs):
    return Trainer(
        default_root_dir=tmp_path,
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # of Lightning's own making
@pytest.mark.parametrize("settings", [{"stream": True}, {"stream": False}], ids=str)
def test_a_resumed_training_hears_what_the_uninterrupted_one_hears(saw_dir, tmp_path, settings):
    def datamodule():
        return VIMHDataModule(saw_dir, batch_size=16, stream_source=SOURCE, **settings)

    uninterrupted, first, second = Listener(), Listener(), Listener()
    trainer(tmp_path, 4).fit(uninterrupted, datamodule())
    stopped = trainer(tmp_path, 2)
    stopped.fit(first, datamodule())
    assert makers() == []
    stopped.save_checkpoint(tmp_path / "stopped.ckpt")
    trainer(tmp_path, 4).fit(second, datamodule(), ckpt_path=tmp_path / "stopped.ckpt", weights_only=True)
    assert first.heard | second.heard == uninterrupted.heard
    assert sorted(second.heard) == [2, 3]
    n_sounds = len(set().union(*uninterrupted.heard.values()))
    assert n_sounds == (4 * 46 if settings["stream"] else 46)
    assert makers() == []


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=repr)
def test_no_thread_outlives_a_training_that_fails(saw_dir, tmp_path, error):
    datamodule = VIMHDataModule(saw_dir, batch_size=16, stream=True, stream_source=SOURCE)
    with pytest.raises((RuntimeError, SystemExit)):
        trainer(tmp_path, 2).fit(Listener((1, 0), error), datamodule)
    assert makers() == []


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
def test_a_sound_that_cannot_be_made_ends_the_training_with_its_error(saw_dir, tmp_path):
    def source(info):
        def fail(start, stop):
            raise ConfigError("no such note")

        return fail

    with pytest.raises(ConfigError, match="no such note"):
        trainer(tmp_path, 2).fit(Listener(), VIMHDataModule(saw_dir, stream=True, stream_source=source))
    assert makers() == []


def test_no_number_of_a_stream_is_one_of_the_dataset(saw_dir):
    recipe = Recipe.from_config(read_info(saw_dir).generator["config"], instantiate_trusted)
    np.testing.assert_array_equal(recipe.make_fresh(3, 5).value, recipe.values(64 + 3, 64 + 5))
