"""What a checkpoint holds beside weights, how it is written, and how a network is built from it again.

The entry `nsm_run` of a checkpoint is plain data: the configuration of the run, the description of its dataset, and
statistics of the training images. Nothing that a file holds is executed (`trusted.py`).
"""

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from src.checkpoints.bounds import (
    MAX_PIXELS,
    NO_FIT,
    check_network,
    check_numbers,
    differing,
    no_larger_than,
)
from src.checkpoints.reading import read_checkpoint, read_weights
from src.checkpoints.trusted import SLOTS, check_section, instantiate_own, instantiate_trusted
from src.errors import CheckpointError, ConfigError, NSMError
from src.migration import CONFIG_VERSION, upgraded
from src.models.components.network import NetIO
from src.models.losses import HeadLoss
from src.models.vimh_module import VIMHLitModule, unfitted
from src.plain import check_plain, parts, reason, shown
from src.vimh.info import DatasetInfo, shared_numbers

log = logging.getLogger(__name__)

ENTRY = "nsm_run"  # key of the checkpoint that holds what is not weights
# Of the section `data`: what decides which training samples validate.
DIVISION = ("seed", "val_fraction", "train_size", "fold")
STORED_SECTIONS = ("model", "loss", "augment", "data", "seed", "task_name", "experiment_name", "tags")


def build_model(
    config: Mapping[str, Any],
    info: DatasetInfo,
    aux_statistics: tuple[list[float], list[float]] | None = None,
    instantiate: Callable[..., Any] = instantiate_own,
    **training: Any,
) -> VIMHLitModule:
    """The network that a configuration describes for a dataset, complete with heads, loss and metrics.

    Args:
        config: With the sections `model`, `loss` and `data`.
        info: The dataset.
        aux_statistics: Mean and standard deviation of the conditioning inputs; None where weights are loaded after it.
        instantiate: Makes an object from a section with a `_target_`, for a `slot`.
        **training: What the module needs to train and no checkpoint holds: `augment`, `class_counts`.
    """
    loss = instantiate(config["loss"], slot="loss")
    io = network_io(config, info, loss, aux_statistics)
    make_module = instantiate(config["model"], slot="module", net=None, _partial_=True)
    net = build_network(config, io, instantiate)
    parameters = [asdict(spec) for spec in info.parameters]
    return make_module(
        net=net, loss=loss, parameters=parameters, input_shape=io.input_shape, n_aux=io.n_aux, **training
    )


def build_network(config: Mapping[str, Any], io: NetIO, instantiate: Callable[..., Any]) -> nn.Module:
    """The network alone; see `build_model`."""
    return instantiate(config["model"]["net"], io, slot="network", _convert_="all")


def network_io(
    config: Mapping[str, Any],
    info: DatasetInfo,
    loss: HeadLoss,
    aux_statistics: tuple[list[float], list[float]] | None = None,
) -> NetIO:
    """What goes into the network and comes out of it; see `build_model`."""
    # Texts in the dataset (names, units, descriptions) bypass OmegaConf, which would interpolate them.
    head_sizes = {spec.name: loss.head_size(spec) for spec in info.parameters}
    return NetIO(info.image_shape, head_sizes, len(config["data"]["aux"]), *(aux_statistics or (None, None)))


class SaveRun(Callback):
    """Puts the resolved configuration and the dataset's description into every checkpoint, as plain data.

    Args:
        cfg: Configuration of the run.
        info: The dataset it trains on.
        domain: Statistics of its training images, by name.
    """

    def __init__(self, cfg: DictConfig, info: DatasetInfo, domain: Mapping[str, Any] | None = None) -> None:
        plain: Any = OmegaConf.to_container(cfg, resolve=True)
        entry = {
            "config_version": CONFIG_VERSION,
            "config": {name: plain[name] for name in STORED_SECTIONS if name in plain},
            "dataset_info": info.to_dict(),
        }
        try:
            check_plain(entry)
        except NSMError as error:
            raise ConfigError(
                f"The run could not be read again from a checkpoint: of its description, {error}."
            ) from error
        self.entry = entry | {"domain": None if domain is None else dict(domain)}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning with a checkpoint that is about to be written."""
        checkpoint[ENTRY] = self.entry


@dataclass(frozen=True)
class Run:
    """A trained network and where it comes from.

    Attributes:
        module: With its weights, in eval mode, on the CPU.
        info: The dataset that it was trained on.
        config: The configuration that it was trained with, plain.
        domain: Statistics of its training images, by name; None where the checkpoint has none.
    """

    module: VIMHLitModule
    info: DatasetInfo
    config: dict[str, Any]
    domain: dict[str, Any] | None = None


def load_run(ckpt_path: str | Path, trusted_modules: Sequence[str] = ()) -> Run:
    """Rebuild a run from its checkpoint. Nothing that the file holds is executed.

    Args:
        ckpt_path: A checkpoint of `train.py`.
        trusted_modules: Packages whose classes the checkpoint may name, beside those that are always allowed.

    Raises:
        CheckpointError: If the file is no checkpoint of this project, names a class that is not allowed, or its weights
            do not fit its description.
    """
    entry, weights = _parts(read_checkpoint(ckpt_path), ckpt_path)
    try:
        for section, slot in (("loss", "loss"), ("model", "module")):
            check_section(entry["config"][section], slot, trusted_modules)
        info = DatasetInfo.from_dict(entry["dataset_info"], "its dataset_info")
        module = _rebuild(entry["config"], info, weights, partial(instantiate_trusted, trusted_modules=trusted_modules))
    except NSMError as error:
        raise CheckpointError(f"{ckpt_path}: {error}") from error
    except Exception as error:  # PyTorch and a network raise anything about a description that is not theirs
        raise CheckpointError(f"{ckpt_path}: {NO_FIT}: {reason(error)}") from error
    return Run(module.eval(), info, entry["config"], entry["domain"])


def _rebuild(
    config: dict[str, Any], info: DatasetInfo, weights: dict[str, Tensor], instantiate: Callable[..., Any]
) -> VIMHLitModule:
    """The network of a checkpoint with its weights. What they do not justify is not built."""
    if math.prod(info.image_shape) > MAX_PIXELS:
        raise CheckpointError(f"its images have {math.prod(info.image_shape):,} pixels; {MAX_PIXELS:,} is the most.")
    check_numbers(config["model"]["net"], weights)
    with no_larger_than(weights):
        if config["model"]["net"]["_target_"] in SLOTS["network"].classes:  # a class of the user's may want memory
            io = network_io(config, info, instantiate(config["loss"], slot="loss"))
            check_network(partial(build_network, config, io, instantiate), weights)
        module = build_model(config, info, instantiate=instantiate)
    module.load_state_dict(weights, strict=True)
    return module


def restore_datamodule(run: Run, trusted_modules: Sequence[str] = (), **wanted: Any) -> Any:
    """The datamodule that a run was trained with. It only reads: it makes no dataset, and no fresh sounds.

    A dataset with other heads or images than the run's is refused; one whose test sounds were trained on is used with a
    warning.

    Args:
        run: From `load_run`.
        trusted_modules: Packages whose classes its configuration may name, beside those that are always allowed.
        **wanted: Settings of the datamodule to replace, such as `data_dir`; None: as in the training.

    Raises:
        VIMHError: If the dataset is missing.
        CheckpointError: If it is another one than the run's, or the configuration names what is not trusted.
    """
    makers = {"make_dataset": None, "stream": False}
    makers |= dict.fromkeys(("stream_source", "recordings", "recordings_source"))
    changes = {key: item for key, item in makers.items() if key in run.config["data"]}
    changes |= {key: item for key, item in wanted.items() if item is not None}
    section = run.config["data"] | changes
    data_dir = section.pop("data_dir", None)
    check_section(section, "datamodule", trusted_modules)
    if not isinstance(data_dir, str | Path):
        raise CheckpointError(f"data.data_dir of the checkpoint is {shown(data_dir)}. Name the dataset to use.")
    # As an argument of its own: ${…} in the name of a directory is no interpolation.
    datamodule = instantiate_trusted(section, data_dir, slot="datamodule", trusted_modules=trusted_modules)
    datamodule.prepare_data()
    if (section.get("train_size") or 0) > datamodule.info.train_samples:  # another set, smaller than the training's
        section = section | {"train_size": None}
        datamodule = instantiate_trusted(section, data_dir, slot="datamodule", trusted_modules=trusted_modules)
    check_same_heads(run.info, datamodule.info, str(datamodule.data_dir))
    if shared := shared_numbers(run.info, datamodule.info):
        log.warning(
            "%s: the run was trained on %d of its %d test sounds, numbers %d to %d: both sets are drawn with the seed "
            "%d. Figures of them are too good. Take a set of another dataset.seed.",
            *(datamodule.data_dir, len(shared), datamodule.info.test_samples, shared[0], shared[-1], run.info.seed),
        )
    return datamodule


def _parts(checkpoint: dict[str, Any], ckpt_path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The entry of a run, with its configuration in today's names, and the weights."""
    entry: Any = checkpoint.get(ENTRY)
    weights: Any = checkpoint.get("state_dict")
    found = [weights, *(entry.get(key) for key in ("config", "dataset_info"))] if isinstance(entry, dict) else [None]
    if not all(isinstance(part, dict) for part in found):
        raise CheckpointError(
            f"{ckpt_path}: is a PyTorch file, but no checkpoint of this project: {ENTRY} or state_dict is missing "
            "or no dict. Name one that train.py wrote."
        )
    try:
        plain = {key: entry.get(key) for key in ("config_version", "config", "dataset_info") if key in entry}
        check_plain(plain)
        _check_sections(plain["config"])
        domain = entry.get("domain")
        if not (domain is None or isinstance(domain, dict)):
            raise CheckpointError(f"its statistics of the training images are {shown(domain)}, and no mapping.")
        return upgraded(plain) | {"domain": domain}, read_weights(weights)
    except NSMError as error:
        raise CheckpointError(f"{ckpt_path}: {error}") from error


def _check_sections(config: Mapping[str, Any]) -> None:
    """Refuse a stored configuration without the sections that programs use, or of other types."""
    for section in ("model", "loss", "data"):
        if not isinstance(config.get(section), dict):
            raise CheckpointError(f"its configuration has no section {section}, but {shown(config.get(section))}.")
    data = config["data"]
    if not isinstance(data.get("aux"), list) or not all(isinstance(name, str) for name in data["aux"]):
        raise CheckpointError(f"data.aux is {shown(data.get('aux'))} in its configuration, and no list of names.")
    if not _is_path(data.get("data_dir", "")):
        raise CheckpointError(f"data.data_dir is {shown(data['data_dir'])} in its configuration, and no path.")


def _is_path(item: Any) -> bool:
    """Whether this can be the path of anything."""
    try:
        return isinstance(item, str) and b"\0" not in os.fsencode(item)
    except UnicodeEncodeError:
        return False


def check_resumable(ckpt_path: str | Path, model: VIMHLitModule, info: DatasetInfo, data: Mapping[str, Any]) -> int:
    """Refuse to resume from a checkpoint of another network, dataset, or choice of validation samples.

    Args:
        ckpt_path: The checkpoint.
        model: The network to train.
        info: The dataset that it is to be trained on.
        data: The section `data` of the configuration.

    Returns:
        Optimizer steps that it was trained for.

    Raises:
        CheckpointError: Naming what differs.
    """
    checkpoint = read_checkpoint(ckpt_path)
    entry, weights = _parts(checkpoint, ckpt_path)
    for key in DIVISION:  # or it would validate on samples that it was trained on
        before, now = (
            "null" if section.get(key) is None else shown(section[key]) for section in (entry["config"]["data"], data)
        )
        if before != now:
            raise CheckpointError(
                f"{ckpt_path}: was trained with data.{key}={before}, this run has {now}. It would validate on samples "
                f"that were trained on. Resume with data.{key}={before}."
            )
    known, given = (list(section.get("aux") or ()) for section in (entry["config"]["data"], data))
    if known != given:
        raise CheckpointError(
            f"{ckpt_path}: was trained with the inputs data.aux=[{_listed(known)}], this run has [{_listed(given)}]. "
            f"Resume with data.aux=[{_listed(known)}]."
        )
    check_same_heads(DatasetInfo.from_dict(entry["dataset_info"], str(ckpt_path)), info, "the dataset of this run")
    found = {name: tuple(weight.shape) for name, weight in (unfitted(model) | weights).items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if found != expected:
        raise CheckpointError(
            f"{ckpt_path}: is of another network: {differing(found, expected)} differ. Resume with the model and the "
            "loss that it was trained with."
        )
    _check_callbacks(checkpoint, ckpt_path)
    steps = checkpoint.get("global_step")
    if not isinstance(steps, int) or not 0 <= steps < 2**63:
        raise CheckpointError(f"{ckpt_path}: lacks the length of its training (global_step), so no run can resume.")
    return steps


def _listed(names: Sequence[Any]) -> str:
    """Names that came out of a file, as an override has them."""
    return ",".join(item if isinstance(item, str) and item.isidentifier() else shown(item) for item in names)


def _check_callbacks(checkpoint: Mapping[str, Any], ckpt_path: str | Path) -> None:
    """Refuse checkpoints that lie on another machine, by the states of callbacks: Lightning would open connections."""
    states = checkpoint.get("callbacks")
    for state in states.values() if isinstance(states, dict) else ():
        for text in parts(state):
            if isinstance(text, str) and "://" in text:
                raise CheckpointError(f"{ckpt_path}: names {shown(text)} as a checkpoint, and only files are read.")


def check_same_heads(stored: DatasetInfo, found: DatasetInfo, where: str) -> None:
    """Refuse to use a network on a dataset with other heads or images.

    Args:
        stored: The dataset that the network was trained on.
        found: The dataset at hand.
        where: Its directory, for the message.

    Raises:
        CheckpointError: Naming the heads that differ.
    """
    ours = {spec.name: spec for spec in stored.parameters}
    theirs = {spec.name: spec for spec in found.parameters}
    lines = [f"{name}: the network has it, the dataset does not" for name in ours.keys() - theirs.keys()]
    lines += [f"{name}: the dataset has it, the network does not" for name in theirs.keys() - ours.keys()]
    for name in ours.keys() & theirs.keys():
        grid, other = [(spec.min, spec.max, spec.step) for spec in (ours[name], theirs[name])]
        if grid != other:
            lines.append(f"{name}: min, max, step are {grid} in the network, {other} in the dataset")
        for key in ("kind", "scale", "active_if"):
            own, found_there = getattr(ours[name], key), getattr(theirs[name], key)
            if own != found_there:
                lines.append(f"{name}: {key} is {own} in the network, {found_there} in the dataset")
    if not lines and list(ours) != list(theirs):
        lines.append(f"order of the heads: {', '.join(ours)} in the network, {', '.join(theirs)} in the dataset")
    if stored.image_shape != found.image_shape:
        lines.append(
            f"image (channel, freq, time): {stored.image_shape} in the network, {found.image_shape} in the dataset"
        )
    if lines:
        raise CheckpointError(
            f"{where}: is not a dataset of this checkpoint:\n  " + "\n  ".join(sorted(lines)) + "\nName another one."
        )
