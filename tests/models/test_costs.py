import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from src.models.costs import WORTH_A_THREAD, cpu_threads, multiply_adds, useful_threads


def test_multiply_adds_of_a_matrix_product():
    assert multiply_adds(nn.Linear(30, 20), (torch.zeros(1, 30),))[""] == 600


def test_multiply_adds_of_a_convolution():
    assert multiply_adds(nn.Conv2d(3, 8, 5), (torch.zeros(1, 3, 16, 12),))[""] == 8 * 3 * 5 * 5 * 12 * 8


@pytest.mark.parametrize(("of_a_thread", "expected"), [(0.1, 1), (1.0, 1), (1.1, 2), (2.5, 3), (90, 4)])
def test_a_thread_for_each_portion_of_work_but_no_more_than_there_are(of_a_thread, expected):
    batch_size = round(of_a_thread * WORTH_A_THREAD / (500 * 500))
    assert useful_threads(nn.Linear(500, 500), (torch.zeros(1, 500),), batch_size, available=4) == expected


def test_looking_at_a_network_leaves_it_as_it_was():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    useful_threads(net, (torch.ones(2, 3),), 128, 2)
    assert net[0].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_threads_are_as_before_afterwards():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before


ROOT = Path(__file__).parents[2]
FAULTS = """
import resource, sys
import torch
from src.models.costs import keep_freed_memory

torch.set_num_threads(1)
if sys.argv[1:] == ["keep"]:
    keep_freed_memory()
for repeat in range(30):
    if repeat == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(n << 18) for n in (1, 2, 4, 9, 12)]
    del tensors
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
def test_freed_memory_is_kept_for_the_next_tensors():
    faults = [
        int(subprocess.check_output([sys.executable, "-c", FAULTS, *argument], cwd=ROOT)) for argument in ([], ["keep"])
    ]
    pages = 20 * (28 << 20) // resource.getpagesize()  # of all tensors that are counted
    assert faults[1] < pages / 50 or platform.libc_ver()[0] != "glibc"
    assert faults[1] <= faults[0]
