import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score
from torchmetrics.classification import MulticlassCalibrationError

from src.models.class_metrics import BINS, ClassMetrics
from src.models.decoders import Prediction
from src.models.metrics import HeadMetrics
from src.param_tensors import ParamTensors
from src.params import ParamSpec

SPECS = [
    ParamSpec("animal", 0, 4, 1, names=("cat", "cow", "dog", "hen", "pig")),
    ParamSpec("level", 0, 1, 0.1),
    ParamSpec("voiced", 0, 1, 1, names=("no", "yes")),
    ParamSpec("vowel", 0, 2, 1, names=("a", "i", "u"), active_if={"voiced": "yes"}),
]
CATEGORIES = (0, 2, 3)
HEADS = ParamTensors(SPECS)


def answers(n, seed=0):
    """Predicted and true classes, `(sample, head)`, and probabilities of the classes of categories."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.stack([torch.randint(spec.n_classes, (n,), generator=generator) for spec in SPECS], dim=1)
    logits = [2 * torch.randn(n, SPECS[head].n_classes, generator=generator) for head in CATEGORIES]
    for of, head in zip(logits, CATEGORIES, strict=True):
        of[torch.arange(n), true[:, head]] += 1
    predicted = true.clone()
    for of, head in zip(logits, CATEGORIES, strict=True):
        predicted[:, head] = of.argmax(dim=1)
    return predicted, true, [of.log_softmax(dim=1) for of in logits]


def counted(*parts, files=None):
    metrics = ClassMetrics(HEADS, calibration=True)
    for part in parts:
        metrics.update(*part, files)
    return metrics


def test_figures_are_those_of_scikit_learn_and_torchmetrics_on_the_samples_that_count():
    predicted, true, likelihood = answers(500)
    figures = counted((predicted, true, likelihood)).compute()
    acts = [torch.ones(500, dtype=torch.bool)] * 2 + [true[:, 2] == 1]
    for place, head in enumerate(CATEGORIES):
        said, right = predicted[acts[place], head], true[acts[place], head]
        assert figures["balanced_acc"][place].item() == pytest.approx(balanced_accuracy_score(right, said))
        assert figures["f1"][place].item() == pytest.approx(f1_score(right, said, average="macro"))
        error = MulticlassCalibrationError(SPECS[head].n_classes, n_bins=BINS, norm="l1")
        wanted = error(likelihood[place][acts[place]].exp(), right)
        assert figures["ece"][place].item() == pytest.approx(wanted.item(), abs=1e-6)


def test_a_class_that_does_not_occur_has_no_part_in_balanced_accuracy():
    true = torch.zeros(10, 4, dtype=torch.long)
    predicted = true.clone()
    predicted[5:, 0] = 1
    assert counted((predicted, true)).compute()["balanced_acc"][0] == 0.5


def test_confusions_are_those_of_scikit_learn():
    predicted, true, _ = answers(300)
    animal, _, vowel = counted((predicted, true)).confusions()
    assert animal.tolist() == confusion_matrix(true[:, 0], predicted[:, 0]).tolist()
    acts = true[:, 2] == 1
    assert vowel.tolist() == confusion_matrix(true[acts, 3], predicted[acts, 3]).tolist()


def test_counting_in_parts_or_in_two_processes_is_counting_at_once():
    predicted, true, likelihood = answers(90)
    parts = [
        (predicted[part], true[part], [of[part] for of in likelihood], torch.arange(90)[part] // 4)
        for part in (slice(0, 1), slice(1, 60), slice(60, 90))
    ]
    whole, split, other = (ClassMetrics(HEADS, calibration=True) for _ in range(3))
    whole.update(predicted, true, likelihood, torch.arange(90) // 4)
    split.update(*parts[0])
    split.update(*parts[1])
    other.update(*parts[2])
    split.merge_state(other)
    for name, figure in whole.compute().items():
        torch.testing.assert_close(split.compute()[name], figure, msg=name)
    for found, wanted in zip(split.confusions(), whole.confusions(), strict=True):
        assert torch.equal(found, wanted)


def test_honest_probabilities_have_no_error_and_exaggerated_ones_have():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(40000, 5, generator=generator)
    true = torch.zeros(40000, 4, dtype=torch.long)
    true[:, 0] = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    predicted = torch.zeros(40000, 4, dtype=torch.long)
    predicted[:, 0] = logits.argmax(dim=1)
    errors = []
    for factor in (1, 3):
        likelihood = [(factor * logits).log_softmax(dim=1), logits[:, :2], logits[:, :3]]
        errors.append(counted((predicted, true, likelihood)).compute()["ece"][0].item())
    assert errors[0] < 0.01
    assert errors[1] > 0.1


def test_files_vote_by_the_logarithms_of_their_frames():
    true = torch.zeros(5, 4, dtype=torch.long)
    true[3:, 0] = 1
    animal = torch.tensor(  # the first file: three doubtful frames for the cow, one that excludes it
        [[0.40, 0.60, 0, 0, 0], [0.45, 0.55, 0, 0, 0], [0.999, 0.001, 0, 0, 0], [0, 1, 0, 0, 0], [0.1, 0.9, 0, 0, 0]]
    )
    likelihood = [animal.clamp(min=1e-6).log(), torch.zeros(5, 2), torch.zeros(5, 3)]
    said = torch.zeros(5, 4, dtype=torch.long)
    said[:, 0] = animal.argmax(dim=1)
    figures = counted((said, true, likelihood), files=torch.tensor([7, 7, 7, 3, 3])).compute()
    assert figures["file_acc"][0] == 1
    assert figures["file_acc"][2].isnan()  # vowels never act
    figures = counted((said, true, likelihood), files=torch.tensor([7, 7, 8, 3, 3])).compute()
    assert figures["file_acc"][0] == pytest.approx(2 / 3)
    assert "file_acc" not in counted((said, true, likelihood)).compute()


def test_the_metrics_of_heads_hold_those_of_classes():
    predicted, true, likelihood = answers(100)
    metrics = HeadMetrics(HEADS, coverage=True)
    normalized = true / (HEADS.n_classes - 1)
    said = Prediction(predicted, normalized, torch.ones(100, 4))
    files = torch.arange(100) // 3
    metrics.update(torch.zeros(()), said, true, normalized, torch.ones(4), None, None, likelihood, files)
    figures, own = metrics.compute(), counted((predicted, true, likelihood), files=files).compute()
    for name in ("balanced_acc", "f1", "ece", "file_acc"):
        assert [figures[f"{SPECS[head].name}_{name}"] for head in CATEGORIES] == own[name].tolist()
        assert figures[name] == pytest.approx(own[name].mean().item())
        assert f"level_{name}" not in figures
    assert set(metrics.confusions()) == {"animal", "voiced", "vowel"}
    assert metrics.confusions()["animal"].sum() == 100
    metrics.reset()
    assert metrics.confusions()["animal"].sum() == 0
    assert metrics.state_dict() == {}
