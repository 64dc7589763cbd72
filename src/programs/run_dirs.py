"""Run directories: where a run is written, and which checkpoint it resumes from or reads.

`configs/hydra/default.yaml` calls the resolver `run_dir` for the directory of a run, so that `ckpt_path=last` resumes
in the directory of the run that it means. All other places follow from that directory.
"""

import functools
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from src.errors import ConfigError

LAST = "last"
LAST_CKPT = Path("checkpoints") / "last.ckpt"


def register_resolvers() -> None:
    """Register the resolvers `run_dir` and `directory` with OmegaConf, before Hydra reads a configuration."""
    OmegaConf.register_new_resolver("run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("directory", directory, replace=True)


def directory(path: str) -> str:
    """Make a directory and return its path: SQLite does not make the one of its file."""
    Path(path).mkdir(parents=True, exist_ok=True)
    return path


def newest_run(log_dir: str | Path, task_name: str, experiment_name: str) -> Path | None:
    """The run whose `last.ckpt` was written last, or None if the experiment has no checkpoint.

    The age of the checkpoint counts, not the date in the directory's name, so that a run which was resumed and
    interrupted again is the newest.
    """
    checkpoints = Path(log_dir, task_name, experiment_name).glob(f"*/{LAST_CKPT.as_posix()}")
    newest = max(checkpoints, key=_age, default=None)
    return newest.parent.parent if newest else None


@functools.cache
def run_dir(log_dir: str, task_name: str, experiment_name: str, ckpt_path: str | None, stamp: str) -> str:
    """Directory of a run: `log_dir/task_name/experiment_name/second`, or that of the run which `ckpt_path=last` means.

    Two runs that begin within one second get two directories. The result for a stamp is kept, since a configuration
    may resolve it more than once and the directory exists the second time.

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
    """The checkpoint to resume from as a path, or None for a new run.

    Args:
        cfg: With `ckpt_path`, `task_name`, `experiment_name` and `paths`.

    Raises:
        ConfigError: If `ckpt_path` is `last` and the experiment has no checkpoint, or if there is no such file.
    """
    if cfg.ckpt_path is None:
        return None
    path = Path(cfg.paths.output_dir) / LAST_CKPT if cfg.ckpt_path == LAST else Path(cfg.ckpt_path)
    if path.is_file():
        return str(path)
    if cfg.ckpt_path != LAST:
        raise ConfigError(f"ckpt_path={cfg.ckpt_path}: there is no such file (looked from {Path.cwd()}).")
    experiment = Path(cfg.paths.log_dir, cfg.task_name, cfg.experiment_name)
    raise ConfigError(
        f"ckpt_path=last: no run in {experiment} has {LAST_CKPT}. Train first, choose the experiment that was"
        " trained (experiment=... or experiment_name=...), or name the file: ckpt_path=PATH."
        " In a multirun (-m) only a path will do."
    )


def trained_checkpoint(ckpt_path: str | None, log_dir: str | Path, experiment_name: str | None = None) -> Path:
    """The checkpoint that a program which does not train is to read.

    Args:
        ckpt_path: A path, or `last`: the last epoch of the training that wrote a checkpoint last. None: the best epoch
            that was written last, of any training.
        log_dir: Where all runs are.
        experiment_name: The experiment whose runs and jobs of sweeps `last` is looked for in; None: all.

    Raises:
        ConfigError: If there is none.
    """
    if ckpt_path and ckpt_path != LAST:
        return Path(ckpt_path)
    train_dir = Path(log_dir, "train")
    if ckpt_path == LAST:
        experiments = [experiment_name or "*", f"multiruns/{experiment_name or '*'}/*"]
        found = [path for part in experiments for path in train_dir.glob(f"{part}/*/{LAST_CKPT.as_posix()}")]
        runs = f"run of {experiment_name}" if experiment_name else "run"
        missing = f"ckpt_path=last: no {runs} in {train_dir} has {LAST_CKPT}"
    else:
        found = [path for path in train_dir.rglob("checkpoints/*.ckpt") if not path.name.startswith("last")]
        missing = f"{train_dir}: no run has a checkpoint"
    if not found:
        raise ConfigError(f"{missing}. Train first (make ex), or name the file: ckpt_path=PATH.")
    return max(found, key=_age)


def _age(path: Path) -> tuple[int, str]:
    """Sorts files by their time, the newest last."""
    return path.stat().st_mtime_ns, path.as_posix()
