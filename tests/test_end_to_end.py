"""Networks for samples are evaluated, used and shown like those for spectrograms."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose

from scripts.audit_dataset import audit_dataset
from src.checkpoints.trusted import instantiate_trusted
from src.errors import CheckpointError, VIMHError
from src.evaluation.refinement import refine
from src.generation import generate
from src.hydra_versions import initialize_configs
from src.listening.report import Axes
from src.programs.run_dirs import register_resolvers
from src.recipe import VIEW_SIZE, Recipe
from src.tasks.audio_eval import audio_eval
from src.tasks.predict import predict
from src.tasks.train import train
from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[1]
N_SOUNDS = 4


@pytest.fixture(scope="module", params=["waveform", pytest.param("bits", marks=pytest.mark.slow)])
def samples(request, recipe_of, compose_run, tmp_path_factory):
    """A set of samples, and the directory of a run on it."""
    data_dir = tmp_path_factory.mktemp("samples") / request.param
    generate(recipe_of("dataset.size=40", f"representation={request.param}"), data_dir)
    run_dir = tmp_path_factory.mktemp("run")
    data = ("data=vimh_256dss_waveform", f"data.data_dir={data_dir}", "data.make_dataset=null")
    train(compose_run(run_dir, "model=wave_cnn", *data, "trainer.max_epochs=1", "logger=none"))
    return data_dir, run_dir / "checkpoints" / "last.ckpt"


@pytest.fixture
def program(samples, tmp_path):
    """Composes the configuration of a program for the run's checkpoint."""

    def make(name, *overrides):
        register_resolvers()
        paths = [f"paths.{place}={tmp_path}" for place in ("root_dir", "log_dir", "output_dir", "work_dir")]
        with initialize_configs(ROOT / "configs"):
            return compose(name, [*paths, "extras.print_config=false", f"ckpt_path={samples[1]}", *overrides])

    return make


@pytest.fixture
def recipe(samples):
    return Recipe.from_info(VIMHReader(samples[0]).info, instantiate_trusted)


def test_a_set_of_samples_is_shown_by_a_spectrogram(samples, recipe):
    batch = VIMHReader(samples[0]).test.read(np.arange(N_SOUNDS))
    db = recipe.spectrogram_db(recipe.render(batch.value))
    axes = Axes.of(recipe.view)
    assert db.shape == (N_SOUNDS, *VIEW_SIZE)
    assert axes.frequency[-1] == recipe.synth.sample_rate / 2
    strongest = np.array(axes.frequency)[db[0].max(axis=1).argmax()]
    assert 0 < strongest < 2000  # a sawtooth's fundamental or one of its first harmonics


def test_refinement_looks_at_what_the_samples_sound_like(samples, recipe):
    batch = VIMHReader(samples[0]).test.read(np.arange(N_SOUNDS))
    steps = np.array([spec.step for spec in recipe.space.varying])
    start = np.clip(batch.value + 0.4 * steps, *np.array([(spec.min, spec.max) for spec in recipe.space.varying]).T)
    found = refine(recipe, batch.image, batch.spec_range, start)
    before, after = (np.abs(value - batch.value) / steps for value in (start, found.value))
    assert np.median(after) < 0.1 < np.median(before)


def test_a_checkpoint_is_judged_by_ear_and_by_number(program, tmp_path):
    audio_eval(program("audio_eval", f"num_samples={N_SOUNDS}", "n_listen=2", "refine=true"))
    assert len(list((tmp_path / "wav").glob("*.wav"))) >= 2 * 2
    with (tmp_path / "metrics.csv").open() as file:
        answers = {row["answer"] for row in csv.DictReader(file)}
    assert {"network", "nearest neighbour", "mean parameters"} < answers


def test_a_recording_is_read_as_the_samples_of_the_set_are(samples, recipe, program, tmp_path):
    batch = VIMHReader(samples[0]).test.read(np.arange(1))
    soundfile.write(tmp_path / "sound.wav", recipe.render(batch.value)[0], recipe.synth.sample_rate, subtype="FLOAT")
    predict(program("predict", f"audio={tmp_path / 'sound.wav'}", "normalize=false"))
    (reading,) = json.loads((tmp_path / "predictions.json").read_text())["recordings"]
    predict(program("predict", f"dataset={samples[0]}"))
    with (tmp_path / "predictions.csv").open() as file:
        first = next(csv.DictReader(file))
    for spec in recipe.space.varying:
        assert reading["parameters"][spec.name]["value"] == pytest.approx(float(first[spec.name]), rel=1e-3)


def test_an_audit_asks_for_spectrograms(samples):
    with pytest.raises(VIMHError, match=r"holds samples.*representation=stft"):
        audit_dataset(samples[0], 4, 0)


def test_an_audit_takes_classes_of_the_users_own(recipe_of, tmp_path, monkeypatch):
    (tmp_path / "own_synth.py").write_text("from src.synth.voices import SawVoice\nclass Voice(SawVoice): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    generate(recipe_of("synth._target_=own_synth.Voice", "dataset.size=8"), tmp_path / "set")
    with pytest.raises(CheckpointError, match=r"own_synth\.Voice.*--trusted-modules"):
        audit_dataset(tmp_path / "set", 2, 0)
    assert audit_dataset(tmp_path / "set", 2, 0, ["own_synth"]).n_same == 8
