"""Laws of the Moog ladder and of the Moog voice."""

import numpy as np
import pytest
from reference import decibels, fit_harmonics, ladder, linear_response, random_parameters, rms

from src.errors import ConfigError
from src.synth import MoogVoice, SawVoice, kernels
from src.synth.voices import decimation_filter

RATES = [8000, 16000, 44100, 48000]
FOREVER = 6.0
NOTE_100_HZ = 69 + 12 * np.log2(100 / 440)


def product(*axes):
    """Every combination of the values of some axes, one flat array per axis."""
    return [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]


def impulse(n_voices, n_samples, height):
    x = np.zeros((n_voices, n_samples))
    x[:, 0] = height
    return x


def full_scale_saw(sample_rate, duration):
    voice = SawVoice(sample_rate, duration)
    return voice.render({"note_number": np.array([NOTE_100_HZ]), "log10_decay_time": np.array([FOREVER])})[0]


def random_cutoffs(rng, sample_rate, n_voices, n_samples):
    """Cutoffs from 10 Hz to 0.49 of the sample rate, `(voice, time)`: at rest, new at every sample, and in jumps."""
    low, high = np.log(10), np.log(0.49 * sample_rate)
    cutoff = np.exp(rng.uniform(low, high, (n_voices, n_samples)))
    cutoff[0::3] = cutoff[0::3, :1]
    jumps = cutoff[1::3]
    period = rng.integers(2, 6, (len(jumps), 1))
    cutoff[1::3] = np.where(np.arange(n_samples) % period, jumps[:, :1], 0.49 * sample_rate)
    return cutoff


def one(**parameters):
    return {name: np.array([value]) for name, value in parameters.items()}


def test_tanh_is_close_everywhere_and_saturates():
    x = np.concatenate([np.linspace(-12, 12, 20001), [1e-30, 1e-6, 50, 1e10, -1e10]]).astype(np.float32)
    tanh, chord = np.array([kernels.tanh_and_chord(value) for value in x], dtype=np.float64).T
    exact = np.tanh(x.astype(np.float64))
    np.testing.assert_allclose(tanh, exact, rtol=1e-5)
    assert np.abs(tanh).max() < 1
    inside = np.abs(x) <= kernels.TANH_LIMIT
    np.testing.assert_allclose(chord[inside] * x[inside], exact[inside], rtol=1e-5)


def test_the_gain_is_the_tangent():
    ratio = np.concatenate([[2e-5], np.linspace(1e-4, 0.49, 20001)]).astype(np.float32)
    gain = [kernels.cutoff_gain(value) for value in ratio]
    np.testing.assert_allclose(gain, np.tan(np.pi * ratio.astype(np.float64)), rtol=5e-6)


def test_octaves_are_powers_of_two():
    octaves = np.linspace(-12, 12, 20001, dtype=np.float32)
    np.testing.assert_allclose([kernels.exp2(value) for value in octaves], 2.0 ** octaves.astype(np.float64), rtol=5e-6)
    assert kernels.exp2(np.float32(0)) == 1


def plain_adsr(n, attack, decay, sustain, release, note_end):
    """The textbook envelope, times in samples."""

    def held(n):
        if n < attack:
            return n / attack
        return max(sustain, 1 - (1 - sustain) * (n - attack) / decay)

    if n < note_end:
        return held(n)
    return held(note_end) * max(0, 1 - (n - note_end) / release)


@pytest.mark.parametrize("note_end", [30, 150, 400, 900, 2000])
@pytest.mark.parametrize("sustain", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("attack", "decay", "release"), [(100, 300, 200), (1, 1, 1), (250, 1, 700)])
def test_adsr_is_the_textbook_envelope_and_continuous(attack, decay, release, sustain, note_end):
    time = np.arange(0, 1200, 0.5)
    rates = 1 / attack, attack, (1 - sustain) / decay, sustain, 1 / release
    arguments = [np.float32(value) for value in (*rates, note_end)]
    level = np.array([kernels.adsr(np.float32(n), *arguments) for n in time])
    expected = [plain_adsr(n, attack, decay, sustain, release, note_end) for n in time]
    np.testing.assert_allclose(level, expected, atol=1e-5)
    assert np.abs(np.diff(level)).max() <= 0.5 / min(attack, decay, release) + 1e-5


@pytest.mark.parametrize("sample_rate", RATES)
def test_small_signals_see_the_bilinear_transform(sample_rate):
    n_samples = 4 * sample_rate
    cutoff, k = product([50, 300, 1500, 0.1 * sample_rate, 0.25 * sample_rate, 0.4 * sample_rate], [0, 1, 2, 3, 3.8])
    y = kernels.ladder(impulse(k.size, n_samples, 1e-4), cutoff[:, None], k, sample_rate)
    frequency = np.fft.rfftfreq(n_samples, 1 / sample_rate)
    audible = (frequency >= 20) & (frequency <= 0.45 * sample_rate)
    for voice in range(k.size):
        response = np.fft.rfft(y[voice].astype(np.float64))[audible] / 1e-4
        expected = linear_response(frequency[audible], cutoff[voice], k[voice], sample_rate)
        heard = decibels(expected) > -80
        assert np.abs(decibels(response[heard] / expected[heard])).max() < 0.1, (cutoff[voice], k[voice])


@pytest.mark.parametrize("sample_rate", RATES)
def test_oscillates_at_the_cutoff_above_a_feedback_of_4(sample_rate):
    half = max(3 * sample_rate, 60000)
    ratios = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.49])
    cutoff, k = product([200, *(ratios * sample_rate)], [4.02, 4.05, 4.1])
    y = kernels.ladder(impulse(k.size, 2 * half, 1.0), cutoff[:, None], k, sample_rate)[:, half:].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(y * np.hanning(half), axis=1))
    frequency = spectrum.argmax(axis=1) * sample_rate / half
    np.testing.assert_allclose(frequency, cutoff, rtol=0.01)
    assert np.all((np.abs(y).max(axis=1) > 0.01) & (np.abs(y).max(axis=1) < 1))
    np.testing.assert_allclose(rms(y[:, : half // 2]), rms(y[:, half // 2 :]), rtol=0.02)


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("height", [1e-3, 1.0])
def test_rings_and_decays_at_a_resonance_of_0_95(sample_rate, height):
    cutoff = np.array([0.02, 0.1, 0.3]) * sample_rate
    y = kernels.ladder(impulse(3, 12000, height), cutoff[:, None], np.full(3, 3.8), sample_rate)
    peak = np.abs(y).max(axis=1)
    for voice in range(3):
        loud = y[voice][: np.flatnonzero(np.abs(y[voice]) > 1e-3 * peak[voice])[-1]]
        assert np.count_nonzero(np.diff(np.sign(loud))) > 20
    assert np.all(np.abs(y[:, -1000:]).max(axis=1) < 1e-4 * peak)


@pytest.mark.parametrize("sample_rate", RATES)
def test_any_input_leaves_it_finite_and_it_falls_silent(sample_rate):
    rng = np.random.default_rng(sample_rate)
    n_voices, n_noise, n_samples = 192, 1000, 24000
    x = np.zeros((n_voices, n_samples))
    x[:, :n_noise] = rng.uniform(-10, 10, (n_voices, n_noise))
    cutoff = random_cutoffs(rng, sample_rate, n_voices, n_samples)
    k = rng.uniform(0, 4.8, n_voices)
    y = kernels.ladder(x, cutoff, k, sample_rate)
    assert np.all(np.isfinite(y))
    assert np.abs(y).max() < 1000

    # Below self-oscillation, and with cutoffs that let a tail end within the test, what follows the noise is silence.
    cutoff[:, n_noise:] = np.maximum(cutoff[:, n_noise:], 0.02 * sample_rate)
    y = kernels.ladder(x, cutoff, np.minimum(k, 3.5), sample_rate)
    assert np.abs(y).max() < 1000
    assert not y[:, -1000:].any()


@pytest.mark.slow
@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("seed", range(10))
def test_many_more_inputs_leave_it_finite_and_it_falls_silent(sample_rate, seed):
    rng = np.random.default_rng(seed)
    n_voices, n_noise, n_samples = 2000, 1000, 4000
    x = np.zeros((n_voices, n_samples))
    x[:, :n_noise] = rng.uniform(-10, 10, (n_voices, n_noise))
    cutoff = random_cutoffs(rng, sample_rate, n_voices, n_samples)
    cutoff[:, n_noise:] = np.maximum(cutoff[:, n_noise:], 0.02 * sample_rate)
    y = kernels.ladder(x, cutoff, rng.uniform(0, 3.5, n_voices), sample_rate)
    assert np.abs(y).max() < 1000
    assert np.abs(y[:, -100:]).max() < 0.05


def test_a_cutoff_at_rest_may_be_given_once():
    x = np.random.default_rng(0).uniform(-1, 1, (40, 300))
    cutoff, k = np.linspace(50, 3900, 40), np.linspace(0, 3.9, 40)
    y = kernels.ladder(x, cutoff[:, None], k, 8000)
    np.testing.assert_array_equal(kernels.ladder(x, np.repeat(cutoff[:, None], 300, axis=1), k, 8000), y)
    np.testing.assert_array_equal(kernels.ladder(x[:1], 50.0, 0.0, 8000), y[:1])


def test_silence_and_denormals_give_silence():
    cutoff, k = product([10, 1000, 3920], [0, 3.8, 4.8])
    for level in (0.0, 1e-40, -1e-44, 1e-20):
        assert not kernels.ladder(np.full((9, 500), level), cutoff[:, None], k, 8000).any()


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("motion", ["random", "sweep", "low", "high"])
def test_a_settled_dc_input_stays_put(sample_rate, motion):
    # Not for jumps from 10 Hz to 0.49 of the rate and back at every sample: there rounding in float32 moves the output
    # by up to 1.2e-6 of the level, and close to self-oscillation (k = 3.8) by up to 4.7e-6.
    level, k = product([1e-3, 0.01, 0.1, 0.5, 1.0], [0, 1, 2, 3, 3.5, 3.8])
    n_settle, n_samples = 16000, 24000
    rng = np.random.default_rng(0)
    time = np.arange(n_samples - n_settle)
    cutoff = np.full((k.size, n_samples), 0.1 * sample_rate)
    cutoff[:, n_settle:] = {
        "random": np.exp(rng.uniform(np.log(10), np.log(0.49 * sample_rate), (k.size, time.size))),
        "sweep": 300 * 10 ** np.sin(time / 500),
        "low": 10,
        "high": 0.49 * sample_rate,
    }[motion]
    x = np.repeat(level[:, None], n_samples, axis=1)
    y = kernels.ladder(x, cutoff, k, sample_rate).astype(np.float64)[:, n_settle - 1 :]
    np.testing.assert_allclose(y[:, 0], level / (1 + k), rtol=1e-5)
    assert np.all(np.abs(y - y[:, :1]).max(axis=1) < 1e-6 * level)


def worst_error(x, cutoff, k, sample_rate):
    """Largest error of the kernel over all voices, RMS in dB under the exact output."""
    exact = ladder(x, cutoff[:, None], k, sample_rate)
    return decibels(rms(kernels.ladder(x, cutoff[:, None], k, sample_rate) - exact) / rms(exact)).max()


@pytest.mark.parametrize(("sample_rate", "duration"), [(8000, 0.12), (16000, 0.06), (44100, 0.02), (48000, 0.02)])
def test_large_signals_agree_with_the_exact_solution(sample_rate, duration):
    saw = full_scale_saw(sample_rate, duration)
    cutoff, resonance = product(
        [200, 500, 1000, 1500, 2000, 0.3 * sample_rate, 0.45 * sample_rate], [0, 0.5, 0.8, 0.95]
    )
    x = np.repeat(saw[None], cutoff.size, axis=0)
    assert worst_error(x, cutoff, 4 * resonance, sample_rate) < -60


@pytest.mark.slow
@pytest.mark.parametrize("sample_rate", RATES)
def test_large_signals_agree_with_the_exact_solution_for_long(sample_rate):
    saw = full_scale_saw(sample_rate, 0.5)
    cutoff, resonance = product(np.arange(200, 2001, 200), [0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1])
    x = np.repeat(saw[None], cutoff.size, axis=0)
    assert worst_error(x, cutoff, 4 * resonance, sample_rate) < -60


@pytest.mark.parametrize("sample_rate", RATES)
def test_the_voice_is_the_chain_of_its_parts(sample_rate):
    duration, note_duration, n_voices = 0.1, 0.06, 40
    parameters = random_parameters(MoogVoice, n_voices)
    y = MoogVoice(sample_rate, duration, note_duration).render(parameters)

    steady = {name: parameters[name] for name in ("note_number", "note_velocity")}
    saw = SawVoice(sample_rate, duration).render({**steady, "log10_decay_time": np.full(n_voices, FOREVER)})
    time = np.arange(saw.shape[1])
    stages = [
        np.maximum(parameters[f"filter_env_{stage}"] * sample_rate, 1) for stage in ("attack", "decay", "release")
    ]
    envelope = np.array(
        [
            [plain_adsr(n, attack, decay, sustain, release, note_duration * sample_rate) for n in time]
            for attack, decay, sustain, release in zip(
                stages[0], stages[1], parameters["filter_env_sustain"], stages[2], strict=True
            )
        ]
    )
    cutoff = parameters["filter_cutoff"][:, None] * 2 ** (parameters["filter_env_amount"][:, None] * envelope)
    filtered = kernels.ladder(saw, cutoff, 4 * parameters["filter_resonance"], sample_rate)
    decay = np.exp(-time / sample_rate * 10 ** -parameters["log10_decay_time"][:, None])
    assert decibels(rms(y - filtered * decay) / rms(filtered * decay)).max() < -60


def test_velocity_drives_the_filter():
    x = MoogVoice(8000, 0.2).render({"note_velocity": np.array([127.0, 12.7]), "note_number": np.full(2, 40.0)})
    quiet = 10 * x[1]
    assert rms(x[0] - quiet) > 0.05 * rms(quiet)


def test_release_begins_at_the_end_of_the_note():
    parameters = one(filter_env_amount=2.0, filter_cutoff=300.0, filter_env_release=0.05, note_number=40.0)
    held = MoogVoice(8000, 0.2).render(parameters)[0]
    released = MoogVoice(8000, 0.2, note_duration=0.1).render(parameters)[0]
    np.testing.assert_array_equal(released[:800], held[:800])
    assert rms(released[1200:]) < 0.95 * rms(held[1200:])


@pytest.mark.parametrize("factor", [2, 4])
def test_the_decimation_filter_passes_and_stops(factor):
    taps = decimation_filter(factor).astype(np.float64)
    response = np.abs(np.fft.rfft(taps, 1 << 16))
    frequency = np.fft.rfftfreq(1 << 16) * factor
    assert np.abs(decibels(response[frequency <= 0.4])).max() < 0.001
    assert decibels(response[frequency >= 0.5]).max() < -85
    np.testing.assert_array_equal(taps, taps[::-1])


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("oversample", [1, 2, 4])
def test_oversampling_keeps_level_and_timing(sample_rate, oversample):
    """Small signals again: every harmonic has the amplitude and phase that the linear filter gives it."""
    f0, cutoff, n_skip = 0.0123 * sample_rate, 0.1 * sample_rate, 2000
    voice = MoogVoice(sample_rate, (n_skip + 4000) / sample_rate, oversample=oversample)
    parameters = one(note_number=69 + 12 * np.log2(f0 / 440), note_velocity=0.127, log10_decay_time=FOREVER)
    y = voice.render({**parameters, **one(filter_cutoff=cutoff, filter_resonance=0.5)})[0].astype(np.float64)
    amplitude, _ = fit_harmonics(y[n_skip:], f0, sample_rate)
    k = np.arange(1, int(0.4 / 0.0123) + 1)
    rate = oversample * sample_rate
    saw = 1e-3 * 2 / (np.pi * k) * (-1.0) ** (k + 1) * np.exp(2j * np.pi * k * f0 / sample_rate * n_skip) / 1j
    ratio = amplitude[: k.size] / (saw * linear_response(k * f0, cutoff, 2.0, rate))
    assert np.abs(decibels(ratio)).max() < 0.1
    assert np.abs(np.angle(ratio) / (2 * np.pi * k * 0.0123)).max() < 0.01  # samples


def test_oversampling_lowers_aliasing():
    f0 = 1234.5
    parameters = one(note_number=69 + 12 * np.log2(f0 / 440), log10_decay_time=FOREVER)
    parameters |= one(filter_cutoff=2500.0, filter_resonance=0.9)
    alias = []
    for oversample in (1, 2, 4):
        y = MoogVoice(8000, 1.0, oversample=oversample).render(parameters)[0, 2000:].astype(np.float64)
        amplitude, residual = fit_harmonics(y - y.mean(), f0, 8000)
        alias.append(decibels(rms(residual) / np.abs(amplitude[0])))
    assert alias[1] < alias[0] - 6
    assert alias[2] < alias[1] - 6


def test_defaults_are_what_an_unnamed_parameter_takes():
    voice = MoogVoice(8000, 0.1)
    named = voice.render(one(**voice.defaults))
    np.testing.assert_array_equal(voice.render({}), named)
    assert voice.render(random_parameters(MoogVoice, 0)).shape == (0, 800)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"duration": -1.0}, "duration"),
        ({"note_duration": 0.0}, "note_duration"),
        ({"note_duration": float("nan")}, "note_duration"),
        ({"oversample": 3}, "oversample is 3"),
        ({"oversample": 0}, "oversample"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ConfigError, match=message):
        MoogVoice(**{"sample_rate": 8000, "duration": 0.1, **options})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("filter_cutoff", 9.0),
        ("filter_cutoff", 3921.0),
        ("filter_cutoff", float("nan")),
        ("filter_resonance", 1.01),
        ("filter_resonance", -0.1),
        ("filter_env_attack", -1.0),
        ("filter_env_sustain", 1.1),
        ("filter_env_amount", float("inf")),
        ("filter_enabled", 0.0),
        ("filter_drive", 1.0),
        ("note_number", 108.0),
    ],
)
def test_refuses_parameters(name, value):
    with pytest.raises(ConfigError, match=name):
        MoogVoice(8000, 0.1).render(one(**{name: value}))
