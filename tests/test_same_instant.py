"""Programs that begin at the same instant: each run has its directory, and a missing dataset is made once."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[1]
SMALL = ("dataset.size=64", "representation.height=8", "representation.width=8", "dataset.duration=0.1")
QUICK = (
    *("model=cnn_micro", "trainer.max_epochs=1", "trainer.accelerator=cpu", "data.batch_size=16", "test=false"),
    *("callbacks=last_checkpoint", "logger=csv", "extras.print_config=false"),
    *("+trainer.enable_progress_bar=false", "+trainer.enable_model_summary=false"),
)

pytestmark = pytest.mark.slow


def start(*command, **environment):
    """A program of the project in a process of its own, whose output is read by `ended`."""
    plain = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**plain, **threads, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(processes):
    """Exit code and output of each."""
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


def all_succeed(processes):
    """Their outputs."""
    found = ended(processes)
    assert [code for code, _ in found] == [0] * len(found), "\n".join(output for _, output in found)
    return [output for _, output in found]


def train(tmp_path, data_dir, *more):
    return ("src/train.py", *QUICK, f"paths.log_dir={tmp_path}/logs", f"data.data_dir={data_dir}", *more)


def runs_in(directory):
    return sorted(path.parent.parent for path in directory.rglob("last.ckpt"))


@pytest.mark.parametrize("round_", range(4))
def test_trainings_have_directories_of_their_own(saw_dir, tmp_path, round_):
    all_succeed([start(*train(tmp_path, saw_dir, "data.make_dataset=null", f"seed={n}")) for n in range(3)])
    runs = runs_in(tmp_path / "logs" / "train" / "default")
    assert len(runs) == len(list((tmp_path / "logs" / "train" / "default").iterdir())) == 3
    seeds = [(run / ".hydra" / "overrides.yaml").read_text().rpartition("seed=")[2].strip() for run in runs]
    assert sorted(seeds) == ["0", "1", "2"]
    for run in runs:
        assert len(list(run.rglob("metrics.csv"))) == 1


def test_sweeps_have_directories_of_their_own_and_one_each_over_experiments(saw_dir, tmp_path):
    program, *overrides = train(tmp_path, saw_dir, "data.make_dataset=null", "experiment_name=cnn,vit")
    all_succeed([start(program, "-m", *overrides, f"seed={n}") for n in range(2)])
    sweeps = list((tmp_path / "logs" / "train" / "multiruns" / "default").iterdir())
    assert len(sweeps) == 2
    for sweep in sweeps:
        assert [run.name for run in runs_in(sweep)] == ["0", "1"]
    assert [path.name for path in (tmp_path / "logs" / "train").iterdir()] == ["multiruns"]


def test_searches_begin_one_study_together(saw_dir, tmp_path):
    search = ("hparams_search=optuna", "experiment=example", "hydra.sweeper.n_trials=1")
    program, *overrides = train(tmp_path, saw_dir, "data.make_dataset=null", *search)
    choices = ("model.optimizer.lr=choice(0.005,0.01)", "data.batch_size=16")
    all_succeed([start(program, "-m", *overrides, *choices) for _ in range(3)])
    searches = list((tmp_path / "logs" / "train" / "multiruns" / "example").iterdir())
    assert len(searches) == len([path for path in searches if (path / "optimization_results.yaml").is_file()]) == 3
    with sqlite3.connect(tmp_path / "logs" / "optuna" / "studies.db") as database:
        assert database.execute("select count(*) from trials where state = 'COMPLETE'").fetchone() == (3,)
        assert database.execute("select study_name from studies").fetchall() == [("train_example",)]


def test_trainings_that_miss_the_same_dataset_make_it_once(tmp_path):
    data_dir = tmp_path / "data" / "set"
    make = f"data.make_dataset.overrides={list(SMALL)}"
    outputs = all_succeed([start(*train(tmp_path, data_dir, make, "data.make_dataset.name=set")) for _ in range(3)])
    assert "".join(outputs).count("samples/s)") == 1
    assert [path.name for path in data_dir.parent.iterdir()] == ["set"]
    assert len(runs_in(tmp_path / "logs")) == 3


def generate(tmp_path, *more):
    return ("generate_vimh.py", *SMALL, f"output_dir={tmp_path}/data", "dataset.name=set", *more)


def test_generators_of_the_same_dataset_make_it_once(tmp_path):
    outputs = all_succeed([start(*generate(tmp_path)) for _ in range(5)])
    assert sum("samples/s)" in output for output in outputs) == 1
    assert sum("Kept: " in output for output in outputs) == 4
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set"]


HELD = """
    import pathlib, time
    from src.synth import SawVoice

    class HeldSaw(SawVoice):
        def __init__(self, hold, **arguments):
            super().__init__(**arguments)
            self.hold = pathlib.Path(hold)

        def render(self, parameters):
            while len(parameters["note_velocity"]) > 2 and self.hold.exists():
                time.sleep(0.01)
            return super().render(parameters)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, None], ids=str)
def test_who_waits_takes_over_where_the_maker_ends_without_the_dataset(tmp_path, end):
    (tmp_path / "held.py").write_text(textwrap.dedent(HELD))
    (tmp_path / "hold").touch()
    own = ("synth._target_=held.HeldSaw", f"+synth.hold={tmp_path}/hold", "dataset.size=200", "batch_size=8")
    path = {"PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    maker = start(*generate(tmp_path, *own), **path)
    partial = tmp_path / "data" / ".set.partial"
    while not (partial / "train").exists():
        assert maker.poll() is None, maker.communicate()
        time.sleep(0.05)
    waiting = [start(*generate(tmp_path, *own), **path) for _ in range(2)]
    for process in waiting:
        line = process.stdout.readline()
        while "Another process is making" not in line:
            assert line
            line = process.stdout.readline()
    interrupted = start(*generate(tmp_path, *own), **path)
    while "Another process is making" not in interrupted.stdout.readline():
        assert interrupted.poll() is None
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(timeout=60) == 130
    assert "unfinished" not in interrupted.stdout.read()
    interrupted.stdout.close()
    if end is not None:
        maker.send_signal(end)
    (tmp_path / "hold").unlink()
    outputs = all_succeed(waiting)
    maker.communicate(timeout=60)
    assert sum("samples/s)" in output for output in outputs) == (end is not None)
    VIMHReader(tmp_path / "data" / "set").validate()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set"]


def test_a_run_that_is_training_is_not_resumed_by_another(saw_dir, tmp_path):
    command = train(tmp_path, saw_dir, "data.make_dataset=null", "trainer.max_epochs=100000")
    training = start(*command)
    while not runs_in(tmp_path / "logs"):
        assert training.poll() is None, training.communicate()
        time.sleep(0.1)
    (run,) = runs_in(tmp_path / "logs")
    before = (run / ".hydra" / "overrides.yaml").stat().st_mtime_ns
    ((code, output),) = ended([start(*command, "ckpt_path=last")])
    assert code == 1
    assert f"{run}: another process is training in this directory." in output
    assert "Traceback" not in output
    assert (run / ".hydra" / "overrides.yaml").stat().st_mtime_ns == before
    training.kill()
    training.communicate()
    before = (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    resumed = start(*command, "ckpt_path=last")
    while (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before:
        assert resumed.poll() is None, resumed.communicate()
        time.sleep(0.1)
    resumed.kill()
    resumed.communicate()
    assert list(run.parent.iterdir()) == [run]
