"""What people get wrong on a command line: one short message, exit code 1, no traceback, no directory."""

import logging
import os
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.programs.program import program
from src.programs.suggestions import unknown_key

ROOT = Path(__file__).parents[2]
TASKS = {
    "train": "src.tasks.train.train",
    "eval": "src.tasks.evaluate.evaluate",
    "predict": "src.tasks.predict.predict",
    "export": "src.tasks.export.export",
    "audio_eval": "src.tasks.audio_eval.audio_eval",
}
GENERATOR = "src.tasks.generate.generate_dataset"


@pytest.fixture
def refused(monkeypatch, capfd, tmp_path):
    """The message of a program that refuses its arguments, after what all of them have in common has been checked."""
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        if name in TASKS:
            main = program(name, task=TASKS[name])
        else:
            main = program("synth/generate_simple_saw", task=GENERATOR, names="synth/generate_*")
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capfd.readouterr()
        assert stop.value.code == 1
        assert "took" not in printed.out
        message = printed.err
        for noise in ("Traceback", "HYDRA_FULL_ERROR", "search path", "append", "provider=", "full_key", "See http"):
            assert noise not in message + printed.out
        assert len(message.splitlines()) <= 8
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        assert [path for path in tmp_path.rglob("*-*_*-*")] == []  # the directory of a run
        assert "HYDRA_FULL_ERROR" not in os.environ
        return message

    before = logging.root.handlers[:], logging.root.level
    yield run
    for handler in set(logging.root.handlers) - set(before[0]):
        handler.close()
    logging.root.handlers[:], logging.root.level = before


MISTAKES = [
    # what there is not
    ("train", "trainer.max_epoch=3", ["'trainer.max_epoch'", "Did you mean trainer.max_epochs?", "max_epochs, min_ep"]),
    ("train", "max_epochs=3", ["'max_epochs'", "Did you mean trainer.max_epochs?", "experiment_name"]),
    ("train", "lr=0.1", ["Did you mean model.optimizer.lr?"]),
    ("train", "modle=cnn_tiny", ["Did you mean model?"]),
    ("train", "experimnt=example", ["Did you mean experiment?"]),
    ("train", "model.net.widht=[8]", ["Did you mean model.net.widths?", "Settings of model.net: "]),
    ("train", "hydra.run.dri=x", ["Did you mean hydra.run.dir?"]),
    ("train", "trainer/max_epochs=3", ["Did you mean trainer.max_epochs?"]),
    ("train", "~trainer.max_epoch", ["Did you mean trainer.max_epochs?"]),
    ("train", "representation=mel", ["this program has no such group", "Groups: callbacks, data, "]),
    ("train", "experiment=exmple", ["Did you mean experiment=example?", "Options of experiment: cnn, digits, example"]),
    ("train", "model=cnn_tinny", ["Did you mean model=cnn_tiny?", "vit_tiny"]),
    ("train", "loss=regresion", ["Did you mean loss=regression?"]),
    ("train", "callbacks=[model_checkpoint,early_stoping]", ["Did you mean callbacks=early_stopping?"]),
    ("train", "--config-name=trian", ["Did you mean --config-name=train?"]),
    ("generate", "--config-name=synth/generate_simpel_saw", ["Did you mean --config-name=synth/generate_simple_saw?"]),
    ("generate", "dataset.sizes=3", ["Did you mean dataset.size?", "sample_rate"]),
    ("generate", "channels=[widows]", ["Did you mean channels=windows?"]),
    ("eval", "splt=val", ["Did you mean split?"]),
    ("predict", "refined=true", ["Did you mean refine?"]),
    ("train", "loss=3", ["loss=3: ", "Options of loss: cross_entropy, gaussian"]),
    # what is written wrongly
    ("train", "trainer.max_epochs", ["trainer.max_epochs=VALUE"]),
    ("train", "tags=[a", ["tags=[a: Hydra cannot read this value"]),
    ("train", "+trainer.max_epochs=3", ["Leave out the +"]),
    ("train", "trainer.precision=16-mixed", ["+trainer.precision=VALUE"]),
    ("train", "trainer.presicion=16-mixed", ["Did you mean +trainer.precision?"]),
    ("train", "experiment_name=${nam}", ["Interpolation key 'nam' not found"]),
    # what a setting cannot be
    ("train", "trainer.max_epochs=three", ["trainer.max_epochs is 'three'; it must be a whole number or null."]),
    ("train", "seed=abc", ["seed is 'abc'; it must be a whole number"]),
    ("train", "model.head_weights=3", ["model.head_weights is 3; it must be text or a mapping."]),
    ("train", "+model.foo=3", ["model.foo: VIMHLitModule takes no such setting."]),
    ("train", "+model.scheduler.foo=3", ["model.scheduler.foo: WarmupCosine takes no such setting."]),
    ("train", "trainer=mps", ["trainer.accelerator=mps", "only cpu", "trainer=cpu"]),
    ("train", "trainer=gpu", ["trainer.accelerator=gpu", "only cpu", "trainer=cpu"]),
    ("train", "trainer.accelerator=gup", ["trainer.accelerator", "gpu"]),
    ("train", "ckpt_path=no.ckpt", ["ckpt_path=no.ckpt: there is no such file"]),
    ("eval", "ckpt_path=no.ckpt", ["no.ckpt"]),
    ("eval", "split=val", ["ckpt_path has no value"]),
    ("predict", "audio=no.wav", ["no run has a checkpoint"]),
]


# One of each kind is tried every time.
FAST = ("trainer.max_epoch=3", "experiment=exmple", "trainer.max_epochs", "+model.foo=3")


def cases():
    for name, argument, facts in MISTAKES:
        marks = [] if argument in FAST else [pytest.mark.slow]
        yield pytest.param(name, argument, facts, id=f"{name} {argument}", marks=marks)


@pytest.mark.parametrize(("name", "argument", "facts"), list(cases()))
def test_a_mistake_is_answered_by_one_message(refused, name, argument, facts):
    message = refused(name, argument)
    for fact in facts:
        assert fact in message


def test_a_sweep_with_a_mistake_leaves_nothing(refused):
    message = refused("train", "-m", "model=cnn_tiny,cnn_mirco")
    assert "Did you mean model=cnn_micro?" in message


@pytest.mark.slow
def test_every_message_about_the_command_line_holds_beside_other_arguments(refused):
    message = refused("train", "-m", "experiment=wave", "loss=regression", "seed=1,2", "model.net.widht=[8]")
    assert "Did you mean model.net.widths?" in message


TREE = OmegaConf.create(
    {
        "trainer": {"_target_": f"{__name__}.Trainer", "max_epochs": 3},
        "model": {"optimizer": {"lr": 0.1}, "depth": "${seed}"},
        "seed": 1,
        "hydra": {"runtime": {"choices": {"model": "cnn", "hydra/launcher": "basic", "experiment": None}}},
    }
)


class Trainer:
    def __init__(self, max_epochs: int, precision: str = "32", **more: int) -> None:
        """Takes one setting that has no value."""


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("trainer.max_epoch", "Did you mean trainer.max_epochs?\nSettings of trainer: max_epochs"),
        ("trainer.precision", "it has no value yet. Give it one with a + in front: +trainer.precision=VALUE"),
        ("trainer.prescision", "Did you mean +trainer.precision?"),
        ("trainer.depths", "Did you mean model.depth?"),
        ("max_epochs", "Did you mean trainer.max_epochs?\nSettings: experiment, model, seed, trainer"),
        ("lr", "Did you mean model.optimizer.lr?"),
        ("experimnt", "Did you mean experiment?"),
        ("optimiser.lr", "Did you mean model.optimizer.lr?"),
        ("seed.more", "there is no such setting."),
        ("model.depth.more", "there is no such setting."),
        ("quite_another", "there is no such setting.\nSettings: "),
    ],
)
def test_the_nearest_key_is_suggested(key, answer):
    message = unknown_key(key, TREE)
    assert message.startswith(f"Could not override '{key}': ")
    assert answer in message
