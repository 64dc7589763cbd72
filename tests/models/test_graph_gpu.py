"""The laws of `test_graph` with CUDA graphs on a GPU.

Kernels that add in any order make two trainings differ in the last bits of float32, which the first steps of Adam
amplify: it divides gradients by their size. Tolerances are a thousandth of that, absolute ones of a step of `RATE`.
"""

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from loops import RATE, SIZES, Loop, assert_same, halving, make_batches
from networks import NETWORKS
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau

from src.data import batches
from src.models.graph import WARM_UP, CudaGraphs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec", "ignore:Checkpoint directory"),
]
ROUNDING = {"rtol": 1e-3, "atol": 1e-3 * RATE}


@pytest.fixture(autouse=True)
def same_kernels():
    """One kernel for a convolution, whatever the memory is like; gradients in full float32."""
    flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with flags:
        yield


def on_cpu(tensors):
    return {name: tensor.cpu() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"make_scheduler": halving},
        {"make_scheduler": partial(ReduceLROnPlateau, patience=0, factor=0.5), "clip": 0.05},
        {"make_optimizer": partial(AdamW, amsgrad=True, weight_decay=0.1), "dropout": 0.5, "clip": 0.05},
        {"make_optimizer": partial(Adam, maximize=True), "dropout": 0.2},
    ],
    ids=str,
)
def test_replayed_steps_train_what_steps_made_one_by_one_train(settings):
    some_batches, n_steps = make_batches("cuda"), 4 * len(SIZES)
    found, expected = (
        Loop(maker, device="cuda", **settings).run(n_steps, some_batches) for maker in (CudaGraphs, None)
    )
    assert len(found.graphs.captured) == len(set(SIZES))
    assert_same(on_cpu(found.tensors), on_cpu(expected.tensors), **ROUNDING)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_replayed(name):
    settings = {"net": name, "dropout": 0.3, "conditioning": "film", "make_scheduler": halving, "device": "cuda"}
    found, expected = (Loop(maker, **settings).run(8, make_batches("cuda")[:1]) for maker in (CudaGraphs, None))
    assert len(found.graphs.captured) == 1
    assert_same(on_cpu(found.tensors), on_cpu(expected.tensors), **ROUNDING)


def test_recording_leaves_no_trace():
    some_batches, loop = make_batches("cuda"), Loop(CudaGraphs, device="cuda", dropout=0.5)
    loop.run(WARM_UP, some_batches[:1])
    before, random_state = {key: tensor.clone() for key, tensor in loop.tensors.items()}, torch.cuda.get_rng_state()
    loop.graphs._find(some_batches[0])
    assert len(loop.graphs.captured) == 1
    assert_same(loop.tensors, before)
    assert torch.equal(torch.cuda.get_rng_state(), random_state)


@pytest.mark.parametrize("then", ["cuda", "cpu"])
@pytest.mark.parametrize("first", ["cuda", "cpu"])
def test_an_optimizer_goes_on_on_any_device(first, then):
    makers = {"cuda": CudaGraphs, "cpu": None}
    started = Loop(makers[first], device=first, make_scheduler=halving).run(8, make_batches(first))
    ended = Loop(makers[then], device=then, make_scheduler=halving)
    ended.net.load_state_dict(started.net.state_dict())
    ended.optimizer.load_state_dict(started.optimizer.state_dict())
    ended.scheduler.load_state_dict(started.scheduler.state_dict())
    ended.n_steps = 8
    ended.run(WARM_UP + 2, make_batches(then)[:1])
    expected = Loop(None, make_scheduler=halving).run(8, make_batches()).run(WARM_UP + 2, make_batches()[:1])
    # Kernels of two devices differ by more than two runs on one. Without its state, Adam would differ by steps.
    assert_same(on_cpu(ended.net.state_dict()), expected.net.state_dict(), rtol=1e-2, atol=RATE / 4)


def test_a_step_that_waits_for_the_device_is_not_recorded(caplog):
    caplog.set_level("INFO")
    loop = Loop(CudaGraphs, device="cuda")
    learn = loop.learn
    loop.learn = lambda batch: learn(batch | {"aux": batch["aux"] * float(batch["aux"].sum() > -1000)})
    loop.run(WARM_UP + 2, make_batches("cuda")[:1])
    assert not loop.graphs.captured
    (message,) = caplog.messages
    assert "after all: the CPU waits for the GPU at" in message
    assert "test_graph_gpu.py" in message


# ----- within a training


@pytest.fixture
def train(prepare, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK_SAMPLES", 32)  # an epoch has a chunk of four batches of 8, and two of 7

    def make(graph, *overrides, callbacks=(), **settings):
        start = (f"model.optimizer.lr={RATE}", "trainer.accelerator=gpu", f"model.graph={graph}")
        datamodule, module, trainer = prepare(*start, *overrides, callbacks=callbacks)
        trainer.fit(module, datamodule=datamodule, weights_only=True, **settings)
        return module, trainer

    return make


def everything(module, trainer):
    state = trainer.optimizers[0].state_dict()["state"]
    of_optimizer = {f"{number} {key}": tensor for number, of in state.items() for key, tensor in of.items()}
    losses = {name: figure for name, figure in trainer.callback_metrics.items() if name.endswith("/loss")}
    return on_cpu(module.net.state_dict() | of_optimizer | losses)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.net.dropout=0.5", "+trainer.gradient_clip_val=0.05"],
        ["scheduler=cosine", "loss=gaussian"],
        ["scheduler=plateau", "model.scheduler.patience=0", "++model.head_weights=learnt", "loss=ordinal"],
        ["+trainer.precision=bf16-mixed", "model=vit_micro", "loss=soft_target"],
        ["data.in_memory=false"],
    ],
    ids=str,
)
def test_a_training_with_replayed_steps_is_the_same_training(train, overrides):
    found, expected = train("true", *overrides), train("false", *overrides)
    assert found[1].global_step == expected[1].global_step == 18
    half = {"rtol": 1e-1, "atol": RATE} if "bf16" in str(overrides) else ROUNDING
    assert_same(everything(*found), everything(*expected), **half)


def test_a_training_on_a_gpu_may_be_resumed_on_any_device(train, tmp_path):
    settings = ["++trainer.enable_checkpointing=true"]
    _, trainer = train("true", *settings, "trainer.max_epochs=1")
    trainer.save_checkpoint(tmp_path / "kept.ckpt")
    expected, _ = train("true", *settings)
    of_devices = {"gpu": ("true", ROUNDING), "cpu": ("auto", {"rtol": 1e-2, "atol": RATE / 4})}
    for device, (graph, tolerance) in of_devices.items():
        found, trainer = train(graph, *settings, f"trainer.accelerator={device}", ckpt_path=tmp_path / "kept.ckpt")
        assert trainer.global_step == 18
        assert_same(on_cpu(found.net.state_dict()), on_cpu(expected.net.state_dict()), **tolerance)


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_no_chunk_waits_for_the_device(train, in_memory):
    """After the first two epochs, which record: neither batches nor steps nor their counting."""

    class Strict(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch >= 3:
                torch.cuda.set_sync_debug_mode("error")

        def on_train_epoch_end(self, trainer, pl_module):
            torch.cuda.set_sync_debug_mode("default")

        def on_validation_start(self, trainer, pl_module):
            torch.cuda.set_sync_debug_mode("default")

    try:
        train("true", f"data.in_memory={in_memory}", "trainer.max_epochs=5", callbacks=[Strict()])
    finally:
        torch.cuda.set_sync_debug_mode("default")
