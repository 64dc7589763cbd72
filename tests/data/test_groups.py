"""Who trains, validates and tests where a dataset says which file each sample comes from."""

import numpy as np
import pytest
import torch

from src.data.vimh_datamodule import VIMHDataModule
from src.errors import ConfigError
from src.params import ParameterSpace
from src.vimh.info import new_info
from src.vimh.labels import categorical
from src.vimh.sources import Sources
from src.vimh.writer import VIMHWriter

N_TRAIN, N_TEST, FRAMES = 120, 30, 3


def make(path, n_val=0, fold=lambda file: ""):
    """A set of 50 files of three frames each and three classes, a group each; an image's pixels are its number."""
    number = np.arange(N_TRAIN + N_TEST)
    file = number // FRAMES
    value = (file % 3).astype(np.float32)[:, None]
    rows = [
        (f"{f}.wav", f"{n % FRAMES}.0", f"group {f}", fold(f), "01"[n < n_val]) for n, f in enumerate(file.tolist())
    ]
    sources = {"train": Sources.of(rows[:N_TRAIN]), "test": Sources.of(rows[N_TRAIN:])}
    space = ParameterSpace((categorical("kind", ["a", "b", "c"]),))
    info = new_info(path.name, (1, 1, 2), space, {"train": N_TRAIN, "test": N_TEST}, source={"kind": "audio"})
    image = np.stack([number, number], axis=-1).astype(np.uint8)[:, None, None]
    with VIMHWriter(path, info, sources=sources) as writer:
        for split, some in (("train", slice(N_TRAIN)), ("test", slice(N_TRAIN, None))):
            levels = np.zeros((len(image[some]), 2), np.float32)
            writer.write(split, image[some], space.encode(value[some]), levels, value[some])
    return path


def numbers(samples):
    return samples[:]["image"][:, 0, 0, 0].tolist()


def groups(found):
    return {number // FRAMES for number in found}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return make(tmp_path_factory.mktemp("plain") / "set")


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    return make(tmp_path_factory.mktemp("folded") / "set", fold=lambda file: str(1 + file % 5))


@pytest.mark.parametrize("seed", [None, 1, 42])
@pytest.mark.parametrize("val_fraction", [0.1, 0.25])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_group_trains_or_validates(plain, seed, val_fraction, in_memory):
    data = VIMHDataModule(plain, val_fraction=val_fraction, seed=seed, in_memory=in_memory)
    train, val, test = map(numbers, (data.train_set, data.val_set, data.test_set))
    assert sorted(train + val) == [*range(N_TRAIN)]
    assert test == [*range(N_TRAIN, N_TRAIN + N_TEST)]
    assert not groups(train) & groups(val)
    assert abs(len(val) - val_fraction * N_TRAIN) <= FRAMES
    kinds = data.val_set[:]["index"][:, 0].bincount(minlength=3)
    assert kinds.max() - kinds.min() <= FRAMES
    assert numbers(VIMHDataModule(plain, val_fraction=val_fraction, seed=seed).val_set) == val


def test_a_smaller_part_is_part_of_a_larger_one(plain):
    def used(size):
        data = VIMHDataModule(plain, train_size=size, val_fraction=0.25)
        train, val = numbers(data.train_set), numbers(data.val_set)
        assert len(train) + len(val) == size
        assert not groups(train) & groups(val)
        return {*train, *val}

    assert used(40) < used(80) < used(N_TRAIN)


def test_what_the_corpus_has_to_validate_does(tmp_path):
    data = VIMHDataModule(make(tmp_path / "set", n_val=30), val_fraction=0.5)
    assert numbers(data.val_set) == [*range(30)]
    assert numbers(data.train_set) == [*range(30, N_TRAIN)]
    smaller = VIMHDataModule(tmp_path / "set", train_size=60)
    assert (len(smaller.val_set), len(smaller.train_set)) == (15, 45)
    assert {*numbers(smaller.val_set)} < {*range(30)}


@pytest.mark.parametrize("fold", [1, "3", 5])
@pytest.mark.parametrize("settings", [{"in_memory": True}, {"in_memory": False}, {"num_workers": 1}], ids=str)
def test_a_fold_tests_and_the_others_train(folded, fold, settings):
    data = VIMHDataModule(folded, fold=fold, batch_size=8, **settings)
    expected = [n for n in range(N_TRAIN + N_TEST) if n // FRAMES % 5 == int(fold) - 1]
    train, val = numbers(data.train_set), numbers(data.val_set)
    assert numbers(data.test_set) == expected
    assert sorted(train + val + expected) == [*range(N_TRAIN + N_TEST)]
    assert not groups(train) & groups(val)
    batches = [batch for chunk in data.test_dataloader() for batch in chunk]
    data.teardown("test")
    assert torch.cat([batch["image"] for batch in batches])[:, 0, 0, 0].tolist() == expected
    some = data.train_set[[5, 0, len(train) - 1, 7]]
    assert some["image"][:, 0, 0, 0].tolist() == [train[5], train[0], train[-1], train[7]]


def test_the_samples_of_a_stage_know_where_they_come_from(folded):
    data = VIMHDataModule(folded, fold=2)
    for stage, samples in (("train", data.train_set), ("val", data.val_set), ("test", data.test_set)):
        found = data.sources_of(stage)
        assert [f"{number // FRAMES}.wav" for number in numbers(samples)] == found.file.tolist()
        assert [number % FRAMES for number in numbers(samples)] == found.start.tolist()


def test_a_set_without_sources_knows_nothing_of_them(saw_dir):
    assert VIMHDataModule(saw_dir).sources_of("test") is None
    with pytest.raises(ConfigError, match=r"data.fold is 1, but .* has no folds; pack it with --folds K"):
        _ = VIMHDataModule(saw_dir, fold=1).train_set


def test_folds_that_are_not_there_are_refused(folded):
    with pytest.raises(ConfigError, match=r"data.fold is 6, but .* has the folds 1, 2, 3, 4, 5"):
        _ = VIMHDataModule(folded, fold=6).test_set
    with pytest.raises(ConfigError, match=r"data.stream is true, but data.fold is set"):
        VIMHDataModule(folded, fold=1, stream=True, stream_source=lambda info: None)


def test_error_bars_are_calibrated_on_groups_of_their_own(folded, monkeypatch):
    monkeypatch.setattr("src.data.division.LEAST_PART", 10)
    data = VIMHDataModule(folded, val_fraction=0.5, fold=1)
    chooses = numbers(data.val_set)
    fit, scale = (
        [number for batch in part for number in batch["image"][:, 0, 0, 0].tolist()] for part in data.calibration_sets()
    )
    parts = [groups(found) for found in (chooses, fit, scale, numbers(data.train_set), numbers(data.test_set))]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 50
    assert min(len(chooses), len(fit), len(scale)) >= 15


def test_a_single_group_cannot_be_divided(tmp_path):
    path = make(tmp_path / "set")
    text = (path / "sources.csv").read_text()
    (path / "sources.csv").write_text(
        "\n".join(
            line if n == 0 else ",".join([*line.split(",")[:4], "one", "", "0"])
            for n, line in enumerate(text.splitlines())
        )
        + "\n"
    )
    with pytest.raises(ConfigError, match="the 120 samples to train and validate with are of one group, one"):
        _ = VIMHDataModule(path).train_set
