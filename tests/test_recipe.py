import numpy as np
import pytest
import torch

from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError, VIMHError
from src.listening.report import Axes
from src.recipe import Recipe
from src.synth.voices import MoogVoice, SawVoice
from src.vimh.info import DatasetInfo

MOOG = "synth/generate_moog_basic"
ENVELOPE = "synth/generate_moog_envelope"


@pytest.fixture(scope="module", params=["synth/generate_simple_saw", MOOG, ENVELOPE])
def recipe(recipe_of, request):
    return recipe_of("dataset.size=16", config_name=request.param)


def by_another_writer(recipe, **changes):
    """The description of a recipe's dataset as a program without generator entries would write it."""
    data = recipe.info("theirs").to_dict()
    del data["generator"]
    return DatasetInfo.from_dict(data | changes, "theirs")


def test_a_description_renders_and_shows_what_the_generator_does(recipe):
    found = Recipe.from_info(recipe.info("ours"), instantiate_trusted)
    value = recipe.values(0, 5)
    np.testing.assert_array_equal(found.render(value), recipe.render(value))
    expected = recipe.representation.spectrogram_db(torch.from_numpy(recipe.render(value)))[0]
    np.testing.assert_array_equal(found.spectrogram_db(found.render(value)), expected[:, 0].numpy())


def test_a_set_of_another_writer_is_rendered_by_names(recipe):
    fixed = by_another_writer(recipe).to_dict().get("fixed_parameters", {})
    if isinstance(recipe.synth, MoogVoice) and recipe.synth.note_duration:
        fixed["note_duration"] = {"value": recipe.synth.note_duration}
    info = by_another_writer(recipe, fixed_parameters=fixed)
    found = Recipe.from_info(info, instantiate_trusted)
    assert type(found.synth) is type(recipe.synth)
    value = recipe.values(0, 5)
    np.testing.assert_array_equal(found.render(value), recipe.render(value))
    assert found.representation.image_shape == recipe.representation.image_shape
    frequency = Axes.of(found.representation).frequency
    assert frequency[-1] == pytest.approx(recipe.synth.sample_rate / 2)


def test_parameters_that_are_fixed_by_their_range_alone_are_known(recipe_of):
    recipe = recipe_of("dataset.size=16")
    data = by_another_writer(recipe).to_dict()
    pitch = data.pop("fixed_parameters")["note_number"]["value"]
    data["parameter_mappings"]["note_number"] = {"min": pitch, "max": pitch, "step": 0.0}
    found = Recipe.from_info(DatasetInfo.from_dict(data, "theirs"), instantiate_trusted)
    value = recipe.values(0, 3)
    np.testing.assert_array_equal(found.render(value), recipe.render(value))


@pytest.mark.parametrize(("synth_type", "kind"), [("simple_saw", SawVoice), ("Moog VCF", MoogVoice), ("", SawVoice)])
def test_the_kind_of_synth_decides(recipe_of, synth_type, kind):
    info = by_another_writer(recipe_of("dataset.size=16"), synth_type=synth_type)
    assert type(Recipe.from_info(info, instantiate_trusted).synth) is kind


def test_without_a_kind_the_parameters_decide(recipe_of):
    info = by_another_writer(recipe_of("dataset.size=16", config_name=MOOG), synth_type="")
    assert type(Recipe.from_info(info, instantiate_trusted).synth) is MoogVoice


def test_what_a_description_lacks_is_named(recipe_of):
    recipe = recipe_of("dataset.size=16")
    with pytest.raises(VIMHError, match=r"theirs: .*lacks sample_rate, duration"):
        Recipe.from_info(by_another_writer(recipe, sample_rate=None, duration=None), instantiate_trusted)
    with pytest.raises(VIMHError, match=r"synth_type is 'fm'.*simple, saw, moog"):
        Recipe.from_info(by_another_writer(recipe, synth_type="fm"), instantiate_trusted)
    odd = {"fixed_parameters": {"detune": {"value": 0.1}}}
    with pytest.raises(VIMHError, match=r"SawVoice does not know its parameter detune; it knows note_number"):
        Recipe.from_info(by_another_writer(recipe, **odd), instantiate_trusted)
    with pytest.raises(VIMHError, match=r"lacks generator\.config\.synth, so"):
        Recipe.from_info(by_another_writer(recipe, generator={"config": {"representation": {}}}), instantiate_trusted)
    with pytest.raises(VIMHError, match=r"lacks generator\.config\.synth, generator\.config\.representation"):
        Recipe.from_info(by_another_writer(recipe, generator={}), instantiate_trusted)


def test_values_out_of_the_synths_reach_are_refused_by_name(recipe_of):
    recipe = recipe_of("dataset.size=32")
    with pytest.raises(ConfigError, match="note_velocity is 300"):
        Recipe.from_info(recipe.info("saw"), instantiate_trusted).render(np.array([[300.0, 0.0]]))
