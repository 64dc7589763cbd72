import gc
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler
from torch.utils.data import DataLoader

from src.callbacks.lean_loop import EACH_BATCH, LeanLoop, NoProfiler


class Module(LightningModule):
    """One weight, that should become 1."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        return (self.weight - batch.mean()).square()

    def validation_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Listener(Callback):
    """Notes two of the hooks."""

    def __init__(self):
        self.heard = []

    def on_train_batch_end(self, *_):
        self.heard.append("train")

    def on_validation_batch_end(self, *_):
        self.heard.append("val")


def fit(tmp_path, *callbacks, module=None, **settings):
    """Trains for two epochs of three batches; returns the weight."""
    module = module or Module()
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **settings,
    )
    trainer.fit(module, DataLoader(torch.ones(6), 2), DataLoader(torch.ones(2), 2))
    return module.weight.item(), trainer


@pytest.mark.filterwarnings("ignore:The .*_dataloader")
def test_a_lean_training_is_the_same_training(tmp_path):
    listeners = Listener(), Listener()
    heard = []
    by_instance = LambdaCallback(on_before_zero_grad=lambda *_: heard.append("zero"))
    plain, _ = fit(tmp_path, listeners[0])
    lean, trainer = fit(tmp_path, listeners[1], by_instance, LeanLoop())
    assert lean == plain != 0
    assert listeners[0].heard == listeners[1].heard == 2 * ["train", "train", "train", "val"]
    assert heard == 6 * ["zero"]
    assert type(trainer.profiler) is NoProfiler


def test_only_empty_hooks_are_left_out():
    listener, bare = Listener(), Callback()
    trainer = SimpleNamespace(callbacks=[listener, bare], profiler=PassThroughProfiler())
    for _ in range(2):  # a training, and its test
        LeanLoop().setup(trainer, None, "fit")
    assert [hook for hook in EACH_BATCH if getattr(bare, hook)] == []
    assert [hook for hook in EACH_BATCH if getattr(listener, hook)] == ["on_train_batch_end", "on_validation_batch_end"]
    assert callable(bare.on_train_start)


def test_a_profiler_that_measures_stays():
    trainer = SimpleNamespace(callbacks=[], profiler=(profiler := SimpleProfiler()))
    LeanLoop().setup(trainer, None, "fit")
    assert trainer.profiler is profiler


@pytest.mark.filterwarnings("ignore:The .*_dataloader")
@pytest.mark.parametrize("stops", [False, True])
def test_the_collector_gets_back_what_was_set_aside(tmp_path, stops):
    class Failing(Module):
        def training_step(self, batch, batch_idx):
            frozen.append(gc.get_freeze_count())
            if stops:
                raise RuntimeError("stopped")
            return super().training_step(batch, batch_idx)

    frozen = []
    before = gc.get_freeze_count()
    if stops:
        with pytest.raises(RuntimeError, match="stopped"):
            fit(tmp_path, LeanLoop(), module=Failing())
    else:
        fit(tmp_path, LeanLoop(), module=Failing())
    assert min(frozen) > 1000
    assert before == gc.get_freeze_count() == 0
