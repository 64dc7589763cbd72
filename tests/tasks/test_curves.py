import csv
import math

import pytest
from torch.utils.tensorboard import SummaryWriter

from src.callbacks.tensorboard import TensorBoardLogger
from src.tasks.curves import read_curves

TAGS = ("train/loss", "val/loss", "val/steps")


def write_table(run, version, rows):
    path = run / "csv" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "train/loss", "val/loss", "epoch"])
        writer.writeheader()
        writer.writerows(rows)


def test_tables_are_read_as_they_were_written(tmp_path):
    write_table(
        tmp_path, 0, [{"step": 6, "train/loss": 2.0}, {"step": 6, "val/loss": 2.5}, {"step": 12, "val/loss": 1}]
    )
    assert read_curves(tmp_path, TAGS) == {"train/loss": [(6, 2.0)], "val/loss": [(6, 2.5), (12, 1.0)]}


def test_a_resumed_run_goes_on_where_its_table_begins(tmp_path):
    write_table(tmp_path, 0, [{"step": step, "val/loss": step} for step in (1, 2, 3, 4)])
    write_table(tmp_path, 10, [{"step": step, "val/loss": -step} for step in (3, 5)])
    write_table(tmp_path, 2, [{"step": step, "val/loss": 0} for step in (2, 6)])
    assert read_curves(tmp_path, TAGS) == {"val/loss": [(1, 1.0), (2, 0.0), (3, -3.0), (5, -5.0)]}


def test_event_files_are_read_without_what_a_resumed_run_did_again(tmp_path):
    with SummaryWriter(tmp_path / "tensorboard") as writer:
        for step in (1, 2, 3):
            writer.add_scalar("val/loss", step, step)
        writer.add_scalar("val/steps", math.nan, 1)
    with SummaryWriter(tmp_path / "tensorboard", purge_step=3, filename_suffix=".1") as writer:
        writer.add_scalar("val/loss", 9, 3)
    assert read_curves(tmp_path, TAGS) == {"val/loss": [(1, 1.0), (2, 2.0), (3, 9.0)]}


def test_what_the_project_logs_is_found_under_the_names_that_tensorboard_shows(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="tensorboard", version="")
    for step in (1, 2):
        logger.log_metrics({tag: step / (i + 1) for i, tag in enumerate(TAGS)}, step)
    logger.finalize("success")
    curves = read_curves(tmp_path, TAGS)
    assert [*curves] == [*TAGS]
    assert curves["val/loss"] == [(1, 0.5), (2, 1.0)]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"step,val/loss\n1\n,,,\nx,y\n2,nan\n", b'"' * 100_000])
def test_damaged_tables_have_no_curve(tmp_path, content):
    path = tmp_path / "csv" / "version_0" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert read_curves(tmp_path, TAGS) == {}


def test_damaged_event_files_end_where_they_are_damaged(tmp_path):
    with SummaryWriter(tmp_path / "tensorboard") as writer:
        for step in range(100):
            writer.add_scalar("val/loss", step, step)
    (path,) = (tmp_path / "tensorboard").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * 50)
    curve = read_curves(tmp_path, TAGS)["val/loss"]
    assert curve == [(step, float(step)) for step in range(len(curve))]


def test_a_run_without_loggers_has_no_curves(tmp_path):
    assert read_curves(tmp_path, TAGS) == {}
