"""Training by chunks makes the weights of a plain loop, and what counts steps counts optimizer steps."""

import datetime
import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from src.callbacks.model_checkpoint import ModelCheckpoint
from src.data import batches
from src.errors import ConfigError

N_BATCHES = 6  # of an epoch: 46 training samples, 8 to the batch
EPOCHS = 3
SGD = ("model.optimizer._target_=torch.optim.SGD", "model.optimizer.lr=0.1", "+model.optimizer.momentum=0.9")
LBFGS = (
    "model=mlp_linear ~model.optimizer.weight_decay model.optimizer._target_=torch.optim.LBFGS "
    "model.optimizer.lr=0.1 +model.optimizer.max_iter=3"
)
STEP_LR = "++model.scheduler={_target_: torch.optim.lr_scheduler.StepLR, _partial_: true, step_size: 1, gamma: 0.5}"

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*LeafSpec", "ignore:You requested to overfit", "ignore:Checkpoint directory"
)


@pytest.fixture(autouse=True)
def chunks_of_four(monkeypatch):
    """An epoch has a chunk of four batches, and one of two."""
    monkeypatch.setattr(batches, "CHUNK_SAMPLES", 32)


@pytest.fixture
def plain_loop(prepare):
    """Trains as one would without Lightning; returns the module."""

    def train(
        *overrides,
        epochs=EPOCHS,
        n_batches=N_BATCHES,
        max_steps=math.inf,
        accumulate=1,
        clip=lambda weights: None,
        make_scheduler=None,
        after_step=lambda scheduler: scheduler.step(),
        after_epoch=lambda scheduler, loss: None,
        precision=torch.float32,
        memory_format=torch.preserve_format,
    ):
        datamodule, module, _ = prepare(*overrides)
        module.net.to(memory_format=memory_format)
        loader = datamodule.train_dataloader()
        weights = list(module.parameters())
        optimizer = module.make_optimizer(params=weights)
        scheduler = make_scheduler(optimizer) if make_scheduler else None
        n_steps = 0
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)
            kept = list(loader.batches)[:n_batches]
            for first in range(0, len(kept), accumulate):
                if n_steps >= max_steps:
                    return module

                def gradients(group=kept[first : first + accumulate]):
                    optimizer.zero_grad()
                    for batch in group:
                        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                            loss = module.compute_loss(module(batch["image"], batch["aux"]), batch)
                        (loss / accumulate).backward()
                    clip(weights)
                    return loss

                optimizer.step(gradients)
                n_steps += 1
                if scheduler is not None:
                    after_step(scheduler)
            if scheduler is not None:
                after_epoch(scheduler, validation_loss(module, datamodule))
        return module

    return train


def validation_loss(module, datamodule):
    """Mean over the validation samples."""
    batch = datamodule.val_set[:]
    module.eval()
    with torch.no_grad():
        loss = module.compute_loss(module(batch["image"], batch["aux"]), batch)
    module.train()
    return loss.item()


def assert_same_weights(module, expected):
    for (name, weight), other in zip(module.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


class Notes(Callback):
    """Notes the number of optimizer steps before every one, and at every validation."""

    def __init__(self):
        self.steps, self.validations, self.rates = [], [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append(trainer.global_step)
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.validations.append(trainer.global_step)


def clip_norm(weights):
    clip_grad_norm_(weights, 0.5)


def clip_value(weights):
    clip_grad_value_(weights, 0.01)


@pytest.mark.parametrize(
    ("overrides", "loop"),
    [
        ([], {}),
        pytest.param([*SGD], {}, marks=pytest.mark.slow),
        pytest.param(LBFGS.split(), {}, marks=pytest.mark.slow),
        (  # it takes no channels-last gradients
            [*LBFGS.split(), "model=cnn_micro"],
            {"memory_format": torch.contiguous_format},
        ),
        ([*SGD, "+trainer.gradient_clip_val=0.5"], {"clip": clip_norm}),
        (
            [*SGD, "+trainer.gradient_clip_val=0.01", "+trainer.gradient_clip_algorithm=value"],
            {"clip": clip_value},
        ),
        pytest.param([*LBFGS.split(), "+trainer.gradient_clip_val=0.5"], {"clip": clip_norm}, marks=pytest.mark.slow),
        pytest.param(
            [*SGD, "+trainer.accumulate_grad_batches=4"], {"accumulate": 4}, marks=pytest.mark.slow
        ),  # a step of two batches ends each epoch
        ([*SGD, "+trainer.accumulate_grad_batches=3", "data.batch_size=7"], {"accumulate": 3, "n_batches": 7}),
        (
            [*SGD, "+trainer.accumulate_grad_batches=2", "+trainer.gradient_clip_val=0.5"],
            {"accumulate": 2, "clip": clip_norm},
        ),
        (  # validations between the batches of a step
            [*SGD, "+trainer.accumulate_grad_batches=3", "+trainer.val_check_interval=2"],
            {"accumulate": 3},
        ),
        ([*SGD, "+trainer.precision=bf16-mixed"], {"precision": torch.bfloat16}),
        (
            [*SGD, STEP_LR, "model.scheduler_interval=epoch"],
            {
                "make_scheduler": partial(StepLR, step_size=1, gamma=0.5),
                "after_step": lambda scheduler: None,
                "after_epoch": lambda scheduler, loss: scheduler.step(),
            },
        ),
        (
            [*SGD, "scheduler=plateau", "model.scheduler.patience=0", "+model.scheduler.threshold=0.5"],
            {
                "make_scheduler": partial(ReduceLROnPlateau, factor=0.5, patience=0, threshold=0.5),
                "after_step": lambda scheduler: None,
                "after_epoch": lambda scheduler, loss: scheduler.step(loss),
            },
        ),
        pytest.param([*SGD, "+trainer.limit_train_batches=5"], {"n_batches": 5}, marks=pytest.mark.slow),
        pytest.param([*SGD, "+trainer.limit_train_batches=1"], {"n_batches": 1}, marks=pytest.mark.slow),
        pytest.param([*SGD, "+trainer.limit_train_batches=0.5"], {"n_batches": 3}, marks=pytest.mark.slow),
        (
            [*SGD, "+trainer.limit_train_batches=5", "+trainer.accumulate_grad_batches=2"],
            {"n_batches": 5, "accumulate": 2},
        ),
        pytest.param([*SGD, "+trainer.fast_dev_run=true"], {"n_batches": 1, "epochs": 1}, marks=pytest.mark.slow),
        ([*SGD, "+trainer.fast_dev_run=5"], {"n_batches": 5, "epochs": 1}),
        pytest.param([*SGD, "+trainer.max_steps=3"], {"max_steps": 3}, marks=pytest.mark.slow),
        pytest.param([*SGD, "+trainer.max_steps=11"], {"max_steps": 11}, marks=pytest.mark.slow),
        ([*SGD, "+trainer.max_steps=7", "trainer.max_epochs=-1"], {"max_steps": 7}),
        ([*SGD, "+trainer.max_steps=4", "+trainer.accumulate_grad_batches=2"], {"max_steps": 4, "accumulate": 2}),
        ([*SGD, "data.num_workers=1"], {}),
        ([*SGD, "data.in_memory=false"], {}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_weights_are_those_of_a_plain_loop(fit, plain_loop, overrides, loop):
    module, _ = fit(*overrides)
    assert_same_weights(module, plain_loop(*overrides, **loop))


@pytest.mark.parametrize(
    ("overrides", "n_steps"),
    [
        ([], EPOCHS * N_BATCHES),
        (["+trainer.accumulate_grad_batches=4"], 2 * EPOCHS),
        (["+trainer.limit_train_batches=4"], 4 * EPOCHS),
        (["+trainer.limit_train_batches=4", "+trainer.accumulate_grad_batches=3"], 2 * EPOCHS),
        (["+trainer.max_steps=8"], 8),
        (["+trainer.max_steps=8", "trainer.max_epochs=-1"], 8),
        (["+trainer.max_steps=800"], EPOCHS * N_BATCHES),
    ],
    ids=str,
)
def test_a_cosine_ends_with_the_training(fit, overrides, n_steps):
    notes = Notes()
    cosine = ["scheduler=cosine", "model.scheduler.warmup=0.25", *SGD]
    _, trainer = fit(*cosine, *overrides, callbacks=[notes])
    warm = max(1.0, 0.25 * n_steps)
    rising = [(step + 1) / (warm + 1) for step in range(math.ceil(warm))]
    falling = [(1 + math.cos(math.pi * (step - warm) / (n_steps - warm))) / 2 for step in range(len(rising), n_steps)]
    assert notes.steps == list(range(n_steps))
    assert notes.rates == pytest.approx([0.1 * rate for rate in rising + falling])
    assert trainer.global_step == n_steps


def test_a_training_without_an_end_has_no_cosine(prepare):
    datamodule, module, trainer = prepare("scheduler=cosine", "trainer.max_epochs=-1")
    with pytest.raises(ConfigError, match="needs to know the end"):
        trainer.fit(module, datamodule=datamodule)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [6, 12, 18]),
        (["+trainer.val_check_interval=2"], [2, 4, 6, 8, 10, 12, 14, 16, 18]),
        (["+trainer.val_check_interval=0.5"], [3, 6, 9, 12, 15, 18]),
        (["+trainer.val_check_interval=1", "trainer.max_epochs=1"], [1, 2, 3, 4, 5, 6]),
        (["+trainer.val_check_interval=5", "trainer.check_val_every_n_epoch=null"], [5, 10, 15]),
        (["trainer.check_val_every_n_epoch=2"], [12]),
        (["+trainer.max_steps=8"], [6]),  # none where the steps end within an epoch
        (["+trainer.max_steps=12"], [6, 12]),
    ],
    ids=str,
)
def test_validations_come_after_so_many_steps(fit, overrides, expected):
    notes = Notes()
    fit(*overrides, callbacks=[notes])
    assert notes.validations == expected


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ({"every_n_train_steps": 5}, [5, 10, 15]),
        ({"train_time_interval": datetime.timedelta(0)}, list(range(1, 19))),
        ({"every_n_epochs": 1}, [6, 12, 18]),
    ],
    ids=str,
)
def test_checkpoints_are_written_after_so_many_steps(fit, tmp_path, trigger, expected):
    checkpoint = ModelCheckpoint(tmp_path / "kept", "{step}", save_top_k=-1, **trigger)
    fit("++trainer.enable_checkpointing=true", callbacks=[checkpoint])
    assert sorted(int(path.stem.removeprefix("step=")) for path in (tmp_path / "kept").iterdir()) == expected


def test_a_callback_that_is_called_at_batches_is_called_at_every_batch(fit):
    class Counts(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            counted.append((trainer.global_step, len(batch), batch_idx))

    counted = []
    fit("trainer.max_epochs=2", callbacks=[Counts()])
    assert counted == [(step + 1, 1, step % N_BATCHES) for step in range(2 * N_BATCHES)]


@pytest.mark.parametrize(
    ("overrides", "n_val"),
    [
        ([], 5),
        (["+trainer.limit_val_batches=2"], 2),
        (["+trainer.limit_val_batches=1"], 1),
        (["+trainer.fast_dev_run=true"], 1),
        (["+trainer.overfit_batches=2"], 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("num_sanity", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1)), 3, -1])
def test_validation_batches_are_counted_one_by_one(prepare, monkeypatch, overrides, n_val, num_sanity):
    datamodule, module, trainer = prepare(
        "data.batch_size=1", "trainer.max_epochs=1", f"+trainer.num_sanity_val_steps={num_sanity}", *overrides
    )
    monkeypatch.setattr(batches, "CHUNK_SAMPLES", 2)
    validated = {True: 0, False: 0}
    evaluate = module._evaluate

    def counting(stage, chunk):
        validated[trainer.sanity_checking] += len(chunk)
        evaluate(stage, chunk)

    monkeypatch.setattr(module, "_evaluate", counting)
    trainer.fit(module, datamodule=datamodule)
    n_sanity = 0 if trainer.fast_dev_run else n_val if num_sanity == -1 else min(num_sanity, n_val)
    assert validated == {True: n_sanity, False: n_val}


@pytest.mark.parametrize(("limit", "n_test"), [(1.0, 13), (1, 1), (3, 3)])
def test_test_batches_are_counted_one_by_one(prepare, monkeypatch, limit, n_test):
    datamodule, module, trainer = prepare("data.batch_size=1", f"+trainer.limit_test_batches={limit}")
    counted = []
    evaluate = module._evaluate
    monkeypatch.setattr(module, "_evaluate", lambda stage, chunk: counted.extend(chunk) or evaluate(stage, chunk))
    trainer.test(module, datamodule=datamodule, verbose=False)
    assert len(counted) == n_test


def test_overfitting_counts_steps(fit):
    _, trainer = fit(*SGD, "+trainer.overfit_batches=2", "data.seed=null")
    assert trainer.global_step == 2 * EPOCHS


@pytest.mark.parametrize(
    ("overrides", "stop_at"),
    [
        ([], 5),
        ([], 6),
        ([], 14),
        (["+trainer.accumulate_grad_batches=2"], 4),
        (["data.stream=true"], 9),
        (["data.num_workers=1"], 9),
        (["augment=both", "data.balanced=note_velocity"], 9),
    ],
    ids=str,
)
def test_a_training_resumed_within_an_epoch_ends_with_the_same_weights(fit, tmp_path, overrides, stop_at):
    overrides = ["scheduler=cosine", "++trainer.enable_checkpointing=true", *overrides]

    def every(n_steps, name):
        return ModelCheckpoint(tmp_path / name, "{step}", every_n_train_steps=n_steps, save_top_k=-1)

    expected, _ = fit(*overrides, callbacks=[every(stop_at, "kept")])
    resumed, trainer = fit(
        *overrides, callbacks=[every(stop_at, "kept")], ckpt_path=tmp_path / "kept" / f"step={stop_at}.ckpt"
    )
    assert trainer.current_epoch == EPOCHS
    for name, tensor in expected.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


@pytest.mark.parametrize(("stop_at", "chunk"), [(2, 4), (3, 4), (8, 100), (10, 4)])
def test_a_training_may_be_resumed_within_an_epoch_with_larger_chunks(fit, tmp_path, monkeypatch, stop_at, chunk):
    class Save(Callback):  # called at every batch, so that chunks are single batches
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == stop_at:
                trainer.save_checkpoint(tmp_path / "kept.ckpt")

    expected, _ = fit("scheduler=cosine", callbacks=[Save()])
    monkeypatch.setattr(batches, "CHUNK_SAMPLES", 8 * chunk)
    resumed, trainer = fit("scheduler=cosine", ckpt_path=tmp_path / "kept.ckpt")
    assert (trainer.global_step, trainer.current_epoch) == (6 * EPOCHS, EPOCHS)
    for name, tensor in expected.net.state_dict().items():
        assert torch.equal(resumed.net.state_dict()[name], tensor), name


def test_figures_do_not_depend_on_the_size_of_chunks(fit, monkeypatch):
    figures = []
    for n_samples in (1, 16, 10**6):
        monkeypatch.setattr(batches, "CHUNK_SAMPLES", n_samples)
        _, trainer = fit("data.val_fraction=0.5", "data.batch_size=4")
        figures.append({name: float(figure) for name, figure in trainer.callback_metrics.items()})
    assert figures[1] == pytest.approx(figures[0], rel=1e-6)
    assert figures[2] == pytest.approx(figures[0], rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # PyTorch's compiler uses it itself
def test_weights_of_a_compiled_network_are_those_of_a_plain_loop(fit, plain_loop):
    overrides = [*SGD, "model.net.widths=[4]", "data.batch_size=23", "trainer.max_epochs=2"]
    module, _ = fit(*overrides, "model.compile=true")
    expected = plain_loop(*overrides, epochs=2, n_batches=2)
    for (name, weight), other in zip(module.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
def test_weights_of_two_devices_are_those_of_a_plain_loop_over_both_halves(prepare, tmp_path):
    """Gradients are averaged over devices, and every device normalizes its own half of a batch."""
    slow = [*SGD, "model.optimizer.lr=0.01", "trainer.max_epochs=1"]  # tiny batches make much of rounding
    overrides = [*slow, "trainer=ddp_sim", "+trainer.accumulate_grad_batches=2", "++trainer.enable_checkpointing=true"]
    checkpoint = ModelCheckpoint(tmp_path / "kept", "last")
    datamodule, module, trainer = prepare(*overrides, callbacks=[checkpoint])
    trainer.fit(module, datamodule=datamodule)
    found = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)["state_dict"]

    datamodule, module, _ = prepare(*slow)
    optimizer = module.make_optimizer(params=module.parameters())
    orders = [batches.BatchOrder(46, 4, datamodule.seed, rank, 2, equal=True) for rank in range(2)]
    for number, halves in enumerate(zip(*orders, strict=True)):
        if number % 2 == 0:
            optimizer.zero_grad()
        for half in halves:
            batch = datamodule.train_set[half]
            (module.compute_loss(module(batch["image"], batch["aux"]), batch) / 4).backward()
        if number % 2:
            optimizer.step()
    for name, weight in module.named_parameters():
        torch.testing.assert_close(found[name], weight.detach(), rtol=1e-4, atol=1e-6)
