"""A disk that refuses anything below the directory of logs is one message with the path, in every program."""

import errno

import pytest
import soundfile
import torch

import src.audio_eval
import src.eval
import src.export
import src.predict
import src.train
from scripts.faults.file_operations import operations, refuse_from
from src.checkpoints.trusted import instantiate_trusted
from src.recipe import Recipe
from src.vimh.reader import VIMHReader

QUIET = ["trainer.accelerator=cpu", "+trainer.enable_progress_bar=false", "extras.print_config=true"]


@pytest.fixture
def training(saw_dir):
    """Command line of a short training that writes all there is."""
    return [
        "model=cnn_micro",
        f"data.data_dir={saw_dir}",
        "data.make_dataset=null",
        "data.batch_size=16",
        "trainer.max_epochs=2",
        "callbacks.rich_progress_bar=null",
        "callbacks.head_figures=null",
        "+trainer.enable_model_summary=false",
        "logger=many_loggers",
        *QUIET,
    ]


@pytest.fixture
def refused(program, tmp_path):
    """Runs a program whose disk refuses from the k-th operation on; returns what it wrote to standard error, or None.

    None: it came to its end before.
    """

    def run(entry_point, *arguments, part="", k=1, number=errno.ENOSPC):
        with operations(f"{tmp_path}/logs{part}", refuse_from(k, number)) as done:
            code, out, err = program(entry_point, *arguments, f"paths.log_dir={tmp_path}/logs")
        if len(done) < k:
            assert code == 0
            return None
        assert code == 1
        assert "Traceback" not in out + err
        assert "--- Logging error ---" not in err
        return err

    return run


def check_message(err, directory):
    (line,) = [line for line in err.splitlines() if "Name another place" in line]
    assert line.startswith(f"{directory}/logs")


@pytest.mark.parametrize(
    ("part", "number"),
    [
        ("", errno.EACCES),
        ("/train", errno.EROFS),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named(refused, training, tmp_path, part, number):
    check_message(refused(src.train, *training, part=part, number=number), tmp_path)


@pytest.fixture
def in_run(tmp_path, monkeypatch):
    """Gives the run of a test a name, so that its files are known before."""
    monkeypatch.chdir(tmp_path)
    return [f"hydra.run.dir={tmp_path}/logs/run"]


@pytest.mark.parametrize(
    ("name", "k"),
    [
        (".hydra/config.yaml", 2),
        ("train.log", 1),
        ("tensorboard/events", 3),
        ("checkpoints", 3),
    ],
)
def test_a_file_that_the_disk_refuses_is_named(refused, training, in_run, tmp_path, name, k):
    err = refused(src.train, *training, *in_run, "test=false", part=f"/run/{name}", k=k)
    (line,) = [line for line in err.splitlines() if "Name another place" in line]
    assert line.startswith(f"{tmp_path}/logs/run/{name}")
    assert "No space left on device" in line


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_whatever_a_training_writes_may_be_refused(refused, training, tmp_path, number):
    k = 1 + (number % 7)
    while (err := refused(src.train, *training, k=k, number=number)) is not None:
        check_message(err, tmp_path)
        for path in tmp_path.glob("logs/**/*.ckpt"):
            torch.load(path, weights_only=True)
        k += 37
    assert k > 100


@pytest.fixture
def recording(saw_dir, tmp_path):
    info = VIMHReader(saw_dir).info
    recipe = Recipe.from_config(info.generator["config"], instantiate_trusted)
    path = tmp_path / "sound.wav"
    soundfile.write(path, recipe.render(recipe.values(0, 1))[0], recipe.synth.sample_rate, subtype="FLOAT")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eval", "predict", "audio_eval", "export"])
def test_whatever_another_program_writes_may_be_refused(refused, trained_run, recording, tmp_path, name):
    entry_point = getattr(src, name)
    arguments = [f"ckpt_path={trained_run.run_dir}/checkpoints/last.ckpt"]
    arguments += {
        "eval": QUIET,
        "predict": [f"audio={recording}"],
        "audio_eval": ["num_samples=8", "n_listen=2"],
        "export": ["repeats=1", f"output={tmp_path}/logs/model.onnx"],
    }[name]
    k = 1
    while (err := refused(entry_point, *arguments, k=k)) is not None:
        check_message(err, tmp_path)
        k += 9
    assert k > 20
