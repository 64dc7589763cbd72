"""What `make` trains: each target's configuration is composed and its network built; slowly, each is trained a step."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from speech_corpus import make_corpus
from tiny_font import tiny_font

from scripts import speech_commands
from scripts.list_configs import ROOT, groups
from src.checkpoints.run import build_model
from src.checkpoints.trusted import instantiate_own
from src.generation import set_name
from src.hydra_versions import instantiate
from src.programs.loggers import instantiate_callbacks, instantiate_loggers
from src.recipe import Recipe
from src.tasks.train import train
from src.vimh.reader import read_info

TRAINED = {
    target: overrides.split()
    for target, overrides in re.findall(
        r"^(\w+) [\w-]+: \$\(ENV\)\n\t\$\(PYTHON\) src/train\.py ?(.*)\$\(ARGS\)$",
        (ROOT / "Makefile").read_text(),
        flags=re.MULTILINE,
    )
}
OF_SOUNDFONTS = {"ep", "ef"}
CASES = pytest.mark.parametrize(
    "target", [pytest.param(name, marks=pytest.mark.soundfont if name in OF_SOUNDFONTS else []) for name in TRAINED]
)


@pytest.fixture(autouse=True)
def font(tmp_path, monkeypatch):
    """A font in the place of the one that the configurations name, with a sine for every program and key."""
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "TimGM6mb.sf2").write_bytes(tiny_font(range(128), 0, 127))
    monkeypatch.setenv("SOUNDFONT_PATH", str(tmp_path / "fonts"))


def pack_speech_commands(data_dir):
    """Make the dataset that the user makes of the corpus, of tones instead."""
    corpus = make_corpus(data_dir.parent / "corpus")
    assert speech_commands.main([str(corpus), "--output", str(data_dir)]) == 0


# What is packed before the training, and not by it.
PACKED = {"speech_commands": pack_speech_commands}


def is_generated(cfg):
    """Whether a training's dataset is synthesized from a generator configuration; others are packed from other data."""
    return "config_name" in (cfg.data.make_dataset or {})


def packed(cfg, data_dir):
    """The directory of a dataset that is not synthesized, made."""
    if not data_dir.exists():
        make = PACKED.get(cfg.experiment_name) or instantiate(cfg.data.make_dataset)
        make(data_dir=data_dir)
    return data_dir


@pytest.fixture
def info_of(composed, tmp_path):
    """What the dataset of a training will say of itself, checked against its directory's name."""

    def make(cfg):
        name = Path(cfg.data.data_dir).name
        if not is_generated(cfg):
            return read_info(packed(cfg, tmp_path / name))
        maker = cfg.data.make_dataset
        generator = composed(maker.config_name, *maker.overrides)
        recipe = Recipe.from_config(generator, instantiate_own)
        assert name == set_name(generator, recipe, generator.hydra.runtime.choices)
        return recipe.info(name)

    return make


def test_every_experiment_has_a_target():
    named = {override.partition("=")[2] for overrides in TRAINED.values() for override in overrides}
    experiments = set(groups()["experiment"])
    assert experiments - named == experiments & {"cnn"}  # the seed's example of a configuration


@pytest.mark.slow
def test_no_two_experiments_share_their_runs(composed):
    names = [
        composed("train", *overrides).experiment_name
        for overrides in TRAINED.values()
        if "experiment=" in str(overrides)
    ]
    assert len(set(names)) == len(names)


@CASES
def test_the_network_of_every_target_can_be_made(composed, info_of, target):
    cfg = composed("train", *TRAINED[target])
    info = info_of(cfg)
    module = build_model(cfg, info).eval()
    logits = module(torch.zeros(2, *info.image_shape, dtype=torch.uint8), torch.zeros(2, len(cfg.data.aux)))
    sizes = {spec.name: (2, module.loss.head_size(spec)) for spec in info.parameters}
    assert {name: tuple(head.shape) for name, head in logits.items()} == sizes
    assert instantiate_callbacks(cfg.callbacks)
    assert instantiate_loggers(cfg.logger)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Where the small sets of these tests are, each made once."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.slow
@CASES
def test_every_target_trains_a_step(composed, data_dir, tmp_path, target):
    cfg = composed("train", *TRAINED[target])
    generated = is_generated(cfg)
    name = Path(cfg.data.make_dataset.config_name if generated else cfg.data.data_dir).name
    if not generated:
        packed(cfg, data_dir / name)
    cfg = composed(
        "train",
        *(TRAINED[target]),
        f"paths.log_dir={tmp_path}",
        f"data.data_dir={data_dir / name}",
        *([f"data.make_dataset.name={name}"] if generated else []),
        *(["data.make_dataset.overrides=['dataset.size=64']"] if generated else []),
        "data.batch_size=8",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "+trainer.limit_train_batches=1",
        "+trainer.enable_progress_bar=false",
        "callbacks.rich_progress_bar=null",
        "+trainer.enable_model_summary=false",
        "extras.print_config=false",
    )
    metrics = train(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]))
    assert all(math.isfinite(metrics[f"{stage}/loss"]) for stage in ("train", "val", "test"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["experiment_name"] == cfg.experiment_name
    assert results["epochs"] == 1
