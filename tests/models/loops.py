"""A training without Lightning, step by step or replayed, and what its tests share."""

import torch
from networks import inputs, network
from tape import Tapes
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from src.models.graph import StepGraphs
from src.models.losses import CrossEntropy
from src.param_tensors import ParamTensors
from src.params import ParamSpec

PARAMETERS = [
    ParamSpec("velocity", 0, 9, 1, kind="integer"),
    ParamSpec("decay", 0, 23, 1, active_if={"velocity": [1, 2, 3]}),
    ParamSpec("pitch", 0, 1, 1),
]
SIZES = (5, 5, 5, 5, 4, 4)  # samples of the batches of an epoch
RATE = 2.0**-7  # learning rates that float32 holds exactly: replayed steps read them as such


class Loop:
    """A plain loop over the same batches in every epoch, with replayed steps, or without: `maker` is None."""

    def __init__(self, maker, make_optimizer=AdamW, make_scheduler=None, net="cnn", clip=None, device="cpu", **changes):
        sizes = {spec.name: spec.n_classes for spec in PARAMETERS}
        self.net = network(net, head_sizes=sizes, **changes).to(device)
        self.heads, self.loss = ParamTensors(PARAMETERS).to(device), CrossEntropy()
        self.optimizer = make_optimizer(self.net.parameters(), lr=RATE)
        self.scheduler = make_scheduler(self.optimizer) if make_scheduler else None
        self.maker, self.clip = maker, clip
        self.n_steps, self.outcomes = 0, []
        self.n_replayed = []
        torch.manual_seed(2)

    def start(self):
        """What Lightning does between the state of a checkpoint and the first step."""
        if self.maker is None:  # replayed steps are fused, whatever is configured
            self.optimizer.param_groups[0]["fused"] = True
        self.graphs = StepGraphs(self.learn, self.clip_all, self.optimizer, self.maker()) if self.maker else None

    def learn(self, batch):
        self.optimizer.zero_grad()
        logits = self.net(batch["image"], batch["aux"])
        per_head = [logits[spec.name] for spec in PARAMETERS]
        loss = self.loss.per_head(per_head, batch["normalized"], batch["index"], self.heads).mean()
        loss.backward()
        return loss.detach(), [of_head.detach() for of_head in per_head]

    def clip_all(self):
        if self.clip:
            clip_grad_norm_(self.net.parameters(), self.clip)

    def step(self, batch):
        def closure():
            self.outcomes.append((self.graphs.learn if self.graphs else self.learn)(batch))
            self.gradients = [weight.grad.clone() for weight in self.net.parameters()]
            self.graphs.update() if self.graphs else self.clip_all()
            return self.outcomes[-1][0]

        self.optimizer.step(closure)
        if self.scheduler is not None:
            self.scheduler.step(*[self.outcomes[-1][0]] * isinstance(self.scheduler, ReduceLROnPlateau))

    def run(self, n_steps, batches):
        self.start()
        for number in range(n_steps):
            self.step(batches[(self.n_steps + number) % len(batches)])
        self.n_steps += n_steps
        self.n_replayed = [tape.n_replays for tape in Tapes.made[1::2]] if self.maker else []
        return self

    @property
    def tensors(self):
        state = self.optimizer.state_dict()["state"]
        of_optimizer = {f"{number} {key}": tensor for number, of in state.items() for key, tensor in of.items()}
        outcomes = {f"loss {number}": loss for number, (loss, _) in enumerate(self.outcomes)}
        outcomes |= {f"logits {number}": torch.cat(list(logits), 1) for number, (_, logits) in enumerate(self.outcomes)}
        return self.net.state_dict() | of_optimizer | outcomes


def make_batches(device="cpu"):
    generator = torch.Generator().manual_seed(0)
    numbers = [torch.randint(0, spec.n_classes, (sum(SIZES),), generator=generator) for spec in PARAMETERS]
    index = torch.stack(numbers, dim=1)
    image, aux = inputs(n=sum(SIZES))
    whole = {"image": image, "aux": aux, "index": index, "normalized": index / torch.tensor([9.0, 23.0, 1.0])}
    parts = {key: tensor.to(device).split(SIZES) for key, tensor in whole.items()}
    return [{key: part[number] for key, part in parts.items()} for number in range(len(SIZES))]


def halving(optimizer):
    """A learning rate that changes at every step, and stays exact."""
    return LambdaLR(optimizer, lambda step: 0.5 ** (step % 5))


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        if tolerance:
            torch.testing.assert_close(
                tensor, expected[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}"
            )
        else:
            assert torch.equal(tensor, expected[name]), name
