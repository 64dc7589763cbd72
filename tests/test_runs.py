import json
import os
from pathlib import Path

import pytest
import yaml

from src.errors import ConfigError
from src.runs import LAST_CKPT, best_of, choose_checkpoint, choose_run, find_runs

DATASET = "vimh-saw"
DATE = "2026-01-01_00-00-00"


def head(steps, acc):
    return {"acc": acc} if steps is None else {"acc": acc, "steps": steps}


def make_run(
    logs,
    name="cnn/2026-01-01_00-00-00",
    age=100,
    *,
    steps=0.5,
    acc=0.8,
    validated=True,
    ended=True,
    dataset=DATASET,
    config=(),
    choices=(),
    results=(),
):
    """A run as a training leaves it: `steps` and `acc` are its figures on validation sounds, or on test sounds."""
    directory = logs / "train" / name
    experiment = Path(name).parent.name
    written = {
        ".hydra/config.yaml": yaml.safe_dump(
            {
                "experiment_name": experiment,
                "train": True,
                "test": True,
                "seed": 7,
                "data": {"data_dir": f"${{paths.data_dir}}/{dataset}"},
                "model": {"net": {"_target_": "src.models.components.cnn.SpectralCNN"}},
                "loss": {"_target_": "src.models.losses.SoftTarget"},
            }
            | dict(config)
        ),
        ".hydra/hydra.yaml": yaml.safe_dump({"hydra": {"runtime": {"choices": dict(choices)}}}),
        "checkpoints/epoch_003.ckpt": "",
        "checkpoints/last.ckpt": "",
    }
    if ended:
        figures = {"steps": steps, "acc": acc}
        content = {
            "checkpoint": f"/elsewhere/{name}/checkpoints/epoch_003.ckpt",
            "parameters": 65842,
            "training_samples": 185,
            "epochs": 10,
            "training_seconds": 8.5,
            "heads": {"pitch": head(None if steps is None else 2 * steps, acc), "wave": head(None, acc)},
        }
        if steps is not None:
            content["heads"]["decay"] = head(0.0, acc)
        if validated:
            content["validation"] = {key: figure for key, figure in figures.items() if figure is not None}
        written["results.json"] = json.dumps(content | dict(results))
    for file, text in written.items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (age, age))
    return directory


def only(logs):
    (record,) = find_runs(logs)
    return record


# reading


def test_a_run_is_read_as_its_training_wrote_it(tmp_path):
    directory = make_run(tmp_path, choices={"model": "cnn_64k", "data": "moog_basic", "loss": "soft_target"})
    run = only(tmp_path)
    assert (run.directory, run.name, run.experiment) == (directory, "cnn/2026-01-01_00-00-00", "cnn")
    assert (run.dataset, run.data, run.network, run.loss) == (DATASET, "moog_basic", "cnn_64k", "soft_target")
    assert (run.weights, run.seed, run.epochs, run.train_sounds, run.seconds) == (65842, 7, 10, 185, 8.5)
    assert (run.error, run.accuracy) == (0.5, pytest.approx(0.8))
    assert (run.val_error, run.val_accuracy) == (0.5, 0.8)
    assert run.date.timestamp() == 100
    assert run.checkpoint == directory / "checkpoints/epoch_003.ckpt"
    assert run.last == directory / LAST_CKPT
    assert run.complete
    assert run.best


def test_without_the_names_of_options_those_of_classes_are_shown(tmp_path):
    make_run(tmp_path)
    assert (only(tmp_path).network, only(tmp_path).loss) == ("SpectralCNN", "SoftTarget")


def test_jobs_of_sweeps_are_runs(tmp_path):
    for job in (0, 1):
        make_run(tmp_path, f"multiruns/default/2026-01-01_00-00-00/{job}", config={"experiment_name": f"vit{job}"})
    assert [run.experiment for run in find_runs(tmp_path)] == ["vit1", "vit0"]


def test_a_job_whose_configuration_is_gone_has_the_name_of_the_sweep(tmp_path):
    directory = make_run(tmp_path, "multiruns/digits/2026-01-01_00-00-00/0")
    (directory / ".hydra/config.yaml").write_text("[")
    assert only(tmp_path).experiment == "digits"


def test_runs_are_sorted_by_the_time_of_their_newest_checkpoint(tmp_path):
    ages = {"b/1": 300, "a/1": 100, "a/2": 200}
    for name, age in ages.items():
        make_run(tmp_path, name, age)
    resumed = tmp_path / "train/a/1" / LAST_CKPT
    os.utime(resumed, (400, 400))
    assert [run.name for run in find_runs(tmp_path)] == ["a/1", "b/1", "a/2"]


def test_progress_counts_every_run(tmp_path):
    for name in ("a/1", "a/2", "b/1"):
        make_run(tmp_path, name)
    counted = []
    find_runs(tmp_path, counted.append)
    assert sum(counted) == 3


def test_there_may_be_no_runs(tmp_path):
    assert find_runs(tmp_path) == []
    assert find_runs(tmp_path / "nowhere") == []


# complete


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda run: (run / "results.json").unlink(), "not ended"),
        (lambda run: (run / "results.json").write_text('{"heads": {'), "damaged"),
        (lambda run: (run / "results.json").write_bytes(b"\xff\x00"), "damaged"),
        (lambda run: (run / "results.json").write_text("[]"), "damaged"),
        (lambda run: (run / "results.json").write_text("[" * 100_000), "damaged"),
        (lambda run: (run / "results.json").write_text(" " * 5_000_000 + "{}"), "damaged"),
        (lambda run: (run / "checkpoints/epoch_003.ckpt").unlink(), "no checkpoint"),
        (lambda run: os.utime(run / LAST_CKPT, (200, 200)), "resumed"),
        (lambda run: (run / ".hydra/config.yaml").write_text("train: false"), "not a training"),
    ],
)
def test_what_is_missing_is_said(tmp_path, change, state):
    directory = make_run(tmp_path)
    change(directory)
    run = only(tmp_path)
    assert run.state == state
    assert not run.complete
    assert not run.best


def test_a_training_without_a_test_is_not_complete(tmp_path):
    make_run(tmp_path, ended=False, config={"test": False})
    assert only(tmp_path).state == "not tested"


def test_a_copy_that_was_written_in_another_order_is_complete(tmp_path):
    directory = make_run(tmp_path)
    os.utime(directory / LAST_CKPT, (101, 101))
    assert only(tmp_path).complete


def test_a_run_that_was_moved_is_complete(tmp_path):
    directory = make_run(tmp_path)
    moved = tmp_path / "train" / "kept"
    directory.rename(moved)
    assert only(tmp_path).checkpoint == moved / "checkpoints/epoch_003.ckpt"
    assert only(tmp_path).complete


@pytest.mark.parametrize(
    "content",
    [
        {"heads": 3},
        {"heads": {"a": 3, "b": {"steps": "x", "acc": None}}},
        {"parameters": "many", "epochs": True, "training_seconds": 1e999, "checkpoint": 3},
        {"parameters": 10**400, "dataset": ["a"], "validation": [1]},
        {"checkpoint": "a\0b"},
        {"checkpoint": "x" * 10_000},
    ],
)
def test_foreign_results_are_read_as_far_as_they_go(tmp_path, content):
    make_run(tmp_path, results=content)
    run = only(tmp_path)
    assert run.seed == 7
    for figure in (run.weights, run.epochs, run.seconds, run.error, run.accuracy):
        assert figure is None or isinstance(figure, int | float)


@pytest.mark.parametrize("text", ["{", "a: &x [*x]", "[[" * 5000, "b: &b {<<: {a: 1}}", "3", "!!python/name:os.system"])
def test_foreign_configurations_are_read_as_far_as_they_go(tmp_path, text):
    directory = make_run(tmp_path)
    (directory / ".hydra/config.yaml").write_text(text)
    (directory / ".hydra/hydra.yaml").write_text(text)
    run = only(tmp_path)
    assert (run.experiment, run.seed, run.dataset) == ("cnn", None, None)
    assert run.weights == 65842


def test_merged_mappings_of_yaml_do_not_multiply(tmp_path):
    directory = make_run(tmp_path)
    lines = ["a0: &a0 {k: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30))]
    (directory / ".hydra/config.yaml").write_text("\n".join(lines))
    assert only(tmp_path).seed is None


def test_pipes_links_and_empty_directories_do_no_harm(tmp_path):
    train = tmp_path / "train"
    (train / "empty/2026-01-01_00-00-00").mkdir(parents=True)
    (train / "half/2026-01-01_00-00-00/.hydra").mkdir(parents=True)
    (train / "half/2026-01-01_00-00-00/checkpoints/dir.ckpt").mkdir(parents=True)
    os.mkfifo(train / "half/2026-01-01_00-00-00/results.json")
    (train / "loop").symlink_to(train)
    run = only(tmp_path)
    assert (run.name, run.state, run.checkpoint) == ("half/2026-01-01_00-00-00", "not ended", None)


# best


def test_the_best_has_the_smallest_error_on_validation_sounds(tmp_path):
    make_run(tmp_path, "a/1", steps=0.5, results={"heads": {"pitch": head(0.1, 0.9)}})
    make_run(tmp_path, "a/2", steps=0.4, results={"heads": {"pitch": head(0.9, 0.1)}})
    assert {run.name: run.best for run in find_runs(tmp_path)} == {"a/1": False, "a/2": True}


def test_every_dataset_has_a_best_and_only_complete_runs_are(tmp_path):
    make_run(tmp_path, "a/1", steps=0.5)
    make_run(tmp_path, "a/2", steps=0.1, ended=False)
    make_run(tmp_path, "b/1", steps=5.0, dataset="vimh-moog")
    assert {run.name for run in find_runs(tmp_path) if run.best} == {"a/1", "b/1"}


def test_of_equals_the_newest_is_the_best(tmp_path):
    for name, age in (("a/1", 100), ("a/2", 300), ("a/3", 200)):
        make_run(tmp_path, name, age)
    assert [run.name for run in find_runs(tmp_path) if run.best] == ["a/2"]


def test_categories_alone_are_compared_by_accuracy(tmp_path):
    make_run(tmp_path, "a/1", 100, steps=None, acc=0.9)
    make_run(tmp_path, "a/2", 200, steps=None, acc=0.7)
    (best,) = best_of(find_runs(tmp_path))
    assert best.name == "a/1"
    assert choose_run("best", tmp_path).why == "run a/1: the best of 2 on vimh-saw: 90.0% right on validation sounds"


def test_runs_without_validation_figures_are_compared_by_the_test_and_it_is_said(tmp_path):
    make_run(tmp_path, "a/1", 100, steps=0.05, validated=False)
    make_run(tmp_path, "a/2", 200, steps=0.9)
    assert choose_run("best", tmp_path).why == "run a/1: the best of 2 on vimh-saw: 0.05 steps on test sounds"


def test_a_run_without_any_figure_is_never_the_best(tmp_path):
    make_run(tmp_path, validated=False, results={"heads": {"pitch": {"acc": None, "steps": None}}})
    assert not only(tmp_path).best


# choosing


def test_the_newest_complete_run_is_taken_and_what_was_passed_over_is_said(tmp_path):
    older = make_run(tmp_path, "a/1", 100)
    assert choose_run(None, tmp_path).why == "run a/1: the newest complete one"
    make_run(tmp_path, "a/2", 200, ended=False)
    chosen = choose_run(None, tmp_path)
    assert chosen.ckpt_path == older / "checkpoints/epoch_003.ckpt"
    assert chosen.why == "run a/1: the newest complete one; an incomplete newer one was passed over (a/2: not ended)"
    make_run(tmp_path, "b/3", 300, ended=False)
    assert choose_run(None, tmp_path).why.endswith("; 2 incomplete newer ones were passed over")


def test_a_better_run_on_the_same_dataset_is_pointed_out(tmp_path):
    make_run(tmp_path, "a/1", 100, steps=0.05)
    make_run(tmp_path, "b/1", 150, steps=0.01, dataset="vimh-other")
    make_run(tmp_path, "a/2", 200, steps=0.9)
    expected = "run a/2: the newest complete one; run=best would be better here: 0.05 against 0.9 steps"
    assert choose_run(None, tmp_path).why == f"{expected} on the same dataset"
    assert choose_run("best", tmp_path).run.name == "a/1"


def test_a_difference_that_cannot_be_seen_is_none(tmp_path):
    make_run(tmp_path, "a/1", 100, steps=0.05001)
    make_run(tmp_path, "a/2", 200, steps=0.05002)
    assert choose_run(None, tmp_path).why == "run a/2: the newest complete one"


def test_last_is_the_newest_whatever_its_state(tmp_path):
    make_run(tmp_path, "a/1", 100)
    newest = make_run(tmp_path, "a/2", 200, ended=False)
    chosen = choose_run("last", tmp_path)
    assert chosen.ckpt_path == newest / "checkpoints/epoch_003.ckpt"
    assert chosen.why == "run a/2 (not ended): the newest one"


def test_without_a_complete_run_the_newest_is_taken_and_none_is_the_best(tmp_path):
    make_run(tmp_path, "a/1", 100, ended=False)
    newest = make_run(tmp_path, "a/2", 200, ended=False)
    (newest / "checkpoints/epoch_003.ckpt").unlink()
    chosen = choose_run(None, tmp_path)
    assert chosen.ckpt_path == newest / LAST_CKPT
    assert chosen.why == "run a/2 (not ended): the newest one, as none is complete"
    with pytest.raises(ConfigError, match=r"run=best: no run is complete.*run=last"):
        choose_run("best", tmp_path)


@pytest.mark.parametrize(
    "wanted", ["2026-01-01_00-00-00", "cnn/2026-01-01_00-00-00", "cnn", "cnn/", "cnn/last", "cnn/best"]
)
def test_a_run_has_several_names(tmp_path, wanted):
    directory = make_run(tmp_path)
    make_run(tmp_path, "vit/2026-01-02_00-00-00", 200, steps=0.01)
    assert choose_run(wanted, tmp_path).run.directory == directory


def test_a_directory_of_a_sweep_stands_for_its_newest_complete_job(tmp_path):
    sweep = "multiruns/default/2026-01-01_00-00-00"
    for job, ended in enumerate((True, True, False)):
        make_run(tmp_path, f"{sweep}/{job}", 100 + job, ended=ended)
    assert choose_run(sweep, tmp_path).run.name == f"{sweep}/1"
    assert choose_run("2026-01-01_00-00-00/0", tmp_path).run.name == f"{sweep}/0"


def test_a_path_of_a_run_or_a_checkpoint_is_taken(tmp_path, monkeypatch):
    directory = make_run(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    directory.rename(elsewhere)
    assert choose_run(str(elsewhere), tmp_path).ckpt_path == elsewhere / "checkpoints/epoch_003.ckpt"
    assert choose_run(str(elsewhere / LAST_CKPT), tmp_path).ckpt_path == elsewhere / LAST_CKPT
    monkeypatch.chdir(tmp_path)
    assert choose_run("elsewhere", tmp_path).run.complete
    (elsewhere / LAST_CKPT).unlink()
    (elsewhere / "checkpoints/epoch_003.ckpt").unlink()
    with pytest.raises(ConfigError, match=r"elsewhere: this run has no checkpoint.*make runs"):
        choose_run("elsewhere", tmp_path)


def test_a_name_of_two_runs_is_refused_with_both(tmp_path):
    for experiment in ("cnn", "vit"):
        make_run(tmp_path, f"{experiment}/2026-01-01_00-00-00")
    with pytest.raises(ConfigError, match=r"2 runs have that name: vit/2026.*, cnn/2026.*Name one"):
        choose_run("2026-01-01_00-00-00", tmp_path)


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("lsat", "last"), ("bset", "best"), ("cn", "cnn"), ("2026-01-01_00-00-01", "2026-01-01_00-00-00")],
)
def test_an_unknown_name_is_answered_with_the_nearest(tmp_path, wanted, meant):
    make_run(tmp_path)
    with pytest.raises(ConfigError, match=rf"{wanted}: there is no such run, and no such file. Did you mean .*{meant}"):
        choose_run(wanted, tmp_path)


def test_a_name_like_no_other_is_answered_with_the_newest(tmp_path):
    for number in range(12):
        make_run(tmp_path, f"cnn/{number:02}", 100 + number)
    with pytest.raises(ConfigError, match=r"zzz: .*There are cnn/11, .*cnn/04 and 4 more."):
        choose_run("zzz", tmp_path)


def test_names_of_runs_are_escaped(tmp_path):
    make_run(tmp_path, "a\x1b[31m/1")
    assert "\x1b" not in choose_run(None, tmp_path).why
    with pytest.raises(ConfigError) as error:
        choose_run("zzz", tmp_path)
    assert "\x1b" not in str(error.value)


def test_an_experiment_limits_the_choice(tmp_path):
    make_run(tmp_path, "a/1", 100)
    make_run(tmp_path, "b/1", 200)
    for wanted in (None, "last", "best"):
        assert choose_run(wanted, tmp_path, "a").run.name == "a/1"
    with pytest.raises(ConfigError, match=r"no run of c has a checkpoint.*make ex.*ckpt_path="):
        choose_run(None, tmp_path, "c")
    with pytest.raises(ConfigError, match=r"no run has a checkpoint.*make ex.*ckpt_path="):
        choose_run(None, tmp_path / "nowhere")


# checkpoints by their paths


def test_the_last_epoch_is_that_of_the_training_that_wrote_one_last(tmp_path):
    make_run(tmp_path, "a/1", 100)
    job = make_run(tmp_path, "multiruns/vit/2026/0", 200, ended=False, config={"experiment_name": "odd: 'x"})
    none = make_run(tmp_path, "a/2", 300)
    (none / LAST_CKPT).unlink()
    assert choose_checkpoint("last", tmp_path).ckpt_path == job / LAST_CKPT
    assert choose_checkpoint("last", tmp_path, "odd: 'x").ckpt_path == job / LAST_CKPT
    assert choose_checkpoint("last", tmp_path, "a").ckpt_path == tmp_path / "train/a/1" / LAST_CKPT
    with pytest.raises(ConfigError, match=r"ckpt_path=last: no run of mlp in .*train has .*make ex"):
        choose_checkpoint("last", tmp_path, "mlp")
    with pytest.raises(ConfigError, match=r"ckpt_path=last: no run in"):
        choose_checkpoint("last", tmp_path / "nowhere")


def test_what_may_have_been_meant_by_a_path(tmp_path, monkeypatch):
    directory = make_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert choose_checkpoint(str(directory / LAST_CKPT), tmp_path).ckpt_path == directory / LAST_CKPT
    meant = {
        "lsat": "ckpt_path=last",
        "best": "run=best",
        "cnn": "run=cnn",
        "train/cnn/2026-01-01_00-00-00": "run=cnn/2026-01-01_00-00-00",
        "train/cnn/2026-01-01_00-00-00/checkpoints/epoch_004.ckpt": f"ckpt_path={directory.relative_to(tmp_path)}",
    }
    for wanted, answer in meant.items():
        with pytest.raises(ConfigError, match=f"ckpt_path={wanted}: there is no such file. Did you mean {answer}"):
            choose_checkpoint(wanted, tmp_path)
    with pytest.raises(ConfigError, match=r"zzz: there is no such file\. Train first"):
        choose_checkpoint("zzz", tmp_path)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("${hydra:runtime.choices.model}_small", "vit_tiny_small"),
        ("${hydra:runtime.choices.nothing}_small", "cnn"),  # as its directory is called
        ("${oc.env:USER}", "cnn"),
    ],
)
def test_an_experiment_that_is_named_after_its_options_has_their_names(tmp_path, named, expected):
    make_run(tmp_path, choices={"model": "vit_tiny"}, config={"experiment_name": named})
    assert only(tmp_path).experiment == expected
    assert choose_run(None, tmp_path, expected).run == only(tmp_path)


@pytest.mark.parametrize("wanted", ["2026-01-01_00-00-00/1", "01-01_00-00-00/1", "00-00-00/1"])
def test_a_job_of_a_sweep_is_named_by_the_end_of_the_date_and_its_number(tmp_path, wanted):
    for job in range(2):
        make_run(tmp_path, f"multiruns/cnn/{DATE}/{job}")
    assert choose_run(wanted, tmp_path).run.name == f"multiruns/cnn/{DATE}/1"
