import auraloss
import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

from src.errors import ConfigError
from src.evaluation import audio_metrics as A
from src.evaluation.dtw import warped_distance
from src.synth import MoogVoice

RATE = 8000
VOICE = MoogVoice(RATE, 0.5)
METRICS = {metric.name: metric for metric in A.METRICS}


def moog(**parameters):
    """Sounds of 100 Hz, `(sound, time)`; each parameter a number or a list of one length."""
    n = max(np.size(value) for value in parameters.values())
    parameters = {"note_number": 43.35, "filter_cutoff": 500.0, "log10_decay_time": -0.5} | parameters
    return VOICE.render({name: np.broadcast_to(np.float64(value), n) for name, value in parameters.items()})


def noise(n, seed=0, n_samples=4000, level=0.1):
    return np.random.default_rng(seed).normal(0, level, (n, n_samples)).astype(np.float32)


def pairs():
    rng = np.random.default_rng(5)
    cutoffs, decays = rng.uniform(200, 2000, (2, 6)), rng.uniform(-1, 0, (2, 6))
    return [moog(filter_cutoff=cutoffs[i], log10_decay_time=decays[i]) for i in range(2)]


def measure(name, x, y, rate=RATE):
    return METRICS[name].compute(torch.from_numpy(x).double(), torch.from_numpy(y).double(), rate).numpy()


def test_the_table_names_every_metric_once():
    spectral = ["mss", "wmfcc", "sot", "rms_cosine", "lsd", "mr_stft", "spectral_convergence", "stft_pcc"]
    assert list(METRICS) == [*spectral, "level_db", "si_sdr", "snr", "rmse", "pearson", "max_xcorr"]
    assert all(metric.definition and metric.better in ("low", "high", "0") for metric in A.METRICS)


def test_identical_sounds_are_the_best_there_is():
    x, _ = pairs()
    for name, values in A.audio_metrics(x, x, RATE).items():
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, METRICS[name].best, atol=1e-9, err_msg=name)


def test_symmetric_as_documented():
    x, y = pairs()
    forth, back = A.audio_metrics(x, y, RATE), A.audio_metrics(y, x, RATE)
    for metric in A.METRICS:
        same = np.allclose(forth[metric.name], back[metric.name], rtol=1e-9, atol=1e-9)
        assert same == metric.symmetric, metric.name
    np.testing.assert_allclose(forth["level_db"], -back["level_db"])


@pytest.mark.parametrize(
    ("parameter", "sweep", "blind"),
    [
        ("filter_cutoff", [500, 550, 650, 800, 1100, 1500], {"rms_cosine"}),  # the envelope hardly changes
        ("log10_decay_time", [-0.5, -0.55, -0.65, -0.8, -1.0, -1.3], {"sot"}),  # nor does the shape of the spectrum
        ("note_velocity", [127, 120, 110, 95, 75, 50], {"rms_cosine"}),
    ],
)
def test_further_along_a_sweep_is_worse(parameter, sweep, blind):
    y = moog(**{parameter: sweep})
    x = np.repeat(y[:1], len(sweep), axis=0)
    for name, values in A.audio_metrics(x, y, RATE).items():
        badness = -values if METRICS[name].better == "high" else np.abs(values)
        assert name in blind or (np.diff(badness) > 0).all(), (name, values)


def test_batch_is_items(monkeypatch):
    x, y = pairs()
    whole = A.audio_metrics(x, y, RATE)
    monkeypatch.setattr(A, "BLOCK", 2 * x.shape[1])
    parts = A.audio_metrics(x, y, RATE)
    for name in METRICS:
        single = np.concatenate([A.audio_metrics(x[i : i + 1], y[i : i + 1], RATE)[name] for i in range(len(x))])
        np.testing.assert_allclose(whole[name], single, rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(parts[name], single, rtol=1e-9, atol=1e-9, err_msg=name)


def test_level_alone_is_seen_by_some():
    x, _ = pairs()
    values = A.audio_metrics(x, x * np.float32(0.25), RATE)
    for name in ("mss", "sot", "rms_cosine", "si_sdr", "pearson", "stft_pcc", "max_xcorr"):
        np.testing.assert_allclose(values[name], METRICS[name].best, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(values["level_db"], 20 * np.log10(0.25), rtol=1e-6)
    np.testing.assert_allclose(values["spectral_convergence"], 0.75, rtol=1e-6)
    np.testing.assert_allclose(measure("lsd", noise(2), noise(2) / 4), 20 * np.log10(4), rtol=1e-4)
    # d dB move the first of 20 coefficients by d times the root of 128 bands; 50 of the 51 frames count twice.
    expected = 20 * np.log10(4) * np.sqrt(128) / 20 * 101 / 102
    np.testing.assert_allclose(measure("wmfcc", noise(2), noise(2) / 4), expected, rtol=1e-4)
    assert (values["mr_stft"] > 0.5).all()


def test_two_silent_sounds_are_alike():
    silent = np.zeros((1, 4000), np.float32)
    inaudible = noise(1, level=1e-8)
    for y in (silent, inaudible):
        for name, values in A.audio_metrics(silent, y, RATE).items():
            assert values[0] == METRICS[name].best, name


def test_one_silent_sound():
    x, silent = noise(1), np.zeros((1, 4000), np.float32)
    power = A.mel_power(torch.from_numpy(x).double(), RATE, 0.010, 0.005, 32)
    heard = (10 * torch.log10(power / power.max())).clamp(min=-80).mean() + 80
    level = 20 * np.log10(np.sqrt((x.astype(np.float64) ** 2).mean()))
    expected = {"rms_cosine": 0, "stft_pcc": 0, "pearson": 0, "max_xcorr": 0, "si_sdr": -100}
    lost = {"level_db": -120 - level, "spectral_convergence": 1, "snr": 0, "rmse": 10 ** (level / 20), **expected}
    invented = {"level_db": 120 + level, "spectral_convergence": 1e5, "snr": -100, **expected}
    for pair, known in (((x, silent), lost), ((silent, x), invented)):
        values = A.audio_metrics(*pair, RATE)
        assert all(np.isfinite(v).all() for v in values.values())
        for name, value in known.items():
            assert values[name][0] == pytest.approx(value, abs=1e-6), name
        for name in ("mss", "wmfcc", "sot", "lsd", "mr_stft"):
            assert values[name][0] > 0.1, name
        assert values["mss"][0] == pytest.approx(float(heard), rel=0.2)  # one of its three scales


def test_more_of_a_sound_is_further_from_silence():
    x = np.stack([noise(1)[0] * (np.arange(4000) < n) for n in (500, 1000, 2000, 4000)]).astype(np.float32)
    values = A.audio_metrics(np.zeros_like(x), x, RATE)
    for name in ("mss", "wmfcc", "sot", "lsd", "mr_stft", "rmse"):
        assert (np.diff(values[name]) > 0).all(), name


def test_a_silent_frame_is_a_spike_at_zero_hertz():
    x = noise(1)
    spectra = A.magnitude(torch.from_numpy(x).double(), 400, 400, 160)[0].numpy().T
    place = np.linspace(0, 1, 201)
    expected = np.mean([wasserstein_distance(place, place, spectrum, place == 0) for spectrum in spectra])
    assert measure("sot", x, np.zeros_like(x))[0] == pytest.approx(expected)


def test_phase_is_seen_by_those_that_say_so():
    t = np.arange(8000) / RATE
    x, y = (sum(np.sin(2 * np.pi * 200 * k * t + k * k * p) / k for k in (1, 2, 3))[None] / 3 for p in (0.0, 1.3))
    values = A.audio_metrics(x, y, RATE)
    assert {metric.name for metric in A.METRICS if metric.sees_phase} == {
        *("si_sdr", "snr", "rmse", "pearson", "max_xcorr")
    }
    assert values["snr"][0] < 3
    assert values["pearson"][0] < 0.5
    assert values["sot"][0] < 0.01
    assert values["stft_pcc"][0] > 0.99
    assert abs(values["level_db"][0]) < 0.1


def test_ratios_equal_torchmetrics():
    x, y = (torch.from_numpy(waveform).double() for waveform in pairs())
    expected = scale_invariant_signal_distortion_ratio(y, x)
    np.testing.assert_allclose(measure("si_sdr", x.numpy(), y.numpy()), expected, rtol=1e-6)
    np.testing.assert_allclose(measure("snr", x.numpy(), y.numpy()), signal_noise_ratio(y, x), rtol=1e-6)


def test_multi_resolution_stft_equals_auraloss():
    x, y = noise(3, 1, 12000), noise(3, 2, 12000, 0.05)
    loss = auraloss.freq.MultiResolutionSTFTLoss()
    expected = [loss(torch.from_numpy(y[i])[None, None], torch.from_numpy(x[i])[None, None]) for i in range(3)]
    np.testing.assert_allclose(measure("mr_stft", x, y, 24000), expected, rtol=1e-4)


def test_optimal_transport_equals_scipy():
    x, y = noise(1, 1), moog(filter_cutoff=700)
    spectra = [A.magnitude(torch.from_numpy(w).double(), 400, 400, 160)[0].numpy().T for w in (x, y)]
    place = np.linspace(0, 1, 201)
    expected = np.mean([wasserstein_distance(place, place, a, b) for a, b in zip(*spectra, strict=True)])
    assert measure("sot", x, y)[0] == pytest.approx(expected)


def test_correlations_equal_numpy():
    x, y = noise(1, 1), moog(log10_decay_time=-0.7)
    assert measure("pearson", x, y)[0] == pytest.approx(np.corrcoef(x[0], y[0])[0, 1])
    lags = np.correlate(y[0].astype(np.float64), x[0].astype(np.float64), "full")
    norms = np.linalg.norm(x[0].astype(np.float64)) * np.linalg.norm(y[0].astype(np.float64))
    assert measure("max_xcorr", x, y)[0] == pytest.approx(lags.max() / norms)


def test_a_delay_is_found_by_cross_correlation():
    x = np.zeros((1, 4000), np.float32)
    x[:, 500:1500] = noise(1, n_samples=1000)
    y = np.roll(x, 1700, axis=1)
    assert measure("max_xcorr", x, y)[0] == pytest.approx(1)
    assert measure("pearson", x, y)[0] < 0.5


def test_spectra_equal_librosa():
    """Numbers by librosa 0.10.2.post1 (melspectrogram, power_to_db, feature.mfcc, feature.rms) and dtw-python 1.9.0.

    Two tones of eight harmonics at 8 kHz; windows 80, 200, 800 and 400, without padding of the FFT.
    """
    x, y = tone(110.0, 0.2), tone(123.0, 0.1)
    mel = A.mel_power(torch.from_numpy(x), RATE, 0.025, 0.010, 64)[0]
    for (band, frame), power in {(0, 3): 0.018917270592, (5, 10): 0.344570570153, (20, 0): 0.029018035128}.items():
        assert float(mel[band, frame]) == pytest.approx(power, rel=1e-5)
    mfcc = A.mfcc(torch.from_numpy(x), RATE)[0]
    for (c, frame), value in {(0, 0): -234.282998, (1, 10): 253.540054, (5, 25): -5.405565, (19, 49): -3.3766}.items():
        assert float(mfcc[c, frame]) == pytest.approx(value, rel=1e-4)
    rms = A.rms_envelope(torch.from_numpy(x), RATE)[0]
    np.testing.assert_allclose(rms[[0, 5, 19]], [0.1692381501, 0.1411294192, 0.0245011318], rtol=1e-6)
    values = A.audio_metrics(x, y, RATE)
    assert values["mss"][0] == pytest.approx(7.763241311, rel=1e-5)
    assert values["wmfcc"][0] == pytest.approx(16.399529338, rel=1e-5)


def tone(f0, decay):
    t = np.arange(4000) / RATE
    return (sum(np.sin(2 * np.pi * f0 * k * t) / k for k in range(1, 9)) * 0.3 * np.exp(-t / decay))[None]


def test_warping_finds_the_cheapest_path():
    rng = np.random.default_rng(3)
    for n_a, n_b in ((1, 1), (1, 4), (4, 1), (5, 7), (8, 8)):
        a, b = rng.normal(size=(2, n_a, 3)), rng.normal(size=(2, n_b, 3))
        expected = [
            cheapest(np.abs(p[:, None] - q[None]).mean(axis=2)) / (n_a + n_b) for p, q in zip(a, b, strict=True)
        ]
        np.testing.assert_allclose(warped_distance(a, b), expected)


def cheapest(cost, i=None, j=None):
    """By recursion over every path."""
    i, j = (cost.shape[0] - 1 if i is None else i), (cost.shape[1] - 1 if j is None else j)
    if i == j == 0:
        return cost[0, 0]
    steps = [(i - 1, j, 1), (i, j - 1, 1), (i - 1, j - 1, 2)]
    return min(cheapest(cost, p, q) + weight * cost[i, j] for p, q, weight in steps if p >= 0 and q >= 0)


def test_warping_forgives_a_slower_run():
    a = np.cumsum(np.random.default_rng(0).normal(size=(1, 20, 2)), axis=1)
    slower = np.repeat(a, 2, axis=1)
    assert warped_distance(a, slower)[0] == 0
    assert warped_distance(a, slower[:, :20])[0] > 0


@pytest.mark.parametrize("rate", [1000, 8000, 16000, 22050, 44100, 48000])
def test_every_rate_has_its_frames(rate):
    n = rate // 10
    values = A.audio_metrics(noise(2, 1, n), noise(2, 2, n), rate)
    assert all(np.isfinite(v).all() and v.shape == (2,) for v in values.values())


@pytest.mark.parametrize("rate", [1000, 8000, 44100])
def test_no_mel_band_is_empty(rate):
    for window, _, n_mels in (*A.MSS_SCALES, A.MFCC_SCALE):
        filters = A.mel_filters(rate, round(window * rate), n_mels)
        assert filters.shape[0] == n_mels
        assert (filters.amax(dim=1) > 0).all()


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 4000)), np.zeros((1, 4000)), "one shape"),
        (np.zeros(4000), np.zeros(4000), "one shape"),
        (np.zeros((0, 4000)), np.zeros((0, 4000)), "one shape"),
        (np.zeros((1, 799)), np.zeros((1, 799)), "too short"),
        (np.full((1, 4000), np.nan), np.zeros((1, 4000)), "finite"),
    ],
)
def test_refuses_what_is_no_pair(x, y, message):
    with pytest.raises(ConfigError, match=message):
        A.audio_metrics(x, y, RATE)


@pytest.mark.parametrize("rate", [0, -8000, 999])
def test_refuses_rates_without_bands(rate):
    with pytest.raises(ConfigError, match="sample_rate"):
        A.audio_metrics(np.zeros((1, 4000)), np.zeros((1, 4000)), rate)


def test_the_interval_is_seeded_and_holds_the_mean():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = A.bootstrap_interval(values, seed=1)
    assert (low, high) == A.bootstrap_interval(values, seed=1) != A.bootstrap_interval(values, seed=2)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_the_interval_of_equal_values_is_a_point():
    assert A.bootstrap_interval(np.full(7, 1.5), seed=0) == (1.5, 1.5)
    with pytest.raises(ConfigError):
        A.bootstrap_interval(np.zeros(0), seed=0)


def test_the_interval_covers_the_true_mean_about_95_times_in_100():
    rng = np.random.default_rng(0)
    intervals = [A.bootstrap_interval(rng.exponential(size=60), seed, 200) for seed in range(200)]
    assert 0.88 < np.mean([low <= 1 <= high for low, high in intervals]) < 0.99
