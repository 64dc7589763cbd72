"""Sets with channels, from the command to the bytes: what the configurations compose, and what the JSON says."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from scripts.draw_channels import CHANNELS
from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError
from src.generation import fresh_sounds, generate, make_dataset
from src.recipe import Recipe, check_spectral
from src.vimh.reader import VIMHReader

CONFIGS = Path(__file__).parents[2] / "configs" / "spectral"
FIRST, SAMPLES = ("stft", "mel"), ("waveform", "bits")
BASIC = "synth/generate_moog_basic"
# What a set of one spectrogram has always said of itself, and no more.
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
]


def test_every_option_is_a_first_channel_a_further_one_or_samples():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {*FIRST, *CHANNELS, *SAMPLES}


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_is_named_like_its_file_and_its_defaults_are_those_of_its_class(name):
    ((label, settings),) = OmegaConf.load(CONFIGS / f"{name}.yaml").channels.items()
    assert label == name
    made = instantiate_trusted(dict(settings))
    plain = type(made)(**({"win_ratio": settings.win_ratio} if "win_ratio" in settings else {}))
    assert vars(made) == vars(plain)


@pytest.mark.parametrize("first", FIRST)
def test_a_list_composes_channels_in_its_order(recipe_of, first):
    size = ("spectral.win_length=512", "spectral.window=hann")
    recipe = recipe_of(f"spectral=[{first},group_delay,long_window]", *size, config_name=BASIC)
    assert recipe.representation.channel_labels[1:] == ["group_delay", "long_window"]
    assert recipe.directory_name().startswith("vimh-32x32x3_")


@pytest.mark.parametrize("options", [f"[stft,{','.join(CHANNELS)}]", *SAMPLES])
def test_a_set_is_valid_and_can_be_made_again_from_its_json(recipe_of, tmp_path, options):
    recipe = recipe_of(f"spectral={options}", "dataset.size=20", config_name=BASIC)
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
    assert "channels" not in found["generator"]["config"]["spectral"]


@pytest.mark.parametrize("option", CHANNELS)
def test_a_channel_without_a_first_one_is_refused(recipe_of, option):
    with pytest.raises(ConfigError, match=r"no first channel.*spectral=\[stft,"):
        recipe_of(f"spectral={option}", config_name=BASIC)


@pytest.mark.parametrize(
    "option",
    [
        "[stft,waveform]",
        "[waveform,stft]",
        "[mel,stft]",
        "[group_delay,stft]",
        "[stft,modulation,modulation]",
        "[bits,mel]",
        "[group_delay]",
        "modulation",
    ],
)
def test_a_choice_that_cannot_be_followed_whole_is_refused(tmp_path, option):
    with pytest.raises(ConfigError, match=r"one representation comes first"):
        make_dataset(tmp_path / "set", BASIC, [f"spectral={option}"])
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "option", ["stft", "[mel]", "bits", "[stft,group_delay,modulation]", "[mel, normalized]", "my"]
)
def test_other_choices_and_names_that_are_not_known_here_pass(option):
    check_spectral(["dataset.size=4", f"spectral={option}", "spectral.height=16", "~spectral.mel"])
