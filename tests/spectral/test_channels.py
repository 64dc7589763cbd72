import json
import math
from types import MappingProxyType

import numpy as np
import pytest
import torch
from scipy.signal import get_window

from src.errors import ConfigError
from src.spectral import functional as F
from src.spectral.channels import (
    GroupDelay,
    InstantaneousFrequency,
    LogPower,
    Modulation,
    Normalized,
    SpectralEnvelope,
    TemporalEnvelope,
)
from src.spectral.representation import SpectralRepresentation
from src.spectral.views import frequency_moment, mean_deviation, modulation_depth, normalized_level, window_derivative
from src.synth.voices import SawVoice

RATE, N_SAMPLES, WIN = 8000, 8000, 256
SETTINGS = {"sample_rate": RATE, "duration": 1.0, "height": 127, "width": 32, "win_length": WIN}
MEL = {"height": 24, "n_fft": 1024, "mel": {"f_min": 50.0}}
# The main lobe of each window, in bins from its top to its zeros. Near the zeros, what the sidelobes of the sinusoid at
# the negative frequency leave in a bin is no longer small beside the sinusoid itself: the laws are about the inner 3/4.
LOBE = {"hann": 2.0, "bohman": 3.0, "blackmanharris": 4.0, "nuttall": 4.0}
INNER = 0.75
SMOOTH = pytest.mark.parametrize("window", LOBE)
# Windows whose sidelobes lie far enough under the mask at 60 dB that the laws hold in every bin that is not masked. The
# zero of a Kaiser window's main lobe is at sqrt(1 + (beta / pi)^2) bins (Kaiser 1974).
FAR_DOWN = pytest.mark.parametrize("beta", [14.0, 16.0])
LOG = MappingProxyType(
    {
        "short": LogPower(ratios=[0.25]),
        "medium": LogPower(ratios=[1.0], window="blackmanharris"),
        "long": LogPower(ratios=[4.0]),
        "temporal": TemporalEnvelope(),
        "spectral": SpectralEnvelope(),
    }
)
GAIN_FREE = MappingProxyType(
    {
        "frequency": InstantaneousFrequency(),
        "delay": GroupDelay(),
        "long_frequency": InstantaneousFrequency(win_ratio=2.0),
        "long_delay": GroupDelay(win_length=200),
        "modulation": Modulation(),
        "normalized": Normalized(),
    }
)
ALL = {**LOG, **GAIN_FREE}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu), *(["mps"] if torch.mps.is_available() else [])]


def representation(channels=ALL, **changes):
    return SpectralRepresentation(**SETTINGS | changes, channels=channels)


def seconds(duration=1.0):
    return torch.arange(round(duration * RATE), dtype=torch.float64) / RATE


def cosine(frequency, phase=0.0, duration=1.0):
    return torch.cos(2 * math.pi * frequency * seconds(duration) + phase).float()


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3)) * 0.1


def saws():
    values = {"note_number": [43.35, 43.35, 55.35], "log10_decay_time": [-1.5, -0.5, 0.3]}
    return torch.from_numpy(SawVoice(RATE, 1.0).render({name: np.array(value) for name, value in values.items()}))


@pytest.fixture(params=["stft", "mel", "pitch_synchronous"])
def full(request):
    """A representation with every channel."""
    periods = {"height": 32, "win_length": 80, "window": "boxcar"}
    return representation(**{"stft": {}, "mel": MEL, "pitch_synchronous": periods}[request.param])


# ----- the laws of the phase channels


@SMOOTH
@pytest.mark.parametrize("fraction", [0.0, 0.13, 0.5, 0.77])
@pytest.mark.parametrize("edge", ["low", "middle", "high"])
def test_a_sinusoid_gives_its_frequency_in_the_bins_of_its_main_lobe(window, fraction, edge):
    frequency = {"low": 9 + fraction, "middle": 60 + fraction, "high": WIN / 2 - 9 - fraction}[edge]  # bins
    spectral = representation({"if": InstantaneousFrequency(limit=4.0, window=window)}, window=window)
    phases = [cosine(frequency * RATE / WIN, phase) for phase in (0.0, 0.8, 1.6, 2.4)]
    deviation = spectral.measure(torch.stack(phases))[:, 1, :, :31]  # all but the column past the end
    row_bin = torch.arange(1, 128)
    lobe = (row_bin - frequency).abs() <= INNER * LOBE[window]
    assert lobe.sum() >= 3
    found = (row_bin[:, None] + deviation)[:, lobe]
    torch.testing.assert_close(found, torch.full_like(found, frequency), atol=0.01, rtol=0.0)


@FAR_DOWN
@pytest.mark.parametrize("frequency", [9.0, 9.37, 9.5, 60.77, 118.5, 119.0])
def test_a_sinusoid_gives_its_frequency_in_every_bin_that_is_not_masked(beta, frequency):
    window = ("kaiser", beta)
    spectral = representation({"if": InstantaneousFrequency(limit=8.0, window=window)}, window=window)
    phases = [cosine(frequency * RATE / WIN, phase) for phase in (0.0, 0.4, 0.8, 1.2, 1.6, 2.4)]
    levels, deviation = spectral.measure(torch.stack(phases))[:, :, :, :31].unbind(dim=1)
    row_bin = torch.arange(1.0, 128.0)[:, None]
    lobe = (row_bin - frequency).abs() < math.sqrt(1 + (beta / math.pi) ** 2)
    heard = lobe & (levels > levels.amax(dim=(1, 2), keepdim=True) - 60)
    assert (heard.sum(dim=1) >= 5).all()
    found = (row_bin + deviation)[heard]
    torch.testing.assert_close(found, torch.full_like(found, frequency), atol=0.01, rtol=0.0)


@SMOOTH
@pytest.mark.parametrize("bins_per_second", [30.0, -45.0, 70.0])
def test_a_chirp_gives_its_frequency_at_the_reassigned_time(window, bins_per_second):
    start = 20.0 if bins_per_second > 0 else 100.0  # bins
    phase = 2 * math.pi * RATE / WIN * (start * seconds() + bins_per_second / 2 * seconds().square())
    channels = {"if": InstantaneousFrequency(limit=4.0, window=window), "gd": GroupDelay(window=window)}
    spectral = representation(channels, window=window)
    deviation, delay = spectral.measure(torch.cos(phase).float())[1:, :, :31]
    column = torch.arange(31)
    time = (column * spectral.hop_length + WIN / 2 + delay * spectral.hop_length) / RATE  # s, (freq, time)
    found = torch.arange(1, 128)[:, None] + deviation
    centre = start + bins_per_second * (column * spectral.hop_length + WIN / 2) / RATE  # bins, (time,)
    lobe = (torch.arange(1, 128)[:, None] - centre).abs() < INNER * LOBE[window]
    torch.testing.assert_close(found[lobe], (start + bins_per_second * time)[lobe], atol=0.01, rtol=0.0)


@SMOOTH
@pytest.mark.parametrize("n", [300, 1555, 4001, 7777])
@pytest.mark.parametrize("win_length", [64, 256, 1024])
def test_an_impulse_gives_its_time_in_every_frame_that_sees_it(window, n, win_length):
    spectral = representation(
        {"gd": GroupDelay(win_length=win_length, window=window, floor_db=110.0)}, hop_length=64, width=122
    )
    waveform = torch.zeros(N_SAMPLES)
    waveform[n] = 1.0
    delay = spectral.measure(waveform)[1]
    centre = torch.arange(122) * 64 + WIN / 2  # samples
    seen = (centre - n).abs() < win_length / 2 * 0.9  # further out, the windows have fallen below the mask
    expected = ((n - centre[seen]) / 64).expand(127, -1)
    torch.testing.assert_close(delay[:, seen], expected.float(), atol=0.05, rtol=0.0)
    assert not delay[:, (centre - n).abs() > win_length / 2].any()


def test_half_a_window_reaches_from_one_end_of_the_pixels_to_the_other():
    (low, high, units) = representation({"gd": GroupDelay()}, hop_length=250).channel_ranges[1]
    assert (low, high, units) == (-128 / 250, 128 / 250 * 127 / 128, "hops")


@pytest.mark.parametrize("name", ["frequency", "delay", "normalized"])
def test_no_deviation_is_pixel_128_and_back(name):
    spectral = representation({name: ALL[name]})
    image, spec_range = spectral.to_image(torch.zeros(N_SAMPLES))
    assert (image[1] == 128).all()
    assert spectral.decode(image, spec_range)[1].abs().max() < 1e-6


@pytest.mark.parametrize("name", ["frequency", "delay", "normalized"])
def test_what_is_under_the_floor_is_masked(name):
    spectral = representation({name: ALL[name]})
    loud, quiet = cosine(1000.0), cosine(3000.0)
    quiet_rows = slice(90, 101)  # around 3 kHz
    for level_db, is_masked in ((-40, False), (-80, True)):
        found = spectral.measure(loud + 10 ** (level_db / 20) * quiet)[1, quiet_rows, 2:30]
        assert (not found.any()) == is_masked


def test_deviations_of_mel_bands_tell_where_in_the_band_a_sinusoid_is():
    spectral = representation({"frequency": InstantaneousFrequency()}, **MEL)
    bins = torch.arange(513.0)
    centre = spectral.filters @ bins / spectral.filters.sum(dim=1) * RATE / 1024  # Hz
    for band in (8, 15, 22):
        tones = [cosine(centre[band].item() + share * (centre[band + 1] - centre[band]).item()) for share in (0, 0.4)]
        levels, deviations = spectral.measure(torch.stack(tones)).unbind(dim=-3)
        assert (levels[0, band] > levels[0].amax() - 3).any()
        middle, above = deviations[:, band, 2:30].mean(dim=1).tolist()
        assert abs(middle) < 0.15
        assert 0.15 < above - middle < 0.6


@pytest.mark.parametrize("window", ["boxcar", "hamming", "cosine"])
def test_a_window_that_jumps_at_its_ends_has_no_derivative(window):
    with pytest.raises(ConfigError, match=r"falls to 0 at its ends.*begins at"):
        representation({"frequency": InstantaneousFrequency(window=window)})


@pytest.mark.parametrize("win_length", [80, 81, 256])
def test_the_derivative_of_a_hann_window_by_its_formula(win_length):
    n = np.arange(win_length)
    expected = np.pi / win_length * np.sin(2 * np.pi * n / win_length)
    found = window_derivative(F.analysis_window("hann", win_length))
    np.testing.assert_allclose(found, expected, atol=1e-6)  # the window is rounded to float32


# ----- resolutions


@pytest.mark.parametrize("first", [0, 37, -50])
def test_the_stft_is_pytorchs_from_any_sample_on(first):
    window, waveform = F.analysis_window("hann", 200), noise(3, N_SAMPLES)
    found = F.stft(waveform, window, 200, 250, 20, first)
    shifted = waveform[:, first:] if first >= 0 else torch.nn.functional.pad(waveform, (-first, 0))
    expected = torch.stft(shifted, 200, 250, window=window, center=False, return_complex=True)[..., :20]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("row", [20, 63, 100])
def test_a_sinusoid_in_the_middle_of_a_row_has_its_level_at_every_resolution(ratio, row):
    spectral = representation({"other": LogPower(ratios=[ratio])})
    level = spectral.measure(cosine((row + 1) * RATE / WIN))[1, :, 4:26]
    torch.testing.assert_close(level[row], torch.zeros(22), atol=0.02, rtol=0.0)
    assert (level.argmax(dim=0) == row).all()


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_a_sinusoid_in_a_mel_band_has_its_level_at_every_resolution(ratio):
    first, other = representation({"other": LogPower(ratios=[ratio])}, **MEL).measure(cosine(1500.0))[:, :, 4:26]
    torch.testing.assert_close(other.amax(dim=0), first.amax(dim=0), atol=1.0, rtol=0.0)


@pytest.mark.parametrize("ratio", [0.25, 0.37, 1.0, 2.0, 4.0])
def test_windows_are_centred_alike(ratio):
    spectral = representation({"other": LogPower(ratios=[ratio])}, hop_length=16, width=485)
    n = 2000
    waveform = torch.zeros(N_SAMPLES)
    waveform[n] = 1.0
    power = 10 ** (spectral.measure(waveform)[1].double() / 10)
    centre = (torch.arange(485) * 16 + WIN / 2).double()
    mean = ((power * centre).sum(dim=-1) / power.sum(dim=-1)).mean()
    assert mean.item() == pytest.approx(n, abs=1.0)


def test_a_long_window_tells_apart_what_a_short_one_does_not_and_the_other_way_round():
    spectral = representation({"short": LogPower(ratios=[0.25]), "long": LogPower(ratios=[4.0])})
    spacing = 3 * RATE / WIN
    two = cosine(30 * RATE / WIN) + cosine(30 * RATE / WIN + spacing)
    rows = spectral.measure(two)[1:, 28:34, 5:25].mean(dim=-1)  # (short and long, bins 29 to 34)
    dip = torch.minimum(rows[:, 1], rows[:, 4]) - torch.minimum(rows[:, 2], rows[:, 3])
    assert dip[0] < 3 < 20 < dip[1]
    click = torch.zeros(N_SAMPLES)
    click[4000] = 1.0
    heard = (spectral.measure(click)[1:, 60] > -100).sum(dim=-1)
    assert heard[0] < heard[1]


# ----- modulation


@pytest.mark.parametrize("width", [25, 32, 50, 64])
@pytest.mark.parametrize("rate", [7.0, 20.0, 45.0])
@pytest.mark.parametrize("duration", [1.0, 2.0, 10.0])
def test_an_amplitude_modulation_peaks_at_its_frequency(width, rate, duration):
    spectral = representation({"modulation": Modulation()}, width=width, duration=duration)
    carrier, modulator = (cosine(frequency, duration=duration) for frequency in (1000.0, rate))
    depth = spectral.measure((1 + 0.5 * modulator) * carrier / 2)[1, 31]  # of the carrier's row
    frequency = (torch.arange(width) + 1) * 50 / width
    assert abs(frequency[depth.argmax()].item() - rate) <= 25 / width + 1e-6
    axes = spectral.channel_axes[1]
    stated = axes["column_first"] + axes["column_step"] * np.arange(width)
    np.testing.assert_allclose(stated, frequency, rtol=1e-6)
    assert axes["column_units"] == "Hz"


@pytest.mark.parametrize("depth", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("gain", [1.0, 1e-3])
def test_the_depth_of_a_modulation_is_its_level(depth, gain):
    envelope = gain * (1 + depth * torch.cos(2 * math.pi * 20 * torch.arange(400) / 200))[None]
    found = modulation_depth(envelope, 200.0, torch.tensor([10.0, 20.0, 30.0]), 1.0, 60.0)[0]
    assert found[1].item() == pytest.approx(20 * math.log10(depth), abs=0.05)  # the image at -20 Hz leaves 0.4 %
    assert (found[[0, 2]] < found[1] - 30).all()


@pytest.mark.parametrize("n_frames", [50, 200, 400, 2000, 6000])
@pytest.mark.parametrize("n_columns", [32, 64])
def test_no_modulation_falls_between_the_columns(n_frames, n_columns):
    """Whatever its frequency, its power is shared out among the columns, half of it at least in one of them."""
    spacing = 50 / n_columns
    column = spacing * torch.arange(1, n_columns + 1)
    rate = 20 + spacing * torch.linspace(0, 1, 11)[:, None]  # from one column to the next
    envelope = 1 + 0.3 * torch.cos(2 * math.pi * rate * torch.arange(n_frames) / 200)
    power = 10 ** (modulation_depth(envelope, 200.0, column, spacing, 60.0) / 10) / 0.3**2  # (rate, column)
    whole = power.sum(dim=-1)
    torch.testing.assert_close(whole, whole.mean().expand(11), rtol=0.02, atol=0.0)
    assert power.amax(dim=-1).min() > 0.49
    assert power.max() < 1.1


@pytest.mark.parametrize("spacing", [50 / 64, 50 / 32])
def test_the_modulation_spectrum_is_the_periodogram_under_a_triangle(spacing):
    """As a sum over a fine grid of frequencies in double precision, also of what a decay leaks into every column."""
    time = np.arange(397) / 200
    envelope = np.exp(-time / 0.3) * (1 + 0.3 * np.cos(2 * np.pi * 20 * time))
    weights = get_window("hann", 2 * 397)[397:] / get_window("hann", 2 * 397)[397:].sum()
    mean = (weights * envelope).sum()
    fine = np.arange(-55, 55, 0.01)
    of_signal, of_window = (
        np.abs(np.exp(-2j * np.pi * np.outer(fine, time)) @ signal) ** 2
        for signal in (weights * (envelope - mean), weights)
    )
    column = spacing * np.arange(1, 33)
    triangle = np.clip(1 - np.abs(fine - column[:, None]) / spacing, 0, None)
    at_zero = np.clip(1 - np.abs(fine) / spacing, 0, None)
    expected = 10 * np.log10(4 * (triangle @ of_signal) / (at_zero @ of_window) / mean**2)
    found = modulation_depth(torch.from_numpy(envelope[None]).float(), 200.0, torch.from_numpy(column), spacing, 60.0)
    np.testing.assert_allclose(found[0], expected, atol=0.01)


def test_what_does_not_change_is_not_modulated():
    level = representation({"modulation": Modulation()}).measure(cosine(1000.0))[1]
    assert (level[30:33] < -60).all()


# ----- envelopes


def test_envelopes_are_those_of_a_sound_that_is_a_product_of_both():
    power = torch.outer(torch.tensor([1.0, 0.1, 0.01]), torch.tensor([1.0, 0.5, 0.25, 0.125]))
    torch.testing.assert_close(normalized_level(power, 60.0), torch.zeros(3, 4), atol=1e-4, rtol=0.0)
    power[1, 2] *= 4
    assert normalized_level(power, 60.0).argmax() == 1 * 4 + 2


def test_the_spectrogram_is_its_envelopes_and_what_is_normalized_by_them():
    spectral = representation({"t": TemporalEnvelope(), "s": SpectralEnvelope(), "n": Normalized(floor_db=200.0)})
    waveform = saws()[2]
    level = 10 * torch.log10(10 ** (spectral.spectrogram_db(waveform)[0][0] / 10))
    temporal, spectral_, normalized = spectral.measure(waveform)[1:]
    mean = 10 * torch.log10((10 ** (temporal / 10)).mean())
    whole = temporal + spectral_ + normalized - mean
    loud = level > level.amax() - 60
    torch.testing.assert_close(whole[loud], level[loud], atol=1e-3, rtol=0.0)
    assert torch.equal(temporal[0], temporal[-1])
    assert torch.equal(spectral_[:, 0], spectral_[:, -1])


# ----- mel


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
def test_bands_of_peak_one_share_out_the_energy_between_their_centres(mel_scale):
    mel = {"f_min": 100.0, "norm": None, "mel_scale": mel_scale}
    tone = cosine(600.0) + cosine(1700.0)  # well between the first centre and the last
    bands = representation({}, **MEL | {"mel": mel}, top_db=200.0).measure(tone)[0]
    bins = representation({}, height=512, n_fft=1024, top_db=200.0).measure(tone)[0]
    whole = (10 ** (bins / 10)).sum(dim=0)
    torch.testing.assert_close((10 ** (bands / 10)).sum(dim=0), whole, rtol=0.01, atol=0.0)


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
def test_bands_of_unit_area_have_the_density_of_a_flat_spectrum(mel_scale):
    click = torch.zeros(N_SAMPLES)
    click[128] = 1.0  # the middle of the first window
    mel = {"f_min": 50.0, "norm": "slaney", "mel_scale": mel_scale}
    bands = representation({}, height=24, n_fft=4096, mel=mel, top_db=200.0).measure(click)[0, :, 0]
    density = (2 / (WIN / 2)) ** 2 / (RATE / 4096)  # power of a bin over its width, per Hz
    torch.testing.assert_close(10 ** (bands / 10), torch.full((24,), density), rtol=0.01, atol=0.0)


# ----- laws of all


def test_batches_equal_their_items_bit_by_bit(full):
    waveforms = torch.cat([saws(), noise(12, N_SAMPLES)])
    image, spec_range = full.to_image(waveforms)
    for n in (1, 7):
        parts = [full.to_image(part) for part in waveforms.split(n)]
        assert torch.equal(torch.cat([part for part, _ in parts]), image)
        assert torch.equal(torch.cat([part for _, part in parts]), spec_range)


def test_any_number_of_batch_dimensions_will_do(full):
    waveforms = noise(2, 3, N_SAMPLES)
    image, spec_range = full.to_image(waveforms)
    assert image.shape == (2, 3, *full.image_shape)
    assert spec_range.shape == (2, 3, 2)
    assert torch.equal(full.to_image(waveforms[1, 2])[0], image[1, 2])


@pytest.mark.parametrize("gain_db", [-20.0, 6.0])
def test_gain_shifts_log_channels_and_leaves_the_others_alone(full, gain_db):
    waveforms = saws()
    before, after = full.measure(waveforms), full.measure(10 ** (gain_db / 20) * waveforms)
    for c, label in enumerate(full.channel_labels):
        was, found = before[:, c], after[:, c]
        if label in GAIN_FREE:
            ends = torch.tensor(full.channel_ranges[c][:2])
            half_a_level = (ends[1] - ends[0]).item() / 255 / 2
            torch.testing.assert_close(found.clamp(*ends), was.clamp(*ends), atol=half_a_level, rtol=0.0, msg=label)
        else:
            heard = was.minimum(found) > -100  # what is below is rounding noise, and no pixel shows it
            assert heard.any()
            torch.testing.assert_close(found[heard], was[heard] + gain_db, atol=0.02, rtol=0.0, msg=label)


def test_a_gain_of_two_changes_no_pixel_of_the_others(full):
    waveforms = saws() * 0.5
    shown = [label in GAIN_FREE for label in full.channel_labels]
    before, after = (full.to_image(gain * waveforms)[0][:, shown] for gain in (1.0, 2.0))
    assert torch.equal(before, after)


def test_pixels_hold_every_channel_to_half_a_level(full):
    waveforms = saws()
    image, spec_range = full.to_image(waveforms)
    decoded, exact = full.decode(image, spec_range), full.measure(waveforms)
    for c, ends in enumerate(full.channel_ranges):
        low, high = spec_range.mT[..., None, None] if ends is None else torch.tensor(ends[:2])
        half = (high - low) / 255 / 2
        error = (decoded[:, c] - exact[:, c].maximum(low).minimum(high)).abs()
        assert (error <= half + 1e-4).all(), full.channel_labels[c]


def test_silence_gives_finite_levels_and_an_image(full):
    silence = torch.zeros(2, N_SAMPLES)
    assert full.measure(silence).isfinite().all()
    image, spec_range = full.to_image(silence)
    assert spec_range.isfinite().all()
    assert torch.equal(image, image[:, :, :1, :1].expand_as(image))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_upcast(full, dtype):
    waveforms = saws().to(dtype)
    assert torch.equal(full.measure(waveforms), full.measure(waveforms.float()))


@pytest.mark.parametrize("device", DEVICES)
def test_everything_stays_on_its_device(full, device):
    waveforms = saws()
    found = full.measure(waveforms.to(device))
    assert found.device.type == device
    assert full.to_image(waveforms.to(device))[0].device.type == device
    loud = full.measure(waveforms)[:, :1] > -40
    error = (found.cpu() - full.measure(waveforms)).abs() * loud
    assert error.amax() < 0.05


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("changes", [{}, MEL], ids=["stft", "mel"])
def test_every_channel_has_the_derivative_that_differences_say(name, changes):
    spectral = representation({name: ALL[name]}, **changes)
    waveform, direction = saws()[2] + noise(N_SAMPLES), noise(2, N_SAMPLES)[1]
    weights = noise(3, spectral.height, spectral.width)[2]

    def level(step):
        return (spectral.measure(waveform + step * direction)[1] * weights).double().mean()

    (gradient,) = torch.autograd.grad(level(moved := torch.zeros((), requires_grad=True)), moved)
    step = 2e-4
    difference = (level(step) - level(-step)) / (2 * step)
    assert gradient.item() == pytest.approx(difference.item(), rel=0.05, abs=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_silence_has_a_finite_derivative(name):
    waveform = torch.zeros(N_SAMPLES, requires_grad=True)
    representation({name: ALL[name]}).measure(waveform).sum().backward()
    assert waveform.grad.isfinite().all()


# ----- the image as a whole


def test_without_channels_everything_is_as_it_was(full):
    plain = SpectralRepresentation(
        **SETTINGS | {"height": full.height, "width": full.width, "win_length": full.window.numel()},
        n_fft=full.n_fft,
        window=full.window_name,
        mel=None if full.mel is None else vars(full.mel),
    )
    waveforms = saws()
    power = F.power_of(
        F.stft(waveforms, F.full_scale(plain.window, plain.window), plain.n_fft, plain.hop_length, plain.width)
    )
    rows = power[..., 1 : plain.height + 1, :] if plain.filters is None else plain.filters @ power
    db, spec_min, spec_max = F.power_to_db(rows.unsqueeze(-3), plain.top_db)
    image, spec_range = plain.to_image(waveforms)
    assert torch.equal(image, F.quantize_db(db, spec_min, spec_max))
    assert torch.equal(spec_range, torch.cat([spec_min, spec_max], dim=-1))
    assert plain.channel_ranges is plain.channel_axes is None
    assert "channels" not in plain.describe()
    assert len(plain.channel_labels) == 1


def test_further_channels_change_nothing_of_the_first(full):
    alone = representation(
        {},
        **{"height": full.height, "n_fft": full.n_fft, "window": full.window_name, "win_length": full.window.numel()},
        mel=None if full.mel is None else vars(full.mel),
    )
    image, spec_range = full.to_image(saws())
    first, range_alone = alone.to_image(saws())
    assert torch.equal(image[:, :1], first)
    assert torch.equal(spec_range, range_alone)
    torch.testing.assert_close(full.to_db(image, spec_range), alone.to_db(first, spec_range))
    for mine, others in zip(full.spectrogram_db(saws()), alone.spectrogram_db(saws()), strict=True):
        assert torch.equal(mine, others)


def test_a_channel_does_not_depend_on_those_beside_it(full):
    names = list(ALL)
    changes = {"height": full.height, "n_fft": full.n_fft, "window": full.window_name}
    mel = None if full.mel is None else vars(full.mel)
    some = representation({name: ALL[name] for name in names[::-3]}, **changes, win_length=full.window.numel(), mel=mel)
    mine, others = full.to_image(saws())[0], some.to_image(saws())[0]
    for c, name in enumerate(names[::-3]):
        assert torch.equal(others[:, 1 + c], mine[:, 1 + names.index(name)])


def test_channels_are_named_and_described(full):
    n_channels = 1 + len(ALL)
    assert full.image_shape == (n_channels, full.height, full.width)
    windows = ["window_0.25", "window_1", "window_4"]
    assert full.channel_labels[1:] == [*windows, *list(ALL)[3:]]
    assert [len(entries) for entries in (full.channel_ranges, full.channel_axes)] == [n_channels] * 2
    assert full.channel_ranges[0] is None
    assert full.channel_axes[0] == {}
    assert list(full.describe()["channels"]) == full.channel_labels[1:]
    json.dumps([full.channel_ranges, full.channel_axes, full.describe()])


def test_each_ratio_is_a_channel_as_if_it_were_alone():
    spectral = representation({"windows": LogPower(ratios=[0.25, 2, 0.5])})
    assert spectral.channel_labels[1:] == ["window_0.25", "window_2", "window_0.5"]
    waveform = noise(N_SAMPLES)
    for c, ratio in enumerate([0.25, 2, 0.5]):
        alone = representation({"one": LogPower(ratios=[ratio])})
        assert torch.equal(spectral.to_image(waveform)[0][1 + c], alone.to_image(waveform)[0][1])


def test_spectra_that_channels_share_are_computed_once(monkeypatch):
    calls = []
    original = torch.fft.rfft
    shared = {"if": ALL["frequency"], "gd": ALL["delay"], "n": ALL["normalized"], "level": LogPower(ratios=[1.0])}
    spectral = representation(shared)
    monkeypatch.setattr(torch.fft, "rfft", lambda *arguments: calls.append(0) or original(*arguments))
    spectral.to_image(noise(N_SAMPLES))
    assert len(calls) == 3  # with the window, with its derivative, with it times time


def test_a_mean_deviation_is_weighted_by_power():
    power = torch.tensor([[1.0, 1.0, 1e-9]])
    assert mean_deviation(torch.tensor([[0.5, -0.25, 1.0]]), power, 60.0).tolist() == [[0.5, -0.25, 0.0]]


def test_frequency_moments_by_the_definition_of_a_complex_ratio():
    spectrum, of_derivative = torch.complex(noise(4, 5), noise(4, 5)[1:2]), torch.complex(noise(4, 5)[2:3], noise(4, 5))
    expected = -(of_derivative / spectrum).imag * spectrum.abs().square()
    torch.testing.assert_close(frequency_moment(spectrum, of_derivative), expected)


@pytest.mark.parametrize(
    ("channels", "facts"),
    [
        ({"long": lambda: LogPower(ratios=[40.0])}, "win_length 10240 of a channel: 1 to the sound's 8000"),
        ({"none": lambda: LogPower(ratios=[0.001])}, "win_length 0 of a channel"),
        ({"level": lambda: LogPower(min_db=0.0, max_db=-10.0)}, "LogPower: min_db is 0.0 and max_db -10.0"),
        ({"if": lambda: InstantaneousFrequency(limit=0.0)}, "InstantaneousFrequency: limit is 0.0"),
        ({"gd": lambda: GroupDelay(floor_db=-3.0)}, "GroupDelay: floor_db is -3.0"),
        ({"m": lambda: Modulation(max_frequency=0.0)}, "Modulation: max_frequency is 0.0"),
        ({"m": lambda: Modulation(max_frequency=0.5)}, "win_length 16000 of a channel"),
        ({"windows": lambda: LogPower(ratios=[4, 0.25, 4.0])}, "ratios are 4.0, 0.25, 4.0; name each once"),
        ({"windows": lambda: LogPower(ratios=[])}, "LogPower: ratios is"),
        ({"a": lambda: LogPower(), "b": lambda: LogPower(ratios=[4])}, "channels.b is called window_4, as a channel"),
        ({"if": lambda: InstantaneousFrequency(win_ratio="long")}, "win_ratio is 'long'; it must be a number above 0"),
        (
            {"gd": lambda: GroupDelay(hop_length=3)},
            "GroupDelay: the key hop_length does not belong here. The settings are.*limit",
        ),
        ({"other": lambda: {"win_length": 3}}, r"channels.other is \{'win_length': 3\}.*_target_"),
    ],
)
def test_settings_that_make_no_channel_are_refused(channels, facts):
    with pytest.raises(ConfigError, match=facts):
        representation({name: make() for name, make in channels.items()})


def test_windows_are_scipys_whatever_their_name():
    spectral = representation({"level": LogPower(ratios=[1.0], window=["kaiser", 9.0])}, window="hann")
    waveform = noise(N_SAMPLES)
    window = torch.from_numpy(get_window(("kaiser", 9.0), WIN)).float()
    power = F.power_of(F.stft(waveform, F.full_scale(window, window), WIN, spectral.hop_length, 32))[1:128]
    torch.testing.assert_close(spectral.measure(waveform)[1], 10 * torch.log10(power), atol=1e-3, rtol=0.0)
