import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError, VIMHError
from src.evaluation import resynthesis
from src.evaluation.audio_metrics import METRICS
from src.evaluation.refinement import Refinement
from src.evaluation.resynthesis import (
    MEDIAN_OF_GAUSSIAN,
    Estimate,
    Look,
    after_coding,
    axes_of,
    bounds_of_audit,
    csv_of,
    mean_parameters,
    nearest_neighbours,
    refine_all,
    refinement_figures,
    score,
    spread,
    voice_of,
    within_ranges,
)
from src.listening.report import Scores
from src.params import ParamSpec
from src.synth.voices import MoogVoice, SawVoice
from src.vimh.info import DatasetInfo

MOOG = "synth/generate_moog_basic"
ENVELOPE = "synth/generate_moog_envelope"


@pytest.fixture(scope="module", params=["synth/generate_simple_saw", MOOG, ENVELOPE])
def recipe(recipe_of, request):
    return recipe_of("dataset.size=16", config_name=request.param)


@pytest.fixture(scope="module")
def saw(recipe_of):
    """Recipe and voice of the saw set."""
    recipe = recipe_of("dataset.size=32")
    return recipe, voice_of(recipe.info("saw"), instantiate_trusted)


def by_another_writer(recipe, **changes):
    """The description of a recipe's dataset as a program without generator entries would write it."""
    data = recipe.info("theirs").to_dict()
    del data["generator"]
    return DatasetInfo.from_dict(data | changes, "theirs")


# ----- voices


def test_a_voice_renders_and_shows_what_the_generator_does(recipe):
    voice = voice_of(recipe.info("ours"), instantiate_trusted)
    value = recipe.values(0, 5)
    np.testing.assert_array_equal(voice.render(value), recipe.render(value))
    expected = recipe.representation.spectrogram_db(torch.from_numpy(recipe.render(value)))[0]
    np.testing.assert_array_equal(voice.spectrogram_db(voice.render(value)), expected[:, 0].numpy())


def test_a_set_of_another_writer_is_rendered_by_names(recipe):
    fixed = by_another_writer(recipe).to_dict().get("fixed_parameters", {})
    if isinstance(recipe.synth, MoogVoice) and recipe.synth.note_duration:
        fixed["note_duration"] = {"value": recipe.synth.note_duration}
    info = by_another_writer(recipe, fixed_parameters=fixed)
    voice = voice_of(info, instantiate_trusted)
    assert type(voice.synth) is type(recipe.synth)
    value = recipe.values(0, 5)
    np.testing.assert_array_equal(voice.render(value), recipe.render(value))
    assert voice.representation.image_shape == recipe.representation.image_shape
    frequency = axes_of(voice.representation).frequency
    assert frequency[-1] == pytest.approx(recipe.synth.sample_rate / 2)


def test_parameters_that_are_fixed_by_their_range_alone_are_known(recipe_of):
    recipe = recipe_of("dataset.size=16")
    data = by_another_writer(recipe).to_dict()
    pitch = data.pop("fixed_parameters")["note_number"]["value"]
    data["parameter_mappings"]["note_number"] = {"min": pitch, "max": pitch, "step": 0.0}
    voice = voice_of(DatasetInfo.from_dict(data, "theirs"), instantiate_trusted)
    value = recipe.values(0, 3)
    np.testing.assert_array_equal(voice.render(value), recipe.render(value))


@pytest.mark.parametrize(("synth_type", "kind"), [("simple_saw", SawVoice), ("Moog VCF", MoogVoice), ("", SawVoice)])
def test_the_kind_of_synth_decides(recipe_of, synth_type, kind):
    info = by_another_writer(recipe_of("dataset.size=16"), synth_type=synth_type)
    assert type(voice_of(info, instantiate_trusted).synth) is kind


def test_without_a_kind_the_parameters_decide(recipe_of):
    info = by_another_writer(recipe_of("dataset.size=16", config_name=MOOG), synth_type="")
    assert type(voice_of(info, instantiate_trusted).synth) is MoogVoice


def test_a_voice_that_cannot_be_found_is_asked_for_by_name(recipe_of):
    recipe = recipe_of("dataset.size=16")
    with pytest.raises(VIMHError, match=r"theirs: .*lacks sample_rate, duration"):
        voice_of(by_another_writer(recipe, sample_rate=None, duration=None), instantiate_trusted)
    with pytest.raises(VIMHError, match=r"synth_type is 'fm'.*simple, saw, moog"):
        voice_of(by_another_writer(recipe, synth_type="fm"), instantiate_trusted)
    odd = {"fixed_parameters": {"detune": {"value": 0.1}}}
    with pytest.raises(VIMHError, match=r"SawVoice does not know its parameter detune; it knows note_number"):
        voice_of(by_another_writer(recipe, **odd), instantiate_trusted)
    with pytest.raises(VIMHError, match=r"lacks generator\.config\.synth, so"):
        voice_of(by_another_writer(recipe, generator={"config": {"representation": {}}}), instantiate_trusted)
    with pytest.raises(VIMHError, match=r"lacks generator\.config\.synth, generator\.config\.representation"):
        voice_of(by_another_writer(recipe, generator={}), instantiate_trusted)


# ----- axes


@pytest.mark.parametrize("f0", [300.0, 900.0])
def test_a_tone_lies_where_the_axis_says(recipe, f0):
    representation = recipe.representation
    axes = axes_of(representation)
    assert (len(axes.frequency), len(axes.time)) == representation.image_shape[1:]
    t = np.arange(representation.n_samples) / representation.sample_rate
    tone = np.sin(2 * np.pi * f0 * t).astype(np.float32)
    db = representation.spectrogram_db(torch.from_numpy(tone))[0][0]
    row = int(db.mean(dim=1).argmax())
    gaps = np.diff(axes.frequency)
    assert abs(axes.frequency[row] - f0) <= 0.75 * gaps[max(row - 1, 0) : row + 1].max()


def test_a_click_lies_where_the_axis_says(recipe):
    representation = recipe.representation
    axes = axes_of(representation)
    for column in (0, len(axes.time) // 2):
        click = np.zeros(representation.n_samples, np.float32)
        click[round(axes.time[column] * representation.sample_rate)] = 1.0
        level = representation.spectrogram_db(torch.from_numpy(click))[0][0].mean(dim=0)
        assert level[column] == level.max()


# ----- answers that need no network


def test_the_mean_predictor_says_the_means():
    value = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    said = mean_parameters(value, 4)
    assert said.shape == (4, 3)
    np.testing.assert_allclose(said, np.tile(value.astype(np.float64).mean(axis=0), (4, 1)), rtol=1e-12)


def looks(n, seed=0):
    rng = np.random.default_rng(seed)
    return Look(rng.integers(0, 256, (n, 1, 4, 3), dtype=np.uint8), rng.normal(size=(n, 2)))


@pytest.mark.parametrize("size", [7, 20, 100])
def test_the_nearest_neighbour_of_a_training_sample_is_itself(size):
    training = looks(40)
    pieces = [Look(training.image[i : i + size], training.aux[i : i + size]) for i in range(0, 40, size)]
    np.testing.assert_array_equal(nearest_neighbours(training, iter(pieces)), np.arange(40))


def test_the_nearest_neighbour_is_the_nearest():
    training, asked = looks(40), looks(9, seed=1)
    distance = ((asked.features()[:, None] - training.features()) ** 2).sum(axis=2)
    told = []
    np.testing.assert_array_equal(nearest_neighbours(asked, [training], told.append), distance.argmin(axis=1))
    assert told == [40]


def test_where_images_agree_the_conditioning_inputs_decide():
    image = np.zeros((3, 1, 2, 2), np.uint8)
    training = Look(image, np.array([[0.0], [1.0], [2.0]]))
    assert nearest_neighbours(Look(image[:2], np.array([[1.9], [0.2]])), [training]).tolist() == [2, 0]


def test_without_conditioning_inputs_images_decide():
    training = looks(10)
    bare = replace(training, aux=np.empty((10, 0)))
    np.testing.assert_array_equal(nearest_neighbours(bare, [bare]), np.arange(10))


SPECS = (ParamSpec("a", -2.0, 0.3, 0.1), ParamSpec("b", 64, 127, 7))


def test_coding_is_off_by_half_a_code_at_most():
    rng = np.random.default_rng(0)
    low, high = np.array([(spec.min, spec.max) for spec in SPECS]).T
    value = rng.uniform(low, high, (500, 2))
    half = (high - low) / 255 / 2
    error = np.abs(after_coding(value, SPECS) - value)
    assert (error <= half * (1 + 1e-9)).all()
    assert (error.max(axis=0) > 0.95 * half).all()
    np.testing.assert_allclose(after_coding(after_coding(value, SPECS), SPECS), after_coding(value, SPECS), rtol=1e-12)
    np.testing.assert_allclose(after_coding(np.stack([low, high]), SPECS), [low, high])


def test_what_is_over_a_range_by_rounding_is_put_at_its_end():
    value = np.float32([[0.3, 127.00001], [-2.0, 63.99999]])
    assert within_ranges(value, SPECS).tolist() == [[0.3, 127.0], [-2.0, 64.0]]


# ----- judging


def test_identical_parameters_are_the_best_of_everything(saw):
    recipe, voice = saw
    value = recipe.values(0, 4)
    answer = score(Estimate("truth", value.astype(np.float64)), voice, value)
    for metric in METRICS:
        np.testing.assert_allclose(answer.metrics[metric.name], metric.best, atol=1e-9, err_msg=metric.name)
    assert (answer.errors == 0).all()


def test_errors_are_absolute_and_blocks_change_nothing(saw, monkeypatch):
    recipe, voice = saw
    value = recipe.values(0, 5)
    claim = Estimate("other", np.roll(value, 1, axis=0).astype(np.float64))
    told = []
    whole = score(claim, voice, value)
    monkeypatch.setattr(resynthesis, "SOUNDS_A_THREAD", 2)
    monkeypatch.setattr(resynthesis.numba, "get_num_threads", lambda: 1)
    pieces = score(claim, voice, value, told.append)
    assert told == [2, 2, 1]
    np.testing.assert_array_equal(pieces.errors, np.abs(claim.value - value))
    for name, values in whole.metrics.items():
        np.testing.assert_allclose(pieces.metrics[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("n_sounds", "wanted"), [(5, 3), (100, 24), (3, 24), (1, 1), (24, 24), (7, 2)])
def test_the_best_the_worst_and_others_between_are_listened_to(n_sounds, wanted):
    score = np.random.default_rng(0).normal(size=n_sounds)
    chosen = spread(score, wanted)
    assert len(set(chosen)) == len(chosen) == min(wanted, n_sounds)
    assert chosen[0] == score.argmin()
    assert chosen[-1] == score.argmax() or wanted == 1
    assert (np.diff(score[chosen]) >= 0).all()


# ----- refinement


def found(value, **changes):
    n = len(value)
    columns = {"residual_before": np.full(n, 4.0), "residual": np.full(n, 1.0), "bound": np.full(value.shape, 0.01)}
    columns |= {"n_renders": np.arange(n), "milliseconds": 3.0}
    return Refinement(value=value, **(columns | changes))


def test_refinement_is_told_in_jnd_steps_beside_the_bound():
    true = np.array([[-1.0, 90.0]] * 3)
    start = true + np.array([[0.1, 7.0], [0.2, -14.0], [-0.3, 21.0]])
    after = true + np.array([[0.01, 0.7], [0.01, 0.7], [0.01, 7.0]])
    bounds = np.array([[0.1, np.inf]] * 3)
    figures = refinement_figures(found(after), start, true, bounds, SPECS)
    assert (figures["milliseconds"], figures["renders"], figures["residual_before"]) == (3.0, 1.0, 4.0)
    a, b = figures["parameters"]["a"], figures["parameters"]["b"]
    assert (a["error_before"], a["error"], a["bound"]) == pytest.approx((2.0, 0.1, 0.1))
    assert a["ratio"] == pytest.approx(1 / MEDIAN_OF_GAUSSIAN)
    assert (b["error_before"], b["error"]) == pytest.approx((2.0, 0.1))
    assert (b["bound"], b["reachable"], b["ratio"]) == (None, None, None)


def test_pieces_of_a_refinement_are_joined(saw, monkeypatch):
    recipe, voice = saw
    sounds = recipe.make(0, 5)
    start = sounds.value.astype(np.float64)
    monkeypatch.setattr(resynthesis, "REFINED_AT_A_TIME", 2)
    timed = iter([1.0, 2.0, 6.0])
    monkeypatch.setattr(
        resynthesis, "refine", lambda voice, image, ranges, at, seed: found(at + seed, milliseconds=next(timed))
    )
    told = []
    joined = refine_all(voice, sounds.image, sounds.spec_range, start, 1, told.append)
    assert told == [2, 2, 1]
    np.testing.assert_array_equal(joined.value, start + 1)
    assert joined.n_renders.tolist() == [0, 1, 0, 1, 0]
    assert joined.milliseconds == pytest.approx((2 * 1 + 2 * 2 + 1 * 6) / 5)


def test_refinement_reaches_the_bound_of_the_audit(saw):
    recipe, voice = saw
    sounds = recipe.make(0, 12)
    true = sounds.value.astype(np.float64)
    steps = np.array([spec.step for spec in recipe.space.varying])
    start = within_ranges(true + np.random.default_rng(0).normal(0, 0.3, true.shape) * steps, recipe.space.varying)
    refinement = refine_all(voice, sounds.image, sounds.spec_range, start, 0)
    bounds = bounds_of_audit(voice, true)
    assert bounds.shape == true.shape
    figures = refinement_figures(refinement, start, true, bounds, recipe.space.varying)
    assert all(row["ratio"] < 2 for row in figures["parameters"].values()), figures


# ----- the table


def test_the_table_has_a_row_per_sound_and_answer():
    true = np.array([[-1.0, 90.0], [-0.5, 100.0]])
    claims = [
        Estimate("refined", true + 0.1, np.full(true.shape, 0.01), {"residual": np.array([1.0, 2.0])}),
        Estimate("mean", true + 0.2),
    ]
    answers = [Scores(claim.name, {"mss": np.array([0.25, 1 / 3])}, np.abs(claim.value - true)) for claim in claims]
    rows = list(csv.DictReader(io.StringIO(csv_of(claims, answers, true, SPECS))))
    assert [(row["sound"], row["answer"]) for row in rows] == [
        (number, name) for number in ("0", "1") for name in ("refined", "mean")
    ]
    assert float(rows[2]["mss"]) == pytest.approx(1 / 3)
    assert [float(rows[3][f"b_{kind}"]) for kind in ("true", "value", "error")] == pytest.approx([100.0, 100.2, 0.2])
    assert [row["a_std"] for row in rows] == ["0.01", "", "0.01", ""]
    assert [row["residual"] for row in rows] == ["1", "", "2", ""]


def test_values_out_of_a_voices_reach_are_refused_by_name(saw):
    with pytest.raises(ConfigError, match="note_velocity is 300"):
        saw[1].render(np.array([[300.0, 0.0]]))
