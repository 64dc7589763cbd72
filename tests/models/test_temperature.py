import math

import pytest
import torch
import torch.nn.functional as F

from src.models.temperature import HIGHEST, LOWEST, fit_temperature


def drawn(n, n_classes=5, seed=0):
    """Logits, and classes drawn from the probabilities that they mean."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, n_classes, generator=generator)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
def test_the_temperature_of_honest_logits_is_found_whatever_they_were_multiplied_with(factor):
    logits, index = drawn(6000)
    assert fit_temperature(factor * logits, index) == pytest.approx(factor, rel=0.05)
    assert fit_temperature(factor * logits + 1000, index) == pytest.approx(factor, rel=0.05)


def test_no_temperature_beside_it_is_likelier():
    logits, index = drawn(5000, seed=1)
    found = fit_temperature(3 * logits, index)
    smoothing = 1 / (len(index) + 1)
    losses = [
        F.cross_entropy(3 * logits.double() / t, index, label_smoothing=smoothing).item()
        for t in (0.98 * found, found, 1.02 * found)
    ]
    assert losses[1] == min(losses)


def test_a_few_right_answers_make_nobody_certain():
    """A network that errs on none of n is taken to err on 1 of n + 1."""
    for n in (3, 30, 300):
        logits = 30 * F.one_hot(torch.arange(n) % 2).float()
        probability = (logits / fit_temperature(logits, torch.arange(n) % 2)).softmax(dim=1).amax(dim=1)
        assert probability.tolist() == pytest.approx([1 - 0.5 / (n + 1)] * n, rel=1e-6)


def test_the_range_is_not_left():
    logits, index = drawn(100)
    assert fit_temperature(logits, (-logits).argmax(dim=1)) == pytest.approx(HIGHEST)
    assert fit_temperature(1e-9 * logits, logits.argmax(dim=1)) == pytest.approx(LOWEST)
    assert fit_temperature(logits[:0], index[:0]) == 1
    assert math.isfinite(fit_temperature(1e6 * logits, index))
