import logging
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import seed_everything

from src.checkpoints.run import build_model
from src.checkpoints.trusted import instantiate_trusted
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import VIMHError
from src.generation import fresh_sounds
from src.models.metrics import WIDTH
from src.models.spread import Spread
from src.tasks.calibration import calibrate, calibrate_module, seen
from src.vimh.pictures import make_digits

N_NEW = 1500
OWN = {"joint_scale", *(f"spread.{name}" for name in Spread(1, 1).state_dict())}


@pytest.fixture(scope="module")
def datamodule(saw_dir):
    """The saw set with 1,800 fresh sounds an epoch: 1,200 to fit and 600 to scale."""
    source = partial(fresh_sounds, instantiate=instantiate_trusted)
    return VIMHDataModule(saw_dir, stream=True, stream_size=1800, stream_source=source)


@pytest.fixture(scope="module")
def module(datamodule, compose_run, tmp_path_factory):
    """A network that was not trained: its errors differ from sound to sound by themselves."""
    seed_everything(0, verbose=False)
    cfg = compose_run(tmp_path_factory.mktemp("run"), "model=cnn_micro")
    return build_model(cfg, datamodule.info, datamodule.aux_statistics()).eval()


@pytest.fixture(scope="module")
def before(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def said(module, datamodule, before):
    return calibrate_module(module, datamodule)


def test_new_sounds_lie_in_the_intervals_as_often_as_promised(module, datamodule, said):
    assert said == "Error bars were fitted to each sound on 1,200 held-out sounds, and scaled on 600 others."
    assert module.spread.weight.abs().max() > 0
    other = VIMHDataModule(
        datamodule.data_dir, stream=True, stream_size=N_NEW, seed=7, stream_source=datamodule.stream_source
    )
    first, second = (seen(module, part) for part in other.calibration_sets())
    outputs, deviation, *_ = first.and_others(second)
    assert len(outputs) == N_NEW
    ratio = deviation / module.spread.of(outputs)
    bound = 4 * (0.9 * 0.1 * (1 / 600 + 1 / N_NEW)) ** 0.5
    assert ((ratio <= WIDTH).float().mean(dim=0) - 0.9).abs().max() < bound
    together = (ratio.amax(dim=1) <= WIDTH * module.joint_scale).float().mean().item()
    assert together == pytest.approx(0.9, abs=bound)


def test_nothing_but_the_calibration_changes(module, before, said):
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in OWN), name


def test_a_state_without_calibration_is_one_of_factors_of_one(module, before, said):
    older = {name: tensor for name, tensor in before.items() if name not in OWN | {"temperature"}}
    kept = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert not module.load_state_dict(older, strict=True).missing_keys
    assert torch.equal(module.spread.of(torch.randn(3, len(module.spread.mean))), torch.ones(3, 2))
    assert module.joint_scale == 0
    assert module.temperature.tolist() == [1, 1]
    module.load_state_dict(kept)


def test_calibrating_again_gives_the_same(module, datamodule, said):
    first = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    calibrate_module(module, datamodule)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, first[name]), name


def test_sounds_that_cannot_be_made_leave_the_scale_of_the_validation(module, saw_dir, caplog):
    def source(info):
        raise VIMHError("its generator is not known")

    waited = []
    strategy = SimpleNamespace(barrier=waited.append, root_device=torch.device("cpu"))
    trainer = SimpleNamespace(fast_dev_run=False, is_global_zero=True, callbacks=[], strategy=strategy)
    with caplog.at_level(logging.DEBUG):
        calibrate(trainer, module, VIMHDataModule(saw_dir, stream_source=source))
    assert "Error bars have one scale for all sounds: its generator is not known" in caplog.text
    calibrate(trainer, module, VIMHDataModule(saw_dir))
    assert len(waited) == 2


# ----- probabilities of classes


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("digits") / "set"
    make_digits(data_dir, name=data_dir.name)
    return VIMHDataModule(data_dir, aux=[])


def test_probabilities_are_calibrated_on_the_validation_samples_where_no_others_are_held_out(
    digits, compose_run, tmp_path
):
    seed_everything(0, verbose=False)
    cfg = compose_run(tmp_path, "model=cnn_micro", "data=digits")
    module = build_model(cfg, digits.info, digits.aux_statistics()).eval()
    batch = digits.val_set[:]
    with torch.no_grad():
        for parameter in module.net.heads.parameters():
            parameter.mul_(20)  # very sure, and of nothing
        outputs = module(batch["image"], batch["aux"])
    before = module.class_probabilities(outputs)["digit"]
    torch.testing.assert_close(before, outputs["digit"].softmax(dim=1))
    said = calibrate_module(module, digits)
    assert said == (
        f"Probabilities of classes were calibrated on {len(batch['index'])} validation samples; temperature: digit "
        f"{module.temperature[0]:.2f}."
    )
    after = module.class_probabilities(outputs)["digit"]
    torch.testing.assert_close(after, (outputs["digit"] / module.temperature).softmax(dim=1))
    right = batch["index"]
    assert after.gather(1, right).log().mean() > before.gather(1, right).log().mean()
    assert torch.equal(after.argmax(dim=1), before.argmax(dim=1))
    assert "temperature" in module.state_dict()
