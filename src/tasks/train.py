"""Trains a network and tests its best checkpoint.

python src/train.py experiment=example
python src/train.py data=vimh_16kdss model=cnn_tiny loss=soft_target trainer.max_epochs=20
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import get_class, instantiate
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor

from src.checkpoints.run import SaveRun, build_model, check_resumable
from src.errors import ConfigError, VIMHError, check_whole
from src.evaluation.domain import Domain
from src.models.costs import useful_threads
from src.programs.explain import invalid_setting
from src.programs.instantiators import instantiate_callbacks, instantiate_loggers
from src.programs.interrupts import StopOnInterrupt
from src.programs.logging_utils import hide_lost_steps, log_hyperparameters
from src.programs.program import extras, get_metric_value, task_wrapper
from src.programs.pylogger import RankedLogger, process_rank
from src.programs.results import head_results, read_visible, results_table, write_results
from src.programs.run_dirs import resolve_ckpt_path
from src.programs.sweep import check_sweep_devices, configured_devices, is_sweep
from src.programs.threads import cpu_threads

log = RankedLogger(__name__)


@task_wrapper
def train(cfg: DictConfig) -> dict[str, float]:
    """Train and test as configured.

    Returns:
        Every metric that was logged last, by name.
    """
    check_settings(cfg)
    if cfg.seed is not None:
        lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    ckpt_path = resolve_ckpt_path(cfg)
    datamodule = prepared_datamodule(cfg)
    model = build_model(cfg, datamodule.info, datamodule.aux_statistics())
    steps = None if ckpt_path is None else check_resumable(ckpt_path, model, datamodule.info, cfg.data)
    trainer = make_trainer(cfg, datamodule)
    if cfg.train and steps is not None:
        hide_lost_steps(trainer, steps)
    log_hyperparameters(cfg, model, trainer)

    start = time.monotonic()
    with cpu_threads(n_threads(cfg, trainer, model, datamodule)):
        if cfg.train:
            trainer.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
        metrics = plain(trainer.callback_metrics)
        about = about_run(cfg, model, datamodule, int(metrics.pop("epochs", 0)), time.monotonic() - start)
        if cfg.test:
            checkpoint = checkpoint_to_test(cfg, trainer, ckpt_path)
            log.info("Testing %s", checkpoint or "the weights in memory: nothing was saved")
            trainer.test(model, datamodule=datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
            tested = plain(trainer.callback_metrics)
            metrics |= tested
            if trainer.is_global_zero:
                report(about | {"checkpoint": checkpoint}, tested, datamodule, cfg.paths)
    return metrics


def check_settings(cfg: DictConfig) -> None:
    """Refuse what needs no dataset to be refused."""
    if is_sweep():
        check_sweep_devices(configured_devices(cfg.trainer))
    if cfg.seed is not None:
        check_whole("seed", cfg.seed, least=0, most=2**32 - 1)
    check_trainer(cfg.trainer)
    check_optimizer(cfg.model.optimizer)


def check_trainer(trainer: DictConfig) -> None:
    """Refuse settings of another kind than the trainer takes: some it would meet in the middle of its work."""
    found = invalid_setting(get_class(trainer["_target_"]), OmegaConf.to_container(trainer, resolve=True), "trainer")
    if found:
        raise ConfigError(found)


def check_optimizer(optimizer: DictConfig) -> None:
    """Refuse settings that the optimizer does not take, by making one of a single weight."""
    make = instantiate(optimizer)
    try:
        make(params=[torch.zeros(1, requires_grad=True)])
    except (TypeError, ValueError) as error:
        settings = OmegaConf.to_container(optimizer, resolve=True)
        found = invalid_setting(get_class(optimizer["_target_"]), settings, "model.optimizer")
        raise ConfigError(found or f"model.optimizer: {error}") from error


def plain(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """Metrics as numbers."""
    return {name: float(metric) for name, metric in metrics.items()}


def make_trainer(cfg: DictConfig, datamodule: LightningDataModule) -> Trainer:
    """The trainer with its callbacks and loggers, ready to write checkpoints that describe themselves."""
    save_run = SaveRun(cfg, datamodule.info, Domain.fit(datamodule.some_training_images()).to_dict())
    loggers = instantiate_loggers(cfg.logger)
    callbacks = [*instantiate_callbacks(cfg.callbacks), save_run, StopOnInterrupt()]
    # Lightning leaves clipping and accumulation to a module that makes its own steps; its configuration has them.
    by_module = {"gradient_clip_val": None, "accumulate_grad_batches": 1}
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers or False, **by_module)
    n_devices = trainer.num_devices * trainer.num_nodes
    if is_sweep():  # once more: what `auto` means, the trainer alone knows
        check_sweep_devices(n_devices)
    datamodule.check_devices(n_devices)
    return trainer


def about_run(
    cfg: DictConfig, model: LightningModule, datamodule: LightningDataModule, epochs: int, seconds: float
) -> dict[str, Any]:
    """What is to be known about a training beside its metrics."""
    return {
        "experiment_name": cfg.experiment_name,
        "model": type(model.net).__name__,
        "parameters": sum(parameter.numel() for parameter in model.net.parameters()),
        "training_samples": n_training_sounds(datamodule, epochs),
        "epochs": epochs,
        "training_seconds": round(seconds, 1),
        "seed": cfg.seed,
    }


def prepared_datamodule(cfg: DictConfig) -> LightningDataModule:
    """The datamodule, its dataset made if it was missing."""
    log.info("Dataset: %s", cfg.data.data_dir)
    datamodule = instantiate(cfg.data)
    prepare_once(datamodule, Path(cfg.data.data_dir))
    if cfg.test and datamodule.info.test_samples == 0:
        raise VIMHError(f"{cfg.data.data_dir}: has no test samples. Train with test=false, or use another dataset.")
    return datamodule


def prepare_once(datamodule: LightningDataModule, data_dir: Path) -> None:
    """Make sure that the dataset exists before anything is built for it: the first process makes it, others wait."""
    if process_rank() == 0:
        datamodule.prepare_data()
    while not data_dir.exists():
        time.sleep(0.5)


def n_training_sounds(datamodule: LightningDataModule, epochs: int) -> int:
    """Number of different sounds that a training saw."""
    if not datamodule.stream:
        return len(datamodule.train_set)
    return (datamodule.stream_size or len(datamodule.train_set)) * epochs


def n_threads(cfg: DictConfig, trainer: Trainer, model: LightningModule, datamodule: LightningDataModule) -> int:
    """Threads of PyTorch on the CPU: `cfg.threads`, or as many as the network has work for."""
    available = torch.get_num_threads()
    if cfg.threads != "auto":
        if isinstance(cfg.threads, bool) or not isinstance(cfg.threads, int) or cfg.threads < 1:
            raise ConfigError(f"threads is {cfg.threads!r}; it must be auto, or a whole number of 1 or more.")
        return cfg.threads
    if trainer.strategy.root_device.type != "cpu":
        return available
    image = torch.zeros(1, *datamodule.info.image_shape, dtype=torch.uint8)
    aux = torch.zeros(1, len(cfg.data.aux))
    return useful_threads(model.net, (image, aux), cfg.data.batch_size, available)


def checkpoint_to_test(cfg: DictConfig, trainer: Trainer, ckpt_path: str | None) -> str | None:
    """The best checkpoint that this run wrote; else the one it was given; None for the weights in memory."""
    callback = trainer.checkpoint_callback
    if callback is None:
        return None if cfg.train else ckpt_path
    return callback.best_model_path or ckpt_path


def report(
    about: dict[str, Any], metrics: dict[str, float], datamodule: LightningDataModule, paths: DictConfig
) -> None:
    """Print what every head learnt, and save it with what is to be known about the run."""
    results = head_results(
        metrics,
        [asdict(spec) for spec in datamodule.info.parameters],
        datamodule.majority_share(),
        datamodule.mean_error(),
        read_visible(Path(paths.log_dir), datamodule.data_dir.name),
    )
    path = write_results(about | {"heads": results, "metrics": metrics}, Path(paths.output_dir))
    console = Console()
    console.print(results_table(results, f"{about['experiment_name']}, {len(datamodule.test_set):,} test samples"))
    console.print(f"Checkpoint: {about['checkpoint'] or 'none saved'}", soft_wrap=True, highlight=False)
    console.print(f"Results:    {path}", soft_wrap=True, highlight=False)


def main(cfg: DictConfig) -> float | None:
    """Train; returns the metric that a hyper-parameter search looks at."""
    extras(cfg)
    return get_metric_value(train(cfg), cfg.optimized_metric, required=is_sweep())
