import errno
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
from hydra._internal import utils as hydra_utils
from hydra.errors import InstantiationException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from torch._inductor.exc import InductorError, InvalidCxxCompiler

from src.errors import ConfigError, NSMError, VIMHError
from src.programs.program import (
    INTERRUPTED,
    ReportedError,
    extras,
    find_cause,
    get_metric_value,
    how_to_go_on,
    report_errors,
    reporting_around_tasks,
    task_wrapper,
)

ROOT = Path(__file__).parents[2]

PROGRAM = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from hydra.utils import instantiate
    from src.errors import ConfigError
    from src.programs.program import entry_point, task_wrapper

    class Broken:
        def __init__(self):
            raise ConfigError("the cutoff is too high")

    @entry_point(config_name="main", names="*", config_path="conf")
    @task_wrapper
    def main(cfg):
        if cfg.mode == "nested":
            instantiate({{"_target_": "__main__.Broken"}})
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
        print("mode", cfg.mode)

    if __name__ == "__main__":
        main()
"""

CONFIG = f"""
    defaults:
      - _self_
      - /hydra: default
    mode: fine
    needed: ???
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


def test_a_task_runs_and_says_where_it_wrote(program, tmp_path):
    done = program()
    assert done.returncode == 0, done.stderr
    assert "mode fine" in done.stdout
    (run,) = (tmp_path / "logs" / "train" / "test").iterdir()
    assert str(run) in done.stdout
    assert (run / "train.log").is_file()


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
    assert "Run the same command again" in done.stdout
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
    ("error", "expected", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/full/file"), ReportedError, "/full/file: No space left"),
        (OSError(errno.EIO, "Input/output error", "/bad/file"), OSError, "Input/output"),
        (ValueError("Record does not exist."), ReportedError, "No trial of this search has succeeded"),
        (ValueError("No trials are completed yet."), ReportedError, "No trial of this search has succeeded"),
        (ValueError("another one"), ValueError, "another one"),
    ],
    ids=str,
)
def test_what_hydra_meets_around_tasks_is_told_apart(monkeypatch, error, expected, said):
    def meets():
        raise error

    monkeypatch.setattr(hydra_utils, "run_and_report", lambda function: function())
    with reporting_around_tasks(), pytest.raises(expected, match=said):
        hydra_utils.run_and_report(meets)


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


def test_the_cause_is_found_at_any_depth():
    innermost = VIMHError("damaged")
    middle = RuntimeError("worker")
    middle.__cause__ = innermost
    outer = InstantiationException("data")
    outer.__cause__ = middle
    assert find_cause(outer, (NSMError,)) is innermost
    assert find_cause(innermost, (NSMError,)) is innermost
    assert find_cause(InstantiationException("alone"), (NSMError,)) is None


def test_settings_that_lightning_refuses_are_mendable_too():
    def task(cfg):
        raise MisconfigurationException("no such accelerator")

    with pytest.raises(ReportedError, match=r"^no such accelerator$"):
        report_errors(task)(None)


def test_a_failed_instantiation_without_an_error_of_ours_stays_itself():
    error = InstantiationException("no such class")

    def task(cfg):
        raise error

    with pytest.raises(InstantiationException) as caught:
        report_errors(task)(None)
    assert caught.value is error


def test_the_result_of_a_task_is_handed_on():
    cfg = OmegaConf.create({"task_name": "train", "paths": {"output_dir": "here"}})
    assert report_errors(task_wrapper(lambda cfg: 0.25))(cfg) == 0.25


def test_reported_errors_keep_their_cause():
    error = ConfigError("no")

    def task(cfg):
        raise error

    with pytest.raises(ReportedError, match=r"^no$") as caught:
        report_errors(task)(None)
    assert caught.value.__cause__ is error


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
        task_wrapper(lightning_interrupt)(cfg)
    assert caught.value.code == INTERRUPTED
    assert "ckpt_path=last" in caplog.text


def test_other_exits_keep_their_code(tmp_path):
    with pytest.raises(SystemExit) as caught:
        task_wrapper(lambda cfg: sys.exit(3))(run_config(tmp_path))
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
        task_wrapper(task)(run_config(tmp_path))
    assert calls == ["finish"]


def test_metrics_are_floats_by_name():
    assert get_metric_value({"val/loss": torch.tensor(0.5)}, "val/loss") == 0.5
    assert get_metric_value({"val/loss": 0.5}, None) is None


def test_a_metric_that_nobody_looks_at_may_be_missing():
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


@pytest.mark.parametrize("found", [InvalidCxxCompiler(), RuntimeError("another fault")], ids=["none", "broken"])
def test_only_a_missing_compiler_is_told_from_other_faults_of_compilation(found):
    def compiling(cfg):
        raise InductorError(found, None)

    expected = (ReportedError, "needs a C") if isinstance(found, InvalidCxxCompiler) else (InductorError, "another")
    with pytest.raises(expected[0], match=expected[1]):
        report_errors(compiling)(None)


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


def test_extras_do_nothing_else(tmp_path, capsys):
    cfg = extras_config(tmp_path)
    extras(cfg)
    assert "tags" not in cfg
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_lightning_says_comes_once_and_sells_nothing(tmp_path, caplog):
    extras(extras_config(tmp_path))
    assert logging.getLogger("lightning").handlers == []
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with caplog.at_level(logging.INFO):
        log.info("Tip: try installing litlogger")
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
