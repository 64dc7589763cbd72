import copy
import io

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from networks import CONDITIONING, HEADS, NETWORKS, inputs, network

from scripts.list_configs import groups, is_complete, parameter_count
from src.checkpoints.run import build_model
from src.data.vimh_datamodule import VIMHDataModule
from src.data.vimh_dataset import VIMHDataset
from src.errors import ConfigError
from src.generation import generate
from src.hydra_versions import instantiate
from src.models.components.network import NetIO
from src.vimh.reader import VIMHReader, read_info

COUNTS = {
    "cnn_micro": 2_000,
    "cnn_tiny": 8_000,
    "cnn_64k": 64_000,
    "cnn_1m": 1_000_000,
    "bc_resnet_5k": 5_000,
    "bc_resnet_9k": 9_600,
    "vit_micro": 8_000,
    "vit_tiny": 25_000,
    "vit_400k": 400_000,
    "conv6": 1_200_000,
}
# Images and heads of the Moog sets.
MOOG = {
    "basic": ((1, 32, 32), [6, 11, 19, 10]),
    "envelope": ((1, 32, 64), [25, 4, 5, 9, 6, 7, 15, 10, 7, 7]),
    "resonance": ((1, 48, 48), [15, 5, 11, 13, 13, 5, 10, 7]),
}
MODELS = [model for model in groups()["model"] if is_complete(model)]
# Learning rate and steps after which 64 samples are known by heart, where they are not 0.01 and 100.
TRAINING = {
    "vit_micro": (0.02, 200),
    "vit_tiny": (0.01, 200),
    "vit_400k": (0.003, 300),
    "mlp": (0.02, 500),
    "mlp_linear": (0.02, 2000),
    "convnext_nano": (0.006, 300),
    "conv6": (0.002, 300),
    "cnn_micro": (0.02, 200),
    "cnn_1m": (0.005, 200),
    "wave_cnn": (0.01, 300),
    "cnn_pooled": (0.02, 400),
    "harmonic": (0.02, 300),
    "harmonic_micro": (0.02, 400),
    "bc_resnet_5k": (0.02, 300),
    "bc_resnet_9k": (0.02, 300),
    "wave_cnn_64k": (0.005, 300),
}
FAST = {"cnn_tiny", "vit_micro", "mlp"}


def some_slow(values, *fast):
    """Parameters of which only some are tried in the fast suite."""
    return [pytest.param(value, marks=[] if value in fast else pytest.mark.slow) for value in values]


@pytest.fixture(scope="module")
def grid(recipe_of, tmp_path_factory):
    """A dataset, and a batch of 64 of its training samples on distinct points of the grid."""
    data_dir = tmp_path_factory.mktemp("grid") / "set"
    generate(recipe_of("dataset.size=80", "dataset.sampling=grid"), data_dir)
    samples = VIMHDataset(VIMHReader(data_dir).train, np.arange(64))
    return VIMHDataModule(data_dir), samples.__getitems__(range(64))


@pytest.fixture
def net_of(compose_run, tmp_path):
    """Builds the network of a model's configuration for a shape and heads."""

    def make(model, shape, head_sizes, **changes):
        cfg = compose_run(tmp_path, f"model={model}")
        heads = {f"head_{number}": size for number, size in enumerate(head_sizes)}
        return instantiate(cfg.model.net, NetIO(shape, heads, n_aux=2), _convert_="all", **changes)

    return make


@pytest.mark.parametrize(("model", "count"), COUNTS.items())
def test_networks_have_the_parameters_that_they_are_named_after(compose_run, tmp_path, saw_dir, model, count):
    module = build_model(compose_run(tmp_path, f"model={model}"), read_info(saw_dir))
    found = sum(parameter.numel() for parameter in module.net.parameters())
    assert found == pytest.approx(count, rel=0.1)
    assert found == parameter_count(model)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dataset", MOOG)
def test_networks_suit_the_moog_sets_without_growing_out_of_their_class(net_of, model, dataset):
    shape, head_sizes = MOOG[dataset]
    net = net_of(model, shape, head_sizes)
    logits = net(*inputs(shape, n=2))
    assert [head.shape for head in logits.values()] == [(2, size) for size in head_sizes]
    per_pixel = 2.3 * sum(head_sizes) if model == "mlp_linear" else 0
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count < max(2.3 * parameter_count(model), per_pixel * shape[1] * shape[2])
    if model == "conv6":
        assert count == pytest.approx(1.2e6, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 24, 57), (3, 17, 4), (2, 4, 100), (4, 7, 13)])
@pytest.mark.parametrize("conditioning", some_slow(CONDITIONING, "film"))
@pytest.mark.parametrize("name", NETWORKS)
def test_any_image_will_do(name, conditioning, shape):
    logits = network(name, shape, conditioning=conditioning)(*inputs(shape))
    assert {name: tuple(head.shape) for name, head in logits.items()} == {name: (5, n) for name, n in HEADS.items()}


@pytest.mark.parametrize("conditioning", CONDITIONING)
@pytest.mark.parametrize("name", NETWORKS)
def test_without_conditioning_inputs_every_choice_is_none(name, conditioning):
    net = network(name, n_aux=0, conditioning=conditioning)
    none = network(name, n_aux=0, conditioning="none")
    assert net.state_dict().keys() == none.state_dict().keys()
    for head, expected in zip(net(*inputs(n_aux=0)).values(), none(*inputs(n_aux=0)).values(), strict=True):
        assert torch.equal(head, expected)


@pytest.mark.parametrize("n_aux", some_slow([0, 1, 5], 5))
@pytest.mark.parametrize("conditioning", CONDITIONING)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_parameter(name, conditioning, n_aux):
    net = network(name, n_aux=n_aux, conditioning=conditioning)
    sum(head.square().sum() for head in net(*inputs(n=64, n_aux=n_aux)).values()).backward()
    still = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


@pytest.mark.parametrize("conditioning", CONDITIONING)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_trained_network_says_does_not_depend_on_the_batch(name, conditioning):
    net, (image, aux) = trained(network(name, conditioning=conditioning)), inputs(n=16)
    together = net(image, aux)
    for name, head in together.items():
        alone = torch.cat([net(image[i : i + 1], aux[i : i + 1])[name] for i in range(16)])
        torch.testing.assert_close(alone, head, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(net(image.flip(0), aux.flip(0))[name].flip(0), head, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("conditioning", CONDITIONING)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_conditioning_input_matters_unless_there_is_none_to_matter(name, conditioning):
    net, (image, aux) = trained(network(name, conditioning=conditioning)), inputs()
    before = net(image, aux)["decay"]
    for which in range(2):
        changed = aux.clone()
        changed[:, which] += 1
        assert torch.equal(net(image, changed)["decay"], before) == (conditioning == "none"), which


@pytest.mark.parametrize("name", NETWORKS)
def test_every_part_of_the_image_matters(name):
    net, (image, aux) = trained(network(name)), inputs()
    before = net(image, aux)["decay"]
    for row, column in ((0, 0), (0, 31), (31, 0), (31, 31), (16, 9)):
        changed = image.clone()
        changed[:, 0, row, column] ^= 128
        assert not torch.equal(net(changed, aux)["decay"], before), (row, column)


@pytest.mark.parametrize("name", NETWORKS)
def test_modulation_begins_as_none(name):
    film, none = network(name, conditioning="film").eval(), network(name, conditioning="none").eval()
    rest = {name: tensor for name, tensor in film.state_dict().items() if not name.startswith("film.")}
    none.load_state_dict(rest, strict=True)
    for head, expected in zip(film(*inputs()).values(), none(*inputs()).values(), strict=True):
        assert torch.equal(head, expected)


@pytest.mark.parametrize("conditioning", ["concat", "film"])
@pytest.mark.parametrize("name", NETWORKS)
def test_conditioning_inputs_are_standardized_by_what_the_network_was_built_with(name, conditioning):
    plain = trained(network(name, conditioning=conditioning))
    mean, std = [-60.0, 3.0], [10.0, 0.5]
    net = network(name, conditioning=conditioning, aux_mean=mean, aux_std=std).eval()
    weights = {name: tensor for name, tensor in plain.state_dict().items() if not name.startswith("standardize.")}
    assert net.load_state_dict(weights, strict=False).missing_keys == ["standardize.mean", "standardize.std"]
    image, aux = inputs()
    found = net(image, aux * torch.tensor(std) + torch.tensor(mean))
    for name, head in plain(image, aux).items():
        torch.testing.assert_close(found[name], head, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("conditioning", CONDITIONING)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_dict_carries_everything_that_was_learnt(name, conditioning):
    net = trained(network(name, conditioning=conditioning, aux_mean=[-60.0, 3.0], aux_std=[10.0, 0.5]))
    fresh = network(name, conditioning=conditioning, seed=1).eval()
    assert not torch.equal(net(*inputs())["decay"], fresh(*inputs())["decay"])
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True), strict=True)
    for head, expected in zip(fresh(*inputs()).values(), net(*inputs()).values(), strict=True):
        assert torch.equal(head, expected)


@pytest.mark.parametrize("conditioning", CONDITIONING)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_runs_in_the_type_it_was_turned_into(name, conditioning):
    image, aux = inputs()
    logits = network(name, conditioning=conditioning).bfloat16()(image, aux.bfloat16())
    assert {head.dtype for head in logits.values()} == {torch.bfloat16}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_can_be_copied(name):
    net = trained(network(name, conditioning="film"))
    for head, expected in zip(copy.deepcopy(net)(*inputs()).values(), net(*inputs()).values(), strict=True):
        assert torch.equal(head, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_acts_in_training_alone(name):
    net, batch = network(name, dropout=0.5), inputs()
    assert not torch.equal(net(*batch)["decay"], net(*batch)["decay"])
    net.eval()
    assert torch.equal(net(*batch)["decay"], net(*batch)["decay"])


@pytest.mark.parametrize("name", NETWORKS)
def test_one_head_is_an_ordinary_case(name):
    net = network(name, head_sizes={"only": 7})
    assert {name: head.shape for name, head in net(*inputs()).items()} == {"only": (5, 7)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("word", ["FiLM", "", "add"])
def test_unknown_conditioning_is_refused(name, word):
    with pytest.raises(ConfigError, match=rf"conditioning is '{word}'; choose one of none, concat, film"):
        network(name, conditioning=word)


@pytest.mark.parametrize(
    ("model", "conditioning"),
    [
        pytest.param(model, way, marks=[] if model in FAST and way == "concat" else pytest.mark.slow)
        for model in MODELS
        for way in CONDITIONING
    ],
)
def test_a_network_overfits_one_batch_on_every_head(compose_run, tmp_path, grid, model, conditioning):
    datamodule, batch = grid
    seed_everything(0, verbose=False)
    rate, steps = TRAINING.get(model, (0.01, 100))
    overrides = (f"model.net.conditioning={conditioning}", f"model.optimizer.lr={rate}")
    cfg = compose_run(tmp_path, f"model={model}", *overrides)
    module = build_model(cfg, datamodule.info, datamodule.aux_statistics())
    optimizer = module.make_optimizer(params=module.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        module.compute_loss(module(batch["image"], batch["aux"]), batch).backward()
        optimizer.step()
        scheduler.step()
    predictions = module.eval().predict_step(batch)
    for head, spec in enumerate(module.specs):
        majority = batch["index"][:, head].bincount().max() / 64
        right = (predictions[spec.name].index == batch["index"][:, head]).float().mean()
        if conditioning == "none" and spec.name == "note_velocity":  # an image says nothing of its level
            assert right < 0.7
        else:
            assert right >= max(0.95, 3 * majority), spec.name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # PyTorch's compiler uses it itself
@pytest.mark.parametrize("conditioning", ["concat", "film"])
@pytest.mark.parametrize("name", ["vit", "cnn_deep"])
def test_a_compiled_network_has_the_same_outputs_and_gradients(name, conditioning):
    plain = trained(network(name, conditioning=conditioning)).train()
    compiled = copy.deepcopy(plain)
    compiled.compile()
    for net in (plain, compiled):
        net.zero_grad()
        sum(head.square().sum() for head in net(*inputs()).values()).backward()
    for head, expected in zip(compiled(*inputs()).values(), plain(*inputs()).values(), strict=True):
        torch.testing.assert_close(head, expected, atol=1e-4, rtol=1e-4)
    for parameter, expected in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-3, rtol=1e-3)


def trained(net):
    """The network after three steps, so that nothing of it is as it began, in eval mode."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
    for _ in range(3):
        optimizer.zero_grad()
        sum((head - 1).square().mean() for head in net(*inputs(n=32)).values()).backward()
        optimizer.step()
    return net.eval()
