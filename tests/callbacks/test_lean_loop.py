import gc

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from torch.utils.data import DataLoader

from src.callbacks.lean_loop import CALLED, LeanEpochLoop, LeanLoop


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


class Recorder(Callback):
    """Notes every hook of a batch, and the step at which it was called."""

    def __init__(self):
        self.heard = []


for _hook in CALLED:

    def _note(self, trainer, module, *args, _hook=_hook):
        self.heard.append((_hook, trainer.global_step, len(args)))

    setattr(Recorder, _hook, _note)


def optimizer_of(kind):
    class WithOptimizer(Module):
        def configure_optimizers(self):
            return kind(self.parameters(), lr=0.1)

    return WithOptimizer()


@pytest.mark.filterwarnings("ignore:The .*_dataloader")
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.LBFGS])
def test_a_lean_training_is_the_same_training(tmp_path, kind):
    recorders = Recorder(), Recorder()
    plain, trainer = fit(tmp_path, recorders[0], module=optimizer_of(kind))
    lean, lean_trainer = fit(tmp_path, recorders[1], LeanLoop(), module=optimizer_of(kind))
    assert type(lean_trainer.fit_loop.epoch_loop) is LeanEpochLoop
    assert type(trainer.fit_loop.epoch_loop) is not LeanEpochLoop
    assert lean == plain != 0
    assert recorders[0].heard == recorders[1].heard != []
    assert lean_trainer.fit_loop.state_dict() == trainer.fit_loop.state_dict()


@pytest.mark.filterwarnings("ignore:The .*_dataloader")
def test_hooks_of_an_instance_are_called(tmp_path):
    heard = []
    fit(tmp_path, LambdaCallback(on_before_zero_grad=lambda *_: heard.append("zero")), LeanLoop())
    assert heard == 6 * ["zero"]


@pytest.mark.filterwarnings("ignore:The .*_dataloader")
@pytest.mark.parametrize("settings", [{"gradient_clip_val": 1.0}, {"precision": "bf16-mixed"}, {"profiler": "simple"}])
def test_what_asks_for_more_keeps_the_loop_of_lightning(tmp_path, settings):
    _, trainer = fit(tmp_path, LeanLoop(), **settings)
    assert type(trainer.fit_loop.epoch_loop) is _TrainingEpochLoop


@pytest.mark.filterwarnings("ignore:The .*_dataloader")
def test_gradients_accumulate_as_without(tmp_path):
    plain, trainer = fit(tmp_path, accumulate_grad_batches=2)
    lean, lean_trainer = fit(tmp_path, LeanLoop(), accumulate_grad_batches=2)
    assert lean == plain != 0
    assert lean_trainer.fit_loop.state_dict() == trainer.fit_loop.state_dict()


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
