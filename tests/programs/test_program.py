import logging
import math
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.programs import program as program_module
from src.programs.program import INTERRUPTED, extras, how_to_go_on, perform
from src.programs.sweep import get_metric_value

ROOT = Path(__file__).parents[2]

PROGRAM = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from src.programs.program import program

    if __name__ == "__main__":
        program("main", task="work.task", names="*", config_dir=Path("conf").resolve())()
"""

WORK = """
    import os
    import subprocess
    import sys
    from pathlib import Path
    from src.hydra_versions import instantiate
    from src.errors import ConfigError

    class Broken:
        def __init__(self, order: int = 1):
            if isinstance(order, str):
                order + 1
            raise ConfigError("the cutoff is too high")

    def task(cfg):
        if cfg.mode == "setting":
            instantiate(cfg.filter)
        if cfg.mode == "child":
            child = [sys.executable, "-c", "import os; print('child ' + str(os.environ.get('HYDRA_FULL_ERROR')))"]
            subprocess.run(child, check=True)
        if cfg.mode == "nested":
            instantiate({"_target_": "work.Broken"})
        if cfg.mode == "written":
            Path(cfg.paths.output_dir, "result").write_text("42")
            raise ConfigError("no more")
        if cfg.mode == "bug":
            raise ZeroDivisionError("a bug")
        if cfg.mode == "interrupt":
            raise KeyboardInterrupt
        if cfg.mode == "missing":
            cfg.needed
        if cfg.mode == "place":
            Path(cfg.paths.log_dir).write_text("a directory is there")
        if cfg.mode == "no file":
            Path("/no/such/file").read_text()
        print(f"mode {cfg.mode}")
        return {"quality": cfg.quality}
"""

CONFIG = f"""
    defaults:
      - _self_
      - /hydra: default
    mode: fine
    needed: ???
    quality: 0.5
    optimized_metric: quality
    filter:
      _target_: work.Broken
      order: 1
    train: true
    task_name: train
    experiment_name: test
    ckpt_path: null
    paths:
      log_dir: logs
      output_dir: ${{hydra:runtime.output_dir}}
    hydra:
      searchpath: [file://{ROOT}/configs]
"""


@pytest.fixture
def program(tmp_path):
    """Runs a small Hydra program in a process of its own, with overrides."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "main.py").write_text(textwrap.dedent(PROGRAM.format(root=str(ROOT))))
    (tmp_path / "work.py").write_text(textwrap.dedent(WORK))
    (tmp_path / "conf" / "main.yaml").write_text(textwrap.dedent(CONFIG))
    (tmp_path / "conf" / "other.yaml").write_text(textwrap.dedent(CONFIG))

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "main.py", *arguments],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"} | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_a_task_runs_and_its_log_says_where_it_wrote(program, tmp_path):
    done = program()
    assert done.returncode == 0, done.stderr
    assert done.stdout == "mode fine\n"
    (run,) = (tmp_path / "logs" / "train" / "test").iterdir()
    assert f"Output directory: {run}" in (run / "train.log").read_text()


def test_the_jobs_of_a_sweep_lie_in_one_place_whatever_its_name(program, tmp_path):
    log_dir = "it's, a=b \\\\"
    done = program("-m", "experiment_name=a,b", "hydra.job.name=x", r"paths.log_dir='it\'s, a=b \\\\'")
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / log_dir / "train" / "multiruns" / "test").iterdir()
    assert sorted(path.name for path in sweep.iterdir()) == ["0", "1", "multirun.yaml"]
    assert [path.name for path in (tmp_path / log_dir / "train").iterdir()] == ["multiruns"]


def test_an_error_of_ours_is_one_message_without_traceback(program):
    done = program("mode=nested")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "the cutoff is too high" in done.stderr.splitlines()
    assert (done.stderr + done.stdout).count("the cutoff is too high") == 1


def test_an_error_of_ours_shows_its_traceback_on_request(program):
    done = program("mode=nested", HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "src.errors.ConfigError: the cutoff is too high" in done.stderr


def test_a_bug_keeps_its_traceback(program):
    done = program("mode=bug")
    assert done.returncode == 1
    assert "ZeroDivisionError: a bug" in done.stderr
    assert "Traceback" in done.stderr


def test_a_value_that_must_be_given_is_named(program):
    done = program("mode=missing")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "needed=VALUE" in done.stderr


def test_an_interrupt_ends_with_the_code_of_one_and_says_what_to_do(program):
    done = program("mode=interrupt")
    assert done.returncode == INTERRUPTED
    assert done.stderr.endswith("Run the same command again.\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("multirun", [[], ["-m"]], ids=["run", "sweep"])
def test_a_directory_that_cannot_be_made_is_one_message(program, tmp_path, multirun):
    (tmp_path / "plain").touch()
    done = program(*multirun, f"paths.log_dir={tmp_path}/plain/logs")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert f"{tmp_path}/plain/logs" in done.stderr
    assert "Not a directory. Name another place" in done.stderr


def test_a_place_that_a_task_cannot_use_is_one_message(program):
    done = program("mode=place")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "logs: Is a directory. Name another place" in done.stderr


def test_a_file_that_should_be_there_is_a_bug(program):
    done = program("mode='no file'")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "FileNotFoundError" in done.stderr


def test_errors_around_tasks_show_their_traceback_on_request(program, tmp_path):
    (tmp_path / "plain").touch()
    done = program(f"paths.log_dir={tmp_path}/plain/logs", HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "NotADirectoryError" in done.stderr


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("loss=3", ["Config group override must be a string"]),
        ("hydra/launcher=no", ["Could not find 'hydra/launcher/no'", "basic"]),
        ("nothing=1", ["Could not override 'nothing': there is no such setting.\nSettings: ckpt_path, "]),
        ("mode=[", ["mode=["]),
        ("mode=${nowhere}", ["Interpolation key 'nowhere' not found", "mode"]),
        ("paths.log_dir=${nowhere}", ["Interpolation key 'nowhere' not found", "hydra.run.dir"]),
        ("task_name=???", ["task_name"]),
    ],
    ids=str,
)
def test_what_cannot_be_composed_is_one_message(program, tmp_path, override, facts):
    done = program(override)
    assert done.returncode == 1
    assert (tmp_path / "logs").exists() == (override == "mode=${nowhere}")  # which the task is the first to ask for
    assert "Traceback" not in done.stderr + done.stdout
    for fact in facts:
        assert fact in done.stderr


JOBLIB = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.mark.parametrize(
    ("arguments", "jobs"), [([], 1), (["-m", "quality=1,2"], 2), ([*JOBLIB, "quality=1,2"], 2)], ids=str
)
def test_what_a_task_starts_shows_errors_as_the_user_wants(program, arguments, jobs):
    assert program(*arguments, "mode=child").stdout.count("child None") == jobs
    assert program(*arguments, "mode=child", HYDRA_FULL_ERROR="1").stdout.count("child 1") == jobs


def test_a_setting_of_the_wrong_type_is_named_by_another_process_too(program):
    wrong = ["mode=setting", "filter.order=abc"]
    for arguments in (wrong, [*JOBLIB, *wrong]):
        done = program(*arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr + done.stdout
        assert "filter.order is 'abc'; it must be a whole number." in done.stderr


def test_jobs_in_other_processes_run(program):
    done = program(*JOBLIB, "quality=1,2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mode fine") == 2


def test_a_metric_that_is_no_number_is_an_error(program):
    done = program("quality=nan")
    assert done.returncode == 1
    assert "quality is nan: the training diverged" in done.stderr


def test_the_job_is_called_like_the_task(program):
    assert program("--help").stdout.splitlines()[0] == "train is powered by Hydra."


def test_an_unknown_configuration_is_answered_with_the_valid_ones(program):
    done = program("--config-name=no")
    assert done.returncode == 1
    assert "Cannot find primary config 'no'" in done.stderr
    assert "--config-name=main" in done.stderr
    assert "--config-name=other" in done.stderr


def test_errors_with_a_known_configuration_do_not_list_names(program):
    done = program("--config-name=other", "mode=nested")
    assert done.returncode == 1
    assert "--config-name" not in done.stderr


def test_the_result_of_a_task_is_handed_on():
    cfg = OmegaConf.create({"task_name": "train", "paths": {"output_dir": "here"}})
    assert perform(lambda cfg: 0.25, cfg) == 0.25
    assert perform(lambda cfg: {"loss": 0.25}, OmegaConf.merge(cfg, {"optimized_metric": "loss"})) == 0.25
    assert perform(lambda cfg: 0.25, OmegaConf.create({})) == 0.25


def test_an_old_name_is_answered_with_the_new_one(monkeypatch, capsys):
    answer = {"spectral=stft": "spectral=stft is now representation=stft"}
    monkeypatch.setattr(program_module, "answer_to_old_name", lambda arguments: answer.get(arguments[0]))
    monkeypatch.setattr(sys, "argv", ["main.py", "spectral=stft"])
    with pytest.raises(SystemExit) as stop:
        program_module.program("train", "nowhere.task")()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "spectral=stft is now representation=stft\n"


HELP = """
    import contextlib, io, runpy, sys
    for path in sys.argv[1:]:
        sys.argv = [path, "--help"]
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
            runpy.run_path(path, run_name="__main__")
        assert out.getvalue(), path
    print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_help_loads_neither_torch_nor_lightning():
    programs = [f"src/{name}.py" for name in ("train", "eval", "predict", "audio_eval", "export")]
    command = [sys.executable, "-c", textwrap.dedent(HELP), *programs, "generate_vimh.py", "display_vimh.py"]
    command += ["scripts/runs.py", "scripts/compare.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert not {"torch", "lightning", "numpy", "numba", "matplotlib"} & set(done.stdout.split())


def run_config(tmp_path, run="2026-01-01_00-00-00", **more):
    output_dir = tmp_path / "train" / "cnn" / run
    (output_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    paths = {"log_dir": str(tmp_path), "output_dir": str(output_dir)}
    return OmegaConf.create({"task_name": "train", "experiment_name": "cnn", "train": True, "paths": paths} | more)


def lightning_interrupt(cfg):
    """Ends as `Trainer.fit` does after Ctrl-C."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


def test_an_interrupt_inside_lightning_is_recognized(tmp_path, caplog):
    cfg = run_config(tmp_path)
    (Path(cfg.paths.output_dir) / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(SystemExit) as caught, caplog.at_level(logging.WARNING):
        perform(lightning_interrupt, cfg)
    assert caught.value.code == INTERRUPTED
    assert "ckpt_path=last" in caplog.text


def test_other_exits_keep_their_code(tmp_path):
    with pytest.raises(SystemExit) as caught:
        perform(lambda cfg: sys.exit(3), run_config(tmp_path))
    assert caught.value.code == 3


def test_going_on_names_the_file_when_last_would_mean_another_run(tmp_path):
    cfg = run_config(tmp_path)
    other = run_config(tmp_path, "2026-01-02_00-00-00")
    for config, time in ((cfg, 100), (other, 200)):
        checkpoint = Path(config.paths.output_dir) / "checkpoints" / "last.ckpt"
        checkpoint.touch()
        os.utime(checkpoint, (time, time))
    assert how_to_go_on(other).endswith("ckpt_path=last")
    assert how_to_go_on(cfg).endswith(f"ckpt_path={cfg.paths.output_dir}/checkpoints/last.ckpt")


def test_going_on_without_a_checkpoint_is_beginning_again(tmp_path):
    assert "ckpt_path" not in how_to_go_on(run_config(tmp_path))
    assert "ckpt_path" not in how_to_go_on(OmegaConf.create({"task_name": "eval"}))


def test_an_open_wandb_run_is_closed_whatever_happens(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run="open", finish=lambda: calls.append("finish")))

    def task(cfg):
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        perform(task, run_config(tmp_path))
    assert calls == ["finish"]


def test_metrics_are_floats_by_name():
    assert get_metric_value({"val/loss": torch.tensor(0.5)}, "val/loss") == 0.5
    assert get_metric_value({"val/loss": 0.5}, None) is None


def test_a_metric_that_is_not_required_may_be_missing():
    assert get_metric_value({"test/loss": 1.0}, "val/loss", required=False) is None
    with pytest.raises(ConfigError, match="diverged"):
        get_metric_value({"val/loss": math.nan}, "val/loss", required=False)


def test_an_unknown_metric_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"val/los\b.*val/acc, val/loss"):
        get_metric_value({"val/loss": 1.0, "val/acc": 0.0}, "val/los")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_training_that_diverged_is_an_error(value):
    with pytest.raises(ConfigError, match=f"val/loss is {value}: the training diverged"):
        get_metric_value({"val/loss": torch.tensor(value)}, "val/loss")


def extras_config(tmp_path, **switches):
    switches = {"ignore_warnings": False, "enforce_tags": False, "print_config": False} | switches
    return OmegaConf.create({"task_name": "train", "paths": {"output_dir": str(tmp_path)}, "extras": switches})


def test_extras_do_what_they_are_asked_for(tmp_path, capsys):
    cfg = extras_config(tmp_path, enforce_tags=True, print_config=True)
    OmegaConf.set_struct(cfg, True)
    extras(cfg)
    assert cfg.tags == ["dev"]
    assert "print_config: true" in capsys.readouterr().out
    assert "print_config: true" in (tmp_path / "config_tree.log").read_text()


def test_extras_do_nothing_else_than_to_keep_the_configuration(tmp_path, capsys):
    cfg = extras_config(tmp_path)
    extras(cfg)
    assert "tags" not in cfg
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["config_tree.log"]
    assert "print_config: false" in (tmp_path / "config_tree.log").read_text()


def test_what_lightning_says_comes_once_and_sells_nothing(tmp_path, caplog):
    extras(extras_config(tmp_path))
    assert logging.getLogger("lightning").handlers == []
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with caplog.at_level(logging.INFO):
        log.info("Tip: try installing litlogger")
        log.info("💡 Tip: For seamless cloud uploads and versioning, try installing litmodels")
        log.info("GPU available: False")
    assert caplog.messages == ["GPU available: False"]


def test_warnings_are_hidden_on_request_alone(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        extras(extras_config(tmp_path))
        warnings.warn("heard", stacklevel=1)
        warnings.warn("The 'train_dataloader' does not have many workers", stacklevel=1)
        extras(extras_config(tmp_path, ignore_warnings=True))
        warnings.warn("hidden", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["heard"]


def test_a_warning_is_a_message_without_a_place(tmp_path, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        perform(lambda cfg: warnings.warn("mind this", stacklevel=1), run_config(tmp_path))
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == ["mind this"]
    assert "UserWarning in " in caplog.text


def test_a_run_that_is_refused_leaves_no_directory(program, tmp_path):
    assert program("mode=nested").returncode == 1
    assert list((tmp_path / "logs").rglob("*-*-*")) == []


def test_a_run_that_has_written_something_keeps_its_directory(program, tmp_path):
    assert program("mode=written").returncode == 1
    (run,) = (tmp_path / "logs" / "train" / "test").iterdir()
    assert (run / "result").read_text() == "42"
    assert (run / "train.log").is_file()
