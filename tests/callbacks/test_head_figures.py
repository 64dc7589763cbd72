import itertools
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from src.callbacks.head_figures import (
    EXAMPLES,
    INK,
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
def train_with(train, trainer):
    """Trains with a callback."""
    return lambda callback, module, epochs, n_batches=3: train(
        callback, trainer, module, epochs, [batch(3), batch(2)], n_batches
    )


@pytest.fixture
def steps(trainer, events):
    """Tag to the steps of its pictures."""

    def read():
        found = events(trainer)
        return {tag: [event.step for event in found.Images(tag)] for tag in found.Tags()["images"]}

    return read


def test_confusions_are_counted_by_true_and_predicted_class():
    counts = confusion_matrix(np.array([0, 2, 2, 2]), np.array([0, 1, 2, 1]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 2, 1]]


def test_figures_come_each_n_epochs_and_after_the_last(train_with, steps):
    train_with(HeadFigures(every_n_epochs=2), Module(), epochs=5)
    assert steps() == {key: [20, 40, 50] for key in ("heads/cutoff", "heads/resonance", EXAMPLES)}


def test_the_last_epoch_is_drawn_once(train_with, steps):
    train_with(HeadFigures(every_n_epochs=2, n_spectrograms=0), Module(), epochs=2)
    assert steps() == {key: [20] for key in ("heads/cutoff", "heads/resonance")}


def test_zero_means_after_the_last_epoch_only(train_with, steps):
    train_with(HeadFigures(every_n_epochs=0), Module(), epochs=3)
    assert steps()[EXAMPLES] == [30]


def test_no_more_samples_are_kept_than_are_shown(train_with):
    module = Module()
    train_with(HeadFigures(every_n_epochs=0, n_samples=7), module, epochs=1, n_batches=4)
    assert module.asked == [3, 2, 3]


def test_the_module_stays_in_its_mode(train_with):
    module = Module().train()
    train_with(HeadFigures(), module, epochs=1)
    assert module.training


def test_the_sanity_check_is_not_drawn(train_with, trainer):
    trainer.sanity_checking = True
    train_with(HeadFigures(every_n_epochs=1), module := Module(), epochs=1, n_batches=0)
    assert module.asked == []


@pytest.mark.parametrize("changed", [{"is_global_zero": False}, {"loggers": []}], ids=["another rank", "no logger"])
def test_nothing_is_computed_without_a_place_to_write(train_with, trainer, tmp_path, changed):
    vars(trainer).update(changed)
    train_with(HeadFigures(every_n_epochs=1), module := Module(), epochs=2)
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
    assert scatter.get_title() == "mean abs. error 0"
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


def texts_of(figure):
    """Where each text of a figure is, in pixels, without those that are empty."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]


LONG = [
    ParamSpec("filter_envelope_attack_time_of_the_second_voice", -12345.0, 98765.0, 11111.0, "microseconds / octave"),
    ParamSpec("cutoff", 0.001, 0.012, 0.001, "Hz"),
    ParamSpec("a_very_long_name_of_a_category_that_says_all", 0.0, 1.0, 1.0, names=("the first of both", "the second")),
]


@pytest.mark.parametrize("spec", LONG, ids=lambda spec: spec.name[:6])
def test_no_texts_of_a_head_lie_on_each_other(spec):
    index, value = np.arange(2), np.array([spec.min, spec.max])
    with matplotlib.rc_context(INK):
        figure = head_figure(spec, index, value, HeadPredictions(index, value, value))
        texts = texts_of(figure)
        assert len(texts) > 6
        for (one, place), (other, other_place) in itertools.combinations(texts, 2):
            assert not place.overlaps(other_place), (one, other)
        assert all(place.x0 >= 0 and place.x1 <= figure.bbox.width for _, place in texts)


def test_no_lines_of_an_example_run_into_the_next():
    value = np.array([[spec.max for spec in LONG]] * 3)
    predictions = {spec.name: HeadPredictions(np.ones(3, int), value[:, 0] / 3e5, np.ones(3) / 3e5) for spec in LONG}
    with matplotlib.rc_context(INK):
        figure = spectrogram_figure(LONG, np.zeros((3, 1, 4, 6), np.uint8), {"value": value}, predictions)
        places = sorted((place for _, place in texts_of(figure)), key=lambda place: place.x0)
        assert len(places) == 3
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(places))
        assert places[-1].x1 <= figure.bbox.width


def test_a_figure_becomes_pixels_without_pyplot():
    predicted = HeadPredictions(np.array([4]), np.array([500.0]), np.array([1.0]))
    picture = pixels(head_figure(SPECS[0], np.array([0]), np.array([100.0]), predicted))
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert 0 < (picture < 128).mean() < 0.5
