"""`SoundsAgain`: sounds of a set of recordings, read again from their files, and perturbed anew in every epoch."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.errors import ConfigError, VIMHError
from src.packing.settings import PERTURB, perturbation_of_recordings
from src.perturb.chain import Draws, Perturbation
from src.perturb.effects import Effect
from src.programs.output import progress
from src.recipe import Recorded, images_of, recorded_as, source_of
from src.recordings import AudioFile, cut_into_frames
from src.text import name_of
from src.vimh.info import DatasetInfo
from src.vimh.sources import Sources

AT_ONCE = 64  # sounds whose images are compared with the stored ones at a time
MOST_APART = 1.0  # mean of an image, in steps of 255: other machines round otherwise
MOST_DB_APART = 0.1  # of its levels, likewise
STORED = "perturb=none data.recordings=null trains on the stored images."


Read = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class SoundsAgain:
    """Images of sounds to which something else happens in every epoch.

    What happens to sample i of the dataset in epoch e is drawn for the sound of the number e * size + i, where size is
    the number of samples of the dataset, and depends on nothing else but the seed.

    Args:
        waveform: float32, `(sound, time)`.
        number: Of each in the dataset, int64, `(sound,)`.
        info: Of the dataset.
        recorded: How its images are made.
        perturbation: What happens before.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        waveform: np.ndarray,
        number: np.ndarray,
        info: DatasetInfo,
        recorded: Recorded,
        perturbation: Perturbation,
        seed: int,
    ) -> None:
        self.waveform = waveform
        self.number = torch.from_numpy(number)
        self.representation = recorded.representation
        size = info.train_samples + info.test_samples

        @lru_cache(maxsize=2)  # sounds are made ahead: some are of the next epoch
        def draws(epoch: int) -> Draws:
            return perturbation.draws(epoch * size, (epoch + 1) * size, seed)

        self._draws, self._perturbation = draws, perturbation

    def __call__(self, chosen: np.ndarray, epoch: int) -> tuple[Tensor, Tensor]:
        """Some sounds as they are in an epoch.

        Args:
            chosen: Which of the sounds, int64, `(batch,)`.
            epoch: From 0 on.

        Returns:
            Images, uint8, `(batch, channel, freq, time)`; `spec_min` and `spec_max`, dB, `(batch, 2)`.
        """
        rows = self.number[chosen]
        draws = {name: drawn.rows(rows) for name, drawn in self._draws(epoch).items()}
        waveform = self._perturbation.apply(torch.from_numpy(self.waveform[chosen]), draws)
        image, spec_range = images_of(self.representation, waveform.numpy())
        return torch.from_numpy(image), torch.from_numpy(spec_range)


def sounds_again(
    info: DatasetInfo,
    directory: Path,
    number: np.ndarray,
    sources: Sources | None,
    read: Read,
    seed: int,
    perturb: Mapping[str, Effect],
    instantiate: Callable[..., Any],
) -> SoundsAgain:
    """Read samples of a dataset again from the files that it was packed from.

    They are kept in a temporary file, and fill no memory. All are read before any is trained on, and have to make the
    stored images.

    Args:
        info: Of the dataset.
        directory: That was packed.
        number: Of the samples in the dataset, those of `test` behind those of `train`, int64, `(sample,)`.
        sources: Where they come from; None: the dataset does not say.
        read: Takes places in these lists, `(some,)`; gives the stored images, uint8, `(some, channel, freq, time)`, and
            levels, dB, `(some, 2)`.
        seed: Of what happens to them.
        perturb: Name to effect, in the order in which they happen.
        instantiate: Makes an object from a section of the dataset's JSON, for a `slot`.

    Raises:
        ConfigError: If nothing happens to the sounds, or it cannot.
        VIMHError: If it is not known where they come from, or a file is gone or another one.
    """
    if not perturb:
        raise ConfigError(
            f"data.recordings={name_of(directory)}: nothing is to happen to these sounds. Choose what does, such as "
            "perturb=[onset,noise], or leave data.recordings out."
        )
    source = source_of(info)
    if source is None or sources is None:
        raise VIMHError(f"{info.title}: does not say which recordings its samples come from. {STORED}")
    if source.get(PERTURB):
        raise VIMHError(
            f"{info.title}: was packed with --perturb ({', '.join(source[PERTURB])}), so that its images are not those "
            f"of the files. Pack them without, to perturb them anew in every epoch; {STORED}"
        )
    recorded = recorded_as(info, source, instantiate)
    perturbation = perturbation_of_recordings(perturb, recorded.framing, "perturb")
    check_files(directory, sources, info)
    sounds = checked_sounds(directory, sources, read, recorded, info)
    waveform = on_disk(sounds, (len(number), recorded.framing.n_samples))
    return SoundsAgain(waveform, number, info, recorded, perturbation, seed)


def on_disk(sounds: Iterable[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """Sounds in a temporary file, which the operating system removes, whatever happens; float32, `(sound, time)`.

    Args:
        sounds: Places and sounds, some at a time.
        shape: Of all.
    """
    try:
        with tempfile.TemporaryFile() as spool, progress(shape[0], "Reading", "sounds again") as advance:
            for places, some in sounds:
                for place, sound in zip(places.tolist(), some, strict=True):
                    spool.seek(place * sound.nbytes)
                    spool.write(sound.tobytes())
                advance(len(places))
            spool.flush()
            return np.memmap(spool, np.float32, "r", shape=shape)
    except OSError as error:
        raise VIMHError(
            f"{tempfile.gettempdir()}: {shape[0]:,} sounds cannot be written there ({error.strerror}). Make room, or "
            "name another directory in TMPDIR."
        ) from error


def check_files(directory: Path, sources: Sources, info: DatasetInfo) -> None:
    """Refuse a directory that lacks files, before any is read."""
    names = np.unique(sources.file).tolist()
    if outside := [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]:
        raise VIMHError(f"{info.title}: names a file outside of what was packed, {name_of(outside[0])}. {STORED}")
    if missing := [name for name in names if not (directory / name).is_file()]:
        raise VIMHError(
            f"data.recordings={name_of(directory)}: lacks {len(missing):,} of {len(names):,} files that {info.title} "
            f"was packed from, such as {name_of(missing[0])}. Name the directory that was packed; {STORED}"
        )


def checked_sounds(
    directory: Path, sources: Sources, read: Read, recorded: Recorded, info: DatasetInfo
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sounds in the order of their files, some at a time, each of which makes the stored image.

    Yields:
        Their places, `(some,)`, and the sounds, float32, `(some, time)`.

    Raises:
        VIMHError: If one does not, or is not there.
    """
    sounds = sounds_in(directory, sources, recorded)
    while some := list(islice(sounds, AT_ONCE)):
        places, waveform = np.array([place for place, _ in some]), np.stack([sound for _, sound in some])
        image, spec_range = images_of(recorded.representation, waveform)
        wanted, levels = read(places)
        apart = np.abs(image.astype(np.float32) - wanted).mean(axis=(1, 2, 3))
        others = (apart > MOST_APART) | (np.abs(spec_range - levels) > MOST_DB_APART).any(axis=1)
        if others.any():
            place = places[others.argmax()]
            raise _changed(directory, sources, place, f"sounds otherwise than it did when {info.title} was packed")
        yield places, waveform


def sounds_in(directory: Path, sources: Sources, recorded: Recorded) -> Iterator[tuple[int, np.ndarray]]:
    """Places of samples and their sounds, file by file."""
    order = np.argsort(sources.file, kind="stable").tolist()
    for name, members in groupby(order, key=sources.file.__getitem__):
        place_at = {sources.start[place]: place for place in members}
        frames = cut_into_frames(AudioFile.open(directory / name), recorded.framing)
        for start, frame in zip(frames.start.tolist(), frames, strict=True):
            if (place := place_at.pop(start, None)) is not None:
                yield place, frame
        if place_at:
            start, place = next(iter(place_at.items()))
            raise _changed(directory, sources, place, f"has no sound at {start:g} s any more")


def _changed(directory: Path, sources: Sources, place: int, what: str) -> VIMHError:
    """What is wrong with the file of a sample."""
    return VIMHError(
        f"{name_of(directory / sources.file[place])}: was changed: it {what}. Pack the recordings again, or name the "
        f"directory that was packed, data.recordings=DIR; {STORED}"
    )
