import numpy as np
import pytest
import torch
from networks import HEADS, network
from scipy.signal import correlate

from scripts.list_configs import parameter_count
from src.checkpoints.run import build_model
from src.errors import ConfigError
from src.models.components.network import NetIO, to_signed_unit
from src.models.components.wave_cnn import WaveCNN

FOR_SAMPLES = {"wave_cnn": 8_000, "wave_cnn_64k": 64_000}


@pytest.mark.parametrize(("model", "count"), FOR_SAMPLES.items())
def test_networks_have_the_parameters_that_they_are_named_after(model, count):
    assert parameter_count(model) == pytest.approx(count, rel=0.1)


@pytest.mark.parametrize(("representation", "sample_bytes"), [("waveform", 1), ("waveform16", 2), ("bits", 1)])
@pytest.mark.parametrize("model", FOR_SAMPLES)
def test_a_set_of_samples_will_do(compose_run, recipe_of, tmp_path, model, representation, sample_bytes):
    recipe = recipe_of("dataset.size=4", f"representation={representation}")
    cfg = compose_run(tmp_path, f"model={model}", "data=vimh_256dss_waveform", f"model.net.sample_bytes={sample_bytes}")
    module = build_model(cfg, recipe.info("")).eval()
    image = torch.from_numpy(recipe.make(0, 4).image)
    logits = module(image, torch.zeros(4, 0))
    assert [len(head) for head in logits.values()] == [4, 4]
    assert not torch.equal(*logits["log10_decay_time"][:2])


@pytest.mark.parametrize(("patch", "kernel_size", "stride"), [(1, 7, 5), (8, 1, 1), (8, 3, 1), (4, 3, 2)])
def test_the_first_stage_is_a_filterbank(patch, kernel_size, stride):
    """Its outputs are those of FIR filters at every hop, as scipy computes them."""
    torch.manual_seed(0)
    settings = {"kernel_sizes": [kernel_size], "strides": [stride], "patch": patch}
    net = WaveCNN(NetIO((1, 1, 160), HEADS), widths=[3], hidden=4, **settings).eval()
    image = torch.randint(0, 256, (1, 1, 1, 160), dtype=torch.uint8)
    samples = to_signed_unit(image, torch.zeros(())).flatten().double().numpy()
    found = net.stages[0][0](to_signed_unit(net.arrange(image), torch.zeros(())))[0, :, 0].detach().numpy()
    for channel, weight in enumerate(net.stages[0][0].weight.detach().double()[:, :, 0].numpy()):
        taps = weight.T.flatten()  # (patch's sample, patch) to samples in order of time
        padded = np.pad(samples, kernel_size // 2 * patch)
        np.testing.assert_allclose(found[channel], correlate(padded, taps, "valid")[:: stride * patch], atol=1e-6)


def test_patches_neither_lose_nor_mix_samples():
    image = torch.randint(0, 256, (2, 3, 4, 21), dtype=torch.uint8)
    net = network("wave_cnn_patches", (3, 4, 21))
    patches = net.arrange(image)  # (batch, 12 rows * 4 samples, 1, 6)
    assert patches.shape == (2, 48, 1, 6)
    assert patches.is_contiguous(memory_format=torch.channels_last)
    restored = patches.reshape(2, 3, 4, 4, 6).transpose(3, 4).flatten(3)
    assert torch.equal(restored[..., :21], image)
    assert (restored[..., 21:] == 128).all()


@pytest.mark.parametrize("patch", [1, 4])
def test_bytes_are_read_as_the_samples_that_they_are_of(patch):
    """To within a level of 16 bits, a network with one weight a sample says the same of both."""
    settings = {"widths": [3], "hidden": 4, "kernel_sizes": [3], "strides": [2], "patch": patch}
    of_samples = WaveCNN(NetIO((1, 1, 160), HEADS), **settings).eval()
    of_bytes = WaveCNN(NetIO((1, 2, 160), HEADS), **settings, sample_bytes=2).eval()
    of_bytes.load_state_dict(of_samples.state_dict())
    word = torch.randint(0, 2**16, (5, 1, 1, 160))
    image = torch.cat([word >> 8, word & 255], dim=2).to(torch.uint8)
    nothing = torch.zeros(5, 0)
    found = of_bytes.samples(to_signed_unit(of_bytes.arrange(image), nothing))
    expected = of_samples.arrange(word.double() / 32767.5 - 1)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    assert of_bytes(image, nothing).keys() == of_samples(image[:, :, :1], nothing).keys()


def test_rows_that_are_no_whole_samples_are_refused():
    settings = {"widths": [3], "hidden": 4, "kernel_sizes": [3], "strides": [2], "sample_bytes": 2}
    with pytest.raises(ConfigError, match="sample_bytes is 2, but 3 rows"):
        WaveCNN(NetIO((1, 3, 160), HEADS), **settings)


def test_rows_and_channels_are_inputs_alike():
    """A stream of 16 bits in one channel is read as 16 channels of one row are."""
    rows = network("wave_cnn", (1, 16, 64)).eval()
    channels = network("wave_cnn", (16, 1, 64)).eval()
    image = torch.randint(0, 256, (3, 1, 16, 64), dtype=torch.uint8)
    aux = torch.zeros(3, 2)
    for name, head in rows(image, aux).items():
        assert torch.equal(head, channels(image.transpose(1, 2), aux)[name])


def test_a_sound_shorter_than_the_strides_is_still_read():
    net = network("wave_cnn", (1, 1, 3), strides=[8, 8]).eval()
    assert net(torch.zeros(2, 1, 1, 3, dtype=torch.uint8), torch.zeros(2, 2))["pitch"].shape == (2, 1)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"strides": [4]}, r"net\.widths 2, net\.kernel_sizes 2, net\.strides 1"),
        ({"kernel_sizes": [9, 5, 5]}, r"kernel_sizes 3, net\.strides 2"),
        ({"kernel_sizes": [9, 4]}, r"kernel_sizes is \[9, 4\].*odd"),
        ({"kernel_sizes": [-1, 5]}, r"kernel_sizes.*odd"),
        ({"strides": [4, 0]}, r"strides is 0.*1 or more"),
        ({"patch": 0}, r"patch is 0.*whole number of 1 or more"),
    ],
)
def test_stages_that_no_network_can_have_are_refused(changes, facts):
    with pytest.raises(ConfigError, match=facts):
        network("wave_cnn", **changes)
