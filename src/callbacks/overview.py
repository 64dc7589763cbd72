"""`Overview`: the row of a run in TensorBoard's HParams tab, and the charts in its tab Custom Scalars."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb

from src.callbacks.tensorboard import STAGES, tag_of, tensorboard_loggers
from src.params import ParamSpec

# Columns of the row. They are the same in every run: TensorBoard takes those of the first that it finds for all.
SETTINGS = {
    "experiment": ("experiment_name",),
    "dataset": ("data", "data_dir"),
    "network": ("model", "net", "_target_"),
    "weights": ("model/params/total",),
    "loss": ("loss", "_target_"),
    "optimizer": ("model", "optimizer", "_target_"),
    "learning rate": ("model", "optimizer", "lr"),
    "weight decay": ("model", "optimizer", "weight_decay"),
    "batch size": ("data", "batch_size"),
    "training sounds": ("data", "train_size"),
    "epochs": ("trainer", "max_epochs"),
    "seed": ("seed",),
}
RESULTS = {"acc": "accuracy", "steps": "error in steps", "loss": "loss"}


class Overview(Callback):
    """Writes two things to TensorBoard when a run begins, so that one that is stopped has them as well.

    In the HParams tab the run gets its row: its main settings, and its latest results. In the tab Custom Scalars, loss,
    accuracy, and error and accuracy of every head are charts, each with the curves of training and validation samples.
    """

    def __init__(self) -> None:
        self.is_written = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before everything."""
        self._write(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before a test, which may come without a training."""
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the row and the charts of a `VIMHLitModule`, once."""
        if self.is_written:
            return
        run_dir = Path(trainer.default_root_dir)
        for logger in tensorboard_loggers(trainer):
            write = logger.experiment.file_writer.add_summary
            write(hparams_config_pb([HParam(name) for name in SETTINGS], results()))
            hparams: Any = logger.hparams
            # Runs of the same settings would share a row, if this did not tell them apart.
            write(hparams_pb(settings(hparams), trial_id="/".join(run_dir.parts[-2:])))
            logger.experiment.add_custom_scalars(charts(pl_module.specs))
        self.is_written = True


def results() -> list[Metric]:
    """The metrics of a row, of the test and of the last validation."""
    return [
        Metric(tag_of(f"{stage}/{figure}"), display_name=f"{stage} {name}")
        for stage in ("test", "val")
        for figure, name in RESULTS.items()
    ]


def settings(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a row.

    Args:
        hparams: Nested, as `hyperparameters` in `src/programs/loggers.py` returns them.

    Returns:
        Name of each column to a number or a text; of classes and directories, the last part of their names.
    """
    found = {name: _at(hparams, keys) for name, keys in SETTINGS.items()}
    shown = {name: PurePath(value).name if name == "dataset" else value for name, value in found.items() if value}
    return {
        name: str(value).rpartition(".")[2] if SETTINGS[name][-1] == "_target_" else value
        for name, value in shown.items()
        if isinstance(value, str | int | float)
    }


def _at(hparams: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """A nested entry; None where there is none."""
    entry: Any = hparams
    for key in keys:
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry


def charts(specs: Sequence[ParamSpec]) -> dict[str, dict[str, list[Any]]]:
    """Charts by category, as `add_custom_scalars` takes them, for the heads of some parameters."""
    by_head = {spec.name: spec for spec in specs}
    return {
        "Means over the heads": {
            "loss": _chart("loss"),
            "accuracy": _chart("acc"),
            "error in grid steps": _chart("steps"),
        },
        "Error by head": {
            f"{name}, {spec.natural_units}".rstrip(", "): _chart(f"{name}_mae")
            for name, spec in by_head.items()
            if not spec.categorical
        },
        "Accuracy by head": {name: _chart(f"{name}_acc") for name in by_head},
    }


def _chart(figure: str) -> list[Any]:
    """A chart with the curves of a figure; TensorBoard takes tags as regular expressions."""
    return ["Multiline", [f"{re.escape(tag_of(f'{stage}/{figure}'))}$" for stage in STAGES]]
