"""Blocks of fresh sounds that a device makes, with the CPU as the device: the batches are those of the stream there."""

import dataclasses
import functools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import src.recipe.device
from src.checkpoints.trusted import instantiate_trusted
from src.data import vimh_datamodule
from src.data.stream import CPU, SOUNDS_OF_A_SEED, DeviceSource, Stream, device_stream
from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import BatchFormat
from src.errors import ConfigError
from src.generation import FreshSounds, fresh_sounds
from src.recipe import DeviceMaker, Recipe
from src.spectral.features import measure
from src.synth.voices import SawVoice
from src.tasks.train import train
from src.vimh.reader import read_info

ROOT = Path(__file__).parents[2]
AUX = ("spec_max", "decay_time", "spec_min")
EPOCH = 46  # sounds


class SawThere(SawVoice):
    """A sawtooth whose device is the CPU, with all voices of an instant side by side, as a GPU writes them."""

    def render_cuda(self, parameters):
        assert {(value.dtype, value.ndim) for value in parameters.values()} == {(torch.float64, 1)}
        waveform = self.render({name: value.numpy() for name, value in parameters.items()})
        return torch.from_numpy(waveform.T.copy()).T


class SawElsewhere(SawVoice):
    """One that must not be asked on the CPU."""

    def render(self, parameters):
        raise AssertionError

    def render_cuda(self, parameters):
        return SawThere(self.sample_rate, self.duration).render_cuda(parameters)


@pytest.fixture
def recipe(saw_dir):
    return Recipe.from_config(read_info(saw_dir).generator["config"], instantiate_trusted)


@pytest.fixture
def source_with(recipe, monkeypatch):
    """Fresh sounds of the dataset whose synth is of another kind, rendered there or on the CPU."""

    def make(kind, there=True):
        monkeypatch.setattr(DeviceMaker, "why_not_rendered", "" if there else "it is elsewhere")
        synth = kind(recipe.synth.sample_rate, recipe.synth.duration)
        return FreshSounds(dataclasses.replace(recipe, synth=synth))

    return make


@pytest.fixture
def stream_of(recipe, monkeypatch):
    """Makes streams of a source by blocks of at most so many sounds, and ends them."""
    streams = []
    to_tensors = BatchFormat(recipe.space.varying, AUX, measure)

    def make(source, block_size=10**6, n_samples=EPOCH, batch_size=8, **settings):
        monkeypatch.setattr(src.recipe.device, "MOST_TOGETHER", block_size)
        monkeypatch.setattr(src.recipe.device, "SOUND_BYTES", 4 * source.recipe.n_samples * block_size)
        streams.append(device_stream(source, to_tensors, CPU, n_samples, batch_size=batch_size, **settings))
        return streams[-1]

    yield make
    for stream in streams:
        stream.close()


def batches(stream, epoch):
    stream.set_epoch(epoch)
    return list(stream)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key, tensor in other.items():
            assert one[key].dtype == tensor.dtype
            assert torch.equal(one[key], tensor), key


@pytest.mark.parametrize(("kind", "is_there"), [(SawVoice, False), (SawElsewhere, True)], ids=["travels", "there"])
@pytest.mark.parametrize("block_size", [1, 20, 10**6])
def test_a_device_makes_the_batches_of_the_cpus_thread(saw_dir, source_with, stream_of, kind, is_there, block_size):
    source = functools.partial(fresh_sounds, instantiate=instantiate_trusted)
    datamodule = VIMHDataModule(
        saw_dir, stream=True, stream_source=source, batch_size=8, aux=AUX, measure=measure, seed=3
    )
    on_cpu = datamodule.train_dataloader()
    there = stream_of(source_with(kind, is_there), block_size, seed=3)
    for epoch in (0, 1, 5):
        assert_same(batches(there, epoch), batches(on_cpu.batches, epoch))
    datamodule.teardown("fit")


def test_small_groups_change_nothing(recipe, source_with, monkeypatch):
    expected = recipe.make_fresh(3, 80)
    sound = 4 * recipe.n_samples  # bytes
    monkeypatch.setattr(src.recipe.device, "MEMORY", 16 * 7 * sound)  # seven are rendered together
    blocks = source_with(SawThere).on(CPU)
    found = blocks.finish(blocks.begin(3, 80))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("there", [True, False])
def test_a_sample_is_made_of_its_number_on_every_device(recipe, source_with, there):
    source = source_with(SawThere, there)
    for ours, theirs in zip(DeviceMaker(source.recipe, CPU).make(5, 50), recipe.make(5, 50), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_batches_are_views_of_their_block_and_equal_in_size(source_with, stream_of):
    found = batches(stream_of(source_with(SawThere), 24, n_samples=80), 0)
    assert [len(batch["image"]) for batch in found] == 10 * [8]
    for key in found[0]:
        places = [batch[key].untyped_storage().data_ptr() for batch in found]
        assert [places.index(place) for place in places] == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9], key


def test_a_block_begins_at_the_same_sound_wherever_a_run_begins():
    """What is made together is the same in every run, so that not even its rounding differs."""
    runs = []
    for first in (0, 4):
        finished = []
        stream = Stream(
            lambda start, stop: torch.arange(start, stop),
            100,
            10,
            finish=lambda block, done=finished: done.append(block.tolist()) or {"number": block},
            block_size=35,
        )
        stream.set_epoch(1)
        runs.append([batch["number"].tolist() for batch in list(stream)[first:]])
        stream.set_epoch(2)
        runs.append([batch["number"].tolist() for batch in stream])
        assert [(block[0], len(block)) for block in finished] == [
            *((100, 30), (130, 30), (160, 30), (190, 10)),
            *((200, 30), (230, 30), (260, 30), (290, 10)),
        ]
        stream.close()
    assert runs[0][4:] == runs[2]
    assert runs[1] == runs[3]


@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_make_different_sounds_and_equally_many(world_size):
    heard = []
    for rank in range(world_size):
        stream = Stream(
            lambda start, stop: {"number": torch.arange(start, stop)}, 50, 4, 1, rank, world_size, block_size=12
        )
        for epoch in range(3):
            numbers = torch.cat([batch["number"] for batch in batches(stream, epoch)])
            assert len(numbers) == 50 // world_size
            assert ((numbers - SOUNDS_OF_A_SEED) // 50 == epoch).all()
            heard += numbers.tolist()
        stream.close()
    assert len(set(heard)) == len(heard)


class Failing(SawThere):
    """Refuses loud notes, or makes them too loud."""

    peak = None

    def render(self, parameters):
        waveform = super().render(parameters)
        loud = parameters["note_velocity"] > 120
        if self.peak is None and loud.any():
            raise ConfigError("note_velocity is too high.")
        waveform[loud] *= self.peak or 1.0
        return waveform


@pytest.mark.parametrize("peak", [None, 1e6, np.nan])
@pytest.mark.parametrize("there", [True, False])
def test_a_sound_that_cannot_be_made_is_named_as_on_the_cpu(source_with, stream_of, monkeypatch, there, peak):
    source = source_with(Failing, there)
    monkeypatch.setattr(Failing, "peak", peak)
    with pytest.raises(ConfigError) as on_cpu:
        source(0, EPOCH)
    stream = stream_of(source)
    with pytest.raises(ConfigError, match=r"^Sample \d+ \(note_velocity 12.*Correct the synth") as found:
        batches(stream, 0)
    assert str(found.value) == str(on_cpu.value)
    assert stream.waited > 0


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), RuntimeError("CUDA error")], ids=str)
def test_what_fails_on_the_device_is_not_taken_for_a_bad_sound(source_with, stream_of, monkeypatch, error):
    def fail(synth, parameters):
        raise error

    source = source_with(SawThere)
    monkeypatch.setattr(SawThere, "render_cuda", fail)
    with pytest.raises(type(error), match=str(error)):
        batches(stream_of(source), 0)


def test_what_is_together_follows_from_the_memory(recipe, monkeypatch):
    monkeypatch.setattr(DeviceMaker, "why_not_rendered", "")
    sizes = {}
    for memory in (2**30, 2**36):
        monkeypatch.setattr(src.recipe.device, "MEMORY", memory)
        maker = DeviceMaker(recipe, torch.device("meta"))
        sizes[memory] = maker.block_size, maker.n_rendered, maker.n_represented
        share = memory / 16
        assert sizes[memory][0] * 1024 <= share
        assert sizes[memory][1] * 4 * 8000 <= share
        assert sizes[memory][2] * 4 * 8000 < share
    assert all(small < large for small, large in zip(*sizes.values(), strict=True))
    assert sizes[2**36][:2] == (65536, 65536)


def test_seconds_of_waiting_and_of_work_are_counted():
    stream = Stream(lambda start, stop: {"sum": torch.ones(stop - start, 400, 400).sum(dim=(1, 2))}, 50, 8)
    batches(stream, 0)
    assert stream.waited > 0
    assert stream.worked > 0
    stream.close()


@pytest.mark.parametrize(("name", "there"), [("cuda", True), ("mps", False), ("cpu", False)])
def test_a_gpu_makes_its_sounds_itself_if_the_source_can(saw_dir, monkeypatch, name, there):
    asked = []
    monkeypatch.setattr(VIMHDataModule, "_device", torch.device(name))
    monkeypatch.setattr(vimh_datamodule, "device_stream", lambda *a, **k: asked.append((a, k)) or Stream(None, 8, 8))
    for source in (fresh_sounds, lambda info, instantiate: lambda start, stop: None):
        stream_source = functools.partial(source, instantiate=instantiate_trusted)
        assert isinstance(stream_source(read_info(saw_dir)), DeviceSource) is (source is fresh_sounds)
        datamodule = VIMHDataModule(saw_dir, stream=True, stream_source=stream_source, batch_size=8, seed=1)
        datamodule.train_dataloader()
        datamodule.teardown("fit")
    assert len(asked) == there
    for (_, _, device, n_samples), settings in asked:
        assert n_samples == EPOCH
        assert device.type == "cuda"
        assert settings == {"seed": 1, "batch_size": 8, "rank": 0, "world_size": 1}


def blocks_on_the_cpu(datamodule, source, n_samples):
    """In the place of `VIMHDataModule._stream_of`: blocks of some batches, as on a GPU."""
    to_tensors = BatchFormat(datamodule.info.parameters, datamodule.aux, datamodule.measure)
    return device_stream(source, to_tensors, CPU, n_samples, seed=datamodule.order_seed, **datamodule._share)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_training_on_blocks_is_the_training_on_batches_and_resumes(compose_run, saw_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(src.recipe.device, "SOUND_BYTES", 50 * 4 * 8000)
    data = [f"data.data_dir={saw_dir}", "data.make_dataset=null", "data.stream=true", "data.stream_size=96"]
    common = [*data, "data.batch_size=16", "model=cnn_micro", "model.scheduler=null", "test=false"]

    def trained(name, n_epochs, *overrides):
        (tmp_path / name).mkdir(exist_ok=True)
        train(compose_run(tmp_path / name, *common, f"trainer.max_epochs={n_epochs}", *overrides))
        return torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    expected = trained("batches", 3)
    monkeypatch.setattr(VIMHDataModule, "_stream_of", blocks_on_the_cpu)
    whole, first = trained("blocks", 3), trained("resumed", 1)
    assert not all(torch.equal(whole[key], weights) for key, weights in first.items())
    resumed = trained("resumed", 3, f"ckpt_path={tmp_path / 'resumed' / 'checkpoints' / 'last.ckpt'}")
    for key, weights in expected.items():
        assert torch.equal(whole[key], weights), key
        assert torch.equal(resumed[key], weights), key


SIMULATED = """
    import sys
    from pathlib import Path

    import torch

    from src.checkpoints.trusted import instantiate_own
    from src.data.stream import CPU, device_stream
    from src.data.vimh_dataset import BatchFormat
    from src.generation import FreshSounds
    from src.recipe import DeviceMaker, Recipe
    from src.hydra_versions import initialize_configs
    from hydra import compose

    small = ["dataset.size=8", "dataset.duration=0.02", "representation.height=8", "representation.width=8"]
    with initialize_configs(Path("configs").absolute()):
        cfg = compose(f"synth/generate_{sys.argv[1]}", [*small, "representation.win_length=32", *sys.argv[2:]])
    recipe = Recipe.from_config(cfg, instantiate_own)
    assert not DeviceMaker(recipe, CPU).why_not_rendered
    to_tensors = BatchFormat(recipe.space.varying)
    stream = device_stream(FreshSounds(recipe), to_tensors, CPU, 6, batch_size=3, seed=2)
    for epoch in range(2):
        stream.set_epoch(epoch)
        batches = list(stream)
        found = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
        expected = to_tensors(recipe.make_fresh(2 * 2**40 + 6 * epoch, 2 * 2**40 + 6 * epoch + 6))
        assert found.keys() == expected.keys()
        for key in ("value", "index", "normalized"):
            assert torch.equal(found[key], expected[key]), key
        torch.testing.assert_close(found["aux"], expected["aux"], rtol=0, atol=0.05)
        assert (found["image"].int() - expected["image"].int()).abs().max() <= 1
        assert found["image"].float().std() > 10
    stream.close()
    print("the same")
"""


@pytest.mark.slow
@pytest.mark.parametrize("config_name", ["simple_saw", "moog_envelope"])
def test_voices_of_cuda_make_the_same_sounds_in_numbas_simulator(config_name):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SIMULATED), config_name],
        cwd=ROOT,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.stdout == "the same\n", done.stderr
