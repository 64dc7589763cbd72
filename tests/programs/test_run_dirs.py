import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.programs.run_dirs import (
    LAST_CKPT,
    newest_run,
    register_resolvers,
    resolve_ckpt_path,
    run_dir,
    trained_checkpoint,
)


@pytest.fixture
def logs(tmp_path):
    """Three runs: the second by name holds the youngest checkpoint, the third holds none."""
    for name, time in (("2026-01-01_00-00-00", 100), ("2026-01-02_00-00-00", 300), ("2026-01-03_00-00-00", 200)):
        checkpoint = tmp_path / "train" / "cnn" / name / "checkpoints" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        os.utime(checkpoint, (time, time))
    (tmp_path / "train" / "cnn" / "2026-01-04_00-00-00" / "checkpoints").mkdir(parents=True)
    return tmp_path


def config(logs, ckpt_path, output_dir, experiment_name="cnn"):
    return OmegaConf.create(
        {
            "task_name": "train",
            "experiment_name": experiment_name,
            "ckpt_path": ckpt_path,
            "paths": {"log_dir": str(logs), "output_dir": str(output_dir)},
        }
    )


def test_the_newest_run_is_the_one_whose_checkpoint_was_written_last(logs):
    assert newest_run(logs, "train", "cnn") == logs / "train/cnn/2026-01-02_00-00-00"


@pytest.mark.parametrize(("task", "experiment"), [("train", "vit"), ("eval", "cnn"), ("train", "c*")])
def test_other_experiments_do_not_count(logs, task, experiment):
    assert newest_run(logs, task, experiment) is None


def test_a_new_run_gets_a_directory_by_date(logs):
    for ckpt_path in (None, "some/file.ckpt"):
        assert run_dir(str(logs), "train", "cnn", ckpt_path, "2027-01-01_00-00-00.123456") == str(
            logs / "train/cnn/2027-01-01_00-00-00"
        )


def test_a_run_goes_on_in_the_directory_of_the_newest(logs):
    assert run_dir(str(logs), "train", "cnn", "last", "now") == str(newest_run(logs, "train", "cnn"))


def test_runs_that_begin_within_a_second_get_directories_of_their_own(tmp_path):
    """Those of one process too, such as a program that calls `train.main` twice."""
    directories = []
    for microsecond in ("000007", "012345", "999999"):
        directories.append(run_dir(str(tmp_path), "train", "cnn", None, f"now.{microsecond}"))
        Path(directories[-1]).mkdir(parents=True)
    assert [Path(directory).name for directory in directories] == ["now", "now_2", "now_3"]


def test_one_run_gets_one_answer(tmp_path, logs):
    anew = run_dir(str(tmp_path), "train", "new", None, "now")
    Path(anew).mkdir(parents=True)
    assert run_dir(str(tmp_path), "train", "new", None, "now") == anew

    last = run_dir(str(logs), "train", "cnn", "last", "now")
    other = logs / "train/cnn/2026-01-01_00-00-00/checkpoints/last.ckpt"
    os.utime(other, (900, 900))
    assert run_dir(str(logs), "train", "cnn", "last", "now") == last


def test_the_resolver_serves_a_configuration(logs):
    register_resolvers()
    register_resolvers()  # every entry point may
    cfg = OmegaConf.create({"ckpt_path": "last", "dir": f"${{run_dir:{logs},train,cnn,${{ckpt_path}},now}}"})
    assert cfg.dir == str(newest_run(logs, "train", "cnn"))


def test_no_checkpoint_means_none(logs):
    assert resolve_ckpt_path(config(logs, None, logs)) is None


def test_last_is_the_checkpoint_of_the_run_directory(logs):
    directory = run_dir(str(logs), "train", "cnn", "last", "now")
    assert resolve_ckpt_path(config(logs, "last", directory)) == f"{directory}/checkpoints/last.ckpt"


def test_a_path_stays_itself(logs):
    path = str(logs / "train/cnn/2026-01-01_00-00-00/checkpoints/last.ckpt")
    assert resolve_ckpt_path(config(logs, path, logs)) == path


def test_last_of_an_experiment_without_checkpoint_is_refused(logs):
    directory = run_dir(str(logs), "train", "vit", "last", "now")
    with pytest.raises(ConfigError, match=r"ckpt_path=last.*train/vit.*PATH"):
        resolve_ckpt_path(config(logs, "last", directory, "vit"))


def test_a_path_that_does_not_exist_is_refused(logs):
    with pytest.raises(ConfigError, match=r"nowhere\.ckpt"):
        resolve_ckpt_path(config(logs, "nowhere.ckpt", logs))


def test_the_newest_best_checkpoint_is_found(tmp_path):
    names = [
        "a/1/checkpoints/epoch_003.ckpt",
        "multiruns/b/1/0/checkpoints/epoch_001.ckpt",
        "c/1/checkpoints/last.ckpt",
    ]
    for age, name in enumerate(names):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (age, age))
    assert trained_checkpoint(None, tmp_path) == tmp_path / "train" / names[1]


def test_without_a_checkpoint_the_message_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"no run has a checkpoint.*make ex.*ckpt_path="):
        trained_checkpoint(None, tmp_path)


def checkpoint_at(path, time):
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (time, time))
    return path


def test_last_is_the_newest_of_all_trainings_or_of_an_experiment(tmp_path):
    at = tmp_path / "train"
    cnn = checkpoint_at(at / "cnn" / "1" / LAST_CKPT, 100)
    checkpoint_at(at / "cnn" / "0" / LAST_CKPT, 50)
    job = checkpoint_at(at / "multiruns" / "vit" / "1" / "0" / LAST_CKPT, 200)
    checkpoint_at(tmp_path / "eval" / "cnn" / "1" / LAST_CKPT, 300)
    checkpoint_at(at / "cnn" / "2" / "checkpoints" / "epoch_003.ckpt", 400)
    assert trained_checkpoint("last", tmp_path) == job
    assert trained_checkpoint("last", tmp_path, "vit") == job
    assert trained_checkpoint("last", tmp_path, "cnn") == cnn
    with pytest.raises(ConfigError, match=r"ckpt_path=last: no run of mlp in .*train has .*make ex"):
        trained_checkpoint("last", tmp_path, "mlp")
    with pytest.raises(ConfigError, match=r"ckpt_path=last: no run in"):
        trained_checkpoint("last", tmp_path / "elsewhere")


def test_a_path_is_taken_as_it_is(tmp_path):
    assert trained_checkpoint("some/epoch_001.ckpt", tmp_path) == Path("some/epoch_001.ckpt")
