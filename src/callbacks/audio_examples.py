"""`AudioExamples`: true and predicted sounds of some validation samples in TensorBoard."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure

from src.callbacks.head_figures import pixels
from src.callbacks.periodic import Periodic, predict_batches
from src.callbacks.tensorboard import tensorboard_writers
from src.errors import check_number
from src.params import ParameterSpace
from src.recipe import Recipe


class AudioExamples(Periodic):
    """Writes pairs of sounds to TensorBoard every few epochs, and after the last one: the true and the predicted one.

    `sounds/{i}/true` and `sounds/{i}/predicted` are the waveforms that belong to the true and to the predicted
    parameters of a validation sample, `sounds/{i}/true and predicted` their spectrograms, with the values. The samples
    are the first ones that validate, as the first process sees them, at most one batch of them. Without a TensorBoard
    logger nothing is rendered.

    Args:
        recipe_of: Takes the dataset's description, and returns the recipe that renders its sounds.
        draw: Takes the dataset's description, the two spectrograms in dB, `(freq, time)` each, and name, true and
            predicted value of each parameter as text; returns a figure.
        every_n_epochs: Epochs from one set of sounds to the next; 0: only after the last epoch.
        n_sounds: How many samples.
    """

    def __init__(
        self,
        recipe_of: Callable[[Any], Recipe],
        draw: Callable[[Any, np.ndarray, np.ndarray, list[tuple[str, str, str]]], Figure],
        every_n_epochs: int = 10,
        n_sounds: int = 4,
    ) -> None:
        super().__init__(every_n_epochs, n_sounds)
        check_number("callbacks.audio_examples.every_n_epochs", every_n_epochs, whole=True, least=0)
        check_number("callbacks.audio_examples.n_sounds", n_sounds, whole=True, least=1)
        self.recipe_of = recipe_of
        self.draw = draw
        self.recipe: Recipe | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before everything: a dataset that cannot be rendered is refused now."""
        if tensorboard_writers(trainer):
            self.recipe = self.recipe_of(_info(trainer))

    def write(self, trainer: Trainer, pl_module: Any) -> bool:
        """Render and write all sounds."""
        if self.recipe is None or not self.batches:
            return False
        batch = {name: tensor[: self.n_samples] for name, tensor in self.batches[0].items()}
        specs, info, step = pl_module.specs, _info(trainer), trainer.global_step
        (found,) = predict_batches(trainer, pl_module, [batch])
        normalized = torch.stack([found[spec.name].normalized.float().clamp(0, 1) for spec in specs], dim=1).cpu()
        predicted = [spec.snapped(spec.value_from_normalized(normalized[:, p])).numpy() for p, spec in enumerate(specs)]
        pairs = np.stack([batch["value"].cpu().numpy(), np.stack(predicted, axis=1)], axis=1)
        if not np.isfinite(pairs).all():  # a training that diverged has no sound
            return False
        for number, pair in enumerate(pairs):  # (2, parameter)
            waveforms = self.recipe.render(pair)
            shown = np.where(ParameterSpace(specs).active(pair), pair, np.nan)
            texts = [
                (spec.name, spec.text(true), f"{spec.text(value)} {spec.natural_units}".rstrip())
                for spec, true, value in zip(specs, *shown, strict=True)
            ]
            spectrograms = self.recipe.spectrogram_db(waveforms)
            picture = pixels(self.draw(info, spectrograms[0], spectrograms[1], texts))
            audible = torch.from_numpy(waveforms / max(1.0, np.abs(waveforms).max()))  # softer if it would clip
            for writer in tensorboard_writers(trainer):
                writer.add_image(f"sounds/{number}/true and predicted", picture, step, dataformats="HWC")
                for name, waveform in zip(("true", "predicted"), audible, strict=True):
                    writer.add_audio(f"sounds/{number}/{name}", waveform, step, int(info.sample_rate))
        return True


def _info(trainer: Trainer) -> Any:
    """The description of the dataset that a trainer works on."""
    return trainer.datamodule.info  # type: ignore[attr-defined]  # Lightning sets it from outside
