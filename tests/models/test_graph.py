"""Replayed steps train as steps made one by one do. A tape stands for CUDA graphs on the CPU (see `tape`)."""

import logging
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from loops import PARAMETERS, RATE, SIZES, Loop, assert_same, halving, make_batches
from networks import CONDITIONING, NETWORKS, inputs, network
from tape import OnlyCapturable, Tape, Tapes
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from src.callbacks.model_checkpoint import ModelCheckpoint
from src.data import batches
from src.errors import ConfigError
from src.models.graph import MOST_SHAPES, WARM_UP, StepGraphs, TrainingSetup, is_replayed, obstacle
from src.models.losses import (
    CrossEntropy,
    Gaussian,
    HeadWeights,
    Ordinal,
    Regression,
    SoftTarget,
    WeightedCrossEntropy,
)
from src.param_tensors import ParamTensors
from src.params import ParamSpec

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec", "ignore:Checkpoint directory")

FUSED = "+model.optimizer.fused=true"  # as replayed steps are
N_STEPS = 12  # of two epochs


@pytest.fixture(scope="module")
def some_batches():
    return make_batches()


def test_a_tape_reads_memory_anew_and_freezes_what_python_decides():
    x, factor = torch.ones(3), [2.0]
    tape = Tape(lambda: [x * factor[0], x.add_(1.0)])
    assert torch.equal(x, torch.ones(3))
    x.fill_(3.0)
    factor[0] = 5.0
    assert tape.replay()[0].tolist() == [6.0] * 3
    assert x.tolist() == [4.0] * 3


# ----- replayed steps are the same steps


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"make_scheduler": halving},
        {"make_scheduler": partial(ReduceLROnPlateau, patience=0, factor=0.5), "clip": 0.05},
        {"make_optimizer": partial(AdamW, amsgrad=True, weight_decay=0.1), "dropout": 0.5, "clip": 0.05},
        {"make_optimizer": partial(Adam, maximize=True), "net": "vit", "conditioning": "film", "dropout": 0.2},
        {"net": "wave_cnn_patches", "make_scheduler": halving, "dropout": 0.5},
    ],
    ids=["adamw", "halved rates", "plateau and clipping", "amsgrad and dropout", "maximize and film", "patches"],
)
def test_replayed_steps_train_what_steps_made_one_by_one_train(some_batches, settings):
    n_steps = 3 * len(SIZES)
    expected = Loop(None, **settings).run(n_steps, some_batches)
    found = Loop(Tapes, **settings).run(n_steps, some_batches)
    assert found.n_replayed == [SIZES.count(size) * 3 - WARM_UP for size in (5, 4)]
    assert_same(found.tensors, expected.tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_replayed(some_batches, name):
    found, expected = (
        Loop(maker, net=name, dropout=0.3, make_scheduler=halving).run(6, some_batches[:1]) for maker in (Tapes, None)
    )
    assert found.n_replayed == [6 - WARM_UP]
    assert_same(found.tensors, expected.tensors)


def test_gradients_are_there_between_the_two_parts_of_a_step(some_batches):
    found, expected = Loop(Tapes, clip=0.01), Loop(None, clip=0.01)
    for loop in (found, expected):
        loop.start()
    for number in range(12):
        for loop in (found, expected):
            loop.step(some_batches[number % 6])
        assert all(map(torch.equal, found.gradients, expected.gradients))


def test_recording_leaves_no_trace(some_batches):
    """Every batch counts once: the first ones train, and no number is drawn for a recording."""
    loop = Loop(Tapes, dropout=0.5)
    loop.run(WARM_UP, some_batches[:1])
    before, random_state = {key: tensor.clone() for key, tensor in loop.tensors.items()}, torch.get_rng_state()
    loop.graphs._find(some_batches[0])
    assert len(Tapes.made) == 2
    assert_same(loop.tensors, before)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_step_is_made_one_by_one_where_more_than_the_learning_rate_changes(some_batches):
    """OneCycleLR moves beta1 at every step."""
    one_cycle = partial(OneCycleLR, max_lr=RATE, total_steps=100)
    found, expected = (Loop(maker, make_scheduler=one_cycle).run(8, some_batches[:1]) for maker in (Tapes, None))
    assert found.n_replayed == [1]  # with the momentum that it was recorded with
    assert_same(found.tensors, expected.tensors, rtol=1e-5, atol=1e-7)  # rates of this schedule are not exact


def test_only_the_first_shapes_are_recorded(some_batches):
    sizes = [5, 4, 3] * 5
    batches_of = [{key: part[:size] for key, part in some_batches[0].items()} for size in sizes]
    found, expected = (Loop(maker).run(len(sizes), batches_of) for maker in (Tapes, None))
    assert found.n_replayed == [5 - WARM_UP] * MOST_SHAPES
    assert_same(found.tensors, expected.tensors)


@pytest.mark.parametrize("stop_at", [2, 5, 13])
@pytest.mark.parametrize(("first", "then"), [(Tapes, Tapes), (Tapes, None), (None, Tapes)])
def test_an_optimizer_goes_on_with_the_state_of_another(some_batches, first, then, stop_at):
    """Its state dict is that of an optimizer which is not fused and counts steps on the CPU, as ever."""
    started = Loop(first, make_scheduler=halving).run(stop_at, some_batches)
    state = started.optimizer.state_dict()
    if first:
        assert state["param_groups"][0]["fused"] is None
        assert not state["param_groups"][0]["capturable"]
        assert isinstance(state["param_groups"][0]["lr"], float)
    ended = Loop(then, make_scheduler=halving)
    ended.net.load_state_dict(started.net.state_dict())
    ended.optimizer.load_state_dict(state)
    ended.scheduler.load_state_dict(started.scheduler.state_dict())
    ended.n_steps = stop_at
    ended.run(18 - stop_at, some_batches)
    expected = Loop(None, make_scheduler=halving).run(18, some_batches)
    expected.outcomes, ended.outcomes = [], []
    assert_same(ended.tensors, expected.tensors)


def test_replayed_steps_are_those_of_adamw_as_it_is_configured(some_batches):
    """`fused` is another order of the same arithmetic, and learning rates are rounded to float32."""
    cosine = partial(LambdaLR, lr_lambda=lambda step: 0.3 + 0.7 * (step % 7) / 7)
    found, expected = Loop(Tapes, make_scheduler=cosine), Loop(None, make_scheduler=cosine)
    expected.start = lambda: setattr(expected, "graphs", None)
    found.run(18, some_batches), expected.run(18, some_batches)
    assert_same(found.tensors, expected.tensors, rtol=1e-4, atol=1e-5)


# ----- within a training


@pytest.fixture
def train(prepare, monkeypatch):
    """Trains two epochs with replayed steps, or without; returns module and trainer."""
    monkeypatch.setattr(batches, "CHUNK_SAMPLES", 32)  # an epoch has a chunk of four batches of 8, and two of 7

    def make(maker, *overrides, callbacks=(), **settings):
        start = (f"model.optimizer.lr={RATE}", "trainer.max_epochs=2")
        datamodule, module, trainer = prepare(*start, *overrides, callbacks=callbacks)
        if maker is not None:
            module.graph_maker = maker
        trainer.fit(module, datamodule=datamodule, weights_only=True, **settings)
        return module, trainer

    return make


class Gradients(Callback):
    """Keeps those of every step, and its number."""

    def __init__(self):
        self.steps, self.seen = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append(trainer.global_step)
        self.seen.append([weight.grad.clone() for weight in pl_module.parameters()])


def everything(module, trainer):
    """Weights, statistics, the optimizer's state, and figures."""
    state = trainer.optimizers[0].state_dict()["state"]
    of_optimizer = {f"{number} {key}": tensor for number, of in state.items() for key, tensor in of.items()}
    return module.state_dict() | of_optimizer | dict(trainer.callback_metrics)


def test_a_training_with_replayed_steps_is_the_same_training(train, tmp_path):
    overrides = ["model.net.dropout=0.5", "+trainer.gradient_clip_val=0.05", "scheduler=plateau"]
    overrides += ["model.scheduler.patience=0", "+model.scheduler.threshold=0.9"]  # halves after each epoch
    notes = Gradients(), Gradients()
    expected = train(None, *overrides, FUSED, callbacks=[notes[0]])
    found = train(Tapes, *overrides, callbacks=[notes[1]])
    assert [tape.n_replays for tape in Tapes.made[1::2]] == [8 - WARM_UP, 4 - WARM_UP]
    assert found[1].global_step == N_STEPS
    assert notes[0].steps == notes[1].steps == list(range(N_STEPS))
    for gradients, others in zip(notes[0].seen, notes[1].seen, strict=True):
        assert all(map(torch.equal, gradients, others))
    assert_same(everything(*found), everything(*expected))
    assert [trainer.optimizers[0].param_groups[0]["lr"] for _, trainer in (found, expected)] == [RATE / 2] * 2
    assert found[0].step_graphs is None  # its memory is free

    for _, trainer in (found, expected):
        trainer.save_checkpoint(tmp_path / f"{trainer is found[1]}.ckpt")
    one, other = (torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in (True, False))
    assert one["lr_schedulers"] == other["lr_schedulers"]
    (one,), (other,) = one["optimizer_states"], other["optimizer_states"]
    assert one["param_groups"] == [group | {"fused": None} for group in other["param_groups"]]
    assert [state["step"].dtype for state in one["state"].values()] == [torch.float32] * len(other["state"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["++model.head_weights=learnt", "model=vit_micro", "+trainer.precision=bf16-mixed", "scheduler=cosine"],
        ["+trainer.gradient_clip_val=0.01", "+trainer.gradient_clip_algorithm=value", "loss=gaussian"],
        ["+trainer.limit_train_batches=5", "+trainer.precision=bf16-true", "loss=ordinal"],
        ["augment=both", "loss=soft_target"],
    ],
    ids=str,
)
def test_other_trainings_are_the_same_as_well(train, overrides):
    expected, found = train(None, *overrides, FUSED), train(Tapes, *overrides)
    assert sum(tape.n_replays for tape in Tapes.made[1::2]) >= 8 - WARM_UP
    exact = {} if "scheduler=cosine" not in overrides else {"rtol": 1e-3, "atol": 1e-5}
    assert_same(everything(*found), everything(*expected), **exact)


@pytest.mark.parametrize("stop_at", [5, pytest.param(9, marks=pytest.mark.slow)])
def test_a_training_with_replayed_steps_may_be_resumed(train, tmp_path, stop_at):
    def every():
        return ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=stop_at, save_top_k=-1)

    overrides = ["++trainer.enable_checkpointing=true"]
    expected = train(Tapes, *overrides, callbacks=[every()])
    path = tmp_path / "kept" / f"step={stop_at}.ckpt"
    found = train(Tapes, *overrides, callbacks=[every()], ckpt_path=path)
    assert found[1].global_step == N_STEPS
    assert_same(found[0].state_dict(), expected[0].state_dict())


# ----- which steps are replayed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"device": "cpu"}, "the device is cpu"),
        ({"device": "mps"}, "the device is mps"),
        ({"strategy": "DDPStrategy"}, "DDPStrategy exchanges gradients"),
        ({"strategy": "DDPStrategy", "rank": 1}, "DDPStrategy exchanges gradients"),
        ({"optimizer": "LBFGS", "keeps_state_on_device": False}, "LBFGS is not Adam or AdamW"),
        ({"accumulates": 4}, "4 batches make a step (trainer.accumulate_grad_batches)"),
        ({"scales": True}, "gradients are scaled for half precision"),
        ({"compiles": True}, "the network is compiled (model.compile)"),
        ({"detects_anomalies": True}, "trainer.detect_anomaly"),
        ({"within_backward": ("Watch", "Other")}, "Watch, Other must be called within every backward pass"),
    ],
    ids=str,
)
def test_graphs_are_refused_for_one_reason(changes, reason, caplog):
    caplog.set_level(logging.DEBUG)
    setup = TrainingSetup(**{"device": "cuda"} | changes)
    found = obstacle(setup)
    assert (found is None) == (reason is None)
    assert is_replayed("auto", setup) == (reason is None)
    assert not is_replayed(False, setup)
    first, second = caplog.messages
    assert second == "Training steps are not replayed as CUDA graphs: model.graph is false."
    if reason is None:
        assert first == "Training steps are recorded as CUDA graphs and replayed (model.graph=auto)."
        assert is_replayed(True, setup)
    else:
        assert reason in found
        assert first == f"Training steps are not replayed as CUDA graphs: {found}."
        with pytest.raises(ConfigError, match=r"model\.graph is true, but .*Take model\.graph=auto"):
            is_replayed(True, setup)
    is_quiet = setup.device != "cuda" or setup.rank > 0
    assert caplog.records[0].levelno == (logging.DEBUG if is_quiet else logging.INFO)


class Watch(Callback):
    def on_after_backward(self, trainer, pl_module):
        pass


@pytest.mark.filterwarnings("ignore:.*Anomaly Detection")
@pytest.mark.parametrize(
    ("overrides", "callbacks", "reason"),
    [
        (["+trainer.gradient_clip_val=1", "model.optimizer._target_=torch.optim.Adam"], [Gradients()], None),
        (["model.optimizer._target_=torch.optim.NAdam"], [], "NAdam is not Adam or AdamW"),
        (["+trainer.accumulate_grad_batches=2"], [], "2 batches make a step"),
        (["+trainer.detect_anomaly=true"], [], "every operation is checked"),
        ([], [Watch()], "Watch must be called"),
        (["model.graph=false"], [], None),
    ],
    ids=["clipping and adam", "nadam", "accumulation", "anomalies", "a callback", "not wanted"],
)
def test_a_training_knows_what_it_is(prepare, overrides, callbacks, reason):
    datamodule, module, trainer = prepare(*overrides, callbacks=callbacks)
    module.graph_maker, chosen = Tapes, []

    class Enough(Exception):
        pass

    class End(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            chosen.append(pl_module.step_graphs)
            raise Enough

    trainer.callbacks.append(End())
    if reason is None:
        with pytest.raises(Enough):
            trainer.fit(module, datamodule=datamodule)
        assert (chosen[0] is None) == (module.graph is False)
    else:
        module.graph = True
        with pytest.raises(ConfigError, match=f"model.graph is true, but {reason}"):
            trainer.fit(module, datamodule=datamodule)


def test_on_a_cpu_no_graph_is_wanted(prepare):
    datamodule, module, trainer = prepare("model.graph=true")
    with pytest.raises(ConfigError, match=r"model\.graph is true, but the device is cpu"):
        trainer.fit(module, datamodule=datamodule)
    with pytest.raises(ConfigError, match=r"model\.graph is 'perhaps'; choose one of auto, true, false"):
        prepare("model.graph=perhaps")


class Waiting(Tapes):
    """Steps in which the CPU waits for the device."""

    def warm_up(self, function):
        return function(), ["net.py:12"]


def test_a_step_that_waits_for_the_device_is_not_recorded(some_batches, caplog):
    caplog.set_level(logging.INFO)
    found, expected = Loop(Waiting).run(6, some_batches), Loop(None).run(6, some_batches)
    assert found.n_replayed == []
    assert caplog.messages == [
        "Training steps are not replayed as CUDA graphs after all: the CPU waits for the GPU at net.py:12."
    ]
    assert_same(found.tensors, expected.tensors)
    required = StepGraphs(found.learn, found.clip_all, found.optimizer, Waiting(), required=True)
    with pytest.raises(ConfigError, match=r"true, but the CPU waits for the GPU at net\.py:12"):
        required.learn(some_batches[0])


def test_what_cannot_be_recorded_ends_with_one_sentence(some_batches):
    loop = Loop(Tapes)
    learn = loop.learn

    def waiting(batch):
        return learn(batch | {"aux": batch["aux"] * float(batch["aux"].sum() > -1000)})

    loop.learn = waiting
    with pytest.raises(
        ConfigError, match=r"recorded as a CUDA graph: .*_local_scalar_dense.*\. Train with model.graph"
    ):
        loop.run(WARM_UP + 1, some_batches[:1])


# ----- what a graph can hold: every network with every loss, forwards and backwards

LOSSES = {
    "cross_entropy": CrossEntropy(label_smoothing=0.1),
    "soft_target": SoftTarget(),
    "weighted_cross_entropy": WeightedCrossEntropy(alpha=2.0),
    "ordinal": Ordinal(),
    "ordinal_l1": Ordinal("l1"),
    "ordinal_l2": Ordinal("l2"),
    "regression": Regression(),
    "gaussian": Gaussian(),
}


WAVE = ParamSpec("wave", 0, 2, 1, names=("saw", "square", "sine"))


def operators_of_a_step(device, loss, specs=PARAMETERS, weights="equal", name="cnn", **changes):
    """Names of the operators of forward, loss, backward and clipping; one that no graph holds is refused.

    `meta` has no numbers, so that whatever needs one fails, and whatever is not on the device shows. On the CPU it
    shows where numbers come from Python.
    """
    sizes = {spec.name: loss.head_size(spec) for spec in specs}
    net, heads = network(name, head_sizes=sizes, dropout=0.1, **changes).to(device), ParamTensors(specs).to(device)
    head_weights = HeadWeights(weights, list(sizes), loss).to(device)
    image, aux = (tensor.to(device) for tensor in inputs())
    index = torch.zeros(len(image), len(specs), dtype=torch.long, device=device)
    normalized = torch.zeros(len(image), len(specs), device=device)
    with OnlyCapturable(device) as operators:
        logits = net(image, aux)
        losses = loss.per_head([logits[spec.name] for spec in specs], normalized, index, heads)
        head_weights(losses, heads.present(index)).backward()
        clip_grad_norm_(net.parameters(), 1.0)
        clip_grad_value_(net.parameters(), 1.0)
    return operators.seen


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_captured(name, device):
    for conditioning in CONDITIONING:
        seen = operators_of_a_step(device, LOSSES["cross_entropy"], name=name, conditioning=conditioning)
        assert "aten::_log_softmax_backward_data" in seen


@pytest.mark.slow
@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_captured_with_every_loss(name, device):
    for loss in LOSSES.values():
        assert len(operators_of_a_step(device, loss, name=name)) > 20


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_captured_with_every_weighting(name, device):
    loss = LOSSES[name]
    for weights in ("equal", {"velocity": 2.0}, *(["learnt"] if loss.non_negative else [])):
        operators_of_a_step(device, loss, weights=weights, name="mlp_linear")
        if name not in ("regression", "gaussian"):  # which refuse categories
            operators_of_a_step(device, loss, [*PARAMETERS, WAVE], weights=weights, name="mlp_linear")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[x > 0],
        lambda x: x.sum().item(),
        lambda x: x.nonzero(),
        lambda x: torch.masked_select(x, x > 0),
        lambda x: torch.unique(x),
        lambda x: x.index_put((x > 0,), x.new_zeros(())),
        lambda x: float(x[0]) if x[0] > 0 else 0.0,
        lambda x: torch.repeat_interleave(x, x.long()),
        lambda x: torch.equal(x, x),
    ],
)
def test_what_cannot_be_captured_is_refused(function):
    with pytest.raises(RuntimeError, match="cannot be captured: the CPU needs a"), OnlyCapturable("cpu"):
        function(torch.rand(3))


@pytest.mark.parametrize("function", [lambda x: torch.tensor([1.0]), lambda x: x.new_tensor(1.0), lambda x: x[[0]]])
def test_numbers_from_python_are_refused(function):
    with pytest.raises(RuntimeError, match="cannot be captured: numbers are copied"), OnlyCapturable("cpu"):
        function(torch.rand(3))


@pytest.mark.parametrize("function", [lambda x: x + torch.ones(()), lambda x: x.cpu(), lambda x: torch.arange(3)])
def test_copies_between_devices_are_refused(function):
    with pytest.raises((RuntimeError, NotImplementedError)), OnlyCapturable("meta"):
        function(torch.rand(3, device="meta"))


def test_what_can_be_captured_is_not_refused():
    x, rows = torch.rand(3), torch.tensor([2, 0])
    with OnlyCapturable("cpu"):
        torch.where(x > 0.5, x, 0.0)
        x.masked_fill(x > 0.5, 0.0)
        x.index_select(0, rows)
        x[rows]
