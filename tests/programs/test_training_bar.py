"""The line of a training: what it says, and when it is drawn."""

import io
import multiprocessing
import pickle
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer

from src.programs import output, training_bar
from src.programs.training_bar import TrainingBar, figure, progress_of


def trainer_at(epoch=0, step=0, **settings):
    """What a bar asks of a trainer."""
    plain = {
        **{"current_epoch": epoch, "global_step": step, "max_epochs": 20, "max_steps": -1, "num_training_batches": 4},
        **{"callback_metrics": {}, "world_size": 1, "is_global_zero": True, "state": SimpleNamespace(fn="fit")},
    }
    return SimpleNamespace(**plain | settings)


@pytest.mark.parametrize(
    ("trainer", "n_chunks", "expected"),
    [
        (trainer_at(), 0, ("Epoch  1/20", 0.0)),
        (trainer_at(epoch=9), 2, ("Epoch 10/20", 0.475)),
        (trainer_at(epoch=19), 4, ("Epoch 20/20", 1.0)),
        (trainer_at(epoch=4, step=30, max_steps=40), 2, ("Step 30/40", 0.75)),
        (trainer_at(epoch=15, step=3, max_steps=4000), 0, ("Epoch 16/20", 0.75)),
        (trainer_at(epoch=4, step=1200, max_epochs=-1, max_steps=2400), 2, ("Step 1,200/2,400", 0.5)),
        (trainer_at(epoch=4, max_epochs=-1), 2, ("Epoch 5", None)),
        (trainer_at(epoch=4, max_epochs=None, num_training_batches=float("inf")), 2, ("Epoch 5", None)),
        (trainer_at(max_epochs=1, step=1, max_steps=1, num_training_batches=1), 1, ("Epoch 1/1", 1.0)),  # fast_dev_run
    ],
)
def test_progress_is_that_of_what_ends_first(trainer, n_chunks, expected):
    assert progress_of(trainer, n_chunks) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((0.6831, "0.683"), (0.0, "0.000"), (12.34567, "12.346"), (0.000123456, "0.000123"), (1.23456e6, "1.23e+06")),
        *((float("nan"), "nan"), (float("inf"), "inf")),
    ],
)
def test_a_figure_is_short(number, text):
    assert figure(number) == text


CHUNK = [{"image": torch.zeros(8, 1, 2, 2)}, {"image": torch.zeros(7, 1, 2, 2)}]
METRICS = {"val/loss": torch.tensor(0.5), "val/acc": torch.tensor(0.25), "train/loss": torch.tensor(2.0)}


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    return now


def test_elsewhere_than_on_a_terminal_there_is_a_line_every_few_seconds_and_at_the_end(clock, capsys):
    bar, trainer = TrainingBar(), trainer_at(max_epochs=2, num_training_batches=2, world_size=3)
    bar.setup(trainer, None, "fit")
    bar.on_train_start(trainer, None)
    for epoch in range(2):
        trainer.current_epoch = epoch
        for chunk in range(2):
            clock[0] += 2
            bar.on_train_batch_end(trainer, None, None, CHUNK, chunk)
        trainer.callback_metrics = METRICS
    bar.on_train_end(trainer, None)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "Epoch 1/2: 22 samples/s, 0:04 left",
        "Epoch 2/2: val/loss 0.500  val/acc 0.250, 22 samples/s, in 0:08",
    ]


def test_without_validation_the_training_samples_are_shown():
    bar = TrainingBar()
    assert bar._figures(trainer_at()) == ""
    assert bar._figures(trainer_at(callback_metrics={"train/loss": torch.tensor(2.0)})) == "train/loss 2.000"
    assert bar._figures(trainer_at(callback_metrics=METRICS)) == "val/loss 0.500  val/acc 0.250"


def test_other_processes_draw_nothing(capsys):
    bar, trainer = TrainingBar(), trainer_at(is_global_zero=False)
    bar.setup(trainer, None, "fit")
    bar.on_train_start(trainer, None)
    bar.on_train_batch_end(trainer, None, None, CHUNK, 0)
    bar.on_train_end(trainer, None)
    assert capsys.readouterr().err == ""


def test_jobs_of_a_sweep_draw_what_goes_and_beside_others_nothing(monkeypatch, capsys):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(training_bar, "is_sweep", lambda: True)
    bar, trainer = TrainingBar(), trainer_at()
    bar.on_train_start(trainer, None)
    assert bar.line.live.transient
    bar.on_train_end(trainer, None)
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {})
    monkeypatch.setattr(training_bar.multiprocessing, "current_process", lambda: SimpleNamespace(name="Loky-1"))
    bar.on_train_start(trainer, None)
    assert bar.line is None


def test_an_exception_gives_the_terminal_back(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    bar, trainer = TrainingBar(), trainer_at()
    bar.on_train_start(trainer, None)
    assert sys.stderr is not screen
    bar.on_exception(trainer, None, KeyboardInterrupt())
    assert sys.stderr is screen
    assert screen.getvalue().endswith("\n\x1b[?25h")  # the cursor is there again


def test_a_bar_goes_to_other_processes_before_it_begins():
    assert pickle.loads(pickle.dumps(TrainingBar(["val/acc"]))).metrics == ["val/acc"]


def test_lightning_takes_it_for_a_progress_bar():
    bar = TrainingBar()
    assert Trainer(accelerator="cpu", logger=False, callbacks=[bar]).progress_bar_callback is bar
