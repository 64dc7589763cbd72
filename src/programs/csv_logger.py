"""`CSVLogger`: Lightning's table of metrics, for runs that train and test in different processes."""

import csv
from pathlib import Path

from lightning.pytorch import loggers
from lightning.pytorch.utilities import rank_zero_only


class CSVLogger(loggers.CSVLogger):
    """Goes on with a table that another process of the run has begun.

    `trainer=ddp_sim` trains and tests in processes of their own. Each knows the columns that it has written itself, and
    Lightning's logger fails as soon as it finds others in the file.
    """

    @rank_zero_only
    def save(self) -> None:
        """Write what was logged, under the columns of the file and new ones."""
        writer = self.experiment
        path = Path(writer.metrics_file_path)
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                writer.metrics_keys = sorted({*writer.metrics_keys, *next(csv.reader(file), [])})
        super().save()
