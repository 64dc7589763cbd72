"""`Division`: which samples of a dataset train, validate and test, and which calibrate."""

from functools import cached_property

import numpy as np

from src.errors import ConfigError
from src.vimh.division import spread_groups
from src.vimh.reader import VIMHReader
from src.vimh.sources import Sources
from src.vimh.tables import in_order

LEAST_PART = 1000  # validation sounds that choose a checkpoint, fit error bars, and scale them, each


class Division:
    """Who trains, validates and tests, by seed. All numbers rise; those of `test` follow those of `train`.

    Where the dataset says which file each sample comes from, groups stay together, and what the corpus itself has to
    validate does.

    Args:
        reader: The dataset.
        val_fraction: Share of the samples to train and validate with that validate.
        train_size: Take so many of them, drawn by seed; those of a smaller number are among those of a larger one.
            None: all.
        seed: Draws. None: as 0.
        fold: The samples of this fold test, and all others train and validate. None: the dataset's own division.
    """

    def __init__(
        self,
        reader: VIMHReader,
        val_fraction: float,
        train_size: int | None = None,
        seed: int | None = None,
        fold: int | str | None = None,
    ) -> None:
        self.reader = reader
        self.val_fraction = val_fraction
        self.train_size = train_size
        self.seed = seed or 0
        self.fold = fold

    @cached_property
    def sources(self) -> Sources | None:
        """Where all samples come from; None where the dataset does not say."""
        found = self.reader.sources
        return None if found is None else found["train"].followed_by(found["test"])

    @cached_property
    def pools(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the samples to train and validate with, and of those that test."""
        n_train, n_test = len(self.reader.train), len(self.reader.test)
        if self.fold is None:
            return np.arange(n_train), n_train + np.arange(n_test)
        fold = np.array([]) if self.sources is None else self.sources.fold
        if str(self.fold) not in fold:
            known = ", ".join(in_order(fold[fold != ""]))
            there = f"has the folds {known}" if known else "has no folds; pack it with --folds K"
            raise ConfigError(f"data.fold is {self.fold}, but {self.reader.data_dir} {there}.")
        return np.flatnonzero(fold != str(self.fold)), np.flatnonzero(fold == str(self.fold))

    @property
    def test(self) -> np.ndarray:
        """Numbers of the samples that test."""
        return self.pools[1]

    @cached_property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the validation and of the training samples."""
        pool = self.pools[0]
        n_samples = len(pool) if self.train_size is None else self.train_size
        if not 0 < n_samples <= len(pool):
            raise ConfigError(
                f"data.train_size is {n_samples}, but {self.reader.data_dir} has {len(pool)} samples to train on."
            )
        share = self.val_fraction if self.sources is None else self.sources.val[pool].mean() or self.val_fraction
        n_val = round(n_samples * float(share))
        if not 0 < n_val < n_samples:
            raise ConfigError(
                f"data.val_fraction {self.val_fraction} of {n_samples} samples leaves {n_val} to validate. Choose "
                "another fraction, or a larger dataset."
            )
        val, train = self._drawn(pool, n_val, n_samples)
        return np.sort(val), np.sort(train)

    def _drawn(self, pool: np.ndarray, n_val: int, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
        """About so many samples of the pool that validate, and the others of `n_samples`, which train."""
        if self.sources is None:
            drawn = pool[np.random.default_rng(self.seed).permutation(len(pool))]
            return drawn[:n_val], drawn[n_val:n_samples]
        is_val = self.sources.val[pool]
        if is_val.any():
            val, train = (np.concatenate(self._groups(pool[mask], self.sources)) for mask in (is_val, ~is_val))
            return val[:n_val], train[: n_samples - n_val]
        groups = self._groups(pool, self.sources)
        ends = np.cumsum([len(group) for group in groups])
        ends = ends[ends < n_samples]
        if not len(ends):
            raise ConfigError(
                f"{self.reader.data_dir}: the {n_samples} samples to train and validate with are of one group, "
                f"{self.sources.group[groups[0][0]]}. Pack more files, or smaller groups."
            )
        end, drawn = int(ends[np.abs(ends - n_val).argmin()]), np.concatenate(groups)
        return drawn[:end], drawn[end:n_samples]

    @cached_property
    def validation_parts(self) -> list[np.ndarray]:
        """Numbers of the validation samples that choose a checkpoint, and of those that fit and that scale error bars.

        Where there are too few samples or groups for three parts, all of them choose.
        """
        drawn = self.parts[0]
        if len(drawn) < 3 * LEAST_PART:
            return [drawn]
        if self.sources is None:
            return [drawn[part::3] for part in range(3)]
        groups = self._groups(drawn, self.sources)
        parts = [groups[part::3] for part in range(3)]
        return [np.sort(np.concatenate(part)) for part in parts] if len(groups) >= 3 else [drawn]

    def _groups(self, numbers: np.ndarray, sources: Sources) -> list[np.ndarray]:
        """Samples by group, in an order drawn by seed, any beginning of which has its share of each class."""
        rng = np.random.default_rng(self.seed)
        return [numbers[some] for some in spread_groups(sources.group[numbers], self._classes[numbers], rng)]

    @cached_property
    def _classes(self) -> np.ndarray:
        """What each sample is in all categories together, as a number, `(sample,)`."""
        code = np.concatenate([self.reader.train.codes(), self.reader.test.codes()])
        columns = [number for number, spec in enumerate(self.reader.info.parameters) if spec.categorical]
        return np.unique(code[:, columns], axis=0, return_inverse=True)[1].reshape(-1)
