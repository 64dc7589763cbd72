"""What tests of trainings share: a training as `train.py` runs it, without its files and its output."""

import pytest
from lightning.pytorch import seed_everything

from src.checkpoints.run import build_model
from src.hydra_versions import instantiate
from src.tasks.train import for_training, make_trainer

EPOCHS = 3


@pytest.fixture
def prepare(compose_run, saw_dir, tmp_path):
    """Builds datamodule, module and trainer of a configuration as `train.py` does."""

    def make(*overrides, callbacks=()):
        seed_everything(0, verbose=False)
        cfg = compose_run(
            tmp_path,
            *("model=cnn_micro", "logger=none", "scheduler=none", f"trainer.max_epochs={EPOCHS}"),
            "+trainer.enable_checkpointing=false",
            *(f"data.data_dir={saw_dir}", "data.make_dataset=null", "data.batch_size=8", *overrides),
        )
        cfg.callbacks = None
        datamodule = instantiate(cfg.data)
        module = build_model(cfg, datamodule.info, datamodule.aux_statistics(), **for_training(cfg, datamodule))
        trainer = make_trainer(cfg, datamodule)
        trainer.callbacks.extend(callbacks)
        return datamodule, module, trainer

    return make


@pytest.fixture
def fit(prepare):
    """Trains as `train.py` does; returns module and trainer."""

    def train(*overrides, callbacks=(), **settings):
        datamodule, module, trainer = prepare(*overrides, callbacks=callbacks)
        trainer.fit(module, datamodule=datamodule, weights_only=True, **settings)
        return module, trainer

    return train
