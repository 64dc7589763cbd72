import contextlib
import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import src.eval
import src.tasks.evaluate
import src.tasks.train
import src.train
from src.checkpoints.run import load_run, restore_datamodule
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import CheckpointError, ConfigError, VIMHError
from src.models.vimh_module import VIMHLitModule
from src.programs.program import INTERRUPTED
from src.tasks.evaluate import evaluate
from src.vimh.format import INFO_NAME

ROOT = Path(__file__).parents[2]
HEADS = {"note_velocity": "MIDI", "log10_decay_time": "log10 s"}
OF_HEADS = ("acc", "acc1", "mae", "steps", "nmae")
FIGURES = {"loss", "acc", "acc1", "steps", "nmae"} | {f"{head}_{figure}" for head in HEADS for figure in OF_HEADS}
COVERAGE = {"coverage"} | {f"{head}_coverage" for head in HEADS}
OF_TENTHS = {f"{of}{key}" for of in ("", *(f"{head}_" for head in HEADS)) for key in ("coverage_worst", "width")}
TEST_FIGURES = FIGURES | COVERAGE | OF_TENTHS | {"coverage_together", "coverage_joint"}
N_BATCHES = 3  # of an epoch: 46 training samples, 16 to the batch


def runs(tmp_path, task="train"):
    return sorted((tmp_path / "logs" / task / "default").iterdir())


def checkpoint(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def test_training_returns_every_metric(trained_run):
    expected = {f"{stage}/{figure}" for stage in ("train", "val", "test") for figure in FIGURES} | {"val/acc_best"}
    expected |= {f"val/{figure}" for figure in COVERAGE} | {f"test/{figure}" for figure in TEST_FIGURES}
    rates = {name for name in trained_run.metrics if name.startswith("lr-")}
    assert set(trained_run.metrics) - rates == expected
    assert all(math.isfinite(figure) for figure in trained_run.metrics.values())


def test_a_run_directory_holds_what_the_run_was(trained_run):
    names = {path.name for path in (trained_run.run_dir / "checkpoints").iterdir()}
    assert "last.ckpt" in names
    assert len([name for name in names if name.startswith("epoch_")]) == 1
    assert list((trained_run.run_dir / "tensorboard").glob("events.out.tfevents.*"))
    with (trained_run.run_dir / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["val/loss"]) for row in rows if row["val/loss"]]
    assert len(losses) == 2
    assert losses[-1] == pytest.approx(trained_run.metrics["val/loss"])


def test_results_are_those_of_the_best_checkpoint_on_the_test_set(trained_run):
    results = json.loads((trained_run.run_dir / "results.json").read_text())
    assert Path(results["checkpoint"]).parent == trained_run.run_dir / "checkpoints"
    assert Path(results["checkpoint"]).name == "epoch_000.ckpt"  # the fixture likes the first epoch best
    assert results["metrics"] == {f"test/{figure}": trained_run.metrics[f"test/{figure}"] for figure in TEST_FIGURES}
    assert {name: row["units"] for name, row in results["heads"].items()} == HEADS
    for name, row in results["heads"].items():
        for figure in (*OF_HEADS, "coverage"):
            assert row[figure] == trained_run.metrics[f"test/{name}_{figure}"]
    datamodule = VIMHDataModule(trained_run.cfg.data.data_dir, seed=trained_run.cfg.data.seed)
    heads = results["heads"].items()
    assert {name: row["majority"] for name, row in heads} == datamodule.majority_share()
    assert {name: row["mean_mae"] for name, row in heads} == datamodule.mean_error()
    steps = {spec.name: spec.step for spec in datamodule.info.parameters}
    assert {name: row["mean_steps"] * steps[name] for name, row in heads} == pytest.approx(datamodule.mean_error())


def test_results_hold_the_figures_of_the_best_checkpoint_on_the_validation_set(trained_run):
    validation = json.loads((trained_run.run_dir / "results.json").read_text())["validation"]
    with (trained_run.run_dir / "csv" / "version_0" / "metrics.csv").open() as file:
        first = next(row for row in csv.DictReader(file) if row["val/loss"])  # the fixture likes the first epoch best
    assert {f"val/{name}" for name in validation} == {f"val/{figure}" for figure in (*FIGURES, *COVERAGE)}
    for name in FIGURES:
        assert validation[name] == pytest.approx(float(first[f"val/{name}"]), rel=1e-5)


@pytest.fixture
def evaluated(compose_run, tmp_path):
    """Evaluates a checkpoint as `eval.py` does."""

    def run(ckpt_path, *overrides):
        return evaluate(compose_run(tmp_path, f"ckpt_path={ckpt_path}", *overrides, name="eval"))

    return run


def test_evaluation_reproduces_the_test_metrics_exactly(trained_run, evaluated, tmp_path):
    best = json.loads((trained_run.run_dir / "results.json").read_text())["checkpoint"]
    assert evaluated(best) == {f"test/{figure}": trained_run.metrics[f"test/{figure}"] for figure in TEST_FIGURES}
    found, trained = (json.loads((at / "results.json").read_text()) for at in (tmp_path, trained_run.run_dir))
    assert found["heads"] == trained["heads"]
    assert found["metrics"] == trained["metrics"]


def test_evaluation_on_the_validation_samples_reproduces_the_last_epoch(trained_run, evaluated):
    metrics = evaluated(trained_run.run_dir / "checkpoints" / "last.ckpt", "split=val")
    covered = {metrics.pop(f"val/{figure}") for figure in COVERAGE}  # with the scale found on others after the training
    assert metrics == {f"val/{figure}": trained_run.metrics[f"val/{figure}"] for figure in FIGURES}
    assert all(share >= 0.5 for share in covered)


def test_evaluation_on_the_training_samples_is_of_each_of_them_once(trained_run, evaluated, tmp_path):
    ckpt_path = trained_run.run_dir / "checkpoints" / "last.ckpt"
    metrics = evaluated(ckpt_path, "split=train")
    assert metrics.keys() == {f"train/{figure}" for figure in TEST_FIGURES}
    run = load_run(ckpt_path)
    samples = restore_datamodule(run).train_set[:]
    with torch.no_grad():
        logits = run.module(samples["image"], samples["aux"])
        assert metrics["train/loss"] == pytest.approx(run.module.compute_loss(logits, samples).item(), rel=1e-5)
    for head, name in enumerate(run.info.parameter_names):
        right = logits[name].argmax(1) == samples["index"][:, head]
        assert metrics[f"train/{name}_acc"] == pytest.approx(right.double().mean().item())
    heads = json.loads((tmp_path / "results.json").read_text())["heads"]
    assert heads["note_velocity"]["majority"] == samples["index"][:, 0].bincount().max() / len(samples["index"])


def test_best_and_last_checkpoints_are_calibrated_on_sounds_of_their_own(trained_run):
    state = {path.name: torch.load(path, weights_only=True) for path in trained_run.run_dir.glob("checkpoints/*.ckpt")}
    assert len(state) == 2
    for name, saved in state.items():
        weights = saved["state_dict"]
        assert weights["joint_scale"] > 0, name
        assert (weights["spread.bias"] != 0).all(), name  # one factor for all sounds: there are few
        assert (weights["spread.weight"] == 0).all(), name


def test_evaluation_takes_another_place_and_batch_size(trained_run, evaluated, saw_dir, tmp_path):
    shutil.copytree(saw_dir, tmp_path / saw_dir.name)
    best = json.loads((trained_run.run_dir / "results.json").read_text())["checkpoint"]
    metrics = evaluated(best, f"data_dir={tmp_path / saw_dir.name}", "batch_size=5")
    assert metrics == pytest.approx({name: trained_run.metrics[name] for name in metrics}, rel=1e-4)


def test_a_network_is_not_evaluated_on_other_heads(trained_run, evaluated, saw_dir, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(saw_dir, other)
    text = (other / INFO_NAME).read_text()
    (other / INFO_NAME).write_text(text.replace("log10_decay_time", "cutoff"))
    with pytest.raises(CheckpointError, match=r"(?s)other.*cutoff: the dataset has it.*log10_decay_time: the network"):
        evaluated(trained_run.run_dir / "checkpoints" / "last.ckpt", f"data_dir={other}")


@pytest.mark.parametrize(
    ("overrides", "error", "facts"),
    [
        (["split=all"], ConfigError, r"split is 'all'.*train, val, test"),
        (["data_dir=/no/such/place"], VIMHError, r"/no/such/place"),
        (["batch_size=0"], CheckpointError, r"batch_size is 0"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_evaluation_refuses_what_it_cannot_do(trained_run, evaluated, overrides, error, facts):
    with pytest.raises(error, match=facts):
        evaluated(trained_run.run_dir / "checkpoints" / "last.ckpt", *overrides)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # this is what is wanted
def test_an_interrupted_run_goes_on_in_its_directory(program, arguments, tmp_path, monkeypatch):
    def interrupted(module, optimizer):
        if module.global_step == 2 * N_BATCHES + 1:
            raise KeyboardInterrupt

    first_is_best = "callbacks.model_checkpoint.monitor=epoch"
    arguments += ["trainer.max_epochs=4", "model.optimizer.lr=0.01", first_is_best]
    monkeypatch.setattr(VIMHLitModule, "on_before_optimizer_step", interrupted)
    code, out, err = program(src.train, *arguments)
    assert code == INTERRUPTED
    assert "ckpt_path=last" in out + err
    assert "Traceback" not in out + err
    (run,) = runs(tmp_path)
    stopped = checkpoint(run)
    assert (stopped["epoch"], stopped["global_step"]) == (1, 2 * N_BATCHES)

    def recorded(module, optimizer):
        epochs.append(module.current_epoch)

    epochs = []
    monkeypatch.setattr(VIMHLitModule, "on_before_optimizer_step", recorded)
    code, out, err = program(src.train, *arguments, "ckpt_path=last")
    assert code == 0, err
    assert runs(tmp_path) == [run]
    assert epochs == [2] * N_BATCHES + [3] * N_BATCHES
    finished = checkpoint(run)
    assert (finished["epoch"], finished["global_step"]) == (3, 4 * N_BATCHES)
    (optimizer,), (scheduler,) = finished["optimizer_states"], finished["lr_schedulers"]
    halfway = 0.005 * (1 + math.cos(math.pi * (2 * N_BATCHES - 1) / (4 * N_BATCHES - 1)))  # after a warm-up of one step
    assert {state["step"].item() for state in optimizer["state"].values()} == {4 * N_BATCHES}
    assert scheduler["last_epoch"] == 4 * N_BATCHES
    assert optimizer["param_groups"][0]["lr"] == pytest.approx(0.0, abs=1e-12)
    assert stopped["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(halfway)
    assert (stopped["state_dict"]["std_scale"] != 1).all()
    assert finished["state_dict"]["best_acc"] >= stopped["state_dict"]["best_acc"]
    assert {path.name for path in (run / "csv").iterdir()} == {"version_0", "version_1"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"epoch_000.ckpt", "last.ckpt"}
    assert json.loads((run / "results.json").read_text())["checkpoint"].endswith("epoch_000.ckpt")


def test_the_same_command_starts_again_after_an_interrupt(program, arguments, tmp_path, monkeypatch):
    def interrupted(module, batch, batch_idx):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(VIMHLitModule, "training_step", interrupted)
        code, out, err = program(src.train, *arguments)
    assert code == INTERRUPTED
    assert "Run the same command again" in out + err
    code, _, err = program(src.train, *arguments)
    assert code == 0, err
    first, second = runs(tmp_path)
    assert not (first / "results.json").exists()
    assert (second / "results.json").is_file()


def test_an_interrupt_that_python_forgets_ends_the_training_all_the_same(program, arguments, tmp_path, monkeypatch):
    steps = []

    def forgetful(module, optimizer):
        steps.append(module.global_step)
        if len(steps) == 2:
            with contextlib.suppress(KeyboardInterrupt):  # as in a destructor
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(VIMHLitModule, "on_before_optimizer_step", forgetful)
    listening = signal.getsignal(signal.SIGINT)
    code, out, err = program(src.train, *arguments)
    assert code == INTERRUPTED
    assert len(steps) == 2
    assert "Run the same command again" in out + err
    signal.signal(signal.SIGINT, listening)  # Lightning leaves it ignored: the program is at its end


def test_who_listened_to_interrupts_before_a_training_does_so_after_it(program, arguments):
    listening = signal.getsignal(signal.SIGINT)
    code, _, err = program(src.train, *arguments, "trainer.max_epochs=1")
    assert code == 0, err
    assert signal.getsignal(signal.SIGINT) == listening


def test_a_run_ends_with_a_table_and_the_way_to_its_files(program, arguments, tmp_path):
    code, out, err = program(src.train, *arguments)
    assert code == 0, err
    (run,) = runs(tmp_path)
    for name, row in json.loads((run / "results.json").read_text())["heads"].items():
        (line,) = [line for line in out.splitlines() if name in line]
        for figure in (f"{row['acc']:.3f}", f"{row['majority']:.3f}", f"{row['mae']:.4g} {row['units']}"):
            assert figure in line
    assert str(run / "results.json") in out
    assert str(run / "checkpoints") in out


@pytest.mark.parametrize(
    ("overrides", "facts"),
    [
        (["data.val_fraction=2"], ["data.val_fraction is 2"]),
        (["threads=0"], ["threads is 0", "auto"]),
        (["seed=-1"], ["seed is -1; it must be a whole number from 0"]),
        (["seed=abc"], ["seed is 'abc'"]),
        (["model.optimizer.lr=-1"], ["model.optimizer: Invalid learning rate: -1"]),
        (["model.optimizer.lr=abc"], ["model.optimizer.lr is 'abc'; it must be a number"]),
        (["+model.optimizer.momentum=1"], ["model.optimizer.momentum: AdamW takes no such setting"]),
        (["trainer.max_epochs=abc"], ["trainer.max_epochs is 'abc'; it must be a whole number"]),
        (["data.num_workers=-1"], ["data.num_workers is -1"]),
        (["data.batch_size=abc"], ["data.batch_size is 'abc'; it must be a whole number"]),
        (["data.aux=null"], ["data.aux is null; it must be a list"]),
        (["trainer=ddp_sim", "data.batch_size=33"], ["data.batch_size 33 cannot be shared evenly by 2 devices"]),
        (["+model.net.patch_size=8"], ["model.net.patch_size: SpectralCNN takes no such setting", "kernel_size"]),
        (["model.net.widths=8"], ["model.net.widths is 8; it must be a list"]),
        (["data.aux=[pitch]"], ["data.aux names pitch", "spec_min, spec_max"]),
        (["data.data_dir=/no/such/place", "data.make_dataset=null"], ["/no/such/place", "python generate_vimh.py"]),
        (["data.data_dir=/no/such/typo"], ["/no/such/typo: no dataset is there", "data.make_dataset.name=typo"]),
        (["data.make_dataset.overrides=['dataset.size=99']"], ["dataset.size: 64 there, 99 asked for"]),
        (["data.make_dataset.overrides=['dataset.size=0']"], ["dataset.size"]),
        (["data=vimh_512dss"], ["data/vimh_512dss", "vimh_16kdss"]),
        (["model=cnn_huge"], ["model/cnn_huge", "cnn_tiny"]),
        (["model.net.kernel_size=4"], ["net.kernel_size is 4"]),
        (["model.net.widths=[4,4,4,4,4,4,4]"], ["7 stages", "32 rows"]),
        (["model.net.width=3"], ["width"]),
        (["loss.sigma=3"], ["sigma"]),
        (["ckpt_path=last"], ["ckpt_path=last", "default"]),
        (["ckpt_path=/no/such/file.ckpt"], ["/no/such/file.ckpt"]),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_what_cannot_be_trained_is_one_clear_message(program, arguments, overrides, facts):
    code, out, err = program(src.train, *arguments, *overrides)
    assert code == 1
    assert "Traceback" not in out + err
    for fact in facts:
        assert fact in err


@pytest.mark.parametrize(
    ("override", "figures"),
    [("train=false", TEST_FIGURES - {"coverage_joint"}), ("trainer.max_epochs=0", TEST_FIGURES)],
    ids=["train=false", "trainer.max_epochs=0"],
)
def test_a_run_that_does_not_train_is_a_test(program, arguments, tmp_path, override, figures):
    code, out, err = program(src.train, *arguments, override)
    assert code == 0, err
    (run,) = runs(tmp_path)
    results = json.loads((run / "results.json").read_text())
    assert set(results["metrics"]) == {f"test/{figure}" for figure in figures}  # joint only what was calibrated
    assert results["epochs"] == 0
    assert all(name in out for name in HEADS)


def test_a_diverged_run_says_so_and_writes_json(program, arguments, tmp_path):
    code, out, err = program(src.train, *arguments, "model.optimizer.lr=1e30", "callbacks.model_checkpoint=null")
    assert code == 1
    assert "Traceback" not in out + err
    assert "the training diverged" in err
    (run,) = runs(tmp_path)
    text = (run / "results.json").read_text()
    assert json.loads(text)["metrics"]["test/loss"] is None
    assert "NaN" not in text


def test_damaged_records_are_one_clear_message_and_nothing_is_changed(program, arguments, saw_dir, tmp_path):
    data_dir = tmp_path / saw_dir.name
    shutil.copytree(saw_dir, data_dir)
    data = (data_dir / "train").read_bytes()
    (data_dir / "train").write_bytes(data[:-1])
    code, out, err = program(src.train, *arguments, f"data.data_dir={data_dir}")
    assert code == 1
    assert "Traceback" not in out + err
    assert f"{data_dir / 'train'}: has {len(data) - 1} bytes" in err
    assert (data_dir / "train").read_bytes() == data[:-1]


def test_a_checkpoint_of_another_network_is_not_gone_on_with(program, arguments, trained_run):
    ckpt_path = trained_run.run_dir / "checkpoints" / "last.ckpt"
    code, out, err = program(src.train, *arguments, f"ckpt_path={ckpt_path}", "model=cnn_tiny")
    assert code == 1
    assert "Traceback" not in out + err
    assert str(ckpt_path) in err


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_program_evaluates(program, trained_run, tmp_path, split):
    ckpt_path = trained_run.run_dir / "checkpoints" / "last.ckpt"
    places = [f"paths.log_dir={tmp_path}/logs", "trainer.accelerator=cpu", "+trainer.enable_progress_bar=false"]
    code, out, err = program(src.eval, f"ckpt_path={ckpt_path}", f"split={split}", *places)
    assert code == 0, err
    (run,) = runs(tmp_path, "eval")
    assert json.loads((run / "results.json").read_text())["metrics"][f"{split}/loss"] > 0
    assert all(name in out for name in HEADS)


def test_last_is_what_was_trained_last(program, trained_run, tmp_path):
    trained = tmp_path / "logs" / "train" / "cnn" / "2026-01-01_00-00-00"
    shutil.copytree(trained_run.run_dir / "checkpoints", trained / "checkpoints")
    places = [f"paths.log_dir={tmp_path}/logs", "trainer.accelerator=cpu", "+trainer.enable_progress_bar=false"]
    for experiment, overrides in (("default", []), ("cnn", ["experiment_name=cnn"])):
        code, _, err = program(src.eval, "ckpt_path=last", *overrides, *places)
        assert code == 0, err
        (run,) = (tmp_path / "logs" / "eval" / experiment).iterdir()
        results = json.loads((run / "results.json").read_text())
        assert results["checkpoint"] == str(trained / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize(
    ("overrides", "facts"),
    [
        ([], ["no run has a checkpoint", "make ex"]),
        (["run=best", "ckpt_path=last"], ["run=best and ckpt_path=last", "not both"]),
        (["ckpt_path=example"], ["ckpt_path=example: there is no such file", "make ex"]),
        (["ckpt_path=last"], ["ckpt_path=last: no run in", "make ex"]),
        (["ckpt_path=/no/such/file.ckpt"], ["/no/such/file.ckpt: there is no such file"]),
        ([f"ckpt_path={__file__}"], [f"{__file__}: is no", "checkpoint"]),
    ],
    ids=["nothing", "both", "a name", "no run", "no file", "no checkpoint"],
)
def test_what_cannot_be_evaluated_is_one_clear_message(program, tmp_path, overrides, facts):
    code, out, err = program(src.eval, *overrides, f"paths.log_dir={tmp_path}/logs")
    assert code == 1
    assert "Traceback" not in out + err
    for fact in facts:
        assert fact in err


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_state_from_which_the_run_goes_on(arguments, interrupted, tmp_path, signum):
    command = [sys.executable, str(ROOT / "src" / "train.py"), *arguments]
    interrupted(command, signum)
    (run,) = runs(tmp_path)
    epoch = checkpoint(run)["epoch"]

    again = [*command, "ckpt_path=last", f"trainer.max_epochs={epoch + 3}", "callbacks.early_stopping=null"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(again, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs(tmp_path) == [run]
    assert checkpoint(run)["epoch"] == epoch + 2
    assert all(name in done.stdout for name in HEADS)


KILLER = """
import os
import signal

from lightning.pytorch import Callback


class Killer(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (2, 1):
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_weights_of_one_that_was_left_alone(arguments, tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "src" / "train.py"), *arguments, "trainer.max_epochs=4", "logger=tensorboard"]

    def train(name, *overrides):
        call = [*command, f"experiment_name={name}", *overrides]
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        (run,) = (tmp_path / "logs" / "train" / name).iterdir()
        return done, checkpoint(run)

    alone, expected = train("alone")
    assert alone.returncode == 0, alone.stderr
    killed, stopped = train("killed", "+callbacks.killer._target_=killer.Killer")
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    assert stopped["global_step"] == 2 * N_BATCHES
    resumed, found = train("killed", "ckpt_path=last")
    assert resumed.returncode == 0, resumed.stderr
    assert (found["epoch"], found["global_step"]) == (expected["epoch"], expected["global_step"]) == (3, 4 * N_BATCHES)
    assert list(found["state_dict"]) == list(expected["state_dict"])
    for name, tensor in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], tensor), name
