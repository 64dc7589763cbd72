import importlib.util
import os
from pathlib import Path

import pytest
import torch
from composing import compose_by_hydra, compose_once
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary, ProgressBar
from omegaconf import OmegaConf, open_dict

from scripts.list_configs import CONFIGS, groups, is_complete
from src.checkpoints.run import build_model
from src.checkpoints.trusted import instantiate_own, instantiate_trusted
from src.errors import ConfigError
from src.hydra_versions import instantiate
from src.programs.loggers import LOGGER_PACKAGES, instantiate_callbacks, instantiate_loggers
from src.programs.sweep import PrepareStudy

GROUPS = groups()
MODELS = [model for model in GROUPS["model"] if is_complete(model)]
PRIMARY = [path.stem for path in sorted(CONFIGS.glob("*.yaml")) if path.stem != "generate"]
GENERATORS = [f"synth/{option}" for option in GROUPS["synth"] if option.startswith("generate_")]
OF_TRAIN = {
    group: MODELS if group == "model" else options
    for group, options in GROUPS.items()
    if group not in ("local", "representation", "channels", "perturb", "synth", "hydra")
}
ALONE = ("experiment", "debug", "hparams_search")  # they choose options of the other groups
# Every option of every group is in one of these: composing takes a quarter of a second.
TOGETHER = [
    [f"{group}={options[number % len(options)]}" for group, options in OF_TRAIN.items() if group not in ALONE]
    for number in range(max(map(len, OF_TRAIN.values())))
] + [[f"{group}={option}"] for group in ALONE for option in OF_TRAIN[group]]


def resolved(cfg):
    with open_dict(cfg):
        cfg = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    return OmegaConf.to_container(cfg, resolve=True)


@pytest.mark.parametrize("options", TOGETHER, ids=" ".join)
def test_every_option_of_every_group_composes_and_resolves(composed, options):
    cfg = composed("train", *options)
    assert resolved(cfg)["task_name"] in ("train", "debug")
    assert [f"{group}={cfg.hydra.runtime.choices[group]}" for group in map(group_of, options)] == options


def group_of(override):
    return override.partition("=")[0]


def test_no_option_is_left_out():
    chosen = {option for options in TOGETHER for option in options}
    assert chosen == {f"{group}={option}" for group, options in OF_TRAIN.items() for option in options}


@pytest.mark.parametrize(
    "command",
    [
        "train model=cnn_micro logger=none trainer.max_epochs=3 +trainer.enable_checkpointing=false",
        "train data.batch_size=16 callbacks.model_checkpoint.monitor=epoch data.make_dataset.overrides=['a=1','b=2']",
        "train scheduler=plateau model.scheduler.patience=0 ++trainer.x={a:[1,{b:c}]} ++seed=7",
        "train ~model.optimizer.weight_decay data.make_dataset=null callbacks.rich_progress_bar=null",
        "train experiment=example seed=7 tags=[a]",
        "synth/generate_moog_basic dataset.size=8 channels=[group_delay] dataset.suffix=x",
    ],
)
def test_values_that_tests_set_are_those_that_hydra_would_set(command):
    name, *overrides = command.split()
    assert compose_once(name, *overrides) == compose_by_hydra(name, *overrides)


@pytest.mark.parametrize("name", [*PRIMARY, *GENERATORS])
def test_every_program_has_its_configuration(composed, name):
    assert resolved(composed(name))


@pytest.mark.parametrize("channels", [*([option] for option in GROUPS["channels"]), [], GROUPS["channels"]], ids=str)
@pytest.mark.parametrize("option", GROUPS["representation"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if "simple_saw" in name else pytest.mark.slow) for name in GENERATORS]
)
def test_every_representation_and_channel_suits_every_generator(composed, name, option, channels):
    cfg = resolved(composed(name, f"representation={option}", f"channels=[{','.join(channels)}]"))
    assert cfg["representation"]["_target_"]
    assert list(cfg["channels"]) == channels


EFFECTS = [option for option in GROUPS["perturb"] if option not in ("none", "mild", "recording", "noisy", "disguise")]


@pytest.mark.parametrize("option", EFFECTS)
def test_every_effect_has_its_settings_in_its_file(option):
    cfg = OmegaConf.load(CONFIGS / "perturb" / f"{option}.yaml")
    if option == "measured_room":
        cfg.measured_room.directory = "rooms"
    ((name, section),) = OmegaConf.to_container(cfg, throw_on_missing=True).items()
    effect = instantiate_own(section, slot="effect")
    assert name == option and set(section) - {"_target_"} == set(type(effect).model_fields)
    assert option == "measured_room" or effect.check(8000, 8000) == ""


@pytest.mark.parametrize("option", ["mild", "recording", "noisy", "disguise", "[room,noise]"])
def test_perturbations_are_effects_in_an_order(composed, option):
    sections = resolved(composed("synth/generate_simple_saw", f"perturb={option}"))["perturb"]
    assert set(sections) <= set(EFFECTS) and len(sections) > 1
    assert option != "[room,noise]" or list(sections) == ["room", "noise"]
    for section in sections.values():
        rate = 16_000 if option == "disguise" else 8000  # it is for sounds of that rate
        assert instantiate_trusted(section, slot="effect").check(rate, rate) == ""


@pytest.mark.parametrize("option", GROUPS["callbacks"])
def test_every_callback_can_be_made(composed, option):
    cfg = composed("train", f"callbacks={option}")
    assert len(instantiate_callbacks(cfg.callbacks)) == len(cfg.callbacks or {})


@pytest.mark.parametrize("option", GROUPS["trainer"])
def test_every_trainer_can_be_made_on_a_cpu(composed, option):
    cfg = composed("train", f"trainer={option}", "trainer.accelerator=cpu")
    trainer = instantiate(cfg.trainer, callbacks=instantiate_callbacks(cfg.callbacks), logger=False)
    assert trainer.max_epochs == cfg.trainer.max_epochs
    assert trainer.num_devices == cfg.trainer.devices


@pytest.mark.parametrize(
    ("option", "accelerator"), [("cpu", "cpu"), ("gpu", "gpu"), ("mps", "mps"), ("ddp", "gpu"), ("ddp_sim", "cpu")]
)
def test_a_trainer_is_for_the_device_that_it_is_named_after(composed, option, accelerator):
    assert composed("train", f"trainer={option}").trainer.accelerator == accelerator


@pytest.mark.parametrize("option", GROUPS["logger"])
def test_every_logger_can_be_made_or_says_what_is_missing(composed, option):
    cfg = composed("train", f"logger={option}")
    classes = [entry["_target_"].rpartition(".")[2] for entry in (cfg.logger or {}).values()]
    missing = [LOGGER_PACKAGES[name][1] for name in classes if name in LOGGER_PACKAGES and not is_installed(name)]
    if missing:
        with pytest.raises(ConfigError, match=missing[0]):
            instantiate_loggers(cfg.logger)
    else:
        assert [type(logger).__name__ for logger in instantiate_loggers(cfg.logger)] == classes


def is_installed(logger_class):
    return importlib.util.find_spec(LOGGER_PACKAGES[logger_class][0]) is not None


def test_no_callbacks_means_none_of_lightnings_own(composed):
    cfg = composed("train", "callbacks=none")
    trainer = instantiate(cfg.trainer, callbacks=instantiate_callbacks(cfg.callbacks), logger=False, accelerator="cpu")
    assert not [call for call in trainer.callbacks if isinstance(call, ModelCheckpoint | ModelSummary | ProgressBar)]


def test_checkpoints_are_kept_in_the_run_directory(composed, tmp_path):
    cfg = composed("train")
    best, last = [call for call in instantiate_callbacks(cfg.callbacks) if isinstance(call, ModelCheckpoint)]
    assert best.dirpath == last.dirpath == str(tmp_path / "run" / "checkpoints")
    assert best.format_checkpoint_name({"epoch": 3}) == f"{best.dirpath}/epoch_003.ckpt"
    assert last.format_checkpoint_name({"epoch": 3}) == f"{best.dirpath}/last.ckpt"
    assert best.monitor == cfg.callbacks.early_stopping.monitor == cfg.optimized_metric
    assert last.monitor is None


@pytest.mark.parametrize("option", GROUPS["debug"])
def test_debugging_is_quiet_and_in_one_process(composed, option):
    cfg = composed("train", "experiment=example", f"debug={option}")
    assert cfg.callbacks is None
    assert cfg.logger is None
    assert cfg.data.num_workers == 0
    assert (cfg.trainer.accelerator, cfg.trainer.devices) == ("cpu", 1)
    trainer = instantiate(cfg.trainer, callbacks=instantiate_callbacks(cfg.callbacks), logger=False)
    assert trainer.checkpoint_callback is None


def test_settings_of_a_machine_override_what_stands_before_them_and_not_the_command_line(composed, tmp_path):
    (tmp_path / "local").mkdir()
    example = (CONFIGS / "local" / "default.yaml.example").read_text()
    (tmp_path / "local" / "default.yaml").write_text(example)
    for name in ("train", "eval"):
        cfg = composed(name, f"hydra.searchpath=[file://{tmp_path}]", "trainer=gpu", "paths.log_dir=/elsewhere")
        assert (cfg.paths.data_dir, cfg.paths.log_dir) == ("/large/disk/data", "/elsewhere")
        assert cfg.trainer.accelerator == "cpu"


def test_a_search_keeps_its_study_below_the_logs(composed, tmp_path):
    cfg = composed("train", "experiment=example", "hparams_search=optuna", f"paths.log_dir={tmp_path / 'logs'}")
    sweeper = cfg.hydra.sweeper
    assert sweeper.storage == f"sqlite:///{tmp_path}/logs/optuna/studies.db"
    assert sweeper.study_name == "train_example"
    assert cfg.hydra.mode.name == "MULTIRUN"
    OmegaConf.to_container(cfg.hydra.sweep, resolve=True)
    assert not (tmp_path / "logs").exists()  # as long as it is only looked at
    assert cfg.hydra.callbacks.prepare_study.make.url == sweeper.storage
    PrepareStudy(cfg.hydra.callbacks.prepare_study.url, lambda: None).on_multirun_start(cfg)
    assert (tmp_path / "logs" / "optuna").is_dir()


def test_the_experiment_of_the_seed(composed):
    cfg = composed("train", "experiment=cnn")
    assert cfg.hydra.runtime.choices["data"] == "vimh"
    assert cfg.hydra.runtime.choices["model"] == "cnn_64k"


def test_trivial_experiments_are_named_after_their_parts(composed):
    cfg = composed("train", "experiment=trivial_large", "model=cnn_micro")
    assert cfg.experiment_name == "cnn_micro_large"


def test_runs_are_kept_by_task_experiment_and_date(composed, tmp_path):
    cfg = composed("train", "experiment=cnn", f"paths.log_dir={tmp_path}")
    run = Path(cfg.hydra.run.dir)
    assert run.parent == tmp_path / "train" / "cnn"
    sweep = Path(cfg.hydra.sweep.dir)
    assert sweep.parent == tmp_path / "train" / "multiruns" / "cnn"
    assert sweep.name == run.name
    assert cfg.hydra.sweep.subdir == "0"


@pytest.mark.parametrize("program", ["eval", "audio_eval", "predict", "export"])
def test_programs_read_the_newest_complete_run_unless_told(composed, tmp_path, program):
    cfg = composed(program, f"paths.log_dir={tmp_path}")
    assert (cfg.run, cfg.ckpt_path) == (None, None)
    assert Path(cfg.hydra.run.dir).parent == tmp_path / program / cfg.experiment_name


def test_last_goes_on_in_the_newest_run_of_the_experiment(composed, tmp_path):
    for name, time in (("2026-01-01_00-00-00", 200), ("2026-01-02_00-00-00", 100)):
        checkpoint = tmp_path / "train" / "cnn" / name / "checkpoints" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        os.utime(checkpoint, (time, time))
    cfg = composed("train", "experiment=cnn", "ckpt_path=last", f"paths.log_dir={tmp_path}")
    assert cfg.hydra.run.dir == str(tmp_path / "train" / "cnn" / "2026-01-01_00-00-00")


def test_a_run_that_goes_on_keeps_its_logs(composed, tmp_path):
    cfg = composed("train", "logger=many_loggers")
    files = []
    for step in (1, 2):
        tensorboard, csv = instantiate_loggers(cfg.logger)
        for logger in (tensorboard, csv):
            logger.log_metrics({"train/loss": 1.0}, step=step)
            logger.save()
            logger.finalize("success")
        files.append({path for path in (tmp_path / "run").rglob("*") if path.is_file()})
    assert files[0] < files[1]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"tensorboard", "csv"}
    assert all(path.parent == tmp_path / "run" / "tensorboard" for path in files[1] if "events" in path.name)
    assert sorted(path.parent.name for path in files[1] if path.name == "metrics.csv") == ["version_0", "version_1"]


def test_no_configuration_holds_a_key_of_a_service():
    for path in CONFIGS.rglob("*.yaml"):
        assert "api_key:" not in path.read_text()


def test_models_that_are_not_complete_are_what_others_share():
    shared = {model for model in GROUPS["model"] if model not in MODELS}
    used = {name for model in GROUPS["model"] for name in defaults_of(CONFIGS / "model" / f"{model}.yaml")}
    assert shared <= used


def defaults_of(path):
    return [entry for entry in OmegaConf.load(path).get("defaults", []) if isinstance(entry, str)]


# Each model with one loss and each loss with one model are fast, the other combinations slow.
COMBINATIONS = [
    pytest.param(model, loss, marks=() if model == "cnn_tiny" or loss == "soft_target" else pytest.mark.slow)
    for model in MODELS
    for loss in GROUPS["loss"]
]


@pytest.mark.parametrize(("model", "loss"), COMBINATIONS)
def test_every_model_can_be_made_with_every_loss(composed, recipe_of, model, loss):
    info = recipe_of("dataset.size=8").info("saw")
    module = build_model(composed("train", f"model={model}", f"loss={loss}"), info)
    logits = module(torch.zeros(3, *info.image_shape, dtype=torch.uint8), torch.zeros(3, 2))
    assert {name: len(head) for name, head in logits.items()} == dict.fromkeys(info.parameter_names, 3)
