"""`Augment`: changes training batches at random, on the device that trains: SpecAugment and mixup."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from src.errors import check_number

TensorBatch = Mapping[str, Tensor]


class Augment:
    """SpecAugment and mixup of training batches.

    SpecAugment (Park et al. 2019, arXiv 1904.08779; without its warping of time) covers bands of columns and bands of
    rows of each image, the same in all its channels, by the mean of the channel. A band's width is drawn uniformly from
    0 to the largest, then its place.

    Mixup (Zhang et al. 2018, arXiv 1710.09412) replaces each sample by a weighted mean of it and of another one of its
    batch: images, whose levels are in decibels, and conditioning inputs. The share of the sample itself is drawn from a
    beta distribution, for each sample anew, and is at least a half, so that figures of the training count its own
    classes. The loss is the mean, by the same shares, of those for both targets. For classes that is the loss for the
    mixed target, also where targets are Gaussians on the grid (`soft_target`). A number has two right values then, as
    it has in the mixture: where the loss is quadratic its gradient is that for the mixed value, a Gaussian becomes as
    wide as the two lie apart, and where a parameter acts on one of both sounds, that one counts.

    What is drawn is a function of seed, epoch, number of the batch and device alone, drawn by the CPU whatever the
    device: a resumed training draws what the uninterrupted one would have drawn, in chunks of any size.

    Args:
        time_masks: Bands of columns that are covered.
        time_width: Largest width of one, as a share of the image's.
        freq_masks: Bands of rows.
        freq_width: Largest width of one, as a share of the image's height.
        mixup: Both parameters of the beta distribution; 0: no mixup.
        seed: None: other changes in every run.

    Raises:
        ConfigError: If a setting is invalid.
    """

    def __init__(
        self,
        time_masks: int = 0,
        time_width: float = 0.0,
        freq_masks: int = 0,
        freq_width: float = 0.0,
        mixup: float = 0.0,
        seed: int | None = None,
    ) -> None:
        for name, count in (("time_masks", time_masks), ("freq_masks", freq_masks)):
            check_number(f"augment.{name}", count, whole=True, least=0)
        for name, width in (("time_width", time_width), ("freq_width", freq_width)):
            check_number(f"augment.{name}", width, least=0, most=1)
        check_number("augment.mixup", mixup, least=0)
        if seed is not None:
            check_number("augment.seed", seed, whole=True, least=0)
        self.time_masks, self.time_width = time_masks, time_width
        self.freq_masks, self.freq_width = freq_masks, freq_width
        self.mixup = mixup
        self.seed = np.random.SeedSequence(seed).entropy

    @property
    def acts(self) -> bool:
        """Whether it changes anything."""
        return bool(self.time_masks * self.time_width or self.freq_masks * self.freq_width or self.mixup)

    def __call__(self, batches: Sequence[TensorBatch], epoch: int, first: int, rank: int = 0) -> list[TensorBatch]:
        """Changed copies of the batches of a chunk.

        Args:
            batches: As `src.data.vimh_dataset.BatchFormat` gives them.
            epoch: Of the training.
            first: Number of the first one in its epoch.
            rank: Number of the device.

        Returns:
            With mixup they also have `share`, that of each sample in its mixture, `(batch,)`, and `other_index` and
            `other_normalized`, the targets of the other one, `(batch, head)`.
        """
        drawn = [self._draw(len(batch["image"]), (epoch, number, rank)) for number, batch in enumerate(batches, first)]
        sizes = [len(of_batch) for of_batch in drawn]
        device = batches[0]["image"].device
        numbers = torch.from_numpy(np.concatenate(drawn)).to(device, non_blocking=True)  # one copy for all batches
        return [self._changed(*pair) for pair in zip(batches, numbers.split(sizes), strict=True)]

    def _draw(self, n_samples: int, key: Sequence[int]) -> np.ndarray:
        """What is drawn for a batch: a partner, a share, and widths and places of bands, float32, `(sample, draw)`."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=tuple(key)))
        partner = rng.permutation(n_samples)
        share = rng.beta(self.mixup, self.mixup, n_samples) if self.mixup else np.ones(n_samples)
        bands = rng.random((n_samples, 2 * (self.time_masks + self.freq_masks)))
        return np.column_stack([partner, np.maximum(share, 1 - share), bands]).astype(np.float32)

    def _changed(self, batch: TensorBatch, drawn: Tensor) -> TensorBatch:
        partner, share, bands = drawn[:, 0].long(), drawn[:, 1], drawn[:, 2:]
        changed = mixed(batch, partner, share) if self.mixup else dict(batch)
        height, width = batch["image"].shape[-2:]
        in_time, in_freq = bands.split([2 * self.time_masks, 2 * self.freq_masks], dim=1)
        columns = covered(in_time, width, self.time_width).unsqueeze(1)  # (batch, 1, time)
        rows = covered(in_freq, height, self.freq_width).unsqueeze(2)  # (batch, freq, 1)
        if self.time_masks or self.freq_masks:
            image = changed["image"]
            mean = image.float().mean(dim=(2, 3), keepdim=True).round().to(image.dtype)
            changed["image"] = torch.where((rows | columns).unsqueeze(1), mean, image)
        return changed


def mixed(batch: TensorBatch, partner: Tensor, share: Tensor) -> dict[str, Tensor]:
    """A batch whose samples are mixed with others of it.

    Args:
        batch: With `image`, `aux`, `index` and `normalized`.
        partner: Number of the other one, `(batch,)`.
        share: Of the sample itself, `(batch,)`.
    """
    image, aux = batch["image"], batch["aux"]
    of_image = share.view(-1, 1, 1, 1)
    mixture = torch.lerp(image[partner].float(), image.float(), of_image).round().to(image.dtype)
    return {
        **batch,
        "image": mixture,
        "aux": torch.lerp(aux[partner], aux, share.to(aux.dtype).unsqueeze(1)),
        "share": share,
        "other_index": batch["index"][partner],
        "other_normalized": batch["normalized"][partner],
    }


def covered(drawn: Tensor, size: int, widest: float) -> Tensor:
    """Which of `size` rows or columns lie in any of some bands, bool, `(batch, size)`.

    Args:
        drawn: For each band a number for its width and one for its place, in [0, 1), `(batch, 2 * band)`.
        size: Of the image.
        widest: Largest width, as a share of it.
    """
    of_width, of_place = drawn.unflatten(1, (-1, 2)).unbind(dim=2) if drawn.shape[1] else (drawn, drawn)
    width = (of_width * (int(widest * size) + 1)).floor()  # (batch, band)
    first = (of_place * (size - width + 1)).floor()
    place = torch.arange(size, device=drawn.device)
    return ((place >= first.unsqueeze(-1)) & (place < (first + width).unsqueeze(-1))).any(dim=1)
