"""`HeadFigures`: figures of the predictions of every head for validation samples."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from lightning.pytorch import Trainer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from src.callbacks.periodic import Periodic, predict_batches
from src.callbacks.tensorboard import tensorboard_writers
from src.errors import check_number
from src.params import ParameterSpace, ParamSpec
from src.pictures.confusion import confusion_figure
from src.text import one_line

DPI = 72
# A dataset may hold any text: none of it is parsed as a formula.
INK: dict[RcKeyType, Any] = {
    "text.parse_math": False,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}
LONGEST_NAME, LONGEST_UNITS = 40, 20  # characters
COLUMNS = 3  # of spectrograms
LONGEST_LINE = 54  # characters above a spectrogram
SHORTEST_NAME = 12  # what is left of a name in such a line
# TensorBoard puts the name of the run into the line of a shorter tag, over it.
EXAMPLES = "spectrograms/the first validation samples"


class HeadPredictions(NamedTuple):
    """Predictions of a head for some samples.

    Attributes:
        index: Class, int64, `(sample,)`.
        value: Natural units, `(sample,)`.
        std: Standard deviation of the value, natural units, `(sample,)`.
    """

    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    value: np.ndarray
    std: np.ndarray


class HeadFigures(Periodic):
    """Writes figures to TensorBoard every few epochs, and after the last one.

    `heads/{name}`: confusion matrix of the classes, and predicted over true values where they have an order; after a
    test `test/{name} confusion` of every category, of all test samples.
    `spectrograms/…`: a few images, each with the predicted and the true value of every head. The samples are the first
    ones that validate, as the first process sees them. Without a TensorBoard logger nothing is drawn.

    Args:
        every_n_epochs: Epochs from one set of figures to the next; 0: only after the last epoch.
        n_samples: Validation samples that are shown, at most.
        n_spectrograms: How many of them as images; 0: none.
    """

    def __init__(self, every_n_epochs: int = 20, n_samples: int = 512, n_spectrograms: int = 3) -> None:
        super().__init__(every_n_epochs, n_samples)
        check_number("callbacks.head_figures.every_n_epochs", every_n_epochs, whole=True, least=0)
        check_number("callbacks.head_figures.n_samples", n_samples, whole=True, least=1)
        check_number("callbacks.head_figures.n_spectrograms", n_spectrograms, whole=True, least=0)
        self.n_spectrograms = n_spectrograms

    def write(self, trainer: Trainer, pl_module: Any) -> bool:
        """Draw and write all figures."""
        writers = tensorboard_writers(trainer)
        if not writers or not self.batches:
            return False
        samples = {
            name: torch.cat([batch[name] for batch in self.batches])[: self.n_samples].cpu().numpy()
            for name in ("image", "index", "value")
        }
        predictions = self._predictions(trainer, pl_module)
        with matplotlib.rc_context(INK):
            active = ParameterSpace(pl_module.specs).active_from_index(samples["index"])
            figures = {}
            for head, (spec, acts) in enumerate(zip(pl_module.specs, active.T, strict=True)):
                if acts.any():
                    found = HeadPredictions(*(column[acts] for column in predictions[spec.name]))
                    true_index, true_value = (samples[name][acts, head] for name in ("index", "value"))
                    figures[f"heads/{spec.name}"] = head_figure(spec, true_index, true_value, found)
            if self.n_spectrograms:
                images = samples["image"][: self.n_spectrograms]
                figures[EXAMPLES] = spectrogram_figure(pl_module.specs, images, samples, predictions)
            pictures = {tag: pixels(figure) for tag, figure in figures.items()}
        for writer in writers:
            for tag, picture in pictures.items():
                writer.add_image(tag, picture, trainer.global_step, dataformats="HWC")
        return True

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Called by Lightning after a test."""
        for writer in tensorboard_writers(trainer):
            for spec in pl_module.specs:
                counts = trainer.callback_metrics.get(f"test/{spec.name}_confusion")
                if counts is not None:
                    picture = pixels(confusion_figure(spec, counts.cpu().numpy(), "test samples"))
                    writer.add_image(f"test/{spec.name} confusion", picture, trainer.global_step, dataformats="HWC")

    def _predictions(self, trainer: Trainer, pl_module: Any) -> dict[str, HeadPredictions]:
        """Predictions of every head for the samples that are shown."""
        found = predict_batches(trainer, pl_module, self.batches)

        def joined(name: str, field: str) -> np.ndarray:
            columns = [getattr(of_batch[name], field) for of_batch in found]
            return torch.cat(columns)[: self.n_samples].float().cpu().numpy()

        return {
            spec.name: HeadPredictions(
                joined(spec.name, "index").astype(np.int64),
                spec.value_from_normalized(joined(spec.name, "normalized")),
                joined(spec.name, "std") * spec.step,
            )
            for spec in pl_module.specs
        }


def head_figure(spec: ParamSpec, true_index: np.ndarray, true_value: np.ndarray, predicted: HeadPredictions) -> Figure:
    """Confusion matrix and scatter of one head; true classes and values are `(sample,)`.

    Of a category the confusion matrix alone, with the names of the classes.
    """
    if spec.categorical:
        counts = confusion_matrix(true_index, predicted.index, spec.n_classes)
        return confusion_figure(spec, counts, "validation samples")
    figure = Figure(figsize=(7.0, 3.4), dpi=DPI)
    # Two ticks an axis, and everything placed by hand: measuring texts to place others would take most of the time.
    draw_confusion(figure.add_axes((0.1, 0.14, 0.38, 0.7), **_frame(spec)), spec, true_index, predicted.index)
    draw_scatter(figure.add_axes((0.6, 0.14, 0.38, 0.7), **_frame(spec)), spec, true_value, predicted.value)
    caption = f"{_name(spec)} in {_units(spec)}" if spec.units else _name(spec)
    figure.text(0.1, 0.94, f"{caption}, {len(predicted.index)} validation samples")
    return figure


def _frame(spec: ParamSpec) -> dict[str, Any]:
    """What both pictures of a head share: true over predicted values, from half a step below to half a step above."""
    limits = (spec.min - spec.step / 2, float(spec.value_from_index(spec.n_classes - 0.5)))
    ticks = (spec.min, spec.max)
    return {"xlim": limits, "ylim": limits, "xticks": ticks, "yticks": ticks}


def confusion_matrix(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """How often each class was taken for which, int64, `(true class, predicted class)`."""
    counts = np.bincount(true * n_classes + predicted, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes)


def draw_confusion(axes: Axes, spec: ParamSpec, true: np.ndarray, predicted: np.ndarray) -> None:
    """Predicted class (upwards) over true class, in natural units."""
    counts = confusion_matrix(true, predicted, spec.n_classes)
    extent = (*axes.get_xlim(), *axes.get_ylim())
    axes.imshow(counts.T, origin="lower", extent=extent, cmap="Blues", interpolation="nearest", aspect="auto")
    _label(axes, f"accuracy {np.trace(counts) / counts.sum():.3f}", "true class", "predicted class")


def draw_scatter(axes: Axes, spec: ParamSpec, true: np.ndarray, predicted: np.ndarray) -> None:
    """Predicted over true value, with the line on which both agree."""
    axes.plot((spec.min, spec.max), (spec.min, spec.max), color="0.7", linewidth=1)
    axes.plot(true, predicted, ".", markersize=3, alpha=0.5)
    _label(axes, f"mean abs. error {np.abs(true - predicted).mean():.4g}", "true value", "predicted value")


def _name(spec: ParamSpec) -> str:
    return one_line(spec.name, LONGEST_NAME)


def _units(spec: ParamSpec) -> str:
    return one_line(spec.units, LONGEST_UNITS)


def _label(axes: Axes, title: str, across: str, upwards: str) -> None:
    """Write what the axes show, at the height of the ticks' labels: nothing is measured to find a place."""
    axes.set_title(title, y=1.0)
    axes.set_xlabel(across)
    axes.set_ylabel(upwards)
    axes.xaxis.set_label_coords(0.5, -0.045)
    axes.yaxis.set_label_coords(-0.055, 0.5)


def spectrogram_figure(
    specs: Sequence[ParamSpec],
    images: np.ndarray,
    samples: Mapping[str, np.ndarray],
    predictions: Mapping[str, HeadPredictions],
) -> Figure:
    """The first channel of some images, each under the predicted and the true value of every head.

    Args:
        specs: The parameters, in the order of the heads.
        images: uint8, `(image, channel, freq, time)`.
        samples: `value`, `(sample, head)`, of which the first belong to the images.
        predictions: Those of each head for the samples, by name.
    """
    rows = -(-len(images) // COLUMNS)
    titles, picture = 0.14 * len(specs) + 0.15, 1.4  # inches
    figure = Figure(figsize=(3.6 * COLUMNS, (titles + picture) * rows), dpi=DPI)
    height = picture / (titles + picture) / rows
    for number, image in enumerate(images):
        row, column = divmod(number, COLUMNS)
        axes = figure.add_axes((column / COLUMNS + 0.01, 1 - (row + 1) / rows, 0.96 / COLUMNS, height))
        axes.set_axis_off()
        axes.imshow(image[0], origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=255)
        axes.set_title(spectrogram_title(specs, samples["value"][number], predictions, number), loc="left", y=1.0)
    return figure


def spectrogram_title(
    specs: Sequence[ParamSpec], true: np.ndarray, predictions: Mapping[str, HeadPredictions], number: int
) -> str:
    """A line per head: its name, the predicted value with its standard deviation, and the true one, `(head,)`.

    A long name is cut, so that the line ends before the next picture begins.
    """
    lines = []
    for spec, value in zip(specs, true, strict=True):
        _, predicted, std = predictions[spec.name]
        if spec.categorical:
            text = f"{spec.text(predicted[number])}, true {spec.text(value)}"
        else:
            text = f"{predicted[number]:.3g} ± {std[number]:.2g}, true {value:.3g} {_units(spec)}".rstrip()
        name = one_line(spec.name, max(SHORTEST_NAME, LONGEST_LINE - 1 - len(text)))
        lines.append(one_line(f"{name} {text}", LONGEST_LINE))
    return "\n".join(lines)


def pixels(figure: Figure) -> np.ndarray:
    """A figure as uint8 RGB, `(height, width, 3)`; nothing of pyplot is touched."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
