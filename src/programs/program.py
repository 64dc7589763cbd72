"""What every entry point does alike: reading its configuration, reporting errors, saying how long it took and where.

`@entry_point(config_name="train")` makes `def main(cfg)` the main function of a program.
"""

import contextlib
import errno
import functools
import importlib
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat, TypeVar

import hydra
from hydra._internal import utils as hydra_utils
from hydra.errors import CompactHydraException, InstantiationException
from omegaconf import DictConfig, MissingMandatoryValue, open_dict
from omegaconf.errors import InterpolationResolutionError

from src.errors import ConfigError, NSMError
from src.programs.config_names import config_names, unknown_config_name, valid_names_message
from src.programs.explain import explain
from src.programs.pylogger import RankedLogger
from src.programs.rich_utils import enforce_tags, print_config_tree
from src.programs.run_dirs import LAST, LAST_CKPT, newest_run, register_resolvers

Result = TypeVar("Result")
Task = Callable[[DictConfig], Result]

INTERRUPTED = 130  # the exit code of shells for SIGINT

NO_COMPILER = (
    "model.compile=true needs a C++ compiler, and PyTorch found none that works. Install g++ or clang++, name it in "
    "the environment variable CXX, or train without: model.compile=false"
)

# What Optuna says, as a ValueError, when it looks for the best of trials that all failed: in a database, in memory.
NO_TRIAL = ("Record does not exist.", "No trials are completed yet.")
ALL_FAILED = (
    "No trial of this search has succeeded, so that there is no best one. What each of them failed of stands above and "
    "in the log of its directory; mend that, or the space that is searched, and run the same command again."
)

# Places that cannot be used, and errors that mean the same without a class of their own.
UNUSABLE = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs"

# What predict.py takes beside overrides, and whose values are paths.
FLAGS = {"--peak": "peak", "--no-normalize": "normalize=false"}
PATHS = ("audio", "dataset", "ckpt_path")

log = RankedLogger(__name__)


class ReportedError(CompactHydraException):
    """An error as Hydra prints it: the message alone, unless HYDRA_FULL_ERROR=1, and exit code 1."""


def program(config_name: str, task: str, names: str | None = None) -> Callable[[], Any]:
    """The main function of a program. Hydra reads the configuration, and only then the task's module is imported.

    Args:
        config_name: The primary configuration.
        task: Dotted name of the function of a configuration that does the work.
        names: Glob pattern of the configurations that `--config-name` may choose, for the message about an unknown one.
    """

    def run(cfg: DictConfig) -> Any:
        module, _, name = task.rpartition(".")
        return getattr(importlib.import_module(module), name)(cfg)

    hydra_main = hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name)(
        report_errors(run)
    )

    def main() -> Any:
        register_resolvers()
        try:
            with reporting_around_tasks():
                return hydra_main()
        except SystemExit as stop:
            unknown = unknown_config_name(sys.argv[1:], CONFIG_DIR)
            if stop.code and unknown:
                sys.stderr.write(valid_names_message(unknown, config_names(CONFIG_DIR, names or config_name)))
            raise
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    return main


def report_errors(task: Task) -> Task:
    """Decorator, directly below Hydra's: an error that a user can mend ends as one message without a traceback."""

    @functools.wraps(task)
    def reporting(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except MissingMandatoryValue as error:
            key = error.full_key
            raise ReportedError(f"{key} has no value: give one on the command line, as in {key}=VALUE") from error
        except _of_compilation() as error:
            if not isinstance(error.inner_exception, _no_compiler()):
                raise
            raise ReportedError(NO_COMPILER) from error
        except OSError as error:
            if not is_unusable_place(error):
                raise
            raise ReportedError(unusable_place(error)) from error
        except (InstantiationException, *_mendable()) as error:
            mendable = find_cause(error, _mendable())
            message = explain(error, cfg) if mendable is None else str(mendable)
            if message is None:
                raise
            raise ReportedError(message) from error

    return reporting


@contextlib.contextmanager
def reporting_around_tasks() -> Iterator[None]:
    """Within it, errors that Hydra meets outside of a task are reported like those of a task.

    It makes the directories of runs and sweeps, and runs searches. There is no public place to translate what it meets
    there: it prints the traceback itself.
    """
    run_and_report = hydra_utils.run_and_report
    hydra_utils.run_and_report = lambda function: run_and_report(lambda: _translating(function))
    try:
        yield
    finally:
        hydra_utils.run_and_report = run_and_report


def _translating(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (OSError, InterpolationResolutionError) as error:
        place = _innermost(error)
        if not is_unusable_place(place):
            raise
        raise ReportedError(unusable_place(place)) from place  # Hydra would print one of OmegaConf's too
    except ValueError as error:
        if str(error) not in NO_TRIAL:
            raise
        raise ReportedError(ALL_FAILED) from error


def _innermost(error: BaseException) -> BaseException:
    """What the first of some errors, raised while others were handled, was; OmegaConf names no cause."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def is_unusable_place(error: BaseException) -> bool:
    """Whether a file or directory could not be made or opened where a user wanted it."""
    if not isinstance(error, OSError) or error.filename is None:
        return False
    return isinstance(error, UNUSABLE) or error.errno in NO_ROOM


def unusable_place(error: OSError) -> str:
    """The place of such an error, and what is the matter with it."""
    return f"{error.filename2 or error.filename}: {error.strerror}. Name another place, or mend this one."


def _mendable() -> tuple[type[Exception], ...]:
    """Errors that a user can mend: ours, and Lightning's about settings; without Lightning nothing can raise those."""
    lightning = sys.modules.get("lightning.fabric.utilities.exceptions")
    return (NSMError, lightning.MisconfigurationException) if lightning else (NSMError,)


def _of_compilation() -> tuple[type[Exception], ...]:
    """What PyTorch raises when `model.compile=true` fails; nothing before it has tried."""
    inductor = sys.modules.get("torch._inductor.exc")
    return (inductor.InductorError,) if inductor else ()


def _no_compiler() -> type[Exception]:
    """What is inside when there is no C++ compiler."""
    return sys.modules["torch._inductor.exc"].InvalidCxxCompiler


def find_cause(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """The first exception of some kinds in the chain error, cause, cause of the cause …; None if there is none."""
    while error is not None and not isinstance(error, kinds):
        error = error.__cause__
    return error


def task_wrapper(task: Task) -> Task:
    """Decorator: logs run time and output directory, closes wandb, and says how to go on after an interrupt."""

    @functools.wraps(task)
    def wrapped(cfg: DictConfig) -> Any:
        start = time.monotonic()
        try:
            return task(cfg)
        except (KeyboardInterrupt, SystemExit) as stop:
            if not was_interrupted(stop):
                raise
            log.warning(how_to_go_on(cfg))
            raise SystemExit(INTERRUPTED) from stop
        finally:
            _close_wandb()
            log.info("%s took %.1f s.", cfg.task_name, time.monotonic() - start)
            log.info("Output directory: %s", cfg.paths.output_dir)

    return wrapped


def was_interrupted(stop: BaseException) -> bool:
    """Whether Ctrl-C is behind an exception. Lightning turns it into SystemExit while it handles KeyboardInterrupt."""
    return isinstance(stop, KeyboardInterrupt) or isinstance(stop.__context__, KeyboardInterrupt)


def how_to_go_on(cfg: DictConfig) -> str:
    """What to tell someone who interrupted a run.

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
    return f"Interrupted. To go on from the last whole epoch, run the same command with ckpt_path={ckpt_path}"


def _close_wandb() -> None:
    wandb = sys.modules.get("wandb")  # a run that stays open would take the next one of a multirun in
    if wandb is not None and wandb.run:
        wandb.finish()


def extras(cfg: DictConfig) -> None:
    """Does what `cfg.extras` asks for before a task begins: warnings, tags, the printed configuration."""
    _quieten_lightning()
    if cfg.extras.ignore_warnings:
        log.info("Python's warnings are hidden: extras.ignore_warnings=true")
        warnings.filterwarnings("ignore")
    if cfg.extras.enforce_tags:
        with open_dict(cfg):
            cfg.tags = enforce_tags(cfg.get("tags"))
    if cfg.extras.print_config:
        print_config_tree(cfg, Path(cfg.paths.output_dir))


def _quieten_lightning() -> None:
    # Its import installs a console handler, and every line would come twice.
    importlib.import_module("lightning")
    logging.getLogger("lightning").handlers.clear()
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    # Datasets in memory load fastest without workers: the advice to add some is wrong here.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A run that goes on does so in its own directory.
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    # Figures are logged once an epoch, whatever the interval.
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    # Lightning 2.6 asks PyTorch 2.13 in a way that is going out of use; nobody here can mend it.
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).* is deprecated")


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()


def get_metric_value(metrics: Mapping[str, SupportsFloat], name: str | None, required: bool = True) -> float | None:
    """The metric that a hyper-parameter search looks at; None when no name is given.

    Args:
        metrics: Name to value, as in `trainer.callback_metrics`.
        name: `cfg.optimized_metric`.
        required: Whether somebody looks at it. If not, a run without it, such as one that only tests, returns None.

    Raises:
        ConfigError: If no metric has that name, or it is no finite number: a search counts such a trial as failed.
    """
    if not name or not (required or name in metrics):
        return None
    if name not in metrics:
        known = ", ".join(sorted(metrics)) or "none"
        raise ConfigError(f"optimized_metric={name}: no such metric. This run has: {known}.")
    value = float(metrics[name])
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {value}: the training diverged. Lower model.optimizer.lr.")
    return value


def hydra_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line with what Hydra would not take: flags become overrides, and paths are quoted.

    Args:
        arguments: The command line, without the program.
    """
    found = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in FLAGS and "=" in FLAGS[name]:
            found.append(FLAGS[name])
        elif name in FLAGS:
            found.append(f"{FLAGS[name]}={value if equals else next(rest, '')}")
        elif name in PATHS and value[:1] not in ("", "'", '"') and value != "null":
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            found.append(f'{name}="{escaped}"')
        else:
            found.append(argument)
    return found
