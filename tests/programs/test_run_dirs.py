import gc
import os
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import hydra
import pytest
from hydra import compose
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.files import lock_directory
from src.hydra_versions import ANYTHING, initialize_configs
from src.programs.output import RANK_VARIABLES
from src.programs.run_dirs import (
    checkpoint_to_read,
    newest_run,
    register_resolvers,
    resolve_ckpt_path,
    run_dir,
)
from src.runs import LAST_CKPT

CONFIGS = Path(__file__).parents[2] / "configs"


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


def test_a_program_reads_a_run_or_a_checkpoint_but_not_both(logs, caplog):
    newest = newest_run(logs, "train", "cnn")
    caplog.set_level("INFO")
    assert checkpoint_to_read(None, None, logs) == newest / LAST_CKPT
    assert caplog.messages[-1].startswith(f"run cnn/{newest.name} (not ended): the newest one")
    assert checkpoint_to_read("cnn/2026-01-01_00-00-00", None, logs).parents[1].name == "2026-01-01_00-00-00"
    assert checkpoint_to_read(None, str(newest / LAST_CKPT), logs) == newest / LAST_CKPT
    assert caplog.messages[-1] == f"checkpoint {newest / LAST_CKPT}"
    assert checkpoint_to_read(None, "last", logs, "cnn") == newest / LAST_CKPT
    with pytest.raises(ConfigError, match="run=best and ckpt_path=last: name the run or its checkpoint, not both"):
        checkpoint_to_read("best", "last", logs)


# claiming


# What `hydra_main` tells Hydra 1.4; Hydra 1.3 has no such context.
execution_whitelist = getattr(hydra.utils, "execution_whitelist", nullcontext)


@pytest.fixture
def composed(monkeypatch):
    """Composes the configuration of a program as Hydra does before a run."""
    monkeypatch.setenv("PROJECT_ROOT", str(CONFIGS.parent))
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    register_resolvers()

    def make(*overrides, name="train"):
        with initialize_configs(CONFIGS):
            return compose(name, overrides=list(overrides), return_hydra_config=True)

    return make


def begin(cfg, sweep=False):
    """Notify the callbacks of a configuration that a run begins, or a sweep; gives its directory."""
    with execution_whitelist(ANYTHING):
        callbacks = Callbacks(cfg)
    getattr(callbacks, "on_multirun_start" if sweep else "on_run_start")(config=cfg, config_name="train")
    return Path(cfg.hydra.sweep.dir if sweep else cfg.hydra.run.dir), callbacks


@pytest.mark.parametrize("name", ["train", "predict"])
@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
def test_who_looks_makes_nothing_and_who_begins_has_a_directory(composed, tmp_path, monkeypatch, name, sweep):
    """As if all began in the same microsecond, and had seen that the directory is free."""
    monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=lambda: datetime(2026, 1, 2)))
    overrides = [f"paths.log_dir={tmp_path}/logs"]
    configs = [composed(*overrides, name=name) for _ in range(3)]
    wanted = [cfg.hydra.sweep.dir if sweep else cfg.hydra.run.dir for cfg in configs]
    assert len(set(wanted)) == 1
    assert not (tmp_path / "logs").exists()
    claimed = [begin(cfg, sweep)[0] for cfg in configs]
    assert [path.name for path in claimed] == [f"2026-01-02_00-00-00{end}" for end in ("", "_2", "_3")]
    assert all(path.is_dir() for path in claimed)


def test_the_generator_has_a_directory_for_every_sweep_and_none_for_a_run(composed, tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    configs = [composed(name="synth/generate_simple_saw") for _ in range(2)]
    assert begin(configs[0])[0] == Path()
    assert list(tmp_path.iterdir()) == []
    assert len({begin(cfg, sweep=True)[0] for cfg in configs}) == 2
    assert len(list((tmp_path / "logs" / "generate").iterdir())) == 2


@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
def test_a_directory_that_is_written_out_is_taken_as_it_is(composed, tmp_path, sweep):
    override = f"hydra.{'sweep' if sweep else 'run'}.dir={tmp_path}/mine"
    for _ in range(2):
        directory, callbacks = begin(composed(override), sweep)
        assert directory == tmp_path / "mine"
        callbacks.on_run_end(config=None)
        directory.mkdir(exist_ok=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_checkpoint_that_must_be_given_does_not_stand_in_the_way(composed, tmp_path):
    directory, _ = begin(composed(f"paths.log_dir={tmp_path}", name="eval"))
    assert directory.parent == tmp_path / "eval" / "default"
    assert directory.is_dir()


def test_of_processes_that_train_together_the_first_has_the_directory(composed, tmp_path, monkeypatch):
    first, _ = begin(composed(f"paths.log_dir={tmp_path}"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert begin(composed(f"hydra.run.dir={first}"))[0] == first
    begin(composed(f"paths.log_dir={tmp_path}"))
    assert [path for path in first.parent.iterdir()] == [first]


def test_a_run_is_resumed_in_its_directory_by_one_process_at_a_time(composed, logs, capsys):
    overrides = (f"paths.log_dir={logs}", "experiment_name=cnn", "ckpt_path=last")
    newest = newest_run(logs, "train", "cnn")
    directory, callbacks = begin(composed(*overrides))
    assert directory == newest
    with pytest.raises(SystemExit) as stop:
        begin(composed(*overrides))
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(f"{newest}: another process is training in this directory. Wait")
    callbacks.on_run_end(config=None)
    again, _ = begin(composed(*overrides))
    assert again == newest


def test_a_training_keeps_its_directory_until_it_ends_however_that_is(composed, tmp_path):
    directory, callbacks = begin(composed(f"paths.log_dir={tmp_path}"))
    with pytest.raises(BlockingIOError):
        lock_directory(directory)
    del callbacks  # as after an exception that left Hydra
    gc.collect()
    os.close(lock_directory(directory))


def test_the_jobs_of_a_sweep_are_told_its_directory_whatever_its_name(composed, tmp_path):
    odd = tmp_path / "it's, a=b {x} [y] \\' \\"
    cfg = composed(f"paths.log_dir={quoted(odd)}")
    directory, _ = begin(cfg, sweep=True)
    (override,) = cfg.hydra.overrides.hydra
    for experiment in ("experiment=cnn", "experiment=example"):
        assert composed(override, experiment).hydra.sweep.dir == str(directory)


def quoted(path):
    return "'" + str(path).replace("\\'", "\\\\'").replace("'", "\\'").removesuffix("\\") + "\\\\'"
