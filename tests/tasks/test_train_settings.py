import pytest
import torch
from omegaconf import OmegaConf

from src.errors import ConfigError
from src.tasks.train import check_optimizer


class NeedsCurvature(torch.optim.SGD):
    def step(self, closure):
        """Wants gradients of gradients, as second-order optimizers do."""
        raise RuntimeError("call backward with create_graph=True")


class OnAGPU(torch.optim.SGD):
    def step(self, closure):
        """As PyTorch's do with capturable=true."""
        raise AssertionError("capturable=True, but the device is cpu")


def model(name, **settings):
    optimizer = {"_target_": name, "_partial_": True, "lr": 0.1} | settings
    return OmegaConf.create({"optimizer": optimizer, "scheduler": None})


@pytest.mark.parametrize("name", ["AdamW", "SGD", "LBFGS", "RMSprop", "Adafactor", "ASGD", "NAdam"])
def test_optimizers_of_pytorch_are_taken(name):
    check_optimizer(model(f"torch.optim.{name}"))


def test_one_that_works_elsewhere_is_taken():
    check_optimizer(model(f"{__name__}.OnAGPU"))


@pytest.mark.parametrize(
    ("section", "facts"),
    [
        (model("torch.optim.SparseAdam"), "SparseAdam cannot train a network of this project: .*dense gradients"),
        (model("torch.optim.Muon"), "model.optimizer: Muon only supports 2D parameters"),
        (model(f"{__name__}.NeedsCurvature"), "NeedsCurvature cannot train .*create_graph=True"),
        (model("torch.optim.SGD", lr=-1), "model.optimizer: Invalid learning rate"),
        (model("torch.optim.SGD", betas=[1]), "model.optimizer.betas: SGD takes no such setting"),
    ],
    ids=["sparse", "matrices alone", "curvature", "value", "setting"],
)
def test_an_optimizer_that_wants_something_else_is_refused(section, facts):
    with pytest.raises(ConfigError, match=facts):
        check_optimizer(section)


def test_a_scheduler_with_another_setting_is_refused():
    section = model("torch.optim.SGD")
    section.scheduler = {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "steps": 3}
    with pytest.raises(ConfigError, match=r"model\.scheduler\.steps: StepLR takes no such setting"):
        check_optimizer(section)
