import io
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.callbacks.audio_examples import AudioExamples
from src.checkpoints.run import ENTRY, read_checkpoint
from src.errors import ConfigError, VIMHError
from src.hydra_versions import instantiate
from src.params import ParamSpec
from src.tasks.train import train

SPECS = (ParamSpec("cutoff", 100.0, 500.0, 100.0, "Hz"), ParamSpec("resonance", 0.0, 1.0, 0.5))
RATE = 1000  # Hz, of the dataset of `trainer`


class Module(torch.nn.Module):
    """Predicts a point of each range for every sample; counts the samples that it predicts."""

    def __init__(self, normalized=0.5):
        super().__init__()
        self.specs = SPECS
        self.normalized = normalized
        self.asked = []

    def predict_step(self, batch):
        assert not self.training
        n = len(batch["image"])
        self.asked.append(n)
        return {spec.name: SimpleNamespace(normalized=torch.full((n,), self.normalized).bfloat16()) for spec in SPECS}


class Louder:
    """A sound is as loud as its resonance, all through."""

    def render(self, value):
        return np.repeat(value[:, 1:].astype(np.float32), 100, axis=1)

    def spectrogram_db(self, waveform):
        return waveform.reshape(len(waveform), 10, 10)


def draw(info, true, predicted, texts):
    figure = Figure(figsize=(1, 1), dpi=20)
    drawn.append((true.mean(), predicted.mean(), texts))
    return figure


drawn = []


def batch(n):
    value = torch.stack([torch.full((n,), 300.0), torch.arange(n) / 10], dim=1)
    return {"image": torch.zeros(n, 1, 4, 4, dtype=torch.uint8), "aux": torch.zeros(n, 2), "value": value}


def make(**settings):
    return AudioExamples(recipe_of=lambda info: Louder(), draw=draw, **settings)


@pytest.fixture
def run(train, trainer):
    """Trains with a callback."""
    drawn.clear()
    return lambda callback, module, epochs, n_batches=2: train(
        callback, trainer, module, epochs, [batch(5), batch(2)], n_batches
    )


def test_sounds_and_pictures_come_each_n_epochs_and_after_the_last(run, events, trainer):
    run(make(every_n_epochs=2, n_sounds=2), Module(), epochs=5)
    found = events(trainer)
    steps = [20, 40, 50]
    assert {tag: [event.step for event in found.Images(tag)] for tag in found.Tags()["images"]} == {
        f"sounds/{number}/true and predicted": steps for number in range(2)
    }
    assert {tag: [event.step for event in found.Audio(tag)] for tag in found.Tags()["audio"]} == {
        f"sounds/{number}/{name}": steps for number in range(2) for name in ("true", "predicted")
    }


def test_the_last_epoch_is_written_once(run):
    run(make(every_n_epochs=2), module := Module(), epochs=2)
    assert module.asked == [4]


def test_zero_means_after_the_last_epoch_only(run):
    run(make(every_n_epochs=0), module := Module(), epochs=3)
    assert module.asked == [4]


def test_the_sounds_are_the_true_and_the_predicted_one(run, events, trainer):
    run(make(every_n_epochs=0, n_sounds=4), Module(), epochs=1)
    found = events(trainer)
    for name, expected in (("true", 0.3), ("predicted", 0.5)):
        (event,) = found.Audio(f"sounds/3/{name}")
        waveform, sample_rate = soundfile.read(io.BytesIO(event.encoded_audio_string))
        assert sample_rate == event.sample_rate == RATE
        assert waveform == pytest.approx(np.full(100, expected), abs=1e-3)
    true, predicted, texts = drawn[3]
    assert (true, predicted) == pytest.approx((0.3, 0.5))
    assert texts == [("cutoff", "300", "300 Hz"), ("resonance", "0.3", "0.5")]


def test_a_loud_pair_is_scaled_together(run, events, trainer, capsys):
    class Loud(Louder):
        def render(self, value):
            return 4 * super().render(value)

    callback = AudioExamples(lambda info: Loud(), draw, n_sounds=4)
    run(callback, Module(), epochs=1)
    levels = [events(trainer).Audio(f"sounds/3/{name}")[0].encoded_audio_string for name in ("true", "predicted")]
    true, predicted = (soundfile.read(io.BytesIO(level))[0].max() for level in levels)
    assert (true, predicted) == pytest.approx((0.6, 1.0), abs=1e-3)
    assert "clipped" not in capsys.readouterr().out


def test_a_small_first_batch_is_enough(run):
    callback = make(n_sounds=9)
    run(callback, module := Module(), epochs=1)
    assert module.asked == [5]
    assert callback.batches == []


def test_the_module_stays_in_its_mode(run):
    run(make(), module := Module().train(), epochs=1)
    assert module.training


@pytest.mark.parametrize("normalized", [-0.5, 1.5])
def test_predictions_are_brought_into_the_ranges(run, normalized):
    run(make(n_sounds=1), Module(normalized), epochs=1)
    assert drawn[0][1] == (0 if normalized < 0 else 1)


def test_a_training_that_went_astray_is_not_rendered(run):
    run(make(every_n_epochs=1), Module(float("nan")), epochs=2)
    assert drawn == []


def test_the_sanity_check_is_not_written(trainer):
    trainer.sanity_checking = True
    callback = make(every_n_epochs=1)
    callback.on_fit_start(trainer, module := Module())
    callback.on_validation_batch_end(trainer, module, None, [batch(5)], 0)
    callback.on_validation_end(trainer, module)
    assert module.asked == []


@pytest.mark.parametrize("changed", [{"is_global_zero": False}, {"loggers": []}], ids=["another rank", "no logger"])
def test_nothing_is_rendered_without_a_place_to_write(run, trainer, tmp_path, changed):
    def refuse(info):
        raise VIMHError("this dataset has no sound")

    vars(trainer).update(changed)
    run(AudioExamples(refuse, draw, every_n_epochs=1), module := Module(), epochs=2)
    assert module.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_without_sound_is_refused_before_training(trainer):
    def refuse(info):
        raise VIMHError("this dataset has no sound")

    with pytest.raises(VIMHError, match="no sound"):
        AudioExamples(refuse, draw).on_fit_start(trainer, Module())


@pytest.mark.parametrize("wrong", [{"every_n_epochs": -1}, {"n_sounds": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"audio_examples.{next(iter(wrong))} is"):
        make(**wrong)


@pytest.mark.slow
def test_a_training_leaves_sounds_and_no_trace_of_them_in_its_checkpoint(compose_run, saw_dir, tmp_path, recipe_of):
    cfg = compose_run(
        tmp_path,
        "experiment=moog_cnn_basic",  # where the callback is on
        "model=cnn_micro",
        f"data.data_dir={saw_dir}",
        "data.make_dataset=null",
        "data.batch_size=16",
        "trainer.max_epochs=1",
        "test=false",
    )
    train(cfg)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert len(found.Tags()["audio"]) == 2 * 4
    assert {f"sounds/{number}/true and predicted" for number in range(4)} <= set(found.Tags()["images"])
    datamodule = instantiate(cfg.data)
    value = datamodule.val_set[:1]["value"].numpy()
    heard, _ = soundfile.read(io.BytesIO(found.Audio("sounds/0/true")[0].encoded_audio_string))
    rendered = recipe_of("dataset.size=64").render(value)[0]
    assert heard == pytest.approx(rendered / max(1, np.abs(rendered).max()), abs=1e-3)
    checkpoint = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert "callbacks" not in checkpoint[ENTRY]["config"]
    assert all(name.startswith("ModelCheckpoint") for name in checkpoint["callbacks"])
