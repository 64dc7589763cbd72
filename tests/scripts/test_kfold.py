"""Every fold is trained once, whatever happens meanwhile, and the table is of all of them."""

import argparse
import json
import re

import numpy as np
import pytest

from scripts.kfold import main
from src.errors import ConfigError, NSMError
from src.params import ParameterSpace
from src.tasks import kfold
from src.vimh.info import new_info
from src.vimh.labels import categorical
from src.vimh.sources import Sources
from src.vimh.writer import VIMHWriter


def make(path, folds="123"):
    """Bright and dark pictures with noise, two dozen in each fold."""
    rng = np.random.default_rng(0)
    n_folds = len(folds)
    number = np.arange(24 * n_folds)
    value = (number % 2).astype(np.float32)[:, None]
    rows = [(f"{n}.wav", "0.0", f"{n}", folds[n // 24].strip(), "0") for n in number.tolist()]
    n_train = 24 * (n_folds - 1)
    sources = {"train": Sources.of(rows[:n_train]), "test": Sources.of(rows[n_train:])}
    space = ParameterSpace((categorical("kind", ["dark", "bright"]),))
    counts = {"train": n_train, "test": 24}
    info = new_info(path.name, (1, 16, 16), space, counts, source={"kind": "images"})
    image = (40 + 150 * value[:, :, None, None] + rng.integers(0, 40, (len(number), 1, 16, 16))).astype(np.uint8)
    with VIMHWriter(path, info, sources=sources) as writer:
        for split, some in (("train", slice(n_train)), ("test", slice(n_train, None))):
            levels = np.zeros((counts[split], 2), np.float32)
            writer.write(split, image[some], space.encode(value[some]), levels, value[some])
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory in which configurations are those of the project."""
    (tmp_path / "configs").symlink_to(kfold.ROOT / "configs")
    monkeypatch.setattr(kfold, "ROOT", tmp_path)
    return tmp_path


def options(data_dir, *more):
    return argparse.Namespace(overrides=[f"data.data_dir={data_dir}", *more])


def test_finished_folds_are_not_repeated(place, monkeypatch, capsys):
    data_dir, trained = make(place / "set"), []

    def train_fold(directory, overrides):
        trained.append(overrides[-1])
        if len(trained) == 2:
            raise KeyboardInterrupt
        acc = {'data.fold="1"': 0.5, 'data.fold="2"': 0.75, 'data.fold="3"': 1.0}[overrides[-1]]
        return {"run": directory.name, "metrics": {"test/acc": acc, "test/f1": None if acc == 1 else acc}}

    monkeypatch.setattr(kfold, "train_fold", train_fold)
    with pytest.raises(KeyboardInterrupt):
        kfold.kfold(options(data_dir, "model=cnn_tiny"))
    assert kfold.kfold(options(data_dir, "model=cnn_tiny")) == 0
    assert trained == ['data.fold="1"', 'data.fold="2"', 'data.fold="2"', 'data.fold="3"']
    out = capsys.readouterr().out
    assert "Fold 1 of 1, 2, 3: finished before." in out
    assert re.search(r"acc +0\.75 +0\.25 +0\.5 +1\b", out)
    assert "f1" not in out  # which not all folds have
    (path,) = (place / "logs" / "kfold").glob("set-*/kfold.json")
    content = json.loads(path.read_text())
    assert content["summary"] == {"test/acc": {"mean": 0.75, "std": 0.25, "min": 0.5, "max": 1.0}}
    assert [*content["folds"]] == ["1", "2", "3"]
    kfold.kfold(options(data_dir, "model=cnn_micro"))  # other settings are other runs
    assert len(trained) == 7
    path.write_text("{")
    with pytest.raises(NSMError, match=r"kfold.json: cannot be read .*delete it to begin again"):
        kfold.kfold(options(data_dir, "model=cnn_tiny"))


def test_a_set_without_folds_is_refused(place, saw_dir, capsys):
    with pytest.raises(ConfigError, match=r"it has no folds. Pack it with --folds K"):
        kfold.kfold(options(saw_dir))
    with pytest.raises(ConfigError, match="its samples are in the folds 1, 2, or in none"):
        kfold.kfold(options(make(place / "set", "1 2")))
    with pytest.raises(ConfigError, match=r"data.fold=2: every fold is trained here"):
        kfold.kfold(options(saw_dir, "data.fold=2"))
    with pytest.raises(ConfigError, match="model=none"):
        kfold.kfold(options(saw_dir, "model=none"))
    assert main([f"data.data_dir={place}/nothing"]) == 1
    assert "nothing: not a dataset" in capsys.readouterr().err


@pytest.mark.slow
def test_folds_are_trained_in_processes_of_their_own(place, monkeypatch, capsys):
    data_dir = make(place / "set", "12")
    settings = ("model=cnn_micro", "trainer=cpu", "trainer.max_epochs=8", "data.batch_size=8", "data.aux=[]")
    settings += ("data.make_dataset=null", "logger=csv", "loss=cross_entropy", f"paths.log_dir={place}/logs")
    assert kfold.kfold(options(data_dir, *settings)) == 0
    (path,) = (place / "logs" / "kfold").glob("set-*/kfold.json")
    content = json.loads(path.read_text())
    assert content["summary"]["test/acc"]["mean"] > 0.9
    for fold, entry in content["folds"].items():
        run = json.loads((place / entry["run"] / "results.json").read_text())
        assert entry["metrics"]["test/acc"] == run["metrics"]["test/acc"]
        assert f"data.fold='{fold}'" in (place / entry["run"] / ".hydra" / "overrides.yaml").read_text().replace(
            '"', "'"
        )
    monkeypatch.setattr(kfold, "TRAIN", place / "src" / "gone.py")
    assert kfold.kfold(options(data_dir, *settings)) == 0
    with pytest.raises(NSMError, match="ended with exit code 2, without results"):
        kfold.kfold(options(data_dir, *settings, "seed=1"))
