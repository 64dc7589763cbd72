"""What a sound is, its picture, what networks read from it: the same as everywhere else in the project."""

from pathlib import Path

import numpy as np
import pytest
import torch
from instruments import instrument_of, untrained_network, wav_of

from src.errors import ConfigError
from src.evaluation.refinement import refine
from src.instrument.instrument import Instrument, is_alike
from src.instrument.messages import answer_of, in_bins, sound_message
from src.models.metrics import WIDTH
from src.perturb import functional as F
from src.readings.reading import read_audio, read_samples
from src.recipe import Recipe
from src.recordings import AudioFile, RecordingError

COMPARED = ("value", "std", "distance", "apart", "image", "spec_range")


def assert_same(one, other):
    for name in COMPARED:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def random_values(space, n, seed=0):
    return space.value_from_uniform(np.random.default_rng(seed).random((n, len(space.varying))))


# ----- sounds of values


def test_a_sound_and_its_picture_are_those_of_the_recipe(instrument, cnn):
    recipe = cnn.trained.recipe
    for value in random_values(instrument.space, 5).astype(np.float32):
        sound = instrument.play(value, {})
        expected = recipe.samples(value[None])
        np.testing.assert_array_equal(sound.waveform, recipe.render(value[None])[0])
        np.testing.assert_array_equal(sound.picture.image, expected.image[0])
        np.testing.assert_array_equal(sound.picture.spec_range, expected.spec_range[0])


def test_answers_are_those_that_predict_gives_of_a_sample(instrument, cnn):
    for value in random_values(instrument.space, 5, seed=1).astype(np.float32):
        (reading,) = instrument.play(value, {}).readings
        batch = cnn.trained.recipe.samples(value[None])
        assert_same(reading, read_samples(batch, ["a"], cnn.trained)[0])


def test_values_beyond_their_ranges_stop_at_the_ends(instrument):
    low = instrument.play(instrument.space.low - 100, {})
    np.testing.assert_allclose(low.value, instrument.space.low, rtol=1e-6)


@pytest.mark.parametrize("value", [[1.0], [np.nan, 0.0], [np.inf, 0.0], []])
def test_what_are_no_values_is_refused(instrument, value):
    with pytest.raises(ConfigError, match="2 finite numbers"):
        instrument.play(np.array(value), {})


def test_a_stored_sound_has_its_own_values_and_its_own_picture(instrument, reader, cnn):
    for number in (0, 7, 12):
        sound, stored = instrument.recall(number, {}), reader.test.read(np.array([number]))
        np.testing.assert_array_equal(sound.picture.image, stored.image[0])
        np.testing.assert_array_equal(sound.value, stored.value[0])
        assert_same(sound.readings[0], read_samples(stored, ["a"], cnn.trained)[0])
        played = instrument.play(sound.value, {})
        np.testing.assert_array_equal(played.picture.image, stored.image[0])
        np.testing.assert_array_equal(played.waveform, sound.waveform)


@pytest.mark.parametrize("number", [13, 10**9])
def test_a_stored_sound_that_is_not_there_is_refused(instrument, number):
    with pytest.raises(ConfigError, match="there are 13"):
        instrument.recall(number, {})


# ----- recordings


def test_a_recording_is_read_as_by_predict(instrument, cnn, middle, tmp_path):
    waveform = instrument.play(middle, {}).waveform
    content = wav_of(np.pad(0.2 * waveform, (900, 0)), instrument.sample_rate)
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    sound = instrument.listen(AudioFile.open(Path("a.wav"), content), {})
    expected = read_audio(AudioFile.open(path), cnn.trained)
    assert_same(sound.readings[0], expected)
    np.testing.assert_array_equal(sound.waveform, expected.waveform)
    assert sound.value is None
    assert any("gain" in note for note in sound.notes)


def test_the_name_of_a_recording_in_memory_opens_no_file(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav_of(np.ones(800) / 2, 8000))
    for name in (tmp_path / "a.wav", Path("a.mp3"), Path("a.raw")):
        with pytest.raises(RecordingError, match=rf"{name.name}: cannot be read as audio"):
            AudioFile.open(name, b"text")


def test_an_instrument_alone_hears_nothing(instrument, cnn):
    alone = Instrument(instrument.info, cnn.trained.recipe)
    audio = AudioFile.open(Path("a.wav"), wav_of(np.ones(800) / 2, 8000))
    with pytest.raises(ConfigError, match="Train one"):
        alone.listen(audio, {})
    assert alone.play(instrument.space.low, {}).readings == ()


# ----- perturbations


def test_a_gain_moves_the_levels_and_nothing_else(instrument, middle):
    clean, louder = instrument.play(middle, {}), instrument.play(middle, {"gain": {"level": -6.0}})
    np.testing.assert_array_equal(louder.waveform, F.gain(torch.from_numpy(clean.waveform), torch.tensor(-6.0)).numpy())
    np.testing.assert_allclose(louder.picture.spec_range, clean.picture.spec_range - 6, atol=1e-3)


def test_the_same_switches_make_the_same_sound(instrument, middle):
    on = {"noise": {"ratio": 20.0}, "room": {}}
    one, other = instrument.play(middle, on), instrument.play(middle, on)
    np.testing.assert_array_equal(one.waveform, other.waveform)
    assert not np.array_equal(one.waveform, instrument.play(middle, {"noise": {"ratio": 20.0}}).waveform)


def test_trust_falls_and_intervals_widen_with_noise(instrument, middle):
    found = [instrument.play(middle, {"noise": {"ratio": ratio}}).readings[0] for ratio in (60.0, 40.0, 20.0, 5.0)]
    distances = [reading.distance for reading in found]
    assert distances == sorted(distances)
    assert instrument.play(middle, {}).readings[0].zone == "inside"
    assert found[-1].zone == "far"
    assert (found[-1].std > found[0].std).all()


def test_a_stored_sound_with_a_switch_has_another_picture(instrument):
    stored, noisy = instrument.recall(3, {}), instrument.recall(3, {"noise": {"ratio": 10.0}})
    assert not np.array_equal(stored.picture.image, noisy.picture.image)
    np.testing.assert_array_equal(stored.value, noisy.value)


def test_a_recording_is_put_through_the_switches(instrument, middle):
    audio = AudioFile.open(Path("a.wav"), wav_of(instrument.play(middle, {}).waveform, instrument.sample_rate))
    clean, noisy = (instrument.listen(audio, on).readings[0] for on in ({}, {"noise": {"ratio": 10.0}}))
    assert noisy.distance > clean.distance


# ----- what a sound tells


def test_a_step_of_velocity_moves_the_picture_by_the_ratio_of_amplitudes(instrument):
    velocity, decay = 80.0, 0.0
    found = instrument.sensitivity(np.array([velocity, decay], np.float32))
    assert found[0] == pytest.approx(20 * np.log10((velocity + 7) / velocity), abs=1e-3)
    assert found[1] > 0


def test_the_limit_of_a_sound_that_its_picture_tells_is_a_small_part_of_a_step(instrument, middle):
    limits = instrument.limits(instrument.known(middle))
    assert (limits.std > 0).all()
    assert (limits.std < 0.1).all()
    assert list(limits.ridges) == []


def test_the_last_step_of_a_refinement_is_what_refine_finds(instrument, cnn):
    for number in (1, 4):
        sound = instrument.recall(number, {})
        reading = sound.readings[0]
        steps = list(instrument.refinement(sound))
        expected = refine(cnn.trained.recipe, reading.image[None], reading.spec_range[None], reading.value[None])
        np.testing.assert_array_equal(steps[-1].value, expected.value[0])
        assert steps[-1].residual == expected.residual[0]
        assert steps[-1].n_renders == expected.n_renders[0]
        assert steps[0].residual == expected.residual_before[0]
        np.testing.assert_allclose(steps[0].value, reading.value, rtol=1e-6)
        assert steps[-1].residual < 2 < steps[0].residual or steps[0].residual < 2


def test_an_instrument_alone_searches_from_the_middle(instrument, cnn):
    alone = Instrument(instrument.info, cnn.trained.recipe)
    value = alone.known(alone.space.low * 0.7 + alone.space.high * 0.3)
    *_, last = alone.refinement(alone.play(value, {}))
    assert last.residual < 2
    np.testing.assert_allclose(last.value, value, atol=0.1 * alone.space.step.max())


# ----- messages


def test_intervals_and_errors_of_an_answer(instrument, middle):
    sound = instrument.play(middle, {})
    reading = sound.readings[0]
    told = answer_of(instrument, 0, reading, sound.value)
    np.testing.assert_allclose(told["low"], np.maximum(reading.value - WIDTH * reading.std, instrument.space.low))
    error = reading.value.astype(np.float64) - sound.value.astype(np.float64)  # above the truth it is positive
    np.testing.assert_allclose(told["error_steps"], error / instrument.space.step)
    assert told["inside"] == [
        bool(low <= value <= high)
        for low, value, high in zip(told["low"], sound.value.tolist(), told["high"], strict=True)
    ]
    assert answer_of(instrument, 0, reading, None)["inside"] is None


def test_a_histogram_is_the_distribution_of_the_network_and_peaks_where_it_answers(instrument, middle):
    reading = instrument.play(middle, {}).readings[0]
    for p, (name, share) in enumerate(instrument.histogram(0, reading).items()):
        spec = instrument.space.varying[p]
        assert name == spec.name
        assert share.shape == (spec.n_classes,)
        assert share.sum() == pytest.approx(1, abs=1e-5)
        assert abs(float(share @ np.arange(spec.n_classes)) - spec.index_from_value(reading.value[p])) < 1


@pytest.mark.parametrize("n", [2, 63, 64, 65, 128, 256])
def test_bins_hold_all_of_a_distribution(n):
    share = np.random.default_rng(n).dirichlet(np.ones(n))
    bins = in_bins(share)
    assert len(bins) <= 64
    assert bins.sum() == pytest.approx(1, abs=1e-3)


# ----- any synth, any representation, any network


@pytest.mark.parametrize(
    ("config_name", "overrides"),
    [
        ("synth/generate_simple_saw", ["representation=waveform"]),
        pytest.param("synth/generate_simple_saw", ["channels=[windows,modulation]"], marks=pytest.mark.slow),
        pytest.param("synth/generate_moog_basic", [], marks=pytest.mark.slow),
        pytest.param("synth/generate_moog_envelope", ["perturb=mild"], marks=pytest.mark.slow),
    ],
)
def test_any_synth_and_any_representation_are_played(recipe_of, compose_run, tmp_path, config_name, overrides):
    recipe = recipe_of("dataset.size=64", *overrides, config_name=config_name)
    model = "wave_cnn_64k" if "waveform" in str(overrides) else "cnn_micro"
    losses = ("loss=regression", "loss=soft_target")
    networks = [untrained_network(compose_run(tmp_path, f"model={model}", loss), recipe, loss) for loss in losses]
    instrument = instrument_of(*networks)
    value = random_values(instrument.space, 1)[0]
    sound = instrument.play(value, {})
    assert is_alike(*(network.trained.representation for network in networks))
    for reading in sound.readings:
        np.testing.assert_array_equal(reading.image, recipe.represent(recipe.render(sound.value[None]))[0][0])
    assert len(sound_message(1, instrument, sound)) > sound.waveform.nbytes
    assert instrument.sensitivity(sound.value).shape == value.shape
    limits = instrument.limits(sound.value)
    assert limits is None or limits.std.shape == value.shape
    inactive = ~instrument.space.active(sound.value[None])[0]
    assert (instrument.sensitivity(sound.value)[inactive] == 0).all()


def test_a_second_network_may_see_another_picture_of_the_same_sound(cnn, recipe_of, compose_run, tmp_path, middle):
    recipe = recipe_of("representation=waveform")
    other = untrained_network(compose_run(tmp_path, "model=wave_cnn_64k"), recipe)
    instrument = instrument_of(cnn, other)
    first, second = instrument.play(middle, {}).readings
    assert first.image.shape != second.image.shape
    np.testing.assert_array_equal(second.image, recipe.represent(recipe.render(instrument.known(middle)[None]))[0][0])


def test_networks_of_sounds_of_different_lengths_are_refused(cnn, recipe_of, compose_run, tmp_path):
    other = untrained_network(compose_run(tmp_path, "model=cnn_micro"), recipe_of("dataset.duration=0.5"))
    with pytest.raises(ConfigError, match=r"different kinds \(1 s at 8,000 Hz, .*0\.5 s at 8,000 Hz\)"):
        instrument_of(cnn, other)


def test_without_a_synth_and_without_a_network_there_is_no_instrument(instrument):
    with pytest.raises(ConfigError, match="nothing is played"):
        Instrument(instrument.info, None)


def test_warming_up_does_everything_once(instrument):
    assert len(list(instrument.warm_up())) == 3


def test_the_sound_of_an_answer_is_rendered_once(instrument, monkeypatch):
    rendered = []
    synth = type(instrument.recipe.synth)
    render = synth.render

    def count(self, parameters):
        rendered.append(len(next(iter(parameters.values()))))
        return render(self, parameters)

    monkeypatch.setattr(synth, "render", count)
    sound = instrument.play(np.array([77.7, -0.77]), {})
    made, _ = instrument.resynthesized(sound.readings[0].value)
    assert rendered == [1, 1]  # the sound, and that of the answer
    np.testing.assert_array_equal(made, Recipe.render(instrument.recipe, sound.readings[0].value[None])[0])
    for number in range(20):
        instrument.resynthesized(np.array([80.0 + number, 0.0]))
    assert len(instrument.recipe.kept) <= 4
