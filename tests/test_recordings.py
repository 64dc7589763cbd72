import io
import math
import os
import resource
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose

from scripts.faults.recordings import odd_recordings
from src import recordings
from src.checkpoints.trusted import instantiate_own
from src.errors import ConfigError
from src.hydra_versions import initialize_configs
from src.recipe import Recipe
from src.recordings import (
    AudioArray,
    AudioFile,
    Framing,
    RecordingError,
    cut_into_frames,
    cut_to_sound,
    find_files,
    find_onset,
    read_recording,
    resample,
)
from src.text import name_of

RATE, DURATION = 8000, 1.0


def read_samples(path, seconds):
    """The beginning of a file, the mean of its channels, and its rate."""
    audio = AudioFile.open(path)
    return np.concatenate(list(audio.blocks(0, math.ceil(seconds * audio.sample_rate)))), audio.sample_rate


def decaying(rate, seconds=1.0, f0=440.0):
    time = np.arange(round(rate * seconds)) / rate
    return 0.5 * np.cos(2 * np.pi * f0 * time) * np.exp(-3 * time)


@pytest.mark.parametrize("rate", [6000, 11025, 16000, 22050, 44100, 48000])
def test_a_sinusoid_stays_one_at_another_rate(rate):
    f0 = 1000.0
    found = resample([np.cos(2 * np.pi * f0 * np.arange(rate) / rate)], rate, RATE)
    expected = np.cos(2 * np.pi * f0 * np.arange(len(found)) / RATE)
    middle = slice(len(found) // 4, -len(found) // 4)
    assert np.abs(found - expected)[middle].max() < 1e-4  # -80 dB, the range of an image


def test_what_is_above_half_the_rate_does_not_come_back_as_something_else():
    above = np.cos(2 * np.pi * 5000 * np.arange(44100) / 44100)
    assert np.abs(resample([above], 44100, RATE)[1000:-1000]).max() < 1e-4


# Rates that share factors, few of them, or none.
RATES = [(44100, RATE), (44101, RATE), (22254, RATE), (96001, 16000), (7919, RATE), (RATE, 44101), (999_983, RATE)]


def cosine(frequency, rate, n_samples, phase=0.3):
    return np.cos(2 * np.pi * frequency * np.arange(n_samples) / rate + phase)


@pytest.mark.parametrize(("rate", "sample_rate"), RATES)
def test_any_two_rates_keep_level_and_phase_of_what_both_can_hold(rate, sample_rate):
    for share in (0.02, 0.3, 0.7, 0.9):
        f0 = share * min(rate, sample_rate) / 2
        found = resample([cosine(f0, rate, round(0.3 * rate))], rate, sample_rate)
        middle = slice(len(found) // 4, -len(found) // 4)
        turn = np.exp(2j * np.pi * f0 * np.arange(len(found)) / sample_rate)[middle]
        basis = np.stack([turn.real, -turn.imag], axis=1)
        (real, imag), *_ = np.linalg.lstsq(basis, found[middle], rcond=None)
        assert abs(20 * np.log10(abs(real + 1j * imag))) < 0.01  # dB
        assert np.angle(real + 1j * imag) == pytest.approx(0.3, abs=1e-5)  # delayed by nothing
        assert np.abs(basis @ [real, imag] - found[middle]).max() < 1e-6


@pytest.mark.parametrize(("rate", "sample_rate"), [pair for pair in RATES if pair[0] > pair[1]])
def test_any_two_rates_reject_what_the_lower_one_cannot_hold(rate, sample_rate):
    for share in (1.0, 1.02, 1.3):
        found = resample([cosine(share * sample_rate / 2, rate, round(0.3 * rate))], rate, sample_rate)
        assert np.abs(found[len(found) // 4 : -len(found) // 4]).max() < 1e-5  # -100 dB


@pytest.mark.parametrize(("rate", "sample_rate"), RATES)
def test_resampling_is_linear_and_knows_no_blocks(rate, sample_rate):
    x, y = np.random.default_rng(0).standard_normal((2, round(0.1 * rate)))
    whole = resample([2 * x - y], rate, sample_rate)
    assert np.abs(2 * resample([x], rate, sample_rate) - resample([y], rate, sample_rate) - whole).max() < 1e-9
    assert np.array_equal(resample(np.split(2 * x - y, [0, 1, 77]), rate, sample_rate), whole)
    assert len(whole) == pytest.approx(0.1 * sample_rate, abs=1)
    assert not resample([0 * x], rate, sample_rate).any()


@pytest.mark.parametrize("rate", [1, 7, 7919, 22254, 44101, 96001, 9_999_991])
def test_no_rate_takes_more_memory_than_the_sound(rate):
    waveform = np.random.default_rng(0).standard_normal(max(20, round(0.5 * rate)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.isfinite(resample([waveform], rate, RATE)).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB on Linux, bytes on macOS


def test_a_long_recording_is_never_in_memory_as_a_whole(tmp_path):
    n_samples = 400 * RATE
    sound = np.concatenate([np.zeros(n_samples - RATE), decaying(RATE)])
    soundfile.write(tmp_path / "long.wav", sound, RATE, subtype="PCM_16")
    del sound
    tracemalloc.start()
    recording = read_recording(tmp_path / "long.wav", RATE, DURATION)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert recording.onset == pytest.approx(399, abs=1e-3)
    assert most < n_samples * 8 / 2  # its samples are twice as large


@pytest.mark.parametrize(
    ("rate", "n_channels", "subtype"), [(8000, 1, "FLOAT"), (44100, 2, "PCM_24"), (48000, 5, "PCM_16")]
)
@pytest.mark.parametrize("silence", [0.0, 0.25])
def test_a_sound_is_found_in_its_file(tmp_path, rate, n_channels, subtype, silence):
    path = tmp_path / "sound.wav"
    mono = np.concatenate([np.zeros(round(silence * rate)), decaying(rate)])
    soundfile.write(path, np.repeat(mono[:, None], n_channels, axis=1), rate, subtype=subtype)
    recording = read_recording(path, RATE, DURATION)
    assert (recording.waveform.dtype, recording.waveform.shape) == (np.float32, (8000,))
    assert recording.onset == pytest.approx(silence, abs=1 / rate)
    assert recording.duration == pytest.approx(1 + silence, abs=1 / rate)
    assert np.abs(recording.waveform - decaying(RATE))[200:-200].max() < 1e-3
    assert ("mean of" in " ".join(recording.notes)) == (n_channels > 1)
    assert ("resampled" in " ".join(recording.notes)) == (rate != RATE)


def test_the_onset_is_where_the_sound_leaves_silence():
    assert find_onset(np.array([0, 0.009, -0.011, 1.0]), RATE) == 1


@pytest.mark.parametrize("noise", [0.0, 3e-4, 1e-3])  # to -54 dB of the peak
def test_the_onset_of_a_sound_in_noise_is_where_the_sound_begins(noise):
    rng = np.random.default_rng(1)
    sound = np.concatenate([np.zeros(4000), decaying(RATE)])
    assert abs(find_onset(sound + noise * rng.standard_normal(len(sound)), RATE) - 4000) <= 1


def test_a_gradual_onset_is_found_before_it_reaches_forty_decibels_below_the_peak():
    rise = np.concatenate([np.zeros(100), np.linspace(0, 1, 8001)])  # 1 at sample 8100, 1 % of it at 180
    assert find_onset(rise, 48000) == 101


def test_as_much_is_kept_before_the_onset_as_the_dataset_has(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(2000), decaying(RATE)]), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", decaying(RATE), RATE, subtype="FLOAT")
    for name in "ab":
        waveform = read_recording(tmp_path / f"{name}.wav", RATE, DURATION, lead=0.002).waveform
        assert not waveform[:16].any()
        assert np.abs(waveform[16:] - decaying(RATE)[:-16]).max() < 1e-6


def test_a_short_sound_is_padded_and_a_long_one_cut(tmp_path):
    for seconds in (0.3, 2.0):
        soundfile.write(tmp_path / f"{seconds}.wav", decaying(RATE, seconds), RATE, subtype="FLOAT")
    short, long = (read_recording(tmp_path / f"{seconds}.wav", RATE, DURATION) for seconds in (0.3, 2.0))
    assert not short.waveform[2400:].any()
    assert short.notes == ("0.300 s long, the rest is silence",)
    assert np.abs(long.waveform - decaying(RATE)).max() < 1e-6
    assert long.notes == ("cut after 1 s",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is a text", "cannot be read as audio"),
        (b"", "cannot be read as audio"),
        (np.zeros(8000), "is silent"),
        (decaying(RATE, 0.02), "too short"),
        (np.zeros(0), "holds no samples"),
        (np.array([0.1, np.nan] * 4000), "not finite"),
    ],
    ids=["text", "empty file", "silence", "short", "no samples", "nan"],
)
def test_what_is_no_sound_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "odd name [1].wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        soundfile.write(path, content, RATE, subtype="FLOAT")
    with pytest.raises(RecordingError, match=rf"odd name \[1\]\.wav: .*{message}"):
        read_recording(path, RATE, DURATION)


# ----- lossy codecs

CODECS = {
    "wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
SYNTHS = ["simple_saw", "moog_basic", "moog_envelope", "moog_resonance"]


def rendered(synth, n_sounds):
    """Sounds of a synth at 8 kHz, `(sound, time)`."""
    with initialize_configs(Path(__file__).parents[1] / "configs"):
        cfg = compose(f"synth/generate_{synth}")
    recipe = Recipe.from_config(cfg, instantiate_own)
    return recipe.render(recipe.values(0, n_sounds)).astype(np.float64), recipe.synth.sample_rate


def onset_after(waveform, rate, codec):
    """Where the onset is found once a codec has coded a sound, s."""
    form, subtype = CODECS[codec]
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format=form, subtype=subtype)
    file.seek(0)
    decoded, rate = soundfile.read(file)
    return find_onset(decoded, rate, lossy=subtype in recordings.LOSSY) / rate


def check_onsets(sounds, rate, codec):
    rng = np.random.default_rng(1)
    for sound in sounds:
        waveform = np.pad(sound * 0.5 / np.abs(sound).max(), (round(rng.uniform(0.1, 0.3) * rate), 0))
        assert onset_after(waveform, rate, codec) == pytest.approx(find_onset(waveform, rate) / rate, abs=0.002)


@pytest.mark.parametrize("codec", CODECS)
def test_the_onset_is_where_it_was_before_a_codec(codec):
    check_onsets(*rendered("simple_saw", 4), codec)
    check_onsets(*rendered("moog_envelope", 4), codec)


@pytest.mark.slow
@pytest.mark.parametrize("synth", SYNTHS)
@pytest.mark.parametrize("codec", CODECS)
def test_the_onset_of_many_sounds_is_where_it_was_before_a_codec(codec, synth):
    check_onsets(*rendered(synth, 50), codec)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", [8000, 48000])
@pytest.mark.parametrize("noise", [0.0, 3e-4])
@pytest.mark.parametrize("attack", [1e-6, 0.02])
def test_the_onset_behind_a_codec_depends_on_neither_noise_nor_attack(codec, rate, noise, attack):
    seconds = np.arange(rate) / rate
    sound = 0.5 * np.cos(2 * np.pi * 440 * seconds) * np.exp(-3 * seconds) * np.minimum(1, seconds / attack)
    waveform = np.pad(sound, (rate // 4, 0)) + noise * np.random.default_rng(0).standard_normal(rate + rate // 4)
    assert onset_after(waveform, rate, codec) == pytest.approx(0.25, abs=0.002)


@pytest.mark.parametrize("codec", CODECS)
def test_a_recording_in_a_codec_is_aligned_as_it_was(tmp_path, codec):
    form, subtype = CODECS[codec]
    waveform = np.pad(decaying(48000), (12000, 0))
    soundfile.write(tmp_path / f"a.{codec}", waveform, 48000, format=form, subtype=subtype)
    recording = read_recording(tmp_path / f"a.{codec}", RATE, DURATION)
    assert recording.onset == pytest.approx(0.25, abs=0.002)
    assert np.abs(recording.waveform).max() == pytest.approx(0.5, abs=0.05)


# ----- anything


def test_whatever_a_recording_is_it_is_read_or_refused_by_name(tmp_path):
    for path, expected in odd_recordings(tmp_path, seed=0, n=40):
        try:
            recording = read_recording(path, RATE, DURATION)
        except RecordingError as error:
            assert expected != "read", error
            assert str(error).startswith(f"{name_of(path)}: ")
            assert str(error).isprintable() or "\u202e" in name_of(path) or "\u2028" in name_of(path)
            str(error).encode()
        else:
            assert expected != "skipped", path
            assert recording.waveform.shape == (RATE,)
            assert np.isfinite(np.square(recording.waveform)).all()
            assert np.abs(recording.waveform).max() > 0


@pytest.mark.parametrize(("level", "is_read"), [(1e9, True), (1e10, False), (1e38, False), (1e300, False)])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_what_no_32_bits_can_hold_is_refused(tmp_path, level, is_read, n_channels):
    sound = np.repeat(decaying(RATE)[:, None], n_channels, axis=1)
    soundfile.write(tmp_path / "a.wav", level * 2 * sound, RATE, subtype="DOUBLE")
    if is_read:
        waveform = read_recording(tmp_path / "a.wav", RATE, DURATION).waveform
        assert np.abs(waveform / level - 2 * decaying(RATE)).max() < 1e-6
    else:
        with pytest.raises(RecordingError, match="full scale"):
            read_recording(tmp_path / "a.wav", RATE, DURATION)


def test_a_rate_that_no_recording_has_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", decaying(RATE), 2**31 - 1)
    with pytest.raises(RecordingError, match=r"a\.wav: has a sample rate of 2,147,483,647 Hz"):
        read_recording(tmp_path / "a.wav", RATE, DURATION)


def test_what_the_rate_of_the_dataset_cannot_hold_is_silent(tmp_path):
    soundfile.write(tmp_path / "a.wav", 2e-5 * cosine(20000, 48000, 48000), 48000, subtype="FLOAT")
    with pytest.raises(RecordingError, match="is silent below 4,000 Hz"):
        read_recording(tmp_path / "a.wav", RATE, DURATION)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("lost sync"), AssertionError(), TypeError("format")])
def test_whatever_a_decoder_raises_is_about_its_file(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    soundfile.write(tmp_path / "a.wav", decaying(RATE), RATE)
    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(RecordingError, match=r"a\.wav: cannot be read as audio: \w+"):
        read_recording(tmp_path / "a.wav", RATE, DURATION)


def test_a_name_that_is_not_utf_8_is_a_name(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9\n.wav")
    soundfile.write(os.fsencode(path), decaying(RATE), RATE, format="WAV", subtype="FLOAT")
    (found,) = find_files(str(tmp_path))
    assert np.abs(read_recording(found, RATE, DURATION).waveform - decaying(RATE)).max() < 1e-6
    assert name_of(path.name) == r"caf\xe9\n.wav"
    assert name_of("Grüße 日本\u3000🎹.wav") == "Grüße 日本\u3000🎹.wav"


def test_a_directory_of_directories_says_how_their_files_are_named(tmp_path):
    (tmp_path / "kind").mkdir()
    soundfile.write(tmp_path / "kind" / "a.wav", decaying(RATE), RATE)
    with pytest.raises(ConfigError, match=r"no audio file is in this directory .* pattern, as '") as refused:
        find_files(str(tmp_path))
    pattern = str(refused.value).split("'")[1]
    assert find_files(pattern) == [tmp_path / "kind" / "a.wav"]


@pytest.mark.parametrize("audio", ["a\0b.wav", "a*\0.wav", "x" * 5000, "~nobody_of_this_name/a.wav"])
def test_what_cannot_be_a_path_is_refused(audio):
    with pytest.raises(ConfigError, match="audio="):
        find_files(audio)


# ----- files that are cut off

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "wide.wav": ("WAVEX", "PCM_24"),
    "long.wav": ("RF64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
WHOLE = 32000  # samples


def whole_file(path, name):
    noise = 0.1 * np.random.default_rng(0).standard_normal((WHOLE, 2))
    form, subtype = FORMATS[name]
    soundfile.write(path, noise, 16000, format=form, subtype=subtype)
    return path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_off_is_refused_even_behind_what_is_read(tmp_path, name):
    path = tmp_path / f"sound.{name}"
    content = whole_file(path, name)
    assert read_samples(path, 10)[0].shape == (WHOLE,)
    assert read_samples(path, 0.1)[0].shape == (1600,)
    assert AudioFile.open(path).n_channels == 2
    for share in (0.02, 0.3, 0.5, 0.9, 0.97):
        path.write_bytes(content[: round(share * len(content))])
        for seconds in (0.1, 10):
            with pytest.raises(RecordingError, match=rf"sound\.{name}: "):
                read_samples(path, seconds)


def test_a_recording_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, decaying(RATE), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordingError, match="is cut off"):
        read_recording(path, RATE, DURATION)


@pytest.mark.parametrize(
    ("riff", "data"),
    [(0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000), (0x80000024, 0x80000000), (0, 2000), (8, 0)],
    ids=["ffmpeg", "sox", "arecord", "no length of all", "not closed"],
)
def test_a_stream_without_a_length_is_read_as_far_as_it_goes(tmp_path, riff, data):
    samples = np.arange(1000, dtype="<i2")
    head = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", riff, b"WAVEfmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", data)
    (tmp_path / "sound.wav").write_bytes(head + samples.tobytes())
    found, rate = read_samples(tmp_path / "sound.wav", 10)
    assert rate == RATE
    assert np.array_equal(found * 2**15, samples)


@pytest.mark.parametrize("name", ["wav", "mp3", "ogg"])
def test_what_is_behind_the_samples_does_not_count(tmp_path, name):
    path = tmp_path / f"sound.{name}"
    content = whole_file(path, name)
    path.write_bytes(content + b"TAG" + bytes(125))
    assert len(read_samples(path, 10)[0]) == WHOLE


def test_an_mp3_announces_its_length_behind_a_tag_or_not_at_all(tmp_path, capfd):
    path = tmp_path / "sound.mp3"
    content = whole_file(path, "mp3")
    tag = b"ID3\3\0\0\0\0\x7f\x7f" + bytes(127 * 128 + 127)
    path.write_bytes(tag + content)
    assert len(read_samples(path, 10)[0]) == WHOLE
    path.write_bytes(tag + content[: len(content) // 2])
    with pytest.raises(RecordingError, match="is cut off"):
        read_samples(path, 10)
    assert capfd.readouterr().err == ""  # libmpg123 would say something there
    stream = content[content.index(content[:2], 2) :]  # without its first frame
    path.write_bytes(stream[: len(stream) // 2])
    assert len(read_samples(path, 10)[0])


def test_files_are_found_by_name_directory_and_pattern(tmp_path):
    for name in ("b.wav", "a [1].flac", "notes.txt", "deep/c.WAV"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_files(f"{tmp_path}/a [1].flac") == [tmp_path / "a [1].flac"]
    assert find_files(str(tmp_path)) == [tmp_path / "a [1].flac", tmp_path / "b.wav"]
    assert find_files(f"{tmp_path}/*.wav") == [tmp_path / "b.wav"]
    assert find_files(f"{tmp_path}/**/*.WAV") == [tmp_path / "deep" / "c.WAV"]


@pytest.mark.parametrize("audio", ["gone.wav", "*.mp3", "empty"])
def test_what_is_not_there_is_said_to_be_so(tmp_path, monkeypatch, audio):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no"):
        find_files(audio)


# ----- in memory


@pytest.mark.parametrize(("first", "n_samples"), [(0, 1000), (0, 5), (3, 64), (64, 64), (990, 50), (1000, 5)])
def test_samples_in_memory_come_in_blocks_as_those_of_a_file_do(tmp_path, monkeypatch, first, n_samples):
    monkeypatch.setattr(recordings, "BLOCK", 64)
    samples = np.random.default_rng(0).normal(scale=0.1, size=1000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    sources = AudioFile.open(tmp_path / "a.wav"), AudioArray(Path("a"), RATE, 1, False, samples)
    of_file, of_memory = ([*source.blocks(first, n_samples)] for source in sources)
    assert all(len(block) <= 64 for block in of_memory)
    assert all(block.dtype == np.float64 for block in of_memory)
    for blocks in (of_file, of_memory):
        assert np.array_equal(np.concatenate([np.zeros(0), *blocks]), samples[first : first + n_samples])


def test_samples_in_memory_are_cut_and_resampled_as_those_of_a_file_are(tmp_path):
    sound = np.pad(decaying(44100), (9000, 0)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 44100, subtype="FLOAT")
    of_file = read_recording(tmp_path / "a.wav", RATE, DURATION, lead=0.002)
    of_memory = cut_to_sound(AudioArray(Path("a"), 44100, 1, False, sound), RATE, DURATION, lead=0.002)
    assert np.array_equal(of_memory.waveform, of_file.waveform)
    assert (of_memory.onset, of_memory.duration, of_memory.notes) == (of_file.onset, of_file.duration, of_file.notes)


# ----- frames


def cut(samples, rate=RATE, **framing):
    settings = {"sample_rate": RATE, "duration": 0.5, "hop": 0.25} | framing
    return cut_into_frames(AudioArray(Path("a"), rate, 1, False, samples), Framing(**settings))


def noise(seconds, rate=RATE):
    return np.random.default_rng(1).normal(scale=0.1, size=round(seconds * rate)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.6, 0.63, 2.0, 2.4])
@pytest.mark.parametrize("hop", [0.1, 0.25, 0.5, 0.9])
def test_frames_are_the_samples_at_their_starts(monkeypatch, seconds, hop):
    monkeypatch.setattr(recordings, "BLOCK", 100)
    samples = noise(seconds)
    found = cut(samples, hop=hop)
    frames = list(found)
    assert len(frames) == len(found) == len(found.start)
    assert found.start.tolist() == pytest.approx([hop * number for number in range(len(found))])
    padded = np.pad(samples, (0, RATE))
    for start, frame in zip(found.start, frames, strict=True):
        first = round(start * RATE)
        assert np.array_equal(frame, padded[first : first + RATE // 2])
    end = found.start[-1] + 0.5
    assert end < seconds + 0.5  # at most one is padded
    assert seconds - end < max(min(hop, 0.5) / 2, hop - 0.25)  # and what is left over is less than half of a new one


def test_without_a_hop_there_is_one_frame_from_the_beginning():
    samples = noise(2)
    (frame,) = cut(samples, hop=None)
    assert np.array_equal(frame, samples[: RATE // 2])
    (short,) = cut(samples[:100], hop=None)
    assert np.array_equal(short, np.pad(samples[:100], (0, RATE // 2 - 100)))


def test_frames_come_at_the_rate_of_the_dataset():
    frames = list(cut(cosine(440, 44100, 88200), rate=44100, hop=0.5))
    whole = resample([cosine(440, 44100, 88200)], 44100, RATE).astype(np.float32)
    assert np.array_equal(np.concatenate(frames), whole)


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_silence_is_what_is_so_far_below_the_loudest_frame(gain):
    steps = [1.0, 0.1, 0.011, 0.009, 0.0, 0.5]  # 0, -20, -39, -41 dB, nothing, -6 dB
    samples = gain * np.concatenate([step * cosine(1000, RATE, RATE // 2) for step in steps])
    found = cut(samples, hop=0.5, silence=40)
    assert found.start.tolist() == [0, 0.5, 1, 2.5]
    assert (found.n_silent, len(list(found))) == (2, 4)
    assert cut(samples, hop=0.5).start.tolist() == [0, 0.5, 1, 1.5, 2.5]  # what is none at all never counts


def test_a_long_recording_is_cut_without_holding_it_in_memory(monkeypatch):
    monkeypatch.setattr(recordings, "BLOCK", 2**12)
    samples = np.tile(noise(10), 60)  # ten minutes, 38 MB as float64
    tracemalloc.start()
    count = sum(1 for _ in cut(samples, hop=0.5))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 1200
    assert peak < 2_000_000


@pytest.mark.parametrize("hop", [None, 0.25])
def test_recordings_without_sound_have_no_frames(hop):
    with pytest.raises(RecordingError, match=r"a: is silent.*below -100 dB"):
        cut(np.zeros(RATE), hop=hop)
    with pytest.raises(RecordingError, match="a: holds no samples"):
        cut(np.zeros(0), hop=hop)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 0}, "The sample rate of a sound is 0"),
        ({"sample_rate": 8000.0}, "whole number"),
        ({"duration": 0}, "The duration of a sound is 0"),
        ({"duration": 1e9}, "make 8e\\+12 samples, but 67,108,864 are the most"),
        ({"hop": 0}, "The hop of frames is 0"),
        ({"hop": 1e-5}, "0.000125 or more s"),
        ({"hop": "1"}, "'1'"),
        ({"silence": 0}, "above 0 dB"),
    ],
)
def test_frames_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Framing(**{"sample_rate": RATE, "duration": 0.5} | settings)


def test_a_dataset_keeps_how_it_was_cut_as_plain_values():
    framing = Framing(RATE, 0.5, 0.25, 40.0)
    assert framing.to_source() == {"sample_rate": RATE, "duration": 0.5, "hop": 0.25, "silence": 40.0}
    assert Framing.of_source(framing.to_source() | {"kind": "audio"}, RATE, 0.5) == framing
    assert Framing(RATE, 0.5).to_source() == {}
    assert Framing.of_source({"kind": "audio"}, RATE, 0.5) == Framing(RATE, 0.5)
