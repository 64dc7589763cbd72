"""Networks that were trained on recordings name recordings: by frames, as packing makes them, and in every form."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hydra import compose

from scripts import to_vimh
from src import api as nsm
from src.checkpoints.run import load_run
from src.checkpoints.trusted import instantiate_trusted
from src.errors import CheckpointError, ConfigError, NSMError, VIMHError
from src.evaluation.estimates import Answers, voted
from src.hydra_versions import initialize_configs
from src.instrument.content import page_data
from src.instrument.instrument import Instrument, PlayedNetwork
from src.instrument.messages import sound_message
from src.params import ParameterSpace, ParamSpec
from src.playback import Playback
from src.programs.run_dirs import register_resolvers
from src.readings import reading
from src.readings.network import trained_on, with_hop
from src.readings.reading import read_audio
from src.recordings import AudioArray, AudioFile, RecordingError
from src.spectral.overview import overview
from src.spectral.representation import SpectralRepresentation
from src.tasks.answer_tables import overview_table
from src.tasks.audio_eval import audio_eval
from src.tasks.export import export
from src.tasks.predict import predict
from src.tasks.train import train
from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[2]
RATE, DURATION = 4000, 0.25
KINDS = ("bell", "hiss & more", "reed")
ROW = re.compile(r"\d\.\d\d s: (.+) (\d\.\d+)")


def sound_of(kind, pitch, rng):
    """A sound of a kind at a pitch, semitones above 200 Hz, a little noise below it."""
    time = np.arange(round(RATE * DURATION)) / RATE
    f0 = 200 * 2 ** (pitch / 12)
    phase = 2 * np.pi * f0 * time
    made = {
        "bell": np.sin(phase) * np.exp(-8 * time) + 0.5 * np.sin(2.76 * phase) * np.exp(-16 * time),
        "hiss & more": 0.3 * rng.standard_normal(len(time)),
        "reed": sum(np.sin(k * phase) / k for k in (1, 3, 5)),
    }[kind]
    return 0.4 * rng.uniform(0.3, 1) * made + 1e-4 * rng.standard_normal(len(time))


def write_sounds(directory, n, seed, n_notes=1):
    """So many files of each kind, of so many notes each, and a table of their kinds and pitches."""
    directory.mkdir(parents=True)
    rng, lines = np.random.default_rng(seed), ["file,kind,pitch"]
    for number in range(n):
        for kind in KINDS:
            name, pitch = f"{kind[:4]}{number}.wav", int(rng.integers(0, 13))
            soundfile.write(directory / name, np.tile(sound_of(kind, pitch, rng), n_notes), RATE, subtype="FLOAT")
            lines.append(f"{name},{kind},{pitch}")
    (directory / "labels.csv").write_text("\n".join(lines))
    return directory


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Directories: `sounds` that were packed, `new` ones to name, `data`, and where the run is."""
    root = tmp_path_factory.mktemp("recordings")
    write_sounds(root / "sounds", 80, seed=1)
    write_sounds(root / "new", 3, seed=2, n_notes=3)
    (root / "new" / "labels.csv").unlink()
    packed = ["audio", root / "sounds", "--csv", root / "sounds" / "labels.csv", "--number", "pitch=1,0,12"]
    packed += ["--units", "pitch=semitones", "--sample-rate", RATE, "--frame", DURATION, "--representation", "mel"]
    settings = ["--set", "height=16", "--set", "width=16", "--set", "win_length=128", "--output", root / "data"]
    assert to_vimh.main([*map(str, packed + settings)]) == 0
    return root


@pytest.fixture(scope="module")
def run_dir(place, compose_run):
    directory = place / "run"
    settings = ["model=cnn_micro", "data.batch_size=16", "trainer.max_epochs=20", "data.make_dataset=null", "seed=1"]
    quiet = ["trainer.log_every_n_steps=1", "logger=csv", "callbacks.early_stopping=null"]
    train(compose_run(directory, f"data.data_dir={place}/data", *settings, *quiet))
    return directory


@pytest.fixture(scope="module")
def ckpt_path(run_dir):
    return run_dir / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def run(ckpt_path):
    return load_run(ckpt_path)


@pytest.fixture(scope="module")
def trained(run):
    return trained_on(run)


@pytest.fixture(scope="module")
def net(ckpt_path):
    return nsm.load(ckpt_path)


@pytest.fixture
def options(ckpt_path, tmp_path):
    register_resolvers()

    def compose_with(name, *overrides):
        fixed = [f"ckpt_path={ckpt_path}", f"paths.output_dir={tmp_path}/out", f"paths.log_dir={tmp_path}"]
        with initialize_configs(ROOT / "configs"):
            return compose(name, [*fixed, *overrides])

    return compose_with


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def kind_of(name):
    return next(kind for kind in KINDS if name.startswith(kind[:4]))


# ----- frames


def test_a_recording_becomes_the_images_that_packing_made_of_it(trained, place):
    reader = VIMHReader(place / "data")
    stored = {image.tobytes() for part in ("train", "test") for image in reader.split(part)[:].image}
    for path in sorted((place / "sounds").glob("*1.wav")):
        (frame,) = read_audio(AudioFile.open(path), trained).frames
        assert frame.image.tobytes() in stored


def test_frames_begin_every_hop_and_are_read_as_recordings_of_their_own(trained, place):
    path = place / "new" / "bell0.wav"
    samples = soundfile.read(path)[0]
    frames = read_audio(AudioFile.open(path), with_hop(trained, DURATION / 2)).frames
    assert [frame.recording.onset for frame in frames] == pytest.approx(np.arange(5) * DURATION / 2)
    for frame in frames:
        begin = round(RATE * frame.recording.onset)
        piece = AudioArray(Path("piece"), RATE, 1, False, samples[begin : begin + round(RATE * DURATION)])
        (alone,) = read_audio(piece, trained).frames
        assert np.array_equal(alone.image, frame.image)
        assert np.allclose(alone.probabilities["kind"], frame.probabilities["kind"], atol=1e-6)


def test_more_frames_than_memory_is_meant_for_are_refused(trained, place, monkeypatch):
    monkeypatch.setattr(reading, "MOST_SAMPLES", 4 * round(RATE * DURATION))
    file = AudioFile.open(place / "new" / "bell0.wav")
    assert len(read_audio(file, with_hop(trained, DURATION)).frames) == 3
    with pytest.raises(RecordingError, match=r"bell0\.wav: makes 5 frames of 0\.25 s, together more"):
        read_audio(file, with_hop(trained, DURATION / 2))


def test_of_a_set_of_whole_files_the_beginning_is_read(trained, place):
    path = place / "new" / "bell0.wav"
    whole = replace(trained, framing=replace(trained.framing, hop=None, silence=None))
    one = read_audio(AudioFile.open(path), whole)
    assert len(one.frames) == 1
    assert one.notes == ("cut after 0.25 s",)
    assert np.array_equal(one.waveform, soundfile.read(path, dtype="float32")[0][: round(RATE * DURATION)])
    short = AudioArray(Path("short"), RATE, 1, False, soundfile.read(path)[0][:600])
    assert read_audio(short, whole).notes == ("0.150 s long, the rest is silence",)
    assert len(read_audio(AudioFile.open(path), with_hop(whole, DURATION)).frames) == 3


def test_the_level_stays_as_it_is_unless_a_peak_is_asked_for(trained, place):
    path = place / "new" / "reed0.wav"
    samples = soundfile.read(path)[0]
    loud, soft = (AudioArray(Path("sound"), RATE, 1, False, gain * samples) for gain in (1.0, 0.125))
    assert read_audio(loud, trained).gain_db == read_audio(soft, trained).gain_db == 0
    assert not np.array_equal(read_audio(loud, trained).spec_range, read_audio(soft, trained).spec_range)
    one, other = (read_audio(sound, trained, peak=0.5) for sound in (loud, soft))
    assert np.abs(one.frames[0].waveform).max() <= 0.5 + 1e-6
    assert np.array_equal(one.image, other.image)
    assert other.gain_db - one.gain_db == pytest.approx(20 * np.log10(8))
    assert "gain" in other.notes[-1]


# ----- votes


def space_of(*specs):
    return ParameterSpace(specs)


def test_frames_vote_by_the_mean_of_their_log_probabilities():
    space = space_of(ParamSpec("kind", 0, 2, 1, names=("a", "b", "c")), ParamSpec("angle", 0.0, 10.0, 0.5))
    shares = np.array([[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.2, 0.7, 0.1]])
    value, std = np.array([[0, 2.0], [1, 4.0], [1, 8.0]]), np.array([[1, 1.0], [1, 2.0], [1, 0.5]])
    together = voted(Answers(value, std, {"kind": shares}), space)
    geometric = shares.prod(axis=0) ** (1 / 3)
    assert np.allclose(together.probabilities["kind"], geometric / geometric.sum())
    assert together.value[0, 0] == np.argmax(geometric)
    weight = std[:, 1] ** -2.0
    assert together.value[0, 1] == pytest.approx((weight @ value[:, 1]) / weight.sum())
    assert together.std[0, 1] == pytest.approx(weight.mean() ** -0.5)


def test_one_frame_and_equal_frames_say_what_one_says():
    space = space_of(ParamSpec("kind", 0, 1, 1, names=("a", "b")), ParamSpec("angle", 0.0, 10.0, 0.5))
    one = Answers(np.array([[1, 3.25]]), np.array([[0.3, 0.7]]), {"kind": np.array([[0.25, 0.75]])})
    many = Answers(*(np.repeat(part, 5, axis=0) for part in one[:2]), {"kind": np.repeat([[0.25, 0.75]], 5, axis=0)})
    for answers in (one, many):
        together = voted(answers, space)
        assert np.allclose(together.value, one.value)
        assert np.allclose(together.std, one.std)
        assert np.allclose(together.probabilities["kind"], one.probabilities["kind"])


# ----- the program


def test_recordings_of_one_name_in_two_directories_are_told_apart(place, options, tmp_path, capsys):
    recording = sorted((place / "new").iterdir())[0]
    for kind in ("high", "low"):
        (tmp_path / "in" / kind).mkdir(parents=True)
        shutil.copy(recording, tmp_path / "in" / kind / "1.wav")
    predict(options("predict", f"audio={tmp_path}/in/*/*.wav"))
    shown, page = capsys.readouterr().out, (tmp_path / "out" / "index.html").read_text()
    for name in ("high/1.wav", "low/1.wav"):
        assert re.search(rf"^{name} ", shown, re.MULTILINE) and f'"name":"{name}"' in page


def test_recordings_are_named_in_every_form(place, options, tmp_path, capsys):
    predict(options("predict", f"audio={place}/new"))
    plain = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(plain["recordings"]) == 9
    rows, frames = (rows_of(tmp_path / "out" / name) for name in ("predictions.csv", "frames.csv"))
    page = (tmp_path / "out" / "index.html").read_text()
    shown = capsys.readouterr().out
    for row, entry in zip(rows, plain["recordings"], strict=True):
        name = Path(entry["file"]).name
        kind, pitch = entry["parameters"]["kind"], entry["parameters"]["pitch"]
        assert kind["value"] == kind_of(name) == row["kind"]
        assert kind["probability"] == max(kind["probabilities"].values())
        assert sum(kind["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert float(row["kind_probability"]) == pytest.approx(kind["probability"], rel=1e-5)
        assert float(row[f"kind={kind['value']}"]) == pytest.approx(kind["probability"], rel=1e-5)
        assert float(row["pitch_low"]) <= float(row["pitch"]) <= float(row["pitch_high"])
        assert pitch["units"] == "semitones"
        own = [frame for frame in frames if frame["file"] == entry["file"]]
        assert (
            [float(frame["start"]) for frame in own] == [frame["start"] for frame in entry["frames"]] == [0, 0.25, 0.5]
        )
        logs = np.log([[float(frame[f"kind={one}"]) for one in KINDS] for frame in own]).mean(axis=0)
        shares = np.exp(logs - logs.max())
        assert [kind["probabilities"][one] for one in KINDS] == pytest.approx(shares / shares.sum(), rel=1e-3, abs=1e-6)
        assert name in page
        assert name in shown
    assert "hiss &amp; more" in page
    assert "<b>" not in page.partition("<main>")[2].partition("</main>")[0]
    assert max(len(line) for line in shown.splitlines() if str(tmp_path) not in line) <= 80


def test_unknown_sounds_are_far_and_others_are_not(trained, place):
    known = [read_audio(AudioFile.open(path), trained) for path in sorted((place / "new").glob("*.wav"))]
    assert np.mean([found.zone == "inside" for found in known]) >= 0.7
    assert not any(found.zone == "far" for found in known)
    time = np.arange(round(RATE * DURATION)) / RATE
    clicks = np.where(np.arange(len(time)) % 250 == 0, 0.5, 0.0)
    chirp = 0.3 * np.sin(2 * np.pi * (1900 * time - 3200 * time**2))
    for strange in (clicks, chirp):
        assert read_audio(AudioArray(Path("strange"), RATE, 1, False, strange), trained).zone == "far"


def test_a_table_has_a_line_a_file_and_as_many_parameters_as_fit(net, place):
    entries = net.predict(place / "new").to_dicts()
    for width in (40, 80, 120):
        table, n_left = overview_table(entries, width)
        assert table.row_count == len(entries)
        assert n_left == 0 if width >= 80 else n_left >= 0
    distances = [entry["distance"] for entry in entries]
    table, _ = overview_table(entries, 80)
    assert [*table.columns[0].cells] == [Path(entries[n]["file"]).name for n in np.argsort(distances, kind="stable")]


@pytest.mark.parametrize(
    ("program", "overrides", "message"),
    [
        (predict, ("predict", "audio=SOUND", "refine=true"), "refine=true: .* is a set of recordings"),
        (predict, ("predict", "audio=SOUND", "hop=0"), "hop is 0"),
        (predict, ("predict", "audio=SOUND", "hop=1e-9"), "hop"),
        (audio_eval, ("audio_eval",), "is a set of recordings, and no synth renders its labels"),
    ],
)
def test_what_such_a_network_cannot_do_is_refused_in_a_sentence(options, place, tmp_path, program, overrides, message):
    cfg = options(*(text.replace("SOUND", f"{place}/new/bell0.wav") for text in overrides))
    with pytest.raises(ConfigError, match=message) as caught:
        program(cfg)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_network_of_synthesized_sounds_has_no_hop(trained_run, place):
    with pytest.raises(ConfigError, match=r"hop=0\.5 is of networks that were trained on recordings"):
        with_hop(trained_on(load_run(trained_run.run_dir / "checkpoints" / "last.ckpt")), 0.5)


def changed(run, **source):
    """The run with other keys of its dataset's `source`."""
    extra = run.info.model_extra["source"] | source
    return replace(run, info=run.info.model_copy(update={"source": extra}))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ({"representation": None}, VIMHError, "does not say how recordings became its images"),
        ({"channels": 3}, VIMHError, "does not say how recordings became its images"),
        ({"representation": {"_target_": "os.system", "command": "true"}}, VIMHError, "have to agree"),
        ({"hop": "often"}, ConfigError, "hop"),
        ({"silence": -1}, ConfigError, "silence"),
        ({"kind": "images"}, VIMHError, "no recordings as its source"),
    ],
)
def test_a_source_that_says_too_little_is_refused(run, source, error, message):
    with pytest.raises(error, match=message):
        trained_on(changed(run, **source))


def test_a_source_may_name_no_class_beyond_the_list(run):
    stated = run.info.model_extra["source"]["representation"]
    with pytest.raises(CheckpointError, match="not on the list of a representation"):
        trained_on(changed(run, representation=stated | {"_target_": "os.system"}))
    with pytest.raises(VIMHError, match="makes images of"):
        trained_on(changed(run, representation=stated | {"width": 8}))


# ----- Python


def test_python_says_what_the_program_writes(net, place, options, tmp_path):
    predict(options("predict", f"audio={place}/new", f"hop={DURATION / 2}"))
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())["recordings"]
    answer = net.predict(place / "new", hop=DURATION / 2)
    assert answer.to_dicts() == written
    assert answer["kind"].tolist() == [entry["parameters"]["kind"]["value"] for entry in written]
    assert answer.probabilities["kind"].shape == (9, 3)
    frames = answer.frames(0)
    assert len(frames) == 5
    assert frames.names[1].endswith("bell0.wav, 0.12 s")
    assert len(frames.frames(0)) == 0


def test_an_answer_shows_itself_without_a_synth(net, place):
    answer = net.predict(place / "new" / "bell0.wav")
    assert "probability" in answer.table().header[2] or "prob." in answer.table().header[2]
    assert "bell" in repr(answer)
    assert answer.plot()._repr_png_()
    assert "audio" not in answer._repr_html_() or answer.original() is not None
    assert len(answer.original()) == round(3 * RATE * DURATION)
    assert {"kind", "kind_probability", "pitch_low"} <= set(answer.to_dataframe().columns)
    for wanted in (answer.sound, answer.refine):
        with pytest.raises(NSMError, match="does not say how its sounds are rendered"):
            wanted()


# ----- ONNX


@pytest.mark.slow
def test_the_recording_of_the_documentation_goes_through_numpy(ckpt_path, net, place, tmp_path, monkeypatch, capsys):
    register_resolvers()
    paths = [f"paths.{name}={tmp_path}" for name in ("root_dir", "log_dir", "output_dir", "work_dir")]
    with initialize_configs(ROOT / "configs"):
        export(compose("export", [*paths, f"ckpt_path={ckpt_path}", f"output={tmp_path}/model.onnx", "repeats=1"]))
    _, code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), flags=re.DOTALL)
    assert not re.search(r"^(import|from) (?!json|numpy|onnxruntime|soundfile)", code, flags=re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    for path in sorted((place / "new").glob("*0.wav")):
        shutil.copy(path, tmp_path / "recording.wav")
        capsys.readouterr()
        exec(compile(code, "docs/export.md", "exec"), {})
        first, *frames = capsys.readouterr().out.splitlines()
        answer = net.predict(path)
        expected = answer.to_dicts()[0]["parameters"]["kind"]
        assert first == f"kind: {expected['value']} {first.split()[-1]}"
        assert float(first.split()[-1]) == pytest.approx(expected["probability"], abs=2e-3)
        assert len(frames) == len(answer.frames())
        for line, one in zip(frames, answer.frames(), strict=True):
            name, share = ROW.search(line).groups()
            assert name == one["kind"][0]
            assert float(share) == pytest.approx(one.probabilities["kind"].max(), abs=2e-3)


# ----- as a stranger does it


@pytest.mark.slow
def test_from_a_folder_of_recordings_to_names_takes_three_commands(place, tmp_path):
    for path in sorted((place / "sounds").glob("*.wav")):
        (tmp_path / "sounds" / kind_of(path.name)).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "sounds" / kind_of(path.name))
    packed = ["--sample-rate", RATE, "--frame", DURATION, "--representation", "mel", "--output", tmp_path / "data"]
    packed += ["--label", "kind", "--set", "height=16", "--set", "width=16", "--set", "win_length=128"]
    logs = [f"paths.log_dir={tmp_path}/logs", "trainer.accelerator=cpu"]
    commands = [
        ["scripts/to_vimh.py", "audio", tmp_path / "sounds", *packed],
        ["src/train.py", f"data.data_dir={tmp_path}/data", "model=cnn_micro", "trainer.max_epochs=20", *logs],
        ["src/predict.py", f"audio={place}/new", f"paths.log_dir={tmp_path}/logs", f"hydra.run.dir={tmp_path}/out"],
    ]
    for command in commands:
        line = [sys.executable, *map(str, command)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert len(rows) == 9
    assert np.mean([row["kind"] == kind_of(Path(row["file"]).name) for row in rows]) > 0.8
    assert all(Path(row["file"]).name in done.stdout for row in rows)


# ----- the picture of a whole recording


@pytest.mark.parametrize("seconds", [0.01, 1.0, 7.3])
@pytest.mark.parametrize("mel", [None, {"f_min": 50.0}])
def test_a_whole_recording_is_one_spectrogram_of_no_more_columns_than_asked_for(seconds, mel):
    representation = SpectralRepresentation(
        sample_rate=8000, duration=0.5, height=32, width=16, win_length=256, n_fft=256, mel=mel
    )
    time = torch.arange(round(8000 * seconds)) / 8000
    found = overview(representation, torch.sin(2 * torch.pi * 1000 * time), 40)
    assert found.db.shape[0] == 32
    assert 1 <= found.db.shape[1] <= 40
    begin, end = found.ends
    assert begin < 0.02
    assert end > seconds - 256 / 8000
    if seconds >= 1 and mel is None:
        middle = found.db[:, found.db.shape[1] // 2]
        assert int(middle.argmax()) == 31  # bin 32 of 31.25 Hz each
        assert float(middle.max()) == pytest.approx(0, abs=0.1)


# ----- played


def test_a_network_of_recordings_listens_to_sounds_that_are_sent_and_no_synth_plays(trained, place):
    reader = VIMHReader(place / "data")
    playback = Playback(reader.info, instantiate_trusted)
    network = PlayedNetwork("cnn", "run", trained)
    instrument = Instrument(trained.run.info, None, [network], reader.test, playback)
    path = sorted((place / "new").glob("*.wav"))[0]
    audio = AudioFile.open(Path(path.name), path.read_bytes())
    sound = instrument.listen(audio, {})
    expected = read_audio(AudioFile.open(path), trained)
    np.testing.assert_array_equal(sound.readings[0].value, expected.value)
    np.testing.assert_array_equal(sound.picture.image, expected.image)
    noisy = instrument.listen(audio, {"noise": {"ratio": 0.0}})
    assert len(noisy.readings[0].frames) == len(expected.frames)
    for played in (sound, noisy, instrument.recall(0, {})):
        assert len(sound_message(1, instrument, played)) > played.waveform.nbytes
    np.testing.assert_array_equal(instrument.recall(0, {}).picture.image, reader.test.read(np.array([0])).image[0])
    for refused in (lambda: instrument.play(reader.info.space.low, {}), lambda: instrument.refinement(sound)):
        with pytest.raises(ConfigError, match="No synth renders"):
            refused()
    data = page_data(instrument, 1, True)
    assert (data["has_synth"], data["n_test"] > 0, len(data["networks"])) == (False, True, 1)
    assert len(list(instrument.warm_up())) == 3
