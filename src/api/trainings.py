"""`runs`: every trained run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, overload

import numpy as np

from src.api.places import find
from src.api.shown import TextTable, dataframe
from src.errors import ConfigError
from src.runs import RunRecord, best_of, find_runs
from src.vimh.reader import is_number, numbers_of

COLUMNS = tuple(field.name for field in fields(RunRecord))


def runs(log_dir: str | Path = "logs") -> "Runs":
    """Every trained run, jobs of sweeps as well, the newest first.

    Args:
        log_dir: Where runs are. A relative path is looked for from the working directory, and then from the project's.

    Examples:
        >>> [run.experiment for run in runs()]
        ['example']
        >>> runs().best.complete
        True
    """
    return Runs(tuple(find_runs(find(log_dir, "log_dir"))))


@dataclass(frozen=True, repr=False)
class Runs(Sequence[RunRecord]):
    """Some trained runs, the newest first.

    `runs[0]` is one of them, `runs[:3]` are several.

    Attributes:
        records: The runs.
    """

    records: tuple[RunRecord, ...]

    @property
    def best(self) -> RunRecord | None:
        """The best of these on the dataset of the newest complete one, as in `load("best")`; None: none is complete."""
        newest = next((record for record in self.records if record.complete), None)
        return next((record for record in best_of(self.records) if newest and record.dataset == newest.dataset), None)

    def where(self, **wanted: Any) -> "Runs":
        """Those with certain attributes: `runs.where(experiment="example", complete=True)`.

        Args:
            **wanted: Name of an attribute of `RunRecord` to its value.

        Raises:
            ConfigError: If there is no such attribute.
        """
        known = {*COLUMNS, "complete"}
        if unknown := sorted(wanted.keys() - known):
            raise ConfigError(f"{unknown[0]}: runs have no such attribute, only {', '.join(sorted(known))}.")
        return Runs(
            tuple(run for run in self.records if all(getattr(run, name) == item for name, item in wanted.items()))
        )

    def table(self) -> TextTable:
        """The runs, a row each, with their errors on test sounds in grid steps; `*` marks the best on each dataset."""
        datasets = {record.dataset for record in self.records}
        header = ("run", "network", "epochs", "error", "accuracy", "state")
        rows = tuple(
            (
                f"{record.name}{' *' if record.best else ''}",
                record.network or "",
                _number(record.epochs, "d"),
                _number(record.error, ".3g"),
                _number(record.accuracy, ".1%"),
                record.state,
            )
            for record in self.records
        )
        caption = "* the best on its dataset" if any(record.best for record in self.records) else ""
        texts = ("run", "dataset", "network", "state")
        if len(datasets) == 1:
            return TextTable(header, rows, texts, f"Runs on {datasets.pop() or 'unknown data'}", caption)
        where = tuple((run, record.dataset or "", *others) for record, (run, *others) in zip(self, rows, strict=True))
        return TextTable(("run", "dataset", *header[1:]), where, texts, "", caption)

    def to_dataframe(self) -> Any:
        """A DataFrame of pandas, a row for each run, with every attribute of `RunRecord` as a column.

        Raises:
            ConfigError: If pandas is not installed.
        """
        names = (*COLUMNS, "complete")
        return dataframe({name: [_plain(getattr(record, name)) for record in self.records] for name in names})

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[RunRecord]:
        return iter(self.records)

    @overload
    def __getitem__(self, item: int) -> RunRecord: ...

    @overload
    def __getitem__(self, item: "slice | Sequence[int] | np.ndarray") -> "Runs": ...

    def __getitem__(self, item: "int | slice | Sequence[int] | np.ndarray") -> "RunRecord | Runs":
        chosen = tuple(self.records[number] for number in numbers_of(item, len(self), "run"))
        return chosen[0] if is_number(item) else Runs(chosen)

    def __repr__(self) -> str:
        return repr(self.table()) if self.records else "No runs. Train a network first: make ex"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _plain(item: Any) -> Any:
    return str(item) if isinstance(item, Path) else item


def _number(item: float | None, form: str) -> str:
    return "" if item is None else f"{item:{form}}"
