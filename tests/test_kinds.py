"""Integers, categories, log scales and conditions, from drawing to report; the synth is the example in CONTRIBUTING."""

import csv
import json
import re
import shutil
import sys
import threading
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from hydra import compose
from rich.console import Console
from scipy import stats
from sklearn.metrics import f1_score

import src.synth
from src import generation
from src.callbacks.head_figures import HeadPredictions, head_figure
from src.checkpoints.run import check_same_heads
from src.checkpoints.trusted import instantiate_own
from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import BatchFormat
from src.errors import CheckpointError, ConfigError, VIMHError
from src.evaluation.audit import audit, observe
from src.evaluation.estimates import typical_value
from src.evaluation.posterior import posterior
from src.evaluation.refinement import refine
from src.evaluation.scoring import category_f1, parameter_errors, plain_values
from src.generation import fresh_sounds, generate
from src.hydra_versions import initialize_configs
from src.models.decoders import Prediction
from src.models.losses import (
    CrossEntropy,
    Gaussian,
    HeadLoss,
    HeadWeights,
    Ordinal,
    Regression,
    SoftTarget,
    WeightedCrossEntropy,
)
from src.models.metrics import HeadMetrics
from src.param_tensors import ParamTensors
from src.params import FixedParam, ParameterSpace, ParamSpec
from src.pictures.plots import value_texts
from src.recipe import Recipe
from src.tasks.audio_eval import audio_eval
from src.tasks.evaluate import evaluate
from src.tasks.export import export
from src.tasks.predict import predict
from src.tasks.results import CATEGORY_FIGURES, FIGURES, head_results, results_tables
from src.tasks.train import train
from src.vimh.info import DatasetInfo, mapping_from_spec
from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[1]
MODULE = "src.synth.tremolo"
WAVES = ("sine", "sawtooth", "square")
PARAMETERS = {
    "waveform": {"names": list(WAVES)},
    "octave": {"kind": "integer", "min": 0, "max": 3, "step": 1},
    "lfo": {"names": ["off", "on"]},
    "lfo_rate": {"scale": "log", "min": 2, "max": 16, "step": 1.1892, "units": "Hz", "active_if": {"lfo": "on"}},
}
SPACE = ParameterSpace.from_config(PARAMETERS)
OF_CATEGORIES = {"acc", "balanced_acc", "f1", "ece", "majority", "names", "confusion", "visible"}
LOSSES = [CrossEntropy(label_smoothing=0.1), SoftTarget(), WeightedCrossEntropy(), Ordinal(), Regression(), Gaussian()]


def example(language):
    """The code of CONTRIBUTING's example."""
    return re.search(rf"```{language}\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]


@pytest.fixture(scope="module")
def tremolo():
    """The module of the example, as if it were a file of the project."""
    module = types.ModuleType(MODULE)
    exec(example("python"), module.__dict__)
    sys.modules[MODULE], src.synth.tremolo = module, module
    yield module
    del sys.modules[MODULE], src.synth.tremolo


@pytest.fixture(scope="module")
def recipe_with(tremolo, tmp_path_factory):
    """Makes the recipe of the example's configuration with overrides."""
    configs = tmp_path_factory.mktemp("tree") / "configs"
    shutil.copytree(ROOT / "configs", configs)
    (configs / "synth" / "generate_tremolo.yaml").write_text(example("yaml"))

    def make(*overrides):
        with initialize_configs(configs):
            return Recipe.from_config(compose("synth/generate_tremolo", list(overrides)), instantiate_own)

    return make


@pytest.fixture(scope="module")
def recipe(recipe_with):
    return recipe_with("dataset.size=120", "dataset.duration=0.5", "representation.width=16")


@pytest.fixture(scope="module")
def data_dir(recipe, tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / recipe.directory_name()
    generate(recipe, directory)
    return directory


# drawing


@pytest.mark.parametrize("sampling", ["uniform", "sobol"])
def test_every_class_is_as_frequent_as_any_other(sampling):
    n = 4096
    value = SPACE.sample(0, n, 5, sampling)
    for p, spec in enumerate(SPACE.varying[:3]):
        counts = np.bincount(spec.index_from_value(value[:, p]).astype(int), minlength=spec.n_classes)
        assert stats.chisquare(counts).pvalue > 1e-3
        assert np.isin(value[:, p], spec.value_from_index(np.arange(spec.n_classes))).all()


@pytest.mark.parametrize("sampling", ["uniform", "sobol"])
def test_a_log_scale_is_drawn_evenly_in_the_logarithm(sampling):
    value = SPACE.sample(0, 4096, 5, sampling)[:, 3]
    natural = SPACE.varying[3].natural_from_value(value)
    assert stats.kstest(np.log(natural / 2) / np.log(8), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("sampling", ["uniform", "sobol"])
def test_a_continuous_parameter_is_drawn_as_before_whatever_stands_beside_it(sampling):
    plain = [ParamSpec(f"p{i}", i, i + 2.0, 0.1) for i in range(4)]
    mixed = [plain[0], replace(SPACE.varying[0], name="w"), plain[2], replace(SPACE.varying[1], name="o")]
    old, new = (ParameterSpace(tuple(specs)).sample(3, 50, 1, sampling) for specs in (plain, mixed))
    np.testing.assert_array_equal(old[:, [0, 2]], new[:, [0, 2]])


def test_the_last_number_below_one_draws_the_last_class():
    share = np.full((1, 1), np.nextafter(1, 0))
    for n_classes in range(2, 257):
        spec = ParamSpec("x", 0, n_classes - 1, 1, kind="integer")
        assert ParameterSpace((spec,)).value_from_uniform(share).item() == n_classes - 1


# conversions


def test_a_log_scale_is_given_in_natural_units_and_kept_in_logarithms():
    spec = SPACE.varying[3]
    assert (spec.min, spec.max) == pytest.approx((np.log10(2), np.log10(16)))
    assert (spec.units, spec.natural_units, spec.n_classes) == ("log10 Hz", "Hz", 13)
    assert spec.natural_from_value(spec.value_from_index(np.arange(13))) == pytest.approx(2 * 2 ** (np.arange(13) / 4))
    assert spec.range / spec.step == pytest.approx(12, abs=1e-12)


def test_standard_deviations_in_natural_units_are_those_of_small_errors():
    spec, value = SPACE.varying[3], np.array([0.5, 1.0])
    slope = (spec.natural_from_value(value + 1e-6) - spec.natural_from_value(value - 1e-6)) / 2e-6
    assert spec.natural_std(value, 0.1) == pytest.approx(0.1 * slope)


def test_tensors_do_what_arrays_do():
    heads, value = ParamTensors(SPACE.varying), SPACE.sample(0, 200, 0, "uniform")
    moved = value + np.random.default_rng(0).normal(0, 0.2, value.shape)
    tensor = torch.from_numpy(moved)
    np.testing.assert_allclose(heads.snapped(tensor), SPACE.snapped(moved), rtol=1e-6)
    np.testing.assert_allclose(heads.natural_from_value(tensor), SPACE.natural_from_value(moved), rtol=1e-6)
    index = SPACE.index_from_value(value).astype(np.int64)
    np.testing.assert_array_equal(heads.active_from_index(torch.from_numpy(index)), SPACE.active(value))


def test_values_are_texts_for_people():
    waveform, octave, _, rate = SPACE.varying
    texts = waveform.text(1.2), octave.text(2.4), rate.text(np.log10(4)), rate.text(np.nan)
    assert texts == ("sawtooth", "2", "4", "–")


# the file


def test_older_readers_compute_the_same_values_and_classes(recipe, data_dir):
    """By the arithmetic of the format alone: value = min + code / 255 * (max - min), no key of other kinds."""
    reader = VIMHReader(data_dir)
    reader.validate()
    batch = reader.train.read(slice(None))
    for p, name in enumerate(reader.info.parameter_names):
        entry = json.loads((data_dir / "vimh_dataset_info.json").read_text())["parameter_mappings"][name]
        low, high, step = entry["min"], entry["max"], entry["step"]
        assert entry["num_classes"] == round((high - low) / step) + 1
        decoded = low + batch.code[:, p] / 255 * (high - low)
        assert (np.abs(decoded - batch.value[:, p]) <= (high - low) / 255 * (0.5 + 1e-4)).all()
        steps = batch.code[:, p] / 255 * (high - low) / step - (batch.value[:, p] - low) / step
        assert (np.abs(steps) <= (0.5 + 1e-4) / 255 * (high - low) / step).all()
        if name != "lfo_rate":  # every value is a point of the grid, and its code says which
            np.testing.assert_array_equal(np.round(batch.code[:, p] / 255 * (high - low)), batch.value[:, p])
    np.testing.assert_array_equal(batch.value, recipe.values(0, len(batch.value)))


def test_the_description_comes_back_as_it_was(recipe, data_dir):
    info = VIMHReader(data_dir).info
    assert info.space == recipe.space == SPACE
    assert DatasetInfo.from_dict(info.to_dict(), "x").space == SPACE
    again = [info.parameter_mappings[spec.name].spec(spec.name) for spec in SPACE.varying]
    assert again == list(SPACE.varying)


def test_plain_parameters_have_no_new_keys():
    given = mapping_from_spec(ParamSpec("x", 0, 1, 0.1)).model_dump(exclude_unset=True)
    old = {"min", "max", "step", "num_classes", "description", "units", "categorical", "names"}
    assert set(given) == old
    assert set(mapping_from_spec(SPACE.varying[0]).model_dump(exclude_unset=True)) == old
    assert set(mapping_from_spec(SPACE.varying[3]).model_dump(exclude_unset=True)) == old | {"scale", "active_if"}


def test_without_exact_values_classes_are_exact_all_the_same():
    value = SPACE.sample(0, 300, 2, "uniform")
    decoded = SPACE.decode(SPACE.encode(value))
    np.testing.assert_array_equal(decoded[:, :3], value[:, :3])


# conditions


def test_what_depends_on_an_inactive_parameter_is_inactive():
    space = ParameterSpace(
        (
            ParamSpec("c", 0, 1, 0.1, active_if={"b": ["x", "z"]}),
            ParamSpec("b", 0, 2, 1, names=("x", "y", "z"), active_if={"a": 1}),
            ParamSpec("a", 0, 1, 1, kind="integer"),
        )
    )
    rows = np.array([[0.5, b, a] for a in (0, 1) for b in (0, 1, 2)])
    assert space.active(rows)[:, 0].tolist() == [False, False, False, True, False, True]
    assert space.active(rows)[:, 1].tolist() == [False] * 3 + [True] * 3
    assert space.active(rows)[:, 2].all()
    ends = space.ends()
    tried = ends[space.active(ends)[:, 0], 0]
    assert {0.0, 1.0} <= set(tried.tolist())


def test_a_condition_on_a_fixed_parameter_holds_for_all_or_is_refused():
    rate = SPACE.varying[3]
    on = ParameterSpace((replace(rate, active_if={"lfo": 1}),), (FixedParam("lfo", 1.0),))
    assert on.varying[0].active_if == {}
    assert on.active(np.array([[0.5]])).all()
    with pytest.raises(ConfigError, match=r"lfo_rate: is never active, because lfo is fixed at 0, not at 1"):
        ParameterSpace((replace(rate, active_if={"lfo": 1}),), (FixedParam("lfo", 0.0),))
    with pytest.raises(ConfigError, match=r"lfo is fixed|which is fixed at 1"):
        ParameterSpace((rate,), (FixedParam("lfo", 1.0),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lfo_rate": {"active_if": {"vibrato": 1}}}, r"active_if names vibrato, which is no parameter here.*lfo"),
        ({"octave": {"active_if": {"lfo_rate": 1}}}, r"active_if names lfo_rate, which is continuous"),
        ({"lfo_rate": {"active_if": {"lfo": "loud"}}}, r"lfo: loud, but the classes of lfo are off, on"),
        ({"lfo_rate": {"active_if": {"lfo": True}}}, r"put such names in quotes"),
        ({"lfo_rate": {"active_if": {"octave": 4}}}, r"the classes of octave are 0 to 3 in steps of 1"),
        ({"lfo_rate": {"active_if": {"lfo": []}}}, r"names no class of lfo"),
        ({"lfo": {"active_if": {"octave": 1}}, "octave": {"active_if": {"lfo": 1}}}, r"goes in a circle"),
        ({"lfo": {"active_if": {"lfo": 1}}}, r"goes in a circle"),
        ({"lfo_rate": {"active_if": "lfo"}}, r"active_if"),
        ({"lfo_rate": {"min": 0}}, r"min 0, max 16 and step 1.1892 make no log scale"),
        ({"lfo_rate": {"step": 0.5}}, r"the factor from one grid point to the next, above 1"),
        ({"lfo_rate": {"scale": "logarithmic"}}, r"scale is 'logarithmic'"),
        ({"lfo_rate": {"kind": "integer"}}, r"scale is log, which goes with continuous"),
        ({"octave": {"kind": "whole"}}, r"kind is 'whole'"),
        ({"octave": {"kind": "categorical"}}, r"names are missing"),
        ({"octave": {"names": ["a", "b", "c", "d"]}}, r"kind is integer, but names are a, b, c, d"),
        ({"octave": {"step": 0.5}}, r"must be whole numbers"),
        ({"octave": {"step": 2}}, r"must be whole numbers, and the range a whole number of steps"),
        ({"waveform": {"names": ["sine"]}}, r"missing"),
        ({"waveform": {"names": [True, False]}}, r"names"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(changes, message):
    changed = {name: entry | changes.get(name, {}) for name, entry in PARAMETERS.items()}
    with pytest.raises(ConfigError, match=message) as caught:
        ParameterSpace.from_config(changed)
    assert str(caught.value).count("\n") == 0


def test_a_file_with_a_condition_that_makes_no_sense_is_refused(data_dir):
    plain = VIMHReader(data_dir).info.to_dict()
    plain["parameter_mappings"]["lfo_rate"]["active_if"] = {"lfo": ["loud"]}
    with pytest.raises(VIMHError, match=r"loud, but the classes of lfo"):
        DatasetInfo.from_dict(plain, "set")


@pytest.mark.parametrize(
    ("key", "item"),
    [
        *(("kind", item) for item in (5, "whole", "categorical", ["integer"], {}, True)),
        *(("scale", item) for item in (5, None, "ln", ["log"], {}, "")),
        *(("active_if", item) for item in (5, None, "lfo", ["lfo"], {"lfo": {"on": 1}}, {"lfo": [["on"]]}, {"": 1})),
        *(("active_if", {"lfo": item}) for item in (None, True, [], 0.5, 1e400, float("nan"), "", 2, [0, "loud"])),
        *(("active_if", {name: 0}) for name in ("octave ", "lfo_rate", "vibrato")),
    ],
    ids=repr,
)
def test_a_file_with_other_keys_than_the_format_has_is_refused(data_dir, key, item):
    plain = VIMHReader(data_dir).info.to_dict()
    plain["parameter_mappings"]["lfo_rate"][key] = item
    with pytest.raises(VIMHError) as caught:
        DatasetInfo.from_dict(plain, "set")
    assert len(str(caught.value)) < 600


# sounds


def test_no_sound_depends_on_what_does_not_act(recipe):
    value = recipe.values(0, 40)
    other = value.copy()
    other[:, 3] = recipe.values(40, 80)[:, 3]
    off = value[:, 2] == 0
    assert 5 < off.sum() < 35
    same = (recipe.render(value) == recipe.render(other)).all(axis=1)
    np.testing.assert_array_equal(same, off)


def test_a_synth_is_given_natural_units(recipe, monkeypatch):
    given = {}
    monkeypatch.setattr(recipe.synth, "render", lambda parameters: given.update(parameters))
    value = np.array([[2, 3, 1, np.log10(4)], [1, 0, 0, np.log10(4)]])
    recipe.render(value)
    assert given["lfo_rate"] == pytest.approx([4, 2])  # where it does not act, the lowest
    assert given["waveform"].tolist() == [2, 1]


def test_the_trial_before_generating_reaches_every_class_and_both_ends(recipe):
    ends = recipe.space.natural_from_value(recipe.space.canonical(recipe.space.ends()))
    assert set(ends[:, 0]) == {0, 1, 2}
    assert {2.0, 16.0} <= set(np.round(ends[:, 3], 9))


def test_a_synth_that_stays_on_one_thread_is_called_from_one(recipe_with, recipe, monkeypatch, tmp_path, data_dir):
    alone = recipe_with("dataset.size=120", "dataset.duration=0.5", "representation.width=16")
    seen, render = set(), alone.synth.render
    alone.synth.threads = False
    monkeypatch.setattr(alone.synth, "render", lambda parameters: seen.add(threading.get_ident()) or render(parameters))
    generate(alone, tmp_path / "set", batch_size=7)
    assert seen == {threading.get_ident()}
    for name in ("train", "test", "train_values.npy"):
        assert (tmp_path / "set" / name).read_bytes() == (data_dir / name).read_bytes()
    monkeypatch.setattr(type(alone.synth), "threads", False)
    with pytest.raises(ConfigError, match=r"TremoloVoice renders on one thread alone.*data.stream=false"):
        fresh_sounds(VIMHReader(data_dir).info, instantiate_own)


@pytest.mark.parametrize("threads", [True, False])
def test_what_is_waited_for_is_named(recipe_with, monkeypatch, tmp_path, threads):
    slow = recipe_with(
        "dataset.size=8", "dataset.duration=0.1", "representation.width=4", "representation.win_length=64"
    )
    slow.synth.threads = threads
    said, render, messages = threading.Event(), slow.synth.render, []
    monkeypatch.setattr(generation, "PATIENCE", 0.02)

    def wait_for_the_message(parameters):
        if len(parameters["lfo"]) == slow.n_train:
            said.wait(30)
        return render(parameters)

    def keep(*message):
        messages.append(message[0] % message[1:])
        said.set()

    monkeypatch.setattr(slow.synth, "render", wait_for_the_message)
    monkeypatch.setattr(generation.log, "warning", keep)
    generate(slow, tmp_path / "set")
    assert messages[0] == "Still waiting for samples 0 to 5 (train) of the synth, for 0 s now."


# losses


def batch_of(n, parameters=SPACE.varying, seed=0):
    """Classes and positions of some samples."""
    space = ParameterSpace(tuple(parameters))
    value = space.sample(0, n, seed, "uniform")
    normalized = torch.from_numpy(space.normalized_from_value(value)).float()
    return torch.from_numpy(space.index_from_value(value).astype(np.int64)), normalized


def specs_for(loss):
    """The heads that a loss can have: numbers alone cannot be categories."""
    if isinstance(loss, Regression | Gaussian):
        _, octave, _, rate = SPACE.varying
        lfo = ParamSpec("lfo", 0, 1, 1, kind="integer")
        return (octave, lfo, replace(rate, active_if={"lfo": 1}))
    return SPACE.varying


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_the_loss_is_that_of_the_samples_on_which_a_parameter_acts(loss: HeadLoss):
    specs = specs_for(loss)
    heads, (index, normalized) = ParamTensors(specs), batch_of(40, specs)
    rng = torch.Generator().manual_seed(0)
    logits = [torch.randn(40, loss.head_size(spec), generator=rng, requires_grad=True) for spec in specs]
    found = loss.per_head(logits, normalized, index, heads)
    always = ParamTensors([replace(spec, active_if={}) for spec in specs])
    acts = heads.active_from_index(index)[:, -1]
    assert 5 < acts.sum() < 35
    whole = loss.per_head(logits, normalized, index, always)
    some = loss.per_head([of_head[acts] for of_head in logits], normalized[acts], index[acts], always)
    torch.testing.assert_close(found[:-1], whole[:-1])
    torch.testing.assert_close(found[-1], some[-1])
    found.sum().backward()
    assert (logits[-1].grad[~acts] == 0).all()
    assert (logits[-1].grad[acts] != 0).any(dim=1).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_batch_on_which_a_parameter_never_acts_costs_nothing(loss: HeadLoss):
    specs = specs_for(loss)
    heads, (index, normalized) = ParamTensors(specs), batch_of(10, specs)
    index[:, -2] = 0
    logits = [torch.randn(10, loss.head_size(spec), requires_grad=True) for spec in specs]
    found = loss.per_head(logits, normalized, index, heads)
    assert found[-1] == 0
    found.sum().backward()
    assert (logits[-1].grad == 0).all()
    assert all(of_head.grad.isfinite().all() for of_head in logits)


def test_the_weight_of_a_head_that_never_acts_is_not_learnt():
    heads, loss = ParamTensors(SPACE.varying), CrossEntropy()
    weights = HeadWeights("learnt", heads.names, loss)
    index, normalized = batch_of(10)
    index[:, 2] = 0
    logits = [torch.randn(10, spec.n_classes) for spec in SPACE.varying]
    weights(loss.per_head(logits, normalized, index, heads), heads.present(index)).backward()
    assert (weights.log_variance.grad != 0).tolist() == [True, True, True, False]
    always = ParamTensors([replace(spec, active_if={}) for spec in SPACE.varying])
    assert always.present(index) is None


# metrics


def predictions_of(index, normalized, seed=1):
    """Predictions, some of them right."""
    rng = torch.Generator().manual_seed(seed)
    n_classes = torch.tensor([spec.n_classes for spec in SPACE.varying])
    drawn = (torch.rand(index.shape, generator=rng) * n_classes).long()
    hit = torch.rand(index.shape, generator=rng) < 0.5
    error = 0.2 * torch.randn(index.shape, generator=rng)
    return Prediction(torch.where(hit, index, drawn), normalized + error, torch.ones(index.shape))


def counted(heads, batches):
    metrics = HeadMetrics(heads, coverage=True)
    for index, normalized, said in batches:
        likelihood = [torch.zeros(len(index), int(n)) for n in heads.n_classes[heads.categorical]]
        ones = torch.ones(len(heads.names))
        metrics.update(torch.tensor(0.0), said, index, normalized, ones, log_probability=likelihood)
    return metrics


def test_figures_are_those_of_the_samples_on_which_a_parameter_acts():
    index, normalized = batch_of(200)
    said = predictions_of(index, normalized)
    heads = ParamTensors(SPACE.varying)
    parts = zip(index.split(70), normalized.split(70), zip(*(of.split(70) for of in said), strict=True), strict=True)
    metrics = counted(heads, [(i, n, Prediction(*s)) for i, n, s in parts])
    figures = metrics.compute()
    acts = index[:, 2] == 1
    rate = ParamTensors([replace(SPACE.varying[3], active_if={})])
    some = Prediction(*(of[acts, 3:] for of in said))
    reference = counted(rate, [(index[acts, 3:], normalized[acts, 3:], some)])
    for name, figure in reference.compute().items():
        if name.startswith("lfo_rate_"):
            torch.testing.assert_close(figures[name], figure)
    torch.testing.assert_close(metrics.conformal_scale()[3:], reference.conformal_scale())
    assert metrics.conformal_scale().isnan().tolist() == [True, False, True, False]


def test_categories_have_figures_without_distances_alone():
    index, normalized = batch_of(200)
    said = predictions_of(index, normalized)
    figures = counted(ParamTensors(SPACE.varying), [(index, normalized, said)]).compute()
    for head in (0, 2):
        name = SPACE.varying[head].name
        assert {key for key in figures if re.fullmatch(f"{name}_(?!rate)[a-z0-9_]+", key)} == {
            f"{name}_{figure}" for figure in ("acc", "balanced_acc", "f1", "ece")
        }
        wanted = f1_score(index[:, head], said.index[:, head], average="macro")
        assert figures[f"{name}_f1"].item() == pytest.approx(wanted)
    assert figures["f1"].item() == pytest.approx((figures["waveform_f1"] + figures["lfo_f1"]).item() / 2)
    assert figures["steps"].item() == pytest.approx((figures["octave_steps"] + figures["lfo_rate_steps"]).item() / 2)
    names = [spec.name for spec in SPACE.varying]
    assert figures["acc"].item() == pytest.approx(np.mean([figures[f"{name}_acc"].item() for name in names]))


def test_a_head_that_never_acts_has_no_figures_and_no_part_in_means():
    index, normalized = batch_of(50)
    index[:, 2] = 0
    metrics = counted(ParamTensors(SPACE.varying), [(index, normalized, predictions_of(index, normalized))])
    figures = metrics.compute()
    assert figures["lfo_rate_acc"].isnan()
    assert figures["lfo_rate_steps"].isnan()
    assert figures["steps"] == figures["octave_steps"]
    assert metrics.conformal_scale()[3].isnan()


def test_f1_in_numbers_is_that_of_scikit_learn():
    value = SPACE.sample(0, 150, 0, "uniform")
    other = np.where(np.random.default_rng(0).random(value.shape) < 0.6, value, SPACE.sample(150, 300, 0, "uniform"))
    found = category_f1(SPACE, other, value)
    for p in (0, 2):
        wanted = f1_score(value[:, p].astype(int), other[:, p].astype(int), average="macro")
        assert found[SPACE.varying[p].name] == pytest.approx(wanted)


# evaluation


def test_no_distance_is_taken_between_classes():
    true = np.array([[0, 1, 1, 0.5], [2, 1, 0, 0.5], [1, 2, 1, 0.5]])
    said = np.array([[2, 2, 1, 0.7], [2, 1, 1, 0.9], [0, 0, 1, 0.5]])
    errors = parameter_errors(SPACE, said, true)
    np.testing.assert_allclose(errors[:, 0], [1, 0, 1])
    np.testing.assert_allclose(errors[:, 1], [1, 0, 2])
    np.testing.assert_allclose(errors[:, 2], [0, 1, 0])
    np.testing.assert_allclose(errors[:, 3], [0.2, np.nan, 0])


def test_the_typical_value_is_one_that_there_is():
    value = np.array([[0, 0, 1, 0.4], [2, 3, 0, 1.1], [2, 3, 1, 0.6], [1, 2, 1, 0.5]], dtype=np.float32)
    assert typical_value(SPACE, value) == pytest.approx([2, 2, 1, 0.5])


def test_people_read_names_natural_units_and_nothing_where_nothing_acts():
    value = np.array([[1, 2, 1, np.log10(4)], [0, 3, 0, 0.5]])
    plain, std = plain_values(SPACE.varying, value, np.full((2, 4), 0.1))
    assert plain[0].tolist() == ["sawtooth", 2, "on", pytest.approx(4)]
    assert plain[1].tolist() == ["sine", 3, "off", None]
    assert std[0].tolist() == [None, 0.1, None, pytest.approx(0.1 * 4 * np.log(10))]
    assert std[1].tolist() == [None, 0.1, None, None]


def test_categories_have_a_table_of_results_of_their_own():
    keys = (*FIGURES, *CATEGORY_FIGURES)
    metrics = {f"test/{spec.name}_{key}": 0.5 for spec in SPACE.varying for key in keys}
    figures = dict.fromkeys((spec.name for spec in SPACE.varying), 0.25)
    confusions = {"waveform": [[3, 1, 0], [5, 2, 0], [0, 0, 1]], "lfo": [[4, 0], [0, 4]]}
    results = head_results(metrics, SPACE.varying, figures, figures, {}, confusions=confusions)
    assert set(results["waveform"]) == OF_CATEGORIES
    assert results["waveform"]["confusion"] == confusions["waveform"]
    of_files = head_results(
        metrics | {"test/lfo_file_acc": 0.75}, SPACE.varying, figures, figures, {}, confusions=confusions
    )
    console = Console(width=80)
    shown = []
    for table in results_tables(of_files, "tremolo"):
        with console.capture() as capture:
            console.print(table)
        shown.append(capture.get())
    numbers, categories = shown
    assert "waveform" not in numbers and "within" in numbers
    assert "octave" not in categories and "within" not in categories
    (waveform, lfo) = [line.split() for line in categories.splitlines() if line.startswith(("waveform ", "lfo "))]
    assert waveform[1:] == ["0.500"] * 4 + ["0.250"]
    assert lfo[1:] == ["0.500"] * 3 + ["0.750", "0.500", "0.250"]
    assert "waveform: sawtooth for sine, 5 of 7" in categories
    assert "lfo:" not in categories  # none is taken for another


def test_an_audit_moves_categories_to_another_class_and_counts_what_acts(recipe):
    value = recipe.values(0, 24)
    waveform, _, lfo, rate = audit(value, recipe.space.varying, lambda at: observe(recipe, at))
    assert waveform.invisible == lfo.invisible == 0
    acts = value[:, 2] == 1
    (*_, alone) = audit(value[acts], recipe.space.varying, lambda at: observe(recipe, at))
    assert (rate.level_rms, rate.invisible) == pytest.approx((alone.level_rms, alone.invisible))


def test_a_posterior_is_of_what_acts_and_has_no_spread_of_categories(recipe):
    value = recipe.values(0, 24).astype(np.float64)
    value = value[np.argsort(value[:, 2], kind="stable")][[0, -1]]  # the rate of the LFO acts on the last alone
    found = posterior(recipe, value, n_searched=0, steps=(4,))
    active = recipe.space.active(value)
    np.testing.assert_array_equal(np.isnan(found.absolute), ~active)
    assert np.isnan(found.std[:, recipe.space.categorical]).all()
    assert found.accuracy[:, recipe.space.categorical] == pytest.approx(1)
    assert (found.std[:, 3][active[:, 3]] > 0).all()
    assert active[:, 3].any()


def test_refinement_finds_the_classes_and_refines_the_rest(recipe, data_dir):
    batch = VIMHReader(data_dir).train.read(slice(0, 6))
    rng = np.random.default_rng(0)
    start = batch.value.astype(np.float64)
    start[:, 0] = (start[:, 0] + 1) % 3
    start[:, 1] = np.clip(start[:, 1] + rng.choice([-1, 1], 6), 0, 3)
    start[:, 3] = np.clip(start[:, 3] + 0.1 * recipe.space.step[3], recipe.space.low[3], recipe.space.high[3])
    found = refine(recipe, batch.image, batch.spec_range, start, restarts=0)
    errors = parameter_errors(recipe.space, found.value, batch.value)
    assert (errors[:, 0] == 0).mean() > 0.8
    assert (errors[:, 1] == 0).mean() > 0.8
    assert np.nanmedian(errors[:, 3]) < 0.05 * recipe.space.step[3]
    idle = ~recipe.space.active(found.value)
    np.testing.assert_allclose(found.value[idle], start[idle])
    assert np.isinf(found.std[:, :3]).all()


def test_a_training_is_given_what_is_active_by_its_classes(data_dir):
    info = VIMHReader(data_dir).info
    batch = BatchFormat(info.parameters)(VIMHReader(data_dir).train.read(np.arange(info.train_samples)))
    active = ParamTensors(info.parameters).active_from_index(batch["index"])
    np.testing.assert_array_equal(active, info.space.active(batch["value"].numpy()))


def test_constant_answers_are_those_for_the_sounds_on_which_a_parameter_acts(data_dir):
    datamodule = VIMHDataModule(data_dir, batch_size=16, make_dataset=None)
    trained, tested = (datamodule.train_set[:], datamodule.test_set[:])
    acts, acted = (batch["index"][:, 2] == 1 for batch in (tested, trained))
    guess = trained["index"][acted, 3].mode().values
    share = (tested["index"][acts, 3] == guess).double().mean().item()
    error = (tested["value"][acts, 3] - trained["value"][acted, 3].double().mean()).abs().mean().item()
    assert datamodule.majority_share()["lfo_rate"] == pytest.approx(share)
    assert datamodule.mean_error()["lfo_rate"] == pytest.approx(error)


def test_a_set_of_another_kind_is_not_that_of_the_network(data_dir):
    info = VIMHReader(data_dir).info
    plain = info.to_dict()
    del plain["parameter_mappings"]["lfo_rate"]["active_if"], plain["parameter_mappings"]["octave"]["kind"]
    with pytest.raises(CheckpointError) as caught:
        check_same_heads(info, DatasetInfo.from_dict(plain, "x"), "x")
    assert "lfo_rate: active_if is {'lfo': ('on',)} in the network, {} in the dataset" in str(caught.value)
    assert "octave: kind is integer in the network, continuous in the dataset" in str(caught.value)


def test_pictures_have_names_natural_units_and_nothing_where_nothing_acts():
    on, off = (np.array([2, 1, lfo, np.log10(4)]) for lfo in (1, 0))
    shown = [("waveform", "square"), ("octave", "1"), ("lfo", "on"), ("lfo_rate", "4 Hz")]
    assert value_texts(SPACE.varying, on) == shown
    assert value_texts(SPACE.varying, off)[2:] == [("lfo", "off"), ("lfo_rate", "–")]


def test_a_figure_of_categories_has_no_scatter():
    index = np.array([0, 1, 2, 2])
    assert len(head_figure(SPACE.varying[0], index, index, HeadPredictions(index, index, index)).axes) == 1
    assert len(head_figure(SPACE.varying[1], index, index, HeadPredictions(index, index, index)).axes) == 2


# all of it


@pytest.mark.slow
def test_the_example_goes_all_the_way(recipe, data_dir, compose_run, tmp_path, capsys):
    data = (f"data.data_dir={data_dir}", "data.make_dataset=null", "data.batch_size=16")
    run_dir = tmp_path / "run"
    train(compose_run(run_dir, "model=cnn_micro", "loss=cross_entropy", *data, "trainer.max_epochs=3", "logger=none"))
    results = json.loads((run_dir / "results.json").read_text())["heads"]
    assert set(results["waveform"]) == OF_CATEGORIES
    assert results["waveform"]["names"] == list(WAVES)
    assert results["lfo_rate"]["units"] == "log10 Hz"
    ckpt_path = run_dir / "checkpoints" / "last.ckpt"

    def options(name, *overrides):
        (tmp_path / name).mkdir(exist_ok=True)
        given = [f"ckpt_path={ckpt_path}", f"trusted_modules=[{MODULE}]", "extras.print_config=false", *overrides]
        given += [f"paths.{place}={tmp_path / name}" for place in ("root_dir", "log_dir", "output_dir", "work_dir")]
        with initialize_configs(ROOT / "configs"):
            return compose(name, given)

    metrics = evaluate(options("eval", "trainer.accelerator=cpu", "+trainer.enable_progress_bar=false"))
    assert {"test/waveform_f1", "test/lfo_rate_steps", "test/f1"} <= set(metrics)
    assert "test/waveform_steps" not in metrics
    capsys.readouterr()

    figures = audio_eval(options("audio_eval", "num_samples=12", "n_listen=3", "refine=true"))
    assert {"network/waveform_acc", "refined/waveform_f1", "nearest neighbour/octave"} <= set(figures)
    assert figures["refined/mss"] <= figures["network/mss"]
    shown = capsys.readouterr().out
    for text in ("waveform accuracy", "waveform macro F1", "octave", "lfo_rate log10 Hz", "wrong"):
        assert text in shown
    for row in read_csv(tmp_path / "audio_eval" / "metrics.csv"):
        assert row["waveform_true"] in WAVES
        assert row["waveform_value"] in WAVES
        assert row["octave_value"] in ("0", "1", "2", "3")
        assert (row["lfo_rate_true"] == row["lfo_rate_error"] == "") == (row["lfo_true"] == "off")
        if row["lfo_rate_value"]:
            assert 2 - 1e-6 <= float(row["lfo_rate_value"]) <= 16 + 1e-6
    assert "waveform_std" not in row
    summary = json.loads((tmp_path / "audio_eval" / "summary.json").read_text())
    assert set(summary["refinement"]["parameters"]["waveform"]) == {"wrong_before", "wrong"}
    page = (tmp_path / "audio_eval" / "index.html").read_text()
    for text in ("sawtooth", "accuracy of 3 classes", "waveform, wrong class", "right class"):
        assert text in page
    assert "waveform, steps" not in page

    sounds = tmp_path / "sounds"
    sounds.mkdir()
    value = np.array([[1, 2, 1, np.log10(4)], [2, 1, 0, 0.5]])
    for number, waveform in enumerate(recipe.render(value)):
        soundfile.write(sounds / f"{number}.wav", waveform, recipe.synth.sample_rate, subtype="FLOAT")
    predict(options("predict", f"audio={sounds}", "refine=true", "normalize=false"))
    shown = capsys.readouterr().out
    readings = json.loads((tmp_path / "predict" / "predictions.json").read_text())["recordings"]
    found = [{name: entry["value"] for name, entry in reading["parameters"].items()} for reading in readings]
    assert found[0] == {"waveform": "sawtooth", "octave": 2, "lfo": "on", "lfo_rate": pytest.approx(4, rel=0.02)}
    assert found[1] == {"waveform": "square", "octave": 1, "lfo": "off", "lfo_rate": None}
    for text in ("sawtooth", "square", "not active", "Hz"):
        assert text in shown
    rows = read_csv(tmp_path / "predict" / "predictions.csv")
    assert [row["waveform"] for row in rows] == ["sawtooth", "square"]
    assert [row["waveform_std"] for row in rows] == ["", ""]

    predict(options("predict", f"dataset={data_dir}"))
    for row in read_csv(tmp_path / "predict" / "predictions.csv"):
        assert {row["waveform"], row["waveform_true"]} <= set(WAVES)
        assert bool(row["lfo_rate_true"]) == (row["lfo_true"] == "on")

    export(options("export", f"output={tmp_path / 'tremolo.onnx'}", "repeats=1"))
    session = onnxruntime.InferenceSession(tmp_path / "tremolo.onnx")
    heads = json.loads(session.get_modelmeta().custom_metadata_map["nsm"])["heads"]
    assert heads[0]["names"] == list(WAVES)
    assert heads[3] | {"step": 1.1892} == {
        **{"name": "lfo_rate", "units": "Hz", "kind": "continuous", "scale": "log", "names": [], "description": ""},
        **{"min": pytest.approx(2), "max": pytest.approx(16), "step": 1.1892, "active_if": {"lfo": ["on"]}},
    }
    assert heads[3]["step"] == pytest.approx(2 ** (1 / 4))
    batch = VIMHReader(data_dir).test.read(np.arange(8))
    said, std = session.run(["value", "std"], {"image": batch.image, "aux": batch.spec_range})
    assert np.isin(said[:, 0], [0, 1, 2]).all()
    assert np.isin(said[:, 1], [0, 1, 2, 3]).all()
    assert ((said[:, 3] >= 2 - 1e-4) & (said[:, 3] <= 16 + 1e-4)).all()
    assert (std > 0).all()


def read_csv(path):
    """Rows of a table by the names of its columns."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
