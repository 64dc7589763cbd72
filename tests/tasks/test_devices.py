import pytest
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.tasks import devices
from src.tasks.devices import check_accelerator


class Accelerator:
    def __init__(self, count):
        self.count = count

    def is_available(self):
        return self.count > 0

    def auto_device_count(self):
        return self.count


@pytest.fixture
def machine(monkeypatch):
    """Has so many accelerators of each kind."""

    def build(**counts):
        kinds = {"cpu": 1, "cuda": 0, "mps": 0, "tpu": 0} | counts
        registry = {name: {"accelerator": Accelerator(count)} for name, count in kinds.items()}
        monkeypatch.setattr(devices, "AcceleratorRegistry", registry)

    return build


@pytest.mark.parametrize(
    ("counts", "settings"),
    [
        ({}, {}),
        ({}, {"accelerator": "auto", "devices": 1}),
        ({}, {"accelerator": "cpu", "devices": 2}),  # processes
        ({"cuda": 2}, {"accelerator": "gpu", "devices": 2}),
        ({"cuda": 2}, {"accelerator": "cuda", "devices": [1]}),
        ({"mps": 1}, {"accelerator": "gpu"}),
        ({"mps": 1}, {"accelerator": "mps", "devices": "auto"}),
        ({"cuda": 2}, {"accelerator": "gpu", "devices": -1}),
        ({}, {"accelerator": {"_target_": "package.Accelerator"}}),
    ],
)
def test_what_is_there_is_taken(machine, counts, settings):
    machine(**counts)
    check_accelerator(OmegaConf.create(settings))


@pytest.mark.parametrize(
    ("counts", "settings", "facts"),
    [
        (
            {},
            {"accelerator": "gpu", "devices": 1},
            "=gpu with trainer.devices=1: .* only cpu. .*trainer=cpu",
        ),
        ({"cuda": 1}, {"accelerator": "gpu", "devices": 2}, "devices=2: .* only cpu, 1 x cuda"),
        ({"cuda": 1}, {"accelerator": "mps"}, "accelerator=mps .* only cpu, 1 x cuda"),
        ({}, {"accelerator": "gup"}, "trainer.accelerator.*gup.*auto, gpu, cpu, cuda, mps, tpu"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(machine, counts, settings, facts):
    machine(**counts)
    with pytest.raises(ConfigError, match=facts):
        check_accelerator(OmegaConf.create(settings))
