"""Laws of perturbations: drawn by number, the same everywhere, refused where they cannot be."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from src.checkpoints.trusted import instantiate_own, instantiate_trusted
from src.errors import ConfigError, NSMError
from src.generation import fresh_sounds, generate
from src.perturb import effects
from src.perturb.chain import Perturbation, part_of
from src.perturb.draws import Span
from src.playback import Playback
from src.recipe import DeviceMaker, Recipe, differences, recipe_config
from src.synth.voices import SawVoice
from src.vimh.reader import VIMHReader

RATE, N_SAMPLES = 8000, 4000
RECORDING = ("perturb=recording", "dataset.size=40", "dataset.duration=0.5")


@pytest.fixture(scope="module")
def recording(recipe_of):
    return recipe_of(*RECORDING)


def chain(rate=RATE, n_samples=N_SAMPLES, **named):
    return Perturbation(named, rate, n_samples)


def sounds(n_sounds=8):
    time = torch.arange(N_SAMPLES) / RATE
    pitch = 100 + 40 * torch.arange(n_sounds)[:, None]
    return torch.sin(2 * torch.pi * pitch * time) * torch.exp(-5 * time)


def test_a_sound_is_perturbed_in_the_same_way_in_every_batch(recording):
    whole = recording.make(0, 40)
    for start, stop in ((0, 1), (7, 8), (3, 36), (33, 40)):
        part = recording.make(start, stop)
        np.testing.assert_array_equal(part.image, whole.image[start:stop])
        np.testing.assert_array_equal(part.spec_range, whole.spec_range[start:stop])
    on_device = DeviceMaker(recording, torch.device("cpu")).make(5, 20)
    np.testing.assert_array_equal(on_device.image.numpy(), whole.image[5:20])


EFFECTS = {
    kind.__name__: kind
    for kind in vars(effects).values()
    if isinstance(kind, type) and issubclass(kind, effects.Effect) and not kind.__abstractmethods__
}
ON_EVERY_DEVICE = [
    kind()
    for kind in EFFECTS.values()
    if kind not in (effects.VoiceParameter, effects.MeasuredRoom, effects.MP3, effects.Ogg)
]


@pytest.mark.parametrize("effect", ON_EVERY_DEVICE, ids=lambda effect: type(effect).__name__)
def test_the_bits_of_a_sound_do_not_depend_on_the_batch(effect):
    perturbation, given = chain(effect=effect), sounds(40)
    draws = perturbation.draws(0, 40, 1)
    whole = perturbation.apply(given, draws)
    assert torch.isfinite(whole).all() and (whole != given).any(dim=1).all()
    for start, stop in ((0, 1), (7, 8), (5, 13), (33, 40), (1, 40)):
        assert torch.equal(perturbation.apply(given[start:stop], part_of(draws, start, stop)), whole[start:stop])


def test_values_and_clean_sounds_are_those_of_the_set_without_perturbation(recipe_of, recording):
    clean = recipe_of("dataset.size=40", "dataset.duration=0.5")
    value = clean.values(0, 40)
    np.testing.assert_array_equal(recording.values(0, 40), value)
    np.testing.assert_array_equal(recording.render(value), clean.render(value))
    np.testing.assert_array_equal(recording.sounds(value), clean.sounds(value))
    made, own = recording.make(0, 40), clean.make(0, 40)
    np.testing.assert_array_equal(made.code, own.code)
    assert (made.image != own.image).any(axis=(1, 2, 3)).all()


def test_the_images_are_those_of_the_recorded_sounds(recording):
    value = recording.values(3, 20)
    image, spec_range = recording.represent(recording.recorded(value, 3))
    made = recording.make(3, 20)
    np.testing.assert_array_equal(made.image, image)
    np.testing.assert_array_equal(made.spec_range, spec_range)


def test_an_effect_is_drawn_alike_whatever_stands_beside_it():
    alone = chain(noise=effects.WhiteNoise()).draws(0, 50, 7)["noise"]
    beside = chain(gain=effects.Gain(), noise=effects.WhiteNoise(probability=0.5)).draws(0, 50, 7)["noise"]
    torch.testing.assert_close(alone.value["ratio"], beside.value["ratio"])
    assert torch.equal(alone.key, beside.key) and alone.is_on.all()
    assert 10 < beside.is_on.sum() < 40


def test_draws_lie_in_their_ranges_and_each_band_has_its_own():
    drawn = chain(eq=effects.Equalizer(n_bands=3, level=[-6, 6])).draws(0, 500, 1)["eq"].value
    assert drawn["level"].shape == (500, 3)
    assert -6 <= drawn["level"].min() < -5.5 and 5.5 < drawn["level"].max() <= 6
    assert np.abs(np.corrcoef(drawn["level"].numpy().T) - np.eye(3)).max() < 0.2


def test_filters_that_follow_each_other_are_the_same_as_one_after_the_other():
    named = {"tilt": effects.Tilt(probability=0.5), "eq": effects.Equalizer(), "low_pass": effects.LowPass()}
    together = chain(**named)
    draws = together.draws(0, 8, 3)
    expected = sounds()
    for name, effect in named.items():
        expected = chain(**{name: effect}).apply(expected, {name: draws[name]})
    torch.testing.assert_close(together.apply(sounds(), draws), expected, rtol=0, atol=1e-3)


def test_effects_happen_in_their_order():
    gain, quantize = effects.Gain(level=20), effects.Quantize(bits=2, headroom=0)
    silent_rest = sounds()
    one = chain(quantize=quantize, dc=effects.Offset(share=0.3), gain=gain)
    other = chain(dc=effects.Offset(share=0.3), quantize=quantize, gain=gain)
    assert not torch.equal(one.apply(silent_rest, one.draws(0, 8, 1)), other.apply(silent_rest, other.draws(0, 8, 1)))


def test_the_sounds_that_nothing_happens_to_keep_their_bits():
    perturbation = chain(noise=effects.WhiteNoise(probability=0.5), room=effects.Room(probability=0.5))
    draws, given = perturbation.draws(0, 24, 2), sounds(24)
    is_clean = ~(draws["noise"].is_on | draws["room"].is_on)
    assert is_clean.any() and not is_clean.all()
    changed = perturbation.apply(given, draws)
    assert torch.equal(changed[is_clean], given[is_clean])
    assert torch.equal(given, sounds(24))  # and what was given is left as it is
    assert (changed[~is_clean] != given[~is_clean]).any(dim=1).all()


def test_parts_of_draws_are_the_draws_of_parts():
    perturbation = chain(eq=effects.Equalizer(), noise=effects.PinkNoise())
    whole, part = perturbation.draws(0, 9, 5), perturbation.draws(4, 7, 5)
    torch.testing.assert_close(part_of(whole, 4, 7)["eq"].value, part["eq"].value)
    assert torch.equal(part_of(whole, 4, 7)["noise"].key, part["noise"].key)


# The voice's own phase.


def test_the_phase_reaches_the_voice_and_values_stay_as_they_are(recipe_of):
    recipe = recipe_of("perturb=phase", "dataset.size=20")
    value = recipe.values(0, 20)
    phase = recipe.perturbation.voice(recipe.draws(0, 20), recipe.synth.defaults)["phase"]
    assert 0 <= phase.min() < 0.3 and 0.7 < phase.max() <= 1
    expected = recipe.synth.render(recipe.given(value) | {"phase": phase})
    np.testing.assert_array_equal(recipe.recorded(value, 0), expected)
    assert (recipe.recorded(value, 0) != recipe.render(value)).any(axis=1).all()
    half = recipe_of("perturb=phase", "perturb.phase.probability=0.5", "dataset.size=20")
    same = (half.recorded(value, 0) == recipe.render(value)).all(axis=1)
    assert same.any() and not same.all()


def test_a_parameter_that_the_voice_does_not_have_or_that_is_read_is_refused(recipe_of):
    with pytest.raises(ConfigError, match=r"perturb\.phase varies warmth, which SawVoice does not know.*'~perturb"):
        recipe_of("perturb=phase", "perturb.phase.parameter=warmth")
    with pytest.raises(ConfigError, match=r"perturb\.phase varies note_velocity, which stands in parameters as well"):
        recipe_of("perturb=phase", "perturb.phase.parameter=note_velocity")


# Datasets and streams.


class RendersThere(SawVoice):
    """A voice with the method for a device, on the CPU."""

    def render_cuda(self, parameters):
        return torch.from_numpy(self.render({name: item.numpy() for name, item in parameters.items()}))


def test_what_a_device_renders_is_perturbed_alike(recipe_of, monkeypatch):
    recipe = recipe_of(*RECORDING)
    there = replace(recipe, synth=RendersThere(recipe.synth.sample_rate, recipe.synth.duration))
    monkeypatch.setattr(DeviceMaker, "why_not_rendered", "")
    found = DeviceMaker(there, torch.device("cpu")).make(3, 20)
    np.testing.assert_array_equal(found.image.numpy(), recipe.make(3, 20).image)


def test_large_batches_are_changed_in_parts(monkeypatch):
    perturbation = chain(eq=effects.Equalizer(), noise=effects.WhiteNoise(probability=0.5))
    draws = perturbation.draws(0, 20, 1)
    whole = perturbation.apply(sounds(20), draws)
    monkeypatch.setattr("src.perturb.chain.AT_ONCE", 3 * N_SAMPLES)
    assert torch.equal(perturbation.apply(sounds(20), draws), whole)


def test_without_perturbation_nothing_stands_in_the_description(recipe_of):
    bare, none = recipe_of("dataset.size=8"), recipe_of("dataset.size=8", "perturb=none")
    assert bare.config == none.config and "perturb" not in bare.config
    assert bare.info("x").to_dict() == none.info("x").to_dict()
    assert bare.perturbation is None


def test_a_perturbed_set_is_made_again_from_its_description(recording, tmp_path):
    data_dir = tmp_path / recording.directory_name()
    generate(recording, data_dir, batch_size=7)
    reader = VIMHReader(data_dir)
    reader.validate()
    again = Recipe.from_config(reader.info.generator["config"], instantiate_trusted)
    assert list(again.config["perturb"]) == list(recording.config["perturb"])
    number = again.first_number("test")
    np.testing.assert_array_equal(reader.test[:].image, again.samples(reader.test[:].value, number).image)
    assert Recipe.from_info(reader.info, instantiate_trusted).perturbation is None


def test_fresh_sounds_are_perturbed_by_their_own_numbers(recording):
    make = fresh_sounds(recording.info("x"), instantiate_trusted)
    whole = make(0, 24)
    np.testing.assert_array_equal(make(10, 15).image, whole.image[10:15])
    n_sounds, blocks = recording.size, make.on(torch.device("cpu"))
    np.testing.assert_array_equal(blocks.finish(blocks.begin(10, 15)).image.numpy(), whole.image[10:15])
    value = make(0, 5).value
    np.testing.assert_array_equal(recording.represent(recording.recorded(value, n_sounds))[0], whole.image[:5])


def test_one_hears_what_the_image_shows(recording):
    playback = Playback(recording.info("x"), instantiate_trusted)
    batch = recording.make(recording.n_train, recording.n_train + 3)
    np.testing.assert_array_equal(playback.sounds(batch, "test", 0), recording.recorded(batch.value, recording.n_train))
    assert "perturbed as for the images" in playback.how
    np.testing.assert_array_equal(playback.recipe.render(batch.value), recording.render(batch.value))


def test_the_order_of_effects_is_part_of_a_set(recipe_of):
    one, other = (recipe_of(f"perturb=[{names}]").config for names in ("noise,room", "room,noise"))
    assert differences(one, other) == ["perturb: in the order noise, room there, room, noise asked for"]
    assert differences(one, one) == []


# What is refused.


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (effects.WhiteNoise, {"ratio": [60, 20]}, "ratio is .60, 20.; its first end must not be above its second"),
        (effects.WhiteNoise, {"ratio": "loud"}, "ratio is loud; it must be a number, .low, high."),
        (effects.WhiteNoise, {"ratio": [1, float("nan")]}, "it must be a number"),
        (effects.WhiteNoise, {"ratio": [20, 300]}, "ratio is 20 to 300; it must be within -40 and 140 dB"),
        (effects.Room, {"rt60": 0}, "rt60 is 0 to 0; it must be within 0.01 and 20 s"),
        (effects.Room, {"rt60": [-1, 1, "log"]}, "a logarithm needs ends above 0"),
        (effects.Quantize, {"bits": [8.5, 16, "whole"]}, "its ends must be whole numbers"),
        (effects.Quantize, {"bits": [8, 16, "some"]}, "one of uniform, log, whole, either"),
        (effects.Gain, {"probability": 1.5}, "probability is 1.5; it must be within 0 and 1"),
        (effects.Gain, {"loudness": 3}, "loudness does not belong here"),
        (effects.LowPass, {"order": 3}, "order is 3; it must be 2, 4, 6 or 8"),
        (effects.Onset, {"shift": 50}, "shift is 50 to 50; it must be within -10 and 10 s"),
        (effects.MeasuredRoom, {}, "directory is missing"),
    ],
)
def test_impossible_settings_are_one_sentence(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(**settings)


@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_a_sound_and_its_room_are_shifted_by_most_of_its_length(shift):
    room, n = effects.Room(rt60=2.0, direct_ratio=0.0), round(abs(shift) * RATE)
    perturbations = [chain(room=room), chain(onset=effects.Onset(shift=shift), room=room)]
    still, moved = (each.apply(sounds(), each.draws(0, 8, 1)) for each in perturbations)
    before, after = (still[:, :-n], moved[:, n:]) if shift > 0 else (still[:, n:], moved[:, :-n])
    torch.testing.assert_close(after, before, rtol=0, atol=2e-6)
    assert shift < 0 or moved[:, :n].abs().max() < 2e-6


def test_settings_that_sounds_cannot_hold_are_refused():
    with pytest.raises(ConfigError, match=r"perturb\.low: cutoff is up to 5000 Hz, but sounds of 8000 Hz hold less"):
        chain(low=effects.LowPass(cutoff=5000))
    with pytest.raises(ConfigError, match=r"perturb\.room: pre_delay is up to 0\.5 s, but the sounds last 0\.5 s"):
        chain(room=effects.Room(pre_delay=0.5))
    with pytest.raises(ConfigError, match=r"perturb\.onset: shift is -0\.5 to 0\.1 s, but the sounds last 0\.5 s"):
        chain(onset=effects.Onset(shift=[-0.5, 0.1]))
    with pytest.raises(ConfigError, match=r"perturb\.mp3: bitrate is 32 to 128; at 8000 Hz MP3 has 8 to 64 kbit/s"):
        chain(mp3=effects.MP3(bitrate=[32, 128]))
    with pytest.raises(ConfigError, match=r"perturb\.mp3: MP3 has sample rates of 8000, .* Hz, the sounds 9000"):
        chain(9000, mp3=effects.MP3())
    with pytest.raises(ConfigError, match=r"perturb\.odd is 3; it must have the _target_ of an effect"):
        chain(odd=3)


def test_what_stands_in_the_section_is_refused_by_its_name(recipe_of):
    with pytest.raises(ConfigError, match=r"perturb\.noise is 3; it must have the _target_"):
        recipe_of("+perturb.noise=3")
    with pytest.raises(ConfigError, match=r"perturb is 'loud'; it must be a section"):
        recipe_config(OmegaConf.to_container(OmegaConf.create(dict(recipe_of().config))) | {"perturb": "loud"})


def test_ranges_are_read_as_configurations_write_them():
    assert effects.Gain(level=3).level == Span(3, 3)
    assert effects.Gain(level=OmegaConf.create([-3, 3])).level == Span(-3, 3)
    assert effects.Room(rt60=(0.1, 1, "log")).rt60 == Span(0.1, 1, "log")


# Files: measured rooms, codecs.


def write_rooms(directory, *delays, rate=16000):
    for number, delay in enumerate(delays):
        response = np.zeros(rate // 4)
        response[delay] = 0.5
        response[delay + 800] = -0.25 * (number + 1) / len(delays)
        soundfile.write(directory / f"room{number}.wav", response, rate, subtype="FLOAT")


def test_a_measured_room_is_its_impulse_response_from_the_direct_sound_on(tmp_path):
    write_rooms(tmp_path, 0, 123)
    perturbation = chain(room=effects.MeasuredRoom(directory=str(tmp_path)))
    impulse = torch.zeros(40, N_SAMPLES)
    impulse[:, 0] = 1
    found = perturbation.apply(impulse, perturbation.draws(0, 40, 1))
    torch.testing.assert_close(found[:, 0], torch.ones(40), rtol=0, atol=1e-3)
    echo = found[:, 400]  # 800 samples at 16 kHz
    assert sorted({round(level.item(), 2) for level in echo}) == [-0.5, -0.25]
    twice = perturbation.apply(impulse, perturbation.draws(0, 40, 1))
    assert torch.equal(found, twice)


def test_a_directory_without_impulse_responses_is_refused(tmp_path):
    for directory, message in ((tmp_path / "none", "there is no such directory"), (tmp_path, "no audio file is in")):
        with pytest.raises(NSMError, match=message):
            chain(room=effects.MeasuredRoom(directory=str(directory)))
    soundfile.write(tmp_path / "silence.wav", np.zeros(100), 8000)
    with pytest.raises(ConfigError, match=r"silence\.wav: is silent, so it is no impulse response"):
        chain(room=effects.MeasuredRoom(directory=str(tmp_path)))
    (tmp_path / "silence.wav").write_bytes(b"no sound")
    with pytest.raises(ConfigError, match=r"An impulse response cannot be used: .*silence\.wav"):
        chain(room=effects.MeasuredRoom(directory=str(tmp_path)))


def test_a_measured_room_out_of_a_file_is_read_for_those_who_trust_the_file(recipe_of, tmp_path):
    write_rooms(tmp_path, 0)
    recipe = recipe_of("dataset.size=8", "perturb=measured_room", f"perturb.measured_room.directory={tmp_path}")
    info, batch = recipe.info("x"), recipe.make(0, 2)
    playback = Playback(info, instantiate_trusted)
    np.testing.assert_array_equal(playback.sounds(batch, "train", 0), recipe.render(batch.value))
    assert "without what perturbed them" in playback.how
    with pytest.raises(NSMError, match=r"because it reads files .* trusted_modules=.src\.perturb\.effects."):
        fresh_sounds(info, instantiate_trusted)
    trusting = partial(instantiate_trusted, trusted_modules=["src.perturb.effects"])
    np.testing.assert_array_equal(Playback(info, trusting).sounds(batch, "train", 0), recipe.recorded(batch.value, 0))
    np.testing.assert_array_equal(fresh_sounds(info, trusting)(0, 2).image, recipe.make_fresh(0, 2).image)


@pytest.mark.parametrize("effect", [effects.MP3(bitrate=64), effects.Ogg(compression=0)])
def test_a_codec_keeps_length_level_and_beginning_and_silence(effect):
    given = torch.cat([sounds(2), torch.zeros(1, N_SAMPLES)])
    perturbation = chain(codec=effect)
    found = perturbation.apply(given, perturbation.draws(0, 3, 1))
    assert found.shape == given.shape and (found[2] == 0).all()
    error = (found - given)[:2].square().mean() / given[:2].square().mean()
    assert 1e-8 < error < 0.01  # -20 dB: MP3 changes the level by half a dB
    assert torch.equal(found, perturbation.apply(given, perturbation.draws(0, 3, 1)))
    torch.testing.assert_close(perturbation.apply(given * 4, perturbation.draws(0, 3, 1)), found * 4)


def test_what_has_the_cpu_alone_is_refused_elsewhere():
    perturbation = chain(gain=effects.Gain(), mp3=effects.MP3())
    assert perturbation.on_cpu == ("mp3",)
    with pytest.raises(ConfigError, match=r"perturb\.mp3 works on the CPU alone, and these sounds are on meta"):
        perturbation.apply(sounds().to("meta"), perturbation.draws(0, 8, 1))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_device_perturbs_alike(recording, device):
    draws = recording.draws(0, 40)
    clean = torch.from_numpy(recording.sounds(recording.values(0, 40), 0, draws))
    found = recording.perturbation.apply(clean.to(device), draws).cpu()
    exact = ~draws["quantize"].is_on  # elsewhere rounding may fall to either side
    torch.testing.assert_close(found[exact], recording.perturbation.apply(clean, draws)[exact], rtol=1e-4, atol=1e-4)


def test_the_users_own_effect_is_a_class_and_a_section():
    section = {"_target_": "src.perturb.effects.Gain", "level": [-3, 3]}
    assert instantiate_own(section, slot="effect").level == Span(-3, 3)
    assert instantiate_trusted(section, slot="effect").level == Span(-3, 3)
