import pytest
import torch
from networks import HEADS, inputs, network

from src.checkpoints.run import build_model
from src.errors import ConfigError
from src.models.components.cnn import Coordinates
from src.models.components.network import MultiHead, to_signed_unit
from src.vimh.reader import read_info


def net_of(shape=(1, 32, 32), **changes):
    return network("cnn", shape, **changes)


@pytest.mark.parametrize(("model", "count"), [("cnn_micro", 2_000), ("cnn_tiny", 8_000), ("cnn_64k", 64_000)])
def test_networks_have_the_parameters_that_they_are_named_after_and_train_on_one_sample(
    compose_run, tmp_path, saw_dir, model, count
):
    module = build_model(compose_run(tmp_path, f"model={model}"), read_info(saw_dir))
    assert sum(parameter.numel() for parameter in module.parameters()) == pytest.approx(count, rel=0.1)
    for head in module(*inputs(n=1)).values():
        assert torch.isfinite(head).all()


@pytest.mark.parametrize("loss", ["cross_entropy", "soft_target", "regression"])
def test_heads_have_the_size_that_the_loss_asks_for(compose_run, tmp_path, saw_dir, loss):
    info = read_info(saw_dir)
    module = build_model(compose_run(tmp_path, "model=cnn_tiny", f"loss={loss}"), info)
    found = {name: logits.shape for name, logits in module(*inputs()).items()}
    size = {spec.name: 1 if loss == "regression" else spec.n_classes for spec in info.parameters}
    assert found == {name: (5, n) for name, n in size.items()}
    assert list(found) == list(info.parameter_names)


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 24, 57), (3, 17, 4), (2, 4, 100), (1, 5, 5)])
@pytest.mark.parametrize("n_aux", [0, 1, 2])
def test_any_image_and_any_number_of_conditioning_inputs_will_do(shape, n_aux):
    logits = net_of(shape, n_aux=n_aux)(*inputs(shape, n_aux=n_aux))
    assert {name: tuple(head.shape) for name, head in logits.items()} == {name: (5, n) for name, n in HEADS.items()}


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_odd_kernels_fit_every_size(kernel_size):
    for side in (4, 5, 6, 7, 32, 33):
        assert net_of((1, side, side), kernel_size=kernel_size)(*inputs((1, side, side)))["decay"].shape == (5, 24)


@pytest.mark.parametrize(
    ("strides", "grid"),
    [(None, (4, 5)), ([2, 2, 2], (4, 5)), ([1, 2, [1, 3]], (16, 7)), ([[2, 1], [2, 1], [2, 1]], (4, 40))],
)
def test_strides_make_the_grid_coarser_over_frequency_and_time(strides, grid):
    net = net_of((1, 32, 40), strides=strides)
    assert net(*inputs((1, 32, 40)))["decay"].shape == (5, 24)
    assert net.hidden.in_features == 8 * grid[0] * grid[1] + 2


def test_further_convolutions_add_to_what_a_stage_is_given():
    net, (image, aux) = net_of(depth=3).eval(), inputs()
    plain = net_of().eval()
    assert not torch.equal(net(image, aux)["decay"], plain(image, aux)["decay"])
    for stage in net.stages:
        for norm in (stage[4], stage[7]):
            torch.nn.init.zeros_(norm.weight)
    plain.load_state_dict({name: net.state_dict()[name] for name in plain.state_dict()}, strict=True)
    assert torch.equal(net(image, aux)["decay"], plain(image, aux)["decay"])


def test_coordinates_tell_frequency_and_time():
    pixels = torch.rand(2, 3, 5, 9)
    found = Coordinates(5, 9)(pixels)
    assert torch.equal(found[:, :3], pixels)
    torch.testing.assert_close(found[1, 3, :, 4], torch.linspace(-1, 1, 5))
    torch.testing.assert_close(found[0, 4, 2], torch.linspace(-1, 1, 9))
    assert net_of(coordinates=True).state_dict().keys() == net_of().state_dict().keys()


def test_the_weights_have_the_names_of_earlier_checkpoints():
    stage = ["0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"]
    rest = ["standardize.mean", "standardize.std", "hidden.weight", "hidden.bias"]
    heads = ["heads.linear.weight", "heads.linear.bias"]
    expected = {f"stages.{n}.{name}" for n in range(3) for name in stage} | {*rest, *heads}
    assert set(net_of().state_dict()) == expected


def test_gradients_reach_every_parameter():
    net = net_of()
    sum(head.square().sum() for head in net(*inputs(n=64)).values()).backward()
    still = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


def test_what_a_trained_network_says_does_not_depend_on_the_batch():
    net, (image, aux) = net_of(), inputs(n=16)
    net(image, aux)  # statistics of the batch norms
    net.eval()
    together = net(image, aux)
    for name, head in together.items():
        alone = torch.cat([net(image[i : i + 1], aux[i : i + 1])[name] for i in range(16)])
        torch.testing.assert_close(alone, head, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(net(image.flip(0), aux.flip(0))[name].flip(0), head, atol=1e-5, rtol=1e-5)


def test_every_part_of_the_image_and_every_conditioning_input_matters():
    net, (image, aux) = net_of().eval(), inputs(n=1)
    before = net(image, aux)["decay"]
    for row, column in ((0, 0), (0, 31), (31, 0), (31, 31), (16, 9)):
        changed = image.clone()
        changed[0, 0, row, column] ^= 128
        assert not torch.equal(net(changed, aux)["decay"], before), (row, column)
    for which in range(2):
        changed = aux.clone()
        changed[0, which] += 1
        assert not torch.equal(net(image, changed)["decay"], before), which


def test_conditioning_inputs_are_standardized_by_what_the_network_was_built_with():
    image, aux = inputs()
    mean, std = [-60.0, 3.0], [10.0, 0.5]
    net, plain = net_of(aux_mean=mean, aux_std=std).eval(), net_of().eval()
    found = net(image, aux * torch.tensor(std) + torch.tensor(mean))
    for name, head in plain(image, aux).items():
        torch.testing.assert_close(found[name], head, atol=1e-5, rtol=1e-5)


def test_a_state_dict_carries_the_standardization():
    trained, fresh = net_of(aux_mean=[-60.0, 3.0], aux_std=[10.0, 0.5]).eval(), net_of().eval()
    assert not torch.equal(trained(*inputs())["decay"], fresh(*inputs())["decay"])
    fresh.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(trained(*inputs())["decay"], fresh(*inputs())["decay"])


def test_pixels_span_minus_one_to_one_in_the_type_of_the_network():
    pixel = torch.arange(256, dtype=torch.uint8)
    signed = to_signed_unit(pixel, torch.zeros(1))
    torch.testing.assert_close(signed, torch.linspace(-1, 1, 256))
    assert to_signed_unit(pixel, torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_network_runs_in_the_type_it_was_turned_into():
    image, aux = inputs()
    logits = net_of().bfloat16()(image, aux.bfloat16())
    assert {head.dtype for head in logits.values()} == {torch.bfloat16}


def test_heads_are_independent_linear_layers():
    heads, features = MultiHead(6, HEADS), torch.randn(3, 6)
    found, first = heads(features), 0
    for name, size in HEADS.items():
        rows = slice(first, first + size)
        torch.testing.assert_close(found[name], features @ heads.linear.weight[rows].T + heads.linear.bias[rows])
        first += size
    assert list(found) == list(HEADS)


def test_one_head_is_an_ordinary_case():
    assert {name: head.shape for name, head in net_of(head_sizes={"only": 7})(*inputs()).items()} == {"only": (5, 7)}


def test_dropout_acts_in_training_alone():
    net, batch = net_of(dropout=0.5), inputs()
    net(*batch)
    assert not torch.equal(net(*batch)["decay"], net(*batch)["decay"])
    net.eval()
    assert torch.equal(net(*batch)["decay"], net(*batch)["decay"])


@pytest.mark.parametrize(
    ("shape", "changes", "facts"),
    [
        ((1, 3, 32), {}, r"3 stages.*3 rows and 32 columns"),
        ((1, 32, 2), {}, r"3 stages.*32 rows and 2 columns"),
        ((1, 32, 32), {"widths": [4] * 7}, r"7 stages.*32 rows and 32 columns"),
        ((1, 32, 32), {"kernel_size": 4}, r"kernel_size is 4.*odd"),
        ((1, 32, 32), {"kernel_size": 0}, r"kernel_size is 0.*odd"),
        ((1, 32, 32), {"depth": 0}, r"depth is 0.*whole number of 1 or more"),
        ((1, 32, 32), {"strides": [2, 2]}, r"strides is \[\(2, 2\), \(2, 2\)\].*3 stages"),
        ((1, 32, 32), {"strides": [2, 2, 0]}, r"strides.*3 stages"),
        ((1, 32, 32), {"strides": [2, [2], 2]}, r"strides.*\[freq, time\]"),
        ((1, 32, 7), {"strides": [[1, 4], [1, 2], 1]}, r"3 stages.*32 rows and 7 columns"),
    ],
)
def test_shapes_that_no_network_can_have_are_refused(shape, changes, facts):
    with pytest.raises(ConfigError, match=facts):
        net_of(shape, **changes)
