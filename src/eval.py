"""Tests a checkpoint: network, loss and dataset are those it was trained with.

python src/eval.py ckpt_path=logs/train/example/.../checkpoints/epoch_042.ckpt
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rootutils

root = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True, dotenv=True)

from src.utils.pylogger import RankedLogger  # noqa: E402
from src.utils.task import entry_point, extras, task_wrapper  # noqa: E402

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule
    from omegaconf import DictConfig

    from src.utils.run import Run

log = RankedLogger(__name__)

FUNCTIONS = {"val": "validate", "test": "test"}


@task_wrapper
def evaluate(cfg: "DictConfig") -> dict[str, float]:
    """Evaluate as configured.

    Returns:
        Every metric, by name.
    """
    from hydra.utils import instantiate
    from rich.console import Console

    from src.errors import ConfigError
    from src.utils.instantiators import instantiate_loggers
    from src.utils.results import head_results, results_table, write_results
    from src.utils.run import check_same_heads, load_run

    if cfg.split not in FUNCTIONS:
        raise ConfigError(f"split is {cfg.split!r}; choose one of {', '.join(FUNCTIONS)}.")
    run = load_run(cfg.ckpt_path, cfg.trusted_modules)
    datamodule = restore_datamodule(run, cfg)
    datamodule.prepare_data()
    check_same_heads(run.info, datamodule.info, str(datamodule.data_dir))
    log.info("Dataset: %s", datamodule.data_dir)

    trainer = instantiate(cfg.trainer, logger=instantiate_loggers(cfg.logger) or False)
    getattr(trainer, FUNCTIONS[cfg.split])(run.module, datamodule=datamodule, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    heads = [{"name": spec.name, "units": spec.units} for spec in run.info.parameters]
    results = head_results(metrics, datamodule.majority_share(cfg.split), heads, cfg.split)
    console = Console()
    console.print(results_table(results, f"{Path(cfg.ckpt_path).name}, {cfg.split} set"))
    path = write_results(
        {"checkpoint": cfg.ckpt_path, "heads": results, "metrics": metrics}, Path(cfg.paths.output_dir)
    )
    console.print(f"Results: {path}", soft_wrap=True, highlight=False)
    return metrics


def restore_datamodule(run: "Run", cfg: "DictConfig") -> "LightningDataModule":
    """The datamodule of the training, at the place and with the batch size that were asked for."""
    from src.utils.trusted import instantiate_trusted

    wanted: dict[str, Any] = {"make_dataset": None}
    wanted |= {key: cfg[key] for key in ("data_dir", "batch_size") if cfg[key] is not None}
    return instantiate_trusted(run.config["data"] | wanted, cfg.trusted_modules)


@entry_point(config_name="eval")
def main(cfg: "DictConfig") -> None:
    """Evaluate a checkpoint."""
    extras(cfg)
    evaluate(cfg)


if __name__ == "__main__":
    main()
