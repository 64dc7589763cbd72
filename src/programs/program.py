"""What every program does alike: reading its configuration, running its task, reporting errors in words.

    main = program("train", task="src.tasks.train.train")

A program imports `src.programs.entry` only, which imports this module when it runs; its task, and with it PyTorch, is
imported once Hydra has read the configuration. `--help` and the worker processes of a training need neither.
"""

import logging
import multiprocessing
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict

from src.errors import NSMError
from src.hydra_versions import hydra_main
from src.programs.arguments import cannot_resolve, hydra_arguments
from src.programs.command_line import FULL_ERROR, load_task
from src.programs.explain import explain
from src.programs.old_names import answer_to_old_name
from src.programs.output import (
    CONFIG_TREE,
    RankedLogger,
    enforce_tags,
    ignore_warnings,
    print_config_tree,
    process_rank,
    sign_of_life,
    write_config_tree,
)
from src.programs.places import unusable_place
from src.programs.run_dirs import newest_run, register_resolvers
from src.programs.signals import Interrupt, exit_code, leave, listening
from src.programs.suggestions import Command, suggestion
from src.programs.sweep import discard_sweep_dir, get_metric_value, is_sweep, job_title
from src.runs import LAST, LAST_CKPT
from src.text import complain, prepare_streams

Task = Callable[[DictConfig], Any]

INTERRUPTED = 130  # the exit code of shells for SIGINT; 143 is that for SIGTERM
CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs"

log = RankedLogger(__name__)


class ReportedError(NSMError):
    """An error of a task in words. It can cross processes, which what caused it may not."""


def program(
    config_name: str,
    task: str,
    names: str | None = None,
    paths: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    config_dir: Path = CONFIG_DIR,
) -> Callable[[], None]:
    """The main function of a program.

    Args:
        config_name: The primary configuration.
        task: Dotted name of the function of a configuration that does the work.
        names: Glob pattern of the configurations that `--config-name` may choose, for the message about an unknown one.
        paths: Its own keys whose values are paths, beside those of every program; see `hydra_arguments`.
        flags: What it takes beside overrides: name to the override that it stands for, or to the key of its value.
        config_dir: Where the configurations are, an absolute path.
    """

    def main() -> None:
        prepare_streams()
        register_resolvers()
        given = sys.argv[1:]
        if answer := answer_to_old_name(given) or cannot_resolve(given):
            stop(answer)
        sys.argv[1:] = hydra_arguments(given, paths, flags)
        wants_traceback = os.environ.get(FULL_ERROR) == "1"
        run = job(task, wants_traceback)
        os.environ[FULL_ERROR] = "1"  # or else Hydra prints what it catches, and exits
        try:
            hydra_main(config_dir, config_name)(run)()
        except KeyboardInterrupt as interruption:
            sys.exit(exit_code(interruption))
        except Exception as error:
            command = Command(sys.argv[1:], config_dir, config_name, names or config_name)
            message = None if wants_traceback else suggestion(error, command) or explain(error)
            if message is None:
                raise
            if isinstance(error, HydraException):  # of a configuration
                discard_sweep_dir()
            stop(message, exit_code_of(error))
        finally:
            if not wants_traceback:
                os.environ.pop(FULL_ERROR, None)

    return main


def stop(message: str, code: int = 1) -> NoReturn:
    """End the program with an error message, and nothing else."""
    complain(message)
    sys.exit(code)


def exit_code_of(error: Exception) -> int:
    """The exit code that an error asks for; 1 for most."""
    return error.exit_code if isinstance(error, NSMError) else 1


def job(task: str, wants_traceback: bool) -> Task:
    """What Hydra calls with a configuration: once, or for each job of a sweep, which may be in another process.

    Args:
        task: Dotted name of the function that does the work.
        wants_traceback: Whether the user has set HYDRA_FULL_ERROR. If not, `program` has, for Hydra alone: processes
            that the task starts must not find it.
    """

    def run(cfg: DictConfig) -> Any:
        prepare_streams()  # of this process, which may be another one
        if not wants_traceback:
            os.environ.pop(FULL_ERROR, None)
        try:
            with listening(leave), sign_of_life("Starting ..."):
                function = load_task(task)
            return perform(function, cfg)
        except Exception as error:
            message = explain(error, cfg)
            if message is None:
                raise
            code = exit_code_of(error)
            if is_sweep():
                complain(f"{job_title()}: {message}")  # at once: Hydra reports it after all jobs
            if wants_traceback or is_sweep():
                reported = ReportedError(message)
                reported.exit_code = code
                raise reported from error
            discard_run_dir()
            stop(message, code)  # Hydra would add a line about a job
        finally:
            with suppress(OSError, AttributeError):  # there may be no stream
                sys.stdout.flush()  # a process of a sweep may be ended without that
            if not wants_traceback:
                os.environ[FULL_ERROR] = "1"

    return run


def discard_run_dir() -> None:
    """Delete the directory of a run that was refused before it had written anything but what every run begins with."""
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    beginning = {".hydra", CONFIG_TREE, f"{HydraConfig.get().job.name}.log"}
    with suppress(OSError):
        if process_rank() == 0 and run_dir != Path.cwd() and {path.name for path in run_dir.iterdir()} <= beginning:
            shutil.rmtree(run_dir)


def perform(task: Task, cfg: DictConfig) -> Any:
    """Run a task, with what `cfg.extras` switches on before it, and run time and output directory logged after it.

    Args:
        task: Does the work.
        cfg: Its configuration. One without a section `paths` has no directory of a run: its task runs alone.

    Returns:
        The metric that a hyper-parameter search optimizes, where the configuration names one; else the task's result.
    """
    interrupt = Interrupt()
    if "paths" not in cfg:
        with listening(interrupt):
            return task(cfg)
    start = time.monotonic()
    try:
        with listening(interrupt), quiet_threads(), logged_warnings():
            if "extras" in cfg:
                extras(cfg)
            result = task(cfg)
    except BaseException as end:
        code = exit_code(end, interrupt)
        if code is None:
            raise
        end_children()
        log.warning(how_to_go_on(cfg))
        raise SystemExit(code) from end
    finally:
        wandb = sys.modules.get("wandb")  # a run that stays open would record the next job of a sweep as well
        if wandb is not None and wandb.run:
            wandb.finish()
        if not isinstance(sys.exception(), Exception):  # such as an interrupt
            log.debug("%s took %.1f s.", cfg.task_name, time.monotonic() - start)
            log.debug("Output directory: %s", cfg.paths.output_dir)
    if "optimized_metric" in cfg:
        return get_metric_value(result, cfg.optimized_metric, required=is_sweep())
    return result


def end_children() -> None:
    """End the processes that this one would wait for at its end, such as those that train together with it."""
    for child in multiprocessing.active_children():
        if not child.daemon:
            child.kill()


@contextmanager
def quiet_threads() -> Iterator[None]:
    """No traceback of a thread whose disk refuses: that of TensorBoard's writer ends the main thread as well."""
    before = threading.excepthook

    def report(args: threading.ExceptHookArgs) -> None:
        if unusable_place(args.exc_value) is None:
            before(args)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def logged_warnings() -> Iterator[None]:
    """Show what Python warns of as other messages are; the log of the run says where it comes from."""

    def report(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        log.debug("%s in %s, line %d:", category.__name__, filename, lineno)
        log.warning("%s", message)

    with warnings.catch_warnings():
        warnings.showwarning = report
        yield


def how_to_go_on(cfg: DictConfig) -> str:
    """The message after an interrupted run.

    Args:
        cfg: Configuration of the run; one that trains has `train: true`.
    """
    if not cfg.get("train"):
        return "Interrupted. Run the same command again."
    checkpoint = Path(cfg.paths.output_dir) / LAST_CKPT
    if not checkpoint.is_file():
        return "Interrupted before the first checkpoint was written. Run the same command again."
    newest = newest_run(cfg.paths.log_dir, cfg.task_name, cfg.experiment_name)
    ckpt_path = LAST if newest and checkpoint.samefile(newest / LAST_CKPT) else checkpoint
    return f"Interrupted. To resume from the last whole epoch, run the same command with ckpt_path={ckpt_path}"


def is_no_advertisement(record: logging.LogRecord) -> bool:
    """Whether a message of Lightning is none of its tips for other products."""
    return "Tip: " not in record.getMessage()


def extras(cfg: DictConfig) -> None:
    """Write the configuration, and do what `cfg.extras` switches on before a task begins: warnings, tags, printing."""
    logging.getLogger("lightning").handlers.clear()  # its import installs one, and every line would come twice
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(is_no_advertisement)
    ignore_warnings()
    if cfg.extras.ignore_warnings:
        log.info("Python's warnings are hidden: extras.ignore_warnings=true")
        warnings.filterwarnings("ignore")
    if cfg.extras.enforce_tags:
        with open_dict(cfg):
            cfg.tags = enforce_tags(cfg.get("tags"))
    write_config_tree(cfg, Path(cfg.paths.output_dir))
    if cfg.extras.print_config:
        print_config_tree(cfg)
