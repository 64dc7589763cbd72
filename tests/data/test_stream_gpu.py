"""Fresh sounds that a GPU makes: the same as the CPU's, in memory that does not grow."""

import pytest
import torch

from src.data.stream import device_stream
from src.data.vimh_dataset import BatchFormat
from src.generation import FreshSounds
from src.recipe import DeviceMaker
from src.spectral.features import measure
from src.tasks.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*LeafSpec", "ignore:Checkpoint directory"),
]
GPU = torch.device("cuda")
AUX = ("spec_min", "spec_max", "decay_time", "spectral_centroid", "level")
CONFIGS = ("synth/generate_simple_saw", "synth/generate_moog_basic", "synth/generate_moog_envelope")


@pytest.fixture
def stream_on(recipe_of):
    """Makes a stream of a generator configuration on the GPU, and ends it; with what makes the same on the CPU."""
    streams = []

    def make(config_name, n_samples, batch_size):
        recipe = recipe_of("dataset.size=64", config_name=config_name)
        assert not DeviceMaker(recipe, GPU).why_not_rendered
        to_tensors = BatchFormat(recipe.space.varying, AUX, measure)
        streams.append(device_stream(FreshSounds(recipe), to_tensors, GPU, n_samples, batch_size=batch_size, seed=5))
        return streams[-1], lambda start, stop: to_tensors(recipe.make_fresh(start, stop))

    yield make
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("config_name", CONFIGS)
def test_a_gpu_makes_the_sounds_of_the_cpu(stream_on, config_name):
    stream, on_cpu = stream_on(config_name, 600, 100)
    for epoch in (0, 3):
        stream.set_epoch(epoch)
        batches = list(stream)
        assert {tensor.device.type for batch in batches for tensor in batch.values()} == {"cuda"}
        found = {key: torch.cat([batch[key] for batch in batches]).cpu() for key in batches[0]}
        first = 5 * 2**40 + 600 * epoch
        expected = on_cpu(first, first + 600)
        for key in ("value", "index", "normalized"):
            assert torch.equal(found[key], expected[key]), key
        difference = (found["image"].int() - expected["image"].int()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.01
        torch.testing.assert_close(found["aux"], expected["aux"], rtol=0.02, atol=0.02)


def test_memory_does_not_grow_with_the_sounds(stream_on):
    stream, _ = stream_on("synth/generate_moog_basic", 20000, 2000)
    taken = []
    for epoch in range(12):
        stream.set_epoch(epoch)
        for batch in stream:
            batch["image"].float().mean()
        torch.cuda.synchronize()
        taken.append(torch.cuda.memory_reserved())
    assert len(set(taken[3:])) == 1


@pytest.mark.slow
def test_a_training_resumes_with_the_sounds_of_the_uninterrupted_one(compose_run, saw_dir, tmp_path):
    data = [f"data.data_dir={saw_dir}", "data.make_dataset=null", "data.stream=true", "data.stream_size=512"]
    on_gpu = ["trainer=gpu", "trainer.accelerator=gpu"]
    common = [*data, *on_gpu, "data.batch_size=64", "model=cnn_micro", "model.scheduler=null", "test=false"]

    def trained(name, n_epochs, *overrides):
        (tmp_path / name).mkdir(exist_ok=True)
        train(compose_run(tmp_path / name, *common, f"trainer.max_epochs={n_epochs}", *overrides))
        ckpt_path = tmp_path / name / "checkpoints" / "last.ckpt"
        return torch.load(ckpt_path, map_location="cpu", weights_only=True), f"ckpt_path={ckpt_path}"

    expected, _ = trained("whole", 4)
    _, resume = trained("parts", 2)
    found, _ = trained("parts", 4, resume)
    assert found["global_step"] == expected["global_step"] == 32
    for key, weights in expected["state_dict"].items():  # a step of the optimizer is 1e-3; gradients add in any order
        torch.testing.assert_close(found["state_dict"][key], weights, rtol=1e-2, atol=1e-3, msg=key)
