"""Recordings read again from their files, and perturbed anew in every epoch of a training."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch import seed_everything

from scripts import to_vimh
from src.checkpoints.run import load_run, restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import ConfigError, VIMHError
from src.packing.again import check_files, sounds_again
from src.perturb.effects import Gain, Onset, VoiceParameter, WhiteNoise
from src.recordings import RecordingError
from src.tasks.train import prepared_datamodule, train
from src.vimh.sources import Sources

RATE = 4000  # Hz
PACKING = ("--sample-rate", str(RATE), "--frame", "0.25", "--set", "height=8", "--set", "width=8", "--seed", "1")


def write(directory):
    """Ten files of each of two classes, of three notes each."""
    rng, time = np.random.default_rng(0), np.arange(RATE // 4) / RATE
    for kind, f0 in (("high", 900), ("low", 200)):
        (directory / kind).mkdir(parents=True)
        for number in range(10):
            notes = [np.sin(2 * np.pi * f0 * rng.uniform(0.8, 1.2) * time) * np.exp(-9 * time) for _ in range(3)]
            sound = np.concatenate(notes) + 1e-3 * rng.standard_normal(3 * len(time))
            soundfile.write(directory / kind / f"{number}.wav", 0.3 * sound, RATE, subtype="FLOAT")
    return directory


def pack(sounds, data_dir, *more):
    assert to_vimh.main(["audio", str(sounds), *PACKING, "--output", str(data_dir), *more]) == 0
    return data_dir


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """`sounds`, and `data` packed from them."""
    root = tmp_path_factory.mktemp("again")
    pack(write(root / "sounds"), root / "data")
    return root


ONSET = {"onset": Onset(shift=(-0.05, 0.05)), "noise": WhiteNoise(ratio=(10.0, 30.0))}
NOTHING = {"gain": Gain(level=0.0)}  # an effect that changes nothing


def datamodule(place, perturb=ONSET, recordings="sounds", data="data", **settings):
    def source(*given):
        return sounds_again(*given, perturb=perturb, instantiate=instantiate_trusted)

    settings = {"batch_size": 7, **settings}
    return VIMHDataModule(place / data, recordings=place / recordings, recordings_source=source, **settings)


def epoch_of(data, epoch):
    """The batches of an epoch, as one."""
    chunks = data.train_dataloader()
    chunks.sampler.set_epoch(epoch)
    batches = [batch for chunk in chunks for batch in chunk]
    data.teardown("fit")
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}


def test_sounds_that_nothing_happens_to_make_the_stored_images(place):
    renewed, stored = datamodule(place, NOTHING), VIMHDataModule(place / "data", batch_size=7)
    for epoch in (0, 1):
        ours, theirs = epoch_of(renewed, epoch), epoch_of(stored, epoch)  # in the very order
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            assert torch.equal(tensor, theirs[key]), key
    for own, other in ((renewed.val_set, stored.val_set), (renewed.test_set, stored.test_set)):
        assert torch.equal(own[:]["image"], other[:]["image"])


def test_every_epoch_has_the_same_sounds_perturbed_otherwise(place):
    data = datamodule(place)
    first, second = (epoch_of(data, epoch) for epoch in (0, 1))
    n_samples = len(data.train_set)
    for epoch in (first, second):
        assert len(epoch["image"]) == n_samples
        assert sorted(epoch["value"].tolist()) == sorted(data.train_set[:]["value"].tolist())
    images = [{image.tobytes() for image in epoch["image"].numpy()} for epoch in (first, second)]
    assert not images[0] & images[1] and len(images[0]) == len(images[1]) == n_samples
    assert not (images[0] | images[1]) & {image.tobytes() for image in data.train_set[:]["image"].numpy()}


def test_epoch_and_number_decide_and_neither_the_epochs_before_nor_the_batches_nor_the_devices(place):
    expected = epoch_of(datamodule(place), 3)["image"]
    for settings in ({"batch_size": 5}, {"in_memory": False}):
        data = datamodule(place, **settings)
        epoch_of(data, 1)
        assert torch.equal(epoch_of(data, 3)["image"], expected)
    assert not torch.equal(epoch_of(datamodule(place, seed=7), 3)["image"], expected)
    chosen, whole = np.arange(5)[::-1].copy(), datamodule(place)
    made, _ = whole._renewed(np.arange(len(whole.train_set)), 3)
    assert torch.equal(whole._renewed(chosen, 3)[0], made[chosen])
    less = datamodule(place, train_size=20)  # what happens to a sample does not depend on the others
    common = np.isin(whole._division[1], less._division[1])
    kept = np.isin(less._division[1], whole._division[1])
    assert kept.sum() > 5
    assert torch.equal(less._renewed(np.flatnonzero(kept), 3)[0], made[common])


def test_a_pass_that_goes_on_within_an_epoch_sees_the_rest_of_it(place):
    data, whole = datamodule(place), epoch_of(datamodule(place), 2)
    chunks = data.train_dataloader()
    chunks.sampler.set_epoch(2)
    chunks.load_state_dict({"n_batches": 3})
    rest = torch.cat([batch["image"] for chunk in chunks for batch in chunk])
    data.teardown("fit")
    assert len(rest) < len(whole["image"]) and torch.equal(rest, whole["image"][-len(rest) :])


def test_classes_are_balanced_and_the_labels_are_those_of_the_sounds(place):
    data = datamodule(place, NOTHING, balanced="label")
    epoch = epoch_of(data, 0)
    stored = data.train_set[:]
    label_of = {image.numpy().tobytes(): int(i) for image, i in zip(stored["image"], stored["index"], strict=True)}
    assert [label_of[image.numpy().tobytes()] for image in epoch["image"]] == epoch["index"][:, 0].tolist()
    counts = epoch["index"][:, 0].bincount().tolist()
    assert max(counts) - min(counts) <= 1


def test_overfitting_sees_the_same_sounds_in_every_epoch(place):
    class Overfits:
        overfit_batches, global_rank, world_size, limit_train_batches = 2, 0, 1, 2
        strategy = type("Strategy", (), {"root_device": torch.device("cpu")})

    data = datamodule(place)
    data.trainer = Overfits()
    assert torch.equal(epoch_of(data, 0)["image"], epoch_of(data, 5)["image"])


# ----- refused


def refused(place, **settings):
    with pytest.raises((ConfigError, VIMHError, RecordingError)) as found:
        datamodule(place, **settings)._renewed  # noqa: B018 (that it is made)
    return str(found.value)


def test_files_that_are_gone_or_changed_are_refused_before_a_step(place, tmp_path):
    shutil.copytree(place / "sounds", tmp_path / "sounds")
    shutil.copytree(place / "data", tmp_path / "data")
    names = datamodule(tmp_path).sources_of("train").file
    path = tmp_path / "sounds" / names[-1]
    content, (sound, _) = path.read_bytes(), soundfile.read(path)
    path.unlink()
    message = refused(tmp_path)
    assert f"lacks 1 of {len(np.unique(names))} files" in message and f"such as {names[-1]}" in message
    changes = {"has no sound at": sound[: RATE // 4], "sounds otherwise": sound[::-1], "otherwise than": 1.5 * sound}
    for what, changed in changes.items():
        soundfile.write(path, changed, RATE, subtype="FLOAT")
        message = refused(tmp_path)
        assert str(path) in message and what in message and "data.recordings=null" in message
    path.write_bytes(b"no sound")
    assert f"{path}: cannot be read as audio" in refused(tmp_path)
    path.write_bytes(content)
    assert datamodule(tmp_path)._renewed
    assert "lacks" in refused(tmp_path, recordings="nowhere")


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/secret.wav", "high/../../secret.wav"])
def test_a_set_that_names_files_elsewhere_reads_none(place, name):
    sources = Sources.of([("high/1.wav", "0.0", "1", "", "0"), (name, "0.0", "2", "", "0")])
    with pytest.raises(VIMHError, match=f"names a file outside of what was packed, {name}"):
        check_files(place / "sounds", sources, datamodule(place).info)


def test_sets_of_perturbed_sounds_and_of_no_recordings_are_refused(place, saw_dir, tmp_path):
    pack(place / "sounds", tmp_path / "noisy", "--perturb", "noise")
    (tmp_path / "sounds").symlink_to(place / "sounds")
    assert "was packed with --perturb (noise)" in refused(tmp_path, data="noisy")
    assert "does not say which recordings" in refused(place, data=saw_dir)
    assert "nothing is to happen to these sounds" in refused(place, perturb={})
    assert "perturb: phase varies a voice alone" in refused(
        place, perturb={"phase": VoiceParameter(parameter="phase", value=(0.0, 1.0))}
    )


def test_there_are_either_recordings_or_fresh_sounds(place):
    with pytest.raises(ConfigError, match=r"data\.recordings is .*data.stream makes new sounds"):
        datamodule(place, stream=True, stream_source=lambda info: None)
    with pytest.raises(ConfigError, match=r"data\.recordings_source is null"):
        VIMHDataModule(place / "data", recordings=place / "sounds")


# ----- a training


def settings(place, *more):
    data = (f"data.data_dir={place}/data", f"data.recordings={place}/sounds", "data.batch_size=16", "data.aux=[]")
    return *data, "model=cnn_micro", "perturb=[onset,noise]", "trainer.max_epochs=2", "logger=none", *more


def test_a_training_takes_them_by_its_configuration(place, compose_run, tmp_path):
    cfg = compose_run(tmp_path, *settings(place), "perturb.onset.shift=[-0.1,0.1]")
    data = prepared_datamodule(cfg)
    assert data.makes_sounds and [*data.recordings_source.keywords["perturb"]] == ["onset", "noise"]
    assert data.recordings_source.keywords["perturb"]["onset"].shift.high == 0.1
    assert len(epoch_of(data, 0)["image"]) == len(data.train_set)
    cfg.data.recordings = None
    with pytest.raises(ConfigError, match=r"perturb is onset, noise, but data\.recordings names no files"):
        prepared_datamodule(cfg)


@pytest.mark.slow
def test_a_checkpoint_of_such_a_training_needs_no_files(place, compose_run, tmp_path):
    seed_everything(0, verbose=False)
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    train(compose_run(tmp_path / "run", *settings(copy)))
    shutil.rmtree(copy / "sounds")
    run = load_run(tmp_path / "run" / "checkpoints" / "last.ckpt")
    restored = restore_datamodule(run)
    assert restored.recordings is None and len(restored.test_set)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["sound_seconds"] > 0
