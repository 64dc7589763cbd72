"""Checkpoints exist whole or not at all, and so does what they name, whatever stops the process that writes them."""

import itertools
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
import torch
from hydra import compose

from scripts.faults.file_operations import at, interrupt, operations, refuse_from
from src.checkpoints.atomic import AtomicCheckpoints
from src.hydra_versions import initialize_configs
from src.programs.run_dirs import register_resolvers
from src.tasks.train import instantiate_plugins, train

ROOT = Path(__file__).parents[2]
EPOCHS = 3


def save_epochs(directory, epochs=range(EPOCHS)):
    """Write what a training writes whose every epoch is the best."""
    checkpoints = AtomicCheckpoints()
    for epoch in epochs:
        best = directory / f"epoch_{epoch:03d}.ckpt"
        checkpoint = {"epoch": epoch, "best": best.name, "weights": torch.full((100,), float(epoch))}
        checkpoints.save_checkpoint(checkpoint, str(best))
        if epoch:
            checkpoints.remove_checkpoint(str(directory / f"epoch_{epoch - 1:03d}.ckpt"))
        checkpoints.save_checkpoint(checkpoint, str(directory / "last.ckpt"))


def check_whole(directory):
    """Every file is whole, and the best one that `last.ckpt` names is there. Returns the last epoch; None: none is."""
    found = {path.name: torch.load(path, weights_only=True) for path in directory.glob("*.ckpt")}
    for checkpoint in found.values():
        assert (checkpoint["weights"] == checkpoint["epoch"]).all()
    if "last.ckpt" not in found:
        return None
    assert found["last.ckpt"]["best"] in found
    return found["last.ckpt"]["epoch"]


def test_a_training_leaves_its_last_and_its_best_epoch(tmp_path):
    save_epochs(tmp_path)
    assert check_whole(tmp_path) == EPOCHS - 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"epoch_{EPOCHS - 1:03d}.ckpt", "last.ckpt"]


def test_an_interrupt_at_any_file_operation_leaves_whole_checkpoints(tmp_path):
    reached = []
    for k in itertools.count(1):
        directory = tmp_path / f"at_{k:03d}"
        directory.mkdir()
        with operations(directory, at(k, interrupt)) as done:
            try:
                save_epochs(directory)
            except KeyboardInterrupt:
                assert len(done) >= k
        reached.append(check_whole(directory))
        assert not list(directory.glob(".*")), done
        if len(done) < k:
            break
    assert k > 8 * EPOCHS  # it has been interrupted, in all places
    epochs = [-1 if epoch is None else epoch for epoch in reached]
    assert epochs == sorted(epochs)  # what was whole once stays
    assert set(epochs) == {-1, *range(EPOCHS)}


@pytest.mark.parametrize("k", [1, 3, 8, 12, 17, 21])
def test_a_full_disk_is_named_and_leaves_whole_checkpoints(tmp_path, k):
    with operations(tmp_path, refuse_from(k)), pytest.raises(OSError, match="No space left on device") as caught:
        save_epochs(tmp_path)
    assert Path(caught.value.filename).suffix == ".ckpt"
    check_whole(tmp_path)


def train_short(directory, data_dir, *overrides):
    """A short training, whose epochs are better from one to the next."""
    register_resolvers()
    places = [f"paths.{place}={directory}" for place in ("root_dir", "log_dir", "output_dir", "work_dir")]
    quiet = ["callbacks.rich_progress_bar=null", "+trainer.enable_progress_bar=false"]
    best = [
        "callbacks.model_checkpoint.monitor=epoch",
        "callbacks.model_checkpoint.mode=max",
        "callbacks.early_stopping=null",
    ]
    data = [f"data.data_dir={data_dir}", "data.make_dataset=null", "data.batch_size=16"]
    size = ["model=cnn_micro", f"trainer.max_epochs={EPOCHS}", "trainer.accelerator=cpu", "test=false", "logger=csv"]
    with initialize_configs(ROOT / "configs"):
        train(compose("train", [*places, *quiet, *best, *data, *size, *overrides]))


KILLS = """
    import os, sys
    from pathlib import Path
    from scripts.faults.file_operations import at, kill, operations
    {prepare}
    k = 0
    while True:
        k += 1
        directory = Path(sys.argv[1]) / f"at_{{k:03d}}"
        directory.mkdir()
        child = os.fork()  # with all imports, and nothing computed
        if not child:
            with operations(f"{{directory}}{part}", at(k, kill)):
                {save}
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
"""


def kill_everywhere(tmp_path, prepare, save, part=""):
    """Fork a process for every file operation, and kill it there; returns the directories in which they wrote."""
    code = textwrap.dedent(KILLS.format(prepare=prepare, save=save, part=part))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PROJECT_ROOT": str(ROOT)}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, env=environment, cwd=ROOT, timeout=900)
    return sorted(tmp_path.glob("at_*"))


@pytest.mark.slow
def test_a_kill_at_any_file_operation_leaves_whole_checkpoints(tmp_path):
    directories = kill_everywhere(tmp_path, "from test_atomic import save_epochs", "save_epochs(directory)")
    assert len(directories) > 8 * EPOCHS
    for directory in directories:
        reached = check_whole(directory)
        save_epochs(directory, range(-1 if reached is None else reached, EPOCHS))  # as the run that resumes
        assert not list(directory.glob(".*"))


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # this is what is wanted
@pytest.mark.slow
def test_a_training_that_is_killed_at_any_file_operation_of_a_checkpoint_resumes(saw_dir, tmp_path):
    save = f"train_short(directory, {str(saw_dir)!r})"
    directories = kill_everywhere(tmp_path, "from test_atomic import train_short", save, "/checkpoints/")
    assert len(directories) > 8 * EPOCHS
    for directory in directories:
        last = directory / "checkpoints" / "last.ckpt"
        train_short(directory, saw_dir, f"ckpt_path='{last}'" if last.is_file() else "ckpt_path=null")
        assert torch.load(last, weights_only=True)["epoch"] == EPOCHS - 1


def test_a_checkpoint_gets_its_name_on_its_own_file_system(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with operations(tmp_path) as done:
        AtomicCheckpoints().save_checkpoint({"epoch": 0}, tmp_path / "run" / "last.ckpt")
    assert not [path for _, path in done if "temporary" in path]
    assert [path for kind, path in done if kind == "rename"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for pid in (child.pid, os.getpid()):
        (tmp_path / f".{pid}-00000000.partial").touch()
    AtomicCheckpoints().save_checkpoint({"epoch": 0}, tmp_path / "last.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{os.getpid()}-00000000.partial", "last.ckpt"]


def test_what_no_last_checkpoint_names_is_removed_at_once(tmp_path):
    checkpoints = AtomicCheckpoints()
    checkpoints.save_checkpoint({"epoch": 0}, tmp_path / "epoch_000.ckpt")
    checkpoints.remove_checkpoint(tmp_path / "epoch_000.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_written_again_stays(tmp_path):
    checkpoints = AtomicCheckpoints()
    for name in ("last.ckpt", "best.ckpt"):
        checkpoints.save_checkpoint({"epoch": 0}, tmp_path / name)
    checkpoints.remove_checkpoint(tmp_path / "best.ckpt")
    for name in ("best.ckpt", "last.ckpt"):
        checkpoints.save_checkpoint({"epoch": 1}, tmp_path / name)
    assert (tmp_path / "best.ckpt").is_file()


def test_a_training_writes_so_unless_another_way_is_configured():
    (ours,) = instantiate_plugins(None)
    assert isinstance(ours, AtomicCheckpoints)
