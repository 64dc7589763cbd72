"""Hostile files take neither time nor memory, run nothing, and are refused in one sentence."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scripts.faults import hostile
from src.checkpoints.run import check_resumable, load_run
from src.errors import CheckpointError, VIMHError
from src.vimh.legacy import dumps
from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[2]
GOOD = ROOT / "tests" / "data" / "compat" / "compat_a.ckpt"
SET = GOOD.parent / "vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p"
WRITER = "lightning.fabric.loggers.csv_logs._ExperimentWriter"
MNIST = "lightning.pytorch.demos.mnist_datamodule._MNIST"
SLOW = {"depth of 60,000", "100,000 widths", "a million layers of an MLP", "16,000 windows"}


@pytest.fixture(scope="module")
def content():
    """What a good checkpoint holds."""
    return hostile.put(hostile.content_of(GOOD.read_bytes()), (*hostile.CONFIG, "data", "data_dir"), str(SET))


@pytest.fixture
def refused(tmp_path):
    """Reads a checkpoint with something in a place, as programs do, and returns the one sentence that refuses it."""

    def use(content, path, item):
        (tmp_path / "hostile.ckpt").write_bytes(hostile.saved(hostile.put(content, path, item)))
        with pytest.raises(CheckpointError) as refusal:
            hostile.use_checkpoint(tmp_path / "hostile.ckpt")
        assert len(str(refusal.value)) < 1000
        assert [path.name for path in tmp_path.iterdir()] == ["hostile.ckpt"]
        return str(refusal.value)

    return use


@pytest.fixture
def marked(tmp_path_factory, monkeypatch):
    """A directory with files that must stay as they are, while no connection is opened."""
    directory = tmp_path_factory.mktemp("marked")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    for name in ("metrics.csv", "hparams.yaml"):
        (directory / name).write_text("keep me")
    yield directory
    assert {path.name: path.read_text() for path in directory.iterdir()} == {
        "metrics.csv": "keep me",
        "hparams.yaml": "keep me",
    }


@pytest.mark.parametrize("place", hostile.SLOTS)
@pytest.mark.parametrize("target", [WRITER, MNIST])
def test_no_class_with_effects_is_made_from_a_checkpoint(content, refused, marked, target, place):
    arguments = {"log_dir": str(marked)} if target == WRITER else {"root": str(marked / "new"), "download": True}
    section = {"_target_": target, **arguments}
    section = [section] if place == "a list in the net" else section
    if place == "data":
        section["aux"] = ["spec_min", "spec_max"]
    assert target in refused(content, hostile.SLOTS[place], section)


@pytest.mark.parametrize("net", sorted(hostile.NETS.keys() - SLOW))
def test_no_network_is_built_that_the_weights_do_not_justify(content, refused, net):
    assert "hostile.ckpt: " in refused(content, hostile.SLOTS["net"], hostile.NETS[net])


@pytest.mark.parametrize("recipe", sorted(hostile.RECIPES.keys() - SLOW))
def test_no_recipe_is_built_that_takes_gigabytes(content, refused, recipe):
    section, settings = hostile.RECIPES[recipe]
    path = (*hostile.RECIPE, section)
    refused(content, path, (hostile.at(content, path) or {}) | settings)


@pytest.mark.parametrize("place", [hostile.CONFIG, hostile.INFO, ("callbacks",), (hostile.ENTRY, "domain"), ("a",)])
@pytest.mark.parametrize(
    "item", [hostile.laughs(), hostile.laughs(kind=tuple), hostile.mapped_laughs(), hostile.nested(300)], ids=range(4)
)
def test_what_is_shared_or_nested_without_end_is_refused(content, refused, place, item):
    said = refused(content, (*place, "data", "aux"), item)
    assert "more than" in said


def test_the_memory_of_a_tensor_is_in_the_file(content, refused):
    assert "bytes" in refused(content, ("state_dict", "a"), torch.zeros(1).expand(10**11))
    assert "bytes" in refused(content, ("domain",), torch.zeros(10**6, 10**6, device="meta"))


@pytest.mark.parametrize("name", ["a bomb", "a bomb in the pickle", "a laughing key", "laughing arguments"])
def test_archives_that_grow_are_refused(content, tmp_path, name):
    cases = hostile.archives(content, GOOD.read_bytes())
    (tmp_path / "hostile.ckpt").write_bytes(cases[name]())
    with pytest.raises(CheckpointError, match=r"hostile\.ckpt: is (not a|no) checkpoint.* not read"):
        hostile.use_checkpoint(tmp_path / "hostile.ckpt")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.ckpt", "s3://bucket/a.ckpt", "memory://a.ckpt"])
def test_a_training_goes_on_from_files_alone(content, tmp_path, address):
    run = load_run(GOOD)
    state = {"best_model_path": address}
    path = tmp_path / "hostile.ckpt"
    path.write_bytes(hostile.saved(hostile.put(content, ("callbacks", "ModelCheckpoint"), state)))
    with pytest.raises(CheckpointError, match="only files are read"):
        check_resumable(path, run.module, run.info, run.config["data"])


def good_pickle(directory):
    """A dataset whose train split has a pickle, for the hostile ones that are made from it."""
    reader = VIMHReader(SET)
    directory.joinpath("vimh_dataset_info.json").write_bytes((SET / "vimh_dataset_info.json").read_bytes())
    directory.joinpath("train_batch").write_bytes(dumps(reader.train.records))
    return directory / "train_batch"


def test_hostile_pickles_are_read_or_refused_and_nothing_of_them_runs(tmp_path):
    path = good_pickle(tmp_path)
    hostile.use_pickle(path)
    cases = list(hostile.hostile_pickles(path.read_bytes()))
    assert len({name for name, _ in cases}) == len(cases) > 400
    for name, stream in cases[::5]:
        path.write_bytes(stream)
        assert hostile.complaint(path, hostile.use_pickle) == "", name


def test_the_refusal_of_a_pickle_is_short(tmp_path):
    path = good_pickle(tmp_path)
    path.write_bytes(b"cos\n" + b"a" * 100_000 + b"\n.")
    with pytest.raises(VIMHError) as refusal:
        hostile.use_pickle(path)
    assert len(str(refusal.value)) < 500


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpoints", "pickles"])
def test_all_hostile_files_together_take_little(tmp_path, kind):
    good = GOOD if kind == "checkpoints" else good_pickle(tmp_path)
    command = [sys.executable, "-W", "ignore", hostile.__file__, kind, str(good), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 400  # cases
    assert int(done.stdout.split()[4]) < 1500  # MB
