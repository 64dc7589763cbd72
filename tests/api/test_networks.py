"""Reading sounds from Python: the same as `predict.py`, whatever form they come in, and refused in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hydra import compose

from src import api as nsm
from src.checkpoints.run import load_run
from src.errors import CheckpointError
from src.hydra_versions import initialize_configs
from src.programs.run_dirs import register_resolvers
from src.recordings import resample
from src.tasks.predict import predict

ROOT = Path(__file__).parents[2]
RATE = 8000


@pytest.fixture(scope="session")
def wave(place):
    """The samples of a recording."""
    return soundfile.read(place / "sounds" / "a.wav")[0]


def same(one, other):
    return np.array_equal(one.values, other.values) and np.array_equal(one.interval, other.interval)


@pytest.mark.parametrize("extra", [{}, {"normalize": False}, {"peak": 0.25}])
def test_python_reads_what_the_program_reads(net, place, tmp_path, extra):
    register_resolvers()
    overrides = [f"{key}={str(item).lower()}" for key, item in extra.items()]
    fixed = [f"ckpt_path={net.path}", f"paths.output_dir={tmp_path}/out", f"paths.log_dir={tmp_path}"]
    with initialize_configs(ROOT / "configs"):
        predict(compose("predict", [*fixed, f"audio={place}/sounds", *overrides]))
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())["recordings"]
    assert net.predict(place / "sounds", **extra).to_dicts() == written


def test_refinement_is_that_of_the_program(net, place, tmp_path):
    register_resolvers()
    fixed = [f"ckpt_path={net.path}", f"paths.output_dir={tmp_path}/out", f"paths.log_dir={tmp_path}", "refine=true"]
    with initialize_configs(ROOT / "configs"):
        predict(compose("predict", [*fixed, f"audio={place}/sounds/a.wav"]))
    (written,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["recordings"]
    (found,) = net.predict(place / "sounds" / "a.wav").refine().to_dicts()
    found["refinement"]["milliseconds"] = written["refinement"]["milliseconds"]
    assert found == written


def test_a_waveform_is_read_as_its_file_is(net, place, wave):
    file = net.predict(place / "sounds" / "a.wav")
    assert same(net.predict(wave, RATE), file)
    assert same(net.predict(wave.tolist(), RATE), file)
    assert same(net.predict(torch.tensor(wave, requires_grad=True), sample_rate=float(RATE)), file)
    assert same(net.predict(np.stack([wave, wave]), RATE)[1], file)
    assert same(net.predict([wave, wave[:6000]], RATE)[0], file)
    assert same(net.predict([str(place / "sounds" / "a.wav")]), file)


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "float16", "float32"])
def test_integers_are_full_scale_of_their_type(net, wave, dtype):
    assert np.abs(wave).max() < 1
    kind = np.dtype(dtype)
    samples = wave.astype(dtype)
    if kind.kind in "iu":
        half = 2 ** (8 * kind.itemsize - 1)
        samples = np.round(wave * half + half * (kind.kind == "u")).astype(dtype)
    expected, found = (net.predict(each, RATE, normalize=False) for each in (wave, samples))
    assert np.abs(found.values - expected.values).max() < 0.2 * expected.std.max()
    assert np.allclose(found.original(), expected.original(), atol=1 / 128)


def test_any_rate_gives_the_same_values(net, wave):
    high = resample([wave], RATE, 44100)
    expected, found = net.predict(wave, RATE), net.predict(high, 44100)
    assert (np.abs(found.values - expected.values) < expected.std).all()
    assert "resampled from 44,100 to 8,000 Hz" in found.notes[0]


def test_a_batch_is_its_sounds(net, wave):
    batch = np.stack([wave, 0.5 * wave[::-1], np.random.default_rng(0).normal(size=wave.size)])
    together = net.predict(batch, RATE)
    assert len(together) == 3
    for one, waveform in zip(together, batch, strict=True):
        assert same(one, net.predict(waveform, RATE))


def test_nothing_has_gradients_and_the_network_does_not_learn(net, wave):
    answer = net.predict(torch.tensor(wave, requires_grad=True), RATE)
    assert not net.run.module.training
    assert not any(weight.requires_grad for weight in net.run.module.parameters())
    assert all(
        type(found) is np.ndarray
        for found in (answer.values, answer.std, answer.interval, answer.distance, answer.db_away)
    )


def test_samples_of_a_dataset_are_read_with_their_true_values(net, data):
    answer = net.predict(data[[60, 3, -1]])
    assert answer.names == ("test 9", "train 3", "test 12")
    assert np.allclose(answer.true_values, data[[60, 3, -1]].values)
    assert np.allclose(answer[1].values, net.predict(data[3]).values, rtol=1e-5)
    assert answer.table().header[-1] == "true"
    refined = answer.refine()
    assert np.abs(refined.values - refined.true_values).max() < np.abs(answer.values - answer.true_values).max()


@pytest.mark.parametrize(
    ("which", "found"),
    [
        (None, "last"),
        ("best", "best"),
        ("last", "the newest"),
        ("2026-01-31_12-00-00", "as asked for"),
        ("example", "complete"),
        ("logs/train/example/2026-01-31_12-00-00", "as asked for"),
        (Path("logs/train/example/2026-01-31_12-00-00/checkpoints/last.ckpt"), "checkpoint"),
    ],
)
def test_a_network_is_found_by_any_name(here, which, found):
    loaded = nsm.load(which)
    assert loaded.experiment == "example"
    assert loaded.record.complete
    assert loaded.path.is_file()
    assert found == "last" or found in loaded.why


def test_the_projects_places_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compat = Path("tests") / "data" / "compat"
    assert nsm.load(compat / "compat_a.ckpt").path == ROOT / compat / "compat_a.ckpt"
    assert len(nsm.Dataset(compat / "vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p")) > 0
    (tmp_path / compat).mkdir(parents=True)
    (tmp_path / compat / "compat_a.ckpt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="compat_a"):
        nsm.load(compat / "compat_a.ckpt")


STEREO = np.zeros((1000, 2))


@pytest.mark.parametrize(
    ("audio", "sample_rate", "message"),
    [
        (np.zeros(9000), None, "sample_rate is missing"),
        (np.zeros(9000), "44100", "sample_rate is '44100'"),
        (np.zeros(9000), 44100.5, "sample_rate is 44100.5"),
        (np.zeros(9000), 0, "sample_rate is 0"),
        (np.zeros(9000), True, "sample_rate is True"),
        (np.zeros(9000), RATE, "sound 0: is silent"),
        (np.full(9000, np.nan), RATE, "sound 0: holds samples that are not finite"),
        ([np.ones(9000), np.full(9000, np.inf)], RATE, "sound 1: holds samples that are not finite"),
        (np.full(9000, 1e20), RATE, "sound 0: holds samples of up to 1e"),
        (np.ones(100), RATE, "sound 0: is too short"),
        (np.zeros(0), RATE, "holds no samples"),
        (np.zeros((3, 0)), RATE, "holds no samples"),
        (np.zeros((2, 3, 900)), RATE, r"has the shape \(2, 3, 900\)"),
        (torch.zeros(()), RATE, r"has the shape \(\)"),
        (STEREO, RATE, r"1,000 sounds of 2 samples: time is the last axis. Transpose"),
        ([STEREO], RATE, r"has the shape \(1000, 2\)"),
        (np.zeros(9000, dtype=complex), RATE, "no real samples"),
        (np.zeros(9000, dtype=bool), RATE, "no real samples"),
        (torch.zeros(9000, dtype=torch.complex64), RATE, "no real samples"),
        (np.zeros((2, 1, 32, 32)), RATE, "give samples of a Dataset"),
        (5, RATE, r"has the shape \(\)"),
        (["sounds/a.wav", 5], RATE, "sample_rate is of waveforms"),
        ([], RATE, "audio is empty"),
        (None, RATE, "no real samples"),
        ({"a": 1}, RATE, "no real samples"),
        ([[1.0, 2.0], [1.0]], RATE, "too short"),
        (b"bytes", RATE, "no real samples"),
        ("gone.wav", None, r"gone\.wav: there is no such file"),
        ("sounds/a.wav", RATE, "sample_rate is of waveforms"),
        (["sounds/a.wav", "gone.wav"], None, r"gone\.wav: there is no such file"),
        ("logs/train/example/2026-01-31_12-00-00/results.json", None, "cannot be read as audio"),
    ],
)
def test_what_is_no_sound_is_refused_in_one_sentence(here, net, audio, sample_rate, message):
    with pytest.raises(nsm.NSMError, match=message) as caught:
        net.predict(audio, sample_rate)
    assert "\n" not in str(caught.value)


def test_what_is_no_path_or_number_is_refused_in_one_sentence(here, net, data):
    answer = net.predict(data[:2])
    for wrong, message in (
        (lambda: nsm.load(5), "run is 5; it must be a path"),
        (lambda: nsm.load("best", log_dir=5), "log_dir is 5; it must be a path"),
        (lambda: nsm.Dataset(None), "data_dir is None; it must be a path"),
        (lambda: nsm.runs(5), "log_dir is 5; it must be a path"),
        (lambda: answer.sound().save(5), "path is 5; it must be a path"),
        (lambda: answer.sound("a"), "'a' is no number of a sound"),
        (lambda: answer.original(1.5), "1.5 is no number of a sound"),
        (lambda: data.sound([1, 2]), "is no number of a sample"),
        (lambda: data.plot(channel="mel"), "'mel' is no number of a channel"),
    ):
        with pytest.raises(nsm.NSMError, match=message):
            wrong()
    assert data[:2].plot(channel=data.info.channel_labels[0])


@pytest.mark.parametrize("peak", [0, -1, 1.5, "loud", float("nan")])
def test_a_peak_that_is_none_is_refused(net, wave, peak):
    with pytest.raises(nsm.NSMError, match="peak is"):
        net.predict(wave, RATE, peak=peak)


@pytest.mark.parametrize("which", ["gone.ckpt", "exmaple", "sounds/a.wav", "data"])
def test_what_is_no_run_is_refused(here, which):
    with pytest.raises(nsm.NSMError, match=r"no such|not a checkpoint|is no checkpoint"):
        nsm.load(which)


def test_a_device_that_is_not_there_is_refused(here):
    for device in ("gpu", "xpu:7" if torch.cuda.is_available() else "cuda"):
        with pytest.raises(nsm.NSMError, match="device is"):
            nsm.load("best", device=device)


def test_another_dataset_is_refused(net):
    other = nsm.Dataset(ROOT / "tests" / "data" / "compat" / "vimh-32x64x1_8000Hz_2p0s_96dss_moog_10p")
    with pytest.raises(nsm.NSMError, match="not a dataset of this checkpoint"):
        net.predict(other[:2])


def test_a_network_of_pictures_reads_pictures_and_no_sounds(net, data, wave):
    info = net.info.model_copy(update={"generator": None, "synth_type": "none"})
    run = load_run(net.path)
    pictures = nsm.TrainedNetwork(type(run)(run.module, info, run.config, run.domain), net.path, "", None)
    answer = pictures.predict(data[:2])
    assert same(answer, net.predict(data[:2]))
    assert answer.plot()._repr_png_()
    assert "audio" not in answer._repr_html_()
    with pytest.raises(nsm.NSMError, match="no entry generator"):
        pictures.predict(wave, RATE)
    for wanted in (answer.sound, answer.refine):
        with pytest.raises(nsm.NSMError, match="does not say how"):
            wanted()
