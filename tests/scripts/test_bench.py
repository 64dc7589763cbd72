import re

import pytest

from scripts import bench
from src.tasks.train import make_trainer


@pytest.fixture
def small(monkeypatch):
    """Two short trainings instead of three long ones."""
    for name, size in (("TRAINED_ON", 256), ("EPOCHS", 2), ("ROUNDS", 2)):
        monkeypatch.setattr(bench, name, size)


@pytest.fixture
def pairs(monkeypatch):
    """The trainers that a test makes, each with what `train.py` would have made in its place."""
    made = []

    def note(cfg, datamodule, *callbacks):
        made.append((trainer := original(cfg, datamodule, *callbacks), make_trainer(cfg, datamodule)))
        return trainer

    original = bench._make_trainer
    monkeypatch.setattr(bench, "_make_trainer", note)
    return made


def kinds(items):
    """Names of the classes."""
    return [type(item).__name__ for item in items]


@pytest.mark.filterwarnings("ignore:GPU available", "ignore:The 'train_dataloader'")
def test_the_ratio_is_that_of_the_figures_beside_it(small, pairs, tmp_path):
    bare, whole = bench.bench_training(tmp_path, 0)
    bare_rate, rate = (float(re.sub(r"[^\d.]", "", row.figure.split()[0])) for row in (bare, whole))
    ratio, low, high = map(float, re.findall(r"\d\.\d+", whole.beside)[:3])
    assert ratio == pytest.approx(rate / bare_rate, abs=0.006)
    assert 0 < low <= high < 1.5
    assert len(pairs) == 2
    for trainer, usual in pairs:
        assert kinds(trainer.callbacks) == ["InTurn", *kinds(usual.callbacks)]
        assert kinds(trainer.loggers) == kinds(usual.loggers) == ["TensorBoardLogger"]
        assert trainer.current_epoch == 2


def test_a_training_and_a_bare_loop_take_turns():
    calls = []

    def epochs():
        for epoch in range(2):
            calls.append(f"bare {epoch}")
            yield

    turns = bench.InTurn(epochs())
    turns.on_train_start(None, None)
    for epoch in range(2):
        turns.on_train_epoch_start(None, None)
        calls.append(f"whole {epoch}")
    turns.pause()
    assert calls == ["bare 0", "whole 0", "bare 1", "whole 1"]
    assert turns.bare > 0
    assert turns.whole > 0
