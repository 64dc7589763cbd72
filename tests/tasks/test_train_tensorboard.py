"""What TensorBoard shows of a run that was interrupted in the middle of an epoch and went on with ckpt_path=last."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from src.callbacks.head_figures import EXAMPLES
from src.callbacks.tensorboard import tag_of
from src.models.vimh_module import VIMHLitModule
from src.programs.run_dirs import LAST_CKPT
from src.tasks.train import train

pytestmark = pytest.mark.slow

N_BATCHES = 3  # of an epoch: 46 training samples, 16 to the batch
HEADS = ("note_velocity", "log10_decay_time")
OVERRIDES = (
    "model=cnn_micro",
    "data.make_dataset.overrides=['dataset.size=64']",
    "data.batch_size=16",
    "trainer.max_epochs=4",
    "trainer.log_every_n_steps=1",
    "callbacks.gradient_stats.every_n_steps=1",
    "callbacks.gradient_stats.histograms=true",
    "callbacks.head_figures.every_n_epochs=2",
)


@pytest.fixture(scope="module")
def curves(compose_run, saw_dir, tmp_path_factory):
    """Directory, events of the interrupted part, events of both parts, and returned metrics of such a run."""
    run_dir = tmp_path_factory.mktemp("run")

    def interrupted(module, optimizer):
        if module.global_step == 2 * N_BATCHES + 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(VIMHLitModule, "on_before_optimizer_step", interrupted)
        with pytest.raises(SystemExit):
            train(compose_run(run_dir, *OVERRIDES, f"data.data_dir={saw_dir}"))
    before = events(run_dir)
    with pytest.warns(UserWarning, match="exists and is not empty"):  # this is what is wanted
        metrics = train(
            compose_run(run_dir, *OVERRIDES, f"data.data_dir={saw_dir}", f"ckpt_path={run_dir / LAST_CKPT}")
        )
    return run_dir, before, events(run_dir), metrics


def events(run_dir):
    found = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"images": 0, "scalars": 0, "histograms": 0})
    return found.Reload()


def test_the_curve_goes_on_in_the_same_directory(curves):
    run_dir, before, both, _ = curves
    assert {path.parent for path in run_dir.rglob("events.out.tfevents.*")} == {run_dir / "tensorboard"}
    for tag in map(tag_of, ("train/loss", "val/loss", "val/acc", *(f"val/{head}_mae" for head in HEADS))):
        first, whole = before.Scalars(tag), both.Scalars(tag)
        assert [event.step for event in first] == [N_BATCHES, 2 * N_BATCHES]
        assert [event.step for event in whole] == [epoch * N_BATCHES for epoch in (1, 2, 3, 4)]
        assert [event.value for event in whole[:2]] == [event.value for event in first]


def test_the_lost_part_of_an_epoch_is_forgotten(curves):
    _, before, both, _ = curves
    resumed_at = 2 * N_BATCHES
    lost = [event for event in before.Scalars("8 gradients/total") if event.step > resumed_at]
    assert [event.step for event in lost] == [resumed_at + 1]
    shown = [event for event in both.Scalars("8 gradients/total") if event.step > resumed_at]
    assert [event.step for event in shown] == list(range(resumed_at + 1, 4 * N_BATCHES))
    assert min(event.wall_time for event in shown) > max(event.wall_time for event in lost)


def test_gradient_norms_and_histograms_are_there(curves):
    both = curves[2]
    layers = [tag for tag in both.Tags()["scalars"] if tag.startswith("8 gradients/net.")]
    assert len(layers) > 4
    assert all(event.value > 0 for event in both.Scalars("8 gradients/total"))
    assert {event.step for event in both.Scalars("8 gradients/total")} == set(range(4 * N_BATCHES))
    assert {tag.removeprefix("grad/") for tag in both.Tags()["histograms"]} == {
        tag.removeprefix("8 gradients/") for tag in layers
    }


def test_figures_are_there(curves):
    both = curves[2]
    expected = {tag: [2 * N_BATCHES, 4 * N_BATCHES] for tag in (*(f"heads/{head}" for head in HEADS), EXAMPLES)}
    assert {tag: [event.step for event in both.Images(tag)] for tag in both.Tags()["images"]} == expected


def test_a_run_has_its_row_in_the_hparams_tab_whether_it_came_to_its_end_or_not(curves):
    _, before, both, metrics = curves
    for found in (before, both):
        content = found.PluginTagToContent("hparams")
        start = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
        assert start.hparams["seed"].number_value == 42
        assert start.hparams["learning rate"].number_value == pytest.approx(0.02)
    info = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    shown = {metric.name.tag for metric in info.metric_infos}
    assert shown <= set(both.Tags()["scalars"])
    for name in (name for name in shown if name.startswith("test/")):
        assert both.Scalars(name)[-1].value == pytest.approx(metrics[name])


def test_loss_accuracy_and_errors_come_first(curves):
    tags = sorted(curves[2].Tags()["scalars"])
    groups = list(dict.fromkeys(tag.partition("/")[0] for tag in tags))
    assert groups[:3] == ["1 loss", "2 accuracy", "3 error"]
    assert groups[-3:] == ["7 training", "8 gradients", "test"]


def test_learning_rates_are_there(curves):
    assert "7 training/lr-AdamW" in curves[2].Tags()["scalars"]
