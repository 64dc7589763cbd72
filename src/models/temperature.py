"""What logits of classes are divided by, so that probabilities hold.

Networks that were trained to the end are as a rule too sure of their classes. One number a head, found on sounds that
were not trained on, corrects most of that and changes no answer (Guo et al. 2017, On calibration of modern neural
networks, arXiv 1706.04599, section 4.2).
"""

import torch
from torch import Tensor

LOWEST, HIGHEST = 1 / 20, 20.0  # beyond, probabilities are 0 and 1, or all alike
HALVINGS = 30  # of that range, in the logarithm: to 6e-9


@torch.no_grad()
def fit_temperature(logits: Tensor, index: Tensor) -> float:
    """The temperature with the least negative log likelihood.

    That likelihood is convex in the temperature's inverse, so that the root of its slope is found by halving. A share
    of 1 / (n + 1) of each target is spread evenly over the classes, after Platt (1999, Probabilistic outputs for
    support vector machines, section 2.2): without it, a network that errs on none of a few samples would be certain.

    Args:
        logits: `(sample, class)`.
        index: True class, int64, `(sample,)`.

    Returns:
        Between 1/20 and 20; 1 without samples.
    """
    if not len(index):
        return 1.0
    logits = logits.double()
    of_true = logits.gather(1, index.unsqueeze(1)).squeeze(1)
    wanted = torch.lerp(of_true, logits.mean(dim=1), 1 / (len(index) + 1)).mean()
    low, high = LOWEST, HIGHEST
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        expected = ((logits / middle).softmax(dim=1) * logits).sum(dim=1).mean()
        low, high = (middle, high) if expected > wanted else (low, middle)  # too sure: the temperature must rise
    return (low * high) ** 0.5
