"""`ParamTensors` converts as `ParameterSpace` does, in every precision."""

import numpy as np
import pytest
import torch

from src.param_tensors import NO_CLASS, ParamTensors
from src.params import ParameterSpace, ParamSpec

SPACE = ParameterSpace(
    (
        ParamSpec("note_velocity", 64, 127, 7),
        ParamSpec("log10_decay_time", -2.0, 0.3, 0.1),
        ParamSpec("waveform", 0, 2, 1, names=("saw", "square", "triangle")),
        ParamSpec("fine", 0.0, 25.5, 0.1),
    )
)
CODES = np.repeat(np.arange(256.0)[:, None], 4, axis=1)


@pytest.fixture
def heads():
    return ParamTensors(SPACE.varying)


def test_conversions_are_those_of_the_space(heads):
    normalized = np.random.default_rng(0).random((100, 4))
    index = np.random.default_rng(1).integers(0, SPACE.n_classes, (100, 4)).astype(np.float64)
    for name, argument in {
        "normalized_from_value": SPACE.value_from_normalized(normalized),
        "value_from_normalized": normalized,
        "value_from_index": index,
        "normalized_from_index": index,
        "code_from_normalized": normalized,
        "normalized_from_code": CODES,
    }.items():
        found = getattr(heads, name)(torch.from_numpy(argument).float())
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), getattr(SPACE, name)(argument), rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_classes_are_those_of_the_codes_in_every_precision(heads, dtype):
    found = heads.to(dtype).index_from_code(torch.from_numpy(CODES).float())
    assert found.dtype == torch.int64
    assert np.array_equal(found.numpy(), SPACE.index_from_code(CODES))


def test_nothing_of_it_is_in_a_state_dict(heads):
    assert heads.state_dict() == {}
    assert heads.names == ("note_velocity", "log10_decay_time", "waveform", "fine")
    assert heads.any_categorical
    assert heads.categorical.tolist() == [False, False, True, False]


def test_logits_of_all_heads_get_as_many_classes(heads):
    logits = [torch.randn(5, n) for n in SPACE.n_classes]
    padded = heads.pad(logits)
    assert padded.shape == (5, 4, 256)
    for head, n_classes in enumerate(SPACE.n_classes):
        assert torch.equal(padded[:, head, :n_classes], logits[head])
        assert (padded[:, head, n_classes:] == NO_CLASS).all()
