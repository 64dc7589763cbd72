import math

import numpy as np
import pytest
import torch
import torchaudio.functional as AF
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import get_window

from src.errors import ConfigError
from src.spectral import functional as F


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["hann", "boxcar", "blackman", ("kaiser", 14.0), ["kaiser", 14.0], 8.0])
@pytest.mark.parametrize("win_length", [1, 7, 80])
def test_windows_are_scipys_periodic_ones(name, win_length):
    expected = get_window(tuple(name) if isinstance(name, list) else name, win_length, fftbins=True)
    window = F.analysis_window(name, win_length)
    assert window.dtype == torch.float32
    np.testing.assert_array_equal(window.numpy(), expected.astype(np.float32))


def test_the_hann_window_by_its_formula():
    n = np.arange(256)
    np.testing.assert_allclose(F.analysis_window("hann", 256), 0.5 - 0.5 * np.cos(2 * np.pi * n / 256), atol=1e-7)


@pytest.mark.parametrize("name", ["hamming_", "kaiser", ["no", 1.0], ["kaiser"], {}, None], ids=repr)
def test_unknown_windows_are_refused_by_name(name):
    with pytest.raises(ConfigError) as refusal:
        F.analysis_window(name, 16)
    assert repr(name) in str(refusal.value)


@pytest.mark.parametrize("win_length", [0, -3])
def test_a_window_without_samples_is_refused(win_length):
    with pytest.raises(ConfigError, match=f"win_length is {win_length}"):
        F.analysis_window("hann", win_length)


@given(st.integers(1, 20000), st.integers(1, 2000), st.integers(2, 100), st.integers(1, 100))
def test_the_hop_is_the_shortest_multiple_that_covers_the_sound(n_samples, win_length, n_frames, multiple):
    hop_length = F.fit_hop_length(n_samples, win_length, n_frames, multiple)

    def covers(hop):
        return (n_frames - 1) * hop + win_length >= n_samples

    assert hop_length % multiple == 0
    assert hop_length >= 1
    assert covers(hop_length)
    assert hop_length == multiple or not covers(hop_length - multiple)


def test_the_hop_of_a_single_frame_is_the_whole_sound():
    assert F.fit_hop_length(8000, 256, 1) == 8000


def numpy_power(waveform, window, n_fft, hop_length, n_frames):
    """Frame by frame, in float64: the definition."""
    frames = []
    for t in range(n_frames):
        piece = np.zeros(len(window))
        seen = waveform[t * hop_length : t * hop_length + len(window)]
        piece[: len(seen)] = seen
        frames.append(np.abs(np.fft.rfft(piece * window, n_fft)) ** 2)
    return np.stack(frames, axis=1) * (2 / window.sum()) ** 2


def power_spectrogram(waveform, window, n_fft, hop_length, n_frames):
    return F.power_of(F.stft(waveform, F.full_scale(window, window), n_fft, hop_length, n_frames))


@pytest.mark.parametrize("win_length", [64, 63])
@pytest.mark.parametrize("n_fft", [64, 65, 128])
@pytest.mark.parametrize("hop_length", [1, 32, 100])
@pytest.mark.parametrize("n_frames", [1, 9])
def test_power_is_that_of_numpy_frame_by_frame(win_length, n_fft, hop_length, n_frames):
    waveform, window = noise(500), F.analysis_window("hann", win_length)
    power = power_spectrogram(waveform, window, n_fft, hop_length, n_frames)
    expected = numpy_power(waveform.double().numpy(), window.double().numpy(), n_fft, hop_length, n_frames)
    assert power.shape == (n_fft // 2 + 1, n_frames)
    np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("window", ["hann", "boxcar", "blackman"])
@pytest.mark.parametrize("frequency", [3, 8, 28])
@pytest.mark.parametrize("phase", [0.0, 1.0])
def test_a_sinusoid_of_amplitude_one_has_power_one_in_its_bin(window, frequency, phase):
    waveform = torch.sin(2 * math.pi * frequency * torch.arange(640.0, dtype=torch.float64) / 64 + phase).float()
    power = power_spectrogram(waveform, F.analysis_window(window, 64), 64, 64, 10)
    torch.testing.assert_close(power[frequency], torch.ones(10), rtol=1e-4, atol=0.0)


def test_an_impulse_is_flat_and_weighted_by_the_window_where_it_stands():
    window, hop_length = F.analysis_window("hann", 32), 16
    waveform = torch.zeros(160)
    waveform[70] = 1.0
    power = power_spectrogram(waveform, window, 32, hop_length, 9)
    for t in range(9):
        inside = 0 <= 70 - t * hop_length < 32
        weight = window[70 - t * hop_length].item() if inside else 0.0
        torch.testing.assert_close(power[:, t], torch.full((17,), (weight * 2 / window.sum().item()) ** 2))
    assert [t for t in range(9) if power[:, t].sum() > 0] == [3, 4]


def test_frames_past_the_end_are_silent():
    power = power_spectrogram(torch.ones(100), F.analysis_window("boxcar", 20), 20, 50, 6)
    assert (power[0] > 0).tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_upcast(dtype):
    waveform, window = noise(3, 200).to(dtype), F.analysis_window("hann", 32)
    power = power_spectrogram(waveform, window, 32, 16, 8)
    assert power.dtype == torch.float32
    assert torch.equal(power, power_spectrogram(waveform.float(), window, 32, 16, 8))


def hz_from_htk(mel):
    return 700 * (10 ** (mel / 2595) - 1)


def numpy_htk_filters(n_freq, n_mels, f_min, f_max, sample_rate):
    """Triangles of peak 1 whose corners are equidistant in mel."""
    corner = hz_from_htk(np.linspace(*(2595 * np.log10(1 + np.array([f_min, f_max]) / 700)), n_mels + 2))
    frequency = np.linspace(0, sample_rate / 2, n_freq)
    return np.stack([np.interp(frequency, corner[b : b + 3], [0, 1, 0]) for b in range(n_mels)])


def test_mel_filters_by_their_formula():
    filters = F.mel_filterbank(513, 20, 50.0, 4000.0, 8000, None, "htk")
    np.testing.assert_allclose(filters, numpy_htk_filters(513, 20, 50.0, 4000.0, 8000), atol=2e-5)


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
def test_mel_filters_are_torchaudios(norm, mel_scale):
    filters = F.mel_filterbank(513, 32, 50.0, 4000.0, 8000, norm, mel_scale)
    assert filters.shape == (32, 513)
    assert torch.equal(filters, AF.melscale_fbanks(513, 50.0, 4000.0, 32, 8000, norm, mel_scale).mT)


def test_slaney_filters_have_unit_area_and_rise_in_frequency():
    filters = F.mel_filterbank(2049, 24, 50.0, 4000.0, 8000, "slaney", "slaney")
    torch.testing.assert_close(filters.sum(dim=1) * 4000 / 2048, torch.ones(24), atol=1e-3, rtol=0.0)
    peaks = filters.argmax(dim=1)
    assert (peaks[1:] > peaks[:-1]).all()


def test_empty_bands_are_counted_and_refused():
    empty = np.flatnonzero(numpy_htk_filters(41, 32, 0.0, 4000.0, 8000).max(axis=1) == 0)
    assert 0 < empty.size < 32
    facts = rf"{empty.size} of 32 mel bands are empty \(the first is {empty[0]}\).*41 bins.*n_fft"
    with pytest.raises(ConfigError, match=facts):
        F.mel_filterbank(41, 32, 0.0, 4000.0, 8000, None, "htk")


@pytest.mark.parametrize(
    ("f_min", "f_max"), [(-1.0, 4000.0), (100.0, 100.0), (3000.0, 200.0), (0.0, 4000.1), (math.nan, 4000.0)]
)
def test_frequencies_that_make_no_band_are_refused(f_min, f_max):
    with pytest.raises(ConfigError, match=r"f_min .* Hz, f_max .* Hz: .*4000"):
        F.mel_filterbank(513, 8, f_min, f_max, 8000, None, "htk")


@pytest.mark.parametrize(("norm", "mel_scale"), [("peak", "htk"), ("slaney", "bark"), ("none", "slaney")])
def test_unknown_mel_norms_and_scales_are_refused(norm, mel_scale):
    with pytest.raises(ConfigError, match=f"'{norm}', scale '{mel_scale}'"):
        F.mel_filterbank(513, 8, 0.0, 4000.0, 8000, norm, mel_scale)


def test_decibels_by_their_formula():
    power = torch.tensor([[1.0, 0.1], [1e-3, 4.0]])
    db, spec_min, spec_max = F.power_to_db(power, 80.0)
    np.testing.assert_allclose(db, 10 * np.log10(power.numpy()), rtol=1e-5, atol=1e-6)
    assert spec_max == db[1, 1]
    assert spec_min == db[1, 1] - 80


def test_each_spectrogram_is_limited_below_its_own_maximum():
    power = 10 ** (torch.tensor([0.0, -30.0, -95.0])[:, None, None] / 10) * torch.logspace(0, -20, 21)[None, None]
    db, spec_min, spec_max = F.power_to_db(power, 60.0)
    torch.testing.assert_close(spec_max, torch.tensor([0.0, -30.0, -95.0]))
    torch.testing.assert_close(spec_min, torch.tensor([-60.0, -90.0, -120.0]))  # nothing is below the floor
    assert torch.equal(db.amin(dim=(-2, -1)), spec_min)
    torch.testing.assert_close(db[0, 0, :6], torch.arange(0.0, -60.0, -10.0))


def test_silence_is_the_floor():
    db, spec_min, spec_max = F.power_to_db(torch.zeros(2, 3, 4), 80.0)
    assert torch.equal(db, torch.full((2, 3, 4), -120.0))
    assert torch.equal(spec_min, spec_max)
    assert not F.quantize_db(db, spec_min, spec_max).any()
    assert torch.equal(F.dequantize_db(torch.zeros(2, 3, 4, dtype=torch.uint8), spec_min, spec_max), db)


levels = st.floats(-120.0, 60.0, width=32)


@given(levels, st.floats(1.0, 120.0, width=32))
def test_every_pixel_survives_decibels_and_back(low, span):
    pixel = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    spec_min, spec_max = torch.tensor(low), torch.tensor(low) + span
    assert torch.equal(F.quantize_db(F.dequantize_db(pixel, spec_min, spec_max), spec_min, spec_max), pixel)


@given(levels, st.floats(1.0, 120.0, width=32), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_pixels_hold_decibels_to_half_a_level(low, span, positions):
    spec_min, spec_max = torch.tensor(low), torch.tensor(low) + span
    db = spec_min + torch.tensor([positions]) * (spec_max - spec_min)
    found = F.dequantize_db(F.quantize_db(db, spec_min, spec_max), spec_min, spec_max)
    assert (found - db).abs().max() <= span / 255 * 0.5 + 1e-4


def test_the_ends_of_the_range_are_the_ends_of_the_pixels():
    spec_min, spec_max = torch.tensor([-80.0, -33.25]), torch.tensor([0.0, 11.5])
    db = torch.stack([spec_min - 5, spec_min, spec_max, spec_max + 5], dim=1)[:, None]
    assert F.quantize_db(db, spec_min, spec_max).tolist() == [[[0, 0, 255, 255]], [[0, 0, 255, 255]]]
    pixel = torch.tensor([0, 255], dtype=torch.uint8).expand(2, 1, 2)
    ends = torch.stack([spec_min, spec_max], dim=1)[:, None]
    torch.testing.assert_close(F.dequantize_db(pixel, spec_min, spec_max), ends)


def test_halves_are_rounded_to_even():
    db = torch.tensor([[0.5, 1.5, 2.5, 3.5]])
    assert F.quantize_db(db, torch.tensor(0.0), torch.tensor(255.0)).tolist() == [[0, 2, 2, 4]]


def test_pre_emphasis_by_its_formula():
    waveform = noise(2, 50)
    before = waveform.clone()
    found = F.pre_emphasize(waveform, 0.97)
    torch.testing.assert_close(found[:, 0], waveform[:, 0])
    torch.testing.assert_close(found[:, 1:], waveform[:, 1:] - 0.97 * waveform[:, :-1])
    assert torch.equal(waveform, before)
    assert torch.equal(F.pre_emphasize(waveform, 0.0), waveform)


def test_griffin_lim_finds_the_amplitude_of_a_sinusoid():
    window, n_samples = F.analysis_window("hann", 64), 2048
    magnitude = torch.zeros(33, n_samples // 16 + 1)
    magnitude[6], magnitude[5], magnitude[7] = 0.5, 0.25, 0.25  # the three bins of the Hann window
    waveform = F.griffin_lim(magnitude, window, 64, 16, 32, n_samples)
    assert waveform.shape == (n_samples,)
    assert waveform[200:-200].abs().max().item() == pytest.approx(0.5, rel=0.02)
    assert waveform[200:-200].square().mean().sqrt().item() == pytest.approx(0.5 / math.sqrt(2), rel=0.02)
    assert torch.equal(waveform, F.griffin_lim(magnitude, window, 64, 16, 32, n_samples))
