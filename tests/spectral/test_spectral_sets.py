"""Sets with channels, from the command to the bytes: what the configurations compose, and what the JSON says."""

import json
from pathlib import Path

import pytest
from hydra.errors import InstantiationException, MissingConfigException
from omegaconf import OmegaConf

from scripts.draw_channels import CHANNELS
from src.checkpoints.trusted import instantiate_trusted
from src.errors import CheckpointError, ConfigError
from src.generation import fresh_sounds, generate, is_made
from src.migration import CONFIG_VERSION
from src.programs.explain import find_cause
from src.recipe import Recipe
from src.vimh.reader import VIMHReader

CONFIGS = Path(__file__).parents[2] / "configs"
FIRST = ("stft", "mel", "log_frequency")
SAMPLES = ("representation=waveform", "representation=waveform16", "representation=bits")
BASIC = "synth/generate_moog_basic"
# The keys in the JSON of a set with one spectrogram, in every version, and no more.
USUAL_KEYS = [
    "format",
    "version",
    "dataset_name",
    "output_format",
    "height",
    "width",
    "channels",
    "channel_labels",
    "varying_parameters",
    "parameter_names",
    "train_samples",
    "test_samples",
    "total_samples",
    "n_samples",
    "sample_rate",
    "duration",
    "synth_type",
    "image_size",
    "parameter_mappings",
    "fixed_parameters",
    "pre_emphasis_coefficient",
    "spectrogram_config",
    "mel_config",
    "label_encoding",
    "seed",
    "sampling",
    "generator",
    "shard",
    "files",
    "json_sha256",
]


def test_every_option_is_known_here():
    known = {f"representation={name}" for name in FIRST} | {*SAMPLES}
    assert {f"representation={path.stem}" for path in (CONFIGS / "representation").glob("*.yaml")} == known
    assert {path.stem for path in (CONFIGS / "channels").glob("*.yaml")} == set(CHANNELS)


def test_more_views_than_an_image_can_use_are_refused(recipe_of):
    one = {"_target_": "src.spectral.channels.LogPower", "window": "hann"}
    channels = {f"a{i}": one | {"ratios": [(16 * i + j + 1) / 1000 for j in range(16)]} for i in range(5)}
    config = dict(recipe_of("representation.win_length=1000").config) | {"channels": channels}
    with pytest.raises(CheckpointError, match="more than 64 views"):
        Recipe.from_config(config, instantiate_trusted)


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_is_named_like_its_file_and_its_defaults_are_those_of_its_class(name):
    ((label, settings),) = OmegaConf.load(CONFIGS / "channels" / f"{name}.yaml").items()
    assert label == name
    made = instantiate_trusted(settings, slot="channel")
    assert vars(made) == vars(type(made)())
    assert settings.keys() - {"_target_"} == type(made).model_fields.keys()


@pytest.mark.parametrize("first", FIRST)
def test_a_list_composes_channels_in_its_order(recipe_of, first):
    size = ("representation.win_length=512", "representation.window=hann")
    channels = ("channels=[group_delay,windows]", "channels.windows.ratios=[4]")
    recipe = recipe_of(f"representation={first}", *channels, *size, config_name=BASIC)
    assert recipe.representation.channel_labels[1:] == ["group_delay", "window_4"]
    assert recipe.directory_name().startswith("vimh-32x32x3_")


@pytest.mark.parametrize("window", ["[kaiser,14.0]", "[general_gaussian,1.5,20]", "14.0"])
def test_windows_with_parameters_can_be_configured(recipe_of, tmp_path, window):
    settings = (f"representation.window={window}", "channels=[group_delay]", f"channels.group_delay.window={window}")
    recipe = recipe_of(*settings, "dataset.size=4", config_name=BASIC)
    generate(recipe, tmp_path / "set")
    assert is_made(tmp_path / "set", recipe.config)
    described = VIMHReader(tmp_path / "set").info.spectrogram_config
    assert described["window"] == described["channels"]["group_delay"]["window"]


@pytest.mark.parametrize("options", ["representation=stft", *SAMPLES])
def test_a_set_is_valid_and_can_be_made_again_from_its_json(recipe_of, tmp_path, options):
    channels = [f"channels=[{','.join(CHANNELS)}]"] if options == "representation=stft" else []
    recipe = recipe_of(options, *channels, "dataset.size=20", config_name=BASIC)
    data_dir = tmp_path / recipe.directory_name()
    generate(recipe, data_dir, batch_size=7)
    reader = VIMHReader(data_dir)
    reader.validate()
    info, representation = reader.info, recipe.representation
    assert info.image_shape == representation.image_shape
    assert [entry and list(entry) for entry in info.channel_ranges] == [
        entry and list(entry) for entry in representation.channel_ranges
    ]
    assert list(info.channel_axes) == representation.channel_axes
    assert json.loads((data_dir / "vimh_dataset_info.json").read_text())["channel_labels"] == list(info.channel_labels)
    again = Recipe.from_config(info.generator["config"], instantiate_trusted)
    generate(again, tmp_path / "again", batch_size=20)
    assert (tmp_path / "again" / "train").read_bytes() == (data_dir / "train").read_bytes()
    assert fresh_sounds(info, instantiate_trusted)(0, 3).image.shape[1:] == info.image_shape
    if options in SAMPLES:
        assert not reader.train.read(slice(None)).spec_range.any()


def test_the_json_of_a_spectrogram_alone_says_what_it_always_said(saw_dir):
    found = json.loads((saw_dir / "vimh_dataset_info.json").read_text())
    assert list(found) == USUAL_KEYS
    assert "channels" not in found["spectrogram_config"]
    assert found["generator"]["config"]["channels"] == {}
    assert found["generator"]["config_version"] == CONFIG_VERSION


@pytest.mark.parametrize("option", SAMPLES)
def test_samples_with_channels_are_refused(recipe_of, option):
    with pytest.raises(InstantiationException) as caught:
        recipe_of(option, "channels=[modulation]", config_name=BASIC)
    message = str(find_cause(caught.value, (ConfigError,)))
    assert "takes samples as they are, and no channels (modulation)" in message
    assert "representation=stft or mel" in message


def test_a_channel_that_does_not_exist_is_refused(recipe_of):
    with pytest.raises(MissingConfigException, match="channels/cochlea"):
        recipe_of("channels=[modulation,cochlea]", config_name=BASIC)
