import json
import logging
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from scripts.list_configs import groups, is_complete
from src.checkpoints.run import build_model
from src.errors import CheckpointError, ConfigError
from src.models.components.conditioning import Film
from src.models.onnx_export import (
    METADATA,
    check_agreement,
    check_packages,
    measure_latency,
    open_session,
    run_onnx,
    run_pytorch,
    to_onnx,
)
from src.models.predictor import Predictor
from src.vimh.reader import read_info

MODELS = [model for model in groups()["model"] if is_complete(model)]
LOSSES = groups()["loss"]
FAST = "cnn_micro"


@pytest.fixture(scope="module")
def predictor_of(compose_run, saw_dir, tmp_path_factory):
    """Makes what is exported, its weights as of a training that went on for a while."""

    def make(*overrides, seed=0):
        torch.manual_seed(seed)
        cfg = compose_run(tmp_path_factory.mktemp("run"), *overrides)
        n_aux = len(cfg.data.aux)
        module = build_model(cfg, read_info(saw_dir), ([-40.0] * n_aux, [10.0] * n_aux))
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
            elif isinstance(part, Film) and part.linear is not None:
                nn.init.normal_(part.linear.weight, std=0.1)
        module.std_scale.uniform_(0.5, 2.0)
        for name, buffer in module.spread.named_buffers():
            buffer.uniform_(0.5, 2.0) if name == "std" else buffer.normal_(std=0.3)
        return Predictor(module), n_aux

    return make


@pytest.fixture(scope="module")
def exported(predictor_of):
    """A predictor, its ONNX file as bytes, a session, and samples of it."""

    def export(*overrides):
        predictor, n_aux = predictor_of(*overrides)
        description = {"image_shape": [1, 32, 32], "aux": ["x"] * n_aux, "units": "Ω"}
        content = to_onnx(predictor, description).SerializeToString()
        return predictor, content, open_session(content), lambda batch_size: samples(batch_size, n_aux)

    return export


@pytest.fixture(scope="module")
def micro(exported):
    return exported(f"model={FAST}")


def samples(batch_size, n_aux):
    rng = np.random.default_rng(batch_size)
    image = rng.integers(0, 256, (batch_size, 1, 32, 32), dtype=np.uint8)
    return image, rng.normal(-40, 10, (batch_size, n_aux)).astype(np.float32)


def agrees(predictor, session, samples_of):
    return max(check_agreement(predictor, session, samples_of(size), 1e-4) for size in (1, 3, 256)) <= 1e-4


def test_onnx_says_what_pytorch_says(micro):
    predictor, _, session, samples_of = micro
    assert agrees(predictor, session, samples_of)


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for model in MODELS if model != FAST])
def test_every_network_says_the_same_in_onnx(exported, model):
    predictor, _, session, samples_of = exported(f"model={model}")
    assert agrees(predictor, session, samples_of)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_says_the_same_in_onnx(exported, loss):
    predictor, _, session, samples_of = exported(f"model={FAST}", f"loss={loss}")
    assert agrees(predictor, session, samples_of)


@pytest.mark.slow
@pytest.mark.parametrize("conditioning", ["none", "film"])
@pytest.mark.parametrize("model", [model for model in MODELS if model in (FAST, "vit_micro")])
def test_every_conditioning_says_the_same_in_onnx(exported, model, conditioning):
    predictor, _, session, samples_of = exported(f"model={model}", f"model.net.conditioning={conditioning}")
    assert [entry.name for entry in session.get_inputs()] == ["image", "aux"]
    assert agrees(predictor, session, samples_of)


def test_inputs_and_outputs_have_names_types_and_a_free_batch_axis(micro):
    _, _, session, _ = micro
    described = [(entry.name, entry.type, entry.shape) for entry in (*session.get_inputs(), *session.get_outputs())]
    assert described == [
        ("image", "tensor(uint8)", ["batch", 1, 32, 32]),
        ("aux", "tensor(float)", ["batch", 2]),
        ("value", "tensor(float)", ["batch", 2]),
        ("std", "tensor(float)", ["batch", 2]),
    ]


def test_outputs_are_in_natural_units(micro):
    predictor, _, session, samples_of = micro
    image, aux = samples_of(5)
    value, std = run_onnx(session, (image, aux))
    with torch.no_grad():
        said = predictor.module.predict_step({"image": torch.from_numpy(image), "aux": torch.from_numpy(aux)})
    for head, spec in enumerate(predictor.module.specs):
        expected = spec.min + said[spec.name].normalized.numpy() * (spec.max - spec.min)
        np.testing.assert_allclose(value[:, head], expected, rtol=1e-4)
        np.testing.assert_allclose(std[:, head], said[spec.name].std.numpy() * spec.step, rtol=1e-4)
        assert ((spec.min <= value[:, head]) & (value[:, head] <= spec.max)).all()
    assert (std > 0).all()


def test_an_image_does_not_depend_on_its_batch(micro):
    _, _, session, samples_of = micro
    image, aux = samples_of(16)
    together = run_onnx(session, (image, aux))
    alone = [run_onnx(session, (image[i : i + 1], aux[i : i + 1])) for i in range(16)]
    for output in range(2):
        np.testing.assert_allclose(np.concatenate([one[output] for one in alone]), together[output], rtol=1e-5)


def test_the_file_is_whole_and_says_nothing_of_this_machine(micro):
    _, content, _, _ = micro
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert b".py" not in content
    assert b"/src/" not in content


def test_the_description_is_in_the_file(micro):
    _, content, session, _ = micro
    expected = {"image_shape": [1, 32, 32], "aux": ["x", "x"], "units": "Ω"}
    assert json.loads(session.get_modelmeta().custom_metadata_map[METADATA]) == expected
    assert [entry.key for entry in onnx.load_from_string(content).metadata_props] == [METADATA]


def test_a_difference_is_refused_by_the_name_of_its_head(micro, predictor_of):
    _, _, session, samples_of = micro
    other, _ = predictor_of(f"model={FAST}", seed=1)
    with pytest.raises(CheckpointError, match=r"(note_velocity|log10_decay_time): .* of its range, more than"):
        check_agreement(other, session, samples_of(4), 1e-4)


def test_what_is_no_number_is_refused(micro):
    predictor, _, session, samples_of = micro
    image, aux = samples_of(2)
    with pytest.raises(CheckpointError, match="differ by nan"):
        check_agreement(predictor, session, (image, aux * np.nan), 1e-4)


def test_exporting_leaves_training_mode_and_loggers_as_they_were(micro):
    predictor, _, _, _ = micro
    assert not predictor.training
    assert logging.getLogger("onnx_ir").level == logging.NOTSET


def test_latency_is_measured_on_one_thread_and_the_threads_come_back(micro, monkeypatch):
    predictor, _, session, samples_of = micro
    n_threads = torch.get_num_threads()
    seen = []
    monkeypatch.setattr(torch, "inference_mode", lambda: seen.append(torch.get_num_threads()) or torch.no_grad())
    latency = measure_latency(predictor, session, samples_of(1), 5)
    assert set(seen) == {1}
    assert torch.get_num_threads() == n_threads
    assert latency["pytorch"] > 0
    assert latency["onnxruntime"] > 0


def test_pytorch_and_onnx_return_arrays_alike(micro):
    predictor, _, session, samples_of = micro
    for ours, theirs in zip(run_pytorch(predictor, samples_of(4)), run_onnx(session, samples_of(4)), strict=True):
        assert ours.shape == theirs.shape == (4, 2)
        assert ours.dtype == theirs.dtype == np.float32


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package} is missing.*pip install '\.\[export\]'"):
        check_packages()
