"""The sounds of a dataset's samples."""

import numpy as np
import pytest
import torch

from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError
from src.playback import Playback, griffin_lim, representation_of
from src.vimh.info import DatasetInfo
from src.vimh.reader import VIMHReader


@pytest.fixture(scope="module")
def reader(saw_dir):
    return VIMHReader(saw_dir)


def changed(info, **changes):
    return DatasetInfo.from_dict(info.to_dict() | changes, "a test")


def of_unknown_synth(info):
    config = info.generator["config"] | {"synth": {"_target_": "somewhere.else.Synth"}}
    return Playback(changed(info, generator={"config": config}), instantiate_trusted)


def test_sounds_are_rendered_from_their_values(reader, recipe_of):
    batch = reader.test.read(slice(2, 5))
    playback = Playback(reader.info, instantiate_trusted)
    assert np.array_equal(playback.sounds(batch, "test", 0), recipe_of("dataset.size=64").render(batch.value))
    assert playback.sample_rate == 8000
    assert playback.silence == ""
    assert "rendered from the stored values" in playback.how


def test_sounds_of_an_unknown_synth_come_from_their_images(reader):
    batch = reader.test.read(slice(2, 4))
    playback = of_unknown_synth(reader.info)
    waveform = playback.sounds(batch, "test", 0)
    assert (waveform.shape, playback.sample_rate, playback.silence) == ((2, 8000), 8000, "")
    assert "Griffin-Lim" in playback.how
    made = representation_of(reader.info).to_image(torch.from_numpy(waveform))[0].numpy()
    heard = batch.image > 100
    assert np.corrcoef(made[heard], batch.image[heard])[0, 1] > 0.7


def test_griffin_lim_of_a_batch_is_that_of_its_samples(reader):
    batch = reader.test.read(slice(0, 2))
    playback = of_unknown_synth(reader.info)
    single = [playback.sounds(reader.test.read(slice(number, number + 1)), "test", number)[0] for number in range(2)]
    assert playback.sounds(batch, "test", 0) == pytest.approx(np.stack(single), abs=1e-4)


def test_a_sentence_says_why_there_are_no_sounds(reader):
    playback = Playback(
        changed(reader.info, generator=None, synth_type="unknown", spectrogram_config=None), instantiate_trusted
    )
    assert "spectrogram_config" in playback.silence
    assert playback.how == f"No sounds: {playback.silence}"
    with pytest.raises(ConfigError, match="spectrogram_config"):
        playback.sounds(reader.test.read(slice(0, 1)), "test", 0)


def test_the_representation_out_of_the_json_makes_the_same_images(recipe_of):
    for name in ("simple_saw", "moog_envelope"):
        recipe = recipe_of("dataset.size=8", config_name=f"synth/generate_{name}")
        waveform = torch.from_numpy(recipe.render(recipe.values(0, 2)))
        image, spec_range = representation_of(recipe.info(name)).to_image(waveform)
        expected = recipe.represent(waveform.numpy())
        assert np.array_equal(image, expected[0])
        assert np.array_equal(spec_range, expected[1])


@pytest.mark.parametrize(
    "changes", [{"spectrogram_config": None}, {"sample_rate": None}, {"spectrogram_config": {"win_length": 80}}]
)
def test_a_json_that_says_too_little_is_refused(reader, changes):
    with pytest.raises(ConfigError, match="does not say how the images were made"):
        representation_of(changed(reader.info, **changes))


def test_an_image_without_a_range_sounds_too(reader):
    batch = reader.test.read(slice(0, 1))._replace(spec_range=np.empty((1, 0), np.float32))
    assert np.abs(griffin_lim(representation_of(reader.info), batch)).max() > 0
