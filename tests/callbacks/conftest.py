"""As much of a training as callbacks need that write to TensorBoard, and what they have written."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.plugins import Precision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.callbacks.tensorboard import TensorBoardLogger

RATE = 1000  # Hz, of the dataset


@pytest.fixture
def trainer(tmp_path):
    """As much of a trainer as the callbacks use, with a TensorBoard logger."""
    return SimpleNamespace(
        default_root_dir=str(tmp_path / "logs" / "cnn" / "now"),
        global_step=0,
        current_epoch=0,
        is_global_zero=True,
        sanity_checking=False,
        precision_plugin=Precision(),
        datamodule=SimpleNamespace(info=SimpleNamespace(sample_rate=RATE)),
        loggers=[TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False)],
    )


@pytest.fixture
def events():
    """Reads what the logger of a trainer has written."""

    def read(trainer):
        (logger,) = trainer.loggers
        logger.save()
        return EventAccumulator(logger.log_dir).Reload()

    return read


@pytest.fixture
def train():
    """Calls a callback as a training of some epochs does, ten steps each, with a chunk of batches at a time."""

    def train(callback, trainer, module, epochs, chunk, n_chunks):
        callback.on_fit_start(trainer, module)
        for epoch in range(epochs):
            trainer.current_epoch, trainer.global_step = epoch, 10 * (epoch + 1)
            callback.on_validation_epoch_start(trainer, module)
            for number in range(n_chunks):
                callback.on_validation_batch_end(trainer, module, None, chunk, number)
            callback.on_validation_end(trainer, module)
        callback.on_train_end(trainer, module)

    return train
