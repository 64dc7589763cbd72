from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import Precision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.callbacks.head_figures import (
    HeadFigures,
    HeadPredictions,
    confusion_matrix,
    head_figure,
    pixels,
    spectrogram_figure,
    spectrogram_title,
)
from src.errors import ConfigError
from src.params import ParamSpec

SPECS = (ParamSpec("cutoff", 100.0, 500.0, 100.0, "Hz"), ParamSpec("resonance", 0.0, 1.0, 0.5))


class Module(torch.nn.Module):
    """Predicts the lowest class and the middle of the range for every sample; counts batches."""

    def __init__(self):
        super().__init__()
        self.specs = SPECS
        self.asked = []

    def predict_step(self, batch):
        assert not self.training
        self.asked.append(len(batch["image"]))
        n = len(batch["image"])
        said = SimpleNamespace(
            index=torch.zeros(n, dtype=torch.int64), normalized=torch.full((n,), 0.5).bfloat16(), std=torch.ones(n)
        )
        return {spec.name: said for spec in SPECS}


def batch(n):
    index = torch.stack([torch.arange(n) % spec.n_classes for spec in SPECS], dim=1)
    value = torch.stack([spec.value_from_index(index[:, p]) for p, spec in enumerate(SPECS)], dim=1)
    return {"image": torch.zeros(n, 2, 8, 12, dtype=torch.uint8), "index": index, "value": value.float()}


@pytest.fixture
def trainer(tmp_path):
    """As much of a trainer as the callback uses, with a TensorBoard logger."""
    return SimpleNamespace(
        global_step=0,
        current_epoch=0,
        is_global_zero=True,
        sanity_checking=False,
        precision_plugin=Precision(),
        loggers=[TensorBoardLogger(tmp_path, name="", version="")],
    )


def train(callback, trainer, module, epochs, n_batches=3):
    """Calls the callback as a training of some epochs does, ten steps each."""
    for epoch in range(epochs):
        trainer.current_epoch, trainer.global_step = epoch, 10 * (epoch + 1)
        callback.on_validation_epoch_start(trainer, module)
        for number in range(n_batches):
            callback.on_validation_batch_end(trainer, module, None, [batch(3), batch(2)], number)
        callback.on_validation_end(trainer, module)
    callback.on_train_end(trainer, module)


def steps(trainer):
    """Tag to the steps of its pictures."""
    (logger,) = trainer.loggers
    logger.save()
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


def test_confusions_are_counted_by_true_and_predicted_class():
    counts = confusion_matrix(np.array([0, 2, 2, 2]), np.array([0, 1, 2, 1]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 2, 1]]


def test_figures_come_each_n_epochs_and_after_the_last(trainer):
    train(HeadFigures(every_n_epochs=2), trainer, Module(), epochs=5)
    assert steps(trainer) == {key: [20, 40, 50] for key in ("heads/cutoff", "heads/resonance", "spectrograms")}


def test_the_last_epoch_is_drawn_once(trainer):
    train(HeadFigures(every_n_epochs=2, n_spectrograms=0), trainer, Module(), epochs=2)
    assert steps(trainer) == {key: [20] for key in ("heads/cutoff", "heads/resonance")}


def test_zero_means_after_the_last_epoch_only(trainer):
    train(HeadFigures(every_n_epochs=0), trainer, Module(), epochs=3)
    assert steps(trainer)["spectrograms"] == [30]


def test_no_more_samples_are_kept_than_are_shown(trainer):
    module = Module()
    train(HeadFigures(every_n_epochs=0, n_samples=7), trainer, module, epochs=1, n_batches=4)
    assert module.asked == [3, 2, 3]


def test_the_module_stays_in_its_mode(trainer):
    module = Module().train()
    train(HeadFigures(), trainer, module, epochs=1)
    assert module.training


def test_the_sanity_check_is_not_drawn(trainer):
    trainer.sanity_checking = True
    train(HeadFigures(every_n_epochs=1), trainer, module := Module(), epochs=1, n_batches=0)
    assert module.asked == []


@pytest.mark.parametrize("changed", [{"is_global_zero": False}, {"loggers": []}], ids=["another rank", "no logger"])
def test_nothing_is_computed_without_a_place_to_write(trainer, tmp_path, changed):
    vars(trainer).update(changed)
    train(HeadFigures(every_n_epochs=1), trainer, module := Module(), epochs=2)
    assert module.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"every_n_epochs": -1}, {"n_samples": 0}, {"n_spectrograms": -1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"head_figures.{next(iter(wrong))} is"):
        HeadFigures(**wrong)


def test_perfect_predictions_lie_on_the_diagonals():
    spec = ParamSpec("cutoff", 100.0, 500.0, 100.0, "Hz")
    index = np.arange(spec.n_classes)
    value = spec.value_from_index(index)
    confusion, scatter = head_figure(spec, index, value, HeadPredictions(index, value, value)).axes
    assert confusion.images[0].get_array().tolist() == np.eye(spec.n_classes).tolist()
    assert confusion.get_title() == "accuracy 1.000"
    assert scatter.get_title() == "mean abs. error 0 Hz"
    x, y = scatter.lines[1].get_data()
    assert np.array_equal(x, y)
    assert confusion.get_xlim() == scatter.get_ylim() == (50.0, 550.0)


@pytest.mark.parametrize("n_images", [1, 3, 4])
def test_every_image_has_its_values(n_images):
    images = np.random.default_rng(0).integers(0, 256, (n_images, 2, 8, 12)).astype(np.uint8)
    predictions = {
        spec.name: HeadPredictions(np.zeros(n_images), np.linspace(0, 1, n_images), np.full(n_images, 0.1))
        for spec in SPECS
    }
    true = np.full((n_images, 2), 0.25)
    figure = spectrogram_figure(SPECS, images, {"value": true}, predictions)
    assert len(figure.axes) == n_images
    assert [axes.images[0].get_array().tolist() for axes in figure.axes] == images[:, 0].tolist()
    assert (
        spectrogram_title(SPECS, true[0], predictions, 0)
        == "cutoff 0 ± 0.1, true 0.25 Hz\nresonance 0 ± 0.1, true 0.25"
    )


def test_a_figure_becomes_pixels_without_pyplot():
    predicted = HeadPredictions(np.array([4]), np.array([500.0]), np.array([1.0]))
    picture = pixels(head_figure(SPECS[0], np.array([0]), np.array([100.0]), predicted))
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert 0 < (picture < 128).mean() < 0.5
