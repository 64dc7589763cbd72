"""What holds with every version of Hydra."""

import pickle

import hydra
import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from src import hydra_versions
from src.hydra_versions import instantiate, register_resolver


class Filter:
    def __init__(self, order=1, inner=None):
        if order < 1:
            raise ValueError("no poles")
        self.order, self.inner = order, inner


FILTER = f"{__name__}.Filter"
CONFIG = OmegaConf.create(
    {"synth": {"low": {"_target_": FILTER, "inner": [{"_target_": FILTER, "inner": {"_target_": FILTER}}]}}}
)


def failure(section, **arguments):
    with pytest.raises(InstantiationException) as caught:
        instantiate(section, **arguments)
    assert isinstance(caught.value.__cause__, ValueError)
    return str(caught.value)


def test_objects_are_made():
    made = instantiate(CONFIG.synth.low, order=3)
    assert (made.order, type(made.inner[0].inner)) == (3, Filter)


def test_what_is_made_in_part_reaches_another_process():
    section = {"_target_": FILTER, "_partial_": True, "inner": {"_target_": FILTER, "_partial_": True, "order": 2}}
    again = pickle.loads(pickle.dumps(instantiate(section)))
    made = again(order=3)
    assert (made.order, made.inner(inner=1).order, made.inner(inner=1).inner) == (3, 2, 1)


@pytest.mark.parametrize("key", ["synth.low", "synth.low.inner[0]", "synth.low.inner[0].inner"])
def test_what_cannot_be_made_is_named_with_its_place(key):
    config = CONFIG.copy()
    OmegaConf.update(config, f"{key}.order", 0, force_add=True)
    place = key.replace("[0]", "0") if key.endswith("]") else key  # as Hydra writes it
    expected = f"Error in call to target '{FILTER}':\nValueError('no poles')\nfull_key: {place}"
    assert failure(config.synth.low) == expected


def test_plain_data_has_no_place():
    assert failure({"_target_": FILTER}, order=0) == f"Error in call to target '{FILTER}':\nValueError('no poles')"


def test_an_interpolation_that_leads_nowhere_is_omegaconfs_error():
    with pytest.raises((InterpolationResolutionError, InstantiationException), match="nowhere"):
        instantiate(OmegaConf.create({"low": {"_target_": FILTER, "order": "${nowhere}"}}).low)


def test_a_resolver_replaces_the_one_before():
    for answer in (1, 2):
        register_resolver("test_hydra_versions", lambda answer=answer: answer)
        assert OmegaConf.create({"key": "${test_hydra_versions:}"}).key == answer


@pytest.mark.parametrize(
    ("section", "full_key", "target"),
    [
        (CONFIG.synth.low, "synth.low", FILTER),
        (CONFIG.synth.low, "synth.low.inner[0].inner", FILTER),
        (CONFIG, "synth.low", FILTER),
        ({"_target_": FILTER, "all": [1, {"_target_": "builtins.int"}]}, "low.all1", "builtins.int"),
        ({"_target_": FILTER}, "elsewhere", FILTER),
        ({"_target_": "torch.nn.Linear"}, "", "torch.nn.modules.linear.Linear"),
    ],
)
def test_errors_of_hydra_1_4_are_told_as_those_of_1_3(monkeypatch, section, full_key, target):
    """Hydra 1.4 lets them pass with a note."""

    def call(section, *, _execution_whitelist_):
        error = ValueError("no poles")
        if full_key:
            error.add_note(f"full_key: {full_key}")
        raise error

    monkeypatch.setattr(hydra_versions, "IS_1_3", False)
    monkeypatch.setattr(hydra.utils, "instantiate", call)
    expected = f"Error in call to target '{target}':\nValueError('no poles')"
    assert failure(section) == (f"{expected}\nfull_key: {full_key}" if full_key else expected)
