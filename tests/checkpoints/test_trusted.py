import functools
import sys

import pytest
import torch

from src.checkpoints.trusted import instantiate_trusted
from src.errors import CheckpointError, ConfigError, NSMError
from src.spectral.features import measure

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A directory on the path with modules that leave `sprung` behind when they are imported."""
    sprung = tmp_path / "sprung"
    spring = f"open({str(sprung)!r}, 'w').close()\nclass Thing: pass\n"
    files = {
        "evil.py": spring,
        "srcevil.py": spring,
        "bystander/__init__.py": "",
        "bystander/evil.py": spring,
        "bystander/friend.py": "import bystander\n",
        "friend/__init__.py": "import subprocess\nimport bystander\nfrom subprocess import Popen\n",
        "friend/layers.py": "import torch\nclass Layer(torch.nn.Linear): pass\ndef layer(): return Layer(1, 1)\n",
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
    "lightning.pytorch.cli.LightningCLI",
    "lightning.pytorch.seed_everything",
    "os.path; import evil",
    "",
    None,
    7,
    ["torch.nn.Linear"],
    {"_target_": "torch.nn.Linear"},
]


@pytest.mark.parametrize("target", HOSTILE, ids=repr)
def test_a_target_that_is_no_class_of_a_known_package_is_refused_and_never_imported(target, trap):
    with pytest.raises(CheckpointError, match="trusted_modules"):
        instantiate_trusted({"_target_": target})
    assert not trap.exists()


@pytest.mark.parametrize(
    "config",
    [
        LINEAR | {"bias": {"_target_": "evil.Thing"}},
        LINEAR | {"anything": [{"deeper": {"_target_": "evil.Thing"}}]},
        LINEAR | {"anything": ({"_target_": "evil.Thing"},)},
        {"_target_": "torch.nn.Sequential", "_args_": [LINEAR, {"_target_": "evil.Thing"}]},
        {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": {"_target_": "evil.Thing"}},
        LINEAR | {"_recursive_": False, "bias": {"_target_": "evil.Thing"}},
    ],
)
def test_a_hostile_target_is_found_wherever_it_hides(config, trap):
    with pytest.raises(CheckpointError, match=r"'evil\.Thing'"):
        instantiate_trusted(config)
    assert not trap.exists()


def test_arguments_that_join_the_configuration_are_checked_alike(trap):
    with pytest.raises(CheckpointError, match=r"'evil\.Thing'"):
        instantiate_trusted(LINEAR, bias={"_target_": "evil.Thing"})
    with pytest.raises(CheckpointError, match="24"):
        instantiate_trusted(LINEAR, head_sizes={"_target_": 24})
    assert not trap.exists()


def test_nothing_is_imported_for_a_configuration_of_which_one_target_is_refused(trap):
    config = {"_target_": "friend.layers.Layer", "bias": {"_target_": "evil.Thing"}}
    with pytest.raises(CheckpointError):
        instantiate_trusted(config, trusted_modules=["friend"])
    assert "friend" not in sys.modules


@pytest.mark.parametrize("target", ["friend.subprocess.Popen", "friend.Popen", "friend.bystander.evil.Thing"])
def test_a_trusted_module_does_not_vouch_for_what_it_imports(target, trap, tmp_path):
    config = {"_target_": target, "args": ["touch", str(trap)]}
    with pytest.raises(CheckpointError, match="trusted_modules"):
        instantiate_trusted(config, trusted_modules=["friend"])
    assert not trap.exists()
    assert "bystander.evil" not in sys.modules


def test_the_parent_of_a_trusted_module_is_no_way_to_its_siblings(trap):
    with pytest.raises(CheckpointError, match="trusted_modules"):
        instantiate_trusted({"_target_": "bystander.friend.bystander.evil.Thing"}, trusted_modules=["bystander.friend"])
    assert not trap.exists()


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "before ${oc.env:HOME}", "${other}", ["${oc.env:HOME}"]], ids=repr)
def test_interpolations_are_refused(value):
    with pytest.raises(CheckpointError, match="plain data"):
        instantiate_trusted(LINEAR | {"device": value})


def test_endless_nesting_is_refused():
    config = dict(LINEAR)
    config["bias"] = config
    with pytest.raises(CheckpointError, match="nested"):
        instantiate_trusted(config)


@pytest.mark.parametrize("config", [{}, {"in_features": 3}, [LINEAR], None, "torch.nn.Linear"], ids=repr)
def test_what_is_no_configuration_is_refused(config):
    with pytest.raises(CheckpointError, match="_target_"):
        instantiate_trusted(config)


@pytest.mark.parametrize(
    "extra", [{"no_such_argument": 1}, {"in_features": "wide"}, {"_partial_": "yes"}, {"in_features": "???"}], ids=repr
)
def test_arguments_that_do_not_fit_are_one_error_of_ours(extra):
    with pytest.raises(CheckpointError, match=r"torch\.nn\.Linear"):
        instantiate_trusted(LINEAR | extra)


@pytest.mark.parametrize("modules", ["friend", ["friend", ""], ["friend layers"], [3]], ids=repr)
def test_trusted_modules_must_be_a_list_of_names(modules):
    with pytest.raises(ConfigError, match="trusted_modules"):
        instantiate_trusted(LINEAR, trusted_modules=modules)


def test_objects_are_built_as_hydra_builds_them():
    config = {
        "_target_": "torch.nn.Sequential",
        "_args_": [LINEAR, {"_target_": "torch.nn.modules.activation.ReLU"}, LINEAR | {"in_features": 2}],
        "_convert_": "all",
    }
    net = instantiate_trusted(config)
    assert [type(layer) for layer in net] == [torch.nn.Linear, torch.nn.ReLU, torch.nn.Linear]
    assert net(torch.zeros(5, 3)).shape == (5, 2)


def test_arguments_join_and_replace_those_of_the_configuration():
    layer = instantiate_trusted(LINEAR, out_features=7, bias=False)
    assert (layer.in_features, layer.out_features, layer.bias) == (3, 7, None)


def test_partials_of_optimizers_and_schedulers():
    optimizer = instantiate_trusted({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.25})
    scheduler = instantiate_trusted(
        {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "_partial_": True, "patience": 3}
    )
    assert isinstance(optimizer, functools.partial)
    made = optimizer(torch.nn.Linear(1, 1).parameters())
    assert type(made) is torch.optim.AdamW
    assert made.param_groups[0]["lr"] == 0.25
    assert scheduler(made).patience == 3


def test_classes_of_this_project_of_lightning_and_of_torchmetrics_are_known():
    assert isinstance(instantiate_trusted({"_target_": "src.errors.NSMError"}), NSMError)
    instantiate_trusted({"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/loss"})
    instantiate_trusted({"_target_": "torchmetrics.MeanMetric"})


def test_trusted_modules_are_allowed_beside_them(trap):
    config = {"_target_": "friend.layers.Layer", "in_features": 3, "out_features": 2}
    layer = instantiate_trusted(config, trusted_modules=["friend.layers"])
    assert type(layer).__name__ == "Layer"
    with pytest.raises(CheckpointError, match=r"not a class|leaves"):
        instantiate_trusted({"_target_": "friend.layers.layer"}, trusted_modules=["friend.layers"])


def test_the_stored_configuration_is_left_as_it_is():
    config = {"_target_": "torch.nn.Sequential", "_args_": [dict(LINEAR)], "_convert_": "all"}
    before = repr(config)
    instantiate_trusted(config)
    assert repr(config) == before


def test_what_measures_an_image_may_be_named():
    names = ("level", "decay_time")
    made = instantiate_trusted({"_target_": "src.spectral.features.measure", "_partial_": True, "names": names})
    assert (made.func, tuple(made.keywords["names"])) == (measure, names)
