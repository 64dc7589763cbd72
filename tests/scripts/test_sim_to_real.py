import numpy as np
import pytest

from scripts.sim_to_real import (
    IMPLEMENTATIONS,
    READ,
    Implementation,
    Patch,
    cells_of,
    naive_saw,
    nearest_cells,
    page,
    poly_blep_saw,
    run_process,
    steps_between,
)
from src.errors import ConfigError

BY_NAME = {one.name: one for one in IMPLEMENTATIONS}
F0, RATE = 97.0, 8000


@pytest.fixture(scope="module")
def basic(recipe_of):
    """The recipe of the Moog set basic, values of it, and their patch."""
    recipe = recipe_of(config_name="synth/generate_moog_basic")
    value = recipe.values(0, 6).astype(np.float64)
    return recipe, value, Patch.of(recipe, value)


def test_ours_is_what_the_recipe_renders(basic):
    recipe, value, patch = basic
    assert np.array_equal(BY_NAME["ours"].render(recipe, value, patch), recipe.render(value))


def test_parts_put_together_are_the_voice(basic):
    recipe, value, patch = basic
    naive = BY_NAME["ours, naive saw"].render(recipe, value, patch)
    of_parts = BY_NAME["ours, polyBLEP saw"].render(recipe, value, patch)
    for sound, other in zip(naive, of_parts, strict=True):
        assert np.corrcoef(sound, other)[0, 1] > 0.97
        assert np.abs(sound).max() == pytest.approx(np.abs(other).max(), rel=0.2)


def test_at_another_rate_it_is_the_same_sound_but_for_the_highest_band(basic):
    recipe, value, patch = basic
    ours, resampled = (BY_NAME[name].render(recipe, value, patch) for name in ("ours", "ours at 44.1 kHz, resampled"))
    assert resampled.shape == ours.shape
    spectra = [np.abs(np.fft.rfft(sounds, axis=1))[:, 95:306] for sounds in (ours, resampled)]
    assert np.abs(20 * np.log10(spectra[1].max(axis=1) / spectra[0].max(axis=1))).max() < 1


def test_poly_blep_keeps_the_harmonics_and_lowers_the_aliases():
    patch = Patch(F0, 1.0, *np.ones((4, 1)))
    naive, rounded = (np.abs(np.fft.rfft(saw(patch, RATE) * np.hanning(RATE))) for saw in (naive_saw, poly_blep_saw))
    first = round(F0)
    assert rounded[first] == pytest.approx(naive[first], rel=0.01)
    between = [n for n in range(4, 1500) if abs(n / F0 - round(n / F0)) * F0 > 4]
    assert np.square(rounded[between]).sum() < 0.1 * np.square(naive[between]).sum()


def test_what_is_not_there_is_named():
    nothing = Implementation("other", "", BY_NAME["ours"].render, ("no_such_program", "numpy"))
    assert nothing.missing == ["no_such_program"]
    assert cells_of("other", {"missing": "no_such_program"})[0] == "other: not here"


def test_a_program_that_fails_is_said_in_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="sh failed: broken"):
        run_process(["sh", "-c", "echo broken >&2; exit 3"], tmp_path)


def test_the_page_has_a_row_for_everything():
    row = dict.fromkeys(("mean_coverage", "distance", "db_away", "inside", "far"), 0.5)
    row |= {"steps": dict.fromkeys(READ, 1.25), "coverage": dict.fromkeys(READ, 0.9)}
    about = {"experiment": "e", "network": "CNN", "weights": 1000, "training": "on clean sounds", "dataset": "d"}
    rows = {name: row for name in BY_NAME} | {"gone": {"missing": "it"}}
    text = page([{"about": about, "sounds": 8, "rows": rows}])
    assert all(f"| {name} | 1.25 |" in text for name in BY_NAME)
    assert "| gone: not here |" in text


def test_nearest_sounds_have_a_table_of_their_own():
    steps = {"filter_cutoff": [-0.5, 1.0], "filter_resonance": [0.25, 0.75]}
    near = {"residual": 23.4, "nearest_from_set": steps, "read_from_nearest": steps, "read_from_set": steps}
    assert nearest_cells("Faust", near) == ["Faust", "23", *["-0.5 (1.0); +0.2 (0.8)"] * 3]


def test_differences_of_values_are_in_steps(basic):
    recipe, value, _ = basic
    moved = value + np.array([1, -2, 3, 0]) * recipe.space.step
    moved[0] = value[0] - np.array([1, -2, 3, 0]) * recipe.space.step
    found = steps_between(recipe.space, moved, value)
    assert list(found) == list(READ)
    np.testing.assert_allclose([*found.values()], [[4 / 6, 1], [-8 / 6, 2], [2, 3], [0, 0]], atol=1e-9)
