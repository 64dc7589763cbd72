"""Where a run is written, and which checkpoint it goes on from.

`configs/hydra/default.yaml` calls the resolver `run_dir` for the directory of a run, so that `ckpt_path=last` goes on
in the directory that it began in. Afterwards everything follows from that directory.
"""

import functools
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from src.errors import ConfigError

LAST = "last"
LAST_CKPT = Path("checkpoints") / "last.ckpt"


def register_resolvers() -> None:
    """Makes `${run_dir:...}` and `${directory:...}` known to OmegaConf; before Hydra reads a configuration."""
    OmegaConf.register_new_resolver("run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("directory", directory, replace=True)


def directory(path: str) -> str:
    """A path, at which there is a directory from now on: SQLite does not make the one of its file."""
    Path(path).mkdir(parents=True, exist_ok=True)
    return path


def newest_run(log_dir: str | Path, task_name: str, experiment_name: str) -> Path | None:
    """The run whose `last.ckpt` was written last, or None if the experiment has no checkpoint.

    The age of the checkpoint counts, not the date in the directory's name: an old run that somebody went on with and
    interrupted is the one that they mean.
    """
    checkpoints = Path(log_dir, task_name, experiment_name).glob(f"*/{LAST_CKPT.as_posix()}")
    newest = max(checkpoints, key=_age, default=None)
    return newest.parent.parent if newest else None


@functools.cache
def run_dir(log_dir: str, task_name: str, experiment_name: str, ckpt_path: str | None, stamp: str) -> str:
    """Directory of a run: `log_dir/task_name/experiment_name/second`, or that of the run which `ckpt_path=last` means.

    Two runs that begin within one second get two directories. The answer to one stamp is kept, since a configuration
    may ask more than once and the directory exists the second time.

    Args:
        log_dir: Where all runs are.
        task_name: `train`, `eval`, …
        experiment_name: Name of the experiment.
        ckpt_path: As in the configuration.
        stamp: Date and time of the start as `second.microsecond`, so that no two runs have the same.
    """
    found = newest_run(log_dir, task_name, experiment_name) if ckpt_path == LAST else None
    if found:
        return str(found)
    first = Path(log_dir, task_name, experiment_name, stamp.partition(".")[0])
    candidate, count = first, 1
    while candidate.exists():
        count += 1
        candidate = first.with_name(f"{first.name}_{count}")
    return str(candidate)


def resolve_ckpt_path(cfg: DictConfig) -> str | None:
    """The checkpoint to go on from as a path, or None when the run begins anew.

    Args:
        cfg: With `ckpt_path`, `task_name`, `experiment_name` and `paths`.

    Raises:
        ConfigError: If `ckpt_path` is `last` and the experiment has no checkpoint, or if there is no such file.
    """
    if cfg.ckpt_path is None:
        return None
    if cfg.ckpt_path != LAST:
        return _existing(cfg.ckpt_path)
    path = Path(cfg.paths.output_dir) / LAST_CKPT
    if not path.is_file():
        experiment = Path(cfg.paths.log_dir, cfg.task_name, cfg.experiment_name)
        raise ConfigError(
            f"ckpt_path=last: no run in {experiment} has {LAST_CKPT}. Train first, choose the experiment that was"
            " trained (experiment=... or experiment_name=...), or name the file: ckpt_path=PATH."
            " In a multirun (-m) only a path will do."
        )
    return str(path)


def _existing(ckpt_path: str) -> str:
    if not Path(ckpt_path).is_file():
        raise ConfigError(f"ckpt_path={ckpt_path}: there is no such file (looked from {Path.cwd()}).")
    return str(ckpt_path)


def trained_checkpoint(ckpt_path: str | None, log_dir: str | Path, experiment_name: str | None = None) -> Path:
    """The checkpoint that a program which does not train is to read.

    Args:
        ckpt_path: A path, or `last`: the last epoch of the training that wrote a checkpoint last. None: the best epoch
            that was written last.
        log_dir: Where all runs are.
        experiment_name: What `last` is looked for among, jobs of sweeps included. None: among all trainings.

    Raises:
        ConfigError: If there is none.
    """
    if not ckpt_path:
        return newest_best_checkpoint(log_dir)
    if ckpt_path != LAST:
        return Path(ckpt_path)
    train_dir = Path(log_dir, "train")
    parts = ("*", "multiruns/*/*") if experiment_name is None else (experiment_name, f"multiruns/{experiment_name}/*")
    found = [path for part in parts for path in train_dir.glob(f"{part}/*/{LAST_CKPT.as_posix()}")]
    if not found:
        of = "" if experiment_name is None else f" of {experiment_name}"
        raise ConfigError(
            f"ckpt_path=last: no run{of} in {train_dir} has {LAST_CKPT}. Train first (make ex), or name the file: "
            "ckpt_path=PATH."
        )
    return max(found, key=_age)


def newest_best_checkpoint(log_dir: str | Path) -> Path:
    """The checkpoint of a best epoch, of any training, that was written last.

    Raises:
        ConfigError: If there is none.
    """
    train_dir = Path(log_dir, "train")
    best = [path for path in train_dir.rglob("checkpoints/*.ckpt") if not path.name.startswith("last")]
    if not best:
        raise ConfigError(f"{train_dir}: no run has a checkpoint. Train first (make ex), or name one: ckpt_path=PATH")
    return max(best, key=_age)


def _age(path: Path) -> tuple[int, str]:
    """By what the newest file is the largest."""
    return path.stat().st_mtime_ns, path.as_posix()
