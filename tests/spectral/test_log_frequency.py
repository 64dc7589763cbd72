"""Rows at equal musical intervals, by their closed forms."""

import math

import numpy as np
import pytest
import torch

from src.errors import ConfigError
from src.listening.content import Axes
from src.playback import representation_of
from src.spectral import functional as F
from src.spectral.representation import SpectralRepresentation
from src.vimh.axes import channels_of

RATE, F_MIN, PER_OCTAVE = 16_000, 55.0, 24
SETTINGS = {
    **{"sample_rate": RATE, "duration": 0.5, "height": 168, "width": 4, "win_length": 2048, "n_fft": 4096},
    "log_frequency": {"f_min": F_MIN, "bins_per_octave": PER_OCTAVE},
}


@pytest.fixture(scope="module")
def spectral():
    return SpectralRepresentation(**SETTINGS)


def sine(frequency, amplitude=1.0, phase=0.3):
    return amplitude * torch.sin(2 * math.pi * frequency * torch.arange(RATE // 2, dtype=torch.float64) / RATE + phase)


@pytest.mark.parametrize("row", [6, 30, 71, 100, 140, 167])
@pytest.mark.parametrize("amplitude", [1.0, 0.1])
def test_a_sine_at_the_centre_of_a_row_has_its_level_there_and_no_more_elsewhere(spectral, row, amplitude):
    db = spectral.spectrogram_db(sine(F_MIN * 2 ** (row / PER_OCTAVE), amplitude))[0][0]
    assert db.argmax(dim=0).tolist() == [row] * 4
    torch.testing.assert_close(db[row], torch.full((4,), 20 * math.log10(amplitude)), atol=2e-3, rtol=0)


@pytest.mark.parametrize("multiple", [2, 3, 4, 5])
def test_a_harmonic_lies_as_many_rows_above_every_fundamental(spectral, multiple):
    rows = []
    for note in (45, 52, 60, 69):
        f0 = 440 * 2 ** ((note - 69) / 12)
        db = spectral.spectrogram_db(sine(f0) + sine(multiple * f0))[0][0].amax(dim=1)
        peaks = [int(r) for r in range(1, 167) if db[r] > -3 and db[r] >= db[r - 1] and db[r] > db[r + 1]]
        rows.append(peaks[-1] - peaks[0])
    assert {abs(found - PER_OCTAVE * math.log2(multiple)) <= 1 for found in rows} == {True}


def test_neighbours_share_what_lies_between_them():
    """Where rows are wider than bins, the triangles of the rows of a frequency sum to 1 before they are scaled."""
    window, n_fft, n_rows = F.analysis_window("hann", 8192), 16384, 60
    filters = F.log_filterbank(window, n_fft, n_rows, 400.0, 12, 96_000).double()
    peak = filters.amax(dim=1, keepdim=True)
    centre = F.log_centres(n_rows, 400.0, 12)[:60]
    bins = torch.arange(n_fft // 2 + 1) * 96_000 / n_fft
    inside = (bins > centre[2]) & (bins < centre[50])
    total = (filters / peak)[:60, inside].sum(dim=0)
    assert (total - 1).abs().max() < 0.15  # the bin of the peak may lie beside the centre
    assert (total.mean() - 1).abs() < 0.03


def test_rows_that_are_finer_than_bins_interpolate(spectral):
    reach = (spectral.filters[:10] > 0).sum(dim=1)
    assert ((reach == 2) | (reach == 3)).all()  # a bin of 3.9 Hz to both sides of rows 1.6 Hz apart


@pytest.mark.parametrize(
    "changes", [{"height": 200}, {"log_frequency": {"f_min": 1.0}}, {"log_frequency": {"f_min": 7999.0}, "height": 2}]
)
def test_rows_that_are_not_in_the_spectrum_are_refused(changes):
    with pytest.raises(ConfigError, match=r"f_min .* rows, \d+ to the octave, reach up to .* Hz; .* is possible"):
        SpectralRepresentation(**SETTINGS | changes)


@pytest.mark.parametrize("log_frequency", [{"f_min": 0.0}, {"f_min": 55.0, "bins_per_octave": 0}, {"low": 55.0}])
def test_settings_that_make_no_sense_are_refused(log_frequency):
    with pytest.raises(ConfigError, match="LogFrequency"):
        SpectralRepresentation(**SETTINGS | {"log_frequency": log_frequency})


def test_rows_are_of_one_kind():
    with pytest.raises(ConfigError, match="mel and log_frequency are both given"):
        SpectralRepresentation(**SETTINGS, mel={})


def test_a_dataset_knows_the_frequencies_of_its_rows(spectral, recipe_of):
    changes = ("height", "width", "win_length", "n_fft")
    overrides = [f"representation.{key}={SETTINGS[key]}" for key in changes]
    recipe = recipe_of(
        *("representation=log_frequency", "dataset.sample_rate=16000", "dataset.duration=0.5", *overrides),
        f"representation.log_frequency.bins_per_octave={PER_OCTAVE}",
    )
    info = recipe.info(recipe.directory_name())
    expected = F_MIN * 2 ** (np.arange(168) / PER_OCTAVE)
    (channel,) = channels_of(info, has_spec_range=True)
    assert (channel.name, channel.rows.label) == ("log_frequency", "frequency (Hz)")
    np.testing.assert_allclose(channel.rows.centre, expected)
    np.testing.assert_allclose(Axes.of(spectral).frequency, expected)
    again = representation_of(info)
    waveform = sine(440.0).float()
    assert torch.equal(again.to_image(waveform)[0], recipe.representation.to_image(waveform)[0])


def test_a_sound_comes_back_from_its_picture(spectral):
    waveform = sine(440.0, 0.5).float()
    again = spectral.to_waveform(*spectral.to_image(waveform), n_iter=16)
    spectrum = torch.fft.rfft(again, RATE).abs()
    assert abs(int(spectrum.argmax()) - 440) <= 4
