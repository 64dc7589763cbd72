"""`AudioExamples`: what the network takes some validation sounds for, to listen to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor

from src.callbacks.head_figures import pixels
from src.callbacks.periodic import Periodic, predict
from src.callbacks.writers import tensorboard_writers
from src.errors import check_whole
from src.params import ParamSpec


class Voice(Protocol):
    """What renders the sounds of a dataset."""

    def render(self, value: np.ndarray) -> np.ndarray:
        """Waveforms, `(sound, time)`, of values in natural units, `(sound, parameter)`."""
        ...

    def spectrogram_db(self, waveform: np.ndarray) -> np.ndarray:
        """Decibels, `(sound, freq, time)`, of waveforms, `(sound, time)`."""
        ...


class AudioExamples(Periodic):
    """Writes sounds to TensorBoard each few epochs, and after the last one: the truth, and what the network hears.

    `sounds/{i}/true` and `sounds/{i}/predicted` are the waveforms that belong to the true and to the predicted
    parameters of a validation sample, `sounds/{i}` their spectrograms, with the values. The samples are the first ones
    that validate, as the first process sees them, at most one batch of them. Without a TensorBoard logger nothing is
    rendered.

    Args:
        voice_of: Takes the dataset's description, and returns what renders its sounds.
        draw: Takes the dataset's description, the two spectrograms in dB, `(freq, time)` each, and name, true and
            predicted value of each parameter as text; returns a figure.
        every_n_epochs: Epochs from one set of sounds to the next; 0: only after the last epoch.
        n_sounds: How many samples.
    """

    def __init__(
        self,
        voice_of: Callable[[Any], Voice],
        draw: Callable[[Any, np.ndarray, np.ndarray, list[tuple[str, str, str]]], Figure],
        every_n_epochs: int = 10,
        n_sounds: int = 4,
    ) -> None:
        super().__init__(every_n_epochs)
        check_whole("callbacks.audio_examples.every_n_epochs", every_n_epochs, least=0)
        check_whole("callbacks.audio_examples.n_sounds", n_sounds, least=1)
        self.voice_of = voice_of
        self.draw = draw
        self.n_sounds = n_sounds
        self.voice: Voice | None = None
        self.batch: Mapping[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before everything: a dataset that cannot be heard is refused now."""
        if tensorboard_writers(trainer):
            self.voice = self.voice_of(trainer.datamodule.info)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sequence[Mapping[str, Tensor]],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning after a chunk of validation batches; of the first batch, the first samples are kept."""
        if batch_idx == 0:
            self.batch = {name: tensor[: self.n_sounds] for name, tensor in batch[0].items()}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last epoch."""
        super().on_train_end(trainer, pl_module)
        self.batch = {}

    def write(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        """Render and write all sounds."""
        if self.voice is None or not self.batch:
            return False
        specs = pl_module.specs
        value = self.batch["value"].cpu().numpy()
        predicted = _predict(trainer, pl_module, self.batch)
        if not np.isfinite(predicted).all():  # a training that went astray has no sound
            return False
        for number in range(len(value)):
            pair = np.stack([value[number], predicted[number]])
            waveforms = self.voice.render(pair)
            spectrograms = self.voice.spectrogram_db(waveforms)
            figure = self.draw(trainer.datamodule.info, *spectrograms, _texts(specs, pair))
            self._add(trainer, f"sounds/{number}", waveforms, pixels(figure))
        return True

    def _add(self, trainer: Trainer, tag: str, waveforms: np.ndarray, picture: np.ndarray) -> None:
        """Write a pair of sounds, as loud as they are unless that would clip."""
        info, step = trainer.datamodule.info, trainer.global_step
        scaled = waveforms / max(1.0, np.abs(waveforms).max())
        for writer in tensorboard_writers(trainer):
            writer.add_image(tag, picture, step, dataformats="HWC")
            for name, waveform in zip(("true", "predicted"), scaled, strict=True):
                writer.add_audio(f"{tag}/{name}", torch.from_numpy(waveform), step, int(info.sample_rate))


def _predict(trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Tensor]) -> np.ndarray:
    """What the network says of samples, natural units within the ranges, float32, `(sample, parameter)`."""
    (said,) = predict(trainer, pl_module, [batch])
    columns = [spec.value_from_normalized(said[spec.name].normalized.float().clamp(0, 1)) for spec in pl_module.specs]
    return torch.stack(columns, dim=1).cpu().numpy()


def _texts(specs: tuple[ParamSpec, ...], pair: np.ndarray) -> list[tuple[str, str, str]]:
    """Name, true and predicted value of each parameter, `(2, parameter)`."""
    return [
        (spec.name, f"{true:.4g}", f"{predicted:.4g} {spec.units}".rstrip())
        for spec, true, predicted in zip(specs, *pair, strict=True)
    ]
