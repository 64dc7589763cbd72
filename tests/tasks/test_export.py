import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hydra import compose

from src import __version__
from src.checkpoints.run import load_run
from src.errors import CheckpointError, ConfigError
from src.hydra_versions import initialize_configs
from src.programs.run_dirs import register_resolvers
from src.tasks.export import default_output, describe, export, stored_inputs
from src.tasks.train import train
from src.vimh.format import INFO_NAME
from src.vimh.pictures import make_digits

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def exported(trained_run, tmp_path_factory):
    """What `python src/export.py` returns, and the file that it wrote into the directory of a run."""
    run_dir = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(trained_run.run_dir / "checkpoints", run_dir / "checkpoints")
    ckpt_path = run_dir / "checkpoints" / "last.ckpt"
    cfg = compose_export(tmp_path_factory.mktemp("export"), f"ckpt_path={ckpt_path}", "repeats=5")
    return export(cfg), run_dir / "last.onnx"


def compose_export(output_dir, *overrides):
    """The configuration of `python src/export.py overrides`, with a directory of the test."""
    register_resolvers()
    paths = [f"paths.{place}={output_dir}" for place in ("root_dir", "log_dir", "output_dir", "work_dir")]
    with initialize_configs(ROOT / "configs"):
        return compose("export", [*paths, "extras.print_config=false", *overrides])


@pytest.fixture
def run(trained_run):
    return load_run(trained_run.run_dir / "checkpoints" / "last.ckpt")


def test_stored_images_are_compared_and_the_file_is_in_the_directory_of_the_run(exported):
    figures, path = exported
    assert path.is_file()
    assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == ["last.onnx"]
    assert 0 <= figures["difference"] <= 1e-4
    assert {f"{runtime}_ms_{size}" for runtime in ("pytorch", "onnxruntime") for size in (1, 256)} <= set(figures)


def test_the_file_says_what_it_takes_and_gives(exported, run):
    session = onnxruntime.InferenceSession(exported[1])
    about = json.loads(session.get_modelmeta().custom_metadata_map["nsm"])
    assert about == json.loads(json.dumps(describe(run, Path("last.ckpt"))))
    assert [(head["name"], head["units"]) for head in about["heads"]] == [
        (spec.name, spec.units) for spec in run.info.parameters
    ]
    assert [(head["min"], head["max"], head["step"]) for head in about["heads"]] == [
        (spec.min, spec.max, spec.step) for spec in run.info.parameters
    ]
    assert about["image_shape"] == [1, 32, 32]
    assert about["aux"] == list(run.config["data"]["aux"])
    assert about["sample_rate"] == run.info.sample_rate
    assert about["spectrogram_config"] == run.info.spectrogram_config
    assert about["representation"]["win_length"] == 80
    assert (about["version"], about["experiment_name"]) == (__version__, "default")


def test_the_example_of_the_documentation_runs(exported, tmp_path, monkeypatch, capsys):
    code, _ = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), flags=re.DOTALL)
    shutil.copy(exported[1], tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/export.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["note_velocity", "log10_decay_time"]
    assert all(re.fullmatch(r"\w+: -?[\d.e+-]+ ± [\d.e+-]+ [\w ]+", line) for line in lines)


def test_every_key_of_the_metadata_is_documented(run):
    page = (ROOT / "docs" / "export.md").read_text()
    described = describe(run, Path("last.ckpt"))
    keys = {*described, *described["heads"][0]} - {"project"}
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [("runs/1/checkpoints/epoch_004.ckpt", "runs/1/epoch_004.onnx"), ("elsewhere/mine.ckpt", "elsewhere/mine.onnx")],
)
def test_the_file_goes_to_the_run(checkpoint, expected):
    assert default_output(Path(checkpoint)) == Path(expected)


def test_a_difference_above_the_tolerance_writes_nothing(trained_run, exported, tmp_path, monkeypatch):
    monkeypatch.setattr("src.models.onnx_export.to_onnx", lambda *_: onnx.load(exported[1]))
    ckpt_path = trained_run.run_dir / "checkpoints" / "last.ckpt"
    overrides = [f"ckpt_path={ckpt_path}", f"output={tmp_path}/o.onnx", "tolerance=0"]
    with pytest.raises(CheckpointError, match="Nothing was written"):
        export(compose_export(tmp_path, *overrides))
    assert list(tmp_path.glob("*.onnx*")) == []


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("repeats=0", "repeats is 0; it must be a whole number of 1 or more"),
        ("repeats=-3", "repeats is -3"),
        ("repeats=many", "repeats is 'many'"),
        ("tolerance=abc", "tolerance is 'abc'; it must be a number of 0 or more"),
        ("tolerance=-1", "tolerance is -1"),
        ("tolerance=nan", "tolerance is nan"),
        ("output=DIRECTORY", r"output=\S+ is a directory; name the file, as in \S+/model\.onnx"),
    ],
)
def test_settings_are_refused_before_the_checkpoint_is_read(tmp_path, override, facts):
    override = override.replace("DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match=facts):
        export(compose_export(tmp_path, f"ckpt_path={tmp_path}/none.ckpt", override))


def test_last_is_the_last_epoch_of_the_newest_training(trained_run, tmp_path):
    trained = tmp_path / "train" / "cnn" / "1"
    shutil.copytree(trained_run.run_dir / "checkpoints", trained / "checkpoints")
    export(compose_export(tmp_path, "ckpt_path=last", "repeats=1"))
    assert (trained / "last.onnx").is_file()


@pytest.mark.slow
def test_categories_carry_their_names(compose_run, tmp_path):
    data_dir = tmp_path / "digits"
    make_digits(data_dir, name=data_dir.name)
    cfg = compose_run(
        tmp_path, "experiment=digits", "trainer.max_epochs=1", f"data.data_dir={data_dir}", "data.make_dataset=null"
    )
    train(cfg)
    ckpt_path = tmp_path / "checkpoints" / "last.ckpt"
    export(compose_export(tmp_path, f"ckpt_path={ckpt_path}", f"output={tmp_path}/digits.onnx", "repeats=1"))
    session = onnxruntime.InferenceSession(tmp_path / "digits.onnx")
    (head,) = json.loads(session.get_modelmeta().custom_metadata_map["nsm"])["heads"]
    (spec,) = load_run(ckpt_path).info.parameters
    assert head["names"] == list(spec.names)
    assert len(head["names"]) == 10
    assert (head["min"], head["max"], head["step"]) == (0, 9, 1)


def test_where_the_dataset_is_gone_random_images_do(run, tmp_path, caplog):
    cfg = compose_export(tmp_path, f"data_dir={tmp_path}/gone")
    assert stored_inputs(run, cfg) == []
    assert "only random images" in caplog.text


def test_stored_inputs_are_test_samples(run, tmp_path):
    ((image, aux),) = stored_inputs(run, compose_export(tmp_path))
    assert image.dtype == np.uint8
    assert image.shape[1:] == run.info.image_shape
    assert aux.shape == (len(image), len(run.config["data"]["aux"]))


def test_missing_packages_end_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[export\]'"):
        export(compose_export(tmp_path, f"ckpt_path={tmp_path}/none.ckpt"))


def test_without_test_samples_validation_samples_are_compared(run, saw_dir, tmp_path):
    data_dir = tmp_path / saw_dir.name
    shutil.copytree(saw_dir, data_dir)
    path = data_dir / INFO_NAME
    content = json.loads(path.read_text())
    for name in [name for name in content["files"] if name.startswith("test")]:
        (data_dir / name).unlink()
        del content["files"][name]
    n_train = content["train_samples"]
    path.write_text(json.dumps(content | {"test_samples": 0, "total_samples": n_train, "n_samples": n_train}))
    ((image, _),) = stored_inputs(run, compose_export(tmp_path, f"data_dir={data_dir}"))
    assert len(image) > 0
