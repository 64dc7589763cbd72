import math

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, seed_everything
from scipy.special import log_softmax

from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import VIMHDataset
from src.generation import generate
from src.utils.run import build_model
from src.vimh.io import VIMHReader

LOSSES = ["cross_entropy", "soft_target", "regression"]
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
    """64 training samples on distinct points of the JND grid."""
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


@pytest.mark.parametrize("loss", LOSSES)
def test_a_network_overfits_one_batch_on_every_head(build, grid_dir, loss):
    samples = VIMHDataset(VIMHReader(grid_dir).train, np.arange(64))
    overrides = ("model=cnn_tiny", f"loss={loss}", "model.optimizer.lr=0.02", "trainer.max_epochs=100")
    module, _ = build(VIMHDataModule(grid_dir), *overrides)
    batch = whole(samples)
    optimizer = module.make_optimizer(params=module.parameters())
    scheduler = module.make_scheduler(optimizer=optimizer)
    for step in range(100):
        optimizer.zero_grad()
        module.training_step(batch, step).backward()
        optimizer.step()
        scheduler.step()
    predictions = module.eval().predict_step(batch)
    for head, spec in enumerate(module.parameters_):
        index, normalized = predictions[spec.name]
        majority = batch["index"][:, head].bincount().max() / 64
        error = (normalized - batch["normalized"][:, head]).abs() * spec.range / spec.step
        if loss == "regression":
            assert error.mean() <= 0.5, spec.name
        else:
            assert (index == batch["index"][:, head]).float().mean() >= max(0.95, 3 * majority), spec.name


@pytest.mark.parametrize("n_heads", HEADS)
def test_the_keys_of_metrics_are_the_same_with_one_head_or_three(build, recipe_of, tmp_path, n_heads):
    overrides, names = HEADS[n_heads]
    generate(recipe_of("dataset.size=20", *overrides), tmp_path / "set")
    datamodule = VIMHDataModule(tmp_path / "set", batch_size=8)
    module, trainer = build(datamodule, "trainer.max_epochs=1")
    figures = {"loss", "acc", "steps", "nmae"} | {f"{name}_{key}" for name in names for key in ("acc", "mae", "steps")}
    trainer.fit(module, datamodule=datamodule)
    expected = {f"{stage}/{figure}" for stage in ("train", "val") for figure in figures} | {"val/acc_best"}
    assert set(trainer.callback_metrics) == expected
    trainer.test(module, datamodule=datamodule, verbose=False)
    assert set(trainer.callback_metrics) == {f"test/{figure}" for figure in figures}
    assert all(math.isfinite(figure) for figure in trainer.callback_metrics.values())


def test_what_is_logged_is_what_a_reader_of_the_outputs_would_compute(build, datamodule):
    recorder = Recorder()
    module, trainer = build(datamodule, "trainer.max_epochs=2", "data.batch_size=16", callbacks=[recorder])
    trainer.fit(module, datamodule=datamodule)
    batch = whole(datamodule.val_set)
    logits = module.eval()(batch["image"], batch["aux"])
    losses, accuracies = [], []
    for head, spec in enumerate(module.parameters_):
        index = batch["index"][:, head].numpy()
        likelihood = log_softmax(logits[spec.name].detach().double().numpy(), axis=1)
        guess = np.exp(likelihood) @ (spec.min + np.arange(spec.n_classes) * spec.step)
        error = np.abs(guess - batch["value"][:, head].numpy()).mean()
        losses.append(-likelihood[np.arange(len(index)), index].mean())
        accuracies.append((likelihood.argmax(axis=1) == index).mean())
        found = [recorder.figures[-1][f"val/{spec.name}_{key}"] for key in ("acc", "mae", "steps")]
        assert found == pytest.approx([accuracies[-1], error, error / spec.step], rel=1e-4)
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


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_mean_over_the_heads(build, datamodule, loss):
    module, _ = build(datamodule, f"loss={loss}")
    batch = whole(datamodule.val_set)
    logits = module.eval()(batch["image"], batch["aux"])
    of_heads = [
        module.loss(logits[spec.name], batch["normalized"][:, head], batch["index"][:, head], spec)
        for head, spec in enumerate(module.parameters_)
    ]
    torch.testing.assert_close(module.compute_loss(logits, batch), sum(of_heads) / 2)
    torch.testing.assert_close(module.training_step(batch, 0), sum(of_heads) / 2)


def test_predictions_have_the_names_of_the_parameters(build, datamodule):
    module, _ = build(datamodule)
    predictions = module.eval().predict_step(whole(datamodule.val_set))
    assert list(predictions) == list(datamodule.info.parameter_names)
    for prediction in predictions.values():
        assert prediction.index.shape == prediction.normalized.shape == (len(datamodule.val_set),)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["scheduler=cosine"], [0.005 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4) for _ in range(4)]),
        (
            ["scheduler=cosine", "model.scheduler.T_max=16", "model.scheduler_interval=step"],
            [0.005 * (1 + math.cos(math.pi * step / 16)) for step in range(16)],
        ),
        (  # nothing is as good as the first epoch
            ["scheduler=plateau", "model.scheduler.patience=0", "+model.scheduler.threshold=0.999999"],
            [rate for rate in (0.01, 0.01, 0.005, 0.0025) for _ in range(4)],
        ),
    ],
    ids=["cosine", "step", "plateau"],
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
    [("cross_entropy", "bf16-mixed"), ("soft_target", "bf16-true"), ("regression", "bf16-mixed")],
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


def test_the_network_is_compiled_for_training_alone_and_on_request(build, datamodule, monkeypatch):
    for request, stages in (("true", ["fit"]), ("false", [])):
        module, _ = build(datamodule, f"model.compile={request}")
        compiled = []
        for stage in ("test", "validate", "fit"):
            monkeypatch.setattr(module.net, "compile", lambda stage=stage, to=compiled: to.append(stage))
            module.setup(stage)
        assert compiled == stages


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # PyTorch's compiler uses it itself
def test_a_compiled_network_has_the_same_outputs_and_names_of_weights(build, datamodule):
    plain, _ = build(datamodule)
    module, _ = build(datamodule, "model.compile=true")
    module.setup("fit")
    assert module.net._compiled_call_impl is not None
    module.load_state_dict(plain.state_dict(), strict=True)
    batch = whole(datamodule.val_set)
    torch.testing.assert_close(module.training_step(batch, 0), plain.training_step(batch, 0))
