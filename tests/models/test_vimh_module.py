import math

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers import Logger
from scipy.special import log_softmax

from src.checkpoints.run import build_model
from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import VIMHDataset
from src.errors import ConfigError
from src.generation import generate
from src.hydra_versions import instantiate
from src.param_tensors import ParamTensors
from src.vimh.reader import VIMHReader

LOSSES = ["cross_entropy", "soft_target", "weighted_cross_entropy", "ordinal", "regression", "gaussian"]
NUMBERS = ["regression", "gaussian"]
FIGURES = ("acc", "acc1", "mae", "steps", "nmae")
# Changes of the saw set's recipe, and the heads that they leave.
HEADS = {
    1: (["~parameters.log10_decay_time"], ["note_velocity"]),
    3: (
        ["~parameters.note_number.value", "+parameters.note_number={min:40,max:47,step:1}"],
        ["note_number", "note_velocity", "log10_decay_time"],
    ),
}


@pytest.fixture
def build(compose_run, tmp_path):
    """Builds the module of a configuration for a dataset, and a trainer."""

    def make(datamodule, *overrides, callbacks=()):
        seed_everything(0, verbose=False)
        cfg = compose_run(tmp_path, "model=cnn_micro", "+trainer.enable_checkpointing=false", *overrides)
        trainer = instantiate(cfg.trainer, callbacks=list(callbacks), logger=False)
        return build_model(cfg, datamodule.info, datamodule.aux_statistics()), trainer

    return make


@pytest.fixture
def datamodule(saw_dir):
    return VIMHDataModule(saw_dir, batch_size=16, val_fraction=0.2)


@pytest.fixture(scope="module")
def grid_dir(recipe_of, tmp_path_factory):
    """64 training samples on distinct points of the grid."""
    data_dir = tmp_path_factory.mktemp("grid") / "set"
    generate(recipe_of("dataset.size=80", "dataset.sampling=grid"), data_dir)
    return data_dir


class Recorder(Callback):
    """Keeps what was logged after every validation of the training, and the learning rate."""

    def __init__(self):
        self.figures = []
        self.rates = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.figures.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def whole(dataset):
    return dataset.__getitems__(range(len(dataset)))


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        ("cross_entropy", "equal"),
        *[pytest.param(loss, "equal", marks=pytest.mark.slow) for loss in LOSSES[1:]],
        pytest.param("soft_target", "learnt", marks=pytest.mark.slow),
        pytest.param("regression", "learnt", marks=pytest.mark.slow),
    ],
)
def test_a_network_overfits_one_batch_on_every_head(build, grid_dir, loss, weights):
    samples = VIMHDataset(VIMHReader(grid_dir).train, np.arange(64))
    n_steps = 100 if loss == "cross_entropy" else 200
    overrides = ("model=cnn_tiny", f"loss={loss}", "model.optimizer.lr=0.02", f"trainer.max_epochs={n_steps}")
    module, _ = build(VIMHDataModule(grid_dir), *overrides, f"++model.head_weights={weights}")
    batch = whole(samples)
    optimizer = module.make_optimizer(params=module.parameters())
    scheduler = module.make_scheduler(optimizer=optimizer, total_steps=n_steps)
    for _ in range(n_steps):
        optimizer.zero_grad()
        module.compute_loss(module(batch["image"], batch["aux"]), batch).backward()
        optimizer.step()
        scheduler.step()
    predictions = module.eval().predict_step(batch)
    for head, spec in enumerate(module.specs):
        index, normalized, _ = predictions[spec.name]
        majority = batch["index"][:, head].bincount().max() / 64
        error = (normalized - batch["normalized"][:, head]).abs() * spec.range / spec.step
        if loss in NUMBERS:
            assert error.mean() <= 0.5, spec.name
        else:
            assert (index == batch["index"][:, head]).float().mean() >= max(0.95, 3 * majority), spec.name


@pytest.mark.parametrize("n_heads", HEADS)
def test_the_keys_of_metrics_are_the_same_with_one_head_or_three(build, recipe_of, tmp_path, n_heads):
    overrides, names = HEADS[n_heads]
    generate(recipe_of("dataset.size=20", *overrides), tmp_path / "set")
    datamodule = VIMHDataModule(tmp_path / "set", batch_size=8)
    module, trainer = build(datamodule, "trainer.max_epochs=1")
    figures = {"loss", *FIGURES} - {"mae"} | {f"{name}_{key}" for name in names for key in FIGURES}
    covered = {"coverage"} | {f"{name}_coverage" for name in names}
    trainer.fit(module, datamodule=datamodule)
    expected = {f"train/{figure}" for figure in figures} | {f"val/{figure}" for figure in figures | covered}
    assert set(trainer.callback_metrics) == expected | {"val/acc_best", "epochs"}
    assert set(trainer.progress_bar_metrics) == {"train/loss", "train/acc", "val/loss", "val/acc", "val/acc_best"}
    trainer.test(module, datamodule=datamodule, verbose=False)
    tenths = {"coverage_together", "coverage_joint"}
    tenths |= {f"{of}{key}" for of in ("", *(f"{name}_" for name in names)) for key in ("coverage_worst", "width")}
    assert set(trainer.callback_metrics) == {f"test/{figure}" for figure in figures | covered | tenths}
    assert all(math.isfinite(figure) for figure in trainer.callback_metrics.values())


def test_what_is_logged_is_what_a_reader_of_the_outputs_would_compute(build, datamodule):
    recorder = Recorder()
    module, trainer = build(datamodule, "trainer.max_epochs=2", "data.batch_size=16", callbacks=[recorder])
    trainer.fit(module, datamodule=datamodule)
    batch = whole(datamodule.val_set)
    logits = module.eval()(batch["image"], batch["aux"])
    losses, accuracies = [], []
    for head, spec in enumerate(module.specs):
        index = batch["index"][:, head].numpy()
        likelihood = log_softmax(logits[spec.name].detach().double().numpy(), axis=1)
        guess = np.exp(likelihood) @ (spec.min + np.arange(spec.n_classes) * spec.step)
        error = np.abs(guess - batch["value"][:, head].numpy()).mean()
        losses.append(-likelihood[np.arange(len(index)), index].mean())
        accuracies.append((likelihood.argmax(axis=1) == index).mean())
        close = (abs(likelihood.argmax(axis=1) - index) <= 1).mean()
        found = [recorder.figures[-1][f"val/{spec.name}_{key}"] for key in FIGURES]
        assert found == pytest.approx(
            [accuracies[-1], close, error, error / spec.step, error / (spec.max - spec.min)], rel=1e-4
        )
    assert recorder.figures[-1]["val/loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert recorder.figures[-1]["val/acc"] == pytest.approx(np.mean(accuracies))


def test_figures_of_training_count_every_sample_once(build, datamodule):
    module, trainer = build(datamodule, "trainer.max_epochs=1", "model.optimizer.lr=0.0", "scheduler=none")
    trainer.fit(module, datamodule=datamodule)
    metrics = module.metrics["train_metrics"]
    assert metrics.n_samples == 0  # reset after it was logged
    acc = trainer.callback_metrics["train/note_velocity_acc"].item() * len(datamodule.train_set)
    assert acc == pytest.approx(round(acc), abs=1e-4)


def test_the_best_accuracy_so_far_is_logged_and_the_sanity_check_does_not_count(build, datamodule, monkeypatch):
    recorder = Recorder()
    module, trainer = build(datamodule, "trainer.max_epochs=4", callbacks=[recorder])
    metrics = module.metrics["val_metrics"]
    told = iter([0.9, 0.25, 0.75, 0.5, 0.75])
    monkeypatch.setattr(metrics, "compute", lambda: {"acc": torch.tensor(next(told)), "loss": torch.ones(())})
    trainer.fit(module, datamodule=datamodule)
    assert [figures["val/acc"] for figures in recorder.figures] == [0.25, 0.75, 0.5, 0.75]
    assert [figures["val/acc_best"] for figures in recorder.figures] == [0.25, 0.75, 0.75, 0.75]
    assert module.state_dict()["best_acc"] == 0.75


def residuals(module, batch):
    """Absolute errors of every head in grid steps, and their size by the module's estimate, `(batch, head)` each."""
    with torch.no_grad():
        said = module.eval().predict_step(batch)
    errors = [
        (said[spec.name].normalized - batch["normalized"][:, head]).abs() * spec.range / spec.step
        for head, spec in enumerate(module.specs)
    ]
    return torch.stack(errors, dim=1), torch.stack([said[spec.name].std for spec in module.specs], dim=1)


@pytest.mark.parametrize("loss", LOSSES)
def test_standard_deviations_cover_nine_tenths_of_the_validation_samples(build, datamodule, loss):
    module, trainer = build(datamodule, f"loss={loss}", "trainer.max_epochs=2")
    assert torch.equal(module.std_scale, torch.ones(2))
    trainer.fit(module, datamodule=datamodule)
    n_val = len(datamodule.val_set)
    error, std = residuals(module, whole(datamodule.val_set))
    covered = (error <= 1.645 * std * (1 + 1e-5)).sum(dim=0)
    assert covered.tolist() == [math.ceil(0.9 * (n_val + 1))] * 2
    trainer.test(module, datamodule=datamodule, verbose=False)
    error, std = residuals(module, whole(datamodule.test_set))
    for head, name in enumerate(module.names):
        expected = (error <= 1.645 * std)[:, head].float().mean()
        assert trainer.callback_metrics[f"test/{name}_coverage"] == pytest.approx(expected.item())


def test_the_coverage_of_validation_is_that_of_the_scale_found_before(build, datamodule):
    class Scales(Callback):
        def __init__(self):
            self.before, self.errors = [], []

        def on_validation_start(self, trainer, pl_module):
            self.before.append(pl_module.std_scale.clone())

        def on_validation_end(self, trainer, pl_module):
            error, std = residuals(pl_module, whole(datamodule.val_set))
            self.errors.append((error / std * pl_module.std_scale, trainer.callback_metrics.get("val/coverage")))

    scales = Scales()
    module, trainer = build(datamodule, "trainer.max_epochs=3", callbacks=[scales])
    trainer.fit(module, datamodule=datamodule)
    assert torch.equal(scales.before[0], torch.ones(2))
    assert torch.equal(scales.before[1], torch.ones(2))  # the sanity check finds none
    for before, (ratio, coverage) in list(zip(scales.before, scales.errors, strict=True))[1:]:
        assert coverage == pytest.approx((ratio <= 1.645 * before).float().mean().item())
    assert not torch.equal(scales.before[2], scales.before[1])


def test_neither_validation_nor_test_by_themselves_change_a_network(build, datamodule):
    module, trainer = build(datamodule, "trainer.max_epochs=1")
    trainer.fit(module, datamodule=datamodule)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trainer.validate(module, datamodule=VIMHDataModule(datamodule.data_dir, val_fraction=0.5), verbose=False)
    trainer.test(module, datamodule=datamodule, verbose=False)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_checkpoint_of_averaged_weights_has_the_scale_that_was_found_for_them(build, datamodule, tmp_path):
    class Save(Callback):
        def on_validation_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / "averaged.ckpt")
            self.found = pl_module.std_scale.clone(), pl_module.best_acc.clone()

    save = Save()
    averaging = EMAWeightAveraging(decay=0.9)
    module, trainer = build(datamodule, "trainer.max_epochs=3", callbacks=[averaging, save])
    trainer.fit(module, datamodule=datamodule)
    saved = torch.load(tmp_path / "averaged.ckpt", weights_only=True)["state_dict"]
    assert set(saved) == set(module.state_dict())
    assert torch.equal(saved["std_scale"], save.found[0])
    assert torch.equal(saved["best_acc"], save.found[1])
    module.load_state_dict(saved)
    error, std = residuals(module, whole(datamodule.val_set))
    assert ((error <= 1.645 * std * (1 + 1e-5)).float().mean(dim=0) >= 0.9).all()


def test_loggers_get_every_figure_once_an_epoch(build, datamodule):
    class Notes(Logger):
        name, version = "notes", 0

        def __init__(self):
            super().__init__()
            self.rows = []

        def log_metrics(self, metrics, step=None):
            self.rows.append((step, dict(metrics)))

        def log_hyperparams(self, *_):
            pass

    module, trainer = build(datamodule, "trainer.max_epochs=2")
    notes = Notes()
    trainer.loggers = [notes]
    trainer.fit(module, datamodule=datamodule)
    rows = [(step, row) for step, row in notes.rows if any("/" in name for name in row)]
    n_batches = -(-len(datamodule.train_set) // 16)
    assert [step for step, _ in rows] == [n_batches, n_batches, 2 * n_batches, 2 * n_batches]
    assert [row["epoch"] for _, row in rows] == [0, 0, 1, 1]
    logged = rows[-2][1] | rows[-1][1]
    assert [step for step, row in notes.rows if "lr-AdamW" in row] == [0, n_batches]
    figures = {name: float(figure) for name, figure in trainer.callback_metrics.items() if name != "epochs"}
    assert logged == {**figures, "epoch": 1}
    assert trainer.callback_metrics["epochs"] == 2


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_mean_over_the_heads(build, datamodule, loss):
    module, _ = build(datamodule, f"loss={loss}")
    batch = whole(datamodule.val_set)
    logits = module.eval()(batch["image"], batch["aux"])
    per_head = [
        module.loss.per_head(
            [logits[spec.name]], batch["normalized"][:, [head]], batch["index"][:, [head]], ParamTensors([spec])
        )[0]
        for head, spec in enumerate(module.specs)
    ]
    torch.testing.assert_close(module.compute_loss(logits, batch), sum(per_head) / 2)


def test_predictions_have_the_names_of_the_parameters(build, datamodule):
    module, _ = build(datamodule)
    predictions = module.eval().predict_step(whole(datamodule.val_set))
    assert list(predictions) == list(datamodule.info.parameter_names)
    for prediction in predictions.values():
        assert {part.shape for part in prediction} == {(len(datamodule.val_set),)}


def test_weights_of_heads_are_given_or_learnt(build, datamodule):
    batch = whole(datamodule.val_set)
    given, _ = build(datamodule, "++model.head_weights={note_velocity:3}")
    logits = given.eval()(batch["image"], batch["aux"])
    losses = given.loss.per_head(
        [logits[name] for name in given.names], batch["normalized"], batch["index"], given.heads
    )
    torch.testing.assert_close(given.compute_loss(logits, batch), (3 * losses[0] + losses[1]) / 4)
    with pytest.raises(ConfigError, match=r"names pitch; the heads are note_velocity, log10_decay_time"):
        build(datamodule, "++model.head_weights={pitch:3}")

    learnt, trainer = build(datamodule, "++model.head_weights=learnt", "trainer.max_epochs=1")
    trainer.fit(learnt, datamodule=datamodule)
    assert (learnt.head_weights.log_variance != 0).all()
    assert "head_weights.log_variance" in learnt.state_dict()
    assert "head_weights.weight" not in given.state_dict()


@pytest.mark.parametrize("loss", NUMBERS)
def test_numbers_are_not_predicted_for_categories(build, recipe_of, tmp_path, loss):
    names = "+parameters.note_velocity.names=[soft,middle,loud]"
    generate(recipe_of("dataset.size=20", "parameters.note_velocity.step=31.5", names), tmp_path / "set")
    with pytest.raises(ConfigError, match=r"note_velocity.*soft, middle, loud"):
        build(VIMHDataModule(tmp_path / "set", batch_size=8), f"loss={loss}")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["scheduler=cosine", "model.scheduler.warmup=0.25"],
            [0.002, 0.004, 0.006, 0.008, *(0.005 * (1 + math.cos(math.pi * step / 12)) for step in range(12))],
        ),
        (
            ["scheduler=cosine", "model.scheduler.warmup=0"],
            [0.005, *(0.005 * (1 + math.cos(math.pi * step / 15)) for step in range(15))],
        ),
        (  # nothing is as good as the first epoch
            ["scheduler=plateau", "model.scheduler.patience=0", "+model.scheduler.threshold=0.999999"],
            [rate for rate in (0.01, 0.01, 0.005, 0.0025) for _ in range(4)],
        ),
    ],
    ids=["warm-up", "cosine", "plateau"],
)
def test_the_learning_rate_follows_the_scheduler(build, saw_dir, overrides, expected):
    recorder, datamodule = Recorder(), VIMHDataModule(saw_dir, batch_size=12)
    overrides = [*overrides, "model.optimizer.lr=0.01", "trainer.max_epochs=4"]
    module, trainer = build(datamodule, *overrides, callbacks=[recorder])
    trainer.fit(module, datamodule=datamodule)
    assert recorder.rates == pytest.approx(expected)


def test_the_same_seed_trains_the_same_network(build, datamodule):
    states = []
    for _ in range(2):
        module, trainer = build(datamodule, "trainer.max_epochs=2")
        trainer.fit(module, datamodule=datamodule)
        states.append(module.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


@pytest.mark.parametrize(
    ("loss", "precision"),
    [
        ("cross_entropy", "bf16-mixed"),
        ("soft_target", "bf16-true"),
        ("weighted_cross_entropy", "bf16-mixed"),
        ("ordinal", "bf16-true"),
        ("regression", "bf16-mixed"),
        ("gaussian", "bf16-mixed"),
    ],
)
def test_networks_train_in_half_precision(build, datamodule, loss, precision):
    module, trainer = build(datamodule, f"loss={loss}", f"+trainer.precision={precision}", "trainer.max_epochs=1")
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    trainer.fit(module, datamodule=datamodule)
    assert math.isfinite(trainer.callback_metrics["val/loss"])
    changed = [
        name for name, parameter in module.named_parameters() if not torch.equal(parameter.float(), before[name])
    ]
    assert set(changed) == set(before)


def test_the_network_is_compiled_for_training_on_request(build, datamodule, monkeypatch):
    for request, times in (("true", 1), ("false", 0)):
        module, _ = build(datamodule, f"model.compile={request}")
        compiled = []
        monkeypatch.setattr(module.net, "compile", lambda to=compiled: to.append(1))
        module.on_fit_start()
        assert len(compiled) == times


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # PyTorch's compiler uses it itself
def test_a_compiled_network_has_the_same_outputs_and_names_of_weights(build, datamodule):
    plain, _ = build(datamodule)
    module, _ = build(datamodule, "model.compile=true")
    module.on_fit_start()
    assert module.net._compiled_call_impl is not None
    module.load_state_dict(plain.state_dict(), strict=True)
    batch = whole(datamodule.val_set)
    losses = [each.compute_loss(each(batch["image"], batch["aux"]), batch) for each in (module, plain)]
    torch.testing.assert_close(*losses)
