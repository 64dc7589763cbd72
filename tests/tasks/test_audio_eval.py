import csv
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose

from src.checkpoints.run import restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.errors import CheckpointError, ConfigError, VIMHError
from src.evaluation.audio_metrics import METRICS
from src.hydra_versions import initialize_configs
from src.programs.run_dirs import register_resolvers
from src.recipe import Recipe
from src.sections import read_section
from src.tasks import audio_eval as program
from src.tasks.audio_eval import (
    AudioEvalSettings,
    audio_eval,
    check_dataset,
    evaluate,
    find_dataset,
    git_state,
    make_again,
)
from src.vimh.format import INFO_NAME
from src.vimh.info import DatasetInfo

ROOT = Path(__file__).parents[2]
REFERENCES = ["nearest neighbour", "mean parameters", "8-bit coding"]
N_SOUNDS, N_LISTEN = 6, 3


def compose_audio_eval(output_dir, *overrides):
    """The configuration of `python src/audio_eval.py overrides`, with a directory of the test."""
    register_resolvers()
    paths = [f"paths.{place}={output_dir}" for place in ("root_dir", "log_dir", "output_dir", "work_dir")]
    with initialize_configs(ROOT / "configs"):
        return compose("audio_eval", [*paths, "extras.print_config=false", *overrides])


@pytest.fixture(scope="module")
def evaluated(ckpt_path, tmp_path_factory):
    """What `python src/audio_eval.py` returns, and its run directory."""
    run_dir = tmp_path_factory.mktemp("audio_eval")
    settings = [f"ckpt_path={ckpt_path}", f"num_samples={N_SOUNDS}", f"n_listen={N_LISTEN}"]
    return audio_eval(compose_audio_eval(run_dir, *settings)), run_dir


@pytest.fixture(scope="module")
def table(evaluated):
    with (evaluated[1] / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def with_info(run, **changes):
    """A run whose description of the dataset says something else; None removes a key."""
    data = {key: item for key, item in (run.info.to_dict() | changes).items() if item is not None}
    return replace(run, info=DatasetInfo.from_dict(data, "changed"))


def of_dataset(run, data_dir):
    """A run that was trained on a dataset at another place."""
    return replace(run, config=run.config | {"data": run.config["data"] | {"data_dir": str(data_dir)}})


# ----- outputs


def test_all_outputs_are_there(evaluated):
    _, run_dir = evaluated
    assert {path.name for path in run_dir.iterdir()} == {"index.html", "metrics.csv", "summary.json", "wav"}
    assert len(list((run_dir / "wav").glob("*_true.wav"))) == N_LISTEN
    assert len(list((run_dir / "wav").glob("*_predicted.wav"))) == N_LISTEN


def test_the_table_has_a_row_per_sound_and_answer(table):
    expected = [(str(number), name) for number in range(N_SOUNDS) for name in ["network", *REFERENCES]]
    assert [(row["sound"], row["answer"]) for row in table] == expected
    assert all(float(row[metric.name]) == pytest.approx(float(row[metric.name])) for row in table for metric in METRICS)


def test_true_values_are_the_exact_ones_and_errors_are_from_them(table, run, saw_dir):
    exact = np.load(saw_dir / "test_values.npy")
    for row in table:
        for p, spec in enumerate(run.info.parameters):
            true, value, error = (float(row[f"{spec.name}_{kind}"]) for kind in ("true", "value", "error"))
            assert true == pytest.approx(exact[int(row["sound"]), p])
            assert error == pytest.approx(abs(value - true), abs=1e-6)


def test_coding_is_a_floor_that_half_a_code_bounds(table, run):
    for row in table[3::4]:
        for spec in run.info.parameters:
            assert float(row[f"{spec.name}_error"]) <= spec.range / 255 / 2 * (1 + 1e-6)


def test_means_are_those_of_the_training_samples(table, run):
    train = restore_datamodule(run).train_set[:]["value"].double().mean(dim=0)
    for row in table[2::4]:
        assert [float(row[f"{spec.name}_value"]) for spec in run.info.parameters] == pytest.approx(train.tolist())


def test_the_summary_says_where_the_figures_come_from(evaluated, table, ckpt_path, run):
    metrics, run_dir = evaluated
    summary = json.loads((run_dir / "summary.json").read_text())
    digest = subprocess.run(["sha256sum", ckpt_path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (summary["checkpoint"], summary["checkpoint_sha256"]) == (str(ckpt_path), digest)
    assert (summary["dataset"], summary["sample_rate"]) == (run.info.dataset_name, 8000)
    assert (summary["n_sounds"], summary["n_test_sounds"]) == (N_SOUNDS, 13)
    assert (summary["git"], summary["refinement"], summary["notes"]) == (git_state(), None, [])
    assert list(summary["answers"]) == ["network", *REFERENCES]
    for name, figures in summary["answers"].items():
        own = [float(row["mss"]) for row in table if row["answer"] == name]
        assert figures["mss"]["mean"] == pytest.approx(np.mean(own)) == pytest.approx(metrics[f"{name}/mss"])
        assert figures["mss"]["median"] == pytest.approx(np.median(own))
        assert figures["mss"]["low"] <= figures["mss"]["mean"] <= figures["mss"]["high"]
        assert list(figures) == [metric.name for metric in METRICS] + list(run.info.parameter_names)


def test_wav_files_are_the_sounds_of_the_true_and_the_predicted_values(evaluated, table, run, saw_dir):
    recipe = Recipe.from_info(run.info, instantiate_trusted)
    exact = np.load(saw_dir / "test_values.npy")
    by_mss = sorted(range(N_SOUNDS), key=lambda number: float(table[4 * number]["mss"]))
    for number in (by_mss[0], by_mss[-1]):  # the best and the worst
        predicted = [[float(table[4 * number][f"{name}_value"]) for name in run.info.parameter_names]]
        for kind, value in (("true", exact[number : number + 1]), ("predicted", np.array(predicted))):
            waveform, rate = soundfile.read(evaluated[1] / "wav" / f"test_{number}_{kind}.wav", dtype="float32")
            assert rate == run.info.sample_rate
            np.testing.assert_allclose(waveform, recipe.render(value)[0], atol=1e-5)


@pytest.mark.slow
def test_it_is_deterministic(evaluated, ckpt_path, tmp_path, capsys):
    settings = [f"ckpt_path={ckpt_path}", f"num_samples={N_SOUNDS}", f"n_listen={N_LISTEN}"]
    assert audio_eval(compose_audio_eval(tmp_path, *settings)) == evaluated[0]
    for name in ("metrics.csv", "index.html"):
        assert (tmp_path / name).read_bytes() == (evaluated[1] / name).read_bytes()
    lines = capsys.readouterr().out.splitlines()
    assert {f"Report: {tmp_path}/index.html", f"Sounds: {tmp_path}/wav"} <= set(lines)
    assert any(line.startswith("mss dB ↓") for line in lines)


@pytest.mark.slow
def test_all_samples_and_more_listeners_than_sounds(ckpt_path, tmp_path):
    audio_eval(compose_audio_eval(tmp_path, f"ckpt_path={ckpt_path}", "num_samples=null", "n_listen=99"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["n_sounds"] == summary["n_test_sounds"] == 13
    assert len(list((tmp_path / "wav").iterdir())) == 2 * 13


@pytest.mark.slow
def test_refinement_comes_first_and_comes_closer(ckpt_path, tmp_path):
    metrics = audio_eval(compose_audio_eval(tmp_path, f"ckpt_path={ckpt_path}", "refine=true"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["answers"]) == ["refined", "network", *REFERENCES]
    assert metrics["refined/mss"] < metrics["network/mss"]
    assert summary["refinement"]["residual"] < summary["refinement"]["residual_before"]
    assert summary["refinement"]["milliseconds"] > 0
    assert set(summary["refinement"]["parameters"]) == {"note_velocity", "log10_decay_time"}
    assert '"sides":["True","Refined","Unrefined","Neighbour"]' in (tmp_path / "index.html").read_text()
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["residual"]) for row in rows[:5]] == [True, True, False, False, False]
    assert [bool(row["n_renders"]) for row in rows[:5]] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("override", "fact"),
    [("num_samples=0", "num_samples is 0"), ("n_listen=1.5", "n_listen is 1.5"), ("seed=-1", "seed is -1")],
)
def test_settings_are_checked_before_anything_is_read(tmp_path, override, fact):
    with pytest.raises(ConfigError, match=fact):
        audio_eval(compose_audio_eval(tmp_path, f"ckpt_path={tmp_path}/none.ckpt", override))


@pytest.mark.slow
def test_the_newest_best_checkpoint_is_taken(ckpt_path, tmp_path):
    best = tmp_path / "train" / "example" / "1" / "checkpoints" / "epoch_007.ckpt"
    best.parent.mkdir(parents=True)
    shutil.copy(ckpt_path, best)
    shutil.copy(ckpt_path, best.with_name("last.ckpt"))
    audio_eval(compose_audio_eval(tmp_path, "num_samples=2", "n_listen=1"))
    assert json.loads((tmp_path / "summary.json").read_text())["checkpoint"] == str(best)


def test_without_a_checkpoint_it_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no run has a checkpoint.*ckpt_path=PATH"):
        audio_eval(compose_audio_eval(tmp_path))


# ----- the dataset


@pytest.mark.parametrize("place", ["no such disk", "there", "data"])
def test_a_dataset_that_is_gone_is_made_again_byte_for_byte(run, saw_dir, tmp_path, place):
    then = tmp_path / place / saw_dir.name
    (tmp_path / "there").mkdir()
    data_dir = find_dataset(of_dataset(run, then), None, tmp_path / "data", instantiate_trusted)
    assert data_dir == tmp_path / "data" / saw_dir.name
    assert sorted(tmp_path.iterdir()) == [tmp_path / "data", tmp_path / "there"]
    assert list((tmp_path / "there").iterdir()) == []
    assert check_dataset(run.info, restore_datamodule(run, data_dir=str(data_dir))) == []
    for path in saw_dir.iterdir():
        assert (data_dir / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_dataset_of_this_machine_is_found_though_the_checkpoint_comes_from_another(run, saw_dir, tmp_path):
    moved = of_dataset(run, Path("/no/such/place") / saw_dir.name)
    assert find_dataset(moved, None, saw_dir.parent, instantiate_trusted) == saw_dir
    here = of_dataset(run, tmp_path / saw_dir.name)
    assert find_dataset(here, None, saw_dir.parent, instantiate_trusted) == saw_dir


@pytest.mark.parametrize("name", ["", ".", "..", "/", "/no/such/..", "no/../.."])
def test_a_checkpoint_names_no_place_outside_the_datasets(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    try:
        found = find_dataset(of_dataset(run, name), None, tmp_path / "data", instantiate_trusted)
    except CheckpointError as refusal:
        assert "data_dir=PATH" in str(refusal)
    else:
        assert found.exists()  # it is read there, and nothing is made
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_to_make_it_again_is_said(run, tmp_path):
    data_dir = tmp_path / "vimh-gone"
    for generator in (None, {"version": "0"}):
        with pytest.raises(VIMHError, match=r"vimh-gone: .*is gone.*no generator\.config.*data_dir=PATH"):
            make_again(with_info(run, generator=generator).info, data_dir, instantiate_trusted)
    config = run.info.generator["config"]
    stranger = config | {"synth": {"_target_": "os.system"}}
    with pytest.raises(CheckpointError, match=r"os\.system"):
        make_again(with_info(run, generator={"config": stranger}).info, data_dir, instantiate_trusted)
    other = config | {"representation": config["representation"] | {"width": 16}}
    with pytest.raises(CheckpointError, match=r"generator\.config in the checkpoint.*\n.*image"):
        make_again(with_info(run, generator={"config": other}).info, data_dir, instantiate_trusted)
    assert not data_dir.exists()


def test_a_place_that_is_named_is_not_made(run, tmp_path):
    data_dir = find_dataset(run, f"{tmp_path}/gone", tmp_path, instantiate_trusted)
    with pytest.raises(VIMHError, match=r"no such directory|no dataset there"):
        check_dataset(run.info, restore_datamodule(run, data_dir=str(data_dir)))
    assert not (tmp_path / "gone").exists()


def test_other_checksums_are_said(run, caplog):
    files = run.info.to_dict()["files"]
    other = with_info(run, files=files | {"test": files["test"] | {"sha256": "0" * 64}})
    notes = check_dataset(other.info, restore_datamodule(run))
    assert len(notes) == 1
    assert "not the very one of the training: other checksums of test. It" in notes[0]
    assert notes[0] in caplog.text


@pytest.fixture
def theirs(saw_dir, tmp_path):
    """The saw set as the original project would have written it: no generator, no exact values, no checksums."""
    data_dir = tmp_path / "theirs"
    shutil.copytree(saw_dir, data_dir, ignore=shutil.ignore_patterns("*_values.npy"))
    info = json.loads((data_dir / INFO_NAME).read_text())
    for key in ("generator", "files", "seed", "sampling"):
        del info[key]
    (data_dir / INFO_NAME).write_text(json.dumps(info))
    return data_dir


def test_sets_of_the_original_project_are_evaluated(ckpt_path, theirs, tmp_path):
    settings = [f"ckpt_path={ckpt_path}", f"data_dir={theirs}", "num_samples=4", "n_listen=2"]
    audio_eval(compose_audio_eval(tmp_path, *settings))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "does not say how its sounds were made" in summary["notes"][1]
    assert "those of its 8-bit labels" in summary["notes"][2]
    assert summary["answers"]["8-bit coding"]["mss"]["mean"] == pytest.approx(0, abs=1e-3)
    with pytest.raises(ConfigError, match=r"refine=true: .* does not say how its images were made"):
        audio_eval(compose_audio_eval(tmp_path, *settings, "refine=true"))


# ----- git and the sounds


def test_the_revision_is_that_of_git():
    found = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    state = git_state()
    assert (state is None) if found.returncode else (state["revision"] == found.stdout.strip())


def test_outside_git_there_is_no_revision(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "ROOT", tmp_path)
    assert git_state() is None
    monkeypatch.setenv("PATH", "")
    assert git_state() is None


def test_a_sound_of_the_evaluation_is_the_one_of_its_number(run, tmp_path):
    settings = read_section(AudioEvalSettings, compose_audio_eval(tmp_path, "num_samples=5"))
    recipe = Recipe.from_info(run.info, instantiate_trusted)
    evaluation = evaluate(run, restore_datamodule(run), recipe, settings)
    sound = evaluation.sound(4)
    assert [side.name for side in sound.sides] == ["True", "Predicted", "Neighbour"]
    assert [estimate.name for estimate in evaluation.estimates[:2]] == ["network", "nearest neighbour"]
    values = evaluation.batch.value, *(estimate.value for estimate in evaluation.estimates[:2])
    for side, value in zip(sound.sides, values, strict=True):
        np.testing.assert_array_equal(side.waveform, recipe.render(value)[4])
        np.testing.assert_array_equal(side.value, value[4])
    for side, scores in zip(sound.sides[1:], evaluation.scores, strict=False):
        assert side.metrics["mss"] == scores.metrics["mss"][4]
