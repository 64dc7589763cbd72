import copy
import csv
import json
import math
import os
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

from scripts.faults.recordings import odd_recordings
from src.checkpoints.run import load_run
from src.checkpoints.trusted import instantiate_trusted
from src.errors import CheckpointError, ConfigError, VIMHError
from src.hydra_versions import initialize_configs
from src.models.predictor import Predictor
from src.programs.arguments import hydra_arguments
from src.programs.run_dirs import register_resolvers
from src.readings import reading
from src.readings.network import acts_on_level_alone, trained_on
from src.readings.reading import held_together, joint_scale_of, read_audio, read_parameters
from src.readings.words import describe
from src.recipe import Recipe
from src.recordings import AudioFile, read_recording, resample
from src.tasks import answer_tables, exhibits
from src.tasks.predict import in_project, predict
from src.text import name_of
from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[2]
N = 4


@pytest.fixture(scope="session")
def recipe(saw_dir):
    return Recipe.from_config(VIMHReader(saw_dir).info.generator["config"], instantiate_trusted)


@pytest.fixture(scope="session")
def samples(saw_dir):
    """The first test samples of the dataset."""
    return VIMHReader(saw_dir).split("test").read(np.arange(N))


@pytest.fixture
def sounds(recipe, samples, tmp_path):
    """A directory with the sounds of these samples, exact to the bit."""
    directory = tmp_path / "sounds"
    directory.mkdir()
    for number, waveform in enumerate(recipe.render(samples.value)):
        soundfile.write(directory / f"{number}.wav", waveform, recipe.synth.sample_rate, subtype="FLOAT")
    return directory


@pytest.fixture
def compose_predict(ckpt_path, tmp_path):
    register_resolvers()

    def compose_with(*overrides):
        fixed = [f"ckpt_path={ckpt_path}", f"paths.output_dir={tmp_path}/out", f"paths.log_dir={tmp_path}"]
        with initialize_configs(ROOT / "configs"):
            return compose("predict", [*fixed, *overrides])

    return compose_with


def predictions(tmp_path):
    return json.loads((tmp_path / "out" / "predictions.json").read_text())


def test_the_sounds_of_a_dataset_are_read_as_its_images_are(run, samples, sounds, compose_predict, tmp_path):
    predict(compose_predict(f"audio={sounds}", "normalize=false"))
    found = predictions(tmp_path)["recordings"]
    image, aux = torch.from_numpy(samples.image), torch.from_numpy(samples.spec_range.copy())
    value, std = Predictor(run.module)(image, aux)
    for p, spec in enumerate(run.info.parameters):
        said = [entry["parameters"][spec.name] for entry in found]
        assert [entry["value"] for entry in said] == pytest.approx(value[:, p].tolist(), abs=1e-4 * spec.range)
        assert [entry["std"] for entry in said] == pytest.approx(std[:, p].tolist(), rel=1e-3)


def test_gain_rate_channels_and_silence_before_a_sound_change_little(recipe, sounds, compose_predict, tmp_path):
    rate = 44100
    for path in sorted(sounds.glob("*.wav")):
        waveform = resample([soundfile.read(path)[0]], recipe.synth.sample_rate, rate)
        both = np.stack([np.pad(0.1 * waveform, (9000, 0))] * 2, axis=1)
        soundfile.write(path.with_suffix(".flac"), both, rate, subtype="PCM_24")
    predict(compose_predict(f"audio={sounds}"))
    entries = {Path(entry["file"]).name: entry for entry in predictions(tmp_path)["recordings"]}
    for number in range(N):
        near, far = entries[f"{number}.wav"], entries[f"{number}.flac"]
        assert far["gain_db"] - near["gain_db"] == pytest.approx(20, abs=0.2)
        assert far["onset"] == pytest.approx(9000 / rate, abs=1e-3)
        for name, parameter in near["parameters"].items():
            assert abs(far["parameters"][name]["value"] - parameter["value"]) < parameter["std"]


def test_outputs_are_all_there(recipe, sounds, compose_predict, tmp_path, capsys):
    predict(compose_predict(f"audio={sounds}", "refine=true"))
    out = tmp_path / "out"
    page = (out / "index.html").read_text()
    assert all(f"{number}.wav" in page for number in range(N))
    assert '"sides":["Recording","Refined","Unrefined"]' in page
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, entry in zip(rows, predictions(tmp_path)["recordings"], strict=True):
        assert row["file"] == entry["file"]
        for name, parameter in entry["parameters"].items():
            assert float(row[name]) == pytest.approx(parameter["value"])
            assert float(row[f"{name}_std"]) == pytest.approx(parameter["std"], rel=1e-5)
            assert parameter["low"] <= parameter["value"] <= parameter["high"]
            ends = [float(row[f"{name}_{end}"]) for end in ("low", "high")]
            assert ends == pytest.approx([parameter["low"], parameter["high"]], rel=1e-5)
        assert entry["refinement"]["residual"] <= entry["refinement"]["residual_before"]
    for number in range(N):
        waveform, rate = soundfile.read(out / "wav" / f"{number + 1:03d}_{number}.wav")
        assert (rate, len(waveform)) == (recipe.synth.sample_rate, recipe.representation.n_samples)
    printed = capsys.readouterr().out
    assert all(str(out / name) in printed for name in ("predictions.json", "wav", "index.html"))


def test_a_path_is_shown_as_seen_from_the_project_if_it_is_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert in_project(ROOT / "logs" / "last.ckpt") == "logs/last.ckpt"
    assert in_project(tmp_path / "last.ckpt") == str(tmp_path / "last.ckpt")


def test_refinement_finds_the_parameters_of_a_sound_of_any_gain(samples, sounds, run, compose_predict, tmp_path):
    predict(compose_predict(f"audio={sounds}", "refine=true"))
    for number, entry in enumerate(predictions(tmp_path)["recordings"]):
        for p, spec in enumerate(run.info.parameters):
            if not entry["parameters"][spec.name]["level_only"]:
                assert abs(entry["parameters"][spec.name]["value"] - samples.value[number, p]) < 0.2 * spec.step


def test_what_acts_on_level_alone_is_known(run):
    trained = trained_on(run)
    names = [spec.name for spec in run.info.parameters]
    assert dict(zip(names, trained.level_only, strict=True)) == {name: name == "note_velocity" for name in names}


def test_velocity_that_drives_a_filter_does_more_than_level():
    with initialize_configs(ROOT / "configs"):
        cfg = compose("synth/generate_moog_basic")
    moog = Recipe.from_config(cfg, instantiate_trusted)
    known = moog.values(0, 4)
    assert not any(acts_on_level_alone(moog, known, p) for p in range(known.shape[1]))


def test_sounds_of_the_dataset_are_in_the_domain_and_noise_is_not(sounds, run, compose_predict, tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(sounds / "noise.wav", 0.1 * rng.standard_normal(16000), 16000)
    predict(compose_predict(f"audio={sounds}"))
    *inside, noise = predictions(tmp_path)["recordings"]
    assert noise["file"].endswith("noise.wav")
    assert noise["zone"] != "inside"
    assert noise["distance"] > 3 * max(entry["distance"] for entry in inside)
    assert noise["db_away"] > max(entry["db_away"] for entry in inside)
    assert sum(entry["zone"] == "inside" for entry in inside) >= N - 1


def test_what_is_no_sound_is_skipped_named_and_counted(sounds, compose_predict, tmp_path, capsys, caplog):
    (sounds / "text.wav").write_text("no sound")
    soundfile.write(sounds / "silent.wav", np.zeros(8000), 8000)
    predict(compose_predict(f"audio={sounds}"))
    assert f"Not read:    2 of {N + 2} recordings" in capsys.readouterr().out
    assert [record.message.split(": ")[1][:9] for record in caplog.records if "Skipped" in record.message] == [
        "is silent",
        "cannot be",
    ]
    found = predictions(tmp_path)
    assert len(found["recordings"]) == N
    assert sorted(Path(name).name for name in found["skipped"]) == ["silent.wav", "text.wav"]


def test_nothing_is_written_where_nothing_was_read(compose_predict, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ConfigError, match="1 of 1 recordings were skipped"):
        predict(compose_predict(f"audio={tmp_path}/text.wav"))
    assert not (tmp_path / "out").exists()


def test_every_odd_recording_is_read_or_named(compose_predict, tmp_path, capsys):
    found = odd_recordings(tmp_path / "odd", seed=1, n=14)
    predict(compose_predict(f"audio={tmp_path}/odd"))
    plain = predictions(tmp_path)
    read, skipped = {entry["file"] for entry in plain["recordings"]}, plain["skipped"]
    assert read | skipped.keys() == {name_of(path) for path, _ in found}
    assert len(read) + len(skipped) == len(found)
    for path, expected in found:
        assert expected in (None, "read" if name_of(path) in read else "skipped")
    assert all(math.isfinite(value) for entry in plain["recordings"] for value in numbers_of(entry))
    for name in ("predictions.csv", "index.html", "predictions.json"):
        (tmp_path / "out" / name).read_bytes().decode("utf-8", "strict")
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        assert {row["file"] for row in csv.DictReader(file)} == read
    assert len(list((tmp_path / "out" / "wav").iterdir())) == len(read)
    capsys.readouterr().out.encode()


def numbers_of(entry):
    return [parameter[key] for parameter in entry["parameters"].values() for key in ("value", "std", "low", "high")]


NAMES = [b"caf\xe9.wav", b"[/b].wav", b"a\nb.wav", b"\x1b[31mred.wav", b"<b>.wav", b"x" * 251 + b".wav"]
NAMES += ["日本 🎹.wav".encode(), b"${x}=$HOME,a\\b.wav"]


def test_any_name_is_read_and_written(sounds, compose_predict, tmp_path, capsys):
    directory = tmp_path / "odd"
    paths = sorted(Path(os.fsdecode(os.fsencode(directory) + b"/" + name)) for name in NAMES)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sounds / "0.wav", path)
    bad = directory / os.fsdecode(b"bad \xff.wav")
    bad.write_text("no sound")
    predict(compose_predict(f"audio={directory}/**/*.wav"))
    found = predictions(tmp_path)
    assert [entry["file"] for entry in found["recordings"]] == [name_of(path) for path in paths]
    assert list(found["skipped"]) == [name_of(bad)]
    printed = capsys.readouterr().out
    shown = answer_tables.short_names([name_of(path) for path in paths], answer_tables.LONGEST_NAME)
    assert all(name in printed for name in shown)
    assert len(set(shown)) == len(paths)
    assert "\x1b[31m" not in printed
    assert len([wav.name.encode("utf-8") for wav in (tmp_path / "out" / "wav").iterdir()]) == len(paths)


@pytest.mark.parametrize(
    ("module", "where", "error"),
    [
        (reading, "cut_to_sound", OSError(5, "Input/output error")),
        (reading, "read_parameters", MemoryError()),
        (exhibits, "resynthesize", RuntimeError("a bug")),
    ],
)
def test_whatever_goes_wrong_with_one_recording_the_others_are_read(
    sounds, compose_predict, tmp_path, monkeypatch, caplog, module, where, error
):
    right = getattr(module, where)

    def wrong_for_one(*args):
        if getattr(args[0], "recording", args[0]).path.name == "2.wav":
            raise error
        return right(*args)

    monkeypatch.setattr(module, where, wrong_for_one)
    predict(compose_predict(f"audio={sounds}"))
    found = predictions(tmp_path)
    assert [Path(entry["file"]).name for entry in found["recordings"]] == ["0.wav", "1.wav", "3.wav"]
    (reason,) = found["skipped"].values()
    assert reason.startswith(f"{sounds}/2.wav: cannot be used: {type(error).__name__}")
    assert [record.getMessage() for record in caplog.records if "Skipped" in record.message] == [f"Skipped {reason}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compat_a", "compat_b"])
def test_what_a_network_reads_does_not_depend_on_the_codec(name, tmp_path):
    trained = trained_on(load_run(ROOT / "tests" / "data" / "compat" / f"{name}.ckpt"))
    synth, space = trained.recipe.synth, trained.run.info.space
    rng = np.random.default_rng(5)
    sounds = trained.recipe.render(space.value_from_normalized(rng.random((50, len(space.varying)))))
    forms = {"wav": "FLOAT", "flac": "PCM_16", "mp3": "MPEG_LAYER_III", "ogg": "VORBIS", "opus": "OPUS"}
    values = {ending: [] for ending in forms}
    for sound in sounds:
        waveform = np.pad(sound * 0.5 / np.abs(sound).max(), (round(rng.uniform(0.1, 0.3) * synth.sample_rate), 0))
        for ending, subtype in forms.items():
            path = tmp_path / f"sound.{ending}"
            form = "OGG" if ending == "opus" else ending
            soundfile.write(path, waveform, synth.sample_rate, format=form, subtype=subtype)
            values[ending].append(read_audio(AudioFile.open(path), trained).value)
    for ending in ("flac", "mp3", "ogg", "opus"):
        steps = np.abs(np.array(values[ending]) - np.array(values["wav"])) / space.step
        assert np.median(steps, axis=0).max() < 0.5, ending


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "Name either"),
        (["audio=''"], "Name either"),
        (["audio=x.wav", "dataset=here"], "Name either"),
        (["audio=gone.wav"], r"gone\.wav: there is no such file"),
        (["dataset=gone"], "gone"),
    ],
)
def test_a_command_that_cannot_be_followed_says_why(compose_predict, overrides, message):
    with pytest.raises((ConfigError, VIMHError), match=message):
        predict(compose_predict(*overrides))


@pytest.mark.parametrize("peak", [0, -1, 1.5, "loud"])
def test_a_peak_that_is_none_is_refused(sounds, compose_predict, peak):
    with pytest.raises(ConfigError, match="peak is"):
        predict(compose_predict(f"audio={sounds}", f"peak={peak}"))


def test_the_peak_is_what_was_asked_for(run, sounds):
    trained = trained_on(run)
    synth = trained.recipe.synth
    recording = read_recording(sounds / "0.wav", synth.sample_rate, synth.duration, trained.lead)
    assert np.abs(read_parameters(recording, trained, 0.25).waveform).max() == pytest.approx(0.25)
    assert read_parameters(recording, trained, None).gain_db == 0


def test_an_unknown_gain_widens_the_error_bars(run, sounds):
    trained = trained_on(run)
    synth = trained.recipe.synth
    recording = read_recording(sounds / "0.wav", synth.sample_rate, synth.duration, trained.lead)
    peak = float(np.abs(recording.waveform).max())
    known, unknown = read_parameters(recording, trained, None), read_parameters(recording, trained, peak)
    for p, spec in enumerate(run.info.parameters):
        joins = spec.range / 12**0.5 if trained.level_only[p] else known.by_gain[p] * spec.step
        assert unknown.std[p] == pytest.approx(np.hypot(known.std[p], joins), rel=1e-6)


def test_a_dataset_is_predicted_as_csv(run, saw_dir, compose_predict, tmp_path):
    predict(compose_predict(f"dataset={saw_dir}"))
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    split = VIMHReader(saw_dir).split("test")
    stored = split.read(np.arange(len(split)))
    with torch.inference_mode():
        value, std = Predictor(run.module)(torch.from_numpy(stored.image), torch.from_numpy(stored.spec_range.copy()))
    assert [int(row["sample"]) for row in rows] == list(range(len(split)))
    for p, spec in enumerate(run.info.parameters):
        for name, expected in ((spec.name, value), (f"{spec.name}_std", std), (f"{spec.name}_true", stored.value)):
            assert np.allclose([float(row[name]) for row in rows], expected[:, p], rtol=1e-4)


def test_a_dataset_that_does_not_say_how_its_images_were_made_is_read_but_no_recording(run):
    info = run.info.model_copy(update={"generator": None})
    with pytest.raises(VIMHError, match=r"no entry generator.*dataset=DIR"):
        trained_on(type(run)(run.module, info, run.config))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--no-normalize", "refine=true"], ["normalize=false", "refine=true"]),
        (["--peak=0.5"], ["peak=0.5"]),
        (["--peak", "0.5"], ["peak=0.5"]),
        (["audio=a (1), b.wav"], ['audio="a (1), b.wav"']),
        (['audio="quoted"'], ['audio="quoted"']),
        (["dataset=null"], ["dataset=null"]),
        (["--help"], ["--help"]),
    ],
)
def test_what_hydra_would_not_take_becomes_what_it_does(arguments, expected):
    flags = {"--peak": "peak", "--no-normalize": "normalize=false"}
    assert hydra_arguments(arguments, paths=("audio", "dataset"), flags=flags) == expected


@pytest.mark.slow
def test_the_program_takes_a_name_with_anything_in_it(ckpt_path, sounds, tmp_path):
    odd = tmp_path / "a (1), b=c [x].wav"
    shutil.copy(sounds / "0.wav", odd)
    command = [sys.executable, "src/predict.py", f"audio={odd}", f"ckpt_path={ckpt_path}", "--peak", "0.5"]
    done = subprocess.run([*command, f"hydra.run.dir={tmp_path}/out"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert predictions(tmp_path)["recordings"][0]["file"] == str(odd)


@pytest.mark.slow
def test_the_program_ends_with_0_where_something_was_read_and_with_2_where_nothing_was(ckpt_path, sounds, tmp_path):
    (sounds / "text.wav").write_text("no sound")
    command = [sys.executable, "src/predict.py", f"ckpt_path={ckpt_path}", f"hydra.run.dir={tmp_path}/out"]
    some, none = (
        subprocess.run([*command, f"audio={audio}"], cwd=ROOT, capture_output=True, text=True)
        for audio in (sounds, sounds / "text.wav")
    )
    assert (some.returncode, none.returncode) == (0, 2)
    assert f"Not read:    1 of {N + 1} recordings" in some.stdout
    assert "1 of 1 recordings were skipped" in none.stderr
    assert "text.wav: cannot be read as audio" in some.stdout + some.stderr
    assert "text.wav: cannot be read as audio" in none.stderr
    assert "Traceback" not in some.stderr + none.stderr
    assert len(predictions(tmp_path)["recordings"]) == N


def test_joint_intervals_are_wider_by_what_the_checkpoint_says(run, sounds):
    trained = trained_on(run)
    synth = trained.recipe.synth
    recording = read_recording(sounds / "0.wav", synth.sample_rate, synth.duration, trained.lead)
    each = read_parameters(recording, trained, None)
    joint = held_together(each, run)
    scale = float(run.module.joint_scale)
    assert scale > 1
    assert np.array_equal(joint.std, each.std)
    np.testing.assert_allclose(joint.reach_std, scale * each.std)
    assert describe(joint, trained)["together"] == scale
    assert describe(each, trained)["together"] is None


def test_joint_intervals_of_a_dataset_are_columns(run, saw_dir, compose_predict, tmp_path):
    predict(compose_predict(f"dataset={saw_dir}", "joint=true"))
    with (tmp_path / "out" / "predictions.csv").open() as file:
        row = next(csv.DictReader(file))
    for spec in run.info.parameters:
        low, high, value, std = (float(row[f"{spec.name}{end}"]) for end in ("_low", "_high", "", "_std"))
        half = 1.645 * float(run.module.joint_scale) * std
        assert (low, high) == pytest.approx((max(spec.min, value - half), min(spec.max, value + half)), rel=1e-4)


def test_a_checkpoint_without_a_joint_scale_says_so(run):
    module = copy.deepcopy(run.module)
    module.joint_scale.zero_()
    with pytest.raises(CheckpointError, match="joint=true: the checkpoint does not say"):
        joint_scale_of(replace(run, module=module))
