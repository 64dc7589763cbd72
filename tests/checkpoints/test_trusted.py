import functools
import importlib
import inspect
import pkgutil
import re
import socket
import sys
from pathlib import Path

import lightning
import pytest
import torch
import torchmetrics
from cases import naming
from omegaconf import OmegaConf

import src
from src.checkpoints.trusted import SLOTS, check_section, instantiate_own, instantiate_trusted
from src.errors import CheckpointError, ConfigError
from src.perturb import effects
from src.spectral.features import measure

ROOT = Path(__file__).parents[2]
NETWORK = {"_target_": "src.models.components.cnn.SpectralCNN", "widths": [8], "hidden": 8}
RELU = {"_target_": "torch.nn.ReLU"}
LINEAR = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A directory on the path with modules that leave `sprung` behind when they are imported."""
    sprung = tmp_path / "sprung"
    spring = f"open({str(sprung)!r}, 'w').close()\nclass Thing: pass\n"
    layers = """
import torch
class Layer(torch.nn.Linear): pass
class Plain:
    def __init__(self, **settings): self.settings = settings
class Voice(Plain):
    def render(self, parameters): pass
def layer(): return Layer(1, 1)
"""
    files = {
        "evil.py": spring,
        "srcevil.py": spring,
        "bystander/__init__.py": "",
        "bystander/evil.py": spring,
        "bystander/friend.py": "import bystander\n",
        "friend/__init__.py": "import subprocess\nimport bystander\nfrom subprocess import Popen\n",
        "friend/layers.py": layers,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield sprung
    for name in list(sys.modules):
        if name.partition(".")[0] in ("evil", "srcevil", "bystander", "friend"):
            del sys.modules[name]


HOSTILE = [
    "evil.Thing",
    "srcevil.Thing",
    "friend.Popen",
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "torch.hub.load",
    "torch.load",
    "hydra.utils.instantiate",
    "src",
    "src.",
    ".src",
    "src..errors.NSMError",
    "src.no_such_module.Thing",
    "src.errors.NSMError",
    "src.errors.NoSuchError",
    "src.errors",
    "src.params.np.memmap",
    "src.checkpoints.trusted.importlib.import_module",
    "src.checkpoints.trusted.instantiate_trusted",
    "src.spectral.features.FEATURES",
    "src.spectral.features.level",
    "src.generation.make_dataset",
    "src.generation.fresh_sounds",
    "src.errors.NSMError.__init__",
    "src.errors.NSMError.__init__.__globals__",
    "src.errors.NSMError.__base__",
    "src.errors.NSMError.__class__",
    "src.errors.__builtins__",
    "torch.nn.functional.relu",
    "torch.nn.functional.torch.Tensor",
    "torch.nn.init.normal_",
    "torchmetrics.MeanMetric",
    "lightning.pytorch.cli.LightningCLI",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.seed_everything",
    "lightning.pytorch.demos.mnist_datamodule._MNIST",
    "lightning.fabric.loggers.csv_logs._ExperimentWriter",
    "os.path; import evil",
    "a" * 100_000,
    "\x1b[2Jx",
    "",
    None,
    7,
    10**9000,
    ["torch.nn.Linear"],
    {"_target_": "torch.nn.Linear"},
]


@pytest.mark.parametrize("slot", SLOTS)
def test_a_target_that_is_not_on_the_list_of_its_slot_is_refused_and_never_imported(slot, trap):
    for number, target in enumerate(HOSTILE):
        with naming(number, target if isinstance(target, str) else type(target)):
            with pytest.raises(CheckpointError) as refusal:
                instantiate_trusted({"_target_": target}, slot=slot)
            assert "trusted_modules" in str(refusal.value) or isinstance(target, int | dict)
            assert len(str(refusal.value)) < 500
            assert str(refusal.value).isprintable()
            assert not trap.exists()


@pytest.mark.parametrize(
    ("slot", "config"),
    [
        ("network", NETWORK | {"activation": {"_target_": "evil.Thing"}}),
        ("network", NETWORK | {"anything": [{"deeper": {"_target_": "evil.Thing"}}]}),
        ("network", NETWORK | {"anything": ({"_target_": "evil.Thing"},)}),
        ("network", NETWORK | {"activation": RELU | {"inplace": {"_target_": "evil.Thing"}}}),
        ("network", NETWORK | {"_args_": [{"_target_": "evil.Thing"}]}),
        ("network", NETWORK | {"_recursive_": False, "norm": {"_target_": "evil.Thing"}}),
        ("optimizer", {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": {"_target_": "evil.Thing"}}),
        ("module", {"_target_": "src.models.vimh_module.VIMHLitModule", "net": {"_target_": "evil.Thing"}}),
        ("module", {"_target_": "src.models.vimh_module.VIMHLitModule", "optimizer": [{"_target_": "evil.Thing"}]}),
        ("loss", {"_target_": "src.models.losses.CrossEntropy", "label_smoothing": {"_target_": "evil.Thing"}}),
        ("datamodule", {"_target_": "src.data.vimh_datamodule.VIMHDataModule", "measure": {"_target_": "evil.Thing"}}),
        (
            "representation",
            {"_target_": "src.spectral.waveform.Waveform", "channels": {"a": {"_target_": "evil.Thing"}}},
        ),
        ("representation", {"_target_": "src.spectral.waveform.Waveform", "mel": {"_target_": "evil.Thing"}}),
    ],
)
def test_a_hostile_target_is_found_wherever_it_hides(slot, config, trap):
    with pytest.raises(CheckpointError, match=r"'evil\.Thing'"):
        instantiate_trusted(config, slot=slot)
    assert not trap.exists()


@pytest.mark.parametrize(
    "extra",
    [
        *({"_args_": [1]}, {"_recursive_": False}, {"_partial_": True}, {"_convert_": "object"}, {"_other_": 1}),
        *({"a": {"_args_": [1]}}, {"a": {"_convert_": "all"}}, {"a": [{"_partial_": True}]}),
    ],
    ids=str,
)
def test_what_tells_hydra_to_do_something_else_is_refused(extra):
    with pytest.raises(CheckpointError, match="which none of ours does"):
        instantiate_trusted(NETWORK | extra, slot="network")


def test_arguments_that_join_the_section_are_checked_alike(trap):
    with pytest.raises(CheckpointError, match=r"'evil\.Thing'"):
        instantiate_trusted(LINEAR, slot="layer", bias={"_target_": "evil.Thing"})
    with pytest.raises(CheckpointError, match="24"):
        instantiate_trusted(LINEAR, slot="layer", head_sizes={"_target_": 24})
    assert not trap.exists()


def test_nothing_is_imported_for_a_configuration_of_which_one_target_is_refused(trap):
    config = {"_target_": "friend.layers.Layer", "bias": {"_target_": "evil.Thing"}}
    with pytest.raises(CheckpointError):
        instantiate_trusted(config, slot="layer", trusted_modules=["friend"])
    assert "friend" not in sys.modules


# ----- the list


def classes_in(*packages):
    """Dotted name to class, of everything that packages define."""
    for package in packages:
        for entry in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = sys.modules.get(entry.name)  # of what is imported anyway: nothing is run for this
            for name, kind in vars(module).items() if module else ():
                if isinstance(kind, type):
                    yield f"{entry.name}.{name}"


@pytest.mark.parametrize("slot", SLOTS)
def test_every_other_class_of_well_known_packages_is_refused_before_it_is_called(slot, monkeypatch):
    names = {*classes_in(lightning, torch.optim, torch.nn, torchmetrics, src)} - {*SLOTS[slot].classes}
    assert len(names) > 2000
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"{name} was imported"))
    for name in names:
        with pytest.raises(CheckpointError, match="not on the list"):
            check_section({"_target_": name}, slot)


@pytest.mark.parametrize("slot", SLOTS)
def test_what_is_on_the_list_is_there_and_of_its_kind(slot):
    for name in SLOTS[slot].classes:
        with naming(name):
            check_section({"_target_": name}, slot)


def test_every_class_that_the_configurations_name_is_on_a_list():
    stored = {"model": "network", "loss": "loss", "scheduler": "scheduler", "synth": "synth", "data": "datamodule"}
    stored |= {"representation": "representation", "channels": "channel"}
    made = {"src.models.vimh_module.VIMHLitModule": "module", "torch.optim.AdamW": "optimizer"}
    made |= {"src.spectral.features.measure": "measure", "src.perturb.effects.VoiceParameter": "effect"}
    never_made = {"src.generation.fresh_sounds", "src.generation.make_dataset", "src.vimh.pictures.make_digits"}
    never_made |= {
        "src.packing.again.sounds_again",
        "src.checkpoints.trusted.instantiate_trusted",
    }  # `restore_datamodule` only reads
    for group, slot in stored.items():
        for path in (ROOT / "configs" / group).glob("*.yaml"):
            for name in re.findall(r"_target_: (\S+)", path.read_text(encoding="utf-8")):
                assert name in never_made or name in SLOTS[made.get(name, slot)].classes, (path.name, name)


def test_classes_on_the_list_are_public():
    assert [name for slot in SLOTS.values() for name in slot.classes if "._" in name] == []


# ----- no effects


WRITER = "lightning.fabric.loggers.csv_logs._ExperimentWriter"
MNIST = "lightning.pytorch.demos.mnist_datamodule._MNIST"


@pytest.fixture
def marked(tmp_path, monkeypatch):
    """A directory with files that must stay, while no connection is opened."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    for name in ("metrics.csv", "hparams.yaml"):
        (tmp_path / name).write_text("keep me")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    yield tmp_path
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("slot", SLOTS)
def test_classes_with_effects_have_none(slot, marked):
    for section in ({"_target_": WRITER, "log_dir": str(marked)}, {"_target_": MNIST, "root": str(marked / "new")}):
        with pytest.raises(CheckpointError, match="not on the list"):
            instantiate_trusted(section, slot=slot)


@pytest.mark.parametrize(("slot", "target"), [(slot, name) for slot in SLOTS for name in SLOTS[slot].reading])
def test_what_reads_files_where_a_file_says_is_refused_unless_the_file_is_trusted(slot, target, tmp_path, monkeypatch):
    monkeypatch.setattr(effects, "read_rooms", lambda *_: pytest.fail("a directory was read"))
    section = {"_target_": target, "directory": str(tmp_path)}
    with pytest.raises(CheckpointError, match="because it reads files") as refusal:
        instantiate_trusted(section, slot=slot)
    assert f"trusted_modules=[{target.rpartition('.')[0]}]" in str(refusal.value)


def test_a_room_out_of_a_directory_is_made_for_those_who_trust_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(effects, "read_rooms", lambda *_: pytest.fail("a directory was read"))
    section = {"_target_": "src.perturb.effects.MeasuredRoom", "directory": str(tmp_path)}
    trusted = instantiate_trusted(section, slot="effect", trusted_modules=["src.perturb.effects"])
    assert type(trusted) is type(instantiate_own(section, slot="effect")) is effects.MeasuredRoom


# ----- a user's own packages


@pytest.mark.parametrize("target", ["friend.subprocess.Popen", "friend.Popen", "friend.bystander.evil.Thing"])
def test_a_trusted_module_does_not_vouch_for_what_it_imports(target, trap):
    config = {"_target_": target, "args": ["touch", str(trap)]}
    with pytest.raises(CheckpointError, match="trusted_modules"):
        instantiate_trusted(config, slot="layer", trusted_modules=["friend"])
    assert not trap.exists()
    assert "bystander.evil" not in sys.modules


def test_the_parent_of_a_trusted_module_is_no_way_to_its_siblings(trap):
    target = {"_target_": "bystander.friend.bystander.evil.Thing"}
    with pytest.raises(CheckpointError, match="trusted_modules"):
        instantiate_trusted(target, slot="layer", trusted_modules=["bystander.friend"])
    assert not trap.exists()


def test_trusted_modules_widen_a_slot_by_classes_of_its_kind(trap):
    config = {"_target_": "friend.layers.Layer", "in_features": 3, "out_features": 2}
    for slot in ("layer", "network"):
        layer = instantiate_trusted(config, slot=slot, trusted_modules=["friend.layers"])
        assert type(layer).__name__ == "Layer"
    voice = instantiate_trusted({"_target_": "friend.layers.Voice"}, slot="synth", trusted_modules=["friend"])
    assert type(voice).__name__ == "Voice"
    with pytest.raises(CheckpointError, match=r"not a class|leaves"):
        instantiate_trusted({"_target_": "friend.layers.layer"}, slot="layer", trusted_modules=["friend.layers"])


@pytest.mark.parametrize("slot", SLOTS)
def test_a_class_of_another_kind_is_refused_whatever_is_trusted(trap, slot):
    with pytest.raises(CheckpointError, match=f"is no {slot}"):
        instantiate_trusted({"_target_": "friend.layers.Plain"}, slot=slot, trusted_modules=["friend"])


@pytest.mark.parametrize("modules", ["friend", ["friend", ""], ["friend layers"], [3]], ids=repr)
def test_trusted_modules_must_be_a_list_of_names(modules):
    with pytest.raises(ConfigError, match="trusted_modules"):
        instantiate_trusted(LINEAR, slot="layer", trusted_modules=modules)


# ----- what is no configuration


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "before ${oc.env:HOME}", "${other}", ["${oc.env:HOME}"]], ids=repr)
def test_interpolations_are_refused(value):
    with pytest.raises(CheckpointError, match="plain data"):
        instantiate_trusted(LINEAR | {"device": value}, slot="layer")
    with pytest.raises(CheckpointError, match="plain data"):
        instantiate_trusted(LINEAR | {"${oc.env:HOME}": 1}, slot="layer")


def test_endless_nesting_is_refused():
    config = dict(LINEAR)
    config["bias"] = config
    with pytest.raises(CheckpointError, match="nested"):
        instantiate_trusted(config, slot="layer")


def test_what_is_shared_again_and_again_is_counted_as_often():
    laughs = "ha"
    for _ in range(45):
        laughs = [laughs, laughs]
    with pytest.raises(CheckpointError, match="parts"):
        instantiate_trusted(LINEAR | {"bias": laughs}, slot="layer")


@pytest.mark.parametrize("config", [{}, {"in_features": 3}, [LINEAR], None, "torch.nn.Linear"], ids=repr)
def test_what_is_no_configuration_is_refused(config):
    with pytest.raises(CheckpointError, match="_target_"):
        instantiate_trusted(config, slot="layer")


@pytest.mark.parametrize(
    "extra",
    [{"no_such_argument": 1}, {"in_features": "wide"}, {"in_features": "???"}, {"in_features": -1}, {"device": "moon"}],
    ids=repr,
)
def test_arguments_that_do_not_fit_are_one_error_of_ours(extra):
    with pytest.raises(CheckpointError, match=r"torch\.nn\.Linear"):
        instantiate_trusted(LINEAR | extra, slot="layer")


def test_an_error_of_this_project_is_said_in_its_own_words():
    section = {"_target_": "src.models.losses.Ordinal", "distance": "miles"}
    with pytest.raises(
        CheckpointError, match=r"does not fit: loss\.distance is 'miles'; choose one of l1, l2, huber\.$"
    ):
        instantiate_trusted(section, slot="loss")


# ----- what is built


def test_objects_are_built_as_hydra_builds_them():
    layer = instantiate_trusted(
        {"_target_": "torch.nn.modules.linear.Linear", "in_features": 3, "out_features": 2}, slot="layer"
    )
    assert type(layer) is torch.nn.Linear
    assert layer(torch.zeros(5, 3)).shape == (5, 2)


def test_arguments_join_and_replace_those_of_the_configuration():
    layer = instantiate_trusted(LINEAR, slot="layer", out_features=7, bias=False)
    assert (layer.in_features, layer.out_features, layer.bias) == (3, 7, None)


def test_a_section_of_omegaconf_is_one_as_well():
    assert instantiate_trusted(OmegaConf.create(LINEAR), slot="layer").in_features == 3


def test_partials_of_optimizers_and_schedulers():
    optimizer = instantiate_trusted({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.25}, slot="optimizer")
    plateau = {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "_partial_": True, "patience": 3}
    scheduler = instantiate_trusted(plateau, slot="scheduler")
    assert isinstance(optimizer, functools.partial)
    made = optimizer(torch.nn.Linear(1, 1).parameters())
    assert type(made) is torch.optim.AdamW
    assert made.param_groups[0]["lr"] == 0.25
    assert scheduler(made).patience == 3


def test_channels_are_built_with_the_representation():
    stft = {"_target_": "src.spectral.representation.SpectralRepresentation", "sample_rate": 8000, "duration": 0.1}
    stft |= {"height": 4, "width": 4, "win_length": 16}
    channels = {"envelope": {"_target_": "src.spectral.channels.TemporalEnvelope"}}
    assert instantiate_trusted(stft, slot="representation", channels=channels).image_shape == (2, 4, 4)
    assert instantiate_own(stft, slot="representation", channels=channels).image_shape == (2, 4, 4)


def test_the_stored_configuration_is_left_as_it_is():
    config = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2, "_convert_": "all"}
    before = repr(config)
    instantiate_trusted(config, slot="layer", bias=False)
    assert repr(config) == before


def test_what_measures_an_image_may_be_named():
    section = {"_target_": "src.spectral.features.measure", "_partial_": True, "names": ("level", "decay_time")}
    made = instantiate_trusted(section, slot="measure")
    assert (made.func, tuple(made.keywords["names"])) == (measure, ("level", "decay_time"))


def test_the_users_own_configuration_may_name_anything():
    assert instantiate_own({"_target_": "fractions.Fraction", "numerator": 3}, slot="synth") == 3
    assert "slot" in inspect.signature(instantiate_own).parameters
