"""What a network consists of: blocks in the order in which they run, with shapes, parameters and multiply-adds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby
from math import prod
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import torch  # noqa: E402
import torchinfo  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from torch import nn  # noqa: E402
from torchinfo.layer_info import LayerInfo  # noqa: E402

from scripts.list_configs import takes_samples  # noqa: E402
from scripts.setups import compose_config, recipe_of  # noqa: E402
from src.checkpoints.run import build_model  # noqa: E402
from src.errors import ConfigError  # noqa: E402
from src.models.components import bc_resnet, cnn, conditioning, convnext, harmonic, vit  # noqa: E402
from src.models.components.network import MultiHead  # noqa: E402
from src.models.costs import multiply_adds  # noqa: E402
from src.vimh.info import DatasetInfo  # noqa: E402
from src.vimh.reader import read_info  # noqa: E402

WORDS = {
    nn.BatchNorm1d: "batch norm",
    nn.BatchNorm2d: "batch norm",
    nn.LayerNorm: "layer norm",
    nn.ReLU: "ReLU",
    nn.SiLU: "SiLU",
    nn.GELU: "GELU",
    cnn.Coordinates: "coordinates as two more channels",
    cnn.PartPooling: "mean and greatest of each part",
    bc_resnet.SubSpectralNorm: "sub-spectral norm of {0.n_bands} bands",
}
# What a block does by itself after one of its layers.
AFTER = {
    (vit.TransformerBlock, "qkv"): "attention of {0.n_heads} heads",
    (bc_resnet.BroadcastBlock, "norm"): "mean over frequency",
}
SMALL = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.ReLU, nn.SiLU, nn.GELU, nn.Dropout)
RESIDUAL = (vit.TransformerBlock, convnext.ConvNeXtBlock, harmonic.Residual)


@dataclass(frozen=True)
class Row:
    """A block of a network, or several that are alike.

    Attributes:
        name: In the network, as in the keys of a checkpoint.
        operations: What one of them does, in order.
        output: Shape of what it returns, without the batch; empty for what is no tensor.
        n_parameters: Of all of them.
        multiply_adds: Of their convolutions and matrix products, for one image.
        side: It sees nothing but the conditioning inputs.
        joins: The conditioning inputs join what it is given.
        count: How many there are.
    """

    name: str
    operations: tuple[str, ...]
    output: tuple[int, ...]
    n_parameters: int
    multiply_adds: int
    side: bool = False
    joins: bool = False
    count: int = 1


@dataclass(frozen=True)
class Network:
    """A network for a dataset.

    Attributes:
        model: Name of its configuration.
        kind: Name of its class.
        image_shape: `(channel, freq, time)`.
        aux: Names of the conditioning inputs.
        heads: Name to number of outputs.
        rows: Its blocks; their parameters and multiply-adds add up to those of the network.
    """

    model: str
    kind: str
    image_shape: tuple[int, int, int]
    aux: tuple[str, ...]
    heads: dict[str, int]
    rows: tuple[Row, ...]

    @property
    def n_parameters(self) -> int:
        """Of all blocks."""
        return sum(row.n_parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Of all blocks, for one image."""
        return sum(row.multiply_adds for row in self.rows)


def describe_network(model: str, overrides: Sequence[str] = ()) -> Network:
    """Build a network as `train.py model=… overrides` would, and record the blocks that run in it.

    Unless the overrides choose other data, it is built for the small saw set; one for samples for that set as samples.
    """
    if takes_samples(model) and not any(override.partition("=")[0] == "data" for override in overrides):
        overrides = ["data=vimh_256dss_waveform", *overrides]
    cfg = compose_config("train", f"model={model}", *overrides)
    info = dataset_info(cfg)
    net = build_model(cfg, info).net.eval()
    aux = tuple(cfg.data.aux)
    example = torch.zeros(1, *info.image_shape, dtype=torch.uint8), torch.zeros(1, len(aux))
    heads = dict(zip(net.heads.names, net.heads.sizes, strict=True))
    return Network(model, type(net).__name__, info.image_shape, aux, heads, rows_of(net, example))


def dataset_info(cfg: DictConfig) -> DatasetInfo:
    """Description of a dataset by its generator's recipe; without such a recipe the dataset must be there."""
    maker = cfg.data.make_dataset
    if maker is None or "config_name" not in maker:
        return read_info(Path(cfg.data.data_dir))
    return recipe_of(maker.config_name, *maker.overrides).info("")


def rows_of(net: nn.Module, example: tuple[torch.Tensor, ...]) -> tuple[Row, ...]:
    """The blocks of a network in the order in which they run.

    Args:
        net: In eval mode.
        example: A batch of one of its inputs: image and conditioning inputs.

    Raises:
        ConfigError: If the blocks do not add up to the network; it names the layers that are in none.
    """
    layers = torchinfo.summary(net, input_data=example, verbose=0, depth=9).summary_list
    counts, n_aux = multiply_adds(net, example), example[1].shape[1]
    rows: list[Row] = []
    shape, after_layer, is_recurrent = tuple(example[0].shape[1:]), False, False
    blocks = units(layers)
    for name, unit, parts in blocks:
        row = row_of(name, unit, parts, counts)
        if not row.operations:
            continue
        if after_layer and isinstance(unit.module, SMALL):  # one block with the layer before it
            rows[-1] = replace(
                rows[-1],
                operations=rows[-1].operations + row.operations,
                n_parameters=rows[-1].n_parameters + row.n_parameters,
                multiply_adds=rows[-1].multiply_adds + row.multiply_adds,
            )
        elif row.side:
            rows.append(row)
        else:
            if isinstance(unit.module, SMALL) and prod(row.output) == prod(shape):
                row = replace(row, output=shape)  # a norm may see channels last
            excess = prod(unit.input_size[1:]) - prod(shape)
            is_mean = shape[0] > 1 and tuple(unit.input_size[1:]) == shape[1:] and not is_recurrent
            mean = ("mean over the tokens",) if is_mean else ()
            if prod(shape) > shape[0] and (*unit.input_size[1:], 1) == shape[:2]:
                mean = ("mean over time",)
            joins = 0 < excess == n_aux * prod(unit.input_size[2:])  # at every position, where there are some
            rows.append(replace(row, operations=mean + row.operations, joins=joins))
            shape, after_layer, is_recurrent = row.output, not parts, isinstance(unit.module, nn.RNNBase)
    rows = with_own_parameters(rows, net)
    check_sums(rows, net, counts, [name for name, _, _ in blocks])
    return collapse(rows)


def check_sums(rows: Sequence[Row], net: nn.Module, counts: dict[str, int], names: Sequence[str]) -> None:
    """Refuse rows that do not add up to the network.

    Args:
        rows: All of it.
        net: The network.
        counts: Multiply-adds of its modules.
        names: Of the modules that the rows were made of, as often as they run.
    """
    parameters = sum(parameter.numel() for parameter in net.parameters())
    found = sum(row.n_parameters for row in rows), sum(row.multiply_adds for row in rows)
    if found == (parameters, counts[""]):
        return
    inside = {name for name, _ in net.named_modules() if any(name == n or name.startswith(f"{n}.") for n in names)}
    owners = [name for name, module in net.named_modules() if name and list(module.parameters(recurse=False))]
    lost = [name for name in owners if name not in inside] or sorted({name for name in names if names.count(name) > 1})
    where = f"look at {', '.join(lost)}" if lost else f"products are computed in {type(net).__name__} itself"
    raise ConfigError(
        f"{type(net).__name__}: its blocks have {found[0]:,} of {parameters:,} parameters and {found[1]:,} of "
        f"{counts['']:,} multiply-adds: {where}. A picture shows layers that run once each, as modules of the network."
    )


def units(layers: Sequence[LayerInfo]) -> list[tuple[str, LayerInfo, list[LayerInfo]]]:
    """Name and call of every block with the calls in it: a child of the network, or of a mere list in the network."""
    found: list[tuple[str, LayerInfo, list[LayerInfo]]] = []
    for layer in layers[1:]:  # the first is the network itself
        path = [layer]
        while path[0].depth > 1:
            path.insert(0, path[0].parent_info)
        lists = [type(part.module) in (nn.Sequential, nn.ModuleList) for part in path]
        if False in lists[:-1]:
            found[-1][2].append(layer)
        elif not lists[-1]:
            found.append((".".join(part.var_name for part in path), layer, []))
    return found


def row_of(name: str, unit: LayerInfo, parts: Sequence[LayerInfo], counts: dict[str, int]) -> Row:
    """A block from the calls in it."""
    side = isinstance(unit.module, conditioning.Standardize | conditioning.Film)
    operations = tuple(operations_of(unit.module, parts or [unit]))
    if not operations and (unit.num_params or counts.get(name)):
        operations = (type(unit.module).__name__,)
    output = tuple(unit.output_size[1:])
    if isinstance(unit.module, MultiHead | harmonic.PitchHeads):
        output = (sum(unit.module.sizes),)
    elif isinstance(unit.module, conditioning.Film):
        output = ()
    return Row(name, operations, output, unit.num_params, counts.get(name, 0), side)


def operations_of(block: nn.Module, layers: Sequence[LayerInfo]) -> Iterator[str]:
    """What a block does, in words."""
    for layer in layers:
        module = layer.module
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            yield convolution(module)
        elif isinstance(module, nn.Linear):
            yield f"linear {module.in_features} to {module.out_features}"
        elif isinstance(module, nn.Dropout) and module.p > 0:
            yield f"dropout {module.p:g}"
        elif type(module) in WORDS:
            yield WORDS[type(module)].format(module)
        elif not list(module.children()) and list(module.parameters()):
            yield type(module).__name__  # of a kind that has no words here
        if (type(block), layer.var_name) in AFTER:
            yield AFTER[type(block), layer.var_name].format(block)
    if isinstance(block, RESIDUAL) or (isinstance(block, cnn.Stage) and len(block) > 3):
        yield "added to the input"
    elif isinstance(block, bc_resnet.BroadcastBlock):
        yield "added to every row" + " and to the input" * block.is_residual
        yield "ReLU"
    elif isinstance(block, conditioning.Film) and block.linear is not None:
        yield "scales and shifts the channels of every stage"


def convolution(module: nn.Conv1d | nn.Conv2d) -> str:
    """A convolution in words."""
    kernel = "×".join(map(str, module.kernel_size))
    freq, time = (*module.stride, 1)[:2]
    stride = f"{freq}" if freq == time else f"{freq}×{time}"
    words = ["depthwise"] * (module.groups > 1) + ["convolution", kernel]
    apart = f", {max(module.dilation)} apart" * (max(module.dilation) > 1)
    return " ".join(words) + f", stride {stride}" * (freq * time > 1) + apart


def with_own_parameters(rows: list[Row], net: nn.Module) -> list[Row]:
    """Parameters of the network itself as a row: they are added to what the first layer returns."""
    own = dict(net.named_parameters(recurse=False))
    if not own:
        return rows
    first = next(index for index, row in enumerate(rows) if not row.side)
    n_parameters = sum(parameter.numel() for parameter in own.values())
    row = Row(", ".join(own), ("learnt, added to every token",), rows[first].output, n_parameters, 0)
    return [*rows[: first + 1], row, *rows[first + 1 :]]


def collapse(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Blocks that are alike and follow each other as one row, with their number and their sums."""
    collapsed = []
    for _, alike in groupby(rows, key=lambda row: replace(row, name="", joins=False)):
        first, *others = alike
        count = 1 + len(others)
        sums = {"n_parameters": first.n_parameters * count, "multiply_adds": first.multiply_adds * count}
        collapsed.append(replace(first, count=count, **sums))
    return tuple(collapsed)
