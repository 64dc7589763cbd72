"""Trains a network and tests its best checkpoint.

python src/train.py experiment=example
python src/train.py data=vimh_16kdss model=cnn_tiny loss=soft_target trainer.max_epochs=20
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO
from omegaconf import DictConfig, OmegaConf

from src.checkpoints.atomic import AtomicCheckpoints
from src.checkpoints.run import SaveRun, build_model, check_resumable
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import ConfigError, VIMHError, check_number
from src.evaluation.domain import Domain
from src.hydra_versions import instantiate
from src.models.costs import cpu_threads, keep_freed_memory, useful_threads
from src.models.vimh_module import VIMHLitModule
from src.programs.explain import invalid_setting
from src.programs.interrupts import StopOnInterrupt
from src.programs.loggers import hide_lost_steps, instantiate_callbacks, instantiate_trainer, log_hyperparameters
from src.programs.output import RankedLogger, process_rank, say_where
from src.programs.run_dirs import resolve_ckpt_path
from src.programs.sweep import check_sweep_devices, configured_devices, is_sweep
from src.tasks.calibration import calibrate
from src.tasks.devices import check_accelerator
from src.tasks.results import confusions_of, metrics_of, report_results
from src.tasks.what_runs import announce_run, early_end, waiting

log = RankedLogger(__name__)


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
    model = build_model(cfg, datamodule.info, datamodule.aux_statistics(), **for_training(cfg, datamodule))
    steps = None if ckpt_path is None else check_resumable(ckpt_path, model, datamodule.info, cfg.data)
    trainer = make_trainer(cfg, datamodule)
    if cfg.train and steps is not None:
        hide_lost_steps(trainer, steps)
    log_hyperparameters(cfg, model, trainer)
    announce_run(f"{cfg.experiment_name}: ", datamodule, model, trainer, cfg.seed)

    keep_freed_memory()
    start = time.monotonic()
    with cpu_threads(n_threads(cfg, trainer, model, datamodule)):
        if cfg.train:
            trainer.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
            for said in filter(None, (early_end(trainer), waiting(datamodule, time.monotonic() - start))):
                log.info("%s", said)
            calibrate(trainer, model, datamodule)
        seconds = time.monotonic() - start
        metrics = metrics_of(trainer)
        about = about_run(cfg, model, datamodule, int(metrics.pop("epochs", 0)), seconds)
        if cfg.test:
            checkpoint = checkpoint_to_test(cfg, trainer, ckpt_path)
            log.debug("Testing %s", checkpoint or "the weights in memory: nothing was saved")
            trainer.test(model, datamodule=datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
            tested, confusions = metrics_of(trainer), confusions_of(trainer, "test")
            metrics |= tested
            validation = validation_figures(trainer, model, datamodule, checkpoint)
            if trainer.is_global_zero:
                title = f"{cfg.experiment_name}, {len(datamodule.test_set):,} test samples"
                about["checkpoint"] = checkpoint
                about["validation"] = validation
                specs = datamodule.info.parameters
                report_results(title, tested, specs, datamodule, about, cfg.paths, confusions=confusions)
        elif trainer.is_global_zero:
            say_where(Checkpoint=checkpoint_to_test(cfg, trainer, ckpt_path))
    return metrics


def for_training(cfg: DictConfig, datamodule: VIMHDataModule) -> dict[str, Any]:
    """What a module needs to train beside what a checkpoint holds: see `build_model`.

    Raises:
        ConfigError: If classes are balanced twice.
    """
    found = {"augment": instantiate(cfg.augment)}
    if cfg.loss.get("class_weights") is None:
        return found
    if datamodule.balanced is not None:
        raise ConfigError(
            f"loss.class_weights is {cfg.loss.class_weights}, but data.balanced={datamodule.balanced} draws classes "
            "equally often already. Leave one of them out."
        )
    return found | {"class_counts": datamodule.class_counts()}


def check_settings(cfg: DictConfig) -> None:
    """Refuse settings that are wrong whatever the dataset."""
    if is_sweep():
        check_sweep_devices(configured_devices(cfg.trainer))
    if cfg.seed is not None:
        check_number("seed", cfg.seed, whole=True, least=0, most=2**32 - 1)
    for section in ("trainer", "model"):  # on some settings, Lightning would fail during training
        if found := invalid_setting(cfg[section], section):
            raise ConfigError(found)
    check_optimizer(cfg.model)
    check_accelerator(cfg.trainer)


def check_optimizer(cfg: DictConfig) -> None:
    """Refuse an optimizer or a scheduler that cannot be made, or an optimizer that cannot make a step.

    Args:
        cfg: The section `model`.
    """
    weights = [torch.ones(2, 2, requires_grad=True), torch.ones(2, requires_grad=True)]  # a layer's weight and bias
    try:
        optimizer = instantiate(cfg.optimizer)(params=weights)
    except (TypeError, ValueError, RuntimeError) as error:
        found = invalid_setting(cfg.optimizer, "model.optimizer")
        raise ConfigError(found or f"model.optimizer: {error}") from error
    scheduler = cfg.get("scheduler")
    if scheduler is not None and (found := invalid_setting(scheduler, "model.scheduler")):
        raise ConfigError(found)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.stack([weight.square().sum() for weight in weights]).sum()
        loss.backward()
        return loss

    try:
        with suppress(AssertionError):  # one that works on a GPU only
            optimizer.step(closure)
    except RuntimeError as error:
        name = type(optimizer).__name__
        raise ConfigError(f"model.optimizer: {name} cannot train a network of this project: {error}") from error


def make_trainer(cfg: DictConfig, datamodule: VIMHDataModule) -> Trainer:
    """The trainer with its callbacks and loggers, ready to write checkpoints that describe themselves."""
    save_run = SaveRun(cfg, datamodule.info, Domain.fit(*datamodule.some_training_images()).to_dict())
    callbacks = [*instantiate_callbacks(cfg.callbacks), save_run, StopOnInterrupt()]
    # Lightning leaves clipping and accumulation to a module that makes its own steps; its configuration has them.
    by_module = {"gradient_clip_val": None, "accumulate_grad_batches": 1}
    plugins = instantiate_plugins(cfg.trainer.get("plugins"))
    trainer = instantiate_trainer(cfg.trainer, callbacks, cfg.logger, plugins=plugins, **by_module)
    n_devices = trainer.num_devices * trainer.num_nodes
    if is_sweep():  # again: the trainer alone resolves `auto`
        check_sweep_devices(n_devices)
    datamodule.check_devices(n_devices)
    return trainer


def instantiate_plugins(plugins_cfg: Any) -> list[Any]:
    """The plugins of a trainer, one of which writes checkpoints: that of the configuration, or else ours.

    Args:
        plugins_cfg: As Lightning takes it, a plugin or a list of them, or None.
    """
    plugins = instantiate(plugins_cfg, _convert_="all") if OmegaConf.is_config(plugins_cfg) else plugins_cfg or []
    plugins = plugins if isinstance(plugins, list) else [plugins]
    if any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        return plugins
    return [*plugins, AtomicCheckpoints()]


def about_run(
    cfg: DictConfig, model: VIMHLitModule, datamodule: VIMHDataModule, epochs: int, seconds: float
) -> dict[str, Any]:
    """What `results.json` holds of a training beside its metrics."""
    n_sounds = len(datamodule.train_set)
    if datamodule.stream:  # other sounds in every epoch
        n_sounds = (datamodule.stream_size or n_sounds) * epochs
    costs = {"sound_seconds": datamodule.worked, "waited_seconds": datamodule.waited} if datamodule.makes_sounds else {}
    return {
        "experiment_name": cfg.experiment_name,
        "dataset": datamodule.data_dir.name,
        "model": type(model.net).__name__,
        "parameters": sum(parameter.numel() for parameter in model.net.parameters()),
        "training_samples": n_sounds,
        "epochs": epochs,
        "training_seconds": round(seconds, 1),
        **{name: round(figure, 1) for name, figure in costs.items()},
        "seed": cfg.seed,
    }


def prepared_datamodule(cfg: DictConfig) -> VIMHDataModule:
    """The datamodule, its dataset made if it was missing: the first process makes it, others wait."""
    log.debug("Dataset: %s", cfg.data.data_dir)
    data_dir = cfg.data.data_dir and Path(cfg.data.data_dir)  # in text, ${…} would be interpolated once more
    if cfg.get("perturb") and cfg.data.get("recordings") is None:
        raise ConfigError(
            f"perturb is {', '.join(cfg.perturb)}, but data.recordings names no files that this could happen to. Name "
            "the directory that a set of recordings was packed from. Sounds of a synth are perturbed when they are "
            "made: generate_vimh.py perturb=NAME."
        )
    datamodule = instantiate(cfg.data, data_dir=data_dir)
    if process_rank() == 0:
        datamodule.prepare_data()
    while not Path(cfg.data.data_dir).exists():
        time.sleep(0.5)
    if cfg.test and datamodule.info.test_samples == 0:
        raise VIMHError(f"{cfg.data.data_dir}: has no test samples. Train with test=false, or use another dataset.")
    return datamodule


def n_threads(cfg: DictConfig, trainer: Trainer, model: VIMHLitModule, datamodule: VIMHDataModule) -> int:
    """Threads of PyTorch on the CPU: `cfg.threads`, or as many as the network has work for."""
    available = torch.get_num_threads()
    if cfg.threads != "auto":
        return check_number("threads", cfg.threads, whole=True, least=1, hint=", or auto")
    if trainer.strategy.root_device.type != "cpu":
        return available
    image = torch.zeros(1, *datamodule.info.image_shape, dtype=torch.uint8)
    aux = torch.zeros(1, len(cfg.data.aux))
    return useful_threads(model.net, (image, aux), cfg.data.batch_size, available)


def checkpoint_to_test(cfg: DictConfig, trainer: Trainer, ckpt_path: str | None) -> str | None:
    """The best checkpoint that this run wrote; else the one it was given; None for the weights in memory."""
    callback = trainer.checkpoint_callback
    if not isinstance(callback, ModelCheckpoint):
        return None if cfg.train else ckpt_path
    return callback.best_model_path or ckpt_path


def validation_figures(
    trainer: Trainer, model: VIMHLitModule, datamodule: VIMHDataModule, checkpoint: str | None
) -> dict[str, float]:
    """Figures of the tested weights on the validation samples, by which runs are compared: no choice uses test samples.

    They are no part of the curves, so that neither loggers nor the progress bar see them.

    Args:
        trainer: Has trained or tested.
        model: The module.
        datamodule: Of the dataset.
        checkpoint: The weights; None: those in memory.

    Returns:
        Figure to number, as `HeadMetrics` names them; empty where the trainer validates no batches.
    """
    loggers, trainer.loggers = trainer.loggers, []
    bar: Any = trainer.progress_bar_callback
    shown = bar is not None and bar.is_enabled
    try:
        if shown:
            bar.disable()
        trainer.validate(model, datamodule=datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
    finally:
        trainer.loggers = loggers
        if shown:
            bar.enable()
    found = metrics_of(trainer).items()
    return {name.removeprefix("val/"): figure for name, figure in found if name.startswith("val/")}
