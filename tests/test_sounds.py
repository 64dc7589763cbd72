"""A synth that goes wrong: no dataset is made, and the sample and its values are named."""

import dataclasses

import numpy as np
import pytest

from src.errors import ConfigError, NSMError
from src.generation import generate
from src.recipe import LOUDEST

SIZE, BAD = 40, 35  # of which 32 train
SMALL = (f"dataset.size={SIZE}", "representation.height=8", "representation.width=8", "dataset.duration=0.1")


class FailingSynth:
    """A synth that fails at one sound.

    Args:
        recipe: Of the sounds.
        number: Of the sample it fails at.
        put: What its waveform holds somewhere; an exception is raised.
    """

    def __init__(self, recipe, number, put):
        self.synth = recipe.synth
        self.defaults = recipe.synth.defaults
        names = [spec.name for spec in recipe.space.varying]
        self.bad = dict(zip(names, recipe.values(number, number + 1)[0], strict=True))
        self.put = put

    def render(self, parameters):
        waveform = self.synth.render(parameters)
        rows = np.all([parameters[name] == value for name, value in self.bad.items()], axis=0)
        if rows.any() and isinstance(self.put, Exception):
            raise self.put
        if rows.any():
            waveform[rows, 123] = self.put
        return waveform


def failing(recipe, put, number=BAD):
    return dataclasses.replace(recipe, synth=FailingSynth(recipe, number, put))


@pytest.mark.parametrize("batch_size", [1, 7, 256])
@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (np.nan, "its peak is nan of full scale"),
        (np.inf, "its peak is inf of full scale"),
        (-np.inf, "its peak is inf of full scale"),
        (-101.0, "its peak is 101 of full scale"),
        (ZeroDivisionError("by\nzero"), "ZeroDivisionError: by zero"),
        (ConfigError("The filter is unstable."), "The filter is unstable"),
        (KeyError(), "KeyError"),
    ],
    ids=str,
)
def test_the_sample_and_its_values_are_named(recipe_of, tmp_path, batch_size, put, reason):
    recipe = recipe_of(*SMALL)
    velocity, decay = recipe.values(BAD, BAD + 1)[0]
    with pytest.raises(ConfigError) as caught:
        generate(failing(recipe, put), tmp_path / "set", batch_size=batch_size)
    assert str(caught.value) == (
        f"Sample {BAD} (note_velocity {velocity:g}, log10_decay_time {decay:g}) is no sound of FailingSynth: {reason}. "
        "Correct the synth, or leave such values out of the parameters' ranges."
    )
    assert list(tmp_path.iterdir()) == []


def test_what_fails_in_no_sound_alone_names_the_batch(recipe_of):
    recipe = recipe_of(*SMALL)

    class Small(FailingSynth):
        def render(self, parameters):
            if len(parameters["note_velocity"]) > 1:
                raise MemoryError
            return self.synth.render(parameters)

    with pytest.raises(ConfigError, match=r"Sample 3 .* cannot be rendered with the 4 after it, MemoryError\."):
        dataclasses.replace(recipe, synth=Small(recipe, 0, 0)).make(3, 8)


def test_a_loud_sound_is_one(recipe_of):
    recipe = recipe_of(*SMALL)
    assert np.abs(failing(recipe, LOUDEST).sounds(recipe.values(0, SIZE))).max() == LOUDEST


def test_fresh_sounds_are_looked_at_too(recipe_of):
    recipe = recipe_of(*SMALL)
    broken = failing(recipe, np.nan, SIZE + 5)
    with pytest.raises(NSMError, match=rf"^Sample {SIZE + 5} \(note_velocity"):
        broken.make_fresh(2, 9)
    assert len(broken.make_fresh(0, 5).image) == 5


def test_a_synth_that_fails_at_the_ends_of_the_ranges_makes_nothing(recipe_of, tmp_path):
    recipe = recipe_of(*SMALL)
    broken = failing(recipe, ZeroDivisionError("by zero"))
    broken.synth.bad = {spec.name: spec.max for spec in recipe.space.varying}
    with pytest.raises(ConfigError, match=r"FailingSynth fails at the ends .* ranges: ZeroDivisionError: by zero\."):
        generate(broken, tmp_path / "deep" / "set")
    assert list(tmp_path.iterdir()) == []
