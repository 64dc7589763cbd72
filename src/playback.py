"""The sound of a sample of a dataset: rendered from its values where its synth is known, from its image elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from src.errors import ConfigError, NSMError
from src.recipe import PERTURB, Recipe
from src.spectral.representation import Mel, SpectralRepresentation
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch


@dataclass(frozen=True)
class Playback:
    """What makes the samples of a dataset audible.

    Attributes:
        info: The dataset's JSON.
        instantiate: Makes an object from a section of its generator configuration, which came out of a file.
    """

    info: DatasetInfo
    instantiate: Callable[..., Any]

    def sounds(self, batch: Batch, split: str, first: int) -> np.ndarray:
        """Waveforms of samples that follow each other, as their images were made of them: perturbed, if they were.

        Args:
            batch: The samples.
            split: That they are from.
            first: Number of the first in it.

        Returns:
            Finite, float32, `(sample, time)`.

        Raises:
            NSMError: If the dataset does not say how its samples sound, or the synth fails at one of them.
        """
        if self.perturbed is not None:
            return self.perturbed.recorded(batch.value, self.perturbed.first_number(split, self.info.shard) + first)
        return self.recipe.sounds(batch.value, first) if self.recipe else griffin_lim(self.representation, batch)

    @property
    def sample_rate(self) -> int:
        """Of the sounds, Hz.

        Raises:
            NSMError: If the dataset does not say how its samples sound.
        """
        return self.recipe.synth.sample_rate if self.recipe else self.representation.sample_rate

    @property
    def how(self) -> str:
        """A sentence on where the sounds come from, or on why there are none."""
        if self.silence:
            return f"No sounds: {self.silence}"
        if self.perturbed is not None:
            return "Sounds are rendered from the stored values, and perturbed as for the images."
        if self.recipe is not None and self._stored.get(PERTURB):
            return "Sounds are rendered from the stored values, without what perturbed them for the images."
        if self.recipe is not None:
            return "Sounds are rendered from the stored values."
        return "Sounds are reconstructed from the images by Griffin-Lim, with estimated phases."

    @cached_property
    def silence(self) -> str:
        """Why there are no sounds; empty where there are."""
        try:
            _ = self.recipe or self.representation
        except NSMError as error:
            return str(error)
        return ""

    @cached_property
    def recipe(self) -> Recipe | None:
        """What renders the sounds, clean; None where the synth is not known."""
        try:
            return Recipe.from_info(self.info, self.instantiate)
        except NSMError:
            return None

    @cached_property
    def perturbed(self) -> Recipe | None:
        """What renders the samples of a perturbed dataset; None where nothing perturbed them, or it is not here."""
        if not self._stored.get(PERTURB):
            return None
        try:
            return Recipe.from_config(self._stored, self.instantiate)
        except NSMError:
            return None

    @property
    def _stored(self) -> Mapping[str, Any]:
        """The generator configuration; empty without one."""
        config = (self.info.generator or {}).get("config")
        return config if isinstance(config, Mapping) else {}

    @cached_property
    def representation(self) -> SpectralRepresentation:
        """What has made the images.

        Raises:
            NSMError: If the dataset does not say enough.
        """
        return representation_of(self.info)


def representation_of(info: DatasetInfo) -> SpectralRepresentation:
    """The representation that made the images of a dataset, from its JSON alone.

    Raises:
        ConfigError: If the JSON does not say enough, or nothing that this project can compute.
    """
    stft, mel = info.spectrogram_config or {}, info.mel_config
    missing = [key for key in ("win_length", "hop_length") if key not in stft]
    if missing or not info.sample_rate or not info.duration:
        raise ConfigError(
            "Its JSON does not say how the images were made: spectrogram_config with win_length and hop_length, "
            "sample_rate and duration are needed."
        )
    known = ("win_length", "n_fft", "window", "hop_length", "top_db")
    return SpectralRepresentation(
        sample_rate=int(info.sample_rate),
        duration=info.duration,
        height=info.height,
        width=info.width,
        **{key: stft[key] for key in known if key in stft},
        pre_emphasis=info.pre_emphasis_coefficient,
        mel=None if mel is None else {key: mel[key] for key in Mel.model_fields if key in mel},
        log_frequency=stft.get("log_frequency"),
    )


def griffin_lim(representation: SpectralRepresentation, batch: Batch) -> np.ndarray:
    """Sounds that have the images of the first channel of some samples, `(sample, time)`."""
    n_samples = len(batch.image)
    quiet = np.tile(np.array([-representation.top_db, 0.0], np.float32), (n_samples, 1))
    spec_range = batch.spec_range if batch.spec_range.size else quiet
    # Copies: the arrays of a batch may be unaligned and read-only, as its memory map is.
    image, ends = torch.from_numpy(np.array(batch.image[:, :1])), torch.from_numpy(np.array(spec_range))
    return representation.to_waveform(image, ends).numpy()
