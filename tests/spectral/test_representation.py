import json
import math
import warnings

import numpy as np
import pytest
import torch
from scipy.signal import chirp
from torchaudio.transforms import MelSpectrogram

from src.errors import ConfigError
from src.spectral.representation import SpectralRepresentation
from src.synth.voices import SawVoice

SAMPLE_RATE, N_SAMPLES = 8000, 8000
SETTINGS = {"sample_rate": SAMPLE_RATE, "duration": 1.0, "height": 32, "width": 32, "win_length": 256}
MEL = {"n_fft": 1024, "mel": {"f_min": 50.0}}
VARIANTS = {
    "stft": {},
    "pitch_synchronous": {"win_length": 80, "window": "boxcar", "hop_multiple": 80, "width": 26},
    "mel": MEL,
    "pre_emphasis": {"pre_emphasis": 0.97},
    "rectangular": {"height": 20, "width": 45},
}


def representation(**changes):
    return SpectralRepresentation(**SETTINGS | changes)


def sinusoid(frequency, amplitude=1.0):
    time = np.arange(N_SAMPLES) / SAMPLE_RATE
    return torch.from_numpy(amplitude * np.sin(2 * np.pi * frequency * time)).float()


def saws(**parameters):
    values = {"note_number": [43.35, 43.35, 55.35], "log10_decay_time": [-1.5, -0.5, 0.3]} | parameters
    voice = SawVoice(SAMPLE_RATE, 1.0)
    return torch.from_numpy(voice.render({name: np.array(value) for name, value in values.items()}))


@pytest.fixture(params=VARIANTS)
def variant(request):
    return representation(**VARIANTS[request.param])


@pytest.mark.parametrize("row", [0, 1, 15, 31])
@pytest.mark.parametrize("window", ["hann", "boxcar"])
def test_a_sinusoid_of_amplitude_one_is_zero_db_in_the_row_of_its_bin(row, window):
    spectral = representation(window=window, width=20)
    bin_width = SAMPLE_RATE / 256
    image, spec_range = spectral.to_image(sinusoid((row + 1) * bin_width))
    whole = slice(0, (N_SAMPLES - 256) // spectral.hop_length + 1)  # columns that do not reach past the end
    level = spectral.to_db(image, spec_range)[0, :, whole]
    torch.testing.assert_close(spec_range[1], torch.tensor(0.0), atol=0.01 if row else 0.5, rtol=0.0)
    torch.testing.assert_close(level[row], torch.zeros_like(level[row]), atol=0.2 if row else 0.6, rtol=0.0)
    assert (level.argmax(dim=0) == row).all()


def test_halving_the_amplitude_is_six_decibels():
    spectral = representation()
    (_, low, high), (_, low_half, high_half) = (spectral.spectrogram_db(sinusoid(500.0, a)) for a in (1.0, 0.5))
    torch.testing.assert_close(high - high_half, torch.tensor([20 * math.log10(2)]))
    torch.testing.assert_close(low - low_half, torch.tensor([20 * math.log10(2)]))


@pytest.mark.parametrize("n", [0, 100, 4000, 7900])
def test_an_impulse_is_in_the_columns_whose_windows_hold_it(n):
    spectral = representation(window="boxcar", win_length=400, n_fft=512, height=64)
    waveform = torch.zeros(N_SAMPLES)
    waveform[n] = 1.0
    image, _ = spectral.to_image(waveform)
    hop = spectral.hop_length
    expected = [t for t in range(32) if t * hop <= n < t * hop + 400]
    assert expected
    assert (image[0] == 255).all(dim=0).nonzero().flatten().tolist() == expected
    assert (image[0] > 0).any(dim=0).nonzero().flatten().tolist() == expected


@pytest.mark.parametrize("changes", [{}, MEL], ids=["stft", "mel"])
def test_row_zero_is_low_and_column_zero_is_early(changes):
    spectral = representation(**changes)
    time = np.arange(N_SAMPLES) / SAMPLE_RATE
    rising = torch.from_numpy(chirp(time, 100.0, 1.0, 900.0)).float()
    rows = spectral.to_image(rising)[0][0].argmax(dim=0)
    assert (rows[1:] >= rows[:-1]).all()
    assert rows[-2] - rows[0] > 10
    assert spectral.to_image(rising.flip(0))[0][0, :, 1].argmax() > spectral.to_image(rising)[0][0, :, 1].argmax()


def test_pixels_hold_the_decibels_to_half_a_level(variant):
    waveform = saws()
    db, spec_min, spec_max = variant.spectrogram_db(waveform)
    image, spec_range = variant.to_image(waveform)
    assert image.dtype == torch.uint8
    assert image.shape == (3, *variant.image_shape)
    assert torch.equal(spec_range, torch.cat([spec_min, spec_max], dim=-1))
    half_a_level = (spec_max - spec_min)[..., None, None] / 255 / 2
    assert ((variant.to_db(image, spec_range) - db).abs() <= half_a_level + 1e-4).all()
    torch.testing.assert_close(spec_max - spec_min, torch.full((3, 1), 80.0))


@pytest.mark.parametrize("top_db", [30.0, 80.0, 200.0])
def test_the_range_of_an_image_is_top_db_or_ends_at_the_floor(top_db):
    _, spec_range = representation(top_db=top_db).to_image(saws())
    torch.testing.assert_close(spec_range[:, 0], (spec_range[:, 1] - top_db).clamp(min=-120.0))


def test_silence_is_black_and_comes_back_as_silence(variant):
    image, spec_range = variant.to_image(torch.zeros(N_SAMPLES))
    assert not image.any()
    assert spec_range.tolist() == [-120.0, -120.0]
    assert torch.equal(variant.to_db(image, spec_range), torch.full(variant.image_shape, -120.0))
    assert torch.equal(variant.to_waveform(image, spec_range, n_iter=2), torch.zeros(N_SAMPLES))


@pytest.mark.parametrize("width", [2, 10, 32, 100, 256])
@pytest.mark.parametrize("win_length", [64, 256, 1000])
@pytest.mark.parametrize("duration", [0.125, 1.0, 1.7])
def test_the_image_covers_the_whole_sound_to_within_one_hop(width, win_length, duration):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lie past the end")  # more columns than samples to put them on
        spectral = representation(width=width, win_length=win_length, height=8, duration=duration)
    end = (width - 1) * spectral.hop_length + win_length
    assert spectral.n_samples == round(SAMPLE_RATE * duration)
    assert end >= spectral.n_samples
    assert spectral.hop_length == 1 or end - (width - 1) < spectral.n_samples


def test_the_last_sample_is_seen():
    spectral = representation()
    waveform = torch.zeros(N_SAMPLES)
    waveform[-1] = 1.0
    db, _, spec_max = spectral.spectrogram_db(waveform)
    assert spec_max > -120.0
    assert db[0, :, :-1].amax() < spec_max


def test_hops_of_whole_periods_keep_the_phase():
    spectral = representation(win_length=80, window="boxcar", hop_multiple=80, width=26)
    assert spectral.hop_length == 320
    db, _, _ = spectral.spectrogram_db(sinusoid(100.0) + 0.5 * sinusoid(1700.0))
    torch.testing.assert_close(db[0, 0, :25], torch.zeros(25), atol=1e-2, rtol=0.0)
    torch.testing.assert_close(db[0, 16, :25], torch.full((25,), -20 * math.log10(2)), atol=1e-2, rtol=0.0)


def test_a_hop_that_crops_says_how_many_seconds_are_lost():
    lost = (8000 - (31 * 128 + 256)) / 8000
    with pytest.warns(UserWarning, match=rf"hop_length 128: 32 columns end {lost:.3f} s before the sound") as caught:
        spectral = representation(hop_length=128)
    assert [warning.filename for warning in caught] == [__file__]
    assert spectral.hop_length == 128


def test_a_hop_that_loses_less_than_itself_is_no_matter():
    assert representation(hop_length=248).hop_length == 248  # ends 56 samples before the sound


def test_a_hop_that_goes_past_the_end_says_how_many_columns_are_empty():
    with pytest.warns(UserWarning, match=r"hop_length 400: the last 12 of 32 columns lie past the end"):
        spectral = representation(hop_length=400)
    db, _, spec_max = spectral.spectrogram_db(torch.ones(N_SAMPLES) + sinusoid(500.0))
    empty = (db <= spec_max[..., None, None] - 80).all(dim=-2).flatten()
    assert empty.sum() == 12
    assert empty[-12:].all()


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
def test_mel_images_are_torchaudios(norm, mel_scale):
    spectral = representation(n_fft=1024, mel={"f_min": 60.0, "f_max": 3500.0, "norm": norm, "mel_scale": mel_scale})
    sizes = {"n_fft": 1024, "win_length": 256, "hop_length": spectral.hop_length, "n_mels": 32}
    transform = MelSpectrogram(
        SAMPLE_RATE, f_min=60.0, f_max=3500.0, norm=norm, mel_scale=mel_scale, center=False, **sizes
    )
    before = (1024 - 256) // 2
    power = transform(torch.nn.functional.pad(saws(), (before, 1024))) * (2 / 128) ** 2
    db = 10 * power[..., :32].clamp(min=1e-12).log10()
    expected = db.maximum(db.amax(dim=(-2, -1), keepdim=True) - 80)
    torch.testing.assert_close(spectral.spectrogram_db(saws())[0][:, 0], expected, atol=2e-3, rtol=0.0)


def test_batches_equal_their_items_bit_by_bit(variant):
    waveform = saws(log10_decay_time=np.linspace(-2, 0.3, 37), note_number=np.full(37, 43.35))
    image, spec_range = variant.to_image(waveform)
    for size in (1, 7):
        parts = [variant.to_image(part) for part in waveform.split(size)]
        assert torch.equal(torch.cat([part[0] for part in parts]), image)
        assert torch.equal(torch.cat([part[1] for part in parts]), spec_range)
    alone, alone_range = variant.to_image(waveform[5])
    assert torch.equal(alone, image[5])
    assert torch.equal(alone_range, spec_range[5])


def test_any_number_of_batch_dimensions_will_do(variant):
    waveform = saws(log10_decay_time=np.linspace(-2, 0.3, 6), note_number=np.full(6, 43.35))
    image, spec_range = variant.to_image(waveform)
    folded, folded_range = variant.to_image(waveform.reshape(2, 3, N_SAMPLES))
    assert torch.equal(folded, image.reshape(2, 3, *variant.image_shape))
    assert torch.equal(folded_range, spec_range.reshape(2, 3, 2))
    assert torch.equal(variant.to_db(folded, folded_range).flatten(0, 1), variant.to_db(image, spec_range))
    assert variant.to_waveform(folded, folded_range, n_iter=1).shape == (2, 3, N_SAMPLES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_upcast(variant, dtype):
    waveform = saws().to(dtype)
    image, spec_range = variant.to_image(waveform)
    expected, expected_range = variant.to_image(waveform.float())
    assert torch.equal(image, expected)
    assert torch.equal(spec_range, expected_range)


@pytest.mark.parametrize("variant", ["pitch_synchronous", "mel", "pre_emphasis"], indirect=True)
def test_griffin_lim_gives_a_sound_with_the_same_image(variant):
    image, spec_range = variant.to_image(saws())
    waveform = variant.to_waveform(image, spec_range, n_iter=32)
    assert waveform.shape == (3, N_SAMPLES)
    assert waveform.dtype == torch.float32
    db = variant.to_db(image, spec_range)
    again, _, _ = variant.spectrogram_db(waveform)
    loud = db > spec_range[:, 1:, None, None] - 40
    assert loud.float().mean() > 0.1
    assert (again - db)[loud].abs().mean() < 2.0
    once, twice = (variant.to_waveform(image, spec_range, n_iter=1) for _ in range(2))
    assert torch.equal(once, twice)


def test_griffin_lim_keeps_level_and_decay():
    spectral = representation()
    waveform = saws(note_velocity=[127.0, 64.0, 100.0])
    found = spectral.to_waveform(*spectral.to_image(waveform), n_iter=32)
    energy, expected = (x.reshape(3, 10, 800).square().mean(dim=-1) for x in (found, waveform))
    loud = expected > expected.amax(dim=1, keepdim=True) * 1e-3
    assert (10 * (energy / expected).log10())[loud].abs().max() < 2.5


def test_pre_emphasis_is_undone():
    plain, emphasized = representation(), representation(pre_emphasis=0.97)
    tones = sinusoid(500.0, 0.5) + sinusoid(812.5, 0.1)
    found = emphasized.to_waveform(*emphasized.to_image(tones))
    level, expected = (plain.spectrogram_db(x)[0][0, [15, 25], 2:-2] for x in (found, tones))
    assert (level - expected).abs().max() < 1.0


def test_settings_are_described_as_they_act():
    spectral = representation(hop_multiple=80, width=26)
    settings = {"n_fft": 256, "win_length": 256, "hop_length": 320, "top_db": 80.0}
    assert settings.items() <= spectral.describe().items()
    assert spectral.describe_mel() is None
    mel = representation(**MEL).describe_mel()
    assert mel == {"n_mels": 32, "f_min": 50.0, "f_max": 4000.0, "norm": "slaney", "mel_scale": "slaney"}
    assert json.loads(json.dumps([spectral.describe(), mel])) == [spectral.describe(), mel]


def test_every_channel_has_a_name(variant):
    assert len(variant.channel_labels) == variant.image_shape[0]
    assert representation().channel_labels != representation(**MEL).channel_labels


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"height": 0}, "height is 0"),
        ({"width": 0}, "width is 0"),
        ({"n_fft": 0}, "n_fft is 0"),
        ({"hop_multiple": 0}, "hop_multiple is 0"),
        ({"win_length": 0}, "win_length is 0"),
        ({"n_fft": 128}, "n_fft 128 is less than win_length 256"),
        ({"hop_length": 0}, "hop_length is 0.*1 and the sound's 8000 samples"),
        ({"hop_length": -5}, "hop_length is -5"),
        ({"hop_length": 8001}, "hop_length is 8001.*1 and the sound's 8000 samples"),
        ({"win_length": 8001}, "win_length 8001.*8000 samples"),
        ({"duration": 0.01}, "win_length 256.*80 samples"),
        ({"height": 129}, "256 has 128 bins above DC.*129 rows"),
        ({"win_length": 63}, "63 has 31 bins above DC.*32 rows"),
        ({"top_db": 0.0}, "top_db is 0"),
        ({"top_db": -10.0}, "top_db is -10"),
        ({"top_db": math.nan}, "top_db is nan"),
        ({"window": "rectangle"}, "window 'rectangle'"),
        ({"mel": {"f_max": 500.0}}, "of 32 mel bands are empty"),
        ({"mel": {"f_max": 5000.0}}, "f_max 5000.*4000"),
        ({"mel": {"f_min": 4000.0}}, "f_min 4000"),
        ({"mel": {"norm": "max"}}, "'max'"),
        ({"mel": {"mel_scale": "bark"}}, "'bark'"),
        ({"mel": {"fmax": 4000.0}}, "fmax.*f_max"),
        ({"pre_emphasis": 1.5}, "pre_emphasis is 1.5"),
        ({"pre_emphasis": -0.5}, "pre_emphasis is -0.5"),
        # What would take gigabytes or minutes.
        ({"n_fft": 10**9}, "n_fft 1000000000 is more than"),
        ({"n_fft": 2**20}, "n_fft 1048576 for 32 columns or rows takes gigabytes"),
        ({"width": 2**20}, "n_fft 256 for 1048576 columns or rows takes gigabytes"),
        ({"sample_rate": 10**9}, "sample_rate is 1000000000.*1,000,000 Hz"),
        ({"duration": 1e9}, "duration 1000000000.0 s at 8000 Hz is more than"),
        ({"duration": math.inf}, "duration inf s at 8000 Hz is more than"),
        ({"duration": math.nan}, "duration is nan"),
        ({"hop_multiple": 10**9}, "32 columns with hops of 1000000000 samples|lies? far past"),
        ({"window": ["taylor", 10**6]}, "taylor"),
        ({"window": ["taylor", "many"]}, "taylor"),
    ],
)
def test_settings_that_contradict_each_other_or_the_sound_are_refused(changes, facts):
    with pytest.raises(ConfigError, match=facts):
        representation(**changes)
