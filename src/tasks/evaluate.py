"""Tests a checkpoint: network, loss and dataset are those it was trained with.

python src/eval.py ckpt_path=logs/train/example/.../checkpoints/epoch_042.ckpt
"""

from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from lightning.pytorch import LightningDataModule
from omegaconf import DictConfig
from rich.console import Console

from src.checkpoints.run import Run, check_same_heads, load_run, restore_datamodule
from src.errors import ConfigError
from src.programs.instantiators import instantiate_loggers
from src.programs.program import extras, task_wrapper
from src.programs.pylogger import RankedLogger
from src.programs.results import head_results, read_visible, results_table, write_results
from src.programs.run_dirs import trained_checkpoint

log = RankedLogger(__name__)

DEFAULT = "default"  # experiment_name when nobody gave one
FUNCTIONS = {"val": "validate", "test": "test"}


@task_wrapper
def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Evaluate as configured.

    Returns:
        Every metric, by name.
    """
    if cfg.split not in FUNCTIONS:
        raise ConfigError(f"split is {cfg.split!r}; choose one of {', '.join(FUNCTIONS)}.")
    ckpt_path = trained_checkpoint(cfg.ckpt_path, cfg.paths.log_dir, named_experiment(cfg))
    log.info("Checkpoint: %s", ckpt_path)
    run = load_run(ckpt_path, cfg.trusted_modules)
    datamodule = restore_datamodule(run, cfg.trusted_modules, data_dir=cfg.data_dir, batch_size=cfg.batch_size)
    datamodule.prepare_data()
    check_same_heads(run.info, datamodule.info, str(datamodule.data_dir))
    log.info("Dataset: %s", datamodule.data_dir)

    trainer = instantiate(cfg.trainer, logger=instantiate_loggers(cfg.logger) or False)
    datamodule.check_devices(trainer.num_devices * trainer.num_nodes)
    getattr(trainer, FUNCTIONS[cfg.split])(run.module, datamodule=datamodule, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if trainer.is_global_zero:
        report(run, ckpt_path, datamodule, metrics, cfg)
    return metrics


def named_experiment(cfg: DictConfig) -> str | None:
    """The experiment that `ckpt_path=last` is to be of; None where none was named: of any."""
    return None if cfg.experiment_name == DEFAULT else cfg.experiment_name


def report(
    run: Run, ckpt_path: Path, datamodule: LightningDataModule, metrics: dict[str, float], cfg: DictConfig
) -> None:
    """Print the figures of every head, and save them."""
    results = head_results(
        metrics,
        [asdict(spec) for spec in run.info.parameters],
        datamodule.majority_share(cfg.split),
        datamodule.mean_error(cfg.split),
        read_visible(Path(cfg.paths.log_dir), datamodule.data_dir.name),
        cfg.split,
    )
    console = Console()
    console.print(results_table(results, f"{ckpt_path.name}, {cfg.split} set"))
    path = write_results(
        {"checkpoint": str(ckpt_path), "heads": results, "metrics": metrics}, Path(cfg.paths.output_dir)
    )
    console.print(f"Results: {path}", soft_wrap=True, highlight=False)


def main(cfg: DictConfig) -> None:
    """What the program does."""
    extras(cfg)
    evaluate(cfg)
