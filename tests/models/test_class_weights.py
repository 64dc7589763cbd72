import pytest
import torch

from src.errors import ConfigError
from src.models.losses import ClassWeights, CrossEntropy, SoftTarget
from src.param_tensors import ParamTensors
from src.params import ParamSpec

SPECS = [
    ParamSpec("animal", 0, 3, 1, names=("cat", "cow", "dog", "hen")),
    ParamSpec("level", 0, 1, 0.5),
    ParamSpec("wild", 0, 1, 1, names=("no", "yes"), active_if={"animal": ["cat", "dog"]}),
]
HEADS = ParamTensors(SPECS)
COUNTS = torch.tensor([[60, 30, 10, 0], [1, 2, 97, 0], [30, 40, 0, 0]])


def weights():
    return ClassWeights("balanced", HEADS, COUNTS)


def test_every_class_weighs_the_same_and_a_sample_1_in_the_mean():
    weight = weights().weight
    for head in (0, 2):
        shares = weight[head] * COUNTS[head]
        occurring = shares[COUNTS[head] > 0]
        torch.testing.assert_close(occurring, occurring[:1].expand_as(occurring))
        assert shares.sum().item() == pytest.approx(COUNTS[head].sum().item())
    assert weight[1].tolist() == [1, 1, 1, 1]  # a number
    assert weight[0, 3] == 1  # a class that does not occur


def test_weighted_losses_are_those_of_pytorch():
    index = torch.tensor([[0, 0, 1], [1, 1, 0], [2, 2, 1], [0, 1, 0], [2, 0, 0]])
    logits = [torch.randn(5, spec.n_classes) for spec in SPECS]
    found = CrossEntropy().per_head(logits, index / 3, index, HEADS, weights()(index))
    acts = index[:, 0] % 2 == 0
    for head, rows in ((0, slice(None)), (1, slice(None)), (2, acts)):
        of_class = weights().weight[head, : SPECS[head].n_classes]
        wanted = torch.nn.functional.cross_entropy(logits[head][rows], index[rows, head], weight=of_class)
        torch.testing.assert_close(found[head], wanted)


@pytest.mark.parametrize("loss", [CrossEntropy(label_smoothing=0.1), SoftTarget()])
def test_equal_weights_change_nothing(loss):
    index = torch.randint(2, (20, 3))
    logits = [torch.randn(20, spec.n_classes) for spec in SPECS]
    plain = loss.per_head(logits, index / 2, index, HEADS)
    torch.testing.assert_close(loss.per_head(logits, index / 2, index, HEADS, torch.ones(20, 3)), plain)
    torch.testing.assert_close(loss.per_head(logits, index / 2, index, HEADS, torch.full((20, 1), 7.0)), plain)
    assert ClassWeights(None, HEADS, COUNTS)(index) is None
    assert not ClassWeights(None, HEADS).state_dict()


def test_weights_are_in_the_checkpoint():
    other = ClassWeights("balanced", HEADS)
    other.load_state_dict(weights().state_dict())
    assert torch.equal(other.weight, weights().weight)


def test_what_cannot_be_weighed_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.class_weights is 'even'; give null or balanced"):
        ClassWeights("even", HEADS, COUNTS)
    with pytest.raises(ConfigError, match="none of the heads level is a category"):
        ClassWeights("balanced", ParamTensors(SPECS[1:2]), COUNTS[1:2])
