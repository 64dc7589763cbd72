"""Files of version 0.1: every later version reads them, predicts the same, and resumes from them."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hydra import compose
from omegaconf import OmegaConf

from src.checkpoints.run import build_model, check_resumable, load_run, read_checkpoint, restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.errors import CheckpointError, VIMHError
from src.generation import fresh_sounds, is_made, make_dataset
from src.hydra_versions import initialize_configs, instantiate
from src.migration import CONFIG_VERSION, upgraded
from src.programs.run_dirs import register_resolvers
from src.recipe import Recipe, recipe_config
from src.tasks.audio_eval import audio_eval
from src.tasks.evaluate import evaluate
from src.tasks.export import export
from src.tasks.predict import predict
from src.tasks.train import train
from src.version_1 import LOG_POWER
from src.vimh.format import INFO_NAME
from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[1]
COMPAT = Path(__file__).parent / "data" / "compat"


class Stored(NamedTuple):
    """A checkpoint of version 0.1, its dataset, and the commands that made them."""

    name: str
    data_dir: Path
    generated: tuple[str, tuple[str, ...]]
    trained: tuple[str, ...]

    @property
    def ckpt_path(self):
        return COMPAT / f"{self.name}.ckpt"


A = Stored(
    "compat_a",
    COMPAT / "vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p",
    ("synth/generate_simple_saw", ("dataset.size=256",)),
    ("experiment=trivial_small", "model=cnn_micro", "experiment_name=compat_a", "trainer.max_epochs=9"),
)
B = Stored(
    "compat_b",
    COMPAT / "vimh-32x64x1_8000Hz_2p0s_96dss_moog_10p",
    ("synth/generate_moog_envelope", ("dataset.size=96",)),
    (
        *("data=moog_envelope", "data.make_dataset=null", "model=vit_micro", "model.net.conditioning=concat"),
        *("loss=gaussian", "trainer.max_epochs=4", "data.aux=[spec_min,spec_max]"),
    ),
)
EACH = pytest.mark.parametrize("stored", [A, B], ids=lambda stored: stored.name)


def composed(name, output_dir, *overrides):
    register_resolvers()
    paths = [f"paths.{place}={output_dir}" for place in ("root_dir", "log_dir", "output_dir", "work_dir")]
    with initialize_configs(ROOT / "configs"):
        return compose(name, [*paths, "extras.print_config=false", *overrides])


def generator_config(stored):
    config_name, overrides = stored.generated
    with initialize_configs(ROOT / "configs"):
        return compose(config_name, list(overrides))


@EACH
def test_predictions_are_those_that_were_made_then(stored):
    run = load_run(stored.ckpt_path)
    datamodule = restore_datamodule(run, data_dir=str(stored.data_dir))
    batch = datamodule.test_set.__getitems__(range(len(datamodule.test_set)))
    with torch.no_grad():
        index, normalized, std = run.module.read(batch["image"], batch["aux"])
    expected = np.load(COMPAT / f"{stored.name}_expected.npz")
    np.testing.assert_array_equal(index.numpy(), expected["index"])
    np.testing.assert_allclose(normalized.numpy(), expected["normalized"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(std.numpy(), expected["std"], rtol=0, atol=1e-5)


@EACH
def test_a_set_is_valid_and_known_to_be_made_from_the_same_configuration(stored):
    reader = VIMHReader(stored.data_dir)
    reader.validate()
    assert is_made(stored.data_dir, recipe_config(generator_config(stored)))
    make_dataset(stored.data_dir, *stored.generated)  # finds it, and does nothing
    with pytest.raises(VIMHError, match=r"representation\.width: \d+ there, 16 asked for"):
        make_dataset(stored.data_dir, stored.generated[0], [*stored.generated[1], "representation.width=16"])


@EACH
def test_every_record_can_be_made_again(stored):
    reader = VIMHReader(stored.data_dir)
    recipe = Recipe.from_config(reader.info.generator["config"], instantiate_trusted)
    assert recipe.info(reader.info.dataset_name).generator == reader.info.generator
    for split in (reader.train, reader.test):
        batch = split.read(slice(None))
        made = recipe.samples(batch.value)
        np.testing.assert_array_equal(made.code, batch.code)
        np.testing.assert_array_equal(made.image, batch.image)
        np.testing.assert_array_equal(made.spec_range, batch.spec_range)
    assert fresh_sounds(reader.info, instantiate_trusted)(0, 2).image.shape[1:] == reader.info.image_shape


@EACH
def test_training_can_go_on(stored, tmp_path):
    cfg = composed("train", tmp_path, *stored.trained, f"data.data_dir={stored.data_dir}")
    datamodule = instantiate(cfg.data)
    module = build_model(cfg, datamodule.info, datamodule.aux_statistics())
    n_steps = check_resumable(stored.ckpt_path, module, datamodule.info, cfg.data)
    assert n_steps == read_checkpoint(stored.ckpt_path)["global_step"]
    with pytest.raises(CheckpointError, match=r"data\.seed=42, this run has 7"):
        check_resumable(stored.ckpt_path, module, datamodule.info, {**cfg.data, "seed": 7})
    with pytest.raises(CheckpointError, match=r"data\.aux=\[spec_min,spec_max\], this run has \[level\]"):
        check_resumable(stored.ckpt_path, module, datamodule.info, {**cfg.data, "aux": ["level"]})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # the run resumes in another place
@EACH
def test_training_goes_on(stored, tmp_path):
    before = read_checkpoint(stored.ckpt_path)
    cfg = composed(
        "train",
        tmp_path,
        *(*stored.trained, f"data.data_dir={stored.data_dir}", f"ckpt_path={stored.ckpt_path}", "logger=none"),
        *("trainer.accelerator=cpu", "+trainer.enable_progress_bar=false", "callbacks.rich_progress_bar=null"),
        *("+trainer.enable_model_summary=false"),
    )
    train(cfg)
    after = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    n_epochs = after["epoch"] - before["epoch"]
    assert n_epochs == 1
    assert after["global_step"] == before["global_step"] // (before["epoch"] + 1) * (before["epoch"] + 2)
    assert after["nsm_run"]["config_version"] == CONFIG_VERSION
    assert after["nsm_run"]["dataset_info"]["generator"]["config_version"] == CONFIG_VERSION


@pytest.mark.slow
@EACH
def test_every_program_takes_a_checkpoint(stored, tmp_path):
    ckpt_path = tmp_path / "checkpoints" / "last.ckpt"
    ckpt_path.parent.mkdir()
    shutil.copy(stored.ckpt_path, ckpt_path)
    common = [f"ckpt_path={ckpt_path}"]
    metrics = evaluate(
        composed("eval", tmp_path, *common, f"data_dir={stored.data_dir}", "+trainer.enable_progress_bar=false")
    )
    assert metrics["test/loss"] > 0
    assert (
        export(composed("export", tmp_path, *common, f"data_dir={stored.data_dir}", "repeats=2"))["difference"] < 1e-4
    )
    audio_eval(composed("audio_eval", tmp_path, *common, f"data_dir={stored.data_dir}", "num_samples=4", "n_listen=1"))
    (wav, *_) = sorted((tmp_path / "wav").glob("*.wav"))
    predict(composed("predict", tmp_path, *common, f"audio={wav}"))
    assert json.loads((tmp_path / "predictions.json").read_text())["recordings"]
    predict(composed("predict", tmp_path, *common, f"dataset={stored.data_dir}"))
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 1 + len(VIMHReader(stored.data_dir).test)


# ----- the table


def window(ratio, length=None):
    """A channel of version 1."""
    return {"_target_": LOG_POWER, "win_ratio": ratio, "win_length": length, "window": "hann", "max_db": 0.0}


def windows(*ratios):
    """The same of version 2."""
    return {"_target_": LOG_POWER, "window": "hann", "max_db": 0.0, "ratios": list(ratios)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"short_window": window(0.25), "long_window": window(4.0)}, {"windows": windows(0.25, 4.0)}),
        ({"long_window": window(4.0)}, {"windows": windows(4.0)}),
        ({"long_window": window(4.0, 100)}, {"windows": windows(1.25)}),
        (
            {"short_window": window(0.25), "other": {"_target_": "x"}, "long_window": window(4.0)},
            {"windows": windows(0.25), "other": {"_target_": "x"}, "long_window": windows(4.0)},
        ),
        (
            {"short_window": window(0.25) | {"window": "boxcar"}, "long_window": window(4.0)},
            {"windows": windows(0.25) | {"window": "boxcar"}, "long_window": windows(4.0)},
        ),
        ({}, {}),
    ],
)
def test_neighbouring_windows_become_one_channel(old, new):
    config = upgraded({"config": {"synth": 1, "spectral": {"win_length": 80, "channels": old}}})["config"]
    assert config == {"synth": 1, "representation": {"win_length": 80}, "channels": new}


def test_a_set_with_windows_is_known_again(recipe_of):
    """As version 0.1 stored `spectral=[mel,short_window,group_delay]`."""
    channels = ("channels=[windows,group_delay]", "channels.windows.ratios=[0.25]")
    recipe = recipe_of("representation=mel", "representation.n_fft=512", *channels, "dataset.size=4")
    config = OmegaConf.to_container(OmegaConf.create(recipe.config))
    windows_, delay = config.pop("channels").values()
    old = {key: item for key, item in windows_.items() if key != "ratios"} | {"win_ratio": 0.25, "win_length": None}
    spectral = config.pop("representation") | {"channels": {"short_window": old, "group_delay": delay}}
    found = upgraded({"version": "0.1.0", "config": config | {"spectral": spectral}})
    assert found["config"] == recipe.config
    again = Recipe.from_config(found["config"], instantiate_trusted)
    np.testing.assert_array_equal(again.make(0, 4).image, recipe.make(0, 4).image)


def test_new_files_carry_the_version_and_are_read_as_they_are(recipe_of):
    generator = recipe_of("dataset.size=4").info("set").generator
    assert generator["config_version"] == CONFIG_VERSION
    assert upgraded(generator) == generator


@pytest.mark.parametrize("entry", [{}, {"config": None}, {"config": 5}, {"config": []}, {"config": {"spectral": 3}}])
def test_what_is_no_configuration_is_left_to_who_uses_it(entry):
    assert upgraded(entry).get("config") == entry.get("config")


def nested(depth):
    return {"a": nested(depth - 1)} if depth else {"_target_": "src.utils.trusted.instantiate_trusted"}


def test_names_are_replaced_at_every_depth_that_is_read():
    assert "src.checkpoints.trusted" in str(upgraded({"config": nested(40)}))
    assert upgraded({"config": nested(900)})["config"]


@pytest.mark.parametrize("version", [CONFIG_VERSION + 1, 0, "2", True, None])
def test_files_of_a_newer_version_are_refused_with_one_message(tmp_path, version):
    data_dir = tmp_path / A.data_dir.name
    shutil.copytree(A.data_dir, data_dir)
    info = json.loads((data_dir / INFO_NAME).read_text())
    info["generator"]["config_version"] = version
    (data_dir / INFO_NAME).write_text(json.dumps(info))
    with pytest.raises(VIMHError, match=rf"{INFO_NAME}: config_version is {version!r}.*newer.*Update the project"):
        VIMHReader(data_dir)
    checkpoint = read_checkpoint(A.ckpt_path)
    checkpoint["nsm_run"]["config_version"] = version
    torch.save(checkpoint, tmp_path / "newer.ckpt")
    with pytest.raises(CheckpointError, match=rf"newer\.ckpt: config_version is {version!r}"):
        load_run(tmp_path / "newer.ckpt")
