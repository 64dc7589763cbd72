"""The voice of a SoundFont, on one that is written here: a looped sine at keys 40 to 90 of the programs 0 and 73."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hydra import compose
from tiny_font import PERIOD, RATE, ROOT_KEY, generator, tiny_font

from src.checkpoints.trusted import SLOTS, instantiate_own, instantiate_trusted
from src.errors import CheckpointError, ConfigError
from src.generation import FreshSounds, generate
from src.hydra_versions import initialize_configs
from src.recipe import Recipe
from src.synth.general_midi import FAMILIES, PROGRAMS, VARIANTS
from src.synth.soundfont import SILENCE, SoundFontFileVoice, SoundFontVoice
from src.synth.soundfont_file import INSTRUMENT, SAMPLE, BrokenFontError, check_font
from src.tasks.generate import drawn_again
from src.vimh.info import Shard
from src.vimh.reader import VIMHReader

CONFIGS = Path(__file__).parents[2] / "configs"
pytestmark = pytest.mark.soundfont
FLUTE = PROGRAMS.index("Flute")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory of fonts."""
    path = tmp_path_factory.mktemp("fonts")
    (path / "tiny.sf2").write_bytes(tiny_font((0, FLUTE)))
    return path


@pytest.fixture
def voice_of(directory, monkeypatch):
    """Makes a voice of the font."""
    monkeypatch.setenv("SOUNDFONT_PATH", str(directory))
    return lambda sample_rate=16000, duration=1.0, **settings: SoundFontVoice(
        sample_rate, duration, "tiny.sf2", **settings
    )


def columns(**values):
    n = max(np.size(value) for value in values.values())
    return {name: np.broadcast_to(np.asarray(value, np.float64), n) for name, value in values.items()}


def frequency(waveform, sample_rate):
    """Of a sine, Hz, by the peak of a spectrum with much interpolation."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(waveform.size), 2**20))
    return spectrum.argmax() * sample_rate / 2**20


# ----- what is rendered


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize(("note", "tuning"), [(69, 0), (60, 0), (60.25, 0), (60, 25), (60, -50), (71.5, 10)])
def test_a_note_has_the_pitch_that_it_is_given(voice_of, note, tuning, sample_rate):
    (waveform,) = voice_of(sample_rate).render(columns(note_number=note, tuning=tuning))
    expected = RATE / PERIOD * 2 ** ((note - ROOT_KEY + tuning / 100) / 12)
    assert waveform.shape == (sample_rate,) and waveform.dtype == np.float32
    assert 1200 * abs(np.log2(frequency(waveform, sample_rate) / expected)) < 0.2  # cents


def test_tuning_and_fractions_of_a_note_are_the_same(voice_of):
    voice = voice_of()
    one, other = voice.render(columns(note_number=[60.25, 60], tuning=[0, 25]))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("key_shift", [-24, -7, 1, 12])
def test_a_note_keeps_its_pitch_whichever_key_is_pressed(voice_of, key_shift):
    (waveform,) = voice_of().render(columns(note_number=65.25, tuning=10, key_shift=key_shift))
    expected = RATE / PERIOD * 2 ** ((65.35 - ROOT_KEY) / 12)
    assert 1200 * abs(np.log2(frequency(waveform, 16000) / expected)) < 0.2  # cents


def test_a_shifted_key_must_be_one_of_the_program(voice_of):
    shifts = [-20, -21, 24, -24]  # keys 40, 39, 84 and 36
    np.testing.assert_array_equal(
        voice_of().has_sound(columns(note_number=60, key_shift=shifts)), [True, False, True, False]
    )


def test_keys_end_where_those_of_midi_do(directory):
    (directory / "whole.sf2").write_bytes(tiny_font(lowest=0, highest=127))
    voice = SoundFontFileVoice(16000, 0.1, directory / "whole.sf2")
    assert voice.has_sound(columns(note_number=[120, 30], key_shift=[24, -24])).all()
    for note, key_shift, nearest in ((120, 24, 7), (10, -24, -10)):
        shifted, end = voice.render(columns(note_number=note, key_shift=[key_shift, nearest]))
        np.testing.assert_array_equal(shifted, end)


def test_a_note_ends_when_the_key_is_let_go(voice_of):
    early, late = voice_of().render(columns(release=[0.25, 5.0]))
    np.testing.assert_allclose(early[:3900], late[:3900], atol=1e-4)  # resampling looks ahead
    assert np.abs(early[-4000:]).max() < 0.01 * np.abs(late[-4000:]).max()


def test_level_rises_with_velocity(voice_of):
    peak = np.abs(voice_of().render(columns(note_velocity=[20, 60, 127]))).max(axis=1)
    assert (np.diff(peak) > 0.01).all()


def test_a_sound_does_not_depend_on_its_batch(voice_of):
    voice, rng = voice_of(duration=0.2), np.random.default_rng(0)
    parameters = columns(note_number=rng.uniform(40, 90, 20), note_velocity=rng.uniform(1, 127, 20))
    whole = voice.render(parameters)
    alone = [voice.render({name: value[row : row + 1] for name, value in parameters.items()}) for row in range(20)]
    np.testing.assert_array_equal(np.concatenate(alone), whole)


def test_threads_may_share_a_voice(voice_of):
    voice, parameters = voice_of(), columns(note_number=np.linspace(40, 90, 30))
    expected, found = voice.render(parameters), {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: voice.render(parameters)})) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and voice.threads
    for waveform in found.values():
        np.testing.assert_array_equal(waveform, expected)


def test_what_a_program_does_not_have_is_silent(voice_of):
    voice = voice_of()
    parameters = columns(program=[0, 0, 0, FLUTE, 5, 0], note_number=[40, 39, 90.4, 60, 60, 91])
    sounds = [True, False, True, True, False, False]
    np.testing.assert_array_equal(voice.has_sound(parameters), sounds)
    np.testing.assert_array_equal(np.abs(voice.render(parameters)).max(axis=1) >= SILENCE, sounds)


def test_a_note_that_is_not_heard_counts_as_silent(directory):
    (directory / "soft.sf2").write_bytes(tiny_font(attenuation=1440))
    assert not SoundFontFileVoice(16000, 0.1, directory / "soft.sf2").has_sound(columns(note_number=60)).any()


# ----- programs and families


def test_general_midi_has_128_programs_in_16_families():
    assert len(set(PROGRAMS)) == 128 and len(set(FAMILIES)) == 16 and VARIANTS * len(FAMILIES) == len(PROGRAMS)
    assert [PROGRAMS[8 * number] for number in (0, 4, 9, 15)] == [
        "Acoustic Grand Piano",
        "Acoustic Bass",
        "Piccolo",
        "Guitar Fret Noise",
    ]


def test_the_configuration_names_all_programs():
    with initialize_configs(CONFIGS):
        assert tuple(compose("synth/generate_soundfont").parameters.program.names) == PROGRAMS


def test_programs_are_counted_in_the_order_in_which_they_are_named(voice_of):
    voice = voice_of(programs=["Flute", 5, "Acoustic Grand Piano"])
    np.testing.assert_array_equal(voice.has_sound(columns(program=[0, 1, 2])), [True, False, True])


def test_a_family_and_a_variant_name_a_program(voice_of):
    voice = voice_of()
    by_family = voice.render(columns(family=FLUTE // 8, variant=FLUTE % 8))
    np.testing.assert_array_equal(by_family, voice.render(columns(program=FLUTE)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"program": 128}, r"program is 128 in voice 0; it must be within 0 to 127"),
        ({"program": 1.5}, r"program is 1\.5; it must be a whole number"),
        ({"program": 120, "family": 1, "variant": 1}, r"name program 129; the last one is 127"),
        ({"note_velocity": 0}, r"note_velocity is 0 in voice 0; it must be within 1 to 127"),
        ({"cutoff": 1}, r"Unknown synth parameter cutoff"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(voice_of, parameters, message):
    with pytest.raises(ConfigError, match=message):
        voice_of().render(columns(**parameters))


@pytest.mark.parametrize(
    ("programs", "named"), [(["Kazoo"], "'Kazoo'"), ([128], "128"), ([True], "True"), ([1.5], "1.5")]
)
def test_programs_that_are_not_there_are_refused(voice_of, programs, named):
    with pytest.raises(ConfigError, match=f"programs names {named}; a program is a number of 0 to 127, or a name"):
        voice_of(programs=programs)


def test_no_programs_are_refused(voice_of):
    with pytest.raises(ConfigError, match="programs is empty"):
        voice_of(programs=[])


# ----- fonts


def test_a_missing_font_is_named_with_its_package(voice_of):
    with pytest.raises(ConfigError, match=r"no SoundFont none\.sf2 in .*SOUNDFONT_PATH=DIRECTORY"):
        SoundFontVoice(16000, 1.0, "none.sf2")


@pytest.mark.parametrize("font", ["/etc/passwd", "../tiny.sf2", "", ".."])
def test_a_name_leads_nowhere_else(voice_of, font):
    with pytest.raises(ConfigError, match="it must be the name of a file"):
        SoundFontVoice(16000, 1.0, font)


def test_a_font_at_any_path(directory):
    assert SoundFontFileVoice(16000, 0.1, str(directory / "tiny.sf2")).has_sound(columns(note_number=60)).all()
    with pytest.raises(ConfigError, match=r"none\.sf2: the SoundFont cannot be read \(No such file or directory\)"):
        SoundFontFileVoice(16000, 0.1, str(directory / "none.sf2"))
    with pytest.raises(ConfigError, match=r"the SoundFont cannot be read \(Is a directory\)"):
        SoundFontFileVoice(16000, 0.1, str(directory))


def test_a_stranger_names_no_paths(directory, monkeypatch):
    monkeypatch.setenv("SOUNDFONT_PATH", str(directory))
    section = {"sample_rate": 16000, "duration": 0.1, "font": "tiny.sf2"}
    target = "src.synth.soundfont.SoundFontVoice"
    assert target in SLOTS["synth"].classes
    assert instantiate_trusted({"_target_": target} | section, slot="synth").n_samples == 1600
    with pytest.raises(CheckpointError, match="because it reads files where that file says"):
        instantiate_trusted({"_target_": "src.synth.soundfont.SoundFontFileVoice"} | section, slot="synth")


def test_a_font_that_changes_is_read_again(tmp_path):
    path = tmp_path / "font.sf2"
    path.write_bytes(tiny_font())
    assert SoundFontFileVoice(16000, 0.1, path).has_sound(columns(program=0)).all()
    path.write_bytes(tiny_font((1, 2, 3)))
    assert not SoundFontFileVoice(16000, 0.1, path).has_sound(columns(program=0)).any()


BROKEN = {
    "text": (lambda font: b"program,note\n" * 20, "does not begin with RIFF and sfbk"),
    "empty": (lambda font: b"", "does not begin with RIFF and sfbk"),
    "cut off": (lambda font: font[:-300], "ends before its last chunk does"),
    "no headers": (lambda font: font.replace(b"shdr", b"xxxx"), "its list shdr is missing"),
    "half an entry": (lambda font: font.replace(b"phdr", b"pbag", 1), "its list p[a-z]+ is missing or has another"),
    "instrument": (lambda font: font.replace(generator(INSTRUMENT, 0), generator(INSTRUMENT, 7)), "instrument 7 of 1"),
    "sample": (lambda font: font.replace(generator(SAMPLE, 0), generator(SAMPLE, 9)), "sample 9 of 1"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_font_is_refused_before_the_engine_reads_it(tmp_path, kind):
    damage, message = BROKEN[kind]
    path = tmp_path / "font.sf2"
    path.write_bytes(damage(tiny_font()))
    with pytest.raises(ConfigError, match=rf"font\.sf2: is no whole SoundFont: .*{message}.*install the file again"):
        SoundFontFileVoice(16000, 0.1, path)


def test_changed_bytes_of_the_lists_are_refused_or_let_through_without_another_error():
    font, rng, n_refused = tiny_font(), np.random.default_rng(0), 0
    for _ in range(300):
        changed = bytearray(font)
        changed[-int(rng.integers(1, 700))] = int(rng.integers(256))
        try:
            check_font(bytes(changed))
        except BrokenFontError:
            n_refused += 1
    assert n_refused > 30


# ----- datasets


@pytest.fixture
def recipe(directory, monkeypatch):
    """Notes of two programs, of which one is in the font, below and within its compass."""
    monkeypatch.setenv("SOUNDFONT_PATH", str(directory))

    def make(**dataset):
        config = {
            "dataset": {
                **{"size": 60, "train_fraction": 0.8, "seed": 3, "sampling": "uniform", "sample_rate": 8000},
                **{"duration": 0.1, "synth_type": "soundfont"},
            }
            | dataset,
            "synth": {
                **{"_target_": "src.synth.soundfont.SoundFontVoice", "sample_rate": 8000, "duration": 0.1},
                **{"font": "tiny.sf2", "programs": ["Flute", "Violin"]},
            },
            "parameters": {
                "program": {"names": ["Flute", "Violin"]},
                "note_number": {"min": 30, "max": 60, "step": 1},
                "tuning": {"value": 0},
            },
            "representation": {
                **{"_target_": "src.spectral.representation.SpectralRepresentation", "sample_rate": 8000},
                **{"duration": 0.1, "height": 8, "width": 8, "win_length": 64},
            },
            "channels": {},
            "perturb": {
                "velocity": {
                    **{"_target_": "src.perturb.effects.VoiceParameter", "parameter": "note_velocity"},
                    **{"value": [20, 127, "whole"]},
                }
            },
        }
        return Recipe.from_config(config, instantiate_own)

    return make


def test_silent_notes_are_drawn_again_by_their_numbers(recipe):
    made = recipe()
    value, first = made.values(0, 60), made.first_values(0, 60)
    assert made.synth.has_sound(made.given(value)).all()
    kept = made.synth.has_sound(made.given(first))
    assert 20 < (~kept).sum() < 58
    np.testing.assert_array_equal(value[kept], first[kept])
    np.testing.assert_array_equal(np.concatenate([made.values(n, n + 1) for n in range(60)]), value)
    np.testing.assert_array_equal(made.make(7, 9).value, value[7:9])


def test_fresh_sounds_are_no_silence_either(recipe):
    made = recipe()
    value = FreshSounds(made)(0, 40).value
    assert made.synth.has_sound(made.given(value)).all()
    assert not {row.tobytes() for row in value} & {row.tobytes() for row in made.values(0, 60)}


def test_a_dataset_says_how_many_were_drawn_again(recipe, tmp_path):
    made = recipe()
    data_dir = tmp_path / made.directory_name()
    assert generate(made, data_dir, batch_size=7) == 60
    n_silent = int((made.values(0, 60) != made.first_values(0, 60)).any(axis=1).sum())
    assert drawn_again(made, VIMHReader(data_dir), Shard(index=0, count=1)) == n_silent > 20


def test_a_grid_has_no_other_notes(recipe):
    with pytest.raises(ConfigError, match=r"is silent, and sampling=grid takes every point of the grid once"):
        recipe(sampling="grid").values(0, 60)


def test_nothing_but_silence_is_refused(recipe):
    made = recipe()
    made.synth.numbers[:] = 5  # which the font does not have
    with pytest.raises(ConfigError, match=r"Sample 0 .* it is silent, and so were 999 others"):
        made.values(0, 1)
