"""Tests a checkpoint: network, loss and dataset are those it was trained with.

python src/eval.py [run=NAME|last|best] [split=train|val|test]
"""

from omegaconf import DictConfig

from src.checkpoints.run import load_run, restore_datamodule
from src.data.vimh_datamodule import STAGES, VIMHDataModule
from src.errors import check_choice
from src.programs.interrupts import StopOnInterrupt
from src.programs.loggers import instantiate_callbacks, instantiate_trainer
from src.programs.output import RankedLogger
from src.programs.run_dirs import checkpoint_to_read
from src.tasks.devices import check_accelerator
from src.tasks.results import confusions_of, metrics_of, report_results
from src.tasks.what_runs import announce_run

log = RankedLogger(__name__)

NO_NAME = "default"  # experiment_name when none was given


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Evaluate as configured.

    Returns:
        Every metric, by name.
    """
    check_choice("split", cfg.split, STAGES)
    check_accelerator(cfg.trainer)
    experiment_name = None if cfg.experiment_name == NO_NAME else cfg.experiment_name
    ckpt_path = checkpoint_to_read(cfg.run, cfg.ckpt_path, cfg.paths.log_dir, experiment_name)
    run = load_run(ckpt_path, cfg.trusted_modules)
    wanted = {
        "data_dir": cfg.data_dir,
        "batch_size": cfg.batch_size,
        "test_on": "train" if cfg.split == "train" else None,
    }
    datamodule: VIMHDataModule = restore_datamodule(run, cfg.trusted_modules, **wanted)
    log.debug("Dataset: %s", datamodule.data_dir)

    callbacks = [*instantiate_callbacks(cfg.callbacks), StopOnInterrupt()]
    trainer = instantiate_trainer(cfg.trainer, callbacks, cfg.logger)
    datamodule.check_devices(trainer.num_devices * trainer.num_nodes)
    announce_run("", datamodule, run.module, trainer, split=cfg.split)
    test = trainer.validate if cfg.split == "val" else trainer.test
    test(run.module, datamodule=datamodule, verbose=False)
    stage = "val" if cfg.split == "val" else "test"  # of the trainer
    metrics = {name.replace(f"{stage}/", f"{cfg.split}/", 1): figure for name, figure in metrics_of(trainer).items()}
    if trainer.is_global_zero:
        title = f"{ckpt_path.name}, {cfg.split} set"
        about = {"checkpoint": str(ckpt_path)}
        confusions = confusions_of(trainer, stage)
        report_results(title, metrics, run.info.parameters, datamodule, about, cfg.paths, cfg.split, confusions)
    return metrics
