import copy
import io
import os
import pickle
import re
import subprocess
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from omegaconf import OmegaConf

from scripts.list_configs import groups, is_complete
from src.checkpoints.run import (
    ENTRY,
    Run,
    SaveRun,
    build_model,
    check_resumable,
    check_same_heads,
    load_run,
    read_checkpoint,
    restore_datamodule,
)
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import CheckpointError, ConfigError, NSMError
from src.hydra_versions import instantiate
from src.vimh.info import DatasetInfo
from src.vimh.reader import read_info


@pytest.fixture(scope="session")
def ckpt_path(trained_run):
    return trained_run.run_dir / "checkpoints" / "last.ckpt"


@pytest.fixture
def content(ckpt_path):
    """What the checkpoint holds, to be changed at will."""
    return torch.load(ckpt_path, weights_only=True)


@pytest.fixture
def saved(tmp_path):
    """Writes a checkpoint and returns its path."""

    def save(content):
        torch.save(content, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return save


@pytest.fixture
def sprung(tmp_path, monkeypatch):
    """A file that appears when something hostile runs; fails the test then, whatever ran it."""
    trap = tmp_path / "sprung"
    monkeypatch.setenv("TRAP", str(trap))
    yield trap
    assert not trap.exists()


def kinds(node):
    """Every type in nested plain data."""
    yield type(node)
    if isinstance(node, dict):
        for key, value in node.items():
            yield from kinds(key)
            yield from kinds(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from kinds(value)


def texts(node):
    """Every string in nested plain data."""
    return [part for part in flat(node) if isinstance(part, str)]


def flat(node):
    if isinstance(node, dict):
        return [part for pair in node.items() for item in pair for part in flat(item)]
    return [part for item in node for part in flat(item)] if isinstance(node, list | tuple) else [node]


def test_checkpoints_hold_tensors_and_plain_data_alone(trained_run):
    checkpoints = sorted((trained_run.run_dir / "checkpoints").iterdir())
    assert [path.name for path in checkpoints if path.name != "last.ckpt"] != []
    for path in checkpoints:
        content = torch.load(path, weights_only=True)  # refuses everything else
        assert set(kinds(content[ENTRY])) <= {dict, list, str, int, float, bool, type(None), torch.Tensor}
        assert not [text for text in texts(content[ENTRY]["config"]) if "${" in text]
        assert "hyper_parameters" not in content


def test_a_run_is_rebuilt_exactly(trained_run, ckpt_path, content, saw_dir):
    run = load_run(ckpt_path)
    assert run.info == read_info(saw_dir)
    plain = OmegaConf.to_container(trained_run.cfg, resolve=True)
    for name in ("model", "loss", "data", "seed", "task_name", "experiment_name", "tags"):
        assert run.config[name] == plain[name]
    assert not run.module.training
    state = run.module.state_dict()
    assert list(state) == list(content["state_dict"])
    for name, tensor in content["state_dict"].items():
        assert torch.equal(state[name], tensor), name


class Rebuilt(NamedTuple):
    """A network with weights of its own, and what its checkpoint gives back."""

    module: LightningModule
    found: LightningModule


@pytest.fixture
def rebuilt(compose_run, saw_dir, tmp_path):
    """Builds a network as configured, writes its checkpoint as a training does, and loads it."""

    def run(*overrides):
        cfg = compose_run(tmp_path, *overrides)
        info = read_info(saw_dir)
        torch.manual_seed(0)
        module = build_model(cfg, info, ([-40.0] * len(cfg.data.aux), [10.0] * len(cfg.data.aux)))
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 0.9)
        trainer = Trainer(callbacks=[SaveRun(cfg, info)], logger=False, accelerator="cpu", enable_model_summary=False)
        trainer.strategy.connect(module)
        trainer.save_checkpoint(tmp_path / "some.ckpt")
        return Rebuilt(module.eval(), load_run(tmp_path / "some.ckpt").module)

    return run


def same(module, found):
    """Whether two networks have the same weights, and say the same bit by bit."""
    state, other = module.state_dict(), found.state_dict()
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 1, 32, 32), generator=generator, dtype=torch.uint8)
    aux = torch.randn(3, 2, generator=generator)
    with torch.no_grad():
        said, expected = (network.read(image, aux) for network in (found, module))
    assert list(state) == list(other)
    assert all(torch.equal(state[name], other[name]) for name in state)
    return all(torch.equal(ours, theirs) for ours, theirs in zip(said, expected, strict=True))


@pytest.mark.parametrize("model", [model for model in groups()["model"] if is_complete(model)])
def test_every_network_comes_back_exactly(rebuilt, model):
    assert same(*rebuilt(f"model={model}"))


@pytest.mark.parametrize("head_weights", ["equal", "learnt", "{note_velocity: 2}"])
@pytest.mark.parametrize("loss", groups()["loss"])
def test_every_loss_comes_back_exactly(rebuilt, compose_run, tmp_path, loss, head_weights):
    overrides = ["model=cnn_micro", f"loss={loss}", f"model.head_weights={head_weights}"]
    if head_weights == "learnt" and not instantiate(compose_run(tmp_path, *overrides).loss).non_negative:
        with pytest.raises(ConfigError, match="head_weights is learnt"):
            rebuilt(*overrides)
    else:
        assert same(*rebuilt(*overrides))


def test_a_rebuilt_network_says_what_the_trained_one_said(trained_run, ckpt_path, content, saw_dir):
    datamodule = VIMHDataModule(saw_dir)
    batch = datamodule.test_set.__getitems__(range(13))
    trained = build_model(trained_run.cfg, datamodule.info, datamodule.aux_statistics())
    trained.load_state_dict(content["state_dict"])
    found, expected = (module.eval()(batch["image"], batch["aux"]) for module in (load_run(ckpt_path).module, trained))
    assert list(found) == ["note_velocity", "log10_decay_time"]
    for name, logits in expected.items():
        assert torch.equal(found[name], logits), name


def test_a_checkpoint_carries_the_statistics_of_its_conditioning_inputs(ckpt_path, trained_run):
    datamodule = VIMHDataModule(trained_run.cfg.data.data_dir, seed=trained_run.cfg.data.seed)
    mean, std = datamodule.aux_statistics()
    standardize = load_run(ckpt_path).module.net.standardize
    torch.testing.assert_close(standardize.mean, torch.tensor(mean))
    torch.testing.assert_close(standardize.std, torch.tensor(std))


def test_loading_leaves_the_file_as_it_is(ckpt_path):
    before = ckpt_path.read_bytes()
    load_run(ckpt_path)
    assert ckpt_path.read_bytes() == before


@pytest.mark.parametrize("what", ["missing.ckpt", "."])
def test_what_is_no_file_is_refused(tmp_path, what):
    with pytest.raises(CheckpointError, match=r"there is no such file.*make ex"):
        load_run(tmp_path / what)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"not a checkpoint", b"PK\x03\x04", pickle.dumps({"state_dict": {}}), bytes(range(1, 256)) * 4],
    ids=["empty", "zero", "text", "zip head", "pickle", "noise"],
)
def test_files_of_another_kind_are_refused_by_name(tmp_path, data):
    path = tmp_path / "some.ckpt"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"some\.ckpt"):
        load_run(path)


ADVICE = r"False|Re-running|arbitrary|trust|serialization|issue"


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("#!/bin/sh" * 9),
        lambda path: path.write_bytes(pickle.dumps(Hostile())),
        lambda path: torch.save(Hostile(), path),
        lambda path: torch.save(torch.nn.Linear(2, 2), path),
        lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path),
    ],
    ids=["text", "pickle", "hostile", "module", "script"],
)
@pytest.mark.filterwarnings("ignore:.*(torch\\.jit|TorchScript archive)")
def test_no_message_advises_to_run_what_a_file_holds(tmp_path, write):
    write(tmp_path / "some.ckpt")
    with pytest.raises(CheckpointError, match=r"some\.ckpt.*Name one that train\.py wrote") as refusal:
        read_checkpoint(tmp_path / "some.ckpt")
    assert not re.search(ADVICE, str(refusal.value))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_truncated_checkpoints_are_refused(ckpt_path, tmp_path, share):
    data = ckpt_path.read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"cut\.ckpt.* is (not a|no) checkpoint"):
        load_run(path)


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_checkpoints_load_or_are_refused(ckpt_path, tmp_path_factory, data):
    damaged = bytearray(ckpt_path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 16_000) | st.integers(0, len(damaged) - 1))  # the pickle, or anywhere
        damaged[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.ckpt"
    path.write_bytes(damaged)
    try:
        load_run(path)
    except CheckpointError as refusal:
        assert "damaged.ckpt" in str(refusal)


@pytest.mark.parametrize("content", [[1, 2], "weights", 7, torch.zeros(3), None], ids=repr)
def test_files_that_hold_no_dict_are_refused(saved, content):
    with pytest.raises(CheckpointError, match=f"holds a {type(content).__name__}"):
        load_run(saved(content))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"state_dict": {}},
        {ENTRY: {}, "state_dict": {}},
        {ENTRY: {"config": {}, "dataset_info": {}}},
        {ENTRY: 5, "state_dict": {}},
        {ENTRY: {"config": 5, "dataset_info": {}}, "state_dict": {}},
        {ENTRY: {"config": {}, "dataset_info": "text"}, "state_dict": {}},
    ],
    ids=str,
)
def test_checkpoints_of_other_programs_are_refused(saved, content):
    with pytest.raises(CheckpointError, match=r"no checkpoint of this project.*train\.py"):
        load_run(saved(content))


@pytest.mark.parametrize("section", ["model", "loss", "data"])
def test_a_checkpoint_that_lacks_a_section_is_refused(saved, content, section):
    del content[ENTRY]["config"][section]
    with pytest.raises(CheckpointError, match=section):
        load_run(saved(content))


@pytest.mark.parametrize("value", [None, 3, [], "text", {}, {"aux": 3}], ids=repr)
@pytest.mark.parametrize("section", ["model", "loss", "data"])
def test_a_section_of_the_wrong_shape_is_refused(saved, content, section, value):
    content[ENTRY]["config"][section] = value
    with pytest.raises(CheckpointError, match=r"changed\.ckpt"):
        load_run(saved(content))


def test_a_damaged_description_of_the_dataset_is_refused(saved, content):
    del content[ENTRY]["dataset_info"]["parameter_mappings"]["note_velocity"]["step"]
    with pytest.raises(CheckpointError, match=r"changed\.ckpt.*note_velocity\.step is missing"):
        load_run(saved(content))


def test_weights_that_do_not_fit_are_refused(saved, content):
    weights = content["state_dict"]
    name = next(name for name in weights if name.endswith("linear.weight"))
    for changed in (
        {key: tensor for key, tensor in weights.items() if key != name},
        weights | {"another.weight": torch.zeros(1)},
        weights | {name: weights[name][:-1]},
        dict.fromkeys(weights, 3),
    ):
        with pytest.raises(CheckpointError, match="do not fit"):
            load_run(saved(content | {"state_dict": changed}))


def test_a_checkpoint_with_other_heads_than_its_weights_is_refused(saved, content):
    info = content[ENTRY]["dataset_info"]
    info["parameter_mappings"]["note_velocity"] |= {"max": 120, "num_classes": 9}
    with pytest.raises(CheckpointError, match=r"(?s)do not fit.*heads\.linear\.weight"):
        load_run(saved(content))


class Hostile:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ('touch "$TRAP"',)


def test_the_trap_works(sprung):
    pickle.loads(pickle.dumps(Hostile()))
    assert sprung.exists()
    sprung.unlink()


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("where", ["alone", "beside the weights", "in the configuration", "as a weight"])
def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(content, tmp_path, sprung, new_format, where):
    hostile = {
        "alone": lambda: Hostile(),
        "beside the weights": lambda: content | {"callbacks": [Hostile()]},
        "in the configuration": lambda: content | {ENTRY: content[ENTRY] | {"config": Hostile()}},
        "as a weight": lambda: content | {"state_dict": content["state_dict"] | {"best_acc": Hostile()}},
    }[where]()
    path = tmp_path / "hostile.ckpt"
    torch.save(hostile, path, _use_new_zipfile_serialization=new_format)
    for read in (load_run, read_checkpoint):
        with pytest.raises(CheckpointError, match=r"hostile\.ckpt.*not read"):
            read(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_plain_hostile_pickle_is_refused_and_nothing_of_it_runs(tmp_path, sprung):
    path = tmp_path / "hostile.ckpt"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Hostile(), protocol=protocol))
        with pytest.raises(CheckpointError, match=r"hostile\.ckpt"):
            load_run(path)


def test_a_whole_module_is_not_read(tmp_path):
    buffer = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), buffer)
    (tmp_path / "module.ckpt").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="not read"):
        load_run(tmp_path / "module.ckpt")


HOSTILE_SECTIONS = [
    {"_target_": "os.system", "command": 'touch "$TRAP"'},
    {"_target_": "os.system", "_args_": ['touch "$TRAP"']},
    {"_target_": "subprocess.run", "args": 'touch "$TRAP"', "shell": True},
    {"_target_": "src.generation.subprocess.run", "args": 'touch "$TRAP"', "shell": True},
    {"_target_": "src.generation.make_dataset", "data_dir": "/tmp/nowhere", "config_name": "evil"},
    {"_target_": "src.checkpoints.run.hydra.utils.get_method", "path": "os.system"},
    {"_target_": "builtins.exec", "_args_": ["import os; open(os.environ['TRAP'], 'w')"]},
    {"_target_": "torch.load", "f": "evil.pt"},
    {"_target_": "torch.nn.Identity", "value": "${oc.env:HOME}"},
    {"_target_": "${oc.env:HOME}"},
]
PLACES = [
    ("model",),
    ("model", "net"),
    ("model", "optimizer"),
    ("model", "scheduler"),
    ("model", "net", "widths"),
    ("loss", "label_smoothing"),
]


@pytest.mark.parametrize(
    ("section", "place"),
    [(section, ("loss",)) for section in HOSTILE_SECTIONS] + [(HOSTILE_SECTIONS[0], place) for place in PLACES],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else value["_target_"],
)
def test_a_hostile_target_is_refused_and_nothing_of_it_runs(content, saved, sprung, section, place, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: sprung.touch())
    *path, last = place
    at = content[ENTRY]["config"]
    for key in path:
        at = at[key]
    at[last] = section
    with pytest.raises(CheckpointError) as refusal:
        load_run(saved(content))
    assert "changed.ckpt" in str(refusal.value)
    if "HOME" not in str(section):
        assert section["_target_"] in str(refusal.value)
    assert os.environ["HOME"] not in str(refusal.value)


@pytest.mark.parametrize("section", HOSTILE_SECTIONS, ids=lambda section: section["_target_"])
def test_a_hostile_datamodule_is_refused_and_nothing_of_it_runs(content, saved, sprung, section):
    content[ENTRY]["config"]["data"] = section | {"aux": ["spec_min", "spec_max"]}
    run = load_run(saved(content))
    with pytest.raises(CheckpointError):
        restore_datamodule(run)


@pytest.mark.parametrize("stream", [False, True])
def test_a_checkpoint_does_not_say_how_sounds_and_a_missing_dataset_are_made(content, saved, sprung, stream):
    data = content[ENTRY]["config"]["data"]
    data |= {"make_dataset": HOSTILE_SECTIONS[0], "stream": stream, "stream_source": HOSTILE_SECTIONS[0]}
    datamodule = restore_datamodule(load_run(saved(content)), batch_size=8, data_dir=None)
    assert datamodule.make_dataset is None
    assert (datamodule.stream, datamodule.stream_source) == (False, None)
    assert datamodule.batch_size == 8
    assert str(datamodule.data_dir) == data["data_dir"]


def dataset_of(content):
    return DatasetInfo.from_dict(content[ENTRY]["dataset_info"], "here")


def test_what_measured_the_conditioning_inputs_measures_them_again(content, saved):
    content[ENTRY]["config"]["data"]["aux"] = ["level", "spec_min"]
    datamodule = restore_datamodule(Run(None, dataset_of(content), content[ENTRY]["config"]))
    aux = datamodule.test_set[:]["aux"]
    assert aux.shape == (13, 2)
    assert (aux[:, 0] > aux[:, 1]).all()  # nothing is below the floor


def test_a_checkpoint_of_a_datamodule_without_these_settings_is_read(content):
    data = content[ENTRY]["config"]["data"]
    kept = {key: data[key] for key in ("_target_", "data_dir", "batch_size", "aux", "seed", "val_fraction")}
    datamodule = restore_datamodule(Run(None, dataset_of(content), {"data": kept}))
    assert len(datamodule.test_set) == 13


def test_a_network_gets_no_dataset_with_other_heads(content, saved):
    run = load_run(saved(content))
    wider = run.info.model_copy(update={"width": run.info.width + 1})
    with pytest.raises(CheckpointError, match="is not a dataset of this checkpoint"):
        restore_datamodule(replace(run, info=wider))


def test_a_dataset_whose_test_sounds_were_trained_on_is_used_with_a_warning(content, saved, caplog):
    run = load_run(saved(content))
    restore_datamodule(run)
    assert not caplog.records
    larger = run.info.model_copy(update={"train_samples": 60, "test_samples": 15})
    restore_datamodule(replace(run, info=larger))
    (message,) = (record.getMessage() for record in caplog.records)
    assert "trained on 9 of its 13 test sounds, numbers 51 to 59" in message
    assert "the seed 42" in message


def test_a_dataset_smaller_than_what_was_trained_on_is_read_as_a_whole(content, saved):
    data = content[ENTRY]["config"]["data"]
    for train_size, n_trained in ((40, 36), (100_000, 46)):
        data["train_size"] = train_size
        datamodule = restore_datamodule(Run(None, dataset_of(content), content[ENTRY]["config"]))
        assert (len(datamodule.train_set), len(datamodule.test_set)) == (n_trained, 13)


def test_a_class_of_a_trusted_module_is_taken(content, saved, tmp_path, monkeypatch):
    (tmp_path / "friend.py").write_text("from src.models.losses import CrossEntropy\nclass Loss(CrossEntropy): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    content[ENTRY]["config"]["loss"] = {"_target_": "friend.Loss"}
    path = saved(content)
    with pytest.raises(CheckpointError, match=r"friend\.Loss.*trusted_modules"):
        load_run(path)
    assert type(load_run(path, ["friend"]).module.loss).__name__ == "Loss"


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "costs ${5}", "???", "a ${b", "_target_"])
def test_what_people_write_into_a_dataset_is_not_interpreted(trained_run, saw_dir, content, saved, text):
    description = read_info(saw_dir).to_dict()
    description["parameter_mappings"]["note_velocity"] |= {"description": text, "units": text}
    info = DatasetInfo.from_dict(description, "here")
    module = build_model(trained_run.cfg, info)
    assert (module.specs[0].description, module.specs[0].units) == (text, text)
    content[ENTRY]["dataset_info"] = description
    assert load_run(saved(content)).module.specs == module.specs


def info_with(info, **changes):
    return DatasetInfo.from_dict(copy.deepcopy(info.to_dict()) | changes, "here")


@pytest.fixture
def info(saw_dir):
    return info_with(read_info(saw_dir), files={})


def changed_mapping(info, name, **changes):
    mappings = copy.deepcopy(info.to_dict()["parameter_mappings"])
    mappings[name] = mappings.get(name, mappings["note_velocity"]) | changes
    return mappings


def test_a_dataset_with_the_same_heads_and_images_will_do(info):
    check_same_heads(info, info, "there")
    larger = info_with(info, train_samples=100, total_samples=None, n_samples=None, dataset_name="another")
    check_same_heads(info, larger, "there")
    described = info_with(info, parameter_mappings=changed_mapping(info, "note_velocity", description="other words"))
    check_same_heads(info, described, "there")


def test_heads_that_differ_are_named(info):
    names = ["log10_decay_time", "cutoff"]
    mappings = changed_mapping(info, "log10_decay_time", min=-3.0, num_classes=34)
    mappings["cutoff"] = mappings.pop("note_velocity")
    other = info_with(info, parameter_names=names, parameter_mappings=mappings)
    with pytest.raises(CheckpointError) as refusal:
        check_same_heads(info, other, "over/there")
    for fact in (
        "over/there",
        "cutoff: the dataset has it",
        "note_velocity: the network has it",
        "log10_decay_time: min, max, step are (-2.0, 0.3, 0.1) in the network, (-3.0, 0.3, 0.1) in the dataset",
    ):
        assert fact in str(refusal.value)
    assert "image" not in str(refusal.value)


def test_heads_in_another_order_are_refused(info):
    other = info_with(info, parameter_names=list(reversed(info.parameter_names)))
    with pytest.raises(
        CheckpointError, match=r"note_velocity, log10_decay_time in the network, log10_decay_time, note"
    ):
        check_same_heads(info, other, "there")


def test_images_of_another_shape_are_refused(info):
    other = info_with(info, height=16, image_size="16x32x1")
    with pytest.raises(CheckpointError, match=r"\(1, 32, 32\) in the network, \(1, 16, 32\) in the dataset"):
        check_same_heads(info, other, "there")


def test_training_goes_on_from_a_checkpoint_of_the_same_network(trained_run, ckpt_path, info):
    steps = check_resumable(ckpt_path, build_model(trained_run.cfg, info), info, trained_run.cfg.data)
    assert steps == 2 * 3  # epochs, batches


def test_training_does_not_go_on_from_weights_alone(trained_run, content, saved, info):
    del content["global_step"]
    with pytest.raises(CheckpointError, match=r"changed\.ckpt.*global_step"):
        check_resumable(saved(content), build_model(trained_run.cfg, info), info, trained_run.cfg.data)


@pytest.mark.parametrize("overrides", [["model=cnn_tiny"], ["model=cnn_micro", "loss=regression"]], ids=str)
def test_training_does_not_go_on_from_a_checkpoint_of_another_network(
    trained_run, compose_run, tmp_path, ckpt_path, info, overrides
):
    model = build_model(compose_run(tmp_path, *overrides), info)
    with pytest.raises(CheckpointError, match=r"last\.ckpt.*net\..*differ"):
        check_resumable(ckpt_path, model, info, trained_run.cfg.data)


def test_training_does_not_go_on_from_damaged_weights(trained_run, content, saved, info):
    path = saved(content | {"state_dict": dict.fromkeys(content["state_dict"], 3)})
    with pytest.raises(CheckpointError, match=r"changed\.ckpt.*differ"):
        check_resumable(path, build_model(trained_run.cfg, info), info, trained_run.cfg.data)


def test_training_does_not_go_on_with_other_heads(trained_run, ckpt_path, info):
    other = info_with(info, parameter_mappings=changed_mapping(info, "note_velocity", max=120, num_classes=9))
    with pytest.raises(CheckpointError, match=r"note_velocity: min, max, step are"):
        check_resumable(ckpt_path, build_model(trained_run.cfg, info), other, trained_run.cfg.data)


@pytest.mark.parametrize(("key", "other"), [("seed", 43), ("val_fraction", 0.25), ("train_size", 40), ("fold", 2)])
def test_training_does_not_go_on_with_other_validation_samples(trained_run, ckpt_path, info, key, other):
    data = {**trained_run.cfg.data, key: other}
    with pytest.raises(CheckpointError, match=rf"data\.{key}=.*this run has {other}.*Resume with data\.{key}="):
        check_resumable(ckpt_path, build_model(trained_run.cfg, info), info, data)


def test_every_error_of_a_checkpoint_is_one_that_entry_points_print():
    assert issubclass(CheckpointError, NSMError)
